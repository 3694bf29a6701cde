"""ledger.certify: whose cosignatures count at a checkpoint's size, and through roster changes.

The worlds have the small statute; `Log.cosigned` makes the notes, `certified` asks our judge what they say.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import certify
from ledger.authority import Authority
from ledger.chain import extend, open_log
from ledger.entry import Entry
from ledger.merkle import leaf_hash
from ledger.names import Place
from ledger.note import Note, parse_note
from ledger.report import Level, Report
from ledger.verify import verify
from node import dossier
from node.sources import open_path
from tests.test_roster import small_statute
from tests.test_stranger import agreed
from tests.world import AGENCIES, Log, MemorySource, World, record

FOUR = ("centre", "district", "port", "sport")
"""The quorum of four is three."""


def world_of(agencies: Iterable[str] = FOUR) -> World:
    """A world whose logs have adopted again, with each other's first cards pinned at index 2."""
    world = World(agencies, statute=small_statute())
    pin_all(world)
    return world


def pin_all(world: World) -> None:
    """Each log of the newest roster adopts it, with the newest cards of the others."""
    pins = {name: world.logs[name].pins() for name in world.roster.agencies}
    for name, cards in pins.items():
        adopt(world.logs[name], cards=cards)


def adopt(log: Log, **changes: Any) -> None:
    log.take(log.leaf(adopting(log, **changes)))


def adopting(log: Log, **changes: Any) -> Entry:
    """An adopt by the desk, never twice the same entry."""
    record = log.adopt(**({"cards": log.pins()} | changes))
    return log.entry([record], by="desk", created_day=len(log.leaves))


def write(log: Log) -> None:
    """One private entry."""
    number = len(log.leaves)
    log.take(log.leaf(log.private([record("notice", number=number)], number=number)))


def cards(world: World) -> dict[bytes, Any]:
    return {one.hash: one for log in world.logs.values() for one in log.state.authority.cards}


def is_certified(log: Log, witnesses: Iterable[str], *, size: int | None = None, **options: Any) -> bool:
    """Whether the checkpoint with these lines is, under the newest state in hand."""
    keys = options.pop("keys", None)
    signed = parse_note(log.cosigned(witnesses, size, keys))
    return certify.is_certified(signed, log.state.authority, cards(log.world), **options)


def certified(log: Log, notes: Mapping[str, bytes]) -> tuple[int, set[int]]:
    """Size and versions with a transition, by the module; both verifiers must find the same size."""
    parsed = [parse_note(data) for data in notes.values()]
    found = certify.certify(parsed, log.state.authority, cards(log.world))
    log.kept = dict(notes)
    line = {one.agency: one for one in judge(log.world).logs}[log.agency]
    log.kept = {}
    assert line.certified_size == found.size
    return found.size, set(found.transitions)


def judge(world: World, level: Level = "leaf") -> Report:
    """Our report, which the stranger's verifier gives too."""
    files = world.tree()
    agreed(files, world.ledger_id, level)
    return verify(MemorySource(files), world.ledger_id, level=level)


def joined(pins: bool = True) -> World:
    """Four agencies become five: each log adopts version 2, without a card of the newcomer yet."""
    world = world_of()
    world.next_roster({**world.root_names, "union": "union root"})
    if pins:
        for name in FOUR:
            adopt(world.logs[name])
    return world


# Who counts


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_a_quorum_certifies_and_one_less_does_not(count: int) -> None:
    """Three of four, whichever they are, the owner's own counted or not."""
    log = world_of().logs["sport"]
    for witnesses in itertools.combinations(FOUR, count):
        assert is_certified(log, witnesses) == (count >= 3)


def test_the_owner_counts_once() -> None:
    """Its line twice, and its key under another agency's name, are no second cosignature."""
    log = world_of().logs["sport"]
    assert not is_certified(log, ["sport", "sport", "centre"])
    assert not is_certified(log, ["sport", "district", "centre"], keys={"district": "sport witness"})


