"""The stranger's verifier, written from docs/FORMAT.md, against ours: the same verdict on everything.

Compared are the verdict, the set of (code, log, index, fault), the logs' lines and the counts: what the
document calls agreement, and whose fault it is.
"""

from __future__ import annotations

import ast
import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import note
from ledger.cosignature import cosign
from ledger.errors import Malformed
from ledger.governance import Card, Revoke
from ledger.leaf import parse_leaf
from ledger.names import Head, Place
from ledger.report import Level, Report, problem_report
from ledger.roster import Ends, format_roster, parse_roster
from ledger.statute import default_statute_json
from ledger.verify import verify
from node import dossier, sources
from tests import format_example, stranger, stranger_bytes
from tests.world import DAY, HOUR, MemorySource, World, key, record

MODULES = tuple(f"stranger{part}" for part in ("", "_bytes", "_roster", "_log", "_tree", "_eras"))
FLIPS = 150
Files = dict[str, bytes]


def facts(report: Report) -> dict[str, Any]:
    """Our report in the stranger's form."""
    value = report.value()
    keys = ("origin", "size", "root", "certified_size")
    return {
        "verdict": value["verdict"],
        "logs": [{name: log[name] for name in keys} for log in value["logs"]],
        "entries": value["entries"],
        "records": value["records"],
        "held": value["bodies"]["held"],
        "withheld": value["bodies"]["withheld"],
        "problems": {(one["code"], one["log"], one["index"], one["fault"]) for one in value["problems"]},
    }


def agreed(files: Files, ledger_id: bytes, level: Level = "leaf") -> dict[str, Any]:
    """What both verifiers say of these files."""
    ours = facts(verify(MemorySource(files), ledger_id, level=level))
    assert stranger.verify(files, ledger_id, level) == ours
    return ours


def codes(report: dict[str, Any]) -> set[str]:
    """The rules broken."""
    return {code for code, *_ in report["problems"]}


def rich() -> World:
    """A world whose logs hold private entries, a revocation, a second card and adopt."""
    world = World()
    for log in world.logs.values():
        log.take(log.leaf(log.private([record("notice", subject=log.agency)])))
    log = world.logs["centre"]
    first = log.state.authority.cards[0].hash
    card = log.card(
        number=2,
        before=first,
        registrar_keys=(log.key("second").public_key,),
        void_from={log.key("registrar").public_key: Place(1, 2)},
    )
    log.take(log.leaf(log.entry([card]), hour=HOUR + 1))
    pins = {name: (1, world.logs[name].state.authority.cards[0].hash) for name in ("district", "sport")}
    log.take(log.leaf(log.entry([log.adopt(cards=pins)], by="desk"), hour=HOUR + 2))
    log.take(log.leaf(log.entry([revoke(log, "x")], by="second"), hour=HOUR + 2))
    return world


def revoke(log: Any, name: str) -> Revoke:
    return Revoke(key=log.key(name).public_key, suspect_from=Place(1, 1))


def certified(world: World, cosigners: tuple[str, ...]) -> Files:
    """The files, with cosignatures under the checkpoint of the centre's log."""
    files = world.tree()
    checkpoint = note.parse_note(world.logs["centre"].checkpoint())
    lines = [note.format_line(line) for line in checkpoint.lines]
    for name in cosigners:
        witness = key(f"{name} witness")
        lines.append(cosign(checkpoint.text, f"test/{name}/witness", witness, 1_700_000_000))
    files["log/centre/1/checkpoint.certified"] = note.format_note(checkpoint.text, lines)
    return files


