"""Running a node, and asking one how it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import directory_option
from cli.carry import load
from cli.command import command, group
from cli.doctor import doctor
from cli.output import Table
from cli.passphrase import passphrase_option, take_passphrase
from node.config import load_config
from node.http_client import HttpClient
from node.session import fetch_json


@command("run", "pledger node run --dir district-7 --passphrase-file /run/secrets/district-7")
@directory_option
@passphrase_option
@click.option(
    "--alone",
    is_flag=True,
    help="You vouch that this log ran nowhere else meanwhile: go on without hearing the other agencies.",
)
def run(directory: Path, passphrase_file: Path | None, alone: bool) -> None:
    """Run the agency's node until Ctrl-C or SIGTERM; its events go to standard error as JSON lines."""
    from node import structured_log
    from node.http_service import serve
    from node.wiring import open_node

    config = load_config(directory)
    passphrase = take_passphrase(passphrase_file, f"the node of {config.agency}")
    structured_log.start()
    serve(
        config,
        lambda: open_node(config, passphrase, on_word=alone),
        lambda url: output.show({"url": url}, f"{config.agency} is served at {url}"),
    )


@command("status", "pledger node status --url http://127.0.0.1:8700", "pledger node status --dir district-7")
@click.option("--url", help="The node's address; otherwise that of --dir.")
@directory_option
def status(url: str | None, directory: Path) -> None:
    """Show what a node holds: its own log, the copies of the others', and what stands in its way."""
    with HttpClient(url or load_config(directory).url) as client:
        value = client.run(fetch_json("/v1/status"))
    logs: list[dict[str, Any]] = value.get("logs", [])
    state = "sequences" if value.get("is_sequencing") else f"does not sequence: {value.get('waiting')}"
    output.show(
        value,
        f"{value.get('origin')}: {value.get('size')} entries; {state}",
        Table(
            columns=["log", "published", "root", "fault"],
            rows=[
                [log.get("origin"), log.get("size"), (log.get("root") or "")[:16], log.get("fault") or ""]
                for log in logs
            ],
        ),
        f"ledger id {value.get('ledger_id')}",
    )


COMMANDS = [group("node", "Run an agency's node, or ask one how it is.", run, status, doctor, load)]
