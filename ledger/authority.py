"""Who may write: the fold of an agency's cards, adopts, grants and revocations, each with its place.

An `Authority` is the state after a prefix of one log. It never changes: `apply` returns the next one, so a
node can try a batch and drop it, and the state at any size is had by folding the governance leaves below it.
All judgements here are of public records and authors; what follows what is in ``chain``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ledger.entry import public_hash
from ledger.governance import AUTHORS, Adopt, Card, Governance, Grant, Office, Reconcile, Revoke
from ledger.grown_list import GrownList
from ledger.layered_map import LayeredMap
from ledger.names import Origin, Place
from ledger.roster import Roster
from ledger.rules import Violation, violation

GRANTS_OF_KEY_MAX = 256
"""Grants of one key: six a year for a working life. Each entry is judged by all those of its author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGrant:
    """A grant and where it stands."""

    grant: Grant
    place: Place
    author: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCard:
    """A card, its record hash, and the root key that signed the entry in which it stands."""

    card: Card
    hash: bytes
    author: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCard(SignedCard):
    """A card and where it stands."""

    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedAdopt:
    """An adopt, the roster version that it names, and where it stands."""

    adopt: Adopt
    roster: Roster
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Under what a log stands at a size: the adopts below it, and its agency's own last card there."""

    adopts: Sequence[PlacedAdopt]
    card: PlacedCard | None

    def terms(self) -> list[PlacedAdopt]:
        """Return the last adopt of each roster version, the newest first."""
        found, end = [], len(self.adopts)
        while end:
            last = self.adopts[end - 1]
            found.append(last)
            end = bisect_left(self.adopts, last.roster.version, 0, end, key=_version)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """What a key is at a place: its office, and for staff the grants in force."""

    key: bytes
    office: Office
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The state of who may write, after a prefix of a log."""

    origin: Origin
    rosters: Mapping[bytes, Roster]
    """The roster versions in hand, by hash: the only thing besides the prefix that a verdict rests on."""
    cards: tuple[PlacedCard, ...] = ()
    adopts: GrownList[PlacedAdopt] = field(default_factory=GrownList)
    grants: LayeredMap[bytes, tuple[PlacedGrant, ...]] = field(default_factory=LayeredMap)
    revoked: LayeredMap[bytes, Place] = field(default_factory=LayeredMap)

    @property
    def card(self) -> PlacedCard | None:
        """The card that holds now."""
        return self.cards[-1] if self.cards else None

    @property
    def adopt(self) -> PlacedAdopt | None:
        """The adopt that holds now."""
        return self.adopts.last

    @property
    def roster(self) -> Roster | None:
        """The roster version adopted last."""
        adopt = self.adopts.last
        return None if adopt is None else adopt.roster

    @property
    def root_key(self) -> bytes | None:
        """The agency's root key in the adopted roster version."""
        roster = self.roster
        return None if roster is None else roster.agencies.get(self.origin.agency)

    def standing(self, size: int) -> Standing:
        """Return under what the log stood when it had ``size`` leaves of its era, however far this state is.

        Only cards and adopts: who might write there is not asked again.
        """
        end = Place(self.origin.era, size)
        cards = [placed for placed in self.cards if placed.place < end]
        adopts = self.adopts.first(bisect_left(self.adopts, end, key=_place))
        return Standing(adopts=adopts, card=cards[-1] if cards else None)

    def office_of(self, key: bytes) -> Office | None:
        """Return the office of a root or card key (only the first desk key signs new entries)."""
        if key == self.root_key:
            return "root"
        if self.card is None:
            return None
        if key in self.card.card.registrar_keys:
            return "registrar"
        return "desk" if key == self.card.card.desk_keys[0] else None


