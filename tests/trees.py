"""Trees in memory, built by the definition of RFC 6962 rather than by our code, and a reader that counts."""

from collections.abc import Sequence
from hashlib import sha256


def node(left: bytes, right: bytes) -> bytes:
    """H(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return node(tree_root(leaves[:middle]), tree_root(leaves[middle:]))


def inclusion_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*inclusion_path(index, leaves[:middle]), tree_root(leaves[middle:])]
    return [*inclusion_path(index - middle, leaves[middle:]), tree_root(leaves[:middle])]


def consistency_proof(old: int, leaves: Sequence[bytes], is_known: bool = True) -> list[bytes]:
    """PROOF of RFC 6962 §2.1.2 (its SUBPROOF with ``is_known`` as b)."""
    if old == len(leaves):
        return [] if is_known else [tree_root(leaves)]
    middle = split(len(leaves))
    if old <= middle:
        return [*consistency_proof(old, leaves[:middle], is_known), tree_root(leaves[middle:])]
    return [*consistency_proof(old - middle, leaves[middle:], False), tree_root(leaves[:middle])]


def leaf_hashes(count: int, salt: bytes = b"") -> list[bytes]:
    """Distinct leaf hashes."""
    return [sha256(b"\x00" + salt + index.to_bytes(8)).digest() for index in range(count)]


class MemoryTree:
    """A HashReader over all leaf hashes, which records every read and refuses those that cross a tile."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.levels = [list(leaves)]
        while len(self.levels[-1]) >= 256:
            below = self.levels[-1]
            full = range(0, len(below) - 255, 256)
            self.levels.append([tree_root(below[start : start + 256]) for start in full])
        self.reads: list[tuple[int, int, int]] = []

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Nodes [start, start + count) of a tile level."""
        assert count >= 1 and start // 256 == (start + count - 1) // 256, "a read crosses tiles"
        assert start + count <= len(self.levels[level]), "a read beyond the complete nodes"
        self.reads.append((level, start, count))
        return self.levels[level][start : start + count]

    def reads_at_most(self) -> int:
        """The most reads of any one level since the last call."""
        levels = [level for level, _, _ in self.reads]
        self.reads.clear()
        return max(map(levels.count, levels), default=0)
