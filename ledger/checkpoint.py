"""Checkpoints (C2SP tlog-checkpoint v1.0.0): the note text in which a log states its size and root.

    <origin>
    <size, decimal>
    <root, base64>
    [<extension>]...

One checkpoint has one text: no leading zeros, ASCII digits, strict base64. The log's key is named as its
origin, so that a key of one log can never speak for another. A log must never sign two checkpoints that
contradict each other; that is for the sequencer, this module signs what it is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.errors import Malformed, Unproven
from ledger.keys import Signer
from ledger.merkle import HASH_BYTES, SIZE_MAX
from ledger.note import (
    NOTE_BYTES_MAX,
    Note,
    NoteVerifier,
    check_note,
    check_text,
    decode_base64,
    encode_base64,
    format_note,
    parse_note,
    sign_note,
)

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
"""Up to the 19 digits of 2^63-1 (int() of longer input is slow), ASCII only (isdigit takes every script)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log's size and root. An empty log's root is not checked here: a witness must answer that apart."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(line and "\n" not in line for line in (self.origin, *self.extensions)):
            raise Malformed("origin and extensions of a checkpoint are lines, none of them empty")
        if not 0 <= self.size <= SIZE_MAX:
            raise Malformed("a checkpoint's size is 0 to 2^63-1")
        if len(self.root) != HASH_BYTES:
            raise Malformed(f"a checkpoint's root has {HASH_BYTES} bytes, not {len(self.root)}")


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the note text of ``checkpoint``."""
    root = encode_base64(checkpoint.root)
    lines = (checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions)
    text = "".join(line + "\n" for line in lines)
    check_text(text)
    return text


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint whose one text is ``text``; `Malformed` otherwise."""
    check_text(text)
    lines = text[:-1].split("\n")
    if len(text) > NOTE_BYTES_MAX or len(lines) < 3:
        raise Malformed("a checkpoint has the lines origin, size and root")
    origin, size, root, *extensions = lines
    return Checkpoint(
        origin=origin, size=parse_size(size), root=parse_hash(root), extensions=tuple(extensions)
    )


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the signed note of ``checkpoint``, by the log's key under the name of its origin."""
    text = format_checkpoint(checkpoint)
    return format_note(text, [sign_note(text, checkpoint.origin, signer)])


def open_checkpoint(data: bytes, verifier: NoteVerifier) -> tuple[Checkpoint, Note]:
    """Return the checkpoint in the note ``data``, signed by its log's key, and the note for its other lines.

    `Malformed` for other bytes, `Unproven` without a good signature or if the origin is not the key's name.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    check_note(note, [verifier])
    if checkpoint.origin != verifier.name:
        raise Unproven(f"key of {verifier.name!r} signed a checkpoint of {checkpoint.origin[:80]!r}")
    return checkpoint, note


def parse_size(text: str) -> int:
    """Return a size or index in its one decimal form; `Malformed` otherwise, or above 2^63-1."""
    size = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= size <= SIZE_MAX:
        raise Malformed(f"{text[:24]!r} is not a decimal number up to 2^63-1")
    return size


def parse_hash(text: str) -> bytes:
    """Return a hash in its one base64 form; `Malformed` otherwise."""
    data = decode_base64(text)
    if len(data) != HASH_BYTES:
        raise Malformed(f"a hash has {HASH_BYTES} bytes, not {len(data)}")
    return data
