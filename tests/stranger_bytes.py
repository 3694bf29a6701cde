"""The stranger's verifier, sections 1 to 6 of docs/FORMAT.md: encoding, signatures, notes, tree, files.

It imports nothing of ledger, node or cli: see ``tests/stranger.py``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
import unicodedata
import zipfile
from typing import Any

from nacl import bindings, exceptions

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,58}[a-z0-9])?")
LEVEL, INDEX = "entries|0|[1-9]|[1-5][0-9]|6[0-3]", "(?!x000/)((?:x[0-9]{3}/)*[0-9]{3})"
TILE = re.compile(rf"tile/(?:{LEVEL})/{INDEX}(?:\.p/([1-9][0-9]{{0,2}}))?")
KEPT = re.compile("certified/(?!1$)[1-9][0-9]{0,3}")
LOG_FILE = re.compile(r"log/([^/]+)/([1-9][0-9]{0,3})/(branch/[0-9a-f]{64}/)?(.+)")
STRINGS = (
    (str, 0xA0, 0xBF, {0xD9: (1, 32), 0xDA: (2, 256), 0xDB: (4, 65536)}),
    (bytes, 1, 0, {0xC4: (1, 0), 0xC5: (2, 256), 0xC6: (4, 65536)}),
)
CONTAINERS = (
    (list, 0x90, 0x9F, {0xDC: (2, 16), 0xDD: (4, 65536)}),
    (dict, 0x80, 0x8F, {0xDE: (2, 16), 0xDF: (4, 65536)}),
)
"""Type, first and last byte of the short form, byte of a long form to (bytes of its length, least length)."""


class Bad(Exception):
    """The bytes are not in the form that the document states."""


def need(holds: object) -> None:
    if not holds:
        raise Bad


def words(text: str) -> set[str]:
    return set(text.split())


def H(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# 1 canonical msgpack


def unpack(data: bytes, most: int) -> Any:
    need(len(data) <= most)
    value, end = _item(data, 0, 0, [1024 + len(data) // 16])
    need(end == len(data))
    return value


def _item(d: bytes, at: int, depth: int, left: list[int]) -> tuple[Any, int]:
    need(at < len(d) and depth <= 16)
    b = d[at]
    if b < 0x80 or b == 0xC0:
        return (b if b < 0x80 else None), at + 1
    if 0xCC <= b <= 0xCF:
        n, end = _number(d, at, 1 << (b - 0xCC), (128, 256, 65536, 2**32)[b - 0xCC])
        need(n < 2**63)
        return n, end
    for kind, low, high, sizes in STRINGS + CONTAINERS:
        if low <= b <= high or b in sizes:
            n, end = (b - low, at + 1) if low <= b <= high else _number(d, at, *sizes[b])
            if kind in (str, bytes):
                return _string(d, end, n, kind)
            return _container(d, end, n, kind, depth, left)
    raise Bad


def _number(d: bytes, at: int, size: int, least: int) -> tuple[int, int]:
    n = int.from_bytes(d[at + 1 : at + 1 + size], "big")
    need(at + 1 + size <= len(d) and n >= least)
    return n, at + 1 + size


def _string(d: bytes, at: int, n: int, kind: type) -> tuple[Any, int]:
    need(at + n <= len(d))
    raw = d[at : at + n]
    if kind is bytes:
        return raw, at + n
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Bad from None
    need(unicodedata.is_normalized("NFC", text))
    return text, at + n


def _container(d: bytes, at: int, n: int, kind: type, depth: int, left: list[int]) -> tuple[Any, int]:
    left[0] -= 1
    need(left[0] >= 0)
    items: list[Any] = []
    for _ in range(n):
        if kind is dict:
            key, at = _item(d, at, depth + 1, left)
            need(type(key) is str and (not items or items[-1][0].encode() < key.encode()))
            value, at = _item(d, at, depth + 1, left)
            items.append((key, value))
        else:
            value, at = _item(d, at, depth + 1, left)
            items.append(value)
    return kind(items), at


def is_bytes(value: Any, size: int = 32) -> bool:
    return type(value) is bytes and len(value) == size


def is_int(value: Any, low: int = 0, high: int = 2**63 - 1) -> bool:
    return type(value) is int and low <= value <= high


def is_text(value: Any, pattern: str | re.Pattern[str]) -> bool:
    return type(value) is str and re.fullmatch(pattern, value) is not None


# 2 Ed25519, 4 notes


def verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        return len(signature) == 64 and bindings.crypto_sign_open(signature + message, key) == message
    except exceptions.BadSignatureError:
        return False


def unbase64(text: str) -> bytes:
    need(is_text(text, r"[A-Za-z0-9+/]*=?=?") and len(text) % 4 == 0)
    data = base64.b64decode(text)
    need(base64.b64encode(data).decode() == text)
    return data


def parse_vkey(vkey: str) -> tuple[str, bytes]:
    """Name and key of a log's vkey."""
    parts = vkey.split("+", 2)
    need(len(vkey) <= 1024 and len(parts) == 3 and parts[0] and not re.search(r"\s|[\0-\x1f]", parts[0]))
    key = unbase64(parts[2])
    need(len(key) == 33 and key[0] == 1 and key_id(parts[0], 1, key[1:]).hex() == parts[1])
    return parts[0], key[1:]


