"""Changes in a running ledger: whatever changes, node and auditor give the same verdict at every position.

Each change is a world whose logs hold leaves before and after it, some of which it must stop. A log is judged
as a mirror does, by `chain.extend` in every split of its leaves into batches, and as an auditor does, by
`verify` on a dossier cut at every size; the stranger's verifier judges each dossier too.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ledger import keys
from ledger.chain import extend, open_log
from ledger.governance import Revoke
from ledger.names import Place
from ledger.verify import verify
from tests.test_roster import small_statute
from tests.test_stranger import agreed
from tests.world import Log, MemorySource, World, record

Rules = tuple[str, ...]
FOUR = ("centre", "district", "port", "sport")


@dataclass
class Change:
    """A world after a change, what it breaks in one log by index, and words of the warnings that it makes."""

    world: World
    agency: str
    broken: dict[int, Rules]
    warnings: tuple[str, ...] = ()
    ended_at: int | None = None
    certified_from: int = 3

    @property
    def log(self) -> Log:
        return self.world.logs[self.agency]


def founded() -> World:
    """Four agencies that have pinned each other's cards at index 2."""
    world = World(FOUR, statute=small_statute())
    for log in list(world.logs.values()):
        put(log, log.adopt(cards=log.pins()), by="desk")
    return world


def put(log: Log, *records: Any, by: str) -> None:
    """Append a public entry whatever it is; no two are the same entry."""
    log.append(log.leaf(log.entry(list(records), by=by, created_day=len(log.leaves))))


def write(log: Log, by: str = "clerk") -> None:
    """Append a private entry whatever it is."""
    number = len(log.leaves)
    log.append(log.leaf(log.private([record("notice", number=number)], by=by, number=number)))


def staff_revoked() -> Change:
    """What the clerk wrote before stays valid and is marked from `suspect_from` on; the rest is stopped."""
    world = founded()
    log = world.logs["sport"]
    put(log, log.grant("cook"), by="registrar")
    write(log)
    write(log)
    put(log, Revoke(key=log.key("clerk").public_key, suspect_from=Place(1, 5)), by="registrar")
    write(log)
    write(log, by="cook")
    put(log, log.grant("clerk"), by="registrar")
    write(log)
    revoked = {7: ("author.revoked",), 9: ("grant.key",), 10: ("author.revoked",)}
    return Change(world, "sport", revoked, ("since index 5 of era 1 are suspect",))


def registrar_replaced() -> Change:
    """Grants since `void_from` end at the card; those before go on, and so does a new registrar's work."""
    world = founded()
    log = world.logs["sport"]
    write(log)
    put(log, log.grant("cook"), by="registrar")
    write(log, by="cook")
    void = {log.key("registrar").public_key: Place(1, 4)}
    successor = (log.key("registrar 2").public_key,)
    card = log.next_card(registrar_keys=successor)
    put(log, replace(card, void_from=void), by="root")
    write(log, by="cook")
    write(log)
    put(log, log.grant("friend"), by="registrar")
    put(log, log.grant("cook"), by="registrar 2")
    write(log, by="cook")
    return Change(world, "sport", {7: ("author.late",), 9: ("author.unknown",)})


def keys_rotated() -> Change:
    """A card renews witness, node and desk key: the old desk is nobody, what it wrote stands."""
    world = founded()
    log = world.logs["sport"]
    write(log, by="desk")
    renewed = {name: log.key(f"{name} 2").public_key for name in ("witness", "node")}
    card = log.next_card(
        desk_keys=(log.key("desk 2").public_key, log.key("desk").public_key),
        **{f"{name}_key": public for name, public in renewed.items()},
    )
    put(log, card, by="root")
    write(log, by="desk")
    write(log, by="desk 2")
    put(log, log.next_card(log_key=log.key("log 2").public_key), by="root")
    put(log, log.grant("helper", key=log.key("witness").public_key), by="registrar")
    old = log.state.authority.cards[0]
    put(log, replace(old.card, number=2, before=old.hash), by="root")
    write(log)
    broken = {5: ("author.unknown",), 7: ("card.keys",), 8: ("grant.key",), 9: ("card.chain",)}
    return Change(world, "sport", broken)


