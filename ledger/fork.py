"""Evidence of a fork: what convicts a log or root key by itself, in at most 4 KiB, without personal data.

A fork is two checkpoints of one origin, signed by its log key, that no single sequence of leaves satisfies;
or two different openings of one era, signed by the root key. An honest node with one sequencer makes
neither. A piece of evidence is canonical msgpack of one of three forms, its two sides in ascending order::

    [1, "size", note, note]                        two roots of one size
    [1, "leaf", note, note, index, side, side]     two sizes; side = [leaf hash, [path hash...]]
    [1, "opening", side, side]                     side = [header, signature, card, place, [path hash...]]

A note is the checkpoint and the log's one signature line, nothing else. In a *leaf* piece ``index`` is the
*first* leaf at which the histories differ: the hashes left of it are the same on both paths. So a pair of
notes has one piece of evidence, and a hostile owner cannot make many out of one fork. Two *openings* have
cards of one origin with different log keys. Under one log key two openings are two notes as well; and the
same log key twice convicts nobody by itself (whoever lost the node's answer signs again).

The accused is a key, not a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ledger import codec, keys
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.entry import DOMAIN, parse_header, public_hash
from ledger.errors import Malformed, Unproven
from ledger.governance import Card, parse_governance
from ledger.leaf import Leaf
from ledger.merkle import (
    HASH_BYTES,
    HashReader,
    check_inclusion,
    prove_inclusion,
    prove_inclusion_in,
    root_at,
)
from ledger.names import Origin, parse_origin
from ledger.note import Note, check_note, format_line, format_note, parse_note, verifier_of
from ledger.tiles import first_difference

VERSION = 1
EVIDENCE_BYTES_MAX = 4096
"""What travels with every frontier and stands in every dossier; two paths of 2^40 leaves fit."""
EVIDENCE_OF_ERA_MAX = 64
"""Pieces kept of one era: each further one says nothing new, and a thief can sign for ever."""

Kind: TypeAlias = Literal["size", "leaf", "opening"]


class History(Protocol):
    """One history of an era: a signed checkpoint and the tree below it."""

    @property
    def note(self) -> bytes:
        """The checkpoint as a signed note, whatever cosignatures stand on it."""
        ...

    @property
    def reader(self) -> HashReader:
        """The hash tree of its leaves."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """What evidence proves. ``index``: the first leaf that differs, the size of two notes, or 0."""

    origin: Origin
    kind: Kind
    index: int
    evidence: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """The keys that evidence may convict: all that the caller knows in these offices of the log."""

    ledger_id: bytes
    log_keys: Collection[bytes]
    root_keys: Collection[bytes]


def prove_fork(ours: History, theirs: History, log_key: bytes) -> bytes | None:
    """Return the evidence that two histories of one origin part, or None if one contains the other.

    Both notes bear a signature of ``log_key``. Reads a tile or two a level of either tree. `Unproven` if a
    reader does not lead to its note's root, `Malformed` if the evidence would be larger than it may be (both
    sizes beyond 2^40: nobody has such leaves).
    """
    plain = [(_plain(one.note, log_key), one) for one in (ours, theirs)]
    first, second = sorted(plain, key=lambda one: one[0])
    (one, left), (two, right) = _by_size(first, second)
    mine, other = _checkpoint(one), _checkpoint(two)
    if mine.origin != other.origin:
        raise Malformed(
            f"checkpoints of {mine.origin!r} and {other.origin!r} are no two histories of one log"
        )
    if mine.size == other.size:
        return None if mine.root == other.root else _bounded([VERSION, "size", one, two])
    for claim, history in ((mine, left), (other, right)):
        if root_at(history.reader, claim.size) != claim.root:
            raise Unproven(f"the hashes do not lead to the root of the checkpoint of size {claim.size}")
    index = first_difference(left.reader, mine.size, right.reader, other.size)
    if index == mine.size:
        return None
    sides = [_leaf_side(history.reader, index, claim) for claim, history in ((mine, left), (other, right))]
    return _bounded([VERSION, "leaf", one, two, index, *sides])


def prove_notes(one: bytes, two: bytes, log_key: bytes) -> bytes | None:
    """Return the evidence that two notes of one size are by themselves; None if their roots are the same."""
    first, second = sorted(_plain(note, log_key) for note in (one, two))
    left, right = _checkpoint(first), _checkpoint(second)
    if (left.origin, left.size) != (right.origin, right.size):
        raise Malformed("two notes prove a fork by themselves only if they are of one origin and size")
    return None if left.root == right.root else _bounded([VERSION, "size", first, second])


def prove_openings(one: Leaf, two: Leaf) -> bytes | None:
    """Return the evidence that two openings of one era with different log keys are; else None."""
    cards = [_card_of(leaf) for leaf in (one, two)]
    if cards[0].origin != cards[1].origin or cards[0].log_key == cards[1].log_key:
        return None
    return _bounded([VERSION, "opening", *sorted(map(_opening_side, (one, two)))])


def parse_evidence(raw: bytes) -> Fork:
    """Return what the piece *claims*, nothing of it checked but its form; `Malformed` for any other bytes."""
    match codec.decode(raw, bytes_max=EVIDENCE_BYTES_MAX):
        case [int(version), "size", bytes(one), bytes(two)] if version == VERSION:
            return _claimed_by_notes(raw, one, two, None)
        case [int(version), "leaf", bytes(one), bytes(two), int(index), list(left), list(right)] if (
            version == VERSION
        ):
            for side in (left, right):
                _read_leaf_side(side)
            return _claimed_by_notes(raw, one, two, index)
        case [int(version), "opening", list(one), list(two)] if version == VERSION:
            origins = {parse_origin(_read_card(side).origin) for side in (one, two)}
            if len(origins) != 1 or not one < two:
                raise Malformed("two openings of one era stand in ascending order")
            return Fork(origin=origins.pop(), kind="opening", index=0, evidence=raw)
    raise Malformed("evidence is two notes, two notes with two leaves, or two openings")


def check_evidence(raw: bytes, suspects: Suspects) -> Fork:
    """Return the fork that ``raw`` proves of one of the keys; `Malformed` or `Unproven` if it proves none."""
    fork = parse_evidence(raw)
    value = codec.decode(raw, bytes_max=EVIDENCE_BYTES_MAX)
    if fork.kind == "opening":
        _check_openings(value[2], value[3], fork.origin, suspects)
        return fork
    _check_signed(value[2], value[3], fork.origin, suspects.log_keys)
    if fork.kind == "leaf":
        _check_leaves(value, fork.index)
    return fork


def kept_evidence(pieces: Iterable[Fork]) -> list[Fork]:
    """Return the pieces of one era that are kept: each once, the smallest by (index, bytes), at most 64."""
    unique = {fork.evidence: fork for fork in pieces}
    return sorted(unique.values(), key=lambda fork: (fork.index, fork.evidence))[:EVIDENCE_OF_ERA_MAX]


def _plain(raw: bytes, log_key: bytes) -> bytes:
    """The note with one line of the log's key: whatever else stands there is no part of what is accused."""
    note = parse_note(raw)
    verifier = verifier_of(parse_checkpoint(note.text).origin, log_key)
    check_note(note, [verifier])
    lines = [line for line in note.lines if (line.name, line.key_id) == (verifier.name, verifier.key_id)]
    return format_note(note.text, [format_line(lines[0])])


