"""What goes into a drafted roster, and what the draft changes: read by whoever is asked to sign it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.failures import Usage
from cli.parameters import HEX32
from ledger.errors import Malformed, Undecided
from ledger.names import Head, Origin, check_name, root_key_name
from ledger.roster import RECOVERY_BELOW, ROSTER_BYTES_MAX, Ends, Roster, format_roster, voters
from ledger.statute import default_statute_json
from node.durable_file import read_file
from node.http_client import HttpClient
from node.session import fetch_checkpoint

PUBLIC_BYTES_MAX = 10_000
"""An agency.json has four short fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a draft is to have that the version before has not; ``public`` by agency."""

    public: Mapping[str, Mapping[str, str]]
    statute: dict[str, Any] | None
    recovery_key: bytes | None
    sunset: int | None

    @property
    def roots(self) -> dict[str, bytes]:
        """Agency to root key, of those who are new or have a new one."""
        return {name: bytes.fromhex(one["root_key"]) for name, one in self.public.items()}


def first_roster(wish: Wish) -> bytes:
    """Return the first version of a new ledger; raise `Usage` for a wish that makes none."""
    ledgers = sorted({one["ledger"] for one in wish.public.values()})
    if len(ledgers) != 1:
        raise Usage(
            f"give the agency.json of every agency, all of one ledger, not {', '.join(ledgers) or 'none'}"
        )
    _check_recovery(wish.roots, wish.recovery_key)
    return format_roster(
        ledger=ledgers[0],
        agencies=wish.roots,
        statute=wish.statute or default_statute_json(),
        recovery_key=wish.recovery_key,
        sunset=wish.sunset,
    )


def next_roster(versions: Sequence[Roster], wish: Wish, leaving: Sequence[str], url: str) -> bytes:
    """The version after ``versions``; where the logs of those who go end is asked of the node at ``url``."""
    before = versions[-1]
    if strange := sorted({one["ledger"] for one in wish.public.values()} - {before.ledger}):
        raise Usage(f"an agency.json is of ledger {strange[0]}, this one is {before.ledger}")
    if unknown := sorted(set(leaving) - set(before.agencies)):
        raise Usage(f"--leave {unknown[0]}: version {before.version} has {', '.join(before.agencies)}")
    agencies = {name: key for name, key in {**before.agencies, **wish.roots}.items() if name not in leaving}
    ended = [name for name, key in before.agencies.items() if agencies.get(name) != key]
    recovery = wish.recovery_key or before.recovery_key
    _check_recovery(agencies, recovery)
    return format_roster(
        ledger=before.ledger,
        agencies=agencies,
        statute=wish.statute or json.loads(before.raw)["statute"],
        version=before.version + 1,
        before=before.hash,
        recovery_key=recovery if len(agencies) < RECOVERY_BELOW else None,
        sunset=before.sunset if wish.sunset is None else wish.sunset,
        ends={name: _end_of(Origin(before.ledger, name), url) for name in ended},
    )


def changes(before: Sequence[Roster], roster: Roster) -> list[str]:
    """What a draft changes, for those who are to sign it."""
    if not before:
        return [f"  ledger id {roster.hash.hex()}"]
    was = before[-1]
    lines = [f"  {name} joins" for name in roster.agencies if name not in was.agencies]
    for name, end in roster.ends.items():
        what = "gets a new root key" if name in roster.agencies else "leaves"
        lines.append(f"  {name} {what}; its log ends at size {end.head.size}, root {end.head.root.hex()}")
    if roster.statute != was.statute:
        lines.append("  another list of kinds")
    if roster.sunset != was.sunset:
        lines.append(f"  sunset on day {roster.sunset}")
    return lines


def needed(before: Sequence[Roster], roster: Roster) -> str:
    """Return how many signatures a draft needs, and whose count."""
    names, count = voters(before[-1], roster) if before else _founders(roster)
    return f"needs {count} signatures of: {', '.join(names)}"


def votes_value(before: Sequence[Roster], roster: Roster) -> dict[str, Any]:
    """Return `needed` as JSON carries it."""
    names, count = voters(before[-1], roster) if before else _founders(roster)
    return {"signatures_needed": count, "may_sign": names}


def read_statute(path: Path) -> dict[str, Any]:
    """Return a list of kinds from its file; what it must be is checked with the draft."""
    try:
        value = json.loads(read_file(path, bytes_max=ROSTER_BYTES_MAX))
    except ValueError as error:
        raise Malformed(f"{path}: no list of kinds: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"{path}: a list of kinds is a JSON object")
    return value


def read_all_public(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Return the agencies' public files; raise `Malformed` for other files, `Usage` for one given twice."""
    public = [_read_public(path) for path in paths]
    if len({one["agency"] for one in public}) != len(public):
        raise Usage("an agency stands twice")
    return public


def _check_recovery(agencies: Mapping[str, bytes], recovery_key: bytes | None) -> None:
    if len(agencies) < RECOVERY_BELOW and recovery_key is None:
        raise Usage(
            "with one or two agencies an outside --recovery-key is needed, or a lost key ends the ledger: "
            "make one with pledger roster recovery-key"
        )


def _end_of(origin: Origin, url: str) -> Ends:
    """Where a log ends, by the newest checkpoint that a node has; signers compare it with their copies."""
    with HttpClient(url) as client:
        fetched = client.run(fetch_checkpoint(origin))
    if fetched is None:
        raise Undecided(f"{url} has no checkpoint of {origin}: name a node that has one with --head-from")
    head = Head(origin.era, fetched[1].size, fetched[1].root)
    return Ends(head=head, next_era=origin.era + 1)


def _founders(roster: Roster) -> tuple[list[str], int]:
    return [root_key_name(roster.ledger, name) for name in roster.agencies], len(roster.agencies)


def _read_public(path: Path) -> dict[str, str]:
    try:
        value = json.loads(read_file(path, bytes_max=PUBLIC_BYTES_MAX))
    except ValueError as error:
        raise Malformed(f"{path}: no agency.json: {error}") from None
    match value:
        case {"ledger": str(ledger), "agency": str(agency), "root_key": str(key)}:
            return {
                "ledger": ledger,
                "agency": check_name(agency, "agency"),
                "root_key": HEX32.convert(key, None, None).hex(),
            }
    raise Malformed(f"{path}: an agency.json has ledger, agency and root_key")
