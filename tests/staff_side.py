"""The staff's side for tests: a connected workspace, and a node that answers by script.

`ScriptedNode` drives the real client procedures and opens what is really submitted; only its answers are
written down beforehand. What is asked before that (`/v1/requests`) the real door answers, over what the
script has accepted (`Foresight`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from cli import output
from cli.command import now
from cli.public_log import Target
from cli.sending import Author
from cli.workspace import Settings, Workspace, connect_workspace, make_workspace
from ledger import keys, merkle
from ledger.governance import scope_commitment
from ledger.keys import SigningKey
from ledger.leaf import parse_leaf
from ledger.names import Place
from ledger.note import verifier_of
from ledger.proof import TlogProof, format_proof
from node import handlers
from node.admission import Admission
from node.asked import REQUESTS_PATH, RequestDoor
from node.body_store import BodyStore, StoredEntry
from node.database import Database
from node.journal import AccessJournal
from node.key_store import SCHEMA as KEY_SCHEMA
from node.key_store import KeyStore
from node.lease import take_lease
from node.log_store import LogStore, StoredLeaf
from node.nonces import NonceStore
from node.protocol import (
    Obstacle,
    Problem,
    Procedure,
    Request,
    Response,
    Unreachable,
    format_problem,
)
from node.release import Release
from node.sequencer import Sequencer, SequencerKeys
from node.submission import Submission, open_submission
from node.wiring import SCHEMAS
from tests.world import DAY, Log, MemorySource, World, key, seed

PASSPHRASE = "correct horse"
UNIT = "school-1"
AGENCY = "district"

Result = TypeVar("Result")
Answer = str | Problem | Response | Exception | Callable[[Submission], Problem]
"""``accept``, a problem, a response as it is, an error instead of an answer, or what makes a problem."""


@contextlib.contextmanager
def attended(answer: str | None) -> Iterator[None]:
    """Somebody sits at the terminal, if there is an answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "is_attended", lambda: answer is not None)
        yield


def randomness() -> Callable[[int], bytes]:
    """Bytes that never repeat within one run and are the same in the next."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return seed(f"random {count}")[:size]

    return draw


def author(signer: SigningKey, world: World, random: Callable[[int], bytes], *, now_ms: int = 1) -> Author:
    """A staff member of `AGENCY` on `DAY`."""
    return Author(
        signer=signer, ledger_id=world.ledger_id, agency=AGENCY, day=DAY, now_ms=now_ms, random=random
    )


def target(log: Log, url: str = "http://127.0.0.1:1") -> Target:
    """How to submit to the node of a log."""
    return Target(
        ledger_id=log.world.ledger_id,
        ledger="test",
        agency=log.agency,
        url=url,
        sealing_key=keys.sealing_public_key(seed(f"{log.agency} sealing")),
        log=verifier_of(str(log.origin), log.key("log").public_key),
    )


def connected(home: Path, world: World, *, url: str = "http://127.0.0.1:1") -> Workspace:
    """A workspace of `AGENCY`, connected to a world in memory."""
    settings = Settings(ledger_id=world.ledger_id.hex(), agency=AGENCY, unit=UNIT)
    workspace = make_workspace(home, settings, PASSPHRASE, randomness())
    return connect_workspace(workspace, MemorySource(world.tree()), target(world.logs[AGENCY], url), 1)


def receipt(log: Log, index: int) -> bytes:
    """The receipt of the leaf at ``index``, under the log's checkpoint now."""
    hashes = [merkle.leaf_hash(leaf) for leaf in log.leaves]
    path = tuple(merkle.prove_inclusion_in(hashes, index))
    proof = TlogProof(extra=log.leaves[index], index=index, hashes=path, checkpoint=log.checkpoint())
    return format_proof(proof)


