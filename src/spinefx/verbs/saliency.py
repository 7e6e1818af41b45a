"""Where a model looks: occlusion, by answers alone, and a check whether the map has to do with the image at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.cases.patch import PatchStack
from spinefx.learning.model import TrainedModel

__all__ = ["GRID", "SaliencyMap", "occlusion_map", "saliency"]

GRID = 8
# The occluding square is this many cells wide, so that neighbouring places overlap.
WIDTH = 2
# More models make the map slower, not another one.
MOST_MODELS = 3
# One shuffle may by chance put its brightest grains where the disease is.
SHUFFLES = 3
SEED = 20181203
# Above it the map of a shuffled image is too much the same.
SAME_RANKS = 0.5


@dataclass(frozen=True, eq=False)
class SaliencyMap:
    """Occlusion over one slice's patch, with its sanity check.

    Parameters
    ----------
    slice_index : int
    values : ndarray of float64, shape (GRID, GRID)
        By how much log-odds of malignancy fall where this place is covered: above 0 speaks for malignant.
    check : ndarray of float64, shape (GRID, GRID)
        The same on the patch with its pixels shuffled, the mean of three shuffles.
    models : int
        How many models drew it.
    """

    slice_index: int
    values: NDArray[np.float64]
    check: NDArray[np.float64]
    models: int

    @property
    def correlation(self) -> float:
        """Rank correlation of both maps; NaN where one is the same everywhere."""
        if np.ptp(self.values) == 0 or np.ptp(self.check) == 0:
            return float("nan")
        ranks = [stats.rankdata(one) for one in (self.values, self.check)]
        return float(np.corrcoef(*ranks)[0, 1])

    @property
    def passes(self) -> bool:
        """Whether the map changes with the image."""
        return bool(abs(self.correlation) <= SAME_RANKS)

    @property
    def said(self) -> str:
        """The check in words."""
        rho = self.correlation
        if np.isnan(rho):
            return "Covering any place changes nothing: the map says nothing."
        if self.passes:
            return (
                f"Rank correlation with the map of the shuffled image: {rho:.2f}. The map depends on the image; "
                "whether the place matters to the disease it does not say."
            )
        return (
            f"Rank correlation with the map of the shuffled image: {rho:.2f}. Without any anatomy the map looks much "
            "the same: it shows the network's habits, not this vertebra. Do not read it."
        )

    def to_json(self) -> dict[str, Any]:
        """Set the map out.

        Returns
        -------
        dict
        """
        rho = self.correlation
        return {
            "slice": self.slice_index,
            "values": np.round(self.values, 4).tolist(),
            "check": np.round(self.check, 4).tolist(),
            "correlation": None if np.isnan(rho) else rho,
            "passes": self.passes,
            "said": self.said,
            "models": self.models,
        }


def saliency(models: tuple[TrainedModel, ...], stack: PatchStack, position: int) -> SaliencyMap:
    """Map one slice of a case, and check the map.

    Parameters
    ----------
    models : tuple of TrainedModel
        The first three draw.
    stack : PatchStack
    position : int
        Which of the lesion's slices, from 0.

    Returns
    -------
    SaliencyMap

    Notes
    -----
    The check randomises the input, not the weights (Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018): a
    map that stays the same on an image without anatomy cannot explain an answer about anatomy.
    """
    drawn = models[:MOST_MODELS]
    patch = stack.cut(position).array
    rng = np.random.default_rng(SEED)
    checks = []
    for _ in range(SHUFFLES):
        order = rng.permutation(patch[0].size)
        checks.append(occlusion_map(drawn, patch.reshape(len(patch), -1)[:, order].reshape(patch.shape)))
    return SaliencyMap(stack.slices[position], occlusion_map(drawn, patch), np.mean(checks, axis=0), len(drawn))


def occlusion_map(models: tuple[TrainedModel, ...], patch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cover one place after the other with the channel's mean, and see what becomes of the answer.

    Parameters
    ----------
    models : tuple of TrainedModel
        Their log-odds are averaged.
    patch : ndarray of float32, shape (6, size, size)

    Returns
    -------
    ndarray of float64, shape (GRID, GRID)
        Log-odds of the whole patch less those of the covered one (Zeiler MD, Fergus R. ECCV 2014).
    """
    edges = np.linspace(0, patch.shape[1], GRID + 1)
    half = WIDTH * patch.shape[1] / GRID / 2
    batch = np.repeat(patch[None], 1 + GRID * GRID, axis=0)
    for place in range(GRID * GRID):
        row, column = divmod(place, GRID)
        spans = []
        for index in (row, column):
            centre = (edges[index] + edges[index + 1]) / 2
            spans.append(slice(max(0, round(centre - half)), round(centre + half)))
        batch[1 + place][:, spans[0], spans[1]] = 0.0  # the mean of a normalised channel
    scores = np.mean([one.log_odds(batch) for one in models], axis=0)
    change: NDArray[np.float64] = (scores[0] - scores[1:]).reshape(GRID, GRID)
    return change
