"""The sealed bodies of this node's own records, found by blind tags; the only module that deletes any.

A record has a place (era, leaf index, position in its entry) and keeps it and its hash for ever: its
neighbours' paths need the hash. Its body is sealed under a data key of its own and can be destroyed; so can
its tags, the only way from a child to a record. Nothing in this database says subject, kind, unit or count.

What is stored, each once:
- ``record``: place -> record hash; ``record_by_hash``: the first 8 bytes of the hash -> place.
- ``body``: place -> sealed body and the number of its data key.
- ``portfolio``: (subject tag, identity tag, place), one tree clustered by subject. Two indexes by tag would
  cost five times as much on import, because every record would write two more random pages.
- ``body_entry``: entry place -> entry id, sealed padding seed. ``scope``: openings of committed scopes.
- ``mark``: record hash -> erased, withheld or elsewhere. ``erasure_due``: what `erase_due` has yet
  to destroy.

The five states of a body (`ledger.record.BodyState`): held (opens), erased (by mark or blank key), withheld
or elsewhere (as marked), else missing.

`put` runs inside the caller's transaction, the one that appends the leaf; `erase` makes its own, in the one
order that a crash cannot turn around: keys first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger import keys
from ledger.entry import RECORDS_MAX
from ledger.errors import Conflict, StoreError, Unproven
from ledger.keys import NONCE_BYTES
from ledger.names import Place
from ledger.record import BodyState
from node.database import Database, Schema, batches
from node.key_store import DataKey, Gone, KeyStore

PADDING_STEP_BYTES = 32
"""Sealed bodies are filled to a multiple of this: their length would otherwise tell the kind."""
_ZERO_NONCE = bytes(NONCE_BYTES)
"""Allowed because a data key seals once in its life: no second message, so no nonce to tell them apart."""
_LENGTHS = struct.Struct(">HH")
"""Lengths of owner and shown part, each at most 16 KiB."""
_POSITION_BITS = 12
"""An entry holds at most 4,096 records."""
_INDEX_BITS = 37
"""137 billion leaves in an era. With 14 bits of era, less one, a place is a positive 64-bit integer, and
short ones stay short in SQLite as long as the agency is in its first era."""
_BESIDE = 1 << (_INDEX_BITS - 1)
"""Added to the index of an entry whose place is taken by one of another branch: no log is so long."""

assert 1 << _POSITION_BITS == RECORDS_MAX

SCHEMA = Schema(
    part="bodies",
    steps=(
        (
            "CREATE TABLE body_entry (place INTEGER PRIMARY KEY, entry_id BLOB NOT NULL, data_key INTEGER, "
            "sealed_seed BLOB)",
            "CREATE TABLE entry_by_id (prefix INTEGER NOT NULL, place INTEGER NOT NULL, "
            "PRIMARY KEY (prefix, place)) WITHOUT ROWID",
            "CREATE TABLE record (place INTEGER PRIMARY KEY, record_hash BLOB NOT NULL)",
            "CREATE TABLE record_by_hash (prefix INTEGER NOT NULL, place INTEGER NOT NULL, "
            "PRIMARY KEY (prefix, place)) WITHOUT ROWID",
            "CREATE TABLE body (place INTEGER PRIMARY KEY, data_key INTEGER NOT NULL, sealed BLOB NOT NULL)",
            "CREATE TABLE portfolio (subject BLOB NOT NULL, identity BLOB NOT NULL, place INTEGER NOT NULL, "
            "PRIMARY KEY (subject, identity, place)) WITHOUT ROWID",
            "CREATE TABLE scope (commitment BLOB PRIMARY KEY, data_key INTEGER NOT NULL, "
            "sealed BLOB NOT NULL) WITHOUT ROWID",
            "CREATE TABLE mark (record_hash BLOB PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
            # The places that one erasure is about, and empty outside of it.
            "CREATE TABLE erasing (place INTEGER PRIMARY KEY)",
            "CREATE TABLE key_store (id INTEGER PRIMARY KEY CHECK (id = 1), fingerprint BLOB NOT NULL)",
        ),
        ("CREATE TABLE erasure_due (record_hash BLOB PRIMARY KEY) WITHOUT ROWID",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBody:
    """A record on its way in: ``position`` is its index among all record hashes of the entry, ascending."""

    record_hash: bytes
    position: int
    owner: bytes = field(repr=False)
    shown: bytes = field(repr=False)
    subject_tag: bytes
    identity_tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """The private side of one entry: its real records, padding seed and scope openings by commitment."""

    entry_id: bytes
    place: Place
    padding_seed: bytes | None = field(default=None, repr=False)
    records: Sequence[StoredBody] = ()
    scopes: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Body:
    """The two parts of a record, opened."""

    owner: bytes = field(repr=False)
    shown: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlace:
    """Where a record stands: its entry, the entry's leaf, and its index among the entry's record hashes."""

    entry_id: bytes
    place: Place
    position: int


class BodyStore:
    """Bodies, tags, seeds and scope openings beside the log, in the log's database."""

    def __init__(self, database: Database, key_store: KeyStore) -> None:
        """``database`` was opened with `SCHEMA`; raise `StoreError` if ``key_store`` belongs to another."""
        self._database = database
        self._keys = key_store
        self._check_pair()

    def put(self, entry: StoredEntry) -> tuple[bytes, ...]:
        """Store what is missing of an entry; return the record hashes whose bodies this call stored.

        Held bodies stay as they are and erased ones stay erased, so posting again restores only what is
        missing. `Conflict` if another entry stands at the place.
        """
        base = self._find_entry(entry.entry_id)
        known = self._find_places([record.record_hash for record in entry.records])
        wanted = self._wanted(entry.records, known)
        data_keys = iter(self._keys.new_keys(1 + len(wanted) + len(entry.scopes)))
        if base is None:
            base = self._put_entry(entry, next(data_keys))
        self._put_records(
            base,
            [
                record
                for record in entry.records
                if base | record.position not in known.get(record.record_hash, ())
            ],
        )
        self._put_bodies(base, wanted, known, data_keys)
        self._put_scopes(entry.scopes, data_keys)
        return tuple(record.record_hash for record in wanted)

    def holds(self, entry_id: bytes) -> bool:
        """Whether an entry was stored here, on whatever branch it stood."""
        return self._find_entry(entry_id) is not None

    def free_place(self, place: Place, entry_id: bytes) -> Place:
        """Return where to store an entry that stands at ``place``.

        In a forked log another entry may be stored there, of the branch that the log does not have.
        """
        row = self._database.row("SELECT entry_id FROM body_entry WHERE place = ?", (_base_of(place),))
        if row is None or row[0] == entry_id:
            return place
        return Place(place.era, place.index + _BESIDE)

    def get(self, record_hash: bytes) -> Body | None:
        """Return the opened body if it is held, else None (`state` says why)."""
        if self._mark(record_hash) == "erased":
            return None
        for place in self._places(record_hash):
            body = self._open_body(place)
            if isinstance(body, Body):
                return body
        return None

    def state(self, record_hash: bytes) -> BodyState:
        """Return which of the five states the body is in."""
        mark = self._mark(record_hash)
        found = [self._open_body(place) for place in self._places(record_hash)]
        if mark == "erased" or Gone.ERASED in found:
            return "erased"
        if any(isinstance(body, Body) for body in found):
            return "held"
        return mark or "missing"

    def mark(self, record_hashes: Iterable[bytes], state: BodyState) -> None:
        """Note that these bodies are ``withheld`` or ``elsewhere`` (shown while they are not held)."""
        assert state in ("withheld", "elsewhere"), state
        self._database.write_many(
            "INSERT INTO mark (record_hash, state) VALUES (?, ?) ON CONFLICT (record_hash) "
            "DO UPDATE SET state = excluded.state WHERE mark.state != 'erased'",
            [(record_hash, state) for record_hash in record_hashes],
        )

    def find(self, record_hash: bytes) -> RecordPlace | None:
        """Return where a record (first) stands, whatever became of its body; None if never stored here."""
        for place in self._places(record_hash):
            base = place >> _POSITION_BITS << _POSITION_BITS
            row = self._database.row("SELECT entry_id FROM body_entry WHERE place = ?", (base,))
            if row is not None:
                return RecordPlace(entry_id=row[0], place=_place_of(base), position=place - base)
        return None

    def by_subject(self, subject_tag: bytes) -> list[bytes]:
        """Return the record hashes of one subject in the order of the log; erased ones are not among them."""
        return [
            row[0]
            for row in self._database.rows(
                "SELECT record_hash FROM portfolio JOIN record USING (place) WHERE subject = ? "
                "ORDER BY place",
                (subject_tag,),
            )
        ]

    def by_identity(self, subject_tag: bytes, identity_tag: bytes) -> list[bytes]:
        """Return the record hashes with one identity of one subject, live or not, newest last."""
        return [
            row[0]
            for row in self._database.rows(
                "SELECT record_hash FROM portfolio JOIN record USING (place) "
                "WHERE subject = ? AND identity = ? ORDER BY place",
                (subject_tag, identity_tag),
            )
        ]

    def records_of(self, entry_id: bytes) -> list[tuple[int, bytes]]:
        """Return (position, record hash) of an entry's real records, erased ones too; [] if not held."""
        base = self._find_entry(entry_id)
        if base is None:
            return []
        return [
            (row[0] - base, row[1])
            for row in self._database.rows(
                "SELECT place, record_hash FROM record WHERE place >= ? AND place < ? ORDER BY place",
                (base, base + RECORDS_MAX),
            )
        ]

    def padding_seed(self, entry_id: bytes) -> bytes | None:
        """Return the padding seed of an entry, or None if there is none here."""
        base = self._find_entry(entry_id)
        row = self._database.row("SELECT data_key, sealed_seed FROM body_entry WHERE place = ?", (base,))
        return None if row is None or row[0] is None else self._open_part(row[0], row[1])

    def scope(self, commitment: bytes) -> bytes | None:
        """Return the opening of a committed scope, or None if it is not here."""
        row = self._database.row("SELECT data_key, sealed FROM scope WHERE commitment = ?", (commitment,))
        return None if row is None else self._open_part(row[0], row[1])

    def erase(self, record_hashes: Iterable[bytes]) -> None:
        """Destroy these bodies, their keys and tags; on return no byte of them is left in any file.

        Keys are blanked first and durably: after a crash at any point the bodies do not open, in this copy
        of the log's database or an older one, and the same call ends the work. A hash that was never stored
        is marked too, so that a body posted later is refused. `StoreError` from a checkpoint (something
        reads the database) means: erased, but bytes are still in the files; call again.
        """
        hashes = sorted(set(record_hashes))
        places = sorted(place for found in self._find_places(hashes).values() for place in found)
        self._keys.erase(self._key_numbers(places))
        with self._database.transaction():
            self._delete(places)
            self._database.write_many(
                "INSERT INTO mark (record_hash, state) VALUES (?, 'erased') ON CONFLICT (record_hash) "
                "DO UPDATE SET state = 'erased'",
                [(record_hash,) for record_hash in hashes],
            )
        self._database.checkpoint()

    def note_due(self, record_hashes: Iterable[bytes]) -> None:
        """Note bodies that must go at once, inside the transaction that decides it; `erase_due` does it."""
        self._database.write_many(
            "INSERT INTO erasure_due (record_hash) VALUES (?) ON CONFLICT (record_hash) DO NOTHING",
            [(record_hash,) for record_hash in record_hashes],
        )

    def erase_due(self) -> None:
        """Erase what is due; called after each commit and at start, so that a kill in between only delays
        it."""
        due = [row[0] for row in self._database.rows("SELECT record_hash FROM erasure_due")]
        if due:
            self.erase(due)
            with self._database.transaction():
                self._database.write_many(
                    "DELETE FROM erasure_due WHERE record_hash = ?", [(one,) for one in due]
                )

    def _check_pair(self) -> None:
        row = self._database.row("SELECT fingerprint FROM key_store")
        if row is None:
            with self._database.transaction():
                self._database.write(
                    "INSERT INTO key_store (id, fingerprint) VALUES (1, ?)", (self._keys.fingerprint,)
                )
        elif row[0] != self._keys.fingerprint:
            raise StoreError(
                f"{self._database.path}: the key database is new or another node's; put the one "
                "that belongs to this file in place, or no body and no subject is found"
            )

    def _put_entry(self, entry: StoredEntry, data_key: DataKey) -> int:
        """Store an entry not stored yet, its seed sealed under ``data_key``; return its place."""
        base = _base_of(entry.place)
        if self._database.row("SELECT 1 FROM body_entry WHERE place = ?", (base,)) is not None:
            raise Conflict(f"another entry stands at index {entry.place.index} of era {entry.place.era}")
        seed = entry.padding_seed
        self._database.write(
            "INSERT INTO body_entry (place, entry_id, data_key, sealed_seed) VALUES (?, ?, ?, ?)",
            (base, entry.entry_id, *((None, None) if seed is None else _sealed_pair(data_key, seed))),
        )
        self._database.write(
            "INSERT INTO entry_by_id (prefix, place) VALUES (?, ?)", (_prefix(entry.entry_id), base)
        )
        return base

    def _wanted(
        self, records: Sequence[StoredBody], known: Mapping[bytes, Sequence[int]]
    ) -> list[StoredBody]:
        """The records whose body is neither held nor erased."""
        erased = self._erased([record.record_hash for record in records])
        return [
            record
            for record in records
            if record.record_hash not in erased
            and (record.record_hash not in known or self.state(record.record_hash) not in ("held", "erased"))
        ]

    def _put_records(self, base: int, records: Sequence[StoredBody]) -> None:
        """Store places and hashes; sorted, so that each tree is written from left to right."""
        self._database.write_many(
            "INSERT INTO record (place, record_hash) VALUES (?, ?)",
            sorted((base | record.position, record.record_hash) for record in records),
        )
        self._database.write_many(
            "INSERT INTO record_by_hash (prefix, place) VALUES (?, ?)",
            sorted((_prefix(record.record_hash), base | record.position) for record in records),
        )

    def _put_bodies(
        self,
        base: int,
        records: Sequence[StoredBody],
        known: Mapping[bytes, Sequence[int]],
        data_keys: Iterator[DataKey],
    ) -> None:
        """Seal and store bodies with their tags; a row whose key was lost is replaced."""
        bodies, tags = [], []
        for record in records:
            place = min(known.get(record.record_hash, ()), default=base | record.position)
            bodies.append((place, *_sealed_pair(next(data_keys), record.owner, record.shown)))
            tags.append((record.subject_tag, record.identity_tag, place))
        self._database.write_many(
            "INSERT INTO body (place, data_key, sealed) VALUES (?, ?, ?) ON CONFLICT (place) "
            "DO UPDATE SET data_key = excluded.data_key, sealed = excluded.sealed",
            sorted(bodies),
        )
        self._database.write_many(
            "INSERT INTO portfolio (subject, identity, place) VALUES (?, ?, ?) "
            "ON CONFLICT (subject, identity, place) DO NOTHING",
            sorted(tags),
        )

    def _put_scopes(self, scopes: Mapping[bytes, bytes], data_keys: Iterator[DataKey]) -> None:
        self._database.write_many(
            "INSERT INTO scope (commitment, data_key, sealed) VALUES (?, ?, ?) ON CONFLICT (commitment) "
            "DO UPDATE SET data_key = excluded.data_key, sealed = excluded.sealed",
            [(commitment, *_sealed_pair(next(data_keys), opening)) for commitment, opening in scopes.items()],
        )

    def _delete(self, places: Sequence[int]) -> None:
        """Delete bodies and tags at ``places``.

        Tags are found by reading their tree once, some 100 ms for a million records, whatever the number of
        places: erasures are rare, and 32 bytes more in every record would be the price of a shorter way.
        """
        self._database.write("DELETE FROM erasing")
        self._database.write_many("INSERT INTO erasing (place) VALUES (?)", [(place,) for place in places])
        for table in ("portfolio", "body"):
            self._database.write(f"DELETE FROM {table} WHERE place IN (SELECT place FROM erasing)")
        self._database.write("DELETE FROM erasing")

    def _find_places(self, record_hashes: Sequence[bytes]) -> dict[bytes, list[int]]:
        """The places of those hashes that are known, each list ascending."""
        found: dict[bytes, list[int]] = {}
        asked = set(record_hashes)
        for marks, prefixes in batches(sorted({_prefix(record_hash) for record_hash in record_hashes})):
            for record_hash, place in self._database.rows(
                "SELECT record_hash, place FROM record_by_hash JOIN record USING (place) "
                f"WHERE prefix IN ({marks}) ORDER BY place",
                prefixes,
            ):
                if record_hash in asked:
                    found.setdefault(record_hash, []).append(place)
        return found

    def _places(self, record_hash: bytes) -> list[int]:
        return [
            row[0]
            for row in self._database.rows(
                "SELECT place FROM record_by_hash JOIN record USING (place) "
                "WHERE prefix = ? AND record_hash = ? ORDER BY place",
                (_prefix(record_hash), record_hash),
            )
        ]

    def _find_entry(self, entry_id: bytes) -> int | None:
        row = self._database.row(
            "SELECT place FROM entry_by_id JOIN body_entry USING (place) WHERE prefix = ? AND entry_id = ?",
            (_prefix(entry_id), entry_id),
        )
        return None if row is None else int(row[0])

    def _key_numbers(self, places: Sequence[int]) -> list[int]:
        return [
            row[0]
            for marks, batch in batches(places)
            for row in self._database.rows(f"SELECT data_key FROM body WHERE place IN ({marks})", batch)
        ]

    def _erased(self, record_hashes: Sequence[bytes]) -> set[bytes]:
        return {
            row[0]
            for marks, batch in batches(record_hashes)
            for row in self._database.rows(
                f"SELECT record_hash FROM mark WHERE state = 'erased' AND record_hash IN ({marks})", batch
            )
        }

    def _mark(self, record_hash: bytes) -> BodyState | None:
        row = self._database.row("SELECT state FROM mark WHERE record_hash = ?", (record_hash,))
        if row is None:
            return None
        state: BodyState = row[0]
        return state

    def _open_body(self, place: int) -> Body | Gone:
        row = self._database.row("SELECT data_key, sealed FROM body WHERE place = ?", (place,))
        if row is None:
            return Gone.MISSING
        return self._open(row[0], row[1])

    def _open(self, number: int, sealed: bytes) -> Body | Gone:
        key = self._keys.key(number)
        if isinstance(key, Gone):
            return key
        try:
            return _split(keys.unlock(key, _ZERO_NONCE + sealed))
        except Unproven:
            raise StoreError(
                f"{self._database.path}: a body does not open under its key: the file is "
                "damaged; restore a backup and post the entry again"
            ) from None

    def _open_part(self, number: int, sealed: bytes) -> bytes | None:
        opened = self._open(number, sealed)
        return opened.owner if isinstance(opened, Body) else None


