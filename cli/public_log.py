"""Reading an agency's public log, checked from the ledger id on: rosters, leaves, chain, signed root.

What a node says is believed only as far as it proves it: the ledger id gives the roster, the roster the root
key, the opening the log key, and that key's checkpoint the rest. It cannot show that nothing newer exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cli.language import say
from ledger.chain import ChainState, Judged, extend, open_log
from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.errors import Malformed, Undecided, Unproven
from ledger.governance import Card
from ledger.log_verifier import Progress
from ledger.names import Origin
from ledger.note import NoteVerifier, parse_note, verifier_of
from ledger.roster import Roster
from ledger.tiles import Tile, bundles_of, decode_bundle
from ledger.tree import LogPath, Source
from ledger.verify import read_file, read_rosters
from node.http_client import HttpClient
from node.session import fetch_json

Take = Callable[[Judged], None]
"""Called with each leaf of a log and its verdict, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An agency's node, as somebody who submits to it needs it."""

    ledger_id: bytes
    ledger: str
    agency: str
    url: str
    sealing_key: bytes
    log: NoteVerifier


def ask_agency(client: HttpClient) -> str:
    """Return which agency's node this says it is (`target_of` proves it)."""
    status = client.run(fetch_json("/v1/status"))
    agency = status.get("agency")
    if not isinstance(agency, str):
        raise Malformed(say("public.no_node", url=client.base_url))
    return agency


def read_checked_rosters(source: Source, ledger_id: bytes) -> list[Roster]:
    """Return every roster version in hand; raise the broken rule's error if one does not hold."""
    rosters, found = read_rosters(source, ledger_id)
    if found:
        raise found[0].rule.error(str(found[0]))
    return rosters


def read_log(
    source: Source, ledger_id: bytes, rosters: list[Roster], agency: str, take: Take, progress: Progress
) -> ChainState:
    """Return the state at the end of an agency's log, having judged every leaf and the signed root.

    Leaves that break a rule are given to ``take`` with their violations and change nothing. Raises
    `Undecided` where something is not in hand, `Unproven` where the bytes are not those that were signed.
    """
    origin = Origin(rosters[0].ledger, agency)
    note = _file(source, origin, "checkpoint")
    size = parse_checkpoint(parse_note(note).text).size
    state = open_log(ledger_id, origin, {roster.hash: roster for roster in rosters})
    seen: set[bytes] = set()
    for tile in bundles_of(0, size):
        leaves = decode_bundle(_file(source, origin, tile), tile.width)
        state, judged = extend(state, leaves, seen.__contains__)
        seen.update(one.leaf.header.entry_id for one in judged if one.leaf is not None)
        for one in judged:
            take(one)
        progress(str(origin), state.size, size)
    checkpoint, _ = open_checkpoint(note, log_key(origin, current_card(state)))
    if (checkpoint.size, checkpoint.root) != (state.size, state.tree.root()):
        raise Unproven(say("public.root", origin=origin))
    return state


def current_card(state: ChainState) -> Card:
    """Return the agency's card that holds at the end of the log; raise `Unproven` if there is none."""
    placed = state.authority.card
    if placed is None:
        raise Unproven(say("public.no_opening", origin=state.origin))
    return placed.card


def log_key(origin: Origin, card: Card) -> NoteVerifier:
    """Return the verifier of the log's checkpoints."""
    return verifier_of(str(origin), card.log_key)


def target_of(state: ChainState, url: str) -> Target:
    """Return how to submit to the agency whose log this is, at ``url``."""
    card = current_card(state)
    return Target(
        ledger_id=state.ledger_id,
        ledger=state.origin.ledger,
        agency=state.origin.agency,
        url=url,
        sealing_key=card.sealing_key,
        log=log_key(state.origin, card),
    )


def _file(source: Source, origin: Origin, file: str | Tile) -> bytes:
    path = LogPath(origin.agency, origin.era, "", file)
    data = read_file(source, path)
    if data is None:
        named = file if isinstance(file, str) else say("public.bundle")
        raise Undecided(say("public.no_file", origin=origin, file=named))
    return data
