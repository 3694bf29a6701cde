"""A cell's text into the value of a field, by the field's schema. The whole list of what is changed:

- ``01.09.2026`` becomes ``2026-09-01`` where the field is a date;
- ``14,5`` becomes ``14.5`` where the field is a decimal number;
- digits become an integer where the field is one;
- what is separated by commas becomes a list where the field is one.

Everything else stays as it stands, and the schema judges it. What could be meant in two ways, or was changed
by a spreadsheet behind its user's back, is refused with what would be right, also where the schema would take
it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

DATE_FORMS: Mapping[str, str] = {
    "YYYY-MM-DD": r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)",
    "DD.MM.YYYY": r"(?P<d>\d\d?)\.(?P<m>\d\d?)\.(?P<y>\d{4})",
    "DD/MM/YYYY": r"(?P<d>\d\d?)/(?P<m>\d\d?)/(?P<y>\d{4})",
    "MM/DD/YYYY": r"(?P<m>\d\d?)/(?P<d>\d\d?)/(?P<y>\d{4})",
    "YYYY/MM/DD": r"(?P<y>\d{4})/(?P<m>\d\d?)/(?P<d>\d\d?)",
    "YYYYMMDD": r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
}
"""Forms of a date that a profile may name; the first two are taken without one."""

FIRST_YEAR = 2000
"""No date of the list is earlier: what a spreadsheet makes of 0 or 5 is a day of 1900."""

_PLAIN_FORMS = ("YYYY-MM-DD", "DD.MM.YYYY")
_WRITE = "write it as 2026-09-01 or 01.09.2026"
_AMBIGUOUS = (
    (
        r"\d{1,2}/\d{1,2}/\d{2,4}",
        f"which is the day, which the month? {_WRITE}, or name the form in a profile",
    ),
    (r"\d{1,2}[.-]\d{1,2}[.-]\d{2}", f"a year of two digits: {_WRITE}"),
    (r"\d{5}", f"a spreadsheet's count of days: format the column as a date, or {_WRITE}"),
    (r"(?:\d{4}-\d\d-\d\d|\d\d?\.\d\d?\.\d{4})[ T]\d.*", f"a time stands beside the date: {_WRITE}"),
    (r"\d{1,2}[.-]\d{1,2}", f"without a year: {_WRITE}"),
)
_WHOLE = re.compile("-?[0-9]{1,15}")
_DECIMAL = re.compile("([0-9]+),([0-9]+)")
_MONTH = (
    "(?:янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
)
_MADE_A_DATE = re.compile(
    rf"\d\d?[.-]{_MONTH}[а-яa-z]{{0,5}}|{_MONTH}[а-яa-z]{{0,5}}[.-]\d\d(?:\d\d)?", re.IGNORECASE
)
_AS_TEXT = "format the column as text, and type the cell anew"

Part = Mapping[str, Any]
Value = tuple[Any, str]
"""A field's value, and what is wrong with it ("" if nothing that the schema does not see)."""


def value_of(text: str, part: Part, *, is_date: bool = False, form: str = "") -> Value:
    """Return a cell as a field of the schema ``part`` has it.

    ``is_date`` says that the cell holds a real date of a workbook (then ``text`` is ISO), ``form`` how dates
    are written in it.
    """
    if part.get("format") == "date":
        return _date(text, "YYYY-MM-DD" if is_date else form)
    if is_date:
        return text, f"the sheet holds a date here: {_AS_TEXT}"
    if part.get("type") == "integer":
        return (int(text) if _WHOLE.fullmatch(text) else text), ""
    if part.get("type") == "array":
        is_flat = part["items"].get("type") != "object"
        return (sorted({one.strip() for one in text.split(",")}) if is_flat else text), ""
    if (number := _DECIMAL.fullmatch(text)) and _is_decimal(part.get("pattern", "")):
        return f"{number[1]}.{number[2]}", ""
    if part.get("type") == "string" and _MADE_A_DATE.fullmatch(text):
        return text, f"a spreadsheet has made a date of it: {_AS_TEXT}"
    return text, ""


def _date(text: str, form: str) -> Value:
    forms = (form,) if form else _PLAIN_FORMS
    match = next((found for one in forms if (found := re.fullmatch(DATE_FORMS[one], text, re.ASCII))), None)
    if match is None:
        wrong = f"not written as {form}, which the profile names" if form else _why_no_date(text)
        return text, wrong
    if int(match["y"]) < FIRST_YEAR:
        return text, f"a date of {match['y']}, such as a spreadsheet makes of a number or nothing: {_WRITE}"
    try:
        day = datetime.date(int(match["y"]), int(match["m"]), int(match["d"]))
    except ValueError:
        return text, "no day of the calendar"
    return day.isoformat(), ""


def _why_no_date(text: str) -> str:
    return next(
        (why for pattern, why in _AMBIGUOUS if re.fullmatch(pattern, text, re.ASCII)), f"no date: {_WRITE}"
    )


@lru_cache(maxsize=256)
def _is_decimal(pattern: str) -> bool:
    """Whether a pattern takes numbers with a point and no codes, in which a comma could mean anything."""
    return re.fullmatch(pattern, "0.5") is not None and re.fullmatch(pattern, "A.5") is None
