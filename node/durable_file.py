"""Small files that survive a power cut: whole or not at all, and synced before anyone relies on them.

`create_file` never overwrites, `replace_file` swaps the content in one step. Both write beside the file,
fsync, rename, and fsync the folder; a reader sees the old content or the new one, never a mixture. Whatever
the operating system refuses becomes `StoreError` with a text that says which file and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ledger.errors import Conflict, StoreError

PRIVATE_MODE = 0o600
"""Read and written by the node's own user only: keys, instance record, databases."""

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space and try again",
    errno.EDQUOT: "the disk quota is used up: free some space and try again",
    errno.EROFS: "the file system is read-only: mount it writable or choose another folder",
    errno.EACCES: "this user may not do that: check owner and mode of the file and its folder",
    errno.EPERM: "this user may not do that: check owner and mode of the file and its folder",
    errno.ENOENT: "there is no such file or folder: check the path",
    errno.ENOTDIR: "a part of the path is no folder: check the path",
    errno.EISDIR: "this is a folder, a file was expected: check the path",
    errno.EIO: "the disk reports an error: check the disk before anything else",
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` inside the block into a `StoreError` that names ``path`` and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        advice = _ADVICE.get(error.errno or 0, "check the disk and the folder")
        raise StoreError(f"{path}: {reason}; {advice}") from error


def create_file(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Write a new file, durable on return; raise `Conflict` if ``path`` exists, `StoreError` from the disk.

    The name is first taken by an empty file of our own, which the finished one then replaces. A hard link
    would do it in one step, but not on the FAT of a stick that recovery keys are carried on; after a crash
    between the two steps an empty file is left, which no reader takes for keys.
    """
    with disk_errors(path):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        except FileExistsError:
            raise Conflict(f"{path} exists already and is not overwritten: choose another name") from None
        try:
            _replace(path, data, mode)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def replace_file(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Make ``data`` the whole content of ``path``, durable on return; raise `StoreError` from the disk."""
    with disk_errors(path):
        _replace(path, data, mode)


def read_file(path: Path, *, bytes_max: int) -> bytes:
    """Return the content of ``path``; raise `StoreError` if it cannot be read or is over ``bytes_max``."""
    with disk_errors(path), path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise StoreError(f"{path}: larger than {bytes_max} bytes, so not the file expected; check the path")
    return data


def sync_folder(folder: Path) -> None:
    """Make names created or replaced in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)  # left by a crash; with O_EXCL no link of another user is followed
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
