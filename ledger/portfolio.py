"""What one subject has: live records, identities, enrolment, notice, consents; and the record verdict.

A `Portfolio` is the fold of one pseudonym's records in the order of the log. `judge` says what a further
record breaks, `add` returns the portfolio with it. Records of one entry are taken in the order notice,
enrolment, family_keys, then by hash (`order_in_entry`). There is no portfolio over two pupils, and nothing
here counts, ranks or compares them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.governance import Office, Scope
from ledger.layered_map import LayeredMap
from ledger.record import Basis, Record
from ledger.rules import Violation, in_order, violation
from ledger.statute import (
    Kind,
    Statute,
    applied_kind,
    check_fields,
    check_withdrawal_fields,
    identity_of,
    is_withdrawal,
    school_year,
)

ANY_UNIT = "*"
"""A scope's unit that stands for the whole agency (a federation's office, an examination office)."""

_MOVES = ("enrolment", "transfer")
_FIRST = ("notice", "enrolment", "family_keys")
_EPOCH = datetime.date(1970, 1, 1)
_PERIOD = re.compile(r"(20[0-9]{2})/(20[0-9]{2})")
"""A school year. Kinds without a date of their own have one too: a period is no place for a text."""
_DESK = "desk"
"""A role that is the node's own key and that no grant can give to staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAuthor:
    """Who writes a record: the office of the key, and for staff its opened scopes in force."""

    office: Office
    scopes: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """One subject's records after a prefix of the log."""

    statute: Statute
    live: LayeredMap[bytes, Record] = field(default_factory=LayeredMap)
    """Record hash to record: neither superseded nor withdrawn."""
    identities: LayeredMap[bytes, bytes] = field(default_factory=LayeredMap)
    """Identity (as `record_identity`) to the hash of the live record that has it."""
    notices: frozenset[bytes] = frozenset()
    """Hashes of the live notices."""
    moves: tuple[Record, ...] = ()
    """Live enrolments and transfers, each in the place of the first record that it corrects."""
    ended: LayeredMap[bytes, tuple[Record | None, Record]] = field(default_factory=LayeredMap)
    """Hash of a corrected or withdrawn record to it, if its body is held, and to what ended it."""

    @property
    def enrolments(self) -> tuple[Record, ...]:
        """The live enrolments, in order."""
        return tuple(one for one in self.moves if one.kind == "enrolment")

    @property
    def units(self) -> frozenset[str]:
        """The organisations where the pupil is enrolled, or, if nowhere now, was last."""
        current: set[str] = set()
        for one in self.moves:
            if one.kind == "enrolment":
                current.add(one.fields["org_id"])
            else:
                current.discard(one.fields["from_org"])
        return frozenset(current or {one.fields["org_id"] for one in self.enrolments[-1:]})

    @property
    def is_declined(self) -> bool:
        """Whether the newest enrolment says that the family declined the portfolio."""
        return bool(self.enrolments) and self.enrolments[-1].fields.get("profile") == "declined"

    @property
    def has_notice(self) -> bool:
        """Whether the family was told."""
        return bool(self.notices)

    @property
    def first_enrolled(self) -> str | None:
        """ISO date of the first enrolment."""
        return min((str(record.fields["date"]) for record in self.enrolments), default=None)

    def with_identity(self, identity: bytes) -> Record | None:
        """Return the live record that has this identity (as `statute.identity_of`), if there is one."""
        known = self.identities.get(identity)
        return None if known is None else self.live[known]


def order_in_entry(records: Iterable[Record]) -> list[Record]:
    """Return an entry's records in the order in which they are judged."""

    def place(record: Record) -> tuple[int, bytes]:
        return (_FIRST.index(record.kind) if record.kind in _FIRST else len(_FIRST), record.hash)

    return sorted(records, key=place)


def record_identity(statute: Statute, record: Record) -> bytes | None:
    """Return the identity of a record, or None for a withdrawal or a kind that has none."""
    kind = statute.kinds.get(record.kind)
    if kind is None or not kind.identity or is_withdrawal(record.fields):
        return None
    return identity_of(kind, record.fields)


def add(portfolio: Portfolio, record: Record) -> Portfolio:
    """Return the portfolio with a valid record."""
    old = portfolio.live.get(record.supersedes) if record.supersedes else None
    if old is not None:
        portfolio = _without(portfolio, old)
    stands = () if is_withdrawal(record.fields) else (record,)
    for one in stands:
        portfolio = _with(portfolio, one)
    moves = portfolio.moves
    if any(one.hash == record.supersedes for one in moves):
        moves = tuple(kept for one in moves for kept in (stands if one.hash == record.supersedes else (one,)))
    elif record.kind in _MOVES:
        moves += stands
    ended = portfolio.ended
    if record.supersedes is not None:
        ended = ended.with_item(record.supersedes, (old, record))
    return replace(portfolio, moves=moves, ended=ended)


