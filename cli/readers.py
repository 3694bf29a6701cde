"""``pledger class share``, ``unshare``, ``recovery``: who can open the class register.

Each writing seals the register to its readers anew. Whoever could open an earlier writing and kept it can
open that for ever: taking a reader out concerns what is written from then on.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option, now
from cli.desk import Desk, open_desk
from cli.failures import Usage
from cli.found import reader_line, reader_values
from cli.language import say
from cli.parameters import HEX32, ISO_DATE
from cli.passphrase import passphrase_option
from cli.register import Register
from ledger.keys import sealing_key_of

HOLDERS = 2
"""Recovery holders: one may be ill or gone as well."""


@command("share", "pledger class share KEY --until 2026-12-31")
@click.argument("key", type=HEX32)
@click.option("--until", type=ISO_DATE, help="The last day; a register written later leaves the key out.")
@home_option
@passphrase_option
def share_command(key: bytes, until: datetime.date | None, home: Path, passphrase_file: Path | None) -> None:
    """Let another staff KEY open the class register: a substitute or a colleague of the class.

    KEY is what pledger staff key printed for them. They take the register with pledger class take.
    """
    sealing_key_of(key)
    if until is not None and until < now().date():
        raise Usage(say("readers.over", day=until))
    with open_desk(home, passphrase_file) as desk:
        register = desk.register.readable_by([key])
        days = {one: day for one, day in register.until.items() if one != key}
        days |= {key: until.isoformat()} if until and key != desk.signer.public_key else {}
        _save(desk, replace(register, until=days), say("readers.shared", key=key.hex()[:16]))


@command("unshare", "pledger class unshare KEY")
@click.argument("key", type=HEX32)
@home_option
@passphrase_option
def unshare_command(key: bytes, home: Path, passphrase_file: Path | None) -> None:
    """Seal the class register from now on without KEY. What that key has read cannot be taken back."""
    with open_desk(home, passphrase_file) as desk:
        if key == desk.signer.public_key:
            raise Usage(say("readers.own"))
        if key in desk.register.recovery:
            raise Usage(say("readers.holder"))
        if key not in desk.register.recipients:
            raise Usage(say("readers.unknown", key=key.hex()))
        _save(desk, desk.register.without_reader(key), say("readers.unshared", key=key.hex()[:16]))


@command("recovery", "pledger class recovery KEY KEY")
@click.argument("holders", type=HEX32, nargs=HOLDERS, metavar="KEY KEY")
@home_option
@passphrase_option
def recovery_command(holders: tuple[bytes, ...], home: Path, passphrase_file: Path | None) -> None:
    """Name the two recovery holders, in the place of those before.

    Each of them alone can give the register to your next key when this one is lost. Keep a copy of the
    register where they reach it: pledger class export -o COPY.
    """
    with open_desk(home, passphrase_file) as desk:
        check_holders(holders, desk.signer.public_key)
        _save(desk, with_recovery(desk.register, holders), say("readers.recovery"))


def check_holders(holders: Sequence[bytes], own: bytes) -> None:
    """Raise `Usage` unless these are nobody, or two others."""
    if holders and (len(holders) != HOLDERS or len({*holders, own}) != HOLDERS + 1):
        raise Usage(say("readers.two"))
    for key in holders:
        sealing_key_of(key)


def with_recovery(register: Register, holders: Sequence[bytes]) -> Register:
    """Return the register with these recovery holders in the place of those before."""
    for old in set(register.recovery) - set(holders):
        register = register.without_reader(old)
    days = {one: day for one, day in register.until.items() if one not in holders}
    return replace(register.readable_by(holders), recovery=tuple(holders), until=days)


def _save(desk: Desk, register: Register, what: str) -> None:
    sealed = desk.save_register(register).on_day(now().date().isoformat())
    output.show(
        {"version": sealed.version, **reader_values(sealed)},
        what,
        reader_line(sealed),
        say("readers.give"),
    )


READER_COMMANDS = (share_command, unshare_command, recovery_command)
