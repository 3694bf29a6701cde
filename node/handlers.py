"""Server routes: functions from a `Request` and the node's stores to a `Response`.

Synchronous and without a clock: time comes in. aiohttp calls them at the edge, on the store's one thread; a
simulator can call them directly. Submissions are answered in batches, because they share one commit. The
table at the end of this module is the only place where an error class becomes an HTTP status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from ledger.errors import Conflict, LedgerError, Malformed, Refused, StoreError, Undecided, Unproven
from ledger.names import Origin
from node.asked import REQUESTS_PATH, RequestDoor
from node.condition import Observed, condition, lagging
from node.forks import Forks
from node.log_store import LogStore
from node.protocol import (
    JSON,
    OCTETS,
    TEXT,
    Obstacle,
    Problem,
    Request,
    Response,
    format_problem,
    json_bytes,
    obstacles_of,
)
from node.sequencer import Outcome
from node.session import BRANCHES_PATH, format_branches
from node.static_tree import StaticTree
from node.submission import SUBMISSION_BYTES_MAX
from node.witness import OtherSize, UnknownLog, Untrusted, Witness

REQUEST_BYTES_MAX = SUBMISSION_BYTES_MAX
"""The largest body that any route takes."""

ENTRIES_PATH = "/v1/entries"
ADD_CHECKPOINT_PATH = "/witness/add-checkpoint"
POSTED = (ENTRIES_PATH, REQUESTS_PATH, ADD_CHECKPOINT_PATH)
"""The paths that take a body; all others are read."""
_ENTRY_PATH = re.compile(r"/v1/entries/([0-9a-f]{64})")
_WITNESSED_PATH = re.compile(r"/witness/([0-9a-f]{64})/checkpoint")
SIZE_TYPE = "text/x.tlog.size"
WITNESS_RETRY_AFTER_S = "1"
"""The leaves that a witness lacks are fetched at once: what it takes on an idle line."""
CONTESTED = "Pledger-Contested"
"""Header of a receipt in a forked log: the first index that not all its branches share."""
MSGPACK = "application/msgpack"
_BRANCHES_PATH = re.compile(rf"{BRANCHES_PATH}/([^/]{{1,60}})/([1-9][0-9]{{0,3}})")
_STATIC_PATH = re.compile(r"/((?:log|roster)/.+)")


class Served(Observed, Protocol):
    """What the routes need of a node."""

    tree: StaticTree
    requests: RequestDoor
    witness: Witness
    store: LogStore
    forks: Forks
    ledger_id: bytes

    @property
    def waiting(self) -> str | None:
        """Why nothing is sequenced now, or None."""
        ...

    def logs(self) -> list[Origin]:
        """Every log that this node holds, its own first."""
        ...

    @property
    def opening_fault(self) -> str | None:
        """Why the opening of a later era that was put here is not open yet, or None."""
        ...

    def owed(self) -> list[str]:
        """The entries of late branches of the own log that it lacks."""
        ...

    def faults(self) -> dict[str, str]:
        """By origin, why a mirror does not go on."""
        ...

    def card_entries(self) -> bytes:
        """The entries of the cards that the own log pins, and of its own newest card."""
        ...


def answer(node: Served, request: Request, hour: int) -> Response:
    """Return the answer to anything but a submission."""
    if request.method != "GET" or request.path in POSTED:
        return format_problem(
            Problem(
                status=405,
                code="node.method",
                detail=f"{request.method} is not used here",
                headers={"Allow": "POST" if request.path in POSTED else "GET"},
            )
        )
    if match := _STATIC_PATH.fullmatch(request.path):
        return _static(node, match[1], request.offset)
    if match := _ENTRY_PATH.fullmatch(request.path):
        return _receipt(node, bytes.fromhex(match[1]))
    if match := _WITNESSED_PATH.fullmatch(request.path):
        return _witnessed(node, bytes.fromhex(match[1]))
    if match := _BRANCHES_PATH.fullmatch(request.path):
        return _branches(node, Origin(node.sequencer.origin.ledger, match[1], int(match[2])))
    match request.path:
        case "/v1/cards":
            return Response(status=200, body=node.card_entries(), content_type=MSGPACK)
        case "/healthz":
            return Response(status=200, body=b"ok\n", content_type=TEXT)
        case "/v1/status":
            return _json(_status(node, hour))
    return format_problem(Problem(status=404, code="node.path", detail=f"nothing is at {request.path[:200]}"))


def answer_submissions(node: Served, bodies: Sequence[bytes], hour: int) -> list[Response]:
    """Return the answers to a batch of ``POST`` to `ENTRIES_PATH`: receipts, or problem documents."""
    if node.waiting is not None:
        return [_waiting(node.waiting)] * len(bodies)
    return [_outcome(one) for one in node.sequencer.commit(bodies, hour)]


def answer_request(node: Served, body: bytes, now_ms: int) -> Response:
    """Return the answer to a ``POST`` to `REQUESTS_PATH`.

    A node that does not sequence answers none: it could not keep the record of who looked.
    """
    if node.waiting is not None:
        return _waiting(node.waiting)
    try:
        return node.requests.answer(body, now_ms)
    except LedgerError as error:
        return error_response(error)


def log_of(path: str) -> str | None:
    """Return which log of the static tree a path is about, as its bucket of tokens is named."""
    parts = path.split("/", 4)
    return f"{parts[2]}/{parts[3]}"[:80] if len(parts) == 5 and parts[1] == "log" else None


def too_many(pause_s: float) -> Response:
    """Return the answer to an asker, or about a log, that is over its bounds for so many seconds."""
    headers = {"Retry-After": str(math.ceil(pause_s))}
    text = "more is asked than this node answers: come back later"
    return format_problem(Problem(status=429, code="node.busy", detail=text, headers=headers))


def answer_add_checkpoint(node: Served, body: bytes, now_s: int) -> Response:
    """Return the witness's answer to a ``POST`` to `ADD_CHECKPOINT_PATH` (C2SP tlog-witness)."""
    try:
        return Response(status=200, body=node.witness.add_checkpoint(body, now_s), content_type=TEXT)
    except OtherSize as error:
        return Response(status=409, body=f"{error.size}\n".encode(), content_type=SIZE_TYPE)
    except (Undecided, StoreError) as error:
        return replace(error_response(error), headers={"Retry-After": WITNESS_RETRY_AFTER_S})
    except LedgerError as error:
        return error_response(error)


