"""Public records: governance in the clear, codes only, no free text and no pupil in them.

Each is a closed map whose bytes stand in the leaf. This module knows their forms and who may author each;
what they mean for later leaves is in ``authority``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from ledger import codec
from ledger.errors import Malformed
from ledger.json_form import shown
from ledger.keys import KEY_BYTES
from ledger.names import Head, Place, check_name, parse_origin

Office: TypeAlias = Literal["root", "registrar", "desk", "staff"]
"""What an agency's key is: root and card keys by the roster and card, staff by a grant."""

BODY_BYTES_MAX = 60_000
"""Leaves room for the header in a leaf; an adopt that pins 999 other agencies takes some 50 kB."""
CARDS_MAX = 1_000
"""One a week for twenty years. Every grant is judged beside all cards, so their number must have an end."""
CARD_BYTES_MAX = 1_600
"""Two openings must fit in one piece of fork evidence (4 KiB), each with header, signature and path."""
KEYS_MAX = 16
"""Desk or registrar keys of one card."""
URLS_MAX = 8
URL_CHARS_MAX = 200
HEADS_MAX = 64
"""Branches that one reconcile closes."""
SCOPE_BYTES_MAX = 4096
KINDS_MAX = 100
REASONS = ("fork", "key_lost", "key_stolen", "restored", "wrong_hour", "invalid_tail", "root_changed")
"""Why an era was opened: a closed list of codes."""

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """``agency.card``: an agency's keys and addresses from here on."""

    kind: ClassVar[str] = "agency.card"
    origin: str
    number: int
    before: bytes | None
    log_key: bytes
    witness_key: bytes
    node_key: bytes
    desk_keys: tuple[bytes, ...]
    sealing_key: bytes
    registrar_keys: tuple[bytes, ...]
    urls: tuple[str, ...]
    void_from: Mapping[bytes, Place]
    """Registrar keys that this card drops, and from where on the grants they made are suspect."""

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Every Ed25519 key of the card: each must be used for one thing only."""
        return (self.log_key, self.witness_key, self.node_key, *self.desk_keys, *self.registrar_keys)

    @property
    def uses(self) -> Mapping[bytes, str]:
        """What each signing key is for."""
        single = {self.log_key: "log", self.witness_key: "witness", self.node_key: "node"}
        return (
            single | dict.fromkeys(self.desk_keys, "desk") | dict.fromkeys(self.registrar_keys, "registrar")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """``roster.adopt``: the roster version that holds from here on, and the newest known cards of others."""

    kind: ClassVar[str] = "roster.adopt"
    version: int
    hash: bytes
    cards: Mapping[str, tuple[int, bytes] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """``staff.grant``: a key may write within a committed scope, on these days (inclusive, since 1970)."""

    kind: ClassVar[str] = "staff.grant"
    key: bytes
    scope: bytes
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """``staff.revoke``: the key writes no more; what it wrote since ``suspect_from`` is marked."""

    kind: ClassVar[str] = "staff.revoke"
    key: bytes
    suspect_from: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """``log.reconcile``: what an opening of era 2 or later keeps, closes, carries and sets aside."""

    kind: ClassVar[str] = "log.reconcile"
    kept: Head
    closes: tuple[Head, ...]
    carried: tuple[int, bytes]
    set_aside: tuple[int, bytes]
    hour: int
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """``erasure``: a padded, salted root over what was erased, and nothing else."""

    kind: ClassVar[str] = "erasure"
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a grant commits to, opened beside the bodies: a role, a unit (``*`` for all), and kinds."""

    role: str
    unit: str
    kinds: tuple[str, ...]


Governance: TypeAlias = Card | Adopt | Grant | Revoke | Reconcile | Erasure

AUTHORS: Mapping[str, frozenset[Office]] = {
    Card.kind: frozenset({"root"}),
    Adopt.kind: frozenset({"root", "desk"}),
    Grant.kind: frozenset({"root", "registrar"}),
    Revoke.kind: frozenset({"root", "registrar"}),
    Reconcile.kind: frozenset({"root"}),
    Erasure.kind: frozenset({"desk"}),
}
"""Who may author each public kind. Any other public kind or author is invalid."""


def parse_governance(body: bytes) -> Governance:
    """Return the public record of these canonical bytes; raise `Malformed` for any other form."""
    value = codec.decode(body, bytes_max=BODY_BYTES_MAX)
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise Malformed("a public record is a map with a kind")
    if value["kind"] == Card.kind and len(body) > CARD_BYTES_MAX:
        raise Malformed(
            f"a card of {len(body)} bytes, at most {CARD_BYTES_MAX}: name fewer keys or addresses"
        )
    parser = _PARSERS.get(value["kind"])
    if parser is None:
        raise Malformed(f"no public kind {value['kind'][:40]!r}; there are {', '.join(_PARSERS)}")
    return parser(value)


