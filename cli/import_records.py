"""Rows of a list into records of a kind, by the statutory list and nothing else.

The columns of a kind's list are ``local_id`` and the kind's fields; ``org_id`` may be left out, it is then
the unit of whoever imports. A whole number in a cell becomes an integer where the list says so, a cell left
empty a field left out. School year and legal basis follow from the list. Where a row came from stands in the
record as the first half of the file's SHA-256 and the row: a file's name may be that of a child.

Everything wrong is told at once, with row, column, value and what would be right. A row that repeats another
is counted once and said; two rows that contradict each other are refused.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.failures import CellProblem, Usage
from cli.table import Row, Table, shown_value
from ledger.portfolio import expected_period
from ledger.record import Basis, Record, make_record
from ledger.statute import Kind, Statute, applied_kind, check_fields, identity_of, school_year

LISTS: Mapping[str, str] = {
    "results": "subject_result",
    "attendance": "attendance_summary",
    "awards": "contest_award",
    "sport": "sport_award",
    "gto": "gto_badge",
    "courses": "supplementary_course",
}
"""Names of the schools' lists, and the kind of record that each holds."""

SUBJECT_COLUMN = "local_id"
UNIT_FIELD = "org_id"
RandomBytes = Callable[[int], bytes]

_WHOLE = re.compile("-?[0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A record before it gets its salts: what one row says."""

    label: str
    """Where it comes from, as people are told: ``results.csv row 12``."""
    row: int | None
    local_id: str
    subject: bytes
    kind: str
    fields: Mapping[str, Any]
    period: str
    act: str
    identity: bytes
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """What a list says: records to make, rows that only repeat (row, row repeated), and all that is wrong."""

    records: tuple[Draft, ...]
    repeated: tuple[tuple[int, int], ...]
    problems: tuple[CellProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and on which day: what a row leaves to be filled in."""

    statute: Statute
    unit: str
    pids: Mapping[str, bytes]
    """Local id to pseudonym: the class register."""
    today: datetime.date


def kind_named(statute: Statute, name: str) -> Kind:
    """Return the kind of a name or of a list (``results``); raise `Usage` naming all that there are."""
    kind = statute.kinds.get(LISTS.get(name, name))
    if kind is None:
        lists = ", ".join(f"{one} ({LISTS[one]})" for one in LISTS)
        raise Usage(
            f"no kind {name!r} on the statutory list; lists: {lists}; kinds: {', '.join(statute.kinds)}"
        )
    return kind


def list_columns(kind: Kind) -> tuple[list[str], list[str]]:
    """Return the columns that a list of the kind must have, and those that it may have."""
    required = [name for name in kind.fields if name in kind.required and name != UNIT_FIELD]
    optional = [name for name in kind.fields if name not in kind.required or name == UNIT_FIELD]
    return [SUBJECT_COLUMN, *required], optional


def draft_table(table: Table, kind: Kind, writer: Writer) -> Drafts:
    """Return the drafts of every row of a list of the kind."""
    drafts: list[Draft] = []
    problems = list(table.problems)
    source = f"list {table.digest.hex()[:32]} row "
    for row in table.rows:
        draft = draft_row(row, kind, writer, file=table.file, source=source)
        if isinstance(draft, Draft):
            drafts.append(draft)
        else:
            problems += draft
    kept, repeated, conflicts = _without_repeats(drafts, table.file)
    problems = sorted([*problems, *conflicts], key=lambda one: one.row or 0)
    return Drafts(records=tuple(kept), repeated=tuple(repeated), problems=tuple(problems))


def draft_row(
    row: Row, kind: Kind, writer: Writer, *, file: str, source: str | None = None
) -> Draft | list[CellProblem]:
    """Return the draft of one row, or everything that is wrong with it.

    A row numbered 0 comes from no list, but from what was typed.
    """
    local_id = row.cells.get(SUBJECT_COLUMN, "")
    subject = writer.pids.get(local_id)
    problems = [] if subject is not None else [_unknown_pupil(local_id)]
    fields = _fields_of(row.cells, kind, writer.unit)
    problems += [(_column_of(path), text) for path, text in check_fields(kind, fields)]
    applied = applied_kind(kind, fields)
    if applied.basis == "consent":
        problems.append(("", f"{kind.name} needs a consent in force, which a list cannot name"))
    if problems or subject is None:
        return [
            CellProblem(
                file=file,
                row=row.number or None,
                column=name,
                value=shown_value(row.cells.get(name, "")),
                text=text,
            )
            for name, text in problems
        ]
    return Draft(
        label=f"{file} row {row.number}" if row.number else file,
        row=row.number or None,
        local_id=local_id,
        subject=subject,
        kind=kind.name,
        fields=fields,
        period=expected_period(kind, fields) or school_year(writer.today),
        act=applied.act,
        identity=identity_of(kind, fields),
        source=None if source is None else f"{source}{row.number}",
    )


def make_records(drafts: Iterable[Draft], random: RandomBytes) -> list[Record]:
    """Return the records of ``drafts``, each with fresh salts from ``random``."""
    return [
        make_record(
            subject=draft.subject,
            kind=draft.kind,
            period=draft.period,
            fields=dict(draft.fields),
            basis=Basis(act=draft.act),
            salts=(random(16), random(16)),
            source=draft.source,
        )
        for draft in drafts
    ]


def _fields_of(cells: Mapping[str, str], kind: Kind, unit: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: _value_of(text, kind, name) for name, text in cells.items() if name != SUBJECT_COLUMN
    }
    if UNIT_FIELD in kind.fields:
        fields.setdefault(UNIT_FIELD, unit)
    return fields


def _value_of(text: str, kind: Kind, name: str) -> Any:
    """A cell as the schema has it; what does not fit stays text, and the schema says what would be right."""
    if name in kind.integers and _WHOLE.fullmatch(text):
        return int(text)
    part = kind.schema["properties"].get(name, {})
    if part.get("type") == "array" and part["items"].get("type") != "object":
        return sorted({one.strip() for one in text.split(",")})
    return text


def _column_of(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _unknown_pupil(local_id: str) -> tuple[str, str]:
    if not local_id:
        return SUBJECT_COLUMN, "missing; it must be the pupil's local id"
    return SUBJECT_COLUMN, "not in the class register: enrol the pupil first (pledger class enrol)"


def _without_repeats(
    drafts: Sequence[Draft], file: str
) -> tuple[list[Draft], list[tuple[int, int]], list[CellProblem]]:
    """The drafts each once, (row, row that it repeats), and rows that contradict another."""
    first: dict[tuple[bytes, bytes], Draft] = {}
    kept: list[Draft] = []
    repeated: list[tuple[int, int]] = []
    problems: list[CellProblem] = []
    for draft in drafts:
        standing = first.setdefault((draft.subject, draft.identity), draft) if draft.identity else draft
        if standing is draft:
            kept.append(draft)
        elif standing.fields == draft.fields:
            repeated.append((draft.row or 0, standing.row or 0))
        else:
            problems += _contradiction(draft, standing, file)
    return kept, repeated, problems


def _contradiction(draft: Draft, standing: Draft, file: str) -> list[CellProblem]:
    names = sorted(set(draft.fields) | set(standing.fields))
    other = standing.fields
    return [
        CellProblem(
            file=file,
            row=draft.row,
            column=name,
            value=shown_value(str(draft.fields.get(name, ""))),
            text=f"row {standing.row} says {other.get(name, 'nothing')} of the same fact: keep one of them",
        )
        for name in names
        if draft.fields.get(name) != other.get(name)
    ]
