"""Looking after what the node has accepted: plain receipts become certified ones, what it lost goes again.

`renew` is a client procedure, as in ``sending``. It asks about accepted entries whose receipt is not
certified yet, the longest unasked first, and believes nothing unproven:

- a receipt that a quorum has cosigned takes the place of the plain one, whose log it must continue;
- where the node shows the entry at another place, or under another history, both receipts are kept: together
  they show that one log key signed two histories;
- an entry that the node knows no more (a restored backup) is sent again as it was signed; what stands
  already, by whatever way it came back, only gives its receipt.

A node that cannot say, and a ledger of one agency, leave everything as it is: nothing here fails a command.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cli.heard import translated
from cli.language import say
from cli.outbox import Outbox, Stored, accepted, is_same_place, refused
from cli.output import is_refusal
from cli.public_log import Target
from cli.sending import RandomBytes, reason_of
from cli.standing import Standing, judge_receipt, read_cards
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.governance import Card
from ledger.keys import SEED_BYTES
from ledger.merkle import check_consistency
from ledger.names import parse_origin
from ledger.note import parse_note
from ledger.proof import parse_proof
from ledger.roster import Roster
from node.protocol import ProblemAnswer, Procedure, Unreachable
from node.session import check_receipt, fetch_consistency, fetch_receipt, submit
from node.submission import format_submission

ASKED_MAX = 16
"""Entries asked about by the way, in a command typed for something else: a second or two on a bad line."""
ASKED_WHOLE_MAX = 2_000
"""Asked about by ``outbox send``: what a school signs in a year, and a bound all the same."""

UNKNOWN = "node.entry"
"""The node's own word that it has no such entry; a 404 of anything else on the way says nothing."""

Word: TypeAlias = Literal["certified", "sent_again", "lost", "refused", "contradicts", "false"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one entry; ``detail`` says what the node said, or why its receipt is false."""

    stored: Stored
    word: Word
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What was found; ``stopped`` says why nothing more was asked, if so."""

    findings: tuple[Finding, ...] = ()
    stopped: LedgerError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What one round judges by."""

    outbox: Outbox
    target: Target
    roster: Roster
    cards: Mapping[str, Card]
    random: RandomBytes
    findings: list[Finding] = field(default_factory=list)
    continued: dict[tuple[Checkpoint, Checkpoint], bool | None] = field(default_factory=dict)
    """Whether the second continues the first: many entries are under a few checkpoints."""

    def tell(self, stored: Stored, word: Word, detail: str = "") -> None:
        """Note what was found."""
        self.findings.append(Finding(stored=stored, word=word, detail=detail))

    def keep(self, stored: Stored, word: Word, detail: str = "") -> None:
        """Note what was found, once the entry is kept so."""
        self.tell(self.outbox.update(stored), word, detail)


def renew(
    outbox: Outbox, target: Target, roster: Roster, random: RandomBytes, count_max: int
) -> Procedure[Renewal]:
    """Look after at most ``count_max`` entries; return what became of them.

    Raises only what this computer's disk is to blame for.
    """
    entries = outbox.uncertified(count_max if len(roster.agencies) > 1 else 0)
    first = next(entries, None)
    if first is None:
        return Renewal()
    try:
        cards = yield from read_cards(roster, target.ledger_id)
    except (ProblemAnswer, Unreachable, Malformed, Unproven) as error:
        outbox.leave_accepted()
        return Renewal(stopped=error)
    own = cards.get(target.agency)
    if own is None or own.log_key != target.log.public_key:
        return Renewal()  # the log has a new key, which `staff connect` takes over
    made = _Round(outbox=outbox, target=target, roster=roster, cards=cards, random=random)
    for stored in itertools.chain([first], entries):
        try:
            yield from _look(made, stored)
        except (ProblemAnswer, Unreachable) as error:
            outbox.leave_accepted()
            return Renewal(findings=tuple(made.findings), stopped=error)
    return Renewal(findings=tuple(made.findings))


def _look(made: _Round, stored: Stored) -> Procedure[None]:
    try:
        receipt = yield from fetch_receipt(stored.entry_id)
    except ProblemAnswer as answer:
        if answer.problem.code != UNKNOWN:
            raise
        yield from _send_again(made, stored)
        return
    try:
        standing = judge_receipt(receipt, stored.entry_id, made.roster, made.cards)
        if standing.checkpoint.origin != made.target.log.name:
            raise Unproven(say("renewing.of_another", origin=standing.checkpoint.origin))
    except (Malformed, Unproven) as error:
        made.tell(stored, "false", str(error))
        return
    yield from _compare(made, stored, standing)


def _compare(made: _Round, stored: Stored, standing: Standing) -> Procedure[None]:
    """Keep the receipt if it says more than the one in hand; tell where it says something else."""
    assert stored.receipt is not None
    cosigned = standing.cosigned if standing.is_certified else ()
    if not is_same_place(stored.receipt, standing.receipt):
        made.keep(accepted(stored, standing.receipt, cosigned=cosigned), "contradicts")
    elif cosigned:
        pair = parse_checkpoint(parse_note(parse_proof(stored.receipt).checkpoint).text), standing.checkpoint
        if pair not in made.continued:
            made.continued[pair] = yield from _is_one_history(*pair)
        is_one = made.continued[pair]
        if is_one is not None:
            kept = accepted(stored, standing.receipt, cosigned=cosigned, contradicts=not is_one)
            made.keep(kept, "certified" if is_one else "contradicts")


def _is_one_history(*pair: Checkpoint) -> Procedure[bool | None]:
    """Whether the node proves that one checkpoint continues the other; None where it has no proof (yet)."""
    old, new = sorted(pair, key=lambda one: one.size)
    if old.size == new.size:
        return old.root == new.root
    try:
        proof = yield from fetch_consistency(parse_origin(new.origin), old.size, new.size)
    except (Malformed, Unproven):
        return None
    try:
        check_consistency(old.size, new.size, proof, old.root, new.root)
    except Unproven:
        return False
    return True


def _send_again(made: _Round, stored: Stored) -> Procedure[None]:
    body = format_submission(stored.submission, made.target.sealing_key, made.random(SEED_BYTES))
    try:
        receipt = yield from submit(body)
    except ProblemAnswer as answer:
        if not is_refusal(answer.problem.status):
            made.tell(stored, "lost", f"{answer.problem.code}: {answer.problem.detail}")
            raise
        reason = reason_of(answer.problem)
        made.keep(refused(stored, reason), "refused", reason)
        return
    try:
        check_receipt(receipt, stored.entry_id, made.target.log)
    except (Malformed, Unproven) as error:
        made.tell(stored, "false", str(error))
        return
    made.keep(accepted(stored, receipt), "sent_again")


def lines_of(renewal: Renewal) -> list[str]:
    """Return what a person is told: everything but that receipts were certified, which is as it should be."""
    return [
        say(f"renewing.{one.word}", entry=one.stored.entry_id.hex()[:16], detail=translated(one.detail))
        for one in renewal.findings
        if one.word != "certified"
    ]
