"""A new era from plan to leaves: what its opening says, and the leaves that it brings.

The plan needs no secret: it can be made where the branches are, carried to the machine that holds the root
key, signed there, and carried back. A draft with an empty signature is judged by the same rules as the
opening will be, so a plan that exists is a plan that stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ledger import keys, lineage
from ledger.branches import Branches
from ledger.chain import ChainState, Seen, extend
from ledger.entry import Entry, sign_public
from ledger.errors import Malformed
from ledger.governance import (
    Adopt,
    Card,
    Governance,
    Reconcile,
    Revoke,
    format_governance,
    parse_governance,
)
from ledger.keys import SIGNATURE_BYTES, Signer
from ledger.leaf import make_leaf
from ledger.lineage import Lists
from ledger.merkle import EMPTY_ROOT
from ledger.names import Head
from ledger.rules import check_none

NOTHING = (0, EMPTY_ROOT)
"""An empty list, as a reconcile commits to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator decides of an opening: keys, roster, what is restated, when and why."""

    root_key: bytes
    card: Card
    adopt: Adopt
    revokes: tuple[Revoke, ...] = ()
    hour: int
    """Hours since 1970, at least that of the last leaf kept."""
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An opening that needs only the root key's signature, and what it does with each entry."""

    bodies: tuple[bytes, ...]
    reconcile: Reconcile
    lists: Lists

    def lost_revokes(self) -> list[Revoke]:
        """The revocations set aside: without being restated in the opening they act no more."""
        bodies = (body for one in self.lists.set_aside for body in one.leaf.entry.bodies)
        return [one for body in bodies if isinstance(one := _parsed(body), Revoke)]


@dataclass(frozen=True, slots=True)
class _NoKey:
    """Stands for the root key while an opening is only drafted."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes:
        return bytes(SIGNATURE_BYTES)


def plan_opening(
    state: ChainState,
    branches: Branches,
    closes: Sequence[Head],
    terms: Terms,
    seen: Seen,
    verify_many: keys.VerifyMany = keys.verify_many,
) -> Plan:
    """Return the opening on ``state`` (`open_era`) that closes ``closes``; ``seen``: what the kept log holds.

    `Refused` names what the opening itself breaks; `Undecided` if a closed branch is not in hand.
    """
    if state.kept is None:
        raise Malformed("era 1 reconciles nothing")
    draft = Reconcile(
        kept=state.kept,
        closes=tuple(closes),
        carried=NOTHING,
        set_aside=NOTHING,
        hour=terms.hour,
        reason_code=terms.reason_code,
    )
    entry = _sign(state, _bodies(terms, draft), _NoKey(terms.root_key), terms.hour // 24)
    opened = _opened(state, entry, terms.hour)
    lists = lineage.choose_lists(opened, branches, closes, seen, verify_many)
    carried, set_aside = lists.commitments()
    final = replace(draft, carried=carried, set_aside=set_aside)
    return Plan(bodies=_bodies(terms, final), reconcile=final, lists=lists)


def sign_opening(state: ChainState, plan: Plan, root: Signer) -> Entry:
    """Return the opening, signed by the root key; nothing of the log but ``state``'s names is needed."""
    return _sign(state, plan.bodies, root, plan.reconcile.hour // 24)


def opening_leaves(state: ChainState, opening: Entry, moved: Iterable[Entry], hour: int) -> list[bytes]:
    """Return the leaves that begin the era: the opening, then the carried entries in their order.

    They are judged like any others before they are stored (`extend`), and all enter in one transaction.
    """
    leaves, prev = [], state.head
    for entry in (opening, *moved):
        leaf = make_leaf(entry, prev=prev, received_hour=hour)
        leaves.append(leaf.raw)
        prev = leaf.hash
    return leaves


def _bodies(terms: Terms, reconcile: Reconcile) -> tuple[bytes, ...]:
    records: tuple[Governance, ...] = (terms.card, terms.adopt, reconcile, *terms.revokes)
    return tuple(map(format_governance, records))


def _sign(state: ChainState, bodies: Sequence[bytes], signer: Signer, day: int) -> Entry:
    agency = state.origin.agency
    return sign_public(bodies, ledger_id=state.ledger_id, agency=agency, created_day=day, signer=signer)


def _opened(state: ChainState, draft: Entry, hour: int) -> ChainState:
    leaf = make_leaf(draft, prev=state.head, received_hour=hour)
    opened, [judged] = extend(state, [leaf.raw], lambda entry_id: False, lambda batch: [True] * len(batch))
    check_none(judged.violations)
    return opened


def _parsed(body: bytes) -> Governance | None:
    try:
        return parse_governance(body)
    except Malformed:
        return None
