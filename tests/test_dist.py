"""What is handed out: the wheel, built by way of the sdist, installed where there is no checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_PYTHON = {
    path.relative_to(ROOT).as_posix()
    for folder in ("ledger", "node", "cli")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
}
"""The lists, samples, texts and profiles that the commands read."""


def run(*command: object, cwd: Path) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run([str(one) for one in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of this checkout, built in a copy of what git would hand out."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--outdir", folder, cwd=source)
    return folder


def test_sdist_and_wheel_carry_every_data_file(built: Path) -> None:
    """A list of kinds or a text that is only in the checkout would be missed by whoever installs."""
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) >= NOT_PYTHON
        assert not [name for name in archive.namelist() if name.startswith("tests/")]
    with tarfile.open(sdist) as archive:
        assert {name.partition("/")[2] for name in archive.getnames()} >= NOT_PYTHON


@pytest.mark.slow
def test_the_demo_runs_from_the_installed_wheel(built: Path, tmp_path: Path) -> None:
    """Into a clean environment, with no checkout near: founding, lists, copies, dossier."""
    [wheel] = built.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    where = run(python, "-c", "import ledger; print(ledger.__path__[0])", cwd=tmp_path)
    assert where.startswith(str(tmp_path))
    pledger = tmp_path / "venv" / "bin" / "pledger"
    report = json.loads(run(pledger, "demo", "--dir", tmp_path / "demo", "--json", cwd=tmp_path))
    assert report["records"] > 200 and Path(report["dossier"]).is_file()
