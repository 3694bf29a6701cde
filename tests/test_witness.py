"""The witness: the official vectors, one transaction, and what a node cosigns at all."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cosignature import check_cosignature, cosign
from ledger.errors import LedgerError, Malformed, StoreError, Undecided, Unproven
from ledger.governance import Card, format_governance
from ledger.keys import SigningKey
from ledger.merkle import EMPTY_ROOT
from ledger.note import (
    TYPE_COSIGNATURE,
    Note,
    NoteVerifier,
    format_vkey,
    parse_line,
    parse_note,
    parse_vkey,
    verifier_of,
)
from node import handlers, witness
from node.cosigning import format_add_checkpoint
from node.database import Database
from node.key_file import COST_MIN, write_key_file
from node.protocol import Request, Response
from node.submission import Submission
from node.witness import OtherSize, UnknownLog, Untrusted, Witness, parse_add_checkpoint
from tests.agencies import NODE_SECRETS, PASSPHRASE, REPOSITORY
from tests.witnesses import NOW_S, Ledger, ledger, names_on
from tests.world import HOUR, key, seed

OFFICIAL_LOG = (
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562+5202289b"
    "+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"
)
OFFICIAL_WITNESS = "example.com/witness+10a1c019+BGSEitir7W6FmBs7OHWyUrh2frtLAvcDrKOx5xu9ao5Q"
OFFICIAL_SEED = bytes.fromhex("31ffc2116ecbe003acaa800ab70757bd7d53206e3febef6a6d0796d95530b34f")
ORIGIN = OFFICIAL_LOG.split("+", 1)[0]
ROOTS = {
    1: (
        "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
    ),
    3: (
        "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
        "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
    ),
    5: (
        "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
        "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
    ),
}
LEAF_HASHES = [bytes([0x2A, index]) + bytes(30) for index in range(5)]
PROOF_3 = [base64.b64encode(one).decode() for one in LEAF_HASHES[1:3]]
PROOF_5 = [
    base64.b64encode(LEAF_HASHES[2]).decode(),
    base64.b64encode(LEAF_HASHES[3]).decode(),
    "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=",
    base64.b64encode(LEAF_HASHES[4]).decode(),
]


def official(size: int) -> str:
    root, signature = ROOTS[size]
    return f"{ORIGIN}\n{size}\n{root}\n\n— {ORIGIN} {signature}\n"


def body(old: int | str, proof: list[str], note: str) -> bytes:
    return "".join([f"old {old}\n", *(f"{one}\n" for one in proof), "\n", note]).encode()


@dataclass
class AnyLogs:
    """Logs of which only the keys are known: the leaves are whatever the notes say."""

    keys: dict[str, NoteVerifier]
    held: bool = True
    kept: list[str] = field(default_factory=list)

    def log_key(self, origin: str) -> NoteVerifier:
        if origin not in self.keys:
            raise UnknownLog(origin)
        return self.keys[origin]

    def check(self, checkpoint: Checkpoint, note: Note, *, is_first: bool, now_s: int) -> None:
        if not self.held:
            raise Undecided("the leaves are not here yet")

    def is_after(self, origin: str, latest: witness.Latest) -> bool:
        return True

    def keep(self, note: Note, line: str) -> None:
        self.kept.append(line)


@dataclass
class Server:
    """A witness with a database, asked by bodies."""

    database: Database
    logs: AnyLogs
    witness: Witness

    def ask(self, data: bytes, now_s: int = NOW_S) -> Response:
        return handlers.answer_add_checkpoint(self, data, now_s)  # type: ignore[arg-type]

    def rows(self) -> list[Any]:
        return self.database.rows("SELECT * FROM cosigned")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Database(tmp_path / "witness.db", [witness.SCHEMA]) as database:
        logs = AnyLogs({ORIGIN: parse_vkey(OFFICIAL_LOG)})
        made = Witness(database, SigningKey(OFFICIAL_SEED), "example.com/witness", logs)
        yield Server(database, logs, made)


def check_line(response: Response, size: int, now_s: int = NOW_S) -> None:
    """The answer is one good cosignature by the official key, dated by our clock."""
    assert (response.status, response.body.count(b"\n")) == (200, 1)
    line = parse_line(response.body.decode().removesuffix("\n"))
    text = parse_note(official(size).encode()).text
    assert check_cosignature(text, line, parse_vkey(OFFICIAL_WITNESS)) == now_s


def test_the_official_sequence_is_answered_exactly(server: Server) -> None:
    """Vectors of the C2SP reference witness, in their order."""
    assert format_vkey(
        verifier_of("example.com/witness", SigningKey(OFFICIAL_SEED).public_key, TYPE_COSIGNATURE)
    ) == (OFFICIAL_WITNESS)
    check_line(server.ask(body(0, [], official(1))), 1)
    loose = official(3).replace("6go=\n", "6gx=\n")
    assert loose != official(3)
    assert server.ask(body(1, [], loose)).status == 403
    assert server.ask(body(1, [], official(3))).status == 422
    check_line(server.ask(body(1, PROOF_3, official(3))), 3)
    response = server.ask(body(1, PROOF_5, official(5)))
    assert (response.status, response.body) == (409, b"3\n")
    assert response.content_type == "text/x.tlog.size"
    check_line(server.ask(body(3, PROOF_5, official(5))), 5)
    response = server.ask(body(0, [], official(5)))
    assert (response.status, response.body) == (409, b"5\n")
    assert len(server.logs.kept) == 3


def test_what_was_cosigned_is_shown_by_the_hash_of_its_origin(server: Server) -> None:
    """The log's signature and the witness's, and nothing of a log never cosigned."""
    note = official(1) + "— example.com/stranger AAAAAAAA\n"
    server.ask(body(0, [], note))
    shown = server.witness.checkpoint(sha256(ORIGIN.encode()).digest())
    assert shown is not None and names_on(shown) == [ORIGIN, "example.com/witness"]
    assert server.witness.checkpoint(sha256(b"other").digest()) is None


REFUSED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "no empty line": (body(1, PROOF_3, official(3)).replace(b"\n\n", b"\n"), 400),
    "CRLF": (body(1, PROOF_3, official(3)).replace(b"\n", b"\r\n"), 400),
    "CRLF in the head alone": (b"old 1\r\n" + body(1, PROOF_3, official(3))[6:], 400),
    "another word": (b"new 1\n\n" + official(3).encode(), 400),
    "a leading zero": (body("01", PROOF_3, official(3)), 400),
    "a sign": (body("+1", PROOF_3, official(3)), 400),
    "a size in another script": (body("\u0661", PROOF_3, official(3)), 400),
    "a size beyond 2^63": (body(2**63, PROOF_3, official(3)), 400),
    "an old beyond the checkpoint": (body(4, PROOF_3, official(3)), 400),
    "64 hashes": (body(1, [PROOF_3[0]] * 64, official(3)), 400),
    "a hash too short": (body(1, ["AAAA"], official(3)), 400),
    "a hash in loose base64": (body(1, [PROOF_3[0].replace("A=", "B=")], official(3)), 400),
    "a checkpoint that is none": (b"old 1\n\nhello\n\n" + "— x AAAAAAAA\n".encode(), 400),
    "no signature at all": (body(1, PROOF_3, official(3).split("\n\n")[0] + "\n"), 400),
    "a huge body": (body(1, PROOF_3, official(3)) + b"\n" * 300_000, 400),
    "10,000 lines": (body(1, PROOF_3, official(3) + "— a AAAAAAAA\n" * 10_000), 400),
    "only strangers' signatures": (body(1, PROOF_3, official(3).replace("— sigsum", "— zigsum")), 403),
    "a signature of another size": (
        body(1, PROOF_3, official(3).replace(ROOTS[3][1], ROOTS[5][1])),
        403,
    ),
    "63 hashes": (body(1, [PROOF_3[0]] * 63, official(3)), 422),
    "a wrong proof": (body(1, PROOF_3[::-1], official(3)), 422),
    "a proof for the same size": (body(1, PROOF_3, official(1)), 422),
    "an unknown log": (
        body(0, [], sign_checkpoint(Checkpoint(origin="x", size=0, root=EMPTY_ROOT), key("x")).decode()),
        404,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_is_no_next_step_is_refused_and_changes_nothing(server: Server, name: str) -> None:
    """Each with the status of the specification; the state stays at size 1."""
    server.ask(body(0, [], official(1)))
    before = server.rows()
    data, status = REFUSED[name]
    assert server.ask(data).status == status
    assert server.rows() == before and len(server.logs.kept) == 1


def test_from_nothing_no_proof_is_taken(server: Server) -> None:
    """There is nothing to prove from size 0."""
    assert server.ask(body(0, PROOF_3, official(3))).status == 422
    assert server.rows() == []


def of_own_log(server: Server, size: int, root: bytes) -> str:
    """A checkpoint of a log whose key a test has."""
    server.logs.keys["own"] = verifier_of("own", key("own log").public_key)
    return sign_checkpoint(Checkpoint(origin="own", size=size, root=root), key("own log")).decode()


def test_size_zero_has_one_root(server: Server) -> None:
    """The empty tree is cosigned with its own root alone."""
    assert server.ask(body(0, [], of_own_log(server, 0, bytes(32)))).status == 422
    assert server.ask(body(0, [], of_own_log(server, 0, EMPTY_ROOT))).status == 200


def test_two_roots_of_one_size_are_never_both_cosigned(server: Server) -> None:
    """The owner submits two histories: the second is refused, whatever size it starts from."""
    first, second = (of_own_log(server, 7, bytes([number]) * 32) for number in (1, 2))
    assert server.ask(body(0, [], first)).status == 200
    assert server.ask(body(7, [], second)).status == 422
    assert server.ask(body(0, [], second)).status == 409
    again = server.ask(body(7, [], first), NOW_S + 5)
    assert again.status == 200 and len(server.rows()) == 1


def test_a_failed_transaction_cosigns_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses, no line leaves; asked again, it is the first."""

    def full(note: Note, line: str) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(server.logs, "keep", full)
    response = server.ask(body(0, [], official(1)))
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert server.rows() == [] and b"example.com/witness " not in response.body
    monkeypatch.undo()
    check_line(server.ask(body(0, [], official(1))), 1)


