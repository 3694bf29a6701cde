"""Building a node from its agency directory: the one place where stores, keys and procedures meet.

::

    node.toml              configuration
    keys/node.key          log, witness, node, desk, sealing and master secrets, under a passphrase
    roster/<n>.json|.note  the roster versions, put there by ``pledger roster finish``
    opening.entry          the opening that the root key signed
    era.entry              the opening of a later era, if one is put there
    data/log.db, keys.db   stores
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from ledger import keys
from ledger.card_entries import format_card_entries
from ledger.chain import ChainState
from ledger.errors import LedgerError, StoreError, Unproven
from ledger.governance import Adopt, Card
from ledger.keys import VerifyMany
from ledger.merkle import EMPTY_ROOT
from ledger.names import Origin, witness_key_name
from ledger.note import Note, NoteVerifier, SignatureLine, verifier_of
from ledger.roster import Roster
from node import body_store, evidence_store, journal, key_store, lease, log_store, nonces, witness
from node.asked import RequestDoor
from node.body_store import BodyStore
from node.certification import Certification
from node.condition import Delay
from node.config import Config
from node.copies import Copies
from node.database import Database
from node.desk_entries import DeskEntries, Entered
from node.durable_file import disk_errors
from node.forks import Forks
from node.frontier import FrontierHistory
from node.journal import AccessJournal
from node.key_file import read_key_file
from node.key_store import KeyStore
from node.keyring import Keyring, signing_keys
from node.log_store import LogStore
from node.mirror import Mirror, Pulled
from node.nonces import NonceStore
from node.opening import card_of, load_era_opening, load_opening
from node.outlook import Outlook
from node.own_log import OwnLog
from node.pinning import Pinning
from node.promises import Promises
from node.release import Release
from node.resume import Answer
from node.rosters import Pair, check_following, load_rosters, save_roster, with_rosters
from node.sequencer import Sequencer, SequencerKeys
from node.standing import owed
from node.static_tree import StaticTree
from node.stored_logs import StoredLogs
from node.submission import Submission
from node.witness import HeldLogs, Witness

NODE_KEY_FILE = "keys/node.key"
SCHEMAS = (
    log_store.SCHEMA,
    body_store.SCHEMA,
    lease.SCHEMA,
    nonces.SCHEMA,
    journal.SCHEMA,
    witness.SCHEMA,
    evidence_store.SCHEMA,
)
"""All that lies in the log's database."""


