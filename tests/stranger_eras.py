"""The stranger's verifier, sections 4.1, 11.1 and 12.1 of docs/FORMAT.md: eras, branches, evidence.

It imports nothing of ledger, node or cli: see ``tests/stranger.py``.
"""

from __future__ import annotations

from typing import Any

from tests.stranger_bytes import (
    Bad,
    Files,
    H,
    branch_of,
    era_of,
    is_bytes,
    is_int,
    lead,
    need,
    parse_checkpoint,
    root_of,
    signers,
    unpack,
    verifies,
)
from tests.stranger_log import (
    BOUND,
    DOMAIN,
    Head,
    State,
    end_of,
    head_of,
    parse_body,
    parse_header,
    parse_leaf,
)
from tests.stranger_tree import Log, parsed

TABLE = [
    *("leaf.form", "entry.root", "entry.signature", "leaf.prev", "leaf.hour", "entry.ledger", "entry.agency"),
    *("entry.repeated", "entry.sunset", "author.unknown", "author.early", "author.late", "author.revoked"),
    *("author.office", "governance.form", "opening.form", "card.chain", "card.keys", "adopt.version"),
    *("adopt.key", "adopt.undecided", "adopt.cards", "grant.key", "grant.days", "revoke.key"),
    *("revoke.position", "reconcile.era", "reconcile.heads", "reconcile.ends", "reconcile.hour"),
    *("reconcile.moved", "reconcile.carried"),
]
"""The rules of section 11 in their order."""


