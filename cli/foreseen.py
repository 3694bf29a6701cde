"""What the node would say to a list before anything is signed: new, recorded already, in conflict, refused.

The node judges with the very code of its door, and writes nothing. What is recorded already comes with who
signed it and since when, a conflict with the command that would correct what stands. `foresee` asks; the
rest is pure.
"""

from __future__ import annotations

import datetime
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli import output, queries
from cli.advice import advice_on
from cli.desk import Desk
from cli.drafts import Draft
from cli.failures import CellProblem, ListRefused, Undone
from cli.headers import UNIT_FIELD
from cli.heard import translated
from cli.language import headings, say
from cli.output import Table
from cli.told import KNOWN_SHOWN, remark_others, row_problem
from ledger.errors import LedgerError
from ledger.record import Record
from ledger.statute import Statute
from node.asked import Word
from node.asking import CheckVerdict
from node.protocol import ProblemAnswer, Unreachable

ROWS_SHOWN = 20
"""Rows named on the screen; ``--json`` has all of them."""
WORDS: tuple[Word, ...] = ("new", "recorded", "conflict", "refused")
_WRONG: tuple[Word, ...] = ("conflict", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The node's word on each draft and its record, in order."""

    drafts: Sequence[Draft]
    records: Sequence[Record]
    verdicts: Sequence[CheckVerdict]
    statute: Statute
    own_key: bytes

    @property
    def counts(self) -> Counter[Word]:
        """How many there are of each word."""
        return Counter(one.word for one in self.verdicts)

    @property
    def is_clean(self) -> bool:
        """Whether signing the list would be refused nothing."""
        return not any(one.word in _WRONG for one in self.verdicts)

    def left(self) -> tuple[list[Draft], list[Record]]:
        """What there is to add: new, and of a row of which nothing is in conflict or refused."""
        bad = {draft.row for draft, verdict in self._pairs() if verdict.word in _WRONG}
        kept = [
            (draft, record)
            for (draft, verdict), record in zip(self._pairs(), self.records, strict=True)
            if verdict.word == "new" and draft.row not in bad
        ]
        return [draft for draft, _ in kept], [record for _, record in kept]

    def problems(self) -> list[CellProblem]:
        """What stands in the way, by row and column, each conflict with what to type."""
        wrong = [pair for pair in self._pairs() if pair[1].word in _WRONG]
        return [row_problem(draft, one.text or "", self._against(draft, one)) for draft, one in wrong]

    def value(self) -> dict[str, Any]:
        """The JSON object: how many of each word, and every row that is not new."""
        counts = self.counts
        return {word: counts[word] for word in WORDS} | {
            "rows": [
                {
                    "from": draft.label,
                    "row": draft.row,
                    "verdict": verdict.word,
                    "rule": verdict.rule,
                    "text": verdict.text,
                    "standing": verdict.standing.hex() if verdict.standing else None,
                    "recorded_by": verdict.signer.hex() if verdict.signer else None,
                    "since": _since(verdict) or None,
                    "command": self._command(draft, verdict),
                }
                for draft, verdict in self._pairs()
                if verdict.word != "new"
            ]
        }

    def parts(self) -> list[str | Table]:
        """How many of each word, and what is recorded already."""
        counts = self.counts
        counted = say(
            "foreseen.counts",
            new=counts["new"],
            recorded=counts["recorded"],
            conflict=counts["conflict"],
            refused=counts["refused"],
        )
        parts: list[str | Table] = [counted]
        known = [pair for pair in self._pairs() if pair[1].word == "recorded"]
        if known:
            rows = [
                [translated(draft.label), draft.kind, self._signer(one), _since(one), _name(one)]
                for draft, one in known[:KNOWN_SHOWN]
            ]
            columns = headings(["from", "kind", "author", "since", "recorded as"])
            parts += [say("told.known", count=len(known)), Table(columns=columns, rows=rows)]
        if len(known) > KNOWN_SHOWN:
            parts.append(say("told.more", count=len(known) - KNOWN_SHOWN))
        return parts

    def wrong_parts(self) -> list[str | Table]:
        """The table of what stands in the way, with what to type."""
        wrong = [pair for pair in self._pairs() if pair[1].word in _WRONG]
        rows = [
            [translated(draft.label), translated(f"{one.rule}: {one.text}"), self._command(draft, one) or ""]
            for draft, one in wrong[:ROWS_SHOWN]
        ]
        parts: list[str | Table] = []
        if rows:
            parts.append(Table(columns=headings(["from", "what", "command"]), rows=rows))
        if len(wrong) > ROWS_SHOWN:
            parts.append(say("told.more", count=len(wrong) - ROWS_SHOWN))
        return parts

    def _pairs(self) -> list[tuple[Draft, CheckVerdict]]:
        return list(zip(self.drafts, self.verdicts, strict=True))

    def _against(self, draft: Draft, verdict: CheckVerdict) -> str:
        text = f"{verdict.rule}: {translated(verdict.text or '')}"
        if verdict.standing is not None:
            text = say("told.recorded_as", text=text, record=_name(verdict))
        if verdict.signer is not None:
            text += say("foreseen.by", signer=self._signer(verdict), since=_since(verdict))
        command, advice = self._command(draft, verdict), advice_on(verdict.rule or "")
        return "; ".join(one for one in (text, command, advice) if one)

    def _signer(self, verdict: CheckVerdict) -> str:
        """Who recorded what stands, as people are told: no name is known here, only keys."""
        if verdict.signer is None:
            return ""
        return say("foreseen.you") if verdict.signer == self.own_key else verdict.signer.hex()[:16]

    def _command(self, draft: Draft, verdict: CheckVerdict) -> str | None:
        """What to type so that the standing record says what the row says."""
        if verdict.word != "conflict" or verdict.standing is None:
            return None
        identity = {*self.statute.kinds[draft.kind].identity, UNIT_FIELD}
        fields = [
            f"{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
            for name, value in draft.fields.items()
            if name not in identity
        ]
        return shlex.join(["pledger", "correct", verdict.standing.hex(), *fields])


def _name(verdict: CheckVerdict) -> str:
    return verdict.standing.hex()[:16] if verdict.standing else ""


def _since(verdict: CheckVerdict) -> str:
    """The hour in which what stands was received, in UTC."""
    if verdict.hour is None:
        return ""
    hour = datetime.datetime.fromtimestamp(verdict.hour * 3600, datetime.UTC)
    return f"{hour:%Y-%m-%d %H:%M}"


def foresee(desk: Desk, drafts: Sequence[Draft], records: Sequence[Record]) -> Foreseen | None:
    """Return what the node would say; None where it cannot be asked, which is remarked on.

    Raises `ListRefused` where the node refuses to answer this key: it would refuse the list too.
    """
    try:
        verdicts = queries.check_records(desk, records)
    except (Unreachable, Undone, ProblemAnswer) as error:
        if isinstance(error, ProblemAnswer) and output.is_refusal(error.problem.status):
            raise ListRefused([_refused_as_a_whole(drafts, error)]) from None
        _remark_not_asked(error)
        return None
    return Foreseen(
        drafts=drafts,
        records=records,
        verdicts=verdicts,
        statute=desk.statute,
        own_key=desk.signer.public_key,
    )


def _refused_as_a_whole(drafts: Sequence[Draft], answer: ProblemAnswer) -> CellProblem:
    code = answer.problem.code
    text = "; ".join(one for one in (translated(answer.problem.detail), advice_on(code)) if one)
    text = text if text.startswith(f"{code}:") else f"{code}: {text}"
    return CellProblem(file=drafts[0].label.rpartition(" row ")[0], text=text)


def send_first(desk: Desk) -> bool:
    """Send what waits from before, or the node would judge without it; return whether all of it is there.

    What it had accepted is looked after: it judges without that too, if it has lost it.
    """
    try:
        if not desk.outbox.waiting():
            desk.look_after()
            return True
        delivery = desk.send()
    except Undone as error:
        _remark_not_asked(error)
        return False
    remark_others(delivery, ())
    if delivery.stopped is not None:
        _remark_not_asked(delivery.stopped)
    return delivery.stopped is None


def _remark_not_asked(error: LedgerError) -> None:
    output.remark(say("foreseen.not_asked", reason=translated(str(error))))
