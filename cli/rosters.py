"""Rosters: the first one founds a ledger, each later one changes who is in it or what may be recorded.

What passes between the agencies are small public files: ``agency.json`` of each, the drafted roster, and one
signature of each. A later version is drafted from the one that an agency directory has, signed by as many as
the rule asks (``ledger.roster``), and finished at one node, from which it reaches the others.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import REGISTRAR_KEY_FILE, ROOT_KEY_FILE, directory_option
from cli.audit import open_source
from cli.command import command, group, now
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32, ISO_DATE, day_number
from cli.passphrase import passphrase_option, take_passphrase
from cli.public_log import read_checked_rosters
from cli.roster_draft import (
    Wish,
    changes,
    first_roster,
    needed,
    next_roster,
    read_all_public,
    read_statute,
    votes_value,
)
from ledger import note
from ledger.entry import sign_public
from ledger.errors import Unproven
from ledger.governance import Adopt, Card, Governance, format_governance
from ledger.keys import SEED_BYTES, SigningKey
from ledger.names import Origin, recovery_key_name, root_key_name
from ledger.roster import (
    ROSTER_BYTES_MAX,
    Roster,
    check_chain,
    check_first,
    check_next,
    parse_roster,
    signing_text,
)
from ledger.tree import RosterPath
from ledger.verify import read_file as read_tree_file
from node.config import FILE_NAME, Config, add_peers, load_config
from node.durable_file import create_file, read_file
from node.inspection import open_files
from node.key_file import read_key_file, read_public_keys, write_key_file
from node.opening import OPENING_FILE, save_opening
from node.rosters import ROSTER_DIRECTORY, load_rosters
from node.wiring import NODE_KEY_FILE

RECOVERY = "recovery"
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TARGET = click.Path(path_type=Path, dir_okay=False)


@command(
    "draft",
    "pledger roster draft a/agency.json b/agency.json c/agency.json -o roster.json",
    "pledger roster draft --next d/agency.json --leave c --dir a -o roster-2.json",
)
@click.argument("agencies", nargs=-1, type=_FILE)
@click.option("-o", "target", required=True, type=_TARGET)
@click.option("--next", "is_next", is_flag=True, help="The version after the newest one in --dir.")
@click.option("--leave", "leaving", multiple=True, metavar="AGENCY", help="An agency that leaves (--next).")
@click.option(
    "--head-from", metavar="URL", help="The node that shows where its log ends, if not that of --dir."
)
@click.option(
    "--statute", "statute_file", type=_FILE, help="Another list of kinds than the shipped or present one."
)
@click.option("--recovery-key", type=HEX32, help="Outside key (hex), needed with one or two agencies.")
@click.option("--sunset", type=ISO_DATE, help="Last day on which staff may write.")
@directory_option
def draft(
    agencies: Sequence[Path],
    target: Path,
    is_next: bool,
    leaving: Sequence[str],
    head_from: str | None,
    statute_file: Path | None,
    recovery_key: bytes | None,
    sunset: datetime.date | None,
    directory: Path,
) -> None:
    """Draft a roster from the agencies' public files: the first of a new ledger, or the next version.

    With --next the files are those of agencies that join, or that have a new root key.
    """
    wish = Wish(
        public={one["agency"]: one for one in read_all_public(agencies)},
        statute=None if statute_file is None else read_statute(statute_file),
        recovery_key=recovery_key,
        sunset=None if sunset is None else day_number(sunset),
    )
    if is_next:
        config = load_config(directory)
        before = load_rosters(config)[0]
        raw = next_roster(before, wish, leaving, head_from or config.url)
    elif leaving or head_from:
        raise Usage("--leave and --head-from are for a later version: add --next")
    else:
        before, raw = [], first_roster(wish)
    roster = parse_roster(raw)
    if before:
        check_chain(before, roster)
    target.write_bytes(raw)
    output.show(
        _roster_value(roster) | votes_value(before, roster),
        f"drafted {target}: ledger {roster.ledger}, version {roster.version}, "
        f"{len(roster.agencies)} agencies, {len(roster.statute.kinds)} kinds of record",
        *changes(before, roster),
        f"  {needed(before, roster)}",
        f"  next: whoever signs runs pledger roster sign {target}",
    )


@command("recovery-key", "pledger roster recovery-key -o recovery.key")
@click.option(
    "-o", "target", required=True, type=_TARGET, help="The key file, to be kept outside of all agencies."
)
@passphrase_option
def recovery_key_command(target: Path, passphrase_file: Path | None) -> None:
    """Make the outside key that a ledger of one or two agencies needs: it votes on the next roster only."""
    passphrase = take_passphrase(passphrase_file, "the recovery key", is_new=True)
    seed = os.urandom(SEED_BYTES)
    write_key_file(target, RECOVERY, {RECOVERY: seed}, passphrase, os.urandom)
    public = SigningKey(seed).public_key.hex()
    output.show(
        {"key_file": str(target), "recovery_key": public},
        f"made {target}; its public key is {public}",
        f"  next: pledger roster draft ... --recovery-key {public}",
    )


@command(
    "sign",
    "pledger roster sign roster.json --dir district-7 -o district-7.sig",
    "pledger roster sign roster-2.json --recovery-key-file recovery.key -o recovery.sig",
)
@click.argument("roster_file", type=_FILE)
@click.option("-o", "target", required=True, type=_TARGET)
@click.option(
    "--recovery-key-file", type=_FILE, help="Sign with the outside key instead of an agency's root key."
)
@directory_option
@passphrase_option
def sign(
    roster_file: Path,
    target: Path,
    recovery_key_file: Path | None,
    directory: Path,
    passphrase_file: Path | None,
) -> None:
    """Sign a drafted roster with the agency's root key, or with the outside recovery key."""
    roster = parse_roster(read_file(roster_file, bytes_max=ROSTER_BYTES_MAX))
    if recovery_key_file is not None:
        passphrase = take_passphrase(passphrase_file, f"the recovery key in {recovery_key_file}")
        key, name = SigningKey(read_key_file(recovery_key_file, passphrase)[RECOVERY]), RECOVERY
        key_name = recovery_key_name(roster.ledger)
        remarks: list[str] = []
    else:
        config = load_config(directory)
        key, name, key_name, remarks = _as_agency(roster, roster_file, config, passphrase_file)
    text = signing_text(roster)
    target.write_bytes(note.format_note(text, [note.sign_note(text, key_name, key)]))
    output.show(
        {
            "signature": str(target),
            "version": roster.version,
            "hash": roster.hash.hex(),
            "unchecked": remarks,
        },
        f"signed version {roster.version} for {name}: {target}",
        *(f"  {one}" for one in remarks),
        "  next: send it to the other agencies; with enough signatures pledger roster finish takes them",
    )


