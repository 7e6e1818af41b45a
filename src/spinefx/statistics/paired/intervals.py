"""Limits of paired differences, ratios and odds from counts: score, square-and-add and adjusted intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from spinefx.statistics.estimate import Estimate

__all__ = [
    "Cells",
    "bonett_price_ratio",
    "mover_difference",
    "mover_ratio",
    "score_difference",
    "score_odds",
    "score_ratio",
    "tango_terms",
]

# A statistic beyond this is as good as infinite, and a root search can still take it.
FARTHEST = 1e6
FARTHEST_LOG_RATIO = 50.0
Limits = tuple[float, float]
Marginal = Callable[[int, int, float], Estimate]


class Cells(NamedTuple):
    """Counts of one paired table.

    Parameters
    ----------
    both, first_only, second_only, neither : int
        Cases read rightly by both readers, by one alone, by none.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def n(self) -> int:
        """All cases."""
        return sum(self)

    @property
    def right(self) -> tuple[int, int]:
        """Cases that the first, and the second, read rightly."""
        return self.both + self.first_only, self.both + self.second_only

    @property
    def swapped(self) -> Cells:
        """The same table with the readers changed over."""
        return Cells(self.both, self.second_only, self.first_only, self.neither)


def tango_terms(delta: float, b: Any, c: Any, n: int) -> tuple[Any, Any]:
    """Give numerator and variance of Tango's score statistic at a stated difference.

    Parameters
    ----------
    delta : float
        Difference of the two shares, first minus second.
    b, c : int, or ndarray of int of one shape
        Cases that the first, and the second, alone read rightly.
    n : int

    Returns
    -------
    tuple of float, or of ndarray
        ``n`` times the distance of the estimate from ``delta``, and the variance of that with the nuisance share at its
        maximum of likelihood (Tango T. Stat Med 1998;17:891-908).
    """
    variance = n * (2 * _second_only_at(delta, b, c, n) + delta * (1 - delta))
    return b - c - n * delta, np.maximum(0.0, variance)


def score_difference(cells: Cells, z: float, *, skewness: bool = False, inflation: float = 1.0) -> Limits:
    """Limits of a paired difference where the score statistic reaches ``z``.

    Parameters
    ----------
    cells : Cells
        Of one case or more.
    z : float
        Standard normal quantile of the interval.
    skewness : bool
        Whether the statistic is corrected for the third moment: Laud's SCAS instead of Tango's interval.
    inflation : float
        Factor of the variance; ``n / (n - 1)`` corrects its bias.

    Returns
    -------
    tuple of float
        -1 to 1.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908. Laud PJ. Pharm Stat 2017;16:334-348, carried over to pairs as in ratesci.
    """
    ends = [_difference_end(each, z, skewness, inflation) for each in (cells.swapped, cells)]
    return -ends[0], ends[1]


def score_ratio(cells: Cells, z: float, *, skewness: bool = False, inflation: float = 1.0) -> Limits:
    """Limits of a paired ratio where the score statistic reaches ``z``.

    Parameters
    ----------
    cells : Cells
        With a case that one reader at least read rightly.
    z : float
    skewness : bool
        Laud's SCAS instead of Tang's interval.
    inflation : float

    Returns
    -------
    tuple of float
        0 where the first is never right, infinite where the second never is.

    Notes
    -----
    Tang NS et al. Stat Med 2003;22:1217-1233. Laud PJ. Pharm Stat 2017;16:334-348, carried over to pairs as in ratesci.
    """
    first, second = cells.right
    low = 1 / _ratio_end(cells.swapped, z, skewness, inflation) if first else 0.0
    return low, _ratio_end(cells, z, skewness, inflation) if second else np.inf


