"""A school year through the command line, judged by a real node: moves, leavers, families that decline."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agencies import Nodes, found_agencies
from tests.agencies import nodes as nodes
from tests.clerks import RESULTS, ROSTER, Clerk, clerk_of, exchange, grant


@pytest.fixture
def clerk(tmp_path: Path) -> Clerk:
    """A clerk of an agency whose node does not run."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    return clerk_of(agency, tmp_path / "home")


@pytest.fixture
def enrolled(clerk: Clerk) -> Clerk:
    clerk.enrol("--offline")
    return clerk


def online(clerk: Clerk, nodes: Nodes) -> Clerk:
    nodes.start(clerk.agency)
    grant(clerk.agency, clerk.name)
    return clerk


def classes(clerk: Clerk) -> dict[str, str]:
    return {one.local_id: one.class_name for one in clerk.register().pupils.values()}


def test_a_year_of_a_class_is_taken_by_a_real_node(clerk: Clerk, nodes: Nodes) -> None:
    """Enrolled, moved on, transferred, enrolled twice: every record passes the rules, twice is once."""
    online(clerk, nodes)
    assert clerk.enrol()["recorded"] == 6
    pids = clerk.register().pids()
    move = ("class", "move", "--from-class", "7", "--to-class", "8", "--date", "2025-09-01")
    assert clerk.ask(*move)["recorded"] == 3
    assert classes(clerk) == {"7a-01": "8а", "7a-02": "8а", "7b-01": "8б"}
    clerk.type(*move, code=2)
    leave = ("class", "transfer", "7a-02", "--to-org", "school-2", "--exit-type", "transferred")
    assert clerk.ask(*leave, "--date", "2025-12-01")["recorded"] == 1
    again = clerk.ask(*leave, "--date", "2025-12-01")
    assert (again["recorded"], again["already_recorded"]) == (0, 1)
    assert clerk.ask("class", "alias", "7a-01", "7b-01")["recorded"] == 1
    assert clerk.register().pids() == pids
    assert set(clerk.states()) == {"accepted"}


def test_the_next_year_is_one_entry_with_what_the_register_knows(enrolled: Clerk) -> None:
    """One signature; stage, level and the family's word go on."""
    value = enrolled.ask(
        "class", "move", "--from-class", "7", "--to-class", "8", "--date", "2025-09-01", "--offline"
    )
    assert (value["moved"], value["waiting"], len(value["entries"])) == (3, 3, 1)
    records = enrolled.entries()[-1].records
    assert {one.fields["entry_type"] for one in records} == {"next_year"}
    assert {(one.fields["stage"], one.fields["class_level"]) for one in records} == {("basic", 8)}
    profiles = sorted(one.fields["profile"] for one in records)
    assert profiles == ["declined", "school_only", "school_only"]


@pytest.mark.parametrize(("level", "stage"), [("5", "basic"), ("10", "secondary"), ("4", "primary")])
def test_the_stage_follows_from_the_level(enrolled: Clerk, level: str, stage: str) -> None:
    """Nobody types it."""
    enrolled.type(
        "class", "move", "--from-class", "7а", "--to-class", level, "--date", "2025-09-01", "--offline"
    )
    assert {one.fields["stage"] for one in enrolled.entries()[-1].records} == {stage}


def test_one_class_of_a_year_moves_alone(enrolled: Clerk) -> None:
    """7а becomes what it is told to be called; 7б stays."""
    enrolled.type(
        "class", "move", "--from-class", "7А", "--to-class", "8в", "--date", "2025-09-01", "--offline"
    )
    assert classes(enrolled) == {"7a-01": "8в", "7a-02": "8в", "7b-01": "7б"}


