"""``pledger era`` and ``pledger forks`` as an operator types them, with real nodes where one is needed."""

from __future__ import annotations

import os
from pathlib import Path

from node.key_file import COST_MIN, read_key_file, read_public_keys, write_key_file
from tests.agencies import PASSPHRASE, Nodes, nodes, wait_for
from tests.operator_side import ask, founded, say

__all__ = ["nodes"]


def test_one_machine_mends_a_lost_log_key(tmp_path: Path, nodes: Nodes) -> None:
    """Only an old key file is left, without the log key: one command, and the log goes on in a second era."""
    district = founded(tmp_path)["district"]
    running = nodes.start(district)
    size = running.status()["size"]
    running.stop()
    path = district.directory / "keys" / "node.key"
    secrets = read_key_file(path, PASSPHRASE)
    path.unlink()
    words = ("era", "open", "--dir", district.directory, "--reason", "key_lost", "--yes")
    ask(*words, code=2)
    older = {name: bytes(32) if name == "log" else seed for name, seed in secrets.items()}
    write_key_file(path, "district", older, PASSPHRASE, os.urandom, cost=COST_MIN)
    value = ask(*words)
    assert value["origin"] == "test/district/2" and value["kept"]["size"] == size
    running = nodes.start(district)
    wait_for(lambda: running.status()["era"] == 2, "the new era")
    wait_for(lambda: running.status()["is_sequencing"], "the log to go on")


def test_stolen_keys_are_all_replaced_by_one_opening(tmp_path: Path, nodes: Nodes) -> None:
    """Log, node and witness key, planned beside the node that runs, signed apart, put back, started again."""
    district = founded(tmp_path)["district"]
    running = nodes.start(district)
    draft, entry = tmp_path / "era.draft", tmp_path / "era.entry"
    plan = ("era", "plan", "--dir", district.directory, "--reason", "key_stolen")
    shown = ask(*plan, "-o", draft, "--rotate", "node", "--rotate", "witness")
    held = set(read_public_keys(district.directory / "keys" / "node.key").keys)
    assert {"log.2", "node.2", "witness.2"} <= held
    signed = ask("era", "sign", draft, "--root-key", district.directory / "keys" / "root.key", "-o", entry)
    assert signed["kept"] == shown["kept"] and signed["reason_code"] == "key_stolen"
    ask("era", "open", entry, "--dir", district.directory)
    running.stop()
    running = nodes.start(district)
    wait_for(lambda: running.status()["era"] == 2 and running.status()["is_sequencing"], "the new era")
    ask("era", "open", entry, "--dir", district.directory, code=2)


def test_a_plan_alone_changes_nothing_and_asks_why(tmp_path: Path, nodes: Nodes) -> None:
    """Looked at as often as one likes; without a known fork the reason is the operator's to give."""
    district = founded(tmp_path)["district"]
    ask("era", "plan", "--dir", district.directory, "--reason", "restored", code=5)
    nodes.start(district).stop()
    before = (district.directory / "keys" / "node.key").read_bytes()
    ask("era", "plan", "--dir", district.directory, code=2)
    assert "Nothing was changed" in say("era", "plan", "--dir", district.directory, "--reason", "restored")
    assert (district.directory / "keys" / "node.key").read_bytes() == before
    assert not (district.directory / "era.entry").exists()
    assert ask("forks", "list", "--dir", district.directory) == {"forks": []}
    ask("forks", "show", "district", "--dir", district.directory, code=2)


def test_an_opening_for_another_agency_is_not_put(tmp_path: Path, nodes: Nodes) -> None:
    """It says whose it is, and the directory stays as it was."""
    made = founded(tmp_path, ("district", "sport"))
    running = [nodes.start(agency) for agency in made.values()]
    wait_for(lambda: all(one.status()["is_sequencing"] for one in running), "both to have heard")
    logs = lambda: [log for one in running for log in one.status()["logs"]]  # noqa: E731
    wait_for(lambda: all(log["size"] and log["certified_size"] == log["size"] for log in logs()), "rest")
    draft, entry = tmp_path / "era.draft", tmp_path / "era.entry"
    district, sport = made["district"].directory, made["sport"].directory
    ask("era", "plan", "--dir", district, "--reason", "key_stolen", "-o", draft)
    ask("era", "sign", draft, "--dir", district, "-o", entry)
    ask("era", "open", entry, "--dir", sport, code=2)
    assert not (sport / "era.entry").exists()
    ask("era", "sign", entry, "--dir", district, "-o", tmp_path / "twice", code=2)
    assert not (tmp_path / "twice").exists()
