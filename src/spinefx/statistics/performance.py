"""The tables of a report: readers and models beside one another, folds, slices, cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spinefx.cases.reading import Prediction, Reading, patient_readings
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion, majority_baseline
from spinefx.statistics.answers import answers_of, confidences_of, readings_by_reader
from spinefx.statistics.clustered import (
    ClusteredResult,
    clustered_auc,
    clustered_proportion,
    clustered_sensitivity,
    clustered_specificity,
)
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.frames import truth_from
from spinefx.statistics.mrmc.covariance import structural_components
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = [
    "ModelResult",
    "case_table",
    "fold_table",
    "patient_auc",
    "performance_table",
    "slice_count_table",
    "slice_table",
]

COUNT_COLUMNS = ("TP", "TN", "FN", "FP")
RATE_COLUMNS = ("sensitivity", "specificity", "accuracy")


@dataclass(frozen=True)
class ModelResult:
    """One experiment's answers.

    Parameters
    ----------
    name : str
        What the model is called beside the readers.
    predictions : tuple of Prediction
    readings : tuple of Reading
        One a case, made of the predictions.
    threshold : float
        On slice probabilities, for the per-slice counts.
    corrected : bool
        Whether readings and threshold use the prior-corrected probability.
    stamps : tuple of str
        What must be said wherever these figures stand.
    rule : {'max', 'mean', 'noisy_or'}
        How slices became a patient's probability.
    """

    name: str
    predictions: tuple[Prediction, ...]
    readings: tuple[Reading, ...]
    threshold: float = 0.5
    corrected: bool = False
    stamps: tuple[str, ...] = ()
    rule: str = "max"

    @property
    def corrected_probabilities(self) -> dict[str, float]:
        """Each case's prior-corrected probability of malignancy, 0 to 1."""
        readings = patient_readings(self.predictions, reader_id=self.name, rule=self.rule, corrected=True)
        return {case: confidence / 100 for case, confidence in confidences_of(readings).items()}


def performance_table(truth: object, readings: object, models: Sequence[ModelResult] = ()) -> ResultTable:
    """Set readers, models and the majority baseline side by side, per patient (Yeh 2022, Table 2).

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case; see :func:`spinefx.statistics.frames.truth_from`.
    readings : table, or iterable of Reading
        Human ones, any number of readers and arms; see :func:`spinefx.statistics.frames.readings_from`.
    models : sequence of ModelResult

    Returns
    -------
    ResultTable
    """
    of_case = truth_from(truth)
    rows = [
        _performance_row(label, "reader", mine, of_case)
        for label, mine in sorted(readings_by_reader(readings, of_case).items())
    ]
    rows += [_performance_row(model.name, "model", model.readings, of_case) for model in models]
    commoner, confusion = majority_baseline(of_case)
    rows.append((f"always {commoner}", "baseline", len(of_case), *_counted(confusion), None))
    return ResultTable(
        "table2",
        "Per-patient diagnosis",
        ("reader", "kind", "cases", *COUNT_COLUMNS, *RATE_COLUMNS, "AUC"),
        tuple(rows),
        "Proportions with Wilson 95% intervals; AUC pooled over folds with DeLong's interval, readers' AUC from their "
        "confidence where given. Every accuracy stands beside the majority baseline.",
    )


def slice_table(truth: Mapping[str, Diagnosis], models: Sequence[ModelResult]) -> ResultTable:
    """Count each slice as an independent answer, as the paper's networks were trained.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult

    Returns
    -------
    ResultTable
    """
    rows = []
    for model in models:
        scores = [_score(p, model) for p in model.predictions]
        malignant = [truth[p.case_id] == Diagnosis.MALIGNANT for p in model.predictions]
        patient = [p.participant_id for p in model.predictions]
        called = [score >= model.threshold for score in scores]
        right = [one == other for one, other in zip(called, malignant, strict=True)]
        cells = Counter(zip(called, malignant, strict=True))
        rows.append(
            (
                model.name,
                len(called),
                *(cells[cell] for cell in ((True, True), (False, False), (False, True), (True, False))),
                _within_patients(clustered_sensitivity, called, malignant, patient),
                _within_patients(clustered_specificity, called, malignant, patient),
                _within_patients(clustered_proportion, right, patient),
                _within_patients(clustered_auc, scores, malignant, patient),
            )
        )
    return ResultTable(
        "slices",
        "Per-slice diagnosis",
        ("model", "slices", *COUNT_COLUMNS, *RATE_COLUMNS, "AUC"),
        tuple(rows),
        "Slices of one patient are not independent, and the 95% intervals know it: Wilson's with Rao and Scott's "
        "design effect for the shares, Obuchowski's (1997) on the logit scale for the AUC. None where fewer than two "
        "patients of a class were seen or no two patients differ.",
    )


