"""The HTTP edge of the server: aiohttp requests in, responses of the route functions out.

It reads bodies up to a bound, and knows nothing of what it carries.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from ledger.errors import StoreError
from node.authentication import HEADER
from node.handlers import REQUEST_BYTES_MAX
from node.protocol import Problem, Request, Response, format_problem

Answer = Callable[[Request], Awaitable[Response]]

BACKLOG = 128
SHUTDOWN_TIMEOUT_S = 5
"""What is under way when the node is told to stop may take so long: a commit takes a second at most."""
RETRY_AFTER_S = 2
"""What a busy or waiting node asks for; a client waits at least so long."""
HEADER_TIMEOUT_S = 15.0
"""Until the first request of a connection has come: a handshake and a kilobyte, over any line."""
BODY_TIMEOUT_S = 150.0
"""For a body: 12 MiB over a line of 1 Mbit/s take 100 seconds."""
REST_TIMEOUT_S = 300.0
"""Until an answer is taken and the next request of the connection has come: 17 MB over the same line."""

SWEEP_S = 5.0
"""How often that is looked at."""

_RANGE = re.compile(r"bytes=([0-9]{1,12})-")


def make_application(answer: Answer) -> web.Application:
    """Return the aiohttp application in front of ``answer``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        connections.begin(request)
        try:
            body = await _read_body(request)
            return _web(body if isinstance(body, Response) else await answer(_request(request, body)))
        finally:
            connections.end(request)

    connections = _Connections()
    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application[_CONNECTIONS] = connections
    application.router.add_route("*", "/{path:.*}", handle)
    return application


class _Connections:
    """Closes connections on which nothing complete comes: a header, or an answer taken, drop by drop."""

    def __init__(self) -> None:
        self._deadlines: dict[asyncio.BaseProtocol, float] = {}

    def begin(self, request: web.Request) -> None:
        """A request is there: from now on its own bounds hold."""
        self._deadlines[request.protocol] = math.inf

    def end(self, request: web.Request) -> None:
        """The answer is ready: it has to be taken."""
        self._deadlines[request.protocol] = asyncio.get_running_loop().time() + REST_TIMEOUT_S

    async def sweep_forever(self, runner: web.AppRunner) -> None:
        """Look at all connections of a server again and again."""
        while True:
            now = asyncio.get_running_loop().time()
            found = runner.server.connections if runner.server else []
            self._deadlines = {
                protocol: self._deadlines.get(protocol, now + HEADER_TIMEOUT_S) for protocol in found
            }
            for protocol in found:
                if self._deadlines[protocol] < now and protocol.transport is not None:
                    protocol.transport.abort()  # closing would wait until what is sent is taken
            await asyncio.sleep(SWEEP_S)


_CONNECTIONS = web.AppKey("connections", _Connections)


async def _read_body(request: web.Request) -> bytes | Response:
    """Return the body, or why it is not read: nothing is unpacked, and nothing waited for without end."""
    if "Content-Encoding" in request.headers:
        return _problem(415, "node.encoding", "a request's body comes as it is, without any Content-Encoding")
    large = _problem(413, "node.large", f"a request has at most {REQUEST_BYTES_MAX} bytes")
    if (request.content_length or 0) > REQUEST_BYTES_MAX:
        return large
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return large
    except TimeoutError:
        return _problem(408, "node.slow", f"the body did not come within {BODY_TIMEOUT_S:.0f} seconds")


def _problem(status: int, code: str, text: str) -> Response:
    problem = Problem(status=status, code=code, detail=text, headers={"Connection": "close"})
    return format_problem(problem)


def _request(request: web.Request, body: bytes) -> Request:
    query = f"?{request.query_string}" if request.query_string else ""
    sender = request.headers.get(HEADER)
    return Request(
        method=request.method,
        path=request.path + query,
        body=body,
        offset=_offset(request),
        headers={} if sender is None else {HEADER: sender},
        address=request.remote or "",
    )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `StoreError` if the address cannot be had.

    Done before anything else of a node: one that is started twice by mistake must stop here, before it takes
    the lease from the one that runs.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise StoreError(
            f"cannot listen on {host}:{port}: {reason}; end what uses that port (this node may be running "
            "already), or change `listen` in node.toml"
        ) from None


def url_of(listening: socket.socket) -> str:
    """Return the address of a bound socket as a client writes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def start_server(application: web.Application, listening: socket.socket) -> web.AppRunner:
    """Serve on a bound socket; return the runner to clean up."""
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S, auto_decompress=False
    )

    async def sweeping(application: web.Application) -> AsyncIterator[None]:
        sweep = asyncio.create_task(application[_CONNECTIONS].sweep_forever(runner))
        yield
        sweep.cancel()

    application.cleanup_ctx.append(sweeping)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=BACKLOG).start()
    return runner


def _offset(request: web.Request) -> int:
    """The start of a simple open range; anything else is answered whole, as RFC 9110 allows."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    return int(match[1]) if match else 0


def _web(response: Response) -> web.Response:
    headers = {"Content-Type": response.content_type, **response.headers}
    if response.status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return web.Response(status=response.status, body=response.body, headers=headers)
