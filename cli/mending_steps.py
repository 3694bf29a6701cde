"""A mistake mended from end to end: the old record found, what mends it shown, asked about, signed, sent.

The old content comes from the outbox, or by its whole hash from the node. Where the node can be reached it is
asked before anything is signed, so that what it would refuse is told and nothing is left over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from cli import output
from cli.desk import Desk
from cli.failures import CellProblem, ListRefused, Undone, Usage
from cli.mending import Mend, Mender, read_signed, refuse_dead, said
from cli.outbox import PREFIX_MIN
from cli.output import Table
from cli.queries import check_records, read_record
from cli.sending import sign_records
from cli.told import Told, remark_others, tell
from ledger.record import Record
from ledger.statute import is_withdrawal
from node.protocol import ProblemAnswer, Unreachable

ROWS_SHOWN = 40
"""Changes shown before the question; a longer list says how many more there are."""
_HASH = re.compile("[0-9a-f]{64}")


def open_tools(desk: Desk, *, offline: bool) -> tuple[Mender, Callable[[str], Record]]:
    """What makes the records, and what finds an old one by what was typed."""
    signed = read_signed(desk.outbox.entries(), desk.statute)

    def find(name: str) -> Record:
        if len(name) < PREFIX_MIN or set(name) - set("0123456789abcdef"):
            raise Usage(f"{name!r} must be the first {PREFIX_MIN} or more hex digits of a record")
        found = [one for one in signed.records.values() if one.hash.hex().startswith(name)]
        if not found and _HASH.fullmatch(name) and not offline:
            found = [_read(desk, bytes.fromhex(name))]
        if len(found) != 1:
            raise Usage(_not_found(name, len(found)))
        if is_withdrawal(found[0].fields):
            refuse_dead(found[0].hash, f"{name[:16]} is itself a withdrawal: record the fact anew")
        return found[0]

    return Mender(signed=signed, random=os.urandom), find


def _read(desk: Desk, record_hash: bytes) -> Record:
    try:
        return read_record(desk, record_hash)
    except ProblemAnswer as answer:
        if answer.problem.code != "node.unreadable":
            raise
        name = record_hash.hex()[:16]
        refuse_dead(record_hash, f"no live record {name}… that this key may read: withdrawn, or never there")


def _not_found(name: str, count: int) -> str:
    if count:
        return f"{count} records signed here start with {name}: type more digits"
    if _HASH.fullmatch(name):
        return f"no record {name} was signed here: without a network its content is not at hand"
    return f"no record signed here starts with {name}; one signed elsewhere is named by its whole hash"


def carry_out(desk: Desk, mends: Sequence[Mend], *, yes: bool, offline: bool) -> Told:
    """Show, check, ask, sign, keep, send."""
    pairs = [(record, mend.label) for mend in mends for record in mend.new]
    if not pairs:
        return _nothing_new(mends)
    records, labels = [record for record, _ in pairs], [label for _, label in pairs]
    if not offline:
        _check_first(desk, records, labels)
    if not yes and not output.ask_yes("Sign this?", _preview(desk, mends)):
        raise Undone("not confirmed: nothing was signed")
    entries = sign_records(records, labels, desk.author())
    desk.keep(entries)
    delivery = None if offline else desk.send()
    if delivery is not None:
        remark_others(delivery, entries)
    return tell(entries, delivery)


def _nothing_new(mends: Sequence[Mend]) -> Told:
    """The answer where everything was mended so before."""
    told = tell([], None)
    text = f"nothing to do: {len(mends)} as they should be already"
    return replace(told, value={**told.value, "already_recorded": len(mends)}, parts=(text,))


def _check_first(desk: Desk, records: Sequence[Record], labels: Sequence[str]) -> None:
    """Raise `ListRefused` with what the node would refuse; a node that cannot say is told when it is sent to.

    What still waits here is sent before, and may be what these records mend: then only the door can judge.
    """
    if desk.outbox.waiting():
        return
    try:
        verdicts = check_records(desk, records)
    except Unreachable:
        return
    except ProblemAnswer as answer:
        if output.is_refusal(answer.problem.status):
            raise
        return
    problems = [
        CellProblem(file=label, text=f"{verdict.rule}: {verdict.text}")
        for label, verdict in zip(labels, verdicts, strict=True)
        if verdict.word in ("refused", "conflict")
    ]
    if problems:
        raise ListRefused(problems)


def _preview(desk: Desk, mends: Sequence[Mend]) -> Table:
    rows = [row for mend in mends if mend.new for row in _preview_rows(desk, mend)]
    more = f" (and {len(rows) - ROWS_SHOWN} more)" if len(rows) > ROWS_SHOWN else ""
    columns = ["from", "pupil", "kind", "field", "old", "new"]
    return Table(columns=columns, rows=rows[:ROWS_SHOWN], title=f"{len(mends)} to mend{more}")


def _preview_rows(desk: Desk, mend: Mend) -> list[list[str]]:
    """What changes for the old record's pupil, and what is entered for another."""
    rows = [[mend.label, _pupil(desk, mend.old), mend.old.kind, *row] for row in mend.rows]
    entered = [one for one in mend.new if one.subject != mend.old.subject]
    return rows + [[mend.label, _pupil(desk, one), one.kind, "", "", said(one.fields)] for one in entered]


def _pupil(desk: Desk, record: Record) -> str:
    pupil = desk.register.with_pupil(record.subject)
    return pupil.local_id if pupil else "not in the register"
