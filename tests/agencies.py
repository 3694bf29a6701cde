"""Agencies on disk with keys from fixed seeds, their nodes as real processes, and clients that submit.

The keys, roster and openings are those of `tests.world.World`, so a test knows every secret. Dates of records
are of 2024: whatever the clock of the machine says, they are not in the future.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.entry import Entry, PrivateBodies, sign_private, sign_public
from ledger.governance import Grant, Scope, format_governance, make_scope, scope_commitment
from ledger.keys import sealing_public_key
from ledger.names import Origin
from ledger.note import NoteVerifier, verifier_of
from ledger.record import Record
from node.config import Config, format_config, load_config
from node.http_client import HttpClient
from node.key_file import COST_MIN, write_key_file
from node.opening import save_opening
from node.protocol import Problem, ProblemAnswer
from node.session import fetch_json, submit
from node.submission import Submission, format_submission
from node.wiring import Node, open_node
from tests.world import DAY, HOUR, World, key, record, seed

PASSPHRASE = "open sesame, but longer"
REPOSITORY = Path(__file__).parent.parent
DEADLINE_S = 60
"""For what takes a second on an idle machine."""
NODE_SECRETS = ("log", "witness", "node", "desk", "sealing", "master")
YEAR = "2024/2025"


@dataclass
class Agency:
    """One agency's directory, and every key in it."""

    world: World
    name: str
    directory: Path
    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def origin(self) -> Origin:
        return Origin("test", self.name)

    @property
    def log_path(self) -> Path:
        return self.directory / "data" / "log.db"

    @property
    def verifier(self) -> NoteVerifier:
        return verifier_of(str(self.origin), key(f"{self.name} log").public_key)

    def config(self) -> Config:
        return load_config(self.directory)

    def node(self, *, on_word: bool = True, found: bool = True) -> Node:
        """The node in this very process, without a network, its log opened at `HOUR`."""
        node = open_node(self.config(), PASSPHRASE, on_word=on_word)
        if found:
            node.found(HOUR)
        return node

    def seal(self, submission: Submission) -> bytes:
        """What goes over the wire."""
        return format_submission(submission, sealing_public_key(seed(f"{self.name} sealing")), os.urandom(32))

    def scope_opening(self, clerk: str, **changes: Any) -> bytes:
        kinds = tuple(sorted(self.world.roster.statute.kinds))
        fields: dict[str, Any] = {"role": "clerk", "unit": "school-1", "kinds": kinds} | changes
        return make_scope(Scope(**fields), seed(f"{self.name} scope {clerk}")[:16])

    def grant(self, clerk: str = "clerk", *, by: str = "registrar", **scope: Any) -> Submission:
        """A grant by the registrar that holds for ever, with its opening."""
        opening = self.scope_opening(clerk, **scope)
        grant = Grant(
            key=key(f"{self.name} {clerk}").public_key,
            scope=scope_commitment(opening),
            valid_from=0,
            valid_until=DAY + 36_500,
        )
        return Submission(entry=self.public([format_governance(grant)], by=by), scopes=(opening,))

    def public(self, bodies: Sequence[bytes], *, by: str = "registrar") -> Entry:
        fields = {"ledger_id": self.world.ledger_id, "agency": self.name, "created_day": DAY}
        return sign_public(bodies, signer=key(f"{self.name} {by}"), **fields)  # type: ignore[arg-type]

    def entry(self, records: Sequence[Record], *, by: str = "clerk", number: int = 0) -> Submission:
        """A private entry of a clerk, with its bodies."""
        bodies = PrivateBodies(padding_seed=seed(f"padding {number}"), records=tuple(records))
        fields = {"ledger_id": self.world.ledger_id, "agency": self.name, "created_day": DAY}
        entry = sign_private(bodies, signer=key(f"{self.name} {by}"), **fields)  # type: ignore[arg-type]
        return Submission(entry=entry, private=bodies)

    def enrol(self, pupil: str, *, by: str = "clerk", number: int = 0) -> Submission:
        """Notice, enrolment and a first mark of a pupil nobody knew before, in one entry."""
        return self.entry(records_of(pupil, number), by=by)


def records_of(pupil: str, number: int = 0) -> list[Record]:
    """Notice, enrolment and a mark; other numbers are the same facts with other salts."""
    return [
        record("notice", subject=pupil, number=number, period=YEAR, shown_on="2024-09-01"),
        record("enrolment", subject=pupil, number=number, period=YEAR, date="2024-09-01"),
        mark(pupil, number=number),
    ]


