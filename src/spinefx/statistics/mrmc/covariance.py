"""Covariances of areas or proportions over the same cases: structural components, jackknife, DeLong and unbiased.

A cell is one reader with one modality. All estimators are computed from two arrays per cell: the proportion of benign
cases that each malignant case outscores, and the proportion of malignant cases that outscore each benign case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.scores import Endpoint

__all__ = [
    "CovarianceMethod",
    "PairMoments",
    "StructuralComponents",
    "covariance_matrix",
    "delong_covariance",
    "jackknife_covariance",
    "pair_moments",
    "structural_components",
    "unbiased_covariance",
]

CovarianceMethod = Literal["jackknife", "delong", "unbiased"]
Floats = NDArray[np.float64]
# Numbers per block of the pairwise sums; sums of 0, 1, 2 and 4 over so many are exact in float32.
BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class StructuralComponents:
    """Contribution of each case to the value of each cell.

    Parameters
    ----------
    values : ndarray of float64, shape (cell,)
        Area under the curve, sensitivity or specificity.
    malignant : ndarray of float64, shape (cell, malignant case)
        Proportion of the cell's benign cases that a malignant case outscores (ties count half), or whether the case was
        called malignant; NaN if not read. Without columns for specificity.
    benign : ndarray of float64, shape (cell, benign case)
        Proportion of the cell's malignant cases that outscore a benign case, or whether the case was called benign.
        Without columns for sensitivity.
    malignant_scores, benign_scores : ndarray of float64
        The scores behind them, of the same shapes.
    """

    values: Floats
    malignant: Floats
    benign: Floats
    malignant_scores: Floats
    benign_scores: Floats

    @property
    def parts(self) -> tuple[Floats, Floats]:
        """Both arrays centred at the value of their cell; 0 if not read."""
        malignant, benign = (np.nan_to_num(part - self.values[:, None]) for part in (self.malignant, self.benign))
        return malignant, benign

    @property
    def shared(self) -> tuple[Floats, Floats]:
        """Numbers of malignant and of benign cases shared by every two cells, each of shape (cell, cell)."""
        malignant, benign = (np.isfinite(part).astype(float) for part in (self.malignant, self.benign))
        return malignant @ malignant.T, benign @ benign.T


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Sums of products of wins over pairs of cases, from which U-statistics are computed.

    A win is 1 if the malignant case of a pair outscores the benign one, 1/2 for a tie, and 0 otherwise.

    Parameters
    ----------
    sums, counts : ndarray of float64, shape (4, cell, cell)
        Sums of products of two cells' wins, and their numbers: over the same malignant and benign case; the same
        malignant and any benign case; any malignant and the same benign case; and any cases.
    """

    sums: Floats
    counts: Floats


def structural_components(
    scores: ArrayLike,
    malignant: ArrayLike,
    *,
    endpoint: Endpoint = "auc",
    threshold: float | None = None,
    names: Sequence[str] = (),
) -> StructuralComponents:
    """Compute the contribution of each case from ranks.

    Parameters
    ----------
    scores : array_like, shape (cell, case)
        NaN if not read.
    malignant : array_like of bool, shape (case,)
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
        Only for sensitivity and specificity, which need it: a score at or above it counts as malignant.
    names : sequence of str
        Names of the cells for error messages.

    Returns
    -------
    StructuralComponents

    Raises
    ------
    InputError
        If the endpoint is unknown, a threshold is missing or not applicable, or a cell lacks cases of a class that the
        endpoint needs.

    Notes
    -----
    DeLong ER et al. Biometrics 1988;44:837-845, equations 3 and 4; by ranks as in Sun X, Xu W. IEEE Signal Process
    Lett 2014;21:1389-1393.
    """
    if endpoint not in ("auc", "sensitivity", "specificity"):
        raise InputError(f"endpoint {endpoint!r}", allowed="auc, sensitivity, specificity")
    if (threshold is None) != (endpoint == "auc"):
        raise InputError(
            f"threshold {threshold} for {endpoint}", allowed="a threshold for sensitivity and specificity only"
        )
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    positive, negative = values[:, truth], values[:, ~truth]
    for kind, part, idle in (("malignant", positive, "specificity"), ("benign", negative, "sensitivity")):
        empty = ~np.isfinite(part).any(axis=1)
        if empty.any() and endpoint != idle:
            where = names[int(np.argmax(empty))] if names else ""
            raise InputError(f"no {kind} case read, so no {endpoint}", where=where, allowed="one or more per reader")
    if threshold is None:
        wins, losses = np.full_like(positive, np.nan), np.full_like(negative, np.nan)
        for cell in range(len(values)):
            wins[cell], losses[cell] = _placements(positive[cell], negative[cell])
        return StructuralComponents(np.nanmean(wins, axis=1), wins, losses, positive, negative)
    if endpoint == "sensitivity":
        called = np.where(np.isnan(positive), np.nan, positive >= threshold)
        return StructuralComponents(np.nanmean(called, axis=1), called, negative[:, :0], positive, negative[:, :0])
    called = np.where(np.isnan(negative), np.nan, negative < threshold)
    return StructuralComponents(np.nanmean(called, axis=1), positive[:, :0], called, positive[:, :0], negative)


