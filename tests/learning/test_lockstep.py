"""Folds in lockstep see the same data, make the same steps and end with the same weights as the plain loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from spinefx.cases.patch import PatchStack
from spinefx.errors import PatchError
from spinefx.learning.augmentation import PatchBank
from spinefx.learning.checkpoint import read_checkpoint
from spinefx.learning.classifier import Classifier
from spinefx.learning.fitting import History, Run
from spinefx.learning.folds import split_folds
from spinefx.learning.leaks import FoldFacts, Ledger, Side
from spinefx.learning.lockstep import LockstepFold, fit_together
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import fit
from spinefx.vocabulary import Diagnosis

Cohort = tuple[list[PatchStack], dict[str, Diagnosis]]
Outcome = tuple[dict[str, torch.Tensor], History, FoldFacts]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
EVERY_CHANCE = {"dropout": 0.5, "contrast_jitter": 0.2, "mixup_alpha": 0.3, "keep_original": True}


def make_folds(
    cohort: Cohort, recipe: Recipe, folder: Path, *, dtype: torch.dtype = torch.float64, route: str = "cpu"
) -> list[LockstepFold]:
    """The first two folds of a cohort, ready to train."""
    stacks, truth = cohort
    bank = PatchBank(stacks, recipe.patch_size, dtype)
    malignant = {case: answer == Diagnosis.MALIGNANT for case, answer in truth.items()}
    made = []
    for fold in split_folds(truth, recipe)[:2]:
        ledger = Ledger(fold.number)
        training, inner = (
            Side(name, bank, members, malignant, ledger)
            for name, members in (("training", fold.training), ("inner", fold.inner))
        )
        watched = inner if recipe.early_stopping_on == "inner_split" else None
        made.append(
            LockstepFold(training, watched, Run(recipe, fold.number, "c", "d", folder / fold.label, None, route))
        )
    return made


def one_by_one(folds: Sequence[LockstepFold]) -> list[Outcome]:
    return [outcome(fold, *fit(fold.training, fold.watched, fold.run)) for fold in folds]


def together(folds: Sequence[LockstepFold], device: str = "cpu", **more: object) -> list[Outcome]:
    found: dict[int, Outcome] = {}

    def keep(place: int, classifier: Classifier, history: History) -> None:
        found[place] = outcome(folds[place], classifier, history)

    fit_together(folds, device, finished=keep, **more)  # type: ignore[arg-type]
    return [found[place] for place in range(len(folds))]


def outcome(fold: LockstepFold, classifier: Classifier, history: History) -> Outcome:
    """Return weights in full precision, which a classifier no longer has, the history and the ledger."""
    saved = read_checkpoint(fold.run.checkpoint_path)
    assert saved is not None
    return dict(saved.tensors), history, fold.training.ledger.facts


def assert_same(found: Sequence[Outcome], expected: Sequence[Outcome], tolerance: float) -> None:
    for (weights, history, facts), (weights_then, history_then, facts_then) in zip(found, expected, strict=True):
        assert facts == facts_then
        assert history.kept_epoch == history_then.kept_epoch
        assert weights.keys() == weights_then.keys()
        for key, value in weights.items():
            torch.testing.assert_close(value, weights_then[key], rtol=0, atol=tolerance, msg=key)
        for row, then in zip(history.rows, history_then.rows, strict=True):
            assert (row.epoch, row.learning_rate) == (then.epoch, then.learning_rate)
            assert row.training_loss == pytest.approx(then.training_loss, abs=tolerance)
            assert row.validation_loss == pytest.approx(then.validation_loss, abs=tolerance)


@pytest.fixture
def chancy(tiny: Recipe) -> Recipe:
    """Everything that draws, a schedule, a watched side, and a short last batch: 9, 9 and 6 patches."""
    recipe = tiny.changed(early_stopping_on="inner_split", learning_rate_schedule="one_cycle", batch_size=9)
    return recipe.changed(**EVERY_CHANCE)


def test_lockstep_equals_the_plain_loop_to_rounding(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    plain = one_by_one(make_folds(cohort, chancy, tmp_path / "plain"))
    locked = together(make_folds(cohort, chancy, tmp_path / "locked"))
    assert_same(locked, plain, 1e-10)
    weights, history, _ = plain[0]
    assert len(history.rows) == 2
    assert weights["now.mix.weight"].dtype == torch.float64


@pytest.mark.parametrize("network", ["small_resnet", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_two_steps_of_two_folds(network: str, cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    recipe = chancy.changed(network=network, epochs=1, batch_size=8, copies_malignant=1, keep_original=False)
    folds = make_folds(cohort, recipe, tmp_path / "plain")
    assert_same(together(make_folds(cohort, recipe, tmp_path / "locked")), one_by_one(folds), 1e-10)
    counted = read_checkpoint(folds[0].run.checkpoint_path)
    assert counted is not None
    assert counted.tensors["now.body.bn1.num_batches_tracked"] == 2
    assert counted.tensors["adam.step.body.fc.weight"] == 2


def test_a_stopped_fold_leaves_the_others_training(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    recipe = chancy.changed(seed=3, patience=1, epochs=5, batch_size=8, copies_malignant=1)
    told: list[tuple[int, int, int]] = []
    plain = one_by_one(make_folds(cohort, recipe, tmp_path / "plain"))
    locked = together(make_folds(cohort, recipe, tmp_path / "locked"), progress=lambda *step: told.append(step))
    lengths = [len(history.rows) for _, history, _ in plain]
    assert lengths[0] != lengths[1]  # or this shows nothing
    assert_same(locked, plain, 1e-10)
    assert [sum(place == step[0] for step in told) for place in (0, 1)] == lengths


class _CutOff(Exception):
    """Stand in for Control-C."""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_interrupted_lockstep_ends_with_the_same_weights(
    count: int, cohort: Cohort, chancy: Recipe, tmp_path: Path
) -> None:
    left = [count]

    def tell(place: int, epoch: int, epochs: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _CutOff

    whole = together(make_folds(cohort, chancy, tmp_path / "whole"))
    with pytest.raises(_CutOff):
        together(make_folds(cohort, chancy, tmp_path / "cut"), progress=tell)
    done: list[tuple[int, int, int]] = []
    resumed = together(make_folds(cohort, chancy, tmp_path / "cut"), progress=lambda *step: done.append(step))
    assert_same(resumed, whole, 0.0)
    assert len(done) == (2 if count <= 2 else 0)  # an epoch that came to its end is not done twice


def test_checkpoints_are_spaced_and_tied_to_their_route(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    written: list[bool] = []
    folds = make_folds(cohort, chancy, tmp_path)
    with pytest.raises(AssertionError):  # none is written within the hour
        together(folds, progress=lambda *_: written.append(folds[0].run.checkpoint_path.exists()), spacing_s=3600.0)
    assert not any(written)
    together(make_folds(cohort, chancy, tmp_path))
    told: list[tuple[int, int, int]] = []
    together(make_folds(cohort, chancy, tmp_path, route="cuda lockstep"), progress=lambda *step: told.append(step))
    assert sorted(told) == [(place, epoch, 2) for place in (0, 1) for epoch in (1, 2)]


def test_a_flat_channel_is_refused_by_name(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    stacks, truth = cohort
    flat = [
        replace(stack, sources=(t1w, replace(t2w, voxels=np.full_like(t2w.voxels, 7.25))))
        for stack in stacks
        for t1w, t2w in [stack.sources]
    ]
    with pytest.raises(PatchError, match="T2W"):
        together(make_folds((flat, truth), chancy.changed(early_stopping_on="none"), tmp_path))


def test_a_different_draw_is_detected(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    plain = one_by_one(make_folds(cohort, chancy, tmp_path / "plain"))
    other = together(make_folds(cohort, chancy.changed(seed=chancy.seed + 1), tmp_path / "other"))
    with pytest.raises(AssertionError):
        assert_same(other, plain, 1e-4)


# What a capture on a GPU refuses, or would freeze: a value brought to the host, a draw.
FORBIDDEN = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "bernoulli",
    "rand",
    "dropout",
    "multinomial",
    "dirichlet",
)


class _Graph(TorchDispatchMode):
    """A stand-in for a CUDA graph: operators with their tensors, run again on the very same ones."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(word in func.name() for word in FORBIDDEN), f"{func.name()} within a capture"
        result = func(*args, **(kwargs or {}))
        is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns)
        if not is_view:
            self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class _PretendGpu(TorchFunctionMode):
    """Put what is meant for a GPU onto the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def placed(value: Any) -> Any:
            is_card = value == "cuda" if isinstance(value, str) else isinstance(value, torch.device)
            return torch.device("cpu") if is_card else value

        if func is torch.Tensor.pin_memory:
            return args[0]
        return func(*tree_map(placed, args), **tree_map(placed, kwargs or {}))


class _Stream:
    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[_Graph]]:
    """Pretend that there is a GPU; lists the graphs that are captured."""
    made: list[_Graph] = []

    def make() -> _Graph:
        made.append(_Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: graph)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with _PretendGpu():
        yield made
    torch.set_num_threads(threads)


@pytest.fixture
def replayed(graphs: list[_Graph]) -> Callable[..., Any]:
    """Train in lockstep by captured steps."""
    return lambda folds, **more: together(folds, "cuda", **more)


def test_replayed_steps_train_as_the_plain_loop(
    cohort: Cohort, chancy: Recipe, tmp_path: Path, graphs: list[_Graph], replayed: Callable[..., Any]
) -> None:
    # The rate of learning lies on a GPU in single precision: a power of two is the same in both.
    recipe = chancy.changed(learning_rate_schedule="constant", learning_rate=2.0**-10)
    plain = one_by_one(make_folds(cohort, recipe, tmp_path / "plain"))
    folds = make_folds(cohort, recipe, tmp_path / "replayed")
    assert_same(replayed(folds), plain, 1e-10)
    # A fold has a graph for whole batches, one for the short last, and one for the watched side.
    assert len(graphs) == 3 * len(folds)
    assert all(graph.replays for graph in graphs)


def test_the_rate_follows_its_schedule_within_a_graph(
    cohort: Cohort, chancy: Recipe, tmp_path: Path, replayed: Callable[..., Any]
) -> None:
    plain = one_by_one(make_folds(cohort, chancy, tmp_path / "plain"))
    assert_same(replayed(make_folds(cohort, chancy, tmp_path / "replayed")), plain, 1e-5)


def test_captured_training_resumes_from_its_checkpoint(
    cohort: Cohort, chancy: Recipe, tmp_path: Path, replayed: Callable[..., Any]
) -> None:
    def cut(place: int, epoch: int, epochs: int) -> None:
        raise KeyboardInterrupt

    whole = replayed(make_folds(cohort, chancy, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        replayed(make_folds(cohort, chancy, tmp_path / "cut"), progress=cut)
    assert_same(replayed(make_folds(cohort, chancy, tmp_path / "cut")), whole, 1e-12)


@pytest.mark.parametrize("capture", [pytest.param(True, id="graphs"), pytest.param(False, id="eager")])
@needs_gpu
def test_gpu_equals_the_plain_loop_in_double_precision(
    capture: bool, cohort: Cohort, chancy: Recipe, tmp_path: Path
) -> None:
    # The rate of learning lies on a GPU in single precision: a power of two is the same in both.
    recipe = chancy.changed(learning_rate_schedule="constant", learning_rate=2.0**-10)
    plain = one_by_one(make_folds(cohort, recipe, tmp_path / "plain"))
    locked = together(make_folds(cohort, recipe, tmp_path / "locked"), "cuda", capture=capture)
    assert_same(locked, plain, 1e-10)


@needs_gpu
def test_replayed_graphs_equal_eager_steps(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    recipe = chancy.changed(epochs=1)
    found = [
        together(make_folds(cohort, recipe, tmp_path / str(capture), dtype=torch.float32), "cuda", capture=capture)
        for capture in (True, False)
    ]
    assert_same(*found, 1e-3)


@needs_gpu
def test_interrupted_training_on_a_gpu_resumes(cohort: Cohort, chancy: Recipe, tmp_path: Path) -> None:
    def tell(place: int, epoch: int, epochs: int) -> None:
        raise _CutOff

    whole = together(make_folds(cohort, chancy, tmp_path / "whole"), "cuda")
    with pytest.raises(_CutOff):
        together(make_folds(cohort, chancy, tmp_path / "cut"), "cuda", progress=tell)
    assert_same(together(make_folds(cohort, chancy, tmp_path / "cut"), "cuda"), whole, 1e-10)
