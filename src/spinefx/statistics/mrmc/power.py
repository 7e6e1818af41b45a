"""How many readers and cases a reader study needs, from a pilot's variances: two modalities, or a model and a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.anova import Analysis, VarianceComponents, check_analysis
from spinefx.statistics.mrmc.panel import PanelComponents

__all__ = ["Power", "mrmc_power", "mrmc_sample_size", "panel_power", "panel_sample_size"]

MOST_CASES, MOST_READERS = 10**6, 1000


@dataclass(frozen=True)
class Power:
    """Power of a planned study, and what it was computed from.

    Parameters
    ----------
    power : float
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    readers, cases : int
    difference, alpha : float
        True difference of the two modalities, or of panel and model, and the two-sided level.
    noncentrality, df2, critical : float
        Of the F distribution with 1 and ``df2`` degrees of freedom (infinite for fixed readers), and the value that F
        has to exceed.
    """

    power: float
    analysis: Analysis
    readers: int
    cases: int
    difference: float
    alpha: float
    noncentrality: float
    df2: float
    critical: float


def mrmc_power(
    pilot: VarianceComponents,
    *,
    difference: float,
    readers: int,
    cases: int,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Give the power to find a difference of two modalities in a factorial study.

    Parameters
    ----------
    pilot : VarianceComponents
        Of a factorial pilot with two modalities, as ``mrmc`` gives them; a negative component counts as 0 here.
    difference : float
        True difference sought; better what matters clinically than what the pilot showed.
    readers, cases : int
        Of the planned study, with the pilot's share of malignant cases.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    alpha : float
        Two-sided.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        For a pilot without two modalities and two readers, too few readers or cases, or variances that leave nothing.

    Notes
    -----
    Hillis SL, Obuchowski NA, Berbaum KS. Acad Radiol 2011;18:129-142. RJafroc computes the same.
    """
    _check_plan(analysis, readers, cases, alpha)
    needed = (pilot.modality_reader, pilot.error, pilot.cov1, pilot.cov2, pilot.cov3)
    if not np.isfinite(needed).all():
        raise InputError("a pilot without all variance components", allowed="two modalities, two readers, random cases")
    scale = pilot.cases / cases
    interaction = max(pilot.modality_reader, 0.0)
    shared = max(pilot.cov2 - pilot.cov3, 0.0)
    own = scale * (pilot.error - pilot.cov1 - shared)
    # Two means of readers: their difference has twice the variance of one.
    return _power(analysis, readers, cases, difference, alpha, 2.0, (interaction, own, scale * shared))


