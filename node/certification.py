"""Which cosignatures this node keeps of each log, and which checkpoint they certify, by ``ledger.certify``.

They come from the witness of this node, from answers of other witnesses, and on notes that peers and files
show. Kept are only good lines, on the checkpoint of leaves that are held, by a witness key that the log pins
or that is its agency's newest: lines of others cost a look at their name and leave nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ledger.authority import SignedCard
from ledger.certify import counting_cards, is_certified, transition_of, witness_verifier
from ledger.chain import ChainState
from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.cosignature import check_cosignature
from ledger.errors import Unproven
from ledger.merkle import root_at
from ledger.names import parse_origin
from ledger.note import (
    KeyName,
    Note,
    NoteVerifier,
    SignatureLine,
    format_line,
    keep_lines,
    parse_line,
    parse_note,
    verifier_of,
)
from node.database import Database
from node.log_store import MAIN, LogStore
from node.stored_logs import StoredLogs

LINES_OF_KEY_MAX = 2
"""Lines of one key that are tried on one note: a note full of bad ones must not cost a check each."""

States = Mapping[str, ChainState]
"""The logs held, by origin."""


def log_key(state: ChainState) -> NoteVerifier | None:
    """Return the verifier of a log's checkpoints, None before its opening is known."""
    card = state.authority.card
    is_own = card is not None and card.place.era == state.origin.era
    return verifier_of(str(state.origin), card.card.log_key) if card and is_own else None


