"""ledger.verify: whatever was done to a dossier, it is never accepted as the same facts.

The world here has a statute of one kind (a roster of a few kB), so that every byte can be changed in turn.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nacl import signing

from ledger import note
from ledger.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import cosign
from ledger.errors import Malformed, Undecided
from ledger.governance import Revoke
from ledger.keys import verify_many
from ledger.merkle import leaf_hash
from ledger.names import Head, Place, witness_key_name
from ledger.report import PROBLEMS_MAX, Report
from ledger.roster import Ends, format_roster, parse_roster
from ledger.tiles import decode_bundle, encode_bundle
from ledger.verify import verify
from tests import plain
from tests.attacks import covers
from tests.test_roster import END, drop, names, roster, sign, small_statute, sunset
from tests.world import AGENCIES, HOUR, Log, MemorySource, World, key, record

Files = dict[str, bytes]
MEMORY_MB_MAX = 150
"""What the issue allows for 100,000 entries; some 40 are used."""


def small(agencies: tuple[str, ...] = AGENCIES, **options: Any) -> World:
    """A small world whose logs have a few entries more."""
    world = World(agencies, statute=small_statute(), **options)
    for number, log in enumerate(world.logs.values()):
        for entry in range(number + 1):
            log.take(log.leaf(log.private([record(number=entry)], number=entry)))
    return world


WORLD = small()
TREE = WORLD.tree()


def judge(files: Files, **options: Any) -> Report:
    """The report on some files."""
    report = verify(MemorySource(files), WORLD.ledger_id, **options)
    assert (report.verdict == "verified") == (not report.problems)
    json.dumps(report.value())
    return report


def codes(report: Report) -> list[str]:
    """The rules that were named."""
    return [one.violation.rule.name for one in report.problems]


def log_of(path: str) -> str:
    """The origin that a path belongs to; empty for the roster."""
    parts = path.split("/")
    return f"test/{parts[1]}/{parts[2]}" if parts[0] == "log" else ""


def test_a_whole_ledger_is_verified() -> None:
    """The control of every attack below: untouched, it verifies."""
    report = judge(TREE)
    assert report.problems == () and report.warnings == ()
    assert report.verdict == "verified"
    assert [(log.origin, log.size, log.certified_size) for log in report.logs] == [
        ("test/centre/1", 3, 0),
        ("test/district/1", 4, 0),
        ("test/sport/1", 5, 0),
    ]
    assert report.entries == 12
    assert report.records == 3 * 3 + 6 * 4
    assert report.bodies == {"held": 9, "withheld": 24, "elsewhere": 0, "erased": 0, "missing": 0}


def test_a_world_with_the_whole_default_list_is_verified() -> None:
    """The same with the list that the package ships."""
    world = World()
    assert verify(MemorySource(world.tree()), world.ledger_id).verdict == "verified"


# One byte changed


@pytest.mark.parametrize("path", sorted(set(TREE) - {"roster/1.json"}))
def test_any_byte_changed_is_seen_and_named(path: str) -> None:
    """Every byte of every file: never verified, and the first problem is of that log, at that entry."""
    data = TREE[path]
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        report = judge(TREE | {path: changed})
        assert report.verdict == "failed"
        assert {one.log for one in report.problems} == {log_of(path)}
        faults = {one.fault for one in report.problems}
        assert "bundle" in faults and faults <= {"bundle", "nobody"}, "it is the bearer's fault alone"
        index = report.problems[0].violation.index
        if "entries" in path:
            assert index == entry_at(data, at)
        elif "/tile/0/" in path:
            assert index == at // 32


def entry_at(bundle: bytes, at: int) -> int:
    """Which entry of a bundle a byte belongs to."""
    start = 0
    for index in itertools.count():
        start += 2 + int.from_bytes(bundle[start : start + 2], "big")
        if at < start:
            return index
    raise AssertionError


def test_any_byte_changed_in_the_roster_is_seen() -> None:
    """The roster is its hash: no byte of it has another value."""
    data = TREE["roster/1.json"]
    for at in range(0, len(data), 7):
        report = judge(TREE | {"roster/1.json": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]})
        assert codes(report) == ["roster.ledger_id"]
        assert [one.fault for one in report.problems] == ["bundle"]


@pytest.mark.parametrize("path", TREE)
def test_a_file_cut_short_or_lengthened_is_seen(path: str) -> None:
    """No file has bytes without meaning at its end."""
    for data in (b"", TREE[path][:-1], TREE[path] + b"\n", TREE[path] + b"\x00", TREE[path] * 2):
        report = judge(TREE | {path: data})
        assert report.verdict == "failed"
        assert report.problems[0].log == log_of(path)


@pytest.mark.parametrize("path", TREE)
def test_noise_in_place_of_a_file_is_seen(path: str) -> None:
    """Anything at all may stand in a file."""
    noise = random.Random(path)
    for size in (1, 32, len(TREE[path]), 5_000):
        assert judge(TREE | {path: noise.randbytes(size)}).verdict == "failed"
    assert judge(TREE | {path: b"\xe2\x80\x94 " * 1000}).verdict == "failed"
    assert judge(TREE | {path: b"[" * 100_000}).verdict == "failed"


# Files missing, exchanged, too many


@covers("log.missing", "roster.missing")
@pytest.mark.parametrize("path", TREE)
def test_a_missing_file_is_never_verified(path: str) -> None:
    """What is not in hand is named, and nobody is accused."""
    files = {name: data for name, data in TREE.items() if name != path}
    report = judge(files)
    assert report.verdict == "incomplete"
    assert {one.fault for one in report.problems} == {"nobody"}
    assert codes(report)[0] == ("roster.missing" if path.startswith("roster") else "log.missing")


def test_no_files_at_all_are_incomplete() -> None:
    """An empty dossier proves nothing."""
    assert judge({}).verdict == "incomplete"


@pytest.mark.parametrize(("left", "right"), list(itertools.combinations(TREE, 2)))
def test_two_files_exchanged_are_seen(left: str, right: str) -> None:
    """Between logs, or within one."""
    if TREE[left] != TREE[right]:
        assert judge(TREE | {left: TREE[right], right: TREE[left]}).verdict == "failed"


@covers("checkpoint.origin")
@pytest.mark.parametrize(("left", "right"), list(itertools.permutations(AGENCIES, 2)))
def test_a_log_in_the_place_of_another(left: str, right: str) -> None:
    """All files of one agency's log under another agency's name."""
    own, other = f"log/{left}/", f"log/{right}/"
    files = {name: data for name, data in TREE.items() if not name.startswith(own)}
    moved = {own + name.removeprefix(other): data for name, data in TREE.items() if name.startswith(other)}
    report = judge(files | moved)
    assert report.verdict == "failed"
    assert {"checkpoint.origin", "entry.agency"} <= set(codes(report))
    assert {one.fault for one in report.problems if one.log} == {"bundle"}


def test_an_older_prefix_of_a_log_is_verified_and_smaller() -> None:
    """No attack that one file can show: the size is stated, and nobody can say that none is newer."""
    younger = World(statute=small_statute()).tree()
    report = judge({name: younger.get(name, TREE[name]) for name in TREE if "sport" not in name} | younger)
    assert report.verdict == "verified"
    assert {log.agency: log.size for log in report.logs}["sport"] == 2


def test_files_that_no_verdict_rests_on_are_named() -> None:
    """A warning for each, safe to print, and a number where there are very many."""
    report = judge(TREE | {"notes\x1b[2J.txt": b"x", "log/stranger/1/checkpoint": b"y"})
    assert report.verdict == "verified"
    assert len(report.warnings) == 2 and all(text.isprintable() for text in report.warnings)
    many = judge(TREE | {f"more/{number}": b"" for number in range(3 * PROBLEMS_MAX)})
    assert len(many.warnings) == PROBLEMS_MAX + 1


class Listed(MemorySource):
    """Files with a list of names of its own, as a ZIP may have."""

    def __init__(self, files: Files, listed: list[str]) -> None:
        super().__init__(files)
        self.listed = listed

    def names(self) -> list[str] | None:
        return self.listed


@covers("tree.name")
@pytest.mark.parametrize(
    "name",
    [
        "../roster/1.json",
        "log/../../x",
        "/etc/passwd",
        "log//x",
        "log/./x",
        "log/sport/",
        "log\\sport",
        "C:x",
        "x\0y",
        "..",
        ".",
        "",
        "a/" * 5_000 + "../x",
    ],
)
def test_names_that_lead_outside_are_refused(name: str) -> None:
    """Whoever unpacks such a dossier writes where its maker wants."""
    report = verify(Listed(TREE, [*TREE, name]), WORLD.ledger_id)
    assert codes(report) == ["tree.name"]
    assert len(str(report.problems[0].violation)) < 400


def test_a_name_given_twice_is_refused() -> None:
    """Two readers would take two different files."""
    report = verify(Listed(TREE, [*TREE, *sorted(TREE)[::-1][:1]]), WORLD.ledger_id)
    assert codes(report) == ["tree.name"]


def test_deep_and_many_names_are_bounded() -> None:
    """A listing of noise becomes no report of gigabytes."""
    deep = verify(Listed(TREE, [*TREE, "a/" * 50_000 + "b"]), WORLD.ledger_id)
    assert deep.verdict == "verified" and len(deep.warnings[0]) < 300
    many = verify(Listed(TREE, [f"../{number}" for number in range(5_000)]), WORLD.ledger_id)
    assert len(many.problems) <= PROBLEMS_MAX + 10


class Limited(MemorySource):
    """A source that cannot give one file: too large, or unreadable."""

    def __init__(self, files: Files, path: str, error: Exception) -> None:
        super().__init__(files)
        self.path, self.error = path, error

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        if path == self.path:
            raise self.error
        return super().read(path, offset, bytes_max=bytes_max)


@covers("tree.limit")
@pytest.mark.parametrize("path", TREE)
def test_files_too_large_or_unreadable_are_named(path: str) -> None:
    """A bomb is a failure, a disk error is not the owner's."""
    report = verify(Limited(TREE, path, Malformed("too large")), WORLD.ledger_id)
    assert report.verdict == "failed" and "tree.limit" in codes(report)
    report = verify(Limited(TREE, path, Undecided("cannot be read")), WORLD.ledger_id)
    assert report.verdict == "incomplete"


