"""An event loop on virtual time: nothing waits, the clock jumps to whatever is due next.

It has no sockets, no threads and no signals, so what runs on it is a function of its input.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Stuck(Exception):
    """Nothing is due, and yet somebody waits: a deadlock."""


class _VirtualSelector:
    """What the loop takes for its selector: waiting for input moves the clock instead."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("no task can go on, and no timer is set")
        self.now_s += max(0.0, timeout)
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; ``time()`` begins at 0 and moves only when all that can run has run."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _VirtualSelector()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._selector.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        raise AssertionError("another thread reached into virtual time")
