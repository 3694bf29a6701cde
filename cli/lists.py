"""``pledger import``: a whole list signed and sent, or all that is wrong with it; and a first profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, home_option
from cli.completion import complete_lists
from cli.desk import Desk, open_desk
from cli.encoding import ENCODINGS
from cli.failures import PROBLEMATIC, CellProblem, ListRefused, RowsLeftOut, Undone, Usage
from cli.foreseen import Foreseen, foresee
from cli.hand_back import refused_path, write_errors, write_refused
from cli.headers import REASON_COLUMN, Columns, fold
from cli.import_records import LISTS, Drafts, draft_table, kind_named
from cli.language import say
from cli.passphrase import passphrase_option
from cli.profile import Profile, plain_columns, plain_template
from cli.profile_form import PROFILE_BYTES_MAX, constant_faults, parse_profile
from cli.records import offline_option, record_drafts, take_assignments
from cli.source import read_source
from cli.suggest import suggest_profile
from cli.table import Table, read_table
from cli.told import show_told, tell
from cli.workspace import open_workspace
from ledger.entry import RECORDS_MAX
from ledger.errors import LedgerError
from ledger.statute import Statute, default_statute_json, parse_statute
from node.durable_file import create_file, read_file
from node.protocol import ProblemAnswer, Unreachable

PROFILE_SUFFIX = ".toml"
REPEATS_SHOWN = 10
"""A list pasted twice would fill the screen with what is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed about one list."""

    file: Path
    kind_name: str | None
    profile: Path | None
    sheet: str
    encoding: str
    assignments: tuple[str, ...]
    dry_run: bool
    skip_bad: bool
    errors: Path | None
    offline: bool


@command(
    "import",
    "pledger import results.csv --kind results --dry-run",
    "pledger import results.xlsx --kind results --sheet 7а --errors errors.csv",
    "pledger import --suggest export.csv; pledger import export.csv --profile export.toml",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--kind",
    "kind_name",
    metavar="KIND",
    shell_complete=complete_lists,
    help=f"A kind, or {', '.join(LISTS)}; not needed where a profile names it.",
)
@click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), help="Which columns mean what.")
@click.option("--sheet", default="", metavar="NAME", help="The sheet of a workbook, if not the first.")
@click.option("--encoding", type=click.Choice(ENCODINGS), help="The encoding of CSV, if it is not found out.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="What every row says; may be repeated.",
)
@click.option("--suggest", is_flag=True, help="Write a first profile from the headers, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Say what would be signed; sign and send nothing.")
@click.option("--skip-bad", is_flag=True, help="Record the good rows; write the others to NAME.refused.csv.")
@click.option(
    "--errors", type=click.Path(path_type=Path, dir_okay=False), help="Write the errors to this CSV too."
)
@offline_option
@home_option
@passphrase_option
def import_command(
    suggest: bool, home: Path, passphrase_file: Path | None, encoding: str | None, **typed: Any
) -> None:
    """Record a list: CSV or XLSX with the columns of its kind, or those that a profile names.

    All or nothing, unless --skip-bad: every error is told with row and column, and nothing is written while
    there is one. What is recorded already is left alone, so a list may be imported twice.
    """
    asked = Asked(encoding=encoding or "", **typed)
    if suggest:
        _suggest(asked, home)
        return
    with open_desk(home, passphrase_file) as desk:
        _handing_back(asked.errors, lambda: _import(asked, desk))


def _handing_back(errors: Path | None, work: Callable[[], None]) -> None:
    """Do the work; what is wrong with the list is written to ``errors`` too, where a file is named."""
    try:
        work()
    except PROBLEMATIC as error:
        _hand_back(errors, error.problems)
        raise


def _hand_back(errors: Path | None, problems: Sequence[CellProblem]) -> None:
    if errors is not None and problems:
        write_errors(errors, problems)
        output.remark(f"{errors} has these errors as a list")


def _import(asked: Asked, desk: Desk) -> None:
    profile, columns = _plan(asked, desk.statute)
    table = read_table(asked.file, columns, encoding=asked.encoding, sheet=asked.sheet)
    for remark in table.source.remarks:
        output.remark(remark)
    _check_row_numbers(table, profile)
    drafts = draft_table(table, profile, desk.writer())
    if drafts.problems and not (asked.skip_bad and drafts.records):
        raise ListRefused(drafts.problems)
    _hand_back(asked.errors, drafts.problems)
    refused = refused_path(asked.file) if drafts.problems else None
    if asked.dry_run:
        _show_plan(asked, drafts, None if asked.offline else _foresee(desk, drafts))
    left_out = write_refused(refused, table, drafts.problems) if refused else 0
    entries, delivery = record_drafts(desk, drafts.records, offline=asked.offline)
    answer = tell(entries, delivery, drafts.records)
    if refused:
        answer = replace(
            answer, errors=(*answer.errors, RowsLeftOut(drafts.problems, left_out, str(refused)))
        )
    lines = [f"{asked.file.name}: {_counted(drafts)}", *_remarks_on(drafts)]
    show_told(
        replace(answer, parts=(*lines, *answer.parts)),
        **_value(asked, drafts),
        refused_file=str(refused) if refused else None,
    )


def _plan(asked: Asked, statute: Statute) -> tuple[Profile, Columns]:
    """What becomes of the columns, and which there may be."""
    kind = kind_named(statute, asked.kind_name) if asked.kind_name else None
    given = take_assignments(asked.assignments)
    if asked.profile is not None:
        data = read_file(asked.profile, bytes_max=PROFILE_BYTES_MAX)
        profile = parse_profile(
            data, asked.profile.name, statute, kind=kind, given=given, list_name=asked.file.name
        )
        return profile, profile.columns()
    if kind is None:
        raise Usage(
            "say --kind KIND, or --profile FILE; pledger import --suggest LIST writes a first profile"
        )
    for name in given:
        if name not in kind.fields:
            raise Usage(f"--set {name}: no field of {kind.name}, which has {', '.join(kind.fields)}")
    for name, fault in constant_faults(given, kind):
        raise Usage(f"--set {name}: {fault}")
    template = plain_template(kind, given)
    return Profile(templates=(template,)), plain_columns(template)


def _check_row_numbers(table: Table, profile: Profile) -> None:
    """Refused rows have other numbers than they had in their list: they would be other pupils'."""
    if not profile.subject and any(fold(name) == REASON_COLUMN for name in table.header.cells):
        raise Usage(
            f"{table.file} has refused rows, and the profile takes a row's number for the pupil: mend them "
            "in the list itself and import that again; what is recorded already is left alone"
        )


