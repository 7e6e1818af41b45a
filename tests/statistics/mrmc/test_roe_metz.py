"""Simulated reader studies have the areas and correlations they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.covariance import structural_components
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.roe_metz import RoeMetz, separation_of

POPULATION = RoeMetz((1.5,))


def test_a_drawn_model_has_its_area_and_shares_case_effects() -> None:
    study = POPULATION.draw_panel(np.random.default_rng(2), model=2.0, readers=3, malignant=3000, benign=3000)
    result = ai_vs_readers(study, "model", covariance="delong", analysis="FRRC")
    assert result.model.estimate.value == pytest.approx(stats.norm.cdf(2.0 / np.sqrt(2)), abs=0.012)
    # Case effects have a variance of 0.6, of 1 in total.
    own = study.scores[0] - np.outer([2.0, 1.5, 1.5, 1.5], study.malignant)
    assert np.corrcoef(own)[0, 1:] == pytest.approx([0.6] * 3, abs=0.06)


def test_separation_and_area_are_inverse() -> None:
    wanted = (0.5, 0.7, 0.9)
    separations = tuple(separation_of(area, 1 + 2 * 0.03) for area in wanted)
    assert RoeMetz(separations, 0.03, 0.03).areas == pytest.approx(wanted, abs=1e-12)


def test_simulated_studies_have_the_true_area() -> None:
    """Roe and Metz 1997: the area is that of two normal distributions with the variances of readers and cases."""
    model, rng = RoeMetz((0.75, 1.5), reader=0.03, modality_reader=0.03), np.random.default_rng(11)
    values = []
    for _ in range(150):
        study = model.draw(rng, readers=10, malignant=60, benign=60)
        values.append(
            structural_components(study.scores.reshape(20, -1), study.malignant).values.reshape(2, 10).mean(1)
        )
    drawn = np.array(values)
    assert model.areas == pytest.approx((0.6966, 0.8485), abs=1e-3)
    assert drawn.mean(axis=0) == pytest.approx(model.areas, abs=4 * drawn.std() / np.sqrt(150))
    with pytest.raises(InputError, match="no variance below 0"):
        RoeMetz((1.0,), error=-0.1)
