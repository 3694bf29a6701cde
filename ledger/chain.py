"""What may follow in a log: chain link, hour, ledger, agency, no entry twice, an author who may, openings.

`extend` is the one judge of leaves. The owner's node calls it before it commits, a mirror before it stores,
the offline verifier over a whole file: one code, the same three verdicts. A leaf that breaks a rule is
reported and still counts as a link (it stands there and is hashed), but what it says changes nothing.

A later era is opened on the state of what it keeps (`open_era`): cards, adopts, grants and revocations go on
from there. Its first leaf is the opening, with a ``log.reconcile``; the next ``carried.count`` leaves are
*moved*: entries of the closed branches, the same signatures in new leaves, all at the hour that the opening
states, and together exactly those it announces. Whether it announces all that it must is not known from the
log alone: that is judged in ``lineage`` by whoever holds the branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from ledger import authority as authority_of
from ledger import keys
from ledger.authority import Author, Authority, judge_author, judge_governance, judge_moved_author
from ledger.errors import Malformed, Undecided
from ledger.governance import Adopt, Card, Erasure, Governance, Grant, Reconcile, Revoke, parse_governance
from ledger.leaf import Leaf, own_violations, parse_leaf
from ledger.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from ledger.names import Head, Origin, Place
from ledger.roster import Ends, Roster
from ledger.rules import Violation, in_order, violation

Seen: TypeAlias = Callable[[bytes], bool]
"""Whether an entry id already stands in the log (in any era), below the prefix being extended."""

_EFFECT = (Reconcile.kind, Adopt.kind, Card.kind, Grant.kind, Revoke.kind, Erasure.kind)
"""The order in which the public records of one entry are judged and take effect, each after those before it:
their place in the entry is only that of their hashes."""


BOUND = (Card.kind, Adopt.kind, Reconcile.kind)
"""Public kinds that are bound to their place: an entry with one of them is never moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """The entries that an opening moves, and those of them that stand so far. ``tree`` is never changed."""

    hour: int
    count: int | None
    """How many; None while they are being chosen: every further leaf is one."""
    root: bytes
    tree: CompactRange

    @property
    def is_complete(self) -> bool:
        """Whether all stand."""
        return self.tree.size == self.count


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
    kept: Head | None = None
    """What this era continues; None in era 1."""
    moving: Moving | None = None
    """What the opening of a later era moves; None before it, and in era 1."""

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
    is_moved: bool = False


def open_log(ledger_id: bytes, origin: Origin, rosters: Mapping[bytes, Roster]) -> ChainState:
    """Return the state of an empty era 1."""
    authority = Authority(origin=origin, rosters=rosters)
    return ChainState(
        ledger_id=ledger_id, origin=origin, authority=authority, tree=CompactRange(), head=ledger_id
    )


def open_era(kept: ChainState, era: int) -> ChainState:
    """Return the state of an empty later ``era`` that keeps the log as ``kept`` is: origin, tree are new.

    `Malformed` unless ``era`` is later and ``kept`` holds a leaf (an empty era 1 may be kept: its opening was
    no good; an empty later era is what it keeps itself).
    """
    origin = replace(kept.origin, era=era)
    if era <= kept.origin.era or (not kept.size and kept.origin.era > 1):
        raise Malformed(f"era {era} cannot keep {kept.size} leaves of {kept.origin}")
    return ChainState(
        ledger_id=kept.ledger_id,
        origin=origin,
        authority=replace(kept.authority, origin=origin),
        tree=CompactRange(),
        head=kept.head,
        hour=kept.hour,
        undecided_at=None if kept.undecided_at is None else 0,
        kept=head_of(kept),
    )


def head_of(state: ChainState) -> Head:
    """Return the state of a log as its era, size and root."""
    return Head(state.origin.era, state.size, state.tree.root())


