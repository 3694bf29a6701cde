"""`node.log_store`: one suite of promises, run by every store that the fixture ``store`` lists.

A second store joins by a class with the methods of `Store` and a line in the fixture's list.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from ledger import merkle, tiles
from ledger.errors import Conflict, Malformed, StoreError, Undecided
from node import log_store
from node.database import Database
from node.log_store import LogStore, StoredLeaf

LOG = "demo/school/1"
OTHER = "demo/sport/1"


class Store(Protocol):
    """What the suite asks of a store: its log, its transactions, a restart, and a way to attack it."""

    log: LogStore

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction; an exception undoes it."""
        ...

    def reopen(self) -> None:
        """Restart: only what was committed is there afterwards."""
        ...

    def attack(self, sql: str) -> None:
        """Run a statement that no store method would, in a transaction of its own."""
        ...

    def close(self) -> None:
        """End every connection."""
        ...


class SqliteStore:
    """The suite's view of a SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.db"
        self._open()

    def _open(self) -> None:
        self._database = Database(self._path, [log_store.SCHEMA])
        self.log = LogStore(self._database)

    def transaction(self) -> AbstractContextManager[None]:
        return self._database.transaction()

    def reopen(self) -> None:
        self._database.close()
        self._open()

    def attack(self, sql: str) -> None:
        with self._database.transaction():
            self._database.write(sql)

    def close(self) -> None:
        self._database.close()


STORES: dict[str, Callable[[Path], Store]] = {"sqlite": SqliteStore}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


def make_leaf(index: int, side: str = "", *, governance: bool = False) -> StoredLeaf:
    raw = f"leaf {index} {side}".encode() * (1 + index % 5)
    return StoredLeaf(
        index=index,
        leaf=raw,
        leaf_hash=merkle.leaf_hash(raw),
        entry_id=entry_id(index, side),
        governance=governance,
    )


def entry_id(index: int, side: str = "") -> bytes:
    return hashlib.sha256(f"entry {index} {side}".encode()).digest()


def make_leaves(start: int, end: int, side: str = "") -> list[StoredLeaf]:
    return [make_leaf(index, side) for index in range(start, end)]


def append(store: Store, leaves: Sequence[StoredLeaf], origin: str = LOG, branch: str = "") -> None:
    with store.transaction():
        store.log.append(origin, leaves, branch)


def raws(leaves: Sequence[StoredLeaf]) -> list[bytes]:
    return [leaf.leaf for leaf in leaves]


def hashes(leaves: Sequence[StoredLeaf]) -> list[bytes]:
    return [leaf.leaf_hash for leaf in leaves]


def test_an_empty_store_knows_nothing(store: Store) -> None:
    """An unknown log has no leaves, no entries, no checkpoint, and says so without an error."""
    assert store.log.size(LOG) == 0 and store.log.origins() == [] and store.log.branches(LOG) == []
    assert store.log.find_entry(LOG, entry_id(0)) is None and store.log.newest_checkpoint(LOG) is None
    assert list(store.log.leaves(LOG, 0, 0)) == [] and list(store.log.governance(LOG)) == []
    assert merkle.root_at(store.log.reader(LOG), 0) == merkle.EMPTY_ROOT


def test_leaves_come_back_in_order_after_a_restart(store: Store) -> None:
    """What was appended in several transactions is one log, byte for byte."""
    leaves = make_leaves(0, 700)
    for start, end in ((0, 1), (1, 300), (300, 700)):
        append(store, leaves[start:end])
    store.reopen()
    assert store.log.size(LOG) == 700 and store.log.origins() == [LOG]
    assert list(store.log.leaves(LOG, 0, 700)) == raws(leaves)
    assert list(store.log.leaves(LOG, 250, 520)) == raws(leaves[250:520])
    assert store.log.leaf(LOG, 511) == leaves[511].leaf


@pytest.mark.parametrize("start", [0, 9, 11, 500])
def test_an_append_that_does_not_continue_is_refused_unchanged(store: Store, start: int) -> None:
    """A repeated or missing index (two sequencers, a stale size) is a conflict and writes nothing."""
    append(store, make_leaves(0, 10))
    with pytest.raises(Conflict, match="holds 10 leaves"):
        append(store, make_leaves(start, start + 2, "late"))
    with pytest.raises(Conflict):
        append(store, [make_leaf(10), make_leaf(12)])
    assert store.log.size(LOG) == 10 and list(store.log.leaves(LOG, 0, 10)) == raws(make_leaves(0, 10))
    append(store, make_leaves(10, 12))


def test_a_transaction_undone_leaves_no_trace(store: Store) -> None:
    """A failure after the append takes back leaves, subtrees, places, checkpoint and a new log's name."""

    def fail() -> None:
        with store.transaction():
            store.log.append(LOG, [make_leaf(index, governance=True) for index in range(300)])
            store.log.put_checkpoint(LOG, b"note", 300, b"r" * 32)
            assert store.log.size(LOG) == 300 and store.log.find_entry(LOG, entry_id(7)) == 7
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert store.log.size(LOG) == 0 and store.log.origins() == [] and store.log.newest_checkpoint(LOG) is None
    assert store.log.find_entry(LOG, entry_id(7)) is None and list(store.log.governance(LOG)) == []
    append(store, make_leaves(0, 300, "second"), OTHER)
    append(store, make_leaves(0, 256))
    assert store.log.hashes(LOG, 1, 0, 1) == [merkle.root_of(hashes(make_leaves(0, 256)))]


