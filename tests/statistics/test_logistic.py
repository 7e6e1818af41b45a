"""Logistic regression against closed forms and direct maximisation."""

from __future__ import annotations

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.logistic import fit_logistic


def test_firths_penalty_in_a_saturated_model_adds_half_a_case_to_each_cell() -> None:
    """For a saturated model it is Haldane's correction."""
    x = np.repeat([0.0, 0.0, 1.0, 1.0], [9, 3, 0, 5])[:, None]
    y = np.repeat([False, True, False, True], [9, 3, 0, 5])
    fit = fit_logistic(x, y)
    assert fit.coefficients[1] == pytest.approx(np.log(5.5 * 9.5 / 0.5 / 3.5), abs=1e-8)


def test_fits_maximise_their_penalised_likelihood() -> None:
    """No small step in any direction increases it."""
    rng = np.random.default_rng(3)
    x = (rng.random((60, 4)) < 0.4).astype(float)
    y = rng.random(60) < 1 / (1 + np.exp(-(x @ [2, -1, 0.5, 0] - 0.3)))
    design = np.column_stack([np.ones(60), x])

    def goal(beta: np.ndarray, penalty: str) -> float:
        logit = design @ beta
        p = 1 / (1 + np.exp(-logit))
        information = (design.T * p * (1 - p)) @ design
        extra = {
            "firth": 0.5 * np.linalg.slogdet(information)[1],
            "l2": -0.5 * float(beta[1:] @ beta[1:]),
            "none": 0.0,
        }
        return float(y @ logit - np.logaddexp(0, logit).sum() + extra[penalty])

    for penalty in ("firth", "l2", "none"):
        beta = fit_logistic(x, y, penalty).coefficients
        best = goal(beta, penalty)
        assert all(goal(beta + rng.normal(0, 1e-3, 5), penalty) < best for _ in range(50))


def test_a_redundant_feature_has_a_coefficient_of_zero() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((40, 2)) < 0.5).astype(float)
    y = rng.random(40) < 0.3 + 0.4 * x[:, 0]
    wide = np.column_stack([x[:, 0], np.zeros(40), 1 - x[:, 0], x[:, 1]])
    narrow, found = fit_logistic(x, y), fit_logistic(wide, y)
    assert found.coefficients[[0, 1, 4]] == pytest.approx(narrow.coefficients, abs=1e-8)
    assert found.coefficients[[2, 3]] == pytest.approx([0, 0])
    assert np.isnan(found.standard_errors[2])
    for bad in (lambda: fit_logistic(x, np.ones(40)), lambda: fit_logistic(x, y, "l1"), lambda: fit_logistic(x[:3], y)):
        with pytest.raises(InputError):
            bad()


def test_separated_classes_are_recognised() -> None:
    """Without a penalty there is no finite maximum; Firth's penalty has one."""
    x, y = np.arange(10.0)[:, None], np.arange(10) > 5
    plain = fit_logistic(x, y, "none")
    assert plain.separated
    assert np.isnan(plain.standard_errors).all()
    assert np.isfinite(fit_logistic(x, y).standard_errors).all()
