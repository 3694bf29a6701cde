"""The HTTP edge against those who send too much, packed, or drop by drop: real sockets, no node behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from node import http_server
from node.handlers import REQUEST_BYTES_MAX
from node.protocol import Request, Response


async def _echo(request: Request) -> Response:
    return Response(status=200, body=request.path.encode() + request.body)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with bounds of fractions of a second, in a thread."""
    for name, seconds in (("HEADER", 0.3), ("BODY", 0.3), ("REST", 0.3)):
        monkeypatch.setattr(http_server, f"{name}_TIMEOUT_S", seconds)
    monkeypatch.setattr(http_server, "SWEEP_S", 0.05)
    loop, listening = asyncio.new_event_loop(), http_server.bind("127.0.0.1", 0)
    runner = loop.run_until_complete(http_server.start_server(http_server.make_application(_echo), listening))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield listening.getsockname()[1]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ask(port: int, head: str, body: bytes = b"") -> bytes:
    """Send bytes as they are; return all that comes until the other side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(head.replace("\n", "\r\n").encode() + body)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionResetError:
            return b""


def test_a_request_that_is_whole_is_answered(port: int) -> None:
    """With its query, for which its signature stands."""
    answer = ask(port, "GET /v1/frontier?wait=3 HTTP/1.1\nHost: x\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"/v1/frontier?wait=3")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity", "x"])
def test_a_packed_body_is_refused_unread(port: int, coding: str) -> None:
    """415 for any Content-Encoding: nothing is unpacked here."""
    head = f"POST / HTTP/1.1\nHost: x\nContent-Encoding: {coding}\nContent-Length: 5\n\n"
    answer = ask(port, head, b"\x1f\x8b\x08\x00\x00")
    assert answer.startswith(b"HTTP/1.1 415") and b"node.encoding" in answer


def test_a_body_that_says_it_is_too_large_is_refused_unread(port: int) -> None:
    """413 before a byte of it was sent."""
    answer = ask(port, f"POST / HTTP/1.1\nHost: x\nContent-Length: {REQUEST_BYTES_MAX + 1}\n\n")
    assert answer.startswith(b"HTTP/1.1 413") and b"node.large" in answer


def test_a_body_that_grows_too_large_is_refused(port: int) -> None:
    """Sent in pieces, it says no length beforehand."""
    piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    head = "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
    assert ask(port, head, piece * 13 + b"0\r\n\r\n").startswith((b"HTTP/1.1 413", b""))


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\n", "GET / HTTP/1.1\nHost: x\nX-Slow: "])
def test_a_header_that_never_ends_is_cut_off(port: int, sent: str) -> None:
    """Slow-loris: the connection ends by itself, without an answer."""
    start = time.monotonic()
    assert ask(port, sent) == b""
    assert time.monotonic() - start < 15


def test_a_header_drop_by_drop_is_cut_off(port: int) -> None:
    """A byte now and then does not keep it open."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        end = time.monotonic() + 15
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                connection.sendall(b"a")
                time.sleep(0.02)
        assert time.monotonic() < end, "it is kept open"


def test_a_body_that_never_ends_is_refused(port: int) -> None:
    """408, and the connection ends."""
    answer = ask(port, "POST / HTTP/1.1\nHost: x\nContent-Length: 100\n\nhalf")
    assert answer.startswith(b"HTTP/1.1 408")
