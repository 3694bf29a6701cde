"""The desk's entry of each hour: the access journal enters the log, so that families see who looked.

One private entry an hour, signed by the desk key, whether or not anybody asked: its time tells nobody who
was asked about, and an hour without a reading is an entry of padding alone. The hour is counted from the
last such entry, so that a node which is started again and again makes no more of them. Rows leave the
journal in the transaction that sequences the entry.

A row that the rules refuse (the child's only notice was withdrawn since) stays in the journal, is told to the
operator, and enters when it can: no access record is ever dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.authority import Author
from ledger.entry import RECORDS_MAX, PrivateBodies, sign_padding, sign_private
from ledger.keys import SEED_BYTES, Signer
from node.admission import Admission
from node.journal import JournalRow
from node.keyring import Keyring
from node.release import Release
from node.submission import Submission

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What an hour's entry did: rows now in the log, and rows that the rules keep out for now."""

    rows: int
    kept_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskEntries:
    """Makes the desk's entries of one node."""

    ledger_id: bytes
    keyring: Keyring
    release: Release

    @property
    def signer(self) -> Signer:
        """The desk key of the card in force."""
        card = self.release.sequencer.state.authority.card
        assert card is not None, "the desk writes in an opened log"
        return self.keyring.signer("desk", card.card.desk_keys[0])

    def enter_if_due(self, now_ms: int) -> Entered | None:
        """Make the hour's entry if an hour has passed since the last one; return what it did, else None.

        The first call ever only notes the time. Raises `LedgerError` if the entry cannot be made: then
        every row is still in the journal, and the next call tries again.
        """
        journal, entered = self.release.journal, None
        last_ms = journal.entry_made_ms()
        if last_ms is None:
            self._begin(now_ms)
        elif abs(now_ms - last_ms) >= HOUR_MS:  # a clock set back by a day must not stop them for so long
            entered = self._enter(now_ms)
            while entered.rows == RECORDS_MAX:  # more than one entry holds
                entered = self._enter(now_ms)
        journal.clear()  # last: whoever reads the key database must not keep the entry waiting
        return entered

    def _begin(self, now_ms: int) -> None:
        with self.release.database.transaction():
            self.release.sequencer.check_lease()
            self.release.journal.set_entry_made(now_ms)

    def _enter(self, now_ms: int) -> Entered:
        journal, sequencer = self.release.journal, self.release.sequencer
        waiting = journal.waiting()
        hour = max(now_ms // HOUR_MS, sequencer.state.hour)
        rows = self._acceptable(waiting, hour // 24)

        def settle() -> None:
            journal.settle([row.number for row in rows])
            journal.set_entry_made(now_ms)

        submission = self._signed(rows, hour // 24, self.release.random)
        sequencer.commit_own(submission, now_ms // HOUR_MS, settle)
        return Entered(rows=len(rows), kept_back=len(waiting) - len(rows))

    def _acceptable(self, rows: list[JournalRow], day: int) -> list[JournalRow]:
        """The rows that the door would take now."""
        admission = Admission(self.release.bodies, self.release.data_keys)
        desk = Author(key=self.signer.public_key, office="desk")
        records = [row.record for row in rows]
        judged = admission.judge_each(records, desk, self.release.sequencer.statute, day)
        good = {record.hash for record, breaches in judged if not breaches}
        return [row for row in rows if row.record.hash in good]

    def _signed(self, rows: list[JournalRow], day: int, random: Callable[[int], bytes]) -> Submission:
        records = tuple(row.record for row in rows)
        bodies = PrivateBodies(padding_seed=random(SEED_BYTES), records=records)
        head = {
            "ledger_id": self.ledger_id,
            "agency": self.release.sequencer.origin.agency,
            "created_day": day,
        }
        entry = (
            sign_private(bodies, signer=self.signer, **head)  # type: ignore[arg-type]
            if records
            else sign_padding(bodies.padding_seed, signer=self.signer, **head)  # type: ignore[arg-type]
        )
        return Submission(entry=entry, private=bodies)
