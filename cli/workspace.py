"""The staff workspace: whose key this is, for which agency and unit, and what belongs to it.

::

    HOME/staff.toml        ledger, agency, unit; node, sealing key and log key once connected
    HOME/staff.key         the staff key, under the passphrase
    HOME/roster/...        the roster versions with their signatures, checked again on each use
    HOME/register.sealed   the class register
    HOME/outbox/...        signed entries

It can be made without a network (`staff key --agency`) and connected later. Commands that change it take its
lock, so that two windows on one desk do not overwrite each other's register.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cli.failures import Undone, Usage
from cli.language import say
from cli.public_log import Target, read_checked_rosters
from ledger.errors import Conflict, Malformed
from ledger.keys import SigningKey
from ledger.names import check_name
from ledger.note import format_vkey, parse_vkey
from ledger.roster import Roster
from ledger.statute import Statute
from ledger.tree import RosterPath, Source, format_tree_path
from ledger.verify import read_file
from node.durable_file import disk_errors, replace_file
from node.durable_file import read_file as read_disk
from node.key_file import read_key_file, read_public_keys, write_key_file
from node.sources import DirectorySource

SETTINGS_BYTES_MAX = 64 * 1024
"""Some ten lines, and a line of keys of colleagues."""
SECRET = "staff"
"""Name of the secret in the key file."""

_UNIT = re.compile(r"\*|[A-Za-z0-9А-Яа-яЁё][A-Za-z0-9А-Яа-яЁё._/-]{0,39}")
"""A school's code as the kinds have it, or ``*`` for the whole agency."""
_HEX32 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``staff.toml`` holds. The last three are empty until the workspace is connected."""

    ledger_id: str
    agency: str
    unit: str
    colleagues: tuple[str, ...] = ()
    """Public keys (hex) whose class registers are believed, beside one's own."""
    url: str = ""
    sealing_key: str = ""
    log_key: str = ""

    def __post_init__(self) -> None:
        check_name(self.agency, "agency")
        if not _UNIT.fullmatch(self.unit):
            raise Malformed(say("workspace.unit", unit=repr(self.unit)))
        for text in (self.ledger_id, *self.colleagues, *filter(None, [self.sealing_key])):
            if not _HEX32.fullmatch(text):
                raise Malformed(say("workspace.hex", text=repr(text)))
        if self.log_key:
            parse_vkey(self.log_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One folder of one staff member."""

    home: Path
    settings: Settings

    @property
    def ledger_id(self) -> bytes:
        """What names the ledger, and all trust starts from."""
        return bytes.fromhex(self.settings.ledger_id)

    @property
    def key_path(self) -> Path:
        """The key file."""
        return self.home / "staff.key"

    @property
    def register_path(self) -> Path:
        """The sealed class register."""
        return self.home / "register.sealed"

    @property
    def outbox_path(self) -> Path:
        """The folder of signed entries."""
        return self.home / "outbox"

    def public_key(self) -> bytes:
        """Return the staff member's public key (no passphrase needed)."""
        return read_public_keys(self.key_path).keys[SECRET]

    def unlock(self, passphrase: str) -> SigningKey:
        """Return the staff key; raise `Unproven` for a wrong passphrase."""
        return SigningKey(read_key_file(self.key_path, passphrase)[SECRET])

    def rosters(self) -> list[Roster]:
        """Return the roster versions kept here, checked from the ledger id on."""
        if not (self.home / "roster" / "1.json").exists():
            raise self._unconnected()
        return read_checked_rosters(DirectorySource(self.home), self.ledger_id)

    def statute(self) -> Statute:
        """Return the statutory list in force: what may be recorded."""
        return self.rosters()[-1].statute

    def target(self) -> Target:
        """Return how to submit to the node; raise `Undone` before `staff connect`."""
        settings = self.settings
        if not (settings.url and settings.sealing_key and settings.log_key):
            raise self._unconnected()
        verifier = parse_vkey(settings.log_key)
        return Target(
            ledger_id=self.ledger_id,
            ledger=verifier.name.partition("/")[0],
            agency=settings.agency,
            url=settings.url,
            sealing_key=bytes.fromhex(settings.sealing_key),
            log=verifier,
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workspace alone; raise `Conflict` while another command does."""
        path = self.home / ".lock"
        with disk_errors(path):
            stream = path.open("ab")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(say("workspace.busy", home=self.home)) from None
            yield

    def _unconnected(self) -> Undone:
        return Undone(say("workspace.not_connected", home=self.home))


def open_workspace(home: Path) -> Workspace:
    """Return the workspace in ``home``; raise `Undone` if there is none, `Malformed` for bad settings."""
    path = home / "staff.toml"
    if not path.exists():
        raise Undone(say("workspace.none", home=home))
    data = read_disk(path, bytes_max=SETTINGS_BYTES_MAX)
    try:
        return Workspace(home=home, settings=parse_settings(data))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


def parse_settings(data: bytes) -> Settings:
    """Return the settings in the TOML ``data``; raise `Malformed` saying what is wrong."""
    try:
        value = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Malformed(say("workspace.no_toml", problem=error)) from None
    known = {one.name for one in fields(Settings)}
    if unknown := sorted(set(value) - known):
        names = ", ".join(unknown)
        raise Malformed(say("workspace.unknown_keys", names=names, known=", ".join(sorted(known))))
    if missing := sorted({"ledger_id", "agency", "unit"} - set(value)):
        raise Malformed(say("workspace.missing", names=", ".join(missing)))
    return Settings(**{name: _taken(name, one) for name, one in value.items()})


def format_settings(settings: Settings) -> bytes:
    """Return the TOML that `parse_settings` takes."""
    lines = ["# Made by pledger staff; the secret key lies beside it in staff.key."]
    for one in fields(settings):
        value: Any = getattr(settings, one.name)
        text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"{one.name} = {text}")
    return ("\n".join(lines) + "\n").encode()


def make_workspace(home: Path, settings: Settings, passphrase: str, random: Any) -> Workspace:
    """Make a workspace with a new key; raise `Conflict` if one has its key here already.

    The key file comes last: without it there is no workspace, so a stop in between is mended by starting
    again.
    """
    workspace = Workspace(home=home, settings=settings)
    check_no_workspace(home)
    with disk_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    save_settings(workspace)
    write_key_file(
        workspace.key_path, f"staff of {settings.agency}", {SECRET: random(32)}, passphrase, random
    )
    return workspace


def check_no_workspace(home: Path) -> None:
    """Raise `Conflict` if ``home`` has a staff key already: keys are never overwritten."""
    if (home / "staff.key").exists():
        raise Conflict(say("workspace.has_key", home=home))


def save_settings(workspace: Workspace) -> None:
    """Write ``staff.toml``, durable on return."""
    replace_file(workspace.home / "staff.toml", format_settings(workspace.settings))


def connect_workspace(workspace: Workspace, source: Source, target: Target, versions: int) -> Workspace:
    """Keep the roster and the node's keys; return the connected workspace."""
    if target.agency != workspace.settings.agency:
        own = workspace.settings.agency
        raise Usage(say("workspace.other_agency", url=target.url, agency=target.agency, own=own))
    folder = workspace.home / "roster"
    with disk_errors(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    for version in range(1, versions + 1):
        for is_note in (True, False):
            path = RosterPath(version, is_note)
            replace_file(workspace.home / format_tree_path(path), read_file(source, path) or b"")
    settings = replace(
        workspace.settings,
        url=target.url,
        sealing_key=target.sealing_key.hex(),
        log_key=format_vkey(target.log),
    )
    connected = Workspace(home=workspace.home, settings=settings)
    connected.rosters()
    save_settings(connected)
    return connected


def _taken(name: str, value: object) -> Any:
    if name == "colleagues" and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if name == "colleagues" or not isinstance(value, str):
        is_list = name == "colleagues"
        raise Malformed(
            say("workspace.must_be_list", name=name) if is_list else say("workspace.must_be_text", name=name)
        )
    return value
