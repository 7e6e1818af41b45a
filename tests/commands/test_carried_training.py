"""Patches carried to a machine with NumPy, safetensors and torch alone are trained there to the same numbers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from spinefx.workspace.experiment import Experiment

# What docs/gpu.md says to leave at home: voxels of whole series, pictures, other experiments.
LEFT_AT_HOME = ("*.nii.gz", "*_sheet.png", "experiments")
# Everything else of the environment is refused, as if it were not installed.
SCRIPT = """
import sys, sysconfig
from importlib.machinery import PathFinder

ALLOWED = {"numpy", "safetensors", "torch", "torchgen", "spinefx"}
# What torch brings along by itself.
ALLOWED |= {"filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "setuptools", "sympy"}
ALLOWED |= {"typing_extensions"}
BOUGHT = tuple(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))

class Narrowed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        is_bought = spec is not None and str(spec.origin).startswith(BOUGHT)
        return None if is_bought and "." not in name and name not in ALLOWED else spec

sys.meta_path = [Narrowed if finder is PathFinder else finder for finder in sys.meta_path]
try:
    import scipy
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the refusal does not work")

from pathlib import Path
from spinefx.learning.recipe import Recipe
from spinefx.commands.train import train

train(Path(sys.argv[1]), Recipe.load(Path(sys.argv[2])), device="cpu")
"""


def test_training_needs_only_numpy_safetensors_and_torch(trained: Path, tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    shutil.copytree(trained, carried, ignore=shutil.ignore_patterns(*LEFT_AT_HOME))
    home = Experiment(trained / "experiments" / "quick")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(carried), str(home.recipe_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    away = Experiment(carried / "experiments" / "quick")
    assert away.read_predictions() == home.read_predictions()
    for name in ("folds.tsv", "history.tsv", "audit.tsv", "readings.tsv"):
        assert (away.folder / name).read_text() == (home.folder / name).read_text()
