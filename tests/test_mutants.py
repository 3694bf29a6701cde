"""tests.mutants: the list is true of the code as it stands, and the hunt tells the caught from the others."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import (
    LIST,
    ROOT,
    Found,
    Mutant,
    copy_tree,
    hunt,
    line_of,
    main,
    mutated,
    parse_list,
    run_tests,
)

MUTANTS = parse_list(LIST.read_text())
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
LEAF_PREV = BY_NAME["leaf-prev"]
HUNTED = ("leaf-prev", "roster-quorum", "witness-proof")
"""Of each layer that decides something: a rule of leaves, of rosters, and of a node."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away copy of the project."""
    made = tmp_path_factory.mktemp("mutants") / "tree"
    copy_tree(made)
    return made


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_check_stands_where_the_list_says(mutant: Mutant) -> None:
    """Exactly once, as a program without it that still parses; and the tests named are there."""
    text = (ROOT / mutant.module).read_text()
    assert text.count(mutant.fragment) == 1, "the code has moved: say again which fragment is the check"
    changed = text.replace(mutant.fragment, mutant.replacement)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)), "nothing is switched off"
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in mutants.tests_of(ROOT / file), test


def test_no_check_stands_twice_in_the_list() -> None:
    """By name, and by what is switched off."""
    assert len(BY_NAME) == len(MUTANTS) >= 40
    assert len({(one.module, one.fragment, one.replacement) for one in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("name", HUNTED)
def test_a_check_switched_off_is_noticed(tree: Path, name: str) -> None:
    """By a test, at once."""
    found = hunt(tree, BY_NAME[name], seeds=0)
    assert found.is_caught and found.test.partition("[")[0] in {
        one.partition("[")[0] for one in BY_NAME[name].tests
    }


def test_a_change_that_switches_nothing_off_is_told_as_not_caught(tree: Path) -> None:
    """The hunt can fail: else it would show nothing."""
    harmless = replace(LEAF_PREV, replacement=LEAF_PREV.fragment.replace("(leaf.prev", "( leaf.prev"))
    harmless = replace(harmless, tests=("tests/test_leaf.py",))
    found = hunt(tree, harmless, seeds=0)
    assert not found.is_caught and "NOT CAUGHT (survived)" in line_of(found)


@pytest.mark.parametrize("replacement", ["(nowhere, 'leaf.prev'", "(((, 'leaf.prev'"])
def test_a_program_that_does_not_run_is_not_caught(tree: Path, replacement: str) -> None:
    """It fails every test, and shows nothing about the check."""
    broken = replace(LEAF_PREV, replacement=replacement, tests=("tests/test_chain.py",))
    found = hunt(tree, broken, seeds=0)
    assert not found.is_caught and found.why.startswith("does not run")


def test_a_copy_is_whole_again_after_a_mutant(tree: Path) -> None:
    """And the tree itself is never touched."""
    before = (ROOT / LEAF_PREV.module).read_text()
    with mutated(tree, LEAF_PREV):
        assert (tree / LEAF_PREV.module).read_text() != before
        assert (ROOT / LEAF_PREV.module).read_text() == before
    assert (tree / LEAF_PREV.module).read_text() == before
    assert run_tests(tree, ["tests/test_leaf.py"]) == ("", "")


def test_the_seed_that_caught_a_mutant_is_told() -> None:
    """For whoever wants to see it again."""
    line = line_of(Found(mutant=LEAF_PREV, seed=12, seconds=1.5))
    assert "simulator" in line and " 12 " in line


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert main(["no-such-check"]) == 2
    assert "leaf-prev" in capsys.readouterr().out
