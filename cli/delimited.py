"""CSV text into lines of cells: quotes as RFC 4180, any line end, any of the delimiters.

A line that cannot be split has a fault, and splitting goes on behind it. Everything is read once, in one
direction: a file made to make the reader go back again and again takes no longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cli.cells import SHOWN_MAX, clean

DELIMITERS = (";", ",", "\t")
COLUMNS_MAX = 100
ROW_CHARS_MAX = 10_000
"""Twenty columns of 40 characters are 800; a row a dozen times that has lost its line ends or a quote."""

_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_LINE_END = re.compile(r"\r\n|\n|\r")
_SEPARATOR_LINE = re.compile(r"sep=([;,\t])(?:\r\n|\n|\r|$)", re.IGNORECASE)
"""What some spreadsheets write for themselves above the headers, and do not show."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row as a file has it: its number as a spreadsheet counts, its cells, and what is wrong with it.

    ``fault`` keeps the row from being split; the cell where that came up is the last. ``faults`` and
    ``dates`` speak of single cells by their place, counted from 0: a workbook knows a formula, and what is a
    date.
    """

    number: int
    cells: list[str]
    fault: str = ""
    faults: Mapping[int, str] = field(default_factory=dict)
    dates: frozenset[int] = frozenset()


def declared_delimiter(text: str) -> tuple[str, int]:
    """Return the delimiter of a ``sep=`` line and where the list itself begins; "" and 0 without."""
    match = _SEPARATOR_LINE.match(text)
    return (match[1], match.end()) if match else ("", 0)


def split_text(text: str, delimiter: str, start: int = 0) -> Iterator[Line]:
    """Yield the rows of a text from the character ``start`` on."""
    bare = re.compile(rf'[^"\r\n{re.escape(delimiter)}]*+')
    at, number, cells = start, 1, list[str]()
    while True:
        is_quoted = text.startswith('"', at)
        match = (_QUOTED if is_quoted else bare).match(text, at)
        if match is None:
            opened = [*cells, clean(text[at : at + SHOWN_MAX])]
            yield Line(number, opened, "a quote opens here and never closes")
            return
        cells.append(clean(match[1].replace('""', '"') if is_quoted else match[0]))
        at = match.end()
        if text.startswith(delimiter, at) and at - start <= ROW_CHARS_MAX and len(cells) < COLUMNS_MAX:
            at += 1
            continue
        end = _LINE_END.match(text, at)
        yield Line(number, cells, _line_fault(text, at, end is not None, at - start, len(cells)))
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