def covariance_matrix(components: StructuralComponents, method: CovarianceMethod) -> Floats:
    """Estimate the covariance matrix of the cells' values by a named method.

    Parameters
    ----------
    components : StructuralComponents
    method : {'jackknife', 'delong', 'unbiased'}

    Returns
    -------
    ndarray of float64, shape (cell, cell)
        0 for two cells that share no case.

    Raises
    ------
    InputError
        If the method is unknown, or a cell has a single case of a class, which leaves no variance.
    """
    known = {"jackknife": jackknife_covariance, "delong": delong_covariance, "unbiased": unbiased_covariance}
    if method not in known:
        raise InputError(f"covariance method {method!r}", allowed=", ".join(known))
    return known[method](components)


def jackknife_covariance(components: StructuralComponents) -> Floats:
    """Estimate the covariance matrix by the jackknife over cases, in closed form.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)

    Raises
    ------
    InputError
        If a cell has a single case of a class.

    Notes
    -----
    Leaving out malignant case i of m changes an area by (area - component i) / (m - 1). In the factor (n - 1) / n the
    cases of the study are counted (for sensitivity and specificity those of the class concerned), as in MRMCaov and
    RJafroc.
    """
    _check_case_numbers(components)
    cases = components.malignant.shape[1] + components.benign.shape[1]
    total = np.zeros((len(components.values),) * 2)
    for part, shared in zip(components.parts, components.shared, strict=True):
        if part.shape[1]:
            moved = part / (np.diag(shared)[:, None] - 1)
            total += moved @ moved.T
    return np.asarray(total * (cases - 1) / cases)


def delong_covariance(components: StructuralComponents) -> Floats:
    """Estimate the covariance matrix of areas by DeLong's method, and of proportions by their sample covariances.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)

    Raises
    ------
    InputError
        If a cell has a single case of a class.

    Notes
    -----
    DeLong ER et al. Biometrics 1988;44:837-845. If two cells have different cases, their covariance is estimated from
    the cases that they share.
    """
    _check_case_numbers(components)
    total = np.zeros((len(components.values),) * 2)
    for part, shared in zip(components.parts, components.shared, strict=True):
        if part.shape[1]:
            counts = np.diag(shared)
            total += part @ part.T * shared / np.maximum(shared - 1, 1) / np.outer(counts, counts)
    return total


def unbiased_covariance(components: StructuralComponents) -> Floats:
    """Estimate the covariance matrix by U-statistics.

    A covariance is the product of two values minus the mean product over pairs of cases that are all different.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)
        Unbiased; the estimate of a variance may be negative.

    Raises
    ------
    InputError
        If a cell has a single case of a class.

    Notes
    -----
    Gallas BD, Pennello GA, Myers KJ. J Opt Soc Am A 2007;24:B70-B80.
    """
    _check_case_numbers(components)
    values, shared = components.values, components.shared
    if components.malignant.shape[1] and components.benign.shape[1]:
        moments, signs = pair_moments(components), np.array([1.0, -1.0, -1.0, 1.0])
        apart, pairs = (np.einsum("k,kab->ab", signs, array) for array in (moments.sums, moments.counts))
    else:
        read, both = (
            (components.malignant, shared[0]) if components.malignant.shape[1] else (components.benign, shared[1])
        )
        counts, filled = np.diag(both), np.nan_to_num(read)
        pairs = np.outer(counts, counts) - both
        apart = np.outer(values * counts, values * counts) - filled @ filled.T
    unrelated = shared[0] + shared[1] == 0
    return np.where(unrelated, 0.0, np.outer(values, values) - apart / pairs)


