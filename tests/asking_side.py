"""A staff member who asks a node in this process: requests made by hand, answers opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

from ledger import keys
from ledger.record import Record
from ledger.request import Action, SignedRequest, format_request, sign_request
from node import handlers
from node.asking import Asker, CheckVerdict, ask_check, ask_read
from node.protocol import Problem, ProblemAnswer, Procedure, Response, check_answer
from node.wiring import Node
from tests.agencies import Agency
from tests.world import HOUR, key, seed

NOW_MS = HOUR * 3_600_000
Result = TypeVar("Result")


@dataclass
class Person:
    """A holder of a key, before one agency's node."""

    agency: Agency
    node: Node
    name: str = "clerk"
    now_ms: int = NOW_MS
    """The node's clock; the person's is `NOW_MS`."""

    @property
    def signer(self) -> keys.SigningKey:
        return key(f"{self.agency.name} {self.name}")

    def asker(self) -> Asker:
        return Asker(
            signer=self.signer,
            ledger_id=self.agency.world.ledger_id,
            agency=self.agency.name,
            sealing_key=keys.sealing_public_key(seed(f"{self.agency.name} sealing")),
            now_ms=NOW_MS,
            random=os.urandom,
        )

    def sign(self, action: Action, **changes: object) -> SignedRequest:
        fields = {"ledger_id": self.agency.world.ledger_id, "agency": self.agency.name}
        fields |= {"nonce": os.urandom(16), "created_ms": NOW_MS} | changes  # type: ignore[dict-item]
        return sign_request(action, signer=self.signer, **fields)  # type: ignore[arg-type]

    def post(self, request: SignedRequest | bytes) -> Response:
        """Send a request, or any bytes sealed as one."""
        data = request if isinstance(request, bytes) else format_request(request)
        sealed = keys.seal(self.asker().sealing_key, data, os.urandom(32))
        return handlers.answer_request(self.node, sealed, self.now_ms)

    def run(self, procedure: Procedure[Result]) -> Result | Problem:
        """Drive a procedure to its result, or to the problem document that ends it."""
        try:
            request = next(procedure)
            while True:
                response = handlers.answer_request(self.node, request.body, self.now_ms)
                request = procedure.send(response)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        except ProblemAnswer as answer:
            return answer.problem

    def check(self, *records: Record) -> list[CheckVerdict] | Problem:
        return self.run(ask_check(records, self.asker()))

    def read(self, record_hash: bytes) -> Record | Problem:
        return self.run(ask_read(record_hash, self.asker()))


def take(node: Node, agency: Agency, *submissions: object, hour: int = HOUR) -> None:
    """Post what must be accepted."""
    for one in submissions:
        [response] = handlers.answer_submissions(node, [agency.seal(one)], hour)  # type: ignore[arg-type]
        check_answer(response)
