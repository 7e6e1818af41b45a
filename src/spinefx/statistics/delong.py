"""Areas under ROC curves with their covariances, and the tests based on them.

DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.effect import Scale, check_scale
from spinefx.statistics.estimate import Estimate, Pairing, PValue, normal_quantile, normal_test
from spinefx.statistics.mrmc.covariance import delong_covariance, structural_components
from spinefx.statistics.ratings import finite_ratings

__all__ = ["areas_with_covariance", "auc_difference", "auc_difference_unpaired", "auc_estimate"]


def areas_with_covariance(scores: ArrayLike, malignant: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the areas under several curves over the same cases, and their covariance matrix.

    Parameters
    ----------
    scores : array_like, shape (curve, case) or (case,)
        Higher means more likely malignant; ties count half.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    areas : ndarray of float64, shape (curve,)
    covariance : ndarray of float64, shape (curve, curve)
        NaN if a class has only one case.

    Raises
    ------
    InputError
        If a class is missing, a score is not a number or plus infinity, or the lengths differ.
    """
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    if values.shape[1] != truth.size:
        raise InputError(f"{values.shape[1]} scores for {truth.size} diagnoses", allowed="one score per case")
    if not truth.any() or truth.all():
        raise InputError("a ROC curve of one class", allowed="at least one malignant and one benign case")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise InputError("scores that are not finite", allowed="finite scores; minus infinity is the lowest")
    parts = structural_components(np.array([finite_ratings(row) for row in values]), truth)
    if min(truth.sum(), (~truth).sum()) < 2:
        return parts.values, np.full((len(values), len(values)), np.nan)
    return parts.values, delong_covariance(parts)


def auc_estimate(
    scores: ArrayLike, malignant: ArrayLike, *, confidence: float = 0.95, scale: Scale = "logit"
) -> Estimate:
    """Estimate the area under a ROC curve with DeLong's interval.

    Parameters
    ----------
    scores : array_like, shape (case,)
        Higher means more likely malignant; ties count half.
    malignant : array_like of bool, shape (case,)
    confidence : float
    scale : {'logit', 'plain'}
        Scale on which the interval is symmetric. On the logit scale it stays between 0 and 1 and covers better near 1.

    Returns
    -------
    Estimate
        Perfect separation, or a class of one case, leaves no variance. The limits then come from the rule of three
        applied to the smaller class, and the note says so.

    Raises
    ------
    InputError
        As for :func:`areas_with_covariance`; or if the scale is unknown.
    """
    check_scale(scale)
    areas, covariance = areas_with_covariance(scores, malignant)
    area, variance = float(areas[0]), float(covariance[0, 0])
    smaller = int(min(np.sum(np.asarray(malignant, bool)), np.sum(~np.asarray(malignant, bool))))
    if smaller < 2 or not 0 < area < 1:
        slack = min(1.0, 3 / smaller)
        note = "limits by the rule of three: the variance cannot be estimated"
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack), note=note)
    half_width = normal_quantile(confidence) * np.sqrt(variance)
    if scale == "plain":
        return Estimate(area, float(area - half_width), float(area + half_width))
    logit, spread = np.log(area / (1 - area)), half_width / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * spread)))) for sign in (-1, 1))
    return Estimate(area, low, high)


def auc_difference(first: ArrayLike, second: ArrayLike, malignant: ArrayLike, *, confidence: float = 0.95) -> PValue:
    """Test the difference of two areas over the same cases.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Scores by the two readers or models.
    malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second; without a p-value if a class has only one case.

    Raises
    ------
    InputError
        As for :func:`areas_with_covariance`.
    """
    if np.size(first) != np.size(second):
        raise InputError(f"{np.size(first)} and {np.size(second)} scores", allowed="scores of the same cases")
    areas, covariance = areas_with_covariance(np.vstack([first, second]), malignant)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return _difference_test(areas, variance, np.asarray(malignant).size, Pairing.PAIRED, np.inf, confidence)


def auc_difference_unpaired(
    first: ArrayLike,
    first_malignant: ArrayLike,
    second: ArrayLike,
    second_malignant: ArrayLike,
    *,
    confidence: float = 0.95,
) -> PValue:
    """Test the difference of two areas over different cases, with Satterthwaite's degrees of freedom.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Scores by the two readers or models.
    first_malignant, second_malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second; without a p-value if a class has only one case.

    Raises
    ------
    InputError
        As for :func:`areas_with_covariance`.
    """
    sides = [areas_with_covariance(first, first_malignant), areas_with_covariance(second, second_malignant)]
    areas = np.array([side[0][0] for side in sides])
    variances = np.array([side[1][0, 0] for side in sides])
    sizes = np.array([np.asarray(first_malignant).size, np.asarray(second_malignant).size])
    df = variances.sum() ** 2 / np.sum(variances**2 / (sizes - 1)) if variances.sum() > 0 else np.inf
    return _difference_test(areas, float(variances.sum()), int(sizes.sum()), Pairing.UNPAIRED, float(df), confidence)


def _difference_test(
    areas: NDArray[np.float64], variance: float, n: int, pairing: Pairing, df: float, confidence: float
) -> PValue:
    difference, quantity = float(areas[0] - areas[1]), "difference of AUC, first minus second"
    if np.isnan(variance):
        note = "a class of one case leaves no variance"
        return PValue(
            np.nan, "DeLong", quantity, Estimate(difference, np.nan, np.nan, note=note), n, pairing, note=note
        )
    error = np.sqrt(max(variance, 0.0))
    # Between equal curves rounding leaves a variance of about 1e-17.
    if error < 1e-8:
        note = "both curves rank the cases alike" if abs(difference) < 1e-12 else "the variance cannot be estimated"
        p = 1.0 if abs(difference) < 1e-12 else np.nan
        return PValue(p, "DeLong", quantity, Estimate(difference, difference, difference), n, pairing, note=note)
    statistic = difference / error
    if np.isinf(df):
        p, half_width = normal_test(statistic), normal_quantile(confidence) * error
    else:
        p, half_width = float(2 * stats.t.sf(abs(statistic), df)), stats.t.ppf(0.5 + confidence / 2, df) * error
    estimate = Estimate(difference, float(difference - half_width), float(difference + half_width))
    kept_df = None if np.isinf(df) else df
    return PValue(p, "DeLong", quantity, estimate, n, pairing, statistic=float(statistic), df=kept_df)
