"""Data on the device while folds train: voxels for the whole run, random draws for one epoch at a time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spinefx.cases.patch import jitter_matrices, patch_grid
from spinefx.learning.augmentation import PatchBank, normalised
from spinefx.learning.fitting import Run
from spinefx.learning.leaks import Side
from spinefx.learning.mixing import draw_step
from spinefx.learning.random_streams import EpochPlan, Purpose, plan_epoch, stream
from spinefx.learning.recipe import Recipe
from spinefx.learning.training import learning_rate

__all__ = ["EpochDraws", "ResidentBank"]


class ResidentBank:
    """A cohort's source voxels and unchanged patches, held once on the device for all folds.

    Parameters
    ----------
    bank : PatchBank
    device : {'cpu', 'cuda'}

    Attributes
    ----------
    originals : Tensor, shape (sample, channel, size, size)
        Unchanged patches, by sample number.
    """

    def __init__(self, bank: PatchBank, device: str) -> None:
        everyone = np.arange(len(bank.samples))
        self.device = device
        self.originals = torch.stack([bank.original(int(number)) for number in everyone]).to(device)
        self._sources = tuple(planes.to(device) for planes in bank.sources)
        self._axis = torch.from_numpy(patch_grid(bank.size)).to(device, bank.dtype)

    def draw(self, chosen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Sample patches, in shapes that do not depend on the numbers.

        Parameters
        ----------
        chosen : dict of str to Tensor
            Rows of :meth:`EpochDraws.tensors`, on the device.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
            As :meth:`PatchBank.draw` returns them.
        Tensor of int64, shape ()
            Number of channels that hold one grey level only; it should be 0.
        """
        parts = [
            planes.read(chosen["numbers"], chosen[_views_key(place)], self._axis)
            for place, planes in enumerate(self._sources)
        ]
        patches, is_flat = normalised(torch.cat(parts, dim=1))
        is_moved = chosen["is_moved"][:, None]
        patches = torch.where(is_moved[..., None, None], patches, self.originals[chosen["numbers"]])
        return patches, (is_flat & is_moved).sum()


@dataclass(frozen=True, eq=False)
class EpochDraws:
    """All random draws of one fold's epoch, on the host; the same numbers as the plain loop draws.

    Use :meth:`of`.

    Parameters
    ----------
    plan : EpochPlan
    sizes : tuple of int
        Patches in each step.
    patches : dict of str to Tensor
        By patch of the epoch: sample number, label and where it is read; also the learning rate of each step.
    chance : Future
        Contrast, blends and dropout, by patch of the epoch, drawn in another thread.
    """

    plan: EpochPlan
    sizes: tuple[int, ...]
    patches: dict[str, Tensor]
    chance: Future[dict[str, Tensor]]

    @classmethod
    def of(cls, training: Side, run: Run, epoch: int, features: int, drawers: ThreadPoolExecutor) -> EpochDraws:
        """Draw an epoch.

        Parameters
        ----------
        training : Side
        run : Run
        epoch : int
            From 1.
        features : int
            Inputs of the layer that dropout precedes.
        drawers : ThreadPoolExecutor
            Torch releases the interpreter while it draws, which is most of the work.

        Returns
        -------
        EpochDraws
        """
        recipe, bank = run.recipe, training.bank
        plan = plan_epoch(recipe, training.keys, training.malignant, fold=run.fold, epoch=epoch)
        batches = plan.batches(recipe.batch_size)
        sizes = tuple(batch.stop - batch.start for batch in batches)
        numbers = training.numbers[plan.rows]
        rates = [learning_rate(recipe, (epoch - 1) + step / len(sizes)) for step in range(len(sizes))]
        patches = {
            "numbers": torch.from_numpy(numbers),
            "answers": training.answers(plan.rows),
            "is_moved": torch.tensor([not jitter.is_identity for jitter in plan.jitters]),
            "rates": torch.tensor(rates, dtype=torch.float64),
        }
        changes = jitter_matrices(plan.jitters)
        views = (planes.jittered(numbers, changes) for planes in bank.sources)
        patches |= {_views_key(place): view for place, view in enumerate(views)}
        return cls(plan, sizes, patches, drawers.submit(_chance, recipe, run.fold, epoch, sizes, features))

    def tensors(self) -> dict[str, Tensor]:
        """Return all draws, once the other thread is done.

        Returns
        -------
        dict of str to Tensor
            One row per patch, except ``rates`` with one per step.
        """
        return self.patches | self.chance.result()


def _views_key(place: int) -> str:
    """Return the name of the tensor that holds where patches are read in one series."""
    return f"views_{place}"


def _chance(recipe: Recipe, fold: int, epoch: int, sizes: tuple[int, ...], features: int) -> dict[str, Tensor]:
    """Draw contrast, blends and dropout step by step, in the order in which the plain loop meets them."""
    named = stream(recipe.seed, Purpose.DROPOUT, fold=fold, epoch=epoch)
    generator = torch.Generator().manual_seed(int(named.integers(2**63)))
    drawn: dict[str, list[Tensor]] = {"contrast": [], "own": [], "other": [], "kept": []}
    for size in sizes:
        step = draw_step(recipe, size, generator)
        for key in ("contrast", "own", "other"):
            part = getattr(step, key)
            drawn[key] += [] if part is None else [part]
        if recipe.dropout:
            kept = torch.empty(size, features, dtype=torch.bool)
            drawn["kept"].append(kept.bernoulli_(1 - recipe.dropout, generator=generator))
    return {key: torch.cat(parts) for key, parts in drawn.items() if parts}
