"""``pledger receipt wait``: until a quorum of the agencies has cosigned a checkpoint that covers an entry.

Everything follows from the ledger id: it gives the rosters, these the root keys, these the cards, and the
cards the log's and the witnesses' keys. So no workspace and no secret is needed, and no node is believed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, group, home_option
from cli.failures import Usage
from cli.language import say
from cli.parameters import HEX32
from cli.public_log import read_checked_rosters
from cli.workspace import open_workspace
from ledger.card_entries import parse_card_entries
from ledger.certify import is_certified_by_cards, witness_verifier
from ledger.cosignature import is_cosigned
from ledger.errors import Unproven
from ledger.governance import Card
from ledger.leaf import parse_leaf
from ledger.names import parse_origin
from ledger.note import Note, parse_note, verifier_of
from ledger.proof import parse_proof
from ledger.roster import Roster
from node.durable_file import read_file, replace_file
from node.http_client import HttpClient
from node.protocol import Procedure, Request, check_answer
from node.session import check_receipt, fetch_receipt
from node.sources import HttpSource

POLL_S = 1.0
"""A checkpoint is certified some seconds after it is published."""
TIMEOUT_S = 60.0
PROOF_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A receipt as it is now: what it proves, and who has cosigned it."""

    receipt: bytes
    index: int
    size: int
    is_certified: bool
    cosigned: tuple[str, ...]
    missing: tuple[str, ...]


@command(
    "wait",
    "pledger receipt wait ENTRY -o marks.tlog-proof",
    "pledger receipt wait old.tlog-proof -o new.tlog-proof --node http://127.0.0.1:8700 --ledger 3f9c...",
)
@click.argument("entry", metavar="ENTRY|FILE")
@click.option("-o", "target", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--timeout", "timeout_s", type=float, default=TIMEOUT_S, show_default=True, help="Seconds.")
@click.option("--node", "url", help="The agency's node; otherwise that of the workspace.")
@click.option("--ledger", "ledger_id", type=HEX32, help="The ledger id; otherwise that of the workspace.")
@home_option
def wait(
    entry: str, target: Path, timeout_s: float, url: str | None, ledger_id: bytes | None, home: Path
) -> None:
    """Wait until a quorum of the agencies has cosigned what covers an entry, and write that receipt.

    ENTRY is an entry id (64 digits); FILE a receipt, which may be the file to write.
    """
    if url is None or ledger_id is None:
        workspace = open_workspace(home)
        url, ledger_id = url or workspace.target().url, ledger_id or workspace.ledger_id
    entry_id = _entry_id(entry)
    end = time.monotonic() + timeout_s
    with HttpClient(url) as client:
        roster = read_checked_rosters(HttpSource(client), ledger_id)[-1]
        while True:
            standing = client.run(standing_of(entry_id, roster, ledger_id))
            if standing.is_certified or len(roster.agencies) == 1 or time.monotonic() >= end:
                break
            time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))
    replace_file(target, standing.receipt, mode=0o644)
    output.show(_value(standing, entry_id, target), *_lines(standing, roster, target))
    if not standing.is_certified and len(roster.agencies) > 1:
        output.finish(output.INCOMPLETE)


COMMANDS = [group("receipt", "Follow a receipt until it is certified.", wait)]


def standing_of(entry_id: bytes, roster: Roster, ledger_id: bytes) -> Procedure[Standing]:
    """Return the node's newest receipt of an entry, and who has cosigned its checkpoint.

    Raises `ProblemAnswer` (404) for an entry that the node has not, `Unproven` for a receipt that is false.
    """
    receipt = yield from fetch_receipt(entry_id)
    response = yield Request(method="GET", path="/v1/cards")
    check_answer(response)
    signed = parse_card_entries(response.body, roster, ledger_id)
    cards = {name: one.card for name, one in signed.items()}
    note = parse_note(parse_proof(receipt).checkpoint)
    own = parse_origin(note.text.split("\n")[0])
    if own.agency not in cards:
        raise Unproven(say("receipt.no_card", agency=own.agency))
    proof, _, checkpoint = check_receipt(receipt, entry_id, verifier_of(str(own), cards[own.agency].log_key))
    cosigned = _cosigners(note, roster, cards)
    return Standing(
        receipt=receipt,
        index=proof.index,
        size=checkpoint.size,
        is_certified=is_certified_by_cards(note, roster, cards),
        cosigned=cosigned,
        missing=tuple(name for name in roster.agencies if name not in cosigned),
    )


def _cosigners(note: Note, roster: Roster, cards: Mapping[str, Card]) -> tuple[str, ...]:
    return tuple(
        name
        for name in roster.agencies
        if name in cards and is_cosigned(note, witness_verifier(roster.ledger, name, cards[name]))
    )


def _entry_id(entry: str) -> bytes:
    path = Path(entry)
    if path.is_file():
        leaf = parse_proof(read_file(path, bytes_max=PROOF_BYTES_MAX)).extra
        if leaf is None:
            raise Usage(say("receipt.no_leaf", path=path))
        return parse_leaf(leaf).header.entry_id
    return HEX32.convert(entry, None, None)


def _value(standing: Standing, entry_id: bytes, target: Path) -> dict[str, Any]:
    return {
        "file": str(target),
        "entry_id": entry_id.hex(),
        "index": standing.index,
        "size": standing.size,
        "certified": standing.is_certified,
        "cosigned": list(standing.cosigned),
        "missing": list(standing.missing),
    }


def _lines(standing: Standing, roster: Roster, target: Path) -> list[str]:
    if len(roster.agencies) == 1:
        return [say("receipt.alone", path=target, index=standing.index)]
    names = ", ".join(standing.cosigned) or "-"
    if standing.is_certified:
        return [say("receipt.certified", path=target, index=standing.index, agencies=names)]
    missing = ", ".join(standing.missing)
    return [
        say(
            "receipt.waits",
            count=len(standing.cosigned),
            needed=roster.quorum,
            agencies=names,
            missing=missing,
        ),
        say("receipt.again", path=target),
    ]
