"""ledger.codec: one encoding for each value, and nothing else is read."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.codec import decode, encode
from ledger.errors import Malformed
from tests.spoiled import accepted, extended, flipped, truncated

COMPOSED, DECOMPOSED = "\u0439", "\u0438\u0306"
SAMPLE: dict[str, Any] = {
    "": None,
    "bytes": bytes(range(40)),
    "list": [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, [], {}, ""],
    "map": {"a": "é", "b": {"c": [b""]}},
    "text": "Золотой знак ГТО",
}

texts = st.text(max_size=40).map(lambda text: unicodedata.normalize("NFC", text))
atoms = st.none() | st.integers(0, 2**63 - 1) | texts | st.binary(max_size=300)
values = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(texts, inner, max_size=20),
    max_leaves=40,
).filter(lambda value: _depth(value) <= codec.DEPTH_MAX)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "c0"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (256, "cd0100"),
        (65_536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (2**63 - 1, "cf7fffffffffffffff"),
        ("", "a0"),
        ("aé", "a361c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"", "c400"),
        (b"\x01", "c40101"),
        ([], "90"),
        ([1, [b""]], "920191c400"),
        ((1, 2), "920102"),
        ({}, "80"),
        ({"b": 1, "a": 2}, "82a16102a16201"),
        ({"é": 0, "z": 1, "я": 2}, "83a17a01a2c3a900a2d18f02"),
    ],
)
def test_values_have_these_bytes(value: Any, encoded: str) -> None:
    """The format, by example: shortest forms, keys in the order of their UTF-8 bytes."""
    assert encode(value).hex() == encoded


@given(values)
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    """decode(encode(v)) is v, and encodes to the same bytes again."""
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(st.dictionaries(texts, st.integers(0, 9), min_size=2))
def test_the_order_in_which_a_map_was_built_leaves_no_trace(value: dict[str, int]) -> None:
    """Two programs that build a map in their own order sign the same bytes."""
    assert encode(dict(reversed(value.items()))) == encode(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    """There are no two inputs for one value."""
    for value in accepted(decode, iter([data])):
        assert encode(value) == data


@given(values, st.data())
def test_a_changed_byte_is_refused_or_another_value(value: Any, draw: st.DataObject) -> None:
    """No change of a byte goes unnoticed."""
    data = encode(value)
    at = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    assert all(other != value for other in accepted(decode, iter([changed])))


def test_every_single_change_of_a_sample_shows() -> None:
    """Cut anywhere or lengthened: refused. Each bit flipped: refused, or another value."""
    data = encode(SAMPLE)
    assert decode(data) == SAMPLE
    assert accepted(decode, truncated(data)) == []
    assert accepted(decode, extended(data)) == []
    assert all(value != SAMPLE for value in accepted(decode, flipped(data)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nothing", ""),
        ("integer in two bytes where one does", "cc01"),
        ("integer in three bytes", "cd0001"),
        ("integer in five bytes", "ce00000001"),
        ("integer in nine bytes", "cf0000000000000001"),
        ("signed form of a positive integer", "d001"),
        ("signed form, eight bytes", "d30000000000000001"),
        ("negative fixint", "ff"),
        ("negative integer", "d0ff"),
        ("integer above 2^63-1", "cf8000000000000000"),
        ("false", "c2"),
        ("true", "c3"),
        ("float32", "ca3f800000"),
        ("float64", "cb3ff0000000000000"),
        ("float NaN", "cb7ff8000000000000"),
        ("never used byte", "c1"),
        ("string with a long header", "d90161"),
        ("string with a longer header", "da000161"),
        ("string that is no UTF-8", "a1ff"),
        ("string with a surrogate", "a3eda080"),
        ("string with an overlong form", "a2c080"),
        ("bytes with a long header", "c5000101"),
        ("list with a long header", "dc000101"),
        ("map with a long header", "de0001a16101"),
        ("map with keys out of order", "82a16201a16102"),
        ("map with a repeated key", "82a16101a16102"),
        ("map with a repeated key and value", "82a16101a16101"),
        ("map with an integer key", "810101"),
        ("map with a bytes key", "81c4016101"),
        ("map with a nil key", "81c001"),
        ("map with a list key", "819001"),
        ("map with a map key", "818001"),
        ("fixext 1", "d40100"),
        ("fixext 16", "d801" + "00" * 16),
        ("ext 8", "c7010100"),
        ("timestamp 32", "d6ff00000000"),
        ("timestamp 96", "c70cff" + "00" * 12),
        ("timestamp of a wrong length", "d4ff00"),
        ("timestamp with too many nanoseconds", "d7ff" + "ff" * 8),
        ("second value after the first", "0101"),
        ("list declared longer than it is", "9201"),
        ("list declared of 2^32-1", "ddffffffff"),
        ("list declared of 2^32-1, begun", "ddffffffff" + "01" * 100),
        ("map declared of 2^32-1", "dfffffffff"),
        ("bytes declared of 2^32-1", "c6ffffffff"),
        ("string declared of 2^32-1", "dbffffffff"),
        ("text in decomposed form", encode("x").hex().replace("a178", "a4" + DECOMPOSED.encode().hex())),
        ("key in decomposed form", "81a4" + DECOMPOSED.encode().hex() + "00"),
    ],
)
def test_other_encodings_are_malformed(name: str, data: str) -> None:
    """Each has brought some format two encodings of one fact, or crashed its reader."""
    with pytest.raises(Malformed):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.0,
        float("nan"),
        -1,
        2**63,
        10**5000,
        DECOMPOSED,
        "\ud800",
        {DECOMPOSED: 1},
        {1: 1},
        {b"a": 1},
        {None: 1},
        {"a": {True: 1}},
        [set()],
        bytearray(b"x"),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_without_an_encoding_are_malformed(value: Any) -> None:
    """What cannot be read back is not written either, wherever it stands."""
    for nested in (value, [value], {"a": value}):
        with pytest.raises(Malformed):
            encode(nested)


def test_composed_text_is_read() -> None:
    """The same letter in form NFC is fine."""
    assert COMPOSED != DECOMPOSED
    assert decode(encode(COMPOSED)) == COMPOSED


def test_a_value_nests_so_deep_and_no_deeper() -> None:
    """The bound counts lists and maps alike, in both directions."""
    value: Any = 0
    for _ in range(codec.DEPTH_MAX // 2):
        value = [{"a": value}]
    assert decode(encode(value)) == value
    with pytest.raises(Malformed):
        encode([value])
    with pytest.raises(Malformed):
        decode(b"\x91" + encode(value))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdd\x00\x01\x00\x00"])
@pytest.mark.parametrize("depth", [17, 600, 100_000])
def test_a_nesting_bomb_is_malformed(opening: bytes, depth: int) -> None:
    """A hundred thousand opened lists or maps neither crash nor exhaust the process."""
    with pytest.raises(Malformed):
        decode(opening * depth + b"\x00")


def test_a_value_that_holds_itself_is_malformed() -> None:
    """A cycle cannot be written."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(Malformed):
        encode(cycle)


@pytest.mark.parametrize("empty", [b"\x90", b"\x80"])
def test_a_bomb_of_empty_containers_is_malformed(empty: bytes) -> None:
    """A megabyte of empty lists would take a hundred in memory: refused while it is parsed."""
    count = 2**20
    with pytest.raises(Malformed, match="lists and maps"):
        decode(b"\xdd" + count.to_bytes(4) + empty * count)


def test_an_honest_value_full_of_containers_is_read() -> None:
    """A thousand small lists are fine in anything, tens of thousands where each holds a hash."""
    small: list[Any] = [[]] * (codec.CONTAINERS_FREE - 1)
    assert decode(encode(small)) == small
    hashes = [[bytes(32), 1]] * 50_000
    assert decode(encode(hashes)) == hashes


def test_longer_input_than_allowed_is_malformed() -> None:
    """The bound holds before anything is parsed, and is exact."""
    data = encode(bytes(100))
    assert decode(data, bytes_max=len(data)) == bytes(100)
    with pytest.raises(Malformed, match="at most 101"):
        decode(data, bytes_max=101)