def test_a_failed_append_leaves_the_store_usable(store: Store) -> None:
    """After an error in the middle of a transaction the next one works."""
    append(store, make_leaves(0, 3))
    bad = StoredLeaf(index=3, leaf=b"x", leaf_hash=b"short", entry_id=None)
    with pytest.raises(StoreError):
        append(store, [bad])
    append(store, make_leaves(3, 5))
    assert list(store.log.leaves(LOG, 0, 5)) == raws(make_leaves(0, 5))


def test_a_leaf_that_no_bundle_can_hold_is_refused(store: Store) -> None:
    """65,536 bytes do not fit the length field of a bundle, so they never enter."""
    big = bytes(tiles.ENTRY_BYTES_MAX)
    fits = StoredLeaf(index=0, leaf=big, leaf_hash=merkle.leaf_hash(big), entry_id=None)
    append(store, [fits])
    with pytest.raises(Malformed):
        append(store, [StoredLeaf(index=1, leaf=big + b"x", leaf_hash=b"h" * 32, entry_id=None)])
    assert store.log.size(LOG) == 1 and store.log.leaf(LOG, 0) == big


def test_roots_are_those_of_the_whole_list_however_it_was_appended(store: Store) -> None:
    """Stored subtrees give the RFC 6962 root at every size, for batches of every length."""
    draw = random.Random(3)
    leaves = make_leaves(0, 1400)
    done = 0
    while done < len(leaves):
        step = draw.choice([1, 2, 37, 255, 256, 257, 400])
        append(store, leaves[done : done + step])
        done = min(len(leaves), done + step)
    reader = store.log.reader(LOG)
    for size in (1, 2, 255, 256, 257, 511, 512, 513, 1000, 1279, 1280, 1281, 1399, 1400):
        assert merkle.root_at(reader, size) == merkle.root_of(hashes(leaves[:size])), size


def test_the_second_level_of_tiles_is_kept(store: Store) -> None:
    """Above 65,536 leaves whole level-1 tiles are one stored hash."""
    leaves = make_leaves(0, 66_000)
    append(store, leaves[:65_500])
    append(store, leaves[65_500:])
    reader = store.log.reader(LOG)
    assert reader.hashes(2, 0, 1) == [merkle.root_of(hashes(leaves[:65_536]))]
    assert merkle.root_at(reader, 66_000) == merkle.root_of(hashes(leaves))
    proof = merkle.prove_inclusion(reader, 40_000, 66_000)
    merkle.check_inclusion(leaves[40_000].leaf_hash, 40_000, 66_000, proof, merkle.root_of(hashes(leaves)))


def test_tiles_and_bundles_are_those_of_the_standard(store: Store) -> None:
    """A tile is the hashes end to end, a bundle the length-prefixed leaves, whole or partial."""
    leaves = make_leaves(0, 600)
    append(store, leaves)
    assert store.log.tile(LOG, 0, 1) == b"".join(hashes(leaves[256:512]))
    assert store.log.tile(LOG, 0, 2, 88) == b"".join(hashes(leaves[512:600]))
    assert store.log.tile(LOG, 1, 0, 2) == b"".join(
        merkle.root_of(hashes(leaves[start : start + 256])) for start in (0, 256)
    )
    bundle = store.log.bundle(LOG, 2, 88)
    assert bundle == tiles.encode_bundle(raws(leaves[512:600]))
    assert tiles.decode_bundle(store.log.bundle(LOG, 0), 256) == raws(leaves[:256])


