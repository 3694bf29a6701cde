"""Gossip among whole nodes on virtual time: logs spread, and whoever lies or stalls costs itself only."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import codec
from ledger.roster import Ends, Head, format_roster, parse_roster
from ledger.statute import default_statute_json
from node.frontier import Row, decode_frontier, digest_of, encode_frontier
from node.gossip import OWNERS_ROUND_S
from node.protocol import Request, Response
from node.service import RESUME_MAX_S
from tests.agencies import Agency, _write_directory, free_ports, mark
from tests.virtual_net import Lie, Net, net_of
from tests.world import World, key

THREE = ("centre", "district", "sport")
FOUR = (*THREE, "youth")


def opened(net: Net, seconds: float = 60) -> None:
    """Wait until every node holds every log's opening and the pins that follow it."""
    net.wait_for(lambda: _are_equal(net, least=2), seconds)


def _are_equal(net: Net, least: int) -> bool:
    sizes = [[peer.held(name) for name in net.agencies] for peer in net.peers.values()]
    return all(one == sizes[0] for one in sizes) and min(sizes[0]) >= least


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Net]:
    with net_of(tmp_path, *THREE) as net:
        net.start_all()
        opened(net)
        yield net


def test_three_nodes_hold_an_append_within_two_seconds(three: Net) -> None:
    """With the configuration as it is delivered: a tick of one second, and the frontier's long-poll."""
    for number in range(4):
        three.wait(0.3 * number)
        district = three.peers["district"]
        assert district.submit(district.agency.grant(f"clerk {number}")) == 200
        size = district.held("district")
        assert three.wait_for(
            lambda size=size: all(p.held("district") >= size for p in three.peers.values()), 2
        )


def test_all_is_certified_and_everybody_shows_it(three: Net) -> None:
    """The frontier says up to where; a copy takes what certifies from whoever has it."""
    three.wait_for(lambda: all(_certified(three, name) >= 2 for name in THREE), 60)


def _certified(net: Net, name: str) -> int:
    return min(row.certified_size for row in net.peers[name].frontier().rows)


def test_at_rest_little_is_said(three: Net) -> None:
    """Long-polls, and a look at each owner now and then: no more than ten requests a minute."""
    three.wait(120)
    district = three.peers["district"]
    district.asked.clear()
    three.wait(600)
    assert len(district.asked) < 100, district.asked


def _frontier(change: Callable[[list[Row]], list[Row]], *, digest: bytes | None = None) -> Lie:
    """What a peer answers if it changes its rows, with a digest that fits them unless another is given."""

    def lie(request: Request, honest: Response) -> Response:
        if not request.path.startswith("/v1/frontier"):
            return honest
        if honest.status != 200:
            return honest
        frontier = decode_frontier(honest.body)
        rows = tuple(change(list(frontier.rows)))
        sealed = digest or digest_of(frontier.roster, rows)
        return replace(
            honest, body=encode_frontier(replace(frontier, is_whole=True, rows=rows, digest=sealed))
        )

    return lie


def _all(answer: Callable[[Response], Response]) -> Lie:
    return lambda request, honest: answer(honest)


async def _stall(request: Request, honest: Response) -> Response:
    await asyncio.sleep(10_000)
    return honest


async def _tar_pit(request: Request, honest: Response) -> Response:
    """All is ahead, and nothing of it ever comes."""
    if request.path.startswith("/v1/frontier"):
        return _beyond(request, honest)
    return await _stall(request, honest)


def _ahead(rows: list[Row]) -> list[Row]:
    return [
        replace(row, size=row.size + 1000, root=b"x" * 32, certified_size=row.size + 1000) for row in rows
    ]


def _of_bundles(change: Callable[[bytes], bytes]) -> Lie:
    """All is ahead, and every bundle of leaves is another than its checkpoint says."""

    def lie(request: Request, honest: Response) -> Response:
        is_bundle = "/tile/entries/" in request.path and honest.status == 200
        return replace(honest, body=change(honest.body)) if is_bundle else _beyond(request, honest)

    return lie


