"""Tables of readers, models, folds and slices."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from spinefx.cases.reading import Prediction, Reading, patient_readings
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.performance import (
    ModelResult,
    fold_table,
    measure_table,
    performance_table,
    slice_count_table,
    slice_table,
)
from spinefx.statistics.readings import diagnoses_by_reader
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN

TRUTH = {f"sub-{n:03d}": Diagnosis.MALIGNANT if n % 3 == 0 else Diagnosis.BENIGN for n in range(1, 31)}


def model(name: str = "honest", seed: int = 0, signal: float = 0.35) -> ModelResult:
    rng = np.random.default_rng(seed)
    predictions = []
    for number, (case, diagnosis) in enumerate(TRUTH.items()):
        centre = 0.5 + signal * (1 if diagnosis == Diagnosis.MALIGNANT else -1)
        for index in range(3):
            probability = float(np.clip(centre + rng.normal(0, 0.25), 0, 1))
            predictions.append(Prediction(case, case, index, probability, probability / 2, number % 5 + 1, "sha256:0"))
    return ModelResult(name, tuple(predictions), patient_readings(predictions, reader_id=name))


def reading(case: str, diagnosis: Diagnosis) -> Reading:
    return Reading(case, "r1", Arm.UNAIDED, diagnosis)


def rows_of(table: ResultTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.to_tsv()), delimiter="\t"))


def test_readers_models_and_baseline_share_one_table() -> None:
    readings = [reading(case, Diagnosis.MALIGNANT) for case in TRUTH]
    rows = {row["reader"]: row for row in rows_of(performance_table(TRUTH, readings, [model()]))}
    assert [rows["r1"][name] for name in ("TP", "TN", "FN", "FP")] == ["10", "0", "0", "20"]
    assert [rows["always benign"][name] for name in ("TP", "TN", "FN", "FP")] == ["0", "20", "10", "0"]
    assert rows["r1"]["AUC"] == "n/a"
    counts = {name: int(rows["honest"][name]) for name in ("TP", "TN", "FN", "FP")}
    called = {one.case_id: one.diagnosis for one in model().readings}
    assert counts["TP"] == sum(called[case] == TRUTH[case] == Diagnosis.MALIGNANT for case in TRUTH)
    assert sum(counts.values()) == 30
    assert float(rows["honest"]["sensitivity_low"]) < float(rows["honest"]["sensitivity"])


def test_folds_are_averaged_and_slices_counted() -> None:
    rows = rows_of(fold_table(TRUTH, model()))
    areas = [float(row["AUC per patient"]) for row in rows[:5]]
    assert float(rows[5]["AUC per patient"]) == pytest.approx(np.mean(areas), rel=1e-5)
    assert float(rows[6]["AUC per patient"]) == pytest.approx(np.std(areas, ddof=1), rel=1e-4)
    counts = {row["diagnosis"]: row for row in rows_of(slice_count_table(TRUTH, model()))}
    assert (counts["malignant"]["slices"], counts["benign"]["cases"]) == ("30", "20")
    slices = rows_of(slice_table(TRUTH, [model()]))[0]
    assert sum(int(slices[name]) for name in ("TP", "TN", "FN", "FP")) == 90


def test_copied_slices_do_not_narrow_intervals() -> None:
    """Repeating every slice three more times adds no information."""
    single = model(signal=0.1)
    copied = tuple(
        Prediction(p.case_id, p.participant_id, p.slice_index + 10 * k, p.probability, 0, p.fold, p.model_digest)
        for p in single.predictions
        for k in range(4)
    )
    once, often = (
        dict(zip(table.columns, row, strict=True))
        for table in (slice_table(TRUTH, [one]) for one in (single, ModelResult("m", copied, single.readings)))
        for row in table.rows
    )
    for measure in ("sensitivity", "specificity", "accuracy", "AUC"):
        one, four = once[measure], often[measure]
        assert isinstance(one, Estimate)
        assert isinstance(four, Estimate)
        assert (four.value, four.low, four.high) == pytest.approx((one.value, one.low, one.high)), measure


def test_all_measures_share_one_table() -> None:
    """Reader R1 of Yeh 2022, and the same reader aided, with malignant cases only."""
    truth = {f"m{i:02d}": M for i in range(50)} | {f"b{i:03d}": B for i in range(140)}
    right = {case for case in truth if int(case[1:]) < {"m": 39, "b": 86}[case[0]]}
    other = {M: B, B: M}
    readings = [Reading(c, "r1", Arm.UNAIDED, d if c in right else other[d]) for c, d in truth.items()]
    readings += [Reading(c, "r1", Arm.AIDED, M) for c in truth if c[0] == "m"]
    readings.append(Reading("stranger", "r1", Arm.UNAIDED, M))
    table = measure_table(truth, diagnoses_by_reader(readings, truth), prevalence=0.1)
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
