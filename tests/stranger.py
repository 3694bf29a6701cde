"""A verifier of dossiers written from docs/FORMAT.md alone: it imports nothing of ledger, node or cli.

The sceptic's proof that the document is complete: `tests/test_stranger.py` feeds both verifiers the same
files and asks for the same verdict, problems and numbers. This file is rosters, the report and section 14;
1 to 6, 7, 8 to 11, 12 and 13, and 12.1 are in ``stranger_bytes``, ``stranger_roster``, ``stranger_log``,
``stranger_tree`` and ``stranger_eras``. Short, not fast: it holds a whole log.
"""

from __future__ import annotations

import re
from typing import Any

from tests.stranger_bytes import (
    Bad,
    Files,
    H,
    includes,
    is_bytes,
    is_int,
    is_text,
    need,
    parse_checkpoint,
    signers,
    unbase64,
    unpack,
    verifies,
    words,
)
from tests.stranger_eras import Agency
from tests.stranger_log import DOMAIN, parse_leaf
from tests.stranger_roster import check_chain, check_quorum, parse_roster, signed_by
from tests.stranger_tree import Log

UNDECIDED = words(
    "roster.missing log.missing log.level adopt.undecided reconcile.missing log.forked log.unproven log.owed"
)
OWNERS = words(
    "leaf.form leaf.prev leaf.hour entry.ledger entry.agency entry.repeated entry.sunset opening.form "
    "card.chain card.keys adopt.version adopt.key adopt.cards "
    "reconcile.era reconcile.heads reconcile.ends reconcile.hour reconcile.moved reconcile.carried "
    "reconcile.lists checkpoint.carried log.forked log.unproven log.owed"
)
AUTHORS = words(
    "entry.root entry.signature author.unknown author.early author.late author.revoked author.office "
    "governance.form grant.key grant.days revoke.key revoke.position"
)
FAULTS = {"roster.form": "roster"} | dict.fromkeys(UNDECIDED, "nobody")
FAULTS |= dict.fromkeys(OWNERS, "owner") | dict.fromkeys(AUTHORS, "author")


# 12 verifying a tree, 13 certification


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
    agencies = dict.fromkeys(name for one in versions for name in one["roots"])
    agents = [Agency(files, ledger_id, f"{versions[0]['ledger']}/{name}", versions) for name in agencies]
    for agent in agents:
        agent.read()
    cards = {
        card["record_hash"]: card for one in agents for log in one.logs for card, _ in log.state.who.cards
    }
    problems = [(code, None, None, FAULTS.get(code, "bundle")) for code in codes]
    for agent in agents:
        agent.judge(cards, level)
        for code, log, index, is_signed in agent.found:
            fault = FAULTS.get(code, "bundle")
            if fault in ("owner", "author"):
                fault = "owner" if is_signed else "bundle"
            problems.append((code, log, index, fault))  # type: ignore[arg-type]
    return report(problems, [log for agent in agents for log in agent.lines()])


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
