"""pledger node load: files between nodes that never meet, and files that are false, foreign or bombs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ledger.errors import Unproven
from ledger.proof import parse_proof
from ledger.verify import verify
from node import inbox
from node.http_client import HttpClient
from node.inbox import FOLDER
from node.session import fetch_json
from node.sources import ZipSource
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, nodes, post, wait_for
from tests.operator_side import ask, founded, say
from tests.test_gossip import second_roster
from tests.world import MemorySource, World

__all__ = ["nodes"]
NAMES = ("centre", "district", "sport")


def apart(base: Path, names: tuple[str, ...] = NAMES) -> dict[str, Agency]:
    """Agencies that have founded a ledger and know nobody's address."""
    made = founded(base, names)
    for agency in made.values():
        toml = agency.directory / "node.toml"
        toml.write_text(toml.read_text().partition("[peers]")[0])
    return made


def start_apart(made: dict[str, Agency], nodes: Nodes, *names: str) -> dict[str, RunningNode]:
    return {name: nodes.start(made[name], "--alone") for name in names}


def exported(agency: Agency, base: Path, *, code: int = 3) -> Path:
    """Exit code 3: without the logs that nobody asked has."""
    target = base / f"{agency.name}.zip"
    ask("export", "--from", agency.url, "-o", target, code=code)
    return target


def sizes(node: RunningNode) -> dict[str, int]:
    return {log["origin"].split("/")[1]: log["size"] for log in node.status()["logs"]}


def fill(agency: Agency, *pupils: str) -> None:
    """A grant and an entry for each pupil, all of it published."""
    entries = [agency.grant(), *(agency.enrol(pupil, number=number) for number, pupil in enumerate(pupils))]
    with HttpClient(agency.url) as client:
        for entry in entries:
            receipt = post(client, agency, entry)
            assert isinstance(receipt, bytes)
        size = parse_proof(receipt).index + 1
        wait_for(lambda: client.run(fetch_json("/v1/status"))["size"] >= size, "the tick")


def digests(agency: Agency) -> dict[str, str]:
    """What every store of a directory that is not run holds, byte for byte."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(agency.config().data.glob("*.db"))
    }


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A ZIP with some members changed, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def test_two_nodes_that_never_meet_hold_all_of_each_other_by_files(tmp_path: Path, nodes: Nodes) -> None:
    """There and back: each takes the other's log from a file, and what it exports then has both."""
    made = apart(tmp_path, ("district", "sport"))
    running = start_apart(made, nodes, "district", "sport")
    fill(made["district"], "anna", "boris")
    fill(made["sport"], "vera")
    file = exported(made["district"], tmp_path)
    taken = ask("node", "load", file, "--dir", made["sport"].directory)
    assert {one["origin"]: one["new"] for one in taken["logs"]}["test/district/1"] == 4
    back = exported(made["sport"], tmp_path, code=0)
    ask("node", "load", back, "--dir", made["district"].directory)
    for node in running.values():
        assert sizes(node)["district"] >= 4 and sizes(node)["sport"] >= 3
    report = verify(ZipSource(back), made["district"].world.ledger_id)
    assert report.verdict == "verified" and report.entries >= 7
    assert not list((made["district"].config().data / FOLDER).iterdir()), "nothing is left lying in the inbox"
    again = ask("node", "load", back, "--dir", made["district"].directory)
    assert sum(one["new"] for one in again["logs"]) == 0


def test_without_a_running_node_the_command_takes_the_file(tmp_path: Path, nodes: Nodes) -> None:
    """It opens the node itself, and the node has it at its next start."""
    made = apart(tmp_path)
    start_apart(made, nodes, "district")
    fill(made["district"], "anna")
    file = exported(made["district"], tmp_path)
    assert "took 3 new entries" in say("node", "load", file, "--dir", made["sport"].directory)
    assert sizes(nodes.start(made["sport"], "--alone"))["district"] == 3


