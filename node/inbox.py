"""Sneakernet: a dossier carried to a node that never meets its peers, taken through the mirrors' own code.

``pledger node load`` puts a ZIP into ``data/inbox``; the running node looks there each second. Every log in
the file is first judged whole, nothing stored; then it is pulled and taken as from a peer. A false byte
anywhere refuses the file with all that is in it. A log that is valid in the file but contradicts the copy
held here is a fork of its owner's: it is named, and keeps nobody else's log from being taken.

Beside the file lies ``<name>.json``: how far it is, and at last what became of it; then the file is removed.
All of it runs in steps of one pull on the store's thread, so the node goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ledger import tree
from ledger.chain import ChainState
from ledger.errors import LedgerError, Malformed, StoreError, Undecided, Unproven
from ledger.keys import VerifyMany
from ledger.names import Origin
from ledger.roster import Roster, roster_hash
from ledger.tree import LogPath, RosterPath, Source
from ledger.verify import read_file, read_rosters, verify
from node import structured_log
from node.dossier import listed_branches, listed_eras
from node.durable_file import disk_errors, replace_file
from node.fork_pulls import ForkPulls, Learner
from node.mirror import Mirror, Pulled, fetch_opening, pull, pull_certified
from node.parallel import verify_many
from node.protocol import Procedure, Request, Response
from node.resume import Answer
from node.rosters import Pair
from node.sources import ZipSource

TICK_S = 1.0
"""How often the inbox is looked at."""
DISK_PAUSE_S = 60.0
"""After the disk refused: the file would otherwise be judged again each second until it is mended."""
FOLDER = "inbox"
SUFFIX = ".zip"
FORK_FILES = ("branch", "evidence", "unproven")
"""What an era has beside the files of its main branch."""
PROBLEMS_TOLD = 12
"""Problems of a false file that its result names."""

Result = TypeVar("Result")
OnStore = Callable[..., Awaitable[Any]]
Tell = Callable[[str, int, int], None]
"""Called with a log's origin, the leaves judged so far, and how many it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTaken:
    """What a file gave of one log: new leaves, the size held now, and why it was not taken ("" if it was)."""

    origin: str
    new: int = 0
    size: int = 0
    fault: str = ""


class Receiver(Learner, Protocol):
    """What the inbox needs of a node."""

    ledger_id: bytes
    origin: Origin
    rosters: list[Roster]

    def copy_of(self, origin: Origin) -> Mirror | None:
        """The copy that a pull of this log fills."""
        ...

    def take(
        self, origin: Origin, pulled: Pulled, check_signatures: VerifyMany, begun: Mirror | None = None
    ) -> int:
        """Take what was pulled of a log and show it."""
        ...

    def lacks(self, origin: Origin) -> bool:
        """Whether an era is not held at all."""
        ...

    def begin_copy(self, origin: Origin, opening: bytes) -> Mirror:
        """Return the copy of a later era."""
        ...

    def take_roster(self, pair: Pair) -> Roster:
        """Take the next roster version."""
        ...

    def meet_own(self, who: str, note: bytes | None) -> Answer:
        """Look at a checkpoint of the own log."""
        ...

    def cosign_newest(self, origin: Origin, now_s: int) -> None:
        """Cosign the newest checkpoint held of another's log."""
        ...


