"""An agency's directory: its keys, its configuration, and the public file that others found a ledger with.

Nothing secret ever leaves the directory; the root key may be carried away from it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from cli import output
from cli.command import command
from cli.failures import Usage
from cli.passphrase import passphrase_option, take_passphrase
from ledger.keys import SigningKey
from ledger.names import check_name
from node.config import FILE_NAME, format_config, parse_config
from node.durable_file import create_file
from node.key_file import write_key_file
from node.wiring import NODE_KEY_FILE

ROOT_KEY_FILE = "keys/root.key"
REGISTRAR_KEY_FILE = "keys/registrar.key"
PUBLIC_FILE = "agency.json"
NODE_SECRETS = ("log", "witness", "node", "desk", "sealing", "master")
PUBLIC_BYTES_MAX = 10_000

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)

directory_option = click.option(
    "--dir", "directory", type=_DIRECTORY, default=".", show_default=True, help="The agency's directory."
)


@command(
    "new", "pledger agency new district-7 --ledger portfolio --url http://10.0.0.7:8700 --dir district-7"
)
@click.argument("agency")
@click.option("--ledger", required=True, help="Name of the ledger, the same for all its agencies.")
@click.option("--url", required=True, help="Where the other agencies reach this node.")
@click.option("--listen", help="Address and port to bind, if not those of --url.")
@directory_option
@passphrase_option
def new(
    agency: str, ledger: str, url: str, listen: str | None, directory: Path, passphrase_file: Path | None
) -> None:
    """Make an agency: its directory, its keys (under one passphrase) and its configuration."""
    check_name(agency, "agency")
    check_name(ledger, "ledger")
    if (directory / FILE_NAME).exists():
        raise Usage(f"{directory} is an agency already: choose another --dir")
    config = format_config(ledger=ledger, agency=agency, url=url, listen=listen or _listen_of(url), peers={})
    parse_config(config.encode(), directory, "these options")
    passphrase = take_passphrase(passphrase_file, f"the keys of {agency}", is_new=True)
    (directory / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
    root, registrar = os.urandom(32), os.urandom(32)
    secrets = {name: os.urandom(32) for name in NODE_SECRETS}
    for path, content in (
        (ROOT_KEY_FILE, {"root": root}),
        (REGISTRAR_KEY_FILE, {"registrar": registrar}),
        (NODE_KEY_FILE, secrets),
    ):
        write_key_file(directory / path, agency, content, passphrase, os.urandom)
    root_key = SigningKey(root).public_key.hex()
    public = {"ledger": ledger, "agency": agency, "root_key": root_key, "url": url}
    create_file(directory / PUBLIC_FILE, (json.dumps(public, indent=1) + "\n").encode())
    create_file(directory / FILE_NAME, config.encode())
    output.show(
        public | {"directory": str(directory)},
        f"made agency {agency} in {directory}",
        f"  keep {directory / ROOT_KEY_FILE} apart from the node: it only founds and mends the log",
        f"  send {directory / PUBLIC_FILE} to whoever drafts the roster (pledger roster draft)",
    )


def _listen_of(url: str) -> str:
    """Host and port of a URL, to bind."""
    host = url.split("://", 1)[-1].split("/", 1)[0]
    return host if ":" in host else f"{host}:{443 if url.startswith('https') else 80}"
