"""ledger.merkle against RFC 6962's own definition, published vectors, and proofs changed in every way."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.checkpoint import parse_hash
from ledger.errors import Malformed, Unproven
from ledger.merkle import (
    CompactRange,
    check_consistency,
    check_inclusion,
    prove_consistency,
    prove_inclusion,
    root_at,
    root_of,
    subtree_root,
)
from tests.trees import MemoryTree, consistency_proof, inclusion_path, leaf_hashes, tree_root

VECTORS = Path(__file__).parent / "vectors"
TREE = json.loads((VECTORS / "merkle.json").read_text())
LOG = json.loads((VECTORS / "log.json").read_text())
WITNESS = json.loads((VECTORS / "witness.json").read_text())
LEAVES = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in TREE["leaves"]]
ROOTS = [bytes.fromhex(root) for root in TREE["roots"]]
BIG = leaf_hashes(70_000)
SIZES = [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 69_999, 70_000]


@pytest.fixture(scope="module")
def big() -> MemoryTree:
    """A tree of 70,000 leaves: three tile levels, the last two partial."""
    return MemoryTree(BIG)


def test_published_leaves_and_roots() -> None:
    """Leaf hashes and the roots of sizes 0 to 8 are those of transparency-dev's test tree."""
    assert [leaf.hex() for leaf in LEAVES] == TREE["leaf_hashes"]
    assert [root_of(LEAVES[:size]) for size in range(9)] == ROOTS
    assert [root_at(MemoryTree(LEAVES), size) for size in range(9)] == ROOTS
    assert ROOTS[0] == merkle.EMPTY_ROOT


def test_published_proofs() -> None:
    """The published inclusion and consistency proofs are what we make, and hold."""
    tree = MemoryTree(LEAVES)
    one_to_eight = [bytes.fromhex(part) for part in TREE["consistency_1_to_8"]]
    six_to_eight = [bytes.fromhex(part) for part in TREE["consistency_6_to_8"]]
    assert prove_inclusion(tree, 0, 8) == prove_consistency(tree, 1, 8) == one_to_eight
    assert prove_consistency(tree, 6, 8) == six_to_eight
    check_inclusion(LEAVES[0], 0, 8, one_to_eight, ROOTS[8])
    check_consistency(1, 8, one_to_eight, ROOTS[1], ROOTS[8])
    check_consistency(6, 8, six_to_eight, ROOTS[6], ROOTS[8])


def test_the_roots_of_a_published_log() -> None:
    """A real small log's entries give the roots its key signed."""
    leaves = [merkle.leaf_hash(entry.encode()) for entry in LOG["entries"]]
    for checkpoint in LOG["checkpoints"]:
        assert root_of(leaves[: checkpoint["size"]]) == parse_hash(checkpoint["root"])


def test_the_proofs_of_a_published_witness_run() -> None:
    """The consistency proofs that the reference witness accepts are ours."""
    leaves = [bytes([0x2A, index]) + bytes(30) for index in range(5)]
    tree = MemoryTree(leaves)
    roots = {checkpoint["size"]: parse_hash(checkpoint["root"]) for checkpoint in WITNESS["checkpoints"]}
    for old, new in ((1, 3), (3, 5)):
        proof = [parse_hash(part) for part in WITNESS[f"consistency_{old}_to_{new}"]]
        assert root_of(leaves[:new]) == roots[new]
        assert prove_consistency(tree, old, new) == proof
        check_consistency(old, new, proof, roots[old], roots[new])


def test_every_proof_of_small_trees_is_the_rfcs_and_holds() -> None:
    """All indices and all pairs of sizes up to 40."""
    leaves = leaf_hashes(40)
    tree = MemoryTree(leaves)
    roots = [tree_root(leaves[:size]) for size in range(41)]
    for size in range(1, 41):
        for index in range(size):
            path = inclusion_path(index, leaves[:size])
            assert prove_inclusion(tree, index, size) == path
            assert merkle.prove_inclusion_in(leaves[:size], index) == path
            check_inclusion(leaves[index], index, size, path, roots[size])
        for old in range(1, size + 1):
            proof = consistency_proof(old, leaves[:size])
            assert prove_consistency(tree, old, size) == proof
            check_consistency(old, size, proof, roots[old], roots[size])


