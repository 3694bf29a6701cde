"""ledger.grown_list: a sequence whose older versions stay as they were, whatever is built on them."""

from __future__ import annotations

import random
import time

import pytest

from ledger.grown_list import GrownList


def test_every_version_stays_as_it_was() -> None:
    """Appended to in any order, tried and dropped: each is what a tuple would be."""
    dice = random.Random(4)
    versions: list[tuple[GrownList[int], tuple[int, ...]]] = [(GrownList(), ())]
    for number in range(400):
        grown, expected = versions[dice.randrange(max(0, len(versions) - 3), len(versions))]
        if dice.random() < 0.1:
            size = dice.randrange(len(expected) + 2)
            versions.append((grown.first(size), expected[:size]))
        else:
            versions.append((grown.with_item(number), (*expected, number)))
    for grown, expected in versions:
        assert tuple(grown) == expected and len(grown) == len(expected)
        assert grown.last == (expected[-1] if expected else None)
        assert list(reversed(grown)) == list(reversed(expected))
        assert grown[1:-1] == list(expected[1:-1]) and grown[::-2] == list(expected[::-2])
        assert all(grown[place] == expected[place] for place in range(-len(expected), len(expected)))


def test_beyond_its_end_there_is_nothing() -> None:
    """An older version does not see what a newer one has appended."""
    older = GrownList[int]().with_item(1)
    newer = older.with_item(2)
    for grown, place in ((older, 1), (older, -2), (newer, 2), (GrownList[int](), 0), (GrownList[int](), -1)):
        with pytest.raises(IndexError):
            grown[place]


def test_equal_is_what_holds_the_same() -> None:
    """However it came to be."""
    one, other = GrownList[int]().with_item(1), GrownList[int]().with_item(1).with_item(2).first(1)
    assert one == other and hash(one) == hash(other)
    assert one != GrownList[int]() and one != [1]


def test_a_hundred_thousand_items_cost_no_square() -> None:
    """Tuples would copy five thousand million pointers here."""
    start, grown = time.process_time(), GrownList[int]()
    for number in range(100_000):
        grown = grown.with_item(number)
    assert time.process_time() - start < 5 and len(grown) == 100_000
