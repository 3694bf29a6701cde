"""The sequencer: the only writer of this agency's own log, and the only signer of its checkpoints.

`commit` takes a batch of submissions: each is judged in turn (leaf rules, then records), those that stand
become leaves, and leaves, sealed bodies, blind tags and the one new signed checkpoint go to disk in one
transaction. Only after that is anything acknowledged: the answer is a receipt, or the error that refused the
submission. After a failed transaction nothing has changed, in memory or on disk.

A record withdrawn as ``misfiled`` stood with the wrong child: its body is noted as due for erasure in the
transaction that sequences the withdrawal, and erased right after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.authority import Author, Authority
from ledger.chain import ChainState, Judged, extend
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import Conflict, LedgerError, Refused, StoreError
from ledger.governance import Card
from ledger.keys import Signer
from ledger.leaf import Leaf, make_leaf, parse_leaf
from ledger.merkle import prove_inclusion
from ledger.names import Origin, Place
from ledger.note import parse_note
from ledger.proof import TlogProof, format_proof
from ledger.statute import Statute
from node.admission import Admission, misfiled_chain
from node.body_store import BodyStore, StoredEntry
from node.database import Database
from node.key_store import KeyStore
from node.lease import check_lease, overtaken_by
from node.log_store import MAIN, LogStore
from node.stored_logs import StoredLogs, Stretch, stored_leaf
from node.submission import Submission, open_submission

BATCH_MAX = 256
"""Submissions of one transaction: at a few milliseconds each, nobody waits longer than a second or two."""
CLOCK_BEHIND_MAX_HOURS = 1
"""A clock that stands further behind the log than this is wrong."""

Outcome = bytes | LedgerError
"""A receipt, or why the submission was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerKeys:
    """What the sequencer signs and opens with."""

    log: Signer
    sealing_seeds: tuple[bytes, ...]
    check_card: Callable[[Card], None]
    """Raises `LedgerError` for a card under which this node could not go on."""


