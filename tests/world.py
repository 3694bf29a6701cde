"""A small ledger in memory for tests: agencies with keys from fixed seeds, openings, grants, entries.

Everything is derived from counters, so a test that fails fails again with the same bytes. `World.tree` lays
the logs out as the static tree that `MemorySource` serves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger import note
from ledger.chain import ChainState, Judged, extend, open_log
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import cosign
from ledger.entry import Entry, PrivateBodies, sign_private, sign_public
from ledger.errors import Malformed
from ledger.governance import (
    Adopt,
    Card,
    Governance,
    Grant,
    Scope,
    format_governance,
    make_scope,
    scope_commitment,
)
from ledger.keys import SigningKey, sealing_public_key
from ledger.leaf import make_leaf
from ledger.merkle import leaf_hash, root_of
from ledger.names import Head, Origin, root_key_name, witness_key_name
from ledger.record import Basis, Record, make_record
from ledger.roster import Ends, Roster, format_roster, parse_roster, signing_text
from ledger.statute import default_statute_json
from ledger.tile_fold import TileFold
from ledger.tiles import bundles_of, encode_bundle, format_path

HOUR = 24 * 20_700
"""The first hour of day 20,700: 2026-09-04."""
DAY = HOUR // 24
AGENCIES = ("centre", "district", "sport")


def seed(name: str) -> bytes:
    """32 bytes that only the name decides."""
    return hashlib.sha256(f"test seed {name}".encode()).digest()


def key(name: str) -> SigningKey:
    """The signing key of a name."""
    return SigningKey(seed(name))


@dataclass
class MemorySource:
    """A static tree in a dictionary."""

    files: dict[str, bytes]

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        data = self.files.get(path)
        if data is None:
            return None
        if len(data) > bytes_max:
            raise Malformed(f"{path} has {len(data)} bytes, at most {bytes_max} are allowed")
        return data[offset:]

    def names(self) -> list[str] | None:
        return sorted(self.files)


@dataclass
class Log:
    """One agency's log, with every key in hand."""

    world: World
    agency: str
    state: ChainState
    leaves: list[bytes] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    """Notes beside the checkpoint, by their file."""
    start: ChainState | None = None
    """The state before the first leaf, in a later era."""
    before: frozenset[bytes] = frozenset()
    """Entry ids of the eras that a later one keeps."""
    log_office: str = "log"
    """Which key signs its checkpoints: another one in each era."""

    @property
    def origin(self) -> Origin:
        return self.state.origin

    def key(self, office: str) -> SigningKey:
        return key(f"{self.agency} {office}")

    def entry(self, records: Sequence[Governance | bytes], by: str = "root", **header: Any) -> Entry:
        """A public entry of this agency."""
        bodies = [one if isinstance(one, bytes) else format_governance(one) for one in records]
        fields = {"ledger_id": self.world.ledger_id, "agency": self.agency, "created_day": DAY} | header
        return sign_public(bodies, signer=self.key(by), **fields)

    def private(self, records: Sequence[Record], by: str = "clerk", number: int = 0, **header: Any) -> Entry:
        """A private entry of this agency."""
        bodies = PrivateBodies(padding_seed=seed(f"padding {number}"), records=tuple(records))
        fields = {"ledger_id": self.world.ledger_id, "agency": self.agency, "created_day": DAY} | header
        return sign_private(bodies, signer=self.key(by), **fields)

    def leaf(self, entry: Entry, *, hour: int = HOUR, prev: bytes | None = None) -> bytes:
        return make_leaf(entry, prev=self.state.head if prev is None else prev, received_hour=hour).raw

    def judge(self, *raws: bytes) -> list[Judged]:
        """What the chain says of further leaves, without taking them."""
        return extend(self.state, raws, self.entry_ids().__contains__)[1]

    def judged(self) -> list[Judged]:
        return extend(self.first, self.leaves, self.before.__contains__)[1]

    def entry_ids(self) -> frozenset[bytes]:
        """The entries of the log up to here, those of the eras before included."""
        return self.before | {judged.leaf.header.entry_id for judged in self.judged() if judged.leaf}

    @property
    def first(self) -> ChainState:
        return self.start or open_log(self.world.ledger_id, self.origin, self.world.rosters)

    def take(self, *raws: bytes) -> None:
        """Append leaves that must be valid."""
        for raw in raws:
            [judged] = self.judge(raw)
            assert judged.violations == (), judged.violations
            self.append(raw)

    def append(self, raw: bytes) -> None:
        """Append a leaf whatever it is."""
        self.state, _ = extend(self.state, [raw], lambda entry_id: False)
        self.leaves.append(raw)

    def rebuild(self) -> None:
        """Fold the leaves again, after they were changed from outside, signatures unchecked."""
        unchecked = extend(self.first, self.leaves, lambda entry_id: False, lambda batch: [True] * len(batch))
        self.state, _ = unchecked

    def card(self, **changes: Any) -> Card:
        fields: dict[str, Any] = {
            "origin": str(self.origin),
            "number": 1,
            "before": None,
            "log_key": self.key(self.log_office).public_key,
            "witness_key": self.key("witness").public_key,
            "node_key": self.key("node").public_key,
            "desk_keys": (self.key("desk").public_key,),
            "sealing_key": sealing_public_key(seed(f"{self.agency} sealing")),
            "registrar_keys": (self.key("registrar").public_key,),
            "urls": ("http://127.0.0.1:1",),
            "void_from": {},
        }
        return Card(**(fields | changes))

    def next_card(self, **changes: Any) -> Card:
        """The current card with changes, as the one after it."""
        last = self.state.authority.cards[-1]
        return replace(last.card, number=last.card.number + 1, before=last.hash, void_from={}, **changes)

    def pins(self) -> dict[str, tuple[int, bytes] | None]:
        """The newest card of each other agency of the newest roster, where it has opened a log."""
        cards = {
            name: (placed.card.number, placed.hash)
            for name, log in self.world.logs.items()
            if (placed := log.state.authority.card)
        }
        return {name: cards.get(name) for name in self.world.roster.agencies if name != self.agency}

    def end(self) -> Ends:
        """What a roster states that ends the log as it is now."""
        return Ends(head=Head(self.origin.era, self.state.size, self.state.tree.root()), next_era=2)

    def adopt(self, **changes: Any) -> Adopt:
        roster = self.world.roster
        others = {name: None for name in roster.agencies if name != self.agency}
        fields: dict[str, Any] = {"version": roster.version, "hash": roster.hash, "cards": others}
        return Adopt(**(fields | changes))

    def opening(self) -> Entry:
        return self.entry([self.card(), self.adopt()])

    def grant(self, name: str = "clerk", **changes: Any) -> Grant:
        fields: dict[str, Any] = {
            "key": self.key(name).public_key,
            "scope": scope_commitment(self.scope_opening(name)),
            "valid_from": DAY - 10,
            "valid_until": DAY + 300,
        }
        return Grant(**(fields | changes))

    def scope_opening(self, name: str = "clerk", **changes: Any) -> bytes:
        kinds = tuple(sorted(self.world.roster.statute.kinds))
        fields: dict[str, Any] = {"role": "clerk", "unit": "school-1", "kinds": kinds} | changes
        return make_scope(Scope(**fields), seed(f"scope {name}")[:16])

    def checkpoint(self, size: int | None = None) -> bytes:
        """The signed note of the whole log, or of its first ``size`` leaves."""
        hashes = [leaf_hash(raw) for raw in self.leaves[:size]]
        return sign_checkpoint(
            Checkpoint(origin=str(self.origin), size=len(hashes), root=root_of(hashes)),
            self.key(self.log_office),
        )

    def cosigned(
        self, witnesses: Iterable[str], size: int | None = None, keys: Mapping[str, str] | None = None
    ) -> bytes:
        """The checkpoint with lines of these agencies' witnesses; ``keys`` gives some of them another key."""
        text = note.parse_note(signed := self.checkpoint(size)).text
        lines = signed.decode().removeprefix(text + "\n").splitlines()
        for number, name in enumerate(witnesses):
            secret = key((keys or {}).get(name, f"{name} witness"))
            lines.append(cosign(text, witness_key_name("test", name), secret, 1_800_000_000 + number))
        return note.format_note(text, lines)

    def files(self, size: int | None = None, branch: bytes = b"") -> dict[str, bytes]:
        """The log, or its first ``size`` leaves, as files of the static tree."""
        base, leaves = self.origin.path, self.leaves[:size]
        base += f"/branch/{branch.hex()}" if branch else ""
        vkey = note.format_vkey(note.verifier_of(str(self.origin), self.key(self.log_office).public_key))
        files = {f"{base}/checkpoint": self.checkpoint(size), f"{base}/vkey": f"{vkey}\n".encode()}
        for file, data in self.kept.items():
            if parse_checkpoint(note.parse_note(data).text).size <= len(leaves):
                files[f"{base}/{file}"] = data
        for tile in bundles_of(0, len(leaves)):
            start = tile.index * 256
            files[f"{base}/{format_path(tile)}"] = encode_bundle(leaves[start : start + tile.width])
        fold = TileFold()
        tiles = [made for raw in leaves for made in fold.append(leaf_hash(raw))]
        for tile, hashes in [*tiles, *fold.partial()]:
            files[f"{base}/{format_path(tile)}"] = b"".join(hashes)
        return files


