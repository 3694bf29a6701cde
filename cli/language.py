"""What commands say to people, in Russian and English: one catalogue, and the language of this run.

The catalogue is ``texts/messages.toml``, ``heard.toml`` and ``help.toml``: each message has a key, ``en`` and
``ru``. Its rules, which a test keeps: both languages name the same placeholders; ``{count}`` is a value,
``{count:запись|записи|записей}`` the form that goes with that number (two forms in English, three in
Russian); codes, field names, commands and keys of JSON are never translated.

`say` gives the text of a key: what this package says itself. Sentences of ``ledger``, of a node far away or
of click, which know no languages, are found by their English (``heard``).

The language is chosen once a run (`choose`): ``--lang``, PLEDGER_LANG, the locale; else it is English.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

Language: TypeAlias = Literal["en", "ru"]
LANGUAGES: tuple[Language, ...] = ("ru", "en")
VARIABLE = "PLEDGER_LANG"
LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""In the order of POSIX: the first that is not empty decides."""

SAID = "messages"
"""The file of the catalogue that `say` reads; those that are found by their English are read in ``heard``."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]+))?\}")

_language: ContextVar[Language] = ContextVar("language", default="en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One text in both languages."""

    en: str
    ru: str

    def in_language(self) -> str:
        """Return the text in the language of this run."""
        return self.ru if _language.get() == "ru" else self.en


def choose(typed: Sequence[str], environment: Mapping[str, str]) -> None:
    """Set the language of this run: ``--lang`` as typed, else PLEDGER_LANG, else the locale, else English."""
    _language.set(_typed(typed) or _of_environment(environment))


def use(language: Language) -> None:
    """Set the language of this run."""
    _language.set(language)


def current() -> Language:
    """Return the language of this run."""
    return _language.get()


def say(key: str, /, **values: object) -> str:
    """Return the message of ``key`` with its placeholders filled."""
    return filled(catalogue(SAID)[key].in_language(), values)


def say_word(section: str, word: str) -> str:
    """Return how people read a ``word`` of a closed vocabulary; the word itself where nothing is said."""
    message = catalogue(SAID).get(f"{section}.{word.replace(' ', '_')}")
    return word if message is None else message.in_language()


def headings(columns: Sequence[str]) -> list[str]:
    """Return how the headings of a table are read; the columns' names in JSON stay."""
    return [say_word("column", name) for name in columns]


def plural(count: int, forms: Sequence[str]) -> str:
    """Return the form that goes with a number: 1 record, 2 records; 1 запись, 2 записи, 5 записей."""
    if len(forms) == 2:
        return forms[0 if count == 1 else 1]
    tens, ones = abs(count) % 100 // 10, abs(count) % 10
    if tens == 1 or ones == 0 or ones > 4:
        return forms[2]
    return forms[0 if ones == 1 else 1]


@cache
def catalogue(name: str) -> Mapping[str, Message]:
    """Return one file's messages by key, read when first needed: English needs only what it says."""
    return {key: Message(en=one["en"], ru=one["ru"]) for key, one in _flat(read_texts(name), "")}


def read_texts(name: str) -> dict[str, Any]:
    """Return a data file of the package, ``texts/<name>.toml``."""
    return tomllib.loads(resources.files("cli").joinpath("texts", f"{name}.toml").read_text(encoding="utf-8"))


def filled(template: str, values: Mapping[str, object]) -> str:
    """Return a template with its placeholders filled."""

    def fill(match: re.Match[str]) -> str:
        value, forms = values[match[1]], match[2]
        return str(value) if forms is None else plural(int(str(value)), forms.split("|"))

    return PLACEHOLDER.sub(fill, template)


def placeholders(text: str) -> list[tuple[str, str | None]]:
    """Return the placeholders of a template: name, and the forms where it stands for a form."""
    return [(match[1], match[2]) for match in PLACEHOLDER.finditer(text)]


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Mapping[str, str]]]:
    found: list[tuple[str, Mapping[str, str]]] = [(prefix[:-1], table)] if _is_message(table) else []
    for name, one in table.items():
        found += _flat(one, f"{prefix}{name}.") if isinstance(one, dict) else []
    return found


def _is_message(table: Mapping[str, Any]) -> bool:
    return isinstance(table.get("en"), str) and isinstance(table.get("ru"), str)


def _typed(words: Sequence[str]) -> Language | None:
    """The language typed, looked for before click reads the line: its own errors must be in it too."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--":
            break
        value = following if word == "--lang" else word.removeprefix("--lang=")
        if word.startswith("--lang") and value in LANGUAGES:
            return value
    return None


def _of_environment(environment: Mapping[str, str]) -> Language:
    names = (VARIABLE, *LOCALE_VARIABLES)
    value = next((environment[name] for name in names if environment.get(name)), "")
    return "ru" if value.lower().startswith("ru") else "en"
