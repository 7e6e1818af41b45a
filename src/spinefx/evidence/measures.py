"""Every measure of accuracy, reader by reader: what Table 2 of the paper leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spinefx.cases.reading import Reading
from spinefx.evidence.accuracy import Confusion, kappa, likelihood_ratios, mcc, predictive_values
from spinefx.evidence.tables import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

__all__ = ["answers_by_reader", "measure_table"]


def answers_by_reader(readings: Iterable[Reading], truth: Mapping[str, Diagnosis]) -> dict[str, dict[str, Diagnosis]]:
    """Sort readings by reader, a reader's aided ones apart.

    Parameters
    ----------
    readings : iterable of Reading
        Of people and of models.
    truth : mapping of str to Diagnosis
        By case; readings of other cases are left out.

    Returns
    -------
    dict of str to dict
        Answers by case, by reader; ``, aided`` is added to the name of a reader who had the model's help.
    """
    answers: dict[str, dict[str, Diagnosis]] = {}
    for reading in readings:
        if reading.case_id in truth:
            label = reading.reader_id if reading.arm == Arm.UNAIDED else f"{reading.reader_id}, aided"
            answers.setdefault(label, {})[reading.case_id] = reading.diagnosis
    return answers


def measure_table(
    truth: Mapping[str, Diagnosis],
    answers: Mapping[str, Mapping[str, Diagnosis]],
    *,
    prevalence: float | None = None,
) -> ResultTable:
    """Set all measures of every reader side by side.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    answers : mapping of str to mapping
        By reader (a model is one more), then by case; see :func:`answers_by_reader`.
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
    rows = []
    for reader, mine in answers.items():
        counts = Confusion.of(mine, truth)
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
