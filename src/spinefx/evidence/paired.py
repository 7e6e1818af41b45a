"""Two readers of the same cases: the paired table, and its differences, ratios and odds with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from spinefx.errors import InputError
from spinefx.evidence.estimate import Estimate, clopper_pearson, normal_quantile, wilson
from spinefx.vocabulary import Diagnosis

__all__ = [
    "DIFFERENCE_METHODS",
    "ODDS_METHODS",
    "RATIO_METHODS",
    "PairedAccuracy",
    "PairedTable",
    "paired_difference",
    "paired_odds_ratio",
    "paired_ratio",
    "tango_terms",
]

DIFFERENCE_METHODS = ("tango", "newcombe10", "bonett_price", "agresti_min", "wald")
RATIO_METHODS = ("tang", "bonett_price", "wald")
ODDS_METHODS = ("exact", "midp", "wilson")


@dataclass(frozen=True)
class PairedTable:
    """What two readers got right of the same cases.

    Parameters
    ----------
    both, first_only, second_only, neither : int
        Cases that were read rightly by both, by one alone, by none.
    left_out : int
        Cases that only one of the two has read, and that are in none of the cells.

    Raises
    ------
    InputError
        For a negative count.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    left_out: int = 0

    def __post_init__(self) -> None:
        if min(self.both, self.first_only, self.second_only, self.neither, self.left_out) < 0:
            raise InputError(f"a negative count in {self}", where="paired table", allowed="0 or more")

    @classmethod
    def of(
        cls,
        first: Mapping[str, Diagnosis],
        second: Mapping[str, Diagnosis],
        truth: Mapping[str, Diagnosis],
        among: Diagnosis | None = None,
    ) -> PairedTable:
        """Count two readers' answers case by case.

        Parameters
        ----------
        first, second : mapping of str to Diagnosis
            By case. Cases that only one has read are counted as left out.
        truth : mapping of str to Diagnosis
        among : Diagnosis, optional
            Malignant for sensitivity, benign for specificity; all cases (accuracy) by default.

        Returns
        -------
        PairedTable

        Raises
        ------
        InputError
            For an answer without a truth.
        """
        strangers = sorted((set(first) | set(second)) - set(truth))
        if strangers:
            raise InputError(f"{len(strangers)} answers without a truth, the first for {strangers[0]}")
        wanted = {case for case in set(first) | set(second) if among is None or truth[case] == among}
        shared = [case for case in wanted if case in first and case in second]
        right = [(first[case] == truth[case], second[case] == truth[case]) for case in shared]
        both, first_only, second_only, neither = (
            right.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        )
        return cls(both, first_only, second_only, neither, left_out=len(wanted) - len(shared))

    @property
    def n(self) -> int:
        """Cases that both have read."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def first(self) -> Estimate:
        """Share that the first read rightly, Wilson interval."""
        return wilson(self.both + self.first_only, self.n)

    @property
    def second(self) -> Estimate:
        """Share that the second read rightly, Wilson interval."""
        return wilson(self.both + self.second_only, self.n)


@dataclass(frozen=True)
class PairedAccuracy:
    """Two readers of the same malignant and benign cases.

    Parameters
    ----------
    malignant, benign : PairedTable
    """

    malignant: PairedTable
    benign: PairedTable

    @classmethod
    def of(
        cls, first: Mapping[str, Diagnosis], second: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]
    ) -> PairedAccuracy:
        """Count two readers' answers within each class.

        Parameters
        ----------
        first, second, truth : mapping of str to Diagnosis
            By case.

        Returns
        -------
        PairedAccuracy

        Raises
        ------
        InputError
            For an answer without a truth.
        """
        return cls(
            PairedTable.of(first, second, truth, Diagnosis.MALIGNANT),
            PairedTable.of(first, second, truth, Diagnosis.BENIGN),
        )


def paired_difference(table: PairedTable, method: str = "tango", confidence: float = 0.95) -> Estimate:
    """Difference of two paired proportions, first minus second.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``tango`` (score; the default, and the one that agrees with :func:`non_inferiority`), ``newcombe10`` (square and
        add), ``bonett_price``, ``agresti_min`` or ``wald``.
    confidence : float

    Returns
    -------
    Estimate
        NaN for no cases.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908. Newcombe RG. Stat Med 1998;17:2635-2650 (method 10). Bonett DG, Price RM. Biom J
    2012;54:479-488. Agresti A, Min Y. Stat Med 2005;24:729-740.
    """
    if method not in DIFFERENCE_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(DIFFERENCE_METHODS))
    if table.n == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no case that both have read")
    z, b, c, n = normal_quantile(confidence), table.first_only, table.second_only, table.n
    if method == "tango":
        low, high = -_tango_upper(c, b, n, z), _tango_upper(b, c, n, z)
    elif method == "newcombe10":
        low, high = _newcombe10(table, confidence)
    else:
        added, cases = {"wald": (0.0, 0.0), "agresti_min": (0.5, 2.0), "bonett_price": (1.0, 2.0)}[method]
        share_b, share_c, m = (b + added) / (n + cases), (c + added) / (n + cases), n + cases
        centre = share_b - share_c
        reach = z * np.sqrt((share_b + share_c - centre**2) / m)
        low, high = max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))
    return Estimate((b - c) / n, low, high)


def paired_ratio(table: PairedTable, method: str = "tang", confidence: float = 0.95) -> Estimate:
    """Ratio of two paired proportions, first over second: relative sensitivity or specificity.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``tang`` (score; the default), ``bonett_price`` or ``wald`` (on the log scale).
    confidence : float

    Returns
    -------
    Estimate
        Zero, infinite or NaN where a reader is never right; only ``tang`` has limits there.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Tang NS et al. Stat Med 2003;22:1217-1233. Bonett DG, Price RM. Stat Med 2006;25:3039-3047.
    """
    if method not in RATIO_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(RATIO_METHODS))
    b, c, n, z = table.first_only, table.second_only, table.n, normal_quantile(confidence)
    right1, right2 = table.both + b, table.both + c
    if max(right1, right2) == 0 or (min(right1, right2) == 0 and method != "tang"):
        value = np.nan if max(right1, right2) == 0 else np.inf if right2 == 0 else 0.0
        return Estimate(value, np.nan, np.nan, note="a reader who is never right")
    ratio = right1 / right2 if right2 else np.inf
    if method == "wald":
        reach = z * np.sqrt((b + c) / (right1 * right2))
        return Estimate(ratio, float(ratio * np.exp(-reach)), float(ratio * np.exp(reach)))
    if method == "bonett_price":
        seen = table.both + b + c
        shares = np.array([right1 + 1, right2 + 1]) / (seen + 2)
        alone = np.sqrt((1 - shares) / np.array([right1 + 1, right2 + 1]))
        shrunk = z * np.sqrt((b + c + 2) / ((right1 + 1) * (right2 + 1))) / alone.sum()
        first, second = (_wilson_limits(right, seen, shrunk) for right in (right1, right2))
        return Estimate(ratio, first[0] / second[1], first[1] / second[0] if second[0] > 0 else np.inf)
    low = 1 / _tang_upper(table.both, c, b, n, z) if right1 else 0.0
    return Estimate(ratio, low, _tang_upper(table.both, b, c, n, z) if right2 else np.inf)


def paired_odds_ratio(table: PairedTable, method: str = "exact", confidence: float = 0.95) -> Estimate:
    """Odds that of two readers who differ the first is right.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``exact`` goes with the exact test, ``midp`` with mid-p; ``wilson`` is the score interval.
    confidence : float

    Returns
    -------
    Estimate
        Limits of 0 and infinity are real: one reader was never right alone. NaN without discordant pairs.

    Raises
    ------
    InputError
        For an unknown method.
    """
    if method not in ODDS_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(ODDS_METHODS))
    b, m = table.first_only, table.first_only + table.second_only
    if m == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no case on which the two differ")
    if method == "midp":
        tail = (1 - confidence) / 2

        def below(share: float) -> float:
            return float(stats.binom.cdf(b, m, share) - stats.binom.pmf(b, m, share) / 2)

        low = 0.0 if b == 0 else optimize.brentq(lambda share: below(share) - (1 - tail), 0, 1, xtol=1e-14)
        high = 1.0 if b == m else optimize.brentq(lambda share: below(share) - tail, 0, 1, xtol=1e-14)
    else:
        share = (clopper_pearson if method == "exact" else wilson)(b, m, confidence)
        low, high = share.low, share.high
    value, bottom, top = (float(share / (1 - share)) if share < 1 else np.inf for share in (b / m, low, high))
    return Estimate(value, bottom, top)


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
        maximum of likelihood.
    """
    slope = -b - c + (2 * n - b + c) * delta
    share = (np.sqrt(np.maximum(0.0, slope**2 + 8 * n * c * delta * (1 - delta))) - slope) / (4 * n)
    return b - c - n * delta, np.maximum(0.0, n * (2 * share + delta * (1 - delta)))


