"""The ``pledger`` command: every command module is listed here once.

A module exposes ``COMMANDS``, a list of click commands. ``pledger`` alone says what to do next.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli import agency, audit, classes, corrections, demo, operate, outgoing, output, records, showing, staff
from cli.command import EXIT_CODES, Group, home_option, json_option

MODULES = (agency, operate, staff, classes, records, corrections, outgoing, showing, audit, demo)


@click.group("pledger", cls=Group, invoke_without_command=True, epilog=EXIT_CODES)
@click.version_option(package_name="portfolio-ledger", prog_name="pledger")
@home_option
@json_option
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
        "What to do next:",
        *(f"  {what}\n      {typed}" for what, typed in steps),
        "",
        "All: pledger --help",
    ]


def _next_steps(home: Path) -> list[tuple[str, str]]:
    """What fits the state of the staff workspace, without opening it."""
    if not (home / "staff.key").exists():
        return [
            ("See it all at work", "pledger demo"),
            ("Staff: make your key", "pledger staff key --node URL --ledger ID --unit ORG"),
            ("Operator: found an agency", "pledger agency new --help"),
            ("Auditor: check a dossier", "pledger verify dossier.zip --ledger ID"),
        ]
    if not (home / "roster" / "1.json").exists():
        return [("Connect to your agency's node", "pledger staff connect --node URL")]
    if not (home / "register.sealed").exists():
        return [
            ("Enrol a class", "pledger class enrol roster.csv --notice-file notice.pdf --shown-on DATE"),
            ("See who was granted what", "pledger staff list"),
        ]
    return [
        ("Record a list", "pledger import results.csv --kind results --dry-run"),
        ("Record one fact", "pledger append --help"),
        ("See what was signed, and what waits", "pledger outbox list"),
        ("Hand out a proof of one record", "pledger prove RECORD -o FILE"),
    ]


for _module in MODULES:
    for _command in _module.COMMANDS:
        pledger.add_command(_command)


if __name__ == "__main__":
    main()
