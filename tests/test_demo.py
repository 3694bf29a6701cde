"""The demonstration as a newcomer or a script runs it: real processes, real sockets, real databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 150


def pledger(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words]


def run(*words: str, code: int = 0) -> dict[str, Any]:
    """One command with ``--json``; its answer."""
    done = subprocess.run(pledger(*words, "--json"), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def nodes_below(directory: Path) -> list[int]:
    """Processes whose command line names ``directory``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in line and b"node\0run" in line:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("demo") / "d"
    answer = run("demo", "--dir", str(directory), "--records", "60")
    return answer | {"dir": str(directory)}


def test_it_leaves_what_a_script_needs(demo: dict[str, Any]) -> None:
    """The JSON object, the dossier and the ledger id are there and agree."""
    directory = Path(demo["dir"])
    assert {"ledger_id", "dossier", "agencies", "node_dirs", "records", "level", "seconds", "fork"} <= set(
        demo
    )
    assert (directory / "ledger-id").read_text() == demo["ledger_id"] + "\n"
    assert Path(demo["dossier"]) == directory / "dossier.zip"
    assert [set(one) for one in demo["agencies"]] == [{"id", "url", "origin", "size"}] * 3
    assert all(Path(one).is_dir() for one in demo["node_dirs"])
    assert 45 <= demo["records"] <= 75
    assert nodes_below(directory) == []


def test_the_dossier_verifies_and_names_each_log(demo: dict[str, Any]) -> None:
    """An auditor with one file and one fingerprint gets the sizes that the agencies have, all certified."""
    report = run("verify", demo["dossier"], "--ledger", demo["ledger_id"], "--level", demo["level"])
    assert report["verdict"] == "verified" and report["problems"] == [] and demo["level"] == "certified"
    shown = {one["origin"]: one["size"] for one in demo["agencies"]}
    assert shown.items() <= {log["origin"]: log["size"] for log in report["logs"]}.items()
    assert shown.items() <= {log["origin"]: log["certified_size"] for log in report["logs"]}.items()
    assert sum(report["bodies"].values()) == report["records"] >= demo["records"]


def test_a_restored_node_forks_is_caught_and_mends_its_log(demo: dict[str, Any], tmp_path: Path) -> None:
    """Evidence that anybody checks, a second era, and every entry of both branches in the mended log."""
    fork = demo["fork"]
    assert fork["detected"] is fork["reconciled"] is fork["certified"] is True
    assert 0 < fork["evidence_bytes"] < 4096
    assert 2 < fork["entries_before"] <= fork["entries_after"]
    assert [one["origin"] for one in demo["agencies"]].count("demo/district/2") == 1
    evidence = Path(demo["dir"]) / "district.fork"
    assert evidence.stat().st_size == fork["evidence_bytes"]
    words = ("forks", "check", str(evidence), "--keys", demo["dossier"], "--ledger", demo["ledger_id"])
    checked = run(*words)
    assert (checked["verdict"], checked["origin"], checked["accused"]) == (
        *("proven", "demo/district/1", "log key"),
    )
    other = Path(demo["dir"]) / "sport"
    run(*words[:3], "--keys", str(other), "--ledger", demo["ledger_id"])
    run(*words[:3], "--keys", str(other), "--ledger", "00" * 32, code=1)
    (tmp_path / "x.fork").write_bytes(evidence.read_bytes()[:-1])
    run("forks", "check", str(tmp_path / "x.fork"), *words[3:], code=2)


def test_another_ledger_id_is_refused(demo: dict[str, Any]) -> None:
    """The fingerprint decides, not the file."""
    report = run("verify", demo["dossier"], "--ledger", "00" * 32, code=1)
    assert [one["code"] for one in report["problems"]] == ["roster.ledger_id"]


