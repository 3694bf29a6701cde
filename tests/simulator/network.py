"""The wires between machines: they delay, lose, double and reorder, in one direction or both.

An answer may be lost after the request took effect, and a request may arrive long after its sender gave up.
Addresses are ``http://<agency>``; `routes` says which machine answers there for whom (a forking owner has
two).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Protocol

from node.protocol import ANSWER_BYTES_MAX, Request, Response, Unreachable
from tests.simulator.options import Options
from tests.simulator.trace import Trace

SCHEME = "http://"
TIMEOUT_MAX_S = 10.0
"""Production waits 60 s; the shorter time lets more happen in a run, and no rule depends on it."""
LONG_POLL_MAX_S = 30.0


class Machine(Protocol):
    """Whoever can be asked at an address."""

    name: str

    def serve(self, request: Request) -> asyncio.Future[Response]:
        """Begin to answer; the future fails with `Unreachable` if the machine stops meanwhile."""
        ...


class Network:
    """All wires."""

    def __init__(self, options: Options, trace: Trace) -> None:
        self.machines: dict[str, Machine] = {}
        self.routes: dict[tuple[str, str], str] = {}
        """(sender, address): the machine that answers there, where it is not the one of that name."""
        self.blocked: set[tuple[str, str]] = set()
        """(sender, receiver): nothing passes in this direction."""
        self.lies: dict[str, Callable[[Request, Response], Response]] = {}
        """Machines whose answers are changed on the way out."""
        self.loss = 0.0
        self.delay_s = 0.004
        self.doubled = 0.0
        self.asked: dict[tuple[str, str], int] = {}
        self._random: Random = options.chance("network")
        self._trace = trace

    def break_as(self, options: Options) -> None:
        """Begin to lose, delay and double as this seed wants it."""
        chance = options.chance("wires")
        loss, delay_s, doubled = chance.uniform(0.02, 0.3), chance.choice((0.05, 0.3, 1.5)), chance.random()
        self.loss = loss if options.has("loss") else 0.0
        self.delay_s = delay_s if options.has("delay") else 0.004
        self.doubled = doubled * 0.3 if options.has("duplicates") else 0.0

    def heal(self) -> None:
        """Carry everything from now on, quickly and once."""
        self.blocked.clear()
        self.loss, self.delay_s, self.doubled = 0.0, 0.004, 0.0

    async def carry(self, sender: str, url: str, request: Request) -> Response:
        """Carry one request and its answer; raise `Unreachable` where either does not arrive."""
        address, request = url.removeprefix(SCHEME), replace(request, address=sender)
        receiver = self.routes.get((sender, address), address)
        self.asked[sender, receiver] = self.asked.get((sender, receiver), 0) + 1
        await self._pass(sender, receiver, request)
        response = await self._ask(receiver, request)
        lie = self.lies.get(receiver)
        if lie is not None:
            response = lie(request, response)
        await self._pass(receiver, sender, request)
        self._trace.note(
            "answer", sender, receiver, request.method, request.path, response.status, _crc(response.body)
        )
        if len(response.body) > ANSWER_BYTES_MAX:
            raise Unreachable(f"no answer from {url}: answer exceeds {ANSWER_BYTES_MAX} bytes")
        return response

    async def _pass(self, sender: str, receiver: str, request: Request) -> None:
        """One direction: sleep as long as it takes, or raise."""
        await asyncio.sleep(self._random.expovariate(1 / self.delay_s))
        is_blocked = (sender, receiver) in self.blocked
        if is_blocked or self._random.random() < self.loss:
            self._trace.note("lost", sender, receiver, request.path)
            is_silent = is_blocked or self._random.random() < 0.3
            await asyncio.sleep(self._random.uniform(0.01, TIMEOUT_MAX_S if is_silent else 0.5))
            raise Unreachable(f"no answer from {SCHEME}{receiver}: the connection is lost")

    async def _ask(self, receiver: str, request: Request) -> Response:
        machine = self.machines.get(receiver)
        if machine is None:
            raise Unreachable(f"no answer from {SCHEME}{receiver}: no such host")
        if self._random.random() < self.doubled:
            self._double(machine, request)
        try:
            async with asyncio.timeout(TIMEOUT_MAX_S + LONG_POLL_MAX_S):
                return await asyncio.shield(machine.serve(request))
        except TimeoutError:
            raise Unreachable(f"no answer from {SCHEME}{receiver}: it took too long") from None

    def _double(self, machine: Machine, request: Request) -> None:
        """The same request once more, later; its answer goes nowhere."""
        self._trace.note("doubled", machine.name, request.path)

        def again() -> None:
            answer = machine.serve(request)
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())

        delay_s = self._random.expovariate(1 / (4 * self.delay_s))
        asyncio.get_running_loop().call_later(delay_s, again)


def _crc(data: bytes) -> str:
    return f"{len(data)}/{zlib.crc32(data):08x}"
