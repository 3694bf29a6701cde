"""The roster versions of an agency directory: read at the start, and grown while the node runs.

A later version comes from a peer like anything else: it is taken only if it follows those in hand and enough
root keys signed it, and is on disk before anything is judged by it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ledger.chain import ChainState
from ledger.errors import Conflict, Malformed
from ledger.roster import ROSTER_BYTES_MAX, Roster, check_chain, check_next, parse_roster, roster_hash
from ledger.verify import read_rosters
from node.config import FILE_NAME, Config
from node.durable_file import read_file, replace_file
from node.sources import DirectorySource

ROSTER_DIRECTORY = "roster"
PUBLIC_MODE = 0o644

Pair = tuple[bytes, bytes]
"""A version's exact bytes and its signatures."""


def load_rosters(config: Config) -> tuple[list[Roster], dict[int, Pair]]:
    """Return the roster versions of an agency directory, and their bytes and signatures by version."""
    directory = config.directory / ROSTER_DIRECTORY
    first = directory / "1.json"
    if not first.is_file():
        raise Malformed(f"{first} is missing: finish the roster first (`pledger roster finish`)")
    rosters, found = read_rosters(_Pairs(config.directory), roster_hash(first.read_bytes()))
    if found:
        raise Malformed(f"{directory}: {found[0]}")
    _check_config(config, rosters)
    pairs = {one.version: (one.raw, (directory / f"{one.version}.note").read_bytes()) for one in rosters}
    return rosters, pairs


def unknown_peers(config: Config, rosters: Sequence[Roster]) -> dict[str, str]:
    """Return the agencies under ``[peers]`` that no version names, each with the name it is like, or ""."""
    named = list(dict.fromkeys(name for roster in rosters for name in roster.agencies))
    return {
        name: next(iter(difflib.get_close_matches(name, named, n=1)), "")
        for name in config.peers
        if name not in named
    }


def check_following(rosters: Sequence[Roster], pair: Pair) -> Roster:
    """Return the version that follows ``rosters``; raise `Malformed` or `Unproven` if it does not."""
    roster = parse_roster(pair[0])
    check_chain(rosters, roster)
    check_next(rosters[-1], roster, pair[1])
    return roster


def save_roster(directory: Path, version: int, pair: Pair) -> None:
    """Write a version into an agency directory, durable on return; raise `StoreError` from the disk.

    The signatures first: alone, as a power cut may leave them, they count for nothing (`load_rosters`).
    """
    folder = directory / ROSTER_DIRECTORY
    roster = folder / f"{version}.json"
    if roster.exists() and read_file(roster, bytes_max=ROSTER_BYTES_MAX) != pair[0]:
        raise Conflict(f"{roster} is another version {version} than the one that peers have: compare the two")
    replace_file(folder / f"{version}.note", pair[1], mode=PUBLIC_MODE)
    replace_file(roster, pair[0], mode=PUBLIC_MODE)


def with_rosters(state: ChainState, rosters: Sequence[Roster]) -> ChainState:
    """Return the state of a log for whoever has these versions in hand."""
    by_hash = {roster.hash: roster for roster in rosters}
    return replace(state, authority=replace(state.authority, rosters=by_hash))


class _Pairs(DirectorySource):
    """An agency directory without the signatures of a version that is not there."""

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """See `ledger.tree.Source`."""
        version = path.removesuffix(".note")
        if version != path and super().read(f"{version}.json", bytes_max=ROSTER_BYTES_MAX) is None:
            return None
        return super().read(path, offset, bytes_max=bytes_max)


def _check_config(config: Config, rosters: Sequence[Roster]) -> None:
    """Raise `Malformed` unless the roster has, or once had, this agency."""
    latest = rosters[-1]
    named = {name for roster in rosters for name in roster.agencies}
    if config.ledger != latest.ledger or config.agency not in named:
        raise Malformed(
            f"{config.directory}/{FILE_NAME} is of agency {config.agency} in ledger {config.ledger}; the "
            f"roster is of ledger {latest.ledger} with {', '.join(latest.agencies)}"
        )
    if config.agency in config.peers:
        raise Malformed(f"{config.directory}/{FILE_NAME}: peers: {config.agency} is this node itself")
