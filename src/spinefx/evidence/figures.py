"""Figures of a report, as SVG that is the same for the same data. Home of matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from spinefx.cases.reading import Reading
from spinefx.errors import InputError
from spinefx.evidence.accuracy import Confusion, Roc
from spinefx.evidence.answers import answers_by_reader
from spinefx.evidence.tables import ModelResult
from spinefx.vocabulary import Diagnosis

__all__ = ["roc_svg"]

# Told apart in grey and by readers with colour blindness: hue, dash and marker all differ (Okabe and Ito's palette).
STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
MARKERS = "osD^vP*X"


def roc_svg(
    truth: Mapping[str, Diagnosis], models: Sequence[ModelResult], readings: Sequence[Reading], *, stamp: str = ""
) -> str:
    """Draw the models' per-patient ROC curves with the human readers as points.

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By case.
    models : sequence of ModelResult
    readings : sequence of Reading
    stamp : str
        Written across the figure, for instance ``phantom``.

    Returns
    -------
    str
        SVG text.
    """
    with mpl.rc_context({"svg.hashsalt": "spinefx", "svg.fonttype": "path", "font.size": 10.0}):
        figure = Figure(figsize=(5.4, 5.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        for number, model in enumerate(models):
            colour, dash = STYLES[number % len(STYLES)]
            scores = [reading.confidence or 0.0 for reading in model.readings]
            malignant = [truth[reading.case_id] == Diagnosis.MALIGNANT for reading in model.readings]
            try:
                roc = Roc.of(scores, malignant)
            except InputError:
                continue
            label = f"{model.name}: AUC {roc.auc}"
            x, y = roc.false_positive_rate, roc.true_positive_rate
            axes.plot(x, y, color=colour, linestyle=dash, drawstyle="steps-post", linewidth=1.8, label=label)
        for number, (reader, answers) in enumerate(sorted(answers_by_reader(readings, truth).items())):
            confusion = Confusion.of(answers, truth)
            place = ([1 - confusion.specificity.value], [confusion.sensitivity.value])
            axes.plot(*place, MARKERS[number % len(MARKERS)], color="#222222", markersize=7, label=reader)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="Sensitivity", aspect="equal")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="lower right", fontsize=8.5, frameon=False)
        if stamp:
            axes.text(0.5, 0.52, stamp.upper(), fontsize=34, color="#000000", alpha=0.06, ha="center", rotation=30)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "spinefx"})
    return buffer.getvalue()
