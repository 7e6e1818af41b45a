"""Sections on diagnostic accuracy: Table 2, ROC curves, paired comparisons, the panel of readers, slices and folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from spinefx.cases.reading import Reading
from spinefx.errors import InputError
from spinefx.report.content import Picture, ReportContent, Section
from spinefx.report.figures import draw_roc
from spinefx.statistics.benefit import discrimination_improvement, reclassification
from spinefx.statistics.clustered import clustered_auc_difference
from spinefx.statistics.delong import auc_difference
from spinefx.statistics.estimate import Pairing, PValue, bare_p
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.scores import Endpoint, ReaderStudy
from spinefx.statistics.paired.mcnemar import comparison_table, generalised_mcnemar
from spinefx.statistics.paired.predictive import compare_predictive_values
from spinefx.statistics.paired.table import PairedAccuracy
from spinefx.statistics.performance import (
    agreement_table,
    fold_table,
    measure_table,
    patient_auc,
    performance_table,
    slice_count_table,
    slice_table,
)
from spinefx.statistics.readings import confidences_of
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

__all__ = ["comparison_section", "panel_section", "performance_section", "roc_section", "slice_section"]

SMALLEST_PANEL = 3
# Diagnoses are scored 1 and 0, so a threshold of 0.5 is each reader's own.
ENDPOINTS: tuple[tuple[str, Endpoint, float | None], ...] = (
    ("sensitivity", "sensitivity", 0.5),
    ("specificity", "specificity", 0.5),
    ("AUC", "auc", None),
)
PAIRED_COLUMNS = (
    *("reader 2", "measure", "cases", "both right", "only first right", "only second right", "both wrong"),
    *("difference (Tango)", "p exact", "p mid-p", "p exact, Holm"),
)


def performance_section(content: ReportContent) -> Section:
    """Build the section on per-patient performance of readers, models and the majority baseline (Yeh 2022, Table 2).

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    table = performance_table(content.truth, content.readings, content.named_models)
    measures = measure_table(content.truth, content.diagnoses)
    text = [] if content.human_readings else ["There are no readings of these cases, so the table lists models only."]
    perturbed = sum(one.arm == Arm.PERTURBED for own in content.human_readings.values() for one in own)
    if perturbed:
        text.append(
            f"{perturbed} readings were made with the model's answer flipped on purpose. They are listed as an arm of "
            "their own (perturbed) and are not part of the comparison of aided with unaided readings."
        )
    return Section("table2", table.title, tuple(text), (table,), (measures,))


def roc_section(content: ReportContent) -> Section:
    """Build the section with the models' ROC curves and the readers as points.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    area = patient_auc(content.truth, content.main.readings)
    if area is None:
        return Section("roc", "ROC curve", absent="A ROC curve requires malignant and benign cases.")
    stamp = "phantom" if content.phantom else ""
    drawing = draw_roc(content.truth, content.named_models, content.readings, stamp=stamp)
    count = len(content.human_readings)
    readers = f" with {count} readers as points" if count else ""
    values = "The table of per-patient diagnosis lists all values."
    alternative = f"ROC curves{readers}. {content.main.name}: AUC {area}. {values}"
    caption = (
        "Per patient, pooled over folds. Points mark the readers' sensitivity and specificity, crosses their Wilson "
        "95% intervals."
    )
    return Section("roc", "ROC curve", pictures=(Picture("roc", drawing, caption, alternative),))


def comparison_section(content: ReportContent) -> Section:
    """Build the section that compares the model with every reader, and all readers with one another, on the same cases.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title, main = "Readers compared, case by case", content.lead
    if len(content.diagnoses) < 2:
        return Section("comparison", title, absent="There is no reader and no other model to compare with.")
    paired = comparison_table(content.truth, content.diagnoses, against=main)
    paired = replace(paired, title=f"{main} (first) against every other reader (second)", page_columns=PAIRED_COLUMNS)
    tests = [(label, test) for label in content.diagnoses if label != main for test in _tests(content, main, label)]
    text = (f"Differences are {main} minus the other reader; a value above 0 favours {main}.",)
    folded: tuple[ResultTable, ...] = (agreement_table(content.diagnoses),)
    if len(content.diagnoses) > 2:
        pairs = comparison_table(content.truth, content.diagnoses)
        columns = ("reader 1", *PAIRED_COLUMNS)
        folded = (replace(pairs, name="comparison_all", title="Every two readers", page_columns=columns), *folded)
    return Section("comparison", title, text, (paired, _test_table(tests)), folded)


def panel_section(content: ReportContent) -> Section:
    """Build the section that compares the model with the panel of readers, and aided with unaided readings.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title = "Readers as a panel (multi-reader, multi-case)"
    unaided = [reading for own in content.human_readings.values() for reading in own if reading.arm == Arm.UNAIDED]
    readers = {reading.reader_id for reading in unaided}
    if len(readers) < SMALLEST_PANEL:
        few = (
            f"A panel needs at least {SMALLEST_PANEL} readers without the model's assistance; there are {len(readers)}."
        )
        return Section("panel", title, absent=few)
    text = [
        "Readers and cases are both treated as random samples, so conclusions extend to similar readers and cases. "
        "The model makes one prediction per case and is not a random reader."
    ]
    tables: list[ResultTable] = []
    if content.models:
        _add_panel(content, unaided, text, tables)
    every = [reading for own in content.human_readings.values() for reading in own]
    aided = {reading.reader_id for reading in every if reading.arm == Arm.AIDED}
    if aided:
        both = readers & aided
        arms = [reading for reading in every if reading.reader_id in both]
        _add_arms(arms, len(both), content.truth, text, tables)
    elif not content.models:
        return Section("panel", title, absent="There is neither a model nor a second arm to compare the readers with.")
    return Section("panel", title, tuple(text), tuple(tables))


def slice_section(content: ReportContent) -> Section:
    """Build the section on per-slice performance, on each fold, and on the number of slices.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    tables = (slice_table(content.truth, content.named_models), fold_table(content.truth, content.main))
    return Section("slices", "Slices and folds", tables=(*tables, slice_count_table(content.truth, content.main)))


