"""``pledger outbox``: what was signed here, what became of it, and sending what waits."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cli import output
from cli.advice import advice_on
from cli.command import command, group, home_option, now
from cli.desk import open_desk
from cli.heard import translated
from cli.language import headings, say, say_word
from cli.outbox import Stored
from cli.output import Table
from cli.passphrase import passphrase_option
from cli.sending_on import send_command
from cli.stranded import STRANDED_COMMANDS


@command("list", "pledger outbox list", "pledger outbox list --json")
@home_option
@passphrase_option
def list_command(home: Path, passphrase_file: Path | None) -> None:
    """Show every entry signed here: waiting, accepted, certified, or refused and why."""
    with open_desk(home, passphrase_file) as desk:
        entries = desk.outbox.entries()
    columns = ["entry", "signed", "waits", "state", "records", "kinds", "reason"]
    rows = [
        [
            one.entry_id.hex()[:16],
            _signed(one),
            _waits(one),
            say_word("state", one.word),
            len(one.records),
            _kinds(one),
            translated(one.reason),
        ]
        for one in entries
    ]
    waiting = sum(one.state == "waiting" for one in entries)
    todo = [say("outbox.waiting", count=waiting)] if waiting else []
    todo += [f"{one.entry_id.hex()[:16]}: {advice}" for one in entries if (advice := advice_on(one.reason))]
    if any(one.state == "refused" for one in entries):
        todo.append(say("outbox.unwanted"))
    output.show(
        {"entries": [_value(one) for one in entries]},
        Table(columns=headings(columns), rows=rows) if rows else say("outbox.empty"),
        *todo,
    )


def _signed(stored: Stored) -> str:
    moment = datetime.datetime.fromtimestamp(stored.created_ms / 1000, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M}"


def _waits(stored: Stored) -> str:
    """How long an entry has waited, as people say it."""
    if stored.state == "accepted":
        return ""
    hours = max(0, int(now().timestamp() * 1000) - stored.created_ms) // 3_600_000
    return say("outbox.days", count=hours // 24) if hours >= 48 else say("outbox.hours", count=hours)


def _kinds(stored: Stored) -> str:
    return ", ".join(dict.fromkeys(record.kind for record in stored.records)) or say("outbox.governance")


def _value(stored: Stored) -> dict[str, Any]:
    return {
        "entry_id": stored.entry_id.hex(),
        "signed": _signed(stored),
        "state": stored.state,
        "certified": stored.is_certified,
        "cosigned": list(stored.cosigned),
        "reason": stored.reason,
        "do": advice_on(stored.reason),
        "waits": _waits(stored),
        "records": [
            {"record": one.hash.hex(), "kind": one.kind, "from": stored.label_of(one.hash)}
            for one in stored.records
        ],
    }


COMMANDS = [
    group(
        "outbox",
        "Signed entries: list them, send what waits, hand on what cannot go.",
        list_command,
        send_command,
        *STRANDED_COMMANDS,
    )
]
