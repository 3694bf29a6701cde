"""The demonstration's second act: a node restored from a backup is forced to go on, and forks its own log.

It is caught as soon as the others meet it; the log is mended by a new era, signed with the root key, and no
entry is lost: the dossier of the whole story verifies as certified. By the commands that anybody has.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cli import demo_lists
from cli.demo_lists import SCHOOLS
from cli.demo_run import DemoRun

FORKER = SCHOOLS[0]
"""Whose node is restored."""
READY_TIMEOUT_S = 30
MEET_TIMEOUT_S = 60
"""The others notice within seconds; a machine under load may take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkStory:
    """What came of it, as the demonstration's JSON tells it."""

    detected: bool
    evidence_bytes: int
    reconciled: bool
    entries_before: int
    """Different entries on both branches together."""
    entries_after: int
    """Entries of the mended log, its eras end to end."""
    certified: bool

    @property
    def value(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A fork that was caught, and the era that mends it."""

    evidence_bytes: int
    entries_before: int
    plan: dict[str, Any]


def fork_and_mend(run: DemoRun) -> Mended:
    """Restore a backup by force, let it fork, catch it, and open a new era; the nodes run afterwards."""
    folder, home = run.agency_directory(FORKER.agency), run.directory / f"{FORKER.agency}-clerk"
    backup, other_home = run.directory / "backup", run.directory / f"{FORKER.agency}-clerk-2"
    shutil.copytree(home, other_home)
    run.stop_node(FORKER.agency)
    shutil.copytree(folder / "data", backup)
    _start(run)
    size = _append(run, home, "2026-11-16")
    others = [one for one in run.urls if one != FORKER.agency]
    run.wait(MEET_TIMEOUT_S, "the copies of the new entry", lambda: _certified(run, others) >= size)
    run.say(f"{FORKER.agency}: one more record, which a quorum has cosigned")
    run.stop_nodes()
    shutil.rmtree(folder / "data")
    backup.rename(folder / "data")
    _start(run, "--alone")
    _append(run, other_home, "2026-11-17")
    run.say(f"{FORKER.agency}: restored from the backup and forced to go on: its log forks")
    return _caught(run, others)


def _caught(run: DemoRun, others: list[str]) -> Mended:
    origin = f"{run.status(FORKER.agency)['origin']}"
    for one in others:
        run.start_node(one)
    run.wait(
        MEET_TIMEOUT_S, "evidence at each node", lambda: all(_is_proven(run, one, origin) for one in run.urls)
    )
    evidence, ledger = run.directory / "district.fork", run.ledger_id
    exported = run.pledger("forks export {} --url {} -o {}", FORKER.agency, run.urls[others[0]], evidence)
    checked = run.pledger(
        "forks check {} --keys {} --ledger {}", evidence, run.agency_directory(others[1]), ledger
    )
    run.say(
        f"caught by {others[0]}: {checked['verdict']} with {exported['bytes']} bytes of evidence, "
        f"{checked['kind']} at index {checked['index']}; no node goes on in {origin}"
    )
    return _mend(run, exported["bytes"])


def _mend(run: DemoRun, evidence_bytes: int) -> Mended:
    """Plan beside the node, sign where the root key lies, put it back, start the node again."""
    folder = run.agency_directory(FORKER.agency)
    draft, entry = run.directory / "era.draft", run.directory / "era.entry"
    plan = run.pledger("era plan --dir {} -o {}", folder, draft)
    run.pledger("era sign {} --root-key {} -o {}", draft, folder / "keys" / "root.key", entry)
    run.pledger("era open {} --dir {}", entry, folder)
    run.stop_node(FORKER.agency)
    run.start_node(FORKER.agency)
    run.wait(
        READY_TIMEOUT_S, "the new era", lambda: run.status(FORKER.agency)["era"] == plan["kept"]["era"] + 1
    )
    run.say(
        f"{plan['origin']} opened: {plan['kept']['size']} entries kept, {len(plan['carried'])} carried, "
        f"{len(plan['set_aside'])} set aside"
    )
    branches = [one for one in plan["branches"] if one["era"] == plan["kept"]["era"]]
    parted = min(one["parts_at"] for one in branches)
    before = parted + sum(one["size"] - parted for one in branches)
    return Mended(evidence_bytes=evidence_bytes, entries_before=before, plan=plan)


def tell(mended: Mended, size: int, certified: bool) -> ForkStory:
    """Return the story; ``size`` is that of the new era, ``certified`` what the verifier said."""
    return ForkStory(
        detected=mended.evidence_bytes > 0,
        evidence_bytes=mended.evidence_bytes,
        reconciled=size > 0,
        entries_before=mended.entries_before,
        entries_after=int(mended.plan["kept"]["size"]) + size,
        certified=certified,
    )


def _start(run: DemoRun, *words: str) -> None:
    run.start_node(FORKER.agency, *words)
    run.wait(
        READY_TIMEOUT_S,
        f"the node of {FORKER.agency}",
        lambda: bool(run.status(FORKER.agency)["is_sequencing"]),
    )


def _append(run: DemoRun, home: Path, date: str) -> int:
    """Append one record; return the size of the log with it."""
    kind, fields = FORKER.single
    pupil = demo_lists.first_pupil(FORKER)
    changed = [f"date={date}" if one.startswith("date=") else one for one in fields]
    appended = run.pledger("append {} {} --pupil {} --home {}", kind, changed, pupil, home)
    run.records += 1
    return int(appended["entries"][-1]["index"]) + 1


def _certified(run: DemoRun, agencies: list[str]) -> int:
    """How many entries of the forker's log each of these holds certified at least."""
    logs = [log for one in agencies for log in run.status(one)["logs"]]
    return min(int(log["certified_size"]) for log in logs if log["origin"].split("/")[1] == FORKER.agency)


def _is_proven(run: DemoRun, agency: str, origin: str) -> bool:
    """Whether a node has evidence of the fork, and both branches."""
    forks = [log["fork"] for log in run.status(agency)["logs"] if log["origin"] == origin]
    return any(fork and fork["is_proven"] and fork["branches"] for fork in forks)
