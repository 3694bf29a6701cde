"""ledger.chain and ledger.authority: what may follow in a log, each rule broken once on purpose.

An attack returns one leaf; `test_the_attack_is_named_and_changes_nothing` runs them all: exactly the rules
expected are broken, the state passed in is as before, what the leaf says has no effect, and an honest leaf
still follows.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger import codec
from ledger.authority import GRANTS_OF_KEY_MAX
from ledger.chain import ChainState, extend
from ledger.entry import Entry
from ledger.governance import Erasure, Grant, Reconcile, Revoke, format_governance
from ledger.keys import is_signature
from ledger.leaf import HOUR_MAX, make_leaf
from ledger.names import Head, Place
from ledger.roster import Roster, format_roster, parse_roster
from ledger.statute import default_statute_json
from tests import edwards
from tests.attacks import Attack, collector, covers
from tests.world import DAY, HOUR, Log, World, key, record, seed

ATTACKS: list[Attack] = []
attack = collector(ATTACKS)


def later_roster(world: World, *, known: bool = True, **changes: Any) -> Roster:
    """A second version of the world's roster, in hand of everybody if ``known``."""
    first = world.roster
    fields: dict[str, Any] = {
        "ledger": first.ledger,
        "agencies": first.agencies,
        "statute": default_statute_json(),
        "version": 2,
        "before": first.hash,
    }
    roster = parse_roster(format_roster(**(fields | changes)))
    if known:
        world.rosters[roster.hash] = roster
    return roster


def card_after(log: Log, **changes: Any) -> Any:
    """The log's next card."""
    before = log.state.authority.card
    assert before is not None
    return replace(before.card, **({"number": before.card.number + 1, "before": before.hash} | changes))


def resign(log: Log, entry: Entry, by: str) -> Entry:
    """The entry with a signature of another key."""
    return replace(entry, signature=key(by).sign(entry.signed_message[1]))


def snapshot(state: ChainState) -> tuple[Any, ...]:
    """All that a state says, as values of its own."""
    known = state.authority
    return (
        state.size,
        state.tree.root(),
        state.tree.hashes,
        state.head,
        state.hour,
        state.undecided_at,
        known.roster,
        known.cards,
        known.adopts,
        dict(known.grants),
        dict(known.revoked),
    )


def district(opened: bool = True, **roster: Any) -> Log:
    """The log under attack."""
    return World(opened=opened, **roster).logs["district"]


def honest(log: Log) -> bytes:
    """A leaf that must follow whatever was refused: the desk's, whose key no attack touches."""
    if not log.leaves:
        return log.leaf(log.opening())
    return log.leaf(log.private([record(number=77)], by="desk", number=77), hour=log.state.hour)


@pytest.mark.parametrize("case", ATTACKS, ids=str)
def test_the_attack_is_named_and_changes_nothing(case: Attack) -> None:
    """Every refusal names its rule, leaves the state as it was, and honest work goes on."""
    log = district(**case.options)
    raw = case.make(log)
    before = snapshot(log.state)
    seen = {one.leaf.header.entry_id for one in log.judged() if one.leaf}
    after, [judged] = extend(log.state, [raw], seen.__contains__)
    names = [one.rule.name for one in judged.violations]
    assert case.rule in names
    assert set(names) <= {case.rule} | case.also
    assert all(one.index == log.state.size for one in judged.violations)
    assert snapshot(log.state) == before
    assert after.authority == log.state.authority, "what an invalid leaf says has an effect"
    _, [next_one] = extend(log.state, [honest(log)], seen.__contains__)
    assert next_one.violations == ()


# A leaf by its own bytes


@attack("leaf.form")
def noise_in_place_of_a_leaf(log: Log) -> bytes:
    """Random bytes as a leaf."""
    return hashlib.sha256(b"noise").digest()


@attack("leaf.form")
def a_byte_after_the_leaf(log: Log) -> bytes:
    """Two encodings of one leaf would be two hashes of one fact."""
    return honest(log) + b"\x00"


@attack("leaf.form")
def a_leaf_that_no_bundle_can_hold(log: Log) -> bytes:
    """A tile bundle counts an entry's length in two bytes."""
    fields = codec.decode(honest(log))
    return codec.encode([*fields[:5], [bytes(30_000), bytes(36_000)]])


@attack("leaf.form")
def a_private_entry_with_a_body_in_the_clear(log: Log) -> bytes:
    """A pupil's record in the leaf itself would be public for ever."""
    fields = codec.decode(honest(log))
    return codec.encode([*fields[:5], [record().shown_part]])


