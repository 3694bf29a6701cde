"""``pledger explain``: what a kind, field, rule, error code, role or purpose is, in Russian and English.

It needs no passphrase and no network. A connected workspace is answered by the list of its own ledger,
everybody else by the one that the package ships.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cli import output
from cli.command import command, home_option
from cli.explained import Explained, both
from cli.explanation import explain
from cli.failures import Undone, Usage
from cli.language import say
from cli.output import Table
from cli.topics import SORTS, Topic, find, near, title_of, topics
from cli.workspace import open_workspace
from ledger.errors import LedgerError
from ledger.statute import Statute, default_statute_json, parse_statute

GROUPS = {
    "kind": "kinds",
    "public_kind": "public_kinds",
    "role": "roles",
    "purpose": "purposes",
    "forbidden": "forbidden",
    "act": "acts",
    "field": "fields",
    "word": "words",
    "rule": "rules",
    "code": "codes",
    "failure": "failures",
}
"""Sort of topic, and what a list of them is called (in JSON, and by the catalogue)."""
LISTED_CHARS = 100
"""A line of names; tables are as wide."""


def complete_words(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the words that a shell offers after ``pledger explain``."""
    found = topics(parse_statute(default_statute_json()))
    names = {topic.name: _title(topic) for topic in found if topic.name.startswith(incomplete)}
    return [CompletionItem(name, help=title) for name, title in names.items()]


@command(
    "explain",
    "pledger explain",
    "pledger explain subject_result",
    "pledger explain record.identity --lang ru",
)
@click.argument("words", metavar="[WORD]...", nargs=-1, shell_complete=complete_words)
@home_option
def explain_command(words: tuple[str, ...], home: Path) -> None:
    """Explain kinds, fields, rules, error codes, roles and purposes, in Russian or English.

    WORD is the name of one of them, or the word for a kind that people use. Without a word: all that can be
    explained. A connected workspace answers by the list of its own ledger.
    """
    statute = statute_at(home)
    if not words:
        _show_list(topics(statute))
        return
    found = [explain(topic, statute) for word in words for topic in _found(word, statute)]
    output.show(
        {"explained": [one.value for one in found]},
        *(line for one in found for line in _lines(one)),
    )


def statute_at(home: Path) -> Statute:
    """Return the list of the workspace's own ledger, or the shipped one where there is none to be read."""
    try:
        return open_workspace(home).statute()
    except Undone:
        pass
    except LedgerError as error:
        output.remark(say("explain.own_list", problem=error))
    return parse_statute(default_statute_json())


def _found(word: str, statute: Statute) -> list[Topic]:
    found = find(word, statute)
    if found:
        return found
    names = near(word, statute)
    raise Usage(
        say("explain.near", word=repr(word), names=", ".join(names))
        if names
        else say("explain.none_near", word=repr(word))
    )


def _lines(one: Explained) -> list[str]:
    return [one.title, *(f"  {heading}: {said}" for heading, said in one.rows), ""]


def _show_list(found: Sequence[Topic]) -> None:
    value: dict[str, Any] = {GROUPS[sort]: [] for sort in SORTS}
    for topic in found:
        value[GROUPS[topic.sort]].append(_listed(topic))
    parts: list[str | Table] = [say("explain.list_title")]
    for sort in SORTS:
        parts += _group_parts(sort, [topic for topic in found if topic.sort == sort])
    output.show(value, *parts, "", say("explain.list_use"))


def _group_parts(sort: str, found: Sequence[Topic]) -> list[str | Table]:
    """A table where topics have titles, else lines of names; words stand with their fields."""
    heading = say(f"topics.{GROUPS[sort]}")
    if sort == "word" or not found:
        return []
    if title_of(found[0]) is not None:
        rows = [[topic.name, _title(topic)] for topic in found]
        return ["", Table(columns=[heading, ""], rows=rows)]
    names = textwrap.wrap(", ".join(topic.name for topic in found), LISTED_CHARS, break_on_hyphens=False)
    return ["", heading, *(f"  {line}" for line in names)]


def _listed(topic: Topic) -> dict[str, Any]:
    title = title_of(topic)
    value: dict[str, Any] = {"name": topic.name} | ({"field": topic.field} if topic.field else {})
    return value | ({"title": both(title)} if title else {})


def _title(topic: Topic) -> str:
    title = title_of(topic)
    return "" if title is None else title.in_language()


COMMANDS = [explain_command]
