"""The secrets in a node's hands, found by what a card says: which key is in force is the log's to decide.

A key file holds each secret under what it is for: ``witness``, and after a rotation ``witness.3`` as well, by
the number of the card that brings it in. New secrets are in the file before their card is signed, old ones
stay after it: so a node has both in hand whichever side of the card its log ends on. Sealing and desk secrets
stay for ever: what was sealed to them before must still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger.errors import Conflict
from ledger.governance import Card
from ledger.keys import SigningKey
from node.key_file import MASTER, SEALING, public_key_of, use_of
from node.sequencer import SequencerKeys


class Keyring:
    """Secrets by use and public key."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        """``secrets`` are those of a key file, by name."""
        self._seeds = {(use_of(name), public_key_of(name, seed)): seed for name, seed in secrets.items()}
        self._first = secrets

    @property
    def master(self) -> bytes:
        """The key under which the data keys are sealed."""
        return self._seeds[MASTER, b""]

    def holds(self, use: str, public_key: bytes) -> bool:
        """Whether the secret of a public key is here."""
        return (use, public_key) in self._seeds

    def signer(self, use: str, public_key: bytes) -> SigningKey:
        """Return the secret of a signing key; raise `Conflict` if it is not here."""
        self._check_held(use, public_key)
        return SigningKey(self._seeds[use, public_key])

    def signer_under(self, card: Card | None, use: str) -> SigningKey:
        """Return the key for ``use`` under the card in force; where there is none yet, the opening's."""
        if card is None:
            return SigningKey(self._first[use])
        return self.signer(use, dict(needed_keys(card))[use])

    def sealing_seeds(self, newest: bytes) -> tuple[bytes, ...]:
        """Return the seeds of all sealing keys in hand, that of the public key ``newest`` first."""
        held = [(public, seed) for (use, public), seed in self._seeds.items() if use == SEALING]
        return tuple(seed for _, seed in sorted(held, key=lambda one: one[0] != newest))

    def lacking(self, card: Card) -> list[str]:
        """Return which secrets of a card a node needs and has not in hand, by their use."""
        return [use for use, public in needed_keys(card) if not self.holds(use, public)]

    def check_in_force(self, card: Card) -> None:
        """Raise `Conflict` if a secret of the card in force is not here."""
        for use, public_key in needed_keys(card):
            self._check_held(use, public_key)

    def _check_held(self, use: str, public_key: bytes) -> None:
        if not self.holds(use, public_key):
            raise Conflict(
                f"the {use} key {public_key.hex()[:16]}… of the agency's card is not among the keys in hand: "
                "put the key file that has it in keys/node.key and start the node again"
            )

    def check_card(self, card: Card) -> None:
        """Raise `Conflict` if this node could not go on under a card: it would stop at its own next leaf."""
        if lacking := self.lacking(card):
            raise Conflict(
                f"card {card.number} names a new {', '.join(lacking)} key, which this node has not in hand: "
                "start it again, so that it reads its key file, then send the card again"
            )


def needed_keys(card: Card) -> Iterable[tuple[str, bytes]]:
    """Return use and public key of each secret that a node needs under a card."""
    return (
        ("log", card.log_key),
        ("witness", card.witness_key),
        ("node", card.node_key),
        ("desk", card.desk_keys[0]),
        (SEALING, card.sealing_key),
    )


def signing_keys(keyring: Keyring, card: Card | None, new: SigningKey) -> SequencerKeys:
    """Return what signs and opens: as the card in force says, or as an opening will (``new``).

    Raises `Conflict` if a secret of that card is not in hand.
    """
    log, sealing = new, b""
    if card is not None:
        keyring.check_in_force(card)
        log, sealing = keyring.signer("log", card.log_key), card.sealing_key
    seeds = keyring.sealing_seeds(sealing)
    return SequencerKeys(log=log, sealing_seeds=seeds, check_card=keyring.check_card)
