"""The outbox: every signed entry lies here, durable, before it is sent, and stays with its receipt.

One file an entry, ``<entry id>.sealed``, locked under a key that follows from the staff key: a stolen disk
shows neither marks nor pupils. States::

    waiting    signed, not (or not provably) taken by the node yet; sending it twice is harmless
    accepted   the node's receipt is here, and was checked; moved to the folder ``accepted``
    refused    the node refused it, ``reason`` says why; nothing of it was written

An accepted entry is *certified* once its receipt is: it moves on to the folder ``certified``, and nobody is
asked about it again. So a command opens only what is open, not all that was signed in a year. A receipt that
contradicts a later one is evidence, and stays in the entry (``earlier``).

A new file appears whole or not at all, and replaces an older content in one step, so a process killed at any
moment loses nothing. What stood with the wrong pupil goes from here too once its withdrawal is accepted; its
hash stays. Pupils of an enrolment stand in its file too: if the class register was not written any
more, it is completed from here.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from cli.failures import Usage
from cli.language import say
from cli.pupil import Pupil, parse_pupil, pupil_line
from ledger import codec, keys
from ledger.entry import Entry, PrivateBodies, check_parts, padded_count, parse_header
from ledger.errors import Conflict, Malformed, StoreError, Unproven
from ledger.keys import SigningKey
from ledger.proof import parse_proof
from ledger.record import Record, padding_hashes, parse_record
from node.durable_file import create_file, disk_errors, read_file, replace_file, sync_folder
from node.submission import Submission

FORMAT = 1
FILE_BYTES_MAX = 32 * 1024 * 1024
"""A submission of 12 MiB, its labels, and room."""
PREFIX_MIN = 6
"""Hex digits by which a record or entry may be named: typed by hand, and told apart among thousands."""
EARLIER_MAX = 8
"""Two receipts that contradict each other are proof enough; a node that goes on must not fill the disk."""
SUFFIX = ".sealed"
_DOMAIN = b"pledger/outbox/v1\x00"

State: TypeAlias = Literal["waiting", "accepted", "refused"]
RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A signed entry as the outbox keeps it."""

    submission: Submission
    created_ms: int
    labels: tuple[str, ...] = ()
    """Where each private record comes from, in the order of ``submission.private.records``."""
    pupils: tuple[Pupil, ...] = ()
    state: State = "waiting"
    receipt: bytes | None = None
    reason: str = ""
    number: int = field(default=0, compare=False)
    """The order in which what is not accepted was put here; clocks are set back, and tell no order within one
    millisecond. 0 before it is put."""
    gone: tuple[bytes, ...] = ()
    """Hashes of records that stood with the wrong pupil and are kept here no more than at the node."""
    cosigned: tuple[str, ...] = ()
    """The agencies whose cosignatures certify the receipt; empty as long as it is not certified."""
    earlier: tuple[bytes, ...] = ()
    """Receipts that tell of another place or history than ``receipt``, the oldest first."""

    @property
    def is_certified(self) -> bool:
        """Whether a quorum of the agencies stands behind the receipt."""
        return bool(self.cosigned)

    @property
    def word(self) -> str:
        """The state as people are told it."""
        return "certified" if self.is_certified else self.state

    @property
    def entry_id(self) -> bytes:
        """The entry's name."""
        return self.submission.entry.header.entry_id

    @property
    def records(self) -> tuple[Record, ...]:
        """The entry's private records, padding left out."""
        return self.submission.private.records if self.submission.private else ()

    def hashes(self) -> list[bytes]:
        """All record hashes of the entry, padding included, ascending: what a proof of one of them needs."""
        private = self.submission.private
        if private is None:
            return []
        count = len(private.records) + len(self.gone)
        padding = padding_hashes(private.padding_seed, padded_count(count) - count)
        return sorted([*(one.hash for one in private.records), *self.gone, *padding])

    def without(self, record_hashes: Container[bytes]) -> Stored:
        """Return the entry without the content of these records."""
        private = self.submission.private
        if private is None:
            return self
        kept = [one for one in private.records if one.hash not in record_hashes]
        lost = [one.hash for one in private.records if one.hash in record_hashes]
        left = replace(private, records=tuple(kept))
        return replace(
            self,
            submission=replace(self.submission, private=left),
            labels=tuple(self.label_of(one.hash) for one in kept),
            gone=(*self.gone, *lost),
        )

    def label_of(self, record_hash: bytes) -> str:
        """Return where a record of this entry comes from."""
        for record, label in zip(self.records, self.labels, strict=False):
            if record.hash == record_hash:
                return label
        return ""


