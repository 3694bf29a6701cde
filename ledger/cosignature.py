"""Ed25519 cosignatures (C2SP tlog-cosignature v1.0.1, type 04): a witness dates a checkpoint it saw.

    signed message:   cosignature/v1 LF   time <POSIX seconds> LF   <the checkpoint's whole text>
    line's payload:   key id[4] ‖ timestamp u64 ‖ signature[64]

The message does not name the cosigner: one key serves one cosigner and nothing else. Type 06 (ML-DSA-44) is
not ours: it would need a second library, and does not cover a checkpoint's extension lines.
"""

from __future__ import annotations

from ledger.checkpoint import parse_checkpoint
from ledger.errors import Malformed, Unproven
from ledger.keys import SIGNATURE_BYTES, Signer, is_signature
from ledger.note import TYPE_COSIGNATURE, Note, NoteVerifier, SignatureLine, format_line, verifier_of

TIMESTAMP_BYTES = 8

TIMESTAMP_MAX = 2**63 - 1
"""The specification's bound, so that it fits a signed integer."""


def cosign(checkpoint_text: str, name: str, signer: Signer, timestamp: int) -> str:
    """Return the cosignature line, without its newline; `Malformed` if the text is no checkpoint's."""
    parse_checkpoint(checkpoint_text)
    verifier = verifier_of(name, signer.public_key, TYPE_COSIGNATURE)
    if not 0 <= timestamp <= TIMESTAMP_MAX:
        raise Malformed("a cosignature's timestamp is 0 to 2^63-1 seconds")
    signature = signer.sign(_message(checkpoint_text, timestamp))
    payload = timestamp.to_bytes(TIMESTAMP_BYTES) + signature
    return format_line(SignatureLine(name=name, key_id=verifier.key_id, signature=payload))


def check_cosignature(checkpoint_text: str, line: SignatureLine, verifier: NoteVerifier) -> int:
    """Return the POSIX seconds at which ``verifier`` cosigned the text; `Unproven` if ``line`` is not its.

    Whether the time is plausible is the caller's to judge. A text that is no checkpoint's, and a key of
    another type, are `Malformed`.
    """
    parse_checkpoint(checkpoint_text)
    if verifier.type != TYPE_COSIGNATURE:
        raise Malformed(f"key of {verifier.name!r} is not a cosigner's")
    if (line.name, line.key_id) != (verifier.name, verifier.key_id):
        raise Unproven(f"line of {line.name!r} is not by the key {verifier.name!r}")
    timestamp = cosignature_time(line)
    signature = line.signature[TIMESTAMP_BYTES:]
    if not line.is_canonical or len(signature) != SIGNATURE_BYTES or timestamp > TIMESTAMP_MAX:
        raise Unproven(f"cosignature of {line.name!r} has not the form of one")
    if not is_signature(verifier.public_key, _message(checkpoint_text, timestamp), signature):
        raise Unproven(f"cosignature of {line.name!r} is bad")
    return timestamp


def cosignature_time(line: SignatureLine) -> int:
    """Return the time that a line claims, in seconds since 1970; of one that was found good."""
    return int.from_bytes(line.signature[:TIMESTAMP_BYTES])


def is_cosigned(note: Note, verifier: NoteVerifier) -> bool:
    """Whether a good cosignature by ``verifier`` stands on ``note``, a checkpoint; bad ones are ignored."""
    for line in note.lines:
        if (line.name, line.key_id) == (verifier.name, verifier.key_id):
            try:
                check_cosignature(note.text, line, verifier)
            except Unproven:
                continue
            return True
    return False


def _message(checkpoint_text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{checkpoint_text}".encode()