class Node(Outlook, OwnLog):
    """One agency's node, without its network: stores, sequencer, mirrors, static tree."""

    _own_copy: Mirror | None
    """Fills the own log from the others', once it is certain that it never goes on here."""

    def __init__(
        self,
        config: Config,
        secrets: Mapping[str, bytes],
        random: Callable[[int], bytes],
        *,
        on_word: bool,
        host: str,
    ) -> None:
        """Open everything and take the lease; raise `LedgerError` if anything is not as it must be.

        ``secrets`` are those of `NODE_KEY_FILE`, by name; ``on_word``: the operator vouches that this log
        ran nowhere else; ``host`` names this machine in the instance record.
        """
        self.config = config
        self.rosters, pairs = load_rosters(config)
        self.ledger_id = self.rosters[0].hash
        with disk_errors(config.data):
            config.data.mkdir(parents=True, exist_ok=True)
        log_path, keys_path = config.data / "log.db", config.data / "keys.db"
        self._database = Database(log_path, SCHEMAS)
        self._keys_database = Database(keys_path, [key_store.SCHEMA])
        self.store = LogStore(self._database)
        data_keys = KeyStore(self._keys_database, secrets["master"], random)
        self.bodies = BodyStore(self._database, data_keys)
        self._instance = lease.Instance(log_path, host)
        self._open_stores(config)
        self.refusal = self._reason_to_refuse()
        """Why this database never sequences in its era again, or None."""
        self._agencies_at_start = len(self.rosters[-1].agencies)
        self.clock_fault: str | None = None
        self.delays: Mapping[str, Delay] = {}
        """The witnesses that give no cosignature now."""
        self.started_ms: int | None = None
        """Since when it runs, by its clock."""
        self._answers: dict[str, Answer] = {}
        self._faults, self._own_copy = dict[str, str](), None
        self._on_word = on_word
        keyring = Keyring(secrets)
        # Before the state is read: what an overtaken process still commits would make it an old one.
        token = lease.take_lease(self._database, f"{host} process {os.getpid()}")
        state = self.stored.state(self.origin)
        self.keyring = keyring
        signing = signing_keys(keyring, self._card_of(state), keys.SigningKey(secrets["log"]))
        self._log_verifier = self._verifier_of(state, signing)
        self.sequencer = self._open_sequencer(data_keys, state, signing, token)
        self.requests, self._desk = self._open_requests(keyring, data_keys, random)
        self.certification = Certification(self._database, self.store, self.stored, self.states)
        self._use_card()
        self.copies.load(config.agency, below=self.origin.era)
        self._open_mirrors()
        self.forks.load()
        self.forks.on_change = self.learnt
        self._finish_erasures()
        self.tree = StaticTree(self.store, self.forks.evidence, config.ledger, pairs, first=self.witness.name)
        self._show_all()

    def _open_stores(self, config: Config) -> None:
        """What reads the logs held, and in which era this node goes on."""
        self.stored = StoredLogs(
            self.store, self.ledger_id, lambda: {roster.hash: roster for roster in self.rosters}
        )
        self.copies = Copies(self._database, self.store, self.stored, config.ledger)
        self.forks = Forks(self._database, self.store, self.stored, self.copies, lambda: self.rosters)
        held = self.stored.eras(config.agency)
        self.origin = held[-1] if held else Origin(config.ledger, config.agency)
        self.era_fault: str | None = None
        """Why the opening that was put here is not taken."""
        self._era_tried = -1
        self.put_opening = load_era_opening(config.directory, self.origin)

    def _show_all(self) -> None:
        """Show what the store holds of every log."""
        self.frontier = FrontierHistory(self.ledger_id)
        self._seen_changes = (-1, -1, -1)
        self.publish()
        for mirror in self.copies.all():
            self.tree.publish(mirror.origin)
        self.show_frontier()

    def _card_of(self, state: ChainState) -> Card | None:
        """The card whose keys are used: that of an opening which was put here, else the one in force."""
        if self.put_opening is not None:
            return card_of(self.put_opening)
        placed = state.authority.card
        return None if placed is None else placed.card

    def _verifier_of(self, state: ChainState, signing: SequencerKeys) -> NoteVerifier:
        """What checks the checkpoints of the own log in its present era."""
        placed = state.authority.card
        return verifier_of(str(self.origin), placed.card.log_key if placed else signing.log.public_key)

    def _open_sequencer(
        self, data_keys: KeyStore, state: ChainState, signing: SequencerKeys, token: int
    ) -> Sequencer:
        return Sequencer(
            self._database,
            self.store,
            self.bodies,
            data_keys,
            logs=self.stored,
            state=state,
            signing=signing,
            token=token,
            on_commit=self._record_commit,
        )

    def _open_mirrors(self) -> None:
        """A copy for every other agency that any version names: who left is still served."""
        for name in self._other_agencies():
            self.copies.load(name)
        self.copies.judge_ends(self.rosters)

    def _other_agencies(self) -> list[str]:
        named = dict.fromkeys(name for roster in self.rosters for name in roster.agencies)
        return [name for name in named if name != self.config.agency]

    @property
    def mirrors(self) -> dict[str, Mirror]:
        """The copy of each other agency's log, in the era where it ends."""
        return {name: self.copies.newest(name) for name in self._other_agencies()}

    def _newest(self, agency: str) -> Mirror | None:
        is_other = agency != self.config.agency and self.copies.of_agency(agency)
        return self.copies.newest(agency) if is_other else None

    @property
    def others(self) -> list[str]:
        """The other agencies of the newest roster version."""
        return [name for name in self.rosters[-1].agencies if name != self.config.agency]

    def addresses(self, agency: str) -> tuple[str, ...]:
        """Where an agency's node may be reached: as the operator says, then as its newest card says."""
        mirror = self._newest(agency)
        card = mirror.state.authority.card if mirror else None
        return tuple(dict.fromkeys((*self.config.peers.get(agency, ()), *(card.card.urls if card else ()))))

    def node_key(self, agency: str) -> bytes | None:
        """By which key an agency's node signs what it asks, if its card is in hand."""
        mirror = self._newest(agency)
        card = mirror.state.authority.card if mirror else None
        return card.card.node_key if card and agency in self.rosters[-1].agencies else None

    def copy_of(self, origin: Origin) -> Mirror | None:
        """The copy that a pull of this log fills; of the own log only once it is certain to go on no more."""
        if origin != self.origin:
            return self.copies.of(origin) if origin.agency in self.rosters[-1].agencies else None
        if self._own_copy is None and self.refusal is not None:
            self._own_copy = Mirror(
                self._database, self.store, self.sequencer.state, before=self.sequencer.is_before
            )
        return self._own_copy

    def begin_copy(self, origin: Origin, opening: bytes) -> Mirror:
        """Return the copy of a later era that begins with this leaf; see `Copies.begin`."""
        return self.copies.of(origin) or self.copies.begin(origin, opening)

    def take(
        self, origin: Origin, pulled: Pulled, check_signatures: VerifyMany, begun: Mirror | None = None
    ) -> int:
        """Take what was pulled of a log and show it; return how many leaves are new. See `Mirror.take`.

        ``begun`` is the copy of an era of which nothing is stored yet.
        """
        mirror = self.copy_of(origin) or begun
        if mirror is None:
            return 0
        if origin.agency == self.config.agency and pulled.leaves:
            lease.store_refusal(self._database, self.refusal or "it was fetched back from others", origin.era)
        new = mirror.take(pulled, check_signatures)
        if new and mirror is begun:
            self.copies.keep(mirror)
            self.copies.judge_ends(self.rosters)
            self.learnt(origin)
        self.set_fault(origin, None)
        if new:
            self.tree.publish(origin)
        return new

    def take_certified(self, origin: Origin, notes: Sequence[bytes]) -> list[int] | None:
        """Keep the cosignatures on checkpoints of a log that is held; see `Certification.lacking_of`."""
        for note in notes:
            try:
                self.certification.take(note)
            except Unproven:  # of another history than those held
                self.forks.hear(note)
                raise
        return self.certification.lacking_of(str(origin))

    def owed(self) -> list[str]:
        """The entries of late branches of the own log that it lacks, each in hex."""
        return [entry_id.hex() for entry_id in owed(self.promises, self.origin)]

    def begin_era(self, start: ChainState, leaves: Sequence[bytes], signing: SequencerKeys) -> None:
        """Open a later era of the own log (see `Sequencer.begin_era`), and go on in it with its keys.

        That the era before has ended, and that this one begins here, is on disk before its first leaf.
        """
        reason = self.refusal or f"era {start.origin.era} was opened after it"
        lease.store_refusal(self._database, reason, self.origin.era)
        self._instance.write(0, EMPTY_ROOT, start.origin.era)
        before, self.refusal = self.origin, None
        try:
            self.sequencer.begin_era(start, leaves, signing)
        except BaseException:
            self.refusal = reason
            raise
        self.origin = start.origin
        self.put_opening, self.era_fault, self._own_copy = None, None, None
        self.copies.load(self.config.agency, below=start.origin.era)
        self._log_verifier = self._verifier_of(self.sequencer.state, self.sequencer.signing)
        self._use_card()
        self.tree.publish(before)
        self.publish()

    def take_roster(self, pair: Pair) -> Roster:
        """Take the next roster version, durable on return; raise what forbids it, with nothing changed."""
        roster = check_following(self.rosters, pair)
        save_roster(self.config.directory, roster.version, pair)
        self.rosters = [*self.rosters, roster]
        self.tree.add_roster(roster.version, pair)
        self.sequencer.state = with_rosters(self.sequencer.state, self.rosters)
        self.copies.use_rosters(self.rosters)
        if self._own_copy is not None:
            self._own_copy.state = with_rosters(self._own_copy.state, self.rosters)
        self._open_mirrors()
        return roster

    def _use_card(self) -> None:
        """Sign with the keys of the card in force: at the start, and when a card is sequenced."""
        card = self._card_of(self.sequencer.state)
        self._card_number = 0 if card is None else card.number
        self.witness = self._open_witness(self.keyring.signer_under(card, "witness"))
        self.pinning = self._open_pinning(self.keyring.signer_under(card, "desk"))
        self.node_signer = self.keyring.signer_under(card, "node")

    def _open_witness(self, key: keys.SigningKey) -> Witness:
        logs = HeldLogs(
            self.store,
            self.certification,
            own=str(self.origin),
            witness_key=key.public_key,
            reason_to_wait=lambda: self.waiting,
            promises=self.promises,
        )
        return Witness(self._database, key, witness_key_name(self.config.ledger, self.config.agency), logs)

    @property
    def promises(self) -> Promises:
        """What this node's cosignatures bind it to."""
        return Promises(
            database=self._database,
            store=self.store,
            logs=self.stored,
            forks=self.forks,
            agency=self.config.agency,
            rosters=lambda: self.rosters,
        )

    def _open_pinning(self, desk: keys.SigningKey) -> Pinning:
        return Pinning(
            ledger_id=self.ledger_id,
            signer=desk,
            sequencer=self.sequencer,
            others=lambda: {name: mirror.state for name, mirror in self.mirrors.items()},
            rosters=lambda: self.rosters,
        )

    def _open_requests(
        self, keyring: Keyring, data_keys: KeyStore, random: Callable[[int], bytes]
    ) -> tuple[RequestDoor, DeskEntries]:
        """What answers signed requests, and what tells families of it: both over the same journal."""
        release = Release(
            database=self._database,
            sequencer=self.sequencer,
            bodies=self.bodies,
            data_keys=data_keys,
            journal=AccessJournal(self._database, data_keys),
            random=random,
        )
        door = RequestDoor(
            ledger_id=self.ledger_id,
            origin=self.origin,
            sealing_seeds=self.sequencer.sealing_seeds,
            nonces=NonceStore(self._database),
            release=release,
        )
        return door, DeskEntries(ledger_id=self.ledger_id, keyring=keyring, release=release)

    def close(self) -> None:
        """Close both databases."""
        self._database.close()
        self._keys_database.close()

    def enter_journal(self, now_ms: int) -> Entered | None:
        """Make the desk's entry if its hour has come, and finish what was due for erasure."""
        if self.waiting is not None:
            return None
        entered = self._desk.enter_if_due(now_ms)
        self.bodies.erase_due()
        return entered

    def publish(self) -> bool:
        """Show the newest checkpoint of the own log, once the instance record has it; return if it is new."""
        self.sequencer.record()
        return self.tree.publish(self.origin)

    def adopt_if_due(self, at: float, hour: int) -> Adopt | None:
        """Let the desk write the adopt that is due; see `Pinning.adopt_if_due`."""
        return None if self.waiting is not None else self.pinning.adopt_if_due(at, hour)

    def logs(self) -> list[Origin]:
        """Every log that this node holds, its own first."""
        return [self.origin, *(mirror.origin for mirror in self.copies.all())]

    def states(self) -> dict[str, ChainState]:
        """Return the state of every log that this node holds, by origin, its own first."""
        own = self._own_copy.state if self._own_copy else self.sequencer.state
        held = [own, *(mirror.state for mirror in self.copies.all())]
        return {str(state.origin): state for state in held}

    def keep_cosignatures(self, note: Note, lines: Sequence[SignatureLine]) -> None:
        """Keep good lines on a checkpoint of the own log; see `Certification.keep`."""
        with self._database.transaction():
            self.certification.keep(note, lines)

    def card_entries(self) -> bytes:
        """Return the entries of the cards that the own log pins, and of its own newest card."""
        own = self.sequencer.state.authority
        pins = own.adopt.adopt.cards.values() if own.adopt else ()
        wanted = {pin[1] for pin in pins if pin} | ({own.card.hash} if own.card else set())
        places = {
            (state.origin.agency, placed.place): (state.origin, placed.place)
            for state in self.states().values()
            for placed in state.authority.cards
            if placed.hash in wanted
        }
        leaves = (self.stored.leaf(*one) for one in places.values())
        return format_card_entries(leaf.entry for leaf in leaves if leaf is not None)

    def faults(self) -> dict[str, str]:
        """By origin, why a mirror does not go on."""
        return self._faults

    def set_fault(self, origin: Origin, text: str | None) -> None:
        """Note why a mirror does not go on, or that it does."""
        if text is None:
            self._faults.pop(str(origin), None)
        else:
            self._faults[str(origin)] = text

    def cosign_newest(self, origin: Origin, now_s: int) -> None:
        """Cosign the newest checkpoint held of another's log, for whoever carries it on."""
        note = self.store.newest_checkpoint(str(origin))
        if note is not None and self.waiting is None:
            with contextlib.suppress(LedgerError):  # what forbids it is said to whoever asks for one
                self.witness.cosign_held(note, now_s)

    def found(self, hour: int) -> bool:
        """Sequence the opening if the log is empty and nothing forbids it; return whether it was done."""
        if self.sequencer.state.size or self._reason_to_wait() is not None:
            return False
        self._instance.write(0, EMPTY_ROOT, self.origin.era)
        self.sequencer.open_era(Submission(entry=load_opening(self.config.directory)), hour)
        self.publish()
        return True

    def _finish_erasures(self) -> None:
        """What a kill left half erased; if something reads the database, the next commit tries again."""
        with contextlib.suppress(StoreError):
            self.bodies.erase_due()

    def _record_commit(self, size: int, root: bytes) -> None:
        """Keep the instance record up with the log; a database that is refused leaves it as it was found."""
        placed = self.sequencer.state.authority.card
        if placed is not None and placed.card.number != self._card_number:
            self._use_card()
        if self.refusal is None:
            self._instance.write(size, root, self.sequencer.origin.era)


def open_node(config: Config, passphrase: str, *, on_word: bool) -> Node:
    """Return the node of an agency directory on this machine; see `Node`."""
    secrets = read_key_file(config.directory / NODE_KEY_FILE, passphrase)
    return Node(config, secrets, os.urandom, on_word=on_word, host=socket.gethostname())
