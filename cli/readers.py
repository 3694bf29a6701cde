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
from cli.found import reader_values
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
        raise Usage(f"--until {until} is over already")
    with open_desk(home, passphrase_file) as desk:
        register = desk.register.readable_by([key])
        days = {one: day for one, day in register.until.items() if one != key}
        days |= {key: until.isoformat()} if until and key != desk.signer.public_key else {}
        _save(desk, replace(register, until=days), f"can be opened by {key.hex()[:16]} too")


@command("unshare", "pledger class unshare KEY")
@click.argument("key", type=HEX32)
@home_option
@passphrase_option
def unshare_command(key: bytes, home: Path, passphrase_file: Path | None) -> None:
    """Seal the class register from now on without KEY. What that key has read cannot be taken back."""
    with open_desk(home, passphrase_file) as desk:
        if key == desk.signer.public_key:
            raise Usage("this is your own key: whoever writes the register must be able to read it")
        if key in desk.register.recovery:
            raise Usage("this is a recovery holder: name two others with pledger class recovery KEY KEY")
        if key not in desk.register.recipients:
            raise Usage(f"{key.hex()} cannot open the register; pledger class list --json names who can")
        _save(desk, desk.register.without_reader(key), f"is sealed without {key.hex()[:16]} from now on")


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
        _save(desk, with_recovery(desk.register, holders), "has two recovery holders")


def check_holders(holders: Sequence[bytes], own: bytes) -> None:
    """Raise `Usage` unless these are nobody, or two others."""
    if holders and (len(holders) != HOLDERS or len({*holders, own}) != HOLDERS + 1):
        raise Usage("there are two recovery holders, each with a key of their own, and neither is yours")
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
        f"the class register {what}: {len(sealed.recipients)} keys open it",
        "To give it to somebody: pledger class export -o FILE --to KEY",
    )


READER_COMMANDS = (share_command, unshare_command, recovery_command)
