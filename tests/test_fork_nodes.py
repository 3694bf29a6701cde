"""Forks among whole nodes: found, proven, kept by all, and mended by a new era without losing an entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger import codec
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.fork import parse_evidence, prove_notes
from ledger.keys import SigningKey
from ledger.names import Origin
from node import era
from node.cosigning import format_add_checkpoint
from node.frontier import decode_frontier, digest_of, encode_frontier
from node.protocol import Request, Response
from node.session import format_branches
from tests.forking import (
    FIRST,
    OWNER,
    SECOND,
    backup,
    certified,
    cut_off,
    enrol,
    fork_by_restoring,
    join,
    late_branch,
    plan,
    put_opening,
    reread,
    restart,
    restore,
)
from tests.virtual_net import Lie, Net, net_of
from tests.world import key, seed

THREE = ("centre", "district", "sport")
FOUR = (*THREE, "youth")
LOG_KEY = key(f"{OWNER} log")


def test_a_restored_backup_that_goes_on_is_caught_and_mended(tmp_path: Path) -> None:
    """Caught by all, evidence below 4 KiB everywhere, every entry present once, certified again, verified."""
    with net_of(tmp_path, *THREE) as net:
        kept, made = fork_by_restoring(net, tmp_path)
        net.blocked.clear()
        net.wait_for(lambda: all(one.node.forks.is_forked(FIRST) for one in net.peers.values()), 120)
        for peer in net.peers.values():
            pieces = peer.node.forks.evidence.pieces(str(FIRST))
            assert pieces and all(len(piece) < 4096 for piece in pieces)
        owner = net.peers[OWNER]
        assert owner.submit(owner.agency.enrol("late", number=7)) == 503
        net.wait_for(
            lambda: all(len(one.node.store.branches(str(FIRST))) == 2 for one in net.peers.values()), 120
        )

        foreseen = plan(net)
        assert [leaf.header.entry_id for leaf in foreseen.plan.lists.carried] == made
        assert foreseen.value["certified"] == foreseen.value["kept"]
        put_opening(net, foreseen)
        restart(net)
        net.wait_for(lambda: net.peers[OWNER].node.origin == SECOND, 60)
        net.wait_for(lambda: certified(net, SECOND), 240)

        node = net.peers[OWNER].node
        assert node.refusal is None and node.waiting is None
        assert all(node.sequencer.find(one).era == 1 for one in kept)
        assert all(node.sequencer.find(one).era == 2 for one in made)
        later = enrol(net, [200])
        net.wait(10)  # until that, and the pins of the new card, are published
        others = [Origin("test", name) for name in THREE if name != OWNER]
        net.wait_for(lambda: all(certified(net, one) for one in (SECOND, *others)), 240)
        assert node.sequencer.find(later[0]).era == 2
        for peer in net.peers.values():
            report, _ = reread(peer, tmp_path)
            assert report.verdict == "verified", report.problems


def views(net: Net, tmp_path: Path) -> None:
    """The owner shows one history to centre, another to sport, then is gone; youth has seen neither."""
    net.start_all()
    net.wait(2)
    net.wait_for(lambda: all(certified(net, Origin("test", name)) for name in net.agencies), 120)
    assert net.peers[OWNER].submit(net.agencies[OWNER].grant()) == 200
    net.wait(2)
    net.wait_for(lambda: certified(net, FIRST), 120)
    net.stop(OWNER)
    backup(net.agencies[OWNER], tmp_path / "backup")
    for name in net.agencies:
        cut_off(net, name)
    for number, seen_by in enumerate(("centre", "sport")):
        net.blocked -= {(OWNER, seen_by), (seen_by, OWNER)}
        net.start(OWNER, number + 1, on_word=True)
        held = net.peers[OWNER].held(OWNER)
        enrol(net, range(number * 10, number * 10 + 3 + number))
        net.wait_for(lambda seen_by=seen_by, held=held: net.peers[seen_by].held(OWNER) >= held + 3, 60)
        net.wait(5)
        net.stop(OWNER)
        net.blocked |= {(OWNER, seen_by), (seen_by, OWNER)}
        restore(net.agencies[OWNER], tmp_path / "backup")


def branches_at(net: Net, name: str) -> int:
    return len(net.peers[name].node.store.branches(str(FIRST)))


def test_two_honest_nodes_that_were_shown_two_views_convict_without_the_owner(tmp_path: Path) -> None:
    """They compare, each fetches the other's branch from the other, and a third learns all from either."""
    with net_of(tmp_path, *FOUR) as net:
        views(net, tmp_path)
        join(net, "centre", "sport")
        for name in ("centre", "sport"):
            net.wait_for(lambda name=name: branches_at(net, name) == 2, 120)
            assert net.peers[name].node.forks.is_forked(FIRST)
        assert not net.peers["youth"].node.forks.is_forked(FIRST)
        join(net, "youth", "sport")
        net.wait_for(lambda: branches_at(net, "youth") == 2, 120)
        assert net.peers["youth"].node.forks.is_forked(FIRST)


