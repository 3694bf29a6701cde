"""The logs this node holds: leaves, upper tile hashes, checkpoints, cosignatures. No leaf is ever deleted.

A branch is one history: ``(origin, "")`` is the main one, a fork's other side carries a name, begins at the
index where it parts from its parent and shares everything below. Leaves are keyed by (branch, index).
Triggers in the schema refuse to change or delete a leaf, whoever asks.

Of the Merkle tree only complete subtrees of 256, 256², ... leaves are stored, once, when they fill; the hash
of each leaf stands in its row. Everything that a tile, a bundle or a proof needs is read from these.

``cosignature`` holds the newest few lines of each witness; which of them count, and what they certify, is not
judged here.

Writing methods run inside the caller's transaction. What is not here raises `Undecided`: it has to be
fetched, it is not false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import merkle, tiles
from ledger.errors import Conflict, Malformed, Undecided
from ledger.tiles import ENTRY_BYTES_MAX, TILE_WIDTH
from node.database import Database, Row, Schema

MAIN = ""
"""Name of the branch that an origin's own log, or the first one seen of it, is kept under."""
PAGE_LEAVES = 256
"""Leaves read at once by the iterators: one bundle, 16 MB at the very most."""
LEVEL_MAX = 7
"""256^8 leaves are more than an index can count."""
COSIGNED_SIZES_MAX = 8
"""Sizes of one log for which a witness's lines are kept: copies that meet by stick seldom are of one size,
and a lying witness must not fill the disk."""
_NO_END = 1 << 62

_NEVER = ("leaf", "node", "entry_place", "governance", "branch")

