"""Decision curves and reclassification; the values of dcurves and Hmisc are in test_reference."""

from __future__ import annotations

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.benefit import (
    decision_curve,
    discrimination_by_class,
    discrimination_improvement,
    reclassification,
)


def test_net_benefit_agrees_with_the_bootstrap() -> None:
    """The band from the standard error of a mean, and from 800 resamples of the patients."""
    rng = np.random.default_rng(0)
    p, at = rng.beta(1, 1.5, 113), [0.2, 0.4]
    y = rng.random(113) < p
    found = decision_curve(p, y, at)
    drawn = [decision_curve(p[i], y[i], at).benefit for i in (rng.integers(113, size=113) for _ in range(800))]
    assert (found.high - found.benefit) / 1.96 == pytest.approx(np.std(drawn, axis=0), rel=0.1)
    assert found.advantage == pytest.approx(found.benefit - np.maximum(found.act_on_all, 0))
    with pytest.raises(InputError, match="threshold"):
        decision_curve(p, y, [1.0])


def test_models_that_move_no_case_or_all_cases() -> None:
    p, y = [0.2, 0.3, 0.6, 0.7], [False, True, False, True]
    same = reclassification(p, p, y).net
    assert (same.p, same.note) == (1.0, "the second model moves no case")
    assert discrimination_improvement(p, p, y).p == 1
    better = reclassification(p, [0.1, 0.4, 0.5, 0.8], y).net
    assert better.estimate.value == pytest.approx(2)
    assert np.isnan(better.p)
    assert np.isnan(discrimination_improvement([0.2, 0.3], [0.1, 0.4], [True, False]).p)
    rise, fall = discrimination_by_class([0.2, 0.3], [0.1, 0.4], [True, False])
    assert (rise.value, fall.value) == pytest.approx((-0.1, -0.1))
    assert "one case" in rise.note
    gains = discrimination_by_class([0.2, 0.3, 0.6, 0.7], [0.1, 0.4, 0.5, 0.9], y)
    assert [gain.value for gain in gains] == pytest.approx([0.15, 0.1])