def test_a_key_that_two_agencies_name_counts_once() -> None:
    """The thief of a witness key founds a card of it elsewhere: one key is still one witness."""
    world = World(FOUR, statute=small_statute(), opened=False)
    for name, log in world.logs.items():
        shared = world.logs["centre"].key("witness").public_key
        changes = {"witness_key": shared} if name in ("centre", "district") else {}
        log.take(log.leaf(log.entry([log.card(**changes), log.adopt()])))
    pin_all(world)
    log, keys = world.logs["sport"], {"district": "centre witness"}
    assert not is_certified(log, ["sport", "centre", "district"], keys=keys)
    assert is_certified(log, ["sport", "centre", "district", "port"], keys=keys)


def test_an_outside_witness_does_not_count() -> None:
    """Shown, not counted: neither a stranger nor another ledger's agency."""
    log = world_of().logs["sport"]
    assert not is_certified(log, ["sport", "centre", "stranger"])
    assert is_certified(log, ["sport", "centre", "stranger", "port"])


def test_an_agency_without_a_pin_does_not_count() -> None:
    """Until a later adopt pins its card."""
    world = World(FOUR, statute=small_statute())
    log = world.logs["sport"]
    adopt(log, cards=log.pins() | {"centre": None})
    before = log.state.size
    adopt(log)
    assert not is_certified(log, ["sport", "centre", "district"], size=before)
    assert is_certified(log, ["sport", "centre", "district"])


def test_a_note_of_another_log_is_never_certified() -> None:
    """Cosigned by everyone, under its own state."""
    world = world_of()
    signed = parse_note(world.logs["centre"].cosigned(FOUR))
    assert certify.is_certified(signed, world.logs["centre"].state.authority, cards(world))
    assert not certify.is_certified(signed, world.logs["sport"].state.authority, cards(world))


def test_a_card_in_an_entry_of_a_key_that_is_not_the_root_key_is_not_believed() -> None:
    """The body is public: whoever wraps it in an entry of his own proves nothing."""
    world = world_of()
    log, known = world.logs["sport"], cards(world)
    signed = parse_note(log.cosigned(["sport", "centre", "district"]))
    forged = {
        name: replace(one, author=world.logs["port"].key("root").public_key)
        if "/centre/" in one.card.origin
        else one
        for name, one in known.items()
    }
    assert certify.is_certified(signed, log.state.authority, known)
    assert not certify.is_certified(signed, log.state.authority, forged)


# The size of the note decides


def test_a_retired_key_counts_below_the_adopt_that_pins_its_successor_and_nowhere_else() -> None:
    """However its stamp is dated: the log's own places say which key was whose."""
    world = world_of()
    log, centre = world.logs["sport"], world.logs["centre"]
    sizes = [log.state.size]
    successor = centre.next_card(witness_key=centre.key("witness 2").public_key)
    centre.take(centre.leaf(centre.entry([successor])))
    write(log)
    sizes.append(log.state.size)
    adopt(log)
    sizes.append(log.state.size)
    witnesses, renewed = ["sport", "centre", "district"], {"centre": "centre witness 2"}
    assert [is_certified(log, witnesses, size=size) for size in sizes] == [True, True, False]
    assert [is_certified(log, witnesses, size=size, keys=renewed) for size in sizes] == [False, False, True]


def test_the_owners_key_is_that_of_its_last_card_below() -> None:
    """A rotation by card needs no pin in the own log."""
    world = world_of()
    log = world.logs["sport"]
    before = log.state.size
    card = log.next_card(witness_key=log.key("witness 2").public_key)
    log.take(log.leaf(log.entry([card])))
    keys, witnesses = {"sport": "sport witness 2"}, ["sport", "centre", "district"]
    assert is_certified(log, witnesses, size=before) and is_certified(log, witnesses, keys=keys)
    assert not is_certified(log, witnesses)
    assert not is_certified(log, witnesses, size=before, keys=keys)


