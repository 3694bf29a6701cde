"""The Merkle tree of RFC 6962 §2.1 over SHA-256: roots, and proofs of inclusion and consistency.

    leaf hash = H(0x00 ‖ leaf)      node = H(0x01 ‖ left ‖ right)      root of no leaves = H("")

A tree of n > 1 leaves splits at the largest power of two below n, so complete subtrees never change and the
tree is kept as their hashes alone. Everything here takes leaf *hashes*; where they come from is the caller's.
Proofs are read from a `HashReader`, which knows only complete subtrees of 256^level leaves (C2SP tiles), by
whole ranges: one or two reads a level however large the tree, and all else is computed.

``check_*`` follow the text of FORMAT.md step by step and raise `Unproven`; they believe no length or size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Protocol

from ledger.errors import Malformed, Unproven

HASH_BYTES = 32

SIZE_MAX = 2**63 - 1
"""The largest tree: C2SP bounds sizes so, and every language has a signed 64-bit type."""

PROOF_HASHES_MAX = 63
"""The longest inclusion path of a tree of `SIZE_MAX` leaves, and what C2SP witnesses accept."""

LEVEL_BITS = 8
"""A tile level is eight tree levels: 256 children under each node that a `HashReader` gives."""

EMPTY_ROOT = sha256(b"").digest()

Range = tuple[int, int]
"""Leaves [start, end) of one subtree."""


class HashReader(Protocol):
    """Where complete subtrees of a log are kept: a store, a tree of tiles, a peer."""

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Return nodes [start, start + count) of tile level ``level``.

        Node i is the root of leaves [i * 256^level, (i + 1) * 256^level); level 0 holds the leaf hashes.
        ``count`` is 1 to 256, and the range never crosses a multiple of 256: it lies in one tile.
        """
        ...


def leaf_hash(data: bytes) -> bytes:
    """Return the leaf hash of ``data``."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in O(log n) memory."""
    tree = CompactRange()
    for leaf in hashes:
        tree.append(leaf)
    return tree.root()


class CompactRange:
    """A growing tree from leaf 0, kept as the roots of its complete subtrees, largest first."""

    __slots__ = ("_hashes", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._hashes: list[bytes] = []

    @classmethod
    def of(cls, size: int, hashes: Sequence[bytes]) -> CompactRange:
        """Return the range with these ``hashes`` (see `hashes`); `Malformed` if ``size`` has not so many."""
        if not 0 <= size <= SIZE_MAX or len(hashes) != size.bit_count():
            raise Malformed(f"{len(hashes)} subtrees do not make a tree of size {size}")
        if any(len(part) != HASH_BYTES for part in hashes):
            raise Malformed(f"a subtree's hash has {HASH_BYTES} bytes")
        restored = cls()
        restored._size = size
        restored._hashes = list(hashes)
        return restored

    @property
    def size(self) -> int:
        """How many leaves were appended."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, one for each bit set in `size`, largest first."""
        return tuple(self._hashes)

    def append(self, leaf_hash: bytes) -> None:
        """Take the next leaf's hash (32 bytes; `Malformed` otherwise); amortised one node hash."""
        if len(leaf_hash) != HASH_BYTES:
            raise Malformed(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf_hash)}")
        hashes = self._hashes
        rest = self._size
        merged = leaf_hash
        while rest & 1:
            merged = sha256(b"\x01" + hashes.pop() + merged).digest()
            rest >>= 1
        hashes.append(merged)
        self._size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        return _fold(self._hashes)

    def copy(self) -> CompactRange:
        """Return an independent range in the same state."""
        twin = CompactRange()
        twin._size = self._size
        twin._hashes = self._hashes.copy()
        return twin


def range_at(reader: HashReader, size: int) -> CompactRange:
    """Return the range of the tree's first ``size`` leaves, by one read a level."""
    _check_size(size)
    return CompactRange.of(size, _peaks(reader, 0, size) if size else ())


def root_at(reader: HashReader, size: int) -> bytes:
    """Return the root of the tree's first ``size`` leaves, by one read a level."""
    _check_size(size)
    return subtree_root(reader, 0, size) if size else EMPTY_ROOT


def subtree_root(reader: HashReader, start: int, end: int) -> bytes:
    """Return the root of leaves [start, end), by one read a level.

    ``start`` must be a multiple of the smallest power of two that is at least ``end - start``, as it is for
    every subtree that RFC 6962 splits off (`Malformed` otherwise).
    """
    if not 0 <= start < end <= SIZE_MAX or start % (1 << (end - start - 1).bit_length()):
        raise Malformed(f"leaves [{start}, {end}) are no subtree")
    return _fold(_peaks(reader, start, end))


def prove_inclusion(reader: HashReader, index: int, size: int) -> list[bytes]:
    """Return the path of leaf ``index`` in the tree of ``size``, leaf's sibling first (RFC 6962 §2.1.1).

    At most two reads a level. An index outside of the tree is `Malformed`: only a request can name it.
    """
    _check_index(index, size)
    tiles = _WholeTiles(reader, size)
    return [subtree_root(tiles, start, end) for start, end in _siblings(index, size)]


