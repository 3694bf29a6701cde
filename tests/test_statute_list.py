"""Attacks on the list itself: what a quorum might sign and the project must still refuse."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Malformed
from ledger.schema_form import is_closed_pattern
from ledger.statute import check_fields, default_statute_json, parse_statute
from tests.test_statute import GOOD, values

STATUTE = parse_statute(default_statute_json())

Json: TypeAlias = Any
Edit: TypeAlias = Callable[[Json], object]

PROJECT = "kinds/project"
PROJECT_FIELDS = "kinds/project/schema/properties"
EXAMS = "kinds/subject_result/variant"
CONSENT_FIELDS = "kinds/consent/schema/properties"
KEYS = "kinds/family_keys/schema/properties/keys"
CONDITION = "kinds/restriction/schema/allOf/0"


def at(value: Json, path: str) -> Json:
    """What stands at a path such as ``kinds/project/act`` of a list's JSON."""
    for step in path.split("/") if path else ():
        value = value[int(step) if isinstance(value, list) else step]
    return value


def put(path: str, item: Json) -> Edit:
    """Set what stands at the path."""
    parent, _, key = path.rpartition("/")
    return lambda value: at(value, parent).update({key: copy.deepcopy(item)})


def drop(path: str) -> Edit:
    """Leave out what stands at the path."""
    parent, _, key = path.rpartition("/")
    return lambda value: at(value, parent).pop(key)


def add(path: str, item: Json) -> Edit:
    """Append to the list at the path."""
    return lambda value: at(value, path).append(item)


def remove(path: str, item: Json) -> Edit:
    """Remove from the list at the path."""
    return lambda value: at(value, path).remove(item)


def rename(old: str, new: str) -> Edit:
    """Give a kind another name."""
    return lambda value: value["kinds"].update({new: value["kinds"].pop(old)})


OPEN_OBJECT = {"type": "object", "additionalProperties": False, "properties": {}, "required": []}
WORDS = {"enum": ["x"]}

