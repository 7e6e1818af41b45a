"""Covariances of areas or proportions that share cases: structural components, jackknife, DeLong, unbiased.

A cell is one reader by one modality. Everything follows from two small arrays: how each malignant case fares against
all benign ones of its cell, and how each benign case fares against all malignant ones.
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
# Numbers in one block of the pairwise pass; sums of 0, 1, 2 and 4 over so many stay exact in float32.
BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class StructuralComponents:
    """What each case contributes to the value of each cell.

    Parameters
    ----------
    values : ndarray of float64, shape (cell,)
        Area under the curve, sensitivity or specificity.
    malignant : ndarray of float64, shape (cell, malignant case)
        Share of the cell's benign cases that a malignant one outscores (ties half), or whether it was called malignant;
        NaN where not read. No columns for specificity.
    benign : ndarray of float64, shape (cell, benign case)
        Share of malignant cases that outscore it, or whether it was called benign. No columns for sensitivity.
    malignant_scores, benign_scores : ndarray of float64
        The scores behind them, shaped alike.
    """

    values: Floats
    malignant: Floats
    benign: Floats
    malignant_scores: Floats
    benign_scores: Floats

    @property
    def parts(self) -> tuple[Floats, Floats]:
        """Both arrays with the value of the cell taken away, 0 where not read."""
        malignant, benign = (np.nan_to_num(part - self.values[:, None]) for part in (self.malignant, self.benign))
        return malignant, benign

    @property
    def shared(self) -> tuple[Floats, Floats]:
        """Malignant and benign cases read by both of two cells, each of shape (cell, cell)."""
        malignant, benign = (np.isfinite(part).astype(float) for part in (self.malignant, self.benign))
        return malignant @ malignant.T, benign @ benign.T


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Sums of products of wins over pairs of cases, the raw matter of a U-statistic.

    Parameters
    ----------
    sums, counts : ndarray of float64, shape (4, cell, cell)
        Sum of products of two cells' wins, and how many: over the same malignant and benign case; same malignant, any
        benign; any malignant, same benign; any of both.
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
    """Work out what each case contributes, by ranks.

    Parameters
    ----------
    scores : array_like, shape (cell, case)
        NaN where not read.
    malignant : array_like of bool, shape (case,)
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
        A case at or above is called malignant; for sensitivity and specificity, and for them alone.
    names : sequence of str
        What to call the cells in errors.

    Returns
    -------
    StructuralComponents

    Raises
    ------
    InputError
        For an unknown endpoint, a threshold missing or idle, or a cell without a case of a class that it needs.

    Notes
    -----
    DeLong ER et al. Biometrics 1988;44:837-845, equations 3 and 4; ranks as in Sun X, Xu W. IEEE Signal Process Lett
    2014;21:1389-1393.
    """
    if endpoint not in ("auc", "sensitivity", "specificity"):
        raise InputError(f"the endpoint {endpoint!r}", allowed="auc, sensitivity, specificity")
    if (threshold is None) != (endpoint == "auc"):
        raise InputError(
            f"a threshold of {threshold} for {endpoint}", allowed="one for sensitivity and specificity only"
        )
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    positive, negative = values[:, truth], values[:, ~truth]
    for kind, part, idle in (("malignant", positive, "specificity"), ("benign", negative, "sensitivity")):
        empty = ~np.isfinite(part).any(axis=1)
        if empty.any() and endpoint != idle:
            where = names[int(np.argmax(empty))] if names else ""
            raise InputError(f"no {kind} case was read: no {endpoint}", where=where, allowed="at least one a reader")
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
    """Estimate the covariances of the cells' values by a named method.

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
        For an unknown method, or a cell with a single case of a class, which leaves no variance to estimate.
    """
    known = {"jackknife": jackknife_covariance, "delong": delong_covariance, "unbiased": unbiased_covariance}
    if method not in known:
        raise InputError(f"the covariance method {method!r}", allowed=", ".join(known))
    return known[method](components)


def jackknife_covariance(components: StructuralComponents) -> Floats:
    """Covariances by leaving out one case at a time, in closed form.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)

    Raises
    ------
    InputError
        For a cell with a single case of a class.

    Notes
    -----
    Leaving out malignant case i of m moves an area by (area - share i) / (m - 1). The factor (n - 1) / n counts the
    cases of the study, of the class that matters for sensitivity and specificity, as MRMCaov and RJafroc do.
    """
    _refuse_single_cases(components)
    cases = components.malignant.shape[1] + components.benign.shape[1]
    total = np.zeros((len(components.values),) * 2)
    for part, shared in zip(components.parts, components.shared, strict=True):
        if part.shape[1]:
            moved = part / (np.diag(shared)[:, None] - 1)
            total += moved @ moved.T
    return np.asarray(total * (cases - 1) / cases)


def delong_covariance(components: StructuralComponents) -> Floats:
    """Covariances of areas by DeLong's structural components; of proportions, the sample covariances.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)

    Raises
    ------
    InputError
        For a cell with a single case of a class.

    Notes
    -----
    DeLong ER et al. Biometrics 1988;44:837-845. With unequal case sets a covariance comes from the cases that both
    cells share.
    """
    _refuse_single_cases(components)
    total = np.zeros((len(components.values),) * 2)
    for part, shared in zip(components.parts, components.shared, strict=True):
        if part.shape[1]:
            counts = np.diag(shared)
            total += part @ part.T * shared / np.maximum(shared - 1, 1) / np.outer(counts, counts)
    return total


def unbiased_covariance(components: StructuralComponents) -> Floats:
    """Covariances by U-statistics: product of values less its expectation over cases that are all different.

    Parameters
    ----------
    components : StructuralComponents

    Returns
    -------
    ndarray of float64, shape (cell, cell)
        Unbiased; a variance may come out negative.

    Raises
    ------
    InputError
        For a cell with a single case of a class.

    Notes
    -----
    Gallas BD, Pennello GA, Myers KJ. J Opt Soc Am A 2007;24:B70-B80.
    """
    _refuse_single_cases(components)
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
        Of areas.
    centre : ndarray of float64, shape (cell,), or float
        Taken off each win of the cell beforehand.

    Returns
    -------
    PairMoments

    Notes
    -----
    Gallas BD. Acad Radiol 2006;13:353-362. Only the first sum needs all pairs; it runs in blocks of matrix products.
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
    """Shares that each malignant case outscores, and that outscore each benign case, NaN where not read."""
    above, below = np.full_like(positive, np.nan), np.full_like(negative, np.nan)
    has_score, has_rival = np.isfinite(positive), np.isfinite(negative)
    scores, rivals = positive[has_score], negative[has_rival]
    ranks = stats.rankdata(np.concatenate([scores, rivals]))
    above[has_score] = (ranks[: scores.size] - stats.rankdata(scores)) / rivals.size
    below[has_rival] = 1 - (ranks[scores.size :] - stats.rankdata(rivals)) / scores.size
    return above, below


def _sum_over_pairs(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Sum of products of two cells' wins, and of the first one's wins, over the pairs that both read."""
    cells, total, won = len(positive), np.zeros((len(positive),) * 2), np.zeros((len(positive),) * 2)
    rows = max(1, BLOCK // max(1, negative.size))
    rivals = negative[:, None, :]
    holes = bool(np.isnan(positive).any() or np.isnan(negative).any())

    def read(some: Floats, others: Floats) -> NDArray[np.float32]:
        return (np.isfinite(some) & np.isfinite(others)).reshape(cells, -1).astype(np.float32)

    for start in range(0, positive.shape[1], rows):
        scores = positive[:, start : start + rows, None]
        # Twice the win: 0, 1 or 2. A score that is missing compares false both times and so counts nothing.
        doubled = (scores > rivals).astype(np.float32)
        doubled += scores >= rivals
        flat = doubled.reshape(cells, -1)
        total += flat @ flat.T
        won += flat @ read(scores, rivals).T if holes else flat.sum(axis=1)[:, None]
    return total / 4, won / 2


def _refuse_single_cases(components: StructuralComponents) -> None:
    for kind, part in (("malignant", components.malignant), ("benign", components.benign)):
        if part.shape[1] and np.isfinite(part).sum(axis=1).min() < 2:
            raise InputError(
                f"a reader with a single {kind} case: no variance over cases",
                allowed="two or more cases of a class",
                remedy="Leave the reader out, or take cases as fixed (RRFC).",
            )
