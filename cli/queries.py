"""Asking the agency's node before anything is signed: what it would say to records, and what one record says.

Requests are signed with the staff key and name the time. Where this computer's clock stands more than
minutes apart from the node's, the node says its own time, and the request is made once more with that: a
school's clock decides nothing in the ledger, and must not keep anybody from working.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from cli import output
from cli.desk import Desk
from cli.language import say
from ledger.record import Record
from node.asking import Asker, CheckVerdict, ask_check, ask_read
from node.http_client import HttpClient
from node.protocol import ProblemAnswer, Procedure

Result = TypeVar("Result")


def check_records(desk: Desk, records: Sequence[Record]) -> list[CheckVerdict]:
    """Return what the node would say to each record, in order; nothing is signed or written anywhere.

    Raises `Unreachable`, or `ProblemAnswer` if this key may ask nothing. The node judges up to 4,096 records
    after each other, as in one entry.
    """
    return _ask(desk, lambda asker: ask_check(records, asker))


def read_record(desk: Desk, record_hash: bytes) -> Record:
    """Return a live record from the node; the family will see that it was read.

    Raises `Unreachable`, or `ProblemAnswer` (node.unreadable) where there is none or no right to it.
    """
    return _ask(desk, lambda asker: ask_read(record_hash, asker))


def _ask(desk: Desk, make: Callable[[Asker], Procedure[Result]]) -> Result:
    target, author = desk.workspace.target(), desk.author()
    asker = Asker(
        signer=desk.signer,
        ledger_id=target.ledger_id,
        agency=target.agency,
        sealing_key=target.sealing_key,
        now_ms=author.now_ms,
        random=author.random,
    )
    with HttpClient(target.url) as client:
        try:
            return client.run(make(asker))
        except ProblemAnswer as answer:
            node_ms = answer.problem.now_ms
            if answer.problem.code != "node.stale" or node_ms is None:
                raise
            here, there = _time(asker.now_ms), _time(node_ms)
            output.remark(say("queries.clock", here=here, there=there))
            return client.run(make(replace(asker, now_ms=node_ms)))


def _time(time_ms: int) -> str:
    """A time as people read it; a node may name any."""
    seconds = min(time_ms // 1000, 253_402_300_799)  # the last second of the year 9999
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M}"