ATTACKS: dict[str, tuple[Edit, str]] = {
    # the law
    "a kind citing an unknown act": (
        put(f"{PROJECT}/act", "210-fz"),
        "kinds.project.act: '210-fz' is not in",
    ),
    "a kind resting on an experiment that ended": (
        put(f"{PROJECT}/act", "decree-2040"),
        "ended on 2022-12-31",
    ),
    "an act on no day": (put("acts/273-fz/date", "2012-13-29"), "acts.273-fz.date"),
    "an act with half a hash": (put("acts/273-fz/sha256", "ab"), "acts.273-fz.sha256"),
    "an unknown key of an act": (put("acts/273-fz/note", "x"), "unknown key 'note'"),
    # who answers for it, and for how long
    "a kind without an officer": (drop(f"{PROJECT}/office"), "kinds.project: has no office"),
    "a kind with an empty office": (put(f"{PROJECT}/office", ""), "kinds.project.office"),
    "a kind without retention": (drop(f"{PROJECT}/retention_months"), "has no retention_months"),
    "a kind kept for ever": (put(f"{PROJECT}/retention_months", 10**6), "kinds.project.retention_months"),
    "a kind kept true months": (put(f"{PROJECT}/retention_months", True), "kinds.project.retention_months"),
    # what parents are told
    "a kind without English": (drop(f"{PROJECT}/explanation/en"), "explanation: has no en"),
    "a kind without Russian": (drop(f"{PROJECT}/explanation/ru"), "explanation: has no ru"),
    "English sold as Russian": (put(f"{PROJECT}/explanation/ru", "A project of a pupil."), "is not Russian"),
    "an explanation of one word": (put(f"{PROJECT}/explanation/en", "Project."), "explanation.en"),
    # who writes and reads, and why
    "an unknown role": (add(f"{PROJECT}/readers", ["minister", "inspection"]), "unknown role 'minister'"),
    "an unknown purpose": (add(f"{PROJECT}/readers", ["clerk", "curiosity"]), "unknown purpose 'curiosity'"),
    "a reader without a purpose": (add(f"{PROJECT}/readers", ["clerk"]), "must be a role and a purpose"),
    "a purpose of training models": (
        add(f"{PROJECT}/readers", ["clerk", "ai_training"]),
        "'ai_training' is ref",
    ),
    "training among the purposes": (add("purposes", "training"), "'training' is refused"),
    "profiling among the purposes": (add("purposes", "profiling"), "'profiling' is refused"),
    "rating among the purposes": (add("purposes", "pupil_rating"), "'pupil_rating' is refused"),
    "advertising among the purposes": (add("purposes", "advertising"), "'advertising' is refused"),
    "a purpose that the list itself lacks": (
        remove("purposes", "inspection"),
        "unknown purpose 'inspection'",
    ),
    "a role that the code does not know": (add("roles", "minister"), "roles: 'minister'"),
    "a guardian as writer": (add(f"{PROJECT}/writers", ["guardian", "portfolio"]), "guardian cannot write"),
    "an auditor as writer": (add(f"{PROJECT}/writers", ["auditor", "inspection"]), "auditor cannot write"),
    "a registrar as writer": (
        add(f"{PROJECT}/writers", ["registrar", "portfolio"]),
        "registrar cannot write",
    ),
    "a kind hidden from guardians": (
        remove("kinds/access/readers", ["guardian", "portfolio"]),
        "guardian must be among them",
    ),
    "a kind hidden from the pupil": (
        remove("kinds/access/readers", ["pupil", "portfolio"]),
        "pupil must be among them",
    ),
    # names
    "a private kind named erasure": (rename("project", "erasure"), "public governance kind"),
    "a private kind named staff.grant": (rename("project", "staff.grant"), "public governance kind"),
    "a private kind named padding": (rename("project", "padding"), "padding"),
    "a kind of ratings": (rename("project", "school_rating"), "rating can be neither"),
    "a kind of messages": (rename("project", "message"), "message can be neither"),
    "a kind of derived judgements": (rename("project", "derived"), "derived can be neither"),
    "a kind with a capital": (rename("project", "Project"), "kinds.Project"),
    "a field for the mother": (put(f"{PROJECT_FIELDS}/mother_job", WORDS), "mother can be neither"),
    "a field for a score": (put(f"{PROJECT_FIELDS}/score", WORDS), "score can be neither"),
    "a diagnosis within a list": (
        put(f"{KEYS}/items/properties/diagnosis", WORDS),
        "diagnosis can be neither",
    ),
    # the schema
    "an open schema": (put(f"{PROJECT}/schema/additionalProperties", True), "is not closed"),
    "an open schema within a list": (put(f"{KEYS}/items/additionalProperties", {}), "is not closed"),
    "a schema silent about other fields": (
        drop(f"{PROJECT}/schema/additionalProperties"),
        "has no additional",
    ),
    "patterned fields": (put(f"{PROJECT}/schema/patternProperties", {}), "unknown key 'patternProperties'"),
    "a schema fetched from elsewhere": (
        put(f"{PROJECT_FIELDS}/date/$ref", "https://a.org"),
        "unknown key '$ref'",
    ),
    "a field of any type": (put(f"{PROJECT_FIELDS}/title_code", {}), "has no enum"),
    "a field of an unknown type": (put(f"{PROJECT_FIELDS}/title_code/type", "number"), "'number' is unknown"),
    "a field that is an object": (put(f"{PROJECT_FIELDS}/title_code", OPEN_OBJECT), "only a field is a list"),
    "an empty vocabulary": (put(f"{PROJECT_FIELDS}/role_code/enum", []), "at least one word"),
    "a vocabulary of sentences": (add(f"{PROJECT_FIELDS}/role_code/enum", "did his best"), "role_code.enum"),
    "a text without a pattern": (drop(f"{PROJECT_FIELDS}/title_code/pattern"), "has no pattern"),
    "a text of any letters": (put(f"{PROJECT_FIELDS}/title_code/pattern", "^.{1,40}$"), "title_code.pattern"),
    "a text without a length": (drop(f"{PROJECT_FIELDS}/title_code/maxLength"), "has no maxLength"),
    "a text that sentences fit": (
        put(f"{PROJECT_FIELDS}/title_code/maxLength", 2000),
        "title_code.maxLength",
    ),
    "a text that nobody explains": (drop(f"{PROJECT_FIELDS}/title_code/description"), "has no description"),
    "a format that nobody asserts": (put(f"{PROJECT_FIELDS}/date/format", "email"), "is not date"),
    "a list without an end": (drop(f"{CONSENT_FIELDS}/kinds/maxItems"), "has no maxItems"),
    "a list of a million": (put(f"{CONSENT_FIELDS}/kinds/maxItems", 10**6), "kinds.maxItems"),
    "an integer without an end": (drop("kinds/gto_badge/schema/properties/stage/maximum"), "has no maximum"),
    "an integer that ends before it begins": (
        put("kinds/gto_badge/schema/properties/stage/maximum", 0),
        "stage.maximum",
    ),
    "a required field that is none": (add(f"{PROJECT}/schema/required", "title"), "schema.required"),
    # what refers to fields
    "an identity field that is no field": (put(f"{PROJECT}/identity", ["title"]), "kinds.project.identity"),
    "an identity field twice": (put(f"{PROJECT}/identity", ["date", "date"]), "is there twice"),
    "a period from no date": (put(f"{PROJECT}/period_from", "title_code"), "kinds.project.period_from"),
    "a past date that is no date": (put(f"{PROJECT}/past_dates", ["title_code"]), "kinds.project.past_dates"),
    # conditions and exams
    "a condition over two fields": (put(f"{CONDITION}/if/required", ["scope", "from"]), "exactly one field"),
    "a condition that holds for the absent": (put(f"{CONDITION}/if/required", []), "exactly one field"),
    "a condition on an unknown word": (
        put(f"{CONDITION}/if/properties/scope/enum", ["every"]),
        "'every' is unk",
    ),
    "a condition with another way out": (put(f"{CONDITION}/else", {}), "unknown key 'else'"),
    "a condition that adds a field": (put(f"{CONDITION}/then/properties/extra", WORDS), "'extra' is unknown"),
    "exam terms for a word that is no exam": (put(f"{EXAMS}/values", ["lesson"]), "variant.values"),
    "exam terms on an unknown act": (put(f"{EXAMS}/act", "210-fz"), "variant.act"),
    "exam terms without an officer": (drop(f"{EXAMS}/office"), "variant: has no office"),
    # the whole
    "an unknown key of the list": (put("extra", 1), "unknown key 'extra'"),
    "an unknown key of a kind": (put(f"{PROJECT}/note", "x"), "unknown key 'note'"),
    "another dialect": (put("schema_dialect", "draft-07"), "schema_dialect"),
    "consent to a kind that is not on the list": (
        drop(PROJECT),
        "properties.kinds: project is not on the list",
    ),
    "consent for a purpose outside the list": (
        add(f"{CONSENT_FIELDS}/purpose/enum", "marketing"),
        "marketing is not on the list",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_list_is_refused_with(attack: str) -> None:
    """However many sign it, such a list is no list, and the refusal names the place."""
    edit, expected = ATTACKS[attack]
    value = default_statute_json()
    edit(value)
    with pytest.raises(Malformed) as caught:
        parse_statute(value)
    assert expected in str(caught.value)
    assert parse_statute(default_statute_json()) == STATUTE


def test_a_later_edit_of_the_json_does_not_reach_a_parsed_list() -> None:
    """What was judged is what stays in force."""
    value = default_statute_json()
    kind = parse_statute(value).kinds["handover"]
    at(value, "kinds/handover/schema/properties/date")["pattern"] = "^[a-z]{1,9}$"
    assert check_fields(kind, GOOD["handover"]) == [] and kind == STATUTE.kinds["handover"]


def test_a_list_of_lists_is_refused() -> None:
    """Nesting stops at a list of flat objects."""
    value = default_statute_json()
    kinds = at(value, f"{CONSENT_FIELDS}/kinds")
    kinds["items"] = copy.deepcopy(kinds)
    with pytest.raises(Malformed, match="only a field is a list"):
        parse_statute(value)


def test_a_quorum_may_add_a_kind_within_the_forms() -> None:
    """The closed list grows by act and quorum: a well-formed new kind is judged by its schema at once."""
    value = default_statute_json()
    value["kinds"]["library_card"] = {**copy.deepcopy(value["kinds"]["handover"]), "act": "273-fz"}
    kind = parse_statute(value).kinds["library_card"]
    assert check_fields(kind, {"date": "2026-11-02"}) == []
    assert check_fields(kind, {"date": "2026-11-02", "books": 3})[0][0] == "books"


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "abc", "^abc", "abc$", "^a|b$", "^.*$", "^a*$", "^a+$", "^a{3,}$", "^[^a]{3}$", r"^\w{3}$"),
        *(r"^\d$", "^[a-z ]{3}$", "^a b$", "^(a)$", "^(?:a{9}){9}$", "^(?=a)b$", "^[z-a]$", "^a{5,2}$"),
        *("^(?:a$", "^a)$", "^[.-z]$", "^a\\$", "^^a$", "^a$$", "^(?:a)*$", "^" + "a" * 300 + "$", "^a$\n"),
    ],
)
def test_an_open_or_ambiguous_pattern_is_refused(pattern: str) -> None:
    """No wildcard, no space, no endless repetition, nothing that two engines read in two ways."""
    assert not is_closed_pattern(pattern)


