"""Power and size of reader studies from the variances of a pilot: two modalities, or a model and a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.anova import Analysis, check_analysis
from spinefx.statistics.mrmc.components import VarianceComponents
from spinefx.statistics.mrmc.panel import PanelComponents

__all__ = ["Power", "mrmc_power", "mrmc_sample_size", "panel_power", "panel_sample_size"]

MOST_CASES, MOST_READERS = 10**6, 1000


@dataclass(frozen=True)
class Power:
    """Power of a planned study, with the quantities from which it was computed.

    Parameters
    ----------
    power : float
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    readers, cases : int
    difference, alpha : float
        True difference between the two modalities, or between panel and model; and the two-sided level.
    noncentrality, df2, critical : float
        Noncentrality and second degrees of freedom of the F distribution (infinite for fixed readers; the first is 1),
        and the value that F has to exceed.
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
    """Return the power to detect a difference between two modalities in a factorial study.

    Parameters
    ----------
    pilot : VarianceComponents
        Components of a factorial pilot with two modalities, as returned by ``mrmc``; negative ones count as 0.
    difference : float
        True difference; choose one that matters clinically rather than the one observed in the pilot.
    readers, cases : int
        Size of the planned study, whose proportion of malignant cases is that of the pilot.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random or fixed readers and cases, as for ``mrmc``.
    alpha : float
        Two-sided level.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        If the pilot lacks two modalities and two readers, there are too few readers or cases, or the error term is 0.

    Notes
    -----
    Hillis SL, Obuchowski NA, Berbaum KS. Acad Radiol 2011;18:129-142. RJafroc computes the same.
    """
    _check_plan(analysis, readers, cases, alpha)
    needed = (pilot.modality_reader, pilot.error, pilot.cov1, pilot.cov2, pilot.cov3)
    if not np.isfinite(needed).all():
        raise InputError(
            "a pilot without all variance components", allowed="two modalities, two readers and random cases"
        )
    scale = pilot.cases / cases
    interaction = max(pilot.modality_reader, 0.0)
    shared = max(pilot.cov2 - pilot.cov3, 0.0)
    own = scale * (pilot.error - pilot.cov1 - shared)
    # The difference of two means over readers has twice the variance of one mean.
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
    """Return the smallest study that reaches a power, given the number of readers or of cases.

    Parameters
    ----------
    pilot : VarianceComponents
    difference : float
        Both as for :func:`mrmc_power`.
    readers, cases : int or None
        Give one of the two; the smallest sufficient number of the other is returned.
    power : float
        Power to be reached.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    alpha : float
        Both as for :func:`mrmc_power`.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        As for :func:`mrmc_power`; or if both or neither number is given, or no number suffices (with random readers no
        number of cases removes the variance between readers).
    """

    def planned(readers: int, cases: int) -> Power:
        return mrmc_power(pilot, difference=difference, readers=readers, cases=cases, analysis=analysis, alpha=alpha)

    return _smallest_plan(planned, readers, cases, power)


