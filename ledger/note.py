"""Signed notes (C2SP signed-note v1.0.0): a text, an empty line, and lines of signatures.

    <text, ending in a newline>

    — <key name> <base64 of key id[4] ‖ signature>

The text ends at the *last* empty line, so it may hold empty lines, even lines that look like signatures. A
key is named by (name, key id), where key id = H(name ‖ LF ‖ type ‖ public key)[:4]: short, hence only a name.
Lines of unknown keys are ignored; a bad line of a known key rejects the note, as does having no good one.

Base64 is strict wherever a reader compares bytes (verifier keys, and by `decode_base64` checkpoints and
proofs). In signature lines alone the reference implementation ignores loose low bits in the last character.
We read such a line, or we would call notes malformed that others do not, and never count it as signed: two
spellings of one signature would be two notes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

from ledger.errors import Malformed, Unproven
from ledger.keys import KEY_BYTES, Signer, SigningKey, is_signature

NOTE_BYTES_MAX = 256 * 1024
"""Room for a line of each agency of the largest roster (1,000), at some 200 bytes a cosignature."""

SIGNATURE_LINES_MAX = 1_100
"""Each line may cost a signature check. Go's reader stops at 100; a large roster needs all its agencies'."""

VKEY_CHARACTERS_MAX = 1_024
"""A verifier key of Ed25519 is a name and 54 characters."""

KEY_ID_BYTES = 4

TYPE_ED25519 = 1
"""An Ed25519 signature over the note's text."""

TYPE_COSIGNATURE = 4
"""A timestamped Ed25519 cosignature: `ledger.cosignature`."""

_LINE_START = "\N{EM DASH} "
_SIGNER_START = "+".join(("PRIVATE", "KEY", ""))
_CONTROL = re.compile(r"[\x00-\x1f]")
_CONTROL_BUT_NEWLINE = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

KeyName: TypeAlias = tuple[str, bytes]
"""(name, key id)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteVerifier:
    """A public key and the name it signs under; ``key_id`` follows from the rest and cannot be set."""

    name: str
    type: int
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.type not in (TYPE_ED25519, TYPE_COSIGNATURE):
            raise Malformed(f"key of {self.name!r} has type {self.type}, only 1 and 4 (Ed25519) are known")
        if len(self.public_key) != KEY_BYTES:
            raise Malformed(f"key of {self.name!r} has {len(self.public_key)} bytes, not {KEY_BYTES}")
        hashed = sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public_key)
        object.__setattr__(self, "key_id", hashed.digest()[:KEY_ID_BYTES])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One signature line; one that is not in canonical base64 never verifies."""

    name: str
    key_id: bytes
    signature: bytes
    is_canonical: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as read: nothing in ``text`` may be believed before `check_note`."""

    text: str
    lines: tuple[SignatureLine, ...]


def verifier_of(name: str, public_key: bytes, type: int = TYPE_ED25519) -> NoteVerifier:
    """Return the verifier of a key, its key id computed."""
    return NoteVerifier(name=name, type=type, public_key=public_key)


def format_vkey(verifier: NoteVerifier) -> str:
    """Return the verifier key ``name+hhhhhhhh+base64(type ‖ public key)``."""
    key = encode_base64(bytes([verifier.type]) + verifier.public_key)
    return f"{verifier.name}+{verifier.key_id.hex()}+{key}"


def parse_vkey(vkey: str) -> NoteVerifier:
    """Return the verifier that ``vkey`` states; `Malformed` unless all its parts agree."""
    name, key_id, encoded = _key_parts(vkey)
    key = decode_base64(encoded)
    verifier = NoteVerifier(name=name, type=key[0] if key else 0, public_key=key[1:])
    if verifier.key_id.hex() != key_id:
        raise Malformed(f"verifier key of {name!r} has key id {verifier.key_id.hex()}, not {key_id}")
    return verifier


def parse_signer(skey: str) -> tuple[str, SigningKey]:
    """Return the name and key in Go's private form; no error ever repeats a part of it but the name."""
    if not skey.startswith(_SIGNER_START):
        raise Malformed("not a note signer's private key")
    name, key_id, encoded = _key_parts(skey.removeprefix(_SIGNER_START))
    secret = decode_base64(encoded)
    if secret[:1] != bytes([TYPE_ED25519]):
        raise Malformed(f"private key of {name!r} is not of type 1 (Ed25519)")
    signer = SigningKey(secret[1:])
    if verifier_of(name, signer.public_key).key_id.hex() != key_id:
        raise Malformed(f"private key of {name!r} does not belong to its key id")
    return name, signer


def sign_note(text: str, name: str, signer: Signer) -> str:
    """Return the signature line, without its newline, of type 1 by ``signer`` under ``name``."""
    check_text(text)
    verifier = verifier_of(name, signer.public_key)
    signature = signer.sign(text.encode())
    return format_line(SignatureLine(name=name, key_id=verifier.key_id, signature=signature))


def format_line(line: SignatureLine) -> str:
    """Return the line's text without its newline, as `parse_line` reads it."""
    if not line.is_canonical:
        raise Malformed(f"signature line of {line.name!r} has loose bits: pass on the note it came in")
    return f"{_LINE_START}{line.name} {encode_base64(line.key_id + line.signature)}"


