"""`node.key_store`: no key before it is durable, none given twice, none left after erasure."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import Malformed, StoreError
from node import key_store
from node.database import Database
from node.key_store import KEYS_PER_ROW, DataKey, Gone, KeyStore

MASTER = b"m" * 32
SUBJECT = b"p" * 16


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty ``keys.db``."""
    with Database(tmp_path / "keys.db", [key_store.SCHEMA], busy_timeout_ms=0) as opened:
        yield opened


def open_store(database: Database, *, master: bytes = MASTER, seed: int = 1) -> KeyStore:
    return KeyStore(database, master, random.Random(seed).randbytes)


def files(database: Database) -> bytes:
    return b"".join(path.read_bytes() for path in database.path.parent.glob("keys.db*"))


def sealed_row(database: Database, key: DataKey) -> bytes:
    row = database.row("SELECT sealed FROM data_keys WHERE row_number = ?", (key.number >> 7,))
    assert row is not None
    return bytes(row[0])


def test_a_key_is_on_disk_before_it_is_given_out(database: Database, tmp_path: Path) -> None:
    """A copy of the files taken the moment `new_keys` returns (a power cut) opens every key given."""
    store = open_store(database)
    given = [*store.new_keys(1), *store.new_keys(300), *store.new_keys(5)]
    copied = tmp_path / "after power cut"
    copied.mkdir()
    for path in database.path.parent.glob("keys.db*"):
        shutil.copy(path, copied)
    with Database(copied / "keys.db", [key_store.SCHEMA]) as again:
        reopened = open_store(again)
        assert [reopened.key(key.number) for key in given] == [key.key for key in given]


def test_no_key_is_given_out_twice(database: Database) -> None:
    """Over many requests and a restart, numbers and keys are all distinct."""
    store = open_store(database)
    given = [key for count in (1, 1, 200, 0, 123, 124, 125) for key in store.new_keys(count)]
    given += open_store(database, seed=2).new_keys(50)
    assert len({key.number for key in given}) == len({key.key for key in given}) == len(given) == 624
    assert all(0 <= key.number < 2**63 and len(key.key) == 32 for key in given)


def test_single_records_share_a_row_and_its_commit(database: Database) -> None:
    """A hundred keys asked one by one are one row: no commit and no page for each."""
    store = open_store(database)
    for _ in range(KEYS_PER_ROW):
        store.new_keys(1)
    assert database.rows("SELECT count(*) FROM data_keys") == [(1,)]


def test_no_key_stands_in_the_files_in_the_clear(database: Database) -> None:
    """Neither data keys nor the master key are readable in the database or its WAL."""
    keys = open_store(database).new_keys(200)
    before = files(database)
    database.checkpoint()
    for data in (before, files(database)):
        assert MASTER not in data and not any(key.key in data for key in keys)


def test_keys_do_not_show_in_tracebacks(database: Database) -> None:
    """The repr of a key names its number only."""
    (key,) = open_store(database).new_keys(1)
    assert repr(key) == f"DataKey(number={key.number})"


def test_an_erased_key_is_gone_and_its_neighbours_are_not(database: Database) -> None:
    """Erasing blanks exactly the keys named, for this process and the next."""
    store = open_store(database)
    keys = store.new_keys(300)
    erased = keys[3:6] + keys[250:251]
    store.erase(key.number for key in erased)
    store.erase(key.number for key in erased)
    for opened in (store, open_store(database)):
        for key in keys:
            assert opened.key(key.number) == (Gone.ERASED if key in erased else key.key)


def test_the_old_row_is_in_no_file_after_an_erasure(database: Database) -> None:
    """No byte of the row as it was sealed before is left, so the master key cannot bring the key back."""
    store = open_store(database)
    keys = store.new_keys(3 * KEYS_PER_ROW)
    old = sealed_row(database, keys[5])
    assert old in b"".join(path.read_bytes() for path in database.path.parent.glob("keys.db-wal"))
    store.erase([keys[5].number])
    data = files(database)
    assert not any(old[start : start + 16] in data for start in range(0, len(old) - 16, 16))


