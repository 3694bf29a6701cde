"""What waits and what cannot go: days offline, late grants, kill -9, two clerks; none lost, none doubled."""

from __future__ import annotations

import datetime
import itertools
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from cli import sending_on
from cli.command import now
from cli.patience import FIRST_S, LONGEST_S, is_passing, pauses
from ledger.errors import Unproven
from node.protocol import Problem, ProblemAnswer
from tests.agencies import DEADLINE_S, Nodes, RunningNode, found_agencies, wait_for
from tests.agencies import nodes as nodes
from tests.clerks import RESULTS, Clerk, clerk_of, exchange, grant
from tests.spoiled import extended, flipped, truncated
from tests.staff_side import down
from tests.world import DAY


@pytest.fixture
def clerks(tmp_path: Path) -> dict[str, Clerk]:
    """Two clerks of one agency; its node does not run yet."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    return {name: clerk_of(agency, tmp_path / name, name) for name in ("clerk", "colleague", "stranger")}


@pytest.fixture
def clerk(clerks: dict[str, Clerk]) -> Clerk:
    """A clerk with a class enrolled offline."""
    clerks["clerk"].enrol("--offline")
    return clerks["clerk"]


def import_results(clerk: Clerk, *words: str, code: int = 0) -> dict[str, Any]:
    path = clerk.file("results.csv", RESULTS)
    return clerk.ask("import", path, "--kind", "results", "--yes", *words, code=code)


def name_of(clerk: Clerk, number: int = -1) -> str:
    return clerk.entries()[number].entry_id.hex()[:16]


def snapshot(clerk: Clerk) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in clerk.home.rglob("[!.]*") if path.is_file()}


# Days without a network.


def test_five_days_offline_then_everything_is_sent_in_its_order(
    clerks: dict[str, Clerk], nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed on five days, listed with since when, then one send; a second send adds nothing."""
    clerk = clerks["clerk"]
    for days in (5, 4, 3, 2, 1):
        then = now() - datetime.timedelta(days=days)
        monkeypatch.setattr("cli.desk.now", lambda then=then: then)
        if days == 5:
            clerk.enrol("--offline")
        text = RESULTS.replace("ALG", f"SUB{days}")
        clerk.type("import", clerk.file("r.csv", text), "--kind", "results", "--yes", "--offline")
    monkeypatch.undo()
    assert import_results(clerk, code=5)["waiting"] == 2
    waits = [one["waits"] for one in clerk.ask("outbox", "list")["entries"]]
    assert waits == ["5 days", "5 days", "4 days", "3 days", "2 days", "24 hours", "0 hours"]
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    value = clerk.ask("outbox", "send")
    assert (value["recorded"], value["waiting"], value["refused"]) == (6 + 6 * 2, 0, [])
    assert set(clerk.states()) == {"accepted"}
    assert clerk.ask("outbox", "send")["recorded"] == 0


def test_waiting_goes_on_by_itself_when_the_node_is_back(clerk: Clerk, nodes: Nodes) -> None:
    """Started while the node is down; ends with 0 when everything is recorded, and holds nothing between."""
    node = nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    node.stop()
    with clerk.start("outbox", "send", "--wait", "--json") as process:
        try:
            assert process.stderr is not None
            assert "trying again" in process.stderr.readline()
            wait_for(lambda: clerk.type("outbox", "list", code=None).exit_code == 0, "a free workspace")
            nodes.start(clerk.agency)
            output, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, json.loads(output)["recorded"]) == (0, 6)
    assert clerk.states() == ["accepted"]


def test_ctrl_c_ends_the_waiting_and_loses_nothing(clerk: Clerk) -> None:
    """Exit code 130, and the entry waits on."""
    with clerk.start("outbox", "send", "--wait") as process:
        try:
            assert process.stderr is not None
            assert "trying again" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
        finally:
            process.kill()
    assert clerk.states() == ["waiting"]


