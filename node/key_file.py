"""Secret keys on disk: one JSON file, its secrets locked under a passphrase (argon2id and secretbox).

::

    {"version": 1, "name": "school-12", "keys": {"log": "<public key, hex>", "master": ""},
     "argon2id": {"memory_bytes": 67108864, "operations": 2, "salt": "<hex>"},
     "locked": "<base64>", "check": "<SHA-256 of the file without this field, hex>"}

Names and public keys can be read without the passphrase. ``check`` finds damage without it; the locked part
begins with the SHA-256 of everything else in the file, so whoever changes a name, a public key or a parameter
and mends ``check`` is found out when the file is opened. Only the exact bytes that `_format` makes are read:
no byte can be changed and go unnoticed.

The secrets are 32-byte seeds. Which public key belongs to one follows from its name: ``sealing`` is an X25519
key, ``master`` a symmetric one that has none, every other an Ed25519 key. Behind a point the name says since
which of the agency's cards it is in use: ``sealing.3``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import codec, keys
from ledger.errors import Conflict, Malformed, StoreError, Unproven
from node.durable_file import create_file, read_file, replace_file

SEALING = "sealing"
MASTER = "master"
FILE_BYTES_MAX = 64 * 1024
"""A node has seven keys, some 2 KB; a file a thousand times larger is not one of ours."""
SECRETS_MAX = 64
"""A staff member has one key, a node seven, an examination office some desks more."""
NAME_CHARS_MAX = 120
PASSPHRASE_BYTES_MAX = 4096
PASSPHRASE_VARIABLE = "PLEDGER_PASSPHRASE"
PASSPHRASE_FILE_VARIABLE = "PLEDGER_PASSPHRASE_FILE"
VERSION = 1
SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one guess at the passphrase costs (argon2id's parameters)."""

    operations: int
    memory_bytes: int


