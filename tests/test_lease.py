"""`node.lease`: one process writes a database, and a copy of a database never writes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.errors import Conflict, StoreError
from node import lease
from node.database import Database
from node.lease import Finding, InstanceRecord, check_instance, read_instance, write_instance

RECORD = InstanceRecord(host="node-1", path="/srv/ä/log.db", size=7, root=b"r" * 32)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with nothing but the lease."""
    with Database(tmp_path / "log.db", [lease.SCHEMA], busy_timeout_ms=0) as opened:
        yield opened


def check(database: Database, token: int) -> None:
    with database.transaction():
        lease.check_lease(database, token)


def test_tokens_rise_also_over_restarts(database: Database) -> None:
    """Each holder's token is above all before, so an old one can be told from the newest for ever."""
    tokens = [lease.take_lease(database, "a"), lease.take_lease(database, "b")]
    database.close()
    with Database(database.path, [lease.SCHEMA]) as again:
        tokens.append(lease.take_lease(again, "c"))
        check(again, tokens[-1])
    assert tokens == [1, 2, 3]


def test_a_holder_that_was_overtaken_commits_nothing(database: Database) -> None:
    """A paused process that wakes after another took the lease is refused, and told by whom."""
    mine = lease.take_lease(database, "host 1, process 10")
    check(database, mine)
    with Database(database.path, [lease.SCHEMA], busy_timeout_ms=0) as other:
        theirs = lease.take_lease(other, "host 1, process 11")
        with pytest.raises(Conflict, match="host 1, process 11 has taken over"):
            check(database, mine)
        check(other, theirs)


def test_without_a_lease_nobody_commits(database: Database) -> None:
    """A token that was never given is refused."""
    with pytest.raises(Conflict, match="nobody"):
        check(database, 1)


def test_the_check_belongs_into_the_transaction(database: Database) -> None:
    """Outside of one the answer could be old when it is used, so that is a bug."""
    token = lease.take_lease(database, "a")
    with pytest.raises(AssertionError):
        lease.check_lease(database, token)


def test_a_record_comes_back_and_is_replaced(tmp_path: Path) -> None:
    """What was written last is what is read; nothing else is left in the folder."""
    path = lease.instance_path(tmp_path / "log.db")
    assert path == tmp_path / "log.instance" and read_instance(path) is None
    for size in (7, 8):
        write_instance(path, replace(RECORD, size=size))
        assert read_instance(path) == replace(RECORD, size=size)
    assert [child.name for child in tmp_path.iterdir()] == ["log.instance"]


def test_a_crash_while_writing_leaves_the_old_record(tmp_path: Path) -> None:
    """A half-written new record beside the old one is not read, and the next write replaces it."""
    path = tmp_path / "log.instance"
    write_instance(path, RECORD)
    (tmp_path / ".log.instance.new").write_bytes(b"{ torn")
    assert read_instance(path) == RECORD
    write_instance(path, replace(RECORD, size=8))
    assert read_instance(path) == replace(RECORD, size=8)


def test_a_damaged_record_is_an_error_and_never_another_record(tmp_path: Path) -> None:
    """Cut short at any byte, with any byte changed, or followed by more, it is refused."""
    path = tmp_path / "log.instance"
    write_instance(path, RECORD)
    good = path.read_bytes()
    damaged = [good[:length] for length in range(len(good))] + [good + b" ", good + good]
    for bad in damaged:
        path.write_bytes(bad)
        with pytest.raises(StoreError, match="not an instance record"):
            read_instance(path)
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            other = read_instance(path)
        except StoreError:
            continue
        # a changed letter or digit is another record: host, path, size and root are compared at the start
        assert other != RECORD


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"host": 1}',
        "true",
        "[" * 100_000,
        '{"size": 1e400}',
        '{\n "host": "h",\n "path": "p",\n "root": "' + "00" * 32 + '",\n "size": true\n}\n',
    ],
)
def test_other_json_is_no_record(tmp_path: Path, text: str) -> None:
    """JSON of another shape, however odd, is refused with the same text."""
    path = tmp_path / "log.instance"
    path.write_text(text)
    with pytest.raises(StoreError):
        read_instance(path)


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A missing folder is named, and nothing is left behind."""
    with pytest.raises(StoreError, match="no such file or folder"):
        write_instance(tmp_path / "absent" / "log.instance", RECORD)
    assert list(tmp_path.iterdir()) == []


def judge(
    record: InstanceRecord | None,
    *,
    host: str = RECORD.host,
    path: str = RECORD.path,
    size: int = RECORD.size,
    root: bytes = RECORD.root,
) -> Finding | None:
    """The finding for a database that agrees with `RECORD` unless told otherwise."""
    refusal = check_instance(
        record, host=host, path=path, size=size, root_at=lambda asked: root if asked == RECORD.size else b""
    )
    if refusal is None:
        return None
    assert str(refusal) == refusal.text and "must not go on in this era" in refusal.text
    return refusal.finding


def test_the_database_last_run_on_goes_on(tmp_path: Path) -> None:
    """The same place and head, or a log ahead of the record (a crash before it was written), may go on."""
    assert judge(RECORD) is None
    assert judge(RECORD, size=9) is None
    assert judge(None, size=0) is None


def test_a_copy_of_the_database_does_not_go_on() -> None:
    """Without a record, elsewhere, behind the head or with other leaves, it never sequences in its era."""
    assert judge(None) is Finding.ABSENT
    assert judge(RECORD, host="node-2") is Finding.MOVED
    assert judge(RECORD, path="/srv/copy/log.db") is Finding.MOVED
    assert judge(RECORD, size=6) is Finding.BEHIND
    assert judge(RECORD, size=0) is Finding.BEHIND
    assert judge(RECORD, root=b"x" * 32) is Finding.DIFFERENT
