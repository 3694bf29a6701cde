"""The operator's side for tests: commands in this very process, agency directories with every key file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.main import pledger
from node.key_file import COST_MIN, write_key_file
from tests.agencies import PASSPHRASE, Agency, found_agencies
from tests.world import key, seed


def say(*words: object, code: int = 0, language: str = "en") -> str:
    """Run a command; return all that it printed, after checking its exit code."""
    environment = {"PLEDGER_PASSPHRASE": PASSPHRASE, "PLEDGER_LANG": language}
    done = CliRunner().invoke(pledger, [str(word) for word in words], env=environment)
    assert done.exit_code == code, (words, done.exit_code, done.output, done.exception)
    return done.output


def ask(*words: object, code: int = 0) -> dict[str, Any]:
    """Run a command with ``--json``; return what it printed on standard output."""
    done = CliRunner().invoke(pledger, [*map(str, words), "--json"], env={"PLEDGER_PASSPHRASE": PASSPHRASE})
    assert done.exit_code == code, (words, done.exit_code, done.output, done.exception)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def founded(base: Path, names: Sequence[str] = ("district",), **config: float) -> dict[str, Agency]:
    """Agency directories with root and registrar keys too."""
    made = found_agencies(base, names, **config)
    for agency in made.values():
        for name in ("root", "registrar"):
            write_secret(agency.directory / "keys" / f"{name}.key", f"{agency.name} {name}", name)
    return made


def write_secret(path: Path, name: str, use: str) -> None:
    """A key file with one secret from a seed."""
    write_key_file(path, use, {use: seed(name)}, PASSPHRASE, os.urandom, cost=COST_MIN)


def public(agency: str, base: Path, *, url: str = "http://127.0.0.1:1", root: str = "") -> Path:
    """An agency.json."""
    value = {"ledger": "test", "agency": agency, "root_key": key(root or f"{agency} root").public_key.hex()}
    path = base / f"{agency}.json"
    path.write_text(json.dumps(value | {"url": url}))
    return path
