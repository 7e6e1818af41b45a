"""Parts and points of a ROC curve: the area where a reader would work, and the threshold that Youden's index picks."""

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
    """The threshold at which sensitivity and specificity add up to most.

    Parameters
    ----------
    threshold : float
        Half way between the two neighbouring scores; a case above it is called malignant. Infinite where no score does
        better than calling all cases alike.
    index : float
        Sensitivity plus specificity less 1, 0 to 1. Largest on these very cases, so that it flatters on others; no
        interval allows for that.
    confusion : Confusion
        Counts at the threshold. Its intervals take the threshold as given beforehand, which it was not.
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
    """Area under the part of a ROC curve where specificity, or sensitivity, is high enough.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant; ties count half.
    malignant : array_like of bool, shape (case,)
    at_least : float
        Lowest specificity (or sensitivity) of interest, 0 or more and below 1.
    region : {'specificity', 'sensitivity'}
        Of which the part is taken.
    corrected : bool
        Carry the area over to a scale on which chance is 0.5 and perfection 1; else it is at most ``1 - at_least``.
    confidence : float

    Returns
    -------
    Estimate
        With an interval by the jackknife within each class, symmetric on the logit of the area's share of the largest
        possible. No limits, and the reason, where that share is 0 or 1 or a class has one case.

    Raises
    ------
    InputError
        When a class is missing, a score is not finite, or for an unknown region or an impossible limit.

    Notes
    -----
    McClish DK. Med Decis Making 1989;9:190-195, with the correction. The curve is the empirical one, straight between
    its points.
    """
    if region not in REGIONS:
        raise InputError(f"the region {region!r}", allowed=", ".join(REGIONS))
    if not 0 <= at_least < 1:
        raise InputError(f"a part from {at_least}", where="partial area", allowed="0 or more, below 1")
    z, width = normal_quantile(confidence), 1 - at_least
    values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
    Roc.of(values, truth)  # refuses what has no curve
    if region == "sensitivity":
        # The curve of the other class, with scores turned round: sensitivity is its specificity.
        values, truth = -values, ~truth
    positives, negatives = values[truth], values[~truth]
    share, variance = _share(positives, negatives, width), _jackknife(positives, negatives, width)
    low = high = np.nan
    note = "a class of one case, or an empty or a full area: no variance to estimate from"
    if 0 < share < 1 and variance > 0:
        reach = z * np.sqrt(variance) / (share * (1 - share))
        low, high = (float(1 / (1 + np.exp(-(np.log(share / (1 - share)) + sign * reach)))) for sign in (-1, 1))
        note = ""
    value, lowest, highest = (_scaled(width * part, width, corrected) for part in (share, low, high))
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
        The lowest of such thresholds where several tie, since a missed malignant fracture costs more.

    Raises
    ------
    InputError
        When a class is missing or a score is not finite.

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


def _share(positives: NDArray[np.float64], negatives: NDArray[np.float64], width: float) -> float:
    """Area up to a false positive rate, as a share of the largest."""
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([positives, negatives]))[::-1]])
    false, true = (1 - np.searchsorted(np.sort(kind), thresholds) / kind.size for kind in (negatives, positives))
    # Of several points straight above one another the highest is the one to leave from.
    inside = false <= width
    end = int(inside.sum())
    area = float(np.trapezoid(true[inside], false[inside]))
    if end < false.size:
        slope = (true[end] - true[end - 1]) / (false[end] - false[end - 1])
        rest = width - false[end - 1]
        area += float(rest * (true[end - 1] + slope * rest / 2))
    return min(1.0, area / width)


def _jackknife(positives: NDArray[np.float64], negatives: NDArray[np.float64], width: float) -> float:
    """Variance of the share from leaving out each case in turn, class by class; 0 for a class of one."""
    if min(positives.size, negatives.size) < 2:
        return 0.0
    without = (
        [_share(np.delete(positives, i), negatives, width) for i in range(positives.size)],
        [_share(positives, np.delete(negatives, i), width) for i in range(negatives.size)],
    )
    return float(sum((len(shares) - 1) * np.var(shares) for shares in without))


def _scaled(area: float, width: float, corrected: bool) -> float:
    chance = width**2 / 2
    return float((1 + (area - chance) / (width - chance)) / 2 if corrected else area)