@pytest.mark.parametrize("module", MODULES)
def test_the_stranger_imports_nothing_of_ours(module: str) -> None:
    """It would prove nothing if it did."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {one.module for one in imports if isinstance(one, ast.ImportFrom) and one.module}
    names |= {alias.name for one in imports if isinstance(one, ast.Import) for alias in one.names}
    assert not {name.split(".")[0] for name in names} & {"ledger", "node", "cli"}
    assert {name for name in names if name.startswith("tests")} <= {f"tests.{one}" for one in MODULES}


@pytest.mark.parametrize("world", [World, rich])
def test_a_whole_ledger_is_verified(world: Callable[[], World]) -> None:
    """Untouched files hold for both."""
    made = world()
    assert agreed(made.tree(), made.ledger_id)["verdict"] == "verified"


def test_the_example_of_the_document_is_verified() -> None:
    """Section 18 says what the verdict is."""
    example = format_example.Example()
    report = agreed(example.files, example.roster.hash)
    assert (report["verdict"], report["entries"], report["records"]) == ("verified", 3, 7)
    assert (report["held"], report["withheld"], report["logs"][0]["certified_size"]) == (3, 4, 0)


def test_the_presentation_of_the_example_shows_its_record() -> None:
    """And a presentation with any one byte changed shows nothing else."""
    example = format_example.Example()
    log_key = format_example.key("log").public_key
    shown = stranger.check_presentation(example.presentation, example.roster.hash, log_key)
    assert (shown["kind"], shown["fields"]) == ("notice", example.record.fields)
    for at in range(0, len(example.presentation), 7):
        spoiled = bytearray(example.presentation)
        spoiled[at] ^= 1
        try:
            assert stranger.check_presentation(bytes(spoiled), example.roster.hash, log_key) == shown
        except stranger_bytes.Bad:
            continue


def test_three_cosigners_certify_and_two_do_not() -> None:
    """The quorum of three agencies is three."""
    world = rich()
    agencies = ("centre", "district", "sport")
    for count, size in ((3, world.logs["centre"].state.size), (2, 0)):
        report = agreed(certified(world, agencies[:count]), world.ledger_id, "certified")
        assert report["logs"][0]["certified_size"] == size
        assert codes(report) == {"log.level"}


def test_an_entry_of_a_revoked_author_is_named() -> None:
    """A revocation stops what comes after it."""
    world = World()
    log = world.logs["centre"]
    log.take(log.leaf(log.entry([revoke(log, "clerk")], by="registrar")))
    log.append(log.leaf(log.private([record("notice")])))
    report = agreed(world.tree(), world.ledger_id)
    assert report["problems"] == {("author.revoked", "test/centre/1", 3, "owner")}


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("entry.agency", {"agency": "sport"}),
        ("entry.ledger", {"ledger_id": bytes(32)}),
        ("author.unknown", {"by": "stranger"}),
        ("author.office", {"by": "root"}),
    ],
)
def test_an_entry_that_does_not_belong_is_named(rule: str, options: dict[str, Any]) -> None:
    """Of another agency, another ledger, nobody's, or of a key that writes no private entries."""
    world = World()
    log = world.logs["centre"]
    log.append(log.leaf(log.private([record("notice")], **options)))
    assert codes(agreed(world.tree(), world.ledger_id)) == {rule}


@pytest.mark.parametrize(("rule", "hours"), [("author.early", -24 * 11), ("author.late", 24 * 301)])
def test_an_entry_outside_of_its_grant_is_named(rule: str, hours: int) -> None:
    """Both days of a grant are included, and no other."""
    world = World(opened=False)
    log = world.logs["centre"]
    log.take(log.leaf(log.opening(), hour=HOUR - 24 * 20))
    log.take(log.leaf(log.entry([log.grant()], by="registrar"), hour=HOUR - 24 * 20))
    log.append(log.leaf(log.private([record("notice")]), hour=HOUR + hours))
    report = agreed(
        {name: data for name, data in world.tree().items() if "/1/" not in name or "centre" in name},
        world.ledger_id,
    )
    assert rule in codes(report)


def test_staff_write_nothing_after_the_sunset() -> None:
    """The day itself is still allowed."""
    for sunset, expected in ((DAY, set()), (DAY - 1, {"entry.sunset"})):
        world = World(sunset=sunset)
        log = world.logs["centre"]
        log.append(log.leaf(log.private([record("notice")])))
        assert codes(agreed(world.tree(), world.ledger_id)) == expected


def test_a_repeated_entry_and_a_falling_hour_are_named() -> None:
    """Even where the first of the two leaves was broken."""
    world = World()
    log = world.logs["centre"]
    entry = log.private([record("notice")], agency="sport")
    log.append(log.leaf(entry, hour=HOUR + 2))
    log.append(log.leaf(entry, hour=HOUR + 1))
    report = agreed(world.tree(), world.ledger_id)
    assert codes(report) == {"entry.agency", "entry.repeated", "leaf.hour"}


def test_the_roster_with_one_signature_less_is_refused() -> None:
    """Version 1 is signed by every root key."""
    world = World()
    files = world.tree()
    files["roster/1.note"] = world.sign_roster(world.roster, ["centre", "district"])
    report = agreed(files, world.ledger_id)
    assert (report["verdict"], codes(report)) == ("failed", {"roster.quorum"})


@pytest.mark.parametrize("signers", [["centre", "district"], ["centre", "sport"], ["centre"]])
def test_a_dropped_agency_has_no_vote_on_its_going(signers: list[str]) -> None:
    """The two others together drop one of three; nobody else's signature takes the place of theirs."""
    world = World()
    first = world.roster
    agencies = {name: root for name, root in first.agencies.items() if name != "sport"}
    ends = {"sport": Ends(head=Head(1, 2, world.logs["sport"].state.tree.root()), next_era=2)}
    raw = format_roster(
        ledger="test",
        agencies=agencies,
        statute=default_statute_json(),
        version=2,
        before=first.hash,
        recovery_key=key("recovery").public_key,
        ends=ends,
    )
    second = parse_roster(raw)
    files = world.tree() | {"roster/2.json": raw, "roster/2.note": world.sign_roster(second, signers)}
    expected = set() if signers == ["centre", "district"] else {"roster.quorum"}
    assert codes(agreed(files, world.ledger_id)) == expected


