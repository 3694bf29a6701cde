"""The few closed forms of JSON Schema in which a kind's fields are described.

A field is a word of a closed vocabulary, a text bounded by pattern and length, an integer with bounds, a list
of these, or a list of flat objects; a condition says "if this field is one of these words, then that field is
so". Nothing else of draft 2020-12 is taken: no ``$ref`` (it may reach the network), no ``anyOf`` (its
refusals cannot be explained to a clerk), no open object, no unbounded text. Sentences must not fit.

Patterns are limited to what every regular-expression engine reads alike, without wildcards, spaces, or
repetition without an end, so that they cannot run away and two verifiers cannot differ over them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from ledger.errors import Malformed
from ledger.json_form import (
    MEMBERS_MAX,
    Json,
    shown,
    take_boolean,
    take_distinct,
    take_integer,
    take_list,
    take_map,
    take_members,
    take_set,
    take_text,
    take_word,
)
from ledger.vocabulary import check_words

Schema: TypeAlias = dict[str, Any]

TEXT_MAX = 64
"""Characters of the longest text in a field: a SHA-256 in hex. Sentences must not fit."""
INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""
PATTERN_MAX = 200
"""Characters of a pattern: twice our longest."""

CHOICES_MAX = 4
"""Parts of a pattern that may be left out or vary in length: a matcher tries every combination of them."""

NAME = re.compile("[a-z][a-z0-9_]{0,39}")
"""Kinds, fields, offices."""
WORD = re.compile("[a-z0-9][a-z0-9_.-]{0,39}")
"""One word of a closed vocabulary."""
LINE = re.compile(r"[^\x00-\x1f\x7f]{1,300}")
"""A line for people, such as an act's title."""

_FORMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "enum": (("enum",), ("description",)),
    "string": (("type", "pattern", "maxLength", "description"), ("format",)),
    "integer": (("type", "minimum", "maximum"), ("description",)),
    "array": (("type", "items", "minItems", "maxItems", "uniqueItems"), ("description",)),
    "object": (("type", "additionalProperties", "properties", "required"), ()),
}
"""Type -> keywords that it must have, keywords that it may have."""


def check_kind_schema(schema: Json, path: str) -> None:
    """Raise `Malformed`, naming the path, unless ``schema`` is a closed object of the forms above."""
    required, _ = _FORMS["object"]
    members = take_members(schema, path, required, ("allOf",))
    _check_object(members, path, depth=0)
    for index, condition in enumerate(take_list(members.get("allOf", []), f"{path}.allOf")):
        _check_condition(condition, f"{path}.allOf[{index}]", members)


def check_name(name: str, path: str) -> None:
    """Raise `Malformed` unless ``name`` may name a kind or a field."""
    take_text(name, path, NAME)
    check_words(name, path)


def date_fields(schema: Schema) -> tuple[str, ...]:
    """Return the names of the fields that are dates."""
    return tuple(name for name, part in schema["properties"].items() if part.get("format") == "date")


def integer_fields(schema: Schema) -> tuple[str, ...]:
    """Return the names of the fields that are integers."""
    return tuple(name for name, part in schema["properties"].items() if part.get("type") == "integer")


def expected(part: Schema) -> str:
    """Return what ``part`` wants, in words that finish "it must be ..."."""
    if "description" in part:
        return str(part["description"])
    if "enum" in part:
        return f"{'one of ' if len(part['enum']) > 1 else ''}{', '.join(part['enum'])}"
    if part["type"] == "integer":
        return f"a whole number from {part['minimum']} to {part['maximum']}"
    if part["type"] == "array":
        return f"a list of {part['minItems']} to {part['maxItems']} items, each {expected(part['items'])}"
    return f"a map of {', '.join(part['properties'])}"


def _check_object(schema: Schema, path: str, *, depth: int) -> None:
    if schema["additionalProperties"] is not False:
        raise Malformed(f"{path}: is not closed, additionalProperties must be false")
    if schema["type"] != "object":
        raise Malformed(f"{path}.type: must be object")
    properties = take_map(schema["properties"], f"{path}.properties")
    for name, part in properties.items():
        check_name(name, f"{path}.properties.{name}")
        _check_part(part, f"{path}.properties.{name}", depth=depth + 1)
    take_set(schema["required"], f"{path}.required", tuple(properties))


