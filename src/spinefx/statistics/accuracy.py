"""Measures of diagnostic accuracy: the confusion table, its proportions and ratios, and the ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate, clopper_pearson, delta_variance, normal_quantile, wilson
from spinefx.vocabulary import Diagnosis

__all__ = [
    "Confusion",
    "Roc",
    "check_truth",
    "diagnostic_odds_ratio",
    "kappa",
    "likelihood_ratios",
    "majority_baseline",
    "mcc",
    "predictive_values",
]


@dataclass(frozen=True)
class Confusion:
    """A confusion table; malignant is positive.

    Parameters
    ----------
    tp, tn, fn, fp : int
        True positives, true negatives, false negatives and false positives.
    """

    tp: int
    tn: int
    fn: int
    fp: int

    @classmethod
    def of(cls, diagnoses: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]) -> Confusion:
        """Count diagnoses against the truth.

        Parameters
        ----------
        diagnoses, truth : mapping of str to Diagnosis
            By case, or by slice or any other unit; the truth may hold more cases than were diagnosed.

        Returns
        -------
        Confusion

        Raises
        ------
        InputError
            If a diagnosed case has no truth.
        """
        check_truth(diagnoses, truth)
        pairs = [(diagnosis, truth[case]) for case, diagnosis in diagnoses.items()]
        malignant, benign = Diagnosis.MALIGNANT, Diagnosis.BENIGN
        return cls(
            tp=pairs.count((malignant, malignant)),
            tn=pairs.count((benign, benign)),
            fn=pairs.count((benign, malignant)),
            fp=pairs.count((malignant, benign)),
        )

    @property
    def proportions(self) -> dict[str, tuple[int, int]]:
        """Successes and trials of sensitivity, specificity, accuracy and predictive values, by name."""
        return {
            "sensitivity": (self.tp, self.tp + self.fn),
            "specificity": (self.tn, self.tn + self.fp),
            "accuracy": (self.tp + self.tn, self.tp + self.tn + self.fn + self.fp),
            "ppv": (self.tp, self.tp + self.fp),
            "npv": (self.tn, self.tn + self.fn),
        }

    @property
    def sensitivity(self) -> Estimate:
        """Proportion of malignant cases called malignant, with Wilson's interval."""
        return wilson(*self.proportions["sensitivity"])

    @property
    def specificity(self) -> Estimate:
        """Proportion of benign cases called benign, with Wilson's interval."""
        return wilson(*self.proportions["specificity"])

    @property
    def accuracy(self) -> Estimate:
        """Proportion of cases diagnosed correctly, with Wilson's interval."""
        return wilson(*self.proportions["accuracy"])

    @property
    def ppv(self) -> Estimate:
        """Positive predictive value at this cohort's prevalence, with Wilson's interval."""
        return wilson(*self.proportions["ppv"])

    @property
    def npv(self) -> Estimate:
        """Negative predictive value at this cohort's prevalence, with Wilson's interval."""
        return wilson(*self.proportions["npv"])

    def exact(self, name: str) -> Estimate:
        """Return a proportion with the exact (Clopper-Pearson) interval.

        Parameters
        ----------
        name : str
            A key of :attr:`proportions`.

        Returns
        -------
        Estimate
        """
        return clopper_pearson(*self.proportions[name])


def likelihood_ratios(confusion: Confusion, confidence: float = 0.95) -> tuple[Estimate, Estimate]:
    """Estimate the positive and the negative likelihood ratio.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    positive, negative : Estimate
        By how much a malignant and a benign call multiply the odds of malignancy. Intervals are symmetric on the log
        scale. If a cell is empty the value is 0 or infinite, and the other limit is computed with half a case added to
        every cell; the note says so.

    Notes
    -----
    Simel DL et al. J Clin Epidemiol 1991;44:763-770.
    """
    tp, fn, fp, tn = (confusion.tp, confusion.fn, confusion.fp, confusion.tn)
    return _risk_ratio(tp, tp + fn, fp, fp + tn, confidence), _risk_ratio(fn, tp + fn, tn, fp + tn, confidence)


