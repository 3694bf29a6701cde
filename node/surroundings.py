"""What a running node needs of the world besides its stores: a clock, the other nodes, chance, one thread.

``service`` is written against this. When a node runs, the machine stands behind it (``http_service``:
aiohttp and the system's clock); in a simulation a seed does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol, TypeVar

from node.protocol import Procedure, Request, Response, Unreachable

Result = TypeVar("Result")

Exchange = Callable[[str, Request], Awaitable[Response]]
"""Carries one request to the node at an address; raises `Unreachable` if no answer comes."""


class Surroundings(Protocol):
    """The world as one running node meets it."""

    random: Random
    """Chance for schedules (whom to ask, how long to wait); never for keys, salts or nonces."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 by this node's clock, which may be wrong and may go back."""
        ...

    async def exchange(self, url: str, request: Request) -> Response:
        """Carry one request; see `Exchange`."""
        ...

    async def on_store(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run a function on the one thread that touches this node's stores, after what was asked before."""
        ...


async def drive(exchange: Exchange, url: str, procedure: Procedure[Result]) -> Result:
    """Run a procedure against one node; return its result or raise what it raises."""
    try:
        request = next(procedure)
        while True:
            try:
                response = await exchange(url, request)
            except Unreachable as error:
                request = procedure.throw(error)
            else:
                request = procedure.send(response)
    except StopIteration as stop:
        result: Result = stop.value
        return result
