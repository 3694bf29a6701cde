"""A field explained: what it means, in which kinds it stands, and what may stand in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cli.explained import Explained, both, made, said
from cli.heard import translated
from cli.language import say
from cli.topics import Part, Topic, branches_of, parts, text, words_of
from ledger.schema_form import expected
from ledger.statute import Statute
from ledger.vocabulary import WITHDRAWAL_REASONS


def explain_field(topic: Topic, statute: Statute) -> Explained:
    """Return the explanation of a field in every kind that has it."""
    places = [(kind, part) for kind, name, part in parts(statute) if name == topic.name]
    rows = [row for kind, part in places for row in _place_rows(topic.name, kind, part, statute)]
    if topic.name == "reason_code":
        rows += [(say("explain.withdrawal"), _words(topic.name, WITHDRAWAL_REASONS))]
    value = {"kinds": [_place_value(topic.name, kind, part, statute) for kind, part in places]}
    return made(topic, said("fields", f"field.{topic.name}", topic.name), _merged(rows), value)


def _place_rows(name: str, place: str, part: Part, statute: Statute) -> list[tuple[str, str]]:
    """What a field is in one kind: its meaning there, and what may stand in it."""
    meant = text("fields", f"in.{place}.{name}")
    rows = [(place, meant.in_language())] if meant else []
    rows += [(place, _wanted(name, part))]
    for branch, other, word in branches_of(statute.kinds.get(place), name):
        rows.append((place, say("explain.where", what=_wanted(name, branch), field=other, word=word)))
    return rows


def _wanted(name: str, part: Part) -> str:
    words = words_of(part)
    return _words(name, words) if words else translated(expected(dict(part)))


def _place_value(name: str, place: str, part: Part, statute: Statute) -> dict[str, Any]:
    kind, _, outer = place.partition(".")
    meant = text("fields", f"in.{place}.{name}")
    required = name in statute.kinds[kind].required if not outer else True
    value: dict[str, Any] = {"kind": kind, "within": outer or None, "required": required}
    value |= {"expected": expected(dict(part)), "words": list(words_of(part))}
    value |= {"identifies": not outer and name in statute.kinds[kind].identity}
    return value | ({"text": both(meant)} if meant else {})


def _words(field: str, words: Iterable[str]) -> str:
    """The words of a field with what they mean; those of other topics by name only."""
    told = ((word, text("fields", f"word.{field}.{word}")) for word in words)
    joined = [f"{word} — {said.in_language()}" if said else word for word, said in told]
    return "; ".join(joined) if any(" — " in one for one in joined) else ", ".join(joined)


def _merged(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rows that say the same of several kinds as one."""
    kinds: dict[str, list[str]] = {}
    for kind, line in rows:
        kinds.setdefault(line, []).append(kind)
    return [(", ".join(dict.fromkeys(names)), line) for line, names in kinds.items()]
