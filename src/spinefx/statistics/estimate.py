"""Estimates and p-values that carry what they must be reported with: interval, counts, test, pairing and n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError

__all__ = [
    "Estimate",
    "PValue",
    "Pairing",
    "ShownP",
    "bare_p",
    "clopper_pearson",
    "delta_variance",
    "format_p",
    "holm",
    "jeffreys",
    "normal_quantile",
    "normal_test",
    "wilson",
]

# A p-value is not rounded across one of these: 0.0496 is not shown as 0.05.
BOUNDARIES = (0.001, 0.01, 0.05)
COMPLEX_STEP = 1e-100


class Pairing(StrEnum):
    """How the two samples of a comparison are related."""

    PAIRED = "paired"
    UNPAIRED = "unpaired"
    ONE_SAMPLE = "one sample"


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, and its counts if it is a proportion.

    Parameters
    ----------
    value, low, high : float
        Estimate and limits of its interval, 95% unless another level was asked for; NaN where the data allow none.
    k, n : int or None
        Successes and trials of a proportion.
    note : str
        Why the value or a limit is missing or special; empty otherwise.
    """

    value: float
    low: float
    high: float
    k: int | None = None
    n: int | None = None
    note: str = ""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "n/a"
        if np.isnan([self.low, self.high]).all():
            return _rounded(self.value)
        if self.n is None:
            return f"{_rounded(self.value)} [{_rounded(self.low)}, {_rounded(self.high)}]"
        return f"{100 * self.value:.0f}% ({self.k}/{self.n}) [{100 * self.low:.0f}, {100 * self.high:.0f}]"


@dataclass(frozen=True)
class PValue:
    """A p-value together with its test, estimate and sample size.

    Parameters
    ----------
    p : float
        Between 0 and 1, or NaN with a note that explains why there is none.
    test : str
        Name and variant of the test, for example ``McNemar, exact``.
    quantity : str
        What was estimated and in which direction.
    estimate : Estimate
        Estimate of that quantity.
    n : int
        Cases compared.
    pairing : Pairing
    statistic, df : float or None
        Test statistic and degrees of freedom of an asymptotic test.
    sided : str
        ``two-sided`` or ``one-sided``.
    note : str

    Raises
    ------
    InputError
        If the p-value is out of range, or lacks its test, its quantity, or the reason why it is missing.
    """

    p: float
    test: str
    quantity: str
    estimate: Estimate
    n: int
    pairing: Pairing
    statistic: float | None = None
    df: float | None = None
    sided: str = "two-sided"
    note: str = ""

    def __post_init__(self) -> None:
        if not (0 <= self.p <= 1 or (np.isnan(self.p) and self.note)):
            raise InputError(f"p-value {self.p}", where=self.test, allowed="0 to 1, or NaN with a note")
        if not self.test or not self.quantity:
            raise InputError("p-value without a test or a quantity", allowed="a p-value with the names of both")

    def __str__(self) -> str:
        p = f"no p ({self.note})" if np.isnan(self.p) else format_p(self.p)
        return f"{p} ({self.test}, {self.sided}, {self.pairing}, n = {self.n}); {self.quantity} {self.estimate}"


class ShownP(str):
    """A p-value formatted for a table that keeps the unrounded number.

    Parameters
    ----------
    p : float
        NaN if there is none.
    """

    p: float

    def __new__(cls, p: float) -> ShownP:
        text = "n/a" if np.isnan(p) else format_p(p).removeprefix("p ").removeprefix("= ")
        made = super().__new__(cls, text)
        made.p = float(p)
        return made

    def __reduce__(self) -> tuple[type[ShownP], tuple[float]]:
        return ShownP, (self.p,)


def format_p(p: float) -> str:
    """Format a p-value with two significant digits, never rounded across 0.05, 0.01 or 0.001.

    Parameters
    ----------
    p : float

    Returns
    -------
    str
        For example ``p = 0.0078``; ``p < 1e-300`` where double precision holds no smaller number.

    Examples
    --------
    >>> format_p(0.0078125), format_p(0.04996), format_p(8.4e-9)
    ('p = 0.0078', 'p = 0.04996', 'p = 8.4e-09')
    """
    if np.isnan(p):
        return "p not available"
    if p < 1e-300:
        return "p < 1e-300"
    for digits in range(2, 17):
        text = f"{p:#.{digits}g}" if p >= 1e-4 else f"{p:.{digits - 1}e}"
        if all((float(text) < limit) == (p < limit) for limit in BOUNDARIES):
            break
    return "p = 1" if float(text) == 1 else f"p = {text}"


