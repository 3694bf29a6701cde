"""ledger.keys: RFC 8032's vectors, signatures on which verifiers disagree, sealed boxes, locked bytes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, PublicKey, SealedBox

from ledger import keys
from ledger.errors import Malformed, Unproven
from ledger.keys import SigningKey, check_signature, is_signature
from tests import edwards
from tests.edwards import BASE, NEUTRAL, TORSION, L, P, Point, add, challenge, encode, is_equal, times
from tests.spoiled import accepted, extended, flipped, spoiled, truncated

RFC8032 = json.loads((Path(__file__).parent / "vectors" / "rfc8032.json").read_text())["vectors"]
SEED = bytes(range(32))
NONCE = bytes(range(24))
SMALL_ORDER_X25519 = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (P - 1).to_bytes(32, "little"),
]


@pytest.mark.parametrize("vector", RFC8032, ids=lambda vector: vector["name"])
def test_signs_and_verifies_the_vectors_of_rfc_8032(vector: dict[str, str]) -> None:
    """Each seed gives the published key and signature, and that signature verifies."""
    seed, public_key, message, signature = (
        bytes.fromhex(vector[part]) for part in ("seed", "public_key", "message", "signature")
    )
    key = SigningKey(seed)
    assert key.public_key == public_key
    assert key.sign(message) == signature
    check_signature(public_key, message, signature)


def test_no_changed_signature_message_or_key_verifies() -> None:
    """A flipped bit, a missing or an added byte anywhere ends every signature."""
    key, message = SigningKey(SEED), b"a portfolio"
    signature = key.sign(message)
    assert not any(is_signature(key.public_key, message, other) for other in spoiled(signature))
    assert not any(is_signature(key.public_key, other, signature) for other in spoiled(message))
    assert not any(is_signature(other, message, signature) for other in spoiled(key.public_key))


def test_check_signature_raises_unproven() -> None:
    """A false signature is someone's false bytes, not a malformed input."""
    with pytest.raises(Unproven):
        check_signature(SigningKey(SEED).public_key, b"", bytes(64))


def test_verify_many_answers_in_order() -> None:
    """A batch names which of its signatures are false."""
    key = SigningKey(SEED)
    good = (key.public_key, b"yes", key.sign(b"yes"))
    bad = (key.public_key, b"no", key.sign(b"yes"))
    assert keys.verify_many([good, bad, good]) == [True, False, True]
    assert keys.verify_many([]) == []


@dataclass(frozen=True)
class Edge:
    """A signature that satisfies an equation; ``key`` and ``commitment`` may be odd encodings."""

    name: str
    key: bytes
    commitment: bytes
    response: int
    message: bytes
    is_accepted: bool = False

    @property
    def signature(self) -> bytes:
        """R ‖ S."""
        return self.commitment + self.response.to_bytes(32, "little")


SECRET = 0x1234567890ABCDEF1234567890ABCDEF
NONCE_SCALAR = 0xFEDCBA0987654321FEDCBA0987654321


def _signed(
    name: str,
    secret: int,
    key_torsion: int,
    nonce: int,
    nonce_torsion: int,
    *,
    cofactorless: bool = True,
    key: bytes | None = None,
    commitment: bytes | None = None,
    reduced: bool = False,
    added: int = 0,
    is_accepted: bool = False,
) -> Edge:
    """Build a signature with torsion in A and R, by messages tried until the wanted equation holds.

    ``key`` and ``commitment`` replace the canonical bytes; ``reduced`` hashes the canonical ones still.
    """
    a_point = add(times(secret, BASE), times(key_torsion, TORSION))
    r_point = add(times(nonce, BASE), times(nonce_torsion, TORSION))
    a_bytes, r_bytes = key or encode(a_point), commitment or encode(r_point)
    for attempt in range(1000):
        message = f"{name} {attempt}".encode()
        hashed = (
            challenge(encode(r_point), encode(a_point), message)
            if reduced
            else challenge(r_bytes, a_bytes, message)
        )
        if ((nonce_torsion + hashed * key_torsion) % 8 == 0) == cofactorless:
            response = (nonce + hashed * secret) % L
            assert is_equal(response, r_point, a_point, hashed, 1 if cofactorless else 8)
            assert cofactorless or not is_equal(response, r_point, a_point, hashed, 1)
            return Edge(name, a_bytes, r_bytes, response + added, message, is_accepted)
    raise AssertionError("no message fits")


def _odd_neutral() -> bytes:
    """The neutral point with y = P + 1: reduced, it is canonical."""
    return (P + 1).to_bytes(32, "little")


