"""What a staff tool sends: one entry, and its bodies sealed to the node.

``[1, header, signature, bodies, sealed]``; ``sealed`` is a sealed box to the node's sealing key over
``{padding_seed, records: [[owner part, shown part]...], scopes: [opening...]}``: the real records of a
private entry, or the scope openings of the grants in a public one. Whoever carries the submission (a stick,
a proxy) reads nothing of a pupil in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from ledger import codec, keys
from ledger.entry import Entry, PrivateBodies, check_parts, parse_header
from ledger.errors import Malformed, Unproven
from ledger.record import Record, parse_record
from ledger.rules import Violation, check_none, violation

VERSION = 1
SUBMISSION_BYTES_MAX = 12 * 1024 * 1024
"""4,096 records of 2 KiB with room; typical ones take 400 bytes."""

ENTRY_FILE_BYTES_MAX = 70_000
"""A public entry fits a leaf of 64 KiB."""


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


def format_entry_file(entry: Entry) -> bytes:
    """Return a signed public entry as a file, for somebody else to submit."""
    return codec.encode([entry.header.raw, entry.signature, list(entry.bodies)])


def parse_entry_file(data: bytes, name: str) -> Entry:
    """Return the entry of a file; raise `Malformed`, naming it, for any other form."""
    try:
        match codec.decode(data, bytes_max=ENTRY_FILE_BYTES_MAX):
            case [bytes(header), bytes(signature), list(bodies)] if all(
                isinstance(one, bytes) for one in bodies
            ):
                check_parts(signature)
                return Entry(header=parse_header(header), signature=signature, bodies=tuple(bodies))
    except Malformed as error:
        raise Malformed(f"{name}: no signed entry: {error}") from None
    raise Malformed(f"{name}: no signed entry")


def open_submission(data: bytes, *sealing_seeds: bytes) -> Submission:
    """Return the submission with its bodies, sealed to one of these keys.

    Raises `Malformed`, `Unproven` if it is sealed to another key, `Refused` (record.form) for its records.
    """
    entry, sealed = parse_entry(data)
    value = codec.decode(open_by_any(sealing_seeds, sealed), bytes_max=SUBMISSION_BYTES_MAX)
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
    bodies = PrivateBodies(padding_seed=seed, records=_parse_records(records))
    return Submission(entry=entry, private=bodies)


def open_by_any(sealing_seeds: Sequence[bytes], sealed: bytes) -> bytes:
    """Return what is sealed to one of these keys; raise `Unproven` as for the first if to none.

    A node that has a new sealing key still takes what was sealed to the one before.
    """
    for seed in sealing_seeds[1:]:
        with contextlib.suppress(Unproven):
            return keys.open_sealed(seed, sealed)
    return keys.open_sealed(sealing_seeds[0], sealed)


def _parse_records(values: list[object]) -> tuple[Record, ...]:
    """The records of ``[owner part, shown part]`` each; `Refused` names every one that is not well formed."""
    records, found = list[Record](), list[Violation]()
    for number, value in enumerate(values, start=1):
        try:
            records.append(_parse_record(value))
        except Malformed as error:
            found.append(violation("record.form", f"record {number}: {error}"))
    check_none(found)
    if not records:
        raise Malformed("an entry holds at least one record beside its padding")
    return tuple(records)


def _parse_record(value: object) -> Record:
    match value:
        case [bytes(owner), bytes(shown)]:
            return parse_record(owner, shown)
    raise Malformed("each record is [owner part, shown part]")