def mark(pupil: str, subject_code: str = "math", *, number: int = 0, **fields: Any) -> Record:
    """A term mark."""
    fields = {"school_year": YEAR, "subject_code": subject_code} | fields
    return record("subject_result", subject=pupil, number=number, period=YEAR, **fields)


def found_agencies(
    base: Path,
    names: Sequence[str] = ("district",),
    *,
    hosts: Mapping[str, str] | None = None,
    **config: float,
) -> dict[str, Agency]:
    """Make the directories of a new ledger: one agency, or several that know each other's addresses.

    ``hosts`` are their addresses; without, all are on this machine's loopback.
    """
    world = World(names, opened=False)
    ports = free_ports(len(names))
    made = {
        name: Agency(world, name, base / name, port, (hosts or {}).get(name, "127.0.0.1"))
        for name, port in zip(names, ports, strict=True)
    }
    for agency in made.values():
        _write_directory(agency, [one for one in made.values() if one is not agency], config)
    return made


def _write_directory(agency: Agency, others: list[Agency], config: dict[str, float]) -> None:
    directory, log = agency.directory, agency.world.logs[agency.name]
    (directory / "keys").mkdir(parents=True)
    secrets = {name: seed(f"{agency.name} {name}") for name in NODE_SECRETS}
    path = directory / "keys" / "node.key"
    write_key_file(path, agency.name, secrets, PASSPHRASE, os.urandom, cost=COST_MIN)
    (directory / "roster").mkdir()
    (directory / "roster" / "1.json").write_bytes(agency.world.roster.raw)
    (directory / "roster" / "1.note").write_bytes(agency.world.signatures)
    save_opening(directory, log.opening())
    text = format_config(
        ledger="test",
        agency=agency.name,
        url=agency.url,
        listen=f"{agency.host}:{agency.port}",
        peers={one.name: [one.url] for one in others},
    )
    for name, value in ({"publish_interval_s": 0.05, "mirror_interval_s": 0.05} | config).items():
        text = text.replace(f"{name} = 1.0", f"{name} = {value}")
    (directory / "node.toml").write_text(text)


_ports = itertools.count(20_000 + os.getpid() * 977 % 9_000)
"""Below those that the system gives to clients; no port is given out twice by one process."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    found: list[int] = []
    while len(found) < count:
        port = next(_ports)
        assert port < 32_000, "no free port on this machine"
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


@dataclass
class RunningNode:
    """A node's process."""

    agency: Agency
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return self.agency.url

    def events(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def status(self) -> dict[str, Any]:
        with HttpClient(self.url) as client:
            return client.run(fetch_json("/v1/status"))

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@dataclass
class Nodes:
    """Starts nodes, and ends them all with the test."""

    started: list[RunningNode] = field(default_factory=list)
    within: Callable[[Agency], Sequence[str]] = lambda agency: ()
    """Words before the command: where a node is to run."""

    def start(self, agency: Agency, *words: str, wait: bool = True) -> RunningNode:
        """Start an agency's node; with ``wait``, return only when it says that it is ready."""
        log, command = agency.directory / "node.log", (sys.executable, "-m", "cli.main", "node", "run")
        with log.open("ab") as stderr:
            process = subprocess.Popen(
                [*self.within(agency), *command, "--dir", str(agency.directory), *words],
                cwd=REPOSITORY,
                env=os.environ | {"PLEDGER_PASSPHRASE": PASSPHRASE, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        node = RunningNode(agency, process, log)
        self.started.append(node)
        if wait:
            self.wait_ready(node)
        return node

    def wait_ready(self, node: RunningNode) -> None:
        assert node.process.stdout is not None
        ready, _, _ = select.select([node.process.stdout], [], [], DEADLINE_S)
        line = node.process.stdout.readline() if ready else b""
        assert b"is served at" in line, (line, node.log.read_text()[-2000:])

    def end(self) -> None:
        for node in self.started:
            if node.process.poll() is None:
                node.kill()
            if node.process.stdout is not None:
                node.process.stdout.close()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Real node processes, all ended with the test."""
    made = Nodes()
    try:
        yield made
    finally:
        made.end()


def wait_for(is_done: Callable[[], object], what: str = "", deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + deadline_s
    while not is_done():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def post(client: HttpClient, agency: Agency, submission: Submission) -> bytes | Problem:
    """Submit; return the receipt, or the problem document."""
    try:
        return client.run(submit(agency.seal(submission)))
    except ProblemAnswer as answer:
        return answer.problem