def score_odds(cells: Cells, z: float, inflation: float) -> Limits:
    """Limits of the share of discordant pairs that are the first reader's, corrected for skewness.

    Parameters
    ----------
    cells : Cells
        With a discordant pair.
    z : float
    inflation : float
        Of the variance, by the number of all pairs.

    Returns
    -------
    tuple of float
        0 to 1.

    Notes
    -----
    Laud PJ. Pharm Stat 2017;16:334-348, appendix A.4 (SCASp).
    """
    m = cells.first_only + cells.second_only

    def end(k: int) -> float:
        def beyond(share: float) -> float:
            return z + _statistic(k / m - share, [1.0, 0.0], [share, 1 - share], m, True, inflation)

        return 1.0 if k == m else float(optimize.brentq(beyond, k / m + 1e-12, 1 - 1e-12, xtol=1e-14))

    return 1 - end(cells.second_only), end(cells.first_only)


def mover_difference(cells: Cells, marginal: Marginal, confidence: float) -> Limits:
    """Limits of a paired difference from those of the two shares, by square and add.

    Parameters
    ----------
    cells : Cells
    marginal : callable
        Interval of a proportion from successes, trials and confidence.
    confidence : float

    Returns
    -------
    tuple of float
        -1 to 1.

    Notes
    -----
    Newcombe RG. Stat Med 1998;17:2635-2650 (method 10, with Wilson's intervals). Tang ML et al. Stat Methods Med Res
    2011;20:233-259 (with others).
    """
    first, second = (marginal(k, cells.n, confidence) for k in cells.right)
    phi = _correlation(cells, corrected=True)
    down = (first.value - first.low, second.high - second.value)
    up = (first.high - first.value, second.value - second.low)
    reach = [np.sqrt(max(0.0, x**2 - 2 * phi * x * y + y**2)) for x, y in (down, up)]
    difference = first.value - second.value
    return max(-1.0, float(difference - reach[0])), min(1.0, float(difference + reach[1]))


def mover_ratio(cells: Cells, marginal: Marginal, confidence: float, *, corrected: bool = True) -> Limits:
    """Limits of a paired ratio from those of the two shares.

    Parameters
    ----------
    cells : Cells
        With a case that one reader at least read rightly.
    marginal : callable
        Interval of a proportion from successes, trials and confidence.
    confidence : float
    corrected : bool
        Whether a positive correlation is taken down as in Newcombe's method 10.

    Returns
    -------
    tuple of float
        0 where the first is never right, infinite where the second never is.

    Notes
    -----
    Tang ML et al. Stat Methods Med Res 2012;21:361-378.
    """
    first, second = (marginal(k, cells.n, confidence) for k in cells.right)
    phi = _correlation(cells, corrected=corrected)
    low = _mover_end(second, first, phi)
    return (1 / low if low > 0 else np.inf), _mover_end(first, second, phi)


def bonett_price_ratio(cells: Cells, marginal: Marginal, z: float) -> Limits:
    """Limits of a paired ratio from those of the two shares at a level that their variance asks for.

    Parameters
    ----------
    cells : Cells
        With a right answer of either reader.
    marginal : callable
        Interval of a proportion from successes, trials and confidence.
    z : float

    Returns
    -------
    tuple of float

    Notes
    -----
    Bonett DG, Price RM. Stat Med 2006;25:3039-3047, with Wilson's intervals; ratesci has Jeffreys' as well.
    """
    seen = cells.n - cells.neither
    right = np.array(cells.right)
    alone = np.sqrt((1 - (right + 1) / (seen + 2)) / (right + 1))
    discordant = cells.first_only + cells.second_only
    shrunk = z * np.sqrt((discordant + 2) / (right + 1).prod()) / alone.sum()
    first, second = (marginal(k, seen, float(2 * stats.norm.cdf(shrunk) - 1)) for k in cells.right)
    return first.low / second.high, first.high / second.low if second.low > 0 else np.inf


def _statistic(gap: float, values: list[float], shares: list[float], n: int, skewness: bool, inflation: float) -> float:
    """Score statistic of a mean whose summands take the values with the shares."""
    # Plain floats: a root search calls this some fifty times, and arrays of three would take most of the time.
    mean = sum(share * value for share, value in zip(shares, values, strict=True))
    weighed = [(share, value - mean) for share, value in zip(shares, values, strict=True)]
    variance = inflation * sum(share * off**2 for share, off in weighed) / n
    if variance <= 1e-300:
        return math.copysign(FARTHEST, gap) if gap else 0.0
    plain = gap / math.sqrt(variance)
    lean = sum(share * off**3 for share, off in weighed) / n**2 / (6 * variance**1.5) if skewness else 0.0
    root = math.sqrt(max(0.0, 1 + 4 * lean * (plain + lean)))
    return max(-FARTHEST, min(FARTHEST, 2 * (plain + lean) / (1 + root)))


