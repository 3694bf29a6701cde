"""Whole nodes in one process on virtual time: the production service of each, and wires that may lie.

A smaller sister of the simulator, for tests of one thing at a time: nothing is lost or crashes unless the
test says so, and what a peer answers can be changed on its way (`Net.lies`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ledger.errors import LedgerError
from node.frontier import Frontier, decode_frontier
from node.protocol import Request, Response, Unreachable
from node.service import Service
from node.submission import Submission
from node.wiring import Node
from tests.agencies import NODE_SECRETS, Agency, found_agencies
from tests.virtual_loop import VirtualLoop
from tests.world import HOUR, seed

WIRE_S = 0.005
TIMEOUT_S = 60.0
Lie = Callable[[Request, Response], Awaitable[Response] | Response]


@dataclass
class Peer:
    """One running node, and the world as it meets it (`node.surroundings.Surroundings`)."""

    net: Net
    agency: Agency
    node: Node
    random: Random
    clock_off_s: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)
    bytes_carried: int = 0

    def __post_init__(self) -> None:
        self.service = Service(self.node, self, lambda: None)
        self.task: asyncio.Task[None] | None = None

    def now_ms(self) -> int:
        return int((HOUR * 3600 + 100 + self.clock_off_s + self.net.loop.time()) * 1000)

    async def exchange(self, url: str, request: Request) -> Response:
        name = self.net.names.get(url)
        self.asked.append((name or url, request.path))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self.net.carry(self.agency.name, name, request)
        except TimeoutError:
            raise Unreachable(f"no answer from {url}: it took too long") from None
        if len(response.body) > request.answer_bytes_max:
            raise Unreachable(f"no answer from {url}: too large")
        self.bytes_carried += len(request.body) + len(response.body)
        return response

    async def on_store(self, function: Callable[..., Any], *arguments: object) -> Any:
        return function(*arguments)

    def submit(self, submission: Submission) -> int:
        """Post an entry; return the status."""
        request = Request(method="POST", path="/v1/entries", body=self.agency.seal(submission))
        return self.net.run(self.service.answer(request)).status

    def held(self, agency: str) -> int:
        """How many leaves of an agency's log this node holds."""
        return self.node.store.size(f"test/{agency}/1")

    def frontier(self) -> Frontier:
        return decode_frontier(
            self.net.run(self.service.answer(Request(method="GET", path="/v1/frontier"))).body
        )


class Net:
    """Agencies, their nodes, and the wires between."""

    def __init__(self, base: Path, agencies: tuple[str, ...], **config: float) -> None:
        self.loop = VirtualLoop()
        self.base = base
        defaults = {"publish_interval_s": 1.0, "mirror_interval_s": 1.0}
        self.agencies = found_agencies(base, agencies, **(defaults | config))
        self.names = {agency.url: name for name, agency in self.agencies.items()}
        self.peers: dict[str, Peer] = {}
        self.lies: dict[str, Lie] = {}
        """What a peer's answers become on their way."""
        self.blocked: set[tuple[str, str]] = set()
        """(from, to): no request passes."""

    def start(self, name: str, number: int = 0, *, on_word: bool = False) -> Peer:
        agency = self.agencies[name]
        chance = Random(f"{name} {number}")
        secrets = {one: seed(f"{name} {one}") for one in NODE_SECRETS}
        node = Node(agency.config(), secrets, chance.randbytes, on_word=on_word, host="machine")
        peer = self.peers[name] = Peer(self, agency, node, chance)
        peer.task = self.loop.create_task(peer.service.run(_nothing))
        return peer

    def start_all(self) -> None:
        for name in self.agencies:
            self.start(name)

    def stop(self, name: str) -> None:
        """End a node in order."""
        peer = self.peers.pop(name)
        assert peer.task is not None
        peer.service.stop.set()
        self.loop.run_until_complete(peer.task)
        peer.node.close()

    async def carry(self, sender: str, name: str | None, request: Request) -> Response:
        await asyncio.sleep(WIRE_S)
        if (
            name is None
            or (name not in self.peers and name not in self.lies)
            or (sender, name) in self.blocked
        ):
            raise Unreachable("no answer: nobody is there")
        honest = Response(status=404)
        if name in self.peers:
            honest = await self.peers[name].service.answer(request)
        answer = honest
        if name in self.lies:
            changed = self.lies[name](request, honest)
            answer = changed if isinstance(changed, Response) else await changed
        await asyncio.sleep(WIRE_S)
        return answer

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self.check()

    def wait_for(self, is_done: Callable[[], object], seconds: float) -> float:
        """Let time pass until a condition holds; return how long that took, of the virtual clock."""
        start = self.loop.time()
        while not is_done():
            assert self.loop.time() - start < seconds, f"not within {seconds} s of virtual time"
            self.wait(0.01)
        return self.loop.time() - start

    def check(self) -> None:
        """No node has ended by itself."""
        for peer in self.peers.values():
            assert peer.task is not None
            if peer.task.done():
                peer.task.result()
                raise AssertionError(f"{peer.agency.name} has ended")

    def close(self) -> None:
        for name in list(self.peers):
            with contextlib.suppress(LedgerError):
                self.stop(name)
        self.loop.close()


async def _nothing() -> None:
    pass


@contextlib.contextmanager
def net_of(base: Path, *agencies: str, **config: float) -> Iterator[Net]:
    """A network of these agencies, none of them started."""
    net = Net(base, agencies, **config)
    try:
        yield net
    finally:
        net.close()
