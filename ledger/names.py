"""Names of ledgers, agencies, logs and keys, and the positions that entries point at.

A log's origin is ``<ledger>/<agency>/<era>``; it is also the name of the log key in signed notes. Other keys
sign as ``<ledger>/<agency>/root``, ``<ledger>/<agency>/witness`` and ``<ledger>/recovery``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.errors import Malformed
from ledger.json_form import shown

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,58}[a-z0-9])?")
"""Ledger names and agency ids: safe in URLs, file names on every system, and note key names."""

ERA_MAX = 9999
"""An era follows a broken key or fork; four digits outlast any agency."""

_ERA = re.compile(r"[1-9][0-9]{0,3}")


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it is a ledger name or agency id; raise `Malformed` naming ``what`` otherwise."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Malformed(f"{what} {shown(name)} must match {NAME.pattern}")
    return name


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One era of one agency's log."""

    ledger: str
    agency: str
    era: int = 1

    def __str__(self) -> str:
        return f"{self.ledger}/{self.agency}/{self.era}"

    @property
    def path(self) -> str:
        """Where the log lies in a static tree."""
        return f"log/{self.agency}/{self.era}"


def parse_origin(text: str) -> Origin:
    """Return the origin that ``text`` names; raise `Malformed` otherwise."""
    parts = text.split("/")
    if len(parts) != 3 or not _ERA.fullmatch(parts[2]):
        raise Malformed(f"origin {text[:80]!r} is not <ledger>/<agency>/<era>")
    return Origin(check_name(parts[0], "ledger"), check_name(parts[1], "agency"), int(parts[2]))


def is_era(text: str) -> bool:
    """Whether ``text`` is the number of an era as paths write it."""
    return _ERA.fullmatch(text) is not None


def root_key_name(ledger: str, agency: str) -> str:
    """Name under which an agency's root key signs rosters."""
    return f"{ledger}/{agency}/root"


def witness_key_name(ledger: str, agency: str) -> str:
    """Name under which an agency's witness key cosigns checkpoints."""
    return f"{ledger}/{agency}/witness"


def recovery_key_name(ledger: str) -> str:
    """Name under which the outside recovery key of a roster with one or two agencies signs."""
    return f"{ledger}/recovery"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in an agency's log: the era and the index of the leaf in it."""

    era: int
    index: int


@dataclass(frozen=True, slots=True)
class Head:
    """A state of a log: ``size`` leaves of ``era`` with the RFC 6962 ``root`` (32 bytes)."""

    era: int
    size: int
    root: bytes
