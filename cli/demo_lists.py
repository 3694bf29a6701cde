"""The lists of the demonstration: the sample lists that the package ships, cut or repeated to size.

Every pupil in them is invented. A further group of pupils is the same list under other local ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

RECORDS_PER_PUPIL = 2
"""A notice and an enrolment, made by ``class enrol``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """One agency of the demonstration: its unit, its class list and its lists by kind."""

    agency: str
    title: str
    unit: str
    roster: str
    lists: Mapping[str, str]
    """Kind to the sample list's file name."""
    single: tuple[str, tuple[str, ...]]
    """A record appended by hand: kind and fields."""


SCHOOLS = (
    School(
        agency="district",
        title="school district",
        unit="school-7",
        roster="roster.csv",
        lists={
            "subject_result": "results.csv",
            "attendance_summary": "attendance.csv",
            "contest_award": "awards.csv",
        },
        single=(
            "contest_award",
            ("event_code=olymp-math-demo", "level=school", "status=winner", "date=2026-11-12"),
        ),
    ),
    School(
        agency="sport",
        title="sports federation",
        unit="sport-club-3",
        roster="roster-sport.csv",
        lists={"sport_award": "sport-federation.csv", "gto_badge": "gto-federation.csv"},
        single=("sport_award", ("sport_code=swimming", "level=municipal", "place=1", "date=2026-11-13")),
    ),
    School(
        agency="centre",
        title="supplementary-education centre",
        unit="centre-2",
        roster="roster-centre.csv",
        lists={"supplementary_course": "courses-centre.csv"},
        single=(
            "supplementary_course",
            ("provider=centre-2", "programme_code=robotics-demo", "hours=36", "completed_on=2026-11-14"),
        ),
    ),
)


def sample(name: str) -> list[list[str]]:
    """Return the rows of a sample list, its headers first (no cell of them needs quotes)."""
    text = resources.files("cli").joinpath("samples", name).read_text(encoding="utf-8")
    return [line.split(";") for line in text.splitlines() if line]


def plan(records: int) -> list[float]:
    """Return the groups of pupils that give about ``records`` records: parts of the sample lists, 0 to 1."""
    whole = sum(_records_of(school) for school in SCHOOLS)
    groups = [1.0] * (records // whole)
    rest = (records - whole * len(groups)) / whole
    return [*groups, rest] if rest > 0 or not groups else groups


def cut(school: School, groups: list[float]) -> dict[str, list[list[str]]]:
    """Return file name to rows, for the class list and each list of a school."""
    files: dict[str, list[list[str]]] = {}
    for name in (school.roster, *school.lists.values()):
        headers, *rows = sample(name)
        files[name] = [headers]
        for number, part in enumerate(groups):
            kept = _pupils(school, part)
            files[name] += [[_local_id(row[0], number), *row[1:]] for row in rows if row[0] in kept]
    return files


def first_pupil(school: School) -> str:
    """Return the local id of the pupil that the single record is about."""
    return sample(school.roster)[1][0]


def _records_of(school: School) -> int:
    """Records that a school's sample lists give: two a pupil, one a row, one by hand."""
    pupils = len(sample(school.roster)) - 1
    return RECORDS_PER_PUPIL * pupils + sum(len(sample(name)) - 1 for name in school.lists.values()) + 1


def _pupils(school: School, part: float) -> set[str]:
    rows = sample(school.roster)[1:]
    return {row[0] for row in rows[: max(1, round(part * len(rows)))]}


def _local_id(local_id: str, group: int) -> str:
    return local_id if group == 0 else f"g{group + 1}-{local_id}"
