"""The HTTP edge of the server: aiohttp requests in, responses of the route functions out.

It reads bodies up to a bound, and knows nothing of what it carries.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from ledger.errors import Malformed, StoreError
from node.handlers import REQUEST_BYTES_MAX, error_response
from node.protocol import Request, Response

Answer = Callable[[Request], Awaitable[Response]]

BACKLOG = 128
SHUTDOWN_TIMEOUT_S = 5
"""What is under way when the node is told to stop may take so long: a commit takes a second at most."""
RETRY_AFTER_S = 2
"""What a busy or waiting node asks for; a client waits at least so long."""

_RANGE = re.compile(r"bytes=([0-9]{1,12})-")


def make_application(answer: Answer) -> web.Application:
    """Return the aiohttp application in front of ``answer``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _web(error_response(Malformed(f"a request has at most {REQUEST_BYTES_MAX} bytes")))
        asked = Request(method=request.method, path=request.path, body=body, offset=_offset(request))
        return _web(await answer(asked))

    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application.router.add_route("*", "/{path:.*}", handle)
    return application


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
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
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
