"""`cli.output` and `cli.command`: one answer, errors fit for people, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli import output
from cli.command import Group, command, group
from cli.failures import CellProblem, ListMalformed, ListRefused, Undone, Usage
from cli.main import pledger
from cli.output import Table, judge_error, plain
from ledger import errors
from ledger.rules import violation
from node.protocol import Obstacle, Problem, ProblemAnswer, Unreachable

PROBLEM = CellProblem(file="list.csv", row=3, column="value", value="6", text="it must be one of 2, 3, 4, 5")


def answer(status: int) -> ProblemAnswer:
    return ProblemAnswer(Problem(status=status, code="record.date", detail="lies in the future"))


CODES: dict[str, tuple[BaseException, int]] = {
    "false bytes": (errors.Unproven("signature"), 1),
    "malformed": (errors.Malformed("not msgpack"), 2),
    "usage": (Usage("give either"), 2),
    "a step is missing": (Undone("no workspace"), 2),
    "a file that is no list": (ListMalformed([PROBLEM]), 2),
    "undecided": (errors.Undecided("not in hand"), 3),
    "a rule": (errors.Refused((violation("record.date", "future"),)), 4),
    "rows": (ListRefused([PROBLEM]), 4),
    "conflict": (errors.Conflict("exists already"), 4),
    "answer 403": (answer(403), 4),
    "answer 409": (answer(409), 4),
    "answer 422": (answer(422), 4),
    "answer 404": (answer(404), 5),
    "answer 429": (answer(429), 5),
    "answer 503": (answer(503), 5),
    "answer 302": (answer(302), 5),
    "no answer": (Unreachable("no answer"), 5),
    "disk": (errors.StoreError("the disk is full"), 5),
    "operating system": (FileNotFoundError(2, "No such file or directory", "x.csv"), 5),
    "any other of ours": (errors.LedgerError("other"), 1),
}


def group_raising(error: BaseException) -> Group:
    @command("fail", "pledger fail")
    def failing() -> None:
        """Fail."""
        raise error

    return group("pledger", "A test.", failing)


def run(made: Group, *args: str) -> Result:
    return CliRunner().invoke(made, args)


@pytest.mark.parametrize(("error", "code"), CODES.values(), ids=CODES)
def test_each_error_has_its_exit_code_and_no_traceback(error: BaseException, code: int) -> None:
    """The table holds for the process, and what is wrong goes to standard error only."""
    result = run(group_raising(error), "fail")
    assert result.exit_code == code
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("error", "code"), CODES.values(), ids=CODES)
def test_with_json_an_error_is_one_object_on_standard_output(error: BaseException, code: int) -> None:
    """A script reads the same object from a failure as from a success."""
    result = run(group_raising(error), "fail", "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["exit_code"]) == (code, code)
    assert value["text"]


def test_every_class_of_error_of_the_ledger_has_a_line_in_the_table() -> None:
    """A class added to the tree must not fall to the last line unseen."""
    known = {
        errors.Malformed,
        errors.Unproven,
        errors.Refused,
        errors.Conflict,
        errors.Undecided,
        errors.StoreError,
    }
    assert {one for one in errors.LedgerError.__subclasses__() if one.__module__ == "ledger.errors"} == known
    assert known <= {row[0] for row in output._FAILURES}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_ends_with_130_and_a_word(error: BaseException) -> None:
    """No traceback, and the person is told that nothing signed is lost."""
    result = run(group_raising(error), "fail")
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert "interrupted" in result.stderr


def test_a_mistyped_command_ends_with_2_and_names_the_help() -> None:
    """Usage errors say what to read."""
    for typed in (["nonsense"], ["staff", "grant"], ["class", "enrol", "x", "--shown-on", "tomorrow"]):
        result = CliRunner().invoke(pledger, typed)
        assert result.exit_code == 2
        assert "--help" in result.stderr


def test_a_usage_error_with_json_is_one_object_too() -> None:
    """Also before any command runs."""
    result = CliRunner().invoke(pledger, ["staff", "grant", "--json"])
    assert json.loads(result.stdout)["exit_code"] == 2


def test_problems_of_a_list_are_shown_with_row_column_and_value() -> None:
    """As a table on standard error, and in the JSON object."""
    result = run(group_raising(ListRefused([PROBLEM])), "fail")
    for part in ("list.csv", "3", "value", "6", "it must be one of 2, 3, 4, 5"):
        assert part in result.stderr
    value = json.loads(run(group_raising(ListRefused([PROBLEM])), "fail", "--json").stdout)
    assert value["problems"] == [
        {
            "file": "list.csv",
            "row": 3,
            "column": "value",
            "value": "6",
            "text": "it must be one of 2, 3, 4, 5",
        }
    ]


def test_what_a_node_sends_cannot_drive_the_terminal() -> None:
    """Escape sequences, bells, line rewinds and right-to-left marks in a node's answer are replaced."""
    evil = "\x1b[2J\x1b]0;title\x07ok\r\u202etxt\u2066\x9b31m[bold red]x[/]"
    problem = Problem(status=422, code=evil, detail=evil, obstacles=(Obstacle(code=evil, detail=evil),))
    result = run(group_raising(ProblemAnswer(problem)), "fail")
    assert not set("\x1b\x07\r\x9b\u202e\u2066") & set(result.stderr)
    assert "[bold red]x[/]" in result.stderr


