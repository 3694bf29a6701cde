"""The curve of Ed25519 in plain arithmetic (RFC 8032 §5.1), to build signatures that verifiers disagree on.

Slow and not constant-time: for tests only. It holds both verification equations, so that each vector can be
shown to satisfy the equation before libsodium's profile refuses it.
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]

NEUTRAL: Point = (0, 1)


def add(left: Point, right: Point) -> Point:
    """The sum of two points."""
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def times(scalar: int, point: Point) -> Point:
    """``scalar`` times ``point``."""
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def point_of(y: int) -> Point | None:
    """The point with this y and the even x, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (P - x if x & 1 else x), y


def encode(point: Point) -> bytes:
    """The canonical 32 bytes of a point."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _torsion() -> Point:
    """A point of order 8: L times some point that is in no smaller subgroup."""
    for y in range(2, 100):
        point = point_of(y)
        if point is not None and times(4, times(L, point)) != NEUTRAL:
            return times(L, point)
    raise AssertionError("no point of order 8 among small y")


_BASE = point_of(4 * pow(5, -1, P) % P)
assert _BASE is not None
BASE: Point = _BASE
TORSION = _torsion()


def challenge(commitment: bytes, key: bytes, message: bytes) -> int:
    """SHA-512(R ‖ A ‖ M) mod L, of the bytes as they stand."""
    return int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % L


def is_equal(response: int, commitment: Point, key: Point, hashed: int, cofactor: int) -> bool:
    """Whether cofactor * S * B = cofactor * (R + k * A): the equation, with none of the strict checks."""
    right = add(commitment, times(hashed, key))
    return times(cofactor * response, BASE) == times(cofactor, right)
