"""A node on this machine: a listening socket, aiohttp, the system's clock and signals around a `Service`."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import aiohttp

from node import http_server
from node.config import Config
from node.http_client import exchange, open_session
from node.protocol import Request, Response
from node.service import Service
from node.wiring import Node

Result = TypeVar("Result")


class Machine:
    """The `Surroundings` of a node that really runs."""

    def __init__(self, session: aiohttp.ClientSession, thread: ThreadPoolExecutor) -> None:
        """``thread`` is the one that opened the node."""
        self.random = random.Random()
        self._session = session
        self._thread = thread

    def now_ms(self) -> int:
        """Milliseconds since 1970 by the system's clock."""
        return time.time_ns() // 1_000_000

    async def exchange(self, url: str, request: Request) -> Response:
        """Carry one request over HTTP."""
        return await exchange(self._session, url, request)

    async def on_store(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run a function on the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def serve(config: Config, open_node: Callable[[], Node], on_ready: Callable[[str], None]) -> None:
    """Bind, open a node and serve it until SIGTERM or SIGINT; raise what binding or opening raises.

    ``on_ready`` is called with the address served.
    """

    async def main(thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        node = await loop.run_in_executor(thread, open_node)
        try:
            async with open_session() as session:
                service = Service(
                    node, Machine(session, thread), lambda: on_ready(http_server.url_of(listening))
                )
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, service.stop.set)
                application = http_server.make_application(service.answer)
                runner = await http_server.start_server(application, listening)
                await service.run(runner.cleanup)
        finally:
            await loop.run_in_executor(thread, node.close)

    with (
        http_server.bind(config.host, config.port) as listening,
        ThreadPoolExecutor(1, thread_name_prefix="store") as thread,
    ):
        asyncio.run(main(thread))
