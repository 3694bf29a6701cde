"""Who may sequence: a lease with a fencing token, and the record of where this node last ran.

The lease keeps two processes on one database apart. Whoever starts takes it and gets a higher token; every
commit checks, inside its transaction, that the token is still the newest. A process that was paused and
overtaken therefore commits nothing, however late it wakes.

The instance record keeps two *copies* of a database apart, which a lease inside them cannot. It lies beside
the database, names host, path and last head, and is written after each commit. Host and path must match and
the log must contain the recorded head: ahead of it means a crash between commit and record, behind it means
a restored copy. Such a copy never sequences in its era again, because it would sign a second history.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ledger.errors import Conflict, StoreError
from node.database import Database, Schema
from node.durable_file import disk_errors, read_file, replace_file

RECORD_BYTES_MAX = 16 * 1024
"""Two names of 4 KiB (the longest path of Linux), a size and a hash, with room."""
_RECORD_KEYS = {"host", "path", "root", "size"}
_HASH_BYTES = 32

SCHEMA = Schema(
    part="lease",
    steps=(
        (
            "CREATE TABLE lease (id INTEGER PRIMARY KEY CHECK (id = 1), token INTEGER NOT NULL, "
            "holder TEXT NOT NULL)",
        ),
        ("CREATE TABLE refusal (id INTEGER PRIMARY KEY CHECK (id = 1), reason TEXT NOT NULL)",),
        (
            "CREATE TABLE refused (era INTEGER PRIMARY KEY, reason TEXT NOT NULL)",
            "INSERT INTO refused (era, reason) SELECT 1, reason FROM refusal",
        ),
    ),
)


def take_lease(database: Database, holder: str) -> int:
    """Return a token above all before; from now on every other holder's commits fail.

    ``holder`` is shown to whoever is overtaken: host and process id.
    """
    with database.transaction():
        database.write(
            "INSERT INTO lease (id, token, holder) VALUES (1, 1, ?) "
            "ON CONFLICT (id) DO UPDATE SET token = lease.token + 1, holder = excluded.holder",
            (holder,),
        )
        row = database.row("SELECT token FROM lease")
        assert row is not None
        return int(row[0])


def overtaken_by(database: Database, token: int) -> str | None:
    """Return who has taken the lease since it was taken with ``token``, or None."""
    row = database.row("SELECT holder FROM lease WHERE token != ?", (token,))
    return None if row is None else str(row[0])


def holder(database: Database) -> str | None:
    """Return who took the lease last, or None."""
    row = database.row("SELECT holder FROM lease")
    return None if row is None else str(row[0])


def check_lease(database: Database, token: int) -> None:
    """Raise `Conflict` if another process took the lease; call it inside the committing transaction."""
    assert database.in_transaction, "outside a transaction the answer may be old when it is used"
    row = database.row("SELECT token, holder FROM lease")
    if row is None or row[0] != token:
        holder = "nobody" if row is None else row[1]
        raise Conflict(
            f"{database.path}: {holder} has taken over this database; this process writes nothing "
            "any more: stop one of the two"
        )


def stored_refusal(database: Database, era: int = 1) -> str | None:
    """Return why this database never sequences again in an era, once `store_refusal` has said so."""
    row = database.row("SELECT reason FROM refused WHERE era = ?", (era,))
    return None if row is None else str(row[0])


def store_refusal(database: Database, reason: str, era: int = 1) -> None:
    """Note for ever that this database must not sequence in an era; the first reason stays.

    A log fetched back from others is as long as theirs, and would pass every later check.
    """
    with database.transaction():
        database.write(
            "INSERT INTO refused (era, reason) VALUES (?, ?) ON CONFLICT (era) DO NOTHING", (era, reason)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """Where the node ran when it last committed to its own log, and the head that it left."""

    host: str
    path: str
    size: int
    root: bytes
    era: int = 1


class Finding(Enum):
    """Why a database is not provably the one last run on."""

    ABSENT = "absent"
    MOVED = "moved"
    BEHIND = "behind"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the node must not sequence, for the program and for a person."""

    finding: Finding
    text: str

    def __str__(self) -> str:
        return self.text


def instance_path(database_path: Path) -> Path:
    """Return where the instance record of a database lies."""
    return database_path.with_suffix(".instance")


