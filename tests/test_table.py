"""`cli.table`: lists as people make them, and as attackers do."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli import source, table
from cli.cells import clean, is_formula
from cli.failures import CellProblem, ListMalformed
from cli.headers import columns_named
from cli.source import parse_source
from cli.table import Table, parse_table, read_table
from ledger.errors import StoreError

COLUMNS = ["local_id", "term", "value"]
LIST = columns_named(COLUMNS, ["note"])
GOOD = "local_id;term;value\n7a-01;q1;5\n7a-02;q1;4\n"
ROWS = [{"local_id": "7a-01", "term": "q1", "value": "5"}, {"local_id": "7a-02", "term": "q1", "value": "4"}]


def parse(text: str | bytes) -> Table:
    data = text.encode() if isinstance(text, str) else text
    return parse_table(parse_source(data, "list.csv"), LIST)


def problems(read: Table) -> list[CellProblem]:
    """What is wrong with rows and with single cells."""
    cells = [read.cell_problem(row, key, text) for row in read.rows for key, text in row.faults.items()]
    return table.ordered([*read.problems, *cells])


def cells(read: Table) -> list[dict[str, str]]:
    return [dict(row.cells) for row in read.rows]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace(";", ","),
        GOOD.replace(";", "\t"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        "local_id;term;value\r\n7a-01;q1;5\n7a-02;q1;4",
        GOOD + "\n\n;;\n\n",
        '"local_id";"term";"value"\n"7a-01";"q1";"5"\n"7a-02";"q1";"4"\n',
        "value;local_id;term\n5;7a-01;q1\n4;7a-02;q1\n",
        " local_id ;term ;value\n 7a-01; q1 ;5\u00a0\n7a-02;q1;4\n",
        "local_id;term;value;note\n7a-01;q1;5;\n7a-02;q1;4;\n",
        "local_id;term;value\n\n7a-01;q1;5\n7a-02;q1;4\n",
    ],
    ids=[
        "semicolons",
        "byte order mark",
        "commas",
        "tabs",
        "windows line ends",
        "old mac line ends",
        "mixed line ends, none at the end",
        "blank rows",
        "everything quoted",
        "columns in another order",
        "spaces around",
        "an optional column left empty",
        "a blank row below the headers",
    ],
)
def test_every_plain_form_of_a_list_says_the_same(text: str) -> None:
    """What differs only in how it was saved gives the same rows."""
    read = parse(text)
    assert cells(read) == ROWS
    assert problems(read) == []


def test_quotes_delimiters_and_line_ends_within_quotes_are_text() -> None:
    """RFC 4180: a cell in quotes may hold the delimiter, and a quote written twice."""
    read = parse('local_id;term;value\n"a;b";"q""1";5\n')
    assert cells(read) == [{"local_id": "a;b", "term": 'q"1', "value": "5"}]


def test_rows_are_counted_as_a_spreadsheet_counts_them() -> None:
    """A line end within quotes makes no further row, so errors name the row that people see."""
    read = parse('local_id;term;value\n"a\nb";q1;5\nc;q1;=1\n')
    assert [(one.row, one.column) for one in problems(read)] == [(2, "local_id"), (3, "value")]


def test_text_composed_in_two_ways_is_one_text() -> None:
    """й as one sign and as и with a breve name one pupil."""
    assert clean("и\u0306") == "й"


@pytest.mark.parametrize("text", ["=1+1", "=A1", "@SUM(A1)", "+A1", "-A1", "-1+2", "+7 (495)", "=5", "'=5"])
def test_a_formula_is_refused(text: str) -> None:
    """It would run in the spreadsheet of whoever opens an export."""
    read = parse(f"local_id;term;value\n7a-01;q1;{text}\n")
    [problem] = problems(read)
    assert (problem.row, problem.column, problem.value) == (2, "value", text)
    assert "formula" in problem.text


@pytest.mark.parametrize("text", ["-1", "+1", "-2,5", "+2.5", "-", "+", "5=5", "a@b", ""])
def test_a_number_with_a_sign_and_a_dash_are_no_formulas(text: str) -> None:
    """Only what a spreadsheet would compute is refused here; the kind's schema judges the rest."""
    assert not is_formula(text)


