"""The running node: its loops and its queue, the only asynchronous code besides the edges.

All stores are touched by one thread, which does one thing at a time; the event loop carries requests to it
and back. Submissions queue up while a commit is under way, and the next commit takes them all: one fsync for
as many as wait. The published checkpoint moves on a tick. How logs come from the others is ``gossip``'s.

Time, other nodes, chance and the store's thread come in as `surroundings`: the machine's when a node runs
(``http_service``), a seed's when it is simulated. Waiting is `asyncio.sleep`, on whatever clock the loop has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TypeVar

from ledger.errors import LedgerError, StoreError
from ledger.names import parse_origin
from node import handlers, inbox, structured_log
from node.asked import REQUESTS_PATH
from node.authentication import Authenticator
from node.backoff import jitter
from node.cosigning import Cosigning
from node.frontier import FRONTIER_PATH
from node.gossip import Gossip
from node.limits import Limits
from node.protocol import Request, Response
from node.rosters import unknown_peers
from node.sequencer import BATCH_MAX
from node.session import fetch_checkpoint
from node.surroundings import Surroundings
from node.wiring import Node
from node.witness import parse_add_checkpoint

QUEUE_MAX = 1024
"""Submissions that may wait; beyond it a client is told to come back, before its body is looked at."""
QUEUE_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of submissions that may wait: a thousand of the largest would otherwise take 12 GB of memory."""
BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Submissions taken into one commit: some 10,000 records, a few seconds; the rest waits for the next."""
MS_IN_HOUR = 3_600_000
RESUME_MAX_S = 10.0
"""For the others' first answers: whoever takes connections and answers none must not hold up the start."""
DESK_TICK_S = 30.0
"""How often the desk looks whether its hour has come: an access record is in the log after 61 minutes."""
Result = TypeVar("Result")


