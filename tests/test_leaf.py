"""ledger.leaf: an entry's place, and what its own bytes decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.errors import Malformed
from ledger.leaf import HOUR_MAX, Leaf, make_leaf, own_violations, parse_leaf
from tests.plain import pack, sha
from tests.spoiled import accepted, spoiled
from tests.test_entry import FIELDS
from tests.world import HOUR, World, record

VALUES: list[Any] = [1, b"\x33" * 32, 496_800, pack(FIELDS), b"\x44" * 64, []]
VECTOR = {
    "leaf": "9601c420" + "33" * 32 + "ce000794a0c476HEADERc440" + "44" * 64 + "90",
    "hash": "d3578b5c56dfb3b8b56fd937ac1a1cafb1f6f3e340e0834140461c62af98c90e",
}
"""Generated once by the lines of tests/plain.py."""


def public() -> Leaf:
    """A leaf with two public bodies."""
    log = World().logs["sport"]
    return parse_leaf(log.leaf(log.entry([log.grant("cook"), log.grant("nurse")], by="registrar")))


def test_a_leaf_has_these_bytes_and_this_hash() -> None:
    """The format, by example: one hash is the chain link and the Merkle leaf."""
    raw = pack(VALUES)
    assert raw.hex() == VECTOR["leaf"].replace("HEADER", pack(FIELDS).hex())
    leaf = parse_leaf(raw)
    assert leaf.raw == raw
    assert leaf.hash == sha(b"\x00", raw) == bytes.fromhex(VECTOR["hash"])
    assert (leaf.prev, leaf.received_hour, leaf.day) == (b"\x33" * 32, 496_800, 20_700)


@pytest.mark.parametrize("make", [public, lambda: parse_leaf(pack(VALUES))])
def test_a_spoiled_leaf_is_refused_or_another_leaf(make: Any) -> None:
    """Cut, lengthened, each bit flipped: never the same hash, never a crash."""
    whole = make()
    others = accepted(parse_leaf, spoiled(whole.raw))
    assert others and all(isinstance(one, Leaf) and one.hash != whole.hash for one in others)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """Anything at all may come as a leaf."""
    assert accepted(parse_leaf, iter([data])) == []


@given(st.integers(0, HOUR_MAX), st.binary(min_size=32, max_size=32))
def test_what_is_made_parses_to_itself(hour: int, prev: bytes) -> None:
    """make, then parse; an entry is the same wherever it stands."""
    entry = LOG.private([record()])
    leaf = make_leaf(entry, prev=prev, received_hour=hour)
    assert parse_leaf(leaf.raw) == leaf
    assert (leaf.entry, leaf.prev, leaf.received_hour) == (entry, prev, hour)


LOG = World().logs["sport"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (0, None),
        (1, b""),
        (1, b"\x33" * 31),
        (1, None),
        (2, HOUR_MAX + 1),
        (2, 2**63 - 1),
        (2, None),
        (2, b"1"),
        (3, b""),
        (3, None),
        (3, FIELDS),
        (3, pack(FIELDS) + b"\x00"),
        (4, b"\x44" * 63),
        (4, b"\x44" * 65),
        (4, None),
        (5, None),
        (5, [b"body"]),
        (5, ["body"]),
        (5, {}),
        (5, b""),
    ],
)
def test_leaves_of_any_other_form_are_refused(place: int, value: Any) -> None:
    """Lengths, types, and no body in a private leaf."""
    values = list(VALUES)
    values[place] = value
    with pytest.raises(Malformed):
        parse_leaf(codec.encode(values))


@pytest.mark.parametrize("bodies", [[], [b"one"], [b"one", b"two", b"three"], [b"one", "two"]])
def test_a_public_leaf_carries_each_of_its_bodies(bodies: list[Any]) -> None:
    """As many as the header counts."""
    values = codec.decode(public().raw)
    with pytest.raises(Malformed):
        parse_leaf(codec.encode([*values[:5], bodies]))


def test_a_leaf_too_large_for_a_bundle_cannot_be_made() -> None:
    """65,535 bytes fit, no more."""
    entry = LOG.entry([b"x" * 40_000, b"y" * 25_200], by="registrar")
    assert len(make_leaf(entry, prev=bytes(32), received_hour=HOUR).raw) <= 65_535
    with pytest.raises(Malformed):
        make_leaf(LOG.entry([b"x" * 40_000, b"y" * 25_400]), prev=bytes(32), received_hour=HOUR)


def test_own_bytes_decide_root_and_signature() -> None:
    """What can be checked in any order on any core."""
    leaf = public()
    assert own_violations(leaf, is_signed=True) == []
    assert [one.rule.name for one in own_violations(leaf, is_signed=False)] == ["entry.signature"]
    bodies = list(leaf.entry.bodies)
    values = codec.decode(leaf.raw)
    for wrong in (bodies[::-1], [bodies[0], bodies[0]], [bodies[0], bodies[1] + b"\x00"]):
        other = parse_leaf(codec.encode([*values[:5], wrong]))
        assert [one.rule.name for one in own_violations(other, is_signed=True, index=7)] == ["entry.root"]