@given(st.data())
def test_proofs_across_tiles_are_the_rfcs(big: MemoryTree, data: st.DataObject) -> None:
    """Any index and any two sizes of a tree of three tile levels."""
    size = data.draw(st.integers(1, 70_000) | st.sampled_from(SIZES))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size) | st.sampled_from([part for part in SIZES if part <= size]))
    path, proof = prove_inclusion(big, index, size), prove_consistency(big, old, size)
    root = root_at(big, size)
    check_inclusion(BIG[index], index, size, path, root)
    check_consistency(old, size, proof, root_at(big, old), root)


@pytest.mark.parametrize("size", SIZES)
def test_roots_across_tiles_are_the_rfcs(big: MemoryTree, size: int) -> None:
    """At each edge of a tile, by at most one read a level."""
    big.reads.clear()
    root = root_at(big, size)
    assert big.reads_at_most() == 1
    assert root == tree_root(BIG[:size])
    assert merkle.range_at(big, size).root() == root
    assert big.reads_at_most() == 1


@pytest.mark.parametrize("size", SIZES)
def test_proofs_take_two_reads_a_level(big: MemoryTree, size: int) -> None:
    """However large the tree: the tile on the path and the one at the edge."""
    big.reads.clear()
    for index in {0, size // 2, size - 1}:
        assert prove_inclusion(big, index, size) == inclusion_path(index, BIG[:size])
        assert big.reads_at_most() <= 2
    for old in {1, size // 2 or 1, size - 1 or 1, size}:
        assert prove_consistency(big, old, size) == consistency_proof(old, BIG[:size])
        assert big.reads_at_most() <= 2


class SameLeaves:
    """A tree of 2^63-1 equal leaves, of which every level is one hash repeated."""

    def __init__(self) -> None:
        self.nodes = [bytes(32)]
        for _ in range(63):
            self.nodes.append(merkle.node_hash(self.nodes[-1], self.nodes[-1]))

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """The same hash ``count`` times."""
        return [self.nodes[8 * level]] * count


def test_the_largest_tree_has_proofs() -> None:
    """2^63-1 leaves, at most 63 hashes, no overflow."""
    reader, size = SameLeaves(), merkle.SIZE_MAX
    root = root_at(reader, size)
    for index in (0, 1, 2**62, size - 1):
        path = prove_inclusion(reader, index, size)
        assert len(path) <= merkle.PROOF_HASHES_MAX
        check_inclusion(bytes(32), index, size, path, root)
    old = 2**62 + 12_345
    check_consistency(old, size, prove_consistency(reader, old, size), root_at(reader, old), root)


def _spoiled_proofs(proof: list[bytes], wrong: list[bytes]) -> Iterator[list[bytes]]:
    """Proofs shortened, lengthened, reordered, with a hash or any one bit changed."""
    for at, part in enumerate(proof):
        bits = ((int.from_bytes(part) ^ (1 << bit)).to_bytes(32) for bit in range(256))
        for changed in (part[:-1], part + b"\x00", b"", *bits):
            yield [*proof[:at], changed, *proof[at + 1 :]]
        yield proof[:at] + proof[at + 1 :]
    for extra in (bytes(32), b"", *wrong, *proof):
        for at in range(len(proof) + 1):
            yield [*proof[:at], extra, *proof[at:]]
    if len(proof) > 1:
        yield from (proof[::-1], [])


def _refused(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check(*arguments)
    except Unproven:
        return True
    return False


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
def test_no_changed_inclusion_proof_holds(size: int) -> None:
    """Every change of a bit, a hash, the index, the leaf or the root is unproven."""
    tree, root = MemoryTree(LEAVES), ROOTS[size]
    for index, leaf in enumerate(LEAVES[:size]):
        proof = prove_inclusion(tree, index, size)
        for other in _spoiled_proofs(proof, [leaf, root]):
            assert _refused(check_inclusion, leaf, index, size, other, root)
        for place in {*range(-2, size + 3), index ^ 1, index ^ 2, index + 2**63, -index - 1} - {index}:
            assert _refused(check_inclusion, leaf, place, size, proof, root)
        for wrong in (b"", bytes(32), leaf[:-1], leaf + b"\x00", LEAVES[index - 1]):
            assert _refused(check_inclusion, wrong, index, size, proof, root)
        for wrong in (b"", bytes(32), root[:-1], ROOTS[size - 1], LEAVES[index - 1]):
            assert _refused(check_inclusion, leaf, index, size, proof, wrong)


@pytest.mark.parametrize("index", range(8))
def test_an_inclusion_proof_of_another_shape_does_not_hold(index: int) -> None:
    """A size that gives the leaf a longer or shorter path is unproven (one of equal shape the root binds)."""
    proof = prove_inclusion(MemoryTree(LEAVES), index, 8)
    for size in (-8, -1, 0, 1, index, 16, 17, 2**62):
        assert _refused(check_inclusion, LEAVES[index], index, size, proof, ROOTS[8])


@pytest.mark.parametrize(("old", "new"), [(1, 2), (1, 8), (2, 8), (3, 7), (4, 8), (5, 8), (6, 8), (7, 8)])
def test_no_changed_consistency_proof_holds(old: int, new: int) -> None:
    """Every change of a bit, a hash, a size or a root is unproven; so are the roots the other way round."""
    proof = prove_consistency(MemoryTree(LEAVES), old, new)
    old_root, new_root = ROOTS[old], ROOTS[new]
    for other in _spoiled_proofs(proof, [old_root, new_root]):
        assert _refused(check_consistency, old, new, other, old_root, new_root)
    for size in {0, -1, old - 1, old + 1, new, new + 1} - {old}:
        assert _refused(check_consistency, size, new, proof, old_root, new_root)
    for wrong in (b"", bytes(32), old_root[:-1], new_root):
        assert _refused(check_consistency, old, new, proof, wrong, new_root)
    for wrong in (b"", bytes(32), new_root[:-1], old_root):
        assert _refused(check_consistency, old, new, proof, old_root, wrong)
    assert _refused(check_consistency, old, new, proof, new_root, old_root)
    assert _refused(check_consistency, new, old, proof, old_root, new_root)


def test_hashes_of_another_length_prove_nothing() -> None:
    """Not even where they agree: a byte moved from one hash to its neighbour would hash alike."""
    for wrong in (b"", bytes(31), bytes(33)):
        assert _refused(check_inclusion, wrong, 0, 1, [], wrong)
        assert _refused(check_consistency, 5, 5, [], wrong, wrong)
    left, right = LEAVES[:2]
    assert _refused(check_inclusion, left + right[:1], 0, 2, [right[1:]], ROOTS[2])
    assert _refused(check_inclusion, left[:-1], 0, 2, [left[-1:] + right], ROOTS[2])
    moved = merkle.node_hash(left[:-1], left[-1:] + right)
    assert _refused(check_consistency, 1, 2, [left[-1:] + right], left[:-1], moved)


@given(st.integers(1, 300), st.data())
def test_a_proof_for_one_tree_is_none_for_another(size: int, data: st.DataObject) -> None:
    """Changing one leaf below the old size makes consistency unproven, whatever the sizes."""
    leaves = BIG[:size]
    old = data.draw(st.integers(1, size))
    changed_at = data.draw(st.integers(0, old - 1))
    forked = [*leaves[:changed_at], bytes(32), *leaves[changed_at + 1 :]]
    proof = prove_consistency(MemoryTree(forked), old, size)
    with pytest.raises(Unproven):
        check_consistency(old, size, proof, root_of(leaves[:old]), root_of(forked))


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    """A proof that shows nothing must be empty, and two roots of one size are a fork."""
    check_consistency(5, 5, [], ROOTS[5], ROOTS[5])
    for proof, root in (([], ROOTS[6]), ([ROOTS[5]], ROOTS[5]), ([bytes(32)], ROOTS[5])):
        with pytest.raises(Unproven):
            check_consistency(5, 5, proof, ROOTS[5], root)


@pytest.mark.parametrize("new", [0, 1, 8])
def test_consistency_from_nothing_is_always_refused(new: int) -> None:
    """An empty tree is a prefix of every tree, so a proof from it would prove nothing."""
    for proof in ([], [ROOTS[new]]):
        with pytest.raises(Unproven):
            check_consistency(0, new, proof, ROOTS[0], ROOTS[new])
    assert prove_consistency(MemoryTree(LEAVES), 0, new) == []


def test_a_node_is_no_leaf() -> None:
    """Second preimage: the tree over two nodes does not pass for the tree over their leaves."""
    left, right = (merkle.node_hash(*LEAVES[at : at + 2]) for at in (0, 2))
    assert root_of([left, right]) == ROOTS[4]  # the caller alone says what is a leaf *hash*
    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != left
    with pytest.raises(Unproven):
        check_inclusion(left, 0, 4, [right], ROOTS[4])


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: prove_inclusion(tree, 8, 8),
        lambda tree: prove_inclusion(tree, -1, 8),
        lambda tree: prove_inclusion(tree, 0, 0),
        lambda tree: prove_inclusion(tree, 0, 2**63),
        lambda tree: prove_consistency(tree, 9, 8),
        lambda tree: prove_consistency(tree, -1, 8),
        lambda tree: prove_consistency(tree, 1, 2**63),
        lambda tree: merkle.prove_inclusion_in(LEAVES, 8),
        lambda tree: merkle.prove_inclusion_in([], 0),
        lambda tree: root_at(tree, -1),
        lambda tree: root_at(tree, 2**63),
        lambda tree: subtree_root(tree, 4, 4),
        lambda tree: subtree_root(tree, 2, 5),
        lambda tree: subtree_root(tree, 1, 3),
        lambda tree: subtree_root(tree, -4, 4),
        lambda tree: merkle.range_at(tree, -1),
    ],
)
def test_questions_no_tree_answers_are_malformed(ask: Callable[[MemoryTree], object]) -> None:
    """Indices and sizes come from requests; nothing is read for a senseless one."""
    tree = MemoryTree(LEAVES)
    with pytest.raises(Malformed):
        ask(tree)
    assert tree.reads == []


def test_a_subtree_is_the_root_of_its_leaves(big: MemoryTree) -> None:
    """Aligned ranges, complete or ending at the edge."""
    for start, end in ((0, 3), (4, 7), (256, 300), (512, 1_024), (65_536, 66_000), (65_536, 69_999)):
        assert subtree_root(big, start, end) == tree_root(BIG[start:end])


def test_a_reader_that_gives_too_little_is_malformed() -> None:
    """A short tile is noticed where it is read."""

    class Short(MemoryTree):
        def hashes(self, level: int, start: int, count: int) -> list[bytes]:
            return super().hashes(level, start, count)[:-1]

    for ask in (lambda tree: root_at(tree, 5), lambda tree: prove_inclusion(tree, 1, 5)):
        with pytest.raises(Malformed):
            ask(Short(LEAVES))


@given(st.integers(0, 600), st.integers(0, 40))
def test_a_compact_range_resumes_where_it_stopped(size: int, more: int) -> None:
    """Restored or copied, it goes on as if it had never stopped, and the original stays."""
    tree = CompactRange()
    for leaf in BIG[:size]:
        tree.append(leaf)
    root = tree.root()
    assert root == root_of(BIG[:size])
    restored, twin = CompactRange.of(tree.size, tree.hashes), tree.copy()
    for leaf in BIG[size : size + more]:
        restored.append(leaf)
        twin.append(leaf)
    assert restored.size == twin.size == size + more
    assert restored.root() == twin.root() == root_of(BIG[: size + more])
    assert (tree.size, tree.root()) == (size, root)


@pytest.mark.parametrize(
    ("size", "hashes"),
    [
        (1, []),
        (0, [bytes(32)]),
        (3, [bytes(32)]),
        (4, [bytes(32)] * 2),
        (1, [bytes(31)]),
        (-1, []),
        (2**63, [bytes(32)]),
    ],
)
def test_a_compact_range_of_other_parts_is_malformed(size: int, hashes: list[bytes]) -> None:
    """The number of subtrees follows from the size."""
    with pytest.raises(Malformed):
        CompactRange.of(size, hashes)


def test_only_hashes_are_appended() -> None:
    """A leaf instead of its hash is refused and changes nothing."""
    tree = CompactRange()
    tree.append(LEAVES[0])
    for wrong in (b"", b"leaf", bytes(31), bytes(33), bytes(64)):
        with pytest.raises(Malformed):
            tree.append(wrong)
    assert (tree.size, tree.root()) == (1, ROOTS[1])


def test_a_record_is_proven_in_its_entry() -> None:
    """A tree of 4,096 leaves in memory: the path is the RFC's at any index."""
    leaves = BIG[:4_096]
    for index in (0, 4_095, Random(7).randrange(4_096)):
        path = merkle.prove_inclusion_in(leaves, index)
        check_inclusion(leaves[index], index, 4_096, path, root_of(leaves))
        assert path == inclusion_path(index, leaves)
