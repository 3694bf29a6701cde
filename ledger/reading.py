"""The order in which a forked log is read: every entry of every branch once, the same whatever came first.

What all branches share comes first, in its order. Behind it the entries are *contested*: the union of all
branches by entry id, by (smallest index at which the entry stands in any branch, entry id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """An entry at its place in the order: the smallest index at which it stands."""

    index: int
    entry_id: bytes
    is_contested: bool = False


def reading_order(branches: Sequence[Sequence[tuple[bytes, bytes | None]]]) -> list[Read]:
    """Return the entries of ``branches`` of one era, each given as (leaf hash, entry id) in its order.

    A leaf that is none has no entry id, and nothing to read.
    """
    shared = _shared(branches)
    read = [
        Read(index, entry_id)
        for index, (_, entry_id) in enumerate(branches[0][:shared] if branches else ())
        if entry_id is not None
    ]
    known = {one.entry_id for one in read}
    contested: dict[bytes, int] = {}
    for branch in branches:
        for index, (_, entry_id) in enumerate(branch[shared:], shared):
            if entry_id is not None and entry_id not in known:
                contested[entry_id] = min(index, contested.get(entry_id, index))
    return read + sorted(Read(index, entry_id, True) for entry_id, index in contested.items())


def _shared(branches: Sequence[Sequence[tuple[bytes, bytes | None]]]) -> int:
    """How many first leaves all branches have; by leaf hash, which commits to all leaves before it."""
    size = min((len(branch) for branch in branches), default=0)
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        if len({branch[middle - 1][0] for branch in branches}) == 1:
            low = middle
        else:
            high = middle - 1
    return low
