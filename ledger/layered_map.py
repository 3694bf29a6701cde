"""An immutable mapping that grows cheaply: for states that are kept, tried and dropped.

A plain dictionary copied for each grant costs n² over a log: 100,000 grants would take minutes, and whoever
writes the log decides how many there are. Here a small dictionary lies over a large one and is poured into a
new one when it is full. Older versions stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")

TOP_MAX = 512
"""About the square root of the largest agency's number of keys, which makes both costs equal."""


class LayeredMap(Mapping[Key, Item]):
    """A mapping without a way to change it; `with_item` and `without` return the next one."""

    __slots__ = ("_base", "_top")

    def __init__(self, base: Mapping[Key, Item] | None = None, top: Mapping[Key, Item] | None = None) -> None:
        self._base: Mapping[Key, Item] = base or {}
        self._top: Mapping[Key, Item] = top or {}

    def with_item(self, key: Key, item: Item) -> LayeredMap[Key, Item]:
        """Return the mapping in which ``key`` has ``item``."""
        top = {**self._top, key: item}
        if len(top) > TOP_MAX:
            return LayeredMap({**self._base, **top})
        return LayeredMap(self._base, top)

    def without(self, key: Key) -> LayeredMap[Key, Item]:
        """Return the mapping in which ``key`` has nothing; copies everything, for what is rare."""
        return LayeredMap({one: item for one, item in self.items() if one != key})

    def __getitem__(self, key: Key) -> Item:
        return self._top[key] if key in self._top else self._base[key]

    def __contains__(self, key: object) -> bool:
        return key in self._top or key in self._base

    def __iter__(self) -> Iterator[Key]:
        yield from self._base
        yield from (key for key in self._top if key not in self._base)

    def __len__(self) -> int:
        return len(self._base) + sum(key not in self._base for key in self._top)