def _edges() -> Iterator[Edge]:
    """The conditions of the ed25519-speccheck table (eprint 2020/1244), each built anew, and a few more."""
    yield _signed("honest", SECRET, 0, NONCE_SCALAR, 0, is_accepted=True)
    yield _signed("small A and R, S = 0", 0, 3, 0, 5)
    yield _signed("small A, mixed R", 0, 1, NONCE_SCALAR, 7)
    yield _signed("mixed A, small R", SECRET, 1, 0, 7)
    yield _signed("mixed A and R, cofactorless", SECRET, 1, NONCE_SCALAR, 3, is_accepted=True)
    yield _signed("mixed A and R, cofactored only", SECRET, 1, NONCE_SCALAR, 3, cofactorless=False)
    yield _signed("mixed A, R of order L, cofactored only", SECRET, 1, NONCE_SCALAR, 0, cofactorless=False)
    yield _signed("S + L", SECRET, 0, NONCE_SCALAR, 0, added=L)
    yield _signed("S + 14 L, high bits set", SECRET, 0, NONCE_SCALAR, 0, added=14 * L)
    yield _signed("odd R, reduced for the hash", SECRET, 0, 0, 0, commitment=_odd_neutral(), reduced=True)
    yield _signed("odd R, hashed as it stands", SECRET, 0, 0, 0, commitment=_odd_neutral())
    yield _signed("odd A, reduced for the hash", 0, 0, NONCE_SCALAR, 0, key=_odd_neutral(), reduced=True)
    yield _signed("odd A, hashed as it stands", 0, 0, NONCE_SCALAR, 0, key=_odd_neutral())
    negative_zero = (1 | 1 << 255).to_bytes(32, "little")
    yield _signed("A with x = -0", 0, 0, NONCE_SCALAR, 0, key=negative_zero)
    yield _signed("R with x = -0", SECRET, 0, 0, 0, commitment=negative_zero)


@pytest.mark.parametrize("edge", list(_edges()), ids=lambda edge: edge.name)
def test_the_profile_decides_where_verifiers_differ(edge: Edge) -> None:
    """Each satisfies an equation some verifier uses; only what libsodium accepts today is a signature."""
    assert is_signature(edge.key, edge.message, edge.signature) == edge.is_accepted


def test_no_key_of_small_order_signs_anything() -> None:
    """All eight, in every encoding: with one of them anyone could sign any message."""
    points: list[Point] = [times(order, TORSION) for order in range(8)]
    assert len(set(points)) == 8 and NEUTRAL in points
    canonical = [encode(point) for point in points]
    encodings = {*canonical, *(bytes([*key[:31], key[31] ^ 128]) for key in canonical)}
    commitment = encode(times(NONCE_SCALAR, BASE))
    for key in encodings:
        for attempt in range(32):
            signature = commitment + NONCE_SCALAR.to_bytes(32, "little")
            assert not is_signature(key, bytes([attempt]), signature)
            assert not is_signature(key, bytes([attempt]), key + bytes(32))