class Service:
    """Keeps one node going until `stop` is set, and answers what others ask of it.

    The databases belong to the store's thread: whoever opened the node there closes it there.
    """

    def __init__(self, node: Node, surroundings: Surroundings, on_ready: Callable[[], None]) -> None:
        """``on_ready`` is called once the node has heard what others hold of its log."""
        self._node = node
        self._around = surroundings
        self._on_ready = on_ready
        self._queue: asyncio.Queue[tuple[bytes, asyncio.Future[Response]]] = asyncio.Queue(QUEUE_MAX)
        self._queued_bytes = 0
        self.gossip = Gossip(node, surroundings)
        self._authenticator = Authenticator(node.ledger_id, node.config.agency, node.node_key)
        self._limits = Limits()
        self._cosigning = Cosigning(node, surroundings, self.gossip)
        self.stop = asyncio.Event()

    async def run(self, close_door: Callable[[], Awaitable[None]]) -> None:
        """Keep going until `stop`; then ``close_door`` lets in nothing new and waits for what is under way.

        Last of all the desk's journal enters the log.
        """
        tasks: list[asyncio.Task[None]] = []
        self._node.started_ms = self._around.now_ms()
        for agency, near in unknown_peers(self._node.config, self._node.rosters).items():
            structured_log.event("peers.unknown", agency=agency, near=near)
        try:
            tasks = [asyncio.create_task(self._commit_forever())]
            tasks.append(asyncio.create_task(self._resume()))
            await self._until_stopped(tasks)
            if not self.stop.is_set():
                tasks = [tasks[0], *(asyncio.create_task(loop) for loop in self._loops())]
                structured_log.event("node.ready", origin=str(self._node.origin))
                self._on_ready()
                await self._until_stopped(tasks)
        finally:
            self.gossip.end_waiting()
            await close_door()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._enter_journal()
            structured_log.event("node.stopped", origin=str(self._node.origin))

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for `stop`, or for one task to end; a loop that ends is a defect, and raises its error."""
        stopping = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done - {stopping}:
            task.result()

    def _loops(self) -> list[Coroutine[None, None, None]]:
        """All that goes on by itself, besides commits, once the node is ready."""
        folder = self._node.config.data / inbox.FOLDER
        return [
            self._publish_forever(),
            self._enter_journal_forever(),
            self._hear_forever(),
            self._pin_forever(),
            self._cosigning.run(),
            inbox.take_forever(self._node, folder, self._on_store, self._around.now_ms),
            *self.gossip.loops(),
        ]

    async def _on_store(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await self._around.on_store(function, *arguments)

    async def answer(self, request: Request) -> Response:
        """Return the answer to anything that is asked of this node; never raises a `LedgerError`."""
        path, _, query = request.path.partition("?")
        asker = self._authenticator.sender(request, self._around.now_ms() // 1000)
        pause_s = self._limits.pause_s(
            asker or f"at {request.address}", handlers.log_of(path), len(request.body), _counter()
        )
        if pause_s:
            return handlers.too_many(pause_s)
        if asker is not None:
            self.gossip.heard_from(asker)
            self._cosigning.heard_from(asker)
        request = replace(request, path=path)
        try:
            if (request.method, path) == ("POST", handlers.ENTRIES_PATH):
                return await self._enqueue(request.body)
            if (request.method, path) == ("POST", REQUESTS_PATH):
                return await self._answer_request(request.body)
            if (request.method, path) == ("GET", FRONTIER_PATH):
                return await self.gossip.answer(query, asker)
            if (request.method, path) == ("POST", handlers.ADD_CHECKPOINT_PATH):
                return await self._answer_witness(request.body)
            return await self._on_store(handlers.answer, self._node, request, self._hour())
        except LedgerError as error:
            return handlers.error_response(error)

    async def _enqueue(self, body: bytes) -> Response:
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        if self._queue.full() or self._queued_bytes + len(body) > QUEUE_BYTES_MAX:
            raise StoreError("too many submissions are waiting: send again in a moment")
        self._queue.put_nowait((body, answered))
        self._queued_bytes += len(body)
        return await answered

    async def _answer_request(self, body: bytes) -> Response:
        """Answer a signed request; those under way count among the bytes that may wait."""
        if self._queued_bytes + len(body) > QUEUE_BYTES_MAX:
            raise StoreError("too much is waiting: ask again in a moment")
        self._queued_bytes += len(body)
        try:
            return await self._on_store(handlers.answer_request, self._node, body, self._around.now_ms())
        finally:
            self._queued_bytes -= len(body)

    async def _answer_witness(self, body: bytes) -> Response:
        """Answer a log that wants a cosignature; leaves that are lacking are fetched at once."""
        now_s = self._around.now_ms() // 1000
        response = await self._on_store(handlers.answer_add_checkpoint, self._node, body, now_s)
        if response.status == 503:
            self.gossip.wake(parse_origin(parse_add_checkpoint(body).checkpoint.origin))
        return response

    async def _next_batch(self) -> list[tuple[bytes, asyncio.Future[Response]]]:
        """Wait for a submission; return it with those that wait behind it, up to the bounds of a batch."""
        waiting, size = [await self._queue.get()], 0
        while True:
            size += len(waiting[-1][0])
            if len(waiting) == BATCH_MAX or size >= BATCH_BYTES_MAX or self._queue.empty():
                self._queued_bytes -= size
                return waiting
            waiting.append(self._queue.get_nowait())

    async def _commit_forever(self) -> None:
        while True:
            waiting = await self._next_batch()
            bodies = [body for body, _ in waiting]
            start = asyncio.get_running_loop().time()
            try:
                responses = await self._on_store(
                    handlers.answer_submissions, self._node, bodies, self._hour()
                )
            except LedgerError as error:
                structured_log.fault("commit.failed", error, submissions=len(bodies))
                responses = [handlers.error_response(error)] * len(bodies)
            for (_, answered), response in zip(waiting, responses, strict=True):
                if not answered.done():  # the client may have gone away
                    answered.set_result(response)
            statuses = [response.status for response in responses]
            structured_log.event(
                "commit",
                submissions=len(bodies),
                accepted=statuses.count(200),
                size=self._node.sequencer.state.size,
                ms=int((asyncio.get_running_loop().time() - start) * 1000),
            )

    async def _publish_forever(self) -> None:
        while True:
            await asyncio.sleep(self._node.config.publish_interval_s)
            try:
                if await self._on_store(self._node.publish):
                    self._cosigning.wake()
                await self.gossip.show()
            except LedgerError as error:  # a full or failing disk: shown as before until it is mended
                structured_log.fault("publish.failed", error)

    async def _pin_forever(self) -> None:
        """Let the desk pin new cards of the others; they come with the mirrored logs."""
        told = ""
        while True:
            await asyncio.sleep(self._node.config.mirror_interval_s)
            try:
                at = asyncio.get_running_loop().time()
                adopt = await self._on_store(self._node.adopt_if_due, at, self._hour())
                if adopt is not None:
                    pinned = [name for name, pin in adopt.cards.items() if pin]
                    structured_log.event("desk.adopted", version=adopt.version, pinned=len(pinned))
                told = ""
            except LedgerError as error:
                if str(error) != told:
                    structured_log.fault("adopt.failed", error)
                told = str(error)

    async def _enter_journal_forever(self) -> None:
        while True:
            await self._enter_journal()
            await asyncio.sleep(DESK_TICK_S)

    async def _enter_journal(self) -> None:
        """Let the desk make its entry if it is due; what cannot be written now stays in the journal."""
        try:
            entered = await self._on_store(self._node.enter_journal, self._around.now_ms())
        except LedgerError as error:
            structured_log.fault("desk.failed", error)
            return
        if entered is not None:  # how many were asked about is nobody's business
            structured_log.event("desk.entered", kept_back=entered.kept_back)

    async def _resume(self) -> None:
        """Hear what others hold of this log, then found it if it is new."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESUME_MAX_S):
                await asyncio.gather(*(self._hear(name) for name in self._node.unheard))
        if await self._on_store(self._node.found, self._hour()):
            structured_log.event("log.founded", origin=str(self._node.origin))
        reason = await self._on_store(lambda: self._node.waiting)
        if reason is not None:
            structured_log.event("sequencing.waits", reason=reason)

    async def _hear(self, agency: str) -> None:
        """Ask one agency what it holds of this log: a checkpoint that this node signed, or nothing."""
        try:
            fetched = await self.gossip.drive(agency, lambda: fetch_checkpoint(self._node.origin))
            await self._on_store(self._node.hear, agency, fetched[0] if fetched else None)
        except LedgerError as error:
            self.gossip.fail(agency, error)

    async def _hear_forever(self) -> None:
        """Ask again whoever did not answer at the start; a new log is founded once nothing forbids it.

        That may be later than the last answer: a clock that stood off is set right meanwhile.
        """
        while True:
            await asyncio.sleep(jitter(self._around.random, self._node.config.mirror_interval_s))
            now = _counter()
            unheard = [name for name in self._node.unheard if self.gossip.peers.due_at(name) <= now]
            await asyncio.gather(*(self._hear(name) for name in unheard))
            try:
                if await self._on_store(self._node.found, self._hour()):
                    structured_log.event("log.founded", origin=str(self._node.origin))
            except LedgerError as error:  # a full disk: tried again with the next round
                structured_log.fault("founding.failed", error)

    def _hour(self) -> int:
        """Hours since 1970 by this node's clock; what the others' clocks say to it is noted for `waiting`."""
        now_ms = self._around.now_ms()
        self._node.clock_fault = self.gossip.clocks.reason_to_wait(
            now_ms, self._node.rosters[-1].agencies, self._node.sequencer.state.hour
        )
        return now_ms // MS_IN_HOUR


def _counter() -> float:
    """Seconds that only grow."""
    return asyncio.get_running_loop().time()
