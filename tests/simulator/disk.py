"""A node's disk: real files, with a step before and after each thing that becomes durable.

`installed` puts these steps around `Database.transaction` and the one function that replaces small files, for
the time of a run; the production code knows nothing of it. A crash keeps the files exactly as they are at
that step (`Disk.freeze`), and what the dying code still does to them (a rollback, a file tidied away) is
undone when the node starts again from what was kept (`Disk.thaw`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from node import durable_file
from node.database import Database

_GARBAGE_BYTES_MAX = 9_000
"""Two pages of a WAL: a frame begun, and what lay on the disk before."""


class Crash(BaseException):
    """The machine stops here; no code of the node may catch it and go on."""


class Disk:
    """The data directory of one machine."""

    def __init__(self, data: Path, random: Random, is_torn: bool, step: Callable[[str], None]) -> None:
        """``step`` is called at each step, and raises `Crash` where the machine stops."""
        self.data = data
        self.step = step
        self._random = random
        self._is_torn = is_torn
        self._kept: dict[str, bytes] | None = None
        self._opened: list[Database] = []

    def opened(self, database: Database) -> None:
        """Take note of a database: it is closed before the files are put back."""
        self._opened.append(database)

    def copy(self) -> dict[str, bytes]:
        """The files as they are now; the WAL's index is made anew by whoever opens them."""
        files = sorted(path for path in self.data.glob("**/*") if path.is_file())
        return {
            path.relative_to(self.data).as_posix(): path.read_bytes()
            for path in files
            if not path.name.endswith("-shm")
        }

    def freeze(self, files: dict[str, bytes] | None = None) -> None:
        """Keep the files as they are at this step, or ``files``: what `thaw` brings back."""
        self._kept = self._torn(self.copy()) if files is None else files

    def thaw(self) -> None:
        """Put the kept files back; nothing of the stopped machine holds them any more."""
        self.close()
        if self._kept is not None:
            self.put(self._kept)
        self._kept = None

    def put(self, files: dict[str, bytes]) -> None:
        """Make ``files`` all there is."""
        for path in list(self.data.glob("**/*")):
            if path.is_file():
                path.unlink()
        for name, content in files.items():
            path = self.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def close(self) -> None:
        """Close all databases."""
        for database in self._opened:
            database.close()
        self._opened.clear()

    def committed(self, path: Path, wal_bytes: int) -> None:
        """The step after a commit; a crash in it may find only a part of its frames on the disk."""
        try:
            self.step("committed")
        except Crash:
            if self._is_torn and self._kept is not None and self._random.random() < 0.5:
                name = f"{path.name}-wal"
                written = self._kept.get(name, b"")
                if wal_bytes < len(written):
                    self._kept[name] = written[: self._random.randrange(wal_bytes, len(written))]
            raise

    def _torn(self, files: dict[str, bytes]) -> dict[str, bytes]:
        if self._is_torn:
            for name in files:
                if name.endswith("-wal") and files[name] and self._random.random() < 0.5:
                    files[name] += self._tail(files[name])
        return files

    def _tail(self, wal: bytes) -> bytes:
        """Half of a frame like the last one, or whatever lay there."""
        count = self._random.randrange(1, _GARBAGE_BYTES_MAX)
        return wal[-count:] if self._random.random() < 0.5 else self._random.randbytes(count)


@contextlib.contextmanager
def installed(disks: Callable[[], list[Disk]]) -> Iterator[None]:
    """Put steps around what becomes durable, on the disks there are."""
    open_database, transaction, replace = Database.__init__, Database.transaction, durable_file._replace

    def disk_of(path: Path) -> Disk | None:
        return next((disk for disk in disks() if path.is_relative_to(disk.data)), None)

    def opening(self: Database, path: Path, *arguments: Any, **options: Any) -> None:
        disk = disk_of(path)
        if disk is not None:
            disk.step("open")
        open_database(self, path, *arguments, **options)
        if disk is not None:
            disk.opened(self)

    @contextlib.contextmanager
    def stepped(self: Database) -> Iterator[None]:
        disk = disk_of(self.path)
        if disk is None:
            with transaction(self):
                yield
            return
        disk.step("begin")
        wal = self.path.with_name(f"{self.path.name}-wal")
        wal_bytes = wal.stat().st_size if wal.exists() else 0
        with transaction(self):
            yield
            disk.step("commit")
        disk.committed(self.path, wal_bytes)

    def replacing(path: Path, data: bytes, mode: int) -> None:
        disk = disk_of(path)
        if disk is None:
            return replace(path, data, mode)
        disk.step("replace")
        replace(path, data, mode)
        return disk.step("replaced")

    Database.__init__ = opening  # type: ignore[method-assign]
    Database.transaction = stepped  # type: ignore[method-assign]
    durable_file._replace = replacing
    try:
        yield
    finally:
        Database.__init__ = open_database  # type: ignore[method-assign]
        Database.transaction = transaction  # type: ignore[method-assign]
        durable_file._replace = replace