def test_a_flipped_byte_is_named_at_its_index(demo: dict[str, Any], tmp_path: Path) -> None:
    """In each leaf of a bundle the middle byte is changed: the first problem has that very index."""
    with zipfile.ZipFile(demo["dossier"]) as archive:
        [info] = [one for one in archive.infolist() if "district/1/tile/entries" in one.filename]
        bundle = archive.read(info)
    whole = Path(demo["dossier"]).read_bytes()
    start, place, index = whole.index(bundle), 0, 0
    while place < len(bundle):
        length = int.from_bytes(bundle[place : place + 2], "big")
        spoiled = bytearray(whole)
        spoiled[start + place + 2 + length // 2] ^= 1
        (tmp_path / "x.zip").write_bytes(spoiled)
        report = run("verify", str(tmp_path / "x.zip"), "--ledger", demo["ledger_id"], code=1)
        first = report["problems"][0]
        assert (first["log"], first["index"]) == ("demo/district/1", index), first
        place, index = place + 2 + length, index + 1


def test_a_dossier_that_is_none_gets_a_verdict(demo: dict[str, Any], tmp_path: Path) -> None:
    """Noise, an empty file and a cut dossier fail with one JSON object, never a traceback."""
    whole = Path(demo["dossier"]).read_bytes()
    for number, data in enumerate([b"", b"noise" * 100, whole[: len(whole) // 2], whole + b"x"]):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        assert run("verify", str(path), "--ledger", demo["ledger_id"], code=1)["verdict"] == "failed"


def test_a_directory_in_use_is_left_alone(demo: dict[str, Any]) -> None:
    """A second demonstration in the same place is refused with what to do."""
    done = subprocess.run(pledger("demo", "--dir", demo["dir"]), capture_output=True, text=True)
    assert done.returncode == 2
    assert "give a new directory" in done.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_process(tmp_path: Path, stop: signal.Signals) -> None:
    """Ctrl-C (or SIGTERM) while it works leaves no node behind."""
    directory = tmp_path / "d"
    with subprocess.Popen(
        pledger("demo", "--dir", str(directory), "--records", "60"), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "enrolled" in line:
                break
        assert len(nodes_below(directory)) == 3
        process.send_signal(stop)
        process.stderr.read()
        assert process.wait(DEADLINE_S) == 130
    assert nodes_below(directory) == []


def test_a_dead_node_ends_it_with_a_clear_message(tmp_path: Path) -> None:
    """A node that is killed under it is named, and the others are ended."""
    directory = tmp_path / "d"
    with subprocess.Popen(
        pledger("demo", "--dir", str(directory), "--records", "60"), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "the node of centre runs" in line:
                break
        [victim] = nodes_below(directory / "centre")
        os.kill(victim, signal.SIGKILL)
        text = process.stderr.read()
        assert process.wait(DEADLINE_S) not in (0, 130)
    assert "the node of centre has ended" in text
    assert "Traceback" not in text
    assert nodes_below(directory) == []


def test_kept_nodes_answer_until_they_are_stopped(tmp_path: Path) -> None:
    """--keep-running prints the one JSON object, and the nodes answer until Ctrl-C."""
    directory = tmp_path / "d"
    words = pledger("demo", "--dir", str(directory), "--records", "60", "--keep-running", "--json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            answer = json.loads(process.stdout.readline())
            for agency in answer["agencies"]:
                status = run("node", "status", "--url", agency["url"])
                assert status["size"] == agency["size"]
            report = run("verify", answer["agencies"][0]["url"], "--ledger", answer["ledger_id"])
            assert report["verdict"] == "verified"
        finally:  # a demo that is kept running would be waited for until it ends
            process.send_signal(signal.SIGINT)
            code = process.wait(DEADLINE_S)
        assert code == 130
    assert nodes_below(directory) == []


def test_a_taken_port_is_said_clearly(tmp_path: Path) -> None:
    """A node whose port is in use says which, and what to do."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = os.environ | {"PLEDGER_PASSPHRASE": "test"}
        recovery = "ab" * 32
        url = f"http://127.0.0.1:{port}"
        steps = [
            ("agency", "new", "a", "--ledger", "t", "--url", url, "--dir", "a"),
            ("roster", "draft", "a/agency.json", "-o", "r.json", "--recovery-key", recovery),
            ("roster", "sign", "r.json", "--dir", "a", "-o", "a.sig"),
            ("roster", "finish", "r.json", "a.sig", "--dir", "a"),
        ]
        path = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        for step in steps:
            subprocess.run(
                pledger(*step), env=environment | path, cwd=tmp_path, check=True, capture_output=True
            )
        start = time.monotonic()
        done = subprocess.run(
            pledger("node", "run", "--dir", "a"),
            env=environment | path,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 5 and time.monotonic() - start < DEADLINE_S
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr and "Traceback" not in done.stderr
