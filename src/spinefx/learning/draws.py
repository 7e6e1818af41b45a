"""Random draws that depend on their name alone: seed, fold, purpose, epoch, sample, copy.

A counter-based generator gives the same draw in any order, process or resumed run, so every route to a result sees the
same data, and what was drawn replays from the key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter
from spinefx.learning.recipe import Recipe

__all__ = ["EpochPlan", "Purpose", "draw_jitter", "plan_epoch", "sample_key", "stream"]


class Purpose(IntEnum):
    """What a stream of random numbers is for; each has its own, so none can disturb another."""

    FOLDS = 1
    INNER_SPLIT = 2
    INITIAL_WEIGHTS = 3
    ORDER = 4
    JITTER = 5
    DROPOUT = 6


def stream(
    seed: int, purpose: Purpose, *, fold: int = 0, epoch: int = 0, sample: int = 0, copy: int = 0
) -> np.random.Generator:
    """Open the stream of random numbers with a name.

    Parameters
    ----------
    seed : int
        The recipe's.
    purpose : Purpose
    fold, epoch, copy : int
        Zero or more.
    sample : int
        As :func:`sample_key` gives it.

    Returns
    -------
    numpy.random.Generator
        Philox; the key is (seed, purpose and fold), the counter starts at (0, copy, sample, epoch).
    """
    key = np.array([seed, (int(purpose) << 32) + fold], dtype=np.uint64)
    counter = np.array([0, copy, sample, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def sample_key(case_id: str, slice_index: int) -> int:
    """Name one slice by a number that does not depend on the rest of the cohort.

    Parameters
    ----------
    case_id : str
    slice_index : int

    Returns
    -------
    int
        64 bits.
    """
    return int.from_bytes(hashlib.sha256(f"{case_id}/{slice_index}".encode()).digest()[:8], "big")


def draw_jitter(recipe: Recipe, *, fold: int, epoch: int, sample: int, copy: int) -> Jitter:
    """Draw one augmentation: shift, scale and rotation, uniform over the recipe's ranges (protocol row 5).

    Parameters
    ----------
    recipe : Recipe
    fold, epoch, sample, copy : int
        The draw's name; copy 0 is the original wherever originals are kept.

    Returns
    -------
    Jitter
    """
    rng = stream(recipe.seed, Purpose.JITTER, fold=fold, epoch=epoch, sample=sample, copy=copy)
    row, column, scale, angle = (float(value) for value in rng.random(4))
    return Jitter(
        shift_row=recipe.shift_fraction * (2 * row - 1),
        shift_column=recipe.shift_fraction * (2 * column - 1),
        scale=recipe.scale_low + (recipe.scale_high - recipe.scale_low) * scale,
        rotation_deg=recipe.rotation_deg * (2 * angle - 1),
    )


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """What one epoch of training sees, in order.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the training side's samples.
    jitters : tuple of Jitter
        One a row; the original is the jitter that changes nothing.
    """

    rows: NDArray[np.int64]
    jitters: tuple[Jitter, ...]

    def batches(self, size: int) -> list[slice]:
        """Cut the epoch into batches.

        Parameters
        ----------
        size : int
            Patches in a batch; the last may be smaller, and takes in a single one that would be left over, whose
            variance batch normalisation could not estimate.

        Returns
        -------
        list of slice
        """
        edges = list(range(0, len(self.rows), size))
        if len(edges) > 1 and len(self.rows) - edges[-1] == 1:
            edges.pop()
        return [slice(start, end) for start, end in zip(edges, [*edges[1:], len(self.rows)], strict=True)]


def plan_epoch(
    recipe: Recipe, keys: NDArray[np.uint64], malignant: NDArray[np.bool_], *, fold: int, epoch: int
) -> EpochPlan:
    """Draw the copies of an epoch and their order (protocol row 4).

    Parameters
    ----------
    recipe : Recipe
    keys : ndarray of uint64, shape (sample,)
        As :func:`sample_key` gives them.
    malignant : ndarray of bool, shape (sample,)
    fold, epoch : int
        Both count from 1.

    Returns
    -------
    EpochPlan
        A pure function of its arguments: it replays.
    """
    first = 0 if recipe.keep_original else 1
    last = np.where(malignant, recipe.copies_malignant, recipe.copies_benign)
    entries = [(row, copy) for row in range(len(keys)) for copy in range(first, int(last[row]) + 1)]
    order = stream(recipe.seed, Purpose.ORDER, fold=fold, epoch=epoch).permutation(len(entries))
    drawn_in = epoch if recipe.fresh_draws else 1
    chosen = [entries[place] for place in order]
    return EpochPlan(
        np.array([row for row, _ in chosen], dtype=np.int64),
        tuple(
            draw_jitter(recipe, fold=fold, epoch=drawn_in, sample=int(keys[row]), copy=copy) if copy else Jitter()
            for row, copy in chosen
        ),
    )