@command(
    "finish",
    "pledger roster finish roster.json a.sig b.sig c.sig --dir a --peer b=http://10.0.0.8:8700",
    "pledger roster finish roster-2.json a.sig b.sig --dir d --from http://10.0.0.7:8700 --ledger 3f9c...",
)
@click.argument("roster_file", type=_FILE)
@click.argument("signatures", nargs=-1, required=True, type=_FILE)
@click.option("--peer", "peers", multiple=True, metavar="AGENCY=URL", help="Where another agency's node is.")
@click.option("--from", "place", metavar="URL|PATH", help="Who joins: where the earlier versions are.")
@click.option("--ledger", "ledger_id", type=HEX32, help="Who joins: the ledger id, compared by another way.")
@directory_option
@passphrase_option
def finish(
    roster_file: Path,
    signatures: Sequence[Path],
    peers: Sequence[str],
    place: str | None,
    ledger_id: bytes | None,
    directory: Path,
    passphrase_file: Path | None,
) -> None:
    """Take a signed roster into the agency's directory; who is new signs the opening of its log."""
    roster = parse_roster(read_file(roster_file, bytes_max=ROSTER_BYTES_MAX))
    config = load_config(directory)
    signed = _merge(roster, signatures)
    earlier = _earlier(config, roster, place, ledger_id)
    if earlier:
        check_chain([one for one, _ in earlier], roster)
        check_next(earlier[-1][0], roster, signed)
    else:
        check_first(roster, signed)
    addresses = _parse_peers(peers, roster)
    is_new = not (directory / OPENING_FILE).exists()
    entry = _opening(roster, earlier, config, passphrase_file, roster_file) if is_new else None
    versions = [*earlier, (roster, signed)]
    for one, signatures_of in versions:
        _install(directory, one, signatures_of)
    if entry is not None:
        save_opening(directory, entry)
    if addresses:
        path = directory / FILE_NAME
        path.write_text(add_peers(path.read_text(), addresses))
    first = versions[0][0]
    output.show(
        {
            "ledger_id": first.hash.hex(),
            "version": roster.version,
            "agency": config.agency,
            "origin": str(Origin(roster.ledger, config.agency)),
        },
        *_finished(first, roster, directory, config, is_new),
    )


