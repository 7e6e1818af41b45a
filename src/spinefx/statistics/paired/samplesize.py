"""How many cases a paired comparison needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.paired.mcnemar import mcnemar_p
from spinefx.statistics.paired.table import tango_terms

__all__ = [
    "discordant_shares",
    "mcnemar_power",
    "mcnemar_sample_size",
    "non_inferiority_power",
    "non_inferiority_sample_size",
]

MOST_CASES = 20_000
NEXT_LOOKED_AT = 10


def discordant_shares(first: float, second: float, dependence: float = 0.0) -> tuple[float, float]:
    """Shares of cases that one reader alone gets right, from how often each is right.

    Parameters
    ----------
    first, second : float
        Shares read rightly, 0 to 1.
    dependence : float
        0 where one reader's errors say nothing of the other's, 1 where they are shared as far as the shares allow.

    Returns
    -------
    first_only, second_only : float

    Raises
    ------
    InputError
        For a share or a dependence outside 0 to 1.
    """
    for value in (first, second, dependence):
        if not 0 <= value <= 1:
            raise InputError(f"a share of {value}", where="sample size", allowed="0 to 1")
    apart = first * second
    both = apart + dependence * (min(first, second) - apart)
    return first - both, second - both


def mcnemar_power(
    first_only: float, second_only: float, n: int, *, method: str = "exact", alpha: float = 0.05
) -> float:
    """Power of McNemar's test, summed over every table that ``n`` cases may give.

    Parameters
    ----------
    first_only, second_only : float
        Shares of cases that one reader alone gets right.
    n : int
        Cases of the class in question (malignant for sensitivity).
    method : str
        As in :func:`spinefx.statistics.paired.mcnemar.mcnemar_p`.
    alpha : float
        Two-sided.

    Returns
    -------
    float
        Exact but for tables that together have a chance below 1e-9.

    Raises
    ------
    InputError
        For impossible shares, no cases, or an unknown method.
    """
    discordant = first_only + second_only
    _check(first_only, second_only, n, alpha)
    if discordant == 0:
        return 0.0
    low, high = stats.binom.ppf([5e-10, 1 - 5e-10], n, discordant).astype(int)
    counts = np.arange(low, high + 1)
    critical = np.array([_critical(int(m), method, alpha) for m in counts])
    share = first_only / discordant
    # Nothing is rejected where the critical count is -1: both tails are empty then.
    rejected = stats.binom.cdf(critical, counts, share) + stats.binom.sf(counts - critical - 1, counts, share)
    return float(stats.binom.pmf(counts, n, discordant) @ rejected)


def mcnemar_sample_size(
    first_only: float, second_only: float, *, power: float = 0.8, method: str = "exact", alpha: float = 0.05
) -> int:
    """Find the fewest cases that give McNemar's test its power.

    Parameters
    ----------
    first_only, second_only : float
        Shares of cases that one reader alone gets right; see :func:`discordant_shares`.
    power : float
        Above 0, below 1.
    method : str
    alpha : float
        Two-sided.

    Returns
    -------
    int
        The power of an exact test does not rise with every case: the number given has it, and so have the ten numbers
        after it.

    Raises
    ------
    InputError
        For equal shares, which no number of cases tells apart, or a need beyond 20,000 cases.
    """
    if first_only == second_only or not 0 < power < 1:
        raise InputError(
            f"equal discordant shares ({first_only:g}), or a power of {power:g}",
            where="sample size",
            allowed="shares that differ, a power between 0 and 1",
        )
    total, gap = first_only + second_only, abs(first_only - second_only)
    # Miettinen's approximation tells where to look (Biometrics 1968;24:339-352).
    reach = stats.norm.ppf(1 - alpha / 2) * np.sqrt(total) + stats.norm.ppf(power) * np.sqrt(max(total - gap**2, 0))
    return _fewest(
        lambda n: mcnemar_power(first_only, second_only, n, method=method, alpha=alpha) >= power, (reach / gap) ** 2
    )


def non_inferiority_power(
    first_only: float, second_only: float, n: int, *, margin: float, alpha: float = 0.025
) -> float:
    """Power to show that the first reader is worse than the second by less than a margin, over every table.

    Parameters
    ----------
    first_only, second_only : float
        True shares of cases that one reader alone gets right; see :func:`discordant_shares`.
    n : int
        Cases of the class in question (malignant for sensitivity).
    margin : float
        Above 0, below 1.
    alpha : float
        One-sided.

    Returns
    -------
    float
        Of :func:`spinefx.statistics.paired.mcnemar.non_inferiority`, exact but for tables that together have a
        chance below 1e-8.

    Raises
    ------
    InputError
        For impossible shares, margin or level, or no cases.
    """
    _check(first_only, second_only, n, alpha)
    if not 0 < margin < 1:
        raise InputError(f"a margin of {margin}", where="sample size", allowed="above 0, below 1")
    b, c = np.ogrid[tuple(slice(*_likely(share, n)) for share in (first_only, second_only))]
    b, c = (kept[b + c <= n] for kept in np.broadcast_arrays(b, c))
    gap, variance = tango_terms(-margin, b, c, n)
    beyond = gap > stats.norm.isf(alpha) * np.sqrt(variance)
    neither = max(0.0, 1 - first_only - second_only)
    cells = np.stack([b, c, n - b - c], axis=-1)
    return float(stats.multinomial.pmf(cells[beyond], n, (first_only, second_only, neither)).sum())


def non_inferiority_sample_size(
    first_only: float, second_only: float, *, margin: float, power: float = 0.8, alpha: float = 0.025
) -> int:
    """Find the fewest cases that give the non-inferiority test its power.

    Parameters
    ----------
    first_only, second_only : float
        True shares of cases that one reader alone gets right.
    margin : float
    power : float
        Above 0, below 1.
    alpha : float
        One-sided.

    Returns
    -------
    int
        As :func:`mcnemar_sample_size` counts: the ten numbers after it have the power too.

    Raises
    ------
    InputError
        For a true loss at or beyond the margin, which no number of cases makes good, or a need beyond 20,000 cases.
    """
    room = first_only - second_only + margin
    # Decimal margins meet decimal shares: 0.9 - 1.0 + 0.1 is not 0 to the last digit.
    if room <= 1e-9 or not 0 < power < 1 or not 0 < alpha < 1:
        raise InputError(
            f"a true difference of {first_only - second_only:g} with a margin of {margin:g}, a power of {power:g}",
            where="sample size",
            allowed="a difference above minus the margin, power and level between 0 and 1",
        )
    total = max(first_only + second_only, margin)
    about = ((stats.norm.isf(alpha) + stats.norm.ppf(power)) / room) ** 2 * total
    return _fewest(
        lambda n: non_inferiority_power(first_only, second_only, n, margin=margin, alpha=alpha) >= power, about
    )


def _check(first_only: float, second_only: float, n: int, alpha: float) -> None:
    if not (min(first_only, second_only) >= 0 and first_only + second_only <= 1 and n >= 1 and 0 < alpha < 1):
        raise InputError(
            f"shares {first_only:g} and {second_only:g} of {n} cases at level {alpha:g}",
            where="sample size",
            allowed="shares of 0 or more that sum to 1 at most, one case or more, a level between 0 and 1",
        )


def _likely(share: float, n: int) -> tuple[int, int]:
    """Counts outside of which a binomial falls with a chance below 1e-9 on either side."""
    low, high = stats.binom.ppf([1e-9, 1 - 1e-9], n, share)
    return max(0, int(low)), int(high) + 1


def _fewest(enough: Callable[[int], bool], about: float) -> int:
    """The first number from which on, and for ten more, there are enough; looked for from 0.7 of a guess."""
    n = min(MOST_CASES, max(1, int(0.7 * about)))
    while n > 1 and enough(n):
        n = int(0.7 * n)
    run = 0
    while run <= NEXT_LOOKED_AT:
        if n > MOST_CASES:
            raise InputError(f"more than {MOST_CASES} cases needed", where="sample size", allowed="a larger difference")
        run = run + 1 if enough(n) else 0
        n += 1
    return n - run


@cache
def _critical(discordant: int, method: str, alpha: float) -> int:
    """Most wins of the reader who wins less often at which the test still rejects; -1 for none."""
    fewer = np.arange(discordant // 2 + 1)
    return int(np.searchsorted(mcnemar_p(fewer, discordant - fewer, method), alpha, side="right")) - 1
