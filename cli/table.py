"""Lists as files: CSV bytes in, rows of named cells out, with everything wrong told at once.

The plain form: UTF-8 with or without BOM; ``;`` ``,`` or tab, whichever the headers are written with; quotes
and embedded line ends as RFC 4180; the columns of the list, in any order, none other. Row numbers are a
spreadsheet's: the headers are row 1. Blank rows are passed over. Spaces around a cell are not part of it, and
text is taken in Unicode form NFC, because two computers write й in two ways.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` followed by a formula is refused: it would run in the
spreadsheet of whoever opens an export. Everything is bounded before it is read.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.failures import CellProblem, ListMalformed
from node.durable_file import disk_errors

FILE_BYTES_MAX = 16 * 1024 * 1024
"""20,000 rows take 2 MB; a file ten times that is no class list."""
ROWS_MAX = 50_000
"""A large district's list of one kind."""
ROW_CHARS_MAX = 10_000
"""Twenty columns of 40 characters are 800; a row a dozen times that has lost its line ends or a quote."""
COLUMNS_MAX = 100
PROBLEMS_MAX = 500
"""Told at once: more than anybody mends in one go, and a file of noise must not fill the terminal."""
DELIMITERS = (";", ",", "\t")
SHOWN_MAX = 60
"""Characters of a value as an error shows it."""

