"""Counts, proportions and ROC curves against published and independently computed values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.cases.reading import Reading
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
    wilson,
)
from spinefx.statistics.answers import answers_by_reader
from spinefx.statistics.delong import areas_with_covariance, auc_difference, auc_difference_unpaired, auc_estimate
from spinefx.statistics.estimate import clopper_pearson
from spinefx.statistics.measures import measure_table
from spinefx.vocabulary import Arm, Diagnosis

Reference = Callable[[str], Any]
ReferenceTable = Callable[[str], list[dict[str, str]]]
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


READERS = {"MSK": "msk", "R4": "r4", "R1": "r1", "ResNet50": "resnet50"}


@pytest.mark.parametrize("reader", READERS)
def test_table_2_as_r_counts_it(reader: str, reference: Reference) -> None:
    """R 4.2.2 prop.test and binom.test, epiR 2.0.57 epi.tests: every value of yeh2022_expected.json, Table 2."""
    wanted = reference("yeh2022_expected")["table2"][reader]
    confusion = TABLE_2[READERS[reader]][0]
    for name, short in (("sensitivity", "sens"), ("specificity", "spec"), ("accuracy", "acc")):
        estimate, exact = getattr(confusion, name), confusion.exact(name)
        assert (estimate.k, estimate.n) == (wanted[short]["k"], wanted[short]["n"])
        assert (estimate.low, estimate.high) == pytest.approx(wanted[short]["wilson"], abs=1e-10)
        assert (exact.low, exact.high) == pytest.approx(wanted[short]["clopper_pearson"], abs=1e-10)
    epi = wanted["epi_tests"]
    positive, negative = likelihood_ratios(confusion)
    se, sp, ppv, npv = (confusion.exact(name) for name in ("sensitivity", "specificity", "ppv", "npv"))
    tp, tn, fn, fp = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
    found = {
        "se": se,
        "sp": sp,
        "diag.ac": confusion.exact("accuracy"),
        "pv.pos": ppv,
        "pv.neg": npv,
        "lr.pos": positive,
        "lr.neg": negative,
        "diag.or": diagnostic_odds_ratio(confusion),
        "ap": clopper_pearson(tp + fp, tp + fp + tn + fn),
        "tp": clopper_pearson(tp + fn, tp + fp + tn + fn),
    }
    for name, estimate in found.items():
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (epi[name]["est"], epi[name]["lo"], epi[name]["hi"]), rel=1e-9
        )
    # epiR's remaining measures are complements and sums of these.
    for name, estimate in (("p.tpdn", sp), ("p.tndp", se), ("p.dntp", ppv), ("p.dptn", npv), ("p.rout", found["ap"])):
        assert 1 - estimate.high == pytest.approx(epi[name]["lo"], rel=1e-8)
    youden = [se.value + sp.value - 1, se.low + sp.low - 1, se.high + sp.high - 1]
    assert youden == pytest.approx([epi["youden"][part] for part in ("est", "lo", "hi")], rel=1e-9)
    assert [1 / part for part in youden] == pytest.approx([epi["nndx"][part] for part in ("est", "hi", "lo")], rel=1e-9)


@pytest.mark.parametrize(
    ("reader", "wanted"),
    # Statistics A3: PPV, NPV, LR+, LR-, kappa, MCC of Yeh 2022, Table 2, as printed there.
    [
        ("msk", (97.9, 97.9, 132, 0.060, 0.945, 0.945)),
        ("r4", (90.4, 97.8, 26.3, 0.062, 0.893, 0.893)),
        ("r1", (41.9, 88.7, 2.02, 0.358, 0.309, 0.347)),
        ("resnet50", (79.7, 97.7, 11.0, 0.066, 0.808, 0.813)),
    ],
)
def test_table_2_beyond_the_paper(reader: str, wanted: tuple[float, ...]) -> None:
    confusion = TABLE_2[reader][0]
    positive, negative = likelihood_ratios(confusion)
    agreements = (kappa(confusion), mcc(confusion))
    found = (100 * confusion.ppv.value, 100 * confusion.npv.value, positive.value, negative.value)
    for value, printed in zip((*found, *(a.value for a in agreements)), wanted, strict=True):
        assert value == pytest.approx(printed, rel=0.011)
    assert all(-1 < a.low < a.value < a.high < 1 for a in agreements)


def test_kappa_error_is_fleiss_formula() -> None:
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


def test_predictive_values_at_the_cohorts_own_prevalence_are_the_cohorts() -> None:
    for confusion, *_ in TABLE_2.values():
        ppv, npv = predictive_values(confusion, 50 / 190)
        assert (ppv.value, npv.value) == pytest.approx((confusion.ppv.value, confusion.npv.value))
    rare, _ = predictive_values(TABLE_2["resnet50"][0], 0.05)
    assert rare.value == pytest.approx(0.94 * 0.05 / (0.94 * 0.05 + 12 / 140 * 0.95))
    assert rare.low < rare.value < rare.high < 0.6
    with pytest.raises(InputError, match="prevalence"):
        predictive_values(TABLE_2["r1"][0], 0.0)


def test_all_measures_stand_in_one_table() -> None:
    """Yeh 2022's R1 as readings, beside a reader who was aided and read malignant cases only."""
    truth = {f"m{i:02d}": M for i in range(50)} | {f"b{i:03d}": B for i in range(140)}
    right = {case for case in truth if int(case[1:]) < {"m": 39, "b": 86}[case[0]]}
    other = {M: B, B: M}
    readings = [Reading(c, "r1", Arm.UNAIDED, d if c in right else other[d]) for c, d in truth.items()]
    readings += [Reading(c, "r1", Arm.AIDED, M) for c in truth if c[0] == "m"]
    readings.append(Reading("stranger", "r1", Arm.UNAIDED, M))
    table = measure_table(truth, answers_by_reader(readings, truth), prevalence=0.1)
    alone, aided = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (alone["reader"], aided["reader"]) == ("r1", "r1, aided")
    assert str(alone["sensitivity"]) == "78% (39/50) [64, 88]"
    assert str(alone["PPV"]).startswith("42% (39/93)")
    assert str(alone["LR+"]) == "2.022 [1.566, 2.611]"
    assert str(alone["kappa"]).startswith("0.309")
    assert str(alone["PPV at 10%"]).startswith("0.183")
    assert str(aided["kappa"]) == "n/a"
    assert len(table.to_tsv().splitlines()) == 3
    assert "PPV at 10%" not in measure_table(truth, {}).columns


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (0, 5, 0, 0), (5, 0, 0, 0), (5, 9, 0, 0), (0, 9, 5, 0), (3, 0, 2, 9), (0, 0, 4, 9)]
)
def test_empty_cells_are_answered_with_a_reason(counts: tuple[int, int, int, int]) -> None:
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


