"""Tests of two groups against enumeration and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.contingency import chi_square_p, fisher_exact, fisher_p


@given(st.integers(0, 9), st.integers(0, 9), st.data())
def test_fishers_test_agrees_with_enumeration(n1: int, n2: int, data: st.DataObject) -> None:
    from math import comb

    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    m = k1 + k2
    weights = {k: comb(n1, k) * comb(n2, m - k) for k in range(max(0, m - n2), min(n1, m) + 1)}
    wanted = sum(w for w in weights.values() if w <= weights[k1]) / sum(weights.values())
    assert fisher_p(k1, n1, k2, n2) == pytest.approx(wanted)
    found = fisher_exact(k1, n1, k2, n2)
    assert found.note if np.isnan(found.estimate.value) else found.estimate.low <= found.estimate.high
    assert 0 <= chi_square_p(k1, n1, k2, n2) <= chi_square_p(k1, n1, k2, n2, corrected=True) <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_conditional_odds_ratio_agrees_with_scipy(n1: int, n2: int, data: st.DataObject) -> None:
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    if 0 < k1 + k2 < n1 + n2:
        oracle = stats.contingency.odds_ratio([[k1, n1 - k1], [k2, n2 - k2]])
        limits, found = oracle.confidence_interval(0.95), fisher_exact(k1, n1, k2, n2).estimate
        wanted = (oracle.statistic, limits.low, limits.high)
        assert (found.value, found.low, found.high) == pytest.approx(wanted, rel=1e-7)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(InputError, match="two groups"):
        fisher_exact(4, 3, 0, 1)
