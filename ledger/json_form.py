"""Reading JSON values of a fixed form: each function returns what it took, or says which path is wrong.

For the parts of a roster that are parsed once into dataclasses. A path reads like ``kinds.project.office``
or ``kinds.project.readers[2]``; every refusal is `Malformed` and shows the value, cut short. Nothing is
converted: a value is of the type asked for or refused, and ``true`` is not 1.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from ledger.errors import Malformed

Json: TypeAlias = Any
"""What ``json.loads`` gives."""

MEMBERS_MAX = 64
"""Members of an object, items of a list: three times the longest of ours, which is the list of kinds."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: object) -> str:
    """Return ``value`` as text short enough for a line, its control characters escaped."""
    try:
        return _SHORT.repr(value)
    except (RecursionError, ValueError):  # an integer of more digits than Python prints
        return f"a {type(value).__name__}"


def take_map(value: Json, path: str) -> dict[str, Json]:
    """Return a JSON object of at most `MEMBERS_MAX` members."""
    if type(value) is not dict or len(value) > MEMBERS_MAX:
        raise Malformed(f"{path}: must be an object of at most {MEMBERS_MAX} members, not {shown(value)}")
    for key in value:
        if type(key) is not str:
            raise Malformed(f"{path}: key {shown(key)} is not a text")
    return value


def take_members(
    value: Json, path: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Json]:
    """Return an object that has all the ``required`` keys and no unknown one."""
    members = take_map(value, path)
    for key in members:
        if key not in required and key not in optional:
            known = ", ".join((*required, *optional))
            raise Malformed(f"{path}: unknown key {shown(key)}; known are {known}")
    for key in required:
        if key not in members:
            raise Malformed(f"{path}: has no {key}")
    return members


def take_list(value: Json, path: str) -> list[Json]:
    """Return a list of at most `MEMBERS_MAX` items."""
    if type(value) is not list or len(value) > MEMBERS_MAX:
        raise Malformed(f"{path}: must be a list of at most {MEMBERS_MAX} items, not {shown(value)}")
    return value


def take_set(value: Json, path: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return a list of words out of ``known``, none twice, in the order given."""
    return tuple(take_word(item, path, known) for item in take_distinct(value, path))


def take_distinct(value: Json, path: str) -> list[Json]:
    """Return a list that holds nothing twice."""
    items = take_list(value, path)
    for index, item in enumerate(items):
        if item in items[:index]:
            raise Malformed(f"{path}: {shown(item)} is there twice")
    return items


def take_word(value: Json, path: str, known: Sequence[str]) -> str:
    """Return one of the ``known`` words."""
    if type(value) is not str or value not in known:
        raise Malformed(f"{path}: {shown(value)} is unknown; known are {', '.join(known) or 'none'}")
    return value


def take_text(value: Json, path: str, pattern: re.Pattern[str]) -> str:
    """Return a text that ``pattern`` matches whole."""
    if type(value) is not str or not pattern.fullmatch(value):
        raise Malformed(f"{path}: {shown(value)} is not a text of the form {pattern.pattern}")
    return value


def take_integer(value: Json, path: str, least: int, most: int) -> int:
    """Return an integer from ``least`` to ``most``, both included."""
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"{path}: {shown(value)} is not a whole number from {least} to {most}")
    return value


def take_boolean(value: Json, path: str) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        raise Malformed(f"{path}: {shown(value)} is neither true nor false")
    return value
