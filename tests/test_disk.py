"""Disks that fill up, turn read-only or go back in time, and databases that are not the one last run on."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import StoreError, Unproven
from ledger.verify import verify
from node import handlers
from node.http_client import HttpClient
from node.lease import instance_path, read_instance
from node.protocol import Problem, parse_problem
from node.session import check_receipt
from node.sources import HttpSource
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, free_ports, post, wait_for
from tests.world import HOUR, key

DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, mounted by the test itself."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk takes root: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _put_data_on(disk: Path, agency: Agency) -> None:
    toml = agency.directory / "node.toml"
    toml.write_text(toml.read_text().replace('data = "data"', f'data = "{disk}"'))


def _fill(disk: Path) -> Path:
    """Take all that is left of a disk with one file."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for chunk in (65_536, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(chunk))
    return filler


def _taken(client: HttpClient, agency: Agency, pupil: str) -> int:
    """Enrol a pupil, which must work; return the index in the receipt after checking it."""
    submission = agency.enrol(pupil)
    receipt = post(client, agency, submission)
    assert isinstance(receipt, bytes), receipt
    return check_receipt(receipt, submission.entry.header.entry_id, agency.verifier)[0].index


def _refused(client: HttpClient, agency: Agency, pupil: str) -> Problem:
    """Enrol a pupil, which must fail as the node's own trouble."""
    answer = post(client, agency, agency.enrol(pupil))
    assert isinstance(answer, Problem) and answer.status == 503, answer
    return answer


def _check_trouble_and_recovery(
    node: RunningNode, spoil: Callable[[], object], mend: Callable[[], object], *words: str
) -> None:
    """While it is spoilt nothing is acknowledged and nothing moves; mended, it goes on where it was."""
    agency = node.agency
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
        assert _taken(client, agency, "anna") == 2
        spoil()
        for pupil in ("boris", "vera", "boris"):
            problem = _refused(client, agency, pupil)
            assert any(word in problem.detail for word in words), problem
            wait_for(lambda: node.status()["size"] == 3, "publication")
            assert str(agency.config().data) in problem.detail
        mend()
        assert _taken(client, agency, "boris") == 3
        assert _taken(client, agency, "vera") == 4
        wait_for(lambda: node.status()["logs"][0]["size"] == 5, "publication")
        report = verify(HttpSource(client), agency.world.ledger_id)
        assert (report.verdict, report.entries) == ("verified", 5)


def test_a_full_disk_is_said_and_nothing_is_acknowledged_until_it_is_freed(
    tmp_path: Path, nodes: Nodes, small_disk: Path
) -> None:
    """503 that says to free space; the size stays, reads go on, the next receipt is the next index."""
    agency = found_agencies(tmp_path)["district"]
    _put_data_on(small_disk, agency)
    node = nodes.start(agency)
    filler = small_disk / "filler"
    _check_trouble_and_recovery(node, lambda: _fill(small_disk), filler.unlink, "free some space")
    node.kill()
    node = nodes.start(agency)
    wait_for(lambda: node.status()["size"] == 5, "publication")


def test_a_file_size_limit_is_said_and_nothing_is_acknowledged_until_it_is_lifted(
    tmp_path: Path, nodes: Nodes
) -> None:
    """The same where nothing can be mounted: the running process may write no byte further in any file."""
    agency = found_agencies(tmp_path)["district"]
    node = nodes.start(agency)
    soft, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)

    def limit(bytes_max: int) -> None:
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (bytes_max, hard))

    _check_trouble_and_recovery(node, lambda: limit(4096), lambda: limit(soft), "space", "large")


def test_a_node_on_a_read_only_disk_says_so_and_goes_on_when_it_is_writable(
    tmp_path: Path, nodes: Nodes, small_disk: Path
) -> None:
    """It does not start, says what to do, and has changed nothing."""
    agency = found_agencies(tmp_path)["district"]
    _put_data_on(small_disk, agency)
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
    node.kill()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused = nodes.start(agency, wait=False)
    assert refused.process.wait(30) != 0
    said = refused.log.read_text()
    assert "Traceback" not in said
    assert "writ" in said and str(small_disk) in said, said[-1000:]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        assert _taken(client, agency, "anna") == 2


def test_a_node_does_not_start_on_a_full_disk_and_does_when_it_is_freed(
    tmp_path: Path, nodes: Nodes, small_disk: Path
) -> None:
    """The lease cannot be taken: it says so and ends, and nothing is broken."""
    agency = found_agencies(tmp_path)["district"]
    _put_data_on(small_disk, agency)
    nodes.start(agency).kill()
    filler = _fill(small_disk)
    refused = nodes.start(agency, wait=False)
    assert refused.process.wait(30) != 0
    said = refused.log.read_text()
    assert "free some space" in said and "Traceback" not in said, said[-1000:]
    filler.unlink()
    assert nodes.start(agency).status()["size"] == 1


