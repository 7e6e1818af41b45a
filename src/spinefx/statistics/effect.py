"""A value that a test looked at: estimate, interval, degrees of freedom, p-value; tables of such values."""

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

__all__ = ["Effect", "Scale", "check_scale", "effect_table", "judge"]

Scale = Literal["plain", "logit"]

# Below this a variance of proportions or areas (all within 0 to 1) is rounding.
NIL_VARIANCE = 1e-15


@dataclass(frozen=True)
class Effect:
    """An estimate, its uncertainty, and the test of it where there is a null hypothesis.

    Parameters
    ----------
    label : str
        What was estimated, ``A - B`` for a difference.
    estimate : Estimate
        Limits are symmetric about the value (or its logit) and never clipped; NaN where the data show no variance.
    standard_error : float
    df : float
        Degrees of freedom; infinite for a normal interval.
    test : str
        Name of test and interval.
    statistic, p_value : float
        t or z and its two-sided p-value; NaN where nothing was tested.
    """

    label: str
    estimate: Estimate
    standard_error: float
    df: float
    test: str
    statistic: float = np.nan
    p_value: float = np.nan

    def non_inferiority(self, margin: float) -> float:
        """Test one-sided that a difference is above minus the margin.

        Parameters
        ----------
        margin : float
            Positive; stated before the data were seen.

        Returns
        -------
        float
            p-value of the null hypothesis that the difference is ``-margin`` or less; NaN without a standard error.
        """
        if not self.standard_error > 0:
            return float("nan")
        return float(stats.t.sf((self.estimate.value + margin) / self.standard_error, self.df))


def judge(
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
    """Make an effect of a value and its variance by Student's or the normal distribution.

    Parameters
    ----------
    label : str
    value, variance : float
        A variance that is NaN, negative or nil gives neither interval nor p-value, and the estimate's note says so.
    test : str
    df : float
    null : float or None
        Value under the null hypothesis; None tests nothing.
    scale : {'plain', 'logit'}
        Where the interval is symmetric; the logit is for areas and proportions. The test is plain.
    confidence : float

    Returns
    -------
    Effect
    """
    if not variance > NIL_VARIANCE:
        note = "no interval: " + (
            "nothing to tell a variance from" if np.isnan(variance) else "the data show no variance"
        )
        bare = Estimate(float(value), np.nan, np.nan, note=note)
        return Effect(label, bare, float(np.sqrt(max(variance, 0))), float(df), test)
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    limits = np.array([value - reach, value + reach])
    if scale == "logit" and 0 < value < 1:
        test = f"{test}, logit scale"
        limits = expit(logit(value) + (limits - value) / (value * (1 - value)))
    estimate = Estimate(float(value), *limits.tolist())
    if null is None:
        return Effect(label, estimate, error, float(df), test)
    statistic = float((value - null) / error)
    return Effect(label, estimate, error, float(df), test, statistic, float(2 * stats.t.sf(abs(statistic), df)))


def check_scale(scale: str) -> None:
    """Refuse a word that is none of the scales.

    Parameters
    ----------
    scale : str

    Raises
    ------
    InputError
    """
    if scale not in get_args(Scale):
        raise InputError(f"the scale {scale!r}", allowed=", ".join(get_args(Scale)))


def effect_table(name: str, title: str, effects: Iterable[Effect], note: str = "") -> ResultTable:
    """Set effects out as a table: estimate, interval, standard error, degrees of freedom, statistic, p, test.

    Parameters
    ----------
    name, title, note : str
    effects : iterable of Effect

    Returns
    -------
    ResultTable
    """
    columns = ("what", "estimate", "standard error", "df", "statistic", "p", "test")
    rows = tuple((e.label, e.estimate, e.standard_error, e.df, e.statistic, bare_p(e.p_value), e.test) for e in effects)
    return ResultTable(name, title, columns, rows, note)
