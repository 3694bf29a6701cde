"""From a schedule that fails to a smaller one that still fails: fewer faults, fewer nodes, a shorter run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulator.options import Options
from tests.simulator.run import Outcome

RERUNS_MAX = 40
"""A minute or so; whoever wants less shrinks on by hand with the same switches."""
NODES_MIN = 3


def shrink(outcome: Outcome, play: Callable[[Options], Outcome]) -> Outcome:
    """Return the smallest failing outcome found within `RERUNS_MAX` runs; it may fail for another reason."""
    left, is_smaller = RERUNS_MAX, True
    while is_smaller and left:
        is_smaller = False
        for options in _smaller(outcome):
            if not left:
                break
            left -= 1
            again = play(options)
            if again.failure is not None:
                outcome, is_smaller = again, True
                break
    return outcome


def _smaller(outcome: Outcome) -> Iterator[Options]:
    """Simpler schedules, the greatest steps first."""
    options = outcome.options
    if len(options.faults) > 1:
        for fault in options.faults:
            yield replace(options, faults=(fault,))
    for fault in options.faults:
        yield replace(options, faults=tuple(one for one in options.faults if one != fault))
    if options.nodes > NODES_MIN:
        yield replace(options, nodes=NODES_MIN)
        yield replace(options, nodes=options.nodes - 1)
    events = options.events_max or outcome.disturbed_events
    for share in (2, 4, 8):
        if events // share < events:
            yield replace(options, events_max=events - events // share)
