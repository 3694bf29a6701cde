"""Whether a node may go on, as a table: what others hold of its log against what is here."""

from __future__ import annotations

from typing import Any

import pytest

from node.resume import Answer, answers_needed, reason_to_refuse
from node.resume import reason_to_wait as reason_to_wait_for_more

HERE = 10


def root_at(size: int) -> bytes:
    """The root over the first leaves of the history that is here."""
    assert 0 < size <= HERE, "asked beyond what is here"
    return bytes([size]) * 32


def held(size: int, root: bytes | None = None) -> Answer:
    return Answer(size=size, root=root or (root_at(size) if 0 < size <= HERE else bytes(32)))


def reason_to_wait(answers: dict[str, Answer], *, agencies: int, on_word: bool, **here: Any) -> str | None:
    """Both questions, as a node asks them: never again, or not yet?"""
    refusal = reason_to_refuse(answers, **here)
    return refusal or reason_to_wait_for_more(len(answers), agencies=agencies, on_word=on_word)


OTHER = b"\xff" * 32
GOES_ON: str | None = None

TABLE: list[tuple[str, int, dict[str, Answer], bool, str | None]] = [
    ("alone in its ledger", 1, {}, False, GOES_ON),
    ("nobody has answered, of two", 2, {}, False, "waiting for 1 more"),
    ("the other knows nothing", 2, {"b": held(0)}, False, GOES_ON),
    ("nobody has answered, of three", 3, {}, False, "waiting for 1 more"),
    ("one is behind", 3, {"b": held(4)}, False, GOES_ON),
    ("one has all", 3, {"b": held(10)}, False, GOES_ON),
    ("one has more", 3, {"b": held(11)}, False, "b holds 11 entries of this log, only 10 are here"),
    ("one has more, another all", 3, {"b": held(10), "c": held(12)}, False, "c holds 12"),
    ("one has another history", 3, {"b": held(4, OTHER)}, False, "another history"),
    ("another history of all", 3, {"b": held(10, OTHER), "c": held(10)}, False, "b holds another history"),
    ("of four, one is too few", 4, {"b": held(10)}, False, "waiting for 1 more"),
    ("of four, two are enough", 4, {"b": held(10), "c": held(0)}, False, GOES_ON),
    ("of 89, 29 are too few", 89, {str(n): held(9) for n in range(29)}, False, "waiting for 1 more"),
    ("of 89, 30 are enough", 89, {str(n): held(9) for n in range(30)}, False, GOES_ON),
    ("the operator's word", 3, {}, True, GOES_ON),
    ("the word against one who has more", 3, {"b": held(11)}, True, "only 10 are here"),
    ("the word against another history", 3, {"b": held(1, OTHER)}, True, "another history"),
    ("alone, but somebody has more", 1, {"b": held(11)}, False, "only 10 are here"),
]


@pytest.mark.parametrize(
    ("agencies", "answers", "on_word", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table(agencies: int, answers: dict[str, Answer], on_word: bool, expected: str | None) -> None:
    """None to go on; else the reason, which names who said what."""
    reason = reason_to_wait(answers, agencies=agencies, size=HERE, root_at=root_at, on_word=on_word)
    if expected is None:
        assert reason is None
    else:
        assert reason is not None and expected in reason


@pytest.mark.parametrize("agencies", range(2, 40))
def test_any_quorum_has_met_one_of_those_who_answer(agencies: int) -> None:
    """q witnesses of n and n - q + 1 answers always share one: nothing certified is overlooked."""
    quorum = 2 * agencies // 3 + 1
    assert quorum + answers_needed(agencies) > agencies
    assert answers_needed(agencies) <= agencies - 1  # the node itself does not answer


def test_the_reason_is_the_same_whatever_order_the_answers_came_in() -> None:
    """Two bad answers: the first by name is told, always."""
    answers = {"b": held(11), "c": held(12)}
    turned = dict(reversed(answers.items()))
    reasons = {
        reason_to_wait(one, agencies=3, size=HERE, root_at=root_at, on_word=False)
        for one in (answers, turned)
    }
    assert len(reasons) == 1


def test_an_empty_log_is_no_exception() -> None:
    """A folder lost whole looks like a new one: it waits like any other."""
    waits = reason_to_wait({}, agencies=3, size=0, root_at=root_at, on_word=False)
    assert waits is not None and "waiting" in waits
    assert reason_to_wait({"b": held(0)}, agencies=3, size=0, root_at=root_at, on_word=False) is None
    assert reason_to_wait({"b": held(1)}, agencies=3, size=0, root_at=root_at, on_word=True) is not None
