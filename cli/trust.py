"""Whose file one takes: a colleague's, named in ``staff.toml`` or by ``--from``.

Anybody can seal a file to a public key. Who wrote it is proved by its signature; whether that key is a
colleague's only a person can say, and says it by typing the key.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.command import Decorated
from cli.desk import Desk
from cli.failures import Usage
from cli.language import say
from cli.parameters import HEX32


def from_option(function: Decorated) -> Decorated:
    """Add ``--from``: the colleague's key."""
    option = click.option(
        "--from",
        "writer",
        type=HEX32,
        help="Key of the colleague who wrote the file, if staff.toml does not name it.",
    )
    return option(function)


def beside_option(function: Decorated) -> Decorated:
    """Add ``--beside``: what tells the file's pupils from one's own of the same local id."""
    option = click.option(
        "--beside",
        default="",
        metavar="X",
        help="Take pupils whose local id stands for another pseudonym here as LOCAL_ID-X.",
    )
    return option(function)


def check_writer(desk: Desk, path: Path, writer: bytes, named: bytes | None, typed: str) -> None:
    """Raise `Usage` unless the file's writer is oneself, named now, or named in ``staff.toml``."""
    if named is not None and named != writer:
        raise Usage(say("trust.other", path=path, key=writer.hex()))
    if writer not in {desk.signer.public_key, named, *desk.trusted}:
        raise Usage(say("trust.unknown", path=path, key=writer.hex(), command=typed))