def error_response(error: LedgerError) -> Response:
    """Return the problem document for an error."""
    status, code = next(row[1:] for row in _STATUS if isinstance(error, row[0]))
    obstacles: tuple[Obstacle, ...] = ()
    if isinstance(error, Refused):
        rule = error.violations[0].rule
        code, obstacles = rule.name, obstacles_of(error.violations)
        by_rule = next(row[1] for row in _STATUS if issubclass(rule.error, row[0]))
        status = 409 if rule.name in _CONFLICTS else by_rule
    return format_problem(Problem(status=status, code=code, detail=str(error), obstacles=obstacles))


def _waiting(reason: str) -> Response:
    return error_response(StoreError(f"this node does not sequence now: {reason}"))


def _outcome(outcome: Outcome) -> Response:
    if isinstance(outcome, bytes):
        return Response(status=200, body=outcome, content_type=TEXT)
    return error_response(outcome)


def _receipt(node: Served, entry_id: bytes) -> Response:
    receipt = node.sequencer.receipt(entry_id)
    if receipt is None:
        text = f"no entry {entry_id.hex()} in {node.sequencer.origin}"
        return format_problem(Problem(status=404, code="node.entry", detail=text))
    return Response(status=200, body=receipt, content_type=TEXT, headers=_contested(node, entry_id))


def _contested(node: Served, entry_id: bytes) -> dict[str, str]:
    """Say of an entry that not all branches of a forked log have it in its place."""
    place = node.sequencer.find(entry_id)
    if place is None:
        return {}
    origin = replace(node.sequencer.origin, era=place.era)
    start = node.forks.contested_from(origin) if place.era == node.sequencer.origin.era else None
    return {CONTESTED: str(start)} if start is not None and place.index >= start else {}


