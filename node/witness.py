"""The witness (C2SP tlog-witness v1.0.0): cosigns a checkpoint once it is shown to continue the one before.

::

    old <size>
    <consistency proof, base64 hashes>

    <the checkpoint with its log's signature>

What was cosigned last of each log is kept per witness key and written in the transaction before the answer:
a kill between the two costs an answer, never a promise. Nothing in here ever goes back.

`Witness` is the protocol, for any log whose key it is given. What else must hold before this node lends its
name is `HeldLogs`: the leaves are here, valid and fsynced, their hour is not ahead of this clock, and a new
key first follows the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from ledger.authority import Standing
from ledger.certify import counting_cards, witness_verifier
from ledger.chain import ChainState
from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, parse_hash, parse_size
from ledger.cosignature import cosign, is_cosigned
from ledger.errors import Conflict, LedgerError, Malformed, StoreError, Undecided, Unproven
from ledger.keys import Signer
from ledger.leaf import parse_leaf
from ledger.merkle import EMPTY_ROOT, PROOF_HASHES_MAX, check_consistency, root_at
from ledger.names import parse_origin
from ledger.note import NOTE_BYTES_MAX, Note, NoteVerifier, keep_lines, parse_line, parse_note
from node.certification import Certification, log_key
from node.database import Database, Schema
from node.log_store import LogStore
from node.promises import Promises

ADD_CHECKPOINT_BYTES_MAX = NOTE_BYTES_MAX + 64 * 45
"""A note, a line for the old size and 63 hashes."""
HOURS_AHEAD_MAX = 1
"""Of a log's last hour: further ahead of this clock, one of the two clocks is wrong."""
SECONDS_IN_HOUR = 3600

SCHEMA = Schema(
    part="witness",
    steps=(
        (
            "CREATE TABLE cosigned (origin TEXT NOT NULL, witness_key BLOB NOT NULL, size INTEGER NOT NULL, "
            "root BLOB NOT NULL, note BLOB NOT NULL, line TEXT NOT NULL, "
            "PRIMARY KEY (origin, witness_key)) WITHOUT ROWID",
            "CREATE TRIGGER cosigned_never_back BEFORE UPDATE ON cosigned "
            "WHEN NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root != OLD.root) "
            "BEGIN SELECT RAISE(ABORT, 'what was cosigned is never taken back'); END",
            "CREATE TRIGGER cosigned_never_delete BEFORE DELETE ON cosigned "
            "BEGIN SELECT RAISE(ABORT, 'what was cosigned is never taken back'); END",
        ),
    ),
)


class UnknownLog(LedgerError):
    """This node does not witness the log of that origin."""


class Untrusted(Unproven):
    """A checkpoint without a good signature of its log's key."""


class OtherSize(Conflict):
    """The submission starts at another size than the one cosigned last."""

    def __init__(self, size: int) -> None:
        """``size`` is what was cosigned last."""
        super().__init__(f"the checkpoint cosigned last has size {size}: prove from there")
        self.size = size


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What a witness key cosigned last of a log; nothing yet is the empty tree, without note and line."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes = b""
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A submission as read; nothing of it is proved."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes
    checkpoint: Checkpoint


