"""Forks as a node meets them: which notes contradict what is held, what convicts, what is stored of it.

A checkpoint signed by its log key may be one that no branch held leads to. Two notes of one size are evidence
at once; for others the leaf at which they part is found first, and the evidence is stored with the branch.
What nobody shows the leaves of is unproven: kept, shown, and it stops only the owner. All is bounded: who
forks on purpose fills no disk, and which of his branches are held decides nothing.

All methods run on the store's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ledger.chain import ChainState
from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.errors import LedgerError, Unproven
from ledger.fork import Suspects, check_evidence, parse_evidence, prove_fork, prove_notes, prove_openings
from ledger.governance import Card, parse_governance
from ledger.keys import VerifyMany
from ledger.leaf import Leaf, own_violations, parse_leaf
from ledger.merkle import HashReader
from ledger.names import Origin, parse_origin
from ledger.note import keep_lines, parse_note, verifier_of
from ledger.roster import Roster
from ledger.tiles import first_difference
from node.copies import Copies, name_of
from node.database import Database
from node.evidence_store import EvidenceStore
from node.log_store import MAIN, LogStore
from node.mirror import Mirror, Pulled
from node.stored_logs import StoredBranch, StoredLogs

BRANCHES_MAX = 8
"""Branches of one era fetched whole, beside the main one: two show what happened."""
BRANCH_BYTES_MAX = 64 * 1024 * 1024
"""Of the leaves on such branches of one era: a hundred thousand entries."""

Met: TypeAlias = Literal["known", "other", "foreign"]
"""known: a branch held leads there. other: none does. foreign: no log key known here signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where a branch that is not held leaves the nearest one that is, and what convicts the log key."""

    parent: str
    start: int
    evidence: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """`ledger.fork.History` of another's tree."""

    note: bytes
    reader: HashReader


