"""The class register between people: shared, handed over, merged, lost and got back."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import pytest

from cli.command import now
from cli.main import pledger
from cli.merging import merge_pupils
from cli.register import empty_register, open_register
from ledger.errors import Unproven
from tests.agencies import REPOSITORY, Nodes, found_agencies
from tests.agencies import nodes as nodes
from tests.clerks import RESULTS, ROSTER, Clerk, clerk_of, exchange, grant
from tests.spoiled import extended, flipped, truncated
from tests.test_register import pupil
from tests.world import key

OTHERS = ROSTER.replace("7a-", "9a-").replace("7b-", "9b-")


@pytest.fixture
def clerks(tmp_path: Path) -> dict[str, Clerk]:
    """Four staff members of one agency; nobody's node runs."""
    agency = found_agencies(tmp_path / "agencies")["district"]
    names = ("clerk", "substitute", "holder", "second")
    return {name: clerk_of(agency, tmp_path / name, name) for name in names}


@pytest.fixture
def clerk(clerks: dict[str, Clerk]) -> Clerk:
    clerks["clerk"].enrol("--offline")
    return clerks["clerk"]


def snapshot(clerk: Clerk) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in clerk.home.rglob("[!.]*") if path.is_file()}


def test_a_substitute_takes_the_class_and_records_for_the_same_children(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes
) -> None:
    """The pseudonyms are the same, so the node takes the substitute's marks for the clerk's pupils."""
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk", "substitute")
    clerk.type("outbox", "send")
    substitute = clerks["substitute"]
    exchange(clerk, substitute)
    assert substitute.register().pids() == clerk.register().pids()
    path = substitute.file("results.csv", RESULTS)
    assert substitute.ask("import", path, "--kind", "results", "--yes")["recorded"] == 2
    assert clerk.ask("import", path, "--kind", "results", "--yes")["already_recorded"] == 2


