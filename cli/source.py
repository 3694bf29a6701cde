"""A list's file, whatever it is, as lines of cells. The content decides what it is, never its name.

Everything is bounded before it is read, and read once. The lines may be walked again: refused rows are handed
back as they stand in the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.delimited import DELIMITERS, Line, declared_delimiter, split_text
from cli.encoding import decode
from cli.failures import no_list
from cli.spreadsheet import open_spreadsheet
from node.durable_file import disk_errors

FILE_BYTES_MAX = 16 * 1024 * 1024
"""20,000 rows take 2 MB; a file ten times that is no class list."""

_WORKBOOK_MARK = b"PK\x03\x04"
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (XLS), or one under a password"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"7z\xbc\xaf", "a compressed archive"),
    (b"Rar!", "a compressed archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<?xml")
"""Electronic diaries export web pages under the name of a workbook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A list that can be walked; ``remarks`` have to be said aloud, ``digest`` is the file's SHA-256.

    ``readings`` are the ways in which it may be split: one a delimiter, or the one of a sheet.
    """

    file: str
    digest: bytes
    readings: tuple[Callable[[], Iterator[Line]], ...]
    remarks: tuple[str, ...] = ()


def read_source(path: Path, *, encoding: str = "", sheet: str = "") -> Source:
    """Return the list in a file; `StoreError` if it cannot be read, `ListMalformed` if it is no list."""
    with disk_errors(path), path.open("rb") as stream:
        data = stream.read(FILE_BYTES_MAX + 1)
    return parse_source(data, path.name, encoding=encoding, sheet=sheet)


def parse_source(data: bytes, file: str, *, encoding: str = "", sheet: str = "") -> Source:
    """Return the list in ``data``."""
    if len(data) > FILE_BYTES_MAX:
        raise no_list(file, f"larger than {FILE_BYTES_MAX // 2**20} MiB: is it a list? Cut it into parts")
    _check_native(data, file)
    digest = hashlib.sha256(data).digest()
    if data.startswith(_WORKBOOK_MARK):
        book = open_spreadsheet(data, file, sheet)
        return Source(file=file, digest=digest, readings=(book.lines,), remarks=book.remarks)
    if sheet:
        raise no_list(file, f"no workbook, so it has no sheet {sheet!r}: leave --sheet out")
    decoded = decode(data, file, encoding)
    declared, start = declared_delimiter(decoded.text)
    if not decoded.text[start:].strip():
        raise no_list(file, "empty: the first row must hold the names of the columns")
    readings = [partial(split_text, decoded.text, one, start) for one in declared or DELIMITERS]
    remarks = (decoded.remark,) if decoded.remark else ()
    return Source(file=file, digest=digest, readings=tuple(readings), remarks=remarks)


def _check_native(data: bytes, file: str) -> None:
    what = next((what for mark, what in _FOREIGN if data.startswith(mark)), "")
    if data[:200].lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_PAGE_STARTS):
        what = "a web page or XML"
    if what:
        raise no_list(file, f"{what}, no list: save it as XLSX or CSV UTF-8")
