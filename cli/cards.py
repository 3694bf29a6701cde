"""The agency's next card: keys rotated, registrars replaced, addresses changed; signed by the root key.

Three steps, on one machine or on three: ``agency card`` makes the new secrets and drafts the card where the
node's and registrar's key files are; ``agency sign`` signs the draft where the root key is; ``agency post``
brings it to the node. What passes between them holds no secret. The new secrets are in the key files before
the card is signed, so a node started since has them in hand when the card is sequenced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from cli import output
from cli.agency import NODE_SECRETS, REGISTRAR_KEY_FILE, ROOT_KEY_FILE, directory_option, new
from cli.command import command, group, now
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32, LOG_PLACE, day_number
from cli.passphrase import passphrase_option, take_passphrase
from ledger import codec
from ledger.authority import PlacedCard
from ledger.entry import Entry, sign_public
from ledger.errors import Malformed
from ledger.governance import KEYS_MAX, Card, format_governance, parse_governance
from ledger.keys import SEED_BYTES, SigningKey
from ledger.names import Place
from ledger.note import verifier_of
from node.config import load_config
from node.durable_file import read_file
from node.http_client import HttpClient
from node.inspection import card_in_force
from node.key_file import (
    MASTER,
    SEALING,
    change_key_file,
    public_key_of,
    read_key_file,
    read_public_keys,
    use_of,
)
from node.rosters import load_rosters
from node.session import check_receipt, submit
from node.submission import (
    ENTRY_FILE_BYTES_MAX,
    Submission,
    format_entry_file,
    format_submission,
    parse_entry_file,
)
from node.wiring import NODE_KEY_FILE

REGISTRAR = "registrar"
ROTATED = (*(name for name in NODE_SECRETS if name not in ("log", MASTER)), REGISTRAR)
"""A log key changes only with its era, the master key with no card."""
DRAFT = 1
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TARGET = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be different on the next card."""

    rotate: Sequence[str]
    add: Sequence[bytes]
    drop: Sequence[bytes]
    void_from: Place | None
    urls: Sequence[str]


@command(
    "card",
    "pledger agency card --rotate witness --rotate node --dir district-7 -o card.draft",
    "pledger agency card --rotate registrar --void-from 1:250 --dir district-7 -o card.draft",
)
@click.option("--rotate", multiple=True, type=click.Choice(ROTATED), help="A key to make anew.")
@click.option("--add-registrar", "add", multiple=True, type=HEX32, help="Public key of one more registrar.")
@click.option("--drop-registrar", "drop", multiple=True, type=HEX32, help="Public key of one who goes.")
@click.option("--void-from", type=LOG_PLACE, help="Grants by those who go end, if made from here on.")
@click.option("--url", "urls", multiple=True, help="Where others reach this node from now on.")
@click.option("-o", "target", required=True, type=_TARGET, help="The draft, for `pledger agency sign`.")
@directory_option
@passphrase_option
def card(
    rotate: Sequence[str],
    add: Sequence[bytes],
    drop: Sequence[bytes],
    void_from: Place | None,
    urls: Sequence[str],
    target: Path,
    directory: Path,
    passphrase_file: Path | None,
) -> None:
    """Draft the agency's next card, and put the new keys that it names into the key files.

    The keys in force stay in the files, so until the card is sequenced nothing changes.
    """
    config = load_config(directory)
    ledger_id = load_rosters(config)[0][0].hash
    before = card_in_force(config)
    replaced = _registrars_in_hand(directory, before.card) if REGISTRAR in rotate else []
    changes = Changes(rotate=rotate, add=add, drop=[*drop, *replaced], void_from=void_from, urls=urls)
    made = new_keys(directory, before, changes, passphrase_file, before.card.number + 1)
    following = next_card(before, made, changes)
    body = format_governance(following)
    target.write_bytes(codec.encode([DRAFT, ledger_id, config.agency, body]))
    ours = ", ".join(sorted(set(rotate) - {REGISTRAR}))
    output.show(
        {"draft": str(target), "number": following.number, "rotated": sorted(rotate)},
        f"drafted card {following.number} of {config.agency}: {target}",
        _table(before.card, following),
        *([f"  start the node again now: it then has the new {ours} key in hand"] if ours else []),
        f"  next: pledger agency sign {target} --root-key {directory / ROOT_KEY_FILE} -o card.entry",
    )