def test_the_state_refuses_to_go_back_whoever_asks(server: Server) -> None:
    """The schema itself: no smaller size, no other root at a size, no row deleted."""
    server.ask(body(0, [], official(1)))
    for sql in (
        "UPDATE cosigned SET size = 0",
        "UPDATE cosigned SET root = zeroblob(32)",
        "DELETE FROM cosigned",
        "INSERT OR REPLACE INTO cosigned SELECT origin, witness_key, 0, root, note, line FROM cosigned",
    ):
        with pytest.raises(StoreError), server.database.transaction():
            server.database.write(sql)
    assert server.witness.latest(ORIGIN).size == 1


KILLED = """
import os, sys
from pathlib import Path
from node import witness
from node.database import Database
from node.key_file import COST_MIN, write_key_file
from tests.test_witness import *
database = Database(Path(sys.argv[1]), [witness.SCHEMA])
logs = AnyLogs({ORIGIN: parse_vkey(OFFICIAL_LOG)})
made = Witness(database, SigningKey(OFFICIAL_SEED), "example.com/witness", logs)
logs.keep = (lambda note, line: os._exit(9)) if sys.argv[2] == "before" else logs.keep
made.add_checkpoint(body(0, [], official(1)), NOW_S)
os._exit(9)
"""


@pytest.mark.parametrize(("when", "size"), [("before", 0), ("after", 1)])
def test_a_kill_between_state_and_answer_loses_no_promise(tmp_path: Path, when: str, size: int) -> None:
    """Killed before the commit nothing was cosigned; after it the state knows, though nobody was answered."""
    path = tmp_path / "witness.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), when], cwd=REPOSITORY)
    assert done.returncode == 9
    with Database(path, [witness.SCHEMA]) as database:
        logs = AnyLogs({ORIGIN: parse_vkey(OFFICIAL_LOG)})
        made = Witness(database, SigningKey(OFFICIAL_SEED), "example.com/witness", logs)
        assert made.latest(ORIGIN).size == size
        if size:
            with pytest.raises(OtherSize):
                made.add_checkpoint(body(0, [], official(5)), NOW_S)


