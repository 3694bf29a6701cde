"""How far a receipt has come: what it proves, who has cosigned it, and whether that certifies it.

Everything follows from the ledger id: it gives the rosters, these the root keys, these the cards, and the
cards the log's and the witnesses' keys. No node is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cli.language import say
from ledger.card_entries import parse_card_entries
from ledger.certify import is_certified_by_cards, witness_verifier
from ledger.checkpoint import Checkpoint
from ledger.cosignature import is_cosigned
from ledger.errors import Unproven
from ledger.governance import Card
from ledger.names import parse_origin
from ledger.note import parse_note, verifier_of
from ledger.proof import parse_proof
from ledger.roster import Roster
from node.protocol import Procedure
from node.session import check_receipt, fetch_cards


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A receipt as it is now: what it proves, and who has cosigned it."""

    receipt: bytes
    index: int
    checkpoint: Checkpoint
    is_certified: bool
    cosigned: tuple[str, ...]
    missing: tuple[str, ...]


def read_cards(roster: Roster, ledger_id: bytes) -> Procedure[dict[str, Card]]:
    """Return the cards that a node's log pins, as far as the roster lets one believe them."""
    cards = parse_card_entries((yield from fetch_cards()), roster, ledger_id)
    return {name: one.card for name, one in cards.items()}


def judge_receipt(receipt: bytes, entry_id: bytes, roster: Roster, cards: Mapping[str, Card]) -> Standing:
    """Return what a receipt of this entry proves; raise `Unproven` or `Malformed` for a false one."""
    note = parse_note(parse_proof(receipt).checkpoint)
    own = parse_origin(note.text.split("\n")[0])
    if own.agency not in cards:
        raise Unproven(say("receipt.no_card", agency=own.agency))
    proof, _, checkpoint = check_receipt(receipt, entry_id, verifier_of(str(own), cards[own.agency].log_key))
    cosigned = tuple(
        name
        for name in roster.agencies
        if name in cards and is_cosigned(note, witness_verifier(roster.ledger, name, cards[name]))
    )
    return Standing(
        receipt=receipt,
        index=proof.index,
        checkpoint=checkpoint,
        is_certified=is_certified_by_cards(note, roster, cards),
        cosigned=cosigned,
        missing=tuple(name for name in roster.agencies if name not in cosigned),
    )