_beyond = _frontier(_ahead)
LIES: dict[str, Lie] = {
    "rolls back": _frontier(lambda rows: [replace(row, size=1, certified_size=0) for row in rows]),
    "shows nothing": _frontier(lambda rows: []),
    "forges a digest": _frontier(lambda rows: rows, digest=b"x" * 32),
    "names heads that nobody has": _beyond,
    "names other roots": _frontier(lambda rows: [replace(row, root=b"x" * 32) for row in rows]),
    "names logs that nobody knows": _frontier(
        lambda rows: [replace(rows[0], agency=f"a{number:04}") for number in range(2000)]
    ),
    "is never done": _tar_pit,
    "is silent": _stall,
    "redirects": _all(lambda honest: Response(status=302)),
    "is in trouble": _all(lambda honest: Response(status=500, body=b"[" * 100_000)),
    "says later": _all(lambda honest: Response(status=429, headers={"Retry-After": "99999"})),
    "says that nothing is new, at once": _all(lambda honest: Response(status=304)),
    "says noise": _all(lambda honest: replace(honest, body=b"\xc1" * 300)),
    "is too large": _all(lambda honest: replace(honest, body=bytes(70_000_000))),
    "gives leaves without what they stand on": _of_bundles(lambda body: body[2 + int.from_bytes(body[:2]) :]),
    "gives a flood of leaves": _of_bundles(lambda body: body * (4_000_000 // (len(body) + 1))),
    "is of another ledger": _all(lambda honest: replace(honest, body=_of_another_ledger(honest))),
}


def _of_another_ledger(honest: Response) -> bytes:
    value = codec.decode(honest.body) if honest.body[:1] == b"\x97" else None
    return codec.encode([value[0], bytes(32), *value[2:]]) if value else honest.body


@pytest.mark.parametrize("name", LIES)
def test_a_peer_that_lies_costs_itself_only(tmp_path: Path, name: str) -> None:
    """The others go on, it is asked less and less, and no honest owner is accused of anything for long."""
    with net_of(tmp_path, *FOUR) as net:
        net.lies["youth"] = LIES[name]
        net.start_all()
        honest = [net.peers[one] for one in THREE]
        net.wait_for(lambda: all(peer.held(one) >= 1 for peer in honest for one in THREE), 120)
        net.wait(60)
        for number in range(3):
            district = net.peers["district"]
            assert district.submit(district.agency.grant(f"clerk {number}")) == 200
            size = district.held("district")
            net.wait_for(lambda size=size: all(peer.held("district") >= size for peer in honest), 20)
        before = len(district.asked)
        net.wait(300)
        asked = sum(one == "youth" for one, _ in district.asked[before:])
        assert asked < 700, asked
        assert all(peer.node.waiting is None for peer in honest)
        assert all(peer.node.refusal is None for peer in honest)


def test_a_peer_that_takes_a_question_and_is_silent_holds_up_no_start(tmp_path: Path) -> None:
    """Enough others have answered: the log is founded within seconds, not when that question has run out."""
    with net_of(tmp_path, *FOUR) as net:
        net.lies["youth"] = _stall
        for name in THREE:
            net.start(name)
        net.wait_for(lambda: all(net.peers[name].held(name) for name in THREE), RESUME_MAX_S + 5)


def test_an_eclipse_heals(tmp_path: Path) -> None:
    """All whom a node watches hide what is new: it asks the owner itself, and has it within minutes."""
    with net_of(tmp_path, *FOUR) as net:
        net.start_all()
        opened(net)
        stale = {}

        def hide(name: str) -> Lie:
            def lie(request: Request, honest: Response) -> Response:
                if request.path.startswith("/v1/frontier"):
                    return Response(status=304) if "since" in request.path else stale[name]
                return honest

            return lie

        for name in ("district", "sport", "youth"):
            request = Request(method="GET", path="/v1/frontier")
            stale[name] = net.run(net.peers[name].service.answer(request))
            net.lies[name] = hide(name)
        net.blocked.add(("district", "centre"))  # nor does it hear by being asked for a cosignature
        district = net.peers["district"]
        assert district.submit(district.agency.grant()) == 200
        size = district.held("district")
        took = net.wait_for(lambda: net.peers["centre"].held("district") >= size, 3 * OWNERS_ROUND_S)
        assert took > 2, "nobody hid it"


def test_a_log_is_taken_from_whoever_has_it(tmp_path: Path) -> None:
    """Its owner reached by one peer only: the rest hear of it by that one."""
    with net_of(tmp_path, *FOUR) as net:
        for name in ("centre", "sport"):
            net.blocked |= {(name, "district"), ("district", name)}
        net.start("district", on_word=True)
        for name in ("centre", "sport", "youth"):
            net.start(name)
        net.wait_for(lambda: all(peer.held("district") >= 1 for peer in net.peers.values()), 120)


def test_a_witness_that_lacks_leaves_is_given_them_at_once(three: Net) -> None:
    """`wake` asks the owner, however often it is called, a bounded number of times."""
    centre = three.peers["centre"]
    centre.asked.clear()

    async def wake() -> None:
        for _ in range(1000):
            centre.service.gossip.wake(three.agencies["sport"].origin)
            centre.service.gossip.wake(replace(three.agencies["sport"].origin, agency="nobody"))
            await asyncio.sleep(0.001)

    three.run(wake())
    assert 1 <= sum(path.endswith("/checkpoint") for _, path in centre.asked) <= 5


def _saved(net: Net, name: str) -> Path:
    """Stop a node and keep a copy of its data."""
    net.stop(name)
    data = net.agencies[name].directory / "data"
    saved = net.base / f"saved {name}"
    shutil.copytree(data, saved)
    return saved


def _restored(net: Net, name: str, saved: Path) -> None:
    data = net.agencies[name].directory / "data"
    shutil.rmtree(data)
    shutil.copytree(saved, data)


def test_a_restored_backup_fetches_its_log_back_and_waits(three: Net) -> None:
    """It says what it found, holds what it had signed, and sequences nothing: after further restarts too."""
    saved = _saved(three, "district")
    district = three.start("district", 1)
    three.wait_for(lambda: district.node.waiting is None, 60)
    assert district.submit(district.agency.grant()) == 200
    three.wait_for(lambda: three.peers["sport"].held("district") == district.held("district"), 60)
    size = district.held("district")
    three.stop("district")
    _restored(three, "district", saved)
    for number in (2, 3):
        district = three.start("district", number)
        three.wait_for(lambda: three.peers["district"].held("district") == size, 60)
        assert district.node.waiting is not None and "restored or rebuilt" in district.node.waiting
        assert district.submit(district.agency.grant("other")) == 503
        three.wait(5)
        assert district.held("district") == size
        three.stop("district")
    assert "fetched back from the others so far" in str(district.node.waiting) or number == 3


def test_a_clone_that_goes_on_is_met_and_stops(three: Net) -> None:
    """On its operator's word, cut off from all: once it hears what others hold of its log it ends itself."""
    saved = _saved(three, "district")
    district = three.start("district", 1)
    three.wait_for(lambda: district.node.waiting is None, 60)
    assert district.submit(district.agency.grant()) == 200
    three.wait_for(lambda: three.peers["sport"].held("district") == district.held("district"), 60)
    three.stop("district")
    _restored(three, "district", saved)
    cut = {pair for name in ("centre", "sport") for pair in ((name, "district"), ("district", name))}
    three.blocked |= cut
    clone = three.start("district", 2, on_word=True)
    three.wait_for(lambda: clone.node.waiting is None, 60)
    assert clone.submit(clone.agency.entry([mark("anna")], by="registrar")) != 503
    three.blocked -= cut
    three.wait_for(lambda: clone.node.refusal is not None, 120)
    assert clone.submit(clone.agency.grant("other")) == 503


def test_a_clock_hours_off_stops_its_node_until_it_is_right(three: Net) -> None:
    """And no other."""
    three.peers["district"].clock_off_s = -5 * 3600
    three.stop("district")
    district = three.start("district", 1)
    district.clock_off_s = -5 * 3600
    three.wait(3)
    assert district.submit(district.agency.grant()) == 503
    assert "clock" in str(district.node.waiting)
    sport = three.peers["sport"]
    three.wait(40)
    assert sport.submit(sport.agency.grant()) == 200
    district.clock_off_s = 0
    assert district.submit(district.agency.grant()) == 200


def second_roster(
    world: World, names: tuple[str, ...], ends: dict[str, Ends] | None = None
) -> tuple[bytes, bytes]:
    """Version 2 with these agencies, signed by all of version 1."""
    first = world.roster
    roots = {name: key(f"{name} root").public_key for name in names}
    raw = format_roster(
        ledger="test",
        agencies=roots,
        statute=default_statute_json(),
        version=2,
        before=first.hash,
        ends=ends or {},
    )
    return raw, world.sign_roster(parse_roster(raw), [name for name in first.agencies if name in names])


def test_a_roster_version_travels_and_a_newcomer_is_taken_in(tmp_path: Path) -> None:
    """One node is given version 2 and the newcomer's address; all have both, durable, without a restart."""
    with net_of(tmp_path, *THREE) as net:
        first = next(iter(net.agencies.values()))
        pair = second_roster(first.world, FOUR)
        _join(net, first, "youth", pair)
        net.start_all()
        net.wait_for(lambda: all(p.node.rosters[-1].version == 2 for p in net.peers.values()), 60)
        net.wait_for(lambda: all(p.held("youth") >= 1 for p in net.peers.values()), 120)
        for name in THREE:
            assert (net.agencies[name].directory / "roster" / "2.json").read_bytes() == pair[0]
        net.stop("sport")
        assert net.start("sport", 1).node.others == ["centre", "district", "youth"]


def test_a_flood_of_unknown_logs_costs_no_pull_and_no_memory(three: Net) -> None:
    """Checkpoints of agencies, eras and ledgers that nobody knows, and of known ones that are not signed."""
    centre = three.peers["centre"]
    logs, pulled = centre.node.logs(), len(centre.asked)
    bodies = [
        b"old 0\n\n%s/%d\n%d\n%s\n\n%s x AAAAAAA=\n"
        % (log, number, number, base64.b64encode(bytes(32)), "\u2014".encode())
        for number in range(1, 200)
        for log in (b"test/nobody", b"test/sport", b"other/sport")
    ]
    for body in bodies:
        request = Request(method="POST", path="/witness/add-checkpoint", body=body)
        assert three.run(centre.service.answer(request)).status in (400, 403, 404)
    three.wait(5)
    assert centre.node.logs() == logs and not centre.node.faults()
    assert len(centre.asked) - pulled < 20


def test_an_agency_that_a_roster_drops_stops_and_is_served_on(tmp_path: Path) -> None:
    """All take version 2: the others ask it no more and keep its log; itself it says so and takes nothing."""
    with net_of(tmp_path, *FOUR) as net:
        net.start_all()
        opened(net)
        first = net.agencies["centre"]
        ends = {"youth": Ends(head=Head(1, 0, bytes(32)), next_era=2)}
        raw, note = second_roster(first.world, THREE, ends)
        net.peers["centre"].node.take_roster((raw, note))
        net.wait_for(lambda: all(p.node.rosters[-1].version == 2 for p in net.peers.values()), 120)
        youth, size = net.peers["youth"], net.peers["youth"].held("youth")
        assert "does not name this agency any more" in str(youth.node.waiting)
        assert youth.submit(youth.agency.grant()) == 503
        net.wait(120)  # polls under way end, version 2 is adopted and certified
        district = net.peers["district"]
        district.asked.clear()
        assert district.submit(district.agency.grant()) == 200
        net.wait_for(lambda: net.peers["sport"].held("district") == district.held("district"), 10)
        net.wait(OWNERS_ROUND_S)
        assert "youth" not in {name for name, _ in district.asked}
        request = Request(method="GET", path="/log/youth/1/checkpoint")
        assert net.run(district.service.answer(request)).body.startswith(b"test/youth/1\n%d\n" % size)
        net.stop("youth")
        assert "does not name this agency any more" in str(net.start("youth", 1).node.waiting)


def _join(net: Net, other: Agency, name: str, pair: tuple[bytes, bytes]) -> None:
    """Make the newcomer's directory, and write its address into one configuration."""
    world = other.world
    before, world.roster = world.roster, parse_roster(pair[0])
    world.rosters |= {world.roster.hash: world.roster}
    world.logs[name] = world._log(name)
    newcomer = Agency(world, name, net.base / name, free_ports(1)[0])
    _write_directory(newcomer, list(net.agencies.values()), {})
    world.roster = before
    folder = newcomer.directory / "roster"
    for version, (raw, note) in enumerate(((before.raw, world.signatures), pair), 1):
        (folder / f"{version}.json").write_bytes(raw)
        (folder / f"{version}.note").write_bytes(note)
        (other.directory / "roster" / f"{version}.json").write_bytes(raw)
        (other.directory / "roster" / f"{version}.note").write_bytes(note)
    toml = other.directory / "node.toml"
    toml.write_text(f'{toml.read_text()}{name} = ["{newcomer.url}"]\n')
    net.agencies[name] = newcomer
    net.names[newcomer.url] = name


@pytest.mark.parametrize("what", ["unsigned", "another before", "noise"])
def test_a_false_roster_version_is_not_taken(three: Net, what: str) -> None:
    """Whoever shows one is asked less; nothing is written."""
    raw, note = second_roster(three.agencies["sport"].world, FOUR)
    if what == "unsigned":
        note = note.replace(b"\xe2\x80\x94", b"-")
    if what == "another before":
        raw = raw.replace(three.agencies["sport"].world.roster.hash.hex().encode(), b"00" * 32)
    if what == "noise":
        raw = b"{"

    def lie(request: Request, honest: Response) -> Response:
        if request.path == "/roster/2.json":
            return Response(status=200, body=raw)
        if request.path == "/roster/2.note":
            return Response(status=200, body=note)
        if request.path.startswith("/v1/frontier") and honest.status == 200:
            frontier = decode_frontier(honest.body)
            roster = (2, parse_roster(raw).hash if what != "noise" else bytes(32))
            digest = digest_of(roster, frontier.rows)
            forged = replace(frontier, roster=roster, is_whole=True, digest=digest)
            return replace(honest, body=encode_frontier(forged))
        return honest

    three.lies["sport"] = lie
    three.wait(200)
    for name in ("centre", "district"):
        assert three.peers[name].node.rosters[-1].version == 1
        assert not (three.agencies[name].directory / "roster" / "2.json").exists()
        assert three.peers[name].node.waiting is None
