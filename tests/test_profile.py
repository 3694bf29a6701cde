"""`cli.profile` and its TOML: what becomes of columns, told whole where it is wrong; and the first one."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.drafts import Draft, Writer
from cli.failures import ListMalformed, ProfileMalformed
from cli.headers import ALIASES, RUSSIAN, SUBJECT_COLUMN, columns_of, fold
from cli.import_records import LISTS, draft_table
from cli.profile import Profile
from cli.source import parse_source, read_source
from cli.suggest import UNKNOWN, suggest_profile
from cli.table import parse_table
from ledger.statute import Kind
from tests.lists import PUPILS, STATUTE, WRITER, book, judge, judge_by, profile_of
from tests.world import seed

SAMPLES = Path(__file__).parents[1] / "cli" / "samples"
UCI = SAMPLES / "uci.toml"
DATA = Path(__file__).parents[2] / "shared" / "data"
MARKS = 'local_id = "Ученик"\nleft_out = ["Телефон"]\n'
TERM = """
[constants]
school_year = "2026/2027"
scale = "ru5"
result_type = "term"
term = "q1"
"""
ALG = '[[records]]\nkind = "subject_result"\ncolumns = { "Алгебра" = "value" }\n'
ALG += 'constants = { subject_code = "ALG" }\n'
RUS = ALG.replace("Алгебра", "Русский").replace("ALG", "RUS")

AMERICAN = """
[columns]
Date = { field = "date", date = "MM/DD/YYYY" }
stage = "stage"
badge = "badge"
order = "order_no"
"""


def fields(drafts: tuple[Draft, ...], *names: str) -> list[tuple[object, ...]]:
    return [(one.local_id, *(one.fields[name] for name in names)) for one in drafts]


# Headers.


@pytest.mark.parametrize("kind", STATUTE.kinds.values(), ids=STATUTE.kinds)
def test_no_name_of_a_column_means_two_fields_of_one_kind(kind: Kind) -> None:
    """A header is one field of a kind, or none: which of two is meant is not guessed."""
    names = [
        (fold(name), field)
        for field in (SUBJECT_COLUMN, *kind.fields)
        for name in (field, *RUSSIAN.get(field, ()), *ALIASES.get(kind.name, {}).get(field, ()))
    ]
    assert len({name for name, _ in names}) == len(names), sorted(names)


@pytest.mark.parametrize("name", LISTS)
def test_every_column_of_the_schools_lists_has_a_russian_name(name: str) -> None:
    """And the list is read under it."""
    kind = STATUTE.kinds[LISTS[name]]
    columns = columns_of(kind)
    for field in (SUBJECT_COLUMN, *kind.fields):
        for russian in RUSSIAN[field]:
            assert columns.key_of(russian.upper().replace(" ", "_")) == field


# What a profile says.


def test_one_row_gives_several_records_and_an_empty_cell_gives_none_where_the_profile_says_so() -> None:
    """A class's marks side by side: one record a subject."""
    text = MARKS + TERM + ALG + RUS + "skip_empty = true\n"
    data = "Ученик;Алгебра;Русский;Телефон\n7a-01;5;4;+7 (495)\n7a-02;3;;\n".encode()
    drafts = judge_by(text, data)
    assert drafts.problems == ()
    assert fields(drafts.records, "subject_code", "value") == [
        ("7a-01", "ALG", "5"),
        ("7a-01", "RUS", "4"),
        ("7a-02", "ALG", "3"),
    ]
    assert drafts.skipped == 1
    assert len({one.label for one in drafts.records}) == 3


def test_an_empty_cell_is_an_error_where_the_profile_says_nothing_of_it() -> None:
    """A mark that is missing is not passed over in silence."""
    drafts = judge_by(MARKS + TERM + ALG, "Ученик;Алгебра;Телефон\n7a-01;;\n".encode())
    [problem] = drafts.problems
    assert (problem.row, problem.column, drafts.records) == (2, "Алгебра", ())


def test_a_row_that_is_wrong_in_one_record_gives_none() -> None:
    """Half a row recorded would be neither refused nor imported."""
    drafts = judge_by(
        MARKS + TERM + ALG + RUS, "Ученик;Алгебра;Русский;Телефон\n7a-01;5;9;\n7a-02;4;4;\n".encode()
    )
    assert [(one.row, one.column) for one in drafts.problems] == [(2, "Русский")]
    assert {one.local_id for one in drafts.records} == {"7a-02"}


