"""The processes of a demonstration: pledger's own commands, and three nodes, each watched and ended."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import output
from ledger.errors import LedgerError, StoreError
from node.http_client import HttpClient
from node.protocol import Unreachable
from node.session import fetch_json

STOP_TIMEOUT_S = 10
"""A node finishes its commit in far less; after this it is killed."""
POLL_S = 0.05


class Failed(LedgerError):
    """A step of the demonstration failed; the message has the step's own words."""


@dataclass
class DemoRun:
    """One run: where its files are, its processes, and what it has found out so far."""

    directory: Path
    environment: dict[str, str]
    start: float
    ledger_id: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    records: int = 0

    def say(self, text: str) -> None:
        """Print a line of progress."""
        output.remark(f"[{time.monotonic() - self.start:5.1f} s] {text}")

    def agency_directory(self, agency: str) -> Path:
        """Return where an agency has its keys, configuration and databases."""
        return self.directory / agency

    def pledger(self, template: str, *values: object, codes: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run one command of pledger as its user would; return the JSON object that it answered.

        Each ``{}`` of the template stands for a value, or for all words of a list.
        """
        self.check_nodes()
        words = _words(template, values)
        with (self.directory / "commands.txt").open("a") as stream:
            stream.write(f"pledger {shlex.join(words)}\n")
        run = subprocess.run(_command(*words, "--json"), env=self.environment, capture_output=True, text=True)
        if run.returncode not in codes:
            said = run.stderr.strip()[-2000:]
            raise Failed(f"pledger {shlex.join(words)} ended with {run.returncode}: {said}")
        answer: dict[str, Any] = json.loads(run.stdout)
        return answer

    def start_node(self, agency: str, *words: str) -> None:
        """Start an agency's node; its events go on in ``node.log`` in its directory."""
        directory = self.agency_directory(agency)
        with (directory / "node.log").open("ab") as log:
            self.nodes[agency] = subprocess.Popen(
                _command("node", "run", "--dir", str(directory), *words),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the demonstration, which ends its nodes in order
            )

    def status(self, agency: str) -> dict[str, Any]:
        """Return what a node says of itself; raise `Unreachable`."""
        with HttpClient(self.urls[agency]) as client:
            return client.run(fetch_json("/v1/status"))

    def check_nodes(self) -> None:
        """Raise `Failed`, with its last words, if a node has ended."""
        for agency, process in self.nodes.items():
            if process.poll() is not None:
                lines = (self.agency_directory(agency) / "node.log").read_text(errors="replace").splitlines()
                raise Failed(f"the node of {agency} has ended: {' / '.join(lines[-3:]) or 'without a word'}")

    def wait(self, timeout_s: float, what: str, is_done: Callable[[], bool]) -> None:
        """Wait for a condition with a deadline; a dead node ends the wait."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_nodes()
            with contextlib.suppress(Unreachable):
                if is_done():
                    return
            if time.monotonic() > deadline:
                raise StoreError(f"waited {timeout_s} s for {what}: see {self.directory}/*/node.log")
            time.sleep(POLL_S)

    def wait_for_interrupt(self) -> None:
        """Stay until Ctrl-C, or until a node ends."""
        while True:
            self.check_nodes()
            time.sleep(POLL_S)

    def stop_nodes(self) -> None:
        """End every node, and wait until it has ended."""
        for process in self.nodes.values():
            process.terminate()
        for agency in list(self.nodes):
            self.stop_node(agency)

    def stop_node(self, agency: str) -> None:
        """End one node, and wait until it has ended."""
        process = self.nodes[agency]
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        del self.nodes[agency]


def begin(directory: Path) -> DemoRun:
    """Return a run in an existing directory, with a passphrase of its own for all keys."""
    passphrase = directory / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_hex(16) + "\n")
    environment = os.environ | {"PLEDGER_PASSPHRASE_FILE": str(passphrase), "PYTHONUNBUFFERED": "1"}
    environment.pop("PLEDGER_HOME", None)
    return DemoRun(directory=directory, environment=environment, start=time.monotonic())


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the demonstration as Ctrl-C does: every process with it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(*words: str) -> list[str]:
    """The command line of pledger in this very interpreter."""
    return [sys.executable, "-m", "cli.main", *words]


def _words(template: str, values: Sequence[object]) -> list[str]:
    rest, words = list(values), list[str]()
    for word in template.split():
        value = rest.pop(0) if word == "{}" else word
        words += map(str, value) if isinstance(value, list) else [str(value)]
    return words
