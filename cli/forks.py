"""Forks that a node knows of: listed, told in words, carried away as one small file, checked by anybody.

A fork accuses a key, not a person: a cloned machine and a thief look the same. Evidence is under 4 KiB,
holds no personal data, and needs nothing but the ledger's public keys to be checked, so it may go by letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.agency import directory_option
from cli.audit import open_source
from cli.command import command, group
from cli.failures import Usage
from cli.output import Table
from cli.parameters import HEX32
from cli.public_log import read_checked_rosters
from ledger.errors import Undecided, Unproven
from ledger.fork import EVIDENCE_BYTES_MAX, Fork, Suspects, check_evidence, parse_evidence
from ledger.names import Origin, check_name, is_era, parse_origin
from ledger.verify import open_agencies
from node.config import FILE_NAME, load_config
from node.durable_file import read_file
from node.fork_pulls import fetch_pieces
from node.http_client import HttpClient
from node.inspection import open_promises
from node.parallel import verify_many
from node.promises import Promises
from node.session import fetch_json
from node.standing import branches_of

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TARGET = click.Path(path_type=Path, dir_okay=False)
_PROVES = {
    "size": "two checkpoints of {index} entries with different roots, both signed by the log key of {origin}",
    "leaf": "two checkpoints signed by the log key of {origin}, with different entries at index {index}",
    "opening": "two openings of {origin} with different log keys, both signed by the agency's root key",
}
"""What each kind of evidence is, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the forks of one era; ``evidence`` in the order in which it is kept."""

    origin: Origin
    evidence: Sequence[bytes]
    unproven: int
    """Checkpoints whose leaves nobody shows: they prove nothing yet."""
    branches: Sequence[dict[str, Any]]
    contested_from: int | None
    is_open: bool
    """Whether no later era has mended it yet."""

    @property
    def value(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return {
            "origin": str(self.origin),
            "is_proven": bool(self.evidence),
            "accused": _accused(self.evidence),
            "evidence": [
                {"kind": one.kind, "index": one.index} for one in map(parse_evidence, self.evidence)
            ],
            "unproven": self.unproven,
            "branches": list(self.branches),
            "contested_from": self.contested_from,
            "is_open": self.is_open,
        }


url_option = click.option("--url", help="Ask the node at this address, and look at no files.")


@command("list", "pledger forks list --dir district-7", "pledger forks list --url http://127.0.0.1:8700")
@url_option
@directory_option
def list_command(url: str | None, directory: Path) -> None:
    """List the logs that have forked, as far as this node knows. Exit code 3: there are some."""
    known = _known(url, directory)
    rows = [
        (
            *(one.origin, _accused(one.evidence) or "unproven", len(one.evidence), one.unproven),
            *(len(one.branches), "" if one.contested_from is None else one.contested_from),
        )
        for one in known
    ]
    columns = ["log", "accused", "evidence", "unproven", "branches", "contested from"]
    output.show(
        {"forks": [one.value for one in known]},
        *([Table(columns=columns, rows=rows)] if rows else ["no fork is known here"]),
        *(f"  next: pledger forks show {one.origin.agency}:{one.origin.era}" for one in known),
    )
    if known:
        output.finish(output.INCOMPLETE)


@command("show", "pledger forks show sport:1 --dir district-7")
@click.argument("log", metavar="AGENCY[:ERA]")
@url_option
@directory_option
def show(log: str, url: str | None, directory: Path) -> None:
    """Tell one fork in words: which key, where the branches part, which entries are contested, what to do."""
    one = _find(log, _known(url, directory))
    output.show(one.value, *_words(one))


@command("export", "pledger forks export sport:1 --dir district-7 -o sport.fork")
@click.argument("log", metavar="AGENCY[:ERA]")
@click.option("-o", "target", required=True, type=_TARGET, help="The evidence: one file under 4 KiB.")
@url_option
@directory_option
def export(log: str, target: Path, url: str | None, directory: Path) -> None:
    """Write the evidence of one fork into a file that anybody can check without a network."""
    one = _find(log, _known(url, directory))
    if not one.evidence:
        raise Undecided(
            f"{one.origin}: a checkpoint without its leaves proves nothing: there is no evidence yet"
        )
    raw = one.evidence[0]
    target.write_bytes(raw)
    output.show(
        {"evidence": str(target), "bytes": len(raw), **_fork_value(parse_evidence(raw))},
        f"wrote {target} ({len(raw)} bytes): {_proves(parse_evidence(raw))}",
        f"  check it anywhere: pledger forks check {target} --keys dossier.zip --ledger (the ledger id)",
    )


@command(
    "check",
    "pledger forks check sport.fork --keys dossier.zip --ledger 3f9c...",
    "pledger forks check sport.fork --keys district-7 --ledger 3f9c...",
)
@click.argument("file", type=_FILE)
@click.option("--ledger", "ledger_id", type=HEX32, required=True, help="The ledger id (64 hex digits).")
@click.option("--keys", required=True, help="What has the agencies' keys: a dossier, directory or URL.")
def check(file: Path, ledger_id: bytes, keys: str) -> None:
    """Check a file of evidence against a ledger, from its id on; with a dossier or directory, offline."""
    raw = read_file(file, bytes_max=EVIDENCE_BYTES_MAX)
    fork = check_evidence(raw, suspects_of(keys, ledger_id, parse_evidence(raw).origin))
    output.show(
        {"verdict": "proven", "bytes": len(raw), **_fork_value(fork)},
        f"PROVEN: {_proves(fork)}",
        "It accuses a key, not a person: a cloned or restored machine and a thief look the same.",
    )


COMMANDS = [
    group("forks", "Forks of any log: list, show, export and check.", list_command, show, export, check)
]


def suspects_of(keys: str, ledger_id: bytes, origin: Origin) -> Suspects:
    """Return the keys of an era that the ledger at ``keys`` proves; raise `Unproven` for another ledger."""
    if (Path(keys) / FILE_NAME).is_file():
        with open_promises(load_config(Path(keys))) as promises:
            suspects = promises.forks.suspects(origin)
        if suspects.ledger_id != ledger_id:
            raise Unproven(f"{keys} is of ledger {suspects.ledger_id.hex()}, not {ledger_id.hex()}")
        return suspects
    with open_source(keys) as source:
        rosters = read_checked_rosters(source, ledger_id)
        agencies = open_agencies(source, ledger_id, rosters, verify_many)
        named = [
            one for one in agencies if one.agency == origin.agency and rosters[0].ledger == origin.ledger
        ]
        for one in named:
            one.run()
        logs = [log for one in named for log in one.logs if log.origin == origin]
        return Suspects(
            ledger_id=ledger_id,
            log_keys={key for log in logs for key in log.log_keys()},
            root_keys={one.agencies[origin.agency] for one in rosters if origin.agency in one.agencies},
        )


def _known(url: str | None, directory: Path) -> list[Known]:
    if url is not None:
        with HttpClient(url) as client:
            return list(_told(client))
    with open_promises(load_config(directory)) as promises:
        origins = map(parse_origin, promises.store.origins())
        return [_held(promises, origin) for origin in origins if promises.forks.count(origin)]


def _told(client: HttpClient) -> Iterator[Known]:
    """What a node says; the evidence is as it gives it, not yet checked."""
    logs = client.run(fetch_json("/v1/status")).get("logs", ())
    origins = [parse_origin(log["origin"]) for log in logs]
    for log in logs:
        fork = log.get("fork")
        if fork:
            origin = parse_origin(log["origin"])
            yield Known(
                origin=origin,
                evidence=client.run(fetch_pieces(origin, "evidence")),
                unproven=fork["unproven"],
                branches=[{"era": origin.era, "name": name} for name in ("", *fork["branches"])],
                contested_from=fork["contested_from"],
                is_open=all(one.era <= origin.era for one in origins if one.agency == origin.agency),
            )


def _held(promises: Promises, origin: Origin) -> Known:
    """What the files of a node hold of an era's forks."""
    newest = max(promises.logs.eras(origin.agency), key=lambda one: one.era, default=origin)
    evidence, name = promises.forks.evidence, str(origin)
    branches = [one.value for one in branches_of(promises, newest) if one.era == origin.era]
    return Known(
        origin=origin,
        evidence=evidence.pieces(name),
        unproven=len(evidence.unproven(name)),
        branches=branches,
        contested_from=promises.forks.contested_from(origin),
        is_open=newest == origin or "open" in {one["standing"] for one in branches},
    )


