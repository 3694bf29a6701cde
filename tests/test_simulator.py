"""Networks of real nodes under seeds that break everything; and that the simulator would see a defect.

`docs/SIMULATOR.md` says what is broken and what must hold. ``make simulate`` runs more seeds.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ledger.errors import Refused
from ledger.names import Place
from ledger.rules import violation
from node import lease, mirror, own_log, witness
from node.sequencer import Sequencer
from tests.simulator.command import main, tally
from tests.simulator.options import FAULTS, Options, draw
from tests.simulator.run import Outcome, play
from tests.simulator.shrink import shrink
from tests.virtual_loop import Stuck, VirtualLoop

SEEDS = 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_breaks_the_record_holds(seed: int) -> None:
    """One seed: the outcome names its schedule, what failed, and the command that shows it again."""
    outcome = play(draw(seed))
    assert outcome.failure is None, f"{outcome.options}: {outcome.failure}; {outcome.options.command}"
    assert outcome.entries > 0


def test_no_class_of_fault_is_left_out_of_the_hundred() -> None:
    """Each is on in some seeds, and off in some."""
    drawn = Counter(fault for seed in range(SEEDS) for fault in draw(seed).faults)
    assert set(drawn) == set(FAULTS)
    assert all(5 <= count <= 95 for count in drawn.values())


def test_a_seed_is_one_history_whatever_the_hashes_of_this_process() -> None:
    """Two processes, two values of PYTHONHASHSEED, one trace."""
    said = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulator", "--seed", "5"],
            env=os.environ | {"PYTHONHASHSEED": value},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for value in ("1", "2")
    ]
    assert said[0] == said[1]
    assert "trace" in said[0]


def test_another_seed_is_another_history() -> None:
    """The trace tells schedules apart."""
    options = replace(draw(1), seconds=5, faults=())
    assert play(options).digest != play(replace(options, seed=2)).digest


def test_the_last_line_counts_what_happened() -> None:
    """What was drawn but did not come to pass is not counted."""
    outcome = play(Options(seed=1, nodes=3, seconds=12, faults=("crashes", "loss")))
    line = tally([outcome, replace(outcome, counts={}, failure="broken")])
    assert line.startswith("2 seeds, 1 failed")
    assert "1 crashes" in line and "1 restarts" in line and "1 lost messages" in line and "0 forks" in line


def caught(*faults: str, seeds: int = 12) -> Outcome:
    """The first failing outcome of some seeds with these faults."""
    for seed in range(seeds):
        outcome = play(Options(seed=seed, nodes=3, seconds=20, faults=faults))
        if outcome.failure is not None:
            return outcome
    raise AssertionError("the simulator does not see it")


def test_a_disk_that_forgets_what_was_acknowledged_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a commit not synced before the answer, a crash would lose it: here the disk forgets the WAL."""

    def forgets(self: Any, files: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data for name, data in files.items() if not name.endswith("-wal")}

    monkeypatch.setattr("tests.simulator.disk.Disk._torn", forgets)
    assert caught("crashes").failure is not None


def test_a_restored_node_that_goes_on_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without instance record and answers it would sign a second history."""
    monkeypatch.setattr(lease, "check_instance", lambda *arguments, **options: None)
    monkeypatch.setattr(own_log, "reason_to_wait", lambda *arguments, **options: None)
    assert caught("backups").failure is not None


def test_a_copy_that_checks_no_root_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented heads would be kept, and shown to auditors."""
    monkeypatch.setattr(mirror.Mirror, "_check_root", lambda *arguments: None)
    assert caught("stolen", "liars").failure is not None


def test_a_refused_entry_that_is_kept_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequencer that answers 409 and yet writes the leaf breaks its own word."""
    real = Sequencer._take

    def takes(self: Sequencer, one: Any, batch: Any, hour: int) -> Any:
        outcome = real(self, one, batch, hour)
        is_odd = isinstance(outcome, Place) and outcome.index % 5 == 4
        return Refused((violation("record.identity", "it stands already"),)) if is_odd else outcome

    monkeypatch.setattr(Sequencer, "_take", takes)
    assert "was refused, and stands in the log" in (caught().failure or "")


def test_a_witness_that_cosigns_what_it_does_not_hold_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cosignature stands for leaves in hand, not for an owner's word."""
    monkeypatch.setattr(witness.HeldLogs, "check", lambda *arguments, **options: None)
    assert "does not hold" in (caught().failure or "")


def test_what_fails_shrinks_to_what_matters() -> None:
    """Faults, nodes and time that are not needed are left out; the number of reruns is bounded."""
    runs: list[Options] = []

    def fake(options: Options) -> Outcome:
        runs.append(options)
        is_bad = options.has("crashes") and (options.events_max or 1000) >= 300
        return _outcome(options, "broken" if is_bad else None)

    start = Options(seed=7, nodes=9, seconds=30, faults=tuple(FAULTS))
    found = shrink(_outcome(start, "broken"), fake)
    assert (found.options.faults, found.options.nodes) == (("crashes",), 3)
    assert 300 <= (found.options.events_max or 0) < 500
    assert len(runs) <= 40
    assert "--without" in found.options.command and "--events" in found.options.command


def _outcome(options: Options, failure: str | None) -> Outcome:
    return Outcome(
        options=options,
        failure=failure,
        digest="",
        events=1000,
        disturbed_events=1000,
        counts={},
        entries=1,
        last=(),
    )


def test_a_command_that_names_an_unknown_fault_says_which_there_are() -> None:
    """A misspelt class would silently leave nothing out."""
    with pytest.raises(SystemExit, match="unknown: crashs; known are loss"):
        main(["--seed", "1", "--without", "crashs"])


def test_time_passes_only_when_nothing_else_is_to_do() -> None:
    """An hour of waiting takes no time, and comes in order."""
    loop, seen = VirtualLoop(), []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(loop.time())

    async def both() -> None:
        await asyncio.gather(wait(3600), wait(60))

    loop.run_until_complete(both())
    loop.close()
    assert seen == [60, 3600]


def test_a_deadlock_is_no_endless_run() -> None:
    """Where nothing is due and somebody waits, the loop says so."""
    loop = VirtualLoop()
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())
    loop.close()
