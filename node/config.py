"""A node's configuration: TOML, checked whole before anything starts.

An unknown key is an error that names the nearest known one: a misspelt ``listen`` must not silently leave a
node on its default address. All errors are reported at once.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import Malformed
from ledger.names import NAME

FILE_NAME = "node.toml"
FILE_BYTES_MAX = 1024 * 1024
INTERVAL_MIN_S, INTERVAL_MAX_S = 0.05, 3600.0
"""From tests to an agency that publishes hourly to hide its working hours."""

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")
_LISTEN = re.compile(r"(?P<host>[A-Za-z0-9.:_-]+|\[[0-9a-f:]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that an operator decides.

    Paths are absolute and without links: the instance record compares them, and a database is not moved
    because somebody starts its node from another folder.
    """

    directory: Path
    ledger: str
    agency: str
    url: str
    host: str
    port: int
    data: Path
    publish_interval_s: float
    mirror_interval_s: float
    peers: Mapping[str, tuple[str, ...]]
    """Agency to the addresses at which its log is asked for."""


def load_config(directory: Path) -> Config:
    """Return the configuration of an agency directory; raise `Malformed` with every error in it."""
    path = directory / FILE_NAME
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Malformed(
            f"{path}: {error.strerror}: make the agency with `pledger agency new` first"
        ) from None
    return parse_config(raw, directory, str(path))


def parse_config(raw: bytes, directory: Path, name: str = FILE_NAME) -> Config:
    """Return the configuration in ``raw``; see `load_config`."""
    if len(raw) > FILE_BYTES_MAX:
        raise Malformed(f"{name}: {len(raw)} bytes are no configuration")
    try:
        value = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Malformed(f"{name}: no TOML: {error}") from None
    problems = _unknown(value) + [
        f"{key}: missing" for key, (_, default) in _KEYS.items() if default is None and key not in value
    ]
    for key, (is_good, _) in _KEYS.items():
        if key in value and not is_good(value[key]):
            problems.append(f"{key}: {value[key]!r} is not {_WANTED[key]}")
    if problems:
        raise Malformed("\n".join(f"{name}: {problem}" for problem in problems))
    merged = {key: default for key, (_, default) in _KEYS.items()} | value
    listen = _LISTEN.fullmatch(merged["listen"])
    assert listen is not None
    return Config(
        directory=directory.resolve(),
        ledger=merged["ledger"],
        agency=merged["agency"],
        url=merged["url"],
        host=listen["host"].strip("[]"),
        port=int(listen["port"]),
        data=(directory / merged["data"]).resolve(),
        publish_interval_s=float(merged["publish_interval_s"]),
        mirror_interval_s=float(merged["mirror_interval_s"]),
        peers={agency: tuple(urls) for agency, urls in merged["peers"].items()},
    )


def format_config(*, ledger: str, agency: str, url: str, listen: str, peers: Mapping[str, list[str]]) -> str:
    """Return the TOML of a new agency, with a word on each key."""
    lines = [
        "# A pledger node. An unknown or misspelt key is an error at start.",
        f'ledger = "{ledger}"',
        f'agency = "{agency}"',
        f'url = "{url}"  # where others reach this node',
        f'listen = "{listen}"  # the address and port to bind',
        'data = "data"  # databases, relative to this file',
        "publish_interval_s = 1.0  # how often a new checkpoint is shown; minutes hide working hours",
        "mirror_interval_s = 1.0  # how often the others' logs are asked for",
        "",
        "[peers]  # agency = [addresses]",
        # quoted: an agency's id may have a dot, which TOML would take for a table in a table
        *(f"'{name}' = {urls!r}".replace("'", '"') for name, urls in peers.items()),
    ]
    return "\n".join(lines) + "\n"


def add_peers(text: str, peers: Mapping[str, Sequence[str]]) -> str:
    """Return a configuration with these addresses, all else as its operator wrote it."""
    lines = text.splitlines()
    if "[peers]" not in [line.partition("#")[0].strip() for line in lines]:
        lines += ["", "[peers]  # agency = [addresses]"]
    kept = [line for line in lines if line.partition("=")[0].strip().strip("'\"") not in peers]
    at = next(place for place, line in enumerate(kept) if line.partition("#")[0].strip() == "[peers]")
    made = [f"'{name}' = {list(urls)!r}".replace("'", '"') for name, urls in peers.items()]
    return "\n".join([*kept[: at + 1], *made, *kept[at + 1 :]]) + "\n"


def _unknown(value: dict[str, Any]) -> list[str]:
    found = []
    for key in value:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(_KEYS)}"
            found.append(f"{key}: unknown key{hint}")
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and _URL.fullmatch(value) is not None


def _is_listen(value: Any) -> bool:
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match["port"]) < 65536


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _is_interval(value: Any) -> bool:
    return type(value) in (int, float) and INTERVAL_MIN_S <= value <= INTERVAL_MAX_S


def _is_peers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_name(name) and isinstance(urls, list) and urls and all(map(_is_url, urls))
        for name, urls in value.items()
    )


_KEYS: dict[str, tuple[Callable[[Any], bool], Any]] = {
    "ledger": (_is_name, None),
    "agency": (_is_name, None),
    "url": (_is_url, None),
    "listen": (_is_listen, None),
    "data": (_is_path, "data"),
    "publish_interval_s": (_is_interval, 1.0),
    "mirror_interval_s": (_is_interval, 1.0),
    "peers": (_is_peers, {}),
}
_WANTED = {
    "ledger": f"a name like {NAME.pattern}",
    "agency": f"a name like {NAME.pattern}",
    "url": "an http(s) address",
    "listen": "host:port",
    "data": "a path",
    "publish_interval_s": f"seconds, {INTERVAL_MIN_S} to {INTERVAL_MAX_S}",
    "mirror_interval_s": f"seconds, {INTERVAL_MIN_S} to {INTERVAL_MAX_S}",
    "peers": "a table of agency = [addresses]",
}
