"""A first profile, made from a list's headers: what is recognised is taken, everything else left out by name.

It is meant to be read and mended by a person. What it cannot know stands in it as ``?``, which no import
takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from cli.delimited import Line
from cli.headers import SUBJECT_COLUMN, UNIT_FIELD, Columns, columns_of
from cli.heard import translated
from cli.language import say
from cli.source import Source
from cli.table import find_header
from ledger.schema_form import expected
from ledger.statute import Kind, Statute

UNKNOWN = "?"
"""What a person has to fill in."""
WORDS_MAX = 30
"""Different words of one column worth translating; more is no vocabulary."""
_NOTHING_KNOWN = Columns(keys={}, required=())


def suggest_profile(source: Source, statute: Statute, kind: Kind | None = None) -> str:
    """Return the TOML of a profile for a list; ``kind`` is the one that fits its headers best."""
    kind = kind or _likely_kind(source, statute)
    columns = columns_of(kind) if kind else _NOTHING_KNOWN
    lines, header = find_header(source, columns)
    keys = {key: name for name in header.cells if name and (key := columns.key_of(name))}
    left_out = [name for name in dict.fromkeys(header.cells) if name and name not in keys.values()]
    words = _foreign_words(lines(), header, keys, kind) if kind else {}
    return "\n".join([*_head(source, keys, left_out), *_record(keys, kind, words, statute), ""])


def _likely_kind(source: Source, statute: Statute) -> Kind | None:
    """The kind most of whose own fields stand among the headers."""
    best, most = None, 0
    for kind in statute.kinds.values():
        columns = columns_of(kind)
        _, header = find_header(source, columns)
        known = {columns.key_of(name) for name in header.cells if name} - {None, SUBJECT_COLUMN}
        if len(known) > most and len(known) * 2 > len(columns.required) - 1:
            best, most = kind, len(known)
    return best


def _foreign_words(
    lines: Iterable[Line], header: Line, keys: Mapping[str, str], kind: Kind
) -> dict[str, list[str]]:
    """Field with a closed vocabulary to the words of the list that are not in it."""
    places = {
        key: (header.cells.index(name), kind.schema["properties"][key]["enum"])
        for key, name in keys.items()
        if "enum" in kind.schema["properties"].get(key, {})
    }
    found: dict[str, dict[str, None]] = {key: {} for key in places}
    for line in lines:
        if line.number <= header.number:
            continue
        for key, (place, vocabulary) in places.items():
            word = line.cells[place] if place < len(line.cells) else ""
            if word and word not in vocabulary and len(found[key]) <= WORDS_MAX:
                found[key][word] = None
    return {key: list(words) for key, words in found.items() if len(words) <= WORDS_MAX}


def _head(source: Source, keys: Mapping[str, str], left_out: list[str]) -> Iterator[str]:
    yield f"# {say('suggest.made', file=_quoted(source.file))}"
    yield f"# {say('suggest.read')}"
    yield ""
    if SUBJECT_COLUMN not in keys:
        yield f"# {say('suggest.pupil')}"
    yield f"local_id = {_quoted(keys.get(SUBJECT_COLUMN, UNKNOWN))}"
    yield ""
    yield f"# {say('suggest.left_out')}"
    yield "left_out = ["
    yield from (f"    {_quoted(name)}," for name in left_out)
    yield "]"


def _record(
    keys: Mapping[str, str], kind: Kind | None, words: Mapping[str, list[str]], statute: Statute
) -> Iterator[str]:
    yield ""
    yield "[[records]]"
    if kind is None:
        yield f"# {say('suggest.kind', kinds=', '.join(statute.kinds))}"
        yield f"kind = {_quoted(UNKNOWN)}"
        return
    yield f"kind = {_quoted(kind.name)}"
    yield ""
    yield "[records.columns]"
    for field, name in keys.items():
        if field != SUBJECT_COLUMN:
            yield f"{_quoted(name)} = {_taken(field, words.get(field, []), kind)}"
    missing = [field for field in kind.required if field not in keys and field != UNIT_FIELD]
    if missing:
        yield ""
        yield f"# {say('suggest.constants')}"
        yield "[records.constants]"
        for field in missing:
            yield f"{field} = {_quoted(UNKNOWN)}  # {_wanted(kind, field)}"


def _taken(field: str, words: list[str], kind: Kind) -> str:
    if not words:
        return _quoted(field)
    values = ", ".join(f"{_quoted(word)} = {_quoted(UNKNOWN)}" for word in words)
    each = say("suggest.each", wanted=_wanted(kind, field))
    return f"{{ field = {_quoted(field)}, values = {{ {values} }} }}  # {each}"


def _wanted(kind: Kind, field: str) -> str:
    return translated(expected(kind.schema["properties"][field]), is_part=True)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON escapes all that TOML wants escaped but DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