def test_an_erasure_that_a_reader_holds_up_is_an_error_and_can_be_repeated(database: Database) -> None:
    """A backup that reads meanwhile keeps old bytes in the files: that is said, and a second call ends it."""
    store = open_store(database)
    (key,) = store.new_keys(1)
    old = sealed_row(database, key)
    reader = sqlite3.connect(database.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM data_keys").fetchall()
    with pytest.raises(StoreError, match="reading it"):
        store.erase([key.number])
    assert store.key(key.number) is Gone.ERASED
    reader.close()
    store.erase([key.number])
    assert old[:32] not in files(database)


def test_a_key_erased_before_it_was_given_out_is_not_given_out(database: Database) -> None:
    """A number that somebody guessed and erased never seals a body afterwards."""
    store = open_store(database)
    (first,) = store.new_keys(1)
    store.erase([first.number + 1])
    assert first.number + 1 not in {key.number for key in store.new_keys(KEYS_PER_ROW)}


def test_an_unknown_number_is_missing(database: Database) -> None:
    """A number of a lost row, or a slot that no row has, is missing and erasing it is no error."""
    store = open_store(database)
    (key,) = store.new_keys(1)
    row = key.number >> 7 << 7
    assert store.key(row + (1 << 20)) is Gone.MISSING and store.key(row + KEYS_PER_ROW) is Gone.MISSING
    store.erase([row + (1 << 20), row + KEYS_PER_ROW])
    assert store.key(key.number) == key.key


def test_a_restored_copy_never_gives_out_a_lost_number(database: Database, tmp_path: Path) -> None:
    """After an older ``keys.db`` is put back, keys made since are missing; no new key takes their number."""
    store = open_store(database)
    store.new_keys(10)
    database.checkpoint()
    copy = tmp_path / "old.db"
    shutil.copy(database.path, copy)
    lost = {key.number for key in store.new_keys(500)}
    with Database(copy, [key_store.SCHEMA]) as old:
        restored = open_store(old, seed=9)
        assert not lost & {key.number for key in restored.new_keys(1000)}
        assert restored.key(max(lost)) is Gone.MISSING


def test_another_master_key_opens_nothing_and_says_so(database: Database) -> None:
    """A wrong key file is found at the start, not at the first read."""
    open_store(database)
    with pytest.raises(StoreError, match=r"keys\.db: the master key of this node does not open it"):
        open_store(database, master=b"x" * 32)
    with pytest.raises(Malformed):
        open_store(database, master=b"short")


def test_a_new_master_key_makes_old_copies_worthless(database: Database, tmp_path: Path) -> None:
    """After re-wrapping the old master key opens nothing, erased keys stay erased, tags stay the same."""
    store = open_store(database)
    keys = store.new_keys(200)
    store.erase([keys[0].number])
    tag, old_row = store.subject_tag(SUBJECT), sealed_row(database, keys[150])
    store.rewrap(b"n" * 32)
    assert old_row[:32] not in files(database)
    with pytest.raises(StoreError):
        open_store(database)
    for opened in (store, open_store(database, master=b"n" * 32)):
        assert [opened.key(key.number) for key in keys] == [Gone.ERASED, *(key.key for key in keys[1:])]
        assert opened.subject_tag(SUBJECT) == tag


def test_a_rewrap_that_fails_leaves_everything_under_the_old_master_key(database: Database) -> None:
    """Re-wrapping is whole or not at all."""
    draws = random.Random(4)
    left = 10

    def runs_dry(count: int) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("no randomness")
        return draws.randbytes(count)

    store = KeyStore(database, MASTER, runs_dry)
    keys = store.new_keys(200)
    left = 1
    with pytest.raises(OSError, match="no randomness"):
        store.rewrap(b"n" * 32)
    assert [store.key(key.number) for key in keys] == [key.key for key in keys]
    assert open_store(database).key(keys[0].number) == keys[0].key


def test_rows_exchanged_by_a_thief_are_noticed(database: Database) -> None:
    """A row sealed for one number is not taken for another, though its seal is good."""
    store = open_store(database)
    keys = store.new_keys(2 * KEYS_PER_ROW)
    first, second = keys[0].number >> 7, keys[-1].number >> 7
    with database.transaction():
        database.write(
            "UPDATE data_keys SET sealed = (SELECT sealed FROM data_keys WHERE row_number = ?) "
            "WHERE row_number = ?",
            (first, second),
        )
    with pytest.raises(StoreError, match="tampered"):
        store.key(keys[-1].number)


def test_a_changed_row_is_noticed(database: Database) -> None:
    """A flipped bit in a row is an error, never another key."""
    store = open_store(database)
    (key,) = store.new_keys(1)
    sealed = bytearray(sealed_row(database, key))
    sealed[100] ^= 1
    with database.transaction():
        database.write("UPDATE data_keys SET sealed = ?", (bytes(sealed),))
    with pytest.raises(StoreError, match="damaged"):
        store.key(key.number)


@pytest.mark.parametrize("source", [lambda count: bytes(count), lambda count: b"\x07" * count])
def test_a_broken_random_source_makes_no_keys(database: Database, source: key_store.Random) -> None:
    """Zeros would read as erased and repeats would seal two bodies alike: both are refused, nothing kept."""
    store = KeyStore(database, MASTER, source)
    with pytest.raises(StoreError, match="random source"):
        store.new_keys(1)
    assert database.rows("SELECT count(*) FROM data_keys") == [(0,)]


def test_tags_are_stable_and_blind(database: Database, tmp_path: Path) -> None:
    """Equal inputs give equal tags across restarts; another input, secret or purpose gives another tag."""
    store = open_store(database)
    tags = [
        store.subject_tag(SUBJECT),
        store.subject_tag(b"q" * 16),
        store.identity_tag(SUBJECT, b""),
        store.identity_tag(SUBJECT, b"i"),
        store.identity_tag(b"q" * 16, b"i"),
    ]
    with Database(tmp_path / "other.db", [key_store.SCHEMA]) as other:
        stranger = open_store(other, seed=2)
        assert stranger.fingerprint != store.fingerprint
        tags += [stranger.subject_tag(SUBJECT), stranger.identity_tag(SUBJECT, b"i")]
    assert len(set(tags)) == len(tags) and all(len(tag) == 16 for tag in tags)
    again = open_store(database, seed=8)
    assert again.subject_tag(SUBJECT) == tags[0] and again.identity_tag(SUBJECT, b"i") == tags[3]
    assert again.fingerprint == store.fingerprint
    for bad in (b"", b"p" * 15, b"p" * 17):
        with pytest.raises(Malformed):
            store.subject_tag(bad)
        with pytest.raises(Malformed):
            store.identity_tag(bad, b"i")
