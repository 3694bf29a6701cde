"""`node.body_store`: bodies found by tag and hash, sealed on disk, and destroyed without a trace."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger import codec, merkle
from ledger.errors import Conflict, StoreError
from ledger.names import Place
from ledger.record import hash_of_parts
from node import body_store, key_store, log_store
from node.body_store import Body, BodyStore, RecordPlace, StoredBody, StoredEntry
from node.database import Database
from node.key_store import KeyStore
from node.log_store import LogStore, StoredLeaf

LOG = "demo/school/1"
MASTER = b"m" * 32
SCHOOL, KIND = "Школа № 12", "subject_result"
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Node:
    """Both databases of a node with their stores, and helpers to make and put entries."""

    folder: Path
    seed: int = 1

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.open()

    def open(self) -> None:
        schemas = [log_store.SCHEMA, body_store.SCHEMA]
        self.database = Database(self.folder / "log.db", schemas, busy_timeout_ms=0)
        self.keys_database = Database(self.folder / "keys.db", [key_store.SCHEMA], busy_timeout_ms=0)
        self.keys = KeyStore(self.keys_database, MASTER, self.draw.randbytes)
        self.log = LogStore(self.database)
        self.bodies = BodyStore(self.database, self.keys)

    def close(self) -> None:
        self.database.close()
        self.keys_database.close()

    def entry(self, index: int, subjects: list[bytes], *, identity: str = "math") -> StoredEntry:
        """An entry of one record for each of ``subjects``, places left between them as padding leaves."""
        records = [self.body(subject, identity) for subject in subjects]
        ordered = sorted(records, key=lambda record: record.record_hash)
        placed = [replace(record, position=2 * number) for number, record in enumerate(ordered)]
        return StoredEntry(
            entry_id=self.draw.randbytes(32),
            place=Place(1, index),
            records=placed,
            padding_seed=self.draw.randbytes(32),
        )

    def body(self, subject: bytes, identity: str) -> StoredBody:
        owner = codec.encode({"salt": self.draw.randbytes(16), "subject": subject, "source": SCHOOL})
        shown = codec.encode(
            {
                "salt": self.draw.randbytes(16),
                "kind": KIND,
                "period": "2026/2027",
                "fields": {"subject": identity, "mark": self.draw.randrange(100)},
            }
        )
        return StoredBody(
            record_hash=hash_of_parts(owner, shown),
            position=0,
            owner=owner,
            shown=shown,
            subject_tag=self.keys.subject_tag(subject),
            identity_tag=self.keys.identity_tag(subject, identity.encode()),
        )

    def put(self, entry: StoredEntry) -> tuple[bytes, ...]:
        with self.database.transaction():
            return self.bodies.put(entry)

    def sequence(self, entry: StoredEntry) -> None:
        """Put an entry with its leaf in one transaction, as the sequencer does."""
        leaf = b"leaf of " + entry.entry_id
        with self.database.transaction():
            self.log.append(
                LOG,
                [
                    StoredLeaf(
                        index=entry.place.index,
                        leaf=leaf,
                        leaf_hash=merkle.leaf_hash(leaf),
                        entry_id=entry.entry_id,
                    )
                ],
            )
            self.bodies.put(entry)

    def sealed(self, record: StoredBody) -> bytes:
        """The record's sealed body as it lies in the database."""
        (row,) = self.database.rows(
            "SELECT sealed FROM body JOIN record USING (place) WHERE record_hash = ?", (record.record_hash,)
        )
        return bytes(row[0])

    def key_of(self, record: StoredBody) -> tuple[bytes, bytes]:
        """The record's data key and the sealed row that it lies in."""
        ((number,),) = self.database.rows(
            "SELECT data_key FROM body JOIN record USING (place) WHERE record_hash = ?", (record.record_hash,)
        )
        key = self.keys.key(number)
        assert isinstance(key, bytes)
        ((row,),) = self.keys_database.rows(
            "SELECT sealed FROM data_keys WHERE row_number = ?", (number >> 7,)
        )
        return key, bytes(row)

    def raw(self) -> bytes:
        """Every byte of every file of the node: both databases, their WALs and shared memory."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """An empty node."""
    made = Node(tmp_path)
    yield made
    made.close()


def pid(number: int) -> bytes:
    return b"pid-%012d" % number


def body_of(record: StoredBody) -> Body:
    return Body(record.owner, record.shown)


def test_bodies_come_back_byte_for_byte_after_a_restart(node: Node) -> None:
    """What was put is got, from sealed rows and keys on disk."""
    entry = node.entry(0, [pid(number) for number in range(300)])
    assert set(node.put(entry)) == {record.record_hash for record in entry.records}
    node.close()
    node.open()
    for record in entry.records:
        assert node.bodies.get(record.record_hash) == body_of(record)
        assert node.bodies.state(record.record_hash) == "held"
    assert node.bodies.padding_seed(entry.entry_id) == entry.padding_seed


def test_a_record_is_found_by_its_hash(node: Node) -> None:
    """Its entry, the entry's leaf and its index among the entry's hashes are what a path is made from."""
    entries = [node.entry(index, [pid(1), pid(2), pid(3)]) for index in (0, 1, 5)]
    late = replace(node.entry(7, [pid(1)]), place=Place(3, 7))
    for entry in (*entries, late):
        node.put(entry)
        for record in entry.records:
            assert node.bodies.find(record.record_hash) == RecordPlace(
                entry_id=entry.entry_id, place=entry.place, position=record.position
            )
        assert node.bodies.records_of(entry.entry_id) == [
            (record.position, record.record_hash) for record in entry.records
        ]
    assert node.bodies.find(b"?" * 32) is None and node.bodies.records_of(b"?" * 32) == []


def test_one_subject_is_listed_in_the_order_of_the_log(node: Node) -> None:
    """All of a child's records and no other child's, whatever order bodies arrived in, eras end to end."""
    entries = [node.entry(index, [pid(number) for number in range(20)]) for index in range(6)]
    entries.append(replace(node.entry(0, [pid(4)]), place=Place(2, 0)))
    for place in (3, 6, 0, 5, 1, 4, 2):
        node.put(entries[place])
    tag = node.keys.subject_tag(pid(4))
    expected = [
        record.record_hash for entry in entries for record in entry.records if record.subject_tag == tag
    ]
    assert len(expected) == 7 and node.bodies.by_subject(tag) == expected
    assert node.bodies.by_subject(node.keys.subject_tag(pid(99))) == []


def test_one_identity_is_listed_with_the_newest_last(node: Node) -> None:
    """A record and its corrections share an identity and come in the order of the log."""
    entries = [node.entry(0, [pid(1)]), node.entry(1, [pid(1)], identity="history"), node.entry(2, [pid(1)])]
    for entry in reversed(entries):
        node.put(entry)
    (first,), (_,), (second,) = (entry.records for entry in entries)
    assert node.bodies.by_identity(first.subject_tag, first.identity_tag) == [
        first.record_hash,
        second.record_hash,
    ]
    assert node.bodies.by_identity(node.keys.subject_tag(pid(2)), first.identity_tag) == []


def test_reads_see_the_open_transaction_and_nothing_of_an_undone_one(node: Node) -> None:
    """Records of the batch being judged are visible to it; after a failure they are not there."""
    entry = node.entry(0, [pid(1), pid(2)])
    record = entry.records[0]

    def fail() -> None:
        with node.database.transaction():
            node.bodies.put(entry)
            assert node.bodies.get(record.record_hash) == body_of(record)
            assert node.bodies.by_subject(record.subject_tag) == [record.record_hash]
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError):
        fail()
    assert node.bodies.state(record.record_hash) == "missing" and node.bodies.find(record.record_hash) is None
    assert node.bodies.by_subject(record.subject_tag) == [] and node.bodies.records_of(entry.entry_id) == []
    node.put(entry)
    assert node.bodies.get(record.record_hash) == body_of(record)


def test_another_entry_at_the_same_place_is_a_conflict(node: Node) -> None:
    """Two entries cannot stand at one index; the second changes nothing."""
    first, second = node.entry(0, [pid(1)]), node.entry(0, [pid(2)])
    node.put(first)
    with pytest.raises(Conflict, match="index 0 of era 1"):
        node.put(second)
    assert node.bodies.by_subject(second.records[0].subject_tag) == []
    assert node.bodies.get(first.records[0].record_hash) is not None


def test_posting_again_stores_nothing_twice(node: Node) -> None:
    """A held body stays as it is, under its own key."""
    entry = node.entry(0, [pid(1), pid(2)])
    node.put(entry)
    before = [node.sealed(record) for record in entry.records]
    assert node.put(entry) == ()
    assert [node.sealed(record) for record in entry.records] == before
    assert node.database.rows("SELECT count(*) FROM record") == [(2,)]


def test_a_record_that_stands_in_two_entries_has_one_body(node: Node) -> None:
    """A list signed again by a colleague names the same records: they are not kept or listed twice."""
    entry = node.entry(0, [pid(1)])
    (record,) = entry.records
    again = replace(entry, entry_id=b"2" * 32, place=Place(1, 1), records=[replace(record, position=3)])
    node.put(entry)
    assert node.put(again) == ()
    assert node.bodies.by_subject(record.subject_tag) == [record.record_hash]
    assert node.bodies.records_of(again.entry_id) == [(3, record.record_hash)]
    place = node.bodies.find(record.record_hash)
    assert place is not None and place.entry_id == entry.entry_id
    node.bodies.erase([record.record_hash])
    assert node.bodies.state(record.record_hash) == "erased"


def test_hashes_with_equal_beginnings_are_told_apart(node: Node) -> None:
    """Eight equal bytes, which an author can grind out, do not make one record pass for another."""
    entry = node.entry(0, [pid(1), pid(2)])
    one, two = (
        replace(record, record_hash=b"same 8b!" + bytes([number]) * 24)
        for number, record in enumerate(entry.records)
    )
    node.put(replace(entry, records=[one, two]))
    twin = replace(node.entry(1, [pid(3)]), entry_id=entry.entry_id[:8] + b"t" * 24)
    node.put(twin)
    assert node.bodies.get(one.record_hash) == body_of(one)
    assert node.bodies.get(two.record_hash) == body_of(two)
    assert node.bodies.state(b"same 8b!" + b"x" * 24) == "missing"
    assert len(node.bodies.records_of(entry.entry_id)) == 2
    assert len(node.bodies.records_of(twin.entry_id)) == 1
    node.bodies.erase([one.record_hash])
    assert node.bodies.get(two.record_hash) == body_of(two)


def test_scope_openings_and_seeds_are_kept_sealed(node: Node) -> None:
    """What opens a committed scope, and what tells padding from records, is not readable on disk."""
    entry = node.entry(0, [pid(1)])
    opening = codec.encode({"salt": b"s" * 16, "role": "teacher", "unit": SCHOOL, "kinds": [KIND]})
    node.put(replace(entry, records=(), scopes={b"c" * 32: opening, b"d" * 32: b"other"}))
    assert node.bodies.scope(b"c" * 32) == opening and node.bodies.scope(b"d" * 32) == b"other"
    assert node.bodies.scope(b"e" * 32) is None
    assert node.bodies.padding_seed(b"?" * 32) is None
    assert entry.padding_seed is not None
    assert opening not in node.raw() and entry.padding_seed not in node.raw()
    public = StoredEntry(entry_id=b"p" * 32, place=Place(1, 1))
    node.put(public)
    assert node.bodies.padding_seed(public.entry_id) is None


def test_nothing_of_a_record_is_readable_in_any_file(node: Node) -> None:
    """Pseudonym, kind, school, fields and data keys are in neither database nor WAL, before and after."""
    entry = node.entry(0, [pid(number) for number in range(200)])
    node.sequence(entry)
    canaries = [
        pid(3),
        b"pid-0000",
        KIND.encode(),
        SCHOOL.encode(),
        "Школа".encode(),
        b"math",
        b"2026/2027",
        *(node.key_of(record)[0] for record in entry.records),
    ]
    open_files = node.raw()
    node.database.checkpoint()
    node.keys_database.checkpoint()
    for data in (open_files, node.raw()):
        assert not [canary for canary in canaries if canary in data]


def test_the_length_of_a_sealed_body_says_little(node: Node) -> None:
    """Bodies that differ by a few bytes are sealed to one length."""
    subjects = [pid(1), pid(2)]
    short, long = node.entry(0, subjects, identity="art"), node.entry(1, subjects, identity="geography")
    node.put(short)
    node.put(long)
    lengths = {len(node.sealed(record)) for entry in (short, long) for record in entry.records}
    assert all(length % body_store.PADDING_STEP_BYTES == 16 for length in lengths) and len(lengths) <= 2


def test_erased_bodies_are_in_no_byte_of_any_file(node: Node) -> None:
    """Sealed body, data key, the row that held it, and tags: gone from both databases and their WALs."""
    draw = random.Random(5)
    entries = [
        node.entry(index, [pid(draw.randrange(60)) for _ in range(draw.choice([1, 3, 80]))])
        for index in range(40)
    ]
    for entry in entries:
        node.sequence(entry)
    records = [record for entry in entries for record in entry.records]
    erased = draw.sample(records, len(records) // 3)
    kept = [record for record in records if record not in erased]
    traces = [
        trace
        for record in erased
        for trace in (
            node.sealed(record)[:24],
            node.sealed(record)[-24:],
            *node.key_of(record),
            node.key_of(record)[1][-24:],
        )
    ]
    tags = {record.subject_tag for record in erased} - {record.subject_tag for record in kept}
    tags |= {record.identity_tag for record in erased} - {record.identity_tag for record in kept}
    before = node.raw()
    assert all(node.sealed(record) in before for record in erased)
    for start in range(0, len(erased), 50):
        node.bodies.erase([record.record_hash for record in erased[start : start + 50]])
    after = node.raw()
    assert not [trace for trace in traces if trace in after]
    assert not [tag for tag in tags if tag in after]
    assert all(node.bodies.state(record.record_hash) == "erased" for record in erased)
    assert all(node.bodies.get(record.record_hash) == body_of(record) for record in kept)


def test_an_erasure_keeps_what_the_neighbours_paths_need(node: Node) -> None:
    """The erased record's hash and position stay, it leaves the child's list, the log is untouched."""
    entry = node.entry(0, [pid(1), pid(2), pid(3)])
    node.sequence(entry)
    gone, *others = entry.records
    places = node.bodies.records_of(entry.entry_id)
    node.bodies.erase([gone.record_hash])
    assert node.bodies.records_of(entry.entry_id) == places
    assert node.bodies.find(gone.record_hash) is not None
    assert node.bodies.by_subject(gone.subject_tag) == []
    assert node.bodies.by_identity(gone.subject_tag, gone.identity_tag) == []
    assert [node.bodies.by_subject(record.subject_tag) for record in others] == [
        [record.record_hash] for record in others
    ]
    assert node.log.size(LOG) == 1 and node.bodies.padding_seed(entry.entry_id) == entry.padding_seed


def test_an_erased_body_does_not_come_back_by_posting_again(node: Node) -> None:
    """Neither under its own entry nor a new one, and not for a hash erased before it ever came."""
    entry, never = node.entry(0, [pid(1), pid(2)]), node.entry(1, [pid(3)])
    node.put(entry)
    gone = entry.records[0]
    node.bodies.erase([gone.record_hash, never.records[0].record_hash])
    node.bodies.erase([gone.record_hash])
    again = replace(entry, entry_id=b"n" * 32, place=Place(1, 5), records=[gone])
    for posted in (entry, again, never):
        assert node.put(posted) == ()
    for record in (gone, never.records[0]):
        assert node.bodies.state(record.record_hash) == "erased"
        assert node.bodies.get(record.record_hash) is None
        assert node.bodies.by_subject(record.subject_tag) == []


def test_a_restored_copy_of_the_log_alone_does_not_open_an_erased_body(node: Node) -> None:
    """Its key is gone from the key database, so an old ``log.db`` holds only noise and says erased."""
    entry = node.entry(0, [pid(1), pid(2)])
    node.put(entry)
    node.database.checkpoint()
    shutil.copy(node.folder / "log.db", node.folder.parent / "old.db")
    gone, kept = entry.records
    node.bodies.erase([gone.record_hash])
    node.close()
    shutil.copy(node.folder.parent / "old.db", node.folder / "log.db")
    node.open()
    assert node.bodies.get(gone.record_hash) is None and node.bodies.state(gone.record_hash) == "erased"
    assert node.put(entry) == ()
    assert node.bodies.get(kept.record_hash) == body_of(kept)
    node.bodies.erase([gone.record_hash])
    assert node.bodies.by_subject(gone.subject_tag) == []


def test_bodies_whose_keys_were_lost_are_missing_and_restored_by_posting(node: Node) -> None:
    """With an older key database later bodies are missing; posting the entry again makes them held."""
    first = node.entry(0, [pid(1)])
    node.put(first)
    node.keys_database.checkpoint()
    shutil.copy(node.folder / "keys.db", node.folder.parent / "old-keys.db")
    lost = node.entry(1, [pid(number) for number in range(300)])
    node.put(lost)
    node.close()
    shutil.copy(node.folder.parent / "old-keys.db", node.folder / "keys.db")
    node.open()
    missing = {
        record.record_hash for record in lost.records if node.bodies.state(record.record_hash) == "missing"
    }
    assert len(missing) > 100 and node.bodies.get(next(iter(missing))) is None
    assert node.bodies.state(first.records[0].record_hash) == "held"
    assert set(node.put(lost)) == missing
    for record in lost.records:
        assert node.bodies.get(record.record_hash) == body_of(record)
        assert node.bodies.by_subject(record.subject_tag)[-1] == record.record_hash


def test_a_key_database_of_another_node_is_refused(node: Node) -> None:
    """A new or foreign ``keys.db`` would find no child by tag; that is said at the start."""
    node.put(node.entry(0, [pid(1)]))
    node.close()
    (node.folder / "keys.db").unlink()
    with pytest.raises(StoreError, match=r"log\.db: the key database is new or another node's"):
        node.open()


def test_keys_are_durable_before_the_log_that_uses_them(node: Node, tmp_path: Path) -> None:
    """In a copy of all files taken inside the transaction the keys are there and the bodies are not yet."""
    entry = node.entry(0, [pid(1)])
    copy = tmp_path / "copy"
    with node.database.transaction():
        node.bodies.put(entry)
        number = node.database.rows("SELECT data_key FROM body")[0][0]
        key = node.keys.key(number)
        copy.mkdir()
        for path in list(tmp_path.iterdir()):
            if path.is_file():
                shutil.copy(path, copy)
    crashed = Node(copy)
    assert crashed.keys.key(number) == key
    assert crashed.bodies.state(entry.records[0].record_hash) == "missing"
    crashed.put(entry)
    assert crashed.bodies.get(entry.records[0].record_hash) == body_of(entry.records[0])
    crashed.close()


def test_a_crash_after_the_keys_leaves_bodies_erased(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys go first: if the log's database then fails, the body no longer opens, and a repeat ends it."""
    entry = node.entry(0, [pid(1), pid(2)])
    node.put(entry)
    gone, kept = entry.records

    def fail(_: object) -> None:
        raise StoreError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(node.bodies, "_delete", fail)
        with pytest.raises(StoreError, match="power cut"):
            node.bodies.erase([gone.record_hash])
    node.close()
    node.open()
    assert node.bodies.get(gone.record_hash) is None and node.bodies.state(gone.record_hash) == "erased"
    assert node.put(entry) == ()
    node.bodies.erase([gone.record_hash])
    assert node.bodies.by_subject(gone.subject_tag) == []
    assert node.bodies.get(kept.record_hash) == body_of(kept)


