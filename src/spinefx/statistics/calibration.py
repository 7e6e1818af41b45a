"""Whether probabilities are what they say: intercept, slope, curve with its band, errors; and another prevalence."""

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
# A probability of 0 or 1 has no logit; it counts as this far from it.
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """How often cases of each probability are malignant, smoothed.

    Parameters
    ----------
    probability : ndarray of float64, shape (point,)
        As predicted, rising.
    observed, low, high : ndarray of float64, shape (point,)
        Share malignant, with a pointwise 95% band; of the smoother's mean, so its bias is not in the band.
    """

    probability: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far probabilities are from what happened.

    Parameters
    ----------
    n, malignant : int
    auc : Estimate
        Beside it, since calibration says nothing of discrimination.
    intercept : Estimate
        Calibration in the large: 0 is right, above 0 says that malignancy is more common than predicted.
    slope : Estimate
        1 is right, below 1 says that probabilities are too extreme; profile likelihood interval.
    slope_error : float
        Its standard error.
    slope_intercept : float
        Intercept that goes with the slope.
    brier : Estimate
        Mean squared error; lower is better.
    brier_of_prevalence : float
        What always predicting the cohort's prevalence would score.
    expected_error, worst_error, error_90 : float
        Mean, largest and 90th percentile of the distance between probabilities and the smooth curve.
    grouped_error : float
        Mean distance over ten groups of equal size, weighted by size.
    spiegelhalter : PValue
        Of calibration as a whole, without grouping.
    unreliability : PValue
        Of intercept 0 and slope 1 together.
    hosmer_lemeshow : PValue
        Over the same ten groups.
    likelihood_gain : float
        Twice the log-likelihood of the probabilities as they are, over that of the cohort's prevalence; below 0 where
        the prevalence alone would have been better.
    nagelkerke : float
        The same as a share of the largest possible, at most 1 (Nagelkerke NJD. Biometrika 1991;78:691-692).
    curve : CalibrationCurve
    note : str
        What stood in the way; empty where nothing did.
    """

    n: int
    malignant: int
    auc: Estimate
    intercept: Estimate
    slope: Estimate
    slope_error: float
    slope_intercept: float
    brier: Estimate
    brier_of_prevalence: float
    expected_error: float
    worst_error: float
    error_90: float
    grouped_error: float
    spiegelhalter: PValue
    unreliability: PValue
    hosmer_lemeshow: PValue
    likelihood_gain: float
    nagelkerke: float
    curve: CalibrationCurve
    note: str = ""

    @property
    def indices(self) -> tuple[float, float, float]:
        """Discrimination D, unreliability U and quality Q = D - U a case (rms val.prob); U, Q NaN without a slope."""
        statistic = self.unreliability.statistic
        d, u = (self.likelihood_gain - 1) / self.n, (np.nan if statistic is None else (statistic - 2) / self.n)
        return d, u, d - u

    def table(self) -> ResultTable:
        """Set the measures out.

        Returns
        -------
        ResultTable
        """
        rows = (
            ("calibration in the large (0 is right)", self.intercept),
            ("slope (1 is right)", self.slope),
            ("Brier score", self.brier),
            ("Brier score of the prevalence alone", self.brier_of_prevalence),
            ("mean distance to the smooth curve", self.expected_error),
            ("largest distance to the smooth curve", self.worst_error),
            ("mean distance over ten groups", self.grouped_error),
            ("Nagelkerke's R2", self.nagelkerke),
            ("AUC", self.auc),
        )
        tests = "; ".join(str(test) for test in (self.spiegelhalter, self.unreliability, self.hosmer_lemeshow))
        note = f"{self.n} cases, {self.malignant} malignant. {tests}." + (f" {self.note}." if self.note else "")
        return ResultTable("calibration", "Calibration", ("measure", "value"), rows, note)


def change_prevalence(probability: ArrayLike, from_prevalence: float, to_prevalence: float) -> NDArray[np.float64]:
    """Carry probabilities over to a place where malignancy is more or less common.

    Parameters
    ----------
    probability : array_like
        Right at ``from_prevalence``.
    from_prevalence, to_prevalence : float
        Above 0, below 1.

    Returns
    -------
    ndarray of float64
        Bayes' rule with unchanged likelihoods: it holds where only the prevalence differs, not the patients within each
        class.

    Raises
    ------
    InputError
        For an impossible prevalence.
    """
    for prevalence in (from_prevalence, to_prevalence):
        if not 0 < prevalence < 1:
            raise InputError(f"a prevalence of {prevalence}", allowed="above 0, below 1")
    inflation = from_prevalence / (1 - from_prevalence) / (to_prevalence / (1 - to_prevalence))
    return correct_prior(probability, inflation)


def calibrate(probabilities: ArrayLike, malignant: ArrayLike, confidence: float = 0.95) -> Calibration:
    """Measure how far probabilities are from what happened.

    Parameters
    ----------
    probabilities : array_like, shape (case,)
        Of malignancy, of cases that the model was not fitted on.
    malignant : array_like of bool, shape (case,)
    confidence : float

    Returns
    -------
    Calibration
        Where the probabilities separate the classes, or are all the same, there is no slope, and the note says so.

    Raises
    ------
    InputError
        When a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    p, y = checked_probabilities(probabilities, malignant)
    kept = np.clip(p, SMALLEST, 1 - SMALLEST)
    notes = [f"{np.sum(kept != p)} probabilities of 0 or 1 count as {SMALLEST:g} from it"] if (kept != p).any() else []
    logit = np.log(kept / (1 - kept))
    large = fit_logistic(np.empty((y.size, 0)), y, "none", offset=logit)
    reach = normal_quantile(confidence) * float(large.errors[0])
    centre = float(large.coefficients[0])
    slope, error, own, likelihood, reason = _slope(logit, y, confidence)
    observed = y.astype(float)
    squared = (p - observed) ** 2
    spread = normal_quantile(confidence) * float(squared.std(ddof=1)) / np.sqrt(y.size)
    brier = float(squared.mean())
    curve = _curve(p, observed, confidence)
    distance = np.abs(p - np.interp(p, curve.probability, curve.observed))
    grouped, hosmer = _by_group(p, observed)
    null = float(observed @ logit - np.logaddexp(0, logit).sum())
    share = float(observed.mean())
    by_share = y.size * float(share * np.log(share) + (1 - share) * np.log(1 - share))
    gain = 2 * (null - by_share)
    return Calibration(
        n=y.size,
        malignant=int(y.sum()),
        auc=auc_estimate(p, y, confidence=confidence),
        intercept=Estimate(centre, centre - reach, centre + reach),
        slope=slope,
        slope_error=error,
        slope_intercept=own,
        brier=Estimate(brier, max(0.0, brier - spread), min(1.0, brier + spread)),
        brier_of_prevalence=float(observed.mean() * (1 - observed.mean())),
        expected_error=float(distance.mean()),
        worst_error=float(distance.max()),
        error_90=float(np.quantile(distance, 0.9)),
        grouped_error=grouped,
        spiegelhalter=_spiegelhalter(p, observed),
        unreliability=_unreliability(slope, 2 * (likelihood - null), y.size),
        hosmer_lemeshow=hosmer,
        likelihood_gain=gain,
        nagelkerke=float(np.expm1(-gain / y.size) / np.expm1(2 * by_share / y.size)),
        curve=curve,
        note="; ".join([*notes, *([reason] if reason else [])]),
    )


