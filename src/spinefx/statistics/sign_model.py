"""A logistic model of the fifteen signs, evaluated on its own cases, by cross-validation and by the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.logistic import LogisticFit, fit_logistic
from spinefx.statistics.mrmc.covariance import structural_components
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Diagnosis, Score

__all__ = ["SignModel", "fit_sign_model"]

THRESHOLD = 0.5
PENALTY_NAMES = {"firth": "Firth's penalty", "l2": "ridge (C = 1)"}


@dataclass(frozen=True, eq=False)
class SignModel:
    """A logistic model of the signs, evaluated in three ways.

    Parameters
    ----------
    penalty : {'firth', 'l2'}
    fit : LogisticFit
        Fitted to all cases.
    cases : tuple of str
        Cases that the model was fitted to, in order.
    left_out : tuple of str
        Cases without scores, or with a sign that could not be assessed.
    folds : int
        Number of folds of the cross-validation.
    apparent, crossvalidated : Confusion
        At a probability of 0.5: on the cases of the fit, and on held-out folds, split by patient.
    crossvalidated_probabilities : ndarray of float64, shape (case,)
        Each from a model that was not fitted to the patient.
    auc : mapping of str to Estimate
        ``apparent``, ``crossvalidated`` and ``optimism-corrected``.
    corrected_accuracy : Estimate
        The apparent accuracy minus the mean optimism in the bootstrap; without limits.
    draws : int
        Number of bootstrap samples.
    """

    penalty: str
    fit: LogisticFit
    cases: tuple[str, ...]
    left_out: tuple[str, ...]
    folds: int
    apparent: Confusion
    crossvalidated: Confusion
    crossvalidated_probabilities: NDArray[np.float64]
    auc: Mapping[str, Estimate]
    corrected_accuracy: Estimate
    draws: int

    @property
    def table(self) -> ResultTable:
        """The three evaluations as a table."""
        rows: list[tuple[object, ...]] = [
            (name, counts.accuracy, counts.sensitivity, counts.specificity, self.auc[key])
            for name, key, counts in (
                ("apparent (on the cases fitted on)", "apparent", self.apparent),
                (f"{self.folds}-fold, by patient", "crossvalidated", self.crossvalidated),
            )
        ]
        name = f"optimism-corrected ({self.draws} bootstrap draws)"
        rows.append((name, self.corrected_accuracy, None, None, self.auc["optimism-corrected"]))
        note = (
            f"Logistic model of the fifteen signs with {PENALTY_NAMES[self.penalty]}, fitted to {len(self.cases)} "
            f"cases; {len(self.left_out)} more were left out because a sign was not assessed. Only the last two rows "
            "estimate performance in new patients; the precision of the last is that of the interval above it."
        )
        return ResultTable(
            f"signmodel_{self.penalty}",
            f"Signs together: logistic model, {PENALTY_NAMES[self.penalty]}",
            ("judged", "accuracy", "sensitivity", "specificity", "AUC"),
            tuple(rows),
            note,
        )

    @property
    def coefficient_table(self) -> ResultTable:
        """Coefficients with standard errors, but no Wald intervals, which mislead if signs separate the classes."""
        names = ("intercept", *(sign.label for sign in SIGNS))
        errors = [None if np.isnan(error) else float(error) for error in self.fit.standard_errors]
        rows = tuple(zip(names, map(float, self.fit.coefficients), errors, strict=True))
        columns = ("sign", "log odds ratio", "standard error")
        note = "A sign that no case shows, or that the others determine, has a coefficient of 0 and no standard error."
        return ResultTable(f"signmodel_{self.penalty}_coefficients", "Coefficients of the signs", columns, rows, note)


def fit_sign_model(
    scores: Mapping[str, Mapping[str, Score]],
    truth: Mapping[str, Diagnosis],
    rng: np.random.Generator,
    *,
    penalty: str = "firth",
    folds: int = 10,
    draws: int = 200,
    participants: Mapping[str, str] | None = None,
) -> SignModel:
    """Fit and evaluate a logistic model of the diagnosis on one reader's signs (Yeh 2022, Results).

    Parameters
    ----------
    scores : mapping of str to mapping
        By case; see :func:`spinefx.statistics.signs.scores_by_case`.
    truth : mapping of str to Diagnosis
        By case.
    rng : numpy.random.Generator
        Assigns the folds and draws the bootstrap samples.
    penalty : {'firth', 'l2'}
        Plain maximum likelihood is not offered: its estimates do not exist for signs that separate the classes.
    folds : int
        Reduced if a class has fewer patients.
    draws : int
        Number of bootstrap samples, each of patients within their class (Harrell FE et al. Stat Med 1996;15:361-387).
    participants : mapping of str to str, optional
        Participant of each case, needed if some have several; folds and samples keep their cases together.

    Returns
    -------
    SignModel

    Raises
    ------
    InputError
        If a class has fewer than two patients, a patient has both diagnoses, or the penalty is unknown.
    """
    if penalty not in PENALTY_NAMES:
        raise InputError(f"penalty {penalty!r}", where="sign model", allowed=", ".join(PENALTY_NAMES))
    complete = {
        case: scores[case]
        for case in sorted(truth)
        if case in scores and Score.NOT_ASSESSABLE not in scores[case].values()
    }
    cases = tuple(complete)
    features = np.array([[complete[case][name] == Score.YES for name in SIGN_IDENTIFIERS] for case in cases], float)
    malignant = np.array([truth[case] == Diagnosis.MALIGNANT for case in cases])
    patients = _cases_by_patient(cases, malignant, participants)
    fold_of = _assign_folds(patients, folds, rng)
    fit = fit_logistic(features, malignant, penalty)
    left_out = np.full(len(cases), np.nan)
    for number in range(fold_of.max() + 1):
        test = fold_of == number
        left_out[test] = fit_logistic(features[~test], malignant[~test], penalty).predict(features[test])
    apparent = fit.predict(features)
    accuracy, area = _optimism(features, malignant, patients, penalty, draws, rng)
    auc = {
        "apparent": auc_estimate(apparent, malignant),
        "crossvalidated": auc_estimate(left_out, malignant),
    }
    return SignModel(
        penalty,
        fit,
        cases,
        tuple(sorted(set(truth) - set(cases))),
        int(fold_of.max()) + 1,
        _confusion(apparent, malignant),
        _confusion(left_out, malignant),
        left_out,
        auc | {"optimism-corrected": _optimism_corrected(auc["apparent"].value, area)},
        _optimism_corrected(float(np.mean((apparent >= THRESHOLD) == malignant)), accuracy),
        draws,
    )


def _cases_by_patient(
    cases: Sequence[str], malignant: NDArray[np.bool_], participants: Mapping[str, str] | None
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return the indices of each patient's cases, for malignant and for benign patients."""
    owned: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        owned.setdefault(case if participants is None else participants[case], []).append(place)
    mixed = [owner for owner, places in owned.items() if len({bool(malignant[place]) for place in places}) > 1]
    if mixed:
        raise InputError(
            "a patient with both diagnoses", where=mixed[0], allowed="one", remedy="Leave the patient out."
        )
    classes = [
        [np.array(places) for places in owned.values() if bool(malignant[places[0]]) == wanted]
        for wanted in (True, False)
    ]
    if min(map(len, classes)) < 2:
        found = f"{len(classes[0])} malignant and {len(classes[1])} benign patients with all signs assessed"
        raise InputError(found, where="sign model", allowed="two or more of each")
    return classes[0], classes[1]


