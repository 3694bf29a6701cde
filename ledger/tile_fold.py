"""The hash tiles of a growing log, as its leaf hashes come in: what a static tree must hold.

Memory is one open tile a level: 8 KiB for each factor of 256.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.merkle import root_of
from ledger.tiles import TILE_WIDTH, Tile


class TileFold:
    """Give it every leaf hash in order; it gives back each hash tile once."""

    def __init__(self) -> None:
        self._open: list[list[bytes]] = [[]]
        self._full: list[int] = [0]

    def append(self, leaf_hash: bytes) -> Iterator[tuple[Tile, list[bytes]]]:
        """Take the next leaf's hash; yield the tiles that it completes, lowest level first."""
        hash_ = leaf_hash
        for level in range(len(self._open) + 1):
            if level == len(self._open):
                self._open.append([])
                self._full.append(0)
            self._open[level].append(hash_)
            if len(self._open[level]) < TILE_WIDTH:
                return
            hashes = self._open[level]
            yield Tile(level=level, index=self._full[level]), hashes
            hash_ = root_of(hashes)
            self._open[level] = []
            self._full[level] += 1

    def partial(self) -> Iterator[tuple[Tile, list[bytes]]]:
        """Yield the partial tiles of the tree as it stands, lowest level first."""
        for level, hashes in enumerate(self._open):
            if hashes:
                yield Tile(level=level, index=self._full[level], width=len(hashes)), hashes
