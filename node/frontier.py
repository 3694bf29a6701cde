"""The frontier: what a node shows of each log, as one small answer that others can ask for again and again.

::

    answer = canonical [1, ledger id, now_s, digest, [roster version, roster hash], is_whole, rows]
    row    = [agency, era, size, root, certified_size, cosigned_size, forks], by (agency, era)
    digest = SHA-256 of canonical [[roster version, roster hash], all rows]

A node remembers the digests that it gave lately: whoever names one gets only the rows that changed since. The
asker puts them over the rows that it had under that digest and must arrive at the new one; else it asks for
the whole. Sizes stand beside roots because sizes alone cannot show a fork. Nothing here is proven: a row that
is ahead is a reason to ask for the checkpoint, and no more.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ledger import codec
from ledger.errors import Malformed, Unproven
from ledger.names import ERA_MAX, check_name

FRONTIER_PATH = "/v1/frontier"
FORMAT = 1
FRONTIER_BYTES_MAX = 512 * 1024
"""A thousand agencies, each with three eras, take some 350 kB."""
WAIT_MAX_S = 30
"""Of a long-poll: below the minute after which the proxies of offices drop a silent connection."""
DIGESTS_REMEMBERED = 64
"""Of 89 logs at a busy hour: the changes of half a minute, the length of one long-poll."""
HASH_BYTES = 32
VERSION_MAX = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a node shows of one log: the checkpoint, and up to where it is certified and was cosigned here."""

    agency: str
    era: int
    size: int
    root: bytes
    """32 bytes; empty at size 0."""
    certified_size: int = 0
    cosigned_size: int = 0
    forks: int = 0

    @property
    def value(self) -> list[object]:
        """The row as it is encoded."""
        sizes = [self.certified_size, self.cosigned_size, self.forks]
        return [self.agency, self.era, self.size, self.root, *sizes]

    @property
    def log(self) -> tuple[str, int]:
        """What the row is about: agency and era."""
        return self.agency, self.era


RosterName = tuple[int, bytes]
"""Version and hash of the newest roster version in hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """One answer, or all that is known of a node after it."""

    ledger_id: bytes
    now_s: int
    digest: bytes
    roster: RosterName
    is_whole: bool
    rows: tuple[Row, ...]


def digest_of(roster: RosterName, rows: Sequence[Row]) -> bytes:
    """Return what names this state of a frontier; ``rows`` are all of it, in order."""
    return hashlib.sha256(codec.encode([list(roster), [row.value for row in rows]])).digest()


def encode_frontier(frontier: Frontier) -> bytes:
    """Return the bytes of an answer."""
    rows = [row.value for row in frontier.rows]
    return codec.encode(
        [
            FORMAT,
            frontier.ledger_id,
            frontier.now_s,
            frontier.digest,
            list(frontier.roster),
            int(frontier.is_whole),
            rows,
        ]
    )


def decode_frontier(data: bytes) -> Frontier:
    """Return the answer in these bytes; raise `Malformed` for any other form or a false digest of a whole."""
    match codec.decode(data, bytes_max=FRONTIER_BYTES_MAX):
        case [
            1,
            bytes(ledger_id),
            int(now_s),
            bytes(digest),
            [int(version), bytes(hash_)],
            0 | 1 as whole,
            [*rows],
        ]:
            pass
        case _:
            raise Malformed("not a frontier of format 1")
    if {len(ledger_id), len(digest), len(hash_)} != {HASH_BYTES} or not 1 <= version <= VERSION_MAX:
        raise Malformed("a frontier's ledger id, digest and roster hash have 32 bytes, versions count from 1")
    frontier = Frontier(
        ledger_id=ledger_id,
        now_s=now_s,
        digest=digest,
        roster=(version, hash_),
        is_whole=bool(whole),
        rows=tuple(map(_parse_row, rows)),
    )
    logs = [row.log for row in frontier.rows]
    if any(after <= before for before, after in pairwise(logs)):
        raise Malformed("the rows of a frontier are sorted by agency and era, each once")
    if frontier.is_whole and digest_of(frontier.roster, frontier.rows) != digest:
        raise Malformed("the digest of a frontier is not that of its rows")
    return frontier


def merge(before: Frontier | None, answer: Frontier) -> Frontier:
    """Return all that is known of a node after ``answer``; raise `Unproven` if it does not arrive there."""
    if answer.is_whole:
        return answer
    rows = {row.log: row for row in (*(before.rows if before else ()), *answer.rows)}
    merged = tuple(rows[log] for log in sorted(rows))
    if digest_of(answer.roster, merged) != answer.digest:
        raise Unproven("the changes of a frontier do not lead to its digest")
    return replace(answer, is_whole=True, rows=merged)


class FrontierHistory:
    """The frontier that a node shows now, and those that it showed lately."""

    def __init__(self, ledger_id: bytes) -> None:
        self._ledger_id = ledger_id
        self._rows: tuple[Row, ...] = ()
        self._by_log: dict[tuple[str, int], Row] = {}
        self._roster: RosterName = (0, b"")
        self._before: OrderedDict[bytes, tuple[Row, ...]] = OrderedDict()
        self.digest = b""

    def show(self, roster: RosterName, rows: Sequence[Row]) -> bool:
        """Show these rows, in order, from now on; return whether anything is new."""
        if self.digest and (roster, tuple(rows)) == (self._roster, self._rows):
            return False
        self._roster, self._rows = roster, tuple(rows)
        self._by_log = {row.log: row for row in rows}
        self.digest = digest_of(roster, rows)
        self._before.pop(self.digest, None)
        self._before[self.digest] = self._rows
        while len(self._before) > DIGESTS_REMEMBERED:
            self._before.popitem(last=False)
        return True

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown of all logs."""
        return self._rows

    def row(self, log: tuple[str, int]) -> Row | None:
        """Return what is shown of one log."""
        return self._by_log.get(log)

    def answer(self, since: bytes | None, now_s: int) -> bytes | None:
        """Return the whole, what changed since a digest still known, or None if nothing has."""
        if since == self.digest:
            return None
        before = self._before.get(since) if since else None
        known = set(before or ())
        is_whole = before is None or not {row.log for row in before} <= {row.log for row in self._rows}
        return encode_frontier(
            Frontier(
                ledger_id=self._ledger_id,
                now_s=now_s,
                digest=self.digest,
                roster=self._roster,
                is_whole=is_whole,
                rows=self._rows if is_whole else tuple(row for row in self._rows if row not in known),
            )
        )


def _parse_row(value: Any) -> Row:
    match value:
        case [str(agency), int(era), int(size), bytes(root), int(certified), int(cosigned), int(forks)]:
            row = Row(
                agency=check_name(agency, "agency"),
                era=era,
                size=size,
                root=root,
                certified_size=certified,
                cosigned_size=cosigned,
                forks=forks,
            )
            if 1 <= era <= ERA_MAX and len(root) == (HASH_BYTES if size else 0):
                return row
    raise Malformed("a row is [agency, era, size, root, certified size, cosigned size, forks]")
