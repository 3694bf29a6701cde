"""``pledger class move``: the next school year, a further enrolment for each pupil under one signature.

Who moves is a list (``ROSTER``), or everybody of a class. Who left, and the second pseudonym of a child
enrolled twice, stay behind.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.desk import Desk, open_desk
from cli.drafts import Draft, Origin, draft_row
from cli.enrolments import record_changes, typed_draft
from cli.failures import CellProblem, ListRefused, Usage
from cli.headers import SUBJECT_COLUMN, columns_named
from cli.language import say
from cli.parameters import ISO_DATE
from cli.passphrase import passphrase_option
from cli.profile import plain_template
from cli.pupil import LEVEL, Pupil
from cli.records import offline_option
from cli.table import Row, Table, read_table
from cli.told import show_told, tell

STAGES = (*["preschool"], *["primary"] * 4, *["basic"] * 5, *["secondary"] * 3)
"""Stage by class level, 0 to 12, as the Federal law on education has them; vocational stays what it is."""
_VOCATIONAL = "vocational"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The records to make, and the lines of the register that follow."""

    drafts: tuple[Draft, ...]
    pupils: tuple[Pupil, ...]


@command(
    "move",
    "pledger class move --from-class 7 --to-class 8 --date 2027-09-01",
    "pledger class move next-year.csv --date 2027-09-01",
)
@click.argument("roster", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--from-class",
    metavar="CLASS",
    help="Everybody of this class; a number alone, such as 7, means all of a year.",
)
@click.option(
    "--to-class", metavar="CLASS", help="What the class is called then, or its number alone, such as 8."
)
@click.option("--date", "day", type=ISO_DATE, help="First day in the new class.")
@offline_option
@home_option
@passphrase_option
def move_command(
    roster: Path | None,
    from_class: str | None,
    to_class: str | None,
    day: datetime.date | None,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Enrol pupils for the next year: those of a list, or a whole class.

    ROSTER has the columns local_id and class_level, and if wanted class, date, stage, profile, name and
    entry_type; what it leaves out stays as it was.
    """
    if (roster is None) == (from_class is None) or (from_class is None) != (to_class is None):
        raise Usage(say("move.either"))
    date = day.isoformat() if day else ""
    with open_desk(home, passphrase_file) as desk:
        if roster is not None:
            move = _move_list(desk, roster, date)
        else:
            move = _move_class(desk, str(from_class), str(to_class), date)
        entries, delivery = record_changes(desk, move.drafts, move.pupils, offline=offline)
    answer = tell(entries, delivery, move.drafts)
    lines = [] if answer.exit_code == output.REFUSED else [say("move.moved", count=len(move.pupils))]
    moved = len(move.pupils) if lines else 0
    show_told(replace(answer, parts=(*lines, *answer.parts)), moved=moved)


def _move_class(desk: Desk, from_class: str, to_class: str, date: str) -> Move:
    if not (level := LEVEL.match(to_class)):
        raise Usage(say("move.level", name=repr(to_class)))
    if not date:
        raise Usage(say("move.date"))
    leaving = [one for one in desk.register.pupils.values() if one.is_here and one.is_of(from_class)]
    if not leaving:
        classes = ", ".join(sorted({one.class_name for one in desk.register.pupils.values() if one.is_here}))
        raise Usage(say("move.nobody", name=from_class, classes=classes or "—"))
    drafts, pupils = list[Draft](), list[Pupil]()
    for pupil in leaving:
        name = _moved_name(pupil, level[0]) if level[0] == to_class else to_class
        cells = _cells(pupil, {"class_level": level[0]}, date)
        drafts.append(typed_draft(desk, "enrolment", pupil, cells, "class move"))
        pupils.append(_moved(pupil, drafts[-1], name, pupil.name))
    return Move(drafts=tuple(drafts), pupils=tuple(pupils))


def _move_list(desk: Desk, path: Path, date: str) -> Move:
    optional = ["class", "date", "stage", "profile", "name", "entry_type"]
    table = read_table(path, columns_named([SUBJECT_COLUMN, "class_level"], optional, kind="enrolment"))
    for remark in table.source.remarks:
        output.remark(remark)
    moved: dict[str, tuple[Draft, Pupil]] = {}
    problems = list(table.problems)
    for row in table.rows:
        local_id = row.cells.get(SUBJECT_COLUMN, "")
        found = _move_row(desk, table, row, date, is_second=local_id in moved)
        if isinstance(found, list):
            problems += found
        else:
            moved[local_id] = found
    if problems:
        raise ListRefused(list(dict.fromkeys(problems)))
    return Move(
        drafts=tuple(one for one, _ in moved.values()), pupils=tuple(one for _, one in moved.values())
    )


def _move_row(
    desk: Desk, table: Table, row: Row, date: str, *, is_second: bool
) -> tuple[Draft, Pupil] | list[CellProblem]:
    local_id = row.cells.get(SUBJECT_COLUMN, "")
    pupil = desk.register.pupils.get(local_id)
    if is_second:
        return [table.cell_problem(row, SUBJECT_COLUMN, say("class.twice"))]
    if pupil is not None and pupil.left:
        text = say("move.left", left=pupil.left)
        return [table.cell_problem(row, SUBJECT_COLUMN, text)]
    filled = replace(row, cells=_cells(pupil, row.cells, date) if pupil else row.cells)
    template = plain_template(desk.statute.kinds["enrolment"])
    origin = Origin(file=table.file, columns=table.headers)
    draft = draft_row(filled, local_id, template, desk.writer(), origin)
    if not isinstance(draft, Draft):
        return draft
    assert pupil is not None
    name = row.cells.get("class") or _moved_name(pupil, str(draft.fields["class_level"]))
    return draft, _moved(pupil, draft, name, row.cells.get("name", pupil.name))


def _cells(pupil: Pupil, given: Mapping[str, str], date: str) -> dict[str, str]:
    """What an enrolment says: what is given, then what the register knows of the pupil."""
    level = given.get("class_level", "")
    stage = _VOCATIONAL if pupil.stage == _VOCATIONAL else _stage_of(level)
    known = {"stage": stage, "entry_type": "next_year", "date": date, "profile": pupil.profile}
    return {name: text for name, text in {**known, **given}.items() if text}


def _stage_of(level: str) -> str:
    return STAGES[int(level)] if level.isdecimal() and int(level) < len(STAGES) else ""


def _moved(pupil: Pupil, draft: Draft, class_name: str, name: str) -> Pupil:
    return replace(
        pupil,
        name=name,
        class_name=class_name,
        stage=draft.fields["stage"],
        level=str(draft.fields["class_level"]),
        profile=draft.fields["profile"],
    )


def _moved_name(pupil: Pupil, level: str) -> str:
    """The class under its number of the next year: ``7а`` becomes ``8а``."""
    return LEVEL.sub(level, pupil.class_name, count=1) if LEVEL.match(pupil.class_name) else level
