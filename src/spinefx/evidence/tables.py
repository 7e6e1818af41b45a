"""The tables of a report: readers and models beside one another, folds, slices, cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.reading import Prediction, Reading
from spinefx.errors import InputError
from spinefx.evidence.accuracy import Confusion, Estimate, Roc, majority_baseline
from spinefx.vocabulary import Arm, Diagnosis

__all__ = [
    "ModelResult",
    "ResultTable",
    "case_table",
    "clustered_auc",
    "fold_table",
    "patient_auc",
    "performance_table",
    "slice_count_table",
    "slice_table",
]

BOOTSTRAP_DRAWS = 2000
COUNT_COLUMNS = ("TP", "TN", "FN", "FP")
RATE_COLUMNS = ("sensitivity", "specificity", "accuracy")


@dataclass(frozen=True)
class ResultTable:
    """A table for people and for programs.

    Parameters
    ----------
    name : str
        File name without its ending.
    title : str
    columns : tuple of str
    rows : tuple of tuple
        Cells: str, int, float, Estimate or None.
    note : str
        What to know when reading it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    note: str = ""

    def to_tsv(self) -> str:
        """Write as TSV; an estimate becomes three columns (value, ``_low``, ``_high``).

        Returns
        -------
        str
        """
        split = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        header = [
            name
            for column, parts in zip(self.columns, split, strict=True)
            for name in ([column, f"{column}_low", f"{column}_high"] if parts else [column])
        ]
        lines = ["\t".join(header)]
        for row in self.rows:
            cells = [c for cell, parts in zip(row, split, strict=True) for c in _tsv_cells(cell, parts)]
            lines.append("\t".join(cells))
        return "\n".join(lines) + "\n"

    def to_text(self) -> list[list[str]]:
        """Give the cells as a person reads them.

        Returns
        -------
        list of list of str
        """
        return [[_shown(cell) for cell in row] for row in self.rows]


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
    """

    name: str
    predictions: tuple[Prediction, ...]
    readings: tuple[Reading, ...]
    threshold: float = 0.5
    corrected: bool = False
    stamps: tuple[str, ...] = ()


def performance_table(
    truth: Mapping[str, Diagnosis], readings: Sequence[Reading], models: Sequence[ModelResult]
) -> ResultTable:
    """Set readers, models and the majority baseline side by side, per patient (Yeh 2022, Table 2).

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    readings : sequence of Reading
        Human ones, any number of readers and arms.
    models : sequence of ModelResult

    Returns
    -------
    ResultTable
    """
    rows: list[tuple[object, ...]] = []
    groups: dict[tuple[str, Arm], dict[str, Diagnosis]] = defaultdict(dict)
    scores: dict[tuple[str, Arm], list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.case_id in truth:
            groups[reading.reader_id, reading.arm][reading.case_id] = reading.diagnosis
            scores[reading.reader_id, reading.arm].append(reading)
    for (reader, arm), answers in sorted(groups.items()):
        label = reader if arm == Arm.UNAIDED else f"{reader}, aided"
        rows.append(_performance_row(label, "reader", answers, truth, scores[reader, arm]))
    for model in models:
        answers = {reading.case_id: reading.diagnosis for reading in model.readings}
        rows.append(_performance_row(model.name, "model", answers, truth, model.readings))
    commoner, confusion = majority_baseline(truth)
    rates = (confusion.sensitivity, confusion.specificity, confusion.accuracy)
    counts = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
    rows.append((f"always {commoner}", "baseline", len(truth), *counts, *rates, None))
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
        called = {
            f"{p.case_id}/{p.slice_index}": (
                Diagnosis.MALIGNANT if _score(p, model) >= model.threshold else Diagnosis.BENIGN
            )
            for p in model.predictions
        }
        slice_truth = {f"{p.case_id}/{p.slice_index}": truth[p.case_id] for p in model.predictions}
        confusion = Confusion.of(called, slice_truth)
        rates = (confusion.sensitivity, confusion.specificity, confusion.accuracy)
        counts = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
        rows.append((model.name, len(called), *counts, *rates, clustered_auc(truth, model)))
    return ResultTable(
        "slices",
        "Per-slice diagnosis",
        ("model", "slices", *COUNT_COLUMNS, *RATE_COLUMNS, "AUC"),
        tuple(rows),
        "Slices of one patient are not independent: the Wilson intervals here are too narrow; that of the AUC comes "
        f"from a bootstrap over patients ({BOOTSTRAP_DRAWS} draws).",
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
    if not readings or any(reading.confidence is None for reading in readings):
        return None
    scores = [reading.confidence or 0.0 for reading in readings]
    malignant = [truth[reading.case_id] == Diagnosis.MALIGNANT for reading in readings]
    try:
        return Roc.of(scores, malignant).auc
    except InputError:
        return None


def clustered_auc(truth: Mapping[str, Diagnosis], model: ModelResult) -> Estimate | None:
    """Pooled per-slice area with an interval from resampling patients within their class.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
    model : ModelResult

    Returns
    -------
    Estimate or None
        None where a class is missing.
    """
    slices: dict[str, list[float]] = defaultdict(list)
    for prediction in model.predictions:
        slices[prediction.participant_id].append(_score(prediction, model))
    diagnosis = {prediction.participant_id: truth[prediction.case_id] for prediction in model.predictions}
    classes = [[slices[p] for p in sorted(slices) if diagnosis[p] == wanted] for wanted in reversed(Diagnosis)]
    if not all(classes):
        return None
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(BOOTSTRAP_DRAWS):
        positive, negative = (
            np.concatenate([group[i] for i in rng.integers(len(group), size=len(group))]) for group in classes
        )
        drawn.append(_pair_area(positive, negative))
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = _pair_area(*(np.concatenate(group) for group in classes))
    return Estimate(value, float(low), float(high))


def _performance_row(
    label: str, kind: str, answers: Mapping[str, Diagnosis], truth: Mapping[str, Diagnosis], readings: Sequence[Reading]
) -> tuple[object, ...]:
    confusion = Confusion.of(answers, truth)
    rates = (confusion.sensitivity, confusion.specificity, confusion.accuracy)
    counts = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
    return (label, kind, len(answers), *counts, *rates, patient_auc(truth, readings))


def _score(prediction: Prediction, model: ModelResult) -> float:
    return prediction.corrected_probability if model.corrected else prediction.probability


def _area(scores: Sequence[float], malignant: Sequence[bool]) -> float | None:
    values, truth = np.asarray(scores, float), np.asarray(malignant, bool)
    if not truth.any() or truth.all():
        return None
    return _pair_area(values[truth], values[~truth])


def _pair_area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    up_to = np.searchsorted(ordered, positive, "right")
    return float((below + up_to).sum() / 2 / positive.size / negative.size)


def _error_name(answer: Diagnosis) -> str:
    return "false positive" if answer == Diagnosis.MALIGNANT else "false negative"


def _tsv_cells(cell: object, parts: bool) -> list[str]:
    if not parts:
        return [_exact(cell)]
    if isinstance(cell, Estimate):
        return [_exact(cell.value), _exact(cell.low), _exact(cell.high)]
    return [_exact(cell), "n/a", "n/a"]


def _exact(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "n/a"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell) or "n/a"


def _shown(cell: object) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
