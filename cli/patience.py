"""Sending again until the node takes what waits: back-off with jitter, between tries nothing is held.

Only what is no judgement is tried again: no answer, a busy node, a workspace that another command works in. A
refusal, and an answer that does not prove itself, end it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cli.output import is_refusal
from ledger.errors import LedgerError
from node.protocol import ProblemAnswer, Unreachable

FIRST_S = 1.0
LONGEST_S = 300.0
"""A village's line comes back some time; asking every five minutes costs nobody anything."""


def pauses(random: Callable[[], float]) -> Iterator[float]:
    """Yield how long to wait before each further try: doubling, each between half and one and a half.

    ``random`` gives numbers from 0 to 1. Without the jitter a whole district would knock in the same second
    in which its node is back.
    """
    pause = FIRST_S
    while True:
        yield pause * (0.5 + random())
        pause = min(pause * 2, LONGEST_S)


def is_passing(error: LedgerError | None) -> bool:
    """Whether what stopped a sending may be over at the next try."""
    if isinstance(error, ProblemAnswer):
        return not is_refusal(error.problem.status)
    return isinstance(error, Unreachable)
