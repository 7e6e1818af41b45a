"""How well the fifteen signs together tell the diagnosis, and how much of that is flattery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.delong import areas_with_covariance, auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.logistic import LogisticFit, fit_logistic
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, Diagnosis, Score

__all__ = ["SignModel", "fit_sign_model"]

THRESHOLD = 0.5
PENALTY_NAMES = {"firth": "Firth's penalty", "l2": "ridge (C = 1)"}


@dataclass(frozen=True, eq=False)
class SignModel:
    """A logistic model of the signs, judged in three ways.

    Parameters
    ----------
    penalty : str
    fit : LogisticFit
        On all cases.
    cases : tuple of str
        That the model was fitted on, in order.
    left_out : tuple of str
        Cases with a sign that could not be assessed, or without scores.
    folds : int
    apparent, crossvalidated : Confusion
        At a probability of 0.5: on the cases fitted on, and on folds left out, by patient.
    crossvalidated_probabilities : ndarray of float64, shape (case,)
        Each from the model that never saw the patient.
    auc : mapping of str to Estimate
        ``apparent``, ``crossvalidated`` and ``optimism-corrected``.
    corrected_accuracy : Estimate
        The apparent accuracy less the bootstrap's mean optimism; without limits.
    draws : int
        Of the bootstrap.
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

    def table(self) -> ResultTable:
        """Set the three judgements side by side.

        Returns
        -------
        ResultTable
        """
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
            f"Logistic model of the fifteen signs with {PENALTY_NAMES[self.penalty]}: {len(self.cases)} cases, and "
            f"{len(self.left_out)} left out for a sign that was not assessed. Only the last two rows say anything of "
            "new patients; for the precision of the last, see the interval of the one above."
        )
        return ResultTable(
            f"signmodel_{self.penalty}",
            f"Signs together: logistic model, {PENALTY_NAMES[self.penalty]}",
            ("judged", "accuracy", "sensitivity", "specificity", "AUC"),
            tuple(rows),
            note,
        )

    def coefficients(self) -> ResultTable:
        """Give the coefficients of the model fitted on all cases.

        Returns
        -------
        ResultTable
            Standard errors without limits: Wald's intervals mislead where signs separate the classes.
        """
        names = ("intercept", *(sign.label for sign in SIGNS))
        errors = [None if np.isnan(error) else float(error) for error in self.fit.errors]
        rows = tuple(zip(names, map(float, self.fit.coefficients), errors, strict=True))
        columns = ("sign", "log odds ratio", "standard error")
        note = "A sign that the others determine, or that nobody has, has a coefficient of 0 and no error."
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
    """Fit the signs of one reader to the diagnosis, and judge the fit (Yeh 2022, Results).

    Parameters
    ----------
    scores : mapping of str to mapping
        By case; see :func:`spinefx.statistics.signs.scores_by_case`.
    truth : mapping of str to Diagnosis
    rng : numpy.random.Generator
        Deals the folds and draws the bootstrap.
    penalty : {'firth', 'l2'}
        The plain maximum of likelihood does not exist for such signs, so it is not offered.
    folds : int
        Fewer where a class has fewer patients.
    draws : int
        Bootstrap samples of patients within their class (Harrell FE et al. Stat Med 1996;15:361-387).
    participants : mapping of str to str, optional
        Whose case each is, where a patient has several; folds and draws keep a patient's cases together.

    Returns
    -------
    SignModel

    Raises
    ------
    InputError
        When a class has fewer than two patients, a patient has both diagnoses, or the penalty is unknown.
    """
    if penalty not in PENALTY_NAMES:
        raise InputError(f"the penalty {penalty!r}", where="sign model", allowed=", ".join(PENALTY_NAMES))
    whole = {
        case: scores[case]
        for case in sorted(truth)
        if case in scores and Score.NOT_ASSESSABLE not in scores[case].values()
    }
    cases = tuple(whole)
    features = np.array([[whole[case][name] == Score.YES for name in SIGN_IDENTIFIERS] for case in cases], float)
    malignant = np.array([truth[case] == Diagnosis.MALIGNANT for case in cases])
    members = _patients(cases, malignant, participants)
    dealt = _deal(members, folds, rng)
    fit = fit_logistic(features, malignant, penalty)
    left_out = np.full(len(cases), np.nan)
    for number in range(dealt.max() + 1):
        test = dealt == number
        left_out[test] = fit_logistic(features[~test], malignant[~test], penalty).predict(features[test])
    apparent = fit.predict(features)
    accuracy, area = _optimism(features, malignant, members, penalty, draws, rng)
    auc = {
        "apparent": auc_estimate(apparent, malignant),
        "crossvalidated": auc_estimate(left_out, malignant),
    }
    return SignModel(
        penalty,
        fit,
        cases,
        tuple(sorted(set(truth) - set(cases))),
        int(dealt.max()) + 1,
        _confusion(apparent, malignant),
        _confusion(left_out, malignant),
        left_out,
        auc | {"optimism-corrected": _corrected(auc["apparent"].value, area)},
        _corrected(float(np.mean((apparent >= THRESHOLD) == malignant)), accuracy),
        draws,
    )


