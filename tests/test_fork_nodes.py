"""Forks among whole nodes: found, proven, kept by all, and mended by a new era without losing an entry."""

from __future__ import annotations

from pathlib import Path

from tests.forking import (
    FIRST,
    OWNER,
    SECOND,
    certified,
    enrol,
    fork_by_restoring,
    plan,
    put_opening,
    reread,
    restart,
)
from tests.virtual_net import net_of

THREE = ("centre", "district", "sport")


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
        net.wait_for(lambda: certified(net, SECOND), 240)
        assert node.sequencer.find(later[0]).era == 2
        for peer in net.peers.values():
            report, _ = reread(peer, tmp_path)
            assert report.verdict == "verified", report.problems
