"""Four nodes as processes in namespaces of their own: cut off, cut one way, lossy, killed, and whole again.

With four agencies three are a quorum, so that one may be missing. The tests share one network and leave it
healed; each waits for what can be seen (`/v1/status`), with a deadline.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.proof import parse_proof
from node.http_client import HttpClient
from tests.agencies import REPOSITORY, Agency, Nodes, RunningNode, found_agencies, post, wait_for
from tests.network_namespaces import Network, network_of

AGENCIES = ("centre", "district", "sport", "youth")
DEADLINE_S = 120
"""With a third of the packets lost, a connection that is unlucky takes half a minute."""


@dataclass
class Ledger:
    """The agencies, their nodes, and the wires between."""

    network: Network
    nodes: Nodes
    agencies: dict[str, Agency]
    running: dict[str, RunningNode] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Of each log: how much of it was acknowledged."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, *names: str) -> None:
        """Start these nodes, all at once, and wait until they sequence."""
        self.running |= {name: self.nodes.start(self.agencies[name], wait=False) for name in names}
        for name in names:
            self.nodes.wait_ready(self.running[name])
        for name in names:
            self.wait(lambda name=name: self.running[name].status()["is_sequencing"], f"{name} to sequence")

    def append(self, *names: str) -> None:
        """Append an entry to each of these logs; it is acknowledged."""
        for name in names:
            agency = self.agencies[name]
            with HttpClient(agency.url) as client:
                receipt = post(client, agency, agency.grant(f"clerk {next(self.numbers)}"))
            assert isinstance(receipt, bytes), receipt
            self.sizes[name] = 1 + parse_proof(receipt).index

    def logs(self, at: str) -> dict[str, dict[str, Any]]:
        """What a node shows of each log, by agency."""
        return {log["origin"].split("/")[1]: log for log in self.running[at].status()["logs"]}

    def is_whole(self, at: Sequence[str] = AGENCIES, logs: Sequence[str] = AGENCIES) -> bool:
        """Whether these nodes hold these logs, with all that was acknowledged, certified to their ends."""
        shown = [self.logs(one) for one in at]
        return all(
            one[name]["certified_size"] == one[name]["size"] == shown[0][name]["size"] >= self.sizes[name]
            for one in shown
            for name in logs
        )

    def wait_whole(self, at: Sequence[str] = AGENCIES, logs: Sequence[str] = AGENCIES) -> None:
        self.wait(lambda: self.is_whole(at, logs), f"{', '.join(at)} to certify {', '.join(logs)}")

    def wait(self, is_done: Any, what: str) -> None:
        try:
            wait_for(is_done, what, DEADLINE_S)
        except AssertionError as error:
            shown = {name: self.logs(name) for name in self.running}
            raise AssertionError(f"{error}: {self.sizes}\n{shown}") from None


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Four nodes that hold, pin and certify each other."""
    nodes = Nodes()
    with network_of(*AGENCIES) as network:
        hosts = {name: network.host(name) for name in AGENCIES}
        agencies = found_agencies(tmp_path_factory.mktemp("network"), AGENCIES, hosts=hosts)
        nodes.within = lambda agency: network.within(agency.name)
        made = Ledger(network, nodes, agencies, sizes=dict.fromkeys(AGENCIES, 2))
        try:
            made.start(*AGENCIES)
            made.wait_whole()
            yield made
        finally:
            nodes.end()


@pytest.fixture
def ledger(founded: Ledger) -> Iterator[Ledger]:
    """The network, whole before and healed after the test."""
    founded.wait_whole()
    yield founded
    founded.network.heal()


def test_an_append_is_certified_by_nodes_that_reach_each_other(ledger: Ledger) -> None:
    """One in each log."""
    ledger.append(*AGENCIES)
    ledger.wait_whole()


