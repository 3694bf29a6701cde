from __future__ import annotations

from ledger.verify import verify
from tests.world import MemorySource, World


def test_a_whole_ledger_is_verified() -> None:
    """The control of every attack below: untouched, it verifies."""
    world = World()
    report = verify(MemorySource(world.tree()), world.ledger_id)
    assert report.problems == ()
    assert report.verdict == "verified"
