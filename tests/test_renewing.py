"""`cli.renewing`: receipts become certified ones; what a node lost goes again, what it changed is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cli.outbox import Outbox, Stored, accepted, refused
from cli.renewing import Renewal, renew
from cli.sending import sign_records
from ledger import codec, keys, merkle
from ledger.card_entries import format_card_entries
from ledger.entry import Entry
from ledger.errors import StoreError
from ledger.leaf import parse_leaf
from ledger.proof import TlogProof, format_proof
from ledger.record import Record
from node.protocol import Problem, Procedure, Request, Response, Unreachable, format_problem
from node.submission import open_submission
from tests.spoiled import flipped
from tests.staff_side import AGENCY, author, conflict, down, randomness, staff_key, target
from tests.world import Log, World, record, seed

QUORUM = ("centre", "sport", AGENCY)
Answer = Response | Exception


def proof(log: Log, entry_id: bytes, *cosigners: str) -> bytes:
    """The receipt of an entry under the log's checkpoint now."""
    hashes = [merkle.leaf_hash(leaf) for leaf in log.leaves]
    index = [parse_leaf(leaf).header.entry_id for leaf in log.leaves].index(entry_id)
    path = tuple(merkle.prove_inclusion_in(hashes, index))
    note = log.cosigned(cosigners)
    return format_proof(TlogProof(extra=log.leaves[index], index=index, hashes=path, checkpoint=note))


@dataclass
class Node:
    """What a node of the district would answer; ``cosigners`` have cosigned its newest checkpoint."""

    log: Log
    cosigners: tuple[str, ...] = ()
    changed: dict[str, Answer] = field(default_factory=dict)
    """Other answers, by the beginning of a path or by method."""
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.asked.append(f"{request.method} {request.path}")
        for start, answer in self.changed.items():
            if self.asked[-1].startswith(start):
                return answer
        if request.method == "POST":
            return self._take(open_submission(request.body, seed(f"{AGENCY} sealing")).entry)
        if request.path == "/v1/cards":
            openings = [parse_leaf(one.leaves[0]).entry for one in self.log.world.logs.values()]
            return Response(status=200, body=format_card_entries(openings))
        if request.path.startswith("/v1/entries/"):
            return self._receipt(bytes.fromhex(request.path.rpartition("/")[2]))
        data = self.log.files().get(request.path[1:])
        missing = format_problem(Problem(status=404, code="node.path", detail="not here"))
        return missing if data is None else Response(status=200, body=data[request.offset :])

    def _take(self, entry: Entry) -> Response:
        if entry.header.entry_id not in self._ids():
            self.log.take(self.log.leaf(entry))
        return Response(status=200, body=proof(self.log, entry.header.entry_id))

    def _receipt(self, entry_id: bytes) -> Response:
        if entry_id not in self._ids():
            return format_problem(Problem(status=404, code="node.entry", detail="no entry"))
        return Response(status=200, body=proof(self.log, entry_id, *self.cosigners))

    def _ids(self) -> list[bytes]:
        return [parse_leaf(leaf).header.entry_id for leaf in self.log.leaves]


def drive(procedure: Procedure[Renewal], answer: Callable[[Request], Answer]) -> Renewal:
    """Run a client procedure against a node that may also not answer."""
    try:
        request = next(procedure)
        while True:
            given = answer(request)
            request = procedure.throw(given) if isinstance(given, Exception) else procedure.send(given)
    except StopIteration as stop:
        renewal: Renewal = stop.value
        return renewal


