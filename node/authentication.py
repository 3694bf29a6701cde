"""Which agency's node asks: a header signed by the node key of its card.

::

    Pledger-Node: <agency> <unix seconds> <base64 of the signature>

    signed: pledger/node/v1 LF  <ledger id, hex> LF  <sender> LF  <recipient> LF  <unix seconds> LF
            <METHOD> <path with query> LF  <hex SHA-256 of the body> LF

It decides only what an asker may cost and whether it may wait for news (everything read here is public), so a
header that is stale, replayed or false is no error: its request is answered like anybody's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable

from ledger.keys import SIGNATURE_BYTES, Signer, is_signature
from node.protocol import Request

HEADER = "Pledger-Node"
WINDOW_S = 300
"""How far the sender's clock may stand apart: as for requests of staff."""
SEEN_MAX = 8_192
"""Headers of one agency remembered: 13 requests a second for the whole window. Beyond it the oldest ones are
forgotten, and whatever was signed no later than they is not believed any more."""

_VALUE = re.compile(r"([a-z0-9.-]{1,60}) ([0-9]{1,12}) ([A-Za-z0-9+/]{86}==)")


def authenticated(
    request: Request, *, ledger_id: bytes, sender: str, recipient: str, signer: Signer, now_s: int
) -> Request:
    """Return the request with the header of ``sender``, whose node key signs."""
    signature = signer.sign(_message(request, ledger_id, sender, recipient, now_s))
    value = f"{sender} {now_s} {base64.b64encode(signature).decode()}"
    return Request(
        method=request.method,
        path=request.path,
        body=request.body,
        offset=request.offset,
        answer_bytes_max=request.answer_bytes_max,
        headers={**request.headers, HEADER: value},
    )


class Authenticator:
    """Says which agency sent a request, each header once."""

    def __init__(self, ledger_id: bytes, recipient: str, node_key: Callable[[str], bytes | None]) -> None:
        """``node_key(agency)`` is that of the agency's newest card in hand, None for a stranger."""
        self._ledger_id = ledger_id
        self._recipient = recipient
        self._node_key = node_key
        self._seen: dict[str, OrderedDict[bytes, int]] = {}
        self._floor: dict[str, int] = {}

    def sender(self, request: Request, now_s: int) -> str | None:
        """Return the agency whose node sent this, or None."""
        match = _VALUE.fullmatch(request.headers.get(HEADER, ""))
        if match is None or abs(int(match[2]) - now_s) > WINDOW_S:
            return None
        agency, at_s = match[1], int(match[2])
        key = self._node_key(agency)
        if key is None:
            return None
        try:
            signature = base64.b64decode(match[3], validate=True)
        except binascii.Error:
            return None
        seen = self._seen.setdefault(agency, OrderedDict())
        if len(signature) != SIGNATURE_BYTES or signature in seen or at_s <= self._floor.get(agency, 0):
            return None
        message = _message(request, self._ledger_id, agency, self._recipient, at_s)
        if not is_signature(key, message, signature):
            return None
        seen[signature] = at_s
        self._forget(agency, seen, now_s)
        return agency

    def _forget(self, agency: str, seen: OrderedDict[bytes, int], now_s: int) -> None:
        """Drop what is out of the window, and the oldest beyond the bound."""
        while seen and next(iter(seen.values())) < now_s - 2 * WINDOW_S:
            seen.popitem(last=False)
        while len(seen) > SEEN_MAX:
            _, at_s = seen.popitem(last=False)
            self._floor[agency] = max(at_s, self._floor.get(agency, 0))


def _message(request: Request, ledger_id: bytes, sender: str, recipient: str, at_s: int) -> bytes:
    body = hashlib.sha256(request.body).hexdigest()
    lines = (
        "pledger/node/v1",
        ledger_id.hex(),
        sender,
        recipient,
        str(at_s),
        f"{request.method} {request.path}",
        body,
    )
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")
