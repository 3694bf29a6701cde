"""The comfort of a shell: completion in a real one, colour where it is wanted, no question without a flag."""

from __future__ import annotations

import ast
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from cli import completion
from cli.main import pledger
from ledger.statute import default_statute_json
from tests.source_texts import ROOT
from tests.staff_side import connected
from tests.world import World

SHELLS = tuple(completion.FILES)
KINDS = list(default_statute_json()["kinds"])
DEADLINE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program called ``pledger``, as an installation has one."""
    path = tmp_path_factory.mktemp("bin")
    program = path / "pledger"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m cli.main "$@"\n')
    program.chmod(0o755)
    return path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a shell that finds this ``pledger`` first."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return {**kept, "PATH": f"{folder}:{os.environ['PATH']}", "PLEDGER_LANG": "en", "TERM": "xterm", **more}


# Completion.


def offered(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = (
        'eval "$(pledger completion bash)"\n'
        "complete -p pledger >/dev/null || exit 9\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}\n'
        '_pledger_completion pledger "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script, "bash", "pledger", *words],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ex",), {"explain", "export"}),
        (("staff", ""), {"key", "connect", "grant", "revoke", "list", "lost"}),
        (("explain", "record.i"), {"record.identity"}),
        (("explain", "node.st"), {"node.stale", "node.store"}),
        (("explain", "enrolment", "prize"), {"prizewinner"}),
        (("import", "x.csv", "--kind", "at"), {"attendance", "attendance_summary"}),
        (("append", "contest"), {"contest_award"}),
        (("staff", "grant", "K", "--role", "c"), {"class_teacher", "clerk", "coach", "course_teacher"}),
        (("staff", "grant", "K", "--kinds", "a"), {"all", "attendance_summary", "alias", "access"}),
        (("staff", "grant", "K", "--kinds", "enrolment,tr"), {"enrolment,transfer"}),
        (("staff", "grant", "K", "--ro"), {"--role"}),
        (("outbox", "list", "--lang", ""), {"ru", "en"}),
        (("completion", ""), set(SHELLS)),
    ],
)
def test_bash_completes_commands_options_and_words(
    folder: Path, words: tuple[str, ...], found: set[str]
) -> None:
    """Nothing has to be remembered: kinds, roles, and all that can be explained."""
    assert set(offered(folder, *words)) == found


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_offers_every_kind_of_the_list(folder: Path) -> None:
    """Those of the statutory list, and the names of the schools' lists."""
    assert set(KINDS) < set(offered(folder, "import", "x.csv", "--kind", ""))
    assert set(offered(folder, "append", "")) == set(KINDS)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pledger imp", {"import"}),
        ("pledger staff ", {"key", "connect", "grant", "revoke", "list", "lost"}),
        ("pledger explain record.i", {"record.identity"}),
        ("pledger append contest", {"contest_award"}),
        ("pledger staff grant K --kinds enrolment,tr", {"enrolment,transfer"}),
        ("pledger outbox list --lang ", {"ru", "en"}),
    ],
)
def test_fish_completes_commands_options_and_words(
    folder: Path, tmp_path: Path, line: str, found: set[str]
) -> None:
    """What fish itself offers for a line, once the script is loaded as its user would load it."""
    script = f"{completion.LINES['fish']}\ncomplete -C '{line}'\n"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(folder, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {one.partition("\t")[0] for one in done.stdout.splitlines()} == found


@pytest.fixture
def zsh(folder: Path, tmp_path: Path) -> Iterator[int]:
    """The keyboard and screen of a zsh in which nothing was set up but our line."""
    if shutil.which("zsh") is None:
        pytest.skip("no zsh here")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"],
        env=environment(folder, HOME=str(tmp_path), ZDOTDIR=str(tmp_path), PS1="ready> ", TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    type_in(ours, f"{completion.LINES['zsh']}; print loa''ded\n", "loaded")
    yield ours
    process.kill()
    process.wait()
    os.close(ours)


def type_in(screen: int, keys: str, wanted: str) -> str:
    """Press keys, and return what the terminal shows until it shows what is wanted."""
    os.write(screen, keys.encode())
    seen, end = "", time.monotonic() + DEADLINE_S
    while wanted not in seen:
        assert time.monotonic() < end, f"{wanted!r} is not in {seen!r}"
        if select.select([screen], [], [], 1)[0]:
            seen += read_some(screen).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("pledger imp", "import "),
        ("pledger explain record.i", "record.identity "),
        ("pledger append contest", "contest_award "),
        ("pledger staff grant K --kinds enrolment,tr", "enrolment,transfer "),
        ("pledger import x.csv --kind attendance_", "attendance_summary "),
    ],
)
def test_zsh_completes_commands_and_words(zsh: int, line: str, shown: str) -> None:
    """At the tab key the one word that fits is written out, with the space behind it."""
    type_in(zsh, f"{line}\t", shown.removeprefix(line.rpartition(" ")[2]))


