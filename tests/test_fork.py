"""ledger.fork: evidence exists exactly where two histories part, convicts a key by itself, stays small."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import codec, fork, note
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.fork import EVIDENCE_BYTES_MAX, Suspects, check_evidence, kept_evidence, parse_evidence
from ledger.governance import KEYS_MAX, URLS_MAX
from ledger.leaf import parse_leaf
from ledger.merkle import HashReader, node_hash, root_at, root_of
from tests.eras import Branch, cut, forked, work
from tests.spoiled import flipped
from tests.trees import MemoryTree, leaf_hashes
from tests.world import World, key

LOG_KEY = key("log")
ROOT_KEY = key("district root")
ORIGIN = "test/district/1"


@dataclass(frozen=True)
class Side:
    """A history made of leaf hashes alone."""

    note: bytes
    reader: HashReader


def signed(size: int, root: bytes, *, origin: str = ORIGIN, by: str = "log", more: str = "") -> bytes:
    """A checkpoint by a key of that name."""
    extensions = (more,) if more else ()
    checkpoint = Checkpoint(origin=origin, size=size, root=root, extensions=extensions)
    return sign_checkpoint(checkpoint, key(by))


def side(leaves: list[bytes], origin: str = ORIGIN) -> Side:
    """A signed history."""
    return Side(signed(len(leaves), root_of(leaves), origin=origin), MemoryTree(leaves))


def suspects(*, log: str = "log", ledger_id: bytes = bytes(32)) -> Suspects:
    """The keys known of the log."""
    return Suspects(ledger_id=ledger_id, log_keys=[key(log).public_key], root_keys=[ROOT_KEY.public_key])


def prove(ours: Side, theirs: Side) -> bytes | None:
    return fork.prove_fork(ours, theirs, LOG_KEY.public_key)


def proved(ours: Side, theirs: Side) -> bytes:
    """Evidence that must exist, the same whoever compares."""
    raw = prove(ours, theirs)
    assert raw is not None
    assert raw == prove(theirs, ours)
    return raw


@settings(deadline=None)
@given(st.integers(0, 700), st.integers(1, 700), st.integers(0, 700), st.integers(0, 700), st.booleans())
def test_evidence_exists_exactly_where_histories_part(
    shared: int, ours: int, theirs: int, at: int, is_false: bool
) -> None:
    """One is the beginning of the other: none. They part: one piece, naming the first leaf that differs."""
    common = leaf_hashes(shared)
    one = side([*common, *leaf_hashes(ours, b"one")])
    two = side([*common, *leaf_hashes(theirs, b"two")])
    raw = prove(one, two)
    if theirs == 0:
        assert raw is None
        return
    assert raw is not None and raw == prove(two, one)
    found = check_evidence(raw, suspects())
    assert (found.kind, found.index) == (("size", shared + ours) if ours == theirs else ("leaf", shared))
    assert str(found.origin) == ORIGIN and found.evidence == raw


@pytest.mark.parametrize("sizes", [(5, 5), (0, 7), (300, 70_000)])
def test_no_evidence_of_one_history(sizes: tuple[int, int]) -> None:
    """A log that only grew accuses nobody."""
    leaves = leaf_hashes(max(sizes))
    one, two = (side(leaves[:size]) for size in sizes)
    assert prove(one, two) is None and prove(two, one) is None


@pytest.mark.parametrize(("shared", "ours", "theirs"), [(0, 1, 1), (0, 1, 5), (3, 4, 9), (300, 2, 600)])
def test_every_byte_flipped_is_refused(shared: int, ours: int, theirs: int) -> None:
    """No altered piece convicts anybody, and no byte of it is free."""
    common = leaf_hashes(shared)
    raw = proved(side(common + leaf_hashes(ours, b"1")), side(common + leaf_hashes(theirs, b"2")))
    for spoiled in flipped(raw):
        with pytest.raises((Malformed, Unproven)):
            check_evidence(spoiled, suspects())


def test_a_fork_at_index_0() -> None:
    """Two histories that share nothing, sizes 1 and 2: the first leaf already convicts."""
    found = check_evidence(proved(side(leaf_hashes(1, b"1")), side(leaf_hashes(2, b"2"))), suspects())
    assert (found.kind, found.index) == ("leaf", 0)


def test_a_fork_at_depth_100_000() -> None:
    """One tile a level of either tree is read, and the piece stays small."""
    leaves = leaf_hashes(100_001)
    ours, theirs = side([*leaves[:-1], *leaf_hashes(1, b"1")]), side([*leaves[:-1], *leaf_hashes(2, b"2")])
    for one in (ours, theirs):
        assert isinstance(one.reader, MemoryTree)
        one.reader.reads.clear()
    raw = fork.prove_fork(ours, theirs, LOG_KEY.public_key)
    assert raw is not None and len(raw) <= EVIDENCE_BYTES_MAX
    assert check_evidence(raw, suspects()).index == 100_000
    for one in (ours, theirs):
        assert isinstance(one.reader, MemoryTree)
        assert one.reader.reads_at_most() <= 4


class HugeTree:
    """A tree of equal leaves of any size, but for one leaf: nothing of it is stored."""

    def __init__(self, odd: int) -> None:
        self.odd = odd
        self.plain = [bytes(32)]
        self.special = [bytes([1] * 32)]
        for height in range(63):
            below, spoiled = self.plain[height], self.special[height]
            is_right = odd >> height & 1
            self.plain.append(node_hash(below, below))
            self.special.append(node_hash(below, spoiled) if is_right else node_hash(spoiled, below))

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        height = 8 * level
        place = self.odd >> height
        return [
            self.special[height] if node == place else self.plain[height]
            for node in range(start, start + count)
        ]


@pytest.mark.parametrize("odd", [0, 2**39 - 1, 2**40 - 2])
def test_evidence_of_histories_of_2_to_the_40(odd: int) -> None:
    """Names as long as names may be, the deepest paths: still under 4 KiB."""
    name = "a" * 60
    origin = f"{name}/{name}/9999"
    readers = HugeTree(odd), HugeTree(2**50)
    sizes = 2**40 - 1, 2**40
    sides = [
        Side(signed(size, root_at(reader, size), origin=origin), reader)
        for reader, size in zip(readers, sizes, strict=True)
    ]
    raw = fork.prove_fork(*sides, LOG_KEY.public_key)
    assert raw is not None and len(raw) <= EVIDENCE_BYTES_MAX
    assert check_evidence(raw, suspects()).index == odd


def test_an_index_beyond_the_first_difference_is_no_evidence() -> None:
    """Or one fork would give as many pieces as it has leaves behind it."""
    ours, theirs = leaf_hashes(6, b"1"), leaf_hashes(9, b"2")
    one, two = side(ours), side(theirs)
    value = codec.decode(proved(one, two))
    for index in range(1, 6):
        sides = [fork._leaf_side(each.reader, index, fork._checkpoint(each.note)) for each in (one, two)]
        with pytest.raises(Unproven, match="before index"):
            check_evidence(codec.encode([*value[:4], index, *sides]), suspects())


def test_the_same_leaf_under_two_roots_is_no_evidence() -> None:
    """A log that grew has two roots, and the same leaf at each index."""
    leaves = leaf_hashes(9)
    one, two = side(leaves[:6]), side(leaves)
    sides = [fork._leaf_side(each.reader, 3, fork._checkpoint(each.note)) for each in (one, two)]
    with pytest.raises(Unproven, match="the same leaf"):
        check_evidence(codec.encode([1, "leaf", one.note, two.note, 3, *sides]), suspects())


def test_notes_of_another_key_accuse_nobody() -> None:
    """Whoever makes a key can sign what he likes with it."""
    notes = [signed(4, bytes([number]) * 32, by="thief") for number in (1, 2)]
    raw = fork.prove_notes(*notes, key("thief").public_key)
    assert raw is not None
    with pytest.raises(Unproven, match="log key"):
        check_evidence(raw, suspects())
    half = [signed(4, bytes([1]) * 32), signed(4, bytes([2]) * 32, by="thief")]
    with pytest.raises(Unproven, match="log key"):
        check_evidence(codec.encode([1, "size", *sorted(half)]), suspects())


def test_two_logs_are_no_fork() -> None:
    """Different origins may differ as they like, two eras of one agency too."""
    one, two = side(leaf_hashes(2, b"1")), side(leaf_hashes(2, b"2"), "test/district/2")
    with pytest.raises(Malformed, match="no two histories"):
        prove(one, two)


def test_what_else_stands_on_a_note_is_left_out() -> None:
    """Cosignatures, noise, a second line of the owner's: none can make evidence too large or impossible."""
    log, other = forked([2, 1])
    text = note.parse_note(log.checkpoint()).text
    own = note.sign_note(text, str(log.origin), log.key("log"))
    noise = [note.sign_note(text, str(log.origin), key(f"noise {number}")) for number in range(40)]
    full = note.format_note(text, [*noise, own, own])
    ours = Side(full, Branch(log).reader)
    theirs = Side(other.cosigned(["centre", "sport"]), Branch(other).reader)
    raw = fork.prove_fork(ours, theirs, log.key("log").public_key)
    assert raw == fork.prove_fork(Branch(log), Branch(other), log.key("log").public_key)


