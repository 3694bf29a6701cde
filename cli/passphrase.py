"""Where the passphrase of a key file comes from: an option, the environment, or the terminal.

It is never asked where standard input is no terminal: a script that waits for ever for a person is worse
than one that stops and says why.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cli import output
from cli.command import Decorated
from cli.failures import Usage
from cli.language import say
from node.key_file import PASSPHRASE_FILE_VARIABLE, PASSPHRASE_VARIABLE, read_passphrase


def passphrase_option(function: Decorated) -> Decorated:
    """Add ``--passphrase-file`` to a command."""
    option = click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with the passphrase (also {PASSPHRASE_FILE_VARIABLE}, {PASSPHRASE_VARIABLE}).",
    )
    return option(function)


def take_passphrase(passphrase_file: Path | None, what: str, *, is_new: bool = False) -> str:
    """Return the passphrase of ``what`` from the file, the environment or the terminal, in this order."""
    given = read_passphrase(os.environ, passphrase_file)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise Usage(
            say(
                "passphrase.no_terminal",
                what=what,
                file_variable=PASSPHRASE_FILE_VARIABLE,
                variable=PASSPHRASE_VARIABLE,
            )
        )
    return output.ask_passphrase(say("passphrase.ask", what=what), is_new=is_new)
