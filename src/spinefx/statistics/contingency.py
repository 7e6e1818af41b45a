"""Tests of a binary finding in two independent groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, Pairing, PValue

__all__ = ["chi_square_p", "fisher_exact", "fisher_p"]


def fisher_exact(k1: int, n1: int, k2: int, n2: int, confidence: float = 0.95) -> PValue:
    """Test by Fisher's exact test whether a finding is equally common in two groups.

    Parameters
    ----------
    k1, n1 : int
        Cases with the finding, and all cases, in the first group.
    k2, n2 : int
        The same in the second group.
    confidence : float

    Returns
    -------
    PValue
        Two-sided by summing the probabilities of tables no more likely than the observed one, as in R. The odds ratio
        (first over second) is the conditional maximum likelihood estimate with its exact interval, whose limits may be
        0 or infinite. Without a p-value if a group is empty.

    Raises
    ------
    InputError
        If a count is negative or exceeds its total.
    """
    quantity, n = "odds ratio, first over second", n1 + n2
    _check(k1, n1, k2, n2)
    if min(n1, n2) == 0:
        note = "a group has no cases"
        return PValue(np.nan, "Fisher, exact", quantity, _missing(note), n, Pairing.UNPAIRED, note=note)
    if k1 + k2 in {0, n}:
        note = "the finding is the same in all cases"
        return PValue(1.0, "Fisher, exact", quantity, _missing(note), n, Pairing.UNPAIRED, note=note)
    estimate = _conditional_odds_ratio(k1, n1, k2, n2, (1 - confidence) / 2)
    return PValue(fisher_p(k1, n1, k2, n2), "Fisher, exact", quantity, estimate, n, Pairing.UNPAIRED)


def fisher_p(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided p-value of Fisher's exact test.

    Parameters
    ----------
    k1, n1, k2, n2 : int
        As in :func:`fisher_exact`.

    Returns
    -------
    float
        1 if a group is empty.

    Raises
    ------
    InputError
        If a count is negative or exceeds its total.
    """
    _check(k1, n1, k2, n2)
    return float(stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def chi_square_p(k1: int, n1: int, k2: int, n2: int, *, corrected: bool = False) -> float:
    """Return the p-value of Pearson's chi-square test of two groups.

    Parameters
    ----------
    k1, n1, k2, n2 : int
        As in :func:`fisher_exact`.
    corrected : bool
        Whether to apply Yates' continuity correction.

    Returns
    -------
    float
        1 if a group is empty or the finding is the same in all cases.

    Raises
    ------
    InputError
        If a count is negative or exceeds its total.
    """
    _check(k1, n1, k2, n2)
    n, margins = n1 + n2, float(n1) * n2 * (k1 + k2) * (n1 + n2 - k1 - k2)
    if margins == 0:
        return 1.0
    gap = max(0.0, abs(k1 * n2 - k2 * n1) - (n / 2 if corrected else 0.0))
    return float(stats.chi2.sf(gap**2 * n / margins, 1))


def _conditional_odds_ratio(k1: int, n1: int, k2: int, n2: int, tail: float) -> Estimate:
    """Return the conditional maximum likelihood odds ratio with its exact limits.

    It agrees with SciPy's to 1e-8, and is a hundred times faster for thousands of cases as weights are computed once.
    """
    m = k1 + k2
    counts = np.arange(max(0, m - n2), min(n1, m) + 1, dtype=float)
    logs = -sum(special.gammaln(part + 1) for part in (counts, n1 - counts, m - counts, n2 - m + counts))

    def probabilities(theta: float) -> NDArray[np.float64]:
        weights = np.exp((tilted := logs + theta * counts) - tilted.max())
        return np.asarray(weights / weights.sum())

    def solve(of: Callable[[NDArray[np.float64]], float]) -> float:
        """Return the odds ratio at which an increasing function of it is 0."""
        low, high = -1.0, 1.0
        while of(probabilities(low)) > 0:
            low *= 2
        while of(probabilities(high)) < 0:
            high *= 2
        return float(np.exp(optimize.brentq(lambda theta: of(probabilities(theta)), low, high, xtol=1e-12)))

    place = int(k1 - counts[0])
    first, last = place == 0, place == counts.size - 1
    return Estimate(
        0.0 if first else np.inf if last else solve(lambda p: float(p @ counts) - k1),
        0.0 if first else solve(lambda p: float(p[place:].sum()) - tail),
        np.inf if last else solve(lambda p: tail - float(p[: place + 1].sum())),
    )


def _check(k1: int, n1: int, k2: int, n2: int) -> None:
    if not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise InputError(
            f"counts {k1} of {n1} and {k2} of {n2}", where="two groups", allowed="counts from 0 to their totals"
        )


def _missing(note: str) -> Estimate:
    return Estimate(np.nan, np.nan, np.nan, note=note)
