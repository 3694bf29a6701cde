"""ledger.governance: closed public records, and scopes that are committed to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec, governance
from ledger.errors import Malformed
from ledger.governance import (
    REASONS,
    Adopt,
    Card,
    Erasure,
    Governance,
    Grant,
    Reconcile,
    Revoke,
    Scope,
    format_governance,
    make_scope,
    parse_governance,
    parse_scope,
    scope_commitment,
)
from ledger.names import Head, Place
from tests.plain import pack, sha
from tests.spoiled import accepted, spoiled
from tests.world import seed

CARD = Card(
    origin="test/sport/1",
    number=2,
    before=seed("card 1"),
    log_key=seed("log"),
    witness_key=seed("witness"),
    node_key=seed("node"),
    desk_keys=(seed("desk"), seed("old desk")),
    sealing_key=seed("sealing"),
    registrar_keys=(seed("registrar"),),
    urls=("https://sport.example:8443/ledger", "http://[::1]:80"),
    void_from={seed("thief"): Place(1, 7), seed("thug"): Place(1, 0)},
)
SAMPLES: list[Governance] = [
    CARD,
    replace(CARD, number=1, before=None, urls=(), void_from={}),
    Adopt(version=3, hash=seed("roster"), cards={"centre": (2, seed("card")), "district": None}),
    Grant(key=seed("clerk"), scope=seed("scope"), valid_from=20_000, valid_until=20_300),
    Revoke(key=seed("clerk"), suspect_from=Place(1, 300)),
    Revoke(key=seed("clerk"), suspect_from=None),
    Reconcile(
        kept=Head(1, 300, seed("kept")),
        closes=(Head(1, 301, seed("a")), Head(1, 305, seed("b"))),
        carried=(4, seed("carried")),
        set_aside=(0, sha()),
        hour=500_000,
        reason_code="fork",
    ),
    Erasure(root=seed("erased")),
]
OPENING = {
    "salt": bytes(range(16)),
    "role": "clerk",
    "unit": "school-1",
    "kinds": ["notice", "subject_result"],
}
VECTOR = {
    "grant": "85a36b6579c420"
    + "55" * 32
    + "a46b696e64ab73746166662e6772616e74a573636f7065c420"
    + "66" * 32
    + ""
    "aa76616c69645f66726f6dcd4e20ab76616c69645f756e74696ccd4f4c",
    "opening": "84a56b696e647392a66e6f74696365ae7375626a6563745f726573756c74a4726f6c65a5636c65726b"
    "a473616c74c410000102030405060708090a0b0c0d0e0fa4756e6974a87363686f6f6c2d31",
    "commitment": "2453a8118fa2793afd20c1e08847c9e174384864ecb494847a1b1dfc5ab93ea0",
}
"""Generated once by the lines of tests/plain.py."""

keys = st.binary(min_size=32, max_size=32)
days = st.integers(0, 2**63 - 1)
ids = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
places = st.builds(Place, st.integers(1, 9999), days)
heads = st.builds(Head, st.integers(1, 9999), days, keys)
lists = st.tuples(days, keys)
grants = st.builds(Grant, key=keys, scope=keys, valid_from=days, valid_until=days)
revokes = st.builds(Revoke, key=keys, suspect_from=st.none() | places)
adopts = st.builds(
    Adopt,
    version=st.integers(1, 10**6),
    hash=keys,
    cards=st.dictionaries(ids, st.none() | st.tuples(st.integers(1, 10**6), keys), max_size=6),
)
reconciles = st.builds(
    Reconcile,
    kept=heads,
    closes=st.lists(heads, max_size=4).map(tuple),
    carried=lists,
    set_aside=lists,
    hour=days,
    reason_code=st.sampled_from(REASONS),
)


@st.composite
def cards(draw: Any) -> Card:
    """A card of distinct keys."""
    distinct = draw(st.lists(keys, min_size=6, max_size=9, unique=True))
    number = draw(st.integers(1, governance.CARDS_MAX))
    return Card(
        origin=f"{draw(ids)}/{draw(ids)}/{draw(st.integers(1, 9999))}",
        number=number,
        before=None if number == 1 else draw(keys),
        log_key=distinct[0],
        witness_key=distinct[1],
        node_key=distinct[2],
        desk_keys=tuple(distinct[3:5]),
        sealing_key=draw(keys),
        registrar_keys=tuple(distinct[5:]),
        urls=draw(st.sampled_from([(), ("http://a",), ("https://b.example/x", "http://127.0.0.1:8080")])),
        void_from=draw(st.dictionaries(keys, places, max_size=4)),
    )


public = cards() | adopts | grants | revokes | reconciles | st.builds(Erasure, root=keys)


@given(public)
def test_what_is_formatted_parses_to_itself(record: Governance) -> None:
    """format, then parse: every public kind."""
    body = format_governance(record)
    assert parse_governance(body) == record
    assert body == pack(codec.decode(body))


@pytest.mark.parametrize("record", SAMPLES)
def test_a_spoiled_public_record_is_refused_or_another(record: Governance) -> None:
    """Cut, lengthened, each bit flipped: never the same record, never a crash."""
    body = format_governance(record)
    assert parse_governance(body) == record
    assert all(other != record for other in accepted(parse_governance, spoiled(body)))


def test_a_grant_and_a_scope_have_these_bytes() -> None:
    """The formats, by example."""
    grant = {
        "kind": "staff.grant",
        "key": b"\x55" * 32,
        "scope": b"\x66" * 32,
        "valid_from": 20_000,
        "valid_until": 20_300,
    }
    assert pack(grant).hex() == VECTOR["grant"]
    parsed = Grant(key=b"\x55" * 32, scope=b"\x66" * 32, valid_from=20_000, valid_until=20_300)
    assert parse_governance(pack(grant)) == parsed
    assert format_governance(parsed).hex() == VECTOR["grant"]
    assert pack(OPENING).hex() == VECTOR["opening"]
    assert sha(b"\x00", pack(OPENING)).hex() == VECTOR["commitment"]
    scope = Scope(role="clerk", unit="school-1", kinds=("subject_result", "notice"))
    assert make_scope(scope, bytes(range(16))).hex() == VECTOR["opening"]
    assert scope_commitment(pack(OPENING)).hex() == VECTOR["commitment"]


def test_a_spoiled_scope_is_refused_or_opens_nothing() -> None:
    """An opening that was changed never gives the commitment again."""
    opening = pack(OPENING)

    def open_scope(data: bytes) -> bytes:
        parse_scope(data)
        return scope_commitment(data)

    assert scope_commitment(opening) not in accepted(open_scope, spoiled(opening))


@given(st.text(min_size=1, max_size=12), st.sets(st.sampled_from(["a", "b", "c", "я"]), min_size=1))
def test_scopes_parse_to_themselves(unit: str, kinds: set[str]) -> None:
    """make, then parse; the order in which kinds were named leaves no trace."""
    scope = Scope(role="clerk", unit=unit, kinds=tuple(kinds))
    try:
        opening = make_scope(scope, bytes(16))
    except Malformed:
        return  # not NFC, or a lone surrogate
    assert parse_scope(opening) == replace(scope, kinds=tuple(sorted(kinds)))


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": bytes(15)},
        {"salt": "x" * 16},
        {"role": ""},
        {"role": "x" * 41},
        {"role": None},
        {"unit": ""},
        {"unit": 1},
        {"kinds": []},
        {"kinds": ["b", "a"]},
        {"kinds": ["a", "a"]},
        {"kinds": [1]},
        {"kinds": [["a"]]},
        {"kinds": "a"},
        {"kinds": [f"k{n:03}" for n in range(101)]},
        {"note": "x"},
    ],
)
def test_scopes_of_any_other_form_are_refused(changes: dict[str, Any]) -> None:
    """Two openings of one scope would be two commitments."""
    with pytest.raises(Malformed):
        parse_scope(codec.encode(OPENING | changes))


KEY = bytes(32)
CARD_CHANGES: list[dict[str, Any]] = [
    {"origin": "test/sport"},
    {"origin": "test/sport/01"},
    {"origin": "test/sport/0"},
    {"origin": "test/sport/10000"},
    {"origin": "Test/sport/1"},
    {"origin": 1},
    {"number": 0},
    {"number": 1},
    {"number": governance.CARDS_MAX + 1},
    {"number": "2"},
    {"before": None},
    {"before": bytes(31)},
    {"log_key": bytes(31)},
    {"log_key": None},
    {"log_key": "x" * 32},
    {"sealing_key": bytes(33)},
    {"desk_keys": []},
    {"desk_keys": None},
    {"desk_keys": [KEY, KEY]},
    {"desk_keys": [seed(str(n)) for n in range(17)]},
    {"registrar_keys": []},
    {"registrar_keys": [seed("log")]},
    {"registrar_keys": [1]},
    {"witness_key": seed("node")},
    {"urls": None},
    {"urls": ["ftp://a"]},
    {"urls": ["http://a b"]},
    {"urls": ["http://a\n"]},
    {"urls": ["http://user@host/"]},
    {"urls": ["http://a/?q=1"]},
    {"urls": ["http://" + "a" * 200]},
    {"urls": ["http://a"] * 9},
    {"urls": [1]},
    {"void_from": None},
    {"void_from": {}},
    {"void_from": [[KEY, 1]]},
    {"void_from": [[KEY, 0, 1]]},
    {"void_from": [[KEY, 1, None]]},
    {"void_from": [[bytes(31), 1, 1]]},
    {"void_from": [[KEY, 1, 1], [KEY, 1, 2]]},
    {"void_from": [[b"\x01" * 32, 1, 1], [KEY, 1, 2]]},
    {"void_from": [[seed(str(n)), 1, 1] for n in range(17)]},
    {"note": "x"},
]
OTHER_CHANGES: list[tuple[Governance, dict[str, Any]]] = [
    (SAMPLES[2], {"version": 0}),
    (SAMPLES[2], {"version": None}),
    (SAMPLES[2], {"hash": bytes(31)}),
    (SAMPLES[2], {"cards": []}),
    (SAMPLES[2], {"cards": {"Centre": None}}),
    (SAMPLES[2], {"cards": {"a/b": [1, KEY]}}),
    (SAMPLES[2], {"cards": {"\x1b[2J": [0, KEY]}}),
    (SAMPLES[2], {"cards": {"x" * 50_000: [0, KEY]}}),
    (SAMPLES[2], {"cards": {"centre": [0, KEY]}}),
    (SAMPLES[2], {"cards": {"centre": [1, bytes(31)]}}),
    (SAMPLES[2], {"cards": {"centre": [1]}}),
    (SAMPLES[2], {"cards": {"centre": [1, KEY, 1]}}),
    (SAMPLES[3], {"key": bytes(31)}),
    (SAMPLES[3], {"scope": None}),
    (SAMPLES[3], {"valid_from": None}),
    (SAMPLES[3], {"valid_until": "x"}),
    (SAMPLES[3], {"role": "clerk"}),
    (SAMPLES[4], {"suspect_from": [0, 1]}),
    (SAMPLES[4], {"suspect_from": [1]}),
    (SAMPLES[4], {"suspect_from": 5}),
    (SAMPLES[4], {"suspect_from": {}}),
    (SAMPLES[6], {"kept": [1, 2, KEY]}),
    (SAMPLES[6], {"kept": {"era": 0, "size": 1, "root": KEY}}),
    (SAMPLES[6], {"kept": {"era": 1, "size": 1, "root": KEY, "x": 1}}),
    (SAMPLES[6], {"closes": None}),
    (SAMPLES[6], {"closes": [{"era": 1, "size": 1, "root": KEY}] * 65}),
    (SAMPLES[6], {"carried": [1, bytes(31)]}),
    (SAMPLES[6], {"set_aside": None}),
    (SAMPLES[6], {"hour": None}),
    (SAMPLES[6], {"reason_code": "because"}),
    (SAMPLES[6], {"reason_code": ["fork"]}),
    (SAMPLES[7], {"root": bytes(31)}),
    (SAMPLES[7], {"who": "anna"}),
]


@pytest.mark.parametrize(("record", "changes"), [*((CARD, one) for one in CARD_CHANGES), *OTHER_CHANGES])
def test_public_records_of_any_other_form_are_refused(record: Governance, changes: dict[str, Any]) -> None:
    """Closed maps, exact lengths; the refusal is short and safe to print on a terminal."""
    value = codec.decode(format_governance(record)) | changes
    with pytest.raises(Malformed) as caught:
        parse_governance(codec.encode(value))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("record", SAMPLES)
def test_a_public_record_that_lacks_a_key_is_refused(record: Governance) -> None:
    """Nothing has a default."""
    value = codec.decode(format_governance(record))
    for key in value:
        with pytest.raises(Malformed):
            parse_governance(codec.encode({name: value[name] for name in value if name != key}))


@pytest.mark.parametrize("value", [None, 5, "card", [], {}, {"kind": 1}, {"kind": ""}, {"kind": "padding"}])
def test_other_values_are_no_public_records(value: Any) -> None:
    """The public kinds are closed in code."""
    with pytest.raises(Malformed):
        parse_governance(codec.encode(value))


def test_a_record_that_could_not_be_parsed_cannot_be_made() -> None:
    """format checks by parsing: nobody signs what everybody refuses."""
    for wrong in (replace(CARD, log_key=seed("node")), replace(CARD, urls=("javascript:x",))):
        with pytest.raises(Malformed):
            format_governance(wrong)
