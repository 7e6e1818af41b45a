"""Training one network on one fold: a plain loop whose every number follows from the recipe.

The same recipe, cohort and machine give the same bits, whether the run was interrupted or not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinefx.errors import ModelError
from spinefx.learning.checkpoint import Checkpoint, read_checkpoint, restore, snapshot, write_checkpoint
from spinefx.learning.classifier import Classifier, software_versions
from spinefx.learning.draws import Purpose, plan_epoch, stream
from spinefx.learning.leaks import EARLY_STOPPING, FoldFacts, Side
from spinefx.learning.mixing import draw_step
from spinefx.learning.network import FractureNetwork, build_network, seeded
from spinefx.learning.pretrained import Initialisation, initialise
from spinefx.learning.recipe import Recipe

__all__ = ["EpochRow", "Fitting", "History", "Run", "fit", "learn", "learning_rate", "reproducible", "summed_loss"]

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
    route : str
        Where and how it is computed; a checkpoint of another route is not continued from, for its bits are others.
    """

    recipe: Recipe
    fold: int
    cohort_digest: str
    data_digest: str
    folder: Path
    weights: Path | None = None
    route: str = "cpu"

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
        fitting = Fitting.begin(training, run)
        while not fitting.is_finished(recipe):
            epoch = len(fitting.rows) + 1
            loss, rate = _train_epoch(fitting, training, recipe, run.fold, epoch)
            validation = None if watched is None else _watch(fitting.network, watched, recipe)
            fitting.close_epoch(EpochRow(epoch, rate, loss, validation), run.fold)
            fitting.save(run, training)
            if progress is not None:
                progress(epoch, recipe.epochs)
        return fitting.end(run, watched)


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
class Fitting:
    """One fold in training: how it begins or goes on, what an epoch changes, and what it ends with.

    Use :meth:`begin`.

    Parameters
    ----------
    network : FractureNetwork
    optimiser : torch.optim.Adam
    initialisation : Initialisation
    rows : list of EpochRow
        Epochs done.
    kept_epoch : int
        Whose weights are the best so far; 0 before the first.
    best : dict of str to Tensor
        Those weights.
    """

    network: FractureNetwork
    optimiser: torch.optim.Adam
    initialisation: Initialisation
    rows: list[EpochRow]
    kept_epoch: int
    best: dict[str, Tensor]

    @classmethod
    def begin(cls, training: Side, run: Run, device: str = "cpu") -> Fitting:
        """Start from the recipe's weights, or from the checkpoint of the same run.

        Parameters
        ----------
        training : Side
            Its ledger goes on from the checkpoint's; its precision is the network's.
        run : Run
        device : {'cpu', 'cuda'}
            On a GPU the rate of learning is a tensor there, and steps can be captured.

        Returns
        -------
        Fitting

        Raises
        ------
        FileError
            For an ImageNet file that does not fit.
        """
        recipe, on_gpu = run.recipe, device == "cuda"
        network = build_network(recipe, fold=run.fold)
        initialisation = initialise(network, recipe, run.weights)
        network.to(device, training.dtype)
        optimiser = torch.optim.Adam(
            network.parameters(),
            lr=torch.tensor(recipe.learning_rate, device=device) if on_gpu else recipe.learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            weight_decay=recipe.weight_decay,
            fused=True,
            capturable=on_gpu,
        )
        fitting = cls(network, optimiser, initialisation, [], 0, {})
        saved = read_checkpoint(run.checkpoint_path)
        if saved is None or saved.values.get("identity") != _identity(run):
            return fitting
        if saved.values["initialisation"] != initialisation.to_json():
            return fitting
        restore(network, optimiser, saved.tensors)
        history = History.from_json(saved.values["history"])
        fitting.rows, fitting.kept_epoch = list(history.rows), history.kept_epoch
        fitting.best = {k.removeprefix("best."): v for k, v in saved.tensors.items() if k.startswith("best.")}
        training.ledger.restore(FoldFacts.from_json(saved.values["facts"]))
        return fitting

    def is_finished(self, recipe: Recipe) -> bool:
        """Tell whether the last epoch is done, or patience is at its end.

        Parameters
        ----------
        recipe : Recipe

        Returns
        -------
        bool
        """
        done = len(self.rows)
        is_patient = not recipe.patience or done - self.kept_epoch < recipe.patience
        return done >= recipe.epochs or not is_patient

    def close_epoch(self, row: EpochRow, fold: int) -> None:
        """Write an epoch down, and keep its weights where they are the best so far.

        Parameters
        ----------
        row : EpochRow
        fold : int

        Raises
        ------
        ModelError
            When a loss is no finite number.
        """
        lowest = min((r.validation_loss for r in self.rows if r.validation_loss is not None), default=math.inf)
        self.rows.append(row)
        if row.validation_loss is None or row.validation_loss < lowest:
            self.kept_epoch = row.epoch
            self.best = {key: value.clone() for key, value in self.network.state_dict().items()}
        _refuse_divergence(row, fold)

    def save(self, run: Run, training: Side) -> None:
        """Put everything that the next epoch depends on onto the disk.

        Parameters
        ----------
        run : Run
        training : Side

        Raises
        ------
        InterruptedWrite
        """
        tensors = snapshot(self.network, self.optimiser) | {f"best.{key}": value for key, value in self.best.items()}
        values = {
            "identity": _identity(run),
            "history": History(tuple(self.rows), self.kept_epoch, "").to_json(),
            "initialisation": self.initialisation.to_json(),
            "facts": training.ledger.facts.to_json(),
        }
        write_checkpoint(run.checkpoint_path, Checkpoint(tensors, values))

    def end(self, run: Run, watched: Side | None) -> tuple[Classifier, History]:
        """Make a classifier of the best weights.

        Parameters
        ----------
        run : Run
        watched : Side or None

        Returns
        -------
        Classifier
            On the host, in single precision.
        History
        """
        self.network.load_state_dict(self.best)
        classifier = Classifier.of(
            self.network.to("cpu", torch.float32),
            run.recipe,
            cohort_digest=run.cohort_digest,
            fold=run.fold,
            initialisation=self.initialisation,
        )
        card = replace(classifier.card, software=dict(classifier.card.software) | {"route": run.route})
        history = History(tuple(self.rows), self.kept_epoch, "" if watched is None else watched.name)
        return replace(classifier, card=card), history


