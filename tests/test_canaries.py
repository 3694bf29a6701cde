"""Nothing of a child stands in what others mirror, in the databases, or in a node's events, in the clear."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path

import pytest

from ledger.record import Basis, Record, make_record
from node import dossier
from node.http_client import HttpClient
from node.protocol import Problem
from node.sources import HttpSource
from tests.agencies import YEAR, Agency, Nodes, found_agencies, mark, post, records_of, wait_for
from tests.world import record, seed

SCHOOL = "canary-school-77"
SUBJECT = "canarology"
SOURCE = "list Канарейкин, row 12"
ROLE = "clerk"
PUPIL = "canary pupil"
CANARIES: dict[str, bytes] = {
    "school": SCHOOL.encode(),
    "subject code": SUBJECT.encode(),
    "source": SOURCE.encode(),
    "name": "Канарейкин".encode(),
    "pseudonym": seed(f"pid {PUPIL}")[:16],
    "role": ROLE.encode(),
    "kind of a mark": b"subject_result",
    "kind of an enrolment": b"enrolment",
    "kind of a notice": b"notice",
    "salt of an owner part": seed(f"owner {PUPIL} notice 0")[:16],
    "a date": b"2024-09-01",
    "school year": YEAR.encode(),
    "scope salt": seed("district scope clerk")[:16],
    "sealing secret": seed("district sealing"),
    "master secret": seed("district master"),
    "log secret": seed("district log"),
    "padding seed": seed("padding 7"),
}


def forms(value: bytes) -> list[bytes]:
    """The bytes as they are, in hex, in base64 at each of its three alignments, and reversed."""
    found = [value, value.hex().encode(), value.hex().upper().encode(), value[::-1]]
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value)
        start = -(-shift * 8 // 6)
        found.append(encoded[start : start + (len(value) - 2) * 8 // 6])
    return [one for form in found for one in {form, form.replace(b"+", b"-").replace(b"/", b"_")}]


@pytest.mark.parametrize("shift", range(5))
def test_the_search_finds_what_is_hidden_in_every_form(shift: int) -> None:
    """A search that finds nothing proves nothing unless it finds what is there."""
    value = CANARIES["pseudonym"]
    hidden = bytes(shift) + b"before" + value + b"behind"
    for text in (hidden, hidden.hex().encode(), base64.b64encode(hidden), base64.urlsafe_b64encode(hidden)):
        assert any(form in text for form in forms(value))


def _list_of_a_school() -> list[Record]:
    """Notice, enrolment and a mark, every part of them a canary."""
    notice, _, _ = records_of(PUPIL)
    enrolment = record("enrolment", subject=PUPIL, period=YEAR, date="2024-09-01", org_id=SCHOOL)
    plain = mark(PUPIL, SUBJECT, org_id=SCHOOL)
    told = make_record(
        subject=plain.subject, kind=plain.kind, period=plain.period, fields=plain.fields,
        basis=plain.basis, salts=(seed("salt a")[:16], seed("salt b")[:16]), source=SOURCE,
    )  # fmt: skip
    return [notice, enrolment, told]


def _refused_ones(agency: Agency) -> list[Problem | bytes]:
    """What the node refuses must not stay either: a mark again, an unknown kind, a stranger's list."""
    again = mark(PUPIL, SUBJECT, number=5, org_id=SCHOOL, value="2")
    unknown = make_record(
        subject=again.subject, kind="canary_kind", period=YEAR, fields={"x": SUBJECT},
        basis=Basis(act="none"), salts=(bytes(16), bytes(16)), source=SOURCE,
    )  # fmt: skip
    with HttpClient(agency.url) as client:
        return [
            post(client, agency, agency.entry([again])),
            post(client, agency, agency.entry([unknown])),
            post(client, agency, agency.entry(_list_of_a_school(), by="stranger")),
        ]


def test_no_canary_stands_in_databases_events_or_the_static_tree(tmp_path: Path, nodes: Nodes) -> None:
    """Written by a real node and killed, so that the write-ahead logs are still there to be searched."""
    agency = found_agencies(tmp_path)["district"]
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        grant = agency.grant("clerk", unit=SCHOOL)
        assert isinstance(post(client, agency, grant), bytes)
        submission = agency.entry(_list_of_a_school(), number=7)
        assert isinstance(post(client, agency, submission), bytes)
        assert all(isinstance(one, Problem) for one in _refused_ones(agency))
        wait_for(lambda: node.status()["logs"][0]["size"] == 3, "publication")
        target = tmp_path / "dossier.zip"
        dossier.write(target, dossier.members_of(HttpSource(client), agency.world.ledger_id))
    node.kill()
    data = agency.log_path.parent
    searched = {path.name: path.read_bytes() for path in (*data.iterdir(), agency.directory / "node.log")}
    assert {"log.db", "log.db-wal", "keys.db", "keys.db-wal", "log.instance", "node.log"} <= searched.keys()
    with zipfile.ZipFile(target) as archive:
        # the roster has the statutory list: kinds and roles stand there for everyone to read
        searched |= {
            name: archive.read(name) for name in archive.namelist() if not name.startswith("roster/")
        }
    entry_id = submission.entry.header.entry_id
    assert entry_id in searched["log.db"] + searched["log.db-wal"]
    assert submission.entry.header.raw in searched["log/district/1/tile/entries/000.p/3"]
    found = [
        (name, file)
        for name, value in {**CANARIES, "kind nobody knows": b"canary_kind"}.items()
        for file, content in searched.items()
        if any(form in content for form in forms(value))
    ]
    assert found == []