def test_a_relay_that_withholds_a_branch_withholds_no_evidence_for_long(tmp_path: Path) -> None:
    """What one peer hides another shows; that the log is forked is known from the evidence alone."""
    with net_of(tmp_path, *FOUR) as net:
        views(net, tmp_path)
        join(net, "centre", "sport")
        net.wait_for(lambda: branches_at(net, "centre") == 2 and branches_at(net, "sport") == 2, 120)
        net.lies["centre"] = _without_branches
        join(net, "youth", "centre")
        net.wait_for(lambda: net.peers["youth"].node.forks.is_forked(FIRST), 120)
        net.wait(60)
        assert branches_at(net, "youth") == 1
        join(net, "youth", "sport")
        net.wait_for(lambda: branches_at(net, "youth") == 2, 300)


def _without_branches(request: Request, honest: Response) -> Response:
    if "/branch" in request.path:
        return replace(honest, status=404, body=b"") if "/log/" in request.path else _no_branches(honest)
    return honest


def _no_branches(honest: Response) -> Response:
    return replace(honest, body=format_branches([]))


@pytest.mark.parametrize("name", ["noise", "of a stranger's key", "of an honest log's notes"])
def test_false_evidence_stops_nobody(tmp_path: Path, name: str) -> None:
    """It is checked before it is kept: the peer who shows it is asked less, and no log is called forked."""
    with net_of(tmp_path, *THREE) as net:
        pieces = {
            "noise": b"\xc1" * 300,
            "of a stranger's key": _forged(net, key("stranger")),
            "of an honest log's notes": _forged(net, key("sport log"), is_signed=False),
        }
        net.lies["centre"] = _showing(pieces[name])
        net.start_all()
        net.wait(120)
        for peer in ("district", "sport"):
            node = net.peers[peer].node
            assert not any(node.forks.count(origin) for origin in node.logs())
            assert node.waiting is None
        assert ("centre", "/log/district/1/evidence/0") in net.peers["sport"].asked
        assert net.peers[OWNER].submit(net.agencies[OWNER].grant()) == 200


def _forged(net: Net, signer: SigningKey, *, is_signed: bool = True) -> bytes:
    """Two notes of one size; without ``is_signed`` the second bears the signature of the first."""
    notes = [
        sign_checkpoint(Checkpoint(origin=str(FIRST), size=9, root=seed(root)), signer) for root in ("a", "b")
    ]
    if not is_signed:
        notes[1] = notes[1].split(b"\n\n")[0] + b"\n\n" + notes[0].split(b"\n\n")[1]
    return codec.encode([1, "size", *sorted(notes)])


