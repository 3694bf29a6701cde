"""ledger.lineage, branches and reading: what belongs to a log, and that no entry of any branch is lost."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.branches import START, Branches, branch_name
from ledger.chain import reconcile_of
from ledger.errors import Undecided
from ledger.governance import HEADS_MAX, Reconcile, Revoke
from ledger.keys import verify_many
from ledger.leaf import Leaf, make_leaf, parse_leaf
from ledger.lineage import (
    Facts,
    Lists,
    check_lists,
    choose_closes,
    choose_kept,
    choose_lists,
    owed,
    standing,
)
from ledger.merkle import EMPTY_ROOT, leaf_hash
from ledger.names import Head
from ledger.reading import Read, reading_order
from ledger.roster import Ends
from tests.attacks import covers
from tests.eras import (
    Branch,
    branches_of,
    cut,
    dishonest,
    era_after,
    forked,
    nothing,
    plan_for,
    reopened,
    work,
)
from tests.test_chain import second_signature
from tests.world import HOUR, Log, World


def heads(*logs: Log) -> list[Head]:
    return [Branch(log).head for log in logs]


def ids(log: Log, start: int = 0) -> list[bytes]:
    """The entry ids of a log's own era, in order."""
    return [parse_leaf(raw).header.entry_id for raw in log.leaves[start:]]


def opening_of(log: Log) -> Reconcile:
    reconcile = reconcile_of(parse_leaf(log.leaves[0]))
    assert reconcile is not None
    return reconcile


def judge_lists(new: Log, logs: list[Log]) -> list[str]:
    """What whoever holds ``logs`` says of the lists of an opening."""
    seen = new.before | {parse_leaf(new.leaves[0]).header.entry_id}
    found, _ = check_lists(cut(new, 1).state, opening_of(new), branches_of(logs), seen.__contains__)
    return [one.rule.name for one in found]


# what is kept


def test_what_is_certified_is_kept_even_if_the_other_branch_is_longer() -> None:
    """And from there on whatever continues it."""
    short, long = forked([2, 9], shared=1)
    branches = branches_of([short, long])
    assert choose_kept(branches, Facts()) == Branch(long).head
    at_parting = Branches([Branch(short), Branch(long)]).head_at(Branch(short), 4)
    assert choose_kept(branches, Facts(certified=[at_parting])) == Branch(short).head


def test_at_every_parting_the_branch_with_most_last_cosignatures_is_followed() -> None:
    """A thousandth entry does not outweigh one witness; further partings are decided in turn."""
    one, two = forked([2, 9], shared=1)
    three = cut(one)
    work(one, 1)
    work(three, 2)
    branches = branches_of([one, two, three])
    votes = dict(zip("abc", heads(one, one, two), strict=True))
    assert choose_kept(branches, Facts(last_cosigned=votes)) == Branch(one).head
    at_two = branches.head_at(Branch(one), 5)
    votes = {"a": at_two, "b": at_two, "c": Branch(two).head, "d": Branch(three).head}
    assert choose_kept(branches, Facts(last_cosigned=votes)) == Branch(three).head
    assert choose_kept(branches, Facts(last_cosigned={"c": Branch(two).head})) == Branch(two).head


def test_an_unsound_tail_is_cut_at_a_signed_checkpoint() -> None:
    """A wrong hour, an invalid leaf: kept is the newest checkpoint below it, and the tail is closed."""
    [log] = forked([6])
    whole = Branch(log).head
    facts = Facts(sound={whole: 6}, signed={whole: [3, 5, 7]})
    kept = choose_kept(branches_of([log]), facts)
    assert (kept.size, choose_closes(branches_of([log]), kept)) == (5, [whole])
    certified = branches_of([log]).head_at(Branch(log), 7)
    assert choose_kept(branches_of([log]), replace(facts, certified=[certified])) == certified
    assert choose_kept(branches_of([log]), Facts(sound={whole: 0})) == START


def test_an_era_can_be_passed_over_and_is_closed_like_a_branch() -> None:
    """An opening that keeps too little: the next era goes back to era 1 and takes its work along."""
    [log] = forked([5])
    early = branches_of([log]).head_at(Branch(log), 4)
    wrong = era_after([log], early, 2)
    dishonest(wrong, nothing(early))
    work(wrong, 2, hour=HOUR + 5)
    votes = dict.fromkeys("ab", Branch(log).head)
    new = reopened([log, wrong], Facts(last_cosigned=votes), era=3)
    assert opening_of(new).kept == Branch(log).head
    assert opening_of(new).closes == tuple(heads(wrong))
    assert ids(new, 1) == ids(wrong, 1)


