"""``pledger completion``: the script by which bash, zsh or fish completes commands, options and words.

The script is click's own but for `MENDED`: at each press of the key the shell runs ``pledger`` with
``_PLEDGER_COMPLETE`` set, and gets the words that fit. Nothing is opened for that: no workspace, no key, no
network.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from cli import output
from cli.command import command
from cli.failures import Usage
from cli.import_records import LISTS
from cli.language import say
from cli.registrar import ALL_KINDS, NO_STAFF_ROLES
from cli.topics import Topic, title_of
from ledger.statute import default_statute_json
from ledger.vocabulary import ROLES

PROGRAM = "pledger"
VARIABLE = "_PLEDGER_COMPLETE"
"""The name that click derives from the program's."""
FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/pledger.fish"}
"""Shell, and the file that it reads at its start."""
LINES = {
    "bash": 'eval "$(pledger completion bash)"',
    "zsh": 'eval "$(pledger completion zsh)"',
    "fish": "pledger completion fish | source",
}

MENDED = {
    "zsh": ("\n", "\n(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }\n"),
    "fish": ('string split ","', 'string split --max 1 ","'),
}
"""What stands otherwise than in click's script: a zsh whose owner never set completion up knows no
``compdef``, and fish would cut ``enrolment,transfer`` at its comma."""


@command("completion", *(f"{LINES[shell]}   (in {file})" for shell, file in FILES.items()))
@click.argument("shell", type=click.Choice(list(FILES)))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete pledger's commands and words.

    Load it at the start of every shell, as the examples say.
    """
    made = get_completion_class(shell)
    if made is None:
        raise Usage(say("completion.unknown", shell=shell))
    script = made(context.find_root().command, {}, PROGRAM, VARIABLE).source()
    script = script.replace(*MENDED.get(shell, ("", "")), 1)
    output.show(
        {"shell": shell, "file": FILES[shell], "line": LINES[shell], "script": script}, script.strip("\n")
    )


def complete_kinds(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the kinds that a shell offers."""
    return _items(_kinds(), incomplete)


def complete_lists(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of lists, and the kinds, that a shell offers."""
    lists = {name: _title("kind", kind) for name, kind in LISTS.items()}
    return _items(lists | _kinds(), incomplete)


def complete_grant(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return kinds with commas between, of which the last is being typed."""
    before, comma, last = incomplete.rpartition(",")
    known = set(before.split(","))
    kinds = {f"{before}{comma}{name}": said for name, said in _kinds().items() if name not in known}
    return _items(kinds if comma else {ALL_KINDS: "", **kinds}, f"{before}{comma}{last}")


def complete_roles(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the roles that can be granted."""
    roles = {name: _title("role", name) for name in ROLES if name not in NO_STAFF_ROLES}
    return _items(roles, incomplete)


def _kinds() -> dict[str, str]:
    return {name: _title("kind", name) for name in default_statute_json()["kinds"]}


def _title(sort: str, name: str) -> str:
    title = title_of(Topic(sort="kind" if sort == "kind" else "role", name=name))
    return "" if title is None else title.in_language()


def _items(words: dict[str, str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=said) for word, said in words.items() if word.startswith(incomplete)]


COMMANDS = [completion_command]
