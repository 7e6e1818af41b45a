"""How well a reader does in parts of the cohort."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = ["subgroup_table"]

NOT_RECORDED = "not recorded"
FEW = 10


def subgroup_table(
    truth: Mapping[str, Diagnosis],
    answers: Mapping[str, Diagnosis],
    groups: Mapping[str, str],
    *,
    name: str,
    scores: Mapping[str, float] | None = None,
) -> ResultTable:
    """Count one reader's answers within each subgroup.

    Parameters
    ----------
    truth, answers : mapping of str to Diagnosis
        By case.
    groups : mapping of str to str
        The subgroup of each case; a case without one is shown as not recorded.
    name : str
        What divides the cases: ``sex``, ``level`` and the like.
    scores : mapping of str to float, optional
        Higher means more likely malignant; for the area under the curve.

    Returns
    -------
    ResultTable
        A row a subgroup and one for all; a measure without a case stays empty. No test between subgroups is made: the
        intervals say how little a small one tells.

    Raises
    ------
    InputError
        For an answer without a truth.
    """
    members: dict[str, list[str]] = {}
    for case in answers:
        members.setdefault(groups.get(case) or NOT_RECORDED, []).append(case)
    rows = []
    for label, cases in [*sorted(members.items()), ("all", list(answers))]:
        counts = Confusion.of({case: answers[case] for case in cases}, truth)
        malignant, benign = counts.tp + counts.fn, counts.tn + counts.fp
        area = _area(cases, truth, scores)
        remark = f"fewer than {FEW} of a class" if min(malignant, benign) < FEW else ""
        rates = (counts.sensitivity, counts.specificity, counts.accuracy)
        rows.append((label, malignant, benign, *rates, area, remark))
    columns = (name, "malignant", "benign", "sensitivity", "specificity", "accuracy", "AUC", "remark")
    note = "Wilson 95% intervals, DeLong's for the AUC. Subgroups were not tested against each other."
    return ResultTable(f"subgroups_{name.replace(' ', '_')}", f"Subgroups by {name}", columns, tuple(rows), note)


def _area(cases: list[str], truth: Mapping[str, Diagnosis], scores: Mapping[str, float] | None) -> Estimate | None:
    known = [case for case in cases if scores is not None and case in scores]
    malignant = np.array([truth[case] == Diagnosis.MALIGNANT for case in known], bool)
    if scores is None or not malignant.any() or malignant.all():
        return None
    return auc_estimate([scores[case] for case in known], malignant)