class Forks:
    """What this node knows of forks, over its stores."""

    def __init__(
        self,
        database: Database,
        store: LogStore,
        logs: StoredLogs,
        copies: Copies,
        rosters: Callable[[], Sequence[Roster]],
    ) -> None:
        """``database`` was opened with the evidence store's schema."""
        self.evidence = EvidenceStore(database)
        self._database = database
        self._store = store
        self._logs = logs
        self._copies = copies
        self._rosters = rosters
        self._heads: dict[Origin, frozenset[tuple[int, bytes]]] = {}
        self.on_change: Callable[[Origin], None] = lambda origin: None
        """Called on the store's thread as soon as more is known of an era: its owner must stop at once."""

    def count(self, origin: Origin) -> int:
        """Return how many pieces, unexplained notes and further branches are held of an era."""
        name = str(origin)
        branches = max(0, len(self._store.branches(name)) - 1)
        return len(self.evidence.pieces(name)) + len(self.evidence.unproven(name)) + branches

    def is_forked(self, origin: Origin) -> bool:
        """Whether there is evidence against the key of an era."""
        return self.evidence.is_any(str(origin))

    def reason_to_stop(self, origin: Origin) -> str | None:
        """Return why the owner of an era must not go on in it, or None."""
        if self.is_forked(origin):
            return f"{origin} has forked: there is evidence, and it waits for a new era"
        if notes := self.evidence.unproven(str(origin)):
            size = parse_checkpoint(parse_note(notes[0]).text).size
            return f"a checkpoint of {size} entries of {origin} is about that this node never made"
        return None

    def is_head(self, origin: Origin, size: int, root: bytes) -> bool:
        """Whether a further branch ends in this state; asked often, answered from memory."""
        return (size, root) in self._heads.get(origin, ())

    def load(self) -> None:
        """Take into memory where further branches end; call it once the store is open."""
        for name in self._store.origins():
            if len(self._store.branches(name)) > 1:
                self._note_heads(parse_origin(name))

    def _note_heads(self, origin: Origin) -> None:
        branches = (one for one in self._logs.of_era(origin) if one.name != MAIN)
        self._heads[origin] = frozenset((one.head.size, one.head.root) for one in branches)

    def meet(self, raw: bytes) -> Met:
        """Look at a checkpoint that somebody shows; keep the evidence that it is by itself."""
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        origin = parse_origin(checkpoint.origin)
        key = self._signing_key(raw, origin)
        if key is None or checkpoint.extensions or not checkpoint.size:
            return "foreign"
        if self._logs.holding(origin, checkpoint.size, checkpoint.root) is not None:
            return "known"
        for branch in self._logs.of_era(origin):
            if branch.head.size == checkpoint.size:
                piece = prove_notes(branch.note, raw, key)
                self._keep([piece] if piece else [])
        return "other"

    def hear(self, raw: bytes) -> bool:
        """Look at a checkpoint without its leaves; return whether it contradicts the main branch."""
        if self.meet(raw) != "other":
            return False
        checkpoint = parse_checkpoint(parse_note(raw).text)
        if checkpoint.size > self._store.size(checkpoint.origin):
            return False
        self.leave_unproven(raw)
        return True

    def contested_from(self, origin: Origin) -> int | None:
        """Return the first index of an era that not all its branches share, or None."""
        branches = self._logs.of_era(origin) if self.is_forked(origin) else []
        if not branches:
            return None
        main, *others = branches
        shared = (first_difference(main.reader, main.head.size, one.reader, one.head.size) for one in others)
        pieces = (parse_evidence(raw) for raw in self.evidence.pieces(str(origin)))
        known = [*shared, *(one.index for one in pieces if one.kind == "leaf")]
        return min(known, default=None)

    def leave_unproven(self, raw: bytes) -> bool:
        """Keep a note whose leaves nobody shows; return whether it is new.

        One that two of one size already prove false is not unproven.
        """
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        origin = parse_origin(checkpoint.origin)
        key = self._signing_key(raw, origin)
        sizes = [one.head.size for one in self._logs.of_era(origin)]
        if key is None or self.meet(raw) == "known" or checkpoint.size in sizes:
            return False
        plain = keep_lines(note, verifier_of(checkpoint.origin, key))
        with self._database.transaction():
            is_new = self.evidence.put_unproven(checkpoint, plain)
        self.on_change(origin)
        return is_new

    def take_evidence(self, raw: bytes) -> bool:
        """Check and keep a piece that somebody shows; return whether it is new. Raises if it is false."""
        claim = parse_evidence(raw)
        fork = check_evidence(raw, self.suspects(claim.origin))
        with self._database.transaction():
            is_new = self.evidence.put(fork)
        self.on_change(fork.origin)
        return is_new

    def part(self, raw: bytes, theirs: HashReader) -> Parting | None:
        """Return where the history below a signed note leaves the branches held; None if it does not.

        ``theirs`` may raise for a tile that it has not got yet. `Unproven` if it does not lead to the root.
        """
        checkpoint = parse_checkpoint(parse_note(raw).text)
        origin = parse_origin(checkpoint.origin)
        key = self._signing_key(raw, origin)
        best: tuple[int, StoredBranch] | None = None
        for branch in self._logs.of_era(origin):
            if branch.head.size:
                common = first_difference(branch.reader, branch.head.size, theirs, checkpoint.size)
                if best is None or common > best[0]:
                    best = common, branch
        if best is None or key is None or best[0] == checkpoint.size:
            return None
        start, nearest = best
        piece = None
        if start < nearest.head.size:
            piece = prove_fork(nearest, _Theirs(note=raw, reader=theirs), key)
        elif nearest.name == MAIN:
            return None  # it only goes on where the main branch ends
        return Parting(parent=nearest.name, start=start, evidence=piece)

    def part_by_opening(self, raw: bytes, opening: bytes) -> Parting:
        """Return the same of a note under another opening than the one held; `Unproven` if it is none."""
        checkpoint = parse_checkpoint(parse_note(raw).text)
        origin = parse_origin(checkpoint.origin)
        theirs = parse_leaf(opening)
        card = _card_of(theirs)
        is_signed = not own_violations(theirs, is_signed=True) and card.origin == str(origin)
        if not is_signed or theirs.header.author not in self._root_keys(origin.agency):
            raise Unproven(f"no opening of {origin} by a root key of its agency")
        open_checkpoint(raw, verifier_of(str(origin), card.log_key))
        for branch in self._logs.of_era(origin):
            ours = parse_leaf(self._store.leaf(str(origin), 0, branch.name))
            piece = prove_openings(ours, theirs)
            if piece is not None:
                check_evidence(piece, self.suspects(origin))
                self._keep([piece])
                return Parting(parent=MAIN, start=0, evidence=piece)
        raise Unproven(f"{origin}: not signed by the log key of its opening")

    def start_of(self, origin: Origin, parting: Parting, opening: bytes | None) -> tuple[ChainState, int]:
        """Return the state at which a branch parts, and how many bytes of the bundle there are held.

        ``opening`` is its first leaf, where it parts before that. `Undecided` if what that keeps is not here.
        """
        if opening is not None and parting.start == 0:
            return self._copies.begin(origin, opening).state, 0
        state = self._logs.state(origin, parting.parent, parting.start)
        offset = self._store.bundle_offset(str(origin), parting.start, parting.parent)
        return state, offset if parting.start else 0

    def store_branch(
        self, origin: Origin, parting: Parting, pulled: Pulled, check_signatures: VerifyMany
    ) -> Mirror | None:
        """Store the first leaves of a branch and the evidence in one transaction; return the branch's copy.

        None (and the evidence is kept) where the bounds are reached. Raises as `Mirror.take`.
        """
        if not pulled.leaves or not self._has_room(origin, 1):
            self._keep([parting.evidence] if parting.evidence else [])
            return None
        name = name_of(pulled.leaves[0])
        if name in self._store.branches(str(origin)):  # begun before, and not finished
            return self._copies.branch(origin, name)
        mirror = self._copies.part(origin, parting.parent, parting.start, pulled.leaves[0])

        def settle() -> None:
            self._store.open_branch(str(origin), name, parent=parting.parent, start=parting.start)
            if parting.evidence is not None:
                self.evidence.put(parse_evidence(parting.evidence))

        mirror.take(pulled, check_signatures, settle)
        self.settle(origin)
        return mirror

    def has_room(self, origin: Origin) -> bool:
        """Whether branches of an era may still grow."""
        return self._has_room(origin, 0)

    def settle(self, origin: Origin) -> None:
        """Forget what new leaves explain."""
        self._note_heads(origin)
        self.on_change(origin)
        with self._database.transaction():
            for raw in self.evidence.unproven(str(origin)):
                checkpoint = parse_checkpoint(parse_note(raw).text)
                if self._logs.holding(origin, checkpoint.size, checkpoint.root) is not None:
                    self.evidence.explain(str(origin), checkpoint.size, checkpoint.root)

    def _has_room(self, origin: Origin, new: int) -> bool:
        count = len(self._store.branches(str(origin))) - 1 + new
        return count <= BRANCHES_MAX and self._store.branch_bytes(str(origin)) < BRANCH_BYTES_MAX

    def _keep(self, pieces: Iterable[bytes]) -> None:
        forks = [parse_evidence(piece) for piece in pieces]
        with self._database.transaction():
            for fork in forks:
                self.evidence.put(fork)
        for fork in forks:
            self.on_change(fork.origin)

    def _signing_key(self, raw: bytes, origin: Origin) -> bytes | None:
        """Which log key of an era signed a note, or None."""
        for key in sorted(self._log_keys(origin)):
            try:
                open_checkpoint(raw, verifier_of(str(origin), key))
            except LedgerError:
                continue
            return key
        return None

    def suspects(self, origin: Origin) -> Suspects:
        """Return the keys of an era that evidence may convict, as far as they are known here."""
        rosters = self._rosters()
        return Suspects(
            ledger_id=rosters[0].hash,
            log_keys=self._log_keys(origin),
            root_keys=self._root_keys(origin.agency),
        )

    def _log_keys(self, origin: Origin) -> set[bytes]:
        """The log keys of an era: of each branch that has its own opening."""
        found = set()
        for name in self._store.branches(str(origin)):
            if self._store.size(str(origin), name):
                found.add(_card_of(parse_leaf(self._store.leaf(str(origin), 0, name))).log_key)
        return found

    def _root_keys(self, agency: str) -> set[bytes]:
        return {one.agencies[agency] for one in self._rosters() if agency in one.agencies}


def _card_of(opening: Leaf) -> Card:
    for body in opening.entry.bodies:
        record = parse_governance(body)
        if isinstance(record, Card):
            return record
    raise Unproven("an opening has a card")
