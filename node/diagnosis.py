"""What is the matter with a node: its files looked at read-only, and what it says of itself, as findings.

A finding is a state from a closed list (`STATES`) with the values that its explanation names; the words are
``cli``'s. What a node that runs says of itself goes before what its files would tell, and nothing is told
twice.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.errors import LedgerError, StoreError, Unproven
from ledger.names import Origin
from node import lease
from node.config import FILE_NAME, Config
from node.durable_file import disk_errors
from node.http_server import bind
from node.inspection import Files, card_in_force, open_files, open_promises
from node.key_file import public_key_of, read_key_file, read_public_keys, use_of
from node.keyring import needed_keys
from node.opening import OPENING_FILE, card_of, load_era_opening
from node.rosters import ROSTER_DIRECTORY, load_rosters, unknown_peers
from node.sequencer import CLOCK_BEHIND_MAX_HOURS
from node.wiring import NODE_KEY_FILE

DISK_FREE_MIN_BYTES = 16 * 1024 * 1024
"""A batch of submissions, its bodies and both databases' WAL take some MB; below this soon none fits."""

STATES = (
    "config_wrong",
    "roster_missing",
    "roster_wrong",
    "peer_unknown",
    "dropped",
    "key_missing",
    "key_wrong",
    "keys_other",
    "opening_missing",
    "disk_read_only",
    "disk_denied",
    "disk_full",
    "database_wrong",
    "key_database_missing",
    "not_founded",
    "instance_damaged",
    "instance_absent",
    "instance_moved",
    "instance_behind",
    "instance_different",
    "clock_behind",
    "clock_astray",
    "not_running",
    "silent",
    "port_taken",
    "other_node",
    "forked",
    "refused",
    "era_waits",
    "owed",
    "waits_for_answers",
    "overtaken",
    "trouble",
    "mirror_fault",
    "certification_lags",
    "roster_newer",
)
"""Every state that needs attention; a node with none of them is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One state with the values that explain it."""

    state: str
    values: Mapping[str, object] = field(default_factory=dict)


def found(state: str, **values: object) -> Finding:
    """Return a finding of a state in `STATES`."""
    assert state in STATES, state
    return Finding(state=state, values=values)


def of_files(config: Config, hour: int, passphrase: str | None) -> list[Finding]:
    """Return what is the matter with an agency directory; ``hour`` is this computer's, since 1970.

    Without a passphrase the key file is only looked at.
    """
    return [
        *_disk(config),
        *_roster(config),
        *_keys(config, passphrase),
        *_database(config, hour),
        *_own_forks(config),
    ]


def of_address(config: Config) -> list[Finding]:
    """Return why nothing answers at a node's address: it does not run, does not answer, or another has it."""
    holder = _living_holder(config)
    try:
        bind(config.host, config.port).close()
    except StoreError as error:
        state = "silent" if holder else "port_taken"
        return [found(state, port=config.port, holder=holder or "", detail=str(error))]
    if holder:
        return [found("silent", port=config.port, holder=holder, detail="")]
    return [found("not_running")]


def of_status(status: Mapping[str, Any], agency: str | None = None) -> list[Finding]:
    """Return what is the matter with a running node, by what it says at ``/v1/status``.

    ``agency`` is whose node it should be.
    """
    if agency is not None and status.get("agency") != agency:
        return [found("other_node", agency=str(status.get("agency")))]
    return [*_era(status), *_condition(status.get("condition") or {}), *_logs(status)]


def _era(status: Mapping[str, Any]) -> Iterator[Finding]:
    """What asks for a new era of the own log, in the order in which an operator meets it."""
    own: Mapping[str, Any] = next(iter(status.get("logs", ())), {})
    fork = own.get("fork") or {}
    refusal = (status.get("condition") or {}).get("refusal")
    if status.get("opening"):
        yield found("era_waits", detail=status["opening"])
    elif fork.get("is_proven"):
        yield _forked(own["origin"], fork.get("contested_from"))
    if refusal and not status.get("opening") and not (fork.get("is_proven") and "has forked" in refusal):
        yield found("refused", detail=refusal)
    if status.get("owed"):
        yield found("owed", count=len(status["owed"]), entries=status["owed"])


def _forked(origin: str, index: int | None) -> Finding:
    return found("forked", log=origin, agency=origin.split("/")[1], index=index or 0)


def _condition(said: Mapping[str, Any]) -> Iterator[Finding]:
    if not said.get("is_member", True):
        yield found("dropped", version=said["roster_version"])
    elif said.get("unheard"):
        yield found("waits_for_answers", agencies=said["unheard"], since_hour=said.get("since_hour"))
    if said.get("clock"):
        yield found("clock_astray", detail=said["clock"])
    elif said.get("hours_behind", 0) > CLOCK_BEHIND_MAX_HOURS:
        yield found("clock_behind", hours=said["hours_behind"])
    if said.get("overtaken_by"):
        yield found("overtaken", holder=said["overtaken_by"])
    elif said.get("trouble"):
        yield found("trouble", detail=said["trouble"])
    adopted = said.get("adopted_version")
    if adopted is not None and said.get("is_member", True) and adopted < said["roster_version"]:
        yield found("roster_newer", version=said["roster_version"], adopted=adopted)


def _logs(status: Mapping[str, Any]) -> Iterator[Finding]:
    for log in status.get("logs", ()):
        if log.get("fault"):
            yield found("mirror_fault", log=log["origin"], detail=log["fault"])
    lagging = status.get("lagging")
    if lagging:
        yield found("certification_lags", **lagging)