class Certification:
    """The cosignatures of every log in one store."""

    def __init__(
        self, database: Database, store: LogStore, logs: StoredLogs, states: Callable[[], States]
    ) -> None:
        """``states`` gives the main branches held, of every era, each as far as the store holds it."""
        self.states = states
        self._logs = logs
        self._database = database
        self._store = store

    def cards(self) -> dict[bytes, SignedCard]:
        """Return the cards that stand in the logs held, by record hash."""
        states = self.states().values()
        return {placed.hash: placed for state in states for placed in state.authority.cards}

    def take(self, raw: bytes) -> bool:
        """Keep what is new and good of the cosignatures on a checkpoint; return whether anything was.

        Raises `Unproven` if its log's key did not sign it, or if no branch held has its root. One whose
        leaves are not all held is left for later.
        """
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        state = self.states().get(checkpoint.origin)
        if state is None or checkpoint.size == 0 or checkpoint.extensions:
            return False
        branch = self._branch_of(checkpoint)
        if branch is None:
            if checkpoint.size <= state.size:
                self.check_root(checkpoint)
            return False
        state = self._state(checkpoint.origin, branch)
        key = log_key(state)
        fresh = self._fresh(note, checkpoint, key, branch) if key else []
        if not fresh or key is None:
            return False
        open_checkpoint(raw, key)
        good = self._good(note, fresh, state)
        if good:
            with self._database.transaction():
                self._keep(note, good, branch)
        return bool(good)

    def keep(self, note: Note, lines: Iterable[SignatureLine]) -> None:
        """Keep good lines on a checkpoint signed by its log, and the checkpoint if it is now certified.

        Within the caller's transaction; the leaves below it are held, and are of the main branch.
        """
        self._keep(note, lines, MAIN)

    def _keep(self, note: Note, lines: Iterable[SignatureLine], branch: str) -> None:
        checkpoint = parse_checkpoint(note.text)
        for line in lines:
            self._store.put_cosignature(
                checkpoint.origin, checkpoint.size, line.name, line.key_id, format_line(line), branch
            )
        self._certify(checkpoint, note, branch)

    def whole(self, note: Note) -> Note:
        """Return the note with the lines that it has and those that are kept on its checkpoint."""
        checkpoint = parse_checkpoint(note.text)
        kept = map(parse_line, self._store.cosignatures(checkpoint.origin, checkpoint.size))
        return Note(text=note.text, lines=(*note.lines, *kept))

    def shown(self, raw: bytes) -> bytes:
        """Return a checkpoint of a log with the lines that are kept on it."""
        checkpoint = parse_checkpoint(parse_note(raw).text)
        return with_lines(raw, self._store.cosignatures(checkpoint.origin, checkpoint.size))

    def check_root(self, checkpoint: Checkpoint) -> None:
        """Raise `Unproven` unless the leaves held give the root of a checkpoint, which lies within them."""
        root = root_at(self._store.reader(checkpoint.origin), checkpoint.size)
        if root != checkpoint.root:
            raise Unproven(
                f"{checkpoint.origin}: two histories are signed by its log key: the checkpoint of size "
                f"{checkpoint.size} has root {checkpoint.root.hex()}, the leaves held give {root.hex()}"
            )

    def verifiers(self, text: str, state: ChainState | None = None) -> dict[KeyName, NoteVerifier]:
        """Return the witness keys of which a line on the checkpoint ``text`` is kept.

        ``state`` is that of its branch, if it is not the main one.
        """
        states = self.states()
        state = state or states[parse_checkpoint(text).origin]
        ledger = state.origin.ledger
        counting = counting_cards(Note(text=text, lines=()), state.authority, self.cards())
        found = [witness_verifier(ledger, name, card) for name, card in counting.items()]
        found += [
            witness_verifier(ledger, one.origin.agency, one.authority.card.card)
            for one in states.values()
            if one.authority.card
        ]
        return {(one.name, one.key_id): one for one in found}

    def lacking_of(self, origin: str) -> list[int] | None:
        """Return None if a log is certified up to its newest checkpoint here, and every transition is kept.

        Else the roster versions into which transitions are lacking, the oldest first.
        """
        state, newest = self.states()[origin], self._store.newest_checkpoint(origin)
        later = state.authority.standing(state.size).terms()[:-1]
        kept = self._transitions(origin, MAIN) if later else {}
        lacking = [one.roster.version for one in reversed(later) if one.roster.version not in kept]
        size = parse_checkpoint(parse_note(newest).text).size if newest else 0
        return lacking if lacking or self._store.certified_size(origin) < size else None

    def _branch_of(self, checkpoint: Checkpoint) -> str | None:
        """The branch whose leaves give a checkpoint's root, or None."""
        return self._logs.holding(parse_origin(checkpoint.origin), checkpoint.size, checkpoint.root)

    def _state(self, origin: str, branch: str) -> ChainState:
        main = self.states()[origin]
        return main if branch == MAIN else self._logs.state(main.origin, branch)

    def _transitions(self, origin: str, branch: str) -> dict[int, bytes]:
        """By roster version, the transitions of a branch, and of what it keeps of earlier eras."""
        found: dict[int, bytes] = {}
        for place in self._logs.history(parse_origin(origin), branch):
            held = self._store.transitions(str(place.origin), place.branch)
            below = {
                version: raw
                for version, raw in held.items()
                if parse_checkpoint(parse_note(raw).text).size <= place.size
            }
            found = {**found, **below}
        return found

    def _fresh(
        self, note: Note, checkpoint: Checkpoint, key: NoteVerifier, branch: str
    ) -> list[SignatureLine]:
        """The lines that are neither the log's own nor kept already, a few of each key."""
        lines = self._store.cosignatures(checkpoint.origin, checkpoint.size, branch)
        kept = {(line.name, line.key_id) for line in map(parse_line, lines)} | {(key.name, key.key_id)}
        tried: Counter[KeyName] = Counter()
        fresh = []
        for line in note.lines:
            name = (line.name, line.key_id)
            tried[name] += 1
            if name not in kept and tried[name] <= LINES_OF_KEY_MAX:
                fresh.append(line)
        return fresh

    def _good(self, note: Note, lines: Iterable[SignatureLine], state: ChainState) -> list[SignatureLine]:
        verifiers = self.verifiers(note.text, state)
        good: dict[KeyName, SignatureLine] = {}
        for line in lines:
            verifier = verifiers.get((line.name, line.key_id))
            if verifier is not None and is_good(note.text, line, verifier):
                good.setdefault((line.name, line.key_id), line)
        return list(good.values())

    def _certify(self, checkpoint: Checkpoint, note: Note, branch: str) -> None:
        origin, state = checkpoint.origin, self._state(checkpoint.origin, branch)
        key = log_key(state)
        if key is None or checkpoint.size < self._store.certified_size(origin, branch):
            return
        raw = with_lines(keep_lines(note, key), self._store.cosignatures(origin, checkpoint.size, branch))
        whole = parse_note(raw)
        transitions = {version: parse_note(one) for version, one in self._transitions(origin, branch).items()}
        if not is_certified(whole, state.authority, self.cards(), transitions):
            return
        version = transition_of(whole, state.authority)
        self._store.put_certified(origin, raw, checkpoint.size, checkpoint.root, branch)
        if version is not None and version not in transitions:
            self._store.put_transition(origin, version, raw, branch)
            self._certify_newest(origin, branch)

    def _certify_newest(self, origin: str, branch: str) -> None:
        """What came before its transition did may count now."""
        newest = self._store.newest_checkpoint(origin, branch)
        if newest is not None:
            note = parse_note(newest)
            self._certify(parse_checkpoint(note.text), note, branch)


def is_good(text: str, line: SignatureLine, verifier: NoteVerifier) -> bool:
    """Whether a line is the verifier's cosignature on a checkpoint's text."""
    try:
        check_cosignature(text, line, verifier)
    except Unproven:
        return False
    return True


def with_lines(raw: bytes, lines: Iterable[str]) -> bytes:
    """Return a note with more signature lines (each without its newline) at its end."""
    return raw + "".join(f"{line}\n" for line in lines).encode()
