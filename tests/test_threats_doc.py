"""docs/THREATS.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_named_test_exists() -> None:
    """A threat whose test was renamed or deleted is one that nobody watches."""
    named = re.findall(r"`(test_\w+)::(test_\w+)`", (ROOT / "docs" / "THREATS.md").read_text())
    assert len(named) > 30
    missing = [
        f"{module}::{name}"
        for module, name in named
        if f"def {name}(" not in (ROOT / "tests" / f"{module}.py").read_text()
    ]
    assert not missing
