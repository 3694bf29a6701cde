"""Driving client procedures over aiohttp.

`exchange` carries one request; `HttpClient` drives whole procedures from synchronous code, over one kept
connection. Answers are read up to a bound and no further.
"""

from __future__ import annotations

import asyncio
import io
import os
from types import TracebackType
from typing import TypeVar

import aiohttp

from node.protocol import Procedure, Request, Response, Unreachable
from node.surroundings import drive

TIMEOUT_S = 60
"""A whole exchange: a full bundle over a village's line takes some 30 seconds."""
CONNECT_TIMEOUT_S = 5
_KEPT_HEADERS = ("Retry-After",)
"""Headers of an answer that a procedure may look at."""

Result = TypeVar("Result")


def open_session(timeout_s: float = TIMEOUT_S) -> aiohttp.ClientSession:
    """Return a session with bounded times, within a running loop; ``timeout_s`` is for a whole exchange.

    Bodies are taken as they come: what is compressed on the way could unpack to any size, and the start of a
    range would not be that of the file.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
    plain = {"Accept-Encoding": "identity"}
    return aiohttp.ClientSession(timeout=timeout, headers=plain, auto_decompress=False)


async def exchange(session: aiohttp.ClientSession, base_url: str, request: Request) -> Response:
    """Carry one request to the node at ``base_url``; raise `Unreachable` if no answer comes.

    Redirects are not followed: a peer must not choose which addresses of our network are asked.
    """
    headers = dict(request.headers)
    if request.offset:
        headers["Range"] = f"bytes={request.offset}-"
    url = base_url.rstrip("/") + request.path
    body = io.BytesIO(request.body) if request.body else None  # sent in pieces: a class list takes megabytes
    try:
        async with session.request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            data = await _read_bounded(answer, request.answer_bytes_max)
            kept = {name: value for name, value in answer.headers.items() if name in _KEPT_HEADERS}
            return Response(status=answer.status, body=data, content_type=answer.content_type, headers=kept)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        reason = _reason(error)
        raise Unreachable(f"no answer from {base_url}: {reason}") from None


class HttpClient:
    """Runs procedures against one node from synchronous code."""

    def __init__(self, base_url: str, timeout_s: float = TIMEOUT_S) -> None:
        """``base_url`` as a card names it, with or without a slash at its end."""
        self.base_url = base_url
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None

    def run(self, procedure: Procedure[Result]) -> Result:
        """Return the procedure's result; raises `Unreachable`, `ProblemAnswer` or what it raises."""
        return self._loop.run_until_complete(self._drive(procedure))

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _drive(self, procedure: Procedure[Result]) -> Result:
        if self._session is None:
            self._session = open_session(self._timeout_s)
        session = self._session
        return await drive(lambda url, request: exchange(session, url, request), self.base_url, procedure)


async def _read_bounded(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    if "Content-Encoding" in answer.headers:
        raise ValueError("the answer is compressed, which was not asked for")
    parts, size = [], 0
    async for part in answer.content.iter_chunked(1 << 16):
        size += len(part)
        if size > bytes_max:
            raise ValueError(f"answer exceeds {bytes_max} bytes")
        parts.append(part)
    return b"".join(parts)


def _reason(error: BaseException) -> str:
    """The system's own words where there are some: aiohttp's name the library's settings."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no such host"
    if isinstance(error, aiohttp.ClientConnectorError) and (error.os_error.errno or 0) > 0:
        return os.strerror(error.os_error.errno or 0).lower()
    return str(error) or type(error).__name__