def mrmc_sample_size(
    pilot: VarianceComponents,
    *,
    difference: float,
    readers: int | None = None,
    cases: int | None = None,
    power: float = 0.8,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Find the fewest cases for so many readers, or the fewest readers for so many cases.

    Parameters
    ----------
    pilot : VarianceComponents
    difference : float
    readers, cases : int or None
        One of the two; the other is sought.
    power : float
        To be reached.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    alpha : float

    Returns
    -------
    Power
        Of the smallest such study.

    Raises
    ------
    InputError
        When both or neither is given, when no number of cases suffices, since the readers' own variance remains; and
        as ``mrmc_power``.
    """

    def planned(readers: int, cases: int) -> Power:
        return mrmc_power(pilot, difference=difference, readers=readers, cases=cases, analysis=analysis, alpha=alpha)

    return _sought(planned, readers, cases, power)


def panel_power(
    pilot: PanelComponents,
    *,
    difference: float,
    readers: int,
    cases: int,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Give the power to find a difference between one model and the mean of a panel of readers.

    Parameters
    ----------
    pilot : PanelComponents
        Of a pilot in which the readers and the model read the same cases, as ``ai_vs_readers(...).components`` gives
        them; a negative component counts as 0 here.
    difference : float
        True difference of the panel's mean and the model; better what matters clinically than what the pilot showed.
    readers, cases : int
        Of the planned study, the model not counted, with the pilot's share of malignant cases.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random readers and cases (1T-RRRC), these readers only, or these cases only (1T-RRFC); the last takes the
        difference on these cases as the true one.
    alpha : float
        Two-sided.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        For a pilot of one reader, too few readers or cases, or variances that leave nothing.

    Notes
    -----
    The test of :func:`spinefx.statistics.mrmc.panel.ai_vs_readers` with the expected mean squares of Hillis SL. Stat
    Med 2007;26:596-619. Prediction and simulation are set side by side in benchmarks/panel_power.py.
    """
    _check_plan(analysis, readers, cases, alpha)
    if not np.isfinite((pilot.reader, pilot.error, pilot.cov2)).all():
        raise InputError("a pilot without all variances", allowed="two or more readers beside the model")
    scale, shared = pilot.cases / cases, max(pilot.cov2, 0.0)
    parts = (max(pilot.reader, 0.0), scale * (pilot.error - shared), scale * shared)
    return _power(analysis, readers, cases, difference, alpha, 1.0, parts)


def panel_sample_size(
    pilot: PanelComponents,
    *,
    difference: float,
    readers: int | None = None,
    cases: int | None = None,
    power: float = 0.8,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Find the fewest cases for so many readers, or the fewest readers for so many cases.

    Parameters
    ----------
    pilot : PanelComponents
    difference : float
    readers, cases : int or None
        One of the two; the other is sought.
    power : float
        To be reached.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    alpha : float

    Returns
    -------
    Power
        Of the smallest such study.

    Raises
    ------
    InputError
        When both or neither is given, no number suffices, and as :func:`panel_power`.
    """

    def planned(readers: int, cases: int) -> Power:
        return panel_power(pilot, difference=difference, readers=readers, cases=cases, analysis=analysis, alpha=alpha)

    return _sought(planned, readers, cases, power)


def _check_plan(analysis: Analysis, readers: int, cases: int, alpha: float) -> None:
    check_analysis(analysis)
    fewest = 1 if analysis == "FRRC" else 2
    if readers < fewest or cases < 2:
        raise InputError(f"{readers} readers and {cases} cases", allowed=f"{fewest} or more readers, two or more cases")
    if not 0 < alpha < 1:
        raise InputError(f"a level of {alpha}", allowed="above 0, below 1")


def _power(
    analysis: Analysis,
    readers: int,
    cases: int,
    difference: float,
    alpha: float,
    means: float,
    parts: tuple[float, float, float],
) -> Power:
    """Power of the F test from the variances of readers, of cases for one reader alone, and of cases shared."""
    if not np.isfinite(difference):
        raise InputError(f"a difference of {difference}", allowed="a finite number")
    of_readers, own, shared = parts
    term = {
        "RRRC": of_readers + own + readers * shared,
        "FRRC": own + readers * shared,
        "RRFC": of_readers + own,
    }[analysis]
    if term <= 0 or (analysis != "FRRC" and of_readers + own <= 0):
        raise InputError(
            "a pilot whose variances cancel out", allowed="an error term above 0", remedy="Take a larger pilot."
        )
    noncentrality = difference**2 * readers / means / term
    if analysis == "FRRC":
        critical = float(stats.chi2.isf(alpha, 1))
        power = float(stats.ncx2.sf(critical, 1, noncentrality)) if noncentrality else alpha
        return Power(power, analysis, readers, cases, difference, alpha, noncentrality, np.inf, critical)
    df2 = (readers - 1) * (term / (of_readers + own)) ** 2
    critical = float(stats.f.isf(alpha, 1, df2))
    # SciPy 1.17 answers -0.95 for a noncentrality of 0.
    power = float(stats.ncf.sf(critical, 1, df2, noncentrality)) if noncentrality else alpha
    return Power(power, analysis, readers, cases, difference, alpha, noncentrality, df2, critical)


def _sought(planned: Callable[[int, int], Power], readers: int | None, cases: int | None, power: float) -> Power:
    """The plan of the fewest readers or cases, whichever is not given."""
    if readers is None and cases is not None:
        return _fewest(lambda number: planned(number, cases), MOST_READERS, power, "Add cases.")
    if readers is not None and cases is None:
        return _fewest(lambda number: planned(readers, number), MOST_CASES, power, "Add readers.")
    raise InputError(f"{readers} readers and {cases} cases", where="sample size", allowed="one of the two")


def _fewest(planned: Callable[[int], Power], most: int, power: float, remedy: str) -> Power:
    """The plan of the smallest number, from 2 up, that reaches a power."""
    if not 0 < power < 1:
        raise InputError(f"a power of {power:g}", where="sample size", allowed="above 0, below 1")
    best = planned(most)
    if not best.power >= power:
        found = f"a power of {best.power:.2f} with {best.readers:,} readers and {best.cases:,} cases"
        raise InputError(found, allowed=f"{power:g} or more", remedy=remedy)
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if planned(middle).power >= power else (middle, high)
    return planned(high)
