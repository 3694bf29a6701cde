"""Cosignatures that a node keeps, what they certify, and what others put on a note in vain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.card_entries import parse_card_entries
from ledger.certify import is_certified, is_certified_by_cards
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import cosign
from ledger.errors import LedgerError, Unproven
from ledger.names import Origin
from ledger.note import NOTE_BYTES_MAX, Note, NoteVerifier, SignatureLine, parse_note
from ledger.roster import format_roster, parse_roster, quorum_of
from ledger.statute import default_statute_json
from ledger.verify import verify
from node import certification, handlers, log_store
from node.database import Database, Schema
from node.log_store import COSIGNED_SIZES_MAX, LogStore
from node.protocol import Request
from node.static_tree import COSIGNATURES_MAX
from tests.test_log_store import make_leaf
from tests.test_witness import rotate
from tests.witnesses import NOW_S, Ledger, ledger, names_on
from tests.world import HOUR, MemorySource, key

FOUR = ("district", "sport", "centre", "north")
ORIGIN = "test/district/1"


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Ledger]:
    with ledger(tmp_path) as made:
        yield made


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Ledger]:
    """q = 3 of 4: the owner and two witnesses."""
    with ledger(tmp_path, FOUR) as made:
        assert quorum_of(4) == 3
        yield made


def file(made: Ledger, at: str, name: str) -> bytes | None:
    return made.nodes[at].tree.read(f"log/district/1/{name}")


def line(note: bytes, name: str, secret: str = "", at: int = NOW_S) -> bytes:
    """A cosignature line that a liar can make."""
    text = parse_note(note).text
    return f"{cosign(text, f'test/{name}/witness', key(secret or f'{name} witness'), at)}\n".encode()


def newest(made: Ledger) -> bytes:
    note = made.nodes["district"].store.newest_checkpoint(ORIGIN)
    assert note is not None
    return note


def tree_of(made: Ledger, at: str) -> MemorySource:
    """The whole static tree of a node, as an auditor reads it."""

    class Tree(MemorySource):
        def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
            data = made.nodes[at].tree.read(path)
            return None if data is None else data[offset:]

        def names(self) -> list[str] | None:
            return None

    return Tree({})


def test_a_quorum_certifies_and_everybody_shows_it(three: Ledger) -> None:
    """The owner gathers, mirrors take it from the owner's tree, the offline verifier agrees."""
    assert file(three, "district", "checkpoint.certified") is None
    for owner in three.nodes:
        assert three.certify(owner) == 2
    three.mirror_all()
    for name in three.nodes:
        assert [three.certified(owner, name) for owner in three.nodes] == [2, 2, 2]
        report = verify(tree_of(three, name), three.nodes[name].ledger_id, level="certified")
        assert report.verdict == "verified" and report.warnings == ()
        assert [log.certified_size for log in report.logs] == [2, 2, 2]
    shown, certified = file(three, "sport", "checkpoint"), file(three, "sport", "checkpoint.certified")
    assert shown is not None and certified is not None
    assert names_on(shown)[:3] == [ORIGIN, "test/sport/witness", "test/district/witness"]
    assert sorted(names_on(shown)) == sorted(names_on(certified)) and len(names_on(certified)) == 4


def test_below_the_quorum_nothing_is_certified(four: Ledger) -> None:
    """Two of three needed: shown on the checkpoint, and no more."""
    assert four.ask("district", "sport").status == 200
    assert four.certified("district") == 0
    assert four.ask("district", "centre").status == 200
    assert four.certified("district") == 2


def test_a_late_cosignature_joins_the_certified_checkpoint(four: Ledger) -> None:
    """`checkpoint.certified` carries all that came."""
    four.certify("district")
    certified = file(four, "district", "checkpoint.certified")
    assert certified is not None and len(names_on(certified)) == 5


def test_a_witness_that_signs_twice_counts_once(four: Ledger) -> None:
    """Below the quorum: two stamps of one key, or its key under another's name, are one voice."""
    note = newest(four)
    flood = note + b"".join(
        [
            line(note, "district"),
            line(note, "sport"),
            line(note, "sport", at=NOW_S + 1),
            line(note, "centre", "sport witness"),
            line(note, "north", "sport witness"),
        ]
    )
    assert four.nodes["district"].certification.take(flood)
    assert four.certified("district") == 0
    assert four.nodes["district"].certification.take(note + line(note, "north"))
    assert four.certified("district") == 2


def test_witnesses_above_the_quorum_that_sign_two_histories_split_nobody_who_holds_one(four: Ledger) -> None:
    """Even a full false quorum on other leaves is refused by whoever holds these."""
    forged = sign_checkpoint(Checkpoint(origin=ORIGIN, size=2, root=b"\1" * 32), key("district log"))
    quorum = forged + b"".join(line(forged, name) for name in FOUR)
    for node in four.nodes.values():
        with pytest.raises(Unproven, match="two histories"):
            node.certification.take(quorum)
        assert node.store.certified_size(ORIGIN) == 0 and node.store.cosignatures(ORIGIN, 2) == []


