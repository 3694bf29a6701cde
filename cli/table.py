"""A list as rows of named cells, with everything wrong told at once.

The headers are the first row that is not blank; every column must be one that is wanted or left out by name.
Row numbers are a spreadsheet's. Blank rows are passed over. What is not a row of a pupil is refused where it
stands: a title above the headers, the headers again, a total below. A column without a name may stand beside
the list as long as it is empty.

A row that cannot be told apart into its columns is a problem of the table; what is wrong with a cell is
carried by its row, so that the rest of the row is still judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cli.cells import cell_fault, shown_value
from cli.delimited import Line
from cli.failures import CellProblem, ListMalformed
from cli.headers import Columns, fold, nearest
from cli.source import Source, read_source

ROWS_MAX = 50_000
"""A large district's list of one kind."""
PROBLEMS_MAX = 20_000
"""More than anybody mends; a file of noise must not fill the memory."""
TITLE_ROWS_MAX = 20
"""How far below a title the headers are looked for."""

_TOTAL = re.compile(
    r"(?:итого|всего|сумма|средн(?:ее|ий балл|яя)|total|sum|average|mean)(?: по [\w -]{1,30})?[:.]?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its number, and by column what is not empty, what is wrong, and which cells hold a real date."""

    number: int
    cells: Mapping[str, str]
    faults: Mapping[str, str] = field(default_factory=dict)
    dates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows that could be told apart, and what is wrong with the others."""

    source: Source
    lines: Callable[[], Iterator[Line]]
    """Walks the whole file again."""
    header: Line
    """The row of the headers."""
    headers: Mapping[str, str]
    """Each column that is taken, as the list itself calls it."""
    rows: tuple[Row, ...]
    problems: tuple[CellProblem, ...]

    @property
    def file(self) -> str:
        """The file's name, as errors have it."""
        return self.source.file

    def cell_problem(self, row: Row, key: str, text: str) -> CellProblem:
        """Return a problem of one cell."""
        return CellProblem(
            file=self.file,
            row=row.number,
            column=self.headers.get(key, key),
            value=shown_value(row.cells.get(key, "")),
            text=text,
        )


def read_table(path: Path, columns: Columns, *, encoding: str = "", sheet: str = "") -> Table:
    """Return the table in a file; see `parse_table`. `StoreError` if it cannot be read."""
    return parse_table(read_source(path, encoding=encoding, sheet=sheet), columns)


def parse_table(source: Source, columns: Columns) -> Table:
    """Return the rows of a list of these columns.

    Raises `ListMalformed` if the file as a whole is no such list, with everything that is wrong with its
    columns; what is wrong with single rows stands in the table.
    """
    lines, header = find_header(source, columns)
    _check_header(header, source.file, lines, columns)
    reader = _Reader(source.file, header, columns)
    for line in lines():
        if line.number > header.number:
            reader.take(line)
    reader.check_nameless()
    return Table(
        source=source,
        lines=lines,
        header=header,
        headers={key: name for key, name in zip(reader.keys, header.cells, strict=True) if key},
        rows=tuple(reader.rows),
        problems=tuple(reader.problems),
    )


def find_header(source: Source, columns: Columns) -> tuple[Callable[[], Iterator[Line]], Line]:
    """Return the reading of a source under which most headers are known, and its first row."""
    firsts = [(reading, _first(reading)) for reading in source.readings]
    found = [(reading, line) for reading, line in firsts if line is not None]
    if not found:
        raise ListMalformed([CellProblem(file=source.file, text="empty: there are no rows")])
    return max(found, key=lambda one: (_count_known(one[1], columns), len(one[1].cells)))


def _first(reading: Callable[[], Iterator[Line]]) -> Line | None:
    return next((line for line in reading() if any(line.cells)), None)


def _count_known(line: Line, columns: Columns) -> int:
    known = {
        columns.key_of(cell) or (columns.is_left_out(cell) and fold(cell)) for cell in line.cells if cell
    }
    return len(known - {False, None})


def _check_header(header: Line, file: str, lines: Callable[[], Iterator[Line]], columns: Columns) -> None:
    """Raise with everything that is wrong with the columns."""
    problems = [("", header.fault)] if header.fault else _header_problems(header, columns)
    below = _headers_below(header, lines, columns)
    if problems and below:
        title = next(cell for cell in header.cells if cell)
        text = f"a title, but the headers stand in row {below}: delete the rows above them"
        raise ListMalformed([CellProblem(file=file, row=header.number, value=shown_value(title), text=text)])
    if problems:
        raise ListMalformed(
            [
                CellProblem(
                    file=file,
                    row=header.number,
                    column=shown_value(name),
                    value=shown_value(name) if name in header.cells else "",
                    text=text,
                )
                for name, text in problems
            ]
        )


def _header_problems(header: Line, columns: Columns) -> list[tuple[str, str]]:
    names = [name for name in header.cells if name]
    keys = [key for name in names if (key := columns.key_of(name))]
    unknown = [
        name for name in dict.fromkeys(names) if not columns.key_of(name) and not columns.is_left_out(name)
    ]
    twice = [name for name in dict.fromkeys(names) if keys.count(columns.key_of(name) or "") > 1]
    missing = [key for key in columns.required if key not in keys]
    return [
        *((name, _unknown_text(name, columns)) for name in unknown),
        *((name, f"stands twice among the columns (as {columns.key_of(name)})") for name in twice),
        *((key, "this column is missing") for key in missing),
    ]


def _unknown_text(name: str, columns: Columns) -> str:
    near = nearest(fold(name), columns.keys)
    if near:
        return f"no column of this list; is {near} meant?"
    return f"no column of this list, which has {', '.join(columns.names())}; a profile may leave it out"


def _headers_below(header: Line, lines: Callable[[], Iterator[Line]], columns: Columns) -> int:
    """The row below a title in which the headers stand; 0 if there is none."""
    if _count_known(header, columns) > 1:
        return 0
    wanted = min(2, len(columns.required))
    for line in islice(lines(), TITLE_ROWS_MAX):
        if line.number > header.number and _count_known(line, columns) >= max(wanted, 1):
            return line.number
    return 0


class _Reader:
    """Takes lines below the headers, one by one."""

    def __init__(self, file: str, header: Line, columns: Columns) -> None:
        self.rows: list[Row] = []
        self.problems: list[CellProblem] = []
        self.keys = [columns.key_of(name) if name else None for name in header.cells]
        self._file, self._header = file, header
        self._places = [(place, key) for place, key in enumerate(self.keys) if key]
        self._nameless = [place for place, name in enumerate(header.cells) if not name]
        self._astray: dict[int, CellProblem] = {}

    def take(self, line: Line) -> None:
        """Take a row, or say what it is instead."""
        if not (line.fault or line.faults or any(line.cells)):
            return
        if line.number > self._header.number + ROWS_MAX:
            raise self._endless(line.number, f"more than {ROWS_MAX} rows: cut the list into parts")
        text, place = self._fault(line)
        if text:
            self._refuse(line, text, place)
        else:
            self.rows.append(self._row(line))

    def check_nameless(self) -> None:
        """Raise if values stand in a column without a name."""
        if self._astray:
            raise ListMalformed(list(self._astray.values()))

    def _fault(self, line: Line) -> tuple[str, int]:
        """Why a line is no row of the list, and the cell to look at."""
        first = next((place for place, cell in enumerate(line.cells) if cell), 0)
        width = len(self._header.cells)
        if line.fault:
            return line.fault, len(line.cells) - 1
        if _TOTAL.fullmatch(line.cells[first]):
            return "a total of the sheet, not a row of the list: delete this row", first
        if line.cells == self._header.cells:
            return "the headers once more: delete this row", first
        if len(line.cells) != width:
            text = f"{len(line.cells)} cells, but {width} columns: is a delimiter missing, or a quote?"
            return text, width
        return "", 0

    def _refuse(self, line: Line, text: str, place: int) -> None:
        name = self._header.cells[place] if place < len(self._header.cells) else ""
        value = line.cells[place] if name else next(filter(None, line.cells), "")
        self.problems.append(
            CellProblem(
                file=self._file,
                row=line.number,
                column=shown_value(name),
                value=shown_value(value),
                text=text,
            )
        )
        if len(self.problems) >= PROBLEMS_MAX:
            raise self._endless(line.number, "too many problems: read no further; is it the right list?")

    def _row(self, line: Line) -> Row:
        cells = {key: line.cells[place] for place, key in self._places if line.cells[place]}
        faults = {
            key: fault
            for place, key in self._places
            if (fault := line.faults.get(place) or cell_fault(line.cells[place]))
        }
        for place in self._nameless:
            if line.cells[place] and place not in self._astray:
                self._astray[place] = self._stray(line, place)
        dates = frozenset(key for place, key in self._places if place in line.dates)
        return Row(number=line.number, cells=cells, faults=faults, dates=dates)

    def _stray(self, line: Line, place: int) -> CellProblem:
        return CellProblem(
            file=self._file,
            row=line.number,
            column=f"column {place + 1}",
            value=shown_value(line.cells[place]),
            text=f"this column has no name in row {self._header.number} (merged cells?): name or empty it",
        )

    def _endless(self, row: int, text: str) -> ListMalformed:
        return ListMalformed([*self.problems, CellProblem(file=self._file, row=row, text=text)])


def ordered(problems: Sequence[CellProblem]) -> list[CellProblem]:
    """Return problems in the order of the rows, each once."""
    return sorted(dict.fromkeys(problems), key=lambda one: one.row or 0)
