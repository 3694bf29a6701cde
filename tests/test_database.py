"""`node.database`: what is committed survives, what fails changes nothing, what is erased is gone."""

from __future__ import annotations

import ast
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import StoreError
from node.database import Database, Schema, batches

NOTES = Schema(part="notes", steps=(("CREATE TABLE note (id INTEGER PRIMARY KEY, text BLOB NOT NULL)",),))
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open database with one table of notes."""
    with Database(tmp_path / "a.db", [NOTES], busy_timeout_ms=0) as opened:
        yield opened


def add(database: Database, text: bytes) -> None:
    with database.transaction():
        database.write("INSERT INTO note (text) VALUES (?)", (text,))


def texts(database: Database) -> list[bytes]:
    return [row[0] for row in database.rows("SELECT text FROM note ORDER BY id")]


def test_what_was_committed_is_there_after_reopening(database: Database) -> None:
    """A commit outlives the connection that made it."""
    add(database, b"kept")
    database.close()
    with Database(database.path, [NOTES]) as again:
        assert texts(again) == [b"kept"]


def test_kill_in_the_middle_of_a_transaction_leaves_the_last_commit(tmp_path: Path) -> None:
    """A process killed with SIGKILL inside a transaction loses that transaction and nothing before it."""
    program = (
        "import sys, pathlib; from node.database import Database\n"
        "from tests.test_database import NOTES, add\n"
        f"database = Database(pathlib.Path({str(tmp_path / 'a.db')!r}), [NOTES])\n"
        "add(database, b'kept')\n"
        "with database.transaction():\n"
        "    database.write('INSERT INTO note (text) VALUES (?)', (b'lost',))\n"
        "    print('inside', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"inside\n"
        process.send_signal(signal.SIGKILL)
    with Database(tmp_path / "a.db", [NOTES], busy_timeout_ms=0) as database:
        assert texts(database) == [b"kept"]
        add(database, b"next")


def test_an_exception_undoes_the_transaction_and_passes_through(database: Database) -> None:
    """Whatever the block raises, nothing of it is kept, and the caller sees the same exception."""
    add(database, b"before")

    def fail() -> None:
        with database.transaction():
            database.write("INSERT INTO note (text) VALUES (?)", (b"never",))
            raise KeyError("mine")

    with pytest.raises(KeyError):
        fail()
    assert texts(database) == [b"before"] and not database.in_transaction


def test_reads_in_a_transaction_see_its_writes(database: Database) -> None:
    """What the block wrote is what the block reads."""
    with database.transaction():
        assert database.write("INSERT INTO note (text) VALUES (?)", (b"now",)) == 1
        database.write_many("INSERT INTO note (text) VALUES (?)", [(b"and",), (b"then",)])
        assert texts(database) == [b"now", b"and", b"then"]


def test_writing_outside_a_transaction_and_nesting_are_bugs(database: Database) -> None:
    """Misuse by our own code stops at once instead of committing something by halves."""
    with pytest.raises(AssertionError):
        database.write("DELETE FROM note")
    with pytest.raises(AssertionError):
        database.write_many("INSERT INTO note (text) VALUES (?)", [(b"x",)])
    with database.transaction(), pytest.raises(AssertionError), database.transaction():
        pass
    assert texts(database) == []


def test_another_thread_is_refused(database: Database) -> None:
    """A connection is used only by the thread that opened it."""
    caught: list[BaseException] = []

    def use() -> None:
        try:
            database.rows("SELECT 1")
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_a_full_disk_changes_nothing_and_work_goes_on_when_it_is_freed(database: Database) -> None:
    """SQLite's answer for a full disk becomes a text that says so; afterwards everything works again."""
    add(database, b"before")
    (pages,) = database.row("PRAGMA page_count") or (0,)
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"a\.db: .*full.*free some space"):
        add(database, bytes(100_000))
    assert texts(database) == [b"before"] and not database.in_transaction
    database.rows(f"PRAGMA max_page_count = {pages + 1000}")
    add(database, bytes(100_000))
    assert len(texts(database)) == 2


