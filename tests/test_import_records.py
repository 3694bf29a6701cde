"""`cli.import_records`: rows into records, by the statutory list and nothing else."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.drafts import Draft, Origin, Writer, draft_row
from cli.failures import Usage
from cli.import_records import LISTS, Drafts, draft_table, kind_named, make_records
from cli.profile import Profile, plain_columns, plain_template
from cli.source import Source, parse_source, read_source
from cli.table import Row, parse_table
from ledger.portfolio import Portfolio, RecordAuthor, judge
from ledger.rules import RULES
from ledger.statute import default_statute_json, parse_statute
from tests.staff_side import randomness
from tests.world import DAY, seed

STATUTE = parse_statute(default_statute_json())
PUPILS = {name: seed(f"pid {name}")[:16] for name in ("7a-01", "7a-02")}
WRITER = Writer(statute=STATUTE, unit="school-1", pids=PUPILS, today=datetime.date(2026, 9, 4))
RESULTS = "local_id;school_year;term;subject_code;scale;value;result_type\n"
SAMPLES = Path(__file__).parents[1] / "cli" / "samples"


def draft(text: str, kind: str = "results") -> Drafts:
    return draft_source(parse_source(text.encode(), "list.csv"), kind, WRITER)


def draft_source(source: Source, kind: str, writer: Writer) -> Drafts:
    template = plain_template(kind_named(STATUTE, kind))
    table = parse_table(source, plain_columns(template))
    return draft_table(table, Profile(templates=(template,)), writer)


def test_the_columns_are_those_of_the_kinds_document() -> None:
    """Each list of the schools has local_id and its kind's fields; optional there is optional here."""
    columns = {name: plain_columns(plain_template(kind_named(STATUTE, name))) for name in LISTS}
    optional = {
        "results": [],
        "attendance": [],
        "awards": ["subject_code", "document_no"],
        "sport": ["place"],
        "gto": [],
        "courses": [],
        "movements": [],
    }
    free = {name: set(one.names()) - set(one.required) - {"org_id"} for name, one in columns.items()}
    assert free == {name: set(names) for name, names in optional.items()}
    assert list(columns["results"].required) == RESULTS.strip().split(";")


@pytest.mark.parametrize("name", [name for name in LISTS if (SAMPLES / f"{name}.csv").exists()])
def test_the_shipped_lists_become_records_that_the_rules_accept(name: str) -> None:
    """Every sample row gives a record whose fields, period and basis the record verdict takes."""
    source = read_source(SAMPLES / f"{name}.csv")
    ids = [line.cells[0] for line in source.readings[0]()][1:]
    writer = Writer(
        statute=STATUTE,
        unit="school-1",
        pids={one: seed(one)[:16] for one in ids},
        today=WRITER.today,
    )
    drafts = draft_source(source, name, writer)
    assert drafts.problems == ()
    assert len(drafts.records) == len(ids) > 5
    desk = RecordAuthor(office="staff")
    about_the_row = {"record.fields", "record.period", "record.basis", "record.kind"}
    for record in make_records(drafts.records, randomness()):
        found = judge(Portfolio(statute=STATUTE), record, desk, day=DAY + 120)
        assert {one.rule.name for one in found} & about_the_row == set()


def test_a_row_becomes_a_draft_with_unit_period_and_act() -> None:
    """What a list leaves out follows from the workspace and the statutory list."""
    drafts = draft(RESULTS + "7a-01;2026/2027;q1;ALG;ru5;5;term\n")
    [one] = drafts.records
    assert one.fields == {
        "org_id": "school-1",
        "school_year": "2026/2027",
        "term": "q1",
        "subject_code": "ALG",
        "scale": "ru5",
        "value": "5",
        "result_type": "term",
    }
    assert (one.period, one.act, one.subject) == ("2026/2027", "273-fz", PUPILS["7a-01"])
    assert (one.label, one.row) == ("list.csv row 2", 2)


def test_the_source_names_the_list_by_its_hash_and_not_by_its_name() -> None:
    """A file called after a child leaves no name in a record."""
    data = (RESULTS + "7a-01;2026/2027;q1;ALG;ru5;5;term\n").encode()
    source = parse_source(data, "Сказкина Алёна.csv")
    [record] = make_records(draft_source(source, "results", WRITER).records, randomness())
    assert record.source == f"list {source.digest.hex()[:32]} row 2"


def test_whole_numbers_become_integers_only_where_the_kind_says_so() -> None:
    """Hours are a number, a mark is a text."""
    text = "local_id;provider;programme_code;hours;completed_on\n7a-01;KVANT;ASTRO-1;012;2026-10-20\n"
    [one] = draft(text, "courses").records
    assert one.fields["hours"] == 12
    [result] = draft(RESULTS + "7a-01;2026/2027;q1;ALG;ru5;5;term\n").records
    assert result.fields["value"] == "5"


