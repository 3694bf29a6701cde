"""``pledger receipt wait``: until a quorum of the agencies has cosigned a checkpoint that covers an entry.

Everything follows from the ledger id: it gives the rosters, these the root keys, these the cards, and the
cards the log's and the witnesses' keys. So no workspace and no secret is needed, and no node is believed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, group, home_option
from cli.failures import Usage
from cli.language import say
from cli.outbox import entry_named
from cli.parameters import HEX32
from cli.public_log import read_checked_rosters
from cli.standing import Standing, judge_receipt, read_cards
from cli.workspace import open_workspace
from ledger.leaf import parse_leaf
from ledger.proof import parse_proof
from ledger.roster import Roster
from node.durable_file import read_file, replace_file
from node.http_client import HttpClient
from node.protocol import Procedure
from node.session import fetch_receipt
from node.sources import HttpSource

POLL_S = 1.0
"""A checkpoint is certified some seconds after it is published."""
TIMEOUT_S = 60.0
PROOF_BYTES_MAX = 1024 * 1024


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

    ENTRY is an entry id, or the first six or more digits of one in the outbox; FILE a receipt, which may be
    the file to write.
    """
    if url is None or ledger_id is None:
        workspace = open_workspace(home)
        url, ledger_id = url or workspace.target().url, ledger_id or workspace.ledger_id
    entry_id = _entry_id(entry, home)
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
    cards = yield from read_cards(roster, ledger_id)
    return judge_receipt(receipt, entry_id, roster, cards)


def _entry_id(entry: str, home: Path) -> bytes:
    path = Path(entry)
    if path.is_file():
        leaf = parse_proof(read_file(path, bytes_max=PROOF_BYTES_MAX)).extra
        if leaf is None:
            raise Usage(say("receipt.no_leaf", path=path))
        return parse_leaf(leaf).header.entry_id
    if len(entry) == 64:
        return HEX32.convert(entry, None, None)
    return entry_named(home / "outbox", entry.lower())


def _value(standing: Standing, entry_id: bytes, target: Path) -> dict[str, Any]:
    return {
        "file": str(target),
        "entry_id": entry_id.hex(),
        "index": standing.index,
        "size": standing.checkpoint.size,
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
