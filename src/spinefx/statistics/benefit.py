"""What acting on a probability would bring: decision curves, and what a second model would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.errors import InputError
from spinefx.statistics.calibration import checked_probabilities
from spinefx.statistics.estimate import Estimate, Pairing, PValue, normal_quantile, normal_test
from spinefx.statistics.table import ResultTable

__all__ = [
    "DecisionCurve",
    "Reclassification",
    "decision_curve",
    "discrimination_by_class",
    "discrimination_improvement",
    "reclassification",
]


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit of acting on cases at or above a threshold, per case seen.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (threshold,)
        Probability at which one would act.
    benefit, low, high : ndarray of float64, shape (threshold,)
        True positives less false positives at the threshold's exchange rate, with a pointwise 95% band.
    act_on_all : ndarray of float64, shape (threshold,)
        The same of acting on every case; acting on none brings 0.
    advantage, advantage_low, advantage_high : ndarray of float64, shape (threshold,)
        Net benefit over the better of acting on all and on none, with a pointwise 95% band.
    positive_rate, true_positive_rate, false_positive_rate : ndarray of float64, shape (threshold,)
        Shares of all cases.
    n : int
    """

    thresholds: NDArray[np.float64]
    benefit: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    act_on_all: NDArray[np.float64]
    advantage: NDArray[np.float64]
    advantage_low: NDArray[np.float64]
    advantage_high: NDArray[np.float64]
    positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    n: int

    @property
    def interventions_avoided(self) -> NDArray[np.float64]:
        """Actions spared per case against acting on all, at no loss of true positives, shape (threshold,); NaN at 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            spared = (self.benefit - self.act_on_all) * (1 - self.thresholds) / self.thresholds
        return np.where(self.thresholds > 0, spared, np.nan)

    def table(self) -> ResultTable:
        """Set the curve out, a row a threshold.

        Returns
        -------
        ResultTable
        """
        net, gain = (
            [Estimate(float(value), float(low), float(high)) for value, low, high in zip(*band, strict=True)]
            for band in ((self.benefit, self.low, self.high), (self.advantage, self.advantage_low, self.advantage_high))
        )
        rows = tuple(zip(map(float, self.thresholds), net, map(float, self.act_on_all), gain, strict=True))
        columns = ("threshold", "net benefit", "acting on all", "over the better of all and none")
        note = f"{self.n} cases; per case seen, with pointwise 95% bands. Acting on none brings 0."
        return ResultTable("decision", "Decision curve", columns, rows, note)


@dataclass(frozen=True)
class Reclassification:
    """How a second model moves cases, up or down, within each class.

    Parameters
    ----------
    malignant, benign : Estimate
        Share of malignant cases moved up less that moved down; of benign cases moved down less that moved up.
    up_malignant, down_malignant, up_benign, down_benign : float
        Shares moved.
    net : PValue
        Net reclassification improvement, the sum of both. It rewards movement, useful or not: read it with the decision
        curve.
    """

    malignant: Estimate
    benign: Estimate
    up_malignant: float
    down_malignant: float
    up_benign: float
    down_benign: float
    net: PValue


def decision_curve(
    probabilities: ArrayLike, malignant: ArrayLike, thresholds: ArrayLike | None = None, confidence: float = 0.95
) -> DecisionCurve:
    """Weigh true against false positives over thresholds (Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574).

    Parameters
    ----------
    probabilities : array_like, shape (case,)
        Of malignancy; well calibrated, or the curve flatters nobody.
    malignant : array_like of bool, shape (case,)
    thresholds : array_like, shape (threshold,), optional
        0 or more, below 1; 0 means as good as 0, so that a probability of 0 stays below. By default 0.01 to 0.99.
    confidence : float

    Returns
    -------
    DecisionCurve
        Net benefit is a mean over cases, so that its error is that of a mean.

    Raises
    ------
    InputError
        When a class is missing, a probability or a threshold is out of range, or the lengths differ.
    """
    p, y = checked_probabilities(probabilities, malignant)
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.atleast_1d(np.asarray(thresholds, float))
    if not ((at >= 0) & (at < 1)).all():
        raise InputError("a threshold outside 0 to 1", where="decision curve", allowed="0 or more, below 1")
    z = normal_quantile(confidence)
    called = p >= np.maximum(at, np.finfo(float).eps)[:, None]
    # What one case is worth if acted on: 1, or the loss that the threshold puts on a false positive.
    worth = np.where(y, 1.0, -(at / (1 - at))[:, None])
    each = np.where(called, worth, 0.0)
    all_acted = worth.mean(axis=1)
    over = each - np.where(all_acted[:, None] > 0, worth, 0.0)
    reach, over_reach = (z * values.std(axis=1, ddof=1) / np.sqrt(y.size) for values in (each, over))
    net, gain = each.mean(axis=1), over.mean(axis=1)
    return DecisionCurve(
        at,
        net,
        net - reach,
        net + reach,
        all_acted,
        gain,
        gain - over_reach,
        gain + over_reach,
        called.mean(axis=1),
        (called & y).mean(axis=1),
        (called & ~y).mean(axis=1),
        y.size,
    )


def reclassification(
    first: ArrayLike, second: ArrayLike, malignant: ArrayLike, cuts: Sequence[float] | None = None
) -> Reclassification:
    """Net reclassification improvement of a second model over a first (Pencina MJ et al. Stat Med 2011;30:11-21).

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy by the two models.
    malignant : array_like of bool, shape (case,)
    cuts : sequence of float, optional
        Limits of risk categories (a case at a limit is in the upper one); without them every change counts.

    Returns
    -------
    Reclassification

    Raises
    ------
    InputError
        When a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    before, y = checked_probabilities(first, malignant)
    after, _ = checked_probabilities(second, malignant)
    if cuts is not None:
        limits = np.sort(cuts)
        before, after = (np.searchsorted(limits, values, side="right").astype(float) for values in (before, after))
    moved = np.sign(after - before)
    shares, variances = [], []
    for group, sign in ((moved[y], 1.0), (moved[~y], -1.0)):
        shares.append((float(np.mean(group > 0)), float(np.mean(group < 0)), sign * float(np.mean(group))))
        variances.append((shares[-1][0] + shares[-1][1] - shares[-1][2] ** 2) / group.size)
    kind = "category-free" if cuts is None else f"categories cut at {', '.join(f'{cut:g}' for cut in sorted(cuts))}"
    net = _tested(
        shares[0][2] + shares[1][2], sum(variances), f"net reclassification improvement, {kind}", "NRI", y.size
    )
    parts = [_interval(share[2], variance) for share, variance in zip(shares, variances, strict=True)]
    return Reclassification(parts[0], parts[1], shares[0][0], shares[0][1], shares[1][0], shares[1][1], net)


