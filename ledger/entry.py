"""An entry: what an author signs, 1 to 4,096 records under one signature, wherever it will stand in a log.

Header: ``[version, ledger_id, agency_id, author_public_key, created_day, audience, records_count,
records_root]``. The signature is Ed25519 over ``pledger/entry/v1\\0`` ‖ header, and the entry's id is SHA-256
of the same bytes: a second valid signature is no second entry. ``records_root`` is the RFC 6962 root whose
leaf hashes are the record hashes in ascending order, so a place in it says nothing of the alphabet; private
entries are filled with padding records to a power of two, at least 4, so the count is not the class.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger import codec, merkle
from ledger.errors import Malformed
from ledger.keys import KEY_BYTES, SIGNATURE_BYTES, SignedMessage, Signer
from ledger.names import check_name
from ledger.record import Record, padding_hashes

VERSION = 1
DOMAIN = b"pledger/entry/v1\x00"
"""Separates an entry's signature from everything else that the same key may sign."""
AUDIENCE_PRIVATE, AUDIENCE_PUBLIC = 0, 1
RECORDS_MAX = 4096
"""Records of one entry, padding included: a school's list fits, and a path is at most 12 hashes."""
RECORDS_PRIVATE_MIN = 4
"""A lone record hides among four."""
RECORDS_PUBLIC_MAX = 16
"""Governance is in the leaf itself, which holds 64 KiB."""
HEADER_BYTES_MAX = 512
DAY_MAX = 4_000_000
"""Days since 1970: beyond the year 12000 it is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The signed part of an entry, with its exact bytes."""

    raw: bytes
    ledger_id: bytes
    agency: str
    author: bytes
    created_day: int
    audience: int
    records_count: int
    records_root: bytes
    entry_id: bytes = field(init=False)
    """SHA-256 over the signed bytes: the entry's name everywhere."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_id", hashlib.sha256(DOMAIN + self.raw).digest())

    @property
    def is_public(self) -> bool:
        """Whether the bodies stand in the leaf (governance)."""
        return self.audience == AUDIENCE_PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A signed entry as it is submitted, sequenced and moved: never signed again."""

    header: Header
    signature: bytes
    bodies: tuple[bytes, ...] = ()

    @property
    def signed_message(self) -> SignedMessage:
        """What has to be checked under the author's key."""
        return (self.header.author, DOMAIN + self.header.raw, self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateBodies:
    """What belongs to a private entry and never enters the log: its records and the padding seed."""

    padding_seed: bytes
    records: tuple[Record, ...]

    def hashes(self) -> list[bytes]:
        """All record hashes of the entry, padding included, ascending."""
        padding = padding_hashes(self.padding_seed, padded_count(len(self.records)) - len(self.records))
        return sorted([record.hash for record in self.records] + padding)


def parse_header(raw: bytes) -> Header:
    """Return the header of these canonical bytes; raise `Malformed` for any other form."""
    value = codec.decode(raw, bytes_max=HEADER_BYTES_MAX)
    match value:
        case [
            int(version),
            bytes(ledger_id),
            str(agency),
            bytes(author),
            int(day),
            int(audience),
            int(count),
            bytes(root),
        ]:
            pass
        case _:
            raise Malformed(
                "a header is an array of eight: version, ledger, agency, author, day, audience, count, root"
            )
    if version != VERSION:
        raise Malformed(f"header version {version}, only {VERSION} is known")
    if (len(ledger_id), len(author), len(root)) != (32, KEY_BYTES, 32):
        raise Malformed("ledger id, author key and root have 32 bytes each")
    if day > DAY_MAX:
        raise Malformed(f"created_day {day} is no day of this age")
    _check_count(audience, count)
    return Header(
        raw=raw,
        ledger_id=ledger_id,
        agency=check_name(agency, "agency"),
        author=author,
        created_day=day,
        audience=audience,
        records_count=count,
        records_root=root,
    )


def padded_count(real: int) -> int:
    """Return how many records a private entry with ``real`` records holds: a power of two, at least 4."""
    return max(RECORDS_PRIVATE_MIN, 1 << (real - 1).bit_length())


def sign_private(
    bodies: PrivateBodies, *, ledger_id: bytes, agency: str, created_day: int, signer: Signer
) -> Entry:
    """Return the signed private entry over ``bodies`` (1 to 4,096 records)."""
    if not 1 <= len(bodies.records) <= RECORDS_MAX:
        raise Malformed(f"an entry holds 1 to {RECORDS_MAX} records, not {len(bodies.records)}")
    return _sign(bodies.hashes(), AUDIENCE_PRIVATE, (), ledger_id, agency, created_day, signer)


def sign_padding(
    padding_seed: bytes, *, ledger_id: bytes, agency: str, created_day: int, signer: Signer
) -> Entry:
    """Return a signed private entry of padding alone: the desk's, in an hour without anything to say.

    From outside it is an entry like any other.
    """
    hashes = PrivateBodies(padding_seed=padding_seed, records=()).hashes()
    return _sign(hashes, AUDIENCE_PRIVATE, (), ledger_id, agency, created_day, signer)


def sign_public(
    bodies: Sequence[bytes], *, ledger_id: bytes, agency: str, created_day: int, signer: Signer
) -> Entry:
    """Return the signed public entry over encoded governance bodies (1 to 16)."""
    ordered = tuple(sorted(bodies, key=public_hash))
    hashes = [public_hash(body) for body in ordered]
    return _sign(hashes, AUDIENCE_PUBLIC, ordered, ledger_id, agency, created_day, signer)


def public_hash(body: bytes) -> bytes:
    """Return the record hash of a public body."""
    return merkle.leaf_hash(body)


def records_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over record hashes, which must ascend without repetition (`Malformed`)."""
    if any(left >= right for left, right in itertools.pairwise(hashes)):
        raise Malformed("record hashes must ascend, each once")
    return merkle.root_of(hashes)


def check_parts(signature: bytes) -> None:
    """Raise `Malformed` unless ``signature`` has the length of one."""
    if len(signature) != SIGNATURE_BYTES:
        raise Malformed(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")


def _sign(
    hashes: Sequence[bytes],
    audience: int,
    bodies: tuple[bytes, ...],
    ledger_id: bytes,
    agency: str,
    created_day: int,
    signer: Signer,
) -> Entry:
    root = records_root(hashes)
    fields = [VERSION, ledger_id, agency, signer.public_key, created_day, audience, len(hashes), root]
    raw = codec.encode(fields)
    return Entry(header=parse_header(raw), signature=signer.sign(DOMAIN + raw), bodies=bodies)


def _check_count(audience: int, count: int) -> None:
    if audience == AUDIENCE_PUBLIC:
        if not 1 <= count <= RECORDS_PUBLIC_MAX:
            raise Malformed(f"a public entry holds 1 to {RECORDS_PUBLIC_MAX} records, not {count}")
    elif audience == AUDIENCE_PRIVATE:
        if not RECORDS_PRIVATE_MIN <= count <= RECORDS_MAX or count & (count - 1):
            raise Malformed(
                f"a private entry holds a power of two of records, 4 to {RECORDS_MAX}, not {count}"
            )
    else:
        raise Malformed(f"audience {audience} is neither 0 (private) nor 1 (public)")