def test_a_write_refused_by_the_system_in_the_commit_changes_nothing(database: Database) -> None:
    """When the file cannot grow at the moment of COMMIT, the caller learns it and nothing is kept."""
    add(database, b"before")
    wal = database.path.with_name("a.db-wal").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 4096, limits[1]))
    try:
        with pytest.raises(StoreError, match="check the disk and its space"):
            add(database, bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert texts(database) == [b"before"] and not database.in_transaction
    add(database, b"after")
    database.close()
    with Database(database.path, [NOTES]) as again:
        assert texts(again) == [b"before", b"after"]


def test_a_read_only_database_is_named_and_can_be_read(database: Database) -> None:
    """A refusal to write says that the file cannot be written and what to do."""
    add(database, b"before")
    database.rows("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match=r"a\.db: .*readonly.*write access"):
        add(database, b"never")
    assert texts(database) == [b"before"] and not database.in_transaction
    database.rows("PRAGMA query_only = OFF")
    add(database, b"after")
    assert texts(database) == [b"before", b"after"]


def test_a_second_writer_is_told_that_the_database_is_locked(database: Database) -> None:
    """Two connections never write at once; the second changes nothing and may try again."""
    with Database(database.path, [NOTES], busy_timeout_ms=0) as second:
        with database.transaction():
            database.write("INSERT INTO note (text) VALUES (?)", (b"first",))
            with pytest.raises(StoreError, match=r"locked.*stop the second node"):
                add(second, b"second")
        add(second, b"second")
        assert texts(database) == [b"first", b"second"]


def test_a_damaged_file_is_named_as_damaged(database: Database) -> None:
    """Overwritten pages are reported as damage, with what to do, and not as some other error."""
    for _ in range(50):
        add(database, bytes(3000))
    database.close()
    data = bytearray(database.path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    database.path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged: stop the node"), Database(database.path, [NOTES]) as again:
        texts(again)


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    """A text file given as a database stays as it is."""
    path = tmp_path / "a.db"
    path.write_bytes(b"dear diary " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        Database(path, [NOTES])
    assert path.read_bytes() == b"dear diary " * 1000


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A wrong path to somebody else's SQLite file does not add our tables to it."""
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        Database(path, [NOTES])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    connection.close()


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    """An absent database is made only when asked for, and an absent folder never."""
    with pytest.raises(StoreError, match=r"a\.db: there is no such database"):
        Database(tmp_path / "a.db", [NOTES], create=False)
    assert not (tmp_path / "a.db").exists()
    with pytest.raises(StoreError, match="no such file or folder"):
        Database(tmp_path / "absent" / "a.db", [NOTES])


def test_only_the_owner_may_read_the_files(database: Database) -> None:
    """Database and WAL are made with mode 0600 whatever the umask."""
    add(database, b"x")
    for name in ("a.db", "a.db-wal"):
        mode = stat.S_IMODE(os.stat(database.path.with_name(name)).st_mode)
        assert mode == 0o600, name


def test_the_promised_settings_hold(database: Database) -> None:
    """Durability and deletion rest on these settings, so they are read back."""
    names = ("journal_mode", "synchronous", "secure_delete", "recursive_triggers", "temp_store")
    assert [database.row(f"PRAGMA {name}") for name in names] == [("wal",), (2,), (1,), (1,), (2,)]


def test_each_step_of_a_schema_is_applied_once_and_in_order(database: Database) -> None:
    """A newer program adds its steps to an older file and keeps what is in it."""
    add(database, b"old")
    database.close()
    newer = Schema(
        part="notes",
        steps=(
            *NOTES.steps,
            ("ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 0", "UPDATE note SET stars = 5"),
        ),
    )
    for _ in range(2):
        with Database(database.path, [newer]) as again:
            assert again.rows("SELECT text, stars FROM note") == [(b"old", 5)]


def test_a_step_that_fails_leaves_the_older_version(database: Database) -> None:
    """A migration is applied whole or not at all."""
    add(database, b"old")
    database.close()
    broken = Schema(part="notes", steps=(*NOTES.steps, ("DELETE FROM note", "CREATE TABLE note (id)")))
    with pytest.raises(StoreError, match="already exists"):
        Database(database.path, [broken])
    with Database(database.path, [NOTES]) as again:
        assert texts(again) == [b"old"]


def test_a_file_written_by_a_newer_program_is_refused(database: Database) -> None:
    """An older program does not work on tables that it does not know."""
    database.close()
    with pytest.raises(StoreError, match="newer pledger"):
        Database(database.path, [Schema(part="notes", steps=())])


def test_deleted_bytes_are_in_no_file_after_a_checkpoint(database: Database) -> None:
    """`secure_delete` and a truncating checkpoint together remove what was deleted."""
    add(database, b"CANARY-" * 1000)
    database.checkpoint()
    with database.transaction():
        database.write("DELETE FROM note")
    database.checkpoint()
    files = [path.read_bytes() for path in database.path.parent.iterdir()]
    assert len(files) == 3 and not any(b"CANARY" in data for data in files)


def test_a_checkpoint_that_a_reader_prevents_is_an_error(database: Database) -> None:
    """An open reader makes SQLite skip the checkpoint without an error; we report it and can repeat it."""
    add(database, b"CANARY")
    reader = sqlite3.connect(database.path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM note").fetchall() == [(1,)]
    with database.transaction():
        database.write("DELETE FROM note")
    with pytest.raises(StoreError, match="another program is reading it"):
        database.checkpoint()
    reader.execute("ROLLBACK")
    reader.close()
    database.checkpoint()
    assert not any(b"CANARY" in path.read_bytes() for path in database.path.parent.iterdir())


def test_batches_cover_all_values_once() -> None:
    """IN lists are cut without loss and never exceed what SQLite takes."""
    values = list(range(1201))
    parts = list(batches(values))
    assert [value for _, part in parts for value in part] == values
    assert all(marks.count("?") == len(part) <= 500 for marks, part in parts)
    assert list(batches([])) == []


def test_only_this_module_imports_sqlite() -> None:
    """The driver stays behind one module, so that a second store can stand beside it."""
    for path in [
        *(REPOSITORY / "node").glob("*.py"),
        *(REPOSITORY / "ledger").glob("*.py"),
        *(REPOSITORY / "cli").glob("*.py"),
    ]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        if path.name != "database.py":
            assert not {"sqlite3", "sqlite_utils"} & {name.split(".")[0] for name in names}, path
