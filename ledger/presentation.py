"""One record shown to an outsider: the shown part, and the proof that it stands in an agency's log.

A C2SP ``.tlog-proof`` (see ``proof``) whose ``extra`` is the canonical map::

    {leaf: <leaf bytes>, owner_hash: <SHA-256 of the owner part>, path: [<hash>...], position: <int>,
     shown: <shown part bytes>}

From bottom to top: ``shown`` and ``owner_hash`` give the record hash; ``path`` leads from its ``position``
among the entry's records to the root that the author signed in the leaf's header; the proof leads from the
leaf to a checkpoint that the log's key signed. The owner part, and with it the pseudonym, never travels. Only
private entries are shown so: public records stand in the log itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger import codec
from ledger.checkpoint import Checkpoint
from ledger.errors import Malformed, Unproven
from ledger.keys import check_signature
from ledger.leaf import Leaf, parse_leaf
from ledger.merkle import HASH_BYTES, check_inclusion, prove_inclusion_in
from ledger.names import parse_origin
from ledger.note import NoteVerifier
from ledger.proof import EXTRA_BYTES_MAX, TlogProof, check_proof, format_proof, parse_proof
from ledger.record import Record, join_hashes, parse_shown
from ledger.rules import violation

PATH_HASHES_MAX = 12
"""4,096 records of one entry are twelve levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """A presentation as read: well-formed, and nothing of it proven before `check_presentation`."""

    proof: TlogProof
    leaf: Leaf
    shown_part: bytes
    shown: dict[str, Any]
    owner_hash: bytes
    position: int
    path: tuple[bytes, ...]

    @property
    def record_hash(self) -> bytes:
        """What names the record everywhere."""
        return join_hashes(self.owner_hash, hashlib.sha256(self.shown_part).digest())


def make_presentation(receipt: TlogProof, record: Record, hashes: Sequence[bytes]) -> bytes:
    """Return the bytes that show ``record`` to an outsider.

    ``receipt`` is that of the entry (its extra is the leaf), ``hashes`` all record hashes of the entry in
    ascending order, padding included. Raises `Malformed` if the record is not among them.
    """
    if receipt.extra is None:
        raise Malformed("the receipt does not carry its leaf")
    if record.hash not in hashes:
        raise Malformed(f"record {record.hash.hex()[:16]}… is not of this entry")
    position = list(hashes).index(record.hash)
    extra = {
        "leaf": receipt.extra,
        "owner_hash": hashlib.sha256(record.owner_part).digest(),
        "path": prove_inclusion_in(hashes, position),
        "position": position,
        "shown": record.shown_part,
    }
    proof = TlogProof(
        extra=codec.encode(extra), index=receipt.index, hashes=receipt.hashes, checkpoint=receipt.checkpoint
    )
    data = format_proof(proof)
    parse_presentation(data)
    return data


def parse_presentation(data: bytes) -> Presentation:
    """Return the presentation whose one form is ``data``; raise `Malformed` otherwise."""
    proof = parse_proof(data)
    if proof.extra is None:
        raise Malformed("the proof shows no record: it has no extra data")
    match codec.decode(proof.extra, bytes_max=EXTRA_BYTES_MAX):
        case {
            "leaf": bytes(leaf),
            "owner_hash": bytes(owner_hash),
            "path": list(path),
            "position": int(position),
            "shown": bytes(shown_part),
            **rest,
        } if not rest:
            pass
        case _:
            raise Malformed("a presentation is {leaf, owner_hash, path, position, shown}")
    _check_hashes([owner_hash, *path])
    return Presentation(
        proof=proof,
        leaf=parse_leaf(leaf),
        shown_part=shown_part,
        shown=parse_shown(shown_part),
        owner_hash=owner_hash,
        position=position,
        path=tuple(path),
    )


def check_presentation(presentation: Presentation, verifier: NoteVerifier) -> Checkpoint:
    """Return the checkpoint, signed by the log key ``verifier``, under which the shown record stands.

    `Unproven` names the rule that does not hold. What is not judged here: whether the author might write it,
    and whether it was corrected or withdrawn since; that takes the log.
    """
    header = presentation.leaf.header
    if header.is_public:
        raise _unproven("its entry is public: what it says stands in the log itself")
    try:
        check_inclusion(
            presentation.record_hash,
            presentation.position,
            header.records_count,
            presentation.path,
            header.records_root,
        )
    except Unproven as error:
        raise _unproven(f"the record is not one of those that the author signed: {error}") from None
    try:
        check_signature(*presentation.leaf.entry.signed_message)
    except Unproven as error:
        raise Unproven(str(violation("entry.signature", str(error)))) from None
    try:
        checkpoint = check_proof(presentation.proof, presentation.leaf.hash, verifier)
    except Unproven as error:
        raise _unproven(f"the entry is not in the log that the key belongs to: {error}") from None
    if parse_origin(checkpoint.origin).agency != header.agency:
        raise _unproven(f"an entry of {header.agency} in the log {checkpoint.origin}")
    return checkpoint


def _check_hashes(hashes: Sequence[object]) -> None:
    if len(hashes) > PATH_HASHES_MAX + 1:
        raise Malformed(f"the path to a record has at most {PATH_HASHES_MAX} hashes")
    if not all(isinstance(one, bytes) and len(one) == HASH_BYTES for one in hashes):
        raise Malformed(f"owner_hash and path are hashes of {HASH_BYTES} bytes")


def _unproven(text: str) -> Unproven:
    return Unproven(str(violation("record.proof", text)))
