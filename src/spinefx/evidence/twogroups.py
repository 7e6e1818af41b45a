"""One yes-or-no finding in two groups of different cases."""

from __future__ import annotations

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.evidence.estimate import Estimate, Pairing, PValue

__all__ = ["chi_square_p", "fisher_exact", "fisher_p"]


def fisher_exact(k1: int, n1: int, k2: int, n2: int, confidence: float = 0.95) -> PValue:
    """Test whether a finding is equally common in two groups, with the conditional odds ratio.

    Parameters
    ----------
    k1, n1 : int
        Cases with the finding, and all cases, of the first group.
    k2, n2 : int
        Of the second group.
    confidence : float

    Returns
    -------
    PValue
        Two-sided by small probabilities, as R does; the odds ratio (first over second) is the conditional maximum of
        likelihood with its exact interval, whose limits of 0 and infinity are real. Without a p where a group is empty.

    Raises
    ------
    InputError
        For impossible counts.
    """
    quantity, n = "odds ratio, first over second", n1 + n2
    _check(k1, n1, k2, n2)
    if min(n1, n2) == 0:
        note = "a group without a case"
        return PValue(np.nan, "Fisher, exact", quantity, _nothing(note), n, Pairing.UNPAIRED, note=note)
    if k1 + k2 in {0, n}:
        note = "the finding is the same in all cases"
        return PValue(1.0, "Fisher, exact", quantity, _nothing(note), n, Pairing.UNPAIRED, note=note)
    odds = stats.contingency.odds_ratio([[k1, n1 - k1], [k2, n2 - k2]], kind="conditional")
    interval = odds.confidence_interval(confidence)
    estimate = Estimate(float(odds.statistic), float(interval.low), float(interval.high))
    return PValue(fisher_p(k1, n1, k2, n2), "Fisher, exact", quantity, estimate, n, Pairing.UNPAIRED)


def fisher_p(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p-value of Fisher's exact test.

    Parameters
    ----------
    k1, n1, k2, n2 : int
        As in :func:`fisher_exact`.

    Returns
    -------
    float
        1 where a group is empty.

    Raises
    ------
    InputError
        For impossible counts.
    """
    _check(k1, n1, k2, n2)
    return float(stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def chi_square_p(k1: int, n1: int, k2: int, n2: int, *, corrected: bool = False) -> float:
    """P-value of Pearson's chi-square test of two groups.

    Parameters
    ----------
    k1, n1, k2, n2 : int
        As in :func:`fisher_exact`.
    corrected : bool
        Whether with Yates' correction.

    Returns
    -------
    float
        1 where a group is empty or the finding is the same in all cases.

    Raises
    ------
    InputError
        For impossible counts.
    """
    _check(k1, n1, k2, n2)
    n, margins = n1 + n2, float(n1) * n2 * (k1 + k2) * (n1 + n2 - k1 - k2)
    if margins == 0:
        return 1.0
    gap = max(0.0, abs(k1 * n2 - k2 * n1) - (n / 2 if corrected else 0.0))
    return float(stats.chi2.sf(gap**2 * n / margins, 1))


def _check(k1: int, n1: int, k2: int, n2: int) -> None:
    if not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise InputError(f"counts {k1} of {n1} and {k2} of {n2}", where="two groups", allowed="0 to n of n")


def _nothing(note: str) -> Estimate:
    return Estimate(np.nan, np.nan, np.nan, note=note)
