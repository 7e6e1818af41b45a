"""What the model's probabilities are worth: calibration and decision curve."""

from __future__ import annotations

from spinefx.evidence.benefit import decision_curve
from spinefx.evidence.calibration import calibrate
from spinefx.evidence.content import Picture, ReportContent, Section
from spinefx.evidence.figures import draw_calibration, draw_decision
from spinefx.vocabulary import Diagnosis

__all__ = ["calibration_section", "decision_section"]


def calibration_section(content: ReportContent) -> Section:
    """Set the model's prior-corrected probabilities against what happened.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        When a class is missing.
    """
    probabilities, malignant = _probabilities(content)
    found = calibrate(probabilities, malignant)
    drawing = draw_calibration(found, probabilities, malignant, stamp=_stamp(content))
    alternative = (
        f"Calibration curve of {content.main.name}: calibration in the large {found.intercept}, slope {found.slope}. "
        "The values stand in the table."
    )
    caption = (
        "Share malignant against predicted probability, smoothed, with a pointwise 95% band; bars are the cases' "
        "probabilities, benign below and malignant above."
    )
    text = (_which(content),)
    return Section(
        "calibration",
        "Calibration",
        text,
        (found.table(),),
        pictures=(Picture("calibration", drawing, caption, alternative),),
    )


def decision_section(content: ReportContent) -> Section:
    """Weigh what acting on the model's prior-corrected probabilities would bring.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    Section

    Raises
    ------
    InputError
        When a class is missing.
    """
    curve = decision_curve(*_probabilities(content))
    drawing = draw_decision(curve, stamp=_stamp(content))
    best = curve.thresholds[curve.advantage_low > 0]
    said = f"thresholds from {best.min():.2f} to {best.max():.2f}" if best.size else "no threshold"
    alternative = (
        f"Decision curve of {content.main.name}: its net benefit lies above acting on all and on none, the whole band, "
        f"at {said}. The values stand in the table."
    )
    caption = "Net benefit per case with a pointwise 95% band: true positives less false ones at the threshold's odds."
    text = (f"{_which(content)} At this cohort's prevalence, which is seldom that of the clinic.",)
    picture = Picture("decision", drawing, caption, alternative)
    return Section("decision", "Decision curve", text, folded=(curve.table(),), pictures=(picture,))


def _probabilities(content: ReportContent) -> tuple[list[float], list[bool]]:
    by_case = content.main.corrected_probabilities
    return list(by_case.values()), [content.truth[case] == Diagnosis.MALIGNANT for case in by_case]


def _which(content: ReportContent) -> str:
    return (
        f"Probability of malignancy by {content.main.name}, a patient's by the rule {content.main.rule!r} over slices, "
        "with the copies made in training taken back (prior-corrected)."
    )


def _stamp(content: ReportContent) -> str:
    return "phantom" if content.phantom else ""