def _checkpoint(raw: bytes) -> Checkpoint:
    """The checkpoint of a note in evidence. Extension lines could make it larger than evidence may be."""
    checkpoint = parse_checkpoint(parse_note(raw).text)
    if checkpoint.extensions:
        raise Malformed("a checkpoint of a ledger's log has no extension lines")
    return checkpoint


_Side: TypeAlias = tuple[bytes, History]


def _by_size(first: _Side, second: _Side) -> tuple[_Side, _Side]:
    is_ordered = _checkpoint(first[0]).size <= _checkpoint(second[0]).size
    return (first, second) if is_ordered else (second, first)


def _leaf_side(reader: HashReader, index: int, checkpoint: Checkpoint) -> list[Any]:
    [leaf] = reader.hashes(0, index, 1)
    path = prove_inclusion(reader, index, checkpoint.size)
    check_inclusion(leaf, index, checkpoint.size, path, checkpoint.root)
    return [leaf, path]


def _opening_side(leaf: Leaf) -> list[Any]:
    hashes = [public_hash(body) for body in leaf.entry.bodies]
    place = next(at for at, body in enumerate(leaf.entry.bodies) if isinstance(parse_governance(body), Card))
    path = prove_inclusion_in(hashes, place)
    return [leaf.header.raw, leaf.entry.signature, leaf.entry.bodies[place], place, path]


def _card_of(leaf: Leaf) -> Card:
    records = map(parse_governance, leaf.entry.bodies)
    card = next((one for one in records if isinstance(one, Card)), None)
    if card is None:
        raise Malformed("an opening has a card")
    return card


