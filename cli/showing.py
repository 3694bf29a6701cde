"""``pledger show``, ``log``, ``prove``: a record with its receipt, a log as a table, a proof to hand out."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.aftermath import Sequel, sequel_of
from cli.command import command, home_option
from cli.desk import Desk, open_desk
from cli.failures import Undone, Usage
from cli.heard import translated
from cli.language import headings, say, say_word
from cli.mending import read_signed
from cli.outbox import Stored
from cli.output import Table
from cli.parameters import HEX32, hour_text
from cli.passphrase import passphrase_option
from cli.public_log import Target, ask_agency, read_checked_rosters, read_log
from cli.workspace import open_workspace
from ledger.chain import Judged
from ledger.checkpoint import parse_checkpoint
from ledger.note import NoteVerifier, parse_note
from ledger.presentation import make_presentation
from ledger.proof import TlogProof, parse_proof
from ledger.record import Record
from node.durable_file import create_file
from node.http_client import HttpClient
from node.session import check_receipt
from node.sources import HttpSource

LAST_DEFAULT, LAST_MAX = 30, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receipt:
    """A receipt that was checked, and where it says the entry stands."""

    proof: TlogProof
    hour: int
    origin: str
    size: int
    cosigned: tuple[str, ...]

    @property
    def value(self) -> dict[str, Any]:
        """As JSON carries it."""
        place = {"origin": self.origin, "index": self.proof.index, "received": hour_text(self.hour)}
        certified = {"certified": bool(self.cosigned), "cosigned": list(self.cosigned)}
        return place | {"checkpoint_size": self.size} | certified

    @property
    def line(self) -> str:
        """As people read it."""
        names = ", ".join(self.cosigned)
        return say(
            "show.receipt",
            index=self.proof.index,
            origin=self.origin,
            hour=hour_text(self.hour),
            size=self.size,
            certified=say("show.certified", agencies=names) if names else say("show.uncertified"),
        )


@command("show", "pledger show RECORD", "pledger show RECORD --json")
@click.argument("name", metavar="RECORD|ENTRY")
@home_option
@passphrase_option
def show_command(name: str, home: Path, passphrase_file: Path | None) -> None:
    """Show a record or entry signed here, and check its receipt.

    RECORD or ENTRY are the first six or more hex digits that other commands print.
    """
    with open_desk(home, passphrase_file) as desk:
        entries = desk.outbox.entries()
        stored, record = _find(desk, name.lower(), entries)
        receipt = None if stored.receipt is None else _checked(stored, desk.workspace.target().log)
        shown = [record] if record else stored.records
        sequels = [sequel_of(one, entries, desk.register) for one in shown]
        records = [
            _record_value(desk, stored, one, sequel) for one, sequel in zip(shown, sequels, strict=True)
        ]
    value = {"entry_id": stored.entry_id.hex(), "state": stored.state, "reason": stored.reason or None}
    pairs = zip(records, sequels, strict=True)
    lines = [line for one, sequel in pairs for line in _record_lines(one, sequel)]
    output.show(
        {
            **value,
            "receipt": receipt.value if receipt else None,
            "earlier_receipts": _earlier(stored),
            "records": records,
        },
        _entry_line(stored),
        receipt.line if receipt else say("show.no_receipt"),
        *_earlier_lines(stored),
        *lines,
    )


@command("prove", "pledger prove RECORD -o anna.tlog-proof")
@click.argument("name", metavar="RECORD")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; it is never overwritten.",
)
@home_option
@passphrase_option
def prove_command(name: str, path: Path, home: Path, passphrase_file: Path | None) -> None:
    """Write what an outsider is given of one record: its shown part, path and receipt.

    Neither name nor pseudonym is in it. Whoever gets it checks it with pledger verify.
    """
    with open_desk(home, passphrase_file) as desk:
        stored, record = desk.outbox.find(name.lower())
        if record is None:
            raise Usage(say("prove.entry", name=name))
        if stored.receipt is None or stored.submission.private is None:
            raise Undone(say("prove.no_receipt", name=name, state=say_word("state", stored.state)))
        receipt = _checked(stored, desk.workspace.target().log)
    data = make_presentation(receipt.proof, record, stored.hashes())
    create_file(path, data)
    ledger_id, url = desk.workspace.settings.ledger_id, desk.workspace.settings.url
    output.show(
        {"file": str(path), "record": record.hash.hex(), "ledger_id": ledger_id, **receipt.value},
        say("prove.written", path=path, kind=record.kind, record=record.hash.hex()),
        say("prove.check", path=path, url=url, ledger=ledger_id),
    )


@command("log", "pledger log", "pledger log --agency sport --last 100")
@click.option("--agency", metavar="ID", help="Another agency, whose log the node mirrors.")
@click.option(
    "--last",
    type=click.IntRange(1, LAST_MAX),
    default=LAST_DEFAULT,
    show_default=True,
    help="How many entries to show.",
)
@click.option("--node", "url", metavar="URL", help="A node, if not that of the workspace.")
@click.option("--ledger", "ledger_id", type=HEX32, help="The ledger id, with --node and no workspace.")
@home_option
def log_command(agency: str | None, last: int, url: str | None, ledger_id: bytes | None, home: Path) -> None:
    """Show an agency's log as a table. The whole log is checked while it is read."""
    rows: deque[dict[str, Any]] = deque(maxlen=last)
    with _node(url, ledger_id, home) as (client, ledger), output.progress() as progress:
        source = HttpSource(client)
        rosters = read_checked_rosters(source, ledger)
        agency = agency or ask_agency(client)
        state = read_log(source, ledger, rosters, agency, lambda one: rows.append(_leaf_row(one)), progress)
    columns = ["index", "received", "office", "author", "what", "problem"]
    value = {"origin": str(state.origin), "size": state.size, "root": state.tree.root().hex()}
    title = say("log.title", origin=state.origin, size=state.size, count=len(rows))
    lines = [[_cell(row, name) for name in columns] for row in rows]
    output.show({**value, "entries": list(rows)}, Table(columns=headings(columns), rows=lines, title=title))


