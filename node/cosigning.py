"""Gathering cosignatures on the own log: one published checkpoint in flight, the same text to all witnesses.

The newest published checkpoint takes the place of the one in flight once that is certified, after
`IN_FLIGHT_MAX_S`, or when an adopt has changed who counts: a busy log that showed each witness another size
would never reach a quorum.
Publishing waits for none of this. Lines lie in the store; after a restart the gathering goes on from there.

Witnesses of others differ in their answers (a 409 for what the text calls 422, with or without its type, 429,
403 or 404 for a log that they do not know yet): whatever is no cosignature and no size is "later", and each
witness that fails is asked less often, alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint
from ledger.cosignature import cosignature_time
from ledger.errors import LedgerError, Malformed
from ledger.merkle import prove_consistency
from ledger.names import witness_key_name
from ledger.note import NoteVerifier, SignatureLine, encode_base64, parse_line, parse_note
from node import structured_log
from node.certification import is_good
from node.condition import Delay
from node.gossip import Gossip
from node.handlers import ADD_CHECKPOINT_PATH
from node.protocol import Procedure, Request, Response, Unreachable
from node.surroundings import Surroundings
from node.wiring import Node

IN_FLIGHT_MAX_S = 30.0
"""Longer than a witness needs to fetch what it lacks, shorter than anybody waits for a receipt."""
RETRY_MIN_S, RETRY_MAX_S = 0.5, 60.0
"""Between two questions to a witness that fails: doubled each time, then less by chance."""
LOOK_S = 1.0
"""While this node itself may not go on: it hears the others, or its clock is set right, at any moment."""
PAUSE_MIN_S = 0.01
"""The shortest look-out for what is due: shorter ones are lost in a clock's rounding, and never end."""
TOLD_AT = 3
"""Failures in a row after which the operator is told: one is usual, while a witness fetches new leaves."""
RETRY_AFTER_MAX_S = 600
"""However long a witness asks us to wait."""
TURNS_MAX = 3
"""Questions in a row to a witness that names another size: one is usual, more mean that it moves on."""
DELAY_CHARS_MAX = 200
"""Of a witness's last answer, as the status tells it."""
LINES_MAX = 8
"""Lines of one answer that are read: a witness answers with one for each of its keys."""
_SIZE = re.compile(rb"(?:0|[1-9][0-9]{0,18})\n?")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """The checkpoint for which cosignatures are gathered, and since when by the loop's clock."""

    note: bytes
    checkpoint: Checkpoint
    since: float


@dataclass(frozen=True, slots=True)
class OtherSize:
    """A witness has cosigned another size than the one that was assumed."""

    size: int


@dataclass(frozen=True, slots=True)
class Later:
    """No cosignature now; ``after_s`` is how long the witness asks us to wait."""

    after_s: float
    reason: str


@dataclass(slots=True)
class _Peer:
    """One witness as its answers left it."""

    old: int | None = None
    """What it cosigned last, as far as is known."""
    done: int = -1
    """The size for which it is not asked again."""
    due: float = 0.0
    failures: int = 0
    is_busy: bool = False
    is_silent: bool = False
    """Whether it failed last by giving no answer at all."""

    def is_due(self, flight: InFlight) -> bool:
        """Whether anything is still to be asked of it for this checkpoint, now or later."""
        return not self.is_busy and self.done < flight.checkpoint.size


def add_checkpoint(body: bytes) -> Procedure[Response]:
    """Submit a checkpoint to a witness and return its answer, whatever it is."""
    return (yield Request(method="POST", path=ADD_CHECKPOINT_PATH, body=body))


