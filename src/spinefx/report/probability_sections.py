"""Sections on probabilities, of models and of readers who gave confidences: calibration and decision curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from spinefx.errors import InputError
from spinefx.report.content import Picture, ReportContent, Section
from spinefx.report.figures import CURVES, draw_calibration, draw_decision
from spinefx.statistics.benefit import DecisionCurve, decision_curve
from spinefx.statistics.calibration import Calibration, calibrate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.readings import confidences_of
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = ["calibration_section", "decision_section"]

# Thresholds of the table of all readers; the model's own table has every threshold.
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
RULES = {"max": "the maximum", "mean": "the mean", "noisy_or": "the noisy-OR combination"}
Found = TypeVar("Found", Calibration, DecisionCurve)


def calibration_section(content: ReportContent) -> Section:
    """Build the section on the calibration of prior-corrected probabilities.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        If a class is missing among the cases of the model reported on.
    """
    given = _given_probabilities(content)
    found, refused = _of_each(given, calibrate)
    main = found[content.main.name]
    drawing = draw_calibration(found, *given[content.main.name], stamp=_stamp(content))
    alternative = (
        f"Calibration curve of {content.main.name}: calibration in the large {main.intercept}, slope {main.slope}."
        f"{_others(found)} The table{'s list' if len(given) > 1 else ' lists'} the values."
    )
    caption = (
        "Proportion malignant by predicted probability, smoothed, with a pointwise 95% band. Bars show how the "
        "probabilities are distributed, of benign cases below and of malignant cases above."
        f"{_drawn(found, 'band and the bars')}"
    )
    rows: list[tuple[object, ...]] = [
        (
            *(label, _kind(content, label), one.n, one.malignant, one.intercept, one.slope, one.brier),
            *(one.brier_of_prevalence, one.mean_error, one.auc, one.note),
        )
        for label, one in found.items()
    ]
    rows += [(label, _kind(content, label), *[None] * 8, reason) for label, reason in refused.items()]
    columns = (
        *("reader", "kind", "cases", "malignant", "calibration in the large", "slope"),
        *("Brier score", "Brier score of the prevalence", "mean distance to the curve", "AUC", "remark"),
    )
    note = "With 95% intervals. Right are 0 in the large and a slope of 1. Who read other cases had another prevalence."
    everyone = ResultTable("calibration_all", "Calibration, every reader and model", columns, tuple(rows), note)
    return Section(
        "calibration",
        "Calibration",
        (_description(content, len(given)),),
        (main.table, *([everyone] if len(given) > 1 else [])),
        pictures=(Picture("calibration", drawing, caption, alternative),),
    )


def decision_section(content: ReportContent) -> Section:
    """Build the section on the decision curve of prior-corrected probabilities.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        If a class is missing among the cases of the model reported on.
    """
    given = _given_probabilities(content)
    found, refused = _of_each(given, decision_curve)
    main = found[content.main.name]
    drawing = draw_decision(found, stamp=_stamp(content))
    alternative = (
        f"Decision curve of {content.main.name}: the whole band of its net benefit lies above acting on all and on "
        f"none at {_best(main)}.{_others(found)} The table{'s list' if len(given) > 1 else ' lists'} the values."
    )
    caption = (
        "Net benefit per case, with a pointwise 95% band: true positives minus false positives weighted by the odds of "
        f"the threshold.{_drawn(found, 'band and the line for acting on all')}"
    )
    rows: list[tuple[object, ...]] = [
        (label, _kind(content, label), one.n, *_benefits(one), _best(one)) for label, one in found.items()
    ]
    rows += [(label, _kind(content, label), *[None] * (1 + len(THRESHOLDS)), why) for label, why in refused.items()]
    act_on_all = [float(main.act_on_all[place]) for place in _places(main)]
    rows.append((f"acting on all (cases of {content.main.name})", "baseline", main.n, *act_on_all, ""))
    columns = ("reader", "kind", "cases", *(f"net benefit at {one:g}" for one in THRESHOLDS), "above all and none")
    note = "Per case seen, with 95% intervals. Last column: where the whole band lies above acting on all and on none."
    everyone = ResultTable("decision_all", "Net benefit, every reader and model", columns, tuple(rows), note)
    text = (f"{_description(content, len(given))} Net benefit is at this cohort's prevalence, not that of a clinic.",)
    picture = Picture("decision", drawing, caption, alternative)
    shown = (everyone,) if len(given) > 1 else ()
    return Section("decision", "Decision curve", text, shown, (main.table,), (picture,))


def _given_probabilities(content: ReportContent) -> dict[str, tuple[list[float], list[bool]]]:
    """Return the probabilities given by models and readers with the truths, the model reported on first."""
    given = {model.name: model.corrected_probabilities for model in content.named_models}
    for reader, readings in content.human_readings.items():
        by_case = {case: confidence / 100 for case, confidence in confidences_of(readings).items()}
        given |= {reader: by_case} if by_case else {}
    return {
        label: (list(by_case.values()), [content.truth[case] == Diagnosis.MALIGNANT for case in by_case])
        for label, by_case in given.items()
    }


def _of_each(
    given: Mapping[str, tuple[list[float], list[bool]]], call: Callable[[list[float], list[bool]], Found]
) -> tuple[dict[str, Found], dict[str, str]]:
    """Return the result for each reader or model, or why there is none; an error for the first is raised."""
    found: dict[str, Found] = {}
    refused: dict[str, str] = {}
    for place, (label, (probabilities, malignant)) in enumerate(given.items()):
        try:
            found[label] = call(probabilities, malignant)
        except InputError as refusal:
            if place == 0:
                raise
            refused[label] = str(refusal)
    return found, refused


def _kind(content: ReportContent, label: str) -> str:
    return "reader" if label in content.human_readings else "model"


def _places(curve: DecisionCurve) -> list[int]:
    return [int(np.abs(curve.thresholds - one).argmin()) for one in THRESHOLDS]


def _benefits(curve: DecisionCurve) -> list[Estimate]:
    return [
        Estimate(float(curve.benefit[place]), float(curve.low[place]), float(curve.high[place]))
        for place in _places(curve)
    ]


def _best(curve: DecisionCurve) -> str:
    best = curve.thresholds[curve.advantage_low > 0]
    return f"thresholds from {best.min():.2f} to {best.max():.2f}" if best.size else "no threshold"


def _description(content: ReportContent, number: int) -> str:
    others = " The same holds for other models. Readers' confidences count as probabilities, even if not meant as such."
    return (
        f"Probability of malignancy per patient by {content.main.name}: {RULES[content.main.rule]} over the slices, "
        f"corrected for oversampling in training (prior-corrected).{others if number > 1 else ''}"
    )


def _others(found: Mapping[str, object]) -> str:
    others = list(found)[1:CURVES]
    return f" Also drawn: {', '.join(others)}." if others else ""


def _drawn(found: Mapping[str, object], whose: str) -> str:
    if len(found) == 1:
        return ""
    more = f" {len(found) - CURVES} more are in the table only." if len(found) > CURVES else ""
    return f" The {whose} are those of {next(iter(found))}.{more}"


def _stamp(content: ReportContent) -> str:
    return "phantom" if content.phantom else ""