def diagnostic_odds_ratio(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Estimate the diagnostic odds ratio: the odds of a malignant call in malignant over those in benign cases.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        The interval is symmetric on the log scale; empty cells as for :func:`likelihood_ratios`.
    """
    cells = np.array([confusion.tp, confusion.fn, confusion.fp, confusion.tn], float)
    tp, fn, fp, tn = cells
    if min(tp + fn, fp + tn) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="a class has no cases")
    shifted = cells if cells.all() else cells + 0.5
    centre = np.log(shifted[0] * shifted[3] / shifted[1] / shifted[2])
    return _log_interval(tp * tn, fn * fp, centre, float(np.sum(1 / shifted)), confidence)


def predictive_values(confusion: Confusion, prevalence: float, confidence: float = 0.95) -> tuple[Estimate, Estimate]:
    """Estimate the predictive values at a stated prevalence.

    Parameters
    ----------
    confusion : Confusion
    prevalence : float
        Proportion of malignant cases, above 0 and below 1; taken as known.
    confidence : float

    Returns
    -------
    ppv, npv : Estimate
        Computed from the likelihood ratios and their intervals.

    Raises
    ------
    InputError
        If the prevalence is not between 0 and 1.

    Notes
    -----
    Mercaldo ND et al. Stat Med 2007;26:2170-2183.
    """
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence {prevalence}", allowed="a value above 0 and below 1")
    odds = prevalence / (1 - prevalence)
    positive, negative = likelihood_ratios(confusion, confidence)
    ppv, ppv_low, ppv_high = (_probability(odds * ratio) for ratio in (positive.value, positive.low, positive.high))
    npv, npv_low, npv_high = (1 - _probability(odds * ratio) for ratio in (negative.value, negative.high, negative.low))
    return Estimate(ppv, ppv_low, ppv_high, note=positive.note), Estimate(npv, npv_low, npv_high, note=negative.note)


def kappa(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Estimate Cohen's kappa, the chance-corrected agreement of the diagnoses with the truth.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        With an interval by the delta method on Fisher's z scale; NaN if all cases, or all diagnoses, are of one class.
    """

    def of(cells: NDArray[np.complex128]) -> complex:
        tp, fn, fp, tn = cells / cells.sum()
        chance = (tp + fn) * (tp + fp) + (fp + tn) * (fn + tn)
        return complex((tp + tn - chance) / (1 - chance))

    return _agreement(of, confusion, confidence)


def mcc(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Estimate Matthews' correlation coefficient of the diagnoses with the truth.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        With an interval as for :func:`kappa`.
    """

    def of(cells: NDArray[np.complex128]) -> complex:
        tp, fn, fp, tn = cells
        margins = (tp + fn) * (tp + fp) * (fp + tn) * (fn + tn)
        return complex((tp * tn - fp * fn) / np.sqrt(margins))

    return _agreement(of, confusion, confidence)


@dataclass(frozen=True, eq=False)
class Roc:
    """An empirical ROC curve.

    Parameters
    ----------
    false_positive_rate, true_positive_rate : ndarray of float64, shape (threshold,)
        From (0, 0) to (1, 1).
    thresholds : ndarray of float64, shape (threshold,)
        A case scored at or above a threshold is called malignant; the first is infinite.
    auc : Estimate
        Area under the curve by the trapezoid rule (ties count half), with DeLong's interval on the logit scale.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    auc: Estimate

    @classmethod
    def of(cls, scores: ArrayLike, malignant: ArrayLike) -> Roc:
        """Compute the curve.

        Parameters
        ----------
        scores : array_like, shape (case,)
            Higher means more likely malignant.
        malignant : array_like of bool, shape (case,)

        Returns
        -------
        Roc

        Raises
        ------
        InputError
            If a class is missing or a score is not finite.
        """
        values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
        if not truth.any() or truth.all():
            raise InputError("a ROC curve of one class", allowed="at least one malignant and one benign case")
        if np.isnan(values).any() or np.isposinf(values).any():
            raise InputError("scores that are not finite", allowed="finite scores; minus infinity is the lowest")
        thresholds = np.concatenate([[np.inf], np.unique(values)[::-1]])
        positives, negatives = np.sort(values[truth]), np.sort(values[~truth])
        tpr = 1 - np.searchsorted(positives, thresholds, side="left") / positives.size
        fpr = 1 - np.searchsorted(negatives, thresholds, side="left") / negatives.size
        return cls(fpr, tpr, thresholds, auc_estimate(values, truth))


def majority_baseline(truth: Mapping[str, Diagnosis]) -> tuple[Diagnosis, Confusion]:
    """Return the confusion table of always choosing the more common diagnosis.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.

    Returns
    -------
    diagnosis : Diagnosis
        The more common one; benign if both are equally common.
    confusion : Confusion
    """
    malignant = sum(diagnosis == Diagnosis.MALIGNANT for diagnosis in truth.values())
    commoner = Diagnosis.MALIGNANT if malignant > len(truth) / 2 else Diagnosis.BENIGN
    return commoner, Confusion.of(dict.fromkeys(truth, commoner), truth)


def check_truth(cases: Iterable[str], truth: Mapping[str, Diagnosis]) -> None:
    """Check that every diagnosed case has a truth.

    Parameters
    ----------
    cases : iterable of str
    truth : mapping of str to Diagnosis
        By case.

    Raises
    ------
    InputError
        If a case has no truth.
    """
    diagnosed = set(cases)
    unknown = sorted(diagnosed - set(truth))
    if unknown:
        found = f"{len(unknown)} of {len(diagnosed)} diagnosed cases without a truth, the first being {unknown[0]}"
        raise InputError(found, allowed="a truth for every case")


def _agreement(of: Callable[[NDArray[np.complex128]], complex], confusion: Confusion, confidence: float) -> Estimate:
    cells = np.array([confusion.tp, confusion.fn, confusion.fp, confusion.tn], float)
    tp, fn, fp, tn = cells
    if min(tp + fn, fp + tn) == 0 or max(tp + fp, fn + tn) == cells.sum():
        return Estimate(np.nan, np.nan, np.nan, note="all cases or all diagnoses are of one class")
    value = of(cells.astype(complex)).real
    if abs(value) > 1 - 1e-12:
        return Estimate(value, np.nan, np.nan, note="agreement is perfect, so the variance cannot be estimated")
    half_width = normal_quantile(confidence) * np.sqrt(delta_variance(of, cells)) / (1 - value**2)
    low, high = (float(np.tanh(np.arctanh(value) + sign * half_width)) for sign in (-1, 1))
    return Estimate(value, low, high)


def _risk_ratio(k1: int, n1: int, k2: int, n2: int, confidence: float) -> Estimate:
    if min(n1, n2) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="a class has no cases")
    half = 0.0 if min(k1, k2) > 0 else 0.5
    a, b, m, n = k1 + half, k2 + half, n1 + 2 * half, n2 + 2 * half
    return _log_interval(k1 * n2, k2 * n1, np.log(a / m / (b / n)), 1 / a - 1 / m + 1 / b - 1 / n, confidence)


def _log_interval(above: float, below: float, centre: float, variance: float, confidence: float) -> Estimate:
    """Return the ratio of two numbers, with limits symmetric about ``centre`` on the log scale."""
    if above == below == 0:
        return Estimate(np.nan, np.nan, np.nan, note="0 divided by 0")
    half_width = normal_quantile(confidence) * np.sqrt(variance)
    low, high = float(np.exp(centre - half_width)), float(np.exp(centre + half_width))
    note = "a cell is empty: limit computed with half a case added to each"
    if above == 0:
        return Estimate(0.0, 0.0, high, note=note)
    if below == 0:
        return Estimate(np.inf, low, np.inf, note=note)
    return Estimate(above / below, low, high)


def _probability(odds: float) -> float:
    return 1.0 if np.isinf(odds) else odds / (1 + odds)
