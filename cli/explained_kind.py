"""A kind of record explained: everything but the words comes from the statutory list at hand.

So no text can promise what the list does not say: who writes and reads it, how long it is kept, on which act.
"""

from __future__ import annotations

from typing import Any

from cli.explained import Explained, act_title, both, made, pairs, role_name, said
from cli.language import Message, say
from cli.topics import Topic
from ledger.governance import AUTHORS
from ledger.statute import Act, Kind, Statute
from ledger.vocabulary import FORBIDDEN_PURPOSES, Pairs


def explain_kind(topic: Topic, kind: Kind, statute: Statute) -> Explained:
    """Return the explanation of a kind by this list."""
    what = Message(en=kind.explanation["en"], ru=kind.explanation["ru"])
    rows = [*_terms(kind, statute), (say("explain.kept"), _kept(kind.retention_months))]
    rows += [(say("explain.identity"), _identity(kind)), (say("explain.never"), _never())]
    rows += [(say("explain.mistake"), say("explain.mend"))] if kind.writers else []
    rows += [(say("explain.fields"), ", ".join(_field_name(kind, name) for name in kind.fields))]
    fields = [{"name": name, "required": name in kind.required} for name in kind.fields]
    value = {**_terms_value(kind, statute), "read_by": _pairs_value(kind.readers)}
    value |= {"identity": list(kind.identity), "never": list(FORBIDDEN_PURPOSES), "fields": fields}
    variant = kind.variant
    if variant is not None:
        named = {"field": variant.field, "words": list(variant.values)}
        value |= {"exception": named | _terms_value(variant.kind, statute)}
    return made(topic, what, rows, value)


def _terms(kind: Kind, statute: Statute) -> list[tuple[str, str]]:
    rows = _own_terms(kind, statute)
    if kind.variant is not None:
        words = ", ".join(kind.variant.values)
        mark = say("explain.exception", field=kind.variant.field, words=words)
        rows += [(mark, ": ".join(row)) for row in _own_terms(kind.variant.kind, statute) if row not in rows]
    return [*rows, (say("explain.read"), pairs(kind.readers))]


def _own_terms(kind: Kind, statute: Statute) -> list[tuple[str, str]]:
    """What a variant may have otherwise than its kind."""
    basis = said("kinds", f"basis.{kind.basis}", kind.basis)
    office = said("kinds", f"office.{kind.office}", kind.office)
    written = pairs(kind.writers) if kind.writers else say("explain.nobody")
    own = f"; {say('explain.own_unit')}" if kind.unit_bound and kind.writers else ""
    return [
        (say("explain.rests"), _act_line(statute.acts[kind.act], kind.article)),
        (say("explain.basis"), basis.in_language()),
        (say("explain.office"), office.in_language()),
        (say("explain.written"), written + own),
    ]


def _terms_value(kind: Kind, statute: Statute) -> dict[str, Any]:
    act = statute.acts[kind.act]
    return {
        "act": {"id": act.id, "title": both(act_title(act)), "number": act.number, "date": act.date},
        "article": kind.article,
        "basis": kind.basis,
        "office": kind.office,
        "written_by": _pairs_value(kind.writers),
        "own_unit_only": kind.unit_bound,
        "retention_months": kind.retention_months,
    }


def _act_line(act: Act, article: str) -> str:
    named = said("kinds", f"article.{article}", article).in_language()
    title = act_title(act).in_language()
    return say("explain.act", title=title, number=act.number, date=act.date, article=named)


def _kept(months: int) -> str:
    if months % 12:
        return say("explain.months", count=months)
    return say("explain.years", years=months // 12)


def _identity(kind: Kind) -> str:
    if not kind.identity:
        return say("explain.any_number")
    return say("explain.second", fields=", ".join(kind.identity))


def _never() -> str:
    names = (said("people", f"forbidden.{one}.name", one).in_language() for one in FORBIDDEN_PURPOSES)
    return say("explain.never_kind", purposes=", ".join(names))


def _field_name(kind: Kind, name: str) -> str:
    return name if name in kind.required else say("explain.optional", name=name)


def _pairs_value(pairs: Pairs) -> list[dict[str, str]]:
    return [{"role": role, "purpose": purpose} for role, purpose in pairs]


def explain_public_kind(topic: Topic) -> Explained:
    """Return the explanation of a public record of an agency, or of padding."""
    offices = sorted(AUTHORS.get(topic.name, ()))
    written = ", ".join(role_name(office) for office in offices)
    rows = [(say("explain.written"), written)] if offices else []
    what = said("kinds", f"public.{topic.name.replace('.', '_')}", topic.name)
    return made(topic, what, rows, {"written_by": offices})
