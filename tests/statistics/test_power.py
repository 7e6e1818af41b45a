"""Planned power is the power: counted over every table, in closed form, and simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.panel import PanelComponents, ai_vs_readers
from spinefx.statistics.mrmc.power import mrmc_sample_size, panel_power, panel_sample_size
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.paired.mcnemar import non_inferiority
from spinefx.statistics.paired.samplesize import discordant_shares, non_inferiority_power, non_inferiority_sample_size
from spinefx.statistics.paired.table import PairedTable

PILOT = PanelComponents(reader=0.001, error=0.0012, cov2=0.0004, cases=100)
POPULATION = RoeMetz((1.5,))


def test_power_of_non_inferiority_is_that_of_its_test_over_every_table() -> None:
    n, margin, (first, second) = 14, 0.3, discordant_shares(0.85, 0.9, 0.3)
    power = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if non_inferiority(PairedTable(n - b - c, b, c, 0), margin).p <= 0.025:
                power += stats.multinomial.pmf((b, c, n - b - c), n, (first, second, 1 - first - second))
    assert non_inferiority_power(first, second, n, margin=margin) == pytest.approx(power, abs=1e-7)


def test_the_fewest_cases_for_non_inferiority() -> None:
    shares = discordant_shares(0.9, 0.9)
    n = non_inferiority_sample_size(*shares, margin=0.1)
    assert non_inferiority_power(*shares, n, margin=0.1) >= 0.8 > non_inferiority_power(*shares, n - 1, margin=0.1)
    # Two independent normal shares (Liu JP et al. Stat Med 2002;21:231-245): (1.96 + 0.84)^2 x 0.18 / 0.1^2 = 141.
    assert 135 < n < 160
    with pytest.raises(InputError, match="a difference above minus the margin"):
        non_inferiority_sample_size(*discordant_shares(0.8, 0.9), margin=0.1)


def test_power_of_one_reader_beside_a_model_is_that_of_z() -> None:
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


def test_the_fewest_readers_and_cases() -> None:
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
    with pytest.raises(InputError, match="without all variances"):
        panel_power(PanelComponents(np.nan, 0.1, np.nan, 10), difference=0.1, readers=3, cases=10)


def test_readers_are_sought_for_two_modalities_too() -> None:
    study = RoeMetz((1.2, 1.5)).draw(np.random.default_rng(5), readers=5, malignant=30, benign=30)
    pilot = mrmc(study).components
    assert pilot is not None
    by_cases = mrmc_sample_size(pilot, difference=0.1, readers=8)
    by_readers = mrmc_sample_size(pilot, difference=0.1, cases=by_cases.cases)
    assert by_readers.readers <= 8
    assert by_readers.power >= 0.8


def test_a_drawn_model_has_its_area_and_shares_the_cases() -> None:
    study = POPULATION.draw_panel(np.random.default_rng(2), model=2.0, readers=3, malignant=3000, benign=3000)
    result = ai_vs_readers(study, "model", covariance="delong", analysis="FRRC")
    assert result.model.estimate.value == pytest.approx(stats.norm.cdf(2.0 / np.sqrt(2)), abs=0.012)
    # Effects of cases have a variance of 0.6 of 1.
    own = study.scores[0] - np.outer([2.0, 1.5, 1.5, 1.5], study.malignant)
    assert np.corrcoef(own)[0, 1:] == pytest.approx([0.6] * 3, abs=0.06)


def test_predicted_and_simulated_power_agree() -> None:
    """Within four standard errors of 400 studies; benchmarks/panel_power.py has the whole table."""
    rng, size, model, readers = np.random.default_rng(12), {"malignant": 50, "benign": 50}, 1.8, 4
    pilots = [
        ai_vs_readers(POPULATION.draw_panel(rng, model=model, readers=8, **size), "model", covariance="unbiased")
        for _ in range(200)
    ]
    means = (float(np.mean([getattr(one.components, name) for one in pilots])) for name in ("reader", "error", "cov2"))
    difference = POPULATION.areas[0] - float(stats.norm.cdf(model / np.sqrt(2)))
    predicted = panel_power(PanelComponents(*means, 100), difference=difference, readers=readers, cases=100).power
    found = [
        ai_vs_readers(POPULATION.draw_panel(rng, model=model, readers=readers, **size), "model").difference.p_value
        < 0.05
        for _ in range(400)
    ]
    assert 0.2 < predicted < 0.8
    assert np.mean(found) == pytest.approx(predicted, abs=4 * np.sqrt(predicted * (1 - predicted) / 400))