def _sealed_pair(data_key: DataKey, owner: bytes, shown: bytes = b"") -> tuple[int, bytes]:
    """Return (number of the key, up to two parts filled to the next step and sealed under it)."""
    plaintext = _LENGTHS.pack(len(owner), len(shown)) + owner + shown
    filled = plaintext + bytes(-len(plaintext) % PADDING_STEP_BYTES)
    # `keys.lock` puts the nonce in front, here 24 zeros that need no room on disk
    return data_key.number, keys.lock(data_key.key, filled, _ZERO_NONCE)[NONCE_BYTES:]


def _split(plaintext: bytes) -> Body:
    owner_length, shown_length = _LENGTHS.unpack_from(plaintext)
    middle = _LENGTHS.size + owner_length
    return Body(plaintext[_LENGTHS.size : middle], plaintext[middle : middle + shown_length])


def _prefix(digest: bytes) -> int:
    """The first 8 bytes as SQL's signed integer; whoever looks up by it compares the whole hash."""
    return int.from_bytes(digest[:8], "big", signed=True)


def _base_of(place: Place) -> int:
    assert place.era >= 1 and 0 <= place.index < 1 << _INDEX_BITS, place
    return ((place.era - 1) << _INDEX_BITS | place.index) << _POSITION_BITS


def _place_of(base: int) -> Place:
    number = base >> _POSITION_BITS
    return Place((number >> _INDEX_BITS) + 1, number & ((1 << _INDEX_BITS) - 1))
