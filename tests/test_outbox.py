"""`cli.outbox` and `cli.sending`: what was signed is not lost, not doubled, and not believed unproven."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cli.failures import Usage
from cli.outbox import Outbox, Stored, accepted, refused
from cli.register import Pupil
from cli.sending import Delivery, send_waiting, sign_records
from ledger.entry import RECORDS_MAX
from ledger.errors import Conflict, StoreError, Unproven
from ledger.record import Record
from node.protocol import Problem, Response, Unreachable
from tests.spoiled import flipped, truncated
from tests.staff_side import (
    AGENCY,
    Answer,
    ScriptedNode,
    author,
    conflict,
    down,
    randomness,
    receipt,
    repetition,
    staff_key,
    target,
)
from tests.world import Log, World, key, record, seed

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Desk:
    """An outbox, the log it sends to, and how to do both."""

    world: World
    folder: Path

    def __post_init__(self) -> None:
        self.random = randomness()
        self.outbox = Outbox(self.folder, staff_key(), self.random)
        self.author = author(staff_key(), self.world, self.random)

    @property
    def log(self) -> Log:
        return self.world.logs[AGENCY]

    def sign(self, count: int, *, number: int = 0) -> list[Stored]:
        records = [record(number=number + one, term=f"q{one % 4 + 1}") for one in range(count)]
        entries = sign_records(records, [f"list.csv row {one + 2}" for one in range(count)], self.author)
        for stored in entries:
            self.outbox.put(stored)
        return entries

    def send(self, *answers: Answer, with_refused: bool = False) -> tuple[Delivery, ScriptedNode]:
        node = ScriptedNode(self.log, list(answers))
        sending = send_waiting(self.outbox, target(self.log), self.author, with_refused=with_refused)
        return node.run(sending), node

    def states(self) -> list[str]:
        return [stored.state for stored in self.outbox.entries()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(World(), tmp_path / "outbox")


def hashes(records: tuple[Record, ...]) -> set[bytes]:
    return {one.hash for one in records}


def test_an_entry_is_kept_and_read_back_whole(desk: Desk) -> None:
    """Records, labels, pupils, receipt and reason come back as they were put."""
    [stored] = sign_records([record()], ["list.csv row 2"], desk.author)
    pupil = Pupil(local_id="7a-01", pid=bytes(16), name="Сказкина Алёна", class_name="7а")
    full = refused(accepted(replace(stored, pupils=(pupil,), number=7), b"receipt"), "record.date: no")
    desk.outbox.put(full)
    assert desk.outbox.entries() == [full]
    assert full.label_of(stored.records[0].hash) == "list.csv row 2"


def test_nothing_of_a_pupil_can_be_read_from_the_disk(desk: Desk) -> None:
    """Neither marks, pseudonyms nor labels stand in the outbox's files in the clear."""
    [stored] = desk.sign(1)
    [path] = desk.folder.iterdir()
    data = path.read_bytes()
    canaries = (b"subject_result", b"school-1", stored.records[0].subject, b"list.csv")
    assert not any(canary in data for canary in canaries)
    assert path.stat().st_mode & 0o077 == 0


def test_another_staff_key_opens_nothing(desk: Desk) -> None:
    """The key follows from the staff key."""
    desk.sign(1)
    with pytest.raises(Unproven, match="another staff key"):
        Outbox(desk.folder, key("stranger"), desk.random).entries()


def test_a_changed_file_is_never_read_as_an_entry(desk: Desk) -> None:
    """Damaged, cut short or renamed: told by its name, not sent."""
    [stored] = desk.sign(1)
    [path] = desk.folder.iterdir()
    data = path.read_bytes()
    for spoiled in [*list(flipped(data))[::101], *list(truncated(data))[1::101]]:
        path.write_bytes(spoiled)
        with pytest.raises(Unproven, match=stored.entry_id.hex()[:16]):
            desk.outbox.entries()
    path.unlink()
    path.with_name("0" * 64 + ".sealed").write_bytes(data)
    with pytest.raises(Unproven, match="another entry"):
        desk.outbox.entries()


def test_an_entry_is_put_once(desk: Desk) -> None:
    """A second put of one entry does not overwrite its receipt."""
    [stored] = desk.sign(1)
    desk.outbox.update(accepted(stored, b"receipt"))
    with pytest.raises(Conflict):
        desk.outbox.put(stored)
    assert desk.states() == ["accepted"]


def test_a_stop_while_a_receipt_is_put_away_leaves_one_accepted_entry(desk: Desk) -> None:
    """Killed between the two steps, the entry lies in both folders: it is accepted, and not sent again."""
    [stored] = desk.sign(1)
    [path] = desk.folder.glob("*.sealed")
    data = path.read_bytes()
    desk.outbox.update(accepted(stored, b"receipt"))
    path.write_bytes(data)
    assert desk.states() == ["accepted"]
    assert desk.outbox.waiting() == []


