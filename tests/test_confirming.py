"""``pledger import`` before it signs: what the node says is shown, one question asked, what is new signed.

With real nodes, through the command line.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import lists
from cli.language import say
from ledger.entry import RECORDS_MAX
from tests.agencies import DEADLINE_S, Nodes, found_agencies
from tests.clerks import RESULTS, Clerk, clerk_of, exchange, grant

HEAD, FIVE, FOUR = RESULTS.splitlines(keepends=True)
NEW = FIVE.replace("ALG", "GEO")


@pytest.fixture
def clerk(tmp_path: Path, nodes: Nodes) -> Clerk:
    """A clerk whose pupils are enrolled at a running node."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    nodes.start(agency)
    grant(agency, "clerk", "colleague")
    made = clerk_of(agency, tmp_path / "clerk")
    made.enrol()
    return made


@pytest.fixture
def colleague(clerk: Clerk, tmp_path: Path) -> Clerk:
    """With the same class register, at another computer."""
    made = clerk_of(clerk.agency, tmp_path / "other", "colleague")
    exchange(clerk, made)
    return made


def marks(clerk: Clerk, *rows: str) -> tuple[str | Path, ...]:
    return ("import", clerk.file("marks.csv", "".join((HEAD, *rows))), "--kind", "results")


def test_what_would_happen_is_shown_and_asked_about_once(clerk: Clerk) -> None:
    """The plan and the question come before the signature; the answer repeats neither."""
    result = clerk.type(*marks(clerk, FIVE, FOUR), answer="y\n")
    assert "2 new, 0 recorded already" in result.stderr
    assert result.stderr.count("[y/N]") == 1 and "Sign 2 records, in 1 entry?" in result.stderr
    assert "2 recorded: entry" in result.stdout and "The node says" not in result.stdout
    assert clerk.states() == ["accepted", "accepted"]


@pytest.mark.parametrize("answer", ["n\n", "\n", None])
def test_without_a_yes_nothing_is_signed_or_kept(clerk: Clerk, answer: str | None) -> None:
    """No, only Enter, and nobody there: exit code 2, and the same list goes later."""
    before = clerk.entries()
    result = clerk.type(*marks(clerk, FIVE), answer=answer, code=2)
    assert "1 new" in result.stderr
    assert ("--yes" in result.stderr) == (answer is None)
    assert clerk.entries() == before
    assert clerk.ask(*marks(clerk, FIVE), "--yes")["recorded"] == 1


def test_nobody_at_an_open_pipe_is_asked(clerk: Clerk) -> None:
    """A nightly job that forgot --yes ends with the flag's name; one that has it signs."""
    process = clerk.start(*marks(clerk, FIVE), stdin=subprocess.PIPE)
    assert process.wait(DEADLINE_S) == 2
    assert "--yes" in process.communicate()[1]
    process = clerk.start(*marks(clerk, FIVE), "--yes", "--json")
    assert json.loads(process.communicate(timeout=DEADLINE_S)[0])["recorded"] == 1


def test_a_list_with_three_new_rows_signs_three(clerk: Clerk) -> None:
    """What stands is neither sent nor signed again; who recorded it, and since when, is said."""
    clerk.type(*marks(clerk, FIVE, FOUR), "--yes")
    new = [FIVE.replace("ALG", f"S{number}") for number in range(3)]
    value = clerk.ask(*marks(clerk, FIVE, FOUR, *new), "--yes")
    assert (value["recorded"], value["already_recorded"]) == (3, 2)
    assert [len(one.records) for one in clerk.entries()][-1] == 3
    assert {one["recorded_by"] for one in value["node"]["rows"]} == {clerk.key}
    assert all(one["since"] for one in value["node"]["rows"])


def test_a_list_of_which_all_stands_asks_and_signs_nothing(clerk: Clerk, colleague: Clerk) -> None:
    """Twice is once, from a second computer too, without a terminal and without --yes."""
    clerk.type(*marks(clerk, FIVE, FOUR), "--yes")
    own, other = clerk.type(*marks(clerk, FIVE, FOUR)), colleague.type(*marks(colleague, FIVE, FOUR))
    assert "nothing to add" in own.stdout and "nothing to add" in other.stdout
    assert " you " in own.stdout and clerk.key[:16] in other.stdout
    assert (colleague.states(), len(clerk.states())) == ([], 2)


