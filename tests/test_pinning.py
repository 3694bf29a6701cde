"""The desk pins the others' cards by itself: soon, never back, and not at anybody's bidding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.chain import open_log
from ledger.entry import sign_public
from ledger.errors import LedgerError
from ledger.governance import format_governance
from ledger.names import Head, Origin
from ledger.roster import Ends, format_roster, parse_roster
from ledger.statute import default_statute_json
from node.pinning import BURST, GATHER_S, REFILL_S, wanted_adopt
from node.submission import Submission
from tests.witnesses import Ledger, ledger
from tests.world import DAY, HOUR, World, key


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[Ledger]:
    """Three nodes that have not met."""
    with ledger(tmp_path, pinned=False) as made:
        yield made


def adopt(made: Ledger, at: float, name: str = "district") -> dict[str, int | None] | None:
    """What the desk pins now: card numbers by agency."""
    found = made.nodes[name].pinning.adopt_if_due(at, HOUR)
    return None if found is None else {agency: pin and pin[0] for agency, pin in found.cards.items()}


def new_card(made: Ledger, name: str) -> None:
    """Another address for an agency, in its log and published."""
    before = made.nodes[name].sequencer.state.authority.card
    assert before is not None
    number = before.card.number + 1
    urls = (f"http://127.0.0.1:{number}",)
    card = replace(before.card, number=number, before=before.hash, urls=urls)
    entry = sign_public(
        [format_governance(card)],
        ledger_id=made.nodes[name].ledger_id,
        agency=name,
        created_day=DAY,
        signer=key(f"{name} root"),
    )
    made.append(name, Submission(entry=entry))


def test_founders_are_pinned_at_once_when_all_are_known(founded: Ledger) -> None:
    """One adopt, not one for each."""
    assert adopt(founded, 0) is None
    founded.mirror_all()
    assert adopt(founded, 0.1) == {"sport": 1, "centre": 1}
    assert adopt(founded, 100) is None
    assert founded.nodes["district"].sequencer.state.size == 2


def test_who_comes_late_is_waited_for_a_while(founded: Ledger) -> None:
    """Some seconds from the first new card; the last one comes in an adopt of its own."""
    founded.mirror("district", "sport")
    assert adopt(founded, 10) is None
    assert adopt(founded, 10 + GATHER_S - 0.1) is None
    assert adopt(founded, 10 + GATHER_S) == {"sport": 1, "centre": None}
    founded.mirror("district", "centre")
    assert adopt(founded, 10 + GATHER_S + 0.1) == {"sport": 1, "centre": 1}


def test_a_rotated_card_is_pinned(founded: Ledger) -> None:
    """The newest, by number and hash, as the mirrored log has it."""
    founded.pin_all()
    new_card(founded, "sport")
    founded.mirror_all()
    assert adopt(founded, 1) == {"sport": 2, "centre": 1}
    pin = founded.nodes["district"].sequencer.state.authority.adopt
    card = founded.nodes["sport"].sequencer.state.authority.card
    assert pin is not None and card is not None and pin.adopt.cards["sport"] == (2, card.hash)


def test_a_card_that_goes_back_is_not_pinned(founded: Ledger) -> None:
    """A peer that shows an older log, or a node that lost its mirror: the pin stays."""
    founded.pin_all()
    new_card(founded, "sport")
    founded.mirror_all()
    adopt(founded, 1)
    own = founded.nodes["district"].sequencer.state
    others = {name: mirror.state for name, mirror in founded.nodes["district"].mirrors.items()}
    before = others["sport"].authority
    older = replace(others["sport"], authority=replace(before, cards=before.cards[:1]))
    rosters = founded.nodes["district"].rosters
    assert wanted_adopt(own, others | {"sport": older}, rosters) is None
    assert wanted_adopt(own, {"centre": others["centre"]}, rosters) is None


def test_a_card_not_by_the_root_key_of_the_roster_is_not_pinned(founded: Ledger) -> None:
    """It would count for nothing."""
    founded.mirror_all()
    own = founded.nodes["district"].sequencer.state
    sport = founded.nodes["district"].mirrors["sport"].state
    [card] = sport.authority.cards
    strange = replace(
        sport, authority=replace(sport.authority, cards=(replace(card, author=key("thief").public_key),))
    )
    assert wanted_adopt(own, {"sport": strange}, founded.nodes["district"].rosters) is None


def test_a_hostile_agency_with_a_card_a_second_makes_few_adopts(founded: Ledger) -> None:
    """Each would stand in everybody's log for ever: a burst, then one in half a minute with the newest."""
    founded.pin_all()
    written = []
    for second in range(60):
        new_card(founded, "sport")
        founded.mirror("district", "sport")
        if (pins := adopt(founded, float(second))) is not None:
            written.append(pins["sport"])
    assert BURST - 1 <= len(written) <= BURST + 60 / REFILL_S
    assert written == sorted(written)
    assert adopt(founded, 120.0) == {"sport": 61, "centre": 1}


