"""Nodes on virtual time whose owner forks its own log, and the eras that mend it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ledger.keys import SigningKey
from ledger.names import Origin
from ledger.report import Report
from ledger.tree import parse_tree_path
from ledger.verify import verify
from node import dossier, era
from node.handlers import answer
from node.opening import save_era_opening
from node.protocol import Request
from node.sources import ZipSource
from node.submission import Submission
from tests.agencies import Agency
from tests.virtual_net import Net, Peer
from tests.world import HOUR, key, seed

OWNER = "district"
FIRST, SECOND = Origin("test", OWNER), Origin("test", OWNER, 2)
Changes = era.Changes


class NodeSource:
    """The static tree that a node serves, with its names as a dossier would list them."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        parse_tree_path(path)
        response = answer(self._peer.node, Request(method="GET", path=f"/{path}", offset=offset), HOUR)
        return response.body if response.status in (200, 206) else None

    def names(self) -> list[str] | None:
        return None

    def branches(self, origin: Origin) -> list[str]:
        return self._peer.node.store.branches(str(origin))[1:]


def reread(peer: Peer, tmp_path: Path, level: Any = "certified") -> tuple[Report, ZipSource]:
    """The verdict on the dossier that a node gives."""
    source, path = NodeSource(peer), tmp_path / f"{peer.agency.name}.zip"
    dossier.write(path, dossier.members_of(source, peer.node.ledger_id, source.branches))
    read = ZipSource(path)
    return verify(read, peer.node.ledger_id, level=level), read


def backup(agency: Agency, to: Path) -> None:
    shutil.copytree(agency.directory / "data", to)


def restore(agency: Agency, backup_path: Path) -> None:
    shutil.rmtree(agency.directory / "data")
    shutil.copytree(backup_path, agency.directory / "data")


def cut_off(net: Net, name: str) -> None:
    others = [one for one in net.agencies if one != name]
    net.blocked |= {(name, one) for one in others} | {(one, name) for one in others}


def join(net: Net, one: str, two: str) -> None:
    net.blocked -= {(one, two), (two, one)}


def certified(net: Net, origin: Origin) -> bool:
    """Whether every node shows the whole log certified."""
    rows = [one.node.frontier.row((origin.agency, origin.era)) for one in net.peers.values()]
    return all(row is not None and 0 < row.size == row.certified_size for row in rows)


def fork_by_restoring(
    net: Net, tmp_path: Path, lost: int = 2, new: int = 2
) -> tuple[list[bytes], list[bytes]]:
    """Restore the owner's backup by force; return the entries others hold, and those of the restored one."""
    net.start_all()
    net.wait(2)
    net.wait_for(lambda: all(certified(net, Origin("test", name)) for name in net.agencies), 120)
    assert net.peers[OWNER].submit(net.agencies[OWNER].grant()) == 200
    net.wait(2)
    net.wait_for(lambda: certified(net, FIRST), 120)
    net.stop(OWNER)
    backup(net.agencies[OWNER], tmp_path / "backup")
    net.start(OWNER, 1)
    kept = enrol(net, range(lost))
    net.wait(2)
    net.wait_for(lambda: certified(net, FIRST), 120)
    net.stop(OWNER)
    restore(net.agencies[OWNER], tmp_path / "backup")
    cut_off(net, OWNER)
    net.start(OWNER, 2, on_word=True)
    net.wait(1)
    made = enrol(net, range(100, 100 + new))
    net.wait(2)
    return kept, made


def enrol(net: Net, numbers: Any) -> list[bytes]:
    found = []
    net.wait_for(lambda: net.peers[OWNER].node.waiting is None, 60)
    for number in numbers:
        submission = net.agencies[OWNER].enrol(seed(f"pupil {number}"), number=number)
        assert net.peers[OWNER].submit(submission) == 200
        found.append(submission.entry.header.entry_id)
    return found


def plan(net: Net, name: str = "log.2", **changes: Any) -> era.Foreseen:
    """What the owner's node would open."""
    node = net.peers[OWNER].node
    fields = {"log_key": key(f"{OWNER} {name}").public_key, "reason_code": "fork"} | changes
    return era.plan(node.promises, node.origin, HOUR, Changes(**fields))


def put_opening(net: Net, foreseen: era.Foreseen) -> None:
    """Sign the opening elsewhere, and put it into the owner's directory."""
    entry = era.sign_draft(era.format_draft(foreseen), SigningKey(seed(f"{OWNER} root")))
    save_era_opening(net.agencies[OWNER].directory, entry)


def restart(net: Net, number: int = 9, name: str = "log.2") -> None:
    """Start the owner's node again, with the new log key in its key file."""
    net.stop(OWNER)
    net.secrets.setdefault(OWNER, []).append(name)
    net.start(OWNER, number)


def late_branch(net: Net, tmp_path: Path) -> tuple[Submission, list[bytes]]:
    """A branch that one agency alone saw surfaces after the repair; return its entry, and the log's."""
    net.start_all()
    net.wait(2)
    net.wait_for(lambda: all(certified(net, Origin("test", one)) for one in net.agencies), 120)
    assert net.peers[OWNER].submit(net.agencies[OWNER].grant()) == 200
    net.wait(2)
    net.wait_for(lambda: certified(net, FIRST), 120)
    net.stop(OWNER)
    backup(net.agencies[OWNER], tmp_path / "backup")
    cut_off(net, "youth")
    cut_off(net, OWNER)
    join(net, OWNER, "youth")
    net.start(OWNER, 1, on_word=True)
    hidden = net.agencies[OWNER].enrol("hidden", number=77)
    net.wait_for(lambda: net.peers[OWNER].submit(hidden) == 200, 30)
    held = net.peers[OWNER].held(OWNER)
    net.wait_for(lambda: net.peers["youth"].held(OWNER) == held, 60)
    net.stop(OWNER)
    restore(net.agencies[OWNER], tmp_path / "backup")
    net.blocked.clear()
    cut_off(net, "youth")
    net.start(OWNER, 2, on_word=True)
    made = enrol(net, [1])
    put_opening(net, plan(net, reason_code="key_stolen"))
    restart(net)
    net.wait_for(lambda: net.peers[OWNER].node.origin == SECOND, 60)
    net.wait(2)
    net.blocked.clear()
    net.wait_for(lambda: len(net.peers[OWNER].node.store.branches(str(FIRST))) == 2, 600)
    net.wait_for(lambda: certified(net, SECOND), 600)
    return hidden, made
