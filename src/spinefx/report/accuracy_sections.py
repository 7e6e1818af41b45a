"""How often who is right: Table 2, curves, comparisons case by case, a panel of readers, slices and folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from spinefx.cases.reading import Reading
from spinefx.errors import InputError
from spinefx.report.content import Picture, ReportContent, Section
from spinefx.report.figures import draw_roc
from spinefx.statistics.answers import confidences_of
from spinefx.statistics.benefit import discrimination_improvement, reclassification
from spinefx.statistics.clustered import clustered_auc_difference
from spinefx.statistics.delong import auc_difference
from spinefx.statistics.estimate import Pairing, PValue, bare_p
from spinefx.statistics.measures import agreement_table, measure_table
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.scores import Endpoint, ReaderStudy
from spinefx.statistics.paired.mcnemar import comparison_table, generalised_mcnemar
from spinefx.statistics.paired.predictive import compare_predictive_values
from spinefx.statistics.paired.table import PairedAccuracy
from spinefx.statistics.performance import fold_table, patient_auc, performance_table, slice_count_table, slice_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Arm, Diagnosis

__all__ = ["comparison_section", "panel_section", "performance_section", "roc_section", "slice_section"]

LEAST_PANEL = 3
# Diagnoses count as 1 and 0, so that every reader's own threshold lies between.
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
    """Set readers, models and the majority baseline side by side (Yeh 2022, Table 2).

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    table = performance_table(content.truth, content.readings, content.named_models)
    measures = measure_table(content.truth, content.answers)
    text = () if content.humans else ("Nobody has read these cases: the models stand alone.",)
    return Section("table2", table.title, text, (table,), (measures,))


def roc_section(content: ReportContent) -> Section:
    """Draw the models' curves with the readers as points.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    area = patient_auc(content.truth, content.main.readings)
    if area is None:
        return Section("roc", "ROC curve", absent="A ROC curve needs malignant and benign cases.")
    stamp = "phantom" if content.phantom else ""
    drawing = draw_roc(content.truth, content.named_models, content.readings, stamp=stamp)
    readers = f" with {len(content.humans)} readers as points" if content.humans else ""
    values = "All values stand in the table of per-patient diagnosis."
    alternative = f"ROC curves{readers}. {content.main.name}: area {area}. {values}"
    caption = "Per patient, pooled over folds. Readers are points at their sensitivity and specificity, crosses their "
    return Section(
        "roc", "ROC curve", pictures=(Picture("roc", drawing, f"{caption}Wilson 95% intervals.", alternative),)
    )


def comparison_section(content: ReportContent) -> Section:
    """Compare the model with every reader on the same cases, and all readers with one another.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title, main = "Readers compared, case by case", content.main.name
    if len(content.answers) < 2:
        return Section("comparison", title, absent="There is nobody to compare the model with.")
    paired = comparison_table(content.truth, content.answers, against=main)
    paired = replace(paired, title=f"{main} (first) against every other reader (second)", page_columns=PAIRED_COLUMNS)
    tests = [(label, test) for label in content.answers if label != main for test in _tests(content, main, label)]
    text = (f"Differences are {main} minus the other: above 0, {main} is better.",)
    folded: tuple[ResultTable, ...] = (agreement_table(content.answers),)
    if len(content.answers) > 2:
        pairs = comparison_table(content.truth, content.answers)
        columns = ("reader 1", *PAIRED_COLUMNS)
        folded = (replace(pairs, name="comparison_all", title="Every two readers", page_columns=columns), *folded)
    return Section("comparison", title, text, (paired, _test_table(tests)), folded)


def panel_section(content: ReportContent) -> Section:
    """Compare the model with the readers as a panel, and the panel without and with the model.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title, main = "Readers as a panel (multi-reader, multi-case)", content.main.name
    alone = [reading for mine in content.humans.values() for reading in mine if reading.arm == Arm.UNAIDED]
    readers = {reading.reader_id for reading in alone}
    if len(readers) < LEAST_PANEL:
        few = f"A panel takes {LEAST_PANEL} readers or more without the model's help; here are {len(readers)}."
        return Section("panel", title, absent=few)
    text = [
        "Readers and cases are both taken as drawn from many (random): what holds here is meant to hold for others "
        "like them. The model gives one answer a case and is no random reader."
    ]
    tables = []
    model = [replace(reading, reader_id=main) for reading in content.main.readings]
    for name, endpoint, threshold in ENDPOINTS:
        try:
            study = _study([*alone, *model], content.truth, endpoint)
            found = ai_vs_readers(study, main, endpoint=endpoint, threshold=threshold, scale="logit")
        except InputError as refusal:
            text.append(f"No {name} of the panel: {refusal}")
            continue
        note = f"Readers minus {main}, on the same cases. {found.table.note}".strip()
        said = f"{name}: {main} against {found.counts}"
        tables.append(replace(found.table, name=f"panel_{endpoint}", title=said, note=note))
    aided = [reading for mine in content.humans.values() for reading in mine if reading.arm == Arm.AIDED]
    if aided:
        both = readers & {reading.reader_id for reading in aided}
        arms = [reading for reading in (*alone, *aided) if reading.reader_id in both]
        _add_arms(arms, len(both), content.truth, text, tables)
    return Section("panel", title, tuple(text), tuple(tables))


def slice_section(content: ReportContent) -> Section:
    """Count slices as the networks saw them, and look at each fold alone.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    tables = (slice_table(content.truth, content.named_models), fold_table(content.truth, content.main))
    return Section("slices", "Slices and folds", tables=(*tables, slice_count_table(content.truth, content.main)))


