"""The data keys of bodies, a hundred and more to a wrapped row, in a database of their own (``keys.db``).

Rules:
- A data key seals one body once. It is drawn at random and durable here before anyone is given it, so no
  body is ever sealed under a key that a power cut can take away.
- Each row is sealed under a master key that lives elsewhere (the node's key file). To erase a key is to open
  its row, blank it, and seal the row again under a fresh nonce; then both copies that SQLite has of the old
  row are removed by a truncating checkpoint. A blank key means erased, and is never given out as a key.
- Rows have random numbers. A restored older copy of this file therefore never gives a number out again that
  a body sealed after the copy was made already bears: that body is missing, not opened by a wrong key.
- Re-wrapping under a new master key makes every older copy of this file worthless once the old master key
  is destroyed. That is how erasure reaches backups which nobody can edit.

Also kept here: the two secrets behind the blind tags of subject and identity. They belong to the log's
database for ever (`fingerprint` tells whether they do), because tags made under others find nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import TypeAlias

from ledger import keys
from ledger.errors import Malformed, StoreError, Unproven
from ledger.keys import KEY_BYTES, NONCE_BYTES
from ledger.record import SUBJECT_BYTES
from node.database import Database, Schema

Random: TypeAlias = Callable[[int], bytes]
"""Source of fresh random bytes: ``os.urandom``, or a seeded one in a simulation."""

KEYS_PER_ROW = 124
"""What fills a 4 KiB page: 124 x 32 + row number 8 + seal 40 = 4,016 of its 4,061 bytes."""
ROW_BITS = 48
"""Random row numbers: of 100,000 rows (12 million records) two meet with a chance of 1 in 50,000, and then
another is drawn. With 7 bits for the slot a key's number stays below 2^63."""
TAG_BYTES = 16
"""A blind tag is HMAC-SHA256 cut to 128 bits: no two subjects ever share one, half the room on disk."""
_SLOT_BITS = 7
_BLANK = bytes(KEY_BYTES)
_SECRETS_LABEL = b"pledger/tag-secrets/v1\x00"
_FINGERPRINT_LABEL = b"pledger/key-store/v1\x00"
_DRAWS_MAX = 8
"""Attempts at an unused row number; a source that fails eight times is no random source."""

SCHEMA = Schema(
    part="keys",
    steps=(
        (
            "CREATE TABLE data_keys (row_number INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
            "CREATE TABLE tag_secrets (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL)",
        ),
    ),
)


