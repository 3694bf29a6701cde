"""Workbooks into lines of cells, as `cli.delimited` makes them of text.

Values are taken as the sheet has them: a date is a date whatever its format shows, 5.0 is 5, because a sheet
knows no whole numbers. What a cell's text cannot say is refused in that cell: a formula, a time, yes or no,
an error. This is the only module that imports calamine; it reads nothing that `cli.workbook` has not judged.
"""

from __future__ import annotations

import datetime
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from cli.cells import clean
from cli.delimited import Line
from cli.failures import no_list
from cli.workbook import Judged, judge_workbook

WHOLE_MAX = 10**15
"""Larger numbers are no longer kept exactly by a sheet."""

Value = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta


@dataclass(frozen=True, slots=True)
class Spreadsheet:
    """One sheet, ready to be read any number of times; ``remarks`` have to be said aloud."""

    values: CalamineSheet
    judged: Judged
    remarks: tuple[str, ...]

    def lines(self) -> Iterator[Line]:
        """Yield the rows from the first on, blank ones too."""
        known = self.judged.facts.faults
        _, left = self.values.start or (0, 0)
        for number, values in enumerate(self.values.iter_rows(), 1):
            yield _line(number, [*[""] * left, *values], known)


def open_spreadsheet(data: bytes, file: str, sheet: str = "") -> Spreadsheet:
    """Return a sheet of a workbook; raise `ListMalformed` if it is none, or must not be read."""
    judged = judge_workbook(data, file, sheet)
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(judged.archive))
        values = workbook.get_sheet_by_name(judged.sheet)
    except CalamineError as error:
        raise no_list(file, f"a damaged workbook ({error}): save it anew as XLSX") from None
    return Spreadsheet(values=values, judged=judged, remarks=tuple(_remarks(judged, file)))


def _remarks(judged: Judged, file: str) -> Iterator[str]:
    if judged.others:
        others = ", ".join(judged.others)
        yield f"{file}: read the sheet {judged.sheet!r}; not read: {others} (--sheet names another)"
    if hidden := judged.facts.hidden_rows:
        yield f"{file}: {hidden} hidden rows are part of the list too"


def _line(number: int, values: list[Value], known: Mapping[tuple[int, int], str]) -> Line:
    cells, faults, dates = [], dict[int, str](), set[int]()
    for place, value in enumerate(values):
        text, fault = _text_of(value)
        if fault := known.get((number, place + 1), fault):
            faults[place] = fault
        elif isinstance(value, datetime.date):
            dates.add(place)
        cells.append(text)
    return Line(number, cells, faults=faults, dates=frozenset(dates))


def _text_of(value: Value) -> tuple[str, str]:
    """A value as text, and what is wrong with it."""
    match value:
        case str():
            return clean(value), ""
        case bool():
            return str(value).upper(), "yes or no of a spreadsheet: type the word or number that is meant"
        case int() | float():
            return _number(value)
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat(), ""
        case datetime.datetime():
            return value.isoformat(" "), "a time stands beside the date: write the date alone"
        case datetime.date():
            return value.isoformat(), ""
        case _:
            return str(value), "a time of a spreadsheet: type the text, or format the column as text"


def _number(value: float) -> tuple[str, str]:
    if not math.isfinite(value) or abs(value) >= WHOLE_MAX:
        return repr(value), "a number too large for a sheet to keep: format the column as text, type it anew"
    return (str(int(value)) if value == int(value) else repr(value)), ""
