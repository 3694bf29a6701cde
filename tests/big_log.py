"""A log of many entries on disk, and a process that verifies it: for what memory and time it takes.

python -m tests.big_log build DIR ENTRIES     writes the tree, prints the ledger id
python -m tests.big_log verify DIR LEDGER_ID  prints verdict, entries, peak memory and seconds as JSON
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from ledger import codec
from ledger.entry import DOMAIN, Entry, parse_header
from ledger.errors import Malformed
from ledger.leaf import make_leaf
from ledger.verify import verify
from tests.world import DAY, HOUR, Log, World, seed


class Folder:
    """A static tree in a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        file = self._path / path
        if not file.is_file():
            return None
        if file.stat().st_size > bytes_max:
            raise Malformed(f"{path} is too large")
        return file.read_bytes()[offset:]

    def names(self) -> list[str] | None:
        files = (one for one in self._path.rglob("*") if one.is_file())
        return sorted(one.relative_to(self._path).as_posix() for one in files)


def fill(log: Log, entries: int) -> None:
    """Append private entries of the clerk, judged later: with roots of nothing."""
    clerk = log.key("clerk")
    head = log.state.head
    for number in range(entries):
        fields = [1, log.world.ledger_id, log.agency, clerk.public_key, DAY, 0, 32, seed(str(number))]
        header = parse_header(codec.encode(fields))
        entry = Entry(header=header, signature=clerk.sign(DOMAIN + header.raw))
        leaf = make_leaf(entry, prev=head, received_hour=HOUR + number // 100)
        log.leaves.append(leaf.raw)
        head = leaf.hash
    log.rebuild()


def build(folder: Path, entries: int) -> str:
    """Write the tree of one agency's ledger; return the ledger id."""
    world = World(("sport",))
    fill(world.logs["sport"], entries)
    for name, data in world.tree().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return world.ledger_id.hex()


def measure(folder: Path, ledger_id: str) -> dict[str, object]:
    """Verify the tree; return the outcome and what it took."""
    start = time.perf_counter()
    report = verify(Folder(folder), bytes.fromhex(ledger_id))
    return {
        "verdict": report.verdict,
        "entries": report.entries,
        "seconds": time.perf_counter() - start,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Most memory that this process had; getrusage would also count the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    command, where, argument = sys.argv[1:]
    if command == "build":
        sys.stdout.write(build(Path(where), int(argument)) + "\n")
    else:
        sys.stdout.write(json.dumps(measure(Path(where), argument)) + "\n")