@given(st.text())
def test_plain_text_has_nothing_that_could_drive_a_terminal(text: str) -> None:
    """Only line ends and tabs are left of the control characters, and what was plain stays as it is."""
    shown = plain(text)
    assert all(sign >= " " and sign not in "\x7f\u202e" for sign in shown if sign not in "\n\t")
    assert plain(shown) == shown
    assert len(shown) == len(text)


def _shown(value: dict[str, object], *parts: str | Table, as_json: bool = False) -> Result:
    @command("say", "pledger say")
    def saying() -> None:
        """Say it."""
        output.show(value, *parts)

    return run(group("pledger", "A test.", saying), "say", *(["--json"] if as_json else []))


def test_a_name_of_any_alphabet_is_shown_and_json_is_ascii() -> None:
    """Cyrillic is printed as it is; JSON is escaped, so that no pipe breaks it."""
    table = Table(columns=["имя"], rows=[["Сказкина Алёна"], ["a\nb"]])
    assert "Сказкина Алёна" in _shown({}, table).stdout
    result = _shown({"name": "Сказкина"}, table, as_json=True)
    assert result.stdout.isascii()
    assert json.loads(result.stdout) == {"name": "Сказкина"}


def test_a_pipe_gets_whole_lines() -> None:
    """Where there is no terminal no cell is cut."""
    long = "x" * 300
    assert long in _shown({}, Table(columns=["hash"], rows=[[long]])).stdout


def test_text_that_the_stream_cannot_take_is_escaped() -> None:
    """A terminal without Cyrillic shows escapes and the command goes on."""
    runner = CliRunner(charset="ascii")
    result = runner.invoke(
        pledger, ["staff", "key", "--agency", "школа", "--ledger", "ab" * 32, "--unit", "x"]
    )
    assert result.exit_code == 2
    assert "\\u0448" in result.stderr


def test_progress_is_not_shown_where_there_is_no_terminal() -> None:
    """A log file stays free of bars."""

    @command("work", "pledger work")
    def working() -> None:
        """Work."""
        with output.progress() as step:
            for done in range(5):
                step("log", done, 5)
        output.show({"done": True}, "done")

    result = run(group("pledger", "A test.", working), "work")
    assert (result.stdout, result.stderr) == ("done\n", "")


def commands(
    made: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(made, click.Group):
        for name, one in made.commands.items():
            yield from commands(one, (*path, name))
    else:
        yield path, made


COMMANDS = dict(commands(pledger))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_json_and_exit_codes(path: tuple[str, ...]) -> None:
    """The help alone is enough to type the command rightly."""
    result = CliRunner().invoke(pledger, [*path, "--help"])
    assert result.exit_code == 0
    assert f"pledger {' '.join(path)}" in result.output.partition("Example")[2]
    assert "--json" in result.output
    assert "Exit codes" in result.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_examples_parse(path: tuple[str, ...]) -> None:
    """Each example's options are options of the command."""
    epilog = COMMANDS[path].epilog or ""
    examples = [line.strip() for line in epilog.splitlines() if line.strip().startswith("pledger ")]
    known = {name for one in COMMANDS[path].params for name in (*one.opts, *one.secondary_opts)}
    assert examples
    for example in examples:
        options = [word.partition("=")[0] for word in example.split() if word.startswith("-")]
        assert set(options) <= known


def test_pledger_alone_says_what_to_do_next(tmp_path: object) -> None:
    """A newcomer is shown four doors, with what to type."""
    result = CliRunner().invoke(pledger, ["--home", str(tmp_path)])
    assert result.exit_code == 0
    for typed in ("pledger demo", "pledger staff key", "pledger agency new", "pledger verify"):
        assert typed in result.stdout
    listed = json.loads(CliRunner().invoke(pledger, ["--home", str(tmp_path), "--json"]).stdout)
    assert len(listed["next"]) == 4


def test_what_to_do_is_said_where_the_message_does_not_say_it() -> None:
    """An error that only a person can mend names the next step."""
    assert "outbox" in judge_error(Unreachable("down"))[1]
    assert "try again later" in judge_error(answer(503))[1]
