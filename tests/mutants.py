"""Mutants: each safety check is switched off in turn, and a test or the simulator must notice.

::

    python -m tests.mutants [NAME...]     the table: check, caught by, seed, seconds; exit 1 if one survives

The list is ``tests/safety_checks.txt`` (`parse_list`). A mutant lives in a throw-away copy of the tree, never
in the tree itself. First its own few tests run; if they pass, the whole files in which they stand; then, if
there is a simulator, its first seeds. Before all that the unchanged copy must pass: a test that fails anyway
catches nothing. A mutant that does not run (import, collection, an unknown name), or that outlasts its time,
is not caught either: it shows nothing about the check.
"""

from __future__ import annotations

import ast
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_S = 300
"""Of one run of tests: the slowest file takes a minute on two busy cores."""
SEEDS = 20
"""Seeds that are tried on a mutant whom no test catches: some minutes."""
LIST = Path(__file__).with_name("safety_checks.txt")
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
_FAILED = re.compile(r"^FAILED (tests/\S+?::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
_NO_MUTANT = re.compile(r"^E +(NameError|UnboundLocalError|ImportError|SyntaxError)", re.MULTILINE)
"""What a fragment that was cut wrongly ends in, whatever it was cut from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One check, and what the program looks like without it."""

    name: str
    check: str
    module: str
    fragment: str
    """Stands in the module exactly once."""
    replacement: str
    tests: tuple[str, ...]
    """Which ought to notice: few, so that a mutant costs seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What caught a mutant: a test, or a seed of the simulator; neither if it survived."""

    mutant: Mutant
    test: str = ""
    seed: int | None = None
    why: str = "survived"
    seconds: float = 0.0

    @property
    def is_caught(self) -> bool:
        """Whether anything noticed."""
        return bool(self.test) or self.seed is not None


def parse_list(text: str) -> tuple[Mutant, ...]:
    """Return the mutants of a list.

    Blocks stand between empty lines: ``== module``, or ``name: the check`` with lines ``- fragment``,
    ``+ replacement`` (none: ``if False:``), ``= test``; lines with ``#`` are for people.
    """
    mutants, module = list[Mutant](), ""
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines and lines[0].startswith("== "):
            module = lines.pop(0)[3:]
        if lines:
            mutants.append(_parse_block(lines, module))
    return tuple(mutants)


def _parse_block(lines: Sequence[str], module: str) -> Mutant:
    name, _, check = lines[0].partition(": ")
    parts: dict[str, list[str]] = {"-": [], "+": [], "=": []}
    for line in lines[1:]:
        parts[line[0]].append(line[2:])
    fragment = "\n".join(parts["-"])
    off = fragment[: len(fragment) - len(fragment.lstrip())] + "if False:"
    return Mutant(
        name=name,
        check=check,
        module=module,
        fragment=fragment,
        replacement="\n".join(parts["+"]) if parts["+"] else off,
        tests=tuple(f"tests/{test}" for test in parts["="]),
    )


def copy_tree(target: Path) -> None:
    """Copy what tests need of the project, and nothing that git or an editor keeps there."""
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT)


@contextmanager
def mutated(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Switch the check off in a copy, for as long as the block runs."""
    path = tree / mutant.module
    text = path.read_text()
    assert text.count(mutant.fragment) == 1, f"{mutant.name}: {mutant.module} has not one such fragment"
    try:
        _write(path, text.replace(mutant.fragment, mutant.replacement))
        yield
    finally:
        _write(path, text)


def run_tests(tree: Path, tests: Sequence[str], *options: str) -> tuple[str, str]:
    """Run tests in a copy; return the first that failed ("" if none did) and what else went wrong."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short", *options]
    try:
        done = _run([*words, *tests], tree)
    except subprocess.TimeoutExpired:
        return "", f"no end within {LIMIT_S} s"
    failed = _FAILED.search(done.stdout)
    if done.returncode == 0:
        return "", ""
    if done.returncode != 1 or failed is None or _NO_MUTANT.search(done.stdout):
        said = (done.stdout + done.stderr).strip().splitlines()
        return "", f"does not run: {said[-1] if said else done.returncode}"
    return failed[1], ""


