"""One agency of a static tree: its eras end to end, their branches, evidence, and what all that comes to.

Each branch of each era is read once by a `LogVerifier`, on the state that its opening keeps. Then
``lineage`` says what belongs to the log. Until an opening is certified (at n = 1: sequenced) a
contradicting branch is an open fork; after it a branch or tail is late, and leaves outside the log change
no verdict any more, except that an entry there may be owed. Where files cannot be listed (HTTP), a node says
which branches it has; with a plain web server none are found, and the lists of an opening stay undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from ledger import lineage, note, tree
from ledger.authority import SignedCard
from ledger.branches import START, Branches, History
from ledger.certify import NO_TRANSITIONS
from ledger.chain import ChainState, head_of, open_era, open_log, reconcile_of
from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.errors import LedgerError, Malformed, Undecided, Unproven
from ledger.fork import Suspects, check_evidence, parse_evidence
from ledger.governance import Reconcile
from ledger.keys import VerifyMany
from ledger.leaf import parse_leaf
from ledger.log_verifier import LogVerifier, Progress
from ledger.merkle import EMPTY_ROOT, HashReader
from ledger.names import ERA_MAX, Head, Origin
from ledger.report import Level, LogReport, Problem, sorted_problems
from ledger.roster import Ends, Roster
from ledger.rules import Violation, violation
from ledger.tiles import TILE_WIDTH, Tile, bundles_of, decode_bundle, split_tile
from ledger.tree import LogPath, PieceKind, Source, format_tree_path, piece_file


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leaf of which a proof speaks, and the size of that proof's checkpoint."""

    era: int
    index: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peek:
    """What a branch claims before anything of it is judged."""

    era: int
    branch: str
    size: int
    reconcile: Reconcile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A branch whose leaves were read and give the root that its log key signed."""

    verifier: LogVerifier
    head: Head
    kept: Head | None
    reader: HashReader

    def root_at(self, size: int) -> bytes | None:
        return self.verifier.root_at(size)

    def leaves(self, start: int, end: int) -> Iterable[bytes]:
        return self.verifier.leaves(start, end)


@dataclass(slots=True)
class _TreeTiles:
    """The hash tiles of one branch, as the files have them."""

    verifier: LogVerifier

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        size = self.verifier.state.size >> 8 * level
        index = start // TILE_WIDTH
        tile = Tile(level=level, index=index, width=min(TILE_WIDTH, size - index * TILE_WIDTH))
        hashes = split_tile(self.verifier.read_tile(tile), tile.width)
        return hashes[start % TILE_WIDTH :][:count]


@dataclass(slots=True)
class AgencyVerifier:
    """Reads and judges all eras of one agency: `run`, `certify`, then `judge` and the results."""

    source: Source
    ledger_id: bytes
    agency: str
    rosters: list[Roster]
    check_signatures: VerifyMany
    progress: Progress
    places: set[tuple[int, str]] | None
    """The eras and branches of which the files name something; None where they cannot be listed."""
    wanted: Wanted | None = None
    logs: list[LogVerifier] = field(default_factory=list)
    """One for each era and branch, the eras ascending, the main branch of each first."""
    paths_read: set[str] = field(default_factory=set)
    undecided: list[tuple[int, Violation]] = field(default_factory=list)
    evidence: list[tuple[int, Violation]] = field(default_factory=list)

    @property
    def mains(self) -> list[LogVerifier]:
        """The main branch of each era that could be judged."""
        return [log for log in self.logs if not log.branch]

    def main(self, era: int) -> LogVerifier | None:
        """Return the main branch of an era."""
        return next((log for log in self.mains if log.origin.era == era), None)

    def run(self) -> None:
        """Read every branch of every era, the earlier ones first."""
        peeks = list(self._peeks())
        sizes: dict[int, set[int]] = {}
        for peek in peeks:
            sizes.setdefault(peek.era, set()).add(peek.size)
            for head in (peek.reconcile.kept, *peek.reconcile.closes) if peek.reconcile else ():
                sizes.setdefault(head.era, set()).add(head.size)
        for era, note_size in self._noted_sizes(peeks):
            sizes.setdefault(era, set()).add(note_size)
        if self.wanted:
            sizes.setdefault(self.wanted.era, set()).add(self.wanted.size)
        for peek in peeks:
            self._run_one(peek, sizes.get(peek.era, set()))

    def certify(self, cards: Mapping[bytes, SignedCard]) -> None:
        """Find the certified size of each branch, era after era."""
        for log in self.logs:
            kept = log.start.kept
            transitions = dict(NO_TRANSITIONS)
            for before in self._holders(kept) if kept else ():
                for version, one in before.certified.transitions.items():
                    if kept and not _is_beyond(one, kept):
                        transitions.setdefault(version, one)
            log.certify(cards, transitions)

    def judge(self, level: Level) -> None:
        """Say what belongs to the log, after `certify`, and what follows for everything else."""
        self._check_ends()
        log = self._log()
        if log is None:
            if level == "certified":
                for main in self.mains:
                    main.check_level()
            return
        try:
            _Judgement(self, log).judge()
        except Undecided as error:
            self.undecided.append((log.origin.era, violation("reconcile.missing", str(error))))
        if level == "certified":
            log.check_level()

    def reports(self) -> list[LogReport]:
        """The line of each era."""
        return [line for log in self.mains if (line := log.report()) is not None]

    def problems(self) -> list[Problem]:
        """Everything wrong, era by era."""
        found = [problem for log in self.logs for problem in log.problems()]
        for era, one in (*self.undecided, *self.evidence):
            found += sorted_problems(str(self.origin(era)), [one])
        return found

    def warnings(self) -> list[str]:
        """What changes no verdict."""
        return [text for log in self.logs for text in log.warnings]

    def read(self, era: int, branch: str, file: str | Tile) -> bytes | None:
        """Return a file as it is, or None; whatever is wrong with it is named where it is judged."""
        path = LogPath(self.agency, era, branch, file)
        with suppress(Malformed, Undecided):
            return self.source.read(format_tree_path(path), bytes_max=tree.bytes_max(path))
        return None

    def pieces(self, era: int, kind: PieceKind) -> Iterator[tuple[str, bytes]]:
        """Yield the pieces of an era by their file, in order, to the first that is absent."""
        for number in range(tree.PIECES_MAX):
            file = piece_file(kind, number)
            raw = self.read(era, "", file)
            if raw is None:
                return
            self.paths_read.add(format_tree_path(LogPath(self.agency, era, "", file)))
            yield file, raw

    def origin(self, era: int) -> Origin:
        """Return the name of an era."""
        return Origin(self.rosters[0].ledger, self.agency, era)

    def _log(self) -> LogVerifier | None:
        """The history that is the log: the first branch of the last era that may be it."""
        return next((log for log in self._latest_first() if self._may_be_log(log)), None)

    def _check_ends(self) -> None:
        """Where a roster ends the log, some branch has that state if one is as long."""
        for _, end in self.ends():
            of_era = [log for log in self.logs if log.origin.era == end.head.era]
            roots = {root for log in of_era if (root := log.root_at(end.head.size)) is not None}
            if roots and end.head.root not in roots:
                text = f"the roster ends this log at {end.head.size} entries with another root"
                of_era[0].add("checkpoint.root", text)

    def _latest_first(self) -> list[LogVerifier]:
        return sorted(self.logs, key=lambda log: -log.origin.era)  # stable: the main branch stays first

    def _may_be_log(self, log: LogVerifier) -> bool:
        """Whether a proven branch has a valid opening, is not cut off, and is not another than was ended."""
        if not log.is_whole or not (log.state.moving or log.origin.era == 1) or self.is_cut_off(log):
            return False
        heads = [end.head for _, end in self.ends() if end.head.era == log.origin.era]
        return all(log in held for head in heads if (held := list(self._holders(head))))

    def is_cut_off(self, log: LogVerifier) -> bool:
        """Whether an opening lies beyond an ``ends``, or (by the old root key) ignores it."""
        opened = log.state_at(1)
        roster = opened.authority.roster if opened else None
        if log.start.kept is None or roster is None:
            return False
        era = log.origin.era
        return any(lineage.is_cut_off(era, roster.version, version, end) for version, end in self.ends())

    @property
    def is_dropped(self) -> bool:
        """Whether the newest roster version in hand has no such agency."""
        return self.agency not in self.rosters[-1].agencies

    def ends(self) -> list[tuple[int, Ends]]:
        """What the roster versions state as this agency's ends."""
        found = ((roster.version, roster.ends.get(self.agency)) for roster in self.rosters)
        return [(version, end) for version, end in found if end is not None]

    def _peeks(self) -> Iterator[_Peek]:
        for era, branch in self._found():
            raw = self.read(era, branch, "checkpoint")
            size = 0
            with suppress(LedgerError):
                size = parse_checkpoint(note.parse_note(raw or b"").text).size
            opening = self._opening(era, branch, size) if era > 1 and size else None
            yield _Peek(era=era, branch=branch, size=size, reconcile=opening)

    def _found(self) -> list[tuple[int, str]]:
        """The eras and branches that the files name; without a list, the eras that answer, in order."""
        if self.places is None:
            eras = [1]
            while len(eras) < ERA_MAX and self.read(eras[-1] + 1, "", "checkpoint") is not None:
                eras.append(eras[-1] + 1)
            return [(era, branch) for era in eras for branch in ("", *self._branches_told(era))]
        return sorted({(1, ""), *self.places, *((era, "") for era, _ in self.places)})

    def _branches_told(self, era: int) -> list[str]:
        if isinstance(self.source, tree.ListsBranches):
            with suppress(LedgerError):
                return self.source.branches(self.origin(era))
        return []

    def _opening(self, era: int, branch: str, size: int) -> Reconcile | None:
        tile = next(bundles_of(0, size))
        with suppress(LedgerError):
            leaves = decode_bundle(self.read(era, branch, tile) or b"", tile.width)
            return reconcile_of(parse_leaf(leaves[0]))
        return None

    def _noted_sizes(self, peeks: Iterable[_Peek]) -> Iterator[tuple[int, int]]:
        for era in sorted({peek.era for peek in peeks}):
            for _, raw in self.pieces(era, "unproven"):
                with suppress(LedgerError):
                    yield era, parse_checkpoint(note.parse_note(raw).text).size

    def _run_one(self, peek: _Peek, sizes: set[int]) -> None:
        try:
            start, before = self._start(peek)
        except LedgerError as error:
            self.undecided.append((peek.era, violation("reconcile.missing", str(error))))
            return
        is_wanted = self.wanted is not None and not peek.branch and self.wanted.era == peek.era
        log = LogVerifier(
            self.source,
            start,
            self.check_signatures,
            self.progress,
            branch=peek.branch,
            before=before,
            wanted=self.wanted.index if self.wanted and is_wanted else None,
            sizes=sizes,
        )
        self.logs.append(log)
        log.run()

    def _start(self, peek: _Peek) -> tuple[ChainState, Callable[[bytes], bool]]:
        """The state on which a branch is judged, and what the log had seen there."""
        if peek.era == 1:
            by_hash = {roster.hash: roster for roster in self.rosters}
            return open_log(self.ledger_id, self.origin(1), by_hash), lambda entry_id: False
        if peek.reconcile is None:  # no opening at all: it is judged on what came before, and named there
            earlier = [log for log in self.mains if log.is_whole and log.origin.era < peek.era]
            if not earlier:
                raise Undecided(f"no era before {peek.era} is in hand")
            last = earlier[-1]
            return open_era(last.state, peek.era), lambda entry_id: last.has_before(last.state.size, entry_id)
        kept = peek.reconcile.kept
        if kept == START:
            by_hash = {roster.hash: roster for roster in self.rosters}
            return open_era(open_log(self.ledger_id, self.origin(1), by_hash), peek.era), lambda _: False
        log = self._holding(kept)
        state = log.state_at(kept.size) if log else None
        if log is None or state is None:
            raise Undecided(
                f"the {kept.size} entries of era {kept.era} that era {peek.era} keeps are missing"
            )
        return open_era(state, peek.era), lambda entry_id: log.has_before(kept.size, entry_id)

    def _holding(self, head: Head) -> LogVerifier | None:
        """The first branch that has this state: all of them agree on it."""
        return next(self._holders(head), None)

    def _holders(self, head: Head) -> Iterator[LogVerifier]:
        of_era = (log for log in self.logs if log.origin.era == head.era and log.is_whole)
        return (log for log in of_era if log.root_at(head.size) == head.root)

    def is_settled(self, log: LogVerifier) -> bool:
        """Whether the opening of this branch's era is certified, in whichever branch; at n = 1, sequenced."""
        opened = log.state_at(1)
        if opened is None:
            return False
        roster = opened.authority.roster
        if roster is not None and len(roster.agencies) == 1:
            return True
        return any(one.certified.size > 0 for one in self._holders(head_of(opened)))