def test_each_byte_of_a_submission_matters(server: Server) -> None:
    """With any bit of it flipped nothing is cosigned."""
    data = body(0, [], official(1))
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert server.ask(changed).status in (400, 403, 404, 409), changed
    assert server.rows() == []


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Ledger]:
    """Three nodes that know and pin each other."""
    with ledger(tmp_path) as made:
        yield made


def ask(made: Ledger, name: str, old: int, note: bytes, proof: tuple[bytes, ...] = ()) -> Response:
    data = format_add_checkpoint(old, proof, note)
    return made.answer(name, Request(method="POST", path=handlers.ADD_CHECKPOINT_PATH, body=data))


def newest(made: Ledger, name: str) -> bytes:
    note = made.nodes[name].store.newest_checkpoint(str(made.agencies[name].origin))
    assert note is not None
    return note


def test_leaves_that_nobody_holds_are_not_cosigned(three: Ledger) -> None:
    """503 with Retry-After until they are here, valid and stored; then the same submission is taken."""
    three.append("district", three.agencies["district"].grant())
    note = newest(three, "district")
    response = ask(three, "sport", 0, note)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert three.nodes["sport"].witness.latest("test/district/1").size == 0
    three.mirror("sport", "district")
    assert ask(three, "sport", 0, note).status == 200


