"""What ``pledger explain`` can explain, and how a word that a person types finds it.

A topic is a kind, a field, a word of a field, a role, a purpose, a rule, a node's answer, an error or an act.
Its text stands in ``texts/``; which kinds, fields, words and acts there are is the statutory list's to say,
so a list that a quorum extended is explained too, as far as it explains itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from cli.import_records import LISTS
from cli.language import Message, catalogue, read_texts
from ledger.rules import RULES
from ledger.statute import Kind, Statute
from ledger.vocabulary import FORBIDDEN_PURPOSES, RESERVED_KINDS, WITHDRAWAL_REASONS

Sort: TypeAlias = Literal[
    "kind", "public_kind", "field", "word", "role", "purpose", "forbidden", "rule", "code", "failure", "act"
]
SORTS: tuple[Sort, ...] = (
    "kind",
    "public_kind",
    "role",
    "purpose",
    "forbidden",
    "act",
    "field",
    "word",
    "rule",
    "code",
    "failure",
)
"""In the order in which they are listed."""

NEAR_MAX = 6
"""Words offered in the place of an unknown one."""
NEAR_LEAST = 0.6
"""How alike they must be (difflib); below that a word has little to do with what was typed."""
PART_CHARS_MIN = 3
"""Of a part by which longer words are offered: two letters are in everything."""

VOCABULARIES = ("kinds", "purpose", "role")
"""Fields whose words are topics of their own: kinds, purposes, roles."""

Part: TypeAlias = Mapping[str, Any]
"""A field's part of a kind's schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing that can be explained; ``field`` is that of a word."""

    sort: Sort
    name: str
    field: str = ""


def topics(statute: Statute) -> list[Topic]:
    """Return everything that can be explained, in order."""
    words = dict.fromkeys((field, word) for _, field, part in parts(statute) for word in words_of(part))
    words |= dict.fromkeys(
        (field, word)
        for kind, field, _ in parts(statute)
        for part, _, _ in branches_of(statute.kinds.get(kind), field)
        for word in words_of(part)
    )
    words |= dict.fromkeys(("reason_code", word) for word in WITHDRAWAL_REASONS)
    names: dict[Sort, list[str]] = {
        "kind": list(statute.kinds),
        "public_kind": list(RESERVED_KINDS),
        "role": list(statute.roles),
        "purpose": list(statute.purposes),
        "forbidden": list(FORBIDDEN_PURPOSES),
        "act": list(statute.acts),
        "field": list(dict.fromkeys(field for _, field, _ in parts(statute))),
        "rule": list(RULES),
        "code": list(read_texts("rules")["code"]),
        "failure": list(read_texts("rules")["failure"]),
    }
    found = [Topic(sort=sort, name=name) for sort, of_sort in names.items() for name in of_sort]
    found += [
        Topic(sort="word", name=word, field=field) for field, word in words if field not in VOCABULARIES
    ]
    return sorted(found, key=lambda topic: SORTS.index(topic.sort))


def find(word: str, statute: Statute) -> list[Topic]:
    """Return the topics of this name, or that people call so in either language; none if there is none."""
    wanted = _plain(word)
    wanted = LISTS.get(wanted, wanted)
    known = topics(statute)
    exact = [topic for topic in known if wanted in map(_plain, names_of(topic))]
    return exact or [
        topic for topic in known if any(_plain(name).startswith(f"{wanted} ") for name in names_of(topic))
    ]


def near(word: str, statute: Statute) -> list[str]:
    """Return names that a mistyped or half-remembered word may have meant, the likeliest first."""
    wanted = _plain(word)
    called = {_plain(name): topic.name for topic in topics(statute) for name in names_of(topic)}
    called |= {name: name for name in LISTS}
    alike = difflib.get_close_matches(wanted, called, n=NEAR_MAX, cutoff=NEAR_LEAST)
    parts_of = [name for name in called if len(wanted) >= PART_CHARS_MIN and wanted in name]
    return list(dict.fromkeys(called[name] for name in [*alike, *parts_of]))[:NEAR_MAX]


def names_of(topic: Topic) -> list[str]:
    """Return the words that a topic may be found by: its name, and what people call it."""
    said = title_of(topic)
    return [topic.name] if said is None else [topic.name, said.en, said.ru]


def title_of(topic: Topic) -> Message | None:
    """Return what people call a kind, a role or a purpose; None where the name itself has to do."""
    match topic.sort:
        case "kind":
            return text("kinds", f"title.{topic.name}")
        case "public_kind":
            return text("kinds", f"public.{topic.name.replace('.', '_')}.title")
        case "role" | "purpose":
            return text("people", f"{topic.sort}_name.{topic.name}")
        case "forbidden":
            return text("people", f"forbidden.{topic.name}.name")
        case "act":
            return text("kinds", f"act.{topic.name}")
    return None


def text(file: str, key: str) -> Message | None:
    """Return a text of ``texts/``; None for what this version does not know (a list may be newer)."""
    return catalogue(file).get(key)


def parts(statute: Statute) -> Iterator[tuple[str, str, Part]]:
    """Yield kind, field and schema of every field; those within a list's items as ``kind.field``."""
    for kind in statute.kinds.values():
        yield from _parts(kind)


def words_of(part: Part) -> tuple[str, ...]:
    """Return the closed vocabulary of a field, or none if it has no words of its own."""
    words: list[str] = part.get("items", part).get("enum", [])
    return tuple(words)


def branches_of(kind: Kind | None, field: str) -> list[tuple[Part, str, str]]:
    """Return what a field must be besides: (schema, the other field, that one's words)."""
    found = []
    for condition in kind.schema.get("allOf", []) if kind else []:
        ((other, test),) = condition["if"]["properties"].items()
        part = condition["then"]["properties"].get(field)
        found += [(part, other, ", ".join(test["enum"]))] if part else []
    return found


def _parts(kind: Kind) -> Iterator[tuple[str, str, Part]]:
    for name, part in kind.schema["properties"].items():
        yield kind.name, name, part
        for inner, inner_part in part.get("items", {}).get("properties", {}).items():
            yield f"{kind.name}.{name}", inner, inner_part


@cache
def _plain(word: str) -> str:
    return word.strip().casefold().replace("ё", "е")