class Agency:
    """All that is in hand of one agency: eras, branches, evidence, and what they make of each other."""

    def __init__(self, files: Files, ledger_id: bytes, name: str, versions: list[dict[str, Any]]) -> None:
        self.files, self.ledger_id, self.name, self.versions = files, ledger_id, name, versions
        self.agency, self.rosters = name.split("/")[1], {one["hash"]: one for one in versions}
        self.logs: list[Log] = []
        self.found: set[tuple[str, str, int | None, bool]] = set()
        """Rule, origin, index, and whether whoever signed the log answers for it."""
        self.log: Log | None = None
        self.set_aside: set[bytes] = set()

    # reading

    def read(self) -> None:
        names = [name for name in self.files.names if (era_of(name) or ("", 0))[0] == self.agency]
        places = {(era_of(name)[1], branch_of(name)) for name in names} | {(1, "")}  # type: ignore[index]
        for era in sorted({era for era, _ in places}):
            for branch in sorted({branch for one, branch in places if one == era} | {""}):
                state = State(self.ledger_id, f"{self.name}/{era}", self.rosters)
                self._read(Log(self.files, state, self.versions, branch))

    def _read(self, log: Log) -> None:
        if log.era > 1:
            kept = log.keeps()
            state = self._state_of(kept, log.era) if kept else self._last_state(log.era)
            if state is None:
                self.found.add(("reconcile.missing", log.origin, None, True))
                return
            log.begin(state.next_era(log.origin, kept or state_head(state)))
        log.run()
        self.logs.append(log)
        name = log.branch.removeprefix("branch/").removesuffix("/")
        if name and log.is_whole and name not in {one.hex() for one in log.state.hashes}:
            self.found.add(("branch.name", log.origin, None, True))

    def _state_of(self, head: Head, era: int) -> State | None:
        if head == (1, 0, H(b"")):
            return State(self.ledger_id, f"{self.name}/1", self.rosters)
        holder = self._holder(head) if head[0] < era and head[1] else None
        return holder.state_at(head[1]) if holder else None

    def _last_state(self, era: int) -> State | None:
        """Of the newest earlier era: the state of an opening that does not say what it keeps."""
        mains = [log for log in self.logs if not log.branch and log.is_proven and log.era < era]
        return mains[-1].state_at(len(mains[-1].leaves)) if mains else None

    def _holder(self, head: Head) -> Log | None:
        return next((log for log in self.logs if log.is_proven and log.has(head)), None)

    # the log, its history

    def judge(self, cards: dict[bytes, dict[str, Any]], level: str) -> None:
        for log in self.logs:
            kept = log.state.kept
            before = [one for one in self.logs if kept and one.is_proven and one.has(kept)]
            done = [v for one in before for v, size in one.done.items() if kept and size <= kept[1]]
            log.certify(cards, dict.fromkeys(done, 0))
        mains = [log for log in self.logs if not log.branch]
        self._check_ends()
        latest = sorted(self.logs, key=lambda log: -log.era)
        self.log = next((log for log in latest if self._may_be_log(log)), None)
        if self.log is None:
            for log in self.logs:
                self._name(log, len(log.found))
            for main in mains if level == "certified" else ():
                self._ask(main)
            return
        self.history = self._history(self.log)
        for era, log in self._openings():
            self._judge_lists(era, log)
        for log in self.logs:
            self._place(log)
        for era in sorted({log.era for log in self.logs}):
            self._judge_evidence(era)
            self._judge_unproven(era)
        if level == "certified":
            self._ask(self.log)

    def _ask(self, log: Log) -> None:
        if log.certified < log.end:
            self.add(log, "log.level")

    def add(self, log: Log, code: str, index: int | None = None) -> None:
        """A problem of a branch: nobody but the bearer answers for leaves that were not signed."""
        self.found.add((code, log.origin, index, log.is_signed))

    def _name(self, log: Log, count: int) -> None:
        for index, found in enumerate(log.found):
            for rule in found if index < count else ():
                self.add(log, rule, index)
        for code, at in log.problems:
            self.add(log, code, at)

    def _ends(self) -> list[Any]:
        return [one["ends"][self.agency] for one in self.versions if self.agency in one["ends"]]

    def _check_ends(self) -> None:
        """If a branch is as long as an `ends` says, one has its root."""
        for end in self._ends():
            of_era = [log for log in self.logs if log.era == end["era"]]
            held = [log for log in of_era if len(log.state.hashes) >= end["size"] and log.claim]
            if held and not any(log.has(end_of(end)) for log in held):
                self.add(of_era[0], "checkpoint.root")

    def _may_be_log(self, log: Log) -> bool:
        if not log.is_proven or not self._is_opened(log) or self._is_cut_off(log):
            return False
        heads = [end_of(end) for end in self._ends() if end["era"] == log.era]
        return all(log.has(head) for head in heads if self._holder(head))

    def _is_gone(self) -> bool:
        """Whether the agency was dropped at a state of the log."""
        ends = self._ends()[-1:]
        is_named = self.agency in self.versions[-1]["roots"]
        return not is_named and any(self._contains(end_of(end)) for end in ends)

    def _is_opened(self, log: Log) -> bool:
        return bool(log.state.opening) if log.era > 1 else bool(log.found) and not log.found[0]

    def _is_cut_off(self, log: Log) -> bool:
        adopted = log.whos[1].roster if log.era > 1 and 1 in log.whos else None
        for roster in self.versions if adopted else ():
            end = roster["ends"].get(self.agency)
            if end and end["era"] < log.era < end["next_era"]:
                return True
            if end and log.era >= end["next_era"] and adopted["version"] < roster["version"]:
                return True
        return False

    def _history(self, log: Log) -> list[tuple[Head, Log]]:
        found, head = [], log.head
        while True:
            found.append((head, log))
            kept = log.state.kept
            holder = self._holder(kept) if kept else None
            if kept is None or holder is None:
                return found
            head, log = kept, holder

    def _contains(self, head: Head) -> bool:
        return any(head[0] == at[0] and head[1] <= at[1] and log.has(head) for at, log in self.history)

    def _openings(self) -> list[tuple[int, Log]]:
        return [(head[0], log) for head, log in self.history if head[0] > 1]

    def _is_settled_above(self, era: int) -> bool:
        settled = any(head[0] > era and self._is_settled(head, log) for head, log in self.history)
        return settled or self._is_gone()

    def _is_settled(self, head: Head, log: Log) -> bool:
        opening = (log.era, 1, log.state.hashes[0]) if log.state.hashes else log.head
        if any(one.certified for one in self.logs if one.is_proven and one.has(opening)):
            return True
        return head[0] > 1 and len(log.whos[1].roster["roots"]) == 1

    # branches

    def _place(self, log: Log) -> None:
        """What a branch is to the log."""
        known = next(((at, one) for at, one in self.history if at[0] == log.era), None)
        shared = 0
        if known:
            pairs = zip(known[1].state.hashes[: known[0][1]], log.state.hashes, strict=False)
            shared = next((n for n, (a, b) in enumerate(pairs) if a != b), min(known[0][1], len(log.leaves)))
        place = self._standing(log)
        if place == "ended":
            beyond = self._ends_of(log)
            shared = min((end["size"] if end["era"] == log.era else 0 for end in beyond), default=0)
        self._name(log, len(log.found) if place in ("part", "open", "unproven") else shared)
        if place == "open":
            self.add(log, "log.forked")
        if place == "late":
            self._owe(log)

    def _standing(self, log: Log) -> str:
        if not log.is_proven:
            return "unproven"
        head = log.head
        if self._ends_of(log):
            return "ended"
        if self._contains(head):
            return "part"
        if self._is_cut_off(log):
            return "ended"
        if not any(at[0] > log.era and self._is_settled(at, one) for at, one in self.history):
            return "ended" if self._is_gone() else "open"
        return "closed" if self._is_closed(log) else "late"

    def _ends_of(self, log: Log) -> list[Any]:
        """The `ends` beyond which a branch lies."""
        return [
            end for end in log.ends if log.head[:2] > (end["era"], end["size"]) and log.era < end["next_era"]
        ]

    def _is_closed(self, log: Log) -> bool:
        for head, opened in self.history:
            if head[0] == 1 or not self._is_settled(head, opened):
                continue
            for one in opened.state.opening["closes"]:  # type: ignore[index]
                closed = head_of(one)
                holder = self._holder(closed)
                if holder and closed[0] == log.era and closed[1] >= len(log.leaves) and holder.has(log.head):
                    return True
        return False

    def _owe(self, log: Log) -> None:
        assert self.log is not None
        for leaf in shown(log.leaves, self.ledger_id):
            if leaf["id"] not in self.log.state.seen | self.set_aside and not BOUND & leaf["kinds"]:
                self.add(log, "log.owed")

    # the lists

    def _judge_lists(self, era: int, log: Log) -> None:
        opening = log.state.opening
        assert opening is not None
        heads = sorted(map(head_of, opening["closes"]), key=lambda head: (head[2], head[0], head[1]))
        holders = [self._holder(head) for head in heads]
        if None in holders:
            self.add(log, "reconcile.missing", 0)
            return
        state, met = log.state_at(1), set(log.state_at(1).seen)
        state.opening = opening | {"carried": [2**62, b""]}
        carried, aside = [], []
        for head, holder in zip(heads, holders, strict=True):
            for leaf in shown(holder.leaves[: head[1]], self.ledger_id):  # type: ignore[union-attr]
                if leaf["id"] in met or BOUND & leaf["kinds"]:
                    continue
                met.add(leaf["id"])
                after = state.copy()
                broken = after.judge_leaf(leaf | {"prev": state.head, "hour": opening["hour"]}, H(leaf["id"]))
                if broken:
                    self.set_aside.add(leaf["id"])
                    aside.append(H(b"\0" + leaf["id"] + min(broken, key=TABLE.index).encode()))
                else:
                    state = after
                    carried.append(H(b"\0" + leaf["id"]))
        for name, hashes in (("carried", carried), ("set_aside", aside)):
            if opening[name] != [len(hashes), root_of(hashes)]:
                self.add(log, "reconcile.lists", 0)

    # evidence

    def _file(self, era: int, name: str) -> bytes | None:
        try:
            return self.files.read(f"log/{self.agency}/{era}/{name}")
        except Bad:
            self.found.add(("tree.limit", f"{self.name}/{era}", None, True))
            return None

    def _log_keys(self, era: int) -> set[bytes]:
        return {
            card["log_key"]
            for log in self.logs
            if log.era == era
            for card, place in log.state.who.cards
            if place[0] == era
        }

    def _judge_evidence(self, era: int) -> None:
        origin = f"{self.name}/{era}"
        for number in range(64):
            raw = self._file(era, f"evidence/{number}")
            if raw is None:
                return
            try:
                piece = parse_evidence(raw)
            except Bad:
                self.found.add(("evidence.form", origin, None, True))
                continue
            try:
                if piece["form"] == "opening":
                    check_openings(piece, origin, self.ledger_id, self._roots())
                else:
                    check_notes(piece, origin, self._log_keys(era))
            except Bad:
                self.found.add(("evidence.proof", origin, None, True))
                continue
            if not self._is_settled_above(era):
                self.found.add(("log.forked", origin, None, True))

    def _roots(self) -> set[bytes]:
        return {one["roots"][self.agency] for one in self.versions if self.agency in one["roots"]}

    def _judge_unproven(self, era: int) -> None:
        origin = f"{self.name}/{era}"
        for number in range(64):
            raw = self._file(era, f"unproven/{number}")
            if raw is None:
                return
            try:
                claim = parse_checkpoint(raw)
                need(claim[0] == origin)
                need(any(is_signed(claim[3], origin, key) for key in self._log_keys(era)))
            except Bad:
                self.found.add(("checkpoint.signature", origin, None, True))
                continue
            if not self._is_settled_above(era) and not self._is_shown((era, claim[1], claim[2])):
                self.found.add(("log.unproven", origin, None, True))

    def _is_shown(self, head: Head) -> bool:
        return head[1:] == (0, H(b"")) or self._holder(head) is not None

    # the report

    def lines(self) -> list[Log]:
        return [log for log in self.logs if not log.branch]


