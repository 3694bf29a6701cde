"""``pledger demo``: the whole path once, with real processes, as a newcomer would walk it.

It founds a ledger of three agencies, runs their nodes, enrols pupils, imports lists, appends by hand, waits
until every node holds every log and a quorum has cosigned it; then one node forks its own log and mends it
(``demo_fork``). A dossier of the whole story is exported and verified at the level certified, and one changed
byte is shown. All of it through the commands that anybody has; what they were is kept in ``commands.txt``.
"""

from __future__ import annotations

import contextlib
import csv
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from cli import demo_fork, demo_lists, demo_run, output
from cli.command import command
from cli.demo_fork import ForkStory
from cli.demo_lists import SCHOOLS, School
from cli.demo_run import DemoRun
from cli.failures import Usage
from cli.output import Table

LEDGER = "demo"
RECORDS_DEFAULT = 272
"""About what the shipped sample lists hold."""
RECORDS_MIN, RECORDS_MAX = 30, 200_000
START_TIMEOUT_S = 30
CERTIFY_TIMEOUT_S = 120
LEVEL = "certified"
"""At which the dossier is verified: a quorum holds each log up to its end."""
NOTICE = "What is recorded about your child, why, for how long, and how to say no.\n"
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@command("demo", "pledger demo", "pledger demo --dir /tmp/demo --records 300 --json")
@click.option("--dir", "directory", type=_DIRECTORY, help="Where everything is put: a new directory.")
@click.option(
    "--records",
    type=click.IntRange(RECORDS_MIN, RECORDS_MAX),
    default=RECORDS_DEFAULT,
    show_default=True,
    help="About how many records, over the three logs.",
)
@click.option("--keep-running", is_flag=True, help="Leave the nodes running until Ctrl-C.")
def demo(directory: Path | None, records: int, keep_running: bool) -> None:
    """Found a ledger of three agencies, fill it, and verify it offline: everything once, for real."""
    target = (directory or Path(tempfile.mkdtemp(prefix="pledger-demo-"))).absolute()
    if target.exists() and any(target.iterdir()):
        raise Usage(f"{target} is not empty: give a new directory")
    target.mkdir(parents=True, exist_ok=True)
    run = demo_run.begin(target)
    with demo_run.terminable():
        try:
            _found(run)
            _start_nodes(run)
            groups = demo_lists.plan(records)
            filled = {school.agency: _fill(run, school, groups) for school in SCHOOLS}
            _wait_until_certified(run, filled)
            mended = demo_fork.fork_and_mend(run)
            logs = _wait_until_certified(run, {})
            dossier, verdict = _export(run)
            tampered = _tamper(run, dossier)
            story = demo_fork.tell(mended, logs[demo_fork.FORKER.agency]["size"], verdict == "verified")
            _show(run, dossier, logs, tampered, story, keep_running=keep_running)
            if keep_running:
                run.wait_for_interrupt()
        finally:
            run.stop_nodes()


def _found(run: DemoRun) -> None:
    """Agencies, roster, signatures, openings."""
    ports = zip(SCHOOLS, _free_ports(), strict=True)
    run.urls = {school.agency: f"http://127.0.0.1:{port}" for school, port in ports}
    folders = {school.agency: run.agency_directory(school.agency) for school in SCHOOLS}
    for school in SCHOOLS:
        run.say(f"make agency {school.agency} ({school.title})")
        url = run.urls[school.agency]
        run.pledger(
            "agency new {} --ledger {} --url {} --dir {}", school.agency, LEDGER, url, folders[school.agency]
        )
    roster = run.directory / "roster.json"
    public = [folder / "agency.json" for folder in folders.values()]
    run.ledger_id = run.pledger("roster draft {} -o {}", public, roster)["ledger_id"]
    signatures = [run.directory / f"{agency}.sig" for agency in folders]
    for folder, signature in zip(folders.values(), signatures, strict=True):
        run.pledger("roster sign {} --dir {} -o {}", roster, folder, signature)
    for agency, folder in folders.items():
        others = [f"--peer={name}={url}" for name, url in run.urls.items() if name != agency]
        run.pledger("roster finish {} {} {} --dir {}", roster, signatures, others, folder)
    (run.directory / "ledger-id").write_text(run.ledger_id + "\n")
    run.say(f"founded ledger {LEDGER}: id {run.ledger_id}")


