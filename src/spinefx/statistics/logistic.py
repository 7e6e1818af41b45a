"""Logistic regression by Newton's method: Firth's penalty, a ridge penalty, or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError

__all__ = ["PENALTIES", "LogisticFit", "fit_logistic"]

PENALTIES = ("firth", "l2", "none")
MOST_STEPS, LONGEST_STEP, HALVINGS = 100, 5.0, 30
# Beyond this logit a probability is 0 or 1 to rounding: an unpenalised fit is diverging.
FARTHEST_LOGIT = 30.0


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """A fitted logistic model.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (1 + feature,)
        Intercept first. A feature that is a linear combination of the others (a constant, for example) has 0.
    covariance : ndarray of float64, shape (1 + feature, 1 + feature)
        Inverse of the expected information; NaN for features left out, and all NaN if the classes are separated.
    log_likelihood : float
        Without the penalty.
    separated : bool
        Whether the classes are separated; an unpenalised fit then has no finite maximum and no standard errors.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    separated: bool = False

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard errors, shape (1 + feature,)."""
        return np.sqrt(np.diag(self.covariance))

    def predict(self, features: ArrayLike, offset: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Return the probability of malignancy.

        Parameters
        ----------
        features : array_like, shape (case, feature)
        offset : array_like, shape (case,), optional
            Added to the logit.

        Returns
        -------
        ndarray of float64, shape (case,)
        """
        logit = np.asarray(features, float) @ self.coefficients[1:] + self.coefficients[0] + offset
        return _sigmoid(logit)


def fit_logistic(
    features: ArrayLike,
    malignant: ArrayLike,
    penalty: str = "firth",
    *,
    strength: float = 1.0,
    offset: ArrayLike = 0.0,
) -> LogisticFit:
    """Fit a logistic model.

    Parameters
    ----------
    features : array_like, shape (case, feature)
        Without features only the intercept is fitted.
    malignant : array_like of bool, shape (case,)
    penalty : {'firth', 'l2', 'none'}
        ``firth`` gives finite estimates even if features separate the classes; ``l2`` is a ridge penalty on all
        coefficients but the intercept.
    strength : float
        Strength of the ridge penalty: half of it times the sum of squared coefficients is subtracted from the
        log-likelihood. 1 corresponds to scikit-learn's C = 1.
    offset : array_like, shape (case,), optional
        Added to the logit, with a coefficient of 1.

    Returns
    -------
    LogisticFit

    Raises
    ------
    InputError
        If a class is missing, a feature is not finite, the lengths differ, or the penalty is unknown.

    Notes
    -----
    Firth D. Biometrika 1993;80:27-38. Heinze G, Schemper M. Stat Med 2002;21:2409-2419.
    """
    x, y = np.asarray(features, float), np.asarray(malignant, bool).astype(float)
    if penalty not in PENALTIES:
        raise InputError(f"penalty {penalty!r}", allowed=", ".join(PENALTIES))
    if x.ndim != 2 or len(x) != y.size or not np.isfinite(x).all():
        raise InputError(f"features of shape {x.shape} for {y.size} cases", allowed="one row of finite values per case")
    if not 0 < y.sum() < y.size:
        raise InputError("cases of one class", where="logistic model", allowed="malignant and benign cases")
    design = np.column_stack([np.ones(y.size), x])
    kept = _independent(design)
    ridge = np.full(int(kept.sum()), strength if penalty == "l2" else 0.0)
    ridge[0] = 0.0
    shift = np.broadcast_to(np.asarray(offset, float), y.shape)
    beta, covariance, likelihood, separated = _newton(design[:, kept], y, shift, ridge, penalty == "firth")
    coefficients, whole = np.zeros(kept.size), np.full((kept.size, kept.size), np.nan)
    coefficients[kept] = beta
    if not separated:
        whole[np.ix_(kept, kept)] = covariance
    return LogisticFit(coefficients, whole, likelihood, separated)


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], offset: NDArray[np.float64], ridge: NDArray[np.float64], firth: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, bool]:
    def state(beta: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64], NDArray[np.float64]]:
        """Return log-likelihood, penalised log-likelihood, fitted probabilities and information matrix."""
        logit = x @ beta + offset
        p = _sigmoid(logit)
        likelihood = float(y @ logit - np.logaddexp(0, logit).sum())
        information = (x.T * (p * (1 - p))) @ x
        penalty = -0.5 * float(ridge @ beta**2)
        if firth:
            penalty += 0.5 * float(np.linalg.slogdet(information)[1])
        return likelihood, likelihood + penalty, p, information

    start = np.zeros(x.shape[1])
    # An offset far from zero would saturate every probability and leave no information to step by.
    start[0] = -float(offset.mean())
    beta = start
    likelihood, goal, p, information = state(beta)
    separated = False
    for _ in range(MOST_STEPS):
        curved = information + np.diag(ridge)
        score = x.T @ (y - p) - ridge * beta
        if firth:
            leverage = np.einsum("ij,ij->i", x @ np.linalg.inv(information), x) * p * (1 - p)
            score += x.T @ (leverage * (0.5 - p))
        step = np.linalg.lstsq(curved, score, rcond=None)[0]
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
        for _ in range(HALVINGS):
            there = state(beta + step)
            if np.isfinite(there[1]) and there[1] >= goal - 1e-12 * abs(goal):
                break
            step /= 2
        beta = beta + step
        likelihood, goal, p, information = state(beta)
        # Only features separate classes: neither an intercept alone nor a wide offset does.
        unbounded = x.shape[1] > 1 and not firth and not ridge.any()
        if unbounded and float(np.abs(x @ (beta - start)).max()) > FARTHEST_LOGIT:
            separated = bool(likelihood > -1e-3 or np.abs(step).max() > 1e-3)
            if separated:
                break
        if float(np.abs(step).max()) < 1e-10:
            break
    covariance: NDArray[np.float64] = np.linalg.pinv(information + np.diag(ridge)).astype(np.float64)
    return beta, covariance, likelihood, separated


def _independent(design: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the columns that are not linear combinations of those before them."""
    kept = np.zeros(design.shape[1], bool)
    directions: list[NDArray[np.float64]] = []
    for place, column in enumerate(design.T):
        rest = column.astype(float)
        # Twice, because a single pass of Gram-Schmidt leaves rounding errors.
        for direction in directions * 2:
            rest = rest - (direction @ rest) * direction
        length = float(np.linalg.norm(rest))
        if length > 1e-9 * max(1.0, float(np.linalg.norm(column))):
            kept[place] = True
            directions.append(rest / length)
    return kept


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    positive: NDArray[np.float64] = 1 / (1 + np.exp(-np.abs(logit)))
    return np.where(logit >= 0, positive, 1 - positive)
