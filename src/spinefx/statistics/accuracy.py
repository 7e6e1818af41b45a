"""How often a reader is right: counts, proportions with their intervals, and the ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate, clopper_pearson, delta_variance, normal_quantile, wilson
from spinefx.vocabulary import Diagnosis

__all__ = [
    "Confusion",
    "Estimate",
    "Roc",
    "diagnostic_odds_ratio",
    "kappa",
    "likelihood_ratios",
    "majority_baseline",
    "mcc",
    "predictive_values",
    "wilson",
]


@dataclass(frozen=True)
class Confusion:
    """Answers counted against the truth; malignant is positive.

    Parameters
    ----------
    tp, tn, fn, fp : int
    """

    tp: int
    tn: int
    fn: int
    fp: int

    @classmethod
    def of(cls, answers: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis]) -> Confusion:
        """Count answers against the truth.

        Parameters
        ----------
        answers, truth : mapping of str to Diagnosis
            By case, slice or whatever was answered; every answer needs its truth, the truth may know more.

        Returns
        -------
        Confusion

        Raises
        ------
        InputError
            For an answer without a truth.
        """
        strangers = sorted(set(answers) - set(truth))
        if strangers:
            raise InputError(f"{len(strangers)} answers without a truth, the first for {strangers[0]}")
        pairs = [(answer, truth[key]) for key, answer in answers.items()]
        malignant, benign = Diagnosis.MALIGNANT, Diagnosis.BENIGN
        return cls(
            tp=pairs.count((malignant, malignant)),
            tn=pairs.count((benign, benign)),
            fn=pairs.count((benign, malignant)),
            fp=pairs.count((malignant, benign)),
        )

    @property
    def proportions(self) -> dict[str, tuple[int, int]]:
        """Successes and trials of sensitivity, specificity, accuracy, and the predictive values of this cohort."""
        return {
            "sensitivity": (self.tp, self.tp + self.fn),
            "specificity": (self.tn, self.tn + self.fp),
            "accuracy": (self.tp + self.tn, self.tp + self.tn + self.fn + self.fp),
            "ppv": (self.tp, self.tp + self.fp),
            "npv": (self.tn, self.tn + self.fn),
        }

    @property
    def sensitivity(self) -> Estimate:
        """Share of malignant cases called malignant, Wilson interval."""
        return wilson(*self.proportions["sensitivity"])

    @property
    def specificity(self) -> Estimate:
        """Share of benign cases called benign, Wilson interval."""
        return wilson(*self.proportions["specificity"])

    @property
    def accuracy(self) -> Estimate:
        """Share of cases called rightly, Wilson interval."""
        return wilson(*self.proportions["accuracy"])

    @property
    def ppv(self) -> Estimate:
        """Share of malignant among cases called malignant, at this cohort's prevalence, Wilson interval."""
        return wilson(*self.proportions["ppv"])

    @property
    def npv(self) -> Estimate:
        """Share of benign among cases called benign, at this cohort's prevalence, Wilson interval."""
        return wilson(*self.proportions["npv"])

    def exact(self, name: str) -> Estimate:
        """Give a proportion with the exact (Clopper-Pearson) interval.

        Parameters
        ----------
        name : str
            One of :attr:`proportions`.

        Returns
        -------
        Estimate
        """
        return clopper_pearson(*self.proportions[name])


def likelihood_ratios(confusion: Confusion, confidence: float = 0.95) -> tuple[Estimate, Estimate]:
    """How much a malignant and a benign call multiply the odds of malignancy.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    positive, negative : Estimate
        Intervals on the log scale (Simel DL et al. J Clin Epidemiol 1991;44:763-770). Where a cell is empty the value
        is 0 or infinite and the other limit comes from half a case added to every cell; the note says so.
    """
    tp, fn, fp, tn = (confusion.tp, confusion.fn, confusion.fp, confusion.tn)
    return _risk_ratio(tp, tp + fn, fp, fp + tn, confidence), _risk_ratio(fn, tp + fn, tn, fp + tn, confidence)


