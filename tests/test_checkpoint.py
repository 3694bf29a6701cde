"""ledger.checkpoint: one text for one checkpoint, signed by the key that is named as its origin."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    Checkpoint,
    format_checkpoint,
    open_checkpoint,
    parse_checkpoint,
    parse_hash,
    parse_size,
    sign_checkpoint,
)
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey
from ledger.merkle import EMPTY_ROOT
from ledger.note import format_note, parse_vkey, sign_note, verifier_of
from tests.spoiled import accepted, as_text, spoiled

VECTORS = Path(__file__).parent / "vectors"
LOG = json.loads((VECTORS / "log.json").read_text())
WITNESS = json.loads((VECTORS / "witness.json").read_text())

KEY = SigningKey(b"k" * 32)
ORIGIN = "region.example/school-board/1"
VERIFIER = verifier_of(ORIGIN, KEY.public_key)
SAMPLE = Checkpoint(origin=ORIGIN, size=70_000, root=bytes(range(32)))
TEXT = "region.example/school-board/1\n70000\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

# No control characters and no surrogates; anything else is a line.
lines = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
checkpoints = st.builds(
    Checkpoint,
    origin=lines,
    size=st.integers(0, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(lines, max_size=3).map(tuple),
)


def _published(log: dict[str, list[dict[str, str]]], vkey: str) -> list[tuple[bytes, str]]:
    """The signed notes of a published log, and its key."""
    origin = parse_vkey(vkey).name
    return [
        (
            f"{origin}\n{part['size']}\n{part['root']}\n\n— {origin} {part['signature']}\n".encode(),
            vkey,
        )
        for part in log["checkpoints"]
    ]


PUBLISHED = [*_published(LOG, LOG["vkey"]), *_published(WITNESS, WITNESS["vkey"])]


@pytest.mark.parametrize(("data", "vkey"), PUBLISHED)
def test_checkpoints_of_published_logs_open(data: bytes, vkey: str) -> None:
    """Those of tessera's test log and of the reference witness's, by their keys."""
    checkpoint, note = open_checkpoint(data, parse_vkey(vkey))
    assert format_checkpoint(checkpoint) == note.text
    assert checkpoint.size > 0 or checkpoint.root == EMPTY_ROOT


def test_a_checkpoint_has_this_text() -> None:
    """Origin, size, root, a line each; extensions follow."""
    assert format_checkpoint(SAMPLE) == TEXT
    assert parse_checkpoint(TEXT) == SAMPLE
    extended = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT, extensions=("one", "two"))
    assert parse_checkpoint(format_checkpoint(extended)) == extended


@given(checkpoints)
def test_a_checkpoint_is_read_as_written(checkpoint: Checkpoint) -> None:
    """parse(format(c)) is c, and the text is the same again."""
    text = format_checkpoint(checkpoint)
    assert parse_checkpoint(text) == checkpoint
    assert format_checkpoint(parse_checkpoint(text)) == text


@given(checkpoints.filter(lambda c: "+" not in c.origin and not any(map(str.isspace, c.origin))))
def test_a_signed_checkpoint_opens(checkpoint: Checkpoint) -> None:
    """With the key of its origin, and with no other."""
    data = sign_checkpoint(checkpoint, KEY)
    opened, note = open_checkpoint(data, verifier_of(checkpoint.origin, KEY.public_key))
    assert opened == checkpoint and note.text == format_checkpoint(checkpoint)
    with pytest.raises(Unproven):
        open_checkpoint(data, verifier_of(checkpoint.origin, SigningKey(bytes(32)).public_key))


def test_every_change_of_a_checkpoints_text_shows() -> None:
    """Cut, lengthened or with any bit flipped it is malformed or another checkpoint."""
    for text in (TEXT, TEXT + "extension\n"):
        assert parse_checkpoint(text) not in accepted(as_text(parse_checkpoint), spoiled(text.encode()))


def test_no_changed_signed_checkpoint_opens() -> None:
    """Whatever is changed anywhere in it."""
    data = sign_checkpoint(SAMPLE, KEY)
    assert open_checkpoint(data, VERIFIER)[0] == SAMPLE
    assert accepted(lambda data: open_checkpoint(data, VERIFIER), spoiled(data)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        "origin\n",
        "origin\n1\n",
        TEXT[:-1],
        TEXT + "\n",
        "\n" + TEXT,
        TEXT.replace("\n70000\n", "\n\n70000\n"),
        TEXT.replace("70000", ""),
        TEXT.replace("70000", "070000"),
        TEXT.replace("70000", "00"),
        TEXT.replace("70000", "+70000"),
        TEXT.replace("70000", "-1"),
        TEXT.replace("70000", "70_000"),
        TEXT.replace("70000", " 70000"),
        TEXT.replace("70000", "70000 "),
        TEXT.replace("70000", "7e4"),
        TEXT.replace("70000", "0x7"),
        TEXT.replace("70000", "\u0667"),
        TEXT.replace("70000", "\uff17"),
        TEXT.replace("70000", "\u00b2"),
        TEXT.replace("70000", str(2**63)),
        TEXT.replace("70000", "1" + "0" * 5_000),
        TEXT.replace("8=\n", "9=\n"),
        TEXT.replace("8=\n", "8\n"),
        TEXT.replace("8=\n", "8==\n"),
        TEXT.replace("AAEC", "AA-_"),
        TEXT.replace("AAEC", "AA EC"),
        TEXT.replace("AAECAwQF", "AwQF"),
        TEXT.replace("AAEC", "AAECAAEC"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("region", "reg\x00ion"),
        TEXT.replace("region", "\ud800"),
        TEXT + "extension",
        TEXT + "\textension\n",
        TEXT + "one\n\ntwo\n",
        TEXT + "long\n" * 60_000,
    ],
    ids=lambda text: repr(text[-24:]),
)
def test_other_texts_are_malformed(text: str) -> None:
    """No second way to write a number or a hash, no missing or empty line, no digits of another script."""
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_a_key_speaks_for_the_log_it_is_named_after_only() -> None:
    """The same key under another name, or another log's checkpoint under this name, is unproven."""
    foreign = format_checkpoint(Checkpoint(origin="other.example/log/1", size=1, root=bytes(32)))
    data = format_note(foreign, [sign_note(foreign, ORIGIN, KEY)])
    with pytest.raises(Unproven, match=r"other\.example"):
        open_checkpoint(data, VERIFIER)
    with pytest.raises(Unproven):
        open_checkpoint(sign_checkpoint(SAMPLE, KEY), verifier_of("other.example/log/1", KEY.public_key))


