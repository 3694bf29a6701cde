"""An agency directory looked at from outside: without secrets, and without changing anything.

Works beside a node that runs and where none does. What the files say is what the node in them would find at
its next start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.authority import PlacedCard
from ledger.chain import ChainState
from ledger.entry import public_hash
from ledger.errors import Malformed
from ledger.governance import Card, parse_governance
from ledger.merkle import EMPTY_ROOT, root_at
from ledger.names import Origin, Place
from ledger.roster import Roster
from node import evidence_store, lease, log_store, witness
from node.config import Config
from node.copies import Copies
from node.database import Database
from node.forks import Forks
from node.log_store import LogStore
from node.opening import load_opening
from node.promises import Promises
from node.rosters import load_rosters
from node.stored_logs import StoredLogs


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The own log as it lies in the directory, and who holds the database."""

    rosters: list[Roster]
    state: ChainState
    store: LogStore
    database: Database

    @property
    def holder(self) -> str | None:
        """Host and process that last took the lease, or None."""
        return lease.holder(self.database)

    def root_of(self, origin: Origin, size: int) -> bytes | None:
        """Return the root over the first ``size`` leaves of any log held here, None if it has fewer."""
        if size == 0:
            return EMPTY_ROOT
        held = self.store.size(str(origin))
        return root_at(self.store.reader(str(origin)), size) if size <= held else None


@contextlib.contextmanager
def open_files(config: Config) -> Iterator[Files]:
    """Yield what the directory holds; raise `LedgerError` if it cannot be read (no database included)."""
    rosters, _ = load_rosters(config)
    schemas = (log_store.SCHEMA, lease.SCHEMA)
    with contextlib.closing(Database.open_read_only(config.data / "log.db", schemas)) as database:
        store = LogStore(database)
        by_hash = {roster.hash: roster for roster in rosters}
        logs = StoredLogs(store, rosters[0].hash, lambda: by_hash)
        held = logs.eras(config.agency)
        state = logs.state(held[-1] if held else Origin(config.ledger, config.agency))
        yield Files(rosters=rosters, state=state, store=store, database=database)


def card_in_force(config: Config) -> PlacedCard:
    """Return the newest card of the own log as the directory has it, that of the opening if it has none."""
    if (config.data / "log.db").is_file():
        with open_files(config) as files:
            if files.state.authority.card is not None:
                return files.state.authority.card
    opening = load_opening(config.directory)
    author = opening.header.author
    for body in opening.bodies:
        record = parse_governance(body)
        if isinstance(record, Card):
            return PlacedCard(card=record, hash=public_hash(body), place=Place(1, 0), author=author)
    raise Malformed(f"{config.directory}: the opening has no card")


@contextlib.contextmanager
def open_promises(config: Config) -> Iterator[Promises]:
    """Yield what the directory holds of logs, forks and eras; raise `LedgerError` if it cannot be read."""
    rosters, _ = load_rosters(config)
    schemas = (log_store.SCHEMA, witness.SCHEMA, evidence_store.SCHEMA)
    with contextlib.closing(Database.open_read_only(config.data / "log.db", schemas)) as database:
        store = LogStore(database)
        by_hash = {roster.hash: roster for roster in rosters}
        logs = StoredLogs(store, rosters[0].hash, lambda: by_hash)
        forks = Forks(database, store, logs, Copies(database, store, logs, config.ledger), lambda: rosters)
        yield Promises(
            database=database,
            store=store,
            logs=logs,
            forks=forks,
            agency=config.agency,
            rosters=lambda: rosters,
        )