def bare_p(p: float) -> ShownP:
    """Format a p-value for a table column headed ``p``.

    Parameters
    ----------
    p : float

    Returns
    -------
    ShownP
        As by :func:`format_p` without ``p =``; ``n/a`` if there is none. Its attribute ``p`` is the number.
    """
    return ShownP(p)


def holm(p_values: Sequence[float], size: int | None = None) -> tuple[float, ...]:
    """Adjust p-values for multiplicity by Holm's step-down method.

    Parameters
    ----------
    p_values : sequence of float
        NaN stays NaN but counts towards the family: the test was planned even if it could not be made.
    size : int, optional
        Number of tests in the family if only some p-values are known; the unknown ones are taken as larger.

    Returns
    -------
    tuple of float
        Adjusted p-values in the order given.

    Raises
    ------
    InputError
        If the family is smaller than the number of p-values.

    Notes
    -----
    Holm S. Scand J Stat 1979;6:65-70.
    """
    values = np.asarray(p_values, float)
    family = values.size if size is None else size
    if family < values.size:
        raise InputError(f"a family of {family} tests", allowed=f"{values.size} tests or more, one per p-value")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (family - np.arange(values.size)))
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(float(value) for value in adjusted)


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
        NaN if there are no trials.

    Notes
    -----
    Wilson EB. J Am Stat Assoc 1927;22:209-212.
    """
    return _proportion(k, n, confidence, "wilson")


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with the exact interval, whose coverage is never below the nominal level.

    Parameters
    ----------
    k, n : int
        Successes and trials.
    confidence : float

    Returns
    -------
    Estimate
        NaN if there are no trials.

    Notes
    -----
    Clopper CJ, Pearson ES. Biometrika 1934;26:404-413.
    """
    return _proportion(k, n, confidence, "exact")


def jeffreys(k: int, n: int, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with the equal-tailed credible interval of Jeffreys' prior.

    Parameters
    ----------
    k, n : int
        Successes and trials.
    confidence : float

    Returns
    -------
    Estimate
        NaN if there are no trials. Without a success the lower limit is 0, without a failure the upper limit is 1.

    Raises
    ------
    InputError
        If the confidence level is not between 0 and 1.

    Notes
    -----
    Brown LD, Cai TT, DasGupta A. Stat Sci 2001;16:101-133.
    """
    if n == 0:
        return _proportion(k, n, confidence, "wilson")
    if not 0 < confidence < 1:
        raise InputError(f"confidence level {confidence}", allowed="a value above 0 and below 1")
    low, high = stats.beta.ppf([(1 - confidence) / 2, (1 + confidence) / 2], k + 0.5, n - k + 0.5)
    return Estimate(k / n, float(low) if k else 0.0, float(high) if k < n else 1.0, k, n)


def normal_quantile(confidence: float) -> float:
    """Return the half-width of a normal confidence interval in standard errors.

    Parameters
    ----------
    confidence : float
        Above 0, below 1.

    Returns
    -------
    float
        1.959964 for 0.95.

    Raises
    ------
    InputError
        If the confidence level is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence level {confidence}", allowed="a value above 0 and below 1")
    return float(stats.norm.ppf(0.5 + confidence / 2))


def normal_test(statistic: float) -> float:
    """Return the two-sided p-value of a standard normal statistic.

    Parameters
    ----------
    statistic : float

    Returns
    -------
    float
    """
    return float(2 * stats.norm.sf(abs(statistic)))


def delta_variance(function: Callable[[NDArray[np.complex128]], complex], counts: ArrayLike) -> float:
    """Return the variance of a function of multinomial cell counts by the delta method.

    Parameters
    ----------
    function : callable
        Maps cell counts to a number; analytic, and homogeneous of degree 0 (it depends on proportions alone). Its
        gradient is taken by a complex step, which is exact to rounding (Squire W, Trapp G. SIAM Rev 1998;40:110-112).
    counts : array_like, shape (cell,)

    Returns
    -------
    float
        Zero or more.
    """
    cells = np.asarray(counts, float)
    gradient = np.array(
        [function(cells + 1j * COMPLEX_STEP * unit).imag / COMPLEX_STEP for unit in np.eye(cells.size)], float
    )
    # The gradient is orthogonal to the counts, so the second term of the multinomial variance vanishes.
    return float(gradient**2 @ cells)


def _rounded(value: float) -> str:
    """Format with three decimals, fewer for large values: an odds ratio of 3279.612 would claim too much."""
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def _proportion(k: int, n: int, confidence: float, method: str) -> Estimate:
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, k, n, "no cases to count")
    interval = stats.binomtest(k, n).proportion_ci(confidence, method=method)
    return Estimate(k / n, float(interval.low), float(interval.high), k, n)
