"""Evidence of forks and unexplained notes, by log: never more of an era than `kept_evidence` keeps.

Which notes and branches a node happened to meet decides what it holds; what is kept of it does not depend on
the order. Writing methods run inside the caller's transaction.
"""

from __future__ import annotations

from ledger.checkpoint import Checkpoint
from ledger.fork import Fork, kept_evidence, parse_evidence
from ledger.tree import PIECES_MAX
from node.database import Database, Schema

SCHEMA = Schema(
    part="evidence",
    steps=(
        (
            "CREATE TABLE evidence (origin TEXT NOT NULL, piece BLOB NOT NULL, "
            "PRIMARY KEY (origin, piece)) WITHOUT ROWID",
            "CREATE TABLE unproven (origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, "
            "note BLOB NOT NULL, PRIMARY KEY (origin, size, root)) WITHOUT ROWID",
        ),
    ),
)


class EvidenceStore:
    """Pieces in one database."""

    def __init__(self, database: Database) -> None:
        """``database`` was opened with `SCHEMA`."""
        self._database = database

    def pieces(self, origin: str) -> list[bytes]:
        """Return the evidence of a log in its order: by (index, bytes)."""
        rows = self._database.rows("SELECT piece FROM evidence WHERE origin = ?", (origin,))
        return [fork.evidence for fork in kept_evidence(parse_evidence(bytes(row[0])) for row in rows)]

    def is_any(self, origin: str) -> bool:
        """Whether there is evidence of a fork of this log."""
        return self._database.row("SELECT 1 FROM evidence WHERE origin = ? LIMIT 1", (origin,)) is not None

    def put(self, fork: Fork) -> bool:
        """Keep a checked piece if it is among those of its era that are kept; return whether it is new."""
        origin, held = str(fork.origin), self.pieces(str(fork.origin))
        if fork.evidence in held:
            return False
        kept = {one.evidence for one in kept_evidence([*map(parse_evidence, held), fork])}
        for piece in set(held) - kept:
            self._database.write("DELETE FROM evidence WHERE origin = ? AND piece = ?", (origin, piece))
        if fork.evidence in kept:
            self._database.write(
                "INSERT INTO evidence (origin, piece) VALUES (?, ?)", (origin, fork.evidence)
            )
        return fork.evidence in kept

    def unproven(self, origin: str) -> list[bytes]:
        """Return the notes whose leaves nobody showed, by (size, root)."""
        rows = self._database.rows(
            "SELECT note FROM unproven WHERE origin = ? ORDER BY size, root", (origin,)
        )
        return [bytes(row[0]) for row in rows]

    def put_unproven(self, checkpoint: Checkpoint, note: bytes) -> bool:
        """Keep a note signed by its log, of an era at most `PIECES_MAX`; return whether it is new."""
        count = self._database.row("SELECT COUNT(*) FROM unproven WHERE origin = ?", (checkpoint.origin,))
        if count is None or count[0] >= PIECES_MAX:
            return False
        written = self._database.write(
            "INSERT OR IGNORE INTO unproven (origin, size, root, note) VALUES (?, ?, ?, ?)",
            (checkpoint.origin, checkpoint.size, checkpoint.root, note),
        )
        return written > 0

    def explain(self, origin: str, size: int, root: bytes) -> None:
        """Forget an unproven note: its leaves are held now."""
        self._database.write(
            "DELETE FROM unproven WHERE origin = ? AND size = ? AND root = ?", (origin, size, root)
        )