@pytest.mark.parametrize(
    ("text", "row", "column", "says"),
    [
        ("local_id;term;value\n7a-01;q1\n", 2, "", "2 cells, but 3 columns"),
        ("local_id;term;value\n7a-01;q1;5;6\n", 2, "", "4 cells, but 3 columns"),
        ('local_id;term;value\n7a-01;q"1;5\n', 2, "term", "a quote in the middle"),
        ('local_id;term;value\n7a-01;"q1"x;5\n', 2, "term", "a quote in the middle"),
        ('local_id;term;value\n7a-01;"q1;5\n', 2, "term", "never closes"),
        ("local_id;term;value\n7a-01;q\x001;5\n", 2, "term", "control character"),
        ("local_id;term;value\n7a-01;q\x1b[31m1;5\n", 2, "term", "control character"),
        (f"local_id;term;value\n7a-01;q1;{'5' * 20_000}\n", 2, "value", "more than 10000 characters"),
        (f"local_id;term;value\n{';' * 200}\n", 2, "", "more than 100 cells"),
    ],
    ids=[
        "too few",
        "too many",
        "quote inside",
        "after a quote",
        "open quote",
        "zero byte",
        "escape sequence",
        "endless cell",
        "endless row",
    ],
)
def test_a_bad_row_is_told_by_row_and_column(text: str, row: int, column: str, says: str) -> None:
    """The error says where it stands and what would be right."""
    read = parse(text)
    [problem] = problems(read)
    assert (problem.row, problem.column) == (row, column)
    assert says in problem.text


def test_all_problems_are_told_at_once_and_the_good_rows_are_still_read() -> None:
    """One bad row does not hide the next one."""
    read = parse('local_id;term;value\na;q1;=1\nb;q1;5\nc;q"x;5\nd;q1\ne;@x;5\n')
    assert [one.row for one in problems(read)] == [2, 4, 5, 6]
    assert [row.number for row in read.rows if not row.faults] == [3]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (GOOD.replace("q1", "Müller").encode("latin-1"), "not UTF-8"),
        (b"PK\x03\x04" + b"x" * 100, "workbook"),
        (b"%PDF-1.4", "PDF"),
        (b"local_id;term;value;salary\n", "no column of this list"),
        (b"local_id;value\n", "missing"),
        (b"local_id;term;value;term\n", "stands twice"),
        (b'local_id;"term;value\n', "never closes"),
        (b"x" * (source.FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused_as_a_whole(data: bytes, says: str) -> None:
    """The message says what it is and what to do."""
    with pytest.raises(ListMalformed) as raised:
        parse(data)
    assert any(says in one.text for one in raised.value.problems)


def test_unknown_and_missing_columns_are_all_named_at_once() -> None:
    """A list with the family's columns names every one of them in one refusal."""
    with pytest.raises(ListMalformed) as raised:
        parse("local_id,Medu,Fedu,value\n")
    assert [one.column for one in raised.value.problems] == ["Medu", "Fedu", "term"]


def test_a_byte_that_is_no_text_is_found_by_its_row() -> None:
    """It is the row to look at."""
    with pytest.raises(ListMalformed) as raised:
        parse(b"local_id;term;value\na;q1;5\nb;\xfe\x98;5\n")
    assert raised.value.problems[0].row == 3


def test_a_file_of_noise_does_not_fill_the_memory() -> None:
    """Problems are bounded, and the last says that there are more."""
    with pytest.raises(ListMalformed) as raised:
        parse("local_id;term;value\n" + '"x"y;z\n' * (table.PROBLEMS_MAX + 5))
    assert len(raised.value.problems) == table.PROBLEMS_MAX + 1
    assert "too many" in raised.value.problems[-1].text


def test_too_many_rows_are_refused_and_not_cut() -> None:
    """Half a list recorded, and the rest forgotten, would look like success."""
    with pytest.raises(ListMalformed) as raised:
        parse("local_id;term;value\n" + "a;q1;5\n" * (table.ROWS_MAX + 5))
    assert "more than" in raised.value.problems[-1].text


def test_quotes_that_never_close_take_no_time() -> None:
    """A file made to make the reader go back over it again and again is read once."""
    start = time.monotonic()
    parse("local_id;term;value\n" + 'a;"' + '""' * 500_000)
    assert time.monotonic() - start < 5


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """No traceback for a path typed wrongly."""
    with pytest.raises(StoreError, match=r"absent\.csv"):
        read_table(tmp_path / "absent.csv", LIST)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
            min_size=3,
            max_size=3,
        ),
        max_size=5,
    )
)
def test_whatever_a_spreadsheet_writes_is_read_back(delimiter: str, rows: list[list[str]]) -> None:
    """Python's own writer of RFC 4180 and this reader agree on every text that is no formula."""
    wanted = [[clean(cell) for cell in row] for row in rows]
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([COLUMNS, *rows])
    read = parse(stream.getvalue())
    taken = [list(row.cells.values()) for row in read.rows if not row.faults]
    good = [[cell for cell in row if cell] for row in wanted if any(row) and not any(map(is_formula, row))]
    assert taken == [row for row in good if row[:3] != COLUMNS]


@given(data=st.binary(max_size=300))
@example(data=b'local_id;term;value\n"\n')
@example(data=b"local_id\tterm\tvalue\n\x00")
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    """Any bytes, and any bytes behind good headers, are a table or a refusal."""
    for prefix in (b"", b"local_id;term;value\n", b'local_id,term,value\n"'):
        try:
            read = parse(prefix + data)
        except ListMalformed:
            continue
        assert all(set(row.cells) <= {*COLUMNS, "note"} for row in read.rows)