def test_zsh_lists_what_fits_with_what_it_is(zsh: int) -> None:
    """Where several words fit, each is shown with its help beside it."""
    seen = type_in(zsh, "pledger staff grant K --role c\t", "course_teacher")
    seen += type_in(zsh, "\t", "clerk") if "clerk" not in seen else ""
    assert "coach" in seen and " -- " in seen


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_whole_and_alone(shell: str) -> None:
    """What a shell evaluates has no remark in it and nothing changed; ``--json`` has it as a text."""
    made = get_completion_class(shell)
    assert made is not None
    wanted = made(pledger, {}, "pledger", completion.VARIABLE).source().strip("\n")
    if shell in completion.MENDED:
        before, after = completion.MENDED[shell]
        assert before in wanted
        wanted = wanted.replace(before, after, 1)
    result = CliRunner().invoke(pledger, ["completion", shell])
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{wanted}\n", "")
    value = json.loads(CliRunner().invoke(pledger, ["completion", shell, "--json"]).stdout)
    assert value["script"].strip("\n") == wanted
    assert value["line"] == completion.LINES[shell]


def test_a_shell_that_is_not_known_is_a_usage_error() -> None:
    """Those that there are, are named."""
    result = CliRunner().invoke(pledger, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert all(shell in result.stderr for shell in SHELLS)


def test_what_a_shell_shows_beside_a_word_is_in_the_language_of_the_run(folder: Path) -> None:
    """zsh and fish show what a kind is called."""
    for language, said in (("en", "Enrolment"), ("ru", "Зачисление")):
        variables = {
            "_PLEDGER_COMPLETE": "zsh_complete",
            "COMP_WORDS": "pledger append enrol",
            "COMP_CWORD": "2",
        }
        done = subprocess.run(
            ["pledger"],
            env=environment(folder, PLEDGER_LANG=language, **variables),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.stdout.split("\n")[:3] == ["plain", "enrolment", said]


# Colour.


def on_terminal(folder: Path, **more: str) -> bytes:
    """What a failing command writes to standard error where that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["pledger", "explain", "nonsense-word"],
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    assert process.wait(DEADLINE_S) == 2
    said = b"".join(iter(lambda: read_some(ours), b""))
    os.close(ours)
    return said


def read_some(descriptor: int) -> bytes:
    """The next bytes of a terminal; none once the other side has closed it."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def test_an_error_is_red_on_a_terminal_and_plain_with_no_color(folder: Path) -> None:
    """NO_COLOR wins, whatever its value, unless it is empty."""
    assert b"\x1b[" in on_terminal(folder)
    assert b"\x1b[" in on_terminal(folder, NO_COLOR="")
    assert b"\x1b" not in on_terminal(folder, NO_COLOR="1")
    assert b"\x1b" not in on_terminal(folder, NO_COLOR="0")


@pytest.mark.parametrize("more", [{}, {"FORCE_COLOR": "1"}, {"CLICOLOR_FORCE": "1"}])
def test_where_there_is_no_terminal_nothing_is_coloured(folder: Path, more: Mapping[str, str]) -> None:
    """A pipe or file gets text, whatever the environment says of colour."""
    for words in (["explain", "nonsense-word"], ["explain"], ["--help"], ["nonsense"]):
        done = subprocess.run(
            ["pledger", *words], env=environment(folder, **more), capture_output=True, timeout=DEADLINE_S
        )
        assert b"\x1b" not in done.stdout + done.stderr


# Questions.

QUESTIONS = {"ask_passphrase": "--passphrase-file", "ask_yes": "--yes"}
"""Every function of ``cli/output`` that asks something, and the option that answers it beforehand."""
ASKING = {"prompt", "confirm", "getchar", "pause", "input", "getpass", "Prompt", "Confirm", "edit"}
"""What asks a person, in click, rich and Python."""


def leaves(made: click.Command = pledger) -> Iterator[click.Command]:
    """Every command of the tree."""
    yield made
    for one in made.commands.values() if isinstance(made, click.Group) else ():
        yield from leaves(one)


def test_questions_are_asked_in_one_place_and_each_has_a_flag() -> None:
    """A new question is added to the table, with the option that answers it."""
    asked: set[str] = set()
    for path in sorted((ROOT / "cli").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(map(is_question, ast.walk(function))):
                assert path.name == "output.py", f"{path.name}: {function.name} asks something"
                asked.add(function.name)
    assert asked == set(QUESTIONS)
    options = {name for made in leaves() for param in made.params for name in param.opts}
    assert set(QUESTIONS.values()) <= options


def is_question(node: ast.AST) -> bool:
    """Whether a call asks a person something."""
    called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
    return called in ASKING


def test_no_option_asks_for_itself() -> None:
    """click can ask for a missing option; a script would wait for ever."""
    assert not [one for made in leaves() for one in made.params if getattr(one, "prompt", None)]


def test_every_command_that_needs_a_passphrase_takes_it_from_a_file() -> None:
    """Whatever function asks for it, its command has the flag."""
    asking = {"take_passphrase", "open_desk", "_made", "_publish", "_root_key"}
    for path in sorted((ROOT / "cli").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            called = {ast.unparse(one.func) for one in ast.walk(function) if isinstance(one, ast.Call)}
            names = [one.arg for one in function.args.args]
            assert not called & asking or "passphrase_file" in names, f"{path.name}: {function.name}"


@pytest.mark.parametrize("words", [["class", "list"], ["outbox", "send"], ["show", "abcdef"]])
def test_without_a_terminal_a_command_ends_instead_of_asking(
    folder: Path, tmp_path: Path, words: list[str]
) -> None:
    """Also where standard input stays open and says nothing."""
    connected(tmp_path / "home", World())
    silent, held = os.pipe()
    done = subprocess.run(
        ["pledger", *words, "--home", str(tmp_path / "home")],
        env=environment(folder),
        stdin=silent,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    os.close(silent)
    os.close(held)
    assert done.returncode == 2
    assert b"--passphrase-file" in done.stderr
