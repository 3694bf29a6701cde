"""The agency directory in the registrar's hands: what grants and revocations need of it.

Everything comes from its files, so a grant can be signed beside a node that is down: the roster (its own, so
its hash is the ledger id), the card in force from the node's database, and the registrar's key under its
passphrase. Signed governance goes through an outbox of its own, ``DIR/outbox``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.failures import Undone, Usage
from cli.language import say
from cli.outbox import Outbox, Stored
from cli.public_log import Target, read_checked_rosters
from cli.sending import Author, Delivery, send_waiting
from ledger.entry import sign_public
from ledger.governance import Governance, Scope, format_governance
from ledger.keys import SigningKey
from ledger.note import verifier_of
from ledger.roster import ROSTER_BYTES_MAX, Roster, roster_hash
from ledger.statute import Kind, Statute
from ledger.vocabulary import KEY_ROLES, OUTSIDE_ROLES
from node.config import load_config
from node.durable_file import read_file
from node.http_client import HttpClient
from node.inspection import card_in_force
from node.key_file import read_key_file
from node.sources import DirectorySource
from node.submission import Submission

ALL_KINDS = "all"
NO_STAFF_ROLES = (*KEY_ROLES, *OUTSIDE_ROLES, "desk")
"""Roles that no grant gives: agency keys hold them by card, families and auditors never write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyDirectory:
    """An agency's directory, read without any secret."""

    path: Path
    roster: Roster
    target: Target

    def unlock(self, passphrase: str) -> SigningKey:
        """Return the registrar's key that the card in force names; raise `Undone` if it is not here."""
        secrets = read_key_file(self.path / "keys" / "registrar.key", passphrase)
        keys = [SigningKey(seed) for seed in secrets.values()]
        named = card_in_force(load_config(self.path)).card.registrar_keys
        for key in keys:
            if key.public_key in named:
                return key
        raise Undone(say("agency.other_registrar", path=self.path / "keys" / "registrar.key"))

    def outbox(self, registrar: SigningKey) -> Outbox:
        """Return the outbox of what this registrar signs."""
        return Outbox(self.path / "outbox", registrar, os.urandom)


def open_agency(path: Path, url: str | None = None) -> AgencyDirectory:
    """Return the agency in a directory; ``url`` takes the place of the node's own address."""
    first = path / "roster" / "1.json"
    if not first.exists():
        raise Undone(say("agency.no_roster", path=path))
    ledger_id = roster_hash(read_file(first, bytes_max=ROSTER_BYTES_MAX))
    roster = read_checked_rosters(DirectorySource(path), ledger_id)[-1]
    config = load_config(path)
    card = card_in_force(config).card
    return AgencyDirectory(
        path=path,
        roster=roster,
        target=Target(
            ledger_id=ledger_id,
            ledger=roster.ledger,
            agency=config.agency,
            url=url or config.url,
            sealing_key=card.sealing_key,
            log=verifier_of(card.origin, card.log_key),
        ),
    )


def scope_for(statute: Statute, role: str, unit: str, kinds: str) -> Scope:
    """Return the scope of a grant; raise `Usage` for a role or kind that staff cannot be given.

    ``kinds`` are names with commas between them, or ``all``: every kind that the role may write.
    """
    roles = [one for one in statute.roles if one not in NO_STAFF_ROLES]
    if role not in roles:
        raise Usage(say("grant.no_staff_role", role=repr(role), roles=", ".join(roles)))
    writable = [name for name, kind in statute.kinds.items() if role in _writing_roles(kind)]
    wanted = writable if kinds == ALL_KINDS else [one.strip() for one in kinds.split(",")]
    if wrong := [name for name in wanted if name not in writable]:
        raise Usage(
            say("grant.not_writable", role=role, kinds=", ".join(wrong), writable=", ".join(writable))
        )
    return Scope(role=role, unit=unit, kinds=tuple(sorted(set(wanted))))


def sign_governance(records: Sequence[Governance], author: Author, scopes: Sequence[bytes] = ()) -> Stored:
    """Return a signed public entry with the openings of its grants' scopes."""
    bodies = [format_governance(record) for record in records]
    entry = sign_public(
        bodies,
        ledger_id=author.ledger_id,
        agency=author.agency,
        created_day=author.day,
        signer=author.signer,
    )
    return Stored(submission=Submission(entry=entry, scopes=tuple(scopes)), created_ms=author.now_ms)


def submit_governance(agency: AgencyDirectory, stored: Stored, author: Author) -> Delivery:
    """Keep a signed entry in the agency's outbox, then send it and whatever waited there."""
    outbox = agency.outbox(author.signer)
    outbox.put(stored)
    with HttpClient(agency.target.url) as client:
        return client.run(send_waiting(outbox, agency.target, author))


def _writing_roles(kind: Kind) -> set[str]:
    pairs = (*kind.writers, *(kind.variant.kind.writers if kind.variant else ()))
    return {role for role, _ in pairs}
