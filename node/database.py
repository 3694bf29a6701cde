"""One SQLite file with its one writing connection; the only module that imports sqlite3 and sqlite-utils.

Rules:
- WAL, ``synchronous=FULL``: what `Database.transaction` committed survives a power cut.
- ``secure_delete`` is on before the first row. Filled without it, a file keeps erased bytes for ever; it is
  set at each connection because Python builds differ in the default.
- Erased bytes leave the files at a truncating `Database.checkpoint` and not before; its answer is checked,
  because an open reader elsewhere makes SQLite skip it without an error.
- Nothing is written outside a transaction, and no cursor stays open between two calls (an open cursor would
  hold a snapshot, and with it the bytes that an erasure must destroy).
- A connection belongs to the thread that opened it; SQLite's driver refuses any other.
- What SQLite or the disk refuses becomes `StoreError`: which file, what is wrong, what to do. After it the
  database is as before the transaction and can be used again.

A store describes its tables as a `Schema`: steps of SQL, each applied once, in order, in one transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeAlias

import sqlite_utils

from ledger.errors import StoreError
from node.durable_file import PRIVATE_MODE, disk_errors, sync_folder

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any]

BUSY_TIMEOUT_MS = 5_000
"""How long a lock of another program is waited for: a backup's read takes less, a second node never ends."""
CACHE_KIB = 64 * 1024
"""The trees of a million records stay in memory; SQLite's own 2 MB cost a quarter more time."""
CHECKPOINT_PAGES = 16_000
"""WAL pages (64 MB) before SQLite copies them back by itself: about six imports of 4,096 records into a
million. At its own 1,000 every such import would write its random pages twice."""
PARAMETERS_MAX = 500
"""Values in one IN list: older SQLite builds allow 999 parameters to a statement."""

