"""The stranger's verifier, sections 8 to 11 of docs/FORMAT.md: entries, leaves, and the leaf verdict.

It imports nothing of ledger, node or cli: see ``tests/stranger.py``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.stranger_bytes import (
    NAME,
    Bad,
    H,
    is_bytes,
    is_int,
    is_text,
    need,
    root_of,
    unpack,
    verifies,
    words,
)
from tests.stranger_roster import PUBLIC

DOMAIN = b"pledger/entry/v1\0"

# 8 header, 9 leaf, 10 public records


def parse_leaf(raw: bytes) -> dict[str, Any]:
    v = unpack(raw, 65535)
    need(type(v) is list and len(v) == 6 and v[0] == 1 and is_bytes(v[1]) and is_int(v[2], 0, 70_000_000))
    need(type(v[3]) is bytes and is_bytes(v[4], 64))
    need(type(v[5]) is list and all(type(body) is bytes for body in v[5]))
    header = parse_header(v[3])
    need(len(v[5]) == (header["count"] if header["public"] else 0))
    leaf = dict(zip(("prev", "hour", "raw", "signature", "bodies"), v[1:], strict=True))
    return leaf | header


def parse_header(raw: bytes) -> dict[str, Any]:
    h = unpack(raw, 512)
    need(type(h) is list and len(h) == 8 and h[0] == 1 and is_bytes(h[1]))
    need(is_text(h[2], NAME) and is_bytes(h[3]))
    need(is_int(h[4], 0, 4_000_000) and is_int(h[5], 0, 1) and is_int(h[6]) and is_bytes(h[7]))
    need(1 <= h[6] <= 16 if h[5] else 4 <= h[6] <= 4096 and h[6].bit_count() == 1)
    header = dict(zip(("ledger", "agency", "author", "day", "public", "count", "root"), h[1:], strict=True))
    return header | {"raw": raw, "id": H(DOMAIN + raw)}


CARD = "origin number before log_key witness_key node_key desk_keys sealing_key registrar_keys urls void_from"
KEYS = {
    "agency.card": CARD,
    "roster.adopt": "version hash cards",
    "staff.grant": "key scope valid_from valid_until",
    "staff.revoke": "key suspect_from",
    "erasure": "root",
    "log.reconcile": "kept closes carried set_aside hour reason_code",
}
MAY = {
    "agency.card": ["root"],
    "roster.adopt": ["root", "desk"],
    "staff.grant": ["root", "registrar"],
    "staff.revoke": ["root", "registrar"],
    "log.reconcile": ["root"],
    "erasure": ["desk"],
}
BOUND = {"log.reconcile", "roster.adopt", "agency.card"}
REASONS = words("fork key_lost key_stolen restored wrong_hour invalid_tail root_changed")
URL = r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?"


def parse_body(raw: bytes) -> dict[str, Any]:
    v = unpack(raw, 60000)
    need(type(v) is dict and type(v.get("kind")) is str and v["kind"] in KEYS)
    kind = v["kind"]
    need(set(v) == {"kind", *KEYS[kind].split()})
    if kind == "agency.card":
        need(len(raw) <= 1600)
        need(is_text(v["origin"], r"[^/]+/[^/]+/[1-9][0-9]{0,3}"))
        need(all(NAME.fullmatch(part) for part in v["origin"].split("/")[:2]))
        need(
            is_int(v["number"], 1, 1000)
            and (v["before"] is None if v["number"] == 1 else is_bytes(v["before"]))
        )
        need(all(type(v[k]) is list and 1 <= len(v[k]) <= 16 for k in ("desk_keys", "registrar_keys")))
        keys = [key for key, _ in uses(v)]
        need(all(map(is_bytes, keys)) and len(set(keys)) == len(keys) and is_bytes(v["sealing_key"]))
        need(type(v["urls"]) is list and len(v["urls"]) <= 8)
        need(all(is_text(url, URL) and len(url) <= 200 for url in v["urls"]))
        void = v["void_from"]
        need(type(void) is list and len(void) <= 16)
        need(all(type(one) is list and len(one) == 3 and is_bytes(one[0]) for one in void))
        need(all(is_place(one[1:]) for one in void))
        need(all(left[0] < right[0] for left, right in pairwise(void)))
    elif kind == "roster.adopt":
        need(is_int(v["version"], 1) and is_bytes(v["hash"]) and type(v["cards"]) is dict)
        need(all(NAME.fullmatch(name) for name in v["cards"]))
        need(all(pin is None or (is_counted(pin) and pin[0] >= 1) for pin in v["cards"].values()))
    elif kind == "staff.grant":
        need(
            is_bytes(v["key"])
            and is_bytes(v["scope"])
            and is_int(v["valid_from"])
            and is_int(v["valid_until"])
        )
    elif kind == "staff.revoke":
        need(is_bytes(v["key"]) and (v["suspect_from"] is None or is_place(v["suspect_from"])))
    elif kind == "log.reconcile":
        need(type(v["closes"]) is list and len(v["closes"]) <= 64)
        need(all(map(is_head, [v["kept"], *v["closes"]])))
        need(is_counted(v["carried"]) and is_counted(v["set_aside"]))
        need(is_int(v["hour"]) and type(v["reason_code"]) is str and v["reason_code"] in REASONS)
    else:
        need(is_bytes(v["root"]))
    return v | {"record_hash": H(b"\0" + raw)}


def is_place(v: Any) -> bool:
    return type(v) is list and len(v) == 2 and is_int(v[0], 1) and is_int(v[1])


def is_counted(v: Any) -> bool:
    return type(v) is list and len(v) == 2 and is_int(v[0]) and is_bytes(v[1])


def is_head(v: Any) -> bool:
    is_map = type(v) is dict and set(v) == {"era", "size", "root"}
    return is_map and is_int(v["era"], 1) and is_int(v["size"]) and is_bytes(v["root"])


Head = tuple[int, int, bytes]
"""Era, size, root."""


def head_of(v: dict[str, Any]) -> Head:
    return v["era"], v["size"], v["root"]


def end_of(v: dict[str, Any]) -> Head:
    """What an `ends` of a roster names."""
    return v["era"], v["size"], bytes.fromhex(v["root"])


def uses(card: dict[str, Any]) -> list[tuple[bytes, str]]:
    """The signing keys of a card and their uses."""
    single = [(card[f"{use}_key"], use) for use in ("log", "witness", "node")]
    return single + [(key, use) for use in ("desk", "registrar") for key in card[f"{use}_keys"]]


# 11 the leaf verdict


class State:
    """What a prefix of a log leaves behind; `step` judges the next leaf."""

    def __init__(self, ledger_id: bytes, origin: str, rosters: dict[bytes, dict[str, Any]]) -> None:
        self.ledger_id, self.origin, self.agency, self.rosters = (
            ledger_id,
            origin,
            origin.split("/")[1],
            rosters,
        )
        self.head, self.hour, self.seen, self.undecided = ledger_id, 0, set(), False  # type: ignore[var-annotated]
        self.who = Who((), (), {}, {})
        self.undecided_at: int | None = None
        self.hashes: list[bytes] = []
        self.era = int(origin.split("/")[2])
        self.kept: Head | None = None
        self.opening: dict[str, Any] | None = None
        self.moved: list[bytes] = []

    def next_era(self, origin: str, kept: Head) -> State:
        """The state before index 0 of a later era that keeps this one."""
        new = State(self.ledger_id, origin, self.rosters)
        new.head, new.hour, new.seen, new.undecided = self.head, self.hour, set(self.seen), self.undecided
        new.who, new.kept, new.undecided_at = self.who, kept, 0 if self.undecided else None
        return new

    def copy(self) -> State:
        new = self.next_era(self.origin, self.kept)  # type: ignore[arg-type]
        new.undecided_at, new.hashes, new.opening = self.undecided_at, list(self.hashes), self.opening
        new.moved = list(self.moved)
        return new

    def step(self, raw: bytes) -> tuple[set[str], dict[str, Any] | None]:
        try:
            leaf = parse_leaf(raw)
        except Bad:
            leaf = None
        found = self.judge_leaf(leaf, H(b"\0" + raw))
        return found, leaf

    @property
    def announced(self) -> int:
        """How many moved leaves follow the opening."""
        return self.opening["carried"][0] if self.opening else 0

    def is_moving(self) -> bool:
        return len(self.moved) < self.announced

    def judge_leaf(self, leaf: dict[str, Any] | None, hash_: bytes) -> set[str]:
        i, prev = len(self.hashes), self.head
        is_moved = self.is_moving()
        self.hashes.append(hash_)
        self.head = hash_
        if leaf is None:
            found = {"leaf.form"}
            self.moved += [hash_] * is_moved
            return found | self._carried(is_moved)
        found = self._judge_entry(leaf, i, prev, is_moved)
        self.seen.add(leaf["id"])
        self.hour = max(self.hour, leaf["hour"])
        return found

    def _carried(self, is_moved: bool) -> set[str]:
        """At the last moved leaf the root of all must be the announced one."""
        if not is_moved or self.opening is None or self.is_moving():
            return set()
        return set() if root_of(self.moved) == self.opening["carried"][1] else {"reconcile.carried"}

    def _judge_entry(self, leaf: dict[str, Any], i: int, prev: bytes, is_moved: bool) -> set[str]:
        found = set()
        hashes = [H(b"\0" + body) for body in leaf["bodies"]]
        ascends = all(left < right for left, right in pairwise(hashes))
        for rule, broken in (
            ("entry.root", leaf["public"] and (not ascends or root_of(hashes) != leaf["root"])),
            ("entry.signature", not verifies(leaf["author"], DOMAIN + leaf["raw"], leaf["signature"])),
            ("leaf.prev", leaf["prev"] != prev),
            ("leaf.hour", leaf["hour"] < self.hour),
            ("entry.ledger", leaf["ledger"] != self.ledger_id),
            ("entry.agency", leaf["agency"] != self.agency),
            ("entry.repeated", leaf["id"] in self.seen),
        ):
            found |= {rule} if broken else set()
        records = []
        for body in leaf["bodies"]:
            try:
                records.append(parse_body(body))
            except Bad:
                found.add("governance.form")
        records.sort(key=lambda one: PUBLIC.index(one["kind"]))
        kinds = [one["kind"] for one in records]
        opening = ["log.reconcile"] * (self.era > 1) + ["roster.adopt", "agency.card"]
        if i == 0 and [kind for kind in kinds if kind != "staff.revoke"] != opening:
            found.add("opening.form")
        if i > 0 and "log.reconcile" in kinds:
            found.add("reconcile.era")
        if kinds.count("agency.card") > 1 or kinds.count("roster.adopt") > 1:
            found.add("governance.form")
        if is_moved:
            assert self.opening is not None
            self.moved.append(H(b"\0" + leaf["id"]))
            found |= {"reconcile.hour"} if leaf["hour"] != self.opening["hour"] else set()
            found |= {"reconcile.moved"} if BOUND & set(kinds) else set()
            found |= self._carried(is_moved)
        self._judge(leaf, i, records, found, is_moved)
        return found

    def _judge(
        self, leaf: dict[str, Any], i: int, records: list[dict[str, Any]], found: set[str], is_moved: bool
    ) -> None:
        adopts = [one for one in records if one["kind"] == "roster.adopt"]
        unknown = any(one["hash"] not in self.rosters for one in adopts)
        if self.undecided or (i == 0 and unknown):
            found.add("adopt.undecided")
            self._stop(i)
            return
        roster = self.rosters[adopts[0]["hash"]] if i == 0 and adopts else self.who.roster
        day = leaf["hour"] // 24
        office = self.who.office(leaf["author"], roster, self.agency, day)
        kinds = {one["kind"] for one in records}
        if is_moved and kinds == {"staff.revoke"} and self.who.is_former_registrar(leaf["author"]):
            office = "registrar"
        elif is_moved and self.who.is_desk(leaf["author"]):
            office = "desk"
        if office.startswith("author."):
            found.add(office)
            return
        if not leaf["public"] and office in ("root", "registrar"):
            found.add("author.office")
        if office == "staff" and roster and roster["sunset"] is not None and day > roster["sunset"]:
            found.add("entry.sunset")
        who = self.who
        for record in records:
            broken = who.judge(record, office, self.origin, (self.era, i), self.rosters)
            if record["kind"] == "log.reconcile" and "author.office" not in broken:
                broken = self._judge_reconcile(record, leaf["hour"], i, adopts)
            found |= broken
            if not broken:
                who = who.after(record, leaf["author"], (self.era, i), self.rosters)
        if not found:
            self.who = who
            if i == 0 and self.era > 1:
                self.opening = next(one for one in records if one["kind"] == "log.reconcile")
        elif unknown and found == {"adopt.undecided"}:
            self._stop(i)

    def _judge_reconcile(self, v: dict[str, Any], hour: int, i: int, adopts: Any) -> set[str]:
        if self.era == 1 or i > 0:
            return {"reconcile.era"}
        kept = head_of(v["kept"])
        found = set()
        if kept != self.kept or (kept[0] > 1 and kept[1] == 0):
            found.add("reconcile.heads")
        if any(one["era"] >= self.era or one["size"] == 0 for one in v["closes"]):
            found.add("reconcile.heads")
        found |= {"reconcile.hour"} if hour != v["hour"] else set()
        found |= {"reconcile.carried"} if v["carried"][0] == 0 and v["carried"][1] != H(b"") else set()
        before = self.who.roster["version"] if self.who.roster else 0
        until = max((self.rosters[one["hash"]]["version"] for one in adopts), default=0)
        ends = [
            one["ends"][self.agency]
            for one in sorted(self.rosters.values(), key=lambda one: one["version"])
            if before < one["version"] <= until and self.agency in one["ends"]
        ]
        if ends and (kept, self.era) != (end_of(ends[-1]), ends[-1]["next_era"]):
            found.add("reconcile.ends")
        return found

    def _stop(self, i: int) -> None:
        self.undecided_at = i if self.undecided_at is None else self.undecided_at
        self.undecided = True


class Who:
    """Who may write after a prefix; never changed in place."""

    def __init__(self, cards: Any, adopts: Any, grants: Any, revoked: Any) -> None:
        self.cards, self.adopts, self.grants, self.revoked = cards, adopts, grants, revoked
        self.adopt, self.roster = (adopts[-1][0], adopts[-1][2]) if adopts else (None, None)

    def root(self, agency: str) -> bytes | None:
        return self.roster["roots"].get(agency) if self.roster else None

    def office(self, key: bytes, roster: Any, agency: str, day: int) -> str:
        if key in self.revoked:
            return "author.revoked"
        if roster and key == roster["roots"].get(agency):
            return "root"
        card = self.cards[-1][0] if self.cards else None
        if card and key in card["registrar_keys"]:
            return "registrar"
        if card and key == card["desk_keys"][0]:
            return "desk"
        if key not in self.grants:
            return "author.unknown"
        grants = [grant for grant, place, by in self.grants[key] if not self._is_void(place, by)]
        if any(grant["valid_from"] <= day <= grant["valid_until"] for grant in grants):
            return "staff"
        return "author.early" if grants and all(day < one["valid_from"] for one in grants) else "author.late"

    def is_former_registrar(self, key: bytes) -> bool:
        """Whether a registrar on any card so far, or signer of one."""
        return any(key in card["registrar_keys"] or key == card["author"] for card, _ in self.cards)

    def is_desk(self, key: bytes) -> bool:
        return bool(self.cards) and key in self.cards[-1][0]["desk_keys"]

    def _is_void(self, place: tuple[int, int], by: bytes) -> bool:
        return any(
            key == by and place >= (era, index)
            for card, at in self.cards
            if at > place
            for key, era, index in card["void_from"]
        )

    def judge(
        self, v: dict[str, Any], office: str, origin: str, place: tuple[int, int], rosters: Any
    ) -> set[str]:
        agency, card = origin.split("/")[1], self.cards[-1][0] if self.cards else None
        if office not in MAY[v["kind"]]:
            return {"author.office"}
        found = set()
        if v["kind"] == "agency.card":
            number, before = (card["number"] + 1, card["record_hash"]) if card else (1, None)
            dropped = set(card["registrar_keys"]) - set(v["registrar_keys"]) if card else set()
            if (v["origin"], v["number"], v["before"]) != (origin, number, before) or any(
                one[0] not in dropped for one in v["void_from"]
            ):
                found.add("card.chain")
            earlier = [one for old, _ in self.cards for one in uses(old)]
            taken = {*self.grants, *self.revoked, self.root(agency)}
            if any((old["log_key"] != v["log_key"]) == (at[0] == place[0]) for old, at in self.cards) or any(
                key in taken or any(key == old and use != was for old, was in earlier) for key, use in uses(v)
            ):
                found.add("card.keys")
        elif v["kind"] == "roster.adopt":
            roster = rosters.get(v["hash"])
            if roster is None:
                return {"adopt.undecided"}
            if (
                roster["version"] != v["version"]
                or agency not in roster["roots"]
                or (self.roster and v["version"] < self.roster["version"])
            ):
                found.add("adopt.version")
            pins = self.adopt["cards"] if self.adopt else {}
            if set(v["cards"]) != set(roster["roots"]) - {agency} or any(
                name in pins and (pin or [0])[0] < (pins[name] or [0])[0] for name, pin in v["cards"].items()
            ):
                found.add("adopt.cards")
            used = {*self.grants, *self.revoked, *(key for old, _ in self.cards for key, _ in uses(old))}
            if roster["roots"].get(agency) != self.root(agency) and roster["roots"].get(agency) in used:
                found.add("adopt.key")
        elif v["kind"] == "staff.grant":
            held = {self.root(agency), *(key for old, _ in self.cards for key, _ in uses(old))}
            if v["key"] in self.revoked or v["key"] in held or len(self.grants.get(v["key"], ())) >= 256:
                found.add("grant.key")
            if v["valid_from"] > v["valid_until"]:
                found.add("grant.days")
        elif v["kind"] == "staff.revoke":
            if v["key"] == self.root(agency) or (card and v["key"] in dict(uses(card))):
                found.add("revoke.key")
            if v["suspect_from"] and tuple(v["suspect_from"]) > place:
                found.add("revoke.position")
        return found

    def after(self, v: dict[str, Any], author: bytes, place: tuple[int, int], rosters: Any) -> Who:
        cards, adopts, grants, revoked = self.cards, self.adopts, self.grants, self.revoked
        if v["kind"] == "agency.card":
            cards = (*cards, (v | {"author": author}, place))
        elif v["kind"] == "roster.adopt":
            adopts = (*adopts, (v, place, rosters[v["hash"]]))
        elif v["kind"] == "staff.grant":
            grants = grants | {v["key"]: (*grants.get(v["key"], ()), (v, place, author))}
        elif v["kind"] == "staff.revoke":
            revoked = revoked | {v["key"]: place}
        return Who(cards, adopts, grants, revoked)
