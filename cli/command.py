"""The shape of every command: help with an example that works, ``--json``, exit codes, no traceback.

A command module exposes ``COMMANDS``, a list of click commands made with `command` and `group`; ``main``
lists the modules. Time enters here (`now`): deeper modules get it passed in.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from cli import language, output
from cli.help_text import SpokenHelp
from cli.language import say
from ledger.errors import LedgerError

EXIT_CODES = (
    "Exit codes: 0 done or verified, 1 failed, 2 usage, 3 incomplete, 4 refused by a rule, 5 cannot reach."
)

DEFAULT_HOME = "~/.pledger"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    expose_value=False,
    callback=output.want_json,
    help="Print exactly one JSON object.",
)


lang_option = click.option(
    "--lang",
    type=click.Choice(language.LANGUAGES),
    expose_value=False,
    callback=lambda _, __, value: None if value is None else language.use(value),
    help=f"Language of the messages (also {language.VARIABLE}; otherwise the locale's).",
)


class Command(SpokenHelp, click.Command):
    """A command whose help is in the language of the run."""


class Group(SpokenHelp, click.Group):
    """A group whose `main` turns every error into a message and an exit code."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> NoReturn:
        """Run and exit the process; ``standalone_mode`` is always ours."""
        output.prepare()
        typed = list(sys.argv[1:] if args is None else args)
        language.choose(typed, os.environ)
        extra["standalone_mode"] = False
        sys.exit(self._run(typed, others, extra))

    def _run(self, typed: list[str], others: tuple[Any, ...], extra: dict[str, Any]) -> int:
        as_json = "--json" in typed
        try:
            code = super().main(typed, *others, **extra)
        except (KeyboardInterrupt, click.Abort):
            output.remark(say("error.interrupted"))
            return output.INTERRUPTED
        except BrokenPipeError:
            return _leave_broken_pipe()
        except (LedgerError, OSError, click.ClickException) as error:
            return output.fail(error, as_json=as_json)
        return code if isinstance(code, int) else output.DONE


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a function a command called ``name`` with these examples in its help."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        shown = lang_option(json_option(function))
        made: click.Command = click.command(name, cls=Command, epilog=_epilog(examples))(shown)
        return made

    return decorate


def group(name: str, help_text: str, *commands: click.Command) -> Group:
    """Return a group of commands called ``name``."""
    made = Group(name, help=help_text, commands=list(commands))
    lang_option(made)
    return made


def home_option(function: Decorated) -> Decorated:
    """Add ``--home``: the staff workspace."""
    option = click.option(
        "--home",
        envvar="PLEDGER_HOME",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_HOME,
        show_default=True,
        callback=lambda _, __, path: path.expanduser(),
        help="The staff workspace (also PLEDGER_HOME).",
    )
    return option(function)


def now() -> datetime.datetime:
    """Return the time of this computer, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def _epilog(examples: Sequence[str]) -> str:
    lines = ["\b", "Example:" if len(examples) == 1 else "Examples:", *(f"  {one}" for one in examples)]
    return "\n".join([*lines, "", EXIT_CODES])


def _leave_broken_pipe() -> int:
    """Whoever read our output has gone (``| head``): end quietly, and keep Python from flushing to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return output.FAILED