def test_an_adopt_of_an_unknown_version_leaves_the_rest_undecided() -> None:
    """Not invalid: something named by hash is not in hand."""
    world = World()
    log = world.logs["centre"]
    log.append(log.leaf(log.entry([log.adopt(version=2, hash=bytes(32))], by="desk")))
    log.append(log.leaf(log.private([record("notice")])))
    report = agreed(world.tree(), world.ledger_id)
    assert (report["verdict"], codes(report)) == ("incomplete", {"adopt.undecided"})


def test_any_file_missing_is_named() -> None:
    """Each in turn."""
    world = rich()
    files = certified(world, ("centre", "district", "sport"))
    for gone in files:
        report = agreed(
            {name: data for name, data in files.items() if name != gone}, world.ledger_id, "certified"
        )
        assert report["verdict"] == "incomplete"


def test_files_swapped_between_logs_are_named() -> None:
    """A checkpoint, bundle, tile or vkey of another log is not this log's."""
    world = rich()
    files = world.tree()
    for name in [name for name in files if name.startswith("log/district/")]:
        other = name.replace("district", "sport")
        swapped = files | {name: files[other], other: files[name]}
        assert agreed(swapped, world.ledger_id)["verdict"] == "failed"


def test_flipped_bits_of_a_tree_are_judged_alike() -> None:
    """In any file; no flip leaves the files verified."""
    world = rich()
    files = world.tree()
    dice = random.Random(20260904)
    for _ in range(FLIPS):
        name = dice.choice(sorted(files))
        spoiled = bytearray(files[name])
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        assert agreed(files | {name: bytes(spoiled)}, world.ledger_id)["verdict"] != "verified"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_flipped_bits_of_a_dossier_are_judged_alike(tmp_path: Path) -> None:
    """Headers, directory and end of the ZIP too. (A ZIP that is refused leaves its file to the collector.)"""
    world = World()
    path = tmp_path / "dossier.zip"
    dossier.write(path, sorted(world.tree().items()))
    whole = path.read_bytes()
    assert stranger.verify(whole, world.ledger_id)["verdict"] == "verified"
    dice = random.Random(4)
    places = [dice.randrange(len(whole)) for _ in range(FLIPS // 2)]
    places += [len(whole) - 1 - dice.randrange(2500) for _ in range(FLIPS // 2)]
    for at in places:
        spoiled = bytearray(whole)
        spoiled[at] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        ours = facts(_verify_zip(path, world.ledger_id))
        assert stranger.verify(bytes(spoiled), world.ledger_id) == ours
        assert ours["verdict"] == "failed"
    gc.collect()


def test_a_log_of_two_tile_levels_is_judged_alike() -> None:
    """300 leaves: a full tile, a partial one, and one above."""
    world = World()
    log = world.logs["centre"]
    for number in range(298):
        log.append(log.leaf(log.private([record("notice", number=number)], number=number)))
    files = world.tree()
    assert agreed(files, world.ledger_id)["verdict"] == "verified"
    tile = "log/centre/1/tile/1/000.p/1"
    assert codes(agreed(files | {tile: bytes(32)}, world.ledger_id)) == {"tile.content"}
    bundle = "log/centre/1/tile/entries/000"
    short = agreed(files | {bundle: files[bundle][:-1]}, world.ledger_id)
    assert short["problems"] == {("bundle.form", "test/centre/1", 255, "bundle")}


def test_the_stranger_reads_the_same_card() -> None:
    """One object compared field by field, as a control that the comparison compares anything."""
    world = World()
    raw = parse_leaf(world.logs["centre"].leaves[0])
    cards = [card for card in map(_stranger_body, raw.entry.bodies) if card["kind"] == Card.kind]
    placed = world.logs["centre"].state.authority.cards[0]
    assert [card["record_hash"] for card in cards] == [placed.hash]
    assert cards[0]["log_key"] == placed.card.log_key


def _stranger_body(body: bytes) -> dict[str, Any]:
    from tests.stranger_log import parse_body

    return parse_body(body)


def _verify_zip(path: Path, ledger_id: bytes) -> Report:
    """As the command does."""
    try:
        return verify(sources.open_path(path), ledger_id)
    except Malformed as error:
        return problem_report(ledger_id, "zip.layout", str(error))
