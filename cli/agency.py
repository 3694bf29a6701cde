"""Founding: an agency's directory and keys, and the roster that binds the agencies to one ledger.

What passes between the agencies while they found a ledger are small public files: ``agency.json`` of each,
the drafted roster, and one signature of each. Nothing secret ever leaves an agency's directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, group, now
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32, ISO_DATE, day_number
from cli.passphrase import passphrase_option, take_passphrase
from ledger import note
from ledger.entry import sign_public
from ledger.errors import Malformed, Unproven
from ledger.governance import Adopt, Card, Governance, format_governance
from ledger.keys import SigningKey
from ledger.names import Origin, check_name, root_key_name
from ledger.roster import RECOVERY_BELOW, Roster, check_first, format_roster, parse_roster, signing_text
from ledger.statute import default_statute_json
from node.config import FILE_NAME, format_config, load_config, parse_config
from node.durable_file import create_file
from node.key_file import read_key_file, read_public_keys, write_key_file
from node.rosters import ROSTER_DIRECTORY
from node.wiring import NODE_KEY_FILE, save_opening

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


@command("draft", "pledger roster draft a/agency.json b/agency.json c/agency.json -o roster.json")
@click.argument("agencies", nargs=-1, required=True, type=_FILE)
@click.option("-o", "target", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--recovery-key", type=HEX32, help="Outside key (hex), needed with one or two agencies.")
@click.option("--sunset", type=ISO_DATE, help="Last day on which staff may write.")
def draft(agencies: Sequence[Path], target: Path, recovery_key: bytes | None, sunset: Any) -> None:
    """Draft the roster of a new ledger from the agencies' public files and the shipped list of kinds."""
    public = [_read_public(path) for path in agencies]
    ledgers = sorted({one["ledger"] for one in public})
    if len(ledgers) != 1:
        raise Usage(f"the files are of different ledgers: {', '.join(ledgers)}")
    if len({one["agency"] for one in public}) != len(public):
        raise Usage("an agency stands twice")
    if len(public) < RECOVERY_BELOW and recovery_key is None:
        raise Usage(
            "with one or two agencies an outside --recovery-key is needed, or a lost key ends the ledger"
        )
    raw = format_roster(
        ledger=ledgers[0],
        agencies={one["agency"]: bytes.fromhex(one["root_key"]) for one in public},
        statute=default_statute_json(),
        recovery_key=recovery_key,
        sunset=None if sunset is None else day_number(sunset),
    )
    target.write_bytes(raw)
    roster = parse_roster(raw)
    output.show(
        _roster_value(roster),
        f"drafted {target}: ledger {roster.ledger}, {len(roster.agencies)} agencies, "
        f"{len(roster.statute.kinds)} kinds of record",
        f"  ledger id {roster.hash.hex()}",
        "  each agency reads it and signs it: pledger roster sign",
    )


@command("sign", "pledger roster sign roster.json --dir district-7 -o district-7.sig")
@click.argument("roster_file", type=_FILE)
@click.option("-o", "target", required=True, type=click.Path(path_type=Path, dir_okay=False))
@directory_option
@passphrase_option
def sign(roster_file: Path, target: Path, directory: Path, passphrase_file: Path | None) -> None:
    """Sign a drafted roster with the agency's root key."""
    roster = parse_roster(roster_file.read_bytes())
    config = load_config(directory)
    key = _root_key(directory, passphrase_file)
    if roster.agencies.get(config.agency) != key.public_key:
        raise Usage(f"{roster_file} does not name {config.agency} with the root key in {directory}")
    text = signing_text(roster)
    line = note.sign_note(text, root_key_name(roster.ledger, config.agency), key)
    target.write_bytes(note.format_note(text, [line]))
    output.show(
        {"signature": str(target), "ledger_id": roster.hash.hex()},
        f"signed version {roster.version} for {config.agency}: {target}",
        "  send it to the other agencies; with all signatures each runs pledger roster finish",
    )


@command(
    "finish", "pledger roster finish roster.json a.sig b.sig c.sig --dir a --peer b=http://10.0.0.8:8700"
)
@click.argument("roster_file", type=_FILE)
@click.argument("signatures", nargs=-1, required=True, type=_FILE)
@click.option("--peer", "peers", multiple=True, metavar="AGENCY=URL", help="Where another agency's node is.")
@directory_option
@passphrase_option
def finish(
    roster_file: Path,
    signatures: Sequence[Path],
    peers: Sequence[str],
    directory: Path,
    passphrase_file: Path | None,
) -> None:
    """Take the signed roster into the agency's directory, and sign the opening of its log."""
    roster = parse_roster(roster_file.read_bytes())
    config = load_config(directory)
    signed = _merge(roster, signatures)
    check_first(roster, signed)
    addresses = {name: list(urls) for name, urls in config.peers.items()} | _parse_peers(peers, roster)
    key = _root_key(directory, passphrase_file)
    if roster.agencies.get(config.agency) != key.public_key:
        raise Usage(f"{roster_file} does not name {config.agency} with the root key in {directory}")
    installed = directory / ROSTER_DIRECTORY
    installed.mkdir(exist_ok=True)
    for name, data in (("1.json", roster.raw), ("1.note", signed)):
        _install(installed / name, data)
    opening: list[Governance] = [
        _card(directory, roster, config.agency, config.url),
        _adopt(roster, config.agency),
    ]
    entry = sign_public(
        [format_governance(one) for one in opening],
        ledger_id=roster.hash,
        agency=config.agency,
        created_day=day_number(now().date()),
        signer=key,
    )
    save_opening(directory, entry)
    listen = f"{config.host}:{config.port}"
    (directory / FILE_NAME).write_text(
        format_config(
            ledger=config.ledger, agency=config.agency, url=config.url, listen=listen, peers=addresses
        )
    )
    output.show(
        {
            "ledger_id": roster.hash.hex(),
            "agency": config.agency,
            "origin": str(Origin(roster.ledger, config.agency)),
        },
        f"{config.agency} is ready: pledger node run --dir {directory}",
        f"  ledger id {roster.hash.hex()}",
        "  print the ledger id where people can compare it: auditors need nothing else",
    )


