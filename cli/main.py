"""The ``pledger`` command: every command module is listed here once.

A module exposes ``COMMANDS``, a list of click commands. ``pledger`` alone says what to do next.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli import (
    audit,
    cards,
    classes,
    completion,
    corrections,
    demo,
    eras,
    explain,
    forks,
    lists,
    operate,
    outgoing,
    output,
    receipts,
    records,
    rosters,
    showing,
    staff,
)
from cli.command import EXIT_CODES, Group, home_option, json_option, lang_option
from cli.language import say

MODULES = (
    cards,
    rosters,
    eras,
    forks,
    operate,
    staff,
    classes,
    records,
    lists,
    corrections,
    outgoing,
    receipts,
    showing,
    explain,
    completion,
    audit,
    demo,
)


@click.group("pledger", cls=Group, invoke_without_command=True, epilog=EXIT_CODES)
@click.version_option(package_name="portfolio-ledger", prog_name="pledger")
@home_option
@json_option
@lang_option
@click.pass_context
def pledger(context: click.Context, home: Path) -> None:
    """A ledger of pupils' achievements: signed, append-only, checked by anybody without a network."""
    if context.invoked_subcommand is None:
        steps = _next_steps(home)
        output.show({"next": [{"what": what, "type": typed} for what, typed in steps]}, *_lines(steps))


def main() -> None:
    """Run the command line."""
    pledger(prog_name="pledger")


def _lines(steps: list[tuple[str, str]]) -> list[str]:
    return [
        say("next.title"),
        *(f"  {what}\n      {typed}" for what, typed in steps),
        "",
        say("next.all"),
    ]


def _next_steps(home: Path) -> list[tuple[str, str]]:
    """What fits the state of the staff workspace, without opening it."""
    if not (home / "staff.key").exists():
        return [
            (say("next.demo"), "pledger demo"),
            (say("next.key"), "pledger staff key --node URL --ledger ID --unit ORG"),
            (say("next.agency"), "pledger agency new --help"),
            (say("next.verify"), "pledger verify dossier.zip --ledger ID"),
        ]
    if not (home / "roster" / "1.json").exists():
        return [(say("next.connect"), "pledger staff connect --node URL")]
    if not (home / "register.sealed").exists():
        return [
            (say("next.enrol"), "pledger class enrol roster.csv --notice-file notice.pdf --shown-on DATE"),
            (say("next.granted"), "pledger staff list"),
        ]
    return [
        (say("next.import"), "pledger import results.csv --kind results --dry-run"),
        (say("next.append"), "pledger append --help"),
        (say("next.outbox"), "pledger outbox list"),
        (say("next.prove"), "pledger prove RECORD -o FILE"),
        (say("next.explain"), "pledger explain"),
    ]


for _module in MODULES:
    for _command in _module.COMMANDS:
        pledger.add_command(_command)


if __name__ == "__main__":
    main()