class _Judgement:
    """What all of an agency's branches come to, around the one history that is its log."""

    def __init__(self, agency: AgencyVerifier, log: LogVerifier) -> None:
        self._agency = agency
        self._log = log
        reads = [_read_of(one) for one in agency.logs if one.is_whole]
        self._reads = {(read.head.era, read.verifier.branch): read for read in reads}
        self._branches = Branches(reads)
        self._history: History = self._branches.history(_read_of(log).head)
        self._eras = {head.era: self._era_log(head) for head in self._history}
        self._settled = [era for era, one in self._eras.items() if one and agency.is_settled(one)]
        self._closes: list[Head] = []
        self._set_aside: set[bytes] = set()

    def judge(self) -> None:
        for era, log in self._eras.items():
            if era > 1 and log is not None:
                self._judge_lists(log)
        for read in self._reads.values():
            self._judge_branch(read)
        eras = {log.origin.era for log in self._agency.logs}
        for era in sorted(eras):
            self._judge_evidence(era)
            self._judge_unproven(era)

    def _era_log(self, head: Head) -> LogVerifier | None:
        read = self._branches.holding(head)
        return read.verifier if isinstance(read, _Read) else None

    def _judge_lists(self, log: LogVerifier) -> None:
        opened = log.state_at(1)
        [raw] = log.leaves(0, 1)
        reconcile = reconcile_of(parse_leaf(raw))
        if opened is None or opened.moving is None or reconcile is None:
            return
        if log.origin.era in self._settled:
            self._closes += reconcile.closes
        found, lists = lineage.check_lists(
            opened,
            reconcile,
            self._branches,
            lambda entry_id: log.has_before(1, entry_id),
            self._agency.check_signatures,
        )
        for one in found:
            log.add(one.rule.name, one.detail, one.index)
        if lists is not None:
            self._set_aside |= {one.entry_id for one in lists.set_aside}

    def _judge_branch(self, read: _Read) -> None:
        log, head = read.verifier, read.head
        ends = [end for _, end in self._agency.ends()]
        word = lineage.standing(
            self._branches, head, self._history, settled=self._settled, closes=self._closes, ends=ends
        )
        if word in ("part", "ended"):
            if word == "ended":
                beyond = [end.head for end in ends if lineage.is_ended(head, end)]
                log.demote(min(end.size if end.era == head.era else 0 for end in beyond), "ended")
            return
        text = f"{head.size} entries of branch {log.branch or 'main'}"
        if self._agency.is_cut_off(log) or (word == "open" and self._is_gone()):
            word = "ended"
        if word == "open":
            log.add("log.forked", f"{text} contradict the log, and no later era is certified", None)
            return
        part = 0 if word == "ended" else self._shared(read)
        log.demote(part, word)
        log.warn(f"{log.origin}: {text} from index {part} on are {word}, no part of the log")
        if word == "late":
            self._name_owed(log, part, head.size)

    def _shared(self, read: _Read) -> int:
        """How many first leaves of a branch the log has, as far as its checkpoints show."""
        own = next((one for one in self._history if one.era == read.head.era), None)
        if own is None or read.root_at(own.size) != own.root:
            return 0
        return own.size

    def _name_owed(self, log: LogVerifier, start: int, end: int) -> None:
        leaves, check = log.leaves(start, end), self._agency.check_signatures
        for entry_id in lineage.owed(leaves, self._in_log, self._set_aside.__contains__, check):
            log.add("log.owed", f"entry {entry_id.hex()} of a late branch is not in the log")

    def _in_log(self, entry_id: bytes) -> bool:
        return self._log.has_before(self._log.state.size, entry_id)

    def _is_repaired(self, era: int) -> bool:
        return any(later > era for later in self._settled) or self._is_gone()

    def _is_gone(self) -> bool:
        """Whether the agency was dropped at a state of this history: nobody can open an era after it."""
        heads = [end.head for _, end in self._agency.ends()][-1:]
        return self._agency.is_dropped and any(self._branches.contains(self._history, one) for one in heads)

    def _judge_evidence(self, era: int) -> None:
        forks = []
        suspects = self._suspects(era)
        for file, raw in self._agency.pieces(era, "evidence"):
            try:
                claim = parse_evidence(raw)
            except Malformed as error:
                self._report(era, "evidence.form", f"{file}: {error}")
                continue
            try:
                if claim.origin != self._agency.origin(era):
                    raise Unproven(f"of {claim.origin}")
                forks.append(check_evidence(raw, suspects))
            except LedgerError as error:
                self._report(era, "evidence.proof", f"{file}: {error}")
        log = self._agency.main(era)
        if not forks or log is None:
            return
        first = min(forks, key=lambda fork: (fork.index, fork.evidence))
        if self._is_repaired(era):
            log.warn(f"{log.origin}: the log was forked ({first.kind} {first.index}); a later era goes on")
        else:
            self._report(era, "log.forked", f"evidence of a fork: {first.kind} {first.index}")

    def _suspects(self, era: int) -> Suspects:
        logs = [log for log in self._agency.logs if log.origin.era == era]
        versions = self._agency.rosters
        roots = [one.agencies[self._agency.agency] for one in versions if self._agency.agency in one.agencies]
        keys = [key for log in logs for key in log.log_keys()]
        return Suspects(ledger_id=self._agency.ledger_id, log_keys=set(keys), root_keys=set(roots))

    def _judge_unproven(self, era: int) -> None:
        log = self._agency.main(era)
        keys = self._suspects(era).log_keys
        for file, raw in self._agency.pieces(era, "unproven"):
            head = _signed_head(raw, str(self._agency.origin(era)), keys)
            if head is None:
                self._report(era, "checkpoint.signature", f"{file} is no checkpoint of this era's log key")
            elif head.root != EMPTY_ROOT and self._branches.holding(head) is None and log is not None:
                text = f"{file}: nobody shows the leaves of a checkpoint of {head.size} entries"
                if self._is_repaired(era):
                    log.warn(f"{log.origin}: {text}")
                else:
                    self._report(era, "log.unproven", text)

    def _report(self, era: int, rule: str, text: str) -> None:
        self._agency.evidence.append((era, violation(rule, text)))


def _read_of(log: LogVerifier) -> _Read:
    head = Head(log.origin.era, log.state.size, log.state.tree.root())
    return _Read(verifier=log, head=head, kept=log.start.kept, reader=_TreeTiles(log))


def _is_beyond(transition: note.Note, kept: Head) -> bool:
    checkpoint = parse_checkpoint(transition.text)
    era = int(checkpoint.origin.rpartition("/")[2])
    return (era, checkpoint.size) > (kept.era, kept.size)


def _signed_head(raw: bytes, origin: str, keys: Iterable[bytes]) -> Head | None:
    for key in keys:
        with suppress(LedgerError):
            checkpoint, _ = open_checkpoint(raw, note.verifier_of(origin, key))
            return Head(int(origin.rpartition("/")[2]), checkpoint.size, checkpoint.root)
    return None