def test_a_log_whose_opening_is_not_here_yet_is_fetched_first(tmp_path: Path) -> None:
    """A founder's first checkpoint is no unknown log: later."""
    with ledger(tmp_path, pinned=False) as made:
        assert ask(made, "sport", 0, newest(made, "district")).status == 503


def test_another_ledgers_log_is_unknown(three: Ledger) -> None:
    """Signed as it may be."""
    checkpoint = Checkpoint(origin="other/district/1", size=1, root=bytes(32))
    note = sign_checkpoint(checkpoint, key("district log"))
    assert ask(three, "sport", 0, note).status == 404


def test_a_checkpoint_over_other_leaves_than_those_held_is_refused(three: Ledger) -> None:
    """An owner that shows the witness one history and submits another: 422, and nothing is cosigned."""
    three.append("district", three.agencies["district"].grant())
    three.mirror_all()
    size = three.nodes["district"].sequencer.state.size
    for root, extensions, size_ in ((bytes(32), (), size), (bytes(32), (), size - 1)):
        forged = Checkpoint(origin="test/district/1", size=size_, root=root, extensions=extensions)
        assert ask(three, "sport", 0, sign_checkpoint(forged, key("district log"))).status == 422
    real = three.nodes["district"].sequencer.state.tree.root()
    extended = Checkpoint(origin="test/district/1", size=size, root=real, extensions=("more",))
    assert ask(three, "sport", 0, sign_checkpoint(extended, key("district log"))).status == 422
    assert three.nodes["sport"].witness.latest("test/district/1").size == 0


@pytest.mark.parametrize(("hours", "status"), [(-1, 200), (-2, 503)])
def test_a_log_ahead_of_the_clock_is_not_cosigned(three: Ledger, hours: int, status: int) -> None:
    """One hour is tolerance; beyond it one of the two clocks is wrong."""
    data = format_add_checkpoint(0, (), newest(three, "district"))
    response = handlers.answer_add_checkpoint(three.nodes["sport"], data, (HOUR + hours) * 3600 + 3599)
    assert response.status == status


def test_a_node_that_may_not_sequence_does_not_cosign(three: Ledger) -> None:
    """A restored copy knows less than it promised."""
    three.nodes["sport"].close()
    three.nodes["sport"] = three.agencies["sport"].node(on_word=False, found=False)
    assert three.nodes["sport"].waiting is not None
    response = ask(three, "sport", 0, newest(three, "district"))
    assert response.status == 503 and b"does not cosign" in response.body


def test_asked_again_it_answers_what_it_cosigned(three: Ledger) -> None:
    """The same line, without another write."""
    note = newest(three, "district")
    first, second = ask(three, "sport", 0, note), ask(three, "sport", 2, note)
    assert (first.status, first.body) == (second.status, second.body)