def test_records_of_a_row_may_be_of_several_kinds_and_share_columns() -> None:
    """Shared constants and columns go where the kind has the field."""
    text = (
        MARKS
        + TERM
        + '[columns]\n"Дней" = "days_possible"\n'
        + ALG
        + '[[records]]\nkind = "attendance_summary"\n'
        'columns = { "Пропуски" = "unexcused" }\nconstants = { excused = 0 }\n'
        'differences = { present = ["days_possible", "excused", "unexcused"] }\n'
    )
    drafts = judge_by(text, "Ученик;Алгебра;Дней;Пропуски\n7a-01;5;44;3\n".encode())
    assert [one.kind for one in drafts.records] == ["subject_result", "attendance_summary"]
    assert drafts.records[1].fields["present"] == 41
    assert "days_possible" not in drafts.records[0].fields


def test_words_are_translated_and_a_word_that_the_profile_does_not_know_is_refused() -> None:
    """A code field would take any word: half the list in one language and half in another."""
    text = (
        MARKS
        + TERM.replace('scale = "ru5"\n', "")
        + '[columns]\n"Предмет" = { field = "subject_code", values = { "Алгебра" = "ALG" } }\n'
    )
    text += '"Оценка" = "value"\n"Шкала" = "scale"\n'
    data = "Ученик;Предмет;Оценка;Шкала\n7a-01;Алгебра;5;ru5\n7a-02;Химия;5;ru5\n7a-03;ALG;4;ru5\n".encode()
    drafts = judge_by(text, data, kind="results")
    assert fields(drafts.records, "subject_code") == [("7a-01", "ALG"), ("7a-03", "ALG")]
    [problem] = drafts.problems
    assert (problem.row, problem.column, problem.value) == (3, "Предмет", "Химия")


def test_a_form_of_dates_that_the_profile_names_is_the_only_one_taken() -> None:
    """01/02/2026 is no riddle where the profile says which is the day."""
    head = "local_id;stage;badge;Date;order\n"
    drafts = judge_by(
        AMERICAN, f"{head}7a-01;4;gold;10/02/2026;A-1\n7a-02;4;gold;2026-10-02;A-1\n".encode(), kind="gto"
    )
    assert fields(drafts.records, "date") == [("7a-01", "2026-10-02")]
    assert [(one.row, "MM/DD/YYYY" in one.text) for one in drafts.problems] == [(3, True)]


def test_a_date_of_a_workbook_needs_no_form() -> None:
    """The sheet knows what day it is."""
    data = book(
        [
            ["local_id", "stage", "badge", "Date", "order"],
            ["7a-01", 4, "gold", datetime.date(2026, 10, 2), "A-1"],
        ]
    )
    assert fields(judge_by(AMERICAN, data, kind="gto").records, "date") == [("7a-01", "2026-10-02")]


def test_the_number_of_a_row_is_the_local_id_after_the_files_name_or_a_prefix() -> None:
    """Rows 2 of two lists are two pupils."""
    text = 'local_id = { from = "row" }\n' + TERM + ALG
    assert profile_of(text, list_name="por.csv").prefix == "por-"
    assert profile_of(text.replace('"row"', '"row", prefix = "x-"')).prefix == "x-"
    writer = Writer(statute=STATUTE, unit="school-1", pids={"list-3": PUPILS["7a-01"]}, today=WRITER.today)
    drafts = judge_by(text, "Алгебра\n5\n4\n".encode(), writer)
    assert fields(drafts.records, "value") == [("list-3", "4")]
    assert [(one.row, one.column, one.value) for one in drafts.problems] == [(2, "local_id", "list-2")]


def test_a_column_that_is_neither_taken_nor_left_out_is_an_error() -> None:
    """What a school's export has new next year does not slip in, nor is it passed over."""
    with pytest.raises(ListMalformed) as raised:
        judge_by(MARKS + TERM + ALG, "Ученик;Алгебра;Телефон;СНИЛС;Адрес\n".encode())
    assert [one.column for one in raised.value.problems] == ["СНИЛС", "Адрес"]


def test_what_a_column_left_out_holds_is_not_looked_at() -> None:
    """A telephone looks like a formula, a remark has line ends: they are not taken, so they harm nobody."""
    drafts = judge_by(MARKS + TERM + ALG, 'Ученик;Алгебра;Телефон\n7a-01;5;"=1+1\n2"\n'.encode())
    assert len(drafts.records) == 1 and drafts.problems == ()


def test_what_every_row_says_may_be_typed() -> None:
    """A list without a school year needs no new column, but it is said once only."""
    text = MARKS + TERM.replace('term = "q1"\n', "") + ALG
    drafts = judge_by(text, "Ученик;Алгебра;Телефон\n7a-01;5;\n".encode(), term="q2")
    assert fields(drafts.records, "term") == [("7a-01", "q2")]
    with pytest.raises(ProfileMalformed) as raised:
        profile_of(MARKS + TERM + ALG, term="q2")
    assert "--set" in raised.value.problems[0].text


# What is wrong with a profile.

