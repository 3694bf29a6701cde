"""``pledger import``: a whole list signed and sent, or all that is wrong with it; and a first profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, home_option
from cli.completion import complete_lists
from cli.desk import Desk, open_desk
from cli.drafts import Draft
from cli.encoding import ENCODINGS
from cli.failures import PROBLEMATIC, CellProblem, ListRefused, RowsLeftOut, Undone, Usage
from cli.foreseen import Foreseen, foresee, send_first
from cli.hand_back import refused_path, write_errors, write_refused
from cli.headers import REASON_COLUMN, Columns, fold
from cli.heard import translated
from cli.import_records import LISTS, Drafts, draft_table, kind_named, make_records
from cli.language import say
from cli.passphrase import passphrase_option
from cli.profile import Profile, plain_columns, plain_template
from cli.profile_form import PROFILE_BYTES_MAX, constant_faults, parse_profile
from cli.records import offline_option, record_drafts, take_assignments
from cli.source import read_source
from cli.suggest import suggest_profile
from cli.table import Table, ordered, read_table
from cli.told import show_told, tell
from cli.workspace import open_workspace
from ledger.entry import RECORDS_MAX
from ledger.errors import LedgerError
from ledger.record import Record
from ledger.statute import Statute, default_statute_json, parse_statute
from node.durable_file import create_file, read_file

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
    yes: bool


@command(
    "import",
    "pledger import results.csv --kind results --dry-run",
    "pledger import results.csv --kind results --yes",
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
@click.option("--yes", is_flag=True, help="Do not ask; sign what is shown.")
@offline_option
@home_option
@passphrase_option
def import_command(
    suggest: bool, home: Path, passphrase_file: Path | None, encoding: str | None, **typed: Any
) -> None:
    """Record a list: CSV or XLSX with the columns of its kind, or those that a profile names.

    The node is asked what is new, recorded already or in conflict; that is shown and asked about once, then
    what is new is signed and sent. All or nothing, unless --skip-bad: every error is told with row and
    column, and nothing is written while there is one. What is recorded already is left alone, so a list may
    be imported twice. Without a terminal --yes must answer, unless there is nothing to add.
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
        output.remark(say("lists.errors_written", path=errors))


def _import(asked: Asked, desk: Desk) -> None:
    profile, columns = _plan(asked, desk.statute)
    table = read_table(asked.file, columns, encoding=asked.encoding, sheet=asked.sheet)
    for remark in table.source.remarks:
        output.remark(remark)
    _check_row_numbers(table, profile)
    drafts = draft_table(table, profile, desk.writer())
    if drafts.problems and not (asked.skip_bad and drafts.records):
        raise ListRefused(drafts.problems)
    plan = _foretold(asked, desk, drafts)
    _hand_back(asked.errors, plan.problems)
    refused = refused_path(asked.file) if plan.problems and (asked.skip_bad or asked.dry_run) else None
    if asked.dry_run:
        _show_plan(asked, drafts, plan)
    if plan.problems and not (asked.skip_bad and plan.is_good_for_something):
        _refuse(asked, drafts, plan)
    parts: list[str | output.Table] = [
        say("lists.counted", file=asked.file.name, records=_counted(drafts.records))
    ]
    parts += [*_remarks_on(drafts), *plan.parts]
    shown_before = _confirmed(asked, plan, parts)
    left_out = write_refused(refused, table, plan.problems) if refused else 0
    entries, delivery = record_drafts(desk, plan.drafts, plan.records, offline=asked.offline)
    answer = tell(entries, delivery, plan.drafts)
    if refused:
        answer = replace(answer, errors=(*answer.errors, RowsLeftOut(plan.problems, left_out, str(refused))))
    if not entries:
        parts.append(say("lists.nothing_to_add"))
    before = parts[:1] if shown_before else parts
    answer = replace(answer, parts=(*before, *answer.parts), value=_with_known(answer.value, plan))
    show_told(answer, **_value(asked, drafts, plan), refused_file=str(refused) if refused else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be signed of a list after the node was asked, and all that is wrong with the rest."""

    drafts: Sequence[Draft]
    records: Sequence[Record]
    problems: tuple[CellProblem, ...]
    foreseen: Foreseen | None

    @property
    def known(self) -> int:
        """How many records stand already."""
        return self.foreseen.counts["recorded"] if self.foreseen else 0

    @property
    def is_good_for_something(self) -> bool:
        """Whether anything of the list is or will be recorded."""
        return bool(self.drafts) or self.known > 0

    @property
    def parts(self) -> list[str | output.Table]:
        """What the node says."""
        return self.foreseen.parts() if self.foreseen else [say("foreseen.unknown")]


def _foretold(asked: Asked, desk: Desk, drafts: Drafts) -> _Plan:
    """The list as the node sees it; as it is where the node is not asked."""
    records = make_records(drafts.records, os.urandom)
    foreseen = None
    if records and not asked.offline and (asked.dry_run or send_first(desk)):
        foreseen = foresee(desk, drafts.records, records)
    if foreseen is None:
        return _Plan(drafts=drafts.records, records=records, problems=drafts.problems, foreseen=None)
    left, new = foreseen.left()
    problems = tuple(ordered([*drafts.problems, *foreseen.problems()]))
    return _Plan(drafts=left, records=new, problems=problems, foreseen=foreseen)


def _refuse(asked: Asked, drafts: Drafts, plan: _Plan) -> None:
    """End the command: a list that is refused in one row is recorded in none."""
    parts = (*_remarks_on(drafts), *plan.parts)
    told = tell([], None)
    refused = [output.cell_problem(one) for one in plan.problems]
    value = _with_known({**told.value, "refused": refused}, plan)
    answer = replace(told, value=value, parts=parts, errors=(ListRefused(plan.problems),))
    show_told(answer, **_value(asked, drafts, plan), refused_file=None)


def _with_known(value: dict[str, Any], plan: _Plan) -> dict[str, Any]:
    return {**value, "already_recorded": value["already_recorded"] + plan.known}


def _confirmed(asked: Asked, plan: _Plan, parts: Sequence[str | output.Table]) -> bool:
    """Ask the one question, if there is something to sign; return whether that showed the plan.

    Without a terminal ``--yes`` must have answered: a nightly job that signs says so in its own text, and one
    that repeats a list adds nothing and needs no answer.
    """
    if asked.yes or not plan.drafts:
        return False
    wrong = plan.foreseen.wrong_parts() if plan.foreseen else []
    count, entries = len(plan.drafts), -(-len(plan.drafts) // RECORDS_MAX)
    if not output.ask_yes(say("lists.confirm", count=count, entries=entries), *parts, *wrong):
        raise Undone(say("lists.not_confirmed"))
    return True


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
        raise Usage(say("lists.kind_or_profile"))
    for name in given:
        if name not in kind.fields:
            raise Usage(say("lists.set_unknown", name=name, kind=kind.name, fields=", ".join(kind.fields)))
    for name, fault in constant_faults(given, kind):
        raise Usage(say("lists.set_wrong", name=name, problem=translated(fault)))
    template = plain_template(kind, given)
    return Profile(templates=(template,)), plain_columns(template)


def _check_row_numbers(table: Table, profile: Profile) -> None:
    """Refused rows have other numbers than they had in their list: they would be other pupils'."""
    if not profile.subject and any(fold(name) == REASON_COLUMN for name in table.header.cells):
        raise Usage(say("lists.row_numbers", file=table.file))


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
        say("lists.suggested", path=path),
        f"  pledger import {asked.file} --profile {path} --dry-run",
    )


