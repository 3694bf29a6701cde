"""``pledger node load``: what a file carries enters a node, running or not, as from a peer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import directory_option
from cli.command import command, now
from cli.language import headings, say
from cli.output import Table
from cli.passphrase import passphrase_option, take_passphrase
from ledger import errors
from ledger.errors import LedgerError, StoreError
from ledger.log_verifier import Progress
from ledger.roster import ROSTER_BYTES_MAX, roster_hash
from node import inbox
from node.config import Config, load_config
from node.durable_file import disk_errors, read_file, sync_folder
from node.http_client import HttpClient
from node.http_server import bind
from node.inbox import result_path, take_file
from node.rosters import ROSTER_DIRECTORY
from node.session import fetch_json
from node.wiring import open_node

POLL_S = 0.1
ALIVE_S = 5.0
"""How often it is asked, while a file is judged, whether the node still runs."""
RESULT_BYTES_MAX = 4 * 1024 * 1024
"""A thousand logs, each with a fault told at length."""


@command("load", "pledger node load dossier.zip --dir district-7")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@directory_option
@passphrase_option
def load(file: Path, directory: Path, passphrase_file: Path | None) -> None:
    """Take into a node what a dossier brings from nodes that it never meets.

    A running node takes it within a second; if none runs, this command does it in its place.
    """
    config = load_config(directory)
    ledger_id = roster_hash(read_file(directory / ROSTER_DIRECTORY / "1.json", bytes_max=ROSTER_BYTES_MAX))
    inbox.open_file(file, ledger_id)
    with output.progress() as step:
        if is_running(config):
            logs = _hand_over(file, config, step)
        else:
            logs = _take_here(file, config, passphrase_file, step)
    faults = [one for one in logs if one["fault"]]
    rows = [[one["origin"], one["new"], one["size"], one["fault"]] for one in logs]
    count = sum(one["new"] for one in logs)
    output.show(
        {"file": str(file), "logs": logs},
        say("load.taken", file=file, count=count),
        Table(columns=headings(["log", "taken", "held", "fault"]), rows=rows),
        say("load.next", command=f"pledger node doctor --dir {directory}")
        if faults
        else say("load.back", command=f"pledger export --from {config.url} -o FILE"),
    )
    if faults:
        output.finish(output.INCOMPLETE)


def is_running(config: Config) -> bool:
    """Whether the node of a directory answers at its address."""
    with contextlib.suppress(LedgerError), HttpClient(config.url) as client:
        return client.run(fetch_json("/v1/status")).get("agency") == config.agency
    return False


def _hand_over(file: Path, config: Config, step: Progress) -> Sequence[dict[str, Any]]:
    """Put the file into the running node's inbox, and wait for what it says."""
    folder = config.data / inbox.FOLDER
    placed = folder / f"{hashlib.sha256(os.urandom(16)).hexdigest()[:16]}{inbox.SUFFIX}"
    partial = placed.with_suffix(".partial")
    with disk_errors(placed):
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(file, partial)
        partial.replace(placed)
        sync_folder(folder)
    value = _await_result(result_path(placed), config, step)
    with disk_errors(placed):
        result_path(placed).unlink()
    if value["state"] == "refused":
        kind = getattr(errors, value["error"], LedgerError)
        raise kind(value["text"])
    logs: list[dict[str, Any]] = value["logs"]
    return logs


def _await_result(path: Path, config: Config, step: Progress) -> dict[str, Any]:
    asked = time.monotonic()
    while True:
        value: dict[str, Any] = {}
        if path.exists():
            value = json.loads(read_file(path, bytes_max=RESULT_BYTES_MAX))
            if value["state"] != "judging":
                return value
            step(value["log"], value["done"], value["total"])
        if time.monotonic() - asked > ALIVE_S:
            if not is_running(config):
                raise StoreError(say("load.node_gone", path=path.with_suffix(inbox.SUFFIX)))
            asked = time.monotonic()
        time.sleep(POLL_S)


def _take_here(
    file: Path, config: Config, passphrase_file: Path | None, step: Progress
) -> Sequence[dict[str, Any]]:
    """Open the node in this process and take the file; its address is held so that no other starts."""

    async def at_once(function: Callable[..., Any], *arguments: object) -> Any:
        return function(*arguments)

    passphrase = take_passphrase(passphrase_file, say("passphrase.node", agency=config.agency))
    with bind(config.host, config.port):
        node = open_node(config, passphrase, on_word=False)
        try:
            taken = asyncio.run(take_file(node, file, at_once, step, int(now().timestamp())))
        finally:
            node.close()
    return [asdict(one) for one in taken]
