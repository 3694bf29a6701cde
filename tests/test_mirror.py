"""A mirror and whoever answers it: nothing false is stored, whatever comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import keys
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.names import Origin
from ledger.tiles import encode_bundle
from ledger.tree import bytes_max, parse_tree_path
from node import handlers, log_store
from node.database import Database
from node.log_store import LogStore
from node.mirror import PULL_BUNDLES_MAX, Mirror, pull
from node.protocol import Request, Response
from node.stored_logs import load_state
from tests import spoiled
from tests.agencies import found_agencies
from tests.world import HOUR, Log, World, key, record

AGENCIES = ("district", "sport", "centre")
ORIGIN = Origin("test", "district")
BASE = f"/{ORIGIN.path}"
Answer = Callable[[Request], Response]


@dataclass
class Peer:
    """What a mirror asks: the honest files, or a liar's change of each answer."""

    files: dict[str, bytes]
    lie: Callable[[Request, Response], Response] = lambda request, response: response
    asked: list[Request] = field(default_factory=list)
    bytes_given: int = 0

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        data = self.files.get(request.path.removeprefix("/"))
        honest = Response(status=404) if data is None else _part(data, request.offset)
        response = self.lie(request, honest)
        self.bytes_given += len(response.body)
        return response


def _part(data: bytes, offset: int) -> Response:
    return Response(status=206 if offset else 200, body=data[offset:])


@dataclass
class Copy:
    """A mirror of the district's log in a store of its own."""

    database: Database
    mirror: Mirror

    def ask(self, answer: Answer, bundles: int = PULL_BUNDLES_MAX) -> int | None:
        """One round, as the service drives it; return how many leaves are new, None if there is no log."""
        procedure = pull(self.mirror.state, self.mirror.held_bytes(), bundles)
        pulled = drive(procedure, answer)
        return None if pulled is None else self.mirror.take(pulled, keys.verify_many)

    def content(self) -> list[Any]:
        tables = ("branch", "leaf", "node", "entry_place", "governance", "checkpoint")
        rows = [self.database.rows(f"SELECT * FROM {table}") for table in tables]
        return [rows, self.mirror.state.size, self.mirror.state.head, self.mirror.state.tree.root()]


def drive(procedure: Generator[Request, Response, Any], answer: Answer) -> Any:
    """Run a client procedure by hand."""
    try:
        request = next(procedure)
        while True:
            request = procedure.send(answer(request))
    except StopIteration as stop:
        return stop.value


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    with Database(tmp_path / "mirror.db", [log_store.SCHEMA]) as database:
        yield empty_copy(database)


def empty_copy(database: Database) -> Copy:
    world = World(AGENCIES, opened=False)
    store = LogStore(database)
    state = load_state(store, world.ledger_id, ORIGIN, world.rosters)
    return Copy(database, Mirror(database, store, state))


def grown(entries: int, *, name: str = "", hour: int = HOUR) -> Log:
    """The district's log with some private entries; another name gives another history of the same keys."""
    log = World(AGENCIES).logs["district"]
    for number in range(entries):
        entry = log.private([record("notice", subject=f"{name} {number}")], number=number)
        log.append(log.leaf(entry, hour=hour))
    return log


def peer_of(log: Log, **changes: Any) -> Peer:
    return Peer(log.files(), **changes)


