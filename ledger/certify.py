"""Certification: up to which size a quorum of agencies holds a log, by their cosignatures.

With q = floor(2n/3)+1 of n agencies (the owner's own counted) a checkpoint is certified: held by a quorum,
dated by their clocks. It says nothing about whether a grade is true, and decides no leaf; ``chain`` must
never import this module. Counted is one cosignature per agency, by the witness key of the card that the
log's last adopt pins for it (the own card for the owner); a key that two agencies name counts once. At n = 1
nothing is certified.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.authority import Authority
from ledger.cosignature import is_cosigned
from ledger.governance import Card
from ledger.names import witness_key_name
from ledger.note import TYPE_COSIGNATURE, Note, NoteVerifier, verifier_of


def is_certified(note: Note, authority: Authority, cards: Mapping[bytes, Card]) -> bool:
    """Whether ``note`` (a checkpoint with cosignatures) is certified under the state at its size.

    ``cards`` maps record hashes to cards that stand in valid logs, signed by their agency's root key.
    After an adopt of a later roster version the quorum of the version before is needed too (not judged by
    this version of pledger: such a log counts as not certified).
    """
    roster = authority.roster
    if roster is None or len(roster.agencies) == 1 or roster.version != 1:
        return False
    return len({one.public_key for one in _cosigners(note, authority, cards)}) >= roster.quorum


def uncounted(note: Note, authority: Authority, cards: Mapping[bytes, Card]) -> list[str]:
    """Return the names on lines that are neither the log's signature nor a cosignature that counts."""
    card = authority.card
    counted = _cosigners(note, authority, cards)
    if card is not None:
        counted.append(verifier_of(str(authority.origin), card.card.log_key))
    known = {(one.name, one.key_id) for one in counted}
    return [line.name for line in note.lines if (line.name, line.key_id) not in known]


def pinned_cards(authority: Authority, cards: Mapping[bytes, Card]) -> dict[str, Card]:
    """Return, by agency, the card whose witness key counts: pinned and in hand, or the owner's own."""
    pinned: dict[str, Card] = {}
    for name, pin in (authority.adopt.cards if authority.adopt else {}).items():
        card = cards.get(pin[1]) if pin else None
        if pin and card is not None and (card.number, card.origin.split("/")[1]) == (pin[0], name):
            pinned[name] = card
    if authority.card is not None:
        pinned[authority.origin.agency] = authority.card.card
    return pinned


def _cosigners(note: Note, authority: Authority, cards: Mapping[bytes, Card]) -> list[NoteVerifier]:
    ledger = authority.origin.ledger
    pinned = pinned_cards(authority, cards)
    verifiers = [
        verifier_of(witness_key_name(ledger, name), card.witness_key, TYPE_COSIGNATURE)
        for name, card in pinned.items()
    ]
    return [verifier for verifier in verifiers if is_cosigned(note, verifier)]