def format_governance(record: Governance) -> bytes:
    """Return the canonical bytes of a public record, checked by parsing them."""
    value: dict[str, Any] = {"kind": record.kind}
    match record:
        case Card():
            value |= {
                "origin": record.origin,
                "number": record.number,
                "before": record.before,
                "log_key": record.log_key,
                "witness_key": record.witness_key,
                "node_key": record.node_key,
                "desk_keys": list(record.desk_keys),
                "sealing_key": record.sealing_key,
                "registrar_keys": list(record.registrar_keys),
                "urls": list(record.urls),
                "void_from": [
                    [key, place.era, place.index] for key, place in sorted(record.void_from.items())
                ],
            }
        case Adopt():
            value |= {
                "version": record.version,
                "hash": record.hash,
                "cards": {name: pin and list(pin) for name, pin in record.cards.items()},
            }
        case Grant():
            value |= {
                "key": record.key,
                "scope": record.scope,
                "valid_from": record.valid_from,
                "valid_until": record.valid_until,
            }
        case Revoke():
            place = record.suspect_from
            value |= {"key": record.key, "suspect_from": place and [place.era, place.index]}
        case Reconcile():
            value |= {
                "kept": _head_value(record.kept),
                "closes": [_head_value(h) for h in record.closes],
                "carried": list(record.carried),
                "set_aside": list(record.set_aside),
                "hour": record.hour,
                "reason_code": record.reason_code,
            }
        case Erasure():
            value |= {"root": record.root}
    body = codec.encode(value)
    parse_governance(body)
    return body


def make_scope(scope: Scope, salt: bytes) -> bytes:
    """Return the opening of a scope: canonical bytes, with 16 fresh random bytes of salt."""
    value = {"salt": salt, "role": scope.role, "unit": scope.unit, "kinds": sorted(scope.kinds)}
    opening = codec.encode(value)
    parse_scope(opening)
    return opening


def parse_scope(opening: bytes) -> Scope:
    """Return the scope of an opening; raise `Malformed` for any other form."""
    match codec.decode(opening, bytes_max=SCOPE_BYTES_MAX):
        case {"salt": bytes(salt), "role": str(role), "unit": str(unit), "kinds": list(kinds), **rest} if (
            not rest
        ):
            pass
        case _:
            raise Malformed("a scope is {salt, role, unit, kinds}")
    if len(salt) != 16 or not 0 < len(role) <= 40 or not 0 < len(unit) <= 40:
        raise Malformed("a scope has a salt of 16 bytes, and a role and unit of 1 to 40 characters")
    if not 1 <= len(kinds) <= KINDS_MAX or not all(isinstance(kind, str) for kind in kinds):
        raise Malformed(f"a scope names 1 to {KINDS_MAX} kinds")
    if kinds != sorted(set(kinds)):
        raise Malformed("the kinds of a scope are sorted, each once")
    return Scope(role=role, unit=unit, kinds=tuple(kinds))


def scope_commitment(opening: bytes) -> bytes:
    """Return what a grant carries for this opening."""
    return hashlib.sha256(b"\x00" + opening).digest()


def _head_value(head: Head) -> dict[str, Any]:
    return {"era": head.era, "size": head.size, "root": head.root}


def _parse_card(value: dict[str, Any]) -> Card:
    _closed(
        value,
        "origin",
        "number",
        "before",
        "log_key",
        "witness_key",
        "node_key",
        "desk_keys",
        "sealing_key",
        "registrar_keys",
        "urls",
        "void_from",
    )
    number = _whole(value["number"], "number", least=1)
    if number > CARDS_MAX:
        raise Malformed(f"card {number}: an agency has at most {CARDS_MAX}")
    before = value["before"]
    if (before is None) != (number == 1):
        raise Malformed("before is nil on card 1, and names the card before on later ones")
    if not isinstance(value["origin"], str):
        raise Malformed("origin must be a text")
    card = Card(
        origin=str(parse_origin(value["origin"])),
        number=number,
        before=None if before is None else _bytes32(before, "before"),
        log_key=_bytes32(value["log_key"], "log_key"),
        witness_key=_bytes32(value["witness_key"], "witness_key"),
        node_key=_bytes32(value["node_key"], "node_key"),
        desk_keys=_key_list(value["desk_keys"], "desk_keys"),
        sealing_key=_bytes32(value["sealing_key"], "sealing_key"),
        registrar_keys=_key_list(value["registrar_keys"], "registrar_keys"),
        urls=_url_list(value["urls"]),
        void_from=_parse_void_from(value["void_from"]),
    )
    if len(set(card.signing_keys)) != len(card.signing_keys):
        raise Malformed("a card names one key for two purposes")
    return card


