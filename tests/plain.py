"""The formats once more in a few plain lines, written from DESIGN and RFC 6962 and not from ``ledger/``.

What the tests compare our code with; slow, and nothing is checked here.
"""

from __future__ import annotations

import hashlib
from typing import Any


def sha(*parts: bytes) -> bytes:
    """SHA-256 over the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def pack(value: Any) -> bytes:
    """Canonical msgpack."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, bytes):
        return _head(len(value), ((256, 0xC4, 1), (65_536, 0xC5, 2), (2**32, 0xC6, 4))) + value
    if isinstance(value, str):
        raw = value.encode()
        short = bytes([0xA0 | len(raw)]) if len(raw) < 32 else b""
        return (short or _head(len(raw), ((256, 0xD9, 1), (65_536, 0xDA, 2), (2**32, 0xDB, 4)))) + raw
    sizes = ((65_536, 0xDC, 2), (2**32, 0xDD, 4))
    if isinstance(value, dict):
        pairs = sorted((key.encode(), pack(key) + pack(item)) for key, item in value.items())
        start = bytes([0x80 | len(value)]) if len(value) < 16 else _head(len(value), ((65_536, 0xDE, 2),))
        return start + b"".join(pair for _, pair in pairs)
    start = bytes([0x90 | len(value)]) if len(value) < 16 else _head(len(value), sizes)
    return start + b"".join(map(pack, value))


def _integer(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return _head(value, ((256, 0xCC, 1), (65_536, 0xCD, 2), (2**32, 0xCE, 4), (2**64, 0xCF, 8)))


def _head(number: int, forms: tuple[tuple[int, int, int], ...]) -> bytes:
    for limit, code, width in forms:
        if number < limit:
            return bytes([code]) + number.to_bytes(width, "big")
    raise ValueError(number)


def tree(hashes: list[bytes]) -> bytes:
    """RFC 6962's MTH over leaf hashes, by its definition."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha()
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha(b"\x01", tree(hashes[:split]), tree(hashes[split:]))