class World:
    """Three agencies (by default) that have founded a ledger; each log is opened and has one clerk."""

    def __init__(self, agencies: Iterable[str] = AGENCIES, *, opened: bool = True, **roster: Any) -> None:
        roots = {name: key(f"{name} root").public_key for name in agencies}
        if len(roots) < 3:
            roster.setdefault("recovery_key", key("recovery").public_key)
        fields = {"ledger": "test", "agencies": roots, "statute": default_statute_json()} | roster
        self.roster: Roster = parse_roster(format_roster(**fields))
        self.root_names = {name: f"{name} root" for name in roots}
        self.ledger_id = self.roster.hash
        self.rosters = {self.roster.hash: self.roster}
        self.signatures = self.sign_roster(self.roster, agencies=list(roots))
        self.versions = [(self.roster, self.signatures)]
        self.logs = {name: self._log(name) for name in roots}
        if opened:
            for log in self.logs.values():
                log.take(log.leaf(log.opening()))
                log.take(log.leaf(log.entry([log.grant()], by="registrar")))

    def sign_roster(self, roster: Roster, agencies: Iterable[str], *, recovery: bool = False) -> bytes:
        """The signed note over a roster version by some root keys."""
        text = signing_text(roster)
        names = {name: self.root_names.get(name, f"{name} root") for name in agencies}
        lines = [note.sign_note(text, root_key_name("test", name), key(root)) for name, root in names.items()]
        if recovery:
            lines.append(note.sign_note(text, "test/recovery", key("recovery")))
        return note.format_note(text, lines)

    def next_roster(self, agencies: Mapping[str, str], **changes: Any) -> Roster:
        """Make the next version, signed by all of the one before; ``agencies`` maps ids to names of keys."""
        before, recovery = self.roster, self.roster.recovery_key is not None
        roots = {name: key(secret).public_key for name, secret in agencies.items()}
        if len(roots) < 3:
            changes.setdefault("recovery_key", key("recovery").public_key)
        fields = {"ledger": "test", "agencies": roots, "statute": json.loads(before.raw)["statute"]}
        fields |= {"version": before.version + 1, "before": before.hash}
        self.roster = parse_roster(format_roster(**(fields | changes)))
        self.rosters[self.roster.hash] = self.roster
        self.versions.append((self.roster, self.sign_roster(self.roster, before.agencies, recovery=recovery)))
        self.root_names |= agencies
        for name in roots:
            self.logs.setdefault(name, self._log(name))
        return self.roster

    def tree(self) -> dict[str, bytes]:
        """The whole ledger as files."""
        files = {}
        for roster, signatures in self.versions:
            files[f"roster/{roster.version}.json"] = roster.raw
            files[f"roster/{roster.version}.note"] = signatures
        for log in self.logs.values():
            files |= log.files()
        return files

    def _log(self, agency: str) -> Log:
        return Log(self, agency, open_log(self.ledger_id, Origin("test", agency), self.rosters))


