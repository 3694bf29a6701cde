"""What belongs to an agency's log: what a new era keeps, carries and sets aside, and what is late or owed.

**Kept** holds what is known certified. From there it follows, at every parting, the branch where most
agencies' last cosignatures stand; where as many stand on two, the longer one, then the one whose next leaf
hash is smaller. It ends at the newest signed checkpoint below the first leaf that is not sound.

**Lists.** The entries of the closed branches that ``kept`` lacks are taken branch by branch, sorted by
root, each in its own order; each not met before is judged at its turn by the leaf rules alone at the hour
of the opening. Those that stand are *carried*, the others *set aside* under the first rule they break. In
neither list are entries with a card, adopt or reconcile (bound to their place), and leaves whose own bytes
are false: a bad signature, or bodies that do not give the signed root, show no entry. Were such a leaf a
meeting, whoever holds the log key could shut out a true entry by a false copy in a branch of a smaller
root.

**Late** is a branch or tail of an earlier era once a later opening is certified; an entry in it that the
log lacks is *owed* until it is appended, or closed by a later opening. All functions are pure; what is
certified, and who cosigned what, comes in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeAlias

from ledger import keys
from ledger.branches import START, Branches, History, Position
from ledger.chain import ChainState, Seen, choosing, extend, is_bound, reconcile_of
from ledger.errors import Malformed, Undecided
from ledger.governance import HEADS_MAX, Reconcile
from ledger.leaf import Leaf, make_leaf, own_violations, parse_leaf
from ledger.merkle import leaf_hash, root_of
from ledger.names import Head
from ledger.roster import Ends
from ledger.rules import Violation, violation

BATCH = 256
"""Signatures checked together: what one bundle holds."""

Standing: TypeAlias = Literal["part", "ended", "open", "closed", "late"]
"""part: of the log. ended: beyond where a roster ends it. open: a fork not yet reconciled. closed: named by a
certified opening. late: of an earlier era, and no opening named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An entry that could not be moved, and the name of the first rule it breaks."""

    entry_id: bytes
    rule: str
    leaf: Leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What an opening does with the entries of the branches it closes, each in the order judged."""

    carried: tuple[Leaf, ...]
    """The entries as they stood in their branch; they are moved in this order."""
    set_aside: tuple[SetAside, ...]

    def commitments(self) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        """Return ``carried`` and ``set_aside`` as a ``log.reconcile`` states them."""
        carried = root_of(leaf_hash(leaf.header.entry_id) for leaf in self.carried)
        aside = root_of(leaf_hash(one.entry_id + one.rule.encode()) for one in self.set_aside)
        return (len(self.carried), carried), (len(self.set_aside), aside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a log beside its branches (by their heads)."""

    certified: Collection[Head] = ()
    """Checkpoints known certified."""
    last_cosigned: Mapping[str, Head] = field(default_factory=dict)
    """By agency, the newest checkpoint of this log that it cosigned."""
    sound: Mapping[Head, int] = field(default_factory=dict)
    """How many leaves of a branch may be kept, if not all: an invalid one or a wrong hour ends it. None where
    the opening `is_cut_off`: ``cut_off`` alone does not show a thief's, who adopts an older roster."""
    signed: Mapping[Head, Collection[int]] = field(default_factory=dict)
    """Sizes of signed checkpoints of a branch below its head."""
    ends: Ends | None = None
    """Where the roster version adopted ends the log, if the opening's root key comes by it."""
    cut_off: Collection[Ends] = ()
    """Every ``ends`` of this agency: what lies beyond is not kept."""


def choose_kept(branches: Branches, facts: Facts) -> Head:
    """Return what a new era keeps. `Undecided` if a certified checkpoint's leaves are not in hand."""
    if facts.ends is not None:
        return facts.ends.head
    certified = _newest_certified(branches, facts)
    candidates = [one for one in _histories(branches, facts) if branches.contains(one, certified)]
    chosen = _follow(branches, facts, candidates) if candidates else branches.history(certified)
    return _sound_end(branches, facts, chosen, certified)


def choose_closes(branches: Branches, kept: Head) -> list[Head]:
    """Return the branches that an opening on ``kept`` closes, sorted by root: those with leaves it lacks.

    Not those that an opening of the kept history closed already. At most `HEADS_MAX`, the longest first:
    what is left over is late, and its entries are owed until a later opening closes it too.
    """
    history = branches.history(kept)
    done = [head for opened in history if (one := _reconcile_of(branches, opened)) for head in one.closes]
    found: list[Head] = []
    for branch in sorted(branches.all, key=lambda one: (-one.head.size, one.head.root)):
        head = branch.head
        is_closed = any(branches.covers(one, head) for one in (*found, *done))
        if not is_closed and not branches.contains(history, head):
            found.append(head)
        if len(found) == HEADS_MAX:
            break
    return sorted(found, key=_by_root)


def choose_lists(
    opened: ChainState,
    branches: Branches,
    closes: Iterable[Head],
    seen: Seen,
    verify_many: keys.VerifyMany = keys.verify_many,
) -> Lists:
    """Return what becomes of the entries of ``closes``, judged from ``opened`` on.

    ``opened`` is the state right after the opening; ``seen`` says which entry ids the kept history and the
    opening hold. `Undecided` if a closed branch is not in hand, or who may write is not known.
    """
    state = choosing(opened)
    met: set[bytes] = set()
    carried: list[Leaf] = []
    aside: list[SetAside] = []
    for leaf in _closed_leaves(branches, closes, verify_many):
        entry_id = leaf.header.entry_id
        if entry_id in met or seen(entry_id) or is_bound(leaf):
            continue
        met.add(entry_id)
        state, broken = _judge_moved(state, leaf, seen)
        if broken is None:
            carried.append(leaf)
        else:
            aside.append(SetAside(entry_id=entry_id, rule=broken, leaf=leaf))
    return Lists(carried=tuple(carried), set_aside=tuple(aside))


def check_lists(
    opened: ChainState,
    reconcile: Reconcile,
    branches: Branches,
    seen: Seen,
    verify_many: keys.VerifyMany = keys.verify_many,
) -> tuple[list[Violation], Lists | None]:
    """Return what a valid opening's lists break, and the lists that the closed branches give.

    Without a closed branch in hand the verdict is undecided: ``reconcile.missing``, and no lists.
    """
    try:
        lists = choose_lists(opened, branches, reconcile.closes, seen, verify_many)
    except Undecided as error:
        return [violation("reconcile.missing", str(error), index=0)], None
    given, expected = (reconcile.carried, reconcile.set_aside), lists.commitments()
    if given == expected:
        return [], lists
    (carried, _), (aside, _) = expected
    text = (
        f"the closed branches give {carried} entries carried and {aside} set aside, "
        f"the opening states {given[0][0]} and {given[1][0]}, or others"
    )
    return [violation("reconcile.lists", text, index=0)], lists


def standing(
    branches: Branches,
    head: Head,
    log: History,
    *,
    settled: Collection[int],
    closes: Iterable[Head],
    ends: Iterable[Ends] = (),
) -> Standing:
    """Return what the branch ``head`` is to the ``log``.

    ``settled`` are the eras of the log whose opening is certified (at n = 1: sequenced), ``closes`` the
    branches that their openings name, ``ends`` what roster versions say of this agency.
    """
    if any(is_ended(head, end) for end in ends):
        return "ended"
    if branches.contains(log, head):
        return "part"
    if not any(era > head.era for era in settled):
        return "open"
    return "closed" if any(branches.covers(one, head) for one in closes) else "late"


def is_ended(head: Head, end: Ends) -> bool:
    """Whether a state lies beyond where a roster version ends the log: kept, shown, no part of it."""
    return (end.head.era, end.head.size) < (head.era, head.size) and head.era < end.next_era


def is_cut_off(era: int, adopted: int, version: int, end: Ends) -> bool:
    """Whether an opening that adopts roster version ``adopted`` counts no more by what ``version`` ends.

    It lies between the ended era and the next, or after it and does not know the version.
    """
    return adopted < version if era >= end.next_era else era > end.head.era


def owed(
    leaves: Iterable[bytes], in_log: Seen, is_set_aside: Seen, verify_many: keys.VerifyMany = keys.verify_many
) -> list[bytes]:
    """Return the ids of the entries of a late branch or tail that the log neither holds nor set aside."""
    found = dict.fromkeys(
        leaf.header.entry_id for leaf in _true_leaves(leaves, verify_many) if not is_bound(leaf)
    )
    return [entry_id for entry_id in found if not in_log(entry_id) and not is_set_aside(entry_id)]


def _newest_certified(branches: Branches, facts: Facts) -> Head:
    """The certified checkpoint that is kept: of two that contradict (false witnesses) the later one."""
    newest = max(facts.certified, key=lambda head: (head.era, head.size), default=START)
    branches.history(newest)
    return newest


def _histories(branches: Branches, facts: Facts) -> Iterator[History]:
    """The histories of which one may be kept."""
    for branch in branches.all:
        is_cut = any(is_ended(branch.head, end) for end in facts.cut_off)
        if not is_cut and facts.sound.get(branch.head) != 0:
            with suppress(Undecided):  # what it goes on from is not in hand: nothing can be kept of it
                yield branches.history(branch.head)


def _follow(branches: Branches, facts: Facts, candidates: list[History]) -> History:
    """Follow the branch with most last cosignatures from parting to parting, to its end."""
    while True:
        reference = max(candidates, key=lambda one: (len(one), one[-1].era, one[-1].size))
        at = {one: branches.parting(reference, one) for one in candidates}
        partings = [position for position in at.values() if position is not None]
        if not partings:
            return _longest(candidates, branches)
        first = min(partings)
        groups: dict[bytes, list[History]] = {}
        for one in candidates:
            leaf = branches.next_leaf(one, first)
            if leaf is not None:
                groups.setdefault(leaf, []).append(one)
        candidates = groups[_most_cosigned(branches, facts, groups, first)]


def _longest(candidates: Iterable[History], branches: Branches) -> History:
    """Of histories each the beginning of the next, the last."""
    longest: History = (START,)
    for one in candidates:
        if branches.contains(one, longest[-1]):
            longest = one
    return longest


def _most_cosigned(
    branches: Branches, facts: Facts, groups: Mapping[bytes, Sequence[History]], at: Position
) -> bytes:
    """The next leaf hash behind which most agencies' last cosignatures stand."""

    def votes(histories: Sequence[History]) -> int:
        beyond = [head for head in facts.last_cosigned.values() if (head.era, head.size) > (at.era, at.index)]
        return sum(any(branches.contains(one, head) for one in histories) for head in beyond)

    def weight(leaf: bytes) -> tuple[int, int]:
        return votes(groups[leaf]), max(sum(head.size for head in one) for one in groups[leaf])

    return max(sorted(groups), key=weight)


def _sound_end(branches: Branches, facts: Facts, chosen: History, certified: Head) -> Head:
    """The newest signed checkpoint of ``chosen`` that keeps nothing unsound, or what is certified."""
    end = chosen[-1]
    branch = branches.holding(end)
    if branch is None:
        return end
    sound = min(end.size, facts.sound.get(branch.head, end.size))
    sizes = {end.size, *facts.signed.get(branch.head, ())}
    size = max((size for size in sizes if 0 < size <= sound), default=0)
    if certified.era == end.era and certified.size >= size:
        return certified
    if size == 0:
        return _sound_end(branches, facts, chosen[:-1], certified) if len(chosen) > 1 else START
    return end if size == end.size else branches.head_at(branch, size)


def _reconcile_of(branches: Branches, head: Head) -> Reconcile | None:
    """What the opening of a later era states."""
    branch = branches.holding(head)
    if head.era == 1 or branch is None:
        return None
    [opening] = branch.leaves(0, 1)
    return reconcile_of(parse_leaf(opening))


def _closed_leaves(
    branches: Branches, closes: Iterable[Head], verify_many: keys.VerifyMany
) -> Iterator[Leaf]:
    for head in sorted(closes, key=_by_root):
        branch = branches.holding(head)
        if branch is None:
            raise Undecided(f"the closed branch of {head.size} leaves of era {head.era} is not in hand")
        yield from _true_leaves(branch.leaves(0, head.size), verify_many)


def _true_leaves(raws: Iterable[bytes], verify_many: keys.VerifyMany) -> Iterator[Leaf]:
    """The leaves whose own bytes are true; others show no entry."""
    rest = iter(raws)
    while batch := list(islice(rest, BATCH)):
        leaves = [leaf for leaf in map(_parsed, batch) if leaf is not None]
        signed = verify_many([leaf.entry.signed_message for leaf in leaves])
        pairs = zip(leaves, signed, strict=True)
        yield from (leaf for leaf, is_signed in pairs if not own_violations(leaf, is_signed=is_signed))


def _parsed(raw: bytes) -> Leaf | None:
    try:
        return parse_leaf(raw)
    except Malformed:
        return None


def _judge_moved(state: ChainState, leaf: Leaf, seen: Seen) -> tuple[ChainState, str | None]:
    """Return the state after the entry in its new place, or the state as it was and the rule it breaks."""
    assert state.moving is not None
    try:
        moved = make_leaf(leaf.entry, prev=state.head, received_hour=state.moving.hour)
    except Malformed:
        return state, "leaf.form"
    after, [judged] = extend(state, [moved.raw], seen, lambda batch: [True] * len(batch))
    if not judged.violations:
        return after, None
    first = judged.violations[0].rule
    if first.error is Undecided:
        raise Undecided(judged.violations[0].detail)
    return state, first.name


def _by_root(head: Head) -> tuple[bytes, int, int]:
    return head.root, head.era, head.size