@command("show", "pledger roster show roster.json")
@click.argument("roster_file", type=_FILE)
def show(roster_file: Path) -> None:
    """Show a roster: its agencies, and what may be recorded, by whom, on which act."""
    roster = parse_roster(read_file(roster_file, bytes_max=ROSTER_BYTES_MAX))
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
        f"ledger {roster.ledger}, version {roster.version}, {_named(roster)}",
        Table(
            columns=["agency", "root key"], rows=[[name, key.hex()] for name, key in roster.agencies.items()]
        ),
        Table(columns=["kind", "basis", "act", "office", "months kept", "written by"], rows=kinds),
    )


COMMANDS = [
    group(
        "roster",
        "Found a ledger, or change it: draft, sign and finish its roster.",
        draft,
        recovery_key_command,
        sign,
        finish,
        show,
    ),
]


def _as_agency(
    roster: Roster, roster_file: Path, config: Config, passphrase_file: Path | None
) -> tuple[SigningKey, str, str, list[str]]:
    """The root key of the directory, its agency and name, and what of the roster could not be compared."""
    key = _root_key(config.directory, passphrase_file)
    remarks: list[str] = []
    voting = roster
    if roster.version > 1:
        versions = load_rosters(config)[0]
        check_chain(versions[: roster.version - 1], roster)
        voting = versions[roster.version - 2]
        remarks = _check_ends(roster, config)
    if voting.agencies.get(config.agency) != key.public_key:
        raise Usage(
            f"version {voting.version} of the roster does not name {config.agency} with the root key in "
            f"{config.directory}: {roster_file} is not for it to sign"
        )
    return key, config.agency, root_key_name(roster.ledger, config.agency), remarks


def _check_ends(roster: Roster, config: Config) -> list[str]:
    """Compare where logs end with the copies here; a line for each of which there is none."""
    unknown = []
    for name, end in roster.ends.items():
        root = _held_root(config, Origin(roster.ledger, name, end.head.era), end.head.size)
        if root is None:
            unknown.append(
                f"not compared: {name} ends at size {end.head.size}, of which there is no copy here"
            )
        elif root != end.head.root:
            raise Unproven(
                f"the roster ends {name} at size {end.head.size} with root {end.head.root.hex()}, the copy "
                f"held here has {root.hex()}: do not sign it, ask whoever drafted it"
            )
    return unknown


def _held_root(config: Config, origin: Origin, size: int) -> bytes | None:
    if not (config.data / "log.db").is_file():
        return None
    with open_files(config) as files:
        return files.root_of(origin, size)