_PRAGMAS = (
    "secure_delete = ON",  # first, so that no page is ever written without it
    "journal_mode = WAL",
    "synchronous = FULL",
    "recursive_triggers = ON",  # so that INSERT OR REPLACE meets the triggers that forbid a deletion
    "temp_store = MEMORY",  # no page of ours in a temporary file
    "cell_size_check = ON",  # a damaged page is an error, not a wild read
    f"cache_size = -{CACHE_KIB}",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
)

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and try again; nothing was changed",
    sqlite3.SQLITE_READONLY: "it cannot be written: give this user write access to the file and its folder, "
    "or mount the disk writable; nothing was changed",
    sqlite3.SQLITE_BUSY: "another program has locked it: stop the second node or the tool that holds it and "
    "try again; nothing was changed",
    sqlite3.SQLITE_LOCKED: "it is in use: end what reads it and try again; nothing was changed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the node, keep the file as it is, and restore a "
    "backup or fetch the log back from peers",
    sqlite3.SQLITE_NOTADB: "this is not a database, or its first page is damaged: check the path, else "
    "restore a backup",
    sqlite3.SQLITE_IOERR: "the disk reports an error or has no room: check the disk and its space, then try "
    "again; nothing was changed",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that the folder exists and that this user may write "
    "there",
    sqlite3.SQLITE_PERM: "this user may not open it: check owner and mode of the file",
    sqlite3.SQLITE_CONSTRAINT: "the store's own rules forbid this; nothing was changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of one store: ``steps[n]`` holds the statements that lead from version n to n + 1.

    Steps are only ever added, never edited: a database in use has applied the earlier ones.
    """

    part: str
    steps: tuple[tuple[str, ...], ...]


class Database:
    """The one connection to a database file, opened, checked and migrated."""

    def __init__(
        self,
        path: Path,
        schemas: Sequence[Schema],
        *,
        create: bool = True,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> None:
        """Open ``path``, made with mode 0600 if absent and ``create``; raise `StoreError` otherwise."""
        self.path = path
        with disk_errors(path):
            exists = path.exists()
        if not exists:
            _make_file(path, create)
        with self._errors():
            connection = sqlite3.connect(path, timeout=busy_timeout_ms / 1000, isolation_level=None)
        self._connection = connection
        try:
            with self._errors():
                self._prepare(schemas)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def open_read_only(cls, path: Path, schemas: Sequence[Schema]) -> Self:
        """Open a database to look at it, beside a node that may be running on it; nothing can be written.

        Raises `StoreError` if it is not there, or not of this version.
        """
        with disk_errors(path):
            if not path.is_file():
                raise StoreError(f"{path}: there is no such database")
            # Without write access SQLite cannot make the index of the WAL; then nobody else writes either.
            is_writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        made = cls.__new__(cls)
        made.path = path
        mode = "mode=ro" if is_writable else "mode=ro&immutable=1"
        with made._errors():
            address = f"{path.absolute().as_uri()}?{mode}"
            made._connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            for schema in schemas:
                if made._version(schema) != len(schema.steps):
                    raise StoreError(f"{path}: written by another pledger: start the node with this one")
        except BaseException:
            made._connection.close()
            raise
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; an open transaction is rolled back."""
        self._connection.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a `transaction` is open."""
        return self._connection.in_transaction

    @property
    def changes(self) -> int:
        """Rows written by this connection since it was opened: the same number means the same content."""
        return self._connection.total_changes

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows of a query; inside a transaction it sees that transaction's writes."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self._fail(error)

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Return the first row of a query, or None."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def write(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one writing statement inside a transaction; return how many rows it changed."""
        assert self.in_transaction, "written outside a transaction"
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.Error as error:
            self._fail(error)

    def write_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one writing statement for each of ``rows`` inside a transaction."""
        assert self.in_transaction, "written outside a transaction"
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            self._fail(error)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, durable when the block ends; any exception undoes all of it.

        The write lock is taken at once, so what the block reads cannot change before it writes.
        """
        assert not self.in_transaction, "transactions do not nest"
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self.in_transaction:  # a full disk may have ended it already
                self._run("ROLLBACK")
            raise

    def checkpoint(self) -> None:
        """Copy the WAL into the file and cut it to nothing: erased bytes are in neither after this.

        Raise `StoreError` if another program still reads an older state; what was erased stays readable in
        the files until a later call succeeds.
        """
        assert not self.in_transaction, "a checkpoint inside a transaction does nothing"
        answer = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        if answer is None or answer[0] != 0:
            raise StoreError(
                f"{self.path}: another program is reading it, so erased bytes are still in the "
                "files: end that program (a backup, a query tool) and try again"
            )

    def _run(self, sql: str) -> None:
        with self._errors():
            self._connection.execute(sql).fetchall()

    def _prepare(self, schemas: Sequence[Schema]) -> None:
        for pragma in _PRAGMAS:
            self._run(f"PRAGMA {pragma}")
        utils = sqlite_utils.Database(self._connection, execute_plugins=False)
        for name, wanted in (("journal_mode", "wal"), ("secure_delete", 1), ("synchronous", 2)):
            if self.row(f"PRAGMA {name}") != (wanted,):
                raise StoreError(
                    f"{self.path}: SQLite does not accept {name} = {wanted} here (a network "
                    "drive?): put the database on a local disk"
                )
        tables = utils.table_names()
        if tables and "schema_version" not in tables:
            raise StoreError(f"{self.path}: a database of another program: check the path")
        utils.create_table("schema_version", {"part": str, "version": int}, pk="part", if_not_exists=True)
        for schema in schemas:
            self._migrate(schema)

    def _migrate(self, schema: Schema) -> None:
        """Apply the steps of ``schema`` that this file lacks, all or none of them."""
        if self._version(schema) == len(schema.steps):
            return
        with self.transaction():
            for step in schema.steps[self._version(schema) :]:
                for statement in step:
                    self.write(statement)
            self.write(
                "INSERT INTO schema_version (part, version) VALUES (?, ?) "
                "ON CONFLICT (part) DO UPDATE SET version = excluded.version",
                (schema.part, len(schema.steps)),
            )

    def _version(self, schema: Schema) -> int:
        row = self.row("SELECT version FROM schema_version WHERE part = ?", (schema.part,))
        version = 0 if row is None else int(row[0])
        if version > len(schema.steps):
            raise StoreError(
                f"{self.path}: written by a newer pledger ({schema.part} version {version}, "
                f"this one knows {len(schema.steps)}): install that version"
            )
        return version

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with disk_errors(self.path):
                yield
        except sqlite3.Error as error:
            self._fail(error)

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        """Raise the `StoreError` for what SQLite said; misuse of the driver stays what it is, a bug."""
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
            raise error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
        advice = _ADVICE.get(code, "check the file and the disk; nothing was changed")
        raise StoreError(f"{self.path}: {error}; {advice}") from error


def batches(values: Sequence[Any], size: int = PARAMETERS_MAX) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield ``(question marks, values)`` for IN lists that together cover ``values``."""
    for start in range(0, len(values), size):
        batch = values[start : start + size]
        yield ",".join("?" * len(batch)), batch


def _make_file(path: Path, create: bool) -> None:
    """Make an empty file first, because SQLite would make one that others can read."""
    if not create:
        raise StoreError(f"{path}: there is no such database: check the path, or restore it from a backup")
    with disk_errors(path), contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE))
        sync_folder(path.parent)