def test_an_accepted_entry_keeps_its_proven_receipt(desk: Desk) -> None:
    """The node sees exactly what was signed, and the receipt is kept."""
    [stored] = desk.sign(5)
    delivery, node = desk.send("accept")
    [outcome] = delivery.outcomes
    assert (outcome.index, outcome.problem, delivery.stopped) == (2, None, None)
    assert node.got[0].private == stored.submission.private
    assert desk.outbox.entries()[0].receipt == receipt(desk.log, 2)


def test_a_list_takes_one_signature_for_each_4096_records(desk: Desk) -> None:
    """10,000 rows are three entries, sent in their order."""
    records = [record(number=one) for one in range(10_000)]
    entries = sign_records(records, [f"row {one}" for one in range(10_000)], desk.author)
    assert [len(one.records) for one in entries] == [RECORDS_MAX, RECORDS_MAX, 10_000 - 2 * RECORDS_MAX]
    for stored in entries:
        desk.outbox.put(stored)
    assert [one.entry_id for one in desk.outbox.waiting()] == [one.entry_id for one in entries]


def test_what_is_signed_later_goes_later_whatever_the_clock_says(desk: Desk) -> None:
    """In one millisecond, after the clock was set back, and by another command: the order of signing."""
    signed = [one for number in range(0, 60, 10) for one in desk.sign(1, number=number)]
    desk.outbox = Outbox(desk.folder, staff_key(), desk.random)
    desk.author = replace(desk.author, now_ms=0)
    signed += desk.sign(1, number=90)
    assert [one.entry_id for one in desk.outbox.waiting()] == [one.entry_id for one in signed]
    _, node = desk.send(*["accept"] * len(signed))
    assert [one.entry.header.entry_id for one in node.got] == [one.entry_id for one in signed]


def test_a_node_that_does_not_answer_loses_nothing(desk: Desk) -> None:
    """Everything waits, and is sent in the order in which it was signed."""
    first, second = desk.sign(1), desk.sign(1, number=50)
    delivery, _ = desk.send(down())
    assert isinstance(delivery.stopped, Unreachable)
    assert desk.states() == ["waiting", "waiting"]
    later, node = desk.send("accept", "accept")
    assert {one.entry.header.entry_id for one in node.got} == {first[0].entry_id, second[0].entry_id}
    assert len(later.outcomes) == 2
    assert desk.states() == ["accepted", "accepted"]


def test_a_node_that_fails_in_the_middle_keeps_what_came_before(desk: Desk) -> None:
    """The first is accepted; the one that met a broken node and those behind it wait."""
    for number in range(3):
        desk.sign(1, number=10 * number)
    busy = Problem(status=503, code="node.store", detail="this node does not sequence now")
    delivery, _ = desk.send("accept", busy)
    assert len(delivery.outcomes) == 1
    assert sorted(desk.states()) == ["accepted", "waiting", "waiting"]


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503])
def test_an_answer_that_judges_nothing_leaves_the_entry_waiting(desk: Desk, status: int) -> None:
    """A proxy's page or a busy node is no refusal."""
    desk.sign(1)
    delivery, _ = desk.send(Response(status=status, body=b"<html>busy</html>"))
    assert delivery.stopped is not None
    assert desk.states() == ["waiting"]


def test_equal_facts_are_dropped_and_the_rest_is_signed_again(desk: Desk) -> None:
    """A list with three rows that stand already records the others, in an entry of its own."""
    [stored] = desk.sign(7)
    equal = [one.hash for one in stored.records[:3]]
    delivery, node = desk.send(lambda submission: repetition(equal), "accept")
    [outcome] = delivery.outcomes
    assert [one.record.hash for one in outcome.known] == equal
    assert [one.label for one in outcome.known] == ["list.csv row 2", "list.csv row 3", "list.csv row 4"]
    assert node.got[1].private is not None
    assert hashes(node.got[1].private.records) == hashes(stored.records[3:])
    [kept] = desk.outbox.entries()
    assert (kept.state, hashes(kept.records)) == ("accepted", hashes(stored.records[3:]))
    assert kept.labels == stored.labels[3:]


def test_a_list_imported_twice_adds_nothing_and_leaves_nothing_behind(desk: Desk) -> None:
    """All facts stand already: nothing is signed again, nothing waits."""
    [stored] = desk.sign(4)
    delivery, _ = desk.send(repetition([one.hash for one in stored.records]))
    [outcome] = delivery.outcomes
    assert (outcome.stored, len(outcome.known)) == (None, 4)
    assert desk.outbox.entries() == []


def test_two_clerks_at_once_are_told_one_after_the_other(desk: Desk) -> None:
    """While the rest is signed again, a colleague records more of it: that is dropped too."""
    [stored] = desk.sign(6)
    first, second = [one.hash for one in stored.records[:2]], [one.hash for one in stored.records[2:4]]
    delivery, _ = desk.send(repetition(first), repetition(second), "accept")
    [outcome] = delivery.outcomes
    assert {one.record.hash for one in outcome.known} == {*first, *second}
    assert desk.states() == ["accepted"]


