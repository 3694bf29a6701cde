"""The frontier: one form, small, changes that lead where they say, and nothing false taken for true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import codec
from ledger.errors import LedgerError, Malformed, Unproven
from node.frontier import (
    DIGESTS_REMEMBERED,
    Frontier,
    FrontierHistory,
    Row,
    decode_frontier,
    digest_of,
    encode_frontier,
    merge,
)
from tests import spoiled

ID, ROSTER = b"i" * 32, (1, b"r" * 32)


def row(agency: str, size: int = 3, era: int = 1) -> Row:
    return Row(agency=agency, era=era, size=size, root=bytes([size % 256]) * 32 if size else b"")


def whole(*rows: Row) -> Frontier:
    return Frontier(
        ledger_id=ID, now_s=7, digest=digest_of(ROSTER, rows), roster=ROSTER, is_whole=True, rows=rows
    )


def test_the_frontier_of_a_country_fits_8_kb() -> None:
    """89 regions with names as long as theirs are, logs of a million entries, all certified and cosigned."""
    longest = "karachayevo-cherkesskaya-respublika"
    rows = [
        replace(row(f"{longest[: 12 + number % 24]}{number:02}", 1_000_000 + number), certified_size=999_000)
        for number in range(89)
    ]
    rows = sorted((replace(one, cosigned_size=1_000_000) for one in rows), key=lambda one: one.log)
    assert len(encode_frontier(whole(*rows))) < 8_000


def test_what_is_encoded_is_decoded() -> None:
    """And the empty log has no root."""
    frontier = whole(row("a"), row("b", 0), row("b", 5, era=2))
    assert decode_frontier(encode_frontier(frontier)) == frontier


def test_every_flipped_byte_of_a_whole_is_refused() -> None:
    """The digest binds rows and roster; the clock alone may read otherwise."""
    frontier = whole(row("a"), row("b"))
    for data in spoiled.flipped(encode_frontier(frontier)):
        try:
            found = decode_frontier(data)
        except LedgerError:
            continue
        assert (found.rows, found.roster) == (frontier.rows, frontier.roster) or not found.is_whole


@pytest.mark.parametrize(
    "rows",
    [
        [["b", 1, 0, b"", 0, 0, 0], ["a", 1, 0, b"", 0, 0, 0]],
        [["a", 1, 0, b"", 0, 0, 0]] * 2,
        [["A", 1, 0, b"", 0, 0, 0]],
        [["a", 0, 0, b"", 0, 0, 0]],
        [["a", 1, 1, b"", 0, 0, 0]],
        [["a", 1, 0, b"r" * 32, 0, 0, 0]],
        [["a", 1, 0, b"", 0, 0]],
        [7],
    ],
)
def test_rows_of_another_form_are_refused(rows: list[object]) -> None:
    """Sorted, each log once, names as names are, a root exactly where there are leaves."""
    value = [1, ID, 7, bytes(32), [1, b"r" * 32], 0, rows]
    with pytest.raises(Malformed):
        decode_frontier(codec.encode(value))


def test_changes_lead_to_the_new_digest() -> None:
    """From every state still remembered; the whole from any other."""
    history, states = FrontierHistory(ID), []
    for size in range(1, DIGESTS_REMEMBERED + 10):
        assert history.show(ROSTER, [row("a", size), row("b")])
        answer = history.answer(None, 7)
        assert answer is not None
        states.append(decode_frontier(answer))
    for age, before in enumerate(reversed(states)):
        answer = history.answer(before.digest, 8)
        if age == 0:
            assert answer is None
            continue
        assert answer is not None
        changed = decode_frontier(answer)
        assert changed.is_whole == (age >= DIGESTS_REMEMBERED)
        assert changed.is_whole or [one.agency for one in changed.rows] == ["a"]
        assert merge(before, changed).rows == states[-1].rows


def test_the_same_rows_are_no_news() -> None:
    """Nobody who waits is woken for nothing."""
    history = FrontierHistory(ID)
    assert history.show(ROSTER, [row("a")])
    assert not history.show(ROSTER, [row("a")])
    assert history.show((2, b"s" * 32), [row("a")])


def test_changes_that_lead_elsewhere_are_refused() -> None:
    """A forged digest, a row kept back, a row more: the asker begins anew."""
    before = whole(row("a"), row("b"))
    after = whole(row("a", 4), row("b", 5))
    honest = replace(after, is_whole=False)
    assert merge(before, honest) == after
    for forged in (
        replace(honest, digest=bytes(32)),
        replace(honest, rows=honest.rows[:1]),
        replace(honest, rows=(*honest.rows, row("c"))),
        replace(honest, roster=(2, b"s" * 32)),
    ):
        with pytest.raises(Unproven):
            merge(before, forged)
    with pytest.raises(Unproven):
        merge(None, replace(honest, rows=honest.rows[:1]))