def test_a_mirror_takes_what_a_node_serves(tmp_path: Path, copy: Copy) -> None:
    """Against another node's routes, without sockets: opening, grant, entry, then nothing new."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    node = agency.node()
    for step in (agency.grant(), agency.enrol("anna")):
        handlers.answer_submissions(node, [agency.seal(step)], HOUR)
    assert copy.ask(lambda request: handlers.answer(node, request, HOUR)) == 1  # what is published
    node.publish()
    assert copy.ask(lambda request: handlers.answer(node, request, HOUR)) == 2
    assert copy.ask(lambda request: handlers.answer(node, request, HOUR)) == 0
    assert copy.mirror.state.tree.root() == node.sequencer.state.tree.root()
    node.close()


def test_a_node_that_does_not_have_the_log_is_no_fault(copy: Copy) -> None:
    """404 means that there is nothing to copy."""
    assert copy.ask(Peer({})) is None


def test_growth_reads_only_the_new_bytes(copy: Copy) -> None:
    """A Range request goes on where the held part of the bundle ends; full bundles are not read again."""
    for entries in (3, 200, 254, 300, 301, 600):
        log = grown(entries)
        peer, held = peer_of(log), copy.mirror.state.size
        before = sum(2 + len(raw) for raw in log.leaves[:held])
        after = sum(2 + len(raw) for raw in log.leaves)
        assert copy.ask(peer) == len(log.leaves) - held
        given = [one for one in peer.asked if "/tile/entries/" in one.path]
        assert given[0].offset == sum(2 + len(raw) for raw in log.leaves[held // 256 * 256 : held])
        checkpoint = len(log.checkpoint())
        assert peer.bytes_given == checkpoint + after - before


def test_a_web_server_that_knows_no_ranges_is_understood(copy: Copy) -> None:
    """It answers 200 with the whole file, as RFC 9110 lets it."""
    copy.ask(peer_of(grown(5)))
    log = grown(9)
    whole = log.files()
    answer = Peer(whole, lie=lambda request, honest: Response(status=200, body=whole[request.path[1:]]))
    assert copy.ask(answer) == 4


def test_a_log_far_ahead_is_taken_in_parts(copy: Copy) -> None:
    """Each part is proven by consistency with the signed size; the checkpoint comes with the last one."""
    log = grown(600)
    taken = [copy.ask(peer_of(log), 1) for _ in range(4)]
    assert taken == [256, 256, 90, 0]
    assert copy.mirror.state.tree.root() == log.state.tree.root()


def test_a_part_with_any_hash_tile_changed_is_not_taken(copy: Copy) -> None:
    """The tiles that prove a part are believed as little as the leaves."""
    log = grown(600)
    before, files, honest = copy.content(), log.files(), peer_of(log)
    pulled = drive(pull(copy.mirror.state, 0, 1), honest)
    tiles = [one.path[1:] for one in honest.asked if "/tile/" in one.path and "entries" not in one.path]
    needed = [(path, files[path].find(hash_)) for path in tiles for hash_ in pulled.consistency]
    assert any(at >= 0 for _, at in needed)
    for path, at in needed:
        if at >= 0:
            with pytest.raises(LedgerError):
                copy.ask(Peer(files | {path: _flip(files[path], at)}), 1)
            assert copy.content() == before
    assert copy.ask(honest, 1) == 256


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at < len(data) else data


def _is_bundle(request: Request) -> bool:
    return "/tile/entries/" in request.path


@pytest.mark.parametrize("held", [0, 3])
def test_a_bundle_with_any_byte_flipped_is_not_stored(copy: Copy, held: int) -> None:
    """At first contact and as a continuation: every byte of every new leaf is bound by something."""
    log = grown(4)
    if held:
        copy.ask(peer_of(grown(held)))
    before = copy.content()
    size = len(log.files()[f"{ORIGIN.path}/tile/entries/000.p/{len(log.leaves)}"])
    start = copy.mirror.held_bytes()
    for at in range(0, size - start, 1 if held else 7):
        liar = peer_of(
            log,
            lie=lambda request, honest, at=at: (
                replace(honest, body=_flip(honest.body, at)) if _is_bundle(request) else honest
            ),
        )
        with pytest.raises(LedgerError):
            copy.ask(liar)
        assert copy.content() == before
    assert copy.ask(peer_of(log)) == len(log.leaves) - (held + 2 if held else 0)


def _signed(
    log: Log, *, size: int | None = None, root: bytes | None = None, by: str = "district log"
) -> bytes:
    tree = log.state.tree
    claim = Checkpoint(origin=str(ORIGIN), size=tree.size if size is None else size, root=root or tree.root())
    return sign_checkpoint(claim, key(by))


def _with(log: Log, **files: bytes) -> Peer:
    named = {f"{ORIGIN.path}/{name}": data for name, data in files.items()}
    return Peer(log.files() | named)


def _another_agencys_log() -> Peer:
    sport = World(AGENCIES).logs["sport"]
    return Peer({name.replace("log/sport/", "log/district/"): data for name, data in sport.files().items()})


def _another_agencys_leaves() -> Peer:
    log, sport = grown(3), World(AGENCIES).logs["sport"]
    honest = log.files()
    stolen = {name.replace("log/sport/", "log/district/"): data for name, data in sport.files().items()}
    note = _signed(log, size=len(sport.leaves), root=sport.state.tree.root())
    return Peer(honest | stolen | {f"{ORIGIN.path}/checkpoint": note})


def _another_ledgers_log() -> Peer:
    log = World(AGENCIES, sunset=40_000).logs["district"]
    return Peer(log.files())


def _leaf_of_nobody() -> Peer:
    log = grown(7)
    log.append(log.leaf(log.private([record("notice", subject="x")], by="stranger", number=99)))
    return peer_of(log)


def _missing_bundle() -> Peer:
    files = grown(9).files()
    return Peer({name: data for name, data in files.items() if "/entries/" not in name})


def _bundle_of_a_longer_log() -> Peer:
    """One entry more in the bundle than the signed size says."""
    short, long = grown(7), grown(8)
    name = f"{ORIGIN.path}/tile/entries/000.p/{len(short.leaves)}"
    longer = long.files()[f"{ORIGIN.path}/tile/entries/000.p/{len(long.leaves)}"]
    return Peer(short.files() | {name: longer})


def _other_leaves(change: Callable[[list[bytes]], list[bytes]]) -> Peer:
    """The honest files with another bundle."""
    log = grown(7)
    bundle = encode_bundle(change(log.leaves))
    return Peer(log.files() | {f"{ORIGIN.path}/tile/entries/000.p/{len(log.leaves)}": bundle})


LIES: dict[str, Callable[[], Peer]] = {
    "another agency's log under this name": _another_agencys_log,
    "another agency's leaves under this log's signature": _another_agencys_leaves,
    "another ledger's log": _another_ledgers_log,
    "a leaf of an author whom nobody granted": _leaf_of_nobody,
    "a bundle that is not there": _missing_bundle,
    "a bundle longer than the signed size": _bundle_of_a_longer_log,
    "a leaf left out": lambda: _other_leaves(lambda leaves: leaves[:4] + leaves[5:]),
    "a leaf in the place of another": lambda: _other_leaves(
        lambda leaves: [*leaves[:7], leaves[6], leaves[8]]
    ),
    "two leaves exchanged": lambda: _other_leaves(lambda leaves: [*leaves[:-2], leaves[-1], leaves[-2]]),
    "a checkpoint of another key": lambda: _with(grown(7), checkpoint=_signed(grown(7), by="sport log")),
    "a checkpoint of the root key": lambda: _with(grown(7), checkpoint=_signed(grown(7), by="district root")),
    "a size one too large": lambda: _with(grown(7), checkpoint=_signed(grown(7), size=10)),
    "a size of half the universe": lambda: _with(grown(7), checkpoint=_signed(grown(7), size=2**62)),
    "the largest size there is": lambda: _with(grown(7), checkpoint=_signed(grown(7), size=2**63 - 1)),
    "another root": lambda: _with(grown(7), checkpoint=_signed(grown(7), root=bytes(32))),
    "no note": lambda: _with(grown(7), checkpoint=b"hello"),
    "an empty file": lambda: _with(grown(7), checkpoint=b""),
    "a fork that is longer": lambda: peer_of(grown(7, name="other")),
    "a fork of equal size": lambda: peer_of(grown(3, name="other")),
    "a fork of equal size in another hour": lambda: peer_of(grown(3, hour=HOUR + 1)),
    "a fork that is shorter": lambda: peer_of(grown(2, name="other")),
    "a redirect": lambda: peer_of(grown(7), lie=lambda request, honest: Response(status=302)),
    "trouble": lambda: peer_of(grown(7), lie=lambda request, honest: Response(status=503, body=b"later")),
    "deep JSON": lambda: peer_of(grown(7), lie=lambda r, h: Response(status=500, body=b"[" * 200_000)),
}
FORKS = {name for name in LIES if "fork" in name}
"""A first copy cannot know of another history."""


@pytest.mark.parametrize(
    ("name", "held"), [(name, held) for name in LIES for held in (0, 3) if held or name not in FORKS]
)
def test_a_lie_is_refused_and_nothing_of_it_stored(copy: Copy, name: str, held: int) -> None:
    """Whatever is held before; and the honest peer who comes next is believed."""
    if held:
        copy.ask(peer_of(grown(held)))
    before = copy.content()
    liar = LIES[name]()
    with pytest.raises(LedgerError):
        copy.ask(liar)
    assert copy.content() == before
    assert len(liar.asked) <= PULL_BUNDLES_MAX + 20
    honest = grown(5)
    assert copy.ask(peer_of(honest)) == len(honest.leaves) - len(before[0][1])


def test_an_older_checkpoint_of_the_same_history_changes_nothing(copy: Copy) -> None:
    """A peer that is behind is no liar, and takes nothing back."""
    copy.ask(peer_of(grown(9)))
    before = copy.content()
    for entries in (0, 5, 8):
        assert copy.ask(peer_of(grown(entries))) in (0, None)
    assert copy.content() == before


def test_two_histories_of_one_size_are_named(copy: Copy) -> None:
    """Both roots stand in the message: it is the evidence of a fork."""
    held, other = grown(3), grown(3, name="other")
    copy.ask(peer_of(held))
    with pytest.raises(Unproven) as caught:
        copy.ask(peer_of(other))
    assert held.state.tree.root().hex() in str(caught.value)
    assert other.state.tree.root().hex() in str(caught.value)


def test_endless_answers_end(copy: Copy) -> None:
    """A log of 2^40 entries that a dishonest owner signs costs a bounded number of bounded reads."""
    log = grown(300)
    note = _signed(log, size=2**40)
    first = log.files()[f"{ORIGIN.path}/tile/entries/000"]

    def endless(request: Request, honest: Response) -> Response:
        if request.path.endswith("/checkpoint"):
            return Response(status=200, body=note)
        path = parse_tree_path(request.path[1:])
        return Response(status=200, body=first if _is_bundle(request) else bytes(bytes_max(path)))

    liar = peer_of(log, lie=endless)
    before = copy.content()
    with pytest.raises(LedgerError):
        copy.ask(liar)
    assert copy.content() == before
    assert len(liar.asked) <= PULL_BUNDLES_MAX + 40


def test_a_file_larger_than_its_kind_is_refused_unparsed(copy: Copy) -> None:
    """Each kind of file has its bound."""
    for name in ("checkpoint", "tile/entries/000.p/7"):
        files = grown(5).files()
        path = f"{ORIGIN.path}/{name}"
        assert path in files
        files[path] = bytes(bytes_max(parse_tree_path(path)) + 1)
        with pytest.raises(Malformed):
            copy.ask(Peer(files))


NOISY = [grown(3).files(), grown(6).files()]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bodies=st.lists(st.binary(max_size=300) | st.just(b""), min_size=1, max_size=6),
    statuses=st.lists(st.sampled_from([200, 206, 404, 416, 500, 302]), min_size=1, max_size=6),
    start=st.integers(0, 4),
)
def test_noise_is_refused_as_an_error_of_ours(
    copy: Copy, bodies: list[bytes], statuses: list[int], start: int
) -> None:
    """Honest answers first, then noise: an error of the ledger's tree or nothing, never another exception."""
    if copy.mirror.state.size == 0:
        copy.ask(peer_of(grown(3)))
    number = iter(range(1000))
    before = copy.content()

    def noise(request: Request, honest: Response) -> Response:
        turn = next(number)
        if turn < start:
            return honest
        return Response(status=statuses[turn % len(statuses)], body=bodies[turn % len(bodies)])

    for files in NOISY:
        with contextlib.suppress(LedgerError):
            copy.ask(Peer(files, lie=noise))
    if start < 2:
        assert copy.content() == before


def test_every_flip_of_a_checkpoint_is_refused_or_says_the_same(copy: Copy) -> None:
    """The note's text is signed; its bytes have one form."""
    copy.ask(peer_of(grown(3)))
    before, files = copy.content(), grown(6).files()
    for flipped in spoiled.flipped(files[f"{ORIGIN.path}/checkpoint"]):
        with pytest.raises(LedgerError):
            copy.ask(Peer(files | {f"{ORIGIN.path}/checkpoint": flipped}))
    assert copy.content() == before


def test_a_mirror_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    """State is computed from the store, whatever part of the log it holds."""
    path, before = tmp_path / "again.db", 0
    for entries in (3, 255, 256, 500):
        with Database(path, [log_store.SCHEMA]) as database:
            copy, log = empty_copy(database), grown(entries)
            assert copy.ask(peer_of(log)) == len(log.leaves) - before
            assert copy.mirror.state.tree.root() == log.state.tree.root()
            before = len(log.leaves)