def judge_author(authority: Authority, key: bytes, *, day: int, index: int) -> Author | Violation:
    """Return what ``key`` is on ``day`` (of the leaf's hour), or why it is nothing."""
    if key in authority.revoked:
        place = authority.revoked[key]
        return violation("author.revoked", f"revoked at index {place.index} of era {place.era}", index=index)
    office = authority.office_of(key)
    if office is not None:
        return Author(key=key, office=office)
    placed = authority.grants.get(key)
    if not placed:
        return violation("author.unknown", f"no grant for key {key.hex()[:16]}…", index=index)
    grants = [one.grant for one in placed if not _is_void(authority, one)]
    if not grants:
        text = "a card dropped the registrar who granted this key, and voided the grant"
        return violation("author.late", text, index=index)
    held = tuple(grant for grant in grants if grant.valid_from <= day <= grant.valid_until)
    if held:
        return Author(key=key, office="staff", grants=held)
    if all(day < grant.valid_from for grant in grants):
        first = min(grant.valid_from for grant in grants)
        return violation("author.early", f"granted from day {first}, received on {day}", index=index)
    last = max(grant.valid_until for grant in grants if grant.valid_until < day)
    return violation("author.late", f"granted until day {last}, received on {day}", index=index)


def judge_moved_author(
    authority: Authority, key: bytes, records: Sequence[Governance], *, day: int, index: int
) -> Author | Violation:
    """Return what the author of an entry moved into a new era is there.

    Entries made before may still come from the card's other desk keys. One of revocations alone stands if its
    author is registrar or root on any card so far: a thief who has a registrar dropped must not undo what
    that registrar revoked.
    """
    offices: set[bytes] = set().union(*({one.author, *one.card.registrar_keys} for one in authority.cards))
    if records and all(isinstance(one, Revoke) for one in records) and key in offices:
        return Author(key=key, office="registrar")
    if authority.card is not None and key in authority.card.card.desk_keys:
        return Author(key=key, office="desk")
    return judge_author(authority, key, day=day, index=index)


def judge_governance(
    authority: Authority, record: Governance, author: Author, place: Place
) -> list[Violation]:
    """Return the rules that one public record breaks when ``author`` writes it at ``place``."""
    if author.office not in AUTHORS[record.kind]:
        text = f"{record.kind} is not for a {author.office} key"
        return [violation("author.office", text, index=place.index)]
    match record:
        case Card():
            return _judge_card(authority, record, place)
        case Adopt():
            return _judge_adopt(authority, record, place)
        case Grant():
            return _judge_grant(authority, record, place)
        case Revoke():
            return _judge_revoke(authority, record, place)
        case Reconcile() if authority.origin.era == 1:
            return [violation("reconcile.era", "era 1 continues nothing", index=place.index)]
    return []


def apply(authority: Authority, record: Governance, body: bytes, author: bytes, place: Place) -> Authority:
    """Return the state after a valid public record whose bytes are ``body``."""
    match record:
        case Card():
            card = PlacedCard(card=record, hash=public_hash(body), author=author, place=place)
            return replace(authority, cards=(*authority.cards, card))
        case Adopt():
            adopt = PlacedAdopt(adopt=record, roster=authority.rosters[record.hash], place=place)
            return replace(authority, adopts=authority.adopts.with_item(adopt))
        case Grant():
            placed = PlacedGrant(grant=record, place=place, author=author)
            grants = (*authority.grants.get(record.key, ()), placed)
            return replace(authority, grants=authority.grants.with_item(record.key, grants))
        case Revoke():
            return replace(authority, revoked=authority.revoked.with_item(record.key, place))
    return authority


def _judge_card(authority: Authority, card: Card, place: Place) -> list[Violation]:
    before = authority.card
    number, named = (1, None) if before is None else (before.card.number + 1, before.hash)
    found = []
    if (card.origin, card.number, card.before) != (str(authority.origin), number, named):
        found.append(("card.chain", f"expected card {number} of {authority.origin} after the last one"))
    dropped = set(before.card.registrar_keys) - set(card.registrar_keys) if before else set()
    if set(card.void_from) - dropped:
        found.append(("card.chain", "void_from names a key that is no registrar's whom this card drops"))
    used = {placed.card.log_key for placed in authority.cards if placed.place.era != place.era}
    current = {placed.card.log_key for placed in authority.cards if placed.place.era == place.era}
    if card.log_key in used or current - {card.log_key}:
        found.append(("card.keys", "an era has one log key for ever, and no later era has it again"))
    taken = (authority.grants, authority.revoked, (authority.root_key,))
    if any(key in keys for key in card.signing_keys for keys in taken):
        found.append(("card.keys", "a key of the card is the root key, or was granted or revoked before"))
    earlier = [placed.card.uses for placed in authority.cards]
    if any(uses.get(key, use) != use for key, use in card.uses.items() for uses in earlier):
        found.append(("card.keys", "a key had another use on an earlier card"))
    return [violation(rule, text, index=place.index) for rule, text in found]