def test_a_list_moves_those_on_it_with_what_it_says(enrolled: Clerk) -> None:
    """A column that is there goes before the register; what is not there stays."""
    text = "local_id;class_level;class;profile\n7a-01;8;8б;full\n7a-02;7;;\n"
    path = enrolled.file("next.csv", text)
    assert enrolled.ask("class", "move", path, "--date", "2025-09-01", "--offline")["moved"] == 2
    assert classes(enrolled) == {"7a-01": "8б", "7a-02": "7а", "7b-01": "7б"}
    assert enrolled.register().pupils["7a-01"].profile == "full"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("local_id;class_level\n7a-01;8\n7a-77;8\n", "not in the class register"),
        ("local_id;class_level\n7a-01;8\n7a-01;9\n", "stands twice"),
        ("local_id;class_level\n7a-01;88\n", "class_level"),
        ("local_id;class_level;rating\n7a-01;8;5\n", "rating"),
    ],
)
def test_a_bad_list_moves_nobody(enrolled: Clerk, text: str, says: str) -> None:
    """Register and outbox are byte for byte what they were."""
    before = {path: path.read_bytes() for path in enrolled.home.rglob("*") if path.is_file()}
    words = ("class", "move", enrolled.file("next.csv", text), "--date", "2025-09-01", "--offline")
    code = 2 if says == "rating" else 4
    assert says in enrolled.type(*words, code=code).stderr
    assert {path: path.read_bytes() for path in enrolled.home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--from-class", "7"),
        ("--from-class", "9", "--to-class", "10"),
        ("--from-class", "7", "--to-class", "x"),
        ("--from-class", "7", "--to-class", "8"),
    ],
)
def test_half_a_move_is_a_usage_error(enrolled: Clerk, words: tuple[str, ...]) -> None:
    """Which class, to which, from which day."""
    day = () if words[-1:] == ("8",) else ("--date", "2025-09-01")
    enrolled.type("class", "move", *words, *day, "--offline", code=2)
    assert len(enrolled.entries()) == 1


def test_who_left_is_found_and_stays_behind(enrolled: Clerk) -> None:
    """A leaver keeps local id and pseudonym, and is not moved on with the class."""
    leave = ("class", "transfer", "7a-02", "--to-org", "school-2", "--exit-type", "transferred")
    enrolled.type(*leave, "--date", "2025-06-01", "--offline")
    [found] = enrolled.ask("class", "find", "небыв")["pupils"]
    assert found["left"] == "2025-06-01, school-2, transferred"
    assert "left: 2025-06-01" in enrolled.type("class", "find", "7a-02").stdout
    enrolled.type(
        "class", "move", "--from-class", "7а", "--to-class", "8а", "--date", "2025-09-01", "--offline"
    )
    assert classes(enrolled)["7a-02"] == "7а"


def test_a_pupil_who_comes_back_keeps_the_pseudonym(enrolled: Clerk) -> None:
    """re_entry enrols one who left; the records of before and after are one child's."""
    leave = ("class", "transfer", "7a-02", "--to-org", "school-2", "--exit-type", "transferred")
    enrolled.type(*leave, "--date", "2025-06-01", "--offline")
    pid = enrolled.register().pids()["7a-02"]
    back = ROSTER.replace(
        "7a-02;Небывалов Тихон;basic;7;new;2024-09-01", "7a-02;Небывалов Тихон;basic;8;re_entry;2025-09-01"
    )
    value = enrolled.enrol("--offline", roster=back)
    assert (value["enrolled"], value["left_alone"]) == (1, 2)
    pupil = enrolled.register().pupils["7a-02"]
    assert (pupil.pid, pupil.left) == (pid, "")


@pytest.mark.parametrize(
    "words",
    [
        ("--exit-type", "expelled", "--date", "2025-06-01"),
        ("--exit-type", "transferred", "--date", "2025-06-31"),
        ("--exit-type", "transferred"),
    ],
)
def test_a_transfer_that_cannot_be_changes_nothing(enrolled: Clerk, words: tuple[str, ...]) -> None:
    """Nobody is recorded as expelled, and no day is guessed."""
    code = 4 if "expelled" in words else 2
    enrolled.type("class", "transfer", "7a-02", "--to-org", "school-2", *words, "--offline", code=code)
    assert not enrolled.register().pupils["7a-02"].left
    assert len(enrolled.entries()) == 1


