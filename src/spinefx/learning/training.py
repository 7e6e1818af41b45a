"""Train one network on one fold: a plain loop whose every number follows from the recipe.

The same recipe, cohort and machine produce the same bits, whether the run was interrupted or not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinefx.learning.classifier import Classifier
from spinefx.learning.fitting import EpochRow, Fitting, History, Run
from spinefx.learning.leaks import EARLY_STOPPING, Side
from spinefx.learning.mixing import draw_step
from spinefx.learning.network import seeded
from spinefx.learning.random_streams import Purpose, plan_epoch, stream
from spinefx.learning.recipe import Recipe

__all__ = ["fit", "learn", "learning_rate", "reproducible", "summed_loss", "train_epoch"]

# Share of all steps over which the one-cycle schedule rises, and where it starts, in shares of the full rate.
RISE, FLOOR = 0.2, 0.05


def fit(
    training: Side, watched: Side | None, run: Run, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Classifier, History]:
    """Train a network, resuming from the last complete epoch of an interrupted run.

    Parameters
    ----------
    training : Side
        Its draws change the weights.
    watched : Side or None
        Its loss on original slices chooses the epoch that is kept; None keeps the last.
    run : Run
    progress : callable, optional
        Called with (epoch, epochs) once each epoch is on disk; an exception from it ends the training.

    Returns
    -------
    Classifier
    History

    Raises
    ------
    ModelError
        When the loss is not finite.
    FileError
        For an ImageNet file that does not fit.
    InterruptedWrite
    """
    recipe = run.recipe
    with reproducible():
        fitting = Fitting.begin(training, run)
        while not fitting.is_finished(recipe):
            epoch = len(fitting.rows) + 1
            loss, rate = train_epoch(fitting, training, recipe, run.fold, epoch)
            validation = None if watched is None else _watch(fitting.network, watched, recipe)
            fitting.close_epoch(EpochRow(epoch, rate, loss, validation), run.fold)
            fitting.save(run, training)
            if progress is not None:
                progress(epoch, recipe.epochs)
        return fitting.end(run, watched)


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Compute on one thread with deterministic kernels, and restore torch's settings afterwards.

    Yields
    ------
    None

    Notes
    -----
    Folds run in parallel, not the work within a batch: one thread is both the reproducible and the faster way.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its switch is an attribute of the module that the type stubs lack
    filling = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling new memory reveals reads before writes, of which there are none; it would cost a seventh of a step.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


def train_epoch(fitting: Fitting, training: Side, recipe: Recipe, fold: int, epoch: int) -> tuple[float, float]:
    """Train one epoch.

    Parameters
    ----------
    fitting : Fitting
        Its network and optimiser are changed in place.
    training : Side
    recipe : Recipe
    fold, epoch : int
        From 1; they are part of the key of the epoch's random draws.

    Returns
    -------
    loss : float
        Mean over the patches, each when its step was taken.
    rate : float
        Learning rate of the last step.
    """
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
    """Train one step: forward, backward, Adam.

    Parameters
    ----------
    network : torch.nn.Module
        In training mode; changed in place.
    optimiser : torch.optim.Optimizer
        Over its parameters.
    patches : Tensor, shape (n, channel, row, column)
    answers : Tensor, shape (n,)
        From 0 (benign) to 1 (malignant).
    recipe : Recipe

    Returns
    -------
    Tensor, shape ()
        Mean cross-entropy, nats. On a GPU it is not waited for.
    """
    on_gpu = patches.device.type == "cuda"
    is_short = recipe.dtype == "bfloat16"
    # Weights that were cast once would be cached outside a captured step, where a replay does not find them.
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
    patches : Tensor, shape (n, channel, row, column)
    answers : Tensor, shape (n,)

    Returns
    -------
    Tensor, shape ()
        Cross-entropy, nats.
    """
    logits = network(patches.contiguous(memory_format=torch.channels_last))
    return functional.binary_cross_entropy_with_logits(logits, answers, reduction="sum")


def _watch(network: nn.Module, watched: Side, recipe: Recipe) -> float:
    """Return the mean loss of original slices, in evaluation mode."""
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
    """Return the learning rate of a step.

    Parameters
    ----------
    recipe : Recipe
    epochs_done : float
        Epochs before it, including the part of its own.

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
