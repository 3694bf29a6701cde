"""One machine of an agency: its files, its clock, and the node on it, which starts, stops, crashes.

An `Incarnation` is one life of the node: the `Surroundings` that the production code meets, and the owner of
every task of that life. After a crash it lets nothing take effect: no store call, no request, no answer; its
tasks are cancelled, which only clears the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from ledger.errors import LedgerError
from node.config import Config
from node.protocol import Request, Response, Unreachable
from node.service import Service
from node.wiring import Node
from tests.agencies import NODE_SECRETS
from tests.simulator.clock import Clock
from tests.simulator.disk import Crash, Disk
from tests.simulator.loop import OWNER
from tests.simulator.network import SCHEME, Network
from tests.simulator.options import Options
from tests.simulator.trace import Trace
from tests.world import seed

Result = TypeVar("Result")


class Incarnation:
    """One life of a node."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.is_alive = True
        self.random = host.options.chance(host.name, number, "schedules")
        self.secrets = host.options.chance(host.name, number, "keys, salts and nonces")
        self.node: Node | None = None
        self.service: Service | None = None
        self.is_ready = False
        self.replies: dict[asyncio.Future[Response], None] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._calls: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[object, ...]]] = deque()
        self._is_busy = False

    # What the node sees (node.surroundings.Surroundings).

    def now_ms(self) -> int:
        return self.host.clock.now_ms()

    async def exchange(self, url: str, request: Request) -> Response:
        self._check_alive()
        self.host.step("asking")
        try:
            return await self.host.network.carry(self.host.name, url, request)
        finally:
            self._check_alive()
            self.host.step("answered")

    async def on_store(self, function: Callable[..., Result], *arguments: object) -> Result:
        self._check_alive()
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._calls.append((done, function, arguments))
        self._next_call()
        return await done

    # What the simulation does with it.

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._let_go)

    def start(self, on_end: Callable[[Incarnation, BaseException | None], None]) -> None:
        """Open the node and run its service in a task of this life; ``on_end`` hears how that ended."""

        async def live() -> None:
            await self.on_store(self._open)
            assert self.node is not None
            self.service = Service(self.node, self, self._set_ready)
            await self.service.run(_close_nothing)

        def ended(task: asyncio.Task[None]) -> None:
            on_end(self, None if task.cancelled() else task.exception())

        self._make_task(live()).add_done_callback(ended)

    def serve(self, request: Request) -> asyncio.Future[Response]:
        """Begin to answer; see `network.Machine`."""
        reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        if not self.is_alive or self.service is None:
            reply.set_exception(Unreachable(f"no answer from {SCHEME}{self.host.name}: connection refused"))
            return reply
        self.replies[reply] = None
        self._make_task(self._answer(request, reply))
        return reply

    def end(self) -> None:
        """Let nothing of this life take effect any more."""
        self.is_alive = False
        for reply in self.replies:
            if not reply.done():
                reply.set_exception(Unreachable(f"no answer from {SCHEME}{self.host.name}: reset"))
                reply.exception()  # who asked may be gone
        self.replies.clear()
        for task in list(self._tasks):
            task.cancel()

    async def _answer(self, request: Request, reply: asyncio.Future[Response]) -> None:
        assert self.service is not None
        try:
            response = await self.service.answer(request)
        except asyncio.CancelledError:
            response = Response(status=500)
        if self.is_alive:
            self.replies.pop(reply, None)
            if not reply.done():
                reply.set_result(response)

    def _open(self) -> None:
        host = self.host
        secrets = {name: seed(f"{host.config.agency} {name}") for name in NODE_SECRETS}
        self.node = Node(host.config, secrets, self.secrets.randbytes, on_word=host.on_word, host="machine")

    def _set_ready(self) -> None:
        self.is_ready = True

    def _check_alive(self) -> None:
        if not self.is_alive:
            raise Crash

    def _make_task(self, coroutine: Any) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.is_alive and not isinstance(error, LedgerError | Crash):
            self.host.fail(f"{self.host.name}: a task of the node ended with {error!r}", error)

    def _next_call(self) -> None:
        if self._calls and not self._is_busy and self.is_alive:
            self._is_busy = True
            asyncio.get_running_loop().call_later(self.host.store_delay_s(), self._perform)

    def _perform(self) -> None:
        """One call on the store's thread."""
        done, function, arguments = self._calls.popleft()
        if not self.is_alive:
            return
        try:
            self.host.step("store")
            result = function(*arguments)
            self.host.step("stored")
        except Crash:
            return
        except Exception as error:
            if not self.is_alive:
                return
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(result)
        self._is_busy = False
        self._next_call()


