"""Where a model looks: occlusion, by answers alone, and two checks whether the map is worth a look."""

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
# The occluding square is this many cells wide, so that neighbouring places overlap.
WIDTH = 2
# More models make the map slower, not another one: four maps by two ResNet50 take less than 2 s.
MOST_MODELS = 2
SEED = 20181203
# Beyond it, either way, two maps are too much the same.
SAME_RANKS = 0.5
# A map must be so many times as strong as one of a network that cannot tell what it sees. Networks of random weights
# reach 1.3 by chance, trained ones began at 3.5.
LEAST_STRENGTH = 2.0


@dataclass(frozen=True)
class Check:
    """One of the checks of a map.

    Parameters
    ----------
    passes : bool
    said : str
        What was done and what came of it, in words.
    """

    passes: bool
    said: str


@dataclass(frozen=True, eq=False)
class SaliencyMap:
    """Occlusion over one slice's patch, with its sanity checks.

    Parameters
    ----------
    slice_index : int
    values : ndarray of float64, shape (GRID, GRID)
        By how much log-odds of malignancy fall where this place is covered: above 0 speaks for malignant.
    shuffled : ndarray of float64, shape (GRID, GRID)
        The same on the patch with its pixels in random order.
    unlearned : ndarray of float64, shape (GRID, GRID)
        The same by the networks with the weights of all their layers in random order.
    undecided : ndarray of float64, shape (GRID, GRID)
        The same by the networks with the weights of their last layer alone in random order.
    models : int
        How many models drew it.
    """

    slice_index: int
    values: NDArray[np.float64]
    shuffled: NDArray[np.float64]
    unlearned: NDArray[np.float64]
    undecided: NDArray[np.float64]
    models: int

    @property
    def strength(self) -> float:
        """Spread of the map over its places, in that of a network whose last layer cannot tell what it sees."""
        own, other = float(self.values.std()), float(self.undecided.std())
        return own / other if other else (np.inf if own else 0.0)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The check of the image, then that of what was learned; none where the map is the same everywhere."""
        return (self._of_image(), self._of_learning()) if np.ptp(self.values) else ()

    @property
    def passes(self) -> bool:
        """Whether the map passes every check."""
        return bool(self.checks) and all(check.passes for check in self.checks)

    @property
    def verdict(self) -> str:
        """Whether to read the map, in words."""
        if not self.checks:
            return "Covering any place changes nothing: there is no map to read."
        if self.passes:
            return "Both checks are passed: the map shows what this answer rests on, though not why."
        return "Do not read this map: it failed a check."

    def to_json(self) -> dict[str, Any]:
        """Set the map out.

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
        did = "With the image's pixels shuffled"
        # A flat map has nothing in common with this one.
        if abs(rho) > SAME_RANKS:
            return Check(False, f"{did}: {_same(rho)}. It shows the network's habits, not this vertebra.")
        return Check(True, f"{did}: {_another(rho)}. It depends on this image.")

    def _of_learning(self) -> Check:
        rho = _rank_correlation(self.values, self.unlearned)
        did = "With what the network learned shuffled"
        if abs(rho) > SAME_RANKS:
            return Check(False, f"{did}: {_same(rho)}. It does not depend on what the network learned.")
        if self.strength < LEAST_STRENGTH:
            return Check(
                False,
                f"{did}: a map as strong (this one is {self.strength:.1f} times as strong; "
                f"{LEAST_STRENGTH:g} times are asked for). It does not depend on what the network learned.",
            )
        return Check(
            True,
            f"{did}: {_another(rho)}, and this one is {self.strength:.0f} times as strong. "
            "It depends on what the network learned.",
        )


def saliency(models: tuple[TrainedModel, ...], stack: PatchStack, position: int) -> SaliencyMap:
    """Map one slice of a case, and check the map.

    Parameters
    ----------
    models : tuple of TrainedModel
        The first two draw.
    stack : PatchStack
    position : int
        Which of the lesion's slices, from 0.

    Returns
    -------
    SaliencyMap

    Raises
    ------
    ModelError
        When a model's weights cannot be put in random order.

    Notes
    -----
    Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018: a map that stays the same when all weights of the
    network are randomised cannot explain what it learned. Weights are put in random order within each filter, which
    keeps their distribution. Two networks of random weights draw different maps too, so that by this alone either would
    pass; hence the map must also be stronger than with the last layer's weights alone in random order, which to a
    network that has learned nothing makes no difference. The image is randomised likewise: each model sees the patch's
    pixels in an order of its own.
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
    """Cover one place after the other with the channel's mean, and see what becomes of the answer.

    Parameters
    ----------
    models : tuple of TrainedModel
        Their log-odds are averaged.
    patch : ndarray of float32, shape (channel, size, size)

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


def _same(rho: float) -> str:
    return f"much the same map (rank correlation {rho:.2f})"


def _another(rho: float) -> str:
    return "no map is left" if np.isnan(rho) else f"another map (rank correlation {rho:.2f})"


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rho; NaN where a map is the same everywhere."""
    if not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    return float(stats.spearmanr(one, other, axis=None).statistic)
