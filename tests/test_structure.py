"""The shape of the code: what may import what, and how long anything may be.

A boundary that is only written down is crossed on a busy day.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("ledger", "node", "cli")
"""A package may import those before it, and itself."""
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

FILES = {
    path.relative_to(ROOT).as_posix(): path for layer in LAYERS for path in (ROOT / layer).glob("**/*.py")
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

ONLY = {
    "msgpack": {"ledger/codec.py"},
    "nacl": {"ledger/keys.py"},
    "jsonschema": {"ledger/statute.py"},
    "sqlite3": {"node/database.py"},
    "sqlite_utils": {"node/database.py"},
    "rich": {"cli/output.py"},
}
"""A library and the only modules that may import it."""

NOT_IN_LEDGER = {"os", "time", "random", "secrets", "socket", "pathlib", "asyncio", "threading", "subprocess"}
"""The rules of the record take clock, randomness and files as arguments."""


def statements(name: str) -> Iterator[ast.AST]:
    """All nodes of a module but those that only the type checker sees."""
    rest: list[ast.AST] = [TREES[name]]
    while rest:
        one = rest.pop()
        yield one
        hidden = isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"
        rest += [] if hidden else list(ast.iter_child_nodes(one))


def imports(name: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it."""
    for one in statements(name):
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            assert one.level == 0, f"{name}: relative imports hide where a name comes from"
            assert one.module is not None
            yield one.module
            yield from (f"{one.module}.{alias.name}" for alias in one.names)


def modules(name: str) -> set[str]:
    """The files of this project that a module imports."""
    found = {f"{dotted.replace('.', '/')}.py" for dotted in imports(name)}
    return found & set(FILES)


def importers(library: str) -> set[str]:
    """The modules that import a library."""
    return {name for name in FILES if any(one.split(".")[0] == library for one in imports(name))}


def test_imports_go_down_only() -> None:
    """cli -> node -> ledger, never up."""
    for name in FILES:
        layer = LAYERS.index(name.split("/")[0])
        for other in imports(name):
            top = other.split(".")[0]
            assert top not in LAYERS or LAYERS.index(top) <= layer, f"{name} imports {other}"
            assert top != "tests", f"{name} imports tests"


def test_packages_are_flat() -> None:
    """One concept a module, no folders of them."""
    assert all(name.count("/") == 1 for name in FILES)


def test_there_are_no_cycles() -> None:
    """A module can be understood after those that it imports."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in sorted(modules(name) - {name}):
                visit(other, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize(("library", "allowed"), ONLY.items())
def test_a_library_is_imported_in_one_place(library: str, allowed: set[str]) -> None:
    """What can be exchanged stands behind one module."""
    assert importers(library) <= allowed


def test_the_network_stays_at_the_edge() -> None:
    """aiohttp in node/http_*.py: routes and procedures are plain functions, the loops know no socket."""
    assert all(name.startswith("node/http_") for name in importers("aiohttp"))


@pytest.mark.parametrize("library", sorted(NOT_IN_LEDGER))
def test_the_rules_touch_no_clock_chance_file_or_network(library: str) -> None:
    """A verdict is a function of bytes."""
    assert not {name for name in importers(library) if name.startswith("ledger/")}


def test_the_rules_ask_no_clock_by_another_door() -> None:
    """`datetime` computes with days, it never reads the hour."""
    for name, tree in TREES.items():
        if name.startswith("ledger/"):
            calls = {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
            assert not calls & {"now", "utcnow", "today"}, name
            names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
            assert not names & {"open", "print", "input", "eval", "exec"}, name


@pytest.mark.parametrize("name", ["ledger/verify.py", "ledger/log_verifier.py"])
def test_the_verifier_has_no_cryptography_of_its_own(name: str) -> None:
    """It folds what other modules judge."""
    assert not {one.split(".")[0] for one in imports(name)} & {"hashlib", "hmac", "nacl", "msgpack"}


def test_certification_decides_no_leaf() -> None:
    """Which cosignatures one happens to hold must never change what is valid."""

    def reach(name: str) -> set[str]:
        found, rest = set[str](), {name}
        while rest:
            found |= rest
            rest = {other for one in rest for other in modules(one)} - found
        return found

    assert not reach("ledger/chain.py") & {"ledger/certify.py", "ledger/cosignature.py"}


def test_one_module_prints() -> None:
    """Everything that a person reads passes cli/output.py."""
    for name, tree in TREES.items():
        calls = (one for one in ast.walk(tree) if isinstance(one, ast.Call))
        prints = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "print"]
        assert not prints or name == "cli/output.py", f"{name} prints"


def test_no_module_and_no_function_is_too_long() -> None:
    """Past 500 and 60 lines it is two things."""
    for name, path in FILES.items():
        assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX, f"{name} is too long"
        for one in ast.walk(TREES[name]):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (one.end_lineno or 0) - one.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, f"{name}: {one.name} has {lines} lines"


def test_every_module_says_what_it_owns() -> None:
    """A docstring at its head, and at every public function and class."""
    for name, tree in TREES.items():
        if not name.endswith("__init__.py"):
            assert ast.get_docstring(tree), f"{name} has no docstring"
        for one in tree.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assert one.name.startswith("_") or ast.get_docstring(one), (
                    f"{name}: {one.name} has no docstring"
                )


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "handler", "misc", "common"])
def test_no_module_is_named_after_nothing(word: str) -> None:
    """A name says what is in it."""
    assert not [name for name in FILES if Path(name).stem == word]
