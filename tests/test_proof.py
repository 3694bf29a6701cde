"""ledger.proof: a published proof, our own round trip, and every change of either."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle, proof
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cosignature import check_cosignature
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey
from ledger.note import encode_base64, parse_note, parse_vkey, verifier_of
from ledger.proof import TlogProof, check_proof, format_proof, parse_proof
from tests.spoiled import accepted, extended, flipped, truncated
from tests.trees import MemoryTree, leaf_hashes

VECTORS = Path(__file__).parent / "vectors"
LOG = json.loads((VECTORS / "log.json").read_text())
PUBLISHED = (VECTORS / "five.tlog-proof").read_bytes()
FIVE = merkle.leaf_hash(b"five")
LOG_KEY = parse_vkey(LOG["vkey"])
WITNESS_KEY = "witness.example/w1"

KEY = SigningKey(b"k" * 32)
ORIGIN = "region.example/school-board/1"
VERIFIER = verifier_of(ORIGIN, KEY.public_key)
NOTE = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=FIVE), KEY)
RECEIPT = TlogProof(extra=b"five", index=0, hashes=(), checkpoint=NOTE)


def test_the_published_proof_holds() -> None:
    """Entry five of a real log, its path, its checkpoint: 490 bytes whose hash is published."""
    assert hashlib.sha256(PUBLISHED).hexdigest().startswith("05d07729c1a55a63")
    read = parse_proof(PUBLISHED)
    assert (read.extra, read.index, len(read.hashes)) == (None, 4, 3)
    checkpoint = check_proof(read, FIVE, LOG_KEY)
    assert (checkpoint.origin, checkpoint.size) == (LOG["origin"], 7)
    assert format_proof(read) == PUBLISHED


def test_the_published_proof_is_what_we_make() -> None:
    """Path and bytes, from the log's entries and its checkpoint."""
    leaves = [merkle.leaf_hash(entry.encode()) for entry in LOG["entries"]]
    hashes = tuple(merkle.prove_inclusion(MemoryTree(leaves), 4, 7))
    checkpoint = parse_proof(PUBLISHED).checkpoint
    assert format_proof(TlogProof(extra=None, index=4, hashes=hashes, checkpoint=checkpoint)) == PUBLISHED


def test_the_published_proof_bears_a_cosignature() -> None:
    """Its second line is readable; without its key it is ignored, as any unknown line."""
    note = parse_note(parse_proof(PUBLISHED).checkpoint)
    assert [line.name for line in note.lines] == [LOG["origin"], WITNESS_KEY]
    stranger = verifier_of(WITNESS_KEY, KEY.public_key, 4)
    with pytest.raises(Unproven):
        check_cosignature(note.text, note.lines[1], stranger)


def test_every_change_of_a_proof_shows() -> None:
    """Cut, lengthened or with any bit flipped: malformed or another proof."""
    for data in (PUBLISHED, format_proof(RECEIPT)):
        read = parse_proof(data)
        for kind in (truncated, extended, flipped):
            assert read not in accepted(parse_proof, kind(data))


def test_no_changed_proof_proves() -> None:
    """Nothing may change but the lines of unknown keys, and extra data, which nothing authenticates."""
    witness_line = PUBLISHED.index("— witness".encode())
    for end in range(witness_line):
        assert accepted(_check, iter([PUBLISHED[:end]])) == []
    for at in range(witness_line):
        for changed in flipped(PUBLISHED[at : at + 1]):
            data = PUBLISHED[:at] + changed + PUBLISHED[at + 1 :]
            assert accepted(_check, iter([data])) == []


def _check(data: bytes) -> Checkpoint:
    return check_proof(parse_proof(data), FIVE, LOG_KEY)


def test_a_proof_of_another_leaf_key_or_origin_is_unproven() -> None:
    """Each part is bound to the others by path and signature."""
    read = parse_proof(PUBLISHED)
    for leaf in (merkle.leaf_hash(b"six"), bytes(32), b"", FIVE[:-1], FIVE + b"\x00"):
        with pytest.raises(Unproven):
            check_proof(read, leaf, LOG_KEY)
    with pytest.raises(Unproven):
        check_proof(read, FIVE, VERIFIER)
    with pytest.raises(Unproven):
        check_proof(read, FIVE, verifier_of("example.com/log/other", LOG_KEY.public_key))


def test_extra_data_proves_nothing_by_itself() -> None:
    """Exchanged, it leaves a proof that holds for the leaf it was made for, and for no other."""
    forged = TlogProof(extra=b"a better mark", index=0, hashes=(), checkpoint=NOTE)
    assert check_proof(forged, FIVE, VERIFIER).size == 1
    assert forged.extra is not None
    with pytest.raises(Unproven):
        check_proof(forged, merkle.leaf_hash(forged.extra), VERIFIER)


def test_a_receipt_carries_its_leaf() -> None:
    """Hash the extra data, check, believe."""
    read = parse_proof(format_proof(RECEIPT))
    assert read == RECEIPT and read.extra is not None
    assert check_proof(read, merkle.leaf_hash(read.extra), VERIFIER).root == FIVE


