"""Which log is pulled from whom, and when: many at once, but few from one peer and of one log.

Reasons to pull are *claims* (a peer's frontier says that it is ahead of what is held here, or has another
history) and *errands* (ask this agency for this log in any case: its owner now and then, or somebody who just
said so). One loop looks at both whenever something has changed, and starts what may start.

A peer that is slow, silent or false holds at most `OF_PEER_MAX` of `PULLS_MAX` places, and is asked less and
less often; a log that it does not give is asked of another after `HEDGE_S`, and of its owner at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ledger.errors import LedgerError
from ledger.names import Origin
from node import structured_log
from node.backoff import Backoff
from node.frontier import Row
from node.mirror import PULL_BUNDLES_MAX
from node.protocol import ProblemAnswer, Unreachable

PULLS_MAX = 16
"""Pulls at once: each takes 2 MB as a rule, and they share one store's thread."""
OF_PEER_MAX = 3
"""Of one peer: three that mean ill, as many as are watched, leave nearly half of the places."""
OF_LOG_MAX = 2
"""Of one log, its owner not counted."""
HEDGE_S = 5.0
"""After so long without a result another peer is asked as well: a pull takes a second or two as a rule."""
PULL_TIMEOUT_S = 90.0
"""Of one pull: 16 bundles of 128 kB, as they are as a rule, over a line of 200 kbit/s."""
PAUSE_MAX_S = 600.0
"""The longest pause of one log at one peer: whoever has it again by then is claimed again anyway."""

Pair = tuple[str, Origin]
"""An agency that is asked, and the log that it is asked for."""
Take = Callable[[str, Origin, int], Awaitable[int]]
"""Pulls at most so many bundles of a log; returns how many leaves are new, -1 if it has none."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A pull under way."""

    task: asyncio.Task[None]
    started: float


class Pulls:
    """The pulls of one node."""

    def __init__(
        self, take: Take, is_news: Callable[[Row], bool], peers: Backoff[str], pairs: Backoff[Pair]
    ) -> None:
        """``is_news(row)`` says whether a row is (still) ahead of what is held."""
        self._take = take
        self._is_news = is_news
        self._peers = peers
        self._pairs = pairs
        self._claims: dict[Origin, dict[str, Row]] = {}
        self._errands: dict[Pair, None] = {}
        self._running: dict[Pair, _Running] = {}
        self._stirred = asyncio.Event()
        self._defect: BaseException | None = None

    def claim(self, agency: str, origin: Origin, row: Row) -> None:
        """Note that an agency shows more of a log than is held here, or something else."""
        self._claims.setdefault(origin, {})[agency] = row
        self._stirred.set()

    def withdraw(self, agency: str, origin: Origin) -> None:
        """Note that an agency shows nothing of a log that is not held here."""
        self._claims.get(origin, {}).pop(agency, None)

    def send(self, agency: str, origin: Origin) -> None:
        """Ask an agency for a log once, whatever it claims."""
        self._errands[agency, origin] = None
        self._stirred.set()

    def retry(self) -> None:
        """Look again at once: something that refused has changed."""
        self._pairs.clear_all()
        self._stirred.set()

    async def run(self) -> None:
        """Start pulls for ever."""
        try:
            while self._defect is None:
                self._stirred.clear()
                pause = self._start_what_may()
                # not wait_for: before Python 3.12 it loses a cancellation that comes with the event
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stirred.wait()
            raise self._defect
        finally:
            tasks = [one.task for one in self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_what_may(self) -> float | None:
        """Start every pull that may begin now; return after how many seconds to look again."""
        now, later = _now(), list[float]()
        for pair in self._wanted():
            if len(self._running) >= PULLS_MAX:
                break
            at = self._may_start_at(pair, now)
            if at is None:
                continue
            if at > now:
                later.append(at)
                continue
            self._errands.pop(pair, None)
            task = asyncio.create_task(self._pull(pair))
            task.add_done_callback(lambda task, pair=pair: self._end(pair, task))  # type: ignore[misc]
            self._running[pair] = _Running(task, now)
        return max(0.01, min(later) - now) if later else None

    def _wanted(self) -> list[Pair]:
        """Errands, then claims that still hold; one that failed least first, so that liars come last."""
        claimed = []
        for origin in list(self._claims):
            by_agency = self._claims[origin]
            for agency in [name for name, row in by_agency.items() if not self._is_news(row)]:
                del by_agency[agency]
            if not by_agency:
                del self._claims[origin]
            claimed += [(agency, origin) for agency in by_agency]
        claimed.sort(key=self._pairs.failures)
        return list(dict.fromkeys((*self._errands, *claimed)))

    def _may_start_at(self, pair: Pair, now: float) -> float | None:
        """When a pull may begin; None if only the end of another decides that."""
        agency, origin = pair
        if pair in self._running or sum(one[0] == agency for one in self._running) >= OF_PEER_MAX:
            return None
        at = max(now, self._peers.due_at(agency), self._pairs.due_at(pair))
        of_log = [one.started for (_, log), one in self._running.items() if log == origin]
        if of_log and agency != origin.agency:
            if len(of_log) >= OF_LOG_MAX:
                return None
            at = max(at, max(of_log) + HEDGE_S)
        return at

    async def _pull(self, pair: Pair) -> None:
        agency, origin = pair
        claim = self._claims.get(origin, {}).get(agency)
        bundles = 1 if self._pairs.failures(pair) else PULL_BUNDLES_MAX
        try:
            async with asyncio.timeout(PULL_TIMEOUT_S):
                new = await self._take(agency, origin, bundles)
        except TimeoutError:
            self._fail(pair, Unreachable(f"{agency} did not give {origin} within {PULL_TIMEOUT_S:.0f} s"))
        except LedgerError as error:
            self._fail(pair, error)
        else:
            if new > 0:  # what was here already proves nothing: a liar in its pause would end it so
                self._peers.clear(agency)
            if new > 0 or claim is None or not self._is_news(claim):
                self._pairs.clear(pair)
            else:  # it has not got what its frontier names
                self._pairs.fail(pair, _now())

    def _end(self, pair: Pair, task: asyncio.Task[None]) -> None:
        self._running.pop(pair, None)
        self._defect = self._defect or (None if task.cancelled() else task.exception())
        self._stirred.set()

    def _fail(self, pair: Pair, error: LedgerError) -> None:
        agency, origin = pair
        if self._pairs.failures(pair) == 0:
            structured_log.fault("pull.failed", error, origin=str(origin), agency=agency)
        self._pairs.fail(pair, _now(), pause_min_s=retry_after_s(error))
        if isinstance(error, Unreachable):
            self._peers.fail(agency, _now())


def retry_after_s(error: LedgerError) -> float:
    """How long the other side asked to be left alone; 0 if it did not."""
    headers = error.problem.headers if isinstance(error, ProblemAnswer) else {}
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