class Outbox:
    """The entries in one folder, locked under one staff key."""

    def __init__(self, folder: Path, signer: SigningKey, random: RandomBytes) -> None:
        """The folder is made when the first entry comes."""
        self._folder = folder
        self._accepted, self._certified = folder / "accepted", folder / "certified"
        self._asked: set[str] = set()
        self._is_asking = True
        self._key = hashlib.sha256(_DOMAIN + signer.seed).digest()
        self._random = random
        self._last: int | None = None

    def put(self, stored: Stored) -> None:
        """Keep a new entry after all others, durable on return; raise `Conflict` if it is here already.

        One that has a number already, because it takes another's place, keeps it.
        """
        self._make(self._folder)
        stored = stored if stored.number else replace(stored, number=self._next_number())
        name = self._name(stored.entry_id)
        if (self._accepted / name).exists() or (self._certified / name).exists():
            raise Conflict(say("outbox.accepted_already", entry=stored.entry_id.hex()))
        create_file(self._path(stored.entry_id), self._locked(stored))

    def update(self, stored: Stored) -> Stored:
        """Keep another state of an entry, durable on return; return it.

        A stop before the last step leaves it in two folders: the one where less is left to do counts.
        """
        name, target = self._name(stored.entry_id), self._folder_of(stored)
        self._make(target)
        replace_file(target / name, self._locked(stored))
        for folder in (self._folder, self._accepted):
            if folder != target:
                self._remove(folder / name)
        self._asked.add(name)
        return stored

    def uncertified(self, count_max: int) -> Iterator[Stored]:
        """Yield accepted entries without a certified receipt, those first about which nobody asked longest.

        None twice in one command; one that was only looked at goes to the end of the row.
        """
        if not self._is_asking:
            return
        with disk_errors(self._accepted):
            known = self._names(self._certified) | self._asked
            paths = [path for path in self._accepted.glob(f"[0-9a-f]*{SUFFIX}") if path.name not in known]
            paths = heapq.nsmallest(count_max, paths, key=lambda path: (path.stat().st_mtime_ns, path.name))
        for path in paths:
            self._asked.add(path.name)
            with disk_errors(path):
                path.touch()
            yield self._read(path, read_file(path, bytes_max=FILE_BYTES_MAX))

    def leave_accepted(self) -> None:
        """Yield nothing as `uncertified` any more in this command: the node cannot say."""
        self._is_asking = False

    def replace(self, old: Stored, new: Stored) -> None:
        """Put ``new`` in the place of ``old``, of which nothing is to be sent any more."""
        self.put(new)
        self.drop(old)

    def drop(self, stored: Stored) -> None:
        """Forget an entry of which everything is recorded already, or stands in another."""
        self._remove(self._path(stored.entry_id))

    def forget(self, wrong: Sequence[bytes]) -> None:
        """Erase the content of records that stood with the wrong pupil, and of what they had corrected."""
        accepted = [one for one in self._everything() if one.state == "accepted"]
        records = {record.hash: record for stored in accepted for record in stored.records}
        due, ahead = set[bytes](), list(wrong)
        while ahead:
            due.add(name := ahead.pop())
            found = records.get(name)
            ahead += [found.supersedes] if found and found.supersedes else []
        for stored in accepted:
            if any(one.hash in due for one in stored.records):
                self.update(stored.without(due))

    def entries(self) -> list[Stored]:
        """Return everything in the outbox, oldest first."""
        return sorted(self._everything(), key=lambda one: (one.created_ms, one.number))

    def waiting(self, *, with_refused: bool = False) -> list[Stored]:
        """Return what is to be sent, in the order in which it was put here."""
        wanted = {"waiting", "refused"} if with_refused else {"waiting"}
        return sorted((one for one in self._open() if one.state in wanted), key=lambda one: one.number)

    def find(self, prefix: str, among: Sequence[Stored] | None = None) -> tuple[Stored, Record | None]:
        """Return the entry whose id, or one of whose records, starts with these hex digits.

        ``among`` is everything in the outbox, if it was read before.
        """
        _check_prefix(prefix)
        found: list[tuple[Stored, Record | None]] = []
        for stored in self.entries() if among is None else among:
            if stored.entry_id.hex().startswith(prefix):
                found.append((stored, None))
            found += [(stored, one) for one in stored.records if one.hash.hex().startswith(prefix)]
        if len(found) != 1:
            raise _not_one(prefix, len(found))
        return found[0]

    def _next_number(self) -> int:
        """One more than any that is not accepted; the workspace is held alone, so it is counted once."""
        if self._last is None:
            self._last = max((one.number for one in self._open()), default=0)
        self._last += 1
        return self._last

    def _open(self) -> list[Stored]:
        """What is not accepted."""
        return list(self._read_all(self._folder, self._names(self._accepted, self._certified)))

    def _everything(self) -> Iterator[Stored]:
        yield from self._read_all(self._certified, ())
        yield from self._read_all(self._accepted, self._names(self._certified))
        yield from self._open()

    @staticmethod
    def _names(*folders: Path) -> set[str]:
        return {path.name for folder in folders for path in folder.glob(f"*{SUFFIX}")}

    def _read_all(self, folder: Path, done: Container[str]) -> Iterator[Stored]:
        """What lies in a folder, but for the names that a stop left there too."""
        for path in sorted(folder.glob(f"[0-9a-f]*{SUFFIX}")):
            data = b"" if path.name in done else read_file(path, bytes_max=FILE_BYTES_MAX)
            if not data:  # the name was taken, and the process killed before the entry was there
                continue
            yield self._read(path, data)

    def _folder_of(self, stored: Stored) -> Path:
        if stored.state != "accepted":
            return self._folder
        return self._certified if stored.is_certified else self._accepted

    @staticmethod
    def _remove(path: Path) -> None:
        if path.exists():
            with disk_errors(path):
                path.unlink()
                sync_folder(path.parent)

    def _read(self, path: Path, data: bytes) -> Stored:
        try:
            stored = _parse(codec.decode(keys.unlock(self._key, data), bytes_max=FILE_BYTES_MAX))
        except Unproven:
            raise Unproven(say("outbox.damaged", path=path)) from None
        except Malformed as error:
            raise StoreError(say("outbox.version", path=path, problem=error)) from None
        if path.name != self._name(stored.entry_id):
            raise Unproven(say("outbox.other_entry", path=path))
        return stored

    @staticmethod
    def _make(folder: Path) -> None:
        with disk_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder.parent)

    @staticmethod
    def _name(entry_id: bytes) -> str:
        return f"{entry_id.hex()}{SUFFIX}"

    def _path(self, entry_id: bytes) -> Path:
        return self._folder / self._name(entry_id)

    def _locked(self, stored: Stored) -> bytes:
        return keys.lock(self._key, codec.encode(_value(stored)), self._random(keys.NONCE_BYTES))


