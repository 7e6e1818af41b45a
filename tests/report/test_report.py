"""Tables say what the answers were; the page holds everything and asks the network for nothing."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from spinefx.cases.reading import Prediction, Reading, patient_readings
from spinefx.report.content import Finding, ParticipantSummary, ReportContent
from spinefx.report.document import render_report
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.performance import (
    ModelResult,
    fold_table,
    performance_table,
    slice_count_table,
    slice_table,
)
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

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


def test_readers_models_and_baseline_stand_together() -> None:
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


def test_intervals_over_patients_are_wider_than_slices_would_make_them() -> None:
    """Every slice copied three times over adds no information, and no confidence."""
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


def test_the_page_is_whole_safe_and_the_same_again() -> None:
    content = ReportContent(
        title="spinefx: <script>alert(1)</script>",
        truth=TRUTH,
        models=[model(), model("quick", 3, 0.05)],
        readings=[reading(case, Diagnosis.BENIGN) for case in TRUTH],
        participants=[ParticipantSummary(case, diagnosis, "phantom") for case, diagnosis in TRUTH.items()],
        audit=[Finding("participant on two sides", True, "300 compared")],
        provenance={"recipe": "honest"},
        sheet=lambda case: b"\x89PNG",
        phantom=True,
    )
    files = render_report(content)
    assert files == render_report(content)
    assert set(files) >= {"report.html", "roc.svg", "table2.tsv", "slices.tsv", "folds.tsv", "cases.tsv", "cohort.tsv"}
    page = files["report.html"].decode()
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", re.sub(r"<svg.*?</svg>", "", page, flags=re.S))
    assert page.count("Phantom.") == 1
    assert "(phantom)" in page
    assert 'lang="en"' in page
    wrong = sum(one.diagnosis != TRUTH[one.case_id] for one in model().readings)
    assert page.count("<img") == min(wrong, 24)
    honest = render_report(ReportContent(content.title, TRUTH, [model()]))["report.html"].decode()
    assert "Phantom" not in honest
    assert b"PHANTOM" not in files["table2.tsv"]
