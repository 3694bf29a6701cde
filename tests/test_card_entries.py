"""ledger.card_entries: the agencies' newest cards with their proof, and what they say of a receipt."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import codec
from ledger.card_entries import format_card_entries, parse_card_entries
from ledger.certify import is_certified_by_cards
from ledger.entry import Entry
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.leaf import parse_leaf
from ledger.note import parse_note
from tests.spoiled import accepted, spoiled
from tests.test_roster import small_statute
from tests.world import AGENCIES, Log, World, key, record


@pytest.fixture(scope="module")
def world() -> World:
    return World(statute=small_statute())


def openings(world: World) -> list[Entry]:
    return [parse_leaf(log.leaves[0]).entry for log in world.logs.values()]


def parse(world: World, data: bytes) -> dict[str, Any]:
    return parse_card_entries(data, world.roster, world.ledger_id)


def test_each_agency_has_the_card_that_its_root_key_signed(world: World) -> None:
    """The control: three openings, three cards, each with the hash that logs pin."""
    found = parse(world, format_card_entries(openings(world)))
    assert list(found) == list(AGENCIES)
    for name, one in found.items():
        placed = world.logs[name].state.authority.cards[0]
        assert (one.card, one.hash, one.author) == (placed.card, placed.hash, placed.author)


def test_any_byte_changed_is_refused_or_says_nothing_else(world: World) -> None:
    """A card is believed for its signature alone."""
    data = format_card_entries(openings(world)[:1])
    whole = parse(world, data)
    assert all(one in (whole, {}) for one in accepted(lambda raw: parse(world, raw), spoiled(data)))
    assert whole not in accepted(lambda raw: parse(world, raw), spoiled(data))


def test_the_highest_number_counts_whatever_the_order(world: World) -> None:
    """An old card sent again beside the new one changes nothing."""
    log = world.logs["sport"]
    second = log.entry([log.next_card(witness_key=log.key("witness 2").public_key)])
    first = parse_leaf(log.leaves[0]).entry
    for entries in ([first, second], [second, first], [second]):
        found = parse(world, format_card_entries(entries))
        assert found["sport"].card.number == 2
        assert found["sport"].card.witness_key == log.key("witness 2").public_key


def test_a_card_by_another_key_than_the_root_key_is_passed_over(world: World) -> None:
    """A thief without the root key, an agency that left, one whose key changed: nobody is counted by it."""
    log = world.logs["sport"]
    forged = log.entry([log.next_card()], by="registrar")
    stranger = Log(world, "stranger", log.state)
    foreign = stranger.entry([log.card(origin="test/stranger/1")])
    assert parse(world, format_card_entries([forged, foreign])) == {}


FALSE = [
    (lambda log: log.entry([log.next_card()], ledger_id=bytes(32)), Unproven),
    (lambda log: log.entry([log.card(origin="test/centre/1")]), Unproven),
    (lambda log: log.entry([log.card(origin="other/sport/1")]), Unproven),
    (lambda log: log.entry([log.adopt()]), Malformed),
    (lambda log: log.entry([log.card(), log.card(urls=())]), Malformed),
    (lambda log: log.private([record()]), Unproven),
]


@pytest.mark.parametrize(("make", "error"), FALSE)
def test_an_entry_that_is_no_card_entry_of_this_ledger_is_refused(
    world: World, make: Any, error: type[LedgerError]
) -> None:
    """With everything beside it: whoever sent it sends no such thing by mistake."""
    with pytest.raises(error):
        parse(world, format_card_entries([*openings(world), make(world.logs["sport"])]))


def test_another_body_under_a_signature_is_refused(world: World) -> None:
    """The root in the header names each body."""
    [entry] = openings(world)[:1]
    items = codec.decode(format_card_entries([entry]))
    items[0][2] = items[0][2][:1]
    with pytest.raises(Unproven):
        parse(world, codec.encode(items))


@pytest.mark.parametrize(
    "value", [None, {}, [None], [[b"", b""]], [[b"", b"", [1]]], 1001 * [[b"", b"", []]]]
)
def test_another_form_is_refused(world: World, value: Any) -> None:
    """Bounded before anything is checked."""
    with pytest.raises(Malformed):
        parse(world, codec.encode(value))


def test_a_receipt_is_certified_by_a_quorum_of_these_cards(world: World) -> None:
    """All three of three; a missing card, another key, a key under two names are one too few."""
    log = world.logs["sport"]
    cards = {name: one.card for name, one in parse(world, format_card_entries(openings(world))).items()}

    def judge(witnesses: Any, known: Any = cards, **names: str) -> bool:
        return is_certified_by_cards(parse_note(log.cosigned(witnesses, keys=names)), world.roster, known)

    assert judge(AGENCIES)
    assert not judge(["sport", "centre"]) and not judge(["sport", "centre", "stranger"])
    assert not judge(AGENCIES, centre="centre log")
    assert not judge(AGENCIES, {name: card for name, card in cards.items() if name != "centre"})
    shared = cards | {"district": log.card(witness_key=key("centre witness").public_key)}
    assert not judge(AGENCIES, shared, district="centre witness")


def test_alone_or_outside_of_the_roster_no_receipt_is_certified() -> None:
    """At n = 1 nobody else holds it; a log that the newest version does not name is not judged by it."""
    alone = World(("sport",), statute=small_statute())
    log = alone.logs["sport"]
    cards = {"sport": log.state.authority.cards[0].card}
    assert not is_certified_by_cards(parse_note(log.cosigned(["sport"])), alone.roster, cards)
    three = World(statute=small_statute())
    left = three.logs["sport"]
    known = {name: one.state.authority.cards[0].card for name, one in three.logs.items()}
    note = parse_note(left.cosigned(AGENCIES))
    assert is_certified_by_cards(note, three.roster, known)
    second = three.next_roster(
        {name: f"{name} root" for name in ("centre", "district")}, ends={"sport": left.end()}
    )
    assert not is_certified_by_cards(note, second, known)