class Sequencer:
    """Sequences one log, for as long as its lease holds."""

    def __init__(
        self,
        database: Database,
        store: LogStore,
        bodies: BodyStore,
        keys: KeyStore,
        *,
        logs: StoredLogs,
        state: ChainState,
        signing: SequencerKeys,
        token: int,
        on_commit: Callable[[int, bytes], None],
    ) -> None:
        """``on_commit(size, root)`` is called after each durable commit, before anything is acknowledged.

        Where it fails nothing is, and it is called again before the next acknowledgement, new leaf or not.
        """
        self.state = state
        self._database = database
        self._store = store
        self._bodies = bodies
        self._keys = keys
        self._logs = logs
        self._before = _before(logs, state)
        self.signing = signing
        self._token = token
        self._on_commit = on_commit
        self._recorded = 0
        self.trouble: LedgerError | None = None
        """Why the last batch could not be written, None once one was."""

    @property
    def origin(self) -> Origin:
        """The log that this sequencer writes."""
        return self.state.origin

    @property
    def sealing_seeds(self) -> tuple[bytes, ...]:
        """What opens whatever was sealed to this node."""
        return self.signing.sealing_seeds

    def commit(self, submissions: Sequence[bytes], hour: int) -> list[Outcome]:
        """Judge, write and acknowledge a batch; one outcome each, in order.

        ``hour`` is that of this node's clock (since 1970). Raises nothing that one submission causes.
        """
        opened = [self._open(data) for data in submissions]
        try:
            self.check_clock(hour)
            outcomes = self._commit(opened, max(hour, self.state.hour))
            self.trouble = None
            return outcomes
        except LedgerError as error:
            self.trouble = error
            return [one if isinstance(one, LedgerError) else error for one in opened]

    def open_era(self, opening: Submission, hour: int) -> None:
        """Sequence index 0; raise what refuses it."""
        outcome = self._commit([opening], hour)[0]
        if isinstance(outcome, LedgerError):
            raise outcome

    def begin_era(
        self,
        start: ChainState,
        leaves: Sequence[bytes],
        signing: SequencerKeys,
    ) -> None:
        """Go on in a later era: its opening and all that it moves, in one transaction under one checkpoint.

        ``start`` is the state before the opening. Raises what refuses a leaf, with nothing changed.
        """
        origin, before = str(start.origin), _before(self._logs, start)
        state, judged = extend(start, leaves, self._logs.seen(before))
        if found := [one for leaf in judged for one in leaf.violations]:
            raise Refused(tuple(found))
        if state.moving is None or not state.moving.is_complete:
            raise Conflict(f"{origin}: an era begins with its opening and all that this moves")
        for card in (one for leaf in judged for one in leaf.governance if isinstance(one, Card)):
            signing.check_card(card)
        with self._database.transaction():
            self.check_lease()
            pairs = zip(judged, leaves, strict=True)
            self._store.append(origin, [stored_leaf(*pair) for pair in pairs])
            checkpoint = Checkpoint(origin=origin, size=state.size, root=state.tree.root())
            note = sign_checkpoint(checkpoint, signing.log)
            self._store.put_checkpoint(origin, note, checkpoint.size, checkpoint.root)
        self.state, self.signing, self._before, self._recorded = state, signing, before, 0
        self.record()

    def commit_own(self, submission: Submission, hour: int, settle: Callable[[], None]) -> None:
        """Sequence an entry of this node's own desk; ``settle`` writes in the same transaction.

        Raises what refuses it; then nothing was written, by ``settle`` neither.
        """
        self.check_clock(hour)
        self._commit([submission], max(hour, self.state.hour), settle)

    @property
    def statute(self) -> Statute:
        """The list of the roster version that this log stands under."""
        return _statute_of(self.state.authority)

    def check_lease(self) -> None:
        """Raise `Conflict` if another process took the lease; inside the transaction of whoever writes."""
        check_lease(self._database, self._token)

    def overtaken_by(self) -> str | None:
        """Return who has taken the lease from this process, or None."""
        return overtaken_by(self._database, self._token)

    def record(self) -> None:
        """See to it that ``on_commit`` has heard of the newest state: nothing newer may leave this node."""
        if self._recorded < self.state.size:
            self._on_commit(self.state.size, self.state.tree.root())
            self._recorded = self.state.size

    def leaf(self, place: Place) -> Leaf | None:
        """Return the leaf at a place of this log, or None if it is of another era.

        A place where a body was stored may have been on a branch that the log does not have.
        """
        return self._leaf_at(place) if place.era == self.origin.era else None

    def receipt(self, entry_id: bytes) -> bytes | None:
        """Return the receipt of a sequenced entry in the era where it stands now, or None.

        Under the newest certified checkpoint if it covers the entry, else under the newest.
        """
        place = self.find(entry_id)
        if place is None:
            return None
        self.record()
        return self._receipt(place, is_certified=True)

    def is_before(self, entry_id: bytes) -> bool:
        """Whether an entry stands in the eras before this one."""
        return self._logs.find_entry(self._before, entry_id) is not None

    def find(self, entry_id: bytes) -> Place | None:
        """Return where an entry stands in this log, or None."""
        index = self._store.find_entry(str(self.origin), entry_id)
        if index is not None:
            return Place(self.origin.era, index)
        found = self._logs.find_entry(self._before, entry_id)
        return None if found is None else Place(found[0].origin.era, found[1])

    def _open(self, data: bytes) -> Submission | LedgerError:
        try:
            return open_submission(data, *self.signing.sealing_seeds)
        except LedgerError as error:
            return error

    def check_clock(self, hour: int) -> None:
        """Raise `StoreError` where this node's clock stands behind its log: nothing is judged by it."""
        if hour < self.state.hour - CLOCK_BEHIND_MAX_HOURS:
            raise StoreError(
                f"this node's clock stands {self.state.hour - hour} hours behind its own log: set it right"
            )

    def _commit(
        self,
        opened: Sequence[Submission | LedgerError],
        hour: int,
        settle: Callable[[], None] | None = None,
    ) -> list[Outcome]:
        """Write a batch in one transaction; with ``settle`` all of it must be taken."""
        admission = Admission(self._bodies, self._keys)
        batch = _Batch(self.state, admission, self._seen, self.signing.check_card)
        with self._database.transaction():
            self.check_lease()
            outcomes = [self._take(one, batch, hour) for one in opened]
            if settle is not None:
                _raise_refused(outcomes)
                settle()
            self._seal(batch)
        self.state = batch.state
        self.record()
        with contextlib.suppress(
            StoreError
        ):  # noted as due: the entry stands, and the next commit tries again
            self._bodies.erase_due()
        return [self._receipt(one) if isinstance(one, Place) else one for one in outcomes]

    def _take(self, one: Submission | LedgerError, batch: _Batch, hour: int) -> Place | LedgerError:
        """Write one submission inside the transaction; return its place or why it is refused."""
        if isinstance(one, LedgerError):
            return one
        known = self.find(one.entry.header.entry_id)
        try:
            if known is not None:
                self._restore(one, known)
                return known
            leaf, judged, stored = batch.judge(one, hour)
        except LedgerError as error:
            if isinstance(error, StoreError):
                raise
            return error
        self._store.append(str(self.origin), [stored_leaf(judged, leaf.raw)])
        self._bodies.put(stored)
        if one.private is not None:
            self._bodies.note_due(misfiled_chain(one.private, self._bodies))
        return Place(self.origin.era, judged.index)

    def _restore(self, one: Submission, place: Place) -> None:
        """Posting again: put back bodies that are missing, if they are those that were signed."""
        leaf = self._leaf_at(place)
        statute = _statute_of(self.state.authority)
        stored = Admission(self._bodies, self._keys).stored_again(
            one, leaf, statute, self._bodies.free_place(place, leaf.header.entry_id)
        )
        if stored is not None:
            self._bodies.put(stored)

    def _seal(self, batch: _Batch) -> None:
        """Sign and keep the checkpoint of the batch, if it has added anything."""
        origin, tree = str(self.origin), batch.state.tree
        newest = self._store.newest_checkpoint(origin)
        if newest is not None and parse_checkpoint(parse_note(newest).text).size == tree.size:
            return
        if tree.size == 0:
            return
        checkpoint = Checkpoint(origin=origin, size=tree.size, root=tree.root())
        note = sign_checkpoint(checkpoint, self.signing.log)
        self._store.put_checkpoint(origin, note, checkpoint.size, checkpoint.root)

    def _receipt(self, place: Place, *, is_certified: bool = False) -> bytes:
        """The receipt of the entry there; an earlier era's checkpoints change no more."""
        stretch, index = self._stretch(place.era), place.index
        assert stretch is not None, "an entry that was found stands in an era of this log"
        origin, branch = str(stretch.origin), stretch.branch
        note = self._store.newest_checkpoint(origin, branch)
        if is_certified and index < self._store.certified_size(origin, branch):
            note = self._store.certified_checkpoint(origin, branch)
        assert note is not None, "what was acknowledged is below a checkpoint"
        size = parse_checkpoint(parse_note(note).text).size
        hashes = tuple(prove_inclusion(self._store.reader(origin, branch), index, size))
        leaf = self._store.leaf(origin, index, branch)
        return format_proof(TlogProof(extra=leaf, index=index, hashes=hashes, checkpoint=note))

    def _leaf_at(self, place: Place) -> Leaf:
        stretch = self._stretch(place.era)
        assert stretch is not None, "an entry that was found stands in an era of this log"
        return parse_leaf(self._store.leaf(str(stretch.origin), place.index, stretch.branch))

    def _stretch(self, era: int) -> Stretch | None:
        if era == self.origin.era:
            return Stretch(self.origin, MAIN, self._store.size(str(self.origin)))
        return next((one for one in self._before if one.origin.era == era), None)

    def _seen(self, entry_id: bytes) -> bool:
        return self.find(entry_id) is not None


