"""Signing records into entries, and bringing them from the outbox to the node.

`send_waiting` is a client procedure (see ``node/protocol``): it yields requests and receives responses, so
tests drive it by hand. What it does with a refusal:

- every obstacle is a fact already recorded with equal content: those records are dropped and told as
  "already recorded", the rest is signed again and sent; importing a list twice adds nothing;
- anything else: the entry stays, marked refused, nothing of it was written, and every obstacle is told.

No answer, or a node that cannot do it now, stops the sending; everything not yet taken waits. An entry counts
as taken only when its receipt is here and proves it under the log's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from cli.language import say
from cli.outbox import Outbox, Stored, accepted, refused
from cli.output import is_refusal
from cli.public_log import Target
from ledger.entry import RECORDS_MAX, PrivateBodies, sign_private
from ledger.errors import LedgerError
from ledger.keys import SEED_BYTES, SigningKey
from ledger.log_verifier import Progress
from ledger.record import Record
from ledger.statute import is_misfiled
from node.protocol import Obstacle, Problem, ProblemAnswer, Procedure
from node.session import check_receipt, submit
from node.submission import Submission, format_submission

ALREADY = "record.identity"
"""The rule under which a second record of one fact is refused."""

REASON_CHARS_MAX = 200
"""A node's words as the outbox keeps them: a line, whatever the node sent."""

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who signs: a staff key, for an agency, today (day since 1970, milliseconds since 1970)."""

    signer: SigningKey
    ledger_id: bytes
    agency: str
    day: int
    now_ms: int
    random: RandomBytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A record that was dropped because the same fact stands already, and where."""

    label: str
    record: Record
    standing: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one entry; ``stored`` is None if every record of it was known already."""

    signed: Stored
    """As it was first signed."""
    stored: Stored | None
    index: int | None = None
    known: tuple[Known, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of everything that waited; ``stopped`` says why the rest still waits, if it does."""

    outcomes: tuple[Outcome, ...]
    stopped: LedgerError | None = None

    def of(self, entry_ids: Iterable[bytes]) -> list[Outcome]:
        """Return the outcomes of the entries first signed under these ids."""
        wanted = set(entry_ids)
        return [one for one in self.outcomes if one.signed.entry_id in wanted]


def _quiet(label: str, done: int, total: int) -> None:
    """No progress shown."""


def sign_records(
    records: Sequence[Record], labels: Sequence[str], author: Author, progress: Progress = _quiet
) -> list[Stored]:
    """Return the records signed, up to 4,096 an entry; ``labels`` say where each comes from."""
    entries: list[Stored] = []
    for cut in range(0, len(records), RECORDS_MAX):
        end = cut + RECORDS_MAX
        entries.append(_signed(records[cut:end], labels[cut:end], author))
        progress(say("sending.signed"), min(end, len(records)), len(records))
    return entries


def send_waiting(
    outbox: Outbox,
    target: Target,
    author: Author,
    *,
    with_refused: bool = False,
    progress: Progress = _quiet,
) -> Procedure[Delivery]:
    """Send everything that waits, oldest first; return what became of it."""
    outcomes: list[Outcome] = []
    waiting = outbox.waiting(with_refused=with_refused)
    for stored in waiting:
        try:
            outcomes.append((yield from _send(outbox, stored, target, author)))
        except LedgerError as error:
            return Delivery(outcomes=tuple(outcomes), stopped=error)
        progress(say("sending.sent"), len(outcomes), len(waiting))
    return Delivery(outcomes=tuple(outcomes))


def is_repetition(one: Obstacle) -> bool:
    """Whether a record is refused only because the very same fact is recorded."""
    return one.code == ALREADY and one.is_equal is True


def equal_records(problem: Problem, stored: Stored) -> dict[bytes, Obstacle]:
    """Return the obstacle of each record that stands already, if nothing else is in the way; else nothing."""
    own = {record.hash for record in stored.records}
    equal = {one.record: one for one in problem.obstacles if one.record in own and is_repetition(one)}
    return equal if len(equal) == len(problem.obstacles) else {}


def _send(outbox: Outbox, stored: Stored, target: Target, author: Author) -> Procedure[Outcome]:
    signed, known = stored, list[Known]()
    while True:
        body = format_submission(stored.submission, target.sealing_key, author.random(SEED_BYTES))
        try:
            receipt = yield from submit(body)
        except ProblemAnswer as answer:
            if not is_refusal(answer.problem.status):
                raise
            equal = equal_records(answer.problem, stored)
            if not equal:
                kept = outbox.update(refused(stored, reason_of(answer.problem)))
                return Outcome(signed=signed, stored=kept, known=tuple(known), problem=answer.problem)
            known += [
                Known(label=stored.label_of(one.hash), record=one, standing=equal[one.hash].standing)
                for one in stored.records
                if one.hash in equal
            ]
            rest = _without(stored, set(equal), author)
            if rest is None:
                outbox.drop(stored)
                return Outcome(signed=signed, stored=None, known=tuple(known))
            outbox.replace(stored, rest)
            stored = rest
            continue
        proof, _, _ = check_receipt(receipt, stored.entry_id, target.log)
        if wrong := [one.supersedes for one in stored.records if one.supersedes and is_misfiled(one.fields)]:
            outbox.forget(wrong)  # before the receipt is kept: after a stop in between it is done again
        kept = outbox.update(accepted(stored, receipt))
        return Outcome(signed=signed, stored=kept, index=proof.index, known=tuple(known))


def reason_of(problem: Problem) -> str:
    """Return why an entry was refused, in a line: the first obstacle that is more than a repetition."""
    first = next((one for one in problem.obstacles if not one.is_equal), None)
    if first is None:
        return f"{problem.code}: {problem.detail}"[:REASON_CHARS_MAX]
    others = len(problem.obstacles) - 1
    text = f"{first.code}: {first.detail}"[:REASON_CHARS_MAX]
    return f"{text} (and {others} more)" if others else text


def _without(stored: Stored, dropped: set[bytes], author: Author) -> Stored | None:
    """The entry signed again without some of its records; None if that leaves none."""
    pairs = zip(stored.records, stored.labels, strict=True)
    left = [pair for pair in pairs if pair[0].hash not in dropped]
    if not left:
        return None
    records, labels = zip(*left, strict=True)
    again = _signed(records, labels, author)
    return replace(again, created_ms=stored.created_ms, number=stored.number, pupils=stored.pupils)


def _signed(records: Sequence[Record], labels: Sequence[str], author: Author) -> Stored:
    bodies = PrivateBodies(padding_seed=author.random(32), records=tuple(records))
    entry = sign_private(
        bodies,
        ledger_id=author.ledger_id,
        agency=author.agency,
        created_day=author.day,
        signer=author.signer,
    )
    return Stored(
        submission=Submission(entry=entry, private=bodies),
        created_ms=author.now_ms,
        labels=tuple(labels),
    )