@command("sign", "pledger agency sign card.draft --root-key /media/stick/root.key -o card.entry")
@click.argument("draft", type=_FILE)
@click.option("--root-key", "key_file", required=True, type=_FILE, help="The agency's root key file.")
@click.option("-o", "target", required=True, type=_TARGET, help="The signed card.")
@passphrase_option
def sign(draft: Path, key_file: Path, target: Path, passphrase_file: Path | None) -> None:
    """Sign a drafted card with the root key, where that key lies; needs nothing else of the agency."""
    ledger_id, agency, body = _parse_draft(draft)
    drafted = parse_governance(body)
    if not isinstance(drafted, Card):
        raise Malformed(f"{draft}: no card in it")
    key = SigningKey(
        read_key_file(key_file, take_passphrase(passphrase_file, f"the root key in {key_file}"))["root"]
    )
    entry = sign_public(
        [body], ledger_id=ledger_id, agency=agency, created_day=day_number(now().date()), signer=key
    )
    target.write_bytes(format_entry_file(entry))
    output.show(
        {"entry": str(target), "entry_id": entry.header.entry_id.hex(), "number": drafted.number},
        f"signed card {drafted.number} of {agency} in ledger {ledger_id.hex()}: {target}",
        _table(None, drafted),
        f"  next: pledger agency post {target} --dir (the agency's directory)",
    )


@command("post", "pledger agency post card.entry --dir district-7")
@click.argument("entry_file", type=_FILE)
@click.option("--url", help="The node, if not at the address in node.toml.")
@directory_option
def post(entry_file: Path, url: str | None, directory: Path) -> None:
    """Bring what the root key signed to the node, which puts it in the log."""
    entry = parse_entry_file(read_file(entry_file, bytes_max=ENTRY_FILE_BYTES_MAX), str(entry_file))
    config = load_config(directory)
    if entry.header.agency != config.agency:
        raise Usage(f"{entry_file} is of {entry.header.agency}, {directory} is of {config.agency}")
    index = _post(entry, card_in_force(config).card, url or config.url)
    output.show(
        {"entry_id": entry.header.entry_id.hex(), "index": index},
        f"sequenced at index {index} of the log of {config.agency}; it holds from here on",
        f"  next: pledger node doctor --dir {directory}",
    )


COMMANDS = [group("agency", "Make an agency, and issue its cards.", new, card, sign, post)]


def next_card(before: PlacedCard, made: dict[str, bytes], changes: Changes) -> Card:
    """Return the card after ``before``; ``made`` has the new public keys by use."""
    old = before.card
    registrars = [key for key in old.registrar_keys if key not in changes.drop]
    if REGISTRAR in made:
        registrars = [made[REGISTRAR], *registrars]
    registrars += [key for key in changes.add if key not in registrars]
    if not registrars:
        raise Usage("a card names at least one registrar: add --rotate registrar or --add-registrar")
    dropped = sorted(set(old.registrar_keys) - set(registrars))
    if changes.void_from is not None and not dropped:
        raise Usage("--void-from is for registrars who go: add --drop-registrar or --rotate registrar")
    desks = (made["desk"], *old.desk_keys)[:KEYS_MAX] if "desk" in made else old.desk_keys
    following = replace(
        old,
        number=old.number + 1,
        before=before.hash,
        witness_key=made.get("witness", old.witness_key),
        node_key=made.get("node", old.node_key),
        desk_keys=desks,
        sealing_key=made.get(SEALING, old.sealing_key),
        registrar_keys=tuple(registrars),
        urls=tuple(changes.urls) or old.urls,
        void_from={} if changes.void_from is None else dict.fromkeys(dropped, changes.void_from),
    )
    if replace(following, number=old.number, before=old.before, void_from=old.void_from) == old:
        raise Usage(
            "nothing would change: say what, with --rotate, --add-registrar, --drop-registrar or --url"
        )
    return following


