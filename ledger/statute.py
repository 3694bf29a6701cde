"""The statutory list: the closed kinds of record, what each may hold, and who may write and read it.

The list travels in the roster, signed by a quorum; the package ships a default one (``statute.json``). What
is not on the list cannot be recorded. `parse_statute` is where the promises to families are kept: each kind
names its law, article, responsible office and retention and is explained in Russian and English; its schema
is closed and bounded (``ledger/schema_form``); guardians and pupil read every kind; no role, purpose or name
outside ``ledger/vocabulary`` can be added by any signature.

This is the only module that imports jsonschema (draft 2020-12). Three things are pinned, because a verdict
must be a function of bytes whoever computes it: ``$`` in a pattern is the end of the text (ECMA 262, which
JSON Schema names; Python's also matches before a last newline), an integer is an int (never a boolean, never
1.0), and ``format: date`` is asserted. What a schema cannot say stands in ``ledger/field_rules``.

A kind's schema is taken apart when the list is parsed, into one validator a field (some 20 us a record). The
whole schema at once costs up to six times as much, because jsonschema makes a new validator for every
subschema it descends into, for every record. A test holds the two to the same verdict.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from importlib import resources
from itertools import islice
from types import MappingProxyType
from typing import Any

import jsonschema
import jsonschema.validators

from ledger import codec
from ledger.errors import Malformed
from ledger.field_rules import Fields, Problem, Rule, personal_numbers, rules_for
from ledger.json_form import (
    MEMBERS_MAX,
    Json,
    shown,
    take_boolean,
    take_integer,
    take_map,
    take_members,
    take_set,
    take_text,
    take_word,
)
from ledger.schema_form import (
    LINE,
    NAME,
    Schema,
    check_kind_schema,
    check_name,
    date_fields,
    expected,
    integer_fields,
)
from ledger.vocabulary import (
    BASES,
    MISFILED,
    RESERVED_KINDS,
    ROLES,
    WITHDRAWAL_REASONS,
    Pairs,
    take_purposes,
    take_readers,
    take_writers,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RETENTION_MONTHS_MAX = 1200
"""A hundred years: archives keep personal files for 75."""
PROBLEMS_MAX = 50
"""Problems told of one record: more than any kind has fields; a map of junk must not fill a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A legal act; ``sha256`` (hex) of its official text, where somebody recorded it.

    ``ended_on`` (ISO date) stands where it has ended, as experiments do: then no kind may rest on it.
    """

    id: str
    title: str
    number: str
    date: str
    sha256: str | None
    ended_on: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One compiled subschema, and the words for what it wants."""

    validator: Any
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """A kind's schema taken apart.

    ``branches``: (field, word) to what other fields must be where that field has that word.
    """

    fields: Mapping[str, Check]
    branches: Mapping[str, Mapping[str, tuple[tuple[str, Check], ...]]]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Other terms of a kind where ``field`` has one of ``values`` (exams among the results)."""

    field: str
    values: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of record. A kind without writers is switched off.

    ``unit_bound`` binds staff authors to the unit of the child's enrolment (the desk has no unit).
    ``period_from`` is the field that the record's school year follows from; ``past_dates`` are dates of what
    happened. ``fields`` stand in the order of the list; those not in ``required`` may be left out.
    """

    name: str
    identity: tuple[str, ...]
    basis: str
    act: str
    article: str
    office: str
    retention_months: int
    writers: Pairs
    readers: Pairs
    unit_bound: bool
    period_from: str | None
    past_dates: tuple[str, ...]
    explanation: Mapping[str, str]
    fields: tuple[str, ...]
    required: tuple[str, ...]
    integers: tuple[str, ...]
    schema: Mapping[str, Any] = field(repr=False)
    variant: Variant | None = field(default=None, repr=False)
    checks: Checks = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statute:
    """A parsed list: kinds and acts by name, in the order of the list. Equal lists are equal."""

    kinds: Mapping[str, Kind]
    acts: Mapping[str, Act]
    purposes: tuple[str, ...]
    roles: tuple[str, ...]


def default_statute_json() -> dict[str, Json]:
    """Return a fresh copy of the list that the package ships, to be written into a founding roster."""
    text = resources.files("ledger").joinpath("statute.json").read_text(encoding="utf-8")
    value: dict[str, Json] = json.loads(text)
    return value


# Fields against a kind.


