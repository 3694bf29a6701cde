"""The roster: the root of trust. Who the agencies are, and the closed list of what may be recorded.

A version is UTF-8 JSON taken as its exact bytes; ``ledger_id`` is SHA-256 of version 1, and is all that an
auditor needs to know beforehand. Each later version names the SHA-256 of the one before. Signatures are
signed notes over ``<ledger>/roster``, the version and the base64 of its SHA-256, one a line.

Who must sign: version 1 all its root keys. A later one ``floor(2n/3)+1`` of the root keys of the version
before; one that only drops one agency or only changes one root key ``floor(2(n-1)/3)+1`` of the others. A
version with one or two agencies names an outside recovery key, which votes on the next roster only: at n = 2
any version needs two of the three keys (a drop or key change: the two others), at n = 1 one of the two.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import note
from ledger.errors import Malformed, Unproven
from ledger.json_form import shown
from ledger.keys import KEY_BYTES
from ledger.names import ERA_MAX, Head, check_name, recovery_key_name, root_key_name
from ledger.statute import Statute, parse_statute

ROSTER_BYTES_MAX = 4 * 1024 * 1024
"""The statutory list in two languages takes some 60 kB; a roster a hundred times that is an attack."""
AGENCIES_MAX = 1000
"""A country of 89 regions with ten agencies each fits."""
RECOVERY_BELOW = 3
"""With fewer agencies than this no quorum can outvote a lost key."""
DAY_MAX = 4_000_000

_KEYS = {"ledger", "version", "before", "agencies", "recovery_key", "sunset", "ends", "statute"}
_HEX32 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What a version states of an agency that it drops or gives a new root key."""

    head: Head
    next_era: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """One version, with its exact bytes."""

    raw: bytes
    hash: bytes
    ledger: str
    version: int
    before: bytes | None
    agencies: Mapping[str, bytes]
    """Agency id to root key, in the file's order."""
    recovery_key: bytes | None
    sunset: int | None
    """The last day (since 1970) on which staff may write."""
    ends: Mapping[str, Ends]
    statute: Statute

    @property
    def quorum(self) -> int:
        """How many agencies certify, or sign the next version: floor(2n/3)+1."""
        return quorum_of(len(self.agencies))


def quorum_of(count: int) -> int:
    """Return floor(2n/3)+1."""
    return 2 * count // 3 + 1


def roster_hash(raw: bytes) -> bytes:
    """Return what names a roster version; of version 1 it is the ledger id."""
    return hashlib.sha256(raw).digest()


def parse_roster(raw: bytes) -> Roster:
    """Return the roster version of these JSON bytes; raise `Malformed`, saying where, for any other form."""
    value = _strict_json(raw)
    if not isinstance(value, dict):
        raise Malformed("a roster is a JSON object")
    if set(value) != _KEYS:
        raise Malformed(
            f"a roster has exactly the keys {sorted(_KEYS)}; differing: {shown(sorted(set(value) ^ _KEYS))}"
        )
    version = _whole(value["version"], "version", least=1, most=10**6)
    agencies = _parse_agencies(value["agencies"])
    recovery = value["recovery_key"]
    if (recovery is not None) != (len(agencies) < RECOVERY_BELOW):
        raise Malformed("recovery_key is a key with one or two agencies, and null with more")
    if (value["before"] is None) != (version == 1):
        raise Malformed("before is null in version 1, and the hash of the version before in later ones")
    roster = Roster(
        raw=raw,
        hash=roster_hash(raw),
        ledger=check_name(value["ledger"], "ledger"),
        version=version,
        before=None if value["before"] is None else _hex32(value["before"], "before"),
        agencies=agencies,
        recovery_key=None if recovery is None else _hex32(recovery, "recovery_key"),
        sunset=None if value["sunset"] is None else _whole(value["sunset"], "sunset", least=0, most=DAY_MAX),
        ends=_parse_ends(value["ends"], agencies, version),
        statute=parse_statute(value["statute"]),
    )
    if roster.recovery_key in agencies.values():
        raise Malformed("the recovery key must not be a root key")
    return roster