def new_keys(
    directory: Path, before: PlacedCard, changes: Changes, passphrase_file: Path | None, number: int
) -> dict[str, bytes]:
    """Make the keys to rotate, keep them in their key files, and return their public keys by use.

    ``number`` is that of the card that brings them.

    A card drafted a second time takes the keys that the first draft made: its number is theirs.
    """
    made: dict[str, bytes] = {}
    wanted, suffix = set(changes.rotate), f".{number}"
    for file, uses in ((NODE_KEY_FILE, wanted - {REGISTRAR}), (REGISTRAR_KEY_FILE, wanted & {REGISTRAR})):
        path = directory / file
        names = {use: f"{use}{suffix}" for use in sorted(uses)}
        held = read_public_keys(path).keys if names else {}
        fresh = {name: os.urandom(SEED_BYTES) for name in names.values() if name not in held}
        if fresh:
            passphrase = take_passphrase(passphrase_file, f"the keys in {path}")
            change_key_file(path, fresh, _retired(held, before.card, suffix), passphrase, os.urandom)
        public = {**held, **{name: public_key_of(name, seed) for name, seed in fresh.items()}}
        made |= {use: public[name] for use, name in names.items()}
    return made


def _retired(held: Mapping[str, bytes], card: Card, suffix: str) -> list[str]:
    """Names of secrets that nothing needs any more; sealing and desk secrets are kept for what was sealed."""
    return [
        name
        for name, public in held.items()
        if use_of(name) in ("witness", "node", REGISTRAR)
        and public not in card.signing_keys
        and not name.endswith(suffix)
    ]


def _registrars_in_hand(directory: Path, card: Card) -> list[bytes]:
    """The registrar keys of the card whose secret lies in the directory."""
    held = read_public_keys(directory / REGISTRAR_KEY_FILE).keys.values()
    return [key for key in card.registrar_keys if key in held]


def _parse_draft(path: Path) -> tuple[bytes, str, bytes]:
    """The ledger, agency and card of a draft; `Malformed` for any other file."""
    match codec.decode(read_file(path, bytes_max=ENTRY_FILE_BYTES_MAX), bytes_max=ENTRY_FILE_BYTES_MAX):
        case [int(version), bytes(ledger_id), str(agency), bytes(body)] if version == DRAFT:
            return ledger_id, agency, body
    raise Malformed(f"{path}: no drafted card: make one with pledger agency card")


def _post(entry: Entry, in_force: Card, url: str) -> int:
    """Submit a signed public entry; return its index, proven by the receipt."""
    body = format_submission(Submission(entry=entry), in_force.sealing_key, os.urandom(SEED_BYTES))
    with HttpClient(url) as client:
        receipt = client.run(submit(body))
    verifier = verifier_of(in_force.origin, in_force.log_key)
    return check_receipt(receipt, entry.header.entry_id, verifier)[0].index


def _table(before: Card | None, following: Card) -> Table:
    """What a card says, and which of it is new."""
    rows = [
        [what, "" if before is None or value in was else "new", value]
        for what, value, was in _lines(before, following)
    ]
    return Table(columns=["what", "", "value"], rows=rows)


def _lines(before: Card | None, following: Card) -> Iterator[tuple[str, str, list[str]]]:
    """What, value, and the values that the card before had for it."""
    old = [before] if before else []
    for what, values in _values(following).items():
        was = [value for card in old for value in _values(card)[what]]
        yield from ((what, value, was) for value in values)
    for key, place in following.void_from.items():
        yield "grants end that were made by", f"{key.hex()} since {place.era}:{place.index}", []


def _values(card: Card) -> dict[str, list[str]]:
    return {
        "witness key": [card.witness_key.hex()],
        "node key": [card.node_key.hex()],
        "desk keys": [key.hex() for key in card.desk_keys],
        "sealing key": [card.sealing_key.hex()],
        "registrar keys": [key.hex() for key in card.registrar_keys],
        "addresses": list(card.urls),
    }