def _branches(node: Served, origin: Origin) -> Response:
    """The names of an era's branches beside the main one: over HTTP nothing else lists them."""
    names = node.store.branches(str(origin))[1:]
    return Response(status=200, body=format_branches(names), content_type=MSGPACK)


def _witnessed(node: Served, origin_hash: bytes) -> Response:
    note = node.witness.checkpoint(origin_hash)
    if note is None:
        text = "this witness has cosigned nothing of a log of that hash"
        return format_problem(Problem(status=404, code="node.path", detail=text))
    return Response(status=200, body=note, content_type=TEXT, headers={"Cache-Control": "no-cache"})


def _static(node: Served, path: str, offset: int) -> Response:
    data = node.tree.read(path)
    if data is None:
        return format_problem(Problem(status=404, code="node.path", detail=f"{path[:200]} is not here"))
    if offset and offset >= len(data):
        text = f"{path} has {len(data)} bytes, none from {offset} on"
        headers = {"Content-Range": f"bytes */{len(data)}"}
        return format_problem(Problem(status=416, code="node.range", detail=text, headers=headers))
    is_fixed = "/tile/" in path
    cache = "public, max-age=31536000, immutable" if is_fixed else "no-cache"
    return Response(
        status=206 if offset else 200,
        body=data[offset:],
        content_type=OCTETS if is_fixed else TEXT,
        headers={"Cache-Control": cache}
        | ({"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} if offset else {}),
    )


def _status(node: Served, hour: int) -> dict[str, Any]:
    """What anybody may know: of the own log what is published, so that nobody watches a teacher at work."""
    logs = [_log_line(node, origin) for origin in node.logs()]
    return {
        "ledger_id": node.ledger_id.hex(),
        "agency": node.sequencer.origin.agency,
        "origin": logs[0]["origin"],
        "size": logs[0]["size"],
        "root": logs[0]["root"],
        "hour": hour,
        "is_sequencing": node.waiting is None,
        "waiting": node.waiting,
        "condition": condition(node, hour),
        "lagging": lagging(node, logs[0]["size"], logs[0]["certified_size"]),
        "logs": logs,
        "era": node.sequencer.origin.era,
        "opening": node.opening_fault,
        "owed": node.owed(),
    }


def _log_line(node: Served, origin: Origin) -> dict[str, Any]:
    """One log as others ask about it: what is published here, and whether something is wrong with it."""
    shown = node.tree.published(origin)
    size, root = (0, None) if shown is None else (shown[1].size, shown[1].root.hex())
    certified = node.store.certified_size(str(origin))
    return {
        "origin": str(origin),
        "size": size,
        "root": root,
        "certified_size": min(certified, size),
        "cosigned_size": node.witness.latest(str(origin)).size,
        "fault": node.faults().get(str(origin)),
        "fork": _fork(node, origin),
    }


def _fork(node: Served, origin: Origin) -> dict[str, Any] | None:
    """What is known of an era's forks; None if there are none."""
    if not node.forks.count(origin):
        return None
    evidence = node.forks.evidence
    return {
        "is_proven": node.forks.is_forked(origin),
        "evidence": len(evidence.pieces(str(origin))),
        "unproven": len(evidence.unproven(str(origin))),
        "branches": node.store.branches(str(origin))[1:],
        "contested_from": node.forks.contested_from(origin),
    }


def _json(value: dict[str, Any]) -> Response:
    body = json_bytes(value) + b"\n"
    return Response(status=200, body=body, content_type=JSON, headers={"Cache-Control": "no-store"})


_CONFLICTS = {"record.identity", "record.supersedes", "entry.repeated"}
"""Refusals where what stands already is in the way, rather than a right that is lacking."""

_STATUS: tuple[tuple[type[LedgerError], int, str], ...] = (
    (UnknownLog, 404, "node.log"),
    (Untrusted, 403, "node.untrusted"),
    (Malformed, 400, "node.malformed"),
    (Unproven, 422, "node.unproven"),
    (Refused, 403, "node.refused"),
    (Conflict, 503, "node.conflict"),
    (Undecided, 503, "node.undecided"),
    (StoreError, 503, "node.store"),
    (LedgerError, 500, "node.error"),
)