async def take_forever(node: Receiver, folder: Path, on_store: OnStore, now_ms: Callable[[], int]) -> None:
    """Take each file that is put into ``folder``, in order of name."""
    while True:
        pause = TICK_S
        for path in await on_store(_waiting, folder):
            try:
                await _take_and_tell(node, path, on_store, now_ms() // 1000)
            except StoreError as error:  # the file stays, and is tried again
                structured_log.fault("inbox.failed", error, file=path.name)
                pause = DISK_PAUSE_S
        await asyncio.sleep(pause)


async def take_file(node: Receiver, path: Path, on_store: OnStore, tell: Tell, now_s: int) -> list[LogTaken]:
    """Take all that a file has and this node has not; return what became of each log in it.

    What is held of others' logs then bears this node's cosignature, dated ``now_s`` (seconds since 1970), and
    goes back to them with the next export.

    Raises `Malformed`, `Unproven` or `Undecided` for a file that is refused; then nothing was changed.
    """
    source = await on_store(open_file, path, node.ledger_id)
    await on_store(_take_rosters, node, source)
    await on_store(_meet_own, node, source, path.name)
    if _has_forks(source):
        await on_store(_check_whole, source, node.ledger_id)
    copies = await on_store(_copies, node)
    judged = [await _judge_log(mirror, source, on_store, tell) for mirror in copies]
    if any(one.fault for one in judged):
        await on_store(_check_whole, source, node.ledger_id)
    taken = [
        await _take_log(node, one, mirror, source, on_store)
        for one, mirror in zip(judged, copies, strict=True)
    ]
    if _has_forks(source) or any(one.fault for one in taken):
        taken += await _take_forks(node, source, on_store)
    await on_store(_take_certified, node, taken, source, now_s)
    return taken


def open_file(path: Path, ledger_id: bytes) -> ZipSource:
    """Return the tree in a ZIP of this ledger; raise `Malformed` or `Unproven` for any other file."""
    source = ZipSource(path)
    first = read_file(source, RosterPath(1, is_note=False))
    if first is None:
        raise Malformed(f"{path.name} is no dossier: it has no roster/1.json")
    if roster_hash(first) != ledger_id:
        raise Unproven(
            f"{path.name} is of ledger {roster_hash(first).hex()}, this node is of {ledger_id.hex()}"
        )
    return source


def result_path(path: Path) -> Path:
    """Return where it is told what became of a file in the inbox."""
    return path.with_suffix(".json")


def _take_rosters(node: Receiver, source: ZipSource) -> None:
    """Take the roster versions beyond those in hand, if nothing in the file is false."""
    rosters, found = read_rosters(source, node.ledger_id)
    news = rosters[len(node.rosters) :]
    if found or news:
        _check_whole(source, node.ledger_id)
    for roster in news:
        note = read_file(source, RosterPath(roster.version, is_note=True))
        node.take_roster((roster.raw, note or b""))


def _meet_own(node: Receiver, source: Source, name: str) -> None:
    """A file that has more of this node's own log than the node itself: it was restored."""
    note = read_file(source, LogPath(node.origin.agency, node.origin.era, "", "checkpoint"))
    if note is not None:
        node.meet_own(name, note)


def _copies(node: Receiver) -> list[Mirror]:
    """The copies that a file may fill: the others' logs, and the own one where it is fetched back."""
    origins = [node.origin, *(mirror.origin for mirror in node.copies.all())]
    return [mirror for origin in origins if (mirror := node.copy_of(origin)) is not None]


def _take_certified(node: Receiver, taken: list[LogTaken], source: Source, now_s: int) -> None:
    """Keep the cosignatures that came along, on the own log too, and cosign what is now held of others."""
    faulty = {one.origin for one in taken if one.fault}
    for origin in [node.origin, *(mirror.origin for mirror in node.copies.all())]:
        if str(origin) in faulty:
            continue
        note = read_file(source, LogPath(origin.agency, origin.era, "", "checkpoint"))
        with contextlib.suppress(Undecided, Unproven):  # a cosignature more or less decides no leaf
            lacking = node.take_certified(origin, [note]) if note is not None else None
            if lacking is not None:
                node.take_certified(origin, _run(pull_certified(origin, lacking), source))
        if origin != node.origin:
            node.cosign_newest(origin, now_s)


def _has_forks(source: Source) -> bool:
    """Whether a file has more of any log than the main branch of its first era."""
    names = (name.split("/") for name in source.names() or [])
    return any(
        len(parts) > 3 and parts[0] == "log" and (parts[2] != "1" or parts[3] in FORK_FILES)
        for parts in names
    )


async def _take_forks(node: Receiver, source: Source, on_store: OnStore) -> list[LogTaken]:
    """Take evidence, branches and later eras, each after those before it; return what was taken of eras."""
    taken, pulls = [], ForkPulls(node, on_store)

    async def ask(work: Callable[[], Procedure[Any]]) -> Any:
        return await on_store(_run, work(), source)

    for agency in dict.fromkeys(name for roster in node.rosters for name in roster.agencies):
        for era in listed_eras(source, agency):
            origin = Origin(node.origin.ledger, agency, era)
            try:
                if await on_store(node.lacks, origin):
                    taken.append(await _take_era(node, origin, source, on_store))
                if not await on_store(node.lacks, origin):
                    await pulls.look(ask, origin)
                    await pulls.exchange(ask, origin, listed_branches(source, origin))
            except LedgerError as error:
                taken.append(LogTaken(origin=str(origin), fault=str(error)))
    return taken


async def _take_era(node: Receiver, origin: Origin, source: Source, on_store: OnStore) -> LogTaken:
    """Take a later era of which nothing is held yet."""
    opening = await on_store(_run, fetch_opening(origin), source)
    if opening is None:
        return LogTaken(origin=str(origin))
    mirror = await on_store(node.begin_copy, origin, opening)
    while await on_store(_take_part, node, mirror, source):
        pass
    return LogTaken(origin=str(origin), new=mirror.state.size, size=mirror.state.size)


async def _judge_log(mirror: Mirror, source: Source, on_store: OnStore, tell: Tell) -> LogTaken:
    """Judge all that the file has of a log beyond what is held; store nothing."""
    state, held_bytes = mirror.state, await on_store(mirror.held_bytes)
    seen: set[bytes] = set()
    try:
        while True:
            pulled = await on_store(_run, pull(state, held_bytes), source)
            if pulled is None:
                break
            before, (state, size) = state.size, await on_store(_judge_part, mirror, state, pulled, seen)
            tell(str(mirror.origin), state.size, size)
            if state.size == before or state.size >= size:
                break
            held_bytes = 0  # a part ends with a whole bundle
    except LedgerError as error:
        return LogTaken(origin=str(mirror.origin), size=mirror.state.size, fault=str(error))
    return LogTaken(origin=str(mirror.origin), size=mirror.state.size)


def _judge_part(
    mirror: Mirror, state: ChainState, pulled: Pulled, seen: set[bytes]
) -> tuple[ChainState, int]:
    after, judged, checkpoint, _ = mirror.judge(state, pulled, verify_many, seen)
    seen |= {one.leaf.header.entry_id for one in judged if one.leaf is not None}
    return after, checkpoint.size


def _check_whole(source: ZipSource, ledger_id: bytes) -> None:
    """Raise `Unproven` with what is false in the file; return if all of it is true in itself."""
    report = verify(source, ledger_id, check_signatures=verify_many)
    if report.verdict == "failed":
        false = [one for one in report.problems if one.violation.rule.error is not Undecided]
        found = [f"{one.log or '-'}: {one.violation}" for one in false[:PROBLEMS_TOLD]]
        raise Unproven("the file is false, nothing of it was taken: " + "; ".join(found))


async def _take_log(
    node: Receiver, judged: LogTaken, mirror: Mirror, source: Source, on_store: OnStore
) -> LogTaken:
    if judged.fault:
        return judged
    start = mirror.state.size
    while await on_store(_take_part, node, mirror, source):
        pass
    return replace(judged, new=mirror.state.size - start, size=mirror.state.size)


def _take_part(node: Receiver, mirror: Mirror, source: Source) -> int:
    """Pull and take one part; return how many leaves were new."""
    pulled = _run(pull(mirror.state, mirror.held_bytes()), source)
    return 0 if pulled is None else node.take(mirror.origin, pulled, verify_many, mirror)


def _run(procedure: Procedure[Result], source: Source) -> Result:
    """Run a client procedure over files instead of a node."""
    try:
        request = next(procedure)
        while True:
            request = procedure.send(_answer(source, request))
    except StopIteration as stop:
        result: Result = stop.value
        return result


def _answer(source: Source, request: Request) -> Response:
    path = request.path.removeprefix("/")
    data = source.read(path, request.offset, bytes_max=tree.bytes_max(tree.parse_tree_path(path)))
    if data is None:
        return Response(status=404)
    return Response(status=206 if request.offset else 200, body=data)


async def _take_and_tell(node: Receiver, path: Path, on_store: OnStore, now_s: int) -> None:
    """Take one file of the inbox, write what became of it, and remove it."""
    target = result_path(path)

    def tell(log: str, done: int, total: int) -> None:
        steps.append({"state": "judging", "log": log, "done": done, "total": total})

    steps: list[dict[str, Any]] = []
    value: dict[str, Any]
    try:
        logs = await take_file(node, path, _telling(on_store, steps, target), tell, now_s)
        value = {"state": "taken", "logs": [asdict(one) for one in logs]}
    except StoreError:
        raise
    except LedgerError as error:
        value = {"state": "refused", "error": type(error).__name__, "text": str(error)}
    await on_store(_finish, path, target, value)
    structured_log.event("inbox.done", file=path.name, state=value["state"])


def _telling(on_store: OnStore, steps: list[dict[str, Any]], target: Path) -> OnStore:
    """The store's thread, which also writes down how far it is: once a part, on the same thread."""

    async def run(function: Callable[..., Any], *arguments: object) -> Any:
        if steps:
            await on_store(replace_file, target, _json(steps[-1]))
            steps.clear()
        return await on_store(function, *arguments)

    return run


def _finish(path: Path, target: Path, value: Mapping[str, Any]) -> None:
    replace_file(target, _json(value))
    with disk_errors(path):
        path.unlink()


def _waiting(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith(".")
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value) + "\n").encode()