def _disk(config: Config) -> Iterator[Finding]:
    folder = config.data if config.data.exists() else config.directory
    try:
        with disk_errors(folder):
            disk = os.statvfs(folder)
    except StoreError as error:
        yield found("database_wrong", detail=str(error))
        return
    free = disk.f_bavail * disk.f_frsize
    if disk.f_flag & os.ST_RDONLY:
        yield found("disk_read_only", path=folder)
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield found("disk_denied", path=folder)
    elif free < DISK_FREE_MIN_BYTES:
        yield found("disk_full", path=folder, free=free // 1024 // 1024)


def _roster(config: Config) -> Iterator[Finding]:
    if not (config.directory / ROSTER_DIRECTORY / "1.json").is_file():
        yield found("roster_missing", path=config.directory / ROSTER_DIRECTORY)
        return
    try:
        rosters, _ = load_rosters(config)
        if config.agency in rosters[0].agencies and config.agency not in rosters[-1].agencies:
            yield found("dropped", version=rosters[-1].version)
            return
        for agency, near in unknown_peers(config, rosters).items():
            yield found("peer_unknown", agency=agency, near=near or "-", path=config.directory / FILE_NAME)
    except LedgerError as error:
        yield found("roster_wrong", detail=str(error))


def _keys(config: Config, passphrase: str | None) -> Iterator[Finding]:
    path = config.directory / NODE_KEY_FILE
    if not path.is_file():
        yield found("key_missing", path=path)
        return
    try:
        public = read_public_keys(path).keys
        if passphrase is not None:
            secrets = read_key_file(path, passphrase)
            public = {name: public_key_of(name, seed) for name, seed in secrets.items()}
    except (Unproven, LedgerError) as error:
        yield found("key_wrong", path=path, detail=str(error))
        return
    try:
        card = card_in_force(config).card
    except LedgerError:
        return  # told by what is wrong with roster, opening or database
    held = {(use_of(name), key) for name, key in public.items()}
    if lacking := [use for use, key in needed_keys(card) if (use, key) not in held]:
        yield found("keys_other", path=path, uses=lacking, number=card.number)


def _database(config: Config, hour: int) -> Iterator[Finding]:
    log = config.data / "log.db"
    try:
        record = lease.read_instance(lease.instance_path(log))
    except StoreError as error:
        yield found("instance_damaged", detail=str(error))
        return
    if not log.is_file():
        if record is not None:
            yield found("instance_behind", size=0, signed=record.size)
        elif not (config.directory / OPENING_FILE).is_file():
            yield found("opening_missing", path=config.directory / OPENING_FILE)
        else:
            yield found("not_founded")
        return
    try:
        with open_files(config) as files:
            yield from _log(config, files, record, hour)
    except StoreError as error:
        yield found("database_wrong", detail=str(error))
    except LedgerError:
        return  # the roster: told above


def _log(config: Config, files: Files, record: lease.InstanceRecord | None, hour: int) -> Iterator[Finding]:
    size = files.state.size
    path = str(config.data / "log.db")
    host = socket.gethostname()
    refusal = lease.check_instance(
        record,
        host=host,
        path=path,
        size=size,
        root_at=lambda at: files.root_of(files.state.origin, at) or b"",
        era=files.state.origin.era,
    )
    if refusal is not None:
        was = record or lease.InstanceRecord(host="", path="", size=0, root=b"")
        values = {"host": host, "path": path, "old_host": was.host, "old_path": was.path}
        yield found(f"instance_{refusal.finding.value}", size=size, signed=was.size, **values)
    if size and not (config.data / "keys.db").is_file():
        yield found("key_database_missing", path=config.data / "keys.db")
    if files.state.hour - hour > CLOCK_BEHIND_MAX_HOURS:
        yield found("clock_behind", hours=files.state.hour - hour)
    if not size and refusal is None:
        yield found("not_founded")
    adopted = files.state.authority.roster
    newest = files.rosters[-1]
    if adopted is not None and adopted.version < newest.version and config.agency in newest.agencies:
        yield found("roster_newer", version=newest.version, adopted=adopted.version)


def _own_forks(config: Config) -> Iterator[Finding]:
    """A fork of the newest era of the own log, or the opening that is put here to mend it."""
    try:
        with open_promises(config) as promises:
            eras = promises.logs.eras(config.agency)
            own = eras[-1] if eras else Origin(config.ledger, config.agency)
            put = load_era_opening(config.directory, own)
            if put is not None:
                yield found("era_waits", detail=f"{card_of(put).origin} is not open yet")
            elif eras and promises.forks.is_forked(own):
                yield _forked(str(own), promises.forks.contested_from(own))
    except LedgerError:
        return  # told by what is wrong with roster or database


def _living_holder(config: Config) -> str | None:
    """Host and process that hold the database, if that process lives on this machine; else None."""
    try:
        with open_files(config) as files:
            holder = files.holder
    except LedgerError:
        return None
    host, _, process = (holder or "").partition(" process ")
    if host != socket.gethostname() or not process.isdigit():
        return None
    return holder if Path(f"/proc/{process}/cmdline").exists() and _is_pledger(int(process)) else None


def _is_pledger(process: int) -> bool:
    """Whether a process is a node: its number may be another program's by now."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"node" in words and b"run" in words
