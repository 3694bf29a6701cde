"""The auditor's side: take everything along in one file, and verify it offline with one fingerprint.

``export`` copies and judges nothing; ``verify`` needs no network (unless it is given a URL) and believes
nobody: the ledger id decides which roster is the right one, the roster which keys, the keys which bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cli import output
from cli.command import command
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32
from ledger import note
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Undecided, Unproven
from ledger.log_verifier import Progress
from ledger.names import Origin
from ledger.report import Level, Report, problem_report, with_problem
from ledger.roster import parse_roster
from ledger.tree import LogPath, RosterPath, Source, parse_tree_path
from ledger.verify import read_file
from ledger.verify import verify as verify_tree
from ledger.verify_proof import is_proof, verify_proof, verify_with_key
from node import dossier
from node.http_client import HttpClient
from node.parallel import verify_many
from node.sources import HttpSource, ZipSource, branches_in, open_path

PROBLEMS_SHOWN = 12
"""Lines of a report shown to a person; ``--json`` has all of them."""
PROOF_BYTES_MAX = 1024 * 1024
POLICY_BYTES_MAX = 1024 * 1024


class _Chosen:
    """Several sources as one: each log from the source that has most of it."""

    def __init__(self, sources: Sequence[Source], by_agency: dict[str, Source]) -> None:
        self._first = sources[0]
        self._by_agency = by_agency

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        parsed = parse_tree_path(path)
        source = self._by_agency.get(parsed.agency) if isinstance(parsed, LogPath) else self._first
        return None if source is None else source.read(path, offset, bytes_max=bytes_max)

    def names(self) -> list[str] | None:
        return None

    def branches(self, origin: Origin) -> list[str]:
        """The branches of an era beside the main one, as its source names them."""
        source = self._by_agency.get(origin.agency)
        return [] if source is None else branches_in(source, origin)


@command("export", "pledger export --from http://127.0.0.1:8700 -o dossier.zip")
@click.option(
    "--from", "urls", multiple=True, required=True, help="A node (or directory, or dossier) to copy."
)
@click.option("-o", "target", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--ledger", "ledger_id", type=HEX32, help="The ledger id, to refuse any other ledger.")
def export(urls: Sequence[str], target: Path, ledger_id: bytes | None) -> None:
    """Copy every log of a ledger into one file (a dossier) that anyone can verify offline."""
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(open_source(url)) for url in urls]
        raw = read_file(sources[0], RosterPath(1, is_note=False))
        if raw is None:
            raise Undecided(f"{urls[0]} has no roster/1.json: it is no ledger's node")
        roster = parse_roster(raw)
        by_agency = _choose(sources, roster.ledger, list(roster.agencies))
        chosen = _Chosen(sources, by_agency)
        with output.progress() as step:
            members = _counted(dossier.members_of(chosen, ledger_id or roster.hash, chosen.branches), step)
            count = dossier.write(target, members)
    missing = [name for name in roster.agencies if name not in by_agency]
    output.show(
        {"dossier": str(target), "ledger_id": roster.hash.hex(), "files": count, "missing": missing},
        f"wrote {target}: {count} files of ledger {roster.ledger}",
        *(f"  without the log of {name}: nobody asked has it" for name in missing),
        f"  verify it anywhere: pledger verify {target} --ledger {roster.hash.hex()}",
    )
    if missing:
        output.finish(output.INCOMPLETE)


@command(
    "verify",
    "pledger verify dossier.zip --ledger 3f9c...",
    "pledger verify http://127.0.0.1:8700 --ledger 3f9c... --level certified",
    "pledger verify award.tlog-proof --keys dossier.zip --ledger 3f9c...",
)
@click.argument("target", metavar="PATH|URL|PROOF")
@click.option("--ledger", "ledger_id", type=HEX32, required=True, help="The ledger id (64 hex digits).")
@click.option("--keys", help="For a proof: a dossier, directory, URL or tlog-policy that has the log's key.")
@click.option("--level", type=click.Choice(["leaf", "certified"]), default="leaf", show_default=True)
def verify(target: str, ledger_id: bytes, keys: str | None, level: Level) -> None:
    """Verify a dossier, a directory, a node or a single proof, from the ledger id on."""
    with output.progress() as step:
        if not _is_url(target) and is_proof(_head(Path(target))):
            report = _verify_proof(Path(target), ledger_id, keys, level)
        else:
            report = _verify_tree(target, ledger_id, level, step)
    _show(target, report)
    output.finish({"verified": output.DONE, "failed": output.FAILED}.get(report.verdict, output.INCOMPLETE))


def _verify_tree(target: str, ledger_id: bytes, level: Level, step: Progress) -> Report:
    try:
        with open_source(target) as source:
            report = verify_tree(source, ledger_id, level=level, check_signatures=verify_many, progress=step)
    except Malformed as error:
        return problem_report(ledger_id, "zip.layout", str(error))
    for name in sorted(source.damaged) if isinstance(source, ZipSource) else ():
        report = with_problem(report, "zip.layout", f"{name} does not have its checksum")
    return report


def _verify_proof(path: Path, ledger_id: bytes, keys: str | None, level: Level) -> Report:
    if path.stat().st_size > PROOF_BYTES_MAX:
        raise Malformed(f"{path}: a proof has at most {PROOF_BYTES_MAX} bytes")
    proof = path.read_bytes()
    if keys is None:
        raise Usage("a proof does not carry the log's key: add --keys with a dossier, a URL or a tlog-policy")
    if not _is_url(keys) and _is_policy(Path(keys)):
        return verify_with_key(proof, ledger_id, Path(keys).read_text(), level)
    with open_source(keys) as source:
        return verify_proof(proof, source, ledger_id, verify_many, level)


def _show(target: str, report: Report) -> None:
    logs = [[log.origin, log.size, log.certified_size, log.root.hex()] for log in report.logs]
    problems = [
        [
            one.violation.rule.name,
            one.log or "-",
            "" if one.violation.index is None else one.violation.index,
            one.violation.detail,
            one.fault,
        ]
        for one in report.problems[:PROBLEMS_SHOWN]
    ]
    bodies = ", ".join(f"{count} {state}" for state, count in report.bodies.items() if count)
    more = len(report.problems) - len(problems)
    parts: list[str | Table] = [f"{report.verdict.upper()}: {target}"]
    if logs:
        parts.append(Table(columns=["log", "entries", "certified", "root"], rows=logs))
    parts.append(
        f"{report.entries} entries, {report.records} records committed to; bodies: {bodies or 'none'}"
    )
    if problems:
        parts.append(Table(columns=["problem", "log", "index", "what", "whose fault"], rows=problems))
    if more > 0:
        parts.append(f"and {more} more problems (--json lists them)")
    parts += [f"note: {warning}" for warning in report.warnings[:PROBLEMS_SHOWN]]
    if report.verdict == "verified":
        parts.append("This cannot prove that nothing newer exists.")
    output.show(report.value(), *parts)


@contextlib.contextmanager
def open_source(place: str) -> Iterator[Source]:
    """Yield the static tree at a URL or path."""
    if _is_url(place):
        with HttpClient(place) as client:
            yield HttpSource(client)
    else:
        yield open_path(Path(place))


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        return stream.read(64)


def _is_policy(path: Path) -> bool:
    head = _head(path)
    return path.is_file() and not head.startswith(b"PK") and path.stat().st_size <= POLICY_BYTES_MAX


def _choose(sources: Sequence[Source], ledger: str, agencies: Sequence[str]) -> dict[str, Source]:
    """For each agency the source with the newest checkpoint; `Unproven` if two contradict each other.

    Only its newest era is compared: what forked before is in the dossier as evidence.
    """
    chosen: dict[str, Source] = {}
    for agency in agencies:
        seen: dict[int, Checkpoint] = {}
        newest = max(dossier.eras_of(source, Origin(ledger, agency))[-1].era for source in sources)
        for source in sources:
            checkpoint = _checkpoint(source, Origin(ledger, agency, newest))
            if checkpoint is None:
                continue
            known = seen.setdefault(checkpoint.size, checkpoint)
            if known.root != checkpoint.root:
                raise Unproven(
                    f"{checkpoint.origin}: two checkpoints of size {checkpoint.size}, with roots "
                    f"{known.root.hex()} and {checkpoint.root.hex()}: the log has forked; export each alone"
                )
            if checkpoint.size == max(seen) and known is checkpoint:
                chosen[agency] = source
    return chosen


def _counted(members: Iterator[tuple[str, bytes]], step: Progress) -> Iterator[tuple[str, bytes]]:
    """The same members, counted on the progress line (nobody knows their number beforehand)."""
    for number, member in enumerate(members, start=1):
        step("files", number, number)
        yield member


def _checkpoint(source: Source, origin: Origin) -> Checkpoint | None:
    raw = read_file(source, LogPath(origin.agency, origin.era, "", "checkpoint"))
    return None if raw is None else parse_checkpoint(note.parse_note(raw).text)


COMMANDS = [export, verify]
