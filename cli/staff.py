"""``pledger staff``: a staff member's key and workspace, and who was granted what (see ``grants``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, group, home_option
from cli.failures import Usage
from cli.grants import grant_command, revoke_command
from cli.language import headings, say
from cli.lost import lost_command
from cli.output import Table
from cli.parameters import HEX32, day_of
from cli.passphrase import passphrase_option, take_passphrase
from cli.public_log import Target, ask_agency, read_checked_rosters, read_log, target_of
from cli.registrar import open_agency
from cli.workspace import (
    Settings,
    Workspace,
    check_no_workspace,
    connect_workspace,
    make_workspace,
    open_workspace,
)
from ledger.authority import Authority
from ledger.chain import Judged
from ledger.tree import Source
from node.http_client import HttpClient
from node.sources import HttpSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A node whose roster and log were checked from the ledger id on."""

    source: Source
    target: Target
    versions: int


@command(
    "key",
    "pledger staff key --node http://127.0.0.1:8101 --ledger LEDGER-ID --unit school-12",
    "pledger staff key --agency district --ledger LEDGER-ID --unit school-12   (without a network)",
)
@click.option("--node", "url", metavar="URL", help="The agency's node; its roster and keys are checked.")
@click.option("--agency", metavar="ID", help="Instead of --node, when there is no network: connect later.")
@click.option("--ledger", "ledger_id", type=HEX32, required=True, help="The ledger id.")
@click.option("--unit", metavar="ORG", required=True, help="Code of your school, or * for the whole agency.")
@home_option
@passphrase_option
def key_command(
    url: str | None, agency: str | None, ledger_id: bytes, unit: str, home: Path, passphrase_file: Path | None
) -> None:
    """Make a staff key and workspace.

    The secret key stays in the workspace under your passphrase; give the public key that is printed to the
    registrar, who grants it a role.
    """
    if (url is None) == (agency is None):
        raise Usage(say("staff.node_or_agency"))
    check_no_workspace(home)
    if url is None:
        settings = Settings(ledger_id=ledger_id.hex(), agency=str(agency), unit=unit)
        workspace = _made(home, settings, passphrase_file)
    else:
        with _checked_node(url, ledger_id) as node:
            settings = Settings(ledger_id=ledger_id.hex(), agency=node.target.agency, unit=unit)
            workspace = _made(home, settings, passphrase_file)
            workspace = connect_workspace(workspace, node.source, node.target, node.versions)
    _show_workspace(workspace)


@command("connect", "pledger staff connect --node http://127.0.0.1:8101")
@click.option("--node", "url", metavar="URL", required=True, help="The agency's node.")
@home_option
def connect_command(url: str, home: Path) -> None:
    """Connect the workspace to the agency's node, or take over its new keys and roster."""
    workspace = open_workspace(home)
    with workspace.locked(), _checked_node(url, workspace.ledger_id) as node:
        workspace = connect_workspace(workspace, node.source, node.target, node.versions)
    _show_workspace(workspace)


@command("list", "pledger staff list", "pledger staff list --agency-dir district")
@click.option("--agency-dir", type=click.Path(path_type=Path, file_okay=False), help="Of this agency's node.")
@click.option("--node", "url", metavar="URL", help="Another address of the node.")
@home_option
def list_command(agency_dir: Path | None, url: str | None, home: Path) -> None:
    """Show who was granted and revoked, from the agency's public log (checked as it is read)."""
    target = open_agency(agency_dir, url).target if agency_dir else open_workspace(home).target()
    authority = _authority_at(url or target.url, target)
    rows = [row for key in authority.grants for row in _grant_rows(authority, key)]
    rows += [_revoked_row(authority, key) for key in authority.revoked if key not in authority.grants]
    columns = ["key", "from", "until", "granted_at", "revoked_at"]
    shown = [["" if cell is None else cell for cell in row] for row in rows]
    output.show(
        {"agency": target.agency, "staff": [dict(zip(columns, row, strict=True)) for row in rows]},
        Table(columns=headings(["key", "valid_from", *columns[2:]]), rows=shown)
        if rows
        else say("staff.nobody", agency=target.agency),
    )


@contextmanager
def _checked_node(url: str, ledger_id: bytes) -> Iterator[_Node]:
    with HttpClient(url) as client, output.progress() as progress:
        source = HttpSource(client)
        rosters = read_checked_rosters(source, ledger_id)
        state = read_log(source, ledger_id, rosters, ask_agency(client), _ignore, progress)
        yield _Node(source=source, target=target_of(state, url), versions=len(rosters))


def _authority_at(url: str, target: Target) -> Authority:
    with HttpClient(url) as client, output.progress() as progress:
        source = HttpSource(client)
        rosters = read_checked_rosters(source, target.ledger_id)
        return read_log(source, target.ledger_id, rosters, target.agency, _ignore, progress).authority


def _ignore(_: Judged) -> None:
    """The state at the end says enough."""


def _made(home: Path, settings: Settings, passphrase_file: Path | None) -> Workspace:
    passphrase = take_passphrase(passphrase_file, say("passphrase.new_staff_key", home=home), is_new=True)
    return make_workspace(home, settings, passphrase, os.urandom)


def _show_workspace(workspace: Workspace) -> None:
    settings, key = workspace.settings, workspace.public_key().hex()
    value: dict[str, Any] = {
        "key": key,
        "home": str(workspace.home),
        "ledger_id": settings.ledger_id,
        "agency": settings.agency,
        "unit": settings.unit,
        "node": settings.url or None,
    }
    output.show(
        value,
        say("staff.key", key=key),
        say("staff.agency", agency=settings.agency, unit=settings.unit),
        say("staff.node", node=settings.url or say("staff.not_connected")),
        say("staff.home", home=workspace.home),
        say("staff.next_grant") if settings.url else say("staff.next_connect"),
    )


def _grant_rows(authority: Authority, key: bytes) -> list[list[object]]:
    revoked = authority.revoked.get(key)
    return [
        [
            key.hex(),
            day_of(one.grant.valid_from).isoformat(),
            day_of(one.grant.valid_until).isoformat(),
            f"{one.place.era}:{one.place.index}",
            None if revoked is None else f"{revoked.era}:{revoked.index}",
        ]
        for one in authority.grants[key]
    ]


def _revoked_row(authority: Authority, key: bytes) -> list[object]:
    place = authority.revoked[key]
    return [key.hex(), None, None, None, f"{place.era}:{place.index}"]


COMMANDS = [
    group(
        "staff",
        "Staff keys: make one, grant and revoke, list; what to do when one is lost.",
        key_command,
        connect_command,
        grant_command,
        revoke_command,
        list_command,
        lost_command,
    )
]