def _suggest(asked: Asked, home: Path) -> None:
    statute = _statute_for(home)
    kind = kind_named(statute, asked.kind_name) if asked.kind_name else None
    source = read_source(asked.file, encoding=asked.encoding, sheet=asked.sheet)
    for remark in source.remarks:
        output.remark(remark)
    text = suggest_profile(source, statute, kind)
    path = asked.profile or asked.file.with_suffix(PROFILE_SUFFIX)
    create_file(path, text.encode())
    output.show(
        {"profile": str(path), "text": text},
        f"{path}: a first profile. Read it, fill in each ?, then type",
        f"  pledger import {asked.file} --profile {path} --dry-run",
    )


def _statute_for(home: Path) -> Statute:
    """The list of the workspace; the one that the package ships where there is none yet."""
    try:
        return open_workspace(home).statute()
    except LedgerError:
        return parse_statute(default_statute_json())


def _foresee(desk: Desk, drafts: Drafts) -> Foreseen | None:
    """What the node would say; None where it cannot be asked, which is remarked on."""
    if not drafts.records:
        return None
    try:
        return foresee(desk, drafts.records)
    except (Unreachable, ProblemAnswer, Undone) as error:
        output.remark(say("foreseen.not_asked", reason=str(error)))
        return None


def _show_plan(asked: Asked, drafts: Drafts, foreseen: Foreseen | None) -> None:
    """Show what would be signed and what the node would say to it, and end the command."""
    left_out = {one.row for one in drafts.problems}
    wrong = f"{len(left_out)} rows would be left out" if left_out else "nothing is wrong with the list"
    entries = -(-len(drafts.records) // RECORDS_MAX)
    code = output.INCOMPLETE if left_out else output.DONE
    if foreseen is not None and not foreseen.is_clean:
        code = output.REFUSED
    asked_node = {"node": foreseen.value() if foreseen else None}
    output.show(
        {"dry_run": True, "entries": entries, "exit_code": code, **asked_node, **_value(asked, drafts)},
        f"{asked.file.name}: {_counted(drafts)} would be signed, in {entries} entries; {wrong}.",
        *_remarks_on(drafts),
        *(foreseen.parts() if foreseen else [say("foreseen.unknown")]),
    )
    output.show_problems(drafts.problems)
    output.finish(code)


def _value(asked: Asked, drafts: Drafts) -> dict[str, Any]:
    kinds = list(dict.fromkeys(one.kind for one in drafts.records))
    return {
        "file": str(asked.file),
        "kind": kinds[0] if len(kinds) == 1 else None,
        "kinds": kinds,
        "records": len(drafts.records),
        "without_record": drafts.skipped,
        "repeated_rows": [list(pair) for pair in drafts.repeated],
        "left_out": [output.cell_problem(one) for one in drafts.problems],
    }


def _counted(drafts: Drafts) -> str:
    counts: dict[str, int] = {}
    for one in drafts.records:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    return ", ".join(f"{count} records of {kind}" for kind, count in counts.items()) or "no records"


def _remarks_on(drafts: Drafts) -> list[str]:
    lines = [f"row {row} repeats row {first}: counted once" for row, first in drafts.repeated[:REPEATS_SHOWN]]
    if (more := len(drafts.repeated) - REPEATS_SHOWN) > 0:
        lines.append(f"… and {more} more rows that repeat others")
    if drafts.skipped:
        lines.append(
            f"{drafts.skipped} records are not made: their cells are empty, and the profile allows it"
        )
    return lines


COMMANDS = [import_command]