class Host:
    """One machine."""

    def __init__(
        self,
        name: str,
        config: Config,
        options: Options,
        network: Network,
        clock: Clock,
        trace: Trace,
        fail: Callable[[str, BaseException | None], None],
    ) -> None:
        """``name`` is the agency's, or that of its second machine; ``fail`` ends the run."""
        self.name = name
        self.config = config
        self.options = options
        self.network = network
        self.clock = clock
        self.fail = fail
        self.on_word = False
        self.life: Incarnation | None = None
        self.births = 0
        self.steps_left: int | None = None
        """Steps until the machine stops, None if it is not to stop."""
        self.slow_s = 0.0
        """Mean seconds that the disk takes for one call, besides the least."""
        self._chance: Random = options.chance(name, "machine")
        self._trace = trace
        self._stopped = asyncio.Event()
        self._stopped.set()
        self.is_stopping = False
        self.disk = Disk(config.data, options.chance(name, "disk"), options.has("torn"), self.step)
        config.data.mkdir(parents=True, exist_ok=True)
        network.machines[name] = self

    @property
    def node(self) -> Node | None:
        """The node, if it is up."""
        return self.life.node if self.life is not None and self.life.is_alive else None

    @property
    def is_up(self) -> bool:
        return self.life is not None and self.life.is_alive

    def store_delay_s(self) -> float:
        return 0.0005 + (self._chance.expovariate(1 / self.slow_s) if self.slow_s else 0.0)

    def serve(self, request: Request) -> asyncio.Future[Response]:
        """See `network.Machine`."""
        if self.life is None:
            reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            reply.set_exception(Unreachable(f"no answer from {SCHEME}{self.name}: connection refused"))
            return reply
        return self.life.serve(request)

    def step(self, what: str) -> None:
        """One step of the node; raise `Crash` if the machine stops before the next."""
        if self.life is None or not self.life.is_alive:
            raise Crash
        if self.steps_left is None:
            return
        self.steps_left -= 1
        if self.steps_left < 0:
            self.crash(what)
            raise Crash

    def crash(self, where: str = "between two steps") -> None:
        """Stop the machine here and now."""
        assert self.life is not None
        self._trace.note("crash", self.name, where)
        self.steps_left = None
        self.disk.freeze()
        self.life.end()
        self._stopped.set()

    async def stop(self) -> None:
        """Let the operator stop the node, and wait until it ended."""
        life = self.life
        if life is None or not life.is_alive:
            return
        self._trace.note("stop", self.name)
        self.steps_left = None
        if life.service is None:  # still opening: killed
            self.crash("while opening")
            return
        self.is_stopping = True
        life.service.stop.set()
        await self.until_stopped()

    async def until_stopped(self) -> None:
        """Wait for the end of a node that was told to stop."""
        await self._stopped.wait()

    def start(self) -> None:
        """Start the node from what is on the disk."""
        assert not self.is_up, f"{self.name} runs already"
        self._trace.note("restart" if self.births else "start", self.name)
        self.disk.thaw()
        self._stopped.clear()
        self.is_stopping = False
        self.births += 1
        self.life = Incarnation(self, self.births)
        self.life.start(self._on_end)

    def _on_end(self, life: Incarnation, error: BaseException | None) -> None:
        """The node's program ended: told to, or by an error that production would end with too."""
        if not life.is_alive:
            return
        if error is not None:
            self.fail(f"{self.name}: the node ended by itself: {error!r}", error)
        self._trace.note("ended", self.name)
        life.end()
        self.disk.close()
        self._stopped.set()


async def _close_nothing() -> None:
    """The door of a simulated machine: the network finds nobody there once the life has ended."""