def record(
    kind: str = "subject_result",
    *,
    subject: str = "anna",
    number: int = 0,
    supersedes: bytes | None = None,
    basis: Basis | None = None,
    period: str = "2026/2027",
    **fields: Any,
) -> Record:
    """A record with defaults that are valid for ``school-1`` on `DAY`."""
    defaults: dict[str, dict[str, Any]] = {
        "notice": {"text_hash": "ab" * 32, "lang": "ru", "shown_on": "2026-09-01", "channel": "paper"},
        "enrolment": {
            "org_id": "school-1",
            "stage": "basic",
            "class_level": 7,
            "entry_type": "new",
            "date": "2026-09-01",
            "profile": "school_only",
        },
        "subject_result": {
            "org_id": "school-1",
            "school_year": "2026/2027",
            "term": "q1",
            "subject_code": "math",
            "scale": "ru5",
            "value": "5",
            "result_type": "term",
        },
    }
    acts = {one["name"]: one["act"] for one in _kinds()}
    if fields.keys() != {"reason_code"}:
        fields = defaults.get(kind, {}) | fields
    salts = (seed(f"owner {subject} {kind} {number}")[:16], seed(f"shown {subject} {kind} {number}")[:16])
    return make_record(
        subject=seed(f"pid {subject}")[:16],
        kind=kind,
        period=period,
        fields=fields,
        basis=basis or Basis(act=acts.get(kind, "none")),
        salts=salts,
        supersedes=supersedes,
    )


def _kinds() -> list[dict[str, Any]]:
    kinds = default_statute_json()["kinds"]
    return [{"name": name, **body} for name, body in kinds.items()] if isinstance(kinds, dict) else kinds
