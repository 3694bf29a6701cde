"""The staff's side for tests: a connected workspace, and a node that answers by script.

`ScriptedNode` drives the real client procedures and opens what is really submitted; only its answers are
written down beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cli.public_log import Target
from cli.sending import Author
from cli.workspace import Settings, Workspace, connect_workspace, make_workspace
from ledger import keys, merkle
from ledger.keys import SigningKey
from ledger.note import verifier_of
from ledger.proof import TlogProof, format_proof
from node.protocol import (
    Obstacle,
    Problem,
    Procedure,
    Request,
    Response,
    Unreachable,
    format_problem,
)
from node.submission import Submission, open_submission
from tests.world import DAY, Log, MemorySource, World, key, seed

PASSPHRASE = "correct horse"
UNIT = "school-1"
AGENCY = "district"

Result = TypeVar("Result")
Answer = str | Problem | Response | Exception | Callable[[Submission], Problem]
"""``accept``, a problem, a response as it is, an error instead of an answer, or what makes a problem."""


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


@dataclass
class ScriptedNode:
    """Answers submissions in turn as ``answers`` say; ``got`` is what was submitted, opened."""

    log: Log
    answers: list[Answer]
    got: list[Submission] = field(default_factory=list)

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