def agency_joins() -> Change:
    """Version 2 names a fifth: it opens its log under it, the others adopt and pin."""
    world = founded()
    log = world.logs["sport"]
    old = log.adopt(cards=log.pins())
    world.next_roster({**world.root_names, "union": "union root"})
    put(log, old, by="desk")
    put(log, log.adopt(cards=old.cards), by="desk")
    put(log, log.adopt(cards=log.pins()), by="desk")
    put(log, old, by="desk")
    union = world.logs["union"]
    union.append(union.leaf(union.opening()))
    put(union, union.grant(), by="registrar")
    write(union)
    put(log, log.adopt(cards=log.pins()), by="desk")
    write(log)
    return Change(world, "sport", {4: ("adopt.cards",), 6: ("adopt.version",)})


def newcomer() -> Change:
    """The same from the log of the one who joins: no entry of it stands before its opening."""
    world = agency_joins().world
    union = world.logs["union"]
    first = world.versions[0][0]
    put(union, union.adopt(version=1, hash=first.hash), by="desk")
    put(union, union.adopt(cards=union.pins()), by="desk")
    write(union, by="stranger")
    broken: dict[int, Rules] = {3: 2 * ("adopt.version",), 5: ("author.unknown",)}
    return Change(world, "union", broken, certified_from=5)


def agency_leaves() -> Change:
    """Its log ends where the quorum says; what it writes later stands, and is no part of the log."""
    world = founded()
    log = world.logs["sport"]
    write(log)
    end = log.end()
    others = [name for name in FOUR if name != "sport"]
    world.next_roster({name: f"{name} root" for name in others}, ends={"sport": end})
    for name in others:
        put(world.logs[name], world.logs[name].adopt(cards=world.logs[name].pins()), by="desk")
    write(log)
    put(log, log.adopt(cards=dict.fromkeys(others)), by="desk")
    write(log)
    warning = "entries from index 4 on are ended by the roster"
    return Change(world, "sport", {5: ("adopt.version", *3 * ("adopt.cards",))}, (warning,), ended_at=4)


def those_who_stay() -> Change:
    """The same from a log that stays: it goes on without the pin, and cannot name the one who left."""
    world = agency_leaves().world
    log = world.logs["centre"]
    cards = log.pins()
    put(log, log.adopt(cards=cards | {"sport": None}), by="desk")
    first = world.versions[0][0]
    put(log, log.adopt(version=1, hash=first.hash, cards=cards | {"sport": None}), by="desk")
    write(log)
    return Change(world, "centre", {4: ("adopt.cards",), 5: ("adopt.version",)})


def root_changed() -> Change:
    """The old root is nobody once the version is adopted, the new one was before; the era has ended."""
    world = founded()
    log = world.logs["sport"]
    end = log.end()
    put(log, log.next_card(urls=()), by="root 2")
    world.next_roster({**world.root_names, "sport": "sport root 2"}, ends={"sport": end})
    put(log, log.grant("cook"), by="root")
    put(log, log.adopt(cards=log.pins()), by="desk")
    put(log, log.grant("friend"), by="root")
    put(log, log.grant("friend"), by="root 2")
    write(log, by="friend")
    broken: dict[int, Rules] = {3: ("author.unknown",), 6: ("author.unknown",)}
    warning = "entries from index 3 on are ended by the roster"
    return Change(world, "sport", broken, (warning,), ended_at=3)


CHANGES: list[Callable[[], Change]] = [
    staff_revoked,
    registrar_replaced,
    keys_rotated,
    agency_joins,
    newcomer,
    agency_leaves,
    those_who_stay,
    root_changed,
]


