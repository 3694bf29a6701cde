"""What every decoder is fed beside its whole input: cut short, lengthened, and with each byte changed."""

from collections.abc import Callable, Iterator

from ledger.errors import Malformed, Unproven


def truncated(data: bytes) -> Iterator[bytes]:
    """Every proper prefix."""
    return (data[:end] for end in range(len(data)))


def extended(data: bytes) -> Iterator[bytes]:
    """Trailing bytes that have fooled parsers, and the input twice."""
    return (data + tail for tail in (b"\x00", b"\n", b" ", b"\xc0", b"\xff", b"A", b"=", data))


def flipped(data: bytes) -> Iterator[bytes]:
    """Each bit of each byte flipped, and each byte turned into a newline, a space and a zero."""
    for at, byte in enumerate(data):
        others = {byte ^ (1 << bit) for bit in range(8)} | {0x0A, 0x20, 0x00}
        for other in sorted(others - {byte}):
            yield data[:at] + bytes([other]) + data[at + 1 :]


def spoiled(data: bytes) -> Iterator[bytes]:
    """All of the above."""
    for kind in (truncated, extended, flipped):
        yield from kind(data)


def accepted(decode: Callable[[bytes], object], inputs: Iterator[bytes]) -> list[object]:
    """Return what ``decode`` made of the inputs it did not refuse; any other exception fails the test."""
    values: list[object] = []
    for data in inputs:
        try:
            values.append(decode(data))
        except (Malformed, Unproven):
            continue
    return values


def as_text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    """Feed a decoder of text: bytes that are no UTF-8 arrive as lone surrogates, the worst a str can hold."""
    return lambda data: decode(data.decode(errors="surrogateescape"))
