"""Copies of the other agencies' logs: what a peer brings is judged with the auditor's rules, then stored.

In its simplest honest form: ask for the checkpoint, read what is new from the static tree, judge every leaf,
compare the root, store leaves and checkpoint in one transaction. Nothing is believed because of who sent it,
and nothing false is stored. A peer that shows another history than the one held is named and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import islice

from ledger.chain import ChainState, Judged, Seen, extend
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import Refused, Undecided, Unproven
from ledger.keys import VerifyMany
from ledger.merkle import check_consistency, root_at
from ledger.names import Origin
from ledger.note import NoteVerifier, keep_lines
from ledger.tiles import TILE_WIDTH, Tile, bundles_of
from ledger.tree import LogPath, format_tree_path, transition_file
from node.certification import log_key
from node.database import Database
from node.log_store import MAIN, LogStore
from node.protocol import Procedure
from node.session import fetch_checkpoint, fetch_consistency, fetch_file, fetch_leaves
from node.stored_logs import stored_leaf

PULL_BUNDLES_MAX = 16
"""Bundles of one pull: 4,096 entries, typically 2 MB in memory. A log further ahead is taken in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a peer gave: a checkpoint note, and leaves from ``start`` on.

    If the leaves end below the checkpoint's size, ``consistency`` is the proof from their end to it.
    """

    note: bytes
    start: int
    leaves: tuple[bytes, ...]
    consistency: tuple[bytes, ...] = ()


def pull(
    state: ChainState, held_bytes: int, bundles_max: int | None = None, branch: str = MAIN
) -> Procedure[Pulled | None]:
    """Fetch what is new of a log; None if nothing is. ``branch`` is what the other side calls it.

    ``held_bytes`` is the length of the part of the newest bundle that is held. The checkpoint's signature is
    checked as soon as the log's key is known, before anything larger is read; all else is `Mirror.take`'s.
    """
    origin, held = state.origin, state.size
    fetched = yield from fetch_checkpoint(origin, branch)
    if fetched is None:
        return None
    note, claim = fetched
    key = log_key(state)
    if key is not None:
        open_checkpoint(note, key)
    if claim.size <= held:
        return Pulled(note=note, start=held, leaves=()) if key is not None else None
    leaves: list[bytes] = []
    for tile in islice(bundles_of(held, claim.size), bundles_max or PULL_BUNDLES_MAX):
        skip = max(0, held - tile.index * TILE_WIDTH)
        leaves += yield from fetch_leaves(origin, tile, skip, held_bytes if skip else 0, branch)
        if key is None:
            key = _key_of_opening(state, leaves[0])
            open_checkpoint(note, key)
    end = held + len(leaves)
    proof = (yield from fetch_consistency(origin, end, claim.size, branch)) if end < claim.size else []
    return Pulled(note=note, start=held, leaves=tuple(leaves), consistency=tuple(proof))


def fetch_opening(origin: Origin, branch: str = MAIN) -> Procedure[bytes | None]:
    """Return the first leaf of a log, or None where it is not there; nothing of it is checked."""
    fetched = yield from fetch_checkpoint(origin, branch)
    if fetched is None or not fetched[1].size:
        return None
    tile = Tile(level=None, index=0, width=min(TILE_WIDTH, fetched[1].size))
    leaves = yield from fetch_leaves(origin, tile, 0, 0, branch)
    return leaves[0]


def pull_certified(origin: Origin, versions: Sequence[int], branch: str = MAIN) -> Procedure[list[bytes]]:
    """Fetch a log's transitions into these roster versions, then its newest certified checkpoint.

    Whatever a peer has of them, in the order in which `Certification.take` wants it; nothing is checked here.
    """
    files = [*map(transition_file, versions), "checkpoint.certified"]
    notes = []
    for file in files:
        path = format_tree_path(LogPath(origin.agency, origin.era, branch, file))
        notes.append((yield from fetch_file(path)))
    return [note for note in notes if note is not None]


def _key_of_opening(state: ChainState, opening: bytes) -> NoteVerifier:
    opened, [judged] = extend(state, [opening], lambda entry_id: False)
    key = log_key(opened)
    if key is None:
        raise Refused(judged.violations) if judged.violations else Unproven("no opening at index 0")
    return key


class Mirror:
    """One branch of a log in this node's store."""

    def __init__(
        self,
        database: Database,
        store: LogStore,
        state: ChainState,
        *,
        branch: str = MAIN,
        before: Seen = lambda entry_id: False,
    ) -> None:
        """``state`` is that of the store (`StoredLogs.state`), ``before`` says what the eras before it hold.

        Of a branch that is not the main one leaves are kept that break a rule: they were signed, and are no
        part of any log.
        """
        self.state = state
        self.branch = branch
        self.is_before = before
        self._database = database
        self._store = store

    @property
    def origin(self) -> Origin:
        """The log that is mirrored."""
        return self.state.origin

    def held_bytes(self) -> int:
        """Return how many bytes of the newest bundle are held: where a pull goes on reading."""
        size = self.state.size
        return self._store.bundle_offset(str(self.origin), size, self.branch) if size else 0

    def take(
        self, pulled: Pulled, check_signatures: VerifyMany, settle: Callable[[], None] = lambda: None
    ) -> int:
        """Judge and store what was pulled; return how many leaves are new.

        ``settle`` writes first in the same transaction.

        Raises `Refused` (an invalid leaf), `Unproven` (a false checkpoint, or another history than the one
        held), `Undecided`; the store is then as before.
        """
        if pulled.start != self.state.size:
            return 0  # another pull was faster
        state, judged, checkpoint, note = self.judge(self.state, pulled, check_signatures, ())
        if pulled.leaves:
            self._store_leaves(pulled, judged, checkpoint, note, settle)
            self.state = state
        return len(pulled.leaves)

    def judge(
        self, state: ChainState, pulled: Pulled, check_signatures: VerifyMany, seen: Container[bytes]
    ) -> tuple[ChainState, list[Judged], Checkpoint, bytes]:
        """Judge what was pulled behind ``state``; return the state after it, verdicts, checkpoint and note.

        Nothing is stored. ``state`` may be beyond what is stored: ``seen`` has the entry ids between. Raises
        what `take` does.
        """

        def is_seen(entry_id: bytes) -> bool:
            return entry_id in seen or self._seen(entry_id)

        state, judged = extend(state, pulled.leaves, is_seen, check_signatures)
        found = [one for leaf in judged for one in leaf.violations]
        false = [one for one in found if one.rule.error is not Undecided]
        if false and self.branch == MAIN:
            raise Refused(tuple(false))
        if len(found) > len(false):
            raise Undecided(str(next(one for one in found if one not in false)))
        key = log_key(state)
        if key is None:
            raise Undecided(f"{self.origin} has no opening yet")
        checkpoint, note = open_checkpoint(pulled.note, key)
        self._check_root(state, checkpoint, pulled.consistency)
        return state, judged, checkpoint, keep_lines(note, key)

    def _store_leaves(
        self,
        pulled: Pulled,
        judged: list[Judged],
        checkpoint: Checkpoint,
        note: bytes,
        settle: Callable[[], None],
    ) -> None:
        """Store leaves, and the checkpoint (as its log signed it) once all below it are there."""
        origin = str(self.origin)
        leaves = [stored_leaf(*pair) for pair in zip(judged, pulled.leaves, strict=True)]
        with self._database.transaction():
            settle()
            self._store.append(origin, leaves, self.branch)
            if pulled.start + len(leaves) == checkpoint.size:
                self._store.put_checkpoint(origin, note, checkpoint.size, checkpoint.root, branch=self.branch)

    def _check_root(self, state: ChainState, checkpoint: Checkpoint, consistency: tuple[bytes, ...]) -> None:
        """Raise `Unproven` unless the leaves up to ``state`` and the checkpoint are of one history."""
        size, root = state.size, state.tree.root()
        if checkpoint.size > size:
            check_consistency(size, checkpoint.size, consistency, root, checkpoint.root)
            return
        if checkpoint.size < size:
            root = root_at(self._store.reader(str(self.origin), self.branch), checkpoint.size)
        if root != checkpoint.root:
            raise Unproven(
                f"{self.origin}: two histories are signed by its log key: the checkpoint of size "
                f"{checkpoint.size} has root {checkpoint.root.hex()}, the leaves held give {root.hex()}"
            )

    def _seen(self, entry_id: bytes) -> bool:
        return (
            self.is_before(entry_id)
            or self._store.find_entry(str(self.origin), entry_id, self.branch) is not None
        )