SCHEMA = Schema(
    part="log",
    steps=(
        (
            "CREATE TABLE branch (id INTEGER PRIMARY KEY, origin TEXT NOT NULL, name TEXT NOT NULL, "
            "parent INTEGER, start INTEGER NOT NULL, UNIQUE (origin, name))",
            # The hash stands before the leaf: reading hashes then never touches a large leaf's further pages.
            "CREATE TABLE leaf (branch INTEGER NOT NULL, leaf_index INTEGER NOT NULL, "
            "leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32), leaf BLOB NOT NULL "
            f"CHECK (length(leaf) <= {ENTRY_BYTES_MAX}), PRIMARY KEY (branch, leaf_index)) WITHOUT ROWID",
            "CREATE TABLE node (branch INTEGER NOT NULL, level INTEGER NOT NULL, "
            "node_index INTEGER NOT NULL, hash BLOB NOT NULL, "
            "PRIMARY KEY (branch, level, node_index)) WITHOUT ROWID",
            "CREATE TABLE entry_place (branch INTEGER NOT NULL, entry_id BLOB NOT NULL, "
            "leaf_index INTEGER NOT NULL, PRIMARY KEY (branch, entry_id, leaf_index)) WITHOUT ROWID",
            "CREATE TABLE governance (branch INTEGER NOT NULL, leaf_index INTEGER NOT NULL, "
            "PRIMARY KEY (branch, leaf_index)) WITHOUT ROWID",
            "CREATE TABLE checkpoint (branch INTEGER PRIMARY KEY, size INTEGER NOT NULL, "
            "root BLOB NOT NULL, note BLOB NOT NULL)",
            *(
                f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'a {table} row is never changed or deleted'); END"
                for table in _NEVER
                for verb in ("UPDATE", "DELETE")
            ),
        ),
        (
            "CREATE TABLE cosignature (branch INTEGER NOT NULL, name TEXT NOT NULL, key_id BLOB NOT NULL, "
            "size INTEGER NOT NULL, line TEXT NOT NULL, "
            "PRIMARY KEY (branch, name, key_id, size)) WITHOUT ROWID",
            "CREATE TABLE certified (branch INTEGER PRIMARY KEY, size INTEGER NOT NULL, "
            "root BLOB NOT NULL, note BLOB NOT NULL)",
            "CREATE TABLE transition (branch INTEGER NOT NULL, version INTEGER NOT NULL, "
            "note BLOB NOT NULL, PRIMARY KEY (branch, version)) WITHOUT ROWID",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLeaf:
    """A judged leaf on its way into the store; ``entry_id`` is None where the bytes are no leaf."""

    index: int
    leaf: bytes
    leaf_hash: bytes
    entry_id: bytes | None
    governance: bool = False


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The indices [start, end) of a history that are stored under one branch's number."""

    branch: int
    start: int
    end: int

    def clip(self, start: int, end: int, width: int = 1) -> tuple[int, int]:
        """The part of [start, end) that lies here, counted in complete subtrees of ``width`` leaves."""
        return max(start, self.start // width), min(end, self.end // width)


class LogStore:
    """Leaves of every origin and branch in one database."""

    def __init__(self, database: Database) -> None:
        """``database`` was opened with `SCHEMA`."""
        self._database = database

    def origins(self) -> list[str]:
        """Origins that this store knows, in the order they came."""
        return [
            row[0]
            for row in self._database.rows("SELECT origin FROM branch WHERE name = ? ORDER BY id", (MAIN,))
        ]

    def branches(self, origin: str) -> list[str]:
        """Names of the branches of ``origin``, the main one (``""``) first."""
        return [
            row[0]
            for row in self._database.rows("SELECT name FROM branch WHERE origin = ? ORDER BY id", (origin,))
        ]

    def branch_bytes(self, origin: str) -> int:
        """Return how many bytes the leaves take that stand on branches other than the main one."""
        row = self._database.row(
            "SELECT SUM(length(leaf)) FROM leaf WHERE branch IN "
            "(SELECT id FROM branch WHERE origin = ? AND name != ?)",
            (origin, MAIN),
        )
        return 0 if row is None or row[0] is None else int(row[0])

    def open_branch(self, origin: str, name: str, *, parent: str = MAIN, start: int) -> None:
        """Begin branch ``name``, which shares with ``parent`` all leaves below ``start``."""
        if name in self.branches(origin):
            raise Conflict(f"{origin} has a branch {name!r} already")
        known = self._find_branch(origin, parent)
        if known is None or not 0 <= start <= self.size(origin, parent):
            raise Undecided(f"{origin} has no leaf {start} on branch {parent!r} to part from")
        self._database.write(
            "INSERT INTO branch (origin, name, parent, start) VALUES (?, ?, ?, ?)",
            (origin, name, known[0], start),
        )

    def size(self, origin: str, branch: str = MAIN) -> int:
        """Number of leaves held; 0 for a log never seen."""
        stretches = self._stretches(origin, branch)
        return self._end_of(stretches[-1]) if stretches else 0

    def append(self, origin: str, leaves: Sequence[StoredLeaf], branch: str = MAIN) -> None:
        """Add leaves that continue the branch; `Conflict` if they do not, with nothing written.

        The main branch of a new origin is made by its first append, others by `open_branch`.
        """
        size = self.size(origin, branch)
        for offset, leaf in enumerate(leaves):
            if leaf.index != size + offset:
                raise Conflict(
                    f"{origin} holds {size} leaves, the append has index {leaf.index} at place "
                    f"{offset}: read the size again"
                )
            if not len(leaf.leaf) <= ENTRY_BYTES_MAX:
                raise Malformed(
                    f"leaf {leaf.index} of {origin} has {len(leaf.leaf)} bytes, at most "
                    f"{ENTRY_BYTES_MAX} fit a bundle"
                )
        branch_id = self._own_branch(origin, branch)
        self._write_leaves(branch_id, leaves)
        self._complete_subtrees(origin, branch, branch_id, size, size + len(leaves))

    def leaf(self, origin: str, index: int, branch: str = MAIN) -> bytes:
        """Return the bytes of one leaf; `Undecided` if it is not held."""
        for raw in self._read("leaf", origin, branch, index, index + 1):
            return bytes(raw)
        raise Undecided(f"{origin} holds {self.size(origin, branch)} leaves, no index {index}")

    def leaves(self, origin: str, start: int, end: int, branch: str = MAIN) -> Iterator[bytes]:
        """Yield the leaves [start, end) in order; `Undecided` before the first if some are not held."""
        self._check_held(origin, branch, start, end)
        for first in range(start, end, PAGE_LEAVES):
            yield from self._read("leaf", origin, branch, first, min(end, first + PAGE_LEAVES))

    def governance(self, origin: str, branch: str = MAIN) -> Iterator[tuple[int, bytes]]:
        """Yield (index, leaf) of every public entry, in order."""
        for stretch in self._stretches(origin, branch):
            next_index = stretch.start
            while page := self._governance_page(stretch, next_index):
                yield from page
                next_index = page[-1][0] + 1

    def find_entry(self, origin: str, entry_id: bytes, branch: str = MAIN) -> int | None:
        """Return the index at which an entry (first) stands, or None."""
        for stretch in self._stretches(origin, branch):
            row = self._database.row(
                "SELECT MIN(leaf_index) FROM entry_place "
                "WHERE branch = ? AND entry_id = ? AND leaf_index < ?",
                (stretch.branch, entry_id, stretch.end),
            )
            if row is not None and row[0] is not None:
                return int(row[0])
        return None

    def reader(self, origin: str, branch: str = MAIN) -> BranchReader:
        """Return the `merkle.HashReader` of a branch."""
        return BranchReader(self, origin, branch)

    def tile(self, origin: str, level: int, index: int, width: int = TILE_WIDTH, branch: str = MAIN) -> bytes:
        """Return ``width`` hashes of tile ``index`` at ``level`` as C2SP lays them out."""
        _check_width(width)
        return b"".join(self.hashes(origin, level, index * TILE_WIDTH, width, branch))

    def bundle(self, origin: str, index: int, width: int = TILE_WIDTH, branch: str = MAIN) -> bytes:
        """Return the entries bundle ``index`` with ``width`` leaves."""
        _check_width(width)
        start = index * TILE_WIDTH
        return tiles.encode_bundle(list(self.leaves(origin, start, start + width, branch)))

    def bundle_offset(self, origin: str, index: int, branch: str = MAIN) -> int:
        """Return how many bytes of its bundle lie before leaf ``index``: where a Range request goes on."""
        start = index - index % TILE_WIDTH
        self._check_held(origin, branch, start, index)
        return sum(2 + length for length in self._read("length(leaf)", origin, branch, start, index))

    def hashes(self, origin: str, level: int, start: int, count: int, branch: str = MAIN) -> list[bytes]:
        """Return the hashes of complete subtrees [start, start + count) at tile level ``level``."""
        if not 0 <= level <= LEVEL_MAX:
            raise Undecided(f"{origin} has no tile level {level}")
        found: list[bytes] = []
        for stretch in self._stretches(origin, branch):
            first, end = stretch.clip(start, start + count, TILE_WIDTH**level)
            found += self._stored_hashes(stretch.branch, level, first, end)
        if count < 0 or len(found) != count:
            raise Undecided(
                f"{origin} holds {self.size(origin, branch)} leaves: not hashes {start} to "
                f"{start + count} of level {level}"
            )
        return found

    def put_checkpoint(self, origin: str, note: bytes, size: int, root: bytes, branch: str = MAIN) -> None:
        """Keep ``note`` as the newest checkpoint; `Conflict` if it goes back, differs, or is ahead."""
        self._put_note("checkpoint", origin, note, size, root, branch)

    def newest_checkpoint(self, origin: str, branch: str = MAIN) -> bytes | None:
        """Return the signed note last put, or None."""
        return self._note("checkpoint", origin, branch)

    def put_certified(self, origin: str, note: bytes, size: int, root: bytes, branch: str = MAIN) -> None:
        """Keep ``note`` as the newest certified checkpoint; `Conflict` as in `put_checkpoint`."""
        self._put_note("certified", origin, note, size, root, branch)

    def certified_checkpoint(self, origin: str, branch: str = MAIN) -> bytes | None:
        """Return the note last certified, with all its cosignatures, or None."""
        return self._note("certified", origin, branch)

    def certified_size(self, origin: str, branch: str = MAIN) -> int:
        """Return the size of the newest certified checkpoint, 0 if there is none."""
        row = self._joined("size", "certified", origin, branch)
        return 0 if row is None else int(row[0])

    def put_transition(self, origin: str, version: int, note: bytes, branch: str = MAIN) -> None:
        """Keep the first certified checkpoint under a roster version; a later one changes nothing."""
        self._database.write(
            "INSERT OR IGNORE INTO transition (branch, version, note) VALUES (?, ?, ?)",
            (self._own_branch(origin, branch), version, note),
        )

    def transition(self, origin: str, version: int, branch: str = MAIN) -> bytes | None:
        """Return the first certified checkpoint under a roster version, or None."""
        return self.transitions(origin, branch).get(version)

    def transitions(self, origin: str, branch: str = MAIN) -> dict[int, bytes]:
        """Return, by roster version, the first certified checkpoint under it."""
        rows = self._database.rows(
            "SELECT version, note FROM transition JOIN branch ON branch.id = transition.branch "
            "WHERE origin = ? AND name = ? ORDER BY version",
            (origin, branch),
        )
        return {int(version): bytes(note) for version, note in rows}

    def put_cosignature(
        self, origin: str, size: int, name: str, key_id: bytes, line: str, branch: str = MAIN
    ) -> None:
        """Keep a witness's line on the checkpoint of ``size``, and of this witness the newest few alone."""
        key = (self._own_branch(origin, branch), name, key_id)
        self._database.write(
            "INSERT OR IGNORE INTO cosignature (branch, name, key_id, size, line) VALUES (?, ?, ?, ?, ?)",
            (*key, size, line),
        )
        self._database.write(
            "DELETE FROM cosignature WHERE branch = ? AND name = ? AND key_id = ? AND size NOT IN ("
            "SELECT size FROM cosignature WHERE branch = ? AND name = ? AND key_id = ? "
            f"ORDER BY size DESC LIMIT {COSIGNED_SIZES_MAX})",
            (*key, *key),
        )

    def cosignatures(self, origin: str, size: int, branch: str = MAIN) -> list[str]:
        """Return the lines kept on the checkpoint of ``size``, by name."""
        rows = self._database.rows(
            "SELECT line FROM cosignature JOIN branch ON branch.id = cosignature.branch "
            "WHERE origin = ? AND branch.name = ? AND size = ? ORDER BY cosignature.name, key_id",
            (origin, branch, size),
        )
        return [str(row[0]) for row in rows]

    def all_cosignatures(self, origin: str, branch: str = MAIN) -> list[tuple[int, str]]:
        """Return every line kept of a branch with its checkpoint's size."""
        rows = self._database.rows(
            "SELECT size, line FROM cosignature JOIN branch ON branch.id = cosignature.branch "
            "WHERE origin = ? AND branch.name = ? ORDER BY size, cosignature.name, key_id",
            (origin, branch),
        )
        return [(int(size), str(line)) for size, line in rows]

    def last_cosignature(self, origin: str, name: str, key_id: bytes, branch: str = MAIN) -> int:
        """Return the largest size for which a line of this witness key is kept, or 0."""
        row = self._database.row(
            "SELECT MAX(size) FROM cosignature JOIN branch ON branch.id = cosignature.branch "
            "WHERE origin = ? AND branch.name = ? AND cosignature.name = ? AND key_id = ?",
            (origin, branch, name, key_id),
        )
        return 0 if row is None or row[0] is None else int(row[0])

    def _put_note(self, table: str, origin: str, note: bytes, size: int, root: bytes, branch: str) -> None:
        held = self.size(origin, branch)
        if size > held:
            raise Conflict(f"checkpoint of {size} leaves for {origin}, where {held} are held")
        branch_id = self._own_branch(origin, branch)
        newest = self._database.row(f"SELECT size, root FROM {table} WHERE branch = ?", (branch_id,))
        if newest is not None and (size < newest[0] or (size == newest[0] and root != newest[1])):
            raise Conflict(
                f"checkpoint of {size} leaves for {origin} after one of {newest[0]}, or another "
                "root at that size"
            )
        self._database.write(
            f"INSERT INTO {table} (branch, size, root, note) VALUES (?, ?, ?, ?) ON CONFLICT (branch) "
            "DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
            (branch_id, size, root, note),
        )

    def _note(self, table: str, origin: str, branch: str) -> bytes | None:
        row = self._joined("note", table, origin, branch)
        return None if row is None else bytes(row[0])

    def _joined(self, column: str, table: str, origin: str, branch: str) -> Row | None:
        return self._database.row(
            f"SELECT {table}.{column} FROM {table} JOIN branch ON branch.id = {table}.branch "
            "WHERE origin = ? AND name = ?",
            (origin, branch),
        )

    def _find_branch(self, origin: str, name: str) -> Row | None:
        return self._database.row(
            "SELECT id, parent, start FROM branch WHERE origin = ? AND name = ?", (origin, name)
        )

    def _own_branch(self, origin: str, name: str) -> int:
        """The number of a branch, made if it is a main one not seen before."""
        row = self._find_branch(origin, name)
        if row is None and name == MAIN:
            self._database.write("INSERT INTO branch (origin, name, start) VALUES (?, ?, 0)", (origin, MAIN))
            row = self._find_branch(origin, name)
        if row is None:
            raise Undecided(f"{origin} has no branch {name!r}")
        return int(row[0])

    def _stretches(self, origin: str, name: str) -> list[_Stretch]:
        """Where the leaves of a branch are stored, lowest indices first; empty if it is unknown.

        Read each time (one look-up for a main branch): a number remembered from a transaction that was
        undone would later name another branch.
        """
        found: list[_Stretch] = []
        end = _NO_END
        row = self._find_branch(origin, name)
        while row is not None:
            branch_id, parent, start = row
            if start < end:
                found.append(_Stretch(branch_id, start, end))
                end = start
            row = (
                None
                if parent is None
                else self._database.row("SELECT id, parent, start FROM branch WHERE id = ?", (parent,))
            )
        return found[::-1]

    def _end_of(self, stretch: _Stretch) -> int:
        row = self._database.row("SELECT MAX(leaf_index) FROM leaf WHERE branch = ?", (stretch.branch,))
        return stretch.start if row is None or row[0] is None else int(row[0]) + 1

    def _check_held(self, origin: str, branch: str, start: int, end: int) -> None:
        size = self.size(origin, branch)
        if not 0 <= start <= end <= size:
            raise Undecided(f"{origin} holds {size} leaves, asked for {start} to {end}")

    def _read(self, column: str, origin: str, branch: str, start: int, end: int) -> Iterator[Any]:
        for stretch in self._stretches(origin, branch):
            first, last = stretch.clip(start, end)
            for row in self._leaf_rows(column, stretch.branch, first, last):
                yield row[0]

    def _leaf_rows(self, column: str, branch_id: int, start: int, end: int) -> list[Row]:
        return self._database.rows(
            f"SELECT {column} FROM leaf WHERE branch = ? AND leaf_index >= ? AND leaf_index < ? "
            "ORDER BY leaf_index",
            (branch_id, start, end),
        )

    def _stored_hashes(self, branch_id: int, level: int, start: int, end: int) -> list[bytes]:
        if level == 0:
            return [row[0] for row in self._leaf_rows("leaf_hash", branch_id, start, end)]
        return [
            row[0]
            for row in self._database.rows(
                "SELECT hash FROM node WHERE branch = ? AND level = ? AND node_index >= ? AND node_index < ? "
                "ORDER BY node_index",
                (branch_id, level, start, end),
            )
        ]

    def _governance_page(self, stretch: _Stretch, start: int) -> list[tuple[int, bytes]]:
        return [
            (row[0], row[1])
            for row in self._database.rows(
                "SELECT leaf_index, leaf FROM leaf WHERE branch = ? AND leaf_index IN (SELECT leaf_index "
                "FROM governance WHERE branch = ? AND leaf_index >= ? AND leaf_index < ? ORDER BY leaf_index "
                "LIMIT ?) ORDER BY leaf_index",
                (stretch.branch, stretch.branch, start, stretch.end, PAGE_LEAVES),
            )
        ]

    def _write_leaves(self, branch_id: int, leaves: Sequence[StoredLeaf]) -> None:
        self._database.write_many(
            "INSERT INTO leaf (branch, leaf_index, leaf_hash, leaf) VALUES (?, ?, ?, ?)",
            ((branch_id, leaf.index, leaf.leaf_hash, leaf.leaf) for leaf in leaves),
        )
        self._database.write_many(
            "INSERT INTO entry_place (branch, entry_id, leaf_index) VALUES (?, ?, ?)",
            ((branch_id, leaf.entry_id, leaf.index) for leaf in leaves if leaf.entry_id is not None),
        )
        self._database.write_many(
            "INSERT INTO governance (branch, leaf_index) VALUES (?, ?)",
            ((branch_id, leaf.index) for leaf in leaves if leaf.governance),
        )

    def _complete_subtrees(self, origin: str, branch: str, branch_id: int, old: int, new: int) -> None:
        """Store the subtrees of 256, 256², ... leaves that became complete between two sizes."""
        for level in range(1, LEVEL_MAX + 1):
            old, new = old // TILE_WIDTH, new // TILE_WIDTH
            for index in range(old, new):
                below = self.hashes(origin, level - 1, index * TILE_WIDTH, TILE_WIDTH, branch)
                self._database.write(
                    "INSERT INTO node (branch, level, node_index, hash) VALUES (?, ?, ?, ?)",
                    (branch_id, level, index, merkle.root_of(below)),
                )


@dataclass(frozen=True, slots=True)
class BranchReader:
    """`merkle.HashReader` over one branch of a `LogStore`."""

    store: LogStore
    origin: str
    branch: str = MAIN

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Return complete subtrees [start, start + count) at tile level ``level``, or `Undecided`."""
        return self.store.hashes(self.origin, level, start, count, self.branch)


def _check_width(width: int) -> None:
    if not 1 <= width <= TILE_WIDTH:
        raise Undecided(f"a tile holds 1 to {TILE_WIDTH} entries, not {width}")
