"""The HTTP edge of the server: aiohttp requests in, responses of the route functions out.

It reads bodies up to a bound, and knows nothing of what it carries.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from ledger.errors import Malformed
from node.handlers import REQUEST_BYTES_MAX, error_response
from node.protocol import Request, Response

Answer = Callable[[Request], Awaitable[Response]]

BACKLOG = 128
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


async def start_server(application: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Bind and serve; return the runner to clean up, and the port (a free one for port 0).

    Raises `OSError` if the address is taken.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0][1]
    return runner, int(bound)


def _offset(request: web.Request) -> int:
    """The start of a simple open range; anything else is answered whole, as RFC 9110 allows."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    return int(match[1]) if match else 0


def _web(response: Response) -> web.Response:
    headers = {"Content-Type": response.content_type, **response.headers}
    if response.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return web.Response(status=response.status, body=response.body, headers=headers)
