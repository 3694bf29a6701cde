"""What each branch held of an agency's log is to that log: part of it, open, closed, late; and what is owed.

The rule is ``ledger.lineage``; here its facts are gathered from the stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ledger import lineage
from ledger.lineage import Lists
from ledger.names import Head, Origin
from node.parallel import verify_many
from node.promises import Promises
from node.stored_logs import StoredBranch, StoredLogs


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchStanding:
    """A branch as a plan and the status tell of it."""

    era: int
    name: str
    size: int
    root: bytes
    parts_at: int
    """The first index that the log does not share; the size for a branch that it has whole."""
    certified_size: int
    standing: str
    """part, ended, open, closed or late (`ledger.lineage.standing`)."""

    @property
    def value(self) -> dict[str, Any]:
        """The branch as JSON holds it."""
        return {
            "era": self.era,
            "name": self.name,
            "size": self.size,
            "root": self.root.hex(),
            "parts_at": self.parts_at,
            "certified_size": self.certified_size,
            "standing": self.standing,
        }


def branches_of(promises: Promises, own: Origin) -> Iterator[BranchStanding]:
    """Yield every branch of every era of an agency that is held, and what it is to the log."""
    stored, rosters = promises.logs, promises.rosters()
    branches = stored.branches(own.agency)
    newest = stored.branch(own, "")
    if newest is None:
        return
    log = branches.history(newest.head)
    ends = [one.ends[own.agency] for one in rosters if own.agency in one.ends]
    settled, closes = _settled(promises, own), list(_closes(stored, own))
    for branch in branches.all:
        assert isinstance(branch, StoredBranch)
        head = branch.head
        word = lineage.standing(branches, head, log, settled=settled, closes=closes, ends=ends)
        at = branches.parting(log, branches.history(head))
        yield BranchStanding(
            era=head.era,
            name=branch.name,
            size=head.size,
            root=head.root,
            parts_at=head.size if at is None or word == "part" else at.index if at.era == head.era else 0,
            certified_size=promises.store.certified_size(str(branch.origin), branch.name),
            standing=word,
        )


def owed(promises: Promises, own: Origin) -> list[bytes]:
    """Return the entries of late branches that the log of an agency lacks and never set aside."""
    stored = promises.logs
    if len(stored.branches(own.agency).all) < 2:
        return []
    late = [one for one in branches_of(promises, own) if one.standing == "late"]
    if not late:
        return []
    in_log = stored.seen(list(stored.history(own)))
    aside = {one.entry_id for lists in _all_lists(stored, own) for one in lists.set_aside}
    found: dict[bytes, None] = {}
    for one in late:
        branch = stored.branch(replace(own, era=one.era), one.name)
        if branch is not None:
            leaves = branch.leaves(one.parts_at, one.size)
            found |= dict.fromkeys(lineage.owed(leaves, in_log, aside.__contains__))
    return list(found)


def _settled(promises: Promises, own: Origin) -> list[int]:
    """The eras of the log whose opening is certified; with one agency, sequenced."""
    found = []
    for place in promises.logs.history(own):
        roster = promises.logs.state(place.origin, place.branch, 1).authority.roster
        is_alone = roster is not None and len(roster.agencies) == 1
        if is_alone or promises.store.certified_size(str(place.origin), place.branch):
            found.append(place.origin.era)
    return found


def _closes(stored: StoredLogs, own: Origin) -> Iterator[Head]:
    for place in stored.history(own):
        reconcile = stored.kept(place.origin, place.branch)
        yield from reconcile.closes if reconcile else ()


def _all_lists(stored: StoredLogs, own: Origin) -> Iterator[Lists]:
    branches = stored.branches(own.agency)
    for place in stored.history(own):
        reconcile = stored.kept(place.origin, place.branch)
        if reconcile is not None:
            seen = stored.seen([*stored.below(place.origin, reconcile.kept), replace(place, size=1)])
            opened = stored.state(place.origin, place.branch, 1)
            _, lists = lineage.check_lists(opened, reconcile, branches, seen, verify_many)
            if lists is not None:
                yield lists
