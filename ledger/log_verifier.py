"""One log of a static tree, read once from end to end and judged.

What is wrong ends up as violations, each with the index where it shows. A byte changed in a bundle shows at
its own index, because the hash tiles name every leaf's hash beside the chain links and the signed root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ledger import certify, note, tree
from ledger.authority import SignedCard
from ledger.certify import NO_TRANSITIONS, Certified
from ledger.chain import ChainState, Judged, Seen, extend
from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.errors import LedgerError, Malformed, Undecided
from ledger.governance import Revoke
from ledger.keys import VerifyMany
from ledger.merkle import leaf_hash
from ledger.report import PROBLEMS_MAX, LogReport, Problem, sorted_problems
from ledger.rules import Violation, violation
from ledger.tile_fold import TileFold
from ledger.tiles import TILE_WIDTH, Tile, bundles_of, decode_bundle, split_tile
from ledger.tree import LogPath, Source, format_tree_path, transition_file

Progress = Callable[[str, int, int], None]
"""Called with (origin, entries done, entries of this log)."""


class LogVerifier:
    """Reads and judges the log at ``origin``: `run`, then `certify`, then the results."""

    def __init__(
        self,
        source: Source,
        start: ChainState,
        check_signatures: VerifyMany,
        progress: Progress,
        *,
        branch: str = "",
        before: Seen = lambda entry_id: False,
        wanted: int | None = None,
        sizes: Iterable[int] = (),
    ) -> None:
        """``start`` is the state before the first leaf (`open_log`, `open_era`), ``before`` what it has seen.

        ``branch`` names another branch than the era's main one. ``wanted`` is the index of a leaf to keep as
        `wanted_leaf`, ``sizes`` are those for `root_at` and `state_at`.
        """
        origin, rosters = start.origin, start.authority.rosters
        self.origin = origin
        self.branch = branch
        self.start = start
        self.before = before
        self.state = start
        self.is_whole = False
        """Whether all leaves of a checkpoint that the log's key signed are in hand, with its root."""
        self.checkpoint: Checkpoint | None = None
        self.wanted_leaf: Judged | None = None
        self.records_public = 0
        self.records_private = 0
        self.paths_read: set[str] = set()
        self.warnings: list[str] = []
        self._wanted = wanted
        self._source = source
        self._check_signatures = check_signatures
        self._progress = progress
        self._false: list[Violation] = []
        self._undecided: list[Violation] = []
        self._dropped = 0
        self._seen: dict[bytes, int] = {}
        """Entry id to the index of its first leaf."""
        self._is_named = not branch
        self._tiles = TileFold()
        self._differing: set[tuple[int, int]] = set()
        """(level, node) of hashes that cannot be right, because a tile below them differs."""
        self._stops: dict[int, ChainState] = {0: self.state}
        """Size of each checkpoint in hand to the state there, once it is reached."""
        self._sizes = set(sizes)
        named = [roster.version for roster in rosters.values() if origin.agency in roster.agencies]
        self._kept = [transition_file(version) for version in sorted(named)[1:]]
        """A log adopts only versions that name its agency, and nothing leads into its first."""
        self._ends = [end for roster in rosters.values() if (end := roster.ends.get(origin.agency))]
        self._notes: list[tuple[str, note.Note, Checkpoint]] = []
        self.certified = Certified(size=0, transitions={})
        self._is_proven = False
        """Whether the leaves are those that the log's key signed: only then is anything in them its fault."""

    def run(self) -> None:
        """Read and judge everything below the checkpoint."""
        files = {file: self._read(file) for file in (*self._kept, "checkpoint.certified", "checkpoint")}
        claims = {file: self._claim(file, raw) for file, raw in files.items() if raw is not None}
        self.checkpoint = claims.get("checkpoint")
        if self.checkpoint is None:
            if files["checkpoint"] is None:
                self.add("log.missing", f"{self.origin.path}/checkpoint is not in hand")
            return
        stops = self._sizes | {1} | {claim.size for claim in claims.values() if claim}
        stops |= {end.head.size for end in self._ends}
        is_whole = self._read_leaves(self.checkpoint.size, stops)
        for file, raw in files.items():
            if raw is not None and claims[file] is not None:
                self._check_checkpoint(file, raw, is_whole=is_whole)
        self._check_vkey()
        self._name_ended()
        if is_whole:
            self._compare_tiles(self._tiles.partial())
            self.is_whole = self._is_proven
            if not self._is_named:
                self.add("branch.name", f"{self._path('checkpoint')} has no leaf of that hash")

    def state_at(self, size: int) -> ChainState | None:
        """Return the state after the first ``size`` leaves, one of the sizes asked for, if it was reached."""
        return self._stops.get(size)

    def has_before(self, size: int, entry_id: bytes) -> bool:
        """Whether an entry stands below ``size``, or in an era before."""
        return self._seen.get(entry_id, size) < size or self.before(entry_id)

    def leaves(self, start: int, end: int) -> Iterator[bytes]:
        """Read leaves [start, end) again; they were there before."""
        for tile in bundles_of(start, end):
            width = min(TILE_WIDTH, self.state.size - tile.index * TILE_WIDTH)
            raws = self._read_bundle(replace(tile, width=width))
            if raws is None:
                raise Undecided(f"{self._path(tile)} was there, and is no more")
            first = tile.index * TILE_WIDTH
            yield from raws[max(0, start - first) : end - first]

    def read_tile(self, tile: Tile) -> bytes:
        """Return the bytes of a hash tile, which were compared with the leaves when they were read."""
        raw = self._read(tile)
        if raw is None:
            raise Undecided(f"{self._path(tile)} is not in hand")
        return raw

    def log_keys(self) -> list[bytes]:
        """The log keys that a valid opening of this history gives, to convict by evidence."""
        card = self.state.authority.card
        return [card.card.log_key] if card and card.place.era == self.origin.era else []

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` leaves, one of the sizes asked for; None if not reached."""
        state = self._stops.get(size)
        return None if state is None else state.tree.root()

    def certify(
        self, cards: Mapping[bytes, SignedCard], transitions: Mapping[int, note.Note] = NO_TRANSITIONS
    ) -> Certified:
        """Find the certified size, with the cards of all logs in hand and the transitions of eras before."""
        found = self.certify_with((), cards, transitions)
        for file, signed, _ in self._notes:
            before = {version: one for version, one in found.transitions.items() if one != signed}
            for name in certify.uncounted(signed, self.state.authority, cards, before):
                self.warn(f"{self._path(file)}: the line of {name!r} is no cosignature that counts")
            if file in self._kept and found.transitions.get(int(file.rpartition("/")[2])) != signed:
                self.warn(f"{self._path(file)} is not the first certified checkpoint under its version")
        self.certified = found
        return found

    def check_level(self) -> None:
        """Ask that the log is certified up to its end."""
        if self.certified.size < self._end:
            text = (
                f"certified up to {self.certified.size} of {self._end} entries{self._lacking(self.certified)}"
            )
            self.add("log.level", text)

    def certify_with(
        self,
        more: Iterable[note.Note],
        cards: Mapping[bytes, SignedCard],
        transitions: Mapping[int, note.Note] = NO_TRANSITIONS,
    ) -> Certified:
        """Return what the notes in hand certify together with ``more``, which have the root of the leaves."""
        known = self.state.size if self.state.undecided_at is None else self.state.undecided_at
        signed = [one for _, one, _ in self._notes] + list(more)
        decided = [one for one in signed if parse_checkpoint(one.text).size <= known]
        found = certify.certify(decided, self.state.authority, cards, transitions)
        return replace(found, size=min(found.size, self._end))

    @property
    def _end(self) -> int:
        """Where the log ends: at its checkpoint, or before, where a roster version ended it."""
        claimed = self.checkpoint.size if self.checkpoint else 0
        return min([claimed, *(end.head.size for end in self._ends if end.head.era == self.origin.era)])

    def _lacking(self, found: Certified) -> str:
        """Which transition is not in hand, as without it nothing later counts."""
        terms = self.state.authority.standing(self.state.size).terms()[:-1]
        lacking = [
            one.roster.version for one in reversed(terms) if one.roster.version not in found.transitions
        ]
        return f"; none under roster version {lacking[0]} with the quorum before it" if lacking else ""

    def report(self) -> LogReport | None:
        """The log's line of the report; None without a checkpoint."""
        if self.checkpoint is None:
            return None
        return LogReport(
            origin=str(self.origin),
            agency=self.origin.agency,
            era=self.origin.era,
            size=self.checkpoint.size,
            root=self.checkpoint.root,
            certified_size=self.certified.size,
        )

    def demote(self, size: int, why: str) -> None:
        """What leaves from ``size`` on break is named and changes no verdict: they are no part of the log."""
        for kept in (self._false, self._undecided):
            for one in [one for one in kept if one.rule.verdict == "leaf" and (one.index or 0) >= size]:
                kept.remove(one)
                self.warn(f"{self._path('checkpoint')}: index {one.index} is {why} and breaks {one}")

    def problems(self) -> list[Problem]:
        """Everything wrong, in order."""
        if self._dropped:
            self.warnings.append(f"{self.origin}: {self._dropped} more problems or warnings are not listed")
        found = self._false + self._undecided
        return sorted_problems(str(self.origin), found, is_altered=not self._is_proven)

    def add(self, rule: str, text: str, index: int | None = None) -> None:
        """Name one more problem of this log."""
        self._keep([violation(rule, text, index=index)])

    def _keep(self, found: Sequence[Violation]) -> None:
        """A thousand missing files must not crowd out the one that is false."""
        for one in found:
            kept = self._undecided if one.rule.error is Undecided else self._false
            if len(kept) < PROBLEMS_MAX:
                kept.append(one)
            else:
                self._dropped += 1

    def warn(self, text: str) -> None:
        """Name something that changes no verdict."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(text)
        else:
            self._dropped += 1

    def _path(self, file: str | Tile) -> str:
        return format_tree_path(LogPath(self.origin.agency, self.origin.era, self.branch, file))

    def _read(self, file: str | Tile) -> bytes | None:
        name = self._path(file)
        self.paths_read.add(name)
        try:
            return self._source.read(name, bytes_max=tree.bytes_max(tree.parse_tree_path(name)))
        except Malformed as error:
            self.add("tree.limit", f"{name}: {error}")
        except Undecided as error:
            self.add("log.missing", f"{name}: {error}")
        return None

    def _claim(self, file: str, raw: bytes) -> Checkpoint | None:
        """What a checkpoint says, before anything of it is checked."""
        try:
            claim = parse_checkpoint(note.parse_note(raw).text)
            if claim.extensions:  # evidence of a fork would have no room for them
                raise Malformed("a checkpoint of a ledger's log has no extension lines")
        except LedgerError as error:
            self.add("checkpoint.form", f"{self._path(file)}: {error}")
            return None
        return claim

    def _read_leaves(self, size: int, stops: set[int]) -> bool:
        """Judge all leaves below ``size``; return whether all were there."""
        for tile in bundles_of(0, size):
            raws = self._read_bundle(tile)
            if raws is None:
                return False
            start = self.state.size
            cuts = sorted({stop - start for stop in stops if start < stop < start + len(raws)})
            for first, last in pairwise([0, *cuts, len(raws)]):
                self._take(raws[first:last])
                if self.state.size in stops:
                    self._stops[self.state.size] = self.state
            self._progress(str(self.origin), self.state.size, size)
        self._stops[size] = self.state
        return True

    def _read_bundle(self, tile: Tile) -> list[bytes] | None:
        raw = self._read(tile)
        if raw is None:
            self.add("log.missing", f"{self._path(tile)} is not in hand", self.state.size)
            return None
        try:
            return decode_bundle(raw, tile.width)
        except Malformed as error:
            self.add("bundle.form", f"{self._path(tile)}: {error}", self._first_damage(tile, raw))
            return None

    def _first_damage(self, tile: Tile, raw: bytes) -> int:
        """Index of the first entry of a broken bundle that is not the one in the hash tile beside it."""
        hashes = self._hashes_of(tile)
        at = 0
        for place, expected in enumerate(hashes):
            start = at + 2
            at = start + int.from_bytes(raw[at:start])
            if at > len(raw) or leaf_hash(raw[start:at]) != expected:
                return self.state.size + place
        return self.state.size + max(0, len(hashes) - 1)

    def _hashes_of(self, bundle: Tile) -> list[bytes]:
        """The leaf hashes that the files name for a bundle, or none."""
        raw = self._read(Tile(level=0, index=bundle.index, width=bundle.width))
        try:
            return split_tile(raw or b"", bundle.width)
        except Malformed:
            return []

    def _take(self, raws: Sequence[bytes]) -> None:
        """Extend by leaves of one bundle, and compare the hash tiles that they complete."""
        self.state, judged = extend(self.state, raws, self._has_seen, self._check_signatures)
        for one in judged:
            self._keep(one.violations)
            self._count(one)
            self._compare_tiles(self._tiles.append(one.hash))

    def _has_seen(self, entry_id: bytes) -> bool:
        return entry_id in self._seen or self.before(entry_id)

    def _count(self, one: Judged) -> None:
        self._is_named = self._is_named or one.hash.hex() == self.branch
        if one.index == self._wanted:
            self.wanted_leaf = one
        if one.leaf is None:
            return
        header = one.leaf.header
        self._seen.setdefault(header.entry_id, one.index)
        if header.is_public:
            self.records_public += header.records_count
        else:
            self.records_private += header.records_count
        for record in one.governance:
            if isinstance(record, Revoke) and record.suspect_from and not one.violations:
                place = record.suspect_from
                self.warn(
                    f"{self.origin}: entries of key {record.key.hex()} since index "
                    f"{place.index} of era {place.era} are suspect (revoked at {one.index})"
                )

    def _compare_tiles(self, expected: Iterable[tuple[Tile, list[bytes]]]) -> None:
        for tile, hashes in expected:
            raw = self._read(tile)
            if raw is None:
                self.add("log.missing", f"{self._path(tile)} is not in hand", self._first_leaf(tile, 0))
                continue
            try:
                given = split_tile(raw, tile.width)
            except Malformed as error:
                self.add("tile.content", f"{self._path(tile)}: {error}", self._first_leaf(tile, 0))
                continue
            if given != hashes:
                self._name_difference(tile, given, hashes)

    def _name_difference(self, tile: Tile, given: list[bytes], hashes: list[bytes]) -> None:
        """Name the first place that differs, if it does not follow from a difference below, already named."""
        level = tile.level or 0
        pairs = enumerate(zip(given, hashes, strict=True), tile.index * TILE_WIDTH)
        differing = (node for node, (ours, theirs) in pairs if ours != theirs)
        node = next((node for node in differing if (level, node) not in self._differing), None)
        if node is not None:
            place = node % TILE_WIDTH
            text = f"{self._path(tile)} does not have the hash of the leaves in place {place}"
            self.add("tile.content", text, self._first_leaf(tile, place))
        self._differing.add((level + 1, tile.index))

    @staticmethod
    def _first_leaf(tile: Tile, place: int) -> int:
        """Index of the first leaf below place ``place`` of a hash tile."""
        return int((tile.index * TILE_WIDTH + place) * TILE_WIDTH ** (tile.level or 0))

    def _log_key(self) -> note.NoteVerifier | None:
        keys = self.log_keys()
        return note.verifier_of(str(self.origin), keys[0]) if keys else None

    def _check_checkpoint(self, file: str, raw: bytes, *, is_whole: bool) -> None:
        claim = parse_checkpoint(note.parse_note(raw).text)
        if claim.origin != str(self.origin):
            self.add("checkpoint.origin", f"{self._path(file)} is of {claim.origin[:200]!r}")
            return
        key = self._log_key()
        if key is None:
            self._check_without_opening(file, raw, is_whole=is_whole)
            return
        try:
            checkpoint, signed = open_checkpoint(raw, key)
        except LedgerError as error:
            self.add("checkpoint.signature", f"{self._path(file)}: {error}")
            return
        self._check_carried(file, checkpoint)
        if self.root_at(checkpoint.size) == checkpoint.root:
            self._notes.append((file, signed, checkpoint))
            self._is_proven = self._is_proven or file == "checkpoint"
        elif is_whole and checkpoint.size > self.state.size:
            text = f"{self._path(file)} covers {checkpoint.size} entries, the others end at {self.state.size}"
            self.add("log.missing", text)
        elif is_whole:
            self.add(
                "checkpoint.root",
                f"{self._path(file)}: the leaves below {checkpoint.size} give another "
                "root than the one signed",
            )

    def _check_carried(self, file: str, checkpoint: Checkpoint) -> None:
        """An era's first checkpoint covers the opening and all that it moves."""
        moving = self.state.moving
        if moving is not None and checkpoint.size < 1 + (moving.count or 0):
            text = (
                f"{self._path(file)} covers {checkpoint.size} entries, not all {moving.count} that are moved"
            )
            self.add("checkpoint.carried", text)

    def _check_without_opening(self, file: str, raw: bytes, *, is_whole: bool) -> None:
        """The opening names the key; where it is not in hand, checkpoint and vkey must at least agree."""
        if self.state.undecided_at is not None:
            text = f"{self._path(file)}: the roster version under which its key was named is not in hand"
            self.add("adopt.undecided", text)
        elif self.state.size or is_whole:
            self.add("checkpoint.signature", f"{self._path(file)}: no valid opening gives its key")
        elif vkey := self._read("vkey"):
            try:
                open_checkpoint(raw, note.parse_vkey(vkey.decode(errors="replace").removesuffix("\n")))
            except LedgerError as error:
                self.add("checkpoint.signature", f"{self._path(file)} by the vkey beside it: {error}")

    def _name_ended(self) -> None:
        """Beyond where a roster ended the agency or its root key, leaves are shown, no part of the log."""
        for end in self._ends:
            if end.head.era != self.origin.era:
                continue
            if self.state.size > end.head.size:
                self.warn(f"{self.origin}: entries from index {end.head.size} on are ended by the roster")

    def _check_vkey(self) -> None:
        key = self._log_key()
        raw = self._read("vkey")
        if raw is None:
            self.add("log.missing", f"{self._path('vkey')} is not in hand")
        elif key is not None and raw != f"{note.format_vkey(key)}\n".encode():
            self.add("vkey.differs", f"{self._path('vkey')} is not the key that the opening names")