@pytest.mark.parametrize("path", TREE)
def test_no_file_is_read_beyond_what_it_can_be(path: str) -> None:
    """Each kind of file has its bound, and it is given to whoever reads."""
    asked: dict[str, int] = {}

    class Asking(MemorySource):
        def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
            asked[path] = bytes_max
            return super().read(path, offset, bytes_max=bytes_max)

    verify(Asking(TREE), WORLD.ledger_id)
    assert asked[path] <= 20 * 1024 * 1024


# Checkpoints


def signed_checkpoint(log: Log, *, by: str = "log", **changes: Any) -> bytes:
    """A checkpoint of the log as it is not."""
    values: dict[str, Any] = {"size": log.state.size, "root": log.state.tree.root()} | changes
    return sign_checkpoint(Checkpoint(**({"origin": str(log.origin)} | values)), log.key(by))


DISTRICT = WORLD.logs["district"]
CHECKPOINT = "log/district/1/checkpoint"


@covers("checkpoint.signature")
@pytest.mark.parametrize("by", ["log 2", "root", "witness", "node", "desk", "registrar", "clerk"])
def test_a_checkpoint_signed_by_another_key_of_the_agency(by: str) -> None:
    """Another era's key, the root, the witness: only this era's log key signs its heads."""
    report = judge(TREE | {CHECKPOINT: signed_checkpoint(DISTRICT, by=by)})
    assert (report.verdict, codes(report)) == ("failed", ["checkpoint.signature"])