def _history(agency: Agency) -> None:
    """A log of four entries, whose older copies lie in the folder ``older``."""
    node = agency.node()
    older = agency.directory / "older"
    for step in (agency.grant(), agency.enrol("anna")):
        assert _status_of(agency, node, step) == 200
    node.close()
    shutil.copytree(agency.directory / "data", older)
    node = agency.node()
    assert _status_of(agency, node, agency.enrol("boris")) == 200
    node.close()


def _status_of(agency: Agency, node: handlers.Served, submission: object) -> int:
    [response] = handlers.answer_submissions(node, [agency.seal(submission)], HOUR)  # type: ignore[arg-type]
    return response.status


def _delete_log(agency: Agency) -> None:
    for file in agency.log_path.parent.glob("log.db*"):
        file.unlink()


def _restore_older_log(agency: Agency) -> None:
    _delete_log(agency)
    shutil.copy(agency.directory / "older" / "log.db", agency.log_path)


def _restore_without_record(agency: Agency) -> None:
    agency.log_path.with_suffix(".instance").unlink()


def _move_to_another_path(agency: Agency) -> None:
    moved = agency.directory.with_name("moved")
    shutil.copytree(agency.directory, moved)
    agency.directory = moved


def _put_another_log_in_place(agency: Agency) -> None:
    """The same number of entries, of another history under the same keys."""
    _delete_log(agency)
    agency.log_path.with_suffix(".instance").rename(agency.directory / "kept")
    agency.log_path.with_name("keys.db").unlink()
    node = agency.node()
    for step in (agency.grant(), agency.enrol("vera"), agency.enrol("gleb")):
        assert _status_of(agency, node, step) == 200
    node.close()
    (agency.directory / "kept").replace(agency.log_path.with_suffix(".instance"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_restore_older_log, "an older copy was restored"),
        (_restore_without_record, "no instance record"),
        (_move_to_another_path, "this database last ran on"),
        (_put_another_log_in_place, "are not those that this node last signed"),
    ],
)
def test_a_database_not_the_one_last_run_on_never_sequences_again(
    tmp_path: Path, spoil: Callable[[Agency], None], words: str
) -> None:
    """Not at the first start and not at the second, not on the operator's word; reading goes on."""
    agency = found_agencies(tmp_path)["district"]
    _history(agency)
    spoil(agency)
    for _ in range(2):
        node = agency.node()
        size = node.sequencer.state.size
        [response] = handlers.answer_submissions(node, [agency.seal(agency.enrol("dina"))], HOUR)
        problem = parse_problem(response)
        assert (problem.status, node.found(HOUR)) == (503, False)
        assert words in problem.detail, problem.detail
        node.publish()
        assert node.sequencer.state.size == size
        assert node.tree.read(f"{agency.origin.path}/checkpoint") is not None
        node.close()


def test_a_log_database_that_was_deleted_is_not_founded_again(tmp_path: Path) -> None:
    """The instance record remembers that this node has signed: a second opening would be a fork."""
    agency = found_agencies(tmp_path)["district"]
    _history(agency)
    _delete_log(agency)
    for _ in range(2):
        node = agency.node()
        assert node.sequencer.state.size == 0
        assert "signed 4" in str(node.waiting)
        node.close()


def test_before_an_opening_is_signed_the_instance_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it founds, its database lost: else it would look new, and sign a second opening."""
    agency = found_agencies(tmp_path)["district"]
    node = agency.node(found=False)

    def die(*_: object) -> None:
        raise StoreError("killed while it signs")

    monkeypatch.setattr(node.sequencer, "open_era", die)
    with pytest.raises(StoreError, match="killed"):
        node.found(HOUR)
    node.close()
    record = read_instance(instance_path(agency.log_path))
    assert record is not None and record.size == 0


def test_a_key_database_that_was_deleted_stops_the_node(tmp_path: Path, nodes: Nodes) -> None:
    """A new one in its place would find no child: the node says so and ends."""
    agency = found_agencies(tmp_path)["district"]
    _history(agency)
    agency.log_path.with_name("keys.db").unlink()
    refused = nodes.start(agency, wait=False)
    assert refused.process.wait(30) != 0
    said = refused.log.read_text()
    assert "put the one that belongs to this file in place" in said and "Traceback" not in said


def test_a_folder_lost_whole_is_not_founded_again_while_nobody_can_say_that_it_is_new(tmp_path: Path) -> None:
    """Without its instance record it looks like a new one: only others, or the operator, know."""
    agencies = found_agencies(tmp_path, ("district", "sport", "centre"))
    district = agencies["district"]
    _history(district)
    note = _newest_note(district)
    shutil.rmtree(district.directory / "data")
    node = district.node(on_word=False)
    assert node.sequencer.state.size == 0 and "waiting for 1 more" in str(node.waiting)
    node.hear("sport", note)
    assert "sport holds 4 entries of this log, only 0 are here" in str(node.waiting)
    assert not node.found(HOUR)
    node.close()


def test_a_new_log_is_founded_once_others_hold_nothing_of_it(tmp_path: Path) -> None:
    """n - q + 1 empty answers are enough, and an answer of a key that is not the log's is none."""
    agencies = found_agencies(tmp_path, ("district", "sport", "centre"))
    district = agencies["district"]
    node = district.node(on_word=False)
    forged = sign_checkpoint(
        Checkpoint(origin=str(district.origin), size=9, root=bytes(32)), key("sport log")
    )
    with pytest.raises(Unproven):
        node.hear("sport", forged)
    assert not node.found(HOUR)
    node.hear("sport", None)
    assert node.found(HOUR) and node.waiting is None
    node.close()


