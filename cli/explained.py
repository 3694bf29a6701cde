"""The form of every explanation, and the words that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.language import Message, say
from cli.topics import Topic, text, title_of
from ledger.statute import Act
from ledger.vocabulary import Pairs

Rows = Sequence[tuple[str, str]]
"""(heading, text)."""
TOLD = ("rule", "code", "failure")
"""Sorts of which people are told by name when something went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A topic's explanation: a title, (heading, text) rows, and the JSON object."""

    title: str
    rows: Rows
    value: dict[str, Any]


def made(topic: Topic, what: Message, rows: Rows, value: dict[str, Any]) -> Explained:
    """Return the explanation of a topic: what it is, then the ``rows``; ``value`` goes into the JSON."""
    title = title_of(topic)
    named = {"title": both(title)} if title else {}
    mark = say("explain.means") if topic.sort in TOLD else say("explain.is")
    return Explained(
        title=say(
            f"explain.title_{topic.sort}", name=topic.name, **({"field": topic.field} if topic.field else {})
        ),
        rows=((mark, what.in_language()), *rows),
        value={"sort": topic.sort, "name": topic.name, **named, "text": both(what), **value},
    )


def said(file: str, key: str, name: str) -> Message:
    """Return a text of ``texts/``, or the bare name where this version has none."""
    return text(file, key) or Message(en=name, ru=name)


def both(message: Message) -> dict[str, str]:
    """Return a text as JSON carries it."""
    return {"ru": message.ru, "en": message.en}


def pairs(pairs: Pairs) -> str:
    """Return roles with their purposes, each role once, as a line."""
    by_role: dict[str, list[str]] = {}
    for role, purpose in pairs:
        by_role.setdefault(role, []).append(said("people", f"purpose_name.{purpose}", purpose).in_language())
    return "; ".join(
        say("explain.pair", role=role_name(role), purpose=", ".join(purposes))
        for role, purposes in by_role.items()
    )


def role_name(role: str) -> str:
    """Return how people call a role, with its code."""
    name = said("people", f"role_name.{role}", role).in_language()
    return name if name == role else f"{name} ({role})"


def act_title(act: Act) -> Message:
    """Return an act's title; the list has it in Russian only."""
    return text("kinds", f"act.{act.id}") or Message(en=act.title, ru=act.title)
