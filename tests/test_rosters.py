"""pledger roster: the next version drafted, signed by a quorum, finished; who joins, leaves, refuses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from ledger.errors import Unproven
from ledger.roster import parse_roster
from ledger.statute import default_statute_json
from ledger.verify import verify
from node.config import load_config
from node.http_client import HttpClient
from node.rosters import check_following, load_rosters
from node.sources import HttpSource
from tests import test_roster
from tests.agencies import Agency, Nodes, free_ports, nodes, post, wait_for
from tests.operator_side import ask, founded, public, say, write_secret
from tests.world import key

__all__ = ["nodes"]
NAMES = ("centre", "district", "sport")


def drafted(by: Agency, *words: object, code: int = 0) -> Path:
    target = by.directory.parent / "next.json"
    ask("roster", "draft", "--next", *words, "--dir", by.directory, "-o", target, code=code)
    return target


def signed(roster: Path, agencies: Iterable[Agency]) -> list[Path]:
    made = []
    for agency in agencies:
        made.append(roster.with_name(f"{agency.name}.sig"))
        ask("roster", "sign", roster, "--dir", agency.directory, "-o", made[-1])
    return made


def finish(roster: Path, signatures: Iterable[Path], agency: Agency, *words: object, code: int = 0) -> str:
    return say("roster", "finish", roster, *signatures, "--dir", agency.directory, *words, code=code)


def versions(agency: Agency) -> list[int]:
    return [one.version for one in load_rosters(load_config(agency.directory))[0]]


def test_an_agency_joins_founds_its_log_under_the_new_version_and_is_mirrored(
    tmp_path: Path, nodes: Nodes
) -> None:
    """Drafted from its public file, signed by all three, finished; its opening adopts version 2."""
    made = founded(tmp_path, NAMES)
    for agency in made.values():
        nodes.start(agency)
    port = free_ports(1)[0]
    north = Agency(made["centre"].world, "north", tmp_path / "north", port)
    words = ("--ledger", "test", "--url", north.url, "--dir", north.directory)
    ask("agency", "new", "north", *words)
    roster = drafted(made["district"], north.directory / "agency.json")
    value = parse_roster(roster.read_bytes())
    assert (value.version, list(value.agencies), dict(value.ends)) == (2, [*NAMES, "north"], {})
    signatures = signed(roster, made.values())
    peers = [f"--peer={one.name}={one.url}" for one in made.values()]
    ledger = ("--ledger", made["centre"].world.ledger_id.hex())
    assert "add --from" in finish(roster, signatures, north, code=2)
    wrong = ("--ledger", "00" * 32)
    finish(roster, signatures, north, "--from", made["sport"].url, *wrong, *peers, code=1)
    assert not (north.directory / "roster" / "1.json").exists()
    finish(roster, signatures, north, "--from", made["sport"].url, *ledger, *peers)
    for node, agency in zip(list(nodes.started), made.values(), strict=True):
        node.stop()
        finish(roster, signatures, agency, f"--peer=north={north.url}")
        assert load_config(agency.directory).peers["north"] == (north.url,)
        assert len(load_config(agency.directory).peers) == 3
    running = [nodes.start(agency, "--alone") for agency in (*made.values(), north)]

    def sizes(node: object) -> list[int]:
        return [log["size"] for log in node.status()["logs"]]  # type: ignore[attr-defined]

    wait_for(lambda: all(len(sizes(one)) == 4 and min(sizes(one)) >= 1 for one in running), "all to hold all")
    with HttpClient(made["sport"].url) as client:
        report = verify(HttpSource(client), made["sport"].world.ledger_id)
    assert report.verdict == "verified" and len(report.logs) == 4


def test_an_agency_leaves_where_its_log_ends(tmp_path: Path, nodes: Nodes) -> None:
    """Its head is read from a node; those who sign compare it with their own copy."""
    made = founded(tmp_path, (*NAMES, "north"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    wait_for(lambda: running["north"].status()["is_sequencing"], "all to have heard")
    with HttpClient(made["north"].url) as client:
        assert isinstance(post(client, made["north"], made["north"].grant()), bytes)
    rest = [made[name] for name in NAMES]

    def ends() -> set[int]:
        found = set()
        for agency in rest:
            logs = running[agency.name].status()["logs"]
            found |= {log["size"] for log in logs if log["origin"] == "test/north/1"}
        return found

    wait_for(lambda: min(ends()) >= 2, "what north wrote")
    running["north"].stop()
    wait_for(lambda: len(ends()) == 1, "the same of north everywhere")
    roster = drafted(made["centre"], "--leave", "north")
    end = parse_roster(roster.read_bytes()).ends["north"]
    assert end.head.size == min(ends()) and end.next_era == 2
    signatures = signed(roster, rest)
    assert "has version 2" in finish(roster, signatures, made["centre"])
    assert versions(made["centre"]) == [1, 2]


def test_a_false_end_is_not_signed(tmp_path: Path, nodes: Nodes) -> None:
    """Whoever drafts cannot cut a log short with a root of his own: the signer's copy has another."""
    made = founded(tmp_path, (*NAMES, "north"))
    running = {name: nodes.start(agency) for name, agency in made.items()}
    for name in ("sport", "centre"):
        wait_for(
            lambda name=name: all(log["size"] for log in running[name].status()["logs"]),
            f"{name} to hold every opening",
        )
    roster = drafted(made["centre"], "--leave", "north")
    value = json.loads(roster.read_bytes())
    value["ends"]["north"]["root"] = "ab" * 32
    roster.write_text(json.dumps(value))
    target = tmp_path / "x.sig"
    said = say("roster", "sign", roster, "--dir", made["sport"].directory, "-o", target, code=1)
    assert "do not sign it" in said and not target.exists()