def _tango_upper(b: int, c: int, n: int, z: float) -> float:
    def beyond(delta: float) -> float:
        gap, variance = tango_terms(delta, b, c, n)
        return float(gap**2 - z**2 * variance)

    # With no discordant pair the estimate itself is a root; the limit is the one beyond it.
    start = (b - c) / n + 1e-9
    if start >= 1 or beyond(start) > 0:
        return min(1.0, start)
    return float(optimize.brentq(beyond, start, 1.0, xtol=1e-13))


def _newcombe10(table: PairedTable, confidence: float) -> tuple[float, float]:
    first, second = (wilson(estimate.k or 0, table.n, confidence) for estimate in (table.first, table.second))
    k1, k2, n = first.k or 0, second.k or 0, table.n
    margins = float(k1) * (n - k1) * k2 * (n - k2)
    covariance = float(table.both * table.neither - table.first_only * table.second_only)
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    phi = covariance / np.sqrt(margins) if margins > 0 else 0.0
    down = (first.value - first.low, second.high - second.value)
    up = (first.high - first.value, second.value - second.low)
    reach = [np.sqrt(max(0.0, x**2 - 2 * phi * x * y + y**2)) for x, y in (down, up)]
    difference = first.value - second.value
    return max(-1.0, float(difference - reach[0])), min(1.0, float(difference + reach[1]))