def write_instance(path: Path, record: InstanceRecord) -> None:
    """Replace the record at ``path`` in one durable step; raise `StoreError` from the disk."""
    replace_file(path, _format(record))


def read_instance(path: Path) -> InstanceRecord | None:
    """Return the record at ``path``, None if there is none; raise `StoreError` if it is damaged."""
    with disk_errors(path):
        if not path.exists():
            return None
    data = read_file(path, bytes_max=RECORD_BYTES_MAX)
    record = _parse(data)
    if record is None or _format(record) != data:
        raise StoreError(
            f"{path}: not an instance record as this node writes it; do not repair it by hand, "
            "treat the database as restored"
        )
    return record


def check_instance(
    record: InstanceRecord | None,
    *,
    host: str,
    path: str,
    size: int,
    root_at: Callable[[int], bytes],
    era: int = 1,
) -> Refusal | None:
    """Return None if this database is the one last run on, else why it must not sequence in ``era``.

    ``size`` is that of the node's own log in the database now, ``root_at(n)`` the root over its first n
    leaves (asked only for n <= size). An empty log without a record is a new node.
    """
    if record is None:
        return (
            None
            if size == 0 and era == 1
            else Refusal(
                finding=Finding.ABSENT,
                text=(
                    f"there is no instance record beside {path}, but its log has {size} entries: it was "
                    "copied, restored or rebuilt, and must not go on in this era"
                ),
            )
        )
    if (host, path) != (record.host, record.path):
        return Refusal(
            finding=Finding.MOVED,
            text=(
                f"this database last ran on {record.host} as {record.path}, now it is on {host} as {path}: "
                "if the other still exists both would sign, so it must not go on in this era"
            ),
        )
    if era != record.era:  # beyond it: a crash between the commit of an opening and the record
        return None if era > record.era else _begun(path, era, record.era)
    if size < record.size:
        return Refusal(
            finding=Finding.BEHIND,
            text=(
                f"the log in {path} has {size} entries, but this node has signed {record.size}: an older "
                "copy was restored, and must not go on in this era"
            ),
        )
    if root_at(record.size) != record.root:
        return Refusal(
            finding=Finding.DIFFERENT,
            text=(
                f"the first {record.size} entries in {path} are not those that this node last signed: "
                "another log was put in its place, and must not go on in this era"
            ),
        )
    return None


def _begun(path: str, era: int, begun: int) -> Refusal:
    return Refusal(
        finding=Finding.BEHIND,
        text=(
            f"the log in {path} ends in era {era}, but this node has begun era {begun}: open that era again "
            "with the same opening, or an older copy was restored"
        ),
    )


class Instance:
    """The record of one database, as the node that runs on it here keeps it."""

    def __init__(self, database_path: Path, host: str) -> None:
        """``host`` names this machine."""
        self._file = instance_path(database_path)
        self._host = host
        self._path = str(database_path)

    def refusal(self, size: int, root_at: Callable[[int], bytes], era: int) -> str | None:
        """Return why the database must not sequence in ``era``, or None; see `check_instance`."""
        record = read_instance(self._file)
        found = check_instance(record, host=self._host, path=self._path, size=size, root_at=root_at, era=era)
        return None if found is None else found.text

    def write(self, size: int, root: bytes, era: int) -> None:
        """Record the head that the node leaves; raise `StoreError` from the disk."""
        write_instance(
            self._file, InstanceRecord(host=self._host, path=self._path, size=size, root=root, era=era)
        )


def _format(record: InstanceRecord) -> bytes:
    value = {"host": record.host, "path": record.path, "root": record.root.hex(), "size": record.size}
    if record.era > 1:  # records written before there were eras have none
        value["era"] = record.era
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _parse(data: bytes) -> InstanceRecord | None:
    """The record in ``data``; None for any other form (what JSON lets pass, `_format` compares)."""
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or set(value) - {"era"} != _RECORD_KEYS:
            return None
        era = value.get("era", 1)
        if type(era) is not int or era < 1:
            return None
        match value:
            case {"host": str(host), "path": str(path), "root": str(root), "size": int(size)} if (
                type(size) is int and size >= 0
            ):
                record = InstanceRecord(host=host, path=path, size=size, root=bytes.fromhex(root), era=era)
                return record if len(record.root) == _HASH_BYTES else None
    except (ValueError, RecursionError):
        pass
    return None
