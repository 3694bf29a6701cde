"""One seed from the first start of its nodes to rest, and what came of it.

`play` is a function of its options: it makes a ledger in a directory of its own, lets staff work while things
break, heals everything, waits (virtually) until nothing changes any more, and checks what must hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.config import parse_config
from node.wiring import Config
from tests.simulator import agencies
from tests.simulator.clock import FIRST_MS, MS_IN_HOUR, Clock
from tests.simulator.disk import Crash, installed
from tests.simulator.host import Host
from tests.simulator.invariants import REQUESTS_PER_S, Watch, check_rest, unrest
from tests.simulator.ledger import Broken, Ledger
from tests.simulator.loop import OWNER, OwnedLoop
from tests.simulator.mischief import Mischief
from tests.simulator.network import Network
from tests.simulator.options import Options
from tests.simulator.staff import Staff
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

LOOK_S, LOOK_TALL_S = 1.0, 10.0
"""How often all stores are looked at, and in a run of many nodes, which costs their square."""
REST_S = 240.0
"""Virtual seconds that healed nodes may take to come to rest: some timeouts and back-offs long."""
ENTRIES = (3, 12)
"""Entries of one agency's staff."""
TALL = 20
"""Of so many nodes each does less: one run is to show that 89 work, not to take an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run came to."""

    options: Options
    failure: str | None
    digest: str
    """The hash of everything that happened: the same for the same options."""
    events: int
    disturbed_events: int
    """Those before everything was healed."""
    counts: dict[str, int]
    entries: int
    last: tuple[str, ...]


