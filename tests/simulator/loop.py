"""Whose task is whose on the loop of virtual time: a crash abandons the tasks of one node."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, Protocol

from tests import virtual_loop


class TaskOwner(Protocol):
    """Whoever answers for the tasks made while `OWNER` names it."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take note of a new task."""
        ...


OWNER: ContextVar[TaskOwner | None] = ContextVar("owner", default=None)


class OwnedLoop(virtual_loop.VirtualLoop):
    """Virtual time, and every task made known to the owner named in its context."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_make_task)  # type: ignore[arg-type]


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = context[OWNER] if context is not None and OWNER in context else OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task
