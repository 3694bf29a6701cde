"""``pledger outbox discard``, ``hand-over``, ``adopt``: what to do with a list that cannot go as it is.

A list signed too late for its grant, or by a key that was revoked, is never changed. Its records go to a
colleague whose grant holds, who signs them again under that grant, or it is discarded by its author.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.confirm import check_wanted, yes_option
from cli.desk import Desk, open_desk
from cli.failures import Usage
from cli.handover import Handed, open_sealed, parse_sealed, seal_entry
from cli.heard import translated
from cli.language import headings, say
from cli.merging import merge_pupils
from cli.outbox import FILE_BYTES_MAX, Stored
from cli.output import Table
from cli.parameters import HEX32
from cli.passphrase import passphrase_option
from cli.records import offline_option
from cli.sending import Delivery, sign_records
from cli.told import remark_others, show_told, tell
from cli.trust import beside_option, check_writer, from_option
from ledger.errors import Malformed
from ledger.keys import sealing_key_of
from ledger.record import Record
from node.durable_file import create_file, read_file


@command("discard", "pledger outbox discard 1f0c9a2b", "pledger outbox discard 1f0c9a2b --yes")
@click.argument("entry")
@yes_option
@home_option
@passphrase_option
def discard_command(entry: str, yes: bool, home: Path, passphrase_file: Path | None) -> None:
    """Throw a signed ENTRY away that the node has not accepted; it asks before."""
    with open_desk(home, passphrase_file) as desk:
        stored = _open_entry(desk, entry)
        name = stored.entry_id.hex()
        key = "stranded.discard" if stored.state == "refused" else "stranded.discard_unsure"
        check_wanted(say(key, entry=name[:16], records=_counted(stored.records)), yes=yes)
        desk.outbox.drop(stored)
    lines = [say("stranded.discarded", entry=name[:16], records=_counted(stored.records))]
    if stored.pupils:
        lines.append(say("stranded.pupils_stay"))
    output.show({"discarded": name, "records": len(stored.records), "state": stored.state}, *lines)


@command("hand-over", "pledger outbox hand-over 1f0c9a2b --to KEY -o list.sealed")
@click.argument("entry")
@click.option("--to", "recipient", type=HEX32, required=True, help="The colleague's staff key.")
@click.option("-o", "target", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File.")
@home_option
@passphrase_option
def hand_over_command(
    entry: str, recipient: bytes, target: Path, home: Path, passphrase_file: Path | None
) -> None:
    """Write the records of an ENTRY that was not accepted, sealed to a colleague, who signs them again.

    The entry stays here. When the colleague has recorded it, discard it; sent all the same, it adds nothing.
    """
    sealing_key_of(recipient)
    with open_desk(home, passphrase_file) as desk:
        stored = _open_entry(desk, entry)
        if recipient == desk.signer.public_key:
            raise Usage(say("stranded.own"))
        create_file(target, seal_entry(stored, desk.signer, recipient, os.urandom))
        own = desk.signer.public_key.hex()
    name = stored.entry_id.hex()
    output.show(
        {"file": str(target), "entry_id": name, "records": len(stored.records), "writer": own},
        say("stranded.written", path=target, records=_counted(stored.records), key=recipient.hex()[:16]),
        say("stranded.adopt", file=target.name, key=own),
        say("stranded.then", entry=name[:16]),
    )


@command("adopt", "pledger outbox adopt list.sealed --from KEY --dry-run", "pledger outbox adopt list.sealed")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@from_option
@beside_option
@click.option("--dry-run", is_flag=True, help="Show the records; sign and send nothing.")
@yes_option
@offline_option
@home_option
@passphrase_option
def adopt_command(
    file: Path,
    writer: bytes | None,
    beside: str,
    dry_run: bool,
    yes: bool,
    offline: bool,
    home: Path,
    passphrase_file: Path | None,
) -> None:
    """Sign the records that a colleague handed over, under one's own grant, and send them.

    What is recorded already is told and left alone, and a FILE adopted twice adds nothing.
    """
    with open_desk(home, passphrase_file) as desk:
        handed = _read(desk, file, writer)
        left = _without_own(desk, handed)
        if dry_run:
            _show(handed, left)
            return
        register = merge_pupils(desk.register, left.pupils, file.name, beside=beside).register
        if left.records:
            check_wanted(say("stranded.sign", records=_counted(left.records)), yes=yes)
        entries = _adopted(desk, left)
        desk.keep(entries)
        if register != desk.register:
            desk.save_register(register)
        delivery = None if offline or not entries else _sent(desk, entries)
    answer = tell(entries, delivery)
    known = len(handed.records) - len(left.records)
    lines = [say("stranded.adopted_before", count=known)] if known else []
    show_told(replace(answer, parts=(*lines, *answer.parts)), adopted=len(left.records), adopted_before=known)


def _open_entry(desk: Desk, prefix: str) -> Stored:
    """The entry of some hex digits, which was not accepted and holds private records."""
    stored, record = desk.outbox.find(prefix)
    if record is not None:
        raise Usage(say("stranded.record", record=prefix, entry=stored.entry_id.hex()[:16]))
    if stored.state == "accepted":
        raise Usage(say("stranded.recorded", entry=prefix))
    return stored


def _read(desk: Desk, path: Path, named: bytes | None) -> Handed:
    try:
        sealed = parse_sealed(read_file(path, bytes_max=FILE_BYTES_MAX))
    except Malformed as error:
        raise Malformed(f"{path}: {say('handover.form')}") from error
    settings = desk.workspace.settings
    if (sealed.ledger_id, sealed.agency) != (desk.workspace.ledger_id, settings.agency):
        raise Usage(say("stranded.elsewhere", path=path, agency=sealed.agency))
    check_writer(desk, path, sealed.writer, named, f"pledger outbox adopt {path}")
    return open_sealed(sealed, desk.signer)


def _without_own(desk: Desk, handed: Handed) -> Handed:
    """What does not lie in one's own outbox yet."""
    own = {one.hash for stored in desk.outbox.entries() for one in stored.records}
    pairs = zip(handed.records, handed.labels, strict=True)
    left = [(record, label) for record, label in pairs if record.hash not in own]
    return replace(
        handed, records=tuple(record for record, _ in left), labels=tuple(label for _, label in left)
    )