def test_a_signed_note_that_is_no_checkpoint_does_not_open() -> None:
    """A roster signed by the same key is not a head of its log."""
    text = "region.example/roster\n1\nAAAA\n"
    with pytest.raises(Malformed):
        open_checkpoint(format_note(text, [sign_note(text, ORIGIN, KEY)]), VERIFIER)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 0, bytes(32), ()),
        ("a\nb", 0, bytes(32), ()),
        ("a", -1, bytes(32), ()),
        ("a", 2**63, bytes(32), ()),
        ("a", 0, bytes(31), ()),
        ("a", 0, bytes(33), ()),
        ("a", 0, bytes(32), ("",)),
        ("a", 0, bytes(32), ("b\n",)),
    ],
)
def test_other_checkpoints_cannot_be_made(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    """What could not be read back is refused before anybody signs it."""
    with pytest.raises(Malformed):
        Checkpoint(origin=origin, size=size, root=root, extensions=extensions)


@pytest.mark.parametrize("origin", ["with space", "with+plus", "with\ttab", "\ud800"])
def test_a_log_whose_origin_is_no_key_name_signs_nothing(origin: str) -> None:
    """Its checkpoints could be written but never opened."""
    with pytest.raises(Malformed):
        sign_checkpoint(Checkpoint(origin=origin, size=0, root=EMPTY_ROOT), KEY)


@pytest.mark.parametrize("line", ["with\ttab", "with\rreturn", "\ud800"])
def test_a_text_that_no_note_holds_is_not_made(line: str) -> None:
    """Controls and lone surrogates in origin or extensions."""
    for origin, extensions in ((line, ()), ("origin", (line,))):
        with pytest.raises(Malformed):
            format_checkpoint(Checkpoint(origin=origin, size=0, root=EMPTY_ROOT, extensions=extensions))


@given(st.integers(0, 2**63 - 1))
def test_sizes_have_one_form(size: int) -> None:
    """Decimal, and every change of a byte is refused or another number."""
    assert parse_size(str(size)) == size
    assert size not in accepted(as_text(parse_size), spoiled(str(size).encode()))


@pytest.mark.parametrize("text", [str(2**63), "9" * 19, "1" + "0" * 19, "9" * 100_000])
def test_larger_sizes_are_malformed(text: str) -> None:
    """2^63-1 is the last, and long digits cost nothing."""
    with pytest.raises(Malformed):
        parse_size(text)


@given(st.binary(min_size=32, max_size=32))
def test_hashes_have_one_form(root: bytes) -> None:
    """Forty-four characters of base64, and every change of a byte is refused or another hash."""
    text = format_checkpoint(Checkpoint(origin="o", size=1, root=root)).split("\n")[2]
    assert parse_hash(text) == root
    assert root not in accepted(as_text(parse_hash), spoiled(text.encode()))
