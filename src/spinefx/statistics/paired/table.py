"""Two readers of the same cases: the paired table, and its differences, ratios and odds with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, clopper_pearson, jeffreys, normal_quantile, wilson
from spinefx.statistics.paired.intervals import (
    Cells,
    bonett_price_ratio,
    mover_difference,
    mover_ratio,
    score_difference,
    score_odds,
    score_ratio,
    tango_terms,
)
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

DIFFERENCE_METHODS = (
    "tango",
    "newcombe10",
    "mover_jeffreys",
    "scas",
    "scas_uncorrected",
    "bonett_price",
    "agresti_min",
    "wald",
    "wald_cc",
)
RATIO_METHODS = (
    "tang",
    "scas",
    "scas_uncorrected",
    "mover_wilson",
    "mover_newcombe",
    "mover_jeffreys",
    "bonett_price",
    "bonett_price_jeffreys",
    "wald",
)
ODDS_METHODS = ("exact", "midp", "wilson", "scas", "jeffreys", "wald")
# Score intervals: whether corrected for skewness, and whether the variance's bias is.
SCORES = {
    "tango": (False, False),
    "tang": (False, False),
    "scas": (True, True),
    "scas_uncorrected": (True, False),
}
# What a difference adds to both discordant counts, and to the number of cases.
ADDED = {"wald": (0.0, 0.0), "wald_cc": (0.0, 0.0), "agresti_min": (0.5, 2.0), "bonett_price": (1.0, 2.0)}
ONE_CASE = "one case leaves no bias of the variance to correct"


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
    def cells(self) -> Cells:
        """The four counts."""
        return Cells(self.both, self.first_only, self.second_only, self.neither)

    @property
    def n(self) -> int:
        """Cases that both have read."""
        return self.cells.n

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
        add), ``mover_jeffreys`` (the same from Jeffreys' intervals), ``scas`` (Tango's corrected for skewness and for
        the bias of the variance, so that either end misses equally often) or ``scas_uncorrected`` (for skewness alone),
        ``bonett_price``, ``agresti_min``, ``wald`` or ``wald_cc`` (with a continuity correction).
    confidence : float

    Returns
    -------
    Estimate
        NaN for no cases; no limits by ``scas`` for a single case.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908. Newcombe RG. Stat Med 1998;17:2635-2650 (method 10). Laud PJ. Pharm Stat
    2017;16:334-348 (SCAS; for pairs as in ratesci). Bonett DG, Price RM. J Educ Behav Stat 2012;37:479-488. Agresti A,
    Min Y. Stat Med 2005;24:729-740. Fagerland MW et al. Stat Med 2014;33:2850-2875 (Wald with correction).
    """
    if method not in DIFFERENCE_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(DIFFERENCE_METHODS))
    if table.n == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no case that both have read")
    z, b, c, n = normal_quantile(confidence), table.first_only, table.second_only, table.n
    if method in SCORES:
        skewness, unbiased = SCORES[method]
        if unbiased and n == 1:
            return Estimate(float(b - c), np.nan, np.nan, note=ONE_CASE)
        inflation = n / (n - 1) if unbiased else 1.0
        low, high = score_difference(table.cells, z, skewness=skewness, inflation=inflation)
    elif method in {"newcombe10", "mover_jeffreys"}:
        low, high = mover_difference(table.cells, wilson if method == "newcombe10" else jeffreys, confidence)
    else:
        added, cases = ADDED[method]
        share_b, share_c, m = (b + added) / (n + cases), (c + added) / (n + cases), n + cases
        centre = share_b - share_c
        # The correction takes a pair off the difference, in the variance alone.
        less = 1 / n if method == "wald_cc" else 0.0
        reach = z * np.sqrt(max(0.0, share_b + share_c - (abs(centre) - less) ** 2) / m)
        low, high = max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))
    return Estimate((b - c) / n, low, high)