def test_a_flood_of_lines_leaves_nothing(three: Ledger) -> None:
    """Unknown names, bad lines of known keys, good lines on another text: none is kept, none is shown."""
    note = newest(three)
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=b"\1" * 32), key("district log"))
    strangers = b"".join(line(note, f"stranger-{number}") for number in range(300))
    bad = line(other, "sport") * 500
    assert not three.nodes["centre"].certification.take(note + strangers + bad)
    assert three.nodes["centre"].store.cosignatures(ORIGIN, 2) == []
    too_many = note + "— a AAAAAAAA\n".encode() * 10_000
    with pytest.raises(LedgerError):
        three.nodes["centre"].certification.take(too_many)
    with pytest.raises(LedgerError):
        three.nodes["centre"].certification.take(note + b"x" * NOTE_BYTES_MAX)


def test_a_flood_of_lines_costs_two_checks_a_key(three: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad lines of a key that counts are not tried for ever."""
    note = newest(three)
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=b"\1" * 32), key("district log"))
    tried: list[str] = []

    def is_good(text: str, one: SignatureLine, verifier: NoteVerifier) -> bool:
        tried.append(one.name)
        return False

    monkeypatch.setattr(certification, "is_good", is_good)
    three.nodes["centre"].certification.take(note + line(other, "sport") * 200 + line(other, "centre") * 200)
    assert sorted(tried) == ["test/centre/witness"] * 2 + ["test/sport/witness"] * 2


def test_unasked_no_other_history_and_no_older_checkpoint_is_cosigned(three: Ledger) -> None:
    """What was cosigned of a log binds where no proof is asked for, too."""
    node, older = three.nodes["sport"], newest(three)
    three.append("district", three.agencies["district"].grant())
    three.mirror("sport", "district")
    assert node.witness.cosign_held(newest(three), NOW_S)
    latest = node.witness.latest(ORIGIN)
    assert not node.witness.cosign_held(older, NOW_S)
    assert node.witness.latest(ORIGIN) == latest
    three.append("district", three.agencies["district"].enrol("anna"))
    three.mirror("sport", "district")
    with node._database.transaction():
        node._database.write("DROP TRIGGER cosigned_never_back")
        node._database.write("UPDATE cosigned SET root = ? WHERE origin = ?", (bytes(32), ORIGIN))
    with pytest.raises(Unproven, match="no part of the leaves"):
        node.witness.cosign_held(newest(three), NOW_S)
    assert node.witness.latest(ORIGIN).size == latest.size


def test_a_mirror_passes_on_no_line_that_it_did_not_judge(three: Ledger) -> None:
    """What it shows of another's log is the log's signature and good cosignatures."""
    three.append("district", three.agencies["district"].grant())
    note = newest(three)
    honest = three.nodes["district"].tree.published(Origin("test", "district"))
    assert honest is not None
    shown_with_more = note + line(note, "stranger") + line(note, "sport")
    three.nodes["district"].tree._published[ORIGIN] = (shown_with_more, honest[1])
    three.mirror("centre", "district")
    shown = file(three, "centre", "checkpoint")
    assert shown is not None and names_on(shown) == [ORIGIN, "test/sport/witness"]
    assert three.nodes["centre"].store.newest_checkpoint(ORIGIN) == note


def test_a_retired_key_counts_no_more_however_old_its_stamp(four: Ledger) -> None:
    """Above the adopt that pins the new key, a back-dated line of the old one is not even kept."""
    rotate(four, "sport", others=("district", "centre", "north"))
    note = newest(four)
    lines = [line(note, "district"), line(note, "sport", at=NOW_S - 10**6), line(note, "centre")]
    four.nodes["district"].certification.take(note + b"".join(lines))
    size = parse_checkpoint(parse_note(note).text).size
    assert four.certified("district") == 0
    kept = four.nodes["district"].store.cosignatures(ORIGIN, size)
    assert [one.split()[1] for one in kept] == ["test/centre/witness", "test/district/witness"]
    whole = parse_note(note + b"".join(lines))
    state = four.nodes["centre"].states()[ORIGIN]
    assert not is_certified(whole, state.authority, four.nodes["centre"].certification.cards())


def test_a_later_roster_version_needs_its_transition(tmp_path: Path) -> None:
    """The first certified checkpoint under it is kept, served, taken by mirrors, and counts what follows."""
    with ledger(tmp_path) as made:
        assert made.certify("district") == 2
        adopt_second_roster(made)
        assert file(made, "district", "certified/2") is None
        size = made.certify("district")
        assert size == made.nodes["district"].sequencer.state.size
        transition = file(made, "district", "certified/2")
        assert transition is not None and transition == file(made, "district", "checkpoint.certified")
        made.append("district", made.agencies["district"].grant())
        made.mirror_all()
        made.flight("district")
        assert made.certify("district") == size + 1
        assert file(made, "district", "certified/2") == transition
        made.mirror("sport", "district")
        assert file(made, "sport", "certified/2") == transition
        assert made.certified("district", "sport") == size + 1
        assert file(made, "sport", "certified/3") is None


def test_what_came_before_its_transition_counts_once_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that shows the newest first, then the transition: nothing has to be sent again."""
    with ledger(tmp_path) as made:
        made.certify("district")
        adopt_second_roster(made)
        made.certify("district")
        transition = file(made, "district", "certified/2")
        made.append("district", made.agencies["district"].grant())
        made.mirror("sport", "district")
        made.mirror("centre", "district")
        made.certify("district")
        newest = file(made, "district", "checkpoint.certified")
        assert transition is not None and newest is not None and transition != newest
        node, size = made.nodes["sport"], parse_checkpoint(parse_note(newest).text).size
        with node._database.transaction():
            for table in ("certified", "transition", "cosignature"):
                node._database.write(f"DELETE FROM {table}")

        def with_transition(note: Note, *rest: Any) -> bool:
            """As if the newest lacked the old quorum, which only the transition has."""
            return is_certified(note, *rest) and (note.text == parse_note(transition).text or 2 in rest[2])

        monkeypatch.setattr(certification, "is_certified", with_transition)
        node.certification.take(newest)
        assert made.certified("district", "sport") == 0
        node.certification.take(transition)
        assert made.certified("district", "sport") == size
        assert file(made, "sport", "certified/2") == transition


def adopt_second_roster(made: Ledger) -> None:
    """Every node starts again with version 2 in hand, and its desk adopts it."""
    world = next(iter(made.agencies.values())).world
    raw = format_roster(
        ledger="test",
        agencies=world.roster.agencies,
        statute=default_statute_json(),
        version=2,
        before=world.roster.hash,
        sunset=40_000,
    )
    signatures = world.sign_roster(parse_roster(raw), agencies=list(world.roster.agencies))
    for name, agency in made.agencies.items():
        (agency.directory / "roster" / "2.json").write_bytes(raw)
        (agency.directory / "roster" / "2.note").write_bytes(signatures)
        made.restart(name)
    made.pin_all()
    for node in made.nodes.values():
        assert node.sequencer.state.authority.roster == parse_roster(raw)


def test_cosignatures_on_leaves_not_held_wait(three: Ledger) -> None:
    """A note beyond what is here is no error, and nothing of it is kept."""
    three.append("district", three.agencies["district"].grant())
    note = newest(three)
    assert not three.nodes["centre"].certification.take(note + line(note, "sport"))
    assert three.nodes["centre"].store.cosignatures(ORIGIN, 3) == []


def test_a_note_that_its_log_did_not_sign_is_refused(three: Ledger) -> None:
    """Lines are not looked at."""
    forged = sign_checkpoint(parse_checkpoint(parse_note(newest(three)).text), key("thief"))
    with pytest.raises(Unproven):
        three.nodes["centre"].certification.take(forged + line(forged, "sport"))


def test_an_owner_takes_cosignatures_from_any_copy(three: Ledger) -> None:
    """A witness that only others can reach: what it cosigned comes back on their copies."""
    for witness in ("sport", "centre"):
        state = three.nodes[witness].witness
        note = newest(three)
        assert state.cosign_held(note, NOW_S)
    for copy in ("sport", "centre"):
        shown = file(three, copy, "checkpoint")
        assert shown is not None
        three.nodes["district"].certification.take(shown)
    three.flight("district")
    assert three.certified("district") == 2


def test_nodes_that_never_meet_certify_by_files(three: Ledger) -> None:
    """Who was loaded a copy cosigns it unasked; its own copy carries that back, in whatever order."""
    for owner in three.nodes:
        three.flight(owner)
    by_wrong_clock, *twice = ((HOUR - 5) * 3600, NOW_S, NOW_S)
    for node in three.nodes.values():
        origins = [mirror.origin for mirror in node.mirrors.values()]
        for now_s, size in ((by_wrong_clock, 0), *((now_s, 2) for now_s in twice)):
            for origin in origins:
                node.cosign_newest(origin, now_s)
            assert [node.witness.latest(str(origin)).size for origin in origins] == [size, size]
    for copy in ("sport", "centre"):
        shown = file(three, copy, "checkpoint")
        assert shown is not None
        three.nodes["district"].certification.take(shown)
    assert three.certified("district") == 2


def test_receipts_become_certified(three: Ledger) -> None:
    """Under the newest checkpoint at first, under the certified one once that covers the entry."""
    agency = three.agencies["district"]
    grant = agency.grant()
    three.append("district", grant)
    entry_id = grant.entry.header.entry_id

    def receipt() -> bytes:
        found = three.nodes["district"].sequencer.receipt(entry_id)
        assert found is not None
        return found

    assert b"/witness" not in receipt()
    three.mirror_all()
    three.certify("district")
    certified = receipt()
    assert certified.count(b"/witness ") == 3
    three.append("district", agency.enrol("anna"))
    assert receipt() == certified


def test_a_certified_checkpoint_beyond_the_published_one_is_not_shown(three: Ledger) -> None:
    """A reader never meets a certified size above the size."""
    three.certify("district")
    node = three.nodes["district"]
    opening = Checkpoint(origin=ORIGIN, size=1, root=bytes(32))
    node.tree._published[ORIGIN] = (sign_checkpoint(opening, key("district log")), opening)
    assert file(three, "district", "checkpoint.certified") is None


def test_the_card_entries_are_those_that_the_log_pins(three: Ledger) -> None:
    """Whoever has the roster believes them, and the receipts that they certify."""
    node = three.nodes["district"]
    response = handlers.answer(node, Request(method="GET", path="/v1/cards"), HOUR)
    assert (response.status, response.content_type) == (200, "application/msgpack")
    cards = parse_card_entries(response.body, node.rosters[0], node.ledger_id)
    assert sorted(cards) == ["centre", "district", "sport"]
    three.certify("district")
    certified = file(three, "district", "checkpoint.certified")
    assert certified is not None
    by_agency = {name: one.card for name, one in cards.items()}
    assert is_certified_by_cards(parse_note(certified), node.rosters[0], by_agency)
    assert not is_certified_by_cards(parse_note(newest(three)), node.rosters[0], by_agency)


def test_only_the_newest_lines_of_a_witness_are_kept(tmp_path: Path) -> None:
    """However many sizes it cosigns: the store stays small."""
    with Database(tmp_path / "log.db", [log_store.SCHEMA]) as database:
        store = LogStore(database)
        with database.transaction():
            for size in range(1, 40):
                store.put_cosignature("a/b/1", size, "w", b"1234", f"line {size}")
            store.put_cosignature("a/b/1", 39, "w", b"1234", "another at that size")
        assert store.last_cosignature("a/b/1", "w", b"1234") == 39
        assert store.cosignatures("a/b/1", 39) == ["line 39"]
        rows = database.rows("SELECT size FROM cosignature ORDER BY size")
        assert [row[0] for row in rows] == list(range(40 - COSIGNED_SIZES_MAX, 40))


def test_a_database_of_the_version_before_is_brought_up(tmp_path: Path) -> None:
    """Its leaves and checkpoints are there, and cosignatures can be kept."""
    old = Schema(part="log", steps=log_store.SCHEMA.steps[:1])
    path = tmp_path / "log.db"
    with Database(path, [old]) as database:
        store = LogStore(database)
        with database.transaction():
            store.append("a/b/1", [make_leaf(0)])
            store.put_checkpoint("a/b/1", b"note", 1, bytes(32))
    with Database(path, [log_store.SCHEMA]) as database:
        store = LogStore(database)
        assert store.size("a/b/1") == 1 and store.newest_checkpoint("a/b/1") == b"note"
        assert store.certified_size("a/b/1") == 0 and store.transitions("a/b/1") == {}
        with database.transaction():
            store.put_certified("a/b/1", b"certified", 1, bytes(32))
            store.put_transition("a/b/1", 2, b"first")
            store.put_transition("a/b/1", 2, b"second")
        assert store.certified_checkpoint("a/b/1") == b"certified"
        assert store.transition("a/b/1", 2) == b"first" and store.transition("a/b/1", 3) is None


def test_a_checkpoint_shows_fifteen_cosignatures_this_nodes_first(tmp_path: Path) -> None:
    """C2SP readers must take sixteen lines; of many more they still see this node's word and the owner's."""
    names = tuple(f"a{number:02}" for number in range(18))
    with ledger(tmp_path, names) as made:
        made.certify("a00")
        made.mirror("a17", "a00")
        for at in ("a00", "a17"):
            shown = made.nodes[at].tree.read("log/a00/1/checkpoint")
            certified = made.nodes[at].tree.read("log/a00/1/checkpoint.certified")
            assert shown is not None and certified is not None
            assert len(names_on(shown)) == COSIGNATURES_MAX + 1 and len(names_on(certified)) > quorum_of(18)
            assert names_on(shown)[1] == f"test/{at}/witness"
            assert "test/a00/witness" in names_on(shown)[:3]
