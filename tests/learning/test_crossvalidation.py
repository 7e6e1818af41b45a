"""The same recipe gives the same bits, whatever the processes, order and interruptions; no signal, no score."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spinefx.cases.patch import PatchSettings, PatchStack
from spinefx.errors import InputError, ModelError, WorkspaceError
from spinefx.learning import crossvalidation
from spinefx.learning.classifier import Classifier
from spinefx.learning.crossvalidation import CrossValidation, cross_validate
from spinefx.learning.device import Route
from spinefx.learning.lockstep import fit_together
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis

Cohort = tuple[list[PatchStack], dict[str, Diagnosis]]


def run(cohort: Cohort, recipe: Recipe, folder: Path, **more: object) -> CrossValidation:
    return cross_validate(cohort[0], cohort[1], recipe, folder, cohort_digest="sha256:c", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(cohort: Cohort, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[CrossValidation, Path]:
    folder = tmp_path_factory.mktemp("reference")
    return run(cohort, tiny, folder), folder


def test_every_slice_is_predicted_once_by_a_model_that_has_not_seen_the_patient(
    reference: tuple[CrossValidation, Path], cohort: Cohort
) -> None:
    result, folder = reference
    asked = sorted((stack.case_id, index) for stack in cohort[0] for index in stack.slices)
    assert [(one.case_id, one.slice_index) for one in result.predictions] == asked
    for prediction in result.predictions:
        fold = result.folds[prediction.fold - 1]
        assert prediction.participant_id in fold.test
        assert prediction.participant_id not in fold.training
        assert prediction.model_digest == Classifier.load(folder / fold.label).digest
    assert all(len(one.history.rows) == 2 for one in result.results)
    assert not list(folder.glob("*/checkpoint*"))


def test_stored_model_repeats_its_predictions(reference: tuple[CrossValidation, Path], cohort: Cohort) -> None:
    result, folder = reference
    stack = cohort[0][0]
    mine = [one for one in result.predictions if one.case_id == stack.case_id]
    again = Classifier.load(folder / result.folds[mine[0].fold - 1].label).predict(stack)
    np.testing.assert_allclose([one.probability for one in again], [one.probability for one in mine], rtol=1e-5)


def test_processes_and_order_do_not_change_a_bit(
    reference: tuple[CrossValidation, Path], cohort: Cohort, tiny: Recipe, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    other = run((cohort[0][::-1], cohort[1]), tiny, tmp_path, workers=2, progress=lambda *step: told.append(step))
    assert other == reference[0]
    assert sorted(told) == [(fold, epoch, 2) for fold in ("fold-01", "fold-02") for epoch in (1, 2)]


def test_torch_settings_are_restored(cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(9)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    run(cohort, tiny.changed(epochs=1), tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


class _CutOff(Exception):
    """Stand in for Control-C."""


def _cut_after(count: int) -> Callable[[str, int, int], None]:
    left = [count]

    def tell(label: str, epoch: int, epochs: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _CutOff

    return tell


@pytest.mark.parametrize("stopping", ["none", "inner_split"])
def test_interrupted_runs_end_with_the_same_bits(stopping: str, cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny.changed(early_stopping_on=stopping, epochs=3, dropout=0.5)
    whole = run(cohort, recipe, tmp_path / "whole")
    for count in (1, 1, 2):  # in epoch 1 and 2 of the first fold, then in the second fold
        with pytest.raises(_CutOff):
            run(cohort, recipe, tmp_path / "cut", progress=_cut_after(count))
    steps: list[tuple[str, int, int]] = []
    resumed = run(cohort, recipe, tmp_path / "cut", progress=lambda *step: steps.append(step))
    assert resumed == whole
    assert steps == [("fold-02", 2, 3), ("fold-02", 3, 3)]  # nothing is done twice
    weights = [(tmp_path / name / "fold-02" / "weights.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_lockstep_predicts_as_the_plain_loop_and_restarts_folds_of_another_route(
    reference: tuple[CrossValidation, Path],
    cohort: Cohort,
    tiny: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Stands for the GPU, which reads data and takes steps by the same code.
    route = Route("cuda", "lockstep", "", folds_at_once=10)
    monkeypatch.setattr(crossvalidation, "fit_together", lambda jobs, _, **more: fit_together(jobs, "cpu", **more))
    with pytest.raises(_CutOff):
        run(cohort, tiny, tmp_path, progress=_cut_after(1))
    result = run(cohort, tiny, tmp_path, route=route)
    assert result.restarted == ("fold-01",)
    assert result.audit == reference[0].audit
    for mine, plain in zip(result.predictions, reference[0].predictions, strict=True):
        assert (mine.case_id, mine.slice_index) == (plain.case_id, plain.slice_index)
        assert mine.probability == pytest.approx(plain.probability, abs=1e-5)
        assert Classifier.load(tmp_path / f"fold-{mine.fold:02d}").card.software["route"] == "lockstep"
    assert not list(tmp_path.glob("*/checkpoint*"))
    assert run(cohort, tiny, tmp_path, route=route).results == result.results


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_training_does_not_resume_from_a_damaged_checkpoint(
    damage: str, reference: tuple[CrossValidation, Path], cohort: Cohort, tiny: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(_CutOff):
        run(cohort, tiny, tmp_path, progress=_cut_after(1))
    path = tmp_path / "fold-01" / "checkpoint.safetensors"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-9] ^= 64
    path.write_bytes({"torn": data[: len(data) // 2], "flipped": bytes(flipped), "empty": b""}[damage])
    assert run(cohort, tiny, tmp_path) == reference[0]


def test_damaged_fold_is_trained_again(
    reference: tuple[CrossValidation, Path], cohort: Cohort, tiny: Recipe, tmp_path: Path
) -> None:
    run(cohort, tiny, tmp_path)
    weights = tmp_path / "fold-02" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert run(cohort, tiny, tmp_path) == reference[0]


KILLED = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from conftest import make_cohort
from spinefx.learning.crossvalidation import cross_validate
from spinefx.learning.recipe import Recipe
if __name__ == "__main__":
    stacks, truth = make_cohort(6, 8, size=32)
    recipe = Recipe.parse(pathlib.Path(sys.argv[3]).read_text())
    cross_validate(stacks, truth, recipe, pathlib.Path(sys.argv[1]), cohort_digest="sha256:c", workers=int(sys.argv[4]))
"""


