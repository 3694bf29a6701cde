"""``pledger append`` and ``pledger import``: records signed and sent, one by hand or a whole list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.completion import complete_kinds, complete_lists
from cli.desk import Desk, open_desk
from cli.failures import ListRefused, Usage
from cli.import_records import (
    SUBJECT_COLUMN,
    Draft,
    Drafts,
    draft_row,
    draft_table,
    kind_named,
    list_columns,
)
from cli.language import say
from cli.outbox import Stored
from cli.passphrase import passphrase_option
from cli.sending import Delivery
from cli.table import Row, clean, read_table
from cli.told import remark_others, show_told, tell
from ledger.entry import RECORDS_MAX
from ledger.statute import Kind

offline_option = click.option(
    "--offline", is_flag=True, help="Sign and keep without asking the node; pledger outbox send sends."
)


@command(
    "append",
    "pledger append subject_result --pupil 7a-01 school_year=2026/2027 term=q1 subject_code=ALG scale=ru5 "
    "value=5 result_type=term",
)
@click.argument("kind_name", metavar="KIND", shell_complete=complete_kinds)
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.option("--pupil", metavar="LOCAL_ID", required=True, help="Whom it is about, as the register says.")
@offline_option
@home_option
@passphrase_option
def append_command(
    kind_name: str,
    assignments: tuple[str, ...],
    pupil: str,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Record one fact about one pupil.

    KIND is a kind of the statutory list, the fields are those that it has; org_id is filled in.
    """
    cells = {SUBJECT_COLUMN: clean(pupil), **_cells(assignments)}
    with open_desk(home, passphrase_file) as desk:
        kind = kind_named(desk.statute, kind_name)
        draft = draft_row(Row(number=0, cells=cells), kind, desk.writer(), file=say("records.typed"))
        if not isinstance(draft, Draft):
            raise ListRefused(draft)
        entries, delivery = _record(desk, [draft], offline=offline)
    show_told(tell(entries, delivery, [draft]), kind=kind.name)


@command(
    "import",
    "pledger import results.csv --kind results --dry-run",
    "pledger import results.csv --kind results",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--kind",
    "kind_name",
    required=True,
    metavar="KIND",
    shell_complete=complete_lists,
    help="A kind, or results, attendance, awards, sport, gto, courses.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be signed; sign and send nothing.")
@offline_option
@home_option
@passphrase_option
def import_command(
    file: Path, kind_name: str, dry_run: bool, offline: bool, home: Path, passphrase_file: Path | None
) -> None:
    """Record a list: a CSV file (UTF-8; semicolon, comma or tab) with the columns of its kind.

    All or nothing: every error is told with row and column, and nothing is written while there is one. What
    is recorded already is left alone, so a list may be imported twice.
    """
    with open_desk(home, passphrase_file) as desk:
        kind = kind_named(desk.statute, kind_name)
        drafts = _read_list(file, kind, desk)
        if dry_run:
            _show_plan(file, kind, drafts)
            return
        entries, delivery = _record(desk, drafts.records, offline=offline)
    answer = tell(entries, delivery, drafts.records)
    lines = [say("records.of_kind", file=file.name, count=len(drafts.records), kind=kind.name)]
    show_told(
        replace(answer, parts=(*lines, *_repeat_lines(drafts), *answer.parts)),
        file=str(file),
        kind=kind.name,
        records=len(drafts.records),
        repeated_rows=[list(pair) for pair in drafts.repeated],
    )


def _read_list(file: Path, kind: Kind, desk: Desk) -> Drafts:
    required, optional = list_columns(kind)
    drafts = draft_table(read_table(file, required=required, optional=optional), kind, desk.writer())
    if drafts.problems:
        raise ListRefused(drafts.problems)
    return drafts


def _record(desk: Desk, drafts: Sequence[Draft], *, offline: bool) -> tuple[list[Stored], Delivery | None]:
    """Sign, keep, and send unless told not to."""
    entries = desk.sign(drafts)
    desk.keep(entries)
    if offline or not entries:
        return entries, None
    delivery = desk.send()
    remark_others(delivery, entries)
    return entries, delivery


def _show_plan(file: Path, kind: Kind, drafts: Drafts) -> None:
    count = len(drafts.records)
    entries = -(-count // RECORDS_MAX)
    output.show(
        {
            "dry_run": True,
            "file": str(file),
            "kind": kind.name,
            "records": count,
            "entries": entries,
            "repeated_rows": [list(pair) for pair in drafts.repeated],
        },
        say("records.planned", file=file.name, count=count, kind=kind.name, entries=entries),
        *_repeat_lines(drafts),
    )


def _repeat_lines(drafts: Drafts) -> list[str]:
    return [say("records.repeats", row=row, first=first) for row, first in drafts.repeated]


def _cells(assignments: Sequence[str]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for one in assignments:
        name, mark, value = one.partition("=")
        if not mark or not name or name == SUBJECT_COLUMN:
            raise Usage(say("records.assignment", word=repr(one)))
        if name in cells:
            raise Usage(say("records.field_twice", name=name))
        cells[name] = clean(value)
    return {name: value for name, value in cells.items() if value}


COMMANDS = [append_command, import_command]
