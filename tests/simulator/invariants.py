"""What must hold whatever is broken: checked as a run goes, and once more when all has come to rest.

`Watch.look` reads the stores of a node between two steps; it never asks over the network, so that looking
changes nothing. `ledger` knows who is honest: of a log whose key signed two histories, or was stolen, each
node keeps one, and only that one is followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger.merkle import root_at
from ledger.names import Origin, parse_origin
from ledger.report import Report
from ledger.verify import verify
from node import dossier
from node.service import QUEUE_MAX
from node.session import check_receipt
from node.sources import ZipSource
from node.wiring import Node
from tests.simulator.certified import CertifiedWatch, uncertified
from tests.simulator.host import Host
from tests.simulator.ledger import Broken, Ledger
from tests.simulator.staff import Acknowledged, Staff
from tests.simulator.trace import Trace

BRANCHES_MAX = 8
"""Branches of one log that a node keeps whole."""
REQUESTS_PER_S = 8.0
"""Of one node to another, in the mean of a run: a round each second takes three when something is new."""
ACCUSATIONS = ("two histories", "another history")


class Watch:
    """Remembers what every node has accepted."""

    def __init__(self, ledger: Ledger, trace: Trace) -> None:
        self.certified = CertifiedWatch(ledger, trace)
        self._ledger = ledger
        self._roots: dict[tuple[str, int], bytes] = {}
        """(history, size): the one root it has."""
        self._sizes: dict[tuple[str, str], int] = {}
        """(machine, origin): how much it accepted."""
        self._shown: dict[tuple[str, str], bytes] = {}
        """(machine, origin): the checkpoint that it showed at the last look."""

    def forget(self, machine: str) -> None:
        """Its disk was put back: what it had accepted since then is gone, and rightly."""
        for held in [held for held in self._sizes if held[0] == machine]:
            del self._sizes[held]
        self.certified.forget(machine)

    def look(self) -> None:
        """Raise `Broken` if any node lost, changed or falsely accused something since the last look."""
        for host in self._ledger.hosts.values():
            if host.node is not None:
                for origin in host.node.logs():
                    self._look_at(host, host.node, origin)
                    self.certified.look_at(host, host.node, origin)
                self._look_at_bounds(host, host.node)

    def _look_at(self, host: Host, node: Node, origin: Origin) -> None:
        name, held = str(origin), (host.name, str(origin))
        size, before = node.store.size(name), self._sizes.get(held, 0)
        if size < before:
            raise Broken(f"{host.name} had accepted {before} entries of {name}, now it has {size}")
        is_contested = origin.agency in self._ledger.contested
        if size != before or is_contested:
            history = f"{name} at {host.name}" if is_contested else name
            for at in {before, size} - {0}:
                root = root_at(node.store.reader(name), at)
                if self._roots.setdefault((history, at), root) != root:
                    raise Broken(f"{host.name} shows another history of {history} at size {at}")
            self._sizes[held] = size
        self._look_at_shown(held, node, origin)
        fault = node.faults().get(name) or ""
        if not is_contested and any(word in fault for word in ACCUSATIONS):
            raise Broken(f"{host.name} accuses {name}, which is honest: {fault}")

    def _look_at_shown(self, held: tuple[str, str], node: Node, origin: Origin) -> None:
        """What a node shows of any log, a forked one too, is the root of leaves that it holds."""
        shown = node.tree.published(origin)
        if shown is None or self._shown.get(held) == shown[0]:
            return
        self._shown[held], (size, root) = shown[0], (shown[1].size, shown[1].root)
        if size > node.store.size(str(origin)) or root_at(node.store.reader(str(origin)), size) != root:
            raise Broken(
                f"{held[0]} shows a checkpoint of {size} entries of {origin} that its leaves are not"
            )

    def _look_at_bounds(self, host: Host, node: Node) -> None:
        service = host.life.service if host.life is not None else None
        if service is not None and service._queue.qsize() > QUEUE_MAX:
            raise Broken(f"{host.name} queues {service._queue.qsize()} submissions")
        for origin in node.logs():
            if len(node.store.branches(str(origin))) > BRANCHES_MAX:
                raise Broken(f"{host.name} keeps too many branches of {origin}")


def unrest(ledger: Ledger, true_hour: int) -> list[str]:
    """What is still to be done before all has come to rest; empty when it has."""
    found = []
    for name, staff in ledger.staff.items():
        owner = ledger.hosts[name]
        if ledger.is_followed(owner) and not staff.is_done and not _is_ahead(owner, true_hour):
            found.append(f"staff of {name} still wait")
    for owner in ledger.hosts.values():
        if ledger.is_followed(owner):
            found += _not_yet_at(owner, ledger)
    return found or uncertified(ledger, true_hour)


def _is_ahead(host: Host, true_hour: int) -> bool:
    """Whether a wrong clock made an hour that this node must now wait for."""
    return host.node is None or host.node.sequencer.state.hour > true_hour + 1


def _not_yet_at(owner: Host, ledger: Ledger) -> list[str]:
    if owner.node is None:
        return [f"{owner.name} is down"]
    name, wanted = str(owner.node.origin), owner.node.store.size(str(owner.node.origin))
    found = []
    for host in ledger.honest_hosts():
        node = host.node
        shown = node.tree.published(owner.node.origin) if node is not None else None
        held = node.store.size(name) if node is not None else 0
        if held != wanted or shown is None or shown[1].size != wanted:
            found.append(
                f"{host.name} has {held} of {wanted} entries of {name}, shows {shown and shown[1].size}"
            )
    return found


def check_rest(ledger: Ledger, scratch: Path, true_hour: int) -> None:
    """Raise `Broken` unless all that must hold at the end does."""
    for name, staff in ledger.staff.items():
        for one in staff.acknowledged:
            _check_acknowledged(one, ledger, staff)
        _check_refused(ledger.hosts[name], staff)
    verdicts: dict[bytes, Report] = {}
    for host in ledger.honest_hosts():
        _check_verdict(host, ledger, scratch, verdicts, true_hour)


def _check_acknowledged(one: Acknowledged, ledger: Ledger, staff: Staff) -> None:
    """It stands where the receipt says, in the owner's log and in every copy of it."""
    check_receipt(one.receipt, one.entry_id, staff.agency.verifier)
    owner = ledger.hosts[one.machine]
    holders = ledger.honest_hosts() if ledger.is_followed(owner) else [owner]
    if owner.name in ledger.restored:
        return
    assert owner.node is not None
    renewed = owner.node.sequencer.receipt(one.entry_id)
    if renewed is None or check_receipt(renewed, one.entry_id, staff.agency.verifier)[0].index != one.index:
        raise Broken(f"{owner.name} gives another receipt for entry {one.entry_id.hex()[:8]} than before")
    for host in holders:
        if host.node is None:
            raise Broken(f"{host.name} is down")
        found = host.node.store.find_entry(str(one.origin), one.entry_id)
        if found != one.index:
            raise Broken(
                f"{host.name}: the receipt says index {one.index} of {one.origin}, it stands at {found}: "
                f"entry {one.entry_id.hex()[:8]}"
            )


