"""docs/STAFF.md as its reader follows it: every command run for real, in Russian and in English.

Blocks are told by their first word: ``sh`` is one command, with ``# exit 4`` behind it if its exit code is
not 0; ``text`` after it is what it prints, where … stands for anything; ``csv`` and ``toml`` with a name are
files that the reader has on the desk. Words in capitals are filled in as a reader would: from what the
registrar said, or from what a command before printed.
"""

from __future__ import annotations

import csv
import datetime
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import pytest

from node.key_file import COST_MIN, write_key_file
from tests.agencies import DEADLINE_S, PASSPHRASE, REPOSITORY, Agency, Nodes, found_agencies
from tests.world import key, seed

DOCUMENT = REPOSITORY / "docs" / "STAFF.md"
TITLES = {"ru": "## По-русски", "en": "## In English"}
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b")
EXIT = re.compile(r"#\s*exit (\d+)\s*$")
LEFT_OUT = re.compile(r"…|\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b")
"""What an output block does not say: hashes differ on every computer."""
PRINTED = {
    "YOUR_KEY": (r"staff key .*LEDGER_ID(?!.*--home)", r"\b[0-9a-f]{64}\b"),
    "HOLDER_KEY": (r"staff key .*--home HOLDER_FOLDER", r"\b[0-9a-f]{64}\b"),
    "NEW_KEY": (r"staff key .*--home NEW_FOLDER", r"\b[0-9a-f]{64}\b"),
    "RECORD": (r"import marks\.csv", r"marks\.csv \S+ 4 .*\b([0-9a-f]{16})$"),
    "ENTRY": (r"outbox send", r"\b[0-9a-f]{16}\b"),
    "AWARD": (r"append .*VSOSH-MATH", r"\b[0-9a-f]{16}$"),
    "SECOND": (r"append .*VSOSH-RUS", r"\b[0-9a-f]{16}$"),
    "SENT": (r"outbox send", r"\b[0-9a-f]{16}$"),
}
"""Placeholder to the command that prints it, and how it looks there."""


@dataclass(frozen=True)
class Block:
    kind: str
    name: str
    text: str


def half(language: str) -> list[Block]:
    """The blocks of one half of the document."""
    russian, english = DOCUMENT.read_text().split(f"\n{TITLES['en']}\n")
    return [Block(*match) for match in BLOCK.findall({"ru": russian, "en": english}[language])]


def command_of(block: Block) -> tuple[str, int]:
    """The command of a block on one line, and its exit code."""
    text = block.text.strip().replace("\\\n", " ")
    assert "\n" not in text, f"one command a block: {text}"
    stated = EXIT.search(text)
    return " ".join(EXIT.sub("", text).split()), int(stated[1]) if stated else 0