def _wilson_limits(k: int, n: int, z: float) -> tuple[float, float]:
    centre, spread = k + z**2 / 2, z * np.sqrt(k * (n - k) / n + z**2 / 4)
    return float((centre - spread) / (n + z**2)), float((centre + spread) / (n + z**2))


def _tang_upper(a: int, b: int, c: int, n: int, z: float) -> float:
    """Upper limit of (a + b) / (a + c): above it the score statistic reaches ``z``."""

    def beyond(log_ratio: float) -> float:
        theta = np.exp(log_ratio)
        linear = (a + c) * theta**2 - (a + b + 2 * c)
        constant = c * (1 - theta) * (a + b + c) / n
        share = (np.sqrt(max(0.0, linear**2 - 4 * n * (1 + theta) * constant)) - linear) / (2 * n * (1 + theta))
        variance = n * (1 + theta) * share + (a + b + c) * (theta - 1)
        return float(((a + b) - (a + c) * theta) ** 2 - z**2 * max(0.0, variance))

    start = np.log(max(a + b, 1e-9) / (a + c)) + 1e-9
    if beyond(start) > 0:
        return float(np.exp(start))
    end = start + 1.0
    while beyond(end) < 0 and end < 50:
        end += 1.0
    return float(np.exp(optimize.brentq(beyond, start, end, xtol=1e-14))) if end < 50 else np.inf
