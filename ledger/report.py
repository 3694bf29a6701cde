"""The verifier's report: one verdict, every problem by log and index, the same bytes for the same input.

failed: a false byte, or an invalid leaf. incomplete: nothing false, but something is undecided, missing, or
the level asked for is not met. verified: everything that the files show holds. Warnings change no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ledger.errors import Undecided
from ledger.record import BODY_STATES
from ledger.rules import RULES, Violation, violation

VerdictWord: TypeAlias = Literal["verified", "incomplete", "failed"]
Level: TypeAlias = Literal["leaf", "certified"]

PROBLEMS_MAX = 1000
"""Problems kept of one log: a file of noise must not become a report of gigabytes."""

_ORDER = {name: place for place, name in enumerate(RULES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What was found of one log."""

    origin: str
    agency: str
    era: int
    size: int
    root: bytes
    certified_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A violation, and in which log (origin, or empty for the roster and the files as a whole)."""

    log: str
    violation: Violation
    fault: str

    def value(self) -> dict[str, Any]:
        """The JSON object of this problem."""
        record = self.violation.record
        return {
            "code": self.violation.rule.name,
            "log": self.log or None,
            "index": self.violation.index,
            "record": record.hex() if record else None,
            "text": self.violation.detail,
            "fault": self.fault,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one verification."""

    ledger_id: bytes
    logs: tuple[LogReport, ...]
    entries: int
    records: int
    """Record hashes that the logs commit to, padding included: nobody outside can tell it apart."""
    bodies: dict[str, int]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> VerdictWord:
        """failed, else incomplete, else verified."""
        if any(problem.violation.rule.error is not Undecided for problem in self.problems):
            return "failed"
        return "incomplete" if self.problems else "verified"

    def value(self) -> dict[str, Any]:
        """The JSON object that ``pledger verify --json`` prints."""
        return {
            "verdict": self.verdict,
            "ledger_id": self.ledger_id.hex(),
            "logs": [
                {
                    "origin": log.origin,
                    "agency": log.agency,
                    "era": log.era,
                    "size": log.size,
                    "root": log.root.hex(),
                    "certified_size": log.certified_size,
                }
                for log in self.logs
            ],
            "entries": self.entries,
            "records": self.records,
            "bodies": self.bodies,
            "problems": [problem.value() for problem in self.problems],
            "warnings": list(self.warnings),
        }


def count_bodies(**counts: int) -> dict[str, int]:
    """Return the five counts of bodies by state, 0 where not given."""
    return {state: counts.get(state, 0) for state in BODY_STATES}


def sorted_problems(log: str, violations: Iterable[Violation], *, is_altered: bool = False) -> list[Problem]:
    """Return the problems of one log by index, then in the table's order.

    ``is_altered``: the leaves are not those that the log's owner signed (another root), so nothing in them
    is his or an author's fault: whoever handed over these files must answer for them. Otherwise the owner
    answers for every leaf below his signature: an author named in a false one may never have seen it.
    """

    def place(one: Violation) -> tuple[bool, int, int]:
        return (one.index is None, one.index or 0, _ORDER[one.rule.name])

    blamed = "bundle" if is_altered else "owner"
    return [
        Problem(
            log=log, violation=one, fault=blamed if one.rule.fault in ("owner", "author") else one.rule.fault
        )
        for one in sorted(violations, key=place)
    ]


def problem_report(ledger_id: bytes, rule: str, text: str) -> Report:
    """Return the report on something that could not be opened at all."""
    empty = Report(
        ledger_id=ledger_id, logs=(), entries=0, records=0, bodies=count_bodies(), problems=(), warnings=()
    )
    return with_problem(empty, rule, text)


def with_problem(report: Report, rule: str, text: str) -> Report:
    """Return the report with one more problem, of the files as a whole."""
    return replace(report, problems=(*report.problems, *sorted_problems("", [violation(rule, text)])))
