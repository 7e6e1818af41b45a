"""Random draws that depend only on their key: seed, fold, purpose, epoch, sample and copy.

A counter-based generator returns the same draw in any order, process or resumed run, so every route to a result sees
the same data, and every draw can be replayed from its key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter
from spinefx.learning.recipe import Recipe

__all__ = ["EpochPlan", "Purpose", "draw_jitters", "plan_epoch", "sample_key", "stream", "uniform_draws"]

# Philox 4x64 of ten rounds (Salmon 2011, table 2): multipliers, and what is added to the key after each round.
PHILOX_MULTIPLIERS = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], dtype=np.uint64)
PHILOX_BUMPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], dtype=np.uint64)
PHILOX_ROUNDS = 10


class Purpose(IntEnum):
    """What a stream of random numbers is for; each purpose has its own, so that none disturbs another."""

    FOLDS = 1
    INNER_SPLIT = 2
    INITIAL_WEIGHTS = 3
    ORDER = 4
    JITTER = 5
    DROPOUT = 6


def stream(
    seed: int, purpose: Purpose, *, fold: int = 0, epoch: int = 0, sample: int = 0, copy: int = 0
) -> np.random.Generator:
    """Return the stream of random numbers for a key.

    Parameters
    ----------
    seed : int
        The recipe's.
    purpose : Purpose
    fold, epoch, copy : int
        Zero or more.
    sample : int
        As :func:`sample_key` returns it.

    Returns
    -------
    numpy.random.Generator
        Philox; the key is (seed, purpose and fold), the counter starts at (0, copy, sample, epoch).
    """
    key = np.array([seed, (int(purpose) << 32) + fold], dtype=np.uint64)
    counter = np.array([0, copy, sample, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def sample_key(case_id: str, slice_index: int) -> int:
    """Return a number that identifies one slice and does not depend on the rest of the cohort.

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


def uniform_draws(
    seed: int, purpose: Purpose, *, fold: int, epoch: int, samples: NDArray[np.uint64], copies: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Draw the first four numbers of many streams at once.

    Parameters
    ----------
    seed : int
    purpose : Purpose
    fold, epoch : int
    samples, copies : ndarray of uint64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n, 4)
        In [0, 1); row i equals ``stream(seed, purpose, ..., samples[i], copies[i]).random(4)``, bit for bit.
    """
    key = np.array([seed, (int(purpose) << 32) + fold], dtype=np.uint64)
    # A stream steps its counter before it draws.
    one, last = np.full(len(samples), 1, np.uint64), np.full(len(samples), epoch, np.uint64)
    words = [one, copies.astype(np.uint64), samples.astype(np.uint64), last]
    for _ in range(PHILOX_ROUNDS):
        high, low = zip(*map(_product, PHILOX_MULTIPLIERS, (words[0], words[2])), strict=True)
        words = [high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]]
        key = key + PHILOX_BUMPS  # modulo 2^64, as intended
    drawn: NDArray[np.float64] = (np.stack(words, axis=1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def _product(factor: np.uint64, values: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the high and low 64 bits of a product of 64-bit numbers, computed by halves."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    top, bottom = values >> half, values & mask
    across = (factor >> half) * bottom + ((factor & mask) * bottom >> half)
    other = (factor & mask) * top + (across & mask)
    return (factor >> half) * top + (across >> half) + (other >> half), factor * values


def draw_jitters(
    recipe: Recipe, *, fold: int, epoch: int, samples: NDArray[np.uint64], copies: NDArray[np.uint64]
) -> tuple[Jitter, ...]:
    """Draw augmentations: shift, scale and rotation, uniform over the recipe's ranges (protocol row 5).

    Parameters
    ----------
    recipe : Recipe
    fold, epoch : int
    samples, copies : ndarray of uint64, shape (n,)
        The keys of the draws; copy 0 is the original wherever originals are kept.

    Returns
    -------
    tuple of Jitter
        One per draw.
    """
    drawn = uniform_draws(recipe.seed, Purpose.JITTER, fold=fold, epoch=epoch, samples=samples, copies=copies)
    row, column, scale, angle = drawn.T
    ranged = (
        recipe.shift_fraction * (2 * row - 1),
        recipe.shift_fraction * (2 * column - 1),
        recipe.scale_low + (recipe.scale_high - recipe.scale_low) * scale,
        recipe.rotation_deg * (2 * angle - 1),
    )
    return tuple(Jitter(*values) for values in zip(*(column.tolist() for column in ranged), strict=True))


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """What one epoch of training sees, in order.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the training side's samples.
    jitters : tuple of Jitter
        One per row; the original has the identity.
    """

    rows: NDArray[np.int64]
    jitters: tuple[Jitter, ...]

    def batches(self, size: int) -> list[slice]:
        """Divide the epoch into batches.

        Parameters
        ----------
        size : int
            Patches in a batch. The last may be smaller; a single patch left over joins it, because batch normalisation
            cannot estimate a variance from one.

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
        As :func:`sample_key` returns them.
    malignant : ndarray of bool, shape (sample,)
    fold, epoch : int
        Both count from 1.

    Returns
    -------
    EpochPlan
        A pure function of the arguments.
    """
    first = 0 if recipe.keep_original else 1
    last = np.where(malignant, recipe.copies_malignant, recipe.copies_benign)
    rows = np.repeat(np.arange(len(keys)), last - first + 1)
    copies = np.concatenate([np.arange(first, end + 1) for end in last]).astype(np.uint64)
    order = stream(recipe.seed, Purpose.ORDER, fold=fold, epoch=epoch).permutation(len(rows))
    rows, copies = rows[order], copies[order]
    drawn_in = epoch if recipe.fresh_draws else 1
    jitters = draw_jitters(recipe, fold=fold, epoch=drawn_in, samples=keys[rows], copies=copies)
    return EpochPlan(rows, tuple(jitter if copy else Jitter() for jitter, copy in zip(jitters, copies, strict=True)))
