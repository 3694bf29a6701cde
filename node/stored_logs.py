"""What the store holds of each agency's log: its eras end to end, their branches, the state at any size.

An agency's log is the main branch of its newest era with, below that, what its opening keeps, and so on. What
is kept may lie on any branch of any earlier era. Leaves of a main branch were all judged valid before they
were stored; on other branches one that broke a rule stands too, and what it says has no effect here either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ledger.authority import Authority, apply
from ledger.branches import START, Branches
from ledger.chain import ChainState, Judged, Moving, Seen, open_era, open_log, reconcile_of
from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed, Undecided
from ledger.governance import Reconcile, parse_governance
from ledger.leaf import Leaf, parse_leaf
from ledger.merkle import CompactRange, HashReader, leaf_hash, range_at, root_at
from ledger.names import Head, Origin, Place, parse_origin
from ledger.note import parse_note
from ledger.roster import Ends, Roster
from node.log_store import MAIN, LogStore, StoredLeaf

Rosters = Mapping[bytes, Roster]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBranch:
    """One branch up to its newest checkpoint: `ledger.branches.BranchReader` and `ledger.fork.History`."""

    store: LogStore
    origin: Origin
    name: str
    """``""`` for the main branch, else the hash of its first own leaf, in hex."""
    head: Head
    note: bytes
    kept: Head | None

    @property
    def reader(self) -> HashReader:
        """See `BranchReader`."""
        return self.store.reader(str(self.origin), self.name)

    def root_at(self, size: int) -> bytes | None:
        """See `BranchReader`."""
        return root_at(self.reader, size) if size <= self.head.size else None

    def leaves(self, start: int, end: int) -> Iterable[bytes]:
        """See `BranchReader`."""
        return self.store.leaves(str(self.origin), start, end, self.name)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The first ``size`` leaves of one branch of one era."""

    origin: Origin
    branch: str
    size: int


