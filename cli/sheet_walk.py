"""A walk through the XML of a sheet: what its values do not tell, and whether they may be read at all.

Found are formulas, errors (which the reader of values takes for nothing) and hidden rows. Refused are a value
far outside a list, because that reader makes the whole rectangle up to it; cells that are not where they say;
and a text that is repeated until it fills the memory. No declarations are taken, so nothing expands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.parsers import expat

from cli.delimited import COLUMNS_MAX
from cli.failures import no_list

SHEET_ROWS_MAX = 60_000
"""A little beyond what a list may have (`cli.table.ROWS_MAX`): titles, blank rows."""
CELL_CHARS_MAX = 32 * 1024 * 1024
"""Characters in all cells together, each repeated text counted as often as it stands."""

FORMULA = "a formula: write the value itself (copy it, paste it as a value)"

_PLACE = re.compile("[0-9]{1,8}")
_REFERENCE = re.compile("([A-Z]{1,3})([1-9][0-9]{0,6})")

Attributes = dict[str, str]


@dataclass(slots=True)
class SheetFacts:
    """What a sheet's XML says beside the values: places are (row, column), both counted from 1."""

    faults: dict[tuple[int, int], str] = field(default_factory=dict)
    """Formulas, and errors, which the reader of values takes for nothing."""
    hidden_rows: int = 0


def string_lengths(xml: bytes) -> list[int]:
    """Return how long each text is that cells of a workbook share."""
    lengths: list[int] = []

    def start(tag: str, _: Attributes) -> None:
        if tag == "si":
            lengths.append(0)

    def text(data: str) -> None:
        if lengths:
            lengths[-1] += len(data)

    read_xml(xml, start, text=text)
    return lengths


def walk_sheet(xml: bytes, lengths: list[int], file: str) -> SheetFacts:
    """Walk a sheet once; refuse one that would not fit, or whose cells are not where they say."""
    walk = _Walk(lengths, file)
    read_xml(xml, walk.start, walk.end, walk.text)
    if walk.chars > CELL_CHARS_MAX:
        raise no_list(
            file, f"its cells hold over {CELL_CHARS_MAX // 2**20} million characters: is it a list?"
        )
    return walk.facts


class _Walk:
    """Where the walk through a sheet is."""

    def __init__(self, lengths: list[int], file: str) -> None:
        self.facts, self.chars = SheetFacts(), 0
        self._lengths, self._file = lengths, file
        self._row, self._column, self._type, self._value, self._is_value = 0, 0, "", "", False

    def start(self, tag: str, attributes: Attributes) -> None:
        if tag == "c":
            self._enter_cell(attributes)
        elif tag == "row":
            self._enter_row(attributes)
        elif tag in ("v", "is", "f"):
            self._check_within()
            self._value, self._is_value = "", tag == "v"
            if tag == "f":
                self.facts.faults[self._row, self._column] = FORMULA

    def end(self, tag: str) -> None:
        if tag == "v":
            self._is_value = False
            if self._type == "e":
                text = f"an error of the sheet, {self._value}: write the value itself"
                self.facts.faults.setdefault((self._row, self._column), text)
            if self._type == "s":
                self.chars += self._shared_length()

    def text(self, data: str) -> None:
        self.chars += len(data)
        if self._is_value and len(self._value) < 20:
            self._value += data

    def _shared_length(self) -> int:
        """How long the text is that a cell names by its place; a place written oddly would go uncounted."""
        if _PLACE.fullmatch(self._value) and int(self._value) < len(self._lengths):
            return self._lengths[int(self._value)]
        raise no_list(self._file, f"a damaged workbook (no text {self._value!r}): save it anew as XLSX")

    def _enter_row(self, attributes: Attributes) -> None:
        number = attributes.get("r", str(self._row + 1))
        if not number.isdecimal() or len(number) > 7 or int(number) <= self._row:
            raise no_list(self._file, f"a damaged workbook (row {number[:9]!r}): save it anew as XLSX")
        self._row, self._column = int(number), 0
        self.facts.hidden_rows += attributes.get("hidden") in ("1", "true")

    def _enter_cell(self, attributes: Attributes) -> None:
        place = attributes.get("r")
        column = self._column + 1
        if place is not None:
            match = _REFERENCE.fullmatch(place)
            if match is None or int(match[2]) != self._row or (column := _column(match[1])) <= self._column:
                raise no_list(self._file, f"a damaged workbook (cell {place[:12]!r}): save it anew as XLSX")
        self._column, self._type = column, attributes.get("t", "")

    def _check_within(self) -> None:
        """A reader makes the whole rectangle up to the last value; cells only coloured do no harm."""
        if self._row > SHEET_ROWS_MAX or self._column > COLUMNS_MAX:
            text = (
                f"a value in column {self._column} of this row, outside what a list may be: delete it, or cut"
            )
            text += f" the list into parts of {COLUMNS_MAX} columns and {SHEET_ROWS_MAX} rows at most"
            raise no_list(self._file, text, row=self._row)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def read_xml(
    xml: bytes,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None] = lambda _: None,
    text: Callable[[str], None] = lambda _: None,
) -> None:
    """Read XML of any prefix; a document type, where entities could be declared, is refused."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, given: start(
        _local(tag), {_local(k): v for k, v in given.items()}
    )
    parser.EndElementHandler = lambda tag: end(_local(tag))
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    if xml:
        parser.Parse(xml, True)


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it declares a document type")


def _local(name: str) -> str:
    return name.rpartition(":")[2]