def _check_refused(host: Host, staff: Staff) -> None:
    for entry_id in sorted(staff.refused):
        if host.node is not None and host.node.store.find_entry(str(host.node.origin), entry_id) is not None:
            raise Broken(f"{host.name}: entry {entry_id.hex()[:8]} was refused, and stands in the log")


def _check_verdict(
    host: Host, ledger: Ledger, scratch: Path, verdicts: dict[bytes, Report], true_hour: int
) -> None:
    """What the node says of itself, an auditor finds too, in a file exported from it."""
    assert host.node is not None
    node, path = host.node, scratch / f"{host.name}.zip"
    is_waiting_rightly = host.name in ledger.restored or _is_ahead(host, true_hour)
    if (node.waiting is not None and not is_waiting_rightly) or (
        node.waiting is None and host.name in ledger.restored
    ):
        state = "was put back, yet sequences" if node.waiting is None else f"should sequence: {node.waiting}"
        raise Broken(f"{host.name} {state}")
    dossier.write(path, dossier.members_of(Tree(node.tree.read), node.ledger_id))
    known = hashlib.sha256(path.read_bytes()).digest()
    if known not in verdicts:
        verdicts[known] = verify(ZipSource(path), node.ledger_id)
    path.unlink()
    _compare(host, node, ledger, verdicts[known])


def _compare(host: Host, node: Node, ledger: Ledger, report: Report) -> None:
    """The offline report against what the node itself shows.

    A log that only a liar has may be missing; one whose key signed two histories, and no other, is forked.
    """
    absent = {
        str(owner.node.origin)
        for owner in ledger.hosts.values()
        if owner.node is not None and not ledger.is_followed(owner) and owner is not host
    } - {str(origin) for origin in node.logs() if node.tree.published(origin) is not None}
    for problem in report.problems:
        rule, log = problem.violation.rule.name, problem.log
        is_fork = rule in ("log.forked", "log.unproven") and parse_origin(log).agency in ledger.contested
        if not is_fork and (rule != "log.missing" or log not in absent):
            raise Broken(f"{host.name}: its dossier is {report.verdict}: {problem.value()}")
    for log in report.logs:
        shown = node.tree.published(parse_origin(log.origin))
        assert shown is not None, "a log in the dossier is shown"
        root = root_at(node.store.reader(log.origin), shown[1].size)
        if not (log.size, log.root) == (shown[1].size, shown[1].root) == (shown[1].size, root):
            raise Broken(f"{host.name}: {log.origin} is {log.size} entries offline, {shown[1].size} online")
        certified = node.store.certified_size(log.origin)
        if certified <= log.size and log.certified_size != certified:
            raise Broken(
                f"{host.name}: {log.origin} is certified to {log.certified_size} offline, {certified} online"
            )


@dataclass(frozen=True)
class Tree:
    """A node's static tree as an auditor's source."""

    read_file: Callable[[str], bytes | None]

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """See `ledger.tree.Source`."""
        data = self.read_file(path)
        assert data is None or len(data) <= bytes_max
        return None if data is None else data[offset:]

    def names(self) -> list[str] | None:
        """A node does not list."""
        return None