def paired_ratio(table: PairedTable, method: str = "tang", confidence: float = 0.95) -> Estimate:
    """Ratio of two paired proportions, first over second: relative sensitivity or specificity.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``tang`` (score; the default), ``scas`` and ``scas_uncorrected`` (as in :func:`paired_difference`),
        ``mover_wilson``, ``mover_newcombe`` (with Newcombe's correction of the correlation) and ``mover_jeffreys``
        (with it too), ``bonett_price`` and ``bonett_price_jeffreys``, or ``wald`` (on the log scale).
    confidence : float

    Returns
    -------
    Estimate
        Zero, infinite or NaN where a reader is never right; only score and MOVER intervals have limits there.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Tang NS et al. Stat Med 2003;22:1217-1233. Laud PJ. Pharm Stat 2017;16:334-348 (SCAS; for pairs as in ratesci). Tang
    ML et al. Stat Methods Med Res 2012;21:361-378 (MOVER). Bonett DG, Price RM. Stat Med 2006;25:3039-3047.
    """
    if method not in RATIO_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(RATIO_METHODS))
    n, z = table.n, normal_quantile(confidence)
    right1, right2 = table.cells.right
    always = method in SCORES or method.startswith("mover")
    if max(right1, right2) == 0 or (min(right1, right2) == 0 and not always):
        value = np.nan if max(right1, right2) == 0 else np.inf if right2 == 0 else 0.0
        return Estimate(value, np.nan, np.nan, note="a reader who is never right")
    ratio = right1 / right2 if right2 else np.inf
    if method in SCORES:
        skewness, unbiased = SCORES[method]
        if unbiased and n == 1:
            return Estimate(ratio, np.nan, np.nan, note=ONE_CASE)
        low, high = score_ratio(table.cells, z, skewness=skewness, inflation=n / (n - 1) if unbiased else 1.0)
    elif method.startswith("mover"):
        marginal = jeffreys if method == "mover_jeffreys" else wilson
        low, high = mover_ratio(table.cells, marginal, confidence, corrected=method != "mover_wilson")
    elif method == "wald":
        reach = z * np.sqrt((table.first_only + table.second_only) / (right1 * right2))
        low, high = float(ratio * np.exp(-reach)), float(ratio * np.exp(reach))
    else:
        low, high = bonett_price_ratio(table.cells, wilson if method == "bonett_price" else jeffreys, z)
    return Estimate(ratio, low, high)


def paired_odds_ratio(table: PairedTable, method: str = "exact", confidence: float = 0.95) -> Estimate:
    """Odds that of two readers who differ the first is right.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``exact`` goes with the exact test, ``midp`` with mid-p; ``wilson`` is the score interval, ``scas`` that one
        corrected for skewness and bias, ``jeffreys`` the equal-tailed posterior of Jeffreys' prior; ``wald`` on the log
        scale.
    confidence : float

    Returns
    -------
    Estimate
        Limits of 0 and infinity are real: one reader was never right alone (then ``wald`` has none). NaN without
        discordant pairs.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Fagerland MW et al. Stat Med 2014;33:2850-2875: each but Wald's is an interval of the share of discordant pairs,
    carried over to odds. Laud PJ. Pharm Stat 2017;16:334-348 (SCAS).
    """
    if method not in ODDS_METHODS:
        raise InputError(f"the interval {method!r}", allowed=", ".join(ODDS_METHODS))
    b, m = table.first_only, table.first_only + table.second_only
    if m == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no case on which the two differ")
    value = b / (m - b) if b < m else np.inf
    if method == "wald":
        if b in {0, m}:
            return Estimate(value, np.nan, np.nan, note="a reader who is never right alone")
        factor = float(np.exp(normal_quantile(confidence) * np.sqrt(1 / b + 1 / (m - b))))
        return Estimate(value, value / factor, value * factor)
    if method == "scas":
        if table.n == 1:
            return Estimate(value, np.nan, np.nan, note=ONE_CASE)
        shares = score_odds(table.cells, normal_quantile(confidence), table.n / (table.n - 1))
    elif method == "midp":
        shares = _midp_limits(b, m, confidence)
    else:
        found = {"exact": clopper_pearson, "wilson": wilson, "jeffreys": jeffreys}[method](b, m, confidence)
        shares = found.low, found.high
    low, high = (float(share / (1 - share)) if share < 1 else np.inf for share in shares)
    return Estimate(value, low, high)


def _midp_limits(b: int, m: int, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2

    def below(share: float) -> float:
        return float(stats.binom.cdf(b, m, share) - stats.binom.pmf(b, m, share) / 2)

    low = 0.0 if b == 0 else optimize.brentq(lambda share: below(share) - (1 - tail), 0, 1, xtol=1e-14)
    high = 1.0 if b == m else optimize.brentq(lambda share: below(share) - tail, 0, 1, xtol=1e-14)
    return low, high
