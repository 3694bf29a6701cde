"""``pledger node doctor``: what is the matter with a node, in words, and the one command that comes next.

It changes nothing, needs no passphrase (with one it also tries whether it opens the key file), and works
beside a running node and without one. Its words stand in the catalogue: ``doctor.<state>`` says what is the
case, ``doctor_do.<state>`` what to do; nobody is blamed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import directory_option
from cli.command import command, now
from cli.heard import translated
from cli.language import say
from cli.parameters import hour_text
from cli.passphrase import passphrase_option
from ledger.errors import LedgerError, Malformed
from node.config import Config, load_config
from node.diagnosis import Finding, found, of_address, of_files, of_status
from node.http_client import HttpClient
from node.key_file import read_passphrase
from node.protocol import Unreachable
from node.session import fetch_json

SECONDS_IN_HOUR = 3600
ANSWER_S = 5.0
"""A node that runs says how it is in milliseconds; one that does not in this time is stuck or starting."""


@command("doctor", "pledger node doctor --dir district-7", "pledger node doctor --url http://127.0.0.1:8700")
@click.option("--url", help="Ask the node at this address, and look at no files.")
@directory_option
@passphrase_option
def doctor(url: str | None, directory: Path, passphrase_file: Path | None) -> None:
    """Say what is the matter with a node, in words, and what to do next. Changes nothing.

    Exit code 0: healthy; 3: something needs attention.
    """
    status: Mapping[str, Any] | None = None
    if url is not None:
        status = _ask(url)
        findings = of_status(status)
        where = address = url
    else:
        where, address = str(directory), ""
        try:
            config = load_config(directory)
        except Malformed as error:
            findings = [found("config_wrong", detail=str(error))]
        else:
            address = config.url
            status, findings = _of_directory(config, read_passphrase(os.environ, passphrase_file))
    known = {"dir": directory, "url": address}
    said = [_said(one, known) for one in findings]
    output.show(
        {"healthy": not said, "findings": said, "status": status},
        *_healthy(status, where, is_healthy=not said),
        *(line for one in said for line in (f"- {one['text']}", f"  {one['do']}")),
    )
    if said:
        output.finish(output.INCOMPLETE)


def _ask(url: str) -> Mapping[str, Any]:
    with HttpClient(url, ANSWER_S) as client:
        return client.run(fetch_json("/v1/status"))


def _of_directory(config: Config, passphrase: str | None) -> tuple[Mapping[str, Any] | None, list[Finding]]:
    """What the node says of itself, if it runs, and then what its files say."""
    hour = int(now().timestamp()) // SECONDS_IN_HOUR
    files = of_files(config, hour, passphrase)
    try:
        status = _ask(config.url)
    except (Unreachable, LedgerError):
        return None, [*files, *of_address(config)]
    running = of_status(status, config.agency)
    told = {one.state for one in running}
    if any(one.state.startswith("instance_") for one in files):  # the files know it more exactly
        running = [one for one in running if one.state != "refused"]
    return status, [*running, *(one for one in files if one.state not in told and one.state != "not_founded")]


def _said(one: Finding, known: Mapping[str, object]) -> dict[str, Any]:
    """A finding as JSON carries it, with its words in the language of the run."""
    values = {**{name: _shown(name, value) for name, value in one.values.items()}, **known}
    return {
        "state": one.state,
        "text": say(f"doctor.{one.state}", **values),
        "do": say(f"doctor_do.{one.state}", **values),
        "values": {name: _plain(value) for name, value in one.values.items()},
    }


def _shown(name: str, value: object) -> str:
    """A value as the words name it."""
    if name == "detail":
        return translated(str(value))
    if name == "since_hour":
        return hour_text(value) if isinstance(value, int) else "?"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _plain(value: object) -> object:
    return value if isinstance(value, int | str | list | dict | None) else str(value)


def _healthy(status: Mapping[str, Any] | None, where: str, *, is_healthy: bool) -> list[str]:
    if not is_healthy or status is None:
        return []
    logs = len(status.get("logs", ()))
    return [say("doctor_healthy", where=where, size=status.get("size"), logs=logs)]