def state_head(state: State) -> Head:
    return state.era, len(state.hashes), root_of(state.hashes)


def is_signed(note: Any, origin: str, key: bytes) -> bool:
    try:
        return bool(signers(note, {origin: key}))
    except Bad:
        return False


def shown(leaves: list[bytes], ledger_id: bytes) -> list[dict[str, Any]]:
    """The entries that leaves show, with the kinds of their records."""
    entries = []
    for raw in leaves:
        try:
            leaf = parse_leaf(raw)
        except Bad:
            continue
        hashes = [H(b"\0" + body) for body in leaf["bodies"]]
        ascends = hashes == sorted(set(hashes))
        if leaf["public"] and (not ascends or root_of(hashes) != leaf["root"]):
            continue
        if verifies(leaf["author"], DOMAIN + leaf["raw"], leaf["signature"]):
            kinds = {one["kind"] for one in map(parsed, leaf["bodies"]) if one}
            entries.append(leaf | {"kinds": kinds})
    return entries


# 4.1


def parse_evidence(raw: bytes) -> dict[str, Any]:
    v = unpack(raw, 4096)
    need(type(v) is list and len(v) >= 4 and v[0] == 1 and v[1] in ("size", "leaf", "opening"))
    if v[1] == "opening":
        need(len(v) == 4)
        sides = [parse_opening_side(one) for one in v[2:]]
        need(v[2] < v[3])
        need(sides[0]["card"]["origin"] == sides[1]["card"]["origin"])
        return {"form": v[1], "sides": sides}
    need(len(v) == (4 if v[1] == "size" else 7) and type(v[2]) is bytes and type(v[3]) is bytes)
    claims = [parse_checkpoint(one) for one in v[2:4]]
    need(all(claim[3][0].count("\n") == 3 and len(claim[3][1]) == 1 for claim in claims))
    need(claims[0][0] == claims[1][0] and (claims[0][1], v[2]) < (claims[1][1], v[3]))
    if v[1] == "size":
        need(claims[0][1] == claims[1][1] and claims[0][2] != claims[1][2])
        return {"form": v[1], "claims": claims}
    need(claims[0][1] < claims[1][1] and is_int(v[4], 0, claims[0][1] - 1))
    for side in v[5:]:
        need(type(side) is list and len(side) == 2 and is_bytes(side[0]) and type(side[1]) is list)
        need(all(map(is_bytes, side[1])))
    return {"form": v[1], "claims": claims, "index": v[4], "sides": v[5:]}


