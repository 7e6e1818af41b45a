"""Every measure of accuracy, reader by reader: what Table 2 of the paper leaves out."""

from __future__ import annotations

from itertools import combinations

from spinefx.statistics.accuracy import Confusion, kappa, likelihood_ratios, mcc, predictive_values
from spinefx.statistics.answers import answers_from
from spinefx.statistics.frames import truth_from
from spinefx.statistics.table import ResultTable

__all__ = ["agreement_table", "measure_table"]


def measure_table(
    truth: object,
    answers: object,
    *,
    prevalence: float | None = None,
) -> ResultTable:
    """Set all measures of every reader side by side.

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case.
    answers : mapping of str to mapping, or table of readings
        By reader (a model is one more), then by case; see :func:`spinefx.statistics.answers.answers_from`.
    prevalence : float, optional
        Share of malignant cases for predictive values elsewhere; without it those of this cohort alone are given.

    Returns
    -------
    ResultTable

    Raises
    ------
    InputError
        For an answer without a truth or an impossible prevalence.
    """
    rows, of_case = [], truth_from(truth)
    for reader, mine in answers_from(answers, of_case).items():
        counts = Confusion.of(mine, of_case)
        exact = (counts.exact(name) for name in ("sensitivity", "specificity", "accuracy"))
        elsewhere = () if prevalence is None else predictive_values(counts, prevalence)
        agreement = (kappa(counts), mcc(counts))
        rows.append((reader, *exact, counts.ppv, counts.npv, *elsewhere, *likelihood_ratios(counts), *agreement))
    shown = () if prevalence is None else tuple(f"{name} at {100 * prevalence:g}%" for name in ("PPV", "NPV"))
    columns = ("reader", "sensitivity", "specificity", "accuracy", "PPV", "NPV", *shown, "LR+", "LR-", "kappa", "MCC")
    note = (
        "Sensitivity, specificity and accuracy with Clopper-Pearson's exact 95% intervals (Wilson's stand in Table 2); "
        "PPV and NPV with Wilson's, at this cohort's prevalence; likelihood ratios on the log scale; kappa and "
        "Matthews' correlation by the delta method."
    )
    return ResultTable("measures", "Further measures of accuracy", columns, tuple(rows), note)


def agreement_table(answers: object) -> ResultTable:
    """Say how far every two readers agree, right or wrong.

    Parameters
    ----------
    answers : mapping of str to mapping, or table of readings
        By reader (a model is one more), then by case.

    Returns
    -------
    ResultTable
        Over the cases that both have read.
    """
    rows, by_reader = [], answers_from(answers)
    for one, other in combinations(by_reader, 2):
        shared = {case: answer for case, answer in by_reader[one].items() if case in by_reader[other]}
        # The second reader stands where the truth stands elsewhere.
        counts = Confusion.of(shared, by_reader[other])
        rows.append((one, other, len(shared), counts.accuracy, kappa(counts)))
    columns = ("reader 1", "reader 2", "cases", "same answer", "kappa")
    note = "Shares with Wilson 95% intervals; Cohen's kappa by the delta method. Agreement says nothing of the truth."
    return ResultTable("agreement", "Agreement of every two readers", columns, tuple(rows), note)
