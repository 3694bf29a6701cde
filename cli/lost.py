"""``pledger staff lost``: a passphrase forgotten, a computer stolen; what comes back, and what to type.

Nobody can reset a passphrase: without the key, what lies in the outbox unsent is lost and is typed again. The
key is revoked for good and a new one granted. What was written with it before the loss stays valid; from a
place in the log on it is marked suspect. The register comes back from a colleague or a recovery holder.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.failures import Usage
from cli.heard import translated
from cli.language import headings, say, say_word
from cli.outbox import SUFFIX
from cli.output import Table
from cli.parameters import HEX32, ISO_DATE, day_number
from cli.public_log import read_checked_rosters, read_log
from cli.register import FILE_BYTES_MAX, readers_of
from cli.workspace import Workspace, open_workspace
from ledger.chain import Judged
from ledger.errors import Conflict, LedgerError
from node.durable_file import disk_errors, read_file
from node.http_client import HttpClient
from node.sources import HttpSource

ERA = 1
"""Logs have one era until a later one can be opened."""


@dataclass(slots=True)
class _Written:
    """Where in the log the day of the loss begins, and how much the lost key wrote from there on."""

    key: bytes
    day: int
    start: int | None = None
    count: int = 0
    size: int = 0

    def take(self, judged: Judged) -> None:
        """Look at one leaf."""
        self.size = judged.index + 1
        if judged.leaf is None or judged.leaf.received_hour // 24 < self.day:
            return
        self.start = judged.index if self.start is None else self.start
        self.count += judged.leaf.header.author == self.key

    @property
    def index(self) -> int:
        """The first place of that day, or the one after all that there is."""
        return self.size if self.start is None else self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """All that can be said without the lost key."""

    key: bytes
    home: Path
    unit: str
    url: str
    ledger_id: str
    suspect_from: str = ""
    written: int | None = None
    unsent: int | None = None
    holders: tuple[bytes, ...] = field(default=())


@command(
    "lost",
    "pledger staff lost",
    "pledger staff lost --since 2026-11-20 --set-aside   (own computer, passphrase forgotten)",
    "pledger staff lost --key KEY --since 2026-11-20   (stolen: on a colleague's computer)",
)
@click.option("--key", type=HEX32, help="The lost public key, if it is not that of this workspace.")
@click.option("--since", type=ISO_DATE, help="The day since which somebody else may have used the key.")
@click.option("--set-aside", is_flag=True, help="Put this workspace aside, so that a new key can be made.")
@home_option
def lost_command(key: bytes | None, since: datetime.date | None, set_aside: bool, home: Path) -> None:
    """Say what to do when a passphrase is forgotten or a computer with a key is gone.

    It needs no passphrase. With --since it asks the node from where in the log the key is to be suspected.
    """
    workspace = open_workspace(home)
    own = workspace.public_key()
    lost = key or own
    if set_aside and lost != own:
        raise Usage(say("lost.other_key", home=home))
    loss = _look(workspace, lost, since, is_own=lost == own)
    kept = _set_aside(workspace) if set_aside else None
    steps = _steps(loss)
    output.show(
        {
            "key": lost.hex(),
            "suspect_from": loss.suspect_from or None,
            "written_since": loss.written,
            "unsent": loss.unsent,
            "register_readers": [one.hex() for one in loss.holders],
            "set_aside": str(kept) if kept else None,
            "steps": [{"who": who, "what": what, "type": typed} for who, what, typed in steps],
        },
        say("lost.key", key=lost.hex()),
        *_facts(loss),
        *([say("lost.aside", path=kept)] if kept else []),
        Table(
            columns=headings(["who", "what", "command"]),
            rows=[(say_word("who", who), what, typed) for who, what, typed in steps],
        ),
    )


def _look(workspace: Workspace, lost: bytes, since: datetime.date | None, *, is_own: bool) -> _Loss:
    written = _written(workspace, lost, since) if since else None
    settings = workspace.settings
    return _Loss(
        key=lost,
        home=workspace.home,
        unit=settings.unit,
        url=settings.url,
        ledger_id=settings.ledger_id,
        suspect_from=f"{ERA}:{written.index}" if written else "",
        written=written.count if written else None,
        unsent=len(list(workspace.outbox_path.glob(f"*{SUFFIX}"))) if is_own else None,
        holders=_holders(workspace, lost) if is_own else (),
    )


def _written(workspace: Workspace, lost: bytes, since: datetime.date) -> _Written | None:
    """Ask the node's public log; without a network the registrar finds the place."""
    written = _Written(lost, day_number(since))
    try:
        target = workspace.target()
        with HttpClient(target.url) as client, output.progress() as progress:
            source = HttpSource(client)
            rosters = read_checked_rosters(source, target.ledger_id)
            read_log(source, target.ledger_id, rosters, target.agency, written.take, progress)
    except LedgerError as error:
        output.remark(say("lost.no_log", problem=translated(str(error))))
        return None
    return written


def _holders(workspace: Workspace, lost: bytes) -> tuple[bytes, ...]:
    """Who else can open the register that lies here."""
    if not workspace.register_path.exists():
        return ()
    _, readers = readers_of(read_file(workspace.register_path, bytes_max=FILE_BYTES_MAX))
    return tuple(one for one in readers if one != lost)


def _set_aside(workspace: Workspace) -> Path:
    """Rename the workspace; nothing in it is lost, should the passphrase come back to mind."""
    target = workspace.home.with_name(f"{workspace.home.name}.lost-{workspace.public_key().hex()[:16]}")
    if target.exists():
        raise Conflict(say("lost.exists", path=target))
    with workspace.locked(), disk_errors(target):
        workspace.home.rename(target)
    return target


def _facts(loss: _Loss) -> list[str]:
    lines = []
    if loss.written is not None:
        lines.append(say("lost.written", count=loss.written))
    if loss.unsent:
        lines.append(say("lost.unsent", count=loss.unsent))
    if loss.holders:
        lines.append(say("lost.holders", keys=", ".join(one.hex() for one in loss.holders)))
    return lines


def _steps(loss: _Loss) -> Sequence[tuple[str, str, str]]:
    key, suspect = loss.key.hex(), loss.suspect_from or "ERA:INDEX"
    node = f"--node {loss.url or 'URL'} --ledger {loss.ledger_id} --unit {loss.unit}"
    return (
        (
            "registrar",
            say("lost.stop"),
            f"pledger staff revoke {key} --suspect-from {suspect} --agency-dir DIR",
        ),
        ("you", say("lost.make"), f"pledger staff key {node}"),
        ("registrar", say("lost.grant"), "pledger staff grant NEWKEY --role ROLE --unit UNIT ..."),
        (
            "colleague or recovery holder",
            say("lost.give"),
            f"pledger class export --register COPY --from {key} -o back.sealed --to NEWKEY",
        ),
        ("you", say("lost.take"), "pledger class take back.sealed --from THEIRKEY"),
        (
            "you",
            say("lost.again"),
            "pledger class enrol LIST --again ...; pledger import LIST --kind KIND",
        ),
        ("colleague", say("lost.unshare"), f"pledger class unshare {key}"),
    )
