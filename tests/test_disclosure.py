"""ledger.disclosure: an official's view is the family's, narrowed; an outsider's is empty."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.disclosure import Family, Official, Outsider, view
from ledger.portfolio import Portfolio, add
from ledger.record import Basis, Record
from ledger.statute import default_statute_json, parse_statute
from ledger.vocabulary import FAMILY_ROLES, PURPOSES, ROLES
from tests.world import record

STATUTE = parse_statute(default_statute_json())
UNITS = ("school-1", "school-2", "*", "")
PROFILES = ("full", "school_only", "declined", None)


def one_of(kind: str, number: int) -> Record:
    """A record of a kind; disclosure does not look into its fields."""
    if kind in ("enrolment", "transfer"):
        raise ValueError(kind)
    return record(kind, number=number, basis=Basis(act="273-fz"), value=str(number))


def portfolio_of(kinds: list[str], profile: str | None, *, moved: bool = False) -> Portfolio:
    """A pupil of school-1 (if there is a profile) with one record of each kind."""
    portfolio = Portfolio(statute=STATUTE)
    if profile is not None:
        portfolio = add(portfolio, record("enrolment", profile=profile))
    for number, kind in enumerate(kinds):
        portfolio = add(portfolio, one_of(kind, number))
    if moved:
        fields = {"from_org": "school-1", "to_org": "school-2", "exit_type": "transferred"}
        portfolio = add(portfolio, record("transfer", date="2026-09-02", **fields))
        portfolio = add(
            portfolio, record("enrolment", number=9, org_id="school-2", profile=profile or "full")
        )
    return portfolio


KINDS = sorted(set(STATUTE.kinds) - {"enrolment", "transfer"})
officials = st.builds(
    Official,
    role=st.sampled_from((*ROLES, "headmaster")),
    unit=st.sampled_from(UNITS),
    purpose=st.sampled_from((*PURPOSES, "rating")),
)
portfolios = st.builds(
    portfolio_of,
    st.lists(st.sampled_from(KINDS), max_size=8),
    st.sampled_from(PROFILES),
    moved=st.booleans(),
)


@given(portfolios, officials)
def test_whatever_an_official_sees_the_family_sees(portfolio: Portfolio, asker: Official) -> None:
    """The invariant that families were promised; each record is either shown, or withheld with a reason."""
    family, official = view(portfolio, Family()), view(portfolio, asker)
    assert official.shown.items() <= family.shown.items()
    assert set(official.shown) | set(official.withheld) == set(portfolio.live)
    assert not set(official.shown) & set(official.withheld)
    assert all(official.withheld.values())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_matrix_of_the_default_list_is_what_officials_see(role: str, purpose: str) -> None:
    """Every role and purpose: exactly the kinds whose readers name the pair, in the pupil's unit."""
    portfolio = portfolio_of(KINDS, "full")
    shown = view(portfolio, Official(role=role, unit="school-1", purpose=purpose)).shown
    expected = {name for name, kind in STATUTE.kinds.items() if (role, purpose) in kind.readers}
    expected &= {one.kind for one in portfolio.live.values()}
    assert {one.kind for one in shown.values()} == (set() if role in FAMILY_ROLES else expected)


@given(portfolios)
def test_the_family_and_the_owner_see_all(portfolio: Portfolio) -> None:
    """Nothing is kept from the family."""
    for asker in (Family(), "owner"):
        whole = view(portfolio, asker)
        assert whole.shown == portfolio.live and not whole.withheld


@given(portfolios)
def test_an_outsider_sees_nothing_not_even_how_much(portfolio: Portfolio) -> None:
    """A refusal that counts the records would say that there is a child."""
    assert view(portfolio, Outsider()) == view(Portfolio(statute=STATUTE), Outsider())


@given(st.sampled_from(("school_only", "declined", None)), officials)
def test_school_only_refuses_every_role_outside_of_the_unit(profile: str | None, asker: Official) -> None:
    """The default: nobody elsewhere, not for any purpose, not for the whole agency, not to inspect."""
    portfolio = portfolio_of(KINDS, profile)
    if asker.unit not in portfolio.units:
        assert not view(portfolio, asker).shown


@given(officials)
def test_a_school_that_the_pupil_left_sees_no_more(asker: Official) -> None:
    """With the new enrolment the old unit is an outside one."""
    portfolio = portfolio_of(KINDS, "school_only", moved=True)
    assert portfolio.units == {"school-2"}
    assert not view(portfolio, replace(asker, unit="school-1")).shown


@pytest.mark.parametrize("role", FAMILY_ROLES)
def test_an_official_who_calls_himself_a_guardian_sees_nothing(role: str) -> None:
    """A grant with the role ``guardian`` would read every kind of every pupil of the unit."""
    portfolio = portfolio_of(KINDS, "full")
    assert not view(portfolio, Official(role=role, unit="school-1", purpose="portfolio")).shown


def test_a_kind_that_the_list_dropped_is_withheld_from_officials_and_shown_to_the_family() -> None:
    """A later list has fewer kinds; what was recorded under an earlier one is still the family's."""
    fewer = {name: kind for name, kind in STATUTE.kinds.items() if name != "contest_award"}
    portfolio = replace(portfolio_of(["contest_award"], "full"), statute=replace(STATUTE, kinds=fewer))
    [award] = [key for key, one in portfolio.live.items() if one.kind == "contest_award"]
    assert award in view(portfolio, Family()).shown
    clerk = Official(role="clerk", unit="school-1", purpose="portfolio")
    assert award in view(portfolio, clerk).withheld
