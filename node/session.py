"""Client procedures: what staff tools, mirrors and auditors ask of a node, without the transport.

Each is a generator that yields a `Request` and receives a `Response` (see ``protocol``). Nothing is believed
because of who sent it: what a pull brings is judged with the auditor's verifier before it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ledger import codec, tree
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import Malformed, Unproven
from ledger.leaf import Leaf, parse_leaf
from ledger.merkle import prove_consistency
from ledger.names import Origin
from ledger.note import NoteVerifier, parse_note
from ledger.proof import TlogProof, check_proof, parse_proof
from ledger.tiles import TILE_WIDTH, Tile, decode_bundle, split_tile
from ledger.tree import LogPath, format_tree_path
from node.frontier import FRONTIER_BYTES_MAX, FRONTIER_PATH, Frontier, decode_frontier
from node.protocol import PROBLEM_BYTES_MAX, Procedure, Request, check_answer

BRANCHES_PATH = "/v1/branches"
BRANCHES_LISTED_MAX = 64
"""Names read of one answer; eight are fetched."""
_NAME_BYTES = 32


def fetch_branches(origin: Origin) -> Procedure[list[str]]:
    """Return the names of the branches that a node has of an era, beside the main one."""
    response = yield Request(method="GET", path=f"{BRANCHES_PATH}/{origin.agency}/{origin.era}")
    if response.status == 404:
        return []
    check_answer(response)
    return parse_branches(response.body)


def format_branches(names: Sequence[str]) -> bytes:
    """Return the answer that `parse_branches` reads."""
    return codec.encode([1, [bytes.fromhex(name) for name in names]])


def parse_branches(raw: bytes) -> list[str]:
    """Return the names in an answer; `Malformed` for any other form."""
    match codec.decode(raw, bytes_max=BRANCHES_LISTED_MAX * (_NAME_BYTES + 2) + 16):
        case [1, [*names]] if all(isinstance(one, bytes) and len(one) == _NAME_BYTES for one in names):
            return [one.hex() for one in names][:BRANCHES_LISTED_MAX]
    raise Malformed("a list of branches is their names of 32 bytes each")


def submit(submission: bytes) -> Procedure[bytes]:
    """Send a submission; return the receipt's bytes. Raises `ProblemAnswer`; sending twice is harmless."""
    response = yield Request(method="POST", path="/v1/entries", body=submission)
    check_answer(response)
    return response.body


def fetch_receipt(entry_id: bytes) -> Procedure[bytes]:
    """Return the receipt of an entry that the node has sequenced; raises `ProblemAnswer` (404) if not."""
    response = yield Request(method="GET", path=f"/v1/entries/{entry_id.hex()}")
    check_answer(response)
    return response.body


def fetch_cards() -> Procedure[bytes]:
    """Return the card entries that a node's log pins, for ``ledger.card_entries``."""
    response = yield Request(method="GET", path="/v1/cards")
    check_answer(response)
    return response.body


def fetch_json(path: str) -> Procedure[dict[str, Any]]:
    """Return the JSON object at ``path``, such as ``/v1/status``."""
    response = yield Request(method="GET", path=path)
    check_answer(response)
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"{path} is no JSON object")
    return value


def fetch_frontier(since: bytes | None, wait_s: int) -> Procedure[Frontier | None]:
    """Return what a node shows of its logs: whole, or what changed since a digest; None if nothing did.

    ``wait_s``: how long the node may wait for news first. Raises `Malformed` for another form.
    """
    query = f"?since={since.hex()}&wait={wait_s}" if since else ""
    path = FRONTIER_PATH + query
    response = yield Request(method="GET", path=path, answer_bytes_max=FRONTIER_BYTES_MAX)
    if response.status == 304 and since is not None:
        return None
    check_answer(response)
    return decode_frontier(response.body)