def test_a_note_certified_under_pins_that_a_later_adopt_lowers_stays_certified() -> None:
    """The adopt that goes back is refused, and so has no effect on what counts after it."""
    world = world_of()
    log, centre = world.logs["sport"], world.logs["centre"]
    centre.take(centre.leaf(centre.entry([centre.next_card(witness_key=centre.key("new").public_key)])))
    old = log.pins() | {"centre": (1, centre.state.authority.cards[0].hash)}
    adopt(log)
    certified_at = log.state.size
    lowered = log.leaf(adopting(log, cards=old))
    assert [one.rule.name for one in log.judge(lowered)[0].violations] == ["adopt.cards"]
    log.append(lowered)
    witnesses = ["sport", "centre", "district"]
    for size in (certified_at, certified_at + 1):
        assert is_certified(log, witnesses, size=size, keys={"centre": "centre new"})
        assert not is_certified(log, witnesses, size=size)


def test_the_state_at_any_size_is_had_from_any_later_one() -> None:
    """`standing` is what folding the leaves below gives: nothing is kept as current."""
    world = joined()
    log = world.logs["sport"]
    log.take(log.leaf(log.entry([log.next_card(urls=())])))
    adopt(log)
    for size in range(log.state.size + 1):
        folded = fold(log, size)
        standing = log.state.authority.standing(size)
        assert list(standing.adopts) == list(folded.adopts)
        assert standing.card == (folded.cards[-1] if folded.cards else None)
        assert standing.terms() == folded.standing(size).terms()
    assert [one.roster.version for one in standing.terms()] == [2, 1]
    assert [one.place for one in standing.terms()] == [Place(1, 5), Place(1, 2)]


def fold(log: Log, size: int) -> Authority:
    start = open_log(log.world.ledger_id, log.origin, log.world.rosters)
    return extend(start, log.leaves[:size], lambda entry_id: False)[0].authority


# Roster changes


def test_the_first_note_under_a_new_version_needs_the_old_quorum_too() -> None:
    """Four of the five are version 2's quorum; three of them must be of version 1."""
    world = joined()
    union = world.logs["union"]
    union.take(union.leaf(union.opening()))
    log = world.logs["sport"]
    adopt(log)
    assert is_certified(log, [*FOUR])
    assert is_certified(log, ["sport", "centre", "district", "union"])
    assert not is_certified(log, ["sport", "centre", "district"])
    assert certified(log, {"checkpoint.certified": log.cosigned(FOUR)}) == (log.state.size, {2})


def replaced(count: int) -> World:
    """Six agencies of which ``count`` were in version 1: the quorum of six is five, that of four three."""
    world = world_of()
    stay = FOUR[:count]
    new = [f"new{number}" for number in range(6 - count)]
    ends = {name: world.logs[name].end() for name in FOUR if name not in stay}
    world.next_roster({name: f"{name} root" for name in (*stay, *new)}, ends=ends)
    for name in new:
        log = world.logs[name]
        log.take(log.leaf(log.opening()))
    for name in stay:
        adopt(world.logs[name])
    return world


def test_a_new_quorum_that_the_old_version_does_not_confirm_certifies_nothing() -> None:
    """Whoever rules the new version alone cannot take a log over; those who left count by their last pins."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    assert len(new) == 4
    assert not is_certified(log, [*new, "centre"])
    assert not is_certified(log, [*new, "centre", "district"])
    assert is_certified(log, [*new, "centre", "sport", "district"])
    assert is_certified(log, [*new, "centre", "sport", "port"])
    assert not is_certified(log, ["centre", "district", "sport", "port"])


def test_without_the_transition_in_hand_nothing_later_is_certified() -> None:
    """It is kept and travels: later notes then need the new quorum only."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    transition = log.cosigned([*new, "centre", "sport", "district"])
    at = log.state.size
    write(log)
    later = log.cosigned([*new, "centre"])
    assert certified(log, {"checkpoint.certified": later}) == (0, set())
    assert certified(log, {"checkpoint.certified": later, "certified/2": transition}) == (at + 1, {2})
    spoiled = log.cosigned([*new, "centre", "district"], at)
    assert certified(log, {"checkpoint.certified": later, "certified/2": spoiled}) == (0, set())


