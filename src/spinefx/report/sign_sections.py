"""Sections on the fifteen signs: Table 1, baselines without a network, and errors by sign."""

from __future__ import annotations

import numpy as np

from spinefx.errors import InputError
from spinefx.report.content import ReportContent, Section, Sheet
from spinefx.statistics.accuracy import Confusion, majority_baseline
from spinefx.statistics.estimate import ShownP, bare_p
from spinefx.statistics.performance import case_table
from spinefx.statistics.sign_model import fit_sign_model
from spinefx.statistics.sign_reading import sign_reading_table
from spinefx.statistics.signs import (
    PHANTOM_TRUTH,
    compare_signs,
    error_analysis,
    sign_table,
    single_sign_baseline,
)
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import SIGNS, Diagnosis

__all__ = ["baseline_section", "error_section", "sign_reading_section", "sign_section"]

NO_SIGNS = "There are no scores of the fifteen signs."
WRONG_CASES_SHOWN = 24


def sign_section(content: ReportContent) -> Section:
    """Build the section that compares the signs of malignant and benign cases (Yeh 2022, Table 1).

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title = "Imaging signs in malignant and benign cases"
    if not content.scores:
        return Section("table1", title, absent=NO_SIGNS)
    groups = [content.cases_of(diagnosis) for diagnosis in (Diagnosis.MALIGNANT, Diagnosis.BENIGN)]
    table = sign_table(compare_signs(content.scores, *groups), title=f"Signs as scored by {content.reference}")
    return Section("table1", title, (_reference_note(content),), (table,))


def sign_reading_section(content: ReportContent) -> Section:
    """Build the section on how well a signs model reads each sign.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    title = "Signs as read by the model"
    if not content.scores:
        return Section("sign_reading", title, absent=NO_SIGNS)
    table = sign_reading_table(content.sign_chances, content.scores)
    return Section("sign_reading", title, (_reference_note(content),), (table,))


def baseline_section(content: ReportContent) -> Section:
    """Build the section on baselines: the more common diagnosis, the best sign, and a logistic model of all signs.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    main, (diagnosis, baseline) = content.main.name, majority_baseline(content.truth)
    rows = [_row(main, Confusion.of(content.diagnoses[main], content.truth), "cross-validated")]
    rows.append(_row(f"always {diagnosis}", baseline, "chosen on these cases"))
    text, folded = [], []
    if content.scores:
        text.append(_reference_note(content))
        sign, indicated, counts = single_sign_baseline(content.scores, content.truth)
        label = next(one.label for one in SIGNS if one.identifier == sign)
        rows.append(_row(f"{label}: {indicated}", counts, "best of fifteen on these cases, hence flattering"))
        for penalty, name in (("firth", "Firth"), ("l2", "ridge")):
            try:
                model = fit_sign_model(
                    content.scores,
                    content.truth,
                    np.random.default_rng(0),
                    penalty=penalty,
                    participants={case: content.owners.get(case, case) for case in content.truth},
                )
            except InputError as refusal:
                text.append(f"The logistic model of the signs ({name}) could not be fitted: {refusal}")
                continue
            rows.append(_row(f"signs together, {name}", model.crossvalidated, f"{model.folds}-fold, by patient"))
            folded += [model.table, *([model.coefficient_table] if penalty == "firth" else [])]
    else:
        text.append(f"{NO_SIGNS} The baselines of the best sign and of all signs are therefore missing.")
    columns = ("answer", "cases", "sensitivity", "specificity", "accuracy", "judged")
    table = ResultTable("baselines", "Baselines", columns, tuple(rows), "Wilson 95% intervals.")
    return Section("baselines", "Baselines", tuple(text), (table,), tuple(folded))


def error_section(content: ReportContent) -> Section:
    """Build the section on wrong diagnoses and the signs associated with them (Yeh 2022, Error analysis).

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section
    """
    main = content.main
    cases = case_table(content.truth, main)
    wrong = [row for row in cases.rows if row[-1]]
    text = [f"{main.name} misdiagnosed {len(wrong)} of {len(cases.rows)} cases."]
    sheets = _sheets(content)
    if 0 < len(sheets) < len(wrong):
        text.append(f"The contact sheets of the {len(sheets)} most confident errors are shown.")
    if not content.scores:
        text.append(f"{NO_SIGNS} The errors are therefore not analysed by sign.")
        return Section("errors", "Errors", tuple(text), folded=(cases,), sheets=sheets)
    text.append(f"{_reference_note(content)} Tests compare wrong with correct diagnoses within each class.")
    rows: list[tuple[object, ...]] = []
    for label, diagnoses in content.diagnoses.items():
        found = error_analysis(content.scores, diagnoses, content.truth)
        for name, against, signs in (
            ("false positives", "true negatives", found[0]),
            ("false negatives", "true positives", found[1]),
        ):
            compared = f"{name} v {against}"
            rows += [
                (label, compared, x.label, x.first, x.second, x.test.estimate, bare_p(x.test.p), bare_p(x.holm_p))
                for x in signs
            ]
    columns = ("reader", "compared", "sign", "wrong", "right", "odds ratio", "p Fisher", "p Holm")
    note = (
        "Fisher's exact tests with conditional odds ratios and exact 95% intervals; Holm's correction over the fifteen "
        "signs of each comparison. There is no p-value if a reader made no such error."
    )
    own = tuple(row for row in rows if row[0] == main.name)
    by_main = ResultTable("errors", f"Errors of {main.name} by sign", columns, own, note)
    by_all = ResultTable("errors_all", "Errors of every reader by sign", columns, tuple(rows), note)
    folded = (by_main, by_all, cases) if len(content.diagnoses) > 1 else (by_main, cases)
    significant = [row for row in rows if isinstance(p := row[-1], ShownP) and p.p < 0.05]
    table = ResultTable(
        "errors_standing",
        "Signs that go with errors after Holm's correction (p below 0.05)",
        columns,
        tuple(significant),
        "" if significant else "No sign is associated with the errors of any reader after correction.",
    )
    return Section("errors", "Errors", tuple(text), (table,), folded, sheets=sheets)


def _reference_note(content: ReportContent) -> str:
    others = sorted({one.reader_id for one in content.signs} - {content.reference})
    kind = "the true signs of the phantoms" if content.reference == PHANTOM_TRUTH else "a reader"
    besides = f" {', '.join(others)} also scored signs." if others else ""
    return f"Signs as scored by {content.reference} ({kind}) in {len(content.scores)} cases.{besides}"


def _row(label: str, counts: Confusion, judged: str) -> tuple[object, ...]:
    cases = counts.tp + counts.tn + counts.fn + counts.fp
    return (label, cases, counts.sensitivity, counts.specificity, counts.accuracy, judged)


def _sheets(content: ReportContent) -> tuple[Sheet, ...]:
    """Return the contact sheets of wrong diagnoses, the most confident first."""
    main = content.main
    sheets: list[Sheet] = []
    wrong = [reading for reading in main.readings if reading.diagnosis != content.truth[reading.case_id]]
    for reading in sorted(wrong, key=lambda reading: -abs((reading.confidence or 0.0) - 100 * main.threshold)):
        png = content.sheet(reading.case_id) if len(sheets) < WRONG_CASES_SHOWN else None
        if png is not None:
            caption = (
                f"truth {content.truth[reading.case_id]}, model {reading.diagnosis}, "
                f"probability of malignancy {(reading.confidence or 0.0) / 100:.2f}"
            )
            sheets.append(Sheet(reading.case_id, caption, png))
    return tuple(sheets)
