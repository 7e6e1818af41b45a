"""What `python -m build` makes installs, and runs, where there is neither Node nor the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from spinefx.learning.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGE = "spinefx/app/pages/index.html"


def run(command: Sequence[str | Path], cwd: Path, path: str | None = None) -> str:
    """Run a program with no trace of this checkout in its environment; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source distribution and wheel, the wheel built from the source distribution."""
    pytest.importorskip("build", reason="build is not installed")
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", folder, ROOT], folder)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_both_distributions_carry_the_pages(distributions: tuple[Path, Path]) -> None:
    source, wheel = distributions
    with tarfile.open(source) as archive:
        assert any(name.endswith(f"src/{PAGE}") for name in archive.getnames())
        assert not any("node_modules" in name for name in archive.getnames())
    with zipfile.ZipFile(wheel) as archive:
        assert PAGE in archive.namelist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source", "wheel"])
def test_the_demo_runs_from_a_distribution_without_node(
    distributions: tuple[Path, Path], kind: str, tmp_path: Path
) -> None:
    distribution = distributions[kind == "wheel"]
    run([sys.executable, "-m", "venv", tmp_path / "venv"], tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    bare = f"{python.parent}:/nowhere"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    run([*install, f"spinefx[train] @ {distribution.as_uri()}"], tmp_path, path=bare)
    recipe = Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2)
    (tmp_path / "tiny.toml").write_text(recipe.dump(), encoding="utf-8")
    demo = ["demo", "small", "--patients", "12", "--recipe", "tiny.toml"]
    printed = run([python.parent / "spinefx", *demo], tmp_path, path=bare)
    assert "phantom" in printed.lower()
    assert list((tmp_path / "small").glob("**/report.html"))
