"""Training one network on one fold: a plain loop whose every number follows from the recipe.

The same recipe, cohort and machine give the same bits, whether the run was interrupted or not.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinefx.errors import ModelError
from spinefx.learning.arithmetic import Adam
from spinefx.learning.checkpoint import Checkpoint, read_checkpoint, restore, snapshot, write_checkpoint
from spinefx.learning.classifier import Classifier, software_versions
from spinefx.learning.draws import Purpose, plan_epoch, stream
from spinefx.learning.leaks import EARLY_STOPPING, FoldFacts, Side
from spinefx.learning.network import FractureNetwork, build_network, seeded
from spinefx.learning.pretrained import Initialisation, initialise
from spinefx.learning.recipe import Recipe

__all__ = ["EpochRow", "History", "Run", "fit", "reproducible"]

CHECKPOINT_FILE = "checkpoint.safetensors"
# Share of all steps over which the one-cycle schedule rises, and where it starts, in shares of the full rate.
RISE, FLOOR = 0.2, 0.05


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Parameters
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of its last step.
    training_loss : float
        Mean cross-entropy over its draws, nats, as they were trained on.
    validation_loss : float or None
        Mean cross-entropy of the watched side's original slices, nats; None where none is watched.
    """

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class History:
    """The epochs of one fold.

    Parameters
    ----------
    rows : tuple of EpochRow
    kept_epoch : int
        The epoch whose weights were kept.
    watched : str
        Side whose loss chose it; empty where the last was kept.
    """

    rows: tuple[EpochRow, ...]
    kept_epoch: int
    watched: str

    def to_json(self) -> dict[str, Any]:
        """Give plain values for a JSON file.

        Returns
        -------
        dict
        """
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> History:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : dict

        Returns
        -------
        History
        """
        return cls(tuple(EpochRow(**row) for row in values["rows"]), values["kept_epoch"], values["watched"])


@dataclass(frozen=True)
class Run:
    """What one training is part of.

    Parameters
    ----------
    recipe : Recipe
    fold : int
        From 1; 0 outside cross-validation.
    cohort_digest : str
    data_digest : str
        Of voxels and truth; a checkpoint of other data is not continued from.
    folder : Path
        Where the checkpoint is kept.
    weights : Path or None
        Local ImageNet file.
    """

    recipe: Recipe
    fold: int
    cohort_digest: str
    data_digest: str
    folder: Path
    weights: Path | None = None

    @property
    def checkpoint_path(self) -> Path:
        """The file that an interrupted training goes on from."""
        return self.folder / CHECKPOINT_FILE


def fit(
    training: Side, watched: Side | None, run: Run, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Classifier, History]:
    """Train a network, going on from the last whole epoch where an earlier run was cut off.

    Parameters
    ----------
    training : Side
        Its draws change the weights.
    watched : Side or None
        Its loss on original slices chooses the epoch that is kept; None keeps the last.
    run : Run
    progress : callable, optional
        Told (epoch, epochs) after each epoch is on the disk; what it raises ends the training there.

    Returns
    -------
    Classifier
    History

    Raises
    ------
    ModelError
        When the loss is no finite number.
    FileError
        For an ImageNet file that does not fit.
    InterruptedWrite
    """
    recipe = run.recipe
    with reproducible():
        state = _start(training, run)
        while not state.is_finished(recipe):
            epoch = len(state.rows) + 1
            loss, rate = _train_epoch(state, training, recipe, run.fold, epoch)
            validation = None if watched is None else _watch(state.network, watched, recipe)
            state.close_epoch(EpochRow(epoch, rate, loss, validation))
            _refuse_divergence(state.rows[-1], run.fold)
            write_checkpoint(run.checkpoint_path, state.checkpoint(run, training))
            if progress is not None:
                progress(epoch, recipe.epochs)
        state.network.load_state_dict(state.best)
        classifier = Classifier.of(
            state.network,
            recipe,
            cohort_digest=run.cohort_digest,
            fold=run.fold,
            initialisation=state.initialisation,
        )
    return classifier, History(tuple(state.rows), state.kept_epoch, "" if watched is None else watched.name)


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Compute on one thread with deterministic kernels, and leave torch as it was found.

    Yields
    ------
    None

    Notes
    -----
    The unit of parallel work is the fold, not the batch: one thread is both the reproducible and the quick way.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its one switch is set on the module, which types do not know
    filling = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling new memory finds reads of it before a write; it costs a seventh of a step, and we have none.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


@dataclass(eq=False)
class _State:
    """What an epoch changes."""

    network: FractureNetwork
    optimiser: Adam
    initialisation: Initialisation
    rows: list[EpochRow]
    kept_epoch: int
    best: dict[str, Tensor]

    def is_finished(self, recipe: Recipe) -> bool:
        done = len(self.rows)
        is_patient = not recipe.patience or done - self.kept_epoch < recipe.patience
        return done >= recipe.epochs or not is_patient

    def close_epoch(self, row: EpochRow) -> None:
        lowest = min((r.validation_loss for r in self.rows if r.validation_loss is not None), default=math.inf)
        self.rows.append(row)
        if row.validation_loss is None or row.validation_loss < lowest:
            self.kept_epoch = row.epoch
            self.best = copy.deepcopy(self.network.state_dict())

    def checkpoint(self, run: Run, training: Side) -> Checkpoint:
        tensors = snapshot(self.network, self.optimiser) | {f"best.{key}": value for key, value in self.best.items()}
        values = {
            "identity": _identity(run),
            "history": History(tuple(self.rows), self.kept_epoch, "").to_json(),
            "initialisation": self.initialisation.to_json(),
            "facts": training.ledger.facts.to_json(),
        }
        return Checkpoint(tensors, values)


def _identity(run: Run) -> dict[str, Any]:
    """What must be the same for a checkpoint to be continued from; other software gives other bits."""
    return {
        "recipe_digest": run.recipe.digest,
        "fold": run.fold,
        "cohort_digest": run.cohort_digest,
        "data_digest": run.data_digest,
        "software": software_versions(),
    }


def _start(training: Side, run: Run) -> _State:
    network = build_network(run.recipe, fold=run.fold)
    initialisation = initialise(network, run.recipe, run.weights)
    optimiser = Adam(
        network.parameters(),
        lr=run.recipe.learning_rate,
        betas=(run.recipe.beta1, run.recipe.beta2),
        weight_decay=run.recipe.weight_decay,
        fused=True,
    )
    state = _State(network, optimiser, initialisation, [], 0, {})
    saved = read_checkpoint(run.checkpoint_path)
    if saved is None or saved.values.get("identity") != _identity(run):
        return state
    if saved.values["initialisation"] != initialisation.to_json():
        return state
    restore(network, optimiser, saved.tensors)
    history = History.from_json(saved.values["history"])
    state.rows, state.kept_epoch = list(history.rows), history.kept_epoch
    state.best = {k.removeprefix("best."): v for k, v in saved.tensors.items() if k.startswith("best.")}
    training.ledger.restore(FoldFacts.from_json(saved.values["facts"]))
    return state


def _train_epoch(state: _State, training: Side, recipe: Recipe, fold: int, epoch: int) -> tuple[float, float]:
    plan = plan_epoch(recipe, training.keys, training.malignant, fold=fold, epoch=epoch)
    batches = plan.batches(recipe.batch_size)
    answers = torch.from_numpy(training.malignant.astype(np.float32))
    total, rate = 0.0, 0.0
    state.network.train()
    with seeded(stream(recipe.seed, Purpose.DROPOUT, fold=fold, epoch=epoch)):
        for step, batch in enumerate(batches):
            rate = _learning_rate(recipe, (epoch - 1) + step / len(batches))
            for group in state.optimiser.param_groups:
                group["lr"] = rate
            rows = plan.rows[batch]
            patches = training.draw(rows, plan.jitters[batch])
            training.record_fit("weights", rows)
            total += _step(state, patches, answers[torch.from_numpy(rows)], recipe) * len(rows)
    return total / len(plan.rows), rate


def _step(state: _State, patches: Tensor, answers: Tensor, recipe: Recipe) -> float:
    is_short = recipe.dtype == "bfloat16"
    if recipe.contrast_jitter:
        patches = _recontrasted(patches, recipe.contrast_jitter)
    if recipe.mixup_alpha:
        patches, answers = _mixed(patches, answers, recipe.mixup_alpha)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_short):
        logits = state.network(patches.contiguous(memory_format=torch.channels_last))
    answers = answers.to(patches.dtype)
    loss = functional.binary_cross_entropy_with_logits(logits.to(patches.dtype), answers)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    return float(loss.item())


def _recontrasted(patches: Tensor, largest: float) -> Tensor:
    """Change contrast, curve and brightness of each series at random, alike in its slices: scanners differ so."""
    series = patches.reshape(len(patches), 2, -1, *patches.shape[2:])
    stretch, curve, shift = largest * (2 * torch.rand(3, len(patches), 2, 1, 1, 1) - 1)
    changed: Tensor = (1 + stretch) * series + curve * (series.square() - 1) / 2 + shift
    return changed.reshape(patches.shape)


def _mixed(patches: Tensor, answers: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blend each patch and its answer with another of the batch (mixup, Zhang 2018), its own part the larger."""
    own = torch.distributions.Beta(alpha, alpha).sample((len(answers),))
    own = torch.maximum(own, 1 - own)
    other = torch.randperm(len(answers))
    weight = own[:, None, None, None]
    return weight * patches + (1 - weight) * patches[other], own * answers + (1 - own) * answers[other]


