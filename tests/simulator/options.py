"""What one seed breaks: drawn from the seed, printed in one line, each class of fault able to be left out.

Every concern has a stream of chance of its own (`chance`), so that leaving one class out changes as little of
the others as can be: that is what makes a failing schedule shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FAULTS = {
    "loss": 0.6,
    "delay": 0.5,
    "duplicates": 0.5,
    "partitions": 0.5,
    "crashes": 0.7,
    "torn": 0.5,
    "slow": 0.3,
    "skew": 0.4,
    "liars": 0.35,
    "forks": 0.15,
    "backups": 0.15,
    "stolen": 0.1,
}
"""The classes of fault, and how often a seed has each; some three seeds in a thousand have none."""

_NODES = (3,) * 8 + (4,) * 7 + (5,) * 5 + (6, 6, 7, 9)
NAMES = ("district", "sport", "centre", "navigator", "lyceum", "board", "arts", "chess", "swimming")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One schedule: replayed by the same values."""

    seed: int
    nodes: int
    seconds: int
    """Virtual seconds in which things break; then all is healed and must come to rest."""
    faults: tuple[str, ...]
    events_max: int | None = None
    """Heal after so many events already: a shorter run of the same schedule."""

    def has(self, fault: str) -> bool:
        """Whether this class of fault is on."""
        return fault in self.faults

    @property
    def agencies(self) -> tuple[str, ...]:
        """Names of the agencies."""
        return NAMES[: self.nodes] + tuple(f"agency-{number}" for number in range(len(NAMES), self.nodes))

    def chance(self, *concern: object) -> Random:
        """The stream of chance of one concern."""
        return Random(" ".join(map(str, (self.seed, *concern))))

    @property
    def command(self) -> str:
        """What replays this schedule."""
        words = [f"python -m tests.simulator --seed {self.seed}"]
        drawn = draw(self.seed)
        if self.nodes != drawn.nodes:
            words.append(f"--nodes {self.nodes}")
        if self.seconds != drawn.seconds:
            words.append(f"--seconds {self.seconds}")
        if missing := [fault for fault in drawn.faults if fault not in self.faults]:
            words.append(f"--without {','.join(missing)}")
        if self.events_max is not None:
            words.append(f"--events {self.events_max}")
        return " ".join(words)

    def __str__(self) -> str:
        faults = ", ".join(self.faults) or "nothing broken"
        return f"seed {self.seed}: {self.nodes} nodes, {self.seconds} s, {faults}"


def draw(seed: int) -> Options:
    """Return the schedule of a seed."""
    random = Random(f"{seed} options")
    return Options(
        seed=seed,
        nodes=random.choice(_NODES),
        seconds=random.randint(12, 35),
        faults=tuple(fault for fault, share in FAULTS.items() if random.random() < share),
    )
