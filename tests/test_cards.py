"""pledger agency card, sign, post: keys rotated under a running node, and what opens before and after."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.keys import sealing_public_key
from ledger.verify import verify
from node.http_client import HttpClient
from node.inspection import card_in_force
from node.key_file import read_key_file, read_public_keys
from node.protocol import Problem
from node.sources import HttpSource
from node.submission import format_submission
from tests.agencies import PASSPHRASE, Agency, Nodes, nodes, post, records_of
from tests.operator_side import ask, founded, say
from tests.world import key, seed

__all__ = ["nodes"]


@pytest.fixture
def district(tmp_path: Path) -> Agency:
    return founded(tmp_path)["district"]


def drafted(agency: Agency, *options: object) -> Path:
    draft = agency.directory / "card.draft"
    ask("agency", "card", *options, "--dir", agency.directory, "-o", draft)
    return draft


def signed(agency: Agency, draft: Path) -> Path:
    """The card, signed where the root key is: a folder that knows nothing else of the agency."""
    stick = agency.directory.parent / "stick"
    stick.mkdir(exist_ok=True)
    shutil.copy(agency.directory / "keys" / "root.key", stick)
    entry = stick / "card.entry"
    ask("agency", "sign", draft, "--root-key", stick / "root.key", "-o", entry)
    return entry


def issued(agency: Agency, nodes: Nodes, *options: object) -> dict[str, Any]:
    """Draft, restart, sign, post."""
    draft = drafted(agency, *options)
    nodes.started[-1].stop()
    nodes.start(agency)
    return ask("agency", "post", signed(agency, draft), "--dir", agency.directory)


ALL = [word for name in ("witness", "node", "desk", "sealing") for word in ("--rotate", name)]


def test_a_card_rotates_every_key_of_a_node_and_it_goes_on(district: Agency, nodes: Nodes) -> None:
    """New witness, node, desk and sealing keys; the old desk key stays behind the new; the log verifies."""
    nodes.start(district)
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.grant()), bytes)
    before = card_in_force(district.config()).card
    assert issued(district, nodes, *ALL)["index"] == 2
    now = card_in_force(district.config()).card
    assert now.number == 2
    for name in ("witness_key", "node_key", "sealing_key"):
        assert getattr(now, name) != getattr(before, name)
    assert now.desk_keys[1:] == before.desk_keys and now.log_key == before.log_key
    with HttpClient(district.url) as client:
        taken = format_submission(district.enrol("anna"), now.sealing_key, seed("ephemeral"))
        from node.session import submit

        assert client.run(submit(taken)).startswith(b"c2sp.org/tlog-proof")
        assert verify(HttpSource(client), district.world.ledger_id).verdict == "verified"


def test_what_was_sealed_to_the_key_before_still_opens(district: Agency, nodes: Nodes) -> None:
    """An outbox that was filled before the rotation is sent after it."""
    nodes.start(district)
    with HttpClient(district.url) as client:
        post(client, district, district.grant())
    issued(district, nodes, "--rotate", "sealing")
    old = sealing_public_key(seed("district sealing"))
    assert card_in_force(district.config()).card.sealing_key != old
    with HttpClient(district.url) as client:  # `post` seals to the old key
        assert isinstance(post(client, district, district.entry(records_of("anna"))), bytes)


def test_a_node_that_has_not_the_new_keys_refuses_their_card(district: Agency, nodes: Nodes) -> None:
    """It would stop at its own next leaf: it says to start it again, and nothing is sequenced."""
    node = nodes.start(district)
    entry = signed(district, drafted(district, "--rotate", "desk"))
    said = say("agency", "post", entry, "--dir", district.directory, code=5)
    assert "start it again" in said and "desk" in said
    assert node.status()["size"] == 1
    node.stop()
    nodes.start(district)
    assert ask("agency", "post", entry, "--dir", district.directory)["index"] == 1


def test_a_node_without_the_keys_in_force_does_not_start(district: Agency, nodes: Nodes) -> None:
    """An old key file put back is noticed before anything is signed with it."""
    nodes.start(district)
    kept = (district.directory / "keys" / "node.key").read_bytes()
    issued(district, nodes, "--rotate", "witness", "--rotate", "desk")
    nodes.started[-1].stop()
    (district.directory / "keys" / "node.key").write_bytes(kept)
    node = nodes.start(district, wait=False)
    assert node.process.wait(30) != 0
    assert "not among the keys in hand" in node.log.read_text()


def test_a_registrar_is_replaced_and_his_late_grants_end(district: Agency, nodes: Nodes) -> None:
    """void_from: a grant before it goes on, one from it on ends, and the new registrar grants."""
    nodes.start(district)
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.grant("early")), bytes)
        assert isinstance(post(client, district, district.grant("late")), bytes)
    draft = drafted(district, "--rotate", "registrar", "--void-from", "1:2")
    assert ask("agency", "post", signed(district, draft), "--dir", district.directory)["index"] == 3
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.entry(records_of("anna"), by="early")), bytes)
        refused = post(client, district, district.entry(records_of("vera"), by="late"))
        assert isinstance(refused, Problem) and refused.code == "author.late", refused
        refused = post(client, district, district.grant("third"))
        assert isinstance(refused, Problem) and refused.code == "author.unknown"
    today = datetime.date.today()
    days = ("--from", today, "--until", today + datetime.timedelta(300))
    who = ("--role", "clerk", "--unit", "school-1", "--kinds", "all")
    staff = key("district third").public_key.hex()
    ask("staff", "grant", staff, *who, *days, "--agency-dir", district.directory)
    with HttpClient(district.url) as client:
        assert verify(HttpSource(client), district.world.ledger_id).verdict == "verified"


def test_a_revoked_member_of_staff_is_marked_from_a_place_on(district: Agency, nodes: Nodes) -> None:
    """staff revoke --suspect-from: what stands stays valid, what comes is refused."""
    nodes.start(district)
    with HttpClient(district.url) as client:
        post(client, district, district.grant())
        assert isinstance(post(client, district, district.enrol("anna")), bytes)
        clerk = key("district clerk").public_key.hex()
        ask("staff", "revoke", clerk, "--suspect-from", "1:2", "--agency-dir", district.directory)
        refused = post(client, district, district.enrol("vera"))
        assert isinstance(refused, Problem) and refused.code == "author.revoked"
        report = verify(HttpSource(client), district.world.ledger_id)
    assert report.verdict == "verified"


def test_a_draft_made_twice_names_the_same_keys(district: Agency, nodes: Nodes) -> None:
    """Nothing is made anew for a card that is not sequenced, and nothing in the file is written over."""
    nodes.start(district)
    first = drafted(district, "--rotate", "node").read_bytes()
    assert drafted(district, "--rotate", "node").read_bytes() == first
    assert sorted(read_public_keys(district.directory / "keys" / "node.key").keys)[-2:] == [
        "sealing",
        "witness",
    ]


def test_secrets_of_keys_long_out_of_force_are_dropped_but_not_what_opens_old_bodies(
    district: Agency, nodes: Nodes
) -> None:
    """After two rotations: one old witness key at most, every sealing and desk key."""
    nodes.start(district)
    for _ in range(2):
        issued(district, nodes, *ALL)
    drafted(district, "--rotate", "witness")
    names = set(read_key_file(district.directory / "keys" / "node.key", PASSPHRASE))
    assert {"sealing", "sealing.2", "sealing.3", "desk", "desk.2", "desk.3", "log", "master"} <= names
    assert {name for name in names if name.startswith("witness")} == {"witness.3", "witness.4"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing would change"),
        (("--void-from", "1:1"), "--void-from is for registrars who go"),
        (("--drop-registrar", key("district registrar").public_key.hex()), "at least one registrar"),
        (("--url", "not an address"), "no plain http"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    district: Agency, options: tuple[str, ...], words: str
) -> None:
    """Said before anything is written."""
    kept = (district.directory / "keys" / "node.key").read_bytes()
    target = district.directory / "card.draft"
    said = say("agency", "card", *options, "--dir", district.directory, "-o", target, code=2)
    assert words in said and not target.exists()
    assert (district.directory / "keys" / "node.key").read_bytes() == kept


def test_a_card_of_another_root_key_is_refused(district: Agency, nodes: Nodes, tmp_path: Path) -> None:
    """Whoever has the draft only cannot put it in the log."""
    nodes.start(district)
    draft = drafted(district, "--url", "http://127.0.0.1:2")
    from tests.operator_side import write_secret

    write_secret(tmp_path / "other.key", "a thief", "root")
    entry = tmp_path / "card.entry"
    ask("agency", "sign", draft, "--root-key", tmp_path / "other.key", "-o", entry)
    assert "author.unknown" in say("agency", "post", entry, "--dir", district.directory, code=4)


def test_only_a_draft_is_signed(district: Agency, tmp_path: Path) -> None:
    """The root key signs no file that says something else."""
    (tmp_path / "x").write_bytes(b"hello")
    root = district.directory / "keys" / "root.key"
    say("agency", "sign", tmp_path / "x", "--root-key", root, "-o", tmp_path / "y", code=2)
    assert not (tmp_path / "y").exists()
