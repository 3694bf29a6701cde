"""Mistakes mended, as records: a correction, a withdrawal, a record that stood with the wrong child.

Nothing is overwritten: a correction is a new record that names the one it takes the place of, a withdrawal
one that says only why. What can be known here is judged here, from the outbox: a record that was corrected
or withdrawn already, or that the node refused, is no live record (`record.supersedes`), and to mend it
again the same way is nothing to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn, TypeAlias

from cli.failures import CellProblem, ListRefused, Usage
from cli.language import say
from cli.outbox import Stored
from ledger.errors import Refused
from ledger.portfolio import expected_period, record_identity
from ledger.record import SALT_BYTES, Basis, Record, make_record
from ledger.rules import violation
from ledger.statute import Kind, Statute, applied_kind, check_fields, is_misfiled
from ledger.vocabulary import MISFILED, WITHDRAWAL_REASONS

ActionName: TypeAlias = Literal["correct", "withdraw", "misfiled"]
REASONS = tuple(reason for reason in WITHDRAWAL_REASONS if reason != MISFILED)
"""Why a record is corrected or withdrawn; the wrong child has a command of its own, because it erases."""
DEFAULT_REASON = REASONS[0]

_WHOLE = re.compile("-?[0-9]{1,15}")
RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """One mistake and the records that mend it; none if that was done before."""

    action: ActionName
    label: str
    old: Record
    new: tuple[Record, ...]

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(field, old, new) of what changes for the pupil of the old record."""
        last = self.new[-1] if self.new else self.old
        if self.action != "correct":
            now = say("mend.withdrawn", reason=self.new[0].fields["reason_code"]) if self.new else ""
            return [("", said(self.old.fields), now)]
        names = dict.fromkeys([*self.old.fields, *last.fields])
        pairs = [(name, self.old.fields.get(name, ""), last.fields.get(name, "")) for name in names]
        return [(name, str(was), str(now)) for name, was, now in pairs if was != now]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the outbox knows of every record signed here."""

    records: Mapping[bytes, Record]
    states: Mapping[bytes, str]
    successors: Mapping[bytes, Record]
    """Record hash to what corrects or withdraws it."""
    erased: tuple[Record, ...]
    """What is left of misfiled records whose content is gone from here: no fields."""
    statute: Statute = field(repr=False)

    def with_identity(self, subject: bytes, kind: Kind, fields: Mapping[str, Any]) -> Record | None:
        """Return the live record signed here of this child with these identity fields."""
        for record in self.records.values():
            is_live = record.hash not in self.successors and self.states[record.hash] != "refused"
            if (record.subject, record.kind) == (subject, kind.name) and is_live:
                has_one = record_identity(self.statute, record) is not None
                if has_one and all(record.fields.get(name) == fields.get(name) for name in kind.identity):
                    return record
        return None


def read_signed(entries: Sequence[Stored], statute: Statute) -> Signed:
    """Return what the entries of an outbox say."""
    pairs = [(record, stored.state) for stored in entries for record in stored.records]
    successors = {one.supersedes: one for one, state in pairs if one.supersedes and state != "refused"}
    records = {record.hash: record for record, _ in pairs}
    gone = [name for name, one in successors.items() if name not in records and is_misfiled(one.fields)]
    erased = {name: _shell(name, successors[name]) for name in gone}
    return Signed(
        records=records | erased,
        states=dict.fromkeys(gone, "accepted") | {record.hash: state for record, state in pairs},
        successors=successors,
        erased=tuple(erased.values()),
        statute=statute,
    )


def _shell(record_hash: bytes, withdrawal: Record) -> Record:
    """What is left of a record that stood with the wrong pupil: its content is gone from here too."""
    return replace(withdrawal, hash=record_hash, fields={}, supersedes=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mender:
    """Makes the records; ``random`` gives their salts."""

    signed: Signed
    random: RandomBytes = field(repr=False)

    def correct(self, old: Record, cells: Mapping[str, str], reason: str, label: str) -> Mend:
        """Return the correction of some fields; a field given empty is left out.

        Raises `ListRefused` for fields that the kind does not take, `Refused` where ``old`` is not live.
        """
        if not old.fields:
            refuse_dead(old.hash, say("mend.was_withdrawn", record=old.hash.hex()[:16]))
        kind = self.signed.statute.kinds[old.kind]
        fields = _changed(old.fields, cells, kind)
        problems = [
            CellProblem(file=label, column=path, value=str(fields.get(path, "")), text=text)
            for path, text in check_fields(kind, fields)
        ]
        if problems:
            raise ListRefused(problems)
        done = fields == old.fields or self._was_done(old, fields)
        basis = old.basis if old.basis.consent else Basis(act=applied_kind(kind, fields).act)
        period = expected_period(kind, fields) or old.period
        new = () if done else (self._record(old, fields, basis, period, f"correction {reason}", old.hash),)
        return Mend(action="correct", label=label, old=old, new=new)

    def withdraw(self, old: Record, reason: str, label: str, action: ActionName = "withdraw") -> Mend:
        """Return the withdrawal of a record."""
        fields = {"reason_code": reason}
        done = self._was_done(old, fields)
        new = () if done else (self._record(old, fields, old.basis, old.period, None, old.hash),)
        return Mend(action=action, label=label, old=old, new=new)

    def refile(self, old: Record, right_subject: bytes, label: str) -> Mend:
        """Return the withdrawal of a record from the wrong child, and the same fact about the right one."""
        if old.subject == right_subject:
            raise Usage(say("mend.same_pupil", label=label))
        if old.basis.consent is not None:
            raise Usage(say("mend.consent", label=label))
        taken_back = self.withdraw(old, MISFILED, label, "misfiled")
        if not taken_back.new:
            return taken_back
        right = self._record(old, old.fields, old.basis, old.period, old.source, None, right_subject)
        return Mend(action="misfiled", label=label, old=old, new=(*taken_back.new, right))

    def _was_done(self, old: Record, fields: Mapping[str, Any]) -> bool:
        """Whether this very mending was signed before; raise `Refused` if ``old`` is not live otherwise."""
        after = self.signed.successors.get(old.hash)
        if after is not None and after.fields != fields:
            key = "mend.was_withdrawn" if "reason_code" in after.fields else "mend.was_corrected"
            names = {"record": old.hash.hex()[:16], "new": after.hash.hex()[:16]}
            refuse_dead(old.hash, say(key, **names))
        if self.signed.states.get(old.hash) == "refused":
            refuse_dead(old.hash, say("mend.never", record=old.hash.hex()[:16]))
        return after is not None

    def _record(
        self,
        old: Record,
        fields: Mapping[str, Any],
        basis: Basis,
        period: str,
        source: str | None,
        supersedes: bytes | None,
        subject: bytes | None = None,
    ) -> Record:
        return make_record(
            subject=subject or old.subject,
            kind=old.kind,
            period=period,
            fields=dict(fields),
            basis=basis,
            salts=(self.random(SALT_BYTES), self.random(SALT_BYTES)),
            source=source,
            supersedes=supersedes,
        )


def refuse_dead(record_hash: bytes, text: str) -> NoReturn:
    """Raise the refusal to mend what is no live record."""
    raise Refused((violation("record.supersedes", text, record=record_hash),))


def _changed(fields: Mapping[str, Any], cells: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    changed = {**fields, **{name: _value(text, kind, name) for name, text in cells.items()}}
    return {name: value for name, value in changed.items() if value != ""}


def _value(text: str, kind: Kind, name: str) -> Any:
    """What was typed as the schema has it; what does not fit stays text, and the schema says what would."""
    if name in kind.integers and _WHOLE.fullmatch(text):
        return int(text)
    part = kind.schema["properties"].get(name, {})
    if part.get("type") == "array" and part["items"].get("type") != "object":
        return sorted({one.strip() for one in text.split(",")})
    return text


def said(fields: Mapping[str, Any]) -> str:
    """Return fields as a person reads them in a line."""
    return ", ".join(f"{name}={value}" for name, value in fields.items())
