"""The one question that a command may ask, and the flag that answers it."""

from __future__ import annotations

import click

from cli import output
from cli.command import Decorated
from cli.output import Table


def yes_option(function: Decorated) -> Decorated:
    """Add ``--yes``: the answer to `check_wanted`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def check_wanted(question: str, *parts: str | Table, yes: bool) -> None:
    """Show ``parts``, return if it is wanted; `Usage` where nobody can be asked, `click.Abort` for a no."""
    if not yes and not output.ask_yes(question, *parts):
        raise click.Abort
