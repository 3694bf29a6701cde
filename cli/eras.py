"""A later era of the agency's log: planned beside the node, signed where the root key lies, put back.

One procedure for a fork, a lost or stolen log key, a node restored or rebuilt, a wrong hour, an invalid tail:
``era plan`` says in words what would be kept, carried and set aside, and makes the new keys; ``era sign``
signs on another machine, which needs no network; ``era open`` puts the signed opening where the node takes
it from. What passes between them holds no secret. Planning changes nothing but the key files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import ROOT_KEY_FILE, directory_option
from cli.cards import ROTATED, Changes, new_keys
from cli.command import command, group, now
from cli.confirm import check_wanted, yes_option
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32, hour_text
from cli.passphrase import passphrase_option, take_passphrase
from ledger.authority import PlacedCard
from ledger.entry import Entry
from ledger.errors import Undecided
from ledger.governance import KEYS_MAX, REASONS, Card, Reconcile, Revoke, parse_governance
from ledger.keys import SEED_BYTES, SigningKey
from ledger.names import Origin, parse_origin
from node import era
from node.config import Config, load_config
from node.durable_file import read_file
from node.inspection import open_promises
from node.key_file import SEALING, public_key_of, read_key_file, read_public_keys, use_of
from node.keyring import needed_keys
from node.opening import card_of, save_era_opening
from node.promises import Promises
from node.submission import ENTRY_FILE_BYTES_MAX, format_entry_file, parse_entry_file
from node.wiring import NODE_KEY_FILE

FORK = "fork"
SECONDS_IN_HOUR = 3600
ENTRIES_SHOWN = 50
"""Entry ids in the table; ``--json`` has them all."""
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TARGET = click.Path(path_type=Path, dir_okay=False)
_REASON = {
    "fork": "two histories of the log are about",
    "key_lost": "the log key is lost",
    "key_stolen": "somebody else has the log key",
    "restored": "the node was restored from a backup, or rebuilt",
    "wrong_hour": "the log ends with hours that are still to come",
    "invalid_tail": "the log ends with a leaf that breaks a rule",
    "root_changed": "the agency has another root key",
}
"""Why an era is opened, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator decides of a new era."""

    reason_code: str | None
    rotate: Sequence[str]
    revoke: Sequence[bytes]


def wish_options(function: Any) -> Any:
    """Add the options that say what a new era is to bring."""
    for option in (
        click.option(
            "--reason", "reason_code", type=click.Choice(REASONS), help="Why; a known fork says it itself."
        ),
        click.option(
            "--rotate", multiple=True, type=click.Choice(ROTATED), help="Another key to make anew as well."
        ),
        click.option("--revoke", multiple=True, type=HEX32, help="A staff key to revoke with the opening."),
    ):
        function = option(function)
    return function


@command(
    "plan",
    "pledger era plan --dir district-7 -o era.draft",
    "pledger era plan --dir district-7 --reason key_stolen --rotate node --rotate witness -o era.draft",
)
@wish_options
@click.option("-o", "target", type=_TARGET, help="The draft, for `pledger era sign`; without it only shown.")
@directory_option
@passphrase_option
def plan(
    reason_code: str | None,
    rotate: Sequence[str],
    revoke: Sequence[bytes],
    target: Path | None,
    directory: Path,
    passphrase_file: Path | None,
) -> None:
    """Show what a new era of the log would keep, carry and set aside, and why; draft its opening with -o.

    With -o the new keys are made and kept in keys/node.key. Needs no root key, and works while the node runs.
    """
    wish = Wish(reason_code=reason_code, rotate=rotate, revoke=revoke)
    foreseen = foresee(load_config(directory), wish, passphrase_file if target else None, make=bool(target))
    if target is not None:
        target.write_bytes(era.format_draft(foreseen))
    output.show(
        foreseen.value | {"draft": None if target is None else str(target)},
        *words_of(foreseen),
        *(_next_of_plan(directory, target)),
    )


@command("sign", "pledger era sign era.draft --root-key /media/stick/root.key -o era.entry")
@click.argument("draft", type=_FILE)
@click.option("--root-key", "key_file", type=_FILE, help="The root key's file; otherwise that of --dir.")
@click.option("-o", "target", required=True, type=_TARGET, help="The signed opening.")
@directory_option
@passphrase_option
def sign(
    draft: Path, key_file: Path | None, target: Path, directory: Path, passphrase_file: Path | None
) -> None:
    """Sign a drafted opening where the root key lies: no network, nothing else of the agency."""
    raw = read_file(draft, bytes_max=era.DRAFT_BYTES_MAX)
    entry = era.sign_draft(raw, _root_key(key_file or directory / ROOT_KEY_FILE, passphrase_file))
    target.write_bytes(format_entry_file(entry))
    output.show(
        {"entry": str(target), **_opening_value(entry)},
        *_opening_words(entry),
        f"signed in ledger {entry.header.ledger_id.hex()}: {target}",
        f"  next, on the node's machine: pledger era open {target} --dir (the agency's directory)",
    )


@command(
    "open",
    "pledger era open era.entry --dir district-7",
    "pledger era open --dir district-7 --root-key /media/stick/root.key",
)
@click.argument("entry_file", type=_FILE, required=False, metavar="[FILE]")
@wish_options
@click.option("--root-key", "key_file", type=_FILE, help="Without FILE: the root key, if not in --dir.")
@directory_option
@passphrase_option
@yes_option
def open_command(
    entry_file: Path | None,
    reason_code: str | None,
    rotate: Sequence[str],
    revoke: Sequence[bytes],
    key_file: Path | None,
    directory: Path,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    """Open a new era: put FILE, which the root key signed, where the node takes it from.

    Without FILE it is planned, shown, asked for, signed with the root key and put, on this one machine.
    """
    config = load_config(directory)
    if entry_file is not None:
        if reason_code or rotate or revoke or key_file:
            raise Usage("FILE is signed already: --reason, --rotate, --revoke and --root-key belong to none")
        entry = parse_entry_file(read_file(entry_file, bytes_max=ENTRY_FILE_BYTES_MAX), str(entry_file))
        shown: list[str | Table] = _opening_words(entry)
    else:
        wish = Wish(reason_code=reason_code, rotate=rotate, revoke=revoke)
        entry, shown = _open_here(config, wish, key_file or directory / ROOT_KEY_FILE, passphrase_file, yes)
    origin = check_can_open(config, entry)
    save_era_opening(config.directory, entry)
    output.show(
        _opening_value(entry) | {"opening": str(config.directory / "era.entry")},
        *shown,
        f"the opening of era {origin.era} is put in {config.directory}",
        f"  next: stop the node and start it again: pledger node run --dir {directory}",
        f"  then: pledger node doctor --dir {directory}",
    )


COMMANDS = [group("era", "Mend the log by a new era: plan, sign, open.", plan, sign, open_command)]


def foresee(config: Config, wish: Wish, passphrase_file: Path | None, *, make: bool) -> era.Foreseen:
    """Return the planned era; with ``make`` its new keys are in the key files afterwards.

    Raises `Undecided` where nothing of the log is here, `Usage` if nobody says why.
    """
    with open_promises(config) as promises:
        eras = promises.logs.eras(config.agency)
        if not eras:
            raise Undecided(
                f"nothing of the log of {config.agency} is here: start the node first (pledger node run), so "
                "that it fetches it back from the other agencies"
            )
        own, reason = eras[-1], _reason(promises, eras, wish)
        before = promises.logs.state(own).authority.card
        if before is None:
            raise Undecided(f"{own} has no card: start the node first, so that it fetches its log back")
        number = era.next_number(promises.logs, own)
        made = _make(config, before, wish, passphrase_file, number) if make else _stand_ins(wish)
        changes = era.Changes(
            log_key=made["log"],
            reason_code=reason,
            card=_card_changes(before.card, made),
            revokes=tuple(Revoke(key=key, suspect_from=None) for key in wish.revoke),
        )
        return era.plan(promises, own, int(now().timestamp()) // SECONDS_IN_HOUR, changes)


def words_of(foreseen: era.Foreseen) -> list[str | Table]:
    """Return what a plan comes to, in words: kept, carried, set aside, and where the branches part."""
    value = foreseen.value
    kept, carried, aside = value["kept"], value["carried"], value["set_aside"]
    certified = value["certified"]
    parts: list[str | Table] = [
        f"{foreseen.origin} would be opened at {hour_text(value['hour'])}: {_REASON[value['reason_code']]}",
        f"  kept: the first {kept['size']} entries of era {kept['era']}, root {kept['root'][:16]}…"
        + (f"; of era {certified['era']}, {certified['size']} are certified" if certified else ""),
        f"  carried: {_count(len(carried))} that what is kept lacks; same entries, same signatures",
        *_aside_words(aside),
    ]
    told = ("size", "parts_at", "certified_size", "standing")
    branches = [
        [one["era"], one["name"][:16] or "main", *(one[name] for name in told)] for one in value["branches"]
    ]
    if len(branches) > 1:
        parts.append(
            Table(
                columns=["era", "branch", "entries", "parts at", "certified", "is"],
                rows=branches,
                title="branches",
            )
        )
    moved = [[entry_id[:16], "carried", ""] for entry_id in carried]
    moved += [[one["entry_id"][:16], "set aside", one["rule"]] for one in aside]
    if moved:
        parts.append(Table(columns=["entry", "would be", "rule"], rows=moved[:ENTRIES_SHOWN]))
    if len(moved) > ENTRIES_SHOWN:
        parts.append(f"and {len(moved) - ENTRIES_SHOWN} more entries (--json lists them)")
    parts += [
        f"  the staff key {key[:16]}… would be valid again: add --revoke {key}"
        for key in value["lost_revokes"]
    ]
    return parts


def check_can_open(config: Config, entry: Entry) -> Origin:
    """Return what an opening opens; raise `Usage` if it is not for this node, or its keys are not here."""
    card = card_of(entry)
    origin = parse_origin(card.origin)
    if (origin.ledger, origin.agency) != (config.ledger, config.agency):
        raise Usage(f"this opens {origin}, and {config.directory} is of {config.ledger}/{config.agency}")
    with open_promises(config) as promises:
        newest = max((one.era for one in promises.logs.eras(config.agency)), default=0)
    if origin.era <= newest:
        raise Usage(
            f"era {newest} of {config.agency} is here already: this opening of era {origin.era} is old"
        )
    path = config.directory / NODE_KEY_FILE
    held = {(use_of(name), key) for name, key in read_public_keys(path).keys.items()}
    if lacking := [use for use, key in needed_keys(card) if (use, key) not in held]:
        raise Usage(
            f"{path} lacks the {', '.join(lacking)} key that this opening names: put the key file there that "
            "`pledger era plan` changed, or plan again"
        )
    return origin


def _open_here(
    config: Config, wish: Wish, key_file: Path, passphrase_file: Path | None, yes: bool
) -> tuple[Entry, list[str | Table]]:
    """Plan, show, ask and sign; nothing is changed before the answer."""
    if not key_file.is_file():
        raise Usage(
            f"{key_file} is not here: plan with `pledger era plan -o era.draft`, sign that where the root "
            "key lies, and give the signed file; or name the key with --root-key"
        )
    question = f"Open a new era of {config.agency}'s log? It cannot be taken back."
    check_wanted(question, *words_of(foresee(config, wish, None, make=False)), yes=yes)
    foreseen = foresee(config, wish, passphrase_file, make=True)
    entry = era.sign_draft(era.format_draft(foreseen), _root_key(key_file, passphrase_file))
    return entry, words_of(foreseen) if yes else []


def _reason(promises: Promises, eras: Sequence[Origin], wish: Wish) -> str:
    if wish.reason_code is not None:
        return wish.reason_code
    if promises.forks.is_forked(eras[-1]):
        return FORK
    raise Usage(f"no fork of {eras[-1]} is known here: say why, with --reason ({', '.join(REASONS)})")


def _make(
    config: Config, before: PlacedCard, wish: Wish, passphrase_file: Path | None, number: int
) -> dict[str, bytes]:
    """Make the new keys and keep them in the key files; `Usage` if the node's key file is not there."""
    path = config.directory / NODE_KEY_FILE
    if not path.exists():
        raise Usage(
            f"{path} is not here: put back the copy that was kept apart, even an old one; its log key may be "
            "lost, but without its master key no record in the key database opens"
        )
    changes = Changes(rotate=["log", *wish.rotate], add=(), drop=(), void_from=None, urls=())
    return new_keys(config.directory, before, changes, passphrase_file, number)