def test_one_cut_off_goes_on_alone_and_all_agree_after_it(ledger: Ledger) -> None:
    """Three certify on; the fourth acknowledges and certifies nothing; healed, all is certified."""
    ledger.network.cut_off("youth")
    rest = [name for name in AGENCIES if name != "youth"]
    ledger.append("youth")
    for _ in range(2):
        ledger.append(*rest)
        ledger.wait_whole(rest, rest)
    alone = ledger.logs("youth")
    assert alone["youth"]["size"] >= ledger.sizes["youth"] > alone["youth"]["certified_size"]
    assert all(alone[name]["size"] < ledger.sizes[name] for name in rest)
    assert all(ledger.logs(name)["youth"]["size"] < ledger.sizes["youth"] for name in rest)
    ledger.network.heal()
    ledger.wait_whole()


def test_two_halves_certify_nothing_and_all_agree_after_it(ledger: Ledger) -> None:
    """Neither half is a quorum: both acknowledge, neither certifies."""
    halves = (("centre", "district"), ("sport", "youth"))
    for one, other in itertools.product(*halves):
        ledger.network.refuse(one, other)
        ledger.network.refuse(other, one)
    ledger.append(*AGENCIES)
    for half in halves:
        pairs = list(itertools.product(half, half))
        ledger.wait(
            lambda pairs=pairs: all(ledger.logs(at)[of]["size"] >= ledger.sizes[of] for at, of in pairs),
            "each half to hold its own",
        )
        for at in half:
            shown = ledger.logs(at)
            assert all(shown[of]["certified_size"] < ledger.sizes[of] for of in half)
    ledger.network.heal()
    ledger.wait_whole()


def test_what_two_cannot_say_to_each_other_goes_by_the_others(ledger: Ledger) -> None:
    """One way only: the sport agency hears nothing that the district sends. All is certified all the same."""
    ledger.network.refuse("sport", "district")
    ledger.append("district", "sport")
    ledger.wait_whole()


def test_a_node_that_lets_nobody_in_takes_part(ledger: Ledger) -> None:
    """Behind a firewall: it asks, and is not asked; its leaves wait for those whom it can show them to."""
    for other in AGENCIES:
        if other != "sport":
            ledger.network.refuse("sport", other, "-p", "tcp", "--syn")
    rest = [name for name in AGENCIES if name != "sport"]
    ledger.append(*rest)
    ledger.wait_whole(AGENCIES, rest)
    ledger.append("sport")
    ledger.network.heal()
    ledger.wait_whole()


def test_a_third_of_all_packets_lost_costs_time_only(ledger: Ledger) -> None:
    """30 % between any two, while each log is appended to: nothing is missing, all is certified."""
    ledger.network.lose(0.3)
    for _ in range(3):
        ledger.append(*AGENCIES)
    ledger.wait_whole()


def test_killed_without_warning_it_has_all_that_it_acknowledged(ledger: Ledger) -> None:
    """kill -9 right after an acknowledgement; the others go on; back, it certifies by itself."""
    ledger.append("district")
    ledger.running.pop("district").kill()
    rest = list(ledger.running)
    ledger.append(*rest)
    ledger.wait_whole(rest, rest)
    ledger.start("district")
    ledger.wait_whole()
    ledger.append("district")
    ledger.wait_whole()


def test_all_killed_at_once_they_come_up_by_themselves(ledger: Ledger) -> None:
    """kill -9 of every node, with appends that nobody else has seen: all of them are certified after it."""
    ledger.append(*AGENCIES)
    for node in ledger.running.values():
        node.process.kill()
    for node in ledger.running.values():
        node.kill()
    ledger.start(*AGENCIES)
    ledger.wait_whole()


def test_the_dossier_of_it_all_verifies_as_certified(ledger: Ledger, tmp_path: Path) -> None:
    """Exported over the network from two of the nodes; `pledger verify` needs no more than the ledger id."""
    ledger.append("district")
    ledger.wait_whole()
    urls = [word for name in ("sport", "youth") for word in ("--from", ledger.agencies[name].url)]
    pledger("export", *urls, "-o", str(tmp_path / "dossier.zip"))
    ledger_id = ledger.agencies["district"].world.ledger_id.hex()
    said = pledger("verify", str(tmp_path / "dossier.zip"), "--ledger", ledger_id, "--level", "certified")
    assert "verified" in said.lower(), said


def pledger(*words: str) -> str:
    """Run a command as its user would; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=REPOSITORY,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
