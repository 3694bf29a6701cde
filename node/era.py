"""A later era of the own log: what it would keep, carry and set aside, and opening it.

`plan` reads the stores and needs no secret but the public key of the new log key: what it returns can be
shown, carried to the machine with the root key, signed there and carried back. `open_put` takes the opening
that was put into the agency directory. One procedure for a fork, a lost or stolen log key, a restored or
rebuilt node, a wrong hour and an invalid leaf: what differs is only what is kept.

Opening is one transaction. Before it the end of the era before and the intent are on disk: a kill leaves the
old era ended and the opening where it was put, and the next start opens it again, byte for byte the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger import codec, keys, lineage
from ledger.branches import Branches
from ledger.chain import ChainState, extend
from ledger.checkpoint import parse_checkpoint
from ledger.entry import Entry, sign_public
from ledger.errors import LedgerError, Malformed, Refused, Undecided
from ledger.governance import Adopt, Card, Reconcile, Revoke, parse_governance
from ledger.keys import Signer, VerifyMany
from ledger.leaf import make_leaf, parse_leaf
from ledger.lineage import Facts
from ledger.names import Head, Origin, parse_origin
from ledger.note import parse_note
from ledger.opening import Plan, Terms, opening_leaves, plan_opening
from ledger.roster import Roster
from node.keyring import signing_keys
from node.opening import card_of
from node.parallel import verify_many
from node.promises import Promises
from node.standing import BranchStanding, branches_of
from node.stored_logs import StoredBranch, StoredLogs
from node.wiring import Node

HOURS_AHEAD_MAX = 1
"""A leaf further ahead of this clock has a wrong hour; what it stands on is the last that may be kept."""
DRAFT = 1
DRAFT_BYTES_MAX = 128 * 1024
"""The bodies of an opening fit in a leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the operator decides of a new era."""

    log_key: bytes
    """Public key of the new log key; its secret is in the key file beforehand, as ``log.<number>``."""
    reason_code: str
    """Such as ``fork``, ``key_lost``, ``key_stolen``, ``restored``, ``wrong_hour``, ``invalid_leaf``."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the new card that differ from the one in force, by name."""
    keep: Head | None = None
    """What to keep, where the operator knows better; None: as ``lineage.choose_kept`` says."""
    revokes: tuple[Revoke, ...] = ()
    """Revocations that the opening makes or restates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """A planned era. ``plan`` has the opening and its lists; nothing in it is secret."""

    origin: Origin
    ledger_id: bytes
    plan: Plan
    branches: tuple[BranchStanding, ...]
    certified: Head | None
    """The newest certified state that is known; it is in what is kept."""

    @property
    def value(self) -> dict[str, Any]:
        """The plan as JSON holds it."""
        reconcile, lists = self.plan.reconcile, self.plan.lists
        return {
            "origin": str(self.origin),
            "hour": reconcile.hour,
            "reason_code": reconcile.reason_code,
            "kept": head_value(reconcile.kept),
            "certified": None if self.certified is None else head_value(self.certified),
            "closes": [head_value(head) for head in reconcile.closes],
            "branches": [one.value for one in self.branches],
            "carried": [leaf.header.entry_id.hex() for leaf in lists.carried],
            "set_aside": [{"entry_id": one.entry_id.hex(), "rule": one.rule} for one in lists.set_aside],
            "lost_revokes": [one.key.hex() for one in self.plan.lost_revokes()],
            "card": card_number(self.plan),
        }


def head_value(head: Head) -> dict[str, Any]:
    """Return a state of a log as JSON holds it."""
    return {"era": head.era, "size": head.size, "root": head.root.hex()}


def next_number(stored: StoredLogs, origin: Origin) -> int:
    """Return the number of the card that a new era would bring: behind a point in the new secrets' names."""
    card = stored.state(origin).authority.card
    return 1 if card is None else card.card.number + 1