def _add_panel(content: ReportContent, unaided: Sequence[Reading], text: list[str], tables: list[ResultTable]) -> None:
    """Add the comparison of the model with the readers on their common cases, or a sentence on why there is none."""
    main = content.main.name
    model = [replace(reading, reader_id=main) for reading in content.main.readings]
    for name, endpoint, threshold in ENDPOINTS:
        try:
            study, note = _study([*unaided, *model], content.truth, endpoint).on_shared_cases(keep=[main])
            found = ai_vs_readers(study, main, endpoint=endpoint, threshold=threshold, scale="logit")
        except InputError as refusal:
            text.append(f"The {name} of the panel could not be analysed: {refusal}")
            continue
        note = f"Readers minus {main}, on the same cases. {note} {found.table.note}".replace("  ", " ").strip()
        heading = f"{name}: {main} against {found.counts}"
        tables.append(replace(found.table, name=f"panel_{endpoint}", title=heading, note=note))


def _add_arms(
    readings: Sequence[Reading],
    readers: int,
    truth: Mapping[str, Diagnosis],
    text: list[str],
    tables: list[ResultTable],
) -> None:
    """Add the comparison of aided with unaided readings, or a sentence on why there is none."""
    if readers < SMALLEST_PANEL:
        text.append(f"{readers} readers read both without and with the model, too few to compare the arms.")
        return
    for name, endpoint, threshold in ENDPOINTS:
        try:
            study, note = _study(readings, truth, endpoint).on_enough_cases()
            found = mrmc(study, endpoint=endpoint, threshold=threshold, scale="logit")
        except InputError as refusal:
            text.append(f"The {name} without and with the model could not be compared: {refusal}")
            continue
        heading = f"{name} without and with the model: {found.counts}"
        note = f"{note} {found.table.note}".strip()
        tables.append(replace(found.table, name=f"arms_{endpoint}", title=heading, note=note))


def _study(readings: Iterable[Reading], truth: Mapping[str, Diagnosis], endpoint: Endpoint) -> ReaderStudy:
    if endpoint != "auc":
        return ReaderStudy.from_readings(readings, truth, "diagnosis")
    return ReaderStudy.from_readings([one for one in readings if one.confidence is not None], truth)


def _tests(content: ReportContent, first: str, second: str) -> list[PValue]:
    """Return the tests that compare two readers beyond McNemar's test within each class."""
    pair = PairedAccuracy.of(content.diagnoses[first], content.diagnoses[second], content.truth)
    tests = [generalised_mcnemar(pair), *compare_predictive_values(pair)]
    ours, theirs = (confidences_of(content.all_readings[label]) for label in (first, second))
    cases = [case for case in ours if case in theirs]
    malignant = [content.truth[case] == Diagnosis.MALIGNANT for case in cases]
    if any(malignant) and not all(malignant):
        tests.append(auc_difference([ours[case] for case in cases], [theirs[case] for case in cases], malignant))
        tests += _model_tests(content, first, second)
    return tests


def _model_tests(content: ReportContent, first: str, second: str) -> list[PValue]:
    """Return the tests that compare two models only: AUC over slices within patients, and reclassification."""
    models = {model.name: model for model in content.named_models}
    if first not in models or second not in models:
        return []
    ours, theirs = (models[name].corrected_probabilities for name in (first, second))
    cases = [case for case in ours if case in theirs]
    malignant = [content.truth[case] == Diagnosis.MALIGNANT for case in cases]
    before, after = ([one[case] for case in cases] for one in (theirs, ours))
    improvements = (
        reclassification(before, after, malignant).net,
        discrimination_improvement(before, after, malignant),
    )
    added = [replace(one, quantity=f"{one.quantity.split(',')[0]}, first over second") for one in improvements]
    slices = [{(p.case_id, p.slice_index): p.probability for p in models[name].predictions} for name in (first, second)]
    shared = [key for key in slices[0] if key in slices[1]]
    truth, owners = [content.truth[case] == Diagnosis.MALIGNANT for case, _ in shared], [case for case, _ in shared]
    try:
        first_scores, second_scores = ([one[key] for key in shared] for one in slices)
        found = clustered_auc_difference(first_scores, second_scores, truth, owners)
    except InputError:
        return added
    effect, quantity = found.effect, f"difference of AUC of {found.findings} slices, first minus second"
    note = "" if effect.p_value == effect.p_value else effect.estimate.note
    clusters, df = found.clusters, effect.df
    by_slice = PValue(
        effect.p_value, effect.test, quantity, effect.estimate, clusters, Pairing.PAIRED, df=df, note=note
    )
    return [by_slice, *added]


def _test_table(tests: list[tuple[str, PValue]]) -> ResultTable:
    rows = tuple(
        (label, one.quantity, one.estimate, bare_p(one.p), one.test, one.n, str(one.pairing), one.note)
        for label, one in tests
    )
    columns = ("reader 2", "quantity", "estimate", "p", "test", "cases", "pairing", "remark")
    note = "Two-sided, with 95% intervals, not corrected for their number. AUC only where confidences were given."
    return ResultTable("comparison_tests", "Further paired comparisons", columns, rows, note)
