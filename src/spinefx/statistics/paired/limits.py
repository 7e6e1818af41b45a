"""Confidence limits of paired differences, ratios and odds: score, square-and-add (MOVER) and adjusted intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, stats

from spinefx.statistics.estimate import Estimate
from spinefx.statistics.paired.table import PairedTable

__all__ = [
    "bonett_price_ratio",
    "mover_difference",
    "mover_ratio",
    "score_difference",
    "score_odds",
    "score_ratio",
    "tango_terms",
]

# A statistic beyond this counts as infinite, but remains finite for the root search.
FARTHEST = 1e6
FARTHEST_LOG_RATIO = 50.0
Limits = tuple[float, float]
Marginal = Callable[[int, int, float], Estimate]


def tango_terms(delta: float, b: Any, c: Any, n: int) -> tuple[Any, Any]:
    """Return numerator and variance of Tango's score statistic at a given difference.

    Parameters
    ----------
    delta : float
        Difference of the two proportions, first minus second.
    b, c : int, or ndarray of int of one shape
        Cases that only the first, and only the second, reader diagnosed correctly.
    n : int
        Number of cases.

    Returns
    -------
    numerator, variance : float or ndarray
        ``n`` times the distance of the estimate from ``delta``, and its variance with the nuisance parameter at its
        maximum likelihood estimate.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908.
    """
    variance = n * (2 * _second_only_at(delta, b, c, n) + delta * (1 - delta))
    return b - c - n * delta, np.maximum(0.0, variance)


def score_difference(table: PairedTable, z: float, *, skewness: bool = False, inflation: float = 1.0) -> Limits:
    """Return the limits of a paired difference, where the score statistic equals ``z``.

    Parameters
    ----------
    table : PairedTable
        With one case or more.
    z : float
        Standard normal quantile of the interval.
    skewness : bool
        Whether to correct for skewness: Laud's SCAS instead of Tango's interval.
    inflation : float
        Factor of the variance; ``n / (n - 1)`` corrects its bias.

    Returns
    -------
    low, high : float
        -1 to 1.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908. Laud PJ. Pharm Stat 2017;16:334-348, extended to pairs as in ratesci.
    """
    limits = [_upper_difference(one, z, skewness, inflation) for one in (table.swapped, table)]
    return -limits[0], limits[1]


def score_ratio(table: PairedTable, z: float, *, skewness: bool = False, inflation: float = 1.0) -> Limits:
    """Return the limits of a paired ratio, where the score statistic equals ``z``.

    Parameters
    ----------
    table : PairedTable
        With at least one correct diagnosis of either reader.
    z : float
        Standard normal quantile of the interval.
    skewness : bool
        Whether to correct for skewness: Laud's SCAS instead of Tang's interval.
    inflation : float
        Factor of the variance; ``n / (n - 1)`` corrects its bias.

    Returns
    -------
    low, high : float
        0 if the first reader is never correct, infinite if the second never is.

    Notes
    -----
    Tang NS et al. Stat Med 2003;22:1217-1233. Laud PJ. Pharm Stat 2017;16:334-348, extended to pairs as in ratesci.
    """
    first, second = table.correct
    low = 1 / _upper_ratio(table.swapped, z, skewness, inflation) if first else 0.0
    return low, _upper_ratio(table, z, skewness, inflation) if second else np.inf


def score_odds(table: PairedTable, z: float, inflation: float) -> Limits:
    """Return the skewness-corrected limits of the proportion of discordant pairs in which the first is correct.

    Parameters
    ----------
    table : PairedTable
        With one discordant pair or more.
    z : float
        Standard normal quantile of the interval.
    inflation : float
        Factor of the variance, from the number of all pairs.

    Returns
    -------
    low, high : float
        0 to 1.

    Notes
    -----
    Laud PJ. Pharm Stat 2017;16:334-348, appendix A.4 (SCASp).
    """
    m = table.discordant

    def upper(k: int) -> float:
        def beyond(share: float) -> float:
            return z + _statistic(k / m - share, [1.0, 0.0], [share, 1 - share], m, True, inflation)

        return 1.0 if k == m else float(optimize.brentq(beyond, k / m + 1e-12, 1 - 1e-12, xtol=1e-14))

    return 1 - upper(table.second_only), upper(table.first_only)


def mover_difference(table: PairedTable, marginal: Marginal, confidence: float) -> Limits:
    """Return the limits of a paired difference from those of the two proportions, by the square-and-add method.

    Parameters
    ----------
    table : PairedTable
        With one case or more.
    marginal : callable
        Estimates a proportion from successes, trials and confidence level.
    confidence : float

    Returns
    -------
    low, high : float
        -1 to 1.

    Notes
    -----
    Newcombe RG. Stat Med 1998;17:2635-2650 (method 10, with Wilson's intervals). Tang ML et al. Stat Methods Med Res
    2011;20:233-259 (with others).
    """
    first, second = (marginal(k, table.n, confidence) for k in table.correct)
    phi = _correlation(table, corrected=True)
    down = (first.value - first.low, second.high - second.value)
    up = (first.high - first.value, second.value - second.low)
    distance = [np.sqrt(max(0.0, x**2 - 2 * phi * x * y + y**2)) for x, y in (down, up)]
    difference = first.value - second.value
    return max(-1.0, float(difference - distance[0])), min(1.0, float(difference + distance[1]))


def mover_ratio(table: PairedTable, marginal: Marginal, confidence: float, *, corrected: bool = True) -> Limits:
    """Return the limits of a paired ratio from those of the two proportions (MOVER).

    Parameters
    ----------
    table : PairedTable
        With at least one correct diagnosis of either reader.
    marginal : callable
        Estimates a proportion from successes, trials and confidence level.
    confidence : float
    corrected : bool
        Whether to reduce a positive correlation as in Newcombe's method 10.

    Returns
    -------
    low, high : float
        0 if the first reader is never correct, infinite if the second never is.

    Notes
    -----
    Tang ML et al. Stat Methods Med Res 2012;21:361-378.
    """
    first, second = (marginal(k, table.n, confidence) for k in table.correct)
    phi = _correlation(table, corrected=corrected)
    low = _upper_mover_ratio(second, first, phi)
    return (1 / low if low > 0 else np.inf), _upper_mover_ratio(first, second, phi)


def bonett_price_ratio(table: PairedTable, marginal: Marginal, z: float) -> Limits:
    """Return the limits of a paired ratio from those of the two proportions, at a level derived from their variance.

    Parameters
    ----------
    table : PairedTable
        With a correct diagnosis of each reader.
    marginal : callable
        Estimates a proportion from successes, trials and confidence level.
    z : float
        Standard normal quantile of the interval.

    Returns
    -------
    low, high : float

    Notes
    -----
    Bonett DG, Price RM. Stat Med 2006;25:3039-3047, with Wilson's intervals; ratesci also has Jeffreys'.
    """
    any_correct = table.n - table.neither
    correct = np.array(table.correct)
    errors = np.sqrt((1 - (correct + 1) / (any_correct + 2)) / (correct + 1))
    quantile = z * np.sqrt((table.discordant + 2) / (correct + 1).prod()) / errors.sum()
    first, second = (marginal(k, any_correct, float(2 * stats.norm.cdf(quantile) - 1)) for k in table.correct)
    return first.low / second.high, first.high / second.low if second.low > 0 else np.inf


def _statistic(gap: float, values: list[float], shares: list[float], n: int, skewness: bool, inflation: float) -> float:
    """Return the score statistic of the mean of a discrete variable with given values and probabilities."""
    # Plain floats, because a root search calls this some fifty times and small arrays would dominate the time.
    mean = sum(share * value for share, value in zip(shares, values, strict=True))
    centred = [(share, value - mean) for share, value in zip(shares, values, strict=True)]
    variance = inflation * sum(share * deviation**2 for share, deviation in centred) / n
    if variance <= 1e-300:
        return math.copysign(FARTHEST, gap) if gap else 0.0
    plain = gap / math.sqrt(variance)
    third = sum(share * deviation**3 for share, deviation in centred) / n**2
    skew = third / (6 * variance**1.5) if skewness else 0.0
    root = math.sqrt(max(0.0, 1 + 4 * skew * (plain + skew)))
    return max(-FARTHEST, min(FARTHEST, 2 * (plain + skew) / (1 + root)))


def _second_only_at(delta: float, b: Any, c: Any, n: int) -> Any:
    """Return the maximum likelihood proportion correct by the second only, given the difference ``delta``."""
    slope = -b - c + (2 * n - b + c) * delta
    return (np.sqrt(np.maximum(0.0, slope**2 + 8 * n * c * delta * (1 - delta))) - slope) / (4 * n)


def _upper_difference(table: PairedTable, z: float, skewness: bool, inflation: float) -> float:
    b, c, n = table.first_only, table.second_only, table.n

    def beyond(delta: float) -> float:
        second = float(_second_only_at(delta, b, c, n))
        shares = [max(0.0, delta + second), max(0.0, second)]
        gap = (b - c) / n - delta
        return z + _statistic(gap, [1.0, -1.0, 0.0], [*shares, 1 - sum(shares)], n, skewness, inflation)

    # Without discordant pairs the estimate itself is a root; the limit is the one beyond it.
    start = (b - c) / n + 1e-9
    if start >= 1 or beyond(start) < 0:
        return min(1.0, start)
    end = 1 - 1e-12
    return float(optimize.brentq(beyond, start, end, xtol=1e-13)) if beyond(end) < 0 else 1.0


def _upper_ratio(table: PairedTable, z: float, skewness: bool, inflation: float) -> float:
    """Return the ratio above which the score statistic is below ``-z``."""
    (a, b, c, d), n = table.cells, table.n
    first, second = table.correct

    def beyond(log_ratio: float) -> float:
        theta = math.exp(log_ratio)
        only2, only1 = _second_only_at_ratio(theta, a, b, c, n), _second_only_at_ratio(1 / theta, a, c, b, n)
        shares = [max(0.0, 1 - d / n - only1 - only2), only1, only2, d / n]
        gap = (first - second * theta) / n
        return z + _statistic(gap, [1 - theta, 1.0, -theta, 0.0], shares, n, skewness, inflation)

    start = math.log(max(first, 1e-9) / second) + 1e-9
    if beyond(start) < 0:
        return math.exp(start)
    end = start + 1.0
    while beyond(end) > 0 and end < FARTHEST_LOG_RATIO:
        end += 1.0
    return float(np.exp(optimize.brentq(beyond, start, end, xtol=1e-14))) if end < FARTHEST_LOG_RATIO else np.inf


def _second_only_at_ratio(theta: float, both: int, first_only: int, second_only: int, n: int) -> float:
    """Return the maximum likelihood proportion correct by the second only, given the ratio ``theta``."""
    linear = (both + second_only) * theta**2 - (both + first_only + 2 * second_only)
    constant = second_only * (1 - theta) * (both + first_only + second_only) / n
    root = math.sqrt(max(0.0, linear**2 - 4 * n * (1 + theta) * constant))
    # Of the two forms of the root, the one that avoids cancellation.
    share = (root - linear) / (2 * n * (1 + theta)) if linear <= 0 else -2 * constant / (root + linear)
    return max(0.0, share)


def _correlation(table: PairedTable, *, corrected: bool) -> float:
    (k1, k2), n = table.correct, table.n
    margins = float(k1) * (n - k1) * k2 * (n - k2)
    covariance = float(table.both * table.neither - table.first_only * table.second_only)
    if corrected and covariance > 0:
        covariance = max(covariance - n / 2, 0)
    return covariance / float(np.sqrt(margins)) if margins > 0 else 0.0


def _upper_mover_ratio(first: Estimate, second: Estimate, phi: float) -> float:
    """Return the upper limit of first over second."""
    below = second.low * (2 * second.value - second.low)
    if below <= 0:
        return np.inf
    shared = first.value * second.value - (first.high - first.value) * (second.value - second.low) * phi
    return (shared + float(np.sqrt(max(0.0, shared**2 - first.high * (2 * first.value - first.high) * below)))) / below
