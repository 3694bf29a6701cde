"""``pledger class``: enrol pupils with notice, and list who stands in the class register."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.aliases import alias_command, profile_command, transfer_command
from cli.command import command, group, home_option
from cli.desk import Desk, open_desk
from cli.drafts import Draft, Origin, draft_row
from cli.failures import CellProblem, ListRefused, Usage
from cli.found import find_command, pupil_table, pupil_values, reader_line, reader_values
from cli.handing import export_command, take_command
from cli.headers import SUBJECT_COLUMN, UNIT_FIELD, columns_named
from cli.language import say
from cli.moves import move_command
from cli.outbox import Stored
from cli.parameters import HEX32, ISO_DATE
from cli.passphrase import passphrase_option
from cli.profile import Template, plain_template
from cli.pupil import DECLINED, Pupil
from cli.readers import READER_COMMANDS, check_holders, with_recovery
from cli.table import Row, read_table
from cli.table import Table as ListTable
from cli.told import remark_others, show_told, tell
from ledger.errors import Malformed
from ledger.record import SUBJECT_BYTES
from ledger.statute import Kind
from node.durable_file import read_file

NOTICE_BYTES_MAX = 16 * 1024 * 1024
"""A scanned notice of some pages."""
NAME_COLUMN, CLASS_COLUMN, PROFILE_COLUMN, LEVEL_COLUMN = "name", "class", "profile", "class_level"
DEFAULT_PROFILE = "school_only"
"""What holds until a family chooses: nobody outside the child's unit reads."""
RETURNS = ("re_entry", "transfer")
"""Types of enrolment of a pupil who may have been here before."""


