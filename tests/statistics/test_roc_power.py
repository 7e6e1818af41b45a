"""Parts and points of ROC curves, binormal curves and power, beyond the values of pROC in test_reference_coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
from spinefx.statistics.roc_regions import partial_auc, youden_point

scores_of = st.lists(st.integers(0, 9), min_size=2, max_size=25)


def joined(positives: list[int], negatives: list[int]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([*positives, *negatives], float)
    return scores, np.arange(scores.size) < len(positives)


@given(scores_of, scores_of)
def test_the_whole_part_is_the_whole_area(positives: list[int], negatives: list[int]) -> None:
    scores, truth = joined(positives, negatives)
    area = Roc.of(scores, truth).auc.value
    for region in ("specificity", "sensitivity"):
        whole = partial_auc(scores, truth, 0.0, region=region)
        assert whole.value == pytest.approx(area)
        assert partial_auc(scores, truth, 0.0, region=region, corrected=True).value == pytest.approx(area)
        assert np.isnan(whole.low) == bool(whole.note)
        assert whole.note or 0 < whole.low < whole.value < whole.high < 1


@given(scores_of, scores_of, st.floats(0.05, 0.95))
def test_a_part_is_what_the_curve_interpolated_gives(positives: list[int], negatives: list[int], at: float) -> None:
    """Another route: the curve read off at 20,000 places of the part."""
    scores, truth = joined(positives, negatives)
    curve = Roc.of(scores, truth)
    places = (np.arange(20_000) + 0.5) / 20_000 * (1 - at)
    read = np.interp(places, curve.false_positive_rate, curve.true_positive_rate)
    assert partial_auc(scores, truth, at).value == pytest.approx(read.mean() * (1 - at), abs=1e-4)


def test_the_jackknife_of_a_part_is_what_redrawn_studies_scatter() -> None:
    rng = np.random.default_rng(8)
    truth = np.arange(190) < 50
    found = [partial_auc(2 * truth + rng.standard_normal(190), truth) for _ in range(300)]
    logit = [np.log(np.array([e.low, e.value, e.high]) / (0.1 - np.array([e.low, e.value, e.high]))) for e in found]
    reach = np.mean([(high - low) / 2 / 1.96 for low, _, high in logit])
    assert reach == pytest.approx(np.std([value for _, value, _ in logit]), rel=0.12)


def test_perfect_and_hopeless_parts_say_why_there_is_no_interval() -> None:
    truth = np.array([True, True, False, False])
    perfect = partial_auc([3, 4, 1, 2], truth)
    assert perfect.value == pytest.approx(0.1)
    assert "no variance" in perfect.note
    assert partial_auc([3, 4, 1, 2], truth, corrected=True).value == pytest.approx(1)
    assert partial_auc([1, 2, 3, 4], truth).value == 0
    assert partial_auc([2, 1, 3], [True, False, False]).note
    for settings in ({"region": "accuracy"}, {"at_least": 1.0}, {"at_least": -0.1}):
        with pytest.raises(InputError):
            partial_auc([1, 2, 3], [True, False, False], **settings)
    with pytest.raises(InputError, match="malignant and benign"):
        partial_auc([1, 2], [True, True])


@given(scores_of, scores_of)
def test_no_threshold_has_a_larger_youden_index(positives: list[int], negatives: list[int]) -> None:
    scores, truth = joined(positives, negatives)
    best = youden_point(scores, truth)
    sensitivity, specificity = best.confusion.sensitivity.value, best.confusion.specificity.value
    assert best.index == pytest.approx(sensitivity + specificity - 1)
    called = scores > best.threshold
    assert (int(np.sum(called & truth)), int(np.sum(called & ~truth))) == (best.confusion.tp, best.confusion.fp)
    for at in (*np.unique(scores), np.inf):
        other = np.mean(scores[truth] >= at) - np.mean(scores[~truth] >= at)
        assert other <= best.index + 1e-12
        # Of equal thresholds the lowest: it misses fewest.
        assert other < best.index - 1e-12 or np.mean(scores[truth] >= at) <= sensitivity


def test_a_binormal_curve_is_found_again() -> None:
    """Sensitivity Phi(1.2 + 0.8 probit FPR): malignant spread 1, benign 0.8."""
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


def test_binormal_errors_are_near_delongs_and_obuchowskis_later_figures(
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


def test_power_of_one_area_is_what_simulated_studies_find() -> None:
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
def test_what_has_no_power_is_refused_by_name(refused: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        refused()
