"""Answers changed on their way out by somebody who means ill: what a peer may send is anything.

The machine behind keeps an honest log; only what it tells others is false. A lie never carries a signature
that the liar has no key for; with a stolen log key it signs heads that nobody has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError
from ledger.names import Origin
from node.frontier import FRONTIER_PATH, Row, decode_frontier, digest_of, encode_frontier
from node.protocol import ANSWER_BYTES_MAX, PROBLEM, Request, Response
from node.session import parse_checkpoint, parse_note
from tests.simulator.trace import Trace
from tests.world import key

Lie = Callable[[Random, Request, Response], Response]


class Liar:
    """Changes a share of the answers of one machine, also by what it said long ago."""

    def __init__(self, random: Random, trace: Trace, name: str) -> None:
        self.is_lying = True
        self.stolen: Origin | None = None
        """The log whose key the liar has, if any."""
        self._random = random
        self._trace = trace
        self._name = name
        self._share = random.choice((0.1, 0.5, 0.95))
        self._earlier: dict[str, Response] = {}
        """The first answer to each path: a tree rolled back."""
        self._any: list[Response] = []

    def __call__(self, request: Request, response: Response) -> Response:
        honest = response
        if request.method == "GET" and response.status < 300:
            self._earlier.setdefault(request.path, response)
            self._any = [*self._any[-20:], response]
        if not self.is_lying or self._random.random() > self._share:
            return honest
        lies = [self._rolled_back, self._other, self._flipped, self._cut, self._noise, self._problem]
        lies += [self._huge] if self._random.random() < 0.05 else []
        lies += [self._invented] * (8 if request.path.endswith("/checkpoint") else 0)
        lies += [self._forged_frontier] * (8 if request.path.startswith(FRONTIER_PATH) else 0)
        lie = self._random.choice(lies)
        self._trace.note("lie", self._name, lie.__name__, request.path)
        return lie(request, response)

    def _rolled_back(self, request: Request, response: Response) -> Response:
        return self._earlier.get(request.path, response)

    def _other(self, request: Request, response: Response) -> Response:
        return self._random.choice(self._any) if self._any else response

    def _flipped(self, request: Request, response: Response) -> Response:
        if not response.body:
            return Response(status=404)
        place, body = self._random.randrange(len(response.body)), bytearray(response.body)
        body[place] ^= 1 << self._random.randrange(8)
        return _with_body(response, bytes(body))

    def _cut(self, request: Request, response: Response) -> Response:
        return _with_body(response, response.body[: self._random.randrange(len(response.body) + 1)])

    def _noise(self, request: Request, response: Response) -> Response:
        return _with_body(response, self._random.randbytes(self._random.choice((0, 1, 100, 50_000))))

    def _huge(self, request: Request, response: Response) -> Response:
        return _with_body(response, bytes(ANSWER_BYTES_MAX + 1))

    def _problem(self, request: Request, response: Response) -> Response:
        status = self._random.choice((301, 304, 400, 404, 416, 429, 500, 503))
        return Response(status=status, body=b'{"code":"x","detail":"\\ud800"}', content_type=PROBLEM)

    def _invented(self, request: Request, response: Response) -> Response:
        """A head that nobody has: signed with the stolen key if there is one, else with a key of no log."""
        try:
            real = parse_checkpoint(parse_note(response.body).text)
        except LedgerError:
            return response
        size = max(0, real.size + self._random.choice((-2, -1, 0, 0, 0, 1, 5, 10**6)))
        forged = Checkpoint(origin=real.origin, size=size, root=self._random.randbytes(32))
        agency = real.origin.split("/")[1]
        is_stolen = self.stolen is not None and real.origin == str(self.stolen)
        return _with_body(response, sign_checkpoint(forged, key(f"{agency} log" if is_stolen else "nobody")))

    def _forged_frontier(self, request: Request, response: Response) -> Response:
        """Rows that nobody has, under their right digest or under another; clocks that stand off."""
        try:
            real = decode_frontier(response.body)
        except LedgerError:
            return response
        rows = tuple(self._forged(row) if self._random.random() < 0.5 else row for row in real.rows)
        digest = digest_of(real.roster, rows) if self._random.random() < 0.7 else self._random.randbytes(32)
        now_s = max(0, real.now_s + self._random.choice((0, 0, -90_000, 90_000)))
        forged = replace(real, rows=rows, digest=digest, now_s=now_s, is_whole=True)
        return _with_body(response, encode_frontier(forged))

    def _forged(self, row: Row) -> Row:
        size = max(1, row.size + self._random.choice((-2, 0, 1, 5, 10**6)))
        return replace(row, size=size, root=self._random.randbytes(32), certified_size=size)


def _with_body(response: Response, body: bytes) -> Response:
    return Response(
        status=response.status, body=body, content_type=response.content_type, headers=response.headers
    )
