"""Tables of diagnostic performance: readers and models side by side, by fold, by slice and by case."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spinefx.cases.reading import Prediction, Reading, patient_readings
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion, kappa, likelihood_ratios, majority_baseline, mcc, predictive_values
from spinefx.statistics.clustered import (
    ClusteredResult,
    clustered_auc,
    clustered_proportion,
    clustered_sensitivity,
    clustered_specificity,
)
from spinefx.statistics.delong import auc_estimate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.inputs import truth_from
from spinefx.statistics.mrmc.covariance import structural_components
from spinefx.statistics.readings import confidences_of, diagnoses_from, diagnoses_of, readings_by_reader
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = [
    "ModelResult",
    "agreement_table",
    "case_table",
    "fold_table",
    "measure_table",
    "patient_auc",
    "performance_table",
    "slice_count_table",
    "slice_table",
]

COUNT_COLUMNS = ("TP", "TN", "FN", "FP")
RATE_COLUMNS = ("sensitivity", "specificity", "accuracy")


@dataclass(frozen=True)
class ModelResult:
    """The predictions of one experiment.

    Parameters
    ----------
    name : str
        Name of the model in tables and figures.
    predictions : tuple of Prediction
        One per slice.
    readings : tuple of Reading
        One per case, derived from the predictions.
    threshold : float
        Threshold on slice probabilities, for the per-slice counts.
    corrected : bool
        Whether readings and threshold use the prior-corrected probability.
    stamps : tuple of str
        Warnings that must accompany these figures wherever they are shown.
    rule : {'max', 'mean', 'noisy_or'}
        How the slices of a patient were combined into one probability.
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
        """Prior-corrected probability of malignancy by case, 0 to 1."""
        readings = patient_readings(self.predictions, reader_id=self.name, rule=self.rule, corrected=True)
        return {case: confidence / 100 for case, confidence in confidences_of(readings).items()}


def performance_table(truth: object, readings: object, models: Sequence[ModelResult] = ()) -> ResultTable:
    """Tabulate the per-patient performance of readers, models and the majority baseline (Yeh 2022, Table 2).

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case; see :func:`spinefx.statistics.inputs.truth_from`.
    readings : table, or iterable of Reading
        Readings of any number of readers and arms; see :func:`spinefx.statistics.inputs.readings_from`.
    models : sequence of ModelResult

    Returns
    -------
    ResultTable
    """
    true_diagnoses = truth_from(truth)
    rows = [
        _performance_row(label, "reader", own, true_diagnoses)
        for label, own in sorted(readings_by_reader(readings, true_diagnoses).items())
    ]
    rows += [_performance_row(model.name, "model", model.readings, true_diagnoses) for model in models]
    majority, confusion = majority_baseline(true_diagnoses)
    rows.append((f"always {majority}", "baseline", len(true_diagnoses), *_counts_and_rates(confusion), None))
    return ResultTable(
        "table2",
        "Per-patient diagnosis",
        ("reader", "kind", "cases", *COUNT_COLUMNS, *RATE_COLUMNS, "AUC"),
        tuple(rows),
        "Proportions with Wilson 95% intervals; AUC pooled over folds with DeLong's interval, readers' AUC from their "
        "confidence where given. Every accuracy stands beside the majority baseline.",
    )


def measure_table(truth: object, diagnoses: object, *, prevalence: float | None = None) -> ResultTable:
    """Tabulate every measure of accuracy by reader.

    Parameters
    ----------
    truth : table, or mapping of str to Diagnosis
        By case.
    diagnoses : mapping of str to mapping, or table of readings
        By reader (each model counts as one), then by case; see
        :func:`spinefx.statistics.readings.diagnoses_from`.
    prevalence : float, optional
        Proportion of malignant cases at which predictive values are given besides those of this cohort.

    Returns
    -------
    ResultTable

    Raises
    ------
    InputError
        If a diagnosed case has no truth, or the prevalence is not between 0 and 1.
    """
    rows, true_diagnoses = [], truth_from(truth)
    for reader, own in diagnoses_from(diagnoses, true_diagnoses).items():
        counts = Confusion.of(own, true_diagnoses)
        exact = (counts.exact(name) for name in RATE_COLUMNS)
        elsewhere = () if prevalence is None else predictive_values(counts, prevalence)
        agreement = (kappa(counts), mcc(counts))
        rows.append((reader, *exact, counts.ppv, counts.npv, *elsewhere, *likelihood_ratios(counts), *agreement))
    added = () if prevalence is None else tuple(f"{name} at {100 * prevalence:g}%" for name in ("PPV", "NPV"))
    columns = ("reader", *RATE_COLUMNS, "PPV", "NPV", *added, "LR+", "LR-", "kappa", "MCC")
    note = (
        "Sensitivity, specificity and accuracy with exact (Clopper-Pearson) 95% intervals; Table 2 has Wilson's. PPV "
        "and NPV with Wilson's intervals, at this cohort's prevalence. Intervals of likelihood ratios are symmetric on "
        "the log scale; those of Cohen's kappa and Matthews' "
        "correlation coefficient are by the delta method on Fisher's z scale."
    )
    return ResultTable("measures", "Further measures of accuracy", columns, tuple(rows), note)