def check_fields(kind: Kind, fields: object) -> list[Problem]:
    """Return what is wrong with ``fields`` as a record of ``kind``, in the order of the list; empty if good.

    Takes any value and never raises. A withdrawal (`is_withdrawal`) is judged by `check_withdrawal_fields`.
    """
    if type(fields) is not dict:
        return [("", f"{shown(fields)} given; it must be a map of {', '.join(kind.fields)}")]
    problems = [*_unknown_fields(kind, fields), *_field_problems(kind, fields)]
    if not problems:
        problems = [*_branch_problems(kind, fields), *personal_numbers(fields)]
    if not problems:
        problems = [problem for rule in kind.checks.rules if (problem := rule(fields))]
    return problems[:PROBLEMS_MAX]


def is_withdrawal(fields: object) -> bool:
    """Whether ``fields`` has the form of a withdrawal: ``reason_code`` and nothing else."""
    return isinstance(fields, Mapping) and len(fields) == 1 and "reason_code" in fields


def is_misfiled(fields: Mapping[str, Any]) -> bool:
    """Whether ``fields`` withdraw a record that stood with the wrong pupil: its body goes at once."""
    return is_withdrawal(fields) and fields["reason_code"] == MISFILED


def check_withdrawal_fields(fields: object) -> list[Problem]:
    """Return what is wrong with ``fields`` as a withdrawal of a record of any kind; empty if good."""
    wanted = f"one of {', '.join(WITHDRAWAL_REASONS)}"
    if not isinstance(fields, Mapping) or not is_withdrawal(fields):
        return [("", f"{shown(fields)} given; a withdrawal has only reason_code, {wanted}")]
    reason = fields["reason_code"]
    if type(reason) is str and reason in WITHDRAWAL_REASONS:
        return []
    return [("reason_code", f"{shown(reason)} given; it must be {wanted}")]


def applied_kind(kind: Kind, fields: Fields) -> Kind:
    """Return ``kind`` as it applies to these fields: its variant (exams), or itself.

    A withdrawal's fields do not say which: pass the fields of the record that it takes back.
    """
    variant = kind.variant
    if variant is not None and fields.get(variant.field) in variant.values:
        return variant.kind
    return kind


def basis_of(kind: Kind, fields: Fields) -> str:
    """Return ``law``, ``notice`` or ``consent``; an exam result is ``law`` whatever the family chose."""
    return applied_kind(kind, fields).basis


def identity_of(kind: Kind, fields: Fields) -> bytes:
    """Return the canonical encoding of ``[kind, identity values...]``, nil where an optional one is absent.

    ``b""`` for a kind without identity fields: any number of its records may be live.
    """
    if not kind.identity:
        return b""
    return codec.encode([kind.name, *(fields.get(name) for name in kind.identity)])


def school_year(day: date) -> str:
    """Return the school year of ``day``, which begins on 1 September: ``2026/2027``."""
    first = day.year if day.month >= 9 else day.year - 1
    return f"{first}/{first + 1}"


def _unknown_fields(kind: Kind, fields: dict[Any, Any]) -> list[Problem]:
    unknown = (name for name in fields if name not in kind.checks.fields)
    text = f"not a field of {kind.name}, which has only {', '.join(kind.fields)}"
    return [(_path_of(name), text) for name in islice(unknown, PROBLEMS_MAX)]


def _path_of(name: object) -> str:
    return name if isinstance(name, str) and NAME.fullmatch(name) else shown(name)


