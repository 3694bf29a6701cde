"""A signed request: what a person asks of an agency's node, apart from submitting entries.

``[version, ledger_id, agency, key, nonce, created_ms, action, arguments]``, signed with Ed25519 over
``pledger/request/v1\\0`` ‖ its canonical bytes; it travels as ``[request, signature]``. It names the ledger
and the agency, so it is good at one node only; the nonce, which a node takes once, and the time keep it
from being good twice. Actions are a closed list, and so are the arguments of each::

    check   {records: [[owner part, shown part]...]}   what would the door say to each of these?
    read    {record: record hash}                      show me this record

The id is SHA-256 over the signed bytes. Only whoever made a request and whoever opened it know its nonce,
so an answer that names the id comes from the node that it was sealed to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ledger import codec
from ledger.entry import RECORDS_MAX, check_parts
from ledger.errors import Malformed, Unproven
from ledger.keys import KEY_BYTES, Signer, check_signature
from ledger.names import check_name
from ledger.record import Record, parse_record

VERSION = 1
DOMAIN = b"pledger/request/v1\x00"
"""Separates a request's signature from everything else that the same key may sign."""
NONCE_BYTES = 16
"""128 random bits: no two meet, and nobody who did not open the request guesses its id."""
REQUEST_BYTES_MAX = 12 * 1024 * 1024
"""As a submission: 4,096 records of 2 KiB with room."""
AGE_MS_MAX = 5 * 60 * 1000
"""A request is taken five minutes before and after the node's clock: school computers run some minutes off,
and nonces need not be kept for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What would the door say to each of these records, not yet signed?"""

    records: tuple[Record, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.records) <= RECORDS_MAX:
            raise Malformed(f"check has {{records}}: 1 to {RECORDS_MAX} of [owner part, shown part]")
        if len({one.hash for one in self.records}) != len(self.records):
            raise Malformed("check names each record once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Show me the record of this hash."""

    record: bytes

    def __post_init__(self) -> None:
        if len(self.record) != 32:
            raise Malformed("read has {record}: a record hash of 32 bytes")


Action: TypeAlias = Check | Read


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request with the exact bytes that were signed, and the signature over them."""

    raw: bytes = field(repr=False)
    signature: bytes
    ledger_id: bytes
    agency: str
    key: bytes
    nonce: bytes = field(repr=False)
    created_ms: int
    action: Action
    id: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", hashlib.sha256(DOMAIN + self.raw).digest())


def sign_request(
    action: Action, *, ledger_id: bytes, agency: str, signer: Signer, nonce: bytes, created_ms: int
) -> SignedRequest:
    """Return the request for ``action``; ``nonce`` is 16 fresh random bytes, used once."""
    name, arguments = _written(action)
    raw = codec.encode([VERSION, ledger_id, agency, signer.public_key, nonce, created_ms, name, arguments])
    return _parse(raw, signer.sign(DOMAIN + raw), action)


def format_request(request: SignedRequest) -> bytes:
    """Return the bytes that travel, sealed to the node."""
    return codec.encode([request.raw, request.signature])


def parse_request(data: bytes) -> SignedRequest:
    """Return the request in these canonical bytes; raise `Malformed` for any other form."""
    match codec.decode(data, bytes_max=REQUEST_BYTES_MAX):
        case [bytes(raw), bytes(signature)]:
            return _parse(raw, signature)
    raise Malformed("a signed request is [request, signature]")


def check_request(request: SignedRequest, *, ledger_id: bytes, agency: str) -> None:
    """Raise `Unproven` unless its key signed it for this ledger and this agency."""
    if (request.ledger_id, request.agency) != (ledger_id, agency):
        raise Unproven("a request meant for another ledger or agency")
    check_signature(request.key, DOMAIN + request.raw, request.signature)


def is_fresh(request: SignedRequest, now_ms: int) -> bool:
    """Whether it was made about now by the clock of whoever judges it (milliseconds since 1970)."""
    return abs(now_ms - request.created_ms) <= AGE_MS_MAX


def _parse(raw: bytes, signature: bytes, action: Action | None = None) -> SignedRequest:
    """Return the parts of a request; ``action`` where it is known: thousands of records take their time."""
    check_parts(signature)
    match codec.decode(raw, bytes_max=REQUEST_BYTES_MAX):
        case [
            int(version),
            bytes(ledger_id),
            str(agency),
            bytes(key),
            bytes(nonce),
            int(created_ms),
            str(name),
            dict(arguments),
        ]:
            pass
        case _:
            raise Malformed(
                "a request is an array of eight: version, ledger, agency, key, nonce, time, action, arguments"
            )
    if version != VERSION:
        raise Malformed(f"request version {version}, only {VERSION} is known")
    if (len(ledger_id), len(key), len(nonce)) != (32, KEY_BYTES, NONCE_BYTES):
        raise Malformed("ledger id and key have 32 bytes each, a nonce 16")
    return SignedRequest(
        raw=raw,
        signature=signature,
        ledger_id=ledger_id,
        agency=check_name(agency, "agency"),
        key=key,
        nonce=nonce,
        created_ms=created_ms,
        action=action or _parse_action(name, arguments),
    )


def _parse_action(name: str, arguments: Mapping[str, object]) -> Action:
    parse = _ACTIONS.get(name)
    if parse is None:
        raise Malformed(f"action {name[:40]!r} is unknown; known are {', '.join(_ACTIONS)}")
    return parse(arguments)


def _parse_check(arguments: Mapping[str, object]) -> Check:
    match arguments:
        case {"records": list(values), **rest} if not rest and 1 <= len(values) <= RECORDS_MAX:
            return Check(records=tuple(_parse_record(at, one) for at, one in enumerate(values, start=1)))
    raise Malformed(f"check has {{records}}: 1 to {RECORDS_MAX} of [owner part, shown part]")


def _parse_record(number: int, value: object) -> Record:
    match value:
        case [bytes(owner), bytes(shown)]:
            try:
                return parse_record(owner, shown)
            except Malformed as error:
                raise Malformed(f"record {number}: {error}") from None
    raise Malformed(f"record {number}: each record is [owner part, shown part]")


def _parse_read(arguments: Mapping[str, object]) -> Read:
    match arguments:
        case {"record": bytes(record), **rest} if not rest:
            return Read(record=record)
    raise Malformed("read has {record}: a record hash of 32 bytes")


def _written(action: Action) -> tuple[str, dict[str, Any]]:
    if isinstance(action, Check):
        return "check", {"records": [[one.owner_part, one.shown_part] for one in action.records]}
    return "read", {"record": action.record}


_ACTIONS: Mapping[str, Callable[[Mapping[str, object]], Action]] = {
    "check": _parse_check,
    "read": _parse_read,
}
"""The closed list; what families ask will stand here too."""
