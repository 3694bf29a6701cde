"""This node's copies of logs: one for each era of each other agency, and for its own eras that have ended.

The first leaf of a later era says what it keeps, and only from there can it be judged: `Copies.begin` makes
a copy for an opening that is in hand, and it is one of the copies once its leaves are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.chain import reconcile_of
from ledger.errors import Malformed
from ledger.leaf import parse_leaf
from ledger.merkle import leaf_hash
from ledger.names import Origin
from ledger.roster import Roster
from node.database import Database
from node.log_store import MAIN, LogStore
from node.mirror import Mirror
from node.rosters import with_rosters
from node.stored_logs import StoredLogs, Stretch

ERAS_AHEAD_MAX = 8
"""How far beyond the newest era held another's word is followed: an honest agency opens one at a time."""


class Copies:
    """The copies in one store, by origin."""

    def __init__(self, database: Database, store: LogStore, logs: StoredLogs, ledger: str) -> None:
        """Holds none until `load` is called for an agency."""
        self._database = database
        self._store = store
        self._logs = logs
        self._ledger = ledger
        self._mirrors: dict[Origin, Mirror] = {}
        self._cut_off: frozenset[Origin] = frozenset()

    def load(self, agency: str, *, below: int | None = None) -> None:
        """Take up what the store holds of an agency, and era 1 whether it does or not.

        ``below``: only eras before this one (the own log's is the sequencer's).
        """
        held = self._logs.eras(agency)
        first = Origin(self._ledger, agency)
        for origin in held if held[:1] == [first] else [first, *held]:
            if origin not in self._mirrors and (below is None or origin.era < below):
                self._mirrors[origin] = self.branch(origin)

    def of(self, origin: Origin) -> Mirror | None:
        """Return the copy of an era, or None."""
        return self._mirrors.get(origin)

    def of_agency(self, agency: str) -> list[Mirror]:
        """Return the copies of an agency's eras, the oldest first."""
        found = [origin for origin in self._mirrors if origin.agency == agency]
        return [self._mirrors[origin] for origin in sorted(found)]

    def all(self) -> list[Mirror]:
        """Return every copy, in the order in which they were taken up."""
        return list(self._mirrors.values())

    def newest(self, agency: str) -> Mirror:
        """Return the copy of the era in which an agency's log ends: the newest that no roster cuts off."""
        found = self.of_agency(agency)[::-1]
        return next((one for one in found if one.origin not in self._cut_off), found[-1])

    def judge_ends(self, rosters: Sequence[Roster]) -> None:
        """Note which eras these versions cut off."""
        ended = {name for one in rosters for name in one.ends}
        held = (origin for origin in self._mirrors if origin.agency in ended)
        self._cut_off = frozenset(origin for origin in held if self._logs.is_cut_off(origin, rosters))

    def is_within_reach(self, origin: Origin) -> bool:
        """Whether an era that is not held is worth asking for."""
        newest = max((one.origin.era for one in self.of_agency(origin.agency)), default=1)
        return origin.era <= newest + ERAS_AHEAD_MAX

    def branch(self, origin: Origin, name: str = MAIN) -> Mirror:
        """Return a copy that goes on with a branch which is stored (or with an empty era 1)."""
        history = list(self._logs.history(origin, name))[1:]
        state = self._logs.state(origin, name)
        before = self._logs.seen(history)
        return Mirror(self._database, self._store, state, branch=name, before=before)

    def part(self, origin: Origin, parent: str, start: int, first: bytes) -> Mirror:
        """Return a copy of a branch that is not stored yet: it leaves ``parent`` at ``start``.

        ``first`` is its leaf there. `Undecided` if what its opening keeps is not here.
        """
        name = name_of(first)
        if start == 0:
            fresh = self.begin(origin, first)
            return Mirror(self._database, self._store, fresh.state, branch=name, before=fresh.is_before)
        state = self._logs.state(origin, parent, start)
        below = list(self._logs.history(origin, parent))[1:]
        before = self._logs.seen([Stretch(origin, parent, start), *below])
        return Mirror(self._database, self._store, state, branch=name, before=before)

    def begin(self, origin: Origin, opening: bytes) -> Mirror:
        """Return an empty copy of an era that begins with the leaf ``opening``.

        `Undecided` if what it keeps is not here, `Malformed` if it says nothing of that.
        """
        if origin.era == 1:
            return self.branch(origin)
        reconcile = reconcile_of(parse_leaf(opening))
        if reconcile is None:
            raise Malformed(f"the first entry of {origin} does not say what it keeps")
        state = self._logs.open_era(origin, reconcile.kept)
        before = self._logs.seen(self._logs.below(origin, reconcile.kept))
        return Mirror(self._database, self._store, state, before=before)

    def keep(self, mirror: Mirror) -> None:
        """Count a copy that was begun among the others, once it has leaves."""
        self._mirrors.setdefault(mirror.origin, mirror)

    def forget(self, origin: Origin) -> None:
        """Take a copy out: the sequencer goes on from there."""
        self._mirrors.pop(origin, None)

    def use_rosters(self, rosters: Sequence[Roster]) -> None:
        """Judge under these versions from now on."""
        for mirror in self._mirrors.values():
            mirror.state = with_rosters(mirror.state, rosters)


def name_of(first: bytes) -> str:
    """Return the name of the branch whose first own leaf this is."""
    return leaf_hash(first).hex()