def _showing(piece: bytes) -> Lie:
    """What a peer answers that shows one piece of evidence of the owner's log, and then no news."""
    digests = set()

    def lie(request: Request, honest: Response) -> Response:
        if request.path == "/log/district/1/evidence/0":
            return Response(status=200, body=piece)
        if any(f"since={digest.hex()}" in request.path for digest in digests):
            return Response(status=304)
        if request.path.startswith("/v1/frontier") and honest.status == 200:
            frontier = decode_frontier(honest.body)
            rows = tuple(replace(one, forks=one.forks + (one.agency == OWNER)) for one in frontier.rows)
            whole = replace(frontier, is_whole=True, rows=rows, digest=digest_of(frontier.roster, rows))
            digests.add(whole.digest)
            return replace(honest, body=encode_frontier(whole)) if frontier.is_whole else honest
        return honest

    return lie


def test_a_flood_of_evidence_is_kept_within_its_bound(tmp_path: Path) -> None:
    """A thief can sign for ever: 64 pieces of an era are kept, the same ones whatever came first."""
    with net_of(tmp_path, *THREE) as net:
        net.start_all()
        net.wait(2)
        net.wait_for(lambda: all(certified(net, Origin("test", one)) for one in net.agencies), 120)
        pieces = []
        for number in range(80):
            one, two = (
                sign_checkpoint(Checkpoint(origin=str(FIRST), size=9, root=seed(f"{side} {number}")), LOG_KEY)
                for side in ("a", "b")
            )
            pieces.append(prove_notes(one, two, LOG_KEY.public_key))
        forks = net.peers["centre"].node.forks, net.peers["sport"].node.forks
        for piece, other in zip(pieces, reversed(pieces), strict=True):
            forks[0].take_evidence(piece)
            forks[1].take_evidence(other)
        held = [one.evidence.pieces(str(FIRST)) for one in forks]
        assert len(held[0]) == 64 and held[0] == held[1]
        assert net.peers["sport"].node.waiting is None


class _Killed(BaseException):
    """kill -9, as far as memory is concerned."""


