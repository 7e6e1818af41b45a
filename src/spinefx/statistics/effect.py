"""Estimates with standard error, degrees of freedom and test, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, bare_p
from spinefx.statistics.table import ResultTable

__all__ = ["Effect", "Scale", "check_scale", "effect_table", "infer"]

Scale = Literal["plain", "logit"]

# A variance of proportions or areas (both between 0 and 1) below this is rounding error.
NIL_VARIANCE = 1e-15


@dataclass(frozen=True)
class Effect:
    """An estimate with its uncertainty and, where there is a null hypothesis, its test.

    Parameters
    ----------
    label : str
        What was estimated; ``A - B`` for a difference.
    estimate : Estimate
        Limits are symmetric about the value (or its logit) and never clipped; NaN if the data show no variance.
    standard_error : float
    df : float
        Degrees of freedom; infinite for a normal interval.
    test : str
        Name of the test and interval.
    statistic, p_value : float
        t or z with its two-sided p-value; NaN if nothing was tested.
    """

    label: str
    estimate: Estimate
    standard_error: float
    df: float
    test: str
    statistic: float = np.nan
    p_value: float = np.nan

    def non_inferiority(self, margin: float) -> float:
        """Test with one side whether the difference lies above minus the margin.

        Parameters
        ----------
        margin : float
            Positive; fixed before the data were seen.

        Returns
        -------
        float
            p-value of the null hypothesis that the difference is at most ``-margin``; NaN without a standard error.
        """
        if not self.standard_error > 0:
            return float("nan")
        return float(stats.t.sf((self.estimate.value + margin) / self.standard_error, self.df))


def infer(
    label: str,
    value: float,
    variance: float,
    test: str,
    *,
    df: float = np.inf,
    null: float | None = None,
    scale: Scale = "plain",
    confidence: float = 0.95,
) -> Effect:
    """Return an effect from a value and its variance, by Student's t or the normal distribution.

    Parameters
    ----------
    label : str
    value, variance : float
        A variance that is NaN, negative or zero leaves no interval and no p-value; the estimate's note says so.
    test : str
        Name of the test and interval.
    df : float
        Degrees of freedom; infinite for the normal distribution.
    null : float or None
        Value under the null hypothesis; without one nothing is tested.
    scale : {'plain', 'logit'}
        Scale on which the interval is symmetric; ``logit`` suits areas and proportions. The test is always plain.
    confidence : float

    Returns
    -------
    Effect
    """
    if not variance > NIL_VARIANCE:
        reason = "the variance cannot be estimated" if np.isnan(variance) else "the data show no variance"
        note = f"no interval: {reason}"
        bare = Estimate(float(value), np.nan, np.nan, note=note)
        return Effect(label, bare, float(np.sqrt(max(variance, 0))), float(df), test)
    error = float(np.sqrt(variance))
    half_width = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    limits = np.array([value - half_width, value + half_width])
    if scale == "logit" and 0 < value < 1:
        test = f"{test}, logit scale"
        limits = expit(logit(value) + (limits - value) / (value * (1 - value)))
    estimate = Estimate(float(value), *limits.tolist())
    if null is None:
        return Effect(label, estimate, error, float(df), test)
    statistic = float((value - null) / error)
    return Effect(label, estimate, error, float(df), test, statistic, float(2 * stats.t.sf(abs(statistic), df)))


def check_scale(scale: str) -> None:
    """Check the name of a scale.

    Parameters
    ----------
    scale : str

    Raises
    ------
    InputError
        If the scale is unknown.
    """
    if scale not in get_args(Scale):
        raise InputError(f"scale {scale!r}", allowed=", ".join(get_args(Scale)))


def effect_table(name: str, title: str, effects: Iterable[Effect], note: str = "") -> ResultTable:
    """Tabulate effects: estimate, interval, standard error, degrees of freedom, statistic, p-value and test.

    Parameters
    ----------
    name, title, note : str
        As of :class:`spinefx.statistics.table.ResultTable`.
    effects : iterable of Effect

    Returns
    -------
    ResultTable
    """
    columns = ("what", "estimate", "standard error", "df", "statistic", "p", "test")
    rows = tuple((e.label, e.estimate, e.standard_error, e.df, e.statistic, bare_p(e.p_value), e.test) for e in effects)
    return ResultTable(name, title, columns, rows, note)
