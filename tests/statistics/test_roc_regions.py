"""Partial areas and the Youden index against interpolation, enumeration and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Roc
from spinefx.statistics.roc_regions import partial_auc, youden_point

scores_of = st.lists(st.integers(0, 9), min_size=2, max_size=25)


def joined(positives: list[int], negatives: list[int]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([*positives, *negatives], float)
    return scores, np.arange(scores.size) < len(positives)


@given(scores_of, scores_of)
def test_the_partial_area_over_all_specificities_is_the_whole_area(positives: list[int], negatives: list[int]) -> None:
    scores, truth = joined(positives, negatives)
    area = Roc.of(scores, truth).auc.value
    for region in ("specificity", "sensitivity"):
        whole = partial_auc(scores, truth, 0.0, region=region)
        assert whole.value == pytest.approx(area)
        assert partial_auc(scores, truth, 0.0, region=region, corrected=True).value == pytest.approx(area)
        assert np.isnan(whole.low) == bool(whole.note)
        assert whole.note or 0 < whole.low < whole.value < whole.high < 1


@given(scores_of, scores_of, st.floats(0.05, 0.95))
def test_a_partial_area_is_that_of_interpolation(positives: list[int], negatives: list[int], at: float) -> None:
    """Compared with the mean height of the curve at 20,000 points of the region."""
    scores, truth = joined(positives, negatives)
    curve = Roc.of(scores, truth)
    places = (np.arange(20_000) + 0.5) / 20_000 * (1 - at)
    read = np.interp(places, curve.false_positive_rate, curve.true_positive_rate)
    assert partial_auc(scores, truth, at).value == pytest.approx(read.mean() * (1 - at), abs=1e-4)


def test_the_jackknife_error_is_that_of_redrawn_studies() -> None:
    """300 studies of 30 malignant and 60 benign cases."""
    rng = np.random.default_rng(8)
    truth = np.arange(90) < 30
    found = [partial_auc(2 * truth + rng.standard_normal(90), truth) for _ in range(300)]
    logit = [np.log(np.array([e.low, e.value, e.high]) / (0.1 - np.array([e.low, e.value, e.high]))) for e in found]
    error = np.mean([(high - low) / 2 / 1.96 for low, _, high in logit])
    assert error == pytest.approx(np.std([value for _, value, _ in logit]), rel=0.12)


def test_perfect_and_empty_partial_areas_have_a_note_instead_of_an_interval() -> None:
    truth = np.array([True, True, False, False])
    perfect = partial_auc([3, 4, 1, 2], truth)
    assert perfect.value == pytest.approx(0.1)
    assert "variance cannot be estimated" in perfect.note
    assert partial_auc([3, 4, 1, 2], truth, corrected=True).value == pytest.approx(1)
    assert partial_auc([1, 2, 3, 4], truth).value == 0
    assert partial_auc([2, 1, 3], [True, False, False]).note
    for settings in ({"region": "accuracy"}, {"at_least": 1.0}, {"at_least": -0.1}):
        with pytest.raises(InputError):
            partial_auc([1, 2, 3], [True, False, False], **settings)
    with pytest.raises(InputError, match="a ROC curve of one class"):
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
        # Of equally good thresholds the lowest misses the fewest malignant cases.
        assert other < best.index - 1e-12 or np.mean(scores[truth] >= at) <= sensitivity
