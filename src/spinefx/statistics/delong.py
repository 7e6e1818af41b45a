"""Areas under ROC curves with their covariance, and the tests that follow from it (DeLong 1988, Biometrics 44:837)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, Pairing, PValue, normal_quantile, normal_test
from spinefx.statistics.mrmc.covariance import delong_covariance, structural_components

__all__ = ["areas_with_covariance", "auc_difference", "auc_difference_unpaired", "auc_estimate"]


def areas_with_covariance(scores: ArrayLike, malignant: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas of several curves over the same cases, and the covariance of their estimates.

    Parameters
    ----------
    scores : array_like, shape (curve, case) or (case,)
        Higher means more likely malignant; ties count half.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    areas : ndarray of float64, shape (curve,)
    covariance : ndarray of float64, shape (curve, curve)
        NaN where a class has one case only.

    Raises
    ------
    InputError
        When a class is missing, a score is not finite or the lengths differ.
    """
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.asarray(malignant, bool)
    if values.shape[1] != truth.size:
        raise InputError(f"{values.shape[1]} scores for {truth.size} diagnoses")
    if not truth.any() or truth.all():
        raise InputError("a ROC curve needs malignant and benign cases", allowed="at least one of each")
    if not np.isfinite(values).all():
        raise InputError("scores that are not finite")
    parts = structural_components(values, truth)
    if min(truth.sum(), (~truth).sum()) < 2:
        return parts.values, np.full((len(values), len(values)), np.nan)
    return parts.values, delong_covariance(parts)


def auc_estimate(
    scores: ArrayLike, malignant: ArrayLike, *, confidence: float = 0.95, scale: str = "logit"
) -> Estimate:
    """Area under the ROC curve with DeLong's interval.

    Parameters
    ----------
    scores : array_like, shape (case,)
    malignant : array_like of bool, shape (case,)
    confidence : float
    scale : {'logit', 'plain'}
        Where the interval is symmetric. On the logit scale it stays within 0 and 1 and covers better near 1.

    Returns
    -------
    Estimate
        Perfect separation and a class of one leave no variance: then the rule of three on the smaller class bounds what
        was not seen, and the note says so.

    Raises
    ------
    InputError
        See :func:`areas_with_covariance`; or for an unknown scale.
    """
    if scale not in {"logit", "plain"}:
        raise InputError(f"the scale {scale!r}", allowed="logit, plain")
    areas, covariance = areas_with_covariance(scores, malignant)
    area, variance = float(areas[0]), float(covariance[0, 0])
    smaller = int(min(np.sum(np.asarray(malignant, bool)), np.sum(~np.asarray(malignant, bool))))
    if smaller < 2 or not 0 < area < 1:
        slack = min(1.0, 3 / smaller)
        note = "rule of three: no variance to estimate from"
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack), note=note)
    reach = normal_quantile(confidence) * np.sqrt(variance)
    if scale == "plain":
        return Estimate(area, float(area - reach), float(area + reach))
    logit, spread = np.log(area / (1 - area)), reach / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * spread)))) for sign in (-1, 1))
    return Estimate(area, low, high)


def auc_difference(first: ArrayLike, second: ArrayLike, malignant: ArrayLike, *, confidence: float = 0.95) -> PValue:
    """Compare two areas over the same cases.

    Parameters
    ----------
    first, second : array_like, shape (case,)
    malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second; without a p where a class has one case only.

    Raises
    ------
    InputError
        See :func:`areas_with_covariance`.
    """
    if np.size(first) != np.size(second):
        raise InputError(f"{np.size(first)} and {np.size(second)} scores", allowed="both of the same cases")
    areas, covariance = areas_with_covariance(np.vstack([first, second]), malignant)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return _tested(areas, variance, np.asarray(malignant).size, Pairing.PAIRED, np.inf, confidence)


def auc_difference_unpaired(
    first: ArrayLike,
    first_malignant: ArrayLike,
    second: ArrayLike,
    second_malignant: ArrayLike,
    *,
    confidence: float = 0.95,
) -> PValue:
    """Compare two areas over different cases, with Satterthwaite's degrees of freedom.

    Parameters
    ----------
    first, second : array_like, shape (case,)
    first_malignant, second_malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second; without a p where a class has one case only.

    Raises
    ------
    InputError
        See :func:`areas_with_covariance`.
    """
    sides = [areas_with_covariance(first, first_malignant), areas_with_covariance(second, second_malignant)]
    areas = np.array([side[0][0] for side in sides])
    variances = np.array([side[1][0, 0] for side in sides])
    sizes = np.array([np.asarray(first_malignant).size, np.asarray(second_malignant).size])
    df = variances.sum() ** 2 / np.sum(variances**2 / (sizes - 1)) if variances.sum() > 0 else np.inf
    return _tested(areas, float(variances.sum()), int(sizes.sum()), Pairing.UNPAIRED, float(df), confidence)


def _tested(
    areas: NDArray[np.float64], variance: float, n: int, pairing: Pairing, df: float, confidence: float
) -> PValue:
    difference, quantity = float(areas[0] - areas[1]), "difference of AUC, first minus second"
    if np.isnan(variance):
        note = "a class of one case leaves no variance"
        return PValue(
            np.nan, "DeLong", quantity, Estimate(difference, np.nan, np.nan, note=note), n, pairing, note=note
        )
    error = np.sqrt(max(variance, 0.0))
    # Rounding leaves about 1e-17 of variance between equal curves.
    if error < 1e-8:
        note = "the curves order the cases alike" if abs(difference) < 1e-12 else "no variance to estimate from"
        p = 1.0 if abs(difference) < 1e-12 else np.nan
        return PValue(p, "DeLong", quantity, Estimate(difference, difference, difference), n, pairing, note=note)
    statistic = difference / error
    if np.isinf(df):
        p, reach = normal_test(statistic), normal_quantile(confidence) * error
    else:
        p, reach = float(2 * stats.t.sf(abs(statistic), df)), stats.t.ppf(0.5 + confidence / 2, df) * error
    estimate = Estimate(difference, float(difference - reach), float(difference + reach))
    kept_df = None if np.isinf(df) else df
    return PValue(p, "DeLong", quantity, estimate, n, pairing, statistic=float(statistic), df=kept_df)
