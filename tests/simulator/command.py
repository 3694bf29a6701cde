"""``python -m tests.simulator``: one seed with all that happened in it, or many seeds on all cores.

The last line of many seeds says how many of them had what, so that nobody takes idle schedules for proof.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace

from tests.simulator.options import FAULTS, Options, draw
from tests.simulator.run import Outcome, play
from tests.simulator.shrink import shrink

TALLY = {
    "crashes": "crash",
    "restarts": "restart",
    "partitions": "partition",
    "lost messages": "lost",
    "doubled messages": "doubled",
    "clock skew": "clock",
    "lying peers": "lie",
    "stolen keys": "stolen",
    "backups put back": "backup",
    "forks": "fork",
    "certified checkpoints": "certified",
}
"""What the last line counts, and the event that a seed had."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; return 1 if anything failed."""
    parsed = _parser().parse_args(arguments)
    if parsed.seed is not None:
        return _one(_options(parsed), parsed.verbose, parsed.shrink)
    outcomes = run_many(range(parsed.first, parsed.first + parsed.seeds), parsed.jobs)
    failed = [one for one in _shown(outcomes, parsed.seeds) if one.failure is not None]
    for outcome in failed[:3]:
        _say(describe(shrink(outcome, play) if parsed.shrink else outcome))
    return 1 if failed else 0


def run_many(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Yield the outcome of each seed as it comes."""
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(play, draw(seed)) for seed in seeds]):
            yield done.result()


def tally(outcomes: Iterable[Outcome]) -> str:
    """Return the line that says how many seeds ran and how many of them had what."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts["seeds"] += 1
        counts["failed"] += outcome.failure is not None
        counts["entries"] += outcome.entries
        for words, event in TALLY.items():
            counts[words] += outcome.counts.get(event, 0) > 0
    had = ", ".join(f"{counts[words]} {words}" for words in TALLY)
    return (
        f"{counts['seeds']} seeds, {counts['failed']} failed, {counts['entries']} entries; seeds with: {had}"
    )


def describe(outcome: Outcome) -> str:
    """Return what a person needs of a failure: what broke, under what, and how to see it again."""
    lines = [
        f"{outcome.options}",
        *(f"  {line}" for line in outcome.last),
        f"FAILED: {outcome.failure}",
        f"replay: {outcome.options.command}",
    ]
    return "\n".join(lines)


def _one(options: Options, is_verbose: bool, is_shrunk: bool) -> int:
    _say(str(options))
    outcome = play(options, _say if is_verbose else None)
    if outcome.failure is None:
        _say(f"holds; {outcome.events} events, {outcome.entries} entries, trace {outcome.digest}")
        return 0
    _say(describe(shrink(outcome, play) if is_shrunk else outcome))
    return 1


def _shown(outcomes: Iterable[Outcome], count: int) -> list[Outcome]:
    """Collect outcomes, saying how far it is and what fails meanwhile, and the line of all at the end."""
    found: list[Outcome] = []
    for outcome in outcomes:
        found.append(outcome)
        if outcome.failure is not None:
            _say(f"{outcome.options}\n  FAILED: {outcome.failure}\n  replay: {outcome.options.command}")
        if len(found) % 100 == 0:
            _say(f"{len(found)} of {count} seeds")
    _say(tally(found))
    return found


def _options(parsed: argparse.Namespace) -> Options:
    options = draw(parsed.seed)
    faults = set(options.faults) | set(_split(parsed.with_)) - set(_split(parsed.without))
    faults -= set(_split(parsed.without))
    return replace(
        options,
        nodes=parsed.nodes or options.nodes,
        seconds=parsed.seconds or options.seconds,
        faults=tuple(fault for fault in FAULTS if fault in faults),
        events_max=parsed.events,
    )


def _split(text: str) -> list[str]:
    words = [word for word in text.split(",") if word]
    if unknown := [word for word in words if word not in FAULTS]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known are {', '.join(FAULTS)}")
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--without", default="", help="classes of fault to leave out, by comma")
    parser.add_argument("--with", dest="with_", default="", help="classes of fault to add, by comma")
    parser.add_argument("--nodes", type=int, help="agencies, instead of the seed's")
    parser.add_argument("--seconds", type=int, help="virtual seconds of disturbance, instead of the seed's")
    parser.add_argument("--events", type=int, help="heal after so many events already")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller schedule that fails")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every event")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
