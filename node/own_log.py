"""May this node go on with its own log? What its files, the others and a new era's opening say of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from ledger.checkpoint import open_checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.merkle import EMPTY_ROOT, root_at
from ledger.names import Origin, parse_origin
from ledger.note import NoteVerifier
from ledger.roster import Roster
from node import lease
from node.certification import Certification
from node.config import Config
from node.database import Database
from node.forks import Forks
from node.log_store import LogStore
from node.mirror import Mirror
from node.opening import card_of, load_era_opening
from node.resume import Answer, answers_needed, reason_to_refuse, reason_to_wait
from node.sequencer import Sequencer


class OwnLog:
    """The part of a node that doubts its own log; `node.wiring.Node` is the whole."""

    config: Config
    rosters: list[Roster]
    origin: Origin
    store: LogStore
    forks: Forks
    sequencer: Sequencer
    certification: Certification
    refusal: str | None
    clock_fault: str | None
    era_fault: str | None
    put_opening: Entry | None
    _answers: dict[str, Answer]
    _agencies_at_start: int
    _on_word: bool
    _own_copy: Mirror | None
    _log_verifier: NoteVerifier
    _instance: lease.Instance
    _database: Database
    _era_tried: int

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        """The copy of each other agency's log, in the era where it ends."""
        raise NotImplementedError

    @property
    def others(self) -> list[str]:
        """The other agencies of the newest roster version."""
        raise NotImplementedError

    def _root_at(self, origin: Origin, size: int) -> bytes:
        return root_at(self.store.reader(str(origin)), size)

    @property
    def waiting(self) -> str | None:
        """Why nothing is sequenced now, or None."""
        reason = self._reason_to_wait()
        if self._own_copy is not None:
            return f"{reason}; fetched back from the others so far: {self._own_copy.state.size} entries"
        if reason is None and self.sequencer.state.size == 0:
            return "its log is not opened yet: ask again in a moment"
        return reason

    def _reason_to_wait(self) -> str | None:
        if self.put_opening is not None:
            era = parse_origin(card_of(self.put_opening).origin).era
            return f"era {era} is about to be opened here; {self.era_fault or 'ask again in a moment'}"
        if self.refusal is not None:
            return self.refusal
        if self.config.agency not in self.rosters[-1].agencies:
            return f"version {self.rosters[-1].version} of the roster does not name this agency any more"
        return self.clock_fault or reason_to_wait(
            len(self._answers), agencies=self._agencies_at_start, on_word=self._on_word
        )

    @property
    def is_waiting_for_answers(self) -> bool:
        """Whether too few agencies have said since this start what they hold of this log."""
        needed = answers_needed(self._agencies_at_start)
        return not self._on_word and len(self._answers) < needed

    @property
    def unheard(self) -> list[str]:
        """Agencies that have not answered since this start."""
        return [name for name in self.others if name not in self._answers]

    def _reason_to_refuse(self) -> str | None:
        """Why this database must not go on in its era, as far as it knows by itself."""
        return (
            lease.stored_refusal(self._database, self.origin.era)
            or self._instance.refusal(
                self.store.size(str(self.origin)),
                lambda size: self._root_at(self.origin, size),
                self.origin.era,
            )
            or self.forks.reason_to_stop(self.origin)
        )

    def learnt(self, origin: Origin) -> None:
        """Draw what follows for the own log from what became known of one's forks and eras."""
        if origin.agency != self.config.agency or self.refusal is not None:
            return
        if origin.era > self.origin.era:
            self.refusal = (
                f"{origin} is about, a later era of this log: this database was restored or rebuilt"
            )
        else:
            self.refusal = self.forks.reason_to_stop(self.origin)

    def meet(self, note: bytes) -> bool:
        """Look at a checkpoint of any log that was shown here; return whether it contradicts what is held."""
        return self.forks.hear(note)

    def hear(self, agency: str, note: bytes | None) -> None:
        """Take what another agency holds of this log, at the start or later: a checkpoint, None for nothing.

        Raises `Unproven` for a checkpoint that this log's key did not sign: it is no answer.
        """
        if agency in self.mirrors:
            self._answers[agency] = self.meet_own(agency, note)

    def meet_own(self, who: str, note: bytes | None) -> Answer:
        """Look at a checkpoint of this log that somebody or something shows; return what it says.

        One that is not of the history here ends this era for this database. Raises as `hear`.
        """
        answer = Answer(size=0, root=EMPTY_ROOT)
        if note is not None:
            checkpoint, _ = open_checkpoint(note, self._log_verifier)
            answer = Answer(size=checkpoint.size, root=checkpoint.root)
            if self.sequencer.state.size and checkpoint.size:
                self.forks.hear(note)
        if self.refusal is None:
            self.refusal = reason_to_refuse(
                {who: answer},
                size=self.sequencer.state.size,
                root_at=lambda size: self._root_at(self.origin, size),
            )
        if note is not None:
            with contextlib.suppress(LedgerError):  # another history: the answer says so
                self.certification.take(note)
        return answer

    @property
    def opening_fault(self) -> str | None:
        """Why the opening of a later era that was put here is not open yet, or None."""
        return None if self.put_opening is None else self.era_fault or "it is about to be opened"

    def look_for_opening(self) -> bool:
        """Look whether the opening of a later era was put here; False if nothing changed since it failed."""
        self.put_opening = load_era_opening(self.config.directory, self.origin)
        seen, self._era_tried = self._era_tried, self._database.changes
        return self.era_fault is None or seen != self._era_tried
