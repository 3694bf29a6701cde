"""Real node processes, configured as delivered: how soon an append is there, what rest costs.

    python -m tests.benchmark_processes append [COUNT]             three nodes on loopback
    python -m tests.benchmark_processes rest [AGENCIES] [MINUTES]  as root: one of many, in a namespace

At rest the kernel counts: processor time in ``/proc``, bytes on the one link of the node's namespace, both
ways, with all headers. Entries that desks make each hour fall into the window or not, as it comes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from node.http_client import HttpClient
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, post, wait_for
from tests.network_namespaces import Network, network_of

DELIVERED = {"publish_interval_s": 1.0, "mirror_interval_s": 1.0}
STARTED_AT_ONCE = 6
"""More only wait for the two cores."""
SETTLED_S = 3600


def append(count: int) -> None:
    """Time appends at one node until all three hold and certify them."""
    nodes = Nodes()
    with tempfile.TemporaryDirectory() as folder:
        agencies = found_agencies(Path(folder), ("centre", "district", "sport"), **DELIVERED)
        try:
            running = _start(nodes, list(agencies.values()))
            _settle(running, len(agencies))
            held, certified = _time_appends(agencies["district"], running, count)
        finally:
            nodes.end()
    for times, what in ((held, "all three hold it"), (certified, "it is certified everywhere")):
        median, worst = statistics.median(times), max(times)
        _say(f"{count} appends, until {what}: median {median:.2f} s, worst {worst:.2f} s")


def _time_appends(owner: Agency, running: list[RunningNode], count: int) -> tuple[list[float], list[float]]:
    held, certified = list[float](), list[float]()
    with HttpClient(owner.url) as client:
        for number in range(count):
            size = _size(running[0], owner, "size") + 1
            start = time.monotonic()
            assert isinstance(post(client, owner, owner.grant(f"clerk {number}")), bytes)
            for times, key in ((held, "size"), (certified, "certified_size")):
                wait_for(lambda k=key, s=size: all(_size(one, owner, k) >= s for one in running), key)
                times.append(time.monotonic() - start)
            time.sleep(0.13)  # so that appends meet the ticks at all places
    return held, certified


def _size(node: RunningNode, owner: Agency, key: str) -> int:
    return next(log[key] for log in node.status()["logs"] if log["origin"] == str(owner.origin))


def rest(count: int, minutes: float) -> None:
    """Measure one node of many while nothing happens."""
    names = tuple(f"agency-{number:02}" for number in range(count))
    with tempfile.TemporaryDirectory() as folder, network_of("one", "rest") as network:
        hosts = {name: network.host("one" if name == names[0] else "rest") for name in names}
        agencies = found_agencies(Path(folder), names, hosts=hosts, **DELIVERED)
        nodes = Nodes(within=lambda one: network.within("one" if one.name == names[0] else "rest"))
        try:
            start = time.monotonic()
            running = _start(nodes, list(agencies.values()))
            _say(f"{count} nodes run after {time.monotonic() - start:.0f} s")
            _settle([running[0], running[-1]], count)
            _say(f"all is certified after {time.monotonic() - start:.0f} s")
            _measure(running[0], network, minutes)
        finally:
            nodes.end()


def _measure(node: RunningNode, network: Network, minutes: float) -> None:
    time.sleep(60)  # the end of the founding's own pauses
    before, bytes_before, start = _cpu_s(node), _carried(network), time.monotonic()
    time.sleep(60 * minutes)
    took = time.monotonic() - start
    share = (_cpu_s(node) - before) / took
    carried = (_carried(network) - bytes_before) / (took / 60)
    _say(
        f"at rest for {minutes:g} min: {100 * share:.2f} % of a core, {carried / 1000:.1f} kB a minute, "
        f"{_memory_mb(node):.0f} MB of memory"
    )


def _start(nodes: Nodes, agencies: list[Agency]) -> list[RunningNode]:
    running: list[RunningNode] = []
    for at in range(0, len(agencies), STARTED_AT_ONCE):
        some = [nodes.start(one, wait=False) for one in agencies[at : at + STARTED_AT_ONCE]]
        for node in some:
            nodes.wait_ready(node)
        running += some
    return running


def _settle(running: list[RunningNode], count: int) -> None:
    """Wait until these nodes show every log certified to its end."""

    def is_settled() -> bool:
        time.sleep(0.5)
        shown = [node.status()["logs"] for node in running]
        return all(
            len(one) == count and all(log["certified_size"] == log["size"] > 1 for log in one)
            for one in shown
        )

    wait_for(is_settled, "all to be certified", SETTLED_S)


def _cpu_s(node: RunningNode) -> float:
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _carried(network: Network) -> int:
    counters = (f"/sys/class/net/eth0/statistics/{way}_bytes" for way in ("rx", "tx"))
    words = [*network.within("one"), "cat", *counters]
    return sum(map(int, subprocess.run(words, capture_output=True, check=True).stdout.split()))


def _memory_mb(node: RunningNode) -> float:
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(what: str, *numbers: str) -> None:
    if what == "append":
        append(int(numbers[0]) if numbers else 20)
    else:
        rest(int(numbers[0]) if numbers else 89, float(numbers[1]) if len(numbers) > 1 else 5)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["append"]))
