"""Agencies that go wrong on purpose or by a bad operator: lying peers, clones, old backups, stolen keys.

- A *liar* keeps an honest log and tells others lies (`liar`).
- A *fork*: the disk is cloned, both machines go on with the same keys, each before half of the others.
- A *backup*: after a crash an older state of the databases is put back beside the newer instance record, or
  without one. The node must notice, and sequence nothing.
- *Stolen*: a liar has the log key of its own agency's machine and signs heads that nobody has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

from node import lease
from tests.simulator.host import Host
from tests.simulator.invariants import Watch
from tests.simulator.ledger import Ledger
from tests.simulator.liar import Liar
from tests.simulator.network import Network
from tests.simulator.options import Options
from tests.simulator.trace import Trace


class Mischief:
    """Who does what in this run; each kind picks one agency of its own while there are enough honest ones."""

    def __init__(
        self, options: Options, network: Network, trace: Trace, ledger: Ledger, watch: Watch
    ) -> None:
        self.options = options
        self._network = network
        self._trace = trace
        self._ledger = ledger
        self._watch = watch
        chance = options.chance("mischief")
        names = list(options.agencies)
        chance.shuffle(names)
        self.liar, self.forker, self.backup = names[0], names[1], names[2]
        self.has_liar = options.has("liars") or options.has("stolen")

    def begin(self) -> None:
        """Make the liar lie."""
        if not self.has_liar:
            return
        liar = Liar(self.options.chance("liar"), self._trace, self.liar)
        self._network.lies[self.liar] = liar
        self._ledger.liars.add(self.liar)
        self._ledger.staff[self.liar].is_trusting = False
        if self.options.has("stolen"):
            liar.stolen = self._ledger.staff[self.liar].agency.origin
            self._ledger.contested.add(self.liar)
            self._trace.note("stolen", self.liar)

    async def clone(self, make: Callable[[Host, str], Host], seconds: float) -> None:
        """Clone the forker's disk, and let the second machine go on before half of the others."""
        chance = self.options.chance("fork")
        host = self._ledger.hosts[self.forker]
        await asyncio.sleep(chance.uniform(0.2, 0.5) * seconds)
        while host.node is None or host.node.sequencer.state.size < 2:
            await asyncio.sleep(0.5)
        files = host.disk.copy()
        self._ledger.contested.add(self.forker)
        self._ledger.staff[self.forker].is_trusting = False
        twin = make(host, f"{self.forker}-twin")
        twin.disk.put(files)
        self._rewrite_instance(twin)
        twin.on_word = host.on_word = True
        names = [name for name in self.options.agencies if name != self.forker]
        for name in chance.sample(names, max(1, len(names) // 2)):
            self._network.routes[name, self.forker] = twin.name
        self._trace.note("fork", self.forker)
        twin.start()

    def meet(self) -> None:
        """From now on everybody is shown the other machine of the forker than before."""
        twin = f"{self.forker}-twin"
        if twin in self._ledger.hosts:
            for name in self.options.agencies:
                before = self._network.routes.pop((name, self.forker), self.forker)
                if before == self.forker:
                    self._network.routes[name, self.forker] = twin

    async def put_back(self, seconds: float) -> None:
        """Put an older backup of the databases onto the disk of a machine that stopped."""
        chance = self.options.chance("backup")
        host = self._ledger.hosts[self.backup]
        await asyncio.sleep(chance.uniform(0.1, 0.4) * seconds)
        while host.node is None or host.node.sequencer.state.size < 1:
            await asyncio.sleep(0.5)
        older = {name: data for name, data in host.disk.copy().items() if not name.endswith(".instance")}
        size = host.node.sequencer.state.size
        while host.node is None or host.node.sequencer.state.size == size:
            await asyncio.sleep(0.5)
        host.crash("to put back a backup")
        kept = self._instance_file(host, chance)
        host.disk.freeze(older | kept)
        self._ledger.restored.add(host.name)
        self._ledger.staff[host.name].is_trusting = False
        self._watch.forget(host.name)
        self._trace.note("backup", host.name)
        host.start()

    def _instance_file(self, host: Host, chance: Random) -> dict[str, bytes]:
        path = lease.instance_path(host.config.data / "log.db")
        return {path.name: path.read_bytes()} if path.exists() and chance.random() < 0.7 else {}

    def _rewrite_instance(self, twin: Host) -> None:
        """What whoever clones a machine does to the one file that would tell."""
        log_path = twin.config.data / "log.db"
        path = lease.instance_path(log_path)
        record = lease.read_instance(path)
        if record is not None:
            path.write_bytes(lease._format(replace(record, path=str(log_path))))