def parse_line(text: str) -> SignatureLine:
    """Return the signature line that ``text`` is, without its newline."""
    if not text.startswith(_LINE_START):
        raise Malformed(f"{text[:40]!r} is not a signature line")
    name, _, encoded = text.removeprefix(_LINE_START).partition(" ")
    check_name(name)
    if not _BASE64.fullmatch(encoded):
        raise Malformed(f"signature of {name!r} is not base64")
    payload = binascii.a2b_base64(encoded)
    if len(payload) <= KEY_ID_BYTES:
        raise Malformed(f"signature of {name!r} is empty")
    return SignatureLine(
        name=name,
        key_id=payload[:KEY_ID_BYTES],
        signature=payload[KEY_ID_BYTES:],
        is_canonical=encode_base64(payload) == encoded,
    )


def format_note(text: str, lines: Iterable[str]) -> bytes:
    """Return the note of ``text`` and signature lines (each without newline) as `parse_note` reads it."""
    whole = "".join([text, "\n", *(line + "\n" for line in lines)])
    data = whole.encode() if is_utf8(whole) else b""
    if parse_note(data).text != text:
        raise Malformed("these lines are not signature lines of this text")
    return data


def parse_note(data: bytes) -> Note:
    """Return the note that ``data`` is, its signatures not yet checked; `Malformed` if it is none."""
    if len(data) > NOTE_BYTES_MAX:
        raise Malformed(f"a note of {len(data)} bytes, at most {NOTE_BYTES_MAX} are read")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Malformed("a note is UTF-8 text") from None
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise Malformed("a note has a text, an empty line and at least one signature line")
    check_text(text + "\n")
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURE_LINES_MAX:
        raise Malformed(f"{len(lines)} signature lines, at most {SIGNATURE_LINES_MAX} are read")
    return Note(text=text + "\n", lines=tuple(parse_line(line) for line in lines))


def check_note(note: Note, verifiers: Iterable[NoteVerifier]) -> tuple[NoteVerifier, ...]:
    """Return the verifiers, in the note's order, whose signatures of type 1 stand in it.

    `Unproven` if a signature of one of them is bad (every line is tried, a second one of a key too), or if
    there is none. Cosignatures sign another message: their keys are `Malformed` here.
    """
    known = _by_name(verifiers)
    signed: dict[KeyName, NoteVerifier] = {}
    message = note.text.encode()
    for line in note.lines:
        verifier = known.get((line.name, line.key_id))
        if verifier is None:
            continue
        if not line.is_canonical or not is_signature(verifier.public_key, message, line.signature):
            raise Unproven(f"signature of {line.name!r} on the note is bad")
        signed[line.name, line.key_id] = verifier
    if not signed:
        raise Unproven("the note bears no signature of a known key")
    return tuple(signed.values())


def keep_lines(note: Note, verifier: NoteVerifier) -> bytes:
    """Return the note with its first line of one key alone; `Malformed` if it has none."""
    own = [one for one in note.lines if (one.name, one.key_id) == (verifier.name, verifier.key_id)]
    return format_note(note.text, map(format_line, own[:1]))


def check_name(name: str) -> None:
    """Raise `Malformed` unless ``name`` can name a key: not empty, no spaces, no ``+``, no controls."""
    if not name or "+" in name or any(map(str.isspace, name)) or _CONTROL.search(name) or not is_utf8(name):
        raise Malformed(f"{name[:80]!r} cannot be the name of a key")


def check_text(text: str) -> None:
    """Raise `Malformed` unless ``text`` can be signed: UTF-8, no controls, its last line ended."""
    if not text.endswith("\n") or _CONTROL_BUT_NEWLINE.search(text) or not is_utf8(text):
        raise Malformed("a note's text is UTF-8 without control characters and ends in a newline")


def is_utf8(text: str) -> bool:
    """Whether ``text`` has bytes at all (a lone surrogate has none)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_base64(data: bytes) -> str:
    """Return ``data`` in base64 (RFC 4648 §4, padded)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """Return the bytes whose only base64 form is ``text``; `Malformed` otherwise, quoting nothing of it."""
    data = binascii.a2b_base64(text) if _BASE64.fullmatch(text) else None
    if data is None or encode_base64(data) != text:
        raise Malformed(f"{len(text)} characters that are not base64 in its one form")
    return data


def _key_parts(key: str) -> Sequence[str]:
    """Return name, key id and base64 of a key; the base64 may itself hold plus signs."""
    parts = key.split("+", 2)
    if len(key) > VKEY_CHARACTERS_MAX or len(parts) != 3:
        raise Malformed("a key is written name+hhhhhhhh+base64")
    check_name(parts[0])
    if not _KEY_ID.fullmatch(parts[1]):
        raise Malformed(f"key id of {parts[0]!r} is not 8 lowercase hex digits")
    return parts


def _by_name(verifiers: Iterable[NoteVerifier]) -> dict[KeyName, NoteVerifier]:
    known: dict[KeyName, NoteVerifier] = {}
    for verifier in verifiers:
        if verifier.type != TYPE_ED25519:
            raise Malformed(f"key of {verifier.name!r} is a cosigner's, it signs no notes")
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise Malformed(f"two keys named {verifier.name!r} share a key id")
    return known
