"""What became of signed entries, in the words and JSON that a command shows.

`tell` is pure; `show_told` shows it and ends the command with its exit code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli import output
from cli.advice import advice_on
from cli.cells import shown_value
from cli.drafts import Draft
from cli.failures import CellProblem, ListRefused
from cli.headers import UNIT_FIELD
from cli.heard import translated
from cli.language import headings, say
from cli.outbox import Stored
from cli.output import Table
from cli.sending import Delivery, Outcome, is_repetition
from ledger.errors import LedgerError
from node.protocol import Obstacle

IDS_SHOWN = 4
"""Waiting entries named in a line; the rest stands in ``outbox list``."""

KNOWN_SHOWN = 10
"""Records named as already recorded; a list imported twice would fill the screen with what is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer about some entries."""

    value: dict[str, Any]
    parts: tuple[str | Table, ...]
    errors: tuple[LedgerError, ...]

    @property
    def exit_code(self) -> int:
        """A refusal goes before a node that did not answer: it is what a person must mend."""
        return max(
            (output.judge_error(one)[0] for one in self.errors if isinstance(one, ListRefused)),
            default=max((output.judge_error(one)[0] for one in self.errors), default=output.DONE),
        )


def tell(entries: Sequence[Stored], delivery: Delivery | None, drafts: Sequence[Draft] = ()) -> Told:
    """Return the answer about ``entries`` after a delivery, or without one (``--offline``).

    ``drafts`` give the columns of what the node refused.
    """
    delivery = delivery or Delivery(outcomes=())
    outcomes = delivery.of(one.entry_id for one in entries)
    done = {one.signed.entry_id for one in outcomes}
    left = [one for one in entries if one.entry_id not in done]
    by_label = {draft.label: draft for draft in drafts}
    refusals = sorted(
        (found for one in outcomes for found in _refusals(one, by_label)), key=lambda one: one.row or 0
    )
    errors = [ListRefused(refusals)] if refusals else []
    stopped = [delivery.stopped] if delivery.stopped else []
    return Told(
        value={
            "recorded": sum(len(one.stored.records) for one in outcomes if one.stored and not one.problem),
            "already_recorded": sum(map(_count_known, outcomes)),
            "waiting": sum(len(one.records) for one in left),
            "refused": [output.cell_problem(one) for one in refusals],
            "entries": [_entry_value(one) for one in outcomes] + [_waiting_value(one) for one in left],
        },
        parts=tuple(_parts(outcomes, left, is_stopped=bool(stopped))),
        errors=(*errors, *stopped),
    )


def show_told(answer: Told, **more: Any) -> None:
    """Show an answer, its errors on standard error, and end with its exit code."""
    output.show({**more, **answer.value, "exit_code": answer.exit_code}, *answer.parts)
    for error in answer.errors:
        output.fail(error, as_json=False)
    output.finish(answer.exit_code)


def remark_others(delivery: Delivery, entries: Sequence[Stored]) -> None:
    """Say what became of entries that had waited from before."""
    own = {one.entry_id for one in entries}
    for outcome in delivery.outcomes:
        if outcome.signed.entry_id in own:
            continue
        name = outcome.signed.entry_id.hex()[:16]
        if outcome.problem is None:
            output.remark(say("told.late", entry=name))
        else:
            detail = translated(f"{outcome.problem.code}: {outcome.problem.detail}")
            output.remark(say("told.late_refused", entry=name, detail=detail))


def _parts(outcomes: Sequence[Outcome], left: Sequence[Stored], *, is_stopped: bool) -> Iterator[str | Table]:
    for outcome in outcomes:
        if outcome.stored is not None and outcome.problem is None:
            yield _taken_line(outcome.stored, outcome.index)
    known = [one for outcome in outcomes for one in outcome.known]
    if known:
        yield say("told.known", count=len(known))
        rows = [
            [translated(one.label), one.record.kind, one.standing.hex()[:16] if one.standing else ""]
            for one in known[:KNOWN_SHOWN]
        ]
        yield Table(columns=headings(["from", "kind", "recorded as"]), rows=rows)
        if len(known) > KNOWN_SHOWN:
            yield say("told.more", count=len(known) - KNOWN_SHOWN)
    repeated = sum(map(_count_known, outcomes)) - len(known)
    if repeated:
        yield say("told.refused_known", count=repeated)
    if left:
        yield _waiting_line(left, is_stopped=is_stopped)


def _taken_line(stored: Stored, index: int | None) -> str:
    count, entry = len(stored.records), stored.entry_id.hex()[:16]
    if count == 1:
        record = stored.records[0].hash.hex()[:16]
        return say("told.recorded_one", count=count, entry=entry, index=index, record=record)
    return say("told.recorded", count=count, entry=entry, index=index)


def _waiting_line(left: Sequence[Stored], *, is_stopped: bool) -> str:
    count = sum(len(one.records) for one in left)
    why = say("told.node_has_not") if is_stopped else say("told.not_sent")
    names = ", ".join(one.entry_id.hex()[:16] for one in left[:IDS_SHOWN])
    names += ", …" if len(left) > IDS_SHOWN else ""
    return say("told.waiting", count=count, names=names, why=why)


def _refusals(outcome: Outcome, drafts: Mapping[str, Draft]) -> list[CellProblem]:
    """What the node has against an entry, by row and column where it named a record."""
    problem, stored = outcome.problem, outcome.stored or outcome.signed
    if problem is None:
        return []
    obstacles = problem.obstacles or (Obstacle(code=problem.code, detail=problem.detail),)
    return [_refusal(one, stored, drafts) for one in obstacles if not is_repetition(one)]


def _count_known(outcome: Outcome) -> int:
    """Records that stand already: dropped, or in a list that is refused for others."""
    repeated = sum(map(is_repetition, outcome.problem.obstacles)) if outcome.problem else 0
    return len(outcome.known) + repeated


def _refusal(one: Obstacle, stored: Stored, drafts: Mapping[str, Draft]) -> CellProblem:
    text = translated(f"{one.code}: {one.detail}")
    if one.standing is not None:
        text = say("told.recorded_as", text=text, record=one.standing.hex()[:16])
    if advice := advice_on(one.code):
        text += f"; {advice}"
    label = stored.label_of(one.record) if one.record else ""
    draft = drafts.get(label)
    if draft is None:
        return CellProblem(file=label or say("told.entry", entry=stored.entry_id.hex()[:16]), text=text)
    return row_problem(draft, one.detail, text)


def row_problem(draft: Draft, detail: str, text: str) -> CellProblem:
    """Return what is said against a draft, by row, and by column where ``detail`` begins with a field."""
    named = [name for name in draft.fields if detail.startswith((f"{name}:", f"{name} "))]
    columns = named or [name for name in draft.fields if name != UNIT_FIELD]
    return CellProblem(
        file=draft.label.rpartition(" row ")[0] or draft.label,
        row=draft.row,
        column=", ".join(draft.columns.get(name, name) for name in columns),
        value=shown_value(", ".join(str(draft.fields[name]) for name in columns)),
        text=text,
    )


def _entry_value(outcome: Outcome) -> dict[str, Any]:
    if outcome.stored is None:
        return _value(outcome.signed, "already_recorded", None, is_kept=False)
    return _value(outcome.stored, outcome.stored.state, outcome.index)


def _waiting_value(stored: Stored) -> dict[str, Any]:
    return _value(stored, "waiting", None)


def _value(stored: Stored, state: str, index: int | None, *, is_kept: bool = True) -> dict[str, Any]:
    records = [record.hash.hex() for record in stored.records] if is_kept else []
    return {"entry_id": stored.entry_id.hex(), "state": state, "index": index, "records": records}