def plan(
    promises: Promises, own: Origin, hour: int, changes: Changes, check: VerifyMany = verify_many
) -> Foreseen:
    """Return the era that an honest owner would open after ``own``, judged by the rules it will be judged by.

    ``hour`` is that of this clock, since 1970. Raises `Refused` for an opening that would not stand, and
    `Undecided` if leaves on which it rests are not here.
    """
    stored, rosters = promises.logs, promises.rosters()
    branches = stored.branches(own.agency)
    facts = _facts(promises, own, hour, branches)
    kept = changes.keep or lineage.choose_kept(branches, facts)
    closes = lineage.choose_closes(branches, kept)
    era = (
        facts.ends.next_era
        if facts.ends
        else max([own.era, *(one.era for one in stored.eras(own.agency))]) + 1
    )
    origin = replace(own, era=era)
    start = stored.open_era(origin, kept)
    terms = _terms(start, rosters, hour, changes)
    seen = stored.seen(stored.below(origin, kept))
    made = plan_opening(start, branches, closes, terms, seen, check)
    certified = max(facts.certified, key=lambda head: (head.era, head.size), default=None)
    return Foreseen(
        origin=origin,
        ledger_id=start.ledger_id,
        plan=made,
        branches=tuple(branches_of(promises, own)),
        certified=certified,
    )


def format_draft(foreseen: Foreseen) -> bytes:
    """Return what goes to the machine with the root key: the bodies to sign, and for whom."""
    reconcile = foreseen.plan.reconcile
    return codec.encode(
        [DRAFT, foreseen.ledger_id, str(foreseen.origin), reconcile.hour, list(foreseen.plan.bodies)]
    )