def test_a_note_below_the_transition_is_not_certified_by_it() -> None:
    """The transition is the first: what lies before it under the new version needs both quorums itself."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    size = log.state.size
    write(log)
    transition = parse_note(log.cosigned([*new, "centre", "sport", "district"]))
    assert not is_certified(log, [*new, "centre"], size=size, transitions={2: transition})
    write(log)
    assert is_certified(log, [*new, "centre"], transitions={2: transition})


def test_a_version_that_only_drops_agencies_needs_no_old_quorum() -> None:
    """After two of four left, the two others are enough, and those who left count no more."""
    world = world_of()
    stay = ("centre", "sport")
    ends = {name: world.logs[name].end() for name in FOUR if name not in stay}
    world.next_roster({name: f"{name} root" for name in stay}, ends=ends)
    log = world.logs["sport"]
    adopt(log)
    assert is_certified(log, stay)
    assert not is_certified(log, ["sport", "district", "port"])
    assert certified(log, {"checkpoint.certified": log.cosigned(stay)}) == (log.state.size, {2})


def test_an_agency_with_a_new_root_key_counts_only_by_a_card_of_that_key() -> None:
    """The old card was the thief's to replace: it counts in no quorum of a note under the new version."""
    world = world_of()
    roots = world.root_names | {"port": "port root 2"}
    world.next_roster(roots, ends={"port": world.logs["port"].end()})
    log = world.logs["sport"]
    before = log.state.size
    adopt(log)
    assert is_certified(log, ["sport", "centre", "port"], size=before)
    assert not is_certified(log, ["sport", "centre", "port"])
    assert is_certified(log, ["sport", "centre", "district"])


def test_a_version_that_drops_agencies_and_changes_a_root_key_needs_the_old_quorum() -> None:
    """Two of the new version, one of them under a key that the old one did not know, are not enough."""
    world = world_of()
    stay = {"sport": "sport root", "port": "port root 2"}
    world.next_roster(stay, ends={name: world.logs[name].end() for name in FOUR if name != "sport"})
    log, port = world.logs["sport"], world.logs["port"]
    adopt(port)
    port.take(port.leaf(port.entry([port.next_card(urls=())], by="root 2")))
    adopt(log)
    assert not is_certified(log, ["sport", "port"])
    assert is_certified(log, ["sport", "port", "centre"])
    assert certified(log, {"checkpoint": log.cosigned(["sport", "port", "district"])}) == (
        log.state.size,
        {2},
    )


def test_a_version_cannot_be_skipped_by_adopting_once_more() -> None:
    """With no certified note between, the quorum of each version since the last certified one is needed."""
    world = world_of()
    log = world.logs["centre"]
    second = {**world.root_names, **{name: f"{name} root" for name in ("new0", "new1", "new2")}}
    world.next_roster(second)  # seven agencies, a quorum of five
    for name in ("new0", "new1", "new2"):
        world.logs[name].take(world.logs[name].leaf(world.logs[name].opening()))
    adopt(log)
    between = log.state.size
    third = {name: f"{name} root" for name in ("centre", "new0", "new1", "new2", "new3", "new4")}
    gone = ("district", "port", "sport")
    world.next_roster(third, ends={name: world.logs[name].end() for name in gone})
    for name in ("new3", "new4"):
        world.logs[name].take(world.logs[name].leaf(world.logs[name].opening()))
    adopt(log)
    rulers = ["centre", "new0", "new1", "new2", "new3", "new4"]
    assert not is_certified(log, rulers)
    assert not is_certified(log, [*rulers, "port"])  # five of version 2, two of version 1
    assert is_certified(log, [*rulers, "port", "sport"])
    middle = parse_note(log.cosigned(["centre", "district", "port", "new0", "new1"], between))
    assert is_certified(log, [*rulers, "port"], transitions={2: middle})
    assert not is_certified(log, rulers, transitions={2: middle})
    notes = {"certified/2": log.cosigned(["centre", "district", "port", "new0", "new1"], between)}
    assert certified(log, notes | {"checkpoint.certified": log.cosigned(rulers)}) == (between, {2})
    both = notes | {"checkpoint.certified": log.cosigned([*rulers, "port"])}
    assert certified(log, both) == (log.state.size, {2, 3})


