"""Power and sample size of paired comparisons."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.paired.limits import tango_terms
from spinefx.statistics.paired.mcnemar import mcnemar_p

__all__ = [
    "discordant_shares",
    "mcnemar_power",
    "mcnemar_sample_size",
    "non_inferiority_power",
    "non_inferiority_sample_size",
]

MOST_CASES = 20_000
# The power of an exact test is not monotone: it must hold for so many further numbers of cases.
NEXT_CHECKED = 10


def discordant_shares(first: float, second: float, dependence: float = 0.0) -> tuple[float, float]:
    """Return the expected proportions of discordant cases, from the accuracy of two readers.

    Parameters
    ----------
    first, second : float
        Proportions diagnosed correctly, 0 to 1.
    dependence : float
        0 if the readers err independently, 1 if they share as many errors as their accuracies allow.

    Returns
    -------
    first_only, second_only : float
        Proportions of cases that only one reader diagnoses correctly.

    Raises
    ------
    InputError
        If a proportion or the dependence is not between 0 and 1.
    """
    for value in (first, second, dependence):
        if not 0 <= value <= 1:
            raise InputError(f"proportion {value}", where="sample size", allowed="0 to 1")
    independent = first * second
    both = independent + dependence * (min(first, second) - independent)
    return first - both, second - both


def mcnemar_power(
    first_only: float, second_only: float, n: int, *, method: str = "exact", alpha: float = 0.05
) -> float:
    """Return the power of McNemar's test, summed over all possible tables of ``n`` cases.

    Parameters
    ----------
    first_only, second_only : float
        True proportions of cases that only one reader diagnoses correctly; see :func:`discordant_shares`.
    n : int
        Number of cases of the class in question (malignant for sensitivity).
    method : str
        As for :func:`spinefx.statistics.paired.mcnemar.mcnemar_p`.
    alpha : float
        Two-sided level.

    Returns
    -------
    float
        Exact except for tables whose total probability is below 1e-9.

    Raises
    ------
    InputError
        If a proportion, the number of cases or the level is not valid, or the method is unknown.
    """
    discordant = first_only + second_only
    _check(first_only, second_only, n, alpha)
    if discordant == 0:
        return 0.0
    low, high = stats.binom.ppf([5e-10, 1 - 5e-10], n, discordant).astype(int)
    counts = np.arange(low, high + 1)
    critical = np.array([_critical(int(m), method, alpha) for m in counts])
    share = first_only / discordant
    # If the critical count is -1 nothing is rejected, as both tails are empty.
    rejected = stats.binom.cdf(critical, counts, share) + stats.binom.sf(counts - critical - 1, counts, share)
    return float(stats.binom.pmf(counts, n, discordant) @ rejected)


def mcnemar_sample_size(
    first_only: float, second_only: float, *, power: float = 0.8, method: str = "exact", alpha: float = 0.05
) -> int:
    """Return the smallest number of cases with which McNemar's test reaches a power.

    Parameters
    ----------
    first_only, second_only : float
        True proportions of cases that only one reader diagnoses correctly; see :func:`discordant_shares`.
    power : float
        Power to be reached, above 0 and below 1.
    method : str
        As for :func:`spinefx.statistics.paired.mcnemar.mcnemar_p`.
    alpha : float
        Two-sided level.

    Returns
    -------
    int
        The power of an exact test does not increase with every case; the number returned reaches it, and so do the ten
        numbers after it.

    Raises
    ------
    InputError
        If the proportions are equal, so that no number of cases suffices, or more than 20,000 cases are needed.
    """
    if first_only == second_only or not 0 < power < 1:
        raise InputError(
            f"discordant proportions {first_only:g} and {second_only:g} with power {power:g}",
            where="sample size",
            allowed="different proportions, and a power between 0 and 1",
        )
    total, gap = first_only + second_only, abs(first_only - second_only)
    # The search starts from Miettinen's approximation (Biometrics 1968;24:339-352).
    quantiles = stats.norm.ppf(1 - alpha / 2) * np.sqrt(total) + stats.norm.ppf(power) * np.sqrt(max(total - gap**2, 0))
    return _fewest(
        lambda n: mcnemar_power(first_only, second_only, n, method=method, alpha=alpha) >= power, (quantiles / gap) ** 2
    )


def non_inferiority_power(
    first_only: float, second_only: float, n: int, *, margin: float, alpha: float = 0.025
) -> float:
    """Return the power to show that the first reader is worse than the second by less than a margin.

    Parameters
    ----------
    first_only, second_only : float
        True proportions of cases that only one reader diagnoses correctly; see :func:`discordant_shares`.
    n : int
        Number of cases of the class in question (malignant for sensitivity).
    margin : float
        Non-inferiority margin, above 0 and below 1.
    alpha : float
        One-sided level.

    Returns
    -------
    float
        Power of :func:`spinefx.statistics.paired.mcnemar.non_inferiority`, exact except for tables whose total
        probability is below 1e-8.

    Raises
    ------
    InputError
        If a proportion, the number of cases, the margin or the level is not valid.
    """
    _check(first_only, second_only, n, alpha)
    if not 0 < margin < 1:
        raise InputError(f"margin {margin}", where="sample size", allowed="a value above 0 and below 1")
    b, c = np.ogrid[tuple(slice(*_plausible_counts(share, n)) for share in (first_only, second_only))]
    b, c = (kept[b + c <= n] for kept in np.broadcast_arrays(b, c))
    gap, variance = tango_terms(-margin, b, c, n)
    rejected = gap > stats.norm.isf(alpha) * np.sqrt(variance)
    neither = max(0.0, 1 - first_only - second_only)
    cells = np.stack([b, c, n - b - c], axis=-1)
    return float(stats.multinomial.pmf(cells[rejected], n, (first_only, second_only, neither)).sum())


def non_inferiority_sample_size(
    first_only: float, second_only: float, *, margin: float, power: float = 0.8, alpha: float = 0.025
) -> int:
    """Return the smallest number of cases with which the non-inferiority test reaches a power.

    Parameters
    ----------
    first_only, second_only : float
        True proportions of cases that only one reader diagnoses correctly; see :func:`discordant_shares`.
    margin : float
        Non-inferiority margin, above 0 and below 1.
    power : float
        Power to be reached, above 0 and below 1.
    alpha : float
        One-sided level.

    Returns
    -------
    int
        As for :func:`mcnemar_sample_size`, the ten numbers after it also reach the power.

    Raises
    ------
    InputError
        If the true loss is not smaller than the margin, so that no number of cases suffices, or more than 20,000 cases
        are needed.
    """
    slack = first_only - second_only + margin
    # With decimal fractions rounding matters: 0.9 - 1.0 + 0.1 is not exactly 0.
    if slack <= 1e-9 or not 0 < power < 1 or not 0 < alpha < 1:
        raise InputError(
            f"true difference {first_only - second_only:g} with margin {margin:g}, power {power:g} and level {alpha:g}",
            where="sample size",
            allowed="a difference above minus the margin, and power and level between 0 and 1",
        )
    total = max(first_only + second_only, margin)
    about = ((stats.norm.isf(alpha) + stats.norm.ppf(power)) / slack) ** 2 * total
    return _fewest(
        lambda n: non_inferiority_power(first_only, second_only, n, margin=margin, alpha=alpha) >= power, about
    )


def _check(first_only: float, second_only: float, n: int, alpha: float) -> None:
    if not (min(first_only, second_only) >= 0 and first_only + second_only <= 1 and n >= 1 and 0 < alpha < 1):
        raise InputError(
            f"discordant proportions {first_only:g} and {second_only:g} of {n} cases at level {alpha:g}",
            where="sample size",
            allowed="proportions of 0 or more that sum to at most 1, one case or more, and a level between 0 and 1",
        )


def _plausible_counts(share: float, n: int) -> tuple[int, int]:
    """Return the counts outside which a binomial variable falls with a probability below 1e-9 on either side."""
    low, high = stats.binom.ppf([1e-9, 1 - 1e-9], n, share)
    return max(0, int(low)), int(high) + 1


def _fewest(enough: Callable[[int], bool], about: float) -> int:
    """Return the first number that is enough and stays so for ten more, searching upwards from 0.7 of a guess."""
    n = min(MOST_CASES, max(1, int(0.7 * about)))
    while n > 1 and enough(n):
        n = int(0.7 * n)
    run = 0
    while run <= NEXT_CHECKED:
        if n > MOST_CASES:
            found = f"a need for more than {MOST_CASES} cases"
            raise InputError(found, where="sample size", allowed="a larger difference or a lower power")
        run = run + 1 if enough(n) else 0
        n += 1
    return n - run


@cache
def _critical(discordant: int, method: str, alpha: float) -> int:
    """Return the largest smaller discordant count at which the test still rejects; -1 if there is none."""
    fewer = np.arange(discordant // 2 + 1)
    return int(np.searchsorted(mcnemar_p(fewer, discordant - fewer, method), alpha, side="right")) - 1
