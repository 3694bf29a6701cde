"""Canonical msgpack: each value has exactly one encoding, and only that one is accepted.

Values are ``None``, integers 0..2^63-1, NFC strings, bytes, lists, and maps with string keys. Integers and
lengths take their shortest form; keys are unique and in the order of their UTF-8 bytes. There are no floats,
booleans or extension types: each of them has brought some ledger two encodings of one fact.

``decode`` parses, encodes again and compares. msgpack alone accepts ``cc 01`` for 1 and keeps the last of
two equal keys; the comparison refuses both, and whatever else a decoder may be lenient about. This is the
only module that imports msgpack.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, TypeAlias

import msgpack

from ledger.errors import Malformed

Value: TypeAlias = Any
"""None, int, str, bytes, list of values or dict of str to value (recursive; mypy cannot say it usefully)."""

INTEGER_MAX = 2**63 - 1
"""The largest integer: every language has a signed 64-bit type."""

DEPTH_MAX = 16
"""Nesting allowed: our deepest object uses 6; deeper input is an attack on the stack."""

BYTES_MAX = 16 * 1024 * 1024
"""Default bound of one value: a submission of 4,096 records with room to spare."""

CONTAINER_BYTES = 16
"""Lists and maps allowed: one for each so many bytes (ours average 100), and `CONTAINERS_FREE`. An empty list
is one byte of input and 60 of memory: without a bound, 16 MiB of them take 2 GB and ten seconds."""

CONTAINERS_FREE = 1_024
"""Lists and maps that any value may hold: small ones need no counting."""


def encode(value: Value) -> bytes:
    """Return the canonical encoding of ``value``; raise `Malformed` if it has none."""
    packed: bytes = msgpack.packb(_ordered(value, 0), use_bin_type=True)
    return packed


def decode(data: bytes, *, bytes_max: int = BYTES_MAX) -> Value:
    """Return the value whose canonical encoding is exactly ``data``; raise `Malformed` otherwise."""
    if len(data) > bytes_max:
        raise Malformed(f"{len(data)} bytes of msgpack, at most {bytes_max} allowed here")
    counted = _counter(CONTAINERS_FREE + len(data) // CONTAINER_BYTES)
    try:
        value = msgpack.unpackb(
            data, raw=False, use_list=True, strict_map_key=False, list_hook=counted, object_hook=counted
        )
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError, TypeError) as error:
        reason = str(error) or type(error).__name__
        raise Malformed(f"not msgpack: {reason}") from None
    if encode(value) != data:
        raise Malformed("not canonical msgpack (a longer form, unsorted or repeated keys)")
    return value


def _counter(limit: int) -> Callable[[Value], Value]:
    """Return a hook that passes on each list or map as it is parsed, and refuses those beyond ``limit``."""
    left = limit

    def counted(container: Value) -> Value:
        nonlocal left
        left -= 1
        if left < 0:
            raise Malformed(f"more than {limit} lists and maps in a value of this length")
        return container

    return counted


def _ordered(value: Value, depth: int) -> Value:
    """Return ``value`` with its maps in key order, having checked every part of it."""
    if depth > DEPTH_MAX:
        raise Malformed(f"nested deeper than {DEPTH_MAX}")
    kind = type(value)
    if kind is str:
        return _checked_text(value)
    if kind is int:
        if not 0 <= value <= INTEGER_MAX:
            raise Malformed("an integer is outside 0..2^63-1")
        return value
    if value is None or kind is bytes:
        return value
    if kind is list or kind is tuple:
        return [_ordered(item, depth + 1) for item in value]
    if kind is dict:
        return {_checked_key(key): _ordered(value[key], depth + 1) for key in _sorted_keys(value)}
    raise Malformed(f"a {kind.__name__} has no place in canonical msgpack")


def _sorted_keys(value: dict[str, Value]) -> list[str]:
    """Keys by code point, which for valid text is the order of their UTF-8 bytes."""
    for key in value:
        _checked_key(key)
    return sorted(value)


def _checked_key(key: object) -> str:
    if type(key) is not str:
        raise Malformed(f"map key of type {type(key).__name__}, only strings are keys")
    return _checked_text(key)


def _checked_text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("text holds a lone surrogate") from None
    if not unicodedata.is_normalized("NFC", text):
        raise Malformed(f"text {text[:40]!r} is not in Unicode form NFC")
    return text
