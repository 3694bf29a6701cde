"""The table of rules: every reason for which anything is refused, in the order in which it is reported.

A rule has a name, the verdict it belongs to, the class of error, and whose fault a breach is. The rules are
*held* elsewhere (``leaf``, ``chain``, ``portfolio``, ``verify``): this table only names them, so that node,
verifier and documentation speak of the same things in the same order. A node stops at the first violation,
a verifier lists all; both get them in this order whatever order the work ran in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ledger.errors import LedgerError, Malformed, Refused, Undecided, Unproven

Verdict = Literal["roster", "log", "leaf", "record"]
Fault = Literal["author", "owner", "roster", "bundle", "nobody"]
"""author: who signed the entry; owner: the agency whose log it is; roster: who signed the roster;
bundle: whoever handed over these files; nobody: only something is not in hand."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table."""

    name: str
    verdict: Verdict
    error: type[LedgerError]
    fault: Fault
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A breach of one rule: where (leaf index, record hash, if they apply) and what exactly."""

    rule: Rule
    detail: str
    index: int | None = None
    record: bytes | None = None
    standing: bytes | None = None
    """Record hash of what already stands in the way, for conflicts."""
    is_equal: bool | None = None
    """For conflicts: whether what stands there has the same content."""

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.detail}"


_TABLE: tuple[tuple[str, Verdict, type[LedgerError], Fault, str], ...] = (
    # the root of trust
    ("roster.missing", "roster", Undecided, "nobody", "a roster version or its signatures are not in hand"),
    ("roster.ledger_id", "roster", Unproven, "bundle", "the first roster is not the one the ledger id names"),
    ("roster.form", "roster", Malformed, "roster", "a roster version is not well formed"),
    ("roster.chain", "roster", Unproven, "bundle", "a roster version does not follow those before it"),
    (
        "roster.quorum",
        "roster",
        Unproven,
        "bundle",
        "too few of the keys that must sign a roster version did",
    ),
    # the files of a log
    ("tree.name", "log", Malformed, "bundle", "a file name that could lead outside, or is given twice"),
    ("tree.limit", "log", Malformed, "bundle", "a file is damaged, or larger than its kind can be"),
    ("zip.layout", "log", Malformed, "bundle", "the ZIP is damaged or not laid out as pledger writes it"),
    ("log.missing", "log", Undecided, "nobody", "a log of the roster, or a part of it, is not in hand"),
    ("reconcile.missing", "log", Undecided, "nobody", "what a new era keeps or closes is not in hand"),
    ("branch.name", "log", Unproven, "bundle", "a branch not named by the first leaf that is its own"),
    ("evidence.form", "log", Malformed, "bundle", "a piece of fork evidence is not well formed"),
    ("evidence.proof", "log", Unproven, "bundle", "fork evidence that convicts no key of this log"),
    ("checkpoint.form", "log", Malformed, "bundle", "a checkpoint is not well formed"),
    ("checkpoint.origin", "log", Unproven, "bundle", "a checkpoint of another log or era"),
    ("checkpoint.signature", "log", Unproven, "bundle", "a checkpoint not signed by this era's log key"),
    ("vkey.differs", "log", Unproven, "bundle", "the vkey file is not the log key of the opening"),
    ("bundle.form", "log", Malformed, "bundle", "an entry bundle is not well formed"),
    # a leaf by its own bytes
    ("leaf.form", "leaf", Malformed, "owner", "a leaf is not canonical, or exceeds a limit"),
    ("entry.root", "leaf", Unproven, "author", "public bodies do not give the root that was signed"),
    ("entry.signature", "leaf", Unproven, "author", "the entry's signature does not verify"),
    # a leaf by its prefix
    ("leaf.prev", "leaf", Unproven, "owner", "the leaf does not name the leaf before it"),
    ("leaf.hour", "leaf", Unproven, "owner", "the hour is before that of the leaf before it"),
    ("entry.ledger", "leaf", Unproven, "owner", "an entry of another ledger"),
    ("entry.agency", "leaf", Unproven, "owner", "an entry meant for another agency"),
    ("entry.repeated", "leaf", Refused, "owner", "the entry already stands in this log"),
    ("entry.sunset", "leaf", Refused, "owner", "the ledger has ended: staff write no more"),
    ("author.unknown", "leaf", Refused, "author", "the author's key was never granted in this log"),
    ("author.early", "leaf", Refused, "author", "the author's grant does not hold yet"),
    ("author.late", "leaf", Refused, "author", "the author's grant has ended"),
    ("author.revoked", "leaf", Refused, "author", "the author's key was revoked before"),
    ("author.office", "leaf", Refused, "author", "this key may not write that"),
    ("governance.form", "leaf", Malformed, "author", "a public record is not of its closed form"),
    ("opening.form", "leaf", Refused, "owner", "an era begins with one card, one adopt, later one reconcile"),
    ("card.chain", "leaf", Refused, "owner", "the card does not follow the card before it"),
    (
        "card.keys",
        "leaf",
        Refused,
        "owner",
        "a card key has another use, or the log key changed or came back",
    ),
    ("adopt.version", "leaf", Refused, "owner", "an adopt of an older or another roster"),
    ("adopt.key", "leaf", Refused, "owner", "an adopt whose root key has, or had, another purpose here"),
    ("adopt.undecided", "leaf", Undecided, "nobody", "the adopted roster version is not in hand"),
    ("adopt.cards", "leaf", Refused, "owner", "pins that fall, or are not those of the other agencies"),
    (
        "grant.key",
        "leaf",
        Refused,
        "author",
        "a grant for a key revoked, in another office, or granted too often",
    ),
    ("grant.days", "leaf", Refused, "author", "a grant that ends before it begins"),
    ("revoke.key", "leaf", Refused, "author", "a revocation of the root key or of a key of the card"),
    ("revoke.position", "leaf", Refused, "author", "suspect_from lies beyond the revocation itself"),
    ("reconcile.era", "leaf", Refused, "owner", "log.reconcile opens era 2 or later, and nothing else"),
    ("reconcile.heads", "leaf", Refused, "owner", "an opening that keeps or closes no earlier state"),
    (
        "reconcile.ends",
        "leaf",
        Refused,
        "owner",
        "a new root key's opening not where the roster ends the log",
    ),
    ("reconcile.hour", "leaf", Refused, "owner", "opening and moved entries bear the hour it states"),
    ("reconcile.moved", "leaf", Refused, "owner", "a card, adopt or reconcile is bound to its place"),
    ("reconcile.carried", "leaf", Unproven, "owner", "the moved entries are not those the opening announces"),
    # what follows from all leaves
    ("reconcile.lists", "log", Unproven, "owner", "an opening's lists are not what the closed branches give"),
    ("checkpoint.carried", "log", Refused, "owner", "a checkpoint that does not cover all moved entries"),
    ("checkpoint.root", "log", Unproven, "bundle", "the leaves do not give the root of the checkpoint"),
    ("tile.content", "log", Unproven, "bundle", "a hash tile is not that of the leaves"),
    ("log.forked", "log", Undecided, "owner", "two histories of one log, and no certified era after them"),
    ("log.unproven", "log", Undecided, "owner", "a checkpoint whose leaves nobody shows"),
    ("log.owed", "log", Undecided, "owner", "an entry of a late branch that the log lacks"),
    ("log.level", "log", Undecided, "nobody", "the log is not certified up to its end"),
    # a record, with its body in hand
    ("record.form", "record", Malformed, "author", "a record's parts are not well formed"),
    ("record.root", "record", Unproven, "author", "the records do not give the root that was signed"),
    ("scope.opening", "record", Unproven, "author", "a scope that does not open the grant's commitment"),
    ("record.kind", "record", Refused, "author", "the kind is not on the statutory list"),
    ("record.scope", "record", Refused, "author", "the kind, role or unit is not within the author's scope"),
    ("record.fields", "record", Refused, "author", "the fields are not those of the kind"),
    ("record.period", "record", Refused, "author", "the period is not that of the fields"),
    ("record.date", "record", Refused, "author", "a date in the future, or before the first enrolment"),
    ("record.notice", "record", Refused, "author", "the family was not told before the first record"),
    ("record.enrolment", "record", Refused, "author", "the pupil has no enrolment with this agency"),
    ("record.declined", "record", Refused, "author", "the family declined: only what a law requires follows"),
    ("record.basis", "record", Refused, "author", "no legal act or consent in force supports the record"),
    ("record.supersedes", "record", Refused, "author", "what it corrects is no live record of that pupil"),
    ("record.identity", "record", Refused, "author", "the same fact is already recorded"),
    ("record.displaced", "record", Refused, "nobody", "a moved record breaks a rule by the move alone"),
    ("record.proof", "record", Unproven, "bundle", "a shown record does not lie in the entry it names"),
)

RULES: dict[str, Rule] = {row[0]: Rule(*row) for row in _TABLE}
"""The table, by name, in order."""

_ORDER = {name: place for place, name in enumerate(RULES)}


def violation(
    name: str,
    detail: str,
    *,
    index: int | None = None,
    record: bytes | None = None,
    standing: bytes | None = None,
    is_equal: bool | None = None,
) -> Violation:
    """Return a breach of the rule ``name``, which must stand in the table."""
    return Violation(
        rule=RULES[name], detail=detail, index=index, record=record, standing=standing, is_equal=is_equal
    )


def in_order(violations: Iterable[Violation]) -> list[Violation]:
    """Return ``violations`` in the table's order (stable, so records keep theirs)."""
    return sorted(violations, key=lambda one: _ORDER[one.rule.name])


def check_none(violations: Iterable[Violation]) -> None:
    """Raise `Refused` with the violations, in the table's order, if there is any."""
    found = in_order(violations)
    if found:
        raise Refused(tuple(found))
