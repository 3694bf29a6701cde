"""A record: one fact about one pupil, in two parts so that it can be shown without the pseudonym.

- owner part ``{salt, subject, basis, source?, supersedes?, request?}``: whose it is and on what ground.
- shown part ``{salt, kind, period, fields}``: what an outsider is given.

``record_hash = SHA-256(00 ‖ SHA-256(owner part) ‖ SHA-256(shown part))`` names the record everywhere. An
outsider gets the shown part and one hash, so two outsiders cannot join a child by its pseudonym; each part
has a salt of 16 random bytes, so nobody finds a grade by trying them all.

Padding records fill a private entry to a power of two: parts ``{salt}`` and ``{salt, kind: "padding"}``,
whose salts all come from one 32-byte seed kept with the entry's bodies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ledger import codec
from ledger.errors import Malformed
from ledger.json_form import shown

SALT_BYTES = 16
"""128 bits: beyond any search, and half the size of a hash."""
SUBJECT_BYTES = 16
"""A pseudonym is 128 random bits; nothing derives one from another."""
PART_BYTES_MAX = 16 * 1024
"""The largest part: a family_keys record with a few dozen keys is below 4 KiB."""
SOURCE_CHARS_MAX = 80
"""``source`` names a register or list ("list results.csv row 12"), never a text about the pupil."""
PADDING_KIND = "padding"
_PADDING_DOMAIN = b"pledger/padding/v1\x00"

BodyState: TypeAlias = Literal["held", "withheld", "elsewhere", "erased", "missing"]
"""held: here and opened; withheld: exists, not for this asker; elsewhere: another agency or part holds it;
erased: destroyed by right; missing: should be here and is not."""
BODY_STATES: tuple[BodyState, ...] = ("held", "withheld", "elsewhere", "erased", "missing")

_OWNER_KEYS = {"salt", "subject", "basis", "source", "supersedes", "request"}
_OWNER_REQUIRED = {"salt", "subject", "basis"}
_SHOWN_KEYS = {"salt", "kind", "period", "fields"}


def hash_of_parts(owner_part: bytes, shown_part: bytes) -> bytes:
    """Return the record hash of two encoded parts."""
    return join_hashes(hashlib.sha256(owner_part).digest(), hashlib.sha256(shown_part).digest())


def join_hashes(owner_hash: bytes, shown_hash: bytes) -> bytes:
    """Return the record hash from the SHA-256 of each part: what an outsider computes."""
    return hashlib.sha256(b"\x00" + owner_hash + shown_hash).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Why a record may exist: a legal act of the statutory list, or a consent by its record hash."""

    act: str | None = None
    consent: bytes | None = None

    def value(self) -> dict[str, Any]:
        """The map that stands in the owner part."""
        return {"act": self.act} if self.consent is None else {"consent": self.consent}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record with the exact bytes of its parts; made by `make_record` or `parse_record` only."""

    owner_part: bytes
    shown_part: bytes
    hash: bytes
    subject: bytes
    basis: Basis
    kind: str
    period: str
    fields: dict[str, Any]
    source: str | None = None
    supersedes: bytes | None = None
    request: dict[str, Any] | None = None

    def content(self) -> tuple[Any, ...]:
        """What the record says, without salts and source: equal contents are one fact written twice."""
        return (self.subject, self.kind, self.period, self.fields, self.supersedes)


def make_record(
    *,
    subject: bytes,
    kind: str,
    period: str,
    fields: dict[str, Any],
    basis: Basis,
    salts: tuple[bytes, bytes],
    source: str | None = None,
    supersedes: bytes | None = None,
    request: dict[str, Any] | None = None,
) -> Record:
    """Return a new record; ``salts`` are 2 x 16 fresh random bytes. Raises `Malformed` as `parse_record`."""
    owner: dict[str, Any] = {"salt": salts[0], "subject": subject, "basis": basis.value()}
    optional = {"source": source, "supersedes": supersedes, "request": request}
    owner.update({key: value for key, value in optional.items() if value is not None})
    shown = {"salt": salts[1], "kind": kind, "period": period, "fields": fields}
    return parse_record(codec.encode(owner), codec.encode(shown))


def parse_record(owner_part: bytes, shown_part: bytes) -> Record:
    """Return the record of two encoded parts; raise `Malformed` for any other form."""
    owner = _closed_map(owner_part, _OWNER_KEYS, _OWNER_REQUIRED, "owner part")
    shown = parse_shown(shown_part)
    _check_bytes(owner["subject"], SUBJECT_BYTES, "subject")
    source = owner.get("source")
    if source is not None and not (isinstance(source, str) and 0 < len(source) <= SOURCE_CHARS_MAX):
        raise Malformed(f"source must be a text of 1 to {SOURCE_CHARS_MAX} characters")
    if "supersedes" in owner:
        _check_bytes(owner["supersedes"], 32, "supersedes")
    if "request" in owner and not isinstance(owner["request"], dict):
        raise Malformed("request must be a map")
    return Record(
        owner_part=owner_part,
        shown_part=shown_part,
        hash=hash_of_parts(owner_part, shown_part),
        subject=owner["subject"],
        basis=_parse_basis(owner["basis"]),
        kind=shown["kind"],
        period=shown["period"],
        fields=shown["fields"],
        source=source,
        supersedes=owner.get("supersedes"),
        request=owner.get("request"),
    )


def parse_shown(shown_part: bytes) -> dict[str, Any]:
    """Return the map of a shown part; raise `Malformed` for any other form."""
    shown = _closed_map(shown_part, _SHOWN_KEYS, _SHOWN_KEYS, "shown part")
    for key in ("kind", "period"):
        if not isinstance(shown[key], str) or not 0 < len(shown[key]) <= 40:
            raise Malformed(f"{key} must be a text of 1 to 40 characters")
    if not isinstance(shown["fields"], dict):
        raise Malformed("fields must be a map")
    return shown


def padding_parts(seed: bytes, number: int) -> tuple[bytes, bytes]:
    """Return the two parts of padding record ``number`` of an entry with this 32-byte seed."""
    salts = [_padding_salt(seed, number, part) for part in (0, 1)]
    return codec.encode({"salt": salts[0]}), codec.encode({"salt": salts[1], "kind": PADDING_KIND})


def padding_hashes(seed: bytes, count: int) -> list[bytes]:
    """Return the record hashes of the first ``count`` padding records of an entry."""
    return [hash_of_parts(*padding_parts(seed, number)) for number in range(count)]


def _padding_salt(seed: bytes, number: int, part: int) -> bytes:
    message = _PADDING_DOMAIN + seed + number.to_bytes(4, "big") + bytes([part])
    return hashlib.sha256(message).digest()[:SALT_BYTES]


def _parse_basis(value: object) -> Basis:
    match value:
        case {"act": str(act), **rest} if not rest and 0 < len(act) <= 40:
            return Basis(act=act)
        case {"consent": bytes(consent), **rest} if not rest and len(consent) == 32:
            return Basis(consent=consent)
    raise Malformed("basis must be {act: <id of a legal act>} or {consent: <record hash>}")


def _closed_map(data: bytes, allowed: set[str], required: set[str], what: str) -> dict[str, Any]:
    value = codec.decode(data, bytes_max=PART_BYTES_MAX)
    if not isinstance(value, dict):
        raise Malformed(f"{what} must be a map")
    if unknown := sorted(set(value) - allowed):
        raise Malformed(f"{what} has unknown keys {shown(unknown)}")
    if missing := sorted(required - set(value)):
        raise Malformed(f"{what} lacks {missing}")
    _check_bytes(value["salt"], SALT_BYTES, f"salt of the {what}")
    return value


def _check_bytes(value: object, length: int, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != length:
        raise Malformed(f"{what} must be {length} bytes")
