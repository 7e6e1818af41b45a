"""How many cases a ROC study needs: power of one area against chance, and of two areas over the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Roc

__all__ = [
    "BinormalCurve",
    "auc_difference_power",
    "auc_difference_sample_size",
    "auc_power",
    "binormal_covariance",
    "fit_binormal",
]

# Obuchowski's own figures: the variance of an area of 0.5 per malignant case, and the root of 2 to three places.
CHANCE_VARIANCE, ROOT_OF_TWO, EXPONENTIAL = 0.0792, 1.414, 0.0099


@dataclass(frozen=True)
class BinormalCurve:
    """A ROC curve of two normal distributions: sensitivity is Phi(separation + ratio * probit of 1 - specificity).

    Parameters
    ----------
    separation : float
        Distance of the means over the spread of malignant cases.
    ratio : float
        Spread of benign over that of malignant cases, above 0.

    Raises
    ------
    InputError
        For a ratio of 0 or less, or a parameter that is not finite.
    """

    separation: float
    ratio: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.separation) and 0 < self.ratio < np.inf):
            raise InputError(f"{self}", where="binormal curve", allowed="a finite separation, a ratio above 0")

    @property
    def area(self) -> float:
        """Area under the curve."""
        return float(stats.norm.cdf(self.separation / np.sqrt(1 + self.ratio**2)))

    @property
    def gradient(self) -> tuple[float, float]:
        """Slope of the area by separation and by ratio."""
        spread = 1 + self.ratio**2
        height = float(np.exp(-(self.separation**2) / (2 * spread)) / np.sqrt(2 * np.pi * spread))
        return height, -height * self.separation * self.ratio / spread


def fit_binormal(scores: ArrayLike, malignant: ArrayLike) -> BinormalCurve:
    """Draw a straight line through the ROC points on probit axes.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    BinormalCurve
        By least squares of specificity on sensitivity over the points inside the square, as pROC fits it.

    Raises
    ------
    InputError
        When a class is missing, a score is not finite, or fewer than two points lie inside the square.
    """
    curve = Roc.of(scores, malignant)
    sensitivity, specificity = stats.norm.ppf([curve.true_positive_rate, 1 - curve.false_positive_rate])
    inside = np.isfinite(sensitivity) & np.isfinite(specificity)
    if np.unique(sensitivity[inside]).size < 2 or np.unique(specificity[inside]).size < 2:
        raise InputError("fewer than two points inside the ROC square", allowed="classes that overlap, several scores")
    slope, constant = np.polyfit(sensitivity[inside], specificity[inside], 1)
    return BinormalCurve(float(-constant / slope), float(-1 / slope))


def binormal_covariance(
    scores: ArrayLike, malignant: ArrayLike, curves: Sequence[BinormalCurve] | None = None
) -> NDArray[np.float64]:
    """Covariance of areas under binormal curves over the same cases.

    Parameters
    ----------
    scores : array_like, shape (curve, case) or (case,)
    malignant : array_like of bool, shape (case,)
    curves : sequence of BinormalCurve, optional
        Fitted to the scores by default.

    Returns
    -------
    ndarray of float64, shape (curve, curve)

    Raises
    ------
    InputError
        See :func:`fit_binormal`; or for a number of curves that is not that of the scores.

    Notes
    -----
    Obuchowski NA, McClish DK. Stat Med 1997;16:1529-1542, formulas 4 and 5. Formula 4 leaves the covariance of the two
    parameters of one curve out, and so errs to the wide side. Unlike DeLong's it can be had from parameters alone.
    """
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    fitted = [fit_binormal(row, truth) for row in values] if curves is None else list(curves)
    if len(fitted) != len(values):
        raise InputError(f"{len(fitted)} curves for {len(values)} rows of scores", allowed="one a row")
    cases, kappa = int(truth.sum()), float((~truth).sum() / truth.sum())
    alike = [np.atleast_2d(np.corrcoef(values[:, kind])) for kind in (truth, ~truth)]
    matrix = np.empty((len(values), len(values)))
    for i, one in enumerate(fitted):
        f1, g1 = one.gradient
        a1, b1 = one.separation, one.ratio
        matrix[i, i] = f1**2 * (1 + b1**2 / kappa + a1**2 / 2) + g1**2 * b1**2 * (1 + kappa) / (2 * kappa)
        for j, other in enumerate(fitted[:i]):
            f2, g2 = other.gradient
            a2, b2, ra, rn = other.separation, other.ratio, alike[0][i, j], alike[1][i, j]
            matrix[i, j] = matrix[j, i] = (
                f1 * f2 * (ra + rn * b1 * b2 / kappa + ra**2 * a1 * a2 / 2)
                + g1 * g2 * b1 * b2 * (rn**2 + kappa * ra**2) / (2 * kappa)
                + (f1 * g2 * a1 * b2 + f2 * g1 * a2 * b1) * ra**2 / 2
            )
    return matrix / cases


def auc_power(area: float, malignant: int, benign: int, *, alpha: float = 0.05) -> float:
    """Power to tell an area from 0.5.

    Parameters
    ----------
    area : float
        True area, above 0, below 1.
    malignant, benign : int
        Cases, one or more of each.
    alpha : float
        Two-sided, above 0, below 1.

    Returns
    -------
    float
        0 to 1; of the side on which the area lies.

    Raises
    ------
    InputError
        For an impossible area, number of cases or level.

    Notes
    -----
    Obuchowski NA, Lieber ML, Wians FH. Clin Chem 2004;50:1118-1125, with its rounded constants, as in pROC.
    """
    if not 0 < area < 1 or min(malignant, benign) < 1 or not 0 < alpha < 1:
        raise InputError(
            f"an area of {area:g}, {malignant} and {benign} cases, level {alpha:g}",
            where="power",
            allowed="an area and a level between 0 and 1, a case of each class",
        )
    kappa, distance = benign / malignant, (ROOT_OF_TWO * float(stats.norm.ppf(area))) ** 2
    variance = EXPONENTIAL * np.exp(-distance / 2) * (5 * distance + 8 + (distance + 8) / kappa)
    reach = stats.norm.ppf(1 - alpha / 2) * np.sqrt(CHANCE_VARIANCE * (1 + 1 / kappa))
    return float(stats.norm.cdf((np.sqrt(malignant) * abs(area - 0.5) - reach) / np.sqrt(variance)))


def auc_difference_power(areas: ArrayLike, covariance: ArrayLike, *, growth: float = 1.0, alpha: float = 0.05) -> float:
    """Power to tell two areas over the same cases apart, from a pilot.

    Parameters
    ----------
    areas : array_like, shape (2,)
    covariance : array_like, shape (2, 2)
        Of the pilot's estimates: :func:`spinefx.statistics.delong.areas_with_covariance`, or
        :func:`binormal_covariance`.
    growth : float
        How many times the pilot's cases the study will have, of both classes, above 0.
    alpha : float
        Two-sided, above 0, below 1.

    Returns
    -------
    float
        0 to 1; under the null hypothesis both areas vary as the first does.

    Raises
    ------
    InputError
        For equal areas, a covariance that leaves no variance, or an impossible growth or level.

    Notes
    -----
    Obuchowski NA, McClish DK. Stat Med 1997;16:1529-1542; pROC computes the same.
    """
    gap, null, alternative = _spread(areas, covariance, alpha)
    if not 0 < growth < np.inf:
        raise InputError(f"a growth of {growth}", where="power", allowed="above 0")
    return float(stats.norm.cdf((gap * np.sqrt(growth) - stats.norm.ppf(1 - alpha / 2) * null) / alternative))


def auc_difference_sample_size(
    areas: ArrayLike, covariance: ArrayLike, *, malignant: int, benign: int, power: float = 0.8, alpha: float = 0.05
) -> tuple[float, float]:
    """Find how many cases tell two areas over the same cases apart.

    Parameters
    ----------
    areas, covariance : array_like
        Of a pilot, as in :func:`auc_difference_power`.
    malignant, benign : int
        Cases of the pilot; the study keeps their ratio.
    power : float
        0.5 or more, below 1.
    alpha : float
        Two-sided, above 0, below 1.

    Returns
    -------
    malignant, benign : float
        Not yet rounded up.

    Raises
    ------
    InputError
        As for :func:`auc_difference_power`, or for an impossible power.
    """
    gap, null, alternative = _spread(areas, covariance, alpha)
    if not 0.5 <= power < 1 or min(malignant, benign) < 1:
        raise InputError(
            f"a power of {power:g} from {malignant} and {benign} cases",
            where="sample size",
            allowed="0.5 or more, below 1; a case of each class",
        )
    growth = float((stats.norm.ppf(1 - alpha / 2) * null + stats.norm.ppf(power) * alternative) ** 2 / gap**2)
    return growth * malignant, growth * benign


def _spread(areas: ArrayLike, covariance: ArrayLike, alpha: float) -> tuple[float, float, float]:
    """Difference of the areas, and its standard error with and without the null hypothesis."""
    (first, second), matrix = np.asarray(areas, float), np.asarray(covariance, float)
    null = 2 * (matrix[0, 0] - matrix[0, 1])
    alternative = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if first == second or not min(null, alternative) > 0 or not 0 < alpha < 1:
        raise InputError(
            f"areas {first:g} and {second:g} with variances {null:g} and {alternative:g} at level {alpha:g}",
            where="power of two areas",
            allowed="areas that differ, variances above 0, a level between 0 and 1",
        )
    return abs(float(first - second)), float(np.sqrt(null)), float(np.sqrt(alternative))