def _bounded(value: list[Any]) -> bytes:
    raw = codec.encode(value)
    if len(raw) > EVIDENCE_BYTES_MAX:
        raise Malformed(f"evidence of {len(raw)} bytes, at most {EVIDENCE_BYTES_MAX} are taken")
    return raw


def _claimed_by_notes(raw: bytes, one: bytes, two: bytes, index: int | None) -> Fork:
    if any(len(parse_note(note).lines) != 1 for note in (one, two)):
        raise Malformed("a note in evidence bears the log's signature alone")
    left, right = _checkpoint(one), _checkpoint(two)
    if left.origin != right.origin or not (left.size, one) < (right.size, two):
        raise Malformed("two notes of one origin stand in ascending order of size and bytes")
    if (index is None) != (left.size == right.size) or (index is not None and index >= left.size):
        raise Malformed("two notes of one size, or an index below the smaller of two sizes")
    if index is None and left.root == right.root:
        raise Malformed("two notes of one size and root are no fork")
    kind: Kind = "size" if index is None else "leaf"
    at = left.size if index is None else index
    return Fork(origin=parse_origin(left.origin), kind=kind, index=at, evidence=raw)


def _check_signed(one: bytes, two: bytes, origin: Origin, log_keys: Collection[bytes]) -> None:
    notes = [parse_note(raw) for raw in (one, two)]
    if not any(all(_is_signed(note, origin, key) for note in notes) for key in log_keys):
        raise Unproven(f"the two checkpoints are not both signed by one log key of {origin}")


def _is_signed(note: Note, origin: Origin, key: bytes) -> bool:
    try:
        check_note(note, [verifier_of(str(origin), key)])
    except Unproven:
        return False
    return True


def _check_leaves(value: list[Any], index: int) -> None:
    """Two leaves at one index, under two roots, with the same hashes to the left."""
    lefts = []
    for note, side in zip(value[2:4], value[5:7], strict=True):
        checkpoint = _checkpoint(note)
        leaf, path = _read_leaf_side(side)
        check_inclusion(leaf, index, checkpoint.size, path, checkpoint.root)
        lefts.append(_left_of(index, checkpoint.size, path))
    if value[5][0] == value[6][0]:
        raise Unproven(f"both histories have the same leaf at index {index}")
    if lefts[0] != lefts[1]:
        raise Unproven(f"the histories differ before index {index} already")


def _read_leaf_side(side: list[Any]) -> tuple[bytes, list[bytes]]:
    match side:
        case [bytes(leaf), list(path)] if _are_hashes([leaf, *path]):
            return leaf, path
    raise Malformed("a side is a leaf hash and a path of hashes")


def _left_of(index: int, size: int, path: Sequence[bytes]) -> list[bytes]:
    """The hashes of a path that stand left of it: the complete subtrees of the leaves before ``index``."""
    left, node, last = [], index, size - 1
    for sibling in path:
        if node & 1 or node == last:
            left.append(sibling)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return left


def _are_hashes(values: list[Any]) -> bool:
    return all(isinstance(one, bytes) and len(one) == HASH_BYTES for one in values)


def _read_card(side: list[Any]) -> Card:
    match side:
        case [bytes(header), bytes(signature), bytes(body), int(), list(path)] if len(
            signature
        ) == keys.SIGNATURE_BYTES and _are_hashes(path):
            parse_header(header)
            card = parse_governance(body)
            if isinstance(card, Card):
                return card
    raise Malformed("an opening is shown by header, signature, card, and the card's place and path")


def _check_openings(one: list[Any], two: list[Any], origin: Origin, suspects: Suspects) -> None:
    cards = [_check_opening(side, origin, suspects) for side in (one, two)]
    if cards[0].log_key == cards[1].log_key:
        raise Unproven("both openings name one log key: its checkpoints are what could differ")


def _check_opening(side: list[Any], origin: Origin, suspects: Suspects) -> Card:
    raw, signature, body, place, path = side
    header = parse_header(raw)
    if (header.ledger_id, header.agency) != (suspects.ledger_id, origin.agency) or not header.is_public:
        raise Unproven("no public entry of this ledger and agency")
    if header.author not in suspects.root_keys:
        raise Unproven(f"an opening is signed by the agency's root key, not {header.author.hex()[:16]}…")
    keys.check_signature(header.author, DOMAIN + raw, signature)
    check_inclusion(public_hash(body), place, header.records_count, path, header.records_root)
    return _read_card(side)
