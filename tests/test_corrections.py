"""Mistakes mended from the command line: correct, withdraw, misfiled, a list of them; with real nodes."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli.desk
from cli.desk import open_desk
from cli.drafts import Draft
from cli.foreseen import foresee
from cli.import_records import make_records
from cli.main import pledger
from cli.outbox import Outbox
from cli.public_log import Target
from cli.queries import check_records
from cli.workspace import Settings, Workspace, connect_workspace, make_workspace
from ledger import keys
from ledger.governance import Grant, Scope, format_governance, make_scope, scope_commitment
from ledger.presentation import check_presentation, parse_presentation
from ledger.record import Record, make_record
from node.http_client import HttpClient
from node.protocol import Unreachable
from node.sources import HttpSource
from node.submission import Submission
from node.wiring import Node
from tests.agencies import Agency, Nodes, found_agencies, post
from tests.staff_side import PASSPHRASE, UNIT, attended
from tests.world import DAY, seed

ROSTER = (
    "local_id;name;stage;class_level;entry_type;date;class\n"
    "7a-01;Сказкина Алёна;basic;7;new;2024-09-01;7а\n"
    "7a-02;Небывалов Тихон;basic;7;new;2024-09-01;7а\n"
)
RESULTS = (
    "local_id;school_year;term;subject_code;scale;value;result_type\n"
    "7a-01;2024/2025;q1;ALG;ru5;5;term\n"
    "7a-01;2024/2025;q1;GEO;ru5;4;term\n"
    "7a-02;2024/2025;q1;GEO;ru5;3;term\n"
)
NOTICE = ["--notice-hash", "ab" * 32, "--shown-on", "2024-09-01"]


@dataclass
class Clerk:
    """One clerk's computer, connected to a real node."""

    agency: Agency
    folder: Path
    workspace: Workspace

    def type(self, *words: str | Path, code: int | None = 0, answer: str | None = None) -> Result:
        """Run a command, at a terminal if there is an answer; no traceback, and this exit code."""
        environment = {
            "PLEDGER_HOME": str(self.workspace.home),
            "PLEDGER_PASSPHRASE": PASSPHRASE,
            "PLEDGER_PASSPHRASE_FILE": "",
        }
        typed = [str(word) for word in words]
        with attended(answer):
            result = CliRunner().invoke(pledger, typed, env=environment, input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert code is None or result.exit_code == code, result.output
        return result

    def ask(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """The one JSON object that a command answers."""
        value: dict[str, Any] = json.loads(self.type(*words, "--yes", "--json", code=code).stdout)
        return value

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def records(self) -> list[Record]:
        outbox = Outbox(self.workspace.outbox_path, self.workspace.unlock(PASSPHRASE), os.urandom)
        return [record for stored in outbox.entries() for record in stored.records]

    def signed(self, subject_code: str, value: str) -> Record:
        """The one mark signed here with this subject and value."""
        [found] = [
            one
            for one in self.records()
            if one.fields.get("subject_code") == subject_code and one.fields.get("value") == value
        ]
        return found

    def entries(self) -> int:
        return len(list(self.workspace.outbox_path.rglob("*.sealed")))


def employ(agency: Agency, folder: Path, name: str, **scope: Any) -> Clerk:
    """A workspace with a key of its own, granted by the registrar."""
    folder.mkdir()
    settings = Settings(ledger_id=agency.world.ledger_id.hex(), agency=agency.name, unit=UNIT)
    workspace = make_workspace(folder / "home", settings, PASSPHRASE, os.urandom)
    target = Target(
        ledger_id=agency.world.ledger_id,
        ledger="test",
        agency=agency.name,
        url=agency.url,
        sealing_key=keys.sealing_public_key(seed(f"{agency.name} sealing")),
        log=agency.verifier,
    )
    kinds = tuple(sorted(agency.world.roster.statute.kinds))
    fields: dict[str, Any] = {"role": "clerk", "unit": UNIT, "kinds": kinds} | scope
    opening = make_scope(Scope(**fields), seed(name)[:16])
    grant = Grant(
        key=workspace.public_key(), scope=scope_commitment(opening), valid_from=0, valid_until=DAY + 36_500
    )
    with HttpClient(agency.url) as client:
        entry = agency.public([format_governance(grant)])
        assert isinstance(post(client, agency, Submission(entry=entry, scopes=(opening,))), bytes)
        return Clerk(agency, folder, connect_workspace(workspace, HttpSource(client), target, 1))


@pytest.fixture
def agency(tmp_path: Path, nodes: Nodes) -> Agency:
    made = found_agencies(tmp_path)["district"]
    nodes.start(made)
    return made


@pytest.fixture
def clerk(tmp_path: Path, agency: Agency) -> Clerk:
    """A clerk with two pupils and three marks recorded."""
    made = employ(agency, tmp_path / "clerk", "clerk")
    made.type("class", "enrol", made.file("roster.csv", ROSTER), *NOTICE)
    made.type("import", made.file("results.csv", RESULTS), "--kind", "results", "--yes")
    return made


@pytest.fixture
def colleague(tmp_path: Path, clerk: Clerk) -> Clerk:
    """A second computer with a key and an outbox of its own."""
    return employ(clerk.agency, tmp_path / "colleague", "colleague")


def opened(agency: Agency, nodes: Nodes, look: Callable[[Node], None]) -> None:
    """Stop the process, and look into its databases."""
    for one in nodes.started:
        if one.process.poll() is None:
            one.stop()
    node = agency.node(found=False)
    try:
        look(node)
    finally:
        node.close()


# One record


def test_a_correction_shows_old_and_new_and_is_signed_after_one_question(clerk: Clerk) -> None:
    """Side by side, asked once; the new record names the old one."""
    old = clerk.signed("ALG", "5")
    result = clerk.type("correct", old.hash.hex()[:12], "value=4", answer="y\n")
    assert all(word in result.stderr for word in ("old", "new", "value", "5", "4", "7a-01"))
    new = clerk.signed("ALG", "4")
    assert (new.supersedes, new.subject, new.period) == (old.hash, old.subject, old.period)
    assert new.hash.hex() in clerk.type("show", old.hash.hex()).stdout
    assert "1 recorded" in result.stdout


@pytest.mark.parametrize("answer", ["n\n", None])
def test_without_a_yes_nothing_is_signed(clerk: Clerk, answer: str | None) -> None:
    """No, and nobody there to answer."""
    before = clerk.entries()
    clerk.type("correct", clerk.signed("ALG", "5").hash.hex(), "value=4", answer=answer, code=2)
    assert clerk.entries() == before


def test_the_same_correction_twice_does_nothing_more(clerk: Clerk) -> None:
    """Told as already recorded, exit code 0."""
    name = clerk.signed("ALG", "5").hash.hex()
    assert clerk.ask("correct", name, "value=4")["recorded"] == 1
    again = clerk.ask("correct", name, "value=4")
    assert (again["recorded"], again["already_recorded"], again["exit_code"]) == (0, 1, 0)


def test_correcting_what_was_corrected_before_names_the_rule_and_the_record_that_stands(clerk: Clerk) -> None:
    """The other value stands under its own hash."""
    old = clerk.signed("ALG", "5")
    clerk.ask("correct", old.hash.hex(), "value=4")
    refused = clerk.ask("correct", old.hash.hex(), "value=3", code=4)
    assert "record.supersedes" in refused["text"]
    assert clerk.signed("ALG", "4").hash.hex()[:16] in refused["text"]
    assert clerk.ask("correct", clerk.signed("ALG", "4").hash.hex(), "value=3")["recorded"] == 1


@pytest.mark.parametrize(
    ("words", "column"),
    [
        (["value=17"], "value"),
        (["colour=red"], "colour"),
        (["term="], "term"),
        (["scale=x"], "scale"),
    ],
)
def test_a_field_that_the_kind_does_not_take_is_told_and_nothing_is_signed(
    clerk: Clerk, words: list[str], column: str
) -> None:
    """Before any question, with the column."""
    before = clerk.entries()
    refused = clerk.ask("correct", clerk.signed("ALG", "5").hash.hex(), *words, code=4)
    assert column in {one["column"] for one in refused["problems"]} | {
        one["text"].split(":")[0] for one in refused["problems"]
    }
    assert clerk.entries() == before


@pytest.mark.parametrize("words", [["value"], ["=5"], ["value=4", "value=3"]])
def test_a_mistyped_assignment_is_a_usage_error(clerk: Clerk, words: list[str]) -> None:
    """Said with what it should be."""
    clerk.ask("correct", "abcdef", *words, code=2)


def test_a_withdrawn_record_is_no_longer_live(clerk: Clerk) -> None:
    """To withdraw it again does nothing, to withdraw it otherwise or correct it names the rule."""
    name = clerk.signed("ALG", "5").hash.hex()
    assert clerk.ask("withdraw", name, "--reason", "decision_changed")["recorded"] == 1
    assert clerk.ask("withdraw", name, "--reason", "decision_changed")["already_recorded"] == 1
    for words in (["withdraw", name, "--reason", "court"], ["correct", name, "value=4"]):
        assert "record.supersedes" in clerk.ask(*words, code=4)["text"]
    withdrawal = next(one for one in clerk.records() if "reason_code" in one.fields)
    refused = clerk.ask("withdraw", withdrawal.hash.hex(), "--reason", "court", code=4)
    assert "record.supersedes" in refused["text"]


def test_misfiled_is_not_a_reason_that_a_withdrawal_takes(clerk: Clerk) -> None:
    """It erases, so it has a command of its own."""
    clerk.type("withdraw", "abcdef", "--reason", "misfiled", "--yes", code=2)


def test_a_misfiled_record_goes_to_the_right_pupil_and_leaves_no_body(clerk: Clerk, nodes: Nodes) -> None:
    """One command, one entry with two records; at the node the wrong child's body is erased at once."""
    wrong = clerk.signed("ALG", "5")
    before = clerk.entries()
    answer = clerk.ask("misfiled", wrong.hash.hex()[:10], "--right-pupil", "7a-02")
    assert (answer["recorded"], clerk.entries()) == (2, before + 1)
    back, right = answer["mended"][0]["new"]
    assert back["fields"] == {"reason_code": "misfiled"} and right["fields"] == wrong.fields

    def look(node: Node) -> None:
        assert node.bodies.state(wrong.hash) == "erased"
        assert node.bodies.state(bytes.fromhex(right["record"])) == "held"

    opened(clerk.agency, nodes, look)


def shown_by(clerk: Clerk, name: str) -> list[dict[str, Any]]:
    """The records that ``show`` shows."""
    found: list[dict[str, Any]] = json.loads(clerk.type("show", name, "--json").stdout)["records"]
    return found


def test_a_moved_record_is_shown_as_moved(clerk: Clerk) -> None:
    """Whoever looks the old one up learns where it is now; no ``show`` lets it pass for standing."""
    wrong = clerk.signed("ALG", "5")
    assert shown_by(clerk, wrong.hash.hex())[0]["became"] is None
    back, right = clerk.ask("misfiled", wrong.hash.hex(), "--right-pupil", "7a-02")["mended"][0]["new"]
    [shown] = shown_by(clerk, wrong.hash.hex())
    moved = {"what": "moved", "record": right["record"], "pupil": "7a-02", "state": "accepted"}
    assert shown["became"] == moved
    assert (
        f"moved to its right pupil 7a-02: record {right['record']}"
        in clerk.type("show", wrong.hash.hex()).stdout
    )
    assert shown_by(clerk, back["record"])[0]["supersedes"] == wrong.hash.hex()


def test_a_corrected_and_a_withdrawn_record_say_so(clerk: Clerk) -> None:
    """The old mark names the new one, also while that still waits; a withdrawal names its reason."""
    old = clerk.signed("ALG", "5").hash.hex()
    [new] = clerk.ask("correct", old, "value=4", "--offline")["mended"][0]["new"]
    shown = clerk.type("show", old).stdout
    assert f"corrected by record {new['record']} (not sent yet)" in shown
    geo = clerk.signed("GEO", "4").hash.hex()
    clerk.ask("withdraw", geo, "--reason", "decision_changed")
    assert "withdrawn: decision_changed" in clerk.type("show", geo).stdout


def test_a_misfiled_record_leaves_the_clerk_s_own_outbox_too(clerk: Clerk) -> None:
    """With what it had corrected, once the receipt is here; its neighbours are still proven by the hashes."""
    first, neighbour = clerk.signed("ALG", "5"), clerk.signed("GEO", "3")
    clerk.type("correct", first.hash.hex(), "value=2", "--yes")
    wrong = clerk.signed("ALG", "2")
    typed = ("misfiled", wrong.hash.hex(), "--right-pupil", "7a-02")
    clerk.ask(*typed, "--offline")
    assert {first.hash, wrong.hash} <= {one.hash for one in clerk.records()}
    clerk.type("outbox", "send")
    left = clerk.records()
    assert not {first.hash, wrong.hash} & {one.hash for one in left}
    assert [one.subject for one in left if one.fields.get("subject_code") == "ALG"] == [neighbour.subject]
    clerk.type("prove", neighbour.hash.hex(), "-o", clerk.folder / "neighbour.tlog-proof")
    presentation = parse_presentation((clerk.folder / "neighbour.tlog-proof").read_bytes())
    check_presentation(presentation, clerk.agency.verifier)
    assert clerk.ask(*typed)["already_recorded"] == 1
    assert "record.supersedes" in clerk.ask("correct", wrong.hash.hex(), "value=3", code=4)["text"]


def test_before_a_record_is_moved_both_pupils_are_shown(clerk: Clerk) -> None:
    """From whom it is taken, and for whom it is entered; no is no."""
    wrong, before = clerk.signed("ALG", "5"), clerk.entries()
    result = clerk.type("misfiled", wrong.hash.hex(), "--right-pupil", "7a-02", answer="n\n", code=2)
    assert all(word in result.stderr for word in ("7a-01", "7a-02", "withdrawn: misfiled", "value=5"))
    assert clerk.entries() == before


def test_a_record_is_not_misfiled_to_its_own_pupil_or_to_a_stranger(clerk: Clerk) -> None:
    """Nothing is signed."""
    before, name = clerk.entries(), clerk.signed("ALG", "5").hash.hex()
    for local_id in ("7a-01", "7a-99"):
        clerk.ask("misfiled", name, "--right-pupil", local_id, code=2)
    assert clerk.entries() == before


def test_a_mark_that_the_right_pupil_has_already_is_told_before_anything_is_signed(clerk: Clerk) -> None:
    """Both have one in geometry: the node is asked first, and says which fact stands in the way."""
    before = clerk.entries()
    refused = clerk.ask("misfiled", clerk.signed("GEO", "4").hash.hex(), "--right-pupil", "7a-02", code=4)
    assert any("record.identity" in one["text"] for one in refused["problems"])
    assert clerk.entries() == before


@pytest.mark.parametrize("name", ["abc", "xyz-no-hex", "0" * 12, "RECORD"])
def test_a_record_that_is_not_there_is_a_usage_error(clerk: Clerk, name: str) -> None:
    """Too short, no digits, unknown."""
    clerk.ask("withdraw", name, "--reason", "court", code=2)


# Without a network, and from a second computer


def test_offline_a_correction_waits_and_is_sent_later(clerk: Clerk) -> None:
    """The old content is in the outbox: nothing is asked of the node."""
    old = clerk.signed("ALG", "5")
    assert clerk.ask("correct", old.hash.hex(), "value=4", "--offline")["waiting"] == 1
    new = clerk.signed("ALG", "4")
    assert clerk.ask("correct", new.hash.hex(), "value=3", "--offline")["waiting"] == 1
    clerk.type("outbox", "send")
    assert clerk.ask("correct", clerk.signed("ALG", "3").hash.hex(), "value=2")["recorded"] == 1


def test_with_the_node_down_a_correction_is_kept(clerk: Clerk, nodes: Nodes) -> None:
    """Exit code 5, as for any list; the outbox has it."""
    nodes.started[-1].kill()
    answer = clerk.ask("correct", clerk.signed("ALG", "5").hash.hex(), "value=4", code=5)
    assert answer["waiting"] == 1
    clerk.ask("correct", "ab" * 32, "value=4", code=5)


def test_a_colleague_corrects_what_she_did_not_sign(clerk: Clerk, colleague: Clerk, nodes: Nodes) -> None:
    """The old content is read from the node by its whole hash; the family will see that."""
    old = clerk.signed("ALG", "5")
    answer = colleague.ask("correct", old.hash.hex(), "value=4")
    assert answer["recorded"] == 1 and answer["mended"][0]["old"]["fields"] == old.fields
    assert "record.supersedes" in str(clerk.ask("correct", old.hash.hex(), "value=3", code=4))

    def look(node: Node) -> None:
        rows = node.requests.release.journal.waiting()
        assert [one.record.fields["outcome"] for one in rows] == ["shown"]
        assert rows[0].record.fields["requester"] == colleague.workspace.public_key().hex()

    opened(clerk.agency, nodes, look)


def test_what_the_node_does_not_show_is_told_by_its_rule(clerk: Clerk, tmp_path: Path) -> None:
    """Unknown, and of another school's pupil: the same words."""
    other = employ(clerk.agency, tmp_path / "other", "other", unit="school-9")
    name = clerk.signed("ALG", "5").hash.hex()
    for one in (name, "ab" * 32):
        refused = other.ask("withdraw", one, "--reason", "court", code=4)
        said = f"no live record {one[:16]}… that this key may read: withdrawn, or never there"
        assert refused["text"] == f"record.supersedes: {said}"


def test_the_dry_run_of_a_list_from_a_second_computer(clerk: Clerk, colleague: Clerk) -> None:
    """What an import asks before it signs: recorded, new, conflict; and nothing is left anywhere."""
    standing = clerk.signed("ALG", "5")
    before = colleague.entries()
    with open_desk(colleague.workspace.home, _passphrase_file(colleague)) as desk:
        again = _copy(standing)
        other = _copy(standing, value="2")
        new = _copy(standing, subject_code="ART")
        verdicts = check_records(desk, [again, other, new])
        assert [(one.word, one.standing) for one in verdicts] == [
            ("recorded", standing.hash),
            ("conflict", standing.hash),
            ("new", None),
        ]
    assert colleague.entries() == before


def _copy(record: Record, **fields: Any) -> Record:
    return make_record(
        subject=record.subject,
        kind=record.kind,
        period=record.period,
        fields=record.fields | fields,
        basis=record.basis,
        salts=(os.urandom(16), os.urandom(16)),
    )


def _passphrase_file(clerk: Clerk) -> Path:
    path = clerk.file("passphrase", PASSPHRASE + "\n")
    path.chmod(0o600)
    return path


def test_without_a_node_a_check_is_unreachable(clerk: Clerk, nodes: Nodes) -> None:
    """The caller decides what to do without one."""
    nodes.started[-1].kill()
    with open_desk(clerk.workspace.home, _passphrase_file(clerk)) as desk, pytest.raises(Unreachable):
        check_records(desk, clerk.records())


@pytest.mark.parametrize("off_s", [-7200, 7200])
def test_a_computer_whose_clock_is_wrong_works_and_is_told(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch, off_s: int
) -> None:
    """Asked once more by the node's time; the difference is said."""
    real = cli.desk.now
    monkeypatch.setattr(cli.desk, "now", lambda: real() + datetime.timedelta(seconds=off_s))
    result = clerk.type("correct", clerk.signed("ALG", "5").hash.hex(), "value=4", "--yes")
    assert "this computer's clock says" in result.stderr and "1 recorded" in result.stdout


# Lists


def test_a_list_mends_all_kinds_of_mistakes_in_one_entry(clerk: Clerk, nodes: Nodes) -> None:
    """By hash prefix and by pupil and identity; two rows of one record are one correction."""
    geo, alg = clerk.signed("GEO", "3"), clerk.signed("ALG", "5")
    rows = [
        "action;record;local_id;kind;school_year;term;subject_code;result_type;field;value;reason;right_pupil",
        "correct;;7a-01;subject_result;2024/2025;q1;GEO;term;value;5;decision_changed;",
        "correct;;7a-01;subject_result;2024/2025;q1;GEO;term;scale;ru5;decision_changed;",
        f"withdraw;{geo.hash.hex()[:10]};;;;;;;;;court;",
        f"misfiled;{alg.hash.hex()};;;;;;;;;;7a-02",
    ]
    path, before = clerk.file("mistakes.csv", "\n".join(rows) + "\n"), clerk.entries()
    answer = clerk.ask("corrections", path)
    assert (answer["recorded"], clerk.entries(), len(answer["mended"])) == (4, before + 1, 3)
    assert clerk.signed("GEO", "5").source == "correction decision_changed"
    again = clerk.ask("corrections", path)
    assert (again["recorded"], again["already_recorded"], clerk.entries()) == (0, 3, before + 1)


def test_every_problem_of_a_list_is_told_at_once(clerk: Clerk) -> None:
    """With its row; nothing is signed while there is one."""
    name, before = clerk.signed("ALG", "5").hash.hex(), clerk.entries()
    rows = [
        "action;record;local_id;kind;field;value;reason;right_pupil",
        f"erase;{name};;;;;;",
        f"correct;{name};;;value;99;;",
        "withdraw;abcdef012345;;;;;;",
        f"withdraw;{clerk.signed('GEO', '3').hash.hex()};;;;;whim;",
        f"misfiled;{clerk.signed('GEO', '4').hash.hex()};;;;;;7a-99",
        "correct;;7a-01;nonsense;value;3;;",
        "correct;;7a-01;subject_result;value;3;;",
    ]
    refused = clerk.ask("corrections", clerk.file("bad.csv", "\n".join(rows) + "\n"), code=4)
    assert [one["row"] for one in refused["problems"]] == [2, 3, 4, 5, 6, 7, 8]
    assert clerk.entries() == before


def test_two_actions_for_one_record_are_refused(clerk: Clerk) -> None:
    """A list that corrects and withdraws the same record says two things."""
    name = clerk.signed("ALG", "5").hash.hex()
    text = f"action;record;field;value;reason\ncorrect;{name};value;4;\nwithdraw;{name};;;court\n"
    refused = clerk.ask("corrections", clerk.file("two.csv", text), code=4)
    assert {one["text"] for one in refused["problems"]} == {"two different actions for one record"}


def test_a_list_with_an_unknown_column_is_refused_by_its_name(clerk: Clerk) -> None:
    """No column is passed over."""
    path = clerk.file("odd.csv", "action;record;comment\nwithdraw;abcdef;sorry\n")
    refused = clerk.ask("corrections", path, code=2)
    assert [one["column"] for one in refused["problems"]] == ["comment"]


def test_a_dry_run_names_what_stands_and_the_command_that_mends_it(clerk: Clerk, colleague: Clerk) -> None:
    """A second computer is told before it signs: recorded, in conflict with what to type, new."""
    standing = clerk.signed("ALG", "5")
    changes: list[dict[str, str]] = [{}, {"value": "2"}, {"subject_code": "ART"}]
    with open_desk(colleague.workspace.home, _passphrase_file(colleague)) as desk:
        drafts = [_draft(_copy(standing, **change), row) for row, change in enumerate(changes, start=2)]
        foreseen = foresee(desk, drafts, make_records(drafts, os.urandom))
    assert foreseen is not None
    value = foreseen.value()
    assert [value[word] for word in ("new", "recorded", "conflict", "refused")] == [1, 1, 1, 0]
    assert not foreseen.is_clean
    [command] = [one["command"] for one in value["rows"] if one["verdict"] == "conflict"]
    assert command.startswith(f"pledger correct {standing.hash.hex()} ") and "value=2" in command
    assert "subject_code" not in command


def _draft(record: Record, row: int) -> Draft:
    return Draft(
        label=f"list.csv row {row}",
        row=row,
        local_id="anna",
        subject=record.subject,
        kind=record.kind,
        fields=record.fields,
        period=record.period,
        act=record.basis.act or "",
        identity=b"",
    )
