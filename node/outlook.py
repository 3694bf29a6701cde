"""What a node shows of its logs in its frontier, and which of what others show is news to it."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.names import Origin
from ledger.roster import Roster
from node.config import Config
from node.copies import Copies
from node.database import Database
from node.forks import Forks
from node.frontier import FrontierHistory, Row
from node.log_store import LogStore
from node.mirror import Mirror
from node.static_tree import StaticTree
from node.stored_logs import StoredLogs
from node.witness import Witness


class Outlook:
    """The part of a node that compares itself with others; `node.wiring.Node` is the whole."""

    config: Config
    rosters: list[Roster]
    origin: Origin
    frontier: FrontierHistory
    tree: StaticTree
    store: LogStore
    stored: StoredLogs
    copies: Copies
    forks: Forks
    witness: Witness
    _database: Database
    _seen_changes: tuple[int, int, int]

    def logs(self) -> list[Origin]:
        """Every log that this node holds, its own first."""
        raise NotImplementedError

    def copy_of(self, origin: Origin) -> Mirror | None:
        """The copy that a pull of this log fills."""
        raise NotImplementedError

    def lacks(self, origin: Origin) -> bool:
        """Whether an era of an agency of the roster is not held at all, and worth asking for."""
        is_own = origin.agency == self.config.agency
        if origin.agency not in self.rosters[-1].agencies or (is_own and origin.era <= self.origin.era):
            return False
        return self.copies.of(origin) is None and self.copies.is_within_reach(origin)

    def show_frontier(self) -> bool:
        """Let the frontier say what is shown now; return whether that is news."""
        newest = self.rosters[-1]
        changes = (self._database.changes, self.tree.changes, newest.version)
        if changes == self._seen_changes:
            return False
        self._seen_changes = changes
        rows = sorted((self._row(origin) for origin in self.logs()), key=lambda row: row.log)
        return self.frontier.show((newest.version, newest.hash), rows)

    def _row(self, origin: Origin) -> Row:
        shown = self.tree.published(origin)
        size, root = (0, b"") if shown is None else (shown[1].size, shown[1].root)
        return Row(
            agency=origin.agency,
            era=origin.era,
            size=size,
            root=root,
            certified_size=min(size, self.store.certified_size(str(origin))),
            cosigned_size=self.witness.latest(str(origin)).size,
            forks=self.forks.count(origin),
        )

    def news(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of another node that are ahead of what is held here, or of another history."""
        return [row for row in rows if row.size and self._is_news(Origin(self.config.ledger, *row.log), row)]

    def is_ahead(self, row: Row) -> bool:
        """Whether another node shows more leaves of a log, or more of it certified, than is held here.

        A look at memory only: it is asked each time that pulls are scheduled.
        """
        origin = Origin(self.config.ledger, *row.log)
        mirror, own = self.copy_of(origin), self.frontier.row(row.log)
        if mirror is None:
            return self.lacks(origin)
        if self.forks.is_head(origin, row.size, row.root):
            return False
        return row.size > mirror.state.size or own is None or row.certified_size > own.certified_size

    def _is_news(self, origin: Origin, row: Row) -> bool:
        if origin != self.origin and self.copy_of(origin) is None:
            return self.lacks(origin)
        if self.stored.holding(origin, row.size, row.root) is None:
            return True
        own = self.frontier.row(row.log)
        return own is not None and row.certified_size > own.certified_size