@attack("leaf.form")
def an_hour_beyond_the_calendar(log: Log) -> bytes:
    """Days of such hours are no dates: whoever computes with them would crash."""
    fields = codec.decode(honest(log))
    return codec.encode([*fields[:2], HOUR_MAX + 1, *fields[3:]])


@attack("entry.root")
def public_bodies_exchanged_under_a_signature(log: Log) -> bytes:
    """The registrar's signature over one grant, another grant in the leaf."""
    signed, other = (log.entry([log.grant(name)], by="registrar") for name in ("cook", "thief"))
    return log.leaf(replace(signed, bodies=other.bodies))


@attack("entry.root")
def public_bodies_in_another_order(log: Log) -> bytes:
    """One entry has one form: bodies stand in the order of their hashes."""
    entry = log.entry([log.grant("cook"), log.grant("nurse")], by="registrar")
    return log.leaf(replace(entry, bodies=entry.bodies[::-1]))


@attack("entry.root")
def one_public_body_twice(log: Log) -> bytes:
    """Two equal bodies for the one that was signed: the count says two."""
    entry = log.entry([log.grant("cook"), log.grant("nurse")], by="registrar")
    return log.leaf(replace(entry, bodies=entry.bodies[:1] * 2))


@attack("entry.signature")
def a_signature_of_another_key(log: Log) -> bytes:
    """The thief signs in the registrar's name."""
    return log.leaf(resign(log, log.entry([log.grant("thief")], by="registrar"), "thief"))


@attack("entry.signature")
def a_signature_over_the_bare_header(log: Log) -> bytes:
    """A signature without the domain string may have been given for something else."""
    entry = log.private([record()])
    return log.leaf(replace(entry, signature=log.key("clerk").sign(entry.header.raw)))


# A leaf by its prefix


@attack("leaf.prev")
def a_leaf_taken_out_of_the_chain(log: Log) -> bytes:
    """The owner drops the last leaf and goes on from the one before it."""
    return log.leaf(log.private([record()]), prev=log.judged()[-2].hash)


@attack("leaf.prev", opened=False)
def an_opening_that_does_not_name_the_ledger(log: Log) -> bytes:
    """The first link of era 1 is the ledger id."""
    return log.leaf(log.opening(), prev=bytes(32))


@attack("leaf.hour")
def a_falling_hour(log: Log) -> bytes:
    """An entry dated back behind one that stands already."""
    return log.leaf(log.private([record()]), hour=HOUR - 1)


@attack("entry.ledger")
def a_leaf_of_another_ledger(log: Log) -> bytes:
    """The same keys founded a second ledger: its entries say nothing here."""
    return log.leaf(log.private([record()], ledger_id=seed("another ledger")))


@attack("entry.agency")
def an_entry_meant_for_another_agency(log: Log) -> bytes:
    """A clerk of two agencies signs for one, the other takes it in."""
    return log.leaf(log.private([record()], agency="sport"))


@attack("entry.repeated")
def an_entry_twice(log: Log) -> bytes:
    """The owner counts an award twice."""
    entry = log.private([record()])
    log.take(log.leaf(entry))
    return log.leaf(entry)


@attack("entry.repeated")
def an_entry_twice_under_another_valid_signature(log: Log) -> bytes:
    """Whoever holds the key can make any number of valid signatures over the same header."""
    entry = log.private([record()])
    log.take(log.leaf(entry))
    other = replace(entry, signature=second_signature(seed("district clerk"), entry.signed_message[1]))
    assert other.signature != entry.signature and is_signature(*other.signed_message)
    return log.leaf(other)


