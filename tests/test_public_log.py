"""`cli.public_log` and `cli.registrar`: what a node says is believed only as far as it proves it."""

from __future__ import annotations

import pytest

from cli.failures import Usage
from cli.public_log import read_checked_rosters, read_log, target_of
from cli.registrar import scope_for
from cli.staff import COMMANDS
from ledger.chain import ChainState, Judged
from ledger.errors import LedgerError, Malformed, Undecided, Unproven
from ledger.statute import default_statute_json, parse_statute
from tests.staff_side import AGENCY, target
from tests.world import MemorySource, World, key

WORLD = World()
BASE = f"log/{AGENCY}/1"
STATUTE = parse_statute(default_statute_json())


def read(files: dict[str, bytes], agency: str = AGENCY) -> tuple[ChainState, list[Judged]]:
    source, judged = MemorySource(files), list[Judged]()
    rosters = read_checked_rosters(source, WORLD.ledger_id)
    state = read_log(source, WORLD.ledger_id, rosters, agency, judged.append, lambda *_: None)
    return state, judged


def test_a_good_log_gives_the_keys_to_submit_with() -> None:
    """From the ledger id on: roster, opening, card, log key, sealing key, and every leaf judged."""
    state, judged = read(WORLD.tree())
    assert target_of(state, "http://127.0.0.1:1") == target(WORLD.logs[AGENCY])
    assert [one.violations for one in judged] == [(), ()]


def changed(path: str, data: bytes | None) -> dict[str, bytes]:
    files = WORLD.tree()
    if data is None:
        del files[path]
    else:
        files[path] = data
    return files


BUNDLE = f"{BASE}/tile/entries/000.p/2"
ATTACKS: dict[str, tuple[dict[str, bytes], type[LedgerError]]] = {
    "the roster of another ledger": (
        changed("roster/1.json", World(("a", "b", "c")).roster.raw),
        Unproven,
    ),
    "a roster without signatures": (changed("roster/1.note", None), Undecided),
    "no roster": (changed("roster/1.json", None), Undecided),
    "the log of another agency": (
        {
            **WORLD.tree(),
            **{path.replace("sport", AGENCY): data for path, data in WORLD.logs["sport"].files().items()},
        },
        Unproven,
    ),
    "a checkpoint of another agency": (
        changed(f"{BASE}/checkpoint", WORLD.logs["sport"].checkpoint()),
        Unproven,
    ),
    "no checkpoint": (changed(f"{BASE}/checkpoint", None), Undecided),
    "no entries": (changed(BUNDLE, None), Undecided),
    "entries cut short": (changed(BUNDLE, WORLD.tree()[BUNDLE][:-1]), Malformed),
    "a byte of the last leaf flipped": (
        changed(BUNDLE, WORLD.tree()[BUNDLE][:-1] + bytes([WORLD.tree()[BUNDLE][-1] ^ 1])),
        LedgerError,
    ),
}


@pytest.mark.parametrize(("files", "error"), ATTACKS.values(), ids=ATTACKS)
def test_a_lying_node_is_not_connected_to(files: dict[str, bytes], error: type[LedgerError]) -> None:
    """Nothing that does not follow from the ledger id gives a key to seal children's records to."""
    with pytest.raises(error):
        read(files)


def test_a_log_opened_by_another_root_key_is_refused() -> None:
    """An impostor with keys of his own and the agency's name."""
    log = World(opened=False).logs[AGENCY]
    opening = log.entry([log.card(log_key=key("impostor").public_key), log.adopt()], by="registrar")
    log.append(log.leaf(opening))
    with pytest.raises(Unproven, match="no valid opening"):
        read({**WORLD.tree(), **log.files()})


def test_all_means_every_kind_that_the_role_may_write_and_no_other() -> None:
    """A coach granted everything still writes no marks; an examiner writes exams."""
    assert scope_for(STATUTE, "coach", "*", "all").kinds == ("gto_badge", "sport_award")
    assert "subject_result" in scope_for(STATUTE, "examiner", "*", "all").kinds


@pytest.mark.parametrize(
    ("role", "kinds", "says"),
    [
        ("coach", "subject_result", "does not write subject_result"),
        ("clerk", "ratings", "does not write ratings"),
        ("guardian", "all", "not for staff"),
        ("root", "all", "not for staff"),
        ("desk", "all", "not for staff"),
        ("king", "all", "roles are"),
    ],
)
def test_what_staff_cannot_be_given_is_refused_before_it_is_signed(role: str, kinds: str, says: str) -> None:
    """The message lists what there is."""
    with pytest.raises(Usage, match=says):
        scope_for(STATUTE, role, "school-1", kinds)


def test_the_staff_group_has_all_its_commands() -> None:
    """key, connect, grant, revoke, list, lost."""
    assert set(COMMANDS[0].commands) == {"key", "connect", "grant", "revoke", "list", "lost"}