def _free_ports() -> list[int]:
    """Ports that are free now; all are held until the last is found, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in SCHOOLS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start_nodes(run: DemoRun) -> None:
    for agency in run.urls:
        run.start_node(agency)

    def is_ready(agency: str) -> bool:
        status = run.status(agency)
        return bool(status["size"]) and bool(status["is_sequencing"])

    for agency, url in run.urls.items():
        run.wait(START_TIMEOUT_S, f"the node of {agency}", lambda agency=agency: is_ready(agency))  # type: ignore[misc]
        run.say(f"the node of {agency} runs at {url} (process {run.nodes[agency].pid})")


def _fill(run: DemoRun, school: School, groups: list[float]) -> int:
    """A clerk with a key, a class list, lists, and one record by hand; return the log's size after it."""
    home, folder = run.directory / f"{school.agency}-clerk", run.agency_directory(school.agency)
    made = run.pledger(
        "staff key --node {} --ledger {} --unit {} --home {}",
        run.urls[school.agency],
        run.ledger_id,
        school.unit,
        home,
    )
    run.pledger(
        "staff grant {} --role clerk --unit {} --kinds all --from {} --until {} --agency-dir {}",
        made["key"],
        school.unit,
        "2026-09-01",
        "2027-08-31",
        folder,
    )
    files = _write_lists(run, school, groups)
    notice = run.directory / "notice.txt"
    notice.write_text(NOTICE)
    run.pledger(
        "class enrol {} --notice-file {} --shown-on 2026-09-01 --home {}",
        files[school.roster][0],
        notice,
        home,
    )
    pupils = files[school.roster][1]
    run.records += demo_lists.RECORDS_PER_PUPIL * pupils
    run.say(f"{school.agency}: enrolled {pupils} pupils, each with a notice to the family")
    for kind, name in school.lists.items():
        path, rows = files[name]
        if rows:
            run.pledger("import {} --kind {} --yes --home {}", path, kind, home)
            run.records += rows
            run.say(f"{school.agency}: imported {rows} of {kind} from {name}")
    kind, fields = school.single
    pupil = demo_lists.first_pupil(school)
    appended = run.pledger("append {} {} --pupil {} --home {}", kind, list(fields), pupil, home)
    run.records += 1
    run.say(f"{school.agency}: appended one {kind} by hand")
    return int(appended["entries"][-1]["index"]) + 1


def _write_lists(run: DemoRun, school: School, groups: list[float]) -> dict[str, tuple[Path, int]]:
    """Write the lists of a school; return, by name, where each is and how many rows it has."""
    folder = run.directory / "lists" / school.agency
    folder.mkdir(parents=True)
    written = {}
    for name, rows in demo_lists.cut(school, groups).items():
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter=";").writerows(rows)
        written[name] = (folder / name, len(rows) - 1)
    return written