def _parse_adopt(value: dict[str, Any]) -> Adopt:
    _closed(value, "version", "hash", "cards")
    if not isinstance(value["cards"], dict):
        raise Malformed("cards must be a map")
    cards: dict[str, tuple[int, bytes] | None] = {}
    for name, pin in value["cards"].items():
        match pin:
            case None:
                cards[check_name(name, "agency")] = None
            case [int(number), bytes(card)] if number >= 1 and len(card) == 32:
                cards[check_name(name, "agency")] = (number, card)
            case _:
                raise Malformed(f"the pin of {shown(name)} is nil or [number, record hash]")
    version = _whole(value["version"], "version", least=1)
    return Adopt(version=version, hash=_bytes32(value["hash"], "hash"), cards=cards)


def _parse_grant(value: dict[str, Any]) -> Grant:
    _closed(value, "key", "scope", "valid_from", "valid_until")
    return Grant(
        key=_bytes32(value["key"], "key"),
        scope=_bytes32(value["scope"], "scope"),
        valid_from=_whole(value["valid_from"], "valid_from"),
        valid_until=_whole(value["valid_until"], "valid_until"),
    )


def _parse_revoke(value: dict[str, Any]) -> Revoke:
    _closed(value, "key", "suspect_from")
    place = value["suspect_from"]
    return Revoke(
        key=_bytes32(value["key"], "key"), suspect_from=None if place is None else _parse_place(place)
    )


def _parse_reconcile(value: dict[str, Any]) -> Reconcile:
    _closed(value, "kept", "closes", "carried", "set_aside", "hour", "reason_code")
    if not isinstance(value["closes"], list) or len(value["closes"]) > HEADS_MAX:
        raise Malformed(f"closes lists at most {HEADS_MAX} heads")
    if value["reason_code"] not in REASONS:
        raise Malformed(f"reason_code must be one of {', '.join(REASONS)}")
    return Reconcile(
        kept=_parse_head(value["kept"]),
        closes=tuple(map(_parse_head, value["closes"])),
        carried=_count_and_root(value["carried"]),
        set_aside=_count_and_root(value["set_aside"]),
        hour=_whole(value["hour"], "hour"),
        reason_code=value["reason_code"],
    )


def _parse_erasure(value: dict[str, Any]) -> Erasure:
    _closed(value, "root")
    return Erasure(root=_bytes32(value["root"], "root"))


_PARSERS: Mapping[str, Callable[[dict[str, Any]], Governance]] = {
    Card.kind: _parse_card,
    Adopt.kind: _parse_adopt,
    Grant.kind: _parse_grant,
    Revoke.kind: _parse_revoke,
    Reconcile.kind: _parse_reconcile,
    Erasure.kind: _parse_erasure,
}


def _closed(value: dict[str, Any], *keys: str) -> None:
    if set(value) != {"kind", *keys}:
        raise Malformed(f"{value['kind']} has exactly the keys kind, {', '.join(keys)}")


def _whole(value: object, what: str, *, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise Malformed(f"{what} must be an integer of at least {least}")
    return value


def _bytes32(value: object, what: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != KEY_BYTES:
        raise Malformed(f"{what} must be {KEY_BYTES} bytes")
    return value


def _key_list(value: object, what: str) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= KEYS_MAX:
        raise Malformed(f"{what} lists 1 to {KEYS_MAX} keys")
    return tuple(_bytes32(key, what) for key in value)


def _url_list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > URLS_MAX:
        raise Malformed(f"urls lists at most {URLS_MAX}")
    for url in value:
        if not isinstance(url, str) or len(url) > URL_CHARS_MAX or not _URL.fullmatch(url):
            raise Malformed(f"{str(url)[:80]!r} is no plain http(s) address")
    return tuple(value)


def _parse_void_from(value: object) -> dict[bytes, Place]:
    if not isinstance(value, list) or len(value) > KEYS_MAX:
        raise Malformed(f"void_from lists at most {KEYS_MAX} of [key, era, index]")
    void: dict[bytes, Place] = {}
    for item in value:
        if not isinstance(item, list) or len(item) != 3:
            raise Malformed("void_from lists [key, era, index]")
        void[_bytes32(item[0], "void_from key")] = _parse_place(item[1:])
    if list(void) != sorted(void) or len(void) != len(value):
        raise Malformed("the keys of void_from ascend, each once")
    return void


def _parse_place(value: object) -> Place:
    match value:
        case [int(era), int(index)] if era >= 1:
            return Place(era, index)
    raise Malformed("a place in a log is [era, index]")


def _parse_head(value: object) -> Head:
    match value:
        case {"era": int(era), "size": int(size), "root": bytes(root), **rest} if (
            not rest and era >= 1 and len(root) == 32
        ):
            return Head(era, size, root)
    raise Malformed("a head is {era, size, root}")


def _count_and_root(value: object) -> tuple[int, bytes]:
    match value:
        case [int(count), bytes(root)] if len(root) == 32:
            return count, root
    raise Malformed("a list is committed to as [count, root]")
