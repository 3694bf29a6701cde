"""ledger.chain and ledger.opening in later eras: what an opening may say, and what stands behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.chain import open_era
from ledger.errors import Malformed, Refused
from ledger.governance import Reconcile, Revoke
from ledger.leaf import parse_leaf
from ledger.lineage import choose_closes
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from ledger.names import Head, Place
from ledger.opening import opening_leaves, sign_opening
from tests.attacks import Attack, collector
from tests.eras import (
    Branch,
    branches_of,
    cut,
    era_after,
    forked,
    nothing,
    plan_for,
    reopened,
    rules_of,
    work,
)
from tests.test_chain import later_roster, snapshot
from tests.world import HOUR, Log, World, record

LATER = HOUR + 5
ATTACKS: list[Attack] = []
attack = collector(ATTACKS)


def two_branches(era: int = 2) -> tuple[Log, Log, Log]:
    """A fork of the district's log, the branch to keep, the one to close, and the empty new era."""
    kept, closed = forked([3, 2], shared=2)
    return kept, closed, era_after([kept], Branch(kept).head, era)


def honest_reconcile(new: Log, *logs: Log, **changes: Any) -> Reconcile:
    """What the plan says, with changes."""
    closes = choose_closes(branches_of(logs), new.state.kept or Branch(logs[0]).head)
    return replace(plan_for(new, logs, closes).reconcile, **changes)


def entries_of(log: Log, start: int) -> list[Any]:
    return [parse_leaf(raw).entry for raw in log.leaves[start:]]


def test_an_honest_era_moves_every_entry_and_the_log_goes_on() -> None:
    """Same entries, same signatures, new leaves at the hour of the opening; then work as ever."""
    kept, closed, _ = two_branches()
    new = reopened([kept, closed])
    assert rules_of(new) == []
    opening, *moved = map(parse_leaf, new.leaves)
    assert opening.prev == kept.state.head
    assert [leaf.entry for leaf in moved] == entries_of(closed, 4)
    assert {leaf.received_hour for leaf in (opening, *moved)} == {LATER}
    assert [one.is_moved for one in new.judged()] == [False, True, True]
    work(new, 2, hour=LATER + 1)
    assert rules_of(new) == [] and not new.judged()[-1].is_moved


def test_authority_goes_on_from_what_is_kept() -> None:
    """Cards, grants and revocations of era 1 hold in era 2, at their places."""
    kept, closed, _ = two_branches()
    kept.take(kept.leaf(kept.entry([Revoke(key=kept.key("clerk").public_key, suspect_from=None)])))
    new = reopened([kept, closed])
    known = new.state.authority
    assert [placed.place for placed in known.cards] == [Place(1, 0), Place(2, 0)]
    assert known.cards[1].card.number == 2 and known.cards[1].card.before == known.cards[0].hash
    [judged] = new.judge(new.leaf(new.private([record(number=5)], number=5), hour=LATER))
    assert [one.rule.name for one in judged.violations] == ["author.revoked"]


def test_an_entry_of_the_kept_log_is_not_written_again() -> None:
    """Entry ids are unique over all eras of a log."""
    kept, closed, _ = two_branches()
    new = reopened([kept, closed])
    for old in (entries_of(kept, 3)[0], entries_of(closed, 4)[0]):
        [judged] = new.judge(new.leaf(old, hour=LATER))
        assert [one.rule.name for one in judged.violations] == ["entry.repeated"]


def test_an_era_of_a_lost_key_closes_nothing() -> None:
    """A log key lost, a node rebuilt: the same opening, with no branch at all."""
    log = World().logs["district"]
    work(log, 2)
    new = reopened([log], reason_code="key_lost")
    assert rules_of(new) == [] and len(new.leaves) == 1
    assert new.state.moving is not None and new.state.moving.is_complete


def test_an_era_on_an_empty_log_replaces_a_spoiled_opening() -> None:
    """Nothing of era 1 stands: the next era begins with card 1 and the ledger id."""
    log = World(opened=False).logs["district"]
    log.append(log.leaf(log.entry([log.card(), log.adopt()], by="registrar")))
    start = open_era(log.first, 2)
    new = replace(log, state=start, start=start, leaves=[], log_office="log 2")
    card = new.card(origin=str(new.origin))
    entry = new.entry([card, new.adopt(), nothing(Head(1, 0, EMPTY_ROOT))])
    new.take(*opening_leaves(new.state, entry, [], LATER))
    assert rules_of(new) == []