def test_every_pattern_of_the_default_list_refuses_sentences() -> None:
    """No pattern of the list lets a space or a line end through."""
    found = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(default_statute_json()))
    assert found
    for pattern in map(json.loads, found):
        assert is_closed_pattern(pattern)
        assert not any(re.fullmatch(pattern[1:-1], text) for text in ("a b", "a\n", " a", "один два"))


@given(value=values)
def test_any_value_is_no_list(value: object) -> None:
    """A hostile roster ends in `Malformed`, never in a traceback."""
    with pytest.raises(Malformed):
        parse_statute(value)


@settings(deadline=None)  # a list is parsed for each example, on a machine that may be busy
@given(data=st.data(), value=values)
def test_any_value_at_any_place_of_the_list_gives_malformed_or_a_list(
    data: st.DataObject, value: object
) -> None:
    """One hostile value at any place of a good list is refused, or is within its bounds."""
    top = default_statute_json()
    node: Json = top
    key = data.draw(st.sampled_from(list(node)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.integers(0, 5)):
        node = node[key]
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
    node[key] = value
    try:
        statute = parse_statute(top)
    except Malformed:
        return
    for name, kind in statute.kinds.items():
        check_fields(kind, GOOD[name])


@settings(deadline=None)
@given(name=st.text(max_size=20), value=values)
def test_an_unknown_key_in_a_kind_is_refused(name: str, value: object) -> None:
    """Nothing rides along in a kind unread."""
    top = default_statute_json()
    known = {*top["kinds"]["project"], "variant"}
    top["kinds"]["project"].update({name: value})
    if name not in known:
        with pytest.raises(Malformed):
            parse_statute(top)