def fold_table(truth: Mapping[str, Diagnosis], model: ModelResult) -> ResultTable:
    """Give the AUC of every fold, per slice and per patient, with mean and standard deviation.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    model : ModelResult

    Returns
    -------
    ResultTable
    """
    by_case = {reading.case_id: reading.confidence or 0.0 for reading in model.readings}
    rows: list[tuple[object, ...]] = []
    areas: list[list[float]] = [[], []]
    for fold in sorted({prediction.fold for prediction in model.predictions}):
        mine = [prediction for prediction in model.predictions if prediction.fold == fold]
        cases = sorted({prediction.case_id for prediction in mine})
        malignant = [truth[case] == Diagnosis.MALIGNANT for case in cases]
        slices = _area([_score(p, model) for p in mine], [truth[p.case_id] == Diagnosis.MALIGNANT for p in mine])
        patients = _area([by_case[case] for case in cases], malignant)
        for kept, area in zip(areas, (slices, patients), strict=True):
            kept += [] if area is None else [area]
        rows.append((str(fold), len(cases) - sum(malignant), sum(malignant), slices, patients))
    means = [float(np.mean(kept)) if kept else None for kept in areas]
    spreads = [float(np.std(kept, ddof=1)) if len(kept) > 1 else None for kept in areas]
    rows += [("mean", None, None, *means), ("sd", None, None, *spreads)]
    return ResultTable(
        "folds",
        f"AUC by fold: {model.name}",
        ("fold", "benign", "malignant", "AUC per slice", "AUC per patient"),
        tuple(rows),
        "A fold of few patients moves in large steps; the pooled value stands in the table above.",
    )


def slice_count_table(truth: Mapping[str, Diagnosis], model: ModelResult) -> ResultTable:
    """Count slices a patient by class, since a maximum over slices rises with their number (protocol row 18).

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    model : ModelResult

    Returns
    -------
    ResultTable
    """
    counts: dict[str, int] = defaultdict(int)
    for prediction in model.predictions:
        counts[prediction.case_id] += 1
    rows = []
    for diagnosis in Diagnosis:
        numbers = [counts[case] for case in counts if truth[case] == diagnosis]
        mean = float(np.mean(numbers)) if numbers else None
        rows.append((str(diagnosis), len(numbers), sum(numbers), mean, max(numbers, default=0)))
    return ResultTable(
        "slice_counts",
        "Slices a patient",
        ("diagnosis", "cases", "slices", "mean a case", "most"),
        tuple(rows),
        "If one class spans more slices, the maximum over slices favours calling it malignant.",
    )


def case_table(truth: Mapping[str, Diagnosis], model: ModelResult) -> ResultTable:
    """List every case with its truth, answer and probability; wrong ones first.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
    model : ModelResult

    Returns
    -------
    ResultTable
    """
    fold = {prediction.case_id: prediction.fold for prediction in model.predictions}
    rows = [
        (
            reading.case_id,
            str(truth[reading.case_id]),
            str(reading.diagnosis),
            (reading.confidence or 0.0) / 100,
            fold[reading.case_id],
            "" if reading.diagnosis == truth[reading.case_id] else _error_name(reading.diagnosis),
        )
        for reading in model.readings
    ]
    rows.sort(key=lambda row: (not row[5], row[5], row[0]))
    return ResultTable(
        "cases", f"Cases: {model.name}", ("case", "truth", "answer", "probability", "fold", "error"), tuple(rows)
    )


def patient_auc(truth: Mapping[str, Diagnosis], readings: Sequence[Reading]) -> Estimate | None:
    """Area under one reader's ROC curve from the confidences given.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
    readings : sequence of Reading

    Returns
    -------
    Estimate or None
        None where a confidence or a class is missing.
    """
    scores = confidences_of(readings)
    malignant = [truth[case] == Diagnosis.MALIGNANT for case in scores]
    if len(scores) < len(readings) or not any(malignant) or all(malignant):
        return None
    return auc_estimate(list(scores.values()), malignant)


def _performance_row(
    label: str, kind: str, readings: Sequence[Reading], truth: Mapping[str, Diagnosis]
) -> tuple[object, ...]:
    confusion = Confusion.of(answers_of(readings), truth)
    return (label, kind, len(readings), *_counted(confusion), patient_auc(truth, readings))


def _counted(confusion: Confusion) -> tuple[object, ...]:
    """Counts, and rates with Wilson's intervals, in the order of the columns."""
    counts = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
    return (*counts, confusion.sensitivity, confusion.specificity, confusion.accuracy)


def _within_patients(call: Callable[..., ClusteredResult], *columns: Sequence[object]) -> Estimate | None:
    """An estimate that knows which slices are of one patient; None where there are too few patients for one."""
    try:
        return call(*columns).effect.estimate
    except InputError:
        return None


def _score(prediction: Prediction, model: ModelResult) -> float:
    return prediction.corrected_probability if model.corrected else prediction.probability


def _area(scores: Sequence[float], malignant: Sequence[bool]) -> float | None:
    values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
    if not truth.any() or truth.all():
        return None
    return float(structural_components(values, truth).values[0])


def _error_name(answer: Diagnosis) -> str:
    return "false positive" if answer == Diagnosis.MALIGNANT else "false negative"