def _with(portfolio: Portfolio, record: Record) -> Portfolio:
    identity, identities = record_identity(portfolio.statute, record), portfolio.identities
    if identity is not None and identity not in identities:
        identities = identities.with_item(identity, record.hash)
    notices = portfolio.notices | ({record.hash} if record.kind == "notice" else frozenset())
    live = portfolio.live.with_item(record.hash, record)
    return replace(portfolio, live=live, identities=identities, notices=notices)


def _without(portfolio: Portfolio, record: Record) -> Portfolio:
    identity, identities = record_identity(portfolio.statute, record), portfolio.identities
    if identity is not None and identities.get(identity) == record.hash:
        identities = identities.without(identity)
    live, notices = portfolio.live.without(record.hash), portfolio.notices - {record.hash}
    return replace(portfolio, live=live, identities=identities, notices=notices)


def judge(portfolio: Portfolio, record: Record, author: RecordAuthor, *, day: int) -> list[Violation]:
    """Return the rules that ``record`` breaks after ``portfolio``, in the table's order.

    ``day`` is that of the leaf's received hour (since 1970). Nothing else of time enters the verdict.
    """
    kind = portfolio.statute.kinds.get(record.kind)
    if kind is None:
        return [violation("record.kind", f"{record.kind!r} is not on the list", record=record.hash)]
    found = _judge_fields(kind, record, day)
    if any(rule == "record.fields" for rule, _ in found):
        return _named(found, record)
    before = _written_before(portfolio, record)
    old = portfolio.live.get(record.supersedes) if record.supersedes else None
    old = before[0] if before else old
    listed, kind = kind, _applied(kind, record, old)
    found += [] if before else _judge_supersedes(portfolio, record)
    found += _judge_pupil(portfolio, kind, record)
    scope = _judge_scope(portfolio, kind, record, author)
    if old is not None and old.kind == record.kind and not scope:  # no teacher corrects an exam into a term
        scope = _judge_scope(portfolio, applied_kind(listed, old.fields), old, author)
    found += scope
    found += _judge_basis(portfolio, kind, record, old, day)
    repeated = [_identity_violation(record, before[1], is_equal=True)] if before else []
    return in_order([*_named(found, record), *(repeated or _judge_identity(portfolio, record))])


Finding = tuple[str, str]
"""Name of a rule and what exactly."""


def _named(found: list[Finding], record: Record) -> list[Violation]:
    return [violation(rule, text, record=record.hash) for rule, text in found]


def _judge_fields(kind: Kind, record: Record, day: int) -> list[Finding]:
    if is_withdrawal(record.fields):
        problems = check_withdrawal_fields(record.fields)
        if record.supersedes is None:
            problems = [("", "a withdrawal must name the record that it withdraws (supersedes)")]
    else:
        problems = check_fields(kind, record.fields)
    if problems:
        return [("record.fields", f"{path}: {text}" if path else text) for path, text in problems]
    return [*_judge_period(kind, record), *_judge_future(kind, record, day)]


def _judge_period(kind: Kind, record: Record) -> list[Finding]:
    years = _PERIOD.fullmatch(record.period)
    if years is None or int(years[1]) + 1 != int(years[2]):
        return [("record.period", f"{record.period!r} is no school year, such as 2026/2027")]
    expected = expected_period(kind, record.fields)
    if expected is not None and record.period != expected:
        return [("record.period", f"period {record.period}, but its fields are of {expected}")]
    return []


def _judge_future(kind: Kind, record: Record, day: int) -> list[Finding]:
    tomorrow = (_EPOCH + datetime.timedelta(days=day + 1)).isoformat()
    dates = ((name, record.fields.get(name)) for name in kind.past_dates)
    return [
        ("record.date", f"{name} {value} lies in the future")
        for name, value in dates
        if value is not None and value > tomorrow
    ]


def expected_period(kind: Kind, fields: Mapping[str, Any]) -> str | None:
    """Return the school year that a record of these fields belongs to; None where the kind has no date."""
    if kind.period_from is None or kind.period_from not in fields:
        return None
    value = str(fields[kind.period_from])
    return value if "/" in value else school_year(datetime.date.fromisoformat(value))


def _written_before(portfolio: Portfolio, record: Record) -> tuple[Record | None, Record] | None:
    """What this very correction or withdrawal ended already, and the record that did: a colleague signed it
    again, and the first copy had reached the node after all."""
    ended = portfolio.ended.get(record.supersedes) if record.supersedes else None
    return ended if ended is not None and ended[1].content() == record.content() else None


def _judge_supersedes(portfolio: Portfolio, record: Record) -> list[Finding]:
    if record.supersedes is None:
        return []
    old = portfolio.live.get(record.supersedes)
    if old is None:
        return [("record.supersedes", f"no live record {record.supersedes.hex()[:16]}… of this pupil")]
    if old.kind != record.kind:
        return [("record.supersedes", f"a {record.kind} cannot correct a {old.kind}")]
    return []