@dataclass
class Desk:
    """An outbox whose entries a node has accepted."""

    folder: Path
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.random = randomness()
        self.author = author(staff_key(), self.world, self.random)
        self.node = Node(self.log)

    @property
    def log(self) -> Log:
        return self.world.logs[AGENCY]

    @property
    def outbox(self) -> Outbox:
        """As the next command opens it."""
        return Outbox(self.folder, staff_key(), self.random)

    def accept(self, *records: Record) -> Stored:
        """Sign an entry and let the node take it, with a plain receipt."""
        [stored] = sign_records(records, ["typed"] * len(records), self.author)
        outbox = self.outbox
        outbox.put(stored)
        self.log.take(self.log.leaf(stored.submission.entry))
        return outbox.update(accepted(outbox.waiting()[0], proof(self.log, stored.entry_id)))

    def look(self, count_max: int = 16) -> Renewal:
        """What a command would find, against this node."""
        return drive(self.renewing(self.outbox, count_max), self.node.answer)

    def renewing(self, outbox: Outbox, count_max: int = 16) -> Procedure[Renewal]:
        return renew(outbox, target(self.log), self.world.roster, self.random, count_max)

    def found(self, count_max: int = 16) -> list[str]:
        return [one.word for one in self.look(count_max).findings]

    def only(self) -> Stored:
        [stored] = self.outbox.entries()
        return stored

    def lose(self, count: int = 1) -> None:
        """The node is restored to a backup without its last leaves."""
        del self.log.leaves[-count:]
        self.log.rebuild()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "outbox")


def test_a_quorum_s_receipt_takes_the_place_of_the_plain_one(desk: Desk) -> None:
    """Two of three are no quorum of three; once it is certified, nobody is asked any more."""
    plain = desk.accept(record())
    desk.node.cosigners = QUORUM[:2]
    assert desk.found() == [] and desk.only() == plain
    desk.node.cosigners = QUORUM
    assert desk.found() == ["certified"]
    kept = desk.only()
    assert kept.receipt == proof(desk.log, plain.entry_id, *QUORUM)
    assert set(kept.cosigned) == set(QUORUM) and (kept.word, kept.earlier) == ("certified", ())
    desk.node.asked.clear()
    assert desk.found() == [] and desk.node.asked == []


def test_a_certified_receipt_under_a_longer_log_must_continue_the_plain_one(desk: Desk) -> None:
    """The proof is computed from the tiles that the node serves, once for all entries of two checkpoints."""
    for number in range(3):
        desk.accept(record(number=number, term=f"q{number + 1}"))
    desk.node.cosigners = QUORUM
    assert desk.found() == ["certified"] * 3
    assert not any(one.earlier for one in desk.outbox.entries())
    assert sum("/tile/0/" in one for one in desk.node.asked) == 2


def test_another_history_below_the_same_leaf_is_told_and_both_receipts_stay(desk: Desk) -> None:
    """A forging owner changes what lies below, keeps the entry's leaf and place, and finds a quorum."""
    plain = desk.accept(record())
    leaves = desk.log.leaves
    leaves[1] = desk.log.leaf(desk.log.entry([desk.log.grant("stranger")], by="registrar"))
    desk.log.append(desk.log.leaf(desk.log.entry([desk.log.grant("another")], by="registrar")))
    desk.node.cosigners = QUORUM
    assert desk.found() == ["contradicts"]
    kept = desk.only()
    assert kept.earlier == (plain.receipt,)
    assert kept.receipt == proof(desk.log, plain.entry_id, *QUORUM)


def test_the_same_entry_at_another_place_is_told_and_both_receipts_stay(desk: Desk) -> None:
    """Told once: the next command has nothing new to say. The content stays as it was."""
    plain = desk.accept(record())
    desk.lose()
    desk.log.take(desk.log.leaf(desk.log.entry([desk.log.grant("another")], by="registrar")))
    desk.log.take(desk.log.leaf(plain.submission.entry))
    assert desk.found() == ["contradicts"]
    kept = desk.only()
    assert (kept.earlier, kept.records, kept.word) == ((plain.receipt,), plain.records, "accepted")
    assert desk.found() == []
    desk.node.cosigners = QUORUM
    assert desk.found() == ["certified"] and desk.only().earlier == (plain.receipt,)


def test_tiles_that_are_not_there_decide_nothing(desk: Desk) -> None:
    """No history is believed unproven, and no owner accused for what it has not published yet."""
    plain = desk.accept(record())
    desk.log.take(desk.log.leaf(desk.log.entry([desk.log.grant("another")], by="registrar")))
    desk.node.cosigners = QUORUM
    desk.node.changed["GET /log/"] = format_problem(Problem(status=404, code="node.path", detail="no"))
    assert desk.found() == [] and desk.only() == plain