def _assign_folds(
    patients: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the fold of every case; each class is assigned separately."""
    folds = max(2, min(folds, *map(len, patients)))
    fold_of = np.empty(sum(len(places) for of_class in patients for places in of_class), np.int64)
    for number, of_class in enumerate(patients):
        for turn, patient in enumerate(rng.permutation(len(of_class))):
            # The second class starts from the last fold, so that not both classes fill up the first folds.
            fold_of[of_class[patient]] = (turn if number == 0 else -1 - turn) % folds
    return fold_of


def _optimism(
    features: NDArray[np.float64],
    malignant: NDArray[np.bool_],
    patients: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]],
    penalty: str,
    draws: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracy and area of each bootstrap model, on its sample and on all cases, each of shape (draw, 2)."""
    accuracy, area = np.empty((draws, 2)), np.empty((draws, 2))
    for draw in range(draws):
        taken = np.concatenate([p[i] for p in patients for i in rng.integers(len(p), size=len(p))])
        fit = fit_logistic(features[taken], malignant[taken], penalty)
        predicted = fit.predict(features)
        for column, (probability, truth) in enumerate(((predicted[taken], malignant[taken]), (predicted, malignant))):
            accuracy[draw, column] = np.mean((probability >= THRESHOLD) == truth)
            area[draw, column] = structural_components(probability, truth).values[0]
    return accuracy, area


def _optimism_corrected(apparent: float, drawn: NDArray[np.float64]) -> Estimate:
    if len(drawn) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no bootstrap samples")
    # The usual interval (apparent values of the samples, shifted: Noma H et al. Stat Med 2021;40:5691-5701) has hardly
    # any width if every sample is fitted almost without error, as happens with these signs.
    note = "no interval: see that of the cross-validation"
    return Estimate(apparent - float(np.mean(drawn[:, 0] - drawn[:, 1])), np.nan, np.nan, note=note)


def _confusion(probability: NDArray[np.float64], malignant: NDArray[np.bool_]) -> Confusion:
    called = probability >= THRESHOLD
    return Confusion(
        tp=int(np.sum(called & malignant)),
        tn=int(np.sum(~called & ~malignant)),
        fn=int(np.sum(~called & malignant)),
        fp=int(np.sum(called & ~malignant)),
    )
