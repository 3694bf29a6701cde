"""The record verdict on entries that an opening moved, or set aside.

A record was made where it first stood: in a branch that its author saw, and that is closed now. It is in the
log where it was moved to. Where it breaks a rule *only* there (another branch recorded the same fact, or
corrected what it corrects), nobody is at fault: it is **displaced**, shown, and no live record. What it
broke at its first place too is its author's, as ever; what it broke there and breaks no more stands.

What takes back or narrows acts even so: a withdrawal (of a record, or of a consent) and a restriction that
stood at their first place hold although they are displaced, or their entry was set aside. Who told the
agency to stop need not tell it again because of the agency's fork. So they never loosen anything: the
withdrawal of a restriction, or a correction of one, acts only where it stands. (An erasure is a public
record about the stores: it has no part in a portfolio.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ledger.portfolio import Portfolio, RecordAuthor, add, judge
from ledger.record import Record
from ledger.rules import Violation, violation
from ledger.statute import is_withdrawal

_STOPS = ("consent_withdrawal", "restriction")
"""Kinds that end or narrow what may be done with other records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPlace:
    """Where a record stood in its branch: what its subject had before it, its author there, and the day."""

    portfolio: Portfolio
    author: RecordAuthor
    day: int


def judge_moved(
    portfolio: Portfolio, record: Record, author: RecordAuthor, *, day: int, first: FirstPlace
) -> list[Violation]:
    """Return what a moved record breaks after ``portfolio``; ``record.displaced`` alone if only by the move.

    ``author`` and ``day`` are those of the moved leaf.
    """
    found = judge(portfolio, record, author, day=day)
    if not found or judge(first.portfolio, record, first.author, day=first.day):
        return found
    return [_displaced(one) for one in found]


def add_moved(portfolio: Portfolio, record: Record, found: list[Violation]) -> Portfolio:
    """Return the portfolio after a moved record of which `judge_moved` says ``found``."""
    if not found:
        return add(portfolio, record)
    return _stop(portfolio, record) if is_displaced(found) else portfolio


def add_set_aside(portfolio: Portfolio, record: Record, first: FirstPlace) -> Portfolio:
    """Return the portfolio after a record of an entry that was set aside, at its turn among the lists."""
    stood = not judge(first.portfolio, record, first.author, day=first.day)
    return _stop(portfolio, record) if stood else portfolio


def is_displaced(found: list[Violation]) -> bool:
    """Whether these are breaches that are nobody's fault."""
    return bool(found) and all(one.rule.name == "record.displaced" for one in found)


def _displaced(one: Violation) -> Violation:
    text = f"stood at its first place, and only by the move: {one}"
    return replace(
        violation("record.displaced", text, record=one.record), standing=one.standing, is_equal=one.is_equal
    )


def _stop(portfolio: Portfolio, record: Record) -> Portfolio:
    """What acts although it is no record of the log. It never loosens what another record holds."""
    if is_withdrawal(record.fields):
        old = portfolio.live.get(record.supersedes) if record.supersedes else None
        is_stop = old is not None and old.kind == record.kind and record.kind not in _STOPS
        return add(portfolio, record) if is_stop else portfolio
    is_new = record.supersedes is None and record.hash not in portfolio.live
    return add(portfolio, record) if record.kind in _STOPS and is_new else portfolio
