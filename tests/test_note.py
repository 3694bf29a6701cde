"""ledger.note: published notes, keys and signatures, and everything that must not pass for them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey
from ledger.note import (
    Note,
    NoteVerifier,
    SignatureLine,
    check_note,
    decode_base64,
    encode_base64,
    format_line,
    format_note,
    format_vkey,
    parse_line,
    parse_note,
    parse_signer,
    parse_vkey,
    sign_note,
    verifier_of,
)
from tests.spoiled import accepted, as_text, spoiled, truncated

WITNESS = json.loads((Path(__file__).parent / "vectors" / "witness.json").read_text())

C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()

PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_SECRET = "+".join(("PRIVATE", "KEY", "EnochRoot", "af0cfe78", encode_base64(b"\x01" + bytes(32))))
GO_TEXT = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.
"""
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM="
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
)
GO_NOTE = f"{GO_TEXT}\n{PETER_LINE}\n{ENOCH_LINE}\n".encode()
PETER, ENOCH = parse_vkey(PETER_KEY), parse_vkey(ENOCH_KEY)
OTHER_LINE = sign_note(GO_TEXT, "other.example", SigningKey(b"o" * 32))


def test_the_note_of_the_specification_is_signed() -> None:
    """C2SP's example, by its key."""
    verifier = parse_vkey(C2SP_KEY)
    read = parse_note(C2SP_NOTE)
    assert read.text == "This is an example message.\n"
    assert check_note(read, [verifier]) == (verifier,)


def test_the_note_of_go_is_read_checked_and_signed_alike() -> None:
    """golang.org/x/mod's example: both signatures verify, and the published seed makes the second again."""
    read = parse_note(GO_NOTE)
    assert read.text == GO_TEXT
    assert check_note(read, [ENOCH, PETER]) == (PETER, ENOCH)
    assert check_note(read, [ENOCH]) == (ENOCH,)
    name, signer = parse_signer(ENOCH_SECRET)
    assert sign_note(GO_TEXT, name, signer) == ENOCH_LINE
    assert format_note(GO_TEXT, [PETER_LINE, ENOCH_LINE]) == GO_NOTE


@pytest.mark.parametrize("vkey", [C2SP_KEY, PETER_KEY, ENOCH_KEY, WITNESS["vkey"], WITNESS["witness_vkey"]])
def test_verifier_keys_are_written_as_read(vkey: str) -> None:
    """format(parse(k)) is k, and the key id is computed, not believed."""
    verifier = parse_vkey(vkey)
    assert format_vkey(verifier) == vkey
    assert verifier_of(verifier.name, verifier.public_key, verifier.type) == verifier


@pytest.mark.parametrize("vkey", [PETER_KEY, ENOCH_KEY])
def test_every_change_of_a_verifier_key_is_refused(vkey: str) -> None:
    """Its parts vouch for one another: no cut, no addition, no flipped bit leaves a verifier key."""
    assert accepted(as_text(parse_vkey), spoiled(vkey.encode())) == []


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "+",
        "++",
        "PeterNeumann",
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER_KEY.replace("c74f20a3", "C74F20A3"),
        PETER_KEY.replace("c74f20a3", "c74f20a"),
        PETER_KEY.replace("c74f20a3", "0c74f20a3"),
        PETER_KEY.replace("c74f20a3", "00000000"),
        PETER_KEY.replace("Neumann", " Neumann"),
        PETER_KEY.replace("Neumann", "\u2003Neumann"),
        PETER_KEY.replace("Neumann", "\x00Neumann"),
        PETER_KEY.replace("PeterNeumann", ""),
        PETER_KEY.replace("Neumann", "\ud800"),
        PETER_KEY + "\n",
        "n" * 100_000 + "+00000000+AAAA",
        "name+00000000+",
        "name+00000000+AQ==",
    ],
    ids=lambda vkey: repr(vkey[:40]),
)
def test_other_verifier_keys_are_malformed(vkey: str) -> None:
    """Wrong length, unknown algorithm, another name or id, a name with spaces or plus."""
    with pytest.raises(Malformed):
        parse_vkey(vkey)


def test_every_change_of_a_private_key_is_refused_without_showing_it() -> None:
    """Refusals of a secret quote nothing of it but the name."""
    assert parse_signer(ENOCH_SECRET)[1].seed == bytes(32)
    assert accepted(as_text(parse_signer), spoiled(ENOCH_SECRET.encode())) == []
    for spoilt in (ENOCH_SECRET[:-4], ENOCH_SECRET + "AAAA", ENOCH_SECRET.replace("af0c", "af0d")):
        with pytest.raises(Malformed) as refusal:
            parse_signer(spoilt)
        assert "AAAA" not in str(refusal.value)


