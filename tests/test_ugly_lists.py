"""A hundred ugly files with the outcome of each, and hypothesis with more: no input gives a traceback.

Each case is what a school's computer, a person or an attacker makes of the same small list; it is either read
as what it means, or refused with the row, the column and what would be right.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.failures import CellProblem, ListMalformed
from cli.import_records import Drafts
from cli.source import FILE_BYTES_MAX, parse_source
from tests.lists import SHEET_END, SHEET_START, archive, book, book_of_sheet, book_with, judge

HEAD = "local_id;school_year;term;subject_code;scale;value;result_type"
RU_HEAD = "Личный номер;Учебный год;Период;Предмет;Шкала;Оценка;Вид"
ONE, TWO = "7a-01;2026/2027;q1;ALG;ru5;5;term", "7a-02;2026/2027;q1;ALG;ru5;4;term"
LIST = f"{HEAD}\n{ONE}\n{TWO}\n"
RUSSIAN = LIST.replace(HEAD, RU_HEAD).replace("ALG", "АЛГЕБРА")
TERM = "7a-01;2026/2027;q1;ALG;{};{};term"
GTO = "local_id;stage;badge;date;order_no\n7a-01;4;gold;{};ПР-41\n"
GRID: list[list[Any]] = [line.split(";") for line in LIST.splitlines()]


@dataclass(frozen=True, kw_only=True)
class Ugly:
    """A file and its outcome: so many records, or a problem in a row and column; maybe a remark."""

    data: str | bytes
    kind: str = "results"
    encoding: str = ""
    sheet: str = ""
    records: int = 0
    row: int | None = None
    column: str = ""
    says: str = ""
    remark: str = ""


def with_value(scale: str, value: str) -> str:
    return f"{HEAD}\n{TERM.format(scale, value)}\n"


def gto(date: str) -> str:
    return GTO.format(date)


def gto_book(date: Any) -> bytes:
    return book([["local_id", "stage", "badge", "date", "order_no"], ["7a-01", 4, "gold", date, "ПР-41"]])


def styled(made: Any) -> None:
    """Formats rows far below the list, as a click on a column does."""
    made.active["A59000"].number_format = "0.00"


def second_sheet(made: Any) -> None:
    made.create_sheet("7б").append(["another"])


def list_on_the_second_sheet(made: Any) -> None:
    sheet = made.create_sheet("7б")
    for row in GRID:
        sheet.append(row)


def hidden_first(made: Any) -> None:
    sheet = made.create_sheet("Лист2", 0)
    sheet.append(["secret"])
    sheet.sheet_state = "hidden"


def hidden_row(made: Any) -> None:
    made.active.row_dimensions[3].hidden = True


def merged_header(made: Any) -> None:
    made.active.merge_cells("F1:G1")


def formula(made: Any) -> None:
    made.active["F2"] = "=2+3"


def title_above(made: Any) -> None:
    made.active.insert_rows(1)
    made.active["A1"] = "Ведомость 7а"


def in_the_middle(made: Any) -> None:
    made.active.insert_rows(1, 2)
    made.active.insert_cols(1)


def lying_book() -> bytes:
    """A workbook one part of which says that it is small, and unpacks to two hundred megabytes."""
    size = 200_000_000
    data = book_with({"xl/sharedStrings.xml": b" " * size})
    return data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))


UGLY: dict[str, Ugly] = {
    # How it was saved.
    "plain": Ugly(data=LIST, records=2),
    "byte order mark": Ugly(data="\ufeff" + LIST, records=2),
    "commas": Ugly(data=LIST.replace(";", ","), records=2),
    "tabs": Ugly(data=LIST.replace(";", "\t"), records=2),
    "declared delimiter": Ugly(data="sep=,\r\n" + LIST.replace(";", ","), records=2),
    "everything quoted": Ugly(
        data="\n".join('"' + line.replace(";", '";"') + '"' for line in LIST.splitlines()), records=2
    ),
    "windows line ends": Ugly(data=LIST.replace("\n", "\r\n"), records=2),
    "old mac line ends": Ugly(data=LIST.replace("\n", "\r"), records=2),
    "mixed line ends": Ugly(data=f"{HEAD}\r\n{ONE}\r{TWO}\n", records=2),
    "no line end at the end": Ugly(data=LIST.rstrip(), records=2),
    "blank lines at the end": Ugly(data=LIST + "\n\n;;;;;;\n\n", records=2),
    "blank lines within and above": Ugly(data="\n" + LIST.replace(TWO, "\n" + TWO), records=2),
    "an empty column at the end": Ugly(data=LIST.replace("\n", ";\n"), records=2),
    "spaces around everything": Ugly(data=LIST.replace(";", " ; ").replace("q1", "\u00a0q1 "), records=2),
    # Encodings.
    "windows-1251": Ugly(data=RUSSIAN.encode("cp1251"), records=2, remark="read as windows-1251"),
    "windows-1251, said": Ugly(data=RUSSIAN.encode("cp1251"), encoding="windows-1251", records=2),
    "windows-1251 with one Russian word": Ugly(
        data=LIST.replace("ALG", "Алг").encode("cp1251"), records=2, remark="'Алг'"
    ),
    "koi8-r": Ugly(data=RUSSIAN.encode("koi8-r"), row=1, says="--encoding koi8-r"),
    "koi8-r, said": Ugly(data=RUSSIAN.encode("koi8-r"), encoding="koi8-r", records=2),
    "cp866": Ugly(data=RUSSIAN.encode("cp866"), row=1, says="--encoding cp866"),
    "mac-cyrillic": Ugly(data=RUSSIAN.encode("mac-cyrillic"), row=1, says="--encoding mac-cyrillic"),
    "latin-1": Ugly(data=LIST.replace("ALG", "Müller").encode("latin-1"), row=2, says="not UTF-8"),
    "utf-16": Ugly(data=RUSSIAN.encode("utf-16"), records=2),
    "utf-16, the other way round": Ugly(data=b"\xfe\xff" + RUSSIAN.encode("utf-16-be"), records=2),
    "utf-16 without a mark": Ugly(data=LIST.replace("A", "Ä").encode("utf-16-le"), says="utf-16"),
    "half a letter at the end": Ugly(data=RUSSIAN.encode()[:-20] + b"\xd0", says="not UTF-8", row=3),
    "another encoding than was said": Ugly(
        data="\ufeff" + LIST, encoding="windows-1251", says="leave --encoding windows-1251 out"
    ),
    # Headers.
    "russian headers": Ugly(data=RUSSIAN, records=2),
    "shouted and underlined headers": Ugly(
        data=RUSSIAN.replace(RU_HEAD, RU_HEAD.upper().replace(" ", "_")), records=2
    ),
    "a line end within a header": Ugly(data=RUSSIAN.replace("Учебный год", '"Учебный\nгод"'), records=2),
    "a title above": Ugly(data="Ведомость 7а;;;;;;\n\n" + LIST, row=1, says="the headers stand in row 3"),
    "no headers": Ugly(data=f"{ONE}\n{TWO}\n", row=1, column="7a-01", says="no column of this list"),
    "a header misspelt": Ugly(
        data=LIST.replace("scale", "scael"), row=1, column="scael", says="is scale meant"
    ),
    "unknown columns": Ugly(data=LIST.replace("\n", ";x\n", 1), row=1, column="x", says="no column"),
    "a column twice": Ugly(
        data=LIST.replace("term;", "школа;", 1).replace("scale", "школа", 1), says="stands twice"
    ),
    "two names of one field": Ugly(data=LIST.replace("result_type", "оценка", 1), row=1, says="stands twice"),
    "a column missing": Ugly(
        data=LIST.replace(";scale", "").replace(";ru5", ""), column="scale", says="missing"
    ),
    "a value under no name": Ugly(
        data=LIST.replace("\n", ";\n", 1).replace("term\n", "term;!\n"),
        row=2,
        column="column 8",
        says="no name",
    ),
    "headers in the middle": Ugly(data=f"{LIST}{HEAD}\n", row=4, says="the headers once more"),
    # Rows.
    "a total below": Ugly(data=LIST + "Итого;;;;;9;\n", row=4, column="local_id", says="a total"),
    "a total by class": Ugly(data=LIST + ";Всего по классу:;;;;2;\n", row=4, says="a total"),
    "a row too long": Ugly(data=LIST.replace(";5;", ";5;5;"), row=2, says="8 cells, but 7 columns"),
    "a row too short": Ugly(data=LIST.replace("ru5;5", "ru5"), row=2, says="6 cells, but 7 columns"),
    "a decimal comma not quoted among commas": Ugly(
        data=with_value("pt20", "14,5").replace(";", ","), row=2, says="8 cells, but 7 columns"
    ),
    "a line end within a cell": Ugly(
        data=LIST.replace("ALG", '"AL\nG"', 1), row=2, column="subject_code", says="line end"
    ),
    "a quote never closed": Ugly(data=LIST.replace("ALG", '"ALG', 1), row=2, says="never closes"),
    "a quote within a cell": Ugly(data=LIST.replace("ALG", 'A"L', 1), row=2, says="a quote in the middle"),
    "a formula": Ugly(data=with_value("ru5", "=2+3"), row=2, column="value", says="a formula"),
    "a formula in disguise": Ugly(data=with_value("ru5", "'=2+3"), row=2, column="value", says="a formula"),
    "a zero byte": Ugly(data=LIST.replace("ALG", "A\x00G"), row=2, column="subject_code", says="control"),
    "nobody enrolled": Ugly(data=LIST.replace("7a-02", "7a-99"), row=3, column="local_id", says="enrol"),
    "a local id on the other keyboard": Ugly(
        data=LIST.replace("7a-02", "7а-02"), row=3, column="local_id", says="has 7a-02 with letters that look"
    ),
    "no local id": Ugly(data=LIST.replace("7a-02", ""), row=3, column="local_id", says="missing"),
    "a row twice": Ugly(data=LIST + ONE + "\n", records=2),
    "two marks of one fact": Ugly(data=LIST + ONE.replace(";5;", ";4;"), row=2, column="value", says="row 4"),
    # Values.
    "a decimal comma": Ugly(data=with_value("pt20", "14,5"), records=1),
    "a decimal comma, quoted": Ugly(data=with_value("pt20", '"14,5"').replace(";", ","), records=1),
    "a mark with a minus": Ugly(data=with_value("ru5", "5-"), row=2, column="value", says="a mark such as 4"),
    "a mark in words": Ugly(data=with_value("ru5", "отл"), row=2, column="value", says="a mark such as 4"),
    "a thousands space": Ugly(
        data=with_value("pt100", "1 00"), row=2, column="value", says="a mark such as 4"
    ),
    "a point mark with zeros": Ugly(data=with_value("pt20", "14,50"), row=2, says="without zeros"),
    "a date in Russian": Ugly(data=gto("6.11.2026"), kind="gto", records=1),
    "a date in ISO": Ugly(data=gto("2026-11-06"), kind="gto", records=1),
    "an American date, or not": Ugly(
        data=gto("01/02/2026"), kind="gto", row=2, column="date", says="which the month"
    ),
    "a year of two digits": Ugly(data=gto("06.11.26"), kind="gto", row=2, column="date", says="two digits"),
    "a day of no month": Ugly(
        data=gto("31.02.2026"), kind="gto", row=2, column="date", says="no day of the calendar"
    ),
    "a date of nothing": Ugly(
        data=gto("00.01.1900"), kind="gto", row=2, column="date", says="a date of 1900"
    ),
    "a date of a number": Ugly(
        data=gto("05.01.1900"), kind="gto", row=2, column="date", says="a date of 1900"
    ),
    "a count of days": Ugly(data=gto("46332"), kind="gto", row=2, column="date", says="count of days"),
    "a time beside the date": Ugly(
        data=gto("06.11.2026 0:00"), kind="gto", row=2, column="date", says="a time"
    ),
    "a code made a date": Ugly(
        data=gto("06.11.2026").replace("ПР-41", "01.фев"),
        kind="gto",
        row=2,
        column="order_no",
        says="made a date of it",
    ),
    # What is no list.
    "an empty file": Ugly(data=b"", says="empty"),
    "only a mark": Ugly(data=b"\xef\xbb\xbf", says="empty"),
    "only blank lines": Ugly(data="\n\n\n", says="empty"),
    "too large": Ugly(data=b"x" * (FILE_BYTES_MAX + 1), says="larger than"),
    "a ZIP named .csv": Ugly(data=archive({"results.csv": LIST}), says="a ZIP archive and no workbook"),
    "an empty ZIP": Ugly(data=archive({}), says="an empty ZIP"),
    "a ZIP cut off": Ugly(data=archive({"a": LIST})[:60], says="damaged"),
    "an XLS named .xlsx": Ugly(
        data=b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), says="old Excel workbook"
    ),
    "an OpenDocument sheet": Ugly(data=archive({"content.xml": "<x/>"}), says="OpenDocument"),
    "a binary workbook": Ugly(data=archive({"xl/workbook.bin": b"\0"}), says="XLSB"),
    "a web page named .xls": Ugly(data="<html><table><tr><td>5</td></tr></table></html>", says="a web page"),
    "a PDF": Ugly(data=b"%PDF-1.7\n", says="PDF"),
    "a picture": Ugly(data=b"\x89PNG\r\n\x1a\n", says="a picture"),
    # Workbooks.
    "a workbook": Ugly(data=book(GRID), records=2),
    "a workbook with Russian headers": Ugly(data=book([RU_HEAD.split(";"), *GRID[1:]]), records=2),
    "numbers of a workbook": Ugly(
        data=book([*GRID[:2], ["7a-02", "2026/2027", "q1", "ALG", "pt20", 14.5, "term"]]), records=2
    ),
    "whole numbers of a workbook": Ugly(
        data=book([*GRID[:2], [*TWO.split(";")[:5], 4.0, "term"]]), records=2
    ),
    "a date of a workbook": Ugly(data=gto_book(datetime.date(2026, 11, 6)), kind="gto", records=1),
    "a date and a time of a workbook": Ugly(
        data=gto_book(datetime.datetime(2026, 11, 6, 9, 30)), kind="gto", row=2, column="date", says="a time"
    ),
    "a date of 1900 of a workbook": Ugly(
        data=gto_book(datetime.date(1900, 1, 5)), kind="gto", row=2, column="date", says="a date of 1900"
    ),
    "a workbook's date as text": Ugly(data=gto_book("06.11.2026"), kind="gto", records=1),
    "a workbook's code made a date": Ugly(
        data=book([GRID[0], [*ONE.split(";")[:3], datetime.date(2026, 2, 1), "ru5", "5", "term"]]),
        row=2,
        column="subject_code",
        says="a date here",
    ),
    "yes and no of a workbook": Ugly(
        data=book([GRID[0], [*ONE.split(";")[:5], True, "term"]]), row=2, column="value", says="yes or no"
    ),
    "a workbook's formula": Ugly(data=book(GRID, formula), row=2, column="value", says="a formula"),
    "a workbook's error": Ugly(
        data=book([GRID[0], [*ONE.split(";")[:5], "#N/A", "term"]]),
        row=2,
        column="value",
        says="an error of the sheet, #N/A",
    ),
    "a workbook with a title": Ugly(data=book(GRID, title_above), row=1, says="the headers stand in row 2"),
    "merged headers": Ugly(data=book(GRID, merged_header), row=1, column="result_type", says="missing"),
    "a list away from the corner": Ugly(data=book(GRID, in_the_middle), records=2),
    "formats far below": Ugly(data=book(GRID, styled), records=2),
    "a second sheet": Ugly(data=book(GRID, second_sheet), records=2, remark="not read: 7б"),
    "the second sheet": Ugly(
        data=book([["x"]], list_on_the_second_sheet),
        sheet="7б",
        records=2,
        remark="read the sheet '7б'",
    ),
    "no such sheet": Ugly(data=book(GRID, second_sheet), sheet="7в", says="its sheets are Sheet, 7б"),
    "a sheet of a CSV": Ugly(data=LIST, sheet="7б", says="no workbook"),
    "a hidden sheet first": Ugly(data=book(GRID, hidden_first), records=2),
    "a hidden row": Ugly(data=book(GRID, hidden_row), records=2, remark="1 hidden rows"),
    "an empty sheet": Ugly(data=book([]), says="no rows"),
    # Workbooks that attack.
    "a far cell": Ugly(
        data=book_of_sheet('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
        row=1048576,
        says="outside what a list may be",
    ),
    "a cell beyond every sheet": Ugly(
        data=book_of_sheet('<row r="99999999999"><c r="A1"><v>1</v></c></row>'), says="damaged"
    ),
    "cells in the wrong row": Ugly(
        data=book_of_sheet('<row r="1"><c r="A9"><v>1</v></c></row>'), says="damaged"
    ),
    "a part that unpacks to a giant": Ugly(
        data=book_with({"xl/sharedStrings.xml": b" " * 200_000_000}), says="unpacks to over"
    ),
    "a part that lies about its size": Ugly(data=lying_book(), says="damaged"),
    "entities": Ugly(
        data=book_with({"xl/workbook.xml": '<!DOCTYPE x [<!ENTITY a "aa">]><workbook>&a;</workbook>'}),
        says="document type",
    ),
    "one long text a million times": Ugly(
        data=book_with(
            {
                "xl/sharedStrings.xml": "<sst><si><t>" + "x" * 30_000 + "</t></si></sst>",
                "xl/worksheets/sheet1.xml": "<worksheet><sheetData>"
                + "".join(
                    f'<row r="{row}">' + '<c t="s"><v>0</v></c>' * 90 + "</row>" for row in range(1, 90)
                )
                + "</sheetData></worksheet>",
            }
        ),
        says="million characters",
    ),
    "a place of a text written oddly": Ugly(
        data=book_with(
            {
                "xl/sharedStrings.xml": "<sst><si><t>x</t></si></sst>",
                "xl/worksheets/sheet1.xml": SHEET_START
                + '<row r="1"><c r="A1" t="s"><v>+0</v></c></row>'
                + SHEET_END,
            }
        ),
        says="damaged",
    ),
    "a rectangle declared larger than it is": Ugly(
        data=book_with(
            {
                "xl/worksheets/sheet1.xml": SHEET_START.replace(
                    "<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>'
                )
                + SHEET_END
            }
        ),
        says="no rows",
    ),
    "a workbook without its sheet": Ugly(
        data=book_with({"xl/worksheets/sheet1.xml": None}), says="has no sheet"
    ),
    "a workbook that is no XML": Ugly(
        data=book_with({"xl/worksheets/sheet1.xml": b"\xff\xfe\x00junk"}), says="damaged"
    ),
    "a text that is not there": Ugly(
        data=book_of_sheet('<row r="1"><c r="A1" t="s"><v>7</v></c></row>'), says="damaged"
    ),
}


def outcome(case: Ugly) -> tuple[Drafts | None, list[CellProblem], tuple[str, ...]]:
    """What becomes of a file: drafts, problems, remarks."""
    data = case.data.encode() if isinstance(case.data, str) else case.data
    try:
        source = parse_source(data, "list.csv", encoding=case.encoding, sheet=case.sheet)
        drafts = judge(source, case.kind)
    except ListMalformed as error:
        return None, list(error.problems), ()
    return drafts, list(drafts.problems), source.remarks


@pytest.mark.parametrize("case", UGLY.values(), ids=UGLY)
def test_an_ugly_file_is_read_as_what_it_means_or_refused_where_it_is_wrong(case: Ugly) -> None:
    """The table above."""
    drafts, problems, remarks = outcome(case)
    if not case.says:
        assert problems == []
        assert drafts is not None and len(drafts.records) == case.records
        assert case.remark in " ".join(remarks) and bool(case.remark) == bool(remarks)
        return
    found = [one for one in problems if case.says in one.text]
    assert found, problems
    assert case.row in (None, found[0].row)
    assert case.column in ("", found[0].column)
    assert found[0].file == "list.csv"


def test_every_form_of_the_list_gives_the_same_records() -> None:
    """What differs only in how it was saved says the same facts of the same pupils."""
    plain, _, _ = outcome(UGLY["plain"])
    assert plain is not None
    wanted = [(one.local_id, one.fields) for one in plain.records]
    for name in (
        "commas",
        "utf-16",
        "mixed line ends",
        "a workbook",
        "a list away from the corner",
        "a hidden row",
    ):
        found, _, _ = outcome(UGLY[name])
        assert found is not None
        fields = [(one.local_id, {**one.fields, "subject_code": "ALG"}) for one in found.records]
        assert fields == wanted, name


def test_values_are_changed_in_the_two_ways_that_are_named_and_no_other() -> None:
    """A decimal comma becomes a point, a Russian date an ISO one."""
    comma, _, _ = outcome(UGLY["a decimal comma"])
    date, _, _ = outcome(UGLY["a date in Russian"])
    assert comma is not None and comma.records[0].fields["value"] == "14.5"
    assert date is not None and date.records[0].fields["date"] == "2026-11-06"


# More, by hypothesis.

ANY_TEXT = st.text(max_size=40)
CELL = st.one_of(
    ANY_TEXT, st.sampled_from(["5", "=1", "14,5", "01/02/2026", "Итого", '"', "\n", "7a-01", "\x00"])
)


@given(
    data=st.binary(max_size=400),
    start=st.sampled_from([b"", HEAD.encode() + b"\n", b"PK\x03\x04", b"\xff\xfe", b"sep=;\n"]),
)
def test_no_bytes_give_a_traceback(data: bytes, start: bytes) -> None:
    """Any bytes, alone or behind a good beginning."""
    outcome(Ugly(data=start + data))


@given(
    rows=st.lists(st.lists(CELL, max_size=9), max_size=6),
    delimiter=st.sampled_from(";,\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1251", "koi8-r"]),
)
def test_no_rows_below_good_headers_give_a_traceback(
    rows: list[list[str]], delimiter: str, end: str, encoding: str
) -> None:
    """Every problem names a row, and what stands there as a good row is what is drafted."""
    lines = [HEAD.replace(";", delimiter), *(delimiter.join(row) for row in rows)]
    drafts, problems, _ = outcome(Ugly(data=end.join(lines).encode(encoding, errors="replace")))
    assert all(one.text for one in problems)
    if drafts is not None:
        assert all(one.row for one in problems)
        assert {one.row for one in drafts.records}.isdisjoint({one.row for one in problems})


WHOLE = book(GRID)
"""Made once: a workbook says when it was made, and hypothesis replays."""
SHEET_VALUE = st.one_of(
    st.none(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(min_value=datetime.date(1900, 1, 1)),
    st.datetimes(min_value=datetime.datetime(1900, 1, 1)),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0xFFFD), max_size=20),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows=st.lists(st.lists(SHEET_VALUE, max_size=8), max_size=5))
def test_no_values_of_a_sheet_give_a_traceback(rows: list[list[Any]]) -> None:
    """Whatever a spreadsheet can hold."""
    outcome(Ugly(data=book([GRID[0], *rows])))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_no_damage_to_a_workbook_gives_a_traceback(data: st.DataObject) -> None:
    """Bytes changed or cut anywhere in the archive, and anywhere in the XML of its parts."""
    whole = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    outcome(Ugly(data=bytes(whole[: data.draw(st.integers(4, len(whole)))])))
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as made:
        name = data.draw(st.sampled_from(made.namelist()))
        part = bytearray(made.read(name))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(part) - 1))
        part[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=10))
    outcome(Ugly(data=book_with({name: bytes(part)}, GRID)))
