"""Staff of one agency: they submit through the network, send again until answered, and keep every receipt.

What a receipt acknowledges is what the invariants ask for later. What was refused must never be in a log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.errors import LedgerError
from ledger.keys import sealing_public_key
from ledger.names import Origin
from node.protocol import ProblemAnswer, Request, Response
from node.session import check_receipt, submit
from node.submission import Submission, format_submission
from node.surroundings import drive
from tests.agencies import Agency
from tests.simulator.network import SCHEME, Network
from tests.simulator.options import Options
from tests.simulator.trace import Trace
from tests.world import seed

BUSY = {429, 503}
"""Come back later: the node waits, is full, or its clock is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """An entry whose receipt somebody holds."""

    origin: Origin
    entry_id: bytes
    index: int
    receipt: bytes
    machine: str
    """Who gave it: of two machines of one agency each answers for its own branch."""


@dataclass
class Staff:
    """The registrar and the clerks of one agency, before one machine of it."""

    agency: Agency
    machine: str
    options: Options
    network: Network
    trace: Trace
    fail: Callable[[str, BaseException | None], None]
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: set[bytes] = field(default_factory=set)
    """Entry ids that were refused, and never sent again."""
    is_done: bool = False
    is_trusting: bool = True
    """Off where the node may rightly refuse what is good (it forked) or its answers are lies."""

    def __post_init__(self) -> None:
        self._chance = self.options.chance(self.machine, "staff")
        self._wire = f"staff of {self.machine}"
        self.network.routes[self._wire, self.agency.name] = self.machine

    async def work(self, entries: int, seconds: float) -> None:
        """Grant a clerk, then enrol pupils over ``seconds``, some of them twice, until all is answered."""
        clerk = f"clerk {self.machine}"
        await asyncio.sleep(self._chance.uniform(0, 2))
        await self._deliver(self.agency.grant(clerk))
        waiting = []
        for number in range(entries):
            await asyncio.sleep(self._chance.expovariate(entries / seconds))
            waiting.append(asyncio.create_task(self._deliver(self._entry(clerk, number))))
        for task in waiting:
            await task
        self.is_done = True

    def _entry(self, clerk: str, number: int) -> Submission:
        """A pupil nobody knew; each sixth is one known already, which must be refused or come first."""
        pupil = number - 1 if number % 6 == 5 else number
        return self.agency.enrol(f"{self.machine} {pupil}", by=clerk, number=number)

    async def _deliver(self, submission: Submission) -> None:
        """Send until there is a receipt or a refusal."""
        entry_id = submission.entry.header.entry_id
        sealing_key = sealing_public_key(seed(f"{self.agency.name} sealing"))
        data = format_submission(submission, sealing_key, self._chance.randbytes(32))
        wait_s = 0.2
        while True:
            try:
                receipt = await drive(self._carry, f"{SCHEME}{self.agency.name}", submit(data))
                self._keep(receipt, entry_id)
                return
            except ProblemAnswer as answer:
                if self._is_final(answer, entry_id):
                    return
            except LedgerError:  # no answer, or a lie
                pass
            await asyncio.sleep(wait_s * self._chance.uniform(0.5, 1.5))
            wait_s = min(wait_s * 2, 5.0)

    def _is_final(self, answer: ProblemAnswer, entry_id: bytes) -> bool:
        if answer.problem.status == 409:
            if self.is_trusting:
                self.refused.add(entry_id)
            return True
        if self.is_trusting and answer.problem.status not in BUSY:
            self.fail(f"{self._wire}: what is good was refused: {answer.problem}", answer)
        return False

    def _keep(self, receipt: bytes, entry_id: bytes) -> None:
        proof, _, checkpoint = check_receipt(receipt, entry_id, self.agency.verifier)
        self.trace.note("acknowledged", self.machine, proof.index, checkpoint.size, entry_id.hex()[:8])
        self.acknowledged.append(
            Acknowledged(
                origin=self.agency.origin,
                entry_id=entry_id,
                index=proof.index,
                receipt=receipt,
                machine=self.machine,
            )
        )

    async def _carry(self, url: str, request: Request) -> Response:
        return await self.network.carry(self._wire, url, request)
