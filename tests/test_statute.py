"""The default list says what KINDS demands, and nothing that was feared fits into it, whoever signs."""

from __future__ import annotations

import copy
import json
import re
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.statute import (
    Kind,
    applied_kind,
    basis_of,
    check_fields,
    check_withdrawal_fields,
    default_statute_json,
    identity_of,
    is_withdrawal,
    parse_statute,
    school_year,
)

STATUTE = parse_statute(default_statute_json())

# The table of KINDS, written down again by hand: fields (? = optional), then identity fields.
TABLE = {
    "enrolment": ("org_id stage class_level entry_type date profile", "org_id date"),
    "transfer": ("from_org to_org exit_type date", "from_org date"),
    "subject_result": (
        "org_id school_year term subject_code scale value result_type",
        "org_id school_year term subject_code result_type",
    ),
    "attendance_summary": (
        "org_id school_year term days_possible present excused unexcused",
        "org_id school_year term",
    ),
    "contest_award": ("event_code level status subject_code? date document_no?", "event_code level date"),
    "gto_badge": ("stage badge date order_no", "stage badge"),
    "sport_award": ("sport_code level place? date", "sport_code level date"),
    "supplementary_course": (
        "provider programme_code hours completed_on",
        "provider programme_code completed_on",
    ),
    "project": ("title_code role_code evidence_hash date", "title_code date"),
    "certificate": ("type document_no date registry_ref?", "type document_no"),
    "reference": ("registry_code opaque_handle valid_until", "registry_code"),
    "notice": ("text_hash lang shown_on channel", "text_hash"),
    "family_keys": ("keys paper_hash? suspect_from?", ""),
    "handover": ("date", "date"),
    "alias": ("other_subject", "other_subject"),
    "consent": (
        "purpose kinds recipient valid_from valid_until text_hash lang",
        "purpose recipient valid_from",
    ),
    "consent_withdrawal": ("target channel received_on", "target"),
    "restriction": ("scope recipients from until?", "scope from"),
    "request": ("type received_on deadline state", "type received_on"),
    "access": ("request_id requester role purpose kinds basis_ref outcome hour", "request_id"),
    "objection": ("target reason_code date", "target"),
}
LAW = (
    "enrolment transfer notice family_keys handover alias consent consent_withdrawal restriction request "
    "access objection"
)

HASH = "ab" * 32
GOOD: dict[str, dict[str, Any]] = {
    "enrolment": {
        "org_id": "school-7", "stage": "basic", "class_level": 7, "entry_type": "new", "date": "2026-09-01",
        "profile": "school_only",
    },
    "transfer": {"from_org": "school-7", "to_org": "СОШ-12", "exit_type": "other", "date": "2026-10-30"},
    "subject_result": {
        "org_id": "school-7", "school_year": "2026/2027", "term": "q1", "subject_code": "ALG", "scale": "ru5",
        "value": "4", "result_type": "term",
    },
    "attendance_summary": {
        "org_id": "school-7", "school_year": "2026/2027", "term": "q1", "days_possible": 44, "present": 41,
        "excused": 2, "unexcused": 1,
    },
    "contest_award": {
        "event_code": "VSOSH-2026", "level": "school", "status": "winner", "subject_code": "ALG",
        "date": "2026-10-14", "document_no": "ДИП-2026/7",
    },
    "gto_badge": {"stage": 4, "badge": "gold", "date": "2026-11-06", "order_no": "ПР-2026/41"},
    "sport_award": {"sport_code": "SWIM", "level": "final", "place": 1, "date": "2026-10-02"},
    "supplementary_course": {
        "provider": "KVANT", "programme_code": "ROBOT-1", "hours": 36, "completed_on": "2026-11-02",
    },
    "project": {"title_code": "BIO-3", "role_code": "author", "evidence_hash": HASH, "date": "2026-11-02"},
    "certificate": {
        "type": "diploma", "document_no": "107704/0001234", "date": "2026-06-25", "registry_ref": "R1",
    },
    "reference": {"registry_code": "fis_frdo", "opaque_handle": "0f" * 16, "valid_until": "2027-06-30"},
    "notice": {"text_hash": HASH, "lang": "ru", "shown_on": "2026-08-28", "channel": "paper"},
    "family_keys": {
        "keys": [
            {"key": HASH, "holder": "guardian", "scope": "full", "made_by": "agency"},
            {"key": "cd" * 32, "holder": "pupil", "scope": "see_only", "made_by": "family"},
        ],
        "paper_hash": HASH, "suspect_from": [1, 205],
    },
    "handover": {"date": "2026-11-01"},
    "alias": {"other_subject": "0f" * 16},
    "consent": {
        "purpose": "admission", "kinds": ["subject_result", "project"], "recipient": "north.college",
        "valid_from": "2026-10-01", "valid_until": "2027-08-31", "text_hash": HASH, "lang": "ru",
    },
    "consent_withdrawal": {"target": HASH, "channel": "family_key", "received_on": "2026-11-03"},
    "restriction": {"scope": "outside_agency", "recipients": [], "from": "2026-11-03", "until": "2027-11-03"},
    "request": {"type": "erase", "received_on": "2026-11-03", "deadline": "2026-12-03", "state": "open"},
    "access": {
        "request_id": HASH, "requester": "north.college", "role": "clerk", "purpose": "admission",
        "kinds": ["subject_result"], "basis_ref": HASH, "outcome": "shown", "hour": 498_000,
    },
    "objection": {"target": HASH, "reason_code": "wrong_fact", "date": "2026-11-05"},
}  # fmt: skip


