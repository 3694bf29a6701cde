"""A verifier of dossiers written from docs/FORMAT.md alone: it imports nothing of ledger, node or cli.

The sceptic's proof that the document is complete: `tests/test_stranger.py` feeds both verifiers the same
files and asks for the same verdict, problems and numbers. This file is sections 12 to 14; 1 to 6, 7, and 8 to
11 are in ``stranger_bytes``, ``stranger_roster``, ``stranger_log``. Short, not fast: it holds a whole log.
It judges era 1 only, without branches and evidence.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from tests.stranger_bytes import (
    Bad,
    Files,
    H,
    Lines,
    era_of,
    has_cosigned,
    includes,
    is_bytes,
    is_int,
    is_text,
    key_id,
    need,
    parse_checkpoint,
    parse_vkey,
    root_of,
    signers,
    tile_path,
    unbase64,
    unpack,
    verifies,
    words,
)
from tests.stranger_log import DOMAIN, State, Who, parse_leaf
from tests.stranger_roster import check_chain, check_quorum, parse_roster, q, signed_by

UNDECIDED = {"roster.missing", "log.missing", "log.level", "adopt.undecided"}
OWNERS = words(
    "leaf.form leaf.prev leaf.hour entry.ledger entry.agency entry.repeated entry.sunset opening.form "
    "card.chain card.keys adopt.version adopt.key adopt.cards reconcile.era"
)
AUTHORS = words(
    "entry.root entry.signature author.unknown author.early author.late author.revoked author.office "
    "governance.form grant.key grant.days revoke.key revoke.position"
)
FAULTS = {"roster.form": "roster"} | dict.fromkeys(UNDECIDED, "nobody")
FAULTS |= dict.fromkeys(OWNERS, "owner") | dict.fromkeys(AUTHORS, "author")
Claim = tuple[str, int, bytes, tuple[str, Lines]]
"""Origin, size, root and note of a checkpoint."""


# 12 verifying a tree, 13 certification


class Log:
    """One log: its problems as (code, index), and what the report says of it."""

    def __init__(
        self, files: Files, ledger_id: bytes, origin: str, rosters: dict[bytes, dict[str, Any]]
    ) -> None:
        self.files, self.origin, self.agency = files, origin, origin.split("/")[1]
        self.state = State(ledger_id, origin, rosters)
        named = sorted(one["version"] for one in rosters.values() if self.agency in one["roots"])
        self.kept = [f"certified/{version}" for version in named[1:]]
        self.ends = [one["ends"][self.agency] for one in rosters.values() if self.agency in one["ends"]]
        self.problems: set[tuple[str, int | None]] = set()
        self.claim: Claim | None = None
        self.public = self.private = self.certified = 0
        self.is_proven = False
        self.whos: dict[int, Who] = {}
        self.good: list[tuple[tuple[str, Lines], int]] = []

    def read(self, name: str) -> bytes | None:
        try:
            return self.files.read(f"log/{self.agency}/1/{name}")
        except Bad:
            self.problems.add(("tree.limit", None))
            return None

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
        card = self.state.who.cards[-1][0] if self.state.who.cards else None
        for name, claim in claims.items():
            self._check(name, claim, card, whole)
        vkey = self.read("vkey")
        if vkey is None:
            self.problems.add(("log.missing", None))
        elif card:
            key, short = b"\1" + card["log_key"], key_id(self.origin, 1, card["log_key"])
            if vkey != f"{self.origin}+{short.hex()}+{base64.b64encode(key).decode()}\n".encode():
                self.problems.add(("vkey.differs", None))
        for end in self.ends:
            held = self.state.hashes[: end["size"]]
            if end["era"] == 1 and len(held) == end["size"] and root_of(held).hex() != end["root"]:
                self.problems.add(("checkpoint.root", None))

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
                self.problems |= {(rule, index) for rule in found}
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
        if size <= len(self.state.hashes) and size <= self.claim[1]:
            if root_of(self.state.hashes[:size]) != root:
                self.problems.add(("checkpoint.root", None))
            else:
                self.good.append((note, size))
                self.is_proven = self.is_proven or name == "checkpoint"
        elif whole:
            self.problems.add(("log.missing", None))

    def certify(self, cards: dict[bytes, dict[str, Any]], level: str) -> None:
        held = len(self.state.hashes) if self.state.undecided_at is None else self.state.undecided_at
        done: dict[int, int] = {}
        for note, size in sorted(self.good, key=lambda one: one[1]):
            if size <= held and self._is_certified(note, size, cards, done):
                self.certified = size
        ends = [end["size"] for end in self.ends if end["era"] == 1]
        end = min([self.claim[1] if self.claim else 0, *ends])
        self.certified = min(self.certified, end)
        if level == "certified" and self.claim and self.certified < end:
            self.problems.add(("log.level", None))

    def _is_certified(self, note: tuple[str, Lines], size: int, cards: Any, done: dict[int, int]) -> bool:
        """Section 13.3; ``done`` maps versions to the size of their first certified note."""
        last = {adopt["version"]: (adopt, roster) for adopt, place, roster in self.whos[size].adopts}
        versions = sorted(last)
        if not versions or len(last[versions[-1]][1]["roots"]) == 1:
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


def read_rosters(files: Files, ledger_id: bytes) -> tuple[list[dict[str, Any]], str | None]:
    versions: list[dict[str, Any]] = []
    while len(versions) < 9999:
        v = len(versions) + 1
        try:
            raw, signatures = files.read(f"roster/{v}.json"), files.read(f"roster/{v}.note")
        except Bad:
            return versions, "tree.limit"
        if raw is None and signatures is None and v > 1:
            break
        if raw is None or signatures is None:
            return versions, "roster.missing"
        if v == 1 and H(raw) != ledger_id:
            return versions, "roster.ledger_id"
        rule = "roster.form"
        try:
            roster = parse_roster(raw)
            rule = "roster.chain"
            if v > 1:
                check_chain(versions, roster)
            rule = "roster.quorum"
            if v > 1:
                check_quorum(versions[-1], roster, signatures)
            else:
                roots = {f"{roster['ledger']}/{name}/root" for name in roster["roots"]}
                need(roster["version"] == 1 and roots <= signed_by(roster, roster, signatures))
        except Bad:
            return versions, rule
        versions.append(roster)
    return versions, None


def verify(source: dict[str, bytes] | bytes, ledger_id: bytes, level: str = "leaf") -> dict[str, Any]:
    """Return the report on files by name, or on the bytes of a ZIP."""
    try:
        files = Files(source)
    except Bad:
        return report([("zip.layout", None, None, "bundle")], [])
    versions, rule = read_rosters(files, ledger_id)
    codes = {rule} if rule else set()
    in_roster = [re.fullmatch(r"roster/([1-9][0-9]{0,3})\.(json|note)", name) for name in files.names]
    if rule is None and max((int(one[1]) for one in in_roster if one), default=0) > len(versions):
        codes.add("roster.missing")
    odd = [
        name
        for name in files.names
        if re.search(r"[\\\0:]", name) or any(part in ("", ".", "..") for part in name.split("/"))
    ]
    if odd or len(set(files.names)) < len(files.names):
        codes.add("tree.name")
    if any(place and place[1] > 1 for place in map(era_of, files.names)):
        raise NotImplementedError("sections 11 and 12 on later eras are not written here yet")
    agencies = dict.fromkeys(name for one in versions for name in one["roots"])
    by_hash = {one["hash"]: one for one in versions}
    logs = [Log(files, ledger_id, f"{versions[0]['ledger']}/{name}/1", by_hash) for name in agencies]
    for log in logs:
        log.run()
    cards = {card["record_hash"]: card for log in logs for card, _ in log.state.who.cards}
    problems = [(code, None, None, FAULTS.get(code, "bundle")) for code in codes]
    for log in logs:
        log.certify(cards, level)
        for code, index in log.problems:
            fault = FAULTS.get(code, "bundle")
            if fault in ("owner", "author"):
                fault = "owner" if log.is_proven else "bundle"
            problems.append((code, log.origin, index, fault))  # type: ignore[arg-type]
    return report(problems, logs)


def report(problems: list[Any], logs: list[Log]) -> dict[str, Any]:
    undecided = all(code in UNDECIDED for code, *_ in problems)
    public, private = sum(log.public for log in logs), sum(log.private for log in logs)
    return {
        "verdict": "verified" if not problems else "incomplete" if undecided else "failed",
        "logs": [
            {
                "origin": log.origin,
                "size": log.claim[1],
                "root": log.claim[2].hex(),
                "certified_size": log.certified,
            }
            for log in logs
            if log.claim
        ],
        "entries": sum(len(log.state.hashes) for log in logs),
        "records": public + private,
        "held": public,
        "withheld": private,
        "problems": set(problems),
    }


# 14 presentations


def check_presentation(data: bytes, ledger_id: bytes, log_key: bytes) -> dict[str, Any]:
    """Return the shown part of a presentation that fulfils all of section 14; Bad otherwise."""
    need(len(data) <= 155879)
    head, _, checkpoint = data.partition(b"\n\n")
    need(head.isascii())
    lines = head.decode().split("\n")
    need(len(lines) >= 3 and lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("extra "))
    need(lines[2].startswith("index ") and is_text(lines[2][6:], "0|[1-9][0-9]{0,18}"))
    hashes, raw = [unbase64(line) for line in lines[3:]], unbase64(lines[1][6:])
    extra = unpack(raw, 65535)
    need(len(hashes) <= 63 and all(map(is_bytes, hashes)) and type(extra) is dict)
    need(set(extra) == {"leaf", "owner_hash", "path", "position", "shown"} and is_bytes(extra["owner_hash"]))
    need(type(extra["path"]) is list and len(extra["path"]) <= 12 and all(map(is_bytes, extra["path"])))
    need(type(extra["leaf"]) is bytes and is_int(extra["position"]) and type(extra["shown"]) is bytes)
    leaf, shown = parse_leaf(extra["leaf"]), unpack(extra["shown"], 16384)
    need(type(shown) is dict and set(shown) == {"salt", "kind", "period", "fields"})
    need(is_bytes(shown["salt"], 16))
    need(all(type(shown[key]) is str and 1 <= len(shown[key]) <= 40 for key in ("kind", "period")))
    need(type(shown["fields"]) is dict)
    origin, size, root, note = parse_checkpoint(checkpoint)
    signers(note, {origin: log_key})
    need(includes(H(b"\0" + extra["leaf"]), int(lines[2][6:]), size, hashes, root))
    need(verifies(leaf["author"], DOMAIN + leaf["raw"], leaf["signature"]) and leaf["ledger"] == ledger_id)
    need(not leaf["public"] and leaf["agency"] == origin.split("/")[1])
    record = H(b"\0" + extra["owner_hash"] + H(extra["shown"]))
    need(includes(record, extra["position"], leaf["count"], extra["path"], leaf["root"]))
    return shown  # type: ignore[no-any-return]
