"""A value that a test looked at: estimate, interval, degrees of freedom, p-value; tables of such values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinefx.evidence.accuracy import Estimate
from spinefx.evidence.tables import ResultTable

__all__ = ["Effect", "effect_table", "judge"]

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
        Limits are symmetric about the value and never clipped to 0 to 1; NaN where the data show no variance.
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
    confidence: float = 0.95,
) -> Effect:
    """Make an effect of a value and its variance by Student's or the normal distribution.

    Parameters
    ----------
    label : str
    value, variance : float
        A variance that is NaN, negative or nil gives neither interval nor p-value.
    test : str
    df : float
    null : float or None
        Value under the null hypothesis; None tests nothing.
    confidence : float

    Returns
    -------
    Effect
    """
    if not variance > NIL_VARIANCE:
        return Effect(label, Estimate(float(value), np.nan, np.nan), float(np.sqrt(max(variance, 0))), float(df), test)
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    estimate = Estimate(float(value), float(value - reach), float(value + reach))
    if null is None:
        return Effect(label, estimate, error, float(df), test)
    statistic = float((value - null) / error)
    return Effect(label, estimate, error, float(df), test, statistic, float(2 * stats.t.sf(abs(statistic), df)))


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
    rows = tuple((e.label, e.estimate, e.standard_error, e.df, e.statistic, e.p_value, e.test) for e in effects)
    return ResultTable(name, title, columns, rows, note)