def test_an_id_given_out_again_is_not_taken_from_a_peer() -> None:
    """Also where the version before does not name the agency that left."""
    first, second = test_roster.drop(4)
    third = test_roster.roster(test_roster.names(4), follows=second)
    signatures = test_roster.sign(third, test_roster.names(3))
    with pytest.raises(Unproven, match="again"):
        check_following([first, second], (third.raw, signatures))


def test_too_few_signatures_change_nothing(tmp_path: Path) -> None:
    """Two of three, where three are needed."""
    made = founded(tmp_path, NAMES)
    roster = drafted(made["centre"], "--sunset", "2090-01-01")
    signatures = signed(roster, [made["centre"], made["sport"]])
    assert "has 2 of the 3 signatures" in finish(roster, signatures, made["centre"], code=1)
    assert versions(made["centre"]) == [1]
    signatures += signed(roster, [made["district"]])
    finish(roster, signatures, made["centre"])
    assert versions(made["centre"]) == [1, 2]
    assert parse_roster(roster.read_bytes()).sunset == 43830


def test_the_list_of_kinds_is_replaced(tmp_path: Path) -> None:
    """A statute file; a version after it keeps it."""
    made = founded(tmp_path, NAMES)
    statute = default_statute_json()
    statute["kinds"]["subject_result"]["retention_months"] = 7
    file = tmp_path / "kinds.json"
    file.write_text(json.dumps(statute))
    roster = drafted(made["centre"], "--statute", file)
    finish(roster, signed(roster, made.values()), made["centre"])
    following = parse_roster(drafted(made["centre"], "--sunset", "2090-01-01").read_bytes())
    assert following.version == 3 and following.statute.kinds["subject_result"].retention_months == 7


def test_a_ledger_of_two_changes_with_its_recovery_key(tmp_path: Path) -> None:
    """One agency and the outside key are two of the three that vote."""
    made = founded(tmp_path, ("district", "sport"))
    outside = tmp_path / "recovery.key"
    write_secret(outside, "recovery", "recovery")
    roster = drafted(made["district"], public("north", tmp_path))
    assert "needs 2 signatures of: test/district/root, test/sport/root, test/recovery" in say(
        "roster",
        "draft",
        "--next",
        tmp_path / "north.json",
        "--dir",
        made["district"].directory,
        "-o",
        roster,
    )
    signatures = signed(roster, [made["district"]])
    finish(roster, signatures, made["district"], code=1)
    ask("roster", "sign", roster, "--recovery-key-file", outside, "-o", tmp_path / "recovery.sig")
    finish(roster, [*signatures, tmp_path / "recovery.sig"], made["district"])
    assert parse_roster(roster.read_bytes()).recovery_key is None


def test_a_recovery_key_is_made_and_shown(tmp_path: Path) -> None:
    """Its public half goes into the draft."""
    value = ask("roster", "recovery-key", "-o", tmp_path / "recovery.key")
    files = [public("district", tmp_path)]
    words = ("--recovery-key", value["recovery_key"], "-o", tmp_path / "roster.json")
    ask("roster", "draft", *files, *words)
    roster = parse_roster((tmp_path / "roster.json").read_bytes())
    assert roster.recovery_key is not None and roster.recovery_key.hex() == value["recovery_key"]


def test_an_agency_with_a_new_root_key_ends_and_goes_on_in_the_next_era(tmp_path: Path, nodes: Nodes) -> None:
    """A lost root key: the others vote it in, by its new agency.json."""
    made = founded(tmp_path, NAMES)
    running = [nodes.start(agency) for agency in made.values()]
    wait_for(lambda: all(log["size"] for log in running[0].status()["logs"]), "the openings")
    roster = drafted(made["centre"], public("sport", tmp_path, root="sport root 2"))
    value = parse_roster(roster.read_bytes())
    assert value.agencies["sport"] == key("sport root 2").public_key
    assert value.ends["sport"].next_era == 2 and value.ends["sport"].head.size >= 1
    signatures = signed(roster, [made["centre"], made["district"]])
    finish(roster, signatures, made["centre"])
    assert versions(made["centre"]) == [1, 2]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--leave", "nobody"), "nobody"),
        (("--leave", "sport"), "no answer"),
        ((), "has version"),
    ],
)
def test_a_draft_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    """An unknown agency; an end that no node says; a version that is an answer to nothing still is one."""
    made = founded(tmp_path, (*NAMES, "north"))
    target = tmp_path / "next.json"
    options = ("roster", "draft", "--next", *words, "--dir", made["centre"].directory, "-o", target)
    if not words:
        ask(*options)
        finish(target, signed(target, made.values()), made["centre"])
        return
    said = say(*options, code=2 if text == "nobody" else 5)
    assert text in said and not target.exists()


def test_a_stranger_s_root_key_signs_nothing(tmp_path: Path) -> None:
    """Only who is in the version before; not even one who joins."""
    made = founded(tmp_path, NAMES)
    roster = drafted(made["centre"], public("north", tmp_path))
    (made["sport"].directory / "keys" / "root.key").unlink()
    write_secret(made["sport"].directory / "keys" / "root.key", "north root", "root")
    said = say("roster", "sign", roster, "--dir", made["sport"].directory, "-o", tmp_path / "x", code=2)
    assert "not for it to sign" in said
