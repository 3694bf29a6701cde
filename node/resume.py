"""Whether a node that stopped may go on sequencing, judged by what others hold of its log.

The instance record (``lease``) catches a moved or restored database on this machine. What it cannot see is
that the log went on elsewhere: so n - q + 1 other agencies must have answered what they hold, and each
answer must lie on the history that is here. At n = 1 nobody can answer, and the record alone decides; else
an operator who knows better may give his word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ledger.roster import quorum_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What another agency holds of this node's log; size 0 where it knows nothing."""

    size: int
    root: bytes


def answers_needed(agencies: int) -> int:
    """Return n - q + 1, so that any quorum has met one of them; 0 for a ledger of one."""
    return 0 if agencies == 1 else agencies - quorum_of(agencies) + 1


def reason_to_refuse(
    answers: Mapping[str, Answer], *, size: int, root_at: Callable[[int], bytes]
) -> str | None:
    """Return why the node must never sequence in this era again, or None.

    ``answers`` by agency; ``root_at(n)`` is the root over the first n leaves here (n <= size). An empty log
    is no exception: a folder lost whole, with its instance record, looks exactly like a new one, and would
    sign a second opening.
    """
    for agency, answer in sorted(answers.items()):
        if answer.size > size:
            return (
                f"{agency} holds {answer.size} entries of this log, only {size} are here: this database was "
                "restored or rebuilt, and never sequences in its era again"
            )
        if answer.size and root_at(answer.size) != answer.root:
            return f"{agency} holds another history of this log: it has forked, and waits for a new era"
    return None


def reason_to_wait(answers: int, *, agencies: int, on_word: bool) -> str | None:
    """Return why the node must not sequence yet after so many answers, or None.

    ``agencies`` are those of the roster at the node's start; ``on_word`` is the operator's.
    """
    needed = answers_needed(agencies)
    if on_word or answers >= needed:
        return None
    return (
        f"waiting for {needed - answers} more of the other agencies to answer what they hold of this "
        "log (or start with --alone if you are sure that it ran nowhere else)"
    )
