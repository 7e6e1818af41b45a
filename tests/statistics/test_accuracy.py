"""Counts, proportions and ROC curves against published and independently computed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.statistics.accuracy import (
    Confusion,
    Roc,
    diagnostic_odds_ratio,
    kappa,
    likelihood_ratios,
    majority_baseline,
    mcc,
    predictive_values,
)
from spinefx.vocabulary import Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN

# Yeh 2022, Table 2, with Wilson intervals from R 4.2.2 prop.test(k, n, correct = FALSE).
TABLE_2 = {
    "msk": (Confusion(47, 139, 3, 1), (0.838, 0.979), (0.961, 0.999), (0.947, 0.992)),
    "r4": (Confusion(47, 135, 3, 5), (0.838, 0.979), (0.919, 0.985), (0.919, 0.979)),
    "r1": (Confusion(39, 86, 11, 54), (0.648, 0.872), (0.532, 0.691), (0.588, 0.722)),
    "resnet50": (Confusion(47, 128, 3, 12), (0.838, 0.979), (0.856, 0.950), (0.874, 0.952)),
}


@pytest.mark.parametrize("reader", TABLE_2)
def test_table_2_has_wilson_intervals(reader: str) -> None:
    confusion, *intervals = TABLE_2[reader]
    for estimate, (low, high) in zip(
        (confusion.sensitivity, confusion.specificity, confusion.accuracy), intervals, strict=True
    ):
        assert estimate.low == pytest.approx(low, abs=6e-4)
        assert estimate.high == pytest.approx(high, abs=6e-4)


def test_confusion_counts_each_cell() -> None:
    truth = {"a": M, "b": M, "c": B, "d": B, "e": B, "unread": M}
    diagnoses = {"a": M, "b": B, "c": B, "d": M, "e": B}
    assert Confusion.of(diagnoses, truth) == Confusion(tp=1, tn=2, fn=1, fp=1)
    with pytest.raises(InputError, match="1 of 1 diagnosed cases without a truth, the first being stranger"):
        Confusion.of({"stranger": M}, truth)


def test_majority_baseline_is_that_of_the_paper() -> None:
    truth = {f"m{i}": M for i in range(50)} | {f"b{i}": B for i in range(140)}
    diagnosis, confusion = majority_baseline(truth)
    assert diagnosis == B
    assert confusion == Confusion(tp=0, tn=140, fn=50, fp=0)
    assert round(confusion.accuracy.value, 3) == 0.737


@pytest.mark.parametrize(
    ("reader", "wanted"),
    # PPV, NPV, LR+, LR-, kappa and MCC of Yeh 2022, Table 2, as in docs/reference-values.md.
    [
        ("msk", (97.9, 97.9, 132, 0.060, 0.945, 0.945)),
        ("r4", (90.4, 97.8, 26.3, 0.062, 0.893, 0.893)),
        ("r1", (41.9, 88.7, 2.02, 0.358, 0.309, 0.347)),
        ("resnet50", (79.7, 97.7, 11.0, 0.066, 0.808, 0.813)),
    ],
)
def test_table_2_has_the_recomputed_values(reader: str, wanted: tuple[float, ...]) -> None:
    confusion = TABLE_2[reader][0]
    positive, negative = likelihood_ratios(confusion)
    agreements = (kappa(confusion), mcc(confusion))
    found = (100 * confusion.ppv.value, 100 * confusion.npv.value, positive.value, negative.value)
    for value, printed in zip((*found, *(a.value for a in agreements)), wanted, strict=True):
        assert value == pytest.approx(printed, rel=0.011)
    assert all(-1 < a.low < a.value < a.high < 1 for a in agreements)


def test_standard_error_of_kappa_is_fleiss_formula() -> None:
    """Fleiss JL, Cohen J, Everitt BS. Psychol Bull 1969;72:323-327, formula 13, for the R1 reader."""
    cells = np.array([[39, 11], [54, 86]]) / 190
    rows, columns = cells.sum(axis=1), cells.sum(axis=0)
    chance = rows @ columns
    value = (np.trace(cells) - chance) / (1 - chance)
    terms = np.array([[(rows[j] + columns[i]) * (1 - value) for j in range(2)] for i in range(2)])
    diagonal = np.diag(cells) @ (1 - np.diag(terms)) ** 2
    off = sum(cells[i, j] * terms[i, j] ** 2 for i, j in ((0, 1), (1, 0)))
    variance = (diagonal + off - (value - chance * (1 - value)) ** 2) / (190 * (1 - chance) ** 2)
    estimate = kappa(TABLE_2["r1"][0])
    reach = np.diff(np.arctanh([estimate.low, estimate.high]))[0] / 2 / 1.959963985
    assert (reach * (1 - value**2)) ** 2 == pytest.approx(variance, rel=1e-6)


def test_predictive_values_at_the_prevalence_of_the_cohort_are_its_own() -> None:
    for confusion, *_ in TABLE_2.values():
        ppv, npv = predictive_values(confusion, 50 / 190)
        assert (ppv.value, npv.value) == pytest.approx((confusion.ppv.value, confusion.npv.value))
    rare, _ = predictive_values(TABLE_2["resnet50"][0], 0.05)
    assert rare.value == pytest.approx(0.94 * 0.05 / (0.94 * 0.05 + 12 / 140 * 0.95))
    assert rare.low < rare.value < rare.high < 0.6
    with pytest.raises(InputError, match="prevalence"):
        predictive_values(TABLE_2["r1"][0], 0.0)


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (0, 5, 0, 0), (5, 0, 0, 0), (5, 9, 0, 0), (0, 9, 5, 0), (3, 0, 2, 9), (0, 0, 4, 9)]
)
def test_estimates_from_empty_cells_have_a_note(counts: tuple[int, int, int, int]) -> None:
    confusion = Confusion(*counts)
    estimates = [*likelihood_ratios(confusion), *predictive_values(confusion, 0.2), diagnostic_odds_ratio(confusion)]
    estimates += [kappa(confusion), mcc(confusion), confusion.ppv, confusion.exact("npv")]
    for estimate in estimates:
        if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
            assert estimate.note
        if not np.isnan(estimate.low):
            assert estimate.low <= estimate.value <= estimate.high


def test_a_perfect_reader_has_a_lower_limit() -> None:
    positive, negative = likelihood_ratios(Confusion(50, 140, 0, 0))
    assert positive.value == positive.high == np.inf
    assert 5 < positive.low < 281
    assert negative.value == negative.low == 0 < negative.high < 0.2


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.lists(st.integers(0, 9), min_size=2, max_size=30))
def test_auc_is_the_proportion_of_correctly_ordered_pairs(positives: list[int], negatives: list[int]) -> None:
    pairs = np.subtract.outer(positives, negatives)
    wanted = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    roc = Roc.of([*positives, *negatives], [True] * len(positives) + [False] * len(negatives))
    assert roc.auc.value == pytest.approx(wanted)
    area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
    assert area == pytest.approx(wanted)
    assert 0 <= roc.auc.low <= roc.auc.value <= roc.auc.high <= 1


def test_a_roc_curve_of_one_class_or_of_missing_scores_is_refused() -> None:
    with pytest.raises(InputError, match="a ROC curve of one class"):
        Roc.of([0.1, 0.2], [True, True])
    with pytest.raises(InputError, match="not finite"):
        Roc.of([0.1, np.nan], [True, False])