def test_what_the_roster_ends_is_kept_whatever_else_there_is() -> None:
    """The new root key goes on there."""
    log, other = forked([5, 1])
    end = Ends(head=branches_of([log]).head_at(Branch(log), 3), next_era=2)
    assert choose_kept(branches_of([log, other]), Facts(ends=end)) == end.head


def test_a_certified_checkpoint_without_its_leaves_decides_nothing() -> None:
    """Nobody plans past what a quorum holds."""
    log, other = forked([2, 1])
    later = reopened([log, other])
    with pytest.raises(Undecided):
        choose_kept(branches_of([log, other]), Facts(certified=heads(later)))


# the lists


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=4), st.integers(0, 2), st.randoms(use_true_random=False)
)
def test_every_entry_of_every_branch_is_in_the_log_exactly_once(
    parts: list[int], shared: int, order: random.Random
) -> None:
    """Whatever arrived first: the same era, every entry kept or carried, none twice."""
    logs = forked(parts, shared=shared)
    for log in logs[1:]:  # some entries stand on two branches
        entry = parse_leaf(logs[0].leaves[-1]).entry
        if entry.header.entry_id not in log.entry_ids():
            log.take(log.leaf(entry))
    new = reopened(logs)
    shuffled = logs.copy()
    order.shuffle(shuffled)
    assert [parse_leaf(raw).header.raw for raw in reopened(shuffled).leaves[1:]] == [
        parse_leaf(raw).header.raw for raw in new.leaves[1:]
    ]
    kept = opening_of(new).kept
    main = next(log for log in logs if Branch(log).head == kept)
    log_ids = ids(main) + ids(new, 1)
    assert len(set(log_ids)) == len(log_ids)
    assert set(log_ids) == set().union(*(set(ids(log)) for log in logs))
    assert judge_lists(new, logs) == []


@covers("reconcile.lists")
def test_an_opening_that_drops_an_entry_is_found_by_whoever_holds_the_branch() -> None:
    """From the log alone nothing is wrong: what is announced is what stands."""
    kept, closed = forked([3, 2])
    new = era_after([kept], Branch(kept).head, 2)
    plan = plan_for(new, [kept, closed], heads(closed))
    one = [leaf.entry for leaf in plan.lists.carried[:1]]
    dropped = replace(plan.reconcile, carried=replace_lists(plan.lists.carried[:1]))
    dishonest(new, dropped, one)
    assert [each.violations for each in new.judged()] == [(), ()]
    assert judge_lists(new, [kept, closed]) == ["reconcile.lists"]


def replace_lists(leaves: tuple[Leaf, ...]) -> tuple[int, bytes]:
    """What a reconcile states of these carried entries."""
    return Lists(carried=leaves, set_aside=()).commitments()[0]


@covers("reconcile.lists")
def test_an_opening_that_sets_aside_what_stands_is_found() -> None:
    """A valid entry called invalid, or invalid under another name."""
    kept, closed = forked([3, 1])
    new = era_after([kept], Branch(kept).head, 2)
    honest = plan_for(new, [kept, closed], heads(closed)).reconcile
    false = replace(honest, carried=(0, EMPTY_ROOT), set_aside=(1, bytes(32)))
    assert judge_lists(dishonest(new, false), [kept, closed]) == ["reconcile.lists"]


@covers("reconcile.missing")
def test_an_opening_that_closes_a_branch_nobody_has_stays_undecided() -> None:
    """Never invalid: the branch may come. Never fine either."""
    kept, closed = forked([3, 2])
    new = reopened([kept, closed])
    assert judge_lists(new, [kept]) == ["reconcile.missing"]
    assert judge_lists(new, [closed, kept]) == []
    invented = dishonest(
        era_after([kept], Branch(kept).head, 2), replace(opening_of(new), closes=(Head(1, 7, bytes(32)),))
    )
    assert judge_lists(invented, [kept, closed]) == ["reconcile.missing"]


def test_an_entry_moved_past_its_authors_revocation_is_set_aside() -> None:
    """The clerk was revoked on the branch that is kept, and wrote on the other one."""
    kept, closed = forked([3, 2])
    kept.take(kept.leaf(kept.entry([Revoke(key=kept.key("clerk").public_key, suspect_from=None)])))
    new = reopened([kept, closed])
    assert len(new.leaves) == 1 and opening_of(new).set_aside[0] == 2
    assert judge_lists(new, [kept, closed]) == []


