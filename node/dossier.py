"""Dossiers: a static tree in one ZIP, laid out so that no byte is without meaning.

Members are stored (signed bytes do not compress), in order of name, with one fixed date, no extra fields and
nothing between them; the archive comment is `COMMENT`. Everything but names and contents follows from these,
so `check_layout` can compare every header byte. The unzipped dossier is a plain C2SP tile tree, and a ZIP
packed again by another tool is still taken (without the comment), as its contents are all checked anyway.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ledger import tree
from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed, Undecided
from ledger.names import Origin, is_era
from ledger.note import parse_note
from ledger.roster import parse_roster
from ledger.tiles import TILE_WIDTH, Tile, bundles_of, tiles_of
from ledger.tree import LogPath, PieceKind, RosterPath, Source, format_tree_path, piece_file, transition_file

COMMENT = b"pledger dossier 1"
"""Says that the archive has exactly this layout."""
BYTES_MAX = 2**32 - 2**20
"""Without ZIP64; a ledger of ten million entries takes some 4 GB and is verified at its address."""
MEMBERS_MAX = 65_000
"""Without ZIP64 as well."""
SIZE_MAX = MEMBERS_MAX * TILE_WIDTH
"""Entries of a log whose bundles alone fill a dossier: a size that is a lie stops here, before its paths are
made."""

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_VERSION, _UTF8, _STORED = 20, 0x0800, 0
_TIME, _DATE = 0, (1 << 5) | 1
"""1 January 1980, 00:00: the time of export is nobody's business."""
_REGULAR_FILE = 0o100644 << 16
_MADE_ON_UNIX = 3 << 8


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> int:
    """Write ``members`` (name, content; in order of name) to a new file; return their number.

    The file appears whole or not at all. Only one member is in memory at a time.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            count = _write_stream(stream, members)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return count


def members_of(
    source: Source, ledger_id: bytes, branches: Callable[[Origin], Sequence[str]] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield every file that a dossier of the whole ledger holds, read from ``source``, in order of name.

    ``branches`` names the branches of an era, where ``source`` does not list its files.
    Raises `Undecided` if a file behind a published checkpoint is not there. Nothing is judged here: the
    caller verifies what was written.
    """
    first = _need(source, RosterPath(1, is_note=False))
    if parse_roster(first).hash != ledger_id:
        raise Undecided(f"this source is of ledger {parse_roster(first).hash.hex()}, not {ledger_id.hex()}")
    files = dict(_roster_members(source))
    rosters = [parse_roster(raw) for name, raw in files.items() if name.endswith(".json")]
    agencies = {name for roster in rosters for name in roster.agencies}
    for agency in sorted(agencies, key=lambda name: f"{name}/"):  # in paths "a-b/" stands before "a/"
        eras = eras_of(source, Origin(rosters[0].ledger, agency))
        for origin in sorted(eras, key=lambda one: f"{one.era}/"):
            names = sorted(branches(origin) if branches else listed_branches(source, origin))
            yield from log_members(source, origin, range(2, len(rosters) + 1), names)
    yield from sorted(files.items())