def test_a_refused_adopt_costs_its_turn_and_changes_nothing(founded: Ledger) -> None:
    """A desk key that is not the card's: told, and not tried at every tick."""
    founded.mirror_all()
    node = founded.nodes["district"]
    node.pinning._signer = key("not the desk")
    refused = 0
    for tick in range(100):
        try:
            assert node.pinning.adopt_if_due(tick / 10, HOUR) is None
        except LedgerError:
            refused += 1
    assert 1 <= refused <= BURST and node.sequencer.state.size == 1


def test_a_node_that_waits_writes_no_adopt(founded: Ledger) -> None:
    """It sequences nothing."""
    founded.mirror_all()
    founded.nodes["district"].close()
    founded.nodes["district"] = founded.agencies["district"].node(on_word=False, found=False)
    assert founded.nodes["district"].adopt_if_due(0, HOUR) is None
    assert founded.nodes["district"].sequencer.state.size == 1


def roster_after(world: World, agencies: dict[str, bytes], **more: object) -> bytes:
    return format_roster(
        ledger="test",
        agencies=agencies,
        statute=default_statute_json(),
        version=2,
        before=world.roster.hash,
        **more,  # type: ignore[arg-type]
    )


def test_the_newest_version_in_hand_is_adopted_with_its_agencies(founded: Ledger) -> None:
    """A new agency is pinned to nothing until its card is here."""
    founded.pin_all()
    node, world = founded.nodes["district"], founded.agencies["district"].world
    second = parse_roster(
        roster_after(world, {**world.roster.agencies, "north": key("north root").public_key})
    )
    others = {name: mirror.state for name, mirror in node.mirrors.items()}
    found = wanted_adopt(node.sequencer.state, others, [*node.rosters, second])
    assert found is not None and (found.version, found.hash) == (2, second.hash)
    assert {name: pin and pin[0] for name, pin in found.cards.items()} == {
        "sport": 1,
        "centre": 1,
        "north": None,
    }


def test_a_version_that_ends_this_agency_is_not_adopted_by_its_desk(founded: Ledger) -> None:
    """Leaving, or another root key, is for people."""
    founded.pin_all()
    node, world = founded.nodes["district"], founded.agencies["district"].world
    others = {name: mirror.state for name, mirror in node.mirrors.items()}
    agencies = dict(world.roster.agencies)
    ends = {"district": Ends(head=Head(1, 2, bytes(32)), next_era=2)}
    changed = agencies | {"district": key("new root").public_key}
    without = {name: root for name, root in agencies.items() if name != "district"} | {
        "north": key("north root").public_key
    }
    for after in (changed, without):
        second = parse_roster(roster_after(world, after, ends=ends))
        assert wanted_adopt(node.sequencer.state, others, [*node.rosters, second]) is None


def test_a_log_without_an_opening_pins_nothing(founded: Ledger) -> None:
    """There is no desk yet."""
    state = open_log(founded.nodes["district"].ledger_id, Origin("test", "district"), {})
    assert wanted_adopt(state, {}, founded.nodes["district"].rosters) is None
