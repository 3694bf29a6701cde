"""What a durable append costs, against a bare insert into SQLite (WAL, FULL) on the same disk in one run.

    python -m tests.benchmark_append [FOLDER]

Figures of a machine say little; the ratios to the bare insert carry over. Rounds of all ways are interleaved,
so that a disk that is busy for a while is so for all of them; medians are shown.
"""

from __future__ import annotations

import itertools
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from node import handlers
from node.submission import Submission
from node.wiring import Node
from tests.agencies import Agency, found_agencies, mark, records_of
from tests.world import HOUR

ROUNDS = 7
SINGLES = 60
"""Appends one by one in a round."""
BATCH = 256
LIST_RECORDS = 500
"""Records of one signed class list."""
PUPILS = 1024
"""So that nobody has more than a dozen records: each that a pupil has already costs some 60 us more."""
ROW_BYTES = 400
"""What a leaf of one private entry takes."""


def main(folder: Path) -> None:
    agency = found_agencies(folder)["district"]
    node = agency.node()
    bare = _open_bare(folder / "bare.db")
    enrolled = [one for number in range(PUPILS) for one in records_of(f"pupil {number}")]
    _append(node, [agency.seal(agency.grant())], [agency.seal(agency.entry(enrolled, number=1))])
    numbers = itertools.count(1000)
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        singles = [agency.seal(_single(agency, numbers)) for _ in range(SINGLES)]
        batch = [agency.seal(_single(agency, numbers)) for _ in range(BATCH)]
        class_list = agency.seal(_list(agency, numbers))
        for name, count, work in (
            ("bare insert, one by one", SINGLES, partial(_insert, bare, SINGLES, 1)),
            ("append, one by one", SINGLES, partial(_append, node, *([one] for one in singles))),
            (f"bare insert, {BATCH} a commit", BATCH, partial(_insert, bare, 1, BATCH)),
            (f"append, {BATCH} a commit", BATCH, partial(_append, node, batch)),
            (f"record, one list of {LIST_RECORDS}", LIST_RECORDS, partial(_append, node, [class_list])),
        ):
            times.setdefault(name, []).append(_timed(work) / count)
    _tell({name: statistics.median(found) for name, found in times.items()})
    node.close()


def _single(agency: Agency, numbers: Iterator[int]) -> Submission:
    number = next(numbers)
    return agency.entry([mark(f"pupil {number % PUPILS}", f"s{number}", number=number)], number=number)


def _list(agency: Agency, numbers: Iterator[int]) -> Submission:
    chosen = list(itertools.islice(numbers, LIST_RECORDS))
    marks = [mark(f"pupil {number % PUPILS}", f"s{number}", number=number) for number in chosen]
    return agency.entry(marks, number=chosen[0])


def _append(node: Node, *commits: list[bytes]) -> None:
    for bodies in commits:
        answers = handlers.answer_submissions(node, bodies, HOUR)
        assert all(one.status == 200 for one in answers), answers


def _open_bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE leaf (id INTEGER PRIMARY KEY, leaf BLOB)")
    return connection


def _insert(connection: sqlite3.Connection, commits: int, rows: int) -> None:
    for _ in range(commits):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO leaf (leaf) VALUES (?)", [(bytes(ROW_BYTES),)] * rows)
        connection.execute("COMMIT")


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _tell(medians: dict[str, float]) -> None:
    unit = medians["bare insert, one by one"]
    for name, seconds in medians.items():
        sys.stdout.write(f"{name:32} {seconds * 1e6:9.0f} us   {seconds / unit:6.2f} bare inserts\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        main(Path(made))
