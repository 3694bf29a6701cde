"""The offline verifier: a static tree and a ledger id in, a report out.

It folds what other modules judge (``roster``, ``log_verifier`` over ``chain``, ``certify``) and holds no
rule of its own: it may import neither keys nor hash functions. It streams: one bundle of 256 entries is in
memory at a time, and of a whole log only its entry ids. Nothing in the input is believed for its length, and
every file of the tree is either compared with what the leaves give or named in a warning as not read.

It cannot prove that nothing newer exists: it judges what was handed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

from ledger import report, tree
from ledger.authority import SignedCard
from ledger.errors import LedgerError, Malformed, Undecided
from ledger.keys import VerifyMany, verify_many
from ledger.log_verifier import LogVerifier, Progress
from ledger.names import Origin
from ledger.report import PROBLEMS_MAX, Level, Report
from ledger.roster import Roster, check_chain, check_first, check_next, parse_roster, roster_hash
from ledger.rules import Violation, violation
from ledger.tree import LogPath, RosterPath, Source, format_tree_path, parse_tree_path


def quiet(origin: str, done: int, size: int) -> None:
    """No progress shown."""


def verify(
    source: Source,
    ledger_id: bytes,
    *,
    level: Level = "leaf",
    check_signatures: VerifyMany = verify_many,
    progress: Progress = quiet,
) -> Report:
    """Return the report on the tree in ``source`` for the ledger whose roster version 1 hashes to that id.

    ``level`` ``certified`` also asks that each log be certified up to its end. Same input and options, same
    report, whatever ``check_signatures`` runs on.
    """
    names = source.names() or []
    rosters, found = read_rosters(source, ledger_id)
    found += _later_versions(names, rosters) if not found else []
    problems = report.sorted_problems("", [*_name_violations(names), *found, *_later_eras(names)])
    logs = open_logs(source, ledger_id, rosters, check_signatures, progress)
    for log in logs:
        log.run()
    cards = cards_of(logs)
    warnings: list[str] = []
    for log in logs:
        log.certify(cards, level)
        problems += log.problems()
        warnings += log.warnings
    public, private = sum(log.records_public for log in logs), sum(log.records_private for log in logs)
    return Report(
        ledger_id=ledger_id,
        logs=tuple(line for log in logs if (line := log.report()) is not None),
        entries=sum(log.state.size for log in logs),
        records=public + private,
        bodies=report.count_bodies(held=public, withheld=private),
        problems=tuple(problems),
        warnings=(*warnings, *_unread(names, rosters, logs)),
    )


def open_logs(
    source: Source,
    ledger_id: bytes,
    rosters: list[Roster],
    check_signatures: VerifyMany,
    progress: Progress = quiet,
) -> list[LogVerifier]:
    """Return a verifier for each log that the roster versions name, in their order."""
    by_hash = {roster.hash: roster for roster in rosters}
    agencies = dict.fromkeys(name for roster in rosters for name in roster.agencies)
    return [
        LogVerifier(source, ledger_id, Origin(rosters[0].ledger, agency), by_hash, check_signatures, progress)
        for agency in agencies
    ]


def cards_of(logs: Iterable[LogVerifier]) -> dict[bytes, SignedCard]:
    """Return the cards that stand in logs that were run, by record hash."""
    return {placed.hash: placed for log in logs for placed in log.state.authority.cards}


def read_rosters(source: Source, ledger_id: bytes) -> tuple[list[Roster], list[Violation]]:
    """Return the roster versions in hand, each checked from the ledger id on, and what is wrong.

    The list ends before the first version that does not hold, so it is empty when version 1 does not.
    """
    rosters: list[Roster] = []
    while len(rosters) < tree.VERSIONS_MAX:
        version = len(rosters) + 1
        try:
            raw = read_file(source, RosterPath(version, is_note=False))
            signatures = read_file(source, RosterPath(version, is_note=True))
        except Malformed as error:
            return rosters, [violation("tree.limit", f"roster version {version}: {error}")]
        except Undecided as error:
            return rosters, [violation("roster.missing", f"roster version {version}: {error}")]
        if raw is None and signatures is None and version > 1:
            return rosters, []
        if raw is None or signatures is None:
            suffix = "json" if raw is None else "note"
            return rosters, [violation("roster.missing", f"roster/{version}.{suffix} is not in hand")]
        judged = _judge_roster(rosters, raw, signatures, ledger_id)
        if isinstance(judged, Violation):
            return rosters, [judged]
        rosters.append(judged)
    return rosters, []


def _judge_roster(
    rosters: list[Roster], raw: bytes, signatures: bytes, ledger_id: bytes
) -> Roster | Violation:
    """Return the version that follows ``rosters``, or what it breaks."""
    name = f"roster/{len(rosters) + 1}"
    if not rosters and roster_hash(raw) != ledger_id:
        text = f"{name}.json is of ledger {roster_hash(raw).hex()}, not {ledger_id.hex()}"
        return violation("roster.ledger_id", text)
    try:
        roster = parse_roster(raw)
    except Malformed as error:
        return violation("roster.form", f"{name}.json: {error}")
    try:
        if rosters:
            check_chain(rosters, roster)
    except LedgerError as error:
        return violation("roster.chain", f"{name}.json: {error}")
    try:
        if rosters:
            check_next(rosters[-1], roster, signatures)
        else:
            check_first(roster, signatures)
    except LedgerError as error:
        return violation("roster.quorum", f"{name}.note: {error}")
    return roster


def read_file(source: Source, path: RosterPath | LogPath) -> bytes | None:
    """Return a file of the grammar within the bound of its kind, or None if it is not there."""
    return source.read(format_tree_path(path), bytes_max=tree.bytes_max(path))


def _name_violations(names: list[str]) -> list[Violation]:
    """Names that would lead outside the tree, or stand twice."""
    ordered = sorted(names)
    unsafe = [f"{name[:120]!r} leads outside the tree" for name in ordered if is_unsafe_name(name)]
    twice = sorted({name for name, after in pairwise(ordered) if name == after})
    texts = unsafe + [f"{name[:120]!r} stands twice" for name in twice]
    return [violation("tree.name", text) for text in texts[:PROBLEMS_MAX]]


def is_unsafe_name(name: str) -> bool:
    """Whether a file name is absolute, climbs with ``..``, or is none on some system."""
    is_odd = name.startswith("/") or "\\" in name or "\0" in name or ":" in name
    return is_odd or any(part in ("", ".", "..") for part in name.split("/"))


def _later_versions(names: list[str], rosters: list[Roster]) -> list[Violation]:
    """A roster version beyond a gap: what lies between was left out."""
    versions = [path.version for path in _paths(names) if isinstance(path, RosterPath)]
    if max(versions, default=0) <= len(rosters):
        return []
    return [violation("roster.missing", f"roster/{len(rosters) + 1}.json is not in hand, later ones are")]


def _later_eras(names: list[str]) -> list[Violation]:
    """Eras beyond the first: kept and named, not judged yet."""
    logs = {(path.agency, path.era) for path in _paths(names) if isinstance(path, LogPath) and path.era > 1}
    texts = [f"log/{agency}/{era} is of a later era" for agency, era in sorted(logs)]
    return [violation("log.era", text) for text in texts[:PROBLEMS_MAX]]


def _paths(names: list[str]) -> list[RosterPath | LogPath]:
    """What the names say that are within the grammar."""
    paths = []
    for name in names:
        with suppress(Malformed):
            paths.append(parse_tree_path(name))
    return paths


def _unread(names: list[str], rosters: list[Roster], logs: list[LogVerifier]) -> list[str]:
    """A warning for each file that no verdict rests on, or their number where they are very many."""
    read = {path for log in logs for path in log.paths_read}
    for version in range(1, len(rosters) + 2):
        read |= {format_tree_path(RosterPath(version, is_note)) for is_note in (False, True)}
    unread = [name for name in names if name not in read]
    more = [f"{len(unread) - PROBLEMS_MAX} more files were not read"] if len(unread) > PROBLEMS_MAX else []
    return [f"{name[:200]!r} was not read" for name in unread[:PROBLEMS_MAX]] + more
