"""What became of a record after it was signed here: corrected, withdrawn, or moved to the right pupil.

Read from the outbox alone. What a colleague did to the record on another computer is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cli.language import say
from cli.outbox import Stored
from cli.register import Register
from ledger.record import Record
from ledger.statute import is_withdrawal
from ledger.vocabulary import MISFILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """The record that stands instead, or says why none does; ``pupil`` is the local id it was moved to."""

    what: Literal["corrected", "withdrawn", "moved"]
    record: Record
    state: str
    pupil: str | None = None

    @property
    def value(self) -> dict[str, Any]:
        """As JSON carries it."""
        name = self.record.hash.hex()
        return {"what": self.what, "record": name, "pupil": self.pupil, "state": self.state}

    @property
    def line(self) -> str:
        """As people read it."""
        reason = self.record.fields.get("reason_code", "")
        name, pupil = self.record.hash.hex(), self.pupil or say("show.unknown_pupil")
        lines = {
            "corrected": say("show.corrected", record=name),
            "withdrawn": say("show.withdrawn", reason=reason),
            "moved": say("show.moved", record=name, pupil=pupil),
        }
        return lines[self.what] + ("" if self.state == "accepted" else say("show.not_sent"))


def sequel_of(record: Record, entries: Sequence[Stored], register: Register) -> Sequel | None:
    """Return what the entries of an outbox did to a record after it; None if it stands as it was."""
    for stored in entries:
        for one in stored.records:
            if one.supersedes == record.hash and stored.state != "refused":
                return _sequel(record, one, stored, register)
    return None


def _sequel(record: Record, after: Record, stored: Stored, register: Register) -> Sequel:
    if not is_withdrawal(after.fields):
        return Sequel(what="corrected", record=after, state=stored.state)
    moved = _moved(record, after, stored) if after.fields["reason_code"] == MISFILED else None
    if moved is None:
        return Sequel(what="withdrawn", record=after, state=stored.state)
    pupil = register.with_pupil(moved.subject)
    return Sequel(what="moved", record=moved, state=stored.state, pupil=pupil.local_id if pupil else None)


def _moved(record: Record, after: Record, stored: Stored) -> Record | None:
    """The same fact about another pupil, signed in the same entry for the same mistake.

    Of a record erased here too (no fields) it is the only fact with that label.
    """
    label = stored.label_of(after.hash)
    for one in stored.records:
        is_same = (one.kind, one.period) == (record.kind, record.period) and record.fields in ({}, one.fields)
        if is_same and one.subject != record.subject and stored.label_of(one.hash) == label:
            return one
    return None
