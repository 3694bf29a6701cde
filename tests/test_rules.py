"""ledger.rules: one table, and an attack on every line of it."""

from __future__ import annotations

import random

import pytest

from ledger.errors import LedgerError, Refused
from ledger.rules import RULES, check_none, in_order, violation
from tests import (
    test_chain,
    test_displaced,
    test_eras,
    test_lineage,
    test_portfolio,
    test_verify,
    test_verify_eras,
)
from tests.attacks import COVERED

ATTACKED_ELSEWHERE = {
    "zip.layout": "a ZIP's members and layout: tests of node.dossier and node.sources",
    "record.form": "records as they are submitted or presented: the node's door, ledger.presentation",
    "record.root": "records against the signed root: the node's door",
    "scope.opening": "a scope against its commitment: the node's door",
    "record.proof": "a record shown alone: ledger.presentation",
}
"""Rules that are held where bodies come in, not in the modules that these tests attack."""


def test_every_rule_of_the_table_has_an_attack_that_breaks_it() -> None:
    """A new rule without an attack fails here, and so does a rule that nothing breaks any more."""
    assert test_chain.ATTACKS and test_eras.ATTACKS and test_portfolio.ATTACKS and test_verify.TREE
    assert test_lineage and test_verify_eras and test_displaced
    assert set(COVERED) | set(ATTACKED_ELSEWHERE) == set(RULES)
    assert not set(COVERED) & set(ATTACKED_ELSEWHERE)


@pytest.mark.parametrize("rule", RULES.values(), ids=str)
def test_every_rule_is_a_line_for_people_too(rule: object) -> None:
    """A name of two words, one error class, and a text that fits a line."""
    one = RULES[rule.name]  # type: ignore[attr-defined]
    assert one.name.count(".") == 1 and one.name == one.name.lower()
    assert issubclass(one.error, LedgerError)
    assert 10 < len(one.text) <= 80 and not one.text.endswith(".")


def test_violations_come_in_the_order_of_the_table() -> None:
    """Whatever order the work ran in; records keep theirs."""
    found = [violation(name, "x", index=1) for name in RULES]
    shuffled = found.copy()
    random.Random(1).shuffle(shuffled)
    assert in_order(shuffled) == found
    same = [violation("record.fields", str(number)) for number in range(5)]
    assert in_order(same) == same


def test_none_is_no_refusal_and_any_is_one() -> None:
    """`Refused` carries what was broken, in order."""
    check_none([])
    with pytest.raises(Refused) as caught:
        check_none([violation("record.fields", "two"), violation("leaf.form", "one")])
    assert [one.rule.name for one in caught.value.violations] == ["leaf.form", "record.fields"]
    assert str(caught.value) == "leaf.form: one; record.fields: two"
