"""Structured logs: one JSON object a line on standard error, without any personal data.

What may be in an event: agencies, origins, sizes, entry ids, rule names, durations. Never a record's content,
a pseudonym, a kind, or an address of a reader.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from node.protocol import json_bytes

_logger = logging.getLogger("pledger")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        event = {"time": time, "level": record.levelname.lower(), "event": record.getMessage(), **fields}
        return json_bytes(event).decode()


def start() -> None:
    """Send events to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    _logger.handlers = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one event with its fields."""
    _logger.log(level, name, extra={"fields": fields})


def fault(name: str, error: BaseException, **fields: Any) -> None:
    """Write one event about something that failed."""
    event(name, level=logging.WARNING, error=type(error).__name__, detail=str(error)[:500], **fields)
