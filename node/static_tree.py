"""The static tree as this node serves it: `ledger.tree.Source` over its own stores.

Of each log it shows what lies below the published checkpoint, in full tiles and any partial width up to it.
The own log's checkpoint is published on a tick, not at each commit, so that a reader cannot watch a teacher
at work; others' logs are shown as they were last taken. ``checkpoint`` carries a few of the cosignatures on
it, so that every tool reads it; ``checkpoint.certified`` all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Undecided
from ledger.governance import Card, parse_governance
from ledger.leaf import parse_leaf
from ledger.names import Origin, witness_key_name
from ledger.note import format_vkey, parse_line, parse_note, verifier_of
from ledger.tiles import TILE_WIDTH, Tile
from ledger.tree import LogPath, RosterPath, parse_tree_path
from node.certification import with_lines
from node.evidence_store import EvidenceStore
from node.log_store import LogStore

COSIGNATURES_MAX = 15
"""Beside the log's signature: a C2SP reader must take sixteen lines, and may stop there."""


class StaticTree:
    """Files of the path grammar, by path, from the stores."""

    def __init__(
        self,
        store: LogStore,
        evidence: EvidenceStore,
        ledger: str,
        rosters: Mapping[int, tuple[bytes, bytes]],
        *,
        first: str,
    ) -> None:
        """``rosters`` maps each version to its exact bytes and signatures.

        ``first`` is the name whose cosignature is shown before others: this node's own.
        """
        self._first = first
        self._store = store
        self._evidence = evidence
        self._ledger = ledger
        self._rosters = rosters
        self._published: dict[str, tuple[bytes, Checkpoint]] = {}
        self.changes = 0
        """How often another checkpoint was shown."""

    def publish(self, origin: Origin) -> bool:
        """Show the log's newest checkpoint from now on; return whether that is another one."""
        note = self._store.newest_checkpoint(str(origin))
        shown = self._published.get(str(origin))
        if note is None or (shown is not None and shown[0] == note):
            return False
        self._published[str(origin)] = note, parse_checkpoint(parse_note(note).text)
        self.changes += 1
        return True

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
        if isinstance(path.file, str) and path.file.partition("/")[0] in ("evidence", "unproven"):
            return self._piece(origin, path.file)
        shown = self._branch(origin, path.branch) if path.branch else self.published(origin)
        if shown is None:
            return None
        note, checkpoint = shown
        if isinstance(path.file, Tile):
            return self._tile(origin, path.file, checkpoint.size, path.branch)
        if path.file == "checkpoint":
            return with_lines(note, self._shown_lines(origin, checkpoint.size, path.branch))
        if path.file == "vkey":
            return self._vkey(origin, path.branch)
        return self._kept(origin, path.file, checkpoint.size, path.branch)

    def _piece(self, origin: Origin, file: str) -> bytes | None:
        """A piece of evidence, or a note that nobody explains."""
        kind, _, number = file.partition("/")
        held = self._evidence.pieces if kind == "evidence" else self._evidence.unproven
        pieces = held(str(origin))
        return pieces[int(number)] if int(number) < len(pieces) else None

    def _branch(self, origin: Origin, branch: str) -> tuple[bytes, Checkpoint] | None:
        """What is shown of another branch: all that is held of it."""
        note = self._store.newest_checkpoint(str(origin), branch)
        return None if note is None else (note, parse_checkpoint(parse_note(note).text))

    def _shown_lines(self, origin: Origin, size: int, branch: str) -> list[str]:
        """A few of the cosignatures kept: this node's own, the owner's, then by name."""
        names = (self._first, witness_key_name(self._ledger, origin.agency))
        lines = {line: parse_line(line).name for line in self._store.cosignatures(str(origin), size, branch)}
        return sorted(lines, key=lambda line: _rank(names, lines[line]))[:COSIGNATURES_MAX]

    def _kept(self, origin: Origin, file: str, size: int, branch: str) -> bytes | None:
        """A certified checkpoint, once the one that is shown has reached it."""
        if file == "checkpoint.certified":
            note = self._store.certified_checkpoint(str(origin), branch)
        else:
            note = self._store.transition(str(origin), int(file.rpartition("/")[2]), branch)
        is_shown = note is not None and parse_checkpoint(parse_note(note).text).size <= size
        return note if is_shown else None

    def _tile(self, origin: Origin, tile: Tile, size: int, branch: str) -> bytes | None:
        end = (tile.index * TILE_WIDTH + tile.width) * TILE_WIDTH ** (tile.level or 0)
        if end > size:
            return None
        if tile.level is None:
            return self._store.bundle(str(origin), tile.index, tile.width, branch)
        return self._store.tile(str(origin), tile.level, tile.index, tile.width, branch)

    def _vkey(self, origin: Origin, branch: str) -> bytes | None:
        opening = parse_leaf(self._store.leaf(str(origin), 0, branch))
        for body in opening.entry.bodies:
            record = parse_governance(body)
            if isinstance(record, Card):
                return f"{format_vkey(verifier_of(str(origin), record.log_key))}\n".encode()
        return None


def _rank(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)
