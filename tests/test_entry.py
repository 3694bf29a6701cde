"""ledger.entry: what an author signs, and that its id does not hang on the signature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey as PlainKey

from ledger import codec, entry
from ledger.entry import (
    Header,
    PrivateBodies,
    padded_count,
    parse_header,
    records_root,
    sign_private,
    sign_public,
)
from ledger.errors import Malformed
from ledger.keys import SigningKey, is_signature
from ledger.record import padding_hashes
from tests.plain import pack, sha, tree
from tests.spoiled import accepted, spoiled
from tests.world import DAY, record, seed

SIGNER = SigningKey(bytes(range(32)))
FIELDS: list[Any] = [1, b"\x11" * 32, "district", SIGNER.public_key, 20_700, 0, 4, b"\x22" * 32]
VECTOR = {
    "header": "9801c420" + "11" * 32 + "a86469737472696374c420"
    "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8cd50dc0004c420" + "22" * 32,
    "entry_id": "0e5e405360863e4514eefaed16258ef38bfdcfa2e450498213f38750c35a99f9",
    "signature": "55029b6b9632878bb87df34262d601a7aba16ec0874cf136daf0ad5dac11c161"
    "c992f1aa3a7c8ed51e687742729243905a04dbe7e73caaef07570dc16fd68d0d",
}
"""RFC 8032's derivation of the seed 00..1f; generated once by tests/plain.py and PyNaCl directly."""

headers = st.tuples(
    st.just(1),
    st.binary(min_size=32, max_size=32),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,58}[a-z0-9])?", fullmatch=True),
    st.binary(min_size=32, max_size=32),
    st.integers(0, entry.DAY_MAX),
    st.just(0),
    st.sampled_from([4, 8, 16, 1024, 4096]),
    st.binary(min_size=32, max_size=32),
) | st.tuples(
    st.just(1),
    st.binary(min_size=32, max_size=32),
    st.just("sport"),
    st.binary(min_size=32, max_size=32),
    st.integers(0, entry.DAY_MAX),
    st.just(1),
    st.integers(1, 16),
    st.binary(min_size=32, max_size=32),
)


def test_a_header_has_these_bytes_this_id_and_this_signature() -> None:
    """The format, by example."""
    raw = pack(FIELDS)
    assert raw.hex() == VECTOR["header"]
    message = b"pledger/entry/v1\x00" + raw
    assert sha(message).hex() == VECTOR["entry_id"]
    assert PlainKey(bytes(range(32))).sign(message).signature.hex() == VECTOR["signature"]
    header = parse_header(raw)
    assert header.entry_id.hex() == VECTOR["entry_id"]
    one = entry.Entry(header=header, signature=bytes.fromhex(VECTOR["signature"]))
    assert one.signed_message == (SIGNER.public_key, message, one.signature)
    assert is_signature(*one.signed_message)


def test_a_spoiled_header_is_refused_or_another_entry() -> None:
    """Cut, lengthened, each bit flipped: never the same id, never a crash."""
    whole = parse_header(pack(FIELDS))
    others = accepted(parse_header, spoiled(whole.raw))
    assert others and all(isinstance(one, Header) and one.entry_id != whole.entry_id for one in others)


@given(headers)
def test_a_header_says_what_was_encoded(fields: tuple[Any, ...]) -> None:
    """encode, then parse."""
    header = parse_header(codec.encode(list(fields)))
    assert header.raw == pack(list(fields))
    assert [
        1,
        header.ledger_id,
        header.agency,
        header.author,
        header.created_day,
        header.audience,
        header.records_count,
        header.records_root,
    ] == list(fields)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 0),
        (0, 2),
        (0, "1"),
        (0, None),
        (1, b""),
        (1, b"\x11" * 31),
        (1, "x" * 32),
        (2, ""),
        (2, "District"),
        (2, "a/b"),
        (2, ".."),
        (2, "-a"),
        (2, "a" * 61),
        (2, b"district"),
        (3, b"\x11" * 33),
        (3, None),
        (4, entry.DAY_MAX + 1),
        (4, "x"),
        (4, None),
        (5, 2),
        (5, None),
        (6, 0),
        (6, 1),
        (6, 3),
        (6, 5),
        (6, 6),
        (6, 8192),
        (6, 2**63 - 1),
        (6, b"4"),
        (7, b"\x22" * 31),
        (7, None),
    ],
)
def test_headers_of_any_other_form_are_refused(place: int, value: Any) -> None:
    """Versions, lengths, names and counts are what they must be, or nothing."""
    fields = list(FIELDS)
    fields[place] = value
    with pytest.raises(Malformed):
        parse_header(codec.encode(fields))


