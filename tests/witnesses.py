"""Nodes of one ledger in this very process that mirror, pin and cosign when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from ledger import keys
from ledger.note import parse_note
from node import handlers
from node.cosigning import Collector, InFlight, Later, OtherSize, read_answer
from node.mirror import pull, pull_certified
from node.protocol import Request, Response
from node.wiring import Node
from tests.agencies import Agency, found_agencies
from tests.test_mirror import drive
from tests.world import HOUR

NOW_S = HOUR * 3600 + 60
NAMES = ("district", "sport", "centre")
Result = TypeVar("Result")


@dataclass
class Ledger:
    """The nodes, and what each agency's directory and keys are."""

    agencies: dict[str, Agency]
    nodes: dict[str, Node]
    collectors: dict[str, Collector] = field(default_factory=dict)
    at: float = 0.0

    def answer(self, name: str, request: Request) -> Response:
        """What a node answers, as its service would."""
        node = self.nodes[name]
        if request.path == handlers.ADD_CHECKPOINT_PATH:
            return handlers.answer_add_checkpoint(node, request.body, NOW_S)
        return handlers.answer(node, request, HOUR)

    def append(self, name: str, *submissions: Any) -> None:
        """Sequence and publish entries."""
        agency, node = self.agencies[name], self.nodes[name]
        for one in submissions:
            [response] = handlers.answer_submissions(node, [agency.seal(one)], HOUR)
            assert response.status == 200, response.body
        node.publish()

    def mirror(self, copier: str, name: str, source: str = "") -> None:
        """One round of one mirror, as the service drives it."""
        node, mirror = self.nodes[copier], self.nodes[copier].mirrors[name]

        def ask(procedure: Any) -> Any:
            return drive(procedure, lambda request: self.answer(source or name, request))

        pulled = ask(pull(mirror.state, mirror.held_bytes()))
        if pulled is None:
            return
        mirror.take(pulled, keys.verify_many)
        node.tree.publish(mirror.origin)
        node.certification.take(pulled.note)
        lacking = node.certification.lacking_of(str(mirror.origin))
        for note in ask(pull_certified(mirror.origin, lacking)) if lacking is not None else ():
            node.certification.take(note)

    def mirror_all(self) -> None:
        for copier in self.nodes:
            for name in self.nodes[copier].mirrors:
                self.mirror(copier, name)

    def pin_all(self) -> None:
        """Let every desk pin what it knows, and everybody hear of it."""
        self.mirror_all()
        for node in self.nodes.values():
            node.pinning.adopt_if_due(self.at, HOUR)
            node.publish()
        self.mirror_all()

    def collector(self, name: str) -> Collector:
        return self.collectors.setdefault(name, Collector(self.nodes[name]))

    def flight(self, name: str) -> InFlight:
        found = self.collector(name).choose(self.at, NOW_S)
        assert found is not None
        return found

    def ask(self, owner: str, witness: str) -> Response:
        """The owner asks one witness, corrected once for the size that this names; what is good is kept."""
        collector, flight = self.collector(owner), self.flight(owner)
        old = collector.last_size(witness, flight)
        while True:
            body = collector.body(flight, old)
            response = self.answer(
                witness, Request(method="POST", path=handlers.ADD_CHECKPOINT_PATH, body=body)
            )
            answer = read_answer(response, old)
            if isinstance(answer, OtherSize) and answer.size <= flight.checkpoint.size:
                old = answer.size
                continue
            if not isinstance(answer, OtherSize | Later):
                collector.take(witness, flight, answer)
            return response

    def certify(self, owner: str) -> int:
        """Ask every witness; return the certified size of the owner's log at its own node."""
        for witness in self.nodes[owner].mirrors:
            self.ask(owner, witness)
        return self.certified(owner)

    def certified(self, owner: str, at: str = "") -> int:
        origin = str(self.agencies[owner].origin)
        return self.nodes[at or owner].store.certified_size(origin)

    def restart(self, name: str) -> Node:
        """End a node and open it again from its disk."""
        self.nodes[name].close()
        self.nodes[name] = self.agencies[name].node()
        self.collectors.pop(name, None)
        return self.nodes[name]


@contextmanager
def ledger(base: Path, names: tuple[str, ...] = NAMES, *, pinned: bool = True) -> Iterator[Ledger]:
    """A founded ledger, its nodes open; ``pinned``: each knows and pins the others."""
    agencies = found_agencies(base, names)
    made = Ledger(agencies, {name: agency.node() for name, agency in agencies.items()})
    try:
        if pinned:
            made.pin_all()
        yield made
    finally:
        for node in made.nodes.values():
            node.close()


@dataclass
class Around:
    """`Surroundings` on a `VirtualLoop`: the exchange is a function, the store's thread is this one."""

    answer: Callable[[str, Request], Response]
    random: Random = field(default_factory=lambda: Random(5))
    asked: list[tuple[float, str, Request]] = field(default_factory=list)

    def now_ms(self) -> int:
        return NOW_S * 1000

    async def exchange(self, url: str, request: Request) -> Response:
        self.asked.append((asyncio.get_running_loop().time(), url, request))
        await asyncio.sleep(0.01)
        return self.answer(url, request)

    async def on_store(self, function: Callable[..., Result], *arguments: object) -> Result:
        await asyncio.sleep(0)
        return function(*arguments)


def names_on(note: bytes) -> list[str]:
    """The names on a note's signature lines."""
    return [line.name for line in parse_note(note).lines]