def test_bytes_that_are_no_point_are_no_key() -> None:
    """A y without an x is refused as a key, and as a key to seal to."""
    y = next(y for y in range(2, 100) if edwards.point_of(y) is None)
    assert not is_signature(y.to_bytes(32, "little"), b"", SigningKey(SEED).sign(b""))
    with pytest.raises(Malformed):
        keys.sealing_key_of(y.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_secrets_of_another_length_are_malformed(length: int) -> None:
    """Thirty-two bytes or nothing: libsodium itself would read past the end of a shorter secret."""
    wrong = bytes(length)
    with pytest.raises(Malformed):
        SigningKey(wrong)
    with pytest.raises(Malformed):
        keys.sealing_public_key(wrong)
    with pytest.raises(Malformed):
        keys.open_sealed(wrong, bytes(64))
    with pytest.raises(Malformed):
        keys.seal(keys.sealing_public_key(SEED), b"", wrong)


def test_a_key_does_not_show_its_seed() -> None:
    """Logs and tracebacks hold reprs."""
    shown = repr(SigningKey(SEED))
    assert SEED.hex() not in shown and repr(SEED)[2:-1] not in shown and "seed" not in shown


def test_sealing_keys_are_x25519() -> None:
    """Bob's secret of RFC 7748 §6.1 gives his public key."""
    secret = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    published = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert keys.sealing_public_key(secret).hex() == published
    assert PrivateKey(secret).public_key.encode().hex() == published


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_sealing_agrees_with_libsodiums_sealed_box(plaintext: bytes, ephemeral: bytes) -> None:
    """What we seal SealedBox opens, and we open what it seals."""
    secret = PrivateKey(SEED)
    sealed = keys.seal(secret.public_key.encode(), plaintext, ephemeral)
    assert len(sealed) == len(plaintext) + keys.SEAL_OVERHEAD_BYTES
    assert SealedBox(secret).decrypt(sealed) == plaintext
    assert keys.open_sealed(SEED, sealed) == plaintext
    assert keys.open_sealed(SEED, SealedBox(secret.public_key).encrypt(plaintext)) == plaintext


def test_sealed_boxes_open_unchanged_only() -> None:
    """Any change, cut or addition to sealed bytes, or another key, is unproven."""
    sealed = keys.seal(keys.sealing_public_key(SEED), b"a body", bytes(32))
    assert accepted(lambda data: keys.open_sealed(SEED, data), truncated(sealed)) == []
    assert accepted(lambda data: keys.open_sealed(SEED, data), extended(sealed)) == []
    # X25519 ignores the top bit of the ephemeral key; the nonce, made from its bytes, does not.
    assert accepted(lambda data: keys.open_sealed(SEED, data), flipped(sealed)) == []
    with pytest.raises(Unproven):
        keys.open_sealed(bytes(32), sealed)


@pytest.mark.parametrize(
    "recipient", [*SMALL_ORDER_X25519, b"", bytes(31), bytes(33)], ids=lambda key: key.hex()[:16]
)
def test_nothing_is_sealed_to_a_key_that_anybody_opens(recipient: bytes) -> None:
    """A card that names a sealing key of small order, or no key, is refused, not a crash."""
    with pytest.raises(Malformed):
        keys.seal(recipient, b"a body", SEED)


def test_a_signing_key_is_sealed_to_by_its_public_half() -> None:
    """Both conversions of one Ed25519 key fit together, and with libsodium's."""
    key = SigningKey(SEED)
    recipient = keys.sealing_key_of(key.public_key)
    secret = keys.sealing_seed_of(key)
    assert keys.sealing_public_key(secret) == recipient
    assert keys.open_sealed(secret, SealedBox(PublicKey(recipient)).encrypt(b"for you")) == b"for you"


@pytest.mark.parametrize("public_key", [b"", bytes(31), encode(NEUTRAL), encode(TORSION), b"\xff" * 32])
def test_no_sealing_key_comes_from_a_bad_signing_key(public_key: bytes) -> None:
    """Wrong length, small order and no point are malformed."""
    with pytest.raises(Malformed):
        keys.sealing_key_of(public_key)


@given(st.binary(max_size=300))
def test_what_is_locked_unlocks(plaintext: bytes) -> None:
    """nonce ‖ ciphertext, forty bytes longer, gives the plaintext back."""
    locked = keys.lock(SEED, plaintext, NONCE)
    assert locked.startswith(NONCE) and len(locked) == len(plaintext) + 40
    assert keys.unlock(SEED, locked) == plaintext


def test_locked_bytes_unlock_unchanged_only() -> None:
    """Any change, cut or addition to locked bytes, or another key, is unproven."""
    locked = keys.lock(SEED, b"a data key", NONCE)
    assert accepted(lambda data: keys.unlock(SEED, data), spoiled(locked)) == []
    assert accepted(lambda key: keys.unlock(key, locked), spoiled(SEED)) == []


def test_a_passphrase_gives_one_key_for_its_parameters() -> None:
    """Salt, passphrase and cost each change the key; the same four give it again."""

    def derive(passphrase: bytes = b"correct horse", salt: bytes = bytes(16), operations: int = 1) -> bytes:
        return keys.passphrase_key(passphrase, salt, operations=operations, memory_bytes=8192)

    assert derive() == derive() and len(derive()) == 32
    assert len({derive(), derive(b"other"), derive(salt=bytes(15) + b"x"), derive(operations=2)}) == 4


@pytest.mark.parametrize(
    ("salt_bytes", "operations", "memory_bytes"),
    [(15, 1, 8192), (17, 1, 8192), (16, 0, 8192), (16, 1, 100), (16, 1, 2**50), (16, 2**40, 8192)],
)
def test_parameters_argon2_does_not_take_are_malformed(
    salt_bytes: int, operations: int, memory_bytes: int
) -> None:
    """A key file states them, so a spoiled file must be named as such."""
    with pytest.raises(Malformed):
        keys.passphrase_key(b"p", bytes(salt_bytes), operations=operations, memory_bytes=memory_bytes)