def test_extension_lines_make_no_evidence() -> None:
    """They could be as long as a note may be: a log's checkpoint has none."""
    notes = [signed(4, bytes([number]) * 32, more="x" * 3000) for number in (1, 2)]
    with pytest.raises(Malformed, match="extension"):
        fork.prove_notes(*notes, LOG_KEY.public_key)


def test_a_reader_that_lies_makes_no_evidence() -> None:
    """The hashes of another log under an honest note would accuse the honest."""
    honest = side(leaf_hashes(300))
    liar = Side(side(leaf_hashes(400)).note, MemoryTree(leaf_hashes(400, b"lie")))
    with pytest.raises(Unproven, match="do not lead"):
        prove(honest, liar)


def openings(**second: object) -> tuple[World, list[bytes]]:
    """Two openings of one agency's era 1, the second with other keys."""
    world = World(opened=False)
    log = world.logs["district"]
    cards = log.card(), replace(log.card(), **second)  # type: ignore[arg-type]
    return world, [log.leaf(log.entry([card, log.adopt()])) for card in cards]


def test_two_openings_with_two_log_keys_convict_the_root_key() -> None:
    """With the root key alone: no checkpoint is needed; each byte counts."""
    world, raws = openings(log_key=key("another log").public_key)
    one, two = map(parse_leaf, raws)
    raw = fork.prove_openings(one, two)
    assert raw is not None and raw == fork.prove_openings(two, one)
    found = check_evidence(raw, suspects(ledger_id=world.ledger_id))
    assert (found.kind, found.index, str(found.origin)) == ("opening", 0, ORIGIN)
    for spoiled in flipped(raw):
        with pytest.raises((Malformed, Unproven)):
            check_evidence(spoiled, suspects(ledger_id=world.ledger_id))
    with pytest.raises(Unproven, match="this ledger"):
        check_evidence(raw, suspects())


