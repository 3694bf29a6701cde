"""A list of mistakes: one row a change, checked whole before anything is signed.

Columns, in any order::

    action       correct, withdraw or misfiled
    record       the record, as hash or its first digits; or instead
    local_id     the pupil, kind, and the kind's identity fields (school_year, term, subject_code, ...)
    field        correct: which field
    value        correct: what it should be; empty to leave the field out
    reason       entered_in_error (if empty), decision_changed or court
    right_pupil  misfiled: local id of the pupil whose record it is

Rows that correct fields of one record are one correction. Every problem is told at once, with its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.desk import Desk
from cli.failures import CellProblem, ListRefused, Usage
from cli.language import say
from cli.mending import DEFAULT_REASON, REASONS, Mend, Mender
from ledger.errors import LedgerError
from ledger.record import Record
from ledger.statute import Statute

ACTIONS = ("correct", "withdraw", "misfiled")
REQUIRED = ("action",)
OWN = ("record", "local_id", "kind", "field", "value", "reason", "right_pupil")

Find = Callable[[str], Record]
"""From what is typed for a record to the record; raises `LedgerError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """A row: its number in the file, and its cells that are not empty."""

    number: int
    cells: Mapping[str, str]


def list_columns(statute: Statute) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that a list of corrections must have, and those that it may have."""
    identity = {name for kind in statute.kinds.values() for name in kind.identity}
    return REQUIRED, (*OWN, *sorted(identity - {*OWN, *REQUIRED}))


def mend_rows(file: str, rows: list[ListRow], desk: Desk, mender: Mender, find: Find) -> list[Mend]:
    """Return what the rows mend; raise `ListRefused` with every problem in them."""
    problems: list[CellProblem] = []
    found: dict[tuple[str, bytes], list[tuple[ListRow, Record]]] = {}
    for row in rows:
        try:
            old = _find(row, desk, mender, find)
            found.setdefault((_action(row), old.hash), []).append((row, old))
        except LedgerError as error:
            problems += _told(file, row, error)
    mends: list[Mend] = []
    for group in found.values():
        try:
            mends.append(_mend(file, group, desk, mender))
        except LedgerError as error:
            problems += _told(file, group[0][0], error)
    times = Counter(record_hash for _, record_hash in found)
    for (_, record_hash), group in found.items():
        if times[record_hash] > 1:
            problems += _told(file, group[0][0], Usage(say("corrections.two_actions")))
    if problems:
        raise ListRefused(sorted(problems, key=lambda one: one.row or 0))
    return mends


def _action(row: ListRow) -> str:
    action = row.cells.get("action", "")
    if action not in ACTIONS:
        raise Usage(say("corrections.word", column="action", word=repr(action), words=", ".join(ACTIONS)))
    return action


def _find(row: ListRow, desk: Desk, mender: Mender, find: Find) -> Record:
    """The record of a row: named, or by its pupil and identity."""
    if "record" in row.cells:
        return find(row.cells["record"].lower())
    kind = desk.statute.kinds.get(row.cells.get("kind", ""))
    pupil = desk.register.pupils.get(row.cells.get("local_id", ""))
    if kind is None or pupil is None:
        raise Usage(say("corrections.which"))
    wanted: dict[str, Any] = {name: row.cells.get(name) for name in kind.identity}
    if "org_id" in wanted and wanted["org_id"] is None:
        wanted["org_id"] = desk.workspace.settings.unit
    wanted |= {name: int(wanted[name]) for name in kind.integers if str(wanted.get(name, "")).isdecimal()}
    record = mender.signed.with_identity(pupil.pid, kind, wanted)
    if record is None:
        said = ", ".join(f"{name}={value}" for name, value in wanted.items())
        raise Usage(say("corrections.none", kind=kind.name, local_id=pupil.local_id, fields=said))
    return record


def _mend(file: str, group: list[tuple[ListRow, Record]], desk: Desk, mender: Mender) -> Mend:
    row, old = group[0]
    label, reason = f"{file} row {row.number}", row.cells.get("reason", DEFAULT_REASON)
    if reason not in REASONS:
        raise Usage(say("corrections.word", column="reason", word=repr(reason), words=", ".join(REASONS)))
    match _action(row):
        case "correct":
            return mender.correct(old, dict(_fields([one for one, _ in group])), reason, label)
        case "withdraw":
            return mender.withdraw(old, reason, label)
    right = desk.register.pupils.get(row.cells.get("right_pupil", ""))
    if right is None:
        raise Usage(say("corrections.right_pupil"))
    return mender.refile(old, right.pid, label)


def _fields(rows: list[ListRow]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for row in rows:
        name, value = row.cells.get("field", ""), row.cells.get("value", "")
        if not name:
            raise Usage(say("corrections.field"))
        if seen.setdefault(name, value) != value:
            raise Usage(say("corrections.field_twice", name=name))
        yield name, value


def _told(file: str, row: ListRow, error: LedgerError) -> list[CellProblem]:
    if isinstance(error, ListRefused):
        return [
            CellProblem(file=file, row=row.number, column=one.column, value=one.value, text=one.text)
            for one in error.problems
        ]
    return [CellProblem(file=file, row=row.number, text=str(error))]