@functools.lru_cache(maxsize=10_000)
def _is_signed(message: keys.SignedMessage) -> bool:
    return keys.is_signature(*message)


def remembered(batch: Iterable[keys.SignedMessage]) -> list[bool]:
    """Signatures of the same few leaves, checked once."""
    return [_is_signed(message) for message in batch]


def splits(count: int) -> Iterator[list[int]]:
    """Every way to cut ``count`` leaves into batches, as the places between them."""
    for cuts in range(count):
        for places in itertools.combinations(range(1, count), cuts):
            yield [0, *places, count]


@pytest.mark.parametrize("change", CHANGES)
def test_each_leaf_has_the_verdict_that_the_change_gives_it(change: Callable[[], Change]) -> None:
    """The control: exactly these are stopped, and nothing else of that log."""
    made = change()
    verdicts = [tuple(rule.rule.name for rule in one.violations) for one in made.log.judged()]
    assert verdicts == [made.broken.get(index, ()) for index in range(len(made.log.leaves))]


@pytest.mark.parametrize("change", CHANGES)
def test_a_mirror_finds_the_same_however_it_gets_the_leaves(change: Callable[[], Change]) -> None:
    """One by one, all at once, and everything between: same verdicts, same state."""
    made = change()
    log, start = made.log, open_log(made.world.ledger_id, made.log.origin, made.world.rosters)
    whole = log.judged()
    ends = []
    for places in splits(len(log.leaves)):
        state, found, seen = start, [], set[bytes]()
        for first, last in itertools.pairwise(places):
            state, part = extend(state, log.leaves[first:last], seen.__contains__, remembered)
            seen |= {one.leaf.header.entry_id for one in part if one.leaf}
            found += part
        assert found == whole
        ends.append(replace(state, tree=start.tree))
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("change", CHANGES)
def test_an_auditor_finds_at_every_size_what_the_mirror_found(change: Callable[[], Change]) -> None:
    """Before the change and after it: a dossier of the first leaves names those that broke a rule there.

    What the roster has ended is no part of the log: whatever is wrong with it is no problem of the log.
    """
    made = change()
    whole, base = made.world.tree(), f"{made.log.origin.path}/"
    others = {name: data for name, data in whole.items() if not name.startswith(base)}
    for size in range(1, len(made.log.leaves) + 1):
        files = others | made.log.files(size)
        report = verify(MemorySource(files), made.world.ledger_id)
        agreed(files, made.world.ledger_id)
        found: dict[int, Rules] = {}
        for problem in report.problems:
            if problem.log == str(made.log.origin):
                assert problem.violation.index is not None
                found.setdefault(problem.violation.index, ())
                found[problem.violation.index] += (problem.violation.rule.name,)
        end = min(size, made.ended_at or size)
        assert found == {index: rules for index, rules in made.broken.items() if index < end}
        is_ended = any(
            f"{made.log.origin}: entries from" in one and "are ended" in one for one in report.warnings
        )
        assert is_ended == (made.ended_at is not None and size > made.ended_at)
    for words in made.warnings:
        assert [one for one in report.warnings if words in one]


@pytest.mark.parametrize("change", CHANGES)
def test_certification_at_every_size_is_the_same_before_and_after(change: Callable[[], Change]) -> None:
    """All agencies cosign each size by the keys of the time: a later state calls no note otherwise."""
    made = change()
    log, names = made.log, list(made.world.logs)
    for size in range(1, len(log.leaves) + 1):
        log.kept["checkpoint.certified"] = log.cosigned(names, size)
        files = made.world.tree()
        others = {name: data for name, data in files.items() if not name.startswith(f"{log.origin.path}/")}
        for one in (files, others | log.files(size)):
            report = agreed(one, made.world.ledger_id, "certified")
            [found] = [one["certified_size"] for one in report["logs"] if one["origin"] == str(log.origin)]
            assert found == min(size if size >= made.certified_from else 0, made.ended_at or size)
