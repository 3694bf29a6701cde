"""What an asker may see of one subject's records, and why the rest is withheld.

Four askers: the owner (the node's own desk work), the family, an official with a role and a purpose, an
outsider. An official's view is computed by narrowing the family's, so that no official can ever see more
than the family does: the invariant is in the shape of the code, and a property test holds it there.
An auditor of bodies is an official with the role ``auditor`` and the purpose ``inspection``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ledger.portfolio import ANY_UNIT, Portfolio
from ledger.record import Record
from ledger.vocabulary import FAMILY_ROLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A guardian or the pupil, by a key of the subject's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """A person in a role, in a unit, for one purpose."""

    role: str
    unit: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsider:
    """Anybody else: sees what the family hands over, and nothing from here."""


Asker: TypeAlias = Literal["owner"] | Family | Official | Outsider


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Record hash to the record shown, or to the reason why it is withheld."""

    shown: Mapping[bytes, Record]
    withheld: Mapping[bytes, str]


def view(portfolio: Portfolio, asker: Asker) -> View:
    """Return what ``asker`` is shown of this one subject's live records."""
    if isinstance(asker, Outsider):
        return View(shown={}, withheld={})  # not even how much there is
    whole = View(shown=dict(portfolio.live), withheld={})
    return _narrow(portfolio, whole, asker) if isinstance(asker, Official) else whole


def _narrow(portfolio: Portfolio, family: View, asker: Official) -> View:
    shown, withheld = {}, dict(family.withheld)
    for key, record in family.shown.items():
        reason = _reason_to_withhold(portfolio, record, asker)
        if reason is None:
            shown[key] = record
        else:
            withheld[key] = reason
    return View(shown=shown, withheld=withheld)


def _reason_to_withhold(portfolio: Portfolio, record: Record, asker: Official) -> str | None:
    kind = portfolio.statute.kinds.get(record.kind)
    if kind is None:
        return f"{record.kind} is no longer on the list"
    if asker.role in FAMILY_ROLES:
        return "the family asks with its own key, no official in its name"
    if (asker.role, asker.purpose) not in kind.readers:
        return f"{kind.name} is not read by a {asker.role} for {asker.purpose}"
    if _is_school_only(portfolio) and asker.unit not in portfolio.units:
        return "school only: no role outside the pupil's unit"
    if kind.unit_bound and asker.unit != ANY_UNIT and asker.unit not in portfolio.units:
        return "not a pupil of this unit"
    return None


def _is_school_only(portfolio: Portfolio) -> bool:
    """The default: only a newest enrolment that says ``full`` opens the record to roles elsewhere."""
    return not portfolio.enrolments or portfolio.enrolments[-1].fields.get("profile") != "full"
