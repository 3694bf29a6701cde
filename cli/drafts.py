"""One row into one record of a kind, as a template says and the statutory list allows.

What the cells leave out follows from the list: ``org_id`` is the unit of whoever imports, school year and
legal basis are those of the kind. Everything wrong with a row is told at once, by the column as the list
calls it, with the value and what would be right.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.advice import advice_on
from cli.cells import shown_value
from cli.failures import CellProblem
from cli.headers import SUBJECT_COLUMN, UNIT_FIELD
from cli.profile import Taken, Template
from cli.table import Row
from cli.values import value_of
from ledger.portfolio import expected_period
from ledger.statute import Statute, applied_kind, check_fields, identity_of, school_year

_LATIN_FOR_CYRILLIC = str.maketrans("аеорсухАВЕКМНОРСТХ", "aeopcyxABEKMHOPCTX")
_CYRILLIC_FOR_LATIN = str.maketrans("aeopcyxABEKMHOPCTX", "аеорсухАВЕКМНОРСТХ")
"""Letters that look the same, and that class names are typed with on either keyboard."""


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
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field to the column that gave it, as the list calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and on which day: what a row leaves to be filled in."""

    statute: Statute
    unit: str
    pids: Mapping[str, bytes]
    """Local id to pseudonym: the class register."""
    today: datetime.date
    declined: frozenset[str] = frozenset()
    """Local ids of those whose family declined: about them only what a law requires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where rows come from, and what their list calls things."""

    file: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field to the column that gives it, as the list calls it."""
    source: str | None = None
    """What a record says of its origin, up to the number of the row."""
    number: int = 0
    """Which of a row's records it is, counted from 1; 0 where there is one."""


def draft_row(
    row: Row, local_id: str, template: Template, writer: Writer, origin: Origin
) -> Draft | list[CellProblem]:
    """Return the draft of a row's record, or everything that is wrong with it.

    A row numbered 0 comes from no list, but from what was typed.
    """
    kind = template.kind
    subject = writer.pids.get(local_id)
    fields, faults = _fields_of(row, template, writer.unit)
    problems = [] if subject is not None else [_unknown_pupil(local_id, writer.pids)]
    problems += _field_problems(template, fields, faults)
    applied = applied_kind(kind, fields)
    if applied.basis == "consent":
        problems.append(("", f"{kind.name} needs a consent in force, which a list cannot name"))
    if applied.basis != "law" and local_id in writer.declined:
        problems.append((SUBJECT_COLUMN, f"record.declined: {advice_on('record.declined')}"))
    if problems or subject is None:
        shown = {SUBJECT_COLUMN: local_id, **_texts(row, template)}
        return [_problem(row, origin, shown, *one) for one in problems]
    label = f"{origin.file} row {row.number}" if row.number else origin.file
    return Draft(
        label=f"{label} {kind.name} {origin.number}" if origin.number else label,
        row=row.number or None,
        local_id=local_id,
        subject=subject,
        kind=kind.name,
        fields=fields,
        period=expected_period(kind, fields) or school_year(writer.today),
        act=applied.act,
        identity=identity_of(kind, fields),
        source=None if origin.source is None else f"{origin.source}{row.number}",
        columns=origin.columns,
    )


def _problem(row: Row, origin: Origin, shown: Mapping[str, str], path: str, text: str) -> CellProblem:
    name = _field_of(path)
    return CellProblem(
        file=origin.file,
        row=row.number or None,
        column=origin.columns.get(name, name),
        value=shown_value(shown.get(name, "")),
        text=text,
    )


def _field_of(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _field_problems(
    template: Template, fields: dict[str, Any], faults: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What is wrong with the fields; a difference is not missing where one of its terms is wrong."""
    problems = [one for one in check_fields(template.kind, fields) if _field_of(one[0]) not in faults]
    absent = {name for name in template.differences if name not in fields}
    known = [*faults.items(), *(one for one in problems if one[0] not in absent)]
    return known or problems


def _texts(row: Row, template: Template) -> dict[str, str]:
    """Field to its text as the list or the profile has it."""
    columns = template.columns.items()
    return {
        **{name: row.cells.get(one.column, "") for name, one in columns if _is_given(one.column, row)},
        **template.constants,
    }


def _is_given(column: str, row: Row) -> bool:
    return column in row.cells or column in row.faults


def _fields_of(row: Row, template: Template, unit: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields that a row gives, and what is wrong with some of them beside their schema."""
    fields: dict[str, Any] = {}
    faults: dict[str, str] = {}
    parts = template.kind.schema["properties"]
    for name, text in _texts(row, template).items():
        taken = template.columns.get(name, _CONSTANT)
        word, fault = _word(text, taken)
        is_date = taken.column in row.dates
        fields[name], odd = value_of(word, parts.get(name, {}), is_date=is_date, form=taken.date)
        if fault := row.faults.get(taken.column) or fault or odd:
            faults[name] = fault
    for name, (first, *others) in template.differences.items():
        if all(type(fields.get(one)) is int for one in (first, *others)):
            fields[name] = fields[first] - sum(fields[one] for one in others)
    if UNIT_FIELD in template.kind.fields:
        fields.setdefault(UNIT_FIELD, unit)
    return fields, faults


_CONSTANT = Taken(column="")


def _word(text: str, taken: Taken) -> tuple[str, str]:
    """A cell in the words of the profile, which has to know all of them or none."""
    if not taken.values or text in taken.values.values():
        return text, ""
    if text in taken.values:
        return taken.values[text], ""
    return text, f"not among the words of the profile: {', '.join(taken.values)}"


def _unknown_pupil(local_id: str, known: Mapping[str, bytes]) -> tuple[str, str]:
    if not local_id:
        return SUBJECT_COLUMN, "missing; it must be the pupil's local id"
    alike = local_id.translate(_LATIN_FOR_CYRILLIC), local_id.translate(_CYRILLIC_FOR_LATIN)
    if meant := next((one for one in alike if one in known), ""):
        return SUBJECT_COLUMN, f"not in the class register, which has {meant} with letters that look the same"
    return SUBJECT_COLUMN, "not in the class register: enrol the pupil first (pledger class enrol)"