def test_a_receipt_that_proves_nothing_is_told_and_not_kept(desk: Desk) -> None:
    """Each byte of it changed, or of another entry."""
    plain = desk.accept(record())
    other = desk.accept(record(term="q2"))
    path = f"GET /v1/entries/{plain.entry_id.hex()}"
    good = proof(desk.log, plain.entry_id, *QUORUM)
    spoiled = [*list(flipped(good))[::97], proof(desk.log, other.entry_id, *QUORUM), b"<html>"]
    for one in spoiled:
        desk.node.changed[path] = Response(status=200, body=one)
        renewal = desk.look()
        kept = next(one for one in desk.outbox.entries() if one.entry_id == plain.entry_id)
        assert kept.receipt == plain.receipt
        assert [one.word for one in renewal.findings] in (["false"], [])  # a line of one cosigner spoiled
    assert [one.word for one in renewal.findings] == ["false"]


def test_what_the_node_lost_is_sent_again_as_it_was_signed(desk: Desk) -> None:
    """The same bytes; where they stand at another place now, the receipt of the old place stays too."""
    plain = desk.accept(record())
    desk.lose()
    assert desk.found() == ["sent_again"]
    assert desk.only() == plain  # the same leaf at the same place: nothing contradicts anything
    desk.lose()
    desk.log.take(desk.log.leaf(desk.log.entry([desk.log.grant("another")], by="registrar")))
    assert desk.found() == ["sent_again"]
    assert parse_leaf(desk.log.leaves[-1]).entry == plain.submission.entry
    assert desk.only().earlier == (plain.receipt,)


def test_what_was_lost_and_is_refused_now_is_kept_with_its_receipt(desk: Desk) -> None:
    """It lies among the refused with the reason, and ``--again`` sends it."""
    plain = desk.accept(record())
    desk.lose()
    desk.node.changed["POST"] = format_problem(conflict(plain.records[0].hash))
    assert desk.found() == ["refused"]
    kept = desk.only()
    assert (kept.state, kept.receipt, kept.records) == ("refused", plain.receipt, plain.records)
    assert "record.identity" in kept.reason
    assert desk.outbox.waiting(with_refused=True) == [kept]


BUSY = format_problem(Problem(status=503, code="node.store", detail="this node does not sequence now"))


def test_a_node_that_lost_it_and_takes_nothing_now_is_asked_again(desk: Desk) -> None:
    """It may be fetching its log back."""
    plain = desk.accept(record())
    desk.lose()
    desk.node.changed["POST"] = BUSY
    assert desk.found() == ["lost"] and desk.only() == plain
    desk.node.changed.clear()
    assert desk.found() == ["sent_again"]


@pytest.mark.parametrize(
    "changed",
    [
        {"GET /v1/cards": format_problem(Problem(status=404, code="node.path", detail="not here"))},
        {"GET /v1/cards": Response(status=200, body=b"<html>log in</html>")},
        {"GET /v1/cards": Response(status=200, body=codec.encode([]))},
        {"GET /v1/entries": Response(status=404, body=b"<html>no such page</html>")},
        {"GET /v1/entries": BUSY},
        {"GET": down()},
    ],
)
def test_a_node_that_cannot_say_leaves_everything_as_it_is(desk: Desk, changed: dict[str, Answer]) -> None:
    """An older node, a proxy's page, a busy one, none at all: nothing is asked twice, nothing sent."""
    plain = [desk.accept(record(term=term)) for term in ("q1", "q2")]
    desk.node.cosigners, desk.node.changed = QUORUM, changed
    assert desk.look().findings == ()
    assert desk.outbox.entries() == plain
    assert len(desk.node.asked) <= 2 and not any("POST" in one for one in desk.node.asked)


def test_a_log_with_a_new_key_waits_for_staff_connect(desk: Desk) -> None:
    """By the old key the new receipts would seem false."""
    plain = desk.accept(record())
    old = replace(target(desk.log), log=target(desk.world.logs["sport"]).log)
    drive(renew(desk.outbox, old, desk.world.roster, desk.random, 16), desk.node.answer)
    assert desk.node.asked == ["GET /v1/cards"] and desk.only() == plain