def sign_draft(raw: bytes, root: Signer) -> Entry:
    """Return the opening that a draft asks for, signed; needs nothing else of the agency.

    Raises `Malformed` for other bytes.
    """
    match codec.decode(raw, bytes_max=DRAFT_BYTES_MAX):
        case [1, bytes(ledger_id), str(name), int(hour), [*bodies]] if all(
            isinstance(one, bytes) for one in bodies
        ):
            origin = parse_origin(name)
        case _:
            raise Malformed("no draft of an opening: make one with `pledger era plan`")
    records = [parse_governance(body) for body in bodies]
    wanted = {Card, Adopt, Reconcile}
    if not wanted <= {type(one) for one in records} <= wanted | {Revoke}:
        raise Malformed("an opening of a later era is a card, an adopt, a reconcile and revocations")
    return sign_public(bodies, ledger_id=ledger_id, agency=origin.agency, created_day=hour // 24, signer=root)


def open_put(node: Node) -> bool:
    """Open the era whose opening was put into the agency directory; return whether that was done.

    Raises what refuses it, with nothing changed but that the era before has ended here.
    """
    if not node.look_for_opening() or node.put_opening is None:
        return False
    try:
        open_era(node, node.put_opening)
    except LedgerError as error:
        node.era_fault = str(error)
        raise
    return True


def open_era(node: Node, entry: Entry) -> None:
    """Sequence an opening and all that it moves, in one transaction, and go on in that era.

    Raises `Refused` for an opening whose lists are not those of the branches it closes, or that breaks a leaf
    rule; `Undecided` if a branch is not here; `Conflict` if the new keys are not in hand.
    """
    card = card_of(entry)
    origin = parse_origin(card.origin)
    start, leaves = leaves_of(node.stored, origin, entry)
    signing = signing_keys(node.keyring, card, keys.SigningKey(bytes(32)))
    node.begin_era(start, leaves, signing)


def leaves_of(
    stored: StoredLogs, origin: Origin, entry: Entry, check: VerifyMany = verify_many
) -> tuple[ChainState, list[bytes]]:
    """Return the state before an opening, and the leaves that begin its era; raises as `open_era`."""
    reconcile = _reconcile(entry)
    start = stored.open_era(origin, reconcile.kept)
    seen = stored.seen(stored.below(origin, reconcile.kept))
    first = make_leaf(entry, prev=start.head, received_hour=reconcile.hour)
    opened, [judged] = extend(start, [first.raw], seen)
    if judged.violations:
        raise Refused(judged.violations)
    found, lists = lineage.check_lists(opened, reconcile, stored.branches(origin.agency), seen, check)
    if lists is None:
        raise Undecided(str(found[0]))
    if found:
        raise Refused(tuple(found))
    moved = [leaf.entry for leaf in lists.carried]
    return start, opening_leaves(start, entry, moved, reconcile.hour)


def card_number(plan: Plan) -> int:
    """Return the number of the card that a planned opening brings."""
    return next(one.number for body in plan.bodies if isinstance(one := parse_governance(body), Card))


def _facts(promises: Promises, own: Origin, hour: int, branches: Branches) -> Facts:
    """What the stores know of the branches of the own log."""
    store, rosters = promises.store, promises.rosters()
    certified, signed, sound = set(), {}, {}
    for branch in branches.all:
        assert isinstance(branch, StoredBranch)
        notes = (
            store.certified_checkpoint(str(branch.origin), branch.name),
            *store.transitions(str(branch.origin), branch.name).values(),
        )
        heads = [_head(branch.origin, raw) for raw in notes if raw]
        certified |= set(heads)
        signed[branch.head] = [head.size for head in heads]
        limit = _sound_size(promises.logs, branch, hour)
        if limit < branch.head.size:
            sound[branch.head] = limit
    last = {
        name: max(heads, key=lambda head: (head.era, head.size))
        for name, heads in promises.last_cosigned(own.agency).items()
    }
    cut_off = [one.ends[own.agency] for one in rosters if own.agency in one.ends]
    adopted = promises.logs.state(own).authority.roster
    is_new = bool(cut_off) and adopted is not None and own.agency in _newest_ends(rosters, adopted)
    return Facts(
        certified=certified,
        last_cosigned=last,
        sound=sound,
        signed=signed,
        ends=cut_off[-1] if is_new else None,
        cut_off=cut_off,
    )


def _newest_ends(rosters: Sequence[Roster], adopted: Roster) -> set[str]:
    """The agencies that versions after the one adopted end."""
    return {name for one in rosters if one.version > adopted.version for name in one.ends}


def _sound_size(stored: StoredLogs, branch: StoredBranch, hour: int) -> int:
    """How many leaves of a branch may be kept: up to the first that breaks a rule or has an hour to come."""
    seen = stored.seen(list(stored.history(branch.origin, branch.name))[1:])
    size, raws = branch.head.size, list(branch.leaves(0, branch.head.size))
    for index, raw in enumerate(raws):
        try:
            if parse_leaf(raw).received_hour > hour + HOURS_AHEAD_MAX:
                return index
        except Malformed:
            return index
    if branch.name:  # a main branch holds only what was judged valid
        start = stored.open_era(branch.origin, branch.kept) if branch.kept else stored.empty(branch.origin)
        _, judged = extend(start, raws, seen, verify_many)
        size = next((one.index for one in judged if one.violations), size)
    return size


def _terms(start: ChainState, rosters: Sequence[Roster], hour: int, changes: Changes) -> Terms:
    placed, last = start.authority.card, start.authority.adopt
    if placed is None or last is None:
        raise Undecided("nothing of the log is known: fetch it back from the other agencies first")
    card = replace(
        placed.card,
        **{
            "origin": str(start.origin),
            "number": placed.card.number + 1,
            "before": placed.hash,
            "log_key": changes.log_key,
            "void_from": {},
            **changes.card,
        },
    )
    newest = [one for one in rosters if start.origin.agency in one.agencies][-1]
    adopt = last.adopt
    if newest.version > adopt.version:
        names = set(newest.agencies) - {start.origin.agency}
        adopt = Adopt(
            version=newest.version,
            hash=newest.hash,
            cards={name: adopt.cards.get(name) for name in sorted(names)},
        )
    return Terms(
        root_key=newest.agencies[start.origin.agency],
        card=card,
        adopt=adopt,
        revokes=changes.revokes,
        hour=max(hour, start.hour),
        reason_code=changes.reason_code,
    )


def _reconcile(entry: Entry) -> Reconcile:
    for body in entry.bodies:
        record = parse_governance(body)
        if isinstance(record, Reconcile):
            return record
    raise Malformed("an opening of a later era says what it keeps")


def _head(origin: Origin, raw: bytes) -> Head:
    checkpoint = parse_checkpoint(parse_note(raw).text)
    return Head(origin.era, checkpoint.size, checkpoint.root)
