"""ledger.cosignature: type 04, against a published one, and whatever must not pass for one."""

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.cosignature import check_cosignature, cosign
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey
from ledger.note import (
    TYPE_COSIGNATURE,
    SignatureLine,
    format_line,
    format_note,
    format_vkey,
    parse_line,
    parse_note,
    parse_vkey,
    sign_note,
    verifier_of,
)
from tests.spoiled import accepted, as_text, flipped, spoiled

WITNESS = json.loads((Path(__file__).parent / "vectors" / "witness.json").read_text())

SUNLIGHT_KEY = "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN"
SUNLIGHT_TEXT = """\
rome2026h1.example.org
300
lCkHUpkmVBEms2r2T1K6Og69+wUuuN3MIEW1/ezu2v0=
"""
SUNLIGHT_LINE = (
    "— witness.example.org uKLPIAAAAABpVGeAhm2bOvKc3LaB9PFN1ruG19Y5yqslmcAAbhftnn1Zznmo0LXFZq4LGvqKqLX8jWlw"
    "LKasxEGTLIqAVusneCBmBw=="
)
SUNLIGHT_TIME = 1_767_139_200

KEY = SigningKey(b"w" * 32)
NAME = "region.example/school-board/witness"
VERIFIER = verifier_of(NAME, KEY.public_key, TYPE_COSIGNATURE)
TEXT = format_checkpoint(Checkpoint(origin="region.example/federation/1", size=7, root=bytes(32)))
TIME = 1_790_000_000
LINE = cosign(TEXT, NAME, KEY, TIME)


def test_a_published_cosignature_is_dated() -> None:
    """sunlight's test witness, by its verifier key."""
    verifier = parse_vkey(SUNLIGHT_KEY)
    assert check_cosignature(SUNLIGHT_TEXT, parse_line(SUNLIGHT_LINE), verifier) == SUNLIGHT_TIME
    assert parse_note(format_note(SUNLIGHT_TEXT, [SUNLIGHT_LINE])).text == SUNLIGHT_TEXT


def test_the_reference_witness_has_this_key() -> None:
    """Its published seed gives its published verifier key, of type 04."""
    key = SigningKey(bytes.fromhex(WITNESS["witness_seed"]))
    verifier = verifier_of("example.com/witness", key.public_key, TYPE_COSIGNATURE)
    assert format_vkey(verifier) == WITNESS["witness_vkey"]


@given(
    st.builds(
        Checkpoint,
        origin=st.text("abc/.", min_size=1, max_size=20),
        size=st.integers(0, 2**63 - 1),
        root=st.binary(min_size=32, max_size=32),
        extensions=st.lists(st.text("xyz", min_size=1, max_size=5), max_size=2).map(tuple),
    ),
    st.integers(0, 2**63 - 1),
)
def test_what_is_cosigned_verifies(checkpoint: Checkpoint, timestamp: int) -> None:
    """Any checkpoint, extensions included, at any time; the line survives its way through a note."""
    text = format_checkpoint(checkpoint)
    line = cosign(text, NAME, KEY, timestamp)
    read = parse_note(format_note(text, [line])).lines[0]
    assert read == parse_line(line)
    assert check_cosignature(text, read, VERIFIER) == timestamp


def test_no_changed_cosignature_line_verifies() -> None:
    """Cut, lengthened, or with any bit flipped: in the name, key id, time, signature, or loose low bits."""
    assert check_cosignature(TEXT, parse_line(LINE), VERIFIER) == TIME
    check = as_text(lambda line: check_cosignature(TEXT, parse_line(line), VERIFIER))
    assert accepted(check, spoiled(LINE.encode())) == []
    assert parse_line(LINE) not in accepted(as_text(parse_line), spoiled(LINE.encode()))


def test_no_changed_checkpoint_is_cosigned() -> None:
    """The signature covers the whole text: origin, size, root and extensions."""
    for text in (TEXT, TEXT + "extension\n"):
        check = as_text(
            partial(check_cosignature, line=parse_line(cosign(text, NAME, KEY, TIME)), verifier=VERIFIER)
        )
        assert accepted(check, spoiled(text.encode())) == []


