"""A workbook (XLSX) judged before anything reads it: what it holds, where, and within which bounds.

An XLSX is a ZIP of XML, and both can be made to fill memory: a few bytes that unpack to gigabytes, a single
cell in the last row for which a reader allocates the whole rectangle, one long text that a million cells
repeat. So each part is unpacked here with a bound, counted as it really is and not as the archive says; the
sheet is walked once with an XML reader that takes no declarations; and the reader of values gets a fresh
archive of the counted parts only. What a sheet's values do not tell is found in the same
walk: formulas, errors, hidden rows.

The content decides what a file is, never its name.
"""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from cli.delimited import COLUMNS_MAX
from cli.failures import CellProblem, ListMalformed

PARTS_MAX = 2_000
"""Parts of an archive: a workbook with pictures in it has some hundred."""
UNPACKED_BYTES_MAX = 128 * 1024 * 1024
"""50,000 rows of twenty columns are 60 MB of XML."""
SHEET_ROWS_MAX = 100_000
"""Beyond what a list may have (`cli.table.ROWS_MAX`), so that a long list is told as one."""
CELL_CHARS_MAX = 64 * 1024 * 1024
"""Characters in all cells together, each repeated text counted as often as it stands."""

FORMULA = "a formula: write the value itself (copy it, paste it as a value)"

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_STRINGS = "xl/sharedStrings.xml"
_NEEDED = ("[Content_Types].xml", "_rels/.rels", _WORKBOOK, _RELATIONS, _STRINGS, "xl/styles.xml")
_OTHERS = (
    ("xl/workbook.bin", "a binary workbook (XLSB)"),
    ("content.xml", "an OpenDocument file"),
    ("word/document.xml", "a Word document"),
)
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, expat.ExpatError, struct.error),
    *(NotImplementedError, RuntimeError, EOFError, LookupError, ValueError, OverflowError),
)
"""What the readers of ZIP and XML raise for bytes that are none, or are locked."""
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_REFERENCE = re.compile("([A-Z]{1,3})([1-9][0-9]{0,6})")
_UNPACK_STEP = 1024 * 1024

Attributes = dict[str, str]


@dataclass(slots=True)
class SheetFacts:
    """What a sheet's XML says beside the values: places are (row, column), both counted from 1."""

    faults: dict[tuple[int, int], str] = field(default_factory=dict)
    """Formulas, and errors, which the reader of values takes for nothing."""
    hidden_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A sheet that may be read: an archive of counted parts, the sheet's name, the other visible ones."""

    archive: bytes
    sheet: str
    others: tuple[str, ...]
    facts: SheetFacts


