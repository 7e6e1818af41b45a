"""Clinical benefit of probabilities: decision curves, and reclassification by a second model."""

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
    """Net benefit per case of acting on cases at or above a threshold.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (threshold,)
        Probability of malignancy from which one would act.
    benefit, low, high : ndarray of float64, shape (threshold,)
        True positives minus false positives weighted by the odds of the threshold, with a pointwise 95% band.
    act_on_all : ndarray of float64, shape (threshold,)
        Net benefit of acting on every case; that of acting on none is 0.
    advantage, advantage_low, advantage_high : ndarray of float64, shape (threshold,)
        Net benefit beyond the better of acting on all and acting on none, with a pointwise 95% band.
    positive_rate, true_positive_rate, false_positive_rate : ndarray of float64, shape (threshold,)
        Proportions of all cases.
    n : int
        Number of cases.
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
        """Interventions avoided per case at equal true positives, compared with acting on all; NaN at threshold 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            avoided = (self.benefit - self.act_on_all) * (1 - self.thresholds) / self.thresholds
        return np.where(self.thresholds > 0, avoided, np.nan)

    @property
    def table(self) -> ResultTable:
        """The curve as a table, one row per threshold."""
        net, gain = (
            [Estimate(float(value), float(low), float(high)) for value, low, high in zip(*band, strict=True)]
            for band in ((self.benefit, self.low, self.high), (self.advantage, self.advantage_low, self.advantage_high))
        )
        rows = tuple(zip(map(float, self.thresholds), net, map(float, self.act_on_all), gain, strict=True))
        columns = ("threshold", "net benefit", "acting on all", "over the better of all and none")
        note = f"{self.n} cases; net benefit per case with pointwise 95% bands. Acting on none has a net benefit of 0."
        return ResultTable("decision", "Decision curve", columns, rows, note)