def _start(tmp_path: Path, recipe: Recipe, workers: int) -> subprocess.Popen[bytes]:
    (tmp_path / "recipe.toml").write_text(recipe.dump())
    (tmp_path / "killed.py").write_text(KILLED)
    paths = (tmp_path / "killed.py", tmp_path / "run", Path(__file__).parent, tmp_path / "recipe.toml")
    process = subprocess.Popen(
        [sys.executable, *paths, str(workers)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a run in the background ignores Ctrl-C
    )
    deadline = time.monotonic() + 300
    while not list((tmp_path / "run").glob("fold-0*/checkpoint.safetensors")):
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_killed_run_resumes_to_the_same_bits(cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny.changed(epochs=6)
    process = _start(tmp_path, recipe, workers=1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    assert not (tmp_path / "run" / "fold-02" / "fold.json").exists()
    assert run(cohort, recipe, tmp_path / "run") == run(cohort, recipe, tmp_path / "whole")


def test_control_c_stops_all_processes_at_once(tiny: Recipe, tmp_path: Path) -> None:
    process = _start(tmp_path, tiny.changed(epochs=1000), workers=2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert error.decode().rstrip().endswith("KeyboardInterrupt")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/*")}
    time.sleep(0.5)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/*")} == before


def test_a_folder_does_not_mix_recipes_cohorts_or_data(
    reference: tuple[CrossValidation, Path], cohort: Cohort, tiny: Recipe
) -> None:
    folder = reference[1]
    with pytest.raises(WorkspaceError, match=r"epochs \(was 2, now 3\)"):
        run(cohort, tiny.changed(epochs=3), folder)
    with pytest.raises(WorkspaceError, match="cohort_digest"):
        cross_validate(*cohort, tiny, folder, cohort_digest="sha256:other")
    with pytest.raises(WorkspaceError, match="data_digest"):
        run((cohort[0], {**cohort[1], "sub-000": Diagnosis.BENIGN, "sub-007": Diagnosis.MALIGNANT}), tiny, folder)


def test_bad_inputs_are_refused(
    cohort: Cohort, tiny: Recipe, tmp_path: Path, stack_maker: Callable[..., PatchStack]
) -> None:
    stacks, truth = cohort
    with pytest.raises(InputError, match="twice"):
        run(([*stacks, stacks[0]], truth), tiny, tmp_path)
    with pytest.raises(InputError, match="sub-003"):
        run((stacks, {case: answer for case, answer in truth.items() if case != "sub-003"}), tiny, tmp_path)
    with pytest.raises(InputError, match="recipe says"):
        run((stacks, truth), tiny.changed(patch_size=48), tmp_path)
    with pytest.raises(InputError, match="random"):
        run((stacks, truth), tiny, tmp_path, weights=tmp_path / "w.pth")
    assert PatchSettings(size=32) == tiny.patch_settings
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_errors_in_workers_keep_their_names(cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "fold-01").write_text("in the way of a folder")
    with pytest.raises(WorkspaceError, match="could not be written"):
        run(cohort, tiny, tmp_path, workers=2)


@pytest.mark.parametrize(("name", "watched"), [("inner_split", "inner"), ("test_fold", "test"), ("none", "")])
def test_the_lowest_watched_loss_is_kept(name: str, watched: str, cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    patience = 0 if name == "none" else 1
    result = run(cohort, tiny.changed(early_stopping_on=name, epochs=5, patience=patience), tmp_path)
    for one in result.results:
        losses = [row.validation_loss for row in one.history.rows]
        assert one.history.watched == watched
        if name == "none":
            assert losses == [None] * 5
            assert one.history.kept_epoch == 5
        else:
            assert one.history.kept_epoch == 1 + int(np.argmin(np.array(losses, float)))
            assert len(losses) == min(5, one.history.kept_epoch + patience)
    assert bool(result.optimistic) is (name == "test_fold")
    declared = [sentence for check in result.audit.checks for sentence in check.declared]
    assert bool(declared) is (name == "test_fold")


def test_bfloat16_trains_close_to_float32(cohort: Cohort, tiny: Recipe, tmp_path: Path) -> None:
    runs = [run(cohort, tiny.changed(dtype=dtype, epochs=1), tmp_path / dtype) for dtype in ("float32", "bfloat16")]
    losses = [one.results[0].history.rows[0].training_loss for one in runs]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def auc(result: CrossValidation, truth: dict[str, Diagnosis]) -> tuple[float, float]:
    """Per-patient AUC and the half-width of its interval without signal (normal, 99.7 %)."""
    scores = {case: max(p.probability for p in result.predictions if p.case_id == case) for case in truth}
    ill = np.array([scores[case] for case in truth if truth[case] == Diagnosis.MALIGNANT])
    well = np.array([scores[case] for case in truth if truth[case] == Diagnosis.BENIGN])
    wins = np.mean(np.sign(ill[:, None] - well) / 2 + 0.5)
    return float(wins), 3 * np.sqrt((len(ill) + len(well) + 1) / (12 * len(ill) * len(well)))


def test_signal_is_found_and_shuffled_labels_are_not(
    tiny: Recipe, tmp_path: Path, cohort_maker: Callable[..., Cohort]
) -> None:
    stacks, truth = cohort_maker(16, 24, size=32)
    recipe = tiny.changed(epochs=8, copies_benign=2, copies_malignant=3)
    found, half = auc(run((stacks, truth), recipe, tmp_path / "true"), truth)
    assert found > 0.5 + half
    order = np.random.default_rng(1).permutation(list(truth.values()))
    shuffled = {case: Diagnosis(answer) for case, answer in zip(truth, order, strict=True)}
    found, half = auc(run((stacks, shuffled), recipe, tmp_path / "shuffled"), shuffled)
    assert abs(found - 0.5) < half


def test_the_folder_records_the_recipe(reference: tuple[CrossValidation, Path], tiny: Recipe) -> None:
    identity = json.loads((reference[1] / "crossvalidation.json").read_text())
    assert Recipe.from_mapping(identity["recipe"]) == tiny
    with pytest.raises(ModelError):
        Classifier.load(reference[1])
