"""Signed requests: one form, one signature, one ledger and agency; nothing else is a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.entry import DOMAIN as ENTRY_DOMAIN
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.request import (
    AGE_MS_MAX,
    DOMAIN,
    Action,
    Check,
    Read,
    SignedRequest,
    check_request,
    format_request,
    is_fresh,
    parse_request,
    sign_request,
)
from tests.agencies import records_of
from tests.world import key, seed

LEDGER = seed("ledger")
NOW_MS = 1_788_000_000_000
HEAD = {"ledger_id": LEDGER, "agency": "district"}


def made(action: Action | None = None, **changes: Any) -> SignedRequest:
    fields: dict[str, Any] = {**HEAD, "nonce": seed("nonce")[:16], "created_ms": NOW_MS} | changes
    return sign_request(action or Read(record=seed("record")), signer=key("clerk"), **fields)


def spoiled(place: int, value: object) -> bytes:
    """A request with one of its eight parts exchanged, signed by the honest key."""
    parts = codec.decode(made().raw)
    parts[place] = value
    raw = codec.encode(parts)
    return codec.encode([raw, key("clerk").sign(DOMAIN + raw)])


@pytest.mark.parametrize("action", [Read(record=seed("a")), Check(records=tuple(records_of("anna")))])
def test_what_is_signed_is_what_is_read(action: Action) -> None:
    """Format and parse are each other's inverse, and the signature holds."""
    request = made(action)
    again = parse_request(format_request(request))
    assert again == request
    assert again.action == action
    check_request(again, **HEAD)  # type: ignore[arg-type]


def test_two_nonces_make_two_ids() -> None:
    """The id, which an answer must name, is that of the whole request."""
    assert made().id != made(nonce=seed("another")[:16]).id


@pytest.mark.parametrize("changes", [{"ledger_id": seed("other")}, {"agency": "sport"}])
def test_a_request_for_another_ledger_or_agency_is_good_nowhere_else(changes: dict[str, Any]) -> None:
    """Whoever gets one cannot carry it to a second node."""
    with pytest.raises(Unproven, match="another ledger or agency"):
        check_request(made(**changes), **HEAD)  # type: ignore[arg-type]


def test_a_signature_of_another_key_does_not_hold() -> None:
    """The key that is named must have signed."""
    request = replace(made(), signature=key("thief").sign(DOMAIN + made().raw))
    with pytest.raises(Unproven):
        check_request(request, **HEAD)  # type: ignore[arg-type]


def test_a_signature_over_an_entry_is_none_over_a_request() -> None:
    """The domains keep what one key signs apart."""
    request = replace(made(), signature=key("clerk").sign(ENTRY_DOMAIN + made().raw))
    with pytest.raises(Unproven):
        check_request(request, **HEAD)  # type: ignore[arg-type]


@pytest.mark.parametrize(("off_ms", "expected"), [(0, True), (AGE_MS_MAX, True), (AGE_MS_MAX + 1, False)])
def test_a_request_is_fresh_for_five_minutes_to_both_sides(off_ms: int, expected: bool) -> None:
    """A clock may stand before or behind."""
    assert is_fresh(made(), NOW_MS + off_ms) is is_fresh(made(), NOW_MS - off_ms) is expected


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (1, b"short"),
        (2, "Not A Name"),
        (3, bytes(31)),
        (4, bytes(15)),
        (5, None),
        (6, "erase_everything"),
        (6, "check"),
        (7, {}),
        (7, {"record": bytes(31)}),
        (7, {"record": bytes(32), "pupil": "Anna"}),
        (7, [bytes(32)]),
    ],
)
def test_another_form_is_malformed(place: int, value: object) -> None:
    """Actions and their arguments are closed lists, even where the honest key signs others."""
    with pytest.raises(Malformed):
        parse_request(spoiled(place, value))


@pytest.mark.parametrize(
    "records",
    [[], [[b"", b""]], [[b""]], [[records_of("a")[0].owner_part, records_of("a")[0].shown_part]] * 2],
)
def test_a_check_of_no_records_or_of_one_twice_is_malformed(records: list[list[bytes]]) -> None:
    """Each record once, at least one, and each well formed."""
    parts = codec.decode(made().raw)
    raw = codec.encode([*parts[:6], "check", {"records": records}])
    with pytest.raises(Malformed):
        parse_request(codec.encode([raw, key("clerk").sign(DOMAIN + raw)]))


def test_a_request_cut_off_or_with_bytes_behind_it_is_malformed() -> None:
    """At every length."""
    data = format_request(made())
    for cut in [data[:length] for length in range(len(data))] + [data + b"\0"]:
        with pytest.raises(Malformed):
            parse_request(cut)


def test_any_byte_flipped_is_refused() -> None:
    """Malformed, or a signature that does not hold, or another ledger's."""
    data = format_request(made())
    for at in range(len(data)):
        with pytest.raises(LedgerError):
            check_request(parse_request(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), **HEAD)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    """Any bytes are a request or malformed."""
    with pytest.raises(Malformed):
        parse_request(data)
