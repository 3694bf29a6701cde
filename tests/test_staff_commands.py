"""The staff's commands as typed, without a node or with a false one: classes, lists, outbox, proof."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli.main import pledger
from cli.outbox import Outbox, Stored
from cli.register import Register, read_register
from cli.workspace import (
    Settings,
    Workspace,
    connect_workspace,
    format_settings,
    make_workspace,
    open_workspace,
    parse_settings,
)
from ledger.errors import Conflict, LedgerError, Malformed, Unproven
from ledger.presentation import check_presentation, parse_presentation
from node.http_client import HttpClient
from tests.staff_side import (
    AGENCY,
    PASSPHRASE,
    UNIT,
    Answer,
    Foresight,
    ScriptedNode,
    conflict,
    connected,
    down,
    randomness,
    target,
)
from tests.world import MemorySource, World

REPOSITORY = Path(__file__).resolve().parents[1]
ROSTER = (
    "local_id;name;stage;class_level;entry_type;date;class\n"
    "7a-01;Сказкина Алёна;basic;7;next_year;2026-09-01;7а\n"
    "7a-02;Небывалов Тихон;basic;7;new;2026-09-01;7а\n"
)
RESULTS = (
    "local_id;school_year;term;subject_code;scale;value;result_type\n"
    "7a-01;2026/2027;q1;ALG;ru5;5;term\n"
    "7a-02;2026/2027;q1;ALG;ru5;4;term\n"
)
NOTICE = ["--notice-hash", "ab" * 32, "--shown-on", "2026-09-01"]


@dataclass
class Desk:
    """One staff member's computer."""

    world: World
    folder: Path
    workspace: Workspace

    def __post_init__(self) -> None:
        log = self.world.logs[AGENCY]
        given = log.grant(key=self.workspace.public_key())
        log.take(log.leaf(log.entry([given], by="registrar")))
        self.foresight = Foresight(self.world.logs[AGENCY], self.folder / "node")

    def type(self, *words: str | Path, code: int | None = 0) -> Result:
        """Run a command; it must end with this exit code, and never with a traceback."""
        environment = {
            "PLEDGER_HOME": str(self.workspace.home),
            "PLEDGER_PASSPHRASE": PASSPHRASE,
            "PLEDGER_PASSPHRASE_FILE": "",
        }
        result = CliRunner().invoke(pledger, [str(word) for word in words], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert code is None or result.exit_code == code, result.output
        return result

    def ask(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """The JSON object that a command answers."""
        value: dict[str, Any] = json.loads(self.type(*words, "--json", code=code).stdout)
        return value

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def register(self) -> Register:
        return read_register(self.workspace.register_path, self.workspace.unlock(PASSPHRASE))

    def entries(self) -> list[Stored]:
        signer = self.workspace.unlock(PASSPHRASE)
        return Outbox(self.workspace.outbox_path, signer, os.urandom).entries()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    world = World()
    made = Desk(world, tmp_path, connected(tmp_path / "home", world))
    yield made
    made.foresight.close()


@pytest.fixture
def enrolled(desk: Desk) -> Desk:
    desk.type("class", "enrol", desk.file("roster.csv", ROSTER), *NOTICE, "--offline")
    return desk


def script(monkeypatch: pytest.MonkeyPatch, desk: Desk, *answers: Answer) -> ScriptedNode:
    """Let a scripted node answer in the place of the network."""
    node = ScriptedNode(desk.world.logs[AGENCY], list(answers), desk.foresight)
    monkeypatch.setattr(HttpClient, "run", lambda self, procedure: node.run(procedure))
    return node


# The workspace.


def test_a_workspace_made_without_a_network_is_connected_later(tmp_path: Path) -> None:
    """The key comes first; roster and node keys are checked from the ledger id on when there is a network."""
    world, home = World(), tmp_path / "home"
    environment = {"PLEDGER_PASSPHRASE": PASSPHRASE}
    typed = ["staff", "key", "--agency", AGENCY, "--ledger", world.ledger_id.hex(), "--unit", UNIT]
    result = CliRunner().invoke(pledger, [*typed, "--home", str(home), "--json"], env=environment)
    assert result.exit_code == 0, result.output
    workspace = open_workspace(home)
    assert workspace.public_key().hex() == json.loads(result.stdout)["key"]
    late = CliRunner().invoke(pledger, ["outbox", "list", "--home", str(home)], env=environment)
    assert (late.exit_code, "staff connect" in late.stderr) == (2, True)
    connect_workspace(workspace, MemorySource(world.tree()), target(world.logs[AGENCY]), 1)
    assert open_workspace(home).target().log == target(world.logs[AGENCY]).log


def test_a_second_key_never_overwrites_the_first(desk: Desk) -> None:
    """Keys are lost once only."""
    before = desk.workspace.key_path.read_bytes()
    words = ["staff", "key", "--agency", AGENCY, "--ledger", "ab" * 32, "--unit", UNIT]
    desk.type(*words, code=4)
    assert desk.workspace.key_path.read_bytes() == before


def test_the_roster_of_another_ledger_is_refused_and_nothing_is_connected(tmp_path: Path) -> None:
    """A node that shows another roster than the ledger id names gets no sealed bodies."""
    settings = Settings(ledger_id="ab" * 32, agency=AGENCY, unit=UNIT)
    workspace = make_workspace(tmp_path / "home", settings, PASSPHRASE, randomness())
    world = World()
    with pytest.raises(Unproven, match=r"roster\.ledger_id"):
        connect_workspace(workspace, MemorySource(world.tree()), target(world.logs[AGENCY]), 1)
    assert open_workspace(tmp_path / "home").settings.url == ""


def test_a_roster_changed_on_the_disk_is_noticed(desk: Desk) -> None:
    """The kept roster is checked again on each use: nobody adds a kind with an editor."""
    path = desk.workspace.home / "roster" / "1.json"
    path.write_bytes(path.read_bytes().replace(b"attendance_summary", b"attendance_summery"))
    assert "roster.ledger_id" in desk.type("outbox", "list", code=1).stderr


def test_the_node_of_another_agency_is_not_connected_to(desk: Desk) -> None:
    """A school's lists do not go to the federation by a slip."""
    world = desk.world
    with pytest.raises(Malformed, match="node of sport"):
        connect_workspace(desk.workspace, MemorySource(world.tree()), target(world.logs["sport"]), 1)


@given(st.text(max_size=80))
def test_no_settings_give_a_traceback(text: str) -> None:
    """Any text in staff.toml is settings or refused."""
    for data in (text, f'ledger_id = "{"ab" * 32}"\nagency = "a"\nunit = "u"\n{text}'):
        try:
            settings = parse_settings(data.encode())
        except LedgerError:
            continue
        assert parse_settings(format_settings(settings)) == settings


@pytest.mark.parametrize("line", ["unti = 1", 'unit = ""', 'unit = "a b"', "unit = 5", 'url = ["x"]', "= "])
def test_a_wrong_setting_is_told(line: str) -> None:
    """A misspelt or mistyped key is an error, not a default."""
    data = f'ledger_id = "{"ab" * 32}"\nagency = "a"\n{line}\n'
    with pytest.raises(Malformed):
        parse_settings(data.encode())


def test_two_commands_do_not_work_in_one_workspace_at_once(desk: Desk) -> None:
    """The second is told to wait, and changes nothing."""
    with desk.workspace.locked():
        assert "wait" in desk.type("outbox", "list", code=4).stderr
    desk.type("outbox", "list")


def test_a_wrong_passphrase_opens_nothing(desk: Desk) -> None:
    """Told as what it is."""
    path = desk.file("wrong", "not it\n")
    assert "passphrase" in desk.type("class", "list", "--passphrase-file", path, code=1).stderr


def test_without_a_terminal_no_passphrase_is_asked(desk: Desk) -> None:
    """A script stops with a word instead of waiting for ever."""
    result = CliRunner().invoke(pledger, ["class", "list", "--home", str(desk.workspace.home)])
    assert result.exit_code == 2
    assert "PLEDGER_PASSPHRASE" in result.stderr


# Classes.


def test_a_class_is_enrolled_with_notice_before_each_enrolment(desk: Desk) -> None:
    """Each child gets a pseudonym, a notice and an enrolment in the unit of the clerk."""
    value = desk.ask("class", "enrol", desk.file("roster.csv", ROSTER), *NOTICE, "--offline")
    assert (value["enrolled"], value["waiting"]) == (2, 4)
    [stored] = desk.entries()
    assert sorted(one.kind for one in stored.records) == ["enrolment", "enrolment", "notice", "notice"]
    enrolment = next(one for one in stored.records if one.kind == "enrolment")
    assert enrolment.fields["org_id"] == UNIT
    assert enrolment.fields["profile"] == "school_only"
    assert {one.subject for one in stored.records} == set(desk.register().pids().values())
    assert "Небывалов Тихон" in desk.type("class", "list").stdout


def test_a_pupil_who_is_enrolled_already_is_left_alone(enrolled: Desk) -> None:
    """The list with a new child at its end enrols that child only."""
    before = enrolled.register().pids()
    roster = enrolled.file("roster.csv", ROSTER + "7a-03;Придумов Елисей;basic;7;new;2026-09-01;7а\n")
    value = enrolled.ask("class", "enrol", roster, *NOTICE, "--offline")
    assert (value["enrolled"], value["left_alone"]) == (1, 2)
    after = enrolled.register().pids()
    assert {name: after[name] for name in before} == before


def test_a_bad_class_list_enrols_nobody(desk: Desk) -> None:
    """Every error is told, and neither register nor outbox exists afterwards."""
    bad = ROSTER.replace("basic;7;new", "basic;17;new").replace("7a-01", "7a-02")
    result = desk.type("class", "enrol", desk.file("roster.csv", bad), *NOTICE, "--offline", code=4)
    assert "class_level" in result.stderr
    assert "stands twice" in result.stderr
    assert not desk.workspace.register_path.exists()
    assert desk.entries() == []


def test_a_stop_between_signing_and_the_register_is_mended_by_the_next_command(enrolled: Desk) -> None:
    """The outbox knows whom it enrols: the register is completed, with the pseudonyms that were signed."""
    before = enrolled.register()
    enrolled.workspace.register_path.unlink()
    value = enrolled.ask("class", "enrol", enrolled.folder / "roster.csv", *NOTICE, "--offline")
    assert value["enrolled"] == 0
    assert enrolled.register().pids() == before.pids()


def test_a_colleague_named_as_recipient_can_open_the_register(enrolled: Desk) -> None:
    """One option makes the register readable for a substitute or a recovery holder."""
    colleague = enrolled.world.logs[AGENCY].key("colleague")
    enrolled.type(
        "class",
        "enrol",
        enrolled.folder / "roster.csv",
        *NOTICE,
        "--offline",
        "--recipient",
        colleague.public_key.hex(),
    )
    own = enrolled.workspace.public_key()
    assert read_register(enrolled.workspace.register_path, colleague, [own]).pids()


def test_no_name_leaves_the_class_register_in_the_clear(enrolled: Desk) -> None:
    """Nothing that the tool wrote, beside the list that it was given, has a child's name or mark."""
    enrolled.type("import", enrolled.file("results.csv", RESULTS), "--kind", "results", "--yes", "--offline")
    canaries = [text.encode() for text in ("Сказкина", "Небывалов", "7a-01", "results.csv")]
    for path in enrolled.workspace.home.rglob("*"):
        if path.is_file() and "roster" not in path.parts:
            data = path.read_bytes()
            assert [canary for canary in canaries if canary in data] == []


# Lists and single records.


def test_a_list_is_signed_offline_with_one_signature(enrolled: Desk) -> None:
    """Up to signing everything works without a network."""
    path = enrolled.file("results.csv", RESULTS)
    assert enrolled.ask("import", path, "--kind", "results", "--dry-run")["records"] == 2
    assert len(enrolled.entries()) == 1
    value = enrolled.ask("import", path, "--kind", "results", "--yes", "--offline")
    assert (value["waiting"], [one["state"] for one in value["entries"]]) == (2, ["waiting"])
    assert len(enrolled.entries()) == 2


def test_with_the_node_down_the_list_waits_and_the_message_says_what_to_type(
    enrolled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5, nothing lost, and the next command is named."""
    script(monkeypatch, enrolled, down(), down())
    path = enrolled.file("results.csv", RESULTS)
    result = enrolled.type("import", path, "--kind", "results", "--yes", code=5)
    assert "pledger outbox send" in result.output
    script(monkeypatch, enrolled, "accept", "accept")
    value = enrolled.ask("outbox", "send")
    assert (value["recorded"], value["waiting"]) == (6, 0)
    assert {one["state"] for one in enrolled.ask("outbox", "list")["entries"]} == {"accepted"}
    assert enrolled.ask("outbox", "send")["recorded"] == 0


def test_what_waited_goes_first(enrolled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An enrolment signed offline reaches the node before the marks that need it."""
    node = script(monkeypatch, enrolled, "accept", "accept")
    value = enrolled.ask("import", enrolled.file("results.csv", RESULTS), "--kind", "results", "--yes")
    assert value["recorded"] == 2
    kinds = [[one.kind for one in got.private.records] for got in node.got if got.private]
    assert "enrolment" in kinds[0]
    assert kinds[1] == ["subject_result", "subject_result"]


def test_a_list_imported_twice_adds_nothing_and_says_so(
    enrolled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0: nothing had to be done."""
    path = enrolled.file("results.csv", RESULTS)
    script(monkeypatch, enrolled, "accept", "accept")
    enrolled.type("import", path, "--kind", "results", "--yes")
    node = script(monkeypatch, enrolled)
    result = enrolled.type("import", path, "--kind", "results")
    assert "2 already recorded" in result.stdout and "nothing to add" in result.stdout
    assert (len(enrolled.entries()), node.got, node.asked) == (2, [], 1)


def test_a_conflict_is_shown_with_its_row_and_nothing_is_written(
    enrolled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the list, the value, and the record that stands."""

    def second(got: Any) -> Any:
        marks = {one.fields["value"]: one.hash for one in got.private.records}
        return conflict(marks["4"])

    script(monkeypatch, enrolled, "accept", second)
    value = enrolled.ask(
        "import", enrolled.file("results.csv", RESULTS), "--kind", "results", "--yes", code=4
    )
    [refused] = value["refused"]
    assert (refused["file"], refused["row"]) == ("results.csv", 3)
    assert "4" in refused["value"]
    assert "other content" in refused["text"]
    assert value["recorded"] == 0


def test_one_record_is_typed_and_shown_with_its_checked_receipt(
    enrolled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """append, then show by the start of its hash."""
    script(monkeypatch, enrolled, "accept", "accept")
    typed = [
        "school_year=2026/2027",
        "term=q1",
        "subject_code=ALG",
        "scale=ru5",
        "value=5",
        "result_type=term",
    ]
    value = enrolled.ask("append", "subject_result", "--pupil", "7a-01", *typed)
    name = value["entries"][0]["records"][0]
    shown = enrolled.ask("show", name[:12])
    assert shown["records"][0]["pupil"] == "7a-01"
    assert shown["records"][0]["fields"]["value"] == "5"
    assert shown["receipt"]["origin"] == f"test/{AGENCY}/1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["subject_result", "--pupil", "7a-01", "value=6"], "one of 2, 3, 4, 5"),
        (["subject_result", "--pupil", "7a-99", "value=5"], "not in the class register"),
        (["subject_result", "--pupil", "7a-01", "rating=5"], "not a field"),
    ],
)
def test_a_record_typed_wrongly_is_refused_before_it_is_signed(
    enrolled: Desk, words: list[str], says: str
) -> None:
    """The statutory list speaks before anything leaves the computer."""
    typed = ["school_year=2026/2027", "term=q1", "subject_code=ALG", "scale=ru5", "result_type=term"]
    assert says in enrolled.type("append", *words, *typed, "--offline", code=4).stderr
    assert len(enrolled.entries()) == 1


def test_what_is_no_assignment_is_a_usage_error(enrolled: Desk) -> None:
    """FIELD=VALUE, once each."""
    for words in (["value"], ["=5"], ["value=5", "value=4"], ["local_id=7a-02"]):
        enrolled.type("append", "subject_result", "--pupil", "7a-01", *words, "--offline", code=2)


def test_a_record_is_proven_to_an_outsider(enrolled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds under the log's key, names no child, and is never overwritten."""
    script(monkeypatch, enrolled, "accept", "accept")
    value = enrolled.ask("import", enrolled.file("results.csv", RESULTS), "--kind", "results", "--yes")
    name, path = value["entries"][0]["records"][0], enrolled.folder / "anna.tlog-proof"
    enrolled.type("prove", name, "-o", path)
    presentation = parse_presentation(path.read_bytes())
    check_presentation(presentation, target(enrolled.world.logs[AGENCY]).log)
    assert presentation.record_hash.hex() == name
    assert not any(pid in path.read_bytes() for pid in enrolled.register().pids().values())
    before = path.read_bytes()
    enrolled.type("prove", name, "-o", path, code=4)
    assert path.read_bytes() == before


def test_what_has_no_receipt_is_not_proven(enrolled: Desk) -> None:
    """A signed record that the node has not taken is no fact of the ledger."""
    name = enrolled.entries()[0].records[0].hash.hex()
    result = enrolled.type("prove", name, "-o", enrolled.folder / "x.tlog-proof", code=2)
    assert "outbox send" in result.stderr
    assert not (enrolled.folder / "x.tlog-proof").exists()


def test_a_workspace_whose_files_are_gone_or_odd_gives_errors_and_no_traceback(enrolled: Desk) -> None:
    """Each file of the workspace damaged in turn."""
    home = enrolled.workspace.home
    for path in (home / "staff.toml", home / "register.sealed", home / "staff.key", *home.glob("outbox/*")):
        data = path.read_bytes()
        for broken in (b"", b"\x00" * 40, data[: len(data) // 2]):
            path.write_bytes(broken)
            result = enrolled.type("class", "list", code=None)
            is_empty_slot = (
                path.parent.name == "outbox" and not broken
            )  # the name taken, the entry not yet there
            assert (result.exit_code != 0) or is_empty_slot
        path.write_bytes(data)
    enrolled.type("class", "list")


# Killed, with a real process and a real socket.


@pytest.fixture
def killer() -> Iterator[tuple[str, list[int]]]:
    """A node that kills whoever submits to it, in the middle of the submission."""
    pids: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", pids
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_kill_9_between_signing_and_sending_loses_nothing(
    tmp_path: Path, killer: tuple[str, list[int]]
) -> None:
    """The process dies while it sends; the signed entry waits, and goes out later as it was signed."""
    url, pids = killer
    world = World()
    desk = Desk(world, tmp_path, connected(tmp_path / "home", world, url=url))
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "class",
        "enrol",
        str(desk.file("roster.csv", ROSTER)),
        *NOTICE,
    ]
    environment = {**os.environ, "PLEDGER_HOME": str(desk.workspace.home), "PLEDGER_PASSPHRASE": PASSPHRASE}
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    pids.append(process.pid)
    assert process.wait(60) == -signal.SIGKILL
    [stored] = desk.entries()
    assert (stored.state, len(stored.records)) == ("waiting", 4)
    assert len(desk.ask("class", "list")["pupils"]) == 2
    [listed] = desk.ask("outbox", "list")["entries"]
    assert listed["entry_id"] == stored.entry_id.hex()


def test_a_key_file_left_empty_by_a_crash_is_told(tmp_path: Path) -> None:
    """An empty staff.key is no key, and is not overwritten either."""
    world = World()
    desk = Desk(world, tmp_path, connected(tmp_path / "home", world))
    desk.workspace.key_path.write_bytes(b"")
    with pytest.raises(Conflict):
        make_workspace(desk.workspace.home, desk.workspace.settings, PASSPHRASE, randomness())
