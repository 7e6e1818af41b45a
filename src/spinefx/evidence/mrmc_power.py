"""How many readers and cases a study of two modalities needs, from the variance components of a pilot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.evidence.mrmc import Analysis, VarianceComponents, check_analysis

__all__ = ["Power", "mrmc_power", "mrmc_sample_size"]

MOST_CASES = 10**6


@dataclass(frozen=True)
class Power:
    """Power of a planned study, and what it was computed from.

    Parameters
    ----------
    power : float
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    readers, cases : int
    difference, alpha : float
        True difference of the two modalities, and the two-sided level.
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
    check_analysis(analysis)
    fewest = 1 if analysis == "FRRC" else 2
    if readers < fewest or cases < 2:
        raise InputError(f"{readers} readers and {cases} cases", allowed=f"{fewest} or more readers, two or more cases")
    needed = (pilot.modality_reader, pilot.error, pilot.cov1, pilot.cov2, pilot.cov3)
    if not np.isfinite(needed).all():
        raise InputError("a pilot without all variance components", allowed="two modalities, two readers, random cases")
    scale = pilot.cases / cases
    interaction = max(pilot.modality_reader, 0.0)
    shared = max(pilot.cov2 - pilot.cov3, 0.0)
    own = scale * (pilot.error - pilot.cov1 - shared)
    term = {
        "RRRC": interaction + own + scale * readers * shared,
        "FRRC": own + scale * readers * shared,
        "RRFC": interaction + own,
    }[analysis]
    if term <= 0 or (analysis != "FRRC" and interaction + own <= 0):
        raise InputError(
            "a pilot whose variances cancel out", allowed="an error term above 0", remedy="Take a larger pilot."
        )
    noncentrality = difference**2 * readers / 2 / term
    if analysis == "FRRC":
        critical = float(stats.chi2.isf(alpha, 1))
        power = float(stats.ncx2.sf(critical, 1, noncentrality))
        return Power(power, analysis, readers, cases, difference, alpha, noncentrality, np.inf, critical)
    df2 = (readers - 1) * (term / (interaction + own)) ** 2
    critical = float(stats.f.isf(alpha, 1, df2))
    # SciPy 1.17 answers -0.95 for a noncentrality of 0.
    power = float(stats.ncf.sf(critical, 1, df2, noncentrality)) if noncentrality else alpha
    return Power(power, analysis, readers, cases, difference, alpha, noncentrality, df2, critical)


def mrmc_sample_size(
    pilot: VarianceComponents,
    *,
    difference: float,
    readers: int,
    power: float = 0.8,
    analysis: Analysis = "RRRC",
    alpha: float = 0.05,
) -> Power:
    """Find the fewest cases that give a power with so many readers.

    Parameters
    ----------
    pilot : VarianceComponents
    difference : float
    readers : int
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
        When no number of cases suffices, since the readers' own variance remains; and as ``mrmc_power``.
    """

    def planned(cases: int) -> Power:
        return mrmc_power(pilot, difference=difference, readers=readers, cases=cases, analysis=analysis, alpha=alpha)

    if planned(MOST_CASES).power < power:
        found = f"a power of {planned(MOST_CASES).power:.2f} with {readers} readers and a million cases"
        raise InputError(found, allowed=f"{power:g} or more", remedy="Add readers.")
    low, high = 1, MOST_CASES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if planned(middle).power >= power else (middle, high)
    return planned(high)
