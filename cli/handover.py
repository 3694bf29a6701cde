"""A signed list on its way to a colleague, who signs it again: the bytes of the file.

::

    [signed, signature]
    signed = [1, ledger id, agency, writer key, recipient key, sealed content]
    content = [created_ms, [[owner part, shown part]...], labels, pupils]

The records are the very bytes that were signed, so their hashes are the same: where the first entry reached
the node after all, it knows them, and nothing is recorded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cli.failures import Usage
from cli.language import say
from cli.outbox import FILE_BYTES_MAX, Stored
from cli.pupil import Pupil, parse_pupil, pupil_line
from ledger import codec, keys
from ledger.entry import RECORDS_MAX
from ledger.errors import Malformed
from ledger.keys import SigningKey
from ledger.record import Record, parse_record

FORMAT = 1
_DOMAIN = b"pledger/handover/v1\x00"

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A file as anybody can read it."""

    ledger_id: bytes
    agency: str
    writer: bytes
    recipient: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What is in it."""

    created_ms: int
    records: tuple[Record, ...]
    labels: tuple[str, ...]
    pupils: tuple[Pupil, ...]


def seal_entry(stored: Stored, writer: SigningKey, recipient: bytes, random: RandomBytes) -> bytes:
    """Return the file that hands an entry's records to the owner of a staff key."""
    header = stored.submission.entry.header
    content = [
        stored.created_ms,
        [[one.owner_part, one.shown_part] for one in stored.records],
        [stored.label_of(one.hash) for one in stored.records],
        [pupil_line(one) for one in stored.pupils],
    ]
    sealed = keys.seal(keys.sealing_key_of(recipient), codec.encode(content), random(keys.SEED_BYTES))
    signed = codec.encode([FORMAT, header.ledger_id, header.agency, writer.public_key, recipient, sealed])
    return codec.encode([signed, writer.sign(_DOMAIN + signed)])


def parse_sealed(data: bytes) -> Sealed:
    """Return a file's outside, its signature checked; raise `Malformed` or `Unproven`."""
    match codec.decode(data, bytes_max=FILE_BYTES_MAX):
        case [bytes(signed), bytes(signature)]:
            pass
        case _:
            raise Malformed(say("handover.form"))
    match codec.decode(signed, bytes_max=FILE_BYTES_MAX):
        case [1, bytes(ledger_id), str(agency), bytes(writer), bytes(recipient), bytes(content)]:
            keys.check_signature(writer, _DOMAIN + signed, signature)
            return Sealed(
                ledger_id=ledger_id, agency=agency, writer=writer, recipient=recipient, content=content
            )
    raise Malformed(say("handover.form"))


def open_sealed(sealed: Sealed, reader: SigningKey) -> Handed:
    """Return what was handed over to the reader; raise `Usage` if it is for another key."""
    if sealed.recipient != reader.public_key:
        raise Usage(say("handover.other", key=sealed.recipient.hex(), own=reader.public_key.hex()))
    plain = keys.open_sealed(keys.sealing_seed_of(reader), sealed.content)
    match codec.decode(plain, bytes_max=FILE_BYTES_MAX):
        case [int(created_ms), list(records), list(labels), list(pupils)] if (
            0 < len(records) <= RECORDS_MAX
            and len(labels) == len(records)
            and all(isinstance(one, str) for one in labels)
        ):
            return Handed(
                created_ms=created_ms,
                records=tuple(map(_record, records)),
                labels=tuple(labels),
                pupils=tuple(map(parse_pupil, pupils)),
            )
    raise Malformed(say("handover.content"))


def _record(value: object) -> Record:
    match value:
        case [bytes(owner), bytes(shown)]:
            return parse_record(owner, shown)
    raise Malformed(say("handover.record"))