def pair_moments(components: StructuralComponents, centre: Floats | float = 0.0) -> PairMoments:
    """Sum products of wins over pairs of a malignant and a benign case, for every two cells.

    Parameters
    ----------
    components : StructuralComponents
        Components of areas.
    centre : ndarray of float64, shape (cell,), or float
        Subtracted from each win of the cell.

    Returns
    -------
    PairMoments

    Notes
    -----
    Gallas BD. Acad Radiol 2006;13:353-362. Only the first sum needs all pairs; it is computed by matrix products in
    blocks.
    """
    malignant, benign = components.shared
    positives, negatives = np.diag(malignant), np.diag(benign)
    centre = np.broadcast_to(centre, components.values.shape)
    by_malignant = np.nan_to_num(components.malignant - centre[:, None]) * negatives[:, None]
    by_benign = np.nan_to_num(components.benign - centre[:, None]) * positives[:, None]
    pairs = positives * negatives
    wins = (components.values - centre) * pairs
    products, won = _sum_over_pairs(components.malignant_scores, components.benign_scores)
    crossed = won * centre
    both = products - crossed - crossed.T + np.outer(centre, centre) * malignant * benign
    sums = (both, by_malignant @ by_malignant.T, by_benign @ by_benign.T, np.outer(wins, wins))
    counts = (
        malignant * benign,
        malignant * np.outer(negatives, negatives),
        benign * np.outer(positives, positives),
        np.outer(pairs, pairs),
    )
    return PairMoments(np.stack(sums), np.stack(counts))


def _placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the proportions that each malignant case outscores and that outscore each benign case; NaN if not read."""
    above, below = np.full_like(positive, np.nan), np.full_like(negative, np.nan)
    has_score, has_rival = np.isfinite(positive), np.isfinite(negative)
    scores, rivals = positive[has_score], negative[has_rival]
    ranks = stats.rankdata(np.concatenate([scores, rivals]))
    above[has_score] = (ranks[: scores.size] - stats.rankdata(scores)) / rivals.size
    below[has_rival] = 1 - (ranks[scores.size :] - stats.rankdata(rivals)) / scores.size
    return above, below


def _sum_over_pairs(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the sums of products of two cells' wins, and of the first cell's wins, over the pairs that both read."""
    cells, total, won = len(positive), np.zeros((len(positive),) * 2), np.zeros((len(positive),) * 2)
    rows = max(1, BLOCK // max(1, negative.size))
    rivals = negative[:, None, :]
    holes = bool(np.isnan(positive).any() or np.isnan(negative).any())

    def read(some: Floats, others: Floats) -> NDArray[np.float32]:
        return (np.isfinite(some) & np.isfinite(others)).reshape(cells, -1).astype(np.float32)

    for start in range(0, positive.shape[1], rows):
        scores = positive[:, start : start + rows, None]
        # Twice the win: 0, 1 or 2. A missing score compares false both times and adds nothing.
        doubled = (scores > rivals).astype(np.float32)
        doubled += scores >= rivals
        flat = doubled.reshape(cells, -1)
        total += flat @ flat.T
        won += flat @ read(scores, rivals).T if holes else flat.sum(axis=1)[:, None]
    return total / 4, won / 2


def _check_case_numbers(components: StructuralComponents) -> None:
    for kind, part in (("malignant", components.malignant), ("benign", components.benign)):
        if part.shape[1] and np.isfinite(part).sum(axis=1).min() < 2:
            raise InputError(
                f"a reader with a single {kind} case, which leaves no variance over cases",
                allowed="two or more cases per class",
                remedy="Leave the reader out, or take the cases as fixed (RRFC).",
            )