WRONG: dict[str, tuple[str, str, str]] = {
    "an unknown key": ("lft_out = []\n", "lft_out", "is left_out meant?"),
    "an unknown key of a record": (
        ALG + "skip_emty = true\n",
        "records[1].skip_emty",
        "is skip_empty meant?",
    ),
    "an unknown key of a column": (
        '[columns]\nA = { feld = "value" }\n',
        "columns.A.feld",
        "is field meant?",
    ),
    "an unknown kind": (
        ALG.replace("subject_result", "subject_results"),
        "records[1].kind",
        "is subject_result meant?",
    ),
    "no kind": (ALG.replace('kind = "subject_result"\n', ""), "records[1].kind", "there is no --kind"),
    "an unknown field": (ALG.replace('"value"', '"valeu"'), "records[1].valeu", "is value meant?"),
    "a field twice": (
        ALG.replace("{ subject_code", '{ value = "5", subject_code'),
        "records[1].value",
        "given twice",
    ),
    "a field by two columns": (
        ALG.replace('"value" }', '"value", B = "value" }'),
        "records[1].columns.B",
        "two columns",
    ),
    "a field that nothing gives": (ALG, "records[1].term", "--set term=VALUE"),
    "a constant out of the vocabulary": (
        TERM.replace("q1", "q9") + ALG,
        "records[1].constants.term",
        "one of q1",
    ),
    "a constant of no kind": (TERM + "[constants.x]\n" + ALG, "constants.x", "must be a text"),
    "a constant for nothing": (TERM.replace("term =", "trem =") + ALG, "constants.trem", "no field of"),
    "a form of dates": (
        MARKS + '[columns]\nA = { field = "date", date = "DDMM" }\n' + ALG,
        "columns.A.date",
        "DD.MM.YYYY",
    ),
    "a column taken and left out": (
        'left_out = ["алгебра"]\n' + TERM + ALG,
        "left_out.Алгебра",
        "name it once",
    ),
    "left out, no list": ('left_out = "Телефон"\n', "left_out", "a list of texts"),
    "a difference of texts": (
        ALG + 'differences = { term = ["value", "scale"] }\n',
        "records[1].differences.term",
        "whole-number",
    ),
    "records, no list": ("records = 5\n", "records", "[[records]]"),
    "a row number from elsewhere": ('local_id = { from = "name" }\n', "local_id.from", "row"),
    "no TOML": ("local_id = \n", "", "no TOML"),
    "a number of thousands of digits": ("x = " + "9" * 5000 + "\n", "", "no TOML"),
}


@pytest.mark.parametrize(("text", "path", "says"), WRONG.values(), ids=WRONG)
def test_a_slip_in_a_profile_is_told_by_its_path_with_what_is_meant(text: str, path: str, says: str) -> None:
    """Before any row is read."""
    with pytest.raises(ProfileMalformed) as raised:
        profile_of(text)
    assert any(one.column == path and says in one.text for one in raised.value.problems), (
        raised.value.problems
    )


def test_all_slips_of_a_profile_are_told_at_once() -> None:
    """One round of mending."""
    with pytest.raises(ProfileMalformed) as raised:
        profile_of('lft_out = []\n[constants]\nterm = "q9"\n' + ALG.replace("value", "valeu"))
    paths = {one.column for one in raised.value.problems}
    assert {"lft_out", "records[1].valeu", "records[1].constants.term", "records[1].value"} <= paths


