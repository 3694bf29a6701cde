"""``pledger correct``, ``withdraw``, ``misfiled`` and ``corrections``: a mistake mended in one command.

RECORD is a hash or its first digits, as other commands print it. Its content comes from the outbox; one
signed elsewhere is named by its whole hash and read from the node, which the family will see. Old and new
are shown side by side and asked about once (``--yes`` answers). Where the node can be reached it is asked
before anything is signed, so that what it would refuse is told and nothing is left over; without a network
everything is signed and waits, if the old content is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.cells import clean
from cli.command import command, home_option
from cli.correction_list import ListRow, list_columns, mend_rows
from cli.desk import Desk, open_desk
from cli.enrolments import known_pupil
from cli.failures import ListRefused, Usage
from cli.headers import columns_named
from cli.language import say
from cli.mending import DEFAULT_REASON, REASONS, Mend
from cli.mending_steps import carry_out, open_tools
from cli.passphrase import passphrase_option
from cli.table import ordered, read_table
from cli.told import show_told

yes_option = click.option("--yes", is_flag=True, help="Do not ask; sign what is shown.")
offline_option = click.option(
    "--offline", is_flag=True, help="Sign and keep without asking the node; pledger outbox send sends."
)
reason_option = click.option(
    "--reason", type=click.Choice(REASONS), default=DEFAULT_REASON, show_default=True, help="Why."
)


@command("correct", "pledger correct 3fa85f64 value=4", "pledger correct 3fa85f64 value=4 --yes --json")
@click.argument("name", metavar="RECORD")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@reason_option
@yes_option
@offline_option
@home_option
@passphrase_option
def correct_command(
    name: str,
    assignments: tuple[str, ...],
    reason: str,
    yes: bool,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Correct fields of a record; the old one stays to be seen.

    A field given without a value (place=) is left out.
    """
    cells = _cells(assignments)
    with open_desk(home, passphrase_file) as desk:
        mender, find = open_tools(desk, offline=offline)
        mend = mender.correct(find(name.lower()), cells, reason, _label(name))
        answer = carry_out(desk, [mend], yes=yes, offline=offline)
    show_told(answer, mended=[_value(mend)])


@command("withdraw", "pledger withdraw 3fa85f64 --reason decision_changed")
@click.argument("name", metavar="RECORD")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why.")
@yes_option
@offline_option
@home_option
@passphrase_option
def withdraw_command(
    name: str, reason: str, yes: bool, offline: bool, home: Path, passphrase_file: Path | None
) -> None:
    """Take a record back. For one that stands with the wrong pupil, use pledger misfiled."""
    with open_desk(home, passphrase_file) as desk:
        mender, find = open_tools(desk, offline=offline)
        mend = mender.withdraw(find(name.lower()), reason, _label(name))
        answer = carry_out(desk, [mend], yes=yes, offline=offline)
    show_told(answer, mended=[_value(mend)])


@command("misfiled", "pledger misfiled 3fa85f64 --right-pupil 7a-02")
@click.argument("name", metavar="RECORD")
@click.option("--right-pupil", "local_id", metavar="LOCAL_ID", required=True, help="Whose record it is.")
@yes_option
@offline_option
@home_option
@passphrase_option
def misfiled_command(
    name: str, local_id: str, yes: bool, offline: bool, home: Path, passphrase_file: Path | None
) -> None:
    """Move a record that stands with the wrong pupil.

    It is withdrawn there, its content is erased at the node at once and then here, and entered for the right
    pupil.
    """
    with open_desk(home, passphrase_file) as desk:
        right = known_pupil(desk, local_id)
        mender, find = open_tools(desk, offline=offline)
        mend = mender.refile(find(name.lower()), right.pid, _label(name))
        answer = carry_out(desk, [mend], yes=yes, offline=offline)
    show_told(answer, mended=[_value(mend)])


@command("corrections", "pledger corrections mistakes.csv", "pledger corrections mistakes.csv --yes")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@yes_option
@offline_option
@home_option
@passphrase_option
def corrections_command(
    file: Path, yes: bool, offline: bool, home: Path, passphrase_file: Path | None
) -> None:
    """Mend a list of mistakes.

    A CSV file with the columns action (correct, withdraw, misfiled); record, or local_id, kind and the kind's
    identity fields; field and value; reason; right_pupil. All or nothing; the same list twice does nothing
    more.
    """
    with open_desk(home, passphrase_file) as desk:
        rows = _read_list(file, desk)
        mender, find = open_tools(desk, offline=offline)
        mends = mend_rows(file.name, rows, desk, mender, find)
        answer = carry_out(desk, mends, yes=yes, offline=offline)
    show_told(answer, file=str(file), mended=[_value(one) for one in mends])


def _label(name: str) -> str:
    return say("mend.label", record=name[:16])


def _value(mend: Mend) -> dict[str, Any]:
    return {
        "action": mend.action,
        "from": mend.label,
        "old": {"record": mend.old.hash.hex(), "kind": mend.old.kind, "fields": mend.old.fields},
        "new": [{"record": one.hash.hex(), "fields": one.fields} for one in mend.new],
    }


def _read_list(file: Path, desk: Desk) -> list[ListRow]:
    table = read_table(file, columns_named(*list_columns(desk.statute)))
    faults = [table.cell_problem(row, key, text) for row in table.rows for key, text in row.faults.items()]
    if problems := [*table.problems, *faults]:
        raise ListRefused(ordered(problems))
    return [ListRow(number=row.number, cells=row.cells) for row in table.rows]


def _cells(assignments: Sequence[str]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for one in assignments:
        name, mark, value = one.partition("=")
        if not mark or not name:
            raise Usage(say("records.assignment", word=repr(one)))
        if name in cells:
            raise Usage(say("records.field_twice", name=name))
        cells[name] = clean(value)
    return cells


COMMANDS = [correct_command, withdraw_command, misfiled_command, corrections_command]
