"""The sign model against simulations of Table 1."""

from __future__ import annotations

import numpy as np
import pytest

from spinefx.errors import InputError
from spinefx.statistics.sign_model import fit_sign_model
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN

# Yeh 2022, Table 1: with the sign, of 50 malignant and of 140 benign; in the order of the vocabulary.
TABLE_1 = dict(
    zip(
        SIGN_IDENTIFIERS,
        (
            *((17, 3), (7, 77), (25, 54), (14, 59), (0, 48), (0, 37), (2, 44), (5, 14), (1, 8), (44, 31), (11, 0)),
            *((16, 19), (22, 1), (5, 0), (39, 8)),
        ),
        strict=True,
    )
)
TRUTH = {f"m{i:02d}": M for i in range(50)} | {f"b{i:03d}": B for i in range(140)}


def scored(yes: dict[str, set[str]], cases: dict[str, Diagnosis] = TRUTH) -> dict[str, dict[str, Score]]:
    """Scores by case from the cases that have each sign."""
    return {
        case: {name: Score.YES if case in yes.get(name, set()) else Score.NO for name in SIGN_IDENTIFIERS}
        for case in cases
    }


def simulated(rng: np.random.Generator) -> dict[str, dict[str, Score]]:
    """Signs drawn independently within each class with Table 1's shares."""
    yes: dict[str, set[str]] = {}
    for name, (k, j) in TABLE_1.items():
        yes[name] = {case for case, d in TRUTH.items() if rng.random() < (k / 50 if d == M else j / 140)}
    return scored(yes)


def test_accuracy_agrees_with_large_simulations() -> None:
    """Independent signs, 500 replicates: Firth apparent 0.985, tenfold 0.944, AUC 0.979; ridge 0.974 and 0.961.

    These are means of 8 replicates; the tenfold accuracy has a standard deviation of 0.015, its mean of 0.005.
    """
    found: dict[str, list[tuple[float, float, float]]] = {"firth": [], "l2": []}
    for seed in range(8):
        scores = simulated(np.random.default_rng(seed))
        for penalty, kept in found.items():
            model = fit_sign_model(scores, TRUTH, np.random.default_rng(seed), penalty=penalty, draws=0)
            area = model.auc["crossvalidated"].value
            kept.append((model.apparent.accuracy.value, model.crossvalidated.accuracy.value, area))
    assert np.mean(found["firth"], axis=0) == pytest.approx([0.985, 0.944, 0.979], abs=0.012)
    assert np.mean(found["l2"], axis=0)[:2] == pytest.approx([0.974, 0.961], abs=0.012)


def test_optimism_is_subtracted_and_random_signs_have_no_value() -> None:
    model = fit_sign_model(simulated(np.random.default_rng(1)), TRUTH, np.random.default_rng(1), draws=30)
    apparent, corrected = model.apparent.accuracy.value, model.corrected_accuracy
    assert apparent - 0.06 < corrected.value < apparent
    assert np.isnan(corrected.low)
    assert corrected.value == pytest.approx(0.946, abs=0.025)
    table = model.table
    assert [row[0] for row in table.rows][1] == "10-fold, by patient"
    assert len(model.coefficient_table.rows) == 16
    rng = np.random.default_rng(5)
    noise = scored({name: {case for case in TRUTH if rng.random() < 0.3} for name in SIGN_IDENTIFIERS})
    lost = fit_sign_model(noise, TRUTH, rng, draws=20)
    assert lost.auc["apparent"].value > 0.6
    assert abs(lost.auc["crossvalidated"].value - 0.5) < 0.12
    assert abs(lost.auc["optimism-corrected"].value - 0.5) < 0.12


def test_cases_of_a_patient_stay_together_and_incomplete_cases_are_listed() -> None:
    truth = {f"{'m' if i < 6 else 'b'}{i}{side}": M if i < 6 else B for i in range(14) for side in "xy"}
    rng = np.random.default_rng(2)
    yes = {name: {case for case in truth if rng.random() < (0.7 if truth[case] == M else 0.2)} for name in TABLE_1}
    scores = scored(yes, truth)
    scores["b9x"] = scores["b9x"] | {"skip_lesions": Score.NOT_ASSESSABLE}
    owner = {case: case[:-1] for case in truth}
    model = fit_sign_model(scores, truth, np.random.default_rng(0), participants=owner, draws=5)
    assert model.left_out == ("b9x",)
    assert model.folds == 6
    assert len(model.crossvalidated_probabilities) == 27
    assert np.isfinite(model.crossvalidated_probabilities).all()
    with pytest.raises(InputError, match="both diagnoses"):
        fit_sign_model(scores, truth, rng, participants=dict.fromkeys(truth, "one"))
    with pytest.raises(InputError, match="two or more of each"):
        fit_sign_model(scores, dict.fromkeys(truth, B), rng)
    with pytest.raises(InputError, match="penalty"):
        fit_sign_model(scores, truth, rng, penalty="none")