def format_add_checkpoint(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the submission that a witness takes."""
    lines = [f"old {old}", *map(encode_base64, proof), "", ""]
    return "\n".join(lines).encode() + note


def read_answer(response: Response, old: int) -> list[SignatureLine] | OtherSize | Later:
    """Return the lines that a witness gave, the size from which it wants a proof, or why it gives none."""
    if response.status == 200:
        return _lines(response.body)
    if response.status == 409 and _SIZE.fullmatch(response.body) and int(response.body) != old:
        return OtherSize(int(response.body))
    asked = response.headers.get("Retry-After", "")
    after_s = min(int(asked), RETRY_AFTER_MAX_S) if _SECONDS.fullmatch(asked) else 0
    return Later(after_s, f"HTTP {response.status}: {response.body[:200].decode(errors='replace')}")


def _lines(body: bytes) -> list[SignatureLine]:
    """The signature lines of an answer, whatever else stands in it."""
    found = []
    for text in body.decode(errors="replace").split("\n")[:LINES_MAX]:
        with contextlib.suppress(Malformed):
            found.append(parse_line(text))
    return found


class Collector:
    """What the gathering does with the stores; every method runs on their thread."""

    def __init__(self, node: Node) -> None:
        """``node`` gives the log, its witnesses and their keys."""
        self._node = node
        self._origin = str(node.origin)
        self._flight: InFlight | None = None
        self._cosigned = -1
        self.witnesses: tuple[str, ...] = ()
        """Who is asked: those whose cosignatures can count for the checkpoint in flight."""

    def choose(self, at: float, now_s: int) -> InFlight | None:
        """Return the checkpoint to gather for at loop time ``at``, cosigned by this node itself, or None."""
        published = self._node.tree.published(self._node.origin)
        if published is None or not self._node.mirrors or self._node.waiting is not None:
            return None
        if self._flight is None or self._is_replaced(self._flight, published[1], at):
            self._flight = InFlight(note=published[0], checkpoint=published[1], since=at)
        self.witnesses = self._find_witnesses()
        size = self._flight.checkpoint.size
        if self._cosigned != size:
            self._node.witness.cosign_held(self._flight.note, now_s)
            self._cosigned = size
        return self._flight

    def body(self, flight: InFlight, old: int) -> bytes:
        """Return the submission of the checkpoint in flight to a witness that cosigned ``old`` last.

        It carries the cosignatures so far: a witness with a new key begins behind others.
        """
        proof = prove_consistency(self._node.store.reader(self._origin), old, flight.checkpoint.size)
        return format_add_checkpoint(old, proof, self._node.certification.shown(flight.note))

    def last_size(self, agency: str, flight: InFlight) -> int:
        """Return what a witness cosigned last up to the checkpoint in flight, by the lines in the store."""
        sizes = [
            self._node.store.last_cosignature(self._origin, key.name, key.key_id)
            for key in self._keys(agency, flight)
        ]
        return min(max(sizes, default=0), flight.checkpoint.size)

    def take(self, agency: str, flight: InFlight, lines: Sequence[SignatureLine]) -> int | None:
        """Keep what a witness answered; return the time of its own good cosignature, if it is there."""
        note = parse_note(flight.note)
        good = [
            line
            for key in self._keys(agency, flight)
            for line in lines
            if (line.name, line.key_id) == (key.name, key.key_id) and is_good(note.text, line, key)
        ]
        if not good:
            return None
        self._node.keep_cosignatures(note, good[:1])
        return cosignature_time(good[0])

    def _is_replaced(self, flight: InFlight, published: Checkpoint, at: float) -> bool:
        """Whether the published checkpoint takes the place of the one in flight."""
        size = flight.checkpoint.size
        if published.size == size:
            return False
        authority = self._node.sequencer.state.authority
        is_certified = self._node.store.certified_size(self._origin) >= size
        is_repinned = len(authority.standing(size).adopts) != len(authority.standing(published.size).adopts)
        return is_certified or is_repinned or at - flight.since >= IN_FLIGHT_MAX_S

    def _find_witnesses(self) -> tuple[str, ...]:
        """The others of the version that the log stands under, of later ones, and, while it is not certified
        under that version, of the one before."""
        standing = self._node.sequencer.state.authority.roster
        adopted = standing.version if standing else 1
        since = adopted - (self._node.store.transition(self._origin, adopted) is None)
        named = {name for one in self._node.rosters if one.version >= since for name in one.agencies}
        return tuple(name for name in self._node.mirrors if name in named)

    def _keys(self, agency: str, flight: InFlight) -> list[NoteVerifier]:
        """The witness keys of an agency that are known: the one pinned, and that of its newest card."""
        name = witness_key_name(self._node.origin.ledger, agency)
        verifiers = self._node.certification.verifiers(parse_note(flight.note).text)
        return [one for one in verifiers.values() if one.name == name]


class Cosigning:
    """The loop that asks the witnesses, each at its own pace."""

    def __init__(self, node: Node, surroundings: Surroundings, gossip: Gossip) -> None:
        """``gossip`` carries the questions; see `Collector` for what is done on the store's thread."""
        self._node = node
        self._gossip = gossip
        self._around = surroundings
        self._collector = Collector(node)
        self._peers: dict[str, _Peer] = {}
        self._woken = asyncio.Event()
        self._told = ""

    def wake(self) -> None:
        """Look at once whether there is something to ask for: a checkpoint was published."""
        self._woken.set()

    def heard_from(self, agency: str) -> None:
        """An agency's node has asked something, so it runs: a pause that it had for silence is over."""
        peer = self._peers.get(agency)
        if peer is not None and peer.is_silent:
            peer.is_silent, peer.due = False, 0.0
            self.wake()

    async def run(self) -> None:
        """Gather until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                flight = await self._choose(loop.time())
                if flight is not None:
                    for agency, peer in self._due(flight, loop.time()):
                        peer.is_busy = True
                        group.create_task(self._ask(agency, peer, flight))
                # not wait_for: before Python 3.12 it loses a cancellation that comes with the event
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s(flight, loop.time())):
                        await self._woken.wait()

    async def _choose(self, at: float) -> InFlight | None:
        try:
            now_s = self._around.now_ms() // 1000
            flight = await self._around.on_store(self._collector.choose, at, now_s)
            self._told = ""
        except LedgerError as error:
            if str(error) != self._told:
                structured_log.fault("cosigning.failed", error)
            self._told = str(error)
            return None
        return flight

    def _due(self, flight: InFlight, at: float) -> list[tuple[str, _Peer]]:
        """The witnesses to ask now, in the order of the roster."""
        peers = [(name, self._peers.setdefault(name, _Peer())) for name in self._collector.witnesses]
        return [(name, one) for name, one in peers if one.is_due(flight) and one.due <= at]

    def _pause_s(self, flight: InFlight | None, at: float) -> float:
        """Until the next witness is due, or the checkpoint in flight has had its time."""
        if flight is None:
            return LOOK_S
        peers = [one for name, one in self._peers.items() if name in self._collector.witnesses]
        ends = [peer.due for peer in peers if peer.is_due(flight)]
        ends += [flight.since + IN_FLIGHT_MAX_S] if at < flight.since + IN_FLIGHT_MAX_S else []
        return max(PAUSE_MIN_S, min(ends) - at) if ends else RETRY_MAX_S

    async def _ask(self, agency: str, peer: _Peer, flight: InFlight) -> None:
        """Ask one witness for the checkpoint in flight, and note when it is to be asked again."""
        try:
            answer = await self._ask_once(agency, peer, flight)
            peer.is_silent = False
        except LedgerError as error:
            answer = Later(0, str(error))
            peer.is_silent = isinstance(error, Unreachable)
        peer.is_busy = False
        self._note_delay(agency, answer)
        if answer is None:
            peer.done, peer.failures = flight.checkpoint.size, 0
        else:
            peer.failures += 1
            wait_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(peer.failures - 1, 10))
            wait_s = max(answer.after_s, wait_s * (0.5 + self._around.random.random() / 2))
            peer.due = asyncio.get_running_loop().time() + wait_s
            size = flight.checkpoint.size
            if peer.failures == TOLD_AT:
                structured_log.event("cosigning.later", agency=agency, size=size, reason=answer.reason[:200])
        self.wake()

    def _note_delay(self, agency: str, answer: Later | None) -> None:
        """Keep since when a witness gives no cosignature, and its last answer."""
        asked = self._collector.witnesses
        delays = {name: delay for name, delay in self._node.delays.items() if name in asked}
        before = delays.pop(agency, None)
        if answer is not None:
            since_ms = before.since_ms if before else self._around.now_ms()
            delays[agency] = Delay(since_ms=since_ms, reason=answer.reason[:DELAY_CHARS_MAX])
        self._node.delays = delays  # another thread reads it: never changed in place

    async def _ask_once(self, agency: str, peer: _Peer, flight: InFlight) -> Later | None:
        """Return None once nothing more is to be asked of it for this checkpoint."""
        size = flight.checkpoint.size
        if peer.old is None:
            peer.old = await self._around.on_store(self._collector.last_size, agency, flight)
            if peer.old == size:  # its line came before this start, or in another's copy
                return None
        for _ in range(TURNS_MAX):
            if peer.old > size:  # it cosigned a newer one of ours: the next one in flight will be beyond
                return None
            body = await self._around.on_store(self._collector.body, flight, peer.old)
            response = await self._gossip.drive(agency, lambda body=body: add_checkpoint(body))  # type: ignore[misc]
            answer = read_answer(response, peer.old)
            if isinstance(answer, Later):
                return answer
            if isinstance(answer, list):
                return await self._take(agency, peer, flight, answer)
            peer.old = answer.size
        return Later(0, "it names another size each time")

    async def _take(
        self, agency: str, peer: _Peer, flight: InFlight, lines: list[SignatureLine]
    ) -> Later | None:
        stamp_s = await self._around.on_store(self._collector.take, agency, flight, lines)
        if stamp_s is None:
            return Later(0, "its answer has no good cosignature of its own")
        self._gossip.clocks.hear_stamp(agency, stamp_s)
        peer.old = flight.checkpoint.size
        return None