def _earlier(
    config: Config, roster: Roster, place: str | None, ledger_id: bytes | None
) -> list[tuple[Roster, bytes]]:
    """The versions before ``roster`` with their signatures; who joins reads them from ``place``."""
    if roster.version == 1:
        return []
    if (config.directory / ROSTER_DIRECTORY / "1.json").exists():
        rosters, pairs = load_rosters(config)
        return [(one, pairs[one.version][1]) for one in rosters[: roster.version - 1]]
    if place is None or ledger_id is None:
        raise Usage(
            f"{config.directory} has no earlier version: add --from (a node or a dossier) and --ledger (the "
            "ledger id, as the agencies have printed it)"
        )
    with open_source(place) as source:
        rosters = read_checked_rosters(source, ledger_id)
        notes = [read_tree_file(source, RosterPath(one.version, is_note=True)) or b"" for one in rosters]
    return list(zip(rosters, notes, strict=True))[: roster.version - 1]


def _opening(
    roster: Roster,
    earlier: Sequence[tuple[Roster, bytes]],
    config: Config,
    passphrase_file: Path | None,
    roster_file: Path,
) -> Any:
    """The opening of a new agency's log, signed by its root key."""
    key = _root_key(config.directory, passphrase_file)
    if roster.agencies.get(config.agency) != key.public_key:
        raise Usage(f"{roster_file} does not name {config.agency} with the root key in {config.directory}")
    opening: list[Governance] = [_card(config, roster), _adopt(roster, config.agency)]
    return sign_public(
        [format_governance(one) for one in opening],
        ledger_id=earlier[0][0].hash if earlier else roster.hash,
        agency=config.agency,
        created_day=day_number(now().date()),
        signer=key,
    )


def _card(config: Config, roster: Roster) -> Card:
    public = read_public_keys(config.directory / NODE_KEY_FILE).keys
    registrar = read_public_keys(config.directory / REGISTRAR_KEY_FILE).keys["registrar"]
    return Card(
        origin=str(Origin(roster.ledger, config.agency)),
        number=1,
        before=None,
        log_key=public["log"],
        witness_key=public["witness"],
        node_key=public["node"],
        desk_keys=(public["desk"],),
        sealing_key=public["sealing"],
        registrar_keys=(registrar,),
        urls=(config.url,),
        void_from={},
    )


def _adopt(roster: Roster, agency: str) -> Adopt:
    others = dict.fromkeys(name for name in roster.agencies if name != agency)
    return Adopt(version=roster.version, hash=roster.hash, cards=others)


def _install(directory: Path, roster: Roster, signatures: bytes) -> None:
    """Put a version in place; another one that stands there is never replaced, more signatures may come."""
    folder = directory / ROSTER_DIRECTORY
    folder.mkdir(exist_ok=True)
    path = folder / f"{roster.version}.json"
    if not path.exists():
        create_file(folder / f"{roster.version}.note", signatures)
        create_file(path, roster.raw)  # last: a version is there once its bytes are
    elif path.read_bytes() != roster.raw:
        raise Usage(f"{path} is of another roster: this agency belongs to a ledger already")


def _finished(first: Roster, roster: Roster, directory: Path, config: Config, is_new: bool) -> list[str]:
    ledger_id = f"  ledger id {first.hash.hex()}"
    if is_new:
        return [
            f"{config.agency} is ready: pledger node run --dir {directory}",
            ledger_id,
            "  print the ledger id where people can compare it: auditors need nothing else",
        ]
    return [
        f"{config.agency} has version {roster.version}; from here it reaches the other agencies",
        ledger_id,
        f"  next: start the node again (pledger node run --dir {directory})",
    ]


def _named(roster: Roster) -> str:
    return f"id {roster.hash.hex()}" if roster.version == 1 else f"hash {roster.hash.hex()}"


def _roster_value(roster: Roster) -> dict[str, Any]:
    named = {"ledger_id": roster.hash.hex()} if roster.version == 1 else {}
    return {
        "ledger": roster.ledger,
        **named,
        "hash": roster.hash.hex(),
        "version": roster.version,
        "agencies": [{"id": name, "root_key": key.hex()} for name, key in roster.agencies.items()],
        "kinds": list(roster.statute.kinds),
    }


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