def log_members(
    source: Source, origin: Origin, versions: Iterable[int], branches: Iterable[str] = ()
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one era up to the checkpoints that ``source`` has now, in order of name.

    ``versions`` are the later roster versions, into each of which the log may keep a transition; ``branches``
    are the names of its branches beside the main one, in order.
    """
    versions = list(versions)
    for name in branches:
        yield from _branch_members(source, origin, versions, name)
    yield from _branch_members(source, origin, versions, "")


def _branch_members(
    source: Source, origin: Origin, versions: Iterable[int], branch: str
) -> Iterator[tuple[str, bytes]]:
    def path(file: str | Tile) -> LogPath:
        return LogPath(origin.agency, origin.era, branch, file)

    kept = ["checkpoint.certified", *map(transition_file, versions)]
    held = {format_tree_path(one): _read(source, one) for one in map(path, kept)}
    checkpoint = _read(source, path("checkpoint"))  # last, so that none of the others can be beyond it
    if checkpoint is None:
        return
    size = parse_checkpoint(parse_note(checkpoint).text).size
    if size > SIZE_MAX:
        raise Malformed(f"{origin}: {size} entries are more than a ZIP holds: verify its URL")
    held[format_tree_path(path("checkpoint"))] = checkpoint
    yield from ((name, data) for name, data in sorted(held.items()) if data is not None)
    pieces = {} if branch else dict(_pieces(source, origin))
    paths = [path("vkey"), *map(path, bundles_of(0, size)), *map(path, tiles_of(size))]
    for name in sorted([*pieces, *map(format_tree_path, paths)]):
        yield (name, pieces[name]) if name in pieces else _pair(source, tree.parse_tree_path(name))


def _pieces(source: Source, origin: Origin) -> Iterator[tuple[str, bytes]]:
    """The evidence and the unexplained notes of an era."""
    kinds: tuple[PieceKind, ...] = ("evidence", "unproven")
    for kind in kinds:
        for number in range(tree.PIECES_MAX):
            path = LogPath(origin.agency, origin.era, "", piece_file(kind, number))
            raw = _read(source, path)
            if raw is None:
                break
            yield format_tree_path(path), raw


def eras_of(source: Source, first: Origin) -> list[Origin]:
    """Return the eras of an agency, the first among them: as files are listed, or up to the first absent."""
    listed = source.names()
    if listed is None:
        eras = [first]
        while _read(source, _checkpoint_path(replace(eras[-1], era=eras[-1].era + 1))) is not None:
            eras.append(replace(eras[-1], era=eras[-1].era + 1))
    else:
        eras = [replace(first, era=era) for era in sorted({1, *_listed_eras(listed, first.agency)})]
    return eras


def _checkpoint_path(origin: Origin) -> LogPath:
    return LogPath(origin.agency, origin.era, "", "checkpoint")


def _listed_eras(names: Iterable[str], agency: str) -> Iterator[int]:
    for name in names:
        parts = name.split("/")
        if parts[:2] == ["log", agency] and len(parts) > 3 and is_era(parts[2]):
            yield int(parts[2])


def listed_branches(source: Source, origin: Origin) -> list[str]:
    """Return the branches of an era by the names of the files; none where they cannot be listed."""
    prefix = f"{origin.path}/branch/"
    names = source.names() or []
    found = {name[len(prefix) :].partition("/")[0] for name in names if name.startswith(prefix)}
    return sorted(name for name in found if tree.is_branch(name))


def listed_eras(source: Source, agency: str) -> list[int]:
    """Return the eras of an agency of which a file is listed."""
    return sorted(set(_listed_eras(source.names() or [], agency)))


def _roster_members(source: Source) -> Iterator[tuple[str, bytes]]:
    for version in range(1, tree.VERSIONS_MAX):
        raw = _read(source, RosterPath(version, is_note=False))
        if raw is None:
            return
        yield format_tree_path(RosterPath(version, is_note=False)), raw
        yield _pair(source, RosterPath(version, is_note=True))


def check_layout(stream: BinaryIO, size: int) -> None:
    """Raise `Malformed` if the archive claims our layout and any header byte differs from it.

    The stream is left at its start. An archive without our comment is left to the ordinary reader.
    """
    tail = _at(stream, max(0, size - _END.size - len(COMMENT)), _END.size + len(COMMENT))
    stream.seek(0)
    if not tail.endswith(COMMENT):
        if len(tail) >= _END.size and _has_other_comment(stream, size):
            raise Malformed("no ZIP, or one with a damaged end: it does not end as a dossier does")
        return
    try:
        _check_headers(stream, size, tail)
    except struct.error:
        raise Malformed("it ends in the middle of a header") from None
    stream.seek(0)


def _has_other_comment(stream: BinaryIO, size: int) -> bool:
    """Whether the archive has a comment at all (a plain ZIP of other tools has none)."""
    tail = _at(stream, max(0, size - _END.size), _END.size)
    stream.seek(0)
    return tail[:4] != b"PK\x05\x06" or tail[-2:] != b"\0\0"


def _check_headers(stream: BinaryIO, size: int, tail: bytes) -> None:
    count, central_size, central_start = struct.unpack_from("<HLL", tail, 10)
    if tail[: _END.size] != _end(count, central_size, central_start):
        raise Malformed("the end of the ZIP is not as pledger writes it")
    if central_start + central_size + len(tail) != size:
        raise Malformed("bytes stand where a dossier has none")
    central = _at(stream, central_start, central_size)
    offset, place, before = 0, 0, ""
    for _ in range(count):
        crc, length = struct.unpack_from("<L4xL", central, place + 16)
        (name_size,) = struct.unpack_from("<H", central, place + 28)
        raw_name = central[place + _CENTRAL.size : place + _CENTRAL.size + name_size]
        name = _decoded(raw_name)
        if name <= before or central[place : place + _CENTRAL.size + name_size] != _central(
            name, crc, length, offset
        ):
            raise Malformed(f"the ZIP's directory is not as pledger writes it, at {name[:80]!r}")
        local = _local(name, crc, length)
        if _at(stream, offset, len(local)) != local:
            raise Malformed(f"the header of {name[:80]!r} is not as pledger writes it")
        offset, place, before = offset + len(local) + length, place + _CENTRAL.size + name_size, name
    if (offset, place) != (central_start, central_size):
        raise Malformed("bytes stand between the members, where a dossier has none")


def _write_stream(stream: BinaryIO, members: Iterable[tuple[str, bytes]]) -> int:
    offset, directory, before = 0, list[bytes](), ""
    for name, data in members:
        assert before < name, "members come in order of name, each once"
        before = name
        crc = zlib.crc32(data)
        local = _local(name, crc, len(data))
        stream.write(local)
        stream.write(data)
        directory.append(_central(name, crc, len(data), offset))
        offset += len(local) + len(data)
        if offset > BYTES_MAX or len(directory) > MEMBERS_MAX:
            raise Malformed("too large for one ZIP: verify the node at its URL instead")
    central = b"".join(directory)
    stream.write(central + _end(len(directory), len(central), offset) + COMMENT)
    return len(directory)


def _local(name: str, crc: int, size: int) -> bytes:
    raw = name.encode()
    return (
        _LOCAL.pack(b"PK\x03\x04", _VERSION, _flags(raw), _STORED, _TIME, _DATE, crc, size, size, len(raw), 0)
        + raw
    )


def _central(name: str, crc: int, size: int, offset: int) -> bytes:
    raw = name.encode()
    return (
        _CENTRAL.pack(
            b"PK\x01\x02",
            _MADE_ON_UNIX | _VERSION,
            _VERSION,
            _flags(raw),
            _STORED,
            _TIME,
            _DATE,
            crc,
            size,
            size,
            len(raw),
            0,
            0,
            0,
            0,
            _REGULAR_FILE,
            offset,
        )
        + raw
    )


def _end(count: int, central_size: int, central_start: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, central_size, central_start, len(COMMENT))


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a member's name is not UTF-8") from None


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _read(source: Source, path: RosterPath | LogPath) -> bytes | None:
    return source.read(format_tree_path(path), bytes_max=tree.bytes_max(path))


def _need(source: Source, path: RosterPath | LogPath) -> bytes:
    data = _read(source, path)
    if data is None:
        raise Undecided(f"{format_tree_path(path)} is not there")
    return data


def _pair(source: Source, path: RosterPath | LogPath) -> tuple[str, bytes]:
    return format_tree_path(path), _need(source, path)