def read_asah(rows: list[dict[str, str]]) -> tuple[dict[str, list[float]], list[bool]]:
    return {name: [float(r[name]) for r in rows] for name in ("wfns", "s100b", "ndka")}, [r["y"] == "1" for r in rows]


def test_delong_matches_proc(reference: Reference, reference_table: ReferenceTable) -> None:
    """pROC 1.18.0 on its aSAH data: variance, interval, paired and unpaired tests, covariances."""
    scores, truth = read_asah(reference_table("asah"))
    expected = reference("roc_asah_expected")
    for name, wanted in expected["single"].items():
        area = auc_estimate(scores[name], truth, scale="plain")
        assert area.value == pytest.approx(wanted["auc"], abs=1e-12)
        assert (area.low, area.high) == pytest.approx(wanted["ci_delong"], abs=1e-10)
        assert areas_with_covariance(scores[name], truth)[1][0, 0] == pytest.approx(wanted["var_delong"], rel=1e-10)
        on_logits = Roc.of(scores[name], truth).auc
        assert on_logits.value == area.value
        logits = np.log([on_logits.low / (1 - on_logits.low), on_logits.high / (1 - on_logits.high)])
        error = np.diff(logits)[0] / 2 / 1.959963985 * area.value * (1 - area.value)
        assert error**2 == pytest.approx(wanted["var_delong"], rel=1e-8)
    for names, wanted in expected["paired"].items():
        one, other = names.split(" - ")
        found = auc_difference(scores[one], scores[other], truth)
        assert (found.statistic, found.p) == pytest.approx((wanted["z"], wanted["p"]), rel=1e-9)
        estimate = found.estimate
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (wanted["diff"], *wanted["ci"]), abs=1e-10
        )
        covariance = areas_with_covariance([scores[one], scores[other]], truth)[1]
        assert covariance[0, 1] == pytest.approx(wanted["cov"], rel=1e-9)
        sided = 1 - found.p / 2 if wanted["z"] < 0 else found.p / 2
        assert sided == pytest.approx(wanted["p_greater"], rel=1e-9)
        assert found.n == 113
    for names, wanted in expected["repo_values"]["unpaired"].items():
        one, other = names.split("_")
        found = auc_difference_unpaired(scores[one], truth, scores[other], truth)
        assert (found.statistic, found.p) == pytest.approx((wanted["D"], wanted["p"]), rel=1e-9)


def test_delong_agrees_with_the_bootstrap(reference_table: ReferenceTable) -> None:
    """Two routes to the error of a difference of areas: placements, and 1000 stratified resamples."""
    scores, truth = read_asah(reference_table("asah"))
    values, malignant = np.array([scores["wfns"], scores["s100b"]]), np.array(truth)
    rng = np.random.default_rng(0)
    sides = [np.flatnonzero(malignant), np.flatnonzero(~malignant)]
    drawn = []
    for _ in range(1000):
        taken = np.concatenate([rng.choice(side, side.size) for side in sides])
        areas, _ = areas_with_covariance(values[:, taken], malignant[taken])
        drawn.append(areas[0] - areas[1])
    found = auc_difference(*values, malignant)
    assert np.std(drawn) == pytest.approx(found.estimate.value / (found.statistic or 0), rel=0.08)


def test_delong_where_there_is_little_to_go_by() -> None:
    truth = [True, True, False, False]
    same = auc_difference([1, 2, 1, 0], [2, 4, 2, 0], truth)
    assert same.p == 1
    assert "alike" in same.note
    apart = auc_difference([3, 4, 1, 2], [1, 2, 3, 4], truth)
    assert np.isnan(apart.p)
    assert apart.estimate.value == 1
    single = auc_difference([3, 1, 2], [1, 2, 3], [True, False, False])
    assert np.isnan(single.p)
    assert "one case" in single.note
    assert "rule of three" in auc_estimate([3, 4, 1, 2], truth).note
    for scores, answers in (([1, 2], [True, True]), ([1, 2, 3], [True, False]), ([np.nan, 1], [True, False])):
        with pytest.raises(InputError):
            auc_estimate(scores, answers)
    with pytest.raises(InputError, match="scale"):
        auc_estimate([1, 2], [True, False], scale="log")


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
