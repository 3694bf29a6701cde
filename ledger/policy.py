"""C2SP tlog-policy: which log keys count, and which witnesses must have cosigned.

::

    log <vkey> [url]
    witness <name> <vkey> [url]
    group <name> all|any|<k> <member>...
    quorum <name>|none

``#`` begins a comment; a name is defined before it is used, and is a member at most once; there is exactly
one quorum; no key stands twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.cosignature import is_cosigned
from ledger.errors import Malformed, Unproven
from ledger.note import TYPE_COSIGNATURE, Note, NoteVerifier, parse_vkey

LINES_MAX = 5000
"""A log and a witness for each of a thousand agencies, with their groups and some comments."""
NO_QUORUM = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """``needed`` of the members, each a witness or group defined before."""

    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A parsed policy; ``quorum`` names a witness or group, or is ``none``."""

    logs: Mapping[str, NoteVerifier]
    """By origin."""
    witnesses: Mapping[str, NoteVerifier]
    groups: Mapping[str, Group]
    quorum: str


def parse_policy(text: str) -> Policy:
    """Return the policy in ``text``; raise `Malformed`, naming the line."""
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        raise Malformed(f"a policy has at most {LINES_MAX} lines")
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        try:
            if words:
                reader.take(words)
        except Malformed as error:
            raise Malformed(f"policy line {number}: {error}") from None
    if reader.quorum is None:
        raise Malformed("a policy has one quorum line")
    return Policy(logs=reader.logs, witnesses=reader.witnesses, groups=reader.groups, quorum=reader.quorum)


def check_quorum(policy: Policy, note: Note) -> None:
    """Raise `Unproven` unless the policy's quorum has cosigned ``note``, a checkpoint."""
    if policy.quorum != NO_QUORUM and not _is_met(policy, policy.quorum, note):
        raise Unproven(f"the checkpoint lacks the cosignatures of the policy's quorum {policy.quorum}")


def _is_met(policy: Policy, name: str, note: Note) -> bool:
    group = policy.groups.get(name)
    if group is None:
        return is_cosigned(note, policy.witnesses[name])
    return sum(_is_met(policy, member, note) for member in group.members) >= group.needed


class _Reader:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self.logs: dict[str, NoteVerifier] = {}
        self.witnesses: dict[str, NoteVerifier] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._free: set[str] = set()
        """Names that are no member of a group yet."""

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                verifier = self._new_key(vkey)
                self.logs[verifier.name] = verifier
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._define(name)
                verifier = self._new_key(vkey)
                if verifier.type != TYPE_COSIGNATURE:
                    raise Malformed(f"the key of witness {name} is no cosignature key")
                self.witnesses[name] = verifier
            case ["group", name, needed, *members] if members:
                self._take_members(members)
                self._define(name)
                self.groups[name] = Group(needed=_needed(needed, len(members)), members=tuple(members))
            case ["quorum", name] if self.quorum is None:
                if name != NO_QUORUM and name not in self.witnesses and name not in self.groups:
                    raise Malformed(f"{name} is not defined")
                self.quorum = name
            case _:
                raise Malformed(f"{' '.join(words)[:80]!r} is no line of a policy, or a second quorum")

    def _new_key(self, vkey: str) -> NoteVerifier:
        verifier = parse_vkey(vkey)
        known = {one.public_key for one in (*self.logs.values(), *self.witnesses.values())}
        if verifier.public_key in known or verifier.name in self.logs:
            raise Malformed(f"the key or log {verifier.name} stands twice")
        return verifier

    def _define(self, name: str) -> None:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            raise Malformed(f"{name} is defined already")
        self._free.add(name)

    def _take_members(self, members: list[str]) -> None:
        for member in members:
            if member not in self._free:
                raise Malformed(f"{member} is not defined, or a member already")
            self._free.remove(member)


def _needed(word: str, members: int) -> int:
    if word in ("all", "any"):
        return members if word == "all" else 1
    if not (word.isascii() and word.isdigit() and len(word) <= 4) or not 1 <= int(word) <= members:
        raise Malformed(f"{word!r} is not all, any, or a number of 1 to {members}")
    return int(word)
