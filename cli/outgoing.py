"""``pledger outbox``: what was signed here, what became of it, and sending what waits."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import command, group, home_option
from cli.desk import open_desk
from cli.heard import translated
from cli.language import headings, say, say_word
from cli.outbox import Stored
from cli.output import Table
from cli.passphrase import passphrase_option
from cli.told import show_told, tell


@command("list", "pledger outbox list", "pledger outbox list --json")
@home_option
@passphrase_option
def list_command(home: Path, passphrase_file: Path | None) -> None:
    """Show every entry signed here: waiting, accepted with its receipt, or refused and why."""
    with open_desk(home, passphrase_file) as desk:
        entries = desk.outbox.entries()
    columns = ["entry", "signed", "state", "records", "kinds", "reason"]
    rows = [
        [
            one.entry_id.hex()[:16],
            _signed(one),
            say_word("state", one.state),
            len(one.records),
            _kinds(one),
            translated(one.reason),
        ]
        for one in entries
    ]
    waiting = sum(one.state == "waiting" for one in entries)
    todo = [say("outbox.waiting", count=waiting)] if waiting else []
    output.show(
        {"entries": [_value(one) for one in entries]},
        Table(columns=headings(columns), rows=rows) if rows else say("outbox.empty"),
        *todo,
    )


@command("send", "pledger outbox send", "pledger outbox send --again")
@click.option("--again", is_flag=True, help="Send refused entries too, after what was in the way is mended.")
@home_option
@passphrase_option
def send_command(again: bool, home: Path, passphrase_file: Path | None) -> None:
    """Send what waits, oldest first. Sending something twice is harmless."""
    with open_desk(home, passphrase_file) as desk:
        entries = desk.outbox.waiting(with_refused=again)
        delivery = desk.send(with_refused=again) if entries else None
    if not entries:
        nothing = tell([], None)
        output.show(nothing.value, say("outbox.nothing_waits"))
        return
    show_told(tell(entries, delivery))


def _signed(stored: Stored) -> str:
    moment = datetime.datetime.fromtimestamp(stored.created_ms / 1000, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M}"


def _kinds(stored: Stored) -> str:
    return ", ".join(dict.fromkeys(record.kind for record in stored.records)) or say("outbox.governance")


def _value(stored: Stored) -> dict[str, Any]:
    return {
        "entry_id": stored.entry_id.hex(),
        "signed": _signed(stored),
        "state": stored.state,
        "reason": stored.reason,
        "records": [
            {"record": one.hash.hex(), "kind": one.kind, "from": stored.label_of(one.hash)}
            for one in stored.records
        ],
    }


COMMANDS = [group("outbox", "Signed entries: list them, send what waits.", list_command, send_command)]
