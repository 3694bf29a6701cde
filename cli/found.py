"""Pupils of the class register as people and scripts are shown them; ``pledger class find``.

A pseudonym is never shown: nobody needs it to find a child.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.cells import clean
from cli.command import command, home_option
from cli.desk import open_desk
from cli.language import headings, say
from cli.output import Table
from cli.passphrase import passphrase_option
from cli.pupil import DECLINED, Pupil
from cli.register import Register


@command("find", "pledger class find сказ", "pledger class find 7а --json")
@click.argument("text")
@home_option
@passphrase_option
def find_command(text: str, home: Path, passphrase_file: Path | None) -> None:
    """Find pupils by a part of their name, or by local id or class; those who left too."""
    with open_desk(home, passphrase_file) as desk:
        found = [one for one in desk.register.pupils.values() if _is_meant(one, _folded(text))]
    output.show(
        {"pupils": pupil_values(found)},
        pupil_table(found) if found else say("find.nobody", text=repr(clean(text))),
    )


def pupil_values(pupils: Sequence[Pupil]) -> list[dict[str, Any]]:
    """Return pupils as JSON carries them."""
    return [
        {
            "local_id": one.local_id,
            "name": one.name,
            "class": one.class_name,
            "profile": one.profile or None,
            "left": one.left or None,
            "alias_of": one.alias_of or None,
        }
        for one in pupils
    ]


def pupil_table(pupils: Sequence[Pupil]) -> Table:
    """Return pupils as a terminal shows them."""
    rows = [[one.local_id, one.name, one.class_name, _state(one)] for one in pupils]
    return Table(columns=headings(["local_id", "name", "class", ""]), rows=rows)


def reader_values(register: Register) -> dict[str, Any]:
    """Return who can open a register, as JSON carries it."""
    return {
        "recipients": [key.hex() for key in register.recipients],
        "recovery": [key.hex() for key in register.recovery],
        "until": {key.hex(): day for key, day in register.until.items()},
    }


def reader_line(register: Register) -> str:
    """Return who can open a register, in a line."""
    key = "class.readers_recovery" if register.recovery else "class.readers"
    return say(key, count=len(register.recipients))


def _state(pupil: Pupil) -> str:
    left = [say("find.left", left=pupil.left)] if pupil.left else []
    alias = [say("find.alias", local_id=pupil.alias_of)] if pupil.alias_of else []
    return "; ".join([*left, *alias, *([say("find.declined")] if pupil.profile == DECLINED else [])])


def _is_meant(pupil: Pupil, text: str) -> bool:
    names = _folded(pupil.local_id), _folded(pupil.class_name)
    return bool(text) and (text in _folded(pupil.name) or text in names)


def _folded(text: str) -> str:
    return clean(text).casefold().replace("ё", "е")
