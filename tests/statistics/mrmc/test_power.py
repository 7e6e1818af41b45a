"""Power of reader studies against closed forms and simulation; the values of RJafroc are in test_reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.components import VarianceComponents
from spinefx.statistics.mrmc.panel import PanelComponents, ai_vs_readers
from spinefx.statistics.mrmc.power import mrmc_power, mrmc_sample_size, panel_power, panel_sample_size
from spinefx.statistics.mrmc.roe_metz import RoeMetz

PILOT = PanelComponents(reader=0.001, error=0.0012, cov2=0.0004, cases=100)
POPULATION = RoeMetz((1.5,))


def test_power_of_one_reader_against_a_model_is_that_of_z() -> None:
    error = np.sqrt(PILOT.error * PILOT.cases / 150)
    shift = 0.08 / error
    wanted = stats.norm.sf(1.959964 - shift) + stats.norm.cdf(-1.959964 - shift)
    found = panel_power(PILOT, difference=-0.08, readers=1, cases=150, analysis="FRRC")
    assert found.power == pytest.approx(wanted, rel=1e-6)


def test_power_with_fixed_cases_is_that_of_students_t() -> None:
    spread = np.sqrt(PILOT.reader + PILOT.error - PILOT.cov2)
    t = stats.t.isf(0.025, 5)
    shift = 0.05 / (spread / np.sqrt(6))
    wanted = stats.nct.sf(t, 5, shift) + stats.nct.cdf(-t, 5, shift)
    found = panel_power(PILOT, difference=0.05, readers=6, cases=100, analysis="RRFC")
    assert found.power == pytest.approx(wanted, rel=1e-6)


def test_plans_have_the_fewest_readers_or_cases() -> None:
    for found in (
        panel_sample_size(PILOT, difference=0.07, readers=8),
        panel_sample_size(PILOT, difference=0.07, cases=150),
    ):
        size = {"readers": found.readers, "cases": found.cases}
        assert found.power >= 0.8
        fewer = {name: value - (name == ("cases" if found.readers == 8 else "readers")) for name, value in size.items()}
        assert panel_power(PILOT, difference=0.07, **fewer).power < 0.8
    assert panel_power(PILOT, difference=0.0, readers=8, cases=150).power == pytest.approx(0.05)
    with pytest.raises(InputError, match="Add readers"):
        panel_sample_size(PILOT, difference=0.01, readers=5)
    with pytest.raises(InputError, match="one of the two"):
        panel_sample_size(PILOT, difference=0.07)
    with pytest.raises(InputError, match="without all variance components"):
        panel_power(PanelComponents(np.nan, 0.1, np.nan, 10), difference=0.1, readers=3, cases=10)


def test_readers_are_planned_for_two_modalities() -> None:
    study = RoeMetz((1.2, 1.5)).draw(np.random.default_rng(5), readers=5, malignant=30, benign=30)
    pilot = mrmc(study).components
    assert pilot is not None
    by_cases = mrmc_sample_size(pilot, difference=0.1, readers=8)
    by_readers = mrmc_sample_size(pilot, difference=0.1, cases=by_cases.cases)
    assert by_readers.readers <= 8
    assert by_readers.power >= 0.8


def test_predicted_and_simulated_power_agree() -> None:
    """Within four standard errors of 200 studies; benchmarks/panel_power.py covers more cases."""
    rng, size, model, readers = np.random.default_rng(12), {"malignant": 50, "benign": 50}, 1.8, 4
    pilots = [
        ai_vs_readers(POPULATION.draw_panel(rng, model=model, readers=8, **size), "model", covariance="unbiased")
        for _ in range(100)
    ]
    means = (float(np.mean([getattr(one.components, name) for one in pilots])) for name in ("reader", "error", "cov2"))
    difference = POPULATION.areas[0] - float(stats.norm.cdf(model / np.sqrt(2)))
    predicted = panel_power(PanelComponents(*means, 100), difference=difference, readers=readers, cases=100).power
    found = [
        ai_vs_readers(POPULATION.draw_panel(rng, model=model, readers=readers, **size), "model").difference.p_value
        < 0.05
        for _ in range(200)
    ]
    assert 0.2 < predicted < 0.8
    assert np.mean(found) == pytest.approx(predicted, abs=4 * np.sqrt(predicted * (1 - predicted) / 200))


def test_impossible_plans_are_refused() -> None:
    pilot = VarianceComponents(0.001, 0.002, 0.0008, 0.0003, 0.0003, 0.0002, cases=100)
    with pytest.raises(InputError, match="Add readers"):
        mrmc_sample_size(pilot, difference=0.05, readers=2)
    with pytest.raises(InputError, match="1 readers"):
        mrmc_power(pilot, difference=0.05, readers=1, cases=100)
    bare = VarianceComponents(0.001, np.nan, 0.0008, np.nan, 0.0003, np.nan, cases=100)
    with pytest.raises(InputError, match="two modalities"):
        mrmc_power(bare, difference=0.05, readers=5, cases=100)
    with pytest.raises(InputError, match="analysis 'both'"):
        mrmc_power(pilot, difference=0.05, readers=5, cases=100, analysis="both")  # type: ignore[arg-type]
    powers = [mrmc_power(pilot, difference=0.05, readers=readers, cases=200).power for readers in (4, 8, 16)]
    assert powers == sorted(powers)
    assert mrmc_power(pilot, difference=0.0, readers=5, cases=200).power == pytest.approx(0.05)