@dataclass(frozen=True)
class Reclassification:
    """How a second model moves the probabilities of cases, up or down, within each class.

    Parameters
    ----------
    malignant, benign : Estimate
        Proportion of malignant cases moved up minus those moved down; of benign cases moved down minus those moved up.
    up_malignant, down_malignant, up_benign, down_benign : float
        Proportions of each class that moved.
    net : PValue
        Net reclassification improvement, the sum of both. It rewards any movement, useful or not: read it together with
        the decision curve.
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
    """Compute the decision curve: net benefit over thresholds.

    Parameters
    ----------
    probabilities : array_like, shape (case,)
        Probabilities of malignancy; they should be well calibrated.
    malignant : array_like of bool, shape (case,)
    thresholds : array_like, shape (threshold,), optional
        0 or more, below 1; at 0 cases with a probability of exactly 0 are not acted on. By default 0.01 to 0.99.
    confidence : float

    Returns
    -------
    DecisionCurve
        Net benefit is a mean over cases, and its standard error is that of a mean.

    Raises
    ------
    InputError
        If a class is missing, a probability or a threshold is out of range, or the lengths differ.

    Notes
    -----
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574.
    """
    p, y = checked_probabilities(probabilities, malignant)
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.atleast_1d(np.asarray(thresholds, float))
    if not ((at >= 0) & (at < 1)).all():
        raise InputError("a threshold out of range", where="decision curve", allowed="0 or more, below 1")
    z = normal_quantile(confidence)
    called = p >= np.maximum(at, np.finfo(float).eps)[:, None]
    # Value of acting on one case: 1 for a true positive, the loss implied by the threshold for a false positive.
    value = np.where(y, 1.0, -(at / (1 - at))[:, None])
    each = np.where(called, value, 0.0)
    act_on_all = value.mean(axis=1)
    beyond = each - np.where(act_on_all[:, None] > 0, value, 0.0)
    half_width, beyond_half_width = (z * one.std(axis=1, ddof=1) / np.sqrt(y.size) for one in (each, beyond))
    net, advantage = each.mean(axis=1), beyond.mean(axis=1)
    return DecisionCurve(
        at,
        net,
        net - half_width,
        net + half_width,
        act_on_all,
        advantage,
        advantage - beyond_half_width,
        advantage + beyond_half_width,
        called.mean(axis=1),
        (called & y).mean(axis=1),
        (called & ~y).mean(axis=1),
        y.size,
    )


def reclassification(
    first: ArrayLike, second: ArrayLike, malignant: ArrayLike, cuts: Sequence[float] | None = None
) -> Reclassification:
    """Estimate the net reclassification improvement (NRI) of a second model over a first.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy from the two models.
    malignant : array_like of bool, shape (case,)
    cuts : sequence of float, optional
        Boundaries of risk categories (a case at a boundary is in the upper one); by default every change counts.

    Returns
    -------
    Reclassification

    Raises
    ------
    InputError
        If a class is missing, a probability is outside 0 to 1, or the lengths differ.

    Notes
    -----
    Pencina MJ et al. Stat Med 2011;30:11-21.
    """
    before, y = checked_probabilities(first, malignant)
    after, _ = checked_probabilities(second, malignant)
    if cuts is not None:
        boundaries = np.sort(cuts)
        before, after = (np.searchsorted(boundaries, values, side="right").astype(float) for values in (before, after))
    moved = np.sign(after - before)
    shares, variances = [], []
    for group, sign in ((moved[y], 1.0), (moved[~y], -1.0)):
        shares.append((float(np.mean(group > 0)), float(np.mean(group < 0)), sign * float(np.mean(group))))
        variances.append((shares[-1][0] + shares[-1][1] - shares[-1][2] ** 2) / group.size)
    kind = "category-free" if cuts is None else f"categories cut at {', '.join(f'{cut:g}' for cut in sorted(cuts))}"
    net = _z_test(
        shares[0][2] + shares[1][2], sum(variances), f"net reclassification improvement, {kind}", "NRI", y.size
    )
    parts = [_interval(share[2], variance) for share, variance in zip(shares, variances, strict=True)]
    return Reclassification(parts[0], parts[1], shares[0][0], shares[0][1], shares[1][0], shares[1][1], net)


def discrimination_improvement(first: ArrayLike, second: ArrayLike, malignant: ArrayLike) -> PValue:
    """Estimate the integrated discrimination improvement (IDI) of a second model over a first.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy from the two models.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    PValue
        Of the rise in mean probability among malignant cases plus the fall among benign ones; without a p-value if a
        class has only one case.

    Raises
    ------
    InputError
        If a class is missing, a probability is outside 0 to 1, or the lengths differ.

    Notes
    -----
    Pencina MJ et al. Stat Med 2008;27:157-172.
    """
    groups = _gains(first, second, malignant)
    n, value = sum(group.size for group in groups), float(groups[0].mean() + groups[1].mean())
    quantity = "integrated discrimination improvement, second over first"
    if min(group.size for group in groups) < 2:
        note = "a class of one case leaves no variance"
        return PValue(np.nan, "IDI", quantity, Estimate(value, np.nan, np.nan), n, Pairing.PAIRED, note=note)
    return _z_test(value, sum(float(group.var(ddof=1)) / group.size for group in groups), quantity, "IDI", n)


def discrimination_by_class(first: ArrayLike, second: ArrayLike, malignant: ArrayLike) -> tuple[Estimate, Estimate]:
    """Estimate the two components of the integrated discrimination improvement.

    Parameters
    ----------
    first, second : array_like, shape (case,)
        Probabilities of malignancy from the two models.
    malignant : array_like of bool, shape (case,)

    Returns
    -------
    malignant, benign : Estimate
        Mean rise of the probability among malignant cases, and mean fall among benign ones; without limits, and with a
        note, for a class of one case.

    Raises
    ------
    InputError
        If a class is missing, a probability is outside 0 to 1, or the lengths differ.
    """
    note = "a class of one case leaves no variance"
    rise, fall = (
        _interval(float(group.mean()), float(group.var(ddof=1)) / group.size)
        if group.size > 1
        else Estimate(float(group.mean()), np.nan, np.nan, note=note)
        for group in _gains(first, second, malignant)
    )
    return rise, fall


def _gains(
    first: ArrayLike, second: ArrayLike, malignant: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rise of the probability of each malignant case, and the fall of that of each benign case."""
    before, y = checked_probabilities(first, malignant)
    after, _ = checked_probabilities(second, malignant)
    return (after - before)[y], (before - after)[~y]


def _interval(value: float, variance: float) -> Estimate:
    half_width = normal_quantile(0.95) * float(np.sqrt(max(variance, 0.0)))
    return Estimate(value, value - half_width, value + half_width)


def _z_test(value: float, variance: float, quantity: str, name: str, n: int) -> PValue:
    estimate = _interval(value, variance)
    if variance < 1e-30:
        note = "the second model moves no case" if value == 0 else "all cases move alike, so there is no variance"
        p = 1.0 if value == 0 else np.nan
        return PValue(p, f"{name}, z", quantity, estimate, n, Pairing.PAIRED, note=note)
    statistic = value / float(np.sqrt(variance))
    return PValue(normal_test(statistic), f"{name}, z", quantity, estimate, n, Pairing.PAIRED, statistic=statistic)
