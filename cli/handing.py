"""``pledger class export`` and ``take``: the class register as a file from one staff key to another.

The file has the form of a register. It goes by any way, a stick or a mail: only the keys that it is sealed to
open it, and the writer's signature shows whose it is. Taking it adds its pupils to one's own register.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option, now
from cli.desk import Desk, open_desk
from cli.failures import Usage
from cli.found import reader_values
from cli.language import say
from cli.merging import Merged, merge_pupils
from cli.parameters import HEX32
from cli.passphrase import passphrase_option
from cli.readers import with_recovery
from cli.register import FILE_BYTES_MAX, Register, open_register, readers_of, seal_register
from cli.trust import beside_option, check_writer, from_option
from ledger.errors import Malformed
from ledger.keys import sealing_key_of
from node.durable_file import create_file, read_file

NAMED_MAX = 10
"""Local ids named in a line; --json has all."""


@command(
    "export",
    "pledger class export -o for-substitute.sealed --to KEY --class 7а",
    "pledger class export -o copy.sealed   (for all who can open the register)",
    "pledger class export --register copy.sealed --from OLDKEY -o back.sealed --to NEWKEY",
)
@click.option("-o", "target", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File.")
@click.option("--to", "to", type=HEX32, multiple=True, help="Staff key of whom it is for; may be repeated.")
@click.option(
    "--class",
    "class_name",
    metavar="CLASS",
    help="Only this class; a number alone, such as 7, means all of a year.",
)
@click.option(
    "--register",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Another's register that is sealed to your key too, instead of your own.",
)
@from_option
@home_option
@passphrase_option
def export_command(
    target: Path,
    to: tuple[bytes, ...],
    class_name: str | None,
    source: Path | None,
    writer: bytes | None,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Write the class register to a sealed file: for a substitute, as a copy, or for one who lost the key."""
    for key in to:
        sealing_key_of(key)
    with open_desk(home, passphrase_file) as desk:
        register = desk.register if source is None else _read(desk, source, writer, "pledger class export")
        pupils = {
            name: one for name, one in register.pupils.items() if not class_name or one.is_of(class_name)
        }
        if not pupils:
            raise Usage(say("handing.nobody"))
        current = replace(register.on_day(now().date().isoformat()), pupils=pupils)
        sealed = _for(current, to, desk.signer.public_key)
        create_file(target, seal_register(sealed, desk.signer, os.urandom))
        own = desk.signer.public_key.hex()
    output.show(
        {"file": str(target), "pupils": len(pupils), "writer": own, **reader_values(sealed)},
        say("handing.written", path=target, count=len(pupils), keys=len(sealed.recipients)),
        say("handing.take", file=target.name, key=own),
    )


@command("take", "pledger class take for-substitute.sealed --from KEY")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@from_option
@click.option("--theirs", is_flag=True, help="Where lines of one pupil differ, take the file's.")
@beside_option
@home_option
@passphrase_option
def take_command(
    file: Path, writer: bytes | None, theirs: bool, beside: str, home: Path, passphrase_file: Path | None
) -> None:
    """Take the pupils of a sealed FILE into one's own class register; nobody is lost."""
    with open_desk(home, passphrase_file) as desk:
        other = _read(desk, file, writer, f"pledger class take {file}")
        merged = merge_pupils(desk.register, other.pupils.values(), file.name, theirs=theirs, beside=beside)
        register = _with_holders(merged.register, other, desk.signer.public_key)
        if register != desk.register or desk.register.version == 0:
            desk.save_register(register)
    output.show(
        {"added": list(merged.added), "differing": list(merged.differing), **reader_values(register)},
        *_lines(merged, theirs=theirs),
    )


def _read(desk: Desk, path: Path, named: bytes | None, typed: str) -> Register:
    data = read_file(path, bytes_max=FILE_BYTES_MAX)
    try:
        writer, _ = readers_of(data)
    except Malformed as error:
        raise Malformed(f"{path}: {say('register.not_one')}") from error
    check_writer(desk, path, writer, named, typed)
    return open_register(data, desk.signer, [writer])


def _for(register: Register, to: tuple[bytes, ...], own: bytes) -> Register:
    """The register as it is sealed into a file: to whom it is for and the recovery holders, or to all."""
    if not to:
        readers = register.recipients
    else:
        readers = (*to, *register.recovery)
    days = {key: day for key, day in register.until.items() if key in readers}
    readers = tuple(dict.fromkeys((own, *readers)))
    return replace(register, recipients=readers, until=days, version=0)


def _with_holders(register: Register, other: Register, own: bytes) -> Register:
    """One's own recovery holders, or where there are none those of the file."""
    holders = [key for key in other.recovery if key != own]
    return register if register.recovery or not holders else with_recovery(register, holders)


def _lines(merged: Merged, *, theirs: bool) -> list[str]:
    lines = [say("handing.taken", count=len(merged.added))]
    if merged.differing:
        names = ", ".join(merged.differing[:NAMED_MAX]) + (", …" if merged.differing[NAMED_MAX:] else "")
        key = "handing.differ_theirs" if theirs else "handing.differ"
        lines.append(say(key, count=len(merged.differing), names=names))
    return lines
