"""ledger.displaced: what a move breaks is nobody's fault, and what told the agency to stop still does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.displaced import FirstPlace, add_moved, add_set_aside, is_displaced, judge_moved
from ledger.record import Record
from tests.attacks import covers
from tests.test_portfolio import (
    CLERK,
    DAY,
    DESK,
    Pupil,
    consent,
    consent_withdrawal,
    newcomer,
    pupil,
    staff,
    under,
    withdrawal,
)
from tests.world import record


def two_branches(*shared: Record) -> tuple[Pupil, Pupil]:
    """One pupil in the branch that is kept and in the one that is closed, with what both have."""
    kept = pupil()
    for one in shared:
        kept.take(one)
    return kept, Pupil(kept.portfolio)


def first(of: Pupil, author: object = CLERK, day: int = DAY) -> FirstPlace:
    """The place where a branch goes on."""
    return FirstPlace(portfolio=of.portfolio, author=author, day=day)  # type: ignore[arg-type]


def moved(kept: Pupil, one: Record, place: FirstPlace, author: object = CLERK) -> list[str]:
    """What a moved record breaks; the kept portfolio goes on with it."""
    found = judge_moved(kept.portfolio, one, author, day=DAY + 1, first=place)  # type: ignore[arg-type]
    kept.portfolio = add_moved(kept.portfolio, one, found)
    return [each.rule.name for each in found]


@covers("record.displaced")
def test_the_same_fact_in_two_branches_is_displaced() -> None:
    """The second is no conflict of its author's, and the first stays what is live."""
    kept, closed = two_branches()
    stands = kept.take(record(number=1, value="4"))
    one, place = record(number=2, value="5"), first(closed)
    found = judge_moved(kept.portfolio, one, CLERK, day=DAY + 1, first=place)
    assert is_displaced(found)
    assert [(each.rule.fault, each.standing, each.is_equal) for each in found] == [
        ("nobody", stands.hash, False)
    ]
    assert "record.identity" in found[0].detail
    assert add_moved(kept.portfolio, one, found) == kept.portfolio


def test_a_correction_of_what_the_kept_branch_corrected_is_displaced() -> None:
    """Both colleagues corrected what they saw."""
    wrong = record(number=1, value="4")
    kept, closed = two_branches(wrong)
    right = kept.take(record(number=2, value="5", supersedes=wrong.hash))
    late = record(number=3, value="3", supersedes=wrong.hash)
    assert set(moved(kept, late, first(closed))) == {"record.displaced"}
    assert right.hash in kept.portfolio.live and late.hash not in kept.portfolio.live


def test_a_record_that_the_move_does_not_touch_stands() -> None:
    """Most are such."""
    kept, closed = two_branches()
    one = record(number=4, subject_code="physics")
    assert moved(kept, one, first(closed)) == [] and one.hash in kept.portfolio.live


def test_what_was_wrong_at_its_first_place_is_its_authors_fault() -> None:
    """A move excuses nobody."""
    kept, closed = two_branches()
    stranger = staff(unit="school-9")
    names = moved(kept, record(number=5), first(closed, stranger), stranger)
    assert names == ["record.scope"]
    untold = newcomer()
    assert "record.notice" in moved(newcomer(), record(number=6), first(untold))


def test_a_grant_that_ended_before_the_move_displaces() -> None:
    """At the hour of the opening the author's scopes may be gone."""
    kept, closed = two_branches()
    names = moved(kept, record(number=7), first(closed), replace(CLERK, scopes=()))
    assert names == ["record.displaced"]


def test_what_stands_only_after_the_move_stands() -> None:
    """The verdict is that of the place where the log has it."""
    kept, closed = pupil(), newcomer()
    assert moved(kept, record(number=8), first(closed)) == []


def test_a_withdrawn_consent_stays_withdrawn_whatever_becomes_of_the_entry() -> None:
    """Displaced or set aside: what rests on the consent is refused from there on."""
    given = consent()
    for aside in (False, True):
        kept, closed = two_branches(given)
        stop = consent_withdrawal(given)
        if aside:
            kept.portfolio = add_set_aside(kept.portfolio, stop, first(closed))
        else:
            assert moved(kept, stop, first(closed), replace(CLERK, scopes=())) == ["record.displaced"]
        names = [one.rule.name for one in kept.judge(under(given, number=9))]
        assert names == ["record.basis"]


def test_a_withdrawal_ends_its_record_even_when_its_entry_is_set_aside() -> None:
    """A record entered in error is not live again because the log was repaired."""
    wrong = record(number=10)
    kept, closed = two_branches(wrong)
    kept.portfolio = add_set_aside(kept.portfolio, withdrawal(wrong), first(closed))
    assert wrong.hash not in kept.portfolio.live
    kept.take(record(number=11, value="3"))


def test_a_restriction_that_was_set_aside_is_in_force() -> None:
    """And counts once, if it is carried later after all."""
    kept, closed = two_branches()
    stop = record("restriction", scope="all", recipients=[], **{"from": "2026-09-04", "until": "2027-01-01"})
    place = first(closed, DESK)
    if closed.judge(stop, DESK):
        pytest.fail(str(closed.judge(stop, DESK)))
    for _ in range(2):
        kept.portfolio = add_set_aside(kept.portfolio, stop, place)
        assert stop.hash in kept.portfolio.live


def test_what_was_false_at_its_first_place_acts_nowhere() -> None:
    """Somebody without the right could not stop anything in the branch either."""
    wrong = record(number=12)
    kept, closed = two_branches(wrong)
    before = kept.portfolio
    stranger = staff(unit="school-9")
    assert add_set_aside(before, withdrawal(wrong), first(closed, stranger)) == before


def test_nothing_is_loosened_from_a_branch_that_is_closed() -> None:
    """The withdrawal of a withdrawal, set aside, would give a consent back that the family took."""
    given = consent()
    stop = consent_withdrawal(given)
    kept, closed = two_branches(given, stop)
    before = kept.portfolio
    again = withdrawal(stop)
    assert closed.judge(again) == []
    assert add_set_aside(before, again, first(closed)) == before


def test_an_ordinary_record_that_was_set_aside_is_not_live() -> None:
    """It may be appended later, like any other."""
    kept, closed = two_branches()
    before = kept.portfolio
    assert add_set_aside(before, record(number=13), first(closed)) == before