INTERACTIVE = Cost(operations=2, memory_bytes=64 * 1024 * 1024)
"""libsodium's interactive limits: 0.1 s when a node starts or a teacher signs, 64 MiB for every guess."""
COST_MIN = Cost(operations=1, memory_bytes=8 * 1024 * 1024)
COST_MAX = Cost(operations=16, memory_bytes=1024 * 1024 * 1024)
"""Bounds on reading: a file from elsewhere must not take all memory, or minutes, before it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """What a key file shows to everyone: its name and the public key of each secret (b"" if it has none)."""

    name: str
    keys: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """A key file parsed; ``head`` is everything but the locked part and the check."""

    head: dict[str, Any]
    locked: bytes

    @property
    def public(self) -> PublicKeys:
        named = {name: bytes.fromhex(text) for name, text in self.head["keys"].items()}
        return PublicKeys(name=self.head["name"], keys=named)

    @property
    def head_hash(self) -> bytes:
        return hashlib.sha256(_json(self.head)).digest()


def write_key_file(
    path: Path,
    name: str,
    secrets: Mapping[str, bytes],
    passphrase: str,
    random: Callable[[int], bytes],
    *,
    cost: Cost = INTERACTIVE,
) -> None:
    """Write ``secrets`` (name -> 32-byte seed) to a new file, mode 0600, durable on return.

    Raise `Conflict` if ``path`` exists (keys are never overwritten), `Malformed` for an empty passphrase or
    names and seeds that no key file can hold, `StoreError` from the disk.
    """
    create_file(path, _formatted(name, secrets, passphrase, random, cost))


def _formatted(
    name: str,
    secrets: Mapping[str, bytes],
    passphrase: str,
    random: Callable[[int], bytes],
    cost: Cost,
) -> bytes:
    """The bytes of a key file, under a salt of its own."""
    _check_secrets(name, secrets)
    salt = random(SALT_BYTES)
    head = {
        "version": VERSION,
        "name": name,
        "keys": {secret: public_key_of(secret, seed).hex() for secret, seed in secrets.items()},
        "argon2id": {"memory_bytes": cost.memory_bytes, "operations": cost.operations, "salt": salt.hex()},
    }
    _check_head(head)
    key = _key_of(passphrase, head)
    opened = codec.encode([_Content(head=head, locked=b"").head_hash, dict(secrets)])
    locked = keys.lock(key, opened, random(keys.NONCE_BYTES))
    return _format(_Content(head=head, locked=locked))


def read_key_file(path: Path, passphrase: str) -> dict[str, bytes]:
    """Return name -> seed of every secret in the file.

    Raise `StoreError` if it cannot be read, `Malformed` if it is damaged, truncated or not a key file,
    `Unproven` for a wrong passphrase or a file that somebody changed.
    """
    content = _load(path)
    key = _key_of(passphrase, content.head)
    try:
        opened = keys.unlock(key, content.locked)
    except Unproven:
        raise Unproven(
            f"{path}: the passphrase does not open it: type it again (watch keyboard layout and "
            "capitals), or take the key file that it belongs to"
        ) from None
    head_hash, secrets = _parse_opened(path, opened)
    derived = {name: public_key_of(name, seed) for name, seed in secrets.items()}
    if head_hash != content.head_hash or derived != content.public.keys:
        raise Unproven(
            f"{path}: the names or public keys in it were changed after it was made: do not use "
            "it, take the copy that was kept apart"
        )
    return secrets


def change_key_file(
    path: Path,
    added: Mapping[str, bytes],
    dropped: Iterable[str],
    passphrase: str,
    random: Callable[[int], bytes],
) -> None:
    """Add secrets to a key file, and take others out of it, in one durable step and under its passphrase.

    Raise what `read_key_file` raises, and `Conflict` for a name that is there already: no secret is lost by
    being written over.
    """
    secrets, content = read_key_file(path, passphrase), _load(path)
    if twice := sorted(secrets.keys() & added.keys()):
        raise Conflict(f"{path}: there is a key {twice[0]} already")
    kept = {name: seed for name, seed in secrets.items() if name not in set(dropped)} | dict(added)
    cost = Cost(**{name: content.head["argon2id"][name] for name in ("operations", "memory_bytes")})
    replace_file(path, _formatted(content.head["name"], kept, passphrase, random, cost))


def use_of(name: str) -> str:
    """Return what the secret of this name is for."""
    return name.partition(".")[0]


def read_public_keys(path: Path) -> PublicKeys:
    """Return what the file shows without its passphrase (damage is found, a forger is not)."""
    return _load(path).public


def public_key_of(name: str, seed: bytes) -> bytes:
    """Return the public key of the secret ``name``; b"" for the master key, which has none."""
    if use_of(name) == MASTER:
        return b""
    return keys.sealing_public_key(seed) if use_of(name) == SEALING else keys.SigningKey(seed).public_key


def read_passphrase(environment: Mapping[str, str], path: Path | None = None) -> str | None:
    """Return the passphrase from ``path``, else from the environment; None if neither gives one.

    ``PLEDGER_PASSPHRASE_FILE`` names a file, ``PLEDGER_PASSPHRASE`` is the passphrase itself; the file goes
    first, because a variable is seen by every program started from the same place. One line end after the
    passphrase is not part of it.
    """
    file_name = environment.get(PASSPHRASE_FILE_VARIABLE)
    if path is None and file_name:
        path = Path(file_name)
    if path is None:
        return environment.get(PASSPHRASE_VARIABLE) or None
    try:
        text = read_file(path, bytes_max=PASSPHRASE_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise Malformed(f"{path}: the passphrase in it is not UTF-8 text: save the file as UTF-8") from None
    passphrase = text.removesuffix("\n").removesuffix("\r")
    if not passphrase:
        raise Malformed(f"{path}: there is no passphrase in it")
    return passphrase


def _key_of(passphrase: str, head: dict[str, Any]) -> bytes:
    """The key of a passphrase; as NFC, because keyboards differ in how they compose й or é."""
    data = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    if not 0 < len(data) <= PASSPHRASE_BYTES_MAX:
        raise Malformed(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")
    cost = head["argon2id"]
    return keys.passphrase_key(
        data, bytes.fromhex(cost["salt"]), operations=cost["operations"], memory_bytes=cost["memory_bytes"]
    )


def _load(path: Path) -> _Content:
    data = read_file(path, bytes_max=FILE_BYTES_MAX)
    try:
        content = _parse(data)
        intact = _format(content) == data
    except (ValueError, KeyError, TypeError, RecursionError, Malformed) as error:
        raise Malformed(
            f"{path}: not a key file, or damaged or cut short ({error}): restore it from the "
            "copy that was kept apart"
        ) from None
    if not intact:
        raise Malformed(
            f"{path}: the key file is damaged (its check does not hold): restore it from the "
            "copy that was kept apart"
        )
    return content


def _format(content: _Content) -> bytes:
    """The one form in which a key file is written and read."""
    value = {**content.head, "locked": base64.b64encode(content.locked).decode()}
    value["check"] = hashlib.sha256(_json(value)).hexdigest()
    return _json(value)


def _parse(data: bytes) -> _Content:
    """The content of a file; any exception of `_load` for another form, `_format` compares the bytes."""
    value = json.loads(data)
    if not isinstance(value, dict) or "locked" not in value:
        raise Malformed("no map with locked keys")
    locked = base64.b64decode(value.pop("locked"), validate=True)
    del value["check"]
    _check_head(value)
    return _Content(head=value, locked=locked)


def _check_head(head: dict[str, Any]) -> None:
    version = head.get("version")
    if type(version) is not int or version != VERSION:
        raise Malformed(f"version {version!r}, only {VERSION} is known")
    cost = head["argon2id"]
    for name, lowest, highest in (
        ("operations", COST_MIN.operations, COST_MAX.operations),
        ("memory_bytes", COST_MIN.memory_bytes, COST_MAX.memory_bytes),
    ):
        if type(cost[name]) is not int or not lowest <= cost[name] <= highest:
            raise Malformed(f"argon2id {name} {cost[name]!r} is outside {lowest} to {highest}")
    if len(bytes.fromhex(cost["salt"])) != SALT_BYTES:
        raise Malformed(f"the salt has {SALT_BYTES} bytes")
    if not isinstance(head["name"], str) or not isinstance(head["keys"], dict):
        raise Malformed("name and public keys are missing")
    for public_key in head["keys"].values():
        bytes.fromhex(public_key)


def _check_secrets(name: str, secrets: Mapping[str, bytes]) -> None:
    if not 0 < len(secrets) <= SECRETS_MAX:
        raise Malformed(f"a key file holds 1 to {SECRETS_MAX} keys, not {len(secrets)}")
    for text in (name, *secrets):
        if not 0 < len(text) <= NAME_CHARS_MAX:
            raise Malformed(f"the name {text!r} must have 1 to {NAME_CHARS_MAX} characters")
    for secret, seed in secrets.items():
        if len(seed) != keys.SEED_BYTES:
            raise Malformed(f"key {secret!r} has {len(seed)} bytes, a seed has {keys.SEED_BYTES}")


def _parse_opened(path: Path, opened: bytes) -> tuple[bytes, dict[str, bytes]]:
    match codec.decode(opened, bytes_max=FILE_BYTES_MAX):
        case [bytes(head_hash), dict(secrets)]:
            _check_secrets("key file", secrets)
            return head_hash, secrets
    raise StoreError(f"{path}: opens, but holds something else than keys: made by a newer pledger?")


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