def good(kind: str, /, **changes: Any) -> dict[str, Any]:
    """A good record of a kind with some fields changed or, where the value is None, left out."""
    fields = {**copy.deepcopy(GOOD[kind]), **changes}
    return {key: value for key, value in fields.items() if value is not None}


def paths(kind: str, fields: object) -> list[str]:
    """The paths of the problems that a kind finds."""
    return [path for path, _ in check_fields(STATUTE.kinds[kind], fields)]


# What is on the list.


def test_the_default_list_holds_the_kinds_of_the_table_and_no_other() -> None:
    """Unlisted data has no place to go."""
    assert list(STATUTE.kinds) == list(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_each_kind_has_the_fields_and_the_identity_of_the_table(name: str) -> None:
    """Nothing more may be recorded than the table names, and nothing required is optional."""
    fields, identity = (part.split() for part in TABLE[name])
    kind = STATUTE.kinds[name]
    assert kind.fields == tuple(field.rstrip("?") for field in fields)
    assert kind.required == tuple(field for field in fields if not field.endswith("?"))
    assert kind.identity == tuple(identity)


@pytest.mark.parametrize("name", TABLE)
def test_each_kind_rests_on_what_the_table_says(name: str) -> None:
    """Only what a law requires is kept of a pupil whose family declined."""
    expected = "law" if name in LAW.split() else "consent" if name == "reference" else "notice"
    assert STATUTE.kinds[name].basis == expected


@pytest.mark.parametrize("name", TABLE)
def test_each_kind_explains_itself_in_both_languages(name: str) -> None:
    """A parent reads what it is and what it is never used for, in one or two sentences."""
    texts = STATUTE.kinds[name].explanation
    assert "никогда не используется" in texts["ru"] and "never used" in texts["en"]
    assert all(1 <= len(re.findall(r"\.( |$)", text)) <= 2 for text in texts.values())


@pytest.mark.parametrize("name", TABLE)
def test_each_kind_names_act_article_office_and_retention(name: str) -> None:
    """Persons with access and their responsibilities: law and office stand beside the data."""
    kind = STATUTE.kinds[name]
    assert kind.act in STATUTE.acts and kind.article and kind.office
    assert 12 <= kind.retention_months <= 1200


@pytest.mark.parametrize("name", TABLE)
def test_the_family_reads_every_kind_and_never_writes_one(name: str) -> None:
    """The parent view holds every other role's view."""
    kind = STATUTE.kinds[name]
    assert {"guardian", "pupil"} <= {role for role, _ in kind.readers}
    assert not {"guardian", "pupil", "auditor", "root", "registrar"} & {role for role, _ in kind.writers}


def test_who_writes_is_as_the_default_list_says() -> None:
    """Marks by teachers and clerks, the family's papers by the desk, references by nobody."""

    def writers(kind: Kind) -> set[str]:
        return {role for role, _ in kind.writers}

    kinds = STATUTE.kinds
    assert writers(kinds["subject_result"]) == {"class_teacher", "subject_teacher", "clerk"}
    assert writers(kinds["attendance_summary"]) == {"class_teacher", "subject_teacher", "clerk"}
    assert all(writers(kinds[name]) == {"clerk"} for name in ("enrolment", "transfer", "alias"))
    family = "consent consent_withdrawal restriction request access objection handover notice family_keys"
    assert all("desk" in writers(kinds[name]) for name in family.split())
    assert writers(kinds["access"]) == {"desk"}
    assert "coach" in writers(kinds["sport_award"]) and "coach" not in writers(kinds["subject_result"])
    assert kinds["reference"].writers == ()


def test_exams_rest_on_law_and_are_written_by_examiners_only() -> None:
    """Withdrawal of consent leaves the lawful exam record; a teacher cannot write one."""
    kind = STATUTE.kinds["subject_result"]
    exam = good("subject_result", result_type="exam_ege", term="year", scale="pt100", value="87.5")
    assert check_fields(kind, exam) == []
    assert (basis_of(kind, exam), basis_of(kind, GOOD["subject_result"])) == ("law", "notice")
    assert applied_kind(kind, exam).writers == (("examiner", "certification"),)
    assert applied_kind(kind, GOOD["subject_result"]) is kind


def test_the_list_is_data_that_any_json_schema_reader_takes() -> None:
    """The list in the roster is standard JSON Schema: an auditor needs no code of ours to read it."""
    for kind in STATUTE.kinds.values():
        jsonschema.Draft202012Validator.check_schema(dict(kind.schema))


def test_the_list_survives_json() -> None:
    """What a founding roster carries parses to an equal list."""
    assert parse_statute(json.loads(json.dumps(default_statute_json()))) == STATUTE
    changed = default_statute_json()
    changed["kinds"]["project"]["retention_months"] = 13
    assert parse_statute(changed) != STATUTE


# Good records.


@pytest.mark.parametrize("name", TABLE)
def test_a_good_record_is_accepted(name: str) -> None:
    """Each kind takes its example, with and without the optional fields."""
    kind = STATUTE.kinds[name]
    assert check_fields(kind, GOOD[name]) == []
    assert check_fields(kind, {key: GOOD[name][key] for key in kind.required}) == []


@pytest.mark.parametrize("name", TABLE)
def test_each_required_field_is_missed_by_name(name: str) -> None:
    """A gap is told as the field that is missing."""
    kind = STATUTE.kinds[name]
    for field in kind.required:
        ((path, text),) = check_fields(kind, good(name, **{field: None}))
        assert path == field and "missing" in text


@pytest.mark.parametrize(
    ("scale", "value"),
    [("ru5", "2"), ("ru5", "5"), ("pass_fail", "fail"), ("pt20", "0"), ("pt20", "14"), ("pt20", "19.75"),
     ("pt20", "20"), ("pt100", "0.5"), ("pt100", "87.5"), ("pt100", "100")],
)  # fmt: skip
def test_a_mark_on_its_scale_is_accepted(scale: str, value: str) -> None:
    """Each scale takes its ends and what lies between."""
    assert paths("subject_result", good("subject_result", scale=scale, value=value)) == []


@pytest.mark.parametrize(
    ("scale", "value"),
    [("ru5", "1"), ("ru5", "6"), ("ru5", "4.5"), ("ru5", "pass"), ("pass_fail", "5"), ("pt20", "20.5"),
     ("pt20", "21"), ("pt20", "14.0"), ("pt20", "014"), ("pt100", "100.1"), ("pt100", "87,5"),
     ("pt100", "-1"), ("pt100", "87.50"), ("pt100", "1e2"), ("pt100", "pass"), ("ru5", 4), ("ru5", "4 "),
     ("ru5", "٤")],
)  # fmt: skip
def test_a_mark_off_its_scale_is_refused(scale: str, value: object) -> None:
    """One mark has one spelling on one scale; a bare number is no text."""
    assert paths("subject_result", good("subject_result", scale=scale, value=value)) == ["value"]


def test_a_refusal_says_field_value_and_what_would_be_right() -> None:
    """A clerk can mend the row from the message alone."""
    kind = STATUTE.kinds["subject_result"]
    assert check_fields(kind, good("subject_result", value="6")) == [
        ("value", "'6' given; it must be one of 2, 3, 4, 5 where scale is ru5")
    ]
    assert check_fields(kind, good("subject_result", school_year="2026-27")) == [
        ("school_year", "'2026-27' given; it must be a school year such as 2026/2027")
    ]
    ((_, text),) = check_fields(STATUTE.kinds["sport_award"], good("sport_award", place="first"))
    assert text == "'first' given; it must be a whole number from 1 to 9999, or left out"
    keys = [{**GOOD["family_keys"]["keys"][0], "holder": "uncle"}]
    assert check_fields(STATUTE.kinds["family_keys"], good("family_keys", keys=keys)) == [
        ("keys[0].holder", "'uncle' given; it must be one of guardian, pupil")
    ]


# What was feared, field by field.


@pytest.mark.parametrize(
    ("name", "changes", "path"),
    [
        ("enrolment", {"stage": "kindergarten"}, "stage"),
        ("enrolment", {"class_level": 3}, "class_level"),
        ("enrolment", {"profile": "mandatory"}, "profile"),
        ("transfer", {"exit_type": "expelled"}, "exit_type"),
        ("transfer", {"exit_type": "imprisoned"}, "exit_type"),
        ("subject_result", {"result_type": "lesson"}, "result_type"),
        ("subject_result", {"term": "2026-11-12"}, "term"),
        ("subject_result", {"date": "2026-11-12"}, "date"),
        ("subject_result", {"lesson_no": 3}, "lesson_no"),
        ("subject_result", {"rating": "12"}, "rating"),
        ("subject_result", {"class_average": "4.1"}, "class_average"),
        ("subject_result", {"derived": {"talent": "maths"}}, "derived"),
        ("subject_result", {"Mjob": "teacher"}, "'Mjob'"),
        ("subject_result", {"mother_phone": "+79161234567"}, "mother_phone"),
        ("subject_result", {"email": "child@example.org"}, "email"),
        ("subject_result", {"teacher": "Иванова М. И."}, "teacher"),
        ("subject_result", {"school_year": "2026/2028"}, "school_year"),
        ("subject_result", {"result_type": "year"}, "term"),
        ("attendance_summary", {"present": 40}, "days_possible"),
        ("attendance_summary", {"reason": "grippe"}, "reason"),
        ("attendance_summary", {"date": "2026-11-12"}, "date"),
        ("contest_award", {"level": "world"}, "level"),
        ("contest_award", {"status": "first of 300"}, "status"),
        ("gto_badge", {"badge": "platinum"}, "badge"),
        ("gto_badge", {"stage": 19}, "stage"),
        ("gto_badge", {"stage": 0}, "stage"),
        ("gto_badge", {"stage": True}, "stage"),
        ("gto_badge", {"stage": "4"}, "stage"),
        ("gto_badge", {"stage": 4.0}, "stage"),
        ("sport_award", {"place": 0}, "place"),
        ("supplementary_course", {"hours": 0}, "hours"),
        ("project", {"evidence_hash": "AB" * 32}, "evidence_hash"),
        ("project", {"evidence": "file contents"}, "evidence"),
        ("certificate", {"type": "military_id"}, "type"),
        ("certificate", {"document_no": "112-233-445-95"}, "document_no"),
        ("certificate", {"document_no": "89161234567"}, "document_no"),
        ("reference", {"registry_code": "medical_record"}, "registry_code"),
        ("reference", {"registry_code": "military_register"}, "registry_code"),
        ("reference", {"opaque_handle": "диагноз J45"}, "opaque_handle"),
        ("reference", {"content": "J45.0"}, "content"),
        ("consent", {"purpose": "ai_training"}, "purpose"),
        ("consent", {"purpose": ["admission", "scholarship"]}, "purpose"),
        ("consent", {"kinds": []}, "kinds"),
        ("consent", {"kinds": ["*"]}, "kinds[0]"),
        ("consent", {"recipient": "*"}, "recipient"),
        ("consent", {"valid_until": "2026-09-30"}, "valid_until"),
        ("restriction", {"recipients": ["north.college"]}, "recipients"),
        ("restriction", {"scope": "named_recipients"}, "recipients"),
        ("access", {"hour": "2026-11-12T10:03"}, "hour"),
        ("access", {"ip": "10.0.0.1"}, "ip"),
        ("request", {"deadline": "2026-11-02"}, "deadline"),
        ("handover", {"date": "2026-02-30"}, "date"),
        ("handover", {"date": "01.11.2026"}, "date"),
        ("handover", {"date": "2026-11-01\n"}, "date"),
        ("alias", {"other_subject": "0f" * 16 + "\n"}, "other_subject"),
    ],
)
def test_what_was_feared_does_not_fit(name: str, changes: dict[str, Any], path: str) -> None:
    """Unknown stages, expulsions, ratings, diagnoses, contacts, lessons, hidden second uses."""
    found = check_fields(STATUTE.kinds[name], good(name, **changes))
    assert [where for where, _ in found] == [path]


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize(
    "field",
    ["rating", "mother_job", "phone", "diagnosis", "derived", "comment", "reason", "snils", "name", "photo"],
)
def test_no_kind_takes_a_column_beside_its_own(name: str, field: str) -> None:
    """Parent-data, contact, rating and free-text columns are named and refused in every kind."""
    ((path, text),) = check_fields(STATUTE.kinds[name], good(name, **{field: "x"}))
    assert path == field and "not a field of" in text


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("text", ["Хороший, но ленится", "a b", "line\nline", "x" * 65, "", "=1+1", "+7916"])
def test_free_text_fits_into_no_field(name: str, text: str) -> None:
    """Whichever field one tries, a sentence, a formula or a telephone number is refused there."""
    kind = STATUTE.kinds[name]
    for field in kind.fields:
        assert field in paths(name, good(name, **{field: text})), (field, text)


@pytest.mark.parametrize(
    "name",
    ["message", "rating", "derived", "xapi.experienced", "meal_payment", "diagnosis", "expulsion", "padding"],
)
def test_an_unlisted_kind_is_unknown_on_every_peer(name: str) -> None:
    """Messages, clickstream, meals, judgements: outside the list, so nowhere."""
    assert name not in STATUTE.kinds


def test_a_report_of_junk_stays_short() -> None:
    """A map of ten thousand unknown names gives no report of ten thousand lines."""
    found = check_fields(STATUTE.kinds["handover"], {f"junk_{index}": index for index in range(10_000)})
    assert len(found) == 50


def test_a_list_of_a_million_items_is_refused_at_once() -> None:
    """A giant list is refused before its items are compared with each other."""
    assert paths("consent", good("consent", kinds=[None, {}, "x"] * 400_000)) == ["kinds"]


# Withdrawals, identity, school years.


def test_a_withdrawal_is_one_reason_and_nothing_else() -> None:
    """A record is taken back with a code, never with a story."""
    for reason in ("entered_in_error", "misfiled", "decision_changed", "court"):
        fields = {"reason_code": reason}
        assert is_withdrawal(fields) and check_withdrawal_fields(fields) == []
    assert check_withdrawal_fields({"reason_code": "bad child"})[0][0] == "reason_code"
    assert check_withdrawal_fields({"reason_code": ["court"]})[0][0] == "reason_code"
    assert check_withdrawal_fields({"reason_code": "court", "note": "x"})[0][0] == ""
    assert not is_withdrawal(GOOD["objection"]) and not is_withdrawal({}) and not is_withdrawal(None)


def test_identity_names_the_fact_and_not_its_value() -> None:
    """Another mark for the same subject and term is a conflict; another term is another fact."""
    kind = STATUTE.kinds["subject_result"]
    first = identity_of(kind, good("subject_result"))
    assert first == codec.encode(["subject_result", "school-7", "2026/2027", "q1", "ALG", "term"])
    assert identity_of(kind, good("subject_result", value="5")) == first
    assert identity_of(kind, good("subject_result", term="q2")) != first


def test_identity_of_family_keys_is_empty_because_each_replaces_the_last() -> None:
    """Two records of keys never stand in each other's way."""
    assert identity_of(STATUTE.kinds["family_keys"], GOOD["family_keys"]) == b""


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-08-31", "2025/2026"), ("2026-09-01", "2026/2027"), ("2027-01-01", "2026/2027")],
)
def test_a_school_year_begins_on_1_september(day: str, expected: str) -> None:
    """31 August still belongs to the year before."""
    assert school_year(date.fromisoformat(day)) == expected


