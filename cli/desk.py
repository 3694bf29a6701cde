"""A staff member at work: the workspace opened with its key, and what commands do with it.

What is signed goes through `Desk.keep` before `Desk.send` sends anything, so a stop in between loses nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cli import output
from cli.command import now
from cli.drafts import Draft, Writer
from cli.import_records import make_records
from cli.language import say
from cli.outbox import Outbox, Stored
from cli.parameters import day_number
from cli.passphrase import take_passphrase
from cli.pupil import DECLINED
from cli.register import Register, read_register, write_register
from cli.renewing import ASKED_MAX, Renewal, lines_of, renew
from cli.sending import Author, Delivery, send_waiting, sign_records
from cli.workspace import Workspace, open_workspace
from ledger.keys import SigningKey
from ledger.record import Record
from ledger.statute import Statute
from node.http_client import HttpClient

LOOK_TIMEOUT_S = 10
"""An answer by the way: a node that takes longer is asked another time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """An open workspace, held alone."""

    workspace: Workspace
    signer: SigningKey
    outbox: Outbox
    register: Register
    statute: Statute

    @property
    def trusted(self) -> tuple[bytes, ...]:
        """Colleagues whose class registers are believed."""
        return tuple(bytes.fromhex(key) for key in self.workspace.settings.colleagues)

    def writer(self) -> Writer:
        """What rows leave to be filled in."""
        return Writer(
            statute=self.statute,
            unit=self.workspace.settings.unit,
            pids=self.register.pids(),
            today=now().date(),
            declined=frozenset(
                one.local_id for one in self.register.pupils.values() if one.profile == DECLINED
            ),
        )

    def author(self) -> Author:
        """Who signs, now."""
        time = now()
        return Author(
            signer=self.signer,
            ledger_id=self.workspace.ledger_id,
            agency=self.workspace.settings.agency,
            day=day_number(time.date()),
            now_ms=int(time.timestamp() * 1000),
            random=os.urandom,
        )

    def sign(self, drafts: Sequence[Draft], records: Sequence[Record] | None = None) -> list[Stored]:
        """Return the drafts as signed entries, not yet kept; ``records`` if they were made before."""
        records = make_records(drafts, os.urandom) if records is None else records
        with output.progress() as progress:
            return sign_records(records, [draft.label for draft in drafts], self.author(), progress)

    def keep(self, entries: Sequence[Stored]) -> None:
        """Put signed entries into the outbox, durable on return."""
        for stored in entries:
            self.outbox.put(stored)

    def look_after(self, count_max: int = ASKED_MAX) -> Renewal:
        """Look after accepted entries whose receipt is not certified; tell what a person must know."""
        target, roster = self.workspace.target(), self.workspace.rosters()[-1]
        with HttpClient(target.url, LOOK_TIMEOUT_S) as client:
            renewal = client.run(renew(self.outbox, target, roster, os.urandom, count_max))
        for line in lines_of(renewal):
            output.remark(line)
        return renewal

    def send(self, *, with_refused: bool = False) -> Delivery:
        """Send everything that waits; without a node it goes on waiting.

        What the node has lost goes first: what waits may rest on it.
        """
        target = self.workspace.target()
        self.look_after()
        with HttpClient(target.url) as client, output.progress() as progress:
            sending = send_waiting(
                self.outbox, target, self.author(), with_refused=with_refused, progress=progress
            )
            return client.run(sending)

    def save_register(self, register: Register) -> Register:
        """Write the class register's next version, without the readers whose last day is over."""
        register = register.on_day(now().date().isoformat())
        return write_register(self.workspace.register_path, register, self.signer, os.urandom, self.trusted)


@contextlib.contextmanager
def open_desk(home: Path, passphrase_file: Path | None) -> Iterator[Desk]:
    """Open the workspace with one passphrase, alone; complete the register from the outbox if need be."""
    workspace = open_workspace(home)
    workspace.statute()
    with hold_desk(workspace, unlock_workspace(workspace, passphrase_file)) as desk:
        yield desk


def unlock_workspace(workspace: Workspace, passphrase_file: Path | None) -> SigningKey:
    """Return the staff key, its passphrase taken from where it was given."""
    return workspace.unlock(
        take_passphrase(passphrase_file, say("passphrase.staff_key", home=workspace.home))
    )


@contextlib.contextmanager
def hold_desk(workspace: Workspace, signer: SigningKey) -> Iterator[Desk]:
    """Hold an unlocked workspace alone, its register complete."""
    statute = workspace.statute()
    with workspace.locked():
        outbox = Outbox(workspace.outbox_path, signer, os.urandom)
        trusted = [bytes.fromhex(key) for key in workspace.settings.colleagues]
        register = read_register(workspace.register_path, signer, trusted)
        desk = Desk(workspace=workspace, signer=signer, outbox=outbox, register=register, statute=statute)
        yield _completed(desk)


def _completed(desk: Desk) -> Desk:
    """The desk with every pupil whose enrolment was signed: a stop may have come before the register.

    Nothing is sent before the register is written, so open entries are enough; all of them where the register
    itself is gone.
    """
    is_gone = desk.register.version == 0
    entries = desk.outbox.entries() if is_gone else desk.outbox.waiting(with_refused=True)
    signed = [pupil for stored in entries for pupil in stored.pupils]
    if all(pupil.local_id in desk.register.pupils for pupil in signed):
        return desk
    return replace(desk, register=desk.save_register(desk.register.adding(signed)))
