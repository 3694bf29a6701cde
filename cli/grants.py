"""``pledger staff grant`` and ``revoke``: what the registrar signs, kept in the agency's outbox and sent."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.command import Decorated, command, now
from cli.completion import complete_grant, complete_roles
from cli.failures import Usage
from cli.language import say
from cli.parameters import HEX32, ISO_DATE, LOG_PLACE, day_number
from cli.passphrase import passphrase_option, take_passphrase
from cli.registrar import AgencyDirectory, open_agency, scope_for, sign_governance, submit_governance
from cli.sending import Author, Delivery
from cli.told import remark_others
from ledger.governance import Grant, Revoke, make_scope, scope_commitment
from ledger.names import Place
from node.protocol import ProblemAnswer


def agency_options(function: Decorated) -> Decorated:
    """Add ``--agency-dir`` and ``--node``: the registrar's side."""
    directory = click.Path(path_type=Path, file_okay=False, exists=True)
    for option in (
        click.option("--node", "url", metavar="URL", help="The node, if not at the address in node.toml."),
        click.option("--agency-dir", type=directory, required=True, help="The agency directory."),
    ):
        function = option(function)
    return function


@command(
    "grant",
    "pledger staff grant KEY --role clerk --unit school-12 --kinds all --from 2026-09-01 --until 2027-08-31 "
    "--agency-dir district",
)
@click.argument("key", type=HEX32)
@click.option(
    "--role",
    required=True,
    shell_complete=complete_roles,
    help="A role of the statutory list, such as clerk.",
)
@click.option("--unit", required=True, help="Code of the school, or * for the whole agency.")
@click.option(
    "--kinds",
    required=True,
    shell_complete=complete_grant,
    help="Kinds with commas between, or all that the role may write.",
)
@click.option("--from", "valid_from", type=ISO_DATE, required=True, help="First day.")
@click.option("--until", "valid_until", type=ISO_DATE, required=True, help="Last day.")
@agency_options
@passphrase_option
def grant_command(
    key: bytes,
    role: str,
    unit: str,
    kinds: str,
    valid_from: datetime.date,
    valid_until: datetime.date,
    agency_dir: Path,
    url: str | None,
    passphrase_file: Path | None,
) -> None:
    """Let the staff KEY write some kinds in one role and unit, from one day to another.

    The log shows key and days; role, unit and kinds stand in it as a salted commitment only.
    """
    if valid_from > valid_until:
        raise Usage(say("grant.days", first_day=valid_from, last_day=valid_until))
    agency = open_agency(agency_dir, url)
    scope = scope_for(agency.roster.statute, role, unit, kinds)
    opening = make_scope(scope, os.urandom(16))
    grant = Grant(
        key=key,
        scope=scope_commitment(opening),
        valid_from=day_number(valid_from),
        valid_until=day_number(valid_until),
    )
    value = {"key": key.hex(), "role": role, "unit": unit, "kinds": list(scope.kinds)}
    value |= {"from": valid_from.isoformat(), "until": valid_until.isoformat()}
    line = say(
        "grant.granted",
        role=role,
        unit=unit,
        count=len(scope.kinds),
        first_day=valid_from,
        last_day=valid_until,
    )
    _publish(agency, grant, (opening,), passphrase_file, value, line)


@command("revoke", "pledger staff revoke KEY --suspect-from 1:250 --agency-dir district")
@click.argument("key", type=HEX32)
@click.option("--suspect-from", type=LOG_PLACE, help="Entries of the key from here on are marked suspect.")
@agency_options
@passphrase_option
def revoke_command(
    key: bytes, suspect_from: Place | None, agency_dir: Path, url: str | None, passphrase_file: Path | None
) -> None:
    """Stop the staff KEY for good. What it wrote before stays valid; a revoked key is never granted again."""
    agency = open_agency(agency_dir, url)
    suspect = None if suspect_from is None else f"{suspect_from.era}:{suspect_from.index}"
    value = {"key": key.hex(), "suspect_from": suspect}
    line = say("grant.revoked") if suspect is None else say("grant.revoked_suspect", suspect=suspect)
    _publish(agency, Revoke(key=key, suspect_from=suspect_from), (), passphrase_file, value, line)


def _publish(
    agency: AgencyDirectory,
    record: Grant | Revoke,
    scopes: tuple[bytes, ...],
    passphrase_file: Path | None,
    value: dict[str, Any],
    line: str,
) -> None:
    """Sign one public record as registrar, submit it, and show what became of it."""
    what = say("passphrase.registrar_key", path=agency.path)
    registrar = agency.unlock(take_passphrase(passphrase_file, what))
    time = now()
    author = Author(
        signer=registrar,
        ledger_id=agency.target.ledger_id,
        agency=agency.target.agency,
        day=day_number(time.date()),
        now_ms=int(time.timestamp() * 1000),
        random=os.urandom,
    )
    stored = sign_governance([record], author, scopes)
    delivery = submit_governance(agency, stored, author)
    remark_others(delivery, [stored])
    index = _index_of(delivery, stored.entry_id)
    output.show(
        {**value, "entry_id": stored.entry_id.hex(), "index": index},
        say("grant.index", line=line, index=index),
    )


def _index_of(delivery: Delivery, entry_id: bytes) -> int | None:
    """The index at which an entry was taken; raise what kept it from being taken."""
    for outcome in delivery.of([entry_id]):
        if outcome.problem is not None:
            raise ProblemAnswer(outcome.problem)
        return outcome.index
    assert delivery.stopped is not None
    raise delivery.stopped
