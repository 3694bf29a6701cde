"""Any topic explained: lines for people in the language of the run, and JSON with both languages."""

from __future__ import annotations

from typing import Any

from cli.explained import Explained, act_title, both, made, role_name, said
from cli.explained_field import explain_field
from cli.explained_kind import explain_kind, explain_public_kind
from cli.language import read_texts, say
from cli.topics import Topic
from ledger.rules import RULES
from ledger.statute import Kind, Statute


def explain(topic: Topic, statute: Statute) -> Explained:
    """Return the explanation of a topic of `topics.topics`."""
    match topic.sort:
        case "kind":
            return explain_kind(topic, statute.kinds[topic.name], statute)
        case "public_kind":
            return explain_public_kind(topic)
        case "field":
            return explain_field(topic, statute)
        case "role":
            return _role(topic, statute)
        case "purpose":
            return _purpose(topic, statute)
        case "act":
            return _act(topic, statute)
        case "rule":
            return _told(topic, RULES[topic.name].fault, {"verdict": RULES[topic.name].verdict})
        case "code" | "failure":
            return _told(topic, read_texts("rules")[topic.sort][topic.name]["fault"], {})
    file, key = ("people", f"forbidden.{topic.name}")
    if topic.sort == "word":
        file, key = "fields", f"word.{topic.field}.{topic.name}"
    return made(topic, said(file, key, topic.name), [], {"field": topic.field} if topic.field else {})


def _role(topic: Topic, statute: Statute) -> Explained:
    writes = [kind.name for kind in statute.kinds.values() if topic.name in _writing_roles(kind)]
    reads = [kind.name for kind in statute.kinds.values() if topic.name in dict(kind.readers)]
    rows = [
        (say("explain.writes"), _kinds_line(writes, statute)),
        (say("explain.reads"), _kinds_line(reads, statute)),
    ]
    what = said("people", f"role.{topic.name}", topic.name)
    return made(topic, what, rows, {"writes": writes, "reads": reads})


def _writing_roles(kind: Kind) -> set[str]:
    return {role for role, _ in (*kind.writers, *(kind.variant.kind.writers if kind.variant else ()))}


def _purpose(topic: Topic, statute: Statute) -> Explained:
    readers: dict[str, list[str]] = {}
    for kind in statute.kinds.values():
        for role, purpose in kind.readers:
            if purpose == topic.name:
                readers.setdefault(role, []).append(kind.name)
    rows = [
        (f"{say('explain.reads')}: {role_name(role)}", _kinds_line(kinds, statute))
        for role, kinds in readers.items()
    ]
    what = said("people", f"purpose.{topic.name}", topic.name)
    return made(topic, what, rows, {"readers": readers})


def _kinds_line(kinds: list[str], statute: Statute) -> str:
    return say("explain.every_kind") if len(kinds) == len(statute.kinds) else ", ".join(kinds) or "—"


def _act(topic: Topic, statute: Statute) -> Explained:
    act = statute.acts[topic.name]
    kinds = [kind.name for kind in statute.kinds.values() if act.id in _acts(kind)]
    rows = [
        (say("explain.date"), say("explain.numbered", number=act.number, date=act.date)),
        (say("explain.used_by"), _kinds_line(kinds, statute)),
    ]
    rows += [(say("explain.until"), say("explain.ended", date=act.ended_on))] if act.ended_on else []
    value = {"number": act.number, "date": act.date, "ended_on": act.ended_on, "kinds": kinds}
    return made(topic, act_title(act), rows, value)


def _acts(kind: Kind) -> set[str]:
    return {kind.act} | ({kind.variant.kind.act} if kind.variant else set())


def _told(topic: Topic, fault: str, value: dict[str, Any]) -> Explained:
    """A rule, a node's answer or an error: what it means, whose fault, what to do."""
    key = f"{topic.sort}.{topic.name}"
    todo, whose = said("rules", f"{key}.do", topic.name), said("rules", f"fault.{fault}", fault)
    rows = [(say("explain.fault"), whose.in_language()), (say("explain.do"), todo.in_language())]
    return made(
        topic, said("rules", f"{key}.means", topic.name), rows, {"fault": fault, "do": both(todo), **value}
    )
