"""Which attack breaks which rule: `tests/test_rules.py` fails for a rule of the table that nobody attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ledger.rules import RULES

COVERED: dict[str, list[str]] = {}
"""Rule to the names of the tests or attacks that break it."""


@dataclass(frozen=True)
class Attack:
    """One attack: the rule that must stop it, others that it breaks on the way, and how it is made."""

    rule: str
    make: Callable[..., Any]
    also: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}-{self.make.__name__}"


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def covers(*rules: str) -> Decorator:
    """Mark a test as one that breaks these rules and asserts that they are named."""

    def mark(test: Callable[..., Any]) -> Callable[..., Any]:
        for rule in rules:
            assert rule in RULES, f"{rule} is not in the table"
            COVERED.setdefault(rule, []).append(test.__name__)
        return test

    return mark


def collector(attacks: list[Attack]) -> Callable[..., Decorator]:
    """Return the decorator ``attack(rule, also=..., **options)`` that collects into ``attacks``."""

    def attack(rule: str, *, also: tuple[str, ...] = (), **options: Any) -> Decorator:
        def mark(make: Callable[..., Any]) -> Callable[..., Any]:
            attacks.append(Attack(rule, make, frozenset(also), options))
            return covers(rule)(make)

        return mark

    return attack