def test_a_range_request_goes_on_where_it_stopped(store: Store) -> None:
    """The offset of a leaf in its bundle is where the bytes of the leaves before it end."""
    leaves = make_leaves(0, 600)
    append(store, leaves)
    for index in (256, 257, 300, 511, 512, 600):
        start = index - index % 256
        before = tiles.encode_bundle(raws(leaves[start:index])) if index > start else b""
        assert store.log.bundle_offset(LOG, index) == len(before)


def test_what_is_not_held_is_undecided(store: Store) -> None:
    """Asking beyond the size, at a wrong width or level, never answers with fewer bytes."""
    append(store, make_leaves(0, 300))
    log = store.log
    for ask in (
        lambda: log.leaf(LOG, 300),
        lambda: log.leaf(LOG, -1),
        lambda: log.leaf(OTHER, 0),
        lambda: list(log.leaves(LOG, 299, 301)),
        lambda: log.bundle(LOG, 1, 45),
        lambda: log.bundle(LOG, 0, 257),
        lambda: log.bundle(LOG, 0, 0),
        lambda: log.tile(LOG, 0, 1),
        lambda: log.tile(LOG, 0, 0, 0),
        lambda: log.tile(LOG, 1, 0, 2),
        lambda: log.tile(LOG, 40, 0, 1),
        lambda: log.bundle_offset(LOG, 301),
        lambda: log.hashes(LOG, 0, 299, 2),
        lambda: log.hashes(LOG, 0, -1, 2),
        lambda: log.hashes(LOG, 0, 5, -1),
    ):
        with pytest.raises(Undecided):
            ask()


def test_governance_is_found_without_reading_the_rest(store: Store) -> None:
    """Public entries are listed in order with their index, across pages."""
    leaves = [make_leaf(index, governance=index % 2 == 0) for index in range(1100)]
    append(store, leaves)
    expected = [(leaf.index, leaf.leaf) for leaf in leaves if leaf.governance]
    assert list(store.log.governance(LOG)) == expected


def test_an_entry_is_found_where_it_first_stands(store: Store) -> None:
    """An entry id gives its index; an entry repeated by a broken log gives the first place."""
    repeated = StoredLeaf(index=3, leaf=b"again", leaf_hash=merkle.leaf_hash(b"again"), entry_id=entry_id(1))
    append(store, [*make_leaves(0, 3), repeated])
    assert [store.log.find_entry(LOG, entry_id(index)) for index in range(4)] == [0, 1, 2, None]
    assert store.log.find_entry(OTHER, entry_id(1)) is None


def test_logs_of_two_origins_do_not_mix(store: Store) -> None:
    """Each origin has its own indices, entries and checkpoint."""
    append(store, make_leaves(0, 5))
    append(store, make_leaves(0, 3, "sport"), OTHER)
    append(store, make_leaves(5, 7))
    with store.transaction():
        store.log.put_checkpoint(OTHER, b"other", 3, b"o" * 32)
    assert store.log.origins() == [LOG, OTHER]
    assert list(store.log.leaves(OTHER, 0, 3)) == raws(make_leaves(0, 3, "sport"))
    assert list(store.log.leaves(LOG, 0, 7)) == raws(make_leaves(0, 7))
    assert store.log.find_entry(OTHER, entry_id(1)) is None
    assert store.log.newest_checkpoint(LOG) is None and store.log.newest_checkpoint(OTHER) == b"other"


def test_the_newest_checkpoint_never_goes_back(store: Store) -> None:
    """A smaller one, another root at the same size, or one ahead of the leaves is refused unchanged."""
    append(store, make_leaves(0, 10))
    with store.transaction():
        store.log.put_checkpoint(LOG, b"five", 5, b"5" * 32)
        store.log.put_checkpoint(LOG, b"ten", 10, b"t" * 32)
        store.log.put_checkpoint(LOG, b"ten, cosigned", 10, b"t" * 32)
    for note, size, root in ((b"old", 5, b"5" * 32), (b"split", 10, b"x" * 32), (b"ahead", 11, b"e" * 32)):
        with pytest.raises(Conflict), store.transaction():
            store.log.put_checkpoint(LOG, note, size, root)
    store.reopen()
    assert store.log.newest_checkpoint(LOG) == b"ten, cosigned"