# Whatever comes.

words = st.one_of(st.text(max_size=12), st.sampled_from(["2026-09-01", "ru5", "4", "q1", HASH, "full"]))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.binary(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


@given(name=st.sampled_from(list(TABLE)), value=values)
def test_any_value_gives_a_list_of_problems(name: str, value: object) -> None:
    """A hostile record body ends in refusal, never in a traceback."""
    problems = check_fields(STATUTE.kinds[name], value)
    assert problems and all(isinstance(path, str) and text for path, text in problems)
    assert isinstance(check_withdrawal_fields(value), list)


@given(name=st.sampled_from(list(TABLE)), value=values, data=st.data())
def test_any_value_in_any_field_gives_problems(name: str, value: object, data: st.DataObject) -> None:
    """A good record with one hostile field is judged, and what passes can be encoded and identified."""
    field = data.draw(st.sampled_from(STATUTE.kinds[name].fields))
    fields = {**GOOD[name], field: value}
    if not check_fields(STATUTE.kinds[name], fields):
        codec.encode(fields)
        assert isinstance(identity_of(STATUTE.kinds[name], fields), bytes)
        assert basis_of(STATUTE.kinds[name], fields) in ("law", "notice", "consent")


def test_a_value_past_what_python_can_print_or_walk_is_refused() -> None:
    """Depth and length are attacks like any other."""
    assert paths("sport_award", good("sport_award", place=10**5000)) == ["place"]
    assert paths("family_keys", good("family_keys", suspect_from=[1, 10**5000])) == ["suspect_from"]
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    assert paths("consent", good("consent", kinds=[deep])) == ["kinds"]
    assert paths("handover", good("handover", date=deep)) == ["date"]


known = {item for fields in GOOD.values() for item in fields.values() if isinstance(item, str)}
plain = st.one_of(
    st.none(),
    st.integers(-2, 400),
    st.text("q1248/-abй. ", max_size=10),
    st.sampled_from([*sorted(known), "year", "pt20", "20", "87.5", "exam_oge", "named_recipients", "pass"]),
    st.lists(st.sampled_from([HASH, "project", "north.college", 1, 2]), max_size=3),
)


@given(name=st.sampled_from(list(TABLE)), data=st.data())
def test_the_parts_judge_as_the_whole_schema_does(name: str, data: st.DataObject) -> None:
    """Taking schemas apart for speed changes no verdict: stock jsonschema over the whole one agrees."""
    kind = STATUTE.kinds[name]
    changes = data.draw(st.dictionaries(st.sampled_from([*kind.fields, "extra"]), plain, max_size=3))
    fields = {**GOOD[name], **changes}
    for field in data.draw(st.sets(st.sampled_from(kind.fields), max_size=1)):
        del fields[field]
    whole = jsonschema.Draft202012Validator(
        dict(kind.schema), format_checker=jsonschema.FormatChecker(formats=["date"])
    ).is_valid(fields)
    problems = check_fields(kind, fields)
    if problems and whole:  # only a rule that no schema can say
        assert all(re.search("digits|make|years in a row|not be before", text) for _, text in problems)
    else:
        assert whole == (not problems)