def prove_consistency(reader: HashReader, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of ``old`` leaves is a prefix of that of ``new`` (RFC 6962 §2.1.2).

    At most two reads a level. Empty where ``old`` is ``new``, or 0, of which there is nothing to prove.
    """
    _check_size(new)
    if not 0 <= old <= new:
        raise Malformed(f"no consistency proof from size {old} to {new}")
    tiles = _WholeTiles(reader, new)
    return [subtree_root(tiles, start, end) for start, end in _consistency_ranges(old, new)]


def prove_inclusion_in(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path of leaf ``index`` in a small tree in memory; about one node hash for each leaf."""
    _check_index(index, len(hashes))
    return [root_of(hashes[start:end]) for start, end in _siblings(index, len(hashes))]


def check_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `Unproven` unless ``proof`` leads from leaf ``index`` to the ``root`` of ``size`` leaves."""
    if not 0 <= index < size:
        raise Unproven(f"index {index} is not in a tree of size {size}")
    _check_hashes([leaf_hash, root, *proof])
    node, last, computed = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise Unproven("inclusion proof is longer than the path to the root")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _climb_left(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last or computed != root:
        raise Unproven(f"inclusion proof of index {index} does not lead to the root of size {size}")


def check_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise `Unproven` unless the tree of ``old`` leaves is a prefix of that of ``new`` by ``proof``.

    ``old`` = 0 is always refused: it proves nothing, and a caller that means it has nothing to check.
    """
    _check_hashes([old_root, new_root, *proof])
    if not 0 < old <= new or (old == new) != (not proof):
        raise Unproven(f"a proof of {len(proof)} hashes cannot show size {old} within size {new}")
    if old == new:
        if old_root != new_root:
            raise Unproven(f"two roots for one size {old}")
        return
    if (_joined(old, new, proof, old_root)) != (old_root, new_root):
        raise Unproven(f"consistency proof does not lead from size {old} to size {new}")


def _joined(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """Return the old and the new root that a consistency proof leads to, for 0 < old < new."""
    first, *rest = proof if old & (old - 1) else [old_root, *proof]
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_computed = new_computed = first
    for sibling in rest:
        if last == 0:
            raise Unproven("consistency proof is longer than the path to the root")
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            node, last = _climb_left(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise Unproven("consistency proof ends below the root")
    return old_computed, new_computed


def _climb_left(node: int, last: int) -> Range:
    """Skip the levels at which a node on the right edge has no sibling."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


class _WholeTiles:
    """A reader of one tree that fetches a tile's nodes whole and keeps them, for the run of one proof."""

    def __init__(self, reader: HashReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._tiles: dict[Range, list[bytes]] = {}

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        first = start >> LEVEL_BITS << LEVEL_BITS
        tile = self._tiles.get((level, first))
        if tile is None:
            width = min(1 << LEVEL_BITS, (self._size >> LEVEL_BITS * level) - first)
            tile = self._tiles[level, first] = _read(self._reader, level, first, width)
        return tile[start - first : start - first + count]


def _read(reader: HashReader, level: int, start: int, count: int) -> list[bytes]:
    hashes = reader.hashes(level, start, count)
    if len(hashes) != count:
        raise Malformed(f"{len(hashes)} of {count} hashes at tile level {level} from {start}")
    return hashes


def _peaks(reader: HashReader, start: int, end: int) -> list[bytes]:
    """Return the roots of the complete subtrees of aligned leaves [start, end), largest first."""
    peaks: list[bytes] = []
    top = ((end - start).bit_length() - 1) // LEVEL_BITS
    first = start >> LEVEL_BITS * top
    for level in range(top, -1, -1):
        stop = end >> LEVEL_BITS * level
        if first < stop:
            part = CompactRange()
            for node in _read(reader, level, first, stop - first):
                part.append(node)
            peaks += part.hashes
        first = stop << LEVEL_BITS
    return peaks


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, largest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for left in peaks[-2::-1]:
        root = sha256(b"\x01" + left + root).digest()
    return root


def _siblings(index: int, size: int) -> Iterator[Range]:
    """Yield the subtrees beside the path of ``index``, leaf's sibling first."""
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return reversed(ranges)


def _consistency_ranges(old: int, new: int) -> Iterator[Range]:
    """Yield the subtrees of a consistency proof, in its order; none if ``old`` is 0 or ``new``."""
    ranges: list[Range] = []
    start, end = 0, new
    while old and end != old:
        middle = _middle(start, end)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:
        ranges.append((start, end))
    return reversed(ranges)


def _middle(start: int, end: int) -> int:
    """Where RFC 6962 splits leaves [start, end): at the largest power of two below their number."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise Malformed(f"a tree's size is 0 to 2^63-1, not {size}")


def _check_index(index: int, size: int) -> None:
    _check_size(size)
    if not 0 <= index < size:
        raise Malformed(f"index {index} is not in a tree of size {size}")


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(part) != HASH_BYTES for part in hashes):
        raise Unproven(f"a hash has {HASH_BYTES} bytes")