def test_one_conflict_refuses_the_whole_entry_and_nothing_is_signed_again(desk: Desk) -> None:
    """Nothing is overwritten silently, and nothing of a refused list is written."""
    [stored] = desk.sign(4)
    both = Problem(
        status=409,
        code="record.identity",
        detail="in the way",
        obstacles=(
            *repetition([stored.records[0].hash]).obstacles,
            *conflict(stored.records[1].hash).obstacles,
        ),
    )
    delivery, node = desk.send(both)
    [outcome] = delivery.outcomes
    assert outcome.problem is not None
    assert len(node.got) == 1
    [kept] = desk.outbox.entries()
    assert (kept.state, kept.entry_id) == ("refused", stored.entry_id)
    assert "other content" in kept.reason


def test_a_node_cannot_make_us_drop_a_record_that_it_did_not_name(desk: Desk) -> None:
    """Obstacles about records that are not of this entry, or of no record, are a refusal like any other."""
    for problem in (
        repetition([seed("not ours")]),
        Problem(status=409, code="record.identity", detail="equal"),
    ):
        desk.sign(2, number=len(desk.outbox.entries()) * 10)
        desk.send(problem)
    assert desk.states() == ["refused", "refused"]


def test_a_refused_entry_is_sent_again_only_when_asked(desk: Desk) -> None:
    """After the registrar granted the key, the same signed entry goes through."""
    [stored] = desk.sign(1)
    desk.send(Problem(status=403, code="author.unknown", detail="no grant for the key"))
    assert desk.send()[0].outcomes == ()
    _, node = desk.send("accept", with_refused=True)
    assert node.got[0].entry.header.entry_id == stored.entry_id
    assert desk.states() == ["accepted"]


def test_a_receipt_of_another_entry_is_not_taken(desk: Desk) -> None:
    """A node that answers with somebody else's receipt has acknowledged nothing."""
    desk.sign(1)
    delivery, _ = desk.send(Response(status=200, body=receipt(desk.log, 1)))
    assert isinstance(delivery.stopped, Unproven)
    assert desk.states() == ["waiting"]


def test_a_receipt_by_another_log_key_is_not_taken(desk: Desk) -> None:
    """Only the log's own key acknowledges."""
    [stored] = desk.sign(1)
    impostor = World().logs["sport"]
    impostor.append(impostor.leaf(stored.submission.entry))
    delivery, _ = desk.send(Response(status=200, body=receipt(impostor, 2)))
    assert isinstance(delivery.stopped, Unproven)
    assert desk.states() == ["waiting"]


def test_an_answer_that_is_no_receipt_is_not_taken(desk: Desk) -> None:
    """200 and a web page is no acknowledgement."""
    desk.sign(1)
    delivery, _ = desk.send(Response(status=200, body=b"<html>welcome</html>"))
    assert delivery.stopped is not None
    assert desk.states() == ["waiting"]


def test_sending_twice_gives_the_same_place(desk: Desk) -> None:
    """The answer was lost after the node had sequenced: the second sending finds it there."""
    [stored] = desk.sign(1)
    desk.log.append(desk.log.leaf(stored.submission.entry))
    delivery, _ = desk.send("accept")
    assert delivery.outcomes[0].index == 2
    assert desk.log.state.size == 3


def test_a_disk_that_fails_before_sending_sends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is not sent."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError):
        desk.sign(1)
    monkeypatch.undo()
    assert desk.outbox.entries() == []


def test_records_and_entries_are_found_by_the_start_of_their_names(desk: Desk) -> None:
    """Six hex digits or more, of one thing only."""
    [stored] = desk.sign(3)
    assert desk.outbox.find(stored.entry_id.hex()[:8]) == (stored, None)
    found, one = desk.outbox.find(stored.records[1].hash.hex()[:12])
    assert (found, one) == (stored, stored.records[1])
    for bad in ("", "abc", "xyzxyz", "0" * 64, "../../etc"):
        with pytest.raises(Usage):
            desk.outbox.find(bad)


KILLED = """
import os, sys
from pathlib import Path
from tests.test_outbox import Desk
from tests.world import World
desk = Desk(World(), Path(sys.argv[1]))
for number in range(100_000):
    [stored] = desk.sign(1, number=number * 10)
    print(stored.entry_id.hex(), flush=True)
"""


@pytest.mark.parametrize("lines", [1, 4, 9, 17])
def test_kill_9_loses_nothing_that_was_kept(tmp_path: Path, lines: int) -> None:
    """Every entry that `put` returned for is there after the process was killed, and readable."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "outbox")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()
    told = [line for line in told if len(line) == 64]
    kept = {stored.entry_id.hex() for stored in Desk(World(), tmp_path / "outbox").outbox.entries()}
    assert set(told) <= kept
    assert len(told) >= lines
