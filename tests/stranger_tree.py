"""The stranger's verifier, sections 12 and 13 of docs/FORMAT.md: one branch of one era, and its notes.

It imports nothing of ledger, node or cli: see ``tests/stranger.py``.
"""

from __future__ import annotations

import base64
from typing import Any

from tests.stranger_bytes import (
    Bad,
    Files,
    H,
    Lines,
    has_cosigned,
    key_id,
    need,
    parse_checkpoint,
    parse_vkey,
    root_of,
    signers,
    tile_path,
)
from tests.stranger_log import Head, State, Who, head_of, parse_body, parse_leaf
from tests.stranger_roster import q

Claim = tuple[str, int, bytes, tuple[str, Lines]]
"""Origin, size, root and note of a checkpoint."""


class Log:
    """One branch of one era: its problems as (code, index), and what the report says of it."""

    def __init__(self, files: Files, state: State, versions: list[dict[str, Any]], branch: str = "") -> None:
        self.files, self.origin, self.agency, self.branch = files, state.origin, state.agency, branch
        self.state, self.start, self.era = state, state.copy(), state.era
        named = sorted(one["version"] for one in versions if self.agency in one["roots"])
        self.kept = [f"certified/{version}" for version in named[1:]]
        self.ends = [one["ends"][self.agency] for one in versions if self.agency in one["ends"]]
        self.problems: set[tuple[str, int | None]] = set()
        self.claim: Claim | None = None
        self.public = self.private = self.certified = 0
        self.is_signed = self.is_whole = False
        self.leaves: list[bytes] = []
        self.found: list[set[str]] = []
        self.whos: dict[int, Who] = {}
        self.good: list[tuple[tuple[str, Lines], int]] = []
        self.done: dict[int, int] = {}

    def read(self, name: str) -> bytes | None:
        try:
            return self.files.read(f"log/{self.agency}/{self.era}/{self.branch}{name}")
        except Bad:
            self.problems.add(("tree.limit", None))
            return None

    def keeps(self) -> Head | None:
        """What the opening says that it keeps, if there is one that can be read."""
        try:
            claim = parse_checkpoint(self.read("checkpoint") or b"")
            width = min(256, claim[1])
            raw = self.read(tile_path("entries", 0, width)) if width else None
            leaves = split_bundle(raw or b"", width)
            need(len(leaves) == width and sum(2 + len(one) for one in leaves) == len(raw or b""))
            records = [parsed(body) for body in parse_leaf(leaves[0])["bodies"]]
            return next(head_of(one["kept"]) for one in records if one and one["kind"] == "log.reconcile")
        except (Bad, IndexError, StopIteration):
            return None

    def begin(self, state: State) -> None:
        self.state, self.start = state, state.copy()

    def state_at(self, size: int) -> State:
        state = self.start.copy()
        for raw in self.leaves[:size]:
            state.step(raw)
        return state

    def has(self, head: Head) -> bool:
        held = self.state.hashes[: head[1]]
        return self.era == head[0] and len(held) == head[1] and root_of(held) == head[2]

    @property
    def is_proven(self) -> bool:
        return self.is_whole and self.is_signed

    @property
    def head(self) -> Head:
        return self.era, len(self.state.hashes), root_of(self.state.hashes)

    @property
    def card(self) -> Any:
        """The current card, if it is one of this era."""
        cards = self.state.who.cards
        return cards[-1][0] if cards and cards[-1][1][0] == self.era else None

    def run(self) -> None:
        claims = {}
        for name in (*self.kept, "checkpoint.certified", "checkpoint"):
            raw = self.read(name)
            if raw is None:
                self.problems |= {("log.missing", None)} if name == "checkpoint" else set()
                continue
            try:
                claims[name] = parse_checkpoint(raw)
                if claims[name][3][0].count("\n") > 3:
                    del claims[name]
                    raise Bad
            except Bad:
                self.problems.add(("checkpoint.form", None))
        self.claim = claims.get("checkpoint")
        if self.claim is None:
            return
        whole = self._read_leaves(self.claim[1])
        self._compare_tiles(whole)
        self.is_whole, card = whole, self.card
        for name, claim in claims.items():
            self._check(name, claim, card, whole)
        vkey = self.read("vkey")
        if vkey is None:
            self.problems.add(("log.missing", None))
        elif card:
            key, short = b"\1" + card["log_key"], key_id(self.origin, 1, card["log_key"])
            if vkey != f"{self.origin}+{short.hex()}+{base64.b64encode(key).decode()}\n".encode():
                self.problems.add(("vkey.differs", None))

    def _read_leaves(self, size: int) -> bool:
        self.whos[0] = self.state.who
        for start in range(0, size, 256):
            width = min(256, size - start)
            raw = self.read(tile_path("entries", start // 256, width))
            if raw is None:
                self.problems.add(("log.missing", start))
                return False
            leaves = split_bundle(raw, width)
            if sum(2 + len(one) for one in leaves) != len(raw) or len(leaves) != width:
                self.problems.add(("bundle.form", start + self._first_damage(start // 256, width, leaves)))
                return False
            for one in leaves:
                found, leaf = self.state.step(one)
                index = len(self.state.hashes) - 1
                self.found.append(found)
                self.leaves.append(one)
                self.whos[index + 1] = self.state.who
                self.public += leaf["count"] if leaf and leaf["public"] else 0
                self.private += leaf["count"] if leaf and not leaf["public"] else 0
        return True

    def _first_damage(self, index: int, width: int, leaves: list[bytes]) -> int:
        tile = self.read(tile_path(0, index, width))
        if tile is None or len(tile) != 32 * width:
            return 0
        hashes = [tile[at : at + 32] for at in range(0, len(tile), 32)]
        for at, expected in enumerate(hashes):
            if at >= len(leaves) or H(b"\0" + leaves[at]) != expected:
                return at
        return width - 1

    def _compare_tiles(self, whole: bool) -> None:
        level, hashes, named = 0, self.state.hashes, set[tuple[int, int]]()
        while hashes:
            for start in range(0, len(hashes), 256):
                part = hashes[start : start + 256]
                if len(part) < 256 and not whole:
                    continue
                raw, below = self.read(tile_path(level, start // 256, len(part))), 256**level
                if raw is None:
                    self.problems.add(("log.missing", start * below))
                elif raw != b"".join(part):
                    same = len(raw) == 32 * len(part)
                    differs = (n for n, one in enumerate(part) if raw[32 * n : 32 * n + 32] != one)
                    fresh = (n for n in differs if (level, start + n) not in named)
                    place = next(fresh, None) if same else 0
                    self.problems |= set() if place is None else {("tile.content", (start + place) * below)}
                    named |= {(level + 1, start // 256)} if same else set()
            full = len(hashes) // 256
            hashes = [root_of(hashes[256 * n : 256 * n + 256]) for n in range(full)]
            level += 1

    def _check(self, name: str, claim: Claim, card: Any, whole: bool) -> None:
        origin, size, root, note = claim
        if origin != self.origin:
            self.problems.add(("checkpoint.origin", None))
            return
        if card is None and (self.state.hashes or whole):
            self.problems.add(("adopt.undecided" if self.state.undecided else "checkpoint.signature", None))
            return
        vkey = b"" if card else self.read("vkey")
        try:
            if card or vkey:
                signer, key = (origin, card["log_key"]) if card else parse_vkey(text_of(vkey))
                need(signer == origin)
                signers(note, {signer: key})
        except Bad:
            self.problems.add(("checkpoint.signature", None))
            return
        if card is None:
            return
        assert self.claim is not None
        if self.era > 1 and self.state.opening and size < 1 + self.state.announced:
            self.problems.add(("checkpoint.carried", None))
        if size <= len(self.state.hashes) and size <= self.claim[1]:
            if root_of(self.state.hashes[:size]) != root:
                self.problems.add(("checkpoint.root", None))
            else:
                self.good.append((note, size))
                self.is_signed = self.is_signed or name == "checkpoint"
        elif whole:
            self.problems.add(("log.missing", None))

    @property
    def end(self) -> int:
        ends = [end["size"] for end in self.ends if end["era"] == self.era]
        return min([self.claim[1] if self.claim else 0, *ends])

    def certify(self, cards: dict[bytes, dict[str, Any]], done: dict[int, int]) -> None:
        """``done``: versions whose transition the eras before hold."""
        self.done = dict(done)
        held = len(self.state.hashes) if self.state.undecided_at is None else self.state.undecided_at
        for note, size in sorted(self.good, key=lambda one: one[1]):
            if size <= held and self._is_certified(note, size, cards, self.done):
                self.certified = size
        self.certified = min(self.certified, self.end)

    def _is_certified(self, note: tuple[str, Lines], size: int, cards: Any, done: dict[int, int]) -> bool:
        """Section 13.3; ``done`` maps versions to the size of their first certified note."""
        last = {adopt["version"]: (adopt, roster) for adopt, place, roster in self.whos[size].adopts}
        versions = sorted(last)
        is_opened = self.era == 1 or self.state.opening is not None
        if not versions or not is_opened or len(last[versions[-1]][1]["roots"]) == 1:
            return False
        needed, j = [versions[-1]], len(versions) - 1
        while j > 0 and versions[j] not in done:
            before, after = last[versions[j - 1]][1]["roots"], last[versions[j]][1]["roots"]
            if any(before.get(name) != root for name, root in after.items()):
                needed.append(versions[j - 1])
            j -= 1
        terms = [last[version] for version in reversed(versions)]
        good = all(self._agrees(note, size, last[version][1], terms, cards) for version in needed)
        if good:
            done.setdefault(versions[-1], size)
        return good

    def _agrees(self, note: tuple[str, Lines], size: int, roster: Any, terms: Any, cards: Any) -> bool:
        keys = set()
        for name in roster["roots"]:
            key = self._witness_key(name, size, terms, cards)
            if key and has_cosigned(note, f"{self.origin.split('/')[0]}/{name}/witness", key):
                keys.add(key)
        return len(keys) >= q(len(roster["roots"]))

    def _witness_key(self, name: str, size: int, terms: Any, cards: Any) -> bytes | None:
        """Section 13.2."""
        if name == self.agency:
            return self.whos[size].cards[-1][0]["witness_key"]  # type: ignore[no-any-return]
        adopt, roster = next(one for one in terms if name in one[1]["roots"])
        number, hash_ = adopt["cards"][name] or (0, b"")
        card = cards.get(hash_)
        ledger = self.origin.split("/")[0]
        if not card or card["number"] != number or card["origin"].split("/")[:2] != [ledger, name]:
            return None
        return card["witness_key"] if card["author"] == roster["roots"][name] else None


def parsed(body: bytes) -> dict[str, Any] | None:
    try:
        return parse_body(body)
    except Bad:
        return None


def text_of(vkey: bytes | None) -> str:
    return (vkey or b"").decode(errors="replace").removesuffix("\n")


def split_bundle(raw: bytes, width: int) -> list[bytes]:
    """The whole entries that the bytes hold, up to ``width``."""
    leaves, at = [], 0
    while len(leaves) < width and at + 2 <= len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            break
        leaves.append(raw[at + 2 : end])
        at = end
    return leaves