def test_a_try_while_another_window_works_is_tried_again(
    clerk: Clerk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace that is held is no reason to give up, and the waiting itself holds nothing."""
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    held = clerk.workspace.locked()
    held.__enter__()
    slept: list[float] = []

    def sleep(pause: float) -> None:
        slept.append(pause)
        held.__exit__(None, None, None)

    monkeypatch.setattr(sending_on, "sleep", sleep)
    assert clerk.ask("outbox", "send", "--wait")["recorded"] == 6
    assert len(slept) == 1


def test_pauses_double_to_a_bound_with_jitter() -> None:
    """A district's tools do not all knock in one second."""
    for chance in (0.0, 0.5, 1.0):
        found = list(itertools.islice(pauses(lambda chance=chance: chance), 15))
        assert found[0] == FIRST_S * (0.5 + chance)
        assert found[-1] == LONGEST_S * (0.5 + chance)
        assert found == sorted(found)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (None, False),
        (down(), True),
        (ProblemAnswer(Problem(status=503, code="node.store", detail="")), True),
        (ProblemAnswer(Problem(status=409, code="record.identity", detail="")), False),
        (Unproven("a receipt of another log"), False),
    ],
)
def test_only_what_is_no_judgement_is_tried_again(error: Any, passes: bool) -> None:
    """A refusal, and an answer that does not prove itself, end the waiting."""
    assert is_passing(error) is passes


# A grant that ended.


def test_a_list_signed_too_late_is_signed_again_by_a_colleague(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes
) -> None:
    """Refused with what to do, handed over, adopted, recorded once; the first author then adds nothing."""
    colleague = clerks["colleague"]
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk", until=DAY - 1000)
    grant(clerk.agency, "colleague")
    value = clerk.ask("outbox", "send", code=4)
    assert "author.late" in value["refused"][0]["text"] and "hand-over" in value["refused"][0]["text"]
    [listed] = clerk.ask("outbox", "list")["entries"]
    assert listed["state"] == "refused" and listed["reason"].startswith("author.late")
    assert "hand-over" in listed["do"] and "hand-over" in clerk.type("outbox", "list").stdout
    path = clerk.home.with_name("list.sealed")
    name = name_of(clerk)
    clerk.type("outbox", "hand-over", name, "--to", colleague.key, "-o", path)
    adopt = ("outbox", "adopt", path, "--from", clerk.key, "--yes")
    value = colleague.ask(*adopt)
    assert (value["recorded"], value["adopted"]) == (6, 6)
    assert colleague.register().pids() == clerk.register().pids()
    again = colleague.ask(*adopt)
    assert (again["recorded"], again["adopted"], again["adopted_before"]) == (0, 0, 6)
    mine = {one.hash for one in clerk.entries()[0].records}
    assert {one.hash for one in colleague.entries()[0].records} == mine
    grant(clerk.agency, "clerk")
    sent = clerk.ask("outbox", "send", "--again")
    assert (sent["recorded"], sent["already_recorded"]) == (0, 6)
    assert clerk.entries() == []


def test_what_reached_the_node_after_all_is_recognised_when_adopted(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes
) -> None:
    """Handed over while it waited, then sent by its author too: the colleague's copy adds nothing."""
    colleague = clerks["colleague"]
    path = clerk.home.with_name("list.sealed")
    clerk.type("outbox", "hand-over", name_of(clerk), "--to", colleague.key, "-o", path)
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk", "colleague")
    clerk.type("outbox", "send")
    value = colleague.ask("outbox", "adopt", path, "--from", clerk.key, "--yes")
    assert (value["recorded"], value["already_recorded"]) == (0, 6)
    assert colleague.entries() == []