def test_in_a_ledger_of_one_nobody_is_asked(tmp_path: Path) -> None:
    """Nobody certifies there: everything stays accepted."""
    desk = Desk(tmp_path / "outbox", World([AGENCY]))
    desk.accept(record())
    assert desk.look() == Renewal() and desk.node.asked == []


def test_a_command_asks_about_so_many_and_the_next_about_others(desk: Desk) -> None:
    """However many there are, and whatever becomes of the first ones."""
    ids = [
        desk.accept(record(term=f"q{number % 4 + 1}", subject=f"s{number}")).entry_id for number in range(7)
    ]
    asked = set()
    for _ in range(3):
        desk.node.asked.clear()
        assert desk.found(3) == []
        now = {one.rpartition("/")[2] for one in desk.node.asked if "/v1/entries/" in one}
        assert len(now) == 3
        asked |= now
    assert asked == {one.hex() for one in ids}


def test_what_is_certified_is_not_opened(desk: Desk) -> None:
    """Thousands of entries cost a listing: a file that cannot even be opened does not matter here."""
    desk.accept(record())
    desk.node.cosigners = QUORUM
    assert desk.found() == ["certified"]
    [path] = (desk.folder / "certified").iterdir()
    path.write_bytes(b"damaged")
    desk.node.cosigners = ()
    desk.accept(record(term="q2"))
    assert desk.found() == []


def test_a_stop_between_any_two_steps_leaves_one_entry(desk: Desk) -> None:
    """In two folders it lies where less is left to do; sent or asked about again, it does no harm."""
    plain = desk.accept(record())
    [file] = (desk.folder / "accepted").iterdir()
    data = file.read_bytes()
    desk.node.cosigners = QUORUM
    desk.look()
    for folder in (desk.folder / "accepted", desk.folder):
        (folder / file.name).write_bytes(data)
        assert desk.only().is_certified and desk.outbox.waiting(with_refused=True) == []
        assert desk.found() == []
    (desk.folder / "certified" / file.name).unlink()
    (desk.folder / file.name).unlink()
    desk.outbox.update(refused(plain, "record.date: no"))
    (desk.folder / "accepted" / file.name).write_bytes(data)
    assert desk.only() == plain


def test_a_disk_that_takes_nothing_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is forgiven everything, one's own disk nothing; the plain receipt is still there."""
    plain = desk.accept(record())
    desk.node.cosigners = QUORUM

    def full(path: Path, data: bytes, **_: object) -> None:
        raise StoreError(f"{path}: no space left")

    with monkeypatch.context() as patch:
        patch.setattr("cli.outbox.replace_file", full)
        with pytest.raises(StoreError):
            desk.look()
    assert desk.only() == plain


def test_an_outbox_of_the_version_before_is_read(desk: Desk) -> None:
    """Its accepted entries are looked after like all others."""
    plain = desk.accept(record())
    [file] = (desk.folder / "accepted").iterdir()
    secret = desk.outbox._key
    value = codec.decode(keys.unlock(secret, file.read_bytes()), bytes_max=1 << 20)
    assert isinstance(value, list)
    file.write_bytes(keys.lock(secret, codec.encode(value[:-2]), os.urandom(keys.NONCE_BYTES)))
    assert desk.only() == plain
    desk.node.cosigners = QUORUM
    assert desk.found() == ["certified"]


def test_a_node_that_goes_away_ends_the_round(desk: Desk) -> None:
    """What was certified before it stays so; the others are not asked about any more in this command."""
    for term in ("q1", "q2", "q3"):
        desk.accept(record(term=term))
    desk.node.cosigners = QUORUM
    entries: list[str] = []

    def leaving(request: Request) -> Answer:
        entries.extend([request.path] if "/v1/entries/" in request.path else [])
        return down() if len(entries) > 1 else desk.node.answer(request)

    outbox = desk.outbox
    renewal = drive(desk.renewing(outbox), leaving)
    assert [one.word for one in renewal.findings] == ["certified"]
    assert isinstance(renewal.stopped, Unreachable) and len(entries) == 2
    assert drive(desk.renewing(outbox), desk.node.answer) == Renewal()
