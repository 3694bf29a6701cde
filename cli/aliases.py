"""``pledger class transfer``, ``alias``, ``profile``: one record about one pupil of the register.

Nobody is taken out of the register: whoever left stays findable, and of a child enrolled twice both
pseudonyms stay, because records stand under both.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.desk import Desk, open_desk
from cli.enrolments import known_pupil, record_changes, typed_draft
from cli.failures import Usage
from cli.language import say
from cli.parameters import ISO_DATE
from cli.passphrase import passphrase_option
from cli.pupil import Pupil
from cli.records import offline_option
from cli.told import show_told, tell
from ledger.portfolio import ANY_UNIT


@command(
    "transfer",
    "pledger class transfer 7a-01 --to-org school-2 --exit-type transferred --date 2026-12-01",
)
@click.argument("local_id")
@click.option("--to-org", required=True, metavar="ORG", help="Code of the school that the pupil goes to.")
@click.option("--from-org", metavar="ORG", help="Code of the school that is left, if not your unit.")
@click.option("--exit-type", required=True, help="transferred, completed, graduated, withdrawn or other.")
@click.option("--date", "day", type=ISO_DATE, required=True, help="The day of leaving.")
@offline_option
@home_option
@passphrase_option
def transfer_command(
    local_id: str,
    to_org: str,
    from_org: str | None,
    exit_type: str,
    day: datetime.date,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Record that a pupil leaves the school; the register keeps the pupil, as one who left."""
    with open_desk(home, passphrase_file) as desk:
        pupil = known_pupil(desk, local_id)
        origin = from_org or desk.workspace.settings.unit
        if origin == ANY_UNIT:
            raise Usage(say("transfer.from_org"))
        cells = {"from_org": origin, "to_org": to_org, "exit_type": exit_type, "date": day.isoformat()}
        changed = replace(pupil, left=f"{day}, {to_org}, {exit_type}")
        line = say("transfer.left", local_id=local_id, left=changed.left)
        _record(desk, "transfer", changed, cells, line, offline)


@command("alias", "pledger class alias 7a-01 7a-31")
@click.argument("local_id")
@click.argument("other_local_id")
@offline_option
@home_option
@passphrase_option
def alias_command(
    local_id: str, other_local_id: str, offline: bool, home: Path, passphrase_file: Path | None
) -> None:
    """Record that one child was enrolled twice, as LOCAL_ID and as OTHER_LOCAL_ID.

    Both pseudonyms stay with what is recorded under them. New records go to LOCAL_ID.
    """
    with open_desk(home, passphrase_file) as desk:
        pupil, other = known_pupil(desk, local_id), known_pupil(desk, other_local_id)
        if pupil == other:
            raise Usage(say("alias.twice", local_id=local_id))
        if pupil.alias_of:
            raise Usage(say("alias.itself", local_id=local_id, other=pupil.alias_of))
        cells = {"other_subject": other.pid.hex()}
        line = say("alias.same", local_id=pupil.local_id, other=other.local_id)
        changed = replace(other, alias_of=pupil.local_id)
        _record(desk, "alias", changed, cells, line, offline, about=pupil)


@command("profile", "pledger class profile 7a-01 school_only --date 2026-11-02 --level 7")
@click.argument("local_id")
@click.argument("profile", type=click.Choice(["full", "school_only", "declined"]))
@click.option("--date", "day", type=ISO_DATE, required=True, help="The day of the family's word.")
@click.option("--stage", help="Stage, if the register does not know it.")
@click.option("--level", help="Class level, if the register does not know it.")
@offline_option
@home_option
@passphrase_option
def profile_command(
    local_id: str,
    profile: str,
    day: datetime.date,
    stage: str | None,
    level: str | None,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Record what a family chose: all, within the school only, or nothing beyond what a law requires.

    It is a further enrolment from that day; what was recorded before stays.
    """
    with open_desk(home, passphrase_file) as desk:
        pupil = known_pupil(desk, local_id)
        changed = replace(pupil, profile=profile, stage=stage or pupil.stage, level=level or pupil.level)
        cells = {"entry_type": "other", "date": day.isoformat(), "profile": profile}
        cells |= {"stage": changed.stage, "class_level": changed.level}
        line = say("class.profile", local_id=local_id, profile=profile, day=day)
        _record(desk, "enrolment", changed, cells, line, offline)


def _record(
    desk: Desk,
    kind: str,
    changed: Pupil,
    cells: Mapping[str, str],
    line: str,
    offline: bool,
    about: Pupil | None = None,
) -> None:
    """Record ``cells`` about a pupil, change a line of the register, and show what became of it."""
    pupil = about or changed
    given = {name: text for name, text in cells.items() if text}
    draft = typed_draft(desk, kind, pupil, given, f"class {kind}")
    entries, delivery = record_changes(desk, [draft], [changed], offline=offline)
    answer = tell(entries, delivery, [draft])
    parts = answer.parts if answer.exit_code == output.REFUSED else (line, *answer.parts)
    show_told(replace(answer, parts=parts), local_id=pupil.local_id)
