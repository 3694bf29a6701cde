"""How forks are fetched: from a peer, or from the files of a dossier, by the same steps.

A checkpoint that no branch held leads to is looked into: a tile or two a level show where it parts, then come
its leaves from there. Evidence and unexplained notes are fetched where another shows any. What somebody else
says is checked before it is kept, and a false piece costs the one who showed it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ledger.chain import ChainState
from ledger.errors import Unproven
from ledger.names import Origin
from ledger.tree import PIECES_MAX, LogPath, PieceKind, format_tree_path, piece_file
from node.copies import Copies
from node.forks import Forks, Parting
from node.mirror import Mirror, fetch_opening, pull
from node.parallel import verify_many
from node.protocol import Procedure
from node.session import (
    FetchedTiles,
    MissingTile,
    fetch_branches,
    fetch_checkpoint,
    fetch_file,
    fetch_tile,
)

PARTS_MAX = 1024
"""Pulls of one branch in a row: its byte budget ends it long before."""

Ask = Callable[[Callable[[], Procedure[Any]]], Awaitable[Any]]
"""Runs a client procedure against the one who is asked."""
OnStore = Callable[..., Awaitable[Any]]


class Learner(Protocol):
    """What fetching needs of a node."""

    forks: Forks
    copies: Copies

    def take_certified(self, origin: Origin, notes: Sequence[bytes]) -> list[int] | None:
        """Keep the cosignatures on checkpoints of a log."""
        ...


class ForkPulls:
    """Fetches forks for one node."""

    def __init__(self, node: Learner, on_store: OnStore) -> None:
        """``on_store`` runs a function on the store's thread."""
        self._node = node
        self._on_store = on_store

    async def look(self, ask: Ask, origin: Origin, branch: str = "") -> bool:
        """Look into the history that another shows; return whether anything new was kept.

        Raises what is false in it.
        """
        fetched = await ask(lambda: fetch_checkpoint(origin, branch))
        if fetched is None or not fetched[1].size:
            return False
        note, claim = fetched
        met = await self._on_store(self._node.forks.meet, note)
        if met == "known":
            return await self._certify(ask, origin, branch, note)
        opening = await self._opening(ask, origin, branch) if met == "foreign" else None
        try:
            if opening is not None:
                parting = await self._on_store(self._node.forks.part_by_opening, note, opening)
            else:
                parting = await self._part(ask, origin, note, claim.size, branch)
            is_new = parting is not None and await self._pull(ask, origin, parting, branch, opening)
        except Unproven:
            is_new = await self._on_store(self._node.forks.leave_unproven, note)
            if not is_new:
                raise
        if is_new:
            await self._certify(ask, origin, branch, note)
        return bool(is_new)

    async def exchange(self, ask: Ask, origin: Origin, names: Sequence[str] | None = None) -> bool:
        """Fetch what another has of an era's forks; return whether anything of it is new.

        ``names`` are the branches that it has, if that is known.
        """
        news = 0
        for raw in await ask(lambda: fetch_pieces(origin, "evidence")):
            news += await self._on_store(self._node.forks.take_evidence, raw)
        for raw in await ask(lambda: fetch_pieces(origin, "unproven")):
            if await self._on_store(self._node.forks.meet, raw) == "foreign":
                raise Unproven(f"an unproven note of {origin} is not signed by its log key")
            news += await self._on_store(self._node.forks.leave_unproven, raw)
        if names is None:
            names = await ask(lambda: fetch_branches(origin))
        for name in names:
            news += await self.look(ask, origin, name)
        return news > 0

    async def _part(self, ask: Ask, origin: Origin, note: bytes, size: int, branch: str) -> Parting | None:
        tiles = FetchedTiles(size)
        while True:
            try:
                return await self._on_store(self._node.forks.part, note, tiles)  # type: ignore[no-any-return]
            except MissingTile as missing:
                tile = missing.tile
            await ask(lambda tile=tile: fetch_tile(origin, tile, tiles, branch))  # type: ignore[misc]

    async def _opening(self, ask: Ask, origin: Origin, branch: str) -> bytes:
        """The first leaf of the history that another shows; raise `Unproven` if it has none."""
        opening: bytes | None = await ask(lambda: fetch_opening(origin, branch))
        if opening is None:
            raise Unproven(f"a checkpoint of {origin} is shown, and no opening that names its key")
        return opening

    async def _pull(
        self, ask: Ask, origin: Origin, parting: Parting, branch: str, opening: bytes | None
    ) -> bool:
        """Pull the leaves of a branch from where it parts, or goes on."""
        forks, copies = self._node.forks, self._node.copies
        if parting.evidence is None:
            mirror = await self._on_store(copies.branch, origin, parting.parent)
            return await self._pull_on(ask, mirror, branch)
        if parting.start == 0 and opening is None:
            opening = await self._opening(ask, origin, branch)
        state, held = await self._on_store(forks.start_of, origin, parting, opening)
        pulled = await ask(lambda: pull(state, held, branch=branch))
        if pulled is None:
            return False
        mirror = await self._on_store(forks.store_branch, origin, parting, pulled, verify_many)
        if mirror is not None:
            await self._pull_on(ask, mirror, branch)
        return True

    async def _pull_on(self, ask: Ask, mirror: Mirror, branch: str) -> bool:
        """Pull what further leaves a branch has that is stored."""
        new = 0
        for _ in range(PARTS_MAX):
            if not await self._on_store(self._node.forks.has_room, mirror.origin):
                break
            state, held = await self._on_store(_held, mirror)
            pulled = await ask(lambda state=state, held=held: pull(state, held, branch=branch))  # type: ignore[misc]
            count = await self._on_store(mirror.take, pulled, verify_many) if pulled else 0
            new += count
            if not count:
                break
        await self._on_store(self._node.forks.settle, mirror.origin)
        return new > 0

    async def _certify(self, ask: Ask, origin: Origin, branch: str, note: bytes) -> bool:
        """Keep the cosignatures on a branch: an opening follows the side where most of them stand."""
        path = format_tree_path(LogPath(origin.agency, origin.era, branch, "checkpoint.certified"))
        certified = await ask(lambda: fetch_file(path))
        await self._on_store(self._node.take_certified, origin, [note, *([certified] if certified else [])])
        return False


def fetch_pieces(origin: Origin, kind: PieceKind) -> Procedure[list[bytes]]:
    """Return the pieces of a kind that another has of an era, up to the first that is absent."""
    found: list[bytes] = []
    for number in range(PIECES_MAX):
        path = format_tree_path(LogPath(origin.agency, origin.era, "", piece_file(kind, number)))
        raw = yield from fetch_file(path)
        if raw is None:
            break
        found.append(raw)
    return found


def _held(mirror: Mirror) -> tuple[ChainState, int]:
    return mirror.state, mirror.held_bytes()