def _stand_ins(wish: Wish) -> dict[str, bytes]:
    """Keys for a plan that is only looked at; nobody has their secrets."""
    return {use: public_key_of(use, os.urandom(SEED_BYTES)) for use in ("log", *wish.rotate)}


def _card_changes(card: Card, made: Mapping[str, bytes]) -> dict[str, Any]:
    """The fields of the new card that new keys change, beside the log key."""
    changed: dict[str, Any] = {}
    for use in ("witness", "node", SEALING):
        if use in made:
            changed[f"{use}_key"] = made[use]
    if "desk" in made:
        changed["desk_keys"] = (made["desk"], *card.desk_keys)[:KEYS_MAX]
    if "registrar" in made:
        changed["registrar_keys"] = (made["registrar"],)
    return changed


def _root_key(path: Path, passphrase_file: Path | None) -> SigningKey:
    return SigningKey(
        read_key_file(path, take_passphrase(passphrase_file, f"the root key in {path}"))["root"]
    )


def _opening_parts(entry: Entry) -> tuple[Card, Reconcile]:
    records = [parse_governance(body) for body in entry.bodies]
    reconcile = next((one for one in records if isinstance(one, Reconcile)), None)
    if reconcile is None:
        raise Usage("this opens no later era: it does not say what is kept")
    return card_of(entry), reconcile