def test_the_log_of_a_newcomer_needs_no_transition() -> None:
    """Its first version is its first: nothing was certified before."""
    world = joined()
    union = world.logs["union"]
    union.take(union.leaf(union.opening()))
    adopt(union)
    assert certify.transition_of(parse_note(union.cosigned([])), union.state.authority) is None
    assert is_certified(union, ["union", "centre", "district", "sport"])
    assert not is_certified(union, ["union", "centre", "district"])


def test_a_version_of_one_agency_certifies_nothing_and_the_one_after_needs_it() -> None:
    """At n = 1 nobody else holds it; when others join, the first alone speaks for the version before."""
    world = world_of(("sport",))
    log = world.logs["sport"]
    assert not is_certified(log, ["sport"])
    world.next_roster({name: f"{name} root" for name in FOUR})
    for name in ("centre", "district", "port"):
        world.logs[name].take(world.logs[name].leaf(world.logs[name].opening()))
    adopt(log)
    assert not is_certified(log, ["centre", "district", "port"])
    assert is_certified(log, ["centre", "district", "sport"])


def test_whatever_order_the_notes_come_in_they_certify_the_same() -> None:
    """Certification is of a set of notes."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    sizes = [3, log.state.size]
    write(log)
    raws = [
        log.cosigned(FOUR, sizes[0]),
        log.cosigned([*new, *FOUR], sizes[1]),
        log.cosigned([*new, "centre"]),
    ]
    expected = certify.certify(map(parse_note, raws), log.state.authority, cards(world))
    assert (expected.size, set(expected.transitions)) == (log.state.size, {2})
    for order in itertools.permutations(map(parse_note, raws)):
        assert certify.certify(order, log.state.authority, cards(world)) == expected


# The verifier


def test_a_missing_transition_is_named_by_the_verifier() -> None:
    """At level certified the report says which one is not in hand, and with it the log is certified."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    transition, spoiled = (log.cosigned([*new, "centre", "sport", *more]) for more in (["port"], []))
    write(log)
    log.kept["checkpoint.certified"] = log.cosigned([*new, "centre"])
    for files, warnings in (({}, 0), ({"certified/2": spoiled}, 1)):
        log.kept = {"checkpoint.certified": log.kept["checkpoint.certified"]} | files
        report = judge(world, level="certified")
        [problem] = [one for one in report.problems if one.log == "test/centre/1"]
        assert "none under roster version 2" in problem.violation.detail
        assert len([one for one in report.warnings if "certified/2" in one]) == warnings
    log.kept["certified/2"] = transition
    report = judge(world, level="certified")
    assert not [one for one in report.problems if one.log == "test/centre/1"]
    assert not [one for one in report.warnings if "was not read" in one or "certified/2" in one]


def test_a_bit_flipped_in_a_note_never_certifies_more() -> None:
    """In any line of any kept note: both verifiers say the same, and never that more is certified."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    log.kept["certified/2"] = log.cosigned([*new, "centre", "sport", "port"])
    write(log)
    log.kept["checkpoint.certified"] = log.cosigned([*new, "centre"])
    files, dice = world.tree(), random.Random(6)
    whole = agreed(files, world.ledger_id, "certified")
    sizes = {one["origin"]: one["certified_size"] for one in whole["logs"]}
    assert sizes["test/centre/1"] == log.state.size
    for _ in range(60):
        name = f"log/centre/1/{dice.choice(sorted(log.kept))}"
        spoiled = bytearray(files[name])
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        report = agreed(files | {name: bytes(spoiled)}, world.ledger_id, "certified")
        assert all(one["certified_size"] <= sizes[one["origin"]] for one in report["logs"])


def test_a_note_under_another_version_is_no_transition_whatever_its_file_is_called() -> None:
    """A certified note of version 1 in the file of version 2 certifies what it certifies, and no more."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    early = log.cosigned(FOUR, 3)
    write(log)
    log.kept = {"certified/2": early, "checkpoint.certified": log.cosigned([*new, "centre"])}
    report = judge(world)
    assert {one.agency: one.certified_size for one in report.logs}["centre"] == 3
    assert any("certified/2 is not the first certified" in one for one in report.warnings)


