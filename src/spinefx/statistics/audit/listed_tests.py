"""The tests by which a printed p-value is looked for before it is called impossible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.statistics.audit.claims import PrintedP
from spinefx.statistics.contingency import chi_square_p, fisher_p

__all__ = ["LISTED_TESTS", "GivenP", "name_tests", "tests_that_give"]

Floats = NDArray[np.float64]
PAIRED = ("exact McNemar", "mid-p McNemar", "chi-square McNemar", "corrected chi-square McNemar")
UNPAIRED = ("Fisher", "mid-p Fisher", "chi-square", "corrected chi-square", "unpooled z", "likelihood ratio")
ONE_SIDED, OTHER_SIDE = "one-sided ", "one-sided (other direction) "
LISTED_TESTS = (
    f"{', '.join((*PAIRED, *UNPAIRED))}; each two-sided and one-sided (the last two-sided only), rounded or truncated; "
    "for a printed number also one-sided in the direction opposite to the counts"
)
TRUNCATED = ", truncated instead of rounded"
MOST_NAMED = 3


@dataclass(frozen=True)
class GivenP:
    """A test that gives a printed p-value.

    Parameters
    ----------
    test : str
    p : float
    first_only, second_only : int or None
        Errors that only one of the two readers made; None for an unpaired test.
    is_truncated : bool
        Whether the printed value is the p-value cut off instead of rounded.
    """

    test: str
    p: float
    first_only: int | None = None
    second_only: int | None = None
    is_truncated: bool = False

    def __str__(self) -> str:
        table = "" if self.first_only is None else f", b = {self.first_only}, c = {self.second_only}"
        return f"{self.test}{table}{TRUNCATED if self.is_truncated else ''}"


def tests_that_give(printed: PrintedP, k1: int, n1: int, k2: int, n2: int, *, paired: bool) -> tuple[GivenP, ...]:
    """Return the listed tests that give a printed p-value.

    Parameters
    ----------
    printed : PrintedP
    k1, n1, k2, n2 : int
        Counts and totals of two groups, or errors of two readers of the same ``n1`` cases.
    paired : bool
        Whether to try the paired tests as well, with every number of shared errors.

    Returns
    -------
    tuple of GivenP
        Rounded values before truncated ones, two-sided tests before one-sided ones.
    """
    tests: list[tuple[str, Floats, Floats | None, Floats | None]] = []
    if paired:
        shared = np.arange(max(0, k1 + k2 - n1), min(k1, k2) + 1)
        b, c = (np.asarray(k - shared, float) for k in (k1, k2))
        tests += [(name, p, b, c) for name, p in _paired(b, c).items()]
    tests += [(name, np.array([p]), None, None) for name, p in _unpaired(k1, n1, k2, n2).items()]
    if printed.relation in {">", ">="}:
        # A test in the direction opposite to the counts exceeds every bound, and would excuse any of them.
        tests = [one for one in tests if not one[0].startswith(OTHER_SIDE)]
    tests.sort(key=lambda one: (one[0].startswith(OTHER_SIDE), one[0].startswith(ONE_SIDED)))
    return tuple(
        GivenP(name, float(p[i]), None if b is None else int(b[i]), None if c is None else int(c[i]), truncated)
        for truncated, fits in ((False, printed.fits), (True, printed.is_truncation_of))
        for name, p, b, c in tests
        for i in _places(p, fits)
    )


def name_tests(given: tuple[GivenP, ...]) -> str:
    """Name the first tests of a list, each once.

    Parameters
    ----------
    given : tuple of GivenP

    Returns
    -------
    str
        For example ``given by: one-sided exact McNemar, b = 5, c = 7``.
    """
    by_test: dict[tuple[str, bool], GivenP] = {}
    for one in given:
        by_test.setdefault((one.test, one.is_truncated), one)
    named = [str(one) for one in list(by_test.values())[:MOST_NAMED]]
    more = len(by_test) - len(named)
    return f"given by: {'; or '.join(named)}{f'; and {more} more tests' if more else ''}"


def _places(p: Floats, fits: Callable[[float], bool]) -> list[int]:
    return [i for i, value in enumerate(p) if fits(float(value))]


def _sides(name: str, two: Floats, one: Floats, other: Floats) -> dict[str, Floats]:
    return {name: two, f"{ONE_SIDED}{name}": one, f"{OTHER_SIDE}{name}": other}


def _paired(b: Floats, c: Floats) -> dict[str, Floats]:
    """Return the p-values of McNemar's tests, each for every table."""
    fewer, n = np.minimum(b, c), b + c
    below, point = stats.binom.cdf(fewer, n, 0.5), stats.binom.pmf(fewer, n, 0.5)
    above = 1 - below + point
    found = _sides(PAIRED[0], np.minimum(1, 2 * below), below, above)
    both = np.where(b == c, 1 - point / 2, 2 * below - point)
    found |= _sides(PAIRED[1], np.where(n == 0, 1.0, both), below - point / 2, above - point / 2)
    for name, correction in zip(PAIRED[2:], (0.0, 1.0), strict=True):
        gap = np.maximum(0, np.abs(b - c) - correction)
        z = np.divide(gap, np.sqrt(n), out=np.zeros_like(gap), where=n > 0)
        found |= _sides(name, 2 * stats.norm.sf(z), stats.norm.sf(z), stats.norm.cdf(z))
    return found


def _unpaired(k1: int, n1: int, k2: int, n2: int) -> dict[str, float]:
    """Return the p-values of the tests of two independent groups."""
    law = stats.hypergeom(n1 + n2, k1 + k2, n1)
    point, below, above = float(law.pmf(k1)), float(law.cdf(k1)), float(law.sf(k1 - 1))
    tails = sorted((below, above))
    fisher = fisher_p(k1, n1, k2, n2)
    found = dict(zip(_sides(UNPAIRED[0], *[np.empty(0)] * 3), (fisher, *tails), strict=True))
    middle = (fisher - point / 2, *(tail - point / 2 for tail in tails))
    found |= dict(zip(_sides(UNPAIRED[1], *[np.empty(0)] * 3), middle, strict=True))
    for name, corrected in zip(UNPAIRED[2:4], (False, True), strict=True):
        two = chi_square_p(k1, n1, k2, n2, corrected=corrected)
        found |= {name: two, f"{ONE_SIDED}{name}": two / 2, f"{OTHER_SIDE}{name}": 1 - two / 2}
    first, second = k1 / n1, k2 / n2
    variance = first * (1 - first) / n1 + second * (1 - second) / n2
    if variance > 0:
        one = float(stats.norm.sf(abs(first - second) / np.sqrt(variance)))
        found |= {UNPAIRED[4]: 2 * one, f"{ONE_SIDED}{UNPAIRED[4]}": one, f"{OTHER_SIDE}{UNPAIRED[4]}": 1 - one}
    cells = np.array([[k1, n1 - k1], [k2, n2 - k2]], float)
    if (cells.sum(axis=0) > 0).all():
        expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / cells.sum()
        ratio = np.where(cells > 0, cells, 1) / np.where(cells > 0, expected, 1)
        found[UNPAIRED[5]] = float(stats.chi2.sf(max(0.0, 2 * float((cells * np.log(ratio)).sum())), 1))
    return found
