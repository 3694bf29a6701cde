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
from ledger.agency_verifier import AgencyVerifier, Wanted
from ledger.authority import SignedCard
from ledger.errors import LedgerError, Malformed, Undecided
from ledger.keys import VerifyMany, verify_many
from ledger.log_verifier import Progress
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
    problems = report.sorted_problems("", [*_name_violations(names), *found])
    agencies = open_agencies(source, ledger_id, rosters, check_signatures, progress)
    for agency in agencies:
        agency.run()
    cards = cards_of(agencies)
    warnings: list[str] = []
    for agency in agencies:
        agency.certify(cards)
        agency.judge(level)
        problems += agency.problems()
        warnings += agency.warnings()
    logs = [log for agency in agencies for log in agency.mains]
    public, private = sum(log.records_public for log in logs), sum(log.records_private for log in logs)
    return Report(
        ledger_id=ledger_id,
        logs=tuple(line for agency in agencies for line in agency.reports()),
        entries=sum(log.state.size for log in logs),
        records=public + private,
        bodies=report.count_bodies(held=public, withheld=private),
        problems=tuple(problems),
        warnings=(*warnings, *_unread(names, rosters, agencies)),
    )


def open_agencies(
    source: Source,
    ledger_id: bytes,
    rosters: list[Roster],
    check_signatures: VerifyMany,
    progress: Progress = quiet,
    wanted: tuple[str, Wanted] | None = None,
) -> list[AgencyVerifier]:
    """Return a verifier for each agency that the roster versions name, in their order.

    ``wanted``: an agency, and the leaf of its log of which a proof speaks.
    """
    names = source.names()
    places: dict[str, set[tuple[int, str]]] = {}
    for path in _paths(names or []):
        if isinstance(path, LogPath):
            places.setdefault(path.agency, set()).add((path.era, path.branch))
    return [
        AgencyVerifier(
            source=source,
            ledger_id=ledger_id,
            agency=agency,
            rosters=rosters,
            check_signatures=check_signatures,
            progress=progress,
            places=None if names is None else places.get(agency, set()),
            wanted=wanted[1] if wanted and wanted[0] == agency else None,
        )
        for agency in dict.fromkeys(name for roster in rosters for name in roster.agencies)
    ]


def cards_of(agencies: Iterable[AgencyVerifier]) -> dict[bytes, SignedCard]:
    """Return the cards that stand in logs that were run, by record hash."""
    logs = [log for agency in agencies for log in agency.logs]
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


def _paths(names: list[str]) -> list[RosterPath | LogPath]:
    """What the names say that are within the grammar."""
    paths = []
    for name in names:
        with suppress(Malformed):
            paths.append(parse_tree_path(name))
    return paths


def _unread(names: list[str], rosters: list[Roster], agencies: list[AgencyVerifier]) -> list[str]:
    """A warning for each file that no verdict rests on, or their number where they are very many."""
    read = {path for agency in agencies for log in agency.logs for path in log.paths_read}
    read |= {path for agency in agencies for path in agency.paths_read}
    for version in range(1, len(rosters) + 2):
        read |= {format_tree_path(RosterPath(version, is_note)) for is_note in (False, True)}
    unread = [name for name in names if name not in read]
    more = [f"{len(unread) - PROBLEMS_MAX} more files were not read"] if len(unread) > PROBLEMS_MAX else []
    return [f"{name[:200]!r} was not read" for name in unread[:PROBLEMS_MAX]] + more
