"""What witnesses owe: a cosignature is never taken back, a certified checkpoint never drops out.

A log whose owner is honest is certified to its end once all has come to rest, if a quorum of witnesses is.
Of a log that forked at most one history is certified: no seed makes more than a third of the agencies false.
"""

from __future__ import annotations

from ledger.checkpoint import parse_checkpoint
from ledger.merkle import root_at
from ledger.names import Origin, parse_origin
from ledger.note import parse_note
from node.wiring import Node
from tests.simulator.host import Host
from tests.simulator.ledger import Broken, Ledger
from tests.simulator.trace import Trace


class CertifiedWatch:
    """Remembers what was cosigned and certified, by whom."""

    def __init__(self, ledger: Ledger, trace: Trace) -> None:
        self._ledger = ledger
        self._trace = trace
        self._cosigned: dict[tuple[str, str], int] = {}
        """(machine, origin): the size that its witness cosigned last."""
        self._certified: dict[tuple[str, str], int] = {}
        self._roots: dict[tuple[str, int], bytes] = {}
        """(origin, size): the root that was certified, whoever holds it."""

    def forget(self, machine: str) -> None:
        """Its disk was put back."""
        for known in (self._cosigned, self._certified):
            for held in [held for held in known if held[0] == machine]:
                del known[held]

    def look_at(self, host: Host, node: Node, origin: Origin) -> None:
        """Raise `Broken` if this node took back, contradicted or lost something."""
        held = (host.name, str(origin))
        latest = node.witness.latest(str(origin))
        if latest.size < self._cosigned.get(held, 0):
            raise Broken(f"{host.name} forgot that it cosigned {self._cosigned[held]} of {origin}")
        if latest.size > self._cosigned.get(held, 0):
            self._cosigned[held] = latest.size
            if latest.size > node.store.size(str(origin)) or _root(node, origin, latest.size) != latest.root:
                raise Broken(f"{host.name} cosigned {latest.size} entries of {origin} that it does not hold")
        size, before = node.store.certified_size(str(origin)), self._certified.get(held, 0)
        if size < before:
            raise Broken(f"{host.name} had {before} entries of {origin} certified, now {size}")
        if size > before:
            self._note(host, node, origin, size)

    def check_rest(self) -> None:
        """Raise `Broken` unless each certified checkpoint lies on the one history that all have."""
        for host in self._ledger.honest_hosts():
            node = host.node
            if node is None:
                continue
            for (name, size), root in self._roots.items():
                held = node.store.size(name)
                owner = self._ledger.hosts[parse_origin(name).agency]
                if size <= held and root_at(node.store.reader(name), size) != root:
                    self._contradicted(host, name, size)
                if size > held and self._ledger.is_followed(owner):
                    raise Broken(f"{host.name} holds {held} of {name}, of which {size} were certified")

    def _contradicted(self, host: Host, name: str, size: int) -> None:
        """A node may hold the branch that was not certified, but then it has certified nothing beyond."""
        assert host.node is not None
        if self._ledger.is_honest(name) or host.node.store.certified_size(name) >= size:
            raise Broken(f"{host.name} holds another history of {name} than was certified at {size}")

    def _note(self, host: Host, node: Node, origin: Origin, size: int) -> None:
        name = str(origin)
        raw = node.store.certified_checkpoint(name)
        assert raw is not None
        root = parse_checkpoint(parse_note(raw).text).root
        if _root(node, origin, size) != root or self._roots.setdefault((name, size), root) != root:
            raise Broken(f"{host.name}: two histories of {name} are certified at size {size}")
        self._certified[host.name, name] = size
        self._trace.note("certified", host.name, name, size)


def uncertified(ledger: Ledger, true_hour: int) -> list[str]:
    """What a quorum of honest witnesses has still to certify."""
    found = []
    good = [
        host
        for host in ledger.hosts.values()
        # A wrong clock made an hour that no witness puts its name to, and it cosigns nothing itself.
        if ledger.is_followed(host) and host.node and host.node.sequencer.state.hour <= true_hour + 1
    ]
    if len(good) < ledger.quorum:
        return []
    for owner in good:
        assert owner.node is not None
        name, wanted = str(owner.node.origin), owner.node.store.size(str(owner.node.origin))
        for host in ledger.honest_hosts():
            size = host.node.store.certified_size(name) if host.node is not None else 0
            if size != wanted:
                found.append(f"{host.name} has {size} of {wanted} entries of {name} certified")
    return found


def _root(node: Node, origin: Origin, size: int) -> bytes:
    return root_at(node.store.reader(str(origin)), size)
