"""pledger node doctor: every state of a node brought about for real, and what it says and names next.

Real directories, real processes, a real small disk; the words are looked at in both languages.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.language import catalogue
from cli.main import pledger
from ledger.names import Head
from ledger.proof import parse_proof
from ledger.roster import Ends, format_roster, parse_roster
from node.diagnosis import STATES, of_status
from node.handlers import answer
from node.http_client import HttpClient
from node.key_file import COST_MIN, write_key_file
from node.protocol import Request
from tests.agencies import (
    DEADLINE_S,
    PASSPHRASE,
    REPOSITORY,
    Agency,
    Nodes,
    RunningNode,
    nodes,
    post,
    wait_for,
)
from tests.forking import late_branch
from tests.operator_side import ask, founded, say
from tests.source_texts import has_cyrillic
from tests.test_disk import (
    _delete_log,
    _fill,
    _history,
    _move_to_another_path,
    _put_another_log_in_place,
    _put_data_on,
    _restore_older_log,
    _restore_without_record,
    small_disk,
)
from tests.virtual_net import net_of
from tests.world import HOUR, seed

__all__ = ["nodes", "small_disk"]
FOUR = ("centre", "district", "north", "sport")


def examined(agency: Agency, *options: object) -> dict[str, dict[str, Any]]:
    """The findings by state, after checking exit code, both languages and that nothing was changed."""
    before = stored(agency)
    words = ("node", "doctor", "--dir", agency.directory, *options)
    value = ask(*words, code=0 if not states(words) else 3)
    assert stored(agency) == before
    for one in value["findings"]:
        assert "pledger " in one["do"] or one["state"] in WITHOUT_COMMAND, one
    if value["findings"]:
        said = say(*words, code=3, language="ru")
        lines = [line for line in said.splitlines() if line.startswith("- ")]
        assert len(lines) == len(value["findings"]) and all(has_cyrillic(line) for line in lines), said
    return {one["state"]: one for one in value["findings"]}


WITHOUT_COMMAND = {"mirror_fault", "clock_astray"}
"""States in which nothing is to be typed: the node goes on by itself, or another agency is to be told."""


def states(words: tuple[object, ...]) -> list[str]:
    """The states that one run of the doctor finds, whatever its exit code."""
    done = CliRunner().invoke(pledger, [*map(str, words), "--json"], env={"PLEDGER_PASSPHRASE": PASSPHRASE})
    return [one["state"] for one in json.loads(done.stdout)["findings"]]


def seen(agency: Agency) -> list[str]:
    """The states now; while a network comes up they change from one look to the next."""
    return states(("node", "doctor", "--dir", agency.directory))


def stored(agency: Agency) -> dict[str, bytes]:
    """The directory's files but the databases' own side files, where no node runs on them."""
    return {
        path.relative_to(agency.directory).as_posix(): path.read_bytes()
        for path in sorted(agency.directory.rglob("*"))
        if path.is_file() and path.suffix in (".db", ".toml", ".json", ".note", ".key", ".entry", ".instance")
    }


def told(agency: Agency, state: str) -> str:
    """What one look says of a state that is there."""
    for one in ask("node", "doctor", "--dir", agency.directory, code=3)["findings"]:
        if one["state"] == state:
            return str(one["text"])
    raise AssertionError(f"{state} is gone")


# Where no node runs.


def spoil_config(agency: Agency) -> None:
    (agency.directory / "node.toml").write_text("lisen = 1\n")


def remove_roster(agency: Agency) -> None:
    (agency.directory / "roster" / "1.json").unlink()


def spoil_roster(agency: Agency) -> None:
    path = agency.directory / "roster" / "1.note"
    path.write_bytes(path.read_bytes().replace(b"test/roster", b"text/roster"))


def remove_key(agency: Agency) -> None:
    (agency.directory / "keys" / "node.key").unlink()


def spoil_key(agency: Agency) -> None:
    path = agency.directory / "keys" / "node.key"
    path.write_bytes(path.read_bytes()[:-20])


def put_other_key(agency: Agency) -> None:
    path = agency.directory / "keys" / "node.key"
    path.unlink()
    names = ("log", "witness", "node", "desk", "sealing", "master")
    secrets = {name: seed(f"x {name}") for name in names}
    write_key_file(path, "x", secrets, PASSPHRASE, os.urandom, cost=COST_MIN)


def remove_opening(agency: Agency) -> None:
    (agency.directory / "opening.entry").unlink()


def spoil_database(agency: Agency) -> None:
    _history(agency)
    agency.log_path.write_bytes(b"no database at all" * 100)


def remove_key_database(agency: Agency) -> None:
    _history(agency)
    agency.log_path.with_name("keys.db").unlink()


def after_history(spoil: Callable[[Agency], None]) -> Callable[[Agency], None]:
    def both(agency: Agency) -> None:
        _history(agency)
        spoil(agency)

    return both


def spoil_record(agency: Agency) -> None:
    _history(agency)
    agency.log_path.with_suffix(".instance").write_text("here\n")


def be_ahead(agency: Agency) -> None:
    node = agency.node(found=False)
    node.found(int(time.time()) // 3600 + 30)
    node.close()


def nothing(agency: Agency) -> None:
    """A directory as ``roster finish`` leaves it."""


AT_REST: list[tuple[Callable[[Agency], None], str, str]] = [
    (nothing, "not_founded", "not opened yet"),
    (_history, "not_running", "does not run"),
    (spoil_config, "config_wrong", "did you mean listen"),
    (remove_roster, "roster_missing", "no roster"),
    (spoil_roster, "roster_wrong", "roster/1"),
    (remove_key, "key_missing", "node.key is not there"),
    (spoil_key, "key_wrong", "damaged or cut short"),
    (put_other_key, "keys_other", "log, witness, node, desk, sealing key"),
    (remove_opening, "opening_missing", "no opening"),
    (spoil_database, "database_wrong", "log.db"),
    (remove_key_database, "key_database_missing", "keys.db"),
    (spoil_record, "instance_damaged", "is damaged"),
    (after_history(_restore_without_record), "instance_absent", "a log of 4 entries"),
    (after_history(_move_to_another_path), "instance_moved", "last ran on"),
    (after_history(_restore_older_log), "instance_behind", "has 3 entries, but this node has signed 4"),
    (after_history(_delete_log), "instance_behind", "has 0 entries, but this node has signed 4"),
    (after_history(_put_another_log_in_place), "instance_different", "not those that this node signed"),
    (be_ahead, "clock_behind", "hours behind"),
]


@pytest.mark.parametrize(
    ("spoil", "state", "words"), AT_REST, ids=[f"{n}-{row[1]}" for n, row in enumerate(AT_REST)]
)
def test_a_node_at_rest_is_explained(
    tmp_path: Path, spoil: Callable[[Agency], None], state: str, words: str
) -> None:
    """What the files show, in words, with the next command; nothing is changed by looking."""
    agency = founded(tmp_path)["district"]
    spoil(agency)
    found = examined(agency)
    assert state in found, found
    assert words in found[state]["text"], found[state]
    assert set(found) <= {state, "not_founded", "not_running"}


def test_a_wrong_passphrase_is_said_where_one_is_given(tmp_path: Path) -> None:
    """Without one the file is only looked at."""
    agency = founded(tmp_path)["district"]
    (tmp_path / "wrong").write_text("open barley\n")
    found = examined(agency, "--passphrase-file", tmp_path / "wrong")
    assert "does not open it" in found["key_wrong"]["text"]


def test_a_full_and_a_read_only_disk_are_told_apart(tmp_path: Path, small_disk: Path) -> None:
    """4 MB are below what a node needs; mounted read-only it says that instead."""
    agency = founded(tmp_path)["district"]
    _put_data_on(small_disk, agency)
    agency.node().close()
    _fill(small_disk)
    assert "0 MB left" in examined(agency)["disk_full"]["text"]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = examined(agency)
    assert "disk_read_only" in found and "disk_full" not in found


def test_a_folder_of_another_user_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run by a user who may read the directory and not write in it."""
    if os.geteuid() != 0:
        pytest.skip("taking another user takes root")
    base = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    try:
        agency = founded(base)["district"]
        agency.node().close()
        subprocess.run(["chmod", "-R", "a+rX", str(base)], check=True)
        pid = os.fork()
        if pid == 0:  # a child of its own, because a user given up does not come back
            os.setresuid(65534, 65534, 65534)
            from node.diagnosis import of_files

            seen = {one.state for one in of_files(agency.config(), HOUR, None)}
            os._exit(0 if "disk_denied" in seen else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        shutil.rmtree(base)


def second_roster(agency: Agency, *, dropped: str = "", sunset: int | None = None) -> None:
    """Put a version 2, signed by all others, into an agency's directory."""
    first = agency.world.roster
    kept = {name: key for name, key in first.agencies.items() if name != dropped}
    ends = {dropped: Ends(head=Head(1, 0, bytes(32)), next_era=2)} if dropped else {}
    raw = format_roster(
        ledger="test",
        agencies=kept,
        statute=json.loads(first.raw)["statute"],
        version=2,
        before=first.hash,
        sunset=sunset,
        ends=ends,
    )
    folder = agency.directory / "roster"
    (folder / "2.json").write_bytes(raw)
    (folder / "2.note").write_bytes(agency.world.sign_roster(parse_roster(raw), list(kept)))


def test_a_roster_that_drops_the_agency_is_told(tmp_path: Path) -> None:
    """Its log has ended; nothing else is said of it."""
    agency = founded(tmp_path, FOUR)["north"]
    agency.node().close()
    second_roster(agency, dropped="north")
    assert "does not name this agency" in examined(agency)["dropped"]["text"]


def test_a_misspelt_agency_among_the_peers_is_told(tmp_path: Path) -> None:
    """An address of an agency that no roster version names is of no use."""
    agency = founded(tmp_path, FOUR)["north"]
    agency.node().close()
    toml = agency.directory / "node.toml"
    toml.write_text(toml.read_text() + 'sprot = ["http://127.0.0.1:1"]\n')
    assert "sprot" in examined(agency)["peer_unknown"]["text"]


def test_a_newer_roster_in_hand_is_told(tmp_path: Path) -> None:
    """The log stands under version 1 while version 2 is here."""
    agency = founded(tmp_path, FOUR)["north"]
    agency.node().close()
    second_roster(agency, sunset=40_000)
    assert "version 2" in examined(agency)["roster_newer"]["text"]


def test_another_program_on_the_port_is_told(tmp_path: Path) -> None:
    """A web server that is no node."""
    agency = founded(tmp_path)["district"]
    agency.node().close()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", agency.port), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert str(agency.port) in examined(agency)["port_taken"]["text"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Where a node runs.


def test_a_healthy_node_is_healthy(tmp_path: Path, nodes: Nodes) -> None:
    """Exit code 0, by directory and by address, and what it holds."""
    agency = founded(tmp_path)["district"]
    nodes.start(agency)
    assert examined(agency) == {}
    assert "is healthy: 1 entries published" in say("node", "doctor", "--url", agency.url)
    assert ask("node", "doctor", "--url", agency.url)["healthy"] is True


def test_a_node_that_is_stuck_is_told_from_one_that_does_not_run(tmp_path: Path, nodes: Nodes) -> None:
    """Its process lives and holds the database, but no answer comes."""
    agency = founded(tmp_path)["district"]
    node = nodes.start(agency)
    node.process.send_signal(signal.SIGSTOP)
    try:
        assert f"process {node.process.pid}" in examined(agency)["silent"]["text"]
    finally:
        node.process.send_signal(signal.SIGCONT)


def test_the_node_of_another_agency_at_the_address_is_told(tmp_path: Path, nodes: Nodes) -> None:
    """Two agencies on one machine with one port."""
    made = founded(tmp_path, ("district", "sport"))
    nodes.start(made["sport"])
    toml = made["district"].directory / "node.toml"
    toml.write_text(toml.read_text().replace(f":{made['district'].port}", f":{made['sport'].port}"))
    assert "node of sport" in examined(made["district"])["other_node"]["text"]


def test_a_node_that_waits_says_of_whom_and_since_when(tmp_path: Path, nodes: Nodes) -> None:
    """One of three alone."""
    agency = founded(tmp_path, ("centre", "district", "sport"))["district"]
    nodes.start(agency)
    found = examined(agency)
    text = found["waits_for_answers"]["text"]
    assert "centre, sport" in text and time.strftime("%Y-", time.gmtime()) in text
    assert "--alone" in found["waits_for_answers"]["do"]


def test_a_database_older_than_what_others_hold_is_told(tmp_path: Path, nodes: Nodes) -> None:
    """Restored with its instance record: only the others know."""
    made = founded(tmp_path, ("centre", "district", "sport"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    district = made["district"]
    wait_for(lambda: running["district"].status()["is_sequencing"], "all to have heard")
    running["district"].stop()
    shutil.copytree(district.config().data, tmp_path / "older")
    running["district"] = nodes.start(district)
    wait_for(lambda: running["district"].status()["is_sequencing"], "all to have heard")
    with HttpClient(district.url) as client:
        receipt = post(client, district, district.grant())
    assert isinstance(receipt, bytes)
    size = parse_proof(receipt).index + 1  # the status shows what is published, a moment later
    wait_for(lambda: held(running["sport"], "district") >= size, "the others")
    running["district"].stop()
    shutil.rmtree(district.config().data)
    shutil.copytree(tmp_path / "older", district.config().data)
    nodes.start(district)
    wait_for(lambda: "refused" in seen(district), "what the others say")
    assert "restored or rebuilt" in told(district, "refused")


def held(node: Any, agency: str) -> int:
    sizes = {log["origin"].split("/")[1]: log["size"] for log in node.status()["logs"]}
    return int(sizes[agency])


def test_another_history_is_told_at_both_ends(tmp_path: Path, nodes: Nodes) -> None:
    """The owner: its log has forked, and what mends it. The holder: whose log, and where."""
    made = founded(tmp_path, ("district", "sport"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    district = made["district"]
    wait_for(lambda: running["district"].status()["is_sequencing"], "both to have heard")
    wait_for(lambda: held(running["sport"], "district") >= 2, "the first history")
    running["district"].stop()
    running["sport"].stop()
    shutil.rmtree(district.config().data)
    running["district"] = nodes.start(district, "--alone")
    with HttpClient(district.url) as client:
        for number in range(4):
            assert isinstance(post(client, district, district.grant(f"clerk {number}")), bytes)
    sport = nodes.start(made["sport"], "--alone")
    wait_for(lambda: any(log["fork"] for log in sport.status()["logs"]), "the fork")
    listed = ask("forks", "list", "--dir", made["sport"].directory, code=3)["forks"]
    assert [one["origin"] for one in listed] == ["test/district/1"]
    running["district"].stop()
    nodes.start(district)
    wait_for(lambda: "forked" in seen(district), "what the other says")
    assert "test/district/1 has forked" in told(district, "forked")


def test_a_copy_that_does_not_go_on_is_told(tmp_path: Path, nodes: Nodes) -> None:
    """The owner's disk has lost a bit of a leaf: nobody takes it, and each says of which log."""
    made = founded(tmp_path, ("district", "sport"))
    sport = made["sport"]
    running = nodes.start(sport, "--alone")
    with HttpClient(sport.url) as client:
        for number in range(2):
            assert isinstance(post(client, sport, sport.grant(f"clerk {number}")), bytes)
    running.stop()
    with contextlib.closing(sqlite3.connect(sport.log_path)) as database, database:
        database.execute("DROP TRIGGER leaf_never_update")
        [(leaf,)] = database.execute("SELECT leaf FROM leaf WHERE leaf_index = 1").fetchall()
        spoiled = leaf[:-200] + bytes([leaf[-200] ^ 1]) + leaf[-199:]
        database.execute("UPDATE leaf SET leaf = ? WHERE leaf_index = 1", (spoiled,))
    nodes.start(sport, "--alone")
    nodes.start(made["district"])
    wait_for(lambda: "mirror_fault" in seen(made["district"]), "the fault")
    assert "test/sport/1" in told(made["district"], "mirror_fault")


def test_a_fork_is_led_through_to_a_new_era(tmp_path: Path, nodes: Nodes) -> None:
    """Forked, its opening put but not open, then healthy: each look names the next command, and it works."""
    made = founded(tmp_path, ("district", "sport"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    district = made["district"]
    wait_for(lambda: running["district"].status()["is_sequencing"], "both to have heard")
    running["district"].stop()
    shutil.copytree(district.config().data, tmp_path / "older")
    running["district"] = nodes.start(district)
    wait_for(lambda: running["district"].status()["is_sequencing"], "both to have heard")
    size = running["district"].status()["size"]
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.grant()), bytes)
    wait_for(lambda: held(running["sport"], "district") > size, "the first history")
    running["district"].stop()
    running["sport"].stop()
    shutil.rmtree(district.config().data)
    shutil.copytree(tmp_path / "older", district.config().data)
    running["district"] = nodes.start(district, "--alone")
    with HttpClient(district.url) as client:
        for number in range(3):
            assert isinstance(post(client, district, district.grant(f"clerk {number}")), bytes)
    nodes.start(made["sport"])
    wait_for(lambda: "forked" in seen(district), "the fork")
    wait_for(lambda: len(branches(running["district"])) == 1, "the other branch")
    assert "era plan" in examined(district)["forked"]["do"]
    draft, entry = tmp_path / "era.draft", tmp_path / "era.entry"
    ask("era", "plan", "--dir", district.directory, "-o", draft)
    ask("era", "sign", draft, "--dir", district.directory, "-o", entry)
    ask("era", "open", entry, "--dir", district.directory)
    wait_for(lambda: "start the node again" in told(district, "era_waits"), "the opening to be seen")
    running["district"].stop()
    assert "era_waits" in examined(district)
    nodes.start(district)
    wait_for(lambda: seen(district) == [], "the new era", 2 * DEADLINE_S)


def branches(node: Any) -> list[str]:
    [fork] = [log["fork"] for log in node.status()["logs"] if log["origin"] == "test/district/1"]
    return list(fork["branches"])


def test_entries_of_a_late_branch_are_named(tmp_path: Path) -> None:
    """Owed until they are in the log: what the node says of itself is told."""
    with net_of(tmp_path, "centre", "district", "sport", "youth") as net:
        hidden, _ = late_branch(net, tmp_path)
        node = net.peers["district"].node

        def owed() -> list[object]:
            status = json.loads(answer(node, Request(method="GET", path="/v1/status"), HOUR).body)
            return [one.values["entries"] for one in of_status(status) if one.state == "owed"]

        assert owed() == [[hidden.entry.header.entry_id.hex()]]
        net.wait_for(lambda: net.peers["district"].submit(hidden) == 200, 30)
        assert owed() == []


def test_a_lease_taken_by_another_process_is_told(tmp_path: Path, nodes: Nodes) -> None:
    """Two processes on one database: the first writes nothing more."""
    agency = founded(tmp_path)["district"]
    nodes.start(agency)
    other = agency.node(found=False)
    try:
        assert f"process {os.getpid()}" in examined(agency)["overtaken"]["text"]
    finally:
        other.close()


def test_a_commit_that_cannot_be_written_is_told_until_one_can(tmp_path: Path, nodes: Nodes) -> None:
    """The process may write no byte further in any file; freed, the next entry clears it."""
    agency = founded(tmp_path)["district"]
    node = nodes.start(agency)
    soft, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    with HttpClient(agency.url) as client:
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        assert not isinstance(post(client, agency, agency.grant()), bytes)
        assert "log.db" in examined(agency)["trouble"]["text"]
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        assert isinstance(post(client, agency, agency.grant()), bytes)
    assert examined(agency) == {}


def test_witnesses_that_do_not_cosign_are_named(tmp_path: Path, nodes: Nodes) -> None:
    """Certification stands while two of three are away: who, since when, the last answer; then it heals."""
    made = founded(tmp_path, ("centre", "district", "sport"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    district = made["district"]
    wait_for(lambda: running["district"].status()["is_sequencing"], "all to have heard")
    running["centre"].stop()
    running["sport"].stop()
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.grant()), bytes)
    wait_for(lambda: "certification_lags" in seen(district), "the witnesses' silence")
    wait_for(lambda: "no answer" in told(district, "certification_lags"), "the last answers")
    assert "sport" in told(district, "certification_lags")
    nodes.start(made["centre"])
    nodes.start(made["sport"])
    wait_for(lambda: seen(district) == [], "certification", 2 * DEADLINE_S)


SLOW_CLOCK = (
    "import sys, time; now = time.time_ns; time.time_ns = lambda: now() - 36_000 * 10**9; "
    "from cli.main import main; main()"
)
"""A node's process whose clock stands ten hours behind."""


def test_a_clock_that_stands_off_is_told_with_whose_answers(tmp_path: Path, nodes: Nodes) -> None:
    """Its own says one thing, those of both others another."""
    made = founded(tmp_path, ("centre", "district", "sport"))
    for name in ("centre", "sport"):
        nodes.start(made[name])
    district = made["district"]
    log = district.directory / "node.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW_CLOCK, "node", "run", "--dir", str(district.directory)],
            cwd=REPOSITORY,
            env=os.environ | {"PLEDGER_PASSPHRASE": PASSPHRASE},
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    nodes.started.append(RunningNode(district, process, log))
    wait_for(lambda: "clock_astray" in seen(district), "the clocks of the others")
    assert "by 10 hours (they are ahead)" in told(district, "clock_astray")


# The words.


def test_every_state_has_its_words_and_its_test() -> None:
    """No state without an explanation, none that no test brings about."""
    texts = catalogue("messages")
    for section in ("doctor", "doctor_do"):
        assert {key.partition(".")[2] for key in texts if key.startswith(f"{section}.")} == set(STATES)
    source = Path(__file__).read_text()
    assert [one for one in STATES if f'"{one}"' not in source] == []


def test_nobody_is_blamed() -> None:
    """What is the case, never whose mistake."""
    for key, text in catalogue("messages").items():
        if key.startswith("doctor"):
            words = f"{text.en} {text.ru}".lower()
            assert not any(word in words for word in ("you ", "your ", "mistake", " вы ", "ошибл")), key