def _add_arms(
    readings: Sequence[Reading],
    readers: int,
    truth: Mapping[str, Diagnosis],
    text: list[str],
    tables: list[ResultTable],
) -> None:
    """Compare reading without with reading with the model, or say why not."""
    if readers < LEAST_PANEL:
        text.append(f"{readers} readers read without and with the model: too few to compare the arms as a panel.")
        return
    for name, endpoint, threshold in ENDPOINTS:
        try:
            study = _study(readings, truth, endpoint)
            found = mrmc(study, endpoint=endpoint, threshold=threshold, scale="logit")
        except InputError as refusal:
            text.append(f"No {name} without and with the model: {refusal}")
            continue
        said = f"{name} without and with the model: {found.counts}"
        tables.append(replace(found.table, name=f"arms_{endpoint}", title=said))


def _study(readings: Iterable[Reading], truth: Mapping[str, Diagnosis], endpoint: Endpoint) -> ReaderStudy:
    if endpoint != "auc":
        return ReaderStudy.from_readings(readings, truth, "diagnosis")
    return ReaderStudy.from_readings([one for one in readings if one.confidence is not None], truth)


def _tests(content: ReportContent, first: str, second: str) -> list[PValue]:
    """What compares two readers beyond McNemar's tests within each class."""
    pair = PairedAccuracy.of(content.answers[first], content.answers[second], content.truth)
    tests = [generalised_mcnemar(pair), *compare_predictive_values(pair)]
    ours, theirs = (confidences_of(content.everyone[label]) for label in (first, second))
    cases = [case for case in ours if case in theirs]
    malignant = [content.truth[case] == Diagnosis.MALIGNANT for case in cases]
    if any(malignant) and not all(malignant):
        tests.append(auc_difference([ours[case] for case in cases], [theirs[case] for case in cases], malignant))
        tests += _model_tests(content, first, second)
    return tests


def _model_tests(content: ReportContent, first: str, second: str) -> list[PValue]:
    """What a model adds to another: slices kept within patients, and probabilities moved the right way."""
    models = {model.name: model for model in content.named_models}
    if first not in models or second not in models:
        return []
    ours, theirs = (models[name].corrected_probabilities for name in (first, second))
    cases = [case for case in ours if case in theirs]
    malignant = [content.truth[case] == Diagnosis.MALIGNANT for case in cases]
    before, after = ([one[case] for case in cases] for one in (theirs, ours))
    gained = (reclassification(before, after, malignant).net, discrimination_improvement(before, after, malignant))
    moved = [replace(one, quantity=f"{one.quantity.split(',')[0]}, first over second") for one in gained]
    slices = [{(p.case_id, p.slice_index): p.probability for p in models[name].predictions} for name in (first, second)]
    shared = [key for key in slices[0] if key in slices[1]]
    truth, owners = [content.truth[case] == Diagnosis.MALIGNANT for case, _ in shared], [case for case, _ in shared]
    try:
        mine, other = ([one[key] for key in shared] for one in slices)
        found = clustered_auc_difference(mine, other, truth, owners)
    except InputError:
        return moved
    effect, quantity = found.effect, f"difference of AUC of {found.findings} slices, first minus second"
    note = "" if effect.p_value == effect.p_value else effect.estimate.note
    clusters, df = found.clusters, effect.df
    by_slice = PValue(
        effect.p_value, effect.test, quantity, effect.estimate, clusters, Pairing.PAIRED, df=df, note=note
    )
    return [by_slice, *moved]


def _test_table(tests: list[tuple[str, PValue]]) -> ResultTable:
    rows = tuple(
        (label, one.quantity, one.estimate, bare_p(one.p), one.test, one.n, str(one.pairing), one.note)
        for label, one in tests
    )
    columns = ("reader 2", "quantity", "estimate", "p", "test", "cases", "pairing", "remark")
    note = "Two-sided, with 95% intervals, not corrected for their number. AUC only where confidences were given."
    return ResultTable("comparison_tests", "Further paired comparisons", columns, rows, note)
