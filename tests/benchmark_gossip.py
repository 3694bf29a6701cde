"""What gossip costs at rest, and how soon an append is everywhere: whole nodes on virtual time.

    python -m tests.benchmark_gossip [AGENCIES]

Wall time of a virtual hour, divided by the nodes, is what a node takes of a core; headers are counted as
`HEADER_BYTES` for each exchange, bodies as they are. Entries that desks make each hour are part of the rest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.virtual_net import Net, net_of

HEADER_BYTES = 700
"""Of a request and its answer: aiohttp's own take some 450 bytes, the node's name 150."""
MINUTES = 60


def main(count: int) -> None:
    names = tuple(f"agency-{number:02}" for number in range(count))
    with tempfile.TemporaryDirectory() as folder, net_of(Path(folder), *names) as net:
        net.start_all()
        took = net.wait_for(lambda: _is_whole(net, names), 3600)
        _say(f"{count} nodes hold and certify each other's logs after {took:.0f} s")
        _rest(net, count)
        _append(net, names)


def _is_whole(net: Net, names: tuple[str, ...]) -> bool:
    net.wait(2)
    return all(
        row.certified_size == row.size > 1 for name in names for row in net.peers[name].node.frontier.rows
    )


def _rest(net: Net, count: int) -> None:
    asked = sum(len(peer.asked) for peer in net.peers.values())
    carried = sum(peer.bytes_carried for peer in net.peers.values())
    start = time.process_time()
    net.wait(60 * MINUTES)
    busy_s = time.process_time() - start
    exchanges = sum(len(peer.asked) for peer in net.peers.values()) - asked
    content = sum(peer.bytes_carried for peer in net.peers.values()) - carried
    sent = (content + exchanges * HEADER_BYTES) / count / MINUTES
    _say(
        f"at rest, a node: {100 * busy_s / count / (60 * MINUTES):.2f} % of a core without sockets, "
        f"{exchanges / count / MINUTES:.1f} exchanges and {sent / 1000:.1f} kB a minute asked, as much given"
    )


def _append(net: Net, names: tuple[str, ...]) -> None:
    for number in range(5):
        owner = net.peers[names[number % len(names)]]
        assert owner.submit(owner.agency.grant(f"clerk {number}")) == 200
        name, size = owner.agency.name, owner.held(owner.agency.name)
        took = net.wait_for(lambda n=name, s=size: all(p.held(n) >= s for p in net.peers.values()), 120)
        _say(f"an append was everywhere after {took:.2f} s")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 89)
