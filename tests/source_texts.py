"""The sentences in a package's source, as templates: for tests that hold texts to what is said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GAP = "\x00"
"""Where a value stands in a template."""


def template_of(node: ast.AST) -> str | None:
    """A string constant or f-string with its values as gaps; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else GAP for one in node.values)
        return "".join(map(str, parts))
    return None


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of nodes that are docstrings, of modules, classes, functions and constants."""
    bodies = (one.body for one in ast.walk(tree) if isinstance(getattr(one, "body", None), list))
    return {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}


def strings(tree: ast.AST) -> Iterator[ast.AST]:
    """Every string of a module but docstrings; an f-string whole, not its parts."""
    hidden = docstrings(tree)
    inner = {id(part) for one in ast.walk(tree) if isinstance(one, ast.JoinedStr) for part in one.values}
    for node in ast.walk(tree):
        if id(node) not in hidden | inner and template_of(node) is not None:
            yield node


def templates(*folders: str | Path) -> set[str]:
    """Every template in the modules of these folders (or files)."""
    found: set[str] = set()
    for folder in map(Path, folders):
        path = folder if folder.is_absolute() else ROOT / folder
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found |= {str(template_of(node)) for node in strings(tree)}
    return found


def holds(template: str, literals: list[str]) -> bool:
    """Whether these literals stand in a template, in order."""
    at = 0
    for literal in literals:
        at = template.find(literal, at)
        if at < 0:
            return False
        at += len(literal)
    return True


def has_cyrillic(text: str) -> bool:
    """Whether any Russian letter is in it."""
    return re.search("[А-Яа-яЁё]", text) is not None