def test_a_changed_grade_refuses_the_list_with_the_command_to_type(clerk: Clerk) -> None:
    """Nothing is signed or asked; typed as it stands the command mends it, and the list goes through."""
    clerk.type(*marks(clerk, FIVE), "--yes")
    before, changed = clerk.entries(), FIVE.replace(";5;", ";3;")
    result = clerk.type(*marks(clerk, changed, NEW), code=4)
    assert "1 new" in result.stdout and "[y/N]" not in result.stderr
    value = clerk.ask(*marks(clerk, changed, NEW), code=4)
    [refused], [row] = value["refused"], value["node"]["rows"]
    assert (refused["row"], value["recorded"], clerk.entries()) == (2, 0, before)
    assert row["command"] in refused["text"] and row["command"] in result.stderr
    assert "by you, since" in refused["text"]
    clerk.type(*row["command"].split()[1:], "--yes")
    value = clerk.ask(*marks(clerk, changed, NEW), "--yes")
    assert (value["recorded"], value["already_recorded"]) == (1, 1)


def test_with_skip_bad_the_conflict_is_handed_back_and_the_rest_signed(clerk: Clerk) -> None:
    """Shown before the question with its command, and never signed."""
    clerk.type(*marks(clerk, FIVE), "--yes")
    result = clerk.type(*marks(clerk, FIVE.replace(";5;", ";3;"), NEW), "--skip-bad", answer="y\n", code=3)
    before, _, after = result.stderr.partition("[y/N]")
    assert "pledger correct " in before and "1 row" in after
    assert [one.fields["subject_code"] for one in clerk.entries()[-1].records] == ["GEO"]
    [handed_back] = clerk.home.parent.glob("*.refused.csv")
    assert "pledger correct" in handed_back.read_text(encoding="utf-8-sig")


def test_a_clerk_who_wins_between_question_and_sending_doubles_nothing(
    clerk: Clerk, colleague: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's records are dropped after the node's refusal, and the rest is signed again."""

    record = lists.record_drafts

    def overtaken(*given: Any, **more: Any) -> Any:
        process = colleague.start(*marks(colleague, FIVE), "--yes")
        process.communicate(timeout=DEADLINE_S)
        return record(*given, **more)

    monkeypatch.setattr(lists, "record_drafts", overtaken)
    value = clerk.ask(*marks(clerk, FIVE, NEW), "--yes")
    assert (value["node"]["new"], value["recorded"], value["already_recorded"]) == (2, 1, 1)
    assert [len(one.records) for one in clerk.entries()][-1] == 1


def test_what_waited_is_sent_before_the_node_is_asked(clerk: Clerk) -> None:
    """Or the marks of a pupil enrolled offline would be said to be refused."""
    late = "local_id;name;stage;class_level;entry_type;date\n7a-09;Сказкин Пров;basic;7;new;2024-09-01\n"
    clerk.enrol("--offline", roster=late)
    result = clerk.type(*marks(clerk, FIVE.replace("7a-01", "7a-09")), answer="y\n")
    assert "which had waited, is recorded now" in result.stderr and "1 new" in result.stderr


def test_a_dry_run_sends_nothing_that_waits(clerk: Clerk) -> None:
    """It signs and sends nothing, whatever it is."""
    clerk.type(*marks(clerk, FIVE), "--offline", "--yes")
    clerk.type(*marks(clerk, NEW), "--dry-run")
    assert clerk.states() == ["accepted", "waiting"]


def test_without_a_node_the_plan_says_so_and_the_list_waits(clerk: Clerk, nodes: Nodes) -> None:
    """Signed after the same question, sent when the node is back."""
    nodes.started[-1].kill()
    result = clerk.type(*marks(clerk, FIVE), answer="y\n", code=5)
    assert say("foreseen.unknown") in result.stderr and "could not be asked" in result.stderr
    offline = clerk.type(*marks(clerk, NEW), "--offline", answer="y\n")
    assert say("foreseen.unknown") in offline.stderr and "could not be asked" not in offline.stderr
    nodes.start(clerk.agency)
    assert clerk.ask("outbox", "send")["recorded"] == 2


def test_a_key_without_rights_is_told_before_it_signs(clerk: Clerk, tmp_path: Path) -> None:
    """Nothing is left in the outbox that the node would only refuse."""
    stranger = clerk_of(clerk.agency, tmp_path / "third", "stranger")
    exchange(clerk, stranger)
    value = stranger.ask(*marks(stranger, FIVE), "--yes", code=4)
    assert "author.unknown" in json.dumps(value) and stranger.states() == []


def test_a_list_of_more_than_one_entry_is_asked_about_once(clerk: Clerk) -> None:
    """One question and one passphrase; a signature for each 4,096 records."""
    rows = [FIVE.replace("ALG", f"S{number}") for number in range(RECORDS_MAX + 1)]
    result = clerk.type(*marks(clerk, *rows), answer="y\n")
    assert f"Sign {RECORDS_MAX + 1} records, in 2 entries?" in result.stderr
    assert clerk.states() == ["accepted"] * 3
