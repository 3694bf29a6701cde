"""What passes between nodes, staff tools and auditors, without the transport.

A client procedure is a generator that yields a `Request` and receives a `Response`; a server route is a
function from `Request` to `Response`. aiohttp drives both at the edge, a simulator can drive both under a
seed. Refusals are problem documents (RFC 9457) with the rule's name and the records that stand in the way.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from ledger.codec import INTEGER_MAX
from ledger.errors import LedgerError, Malformed
from ledger.rules import Violation

OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROBLEM = "application/problem+json"

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""The largest answer a client reads: a bundle takes 16.8 MB; anything larger is cut off unread."""

PROBLEM_BYTES_MAX = 1024 * 1024
"""Of a problem document: one that names each of 4,096 refused records takes some hundred kilobytes."""

DETAIL_CHARS_MAX = 4_000
"""Of a problem's text: a refusal of several rules takes some hundred characters."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a node; ``offset`` asks for the bytes of a file from there on."""

    method: str
    path: str
    """With its query, if it has one."""
    body: bytes = b""
    offset: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that mean something to a node: who sends it (``authentication``)."""
    address: str = ""
    """Where it came from, as the edge saw it; a client leaves it empty."""
    answer_bytes_max: int = ANSWER_BYTES_MAX
    """Answers larger than this are cut off unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = OCTETS
    headers: Mapping[str, str] = field(default_factory=dict)


Procedure: TypeAlias = Generator[Request, Response, Result]
"""A client procedure: yields requests, receives responses, returns its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One violation as a problem document carries it."""

    code: str
    detail: str
    record: bytes | None = None
    standing: bytes | None = None
    is_equal: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem document (RFC 9457): ``code`` is a rule's name, or a node's own (``node.*``)."""

    status: int
    code: str
    detail: str
    obstacles: tuple[Obstacle, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    now_ms: int | None = None
    """The node's clock (milliseconds since 1970), where the asker's stands apart from it."""


class Unreachable(LedgerError):
    """No answer from a node: it is down, or the network is; what was asked may still have happened."""


class ProblemAnswer(LedgerError):
    """A node answered with a problem document."""

    def __init__(self, problem: Problem) -> None:
        """Keep the document as `problem`; the message is its detail."""
        super().__init__(problem.detail)
        self.problem = problem


def obstacles_of(violations: Sequence[Violation]) -> tuple[Obstacle, ...]:
    """Return violations as a problem document carries them."""
    return tuple(
        Obstacle(
            code=one.rule.name,
            detail=one.detail,
            record=one.record,
            standing=one.standing,
            is_equal=one.is_equal,
        )
        for one in violations
    )


def format_problem(problem: Problem) -> Response:
    """Return the answer that carries ``problem``."""
    value: dict[str, Any] = {
        "type": f"urn:pledger:{problem.code}",
        "title": problem.code,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if problem.now_ms is not None:
        value["now_ms"] = problem.now_ms
    if problem.obstacles:
        value["records"] = [
            {
                "code": one.code,
                "detail": one.detail,
                "record": _hex(one.record),
                "standing": _hex(one.standing),
                "is_equal": one.is_equal,
            }
            for one in problem.obstacles
        ]
    return Response(
        status=problem.status, body=json_bytes(value), content_type=PROBLEM, headers=problem.headers
    )


def json_bytes(value: object) -> bytes:
    """Return the JSON text of ``value`` in UTF-8, whatever its strings hold.

    A lone surrogate (in what a peer said, in a path asked for) stays an escape, which JSON allows.
    """
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")


def check_answer(response: Response) -> None:
    """Raise `ProblemAnswer` unless the response is a success (2xx)."""
    if 200 <= response.status < 300:
        return
    try:
        problem = replace(parse_problem(response), headers=response.headers)
    except Malformed:
        text = response.body[:200].decode(errors="replace")
        problem = Problem(
            status=response.status,
            code="node.answer",
            detail=f"HTTP {response.status}: {text}",
            headers=response.headers,
        )
    raise ProblemAnswer(problem)


def parse_problem(response: Response) -> Problem:
    """Return the problem document of a response; raise `Malformed` if it is none."""
    try:
        value = json.loads(response.body)
        obstacles = tuple(
            Obstacle(
                code=_text(one["code"]),
                detail=_text(one["detail"]),
                record=_unhex(one.get("record")),
                standing=_unhex(one.get("standing")),
                is_equal=one.get("is_equal"),
            )
            for one in value.get("records", ())
        )
        return Problem(
            status=response.status,
            code=_text(value["code"]),
            detail=_text(value["detail"]),
            obstacles=obstacles,
            now_ms=_whole(value.get("now_ms")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"no problem document: {error}") from None


def _text(value: object) -> str:
    """What another node says, cut to what a person reads: it goes into logs, faults and terminals."""
    return str(value)[:DETAIL_CHARS_MAX].encode(errors="replace").decode()


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= INTEGER_MAX else None


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def _unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
