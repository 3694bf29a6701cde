"""Rules over the fields of a record that a JSON Schema cannot say.

A kind has a rule by having all the fields it speaks of, in the form it speaks of; so a list that a quorum
extends gets them without naming them, and none can be left out of it. Rules see only fields that satisfy the
kind's schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from ledger.json_form import shown

Fields: TypeAlias = Mapping[str, Any]
Problem: TypeAlias = tuple[str, str]
"""(path of the field, "" for the whole; the value and what would be right)."""
Rule: TypeAlias = Callable[[Fields], Problem | None]

_PERSONAL_NUMBER = re.compile(r"[0-9](?:[._/-]?[0-9]){10,11}")
_SCHOOL_YEAR = re.compile("(20[0-9]{2})/(20[0-9]{2})")


def rules_for(schema: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules for a kind of this (checked) schema."""
    properties = schema["properties"]
    return tuple(
        rule
        for rule, names, (keyword, form) in _RULES
        if all(properties.get(name, {}).get(keyword) == form for name in names)
    )


def personal_numbers(fields: Fields) -> list[Problem]:
    """Refuse 11 or 12 digits: they fit a code, and are a SNILS, a telephone or a person's taxpayer number."""
    return [
        (name, f"{shown(value)} given; 11 or 12 digits are a SNILS, telephone or taxpayer number: never kept")
        for name, value in fields.items()
        if type(value) is str and _PERSONAL_NUMBER.fullmatch(value)
    ]


def _attendance_adds_up(fields: Fields) -> Problem | None:
    parts = [fields.get(name) for name in ("present", "excused", "unexcused")]
    possible = fields.get("days_possible")
    if possible is None or None in parts:
        return None
    total = sum(part for part in parts if part is not None)
    if total == possible:
        return None
    return "days_possible", f"{possible} given; present + excused + unexcused make {total}, it must be equal"


def _is_one_school_year(fields: Fields) -> Problem | None:
    value = fields.get("school_year", "2000/2001")
    years = _SCHOOL_YEAR.fullmatch(value)
    if years and int(years[1]) + 1 == int(years[2]):
        return None
    return "school_year", f"{shown(value)} given; it must be two years in a row, such as 2026/2027"


def _in_order(first: str, last: str, fields: Fields) -> Problem | None:
    if first not in fields or last not in fields or fields[first] <= fields[last]:
        return None
    return last, f"{shown(fields[last])} given; it must not be before {first}, {fields[first]}"


_RULES: tuple[tuple[Rule, tuple[str, ...], tuple[str, str]], ...] = (
    (_attendance_adds_up, ("days_possible", "present", "excused", "unexcused"), ("type", "integer")),
    (_is_one_school_year, ("school_year",), ("type", "string")),
    (partial(_in_order, "valid_from", "valid_until"), ("valid_from", "valid_until"), ("format", "date")),
    (partial(_in_order, "from", "until"), ("from", "until"), ("format", "date")),
    (partial(_in_order, "received_on", "deadline"), ("received_on", "deadline"), ("format", "date")),
)
"""Rule, the fields it speaks of, the keyword and value that each of their schemas must have."""
