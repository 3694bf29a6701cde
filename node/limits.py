"""How much one asker, and one log, may cost this node: token buckets, looked at before any work is done.

The bounds are those of floods, not of use: an auditor who reads a tree of a million entries as fast as this
node can serve it stays below. Who is over them is told when to come back (429, Retry-After).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

KEYS_MAX = 4096
"""Askers remembered: an address costs an attacker nothing, a bucket 200 bytes. The oldest is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many tokens a second for ever, and so many at once."""

    per_second: float
    burst: float


ASKER_REQUESTS = Rate(per_second=500.0, burst=10_000.0)
"""A million entries are 8,000 files; the store's one thread serves some thousand requests a second."""
ASKER_BYTES = Rate(per_second=16e6, burst=256e6)
"""Bodies sent: a region's lists of a year in one evening are some 100 MB."""
LOG_REQUESTS = Rate(per_second=2_000.0, burst=40_000.0)
"""Reads of one log by all together: 88 mirrors that catch up at once."""


class TokenBuckets:
    """One bucket for each key, all of one rate; times are in seconds of a clock that only grows."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def spend(self, key: Hashable, cost: float, now: float) -> float:
        """Take ``cost`` tokens and return 0.0, or take none and return in how many seconds they are there.

        A cost above the burst is charged as the burst: it is paid for, not refused for ever.
        """
        left, at = self._left.pop(key, (self._rate.burst, now))
        left = min(self._rate.burst, left + max(0.0, now - at) * self._rate.per_second)
        cost = min(cost, self._rate.burst)
        is_enough = left >= cost
        self._left[key] = (left - cost if is_enough else left, now)
        while len(self._left) > KEYS_MAX:
            self._left.popitem(last=False)
        return 0.0 if is_enough else (cost - left) / self._rate.per_second


class Limits:
    """The buckets of one node."""

    def __init__(self) -> None:
        self._requests = TokenBuckets(ASKER_REQUESTS)
        self._bytes = TokenBuckets(ASKER_BYTES)
        self._logs = TokenBuckets(LOG_REQUESTS)

    def pause_s(self, asker: Hashable, log: Hashable | None, body_bytes: int, now: float) -> float:
        """Charge one request; return 0.0, or in how many seconds it may be asked again."""
        pause = self._requests.spend(asker, 1, now)
        if not pause and body_bytes:
            pause = self._bytes.spend(asker, body_bytes, now)
        if not pause and log is not None:
            pause = self._logs.spend(log, 1, now)
        return pause
