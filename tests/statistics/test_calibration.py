"""Calibration, decision curves and reclassification; those of rms, Hmisc and glm are in test_reference_coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.report.subgroups import subgroup_table
from spinefx.statistics.benefit import (
    decision_curve,
    discrimination_by_class,
    discrimination_improvement,
    reclassification,
)
from spinefx.statistics.calibration import Calibration, calibrate, change_prevalence
from spinefx.vocabulary import Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
Reference = Callable[[str], Any]
ReferenceTable = Callable[[str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def asah(reference_table: ReferenceTable) -> dict[str, np.ndarray]:
    """Three sets of probabilities, one deliberately too extreme, and the outcome."""
    rows = reference_table("asah")
    return {name: np.array([float(row[name]) for row in rows]) for name in ("y", "p_base", "p_new", "p_over")}


def test_the_slope_of_the_project_statistics(asah: dict[str, np.ndarray]) -> None:
    """Statistics C3 item 8: slope of p_over 0.625 (SE 0.1177)."""
    found = calibrate(asah["p_over"], asah["y"])
    assert (found.slope.value, found.slope_error) == pytest.approx((0.625, 0.1177), abs=5e-5)
    text = found.table().note
    assert "Spiegelhalter" in text
    assert "p = 0.0015" in text


def test_true_probabilities_are_found_true_and_the_band_holds_them() -> None:
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
    assert sharp.expected_error > 0.05 < sharp.grouped_error
    assert sharp.brier.value > sharp.brier_of_prevalence


def test_the_band_is_as_wide_as_the_curve_scatters() -> None:
    """Two routes to the curve's error: the smoother's weights, and 100 redrawn outcomes of the same patients."""
    rng = np.random.default_rng(7)
    p = rng.beta(2, 3, 150)
    drawn = [calibrate(p, rng.random(150) < p).curve for _ in range(100)]
    middle = slice(30, -30)
    wide = np.mean([(curve.high - curve.low)[middle] for curve in drawn], axis=0) / 2 / 1.96
    assert wide == pytest.approx(np.std([curve.observed[middle] for curve in drawn], axis=0), rel=0.25)


def of(probabilities: list[float], truth: list[int]) -> Calibration:
    return calibrate(probabilities, np.array(truth, bool))


def test_what_has_no_slope_says_so() -> None:
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


def test_ten_thousand_cases_need_no_more_points_than_a_page_shows() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(10_000)
    found = calibrate(p, rng.random(10_000) < p)
    assert len(found.curve.probability) <= 200
    assert found.expected_error < 0.02


@given(st.floats(0.001, 0.999), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_prevalence_goes_there_and_back(p: float, here: float, there: float) -> None:
    moved = change_prevalence(p, here, there)
    assert change_prevalence(moved, there, here) == pytest.approx(p, abs=1e-9)
    assert (moved > p) == (there > here) or moved == pytest.approx(p)


def test_prevalence_is_bayes_rule() -> None:
    # Sensitivity 0.94, specificity 128/140: a call's probability at 50/190 and at 5%.
    assert change_prevalence(47 / 59, 50 / 190, 0.05) == pytest.approx(0.94 * 0.05 / (0.94 * 0.05 + 12 / 140 * 0.95))
    with pytest.raises(InputError, match="prevalence"):
        change_prevalence(0.5, 0.0, 0.5)


def test_decision_curve_matches_dcurves(reference_table: ReferenceTable) -> None:
    """dcurves (R) results stored in its repository: every row of every column, 750 patients, 51 thresholds."""
    rows, expected = reference_table("dca_df_binary"), reference_table("dca_df_binary_expected")
    cancer = [row["cancer"] == "TRUE" for row in rows]
    by_variable = {name: [row for row in expected if row["variable"] == name] for name in ("famhistory", "all", "none")}
    thresholds = [float(row["threshold"]) for row in by_variable["all"]]
    scores = {"famhistory": [float(row["famhistory"]) for row in rows], "all": [1.0] * 750, "none": [0.0] * 750}
    for name, wanted in by_variable.items():
        found = decision_curve(scores[name], cancer, thresholds)
        columns = {
            "net_benefit": found.benefit,
            "test_pos_rate": found.positive_rate,
            "tp_rate": found.true_positive_rate,
            "fp_rate": found.false_positive_rate,
        }
        for column, values in columns.items():
            assert values == pytest.approx([float(row[column]) for row in wanted], abs=1e-12)
        avoided = [float(row["net_intervention_avoided"].replace("NA", "nan")) for row in wanted]
        assert found.interventions_avoided[1:] == pytest.approx(avoided[1:], abs=1e-9, nan_ok=True)
        assert found.act_on_all == pytest.approx([float(row["net_benefit"]) for row in by_variable["all"]], abs=1e-12)
    assert len(found.table().rows) == 51


def test_net_benefit_agrees_with_the_bootstrap(asah: dict[str, np.ndarray]) -> None:
    """Two routes to the band: the error of a mean, and 800 resamples of the patients."""
    p, y, at = asah["p_new"], asah["y"].astype(bool), [0.2, 0.4]
    found = decision_curve(p, y, at)
    rng = np.random.default_rng(0)
    drawn = [decision_curve(p[i], y[i], at).benefit for i in (rng.integers(113, size=113) for _ in range(800))]
    assert (found.high - found.benefit) / 1.96 == pytest.approx(np.std(drawn, axis=0), rel=0.1)
    assert found.advantage == pytest.approx(found.benefit - np.maximum(found.act_on_all, 0))
    with pytest.raises(InputError, match="threshold"):
        decision_curve(p, y, [1.0])


def test_models_that_change_nothing_or_everything() -> None:
    p, y = [0.2, 0.3, 0.6, 0.7], [False, True, False, True]
    same = reclassification(p, p, y).net
    assert (same.p, same.note) == (1.0, "the second moves no case")
    assert discrimination_improvement(p, p, y).p == 1
    better = reclassification(p, [0.1, 0.4, 0.5, 0.8], y).net
    assert better.estimate.value == pytest.approx(2)
    assert np.isnan(better.p)
    assert np.isnan(discrimination_improvement([0.2, 0.3], [0.1, 0.4], [True, False]).p)
    fall, rise = discrimination_by_class([0.2, 0.3], [0.1, 0.4], [True, False])
    assert (fall.value, rise.value) == pytest.approx((-0.1, -0.1))
    assert "one case" in fall.note
    gains = discrimination_by_class([0.2, 0.3, 0.6, 0.7], [0.1, 0.4, 0.5, 0.9], y)
    assert [gain.value for gain in gains] == pytest.approx([0.15, 0.1])


def test_subgroups_are_counted_and_small_ones_named() -> None:
    truth = {f"{i:02d}": M if i % 2 else B for i in range(48)}
    answers = truth | {"01": B, "02": M}
    groups = {case: "F" if int(case) < 40 else "M" for case in truth if case != "47"}
    table = subgroup_table(truth, answers, groups, name="sex", scores={case: float(int(case) % 2) for case in truth})
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["F", "M", "not recorded", "all"]
    assert (rows["F"][1], rows["F"][2], str(rows["F"][3])) == (20, 20, "95% (19/20) [76, 99]")
    assert rows["F"][7] == ""
    assert rows["M"][7] == "fewer than 10 of a class"
    assert rows["not recorded"][6] is None
    assert str(rows["not recorded"][4]) == "n/a"
    assert rows["all"][1] + rows["all"][2] == 48
    assert "n/a" in table.to_tsv()