def test_what_the_node_refuses_leaves_the_register_as_it_was(clerk: Clerk, nodes: Nodes) -> None:
    """A pupil cannot leave before having come: refused by the rule, and nobody is marked as having left."""
    online(clerk, nodes)
    clerk.enrol()
    before = clerk.register()
    leave = ("class", "transfer", "7a-02", "--to-org", "school-2", "--exit-type", "transferred")
    value = clerk.ask(*leave, "--date", "2023-06-01", code=4)
    assert "record.date" in value["refused"][0]["text"]
    assert clerk.register() == before


def test_a_child_enrolled_twice_keeps_both_pseudonyms(enrolled: Clerk) -> None:
    """The record names the other pseudonym; the register says where to look."""
    pids = enrolled.register().pids()
    enrolled.type("class", "alias", "7a-01", "7a-02", "--offline")
    [record] = enrolled.entries()[-1].records
    assert (record.subject, record.fields["other_subject"]) == (pids["7a-01"], pids["7a-02"].hex())
    assert "see 7a-01" in enrolled.type("class", "find", "7a-02").stdout
    assert enrolled.register().pids() == pids
    for wrong in (("7a-01", "7a-01"), ("7a-01", "7a-99"), ("7a-02", "7a-01")):
        enrolled.type("class", "alias", *wrong, "--offline", code=2)


def test_a_declined_pupil_is_enrolled_and_an_import_is_refused_with_what_to_do(
    clerk: Clerk, nodes: Nodes
) -> None:
    """The rest of the list goes with --skip-bad; the family's later yes opens the way."""
    online(clerk, nodes)
    assert clerk.enrol()["declined"] == ["7b-01"]
    path = clerk.file("results.csv", RESULTS + "7b-01;2024/2025;q1;ALG;ru5;3;term\n")
    result = clerk.type("import", path, "--kind", "results", "--yes", code=4)
    assert "record.declined" in result.stderr and "class profile" in result.stderr
    assert clerk.ask("import", path, "--kind", "results", "--yes", "--skip-bad", code=3)["recorded"] == 2
    clerk.type("class", "profile", "7b-01", "school_only", "--date", "2025-01-10")
    assert clerk.ask("import", path, "--kind", "results", "--yes")["recorded"] == 1


def test_the_node_refuses_it_too_where_the_register_does_not_know(
    clerk: Clerk, nodes: Nodes, tmp_path: Path
) -> None:
    """A colleague's older register lets the list through; the rule does not, and says what to do."""
    online(clerk, nodes)
    grant(clerk.agency, "colleague")
    clerk.enrol()
    colleague = clerk_of(clerk.agency, tmp_path / "other", "colleague")
    exchange(clerk, colleague)
    clerk.type("class", "profile", "7a-01", "declined", "--date", "2025-01-10")
    value = colleague.ask(
        "import", colleague.file("results.csv", RESULTS), "--kind", "results", "--yes", code=4
    )
    [refused] = value["refused"]
    assert refused["row"] == 2
    assert "record.declined" in refused["text"] and "class profile" in refused["text"]


def test_finding_shows_no_pseudonym_and_needs_something_to_find(enrolled: Clerk) -> None:
    """By part of a name, ё as е, by local id, by class."""
    assert [one["local_id"] for one in enrolled.ask("class", "find", "алена")["pupils"]] == ["7a-01"]
    assert len(enrolled.ask("class", "find", "7а")["pupils"]) == 2
    assert enrolled.ask("class", "find", " ")["pupils"] == []
    pids = [pid.hex() for pid in enrolled.register().pids().values()]
    assert not any(pid in enrolled.type("class", "list", "--json").stdout for pid in pids)


def test_a_lost_outbox_is_made_good_by_enrolling_again(clerk: Clerk, nodes: Nodes) -> None:
    """The register came back, the signed entries did not: --again records them, and twice is once."""
    clerk.enrol("--offline")
    for path in clerk.workspace.outbox_path.glob("*.sealed"):
        path.unlink()
    pids = clerk.register().pids()
    online(clerk, nodes)
    assert clerk.enrol()["recorded"] == 0
    assert clerk.enrol("--again")["recorded"] == 6
    assert clerk.enrol("--again")["already_recorded"] == 6
    assert clerk.register().pids() == pids