def test_no_changed_payload_verifies() -> None:
    """Every bit of time and signature counts, and 72 bytes are the only length."""
    payload = parse_line(LINE).signature
    assert len(payload) == 72

    def check(payload: bytes) -> int:
        line = SignatureLine(name=NAME, key_id=VERIFIER.key_id, signature=payload)
        return check_cosignature(TEXT, line, VERIFIER)

    assert check(payload) == TIME
    assert accepted(check, spoiled(payload)) == []
    assert accepted(check, flipped(payload[:8] + bytes(64))) == []


def test_a_time_above_the_bound_is_unproven() -> None:
    """Even with a signature over it: 2^63 and more are no times."""
    for timestamp in (2**63, 2**64 - 1):
        message = f"cosignature/v1\ntime {timestamp}\n{TEXT}".encode()
        payload = timestamp.to_bytes(8) + KEY.sign(message)
        with pytest.raises(Unproven):
            check_cosignature(
                TEXT, SignatureLine(name=NAME, key_id=VERIFIER.key_id, signature=payload), VERIFIER
            )


@pytest.mark.parametrize("timestamp", [-1, 2**63, 2**64])
def test_a_time_out_of_bounds_is_not_signed(timestamp: int) -> None:
    """Refused before the key is used."""
    with pytest.raises(Malformed):
        cosign(TEXT, NAME, KEY, timestamp)


def test_a_line_of_another_key_is_unproven() -> None:
    """By name, by key id, or both; also when the signature itself is good."""
    line = parse_line(LINE)
    other = verifier_of(NAME, SigningKey(bytes(32)).public_key, TYPE_COSIGNATURE)
    renamed = verifier_of("other.example/witness", KEY.public_key, TYPE_COSIGNATURE)
    for verifier in (other, renamed):
        with pytest.raises(Unproven):
            check_cosignature(TEXT, line, verifier)
        stolen = SignatureLine(name=verifier.name, key_id=verifier.key_id, signature=line.signature)
        if verifier is other:
            with pytest.raises(Unproven):
                check_cosignature(TEXT, stolen, verifier)


def test_a_log_signature_is_no_cosignature() -> None:
    """A type 01 signature by the same key over the same checkpoint does not date it, nor the other way."""
    plain = parse_line(sign_note(TEXT, NAME, KEY))
    with pytest.raises(Unproven):
        check_cosignature(TEXT, plain, VERIFIER)
    disguised = SignatureLine(name=NAME, key_id=VERIFIER.key_id, signature=TIME.to_bytes(8) + plain.signature)
    with pytest.raises(Unproven):
        check_cosignature(TEXT, disguised, VERIFIER)
    with pytest.raises(Malformed):
        check_cosignature(TEXT, plain, verifier_of(NAME, KEY.public_key))


def test_loose_bits_are_a_bad_cosignature() -> None:
    """One cosignature has one spelling."""
    assert LINE.endswith("==")
    loose = LINE[:-3] + chr(ord(LINE[-3]) + 1) + "=="
    line = parse_line(loose)
    assert line.signature == parse_line(LINE).signature and line != parse_line(LINE)
    with pytest.raises(Unproven):
        check_cosignature(TEXT, line, VERIFIER)


@pytest.mark.parametrize(
    "text", ["", "text\n", TEXT[:-1], TEXT + "\n", TEXT.replace("7", "07"), TEXT + "\ud800\n"]
)
def test_a_witness_cosigns_checkpoints_only(text: str) -> None:
    """A text that is none never gets a cosigner's signature, nor counts as bearing one."""
    with pytest.raises(Malformed):
        cosign(text, NAME, KEY, TIME)
    with pytest.raises(Malformed):
        check_cosignature(text, parse_line(LINE), VERIFIER)


def test_cosigning_again_later_gives_another_line() -> None:
    """Both stand, each for its own time."""
    later = cosign(TEXT, NAME, KEY, TIME + 1)
    assert later != LINE
    note = parse_note(format_note(TEXT, [LINE, later]))
    assert [check_cosignature(TEXT, line, VERIFIER) for line in note.lines] == [TIME, TIME + 1]
    assert [format_line(line) for line in note.lines] == [LINE, later]