def test_a_checkpoint_signed_by_another_agency() -> None:
    """A neighbour cannot speak for this log, not even truly."""
    checkpoint = Checkpoint(
        origin="test/district/1", size=DISTRICT.state.size, root=DISTRICT.state.tree.root()
    )
    report = judge(TREE | {CHECKPOINT: sign_checkpoint(checkpoint, key("sport log"))})
    assert codes(report) == ["checkpoint.signature"]


@covers("checkpoint.root")
def test_a_checkpoint_whose_root_is_not_that_of_the_leaves() -> None:
    """Signed by the right key, over another history."""
    report = judge(TREE | {CHECKPOINT: signed_checkpoint(DISTRICT, root=bytes(32))})
    assert (report.verdict, codes(report)) == ("failed", ["checkpoint.root"])


@pytest.mark.parametrize("size", [0, 3, 5, 255, 256, 257, 10**6, 2**63 - 1])
def test_a_checkpoint_that_claims_another_size(size: int) -> None:
    """Nothing is believed for its length: no time, no memory, no verdict."""
    report = judge(TREE | {CHECKPOINT: signed_checkpoint(DISTRICT, size=size)})
    assert report.verdict != "verified"


@pytest.mark.parametrize("size", ["18446744073709551616", "9" * 500, "-1", "04", "4.0", "x", ""])
@covers("checkpoint.form")
def test_a_checkpoint_with_a_size_that_is_none(size: str) -> None:
    """Decimal, one form, within bounds."""
    text = f"test/district/1\n{size}\n{base64.b64encode(DISTRICT.state.tree.root()).decode()}\n"
    line = note.sign_note(text, "test/district/1", DISTRICT.key("log"))
    report = judge(TREE | {CHECKPOINT: note.format_note(text, [line])})
    assert codes(report) == ["checkpoint.form"]


