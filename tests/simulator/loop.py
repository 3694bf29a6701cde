"""An event loop on virtual time: nothing waits, the clock jumps to whatever is due next.

It has no sockets, no threads and no signals, so what runs on it is a function of the seed. Every task belongs
to the context it was made in; `TaskOwner` is told, so that a crash can abandon the tasks of one node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, Protocol


class Stuck(Exception):
    """Nothing is due, and yet somebody waits: a deadlock."""


class TaskOwner(Protocol):
    """Whoever answers for the tasks made while `OWNER` names it."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take note of a new task."""
        ...


OWNER: ContextVar[TaskOwner | None] = ContextVar("owner", default=None)


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
        self.set_task_factory(_make_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._selector.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        raise AssertionError("another thread reached into the simulation")


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = context[OWNER] if context is not None and OWNER in context else OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task