def discrimination_improvement(first: ArrayLike, second: ArrayLike, malignant: ArrayLike) -> PValue:
    """Integrated discrimination improvement, second model over first (Pencina MJ et al. Stat Med 2008;27:157-172).

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy by the two models.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    PValue
        Of the gain in mean probability among malignant less that among benign cases; without a p where a class has one
        case.

    Raises
    ------
    InputError
        When a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    groups = _gains(first, second, malignant)
    n, value = sum(group.size for group in groups), float(groups[0].mean() + groups[1].mean())
    quantity = "integrated discrimination improvement, second over first"
    if min(group.size for group in groups) < 2:
        note = "a class of one case leaves no variance"
        return PValue(np.nan, "IDI", quantity, Estimate(value, np.nan, np.nan), n, Pairing.PAIRED, note=note)
    return _tested(value, sum(float(group.var(ddof=1)) / group.size for group in groups), quantity, "IDI", n)


def discrimination_by_class(first: ArrayLike, second: ArrayLike, malignant: ArrayLike) -> tuple[Estimate, Estimate]:
    """Give the two parts of the integrated discrimination improvement.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy by the two models.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    malignant, benign : Estimate
        Mean rise of the probability among malignant cases, and mean fall among benign ones; no limits, and a note, for
        a class of one case.

    Raises
    ------
    InputError
        When a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    note = "a class of one case leaves no variance"
    one, other = (
        _interval(float(group.mean()), float(group.var(ddof=1)) / group.size)
        if group.size > 1
        else Estimate(float(group.mean()), np.nan, np.nan, note=note)
        for group in _gains(first, second, malignant)
    )
    return one, other


def _gains(
    first: ArrayLike, second: ArrayLike, malignant: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise of malignant cases' probabilities, fall of benign ones'."""
    before, y = checked_probabilities(first, malignant)
    after, _ = checked_probabilities(second, malignant)
    return (after - before)[y], (before - after)[~y]


def _interval(value: float, variance: float) -> Estimate:
    reach = normal_quantile(0.95) * float(np.sqrt(max(variance, 0.0)))
    return Estimate(value, value - reach, value + reach)


def _tested(value: float, variance: float, quantity: str, name: str, n: int) -> PValue:
    estimate = _interval(value, variance)
    if variance < 1e-30:
        note = "the second moves no case" if value == 0 else "all cases move alike: no variance"
        p = 1.0 if value == 0 else np.nan
        return PValue(p, f"{name}, z", quantity, estimate, n, Pairing.PAIRED, note=note)
    statistic = value / float(np.sqrt(variance))
    return PValue(normal_test(statistic), f"{name}, z", quantity, estimate, n, Pairing.PAIRED, statistic=statistic)
