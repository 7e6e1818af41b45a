"""Power and sample size of ROC studies: one area against chance, and two areas over the same cases."""

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

# Obuchowski's rounded constants: the variance of an area of 0.5 per malignant case, the root of 2, and a factor.
CHANCE_VARIANCE, ROOT_OF_TWO, EXPONENTIAL = 0.0792, 1.414, 0.0099


@dataclass(frozen=True)
class BinormalCurve:
    """A binormal ROC curve: sensitivity is Phi(separation + ratio * Phi^-1(1 - specificity)).

    Parameters
    ----------
    separation : float
        Difference of the means divided by the standard deviation of malignant cases.
    ratio : float
        Standard deviation of benign cases divided by that of malignant ones, above 0.

    Raises
    ------
    InputError
        If the ratio is not above 0 or a parameter is not finite.
    """

    separation: float
    ratio: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.separation) and 0 < self.ratio < np.inf):
            found = f"separation {self.separation} and ratio {self.ratio}"
            raise InputError(found, where="binormal curve", allowed="a finite separation and a ratio above 0")

    @property
    def area(self) -> float:
        """Area under the curve."""
        return float(stats.norm.cdf(self.separation / np.sqrt(1 + self.ratio**2)))

    @property
    def gradient(self) -> tuple[float, float]:
        """Derivatives of the area with respect to separation and ratio."""
        spread = 1 + self.ratio**2
        height = float(np.exp(-(self.separation**2) / (2 * spread)) / np.sqrt(2 * np.pi * spread))
        return height, -height * self.separation * self.ratio / spread


def fit_binormal(scores: ArrayLike, malignant: ArrayLike) -> BinormalCurve:
    """Fit a binormal curve by a straight line through the ROC points on probit axes.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    BinormalCurve
        By least squares of specificity on sensitivity over the points inside the unit square, as in pROC.

    Raises
    ------
    InputError
        If a class is missing, a score is not finite, or fewer than two points lie inside the unit square.
    """
    curve = Roc.of(scores, malignant)
    sensitivity, specificity = stats.norm.ppf([curve.true_positive_rate, 1 - curve.false_positive_rate])
    inside = np.isfinite(sensitivity) & np.isfinite(specificity)
    if np.unique(sensitivity[inside]).size < 2 or np.unique(specificity[inside]).size < 2:
        found = "fewer than two points inside the ROC square"
        raise InputError(found, allowed="classes that overlap, and several distinct scores")
    slope, constant = np.polyfit(sensitivity[inside], specificity[inside], 1)
    return BinormalCurve(float(-constant / slope), float(-1 / slope))


def binormal_covariance(
    scores: ArrayLike, malignant: ArrayLike, curves: Sequence[BinormalCurve] | None = None
) -> NDArray[np.float64]:
    """Return the covariance matrix of areas under binormal curves over the same cases.

    Parameters
    ----------
    scores : array_like, shape (curve, case) or (case,)
    malignant : array_like of bool, shape (case,)
    curves : sequence of BinormalCurve, optional
        By default fitted to the scores.

    Returns
    -------
    ndarray of float64, shape (curve, curve)

    Raises
    ------
    InputError
        As for :func:`fit_binormal`; or if there is not one curve per row of scores.

    Notes
    -----
    Obuchowski NA, McClish DK. Stat Med 1997;16:1529-1542, formulas 4 and 5. Formula 4 omits the covariance of the two
    parameters of a curve and is therefore conservative. Unlike DeLong's it needs only the parameters.
    """
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    fitted = [fit_binormal(row, truth) for row in values] if curves is None else list(curves)
    if len(fitted) != len(values):
        raise InputError(f"{len(fitted)} curves for {len(values)} rows of scores", allowed="one curve per row")
    cases, kappa = int(truth.sum()), float((~truth).sum() / truth.sum())
    correlation = [np.atleast_2d(np.corrcoef(values[:, kind])) for kind in (truth, ~truth)]
    matrix = np.empty((len(values), len(values)))
    for i, one in enumerate(fitted):
        f1, g1 = one.gradient
        a1, b1 = one.separation, one.ratio
        matrix[i, i] = f1**2 * (1 + b1**2 / kappa + a1**2 / 2) + g1**2 * b1**2 * (1 + kappa) / (2 * kappa)
        for j, other in enumerate(fitted[:i]):
            f2, g2 = other.gradient
            a2, b2, ra, rn = other.separation, other.ratio, correlation[0][i, j], correlation[1][i, j]
            matrix[i, j] = matrix[j, i] = (
                f1 * f2 * (ra + rn * b1 * b2 / kappa + ra**2 * a1 * a2 / 2)
                + g1 * g2 * b1 * b2 * (rn**2 + kappa * ra**2) / (2 * kappa)
                + (f1 * g2 * a1 * b2 + f2 * g1 * a2 * b1) * ra**2 / 2
            )
    return matrix / cases