def _cell(row: dict[str, Any], name: str) -> object:
    value = "" if row[name] is None else row[name]
    match name:
        case "author":
            return value[:16]
        case "office":
            return say_word("office", value)
        case "problem":
            return translated(value)
        case "what" if row.get("private"):
            return say("log.private", count=row["private"])
    return value


@contextlib.contextmanager
def _node(url: str | None, ledger_id: bytes | None, home: Path) -> Iterator[tuple[HttpClient, bytes]]:
    """A connection and the ledger id: as given, else the workspace's."""
    if url is None or ledger_id is None:
        target: Target = open_workspace(home).target()
        url, ledger_id = url or target.url, ledger_id or target.ledger_id
    with HttpClient(url) as client:
        yield client, ledger_id


def _checked(stored: Stored, log: NoteVerifier) -> _Receipt:
    assert stored.receipt is not None
    proof, leaf, checkpoint = check_receipt(stored.receipt, stored.entry_id, log)
    return _Receipt(
        proof=proof,
        hour=leaf.received_hour,
        origin=checkpoint.origin,
        size=checkpoint.size,
        cosigned=stored.cosigned,
    )


def _earlier(stored: Stored) -> list[dict[str, Any]]:
    """The receipts that contradict the one in force, whole: whoever is given two of them has the proof."""
    proofs = [(one, parse_proof(one)) for one in stored.earlier]
    return [
        {
            "index": proof.index,
            "checkpoint_size": parse_checkpoint(parse_note(proof.checkpoint).text).size,
            "receipt": one.decode(),
        }
        for one, proof in proofs
    ]


def _earlier_lines(stored: Stored) -> list[str]:
    return [
        say(
            "show.earlier",
            index=one["index"],
            size=one["checkpoint_size"],
            entry=stored.entry_id.hex()[:16],
        )
        for one in _earlier(stored)
    ]


def _find(desk: Desk, prefix: str, entries: Sequence[Stored]) -> tuple[Stored, Record | None]:
    """The entry or record asked for; of a misfiled one what is left, with the entry that withdrew it."""
    signed = read_signed(entries, desk.statute)
    gone = [one for one in signed.erased if one.hash.hex().startswith(prefix)]
    if len(gone) != 1:
        return desk.outbox.find(prefix, entries)
    withdrawal = signed.successors[gone[0].hash].hash
    return next(stored for stored in entries if withdrawal in (one.hash for one in stored.records)), gone[0]


def _record_value(desk: Desk, stored: Stored, record: Record, sequel: Sequel | None) -> dict[str, Any]:
    pupil = desk.register.with_pupil(record.subject)
    return {
        "record": record.hash.hex(),
        "kind": record.kind,
        "period": record.period,
        "fields": record.fields,
        "pupil": pupil.local_id if pupil else None,
        "from": stored.label_of(record.hash),
        "supersedes": record.supersedes.hex() if record.supersedes else None,
        "became": sequel.value if sequel else None,
    }


def _entry_line(stored: Stored) -> str:
    state, reason = say_word("state", stored.word), translated(stored.reason)
    return say("show.entry", entry=stored.entry_id.hex(), state=state, reason=reason).rstrip()


def _record_lines(value: dict[str, Any], sequel: Sequel | None) -> list[str]:
    fields = ", ".join(f"{name}={one}" for name, one in value["fields"].items())
    pupil = value["pupil"] or say("show.unknown_pupil")
    of = [say("show.supersedes", record=value["supersedes"])] if value["supersedes"] else []
    return [
        say("show.record", record=value["record"]),
        say("show.kind", kind=value["kind"], period=value["period"], pupil=pupil),
        say("show.fields", fields=fields) if fields else say("show.erased"),
        *of,
        *([sequel.line] if sequel else []),
    ]


def _leaf_row(one: Judged) -> dict[str, Any]:
    """A leaf as a row: who, when, and what of it is public."""
    if one.leaf is None:
        text = str(one.violations[0])
        return dict.fromkeys(("received", "office", "author", "what")) | {"index": one.index, "problem": text}
    header = one.leaf.header
    public = ", ".join(record.kind for record in one.governance)
    return {
        "index": one.index,
        "received": hour_text(one.leaf.received_hour),
        "office": one.author.office if one.author else None,
        "author": header.author.hex(),
        "what": public if header.is_public else f"{header.records_count} private",
        "private": 0 if header.is_public else header.records_count,
        "problem": str(one.violations[0]) if one.violations else None,
    }


COMMANDS = [show_command, log_command, prove_command]