@pytest.mark.parametrize("step", ["before the commit", "after the commit"])
def test_a_kill_while_an_era_opens_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The next start opens the same bytes again, or finds them open; the old era stays ended."""
    with net_of(tmp_path, OWNER) as net:
        agency = net.agencies[OWNER]
        net.start(OWNER)
        net.wait(2)
        assert net.peers[OWNER].submit(agency.grant()) == 200
        made = enrol(net, range(2))
        put_opening(net, plan(net, reason_code="key_lost"))
        net.stop(OWNER)
        net.secrets[OWNER] = ["log.2"]
        net.start(OWNER, 1, on_word=True)
        node = net.peers[OWNER].node
        with monkeypatch.context() as patch:
            if step == "before the commit":
                patch.setattr(node.store, "put_checkpoint", _die)
            else:
                patch.setattr(node.sequencer, "record", _die)
            with pytest.raises(_Killed):
                era.open_put(node)
        net.abandon(OWNER)
        net.start(OWNER, 2, on_word=True)
        net.wait_for(lambda: net.peers[OWNER].node.origin == SECOND, 30)
        node = net.peers[OWNER].node
        assert node.waiting is None and node.store.size(str(SECOND)) == 1
        assert [node.sequencer.find(one).era for one in made] == [1, 1]
        assert enrol(net, [5])
        report, _ = reread(net.peers[OWNER], tmp_path, level="leaf")
        assert report.verdict == "verified", report.problems


def _die(*_: object, **__: object) -> None:
    raise _Killed


def test_a_checkpoint_that_a_witness_is_asked_to_cosign_shows_a_fork(tmp_path: Path) -> None:
    """A note of the size held with another root is evidence at once, whoever brings it."""
    with net_of(tmp_path, *THREE) as net:
        net.start_all()
        net.wait(2)
        net.wait_for(lambda: all(certified(net, Origin("test", one)) for one in net.agencies), 120)
        size = net.peers["sport"].held(OWNER)
        note = sign_checkpoint(Checkpoint(origin=str(FIRST), size=size, root=seed("other")), LOG_KEY)
        body = format_add_checkpoint(size, [], note)
        request = Request(method="POST", path="/witness/add-checkpoint", body=body)
        assert net.run(net.peers["sport"].service.answer(request)).status == 422
        assert net.peers["sport"].node.forks.is_forked(FIRST)
        net.wait_for(lambda: all(one.node.forks.is_forked(FIRST) for one in net.peers.values()), 120)
        assert "forked" in (net.peers[OWNER].node.waiting or "")
        assert net.peers["centre"].node.waiting is None


def test_a_file_shows_a_fork_and_its_mending_as_peers_do(tmp_path: Path) -> None:
    """A node that meets nobody takes evidence, both branches and the new era from one dossier."""
    with net_of(tmp_path, *FOUR) as net:
        views(net, tmp_path)
        join(net, "centre", "sport")
        net.wait_for(lambda: branches_at(net, "centre") == 2 and branches_at(net, "sport") == 2, 120)
        reread(net.peers["centre"], tmp_path, level="leaf")
        youth = net.peers["youth"].node
        inbox = youth.config.data / "inbox"
        inbox.mkdir(exist_ok=True)
        (tmp_path / "centre.zip").replace(inbox / "centre.zip")
        net.wait_for(lambda: (inbox / "centre.json").exists() and branches_at(net, "youth") == 2, 60)
        assert youth.forks.is_forked(FIRST)
        assert youth.forks.evidence.pieces(str(FIRST)) == net.peers["centre"].node.forks.evidence.pieces(
            str(FIRST)
        )


def test_a_branch_that_surfaces_after_the_repair_stops_nobody(tmp_path: Path) -> None:
    """Kept and shown as late; its entry is named as owed until it is appended, and the log goes on."""
    with net_of(tmp_path, *FOUR) as net:
        hidden, made = late_branch(net, tmp_path)
        node = net.peers[OWNER].node
        assert node.waiting is None and node.sequencer.find(made[0]) is not None
        assert node.owed() == [hidden.entry.header.entry_id.hex()]
        net.wait_for(lambda: net.peers[OWNER].submit(hidden) == 200, 30)
        assert node.owed() == []


def test_two_openings_of_one_era_convict_the_root_key(tmp_path: Path) -> None:
    """A second opening with another log key, shown to another node, is evidence once the two compare."""
    with net_of(tmp_path, *THREE) as net:
        net.start_all()
        net.wait(2)
        net.wait_for(lambda: all(certified(net, Origin("test", one)) for one in net.agencies), 120)
        net.stop(OWNER)
        net.secrets[OWNER] = ["log.2", "log.2b"]
        backup(net.agencies[OWNER], tmp_path / "backup")
        for name in net.agencies:
            cut_off(net, name)
        for number, (seen_by, log) in enumerate((("centre", "log.2"), ("sport", "log.2b"))):
            join(net, OWNER, seen_by)
            net.start(OWNER, number + 1, on_word=True)
            put_opening(net, plan(net, log, reason_code="key_lost"))
            net.stop(OWNER)
            net.start(OWNER, number + 3, on_word=True)
            net.wait_for(lambda: net.peers[OWNER].node.origin == SECOND, 30)
            net.wait_for(lambda seen_by=seen_by: net.peers[seen_by].node.store.size(str(SECOND)) > 0, 120)
            net.stop(OWNER)
            net.blocked |= {(OWNER, seen_by), (seen_by, OWNER)}
            (net.agencies[OWNER].directory / "era.entry").unlink()
            restore(net.agencies[OWNER], tmp_path / "backup")
        join(net, "centre", "sport")
        nodes = [net.peers[name].node for name in ("centre", "sport")]
        net.wait_for(lambda: all(one.forks.is_forked(SECOND) for one in nodes), 300)
        net.wait_for(lambda: all(len(one.store.branches(str(SECOND))) == 2 for one in nodes), 300)
        pieces = [one.forks.evidence.pieces(str(SECOND)) for one in nodes]
        assert any(parse_evidence(piece).kind == "opening" for piece in pieces[0])
        assert all(len(piece) < 4096 for piece in pieces[0] + pieces[1])
        assert all(one.waiting is None for one in nodes)
