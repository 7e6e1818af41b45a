"""Estimates and p-values are formatted with what they must be reported with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import (
    Estimate,
    Pairing,
    PValue,
    clopper_pearson,
    delta_variance,
    format_p,
    holm,
    jeffreys,
    wilson,
)


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0078125, "p = 0.0078"),
        (0.057373, "p = 0.057"),
        (0.04996, "p = 0.04996"),
        (0.00099996, "p = 0.00099996"),
        (8.4e-9, "p = 8.4e-09"),
        (0.449, "p = 0.45"),
        (1.0, "p = 1"),
        (0.9999, "p = 1"),
        (0.5, "p = 0.50"),
        (0.0, "p < 1e-300"),
    ],
)
def test_p_values_are_formatted(p: float, text: str) -> None:
    assert format_p(p) == text


@given(st.floats(1e-290, 1.0))
def test_formatting_never_moves_a_p_value_across_a_boundary(p: float) -> None:
    written = float(format_p(p).removeprefix("p = "))
    assert written == pytest.approx(p, rel=0.06)
    assert all((written < limit) == (p < limit) for limit in (0.001, 0.01, 0.05))


def test_a_p_value_is_shown_with_its_test_and_estimate() -> None:
    value = PValue(0.0078125, "McNemar, exact", "difference", Estimate(-0.16, -0.285, -0.077), 50, Pairing.PAIRED)
    assert str(value) == ("p = 0.0078 (McNemar, exact, two-sided, paired, n = 50); difference -0.160 [-0.285, -0.077]")
    absent = PValue(np.nan, "t", "q", Estimate(np.nan, np.nan, np.nan), 0, Pairing.PAIRED, note="no data")
    assert str(absent).startswith("no p (no data)")
    nothing = Estimate(0, 0, 0)
    for p, test, quantity in ((np.nan, "t", "q"), (1.5, "t", "q"), (0.5, "", "q"), (0.5, "t", "")):
        with pytest.raises(InputError, match="p-value"):
            PValue(p, test, quantity, nothing, 1, Pairing.PAIRED)


def test_holms_adjustment_of_a_worked_example() -> None:
    """Holm 1979: 0.01 x 4, then 0.02 x 3, then 0.025 x 2, which may not fall below its predecessor."""
    assert holm([0.025, 0.01, 0.02, 0.9]) == pytest.approx((0.06, 0.04, 0.06, 0.9))
    assert holm([0.01], size=15) == pytest.approx((0.15,))
    assert holm([0.2, np.nan])[0] == pytest.approx(0.4)
    assert holm([]) == ()
    with pytest.raises(InputError, match="family"):
        holm([0.1, 0.2], size=1)


def test_coverage_of_exact_and_wilson_intervals() -> None:
    """Summed over all outcomes, Clopper-Pearson covers every true proportion in at least 95%; Wilson does not."""
    n, shares = 30, np.linspace(0.02, 0.98, 49)
    for interval, least in ((clopper_pearson, 0.95), (wilson, 0.92)):
        estimates = [interval(k, n) for k in range(n + 1)]
        chances = np.array([[_binomial(n, k, share) for k in range(n + 1)] for share in shares])
        inside = np.array([[e.low <= share <= e.high for e in estimates] for share in shares])
        covered = (chances * inside).sum(axis=1)
        assert covered.min() >= least
        assert (interval is wilson) == (covered.min() < 0.95)
    assert np.isnan(clopper_pearson(0, 0).value)
    assert clopper_pearson(0, 0).note


def _binomial(n: int, k: int, share: float) -> float:
    from math import comb

    return comb(n, k) * share**k * (1 - share) ** (n - k)


def test_delta_variance_of_a_log_odds_ratio_is_the_textbook_formula() -> None:
    cells = [12, 5, 7, 30]
    variance = delta_variance(lambda c: complex(np.log(c[0] * c[3] / c[1] / c[2])), cells)
    assert variance == pytest.approx(sum(1 / cell for cell in cells), rel=1e-12)


def test_an_estimate_is_shown_with_counts_and_interval() -> None:
    assert str(wilson(47, 50)) == "94% (47/50) [84, 98]"
    assert str(wilson(0, 0)) == "n/a"


def test_jeffreys_interval_is_that_of_its_posterior() -> None:
    """Brown, Cai and DasGupta 2001: the beta distribution has the level between the limits."""
    found = jeffreys(7, 20)
    assert np.diff(stats.beta.cdf([found.low, found.high], 7.5, 13.5)) == pytest.approx(0.95)
    assert jeffreys(0, 20).low == 0
    assert jeffreys(20, 20).high == 1
    assert jeffreys(0, 0).note
    with pytest.raises(InputError, match="confidence"):
        jeffreys(1, 2, 1.0)