class Foresight:
    """The real door for signed requests, over a log in memory and the bodies that were accepted for it."""

    waiting = None

    def __init__(self, log: Log, folder: Path) -> None:
        folder.mkdir()
        self.log, self._database = log, Database(folder / "log.db", SCHEMAS)
        self._store = LogStore(self._database)
        self._keys_database = Database(folder / "keys.db", [KEY_SCHEMA])
        self._keys = KeyStore(self._keys_database, seed(f"{log.agency} master"), os.urandom)
        self._bodies = BodyStore(self._database, self._keys)
        self.sequencer = Sequencer(
            self._database,
            self._store,
            self._bodies,
            self._keys,
            state=log.state,
            signing=SequencerKeys(
                log=log.key("log"),
                sealing_seeds=(seed(f"{log.agency} sealing"),),
                check_card=lambda card: None,
            ),
            token=take_lease(self._database, "a test"),
            on_commit=lambda size, root: None,
        )
        self.requests = self._door()
        opening = log.scope_opening()
        scopes = {scope_commitment(opening): opening}
        self._take(StoredEntry(entry_id=seed("a grant"), place=Place(log.origin.era, 1), scopes=scopes))

    def _door(self) -> RequestDoor:
        release = Release(
            database=self._database,
            sequencer=self.sequencer,
            bodies=self._bodies,
            data_keys=self._keys,
            journal=AccessJournal(self._database, self._keys),
            random=os.urandom,
        )
        return RequestDoor(
            ledger_id=self.log.world.ledger_id,
            origin=self.log.origin,
            sealing_seeds=(seed(f"{self.log.agency} sealing"),),
            nonces=NonceStore(self._database),
            release=release,
        )

    def close(self) -> None:
        self._database.close()
        self._keys_database.close()

    def answer(self, body: bytes) -> Response:
        """What the node answers to a request now."""
        return handlers.answer_request(self, body, int(now().timestamp() * 1000))  # type: ignore[arg-type]

    def accept(self, submission: Submission, index: int) -> None:
        """Keep the bodies of an entry that the log took at ``index``."""
        self.sequencer.state = self.log.state
        place = Place(self.log.origin.era, index)
        admission, leaf = Admission(self._bodies, self._keys), parse_leaf(self.log.leaves[index])
        stored = admission.stored_again(submission, leaf, self.log.world.roster.statute, place)
        assert stored is not None
        self._take(stored)

    def _take(self, stored: StoredEntry) -> None:
        origin = str(self.log.origin)
        raws = self.log.leaves[self._store.size(origin) :]
        with self._database.transaction():
            start = self._store.size(origin)
            self._store.append(
                origin,
                [
                    StoredLeaf(
                        index=start + number,
                        leaf=raw,
                        leaf_hash=merkle.leaf_hash(raw),
                        entry_id=parse_leaf(raw).header.entry_id,
                        governance=parse_leaf(raw).header.is_public,
                    )
                    for number, raw in enumerate(raws)
                ],
            )
            self._bodies.put(stored)


@dataclass
class ScriptedNode:
    """Answers submissions in turn as ``answers`` say; ``got`` is what was submitted, opened."""

    log: Log
    answers: list[Answer]
    foresight: Foresight | None = None
    got: list[Submission] = field(default_factory=list)
    asked: int = 0
    """Signed requests that were answered."""

    def run(self, procedure: Procedure[Result]) -> Result:
        """Drive a procedure to its end."""
        try:
            request = next(procedure)
            while True:
                answer = self._answer(request)
                if isinstance(answer, Exception):
                    request = procedure.throw(answer)
                else:
                    request = procedure.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def _answer(self, request: Request) -> Response | Exception:
        if request.path == REQUESTS_PATH and self.foresight is not None:
            self.asked += 1
            return self.foresight.answer(request.body)
        if (request.method, request.path) == ("GET", "/v1/cards"):  # a node that certifies nothing
            return format_problem(Problem(status=404, code="node.path", detail="nothing is there"))
        assert (request.method, request.path) == ("POST", "/v1/entries")
        submission = open_submission(request.body, seed(f"{self.log.agency} sealing"))
        self.got.append(submission)
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer(submission)
        if isinstance(answer, Problem):
            return format_problem(answer)
        if isinstance(answer, Response | Exception):
            return answer
        return self._accept(submission)

    def _accept(self, submission: Submission) -> Response:
        entry_ids = [one.leaf.header.entry_id for one in self.log.judged() if one.leaf]
        if submission.entry.header.entry_id not in entry_ids:
            self.log.append(self.log.leaf(submission.entry))
            entry_ids.append(submission.entry.header.entry_id)
            if self.foresight is not None:
                self.foresight.accept(submission, len(self.log.leaves) - 1)
        index = entry_ids.index(submission.entry.header.entry_id)
        return Response(status=200, body=receipt(self.log, index))


def down() -> Unreachable:
    """What a client gets from a node that does not run."""
    return Unreachable("no answer from http://127.0.0.1:1")


def repetition(records: Iterable[bytes]) -> Problem:
    """A node's answer that these records stand already, with equal content."""
    obstacles = tuple(
        Obstacle(
            code="record.identity",
            detail="already recorded",
            record=one,
            standing=seed(f"standing {one.hex()}"),
            is_equal=True,
        )
        for one in records
    )
    return Problem(status=409, code="record.identity", detail="already recorded", obstacles=obstacles)


def conflict(record: bytes) -> Problem:
    """A node's answer that a fact stands with other content."""
    text = "recorded with other content: correct it instead"
    obstacle = Obstacle(
        code="record.identity", detail=text, record=record, standing=seed("standing"), is_equal=False
    )
    return Problem(status=409, code="record.identity", detail=text, obstacles=(obstacle,))


def staff_key() -> SigningKey:
    """The clerk of `AGENCY` in a `World`."""
    return key(f"{AGENCY} clerk")