def test_a_dossier_carries_what_certifies_its_logs(tmp_path: Path) -> None:
    """Kept notes are members like all others, in order of name, and each is read."""
    world = replaced(2)
    log = world.logs["centre"]
    new = [name for name in world.roster.agencies if name not in FOUR]
    log.kept["certified/2"] = log.cosigned([*new, "centre", "sport", "port"])
    write(log)
    log.kept["checkpoint.certified"] = log.cosigned([*new, "centre"])
    members = dict(dossier.members_of(MemorySource(world.tree()), world.ledger_id))
    assert members == world.tree()
    dossier.write(tmp_path / "d.zip", members.items())
    report = verify(open_path(tmp_path / "d.zip"), world.ledger_id)
    assert {one.agency: one.certified_size for one in report.logs}["centre"] == log.state.size
    assert not [one for one in report.warnings if "certified" in one]


def test_behind_an_adopt_that_is_not_in_hand_nothing_is_certified() -> None:
    """Nobody knows whose quorum would count there; what lies before it stays certified."""
    world = world_of()
    log = world.logs["sport"]
    log.kept["checkpoint.certified"] = log.cosigned(FOUR)
    before = log.state.size
    world.next_roster({**world.root_names, "union": "union root"})
    adopt(log)
    del world.versions[1:]
    world.logs.pop("union")
    lines = {one.agency: one for one in judge(world).logs}
    assert lines["sport"].certified_size == before
    log.kept["checkpoint.certified"] = log.cosigned(FOUR)
    lines = {one.agency: one for one in judge(world).logs}
    assert lines["sport"].certified_size == 0


def test_an_ended_log_is_certified_up_to_its_end() -> None:
    """What its agency writes beyond is no part of it, so level certified does not ask for it."""
    world = world_of()
    log = world.logs["port"]
    end = log.end()
    world.next_roster({name: f"{name} root" for name in FOUR if name != "port"}, ends={"port": end})
    stay = [name for name in FOUR if name != "port"]
    for name in stay:
        adopt(world.logs[name])
        world.logs[name].kept["checkpoint.certified"] = world.logs[name].cosigned(stay)
    write(log)
    for size in (None, end.head.size):
        log.kept["checkpoint.certified"] = log.cosigned(FOUR, size)
        report = judge(world, level="certified")
        assert report.verdict == "verified"
        line = {one.agency: one for one in report.logs}["port"]
        assert (line.size, line.certified_size) == (end.head.size + 1, end.head.size)
    log.kept["checkpoint.certified"] = log.cosigned(FOUR, end.head.size - 1)
    assert judge(world, level="certified").verdict == "incomplete"


def test_thousands_of_adopts_are_folded_in_linear_time_and_found_at_once() -> None:
    """An agency decides how many adopts an auditor has to fold."""
    log = world_of(AGENCIES).logs["sport"]
    pins = log.pins()
    for number in range(3000):
        bumped = {name: (number + 2, bytes(32)) for name in pins}
        log.leaves.append(log.leaf(adopting(log, cards=bumped)))
        log.state = replace(log.state, head=leaf_hash(log.leaves[-1]))
    log.rebuild()
    authority = log.state.authority
    assert len(authority.adopts) == 3002
    assert authority.standing(1000).adopts[-1].place == Place(1, 999)
    assert [one.place for one in authority.standing(2000).terms()] == [Place(1, 1999)]


def test_notes_are_found_by_their_text_alone() -> None:
    """`uncounted` names every line that no rule counts."""
    world = world_of()
    log = world.logs["sport"]
    signed: Note = parse_note(log.cosigned(["sport", "centre", "stranger"], keys={"centre": "centre log"}))
    names = certify.uncounted(signed, log.state.authority, cards(world))
    assert names == ["test/centre/witness", "test/stranger/witness"]