TOML_VALUE = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["value", "row", "q1"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["field", "values", "date", "kind", "from", "columns", "value"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


def toml(value: object) -> str:
    """A value as TOML has it in one line."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return '"' + "".join(one if one.isalnum() and one.isascii() else "_" for one in value) + '"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    raise AssertionError(value)


@given(
    members=st.dictionaries(
        st.sampled_from(["local_id", "left_out", "constants", "columns", "records", "x"]), TOML_VALUE
    )
)
def test_no_profile_gives_a_traceback(members: dict[str, object]) -> None:
    """Any value under any key is a profile or refused."""
    text = "".join(f"{name} = {toml(value)}\n" for name, value in members.items())
    for kind in ("", "results"):
        try:
            assert profile_of(text, kind=kind).templates
        except ProfileMalformed:
            continue


@given(text=st.text(max_size=80))
def test_no_text_as_a_profile_gives_a_traceback(text: str) -> None:
    """Neither does what is no TOML at all."""
    with contextlib.suppress(ProfileMalformed):
        profile_of(text, kind="results")


# The first profile, suggested.


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in SAMPLES.glob("*.csv") if "roster" not in path.stem)
)
def test_a_suggested_profile_imports_the_list_as_its_kind_does(name: str) -> None:
    """Suggest, read back, import: the same records as without a profile."""
    source = read_source(SAMPLES / f"{name}.csv")
    lines = list(source.readings[0]())[1:]
    pids = {line.cells[0]: seed(line.cells[0])[:16] for line in lines}
    writer = Writer(statute=STATUTE, unit="school-1", pids=pids, today=WRITER.today)
    profile = profile_of(suggest_profile(source, STATUTE))
    by_profile = draft_table(parse_table(source, profile.columns()), profile, writer)
    [template] = profile.templates
    by_kind = judge(source, template.kind.name, writer)
    assert by_profile.problems == by_kind.problems == ()
    assert [one.fields for one in by_profile.records] == [one.fields for one in by_kind.records]


def test_a_suggestion_leaves_out_by_name_what_it_does_not_know_and_asks_for_what_is_missing() -> None:
    """A person fills in each ?, and until then no import takes it."""
    data = "Ученик;Предмет;Оценка;Шкала;Вид;Телефон\nх;ALG;5;пятибалльная;term;1\n".encode()
    text = suggest_profile(parse_source(data, "list.csv"), STATUTE)
    assert '"Телефон",' in text and f'school_year = "{UNKNOWN}"' in text
    assert f'"пятибалльная" = "{UNKNOWN}"' in text
    with pytest.raises(ProfileMalformed):
        profile_of(text)


def test_a_list_of_no_known_kind_is_suggested_with_everything_left_out() -> None:
    """Nothing is taken because nobody knew what it is."""
    text = suggest_profile(parse_source(b"Medu;Fedu;romantic\n1;2;yes\n", "list.csv"), STATUTE)
    assert all(f'"{name}",' in text for name in ("Medu", "Fedu", "romantic"))
    assert f'kind = "{UNKNOWN}"' in text


@given(
    headers=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6),
    row=st.lists(st.text(max_size=9), max_size=6),
)
def test_no_headers_make_a_suggestion_that_is_no_toml(headers: list[str], row: list[str]) -> None:
    """Quotes, brackets, control characters and emoji in a header do no harm."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=";").writerows([headers, row])
    try:
        source = parse_source(stream.getvalue().encode(errors="replace"), 'li"st\n.csv')
        text = suggest_profile(source, STATUTE)
    except ListMalformed:
        return
    tomllib.loads(text)
    with contextlib.suppress(ProfileMalformed):
        profile_of(text)


# The real lists.


def uci_profile(name: str, subject: str) -> Profile:
    return profile_of(UCI.read_text(), list_name=name, subject_code=subject)


@pytest.mark.parametrize(
    ("name", "subject", "rows"), [("uci-student-por.csv", "POR", 649), ("uci-student-mat.csv", "MAT", 395)]
)
def test_the_real_lists_import_through_the_shipped_profile(name: str, subject: str, rows: int) -> None:
    """Three marks and the absences of each pupil; comma and semicolon, quoted and half quoted."""
    if not (DATA / name).exists():
        pytest.skip(f"the real list {name} is not beside this checkout")
    profile = uci_profile(name, subject)
    table = parse_table(read_source(DATA / name), profile.columns())
    pids = {f"{profile.prefix}{row.number}": seed(f"{name} {row.number}")[:16] for row in table.rows}
    drafts = draft_table(table, profile, Writer(statute=STATUTE, unit="GP", pids=pids, today=WRITER.today))
    assert drafts.problems == ()
    assert len(table.rows) == rows and len(drafts.records) == rows * 4
    with (DATA / name).open(newline="") as stream:
        first = next(csv.DictReader(stream, delimiter="," if subject == "POR" else ";"))
    marks = [one.fields["value"] for one in drafts.records[:3]]
    assert marks == [first["G1"], first["G2"], first["G3"]]
    assert drafts.records[3].fields["unexcused"] == int(first["absences"])
    assert {one.fields.get("subject_code", subject) for one in drafts.records} == {subject}


def test_a_list_of_the_same_columns_imports_through_the_shipped_profile() -> None:
    """The same code where the real lists are absent; every family column is left out by name."""
    left_out = uci_profile("x.csv", "POR").left_out
    head = [*left_out, "absences", "G1", "G2", "G3"]
    data = ";".join(head) + "\n" + ";".join(["x"] * len(left_out) + ["4", "0", "11", "12"]) + "\n"
    writer = Writer(statute=STATUTE, unit="GP", pids={"list-2": PUPILS["7a-01"]}, today=WRITER.today)
    drafts = judge_by(UCI.read_text(), data.encode(), writer, subject_code="POR")
    assert [one.fields.get("value", one.fields.get("present")) for one in drafts.records] == [
        "0",
        "11",
        "12",
        196,
    ]
    with pytest.raises(ListMalformed) as raised:
        judge(parse_source(data.encode(), "list.csv"), "results")
    refused = {one.column for one in raised.value.problems}
    assert {*left_out, "G1", "G2", "G3", "absences"} <= refused
    assert len(left_out) == 29
