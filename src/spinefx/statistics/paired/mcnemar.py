"""Tests of two readers on the same cases: McNemar's, non-inferiority, and what p-values given margins allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.answers import answers_from
from spinefx.statistics.estimate import Pairing, PValue, bare_p, holm
from spinefx.statistics.frames import truth_from
from spinefx.statistics.paired.table import PairedAccuracy, PairedTable, paired_difference, paired_ratio, tango_terms
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = [
    "MCNEMAR_METHODS",
    "AttainableMcNemar",
    "AttainableTable",
    "attainable_mcnemar",
    "comparison_table",
    "generalised_mcnemar",
    "mcnemar",
    "mcnemar_p",
    "non_inferiority",
    "non_inferiority_of_both",
]

MCNEMAR_METHODS = {
    "exact": "McNemar, exact",
    "midp": "McNemar, mid-p",
    "chi2": "McNemar, chi-square without continuity correction",
    "chi2cc": "McNemar, chi-square with continuity correction",
}


@dataclass(frozen=True)
class AttainableTable:
    """One paired table that given margins allow.

    Parameters
    ----------
    shared : int
        Errors that both made.
    first_only, second_only : int
        Errors of one alone.
    p : mapping of str to float
        By method.
    chance : float
        Of just so many shared errors if one reader's errors said nothing of the other's.
    """

    shared: int
    first_only: int
    second_only: int
    p: Mapping[str, float]
    chance: float


@dataclass(frozen=True)
class AttainableMcNemar:
    """Every paired table, and p-value, that two error counts allow.

    Parameters
    ----------
    first_errors, second_errors, n : int
    tables : tuple of AttainableTable
        By the number of shared errors.
    """

    first_errors: int
    second_errors: int
    n: int
    tables: tuple[AttainableTable, ...]

    def span(self, method: str) -> tuple[float, float]:
        """Give the smallest and the largest attainable p.

        Parameters
        ----------
        method : str
            One of :data:`MCNEMAR_METHODS`.

        Returns
        -------
        tuple of float
        """
        values = [table.p[method] for table in self.tables]
        return min(values), max(values)


def mcnemar_p(first_only: ArrayLike, second_only: ArrayLike, method: str = "exact") -> NDArray[np.float64]:
    """Two-sided p-values of McNemar's test from discordant counts alone.

    Parameters
    ----------
    first_only, second_only : array_like of int
        Cases that one alone read rightly (or wrongly).
    method : str
        One of :data:`MCNEMAR_METHODS`.

    Returns
    -------
    ndarray of float64
        1 where no pair is discordant.

    Raises
    ------
    InputError
        For an unknown method.

    Notes
    -----
    Mid-p after Fagerland MW et al. BMC Med Res Methodol 2013;13:91: with equal counts it is 1 - P(X = b) / 2.
    """
    if method not in MCNEMAR_METHODS:
        raise InputError(f"the McNemar method {method!r}", allowed=", ".join(MCNEMAR_METHODS))
    b, c = np.broadcast_arrays(np.asarray(first_only, float), np.asarray(second_only, float))
    discordant, smaller = b + c, np.minimum(b, c)
    if method.startswith("chi2"):
        return np.asarray(stats.chi2.sf(_chi_square(b, c, corrected=method == "chi2cc"), 1))
    exact = np.minimum(1.0, 2 * stats.binom.cdf(smaller, discordant, 0.5))
    if method == "exact":
        return np.asarray(exact)
    at = stats.binom.pmf(smaller, discordant, 0.5)
    return np.asarray(np.where(discordant == 0, 1.0, np.where(b == c, 1 - at / 2, exact - at)))


def mcnemar(
    table: PairedTable,
    method: str = "exact",
    *,
    quantity: str = "share read rightly",
    interval: str = "tango",
    confidence: float = 0.95,
) -> PValue:
    """Test whether two readers are right equally often.

    Parameters
    ----------
    table : PairedTable
    method : str
        One of :data:`MCNEMAR_METHODS`.
    quantity : str
        What the shares are, for the text.
    interval : str
        One of :data:`spinefx.statistics.paired.table.DIFFERENCE_METHODS`.
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second. Without discordant pairs p is 1, and the note says so.

    Raises
    ------
    InputError
        For an unknown method.
    """
    estimate = paired_difference(table, interval, confidence)
    said = f"difference of {quantity}, first minus second"
    name = MCNEMAR_METHODS.get(method, method)
    p = float(mcnemar_p(table.first_only, table.second_only, method))
    if table.n == 0:
        note = "no case that both have read"
        return PValue(np.nan, name, said, estimate, 0, Pairing.PAIRED, note=note)
    discordant = table.first_only + table.second_only
    note = "no case on which the two differ" if discordant == 0 else ""
    if not method.startswith("chi2"):
        return PValue(p, name, said, estimate, table.n, Pairing.PAIRED, note=note)
    statistic = float(_chi_square(table.first_only, table.second_only, corrected=method == "chi2cc"))
    return PValue(p, name, said, estimate, table.n, Pairing.PAIRED, statistic=statistic, df=1.0, note=note)


def generalised_mcnemar(pair: PairedAccuracy) -> PValue:
    """Test sensitivity and specificity together, so that one test guards both.

    Parameters
    ----------
    pair : PairedAccuracy

    Returns
    -------
    PValue
        Chi-square on two degrees of freedom (Lachenbruch PA, Lynch CJ. Stat Med 1998;17:2207-2217); the estimate is
        the difference of sensitivity.
    """
    tables = (pair.malignant, pair.benign)
    parts = [float(_chi_square(t.first_only, t.second_only)) for t in tables]
    df = sum(t.first_only + t.second_only > 0 for t in tables)
    quantity = "difference of sensitivity (specificity is tested with it), first minus second"
    estimate = paired_difference(pair.malignant)
    p = float(stats.chi2.sf(sum(parts), df)) if df else 1.0
    note = "" if df == 2 else f"discordant pairs in {df} of the two classes"
    n = pair.malignant.n + pair.benign.n
    return PValue(p, "McNemar, generalised", quantity, estimate, n, Pairing.PAIRED, sum(parts), float(df), note=note)


def non_inferiority(
    table: PairedTable, margin: float, *, quantity: str = "share read rightly", confidence: float = 0.95
) -> PValue:
    """Test whether the first reader is worse than the second by less than a margin.

    Parameters
    ----------
    table : PairedTable
    margin : float
        Largest loss that would be accepted, above 0 and below 1; to be fixed before the data are seen.
    quantity : str
        What the shares are, for the text.
    confidence : float
        Of the two-sided interval; non-inferior at half its complement where its lower limit lies above ``-margin``.

    Returns
    -------
    PValue
        One-sided, by Tango's score test; p below 0.025 exactly where the 95% interval says so.

    Raises
    ------
    InputError
        For an impossible margin.
    """
    if not 0 < margin < 1:
        raise InputError(f"a margin of {margin}", where="non-inferiority", allowed="above 0, below 1")
    estimate = paired_difference(table, "tango", confidence)
    name = f"Tango score, non-inferiority margin {margin:g}"
    said = f"difference of {quantity}, first minus second"
    if table.n == 0:
        return PValue(np.nan, name, said, estimate, 0, Pairing.PAIRED, sided="one-sided", note="no case read by both")
    gap, variance = tango_terms(-margin, table.first_only, table.second_only, table.n)
    statistic = float(gap / np.sqrt(variance))
    p = float(stats.norm.sf(statistic))
    return PValue(p, name, said, estimate, table.n, Pairing.PAIRED, statistic=statistic, sided="one-sided")


def non_inferiority_of_both(
    pair: PairedAccuracy, sensitivity_margin: float, specificity_margin: float, confidence: float = 0.95
) -> tuple[PValue, PValue, float]:
    """Test sensitivity and specificity for non-inferiority together.

    Parameters
    ----------
    pair : PairedAccuracy
    sensitivity_margin, specificity_margin : float
    confidence : float

    Returns
    -------
    sensitivity, specificity : PValue
    p : float
        That both are non-inferior: the larger of the two, without correction, since both must hold
        (intersection-union).

    Raises
    ------
    InputError
        For an impossible margin.
    """
    sensitivity = non_inferiority(pair.malignant, sensitivity_margin, quantity="sensitivity", confidence=confidence)
    specificity = non_inferiority(pair.benign, specificity_margin, quantity="specificity", confidence=confidence)
    return sensitivity, specificity, float(np.max([sensitivity.p, specificity.p]))


def attainable_mcnemar(first_errors: int, second_errors: int, n: int) -> AttainableMcNemar:
    """Find every p-value that two readers' error counts allow, whatever errors they shared.

    Parameters
    ----------
    first_errors, second_errors : int
        Of the same ``n`` cases.
    n : int

    Returns
    -------
    AttainableMcNemar

    Raises
    ------
    InputError
        When a reader has fewer than 0 or more than ``n`` errors.
    """
    if n < 1 or not (0 <= first_errors <= n and 0 <= second_errors <= n):
        raise InputError(f"{first_errors} and {second_errors} errors of {n} cases", allowed="0 to n errors, n above 0")
    shared = np.arange(max(0, first_errors + second_errors - n), min(first_errors, second_errors) + 1)
    chances = stats.hypergeom.pmf(shared, n, first_errors, second_errors)
    values = {method: mcnemar_p(first_errors - shared, second_errors - shared, method) for method in MCNEMAR_METHODS}
    tables = tuple(
        AttainableTable(
            int(k),
            int(first_errors - k),
            int(second_errors - k),
            {method: float(p[i]) for method, p in values.items()},
            float(chances[i]),
        )
        for i, k in enumerate(shared)
    )
    return AttainableMcNemar(first_errors, second_errors, n, tables)


def comparison_table(truth: object, answers: object, *, against: str | None = None) -> ResultTable:
    """Compare every two readers, or one with every other, within each class, with the paired table of each comparison.

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case.
    answers : mapping of str to mapping, or table of readings
        By reader (a model is one more), then by case; see :func:`spinefx.statistics.answers.answers_from`.
    against : str, optional
        The reader to compare all others with, as the first of each pair; by default every two are compared.

    Returns
    -------
    ResultTable
        Empty for fewer than two readers, and the note says so.

    Raises
    ------
    InputError
        For an answer without a truth, or a reader who is not among the answers.
    """
    of_case = truth_from(truth)
    by_reader = answers_from(answers, of_case)
    if against is not None and against not in by_reader:
        raise InputError(f"no answers of {against!r}", where="comparison", allowed=", ".join(by_reader))
    pairs = [(against, other) for other in by_reader if other != against] if against else combinations(by_reader, 2)
    rows: list[tuple[object, ...]] = []
    tests: list[list[float]] = []
    for one, other in pairs:
        for among, measure in ((Diagnosis.MALIGNANT, "sensitivity"), (Diagnosis.BENIGN, "specificity")):
            table = PairedTable.of(by_reader[one], by_reader[other], of_case, among)
            cells = (table.n, table.both, table.first_only, table.second_only, table.neither, table.left_out)
            differences = (paired_difference(table), paired_difference(table, "newcombe10"))
            shares = (table.first, table.second, *differences, paired_ratio(table))
            p = [float(mcnemar_p(table.first_only, table.second_only, method)) for method in MCNEMAR_METHODS]
            rows.append((one, other, measure, *cells, *shares))
            tests.append(p if table.n else [np.nan] * len(p))
    adjusted = holm([p[0] for p in tests])
    shown = [(*row, *map(bare_p, p), bare_p(last)) for row, p, last in zip(rows, tests, adjusted, strict=True)]
    cell_names = ("cases", "both right", "only first right", "only second right", "both wrong", "read by one only")
    names = ("first", "second", "difference (Tango)", "difference (Newcombe 10)", "ratio (Tang)")
    tests_named = ("p exact", "p mid-p", "p chi-square", "p chi-square, corrected", "p exact, Holm")
    note = (
        "McNemar's tests on the cases that both have read; differences are first minus second, ratios "
        "first by second, with 95% intervals. "
        "Holm's correction is over this table."
    )
    if len(by_reader) < 2:
        note = "Fewer than two readers: nothing to compare."
    columns = ("reader 1", "reader 2", "measure", *cell_names, *names, *tests_named)
    return ResultTable("comparison", "Readers compared, case by case", columns, tuple(shown), note)


def _chi_square(b: ArrayLike, c: ArrayLike, *, corrected: bool = False) -> NDArray[np.float64]:
    first, second = np.asarray(b, float), np.asarray(c, float)
    gap = np.maximum(np.abs(first - second) - (1 if corrected else 0), 0)
    return np.asarray(gap**2 / np.maximum(first + second, 1))
