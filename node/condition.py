"""How a running node is, as facts: what ``/v1/status`` says beside the logs, and ``node doctor`` explains.

Nothing here is a secret, and nothing tells who works when: times are hours, and of the own log only what is
published is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.roster import Roster
from node.sequencer import Sequencer

MS_IN_HOUR = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Since when a witness gives no cosignature (milliseconds since 1970), and its last answer."""

    since_ms: int
    reason: str


class Observed(Protocol):
    """What is told of a node."""

    delays: Mapping[str, Delay]
    sequencer: Sequencer
    rosters: list[Roster]
    refusal: str | None
    clock_fault: str | None
    started_ms: int | None

    @property
    def unheard(self) -> list[str]:
        """Agencies that have not answered since this start."""
        ...

    @property
    def is_waiting_for_answers(self) -> bool:
        """Whether too few agencies have answered since this start."""
        ...


def condition(node: Observed, hour: int) -> dict[str, Any]:
    """Return what keeps a node from going on, each under its name; null where it does not.

    ``hour`` is that of this node's clock, since 1970.
    """
    sequencer, newest = node.sequencer, node.rosters[-1]
    adopt = sequencer.state.authority.roster
    started = None if node.started_ms is None else node.started_ms // MS_IN_HOUR
    trouble = sequencer.trouble
    return {
        "refusal": node.refusal,
        "unheard": _if(node.is_waiting_for_answers, node.unheard),
        "since_hour": started,
        "overtaken_by": sequencer.overtaken_by(),
        "trouble": None if trouble is None else str(trouble),
        "clock": node.clock_fault,
        "hours_behind": max(0, sequencer.state.hour - hour),
        "roster_version": newest.version,
        "adopted_version": None if adopt is None else adopt.version,
        "is_member": sequencer.origin.agency in newest.agencies,
    }


def lagging(node: Observed, size: int, certified: int) -> dict[str, Any] | None:
    """Return which witnesses keep the published ``size`` from being certified; None if nothing does.

    A few that do not answer are no reason: only so many that no quorum is left.
    """
    newest = node.rosters[-1]
    delays = {name: node.delays[name] for name in newest.agencies if name in node.delays}
    if certified >= size or len(delays) <= len(newest.agencies) - newest.quorum:
        return None
    return {
        "size": size,
        "certified": certified,
        "agencies": list(delays),
        "since_hour": min(one.since_ms for one in delays.values()) // MS_IN_HOUR,
        "detail": "; ".join(f"{name}: {one.reason}" for name, one in delays.items()),
    }


def _if(holds: bool, names: Sequence[str]) -> list[str] | None:
    return list(names) if holds else None
