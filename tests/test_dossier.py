"""The dossier's ZIP: no byte of it can change unseen, and no file that claims to be one does harm."""

from __future__ import annotations

import io
import random
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from cli.audit import _verify_tree
from ledger import verify as verify_module
from ledger.errors import LedgerError, Malformed, Undecided
from ledger.report import Report
from ledger.roster import parse_roster, roster_hash
from ledger.verify import quiet, verify
from node import dossier
from node.sources import DirectorySource, ZipSource, open_path
from tests.world import MemorySource, World, record

AGENCY = "district"


@pytest.fixture(scope="module")
def world() -> World:
    """One agency with a few entries: small enough to change every byte of its dossier."""
    made = World((AGENCY,))
    log = made.logs[AGENCY]
    for number in range(3):
        log.take(log.leaf(log.private([record("notice", subject=str(number))], number=number)))
    return made


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("dossier") / "dossier.zip"
    dossier.write(path, dossier.members_of(MemorySource(world.tree()), world.ledger_id))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def _roster_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of kinds is parsed once for each of its bytes, and not for each flipped byte elsewhere."""
    monkeypatch.setattr(verify_module, "parse_roster", cache(parse_roster))


def judged(data: bytes, ledger_id: bytes, path: Path) -> Report:
    """What ``pledger verify`` reports of a file; only errors of the ledger's tree may come out."""
    path.write_bytes(data)
    return _verify_tree(str(path), ledger_id, "leaf", quiet)


def verdict(data: bytes, ledger_id: bytes, path: Path) -> str:
    try:
        return judged(data, ledger_id, path).verdict
    except LedgerError:
        return "refused"