def test_an_exam_rests_on_the_act_of_its_variant() -> None:
    """An exam result is what a law requires; its act is that of the variant."""
    [one] = draft(RESULTS + "7a-01;2026/2027;year;ALG;pt100;87;exam_ege\n").records
    kind = STATUTE.kinds["subject_result"]
    assert kind.variant is not None
    assert one.act == kind.variant.kind.act


@pytest.mark.parametrize(
    ("row", "column", "says"),
    [
        ("7a-01;2026/2027;q1;ALG;ru5;6;term", "value", "one of 2, 3, 4, 5"),
        ("7a-01;2026/2028;q1;ALG;ru5;5;term", "school_year", "two years in a row"),
        ("7a-01;2026/2027;;ALG;ru5;5;term", "term", "missing"),
        ("7a-99;2026/2027;q1;ALG;ru5;5;term", "local_id", "not in the class register"),
        (";2026/2027;q1;ALG;ru5;5;term", "local_id", "missing"),
        ("7a-01;2026/2027;q1;Алгебра и начала;ru5;5;term", "subject_code", "a code"),
        ("7a-01;2026/2027;q1;112-233-445 95;ru5;5;term", "subject_code", "a code"),
        ("7a-01;2026/2027;q1;11223344595;ru5;5;term", "subject_code", "SNILS"),
    ],
)
def test_a_wrong_cell_is_told_with_row_column_value_and_what_is_right(
    row: str, column: str, says: str
) -> None:
    """The clerk can mend the list from the message alone."""
    drafts = draft(RESULTS + row + "\n")
    [problem] = drafts.problems
    assert (problem.file, problem.row, problem.column) == ("list.csv", 2, column)
    assert says in problem.text
    assert drafts.records == ()


def test_a_number_that_is_none_is_told_and_not_guessed() -> None:
    """``1o`` hours, a number of 400 digits and a fraction are refused as they stand."""
    head = "local_id;provider;programme_code;hours;completed_on\n"
    for hours in ("1o", "9" * 400, "1.5", "1e3", "٣"):
        drafts = draft(f"{head}7a-01;KVANT;ASTRO-1;{hours};2026-10-20\n", "courses")
        assert [one.column for one in drafts.problems] == ["hours"]


def test_a_row_that_repeats_another_is_said_and_counted_once() -> None:
    """A doubled line neither kills the list nor doubles the fact."""
    row = "7a-01;2026/2027;q1;ALG;ru5;5;term\n"
    drafts = draft(RESULTS + row + "7a-02;2026/2027;q1;ALG;ru5;4;term\n" + row)
    assert len(drafts.records) == 2
    assert drafts.repeated == ((4, 2),)
    assert drafts.problems == ()


def test_two_rows_that_contradict_each_other_are_refused_with_both_rows() -> None:
    """Which mark is right is not for the tool to choose."""
    drafts = draft(RESULTS + "7a-01;2026/2027;q1;ALG;ru5;5;term\n7a-01;2026/2027;q1;ALG;ru5;4;term\n")
    first, second = drafts.problems
    assert (second.row, second.column, second.value) == (3, "value", "4")
    assert "row 2 says 5" in second.text
    assert (first.row, "row 3 says 4" in first.text) == (2, True)
    assert drafts.records == ()


def test_form_and_content_are_told_together_in_the_order_of_the_rows() -> None:
    """A formula, a bad mark and an unknown pupil are one report."""
    text = (
        "7a-01;2026/2027;q1;ALG;ru5;9;term\n7a-01;=1+1;q1;ALG;ru5;5;term\n7a-9;2026/2027;q1;RUS;ru5;5;term\n"
    )
    assert [one.row for one in draft(RESULTS + text).problems] == [2, 3, 4]


def test_a_kind_that_needs_a_consent_is_no_list() -> None:
    """Nobody imports what a family has to consent to one by one."""
    text = "local_id;registry_code;opaque_handle;valid_until\n7a-01;REG-1;h-1;2027-01-01\n"
    drafts = draft(text, "reference")
    assert any("consent" in one.text for one in drafts.problems)


def test_an_unknown_kind_is_answered_with_all_that_there_are() -> None:
    """The message is the list to choose from."""
    with pytest.raises(Usage, match=r"results \(subject_result\).*kinds: enrolment"):
        kind_named(STATUTE, "rating")


@pytest.mark.parametrize("name", STATUTE.kinds)
@given(value=st.text(max_size=30), names=st.sets(st.integers(0, 12)))
def test_no_cells_give_a_traceback(name: str, value: str, names: set[int]) -> None:
    """Any text in any fields of any kind is a draft or a problem."""
    kind = STATUTE.kinds[name]
    cells = {field: value for number, field in enumerate(kind.fields) if number in names}
    row = Row(number=2, cells=cells)
    found = draft_row(row, "7a-01", plain_template(kind), WRITER, Origin(file="list.csv"))
    assert isinstance(found, Draft) or found


def test_the_rules_named_here_are_in_the_table() -> None:
    """A rule renamed there must not make the checks above empty."""
    assert {"record.fields", "record.period", "record.basis", "record.kind"} <= set(RULES)
