"""Transparency log proofs (C2SP tlog-proof, ``.tlog-proof``): one entry, its path, a signed checkpoint.

    c2sp.org/tlog-proof@v1
    [extra <base64>]
    index <decimal>
    <hash, base64>...

    <the checkpoint with its signatures, verbatim>

Our receipts are such files with the leaf as ``extra``. Nothing authenticates ``extra`` by itself: a reader
hashes it as the leaf, and believes it when `check_proof` accepts that hash. Counting cosignatures is for
others.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, parse_hash, parse_size
from ledger.errors import Malformed
from ledger.merkle import HASH_BYTES, PROOF_HASHES_MAX, SIZE_MAX, check_inclusion
from ledger.note import NOTE_BYTES_MAX, NoteVerifier, decode_base64, encode_base64, parse_note
from ledger.tiles import ENTRY_BYTES_MAX

HEADER = "c2sp.org/tlog-proof@v1"

EXTRA_BYTES_MAX = ENTRY_BYTES_MAX
"""A receipt's extra is its leaf."""

PROOF_BYTES_MAX = NOTE_BYTES_MAX + EXTRA_BYTES_MAX * 4 // 3 + PROOF_HASHES_MAX * 45 + 128
"""Everything at its largest: note, extra in base64, lines of 45 bytes, and the fixed words and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A proof as read: well-formed, with a checkpoint that nobody has checked yet."""

    extra: bytes | None
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        if self.extra is not None and not 1 <= len(self.extra) <= EXTRA_BYTES_MAX:
            raise Malformed(f"extra data of a proof has 1 to {EXTRA_BYTES_MAX} bytes, or is left out")
        if not 0 <= self.index <= SIZE_MAX:
            raise Malformed("a proof's index is 0 to 2^63-1")
        if len(self.hashes) > PROOF_HASHES_MAX or any(len(part) != HASH_BYTES for part in self.hashes):
            raise Malformed(f"a proof has at most {PROOF_HASHES_MAX} hashes of {HASH_BYTES} bytes")
        parse_checkpoint(parse_note(self.checkpoint).text)


def format_proof(proof: TlogProof) -> bytes:
    """Return the bytes of ``proof``."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append("extra " + encode_base64(proof.extra))
    lines.append(f"index {proof.index}")
    lines += map(encode_base64, proof.hashes)
    return "\n".join([*lines, "", ""]).encode() + proof.checkpoint


def parse_proof(data: bytes) -> TlogProof:
    """Return the proof whose one form is ``data``; `Malformed` otherwise. It proves nothing yet."""
    if len(data) > PROOF_BYTES_MAX:
        raise Malformed(f"a proof of {len(data)} bytes, at most {PROOF_BYTES_MAX} are read")
    head, _, checkpoint = data.partition(b"\n\n")
    if not head.isascii():
        raise Malformed("the lines of a proof before its checkpoint are ASCII")
    header, *lines = head.decode().split("\n")
    if header != HEADER:
        raise Malformed(f"a proof starts with the line {HEADER}")
    extra = decode_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a proof states the index of its entry")
    index = parse_size(lines.pop(0)[6:])
    hashes = tuple(parse_hash(line) for line in lines[: PROOF_HASHES_MAX + 1])
    return TlogProof(extra=extra, index=index, hashes=hashes, checkpoint=checkpoint)


def check_proof(proof: TlogProof, leaf_hash: bytes, verifier: NoteVerifier) -> Checkpoint:
    """Return the checkpoint, signed by its log's key, whose tree has ``leaf_hash`` at the proof's index.

    `Unproven` if the signature, the origin or the path does not hold.
    """
    checkpoint, _ = open_checkpoint(proof.checkpoint, verifier)
    check_inclusion(leaf_hash, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint
