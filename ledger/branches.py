"""The histories of one log in hand: eras, branches, which checkpoint contains which, and what contradicts.

A *branch* is one sequence of leaves of one era below a signed checkpoint. A branch of a later era goes on
from the state that its opening keeps, so each has one *history*: the states it keeps of earlier eras,
oldest first, and its own. An agency's log is such a history; eras passed over are in none. Two checkpoints
contradict when neither history contains the other. All is computed from roots: a root binds every leaf
below it, and an opening binds what it keeps.

A branch is named by its first own leaf hash, the first that no branch stored before it has; every leaf hash
commits to all before it, so no two branches have one name. Which was first decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ledger.errors import Undecided
from ledger.merkle import EMPTY_ROOT, HashReader
from ledger.names import Head
from ledger.tiles import first_difference

History: TypeAlias = tuple[Head, ...]
"""What counts, era by era and oldest first: the last is the checkpoint itself."""

START = Head(1, 0, EMPTY_ROOT)
"""The log before its first leaf."""


class BranchReader(Protocol):
    """One branch of one era: leaves that were checked to give the root of a signed checkpoint."""

    @property
    def head(self) -> Head:
        """Era, size and root of the checkpoint."""
        ...

    @property
    def kept(self) -> Head | None:
        """What the opening keeps; None in era 1."""
        ...

    @property
    def reader(self) -> HashReader:
        """The hash tree of the leaves."""
        ...

    def root_at(self, size: int) -> bytes | None:
        """The root of the first ``size`` leaves, 1 or more; None beyond the last."""
        ...

    def leaves(self, start: int, end: int) -> Iterable[bytes]:
        """The encoded leaves [start, end)."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where two histories part: before leaf ``index`` of ``era``."""

    era: int
    index: int


class Branches:
    """Some branches of one log, and what follows from their roots."""

    def __init__(self, branches: Iterable[BranchReader]) -> None:
        self.all: tuple[BranchReader, ...] = tuple(sorted(branches, key=lambda one: _order(one.head)))
        self._of_era: dict[int, list[BranchReader]] = {}
        self._by_head = {branch.head: branch for branch in self.all}
        for branch in self.all:
            self._of_era.setdefault(branch.head.era, []).append(branch)

    def holding(self, head: Head) -> BranchReader | None:
        """Return a branch in hand that has ``head``, or None."""
        if head in self._by_head:
            return self._by_head[head]
        of_era = [one for one in self._of_era.get(head.era, ()) if 0 < head.size <= one.head.size]
        return next((one for one in of_era if head in (one.head, self._at(one, head.size))), None)

    def history(self, head: Head) -> History:
        """Return the history of ``head``; `Undecided` if a branch on the way is not in hand."""
        history = [head]
        while head.era > 1:
            branch = self.holding(head)
            if branch is None or branch.kept is None:
                raise Undecided(f"the {head.size} leaves of era {head.era} are not in hand")
            head = branch.kept
            history.append(head)
        return tuple(reversed(history))

    def contains(self, history: History, head: Head) -> bool:
        """Whether ``head`` is a state that ``history`` went through; `Undecided` without its leaves."""
        for own in history:
            if own.era == head.era:
                return head == own or (head.size < own.size and self._root(own, head.size) == head.root)
        return head == START

    def contradict(self, one: Head, two: Head) -> bool:
        """Whether neither history contains the other's checkpoint."""
        first, second = self.history(one), self.history(two)
        return not self.contains(first, two) and not self.contains(second, one)

    def parting(self, one: History, two: History) -> Position | None:
        """Return where two histories part, or None if one of them is the beginning of the other."""
        before = Position(1, 0)
        for mine, theirs in zip(one, two, strict=False):
            if mine.era != theirs.era:
                return before
            common = self._common(mine, theirs)
            if common < min(mine.size, theirs.size):
                return Position(mine.era, common)
            if mine.size != theirs.size:
                shorter = one if mine.size < theirs.size else two
                is_end = shorter[-1].era == mine.era
                return None if is_end else Position(mine.era, common)
            before = Position(mine.era, mine.size)
        return None

    def next_leaf(self, history: History, at: Position) -> bytes | None:
        """Return the hash of the leaf of ``history`` that stands at ``at``, or opens the era after it."""
        for own in history:
            if own.era == at.era and own.size > at.index:
                return self._leaf(own, at.index)
            if own.era > at.era:
                return self._leaf(own, 0)
        return None

    def head_at(self, branch: BranchReader, size: int) -> Head:
        """Return the state of ``branch`` after its first ``size`` leaves (1 or more)."""
        return Head(branch.head.era, size, self._root_of(branch, size))

    def covers(self, closed: Head, head: Head) -> bool:
        """Whether ``head`` lies on the branch ``closed``, not beyond it; False if that cannot be seen."""
        is_known = head == closed or self.holding(closed) is not None
        return is_known and head.era == closed.era and self.contains((closed,), head)

    def _leaf(self, head: Head, index: int) -> bytes:
        [leaf] = self._branch(head).reader.hashes(0, index, 1)
        return leaf

    def _common(self, one: Head, two: Head) -> int:
        if one == two or not min(one.size, two.size):
            return min(one.size, two.size)
        left, right = self._branch(one), self._branch(two)
        return first_difference(left.reader, one.size, right.reader, two.size)

    def _branch(self, head: Head) -> BranchReader:
        branch = self.holding(head)
        if branch is None:
            raise Undecided(f"the {head.size} leaves of era {head.era} are not in hand")
        return branch

    def _root(self, own: Head, size: int) -> bytes:
        return EMPTY_ROOT if not size else self._root_of(self._branch(own), size)

    @staticmethod
    def _at(branch: BranchReader, size: int) -> Head | None:
        root = branch.root_at(size)
        return None if root is None else Head(branch.head.era, size, root)

    def _root_of(self, branch: BranchReader, size: int) -> bytes:
        root = branch.head.root if size == branch.head.size else branch.root_at(size)
        if root is None:
            raise Undecided(f"the root of {size} leaves of era {branch.head.era} is not in hand")
        return root


def branch_name(branch: BranchReader, stored: Sequence[BranchReader]) -> bytes | None:
    """Return the hash of the first leaf that no ``stored`` branch of its era has; None if one has all."""
    first = max((_shared(branch, other) for other in stored), default=0)
    if first == branch.head.size:
        return None
    [leaf] = branch.reader.hashes(0, first, 1)
    return leaf


def _shared(one: BranchReader, two: BranchReader) -> int:
    if one.head.era != two.head.era or not min(one.head.size, two.head.size):
        return 0
    return first_difference(one.reader, one.head.size, two.reader, two.head.size)


def _order(head: Head) -> tuple[int, int, bytes]:
    return head.era, head.size, head.root