@command(
    "enrol",
    "pledger class enrol roster.csv --notice-file notice.pdf --shown-on 2026-09-01",
)
@click.argument("roster", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--notice-hash", type=HEX32, help="SHA-256 of the notice that the families were shown.")
@click.option("--notice-file", type=click.Path(path_type=Path, dir_okay=False), help="The notice itself.")
@click.option("--shown-on", type=ISO_DATE, required=True, help="The day on which families were shown it.")
@click.option("--notice-lang", default="ru", show_default=True, help="Language of the notice.")
@click.option(
    "--recipient",
    "recipients",
    type=HEX32,
    multiple=True,
    help="Staff or recovery key that may open the class register too; may be repeated.",
)
@click.option(
    "--recovery",
    "holders",
    type=HEX32,
    multiple=True,
    help="Key of a recovery holder, who opens the register if your key is lost; give it twice.",
)
@click.option("--again", is_flag=True, help="Sign for pupils of the register too (an outbox was lost).")
@click.option("--offline", is_flag=True, help="Sign and keep; send later with pledger outbox send.")
@home_option
@passphrase_option
def enrol_command(
    roster: Path,
    notice_hash: bytes | None,
    notice_file: Path | None,
    shown_on: datetime.date,
    notice_lang: str,
    recipients: tuple[bytes, ...],
    holders: tuple[bytes, ...],
    again: bool,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Enrol the pupils of a list, each with the notice that the family was shown.

    ROSTER has the columns local_id, name, stage, class_level, entry_type, date and, if wanted, class and
    profile. Names go into the encrypted class register and nowhere else. A pupil who is in the register
    already is left alone, unless the list says re_entry or transfer of one who had left.
    """
    notice = {"text_hash": _notice_hash(notice_hash, notice_file).hex(), "lang": notice_lang}
    notice |= {"shown_on": shown_on.isoformat(), "channel": "paper"}
    with open_desk(home, passphrase_file) as desk:
        check_holders(holders, desk.signer.public_key)
        table = _read_roster(roster, desk.statute.kinds["enrolment"])
        rows = [row for row in table.rows if again or _is_new(row, desk)]
        desk, entries, drafts = _enrol(desk, table, rows, notice, recipients)
        if holders:
            desk = replace(desk, register=desk.save_register(with_recovery(desk.register, holders)))
        delivery = None if offline or not entries else desk.send()
    if delivery:
        remark_others(delivery, entries)
    answer = tell(entries, delivery, drafts)
    left = len(table.rows) - len(rows)
    lines = [say("class.enrolled", count=len(rows))]
    declined = [one.local_id for one in drafts if one.fields.get("profile") == DECLINED]
    lines += [say("class.declined", names=", ".join(declined))] if declined else []
    lines += [say("class.left_alone", count=left)] if left else []
    show_told(
        replace(answer, parts=(*lines, *answer.parts)),
        enrolled=len(rows),
        left_alone=left,
        declined=declined,
    )


@command("list", "pledger class list", "pledger class list --json")
@home_option
@passphrase_option
def list_command(home: Path, passphrase_file: Path | None) -> None:
    """Show the class register: local ids, names, classes."""
    with open_desk(home, passphrase_file) as desk:
        register = desk.register
    pupils = list(register.pupils.values())
    output.show(
        {"version": register.version, **reader_values(register), "pupils": pupil_values(pupils)},
        *((pupil_table(pupils), reader_line(register)) if pupils else (say("class.nobody"),)),
    )


def _is_new(row: Row, desk: Desk) -> bool:
    """Whether a row enrols somebody: not in the register, or back after having left."""
    known = desk.register.pupils.get(row.cells.get(SUBJECT_COLUMN, ""))
    return known is None or bool(known.left and row.cells.get("entry_type") in RETURNS)


def _notice_hash(notice_hash: bytes | None, notice_file: Path | None) -> bytes:
    if (notice_hash is None) == (notice_file is None):
        raise Usage(say("class.notice"))
    if notice_file is not None:
        return hashlib.sha256(read_file(notice_file, bytes_max=NOTICE_BYTES_MAX)).digest()
    assert notice_hash is not None
    return notice_hash


def _read_roster(path: Path, kind: Kind) -> ListTable:
    given = [name for name in kind.fields if name not in (UNIT_FIELD, PROFILE_COLUMN)]
    optional = [CLASS_COLUMN, PROFILE_COLUMN, UNIT_FIELD]
    columns = columns_named([SUBJECT_COLUMN, NAME_COLUMN, *given], optional, kind=kind.name)
    table = read_table(path, columns)
    for remark in table.source.remarks:
        output.remark(remark)
    return table


def _enrol(
    desk: Desk, table: ListTable, rows: Sequence[Row], notice: dict[str, str], recipients: Sequence[bytes]
) -> tuple[Desk, list[Stored], list[Draft]]:
    """Sign and keep notice and enrolment of new pupils, then write them into the register."""
    pupils, problems = _pupils(rows, table, desk)
    writer = replace(desk.writer(), pids={one.local_id: one.pid for one in pupils})
    kinds = desk.statute.kinds
    templates = (
        Template(kind=kinds["notice"], columns={}, constants=notice),
        plain_template(kinds["enrolment"]),
    )
    origin = Origin(file=table.file, columns=table.headers)
    drafts: list[Draft] = []
    for row in rows:
        row = replace(row, cells={PROFILE_COLUMN: DEFAULT_PROFILE, **row.cells})
        for template in templates:
            draft = draft_row(row, row.cells.get(SUBJECT_COLUMN, ""), template, writer, origin)
            if isinstance(draft, Draft):
                drafts.append(replace(draft, label=f"{draft.label} {draft.kind}"))
            else:
                problems += draft
    if problems := [*table.problems, *problems]:
        raise ListRefused(list(dict.fromkeys(problems)))
    entries = [_with_pupils(stored, pupils) for stored in desk.sign(drafts)]
    desk.keep(entries)
    register = desk.register.knowing(pupils).readable_by(recipients)
    if register != desk.register:
        desk = replace(desk, register=desk.save_register(register))
    return desk, entries, drafts


def _pupils(rows: Sequence[Row], table: ListTable, desk: Desk) -> tuple[list[Pupil], list[CellProblem]]:
    """The pupils, new ones with fresh pseudonyms, and what is wrong with their ids and names."""
    pupils: dict[str, Pupil] = {}
    problems: list[CellProblem] = []
    for row in rows:
        local_id, name = row.cells.get(SUBJECT_COLUMN, ""), row.cells.get(NAME_COLUMN, "")
        class_name = row.cells.get(CLASS_COLUMN) or row.cells.get(LEVEL_COLUMN, "-")
        problems += (
            table.cell_problem(row, key, row.faults[key])
            for key in (SUBJECT_COLUMN, NAME_COLUMN, CLASS_COLUMN)
            if key in row.faults
        )
        if local_id in pupils:
            problems.append(table.cell_problem(row, SUBJECT_COLUMN, say("class.twice")))
            continue
        try:
            pupils[local_id] = _pupil(row, local_id, name, class_name, desk)
        except Malformed as error:
            problems.append(table.cell_problem(row, NAME_COLUMN, str(error)))
    return list(pupils.values()), problems


def _pupil(row: Row, local_id: str, name: str, class_name: str, desk: Desk) -> Pupil:
    """A line of the register; one who is known keeps the pseudonym."""
    known = desk.register.pupils.get(local_id)
    return Pupil(
        local_id=local_id,
        pid=known.pid if known else os.urandom(SUBJECT_BYTES),
        name=name,
        class_name=class_name,
        stage=row.cells.get("stage", ""),
        level=row.cells.get(LEVEL_COLUMN, ""),
        profile=row.cells.get(PROFILE_COLUMN, DEFAULT_PROFILE),
        left=known.left if known and row.cells.get("entry_type") not in RETURNS else "",
        alias_of=known.alias_of if known else "",
    )


def _with_pupils(stored: Stored, pupils: Sequence[Pupil]) -> Stored:
    subjects = {record.subject for record in stored.records}
    return replace(stored, pupils=tuple(one for one in pupils if one.pid in subjects))


COMMANDS = [
    group(
        "class",
        "The class register: enrol pupils, move them on, share it, hand it over.",
        enrol_command,
        list_command,
        find_command,
        move_command,
        transfer_command,
        alias_command,
        profile_command,
        *READER_COMMANDS,
        export_command,
        take_command,
    )
]
