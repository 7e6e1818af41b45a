"""Saliency by occlusion, from predictions alone, with two checks of whether a map can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.cases.patch import PatchStack
from spinefx.learning.model import TrainedModel

__all__ = ["GRID", "Check", "SaliencyMap", "occlusion_map", "saliency"]

GRID = 8
# The occluding square is this many cells wide, so that neighbouring positions overlap.
WIDTH = 2
# More models make the map slower without changing it much: four maps by two ResNet50 take less than 2 s.
MOST_MODELS = 2
SEED = 20181203
# Beyond it, in either direction, two maps are too similar.
SAME_RANKS = 0.5
# A map must be this many times as strong as that of a network without a working last layer. Networks of random weights
# reach 1.3 by chance; trained ones started at 3.5.
LEAST_STRENGTH = 2.0


@dataclass(frozen=True)
class Check:
    """One check of a map.

    Parameters
    ----------
    passes : bool
    said : str
        What was done and what resulted, in words.
    """

    passes: bool
    said: str


@dataclass(frozen=True, eq=False)
class SaliencyMap:
    """Occlusion map of one slice's patch, with its sanity checks.

    Parameters
    ----------
    slice_index : int
    values : ndarray of float64, shape (GRID, GRID)
        Fall of the log-odds of malignancy when this position is covered; above 0 supports malignancy.
    shuffled : ndarray of float64, shape (GRID, GRID)
        The same for the patch with its pixels in random order.
    unlearned : ndarray of float64, shape (GRID, GRID)
        The same for networks with the weights of all layers in random order.
    undecided : ndarray of float64, shape (GRID, GRID)
        The same for networks with only the weights of the last layer in random order.
    models : int
        Number of models that contributed.
    """

    slice_index: int
    values: NDArray[np.float64]
    shuffled: NDArray[np.float64]
    unlearned: NDArray[np.float64]
    undecided: NDArray[np.float64]
    models: int

    @property
    def strength(self) -> float:
        """Standard deviation of the map, relative to that of a network with a shuffled last layer."""
        own, other = float(self.values.std()), float(self.undecided.std())
        return own / other if other else (np.inf if own else 0.0)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The check on the image, then that on the weights; none where the map is constant."""
        return (self._of_image(), self._of_learning()) if np.ptp(self.values) else ()

    @property
    def passes(self) -> bool:
        """Whether the map passes every check."""
        return bool(self.checks) and all(check.passes for check in self.checks)

    @property
    def verdict(self) -> str:
        """Whether the map may be interpreted, in words."""
        if not self.checks:
            return "Covering any part of the patch changes nothing: there is no map to interpret."
        if self.passes:
            return "Both checks are passed: the map shows which regions the answer depends on, but not why."
        return "Do not interpret this map: it failed a check."

    def to_json(self) -> dict[str, Any]:
        """Return the map as JSON values.

        Returns
        -------
        dict
        """
        maps = {name: np.round(getattr(self, name), 4).tolist() for name in ("values", "shuffled", "unlearned")}
        return {
            "slice": self.slice_index,
            **maps,
            "passes": self.passes,
            "checks": [{"passes": one.passes, "said": one.said} for one in self.checks],
            "verdict": self.verdict,
            "models": self.models,
        }

    def _of_image(self) -> Check:
        rho = _rank_correlation(self.values, self.shuffled)
        did = "With the pixels of the image shuffled"
        # A constant map has nothing in common with this one.
        if abs(rho) > SAME_RANKS:
            return Check(False, f"{did}: {_same(rho)}. It shows a bias of the network, not this vertebra.")
        return Check(True, f"{did}: {_another(rho)}. It depends on this image.")

    def _of_learning(self) -> Check:
        rho = _rank_correlation(self.values, self.unlearned)
        did = "With the weights of the network shuffled"
        if abs(rho) > SAME_RANKS:
            return Check(False, f"{did}: {_same(rho)}. It does not depend on what the network learned.")
        if self.strength < LEAST_STRENGTH:
            return Check(
                False,
                f"{did}: the map is only {self.strength:.1f} times as strong as without training "
                f"(at least {LEAST_STRENGTH:g} times is required). It does not depend on what the network learned.",
            )
        return Check(
            True,
            f"{did}: {_another(rho)}, and this map is {self.strength:.0f} times as strong. "
            "It depends on what the network learned.",
        )


def saliency(models: tuple[TrainedModel, ...], stack: PatchStack, position: int) -> SaliencyMap:
    """Compute the occlusion map of one slice of a case, and check it.

    Parameters
    ----------
    models : tuple of TrainedModel
        The first two are used.
    stack : PatchStack
    position : int
        Position of the slice among the lesion slices, from 0.

    Returns
    -------
    SaliencyMap

    Raises
    ------
    ModelError
        When the weights of a model cannot be shuffled.

    Notes
    -----
    Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018: a map that stays the same when all weights of the
    network are randomised cannot explain what it learned. Weights are shuffled within each filter, which keeps their
    distribution. Two networks of random weights also have different maps, so either would pass this check alone; hence
    the map must also be stronger than with only the weights of the last layer shuffled, which makes no difference to a
    network that has learned nothing. The image is randomised likewise: each model sees the pixels of the patch in an
    order of its own.
    """
    drawn = models[:MOST_MODELS]
    patch = stack.cut(position).array
    rng = np.random.default_rng(SEED)
    shuffled = []
    for model in drawn:
        order = rng.permutation(patch[0].size)
        shuffled.append(occlusion_map((model,), patch.reshape(len(patch), -1)[:, order].reshape(patch.shape)))
    return SaliencyMap(
        slice_index=stack.slices[position],
        values=occlusion_map(drawn, patch),
        shuffled=np.mean(shuffled, axis=0),
        unlearned=occlusion_map(tuple(model.unlearned for model in drawn), patch),
        undecided=occlusion_map(tuple(model.undecided for model in drawn), patch),
        models=len(drawn),
    )


def occlusion_map(models: tuple[TrainedModel, ...], patch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cover one position after another with the mean of the channel, and record the change of the answer.

    Parameters
    ----------
    models : tuple of TrainedModel
        The log-odds are averaged over them.
    patch : ndarray of float32, shape (channel, size, size)

    Returns
    -------
    ndarray of float64, shape (GRID, GRID)
        Log-odds of the whole patch minus those of the covered one (Zeiler MD, Fergus R. ECCV 2014).
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


def _same(rho: float) -> str:
    return f"the map is much the same (rank correlation {rho:.2f})"


def _another(rho: float) -> str:
    return "no map remains" if np.isnan(rho) else f"the map is different (rank correlation {rho:.2f})"


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rho; NaN where a map is the same everywhere."""
    if not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    return float(stats.spearmanr(one, other, axis=None).statistic)
