"""What the node would say to a list before anything is signed: new, recorded already, in conflict, refused.

The node judges with the very code of its door, and writes nothing. A conflict comes with the command that
would correct what stands.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli import queries
from cli.desk import Desk
from cli.drafts import Draft
from cli.headers import UNIT_FIELD
from cli.heard import translated
from cli.import_records import make_records
from cli.language import headings, say
from cli.output import Table
from ledger.statute import Statute
from node.asked import Word
from node.asking import CheckVerdict

ROWS_SHOWN = 20
"""Rows named on the screen; ``--json`` has all of them."""
WORDS: tuple[Word, ...] = ("new", "recorded", "conflict", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The node's word on each draft, in order."""

    drafts: Sequence[Draft]
    verdicts: Sequence[CheckVerdict]
    statute: Statute

    @property
    def is_clean(self) -> bool:
        """Whether signing the list would be refused nothing."""
        return not any(one.word in ("conflict", "refused") for one in self.verdicts)

    def value(self) -> dict[str, Any]:
        """The JSON object: how many of each word, and every row that is not new."""
        counts = Counter(one.word for one in self.verdicts)
        return {word: counts[word] for word in WORDS} | {
            "rows": [
                {
                    "from": draft.label,
                    "row": draft.row,
                    "verdict": verdict.word,
                    "rule": verdict.rule,
                    "text": verdict.text,
                    "standing": verdict.standing.hex() if verdict.standing else None,
                    "command": self._command(draft, verdict),
                }
                for draft, verdict in self._pairs()
                if verdict.word != "new"
            ]
        }

    def parts(self) -> list[str | Table]:
        """The lines and the table of what stands in the way."""
        parts: list[str | Table] = [_counted(Counter(one.word for one in self.verdicts))]
        wrong = [pair for pair in self._pairs() if pair[1].word in ("conflict", "refused")]
        if wrong:
            rows = [
                [draft.label, translated(f"{one.rule}: {one.text}"), self._command(draft, one) or ""]
                for draft, one in wrong[:ROWS_SHOWN]
            ]
            parts.append(Table(columns=headings(["from", "what", "command"]), rows=rows))
        if len(wrong) > ROWS_SHOWN:
            parts.append(say("told.more", count=len(wrong) - ROWS_SHOWN))
        return parts

    def _pairs(self) -> list[tuple[Draft, CheckVerdict]]:
        return list(zip(self.drafts, self.verdicts, strict=True))

    def _command(self, draft: Draft, verdict: CheckVerdict) -> str | None:
        """What to type so that the standing record says what the row says."""
        if verdict.word != "conflict" or verdict.standing is None:
            return None
        identity = {*self.statute.kinds[draft.kind].identity, UNIT_FIELD}
        fields = [f"{name}={value}" for name, value in draft.fields.items() if name not in identity]
        return f"pledger correct {verdict.standing.hex()} {' '.join(fields)}"


def _counted(counts: Mapping[Word, int]) -> str:
    return say(
        "foreseen.counts",
        new=counts["new"],
        recorded=counts["recorded"],
        conflict=counts["conflict"],
        refused=counts["refused"],
    )


def foresee(desk: Desk, drafts: Sequence[Draft]) -> Foreseen:
    """Return what the node would say to ``drafts``; raises `Unreachable` or `ProblemAnswer`."""
    verdicts = queries.check_records(desk, make_records(drafts, os.urandom))
    return Foreseen(drafts=drafts, verdicts=verdicts, statute=desk.statute)
