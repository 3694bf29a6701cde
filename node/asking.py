"""Client procedures for signed requests: what a staff tool asks before it signs, or of what it does not hold.

The request travels sealed to the node, the answer sealed to the asker. An answer is believed because it
names the request's id: only the node that it was sealed to could open the nonce in it. What is read must
besides hash to what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger import codec, keys
from ledger.entry import RECORDS_MAX
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey
from ledger.leaf import HOUR_MAX
from ledger.record import Record, parse_record
from ledger.request import NONCE_BYTES, Action, Check, Read, format_request, sign_request
from node.asked import ANSWER_VERSION, REQUESTS_PATH, Word
from node.protocol import ANSWER_BYTES_MAX, Procedure, Request, check_answer

_WORDS: tuple[Word, ...] = ("recorded", "conflict", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks whom: a staff key, and the node of one agency of one ledger."""

    signer: SigningKey
    ledger_id: bytes
    agency: str
    sealing_key: bytes
    now_ms: int
    random: Callable[[int], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """What the door would say to one record."""

    word: Word
    rule: str | None = None
    text: str | None = None
    standing: bytes | None = None
    signer: bytes | None = None
    """The key that signed what stands."""
    hour: int | None = None
    """When it was received: hours since 1970."""


def ask_check(records: Sequence[Record], asker: Asker) -> Procedure[list[CheckVerdict]]:
    """Return what the door would say to each record, in order; raises `ProblemAnswer`.

    Asked by 4,096: records of one part are judged after each other, as in an entry, those of two parts are
    not.
    """
    verdicts: list[CheckVerdict] = []
    for cut in range(0, len(records), RECORDS_MAX):
        part = tuple(records[cut : cut + RECORDS_MAX])
        value = yield from _ask(Check(records=part), asker)
        verdicts += _parse_verdicts(value, len(part))
    return verdicts


def ask_read(record_hash: bytes, asker: Asker) -> Procedure[Record]:
    """Return the live record of this hash; raises `ProblemAnswer` where there is none or no right to it."""
    value = yield from _ask(Read(record=record_hash), asker)
    match value:
        case {"parts": [bytes(owner), bytes(shown)], **rest} if not rest:
            record = parse_record(owner, shown)
        case _:
            raise Malformed("the answer to a reading is {parts: [owner part, shown part]}")
    if record.hash != record_hash:
        raise Unproven("the node answered with another record than was asked for")
    return record


def _ask(action: Action, asker: Asker) -> Procedure[dict[str, Any]]:
    request = sign_request(
        action,
        ledger_id=asker.ledger_id,
        agency=asker.agency,
        signer=asker.signer,
        nonce=asker.random(NONCE_BYTES),
        created_ms=asker.now_ms,
    )
    body = keys.seal(asker.sealing_key, format_request(request), asker.random(keys.SEED_BYTES))
    response = yield Request(method="POST", path=REQUESTS_PATH, body=body)
    check_answer(response)
    opened = keys.open_sealed(keys.sealing_seed_of(asker.signer), response.body)
    match codec.decode(opened, bytes_max=ANSWER_BYTES_MAX):
        case [int(version), bytes(request_id), dict(value)] if version == ANSWER_VERSION:
            if request_id != request.id:
                raise Unproven("an answer to another request, or not from this node")
            return value
    raise Malformed("an answer is [1, request id, value]")


def _parse_verdicts(value: dict[str, Any], count: int) -> list[CheckVerdict]:
    match value:
        case {"verdicts": list(verdicts), **rest} if not rest and len(verdicts) == count:
            return [_parse_verdict(one) for one in verdicts]
    raise Malformed("the answer to a check is {verdicts}, one for each record")


def _parse_verdict(value: object) -> CheckVerdict:
    match value:
        case None:
            return CheckVerdict(word="new")
        case [str(word), str() | None as rule, str() | None as text, bytes() | None as standing, since]:
            signer, hour = _parse_since(since)
            for known in _WORDS:
                if word == known:
                    return CheckVerdict(
                        word=known, rule=rule, text=text, standing=standing, signer=signer, hour=hour
                    )
    raise Malformed("a verdict is nil for a new record, else [word, rule, text, standing, since]")


def _parse_since(value: object) -> tuple[bytes | None, int | None]:
    match value:
        case None:
            return None, None
        case [bytes(signer), int(hour)] if 0 <= hour <= HOUR_MAX:
            return signer, hour
    raise Malformed("who recorded what stands is [key, hour]")