_BOM = "\ufeff"
_FORMULA = re.compile(r"[=@].|[+-](?![0-9]+([.,][0-9]+)?$).", re.DOTALL)
"""A sign before a plain number is a number; a sign alone is a dash."""
_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_LINE_END = re.compile(r"\r\n|\n|\r")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FOREIGN = (
    (b"PK\x03\x04", "an Excel workbook (or another ZIP)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its number, and the text of each cell that is not empty, by column."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows that could be read, and what is wrong with the others; ``digest`` is the file's SHA-256."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[CellProblem, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Line:
    """One row as split: its cells, or what keeps it from being split (in which column, counted from 0)."""

    number: int
    cells: list[str]
    fault: str = ""


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Return the table in a file; see `parse_table`. `StoreError` if it cannot be read."""
    with disk_errors(path), path.open("rb") as stream:
        data = stream.read(FILE_BYTES_MAX + 1)
    return parse_table(data, path.name, required=required, optional=optional)


def parse_table(data: bytes, file: str, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Return the rows of a list whose columns are all ``required`` and any of ``optional``.

    Raises `ListMalformed` if the file as a whole is no such list; what is wrong with single rows stands in
    the table's ``problems``.
    """
    text = _decoded(data, file)
    columns, delimiter = _columns(text, file, (*required, *optional), required)
    rows: list[Row] = []
    problems: list[CellProblem] = []
    for line in _split(text, delimiter):
        if line.number == 1:
            continue
        if line.number > ROWS_MAX + 1:
            problems.append(
                CellProblem(file=file, row=line.number, text=f"more than {ROWS_MAX} rows: cut the list")
            )
            break
        found = _row_problems(line, columns, file)
        if found:
            problems += found
        elif any(line.cells):
            cells = {name: cell for name, cell in zip(columns, line.cells, strict=True) if cell}
            rows.append(Row(number=line.number, cells=cells))
        if len(problems) >= PROBLEMS_MAX:
            problems.append(
                CellProblem(file=file, row=line.number, text="too many problems: read no further")
            )
            break
    digest = hashlib.sha256(data).digest()
    return Table(file=file, columns=columns, rows=tuple(rows), problems=tuple(problems), digest=digest)


def shown_value(text: str) -> str:
    """Return a cell as errors show it: whole if short."""
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def clean(text: str) -> str:
    """Return a cell's text without spaces around it, in Unicode form NFC."""
    return unicodedata.normalize("NFC", text).strip()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would take the text for a formula."""
    return _FORMULA.match(text) is not None


def _decoded(data: bytes, file: str) -> str:
    if len(data) > FILE_BYTES_MAX:
        raise _refused(file, f"larger than {FILE_BYTES_MAX // 2**20} MiB: is it a list? Cut it into parts")
    for start, what in _FOREIGN:
        if data.startswith(start):
            raise _refused(file, f'{what}, not CSV: save it as "CSV UTF-8"')
    try:
        return data.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        row = len(_LINE_END.findall(data[: error.start].decode(errors="replace"))) + 1
        raise _refused(
            file,
            'not UTF-8 text from here on: save it as "CSV UTF-8"',
            row=row,
            value=data[error.start : error.start + 8].hex(" "),
        ) from None


def _columns(
    text: str, file: str, known: Sequence[str], required: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """The header's names and the delimiter under which most of them are known."""
    if not text.strip():
        raise _refused(file, f"empty: the first row must be {';'.join(known)}")
    headers = {mark: next(_split(text, mark)) for mark in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda mark: len(set(headers[mark].cells) & set(known)))
    header = headers[delimiter]
    if header.fault:
        raise _refused(file, header.fault, row=1)
    names = header.cells
    problems = [
        *(
            (name, f"no column of this list, which has {', '.join(known)}")
            for name in dict.fromkeys(names)
            if name not in known
        ),
        *((name, "stands twice among the columns") for name in dict.fromkeys(names) if names.count(name) > 1),
        *((name, "this column is missing") for name in required if name not in names),
    ]
    if problems:
        raise ListMalformed(
            [
                CellProblem(file=file, row=1, column=shown_value(name), value=shown_value(name), text=text)
                for name, text in problems[:PROBLEMS_MAX]
            ]
        )
    return tuple(names), delimiter


def _row_problems(line: _Line, columns: Sequence[str], file: str) -> list[CellProblem]:
    if line.fault:
        name = columns[len(line.cells) - 1] if len(line.cells) <= len(columns) else ""
        value = shown_value(line.cells[-1])
        return [CellProblem(file=file, row=line.number, column=name, value=value, text=line.fault)]
    if not any(line.cells):
        return []
    if len(line.cells) != len(columns):
        text = f"{len(line.cells)} cells, but {len(columns)} columns: is a delimiter missing, or a quote?"
        return [CellProblem(file=file, row=line.number, value=shown_value(line.cells[0]), text=text)]
    return [
        CellProblem(file=file, row=line.number, column=name, value=shown_value(cell), text=text)
        for name, cell in zip(columns, line.cells, strict=True)
        if (text := _cell_fault(cell))
    ]


def _cell_fault(cell: str) -> str:
    if is_formula(cell):
        return "a formula: write the value itself"
    return "holds a control character or line end: type the cell anew" if _CONTROL.search(cell) else ""


def _split(text: str, delimiter: str) -> Iterator[_Line]:
    """Yield the rows of a text; one that cannot be split has a fault, and splitting goes on behind it."""
    bare = re.compile(rf'[^"\r\n{re.escape(delimiter)}]*+')
    at, start, number, cells = 0, 0, 1, list[str]()
    while True:
        is_quoted = text.startswith('"', at)
        match = (_QUOTED if is_quoted else bare).match(text, at)
        if match is None:
            yield _Line(
                number, [*cells, clean(text[at : at + SHOWN_MAX])], "a quote opens here and never closes"
            )
            return
        cells.append(clean(match[1].replace('""', '"') if is_quoted else match[0]))
        at = match.end()
        if text.startswith(delimiter, at) and at - start <= ROW_CHARS_MAX and len(cells) < COLUMNS_MAX:
            at += 1
            continue
        end = _LINE_END.match(text, at)
        fault = _line_fault(text, at, end is not None, at - start, len(cells))
        yield _Line(number, cells, fault)
        end = end or _LINE_END.search(text, at)
        if end is None or end.end() == len(text):
            return
        at = start = end.end()
        number, cells = number + 1, []


def _line_fault(text: str, at: int, is_line_end: bool, length: int, cells: int) -> str:
    """Why a row does not end where its last cell does."""
    if length > ROW_CHARS_MAX:
        return f"a row of more than {ROW_CHARS_MAX} characters: is a line end or a closing quote missing?"
    if is_line_end or at == len(text):
        return ""
    if cells >= COLUMNS_MAX:
        return f"more than {COLUMNS_MAX} cells"
    return 'a quote in the middle of a cell: put the cell in quotes and write "" for each quote in it'


def _refused(file: str, text: str, *, row: int | None = None, value: str = "") -> ListMalformed:
    return ListMalformed([CellProblem(file=file, row=row, value=value, text=text)])