def _find(log: str, known: Sequence[Known]) -> Known:
    """The fork that AGENCY[:ERA] names; without an era the newest."""
    agency, _, era = log.partition(":")
    check_name(agency, "agency")
    if era and not is_era(era):
        raise Usage(f"{log!r}: give AGENCY or AGENCY:ERA")
    fitting = [one for one in known if one.origin.agency == agency and era in ("", str(one.origin.era))]
    if not fitting:
        raise Usage(f"no fork of {log} is known here: `pledger forks list` shows which are")
    return max(fitting, key=lambda one: one.origin.era)


def _words(one: Known) -> Iterator[str | Table]:
    for fork in map(parse_evidence, one.evidence[:1]):
        yield f"{one.origin} has forked: {_proves(fork)}"
        yield "  it accuses a key, not a person: a cloned or restored machine and a thief look the same"
    if not one.evidence:
        yield f"{one.origin}: {one.unproven} checkpoints whose entries nobody shows; no fork is proven yet"
    if one.contested_from is not None:
        yield f"  contested: every entry from index {one.contested_from} on; what stands before it is not"
    told = ("size", "parts_at", "certified_size", "standing")
    rows = [
        [branch["name"][:16] or "main", *(branch.get(name, "") for name in told)] for branch in one.branches
    ]
    yield Table(columns=["branch", "entries", "parts at", "certified", "is"], rows=rows)
    if one.is_open:
        yield f"  what to do: {one.origin.agency} opens a new era on its node: pledger era plan"
        yield "  no other log is affected; no entry is lost: both branches are kept and served"
    else:
        yield "  repaired: a later era goes on; what was left of this one is closed or late"


def _accused(evidence: Sequence[bytes]) -> str:
    """Which key the evidence accuses: the root key if any piece does."""
    kinds = {parse_evidence(one).kind for one in evidence}
    return "root key" if "opening" in kinds else "log key" if kinds else ""


def _proves(fork: Fork) -> str:
    return _PROVES[fork.kind].format(index=fork.index, origin=fork.origin)


def _fork_value(fork: Fork) -> dict[str, Any]:
    accused = _accused([fork.evidence])
    return {"origin": str(fork.origin), "kind": fork.kind, "index": fork.index, "accused": accused}
