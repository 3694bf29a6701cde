"""An immutable sequence that grows cheaply: what `layered_map` is for keys, for things in their order.

All versions share one list, of which each sees only its own beginning: the newest appends in place, an older
one (a batch that was tried and dropped) copies first. A tuple copied for each adopt would cost n² over a
log, and whoever writes the log decides how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class GrownList(Sequence[Item]):
    """A sequence without a way to change it; `with_item` and `first` return another one."""

    __slots__ = ("_items", "_size")

    def __init__(self, items: list[Item] | None = None, size: int = 0) -> None:
        self._items: list[Item] = [] if items is None else items
        self._size = size

    @property
    def last(self) -> Item | None:
        """The item at the end, or None."""
        return self._items[self._size - 1] if self._size else None

    def with_item(self, item: Item) -> GrownList[Item]:
        """Return the sequence that has ``item`` at its end."""
        is_newest = len(self._items) == self._size
        items = self._items if is_newest else self._items[: self._size]
        items.append(item)
        return GrownList(items, self._size + 1)

    def first(self, size: int) -> GrownList[Item]:
        """Return the first ``size`` items, or all where there are fewer."""
        return GrownList(self._items, min(size, self._size))

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._items[place] for place in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(index)
        return self._items[index if index >= 0 else self._size + index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GrownList) and self[:] == other[:]

    def __hash__(self) -> int:
        return hash(tuple(self))
