"""Bytes to text: which encoding a list is in, and how sure that is.

1. A byte order mark decides (UTF-8, UTF-16). So does ``--encoding``.
2. What is UTF-8 is UTF-8.
3. Otherwise it may be windows-1251, in which spreadsheets of Russian computers write CSV. Any bytes at all
   can be read so, most of them as nonsense; so it is taken only if it reads as Russian, and better so than in
   any other encoding Russian texts lie about in. It is said aloud, with a word of it, for a person to judge.
4. Everything else is refused, with the encoding that it may be in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cli.failures import no_list

ENCODINGS = ("utf-8", "utf-16", "windows-1251", "koi8-r", "cp866", "mac-cyrillic")
"""What ``--encoding`` takes. The last four are guessed among, in this order where they read alike."""

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_GUESSED = ENCODINGS[2:]
_OWN = "windows-1251"
_BY_FREQUENCY = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"
"""Russian letters, the commonest first: text in a wrong encoding is made of the rare ones."""
_RANK = {letter: rank for rank, letter in enumerate(_BY_FREQUENCY)}
_SIGNS = frozenset("«»–—…№“”„°§ \t\u2019")
"""What Russian text has beside letters and ASCII."""
_ODD_CASE = re.compile("[а-яё][А-ЯЁ]")
"""koi8-r and windows-1251 have each other's capitals the wrong way round: пРИВЕТ."""
_BESIDE_LATIN = re.compile("[A-Za-z][а-яё]|[а-яё][A-Za-z]", re.IGNORECASE)
"""A Russian letter within a Latin word is an accented one of another encoding: Mьller."""
_BESIDE_LATIN_MAX = 0.25
_LETTERS_MIN = 0.9
"""Shares: some signs may be odd, and now and then a C is typed on the wrong keyboard."""
_ODD_CASE_COST = 10
_SAMPLE_CHARS = 200_000
"""Judged by: more text makes a guess no surer."""
_WORD = re.compile("[А-Яа-яЁё]+[А-Яа-яЁё ]{0,30}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text without its mark, and what has to be said about it ("" if nothing)."""

    text: str
    remark: str = ""


def decode(data: bytes, file: str, encoding: str = "") -> Decoded:
    """Return the text of ``data``; raise `ListMalformed` saying where it is none and what to do."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            _check_same(encoding, name, file)
            return Decoded(_strict(data[len(mark) :], name, file))
    if encoding:
        return Decoded(_strict(data, encoding, file))
    try:
        return Decoded(data.decode())
    except UnicodeDecodeError as error:
        return _guessed(data, error.start, file)


def _check_same(encoding: str, marked: str, file: str) -> None:
    if encoding and not marked.startswith(encoding):
        raise no_list(file, f"begins with the mark of {marked}: leave --encoding {encoding} out")


def _strict(data: bytes, encoding: str, file: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        bad = data[error.start : error.start + 8].hex(" ")
        text = f"not {encoding} from here on: name its encoding with --encoding, or save it as CSV UTF-8"
        raise no_list(file, text, row=_row_of(data, error.start), value=bad) from None


def _guessed(data: bytes, start: int, file: str) -> Decoded:
    """The text by the best of the guesses, if that is windows-1251."""
    row, bad = _row_of(data, start), data[start : start + 8].hex(" ")
    if b"\x00" in data[:1000]:
        text = "not UTF-8 text, and has zero bytes: it is no CSV, or try --encoding utf-16"
        raise no_list(file, text, row=row, value=bad)
    oddness = {name: odd for name in _GUESSED if (odd := _oddness(data, name)) is not None}
    best = min(oddness, key=lambda name: oddness[name], default="")
    if best != _OWN:
        hint = f"; it may be {best} (--encoding {best})" if best else ""
        text = f"not UTF-8 text from here on: save it as CSV UTF-8{hint}"
        raise no_list(file, text, row=row, value=bad)
    decoded = data.decode(_OWN)
    word = _WORD.search(decoded)
    example = f", where it says {word[0].strip()!r}" if word else ""
    return Decoded(
        decoded,
        f"{file}: not UTF-8, read as {_OWN}; look at row {row}{example}. If that is wrong, name the encoding "
        "with --encoding",
    )


def _oddness(data: bytes, encoding: str) -> float | None:
    """How little the bytes look like Russian in this encoding; None if they are not."""
    try:
        text = data.decode(encoding)[:_SAMPLE_CHARS]
    except UnicodeDecodeError:
        return None
    foreign = [one for one in text if not one.isascii() and one not in _SIGNS]
    letters = [rank for one in foreign if (rank := _RANK.get(one.lower())) is not None]
    beside = len(_BESIDE_LATIN.findall(text))
    if len(letters) < max(1, _LETTERS_MIN * len(foreign)) or beside > _BESIDE_LATIN_MAX * len(letters):
        return None
    return (sum(letters) + _ODD_CASE_COST * len(_ODD_CASE.findall(text))) / len(letters)


def _row_of(data: bytes, at: int) -> int:
    return len(_LINE_END.findall(data, 0, at)) + 1