def test_a_verifier_key_has_so_many_characters() -> None:
    """A longer one is not even looked at, however well its parts agree."""
    with pytest.raises(Malformed):
        parse_vkey(format_vkey(verifier_of("n" * note.VKEY_CHARACTERS_MAX, PETER.public_key)))


def test_a_verifier_key_is_no_private_key() -> None:
    """Nor the other way round: the two forms never stand for each other."""
    with pytest.raises(Malformed):
        parse_signer(PETER_KEY)
    with pytest.raises(Malformed):
        parse_vkey(ENOCH_SECRET)


def test_every_change_of_a_note_with_one_signature_is_refused() -> None:
    """Whatever is cut, added or flipped, in the text or in the line: no known key signed that."""
    verifier = parse_vkey(C2SP_KEY)
    assert accepted(lambda data: check_note(parse_note(data), [verifier]), spoiled(C2SP_NOTE)) == []


def test_every_change_of_a_note_is_seen_by_its_reader() -> None:
    """Bytes that still make a note make another one, and no signature survives a change of the text."""
    read = parse_note(GO_NOTE)
    assert read not in accepted(parse_note, spoiled(GO_NOTE))
    for changed in accepted(parse_note, spoiled(GO_NOTE)):
        assert isinstance(changed, Note)
        try:
            signers = check_note(changed, [PETER, ENOCH])
        except Unproven:
            continue
        assert changed.text == GO_TEXT and len(signers) == 1, "one line was cut, or is now of an unknown key"


def test_a_cut_of_the_last_lines_leaves_a_smaller_note() -> None:
    """Signatures can be dropped: only what is there counts."""
    shorter = accepted(parse_note, truncated(GO_NOTE))
    assert [len(read.lines) for read in shorter if isinstance(read, Note)] == [1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        GO_NOTE[:-1],
        GO_NOTE + b"\n",
        GO_NOTE + b"x",
        GO_NOTE + "— name\n".encode(),
        GO_NOTE + "— name \n".encode(),
        GO_NOTE + "— name AAAAAA\n".encode(),
        GO_NOTE + "— name AAAA\n".encode(),
        GO_NOTE + "— name AAAAA A=\n".encode(),
        GO_NOTE + "— name AAAAAA=\n".encode(),
        GO_NOTE + "— name AAAAAA===\n".encode(),
        GO_NOTE + "— name AA-_AA==\n".encode(),
        GO_NOTE + "— name AAAAAA==AAAA\n".encode(),
        GO_NOTE + "— na+me AAAAAA==\n".encode(),
        GO_NOTE + "—  AAAAAA==\n".encode(),
        GO_NOTE + "— \u00a0 AAAAAA==\n".encode(),
        GO_NOTE + "—name AAAAAA==\n".encode(),
        GO_NOTE + b"- name AAAAAA==\n",
        GO_NOTE + "– name AAAAAA==\n".encode(),
        GO_NOTE.replace(b"problem", b"prob\x00lem"),
        GO_NOTE.replace(b"problem", b"prob\tlem"),
        GO_NOTE.replace(b"\n", b"\r\n"),
        GO_NOTE.replace(b"problem", b"prob\xfflem"),
        GO_NOTE.replace(b"problem", b"prob\xed\xa0\x80lem"),
        GO_NOTE.replace(b"problem", b"prob\xc1\xa1lem"),
        GO_NOTE.decode().encode("utf-16"),
    ],
    ids=lambda data: repr(data[-30:]),
)
def test_other_bytes_are_malformed(data: bytes) -> None:
    """No text, no signature, a line that is none, controls, bytes that are not UTF-8."""
    with pytest.raises(Malformed):
        parse_note(data)


def test_the_text_ends_at_the_last_empty_line() -> None:
    """A text that holds a whole signed note is not that note."""
    nested = format_note(
        GO_NOTE.decode(), [sign_note(GO_NOTE.decode(), "other.example", SigningKey(b"o" * 32))]
    )
    read = parse_note(nested)
    assert read.text == GO_NOTE.decode()
    with pytest.raises(Unproven):
        check_note(read, [PETER])