@covers("checkpoint.form")
def test_a_checkpoint_with_an_extension_line() -> None:
    """A hostile owner would make his notes too large for evidence of a fork."""
    report = judge(TREE | {CHECKPOINT: signed_checkpoint(DISTRICT, extensions=("x" * 5000,))})
    assert codes(report) == ["checkpoint.form"]


@covers("vkey.differs")
def test_a_vkey_of_another_key() -> None:
    """A convenience for standard tools, and the place where a thief would put his key."""
    other = note.format_vkey(note.verifier_of("test/district/1", key("thief").public_key))
    report = judge(TREE | {"log/district/1/vkey": f"{other}\n".encode()})
    assert (report.verdict, codes(report)) == ("failed", ["vkey.differs"])


def test_a_later_era_of_noise_is_no_era() -> None:
    """Its checkpoint is none, and the log is judged as if it were not there."""
    report = judge(TREE | {"log/district/2/checkpoint": b"x"})
    assert (report.verdict, codes(report)) == ("failed", ["checkpoint.form"])


# Leaves and tiles that a dishonest owner signs


def test_an_invalid_leaf_of_a_signed_log_is_its_owners_fault() -> None:
    """Whoever signed the root answers for it; the author named in a leaf may never have seen it."""
    world = small()
    log = world.logs["district"]
    log.append(log.leaf(log.entry([log.grant("friend")], by="clerk")))
    log.append(log.leaf(log.private([record(number=9)], agency="sport")))
    report = verify(MemorySource(world.tree()), world.ledger_id)
    assert report.verdict == "failed"
    assert [(one.violation.rule.name, one.violation.index, one.fault) for one in report.problems] == [
        ("author.office", 4, "owner"),
        ("entry.agency", 5, "owner"),
    ]


@covers("bundle.form")
def test_a_bundle_that_is_none_names_the_entry_where_it_breaks() -> None:
    """A false length: the hash tile beside it says which entry was whole."""
    path = "log/district/1/tile/entries/000.p/4"
    entries = decode_bundle(TREE[path], 4)
    data = encode_bundle(entries[:2]) + (len(entries[2]) + 9).to_bytes(2, "big") + entries[2]
    report = judge(TREE | {path: data + encode_bundle(entries[3:])})
    assert (codes(report)[0], report.problems[0].violation.index) == ("bundle.form", 2)


@covers("tile.content")
def test_a_hash_tile_that_is_not_that_of_the_leaves() -> None:
    """Nobody who reads tiles only must be told another tree."""
    path = "log/district/1/tile/0/000.p/4"
    report = judge(TREE | {path: TREE[path][:96] + bytes(32)})
    assert [(code, report.problems[0].violation.index) for code in codes(report)] == [("tile.content", 3)]


def long_log() -> World:
    """A log of two full bundles and a third."""
    world = World(("sport",), statute=small_statute())
    log = world.logs["sport"]
    for number in range(520):
        log.append(log.leaf(log.private([record(number=number)], number=number), hour=HOUR + number))
    return world


LONG = long_log()
LONG_TREE = LONG.tree()