def test_only_one_class_goes_to_the_substitute(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Nobody gets more names than are needed."""
    path, substitute = clerk.home.with_name("7b.sealed"), clerks["substitute"]
    clerk.type("class", "export", "-o", path, "--to", substitute.key, "--class", "7б")
    substitute.type("class", "take", path, "--from", clerk.key)
    assert list(substitute.register().pupils) == ["7b-01"]
    clerk.type("class", "export", "-o", path.with_name("x"), "--to", substitute.key, "--class", "11", code=2)


def test_an_export_names_nobody_and_overwrites_nothing(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """What goes by mail is sealed."""
    path = clerk.home.with_name("out.sealed")
    clerk.type("class", "export", "-o", path, "--to", clerks["substitute"].key)
    data = path.read_bytes()
    assert not any(text.encode() in data for text in ("Сказкина", "7a-01", "7а"))
    clerk.type("class", "export", "-o", path, "--to", clerks["holder"].key, code=4)
    assert path.read_bytes() == data


def test_a_file_is_taken_from_whom_one_named_only(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """A stranger's register could give one child's marks to another: the key is to be compared first."""
    path, substitute = clerk.home.with_name("out.sealed"), clerks["substitute"]
    clerk.type("class", "export", "-o", path, "--to", substitute.key)
    before = snapshot(substitute)
    result = substitute.type("class", "take", path, code=2)
    assert f"--from {clerk.key}" in result.stderr
    substitute.type("class", "take", path, "--from", clerks["holder"].key, code=2)
    clerks["holder"].type("class", "take", path, "--from", clerk.key, code=1)
    assert snapshot(substitute) == before


def test_a_changed_file_is_taken_by_nobody(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Cut, lengthened, or a bit turned."""
    path, substitute = clerk.home.with_name("out.sealed"), clerks["substitute"]
    clerk.type("class", "export", "-o", path, "--to", substitute.key)
    data, before = path.read_bytes(), snapshot(substitute)
    for spoiled in (*list(truncated(data))[::301], *extended(data), *list(flipped(data))[::2001]):
        path.write_bytes(spoiled)
        result = substitute.type("class", "take", path, "--from", clerk.key, code=None)
        assert result.exit_code in (1, 2)
    assert snapshot(substitute) == before


def test_taking_loses_nobody_and_twice_is_once(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """The own class stays beside the one taken; the second time adds nobody."""
    substitute = clerks["substitute"]
    substitute.enrol("--offline", roster=OTHERS)
    exchange(clerk, substitute)
    assert len(substitute.register().pupils) == 6
    path = clerk.home.with_name("clerk-for-substitute.sealed")
    value = substitute.ask("class", "take", path, "--from", clerk.key)
    assert (value["added"], value["differing"]) == ([], [])


def test_what_differs_is_told_and_taken_only_when_asked(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """The substitute moved the class; the clerk decides whose lines stand."""
    substitute = clerks["substitute"]
    exchange(clerk, substitute)
    substitute.type(
        "class", "move", "--from-class", "7а", "--to-class", "8а", "--date", "2025-09-01", "--offline"
    )
    path = clerk.home.with_name("back.sealed")
    substitute.type("class", "export", "-o", path, "--to", clerk.key)
    value = clerk.ask("class", "take", path, "--from", substitute.key)
    assert (value["differing"], clerk.register().pupils["7a-01"].class_name) == (["7a-01", "7a-02"], "7а")
    clerk.type("class", "take", path, "--from", substitute.key, "--theirs")
    assert clerk.register().pupils["7a-01"].class_name == "8а"


def test_one_local_id_with_two_pseudonyms_is_a_clear_error(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Enrolled by two clerks: nothing is taken until a person says so; then alias joins them."""
    substitute = clerks["substitute"]
    substitute.enrol("--offline")
    path = clerk.home.with_name("out.sealed")
    clerk.type("class", "export", "-o", path, "--to", substitute.key)
    before = snapshot(substitute)
    take = ("class", "take", path, "--from", clerk.key)
    value = substitute.ask(*take, code=4)
    assert [one["value"] for one in value["problems"]] == ["7a-01", "7a-02", "7b-01"]
    assert "class alias 7a-01 7a-01-X" in value["problems"][0]["text"]
    assert snapshot(substitute) == before
    substitute.type(*take, "--beside", "b")
    assert len(substitute.register().pupils) == 6
    substitute.type("class", "alias", "7a-01", "7a-01-b", "--offline")


def test_one_child_under_another_local_id_is_no_second_child() -> None:
    """The pseudonym decides: no line is added, and none is lost."""
    own = empty_register(key("clerk").public_key).adding([pupil(0)])
    merged = merge_pupils(own, [pupil(0, local_id="x-1", class_name="8а")], "f", theirs=True)
    assert merged.added == ()
    assert merged.register.pupils["7a-00"].class_name == "8а"


def test_a_shared_register_opens_for_the_colleague_until_the_day(
    clerk: Clerk, clerks: dict[str, Clerk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last day, the next register written leaves the key out."""
    substitute = clerks["substitute"]
    day = (now() + datetime.timedelta(days=3)).date()
    value = clerk.ask("class", "share", substitute.key, "--until", day.isoformat())
    assert value["until"] == {substitute.key: day.isoformat()}
    reader, writer = key("district substitute"), bytes.fromhex(clerk.key)
    assert open_register(clerk.workspace.register_path.read_bytes(), reader, [writer]).pupils
    later = now() + datetime.timedelta(days=4)
    monkeypatch.setattr("cli.desk.now", lambda: later)
    clerk.enrol("--offline", roster=OTHERS)
    assert substitute.key not in clerk.ask("class", "list")["recipients"]
    with pytest.raises(Unproven, match="not readable"):
        open_register(clerk.workspace.register_path.read_bytes(), reader, [writer])


def test_unsharing_seals_what_is_written_from_then_on(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Oneself, a stranger and a recovery holder cannot be left out so."""
    clerk.type("class", "share", clerks["substitute"].key)
    assert (
        clerks["substitute"].key not in clerk.ask("class", "unshare", clerks["substitute"].key)["recipients"]
    )
    clerk.type("class", "recovery", clerks["holder"].key, clerks["second"].key)
    before = snapshot(clerk)
    for wrong in (clerk.key, clerks["substitute"].key, clerks["holder"].key, "ab"):
        clerk.type("class", "unshare", wrong, code=2)
    for words in (("share", clerks["substitute"].key, "--until", "2020-01-01"), ("share", "00" * 32)):
        clerk.type("class", *words, code=2)
    assert snapshot(clerk) == before


def test_recovery_holders_are_two_others(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """At the first enrolment or later; new ones take the place of those before."""
    first, second = clerks["holder"].key, clerks["second"].key
    for wrong in ((first, first), (first, clerk.key)):
        clerk.type("class", "recovery", *wrong, code=2)
    for words in (["--recovery", first], ["--recovery", first, "--recovery", clerk.key]):
        path = clerk.file("roster.csv", OTHERS)
        clerk.type(
            "class", "enrol", path, "--notice-hash", "ab" * 32, "--shown-on", "2024-09-01", *words, code=2
        )
    clerk.enrol("--offline", "--recovery", first, "--recovery", second)
    assert clerk.ask("class", "list")["recovery"] == [first, second]
    value = clerk.ask("class", "recovery", second, clerks["substitute"].key)
    assert set(value["recipients"]) == {clerk.key, second, clerks["substitute"].key}


def test_a_lost_key_is_answered_for_from_end_to_end(
    clerk: Clerk, clerks: dict[str, Clerk], nodes: Nodes, tmp_path: Path
) -> None:
    """Key lost, another granted, register back through a recovery holder, unsent list imported again."""
    nodes.start(clerk.agency)
    grant(clerk.agency, "clerk")
    clerk.type("outbox", "send")
    clerk.type("class", "recovery", clerks["holder"].key, clerks["second"].key)
    copy = tmp_path / "copy.sealed"
    clerk.type("class", "export", "-o", copy)
    pids, old = clerk.register().pids(), clerk.key
    path = clerk.file("results.csv", RESULTS)
    clerk.type("import", path, "--kind", "results", "--yes", "--offline")
    value = clerk.ask("staff", "lost", "--since", "2024-01-01", "--set-aside")
    assert (value["key"], value["suspect_from"], value["written_since"]) == (old, "1:0", 1)
    assert (value["unsent"], set(value["register_readers"])) == (
        1,
        {clerks["holder"].key, clerks["second"].key},
    )
    assert not clerk.home.exists() and Path(value["set_aside"]).is_dir()
    assert any(f"staff revoke {old} --suspect-from 1:0" in step["type"] for step in value["steps"])
    new = clerk_of(clerk.agency, clerk.home, "new")
    grant(clerk.agency, "new")
    back = tmp_path / "back.sealed"
    words = ("class", "export", "--register", copy, "--from", old, "-o", back, "--to", new.key)
    clerks["holder"].type(*words)
    new.type("class", "take", back, "--from", clerks["holder"].key)
    assert new.register().pids() == pids
    assert set(new.register().recovery) == {bytes.fromhex(clerks[one].key) for one in ("holder", "second")}
    assert new.ask("import", path, "--kind", "results", "--yes")["recorded"] == 2


def test_a_key_lost_before_there_was_a_node_is_answered_for_too(clerk: Clerk) -> None:
    """Without a connection the steps are told all the same; the place in the log is left to the registrar."""
    path = clerk.home / "staff.toml"
    path.write_text("".join(one for one in path.read_text().splitlines(True) if not one.startswith("url")))
    value = clerk.ask("staff", "lost", "--since", "2024-01-01")
    assert (value["suspect_from"], value["unsent"]) == (None, 1)
    assert "ERA:INDEX" in value["steps"][0]["type"]


def test_a_stolen_computer_is_answered_for_on_a_colleagues(clerk: Clerk, clerks: dict[str, Clerk]) -> None:
    """Without node and passphrase the steps are told, and the colleague's workspace stays where it is."""
    substitute = clerks["substitute"]
    before = snapshot(substitute)
    value = substitute.ask("staff", "lost", "--key", clerk.key, "--since", "2024-01-01")
    assert (value["key"], value["suspect_from"], value["unsent"]) == (clerk.key, None, None)
    assert "class unshare" in value["steps"][-1]["type"]
    substitute.type("staff", "lost", "--key", clerk.key, "--set-aside", code=2)
    assert snapshot(substitute) == before


def documented() -> list[str]:
    """Every command line of the page."""
    text = (REPOSITORY / "docs" / "LOST.md").read_text()
    return [line for line in text.splitlines() if line.startswith("pledger ")]


def test_the_page_on_lost_keys_is_whole_in_both_languages() -> None:
    """The same commands in the same order, once in each."""
    lines = documented()
    half = len(lines) // 2
    assert half > 10 and lines[:half] == lines[half:]


@pytest.mark.parametrize("line", sorted(set(documented())))
def test_every_line_of_the_page_on_lost_keys_can_be_typed(line: str) -> None:
    """Command, arguments and options are those that there are."""
    words, found = line.split()[1:], pledger
    while isinstance(found, click.Group):
        name = words.pop(0)
        assert name in found.commands, line
        found = found.commands[name]  # type: ignore[assignment]
    words = ["ab" * 32 if word.endswith("KEY") or word == "LEDGER-ID" else word for word in words]
    found.make_context(found.name, [word.replace("district", ".") for word in words])
