"""What probabilities are worth, the model's and everybody's who gave any: calibration and decision curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from spinefx.errors import InputError
from spinefx.report.content import Picture, ReportContent, Section
from spinefx.report.figures import CURVES, draw_calibration, draw_decision
from spinefx.statistics.answers import confidences_of
from spinefx.statistics.benefit import DecisionCurve, decision_curve
from spinefx.statistics.calibration import Calibration, calibrate
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

__all__ = ["calibration_section", "decision_section"]

# A short row has room for these; the model's own table has every threshold.
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
Found = TypeVar("Found", Calibration, DecisionCurve)


def calibration_section(content: ReportContent) -> Section:
    """Set prior-corrected probabilities against what happened.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        When a class is missing among the cases of the model reported on.
    """
    judged = _judged(content)
    found, refused = _each(judged, calibrate)
    main = found[content.main.name]
    drawing = draw_calibration(found, *judged[content.main.name], stamp=_stamp(content))
    alternative = (
        f"Calibration curve of {content.main.name}: calibration in the large {main.intercept}, slope {main.slope}."
        f"{_beside(found)} The values stand in the table{'s' if len(judged) > 1 else ''}."
    )
    caption = (
        f"Share malignant against predicted probability, smoothed, with a pointwise 95% band; bars are the cases' "
        f"probabilities, benign below and malignant above.{_drawn(found, 'band and bars')}"
    )
    rows: list[tuple[object, ...]] = [
        (
            *(label, _kind(content, label), one.n, one.malignant, one.intercept, one.slope, one.brier),
            *(one.brier_of_prevalence, one.expected_error, one.auc, one.note),
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
        (_which(content, len(judged)),),
        (main.table(), *([everyone] if len(judged) > 1 else [])),
        pictures=(Picture("calibration", drawing, caption, alternative),),
    )


def decision_section(content: ReportContent) -> Section:
    """Weigh what acting on prior-corrected probabilities would bring.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        When a class is missing among the cases of the model reported on.
    """
    judged = _judged(content)
    found, refused = _each(judged, decision_curve)
    main = found[content.main.name]
    drawing = draw_decision(found, stamp=_stamp(content))
    alternative = (
        f"Decision curve of {content.main.name}: its net benefit lies above acting on all and on none, the whole band, "
        f"at {_best(main)}.{_beside(found)} The values stand in the table{'s' if len(judged) > 1 else ''}."
    )
    caption = (
        "Net benefit per case with a pointwise 95% band: true positives less false ones at the threshold's odds."
        f"{_drawn(found, 'band, and acting on all,')}"
    )
    rows: list[tuple[object, ...]] = [
        (label, _kind(content, label), one.n, *_benefits(one), _best(one)) for label, one in found.items()
    ]
    rows += [(label, _kind(content, label), *[None] * (1 + len(THRESHOLDS)), why) for label, why in refused.items()]
    all_acted = [float(main.act_on_all[place]) for place in _places(main)]
    rows.append((f"acting on all (cases of {content.main.name})", "baseline", main.n, *all_acted, ""))
    columns = ("reader", "kind", "cases", *(f"net benefit at {one:g}" for one in THRESHOLDS), "above all and none")
    note = "Per case seen, with 95% intervals. Last column: where the whole band lies above acting on all and on none."
    everyone = ResultTable("decision_all", "Net benefit, every reader and model", columns, tuple(rows), note)
    text = (f"{_which(content, len(judged))} At this cohort's prevalence, which is seldom that of the clinic.",)
    picture = Picture("decision", drawing, caption, alternative)
    shown = (everyone,) if len(judged) > 1 else ()
    return Section("decision", "Decision curve", text, shown, (main.table(),), (picture,))


def _judged(content: ReportContent) -> dict[str, tuple[list[float], list[bool]]]:
    """Probabilities and truths of everybody who gave any: the model reported on, other models, readers."""
    given = {model.name: model.corrected_probabilities for model in content.named_models}
    for reader, readings in content.humans.items():
        sure = {case: confidence / 100 for case, confidence in confidences_of(readings).items()}
        given |= {reader: sure} if sure else {}
    return {
        label: (list(by_case.values()), [content.truth[case] == Diagnosis.MALIGNANT for case in by_case])
        for label, by_case in given.items()
    }


def _each(
    judged: Mapping[str, tuple[list[float], list[bool]]], call: Callable[[list[float], list[bool]], Found]
) -> tuple[dict[str, Found], dict[str, str]]:
    """What was found of each, and why not; of the first it must be found."""
    found: dict[str, Found] = {}
    refused: dict[str, str] = {}
    for place, (label, (probabilities, malignant)) in enumerate(judged.items()):
        try:
            found[label] = call(probabilities, malignant)
        except InputError as refusal:
            if place == 0:
                raise
            refused[label] = str(refusal)
    return found, refused


def _kind(content: ReportContent, label: str) -> str:
    return "reader" if label in content.humans else "model"


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


def _which(content: ReportContent, judged: int) -> str:
    readers = " Of other models the same; a reader's confidence counts as a probability, asked for as one or not."
    return (
        f"Probability of malignancy by {content.main.name}, a patient's by the rule {content.main.rule!r} over slices, "
        f"with the copies made in training taken back (prior-corrected).{readers if judged > 1 else ''}"
    )


def _beside(found: Mapping[str, object]) -> str:
    others = list(found)[1:CURVES]
    return f" Beside it {', '.join(others)}." if others else ""


def _drawn(found: Mapping[str, object], whose: str) -> str:
    if len(found) == 1:
        return ""
    more = f" {len(found) - CURVES} more stand in the table alone." if len(found) > CURVES else ""
    return f" The {whose} are those of {next(iter(found))}.{more}"


def _stamp(content: ReportContent) -> str:
    return "phantom" if content.phantom else ""