def auc_power(area: float, malignant: int, benign: int, *, alpha: float = 0.05) -> float:
    """Return the power to distinguish an area from 0.5.

    Parameters
    ----------
    area : float
        True area, above 0 and below 1.
    malignant, benign : int
        Numbers of cases, one or more of each.
    alpha : float
        Two-sided level, above 0 and below 1.

    Returns
    -------
    float
        0 to 1; that of a result on the side of the true area.

    Raises
    ------
    InputError
        If the area, a number of cases or the level is not valid.

    Notes
    -----
    Obuchowski NA, Lieber ML, Wians FH. Clin Chem 2004;50:1118-1125, with its rounded constants, as in pROC.
    """
    if not 0 < area < 1 or min(malignant, benign) < 1 or not 0 < alpha < 1:
        raise InputError(
            f"area {area:g}, {malignant} malignant and {benign} benign cases, level {alpha:g}",
            where="power",
            allowed="area and level between 0 and 1, and one or more cases per class",
        )
    kappa, distance = benign / malignant, (ROOT_OF_TWO * float(stats.norm.ppf(area))) ** 2
    variance = EXPONENTIAL * np.exp(-distance / 2) * (5 * distance + 8 + (distance + 8) / kappa)
    critical = stats.norm.ppf(1 - alpha / 2) * np.sqrt(CHANCE_VARIANCE * (1 + 1 / kappa))
    return float(stats.norm.cdf((np.sqrt(malignant) * abs(area - 0.5) - critical) / np.sqrt(variance)))


def auc_difference_power(areas: ArrayLike, covariance: ArrayLike, *, growth: float = 1.0, alpha: float = 0.05) -> float:
    """Return the power to distinguish two areas over the same cases, from a pilot study.

    Parameters
    ----------
    areas : array_like, shape (2,)
    covariance : array_like, shape (2, 2)
        Covariance matrix of the pilot's estimates, from :func:`spinefx.statistics.delong.areas_with_covariance` or
        :func:`binormal_covariance`.
    growth : float
        Factor by which the study has more cases of either class than the pilot, above 0.
    alpha : float
        Two-sided level, above 0 and below 1.

    Returns
    -------
    float
        0 to 1. Under the null hypothesis both areas have the variance of the first.

    Raises
    ------
    InputError
        If the areas are equal, their difference has no variance, or the growth or the level is not valid.

    Notes
    -----
    Obuchowski NA, McClish DK. Stat Med 1997;16:1529-1542; pROC computes the same.
    """
    gap, null, alternative = _difference(areas, covariance, alpha)
    if not 0 < growth < np.inf:
        raise InputError(f"growth {growth}", where="power", allowed="a finite value above 0")
    return float(stats.norm.cdf((gap * np.sqrt(growth) - stats.norm.ppf(1 - alpha / 2) * null) / alternative))


def auc_difference_sample_size(
    areas: ArrayLike, covariance: ArrayLike, *, malignant: int, benign: int, power: float = 0.8, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the number of cases that distinguishes two areas over the same cases.

    Parameters
    ----------
    areas, covariance : array_like
        Results of a pilot study, as for :func:`auc_difference_power`.
    malignant, benign : int
        Numbers of cases in the pilot; the study keeps their ratio.
    power : float
        Power to be reached, at least 0.5 and below 1.
    alpha : float
        Two-sided level, above 0 and below 1.

    Returns
    -------
    malignant, benign : float
        Numbers of cases, not rounded up.

    Raises
    ------
    InputError
        As for :func:`auc_difference_power`; or if the power is not valid.
    """
    gap, null, alternative = _difference(areas, covariance, alpha)
    if not 0.5 <= power < 1 or min(malignant, benign) < 1:
        raise InputError(
            f"a power of {power:g} from {malignant} and {benign} cases",
            where="sample size",
            allowed="a power of 0.5 or more and below 1, and one or more cases per class",
        )
    growth = float((stats.norm.ppf(1 - alpha / 2) * null + stats.norm.ppf(power) * alternative) ** 2 / gap**2)
    return growth * malignant, growth * benign


def _difference(areas: ArrayLike, covariance: ArrayLike, alpha: float) -> tuple[float, float, float]:
    """Return the difference of the areas, and its standard errors under the null and the alternative hypothesis."""
    (first, second), matrix = np.asarray(areas, float), np.asarray(covariance, float)
    null = 2 * (matrix[0, 0] - matrix[0, 1])
    alternative = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if first == second or not min(null, alternative) > 0 or not 0 < alpha < 1:
        raise InputError(
            f"areas {first:g} and {second:g} with variances {null:g} and {alternative:g} at level {alpha:g}",
            where="power of two areas",
            allowed="different areas, variances above 0, and a level between 0 and 1",
        )
    return abs(float(first - second)), float(np.sqrt(null)), float(np.sqrt(alternative))