def parse_opening_side(v: Any) -> dict[str, Any]:
    need(type(v) is list and len(v) == 5 and type(v[0]) is bytes and is_bytes(v[1], 64))
    need(type(v[2]) is bytes and is_int(v[3]) and type(v[4]) is list and all(map(is_bytes, v[4])))
    header, card = parse_header(v[0]), parse_body(v[2])
    need(card["kind"] == "agency.card")
    return {"header": header, "signature": v[1], "card": card, "place": v[3], "path": v[4]}


def check_notes(piece: dict[str, Any], origin: str, keys: set[bytes]) -> None:
    claims = piece["claims"]
    need(claims[0][0] == origin)
    need(any(all(is_signed(claim[3], origin, key) for claim in claims) for key in keys))
    if piece["form"] == "leaf":
        need(piece["sides"][0][0] != piece["sides"][1][0])
        lefts = []
        for claim, (leaf, path) in zip(claims, piece["sides"], strict=True):
            root, left = lead(leaf, piece["index"], claim[1], path)
            need(root == claim[2])
            lefts.append(left)
        need(lefts[0] == lefts[1])


def check_openings(piece: dict[str, Any], origin: str, ledger_id: bytes, roots: set[bytes]) -> None:
    need(piece["sides"][0]["card"]["log_key"] != piece["sides"][1]["card"]["log_key"])
    for side in piece["sides"]:
        header, card = side["header"], side["card"]
        need(card["origin"] == origin and header["ledger"] == ledger_id)
        need(header["public"] and header["agency"] == origin.split("/")[1] and header["author"] in roots)
        need(verifies(header["author"], DOMAIN + header["raw"], side["signature"]))
        need(side["place"] < header["count"])
        need(lead(card["record_hash"], side["place"], header["count"], side["path"])[0] == header["root"])