def test_a_correction_that_reached_the_node_after_all_is_recognised_when_adopted(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes
) -> None:
    """A correction and a withdrawal, handed over and sent by their author too: nothing is left refused."""
    colleague = clerks["colleague"]
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk", "colleague")
    clerk.type("outbox", "send")
    import_results(clerk)
    five, four = sorted(clerk.entries()[-1].records, key=lambda one: str(one.fields["value"]), reverse=True)
    clerk.type("correct", five.hash.hex(), "value=3", "--offline", "--yes")
    clerk.type("withdraw", four.hash.hex(), "--reason", "court", "--offline", "--yes")
    paths = [clerk.home.with_name(f"{number}.sealed") for number in (-1, -2)]
    for number, path in zip((-1, -2), paths, strict=True):
        clerk.type("outbox", "hand-over", name_of(clerk, number), "--to", colleague.key, "-o", path)
    assert clerk.ask("outbox", "send")["recorded"] == 2
    for path in paths:
        value = colleague.ask("outbox", "adopt", path, "--from", clerk.key, "--yes")
        assert (value["recorded"], value["already_recorded"]) == (0, 1)
    assert colleague.entries() == []


def test_adopting_asks_first_and_shows_what_it_would_sign(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Without a terminal and --yes nothing is signed; --dry-run shows every field."""
    colleague, path = clerks["colleague"], clerk.home.with_name("list.sealed")
    clerk.type("outbox", "hand-over", name_of(clerk), "--to", colleague.key, "-o", path)
    before = snapshot(colleague)
    assert "--yes" in colleague.type("outbox", "adopt", path, "--from", clerk.key, code=2).stderr
    shown = colleague.ask("outbox", "adopt", path, "--from", clerk.key, "--dry-run")["records"]
    assert len(shown) == 6 and any("class_level=7" in one["fields"] for one in shown)
    assert snapshot(colleague) == before


def test_a_list_is_adopted_only_by_whom_it_is_for_and_from_whom_one_named(
    clerk: Clerk, clerks: dict[str, Clerk]
) -> None:
    """A stranger opens nothing; a list of an unnamed key is not signed."""
    colleague, stranger, path = clerks["colleague"], clerks["stranger"], clerk.home.with_name("list.sealed")
    clerk.type("outbox", "hand-over", name_of(clerk), "--to", colleague.key, "-o", path)
    before = snapshot(colleague), snapshot(stranger)
    assert clerk.key in colleague.type("outbox", "adopt", path, "--yes", code=2).stderr
    colleague.type("outbox", "adopt", path, "--from", stranger.key, "--yes", code=2)
    stranger.type("outbox", "adopt", path, "--from", clerk.key, "--yes", code=2)
    assert (snapshot(colleague), snapshot(stranger)) == before


def test_no_changed_byte_of_a_handed_list_is_signed(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Cut, lengthened, or a bit turned."""
    colleague, path = clerks["colleague"], clerk.home.with_name("list.sealed")
    clerk.type("outbox", "hand-over", name_of(clerk), "--to", colleague.key, "-o", path)
    data, before = path.read_bytes(), snapshot(colleague)
    assert not any(text.encode() in data for text in ("Сказкина", "7a-01", "roster.csv", "enrolment"))
    for spoiled in (*list(truncated(data))[::401], *extended(data), *list(flipped(data))[::3001]):
        path.write_bytes(spoiled)
        words = ("outbox", "adopt", path, "--from", clerk.key, "--yes", "--offline")
        assert colleague.type(*words, code=None).exit_code in (1, 2)
    assert snapshot(colleague) == before


def test_a_list_is_not_handed_to_oneself_or_over_a_file(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Bad input writes nothing."""
    path, name = clerk.home.with_name("list.sealed"), name_of(clerk)
    clerk.type("outbox", "hand-over", name, "--to", clerk.key, "-o", path, code=2)
    clerk.type("outbox", "hand-over", "abcdef", "--to", clerks["colleague"].key, "-o", path, code=2)
    clerk.type("outbox", "hand-over", name, "--to", "00" * 32, "-o", path, code=2)
    assert not path.exists()
    path.write_bytes(b"mine")
    clerk.type("outbox", "hand-over", name, "--to", clerks["colleague"].key, "-o", path, code=4)
    assert path.read_bytes() == b"mine"


# What is not wanted any more.


def test_discarding_asks_and_throws_away_only_what_was_not_accepted(clerk: Clerk, nodes: Nodes) -> None:
    """A recorded entry stays; a waiting one goes, and its pupils can be enrolled again."""
    name = name_of(clerk)
    assert "--yes" in clerk.type("outbox", "discard", name, code=2).stderr
    assert clerk.states() == ["waiting"]
    record = clerk.entries()[0].records[0].hash.hex()[:16]
    clerk.type("outbox", "discard", record, "--yes", code=2)
    assert "--again" in clerk.type("outbox", "discard", name, "--yes").stdout
    assert clerk.entries() == []
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    assert clerk.enrol("--again")["recorded"] == 6
    clerk.type("outbox", "discard", name_of(clerk), "--yes", code=2)
    assert clerk.states() == ["accepted"]


# Killed, and two at once.


def mark(code: str) -> list[str]:
    fields = {"school_year": "2024/2025", "term": "q1", "scale": "ru5", "value": "5", "result_type": "term"}
    return [f"{name}={value}" for name, value in (fields | {"subject_code": code}).items()]


def test_kill_9_between_signing_and_sending_is_mended_by_the_next_send(clerk: Clerk, nodes: Nodes) -> None:
    """The tool dies while it sends to a node that is stopped; what it signed goes out once, as it was."""
    node = nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    clerk.type("outbox", "send")
    node.process.send_signal(signal.SIGSTOP)
    process = clerk.start("append", "subject_result", "--pupil", "7a-01", *mark("ALG"))
    wait_for(lambda: list(clerk.workspace.outbox_path.glob("[0-9a-f]*.sealed")), "the signed entry")
    wait_for(lambda: clerk.states() == ["accepted", "waiting"], "the whole entry")
    process.kill()
    process.communicate()
    node.process.send_signal(signal.SIGCONT)
    signed = clerk.entries()[-1].entry_id
    assert clerk.ask("outbox", "send")["recorded"] == 1
    assert clerk.entries()[-1].entry_id == signed
    again = import_results(clerk)
    assert (again["already_recorded"], again["recorded"]) == (1, 1)


def test_a_node_killed_in_the_middle_of_a_send_loses_and_doubles_nothing(clerk: Clerk, nodes: Nodes) -> None:
    """kill -9 after some of forty entries were taken; it comes back, and one send brings the rest."""
    node = nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    clerk.type("outbox", "send")
    start, count = 3, 40  # the opening, the grant, the class
    wait_for(lambda: size_of(node) == start, "the tick")
    for number in range(count):
        clerk.type("append", "subject_result", "--pupil", "7a-01", *mark(f"S{number}"), "--offline")
    sending = clerk.start("outbox", "send", "--json")
    wait_for(lambda: size_of(node) > start + 1, "the first entries")
    node.kill()
    answer = json.loads(sending.communicate(timeout=DEADLINE_S)[0])
    assert sending.returncode == 5
    assert 0 < answer["recorded"] < count and answer["recorded"] + answer["waiting"] == count
    node = nodes.start(clerk.agency)
    assert clerk.ask("outbox", "send")["recorded"] == answer["waiting"]
    wait_for(lambda: size_of(node) >= start + count, "the tick")
    assert size_of(node) == start + count
    assert set(clerk.states()) == {"accepted"} and len(clerk.states()) == count + 1
    assert clerk.ask("outbox", "send")["entries"] == []


def size_of(node: RunningNode) -> int:
    return int(node.status()["size"])


def test_two_clerks_at_once_record_each_fact_once(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes
) -> None:
    """Both import the same list at the same moment: what one recorded, the other is told is recorded."""
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk", "colleague")
    clerk.type("outbox", "send")
    exchange(clerk, clerks["colleague"])
    head, *rows = RESULTS.splitlines()
    lines = [row.replace("ALG", f"S{number}") for number in range(20) for row in rows]
    both = [clerk, clerks["colleague"]]
    started = [
        one.start(
            "import", one.file("r.csv", "\n".join([head, *lines])), "--kind", "results", "--yes", "--json"
        )
        for one in both
    ]
    answers = [json.loads(process.communicate(timeout=DEADLINE_S)[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sum(one["recorded"] for one in answers) == 40
    assert sum(one["already_recorded"] for one in answers) == 40
