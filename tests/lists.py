"""Lists for tests: texts, workbooks and archives as people and attackers make them."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openpyxl

from cli.drafts import Writer
from cli.import_records import Drafts, draft_table, kind_named
from cli.profile import Profile, plain_columns, plain_template
from cli.profile_form import parse_profile
from cli.source import Source, parse_source
from cli.table import parse_table
from ledger.statute import default_statute_json, parse_statute
from tests.world import seed

STATUTE = parse_statute(default_statute_json())
PUPILS = {name: seed(f"pid {name}")[:16] for name in ("7a-01", "7a-02", "7a-03")}
WRITER = Writer(statute=STATUTE, unit="school-1", pids=PUPILS, today=datetime.date(2026, 9, 4))

SHEET_START = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
SHEET_END = "</sheetData></worksheet>"


def judge(source: Source, kind: str, writer: Writer = WRITER) -> Drafts:
    """What a list says without a profile."""
    template = plain_template(kind_named(STATUTE, kind))
    table = parse_table(source, plain_columns(template))
    return draft_table(table, Profile(templates=(template,)), writer)


def judge_by(profile: str, data: bytes, writer: Writer = WRITER, *, kind: str = "", **given: str) -> Drafts:
    """What a list says by a profile."""
    made = profile_of(profile, kind=kind, **given)
    return draft_table(parse_table(parse_source(data, "list.csv"), made.columns()), made, writer)


def profile_of(text: str, *, kind: str = "", list_name: str = "list.csv", **given: str) -> Profile:
    """The profile of a TOML text."""
    found = kind_named(STATUTE, kind) if kind else None
    return parse_profile(text.encode(), "profile.toml", STATUTE, kind=found, given=given, list_name=list_name)


def book(rows: Sequence[Sequence[Any]], more: Callable[[Any], None] = lambda _: None) -> bytes:
    """A workbook whose first sheet has these rows; ``more`` does what else is to be done to it."""
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(list(row))
    more(made)
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


def archive(parts: Mapping[str, bytes | str], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP of these parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return stream.getvalue()


def book_with(changes: Mapping[str, bytes | str | None], rows: Sequence[Sequence[Any]] = ((1,),)) -> bytes:
    """A workbook some parts of which were replaced (None: left out)."""
    with zipfile.ZipFile(io.BytesIO(book(rows))) as made:
        parts: dict[str, Any] = {name: made.read(name) for name in made.namelist()} | dict(changes)
    return archive({name: content for name, content in parts.items() if content is not None})


def book_of_sheet(body: str) -> bytes:
    """A workbook whose sheet has this XML within its rows."""
    return book_with({"xl/worksheets/sheet1.xml": f"{SHEET_START}{body}{SHEET_END}"})