class Gone(Enum):
    """Why there is no key under a number."""

    ERASED = "erased"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key and the number under which it is found again (row and slot in one)."""

    number: int
    key: bytes = field(repr=False)


class KeyStore:
    """Data keys and tag secrets in one database, opened with one master key."""

    def __init__(self, database: Database, master_key: bytes, random: Random) -> None:
        """``database`` was opened with `SCHEMA`; raise `StoreError` if ``master_key`` does not open it.

        Tag secrets are drawn when there are none yet.
        """
        if len(master_key) != KEY_BYTES:
            raise Malformed(f"a master key has {KEY_BYTES} bytes, not {len(master_key)}")
        self._database = database
        self._master_key = master_key
        self._random = random
        self._spare: list[DataKey] = []
        subject, identity = self._open_secrets()
        self.fingerprint = hmac.digest(subject, _FINGERPRINT_LABEL, "sha256")[:TAG_BYTES]
        self._subject_mac = hmac.new(subject, digestmod=hashlib.sha256)
        self._identity_mac = hmac.new(identity, digestmod=hashlib.sha256)

    def new_keys(self, count: int) -> list[DataKey]:
        """Return ``count`` fresh keys, committed and synced before this returns.

        A row is filled at once and its keys are given out from memory: a single record costs a commit here
        only every 124 records. What was not given out when the process ends is never used.
        """
        if count > len(self._spare):
            self._spare += self._make_rows(-(-(count - len(self._spare)) // KEYS_PER_ROW))
        given, self._spare = self._spare[:count], self._spare[count:]
        return given

    def key(self, number: int) -> bytes | Gone:
        """Return the data key under ``number``, or why there is none."""
        row_keys = self._open_row(number >> _SLOT_BITS)
        slot = number & ((1 << _SLOT_BITS) - 1)
        if row_keys is None or slot >= KEYS_PER_ROW:
            return Gone.MISSING
        return Gone.ERASED if row_keys[slot] == _BLANK else row_keys[slot]

    def erase(self, numbers: Iterable[int]) -> None:
        """Blank these keys for good; when this returns no copy of them is left in the database's files.

        Numbers that are blank or not here are passed over, so a call that failed is simply made again; the
        checkpoint is made even if nothing was left to blank. `StoreError` from it means: blanked, but old
        bytes are still in the files.
        """
        erased = set(numbers)
        with self._database.transaction():
            for row, group in groupby(sorted(erased), key=lambda number: number >> _SLOT_BITS):
                self._blank(row, [number & ((1 << _SLOT_BITS) - 1) for number in group])
        self._spare = [spare for spare in self._spare if spare.number not in erased]
        self._database.checkpoint()

    def rewrap(self, new_master_key: bytes) -> None:
        """Seal every row and the tag secrets under another master key, in one transaction.

        The caller has the new key safe in its key file before, and destroys the old one after.
        """
        if len(new_master_key) != KEY_BYTES:
            raise Malformed(f"a master key has {KEY_BYTES} bytes, not {len(new_master_key)}")
        with self._database.transaction():
            self._reseal("data_keys", "row_number", new_master_key)
            self._reseal("tag_secrets", "id", new_master_key)
        self._master_key = new_master_key
        self._database.checkpoint()

    def subject_tag(self, subject: bytes) -> bytes:
        """Return the blind tag of a pseudonym (16 bytes): equal for equal subjects, else meaningless."""
        if len(subject) != SUBJECT_BYTES:
            raise Malformed(f"a pseudonym has {SUBJECT_BYTES} bytes, not {len(subject)}")
        mac = self._subject_mac.copy()
        mac.update(subject)
        return mac.digest()[:TAG_BYTES]

    def identity_tag(self, subject: bytes, identity: bytes) -> bytes:
        """Return the blind tag of one identity (canonical bytes of its fields) of one subject.

        A pseudonym has one length, so subject ‖ identity is read in one way only.
        """
        if len(subject) != SUBJECT_BYTES:
            raise Malformed(f"a pseudonym has {SUBJECT_BYTES} bytes, not {len(subject)}")
        mac = self._identity_mac.copy()
        mac.update(subject + identity)
        return mac.digest()[:TAG_BYTES]

    def _open_secrets(self) -> tuple[bytes, bytes]:
        row = self._database.row("SELECT sealed FROM tag_secrets")
        if row is None:
            with self._database.transaction():
                opened = _SECRETS_LABEL + self._random(2 * KEY_BYTES)
                self._database.write(
                    "INSERT INTO tag_secrets (id, sealed) VALUES (1, ?)", (self._seal(opened),)
                )
        else:
            opened = self._unseal(row[0])
        secrets = opened.removeprefix(_SECRETS_LABEL)
        return secrets[:KEY_BYTES], secrets[KEY_BYTES:]

    def _make_rows(self, count: int) -> list[DataKey]:
        made: list[DataKey] = []
        with self._database.transaction():
            for _ in range(count):
                row, row_keys = self._unused_row(), self._draw_keys()
                self._database.write(
                    "INSERT INTO data_keys (row_number, sealed) VALUES (?, ?)",
                    (row, self._seal(_join(row, row_keys))),
                )
                made += [DataKey(row << _SLOT_BITS | slot, key) for slot, key in enumerate(row_keys)]
        return made

    def _unused_row(self) -> int:
        for _ in range(_DRAWS_MAX):
            row = int.from_bytes(self._random(ROW_BITS // 8), "big")
            if self._database.row("SELECT 1 FROM data_keys WHERE row_number = ?", (row,)) is None:
                return row
        raise StoreError(
            f"{self._database.path}: the random source repeats itself, so no key is made; check "
            "the system's random device"
        )

    def _draw_keys(self) -> list[bytes]:
        drawn = self._random(KEYS_PER_ROW * KEY_BYTES)
        row_keys = [drawn[start : start + KEY_BYTES] for start in range(0, len(drawn), KEY_BYTES)]
        if _BLANK in row_keys or len(set(row_keys)) != KEYS_PER_ROW:
            raise StoreError(
                f"{self._database.path}: the random source gives zeros or repeats itself, so no "
                "key is made; check the system's random device"
            )
        return row_keys

    def _open_row(self, row: int) -> list[bytes] | None:
        found = self._database.row("SELECT sealed FROM data_keys WHERE row_number = ?", (row,))
        if found is None:
            return None
        opened = self._unseal(found[0])
        if len(opened) != 8 + KEYS_PER_ROW * KEY_BYTES or opened[:8] != row.to_bytes(8, "big"):
            raise StoreError(
                f"{self._database.path}: row {row} holds the keys of another row: the file was "
                "tampered with; restore a backup"
            )
        return [opened[start : start + KEY_BYTES] for start in range(8, len(opened), KEY_BYTES)]

    def _blank(self, row: int, slots: Sequence[int]) -> None:
        row_keys = self._open_row(row)
        if row_keys is None:
            return
        blanked = [_BLANK if slot in slots else key for slot, key in enumerate(row_keys)]
        self._database.write(
            "UPDATE data_keys SET sealed = ? WHERE row_number = ?", (self._seal(_join(row, blanked)), row)
        )

    def _reseal(self, table: str, key_column: str, new_master_key: bytes) -> None:
        for (number,) in self._database.rows(f"SELECT {key_column} FROM {table}"):
            row = self._database.row(f"SELECT sealed FROM {table} WHERE {key_column} = ?", (number,))
            assert row is not None
            sealed = keys.lock(new_master_key, self._unseal(row[0]), self._random(NONCE_BYTES))
            self._database.write(f"UPDATE {table} SET sealed = ? WHERE {key_column} = ?", (sealed, number))

    def _seal(self, opened: bytes) -> bytes:
        return keys.lock(self._master_key, opened, self._random(NONCE_BYTES))

    def _unseal(self, sealed: bytes) -> bytes:
        try:
            return keys.unlock(self._master_key, sealed)
        except Unproven:
            raise StoreError(
                f"{self._database.path}: the master key of this node does not open it: it is "
                "another node's file, was wrapped under another master key, or is damaged; put "
                "the matching key file or database in place"
            ) from None


def _join(row: int, row_keys: Sequence[bytes]) -> bytes:
    return row.to_bytes(8, "big") + b"".join(row_keys)
