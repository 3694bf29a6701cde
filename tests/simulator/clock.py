"""One machine's clock: as wrong as the seed wants it, and right again once all is healed."""

from __future__ import annotations

from collections.abc import Callable

from tests.world import HOUR

MS_IN_HOUR = 3_600_000


class Clock:
    """Milliseconds since 1970, out of the loop's seconds."""

    def __init__(self, loop_s: Callable[[], float], start_ms: int) -> None:
        """``start_ms`` is the true time at the loop's 0."""
        self.offset_ms = 0
        self.drift = 0.0
        self._loop_s = loop_s
        self._start_ms = start_ms

    def true_ms(self) -> int:
        """What a right clock shows."""
        return self._start_ms + int(self._loop_s() * 1000)

    def now_ms(self) -> int:
        """What this clock shows."""
        return self._start_ms + int(self._loop_s() * 1000 * (1 + self.drift)) + self.offset_ms

    def set_right(self) -> None:
        """Let the operator put it right."""
        self.offset_ms, self.drift = 0, 0.0


FIRST_MS = HOUR * MS_IN_HOUR
"""No run begins before the day that the tests' keys and grants are of."""