def _adopted(desk: Desk, handed: Handed) -> list[Stored]:
    entries = sign_records(handed.records, handed.labels, desk.author())
    return [
        replace(stored, pupils=tuple(one for one in handed.pupils if one.pid in _subjects(stored)))
        for stored in entries
    ]


def _subjects(stored: Stored) -> set[bytes]:
    return {record.subject for record in stored.records}


def _sent(desk: Desk, entries: Sequence[Stored]) -> Delivery:
    delivery = desk.send()
    remark_others(delivery, entries)
    return delivery


def _show(handed: Handed, left: Handed) -> None:
    rows = [
        [label, record.kind, ", ".join(f"{name}={value}" for name, value in record.fields.items())]
        for record, label in zip(left.records, left.labels, strict=True)
    ]
    columns = ["from", "kind", "fields"]
    output.show(
        {"dry_run": True, "records": [dict(zip(columns, row, strict=True)) for row in rows]},
        Table(columns=headings(columns), rows=[[translated(label), *more] for label, *more in rows])
        if rows
        else say("stranded.adopted_before", count=len(handed.records)),
    )


def _counted(records: Sequence[Record]) -> str:
    kinds = Counter(one.kind for one in records)
    counted = [say("lists.of_kind", count=count, kind=kind) for kind, count in kinds.items()]
    return ", ".join(counted) or say("lists.no_records")


STRANDED_COMMANDS = (discard_command, hand_over_command, adopt_command)