def test_a_log_of_many_parts_is_taken_whole(
    tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one pull of a log: judged to the end before the first leaf is stored."""
    monkeypatch.setattr("node.mirror.PULL_BUNDLES_MAX", 1)
    made = apart(tmp_path)
    node = made["district"].node()
    for start in range(0, 600, 200):
        grants = [made["district"].grant(f"clerk {number}") for number in range(start, start + 200)]
        outcomes = node.sequencer.commit([made["district"].seal(one) for one in grants], 24 * 20_700)
        assert all(isinstance(one, bytes) for one in outcomes)
    node.publish()
    node.close()
    nodes.start(made["district"])
    file = exported(made["district"], tmp_path)
    [taken] = [
        one for one in ask("node", "load", file, "--dir", made["sport"].directory)["logs"] if one["new"]
    ]
    assert taken == {"origin": "test/district/1", "new": 601, "size": 601, "fault": ""}


@pytest.fixture
def two(tmp_path: Path, nodes: Nodes) -> tuple[dict[str, Agency], Path]:
    """District and sport in one file, for centre to take."""
    made = apart(tmp_path)
    start_apart(made, nodes, "district", "sport")
    fill(made["district"], "anna", "boris")
    fill(made["sport"], "vera")
    files = [exported(made[name], tmp_path) for name in ("district", "sport")]
    both = tmp_path / "both.zip"
    ask("export", "--from", files[0], "--from", files[1], "-o", both, code=3)
    return made, both


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "at rest"])
def test_a_poisoned_file_changes_nothing_and_says_what_is_wrong_where(
    two: tuple[dict[str, Agency], Path], tmp_path: Path, nodes: Nodes, is_running: bool
) -> None:
    """One byte in the last log of the file: the good log before it is not taken either."""
    made, both = two
    centre = made["centre"]
    node = nodes.start(centre, "--alone")
    if not is_running:
        node.stop()
    poisoned = repacked(
        both,
        tmp_path / "poisoned.zip",
        lambda name, data: flipped(data) if name.startswith("log/sport/1/tile/entries") else data,
    )
    before = digests(centre) if not is_running else {}
    said = say("node", "load", poisoned, "--dir", centre.directory, code=1)
    assert "nothing of it was taken" in said and "test/sport/1" in said and "leaf.form" in said, said
    assert "test/centre" not in said
    if is_running:
        assert sizes(node) == {"centre": 1, "district": 0, "sport": 0}
    else:
        node = nodes.start(centre, "--alone")
        assert sizes(node) == {"centre": 1, "district": 0, "sport": 0}
        assert before.keys() == digests(centre).keys()
    assert ask("node", "load", both, "--dir", centre.directory)["logs"]
    assert sizes(node) | {"centre": 1} == {"centre": 1, "district": 4, "sport": 3}


def test_a_false_checkpoint_is_refused(
    two: tuple[dict[str, Agency], Path], tmp_path: Path, nodes: Nodes
) -> None:
    """A head that the log key did not sign."""
    made, both = two
    nodes.start(made["centre"], "--alone")

    def change(name: str, data: bytes) -> bytes:
        return data.replace(b"\n4\n", b"\n3\n", 1) if name == "log/district/1/checkpoint" else data

    poisoned = repacked(both, tmp_path / "poisoned.zip", change)
    said = say("node", "load", poisoned, "--dir", made["centre"].directory, code=1)
    assert "nothing of it was taken" in said and "test/district/1" in said


def test_a_roster_version_in_a_false_file_is_not_taken(tmp_path: Path) -> None:
    """However well it is signed: of such a file nothing is taken."""
    agency = found_agencies(tmp_path, NAMES)["centre"]
    node = agency.node()
    raw, note = second_roster(agency.world, (*NAMES, "youth"))
    files = World(NAMES).tree() | {"roster/2.json": raw, "roster/2.note": note}
    name = next(name for name in files if name.startswith("log/sport/1/tile/entries"))
    with pytest.raises(Unproven, match="nothing of it was taken"):
        inbox._take_rosters(node, MemorySource(files | {name: flipped(files[name])}))  # type: ignore[arg-type]
    assert [one.version for one in node.rosters] == [1]
    assert not (agency.directory / "roster" / "2.json").exists()
    inbox._take_rosters(node, MemorySource(files))  # type: ignore[arg-type]
    assert [one.version for one in node.rosters] == [1, 2]
    node.close()


def test_a_file_of_another_ledger_is_refused(tmp_path: Path, nodes: Nodes) -> None:
    """Before it reaches the node; the running node refuses it as well."""
    ours, theirs = apart(tmp_path / "ours"), founded(tmp_path / "theirs", ("alone",))
    nodes.start(theirs["alone"])
    file = tmp_path / "theirs.zip"
    ask("export", "--from", theirs["alone"].url, "-o", file)
    node = nodes.start(ours["sport"], "--alone")
    assert "is of ledger" in say("node", "load", file, "--dir", ours["sport"].directory, code=1)
    assert dropped_in(ours["sport"], file)["error"] == "Unproven"
    assert sizes(node) == {"centre": 0, "district": 0, "sport": 1}


def dropped_in(agency: Agency, file: Path) -> dict[str, str]:
    """What the running node says of a file that somebody put into its inbox."""
    folder = agency.config().data / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / ".dropped.zip").write_bytes(file.read_bytes())
    (folder / ".dropped.zip").rename(folder / "dropped.zip")
    wait_for(lambda: not (folder / "dropped.zip").exists(), "the inbox")
    value: dict[str, str] = json.loads((folder / "dropped.json").read_bytes())
    (folder / "dropped.json").unlink()
    return value


def test_a_zip_bomb_is_refused(two: tuple[dict[str, Agency], Path], tmp_path: Path, nodes: Nodes) -> None:
    """A member that unpacks to a thousand times its size, in the place of a bundle, is never unpacked."""
    made, both = two
    node = nodes.start(made["centre"], "--alone")
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(both) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            is_bundle = name.startswith("log/district/1/tile/entries")
            new.writestr(name, bytes(16_000_000) if is_bundle else old.read(name))
    said = say("node", "load", bomb, "--dir", made["centre"].directory, code=1)
    assert "claims to shrink" in said and "test/district/1" in said
    assert sizes(node)["district"] == 0 and node.process.poll() is None


def test_no_zip_at_all_is_refused(tmp_path: Path, nodes: Nodes) -> None:
    """By the command, and by the node whose inbox it was put into."""
    made = apart(tmp_path)
    nodes.start(made["sport"], "--alone")
    file = tmp_path / "photo.zip"
    file.write_bytes(b"GIF89a")
    assert "no ZIP" in say("node", "load", file, "--dir", made["sport"].directory, code=2)
    assert dropped_in(made["sport"], file)["state"] == "refused"


def test_another_history_of_one_log_keeps_nobody_else_s_from_being_taken(
    tmp_path: Path, nodes: Nodes
) -> None:
    """Its owner forked: named, and left out; the rest of the file is taken."""
    made = apart(tmp_path)
    running = start_apart(made, nodes, "district", "sport")
    fill(made["district"], "anna")
    first = exported(made["district"], tmp_path)
    centre = nodes.start(made["centre"], "--alone")
    ask("node", "load", first, "--dir", made["centre"].directory)
    running["district"].stop()
    for file in made["district"].config().data.iterdir():
        file.unlink()
    nodes.start(made["district"], "--alone")
    fill(made["district"], "boris", "vera")
    fill(made["sport"], "gleb")
    files = [exported(made[name], tmp_path) for name in ("district", "sport")]
    both = tmp_path / "both.zip"
    ask("export", "--from", files[0], "--from", files[1], "-o", both, code=3)
    taken = {
        one["origin"]: one
        for one in ask("node", "load", both, "--dir", made["centre"].directory, code=3)["logs"]
    }
    assert "two histories" in taken["test/district/1"]["fault"] or "prev" in taken["test/district/1"]["fault"]
    assert taken["test/sport/1"] == {"origin": "test/sport/1", "new": 3, "size": 3, "fault": ""}
    assert sizes(centre) | {"centre": 1} == {"centre": 1, "district": 3, "sport": 3}


def test_two_nodes_that_never_meet_certify_each_other_s_logs_by_files(tmp_path: Path, nodes: Nodes) -> None:
    """Cards, pins and cosignatures all travel in the files: after a few rounds the receipt is certified."""
    made = apart(tmp_path, ("district", "sport"))
    running = start_apart(made, nodes, "district", "sport")
    district, sport = made["district"], made["sport"]
    with HttpClient(district.url) as client:
        grant = district.grant()
        assert isinstance(post(client, district, grant), bytes)
    entry = grant.entry.header.entry_id.hex()
    target = tmp_path / "grant.tlog-proof"
    ledger = ("--node", district.url, "--ledger", district.world.ledger_id.hex())
    words = ("receipt", "wait", entry, "-o", target, *ledger, "--timeout", "0")
    assert ask(*words, code=3)["cosigned"] in ([], ["district"])
    for _ in range(4):
        for source, to in ((district, sport), (sport, district)):
            file = tmp_path / f"{source.name}.zip"
            ask("export", "--from", source.url, "-o", file, code=0 if held_all(running[source.name]) else 3)
            ask("node", "load", file, "--dir", to.directory)
        wait_for(lambda: pinned(running.values()), "the desks to pin what came")
    value = ask("receipt", "wait", entry, "-o", target, *ledger)
    assert value["certified"] and value["cosigned"] == ["district", "sport"]
    report = verify(ZipSource(tmp_path / "sport.zip"), district.world.ledger_id)
    assert report.verdict == "verified" and all(log.certified_size for log in report.logs)


def held_all(node: RunningNode) -> bool:
    return all(sizes(node).values())


def pinned(running: Iterable[RunningNode]) -> bool:
    """Each has published its adopt of the other's card: opening, adopt, and for one a grant."""
    return all(sizes(node)[node.agency.name] >= 2 for node in running)
