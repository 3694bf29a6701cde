"""The door for signed requests: ``POST /v1/requests``, a function from its bytes and the time to an answer.

The body is a sealed box to the node's sealing key over ``[request, signature]``: whoever carries it reads
neither who asks nor what. The answer is a sealed box to the X25519 key that belongs to the asker's key,
over ``[1, request id, value]``. In this order, each a refusal of its own: form; ledger, agency, signature;
time; the key a staff key with a grant in force; nonce. Only then is anything looked up, so a stranger
learns nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ledger import codec, keys
from ledger.authority import Author, judge_author
from ledger.errors import Refused
from ledger.leaf import Leaf
from ledger.names import Origin, Place
from ledger.request import Check, Read, SignedRequest, check_request, is_fresh, parse_request
from ledger.rules import Violation, violation
from node.admission import Admission
from node.nonces import NonceStore
from node.protocol import OCTETS, Problem, Response, format_problem
from node.release import Release
from node.submission import open_by_any

REQUESTS_PATH = "/v1/requests"
ANSWER_VERSION = 1
HOUR_MS = 3_600_000

Word: TypeAlias = Literal["new", "recorded", "conflict", "refused"]
"""What the door would say: take it; it stands already; the same fact stands with other content; a rule
forbids it."""

UNREADABLE = Problem(
    status=403, code="node.unreadable", detail="there is no such record, or this key has no right to read it"
)
"""One answer to everything that is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDoor:
    """Answers signed requests to one agency's node."""

    ledger_id: bytes
    origin: Origin
    sealing_seeds: Sequence[bytes]
    nonces: NonceStore
    release: Release

    def answer(self, body: bytes, now_ms: int) -> Response:
        """Return the sealed answer or a problem document; raise the `LedgerError` that refuses it."""
        asked = parse_request(open_by_any(self.sealing_seeds, body))
        check_request(asked, ledger_id=self.ledger_id, agency=self.origin.agency)
        if not is_fresh(asked, now_ms):
            return format_problem(_stale(now_ms))
        sequencer = self.release.sequencer
        sequencer.check_clock(now_ms // HOUR_MS)
        hour = max(now_ms // HOUR_MS, sequencer.state.hour)
        author = self._staff(asked.key, hour // 24)
        if not self._spend(asked, now_ms):
            return format_problem(
                Problem(
                    status=409, code="node.nonce", detail="this request was answered before: make a new one"
                )
            )
        value = self._act(asked, author, hour)
        return format_problem(UNREADABLE) if value is None else self._sealed(asked, value)

    def _staff(self, key: bytes, day: int) -> Author:
        """What the key is; raise `Refused` unless a grant to staff is in force for it."""
        state = self.release.sequencer.state
        author = judge_author(state.authority, key, day=day, index=state.size)
        if isinstance(author, Violation):
            raise Refused((author,))
        if author.office != "staff":
            raise Refused((violation("author.office", f"a {author.office} key asks nothing here"),))
        return author

    def _spend(self, asked: SignedRequest, now_ms: int) -> bool:
        database = self.release.database
        with database.transaction():
            self.release.sequencer.check_lease()
            return self.nonces.spend(asked, now_ms)

    def _act(self, asked: SignedRequest, author: Author, hour: int) -> dict[str, Any] | None:
        match asked.action:
            case Check():
                return {"verdicts": self._check(asked.action, author, hour // 24)}
            case Read():
                record = self.release.read(asked, author, asked.action.record, hour)
                return None if record is None else {"parts": [record.owner_part, record.shown_part]}

    def _check(self, action: Check, author: Author, day: int) -> list[list[Any] | None]:
        """What the door would say to each record, in the order asked; nothing of it is kept."""
        statute = self.release.sequencer.statute
        roster = self.release.sequencer.state.authority.roster
        if roster is not None and roster.sunset is not None and day > roster.sunset:
            raise Refused((violation("entry.sunset", f"the ledger ended on day {roster.sunset}"),))
        admission = Admission(self.release.bodies, self.release.data_keys)
        judged = admission.judge_each(action.records, author, statute, day)
        found = {record.hash: _verdict(breaches) for record, breaches in judged}
        verdicts = [found[record.hash] for record in action.records]
        return self._with_signers(verdicts)

    def _with_signers(self, verdicts: list[list[Any] | None]) -> list[list[Any] | None]:
        """The verdicts with who signed what stands, and when it was received; a leaf is read once."""
        leaves: dict[Place, Leaf | None] = {}
        for one in verdicts:
            if one is None:
                continue
            standing = one[3] and self.release.bodies.find(one[3])
            if standing and standing.place not in leaves:
                leaves[standing.place] = self.release.sequencer.leaf(standing.place)
            leaf = leaves[standing.place] if standing else None
            one.append(leaf and [leaf.header.author, leaf.received_hour])
        return verdicts

    def _sealed(self, asked: SignedRequest, value: dict[str, Any]) -> Response:
        plain = codec.encode([ANSWER_VERSION, asked.id, value])
        sealed = keys.seal(keys.sealing_key_of(asked.key), plain, self.release.random(keys.SEED_BYTES))
        return Response(status=200, body=sealed, content_type=OCTETS, headers={"Cache-Control": "no-store"})


def _verdict(breaches: Sequence[Violation]) -> list[Any] | None:
    """``[word, rule, text, standing]`` of one record; nil if it is new, as most of a list are."""
    if not breaches:
        return None
    others = [one for one in breaches if one.rule.name != "record.identity"]
    first = others[0] if others else breaches[0]
    word: Word = "refused" if others else "recorded" if first.is_equal else "conflict"
    return [word, first.rule.name, first.detail, first.standing]


def _stale(now_ms: int) -> Problem:
    text = "the time in this request is not now by this node's clock: set this computer's clock right"
    return Problem(status=403, code="node.stale", detail=text, now_ms=now_ms)