def diagnostic_odds_ratio(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Odds of a malignant call in malignant over those in benign cases.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        Interval on the log scale; empty cells as in :func:`likelihood_ratios`.
    """
    cells = np.array([confusion.tp, confusion.fn, confusion.fp, confusion.tn], float)
    tp, fn, fp, tn = cells
    if min(tp + fn, fp + tn) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="a class without a case")
    shifted = cells if cells.all() else cells + 0.5
    centre = np.log(shifted[0] * shifted[3] / shifted[1] / shifted[2])
    return _log_interval(tp * tn, fn * fp, centre, float(np.sum(1 / shifted)), confidence)


def predictive_values(confusion: Confusion, prevalence: float, confidence: float = 0.95) -> tuple[Estimate, Estimate]:
    """Predictive values where malignancy is as common as stated, not as in this cohort.

    Parameters
    ----------
    confusion : Confusion
    prevalence : float
        Share of malignant cases, above 0 and below 1; taken as known.
    confidence : float

    Returns
    -------
    ppv, npv : Estimate
        From the likelihood ratios, hence with their intervals (Mercaldo ND et al. Stat Med 2007;26:2170-2183).

    Raises
    ------
    InputError
        For an impossible prevalence.
    """
    if not 0 < prevalence < 1:
        raise InputError(f"a prevalence of {prevalence}", allowed="above 0, below 1")
    odds = prevalence / (1 - prevalence)
    positive, negative = likelihood_ratios(confusion, confidence)
    ppv, ppv_low, ppv_high = (_share(odds * ratio) for ratio in (positive.value, positive.low, positive.high))
    npv, npv_low, npv_high = (1 - _share(odds * ratio) for ratio in (negative.value, negative.high, negative.low))
    return Estimate(ppv, ppv_low, ppv_high, note=positive.note), Estimate(npv, npv_low, npv_high, note=negative.note)


def kappa(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Cohen's kappa of the answers with the truth.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        Interval by the delta method on Fisher's z scale; NaN where one class or one answer is all there is.
    """

    def of(cells: NDArray[np.complex128]) -> complex:
        tp, fn, fp, tn = cells / cells.sum()
        chance = (tp + fn) * (tp + fp) + (fp + tn) * (fn + tn)
        return complex((tp + tn - chance) / (1 - chance))

    return _agreement(of, confusion, confidence)


def mcc(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Matthews' correlation of the answers with the truth.

    Parameters
    ----------
    confusion : Confusion
    confidence : float

    Returns
    -------
    Estimate
        Interval as in :func:`kappa`.
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
        A case at or above is called malignant; the first is infinite.
    auc : Estimate
        Area by the trapezoid rule (ties count half) with DeLong's interval on the logit scale.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    auc: Estimate

    @classmethod
    def of(cls, scores: ArrayLike, malignant: ArrayLike) -> Roc:
        """Draw the curve.

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
            When one of the classes is missing or a score is not finite.
        """
        values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
        if not truth.any() or truth.all():
            raise InputError("a ROC curve needs malignant and benign cases", allowed="at least one of each")
        if not np.isfinite(values).all():
            raise InputError("scores that are not finite")
        thresholds = np.concatenate([[np.inf], np.unique(values)[::-1]])
        positives, negatives = np.sort(values[truth]), np.sort(values[~truth])
        tpr = 1 - np.searchsorted(positives, thresholds, side="left") / positives.size
        fpr = 1 - np.searchsorted(negatives, thresholds, side="left") / negatives.size
        return cls(fpr, tpr, thresholds, auc_estimate(values, truth))


def majority_baseline(truth: Mapping[str, Diagnosis]) -> tuple[Diagnosis, Confusion]:
    """Count what always giving the commoner diagnosis would score.

    Parameters
    ----------
    truth : mapping of str to Diagnosis

    Returns
    -------
    tuple of Diagnosis and Confusion
        Benign where both are equally common.
    """
    malignant = sum(diagnosis == Diagnosis.MALIGNANT for diagnosis in truth.values())
    commoner = Diagnosis.MALIGNANT if malignant > len(truth) / 2 else Diagnosis.BENIGN
    return commoner, Confusion.of(dict.fromkeys(truth, commoner), truth)


def _agreement(of: Callable[[NDArray[np.complex128]], complex], confusion: Confusion, confidence: float) -> Estimate:
    cells = np.array([confusion.tp, confusion.fn, confusion.fp, confusion.tn], float)
    tp, fn, fp, tn = cells
    if min(tp + fn, fp + tn) == 0 or max(tp + fp, fn + tn) == cells.sum():
        return Estimate(np.nan, np.nan, np.nan, note="one class, or one answer, is all there is")
    value = of(cells.astype(complex)).real
    if abs(value) > 1 - 1e-12:
        return Estimate(value, np.nan, np.nan, note="agreement is perfect: no variance to estimate from")
    reach = normal_quantile(confidence) * np.sqrt(delta_variance(of, cells)) / (1 - value**2)
    low, high = (float(np.tanh(np.arctanh(value) + sign * reach)) for sign in (-1, 1))
    return Estimate(value, low, high)


def _risk_ratio(k1: int, n1: int, k2: int, n2: int, confidence: float) -> Estimate:
    if min(n1, n2) == 0:
        return Estimate(np.nan, np.nan, np.nan, note="a class without a case")
    half = 0.0 if min(k1, k2) > 0 else 0.5
    a, b, m, n = k1 + half, k2 + half, n1 + 2 * half, n2 + 2 * half
    return _log_interval(k1 * n2, k2 * n1, np.log(a / m / (b / n)), 1 / a - 1 / m + 1 / b - 1 / n, confidence)


def _log_interval(above: float, below: float, centre: float, variance: float, confidence: float) -> Estimate:
    """Ratio of two numbers with limits about ``centre``, the logarithm that they were estimated from."""
    if above == below == 0:
        return Estimate(np.nan, np.nan, np.nan, note="0 over 0")
    reach = normal_quantile(confidence) * np.sqrt(variance)
    low, high = float(np.exp(centre - reach)), float(np.exp(centre + reach))
    note = "an empty cell: limit from half a case added to each"
    if above == 0:
        return Estimate(0.0, 0.0, high, note=note)
    if below == 0:
        return Estimate(np.inf, low, np.inf, note=note)
    return Estimate(above / below, low, high)


def _share(odds: float) -> float:
    return 1.0 if np.isinf(odds) else odds / (1 + odds)