@pytest.mark.parametrize("table", ["leaf", "node", "entry_place", "governance", "branch"])
def test_no_statement_changes_or_deletes_what_was_appended(store: Store, table: str) -> None:
    """Not even a statement sent past our code changes the log: the store itself refuses."""
    append(store, [make_leaf(index, governance=True) for index in range(256)])
    column = {
        "leaf": "leaf",
        "node": "hash",
        "entry_place": "entry_id",
        "governance": "leaf_index",
        "branch": "origin",
    }[table]
    for sql in (
        f"DELETE FROM {table}",
        f"UPDATE {table} SET {column} = {column}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(StoreError, match="never changed or deleted"):
            store.attack(sql)
    assert list(store.log.leaves(LOG, 0, 256)) == raws(make_leaves(0, 256))


def test_a_branch_shares_what_lies_before_it_and_keeps_its_own(store: Store) -> None:
    """Both sides of a fork are held and read as whole logs, each with its own root and tiles."""
    main, side = make_leaves(0, 900), make_leaves(300, 700, "side")
    whole = main[:300] + side
    append(store, main)
    with store.transaction():
        store.log.open_branch(LOG, "f0", start=300)
        store.log.append(LOG, side[:100], "f0")
    append(store, side[100:], branch="f0")
    store.reopen()
    assert store.log.branches(LOG) == ["", "f0"] and store.log.origins() == [LOG]
    assert store.log.size(LOG) == 900 and store.log.size(LOG, "f0") == 700
    assert list(store.log.leaves(LOG, 0, 700, "f0")) == raws(whole)
    assert list(store.log.leaves(LOG, 0, 900)) == raws(main)
    for size in (256, 299, 300, 301, 512, 513, 700):
        assert merkle.root_at(store.log.reader(LOG, "f0"), size) == merkle.root_of(hashes(whole[:size]))
    assert merkle.root_at(store.log.reader(LOG), 900) == merkle.root_of(hashes(main))
    assert store.log.bundle(LOG, 1, 256, "f0") == tiles.encode_bundle(raws(whole[256:512]))
    assert tiles.first_difference(store.log.reader(LOG), 900, store.log.reader(LOG, "f0"), 700) == 300


def test_an_entry_of_one_branch_is_not_found_in_the_other(store: Store) -> None:
    """Look-ups see what lies below the parting and the branch's own, nothing else."""
    append(store, [make_leaf(index, governance=True) for index in range(10)])
    with store.transaction():
        store.log.open_branch(LOG, "f0", start=6)
        store.log.append(LOG, [make_leaf(6, "side", governance=True)], "f0")
        store.log.put_checkpoint(LOG, b"side note", 7, b"s" * 32, "f0")
    assert store.log.find_entry(LOG, entry_id(6, "side"), "f0") == 6
    assert store.log.find_entry(LOG, entry_id(5), "f0") == 5
    assert store.log.find_entry(LOG, entry_id(6), "f0") is None
    assert store.log.find_entry(LOG, entry_id(6, "side")) is None
    assert [index for index, _ in store.log.governance(LOG, "f0")] == list(range(7))
    assert store.log.newest_checkpoint(LOG) is None and store.log.newest_checkpoint(LOG, "f0") == b"side note"


def test_a_branch_may_part_from_a_branch(store: Store) -> None:
    """A fork of a fork reads through both, even if it parts where its parent did or before."""
    append(store, make_leaves(0, 8))
    with store.transaction():
        store.log.open_branch(LOG, "a", start=4)
        store.log.append(LOG, make_leaves(4, 7, "a"), "a")
        store.log.open_branch(LOG, "b", parent="a", start=6)
        store.log.append(LOG, make_leaves(6, 9, "b"), "b")
        store.log.open_branch(LOG, "c", parent="a", start=2)
    assert list(store.log.leaves(LOG, 0, 9, "b")) == raws(
        make_leaves(0, 4) + make_leaves(4, 6, "a") + make_leaves(6, 9, "b")
    )
    assert store.log.size(LOG, "c") == 2 and list(store.log.leaves(LOG, 0, 2, "c")) == raws(make_leaves(0, 2))


def test_a_branch_needs_a_place_to_part_from(store: Store) -> None:
    """A branch above its parent's size, of an unknown parent, or of a name taken is refused unchanged."""
    append(store, make_leaves(0, 3))
    for name, parent, start, error in (
        ("x", "", 4, Undecided),
        ("x", "", -1, Undecided),
        ("x", "nowhere", 1, Undecided),
        ("", "", 1, Conflict),
    ):
        with pytest.raises(error), store.transaction():
            store.log.open_branch(LOG, name, parent=parent, start=start)
    with pytest.raises(Undecided), store.transaction():
        store.log.append(LOG, make_leaves(0, 1), "never opened")
    assert store.log.branches(LOG) == [""]