def _patients(
    cases: Sequence[str], malignant: NDArray[np.bool_], participants: Mapping[str, str] | None
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Places of each patient's cases: of malignant patients, and of benign ones."""
    owned: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        owned.setdefault(case if participants is None else participants[case], []).append(place)
    mixed = [owner for owner, places in owned.items() if len({bool(malignant[place]) for place in places}) > 1]
    if mixed:
        raise InputError("a patient with both diagnoses", where=mixed[0], remedy="Leave the patient out.")
    classes = [
        [np.array(places) for places in owned.values() if bool(malignant[places[0]]) == wanted]
        for wanted in (True, False)
    ]
    if min(map(len, classes)) < 2:
        found = f"{len(classes[0])} malignant and {len(classes[1])} benign patients with every sign assessed"
        raise InputError(found, where="sign model", allowed="two or more of each")
    return classes[0], classes[1]


def _deal(
    members: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Number of the fold of every case; each class is dealt by itself."""
    folds = max(2, min(folds, *map(len, members)))
    dealt = np.empty(sum(len(places) for patients in members for places in patients), np.int64)
    for patients, first in zip(members, (0, 1), strict=True):
        for turn, patient in enumerate(rng.permutation(len(patients))):
            # From the other end for the second class, so that uneven classes do not both fill the first folds.
            dealt[patients[patient]] = (turn if first == 0 else -1 - turn) % folds
    return dealt


def _optimism(
    features: NDArray[np.float64],
    malignant: NDArray[np.bool_],
    members: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]],
    penalty: str,
    draws: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and area of every draw: on the draw, and of the same model on all cases; shape (draw, 2) each."""
    accuracy, area = np.empty((draws, 2)), np.empty((draws, 2))
    for draw in range(draws):
        taken = np.concatenate([p[i] for p in members for i in rng.integers(len(p), size=len(p))])
        fit = fit_logistic(features[taken], malignant[taken], penalty)
        everyone = fit.predict(features)
        for column, (probability, answer) in enumerate(((everyone[taken], malignant[taken]), (everyone, malignant))):
            accuracy[draw, column] = np.mean((probability >= THRESHOLD) == answer)
            area[draw, column] = areas_with_covariance(probability, answer)[0][0]
    return accuracy, area


def _corrected(apparent: float, drawn: NDArray[np.float64]) -> Estimate:
    if len(drawn) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="no bootstrap draw")
    # The usual interval (the draws' apparent values, shifted: Noma H et al. Stat Med 2021;40:5691-5701) has hardly any
    # width where every draw is fitted almost without error, as these signs are.
    note = "no interval: see the folds'"
    return Estimate(apparent - float(np.mean(drawn[:, 0] - drawn[:, 1])), np.nan, np.nan, note=note)


def _confusion(probability: NDArray[np.float64], malignant: NDArray[np.bool_]) -> Confusion:
    called = probability >= THRESHOLD
    return Confusion(
        tp=int(np.sum(called & malignant)),
        tn=int(np.sum(~called & ~malignant)),
        fn=int(np.sum(~called & malignant)),
        fp=int(np.sum(called & ~malignant)),
    )
