"""A network of this machine's own: a namespace for each agency, all on one bridge, and iptables to break it.

The bridge has a namespace too, so that nothing of the machine's own network is changed but one address on
one virtual link, by which the test reaches everybody. What is cut or lost is cut in the namespace of whoever
would have received it, between agencies only: the test itself always sees.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

NUMBERS = 250
"""Networks at once on one machine: 10.213.<number>.0/24 each."""
TEST_HOST = 254
"""The test's own address in the network."""


class Unusable(Exception):
    """This machine does not let us make networks; the text says why."""


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise Unusable(f"`{' '.join(words)}`: {done.stderr.strip() or done.returncode}")


@dataclass(frozen=True)
class Network:
    """The namespaces, by agency."""

    number: int
    agencies: Sequence[str]

    def host(self, agency: str) -> str:
        """An agency's address."""
        return f"10.213.{self.number}.{1 + self.agencies.index(agency)}"

    def namespace(self, agency: str) -> str:
        """Its namespace."""
        return f"pledger{self.number}-{agency}"

    def within(self, agency: str) -> tuple[str, ...]:
        """The words before a command that is to run there."""
        return ("ip", "netns", "exec", self.namespace(agency))

    def refuse(self, receiver: str, sender: str, *match: str) -> None:
        """Drop what ``sender`` sends to ``receiver``; with iptables' words for a ``match``, only that."""
        self._iptables(receiver, "-A", "INPUT", "-s", self.host(sender), *match, "-j", "DROP")

    def cut_off(self, agency: str) -> None:
        """Let nothing pass between one agency and the others."""
        for other in self.agencies:
            if other != agency:
                self.refuse(agency, other)
                self.refuse(other, agency)

    def lose(self, share: float) -> None:
        """Lose this share of the packets between any two agencies."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        for receiver in self.agencies:
            for sender in self.agencies:
                if sender != receiver:
                    self.refuse(receiver, sender, *chance)

    def heal(self) -> None:
        """Let everything pass again."""
        for agency in self.agencies:
            self._iptables(agency, "-F", "INPUT")

    def build(self) -> None:
        """Make the namespaces and connect them; raise `Unusable` if the machine does not let us."""
        switch = self.namespace("switch")
        _run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge", "up")
        for place, agency in enumerate(self.agencies):
            space = self.namespace(agency)
            _run("ip", "netns", "add", space)
            port = ("peer", "name", f"port{place}", "netns", switch)
            _run("ip", "link", "add", "eth0", "netns", space, "type", "veth", *port)
            self._plug(f"port{place}")
            _run("ip", "-n", space, "address", "add", f"{self.host(agency)}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "test", "netns", switch)
        self._plug("test")
        _run("ip", "address", "add", f"10.213.{self.number}.{TEST_HOST}/24", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")

    def destroy(self) -> None:
        """Take everything away, as far as it is there: links go with their namespaces."""
        with contextlib.suppress(Unusable):  # at once; the kernel takes its time with those of a namespace
            _run("ip", "link", "delete", self._link)
        for name in (*self.agencies, "switch"):
            with contextlib.suppress(Unusable):
                _run("ip", "netns", "delete", self.namespace(name))

    @property
    def _link(self) -> str:
        return f"pledger{self.number}"

    def _plug(self, port: str) -> None:
        _run("ip", "-n", self.namespace("switch"), "link", "set", port, "master", "bridge", "up")

    def _iptables(self, agency: str, *words: str) -> None:
        _run(*self.within(agency), "iptables", "-w", *words)


def _claim(agencies: Sequence[str]) -> Network:
    """A network whose number nobody else has: making its first namespace decides that."""
    for turn in range(NUMBERS):
        network = Network((os.getpid() + turn) % NUMBERS, agencies)
        try:
            _run("ip", "netns", "add", network.namespace("switch"))
        except Unusable as error:
            if "exists" not in str(error):
                raise
        else:
            return network
    raise Unusable(f"{NUMBERS} networks are there: `ip netns list`")


@contextlib.contextmanager
def network_of(*agencies: str) -> Iterator[Network]:
    """A network for these agencies, taken away whatever happens; skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("namespaces and iptables are root's")
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed (Debian: iproute2, iptables)")
    try:
        network = _claim(agencies)
    except Unusable as error:
        pytest.skip(f"namespaces may not be made here: {error}")
    try:
        try:
            network.build()
            network.lose(0.0)  # whether iptables works, and knows chance
            network.heal()
        except Unusable as error:
            pytest.skip(f"networks may not be made here: {error}")
        yield network
    finally:
        network.destroy()