def _newest_note(agency: Agency) -> bytes:
    node = agency.node()
    note = node.store.newest_checkpoint(str(agency.origin))
    node.close()
    assert note is not None
    return note


def test_a_log_key_that_signed_more_elsewhere_signs_no_more_here(tmp_path: Path, nodes: Nodes) -> None:
    """A whole folder restored, instance record and all: the peer's copy gives it away, even on the word."""
    agencies = found_agencies(tmp_path, ("district", "sport", "centre"))
    district, sport = agencies["district"], agencies["sport"]
    _history(district)
    peer = nodes.start(sport, wait=False)
    node = nodes.start(district)
    nodes.wait_ready(peer)
    wait_for(lambda: peer.status()["logs"][1]["size"] == 4, "the mirror")
    assert node.stop() == 0
    shutil.rmtree(district.directory / "data")
    (district.directory / "older").rename(district.directory / "data")
    for words in ((), ("--alone",)):
        node = nodes.start(district, *words)
        wait_for(lambda running=node: not running.status()["is_sequencing"], "the peer's answer")
        with HttpClient(district.url) as client:
            problem = _refused(client, district, "dina")
        assert "sport holds 4 entries of this log, only 3 are here" in problem.detail
        assert node.stop() == 0


def test_of_two_processes_on_one_database_the_older_commits_nothing(tmp_path: Path, nodes: Nodes) -> None:
    """The newer takes the lease; the older says who has it, goes on answering, and writes nothing."""
    agency = found_agencies(tmp_path)["district"]
    older = nodes.start(agency)
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
        newer = _second_process(agency, nodes)
        assert "has taken over this database" in _refused(client, agency, "anna").detail
        with HttpClient(newer.url) as other:
            assert _taken(other, agency, "anna") == 2
        assert _refused(client, agency, "boris").code == "node.conflict"
    assert older.stop() == 0
    assert newer.stop() == 0
    assert nodes.start(agency).status()["size"] == 3


def _second_process(agency: Agency, nodes: Nodes) -> RunningNode:
    """A node on the same database at another port."""
    [port] = free_ports(1)
    toml = agency.directory / "node.toml"
    text = toml.read_text()
    toml.write_text(text.replace(f'listen = "127.0.0.1:{agency.port}"', f'listen = "127.0.0.1:{port}"'))
    second = nodes.start(Agency(agency.world, agency.name, agency.directory, port))
    toml.write_text(text)
    return second


def test_a_node_started_twice_by_mistake_does_not_stop_the_one_that_runs(
    tmp_path: Path, nodes: Nodes
) -> None:
    """The second finds the port taken and ends before it takes the lease."""
    agency = found_agencies(tmp_path)["district"]
    nodes.start(agency)
    second = nodes.start(agency, wait=False)
    assert second.process.wait(30) == 5
    assert "cannot listen" in second.log.read_text()
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)


def test_a_data_folder_that_cannot_be_made_is_no_matter_of_ports(tmp_path: Path, nodes: Nodes) -> None:
    """The message names the folder, not the address."""
    agency = found_agencies(tmp_path)["district"]
    (agency.directory / "data").write_text("a file where the folder should be")
    refused = nodes.start(agency, wait=False)
    assert refused.process.wait(30) != 0
    said = refused.log.read_text()
    assert "data" in said and "listen" not in said and "Traceback" not in said


def test_the_same_folder_by_another_name_is_no_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a dot, another working folder: the instance record compares real paths."""
    agency = found_agencies(tmp_path)["district"]
    _history(agency)
    (tmp_path / "link").symlink_to(agency.directory)
    monkeypatch.chdir(tmp_path)
    for name in ("district", "./district/../district", "link", str(agency.directory)):
        agency.directory = Path(name)
        node = agency.node()
        assert node.waiting is None, name
        node.close()
    assert os.getcwd() == str(tmp_path)