@pytest.mark.parametrize("name", ["log.db", "keys.db"])
def test_a_reader_that_keeps_erased_bytes_in_the_files_is_reported(node: Node, name: str) -> None:
    """While a backup reads either database the erasure ends in an error; repeated after it, all is gone."""
    entry = node.entry(0, [pid(1), pid(2)])
    node.put(entry)
    gone = entry.records[0]
    sealed, (key, row) = node.sealed(gone), node.key_of(gone)
    reader = sqlite3.connect(node.folder / name, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_master").fetchall()
    with pytest.raises(StoreError, match=f"{name}: another program is reading it"):
        node.bodies.erase([gone.record_hash])
    assert node.bodies.state(gone.record_hash) == "erased"
    reader.close()
    node.bodies.erase([gone.record_hash])
    assert not [trace for trace in (sealed[:24], key, row[:32]) if trace in node.raw()]


def test_marks_tell_why_a_body_is_not_here(node: Node) -> None:
    """Withheld and elsewhere are shown while nothing better is known; erased is final, held wins."""
    entry = node.entry(0, [pid(1), pid(2)])
    one, two = (record.record_hash for record in entry.records)
    assert node.bodies.state(one) == "missing"
    with node.database.transaction():
        node.bodies.mark([one, two], "withheld")
        node.bodies.mark([one], "elsewhere")
    assert node.bodies.state(one) == "elsewhere" and node.bodies.state(two) == "withheld"
    node.put(entry)
    assert node.bodies.state(one) == "held"
    node.bodies.erase([one])
    with node.database.transaction():
        node.bodies.mark([one], "withheld")
    assert node.bodies.state(one) == "erased"


def test_a_changed_body_is_an_error_and_never_other_facts(node: Node) -> None:
    """A flipped bit, or another record's sealed bytes put in place, does not open."""
    entry = node.entry(0, [pid(1), pid(2)])
    node.put(entry)
    record, other = entry.records
    sealed = bytearray(node.sealed(record))
    sealed[-1] ^= 1
    for changed in (bytes(sealed), node.sealed(other), b""):
        with node.database.transaction():
            node.database.write(
                "UPDATE body SET sealed = ? WHERE place = (SELECT place FROM record WHERE record_hash = ?)",
                (changed, record.record_hash),
            )
        with pytest.raises(StoreError, match=r"log\.db: a body does not open"):
            node.bodies.get(record.record_hash)


def test_a_full_disk_refuses_the_whole_entry(node: Node) -> None:
    """When ``log.db`` cannot grow, neither leaf nor bodies are kept; freed, the same entry goes in."""
    first, second = node.entry(0, [pid(1)]), node.entry(1, [pid(number) for number in range(500)])
    node.sequence(first)
    ((pages,),) = node.database.rows("PRAGMA page_count")
    node.database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        node.sequence(second)
    assert node.log.size(LOG) == 1 and node.bodies.records_of(second.entry_id) == []
    node.database.rows(f"PRAGMA max_page_count = {pages + 1000}")
    node.sequence(second)
    assert node.log.size(LOG) == 2 and len(node.bodies.records_of(second.entry_id)) == 500


def test_a_full_key_database_refuses_the_whole_entry(node: Node) -> None:
    """When no key can be made durable, no body is stored under one that is not."""
    node.sequence(node.entry(0, [pid(1)]))
    second = node.entry(1, [pid(number) for number in range(500)])
    ((pages,),) = node.keys_database.rows("PRAGMA page_count")
    node.keys_database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"keys\.db: .*full"):
        node.sequence(second)
    assert node.log.size(LOG) == 1 and node.bodies.records_of(second.entry_id) == []
    node.keys_database.rows(f"PRAGMA max_page_count = {pages + 1000}")
    node.sequence(second)
    assert node.bodies.state(second.records[7].record_hash) == "held"


def test_bodies_do_not_show_in_tracebacks(node: Node) -> None:
    """The repr of what passes through the store shows no part of a record and no seed."""
    entry = node.entry(0, [pid(1)])
    node.put(entry)
    text = repr(entry) + repr(node.bodies.get(entry.records[0].record_hash))
    assert "pid-" not in text and repr(entry.padding_seed) not in text and "math" not in text


def test_only_this_module_deletes_what_is_kept() -> None:
    """In the whole of ledger, node and cli the statement DELETE FROM stands in five modules."""
    modules = [path for package in ("ledger", "node", "cli") for path in (REPOSITORY / package).glob("*.py")]
    deleting = {
        path.name
        for path in modules
        if re.search(r"DELETE\s+FROM|REPLACE\s+INTO|DROP\s+TABLE", path.read_text(), re.IGNORECASE)
    }
    # nonces too old to matter, access records that the log has, old cosignatures: none of them a body
    assert deleting == {
        "body_store.py",
        "journal.py",
        "nonces.py",
        "log_store.py",
        "evidence_store.py",  # beyond 64 pieces of an era, and notes that are explained
    }
    assert len(re.findall(r"DELETE FROM", (REPOSITORY / "node" / "log_store.py").read_text())) == 1
