"""What befalls machines while a run is disturbed: crashes, restarts, partitions, wrong clocks, slow disks.

Each is a task with a stream of chance of its own; `Weather.heal` ends them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random

from tests.simulator.clock import MS_IN_HOUR
from tests.simulator.host import Host
from tests.simulator.network import Network
from tests.simulator.options import Options
from tests.simulator.trace import Trace

STEPS_MAX = 400
"""A crash comes within so many steps of a node: ten seconds of its life, or in the midst of its start."""


class Weather:
    """The disturbances of one run."""

    def __init__(
        self,
        options: Options,
        network: Network,
        trace: Trace,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        """``spawn`` makes a task whose error ends the run."""
        self.options = options
        self.network = network
        self.trace = trace
        self._spawn = spawn
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, hosts: list[Host]) -> None:
        """Begin to disturb."""
        options = self.options
        self.network.break_as(options)
        for host in hosts:
            chance = options.chance(host.name, "weather")
            is_hit, is_skewed, is_slow = (chance.random() < share for share in (0.6, 0.5, 0.5))
            if options.has("crashes") and is_hit:
                self.add(self._crash(host, options.chance(host.name, "crashes")))
            if options.has("skew") and is_skewed:
                self.add(self._skew(host, options.chance(host.name, "skew")))
            if options.has("slow") and is_slow:
                host.slow_s = chance.choice((0.02, 0.2, 1.0))
        if options.has("partitions"):
            names = [host.name for host in hosts]
            self.add(self._partition(names, options.chance("partitions")))

    def add(self, disturbance: Coroutine[None, None, None]) -> None:
        """Let it go on until `heal`."""
        self._tasks.append(self._spawn(disturbance))

    async def heal(self, hosts: list[Host]) -> None:
        """End all of it; then every machine is up, on time and reachable."""
        for task in self._tasks:
            task.cancel()
        self.network.heal()
        for host in hosts:
            host.steps_left, host.slow_s = None, 0.0
            host.clock.set_right()
            if host.is_stopping:
                await host.until_stopped()
            if not host.is_up:
                host.start()

    async def _crash(self, host: Host, chance: Random) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / 6))
            kind = chance.random()
            if not host.is_up:
                pass
            elif kind < 0.6:
                host.steps_left = chance.randrange(STEPS_MAX if chance.random() < 0.5 else 12)
            elif kind < 0.85:
                host.crash()
            else:
                await host.stop()
            if not host.is_up:
                await asyncio.sleep(chance.expovariate(1 / 2))
                if not host.is_up:
                    host.start()
                    if chance.random() < 0.2:
                        host.steps_left = chance.randrange(60)  # again, while it starts

    async def _skew(self, host: Host, chance: Random) -> None:
        if chance.random() < 0.5:
            host.clock.drift = chance.uniform(-0.01, 0.01)
        while True:
            span = MS_IN_HOUR // 4 if chance.random() < 0.6 else 6 * MS_IN_HOUR
            host.clock.offset_ms = chance.randint(-span, span)
            self.trace.note("clock", host.name, host.clock.offset_ms)
            await asyncio.sleep(chance.expovariate(1 / 10))

    async def _partition(self, names: list[str], chance: Random) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / 5))
            side = set(chance.sample(names, chance.randrange(1, len(names))))
            one_way = chance.random() < 0.4
            cut = [(a, b) for a in names for b in names if (a in side) != (b in side)]
            cut = [(a, b) for a, b in cut if not one_way or a in side]
            self.network.blocked.update(cut)
            self.trace.note("partition", ",".join(sorted(side)), "one way" if one_way else "both ways")
            await asyncio.sleep(chance.expovariate(1 / 6))
            self.network.blocked.difference_update(cut)
