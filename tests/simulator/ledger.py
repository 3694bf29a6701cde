"""Who is who in a run: which agencies are honest, and what is therefore asked of their logs."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.names import parse_origin
from ledger.roster import quorum_of
from tests.simulator.host import Host
from tests.simulator.staff import Staff


class Broken(Exception):
    """An invariant does not hold."""


@dataclass
class Ledger:
    """Who is what, in this run."""

    hosts: dict[str, Host]
    staff: dict[str, Staff]
    contested: set[str] = field(default_factory=set)
    """Agencies whose log key signed, or may sign, more than one history."""
    restored: set[str] = field(default_factory=set)
    """Machines whose disk was put back to an older state."""
    liars: set[str] = field(default_factory=set)

    def honest_hosts(self) -> list[Host]:
        """Machines that nobody forked; a liar's own store is as honest as any."""
        return [host for name, host in self.hosts.items() if host.config.agency not in self.contested]

    def is_followed(self, host: Host) -> bool:
        """Whether the log of this machine must be the same at all others in the end."""
        return (
            host.config.agency not in self.contested
            and host.name not in self.liars
            and host.name not in self.restored
        )

    def is_honest(self, origin: str) -> bool:
        """Whether the key of this log signed one history only."""
        return parse_origin(origin).agency not in self.contested

    @property
    def quorum(self) -> int:
        """Agencies that certify a checkpoint, of those that the roster names."""
        return quorum_of(len({host.config.agency for host in self.hosts.values()}))