def test_a_dossier_is_verified_and_every_file_of_it_read(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    """No warning: nothing lies in it that no verdict rests on."""
    report = judged(archive, world.ledger_id, tmp_path / "d.zip")
    assert (report.verdict, report.warnings, report.entries) == ("verified", (), 5)


def test_two_exports_are_the_same_bytes(world: World, archive: bytes, tmp_path: Path) -> None:
    """The time of export is nobody's business."""
    path = tmp_path / "again.zip"
    dossier.write(path, dossier.members_of(ZipSource(_saved(archive, tmp_path)), world.ledger_id))
    assert path.read_bytes() == archive


def _saved(data: bytes, folder: Path) -> Path:
    path = folder / "saved.zip"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("part", range(4))
def test_a_dossier_with_any_byte_changed_is_not_verified(
    world: World, archive: bytes, tmp_path: Path, part: int
) -> None:
    """Every byte that is not of the roster's text (one hash decides over that), and each 97th of those."""
    chance, path = random.Random(part), tmp_path / "d.zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        info = packed.getinfo("roster/1.json")
    start = info.header_offset + 30 + len(info.filename)
    roster = range(start, start + info.file_size)
    places = [at for at in range(len(archive)) if at not in roster or (at - start) % 97 == 0]
    taken = []
    for at in places[part::4]:
        changed = archive[:at] + bytes([archive[at] ^ chance.randrange(1, 256)]) + archive[at + 1 :]
        if verdict(changed, world.ledger_id, path) == "verified":
            taken.append(at)
    assert taken == []


def test_a_dossier_cut_off_or_lengthened_anywhere_is_not_verified(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    """The last bytes one by one, further ones in steps."""
    path = tmp_path / "d.zip"
    ends = [*range(len(archive) - 400, len(archive)), *range(0, len(archive), 811), *range(64)]
    for end in ends:
        assert verdict(archive[:end], world.ledger_id, path) != "verified", end
    for tail in (b"\0", b"\n", b"PK\x05\x06", archive, dossier.COMMENT):
        assert verdict(archive + tail, world.ledger_id, path) != "verified", tail
        assert verdict(tail + archive, world.ledger_id, path) != "verified", tail


def test_a_dossier_without_any_one_of_its_members_is_not_verified(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    """Laid out as pledger does or by another tool: what is missing is missed."""
    members = _members(archive)
    for left_out in members:
        rest = {name: data for name, data in members.items() if name != left_out}
        path = tmp_path / "ours.zip"
        dossier.write(path, sorted(rest.items()))
        assert verdict(path.read_bytes(), world.ledger_id, path) != "verified", left_out
        assert verdict(packed(rest), world.ledger_id, path) != "verified", left_out


def test_members_exchanged_are_not_verified(tmp_path: Path) -> None:
    """Between logs, or within one: contents belong to their names."""
    three = World()
    files = three.tree()
    path = tmp_path / "d.zip"
    for name in files:
        other = name.replace("log/district/", "log/sport/")
        if other != name:
            swapped = files | {name: files[other], other: files[name]}
            assert verdict(packed(swapped), three.ledger_id, path) != "verified", name
    assert verdict(packed(files), three.ledger_id, path) == "verified"


def _members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED, **options: int) -> bytes:
    """The files as Python's own zipfile packs them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, **options) as made:  # type: ignore[arg-type]
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_dossier_packed_again_by_another_tool_is_verified(
    world: World, archive: bytes, tmp_path: Path, method: int
) -> None:
    """In another order, with dates, compressed: the contents are all checked anyway."""
    members = dict(reversed(_members(archive).items()))
    assert verdict(packed(members, method), world.ledger_id, tmp_path / "d.zip") == "verified"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_dossier_packed_by_an_unusual_method_is_refused(
    world: World, archive: bytes, tmp_path: Path, method: int
) -> None:
    """Such a method may want gigabytes before its first byte."""
    report = judged(packed(_members(archive), method), world.ledger_id, tmp_path / "d.zip")
    assert report.verdict == "failed"
    assert "only stored and deflated" in report.problems[0].violation.detail


def test_the_plain_tree_unpacked_is_verified(world: World, archive: bytes, tmp_path: Path) -> None:
    """Any unzip gives a static tree."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(tmp_path / "tree")
    assert verify(open_path(tmp_path / "tree"), world.ledger_id).verdict == "verified"


def _with_flags(data: bytes, name: str, offset: int, value: int) -> bytes:
    """Set a 16-bit field of a member's entry in the central directory."""
    place = data.index(name.encode(), data.index(b"PK\x01\x02")) - 46
    changed = bytearray(data)
    struct.pack_into("<H", changed, place + offset, value)
    return bytes(changed)


def _bomb(name: str, size: int) -> Callable[[dict[str, bytes]], bytes]:
    return lambda files: packed(files | {name: bytes(size)}, zipfile.ZIP_DEFLATED)


def _lying_size(files: dict[str, bytes]) -> bytes:
    """A member that claims to be small and unpacks to 64 MB."""
    data = _bomb("log/district/1/vkey", 64 << 20)(files)
    place = data.index(b"log/district/1/vkey", data.index(b"PK\x01\x02")) - 46
    changed = bytearray(data)
    struct.pack_into("<L", changed, place + 24, 90)
    return bytes(changed)


def _twice(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("roster/1.json", files["roster/1.json"])
    return buffer.getvalue()


HARMFUL: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a roster of 200 MB of zeros": _bomb("roster/1.json", 200 << 20),
    "a bundle of 200 MB of zeros": _bomb("log/district/1/tile/entries/000.p/5", 200 << 20),
    "a checkpoint of 1 MB of zeros": _bomb("log/district/1/checkpoint", 1 << 20),
    "a size that is a lie": _lying_size,
    "a name with ..": lambda files: packed(files | {"../../etc/passwd": b"x"}),
    "a name with .. inside the tree": lambda files: packed(files | {"log/../roster/1.json": b"x"}),
    "an absolute name": lambda files: packed(files | {"/etc/passwd": b"x"}),
    "a name with backslashes": lambda files: packed(files | {"..\\..\\windows\\win.ini": b"x"}),
    "a drive": lambda files: packed(files | {"c:/windows": b"x"}),
    "a name twice": _twice,
    "an encrypted member": lambda files: _with_flags(packed(files), "roster/1.json", 8, 1),
    "a method nobody knows": lambda files: _with_flags(packed(files), "roster/1.json", 10, 77),
    "a ZIP in a ZIP": lambda files: packed({"dossier.zip": packed(files)}),
    "nothing": lambda files: b"",
    "an empty ZIP": lambda files: packed({}),
    "no ZIP": lambda files: b"hello" * 1000,
    "only its end": lambda files: packed(files)[-22:],
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_archive_is_refused_within_small_memory(
    world: World, archive: bytes, tmp_path: Path, name: str
) -> None:
    """Never verified, never another exception, never more memory than an honest bundle takes."""
    data = HARMFUL[name](_members(archive))
    tracemalloc.start()
    try:
        assert verdict(data, world.ledger_id, tmp_path / "d.zip") != "verified"
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("deep", [b"[" * 500_000, b'{"a":' * 100_000, b'{"version":1,"x":' + b"[" * 90_000])
def test_a_roster_nested_too_deep_is_malformed(deep: bytes, tmp_path: Path) -> None:
    """The ledger id is that of the bomb itself: the parser must stand it."""
    report = judged(
        packed({"roster/1.json": deep, "roster/1.note": b"x"}), roster_hash(deep), tmp_path / "d.zip"
    )
    assert report.problems[0].violation.rule.name == "roster.form"


def test_a_hundred_thousand_members_are_read_within_bounds(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    """Names alone: still verified, each stranger counted as not read, and not a report of gigabytes."""
    members = _members(archive) | {f"x/{number}": b"" for number in range(100_000)}
    report = judged(packed(members), world.ledger_id, tmp_path / "d.zip")
    assert report.verdict == "verified"
    assert 1 < len(report.warnings) <= 1001


def test_more_members_than_allowed_are_refused(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds whatever the members are."""
    monkeypatch.setattr("node.sources.ZIP_MEMBERS_MAX", 3)
    with pytest.raises(Malformed, match="more than 3 members"):
        ZipSource(_saved(packed(_members(archive)), tmp_path))


def test_noise_in_place_of_any_stretch_is_never_another_error(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    """Stretches overwritten by seeded noise, in our layout and in that of another tool."""
    chance, path = random.Random(7), tmp_path / "d.zip"
    foreign = packed(_members(archive), zipfile.ZIP_DEFLATED)
    for data in (archive, foreign):
        for _ in range(300):
            start = chance.randrange(len(data))
            noise = chance.randbytes(chance.randrange(1, 60))
            spoiled = data[:start] + noise + data[start + len(noise) :]
            if verdict(spoiled, world.ledger_id, path) == "verified":
                assert data is foreign  # a date or an attribute that nobody reads
                assert {**_members(spoiled)} == _members(archive)


def test_a_link_that_leads_outside_is_not_followed(world: World, tmp_path: Path) -> None:
    """A file, a folder, a chain of links: nothing outside the tree is ever read."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (tree, outside):
        for name, data in world.tree().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    checkpoint = "log/district/1/checkpoint"
    assert DirectorySource(tree).read(checkpoint, bytes_max=10_000) is not None
    (tree / checkpoint).unlink()
    (tree / checkpoint).symlink_to(outside / checkpoint)
    with pytest.raises(Malformed, match="leads outside"):
        DirectorySource(tree).read(checkpoint, bytes_max=10_000)
    assert verify(DirectorySource(tree), world.ledger_id).verdict == "failed"
    (tree / "roster" / "1.json").unlink()
    (tree / "roster" / "1.json").symlink_to("/dev/zero")
    assert DirectorySource(tree).read("roster/1.json", bytes_max=10_000) is None


def test_a_folder_that_is_a_link_outside_is_not_followed(world: World, tmp_path: Path) -> None:
    """The whole log linked in from elsewhere is as little part of the tree."""
    files = world.tree()
    for name, data in files.items():
        target = tmp_path / ("tree" if name.startswith("roster") else "outside") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (tmp_path / "tree" / "log").symlink_to(tmp_path / "outside" / "log")
    assert verify(DirectorySource(tmp_path / "tree"), world.ledger_id).verdict != "verified"


def test_a_file_that_may_not_be_read_is_undecided(tmp_path: Path) -> None:
    """A folder in its place, a name too long: an error of ours."""
    (tmp_path / "roster" / "1.json").mkdir(parents=True)
    assert DirectorySource(tmp_path).read("roster/1.json", bytes_max=10) is None
    with pytest.raises(Undecided):
        DirectorySource(tmp_path).read("x" * 300, bytes_max=10)


def test_a_dossier_appears_whole_or_not_at_all(world: World, archive: bytes, tmp_path: Path) -> None:
    """A source that breaks off leaves no file, and an older dossier as it was."""
    path = tmp_path / "dossier.zip"

    def broken() -> Iterator[tuple[str, bytes]]:
        yield from list(dossier.members_of(MemorySource(world.tree()), world.ledger_id))[:3]
        raise Undecided("the node went away")

    for before in (None, b"older"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(Undecided):
            dossier.write(path, broken())
        assert [one.name for one in tmp_path.iterdir()] == ([] if before is None else ["dossier.zip"])
    dossier.write(path, dossier.members_of(MemorySource(world.tree()), world.ledger_id))
    assert path.read_bytes() == archive
    assert stat.S_ISREG(path.stat().st_mode)


def test_a_dossier_is_written_with_one_member_in_memory(tmp_path: Path) -> None:
    """A hundred members of a megabyte take a few of them."""
    tracemalloc.start()
    try:
        dossier.write(tmp_path / "d.zip", ((f"{number:03}", bytes(1 << 20)) for number in range(100)))
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_members_come_in_order_of_name_whatever_the_agencies_are_called(tmp_path: Path) -> None:
    """In paths ``a-b/`` stands before ``a/``: agencies are sorted as their folders are."""
    named = World(("a", "a-b", "a.b", "a0", "b"))
    names = [name for name, _ in dossier.members_of(MemorySource(named.tree()), named.ledger_id)]
    assert names == sorted(names)
    path = tmp_path / "d.zip"
    dossier.write(path, dossier.members_of(MemorySource(named.tree()), named.ledger_id))
    assert verify(ZipSource(path), named.ledger_id).verdict == "verified"


def test_a_size_that_is_a_lie_does_not_fill_the_memory(world: World, tmp_path: Path) -> None:
    """An export of a log that claims 2^62 entries stops before it has listed its paths."""
    from ledger.checkpoint import Checkpoint, sign_checkpoint
    from tests.world import key

    log = world.logs[AGENCY]
    claim = Checkpoint(origin=str(log.origin), size=2**62, root=bytes(32))
    files = world.tree() | {f"{log.origin.path}/checkpoint": sign_checkpoint(claim, key("district log"))}
    with pytest.raises(Malformed, match="more than a ZIP holds"):
        dossier.write(tmp_path / "d.zip", dossier.members_of(MemorySource(files), world.ledger_id))