def test_the_same_entry_with_a_second_valid_signature_is_no_second_entry() -> None:
    """Ed25519 lets the key's owner sign one message twice, with two signatures."""
    kept, closed = forked([1, 0])
    entry = parse_leaf(kept.leaves[-1]).entry
    twin = replace(entry, signature=second_signature(kept.key("clerk").seed, entry.signed_message[1]))
    closed.take(closed.leaf(twin))
    work(kept, 2)
    new = reopened([kept, closed])
    assert opening_of(new).carried == opening_of(new).set_aside == (0, EMPTY_ROOT)
    assert judge_lists(new, [kept, closed]) == []


def test_a_false_copy_shuts_out_no_true_entry() -> None:
    """The thief of the log key puts the entry with a bad signature into a branch that is judged first."""
    kept, closed = forked([4, 1])
    true = parse_leaf(closed.leaves[-1]).entry
    for number in range(20):
        thief = cut(closed, 2)
        work(thief, 1)
        thief.append(thief.leaf(replace(true, signature=bytes([number]) * 64)))
        logs = [kept, closed, thief]
        if Branch(thief).head.root < Branch(closed).head.root:
            break
    else:
        raise AssertionError("no thief's branch is judged first")
    new = reopened(logs)
    assert true.header.entry_id in ids(new) and judge_lists(new, logs) == []


def test_cards_adopts_and_reconciles_are_in_neither_list() -> None:
    """Bound to their place: the operator makes them again where they are needed."""
    kept, closed = forked([4, 1])
    closed.take(closed.leaf(closed.entry([closed.next_card(urls=())])))
    closed.take(closed.leaf(closed.entry([closed.adopt()], by="desk")))
    new = reopened([kept, closed])
    assert (opening_of(new).carried[0], opening_of(new).set_aside[0]) == (1, 0)


def test_branches_closed_once_are_not_closed_again_and_late_ones_are() -> None:
    """Era 3 takes up what surfaced after era 2, and nothing of what era 2 settled."""
    kept, closed, hidden = forked([4, 1, 2])
    second = reopened([kept, closed])
    fork_of_second = cut(second)
    work(second, 2, hour=HOUR + 6)
    work(fork_of_second, 1, hour=HOUR + 6)
    logs = [kept, closed, hidden, second, fork_of_second]
    third = reopened(logs, era=3, hour=HOUR + 7)
    assert set(opening_of(third).closes) == set(heads(hidden, fork_of_second))
    assert set(ids(third, 1)) == set(ids(hidden, 2)) | set(ids(fork_of_second, 2))
    assert judge_lists(third, logs) == []


def test_a_thousand_way_fork_is_planned_and_closes_what_one_opening_can() -> None:
    """64 branches, the longest first; the rest stay late, their entries owed, until the next opening."""
    log = World().logs["district"]
    many = []
    for number in range(1_000):
        other = cut(log)
        entry = other.entry([other.grant(f"key {number}")], by="registrar")
        leaf = make_leaf(entry, prev=log.state.head, received_hour=HOUR)
        other.append(leaf.raw)
        many.append(Branch(other))
    branches = Branches(many)
    kept = choose_kept(branches, Facts())
    closes = choose_closes(branches, kept)
    assert len(closes) == HEADS_MAX == len(set(closes)) and kept not in closes
    assert closes == sorted(closes, key=lambda head: head.root)
    assert kept == choose_kept(Branches(many[::-1]), Facts())


# late and owed


def test_a_branch_is_open_then_closed_or_late_then_its_entries_are_owed_until_appended() -> None:
    """A branch surfacing after the repair stops nobody and is not forgotten."""
    kept, closed, hidden = forked([4, 1, 2])
    new = reopened([kept, closed])
    branches = branches_of([kept, closed, hidden, new])
    history = branches.history(Branch(new).head)

    def word(log: Log, settled: list[int]) -> str:
        return standing(branches, Branch(log).head, history, settled=settled, closes=opening_of(new).closes)

    assert [word(log, []) for log in (kept, closed, hidden, new)] == ["part", "open", "open", "part"]
    assert [word(log, [2]) for log in (kept, closed, hidden, new)] == ["part", "closed", "late", "part"]
    missing = owed(hidden.leaves, new.entry_ids().__contains__, lambda entry_id: False)
    assert missing == ids(hidden, 2)
    new.take(new.leaf(parse_leaf(hidden.leaves[2]).entry, hour=HOUR + 9))
    assert owed(hidden.leaves, new.entry_ids().__contains__, lambda entry_id: False) == missing[1:]
    assert owed(hidden.leaves, new.entry_ids().__contains__, set(missing).__contains__) == []


