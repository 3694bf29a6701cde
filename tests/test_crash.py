"""kill -9 of a node in the middle of appends: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.leaf import parse_leaf
from ledger.verify import verify
from node.http_client import HttpClient
from node.protocol import Problem, Unreachable
from node.session import check_receipt, fetch_receipt
from node.sources import HttpSource
from node.submission import Submission
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, post, wait_for

KILLS = 25
"""Of each of the two seeds."""
CLIENTS = 3
APPENDING_S_MAX = 0.25
"""A node commits every few milliseconds: the kill falls anywhere in dozens of commits."""
STARTING_S_MAX = 0.6


@dataclass(eq=False)
class Client(threading.Thread):
    """Enrols one pupil after the other until the node is gone."""

    agency: Agency
    name_of_round: str
    unanswered: Submission | None
    receipts: dict[bytes, bytes]
    problems: list[Problem] = field(default_factory=list)
    appended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        with HttpClient(self.agency.url) as client:
            for number in range(10_000):
                submission = self.unanswered or self.agency.enrol(f"{self.name_of_round} {number}")
                self.unanswered = submission
                try:
                    answer = post(client, self.agency, submission)
                except Unreachable:
                    return
                if isinstance(answer, Problem):
                    self.problems.append(answer)
                    return
                self.receipts[submission.entry.header.entry_id] = answer
                self.unanswered = None
                self.appended.set()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_node_killed_in_the_middle_of_appends_keeps_every_receipt_it_gave(
    tmp_path: Path, nodes: Nodes, seed: int
) -> None:
    """25 kills for each seed: receipts, log and records are whole after every one of them."""
    chance = random.Random(seed)
    agency = found_agencies(tmp_path)["district"]
    node = nodes.start(agency)
    with HttpClient(node.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
    receipts: dict[bytes, bytes] = {}
    unanswered: list[Submission | None] = [None] * CLIENTS
    for kill in range(KILLS):
        clients = [
            Client(agency, f"pupil {kill} {number}", unanswered[number], receipts)
            for number in range(CLIENTS)
        ]
        known = len(receipts)
        _kill_amid_appends(node, clients, chance.uniform(0, APPENDING_S_MAX))
        unanswered = [client.unanswered for client in clients]
        if chance.random() < 0.2:  # and once more while it starts
            starting = nodes.start(agency, wait=False)
            threading.Event().wait(chance.uniform(0, STARTING_S_MAX))
            starting.kill()
        node = nodes.start(agency)
        _check_kept(agency, dict(list(receipts.items())[known:]))
    _check_log(agency, node, receipts, [one for one in unanswered if one is not None])
    assert node.stop() == 0
    _check_bodies(agency, receipts)


def _kill_amid_appends(node: RunningNode, clients: list[Client], delay_s: float) -> None:
    """Kill the node ``delay_s`` after its first receipt of this round."""
    for client in clients:
        client.start()
    assert clients[0].appended.wait(30), [client.problems for client in clients]
    threading.Event().wait(delay_s)
    node.kill()
    for client in clients:
        client.join(30)
        assert not client.is_alive()
        assert client.problems == []


def _check_kept(agency: Agency, receipts: dict[bytes, bytes]) -> None:
    """Every entry that was acknowledged is there, at the place that its receipt named."""
    with HttpClient(agency.url) as client:
        for entry_id, receipt in receipts.items():
            before, _, _ = check_receipt(receipt, entry_id, agency.verifier)
            again = client.run(fetch_receipt(entry_id))
            now, _, _ = check_receipt(again, entry_id, agency.verifier)
            assert (now.index, now.extra) == (before.index, before.extra)


def _check_log(
    agency: Agency, node: RunningNode, receipts: dict[bytes, bytes], unanswered: list[Submission]
) -> None:
    """The log verifies, the next append works, and what was never answered can be sent again."""
    with HttpClient(agency.url) as client:
        for submission in [*unanswered, agency.enrol("the next one")]:
            receipt = post(client, agency, submission)
            assert isinstance(receipt, bytes), receipt
            receipts[submission.entry.header.entry_id] = receipt
        _check_kept(agency, receipts)
    size = len(receipts) + 2  # opening, grant, and each entry once: what was never answered was sent again
    wait_for(lambda: node.status()["size"] >= size, "publication")
    assert node.status()["size"] == size
    with HttpClient(agency.url) as client:
        report = verify(HttpSource(client), agency.world.ledger_id)
    assert (report.verdict, report.entries) == ("verified", size), report.problems


def _check_bodies(agency: Agency, receipts: dict[bytes, bytes]) -> None:
    """Each entry stands once in the log and has its three records once beside it."""
    opened = agency.node()
    try:
        leaves = list(opened.store.leaves(str(agency.origin), 2, opened.sequencer.state.size))
        entry_ids = [parse_leaf(raw).header.entry_id for raw in leaves]
        assert sorted(entry_ids) == sorted(receipts)
        for entry_id in entry_ids:
            records = [record_hash for _, record_hash in opened.bodies.records_of(entry_id)]
            assert len(set(records)) == 3
            assert all(opened.bodies.state(one) == "held" for one in records)
    finally:
        opened.close()