@pytest.mark.parametrize("count", [0, 17, 4096])
def test_a_public_header_counts_its_bodies(count: int) -> None:
    """At most sixteen stand in a leaf."""
    with pytest.raises(Malformed):
        parse_header(codec.encode([*FIELDS[:5], 1, count, FIELDS[7]]))


@pytest.mark.parametrize("fields", [FIELDS[:7], [*FIELDS, 1], {}, None, 5, "x", [FIELDS], []])
def test_other_shapes_are_no_headers(fields: Any) -> None:
    """Eight members, no more and no fewer."""
    with pytest.raises(Malformed):
        parse_header(codec.encode(fields))


def test_private_entries_are_filled_to_a_power_of_two() -> None:
    """The count is not the class: 1 to 4 pupils look alike, and so do 17 to 32."""
    expected = {1: 4, 3: 4, 4: 4, 5: 8, 8: 8, 9: 16, 25: 32, 2049: 4096, 4096: 4096}
    assert {real: padded_count(real) for real in expected} == expected


def test_a_private_root_is_over_all_hashes_ascending() -> None:
    """Real and padding records, whatever order the list had."""
    records = tuple(record(number=number) for number in range(5))
    bodies = PrivateBodies(padding_seed=seed("p"), records=records)
    made = sign_private(bodies, ledger_id=bytes(32), agency="sport", created_day=DAY, signer=SIGNER)
    hashes = sorted([one.hash for one in records] + padding_hashes(seed("p"), 3))
    assert bodies.hashes() == hashes
    assert (made.header.records_count, made.header.records_root) == (8, tree(hashes))
    assert made.bodies == ()
    again = replace(bodies, records=records[::-1])
    fields = {"ledger_id": bytes(32), "agency": "sport", "created_day": DAY}
    assert sign_private(again, signer=SIGNER, **fields) == made


def test_an_empty_or_too_large_entry_cannot_be_signed() -> None:
    """1 to 4,096 records; the same record cannot stand twice."""
    fields: dict[str, Any] = {"ledger_id": bytes(32), "agency": "sport", "created_day": DAY, "signer": SIGNER}
    for records in ((), (record(),) * 2, (record(),) * 4097):
        with pytest.raises(Malformed):
            sign_private(PrivateBodies(padding_seed=seed("p"), records=records), **fields)
    with pytest.raises(Malformed):
        sign_public([], **fields)
    with pytest.raises(Malformed):
        sign_public([bytes([number]) for number in range(17)], **fields)
    with pytest.raises(Malformed):
        sign_public([b"a", b"a"], **fields)


def test_public_bodies_stand_in_the_order_of_their_hashes() -> None:
    """One entry has one form."""
    bodies = [b"one", b"two", b"three"]
    made = sign_public(bodies, ledger_id=bytes(32), agency="sport", created_day=DAY, signer=SIGNER)
    assert list(made.bodies) == sorted(bodies, key=lambda body: sha(b"\x00", body))
    assert made.header.records_root == tree(sorted(sha(b"\x00", body) for body in bodies))


@pytest.mark.parametrize("hashes", [[b"b", b"a"], [b"a", b"a"], [b"a", b"b", b"b"]])
def test_record_hashes_ascend_each_once(hashes: list[bytes]) -> None:
    """Two orders would be two roots of one list."""
    with pytest.raises(Malformed):
        records_root(hashes)