def _opening_value(entry: Entry) -> dict[str, Any]:
    card, reconcile = _opening_parts(entry)
    return {
        "entry_id": entry.header.entry_id.hex(),
        "origin": card.origin,
        "card": card.number,
        "reason_code": reconcile.reason_code,
        "kept": era.head_value(reconcile.kept),
        "closes": [era.head_value(one) for one in reconcile.closes],
        "carried": reconcile.carried[0],
        "set_aside": reconcile.set_aside[0],
    }


def _opening_words(entry: Entry) -> list[str | Table]:
    value = _opening_value(entry)
    kept = value["kept"]
    return [
        f"{value['origin']}, card {value['card']}: {_REASON[value['reason_code']]}",
        f"  kept: the first {kept['size']} entries of era {kept['era']}, root {kept['root'][:16]}…",
        f"  closed: {len(value['closes'])} other ends of the log; carried from them: {value['carried']} "
        f"entries, set aside: {value['set_aside']}",
    ]


def _aside_words(aside: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if not aside:
        yield "  set aside: nothing"
    for rule, count in sorted(Counter(one["rule"] for one in aside).items()):
        yield f"  set aside: {_count(count)} under {rule} (pledger explain {rule}); may be appended later"


def _count(number: int) -> str:
    return f"{number} {'entry' if number == 1 else 'entries'}"


def _next_of_plan(directory: Path, target: Path | None) -> list[str]:
    if target is None:
        return [
            "Nothing was changed. Next, one of:",
            f"  pledger era plan --dir {directory} -o era.draft     (the root key is on another machine)",
            f"  pledger era open --dir {directory}                  (the root key is here)",
        ]
    return [
        f"drafted: {target}; the new keys are in {directory / NODE_KEY_FILE}",
        f"  next, where the root key lies: pledger era sign {target} --root-key root.key -o era.entry",
    ]