def _identity(run: Run) -> dict[str, Any]:
    """What must be the same for a checkpoint to be continued from; other software gives other bits."""
    return {
        "recipe_digest": run.recipe.digest,
        "fold": run.fold,
        "cohort_digest": run.cohort_digest,
        "data_digest": run.data_digest,
        "software": software_versions() | {"route": run.route},
    }


def _train_epoch(fitting: Fitting, training: Side, recipe: Recipe, fold: int, epoch: int) -> tuple[float, float]:
    plan = plan_epoch(recipe, training.keys, training.malignant, fold=fold, epoch=epoch)
    batches = plan.batches(recipe.batch_size)
    total, rate = 0.0, 0.0
    fitting.network.train()
    with seeded(stream(recipe.seed, Purpose.DROPOUT, fold=fold, epoch=epoch)):
        for step, batch in enumerate(batches):
            rate = learning_rate(recipe, (epoch - 1) + step / len(batches))
            for group in fitting.optimiser.param_groups:
                group["lr"] = rate
            rows = plan.rows[batch]
            patches = training.draw(rows, plan.jitters[batch])
            training.record_fit("weights", rows)
            changed = draw_step(recipe, len(rows)).apply(patches, training.answers(rows))
            total += float(learn(fitting.network, fitting.optimiser, *changed, recipe).item()) * len(rows)
    return total / len(plan.rows), rate


def learn(
    network: nn.Module, optimiser: torch.optim.Optimizer, patches: Tensor, answers: Tensor, recipe: Recipe
) -> Tensor:
    """Do one step: forward, backward, Adam.

    Parameters
    ----------
    network : torch.nn.Module
        In training mode; changed in place.
    optimiser : torch.optim.Optimizer
        Over its parameters.
    patches : Tensor, shape (n, 6, row, column)
    answers : Tensor, shape (n,)
        From 0 (benign) to 1 (malignant).
    recipe : Recipe

    Returns
    -------
    Tensor, shape ()
        Mean cross-entropy, nats. Not waited for where it is computed on a GPU.
    """
    on_gpu = patches.device.type == "cuda"
    is_short = recipe.dtype == "bfloat16"
    # Weights cast once are remembered outside a captured step, where a replay would not find them.
    with torch.autocast(patches.device.type, torch.bfloat16, enabled=is_short, cache_enabled=not on_gpu):
        logits = network(patches.contiguous(memory_format=torch.channels_last))
    loss = functional.binary_cross_entropy_with_logits(logits.to(answers.dtype), answers)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()


def summed_loss(network: nn.Module, patches: Tensor, answers: Tensor) -> Tensor:
    """Sum the loss of patches, without learning from them.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    patches : Tensor, shape (n, 6, row, column)
    answers : Tensor, shape (n,)

    Returns
    -------
    Tensor, shape ()
        Cross-entropy, nats.
    """
    logits = network(patches.contiguous(memory_format=torch.channels_last))
    return functional.binary_cross_entropy_with_logits(logits, answers, reduction="sum")


def _watch(network: nn.Module, watched: Side, recipe: Recipe) -> float:
    """Mean loss on original slices, in evaluation mode."""
    network.eval()
    rows = np.arange(len(watched.numbers))
    watched.record_fit(EARLY_STOPPING, rows)
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), recipe.batch_size):
            batch = rows[start : start + recipe.batch_size]
            total += float(summed_loss(network, watched.draw(batch), watched.answers(batch)).item())
    return total / len(rows)


def learning_rate(recipe: Recipe, epochs_done: float) -> float:
    """Give the rate of a step.

    Parameters
    ----------
    recipe : Recipe
    epochs_done : float
        Epochs before it, with the part of its own.

    Returns
    -------
    float
    """
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
