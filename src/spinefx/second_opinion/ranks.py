"""Rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["rank_correlation"]


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Correlate the ranks of two arrays.

    Parameters
    ----------
    one, other : array_like
        Of the same size, finite.

    Returns
    -------
    float
        Spearman's rho, ties by their mean rank; NaN where one is the same everywhere.
    """
    arrays = [np.asarray(values, np.float64).ravel() for values in (one, other)]
    if any(np.ptp(values) == 0 for values in arrays):
        return float("nan")
    return float(np.corrcoef(*(stats.rankdata(values) for values in arrays))[0, 1])
