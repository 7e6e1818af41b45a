"""How often a reader is right: counts, proportions with their intervals, and the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.vocabulary import Diagnosis

__all__ = ["Confusion", "Estimate", "Roc", "majority_baseline", "wilson"]

NORMAL_975 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, and the counts behind it where it is a proportion.

    Parameters
    ----------
    value, low, high : float
        NaN where there is nothing to estimate from.
    k, n : int or None
        Successes and trials of a proportion.
    """

    value: float
    low: float
    high: float
    k: int | None = None
    n: int | None = None

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "n/a"
        if self.n is None:
            return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{100 * self.value:.0f}% ({self.k}/{self.n}) [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def wilson(k: int, n: int, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's score interval.

    Parameters
    ----------
    k, n : int
        Successes and trials.
    confidence : float

    Returns
    -------
    Estimate
        NaN for no trials.

    Notes
    -----
    Wilson EB. J Am Stat Assoc 1927;22:209-212.
    """
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, k, n)
    interval = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    return Estimate(k / n, float(interval.low), float(interval.high), k, n)


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
    def sensitivity(self) -> Estimate:
        """Share of malignant cases called malignant, Wilson interval."""
        return wilson(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Estimate:
        """Share of benign cases called benign, Wilson interval."""
        return wilson(self.tn, self.tn + self.fp)

    @property
    def accuracy(self) -> Estimate:
        """Share of cases called rightly, Wilson interval."""
        return wilson(self.tp + self.tn, self.tp + self.tn + self.fn + self.fp)


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
        return cls(fpr, tpr, thresholds, _delong(positives, negatives))


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


def _delong(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> Estimate:
    """Area under the curve with DeLong's variance (DeLong 1988, Biometrics 44:837), interval on the logit scale."""
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    m, n = positives.size, negatives.size
    above = (ranks[:m] - stats.rankdata(positives)) / n
    below = 1 - (ranks[m:] - stats.rankdata(negatives)) / m
    area = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.0) + (below.var(ddof=1) / n if n > 1 else 0.0)
    if min(m, n) < 2 or not 0 < area < 1:
        # Perfect separation leaves DeLong no variance: the rule of three on the smaller class bounds what was not seen.
        slack = min(1.0, 3 / min(m, n))
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack))
    logit, spread = np.log(area / (1 - area)), NORMAL_975 * np.sqrt(variance) / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * spread)))) for sign in (-1, 1))
    return Estimate(area, low, high)
