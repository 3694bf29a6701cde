"""The static tree over a directory, a ZIP and HTTP: three ways of `ledger.tree.Source`.

A dossier that pledger wrote says so in its ZIP comment, and is then taken only in exactly the layout that
``dossier`` writes: no byte of it is without meaning, so none can be changed unseen. A ZIP that somebody else
packed is read by the ordinary library, within bounds: names are never used as paths, nothing is unpacked to
disk, and no member is read beyond what its kind can be.
"""

from __future__ import annotations

import copy
import os
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from ledger.errors import Malformed, Undecided
from ledger.names import Origin
from ledger.tree import Source
from node import dossier
from node.http_client import HttpClient
from node.session import fetch_branches, fetch_file

ZIP_MEMBERS_MAX = 1_000_000
"""A quarter of a billion entries in bundles of 256: far beyond any ledger, and some 100 MB of directory."""
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What every tool packs with; others (LZMA) may ask for gigabytes of memory before the first byte comes."""
RATIO_MAX = 200
"""Signed and hashed bytes do not compress; a member that shrinks more than this is a bomb."""


class DirectorySource:
    """A static tree unpacked below a directory."""

    def __init__(self, path: Path) -> None:
        """``path`` is the directory that holds ``roster`` and ``log``."""
        self._path = path

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """See `ledger.tree.Source`; links that lead outside are not followed."""
        file = self._path / path
        try:
            if not file.is_file():
                return None
            if not file.resolve().is_relative_to(self._path.resolve()):
                raise Malformed(f"{path} is a link that leads outside the tree")
            with file.open("rb") as stream:
                if os.fstat(stream.fileno()).st_size > bytes_max:
                    raise Malformed(f"larger than the {bytes_max} bytes that it can have")
                stream.seek(offset)
                return stream.read(bytes_max)
        except OSError as error:
            raise Undecided(f"{file} cannot be read: {error.strerror}") from None

    def names(self) -> list[str] | None:
        """See `ledger.tree.Source`."""
        found = []
        for folder, _, files in os.walk(self._path):
            base = Path(folder).relative_to(self._path)
            found += [(base / file).as_posix() for file in files]
        return sorted(found)


class ZipSource:
    """A static tree in a ZIP, read member by member."""

    def __init__(self, path: Path) -> None:
        """Open the ZIP; raise `Malformed` if it is damaged or not laid out as it claims."""
        self.damaged: set[str] = set()
        """Members read whose checksum in the ZIP is not that of their bytes."""
        try:
            self._stream = path.open("rb")
        except OSError as error:
            raise Undecided(f"{path} cannot be read: {error.strerror or error}") from None
        try:
            self._zip = _open_zip(self._stream, path)
        except BaseException:
            self._stream.close()
            raise
        weakref.finalize(
            self, self._stream.close
        )  # a source has no end of its own: it is read while it is held

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """See `ledger.tree.Source`."""
        try:
            info = self._zip.getinfo(path)
        except KeyError:
            return None
        if info.file_size > bytes_max:
            raise Malformed(f"says {info.file_size} bytes, of {bytes_max} that it can have")
        if info.compress_type not in COMPRESSIONS:
            raise Malformed(
                f"packed by method {info.compress_type}: only stored and deflated members are read"
            )
        if info.file_size > RATIO_MAX * max(info.compress_size, 64):
            raise Malformed(f"claims to shrink {info.file_size} bytes to {info.compress_size}")
        data = self._unpack(info, bytes_max + 1)
        if len(data) > bytes_max:
            raise Malformed(f"unpacks to more than {bytes_max} bytes")
        if zlib.crc32(data) != info.CRC:
            self.damaged.add(path)
        return data[offset:]

    def _unpack(self, info: zipfile.ZipInfo, count: int) -> bytes:
        """At most ``count`` bytes of a member, whatever its checksum: the verifier names what is wrong."""
        unchecked = copy.copy(info)
        unchecked.CRC = None  # type: ignore[assignment]
        try:
            with self._zip.open(unchecked) as stream:
                return stream.read(count)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
            raise Malformed(f"damaged in the ZIP: {error}") from None

    def names(self) -> list[str] | None:
        """See `ledger.tree.Source`; a name that stands twice is given twice."""
        return sorted(
            info.orig_filename for info in self._zip.infolist() if not info.is_dir() or info.file_size
        )


class HttpSource:
    """A static tree on a node or any web server."""

    def __init__(self, client: HttpClient) -> None:
        """``client`` reaches the server whose root holds ``roster`` and ``log``."""
        self._client = client

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """See `ledger.tree.Source`; raises `Unreachable` without an answer."""
        data = self._client.run(fetch_file(path, offset))
        if data is not None and len(data) > bytes_max:
            raise Malformed(f"{path} has more than {bytes_max} bytes")
        return data

    def names(self) -> list[str] | None:
        """A web server does not list."""
        return None

    def branches(self, origin: Origin) -> list[str]:
        """Return the branches of an era beside the main one; a plain web server has no answer."""
        return self._client.run(fetch_branches(origin))


def branches_in(source: Source, origin: Origin) -> list[str]:
    """Return the names of an era's branches beside the main one, as far as they can be listed."""
    if isinstance(source, HttpSource):
        return source.branches(origin)
    return list(dossier.listed_branches(source, origin))


def open_path(path: Path) -> Source:
    """Return the source of a directory or ZIP; raise `Undecided` if nothing is there."""
    if path.is_dir():
        return DirectorySource(path)
    if not path.exists():
        raise Undecided(f"{path} does not exist: give a dossier (ZIP), a directory or a URL")
    return ZipSource(path)


def _open_zip(stream: BinaryIO, path: Path) -> zipfile.ZipFile:
    try:
        dossier.check_layout(stream, os.fstat(stream.fileno()).st_size)
        opened = zipfile.ZipFile(stream)
    except OSError as error:
        raise Undecided(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise Malformed(f"{path.name} is no ZIP, or a damaged one: {error}") from None
    if len(opened.infolist()) > ZIP_MEMBERS_MAX:
        raise Malformed(f"{path.name} has more than {ZIP_MEMBERS_MAX} members")
    return opened
