"""A workbook (XLSX) judged before anything reads it: what it holds, where, and within which bounds.

An XLSX is a ZIP of XML, and both can be made to fill memory: a few bytes that unpack to gigabytes, a single
cell in the last row for which a reader allocates the whole rectangle, one long text that a million cells
repeat. So each part is unpacked here with a bound, counted as it really is and not as the archive says; the
sheet is walked once with an XML reader that takes no declarations; and the reader of values gets a fresh
archive of the counted parts only.

The content decides what a file is, never its name.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from cli.failures import no_list
from cli.sheet_walk import Attributes, SheetFacts, read_xml, string_lengths, walk_sheet

PARTS_MAX = 2_000
"""Parts of an archive: a workbook with pictures in it has some hundred."""
UNPACKED_BYTES_MAX = 128 * 1024 * 1024
"""50,000 rows of twenty columns are 60 MB of XML."""

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
_UNPACK_STEP = 1024 * 1024


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
        raise no_list(file, f"a damaged or protected workbook ({error}): save it anew as XLSX") from None


class _Parts:
    """The parts of an archive, unpacked one by one under one bound."""

    def __init__(self, archive: zipfile.ZipFile, file: str) -> None:
        self._archive, self._file, self._left = archive, file, UNPACKED_BYTES_MAX
        self.names = set(archive.namelist())
        if len(archive.infolist()) > PARTS_MAX or len(self.names) < len(archive.infolist()):
            raise no_list(
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
                    raise no_list(
                        self._file, f"unpacks to over {UNPACKED_BYTES_MAX // 2**20} MiB: is it a list?"
                    )
        return b"".join(pieces)


def _judge(parts: _Parts, file: str, wanted: str) -> Judged:
    if _WORKBOOK not in parts.names:
        what = next((what for name, what in _OTHERS if name in parts.names), "a ZIP archive and no workbook")
        raise no_list(file, f"{what}: save the list as XLSX or CSV UTF-8, and import that")
    kept = {name: parts.unpack(name) for name in _NEEDED if name in parts.names}
    sheets, paths = _sheets(kept[_WORKBOOK]), _paths(kept.get(_RELATIONS, b""))
    visible = [name for name, (_, is_hidden) in sheets.items() if not is_hidden]
    name = wanted or next(iter(visible), "")
    path = paths.get(sheets[name][0], "") if name in sheets else ""
    if path not in parts.names:
        raise no_list(file, f"has no sheet {name!r}; its sheets are {', '.join(sheets)}")
    kept[path] = parts.unpack(path)
    facts = walk_sheet(kept[path], string_lengths(kept.get(_STRINGS, b"")), file)
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

    read_xml(xml, start)
    return sheets


def _paths(xml: bytes) -> dict[str, str]:
    """Id of a relation to the part that it names."""
    paths: dict[str, str] = {}

    def start(tag: str, attributes: Attributes) -> None:
        if tag == "Relationship":
            target = posixpath.normpath(posixpath.join("/xl", attributes.get("Target", "")))
            paths[attributes.get("Id", "")] = target.lstrip("/")

    read_xml(xml, start)
    return paths
