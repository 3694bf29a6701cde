"""The static tree as this node serves it: `ledger.tree.Source` over its own stores.

Of each log it shows what lies below the published checkpoint, in full tiles and any partial width up to it.
The own log's checkpoint is published on a tick, not at each commit, so that a reader cannot watch a teacher
at work; others' logs are shown as they were last taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Undecided
from ledger.governance import Card, parse_governance
from ledger.leaf import parse_leaf
from ledger.names import Origin
from ledger.note import format_vkey, parse_note, verifier_of
from ledger.tiles import TILE_WIDTH, Tile
from ledger.tree import LogPath, RosterPath, parse_tree_path
from node.log_store import LogStore


class StaticTree:
    """Files of the path grammar, by path, from the stores."""

    def __init__(self, store: LogStore, ledger: str, rosters: Mapping[int, tuple[bytes, bytes]]) -> None:
        """``rosters`` maps each version to its exact bytes and signatures."""
        self._store = store
        self._ledger = ledger
        self._rosters = rosters
        self._published: dict[str, tuple[bytes, Checkpoint]] = {}

    def publish(self, origin: Origin) -> None:
        """Show the log's newest checkpoint from now on."""
        note = self._store.newest_checkpoint(str(origin))
        shown = self._published.get(str(origin))
        if note is not None and (shown is None or shown[0] != note):
            self._published[str(origin)] = note, parse_checkpoint(parse_note(note).text)

    def add_roster(self, version: int, pair: tuple[bytes, bytes]) -> None:
        """Show a later roster version too."""
        self._rosters = {**self._rosters, version: pair}

    def published(self, origin: Origin) -> tuple[bytes, Checkpoint] | None:
        """Return the checkpoint shown of a log, or None."""
        return self._published.get(str(origin))

    def read(self, path: str) -> bytes | None:
        """Return a file, or None if the path is outside the grammar or not (yet) there.

        Raises `StoreError` where the disk fails: "not there" would be a false answer to whoever asks what is
        held of its log.
        """
        try:
            parsed = parse_tree_path(path)
            if isinstance(parsed, RosterPath):
                pair = self._rosters.get(parsed.version)
                return None if pair is None else pair[parsed.is_note]
            return self._read_log(parsed)
        except (Malformed, Undecided):  # outside the grammar, or leaves that are not held
            return None

    def _read_log(self, path: LogPath) -> bytes | None:
        origin = Origin(self._ledger, path.agency, path.era)
        shown = self.published(origin)
        if shown is None or path.branch:
            return None
        note, checkpoint = shown
        if path.file == "checkpoint":
            return note
        if path.file == "vkey":
            return self._vkey(origin)
        return self._tile(origin, path.file, checkpoint.size) if isinstance(path.file, Tile) else None

    def _tile(self, origin: Origin, tile: Tile, size: int) -> bytes | None:
        end = (tile.index * TILE_WIDTH + tile.width) * TILE_WIDTH ** (tile.level or 0)
        if end > size:
            return None
        if tile.level is None:
            return self._store.bundle(str(origin), tile.index, tile.width)
        return self._store.tile(str(origin), tile.level, tile.index, tile.width)

    def _vkey(self, origin: Origin) -> bytes | None:
        opening = parse_leaf(self._store.leaf(str(origin), 0))
        for body in opening.entry.bodies:
            record = parse_governance(body)
            if isinstance(record, Card):
                return f"{format_vkey(verifier_of(str(origin), record.log_key))}\n".encode()
        return None