def _wait_until_certified(run: DemoRun, filled: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Wait until every node shows every log whole, up to these sizes or beyond, and certified to its end.

    Return the line of each agency's newest era: the desks pinned each other's cards in between.
    """
    newest: dict[str, dict[str, Any]] = {}

    def is_certified() -> bool:
        shown = [_newest(run.status(agency)["logs"]) for agency in run.urls]
        newest.update(shown[0])
        ends = {agency: (log["origin"], log["size"]) for agency, log in newest.items()}
        return all(ends[agency][1] >= size for agency, size in filled.items()) and all(
            (log["origin"], log["certified_size"]) == (log["origin"], log["size"]) == ends.get(agency)
            for logs in shown
            for agency, log in logs.items()
        )

    run.wait(CERTIFY_TIMEOUT_S, "the copies and their cosignatures", is_certified)
    run.say("each node holds all three logs, each cosigned by a quorum up to its end")
    return newest


def _newest(logs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest era of each agency, of what a node shows."""
    in_order = sorted(logs, key=lambda log: int(log["origin"].split("/")[2]))
    return {log["origin"].split("/")[1]: log for log in in_order}


def _export(run: DemoRun) -> tuple[Path, str]:
    """Export the whole story and verify it; return the dossier and the verdict."""
    dossier = run.directory / "dossier.zip"
    sources = [f"--from={url}" for url in run.urls.values()]
    run.pledger("export {} --ledger {} -o {}", sources, run.ledger_id, dossier)
    run.say(f"exported {dossier} ({dossier.stat().st_size} bytes)")
    report = run.pledger("verify {} --ledger {} --level {}", dossier, run.ledger_id, LEVEL)
    run.say(
        f"verified offline at level {LEVEL}: {report['entries']} entries, {report['records']} records "
        "committed to"
    )
    return dossier, str(report["verdict"])


def _tamper(run: DemoRun, dossier: Path) -> str:
    """Change one byte of an entry in a copy; return how the verifier names it."""
    data = bytearray(dossier.read_bytes())
    name = f"log/{SCHOOLS[0].agency}/1/tile/entries/000".encode()
    place = data.index(name) + 2000
    data[place] ^= 1
    copy = run.directory / "tampered.zip"
    copy.write_bytes(data)
    report = run.pledger("verify {} --ledger {}", copy, run.ledger_id, codes=(output.FAILED,))
    first = report["problems"][0]
    text = f"{first['code']} in {first['log']} at index {first['index']}: {first['text']}"
    run.say(f"byte {place} flipped in a copy: {report['verdict']}: {text}")
    return text


def _show(
    run: DemoRun,
    dossier: Path,
    logs: dict[str, dict[str, Any]],
    tampered: str,
    story: ForkStory,
    *,
    keep_running: bool,
) -> None:
    seconds = round(time.monotonic() - run.start, 1)
    agencies = [
        {"id": agency, "url": url, "origin": logs[agency]["origin"], "size": logs[agency]["size"]}
        for agency, url in run.urls.items()
    ]
    table = [[one["id"], one["url"], one["size"]] for one in agencies]
    value = {
        "ledger_id": run.ledger_id,
        "dossier": str(dossier),
        "agencies": agencies,
        "node_dirs": [str(run.agency_directory(agency)) for agency in run.urls],
        "records": run.records,
        "level": LEVEL,
        "fork": story.value,
        "seconds": seconds,
    }
    with_passphrase = f"PLEDGER_PASSPHRASE_FILE={run.directory}/passphrase pledger"
    output.show(
        value,
        f"\nThree agencies recorded {run.records} records in {seconds} s, and nobody had to trust anybody.",
        Table(columns=["agency", "node", "entries"], rows=table),
        f"One node was restored and forked: {story.evidence_bytes} bytes proved its fork, and no entry "
        f"was lost: {story.entries_before} on both branches, {story.entries_after} in the mended log.",
        f"One flipped byte was named: {tampered}",
        f"Everything is in {run.directory}: dossier.zip, ledger-id, commands.txt, a directory an agency.",
        "Try next:",
        f"  pledger verify {dossier} --ledger {run.ledger_id} --level {LEVEL}",
        f"  {with_passphrase} outbox list --home {run.directory}/district-clerk",
        f"  {with_passphrase} node run --alone --dir {run.directory}/district",
        *(["The nodes keep running; Ctrl-C ends them."] if keep_running else []),
    )


COMMANDS = [demo]
