"""What may follow in a log: chain link, hour, ledger, agency, no entry twice, an author who may, openings.

`extend` is the one judge of leaves. The owner's node calls it before it commits, a mirror before it stores,
the offline verifier over a whole file: one code, the same three verdicts. A leaf that breaks a rule is
reported and still counts as a link (it stands there and is hashed), but what it says changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ledger import authority as authority_of
from ledger import keys
from ledger.authority import Author, Authority, judge_author, judge_governance
from ledger.errors import Malformed, Undecided
from ledger.governance import Adopt, Card, Erasure, Governance, Grant, Reconcile, Revoke, parse_governance
from ledger.leaf import Leaf, own_violations, parse_leaf
from ledger.merkle import CompactRange, leaf_hash
from ledger.names import Origin, Place
from ledger.roster import Roster
from ledger.rules import Violation, in_order, violation

Seen: TypeAlias = Callable[[bytes], bool]
"""Whether an entry id already stands in the log (in any era), below the prefix being extended."""

_EFFECT = (Reconcile.kind, Adopt.kind, Card.kind, Grant.kind, Revoke.kind, Erasure.kind)
"""The order in which the public records of one entry are judged and take effect, each after those before it:
their place in the entry is only that of their hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """A log after a prefix of it. ``tree`` is never changed in place."""

    ledger_id: bytes
    origin: Origin
    authority: Authority
    tree: CompactRange
    head: bytes
    """Hash of the last leaf; the ledger id before the first of era 1."""
    hour: int = 0
    undecided_at: int | None = None
    """Index of an adopt whose roster version is not in hand: who may write beyond it cannot be judged."""

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self.tree.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One leaf with its verdict; ``leaf`` is None if its bytes are no leaf at all."""

    index: int
    hash: bytes
    leaf: Leaf | None
    author: Author | None
    violations: tuple[Violation, ...]
    governance: tuple[Governance, ...] = ()


def open_log(ledger_id: bytes, origin: Origin, rosters: Mapping[bytes, Roster]) -> ChainState:
    """Return the state of an empty era 1."""
    authority = Authority(origin=origin, rosters=rosters)
    return ChainState(
        ledger_id=ledger_id, origin=origin, authority=authority, tree=CompactRange(), head=ledger_id
    )


def extend(
    state: ChainState,
    raws: Sequence[bytes],
    seen: Seen,
    verify_many: keys.VerifyMany = keys.verify_many,
) -> tuple[ChainState, list[Judged]]:
    """Return the state after ``raws`` (encoded leaves) and the verdict on each; ``state`` stays as it was.

    Signatures are checked as one batch, which ``verify_many`` may spread over threads. Memory grows with
    the batch only.
    """
    parsed = [_parse(raw, state.size + place) for place, raw in enumerate(raws)]
    signed = [leaf.entry.signed_message for leaf in parsed if isinstance(leaf, Leaf)]
    outcomes = iter(verify_many(signed))
    fold = _Fold(state, seen)
    judged = [fold.step(raw, leaf, outcomes) for raw, leaf in zip(raws, parsed, strict=True)]
    return fold.state(), judged


def _parse(raw: bytes, index: int) -> Leaf | Violation:
    try:
        return parse_leaf(raw)
    except Malformed as error:
        return violation("leaf.form", str(error), index=index)


class _Fold:
    """The running state of one `extend`: own copies, so that the caller's state never changes."""

    def __init__(self, state: ChainState, seen: Seen) -> None:
        self._base = state
        self._seen = seen
        self._new: set[bytes] = set()
        self._tree = state.tree.copy()
        self._head = state.head
        self._hour = state.hour
        self._authority = state.authority
        self._undecided_at = state.undecided_at

    def state(self) -> ChainState:
        return replace(
            self._base,
            authority=self._authority,
            tree=self._tree,
            head=self._head,
            hour=self._hour,
            undecided_at=self._undecided_at,
        )

    def step(self, raw: bytes, leaf: Leaf | Violation, outcomes: Iterator[bool]) -> Judged:
        index = self._tree.size
        if isinstance(leaf, Violation):
            hash_ = leaf_hash(raw)
            self._link(hash_)
            return Judged(index=index, hash=hash_, leaf=None, author=None, violations=(leaf,))
        found = own_violations(leaf, is_signed=next(outcomes), index=index)
        found += self._prefix_violations(leaf, index)
        records = _parse_bodies(leaf, index, found)
        found += _shape_violations([record for record, _ in records], is_opening=index == 0, index=index)
        author = self._judge_contents(leaf, index, records, found)
        self._new.add(leaf.header.entry_id)
        self._hour = max(self._hour, leaf.received_hour)
        self._link(leaf.hash)
        return Judged(
            index=index,
            hash=leaf.hash,
            leaf=leaf,
            author=author,
            violations=tuple(in_order(found)),
            governance=tuple(record for record, _ in records),
        )

    def _link(self, hash_: bytes) -> None:
        self._tree.append(hash_)
        self._head = hash_

    def _prefix_violations(self, leaf: Leaf, index: int) -> list[Violation]:
        header, base = leaf.header, self._base
        checks: tuple[tuple[bool, str, Callable[[], str]], ...] = (
            (leaf.prev == self._head, "leaf.prev", lambda: "prev is not the hash of the leaf before"),
            (
                leaf.received_hour >= self._hour,
                "leaf.hour",
                lambda: f"hour {leaf.received_hour} after hour {self._hour}",
            ),
            (
                header.ledger_id == base.ledger_id,
                "entry.ledger",
                lambda: f"made for ledger {header.ledger_id.hex()[:16]}…",
            ),
            (
                header.agency == base.origin.agency,
                "entry.agency",
                lambda: f"made for {header.agency}, in the log of {base.origin.agency}",
            ),
            (
                not (header.entry_id in self._new or self._seen(header.entry_id)),
                "entry.repeated",
                lambda: f"entry {header.entry_id.hex()[:16]}… stands here already",
            ),
        )
        return [violation(rule, text(), index=index) for holds, rule, text in checks if not holds]

    def _judge_contents(
        self, leaf: Leaf, index: int, records: list[tuple[Governance, bytes]], found: list[Violation]
    ) -> Author | None:
        """Judge author and public records, adding to ``found``; they take effect if nothing was found."""
        unknown = [one for one, _ in records if isinstance(one, Adopt) and not self._knows(one)]
        if self._undecided_at is not None or (index == 0 and unknown):
            found.append(self._undecided(unknown, index))
            return None
        state = self._opening_authority(leaf, records) if index == 0 else self._authority
        author = judge_author(state, leaf.header.author, day=leaf.day, index=index)
        if isinstance(author, Violation):
            found.append(author)
            return None
        found += _office_violations(leaf, author, state, index)
        authority, place = self._authority, Place(self._base.origin.era, index)
        for record, body in records:
            broken = judge_governance(authority, record, author, place)
            found += broken
            if not broken:
                authority = authority_of.apply(authority, record, body, author.key, place)
        if not found:
            self._authority = authority
        elif unknown and all(one.rule.error is Undecided for one in found):
            self._undecided_at = index
        return author

    def _undecided(self, unknown: list[Adopt], index: int) -> Violation:
        """Nothing is known of who may write: say since when."""
        if self._undecided_at is None:
            self._undecided_at = index
            text = f"roster version {unknown[0].version} ({unknown[0].hash.hex()[:16]}…) is not in hand"
        else:
            text = f"rests on the roster version adopted at index {self._undecided_at}, which is not in hand"
        return violation("adopt.undecided", text, index=index)

    def _knows(self, adopt: Adopt) -> bool:
        return adopt.hash in self._authority.rosters

    def _opening_authority(self, leaf: Leaf, records: list[tuple[Governance, bytes]]) -> Authority:
        """The authority under which an opening's author is judged: the root key of the version it adopts."""
        place = Place(self._base.origin.era, 0)
        for record, body in records:
            if isinstance(record, Adopt):
                return authority_of.apply(self._authority, record, body, leaf.header.author, place)
        return self._authority


