"""ledger.record: two parts, one hash; padding that opens like any record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.errors import Malformed
from ledger.record import (
    PART_BYTES_MAX,
    Basis,
    Record,
    hash_of_parts,
    join_hashes,
    make_record,
    padding_hashes,
    padding_parts,
    parse_record,
    parse_shown,
)
from tests.plain import pack, sha
from tests.spoiled import accepted, spoiled

SALTS = (bytes(range(16)), bytes(range(16, 32)))
OWNER: dict[str, Any] = {
    "salt": SALTS[0],
    "subject": b"\xaa" * 16,
    "basis": {"act": "273-fz"},
    "source": "list results.csv row 12",
    "supersedes": b"\xbb" * 32,
    "request": {"key": b"\xcc" * 32},
}
SHOWN: dict[str, Any] = {
    "salt": SALTS[1],
    "kind": "subject_result",
    "period": "2026/2027",
    "fields": {"term": "q1", "value": "5"},
}

VECTOR = {
    "owner": "86a5626173697381a3616374a63237332d667aa77265717565737481a36b6579c420"
    + "cc" * 32
    + "a473616c74c410000102030405060708090a0b0c0d0e0fa6736f75726365b76c69737420726573756c74732e63737620726f"
    "77203132a77375626a656374c410" + "aa" * 16 + "aa73757065727365646573c420" + "bb" * 32,
    "shown": "84a66669656c647382a47465726da27131a576616c7565a135a46b696e64ae7375626a6563745f726573756c74"
    "a6706572696f64a9323032362f32303237a473616c74c410101112131415161718191a1b1c1d1e1f",
    "hash": "435ee8f9c3e5e57606d9fb8aa61d2270b7babcf874ddaf7d5f7446c7e33f0a03",
    "padding owner": "81a473616c74c41047b684bbe0278654cbea5b3a986392d7",
    "padding shown": "82a46b696e64a770616464696e67a473616c74c41073ef2b329d88071a873d9f972b023ba8",
    "padding hash": "e58f93b6855264b2b088b93d4029c7dac47985b0da800361cd2f807e0b2e58f3",
}
"""A record, and padding record 1 of the seed of 32 bytes 07; generated once by tests/plain.py."""

texts = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=40)
salts = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
records = st.builds(
    make_record,
    subject=salts,
    kind=texts,
    period=texts,
    fields=st.dictionaries(
        texts, texts | st.integers(0, 2**63 - 1) | st.lists(texts, max_size=3), max_size=5
    ),
    basis=st.builds(Basis, act=texts) | st.builds(Basis, consent=hashes),
    salts=st.tuples(salts, salts),
    source=st.none() | texts,
    supersedes=st.none() | hashes,
    request=st.none() | st.dictionaries(texts, texts, max_size=3),
)


def sample() -> Record:
    """The record of the vector."""
    return parse_record(codec.encode(OWNER), codec.encode(SHOWN))


def test_a_record_has_these_bytes_and_this_hash() -> None:
    """The format, by example, against lines that know nothing of our code."""
    owner, shown = pack(OWNER), pack(SHOWN)
    assert (owner.hex(), shown.hex()) == (VECTOR["owner"], VECTOR["shown"])
    assert sha(b"\x00", sha(owner), sha(shown)).hex() == VECTOR["hash"]
    record = sample()
    assert (record.owner_part, record.shown_part) == (owner, shown)
    assert record.hash.hex() == VECTOR["hash"]
    assert join_hashes(sha(owner), sha(shown)) == hash_of_parts(owner, shown) == record.hash


def test_padding_comes_from_its_seed() -> None:
    """Who knows the seed can open all padding, nobody else can tell it apart."""
    seed = b"\x07" * 32
    part_salts = [
        sha(b"pledger/padding/v1\x00", seed, (1).to_bytes(4, "big"), bytes([part]))[:16] for part in (0, 1)
    ]
    expected = (pack({"salt": part_salts[0]}), pack({"salt": part_salts[1], "kind": "padding"}))
    assert padding_parts(seed, 1) == expected
    assert [part.hex() for part in expected] == [VECTOR["padding owner"], VECTOR["padding shown"]]
    assert padding_hashes(seed, 3)[1] == hash_of_parts(*expected) == bytes.fromhex(VECTOR["padding hash"])
    assert len({*padding_hashes(seed, 100), *padding_hashes(b"\x08" * 32, 100)}) == 200


def test_padding_is_no_record() -> None:
    """It says nothing of anybody, so it can be judged as nothing."""
    with pytest.raises(Malformed):
        parse_record(*padding_parts(bytes(32), 0))


def test_a_spoiled_owner_part_is_refused_or_another_record() -> None:
    """Cut, lengthened, each bit flipped: never the same record, never a crash."""
    whole = sample()
    others = accepted(lambda data: parse_record(data, whole.shown_part), spoiled(whole.owner_part))
    assert others and all(isinstance(one, Record) and one.hash != whole.hash for one in others)


def test_a_spoiled_shown_part_is_refused_or_another_record() -> None:
    """The same for what an outsider is given."""
    whole = sample()
    others = accepted(lambda data: parse_record(whole.owner_part, data), spoiled(whole.shown_part))
    assert others and all(isinstance(one, Record) and one.hash != whole.hash for one in others)
    assert all(
        one != codec.decode(whole.shown_part) for one in accepted(parse_shown, spoiled(whole.shown_part))
    )


def test_parts_exchanged_are_refused() -> None:
    """The two parts are not alike."""
    whole = sample()
    with pytest.raises(Malformed):
        parse_record(whole.shown_part, whole.owner_part)


@given(records)
def test_what_is_made_parses_to_itself(record: Record) -> None:
    """make, then parse: the same record."""
    assert parse_record(record.owner_part, record.shown_part) == record


@given(records, salts)
def test_another_salt_is_another_hash_and_the_same_content(record: Record, salt: bytes) -> None:
    """The salt hides the content, and content is what conflicts compare."""
    owner = codec.decode(record.owner_part)
    other = parse_record(codec.encode(owner | {"salt": salt}), record.shown_part)
    assert other.content() == record.content()
    assert (other.hash == record.hash) == (salt == owner["salt"])


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": bytes(15)},
        {"salt": bytes(17)},
        {"salt": "0123456789abcdef"},
        {"salt": None},
        {"subject": bytes(15)},
        {"subject": "anna"},
        {"subject": None},
        {"basis": None},
        {"basis": {}},
        {"basis": {"act": ""}},
        {"basis": {"act": "x" * 41}},
        {"basis": {"act": b"x"}},
        {"basis": {"consent": bytes(31)}},
        {"basis": {"consent": "x" * 32}},
        {"basis": {"act": "a", "consent": bytes(32)}},
        {"basis": {"act": "a", "note": "b"}},
        {"basis": ["a"]},
        {"source": ""},
        {"source": "x" * 81},
        {"source": 1},
        {"supersedes": bytes(31)},
        {"supersedes": None},
        {"request": []},
        {"request": None},
        {"note": "x"},
    ],
)
def test_owner_parts_of_any_other_form_are_refused(changes: dict[str, Any]) -> None:
    """A closed map: exact lengths, no key more, and no key that is nil."""
    with pytest.raises(Malformed):
        parse_record(codec.encode(OWNER | changes), codec.encode(SHOWN))


@pytest.mark.parametrize("missing", ["salt", "subject", "basis"])
def test_owner_parts_that_lack_a_key_are_refused(missing: str) -> None:
    """Without salt anybody could guess; without subject or basis it is nobody's."""
    with pytest.raises(Malformed):
        parse_record(codec.encode({key: OWNER[key] for key in OWNER if key != missing}), codec.encode(SHOWN))


@pytest.mark.parametrize(
    "shown",
    [
        SHOWN | {"kind": ""},
        SHOWN | {"kind": "x" * 41},
        SHOWN | {"kind": 1},
        SHOWN | {"period": ""},
        SHOWN | {"period": None},
        SHOWN | {"fields": []},
        SHOWN | {"fields": None},
        SHOWN | {"subject": bytes(16)},
        SHOWN | {"salt": bytes(8)},
        {key: SHOWN[key] for key in ("salt", "kind", "period")},
        [],
        None,
        "x",
        5,
    ],
)
def test_shown_parts_of_any_other_form_are_refused(shown: Any) -> None:
    """An outsider's part never holds the pseudonym, nor anything but its four keys."""
    with pytest.raises(Malformed):
        parse_shown(codec.encode(shown))


def test_a_part_beyond_its_limit_is_refused() -> None:
    """One record is no place for a file, and an error about one is no copy of it."""
    large = codec.encode(SHOWN | {"fields": {"x": "y" * PART_BYTES_MAX}})
    with pytest.raises(Malformed):
        parse_shown(large)
    with pytest.raises(Malformed) as caught:
        parse_shown(codec.encode(SHOWN | {"z" * 10_000: 1}))
    assert len(str(caught.value)) < 400
