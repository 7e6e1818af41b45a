"""Scoring needs no torch, answers as torch does, and says what to do where something is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spinefx.commands.export import export
from spinefx.commands.predict import predict
from spinefx.commands.train import train
from spinefx.errors import MissingPackage, ModelError
from spinefx.learning.onnx_model import graph_is_current
from spinefx.learning.recipe import Recipe
from spinefx.learning.scoring import load_models
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

HEAVY = {"torch", "monai", "onnx", "torchvision"}
# Runs the shell in a new process, some packages made impossible to import, and says what it imported.
SHELL = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from spinefx.cli import main
try:
    main(sys.argv[2:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def shell(*arguments: object, without: tuple[str, ...] = ()) -> tuple[int, str, list[str], set[str]]:
    """Exit code, standard output, lines of standard error, and the modules that were imported."""
    command = [sys.executable, "-c", SHELL, json.dumps(without), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *lines, modules = done.stderr.strip().splitlines()
    return done.returncode, done.stdout, lines, set(json.loads(modules))


def study_of(trained: Path) -> tuple[Path, dict[str, str]]:
    lesion = {record.case_id: record.lesion for record in read_lesions(Workspace(trained))}["sub-001"]
    box = ",".join(f"{value:.3f}" for value in (*lesion.box.centre_mm, lesion.box.side_mm))
    return trained / "sub-001" / "anat", {"box": box, "slices": f"{lesion.first_slice}-{lesion.last_slice}"}


@pytest.fixture
def old_model(trained: Path, tmp_path: Path) -> Path:
    """A model as versions before graphs wrote it."""
    fold = tmp_path / "old"
    shutil.copytree(trained / "experiments" / "quick" / "models" / "fold-01", fold)
    for name in ("graph.json", "model.onnx", "model.onnx.data"):
        (fold / name).unlink()
    return fold


def test_both_engines_give_the_same_answer(trained: Path) -> None:
    study, lesion = study_of(trained)
    model = trained / "experiments" / "quick"
    ours, torchs = predict(model, study, **lesion), predict(model, study, engine="torch", **lesion)
    assert ours["model"]["engine"]["name"] == "onnxruntime"
    assert torchs["model"]["engine"]["name"] == "torch"
    assert all(one["model"]["engine"]["version"] for one in (ours, torchs))
    for key in ("probability", "corrected_probability"):
        assert ours["patient"][key] == pytest.approx(torchs["patient"][key], abs=1e-6)
        for one, other in zip(ours["slices"], torchs["slices"], strict=True):
            assert one[key] == pytest.approx(other[key], abs=1e-6)
    assert ours["model"]["digests"] == torchs["model"]["digests"]


def test_scoring_works_and_is_lean_without_torch(trained: Path) -> None:
    study, lesion = study_of(trained)
    flags = ("--box", lesion["box"], "--slices", lesion["slices"])
    model = trained / "experiments" / "quick"
    code, out, lines, modules = shell("predict", model, study, *flags)
    assert (code, lines) == (0, [])
    assert "onnxruntime" in modules
    assert not (HEAVY | {"matplotlib", "rich.progress"}) & modules
    without = shell("predict", model, study, *flags, without=("torch", "onnx", "monai"))
    assert without[:2] == (0, out)


def test_help_imports_no_numbers() -> None:
    for arguments in (("--help",), ("predict", "--help")):
        code, out, _, modules = shell(*arguments)
        assert code == 0
        assert "predict" in out
        assert not (HEAVY | {"numpy", "scipy", "onnxruntime", "pydicom", "pydantic", "matplotlib"}) & modules


def test_commands_that_need_torch_say_so_without_it(trained: Path) -> None:
    for arguments in (("train", trained), ("export", trained / "experiments" / "quick"), ("demo", trained / "demo")):
        code, out, lines, _ = shell(*arguments, without=("torch",))
        assert (code, out, len(lines)) == (1, "", 1)
        assert "MissingPackage: torch is not installed" in lines[0]
        assert "pip install 'spinefx[train]'" in lines[0]


def test_a_model_without_onnx_file_uses_torch_or_says_how_to_export(
    trained: Path, old_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, lesion = study_of(trained)
    before = predict(old_model, study, **lesion)
    assert before["model"]["engine"]["name"] == "torch"
    with pytest.raises(ModelError, match="spinefx export MODEL"):
        load_models(old_model, engine="onnxruntime")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "spinefx.learning.classifier", None)
        with pytest.raises(ModelError, match="spinefx export MODEL"):
            load_models(old_model)
        with pytest.raises(MissingPackage, match=r"spinefx\[train\]"):
            load_models(old_model, engine="torch")
    (one,) = export([old_model])
    assert one.card.probability_error < 1e-4
    after = predict(old_model, study, **lesion)
    assert after["model"]["engine"]["name"] == "onnxruntime"
    assert after["patient"]["probability"] == pytest.approx(before["patient"]["probability"], abs=1e-6)
    with pytest.raises(ModelError, match="onnxruntime, torch"):
        load_models(old_model, engine="abacus")


def test_training_writes_onnx_files_and_replaces_a_missing_one(trained: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(trained, study)
    models = study / "experiments" / "quick" / "models"
    folds = [models / "fold-01", models / "fold-02"]
    assert all(map(graph_is_current, folds))
    wanted = {path: path.read_bytes() for path in models.rglob("fold.json")}
    weights = {path: path.read_bytes() for path in models.rglob("model.onnx*")}
    (folds[0] / "graph.json").unlink()
    (folds[1] / "model.onnx.data").write_bytes(b"torn")
    assert not any(map(graph_is_current, folds))
    train(study, Recipe.preset("quick").changed(folds=2, epochs=1, copies_benign=1, copies_malignant=2))
    assert all(map(graph_is_current, folds))
    assert all(path.read_bytes() == data for path, data in (wanted | weights).items())
