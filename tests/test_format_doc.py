"""docs/FORMAT.md says what the code does: its example, its tables of rules, its limits."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import ledger
from ledger.rules import RULES
from tests import format_example

TEXT = format_example.DOCUMENT.read_text(encoding="utf-8")
RULE_ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| ([A-Z][a-z]+) \| ([a-z]+) \| (.+) \|$", re.MULTILINE)
LIMIT_ROW = re.compile(r"^\| `((?:ledger|node)\.[a-z_]+)\.([A-Z_]+)` \| ([0-9]+) \| .+ \|$", re.MULTILINE)
BOUND = re.compile(r"[A-Z_]+_(?:MAX|MIN|BELOW|FREE)")


def test_the_example_is_what_the_code_makes() -> None:
    """Every byte of section 18; ``python -m tests.format_example`` writes it again."""
    assert format_example.document_with(format_example.render()) == TEXT


def test_each_rule_of_the_table_is_in_the_document_once() -> None:
    """With its class and whose fault a breach is; and the document knows no other."""
    rows = RULE_ROW.findall(TEXT)
    documented = {name: (error, fault) for name, error, fault, _ in rows}
    assert len(documented) == len(rows)
    assert documented == {rule.name: (rule.error.__name__, rule.fault) for rule in RULES.values()}


@pytest.mark.parametrize("verdict", ["leaf", "record"])
def test_the_rules_stand_in_the_order_in_which_they_are_reported(verdict: str) -> None:
    """The table of a verdict is in the table's order."""
    names = [name for name in RULES if RULES[name].verdict == verdict and name != "record.proof"]
    assert [name for name, *_ in RULE_ROW.findall(TEXT) if name in names] == names


def test_rule_names_in_the_prose_exist() -> None:
    """A rule that was renamed is found wherever it is mentioned."""
    areas = {name.split(".")[0] for name in RULES}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)`", TEXT) if name.split(".")[0] in areas}
    others = {"roster.adopt", "log.reconcile", "checkpoint.certified"}
    assert named - others <= set(RULES)


@pytest.mark.parametrize(("module", "name", "value"), LIMIT_ROW.findall(TEXT))
def test_each_limit_of_the_document_has_its_value(module: str, name: str, value: str) -> None:
    """Section 17 names constants of the code."""
    assert getattr(importlib.import_module(module), name) == int(value)


def test_each_limit_of_the_rules_is_in_the_document() -> None:
    """No bound on what a verifier takes may be unwritten."""
    documented = {f"{module}.{name}" for module, name, _ in LIMIT_ROW.findall(TEXT)}
    found = set()
    for info in pkgutil.iter_modules(ledger.__path__, "ledger."):
        for name, value in vars(importlib.import_module(info.name)).items():
            if BOUND.fullmatch(name) and type(value) is int:
                found.add((info.name, name, value))
    missing = [
        f"{module}.{name}"
        for module, name, value in sorted(found)
        if f"{module}.{name}" not in documented and not _is_imported(module, name, value, documented)
    ]
    assert missing == []


def _is_imported(module: str, name: str, value: int, documented: set[str]) -> bool:
    """Whether a module only uses a bound that another defines and the document names."""
    owners = [one for one in documented if one.endswith(f".{name}") and not one.startswith(f"{module}.")]
    return any(getattr(importlib.import_module(one.rpartition(".")[0]), name) == value for one in owners)