def key_id(name: str, kind: int, key: bytes) -> bytes:
    return H(name.encode() + b"\n" + bytes([kind]) + key)[:4]


Lines = list[tuple[str, bytes, bytes, bool]]


def parse_note(raw: bytes) -> tuple[str, Lines]:
    need(len(raw) <= 262144)
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise Bad from None
    text, blank, rest = whole.rpartition("\n\n")
    need(blank and rest.endswith("\n") and not re.search("[\0-\x09\x0b-\x1f]", whole))
    lines: Lines = []
    for line in rest[:-1].split("\n"):
        start, _, payload = line.partition(" ")
        name, _, payload = payload.partition(" ")
        need(start == "\u2014" and name and not re.search(r"[+\s]", name))
        need(is_text(payload, r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"))
        data = base64.b64decode(payload)
        need(len(data) > 4)
        lines.append((name, data[:4], data[4:], base64.b64encode(data).decode() == payload))
    need(len(lines) <= 1100)
    return text + "\n", lines


def signers(note: tuple[str, Lines], keys: dict[str, bytes]) -> set[str]:
    """Names of the known keys that signed; Bad if a line of one is bad or there is none."""
    good = set()
    for name, short, signature, strict in note[1]:
        if name in keys and short == key_id(name, 1, keys[name]):
            need(strict and verifies(keys[name], note[0].encode(), signature))
            good.add(name)
    need(good)
    return good


def parse_checkpoint(raw: bytes) -> tuple[str, int, bytes, tuple[str, Lines]]:
    note = parse_note(raw)
    lines = note[0][:-1].split("\n")
    need(len(lines) >= 3 and all(lines) and is_text(lines[1], "0|[1-9][0-9]{0,18}") and int(lines[1]) < 2**63)
    root = unbase64(lines[2])
    need(len(root) == 32)
    return lines[0], int(lines[1]), root, note


def has_cosigned(note: tuple[str, Lines], name: str, key: bytes) -> bool:
    for line_name, short, payload, strict in note[1]:
        if (line_name, short, strict, len(payload)) == (name, key_id(name, 4, key), True, 72):
            time = int.from_bytes(payload[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{note[0]}".encode()
            if time < 2**63 and verifies(key, message, payload[8:]):
                return True
    return False


# 5 tree


def root_of(hashes: list[bytes]) -> bytes:
    if len(hashes) <= 1:
        return hashes[0] if hashes else H(b"")
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return H(b"\1" + root_of(hashes[:split]) + root_of(hashes[split:]))


def lead(r: bytes, i: int, n: int, path: list[bytes]) -> tuple[bytes, list[bytes]]:
    """The root to which a path leads, and its hashes that stand left; Bad if it has the wrong length."""
    need(i < n)
    fn, sn, left = i, n - 1, []
    for p in path:
        need(sn)
        if fn & 1 or fn == sn:
            left.append(p)
            r = H(b"\1" + p + r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = H(b"\1" + r + p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0)
    return r, left


def includes(r: bytes, i: int, n: int, path: list[bytes], root: bytes) -> bool:
    try:
        return lead(r, i, n, path)[0] == root
    except Bad:
        return False


# 6 files


def tile_path(level: int | str, index: int, width: int) -> str:
    digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return (
        f"tile/{level}/"
        + "".join(f"x{one}/" for one in groups[:-1])
        + groups[-1]
        + (f".p/{width}" if width < 256 else "")
    )


def bytes_max(path: str) -> int:
    if path.startswith("roster/") and path.endswith(".json"):
        return 4 * 2**20
    if "/tile/" in path:
        return 256 * 65537 if "/tile/entries/" in path else 8192
    if "/evidence/" in path:
        return 4096
    return 512 if path.endswith("/vkey") else 262144


def branch_of(path: str) -> str:
    """The name of the branch whose file it is, \"\" of the main one."""
    found = LOG_FILE.fullmatch(path)
    return (found[3] or "") if found else ""


def era_of(path: str) -> tuple[str, int] | None:
    """Agency and era, if the path is one of the grammar's."""
    found = LOG_FILE.fullmatch(path)
    if not found or not NAME.fullmatch(found[1]):
        return None
    tile = TILE.fullmatch(found[4])
    is_tile = tile and int(re.sub("[x/]", "", tile[1])) <= (2**63 - 1) // 256 and int(tile[2] or 1) < 256
    if re.fullmatch("(evidence|unproven)/([0-9]|[1-5][0-9]|6[0-3])", found[4]):
        return None if found[3] else (found[1], int(found[2]))
    is_file = found[4] in ("checkpoint", "checkpoint.certified", "vkey") or KEPT.fullmatch(found[4])
    return (found[1], int(found[2])) if is_tile or is_file else None


class Files:
    """A dictionary or a ZIP; `read` returns None for what is absent, and raises Bad beyond its limit."""

    def __init__(self, source: dict[str, bytes] | bytes) -> None:
        if isinstance(source, dict):
            self.zip, self.files, self.names = None, source, sorted(source)
            return
        try:
            check_layout(source)
            self.zip = zipfile.ZipFile(io.BytesIO(source))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error):
            raise Bad from None
        self.names = sorted(one.orig_filename for one in self.zip.infolist() if not one.is_dir())

    def read(self, path: str) -> bytes | None:
        if self.zip is None:
            data = self.files.get(path)
        elif path not in self.zip.NameToInfo:
            return None
        else:
            info = self.zip.getinfo(path)
            need(info.file_size <= min(bytes_max(path), 200 * max(info.compress_size, 64)))
            info.CRC = None  # type: ignore[assignment]  # contents are checked by what they say
            try:
                data = self.zip.read(info)
            except Exception:  # whatever a damaged member makes of a ZIP library
                raise Bad from None
        need(data is None or len(data) <= bytes_max(path))
        return data


def check_layout(raw: bytes) -> None:
    comment = b"pledger dossier 1"
    if not raw.endswith(comment):
        need(len(raw) < 22 or (raw[-22:-18] == b"PK\5\6" and raw[-2:] == b"\0\0"))
        return
    end = raw[-22 - len(comment) :]
    count, size, start = struct.unpack("<H2L", end[10:20])
    need(end == struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, 17) + comment)
    need(start + size + len(end) == len(raw))
    at, offset, before = start, 0, b""
    for _ in range(count):
        crc, length = struct.unpack("<L4xL", raw[at + 16 : at + 28])
        (name_size,) = struct.unpack("<H", raw[at + 28 : at + 30])
        name = raw[at + 46 : at + 46 + name_size]
        need(name.decode() > before.decode())
        flags = 0 if name.isascii() else 0x800
        common = struct.pack("<5H3L2H", 20, flags, 0, 0, 33, crc, length, length, name_size, 0)
        rest = struct.pack("<3H2L", 0, 0, 0, 0x81A40000, offset)
        central = struct.pack("<4sH", b"PK\1\2", 0x314) + common + rest
        local = b"PK\3\4" + common
        need(raw[at : at + 46 + name_size] == central + name)
        need(raw[offset : offset + 30 + name_size] == local + name)
        at, offset, before = at + 46 + name_size, offset + 30 + name_size + length, name
    need((at, offset) == (start + size, start))
