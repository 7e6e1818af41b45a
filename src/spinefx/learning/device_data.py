"""Data that lie on the device while folds train: voxels for the whole run, one epoch's draws at a time."""

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

VIEWS = ("views_t1w", "views_t2w")


class ResidentBank:
    """A cohort's source voxels and unchanged patches, once on the device for all folds.

    Parameters
    ----------
    bank : PatchBank
    device : {'cpu', 'cuda'}

    Attributes
    ----------
    originals : Tensor, shape (sample, 6, size, size)
        Unchanged patches, by sample number.
    """

    def __init__(self, bank: PatchBank, device: str) -> None:
        everyone = np.arange(len(bank.samples))
        self.device = device
        self.originals = torch.stack([bank.original(int(number)) for number in everyone]).to(device)
        self._weightings = tuple(planes.to(device) for planes in bank.weightings)
        self._axis = torch.from_numpy(patch_grid(bank.size)).to(device, bank.dtype)

    def draw(self, chosen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Sample patches, in shapes that do not depend on the numbers.

        Parameters
        ----------
        chosen : dict of str to Tensor
            Rows of :meth:`EpochDraws.tensors`, on the device.

        Returns
        -------
        Tensor, shape (n, 6, size, size)
            As :meth:`PatchBank.draw` gives.
        Tensor of int64, shape ()
            Channels that hold one grey level only; there should be none.
        """
        parts = [
            planes.read(chosen["numbers"], chosen[key], self._axis)
            for key, planes in zip(VIEWS, self._weightings, strict=True)
        ]
        patches, is_flat = normalised(torch.cat(parts, dim=1))
        is_moved = chosen["is_moved"][:, None]
        patches = torch.where(is_moved[..., None, None], patches, self.originals[chosen["numbers"]])
        return patches, (is_flat & is_moved).sum()


@dataclass(frozen=True, eq=False)
class EpochDraws:
    """Everything that chance decides of one fold's epoch, on the host; the same numbers as the plain loop draws.

    Use :meth:`of`.

    Parameters
    ----------
    plan : EpochPlan
    sizes : tuple of int
        Patches in each step.
    patches : dict of str to Tensor
        By patch of the epoch: sample number, answer, where it is read. The rate of each step beside them.
    chance : Future
        Of contrast, blends and dropout, by patch of the epoch; they are drawn in another thread.
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
            Of the layer that dropout works on.
        drawers : ThreadPoolExecutor
            Torch's draws do not hold Python up; they are most of the work.

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
        patches |= {key: planes.jittered(numbers, changes) for key, planes in zip(VIEWS, bank.weightings, strict=True)}
        return cls(plan, sizes, patches, drawers.submit(_chance, recipe, run.fold, epoch, sizes, features))

    def tensors(self) -> dict[str, Tensor]:
        """Give all draws, waiting for the other thread.

        Returns
        -------
        dict of str to Tensor
            One row a patch, but for ``rates`` with one a step.
        """
        return self.patches | self.chance.result()


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
