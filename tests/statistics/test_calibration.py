"""Calibration and change of prevalence; the values of rms and glm are in test_reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from spinefx.errors import InputError
from spinefx.statistics.calibration import Calibration, calibrate, change_prevalence


def test_true_probabilities_are_calibrated_and_their_curve_lies_in_the_band() -> None:
    rng = np.random.default_rng(4)
    inside, slopes = [], []
    for _ in range(40):
        p = rng.beta(1, 2, 300)
        found = calibrate(p, rng.random(300) < p)
        curve = found.curve
        inside.append(np.mean((curve.low <= curve.probability) & (curve.probability <= curve.high)))
        slopes.append(found.slope.low < 1 < found.slope.high)
    assert np.mean(inside) > 0.88
    assert np.mean(slopes) > 0.85
    sharp = calibrate(p, rng.random(300) < np.clip(0.5 + 0.2 * (p - 0.5), 0, 1))
    assert sharp.slope.high < 1
    assert sharp.mean_error > 0.05 < sharp.expected_calibration_error
    assert sharp.brier.value > sharp.brier_of_prevalence


def test_the_width_of_the_band_agrees_with_simulation() -> None:
    """The standard error from the smoother's weights, and from 100 simulated outcomes of the same patients."""
    rng = np.random.default_rng(7)
    p = rng.beta(2, 3, 150)
    drawn = [calibrate(p, rng.random(150) < p).curve for _ in range(100)]
    middle = slice(30, -30)
    wide = np.mean([(curve.high - curve.low)[middle] for curve in drawn], axis=0) / 2 / 1.96
    assert wide == pytest.approx(np.std([curve.observed[middle] for curve in drawn], axis=0), rel=0.25)


def of(probabilities: list[float], truth: list[int]) -> Calibration:
    return calibrate(probabilities, np.array(truth, bool))


def test_a_missing_slope_has_a_note() -> None:
    apart = of([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert np.isnan(apart.slope.value)
    assert "separate" in apart.note
    assert np.isnan(apart.unreliability.p)
    assert np.isnan(apart.indices[1:]).all()
    assert apart.indices[0] == pytest.approx((apart.likelihood_gain - 1) / 4)
    flat = of([0.3] * 6, [0, 0, 1, 1, 0, 0])
    assert flat.nagelkerke < 0
    assert of([1 / 3] * 6, [0, 0, 1, 1, 0, 0]).nagelkerke == pytest.approx(0, abs=1e-12)
    assert np.isnan(flat.slope.value)
    assert "all the same" in flat.note
    assert flat.curve.observed == pytest.approx([1 / 3])
    sure = of([0.0, 1.0, 1.0, 0.0, 1.0], [0, 1, 0, 1, 1])
    assert "count as 1e-06" in sure.note
    assert np.isnan(sure.spiegelhalter.p)
    for p, y in (([0.1, 0.2], [0, 0]), ([1.2, 0.1], [0, 1]), ([0.1], [0, 1]), ([np.nan, 0.1], [0, 1])):
        with pytest.raises(InputError):
            of(p, y)


def test_the_curve_of_ten_thousand_cases_has_at_most_200_points() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(10_000)
    found = calibrate(p, rng.random(10_000) < p)
    assert len(found.curve.probability) <= 200
    assert found.mean_error < 0.02


@given(st.floats(0.001, 0.999), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_a_change_of_prevalence_can_be_undone(p: float, here: float, there: float) -> None:
    moved = change_prevalence(p, here, there)
    assert change_prevalence(moved, there, here) == pytest.approx(p, abs=1e-9)
    assert (moved > p) == (there > here) or moved == pytest.approx(p)


def test_a_change_of_prevalence_is_bayes_rule() -> None:
    # Sensitivity 0.94, specificity 128/140: a call's probability at 50/190 and at 5%.
    assert change_prevalence(47 / 59, 50 / 190, 0.05) == pytest.approx(0.94 * 0.05 / (0.94 * 0.05 + 12 / 140 * 0.95))
    with pytest.raises(InputError, match="prevalence"):
        change_prevalence(0.5, 0.0, 0.5)


def test_the_table_has_the_tests_in_its_note() -> None:
    table = of([0.1, 0.3, 0.2, 0.6, 0.8, 0.7], [0, 0, 1, 0, 1, 1]).table
    assert table.to_columns()["measure"][:3] == [
        "calibration in the large (0 is right)",
        "slope (1 is right)",
        "Brier score",
    ]
    assert all(name in table.note for name in ("Spiegelhalter", "likelihood ratio", "Hosmer-Lemeshow"))


@settings(max_examples=25)
@given(width=st.floats(-6, 0), centre=st.floats(-4, 4), seed=st.integers(0, 10_000))
def test_the_slope_scales_with_the_logit_however_narrow_the_probabilities(
    width: float, centre: float, seed: int
) -> None:
    """A model that was trained for one epoch gives probabilities that differ in the third decimal."""
    rng = np.random.default_rng(seed)
    logit, malignant = rng.normal(size=20), rng.random(20) < 0.4
    malignant[:2] = True, False
    squeezed = calibrate(1 / (1 + np.exp(-(centre + 10**width * logit))), malignant).slope
    plain = calibrate(1 / (1 + np.exp(-logit)), malignant).slope
    for one, other in zip(*((each.value, each.low, each.high) for each in (squeezed, plain)), strict=True):
        assert one * 10**width == pytest.approx(other, rel=1e-4, abs=1e-4, nan_ok=True)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_the_interval_of_the_slope_is_that_of_the_profile_also_where_most_probabilities_are_0_or_1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    malignant = np.arange(60) < 15
    p = np.where(rng.random(60) < 0.6, malignant, rng.uniform(0.05, 0.95, 60))
    found = calibrate(p, malignant).slope
    logit = np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6)))

    def loss(intercept: float, slope: float) -> float:
        linear = intercept + slope * logit
        return float((np.logaddexp(0, linear) - malignant * linear).sum())

    def profile(slope: float) -> float:
        return float(optimize.minimize_scalar(loss, args=(slope,), tol=1e-12).fun)

    limit = profile(found.value) + stats.chi2.ppf(0.95, 1) / 2
    assert profile(found.low) == pytest.approx(limit, abs=1e-5)
    assert profile(found.high) == pytest.approx(limit, abs=1e-5)
