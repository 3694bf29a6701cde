"""ledger.tree: the path grammar; ledger.tile_fold: the tiles of a growing log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import tree
from ledger.errors import Malformed
from ledger.names import Origin, parse_origin
from ledger.tile_fold import TileFold
from ledger.tiles import Tile, format_path, tiles_of
from ledger.tree import LogPath, RosterPath, format_tree_path, parse_tree_path
from tests import plain
from tests.spoiled import accepted, spoiled

BRANCH = "ab" * 32
PATHS = {
    "roster/1.json": RosterPath(1, False),
    "roster/9999.note": RosterPath(9999, True),
    "log/sport/1/checkpoint": LogPath("sport", 1, "", "checkpoint"),
    "log/a.b-c/9999/checkpoint.certified": LogPath("a.b-c", 9999, "", "checkpoint.certified"),
    "log/sport/1/certified/2": LogPath("sport", 1, "", "certified/2"),
    "log/sport/1/certified/9999": LogPath("sport", 1, "", "certified/9999"),
    "log/sport/2/vkey": LogPath("sport", 2, "", "vkey"),
    "log/sport/1/tile/0/000": LogPath("sport", 1, "", Tile(level=0, index=0)),
    "log/sport/1/tile/2/x001/234.p/5": LogPath("sport", 1, "", Tile(level=2, index=1234, width=5)),
    "log/sport/1/tile/entries/000.p/255": LogPath("sport", 1, "", Tile(level=None, index=0, width=255)),
    f"log/sport/1/branch/{BRANCH}/checkpoint": LogPath("sport", 1, BRANCH, "checkpoint"),
    f"log/sport/1/branch/{BRANCH}/tile/entries/000": LogPath("sport", 1, BRANCH, Tile(level=None, index=0)),
    "log/branch/1/checkpoint": LogPath("branch", 1, "", "checkpoint"),
}


@pytest.mark.parametrize(("path", "parsed"), PATHS.items())
def test_a_path_names_one_file(path: str, parsed: RosterPath | LogPath) -> None:
    """parse and format are each other's inverse."""
    assert parse_tree_path(path) == parsed
    assert format_tree_path(parsed) == path
    assert tree.bytes_max(parsed) > 0


@pytest.mark.parametrize("path", PATHS)
def test_a_spoiled_path_is_refused_or_names_another_file(path: str) -> None:
    """Two names of one file would be two files of one fact."""
    others = accepted(lambda data: parse_tree_path(data.decode("latin-1")), spoiled(path.encode()))
    assert PATHS[path] not in others


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "roster",
        "roster/",
        "roster/0.json",
        "roster/01.json",
        "roster/10000.json",
        "roster/1.JSON",
        "roster/1.json/",
        "roster/1.txt",
        "roster/.json",
        "roster/-1.json",
        "roster/١.json",
        "roster/1.json\n",
        "roster/../roster/1.json",
        "/roster/1.json",
        "log",
        "log/sport",
        "log/sport/1",
        "log/sport/1/",
        "log/sport/0/checkpoint",
        "log/sport/01/checkpoint",
        "log/sport/10000/checkpoint",
        "log/sport/١/checkpoint",
        "log/Sport/1/checkpoint",
        "log/../1/checkpoint",
        "log/./1/checkpoint",
        "log//1/checkpoint",
        "log/sport//checkpoint",
        "log/sport/1/checkpoint.bak",
        "log/sport/1/../1/checkpoint",
        "log/sport/1/certified",
        "log/sport/1/certified/",
        "log/sport/1/certified/0",
        "log/sport/1/certified/1",
        "log/sport/1/certified/02",
        "log/sport/1/certified/10000",
        "log/sport/1/certified/2/x",
        "log/sport/1/certified/2\n",
        "log/sport/1/tile/0/0",
        "log/sport/1/tile/0/000.p/0",
        "log/sport/1/tile/0/000.p/256",
        "log/sport/1/tile/0/000.p/05",
        "log/sport/1/tile/64/000",
        "log/sport/1/tile/00/000",
        "log/sport/1/tile/0/x000/001",
        "log/sport/1/tile/entries/../../../../roster/1.json",
        "log/sport/1/branch",
        "log/sport/1/branch/",
        f"log/sport/1/branch/{BRANCH}",
        f"log/sport/1/branch/{BRANCH.upper()}/checkpoint",
        f"log/sport/1/branch/{BRANCH[:62]}/checkpoint",
        f"log/sport/1/branch/{BRANCH}/branch/{BRANCH}/checkpoint",
        "log\\sport\\1\\checkpoint",
        "LOG/sport/1/checkpoint",
        "a/" * 10_000,
    ],
)
def test_nothing_outside_of_the_grammar_is_a_path(path: str) -> None:
    """Nothing else is ever read, whatever a ZIP holds."""
    with pytest.raises(Malformed) as caught:
        parse_tree_path(path)
    assert len(str(caught.value)) < 400


@given(st.text(alphabet="rostelgnj.chkpia/0123456789x", max_size=60))
def test_what_parses_is_written_so(path: str) -> None:
    """No second spelling is taken."""
    try:
        parsed = parse_tree_path(path)
    except Malformed:
        return
    assert format_tree_path(parsed) == path


@pytest.mark.parametrize(
    "text", ["", "a", "a/b", "a/b/1/2", "a/b/0", "a/b/01", "a/b/x", "A/b/1", "a/b/1\n", "a//1"]
)
def test_origins_have_one_form(text: str) -> None:
    """Ledger, agency, era."""
    with pytest.raises(Malformed):
        parse_origin(text)
    assert str(parse_origin("a/b/1")) == "a/b/1"
    assert parse_origin("a/b/1") == Origin("a", "b", 1)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 1000, 65_536, 65_537, 66_000])
def test_the_fold_gives_each_tile_of_the_tree_once(size: int) -> None:
    """Exactly the tiles of C2SP, each with the hashes that the definition of the tree gives."""
    hashes = [plain.sha(number.to_bytes(4, "big")) for number in range(size)]
    fold = TileFold()
    made = {tile: list(found) for one in hashes for tile, found in fold.append(one)}
    made |= {tile: list(found) for tile, found in fold.partial()}
    assert sorted(map(format_path, made)) == sorted(map(format_path, tiles_of(size)))
    levels = [hashes]
    while len(levels[-1]) >= 256:
        full = len(levels[-1]) // 256
        levels.append([plain.tree(levels[-1][at * 256 : at * 256 + 256]) for at in range(full)])
    for tile, found in made.items():
        assert tile.level is not None
        assert found == levels[tile.level][tile.index * 256 : tile.index * 256 + tile.width]