def fetch_file(path: str, offset: int = 0) -> Procedure[bytes | None]:
    """Return a file of the static tree from ``offset`` on, or None where the node does not have it."""
    bytes_max = tree.bytes_max(tree.parse_tree_path(path))
    room = PROBLEM_BYTES_MAX  # a refusal may be larger than a small file
    response = yield Request(
        method="GET", path=f"/{path}", offset=offset, answer_bytes_max=max(bytes_max, room)
    )
    if response.status == 404:
        return None
    check_answer(response)
    if len(response.body) > bytes_max:
        raise Malformed(f"{path} is larger than its kind can be")
    is_whole = response.status == 200  # a plain web server may answer a range with the whole file
    return response.body[offset:] if is_whole else response.body


def check_receipt(
    receipt: bytes, entry_id: bytes, verifier: NoteVerifier
) -> tuple[TlogProof, Leaf, Checkpoint]:
    """Return the parts of a receipt after checking that it proves this very entry.

    The leaf stands in the receipt's ``extra``. Raises `Malformed` or `Unproven`.
    """
    proof = parse_proof(receipt)
    if proof.extra is None:
        raise Malformed("the receipt does not carry its leaf")
    leaf = parse_leaf(proof.extra)
    if leaf.header.entry_id != entry_id:
        raise Unproven("the receipt is of another entry")
    return proof, leaf, check_proof(proof, leaf.hash, verifier)


def fetch_checkpoint(origin: Origin, branch: str = "") -> Procedure[tuple[bytes, Checkpoint] | None]:
    """Return the newest checkpoint that the node serves of a log (its signature not yet checked)."""
    raw = yield from fetch_file(format_tree_path(LogPath(origin.agency, origin.era, branch, "checkpoint")))
    return None if raw is None else (raw, parse_checkpoint(parse_note(raw).text))


def fetch_leaves(
    origin: Origin, tile: Tile, held: int, held_bytes: int, branch: str = ""
) -> Procedure[list[bytes]]:
    """Return the leaves of one bundle behind the first ``held``, which take ``held_bytes`` in it."""
    path = format_tree_path(LogPath(origin.agency, origin.era, branch, tile))
    raw = yield from fetch_file(path, held_bytes)
    if raw is None:
        raise Unproven(f"{path} is behind a published checkpoint, but not there")
    return decode_bundle(raw, tile.width - held)


def fetch_consistency(origin: Origin, old: int, new: int, branch: str = "") -> Procedure[list[bytes]]:
    """Return the RFC 6962 proof from ``old`` to ``new``, computed from the hash tiles that it needs.

    Nothing of the tiles is believed: the caller checks the proof against the root it computed and the one
    signed.
    """
    tiles = FetchedTiles(new)
    while True:
        try:
            return prove_consistency(tiles, old, new)
        except MissingTile as missing:
            tile = missing.tile
        yield from fetch_tile(origin, tile, tiles, branch)


def fetch_tile(origin: Origin, tile: Tile, tiles: FetchedTiles, branch: str = "") -> Procedure[None]:
    """Add one hash tile to those fetched; `Unproven` if it is not there."""
    path = format_tree_path(LogPath(origin.agency, origin.era, branch, tile))
    raw = yield from fetch_file(path)
    if raw is None:
        raise Unproven(f"{path} is behind a published checkpoint, but not there")
    tiles.add(tile, raw)


class MissingTile(Exception):
    """A proof needs a tile that was not fetched yet."""

    def __init__(self, tile: Tile) -> None:
        super().__init__(tile)
        self.tile = tile


class FetchedTiles:
    """The hash tiles fetched so far, as a `merkle.HashReader` of a tree of ``size`` leaves."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tiles: dict[Tile, list[bytes]] = {}

    def add(self, tile: Tile, raw: bytes) -> None:
        self._tiles[tile] = split_tile(raw, tile.width)

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        index, place = divmod(start, TILE_WIDTH)
        width = min(TILE_WIDTH, self._size // TILE_WIDTH**level - index * TILE_WIDTH)
        tile = Tile(level=level, index=index, width=width)
        if tile not in self._tiles:
            raise MissingTile(tile)
        return self._tiles[tile][place : place + count]