def judge_workbook(data: bytes, file: str, sheet: str = "") -> Judged:
    """Return the named sheet (the first visible one) ready to be read; raise `ListMalformed` otherwise."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = _Parts(archive, file)
            return _judge(parts, file, sheet)
    except _DAMAGES as error:
        raise refused(file, f"a damaged or protected workbook ({error}): save it anew as XLSX") from None


def refused(file: str, text: str, *, row: int | None = None, value: str = "") -> ListMalformed:
    """Return the error that a whole file is refused with."""
    return ListMalformed([CellProblem(file=file, row=row, value=value, text=text)])


class _Parts:
    """The parts of an archive, unpacked one by one under one bound."""

    def __init__(self, archive: zipfile.ZipFile, file: str) -> None:
        self._archive, self._file, self._left = archive, file, UNPACKED_BYTES_MAX
        self.names = set(archive.namelist())
        if len(archive.infolist()) > PARTS_MAX or len(self.names) < len(archive.infolist()):
            raise refused(
                file, "an archive of too many or doubled parts, no workbook that a spreadsheet wrote"
            )

    def unpack(self, name: str) -> bytes:
        """Return a part; refuse once all parts together are over the bound."""
        if self._archive.getinfo(name).compress_type not in _PACKINGS:
            raise NotImplementedError("packed in a way that no spreadsheet uses")
        pieces = []
        with self._archive.open(name) as stream:
            while piece := stream.read(_UNPACK_STEP):
                pieces.append(piece)
                self._left -= len(piece)
                if self._left < 0:
                    raise refused(
                        self._file, f"unpacks to over {UNPACKED_BYTES_MAX // 2**20} MiB: is it a list?"
                    )
        return b"".join(pieces)


def _judge(parts: _Parts, file: str, wanted: str) -> Judged:
    if _WORKBOOK not in parts.names:
        what = next((what for name, what in _OTHERS if name in parts.names), "a ZIP archive and no workbook")
        raise refused(file, f"{what}: save the list as XLSX or CSV UTF-8, and import that")
    kept = {name: parts.unpack(name) for name in _NEEDED if name in parts.names}
    sheets, paths = _sheets(kept[_WORKBOOK]), _paths(kept.get(_RELATIONS, b""))
    visible = [name for name, (_, is_hidden) in sheets.items() if not is_hidden]
    name = wanted or next(iter(visible), "")
    path = paths.get(sheets[name][0], "") if name in sheets else ""
    if path not in parts.names:
        raise refused(file, f"has no sheet {name!r}; its sheets are {', '.join(sheets)}")
    kept[path] = parts.unpack(path)
    facts = _walk(kept[path], _string_lengths(kept.get(_STRINGS, b"")), file)
    others = tuple(one for one in visible if one != name)
    return Judged(archive=_packed(kept), sheet=name, others=others, facts=facts)


def _packed(kept: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _sheets(xml: bytes) -> dict[str, tuple[str, bool]]:
    """Sheet name to the id of its relation and whether it is hidden, in the order of the tabs."""
    sheets: dict[str, tuple[str, bool]] = {}

    def start(tag: str, attributes: Attributes) -> None:
        if tag == "sheet":
            is_hidden = attributes.get("state", "visible") != "visible"
            sheets[attributes.get("name", "")] = (attributes.get("id", ""), is_hidden)

    _read(xml, start)
    return sheets


def _paths(xml: bytes) -> dict[str, str]:
    """Id of a relation to the part that it names."""
    paths: dict[str, str] = {}

    def start(tag: str, attributes: Attributes) -> None:
        if tag == "Relationship":
            target = posixpath.normpath(posixpath.join("/xl", attributes.get("Target", "")))
            paths[attributes.get("Id", "")] = target.lstrip("/")

    _read(xml, start)
    return paths


def _string_lengths(xml: bytes) -> list[int]:
    lengths: list[int] = []

    def start(tag: str, _: Attributes) -> None:
        if tag == "si":
            lengths.append(0)

    def text(data: str) -> None:
        if lengths:
            lengths[-1] += len(data)

    _read(xml, start, text=text)
    return lengths


def _walk(xml: bytes, lengths: list[int], file: str) -> SheetFacts:
    """Walk a sheet once; refuse one that would not fit, or whose cells are not where they say."""
    walk = _Walk(lengths, file)
    _read(xml, walk.start, walk.end, walk.text)
    if walk.chars > CELL_CHARS_MAX:
        raise refused(
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
            if self._type == "s" and self._value.isdecimal() and len(self._value) < 9:
                place = int(self._value)
                self.chars += self._lengths[place] if place < len(self._lengths) else 0

    def text(self, data: str) -> None:
        self.chars += len(data)
        if self._is_value and len(self._value) < 20:
            self._value += data

    def _enter_row(self, attributes: Attributes) -> None:
        number = attributes.get("r", str(self._row + 1))
        if not number.isdecimal() or len(number) > 7 or int(number) <= self._row:
            raise refused(self._file, f"a damaged workbook (row {number[:9]!r}): save it anew as XLSX")
        self._row, self._column = int(number), 0
        self.facts.hidden_rows += attributes.get("hidden") in ("1", "true")

    def _enter_cell(self, attributes: Attributes) -> None:
        place = attributes.get("r")
        column = self._column + 1
        if place is not None:
            match = _REFERENCE.fullmatch(place)
            if match is None or int(match[2]) != self._row or (column := _column(match[1])) <= self._column:
                raise refused(self._file, f"a damaged workbook (cell {place[:12]!r}): save it anew as XLSX")
        self._column, self._type = column, attributes.get("t", "")

    def _check_within(self) -> None:
        """A reader makes the whole rectangle up to the last value; cells only coloured do no harm."""
        if self._row > SHEET_ROWS_MAX or self._column > COLUMNS_MAX:
            text = f"a value in column {self._column} of this row, far outside a list: delete it"
            raise refused(self._file, text, row=self._row)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _read(
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
