"""Is the phantom as hard as the study: the accuracy of the true signs, and that of a box model.

Run as ``python benchmarks/phantom_difficulty.py [--study FOLDER [--experiment quick]]``. The signs are drawn, nothing
is rendered: seconds. The box model is read from a study folder in which `spinefx train` has finished on phantom
patients (``quick_cohort.py`` makes one).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record import record
from spinefx.commands.report import write_report
from spinefx.learning.folds import split_folds
from spinefx.learning.recipe import Recipe
from spinefx.phantom.random_streams import PhantomSettings, draw_case
from spinefx.statistics.accuracy import Confusion, Roc
from spinefx.statistics.logistic import fit_logistic
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Diagnosis

# Yeh 2022 reached .94 with the fifteen signs and .92 with the box; the rules of the phantom allow .97 and .90.
ALL_SIGNS, BOX_ALONE, BOX_MODEL = (0.91, 0.97), (0.87, 0.94), (0.84, 0.93)
BOX_SIGNS = tuple(sign.identifier for sign in SIGNS if sign.in_box)
Floats = NDArray[np.float64]


@cache  # both models use the same cohorts
def signs_of(settings: PhantomSettings) -> tuple[dict[str, dict[str, bool]], dict[str, Diagnosis]]:
    """Draw the true signs and diagnoses of a cohort, by case, without rendering.

    Parameters
    ----------
    settings : PhantomSettings

    Returns
    -------
    signs, truth : dict
    """
    draws = [draw_case(settings, number) for number in range(1, settings.patients + 1)]
    return {draw.name: draw.lesion.signs for draw in draws}, {draw.name: draw.diagnosis for draw in draws}


def tenfold(
    signs: Mapping[str, Mapping[str, bool]], truth: Mapping[str, Diagnosis], names: Sequence[str], seed: int
) -> dict[str, float]:
    """Return the probability of every patient by a Firth model of some signs that was fitted without the patient.

    Parameters
    ----------
    signs : mapping of str to mapping of str to bool
        By case.
    truth : mapping of str to Diagnosis
        By case.
    names : sequence of str
        Signs that the model sees.
    seed : int
        Of the dealing of patients to folds.

    Returns
    -------
    dict of str to float
    """

    def table(cases: Sequence[str]) -> Floats:
        return np.array([[float(signs[case][name]) for name in names] for case in cases])

    found: dict[str, float] = {}
    for fold in split_folds(truth, Recipe.preset("honest").changed(seed=seed)):
        cases = fold.training + fold.inner
        malignant = [truth[case] == Diagnosis.MALIGNANT for case in cases]
        found |= zip(fold.test, fit_logistic(table(cases), malignant).predict(table(fold.test)), strict=True)
    return found


def sign_model(names: Sequence[str], seeds: Sequence[int], patients: int = 190) -> Floats:
    """Return accuracy, AUC, sensitivity and specificity of the tenfold model, one row per cohort.

    Parameters
    ----------
    names : sequence of str
        Signs that the model sees.
    seeds : sequence of int
        One cohort each.
    patients : int
        In each cohort.

    Returns
    -------
    ndarray, shape (cohort, 4)
    """
    rows = []
    for seed in seeds:
        signs, truth = signs_of(PhantomSettings(patients=patients, seed=seed))
        scores = tenfold(signs, truth, names, seed)
        answers = {case: Diagnosis.MALIGNANT if p >= 0.5 else Diagnosis.BENIGN for case, p in scores.items()}
        right = Confusion.of(answers, truth)
        area = Roc.of(list(scores.values()), [truth[case] == Diagnosis.MALIGNANT for case in scores]).auc
        rows.append([part.value for part in (right.accuracy, area, right.sensitivity, right.specificity)])
    return np.array(rows)


def _row(label: str, cells: Sequence[str], accuracy: float, limits: tuple[float, float]) -> list[str]:
    verdict = "within" if limits[0] <= accuracy <= limits[1] else "OUTSIDE"
    return [label, *cells, f"{limits[0]:.2f} to {limits[1]:.2f}", verdict]


def main() -> None:
    """Draw and fit, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="number of cohorts of 190 patients to average")
    parser.add_argument("--study", type=Path, help="workspace of phantom patients with a finished experiment")
    parser.add_argument("--experiment", default="quick")
    arguments = parser.parse_args()
    rows = []
    kinds = (("15 true signs", SIGN_IDENTIFIERS, ALL_SIGNS), ("12 true signs in the box", BOX_SIGNS, BOX_ALONE))
    for label, names, limits in kinds:
        found = sign_model(names, range(1, arguments.seeds + 1))
        cells = [f"{column.mean():.3f} ({column.min():.3f} to {column.max():.3f})" for column in found.T]
        rows.append(_row(f"{label}, Firth, tenfold", cells, float(found[:, 0].mean()), limits))
    if arguments.study:
        table = {row[0]: row for row in write_report(arguments.study, arguments.experiment).table.rows}
        *_, sensitivity, specificity, accuracy, auc = table[arguments.experiment]
        cells = [f"{part}" for part in (accuracy, auc, sensitivity, specificity)]
        rows.append(_row(f"box model, recipe {arguments.experiment}", cells, accuracy.value, BOX_MODEL))
    record(
        "phantom_difficulty",
        "Difficulty of the phantom on 190 patients (phantom)",
        ("what decides", "accuracy", "AUC", "sensitivity", "specificity", "accuracy wanted", "verdict"),
        rows,
        f"Signs: mean over {arguments.seeds} cohorts drawn with seeds 1 to {arguments.seeds} (lowest to highest), "
        "50 malignant and 140 benign each. Box model: one cohort, 95% intervals (Wilson; DeLong for the AUC). "
        "Yeh 2022 reached .94 with fifteen scored signs and .92 with the box alone.",
    )


if __name__ == "__main__":
    main()
