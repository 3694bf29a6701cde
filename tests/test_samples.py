"""The sample lists that the package ships are valid under the default list, and of nobody real."""

from __future__ import annotations

import csv
import re
from importlib import resources
from typing import Any

import pytest

from ledger.statute import Kind, check_fields, default_statute_json, identity_of, parse_statute

STATUTE = parse_statute(default_statute_json())
FIRST_DAY, LAST_DAY = "2026-09-01", "2026-11-20"

# list: kind, roster of the same agency, rows, columns as KINDS has them
LISTS = {
    "results.csv": ("subject_result", "roster.csv", 120),
    "attendance.csv": ("attendance_summary", "roster.csv", 24),
    "awards.csv": ("contest_award", "roster.csv", 12),
    "sport.csv": ("sport_award", "roster.csv", 10),
    "gto.csv": ("gto_badge", "roster.csv", 8),
    "courses.csv": ("supplementary_course", "roster.csv", 10),
    "sport-federation.csv": ("sport_award", "roster-sport.csv", 10),
    "gto-federation.csv": ("gto_badge", "roster-sport.csv", 6),
    "courses-centre.csv": ("supplementary_course", "roster-centre.csv", 10),
}
COLUMNS = {
    "subject_result": "local_id;school_year;term;subject_code;scale;value;result_type",
    "attendance_summary": "local_id;school_year;term;days_possible;present;excused;unexcused",
    "contest_award": "local_id;event_code;level;subject_code;status;date;document_no",
    "sport_award": "local_id;sport_code;level;place;date",
    "gto_badge": "local_id;stage;badge;date;order_no",
    "supplementary_course": "local_id;provider;programme_code;hours;completed_on",
    "roster": "local_id;name;stage;class_level;entry_type;date;profile",
}
ROSTERS = {"roster.csv": 24, "roster-sport.csv": 10, "roster-centre.csv": 10}


def read(name: str) -> tuple[str, list[dict[str, str]]]:
    """The header line and the rows of a sample."""
    text = resources.files("cli").joinpath("samples", name).read_text(encoding="utf-8")
    return text.splitlines()[0], list(csv.DictReader(text.splitlines(), delimiter=";", strict=True))


def fields_of(kind: Kind, row: dict[str, str]) -> dict[str, Any]:
    """The fields that an importer in the unit ``school-7`` makes of a row."""
    cells = {name: cell for name, cell in row.items() if name not in ("local_id", "name") and cell != ""}
    fields: dict[str, Any] = {**cells, **{name: int(cells[name]) for name in kind.integers if name in cells}}
    return {**({"org_id": "school-7"} if "org_id" in kind.fields else {}), **fields}


@pytest.mark.parametrize("name", LISTS)
def test_every_row_of_a_sample_list_is_valid(name: str) -> None:
    """A first import of the shipped lists has no refused row."""
    kind, _, count = LISTS[name]
    header, rows = read(name)
    assert header == COLUMNS[kind] and len(rows) == count
    for row in rows:
        assert check_fields(STATUTE.kinds[kind], fields_of(STATUTE.kinds[kind], row)) == [], row


@pytest.mark.parametrize("name", ROSTERS)
def test_every_pupil_of_a_sample_roster_can_be_enrolled(name: str) -> None:
    """Each row makes a valid enrolment; no pupil is there twice; names are two Russian words."""
    header, rows = read(name)
    assert header == COLUMNS["roster"] and len(rows) == ROSTERS[name]
    assert len({row["local_id"] for row in rows}) == len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert check_fields(STATUTE.kinds["enrolment"], fields_of(STATUTE.kinds["enrolment"], row)) == [], row
        assert row["date"] == FIRST_DAY and row["profile"] != "declined"
        assert re.fullmatch("[А-ЯЁ][а-яё]+(-[А-ЯЁ][а-яё]+)? [А-ЯЁ][а-яё]+", row["name"])


@pytest.mark.parametrize("name", LISTS)
def test_a_sample_list_speaks_of_its_roster_between_enrolment_and_today(name: str) -> None:
    """Dates of what happened lie after the enrolment and before the demo's day."""
    kind, roster, _ = LISTS[name]
    pupils = {row["local_id"] for row in read(roster)[1]}
    for row in read(name)[1]:
        assert row["local_id"] in pupils
        for field in STATUTE.kinds[kind].past_dates:
            assert FIRST_DAY <= row[field] <= LAST_DAY


@pytest.mark.parametrize("name", LISTS)
def test_no_sample_list_says_one_fact_twice(name: str) -> None:
    """No two rows of one pupil share an identity: a first import has no conflict."""
    kind = STATUTE.kinds[LISTS[name][0]]
    facts = [(row["local_id"], identity_of(kind, fields_of(kind, row))) for row in read(name)[1]]
    assert len(set(facts)) == len(facts)


def test_some_children_stand_in_several_rosters_under_other_local_ids() -> None:
    """The demo's three agencies share children and no identifier."""
    rosters = [read(name)[1] for name in ROSTERS]
    names = [{row["name"] for row in rows} for rows in rosters]
    ids = [{row["local_id"] for row in rows} for rows in rosters]
    assert names[0] & names[1] & names[2] and names[1] - names[0] and names[2] - names[0]
    assert not (ids[0] & ids[1]) and not (ids[0] & ids[2]) and not (ids[1] & ids[2])
