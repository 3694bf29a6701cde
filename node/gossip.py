"""How logs and roster versions spread: whom this node watches, what it makes of their frontiers.

Up to three random agencies of the roster are watched by long-poll, others drawn every few minutes. What they
show ahead of this node is pulled (``pulls``), from whoever shows it. Each owner is asked itself now and then,
so that a node whose watched peers all lie hears the truth within minutes. Nothing is believed because of who
said it: a frontier moves pulls and nothing else, and whoever fails or lies is asked less (``backoff``).

The node's own log in a frontier is looked at as well: a checkpoint of it that this node does not know means
that it was restored or copied, and it sequences no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TypeVar
from urllib.parse import parse_qsl

from ledger.errors import Conflict, LedgerError, Malformed, Refused, StoreError, Undecided, Unproven
from ledger.names import Origin
from ledger.tree import RosterPath, format_tree_path
from node import structured_log
from node.authentication import authenticated
from node.backoff import Backoff, jitter
from node.clocks import Clocks
from node.fork_pulls import ForkPulls
from node.frontier import WAIT_MAX_S, Frontier, Row, merge
from node.limits import Rate, TokenBuckets
from node.mirror import Mirror, fetch_opening, pull, pull_certified
from node.parallel import verify_many
from node.protocol import Procedure, Request, Response, Unreachable
from node.pulls import PAUSE_MAX_S, Pair, Pulls, retry_after_s
from node.session import fetch_checkpoint, fetch_file, fetch_frontier
from node.surroundings import Surroundings, drive
from node.wiring import Node

WATCHED_MAX = 3
"""Peers watched at once: news passes a network of 89 in some four steps, and one honest peer is enough."""
REDRAW_S = 180.0
"""How long a peer is watched as a rule: an eclipse by those drawn lasts minutes."""
OWNERS_ROUND_S = 600.0
"""In about so long every owner is asked itself: of 88, one every seven seconds."""
PEER_PAUSE_MAX_S = 60.0
"""The longest pause of a peer that does not answer; one that asks us is tried again at once."""
ANSWER_TIMEOUT_S = 20.0
"""Beyond the time that a long-poll may wait: a whole frontier takes 8 kB."""
ROSTERS_AT_ONCE = 16
"""Versions fetched from one peer in a row; a ledger has one every few years."""
POLLS = Rate(per_second=2.0, burst=8.0)
"""Answers taken from one peer for each `mirror_interval_s`: one that always has news costs no more."""
WAKES = Rate(per_second=1.0, burst=5.0)
"""Pulls of one log that others may ask for by `Gossip.wake`."""
EXCHANGES = Rate(per_second=0.2, burst=8.0)
"""Times that the evidence and branches of one log are fetched from one peer: at a fork a few in a row, while
one who shows other evidence each time costs little."""
POLLS_OF_PEER_MAX = 3
"""Long-polls of one agency that wait here at once; one more is answered at once."""
FRONTIER_TYPE = "application/msgpack"
Result = TypeVar("Result")


class Gossip:
    """The gossip of one node."""

    def __init__(self, node: Node, surroundings: Surroundings) -> None:
        self._node = node
        self._around = surroundings
        self._interval_s = node.config.mirror_interval_s
        base_s = min(1.0, self._interval_s)
        self.peers: Backoff[str] = Backoff(surroundings.random, base_s=base_s, pause_max_s=PEER_PAUSE_MAX_S)
        pairs: Backoff[Pair] = Backoff(surroundings.random, base_s=base_s, pause_max_s=PAUSE_MAX_S)
        self._pairs = pairs
        self.pulls = Pulls(self._take, node.is_ahead, self.peers, pairs)
        self.clocks = Clocks(_now)
        self._watched: dict[str, None] = {}
        self._known: dict[str, Frontier] = {}
        self._fork_pulls = ForkPulls(node, surroundings.on_store)
        self._forks_seen: dict[Pair, int] = {}
        """How many pieces an agency showed of a log's forks when they were fetched."""
        self._silent: dict[str, bool] = {}
        """Who failed last by giving no answer, rather than a false one."""
        rate = Rate(per_second=POLLS.per_second / self._interval_s, burst=POLLS.burst)
        self._polls = TokenBuckets(rate)
        self._wakes = TokenBuckets(WAKES)
        self._exchanges = TokenBuckets(EXCHANGES)
        self._changed = asyncio.Event()
        self._polling: dict[str, int] = {}
        self._is_ending = False

    def loops(self) -> list[Coroutine[None, None, None]]:
        """Everything that goes on until the node stops."""
        watches = [self._watch_forever() for _ in range(WATCHED_MAX)]
        return [*watches, self._ask_owners_forever(), self.pulls.run()]

    async def drive(self, agency: str, procedure: Callable[[], Procedure[Result]]) -> Result:
        """Run a procedure against an agency's node, at the first of its addresses that answers.

        Every request carries this node's name (``authentication``). Raises `Unreachable` if none answers, or
        what the procedure raises.
        """
        failed: Unreachable | None = None
        for url in self._node.addresses(agency):
            try:
                return await drive(
                    lambda url, request: self._around.exchange(url, self._signed(agency, request)),
                    url,
                    procedure(),
                )
            except Unreachable as error:
                failed = failed or error
        raise failed or Unreachable(f"no address of {agency} is known")

    def wake(self, origin: Origin) -> None:
        """Pull a log from its owner now: somebody showed that there is more of it than is held here."""
        is_held = self._node.copy_of(origin) is not None or self._node.lacks(origin)
        if not is_held or self._wakes.spend(origin, 1, _now()):
            return
        self._pairs.clear((origin.agency, origin))
        self.pulls.send(origin.agency, origin)

    def fail(self, agency: str, error: LedgerError) -> None:
        """Leave an agency alone for a while, because of what came of asking it."""
        self.peers.fail(agency, _now(), pause_min_s=retry_after_s(error))
        self._silent[agency] = isinstance(error, Unreachable)

    def heard_from(self, agency: str) -> None:
        """An agency's node has asked something, so it runs: a pause that it had for silence is over."""
        if self._silent.pop(agency, False):
            self.peers.clear(agency)

    def end_waiting(self) -> None:
        """Answer all who wait for news, and let nobody wait any more: the node stops."""
        self._is_ending = True
        self._changed.set()

    async def show(self) -> None:
        """Let the frontier say what is shown now, and answer those who wait for news."""
        if await self._around.on_store(self._node.show_frontier):
            self._changed.set()
            self._changed = asyncio.Event()

    async def answer(self, query: str, asker: str | None) -> Response:
        """Return the answer to a frontier request; only a known agency may wait for news.

        Raises `Malformed` for a query that is none.
        """
        since, wait_s = _parse_query(query)
        await self.show()
        changed = self._changed
        body = await self._around.on_store(self._node.frontier.answer, since, self._now_s())
        is_free = asker is not None and self._polling.get(asker, 0) < POLLS_OF_PEER_MAX
        if body is None and wait_s and asker is not None and is_free and not self._is_ending:
            await self._wait_for(changed, asker, wait_s)
            body = await self._around.on_store(self._node.frontier.answer, since, self._now_s())
        if body is None:
            return Response(status=304, headers={"Cache-Control": "no-store"})
        headers = {"Cache-Control": "no-store"}
        return Response(status=200, body=body, content_type=FRONTIER_TYPE, headers=headers)

    async def _wait_for(self, changed: asyncio.Event, asker: str, wait_s: int) -> None:
        self._polling[asker] = self._polling.get(asker, 0) + 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()
        finally:
            self._polling[asker] -= 1

    async def _watch_forever(self) -> None:
        """Watch one agency after another."""
        while True:
            agency = self._draw()
            if agency is None:
                await asyncio.sleep(jitter(self._around.random, self._interval_s))
                continue
            self._watched[agency] = None
            try:
                await self._watch(agency)
            finally:
                del self._watched[agency]

    def _draw(self) -> str | None:
        """One of those who are not watched and not in a pause; None if there is none now."""
        now = _now()
        free = [
            name
            for name in self._node.others
            if name not in self._watched and self.peers.due_at(name) <= now and self._node.addresses(name)
        ]
        return self._around.random.choice(free) if free else None

    async def _watch(self, agency: str) -> None:
        """Follow an agency's frontier until its time is over or it fails."""
        end = _now() + jitter(self._around.random, REDRAW_S)
        while (left := end - _now()) > 0 and agency in self._node.others:
            await asyncio.sleep(self._polls.spend(agency, 1, _now()))
            is_known = agency in self._known
            asked_at, wait_s = _now(), min(WAIT_MAX_S, int(left) + 1)
            try:
                is_news = await self._poll(agency, wait_s)
            except LedgerError as error:
                if self.peers.failures(agency) == 0:
                    structured_log.fault("watch.failed", error, agency=agency)
                self.fail(agency, error)
                self._known.pop(agency, None)
                return
            if is_known:  # the first answer proves little: one who lies next would never be paused for long
                self.peers.clear(agency)
            if not is_news and _now() - asked_at < wait_s / 2:  # it does not let us wait
                await asyncio.sleep(jitter(self._around.random, self._interval_s))

    async def _poll(self, agency: str, wait_s: int) -> bool:
        """Ask once, and follow what is new; return whether anything is."""
        before = self._known.get(agency)
        since = before.digest if before else None
        try:
            async with asyncio.timeout(wait_s + ANSWER_TIMEOUT_S):
                answer = await self.drive(agency, lambda: fetch_frontier(since, wait_s))
        except TimeoutError:
            raise Unreachable(f"{agency} did not answer within {wait_s + ANSWER_TIMEOUT_S:.0f} s") from None
        if answer is None:
            return False
        if answer.ledger_id != self._node.ledger_id:
            raise Unproven(f"{agency} is of another ledger")
        after = merge(before, answer)
        if after.digest == since:  # for which 304 is the answer, after a wait
            raise Malformed(f"{agency} gives as news what it gave before")
        self.clocks.hear(agency, after.now_s)
        known = set(
            before.rows if before and agency in self._known else ()
        )  # else all is to be looked at again
        self._known[agency] = after
        await self._follow_rosters(agency, after)
        await self._follow_rows(agency, [row for row in after.rows if row not in known])
        return True

    async def _follow_rows(self, agency: str, rows: list[Row]) -> None:
        """Make pulls of what an agency shows anew."""
        news = set(await self._around.on_store(self._node.news, rows))
        for row in rows:
            origin = Origin(self._node.config.ledger, *row.log)
            if row in news and origin == self._node.origin and self._node.refusal is None:
                await self._meet_own(agency)
            if row.forks != self._forks_seen.get((agency, origin), 0):
                self.pulls.send(agency, origin)
            if row not in news:
                self.pulls.withdraw(agency, origin)
            elif self._node.is_ahead(row):
                self.pulls.claim(agency, origin, row)
            else:  # another history: its checkpoint is the evidence
                self.pulls.send(agency, origin)

    async def _meet_own(self, agency: str) -> None:
        """An agency shows more, or something else, of this node's own log: ask for the checkpoint."""
        with contextlib.suppress(Unreachable):
            fetched = await self.drive(agency, lambda: fetch_checkpoint(self._node.origin))
            if fetched is None:
                return
            await self._around.on_store(self._node.hear, agency, fetched[0])
            if self._node.refusal is not None:
                structured_log.event("sequencing.ends", reason=self._node.refusal)
                self._known.clear()  # what they showed of this log is worth a pull now

    async def _follow_rosters(self, agency: str, frontier: Frontier) -> None:
        """Take the roster versions that an agency has beyond those in hand."""
        held = self._node.rosters[-1].version
        for version in range(held + 1, min(frontier.roster[0], held + ROSTERS_AT_ONCE) + 1):
            paths = [format_tree_path(RosterPath(version, is_note)) for is_note in (False, True)]
            pair = [await self.drive(agency, lambda path=path: fetch_file(path)) for path in paths]  # type: ignore[misc]
            if None in pair:
                raise Undecided(f"{agency} does not have the roster version {version} that it names")
            try:
                is_new = await self._around.on_store(self._take_roster, version, (pair[0], pair[1]))
            except (StoreError, Conflict) as error:  # of this node's own directory: no fault of the peer's
                structured_log.fault("roster.failed", error, version=version)
                return
            if is_new:
                structured_log.event("roster.took", version=version, agencies=len(self._node.others) + 1)
                self._known.clear()  # logs of new agencies, and leaves under the new version, count now
                self.pulls.retry()

    def _take_roster(self, version: int, pair: tuple[bytes, bytes]) -> bool:
        if version <= self._node.rosters[-1].version:  # another peer was faster
            return False
        self._node.take_roster(pair)
        return True

    async def _ask_owners_forever(self) -> None:
        """Ask every owner for its log, one after the other in random order, for ever."""
        while True:
            names = list(self._node.others)
            self._around.random.shuffle(names)
            for name in names:
                await asyncio.sleep(jitter(self._around.random, OWNERS_ROUND_S / len(names)))
                if self._node.addresses(name):
                    self.pulls.send(name, self._node.mirrors[name].origin)
            if not names:
                await asyncio.sleep(OWNERS_ROUND_S)

    async def _take(self, agency: str, origin: Origin, bundles_max: int) -> int:
        """Take what an agency has that is new of a log; return how many leaves, -1 if it has not the log."""
        try:
            try:
                new = await self._take_leaves(agency, origin, bundles_max)
            finally:  # whatever became of the leaves: evidence may say why
                await self._take_forks(agency, origin)
        except Unreachable:
            raise
        except LedgerError as error:
            self._node.set_fault(origin, f"from {agency}: {error}")
            raise
        if new > 0:
            size = await self._around.on_store(self._node.store.size, str(origin))
            structured_log.event("mirror.took", origin=str(origin), leaves=new, size=size)
        await self.show()
        return new

    async def _take_leaves(self, agency: str, origin: Origin, bundles_max: int) -> int:
        """Pull what goes on from what is held; whatever does not is looked into as a fork."""
        begun = await self._begin(agency, origin)
        mirror = self._node.copy_of(origin) or begun
        if mirror is None:
            return await self._look_at_own(agency, origin)
        state, held_bytes = await self._around.on_store(lambda: (mirror.state, mirror.held_bytes()))
        try:
            pulled = await self.drive(agency, lambda: pull(state, held_bytes, bundles_max))
            if pulled is None:
                return -1
            new = int(await self._around.on_store(self._node.take, origin, pulled, verify_many, begun))
            await self._take_certified(agency, origin, pulled.note)
        except (Malformed, Refused, Unproven):
            # another history, read on from where ours ends, may be no leaves at all
            if begun is not None or not await self._look(agency, origin):
                raise
            return 1
        return new

    async def _begin(self, agency: str, origin: Origin) -> Mirror | None:
        """Begin the copy of a later era of which nothing is held: its first leaf says what it keeps."""
        if not self._node.lacks(origin):
            return None
        opening = await self.drive(agency, lambda: fetch_opening(origin))
        if opening is None:
            return None
        return await self._around.on_store(self._node.begin_copy, origin, opening)

    async def _look(self, agency: str, origin: Origin) -> bool:
        """Look into a history that is not the one held; return whether it is known now why."""
        is_new = await self._fork_pulls.look(lambda work: self.drive(agency, work), origin)
        if is_new:
            structured_log.event("fork.found", origin=str(origin), agency=agency)
        return is_new or await self._around.on_store(self._node.forks.is_forked, origin)

    async def _look_at_own(self, agency: str, origin: Origin) -> int:
        """This node's own log in another's copy: that goes on only here, unless it is another history."""
        if origin != self._node.origin:
            return -1
        return 1 if await self._look(agency, origin) else -1

    async def _take_forks(self, agency: str, origin: Origin) -> None:
        """Fetch the evidence and branches that an agency shows, where it shows others than before."""
        known = self._known.get(agency)
        rows = known.rows if known else ()
        row = next((row for row in rows if row.log == (origin.agency, origin.era)), None)
        copy = self._node.copy_of(origin)
        is_open = origin == self._node.origin or (copy is not None and copy.state.size > 0)
        if row is None or row.forks == self._forks_seen.get((agency, origin), 0) or not is_open:
            return
        if pause_s := self._exchanges.spend((agency, origin), 1, _now()):
            asyncio.get_running_loop().call_later(pause_s, self.pulls.send, agency, origin)
            return
        if await self._fork_pulls.exchange(lambda work: self.drive(agency, work), origin):
            structured_log.event("fork.took", origin=str(origin), agency=agency)
        if copy is None or copy.state.size >= row.size:
            self._forks_seen[agency, origin] = row.forks  # else branches may part beyond what is held

    async def _take_certified(self, agency: str, origin: Origin, note: bytes) -> None:
        """Keep the cosignatures on what was pulled, and fetch what certifies it where that is not here."""
        lacking = await self._around.on_store(self._node.take_certified, origin, [note])
        if lacking is not None:
            notes = await self.drive(agency, lambda: pull_certified(origin, lacking))
            await self._around.on_store(self._node.take_certified, origin, notes)

    def _signed(self, agency: str, request: Request) -> Request:
        return authenticated(
            request,
            ledger_id=self._node.ledger_id,
            sender=self._node.config.agency,
            recipient=agency,
            signer=self._node.node_signer,
            now_s=self._now_s(),
        )

    def _now_s(self) -> int:
        return max(0, self._around.now_ms() // 1000)


def _parse_query(query: str) -> tuple[bytes | None, int]:
    fields = dict(parse_qsl(query, keep_blank_values=True))
    since, wait = fields.pop("since", None), fields.pop("wait", "0")
    is_wait = wait.isascii() and wait.isdigit() and len(wait) <= 2 and int(wait) <= WAIT_MAX_S
    if fields or not is_wait or (since is not None and len(since) != 64):
        raise Malformed(
            f"a frontier is asked for with since=<64 hex> and wait=<0 to {WAIT_MAX_S}>, or neither"
        )
    try:
        return (None if since is None else bytes.fromhex(since)), int(wait)
    except ValueError:
        raise Malformed("since is 64 hexadecimal digits") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
