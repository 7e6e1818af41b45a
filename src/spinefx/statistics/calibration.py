"""Calibration of probabilities: intercept, slope, smooth curve and errors; and change of prevalence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from spinefx.cases.reading import correct_prior
from spinefx.errors import InputError
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate, Pairing, PValue, normal_quantile, normal_test
from spinefx.statistics.logistic import LogisticFit, fit_logistic
from spinefx.statistics.table import ResultTable

__all__ = ["Calibration", "CalibrationCurve", "calibrate", "change_prevalence", "checked_probabilities"]

NEAREST_SHARE = 2 / 3
CURVE_POINTS = 200
GROUPS = 10
# A probability of 0 or 1 has no finite logit and is moved inwards by this much.
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Smoothed proportion of malignant cases by predicted probability.

    Parameters
    ----------
    probability : ndarray of float64, shape (point,)
        Predicted probability, ascending.
    observed, low, high : ndarray of float64, shape (point,)
        Proportion malignant, with a pointwise 95% band, which does not account for the bias of the smoother.
    """

    probability: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Agreement of predicted probabilities with the outcome.

    Parameters
    ----------
    n, malignant : int
        Numbers of all and of malignant cases.
    auc : Estimate
        Reported along with calibration, which says nothing about discrimination.
    intercept : Estimate
        Calibration in the large: ideally 0; above 0 malignancy is more common than predicted.
    slope : Estimate
        Calibration slope with profile likelihood interval: ideally 1; below 1 the probabilities are too extreme.
    slope_standard_error : float
    slope_intercept : float
        Intercept fitted together with the slope.
    brier : Estimate
        Mean squared error; lower is better.
    brier_of_prevalence : float
        Brier score of always predicting the prevalence of the cohort.
    mean_error, max_error, error_90 : float
        Mean, maximum and 90th percentile of the distance between the probabilities and the smooth curve.
    expected_calibration_error : float
        Mean distance over ten groups of equal size, weighted by size.
    spiegelhalter : PValue
        Test of overall calibration without grouping.
    unreliability : PValue
        Joint test of intercept 0 and slope 1.
    hosmer_lemeshow : PValue
        Test over the same ten groups.
    likelihood_gain : float
        Twice the log-likelihood of the probabilities minus that of the prevalence; below 0 if always predicting the
        prevalence would have been better.
    nagelkerke : float
        Nagelkerke's R2 of the probabilities, at most 1 (Nagelkerke NJD. Biometrika 1991;78:691-692).
    curve : CalibrationCurve
    note : str
        Why a measure is missing or was adjusted; empty otherwise.
    """

    n: int
    malignant: int
    auc: Estimate
    intercept: Estimate
    slope: Estimate
    slope_standard_error: float
    slope_intercept: float
    brier: Estimate
    brier_of_prevalence: float
    mean_error: float
    max_error: float
    error_90: float
    expected_calibration_error: float
    spiegelhalter: PValue
    unreliability: PValue
    hosmer_lemeshow: PValue
    likelihood_gain: float
    nagelkerke: float
    curve: CalibrationCurve
    note: str = ""

    @property
    def indices(self) -> tuple[float, float, float]:
        """Discrimination D, unreliability U and quality Q = D - U per case (rms val.prob); U, Q NaN without a slope."""
        statistic = self.unreliability.statistic
        d, u = (self.likelihood_gain - 1) / self.n, (np.nan if statistic is None else (statistic - 2) / self.n)
        return d, u, d - u

    @property
    def table(self) -> ResultTable:
        """The measures as a table, with the tests in its note."""
        rows = (
            ("calibration in the large (0 is right)", self.intercept),
            ("slope (1 is right)", self.slope),
            ("Brier score", self.brier),
            ("Brier score of the prevalence alone", self.brier_of_prevalence),
            ("mean distance to the smooth curve", self.mean_error),
            ("largest distance to the smooth curve", self.max_error),
            ("mean distance over ten groups", self.expected_calibration_error),
            ("Nagelkerke's R2", self.nagelkerke),
            ("AUC", self.auc),
        )
        tests = "; ".join(str(test) for test in (self.spiegelhalter, self.unreliability, self.hosmer_lemeshow))
        note = f"{self.n} cases, {self.malignant} malignant. {tests}." + (f" {self.note}." if self.note else "")
        return ResultTable("calibration", "Calibration", ("measure", "value"), rows, note)


def change_prevalence(probability: ArrayLike, from_prevalence: float, to_prevalence: float) -> NDArray[np.float64]:
    """Convert probabilities to another prevalence of malignancy.

    Parameters
    ----------
    probability : array_like
        Probabilities of malignancy that hold at ``from_prevalence``.
    from_prevalence, to_prevalence : float
        Above 0, below 1.

    Returns
    -------
    ndarray of float64
        By Bayes' rule with unchanged likelihoods, which assumes that only the prevalence differs and not the patients
        within each class.

    Raises
    ------
    InputError
        If a prevalence is not between 0 and 1.
    """
    for prevalence in (from_prevalence, to_prevalence):
        if not 0 < prevalence < 1:
            raise InputError(f"prevalence {prevalence}", allowed="a value above 0 and below 1")
    inflation = from_prevalence / (1 - from_prevalence) / (to_prevalence / (1 - to_prevalence))
    return correct_prior(probability, inflation)


def calibrate(probabilities: ArrayLike, malignant: ArrayLike, confidence: float = 0.95) -> Calibration:
    """Measure the calibration of probabilities.

    Parameters
    ----------
    probabilities : array_like, shape (case,)
        Probabilities of malignancy, of cases that the model was not trained on.
    malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    Calibration
        Without a slope, and with a note, if the probabilities separate the classes or are all the same.

    Raises
    ------
    InputError
        If a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    p, y = checked_probabilities(probabilities, malignant)
    inner = np.clip(p, SMALLEST, 1 - SMALLEST)
    moved = int(np.sum(inner != p))
    notes = [f"{moved} probabilities of 0 or 1 count as {SMALLEST:g} from it"] if moved else []
    logit = np.log(inner / (1 - inner))
    large = fit_logistic(np.empty((y.size, 0)), y, "none", offset=logit)
    half_width = normal_quantile(confidence) * float(large.standard_errors[0])
    intercept = float(large.coefficients[0])
    slope, slope_standard_error, slope_intercept, likelihood, reason = _slope(logit, y, confidence)
    observed = y.astype(float)
    squared = (p - observed) ** 2
    brier_half_width = normal_quantile(confidence) * float(squared.std(ddof=1)) / np.sqrt(y.size)
    brier = float(squared.mean())
    curve = _curve(p, observed, confidence)
    distance = np.abs(p - np.interp(p, curve.probability, curve.observed))
    grouped, hosmer = _by_group(p, observed)
    null = float(observed @ logit - np.logaddexp(0, logit).sum())
    prevalence = float(observed.mean())
    by_prevalence = y.size * float(prevalence * np.log(prevalence) + (1 - prevalence) * np.log(1 - prevalence))
    gain = 2 * (null - by_prevalence)
    return Calibration(
        n=y.size,
        malignant=int(y.sum()),
        auc=auc_estimate(p, y, confidence=confidence),
        intercept=Estimate(intercept, intercept - half_width, intercept + half_width),
        slope=slope,
        slope_standard_error=slope_standard_error,
        slope_intercept=slope_intercept,
        brier=Estimate(brier, max(0.0, brier - brier_half_width), min(1.0, brier + brier_half_width)),
        brier_of_prevalence=prevalence * (1 - prevalence),
        mean_error=float(distance.mean()),
        max_error=float(distance.max()),
        error_90=float(np.quantile(distance, 0.9)),
        expected_calibration_error=grouped,
        spiegelhalter=_spiegelhalter(p, observed),
        unreliability=_unreliability(slope, 2 * (likelihood - null), y.size),
        hosmer_lemeshow=hosmer,
        likelihood_gain=gain,
        nagelkerke=float(np.expm1(-gain / y.size) / np.expm1(2 * by_prevalence / y.size)),
        curve=curve,
        note="; ".join([*notes, *([reason] if reason else [])]),
    )