class WitnessedLogs(Protocol):
    """What a witness must know of the logs beside what it cosigned."""

    def log_key(self, origin: str) -> NoteVerifier:
        """Return the key of a log; `UnknownLog`, or `Undecided` if it is to be fetched first."""
        ...

    def check(self, checkpoint: Checkpoint, note: Note, *, is_first: bool, now_s: int) -> None:
        """Raise unless this checkpoint may be cosigned; ``is_first``: the key cosigned nothing of it yet."""
        ...

    def is_after(self, origin: str, latest: Latest) -> bool:
        """Whether the leaves held begin with those that were cosigned last."""
        ...

    def keep(self, note: Note, line: str) -> None:
        """Note the cosignature, within the transaction."""
        ...


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Return the submission that ``body`` is; `Malformed` otherwise, or where it starts beyond its end."""
    if len(body) > ADD_CHECKPOINT_BYTES_MAX:
        raise Malformed(f"a submission of {len(body)} bytes, at most {ADD_CHECKPOINT_BYTES_MAX} are read")
    head, blank, note = body.partition(b"\n\n")
    if not blank or not head.isascii():
        raise Malformed("a submission is the old size, a proof, an empty line and a checkpoint")
    first, *lines = head.decode().split("\n")
    if not first.startswith("old ") or len(lines) > PROOF_HASHES_MAX:
        raise Malformed(f"a submission starts with 'old <size>' and at most {PROOF_HASHES_MAX} hashes")
    old, proof = parse_size(first[4:]), tuple(map(parse_hash, lines))
    checkpoint = parse_checkpoint(parse_note(note).text)
    if old > checkpoint.size:
        raise Malformed(f"old size {old} lies beyond the checkpoint's, {checkpoint.size}")
    return AddCheckpoint(old=old, proof=proof, note=note, checkpoint=checkpoint)


def check_step(asked: AddCheckpoint, latest: Latest) -> None:
    """Raise `OtherSize` or `Unproven` unless the submission leads from ``latest`` to its checkpoint."""
    new = asked.checkpoint
    if asked.old != latest.size:
        raise OtherSize(latest.size)
    if asked.old == 0:
        if asked.proof:
            raise Unproven("from size 0 there is nothing to prove: the proof must be empty")
        if new.size == 0 and new.root != EMPTY_ROOT:
            raise Unproven("the root of no leaves is SHA-256 of nothing")
        return
    check_consistency(asked.old, new.size, asked.proof, latest.root, new.root)


class Witness:
    """Cosigns under one key; all calls come on the store's thread."""

    def __init__(self, database: Database, signer: Signer, name: str, logs: WitnessedLogs) -> None:
        """``name`` is that of the witness key; ``database`` was opened with `SCHEMA`."""
        self.name = name
        self._database = database
        self._signer = signer
        self._logs = logs

    def add_checkpoint(self, body: bytes, now_s: int) -> bytes:
        """Return the cosignature line that answers a submission, durable before it is returned.

        ``now_s`` is this clock's time (POSIX). Raises `Malformed`, `UnknownLog`, `Untrusted`, `OtherSize`,
        `Unproven`, and `Undecided` or `StoreError` where it may succeed later.
        """
        asked = parse_add_checkpoint(body)
        note = self._open(asked.note, asked.checkpoint.origin)
        with self._database.transaction():
            latest = self.latest(asked.checkpoint.origin)
            check_step(asked, latest)
            line = self._cosign(asked.checkpoint, note, latest, now_s)
        return f"{line}\n".encode()

    def cosign_held(self, raw: bytes, now_s: int) -> bool:
        """Cosign a checkpoint without being asked; return False if a newer one was cosigned already.

        The leaves in hand take the place of a proof. Raises as `add_checkpoint`.
        """
        checkpoint = parse_checkpoint(parse_note(raw).text)
        note = self._open(raw, checkpoint.origin)
        with self._database.transaction():
            latest = self.latest(checkpoint.origin)
            if checkpoint.size < latest.size:
                return False
            if not self._logs.is_after(checkpoint.origin, latest):
                raise Unproven(f"{checkpoint.origin}: what was cosigned last is no part of the leaves held")
            self._cosign(checkpoint, note, latest, now_s)
        return True

    def latest(self, origin: str) -> Latest:
        """Return what this key cosigned last of a log."""
        row = self._database.row(
            "SELECT size, root, note, line FROM cosigned WHERE origin = ? AND witness_key = ?",
            (origin, self._signer.public_key),
        )
        return Latest() if row is None else Latest(size=row[0], root=row[1], note=row[2], line=row[3])

    def checkpoint(self, origin_hash: bytes) -> bytes | None:
        """Return the checkpoint cosigned last of the log whose origin has that hash, with both signatures."""
        rows = self._database.rows(
            "SELECT origin FROM cosigned WHERE witness_key = ?", (self._signer.public_key,)
        )
        for (origin,) in rows:
            if sha256(origin.encode()).digest() == origin_hash:
                latest = self.latest(origin)
                return latest.note + f"{latest.line}\n".encode()
        return None

    def _open(self, raw: bytes, origin: str) -> Note:
        """The note without the lines of others, as signed by its log."""
        key = self._logs.log_key(origin)
        try:
            _, note = open_checkpoint(raw, key)
        except Unproven as error:
            raise Untrusted(str(error)) from None
        return note

    def _cosign(self, checkpoint: Checkpoint, note: Note, latest: Latest, now_s: int) -> str:
        """Check what else must hold, and write the cosignature; asked again, the one there is."""
        self._logs.check(checkpoint, note, is_first=not latest.line, now_s=now_s)
        if latest.line and checkpoint.size == latest.size:
            return latest.line
        line = cosign(note.text, self.name, self._signer, now_s)
        kept = keep_lines(note, self._logs.log_key(checkpoint.origin))
        self._database.write(
            "INSERT INTO cosigned (origin, witness_key, size, root, note, line) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (origin, witness_key) DO UPDATE SET size = excluded.size, root = excluded.root, "
            "note = excluded.note, line = excluded.line",
            (checkpoint.origin, self._signer.public_key, checkpoint.size, checkpoint.root, kept, line),
        )
        self._logs.keep(note, line)
        return line