def entry_named(folder: Path, prefix: str) -> bytes:
    """Return the id of the one entry in an outbox whose id starts with these digits; needs no key."""
    _check_prefix(prefix)
    names = {path.name.removesuffix(SUFFIX) for path in folder.rglob(f"{prefix}*{SUFFIX}")}
    if len(names) != 1:
        raise _not_one(prefix, len(names))
    return bytes.fromhex(names.pop())


def _check_prefix(prefix: str) -> None:
    if len(prefix) < PREFIX_MIN or set(prefix) - set("0123456789abcdef"):
        raise Usage(say("outbox.prefix", prefix=repr(prefix), count=PREFIX_MIN))


def _not_one(prefix: str, count: int) -> Usage:
    return Usage(say("outbox.several_found" if count else "outbox.none_found", prefix=prefix))


def accepted(
    stored: Stored, receipt: bytes, *, cosigned: tuple[str, ...] = (), contradicts: bool = False
) -> Stored:
    """Return the entry with its receipt, certified if there are agencies that have ``cosigned``.

    A receipt that it has already stays beside the new one if they name two places, or if the caller knows
    that the new one ``contradicts`` it.
    """
    earlier, old = stored.earlier, stored.receipt
    if old and old not in earlier and (contradicts or not is_same_place(old, receipt)):
        earlier = (*earlier, old)[:EARLIER_MAX]
    return replace(stored, state="accepted", receipt=receipt, reason="", cosigned=cosigned, earlier=earlier)


