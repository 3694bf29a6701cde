"""How long a school's whole list takes, end to end: ``python -m tests.benchmark_import``.

20,000 marks of 800 pupils, from the CSV file to the receipts of a real node, beside what the list costs
without the node (``--dry-run --offline``), in one run. The figures are printed; nothing is asserted but that
all is recorded, in one entry for each 4,096 records.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PUPILS, SUBJECTS = 800, 25
ENTRY_RECORDS = 4096


def main() -> None:
    """Run a ledger, enrol, import, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        environment = os.environ | {"PLEDGER_PASSPHRASE_FILE": str(base / "d" / "passphrase")}
        words = [sys.executable, "-m", "cli.main", "demo", "--dir", str(base / "d"), "--records", "30"]
        with subprocess.Popen(
            [*words, "--keep-running", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as demo:
            assert demo.stdout is not None
            json.loads(demo.stdout.readline())
            try:
                _measure(base, environment)
            finally:
                demo.send_signal(signal.SIGINT)


def _measure(base: Path, environment: dict[str, str]) -> None:
    roster, marks = _write_lists(base)
    home = ["--home", str(base / "d" / "district-clerk"), "--json"]
    notice = ["--notice-file", str(base / "d" / "notice.txt"), "--shown-on", "2026-09-01"]
    _timed(environment, "class", "enrol", str(roster), *notice, *home)
    listed = ["import", str(marks), "--kind", "results"]
    read_s, _ = _timed(environment, *listed, "--dry-run", "--offline", *home)
    whole_s, answer = _timed(environment, *listed, "--yes", *home)
    rows = PUPILS * SUBJECTS
    assert answer["recorded"] == rows
    assert len(answer["entries"]) == -(-rows // ENTRY_RECORDS)
    sys.stdout.write(
        f"{rows} rows of {PUPILS} pupils: {whole_s:.1f} s, {rows / whole_s:.0f} rows/s, "
        f"{len(answer['entries'])} entries; {whole_s / read_s:.1f} times reading and judging the list alone\n"
    )


def _write_lists(base: Path) -> tuple[Path, Path]:
    pupils = [f"b-{number:04}" for number in range(PUPILS)]
    roster, marks = base / "roster.csv", base / "marks.csv"
    head = "local_id;name;stage;class_level;entry_type;date;profile"
    lines = [f"{one};Измерьев {one};basic;7;new;2026-09-01;school_only" for one in pupils]
    roster.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    head = "local_id;school_year;term;subject_code;scale;value;result_type"
    lines = [f"{one};2026/2027;q1;S{number:02};ru5;5;term" for one in pupils for number in range(SUBJECTS)]
    marks.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return roster, marks


def _timed(environment: dict[str, str], *words: str) -> tuple[float, dict[str, Any]]:
    """Seconds that a command took as a whole process, and what it answered."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return time.monotonic() - start, answer


if __name__ == "__main__":
    main()
