"""Branches and later eras of the test world's logs: forks made on purpose, and openings honest or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ledger.branches import Branches
from ledger.chain import ChainState, extend, head_of, open_era, reconcile_of
from ledger.governance import Adopt, Card, Reconcile, Revoke
from ledger.keys import verify_many
from ledger.leaf import parse_leaf
from ledger.lineage import Facts, choose_closes, choose_kept
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_at
from ledger.names import Head
from ledger.opening import Plan, Terms, opening_leaves, plan_opening, sign_opening
from tests.trees import MemoryTree
from tests.world import HOUR, Log, World, record


@dataclass(frozen=True)
class Branch:
    """A log of the test world as `BranchReader` and `fork.History`."""

    log: Log

    @cached_property
    def head(self) -> Head:
        return head_of(self.log.state)

    @cached_property
    def kept(self) -> Head | None:
        reconcile = reconcile_of(parse_leaf(self.log.leaves[0]))
        return reconcile and reconcile.kept

    @cached_property
    def reader(self) -> MemoryTree:
        return MemoryTree([leaf_hash(raw) for raw in self.log.leaves])

    @cached_property
    def note(self) -> bytes:
        return self.log.checkpoint()

    def root_at(self, size: int) -> bytes | None:
        return root_at(self.reader, size) if size <= self.head.size else None

    def leaves(self, start: int, end: int) -> Iterable[bytes]:
        return self.log.leaves[start:end]


@dataclass
class Numbers:
    """Where `work` takes the next number from: no two entries of a test are the same."""

    next: int = 1000
    taken: list[bytes] = field(default_factory=list)


NUMBERS = Numbers()


def work(log: Log, count: int = 1, by: str = "clerk", hour: int | None = None) -> list[bytes]:
    """Append private entries that nobody else has; return their ids."""
    ids = []
    for _ in range(count):
        NUMBERS.next += 1
        entry = log.private([record(number=NUMBERS.next)], by=by, number=NUMBERS.next)
        log.take(log.leaf(entry, hour=log.state.hour if hour is None else hour))
        ids.append(entry.header.entry_id)
    return ids


def cut(log: Log, size: int | None = None) -> Log:
    """A copy of the log as it was with ``size`` leaves: what another machine with the same keys holds."""
    leaves = log.leaves[:size]
    state, _ = extend(log.first, leaves, lambda entry_id: False, lambda batch: [True] * len(batch))
    return replace(log, state=state, leaves=list(leaves))


def forked(parts: Sequence[int], shared: int = 0) -> list[Log]:
    """Branches of the district's log: ``shared`` common entries, then ``parts[i]`` own ones on branch i."""
    log = World().logs["district"]
    work(log, shared)
    branches = [cut(log) for _ in parts]
    for branch, count in zip(branches, parts, strict=True):
        work(branch, count)
    return branches


def branches_of(logs: Iterable[Log]) -> Branches:
    return Branches(map(Branch, logs))


def state_at(logs: Iterable[Log], head: Head) -> tuple[ChainState, frozenset[bytes]]:
    """The state of the log that has ``head``, cut there, and the entry ids below it."""
    for log in logs:
        if log.origin.era == head.era and len(log.leaves) >= head.size:
            short = cut(log, head.size)
            if head_of(short.state) == head:
                return short.state, short.entry_ids()
    raise AssertionError(f"nobody has {head}")


def era_after(logs: Sequence[Log], kept: Head, era: int, log_office: str = "") -> Log:
    """An empty later era on ``kept``."""
    state, before = state_at(logs, kept)
    start = open_era(state, era)
    office = log_office or f"log {era}"
    return replace(logs[0], state=start, start=start, leaves=[], kept={}, before=before, log_office=office)


def adopt_again(log: Log) -> Adopt:
    """The adopt of an opening: the pins stay as they were."""
    last = log.state.authority.adopt
    return log.adopt(cards=dict(last.adopt.cards)) if last else log.adopt()


def plan_for(
    log: Log,
    logs: Iterable[Log],
    closes: Sequence[Head],
    revokes: Sequence[Revoke] = (),
    hour: int = HOUR + 5,
    card: Card | None = None,
    **terms: Any,
) -> Plan:
    """The honest plan of the empty era ``log``."""
    fields: dict[str, Any] = {
        "root_key": log.key("root").public_key,
        "card": card or log.next_card(origin=str(log.origin), log_key=log.key(log.log_office).public_key),
        "adopt": adopt_again(log),
        "revokes": tuple(revokes),
        "hour": hour,
        "reason_code": "fork",
    }
    seen = log.before.__contains__
    return plan_opening(log.state, branches_of(logs), closes, Terms(**(fields | terms)), seen, verify_many)


def reopened(
    logs: Sequence[Log], facts: Facts | None = None, era: int = 2, kept: Head | None = None, **options: Any
) -> Log:
    """The era that an honest owner of ``logs`` opens, with the entries that it carries."""
    branches = branches_of(logs)
    head = kept or choose_kept(branches, facts or Facts())
    office = options.pop("log_office", "")
    log = era_after(logs, head, era, office)
    plan = plan_for(log, logs, choose_closes(branches, head), **options)
    entry = sign_opening(log.state, plan, log.key("root"))
    moved = [leaf.entry for leaf in plan.lists.carried]
    log.take(*opening_leaves(log.state, entry, moved, plan.reconcile.hour))
    return log


def dishonest(log: Log, reconcile: Reconcile, moved: Iterable[Any] = (), **options: Any) -> Log:
    """The era ``log`` opened with whatever reconcile, followed by whatever entries."""
    by = options.pop("by", "root")
    card = options.pop("card", None) or log.next_card(
        origin=str(log.origin), log_key=log.key(log.log_office).public_key
    )
    revokes = options.pop("revokes", ())
    entry = log.entry([card, adopt_again(log), reconcile, *revokes], by=by)
    for raw in opening_leaves(log.state, entry, moved, options.pop("hour", reconcile.hour)):
        log.append(raw)
    return log


def rules_of(log: Log) -> list[tuple[int, str]]:
    """What a log's leaves break: (index, rule)."""
    return [(one.index, each.rule.name) for one in log.judged() for each in one.violations]


def nothing(kept: Head, **changes: Any) -> Reconcile:
    """A reconcile that closes, carries and sets aside nothing."""
    fields: dict[str, Any] = {
        "kept": kept,
        "closes": (),
        "carried": (0, EMPTY_ROOT),
        "set_aside": (0, EMPTY_ROOT),
        "hour": HOUR + 5,
        "reason_code": "key_lost",
    }
    return Reconcile(**(fields | changes))
