"""The path grammar of the static tree, and the one interface through which it is read.

::

    roster/<version>.json                    a roster version, exact bytes
    roster/<version>.note                    its signatures
    log/<agency>/<era>/checkpoint            signed note
    log/<agency>/<era>/checkpoint.certified  the same with a quorum's cosignatures
    log/<agency>/<era>/certified/<version>   the first certified checkpoint under a later roster version
    log/<agency>/<era>/vkey                  the log key for other tools
    log/<agency>/<era>/tile/<L>/<N>[.p/<W>]  hash tiles
    log/<agency>/<era>/tile/entries/<N>[.p/<W>]   entry bundles
    log/<agency>/<era>/branch/<name>/...     the same of a branch: its first own leaf hash
    log/<agency>/<era>/evidence/<n>          a piece of fork evidence, n = 0, 1, ... to 63
    log/<agency>/<era>/unproven/<n>          a signed checkpoint whose leaves nobody shows, likewise

A directory, a ZIP, an HTTP server and a node's database all serve exactly these paths (C2SP tlog-tiles below
each log). Nothing else is ever read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ledger.errors import Malformed
from ledger.fork import EVIDENCE_BYTES_MAX
from ledger.names import NAME, Origin, is_era
from ledger.note import NOTE_BYTES_MAX
from ledger.roster import ROSTER_BYTES_MAX
from ledger.tiles import ENTRY_BYTES_MAX, TILE_WIDTH, Tile, format_path, parse_path

VKEY_BYTES_MAX = 512
HASH_TILE_BYTES_MAX = TILE_WIDTH * 32
BUNDLE_BYTES_MAX = TILE_WIDTH * (ENTRY_BYTES_MAX + 2)
"""256 entries of 64 KiB: some 16.8 MB."""
VERSIONS_MAX = 9999
"""Roster versions: one a month for eight centuries."""

PIECES_MAX = 64
"""Pieces of evidence of one era, and notes that nobody explains."""

LOG_FILES = ("checkpoint", "checkpoint.certified", "vkey")

_TRANSITION = re.compile(r"certified/(?!1$)[1-9][0-9]{0,3}")
_PIECE = re.compile(r"(evidence|unproven)/(0|[1-9]|[1-5][0-9]|6[0-3])")
_VERSION = re.compile(r"[1-9][0-9]{0,3}")
_BRANCH = re.compile(r"[0-9a-f]{64}")


PieceKind: TypeAlias = Literal["evidence", "unproven"]


class Source(Protocol):
    """Something that holds a static tree, whole or in part."""

    def read(self, path: str, offset: int = 0, *, bytes_max: int) -> bytes | None:
        """Return the bytes of ``path`` from ``offset`` on, or None if it is not there.

        Raises `Malformed` beyond ``bytes_max`` (before the rest is read), `Undecided` if it cannot be read.
        """
        ...

    def names(self) -> list[str] | None:
        """Return all file names in order, or None where they cannot be listed (HTTP)."""
        ...


@runtime_checkable
class ListsBranches(Protocol):
    """A source that can say which branches an era has, though its files cannot be listed: a node."""

    def branches(self, origin: Origin) -> list[str]:
        """Return the names of the branches beside the main one; raises `LedgerError` without an answer."""
        ...


@dataclass(frozen=True, slots=True)
class RosterPath:
    """A roster version, or its signatures."""

    version: int
    is_note: bool


@dataclass(frozen=True, slots=True)
class LogPath:
    """A file of a log: one of `LOG_FILES`, a `transition_file`, a `piece_file` (no branch's), or a tile."""

    agency: str
    era: int
    branch: str
    file: str | Tile


def transition_file(version: int) -> str:
    """Return the file of a log that keeps the first certified checkpoint under roster ``version`` (>= 2)."""
    return f"certified/{version}"


def piece_file(kind: PieceKind, number: int) -> str:
    """Return the file of an era that holds its piece ``number`` (0 to 63) of that kind."""
    return f"{kind}/{number}"


def is_branch(name: str) -> bool:
    """Whether a branch may have this name."""
    return _BRANCH.fullmatch(name) is not None


def parse_tree_path(path: str) -> RosterPath | LogPath:
    """Return what ``path`` names; raise `Malformed` for anything outside the grammar."""
    match path.split("/"):
        case ["roster", name]:
            version, _, suffix = name.rpartition(".")
            if suffix in ("json", "note") and _VERSION.fullmatch(version):
                return RosterPath(int(version), suffix == "note")
        case ["log", agency, era, "branch", branch, *rest] if _BRANCH.fullmatch(branch):
            return _log_path(path, agency, era, branch, "/".join(rest))
        case ["log", agency, era, *rest]:
            return _log_path(path, agency, era, "", "/".join(rest))
    raise Malformed(f"{path[:120]!r} is no path of a ledger's static tree")


def format_tree_path(path: RosterPath | LogPath) -> str:
    """Return the path that `parse_tree_path` takes."""
    if isinstance(path, RosterPath):
        return f"roster/{path.version}.{'note' if path.is_note else 'json'}"
    file = format_path(path.file) if isinstance(path.file, Tile) else path.file
    branch = f"branch/{path.branch}/" if path.branch else ""
    return f"log/{path.agency}/{path.era}/{branch}{file}"


def bytes_max(path: RosterPath | LogPath) -> int:
    """Return how large the file at ``path`` can be."""
    match path:
        case RosterPath(is_note=False):
            return ROSTER_BYTES_MAX
        case LogPath(file=Tile(level=None)):
            return BUNDLE_BYTES_MAX
        case LogPath(file=Tile()):
            return HASH_TILE_BYTES_MAX
        case LogPath(file="vkey"):
            return VKEY_BYTES_MAX
        case LogPath(file=str(file)) if file.startswith("evidence/"):
            return EVIDENCE_BYTES_MAX
    return NOTE_BYTES_MAX


def _log_path(path: str, agency: str, era: str, branch: str, file: str) -> LogPath:
    if not NAME.fullmatch(agency) or not is_era(era):
        raise Malformed(f"{path[:120]!r} names no agency and era")
    is_whole = file in LOG_FILES or _TRANSITION.fullmatch(file) or (not branch and _PIECE.fullmatch(file))
    return LogPath(agency, int(era), branch, file if is_whole else parse_path(file))