@command("show", "pledger roster show roster.json")
@click.argument("roster_file", type=_FILE)
def show(roster_file: Path) -> None:
    """Show a roster: its agencies, and what may be recorded, by whom, on which act."""
    roster = parse_roster(roster_file.read_bytes())
    kinds = [
        [
            kind.name,
            kind.basis,
            f"{kind.act} {kind.article}",
            kind.office,
            kind.retention_months,
            ", ".join(sorted({role for role, _ in kind.writers})),
        ]
        for kind in roster.statute.kinds.values()
    ]
    output.show(
        _roster_value(roster),
        f"ledger {roster.ledger}, version {roster.version}, id {roster.hash.hex()}",
        Table(
            columns=["agency", "root key"], rows=[[name, key.hex()] for name, key in roster.agencies.items()]
        ),
        Table(columns=["kind", "basis", "act", "office", "months kept", "written by"], rows=kinds),
    )


def _roster_value(roster: Roster) -> dict[str, Any]:
    return {
        "ledger": roster.ledger,
        "ledger_id": roster.hash.hex(),
        "version": roster.version,
        "agencies": [{"id": name, "root_key": key.hex()} for name, key in roster.agencies.items()],
        "kinds": list(roster.statute.kinds),
    }


def _listen_of(url: str) -> str:
    """Host and port of a URL, to bind."""
    host = url.split("://", 1)[-1].split("/", 1)[0]
    return host if ":" in host else f"{host}:{443 if url.startswith('https') else 80}"


def _read_public(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_bytes()[:PUBLIC_BYTES_MAX])
    except ValueError as error:
        raise Malformed(f"{path}: no agency.json: {error}") from None
    match value:
        case {"ledger": str(ledger), "agency": str(agency), "root_key": str(key)}:
            return {
                "ledger": ledger,
                "agency": check_name(agency, "agency"),
                "root_key": HEX32.convert(key, None, None).hex(),
            }
    raise Malformed(f"{path}: an agency.json has ledger, agency and root_key")


def _root_key(directory: Path, passphrase_file: Path | None) -> SigningKey:
    passphrase = take_passphrase(passphrase_file, f"the root key in {directory}")
    return SigningKey(read_key_file(directory / ROOT_KEY_FILE, passphrase)["root"])


def _merge(roster: Roster, signatures: Sequence[Path]) -> bytes:
    """One note with the lines of all signature files, in order of name."""
    text, lines = signing_text(roster), set[str]()
    for path in signatures:
        signed = note.parse_note(path.read_bytes())
        if signed.text != text:
            raise Unproven(f"{path} signs another roster than this one")
        lines |= {note.format_line(line) for line in signed.lines}
    return note.format_note(text, sorted(lines))


def _parse_peers(peers: Sequence[str], roster: Roster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for peer in peers:
        name, _, url = peer.partition("=")
        if name not in roster.agencies or not url:
            raise Usage(f"--peer {peer}: give AGENCY=URL with an agency of the roster")
        found.setdefault(name, []).append(url)
    return found


def _card(directory: Path, roster: Roster, agency: str, url: str) -> Card:
    public = read_public_keys(directory / NODE_KEY_FILE).keys
    registrar = read_public_keys(directory / REGISTRAR_KEY_FILE).keys["registrar"]
    return Card(
        origin=str(Origin(roster.ledger, agency)),
        number=1,
        before=None,
        log_key=public["log"],
        witness_key=public["witness"],
        node_key=public["node"],
        desk_keys=(public["desk"],),
        sealing_key=public["sealing"],
        registrar_keys=(registrar,),
        urls=(url,),
        void_from={},
    )


def _adopt(roster: Roster, agency: str) -> Adopt:
    others = dict.fromkeys(name for name in roster.agencies if name != agency)
    return Adopt(version=roster.version, hash=roster.hash, cards=others)


def _install(path: Path, data: bytes) -> None:
    """Put a roster file in place; another one that stands there is never replaced."""
    if path.exists():
        if path.read_bytes() != data:
            raise Usage(f"{path} is of another roster: this agency belongs to a ledger already")
        return
    create_file(path, data)


COMMANDS = [
    group("agency", "Make an agency.", new),
    group("roster", "Found a ledger: draft, sign and finish its roster.", draft, sign, finish, show),
]
