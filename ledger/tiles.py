"""Tiles and entry bundles (C2SP tlog-tiles): their paths, their bytes, and where two trees first differ.

    tile/<level>/<index>[.p/<width>]     256 hashes, or the first ``width`` of them while the tile grows
    tile/entries/<index>[.p/<width>]     as many entries, each ``u16 length ‖ bytes``

The index is written in groups of three digits, all but the last after an ``x``: 1234067 is ``x001/x234/067``.
A partial tile never feeds the level above. One value has one path and one path one value: what `parse_path`
takes, `format_path` gives back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import Malformed, Unproven
from ledger.merkle import HASH_BYTES, LEVEL_BITS, SIZE_MAX, HashReader, root_of

TILE_WIDTH = 1 << LEVEL_BITS
"""Hashes of a full tile, entries of a full bundle (tlog-tiles fixes both)."""

ENTRY_BYTES_MAX = 65_535
"""What a bundle's u16 length can say."""

LEVEL_MAX = 63
"""tlog-tiles' bound; a tree of `SIZE_MAX` leaves ends at level 7."""

INDEX_MAX = SIZE_MAX // TILE_WIDTH
"""No tree has a tile beyond it."""

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Which tile: ``level`` 0 to 63 of hashes, or None for an entry bundle; ``width`` 256 if full."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= LEVEL_MAX:
            raise Malformed(f"a tile's level is 0 to {LEVEL_MAX}, not {self.level}")
        if not 0 <= self.index <= INDEX_MAX or not 1 <= self.width <= TILE_WIDTH:
            raise Malformed(f"no tile has index {self.index} and width {self.width}")


def format_path(tile: Tile) -> str:
    """Return the path of ``tile`` below its log's prefix."""
    level = "entries" if tile.level is None else str(tile.level)
    digits = str(tile.index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    index = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    partial = "" if tile.width == TILE_WIDTH else f".p/{tile.width}"
    return f"tile/{level}/{index}{partial}"


def parse_path(path: str) -> Tile:
    """Return the tile at ``path``; `Malformed` if it is not the one path of a tile."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise Malformed(f"{path[:80]!r} is not the path of a tile")
    tile = Tile(
        level=None if found["level"] == "entries" else int(found["level"]),
        index=int(found["index"].replace("x", "").replace("/", "")),
        width=TILE_WIDTH if found["width"] is None else int(found["width"]),
    )
    if format_path(tile) != path:
        raise Malformed(f"{path!r} is written {format_path(tile)!r}")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every hash tile of a tree of ``size``, full ones and the partial, by level then index."""
    level, nodes = 0, size
    while nodes:
        full, partial = divmod(nodes, TILE_WIDTH)
        for index in range(full):
            yield Tile(level=level, index=index)
        if partial:
            yield Tile(level=level, index=full, width=partial)
        level, nodes = level + 1, full


def bundles_of(start: int, end: int) -> Iterator[Tile]:
    """Yield the bundles, as a log of size ``end`` has them, that hold entries [start, end)."""
    if start < end:
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            yield Tile(level=None, index=index, width=min(TILE_WIDTH, end - index * TILE_WIDTH))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of 1 to 256 entries; `Malformed` if one is longer than 65,535 bytes."""
    _check_width(len(entries))
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise Malformed(f"an entry of {len(entry)} bytes, at most {ENTRY_BYTES_MAX} fit a bundle")
        parts += (len(entry).to_bytes(2), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """Return the ``count`` entries that ``data`` holds, no more and no fewer; `Malformed` otherwise."""
    _check_width(count)
    entries: list[bytes] = []
    at = 0
    for _ in range(count):
        start = at + 2
        at = start + int.from_bytes(data[at:start])
        if at > len(data):
            break
        entries.append(data[start:at])
    if len(entries) < count or at != len(data):
        raise Malformed(f"{len(data)} bytes are no bundle of exactly {count} entries")
    return entries


def split_tile(data: bytes, width: int) -> list[bytes]:
    """Return the ``width`` hashes of a tile's bytes; `Malformed` if there are more or fewer."""
    _check_width(width)
    if len(data) != width * HASH_BYTES:
        raise Malformed(f"a tile of width {width} has {width * HASH_BYTES} bytes, not {len(data)}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def first_difference(ours: HashReader, our_size: int, theirs: HashReader, their_size: int) -> int:
    """Return the index of the first leaf that differs, or the smaller size if that tree is a prefix.

    Descends from the top level to the leaves, one read a level of either tree. A node whose children do not
    hash to it is `Unproven`. That the tiles belong to a signed root is for the caller to check: what lies
    right of the last complete tile is bound by the root only.
    """
    common = min(our_size, their_size)
    first = 0
    parents: tuple[bytes, bytes] | None = None
    for level in range((common.bit_length() - 1) // LEVEL_BITS, -1, -1):
        bits = LEVEL_BITS * level
        start = first >> bits
        count = TILE_WIDTH if parents else (common >> bits) - start
        if count:
            left, right = (reader.hashes(level, start, count) for reader in (ours, theirs))
            _check_children(left, right, parents)
            same = _equal_prefix(left, right)
            parents = (left[same], right[same]) if same < count else None
            first = start + same << bits
    return first


def _check_children(left: list[bytes], right: list[bytes], parents: tuple[bytes, bytes] | None) -> None:
    if len(left) != len(right):
        raise Malformed(f"{len(left)} and {len(right)} hashes where both trees have the same number")
    if parents is not None and (root_of(left), root_of(right)) != parents:
        raise Unproven("a tile does not hash to its node in the tile above")


def _equal_prefix(left: list[bytes], right: list[bytes]) -> int:
    """Return how many hashes agree before the first that differ."""
    pairs = zip(left, right, strict=True)
    return next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), len(left))


def _check_width(width: int) -> None:
    if not 1 <= width <= TILE_WIDTH:
        raise Malformed(f"a tile is 1 to {TILE_WIDTH} wide, not {width}")
