"""Properties of all intervals of paired proportions: exchanged readers, levels, empty cells and small tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.paired.intervals import (
    DIFFERENCE_METHODS,
    ODDS_METHODS,
    RATIO_METHODS,
    paired_difference,
    paired_odds_ratio,
    paired_ratio,
)
from spinefx.statistics.paired.limits import score_difference, score_ratio, tango_terms
from spinefx.statistics.paired.table import PairedTable

tables = st.builds(PairedTable, *[st.integers(0, 40)] * 4)
METHODS = (
    *((paired_difference, method) for method in DIFFERENCE_METHODS),
    *((paired_ratio, method) for method in RATIO_METHODS),
    *((paired_odds_ratio, method) for method in ODDS_METHODS),
)
every_interval = st.sampled_from(METHODS)


def limits(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.value, estimate.high


def same(found: float, wanted: float) -> bool:
    return found == wanted or found == pytest.approx(wanted, rel=1e-6, abs=1e-7, nan_ok=True)


@given(tables, every_interval)
def test_exchanging_readers_mirrors_the_interval(table: PairedTable, interval: tuple[object, str]) -> None:
    function, method = interval
    low, value, high = limits(function(table, method))  # type: ignore[operator]
    other = limits(function(table.swapped, method))[::-1]  # type: ignore[operator]
    with np.errstate(divide="ignore"):
        wanted = -np.array(other) if function is paired_difference else 1 / np.array(other)
    assert all(same(found, expected) for found, expected in zip((low, value, high), wanted, strict=True))


@given(tables, every_interval)
def test_intervals_contain_their_estimate_and_stay_within_bounds(
    table: PairedTable, interval: tuple[object, str]
) -> None:
    function, method = interval
    estimate = function(table, method)  # type: ignore[operator]
    low, value, high = limits(estimate)
    if np.isnan([low, high]).any():
        assert np.isnan([low, high]).all()
        assert estimate.note
        return
    floor, ceiling = (-1, 1) if function is paired_difference else (0, np.inf)
    assert floor <= low <= value + 1e-7 * max(1.0, abs(value))
    assert value <= high * (1 + 1e-7) + 1e-7
    assert high <= ceiling


@given(tables, every_interval, st.floats(0.5, 0.98))
def test_a_higher_level_gives_a_wider_interval(
    table: PairedTable, interval: tuple[object, str], confidence: float
) -> None:
    function, method = interval
    inner, outer = (function(table, method, level) for level in (confidence, confidence + 0.015))  # type: ignore[operator]
    if np.isnan(inner.low):
        assert np.isnan(outer.low)
        return
    assert outer.low <= inner.low + 1e-8
    assert outer.high >= inner.high * (1 - 1e-9) - 1e-8


@given(tables)
def test_score_limits_of_a_difference_solve_tangos_equation(table: PairedTable) -> None:

    if table.n == 0:
        return
    z = 1.96
    for limit in score_difference(table, z):
        gap, variance = tango_terms(limit, table.first_only, table.second_only, table.n)
        if -1 < limit < 1:
            assert gap**2 == pytest.approx(z**2 * variance, rel=1e-5, abs=1e-6)


@given(tables)
def test_score_limits_of_a_ratio_solve_tangs_equation(table: PairedTable) -> None:
    """In the form of Nam and Blackwelder, with the variance from the proportions correct by one reader only."""
    (a, b, c, _), n = table.cells, max(table.n, 1)
    z, first, second = 1.96, a + b, a + c
    for limit in score_ratio(table, z) if first + second else ():
        if 0 < limit < np.inf:
            linear = second * limit**2 - (first + 2 * c)
            constant = 4 * (1 + limit) * c * (1 - limit) * (a + b + c)
            alone = (np.sqrt(max(0.0, linear**2 - constant)) - linear) / (2 * (1 + limit))
            variance = (1 + limit) * alone + (a + b + c) * (limit - 1)
            assert (first - second * limit) ** 2 == pytest.approx(
                z**2 * variance, rel=1e-5, abs=1e-6 * n * max(1, limit)
            )


@given(tables)
def test_corrections_vanish_with_many_cases(table: PairedTable) -> None:
    """With a hundred times the cases, skewness and the bias of the variance hardly matter."""
    larger = PairedTable(*(100 * (cell + 3) for cell in table.cells))
    corrected = score_difference(larger, 1.96, skewness=True, inflation=larger.n / (larger.n - 1))
    assert corrected == pytest.approx(score_difference(larger, 1.96), abs=2e-3)
    for skewed in (False, True):
        low, high = score_ratio(larger, 1.96, skewness=skewed)
        ratio = paired_ratio(larger, "wald")
        assert (low, high) == pytest.approx((ratio.low, ratio.high), rel=0.02)


def test_empty_and_concordant_tables_have_notes() -> None:
    empty, alike, one = PairedTable(0, 0, 0, 0), PairedTable(30, 0, 0, 20), PairedTable(1, 0, 0, 0)
    for function, method in METHODS:
        assert function(empty, method).note
    for method in ODDS_METHODS:
        assert "differ" in paired_odds_ratio(alike, method).note
    for method in DIFFERENCE_METHODS:
        found = paired_difference(alike, method)
        assert found.value == 0
        assert found.low == pytest.approx(-found.high, abs=1e-7)
        # Without discordant pairs Wald has no variance, with or without the correction.
        assert (found.high < 1e-7) == method.startswith("wald")
    for method in ("scas", "mover_wilson"):
        found = paired_ratio(alike, method)
        assert found.low < 1 < found.high
        assert found.low * found.high == pytest.approx(1, abs=1e-6)
    assert "bias" in paired_difference(one, "scas").note
    assert "bias" in paired_ratio(one, "scas").note
    assert "bias" in paired_odds_ratio(PairedTable(0, 1, 0, 0), "scas").note
    assert not paired_difference(one, "scas_uncorrected").note


def test_a_reader_who_is_never_the_only_one_to_be_correct() -> None:
    table = PairedTable(39, 0, 8, 3)
    for method in ODDS_METHODS:
        found = paired_odds_ratio(table, method)
        assert found.value == 0
        if method == "wald":
            assert np.isnan(found.low)
            assert "only one" in found.note
        else:
            assert 0 == found.low < found.high < 1
    never = PairedTable(0, 0, 8, 3)
    for method in RATIO_METHODS:
        found = paired_ratio(never, method)
        assert found.value == 0
        assert np.isnan(found.low) if found.note else 0 == found.low < 0.2 < found.high < 1.5
    # If the first is never correct, Tang's statistic is -sqrt(n * ratio * proportion of the second), over their sum.
    assert paired_ratio(PairedTable(0, 0, 8, 12), "tang").high == pytest.approx(1.959963985**2 / 8, abs=1e-6)


def test_scas_misses_equally_often_on_either_side() -> None:
    """In 1,500 tables of 40 pairs; owing to skewness Tango misses more often on one side (Laud 2017)."""
    n, shares = 40, np.array([0.5, 0.02, 0.15, 0.33])
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(n, shares, size=1500)
    truth = shares[1] - shares[2]
    missed = {}
    for method in ("tango", "scas"):
        found = [paired_difference(PairedTable(*map(int, row)), method) for row in drawn]
        missed[method] = np.array([[e.high < truth for e in found], [e.low > truth for e in found]]).mean(axis=1)
    assert missed["scas"] == pytest.approx([0.025, 0.025], abs=0.012)
    assert abs(np.subtract(*missed["scas"])) < abs(np.subtract(*missed["tango"])) + 0.002


@pytest.mark.parametrize("function", [paired_difference, paired_ratio, paired_odds_ratio])
def test_an_unknown_method_is_refused(function: object) -> None:
    with pytest.raises(InputError, match="'scass'"):
        function(PairedTable(1, 2, 3, 4), "scass")  # type: ignore[operator]
