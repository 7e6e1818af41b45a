"""How well a model reads the fifteen signs: each by itself, rare ones with their intervals, and never a mean alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spinefx.statistics.accuracy import Confusion
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import SIGNS, Diagnosis, Score

__all__ = ["RARE", "sign_reading_table"]

RARE = 10
"""With fewer cases that show a sign, its area under the curve is left out of the mean."""


def sign_reading_table(
    probabilities: Mapping[str, Mapping[str, float | None]], scores: Mapping[str, Mapping[str, Score]]
) -> ResultTable:
    """Compare a model's probabilities of the signs with a reader's scores.

    Parameters
    ----------
    probabilities : mapping of str to mapping
        By case, then by sign: the model's held-out probability; None where it was left out or not assessed.
    scores : mapping of str to mapping
        The reader's scores, by case.

    Returns
    -------
    ResultTable
        One row for each sign, with DeLong's interval of the area under the curve, and the mean probability beside the
        share of cases that show the sign.
    """
    rows: list[tuple[object, ...]] = []
    common = []
    for sign in SIGNS:
        known = [
            (chances[sign.identifier], scores[case][sign.identifier] is Score.YES)
            for case, chances in probabilities.items()
            if case in scores and scores[case][sign.identifier] is not Score.NOT_ASSESSABLE
        ]
        read = [(chance, shown) for chance, shown in known if chance is not None]
        shown = sum(present for _, present in read)
        if not 0 < shown < len(read):
            rows.append((sign.label, shown, len(known), None, None, None, None, None))
            continue
        chances, present = np.array([chance for chance, _ in read]), np.array([one for _, one in read], bool)
        area = auc_estimate(chances, present)
        common += [area.value] if shown >= RARE else []
        malignant, benign = Diagnosis.MALIGNANT, Diagnosis.BENIGN
        counts = Confusion.of(
            {str(place): malignant if chance >= 0.5 else benign for place, chance in enumerate(chances)},
            {str(place): malignant if one else benign for place, one in enumerate(present)},
        )
        mean, share = float(chances.mean()), shown / len(read)
        rows.append((sign.label, shown, len(read), area, counts.sensitivity, counts.specificity, mean, share))
    middle = f"{np.mean(common):.3f} over {len(common)} signs" if common else "not given"
    note = (
        "Each sign was read by networks that had not seen the patient. Intervals are DeLong's and Wilson's, 95%; "
        "sensitivity and specificity are those at a probability of 0.5. Mean area under the curve of signs with "
        f"{RARE} or more cases: {middle}. A row without numbers is of a sign that was left out, or that no case or "
        "every case shows."
    )
    columns = ("sign", "shown", "assessed", "AUC", "sensitivity", "specificity", "mean probability", "share shown")
    return ResultTable("sign_reading", "Signs as read by the model", columns, tuple(rows), note)