def checked_probabilities(
    probabilities: ArrayLike, malignant: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Take probabilities and diagnoses that can be set against each other.

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
        When a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    p, y = np.asarray(probabilities, float), np.asarray(malignant, bool)
    if p.shape != y.shape or p.ndim != 1:
        raise InputError(f"{p.size} probabilities for {y.size} diagnoses", allowed="one a case")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("a probability outside 0 to 1", allowed="0 to 1")
    if not y.any() or y.all():
        raise InputError("probabilities of one class only", allowed="malignant and benign cases")
    return p, y


def _slope(
    logit: NDArray[np.float64], y: NDArray[np.bool_], confidence: float
) -> tuple[Estimate, float, float, float, str]:
    """Slope with profile interval, its error, its intercept, the log-likelihood, and why there is none."""
    fit = fit_logistic(logit[:, None], y, "none")
    missing = Estimate(np.nan, np.nan, np.nan)
    if fit.separated:
        return missing, np.nan, np.nan, np.nan, "the probabilities separate the classes: no finite slope"
    if np.isnan(fit.errors[1]):
        return missing, np.nan, np.nan, np.nan, "the probabilities are all the same: no slope"
    value, error = float(fit.coefficients[1]), float(fit.errors[1])
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
    return Estimate(value, ends[0], ends[1]), error, float(fit.coefficients[0]), fit.log_likelihood, ""


def _curve(p: NDArray[np.float64], y: NDArray[np.float64], confidence: float) -> CalibrationCurve:
    """Local linear regression with tricube weights (Cleveland WS. J Am Stat Assoc 1979;74:829-836, no robust step)."""
    order = np.argsort(p, kind="stable")
    x, z = p[order], y[order]
    places = np.unique(x)
    if places.size > CURVE_POINTS:
        places = np.unique(np.quantile(x, np.linspace(0, 1, CURVE_POINTS), method="nearest"))
    count = max(2, min(x.size, int(NEAREST_SHARE * x.size + 1e-7)))
    rows = np.array([_weights(place, x, count) for place in places])
    observed = np.clip(rows @ z, 0, 1)
    fitted = np.interp(x, places, observed)
    reach = normal_quantile(confidence) * np.sqrt(rows**2 @ (fitted * (1 - fitted)))
    return CalibrationCurve(places, observed, np.clip(observed - reach, 0, 1), np.clip(observed + reach, 0, 1))


def _weights(place: float, x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """What each case adds to the curve at one place."""
    distance, span = np.abs(x - place), float(x[-1] - x[0])
    width = float(np.partition(distance, count - 1)[count - 1])
    # The cuts at 0.001 and 0.999 are those of R's lowess.
    reach = np.where(distance <= 0.999 * width, distance / (width or 1.0), 1.0)
    weights = np.where(distance <= 0.001 * width, 1.0, (1 - reach**3) ** 3)
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
        note = "fewer than three groups, or one with probabilities of 0 or 1 alone"
        return error, PValue(np.nan, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, note=note)
    statistic = float(((observed - expected)[full] ** 2 / variance).sum())
    value = float(stats.chi2.sf(statistic, groups - 2))
    return error, PValue(value, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, statistic, float(groups - 2))


def _spiegelhalter(p: NDArray[np.float64], y: NDArray[np.float64]) -> PValue:
    """Spiegelhalter DJ. Stat Med 1986;5:421-433: the Brier score against what the probabilities promise."""
    name, quantity = "Spiegelhalter", "Brier score less that promised by the probabilities"
    excess = float((y - p) @ (1 - 2 * p)) / p.size
    error = float(np.sqrt((1 - 2 * p) ** 2 @ (p * (1 - p)))) / p.size
    reach = normal_quantile(0.95) * error
    estimate = Estimate(excess, excess - reach, excess + reach)
    if error == 0:
        note = "probabilities of 0, 0.5 and 1 alone promise nothing that can fail by chance"
        return PValue(np.nan, name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, note=note)
    statistic = excess / error
    return PValue(normal_test(statistic), name, quantity, estimate, p.size, Pairing.ONE_SAMPLE, statistic)


def _unreliability(slope: Estimate, statistic: float, n: int) -> PValue:
    name, quantity = "likelihood ratio, intercept 0 and slope 1", "slope (intercept is tested with it)"
    if np.isnan(slope.value):
        return PValue(np.nan, name, quantity, slope, n, Pairing.ONE_SAMPLE, note="there is no slope")
    statistic = max(0.0, statistic)
    return PValue(float(stats.chi2.sf(statistic, 2)), name, quantity, slope, n, Pairing.ONE_SAMPLE, statistic, 2.0)