def _office_violations(leaf: Leaf, author: Author, authority: Authority, index: int) -> list[Violation]:
    """What the author's office forbids whatever the entry says."""
    found = []
    if not leaf.header.is_public and author.office not in ("staff", "desk"):
        text = f"a {author.office} key writes no private entry"
        found.append(violation("author.office", text, index=index))
    sunset = authority.roster.sunset if authority.roster else None
    if sunset is not None and leaf.day > sunset and author.office == "staff":
        found.append(violation("entry.sunset", f"the ledger ended on day {sunset}", index=index))
    return found


def _parse_bodies(leaf: Leaf, index: int, found: list[Violation]) -> list[tuple[Governance, bytes]]:
    """Return the public records in the order of their effect, with their bytes."""
    records = []
    for body in leaf.entry.bodies:
        try:
            records.append((parse_governance(body), body))
        except Malformed as error:
            found.append(violation("governance.form", str(error), index=index))
    return sorted(records, key=lambda one: _EFFECT.index(one[0].kind))


def _shape_violations(records: list[Governance], *, is_opening: bool, index: int) -> list[Violation]:
    """What an entry's public records break by standing together, or at this place."""
    kinds = [record.kind for record in records]
    found = []
    if is_opening and sorted(kind for kind in kinds if kind != Revoke.kind) != [Card.kind, Adopt.kind]:
        text = f"an opening of era 1 is one card and one adopt, not {', '.join(kinds) or 'a private entry'}"
        found.append(violation("opening.form", text, index=index))
    if not is_opening and Reconcile.kind in kinds:
        found.append(violation("reconcile.era", "log.reconcile stands only at index 0", index=index))
    for kind in (Card.kind, Adopt.kind):
        if kinds.count(kind) > 1:  # which of two holds would rest on their hashes
            found.append(violation("governance.form", f"two {kind} in one entry", index=index))
    return found