class _Batch:
    """The running state of one commit."""

    def __init__(
        self,
        state: ChainState,
        admission: Admission,
        seen: Callable[[bytes], bool],
        check_card: Callable[[Card], None],
    ) -> None:
        self.state = state
        self._admission = admission
        self._seen = seen
        self._check_card = check_card

    def judge(self, one: Submission, hour: int) -> tuple[Leaf, Judged, StoredEntry]:
        """Return the leaf, its verdict and what to store; raise `Refused`. The state moves only if taken."""
        leaf = make_leaf(one.entry, prev=self.state.head, received_hour=hour)
        state, [judged] = extend(self.state, [leaf.raw], self._seen)
        if judged.violations or judged.author is None:
            raise Refused(judged.violations)
        for record in judged.governance:
            if isinstance(record, Card):
                self._check_card(record)
        place = Place(state.origin.era, judged.index)
        stored = self._admit(one, judged, judged.author, state, place)
        self.state = state
        return leaf, judged, stored

    def _admit(
        self, one: Submission, judged: Judged, author: Author, state: ChainState, place: Place
    ) -> StoredEntry:
        admitted = self._admission.admit(one, judged, author, _statute_of(state.authority), place)
        if isinstance(admitted, StoredEntry):
            return admitted
        raise Refused(tuple(admitted))


def _before(logs: StoredLogs, state: ChainState) -> list[Stretch]:
    """What the eras before hold of this log."""
    return logs.below(state.origin, state.kept) if state.kept is not None else []


def _raise_refused(outcomes: Sequence[Place | LedgerError]) -> None:
    """Raise the first refusal there is, which undoes the transaction around."""
    for one in outcomes:
        if isinstance(one, LedgerError):
            raise one


def _statute_of(authority: Authority) -> Statute:
    """The list of the roster version adopted; a log without an opening takes no records."""
    assert authority.roster is not None, "a leaf that stands has an adopted roster before it"
    return authority.roster.statute
