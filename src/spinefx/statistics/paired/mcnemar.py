"""Tests of two readers on the same cases: McNemar's test, non-inferiority, and p-values attainable from margins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.estimate import Pairing, PValue, bare_p, holm
from spinefx.statistics.inputs import truth_from
from spinefx.statistics.paired.intervals import paired_difference, paired_ratio
from spinefx.statistics.paired.limits import tango_terms
from spinefx.statistics.paired.table import PairedAccuracy, PairedTable
from spinefx.statistics.readings import diagnoses_from
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
    """One paired table that is compatible with given margins.

    Parameters
    ----------
    shared : int
        Errors that both readers made.
    first_only, second_only : int
        Errors that only one of them made.
    p : mapping of str to float
        p-value by method.
    probability : float
        Probability of this number of shared errors if the readers err independently.
    """

    shared: int
    first_only: int
    second_only: int
    p: Mapping[str, float]
    probability: float


@dataclass(frozen=True)
class AttainableMcNemar:
    """Every paired table and p-value that is compatible with two error counts.

    Parameters
    ----------
    first_errors, second_errors, n : int
        Errors of the two readers, and number of cases.
    tables : tuple of AttainableTable
        In ascending order of the number of shared errors.
    """

    first_errors: int
    second_errors: int
    n: int
    tables: tuple[AttainableTable, ...]

    @property
    def table(self) -> ResultTable:
        """The paired tables, with the p-value of each test."""
        columns = ("shared errors", "only first wrong", "only second wrong", *MCNEMAR_METHODS)
        rows = tuple(
            (one.shared, one.first_only, one.second_only, *(bare_p(float(one.p[name])) for name in MCNEMAR_METHODS))
            for one in self.tables
        )
        title = f"{self.first_errors} and {self.second_errors} errors in {self.n} cases"
        return ResultTable("attainable", title, columns, rows)

    def p_range(self, method: str) -> tuple[float, float]:
        """Return the smallest and the largest attainable p-value.

        Parameters
        ----------
        method : str
            A key of :data:`MCNEMAR_METHODS`.

        Returns
        -------
        low, high : float
        """
        values = [table.p[method] for table in self.tables]
        return min(values), max(values)


def mcnemar_p(first_only: ArrayLike, second_only: ArrayLike, method: str = "exact") -> NDArray[np.float64]:
    """Return two-sided p-values of McNemar's test from discordant counts.

    Parameters
    ----------
    first_only, second_only : array_like of int
        Cases that only one reader diagnosed correctly (or incorrectly).
    method : str
        A key of :data:`MCNEMAR_METHODS`.

    Returns
    -------
    ndarray of float64
        1 if no pair is discordant.

    Raises
    ------
    InputError
        If the method is unknown.

    Notes
    -----
    The mid-p test is that of Fagerland MW et al. BMC Med Res Methodol 2013;13:91; with equal counts it gives
    1 - P(X = b) / 2.
    """
    if method not in MCNEMAR_METHODS:
        raise InputError(f"McNemar method {method!r}", allowed=", ".join(MCNEMAR_METHODS))
    b, c = np.broadcast_arrays(np.asarray(first_only, float), np.asarray(second_only, float))
    discordant, smaller = b + c, np.minimum(b, c)
    if method.startswith("chi2"):
        return np.asarray(stats.chi2.sf(_chi_square(b, c, corrected=method == "chi2cc"), 1))
    exact = np.minimum(1.0, 2 * stats.binom.cdf(smaller, discordant, 0.5))
    if method == "exact":
        return np.asarray(exact)
    point = stats.binom.pmf(smaller, discordant, 0.5)
    return np.asarray(np.where(discordant == 0, 1.0, np.where(b == c, 1 - point / 2, exact - point)))


def mcnemar(
    table: PairedTable,
    method: str = "exact",
    *,
    quantity: str = "proportion correct",
    interval: str = "tango",
    confidence: float = 0.95,
) -> PValue:
    """Test by McNemar's test whether two readers are correct equally often.

    Parameters
    ----------
    table : PairedTable
    method : str
        A key of :data:`MCNEMAR_METHODS`.
    quantity : str
        Name of the proportions, for example ``sensitivity``.
    interval : str
        One of :data:`spinefx.statistics.paired.intervals.DIFFERENCE_METHODS`.
    confidence : float

    Returns
    -------
    PValue
        Of the difference, first minus second. Without discordant pairs p is 1, and the note says so.

    Raises
    ------
    InputError
        If the method or the interval is unknown.
    """
    estimate = paired_difference(table, interval, confidence)
    quantity = f"difference of {quantity}, first minus second"
    name = MCNEMAR_METHODS.get(method, method)
    p = float(mcnemar_p(table.first_only, table.second_only, method))
    if table.n == 0:
        note = "no case was read by both"
        return PValue(np.nan, name, quantity, estimate, 0, Pairing.PAIRED, note=note)
    discordant = table.first_only + table.second_only
    note = "the readers differ in no case" if discordant == 0 else ""
    if not method.startswith("chi2"):
        return PValue(p, name, quantity, estimate, table.n, Pairing.PAIRED, note=note)
    statistic = float(_chi_square(table.first_only, table.second_only, corrected=method == "chi2cc"))
    return PValue(p, name, quantity, estimate, table.n, Pairing.PAIRED, statistic=statistic, df=1.0, note=note)


def generalised_mcnemar(pair: PairedAccuracy) -> PValue:
    """Test sensitivity and specificity jointly by the generalised McNemar test.

    Parameters
    ----------
    pair : PairedAccuracy

    Returns
    -------
    PValue
        Chi-square with two degrees of freedom; the estimate is the difference of sensitivity.

    Notes
    -----
    Lachenbruch PA, Lynch CJ. Stat Med 1998;17:2207-2217.
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
    table: PairedTable, margin: float, *, quantity: str = "proportion correct", confidence: float = 0.95
) -> PValue:
    """Test whether the first reader is worse than the second by less than a margin.

    Parameters
    ----------
    table : PairedTable
    margin : float
        Largest acceptable loss, above 0 and below 1; to be fixed before the data are seen.
    quantity : str
        Name of the proportions, for example ``sensitivity``.
    confidence : float
        Level of the two-sided interval. A lower limit above ``-margin`` shows non-inferiority at half the complement
        of this level.

    Returns
    -------
    PValue
        One-sided, by Tango's score test; p is below 0.025 if and only if the lower limit of the 95% interval lies above
        ``-margin``.

    Raises
    ------
    InputError
        If the margin is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise InputError(f"margin {margin}", where="non-inferiority", allowed="a value above 0 and below 1")
    estimate = paired_difference(table, "tango", confidence)
    name = f"Tango score, non-inferiority margin {margin:g}"
    quantity = f"difference of {quantity}, first minus second"
    if table.n == 0:
        note = "no case was read by both"
        return PValue(np.nan, name, quantity, estimate, 0, Pairing.PAIRED, sided="one-sided", note=note)
    gap, variance = tango_terms(-margin, table.first_only, table.second_only, table.n)
    statistic = float(gap / np.sqrt(variance))
    p = float(stats.norm.sf(statistic))
    return PValue(p, name, quantity, estimate, table.n, Pairing.PAIRED, statistic=statistic, sided="one-sided")


def non_inferiority_of_both(
    pair: PairedAccuracy, sensitivity_margin: float, specificity_margin: float, confidence: float = 0.95
) -> tuple[PValue, PValue, float]:
    """Test sensitivity and specificity jointly for non-inferiority.

    Parameters
    ----------
    pair : PairedAccuracy
    sensitivity_margin, specificity_margin : float
        Largest acceptable losses, above 0 and below 1.
    confidence : float

    Returns
    -------
    sensitivity, specificity : PValue
    p : float
        Of both being non-inferior: the larger of the two p-values, without correction, since both must hold
        (intersection-union test).

    Raises
    ------
    InputError
        If a margin is not between 0 and 1.
    """
    sensitivity = non_inferiority(pair.malignant, sensitivity_margin, quantity="sensitivity", confidence=confidence)
    specificity = non_inferiority(pair.benign, specificity_margin, quantity="specificity", confidence=confidence)
    return sensitivity, specificity, float(np.max([sensitivity.p, specificity.p]))


def attainable_mcnemar(first_errors: int, second_errors: int, n: int) -> AttainableMcNemar:
    """Return every p-value that is compatible with two readers' error counts.

    Parameters
    ----------
    first_errors, second_errors : int
        Errors of the two readers.
    n : int
        Number of cases, the same for both.

    Returns
    -------
    AttainableMcNemar

    Raises
    ------
    InputError
        If there is no case, or a reader has fewer than 0 or more than ``n`` errors.
    """
    if n < 1 or not (0 <= first_errors <= n and 0 <= second_errors <= n):
        found = f"{first_errors} and {second_errors} errors in {n} cases"
        raise InputError(found, allowed="one or more cases, and no more errors than cases")
    shared = np.arange(max(0, first_errors + second_errors - n), min(first_errors, second_errors) + 1)
    probabilities = stats.hypergeom.pmf(shared, n, first_errors, second_errors)
    values = {method: mcnemar_p(first_errors - shared, second_errors - shared, method) for method in MCNEMAR_METHODS}
    tables = tuple(
        AttainableTable(
            int(k),
            int(first_errors - k),
            int(second_errors - k),
            {method: float(p[i]) for method, p in values.items()},
            float(probabilities[i]),
        )
        for i, k in enumerate(shared)
    )
    return AttainableMcNemar(first_errors, second_errors, n, tables)


def comparison_table(truth: object, diagnoses: object, *, against: str | None = None) -> ResultTable:
    """Compare every two readers, or one with all others, within each class, and tabulate the paired counts.

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case.
    diagnoses : mapping of str to mapping, or table of readings
        By reader (each model counts as one), then by case; see
        :func:`spinefx.statistics.readings.diagnoses_from`.
    against : str, optional
        The reader with whom to compare all others, as the first of each pair; by default every two are compared.

    Returns
    -------
    ResultTable
        Empty, with a note, if there are fewer than two readers.

    Raises
    ------
    InputError
        If a diagnosed case has no truth, or there are no diagnoses of the reader ``against``.
    """
    true_diagnoses = truth_from(truth)
    by_reader = diagnoses_from(diagnoses, true_diagnoses)
    if against is not None and against not in by_reader:
        raise InputError(f"no diagnoses of {against!r}", where="comparison", allowed=", ".join(by_reader))
    pairs = [(against, other) for other in by_reader if other != against] if against else combinations(by_reader, 2)
    rows: list[tuple[object, ...]] = []
    tests: list[list[float]] = []
    for one, other in pairs:
        for among, measure in ((Diagnosis.MALIGNANT, "sensitivity"), (Diagnosis.BENIGN, "specificity")):
            table = PairedTable.of(by_reader[one], by_reader[other], true_diagnoses, among)
            cells = (table.n, table.both, table.first_only, table.second_only, table.neither, table.left_out)
            differences = (paired_difference(table), paired_difference(table, "newcombe10"))
            estimates = (table.first, table.second, *differences, paired_ratio(table))
            p = [float(mcnemar_p(table.first_only, table.second_only, method)) for method in MCNEMAR_METHODS]
            rows.append((one, other, measure, *cells, *estimates))
            tests.append(p if table.n else [np.nan] * len(p))
    adjusted = holm([p[0] for p in tests])
    complete = [(*row, *map(bare_p, p), bare_p(last)) for row, p, last in zip(rows, tests, adjusted, strict=True)]
    cell_columns = ("cases", "both right", "only first right", "only second right", "both wrong", "read by one only")
    estimate_columns = ("first", "second", "difference (Tango)", "difference (Newcombe 10)", "ratio (Tang)")
    test_columns = ("p exact", "p mid-p", "p chi-square", "p chi-square, corrected", "p exact, Holm")
    note = (
        "McNemar's tests on the cases that both have read; differences are first minus second, ratios "
        "first by second, with 95% intervals. "
        "Holm's correction is over this table."
    )
    if len(by_reader) < 2:
        note = "There are fewer than two readers, so there is nothing to compare."
    columns = ("reader 1", "reader 2", "measure", *cell_columns, *estimate_columns, *test_columns)
    return ResultTable("comparison", "Readers compared, case by case", columns, tuple(complete), note)


def _chi_square(b: ArrayLike, c: ArrayLike, *, corrected: bool = False) -> NDArray[np.float64]:
    first, second = np.asarray(b, float), np.asarray(c, float)
    gap = np.maximum(np.abs(first - second) - (1 if corrected else 0), 0)
    return np.asarray(gap**2 / np.maximum(first + second, 1))