def is_same_place(one: bytes, other: bytes) -> bool:
    """Whether two receipts show the same leaf at the same index: it names all that lies below it."""
    first, second = parse_proof(one), parse_proof(other)
    return (first.index, first.extra) == (second.index, second.extra)


def refused(stored: Stored, reason: str) -> Stored:
    """Return the entry with what the node said against it; a receipt that it has stays."""
    return replace(stored, state="refused", reason=reason, cosigned=())


def _value(stored: Stored) -> list[object]:
    submission, private = stored.submission, stored.submission.private
    return [
        FORMAT,
        stored.created_ms,
        stored.state,
        stored.receipt,
        stored.reason,
        [submission.entry.header.raw, submission.entry.signature, list(submission.entry.bodies)],
        private and [private.padding_seed, [[one.owner_part, one.shown_part] for one in private.records]],
        list(submission.scopes),
        list(stored.labels),
        [pupil_line(one) for one in stored.pupils],
        stored.number,
        list(stored.gone),
        list(stored.cosigned),
        list(stored.earlier),
    ]


def _parse(value: object) -> Stored:
    match value:
        case [
            1,
            int(created_ms),
            ("waiting" | "accepted" | "refused") as state,
            bytes() | None as receipt,
            str(reason),
            [bytes(header), bytes(signature), list(bodies)],
            list() | None as private,
            list(scopes),
            list(labels),
            list(pupils),
            int(number),
            list(gone),
            *more,
        ] if certified := _parse_certified(more):
            pass
        case _:
            raise Malformed(say("outbox.malformed"))
    check_parts(signature)
    entry = Entry(header=parse_header(header), signature=signature, bodies=tuple(bodies))
    submission = Submission(entry=entry, private=_parse_private(private), scopes=tuple(scopes))
    return Stored(
        submission=submission,
        created_ms=created_ms,
        labels=tuple(labels),
        pupils=tuple(map(parse_pupil, pupils)),
        state=state,
        receipt=receipt,
        reason=reason,
        number=number,
        gone=tuple(gone),
        cosigned=certified[0],
        earlier=certified[1],
    )


def _parse_certified(more: list[object]) -> tuple[tuple[str, ...], tuple[bytes, ...]] | None:
    """Who certifies the receipt, and earlier receipts; an outbox of the version before knew neither."""
    match more:
        case []:
            return (), ()
        case [list(cosigned), list(earlier)] if all(isinstance(one, str) for one in cosigned):
            if all(isinstance(one, bytes) for one in earlier):
                return tuple(map(str, cosigned)), tuple(map(bytes, earlier))
    return None


def _parse_private(value: list[object] | None) -> PrivateBodies | None:
    match value:
        case None:
            return None
        case [bytes(seed), list(records)]:
            return PrivateBodies(
                padding_seed=seed, records=tuple(parse_record(owner, shown) for owner, shown in records)
            )
    raise Malformed(say("outbox.bodies"))
