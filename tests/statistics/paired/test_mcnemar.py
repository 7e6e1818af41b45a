"""McNemar's tests and non-inferiority against published values and enumeration; R's values are in test_reference."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.statistics.paired.intervals import (
    ODDS_METHODS,
    RATIO_METHODS,
    paired_difference,
    paired_odds_ratio,
    paired_ratio,
)
from spinefx.statistics.paired.mcnemar import (
    MCNEMAR_METHODS,
    attainable_mcnemar,
    generalised_mcnemar,
    mcnemar,
    mcnemar_p,
    non_inferiority,
    non_inferiority_of_both,
)
from spinefx.statistics.paired.predictive import (
    compare_likelihood_ratios,
    compare_predictive_values,
    relative_predictive_values,
)
from spinefx.statistics.paired.table import PairedAccuracy, PairedTable

Reference = Callable[[str], Any]

AHR = PairedTable(1, 1, 7, 12)  # Fagerland 2014, airway hyper-responsiveness before and after treatment
tables = st.builds(PairedTable, *[st.integers(0, 25)] * 4)


def test_published_values_are_reproduced_to_the_printed_digits() -> None:
    """Fagerland MW et al. Stat Med 2014;33:2850-2875."""
    p = [mcnemar(AHR, method).p for method in MCNEMAR_METHODS]
    assert p == pytest.approx([0.0703, 0.0391, 0.0339, 0.0771], abs=5e-5)
    for method, limits in (("tango", (-0.517, -0.026)), ("newcombe10", (-0.507, -0.026))):
        estimate = paired_difference(AHR, method)
        assert (estimate.low, estimate.high) == pytest.approx(limits, abs=5e-4)
    bonett = paired_difference(AHR, "bonett_price")
    assert (bonett.value, bonett.low, bonett.high) == pytest.approx((-0.286, -0.508, -0.013), abs=5e-4)
    exact = paired_odds_ratio(AHR)
    assert (exact.low, exact.high) == pytest.approx((0.003, 1.112), abs=5e-4)


@given(st.integers(0, 12), st.integers(0, 12))
def test_exact_and_mid_p_agree_with_enumeration(b: int, c: int) -> None:
    m = b + c
    weights = [comb(m, k) / 2**m for k in range(m + 1)]
    at_least_as_extreme = [abs(k - m / 2) >= abs(b - m / 2) for k in range(m + 1)]
    point = weights[b] + (weights[c] if b != c else 0)
    wanted = sum(p for p, extreme in zip(weights, at_least_as_extreme, strict=True) if extreme)
    assert mcnemar_p(b, c) == pytest.approx(wanted)
    assert mcnemar_p(b, c, "midp") == pytest.approx(wanted - point / 2 if m else 1.0)


@given(tables)
def test_every_table_has_p_values_or_notes_and_ratios_within_limits(table: PairedTable) -> None:
    pair = PairedAccuracy(table, PairedTable(table.neither, table.first_only, table.both, 0))
    estimates = [paired_ratio(table, method) for method in RATIO_METHODS]
    estimates += [paired_odds_ratio(table, method) for method in ODDS_METHODS]
    for estimate in estimates:
        if np.isnan(estimate.low):
            assert estimate.note
        else:
            assert 0 <= estimate.low <= estimate.value * (1 + 1e-7)
            assert estimate.value <= estimate.high * (1 + 1e-7)
    found = [mcnemar(table, method) for method in MCNEMAR_METHODS] + [generalised_mcnemar(pair)]
    for compare in (compare_predictive_values, relative_predictive_values, compare_likelihood_ratios):
        found += compare(pair)
    found.append(non_inferiority(table, 0.1))
    assert all(one.note for one in found if np.isnan(one.p))


@given(tables, st.sampled_from([0.02, 0.05, 0.1, 0.3]))
def test_non_inferiority_agrees_with_tangos_interval(table: PairedTable, margin: float) -> None:
    found = non_inferiority(table, margin)
    if table.n and abs(found.p - 0.025) > 1e-6:
        assert (found.p < 0.025) == (found.estimate.low > -margin)


@given(tables)
def test_intervals_agree_with_their_tests(table: PairedTable) -> None:
    """Tango's score at 0 is McNemar's; the exact and mid-p odds ratios invert the exact and mid-p tests."""
    difference = paired_difference(table)
    if table.n == 0 or table.first_only + table.second_only == 0:
        assert not difference.low > 0
        return
    pairs = [("chi2", difference.low > 0 or difference.high < 0)]
    for method in ("exact", "midp"):
        odds = paired_odds_ratio(table, method)
        pairs.append((method, odds.low > 1 or odds.high < 1))
    for method, apart in pairs:
        p = mcnemar(table, method).p
        if abs(p - 0.05) > 1e-6:
            assert (p < 0.05) == apart, method


def test_statistics_of_large_tables_are_finite() -> None:
    large = PairedTable(0, 50_000, 10, 0)
    assert mcnemar(large, "chi2").statistic == pytest.approx(49_990**2 / 50_010)
    assert "p < 1e-300" in str(mcnemar(large, "chi2cc"))


def test_joint_non_inferiority_requires_both() -> None:
    pair = PairedAccuracy(PairedTable(45, 2, 2, 1), PairedTable(80, 2, 53, 5))
    sensitivity, specificity, p = non_inferiority_of_both(pair, 0.1, 0.1)
    assert sensitivity.p < 0.05 < specificity.p == p
    assert sensitivity.sided == "one-sided"
    with pytest.raises(InputError, match="margin"):
        non_inferiority(pair.malignant, 0.0)


@given(st.integers(1, 12), st.data())
def test_attainable_tables_are_those_of_enumeration(n: int, data: st.DataObject) -> None:
    e1, e2 = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    found = attainable_mcnemar(e1, e2, n)
    wanted = {(k, e1 - k, e2 - k) for k in range(n + 1) if min(e1 - k, e2 - k) >= 0 and e1 + e2 - k <= n}
    assert {(t.shared, t.first_only, t.second_only) for t in found.tables} == wanted
    assert sum(t.probability for t in found.tables) == pytest.approx(1)
    with pytest.raises(InputError, match="errors"):
        attainable_mcnemar(n + 1, 0, n)


def test_attainable_ranges_of_the_paper_are_reproduced(reference: Reference) -> None:
    """All pairs of readers in yeh2022_published.json."""
    for claim in reference("yeh2022_published")["mcnemar_claims"].values():
        found = attainable_mcnemar(*claim["errors"], claim["n"])
        for method, limits in claim["attainable_min_max"].items():
            assert found.p_range(method) == pytest.approx(limits, rel=1e-2, abs=1e-9)
        for table, wanted in zip(found.tables, claim["tables"], strict=True):
            assert (table.shared, table.first_only, table.second_only) == (
                wanted["k"],
                wanted["A_only"],
                wanted["B_only"],
            )
            assert [table.p[m] for m in MCNEMAR_METHODS] == pytest.approx(
                [wanted[m] for m in MCNEMAR_METHODS], abs=1e-9
            )


def test_probabilities_of_shared_errors_are_hypergeometric() -> None:
    probabilities = [table.probability for table in attainable_mcnemar(11, 3, 50).tables]
    assert probabilities[:3] == pytest.approx([0.47, 0.42, 0.11], abs=0.006)
