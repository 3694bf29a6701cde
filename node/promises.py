"""What binds this node's witness: whether eras and forks leave it free to cosign a checkpoint.

The rule is ``ledger.may_cosign``; here its facts are gathered from the stores. What this node cosigned of a
log binds it under every witness key that it ever had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger.branches import Branches
from ledger.errors import Undecided
from ledger.may_cosign import Known, is_given_up, why_not_cosign
from ledger.names import Head, Origin, witness_key_name
from ledger.note import parse_line
from ledger.roster import Ends, Roster
from node.database import Database
from node.forks import Forks
from node.log_store import LogStore
from node.stored_logs import StoredLogs


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """The cosignatures that this node, ``agency``, has given."""

    database: Database
    store: LogStore
    logs: StoredLogs
    forks: Forks
    agency: str
    rosters: Callable[[], Sequence[Roster]]

    def why_not(self, origin: Origin, size: int, root: bytes) -> str | None:
        """Return why a checkpoint must not be cosigned, or None. `Undecided` if that is not known yet."""
        eras = self.logs.eras(origin.agency)
        rosters = self.rosters()
        branches = self.logs.branches(origin.agency)
        known = Known(
            branches=branches,
            newest_era=max((one.era for one in eras if not self.logs.is_cut_off(one, rosters)), default=1),
            forked_eras={one.era for one in eras if self.forks.is_forked(one)},
            cosigned=[own for own in self._cosigned(eras) if not self._is_given_up(own, origin, branches)],
            ends=self._ends(origin),
        )
        candidate = Head(origin.era, size, root)
        return why_not_cosign(candidate, known) if size else None

    def last_cosigned(self, agency: str) -> dict[str, list[Head]]:
        """Return, by agency, the checkpoints of a log on which a cosignature of its witness is kept."""
        found: dict[str, list[Head]] = {}
        names = {witness_key_name(one.ledger, name): name for one in self.rosters() for name in one.agencies}
        for origin in self.logs.eras(agency):
            for branch in self.logs.of_era(origin):
                for size, line in self.store.all_cosignatures(str(origin), branch.name):
                    root = branch.root_at(size)
                    name = names.get(parse_line(line).name)
                    if name is not None and root is not None:
                        found.setdefault(name, []).append(Head(origin.era, size, root))
        return found

    def _cosigned(self, eras: Sequence[Origin]) -> Iterator[Head]:
        for origin in eras:
            rows = self.database.rows("SELECT size, root FROM cosigned WHERE origin = ?", (str(origin),))
            yield from (Head(origin.era, size, bytes(root)) for size, root in rows if size)

    def _is_given_up(self, own: Head, origin: Origin, branches: Branches) -> bool:
        if not self.forks.is_forked(Origin(origin.ledger, origin.agency, own.era)) and own.era == origin.era:
            return False
        place = Origin(origin.ledger, origin.agency, own.era)
        name = self.logs.holding(place, own.size, own.root)
        if name is None:
            raise Undecided(f"what was cosigned of {place} at {own.size} entries is not here any more")
        standing = self.logs.state(place, name, own.size).authority.roster
        agencies = standing.agencies if standing else {}
        cosigned = self.last_cosigned(origin.agency)
        return is_given_up(own, cosigned, branches, agencies=agencies, node=self.agency, owner=origin.agency)

    def _ends(self, origin: Origin) -> list[Ends]:
        """What the roster versions up to the one that the era adopts last say of its agency."""
        ending = [one for one in self.rosters() if origin.agency in one.ends]
        adopted = self.logs.state(origin).authority.roster if ending else None
        version = adopted.version if adopted else 0
        return [one.ends[origin.agency] for one in ending if one.version <= version]
