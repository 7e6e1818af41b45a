"""Performance of a reader within subgroups of the cohort."""

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
    diagnoses: Mapping[str, Diagnosis],
    groups: Mapping[str, str],
    *,
    name: str,
    scores: Mapping[str, float] | None = None,
) -> ResultTable:
    """Tabulate one reader's performance within each subgroup.

    Parameters
    ----------
    truth, diagnoses : mapping of str to Diagnosis
        By case.
    groups : mapping of str to str
        Subgroup of each case; cases without one are listed as not recorded.
    name : str
        Name of the subgroup variable, such as ``sex`` or ``level``.
    scores : mapping of str to float, optional
        Scores by case for the area under the curve; higher means more likely malignant.

    Returns
    -------
    ResultTable
        One row per subgroup and one for all cases; a measure without cases is empty. Subgroups are not tested against
        each other; their intervals show how uncertain small ones are.

    Raises
    ------
    InputError
        If a diagnosed case has no truth.
    """
    members: dict[str, list[str]] = {}
    for case in diagnoses:
        members.setdefault(groups.get(case) or NOT_RECORDED, []).append(case)
    rows = []
    for label, cases in [*sorted(members.items()), ("all", list(diagnoses))]:
        counts = Confusion.of({case: diagnoses[case] for case in cases}, truth)
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