def test_what_a_witness_showed_survives_its_restart(three: Ledger) -> None:
    """After it, only steps from there are taken."""
    assert ask(three, "sport", 0, newest(three, "district")).status == 200
    three.restart("sport")
    assert ask(three, "sport", 0, newest(three, "district")).status == 409


def rotate(made: Ledger, name: str, *, others: tuple[str, ...]) -> None:
    """A card with a new witness key in the log, and the node running with that key, which cosigned nothing.

    ``others`` are the desks that pin it.
    """
    agency, before = made.agencies[name], made.nodes[name].sequencer.state.authority.card
    assert before is not None
    number = before.card.number + 1
    secrets = {use: seed(f"{name} {use}") for use in NODE_SECRETS}
    secrets[f"witness.{number}"] = seed(f"{name} new witness")
    path = agency.directory / "keys" / "node.key"
    path.unlink()
    write_key_file(path, name, secrets, PASSPHRASE, os.urandom, cost=COST_MIN)
    made.restart(name)
    new = key(f"{name} new witness").public_key
    card: Card = replace(before.card, number=number, before=before.hash, witness_key=new)
    made.append(name, Submission(entry=agency.public([format_governance(card)], by="root")))
    made.mirror_all()
    for one in others:
        assert made.nodes[one].pinning.adopt_if_due(made.at, HOUR) is not None
        made.nodes[one].publish()
    made.mirror_all()


FOUR = ("district", "sport", "centre", "north")


def test_a_new_key_begins_behind_others(tmp_path: Path) -> None:
    """Lost-state rule: above an adopt that pins it, once n - q + 1 others but the owner have cosigned."""
    with ledger(tmp_path, FOUR) as made:
        assert made.certify("district") == 2
        rotate(made, "sport", others=())
        flight = made.flight("district")
        assert made.ask("district", "sport").status == 503  # not pinned
        assert flight.checkpoint.size == 2
        assert made.nodes["district"].pinning.adopt_if_due(made.at, HOUR) is not None
        made.nodes["district"].publish()
        made.mirror_all()
        assert made.ask("district", "sport").status == 503  # nobody else has yet
        assert made.ask("district", "centre").status == 200
        response = made.ask("district", "sport")
        assert response.status == 503 and b"1 more agencies" in response.body
        assert made.ask("district", "north").status == 200
        assert made.ask("district", "sport").status == 200
        assert made.certified("district") == 3


def test_a_new_key_is_not_deceived_by_the_owner_and_itself(tmp_path: Path) -> None:
    """Cosignatures of the owner, of a stranger or by the retired key are none of the others'."""
    with ledger(tmp_path, FOUR) as made:
        rotate(made, "sport", others=("district",))
        note = newest(made, "district")
        lines = [
            cosign(parse_note(note).text, f"test/{name}/witness", key(f"{name} witness"), NOW_S)
            for name in ("district", "sport", "stranger")
        ]
        flooded = note + "".join(f"{line}\n" for line in lines).encode()
        assert ask(made, "sport", 0, flooded).status == 503


def test_of_two_agencies_the_owners_pin_is_its_word(tmp_path: Path) -> None:
    """Nobody else is left to ask."""
    with ledger(tmp_path, ("district", "sport")) as made:
        rotate(made, "sport", others=())
        assert made.ask("district", "sport").status == 503
        assert made.nodes["district"].pinning.adopt_if_due(made.at, HOUR) is not None
        made.nodes["district"].publish()
        made.mirror_all()
        assert made.ask("district", "sport").status == 200
        assert made.certified("district") == 3


def test_a_card_that_was_never_changed_needs_nobody_before_it(three: Ledger) -> None:
    """The rule is for keys that followed another."""
    assert ask(three, "sport", 0, newest(three, "district")).status == 200


def test_errors_name_what_is_wrong() -> None:
    """Malformed, unknown, untrusted and unproven are told apart."""
    with pytest.raises(Malformed, match="starts with"):
        parse_add_checkpoint(b"x\n\n")
    assert issubclass(Untrusted, Unproven) and issubclass(UnknownLog, LedgerError)
