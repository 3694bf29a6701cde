"""ledger.tiles: paths and bundles have one form each, and two trees' first difference is found by descent."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle, tiles
from ledger.errors import Malformed, Unproven
from ledger.tiles import (
    INDEX_MAX,
    Tile,
    bundles_of,
    decode_bundle,
    encode_bundle,
    first_difference,
    format_path,
    parse_path,
    split_tile,
    tiles_of,
)
from tests.spoiled import accepted, as_text, extended, flipped, spoiled, truncated
from tests.trees import MemoryTree, leaf_hashes

LOG = json.loads((Path(__file__).parent / "vectors" / "log.json").read_text())

PATHS = {
    "tile/0/000": Tile(level=0, index=0),
    "tile/0/000.p/255": Tile(level=0, index=0, width=255),
    "tile/0/x001/000": Tile(level=0, index=1_000),
    "tile/0/999": Tile(level=0, index=999),
    "tile/15/x455/667": Tile(level=15, index=455_667),
    "tile/15/x123/x456/789.p/41": Tile(level=15, index=123_456_789, width=41),
    "tile/63/000.p/1": Tile(level=63, index=0, width=1),
    "tile/entries/000": Tile(level=None, index=0),
    "tile/entries/x123/x456/789": Tile(level=None, index=123_456_789),
    "tile/entries/x001/x234/067": Tile(level=None, index=1_234_067),
    "tile/entries/x019/669": Tile(level=None, index=5_035_492 // 256),
    "tile/entries/x036/x028/x797/x018/x963/967": Tile(level=None, index=INDEX_MAX),
}

each_tile = st.builds(
    Tile,
    level=st.none() | st.integers(0, 63),
    index=st.integers(0, INDEX_MAX) | st.integers(0, 2_000_000),
    width=st.integers(1, 256),
)


@pytest.mark.parametrize(("path", "tile"), PATHS.items())
def test_published_paths(path: str, tile: Tile) -> None:
    """The examples of tlog-tiles and of real logs, both ways."""
    assert format_path(tile) == path
    assert parse_path(path) == tile


@given(each_tile)
def test_a_path_leads_back_to_its_tile(tile: Tile) -> None:
    """parse(format(t)) is t."""
    assert parse_path(format_path(tile)) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/x000/001",
        "tile/0/x001/x000",
        "tile/0/001/000",
        "tile/0/X001/000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/8/0/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/entries/entries/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/1000",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/2",
        "tile/0/../000",
        "tile/0/%30%30%30",
        "tile/0/٠٠٠",
        "tile/0/００１",
        "tile/²/000",
        "tile/entries/x036/x028/x797/x018/x963/968",
        "tile/entries/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/" + "x001/" * 100_000 + "000",
        "tile/entries/" + "1" * 100_000,
    ],
    ids=lambda path: repr(path[:40]),
)
def test_other_paths_are_malformed(path: str) -> None:
    """No second way to write a path, no way out of the tree, no digits of another script."""
    with pytest.raises(Malformed):
        parse_path(path)


@pytest.mark.parametrize("path", PATHS)
def test_every_change_of_a_path_is_refused_or_another_tile(path: str) -> None:
    """Cut, lengthened or with any bit flipped, it never names the same tile."""
    tile = parse_path(path)
    for other in accepted(as_text(parse_path), spoiled(path.encode())):
        assert other != tile


@pytest.mark.parametrize(
    ("level", "index", "width"),
    [
        (-1, 0, 256),
        (64, 0, 256),
        (0, -1, 256),
        (0, INDEX_MAX + 1, 256),
        (0, 0, 0),
        (0, 0, 257),
        (None, -1, 1),
    ],
)
def test_tiles_outside_of_every_tree_are_malformed(level: int | None, index: int, width: int) -> None:
    """They cannot be made, so nothing later need check."""
    with pytest.raises(Malformed):
        Tile(level=level, index=index, width=width)


def test_the_tiles_of_seventy_thousand_entries() -> None:
    """The example of tlog-tiles: 273 full and 112, 1 full and 17, and 1 hash."""
    found = list(tiles_of(70_000))
    assert found[:273] == [Tile(level=0, index=index) for index in range(273)]
    assert found[273:] == [
        Tile(level=0, index=273, width=112),
        Tile(level=1, index=0),
        Tile(level=1, index=1, width=17),
        Tile(level=2, index=0, width=1),
    ]


@pytest.mark.parametrize(
    ("size", "paths"),
    [
        (0, []),
        (1, ["tile/0/000.p/1"]),
        (255, ["tile/0/000.p/255"]),
        (256, ["tile/0/000", "tile/1/000.p/1"]),
        (257, ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]),
    ],
)
def test_the_tiles_of_small_trees(size: int, paths: list[str]) -> None:
    """A tile of no hashes does not exist, and a partial one feeds no level above."""
    assert [format_path(tile) for tile in tiles_of(size)] == paths


@pytest.mark.parametrize(
    ("start", "end", "paths"),
    [
        (0, 0, []),
        (5, 5, []),
        (6, 5, []),
        (0, 1, ["tile/entries/000.p/1"]),
        (0, 256, ["tile/entries/000"]),
        (255, 257, ["tile/entries/000", "tile/entries/001.p/1"]),
        (256, 512, ["tile/entries/001"]),
        (300, 700, ["tile/entries/001", "tile/entries/002.p/188"]),
    ],
)
def test_the_bundles_that_hold_entries(start: int, end: int, paths: list[str]) -> None:
    """Those from the first entry's to the last, the last one as wide as the log's size makes it."""
    assert [format_path(bundle) for bundle in bundles_of(start, end)] == paths


def test_a_published_bundle_and_tile() -> None:
    """The first three entries of a real log, as bundle and as tile of their leaf hashes."""
    entries = [entry.encode() for entry in LOG["entries"][:3]]
    bundle = bytes.fromhex(LOG["bundle_3"])
    assert encode_bundle(entries) == bundle
    assert decode_bundle(bundle, 3) == entries
    hashes = split_tile(bytes.fromhex("".join(LOG["tile_3"])), 3)
    assert hashes == [merkle.leaf_hash(entry) for entry in entries]


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=256))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    """decode(encode(e)) is e, and only for the right count."""
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for count in {len(entries) - 1, len(entries) + 1} & set(range(1, 257)):
        with pytest.raises(Malformed):
            decode_bundle(data, count)


@pytest.mark.parametrize("entries", [[b"one", b"", b"three"], [b""], [b"", b""], [b"\x00\x01a", b"\x00"]])
def test_every_change_of_a_bundle_shows(entries: list[bytes]) -> None:
    """Cut or lengthened it is malformed; with any bit flipped, malformed or other entries."""
    data, count = encode_bundle(entries), len(entries)
    assert accepted(lambda data: decode_bundle(data, count), truncated(data)) == []
    assert accepted(lambda data: decode_bundle(data, count), extended(data)) == []
    assert entries not in accepted(lambda data: decode_bundle(data, count), flipped(data))


def test_an_entry_fits_a_bundle_to_the_last_byte() -> None:
    """65,535 bytes do, one more does not."""
    largest = bytes(tiles.ENTRY_BYTES_MAX)
    assert decode_bundle(encode_bundle([largest, b"x"]), 2) == [largest, b"x"]
    with pytest.raises(Malformed):
        encode_bundle([largest + b"\x00"])


@pytest.mark.parametrize("count", [-1, 0, 257])
def test_no_bundle_or_tile_is_so_wide(count: int) -> None:
    """A bundle holds 1 to 256 entries, a tile as many hashes; the count comes from a path."""
    with pytest.raises(Malformed):
        decode_bundle(b"\x00\x00" * max(count, 0), count)
    with pytest.raises(Malformed):
        split_tile(bytes(32) * max(count, 0), count)
    with pytest.raises(Malformed):
        encode_bundle([b""] * max(count, 0))


def test_a_tile_has_exactly_its_hashes() -> None:
    """A byte more or less, or another width, is malformed."""
    data = b"".join(leaf_hashes(5))
    assert split_tile(data, 5) == leaf_hashes(5)
    assert accepted(lambda data: split_tile(data, 5), truncated(data)) == []
    assert accepted(lambda data: split_tile(data, 5), extended(data)) == []
    assert leaf_hashes(5) not in accepted(lambda data: split_tile(data, 5), flipped(data))
    for width in (4, 6):
        with pytest.raises(Malformed):
            split_tile(data, width)


LEAVES = leaf_hashes(66_000)
OURS = MemoryTree(LEAVES)


def _forked(at: int, size: int) -> MemoryTree:
    """Our tree up to ``at``, other leaves from there on."""
    return MemoryTree([*LEAVES[:at], *leaf_hashes(size, b"other")[at:]])


@pytest.mark.parametrize("size", [1, 200, 256, 257, 512, 65_536, 65_537, 66_000])
@pytest.mark.parametrize("at", [0, 1, 255, 256, 511, 512, 65_279, 65_280, 65_535, 65_536, 65_999])
def test_a_fork_is_found_in_one_read_a_level(at: int, size: int) -> None:
    """The first leaf that differs, wherever it lies, by at most one read a level of either tree."""
    theirs = _forked(at, size)
    OURS.reads.clear()
    assert first_difference(OURS, 66_000, theirs, size) == min(at, size)
    assert OURS.reads_at_most() <= 1 and theirs.reads_at_most() <= 1
    assert first_difference(theirs, size, OURS, 66_000) == min(at, size)


@given(st.integers(0, 1_300), st.integers(0, 1_300), st.integers(0, 1_300))
def test_the_first_difference_is_the_first(at: int, our_size: int, their_size: int) -> None:
    """Any two trees that share a prefix, against comparing leaf by leaf."""
    ours, theirs = MemoryTree(LEAVES[:our_size]), _forked(at, their_size)
    expected = min(at, our_size, their_size)
    assert first_difference(ours, our_size, theirs, their_size) == expected


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0), (5, 5), (300, 66_000), (65_536, 65_536)])
def test_a_tree_that_is_a_prefix_differs_at_its_end(sizes: tuple[int, int]) -> None:
    """No difference is no fork: the smaller size is the answer."""
    assert first_difference(MemoryTree(LEAVES[: sizes[0]]), sizes[0], OURS, sizes[1]) == min(sizes)


def test_tiles_that_do_not_fit_together_are_unproven() -> None:
    """A peer that shows another node above the same leaves, or leaves that a node is not over, is caught."""
    theirs = MemoryTree(LEAVES)
    theirs.levels[1][3] = bytes(32)
    with pytest.raises(Unproven):
        first_difference(OURS, 60_000, theirs, 60_000)
    for level, node in ((0, 65_000), (1, 255)):
        theirs = _forked(65_000, 66_000)
        theirs.levels[level][node] = bytes(32)
        with pytest.raises(Unproven):
            first_difference(OURS, 66_000, theirs, 66_000)
        with pytest.raises(Unproven):
            first_difference(theirs, 66_000, OURS, 66_000)


def test_a_short_tile_from_a_peer_is_malformed() -> None:
    """Fewer hashes than the size promises."""

    class Short(MemoryTree):
        def hashes(self, level: int, start: int, count: int) -> list[bytes]:
            return super().hashes(level, start, count)[:-1]

    with pytest.raises(Malformed):
        first_difference(OURS, 300, Short(LEAVES[:300]), 300)