class HeldLogs:
    """`WitnessedLogs` of a node: it speaks only for leaves that it holds, valid and fsynced."""

    def __init__(
        self,
        store: LogStore,
        certification: Certification,
        *,
        own: str,
        witness_key: bytes,
        reason_to_wait: Callable[[], str | None],
        promises: Promises,
    ) -> None:
        """``own`` is the origin of this node's log; while it may not sequence, it does not cosign either."""
        self._promises = promises
        self._store = store
        self._certification = certification
        self._own = own
        self._witness_key = witness_key
        self._reason_to_wait = reason_to_wait

    def log_key(self, origin: str) -> NoteVerifier:
        """See `WitnessedLogs`."""
        key = log_key(self._state(origin))
        if key is None:
            raise Undecided(f"the opening of {origin} is not here yet: it is being fetched")
        return key

    def check(self, checkpoint: Checkpoint, note: Note, *, is_first: bool, now_s: int) -> None:
        """See `WitnessedLogs`; raises `Undecided` for leaves that are not here yet, `Unproven` for others."""
        reason = self._reason_to_wait()
        if reason is not None:
            raise StoreError(f"this node does not cosign now: {reason}")
        state = self._state(checkpoint.origin)
        if checkpoint.size > state.size:
            raise Undecided(
                f"{state.size} entries of {checkpoint.origin} are here, not {checkpoint.size}: the rest is "
                "being fetched"
            )
        self._certification.check_root(checkpoint)
        why_not = self._promises.why_not(parse_origin(checkpoint.origin), checkpoint.size, checkpoint.root)
        if why_not is not None:
            raise Unproven(f"{checkpoint.origin}: {why_not}")
        if checkpoint.extensions:
            raise Unproven("no log of this ledger has lines after the root")
        self._check_hour(checkpoint, now_s)
        if is_first:
            self._check_first(state, checkpoint, note)

    def keep(self, note: Note, line: str) -> None:
        """See `WitnessedLogs`."""
        self._certification.keep(note, [parse_line(line)])

    def is_after(self, origin: str, latest: Latest) -> bool:
        """See `WitnessedLogs`."""
        if latest.size > self._store.size(origin):
            return False
        return root_at(self._store.reader(origin), latest.size) == latest.root

    def _state(self, origin: str) -> ChainState:
        state = self._certification.states().get(origin)
        if state is None:
            raise UnknownLog(f"{origin[:200]} is no log that this node mirrors")
        return state

    def _check_hour(self, checkpoint: Checkpoint, now_s: int) -> None:
        if checkpoint.size == 0:
            return
        leaf = parse_leaf(self._store.leaf(checkpoint.origin, checkpoint.size - 1))
        ahead = leaf.received_hour - now_s // SECONDS_IN_HOUR
        if ahead > HOURS_AHEAD_MAX:
            raise StoreError(
                f"the last hour of {checkpoint.origin} is {ahead} hours ahead of this node's clock: set the "
                "one that is wrong right"
            )

    def _check_first(self, state: ChainState, checkpoint: Checkpoint, note: Note) -> None:
        """A key that followed another knows nothing of what that one cosigned: it begins behind others.

        Raises `Undecided` unless the log pins this key, and n - q + 1 others but the owner have cosigned (of
        two agencies none is left to ask, and the owner's pin is its word). In its own log it begins with its
        card.
        """
        own = self._certification.states()[self._own]
        cards = {placed.hash: placed.card for placed in own.authority.cards}
        if not cards or next(iter(cards.values())).witness_key == self._witness_key:
            return
        standing = state.authority.standing(checkpoint.size)
        if checkpoint.origin == self._own:
            card = standing.card.card if standing.card else None
        else:
            pin = standing.adopts[-1].adopt.cards.get(own.origin.agency) if standing.adopts else None
            card = cards.get(pin[1]) if pin else None
        if card is None or card.witness_key != self._witness_key:
            raise Undecided(f"{checkpoint.origin} does not pin this witness's new key at that size yet")
        missing = 0 if checkpoint.origin == self._own else self._missing_before(state, standing, note)
        if missing > 0:
            raise Undecided(f"{missing} more agencies must cosign before this witness's new key does")

    def _missing_before(self, state: ChainState, standing: Standing, note: Note) -> int:
        """How many cosignatures of others are lacking before a new key may cosign."""
        roster, owner = standing.adopts[-1].roster, state.origin.agency
        if len(roster.agencies) == 2:
            return 0
        whole = self._certification.whole(note)
        others = set(roster.agencies) - {owner, parse_origin(self._own).agency}
        cosigned = [
            name
            for name, card in counting_cards(whole, state.authority, self._certification.cards()).items()
            if name in others and is_cosigned(whole, witness_verifier(roster.ledger, name, card))
        ]
        return len(roster.agencies) - roster.quorum + 1 - len(cosigned)