def _check_part(part: Json, path: str, *, depth: int) -> None:
    """Depth 1 is a field, 2 an item of a list, 3 a field of such an item."""
    form = take_map(part, path).get("type", "enum")
    required, optional = _FORMS[take_word(form, f"{path}.type", tuple(_FORMS))]
    take_members(part, path, required, optional)
    if "description" in part:
        take_text(part["description"], f"{path}.description", LINE)
    match form:
        case "enum":
            _check_words(part["enum"], f"{path}.enum")
        case "string":
            _check_string(part, path)
        case "integer":
            _check_bounds(part, path, "minimum", "maximum", INTEGER_MAX)
        case "array" if depth == 1:
            _check_bounds(part, path, "minItems", "maxItems", MEMBERS_MAX)
            take_boolean(part["uniqueItems"], f"{path}.uniqueItems")
            _check_part(part["items"], f"{path}.items", depth=2)
        case "object" if depth == 2:
            _check_object(part, path, depth=2)
        case _:
            raise Malformed(f"{path}: only a field is a list, only a list's item a (flat) object")


def _check_words(value: Json, path: str) -> None:
    words = take_distinct(value, path)
    if not words:
        raise Malformed(f"{path}: a vocabulary has at least one word")
    for word in words:
        take_text(word, path, WORD)


def _check_string(part: Schema, path: str) -> None:
    take_integer(part["maxLength"], f"{path}.maxLength", 1, TEXT_MAX)
    if part.get("format", "date") != "date":
        raise Malformed(f"{path}.format: {shown(part['format'])} is not date, the only format asserted")
    pattern = part["pattern"]
    if type(pattern) is not str or not is_closed_pattern(pattern):
        raise Malformed(f"{path}.pattern: {shown(pattern)} is not anchored, bounded and free of spaces")


def _check_bounds(part: Schema, path: str, low: str, high: str, most: int) -> None:
    take_integer(part[low], f"{path}.{low}", 0, most)
    take_integer(part[high], f"{path}.{high}", part[low], most)


_RANGE = "[0-9]-[0-9] | [a-z]-[a-z] | [A-Z]-[A-Z] | [а-я]-[а-я] | [А-Я]-[А-Я] | [0-9A-Za-zЁё._/]"
_TOKEN = re.compile(
    rf"""(?P<open>\(\?:) | (?P<close>\)\??) | (?P<or>\|)
      | (?: [0-9A-Za-z/_-] | \\\. | \[(?: {_RANGE} )+-?\] )
        (?: \? | \{{[0-9]{{1,2}}(?:,[0-9]{{1,2}})?\}} )?""",
    re.VERBOSE,
)
"""One token of a pattern."""


def is_closed_pattern(pattern: str) -> bool:
    """Whether ``pattern`` is ``^...$`` of such tokens, alternatives only within ``(?:...)``."""
    if len(pattern) > PATTERN_MAX or pattern[:1] != "^" or pattern[-1:] != "$":
        return False
    position, depth, end, choices = 1, 0, len(pattern) - 1, 0
    while position < end:
        token = _TOKEN.match(pattern, position, end)
        if token is None or (depth == 0 and (token["or"] or token["close"])):
            return False
        depth += bool(token["open"]) - bool(token["close"])
        choices += token[0].endswith("?") or "," in token[0]
        position = token.end()
    return depth == 0 and choices <= CHOICES_MAX and _compiles(pattern)


def _compiles(pattern: str) -> bool:
    """A range can still run backwards (``z-a``), a repetition end before it begins (``{5,2}``)."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _check_condition(value: Json, path: str, schema: Schema) -> None:
    members = take_members(value, path, ("if", "then"))
    premise = take_members(members["if"], f"{path}.if", ("properties", "required"))
    tested = take_map(premise["properties"], f"{path}.if.properties")
    if len(tested) != 1 or premise["required"] != list(tested):
        raise Malformed(f"{path}.if: must test exactly one field, and require it")
    ((selector, test),) = tested.items()
    take_word(selector, f"{path}.if", schema["required"])
    words = take_members(test, f"{path}.if.properties.{selector}", ("enum",))["enum"]
    take_set(words, f"{path}.if.properties.{selector}", schema["properties"][selector].get("enum", ()))
    conclusion = take_members(members["then"], f"{path}.then", ("properties",))
    for name, part in take_map(conclusion["properties"], f"{path}.then.properties").items():
        take_word(name, f"{path}.then.properties", tuple(schema["properties"]))
        _check_part(part, f"{path}.then.properties.{name}", depth=1)
