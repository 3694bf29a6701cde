"""docs/OPERATOR.md as its reader follows it: every command run for real, in Russian and in English.

As in ``test_staff_doc``: ``sh`` is one command, with ``# exit 3`` behind it if its exit code is not 0,
``text`` after it is part of what it prints. ``pledger node run`` goes on while the reader types on.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node.http_client import HttpClient
from node.session import fetch_json
from tests.agencies import DEADLINE_S, PASSPHRASE, REPOSITORY, free_ports, wait_for
from tests.test_staff_doc import Block, command_of

DOCUMENT = REPOSITORY / "docs" / "OPERATOR.md"
TITLES = {"ru": "## По-русски", "en": "## In English"}
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = {
    "RECOVERY_KEY": re.compile(r"public key is ([0-9a-f]{64})"),
    "LEDGER_ID": re.compile(r"ledger id ([0-9a-f]{64})"),
}
"""Placeholder to how a command before prints it."""


def half(language: str) -> list[Block]:
    """The blocks of one half of the document."""
    russian, english = DOCUMENT.read_text().split(f"\n{TITLES['en']}\n")
    return [Block(*match) for match in BLOCK.findall({"ru": russian, "en": english}[language])]


@dataclass
class Operator:
    """Somebody who does what the document says, in an empty folder."""

    folder: Path
    language: str
    known: dict[str, str]
    printed: str = ""
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def follow(self, block: Block) -> None:
        """Do what a block says, or compare what it shows."""
        if block.kind == "text":
            assert block.text.strip() in self.printed, f"{block.text!r} is not in:\n{self.printed}"
            return
        command, code = command_of(block)
        for name, value in self.known.items():
            command = command.replace(name, value)
        words = shlex.split(command)
        if words[:3] == ["pledger", "node", "run"]:
            self.start(words)
        elif words[0] == "rm":
            (self.folder / words[1]).unlink()
        else:
            self.run(words, code)

    def run(self, words: list[str], code: int) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words[1:]],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        self.printed = done.stdout + done.stderr
        assert done.returncode == code, (words, done.returncode, self.printed)
        for name, looks in PRINTED.items():
            if name not in self.known and (hit := looks.search(self.printed)):
                self.known[name] = hit[1]

    def start(self, words: list[str]) -> None:
        """Start a node, or stop it and start it again."""
        directory = words[words.index("--dir") + 1]
        self.stop(directory)
        with (self.folder / f"{directory}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *words[1:]],
                cwd=self.folder,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.running[directory] = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], DEADLINE_S)
        assert ready and "is served at" in process.stdout.readline()
        wait_for(self.is_level, "the nodes to hold each other's logs")

    def is_level(self) -> bool:
        """Whether the first node holds something of every log: a reader would look before he goes on."""
        if len(self.running) < 2:
            return True
        with HttpClient(self.known["NODE_URL"]) as client:
            return all(log["size"] for log in client.run(fetch_json("/v1/status"))["logs"])

    def stop(self, directory: str) -> None:
        process = self.running.pop(directory, None)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
            if process.stdout is not None:
                process.stdout.close()

    def environment(self) -> dict[str, str]:
        kept = {name: one for name, one in os.environ.items() if not name.startswith(("PLEDGER_", "LC_"))}
        return kept | {
            "PLEDGER_LANG": self.language,
            "PLEDGER_PASSPHRASE": PASSPHRASE,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
        }


@pytest.mark.slow
@pytest.mark.parametrize("language", TITLES)
def test_it_does_what_it_says(language: str, tmp_path: Path) -> None:
    """From an empty folder to a ledger of two, rotated, carried and examined."""
    ports = free_ports(2)
    urls = {"NODE_URL": f"http://127.0.0.1:{ports[0]}", "NORTH_URL": f"http://127.0.0.1:{ports[1]}"}
    reader = Operator(tmp_path, language, urls)
    blocks = half(language)
    try:
        for place, block in enumerate(blocks):
            if block.kind == "sh" and block.text.startswith("rm "):
                reader.stop("district")
            reader.follow(block)
            assert place == len(blocks) - 1 or block.kind in ("sh", "text")
    finally:
        for directory in list(reader.running):
            reader.stop(directory)


def test_both_halves_are_one_walk() -> None:
    """The same commands with the same exit codes in the same order."""
    russian, english = ([one for one in half(name) if one.kind == "sh"] for name in ("ru", "en"))
    assert [one.text for one in russian] == [one.text for one in english]
    assert len(russian) > 20