@dataclass
class Reader:
    """Somebody who does what the document says, in an empty folder."""

    folder: Path
    language: str
    known: dict[str, str]
    printed: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "passphrase").write_text(PASSPHRASE + "\n")
        (self.folder / "notice.pdf").write_bytes(b"notice to the family")
        unwanted = ("PLEDGER_", "LC_", "LANG")
        self.environment = {
            name: one for name, one in os.environ.items() if not name.startswith(unwanted)
        } | {
            "HOME": str(self.folder),
            "PLEDGER_LANG": self.language,
            "PLEDGER_PASSPHRASE_FILE": str(self.folder / "passphrase"),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUTF8": "1",
        }

    def follow(self, block: Block) -> None:
        """Do what a block says, or compare what it shows."""
        match block.kind:
            case "sh":
                self.run(*command_of(block))
            case "text":
                self.compare(block.text)
            case "csv":
                self.write_list(block)
            case "toml":
                self.write_lines(block)
            case other:
                pytest.fail(f"a block of kind {other!r}")

    def run(self, command: str, code: int) -> None:
        words = shlex.split(PLACEHOLDER.sub(self.value, command))
        assert words[0] == "pledger"
        ours, theirs = os.openpty()  # the reader sits at a terminal
        os.write(ours, b"y\n")  # the one question that there is
        try:
            done = subprocess.run(
                [sys.executable, "-m", "cli.main", *words[1:]],
                cwd=self.folder,
                env=self.environment,
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        self.printed = done.stdout + done.stderr
        assert done.returncode == code, f"{command}: {done.returncode}\n{self.printed}"
        self.learn(command)

    def learn(self, command: str) -> None:
        for name, (printer, looks) in PRINTED.items():
            if re.search(printer, command) and name not in self.known:
                lines = [line.rstrip() for line in self.printed.splitlines()]
                found = [hit for line in lines if (hit := re.search(looks, line))]
                if found:
                    self.known[name] = found[0][found[0].lastindex or 0]

    def value(self, match: re.Match[str]) -> str:
        """What stands for a word in capitals; codes such as ALG are no placeholders."""
        name = match[0]
        return self.known.get(name, name) if "_" in name or name in PRINTED else name

    def compare(self, text: str) -> None:
        """Every phrase of an output block was printed."""
        printed = " ".join(self.printed.split())
        assert LEFT_OUT.sub("", text).strip(), "an output block that says nothing"
        for line in text.splitlines():
            for piece in LEFT_OUT.split(line):
                said = " ".join(PLACEHOLDER.sub(self.value, piece).split())
                assert said in printed, f"{said!r} is not in what was printed:\n{self.printed}"

    def write_list(self, block: Block) -> None:
        path = self.folder / block.name
        if path.suffix == ".csv":
            path.write_text(block.text)
            return
        book = openpyxl.Workbook()
        for row in csv.reader(block.text.splitlines(), delimiter=";"):
            book.active.append(row)
        book.save(path)

    def write_lines(self, block: Block) -> None:
        """A file as it is after it was mended."""
        (self.folder / block.name).write_text(block.text)


@pytest.fixture
def district(tmp_path: Path, nodes: Nodes) -> Agency:
    """A running node and its registrar."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    secret = {"registrar": seed("district registrar")}
    path = agency.directory / "keys" / "registrar.key"
    write_key_file(path, "district", secret, PASSPHRASE, os.urandom, cost=COST_MIN)
    nodes.start(agency)
    return agency


@pytest.mark.slow
@pytest.mark.parametrize("language", TITLES)
def test_it_does_what_it_says(language: str, district: Agency, tmp_path: Path) -> None:
    """From the first key to the lost computer: exit codes and what is printed are those of the document."""
    ledger_id, today = district.world.ledger_id.hex(), datetime.date.today()
    folder = tmp_path / "desk"
    folder.mkdir()
    known = {
        "NODE_URL": district.url,
        "LEDGER_ID": ledger_id,
        "WRONG_ID": ledger_id[:-4] + ("0000" if ledger_id[-4:] != "0000" else "1111"),
        "AGENCY_DIR": str(district.directory),
        "FIRST_DAY": str(today - datetime.timedelta(30)),
        "LAST_DAY": str(today + datetime.timedelta(300)),
        "LOST_DAY": str(today + datetime.timedelta(1)),  # nothing was written since
        "SECOND_KEY": key("second holder").public_key.hex(),
        "COLLEAGUE_KEY": key("substitute").public_key.hex(),
        "HOLDER_FOLDER": "holder",
        "NEW_FOLDER": "new",
    }
    reader = Reader(folder, language, known)
    for block in half(language):
        reader.follow(block)
        if os.environ.get("STAFF_DOC_SHOW") and block.kind == "sh":
            print(f"$ {block.text}{reader.printed}")  # noqa: T201
    assert set(PRINTED) <= set(reader.known)


def test_both_halves_are_one_walk() -> None:
    """The same commands with the same exit codes, and the same files, in the same order."""
    russian, english = half("ru"), half("en")
    for kinds in (("sh",), ("sh", "text", "csv", "toml")):
        shapes = [
            [(one.kind, one.name) for one in blocks if one.kind in kinds] for blocks in (russian, english)
        ]
        assert shapes[0] == shapes[1]
    for kind in ("sh", "csv"):
        ours, theirs = ([one.text for one in blocks if one.kind == kind] for blocks in (russian, english))
        assert ours == theirs
    assert len([one for one in russian if one.kind == "sh"]) > 20


def test_every_command_shows_what_it_prints() -> None:
    """No command block without the output after it."""
    for language in TITLES:
        blocks = half(language)
        for one, following in zip(blocks, [*blocks[1:], Block("", "", "")], strict=True):
            if one.kind == "sh" and one.text.startswith("pledger"):
                assert following.kind == "text", one.text