def _judge_pupil(portfolio: Portfolio, kind: Kind, record: Record) -> list[Finding]:
    """Notice, enrolment, a family that declined, dates before the first enrolment."""
    if kind.name == "notice":
        return []
    found: list[Finding] = []
    if not portfolio.has_notice:
        found.append(("record.notice", "no notice to the family stands before this record"))
    if kind.name == "enrolment":
        return found
    if kind.unit_bound and not portfolio.enrolments:
        found.append(("record.enrolment", "enrol the pupil first"))
    if portfolio.is_declined and kind.basis != "law" and not is_withdrawal(record.fields):
        found.append(("record.declined", f"the family declined; {kind.name} is not required by law"))
    first = portfolio.first_enrolled
    for name in kind.past_dates:
        value = record.fields.get(name)
        if first is not None and value is not None and value < first:
            found.append(("record.date", f"{name} {value} is before the first enrolment on {first}"))
    return found


def _applied(kind: Kind, record: Record, old: Record | None) -> Kind:
    """The kind as it applies: a withdrawal is judged as what it takes back (an exam stays an exam)."""
    return applied_kind(
        kind, old.fields if old is not None and is_withdrawal(record.fields) else record.fields
    )


def _judge_scope(portfolio: Portfolio, kind: Kind, record: Record, author: RecordAuthor) -> list[Finding]:
    roles = {role for role, _ in kind.writers}
    if author.office != "staff":
        if author.office in roles:
            return []
        return [("record.scope", f"{kind.name} is not written by a {author.office} key")]
    units = _units_of(portfolio, kind, record)
    for scope in author.scopes:
        in_unit = scope.unit == ANY_UNIT or units is None or scope.unit in units
        if kind.name in scope.kinds and scope.role in roles - {_DESK} and in_unit:
            return []
    held = "; ".join(f"{scope.role} of {scope.unit}" for scope in author.scopes) or "no opened scope"
    return [("record.scope", f"{kind.name} for {_unit_text(units)} is not within: {held}")]


def _units_of(portfolio: Portfolio, kind: Kind, record: Record) -> frozenset[str] | None:
    """The units of which one must be the author's; None where the kind is not bound to a unit."""
    if kind.name == "enrolment" and "org_id" in record.fields:
        return frozenset({record.fields["org_id"]})
    return portfolio.units if kind.unit_bound else None


def _unit_text(units: frozenset[str] | None) -> str:
    return "any unit" if units is None else ", ".join(sorted(units)) or "a pupil of no unit"


def _judge_basis(
    portfolio: Portfolio, kind: Kind, record: Record, old: Record | None, day: int
) -> list[Finding]:
    """A withdrawal may also rest on what the record rested on, whatever became of that: it takes back."""
    if old is not None and is_withdrawal(record.fields) and record.basis in (old.basis, Basis(act=kind.act)):
        return []
    if record.basis.consent is not None:
        if kind.basis == "law":
            return [("record.basis", f"{kind.name} rests on {kind.act}; a consent cannot support it")]
        return _judge_consent(portfolio, kind, record.basis.consent, day)
    if kind.basis == "consent":
        return [("record.basis", f"{kind.name} needs a consent in force")]
    if record.basis.act != kind.act:
        return [("record.basis", f"{kind.name} rests on {kind.act}, not on {record.basis.act!r}")]
    return []


def _judge_consent(portfolio: Portfolio, kind: Kind, consent_hash: bytes, day: int) -> list[Finding]:
    consent = portfolio.live.get(consent_hash)
    if consent is None or consent.kind != "consent":
        return [("record.basis", f"no consent {consent_hash.hex()[:16]}… of this pupil is in force")]
    withdrawn = any(
        record.kind == "consent_withdrawal" and record.fields["target"] == consent_hash.hex()
        for record in portfolio.live.values()
    )
    today = (_EPOCH + datetime.timedelta(days=day)).isoformat()
    fields = consent.fields
    if withdrawn:
        return [("record.basis", "the consent was withdrawn")]
    if not fields["valid_from"] <= today <= fields["valid_until"]:
        return [("record.basis", f"the consent holds from {fields['valid_from']} to {fields['valid_until']}")]
    if kind.name not in fields["kinds"]:
        return [("record.basis", f"the consent does not name {kind.name}")]
    return []


def _judge_identity(portfolio: Portfolio, record: Record) -> list[Violation]:
    identity = record_identity(portfolio.statute, record)
    standing = portfolio.with_identity(identity) if identity is not None else None
    if standing is None or standing.hash == record.supersedes:
        return []
    is_equal = standing.content() == record.content() or (
        record.supersedes is None and standing.fields == record.fields
    )
    return [_identity_violation(record, standing, is_equal=is_equal)]


def _identity_violation(record: Record, standing: Record, *, is_equal: bool) -> Violation:
    text = "already recorded" if is_equal else "recorded with other content: correct it instead"
    return violation("record.identity", text, record=record.hash, standing=standing.hash, is_equal=is_equal)