def _watch(network: nn.Module, watched: Side, recipe: Recipe) -> float:
    """Mean loss on original slices, in evaluation mode."""
    network.eval()
    rows = np.arange(len(watched.numbers))
    answers = torch.from_numpy(watched.malignant.astype(np.float32))
    watched.record_fit(EARLY_STOPPING, rows)
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), recipe.batch_size):
            batch = rows[start : start + recipe.batch_size]
            logits = network(watched.draw(batch).contiguous(memory_format=torch.channels_last))
            loss = functional.binary_cross_entropy_with_logits(
                logits, answers[torch.from_numpy(batch)], reduction="sum"
            )
            total += float(loss.item())
    return total / len(rows)


def _learning_rate(recipe: Recipe, epochs_done: float) -> float:
    if recipe.learning_rate_schedule == "constant":
        return recipe.learning_rate
    progress = epochs_done / recipe.epochs
    if progress < RISE:
        return recipe.learning_rate * (FLOOR + (1 - FLOOR) * progress / RISE)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE)))


def _refuse_divergence(row: EpochRow, fold: int) -> None:
    if not all(math.isfinite(loss) for loss in (row.training_loss, row.validation_loss) if loss is not None):
        raise ModelError(
            f"the loss of epoch {row.epoch} is no finite number", where=f"fold {fold}", remedy="Lower learning_rate."
        )
