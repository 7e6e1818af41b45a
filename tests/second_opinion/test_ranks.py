"""Rank correlation against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from spinefx.second_opinion.ranks import rank_correlation


def test_rank_correlation_is_spearmans_with_ties() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, (8, 8)), rng.integers(0, 5, (8, 8))
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert math.isnan(rank_correlation(one, np.ones((8, 8))))