def reconcile_of(leaf: Leaf) -> Reconcile | None:
    """Return what an opening of a later era says of the eras before, nothing of it checked yet."""
    for body in leaf.entry.bodies:
        with suppress(Malformed):
            record = parse_governance(body)
            if isinstance(record, Reconcile):
                return record
    return None


def is_bound(leaf: Leaf) -> bool:
    """Whether the leaf's entry is bound to its place."""
    found: list[Violation] = []
    return any(record.kind in BOUND for record, _ in _parse_bodies(leaf, 0, found))


def choosing(state: ChainState) -> ChainState:
    """Return the state right after an opening, made to take whatever entries may be moved."""
    if state.moving is None or state.size != 1:
        raise Malformed("entries are chosen right after a valid opening of a later era")
    return replace(state, moving=replace(state.moving, count=None))


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
        self._moving = state.moving and replace(state.moving, tree=state.moving.tree.copy())

    def state(self) -> ChainState:
        return replace(
            self._base,
            authority=self._authority,
            tree=self._tree,
            head=self._head,
            hour=self._hour,
            undecided_at=self._undecided_at,
            moving=self._moving,
        )

    def step(self, raw: bytes, leaf: Leaf | Violation, outcomes: Iterator[bool]) -> Judged:
        index = self._tree.size
        if isinstance(leaf, Violation):
            hash_ = leaf_hash(raw)
            moved = self._move(hash_, index) if self._is_moving() else []
            self._link(hash_)
            return Judged(index=index, hash=hash_, leaf=None, author=None, violations=(leaf, *moved))
        is_moved = self._is_moving()
        found = own_violations(leaf, is_signed=next(outcomes), index=index)
        found += self._prefix_violations(leaf, index)
        records = _parse_bodies(leaf, index, found)
        found += self._shape_violations([record.kind for record, _ in records], index)
        if is_moved:
            found += self._moved_violations(leaf, [record.kind for record, _ in records], index)
        author = self._judge_contents(leaf, index, records, found, is_moved=is_moved)
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
            is_moved=is_moved,
        )

    def _shape_violations(self, kinds: list[str], index: int) -> list[Violation]:
        """What an entry's public records break by standing together, or at this place."""
        found = []
        is_later = self._base.origin.era > 1
        wanted = sorted([Card.kind, Adopt.kind, *([Reconcile.kind] if is_later else [])])
        if index == 0 and sorted(kind for kind in kinds if kind != Revoke.kind) != wanted:
            text = f"an opening is {', '.join(wanted)}, not {', '.join(kinds) or 'a private entry'}"
            found.append(violation("opening.form", text, index=index))
        if index > 0 and Reconcile.kind in kinds:
            found.append(violation("reconcile.era", "log.reconcile stands only at index 0", index=index))
        for kind in (Card.kind, Adopt.kind):
            if kinds.count(kind) > 1:  # which of two holds would rest on their hashes
                found.append(violation("governance.form", f"two {kind} in one entry", index=index))
        return found

    def _is_moving(self) -> bool:
        return self._moving is not None and not self._moving.is_complete

    def _move(self, name: bytes, index: int) -> list[Violation]:
        """Count one more moved entry; at the last one, compare all with what the opening announced."""
        moving = self._moving
        assert moving is not None
        moving.tree.append(name)
        if not moving.is_complete or moving.tree.root() == moving.root:
            return []
        text = f"the {moving.tree.size} moved entries up to here are not those that the opening announces"
        return [violation("reconcile.carried", text, index=index)]

    def _moved_violations(self, leaf: Leaf, kinds: list[str], index: int) -> list[Violation]:
        assert self._moving is not None
        found = self._move(leaf_hash(leaf.header.entry_id), index)
        if leaf.received_hour != self._moving.hour:
            text = f"a moved entry at hour {leaf.received_hour}, not {self._moving.hour}"
            found.append(violation("reconcile.hour", text, index=index))
        if not set(kinds).isdisjoint(BOUND):
            text = f"an entry with {', '.join(kinds)} is never moved"
            found.append(violation("reconcile.moved", text, index=index))
        return found

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
        self,
        leaf: Leaf,
        index: int,
        records: list[tuple[Governance, bytes]],
        found: list[Violation],
        *,
        is_moved: bool,
    ) -> Author | None:
        """Judge author and public records, adding to ``found``; they take effect if nothing was found."""
        unknown = [one for one, _ in records if isinstance(one, Adopt) and not self._knows(one)]
        if self._undecided_at is not None or (index == 0 and unknown):
            found.append(self._undecided(unknown, index))
            return None
        state = self._opening_authority(leaf, records) if index == 0 else self._authority
        key, said = leaf.header.author, [record for record, _ in records]
        if is_moved:
            author = judge_moved_author(state, key, said, day=leaf.day, index=index)
        else:
            author = judge_author(state, key, day=leaf.day, index=index)
        if isinstance(author, Violation):
            found.append(author)
            return None
        found += _office_violations(leaf, author, state, index)
        authority, place = self._authority, Place(self._base.origin.era, index)
        for record, body in records:
            broken = judge_governance(authority, record, author, place)
            if isinstance(record, Reconcile) and index == 0 and not broken:
                broken = self._judge_reconcile(record, leaf, state)
            found += broken
            if not broken:
                authority = authority_of.apply(authority, record, body, author.key, place)
        if not found:
            self._authority = authority
            self._moving = self._moving or _announced([record for record, _ in records])
        elif unknown and all(one.rule.error is Undecided for one in found):
            self._undecided_at = index
        return author

    def _judge_reconcile(self, record: Reconcile, leaf: Leaf, opening: Authority) -> list[Violation]:
        """What an opening says of the eras before; ``opening`` is the authority under which it is judged."""
        found = []
        era = self._base.origin.era
        if record.kept != self._base.kept or any(head.era >= era or not head.size for head in record.closes):
            found.append(("reconcile.heads", "kept and closes are states of earlier eras; kept is continued"))
        end = _end_between(self._authority, opening)
        if end is not None and (record.kept, era) != (end.head, end.next_era):
            text = f"the roster ends the log at {end.head.size} entries of era {end.head.era}"
            found.append(("reconcile.ends", f"{text}, and era {end.next_era} goes on there"))
        if record.hour != leaf.received_hour:
            found.append(("reconcile.hour", f"hour {leaf.received_hour}, the reconcile says {record.hour}"))
        if record.carried[0] == 0 and record.carried[1] != EMPTY_ROOT:
            found.append(("reconcile.carried", "nothing is carried, so its root is that of nothing"))
        return [violation(rule, text, index=0) for rule, text in found]

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


def _announced(records: list[Governance]) -> Moving | None:
    """What a valid opening moves."""
    for record in records:
        if isinstance(record, Reconcile):
            count, root = record.carried
            return Moving(hour=record.hour, count=count, root=root, tree=CompactRange())
    return None


def _end_between(kept: Authority, opening: Authority) -> Ends | None:
    """The newest ``ends`` of this agency in a roster version after the one kept, up to the one adopted."""
    before = kept.roster.version if kept.roster else 0
    after = opening.roster.version if opening.roster else 0
    agency = kept.origin.agency
    later = [one for one in kept.rosters.values() if before < one.version <= after and agency in one.ends]
    return max(later, key=lambda one: one.version).ends[agency] if later else None


def _parse_bodies(leaf: Leaf, index: int, found: list[Violation]) -> list[tuple[Governance, bytes]]:
    """Return the public records in the order of their effect, with their bytes."""
    records = []
    for body in leaf.entry.bodies:
        try:
            records.append((parse_governance(body), body))
        except Malformed as error:
            found.append(violation("governance.form", str(error), index=index))
    return sorted(records, key=lambda one: _EFFECT.index(one[0].kind))