def checked_probabilities(
    probabilities: ArrayLike, malignant: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Check probabilities and diagnoses, and return them as arrays.

    Parameters
    ----------
    probabilities : array_like, shape (case,)
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    probabilities : ndarray of float64, shape (case,)
    malignant : ndarray of bool, shape (case,)

    Raises
    ------
    InputError
        If a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    p, y = np.asarray(probabilities, float), np.asarray(malignant, bool)
    if p.shape != y.shape or p.ndim != 1:
        raise InputError(f"{p.size} probabilities for {y.size} diagnoses", allowed="one probability per case")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("a probability out of range", allowed="0 to 1")
    if not y.any() or y.all():
        raise InputError("probabilities of one class only", allowed="malignant and benign cases")
    return p, y


def _slope(
    logit: NDArray[np.float64], y: NDArray[np.bool_], confidence: float
) -> tuple[Estimate, float, float, float, str]:
    """Return slope with profile interval, its standard error and intercept, log-likelihood, and why any is missing."""
    # Centred and of unit spread: where probabilities hardly differ, the coefficients are too large for Newton's steps.
    centre, spread = float(np.mean(logit)), float(np.std(logit)) if np.ptp(logit) else 1.0
    logit = (logit - centre) / spread
    fit = fit_logistic(logit[:, None], y, "none")
    missing = Estimate(np.nan, np.nan, np.nan)
    if fit.separated:
        return missing, np.nan, np.nan, np.nan, "the probabilities separate the classes, so the slope is not finite"
    if np.isnan(fit.standard_errors[1]):
        return missing, np.nan, np.nan, np.nan, "the probabilities are all the same, so there is no slope"
    value, error = float(fit.coefficients[1]), float(fit.standard_errors[1])
    limit = stats.chi2.ppf(confidence, 1) / 2

    def fall(slope: float) -> float:
        profile: LogisticFit = fit_logistic(np.empty((y.size, 0)), y, "none", offset=slope * logit)
        return fit.log_likelihood - profile.log_likelihood - float(limit)

    ends = []
    for side in (-1, 1):
        far = value + side * error
        while fall(far) < 0 and abs(far - value) < 100 * error:
            far += side * error
        ends.append(float(optimize.brentq(fall, value, far, xtol=1e-10)) if fall(far) >= 0 else side * np.inf)
    slope = Estimate(value / spread, ends[0] / spread, ends[1] / spread)
    return slope, error / spread, float(fit.coefficients[0]) - slope.value * centre, fit.log_likelihood, ""


def _curve(p: NDArray[np.float64], y: NDArray[np.float64], confidence: float) -> CalibrationCurve:
    """Smooth by local linear regression with tricube weights, without a robust step.

    Cleveland WS. J Am Stat Assoc 1979;74:829-836.
    """
    order = np.argsort(p, kind="stable")
    x, z = p[order], y[order]
    places = np.unique(x)
    if places.size > CURVE_POINTS:
        places = np.unique(np.quantile(x, np.linspace(0, 1, CURVE_POINTS), method="nearest"))
    count = max(2, min(x.size, int(NEAREST_SHARE * x.size + 1e-7)))
    rows = np.array([_weights(place, x, count) for place in places])
    observed = np.clip(rows @ z, 0, 1)
    fitted = np.interp(x, places, observed)
    half_width = normal_quantile(confidence) * np.sqrt(rows**2 @ (fitted * (1 - fitted)))
    low, high = np.clip(observed - half_width, 0, 1), np.clip(observed + half_width, 0, 1)
    return CalibrationCurve(places, observed, low, high)


def _weights(place: float, x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the weight of each case in the curve at one point."""
    distance, span = np.abs(x - place), float(x[-1] - x[0])
    width = float(np.partition(distance, count - 1)[count - 1])
    # The limits of 0.001 and 0.999 are those of R's lowess.
    relative = np.where(distance <= 0.999 * width, distance / (width or 1.0), 1.0)
    weights = np.where(distance <= 0.001 * width, 1.0, (1 - relative**3) ** 3)
    weights = weights / weights.sum()
    centre = float(weights @ x)
    scatter = float(weights @ (x - centre) ** 2)
    if np.sqrt(scatter) > 0.001 * span:
        weights = weights * (1 + (place - centre) * (x - centre) / scatter)
    return np.asarray(weights)


def _by_group(p: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, PValue]:
    edges = np.unique(np.quantile(p, np.linspace(0, 1, GROUPS + 1)))
    group = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, None)
    sizes = np.bincount(group)
    expected, observed = np.bincount(group, p), np.bincount(group, y)
    full = sizes > 0
    error = float(np.abs(expected - observed).sum() / p.size)
    variance = (expected * (1 - expected / np.maximum(sizes, 1)))[full]
    name, groups = "Hosmer-Lemeshow", int(full.sum())
    quantity, estimate = "mean distance over the groups", Estimate(error, np.nan, np.nan, note="no interval")
    if groups < 3 or (variance <= 0).any():
        note = "fewer than three groups, or a group whose probabilities are all 0 or 1"
        return error, PValue(np.nan, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, note=note)
    statistic = float(((observed - expected)[full] ** 2 / variance).sum())
    value = float(stats.chi2.sf(statistic, groups - 2))
    return error, PValue(value, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, statistic, float(groups - 2))


def _spiegelhalter(p: NDArray[np.float64], y: NDArray[np.float64]) -> PValue:
    """Test the Brier score against its expectation under the probabilities (Spiegelhalter. Stat Med 1986;5:421)."""
    name, quantity = "Spiegelhalter", "Brier score less that promised by the probabilities"
    excess = float((y - p) @ (1 - 2 * p)) / p.size
    error = float(np.sqrt((1 - 2 * p) ** 2 @ (p * (1 - p)))) / p.size
    half_width = normal_quantile(0.95) * error
    estimate = Estimate(excess, excess - half_width, excess + half_width)
    if error == 0:
        note = "probabilities of only 0, 0.5 and 1 leave no variance"
        return PValue(np.nan, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, note=note)
    statistic = excess / error
    return PValue(normal_test(statistic), name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, statistic)


def _unreliability(slope: Estimate, statistic: float, n: int) -> PValue:
    name, quantity = "likelihood ratio, intercept 0 and slope 1", "slope (intercept is tested with it)"
    if np.isnan(slope.value):
        return PValue(np.nan, name, quantity, slope, n, Pairing.ONE_SAMPLE, note="there is no slope")
    statistic = max(0.0, statistic)
    return PValue(float(stats.chi2.sf(statistic, 2)), name, quantity, slope, n, Pairing.ONE_SAMPLE, statistic, 2.0)
