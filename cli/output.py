"""The one module that prints. Its rules:

1. Standard output carries the answer and nothing else: text and tables, or with ``--json`` exactly one JSON
   object (ASCII, so no terminal or pipe can break it), also where the command fails.
2. Everything else goes to standard error: errors, remarks, progress, the passphrase prompt.
3. An error says what is wrong, where, and what to do. No traceback reaches a person.
4. Nothing that came from outside drives the terminal: control characters and marks that turn the direction of
   writing are replaced, markup is never interpreted. A list or a node's answer could otherwise rewrite what
   was printed before it.
5. Colour only on a terminal, and never with NO_COLOR set.
6. A question is asked only where a flag could have answered it (`ask_passphrase`: ``--passphrase-file``).
7. Progress is shown for what takes over a second, and never where standard error is no terminal.

The table `_FAILURES` gives every class of error its exit code: 0 done or verified, 1 failed, 2 usage,
3 incomplete, 4 refused by a rule, 5 cannot reach (a node or the disk), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from cli.failures import (
    PROBLEMATIC,
    CellProblem,
    ListMalformed,
    ListRefused,
    ProfileMalformed,
    RowsLeftOut,
    Undone,
    Usage,
)
from cli.heard import translated
from cli.language import headings, say
from ledger.errors import Conflict, LedgerError, Malformed, Refused, StoreError, Undecided, Unproven
from ledger.log_verifier import Progress as Steps
from ledger.rules import RULES
from node.protocol import Obstacle, ProblemAnswer, Unreachable

DONE, FAILED, USAGE, INCOMPLETE, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

PIPE_WIDTH = 1000
"""Columns where there is no terminal: a script must get whole lines, not cells cut at 80 characters."""

ANSWERS = dict.fromkeys(("y", "yes", "д", "да"), True) | dict.fromkeys(("", "n", "no", "н", "нет"), False)
"""What may be typed to a question, in either language: nobody changes the keyboard for one letter."""

PROBLEMS_SHOWN = 200
"""Problems printed as a table; a list of another kind would fill the terminal with them."""

STATUS_RETRY = frozenset({404, 408, 425, 429})
"""Answers below 500 that say nothing about what was asked: no such route (no node, or a proxy's page), slow,
busy. Everything else from 400 to 499 is a refusal."""

_NODE_CODE = re.compile("node[.][a-z_]{1,20}")
"""A node's own code; whatever else an answer says must not become a command to type."""

_JSON_WANTED = "pledger.json"

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line end, marks of direction, separators, lone surrogates."""

_FAILURES: tuple[tuple[type[BaseException], int, str], ...] = (
    (Unreachable, UNREACHABLE, "advice.unreachable"),
    (StoreError, UNREACHABLE, ""),
    (ListMalformed, USAGE, "advice.list_malformed"),
    (ListRefused, REFUSED, "advice.list_refused"),
    (ProfileMalformed, USAGE, "advice.profile_malformed"),
    (RowsLeftOut, INCOMPLETE, "advice.rows_left_out"),
    (Undone, USAGE, ""),
    (Usage, USAGE, ""),
    (Refused, REFUSED, "advice.refused"),
    (Conflict, REFUSED, ""),
    (Unproven, FAILED, "advice.unproven"),
    (Undecided, INCOMPLETE, "advice.undecided"),
    (Malformed, USAGE, ""),
    (LedgerError, FAILED, ""),
    (OSError, UNREACHABLE, "advice.system"),
)
"""Class of error (the first that fits), exit code, and what to do where the message does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under column names, as `show` prints them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""


def prepare() -> None:
    """Make the streams take any text: a terminal without Cyrillic shows escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def want_json(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Remember ``--json`` for this run (the callback of the option)."""
    context.meta[_JSON_WANTED] = wanted or context.meta.get(_JSON_WANTED, False)


def is_json_wanted() -> bool:
    """Whether this run was asked for one JSON object."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_JSON_WANTED))


def show(value: Mapping[str, Any], *parts: str | Table) -> None:
    """Print a command's answer, once: ``value`` with ``--json``, otherwise the lines and tables."""
    if is_json_wanted():
        _print_json(value)
        return
    console = _console(sys.stdout)
    for part in parts:
        _print_part(console, part)


def remark(text: str) -> None:
    """Print a line on standard error that is no part of the answer."""
    _print_part(_console(sys.stderr), translated(text))


def finish(code: int) -> None:
    """End the command with this exit code, after its answer."""
    click.get_current_context().exit(code)


def ask_passphrase(text: str, *, is_new: bool) -> str:
    """Return the passphrase typed on the terminal (twice, if it is a new one)."""
    while True:  # not click's own confirmation, whose "do not match" is English
        answer: str = click.prompt(text, hide_input=True, err=True)
        if not is_new or answer == click.prompt(say("passphrase.again"), hide_input=True, err=True):
            return answer
        remark(say("passphrase.differ"))


def ask_yes(question: str, *parts: str | Table) -> bool:
    """Show what it is about on standard error and return the answer; without a terminal raise `Usage`.

    A pipe is not waited for: one that stays open and says nothing would hold a nightly script for ever.
    """
    console = _console(sys.stderr)
    for part in parts:
        _print_part(console, part)
    if not is_attended():
        raise Usage(say("question.nobody"))
    while True:  # not click's own confirmation, which knows no "да"
        answer = click.prompt(f"{question} {say('question.choice')}", "", show_default=False, err=True)
        if answer.strip().casefold() in ANSWERS:
            return ANSWERS[answer.strip().casefold()]
        remark(say("question.again"))


def is_attended() -> bool:
    """Whether somebody sits at a terminal, who can be asked."""
    return sys.stdin.isatty()


@contextlib.contextmanager
def progress() -> Iterator[Steps]:
    """Yield a function (label, done, total) that shows how far the work is."""
    console = _console(sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def step(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(plain(label), total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield step


def fail(error: BaseException, *, as_json: bool) -> int:
    """Print an error and return its exit code."""
    code, advice = judge_error(error)
    text, problems, codes = _text_of(error), _problems_of(error), _codes_of(error)
    if as_json:
        value = {"error": type(error).__name__, "text": text, "do": advice, "exit_code": code}
        found = {"problems": problems, "explain": codes}
        _print_json(value | {name: one for name, one in found.items() if one})
    console = _console(sys.stderr)
    _print_problems(console, problems)
    console.print(Text(plain(say("error.mark", text=text)), style="bold red"), soft_wrap=True)
    if advice:
        _print_part(console, say("error.do", advice=advice))
    if codes:
        _print_part(console, say("error.explained", command=f"pledger explain {' '.join(codes)}"))
    return code


def show_problems(problems: Sequence[CellProblem]) -> None:
    """Print what is wrong with some rows on standard error, where that is no error of the command."""
    _print_problems(_console(sys.stderr), [cell_problem(one) for one in problems])


def judge_error(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error, and what to do about it ("" where the message says it)."""
    if isinstance(error, ProblemAnswer):
        if is_refusal(error.problem.status):
            return REFUSED, say("advice.node_refused")
        return UNREACHABLE, say("advice.node_later")
    if isinstance(error, click.UsageError):
        return USAGE, say("advice.help", command=error.ctx.command_path) if error.ctx else ""
    for kind, code, advice in _FAILURES:
        if isinstance(error, kind):
            return code, say(advice) if advice else ""
    return FAILED, ""


def is_refusal(status: int) -> bool:
    """Whether an HTTP status says that the node judged what was sent, and refused it."""
    return 400 <= status < 500 and status not in STATUS_RETRY


def plain(text: object) -> str:
    """Return ``text`` with all that could drive a terminal replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def cell_problem(problem: CellProblem) -> dict[str, Any]:
    """Return a problem of a list as JSON carries it."""
    return asdict(problem) | {"text": translated(problem.text)}


def obstacle(one: Obstacle) -> dict[str, Any]:
    """Return what stands in the way at a node as JSON carries it."""
    record, standing = one.record, one.standing
    return {
        "code": one.code,
        "text": translated(f"{one.code}: {one.detail}").removeprefix(f"{one.code}: "),
        "record": record.hex() if record else None,
        "standing": standing.hex() if standing else None,
    }


def _text_of(error: BaseException) -> str:
    if isinstance(error, ProblemAnswer):
        return say("error.node", detail=translated(f"{error.problem.code}: {error.problem.detail}"))
    if isinstance(error, Refused):
        return "; ".join(translated(f"{one.rule.name}: {one.detail}") for one in error.violations)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{translated(error.strerror or str(error))}"
    if isinstance(error, click.ClickException):
        return translated(error.format_message())
    name = type(error).__name__
    return translated(f"{name}: {error}").removeprefix(f"{name}: ") or name


def _problems_of(error: BaseException) -> list[dict[str, Any]]:
    if isinstance(error, PROBLEMATIC):
        return [cell_problem(one) for one in error.problems]
    if isinstance(error, ProblemAnswer):
        return [obstacle(one) for one in error.problem.obstacles]
    return []


def _print_problems(console: Console, problems: Sequence[Mapping[str, Any]]) -> None:
    if problems:
        _print_part(console, _problem_table(problems[:PROBLEMS_SHOWN]))
    if len(problems) > PROBLEMS_SHOWN:
        more = len(problems) - PROBLEMS_SHOWN
        _print_part(console, say("error.more_problems", count=more))


def _codes_of(error: BaseException) -> list[str]:
    """The rules and answers of a node that an error names, each once: what ``pledger explain`` explains."""
    found: list[str] = []
    if isinstance(error, Refused):
        found = [one.rule.name for one in error.violations]
    elif isinstance(error, ProblemAnswer):
        found = [error.problem.code, *(one.code for one in error.problem.obstacles)]
    elif isinstance(error, ListRefused):
        found = [one.text.partition(":")[0] for one in error.problems]
    return [one for one in dict.fromkeys(found) if one in RULES or _NODE_CODE.fullmatch(one)]


def _problem_table(problems: Sequence[Mapping[str, Any]]) -> Table:
    columns = [name for name in problems[0] if any(one[name] not in (None, "") for one in problems)]
    rows = [["" if one[name] is None else one[name] for name in columns] for one in problems]
    return Table(columns=headings(columns), rows=rows)


def _console(stream: TextIO) -> Console:
    """A console on a stream of this moment (tests and pagers swap them)."""
    is_plain = not stream.isatty() or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream,
        width=None if stream.isatty() else PIPE_WIDTH,
        color_system=None if is_plain else "auto",
        markup=False,
        highlight=False,
        emoji=False,
    )


def _print_part(console: Console, part: str | Table) -> None:
    if isinstance(part, str):
        console.print(Text(plain(part)), soft_wrap=True)
        return
    table = RichTable(title=part.title or None, title_justify="left", box=None, pad_edge=False)
    for name in part.columns:
        table.add_column(Text(plain(name)), overflow="fold")
    for row in part.rows:
        table.add_row(*(Text(plain(cell).replace("\n", "⏎")) for cell in row))
    console.print(table)


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
