"""Binormal curves, and power and sample size of ROC studies, beyond the values of pROC in test_reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Roc
from spinefx.statistics.delong import areas_with_covariance
from spinefx.statistics.roc_power import (
    BinormalCurve,
    auc_difference_power,
    auc_difference_sample_size,
    auc_power,
    binormal_covariance,
    fit_binormal,
)


def test_a_binormal_curve_is_recovered_from_its_scores() -> None:
    """Sensitivity Phi(1.2 + 0.8 probit FPR): standard deviation 1 of malignant and 0.8 of benign cases."""
    rng = np.random.default_rng(1)
    truth = np.arange(40_000) < 20_000
    scores = np.where(truth, 1.2 + rng.standard_normal(40_000), 0.8 * rng.standard_normal(40_000))
    curve = fit_binormal(np.round(scores, 1), truth)
    assert (curve.separation, curve.ratio) == pytest.approx((1.2, 0.8), abs=0.03)
    assert curve.area == pytest.approx(Roc.of(scores, truth).auc.value, abs=0.005)
    step = 1e-6
    by_separation, by_ratio = curve.gradient
    assert by_separation == pytest.approx(
        (BinormalCurve(curve.separation + step, curve.ratio).area - curve.area) / step, rel=1e-4
    )
    assert by_ratio == pytest.approx(
        (BinormalCurve(curve.separation, curve.ratio + step).area - curve.area) / step, rel=1e-4
    )


def test_binormal_errors_are_close_to_delongs_and_power_is_that_of_proc(
    reference_table: Callable[[str], list[dict[str, str]]],
) -> None:
    """pROC after 1.18, tests/testthat/test-power.roc.test.R: 0.7842276, 56.10898 and 98.53285 cases for ndka, wfns."""
    rows = reference_table("asah")
    truth = np.array([row["y"] == "1" for row in rows])
    scores = np.array([[float(row[name]) for row in rows] for name in ("ndka", "wfns")])
    areas, delong = areas_with_covariance(scores, truth)
    covariance = binormal_covariance(scores, truth)
    assert np.sqrt(np.diag(covariance)) == pytest.approx(np.sqrt(np.diag(delong)), rel=0.3)
    assert auc_difference_power(areas, covariance) == pytest.approx(0.7842276, abs=5e-8)
    found = auc_difference_sample_size(areas, covariance, malignant=41, benign=72, power=0.9)
    assert found == pytest.approx((56.10898, 98.53285), rel=1e-6)


def test_power_and_sample_size_of_two_areas_agree() -> None:
    areas, covariance = [0.9, 0.8], np.array([[9e-4, 3e-4], [3e-4, 16e-4]])
    for power in (0.5, 0.8, 0.95):
        malignant, benign = auc_difference_sample_size(areas, covariance, malignant=50, benign=140, power=power)
        assert benign / malignant == pytest.approx(2.8)
        assert auc_difference_power(areas, covariance, growth=malignant / 50) == pytest.approx(power)
    stronger = [auc_difference_power(areas, covariance, growth=growth) for growth in (0.5, 1.0, 2.0)]
    assert stronger == sorted(stronger)


def test_power_of_one_area_agrees_with_simulated_studies() -> None:
    """300 studies of 25 + 40 binormal cases with a true area of 0.7, tested by DeLong's z against 0.5."""
    rng = np.random.default_rng(6)
    truth, distance = np.arange(65) < 25, stats.norm.ppf(0.7) * np.sqrt(2)
    rejected = []
    for _ in range(300):
        areas, covariance = areas_with_covariance(distance * truth + rng.standard_normal(65), truth)
        rejected.append(abs(areas[0] - 0.5) > 1.96 * np.sqrt(covariance[0, 0]))
    assert auc_power(0.7, 25, 40) == pytest.approx(np.mean(rejected), abs=0.08)
    assert auc_power(0.3, 25, 40) == pytest.approx(auc_power(0.7, 25, 40))


@pytest.mark.parametrize(
    "refused",
    [
        lambda: auc_power(1.0, 10, 10),
        lambda: auc_power(0.8, 0, 10),
        lambda: auc_power(0.8, 10, 10, alpha=0.0),
        lambda: auc_difference_power([0.8, 0.8], np.eye(2)),
        lambda: auc_difference_power([0.8, 0.7], np.zeros((2, 2))),
        lambda: auc_difference_power([0.8, 0.7], np.eye(2), growth=0.0),
        lambda: auc_difference_sample_size([0.8, 0.7], np.eye(2), malignant=5, benign=5, power=1.0),
        lambda: BinormalCurve(1.0, 0.0),
        lambda: fit_binormal([1, 2, 3, 4], [False, False, True, True]),
        lambda: binormal_covariance([1, 2, 1, 3], [False, False, True, True], []),
    ],
)
def test_impossible_plans_are_refused(refused: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        refused()
