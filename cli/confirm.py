"""The one question that a command may ask, and the flag that answers it."""

from __future__ import annotations

import sys

import click

from cli import output
from cli.command import Decorated
from cli.failures import Usage


def yes_option(function: Decorated) -> Decorated:
    """Add ``--yes``: the answer to `confirm`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def confirm(question: str, *, yes: bool) -> None:
    """Return if it is wanted; raise `Usage` where nobody is there to ask, `click.Abort` for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Usage(f"{question} There is no terminal to ask: type the command again with --yes")
    output.ask_yes(question)