def _second_only_at(delta: float, b: Any, c: Any, n: int) -> Any:
    """Share right by the second alone that is likeliest where the difference is ``delta``."""
    slope = -b - c + (2 * n - b + c) * delta
    return (np.sqrt(np.maximum(0.0, slope**2 + 8 * n * c * delta * (1 - delta))) - slope) / (4 * n)


def _difference_end(cells: Cells, z: float, skewness: bool, inflation: float) -> float:
    b, c, n = cells.first_only, cells.second_only, cells.n

    def beyond(delta: float) -> float:
        second = float(_second_only_at(delta, b, c, n))
        shares = [max(0.0, delta + second), max(0.0, second)]
        gap = (b - c) / n - delta
        return z + _statistic(gap, [1.0, -1.0, 0.0], [*shares, 1 - sum(shares)], n, skewness, inflation)

    # With no discordant pair the estimate itself is a root; the limit is the one beyond it.
    start = (b - c) / n + 1e-9
    if start >= 1 or beyond(start) < 0:
        return min(1.0, start)
    end = 1 - 1e-12
    return float(optimize.brentq(beyond, start, end, xtol=1e-13)) if beyond(end) < 0 else 1.0


def _ratio_end(cells: Cells, z: float, skewness: bool, inflation: float) -> float:
    """Upper limit of the ratio: above it the score statistic is below ``-z``."""
    (a, b, c, d), n = cells, cells.n
    first, second = cells.right

    def beyond(log_ratio: float) -> float:
        theta = math.exp(log_ratio)
        alone2, alone1 = _alone_at(theta, a, b, c, n), _alone_at(1 / theta, a, c, b, n)
        shares = [max(0.0, 1 - d / n - alone1 - alone2), alone1, alone2, d / n]
        gap = (first - second * theta) / n
        return z + _statistic(gap, [1 - theta, 1.0, -theta, 0.0], shares, n, skewness, inflation)

    start = math.log(max(first, 1e-9) / second) + 1e-9
    if beyond(start) < 0:
        return math.exp(start)
    end = start + 1.0
    while beyond(end) > 0 and end < FARTHEST_LOG_RATIO:
        end += 1.0
    return float(np.exp(optimize.brentq(beyond, start, end, xtol=1e-14))) if end < FARTHEST_LOG_RATIO else np.inf


def _alone_at(theta: float, both: int, first_only: int, second_only: int, n: int) -> float:
    """Share right by the second alone that is likeliest where first over second is ``theta``."""
    linear = (both + second_only) * theta**2 - (both + first_only + 2 * second_only)
    constant = second_only * (1 - theta) * (both + first_only + second_only) / n
    root = math.sqrt(max(0.0, linear**2 - 4 * n * (1 + theta) * constant))
    # Of the two ways to write the root, the one that takes no difference of near equals.
    share = (root - linear) / (2 * n * (1 + theta)) if linear <= 0 else -2 * constant / (root + linear)
    return max(0.0, share)


def _correlation(cells: Cells, *, corrected: bool) -> float:
    (k1, k2), n = cells.right, cells.n
    margins = float(k1) * (n - k1) * k2 * (n - k2)
    covariance = float(cells.both * cells.neither - cells.first_only * cells.second_only)
    if corrected and covariance > 0:
        covariance = max(covariance - n / 2, 0)
    return covariance / float(np.sqrt(margins)) if margins > 0 else 0.0


def _mover_end(first: Estimate, second: Estimate, phi: float) -> float:
    """Upper limit of first over second."""
    below = second.low * (2 * second.value - second.low)
    if below <= 0:
        return np.inf
    shared = first.value * second.value - (first.high - first.value) * (second.value - second.low) * phi
    return (shared + float(np.sqrt(max(0.0, shared**2 - first.high * (2 * first.value - first.high) * below)))) / below
