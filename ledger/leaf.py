"""A leaf: an entry's place in a log, and what its own bytes decide.

``[version, prev, received_hour, header, signature, bodies]``, at most 65,535 bytes (a tile bundle counts an
entry's length in two). One hash, ``SHA-256(00 ‖ leaf)``, is both the chain link and the Merkle leaf.
``bodies`` is empty for private entries; a public entry carries its governance maps, in the order of their
hashes, so whoever mirrors tiles holds all governance. What depends on the prefix is in ``chain``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger import codec, merkle
from ledger.entry import Entry, Header, check_parts, parse_header, public_hash, records_root
from ledger.errors import Malformed
from ledger.rules import Violation, violation
from ledger.tiles import ENTRY_BYTES_MAX

VERSION = 1
HOUR_MAX = 70_000_000
"""Hours since 1970: the year 9955, so that the day after is still a date of the calendar's four digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One leaf with its exact bytes and its hash."""

    raw: bytes
    prev: bytes
    received_hour: int
    entry: Entry
    hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", merkle.leaf_hash(self.raw))

    @property
    def header(self) -> Header:
        """The signed header of the entry."""
        return self.entry.header

    @property
    def day(self) -> int:
        """Days since 1970 (UTC) of the hour it was received: what grants are compared with."""
        return self.received_hour // 24


def make_leaf(entry: Entry, *, prev: bytes, received_hour: int) -> Leaf:
    """Return the leaf of ``entry`` after the leaf hash ``prev``; raise `Malformed` if it is too large."""
    fields = [VERSION, prev, received_hour, entry.header.raw, entry.signature, list(entry.bodies)]
    return parse_leaf(codec.encode(fields))


def parse_leaf(raw: bytes) -> Leaf:
    """Return the leaf of these canonical bytes; raise `Malformed` for any other form."""
    value = codec.decode(raw, bytes_max=ENTRY_BYTES_MAX)
    match value:
        case [int(version), bytes(prev), int(hour), bytes(header_raw), bytes(signature), list(bodies)]:
            pass
        case _:
            raise Malformed("a leaf is an array of six: version, prev, hour, header, signature, bodies")
    if version != VERSION:
        raise Malformed(f"leaf version {version}, only {VERSION} is known")
    if len(prev) != 32 or hour > HOUR_MAX:
        raise Malformed("prev has 32 bytes, and received_hour is an hour of this age")
    if not all(isinstance(body, bytes) for body in bodies):
        raise Malformed("bodies are byte strings")
    check_parts(signature)
    header = parse_header(header_raw)
    if len(bodies) != (header.records_count if header.is_public else 0):
        raise Malformed("a public entry carries each of its bodies, a private one none")
    entry = Entry(header=header, signature=signature, bodies=tuple(bodies))
    return Leaf(raw=raw, prev=prev, received_hour=hour, entry=entry)


def own_violations(leaf: Leaf, *, is_signed: bool, index: int | None = None) -> list[Violation]:
    """Return what the leaf's own bytes break; ``is_signed`` is the outcome of its signature check."""
    found = []
    if leaf.header.is_public:
        try:
            root = records_root([public_hash(body) for body in leaf.entry.bodies])
        except Malformed as error:
            found.append(violation("entry.root", str(error), index=index))
        else:
            if root != leaf.header.records_root:
                found.append(violation("entry.root", "public bodies give another root", index=index))
    if not is_signed:
        found.append(violation("entry.signature", "not the signature of the author's key", index=index))
    return found
