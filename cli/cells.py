"""The text of one cell: what is cleaned, what is refused whatever the column, how an error shows it.

Spaces around a cell are not part of it, and text is taken in Unicode form NFC, because two computers write й
in two ways. A cell that begins with ``=``, ``+``, ``-`` or ``@`` followed by a formula is refused: it would
run in the spreadsheet of whoever opens an export. What is handed back to people carries an apostrophe before
such a cell; with it, it is refused as well.
"""

from __future__ import annotations

import re
import unicodedata

SHOWN_MAX = 60
"""Characters of a value as an error shows it."""

_FORMULA = re.compile(r"'?(?:[=@].|[+-](?![0-9]+([.,][0-9]+)?$).)", re.DOTALL)
"""A sign before a plain number is a number; a sign alone is a dash."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def clean(text: str) -> str:
    """Return a cell's text without spaces around it, in Unicode form NFC."""
    return unicodedata.normalize("NFC", text).strip()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would take the text for a formula, at once or without its apostrophe."""
    return _FORMULA.match(text) is not None


def harmless(text: str) -> str:
    """Return the text as it may stand in a file that somebody opens with a spreadsheet."""
    return f"'{text}" if is_formula(text) and not text.startswith("'") else text


def cell_fault(text: str) -> str:
    """Return what is wrong with a cell whatever its column; "" if nothing."""
    if is_formula(text):
        return "a formula: write the value itself"
    return "holds a control character or line end: type the cell anew" if _CONTROL.search(text) else ""


def shown_value(text: str) -> str:
    """Return a cell as errors show it: whole if short."""
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