def _statute_for(home: Path) -> Statute:
    """The list of the workspace; the one that the package ships where there is none yet."""
    try:
        return open_workspace(home).statute()
    except LedgerError:
        return parse_statute(default_statute_json())


def _show_plan(asked: Asked, drafts: Drafts, plan: _Plan) -> None:
    """Show what would be signed and what the node would say to it, and end the command."""
    left_out = {one.row for one in plan.problems}
    wrong = say("lists.would_be_left_out", count=len(left_out)) if left_out else say("lists.nothing_wrong")
    entries = -(-len(plan.drafts) // RECORDS_MAX)
    code = output.INCOMPLETE if left_out else output.DONE
    if plan.problems and not asked.skip_bad:
        code = output.REFUSED
    planned = say(
        "lists.planned", file=asked.file.name, records=_counted(plan.drafts), entries=entries, wrong=wrong
    )
    output.show(
        {"dry_run": True, "entries": entries, "exit_code": code, **_value(asked, drafts, plan)},
        planned,
        *_remarks_on(drafts),
        *plan.parts,
        say("foreseen.nothing_signed"),
        *(plan.foreseen.wrong_parts() if plan.foreseen else ()),
    )
    output.show_problems(drafts.problems)
    output.finish(code)


def _value(asked: Asked, drafts: Drafts, plan: _Plan) -> dict[str, Any]:
    kinds = list(dict.fromkeys(one.kind for one in drafts.records))
    return {
        "file": str(asked.file),
        "kind": kinds[0] if len(kinds) == 1 else None,
        "kinds": kinds,
        "records": len(drafts.records),
        "without_record": drafts.skipped,
        "repeated_rows": [list(pair) for pair in drafts.repeated],
        "left_out": [output.cell_problem(one) for one in plan.problems],
        "node": plan.foreseen.value() if plan.foreseen else None,
    }


def _counted(drafts: Sequence[Draft]) -> str:
    counts: dict[str, int] = {}
    for one in drafts:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    parts = [say("lists.of_kind", count=count, kind=kind) for kind, count in counts.items()]
    return ", ".join(parts) or say("lists.no_records")


def _remarks_on(drafts: Drafts) -> list[str]:
    lines = [say("lists.repeats", row=row, first=first) for row, first in drafts.repeated[:REPEATS_SHOWN]]
    if (more := len(drafts.repeated) - REPEATS_SHOWN) > 0:
        lines.append(say("lists.more_repeats", count=more))
    if drafts.skipped:
        lines.append(say("lists.not_made", count=drafts.skipped))
    return lines


COMMANDS = [import_command]
