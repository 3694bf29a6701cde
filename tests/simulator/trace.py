"""What happened, as one running hash, a few counters and the last lines: same seed, same hash."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable

LINES_KEPT = 40
"""Lines shown with a failure: enough for the last second or two."""


class Trace:
    """Takes note of each step; knows virtual time, never the machine's."""

    def __init__(self, now_s: Callable[[], float], show: Callable[[str], None] | None = None) -> None:
        """``show`` is given each line as it comes."""
        self.counts: Counter[str] = Counter()
        self.events = 0
        self.last: deque[str] = deque(maxlen=LINES_KEPT)
        self._now_s = now_s
        self._show = show
        self._hash = hashlib.sha256()

    def note(self, what: str, *words: object) -> None:
        """Count one event ``what`` and let its words into the hash."""
        self.counts[what] += 1
        self.events += 1
        line = f"{self._now_s():10.6f} {what} {' '.join(map(str, words))}"
        self._hash.update(line.encode(errors="replace"))
        self.last.append(line)
        if self._show is not None:
            self._show(line)

    @property
    def digest(self) -> str:
        """The hash so far, in 16 hexadecimal digits."""
        return self._hash.hexdigest()[:16]