class StoredLogs:
    """The logs in one store, read afresh each time."""

    def __init__(self, store: LogStore, ledger_id: bytes, rosters: Callable[[], Rosters]) -> None:
        """``rosters`` gives the versions in hand, by hash."""
        self._store = store
        self._ledger_id = ledger_id
        self._rosters = rosters

    def eras(self, agency: str) -> list[Origin]:
        """Return the eras of an agency that have leaves here, the oldest first."""
        found = (parse_origin(name) for name in self._store.origins())
        return sorted(origin for origin in found if origin.agency == agency and self._store.size(str(origin)))

    def of_era(self, origin: Origin) -> list[StoredBranch]:
        """Return the branches of an era that have a signed checkpoint, the main one first."""
        found = (self.branch(origin, name) for name in self._store.branches(str(origin)))
        return [one for one in found if one is not None]

    def branch(self, origin: Origin, name: str) -> StoredBranch | None:
        """Return a branch up to its newest checkpoint, or None."""
        note = self._store.newest_checkpoint(str(origin), name)
        if note is None:
            return None
        checkpoint = parse_checkpoint(parse_note(note).text)
        head = Head(origin.era, checkpoint.size, checkpoint.root)
        reconcile = self.kept(origin, name)
        kept = reconcile.kept if reconcile else None
        return StoredBranch(store=self._store, origin=origin, name=name, head=head, note=note, kept=kept)

    def branches(self, agency: str) -> Branches:
        """Return every branch of every era of an agency."""
        return Branches(one for origin in self.eras(agency) for one in self.of_era(origin))

    def kept(self, origin: Origin, branch: str = MAIN) -> Reconcile | None:
        """Return what the opening of a later era says of those before; None in era 1."""
        if origin.era == 1:
            return None
        return reconcile_of(parse_leaf(self._store.leaf(str(origin), 0, branch)))

    def holding(self, origin: Origin, size: int, root: bytes) -> str | None:
        """Return the branch of an era whose first ``size`` leaves have this root, or None."""
        for name in self._store.branches(str(origin)):
            held = self._store.size(str(origin), name)
            if size <= held and root_at(self._store.reader(str(origin), name), size) == root:
                return name
        return None

    def state(self, origin: Origin, branch: str = MAIN, size: int | None = None) -> ChainState:
        """Return the state after the first ``size`` leaves (all, if None) of a branch."""
        name = str(origin)
        size = self._store.size(name, branch) if size is None else size
        if size == 0 and origin.era == 1:
            return self.empty(origin)
        reconcile = self.kept(origin, branch)
        start = self.empty(origin)
        if reconcile is not None:
            start = self.open_era(origin, reconcile.kept)
        if size == 0:
            return start
        [head] = self._store.hashes(name, 0, size - 1, 1, branch)
        return replace(
            start,
            authority=self._authority(origin, branch, size, start.authority),
            tree=range_at(self._store.reader(name, branch), size),
            head=head,
            hour=max(start.hour, self._hour(origin, branch, size)),
            moving=self._moving(origin, branch, size, reconcile),
        )

    def empty(self, origin: Origin) -> ChainState:
        """Return the state of an era 1 without leaves."""
        return open_log(self._ledger_id, origin, self._rosters())

    def open_era(self, origin: Origin, kept: Head) -> ChainState:
        """Return the state before an era that keeps ``kept``; `Undecided` if that is not here."""
        first = Origin(origin.ledger, origin.agency)
        if kept == START:
            return open_era(self.empty(first), origin.era)
        place = self._find(origin, kept)
        return open_era(self.state(place.origin, place.branch, place.size), origin.era)

    def history(self, origin: Origin, branch: str = MAIN) -> Iterator[Stretch]:
        """Yield what counts, the newest era first: the branch, what its opening keeps, and so on."""
        if self._store.size(str(origin), branch) == 0:
            return
        place = Stretch(origin, branch, self._store.size(str(origin), branch))
        while True:
            yield place
            reconcile = self.kept(place.origin, place.branch)
            if reconcile is None or reconcile.kept == START:
                return
            place = self._find(place.origin, reconcile.kept)

    def below(self, origin: Origin, kept: Head) -> list[Stretch]:
        """Return what an era that keeps ``kept`` goes on from, the newest era first."""
        if kept == START:
            return []
        place = self._find(origin, kept)
        return [place, *list(self.history(place.origin, place.branch))[1:]]

    def find_entry(self, history: Iterable[Stretch], entry_id: bytes) -> tuple[Stretch, int] | None:
        """Return where in a history an entry stands, or None."""
        for place in history:
            index = self._store.find_entry(str(place.origin), entry_id, place.branch)
            if index is not None and index < place.size:
                return place, index
        return None

    def seen(self, history: list[Stretch]) -> Seen:
        """Return whether an entry stands in a history."""
        return lambda entry_id: self.find_entry(history, entry_id) is not None

    def leaf(self, origin: Origin, place: Place) -> Leaf | None:
        """Return the leaf at a place of the log that ends with this era; None if none is there."""
        for one in self.history(origin):
            if one.origin.era == place.era and place.index < one.size:
                return parse_leaf(self._store.leaf(str(one.origin), place.index, one.branch))
        return None

    def is_cut_off(self, origin: Origin, rosters: Iterable[Roster]) -> bool:
        """Whether a roster version that ends the agency leaves this era out of its log."""
        reconcile = self.kept(origin)
        if reconcile is None:
            return False
        adopted = self.state(origin, size=1).authority.roster
        ends = ((one.version, one.ends.get(origin.agency)) for one in rosters)
        return any(end and _cuts(origin.era, adopted, version, end) for version, end in ends)

    def _find(self, origin: Origin, head: Head) -> Stretch:
        earlier = replace(origin, era=head.era)
        branch = self.holding(earlier, head.size, head.root)
        if branch is None:
            raise Undecided(f"the {head.size} entries of {earlier} that {origin} keeps are not here yet")
        return Stretch(earlier, branch, head.size)

    def _authority(self, origin: Origin, branch: str, size: int, authority: Authority) -> Authority:
        """Fold the public entries that took effect: each was judged when it was stored."""
        for index, raw in self._store.governance(str(origin), branch):
            if index >= size:
                break
            leaf = parse_leaf(raw)
            records = [(parse_governance(body), body) for body in leaf.entry.bodies]
            for record, body in records:
                authority = apply(authority, record, body, leaf.header.author, Place(origin.era, index))
        return authority

    def _hour(self, origin: Origin, branch: str, size: int) -> int:
        """The hour of the last leaf that is one."""
        for index in range(size - 1, -1, -1):
            with suppress(Malformed):
                return parse_leaf(self._store.leaf(str(origin), index, branch)).received_hour
        return 0

    def _moving(self, origin: Origin, branch: str, size: int, reconcile: Reconcile | None) -> Moving | None:
        first = next(iter(self._store.governance(str(origin), branch)), None)
        if reconcile is None or first is None or first[0] != 0:
            return None
        count, root = reconcile.carried
        tree = CompactRange()
        for raw in self._store.leaves(str(origin), 1, min(size, 1 + count), branch):
            tree.append(_moved_hash(raw))
        return Moving(hour=reconcile.hour, count=count, root=root, tree=tree)


def stored_leaf(judged: Judged, raw: bytes) -> StoredLeaf:
    """Return a judged leaf as the store takes it; what breaks a rule has no effect on who may write."""
    header = judged.leaf.header if judged.leaf else None
    return StoredLeaf(
        index=judged.index,
        leaf=raw,
        leaf_hash=judged.hash,
        entry_id=header.entry_id if header else None,
        governance=header is not None and header.is_public and not judged.violations,
    )


def load_state(store: LogStore, ledger_id: bytes, origin: Origin, rosters: Rosters) -> ChainState:
    """Return the state of a log's main branch as the store holds it; of an empty later era `Undecided`."""
    return StoredLogs(store, ledger_id, lambda: rosters).state(origin)


def _moved_hash(raw: bytes) -> bytes:
    """By what a moved leaf counts among those announced: its entry, or its own hash if it is none."""
    try:
        return leaf_hash(parse_leaf(raw).header.entry_id)
    except Malformed:
        return leaf_hash(raw)


def _cuts(era: int, adopted: Roster | None, version: int, end: Ends) -> bool:
    """Whether an era lies beyond where a version ends the log, or (by the old root key) ignores it."""
    if era >= end.next_era:
        return adopted is not None and adopted.version < version
    return era > end.head.era
