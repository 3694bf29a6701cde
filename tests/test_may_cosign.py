"""ledger.may_cosign: what a witness must not cosign, when it is freed, and what the thresholds rest on."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from ledger.errors import Undecided
from ledger.may_cosign import Known, contradicting_needed, is_given_up, why_not_cosign
from ledger.names import Head
from ledger.roster import Ends, quorum_of
from tests.eras import Branch, branches_of, dishonest, era_after, forked, nothing, reopened
from tests.world import Log

NAMES = "abcdefghijklm"


def head(log: Log) -> Head:
    return Branch(log).head


def why_not(candidate: Log, logs: list[Log], **changes: Any) -> str | None:
    """What the rule says of the head of ``candidate``; by default nothing was cosigned, nothing forked."""
    fields: dict[str, Any] = {
        "branches": branches_of(logs),
        "newest_era": max(log.origin.era for log in logs),
        "forked_eras": (),
        "cosigned": (),
    }
    return why_not_cosign(head(candidate), Known(**(fields | changes)))


def test_a_forked_era_is_not_cosigned_and_stops_no_other() -> None:
    """Once an opening is in hand nothing of earlier eras stops the new one."""
    kept, closed = forked([3, 2])
    assert why_not(kept, [kept, closed]) is None
    assert "forked" in (why_not(kept, [kept, closed], forked_eras={1}) or "")
    new = reopened([kept, closed])
    logs = [kept, closed, new]
    assert why_not(new, logs, forked_eras={1}) is None
    assert "era 2 is open" in (why_not(kept, logs) or "")


def test_an_opening_that_keeps_less_than_was_cosigned_is_not_cosigned_until_that_is_given_up() -> None:
    """Each checkpoint that this node cosigned is in ``kept``, or given up."""
    kept, closed = forked([3, 2])
    new = reopened([kept, closed])
    logs = [kept, closed, new]
    assert why_not(new, logs, cosigned=[head(kept)]) is None
    assert "leaves out" in (why_not(new, logs, cosigned=[head(closed)]) or "")
    early = branches_of(logs).head_at(Branch(kept), 3)
    short = era_after([kept], early, 2, "log two")
    dishonest(short, nothing(early))
    assert why_not(short, [kept, closed, short], cosigned=[early]) is None
    assert "leaves out" in (why_not(short, [kept, closed, short], cosigned=[head(kept)]) or "")


def test_two_openings_of_one_era_are_not_both_cosigned() -> None:
    """Whichever came first to this node; and evidence of the two stops the era."""
    kept, closed = forked([3, 2])
    one = reopened([kept, closed])
    other = reopened([kept, closed], log_office="log two", hour=one.state.hour + 1)
    logs = [kept, closed, one, other]
    assert why_not(one, logs, cosigned=[head(one)]) is None
    assert "leaves out" in (why_not(other, logs, cosigned=[head(one)]) or "")
    assert "forked" in (why_not(one, logs, cosigned=[head(one)], forked_eras={2}) or "")


def test_a_root_key_thief_is_cut_off_by_the_roster_and_binds_no_witness() -> None:
    """The roster ends the log before the thief's era; who cosigned that era is free for the new root key."""
    kept, closed = forked([4, 2])
    stolen = reopened([kept, closed])
    end = Ends(head=branches_of([kept]).head_at(Branch(kept), 3), next_era=3)
    mended = era_after([kept], end.head, 3)
    dishonest(mended, nothing(end.head))
    logs = [kept, closed, stolen, mended]
    assert "leaves out" in (why_not(mended, logs, cosigned=[head(stolen)]) or "")
    assert why_not(mended, logs, cosigned=[head(stolen), head(kept)], ends=[end]) is None
    assert "ends the log" in (why_not(stolen, logs[:3], ends=[end]) or "")


def test_without_the_leaves_of_what_was_cosigned_there_is_no_cosignature() -> None:
    """Undecided is no yes."""
    kept, closed = forked([3, 2])
    new = reopened([kept, closed])
    with pytest.raises(Undecided):
        why_not(new, [closed, new], cosigned=[branches_of([kept]).head_at(Branch(kept), 3)])


def given_up(logs: list[Log], own: Log, others: dict[str, list[Log]], count: int = 7) -> bool:
    """Whether agency a gave up its checkpoint of b's log."""
    cosigned = {name: [head(log) for log in theirs] for name, theirs in others.items()}
    return is_given_up(head(own), cosigned, branches_of(logs), agencies=NAMES[:count], node="a", owner="b")


def test_a_checkpoint_is_given_up_once_enough_others_cosigned_a_contradicting_one() -> None:
    """n = 7, q = 5: three others. Neither this node, nor the owner, nor a stranger counts."""
    kept, closed = forked([3, 2])
    logs = [kept, closed]
    assert contradicting_needed(7) == 3
    assert not given_up(logs, closed, {"c": [kept], "d": [kept]})
    assert given_up(logs, closed, {"c": [kept], "d": [kept], "e": [kept]})
    assert not given_up(logs, closed, {"a": [kept], "b": [kept], "c": [kept], "d": [kept], "z": [kept]})
    assert not given_up(logs, closed, {"c": [kept], "d": [kept], "e": [closed]})


def test_only_the_same_or_a_later_era_frees_from_a_checkpoint() -> None:
    """An old branch that surfaces again must not free anybody from the new era."""
    kept, closed = forked([3, 2])
    new = reopened([kept, closed])
    logs = [kept, closed, new]
    assert not given_up(logs, new, {key: [closed] for key in "cdefg"})
    assert given_up(logs, closed, {key: [new] for key in "cde"})
    assert not given_up([kept, new], new, {key: [closed] for key in "cde"}), "leaves not in hand free nobody"


@pytest.mark.parametrize("count", range(2, 8))
def test_two_contradicting_certificates_prove_2q_minus_n_agencies_false(count: int) -> None:
    """Every way in which n agencies can cosign one side, the other, both or neither (the owner is one)."""
    quorum = quorum_of(count)
    fewest = count
    for choice in product(range(4), repeat=count):
        one, two = (sum(bool(each & side) for each in choice) for side in (1, 2))
        if one >= quorum and two >= quorum:
            fewest = min(fewest, sum(each == 3 for each in choice))
    assert fewest == 2 * quorum - count >= 1


@pytest.mark.parametrize("count", range(3, 8))
def test_giving_up_leaves_a_certificate_only_over_a_false_witness(count: int) -> None:
    """If the given-up side is certified all the same, an agency beside the owner cosigned both sides.

    Agency 0 is the node that gives up and cosigned side 1, agency 1 the owner. With honest witnesses no
    certified checkpoint is ever given up.
    """
    needed, quorum = contradicting_needed(count), quorum_of(count)
    for choice in product(range(4), repeat=count - 1):
        sides = (1, *choice)
        against = sum(bool(each & 2) for each in sides[2:])
        certified = sum(bool(each & 1) for each in sides) >= quorum
        if against >= needed and certified:
            assert any(each == 3 for each in sides[2:])
