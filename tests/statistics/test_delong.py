"""DeLong's estimates and tests against the bootstrap, and where data allow no variance."""

from __future__ import annotations

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.delong import areas_with_covariance, auc_difference, auc_estimate


def test_delong_agrees_with_the_bootstrap() -> None:
    """The standard error of a difference of areas, by placements and by 1000 stratified resamples."""
    rng = np.random.default_rng(0)
    malignant = np.arange(113) < 41
    shared = 1.2 * malignant + rng.standard_normal(113)
    values = np.round(shared + rng.normal(0, [[0.4], [1.2]], (2, 113)), 1)
    sides = [np.flatnonzero(malignant), np.flatnonzero(~malignant)]
    drawn = []
    for _ in range(1000):
        taken = np.concatenate([rng.choice(side, side.size) for side in sides])
        areas, _ = areas_with_covariance(values[:, taken], malignant[taken])
        drawn.append(areas[0] - areas[1])
    found = auc_difference(*values, malignant)
    assert np.std(drawn) == pytest.approx(found.estimate.value / (found.statistic or 0), rel=0.08)


def test_too_little_data_leaves_a_note_instead_of_a_p_value() -> None:
    truth = [True, True, False, False]
    same = auc_difference([1, 2, 1, 0], [2, 4, 2, 0], truth)
    assert same.p == 1
    assert same.note == "both curves rank the cases alike"
    apart = auc_difference([3, 4, 1, 2], [1, 2, 3, 4], truth)
    assert np.isnan(apart.p)
    assert apart.estimate.value == 1
    single = auc_difference([3, 1, 2], [1, 2, 3], [True, False, False])
    assert np.isnan(single.p)
    assert "one case" in single.note
    assert "rule of three" in auc_estimate([3, 4, 1, 2], truth).note
    for scores, answers in (([1, 2], [True, True]), ([1, 2, 3], [True, False]), ([np.nan, 1], [True, False])):
        with pytest.raises(InputError):
            auc_estimate(scores, answers)
    with pytest.raises(InputError, match="scale"):
        auc_estimate([1, 2], [True, False], scale="log")