def first_seed(tree: Path, seeds: Iterable[int]) -> int | None:
    """Return the first seed with which the simulator fails, or None; None where there is no simulator."""
    if not (tree / "tests" / "simulator").is_dir():
        return None
    for seed in seeds:
        done = _run([sys.executable, "-m", "tests.simulator", "--seed", str(seed)], tree)
        if done.returncode and "FAILED:" in done.stdout:
            return seed
    return None


def hunt(tree: Path, mutant: Mutant, seeds: int = SEEDS) -> Found:
    """Return what catches a mutant."""
    start = time.monotonic()
    why, seed = "survived", None
    with mutated(tree, mutant):
        test, trouble = run_tests(tree, mutant.tests)
        if not test and not trouble:
            files = dict.fromkeys(one.partition("::")[0] for one in mutant.tests)
            test, trouble = run_tests(tree, list(files))
        if not test and not trouble:
            seed = first_seed(tree, range(seeds))
    return Found(mutant=mutant, test=test, seed=seed, why=trouble or why, seconds=time.monotonic() - start)


def hunt_all(mutants: Sequence[Mutant], jobs: int) -> Iterator[Found]:
    """Yield what catches each mutant, as it comes; raise if the tests fail without any."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as base, ThreadPoolExecutor(jobs) as pool:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            copy_tree(Path(base) / str(number))
            trees.put(Path(base) / str(number))
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        failed, trouble = run_tests(Path(base) / "0", tests, "-n", str(jobs))
        if failed or trouble:
            raise SystemExit(f"the tests fail with every check in place: {failed or trouble}")

        def one(mutant: Mutant) -> Found:
            tree = trees.get()
            try:
                return hunt(tree, mutant)
            finally:
                trees.put(tree)

        for done in as_completed([pool.submit(one, mutant) for mutant in mutants]):
            yield done.result()


def tests_of(path: Path) -> set[str]:
    """Return the names of the tests that a file has."""
    return {one.name for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.FunctionDef)}


def line_of(found: Found) -> str:
    """Return one line of the table."""
    by = found.test.removeprefix("tests/") or (
        f"NOT CAUGHT ({found.why})" if found.seed is None else "simulator"
    )
    seed = "-" if found.seed is None else str(found.seed)
    return f"{found.mutant.name:<28} {by:<98} {seed:>4} {found.seconds:6.1f}  {found.mutant.check}"


def main(names: Sequence[str]) -> int:
    """Hunt the mutants named, or all; return 1 if one survives."""
    mutants = parse_list(LIST.read_text())
    known = {mutant.name: mutant for mutant in mutants}
    if unknown := [name for name in names if name not in known]:
        _say(f"no such mutant: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    chosen = [known[name] for name in names] if names else list(mutants)
    _say(f"{'mutant':<28} {'caught by':<98} {'seed':>4} {'s':>6}  the check that is switched off")
    found = []
    for one in hunt_all(chosen, len(os.sched_getaffinity(0))):
        found.append(one)
        _say(line_of(one))
    survived = [one.mutant.name for one in found if not one.is_caught]
    _say(f"{len(found)} checks switched off, {len(found) - len(survived)} caught, {len(survived)} not")
    return 1 if survived else 0


def _run(words: Sequence[str], tree: Path) -> subprocess.CompletedProcess[str]:
    """Run a program on a copy: its modules, not those of the tree or of an installed package."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tree / ".hypothesis"),
    }
    return subprocess.run(
        words, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def _write(path: Path, text: str) -> None:
    """Write a module, and forget its bytecode: two versions within one second would pass for one."""
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
