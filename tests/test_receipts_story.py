"""Receipts through the command line, with real nodes: certified later by themselves, lost and sent again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.http_client import HttpClient
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, post, wait_for
from tests.clerks import Clerk, clerk_of, exchange, grant

NAMES = ("centre", "district", "sport")
AWARD = ("contest_award", "event_code=VSOSH-GEO", "level=school", "status=winner", "date=2024-11-14")


@dataclass
class Town:
    """Agencies, their nodes as far as they run, and the district's clerks."""

    folder: Path
    agencies: dict[str, Agency]
    nodes: Nodes
    running: dict[str, RunningNode] = field(default_factory=dict)

    @property
    def district(self) -> Agency:
        return self.agencies["district"]

    def start(self, *names: str) -> None:
        """Start nodes, and wait until the district's says whether it sequences."""
        for name in names:
            self.running[name] = self.nodes.start(self.agencies[name], wait=False)
        for name in names:
            self.nodes.wait_ready(self.running[name])

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).stop()

    def sizes(self, at: str) -> tuple[int, int]:
        """Size and certified size of the district's log as a node shows it."""
        logs = {one["origin"].split("/")[1]: one for one in self.running[at].status()["logs"]}
        return logs["district"]["size"], logs["district"]["certified_size"]

    def wait_sequencing(self) -> None:
        wait_for(lambda: self.running["district"].status()["is_sequencing"], "the answers of the others")

    def wait_certified(self, at: Iterable[str] = ("district",)) -> None:
        """Until all that the district has published is certified."""
        size = self.log_size()
        wait_for(lambda: all(self.sizes(one) == (size, size) for one in at), "the cosignatures")

    def log_size(self) -> int:
        """What the district has sequenced, published or not."""
        clerk = Clerk(self.district, "clerk", self.folder / "clerk")
        return len(clerk.ask("log", "--last", "1000")["entries"])

    def clerk(self, name: str) -> Clerk:
        return clerk_of(self.district, self.folder / name, name)

    def back_up(self) -> None:
        """Copy the district's databases with its instance record, the node being stopped."""
        shutil.copytree(self.district.config().data, self.folder / "backup")

    def restore(self) -> None:
        shutil.rmtree(self.district.config().data)
        shutil.copytree(self.folder / "backup", self.district.config().data)

    def times_recorded(self, clerk: Clerk) -> dict[str, int]:
        """How often each entry of a clerk stands in the log."""
        rows = clerk.ask("log", "--last", "1000")["entries"]
        return {"private": sum(row["author"] == clerk.key for row in rows), "all": len(rows)}


@pytest.fixture
def town(tmp_path: Path, nodes: Nodes) -> Town:
    """Three agencies that know each other's cards, and two clerks of the district."""
    made = Town(tmp_path, found_agencies(tmp_path / "agencies", NAMES), nodes)
    made.start(*NAMES)
    made.wait_sequencing()
    grant(made.district, "clerk", "colleague")
    made.clerk("clerk")
    made.wait_certified()
    return made


def clerk_in(town: Town) -> Clerk:
    return Clerk(town.district, "clerk", town.folder / "clerk")


def words(clerk: Clerk) -> list[bool]:
    return [one["certified"] for one in clerk.ask("outbox", "list")["entries"]]


def test_a_receipt_is_certified_by_itself_with_a_later_command(town: Town) -> None:
    """Publishing waits for nobody; the next command that sends looks after it; the proof holds for ever."""
    clerk = clerk_in(town)
    clerk.enrol()
    assert words(clerk) == [False]
    town.wait_certified(NAMES)
    said = clerk.type("append", *AWARD, "--pupil", "7a-01")
    assert said.stderr == "" and words(clerk) == [True, False]
    listed = clerk.type("outbox", "list").stdout
    assert "certified" in listed and "accepted" in listed
    assert "заверен" in clerk.type("outbox", "list", "--lang", "ru").stdout
    [first, second] = clerk.ask("outbox", "list")["entries"]
    shown = clerk.ask("show", first["entry_id"])
    assert shown["receipt"]["certified"] and sorted(shown["receipt"]["cosigned"]) == list(NAMES)
    assert "certified by a quorum, cosigned by " in clerk.type("show", first["entry_id"]).stdout
    assert "not certified yet" in clerk.type("show", second["entry_id"]).stdout
    town.wait_certified(NAMES)
    assert clerk.ask("outbox", "send")["certified"] == [second["entry_id"]]
    assert words(clerk) == [True, True]
    assert clerk.ask("outbox", "send")["certified"] == []
    waited = clerk.ask("receipt", "wait", first["entry_id"][:16], "-o", clerk.home / "first.tlog-proof")
    assert waited["certified"] and waited["entry_id"] == first["entry_id"]
    clerk.type("receipt", "wait", "ffffffff", "-o", clerk.home / "none", code=2)


