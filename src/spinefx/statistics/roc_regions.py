"""Partial areas under a ROC curve, and the threshold with the largest Youden index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion, Roc
from spinefx.statistics.estimate import Estimate, normal_quantile

__all__ = ["YoudenPoint", "partial_auc", "youden_point"]

REGIONS = ("specificity", "sensitivity")


@dataclass(frozen=True)
class YoudenPoint:
    """The threshold at which the sum of sensitivity and specificity is largest.

    Parameters
    ----------
    threshold : float
        Midway between the two neighbouring scores; a case above it is called malignant. Infinite if no threshold is
        better than calling all cases alike.
    index : float
        Sensitivity plus specificity minus 1, 0 to 1. It was maximised on these cases and is therefore optimistic; no
        interval accounts for that.
    confusion : Confusion
        Counts at the threshold. Its intervals treat the threshold as fixed in advance, which it was not.
    """

    threshold: float
    index: float
    confusion: Confusion


def partial_auc(
    scores: ArrayLike,
    malignant: ArrayLike,
    at_least: float = 0.9,
    *,
    region: str = "specificity",
    corrected: bool = False,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the partial area under a ROC curve where specificity, or sensitivity, is high.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant; ties count half.
    malignant : array_like of bool, shape (case,)
    at_least : float
        Lowest specificity (or sensitivity) of interest, at least 0 and below 1.
    region : {'specificity', 'sensitivity'}
        The measure that bounds the region.
    corrected : bool
        Whether to rescale the area so that chance is 0.5 and perfection 1; otherwise it is at most ``1 - at_least``.
    confidence : float

    Returns
    -------
    Estimate
        With an interval by the jackknife within each class, symmetric on the logit of the area divided by the largest
        possible one. Without limits, and with a note, if that ratio is 0 or 1 or a class has only one case.

    Raises
    ------
    InputError
        If a class is missing, a score is not finite, or the region or its limit is not valid.

    Notes
    -----
    McClish DK. Med Decis Making 1989;9:190-195, including the correction. The curve is the empirical one with straight
    lines between its points.
    """
    if region not in REGIONS:
        raise InputError(f"region {region!r}", allowed=", ".join(REGIONS))
    if not 0 <= at_least < 1:
        raise InputError(f"a lower limit of {at_least}", where="partial area", allowed="0 or more, below 1")
    z, width = normal_quantile(confidence), 1 - at_least
    values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
    Roc.of(values, truth)  # raises an error if there is no curve
    if region == "sensitivity":
        # With classes exchanged and scores negated, specificity is the original sensitivity.
        values, truth = -values, ~truth
    positives, negatives = values[truth], values[~truth]
    ratio, variance = _relative_area(positives, negatives, width), _jackknife(positives, negatives, width)
    low = high = np.nan
    note = "the variance cannot be estimated: a class of one case, or an area of 0 or the largest possible"
    if 0 < ratio < 1 and variance > 0:
        half_width = z * np.sqrt(variance) / (ratio * (1 - ratio))
        low, high = (float(1 / (1 + np.exp(-(np.log(ratio / (1 - ratio)) + sign * half_width)))) for sign in (-1, 1))
        note = ""
    value, lowest, highest = (_scaled(width * part, width, corrected) for part in (ratio, low, high))
    return Estimate(value, lowest, highest, note=note)


def youden_point(scores: ArrayLike, malignant: ArrayLike) -> YoudenPoint:
    """Find the threshold with the largest Youden index.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    YoudenPoint
        Of several equal thresholds the lowest, since missing a malignant fracture is the costlier error.

    Raises
    ------
    InputError
        If a class is missing or a score is not finite.

    Notes
    -----
    Youden WJ. Cancer 1950;3:32-35.
    """
    values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
    curve = Roc.of(values, truth)
    index = curve.true_positive_rate - curve.false_positive_rate
    best = int(np.flatnonzero(index > index.max() - 1e-12)[-1])
    at = curve.thresholds[best]
    beyond = curve.thresholds[best + 1] if best + 1 < index.size else -np.inf
    called = values >= at
    counts = [int(np.sum(kind)) for kind in (called & truth, ~called & ~truth, ~called & truth, called & ~truth)]
    threshold = float(at if np.isinf(at) else (at + beyond) / 2)
    return YoudenPoint(threshold, float(index[best]), Confusion(*counts))


def _relative_area(positives: NDArray[np.float64], negatives: NDArray[np.float64], width: float) -> float:
    """Return the area up to a false positive rate, divided by the largest possible one."""
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([positives, negatives]))[::-1]])
    false, true = (1 - np.searchsorted(np.sort(kind), thresholds) / kind.size for kind in (negatives, positives))
    # Of several points at the same false positive rate, the curve continues from the highest.
    inside = false <= width
    end = int(inside.sum())
    area = float(np.trapezoid(true[inside], false[inside]))
    if end < false.size:
        slope = (true[end] - true[end - 1]) / (false[end] - false[end - 1])
        rest = width - false[end - 1]
        area += float(rest * (true[end - 1] + slope * rest / 2))
    return min(1.0, area / width)


def _jackknife(positives: NDArray[np.float64], negatives: NDArray[np.float64], width: float) -> float:
    """Return the variance of the relative area by leaving out each case of each class in turn; 0 for a class of one."""
    if min(positives.size, negatives.size) < 2:
        return 0.0
    without = (
        [_relative_area(np.delete(positives, i), negatives, width) for i in range(positives.size)],
        [_relative_area(positives, np.delete(negatives, i), width) for i in range(negatives.size)],
    )
    return float(sum((len(ratios) - 1) * np.var(ratios) for ratios in without))


def _scaled(area: float, width: float, corrected: bool) -> float:
    chance = width**2 / 2
    return float((1 + (area - chance) / (width - chance)) / 2 if corrected else area)