@given(
    st.none() | st.binary(min_size=1, max_size=200),
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
)
def test_a_proof_is_read_as_written(extra: bytes | None, index: int, hashes: list[bytes]) -> None:
    """parse(format(p)) is p, and the bytes are the same again."""
    made = TlogProof(extra=extra, index=index, hashes=tuple(hashes), checkpoint=NOTE)
    data = format_proof(made)
    assert parse_proof(data) == made
    assert format_proof(parse_proof(data)) == data


@given(st.integers(1, 700), st.data())
def test_every_entry_of_a_tree_is_proven(size: int, data: st.DataObject) -> None:
    """Made from tiles, written, read and checked."""
    index = data.draw(st.integers(0, size - 1))
    tree = MemoryTree(leaf_hashes(size))
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=merkle.root_at(tree, size)), KEY)
    hashes = tuple(merkle.prove_inclusion(tree, index, size))
    made = TlogProof(extra=None, index=index, hashes=hashes, checkpoint=note)
    assert check_proof(parse_proof(format_proof(made)), leaf_hashes(size)[index], VERIFIER).size == size


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_malformed(data: bytes) -> None:
    """No other exception, whatever comes."""
    header = proof.HEADER.encode() + b"\n"
    heads = [b"", header, header + b"index 0\n", header + b"extra "]
    accepted(parse_proof, (head + data + tail for head in heads for tail in (b"", b"\n\n" + NOTE)))


HASH = encode_base64(bytes(32))


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\n",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "C2SP.org/tlog-proof@v1\nindex 0",
        " c2sp.org/tlog-proof@v1\nindex 0",
        "c2sp.org/tlog-proof@v1\r\nindex 0",
        "c2sp.org/tlog-proof@v1\n\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==",
        "c2sp.org/tlog-proof@v1\nextra \nindex 0",
        "c2sp.org/tlog-proof@v1\nextra\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AB==\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra  AA==\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AA==",
        "c2sp.org/tlog-proof@v1\nindex",
        "c2sp.org/tlog-proof@v1\nindex ",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex 01",
        "c2sp.org/tlog-proof@v1\nindex -0",
        "c2sp.org/tlog-proof@v1\nindex +1",
        "c2sp.org/tlog-proof@v1\nindex 1_0",
        "c2sp.org/tlog-proof@v1\nindex 0 ",
        "c2sp.org/tlog-proof@v1\nindex \u0667",
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775808",
        "c2sp.org/tlog-proof@v1\nindex " + "9" * 5_000,
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + HASH[:-1],
        "c2sp.org/tlog-proof@v1\nindex 0\n" + HASH.replace("A=", "B="),
        "c2sp.org/tlog-proof@v1\nindex 0\n" + HASH + " ",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + HASH + HASH,
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([HASH] * 64),
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([HASH] * 1_000),
    ],
    ids=lambda head: repr(head[23:50]),
)
def test_other_heads_are_malformed(head: str) -> None:
    """No second way to write an index, a hash or extra data, no missing, repeated or additional line."""
    with pytest.raises(Malformed):
        parse_proof(head.encode() + b"\n\n" + NOTE)


@pytest.mark.parametrize(
    "checkpoint", [b"", b"\n", NOTE[:-1], NOTE + b"\n", b"\n" + NOTE, NOTE.replace(b"\n1\n", b"\n01\n")]
)
def test_other_checkpoints_are_malformed(checkpoint: bytes) -> None:
    """A proof without a checkpoint is none, read or made."""
    with pytest.raises(Malformed):
        parse_proof(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + checkpoint)
    with pytest.raises(Malformed):
        TlogProof(extra=None, index=0, hashes=(), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("extra", "index", "hashes"),
    [
        (b"", 0, ()),
        (bytes(65_536), 0, ()),
        (None, -1, ()),
        (None, 2**63, ()),
        (None, 0, (bytes(31),)),
        (None, 0, (bytes(32),) * 64),
    ],
)
def test_other_proofs_cannot_be_made(extra: bytes | None, index: int, hashes: tuple[bytes, ...]) -> None:
    """What could not be read back is never written."""
    with pytest.raises(Malformed):
        TlogProof(extra=extra, index=index, hashes=hashes, checkpoint=NOTE)


def test_the_largest_proof_fits_its_bound() -> None:
    """The longest leaf, path, index and note together are read; one byte more than the bound is not."""
    text, signature = NOTE.split(b"\n\n")
    filler = b"x" * (65_536 - len(NOTE) - 1) + b"\n"
    largest = TlogProof(
        extra=bytes(65_535),
        index=2**63 - 1,
        hashes=(bytes(32),) * 63,
        checkpoint=text + b"\n" + filler + b"\n" + signature,
    )
    data = format_proof(largest)
    assert parse_proof(data) == largest
    assert len(data) <= proof.PROOF_BYTES_MAX
    with pytest.raises(Malformed, match="a proof of"):
        parse_proof(data + bytes(proof.PROOF_BYTES_MAX))