def test_lines_of_unknown_keys_are_ignored() -> None:
    """Even under a known name: any one good signature of a known key is enough."""
    stranger = SigningKey(b"s" * 32)
    fake = sign_note(GO_TEXT, "PeterNeumann", stranger)
    read = parse_note(format_note(GO_TEXT, [fake, OTHER_LINE, PETER_LINE, OTHER_LINE]))
    assert check_note(read, [PETER]) == (PETER,)


def test_no_known_signature_is_unproven() -> None:
    """Not by unknown keys, not by none, not by a key of the same id with another name."""
    read = parse_note(format_note(GO_TEXT, [OTHER_LINE]))
    renamed = verifier_of("other.examples", SigningKey(b"o" * 32).public_key)
    for verifiers in ([PETER], [], [renamed]):
        with pytest.raises(Unproven):
            check_note(read, verifiers)


def _bad(line: str) -> str:
    parsed = parse_line(line)
    signature = bytes([parsed.signature[0] ^ 1]) + parsed.signature[1:]
    return format_line(SignatureLine(name=parsed.name, key_id=parsed.key_id, signature=signature))


@pytest.mark.parametrize(
    "lines",
    [
        [_bad(PETER_LINE)],
        [PETER_LINE, _bad(ENOCH_LINE)],
        [_bad(PETER_LINE), PETER_LINE],
        [PETER_LINE, _bad(PETER_LINE)],
    ],
    ids=["alone", "beside a good one", "before its good one", "after its good one"],
)
def test_one_bad_line_of_a_known_key_rejects_the_note(lines: list[str]) -> None:
    """A known key's bad signature means that something is wrong with the note, whatever else it bears."""
    with pytest.raises(Unproven):
        check_note(parse_note(format_note(GO_TEXT, lines)), [PETER, ENOCH])


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_bad(length: int) -> None:
    """Shorter or longer than 64 bytes under a known key."""
    if length == 0:
        with pytest.raises(Malformed):
            parse_line(f"— PeterNeumann {encode_base64(PETER.key_id)}")
        return
    line = format_line(SignatureLine(name=PETER.name, key_id=PETER.key_id, signature=bytes(length)))
    with pytest.raises(Unproven):
        check_note(parse_note(format_note(GO_TEXT, [line])), [PETER])


def test_loose_bits_in_a_signature_are_a_bad_signature() -> None:
    """The reference decoder ignores them, so the note is not malformed; yet a signature has one spelling."""
    loose = PETER_LINE[:-2] + "N="
    assert PETER_LINE.endswith("M=") and parse_line(loose).signature == parse_line(PETER_LINE).signature
    data = f"{GO_TEXT}\n{loose}\n{ENOCH_LINE}\n".encode()
    read = parse_note(data)
    assert read.lines[0] != parse_line(PETER_LINE)
    with pytest.raises(Unproven):
        check_note(read, [PETER, ENOCH])
    assert check_note(read, [ENOCH]) == (ENOCH,), "under an unknown key it is ignored"
    with pytest.raises(Malformed):
        format_line(read.lines[0])


def test_the_reference_witness_case_of_changed_low_bits() -> None:
    """Its log's last signature group 6go= turned into 6gx= is a readable note with a bad signature."""
    log = parse_vkey(WITNESS["vkey"])
    checkpoint = WITNESS["checkpoints"][1]
    text = f"{log.name}\n{checkpoint['size']}\n{checkpoint['root']}\n"
    line = f"— {log.name} {checkpoint['signature']}"
    assert check_note(parse_note(format_note(text, [line])), [log]) == (log,)
    assert line.endswith("6go=")
    changed = parse_note(format_note(text, [line[:-4] + "6gx="]))
    with pytest.raises(Unproven):
        check_note(changed, [log])


def test_a_note_has_so_many_lines_and_bytes() -> None:
    """As many signature lines as stated are read, one more is not, nor more than the stated bytes."""
    most = note.SIGNATURE_LINES_MAX
    assert len(parse_note(format_note(GO_TEXT, [PETER_LINE] * most)).lines) == most
    with pytest.raises(Malformed):
        format_note(GO_TEXT, [PETER_LINE] * (most + 1))
    tail = f"\n\n{PETER_LINE}\n".encode()
    fits = b"x" * (note.NOTE_BYTES_MAX - len(tail)) + tail
    assert parse_note(fits).text.startswith("xxx")
    with pytest.raises(Malformed):
        parse_note(b"x" + fits)


