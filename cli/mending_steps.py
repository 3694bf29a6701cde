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
from cli.heard import translated
from cli.language import headings, say
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
            raise Usage(say("mend.prefix", name=repr(name), count=PREFIX_MIN))
        found = [one for one in signed.records.values() if one.hash.hex().startswith(name)]
        if not found and _HASH.fullmatch(name) and not offline:
            found = [_read(desk, bytes.fromhex(name))]
        if len(found) != 1:
            raise Usage(_not_found(name, len(found)))
        if is_withdrawal(found[0].fields):
            refuse_dead(found[0].hash, say("mend.is_withdrawal", record=name[:16]))
        return found[0]

    return Mender(signed=signed, random=os.urandom), find


def _read(desk: Desk, record_hash: bytes) -> Record:
    try:
        return read_record(desk, record_hash)
    except ProblemAnswer as answer:
        if answer.problem.code != "node.unreadable":
            raise
        name = record_hash.hex()[:16]
        refuse_dead(record_hash, say("mend.unreadable", record=name))


def _not_found(name: str, count: int) -> str:
    if count:
        return say("mend.several", name=name, count=count)
    if _HASH.fullmatch(name):
        return say("mend.offline", record=name)
    return say("mend.none", name=name)


def carry_out(desk: Desk, mends: Sequence[Mend], *, yes: bool, offline: bool) -> Told:
    """Show, check, ask, sign, keep, send."""
    pairs = [(record, mend.label) for mend in mends for record in mend.new]
    if not pairs:
        return _nothing_new(mends)
    records, labels = [record for record, _ in pairs], [label for _, label in pairs]
    if not offline:
        _check_first(desk, records, labels)
    if not yes and not output.ask_yes(say("mend.ask"), _preview(desk, mends)):
        raise Undone(say("mend.not_confirmed"))
    entries = sign_records(records, labels, desk.author())
    desk.keep(entries)
    delivery = None if offline else desk.send()
    if delivery is not None:
        remark_others(delivery, entries)
    return tell(entries, delivery)


def _nothing_new(mends: Sequence[Mend]) -> Told:
    """The answer where everything was mended so before."""
    told = tell([], None)
    text = say("mend.nothing", count=len(mends))
    return replace(told, value={**told.value, "already_recorded": len(mends)}, parts=(text,))


def _check_first(desk: Desk, records: Sequence[Record], labels: Sequence[str]) -> None:
    """Raise `ListRefused` with what the node would refuse; a node that cannot say is told when it is sent to.

    What still waits here is sent before, and may be what these records mend: then only the door can judge.
    """
    if desk.outbox.waiting():
        return
    desk.look_after()
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
    title = say("mend.title", count=len(mends))
    if len(rows) > ROWS_SHOWN:
        title += f" ({say('told.more', count=len(rows) - ROWS_SHOWN)})"
    columns = headings(["from", "pupil", "kind", "field", "old", "new"])
    return Table(columns=columns, rows=rows[:ROWS_SHOWN], title=title)


def _preview_rows(desk: Desk, mend: Mend) -> list[list[str]]:
    """What changes for the old record's pupil, and what is entered for another."""
    rows = [[translated(mend.label), _pupil(desk, mend.old), mend.old.kind, *row] for row in mend.rows]
    entered = [one for one in mend.new if one.subject != mend.old.subject]
    return rows + [
        [translated(mend.label), _pupil(desk, one), one.kind, "", "", said(one.fields)] for one in entered
    ]


def _pupil(desk: Desk, record: Record) -> str:
    pupil = desk.register.with_pupil(record.subject)
    return pupil.local_id if pupil else say("show.unknown_pupil")