def format_roster(
    *,
    ledger: str,
    agencies: Mapping[str, bytes],
    statute: dict[str, Any],
    version: int = 1,
    before: bytes | None = None,
    recovery_key: bytes | None = None,
    sunset: int | None = None,
    ends: Mapping[str, Ends] | None = None,
) -> bytes:
    """Return the JSON bytes of a roster version, which `parse_roster` takes."""
    value = {
        "ledger": ledger,
        "version": version,
        "before": None if before is None else before.hex(),
        "agencies": [{"id": name, "root_key": key.hex()} for name, key in agencies.items()],
        "recovery_key": None if recovery_key is None else recovery_key.hex(),
        "sunset": sunset,
        "ends": {
            name: {
                "era": end.head.era,
                "size": end.head.size,
                "root": end.head.root.hex(),
                "next_era": end.next_era,
            }
            for name, end in (ends or {}).items()
        },
        "statute": statute,
    }
    raw = (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
    parse_roster(raw)
    return raw


def signing_text(roster: Roster) -> str:
    """Return the note text that root keys sign for this version."""
    return f"{roster.ledger}/roster\n{roster.version}\n{base64.b64encode(roster.hash).decode()}\n"


def note_verifiers(roster: Roster) -> list[note.NoteVerifier]:
    """Return the verifiers of every key of this version that may sign rosters."""
    named = [
        note.verifier_of(root_key_name(roster.ledger, name), key) for name, key in roster.agencies.items()
    ]
    if roster.recovery_key is not None:
        named.append(note.verifier_of(recovery_key_name(roster.ledger), roster.recovery_key))
    return named


def check_first(roster: Roster, signatures: bytes) -> None:
    """Raise `Unproven` unless ``signatures`` (a signed note) are those of all root keys of version 1."""
    if roster.version != 1:
        raise Unproven(f"version {roster.version} cannot found a ledger")
    signed = _signers(roster, roster, signatures)
    if missing := [name for name in roster.agencies if root_key_name(roster.ledger, name) not in signed]:
        raise Unproven(f"version 1 must be signed by every root key; missing: {', '.join(missing)}")


def check_chain(versions: Sequence[Roster], after: Roster) -> None:
    """Raise `Unproven` unless ``after`` follows ``versions`` (all before it, in order), by what it says.

    An agency id is never given out again: old entries under it would seem to be the newcomer's.
    """
    before = versions[-1]
    if after.version != before.version + 1 or after.before != before.hash or after.ledger != before.ledger:
        raise Unproven(f"version {after.version} does not follow version {before.version} that is in hand")
    _check_ends(before, after)
    former = {name for roster in versions for name in roster.agencies}
    if back := sorted(former.intersection(after.agencies).difference(before.agencies)):
        raise Unproven(f"version {after.version} gives out the id {back[0]} again")


def check_next(before: Roster, after: Roster, signatures: bytes) -> None:
    """Raise `Unproven` unless ``after`` says that it follows ``before`` and enough of its keys signed it."""
    check_chain([before], after)
    signed = _signers(before, after, signatures)
    names, needed = voters(before, after)
    given = sum(name in signed for name in names)
    if given < needed:
        raise Unproven(f"version {after.version} has {given} of the {needed} signatures that it needs")


def _signers(by: Roster, of: Roster, signatures: bytes) -> set[str]:
    """Names of keys of version ``by`` that signed version ``of``."""
    signed_note = note.parse_note(signatures)
    if signed_note.text != signing_text(of):
        raise Unproven(f"the signatures are not over this version {of.version}")
    return {verifier.name for verifier in note.check_note(signed_note, note_verifiers(by))}


def voters(before: Roster, after: Roster) -> tuple[list[str], int]:
    """Return the names of the keys that may vote on ``after``, and how many must."""
    everyone = [root_key_name(before.ledger, name) for name in before.agencies]
    target = _only_changed_agency(before, after)
    if target is not None and len(before.agencies) > 1:  # alone, it is one of the two keys that may vote
        everyone.remove(root_key_name(before.ledger, target))
    if before.recovery_key is not None:
        everyone.append(recovery_key_name(before.ledger))
        return everyone, min(len(everyone), len(before.agencies))
    return everyone, quorum_of(len(everyone))


def _only_changed_agency(before: Roster, after: Roster) -> str | None:
    """The one agency that is dropped or gets a new root key, if nothing else of the roster changes."""
    dropped = [name for name in before.agencies if name not in after.agencies]
    rekeyed = [name for name, key in after.agencies.items() if before.agencies.get(name, key) != key]
    added = [name for name in after.agencies if name not in before.agencies]
    same_rest = (before.sunset, before.statute) == (after.sunset, after.statute)
    if None not in (before.recovery_key, after.recovery_key):
        same_rest = same_rest and before.recovery_key == after.recovery_key
    if len(dropped) + len(rekeyed) != 1 or added or not same_rest:
        return None
    return (dropped + rekeyed)[0]


def _check_ends(before: Roster, after: Roster) -> None:
    """A dropped or re-keyed agency, and no other, has an ``ends``."""
    changed = {name for name, key in before.agencies.items() if after.agencies.get(name) != key}
    if set(after.ends) != changed:
        raise Unproven(f"ends must be stated for exactly {sorted(changed)}, not {sorted(after.ends)}")


def _strict_json(raw: bytes) -> Any:
    if len(raw) > ROSTER_BYTES_MAX:
        raise Malformed(f"a roster of {len(raw)} bytes; at most {ROSTER_BYTES_MAX}")
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_unique,
            parse_int=_plain_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
        json.dumps(value, ensure_ascii=False).encode()  # \ud800 is JSON, but no text that can be shown
        return value
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        raise Malformed(f"a roster is UTF-8 JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed(f"a key stands twice in {shown(sorted(key for key, _ in pairs))}")
    return value


def _plain_integer(text: str) -> int:
    """Other readers of JSON take ``-0`` for a float, or keep its sign."""
    if text == "-0":
        raise Malformed("-0 is no integer of a roster")
    return int(text)


def _no_float(text: str) -> None:
    raise Malformed(f"{shown(text)} is no integer")


def _parse_agencies(value: object) -> dict[str, bytes]:
    if not isinstance(value, list) or not 1 <= len(value) <= AGENCIES_MAX:
        raise Malformed(f"agencies is a list of 1 to {AGENCIES_MAX}")
    agencies: dict[str, bytes] = {}
    for item in value:
        if not isinstance(item, dict) or set(item) != {"id", "root_key"}:
            raise Malformed("each agency is {id, root_key}")
        name = check_name(item["id"], "agency")
        if name in agencies:
            raise Malformed(f"agency {name} stands twice")
        agencies[name] = _hex32(item["root_key"], f"root_key of {name}")
    if len(set(agencies.values())) != len(agencies):
        raise Malformed("two agencies have one root key")
    return agencies


def _parse_ends(value: object, agencies: Mapping[str, bytes], version: int) -> dict[str, Ends]:
    if not isinstance(value, dict):
        raise Malformed("ends is an object")
    if value and version == 1:
        raise Malformed("version 1 ends nothing")
    ends = {}
    for name, end in value.items():
        check_name(name, "agency in ends")
        if not isinstance(end, dict) or set(end) != {"era", "size", "root", "next_era"}:
            raise Malformed(f"ends of {name} is {{era, size, root, next_era}}")
        era = _whole(end["era"], "era", least=1, most=ERA_MAX - 1)
        head = Head(era, _whole(end["size"], "size", least=0, most=2**62), _hex32(end["root"], "root"))
        ends[name] = Ends(
            head=head, next_era=_whole(end["next_era"], "next_era", least=era + 1, most=ERA_MAX)
        )
    return ends


def _whole(value: object, what: str, *, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"{what} must be an integer of {least} to {most}, not {shown(value)}")
    return value


def _hex32(value: object, what: str) -> bytes:
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise Malformed(f"{what} must be {KEY_BYTES} bytes in lowercase hex")
    return bytes.fromhex(value)
