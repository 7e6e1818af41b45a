"""Each kind of leak, planted, is caught by name; a clean run passes; what a recipe declares is listed, not failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.errors import LeakError
from spinefx.learning import crossvalidation, training
from spinefx.learning.crossvalidation import CrossValidation, cross_validate
from spinefx.learning.duplicates import TWIN_CORRELATION, find_twins
from spinefx.learning.folds import Fold, split_folds
from spinefx.learning.leaks import Side
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis

Cohort = tuple[list[PatchStack], dict[str, Diagnosis]]


@pytest.fixture(scope="module")
def one_epoch(tiny: Recipe) -> Recipe:
    return tiny.changed(epochs=1)


def run(cohort: Cohort, recipe: Recipe, folder: Path) -> CrossValidation:
    return cross_validate(*cohort, recipe, folder, cohort_digest="sha256:c")


def audit_of(folder: Path) -> dict[str, Any]:
    checks: dict[str, Any] = {
        check["name"]: check for check in json.loads((folder / "audit.json").read_text())["checks"]
    }
    return checks


def test_clean_run_passes_every_check_with_numbers(cohort: Cohort, one_epoch: Recipe, tmp_path: Path) -> None:
    report = run(cohort, one_epoch.changed(early_stopping_on="inner_split"), tmp_path).audit
    assert report.passed
    assert len(report.checks) == 6
    assert all(check.compared > 0 for check in report.checks)
    assert audit_of(tmp_path)["fitted on test data"]["passed"] is True


def test_participant_on_two_sides_of_a_split(
    cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(truth: dict[str, Diagnosis], recipe: Recipe) -> tuple[Fold, ...]:
        first, *rest = split_folds(truth, recipe)
        return (replace(first, training=(*first.training, first.test[0])), *rest)

    monkeypatch.setattr(crossvalidation, "split_folds", leaking)
    with pytest.raises(LeakError, match=r"two sides.*sub-\d+ is on two sides of fold-01"):
        run(cohort, one_epoch, tmp_path)
    assert not audit_of(tmp_path)["participant on two sides, as split"]["passed"]
    assert not list(tmp_path.glob("fold-*")), "nothing is trained on a leaking split"


def test_inner_participant_in_training(
    cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(truth: dict[str, Diagnosis], recipe: Recipe) -> tuple[Fold, ...]:
        first, *rest = split_folds(truth, recipe)
        return (replace(first, training=(*first.training, first.inner[0])), *rest)

    monkeypatch.setattr(crossvalidation, "split_folds", leaking)
    with pytest.raises(LeakError, match="two sides"):
        run(cohort, one_epoch.changed(early_stopping_on="inner_split"), tmp_path)


def test_training_that_draws_a_test_patient_behind_the_split(
    cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The split is clean; the training side is fed other samples. Only what was drawn can tell.
    original = Side.__init__

    def leaking(self: Side, name: str, bank: Any, participants: Any, malignant: Any, ledger: Any) -> None:
        everyone = sorted({sample.participant_id for sample in bank.samples})
        original(self, name, bank, everyone if name == "training" else participants, malignant, ledger)

    monkeypatch.setattr(Side, "__init__", leaking)
    with pytest.raises(LeakError, match="drawn as training in fold-01 but belongs to test"):
        run(cohort, one_epoch, tmp_path)
    assert not audit_of(tmp_path)["fitted on test data"]["passed"]


@pytest.mark.parametrize("side", ["inner", "test"])
def test_augmented_copy_outside_training(
    side: str, cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Side.draw

    def leaking(self: Side, rows: Any, jitters: Any = None) -> Any:
        jitters = [Jitter(shift_row=0.01)] * len(rows) if self.name == side else jitters
        return original(self, rows, jitters)

    monkeypatch.setattr(Side, "draw", leaking)
    with pytest.raises(LeakError, match=f"augmented copy outside training.* on the {side} side"):
        run(cohort, one_epoch.changed(early_stopping_on="inner_split"), tmp_path)


def test_early_stopping_on_the_test_fold_of_an_honest_recipe(
    cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Side] = {}
    original = Side.__init__

    def remember(self: Side, name: str, *rest: Any) -> None:
        original(self, name, *rest)
        kept[name] = self

    monkeypatch.setattr(Side, "__init__", remember)
    watch = training._watch
    monkeypatch.setattr(training, "_watch", lambda network, watched, recipe: watch(network, kept["test"], recipe))
    with pytest.raises(LeakError, match=r"early stopping of fold-01 learnt from \d+ test participants"):
        run(cohort, one_epoch.changed(early_stopping_on="inner_split"), tmp_path)
    assert not audit_of(tmp_path)["test fold not seen exactly once"]["passed"]


def test_threshold_fitted_on_the_test_fold(
    cohort: Cohort, one_epoch: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = crossvalidation._Experiment._test

    def leaking(self: Any, classifier: Any, test: Side) -> Any:
        test.record_fit("threshold", np.arange(len(test.numbers)))
        return original(self, classifier, test)

    monkeypatch.setattr(crossvalidation._Experiment, "_test", leaking)
    with pytest.raises(LeakError, match="fitted on test data: threshold of fold-01"):
        run(cohort, one_epoch, tmp_path)


def test_the_papers_leak_is_declared_not_failed(cohort: Cohort, one_epoch: Recipe, tmp_path: Path) -> None:
    result = run(cohort, one_epoch.changed(early_stopping_on="test_fold"), tmp_path)
    assert result.audit.passed
    assert "better than new patients" in result.optimistic
    declared = audit_of(tmp_path)["fitted on test data"]["declared"]
    assert len(declared) == 2
    assert all("early stopping" in sentence for sentence in declared)


@pytest.fixture(scope="module")
def strangers(stack_maker: Callable[..., PatchStack]) -> list[PatchStack]:
    return [stack_maker(number, malignant=number < 4, slices=2) for number in range(12)]


def under_another_name(stack: PatchStack, **changes: Any) -> PatchStack:
    return replace(stack, case_id="sub-900", participant_id="sub-900", **changes)


def copies(stack: PatchStack) -> Iterator[tuple[str, PatchStack]]:
    rng = np.random.default_rng(0)
    yield "as it is", under_another_name(stack)
    later = tuple(replace(source, matrices=source.matrices[1:]) for source in stack.sources)
    yield "another slice range", under_another_name(stack, slices=stack.slices[1:], sources=later)
    for jitter in (Jitter(0.04, -0.06), Jitter(0.0, 0.0, 1.06), Jitter(-0.03, 0.05, 0.95, 4.0)):
        moved = tuple(replace(source, matrices=source.matrices @ jitter.matrix()) for source in stack.sources)
        yield f"box moved by {jitter}", under_another_name(stack, sources=moved)
    t1w, t2w = stack.sources
    brighter = (replace(t1w, voxels=t1w.voxels * 3 + 100), replace(t2w, voxels=t2w.voxels * 0.5 - 7))
    yield "other grey levels", under_another_name(stack, sources=brighter)
    noisy = tuple(
        replace(source, voxels=source.voxels + rng.normal(scale=0.1, size=source.voxels.shape).astype(np.float32))
        for source in stack.sources
    )
    yield "noise added", under_another_name(stack, sources=noisy)


def test_copies_under_another_name_are_found(strangers: list[PatchStack]) -> None:
    for said, copy in copies(strangers[5]):
        best = find_twins([*strangers, copy])[0]
        assert best.is_copy, f"{said}: {best.correlation:.4f}"
        assert {best.first, best.second} == {"sub-005", "sub-900"}


def test_strangers_raise_no_alarm(strangers: list[PatchStack]) -> None:
    assert not any(twin.is_copy for twin in find_twins(strangers))
    # Two visits of one participant are no leak: patients are split whole.
    same = replace(strangers[0], case_id="second visit")
    assert not any(twin.is_copy for twin in find_twins([*strangers, same]))


def test_one_patient_under_two_names_fails_the_run(cohort: Cohort, one_epoch: Recipe, tmp_path: Path) -> None:
    stacks, truth = cohort
    twin = under_another_name(stacks[0])
    planted = ([*stacks, twin], {**truth, "sub-900": truth[stacks[0].case_id]})
    seeds = range(20)
    everyone = planted[1]
    seed = next(
        seed
        for seed in seeds
        if any(
            {"sub-000", "sub-900"} & set(fold.test) not in (set(), {"sub-000", "sub-900"})
            for fold in split_folds(everyone, one_epoch.changed(seed=seed))
        )
    )
    with pytest.raises(LeakError, match=r"near-duplicate pixels.*sub-000 and sub-900|near-duplicate pixels.*sub-900"):
        run(planted, one_epoch.changed(seed=seed), tmp_path)
    check = audit_of(tmp_path)["near-duplicate pixels across folds"]
    assert check["worst"] > TWIN_CORRELATION
    assert not list(tmp_path.glob("fold-*"))