def _judge_adopt(authority: Authority, adopt: Adopt, place: Place) -> list[Violation]:
    roster = authority.rosters.get(adopt.hash)
    if roster is None:
        text = f"roster version {adopt.version} ({adopt.hash.hex()[:16]}…) is not in hand"
        return [violation("adopt.undecided", text, index=place.index)]
    found = []
    last = authority.roster
    if roster.version != adopt.version or (last is not None and adopt.version < last.version):
        found.append(
            ("adopt.version", f"version {adopt.version} after version {last.version if last else 0}")
        )
    if authority.origin.agency not in roster.agencies:
        found.append(("adopt.version", f"version {adopt.version} no longer names this agency"))
    root_key = roster.agencies.get(authority.origin.agency)
    if root_key != authority.root_key and root_key in _keys_in_use(authority):
        found.append(("adopt.key", "the new root key was granted, revoked or on a card of this agency"))
    if set(adopt.cards) != set(roster.agencies) - {authority.origin.agency}:
        found.append(("adopt.cards", "pins must name every other agency of the roster version"))
    before = authority.adopt
    for name, number in _pin_numbers(before.adopt).items() if before else ():
        if name in adopt.cards and _pin_numbers(adopt)[name] < number:
            found.append(("adopt.cards", f"the pin of {name} falls below card {number}"))
    return [violation(rule, text, index=place.index) for rule, text in found]


def _keys_in_use(authority: Authority) -> set[bytes]:
    """Every key that had a purpose in this log: none of them becomes the root key."""
    of_cards = (key for placed in authority.cards for key in placed.card.signing_keys)
    return {*authority.grants, *authority.revoked, *of_cards}


def _judge_grant(authority: Authority, grant: Grant, place: Place) -> list[Violation]:
    found = []
    if grant.key in authority.revoked:
        found.append(("grant.key", "a revoked key is never granted again"))
    elif _holds_office(authority, grant.key):
        found.append(("grant.key", "the key has another office with this agency"))
    elif len(authority.grants.get(grant.key, ())) >= GRANTS_OF_KEY_MAX:
        found.append(
            ("grant.key", f"the key has {GRANTS_OF_KEY_MAX} grants already: give the person a new key")
        )
    if grant.valid_from > grant.valid_until:
        found.append(("grant.days", f"from day {grant.valid_from} until {grant.valid_until}"))
    return [violation(rule, text, index=place.index) for rule, text in found]


def _judge_revoke(authority: Authority, revoke: Revoke, place: Place) -> list[Violation]:
    """A registrar must not lock out the root, the desk or a colleague: offices end by a card or a roster."""
    found = []
    card = authority.card
    if revoke.key == authority.root_key or (card is not None and revoke.key in card.card.signing_keys):
        found.append(("revoke.key", "the key has its office by the roster or the card, which end it"))
    if revoke.suspect_from is not None and revoke.suspect_from > place:
        found.append(("revoke.position", "suspect_from is not yet written"))
    return [violation(rule, text, index=place.index) for rule, text in found]


def _holds_office(authority: Authority, key: bytes) -> bool:
    """Whether ``key`` is, or was on any card, an office of the agency: one key, one purpose."""
    return key == authority.root_key or any(key in placed.card.signing_keys for placed in authority.cards)


def _is_void(authority: Authority, placed: PlacedGrant) -> bool:
    """Whether a later card dropped the grant's registrar and voided what he granted from before it on."""
    voids = (card.card.void_from.get(placed.author) for card in authority.cards if card.place > placed.place)
    return any(start is not None and placed.place >= start for start in voids)


def _pin_numbers(adopt: Adopt) -> dict[str, int]:
    """Agency to the card number pinned, 0 for none."""
    return {name: 0 if pin is None else pin[0] for name, pin in adopt.cards.items()}


def _version(placed: PlacedAdopt) -> int:
    return placed.roster.version


def _place(placed: PlacedAdopt) -> Place:
    return placed.place
