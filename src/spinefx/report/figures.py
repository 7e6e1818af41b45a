"""Figures of a report, byte for byte reproducible from the same data. Home of matplotlib."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from spinefx.cases.reading import Reading
from spinefx.errors import InputError
from spinefx.statistics.accuracy import Confusion, Roc
from spinefx.statistics.benefit import DecisionCurve
from spinefx.statistics.calibration import Calibration
from spinefx.statistics.performance import ModelResult
from spinefx.statistics.readings import diagnoses_by_reader
from spinefx.vocabulary import Diagnosis

__all__ = ["CURVES", "Drawing", "draw_calibration", "draw_decision", "draw_roc"]

# Distinct in greyscale and with colour blindness: hue, dash and marker all differ (palette of Okabe and Ito).
STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
# Largest number of curves in one figure.
CURVES = len(STYLES)
MARKERS = "osD^vP*X"
DOTS_PER_INCH = 300
LONGEST_NAME = 24
QUIET = "#999999"
INK = "#222222"


@dataclass(frozen=True)
class Drawing:
    """A figure in two formats.

    Parameters
    ----------
    svg : str
        Vector graphics, for the page; its identifiers are unique to the figure.
    png : bytes
        Raster graphics, for programs that do not take SVG.
    """

    svg: str
    png: bytes


def draw_roc(
    truth: Mapping[str, Diagnosis], models: Sequence[ModelResult], readings: Sequence[Reading], *, stamp: str = ""
) -> Drawing:
    """Draw the models' per-patient ROC curves, and the readers as points with 95% intervals as crosses.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult
    readings : sequence of Reading
    stamp : str
        Watermark across the figure, for example ``phantom``.

    Returns
    -------
    Drawing
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8)
        for number, model in enumerate(models):
            colour, dash = STYLES[number % len(STYLES)]
            scores = [reading.confidence or 0.0 for reading in model.readings]
            malignant = [truth[reading.case_id] == Diagnosis.MALIGNANT for reading in model.readings]
            try:
                roc = Roc.of(scores, malignant)
            except InputError:
                continue
            label = f"{_short(model.name)}: AUC {roc.auc}"
            x, y = roc.false_positive_rate, roc.true_positive_rate
            axes.plot(x, y, color=colour, linestyle=dash, drawstyle="steps-post", linewidth=1.8, label=label)
        _draw_readers(axes, truth, diagnoses_by_reader(readings, truth))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="Sensitivity", aspect="equal")

    return _drawn("roc", draw, stamp)


def draw_calibration(
    calibrations: Mapping[str, Calibration], probabilities: ArrayLike, malignant: ArrayLike, *, stamp: str = ""
) -> Drawing:
    """Draw calibration curves, with the band and the distribution of probabilities of the first.

    Parameters
    ----------
    calibrations : mapping of str to Calibration
        By reader or model; those after the fourth are left out.
    probabilities : array_like, shape (case,)
        Probabilities given by the first.
    malignant : array_like of bool, shape (case,)
    stamp : str
        Watermark across the figure.

    Returns
    -------
    Drawing
    """
    p, y = np.asarray(probabilities, float), np.asarray(malignant, bool)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, label="as predicted")
        for place, (name, (colour, dash)) in enumerate(zip(calibrations, STYLES, strict=False)):
            curve = calibrations[name].curve
            if place == 0:
                axes.fill_between(curve.probability, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            label = _short(name) if len(calibrations) > 1 else "observed, smoothed"
            axes.plot(curve.probability, curve.observed, dash, color=colour, linewidth=1.8, label=label)
        edges = np.linspace(0, 1, 41)
        for group, base, side, name in ((~y, 0.0, 1, "benign"), (y, 1.0, -1, "malignant")):
            counts = np.histogram(p[group], edges)[0]
            heights = 0.1 * counts / max(1, counts.max())
            fill = "#bbbbbb" if side > 0 else "#555555"
            axes.bar(edges[:-1], side * heights, 1 / 40, base, align="edge", color=fill, linewidth=0, label=name)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="Predicted probability of malignancy", ylabel="Proportion malignant")

    return _drawn("calibration", draw, stamp)


def draw_decision(curves: Mapping[str, DecisionCurve], *, stamp: str = "") -> Drawing:
    """Draw decision curves, with the band of the first and the lines for acting on all and on no cases.

    Parameters
    ----------
    curves : mapping of str to DecisionCurve
        By reader or model; those after the fourth are left out.
    stamp : str
        Watermark across the figure.

    Returns
    -------
    Drawing
    """
    first = next(iter(curves.values()))

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=QUIET, linewidth=0.8, label="act on none")
        axes.plot(first.thresholds, first.act_on_all, color=INK, linewidth=0.8, label="act on all")
        for name, (colour, dash) in zip(curves, STYLES, strict=False):
            curve = curves[name]
            if curve is first:
                axes.fill_between(curve.thresholds, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            label = f"act on {_short(name)}" if len(curves) > 1 else "act on the model"
            axes.plot(curve.thresholds, curve.benefit, dash, color=colour, linewidth=1.8, label=label)
        top = float(max(first.high.max(), first.act_on_all.max()))
        axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top))
        axes.set(xlabel="Threshold probability", ylabel="Net benefit per case")

    return _drawn("decision", draw, stamp, place="upper right")


def _draw_readers(axes: Axes, truth: Mapping[str, Diagnosis], diagnoses: Mapping[str, Mapping[str, Diagnosis]]) -> None:
    """Draw each reader as a point with a cross; more readers than markers are all drawn as dots with one label."""
    many = len(diagnoses) > len(MARKERS)
    for number, (reader, own) in enumerate(sorted(diagnoses.items())):
        counts = Confusion.of(own, truth)
        sensitivity, specificity = counts.sensitivity, counts.specificity
        if np.isnan(sensitivity.value) or np.isnan(specificity.value):
            continue
        label = (f"{len(diagnoses)} readers" if number == 0 else "_") if many else _short(reader)
        axes.errorbar(
            [1 - specificity.value],
            [sensitivity.value],
            yerr=[[sensitivity.value - sensitivity.low], [sensitivity.high - sensitivity.value]],
            xerr=[[specificity.high - specificity.value], [specificity.value - specificity.low]],
            fmt="." if many else MARKERS[number],
            color=INK,
            ecolor=QUIET,
            elinewidth=0.4 if many else 0.8,
            markersize=7,
            label=label,
        )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _drawn(
    name: str, draw: Callable[[Axes], None], stamp: str, place: Literal["lower right", "upper right"] = "lower right"
) -> Drawing:
    # Names come from the data: dollar signs are not formulas, and letters that the font lacks are not errors.
    with (
        mpl.rc_context(
            {"svg.hashsalt": "spinefx", "svg.fonttype": "path", "font.size": 10.0, "text.parse_math": False}
        ),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(5.4, 5.2), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc=place, fontsize=8.5, frameon=False).set_in_layout(False)
        if stamp:
            across = axes.text(0.5, 0.5, stamp.upper(), fontsize=34, color="#000000", alpha=0.06, rotation=30)
            across.set(transform=axes.transAxes, horizontalalignment="center", verticalalignment="center")
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "spinefx"})
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "spinefx"})
    # A page holds several figures, and their identifiers must not clash.
    unique = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg.getvalue())
    return Drawing(unique, png.getvalue())
