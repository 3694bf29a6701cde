"""The clocks of the others against this node's own: a clock that stands hours off must date nothing.

What is remembered of another agency is the difference between its clock and a clock that only counts on (the
loop's), so that setting this node's clock right is seen at once, and silence ages nobody. A few who lie about
the time do nothing; n - q + 1 who agree that this clock is hours off are more than may be wrong together.
They must also be most of those heard: of three agencies, one with a wrong clock must not stop the two others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ledger.roster import quorum_of

ASTRAY_S = 2 * 3600
"""Two hours: leaves carry the hour, and a neighbour's time zone set by mistake is one hour off."""
BEHIND_MAX_HOURS = 1
"""A clock that stands further behind its own log than this is wrong."""
NAMED_MAX = 5
"""Agencies named in a message; with 89 the rest is a number."""


class Clocks:
    """What each other agency's clock shows, as far as it was heard."""

    def __init__(self, counter: Callable[[], float]) -> None:
        """``counter`` gives seconds that only grow."""
        self._counter = counter
        self._offsets: dict[str, float] = {}
        self._passed: dict[str, float] = {}

    def hear(self, agency: str, now_s: int) -> None:
        """Take what an agency's clock shows at this moment, in seconds since 1970."""
        self._offsets[agency] = now_s - self._counter()

    def hear_stamp(self, agency: str, stamp_s: int) -> None:
        """Take a time that an agency's clock has passed: a cosignature's, which may be given a second time.

        An old one says nothing about how the two clocks stand; one from the future does.
        """
        offset = stamp_s - self._counter()
        self._passed[agency] = max(offset, self._passed.get(agency, offset))

    def reason_to_wait(self, now_ms: int, agencies: Collection[str], own_hour: int) -> str | None:
        """Return why this node's clock cannot be right, or None.

        ``agencies`` are all of the newest roster, ``own_hour`` is that of the own log's last leaf.
        """
        hour = now_ms // 3_600_000
        if hour < own_hour - BEHIND_MAX_HOURS:
            return f"this node's clock stands {own_hour - hour} hours behind its own log: set it right"
        now = now_ms / 1000 - self._counter()
        heard = self._heard(sorted(agencies), now)
        astray = {name: offset for name, offset in heard.items() if abs(offset) > ASTRAY_S}
        needed = len(agencies) - quorum_of(len(agencies)) + 1
        if len(astray) < needed or 2 * len(astray) <= len(heard):
            return None
        named = [f"{name} by {_hours(offset)}" for name, offset in list(astray.items())[:NAMED_MAX]]
        more = f" and {len(astray) - NAMED_MAX} more" if len(astray) > NAMED_MAX else ""
        return f"this node's clock differs from those of {', '.join(named)}{more}: set it right"

    def _heard(self, agencies: list[str], now: float) -> dict[str, float]:
        """By how much each clock stands ahead of this one, as far as that is known."""
        heard = {name: self._offsets[name] - now for name in agencies if name in self._offsets}
        for name in agencies:
            passed = self._passed.get(name, now - 2 * ASTRAY_S) - now
            if passed >= max(-ASTRAY_S, heard.get(name, -ASTRAY_S)):
                heard[name] = passed
        return heard


def _hours(offset_s: float) -> str:
    return f"{abs(offset_s) / 3600:.0f} hours ({'they are ahead' if offset_s > 0 else 'they are behind'})"
