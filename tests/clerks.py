"""Clerks at their computers, a workspace each, connected to a real or absent node of one agency.

Their keys come from fixed seeds, so a test can grant them before they have typed anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.main import pledger
from cli.outbox import Outbox, Stored
from cli.register import Register, read_register
from cli.workspace import Settings, Workspace, connect_workspace, make_workspace, open_workspace
from ledger.governance import Grant, format_governance, scope_commitment
from node.http_client import HttpClient
from node.protocol import Problem
from node.sources import DirectorySource
from node.submission import Submission
from tests.agencies import REPOSITORY, Agency, post
from tests.staff_side import PASSPHRASE, UNIT, attended, target
from tests.world import DAY, key, seed

ROSTER = (
    "local_id;name;stage;class_level;entry_type;date;class;profile\n"
    "7a-01;Сказкина Алёна;basic;7;next_year;2024-09-01;7а;school_only\n"
    "7a-02;Небывалов Тихон;basic;7;new;2024-09-01;7а;school_only\n"
    "7b-01;Придумов Елисей;basic;7;new;2024-09-01;7б;declined\n"
)
RESULTS = (
    "local_id;school_year;term;subject_code;scale;value;result_type\n"
    "7a-01;2024/2025;q1;ALG;ru5;5;term\n"
    "7a-02;2024/2025;q1;ALG;ru5;4;term\n"
)
NOTICE = ("--notice-hash", "ab" * 32, "--shown-on", "2024-09-01")


@dataclass
class Clerk:
    """One staff member's computer."""

    agency: Agency
    name: str
    home: Path

    @property
    def key(self) -> str:
        """The public key as one tells it to a colleague."""
        return key(f"{self.agency.name} {self.name}").public_key.hex()

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.home)

    def environment(self) -> dict[str, str]:
        return {
            "PLEDGER_HOME": str(self.home),
            "PLEDGER_PASSPHRASE": PASSPHRASE,
            "PLEDGER_PASSPHRASE_FILE": "",
        }

    def type(self, *words: str | Path, code: int | None = 0, answer: str | None = None) -> Result:
        """Run a command in this process, at a terminal if there is an answer; no traceback, and this code."""
        typed = [str(one) for one in words]
        with attended(answer):
            result = CliRunner().invoke(pledger, typed, env=self.environment(), input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert code is None or result.exit_code == code, result.output
        return result

    def ask(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """The JSON object that a command answers."""
        value: dict[str, Any] = json.loads(self.type(*words, "--json", code=code).stdout)
        return value

    def start(self, *words: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *map(str, words)],
            env={**os.environ, **self.environment(), "PYTHONUNBUFFERED": "1"},
            cwd=REPOSITORY,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def file(self, name: str, text: str) -> Path:
        path = self.home.with_name(f"{self.name}-{name}")
        path.write_text(text)
        return path

    def enrol(self, *words: str, roster: str = ROSTER) -> dict[str, Any]:
        return self.ask("class", "enrol", self.file("roster.csv", roster), *NOTICE, *words)

    def register(self) -> Register:
        return read_register(self.workspace.register_path, key(f"{self.agency.name} {self.name}"))

    def entries(self) -> list[Stored]:
        signer = key(f"{self.agency.name} {self.name}")
        return Outbox(self.workspace.outbox_path, signer, os.urandom).entries()

    def states(self) -> list[str]:
        return [one.state for one in self.entries()]


def clerk_of(agency: Agency, home: Path, name: str = "clerk") -> Clerk:
    """A connected workspace whose key follows from the name."""
    drawn: list[bytes] = [seed(f"{agency.name} {name}")]
    settings = Settings(ledger_id=agency.world.ledger_id.hex(), agency=agency.name, unit=UNIT)
    workspace = make_workspace(
        home, settings, PASSPHRASE, lambda size: drawn.pop() if drawn else os.urandom(size)
    )
    to = target(agency.world.logs[agency.name], agency.url)
    connect_workspace(workspace, DirectorySource(agency.directory), to, 1)
    return Clerk(agency, name, home)


def grant(agency: Agency, *clerks: str, until: int = DAY + 36_500) -> None:
    """Let the running node take these clerks' entries, until a day."""
    with HttpClient(agency.url) as client:
        for name in clerks:
            opening = agency.scope_opening(name)
            given = Grant(
                key=key(f"{agency.name} {name}").public_key,
                scope=scope_commitment(opening),
                valid_from=0,
                valid_until=until,
            )
            entry = agency.public([format_governance(given)])
            answer = post(client, agency, Submission(entry=entry, scopes=(opening,)))
            assert not isinstance(answer, Problem), answer


def exchange(giver: Clerk, taker: Clerk) -> None:
    """Hand the class register over as a sealed file."""
    path = giver.home.with_name(f"{giver.name}-for-{taker.name}.sealed")
    giver.type("class", "export", "-o", path, "--to", taker.key)
    taker.type("class", "take", path, "--from", giver.key)