@pytest.mark.parametrize("era", [1, 2])
def test_an_era_keeps_only_earlier_ones_with_leaves(era: int) -> None:
    """An empty era 2 is era 1 under another name; an era is never kept by an earlier one."""
    kept, closed, new = two_branches()
    with pytest.raises(Malformed):
        open_era(new.state, 3)
    with pytest.raises(Malformed):
        open_era(reopened([kept, closed]).state, era)


@attack("opening.form")
def an_era_opened_without_a_reconcile(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """What it keeps and closes would be anybody's guess."""
    card = new.next_card(origin=str(new.origin), log_key=new.key("log 2").public_key)
    return opening_leaves(new.state, new.entry([card, new.adopt()]), [], LATER)


@attack("opening.form")
def an_opening_that_also_grants(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """A grant would decide which moved entries stand."""
    return opened(new, honest_reconcile(new, kept, closed), more=[new.grant("friend")])


@attack("leaf.prev")
def an_opening_that_hangs_on_another_leaf(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """The chain goes on from the kept head."""
    other = replace(new.state, head=closed.state.head)
    return opening_leaves(other, opening(new, honest_reconcile(new, kept, closed)), [], LATER)


@attack("leaf.hour", also=("reconcile.hour",))
def an_opening_dated_before_the_kept_head(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Hours never fall, over eras neither."""
    reconcile = honest_reconcile(new, kept, closed, hour=HOUR - 1)
    return opening_leaves(new.state, opening(new, reconcile), [], HOUR - 1)


@attack("author.office")
def an_opening_signed_by_the_registrar(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Only the root key ends a history."""
    return opened(new, honest_reconcile(new, kept, closed), by="registrar")


@attack("author.unknown")
def an_opening_signed_by_a_stolen_log_key(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Whoever forked the log must not be able to repair it his way."""
    return opened(new, honest_reconcile(new, kept, closed), by="log")


@attack("card.keys")
def an_era_under_the_old_log_key(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """One log key for one era, for ever."""
    card = new.next_card(origin=str(new.origin))
    return opened(new, honest_reconcile(new, kept, closed), card=card)


@attack("card.chain")
def an_era_with_a_card_of_the_one_before(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """The card names the era whose log key it has."""
    card = new.next_card(log_key=new.key("log 2").public_key)
    return opened(new, honest_reconcile(new, kept, closed), card=card)


@attack("card.keys")
def an_opening_that_revives_a_revoked_key(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """A key revoked in the kept log comes back as a registrar's."""
    kept.take(kept.leaf(kept.entry([Revoke(key=kept.key("clerk").public_key, suspect_from=None)])))
    fresh = era_after([kept], Branch(kept).head, 2)
    new.state, new.start, new.before = fresh.state, fresh.start, fresh.before
    card = new.next_card(
        origin=str(new.origin),
        log_key=new.key("log 2").public_key,
        registrar_keys=(new.key("clerk").public_key,),
    )
    return opened(new, honest_reconcile(new, kept, closed), card=card)


@attack("reconcile.heads")
def an_opening_that_names_another_state_than_it_continues(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """It hangs on one branch, and says that it keeps the other."""
    return opened(new, honest_reconcile(new, kept, closed, kept=Branch(closed).head))


@attack("reconcile.heads")
def an_opening_that_closes_its_own_era(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Only earlier eras are closed."""
    return opened(new, honest_reconcile(new, kept, closed, closes=(Head(2, 4, bytes(32)),)))


@attack("reconcile.hour")
def an_opening_at_another_hour_than_it_states(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Whoever holds the branches judges the moved entries at the stated hour."""
    reconcile = honest_reconcile(new, kept, closed)
    return opening_leaves(new.state, opening(new, reconcile), [], LATER + 1)


@attack("reconcile.carried")
def an_opening_that_carries_nothing_with_a_root(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """One form for one fact."""
    return opened(new, honest_reconcile(new, kept, closed, carried=(0, bytes(32))))


@attack("reconcile.hour")
def a_moved_entry_at_another_hour(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """A grant that ended between them would hold again."""
    raws = opened(new, honest_reconcile(new, kept, closed), moved=entries_of(closed, 4)[:1])
    late = opening_leaves(new.state, parse_leaf(raws[0]).entry, entries_of(closed, 4)[:1], LATER)
    moved = parse_leaf(late[1])
    return [raws[0], new.leaf(moved.entry, hour=LATER + 1, prev=parse_leaf(raws[0]).hash)]


@attack("reconcile.carried")
def other_entries_than_announced(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """The same number, in another order."""
    return opened(new, honest_reconcile(new, kept, closed), moved=entries_of(closed, 4)[::-1])


@attack("reconcile.carried")
def an_entry_slipped_in_among_the_moved(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """A new entry of the clerk's in place of a moved one."""
    fresh = new.private([record(number=4711)], number=4711)
    return opened(new, honest_reconcile(new, kept, closed), moved=[entries_of(closed, 4)[0], fresh])


@attack("reconcile.carried", also=("leaf.form",))
def noise_in_place_of_the_last_moved_entry(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """What is no leaf is no entry."""
    raws = opened(new, honest_reconcile(new, kept, closed), moved=entries_of(closed, 4)[:1])
    return [*raws, b"noise"]


@attack("reconcile.moved", also=("reconcile.carried",))
def a_moved_card(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """Cards, adopts and reconciles are bound to their place."""
    adopt = new.entry([new.adopt()], by="desk")
    root = root_of([leaf_hash(adopt.header.entry_id)])
    return opened(new, honest_reconcile(new, kept, closed, carried=(1, root)), moved=[adopt])


@attack("reconcile.era")
def a_reconcile_behind_the_opening(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """A second one would announce other entries than the opening did."""
    raws = opened(new, honest_reconcile(new, kept, closed), moved=entries_of(closed, 4))
    again = new.entry([honest_reconcile(new, kept, closed)], by="root")
    return [*raws, new.leaf(again, hour=LATER, prev=parse_leaf(raws[-1]).hash)]


@attack("reconcile.ends")
def an_opening_by_a_new_root_key_past_what_the_roster_ends(kept: Log, closed: Log, new: Log) -> list[bytes]:
    """The roster gives the agency a new root key and ends the log before the thief's entries."""
    world = new.world
    agencies = dict(world.roster.agencies) | {"district": new.key("root 2").public_key}
    short = cut(kept, 3)
    roster = later_roster(world, agencies=agencies, ends={"district": short.end()})
    card = new.next_card(origin=str(new.origin), log_key=new.key("log 2").public_key)
    adopt = new.adopt(version=2, hash=roster.hash)
    reconcile = honest_reconcile(new, kept, closed)
    return opening_leaves(new.state, new.entry([card, adopt, reconcile], by="root 2"), [], LATER)


def opening(new: Log, reconcile: Reconcile, *, by: str = "root", card: Any = None, more: Any = ()) -> Any:
    """An opening entry."""
    card = card or new.next_card(origin=str(new.origin), log_key=new.key("log 2").public_key)
    return new.entry([card, new.adopt(), reconcile, *more], by=by)


def opened(new: Log, reconcile: Reconcile, *, moved: Any = (), **options: Any) -> list[bytes]:
    """The leaves of an era opened so."""
    return opening_leaves(new.state, opening(new, reconcile, **options), moved, reconcile.hour)


@pytest.mark.parametrize("case", ATTACKS, ids=str)
def test_the_attack_is_named_at_its_leaf(case: Attack) -> None:
    """The last leaf breaks exactly the rules expected, and no leaf before it any."""
    kept, closed, new = two_branches()
    raws = case.make(kept, closed, new)
    before = snapshot(new.state)
    *others, last = new.judge(*raws)
    assert all(not one.violations for one in others)
    names = {one.rule.name for one in last.violations}
    assert case.rule in names and names <= {case.rule} | case.also
    assert snapshot(new.state) == before
    for raw in raws[:-1]:
        new.append(raw)
    authority = new.state.authority
    new.append(raws[-1])
    assert new.state.authority == authority, "what an invalid leaf says has an effect"


def test_the_new_root_key_opens_where_the_roster_ends_the_log() -> None:
    """The other side of the attack above: kept is the ``ends``, the era is its next one."""
    kept, closed, _ = two_branches()
    world = kept.world
    short = cut(kept, 3)
    agencies = dict(world.roster.agencies) | {"district": kept.key("root 2").public_key}
    roster = later_roster(world, agencies=agencies, ends={"district": short.end()})
    new = era_after([kept], short.end().head, 2)
    adopt = new.adopt(version=2, hash=roster.hash)
    root = new.key("root 2")
    closes = choose_closes(branches_of([kept, closed]), short.end().head)
    plan = plan_for(new, [kept, closed], closes, adopt=adopt, root_key=root.public_key)
    entry = sign_opening(new.state, plan, root)
    moved = [leaf.entry for leaf in plan.lists.carried]
    new.take(*opening_leaves(new.state, entry, moved, LATER))
    assert len(moved) == len(kept.leaves) + len(closed.leaves) - 3 - 4


def test_a_plan_needs_no_secret_and_is_signed_elsewhere() -> None:
    """The draft is judged by the opening's own rules: a plan that exists stands."""
    kept, closed, new = two_branches()
    plan = plan_for(new, [kept, closed], [Branch(closed).head])
    new.take(*opening_leaves(new.state, sign_opening(new.state, plan, new.key("root")), [], LATER))
    with pytest.raises(Refused) as caught:
        plan_for(era_after([kept], Branch(kept).head, 2), [kept, closed], [], card=new.card())
    assert [one.rule.name for one in caught.value.violations] == ["card.chain"]


@pytest.mark.parametrize("restated", [False, True])
def test_a_revocation_by_a_dropped_registrar_stands_when_moved(restated: bool) -> None:
    """A thief who has a registrar dropped must not undo what that registrar revoked."""
    kept, closed, _ = two_branches()
    revoke = Revoke(key=closed.key("clerk").public_key, suspect_from=None)
    closed.take(closed.leaf(closed.entry([revoke], by="registrar")))
    new = era_after([kept], Branch(kept).head, 2)
    card = new.next_card(
        origin=str(new.origin),
        log_key=new.key("log 2").public_key,
        registrar_keys=(new.key("registrar 2").public_key,),
    )
    closes = [Branch(closed).head]
    plan = plan_for(new, [kept, closed], closes, card=card, revokes=[revoke] if restated else [])
    assert [one.rule for one in plan.lists.set_aside] == (["author.revoked"] * 2 if restated else [])
    assert len(plan.lists.carried) == (1 if restated else 3)
    assert plan.lost_revokes() == []


def test_other_offices_of_a_dropped_registrar_end() -> None:
    """A grant of his that only the closed branch holds is set aside, and so is what it would allow."""
    kept, closed, _ = two_branches()
    closed.take(closed.leaf(closed.entry([closed.grant("friend")], by="registrar")))
    work(closed, 1, by="friend")
    new = era_after([kept], Branch(kept).head, 2)
    fields = {"log_key": new.key("log 2").public_key, "registrar_keys": (new.key("registrar 2").public_key,)}
    card = new.next_card(origin=str(new.origin), **fields)
    plan = plan_for(new, [kept, closed], [Branch(closed).head], card=card)
    assert [one.rule for one in plan.lists.set_aside] == ["author.unknown", "author.unknown"]


def test_a_further_desk_key_lets_moved_entries_stand_and_writes_no_new_ones() -> None:
    """The old node's key after the old node was stolen."""
    kept, closed, _ = two_branches()
    work(closed, 1, by="desk")
    new = era_after([kept], Branch(kept).head, 2)
    desks = new.key("desk 2").public_key, new.key("desk").public_key
    card = new.next_card(origin=str(new.origin), log_key=new.key("log 2").public_key, desk_keys=desks)
    plan = plan_for(new, [kept, closed], [Branch(closed).head], card=card)
    assert plan.lists.set_aside == () and len(plan.lists.carried) == 3
    moved = [leaf.entry for leaf in plan.lists.carried]
    new.take(*opening_leaves(new.state, sign_opening(new.state, plan, new.key("root")), moved, LATER))
    [judged] = new.judge(new.leaf(new.private([record(number=6)], by="desk", number=6), hour=LATER))
    assert [one.rule.name for one in judged.violations] == ["author.unknown"]
