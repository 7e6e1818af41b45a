"""Counts, proportions and ROC curves against published and independently computed values."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import InputError
from spinefx.evidence.accuracy import Confusion, Roc, majority_baseline, wilson
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
def test_table_2_with_its_intervals(reader: str) -> None:
    confusion, *intervals = TABLE_2[reader]
    for estimate, (low, high) in zip(
        (confusion.sensitivity, confusion.specificity, confusion.accuracy), intervals, strict=True
    ):
        assert estimate.low == pytest.approx(low, abs=6e-4)
        assert estimate.high == pytest.approx(high, abs=6e-4)


def test_estimate_prints_value_counts_and_interval() -> None:
    assert str(wilson(47, 50)) == "94% (47/50) [84, 98]"
    assert str(wilson(0, 0)) == "n/a"


def test_confusion_counts_each_cell() -> None:
    truth = {"a": M, "b": M, "c": B, "d": B, "e": B, "unread": M}
    answers = {"a": M, "b": B, "c": B, "d": M, "e": B}
    assert Confusion.of(answers, truth) == Confusion(tp=1, tn=2, fn=1, fp=1)
    with pytest.raises(InputError, match="without a truth"):
        Confusion.of({"stranger": M}, truth)


def test_majority_baseline_is_the_papers() -> None:
    truth = {f"m{i}": M for i in range(50)} | {f"b{i}": B for i in range(140)}
    diagnosis, confusion = majority_baseline(truth)
    assert diagnosis == B
    assert confusion == Confusion(tp=0, tn=140, fn=50, fp=0)
    assert round(confusion.accuracy.value, 3) == 0.737


def test_auc_and_delong_interval_match_proc(shared_data: Path) -> None:
    """pROC 1.18.0 on aSAH: auc(outcome, s100b) and the DeLong standard error behind its interval."""
    with (shared_data / "statistics" / "asah.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = json.loads((shared_data / "statistics" / "roc_asah_expected.json").read_text())
    truth = [row["y"] == "1" for row in rows]
    for name in ("s100b", "ndka"):
        published = expected["single"][name]
        auc = Roc.of([float(row[name]) for row in rows], truth).auc
        assert auc.value == pytest.approx(published["auc"], abs=1e-12)
        logits = np.log(np.array([auc.low, auc.high]) / (1 - np.array([auc.low, auc.high])))
        error = np.diff(logits)[0] / 2 / 1.959963985 * auc.value * (1 - auc.value)
        assert error**2 == pytest.approx(published["var_delong"], rel=1e-8)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.lists(st.integers(0, 9), min_size=2, max_size=30))
def test_auc_is_the_share_of_ordered_pairs(positives: list[int], negatives: list[int]) -> None:
    pairs = np.subtract.outer(positives, negatives)
    wanted = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    roc = Roc.of([*positives, *negatives], [True] * len(positives) + [False] * len(negatives))
    assert roc.auc.value == pytest.approx(wanted)
    area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
    assert area == pytest.approx(wanted)
    assert 0 <= roc.auc.low <= roc.auc.value <= roc.auc.high <= 1


def test_roc_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="malignant and benign"):
        Roc.of([0.1, 0.2], [True, True])
    with pytest.raises(InputError, match="not finite"):
        Roc.of([0.1, np.nan], [True, False])