def panel_power(
    pilot: PanelComponents,
    *,
    difference: float,
    readers: int,
    cases: int,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Return the power to detect a difference between a model and the mean of a panel of readers.

    Parameters
    ----------
    pilot : PanelComponents
        Components of a pilot in which the readers and the model read the same cases, from
        ``ai_vs_readers(...).components``; negative ones count as 0.
    difference : float
        True difference; choose one that matters clinically rather than the one observed in the pilot.
    readers, cases : int
        Size of the planned study, not counting the model; its proportion of malignant cases is that of the pilot.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random readers and cases (1T-RRRC), these readers only, or these cases only (1T-RRFC), for which the difference
        on these cases is taken as the true one.
    alpha : float
        Two-sided level.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        If the pilot has a single reader, there are too few readers or cases, or the error term is 0.

    Notes
    -----
    Power of the test of :func:`spinefx.statistics.mrmc.panel.ai_vs_readers`, from the expected mean squares in Hillis
    SL. Stat Med 2007;26:596-619. benchmarks/panel_power.py compares it with simulations.
    """
    _check_plan(analysis, readers, cases, alpha)
    if not np.isfinite((pilot.reader, pilot.error, pilot.cov2)).all():
        raise InputError("a pilot without all variance components", allowed="two or more readers besides the model")
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
    """Return the smallest study that reaches a power, given the number of readers or of cases.

    Parameters
    ----------
    pilot : PanelComponents
    difference : float
        Both as for :func:`panel_power`.
    readers, cases : int or None
        Give one of the two; the smallest sufficient number of the other is returned.
    power : float
        Power to be reached.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    alpha : float
        Both as for :func:`panel_power`.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        As for :func:`panel_power`; or if both or neither number is given, or no number suffices.
    """

    def planned(readers: int, cases: int) -> Power:
        return panel_power(pilot, difference=difference, readers=readers, cases=cases, analysis=analysis, alpha=alpha)

    return _smallest_plan(planned, readers, cases, power)


def _check_plan(analysis: Analysis, readers: int, cases: int, alpha: float) -> None:
    check_analysis(analysis)
    fewest = 1 if analysis == "FRRC" else 2
    if readers < fewest or cases < 2:
        allowed = f"{fewest} or more readers, and two or more cases"
        raise InputError(f"{readers} readers and {cases} cases", allowed=allowed)
    if not 0 < alpha < 1:
        raise InputError(f"level {alpha}", allowed="a value above 0 and below 1")


def _power(
    analysis: Analysis,
    readers: int,
    cases: int,
    difference: float,
    alpha: float,
    means: float,
    parts: tuple[float, float, float],
) -> Power:
    """Return the power of the F test from the variances of readers, of cases within readers, and of shared cases."""
    if not np.isfinite(difference):
        raise InputError(f"difference {difference}", allowed="a finite number")
    of_readers, own, shared = parts
    term = {
        "RRRC": of_readers + own + readers * shared,
        "FRRC": own + readers * shared,
        "RRFC": of_readers + own,
    }[analysis]
    if term <= 0 or (analysis != "FRRC" and of_readers + own <= 0):
        raise InputError(
            "a pilot whose variances cancel out", allowed="an error term above 0", remedy="Use a larger pilot."
        )
    noncentrality = difference**2 * readers / means / term
    if analysis == "FRRC":
        critical = float(stats.chi2.isf(alpha, 1))
        power = float(stats.ncx2.sf(critical, 1, noncentrality)) if noncentrality else alpha
        return Power(power, analysis, readers, cases, difference, alpha, noncentrality, np.inf, critical)
    df2 = (readers - 1) * (term / (of_readers + own)) ** 2
    critical = float(stats.f.isf(alpha, 1, df2))
    # SciPy 1.17 returns -0.95 for a noncentrality of 0.
    power = float(stats.ncf.sf(critical, 1, df2, noncentrality)) if noncentrality else alpha
    return Power(power, analysis, readers, cases, difference, alpha, noncentrality, df2, critical)


def _smallest_plan(planned: Callable[[int, int], Power], readers: int | None, cases: int | None, power: float) -> Power:
    """Return the plan with the fewest readers or cases, whichever number is not given."""
    if readers is None and cases is not None:
        return _fewest(lambda number: planned(number, cases), MOST_READERS, power, "Add cases.")
    if readers is not None and cases is None:
        return _fewest(lambda number: planned(readers, number), MOST_CASES, power, "Add readers.")
    raise InputError(f"{readers} readers and {cases} cases", where="sample size", allowed="one of the two")


def _fewest(planned: Callable[[int], Power], most: int, power: float, remedy: str) -> Power:
    """Return the plan with the smallest number, from 2 upwards, that reaches a power."""
    if not 0 < power < 1:
        raise InputError(f"power {power:g}", where="sample size", allowed="a value above 0 and below 1")
    best = planned(most)
    if not best.power >= power:
        found = f"a power of {best.power:.2f} with {best.readers:,} readers and {best.cases:,} cases"
        raise InputError(found, allowed=f"{power:g} or more", remedy=remedy)
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if planned(middle).power >= power else (middle, high)
    return planned(high)
