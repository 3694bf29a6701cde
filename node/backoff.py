"""Back-off with jitter: whoever fails is asked less and less often, and nobody in step with others.

The n-th failure in a row is followed by a pause of ``base * 2^n`` seconds, at most ``pause_max_s``, times a
random factor: without it, all the nodes that met one failure would come back in one moment.
"""

from __future__ import annotations

from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
DOUBLINGS_MAX = 16
"""2^16 seconds are beyond every pause; larger powers only make larger numbers."""


def jitter(random: Random, seconds: float) -> float:
    """Return a time between a half and one and a half of ``seconds``."""
    return seconds * (0.5 + random.random())


class Backoff(Generic[Key]):
    """When each of some peers (or whatever is tried) may be tried again; times are of the loop's clock."""

    def __init__(self, random: Random, *, base_s: float, pause_max_s: float) -> None:
        self._random = random
        self._base_s = base_s
        self._pause_max_s = pause_max_s
        self._failed: dict[Key, tuple[int, float]] = {}

    def fail(self, key: Key, now: float, *, pause_min_s: float = 0.0) -> None:
        """Note a failure; ``pause_min_s`` is what the other side asked for, at most the longest pause."""
        count = min(self.failures(key), DOUBLINGS_MAX)
        pause = max(self._base_s * 2**count, pause_min_s)
        self._failed[key] = (count + 1, now + jitter(self._random, min(pause, self._pause_max_s)))

    def clear(self, key: Key) -> None:
        """Note that it went well, or that there is reason to try again now."""
        self._failed.pop(key, None)

    def clear_all(self) -> None:
        """Try everything again now."""
        self._failed.clear()

    def failures(self, key: Key) -> int:
        """How often in a row it failed."""
        return self._failed[key][0] if key in self._failed else 0

    def due_at(self, key: Key) -> float:
        """From when on it may be tried again; 0 if it did not fail."""
        return self._failed[key][1] if key in self._failed else 0.0
