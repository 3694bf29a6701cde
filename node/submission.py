"""What a staff tool sends: one entry, and its bodies sealed to the node.

``[1, header, signature, bodies, sealed]``; ``sealed`` is a sealed box to the node's sealing key over
``{padding_seed, records: [[owner part, shown part]...], scopes: [opening...]}``: the real records of a
private entry, or the scope openings of the grants in a public one. Whoever carries the submission (a stick,
a proxy) reads nothing of a pupil in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import codec, keys
from ledger.entry import Entry, PrivateBodies, check_parts, parse_header
from ledger.errors import Malformed
from ledger.record import parse_record

VERSION = 1
SUBMISSION_BYTES_MAX = 12 * 1024 * 1024
"""4,096 records of 2 KiB with room; typical ones take 400 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An entry with what belongs beside the log."""

    entry: Entry
    private: PrivateBodies | None = None
    scopes: tuple[bytes, ...] = ()


def format_submission(submission: Submission, sealing_key: bytes, ephemeral_seed: bytes) -> bytes:
    """Return the bytes to send, bodies sealed to ``sealing_key`` with 32 fresh random bytes."""
    private = submission.private
    plain = codec.encode(
        {
            "padding_seed": private.padding_seed if private else None,
            "records": [[one.owner_part, one.shown_part] for one in private.records] if private else [],
            "scopes": list(submission.scopes),
        }
    )
    entry = submission.entry
    return codec.encode(
        [
            VERSION,
            entry.header.raw,
            entry.signature,
            list(entry.bodies),
            keys.seal(sealing_key, plain, ephemeral_seed),
        ]
    )


def parse_entry(data: bytes) -> tuple[Entry, bytes]:
    """Return the entry of a submission and its sealed part; raise `Malformed` for any other form."""
    match codec.decode(data, bytes_max=SUBMISSION_BYTES_MAX):
        case [int(version), bytes(header), bytes(signature), list(bodies), bytes(sealed)] if (
            version == VERSION and all(isinstance(body, bytes) for body in bodies)
        ):
            check_parts(signature)
            return Entry(header=parse_header(header), signature=signature, bodies=tuple(bodies)), sealed
    raise Malformed("a submission is an array of five: 1, header, signature, bodies, sealed bodies")


def open_submission(data: bytes, sealing_seed: bytes) -> Submission:
    """Return the submission with its bodies; raise `Malformed`, or `Unproven` if sealed to another key."""
    entry, sealed = parse_entry(data)
    value = codec.decode(keys.open_sealed(sealing_seed, sealed), bytes_max=SUBMISSION_BYTES_MAX)
    match value:
        case {"padding_seed": seed, "records": list(records), "scopes": list(scopes), **rest} if (
            not rest and all(isinstance(scope, bytes) for scope in scopes)
        ):
            pass
        case _:
            raise Malformed("sealed bodies are {padding_seed, records, scopes}")
    if entry.header.is_public:
        if seed is not None or records:
            raise Malformed("a public entry has no private records")
        return Submission(entry=entry, scopes=tuple(scopes))
    if scopes or not isinstance(seed, bytes) or len(seed) != 32:
        raise Malformed("a private entry has a padding seed of 32 bytes, and no scopes")
    parts = [_parts(record) for record in records]
    bodies = PrivateBodies(padding_seed=seed, records=tuple(parse_record(*pair) for pair in parts))
    return Submission(entry=entry, private=bodies)


def _parts(value: object) -> tuple[bytes, bytes]:
    match value:
        case [bytes(owner), bytes(shown)]:
            return owner, shown
    raise Malformed("each record is [owner part, shown part]")
