"""The access journal: who was shown a record, or refused, until the hour's desk entry has it in the log.

A row is an `access` record, whole, with its salts, sealed under a data key of its own as bodies are;
nothing else in it says whom it is about. It is durable before a body leaves (``release``). `settle` runs in
the transaction that sequences the desk entry, so after a kill at any moment a row is either still here or
in the log, never both and never neither. `clear` then blanks the row's key and deletes it.

Refusals are counted where they repeat: one row for each key, child, kind and hour, so that nobody fills a
child's history by knocking. A refusal that names no known child is counted for the hour, and tells nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import codec, keys
from ledger.entry import RECORDS_MAX
from ledger.errors import StoreError, Unproven
from ledger.keys import NONCE_BYTES
from ledger.record import Record, parse_record
from node.database import Database, Schema, batches
from node.key_store import Gone, KeyStore

_ZERO_NONCE = bytes(NONCE_BYTES)
"""Allowed because a data key seals once in its life."""
_STEP_BYTES = 64
"""Rows are filled to a multiple of this: a length would otherwise tell role and purpose."""

SCHEMA = Schema(
    part="journal",
    steps=(
        (
            "CREATE TABLE access_journal (number INTEGER PRIMARY KEY, repeated BLOB UNIQUE, "
            "times INTEGER NOT NULL, data_key INTEGER NOT NULL, sealed BLOB NOT NULL, "
            "is_settled INTEGER NOT NULL)",
            "CREATE TABLE unknown_refusals (hour INTEGER PRIMARY KEY, times INTEGER NOT NULL)",
            "CREATE TABLE desk_entry (id INTEGER PRIMARY KEY CHECK (id = 1), made_ms INTEGER NOT NULL)",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """One access record that the log does not have yet."""

    number: int
    record: Record


class AccessJournal:
    """The rows that wait for the next desk entry, in the log's database."""

    def __init__(self, database: Database, data_keys: KeyStore) -> None:
        """``database`` was opened with `SCHEMA`."""
        self._database = database
        self._keys = data_keys

    def add(self, record: Record, repeated: bytes | None = None) -> None:
        """Keep an access record, inside a transaction; where ``repeated`` stands already it is counted
        there."""
        data_key = self._keys.new_keys(1)[0]
        plain = codec.encode([record.owner_part, record.shown_part])
        filled = len(plain).to_bytes(4, "big") + plain
        filled += bytes(-len(filled) % _STEP_BYTES)
        sealed = keys.lock(data_key.key, filled, _ZERO_NONCE)[NONCE_BYTES:]
        self._database.write(
            "INSERT INTO access_journal (repeated, times, data_key, sealed, is_settled) "
            "VALUES (?, 1, ?, ?, 0) ON CONFLICT (repeated) DO UPDATE SET times = times + 1",
            (repeated, data_key.number, sealed),
        )

    def count_unknown(self, hour: int) -> None:
        """Count a refusal that names no child known here, inside a transaction."""
        self._database.write(
            "INSERT INTO unknown_refusals (hour, times) VALUES (?, 1) "
            "ON CONFLICT (hour) DO UPDATE SET times = times + 1",
            (hour,),
        )

    def waiting(self, count: int = RECORDS_MAX) -> list[JournalRow]:
        """Return the oldest rows that the log does not have yet; raise `StoreError` if one does not open."""
        rows = self._database.rows(
            "SELECT number, data_key, sealed FROM access_journal WHERE is_settled = 0 "
            "ORDER BY number LIMIT ?",
            (count,),
        )
        return [JournalRow(number=row[0], record=self._open(row[1], row[2])) for row in rows]

    def settle(self, numbers: Sequence[int]) -> None:
        """Note that the log has these rows, inside the transaction that gives them to it."""
        for marks, batch in batches(numbers):
            self._database.write(
                f"UPDATE access_journal SET is_settled = 1, repeated = NULL WHERE number IN ({marks})", batch
            )

    def clear(self) -> None:
        """Destroy the settled rows and their keys; a call that failed is made again."""
        rows = self._database.rows("SELECT number, data_key FROM access_journal WHERE is_settled = 1")
        if rows:
            self._keys.erase(row[1] for row in rows)
            with self._database.transaction():
                self._database.write_many(
                    "DELETE FROM access_journal WHERE number = ?", [(row[0],) for row in rows]
                )

    def entry_made_ms(self) -> int | None:
        """Return when the last desk entry was made (milliseconds since 1970), None before the first start."""
        row = self._database.row("SELECT made_ms FROM desk_entry")
        return None if row is None else int(row[0])

    def set_entry_made(self, made_ms: int) -> None:
        """Note when a desk entry was made, inside its transaction."""
        self._database.write(
            "INSERT INTO desk_entry (id, made_ms) VALUES (1, ?) "
            "ON CONFLICT (id) DO UPDATE SET made_ms = excluded.made_ms",
            (made_ms,),
        )

    def _open(self, number: int, sealed: bytes) -> Record:
        data_key = self._keys.key(number)
        try:
            if isinstance(data_key, Gone):
                raise Unproven(f"its key is {data_key.value}")
            filled = keys.unlock(data_key, _ZERO_NONCE + sealed)
        except Unproven as error:
            raise StoreError(
                f"{self._database.path}: a row of the access journal does not open ({error}): restore "
                "the key database that belongs to this file"
            ) from None
        plain = filled[4 : 4 + int.from_bytes(filled[:4], "big")]
        owner, shown = codec.decode(plain, bytes_max=len(plain))
        return parse_record(owner, shown)