def agreement_table(diagnoses: object) -> ResultTable:
    """Tabulate the agreement of every two readers, whether or not they are right.

    Parameters
    ----------
    diagnoses : mapping of str to mapping, or table of readings
        By reader (each model counts as one), then by case.

    Returns
    -------
    ResultTable
        Over the cases that both readers have read.
    """
    rows, by_reader = [], diagnoses_from(diagnoses)
    for one, other in combinations(by_reader, 2):
        shared = {case: diagnosis for case, diagnosis in by_reader[one].items() if case in by_reader[other]}
        # The second reader takes the place of the truth.
        counts = Confusion.of(shared, by_reader[other])
        rows.append((one, other, len(shared), counts.accuracy, kappa(counts)))
    columns = ("reader 1", "reader 2", "cases", "same answer", "kappa")
    note = (
        "Proportions with Wilson 95% intervals; Cohen's kappa with intervals by the delta method on Fisher's z scale. "
        "Readers who agree "
        "need not be right."
    )
    return ResultTable("agreement", "Agreement of every two readers", columns, tuple(rows), note)


def slice_table(truth: Mapping[str, Diagnosis], models: Sequence[ModelResult]) -> ResultTable:
    """Tabulate the per-slice performance of models, each slice counted as one prediction.

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
        correct = [one == other for one, other in zip(called, malignant, strict=True)]
        cells = Counter(zip(called, malignant, strict=True))
        rows.append(
            (
                model.name,
                len(called),
                *(cells[cell] for cell in ((True, True), (False, False), (False, True), (True, False))),
                _clustered(clustered_sensitivity, called, malignant, patient),
                _clustered(clustered_specificity, called, malignant, patient),
                _clustered(clustered_proportion, correct, patient),
                _clustered(clustered_auc, scores, malignant, patient),
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
    """Tabulate the AUC of every fold, per slice and per patient, with mean and standard deviation.

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
        own = [prediction for prediction in model.predictions if prediction.fold == fold]
        cases = sorted({prediction.case_id for prediction in own})
        malignant = [truth[case] == Diagnosis.MALIGNANT for case in cases]
        slices = _area([_score(p, model) for p in own], [truth[p.case_id] == Diagnosis.MALIGNANT for p in own])
        patients = _area([by_case[case] for case in cases], malignant)
        for found, area in zip(areas, (slices, patients), strict=True):
            found += [] if area is None else [area]
        rows.append((str(fold), len(cases) - sum(malignant), sum(malignant), slices, patients))
    means = [float(np.mean(found)) if found else None for found in areas]
    deviations = [float(np.std(found, ddof=1)) if len(found) > 1 else None for found in areas]
    rows += [("mean", None, None, *means), ("sd", None, None, *deviations)]
    return ResultTable(
        "folds",
        f"AUC by fold: {model.name}",
        ("fold", "benign", "malignant", "AUC per slice", "AUC per patient"),
        tuple(rows),
        "A fold of few patients moves in large steps; the pooled value stands in the table above.",
    )


def slice_count_table(truth: Mapping[str, Diagnosis], model: ModelResult) -> ResultTable:
    """Tabulate the number of slices per case by class, since a maximum over slices rises with their number.

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
    """List every case with its truth, diagnosis and probability, wrong diagnoses first.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
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
    """Estimate the area under one reader's ROC curve from the confidences given.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    readings : sequence of Reading

    Returns
    -------
    Estimate or None
        None if a confidence or a class is missing.
    """
    scores = confidences_of(readings)
    malignant = [truth[case] == Diagnosis.MALIGNANT for case in scores]
    if len(scores) < len(readings) or not any(malignant) or all(malignant):
        return None
    return auc_estimate(list(scores.values()), malignant)


def _performance_row(
    label: str, kind: str, readings: Sequence[Reading], truth: Mapping[str, Diagnosis]
) -> tuple[object, ...]:
    confusion = Confusion.of(diagnoses_of(readings), truth)
    return (label, kind, len(readings), *_counts_and_rates(confusion), patient_auc(truth, readings))


def _counts_and_rates(confusion: Confusion) -> tuple[object, ...]:
    """Return the counts, then the rates with Wilson's intervals, in the order of the columns."""
    counts = (confusion.tp, confusion.tn, confusion.fn, confusion.fp)
    return (*counts, confusion.sensitivity, confusion.specificity, confusion.accuracy)


def _clustered(call: Callable[..., ClusteredResult], *columns: Sequence[object]) -> Estimate | None:
    """Return an estimate that accounts for slices of one patient, or None if there are too few patients."""
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


def _error_name(diagnosis: Diagnosis) -> str:
    return "false positive" if diagnosis == Diagnosis.MALIGNANT else "false negative"