def test_every_entry_of_a_long_log_is_named_when_it_is_changed() -> None:
    """Over full and partial bundles, in the middle of each entry."""
    assert verify(MemorySource(LONG_TREE), LONG.ledger_id).verdict == "verified"
    for index in range(0, 522, 37):
        bundle = next(name for name in LONG_TREE if f"entries/{index // 256:03}" in name)
        data = bytearray(LONG_TREE[bundle])
        start = sum(len(raw) + 2 for raw in LONG.logs["sport"].leaves[index // 256 * 256 : index])
        data[start + 60] ^= 4
        report = verify(MemorySource(LONG_TREE | {bundle: bytes(data)}), LONG.ledger_id)
        assert report.verdict == "failed"
        assert report.problems[0].violation.index == index


def test_a_thousand_missing_files_do_not_hide_a_false_one() -> None:
    """Problems are bounded, but never so that a failure becomes incomplete."""
    world = World(("sport",), statute=small_statute())
    log = world.logs["sport"]
    good = log.leaves[1]
    for _ in range(PROBLEMS_MAX + 100):
        log.leaves.append(good)
    log.rebuild()
    report = verify(MemorySource(world.tree()), world.ledger_id)
    assert report.verdict == "failed"
    assert len(report.problems) == PROBLEMS_MAX
    assert "more problems" in report.warnings[-1]


def test_a_suspect_entry_is_a_warning() -> None:
    """Marked, and no verdict: validity never changes later."""
    world = small()
    log = world.logs["district"]
    revoke = Revoke(key=log.key("clerk").public_key, suspect_from=Place(1, 2))
    log.take(log.leaf(log.entry([revoke], by="registrar")))
    report = verify(MemorySource(world.tree()), world.ledger_id)
    assert report.verdict == "verified"
    assert len(report.warnings) == 1 and "suspect" in report.warnings[0]


# Rosters


def test_another_ledger_id() -> None:
    """All that an auditor knows beforehand."""
    report = verify(MemorySource(TREE), bytes(32))
    assert codes(report) == ["roster.ledger_id"]
    assert report.logs == ()


covers("roster.ledger_id")(test_another_ledger_id)


@dataclass
class Versions:
    """Roster files, with versions that do not hold."""

    files: Files
    ledger_id: bytes


def rosters(*versions: tuple[Any, bytes]) -> Versions:
    """The files of some roster versions."""
    files = {}
    for number, (version, signatures) in enumerate(versions, 1):
        files[f"roster/{number}.json"] = version if isinstance(version, bytes) else version.raw
        files[f"roster/{number}.note"] = signatures
    first = versions[0][0]
    return Versions(files, plain.sha(first if isinstance(first, bytes) else first.raw))


def judge_rosters(versions: Versions) -> list[str]:
    """The roster rules that were named."""
    report = verify(MemorySource(versions.files), versions.ledger_id)
    assert report.verdict != "verified"
    return [code for code in codes(report) if code.startswith("roster")]


@covers("roster.quorum")
def test_a_roster_version_that_too_few_signed() -> None:
    """The founding by two of three, a later version by two of three."""
    first, second = sunset(3)
    assert judge_rosters(rosters((first, sign(first, names(2))))) == ["roster.quorum"]
    good = (first, sign(first, names(3)))
    assert judge_rosters(rosters(good, (second, sign(second, names(2))))) == ["roster.quorum"]
    assert judge_rosters(rosters(good, (second, sign(second, names(3))))) == []


@covers("roster.form")
def test_a_roster_that_is_well_signed_and_no_roster() -> None:
    """The id names its bytes, and they are nothing."""
    assert judge_rosters(rosters((b"{}", b"x"))) == ["roster.form"]
    first, second = sunset(3)
    versions = rosters((first, sign(first, names(3))), (second.raw + b"}", sign(second, names(3))))
    assert judge_rosters(versions) == ["roster.form"]


@covers("roster.chain")
def test_a_roster_version_that_follows_another() -> None:
    """Skipped, grafted, or with an agency id given out again."""
    first, second = drop(4)
    signed = [(first, sign(first, names(4))), (second, sign(second, names(3)))]
    third = roster(names(3), follows=second, sunset=1)
    assert judge_rosters(rosters(signed[0], (third, sign(third, names(4))))) == ["roster.chain"]
    again = roster(names(4), follows=second)
    assert judge_rosters(rosters(*signed, (again, sign(again, names(3))))) == ["roster.chain"]
    no_end = roster(names(3), follows=first)
    assert judge_rosters(rosters(signed[0], (no_end, sign(no_end, names(3))))) == ["roster.chain"]
    assert END.next_era == 2


def test_a_roster_version_left_out_is_missed() -> None:
    """Beyond a gap nothing can be judged, and half a version is none."""
    first, second = sunset(3)
    third = roster(names(3), follows=second, sunset=29_000)
    files = rosters(*((one, sign(one, names(3))) for one in (first, second, third)))
    for lost in (["2.json", "2.note"], ["2.json"], ["2.note"], ["3.json"], ["3.note"]):
        rest = {name: data for name, data in files.files.items() if name.split("/")[1] not in lost}
        assert judge_rosters(Versions(rest, files.ledger_id)) == ["roster.missing"]


def test_a_log_that_adopted_a_roster_not_in_hand_is_undecided() -> None:
    """Not false, and not verified either; with the version in hand it is."""
    world = small()
    fields = {"ledger": "test", "agencies": world.roster.agencies, "statute": small_statute()}
    raw = format_roster(**fields, version=2, before=world.roster.hash, sunset=30_000)
    second = parse_roster(raw)
    world.rosters[second.hash] = second
    log = world.logs["district"]
    log.rebuild()
    log.take(log.leaf(log.entry([log.adopt(version=2, hash=second.hash)])))
    log.take(log.leaf(log.private([record(number=9)], number=9)))
    files = world.tree()
    report = verify(MemorySource(files), world.ledger_id)
    assert report.verdict == "incomplete"
    assert [(one.violation.rule.name, one.violation.index) for one in report.problems] == [
        ("adopt.undecided", 4),
        ("adopt.undecided", 5),
    ]
    more = {"roster/2.json": raw, "roster/2.note": world.sign_roster(second, AGENCIES)}
    assert verify(MemorySource(files | more), world.ledger_id).verdict == "verified"


# Certified


def pinning(pins: bool = True, agencies: tuple[str, ...] = AGENCIES) -> World:
    """A world whose logs have adopted again, with each other's cards pinned."""
    world = small(agencies)
    cards = {name: log.state.authority.card for name, log in world.logs.items()}
    for name, log in world.logs.items():
        others = {
            other: (1, card.hash) if pins and card else None for other, card in cards.items() if other != name
        }
        log.take(log.leaf(log.entry([log.adopt(cards=others)])))
    return world


def cosigned(log: Log, witnesses: list[str], *, secret: Callable[[str], str] = "{} witness".format) -> bytes:
    """The log's checkpoint with lines of these agencies' witnesses."""
    signed = log.checkpoint()
    text = note.parse_note(signed).text
    lines = signed.decode().removeprefix(text + "\n").splitlines()
    for number, name in enumerate(witnesses):
        lines.append(cosign(text, witness_key_name("test", name), key(secret(name)), 1_800_000_000 + number))
    return note.format_note(text, lines)


def certify(world: World, note_of: Callable[[Log], bytes], file: str = "checkpoint.certified") -> Report:
    """The report at level certified with such a file in each log."""
    files = world.tree()
    for log in world.logs.values():
        files[f"{log.origin.path}/{file}"] = note_of(log)
    return verify(MemorySource(files), world.ledger_id, level="certified")


PINNED = pinning()


@pytest.mark.parametrize("file", ["checkpoint", "checkpoint.certified"])
def test_a_quorum_of_pinned_witnesses_certifies(file: str) -> None:
    """Three of three, the owner's own counted, in either file."""
    report = certify(PINNED, lambda log: cosigned(log, list(AGENCIES)), file)
    assert report.verdict == "verified" and report.warnings == ()
    assert all(log.certified_size == log.size for log in report.logs)


@covers("log.level")
@pytest.mark.parametrize(
    "witnesses",
    [
        [],
        ["centre"],
        ["centre", "district"],
        ["centre", "centre", "centre"],
        ["centre", "district", "stranger"],
        ["centre", "district", "district", "stranger"],
    ],
)
def test_too_few_doubled_or_foreign_witnesses_do_not_certify(witnesses: list[str]) -> None:
    """Each agency counts once, and only those of the roster."""
    report = certify(PINNED, lambda log: cosigned(log, witnesses))
    assert report.verdict == "incomplete"
    assert set(codes(report)) == {"log.level"}
    assert all(log.certified_size == 0 for log in report.logs)


@pytest.mark.parametrize("office", ["log", "node", "root", "other witness"])
def test_another_key_under_a_witness_name_does_not_count(office: str) -> None:
    """A cosignature counts by the key of the pinned card."""
    report = certify(
        PINNED, lambda log: cosigned(log, list(AGENCIES), secret=lambda name: f"{name} {office}")
    )
    assert set(codes(report)) == {"log.level"}
    assert len(report.warnings) == 9 and "no cosignature that counts" in report.warnings[0]


def test_a_cosignature_of_another_checkpoint_does_not_count() -> None:
    """Lines moved from an older head to a newer."""
    world = pinning()
    old = {name: cosigned(log, list(AGENCIES)) for name, log in world.logs.items()}
    for log in world.logs.values():
        log.take(log.leaf(log.private([record(number=30)], number=30)))

    def moved(log: Log) -> bytes:
        signed = log.checkpoint()
        text = note.parse_note(signed).text
        lines = signed.decode().splitlines()[-1:] + old[log.agency].decode().splitlines()[-3:]
        return note.format_note(text, lines)

    report = certify(world, moved)
    assert all(log.certified_size == 0 for log in report.logs)
    report = certify(world, lambda log: old[log.agency])
    assert [log.size - log.certified_size for log in report.logs] == [1, 1, 1]
    assert report.verdict == "incomplete"


def test_witnesses_that_the_log_does_not_pin_do_not_count() -> None:
    """Without a pin nobody knows by the log alone whose witness key it was."""
    report = certify(pinning(pins=False), lambda log: cosigned(log, list(AGENCIES)))
    assert set(codes(report)) == {"log.level"}


def test_a_pin_with_another_number_than_its_card_does_not_count() -> None:
    """Numbers never fall; a pin that lies about its number could fall unseen."""
    world = small()
    cards = {name: log.state.authority.card for name, log in world.logs.items()}
    for name, log in world.logs.items():
        others = {other: (7, card.hash) for other, card in cards.items() if other != name and card}
        log.take(log.leaf(log.entry([log.adopt(cards=others)])))
    assert set(codes(certify(world, lambda log: cosigned(log, list(AGENCIES))))) == {"log.level"}


def test_one_witness_key_on_two_cards_counts_once() -> None:
    """A cosignature does not name who made it: a copied line under another name is no second witness."""
    world = World(statute=small_statute(), opened=False)
    shared = key("centre witness").public_key
    for log in world.logs.values():
        log.take(log.leaf(log.entry([log.card(witness_key=shared), log.adopt()])))
    cards = {name: log.state.authority.card for name, log in world.logs.items()}
    for name, log in world.logs.items():
        others = {other: (1, card.hash) for other, card in cards.items() if other != name and card}
        log.take(log.leaf(log.entry([log.adopt(cards=others)])))
    report = certify(world, lambda log: cosigned(log, list(AGENCIES), secret=lambda name: "centre witness"))
    assert set(codes(report)) == {"log.level"}


def test_alone_nothing_is_certified() -> None:
    """At n = 1 there is no one else to hold it."""
    world = small(("sport",))
    assert codes(certify(world, lambda log: cosigned(log, ["sport"]))) == ["log.level"]


def test_a_certified_checkpoint_beyond_the_files_is_not_false() -> None:
    """The owner showed more to others than to this auditor: something is missing."""
    world = pinning()
    files = world.tree()
    log = world.logs["sport"]
    log.take(log.leaf(log.private([record(number=31)], number=31)))
    files["log/sport/1/checkpoint.certified"] = cosigned(log, list(AGENCIES))
    report = verify(MemorySource(files), world.ledger_id)
    assert (report.verdict, codes(report)) == ("incomplete", ["log.missing"])


def test_a_byte_changed_in_a_cosigned_checkpoint_is_never_the_same_report() -> None:
    """A line that no longer counts is named, even where the quorum does without it."""
    files = PINNED.tree()
    path = "log/sport/1/checkpoint.certified"
    files[path] = cosigned(PINNED.logs["sport"], list(AGENCIES))
    whole = verify(MemorySource(files), PINNED.ledger_id)
    assert whole.verdict == "verified" and whole.warnings == ()
    for at in range(len(files[path])):
        data = bytearray(files[path])
        data[at] ^= 1
        report = verify(MemorySource(files | {path: bytes(data)}), PINNED.ledger_id)
        assert report != whole
        assert report.verdict == "failed" or report.warnings


# The report


def test_the_same_input_gives_the_same_report_byte_for_byte() -> None:
    """Whatever order the files come in, and however signatures are checked."""
    broken = TREE | {
        "log/sport/1/tile/entries/000.p/5": b"x",
        "log/district/1/vkey": b"y",
        "z": b"",
        "a": b"",
    }

    def backwards(batch: Any) -> list[bool]:
        return verify_many(list(batch)[::-1])[::-1]

    texts = set()
    for files in (broken, dict(reversed(broken.items())), dict(sorted(broken.items()))):
        for options in ({}, {"check_signatures": backwards}):
            report = verify(Listed(files, list(files)), WORLD.ledger_id, **options)
            texts.add(json.dumps(report.value() | {"warnings": sorted(report.value()["warnings"])}))
    assert len(texts) == 1


def test_progress_is_told_to_the_end() -> None:
    """Each log from its first bundle to its size."""
    told: list[tuple[str, int, int]] = []
    verify(MemorySource(LONG_TREE), LONG.ledger_id, progress=lambda *step: told.append(step))
    assert told == [("test/sport/1", done, 522) for done in (256, 512, 522)]


# What others compute


def bundles(files: Files, base: str) -> Iterator[bytes]:
    """The entries of a log, by a few lines that know only tlog-tiles."""
    prefix = f"{base}/tile/entries/"
    for name in sorted(name for name in files if name.startswith(prefix)):
        data = files[name]
        while data:
            size = int.from_bytes(data[:2], "big")
            yield data[2 : 2 + size]
            data = data[2 + size :]


@pytest.mark.parametrize(
    ("files", "origin"),
    [*((TREE, f"test/{name}/1") for name in AGENCIES), (LONG_TREE, "test/sport/1")],
)
def test_standard_tools_can_check_a_log(files: Files, origin: str) -> None:
    """Root from the bundles by RFC 6962's definition, signature with the vkey beside, by libsodium alone."""
    base = "log/" + origin.removeprefix("test/")
    root = plain.tree([plain.sha(b"\x00", entry) for entry in bundles(files, base)])
    text, _, signature = files[f"{base}/checkpoint"].decode().rpartition("\n\n")
    text += "\n"
    assert text == f"{origin}\n{len(list(bundles(files, base)))}\n{base64.b64encode(root).decode()}\n"
    name, key_id, encoded = files[f"{base}/vkey"].decode().strip().split("+", 2)
    type_and_key = base64.b64decode(encoded)
    assert (name, type_and_key[0]) == (origin, 1)
    assert plain.sha(name.encode(), b"\n", type_and_key)[:4].hex() == key_id
    _, line_name, payload = signature.strip().split(" ")
    assert (line_name, base64.b64decode(payload)[:4].hex()) == (origin, key_id)
    signing.VerifyKey(type_and_key[1:]).verify(text.encode(), base64.b64decode(payload)[4:])
    assert format_checkpoint(parse_checkpoint(text)) == text


# Size


@pytest.mark.slow
def test_100_000_entries_are_verified_in_little_memory(tmp_path: Path) -> None:
    """Streamed: one bundle at a time, and of the whole log only its entry ids."""

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "tests.big_log", *arguments]
        root = Path(__file__).parents[1]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout

    ledger_id = run("build", str(tmp_path), "100000").strip()
    outcome = json.loads(run("verify", str(tmp_path), ledger_id))
    assert (outcome["verdict"], outcome["entries"]) == ("verified", 100_002)
    assert outcome["peak_mb"] < MEMORY_MB_MAX


@covers("checkpoint.root")
def test_a_log_that_goes_on_beyond_its_end_is_named() -> None:
    """A dropped agency's later leaves are shown, no part of the log; another history at its end is false."""
    world = small()
    first, log = world.roster, world.logs["sport"]
    agencies = {name: root for name, root in first.agencies.items() if name != "sport"}
    for root, expected in ((leaf_hash(log.leaves[0]), "verified"), (bytes(32), "failed")):
        second = parse_roster(
            format_roster(
                ledger="test",
                agencies=agencies,
                statute=json.loads(first.raw)["statute"],
                version=2,
                before=first.hash,
                recovery_key=key("recovery").public_key,
                ends={"sport": Ends(head=Head(1, 1, root), next_era=2)},
            )
        )
        note = world.sign_roster(second, ["centre", "district"])
        files = world.tree() | {"roster/2.json": second.raw, "roster/2.note": note}
        report = verify(MemorySource(files), world.ledger_id)
        assert report.verdict == expected
        assert "test/sport/1: entries from index 1 on are ended by the roster" in report.warnings