def test_leaves_beyond_an_end_are_ended_and_no_opening_of_a_thief_counts() -> None:
    """A root-key thief opens era 2 past the state at which the roster ends the log."""
    kept, closed = forked([4, 1])
    stolen = reopened([kept, closed])
    end = Ends(head=branches_of([kept]).head_at(Branch(kept), 3), next_era=3)
    branches = branches_of([kept, closed, stolen])
    log = branches.history(end.head)
    words = [standing(branches, head, log, settled=[], closes=(), ends=[end]) for head in heads(kept, stolen)]
    assert words == ["ended", "ended"]
    assert standing(branches, end.head, log, settled=[], closes=(), ends=[end]) == "part"
    facts = Facts(ends=end, last_cosigned=dict.fromkeys("abc", Branch(stolen).head))
    assert choose_kept(branches, facts) == end.head
    assert choose_kept(branches, Facts(cut_off=[Ends(head=end.head, next_era=3)])) in heads(closed)


# histories


def test_two_checkpoints_contradict_exactly_when_neither_history_contains_the_other() -> None:
    """Within an era, across eras, through what openings keep."""
    kept, closed = forked([4, 1])
    new = reopened([kept, closed])
    branches = branches_of([kept, closed, new])
    early = branches.head_at(Branch(kept), 3)
    for one, two, expected in (
        (early, Branch(kept).head, False),
        (Branch(kept).head, Branch(closed).head, True),
        (Branch(new).head, Branch(kept).head, False),
        (Branch(new).head, early, False),
        (Branch(new).head, Branch(closed).head, True),
        (Branch(new).head, branches.head_at(Branch(closed), 2), False),
        (START, Branch(new).head, False),
    ):
        assert branches.contradict(one, two) == branches.contradict(two, one) == expected


def test_a_branch_is_named_by_its_first_own_leaf() -> None:
    """Where it leaves all branches stored before; a part of one has no name."""
    one, two = forked([3, 2], shared=2)
    three = cut(two)
    work(three, 1)
    stored = [Branch(one), Branch(two)]
    assert branch_name(Branch(two), stored[:1]) == leaf_hash(two.leaves[4])
    assert branch_name(Branch(three), stored) == leaf_hash(three.leaves[-1])
    assert branch_name(Branch(cut(one, 3)), stored) is None
    assert branch_name(Branch(one), []) == leaf_hash(one.leaves[0])


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=4),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_the_reading_order_is_the_same_whatever_arrived_first(
    tails: list[list[int]], shared: int, order: random.Random
) -> None:
    """Every entry once: what all share in order, then by (smallest index, entry id), marked contested."""
    head = [(bytes([1, number]), bytes([200 + number])) for number in range(shared)]
    branches = []
    for number, tail in enumerate(tails):
        own = [(bytes([2, number, at]), bytes([one])) for at, one in enumerate(dict.fromkeys(tail))]
        branches.append(head + own)
    shuffled = branches.copy()
    order.shuffle(shuffled)
    read = reading_order(branches)
    assert read == reading_order(shuffled)
    everything = {entry for branch in branches for _, entry in branch}
    assert len(read) == len(everything) and {one.entry_id for one in read} == everything
    contested = [one for one in read if one.is_contested]
    assert contested == sorted(contested) and read[: len(read) - len(contested)] == [
        one for one in read if not one.is_contested
    ]
    if len(branches) > 1 and all(tails):
        assert [one.entry_id for one in read if not one.is_contested] == [entry for _, entry in head]


def test_a_leaf_that_is_none_has_nothing_to_read() -> None:
    """It stands on a branch and shows no entry."""
    assert reading_order([[(b"a", b"1"), (b"b", None)], [(b"a", b"1"), (b"c", b"2")]]) == [
        Read(0, b"1"),
        Read(1, b"2", True),
    ]
    assert reading_order([]) == []


def test_lists_of_a_closed_branch_are_judged_by_as_many_cores_as_there_are() -> None:
    """Signatures go out in batches."""
    kept, closed = forked([3, 2])
    batches = []

    def counting(batch: object) -> list[bool]:
        batches.append(len(batch))  # type: ignore[arg-type]
        return verify_many(batch)  # type: ignore[arg-type]

    new = reopened([kept, closed])
    seen = new.before.__contains__
    choose_lists(cut(new, 1).state, branches_of([kept, closed]), opening_of(new).closes, seen, counting)
    assert batches == [len(closed.leaves)]