def test_sixteen_large_signatures_fit() -> None:
    """C2SP demands that 16 signatures be read, and ML-DSA-44's have 2,428 bytes."""
    lines = [
        format_line(SignatureLine(name=f"witness.example/{n}", key_id=b"mlds", signature=bytes(2_428)))
        for n in range(16)
    ]
    assert check_note(parse_note(format_note(GO_TEXT, [*lines, PETER_LINE])), [PETER]) == (PETER,)


def test_a_cosigners_key_signs_no_note() -> None:
    """A type 04 key in the place of a log key is a mistake, and named as one."""
    with pytest.raises(Malformed):
        check_note(parse_note(GO_NOTE), [parse_vkey(WITNESS["witness_vkey"])])


def test_two_keys_that_share_name_and_id_are_ambiguous() -> None:
    """Ids have four bytes and can be made to collide: such a pair is refused, not tried in turn."""
    twin = verifier_of(PETER.name, ENOCH.public_key)
    object.__setattr__(twin, "key_id", PETER.key_id)
    with pytest.raises(Malformed):
        check_note(parse_note(GO_NOTE), [PETER, twin])
    assert check_note(parse_note(GO_NOTE), [PETER, PETER]) == (PETER,)


@pytest.mark.parametrize(
    "text", ["", "no newline", "tab\t\n", "return\r\n", "nul\x00\n", "\ud800\n", "\x1f\n"]
)
def test_other_texts_are_not_signed(text: str) -> None:
    """What no reader would take back is refused before it is signed."""
    with pytest.raises(Malformed):
        sign_note(text, "name", SigningKey(bytes(32)))
    with pytest.raises(Malformed):
        format_note(text, [PETER_LINE])


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\u2028b", "a\x85b", "a\nb", "a\x00b", "\udfff", "\u3000"]
)
def test_other_names_are_not_signed_under(name: str) -> None:
    """A name that would not be read back as one."""
    with pytest.raises(Malformed):
        sign_note("text\n", name, SigningKey(bytes(32)))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["x"],
        [PETER_LINE + "\n"],
        ["\n" + PETER_LINE],
        [PETER_LINE, ""],
        ["x\n\n" + PETER_LINE],
        ["\ud800"],
    ],
)
def test_a_note_is_not_made_of_other_lines(lines: list[str]) -> None:
    """A line cannot move the end of the text or smuggle another text in."""
    with pytest.raises(Malformed):
        format_note(GO_TEXT, lines)


@pytest.mark.parametrize(
    ("type_number", "key_bytes"), [(0, 32), (2, 32), (3, 32), (6, 1_312), (1, 31), (4, 33), (300, 32)]
)
def test_a_verifier_of_another_form_is_malformed(type_number: int, key_bytes: int) -> None:
    """Unknown types, keys that are no 32 bytes."""
    with pytest.raises(Malformed):
        NoteVerifier(name="name", type=type_number, public_key=bytes(key_bytes))


words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=30).filter(
    lambda name: "+" not in name
)
lines_of_text = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)


@given(st.lists(lines_of_text, min_size=1), words, st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(lines: list[str], name: str, seed: bytes) -> None:
    """Any text, empty lines included, under any name and key."""
    text = "".join(line + "\n" for line in lines)
    signer = SigningKey(seed)
    read = parse_note(format_note(text, [sign_note(text, name, signer)]))
    verifier = verifier_of(name, signer.public_key)
    assert read.text == text
    assert check_note(read, [verifier]) == (verifier,)
    assert parse_vkey(format_vkey(verifier)) == verifier


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_malformed(data: bytes) -> None:
    """No other exception, whatever comes."""
    accepted(parse_note, iter([data, GO_TEXT.encode() + b"\n" + data, "— name ".encode() + data + b"\n"]))


@given(st.binary(max_size=100))
def test_base64_has_one_form(data: bytes) -> None:
    """Encoded and decoded it is the same; every changed character is refused or other bytes."""
    text = encode_base64(data)
    assert decode_base64(text) == data
    assert data not in accepted(as_text(decode_base64), spoiled(text.encode())) or not data


@pytest.mark.parametrize(
    "text",
    [
        *("A", "AA", "AAA", "AA=", "AB==", "AAB=", "=AAA", "====", "AA==AA==", "AA-_", "AA= ="),
        *("AA==\n", " AA==", "\u0410\u0410\u0410\u0410", "AAAA\x00", "\ud800AAA", "\xe9==="),
    ],
)
def test_other_base64_is_malformed(text: str) -> None:
    """Missing padding, loose bits, white space, other alphabets, letters that look alike."""
    with pytest.raises(Malformed):
        decode_base64(text)
