"""Differences, ratios and odds ratios of paired proportions, with intervals."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, clopper_pearson, jeffreys, normal_quantile, wilson
from spinefx.statistics.paired.limits import (
    bonett_price_ratio,
    mover_difference,
    mover_ratio,
    score_difference,
    score_odds,
    score_ratio,
)
from spinefx.statistics.paired.table import PairedTable

__all__ = [
    "DIFFERENCE_METHODS",
    "ODDS_METHODS",
    "RATIO_METHODS",
    "paired_difference",
    "paired_odds_ratio",
    "paired_ratio",
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
# Score intervals: whether skewness is corrected, and whether the bias of the variance is.
SCORES = {
    "tango": (False, False),
    "tang": (False, False),
    "scas": (True, True),
    "scas_uncorrected": (True, False),
}
# What is added to both discordant counts, and to the number of cases.
ADDED = {"wald": (0.0, 0.0), "wald_cc": (0.0, 0.0), "agresti_min": (0.5, 2.0), "bonett_price": (1.0, 2.0)}
ONE_CASE = "the bias of the variance cannot be corrected for a single case"


def paired_difference(table: PairedTable, method: str = "tango", confidence: float = 0.95) -> Estimate:
    """Estimate the difference of two paired proportions, first minus second.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``tango`` (score interval; the default, and consistent with
        :func:`spinefx.statistics.paired.mcnemar.non_inferiority`), ``newcombe10`` (square and add), ``mover_jeffreys``
        (the same from Jeffreys' intervals), ``scas`` (Tango's interval corrected for skewness and for the bias of the
        variance, so that both limits miss equally often), ``scas_uncorrected`` (corrected for skewness only),
        ``bonett_price``, ``agresti_min``, ``wald`` or ``wald_cc`` (with a continuity correction).
    confidence : float

    Returns
    -------
    Estimate
        NaN if there are no cases; without limits by ``scas`` for a single case.

    Raises
    ------
    InputError
        If the method is unknown.

    Notes
    -----
    Tango T. Stat Med 1998;17:891-908. Newcombe RG. Stat Med 1998;17:2635-2650 (method 10). Laud PJ. Pharm Stat
    2017;16:334-348 (SCAS; for pairs as in ratesci). Bonett DG, Price RM. J Educ Behav Stat 2012;37:479-488. Agresti A,
    Min Y. Stat Med 2005;24:729-740. Fagerland MW et al. Stat Med 2014;33:2850-2875 (Wald with correction).
    """
    _check_method(method, DIFFERENCE_METHODS)
    if table.n == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no case was read by both")
    z, b, c, n = normal_quantile(confidence), table.first_only, table.second_only, table.n
    if method in SCORES:
        skewness, unbiased = SCORES[method]
        if unbiased and n == 1:
            return Estimate(float(b - c), np.nan, np.nan, note=ONE_CASE)
        inflation = n / (n - 1) if unbiased else 1.0
        low, high = score_difference(table, z, skewness=skewness, inflation=inflation)
    elif method in {"newcombe10", "mover_jeffreys"}:
        low, high = mover_difference(table, wilson if method == "newcombe10" else jeffreys, confidence)
    else:
        added, cases = ADDED[method]
        share_b, share_c, m = (b + added) / (n + cases), (c + added) / (n + cases), n + cases
        centre = share_b - share_c
        # The continuity correction takes one pair off the difference, in the variance only.
        correction = 1 / n if method == "wald_cc" else 0.0
        half_width = z * np.sqrt(max(0.0, share_b + share_c - (abs(centre) - correction) ** 2) / m)
        low, high = max(-1.0, float(centre - half_width)), min(1.0, float(centre + half_width))
    return Estimate((b - c) / n, low, high)


def paired_ratio(table: PairedTable, method: str = "tang", confidence: float = 0.95) -> Estimate:
    """Estimate the ratio of two paired proportions, first over second: relative sensitivity or specificity.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``tang`` (score interval; the default), ``scas`` and ``scas_uncorrected`` (as for :func:`paired_difference`),
        ``mover_wilson``, ``mover_newcombe`` and ``mover_jeffreys`` (both with Newcombe's correction of the
        correlation), ``bonett_price``, ``bonett_price_jeffreys``, or ``wald`` (on the log scale).
    confidence : float

    Returns
    -------
    Estimate
        0, infinite or NaN if a reader is never correct; only score and MOVER intervals then have limits.

    Raises
    ------
    InputError
        If the method is unknown.

    Notes
    -----
    Tang NS et al. Stat Med 2003;22:1217-1233. Laud PJ. Pharm Stat 2017;16:334-348 (SCAS; for pairs as in ratesci). Tang
    ML et al. Stat Methods Med Res 2012;21:361-378 (MOVER). Bonett DG, Price RM. Stat Med 2006;25:3039-3047.
    """
    _check_method(method, RATIO_METHODS)
    n, z = table.n, normal_quantile(confidence)
    first, second = table.correct
    has_limits = method in SCORES or method.startswith("mover")
    if max(first, second) == 0 or (min(first, second) == 0 and not has_limits):
        value = np.nan if max(first, second) == 0 else np.inf if second == 0 else 0.0
        return Estimate(value, np.nan, np.nan, note="a reader is never correct")
    ratio = first / second if second else np.inf
    if method in SCORES:
        skewness, unbiased = SCORES[method]
        if unbiased and n == 1:
            return Estimate(ratio, np.nan, np.nan, note=ONE_CASE)
        low, high = score_ratio(table, z, skewness=skewness, inflation=n / (n - 1) if unbiased else 1.0)
    elif method.startswith("mover"):
        marginal = jeffreys if method == "mover_jeffreys" else wilson
        low, high = mover_ratio(table, marginal, confidence, corrected=method != "mover_wilson")
    elif method == "wald":
        half_width = z * np.sqrt(table.discordant / (first * second))
        low, high = float(ratio * np.exp(-half_width)), float(ratio * np.exp(half_width))
    else:
        low, high = bonett_price_ratio(table, wilson if method == "bonett_price" else jeffreys, z)
    return Estimate(ratio, low, high)


def paired_odds_ratio(table: PairedTable, method: str = "exact", confidence: float = 0.95) -> Estimate:
    """Estimate the odds that the first reader is the correct one where the two differ.

    Parameters
    ----------
    table : PairedTable
    method : str
        ``exact`` corresponds to the exact test and ``midp`` to the mid-p test; ``wilson`` is the score interval,
        ``scas`` the same corrected for skewness and bias, ``jeffreys`` the equal-tailed interval of Jeffreys' prior,
        and ``wald`` is symmetric on the log scale.
    confidence : float

    Returns
    -------
    Estimate
        NaN without discordant pairs. If a reader was never the only one to be correct, a limit is 0 or infinite, and
        ``wald`` has no limits.

    Raises
    ------
    InputError
        If the method is unknown.

    Notes
    -----
    Fagerland MW et al. Stat Med 2014;33:2850-2875: all methods but Wald's are intervals of a proportion of the
    discordant pairs, converted to odds. Laud PJ. Pharm Stat 2017;16:334-348 (SCAS).
    """
    _check_method(method, ODDS_METHODS)
    b, m = table.first_only, table.discordant
    if m == 0:
        return Estimate(np.nan, np.nan, np.nan, note="the readers differ in no case")
    value = b / (m - b) if b < m else np.inf
    if method == "wald":
        if b in {0, m}:
            return Estimate(value, np.nan, np.nan, note="a reader is never the only one to be correct")
        factor = float(np.exp(normal_quantile(confidence) * np.sqrt(1 / b + 1 / (m - b))))
        return Estimate(value, value / factor, value * factor)
    if method == "scas":
        if table.n == 1:
            return Estimate(value, np.nan, np.nan, note=ONE_CASE)
        proportions = score_odds(table, normal_quantile(confidence), table.n / (table.n - 1))
    elif method == "midp":
        proportions = _midp_limits(b, m, confidence)
    else:
        found = {"exact": clopper_pearson, "wilson": wilson, "jeffreys": jeffreys}[method](b, m, confidence)
        proportions = found.low, found.high
    low, high = (float(share / (1 - share)) if share < 1 else np.inf for share in proportions)
    return Estimate(value, low, high)


def _check_method(method: str, methods: tuple[str, ...]) -> None:
    if method not in methods:
        raise InputError(f"interval {method!r}", allowed=", ".join(methods))


def _midp_limits(b: int, m: int, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2

    def below(share: float) -> float:
        return float(stats.binom.cdf(b, m, share) - stats.binom.pmf(b, m, share) / 2)

    low = 0.0 if b == 0 else optimize.brentq(lambda share: below(share) - (1 - tail), 0, 1, xtol=1e-14)
    high = 1.0 if b == m else optimize.brentq(lambda share: below(share) - tail, 0, 1, xtol=1e-14)
    return low, high
