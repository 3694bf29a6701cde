"""Ed25519 under one profile, sealing, and password-derived keys; the only module that imports nacl.

The profile is what libsodium checks today: cofactorless, S < L, A and R canonical and not of small order.
Verifiers that differ in these cases split a ledger (one peer accepts what another refuses), so the vectors
in the tests fail on a library that differs.

Randomness comes in as arguments: seeds, nonces, salts. Nothing here draws any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from nacl import bindings, exceptions, pwhash, secret

from ledger.errors import Malformed, Unproven

KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64
NONCE_BYTES = 24
"""XSalsa20's nonce: long enough to be drawn at random for ever."""
SEAL_OVERHEAD_BYTES = 48
"""Ephemeral public key (32) and Poly1305 tag (16) of a sealed box."""

SignedMessage: TypeAlias = tuple[bytes, bytes, bytes]
"""(public key, message, signature)."""

VerifyMany: TypeAlias = Callable[[Sequence[SignedMessage]], list[bool]]
"""A batch of signature checks; implementations may spread it over threads (libsodium frees the GIL)."""


class Signer(Protocol):
    """Whoever can sign for one public key: a key in memory, later a token."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the Ed25519 public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over ``message``."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key in memory, from its 32-byte seed; its repr shows only the public half."""

    seed: bytes = field(repr=False)
    public_key: bytes = field(init=False)
    _expanded: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise Malformed(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(self.seed)}")
        public_key, expanded = bindings.crypto_sign_seed_keypair(self.seed)
        object.__setattr__(self, "public_key", public_key)
        object.__setattr__(self, "_expanded", expanded)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over ``message`` (RFC 8032 §5.1.6)."""
        signed: bytes = bindings.crypto_sign(message, self._expanded)
        return signed[:SIGNATURE_BYTES]


def is_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is ``public_key``'s over ``message`` under the profile."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except exceptions.BadSignatureError:
        return False
    return True


def check_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `Unproven` unless `is_signature` holds."""
    if not is_signature(public_key, message, signature):
        raise Unproven(f"signature does not verify under key {public_key.hex()[:16]}…")


def verify_many(batch: Sequence[SignedMessage]) -> list[bool]:
    """Return, in order, whether each signature of the batch holds; the plain one-thread implementation."""
    return [is_signature(*signed) for signed in batch]


def sealing_public_key(seed: bytes) -> bytes:
    """Return the X25519 public key of the 32-byte secret ``seed``; `Malformed` for another length."""
    if len(seed) != SEED_BYTES:  # libsodium takes a pointer here, and PyNaCl does not look: it would read on
        raise Malformed(f"an X25519 secret has {SEED_BYTES} bytes, not {len(seed)}")
    public_key: bytes = bindings.crypto_scalarmult_base(seed)
    return public_key


def sealing_key_of(signing_public_key: bytes) -> bytes:
    """Return the X25519 key that belongs to an Ed25519 public key, to seal something to its owner."""
    try:
        converted: bytes = bindings.crypto_sign_ed25519_pk_to_curve25519(signing_public_key)
    except (exceptions.CryptoError, exceptions.TypeError) as error:
        raise Malformed("not an Ed25519 public key that can be sealed to") from error
    return converted


def sealing_seed_of(key: SigningKey) -> bytes:
    """Return the X25519 secret that belongs to an Ed25519 key (the other side of `sealing_key_of`)."""
    converted: bytes = bindings.crypto_sign_ed25519_sk_to_curve25519(key.seed + key.public_key)
    return converted


def seal(recipient: bytes, plaintext: bytes, ephemeral_seed: bytes) -> bytes:
    """Return ``plaintext`` sealed to an X25519 key: libsodium's sealed box with its randomness passed in.

    ``ephemeral_seed`` is 32 fresh random bytes, used once. `open_sealed` and ``crypto_box_seal_open`` agree.
    A recipient that is no key, or one of small order (anybody could open what is sealed to it), is
    `Malformed`: such keys come from others' cards.
    """
    ephemeral = sealing_public_key(ephemeral_seed)
    nonce = hashlib.blake2b(ephemeral + recipient, digest_size=NONCE_BYTES).digest()
    try:
        boxed: bytes = bindings.crypto_box(plaintext, nonce, recipient, ephemeral_seed)
    except exceptions.CryptoError:
        raise Malformed("not an X25519 public key that can be sealed to") from None
    return ephemeral + boxed


def open_sealed(seed: bytes, sealed: bytes) -> bytes:
    """Return what was sealed to the key of ``seed``; raise `Unproven` if it was not, or was changed."""
    public_key = sealing_public_key(seed)
    try:
        opened: bytes = bindings.crypto_box_seal_open(sealed, public_key, seed)
    except (exceptions.CryptoError, exceptions.TypeError, exceptions.ValueError):
        raise Unproven("sealed data does not open: made for another key, or changed") from None
    return opened


def lock(key: bytes, plaintext: bytes, nonce: bytes) -> bytes:
    """Return nonce ‖ XSalsa20-Poly1305 ciphertext of ``plaintext`` under a 32-byte key and a fresh nonce."""
    return bytes(secret.SecretBox(key).encrypt(plaintext, nonce))


def unlock(key: bytes, locked: bytes) -> bytes:
    """Return the plaintext of `lock`; raise `Unproven` for another key or changed bytes."""
    try:
        return secret.SecretBox(key).decrypt(locked)
    except (exceptions.CryptoError, exceptions.ValueError, exceptions.TypeError):
        raise Unproven("locked data does not open: another key, or changed") from None


def passphrase_key(passphrase: bytes, salt: bytes, *, operations: int, memory_bytes: int) -> bytes:
    """Return the 32-byte key of a passphrase (argon2id, RFC 9106; ``salt`` 16 bytes).

    Parameters that argon2id does not take, or this machine has no memory for, are `Malformed`: they come from
    a file. The caller bounds them first.
    """
    try:
        return pwhash.argon2id.kdf(KEY_BYTES, passphrase, salt, opslimit=operations, memlimit=memory_bytes)
    except exceptions.CryptoError as error:
        raise Malformed(f"no key can be derived with these parameters: {error}") from None