def second_signature(secret: bytes, message: bytes) -> bytes:
    """A valid Ed25519 signature with another nonce than RFC 8032's (its own few lines)."""
    hashed = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(hashed[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    nonce = int.from_bytes(hashlib.sha512(b"another nonce" + message).digest(), "little") % edwards.L
    public = edwards.encode(edwards.times(scalar, edwards.BASE))
    commitment = edwards.encode(edwards.times(nonce, edwards.BASE))
    response = (nonce + edwards.challenge(commitment, public, message) * scalar) % edwards.L
    return commitment + response.to_bytes(32, "little")


@attack("entry.sunset", sunset=DAY)
def staff_after_the_end_of_the_ledger(log: Log) -> bytes:
    """The ledger ended yesterday."""
    return log.leaf(log.private([record()]), hour=HOUR + 24)


# Authors


@attack("author.unknown")
def an_author_who_was_never_granted(log: Log) -> bytes:
    """Anybody can make a key."""
    return log.leaf(log.private([record()], by="stranger"))


@attack("author.unknown")
def a_clerk_of_another_agency(log: Log) -> bytes:
    """A grant holds in the log in which it stands."""
    return log.leaf(resigned_for(log, "centre clerk"))


@attack("author.unknown")
def an_author_granted_later(log: Log) -> bytes:
    """The entry is sequenced first, the grant after it."""
    return log.leaf(log.private([record()], by="cook"))


@attack("author.unknown")
def the_key_of_the_log_itself(log: Log) -> bytes:
    """The log key signs checkpoints and nothing else, however safe it is kept."""
    return log.leaf(log.private([record()], by="log"))


@attack("author.unknown")
def the_second_desk_key(log: Log) -> bytes:
    """Desk keys after the first only let moved entries stand."""
    old = log.key("desk").public_key
    desks = (old, log.key("desk 2").public_key)
    log.take(log.leaf(log.entry([card_after(log, desk_keys=desks)])))
    return log.leaf(log.private([record()], by="desk 2"))


@attack("author.unknown")
def the_root_key_of_another_agency(log: Log) -> bytes:
    """Each agency's root key opens its own log only."""
    return log.leaf(resigned_for(log, "sport root", log.entry([log.grant("thief")])))


def resigned_for(log: Log, author: str, entry: Entry | None = None) -> Entry:
    """An entry of the log, made again by a key from elsewhere."""
    original = entry or log.private([record()])
    values = codec.decode(original.header.raw)
    values[3] = key(author).public_key
    changed = replace(original.header, raw=codec.encode(values), author=key(author).public_key)
    return resign(log, replace(original, header=changed), author)


@attack("author.early")
def an_author_whose_grant_has_not_begun(log: Log) -> bytes:
    """A grant from tomorrow on."""
    log.take(log.leaf(log.entry([log.grant("cook", valid_from=DAY + 1)], by="registrar")))
    return log.leaf(log.private([record()], by="cook"))


@attack("author.late")
def an_author_whose_grant_has_ended(log: Log) -> bytes:
    """A grant until yesterday; the day an entry was signed decides nothing."""
    log.take(log.leaf(log.entry([log.grant("cook", valid_until=DAY - 1)], by="registrar")))
    return log.leaf(log.private([record()], by="cook", created_day=DAY - 1))


@attack("author.late")
def an_author_between_two_grants(log: Log) -> bytes:
    """Grants add up, the days between them do not."""
    for first, last in ((DAY - 9, DAY - 5), (DAY + 5, DAY + 9)):
        grant = log.grant("cook", valid_from=first, valid_until=last)
        log.take(log.leaf(log.entry([grant], by="registrar")))
    return log.leaf(log.private([record()], by="cook"))


@attack("author.late")
def an_author_whose_registrar_was_voided(log: Log) -> bytes:
    """The registrar's key was stolen; the card that drops it voids what it granted."""
    registrar = log.key("registrar").public_key
    log.take(log.leaf(log.entry([drop_registrar(log, {registrar: Place(1, 1)})])))
    return log.leaf(log.private([record()]))


def drop_registrar(log: Log, void_from: dict[bytes, Place]) -> Any:
    """A card with a new registrar in place of the old one."""
    return card_after(log, registrar_keys=(log.key("registrar 2").public_key,), void_from=void_from)


@attack("author.revoked")
def an_author_revoked_before(log: Log) -> bytes:
    """A revocation stops what comes after it."""
    revoke_clerk(log)
    return log.leaf(log.private([record()]))


@attack("author.revoked")
def an_author_granted_and_revoked_in_one_entry(log: Log) -> bytes:
    """Grant and revocation together: their hashes must not decide which comes last."""
    both = [log.grant("cook"), Revoke(key=log.key("cook").public_key, suspect_from=None)]
    log.take(log.leaf(log.entry(both, by="registrar")))
    return log.leaf(log.private([record()], by="cook"))


def revoke_clerk(log: Log) -> None:
    """The clerk's key is lost."""
    revoke = Revoke(key=log.key("clerk").public_key, suspect_from=Place(1, 1))
    log.take(log.leaf(log.entry([revoke], by="registrar")))


@attack("author.office")
def staff_writing_governance(log: Log) -> bytes:
    """A clerk grants a friend."""
    return log.leaf(log.entry([log.grant("friend")], by="clerk"))


@attack("author.office")
def staff_writing_an_erasure(log: Log) -> bytes:
    """Erasures are the desk's."""
    return log.leaf(log.entry([Erasure(root=bytes(32))], by="clerk"))


@attack("author.office")
def a_registrar_writing_a_private_entry(log: Log) -> bytes:
    """Who gives out rights holds none over pupils."""
    return log.leaf(log.private([record()], by="registrar"))


@attack("author.office")
def the_root_writing_a_private_entry(log: Log) -> bytes:
    """The root key comes out of the safe for governance only."""
    return log.leaf(log.private([record()], by="root"))


@attack("author.office")
def the_desk_granting(log: Log) -> bytes:
    """A stolen node must not make staff."""
    return log.leaf(log.entry([log.grant("thief")], by="desk"))


@attack("author.office")
def a_registrar_writing_a_card(log: Log) -> bytes:
    """A registrar makes the next card, with a friend among the registrars."""
    friends = (log.key("registrar").public_key, log.key("friend").public_key)
    return log.leaf(log.entry([card_after(log, registrar_keys=friends)], by="registrar"))


@attack("author.office")
def a_registrar_adopting_a_roster(log: Log) -> bytes:
    """Which roster holds is the root's word, or the node's."""
    return log.leaf(log.entry([log.adopt()], by="registrar"))


# Public records


@attack("governance.form")
def an_unknown_public_kind(log: Log) -> bytes:
    """Free text in the clear, for ever."""
    return log.leaf(log.entry([codec.encode({"kind": "greeting", "text": "hello"})]))


@attack("governance.form")
def a_public_record_with_one_key_more(log: Log) -> bytes:
    """A closed map has no room for a note."""
    grant = codec.decode(format_governance(log.grant("cook")))
    return log.leaf(log.entry([codec.encode(grant | {"note": "x"})], by="registrar"))


@attack("governance.form", also=("card.chain",))
def two_cards_in_one_entry(log: Log) -> bytes:
    """Which of two cards holds would rest on their hashes."""
    return log.leaf(log.entry([card_after(log), card_after(log, urls=())]))


@attack("governance.form")
def two_adopts_in_one_entry(log: Log) -> bytes:
    """Which of two adopts holds would rest on their hashes."""
    return log.leaf(log.entry([log.adopt(), log.adopt(cards={"centre": (1, bytes(32)), "sport": None})]))


@attack("opening.form", opened=False, also=("author.unknown",))
def an_opening_without_an_adopt(log: Log) -> bytes:
    """Nobody knows under which roster the card would stand."""
    return log.leaf(log.entry([log.card()]))


@attack("opening.form", opened=False)
def an_opening_without_a_card(log: Log) -> bytes:
    """A log without a key."""
    return log.leaf(log.entry([log.adopt()]))


@attack("opening.form", opened=False)
def an_opening_that_grants_too(log: Log) -> bytes:
    """An opening holds card and adopt."""
    return log.leaf(log.entry([log.card(), log.adopt(), log.grant("cook")]))


@attack("opening.form", opened=False, also=("author.unknown",))
def a_private_entry_as_the_first(log: Log) -> bytes:
    """A pupil's record before the agency has any key."""
    return log.leaf(log.private([record()]))


@attack("opening.form", opened=False, also=("governance.form", "card.chain"))
def an_opening_with_two_cards(log: Log) -> bytes:
    """Two openings in one."""
    return log.leaf(log.entry([log.card(), log.card(urls=()), log.adopt()]))


@attack("author.unknown", opened=False)
def an_opening_by_another_root_key(log: Log) -> bytes:
    """A neighbour opens the district's log before the district does."""
    return log.leaf(resigned_for(log, "sport root", log.opening()))


@attack("card.chain", opened=False)
def an_opening_card_of_another_log(log: Log) -> bytes:
    """The card names the origin that it belongs to."""
    return log.leaf(log.entry([log.card(origin="test/sport/1"), log.adopt()]))


@attack("card.chain")
def a_card_out_of_chain(log: Log) -> bytes:
    """A card that skips a number hides one."""
    return log.leaf(log.entry([card_after(log, number=3)]))


@attack("card.chain")
def a_card_after_another_card(log: Log) -> bytes:
    """A card names the card before by its hash."""
    return log.leaf(log.entry([card_after(log, before=bytes(32))]))


@attack("card.chain")
def a_card_that_voids_a_registrar_who_stays(log: Log) -> bytes:
    """Only who is dropped can be voided."""
    return log.leaf(log.entry([card_after(log, void_from={log.key("registrar").public_key: Place(1, 0)})]))


@attack("card.keys")
def another_log_key_in_the_same_era(log: Log) -> bytes:
    """An era has one log key for ever, or two heads could each be signed rightly."""
    return log.leaf(log.entry([card_after(log, log_key=log.key("log 2").public_key)]))


@attack("card.keys")
def a_staff_key_as_a_desk_key(log: Log) -> bytes:
    """One key, one purpose."""
    return log.leaf(log.entry([card_after(log, desk_keys=(log.key("clerk").public_key,))]))


@attack("card.keys")
def the_root_key_as_a_registrar_key(log: Log) -> bytes:
    """The root key must stay in the safe."""
    return log.leaf(log.entry([card_after(log, registrar_keys=(log.key("root").public_key,))]))


@attack("card.keys")
def a_registrar_who_becomes_the_desk(log: Log) -> bytes:
    """A key in two offices, one after the other: its old signatures would get a new meaning."""
    changes = {
        "desk_keys": (log.key("registrar").public_key,),
        "registrar_keys": (log.key("cook").public_key,),
    }
    return log.leaf(log.entry([card_after(log, **changes)]))


@attack("card.keys")
def a_revoked_key_on_a_card(log: Log) -> bytes:
    """A lost key comes back as an office."""
    revoke = Revoke(key=log.key("lost").public_key, suspect_from=None)
    log.take(log.leaf(log.entry([revoke], by="registrar")))
    return log.leaf(log.entry([card_after(log, node_key=log.key("lost").public_key)]))


@attack("card.keys", opened=False)
def an_opening_whose_log_key_is_the_root_key(log: Log) -> bytes:
    """The root key would sign a checkpoint a second."""
    return log.leaf(log.entry([log.card(log_key=log.key("root").public_key), log.adopt()]))


@attack("governance.form", opened=False, also=("opening.form",))
def a_key_in_two_offices_of_one_card(log: Log) -> bytes:
    """The node signs its checkpoints and its cosignatures with one key."""
    value = codec.decode(format_governance(log.card()))
    body = codec.encode(value | {"witness_key": value["log_key"]})
    return log.leaf(log.entry([body, log.adopt()]))


@attack("adopt.version")
def an_adopt_of_an_older_roster(log: Log) -> bytes:
    """Back to the version in which a thief was still an agency."""
    second = later_roster(log.world)
    log.take(log.leaf(log.entry([log.adopt(version=2, hash=second.hash)])))
    return log.leaf(log.entry([log.adopt()]))


@attack("adopt.version")
def an_adopt_that_gives_a_roster_another_number(log: Log) -> bytes:
    """Version and hash must belong together."""
    return log.leaf(log.entry([log.adopt(version=2)]))


@attack("adopt.version")
def an_adopt_of_a_roster_without_this_agency(log: Log) -> bytes:
    """An agency that was dropped cannot go on under the roster that dropped it."""
    others = {name: root for name, root in log.world.roster.agencies.items() if name != "district"}
    others["newcomer"] = key("newcomer root").public_key
    second = later_roster(log.world, agencies=others)
    return log.leaf(log.entry([log.adopt(version=2, hash=second.hash, cards=dict.fromkeys(others))]))


@attack("adopt.key")
def an_adopt_that_makes_a_clerk_the_root(log: Log) -> bytes:
    """One key, one purpose: whoever holds the clerk's key must not found and mend the log."""
    roots = {**log.world.roster.agencies, "district": log.key("clerk").public_key}
    second = later_roster(log.world, agencies=roots)
    return log.leaf(log.entry([log.adopt(version=2, hash=second.hash)]))


@attack("adopt.key")
def an_adopt_that_makes_the_desk_key_the_root(log: Log) -> bytes:
    """A key of the node's card lies on the node; the root key must not."""
    roots = {**log.world.roster.agencies, "district": log.key("desk").public_key}
    second = later_roster(log.world, agencies=roots)
    return log.leaf(log.entry([log.adopt(version=2, hash=second.hash)], by="desk"))


@attack("adopt.undecided")
def an_adopt_of_an_unknown_roster(log: Log) -> bytes:
    """Not in hand is not invalid: the verdict is open."""
    second = later_roster(log.world, known=False)
    return log.leaf(log.entry([log.adopt(version=2, hash=second.hash)], by="desk"))


@attack("adopt.undecided", opened=False)
def an_opening_under_an_unknown_roster(log: Log) -> bytes:
    """Whose root key opens the log is in a roster that is not in hand."""
    second = later_roster(log.world, known=False)
    return log.leaf(log.entry([log.card(), log.adopt(version=2, hash=second.hash)]))


@attack("adopt.cards")
def pins_that_leave_out_an_agency(log: Log) -> bytes:
    """An agency without a pin would be forgotten silently."""
    return log.leaf(log.entry([log.adopt(cards={"sport": None})]))


@attack("adopt.cards")
def pins_that_name_the_agency_itself(log: Log) -> bytes:
    """The own card is the last one below, never a pinned one."""
    return log.leaf(log.entry([log.adopt(cards=dict.fromkeys(("centre", "district", "sport")))]))


@attack("adopt.cards")
def pins_that_name_a_stranger(log: Log) -> bytes:
    """A friend's witness must not count."""
    return log.leaf(log.entry([log.adopt(cards=dict.fromkeys(("centre", "friend")))]))


@attack("adopt.cards")
def a_pin_that_falls(log: Log) -> bytes:
    """Back to a card whose witness key was stolen."""
    pin(log, (2, bytes(32)))
    return log.leaf(log.entry([log.adopt(cards={"centre": (1, bytes(32)), "sport": None})]))


@attack("adopt.cards")
def a_pin_that_is_taken_back(log: Log) -> bytes:
    """No pin after a pin: the owner stops counting a witness that saw too much."""
    pin(log, (1, bytes(32)))
    return log.leaf(log.entry([log.adopt()]))


def pin(log: Log, centre: tuple[int, bytes]) -> None:
    """Adopt again with a pin of the centre's card."""
    log.take(log.leaf(log.entry([log.adopt(cards={"centre": centre, "sport": None})])))


@attack("grant.key")
def a_grant_for_a_revoked_key(log: Log) -> bytes:
    """A revoked key is never granted again."""
    revoke_clerk(log)
    return log.leaf(log.entry([log.grant(valid_until=DAY + 999)], by="registrar"))


@attack("grant.key")
def a_grant_for_a_registrar_key(log: Log) -> bytes:
    """A registrar makes himself staff."""
    return log.leaf(log.entry([log.grant("registrar")], by="registrar"))


@attack("grant.key")
def a_grant_for_the_root_key(log: Log) -> bytes:
    """The root writes grades."""
    return log.leaf(log.entry([log.grant("root")]))


@attack("grant.key")
def a_grant_for_a_former_registrar_key(log: Log) -> bytes:
    """One key, one purpose, also over time."""
    log.take(log.leaf(log.entry([drop_registrar(log, {})])))
    return log.leaf(log.entry([log.grant("registrar")]))


@attack("grant.key")
def a_grant_beside_the_card_that_gives_the_key_an_office(log: Log) -> bytes:
    """Card and grant in one entry: neither stood before the other."""
    registrars = (log.key("registrar").public_key, log.key("cook").public_key)
    return log.leaf(log.entry([card_after(log, registrar_keys=registrars), log.grant("cook")]))


@attack("grant.key")
def grants_of_one_key_without_end(log: Log) -> bytes:
    """Each entry is judged by all grants of its author: a log must not make that slow."""
    grants = [log.grant("cook", scope=seed(str(number))) for number in range(GRANTS_OF_KEY_MAX + 1)]
    for start in range(0, GRANTS_OF_KEY_MAX, 16):
        log.take(log.leaf(log.entry(grants[start : start + 16], by="registrar")))
    return log.leaf(log.entry(grants[-1:], by="registrar"))


@attack("grant.days")
def a_grant_that_ends_before_it_begins(log: Log) -> bytes:
    """Such a grant holds on no day."""
    return log.leaf(log.entry([log.grant("cook", valid_from=DAY, valid_until=DAY - 1)], by="registrar"))


@attack("revoke.key")
def a_registrar_revoking_the_root(log: Log) -> bytes:
    """Whoever stole a registrar key locks out the only key that could drop it."""
    revoke = Revoke(key=log.key("root").public_key, suspect_from=None)
    return log.leaf(log.entry([revoke], by="registrar"))


@attack("revoke.key")
def a_registrar_revoking_the_desk(log: Log) -> bytes:
    """The node could write no more withdrawals."""
    revoke = Revoke(key=log.key("desk").public_key, suspect_from=None)
    return log.leaf(log.entry([revoke], by="registrar"))


@attack("revoke.key", opened=False)
def an_opening_that_revokes_its_own_desk(log: Log) -> bytes:
    """What stands in one entry is judged in the order of its effect."""
    revoke = Revoke(key=log.key("desk").public_key, suspect_from=None)
    return log.leaf(log.entry([log.card(), log.adopt(), revoke]))


@attack("governance.form", opened=False, also=("opening.form", "author.unknown"))
def an_opening_whose_card_leaves_no_room_for_evidence(log: Log) -> bytes:
    """Two such openings would not fit in one piece of fork evidence."""
    many = tuple(key(f"desk {number}").public_key for number in range(16))
    urls = tuple(f"http://{'a' * 190}{number}" for number in range(8))
    card = codec.decode(format_governance(log.card(desk_keys=many))) | {"urls": list(urls)}
    return log.leaf(log.entry([codec.encode(card), log.adopt()]))


@attack("revoke.position")
def a_revocation_that_suspects_the_future(log: Log) -> bytes:
    """Validity never changes later: only what stands can be suspect."""
    revoke = Revoke(key=log.key("clerk").public_key, suspect_from=Place(1, len(log.leaves) + 1))
    return log.leaf(log.entry([revoke], by="registrar"))


@attack("reconcile.era")
def a_reconcile_in_era_1(log: Log) -> bytes:
    """Era 1 continues nothing."""
    return log.leaf(log.entry([reconcile()]))


@attack("reconcile.era", opened=False, also=("opening.form",))
def an_opening_of_era_1_that_reconciles(log: Log) -> bytes:
    """Era 1 has nothing to keep."""
    return log.leaf(log.entry([log.card(), log.adopt(), reconcile()]))


def reconcile() -> Reconcile:
    """Some reconcile of its form."""
    empty = (0, hashlib.sha256().digest())
    return Reconcile(
        kept=Head(1, 0, empty[1]), closes=(), carried=empty, set_aside=empty, hour=HOUR, reason_code="fork"
    )


# What must go


GOOD: list[Callable[[Log], bytes]] = [
    lambda log: log.leaf(log.private([record()])),
    lambda log: log.leaf(log.private([record()]), hour=HOUR + 1),
    lambda log: log.leaf(log.entry([log.grant("cook"), log.grant("nurse")], by="registrar")),
    lambda log: log.leaf(log.entry([log.grant("cook")])),
    lambda log: log.leaf(log.entry([card_after(log, urls=("https://other.example/x",))])),
    lambda log: log.leaf(log.entry([log.adopt()], by="desk")),
    lambda log: log.leaf(log.entry([Erasure(root=bytes(32))], by="desk")),
    lambda log: log.leaf(log.entry([Revoke(key=seed("lost"), suspect_from=None)], by="registrar")),
    lambda log: log.leaf(log.entry([drop_registrar(log, {}), log.adopt(), log.grant("cook")])),
]


@pytest.mark.parametrize("make", GOOD)
def test_what_the_offices_do_every_day_is_valid(make: Callable[[Log], bytes]) -> None:
    """The control of the attacks above."""
    log = district()
    [judged] = log.judge(make(log))
    assert judged.violations == ()
    assert judged.author is not None


def test_the_same_entry_is_valid_once_its_author_is_granted() -> None:
    """What was refused for its place is no worse for that: an entry does not depend on its position."""
    log = district()
    entry = log.private([record()], by="cook")
    assert log.judge(log.leaf(entry))[0].violations
    log.take(log.leaf(log.entry([log.grant("cook")], by="registrar")))
    log.take(log.leaf(entry))


def test_grants_of_a_key_add_up() -> None:
    """A second grant does not replace the first, and both scopes are the author's."""
    log = district()
    log.take(log.leaf(log.entry([log.grant(scope=seed("other"))], by="registrar")))
    [judged] = log.judge(log.leaf(log.private([record()])))
    assert judged.author is not None
    assert [grant.scope for grant in judged.author.grants] == [log.grant().scope, seed("other")]


def test_a_grant_outlives_its_registrar() -> None:
    """A registrar who retires honestly takes nobody's rights along."""
    log = district()
    log.take(log.leaf(log.entry([drop_registrar(log, {})])))
    log.take(log.leaf(log.private([record()])))


def test_only_what_the_thief_granted_ends_with_void_from() -> None:
    """`void_from` names a place: grants before it stand."""
    log = district()
    log.take(log.leaf(log.entry([log.grant("thief")], by="registrar")))
    log.take(log.leaf(log.entry([drop_registrar(log, {log.key("registrar").public_key: Place(1, 2)})])))
    log.take(log.leaf(log.private([record()])))
    [judged] = log.judge(log.leaf(log.private([record()], by="thief")))
    assert [one.rule.name for one in judged.violations] == ["author.late"]


def test_entries_before_a_revocation_stay_valid() -> None:
    """Validity never changes later."""
    log = district()
    log.take(log.leaf(log.private([record()])))
    revoke_clerk(log)
    assert [one.violations for one in log.judged()] == [()] * 4


@covers("adopt.undecided")
def test_behind_an_unknown_roster_nothing_is_called_invalid() -> None:
    """Without the roster nobody knows who may write; once it is in hand, the same bytes are judged."""
    log = district()
    start = log.state
    others = {name: key(f"{name} root").public_key for name in ("centre", "district", "sport", "newcomer")}
    second = later_roster(log.world, known=False, agencies=others)
    cards = {name: None for name in others if name != "district"}
    adopt = log.entry([log.adopt(version=2, hash=second.hash, cards=cards)])
    known = replace(start.authority, rosters={**log.world.rosters, second.hash: second})
    log.state = replace(start, authority=known)
    leaves = [log.leaf(adopt)]
    log.append(leaves[0])
    for entry in (log.entry([log.grant("cook")], by="registrar"), log.private([record()], by="cook")):
        leaves.append(log.leaf(entry))
        log.append(leaves[-1])
    assert [one.violations for one in extend(replace(start, authority=known), leaves, never)[1]] == [()] * 3
    after, judged = extend(start, leaves, never)
    assert [[one.rule.name for one in leaf.violations] for leaf in judged] == [["adopt.undecided"]] * 3
    _, [later] = extend(after, [log.leaf(log.private([record(number=5)]))], never)
    assert [one.rule.name for one in later.violations] == ["adopt.undecided"]


def never(entry_id: bytes) -> bool:
    """Nothing was seen before."""
    return False


def test_however_the_leaves_are_cut_the_verdicts_are_the_same() -> None:
    """A mirror gets them one by one, an auditor in bundles: same state, same verdicts, same order."""
    log = district()
    leaves = list(log.leaves)
    for case in ATTACKS:
        if not case.options and case.rule in ("entry.root", "author.office", "leaf.form", "card.chain"):
            leaves.append(case.make(log))
    revoke_clerk(log)
    leaves += [log.leaves[-1], log.leaf(log.private([record()])), log.leaf(log.private([record()]))]
    start = district(opened=False).state
    whole_state, whole = extend(start, leaves, never)
    for cuts in itertools.combinations(range(1, len(leaves)), 2):
        state, judged, seen = start, [], set[bytes]()
        for first, last in itertools.pairwise([0, *cuts, len(leaves)]):
            state, part = extend(state, leaves[first:last], seen.__contains__)
            seen |= {one.leaf.header.entry_id for one in part if one.leaf}
            judged += part
        assert judged == whole
        assert snapshot(state) == snapshot(whole_state)


def test_one_leaf_can_break_many_rules_and_they_come_in_the_order_of_the_table() -> None:
    """A verifier lists all, a node stops at the first: both in one order."""
    log = district()
    log.take(log.leaf(log.private([record()])))
    entry = resign(log, log.private([record()], by="stranger", agency="sport", ledger_id=bytes(32)), "thief")
    [judged] = log.judge(log.leaf(entry, hour=1, prev=bytes(32)))
    assert [one.rule.name for one in judged.violations] == [
        "entry.signature",
        "leaf.prev",
        "leaf.hour",
        "entry.ledger",
        "entry.agency",
        "author.unknown",
    ]


def test_a_leaf_that_is_refused_still_counts_as_a_link() -> None:
    """It stands there and is hashed: what follows is judged after it, under the state before it."""
    log = district()
    bad = log.leaf(log.entry([log.grant("friend")], by="clerk"))
    log.append(bad)
    log.take(log.leaf(log.private([record()])))
    [judged] = log.judge(log.leaf(log.private([record()], by="friend")))
    assert [one.rule.name for one in judged.violations] == ["author.unknown"]


def test_thousands_of_grants_are_folded_in_linear_time() -> None:
    """An agency decides how many grants an auditor has to fold: copying all of them each time is n²."""
    log = district()
    body: dict[str, Any] = {"scope": seed("scope"), "valid_from": DAY, "valid_until": DAY}
    leaves, head = [], log.state.head
    for entry_number in range(150):
        grants = [Grant(key=seed(f"{entry_number} {number}"), **body) for number in range(16)]
        leaf = make_leaf(log.entry(grants, by="registrar"), prev=head, received_hour=HOUR)
        leaves.append(leaf.raw)
        head = leaf.hash
    state, judged = extend(log.state, leaves, never)
    assert not any(one.violations for one in judged)
    assert len(state.authority.grants) == 150 * 16 + 1
    assert state.authority.grants[seed("149 15")][0].place == Place(1, 151)
    assert len(log.state.authority.grants) == 1