def test_a_proof_of_a_certified_receipt_is_verified_at_that_level(town: Town, tmp_path: Path) -> None:
    """With the dossier; one made before, from the plain receipt, is verified at the level leaf."""
    clerk = clerk_in(town)
    clerk.enrol()
    record = clerk.ask("append", *AWARD, "--pupil", "7a-01")["entries"][0]["records"][0]
    early, late, dossier = (tmp_path / name for name in ("early", "late", "dossier.zip"))
    assert not clerk.ask("prove", record, "-o", early)["certified"]
    town.wait_certified(NAMES)
    clerk.type("outbox", "send")
    assert clerk.ask("prove", record, "-o", late)["certified"]
    sources = [f"--from={one.url}" for one in town.agencies.values()]
    clerk.type("export", *sources, "-o", dossier, "--ledger", town.district.world.ledger_id.hex())
    ledger = ("--keys", dossier, "--ledger", town.district.world.ledger_id.hex())
    assert clerk.ask("verify", late, *ledger, "--level", "certified")["verdict"] == "verified"
    assert clerk.ask("verify", early, *ledger)["verdict"] == "verified"
    cosigners = late.read_bytes().count(b"/witness ")
    assert cosigners == len(NAMES) and early.read_bytes().count(b"/witness ") <= 1


def test_what_a_restored_node_lost_is_posted_again(town: Town) -> None:
    """Nobody else had it: it goes again with the next command, before what rests on it; nothing doubles."""
    clerk, colleague = clerk_in(town), town.clerk("colleague")
    town.wait_certified(NAMES)
    town.stop("district")
    town.back_up()
    town.start("district")
    town.wait_sequencing()
    town.stop("centre", "sport")
    clerk.enrol()
    exchange(clerk, colleague)
    town.stop("district")
    town.restore()
    town.start(*NAMES)
    town.wait_sequencing()
    grant(town.district, "somebody")
    said = clerk.type("append", *AWARD, "--pupil", "7a-01")
    [first, second] = clerk.ask("outbox", "list")["entries"]
    assert f"no longer knew entry {first['entry_id'][:16]}" in said.stderr
    assert (first["state"], second["state"]) == ("accepted", "accepted")
    shown = clerk.ask("show", first["entry_id"])
    assert shown["receipt"]["index"] == shown["earlier_receipts"][0]["index"] + 1
    assert "an earlier receipt, of another history" in clerk.type("show", first["entry_id"]).stdout
    assert town.times_recorded(clerk)["private"] == 2
    town.wait_certified(NAMES)
    assert clerk.type("outbox", "send").stderr == "" and words(clerk) == [True, True]
    assert town.times_recorded(clerk)["private"] == 2


def test_what_the_others_hold_is_not_posted_again(town: Town) -> None:
    """The restored node fetches it back: the entry stands once, its receipt is certified."""
    clerk = clerk_in(town)
    town.stop("district")
    town.back_up()
    town.start("district")
    town.wait_sequencing()
    clerk.enrol()
    town.wait_certified(NAMES)
    size = town.sizes("sport")[0]
    town.stop("district")
    town.restore()
    town.start("district")
    wait_for(lambda: town.sizes("district") == (size, size), "the log to be fetched back")
    answer = clerk.ask("outbox", "send")
    [one] = clerk.ask("outbox", "list")["entries"]
    assert answer["certified"] == [one["entry_id"]] and answer["sent_again"] == [] and one["certified"]
    assert town.times_recorded(clerk) == {"private": 1, "all": size}


def test_a_node_that_shows_the_entry_in_another_history_is_told(town: Town) -> None:
    """An owner that signs twice: both receipts are in the clerk's hands, whole, and neither is lost."""
    clerk = clerk_in(town)
    town.stop("district")
    town.back_up()
    town.start("district")
    town.wait_sequencing()
    town.stop("centre", "sport")
    clerk.enrol()
    [stored] = clerk.entries()
    town.stop("district")
    town.restore()
    town.start(*NAMES)
    town.wait_sequencing()
    grant(town.district, "somebody")
    with HttpClient(town.district.url) as client:
        again = post(client, town.district, stored.submission)
    said = clerk.type("outbox", "send")
    assert f"entry {stored.entry_id.hex()[:16]} in another history" in said.stderr
    shown: dict[str, Any] = clerk.ask("show", stored.entry_id.hex())
    [kept] = clerk.entries()
    assert [one["receipt"].encode() for one in shown["earlier_receipts"]] == [stored.receipt]
    assert isinstance(again, bytes) and kept.receipt != stored.receipt
    assert town.times_recorded(clerk)["private"] == 1


def test_without_a_node_nothing_is_told_and_nothing_fails(town: Town) -> None:
    """The command that was typed does what it does without a node."""
    clerk = clerk_in(town)
    clerk.enrol()
    town.stop(*NAMES)
    before = clerk.entries()
    said = clerk.type("outbox", "send")
    assert said.stdout == "nothing waits\n" and said.stderr == ""
    clerk.type("append", *AWARD, "--pupil", "7a-01", "--offline")
    clerk.type("outbox", "send", code=5)
    assert clerk.entries()[:1] == before


def test_in_a_ledger_of_one_a_receipt_stays_accepted(tmp_path: Path, nodes: Nodes) -> None:
    """Nobody can certify it, nobody is asked: nothing is said and nothing moves."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    nodes.start(agency)
    grant(agency, "clerk")
    clerk = clerk_of(agency, tmp_path / "clerk")
    clerk.enrol()
    said = clerk.type("append", *AWARD, "--pupil", "7a-01")
    assert said.stderr == "" and words(clerk) == [False, False]
    assert clerk.ask("outbox", "send")["certified"] == []
    assert clerk.states() == ["accepted", "accepted"]
