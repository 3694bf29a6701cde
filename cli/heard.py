"""Sentences of others in the language of the run: ``ledger``, nodes and click speak English only.

Each is found in the catalogue (``texts/heard.toml``, ``help.toml``) by its English template. What it does not
know stays English, behind the meaning of its rule where it names one: half an answer is better than none. A
node may say anything, so every sentence is bounded, and looked for in time that grows no faster than its
length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from cli import language
from cli.language import PLACEHOLDER, Message, catalogue, filled

FILES = ("heard", "help")
"""The files of the catalogue that are found by their English."""
HEARD_CHARS_MAX = 2_000
"""Of a sentence that is looked for; longer ones (a node may say anything) stay as they are."""
NESTED_MAX = 6
"""Sentences within sentences: file, entry, field, what it must be, where."""
WHOLE_NUMBERS = frozenset({"count", "row", "first"})
"""Placeholders that only digits fill: without that `{file} row {row}` would be found in any English text."""

ANY_BEGINNING = frozenset({"path", "text"})
"""Placeholders that may take in a ``field: `` before the sentence proper; others leave it standing."""

_PAUSE = re.compile("[:;] ")
"""Behind a colon a sentence may begin (``row 5: ...``), around a semicolon there are two."""
_RUSSIAN = re.compile("[А-Яа-яЁё]")
_LABEL = re.compile(r"[^'\"\[{]*:(?: |$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An English sentence taken apart: ``literals`` stand around and between the ``names``.

    A part stands within another sentence only; alone it says too little to be told from any other text.
    """

    ru: str
    is_part: bool
    literals: tuple[str, ...]
    names: tuple[str, ...]


def translated(text: str, *, is_part: bool = False) -> str:
    """Return an English sentence of another package in the language of this run, as far as it is known.

    ``is_part`` says that the text is known to be what stands within such a sentence.
    """
    if language.current() == "en" or len(text) > HEARD_CHARS_MAX:
        return text
    return _translated(text, NESTED_MAX, is_part=is_part)


@cache
def _templates() -> tuple[Template, ...]:
    """The English of others, the most telling first."""
    found = [_template(key, one) for name in FILES for key, one in catalogue(name).items()]
    return tuple(sorted(found, key=lambda one: -sum(map(len, one.literals))))


def _template(key: str, message: Message) -> Template:
    pieces = PLACEHOLDER.split(message.en)
    return Template(
        ru=message.ru,
        is_part=key.startswith("part."),
        literals=tuple(pieces[::3]),
        names=tuple(pieces[1::3]),
    )


def _translated(text: str, depth: int, *, is_part: bool) -> str:
    line = " ".join(text.split())
    if not line or not depth:
        return text
    for template in _templates():
        values = None if template.is_part and not is_part else _match(template, line)
        if values is not None:
            known = {name: _translated(value, depth - 1, is_part=True) for name, value in values.items()}
            return filled(template.ru, known)
    pause = _PAUSE.search(text)
    if pause is None:
        return text
    head, tail = text[: pause.start()], _translated(text[pause.end() :], depth - 1, is_part=is_part)
    if pause[0] == "; ":
        head = _translated(head, depth - 1, is_part=is_part)
    elif meaning := _meanings().get(head):
        tail = tail if _RUSSIAN.search(tail) else f"{meaning} ({tail})"
    return f"{head}{pause[0]}{tail}"


@cache
def _meanings() -> dict[str, str]:
    """Rule, answer of a node or class of error to its meaning, said where the rest is not known."""
    said = {key: one.ru for key, one in catalogue("rules").items() if key.endswith(".means")}
    codes = {key.partition(".")[2].removesuffix(".means"): ru for key, ru in said.items()}
    return {code: ru.partition(". ")[0].rstrip(".") for code, ru in codes.items()}


def _match(template: Template, text: str) -> dict[str, str] | None:
    """What stands in the places of the names; None if the sentence is another.

    Each literal is taken where it first stands, which finds a match if there is one. A regular expression
    would try all ways: a node could send a sentence that takes it an hour.
    """
    first, *others = template.literals
    if not others:
        return {} if text == first else None
    if not text.startswith(first) or not text.endswith(others[-1]):
        return None
    values: dict[str, str] = {}
    at, end = len(first), len(text) - len(others[-1])
    for place, (name, literal) in enumerate(zip(template.names, others, strict=True), start=1):
        stop = end if place == len(others) else text.find(literal, at + 1, end)
        value = text[at:stop]
        if stop <= at or values.setdefault(name, value) != value:
            return None
        if not _fits(name, value, is_first=at == 0):
            return None
        at = stop + len(literal)
    return values


def _fits(name: str, value: str, *, is_first: bool) -> bool:
    if name in WHOLE_NUMBERS:
        return value.isascii() and value.isdecimal()
    return not is_first or name in ANY_BEGINNING or not _LABEL.match(value)