def play(options: Options, show: Callable[[str], None] | None = None) -> Outcome:
    """Run one schedule; the outcome names what failed, nothing is raised."""
    base = Path(tempfile.mkdtemp(prefix="pledger-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    loop = OwnedLoop()
    simulation = Simulation(options, base, loop, show)
    previous = logging.getLogger("pledger").handlers
    try:
        with (
            installed(simulation.disks),
            agencies.parsed_once(),
            simulation.logged(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", ResourceWarning)
            loop.set_exception_handler(simulation.on_exception)
            asyncio.set_event_loop(loop)
            loop.run_until_complete(simulation.main())
            simulation.close()
    except Broken as error:
        simulation.failed = simulation.failed or str(error)
    except Exception as error:
        simulation.failed = simulation.failed or f"{type(error).__name__}: {error}"
        if show is not None:
            raise
    finally:
        logging.getLogger("pledger").handlers = previous
        simulation.close()
        _end_tasks(loop)
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(base, ignore_errors=True)
    return simulation.outcome()


class Simulation:
    """A ledger's machines, staff, network and what befalls them."""

    def __init__(
        self, options: Options, base: Path, loop: OwnedLoop, show: Callable[[str], None] | None
    ) -> None:
        self.options = options
        self.failed: str | None = None
        self._base = base
        self._loop = loop
        self.trace = Trace(loop.time, show)
        self.network = Network(options, self.trace)
        chance = options.chance("ledger")
        # Shortly before a full hour, so that some runs see it pass.
        self._start_ms = FIRST_MS + MS_IN_HOUR - chance.randrange(2 * options.seconds) * 1000
        interval_s = 1.0 if options.nodes < TALL else 10.0
        self.ledger = Ledger(hosts={}, staff={})
        self.watch = Watch(self.ledger, self.trace)
        self._agencies = agencies.found(base, options.agencies, interval_s)
        for name, agency in self._agencies.items():
            toml = (agency.directory / "node.toml").read_bytes()
            self._add(name, name, parse_config(toml, agency.directory))
        self.weather = Weather(options, self.network, self.trace, self._spawn)
        self.mischief = Mischief(options, self.network, self.trace, self.ledger, self.watch)
        self._look_s = LOOK_S if options.nodes < TALL else LOOK_TALL_S
        self._ended = asyncio.Event()
        self._disturbed_events = 0

    def disks(self) -> list[Any]:
        """All disks there are, a second machine's too."""
        return [host.disk for host in self.ledger.hosts.values()]

    def fail(self, text: str, error: BaseException | None = None) -> None:
        """End the run: something happened that never may."""
        if self.failed is None:
            self.failed = text
            self.trace.note("failed", text)
        self._ended.set()

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody caught is a defect, but for what died with a machine."""
        error = context.get("exception")
        if not isinstance(error, Crash | asyncio.CancelledError | None):
            self.fail(f"nobody caught {error!r}: {context.get('message')}", error)

    @contextlib.contextmanager
    def logged(self) -> Any:
        """Take the nodes' structured logs into the trace: names only, a detail may carry a path."""
        logger = logging.getLogger("pledger")
        handler = _Events(self.trace)
        logger.handlers, level = [handler], logger.level
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.propagate = True

    async def main(self) -> None:
        """The run."""
        ended = asyncio.create_task(self._ended.wait())
        course = asyncio.create_task(self._course())
        try:
            await asyncio.wait([ended, course], return_when=asyncio.FIRST_COMPLETED)
            if course.done():
                course.result()
        finally:
            ended.cancel()
            course.cancel()

    async def _course(self) -> None:
        self._start_all()
        watching = self._spawn(self._look_forever())
        working = [self._spawn(self._work(staff)) for staff in self.ledger.staff.values()]
        self.weather.begin(list(self.ledger.hosts.values()))
        self._begin_mischief()
        await self._disturbed()
        await self.weather.heal(list(self.ledger.hosts.values()))
        self.trace.note("healed")
        self._disturbed_events = self.trace.events
        self.mischief.meet()
        await self._until_rest()
        watching.cancel()
        self.watch.look()
        self.watch.certified.check_rest()
        check_rest(self.ledger, self._base, self._true_hour())
        self._check_work()
        for task in working:
            task.cancel()
        for host in list(self.ledger.hosts.values()):
            await host.stop()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task of the simulation itself: whatever it raises ends the run."""

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self.fail(str(error) if isinstance(error, Broken) else f"in the simulation: {error!r}", error)

        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(ended)
        return task

    def _start_all(self) -> None:
        chance = self.options.chance("start")
        for host in self.ledger.hosts.values():
            self._loop.call_later(chance.uniform(0, 2), _start_first, host)

    def _begin_mischief(self) -> None:
        self.mischief.begin()
        if self.options.has("forks"):
            self.weather.add(self.mischief.clone(self._twin, self.options.seconds))
        if self.options.has("backups"):
            self.weather.add(self.mischief.put_back(self.options.seconds))

    async def _work(self, staff: Staff) -> None:
        few, many = ENTRIES if self.options.nodes < TALL else (1, 2)
        entries = self.options.chance(staff.machine, "entries").randint(few, many)
        await staff.work(entries, self.options.seconds * 0.8)

    async def _disturbed(self) -> None:
        """As long as things break: until the time is over, or enough has happened."""
        end, events_max = self.options.seconds, self.options.events_max
        while self._loop.time() < end and (events_max is None or self.trace.events < events_max):
            await asyncio.sleep(0.05)

    async def _until_rest(self) -> None:
        deadline = self._loop.time() + REST_S
        while todo := unrest(self.ledger, self._true_hour()):
            if self._loop.time() > deadline:
                raise Broken(f"no rest after {REST_S:.0f} s: {'; '.join(todo[:6])}")
            await asyncio.sleep(self._look_s)
        await asyncio.sleep(3)

    async def _look_forever(self) -> None:
        while True:
            self.watch.look()
            await asyncio.sleep(self._look_s)

    def _check_work(self) -> None:
        spent_s = self._loop.time()
        for (sender, receiver), count in self.network.asked.items():
            if sender in self.ledger.hosts and count > REQUESTS_PER_S * spent_s:
                raise Broken(f"{sender} asked {receiver} {count} times in {spent_s:.0f} s")

    def _true_hour(self) -> int:
        return (self._start_ms + int(self._loop.time() * 1000)) // MS_IN_HOUR

    def _add(self, agency: str, name: str, config: Config) -> Host:
        clock = Clock(self._loop.time, self._start_ms)
        host = Host(name, config, self.options, self.network, clock, self.trace, self.fail)
        self.ledger.hosts[name] = host
        self.ledger.staff[name] = Staff(
            self._agencies[agency], name, self.options, self.network, self.trace, self.fail
        )
        return host

    def _twin(self, host: Host, name: str) -> Host:
        agency = self._agencies[host.config.agency]
        twin = self._add(agency.name, name, agencies.copy_directory(agency, self._base / name))
        staff = self.ledger.staff[name]
        staff.is_trusting = False
        self.weather.add(self._work(staff))
        return twin

    def close(self) -> None:
        """Close what is still open."""
        for host in self.ledger.hosts.values():
            if host.life is not None:
                host.life.end()
            host.disk.close()

    def outcome(self) -> Outcome:
        """What came of it."""
        return Outcome(
            options=self.options,
            failure=self.failed,
            digest=self.trace.digest,
            events=self.trace.events,
            disturbed_events=self._disturbed_events or self.trace.events,
            counts=dict(self.trace.counts),
            entries=sum(len(staff.acknowledged) for staff in self.ledger.staff.values()),
            last=tuple(self.trace.last),
        )


def _start_first(host: Host) -> None:
    """The first start, unless a crash that came before it has led to one."""
    if not host.is_up:
        host.start()


class _Events(logging.Handler):
    """Structured logs as events of the trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = getattr(record, "fields", {})
        owner = OWNER.get()
        name = getattr(getattr(owner, "host", None), "name", "-")
        shown = [fields[key] for key in ("origin", "size", "leaves", "accepted", "error") if key in fields]
        self._trace.note(record.getMessage(), name, *shown)


def _end_tasks(loop: OwnedLoop) -> None:
    """Let every task that is left end, so that none is collected later with a complaint."""
    loop.set_exception_handler(lambda loop, context: None)
    for _ in range(20):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.0))