def _field_problems(kind: Kind, fields: dict[Any, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for name, check in kind.checks.fields.items():
        if name in fields:
            hint = "" if name in kind.required else ", or left out"
            problems += _value_problems(name, check, fields[name], after=hint)
        elif name in kind.required:
            problems.append((name, f"missing; it must be {check.expected}"))
    return problems


def _branch_problems(kind: Kind, fields: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for selector, branches in kind.checks.branches.items():
        word = fields[selector]
        for name, check in branches.get(word, ()):
            if name in fields:
                problems += _value_problems(name, check, fields[name], after=f" where {selector} is {word}")
    return problems


def _value_problems(path: str, check: Check, value: object, *, after: str = "") -> list[Problem]:
    try:
        if type(value) is not list:
            if check.validator.is_valid(value):
                return []
        elif len(value) <= MEMBERS_MAX:  # longer ones before jsonschema compares each item with each
            return _item_problems(path, check, value, after)
    except (RecursionError, ValueError):  # nested past the stack, or an integer too long to print
        pass
    return [(path, f"{shown(value)} given; it must be {check.expected}{after}")]


def _item_problems(path: str, check: Check, value: list[Any], after: str) -> list[Problem]:
    """One problem a place within the list, the list itself included."""
    found: dict[str, str] = {}
    for error in islice(check.validator.iter_errors(value), PROBLEMS_MAX):
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        text = f"{shown(error.instance)} given; it must be {expected(error.schema)}{after}"
        found.setdefault(path + "".join(steps), text)
    return list(found.items())


# Compiling a schema whose form was checked.


@lru_cache(maxsize=1024)
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern[1:-1])


def _match_pattern(_: Any, pattern: str, value: object, __: Any) -> Iterable[jsonschema.ValidationError]:
    if type(value) is str and not _whole(pattern).fullmatch(value):
        yield jsonschema.ValidationError("does not match")


_extend: Any = jsonschema.validators.extend  # without types in some releases of its stubs
_Validator = _extend(
    jsonschema.Draft202012Validator,
    validators={"pattern": _match_pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    ),
)
_FORMATS = jsonschema.FormatChecker(formats=["date"])


def _compile(schema: Schema) -> Checks:
    return Checks(
        fields={name: _compile_part(part) for name, part in schema["properties"].items()},
        branches=_compile_branches(schema.get("allOf", [])),
        rules=rules_for(schema),
    )


def _compile_part(part: Schema) -> Check:
    return Check(validator=_Validator(part, format_checker=_FORMATS), expected=expected(part))


def _compile_branches(conditions: Sequence[Schema]) -> dict[str, dict[str, tuple[tuple[str, Check], ...]]]:
    branches: dict[str, dict[str, tuple[tuple[str, Check], ...]]] = {}
    for condition in conditions:
        ((selector, premise),) = condition["if"]["properties"].items()
        then = tuple((name, _compile_part(part)) for name, part in condition["then"]["properties"].items())
        by_word = branches.setdefault(selector, {})
        for word in premise["enum"]:
            by_word[word] = by_word.get(word, ()) + then
    return branches


# The list itself.

_TERMS = ("basis", "act", "article", "office", "retention_months", "unit_bound", "writers")
"""What a variant states anew; the rest is the kind's."""
_OTHERS = ("identity", "readers", "period_from", "past_dates", "explanation", "schema")
_PROSE = re.compile(r"[^\x00-\x1f\x7f]{20,600}")
"""One or two plain sentences for a parent, not a contract."""
_SHA256 = re.compile("[0-9a-f]{64}")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ACT_ID = re.compile("[a-z0-9](?:[a-z0-9.-]{0,38}[a-z0-9])?")


def parse_statute(value: Json) -> Statute:
    """Return the list in ``value`` (from a roster's JSON); raise `Malformed`, naming the path, otherwise."""
    top = take_members(value, "statute", ("schema_dialect", "acts", "roles", "purposes", "kinds"))
    take_word(top["schema_dialect"], "schema_dialect", (DIALECT,))
    acts = {name: _parse_act(name, act) for name, act in take_map(top["acts"], "acts").items()}
    frame = Statute(
        kinds={},
        acts=MappingProxyType(acts),
        purposes=take_purposes(top["purposes"], "purposes"),
        roles=take_set(top["roles"], "roles", ROLES),
    )
    kinds = {name: _parse_kind(name, kind, frame) for name, kind in take_map(top["kinds"], "kinds").items()}
    _check_vocabularies(kinds, frame)
    return replace(frame, kinds=MappingProxyType(kinds))


def _parse_act(name: str, value: Json) -> Act:
    path = f"acts.{name}"
    members = take_members(value, path, ("title", "number", "date"), ("sha256", "ended_on"))
    return Act(
        id=take_text(name, path, _ACT_ID),
        title=take_text(members["title"], f"{path}.title", LINE),
        number=take_text(members["number"], f"{path}.number", LINE),
        date=_day(members["date"], f"{path}.date"),
        sha256=take_text(members["sha256"], f"{path}.sha256", _SHA256) if "sha256" in members else None,
        ended_on=_day(members["ended_on"], f"{path}.ended_on") if "ended_on" in members else None,
    )


def _day(value: Json, path: str) -> str:
    text = take_text(value, path, _DAY)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Malformed(f"{path}: {text} is no day of the calendar") from None


def _parse_kind(name: str, value: Json, frame: Statute) -> Kind:
    path = f"kinds.{name}"
    if name in RESERVED_KINDS:
        raise Malformed(f"{path}: {name} is a public governance kind or padding, never a private kind")
    check_name(name, path)
    members = take_members(value, path, (*_TERMS, *_OTHERS), ("variant",))
    check_kind_schema(members["schema"], f"{path}.schema")
    schema = copy.deepcopy(members["schema"])  # a caller's later edit must not reach a parsed list
    kind = Kind(
        name=name,
        **_parse_terms(members, path, frame),
        **_parse_uses(members, path, schema),
        readers=take_readers(members["readers"], f"{path}.readers", frame.roles, frame.purposes),
        explanation=_parse_explanation(members["explanation"], f"{path}.explanation"),
        fields=tuple(schema["properties"]),
        required=tuple(schema["required"]),
        integers=integer_fields(schema),
        schema=schema,
        checks=_compile(schema),
    )
    if "variant" not in members:
        return kind
    return replace(kind, variant=_parse_variant(members["variant"], f"{path}.variant", kind, frame))


def _parse_terms(members: dict[str, Json], path: str, frame: Statute) -> dict[str, Any]:
    act = members["act"]
    if type(act) is not str or act not in frame.acts:
        raise Malformed(f"{path}.act: {shown(act)} is not in the table of acts")
    if frame.acts[act].ended_on is not None:
        raise Malformed(f"{path}.act: {act} ended on {frame.acts[act].ended_on}, no kind may rest on it")
    months = f"{path}.retention_months"
    return {
        "basis": take_word(members["basis"], f"{path}.basis", BASES),
        "act": act,
        "article": take_text(members["article"], f"{path}.article", LINE),
        "office": take_text(members["office"], f"{path}.office", NAME),
        "retention_months": take_integer(members["retention_months"], months, 1, RETENTION_MONTHS_MAX),
        "unit_bound": take_boolean(members["unit_bound"], f"{path}.unit_bound"),
        "writers": take_writers(members["writers"], f"{path}.writers", frame.roles, frame.purposes),
    }


def _parse_uses(members: dict[str, Json], path: str, schema: Schema) -> dict[str, Any]:
    """The members that name fields of the kind."""
    fields, dates, period_from = tuple(schema["properties"]), date_fields(schema), members["period_from"]
    if period_from is not None:
        sources = (*dates, "school_year") if "school_year" in fields else dates
        take_word(period_from, f"{path}.period_from", sources)
    return {
        "identity": take_set(members["identity"], f"{path}.identity", fields),
        "period_from": period_from,
        "past_dates": take_set(members["past_dates"], f"{path}.past_dates", dates),
    }


def _parse_variant(value: Json, path: str, kind: Kind, frame: Statute) -> Variant:
    members = take_members(value, path, ("field", "values", *_TERMS))
    selector = take_word(members["field"], f"{path}.field", kind.required)
    words = kind.schema["properties"][selector].get("enum", ())
    return Variant(
        field=selector,
        values=take_set(members["values"], f"{path}.values", words),
        kind=replace(kind, **_parse_terms(members, path, frame)),
    )


def _parse_explanation(value: Json, path: str) -> Mapping[str, str]:
    members = take_members(value, path, ("ru", "en"))
    texts = {key: take_text(text, f"{path}.{key}", _PROSE) for key, text in members.items()}
    if not re.search("[а-я]", texts["ru"]):
        raise Malformed(f"{path}.ru: {shown(texts['ru'])} is not Russian")
    return MappingProxyType(texts)


def _check_vocabularies(kinds: Mapping[str, Kind], frame: Statute) -> None:
    """Refuse a field ``kinds``, ``purpose`` or ``role`` whose words are not those of the list."""
    known: dict[str, Iterable[str]] = {"kinds": kinds, "purpose": frame.purposes, "role": frame.roles}
    for kind in kinds.values():
        for name, vocabulary in known.items():
            part = kind.schema["properties"].get(name, {})
            for word in part.get("items", part).get("enum", ()):
                if word not in vocabulary:
                    raise Malformed(f"kinds.{kind.name}.schema.properties.{name}: {word} is not on the list")