def test_an_opening_signed_twice_with_one_log_key_convicts_nobody() -> None:
    """What could differ are that key's checkpoints, which then are the evidence."""
    _, raws = openings(urls=())
    assert fork.prove_openings(*map(parse_leaf, raws)) is None


def test_openings_by_another_key_than_the_root_convict_nobody() -> None:
    """The registrar, or a thief of the log key, cannot make the root key look guilty."""
    world, raws = openings(log_key=key("another log").public_key)
    log = world.logs["district"]
    stolen = parse_leaf(log.leaf(log.entry([log.card(log_key=key("x").public_key), log.adopt()], by="log")))
    raw = fork.prove_openings(parse_leaf(raws[0]), stolen)
    assert raw is not None
    with pytest.raises(Unproven, match="root key"):
        check_evidence(raw, suspects(ledger_id=world.ledger_id))


def test_openings_with_the_largest_cards_fit() -> None:
    """As many keys as a card may name and its bytes allow."""
    many = tuple(key(f"many {number}").public_key for number in range(2 * KEYS_MAX))
    url = "http://" + "a" * 6
    sizes = {"desk_keys": many[:KEYS_MAX], "registrar_keys": many[KEYS_MAX:], "urls": (url,) * URLS_MAX}
    world = World(opened=False)
    log = world.logs["district"]
    cards = [log.card(**sizes), log.card(**sizes, log_key=key("another log").public_key)]
    one, two = (parse_leaf(log.leaf(log.entry([card, log.adopt()]))) for card in cards)
    raw = fork.prove_openings(one, two)
    assert raw is not None and 3_000 < len(raw) <= EVIDENCE_BYTES_MAX
    assert check_evidence(raw, suspects(ledger_id=world.ledger_id)).kind == "opening"


