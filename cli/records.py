"""``pledger append``: one record typed by hand; and how anything typed or listed is signed and sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from cli.cells import clean
from cli.command import command, home_option
from cli.completion import complete_kinds
from cli.desk import Desk, open_desk
from cli.drafts import Draft, Origin, draft_row
from cli.failures import ListRefused, Usage
from cli.headers import SUBJECT_COLUMN
from cli.import_records import kind_named
from cli.language import say
from cli.outbox import Stored
from cli.passphrase import passphrase_option
from cli.profile import Taken, Template
from cli.sending import Delivery
from cli.table import Row
from cli.told import remark_others, show_told, tell
from ledger.record import Record

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
    cells = take_assignments(assignments)
    with open_desk(home, passphrase_file) as desk:
        kind = kind_named(desk.statute, kind_name)
        template = Template(kind=kind, columns={name: Taken(column=name) for name in cells})
        row = Row(number=0, cells={name: text for name, text in cells.items() if text})
        draft = draft_row(row, clean(pupil), template, desk.writer(), Origin(file=say("records.typed")))
        if not isinstance(draft, Draft):
            raise ListRefused(draft)
        entries, delivery = record_drafts(desk, [draft], offline=offline)
    show_told(tell(entries, delivery, [draft]), kind=kind.name)


def record_drafts(
    desk: Desk, drafts: Sequence[Draft], records: Sequence[Record] | None = None, *, offline: bool
) -> tuple[list[Stored], Delivery | None]:
    """Sign, keep, and send unless told not to; ``records`` are the drafts' if they were made before."""
    entries = desk.sign(drafts, records)
    desk.keep(entries)
    if offline or not entries:
        return entries, None
    delivery = desk.send()
    remark_others(delivery, entries)
    return entries, delivery


def take_assignments(assignments: Sequence[str]) -> dict[str, str]:
    """Return the texts of ``FIELD=VALUE`` by field; raise `Usage` for anything else."""
    cells: dict[str, str] = {}
    for one in assignments:
        name, mark, value = one.partition("=")
        if not mark or not name or name == SUBJECT_COLUMN:
            raise Usage(say("records.assignment", word=repr(one)))
        if name in cells:
            raise Usage(say("records.field_twice", name=name))
        cells[name] = clean(value)
    return cells


COMMANDS = [append_command]