def test_a_thousand_way_fork_keeps_64_pieces_and_the_same_ones_whatever_came_first() -> None:
    """The smallest by (index, bytes), each once."""
    pieces = []
    for number in range(1_000):
        notes = signed(9, bytes(32)), signed(9, number.to_bytes(32) if number else b"\xff" * 32)
        raw = fork.prove_notes(*notes, LOG_KEY.public_key)
        assert raw is not None
        pieces.append(check_evidence(raw, suspects()))
    kept = kept_evidence(pieces)
    assert kept == kept_evidence(pieces[::-1]) == kept_evidence(kept_evidence(pieces[500:]) + pieces[:500])
    assert len(kept) == fork.EVIDENCE_OF_ERA_MAX
    assert [one.evidence for one in kept] == sorted(one.evidence for one in pieces)[:64]


def test_a_fork_of_each_entry() -> None:
    """A second history from every index on: each piece names its own index."""
    log = World().logs["district"]
    work(log, 4)
    own = log.key("log").public_key
    found = []
    for size in range(2, len(log.leaves)):
        other = cut(log, size)
        work(other, 9)
        raw = fork.prove_fork(Branch(log), Branch(other), own)
        assert raw is not None
        claim = check_evidence(raw, suspects(log="district log", ledger_id=log.world.ledger_id))
        found.append(claim.index)
    assert found == list(range(2, len(log.leaves)))


@given(st.binary(max_size=200) | st.lists(st.integers(0, 3) | st.binary(max_size=4)).map(codec.encode))
def test_noise_is_malformed(noise: bytes) -> None:
    """Nothing but the three forms is read, and nothing else is raised."""
    with pytest.raises(LedgerError):
        parse_evidence(noise)


def test_a_piece_of_two_equal_roots_is_malformed() -> None:
    """One history signed twice is no fork."""
    notes = [signed(4, bytes(32))] * 2
    assert fork.prove_notes(*notes, LOG_KEY.public_key) is None
    with pytest.raises(Malformed):
        parse_evidence(codec.encode([1, "size", *notes]))


def false_pieces() -> dict[str, bytes]:
    """Evidence that an honest node never makes, each false in one way, however true its signatures are."""
    one, two = sorted(signed(4, bytes([number]) * 32) for number in (1, 2))
    text = note.parse_note(one).text
    line = note.sign_note(text, "stranger", key("stranger"))
    parsed = note.parse_note(one).lines[0]
    again = note.format_line(replace(parsed, signature=bytes(64)))
    path = [bytes(32)] * 200
    return {
        "the larger first": codec.encode([1, "size", two, one]),
        "two lines": codec.encode(
            [1, "size", *sorted([note.format_note(text, [note.format_line(parsed), line]), two])]
        ),
        "two logs": codec.encode([1, "size", one, signed(4, bytes([2]) * 32, origin="test/sport/1")]),
        "one root": codec.encode([1, "size", *sorted([one, note.format_note(text, [again])])]),
        "one root, one note": codec.encode([1, "size", one, one]),
        "an index beyond": codec.encode([1, "leaf", one, signed(5, bytes(32)), 4, *[[bytes(32), []]] * 2]),
        "an index for one size": codec.encode([1, "leaf", one, two, 1, *[[bytes(32), []]] * 2]),
        "too large": codec.encode([1, "leaf", one, signed(5, bytes(32)), 1, *[[bytes(32), path]] * 2]),
    }


@pytest.mark.parametrize("name", false_pieces())
def test_a_piece_of_another_form_is_malformed(name: str) -> None:
    """A fork has one piece of evidence, and it is small."""
    with pytest.raises(Malformed):
        parse_evidence(false_pieces()[name])


def test_two_keys_that_signed_once_each_are_not_convicted() -> None:
    """Each era has its log key: two keys that were ever the log's are two suspects, not one."""
    notes = sorted([signed(4, bytes([1]) * 32), signed(4, bytes([2]) * 32, by="log 2")])
    both = replace(suspects(), log_keys={LOG_KEY.public_key, key("log 2").public_key})
    with pytest.raises(Unproven, match="one log key"):
        check_evidence(codec.encode([1, "size", *notes]), both)


def test_a_piece_of_two_openings_with_one_log_key_is_refused() -> None:
    """Also where somebody else than `prove_openings` makes it."""
    world, raws = openings(urls=())
    sides = sorted(fork._opening_side(parse_leaf(raw)) for raw in raws)
    with pytest.raises(Unproven, match="one log key"):
        check_evidence(codec.encode([1, "opening", *sides]), suspects(ledger_id=world.ledger_id))
