"""Predicted power of a model against a panel, from variances, beside simulated power.

Run as ``python benchmarks/panel_power.py [studies]``. Readers vary and the model does not; true variances and the true
difference come from large studies of the same population, the power from studies of the planned size.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from record import record
from spinefx.statistics.mrmc.panel import PanelComponents, ai_vs_readers
from spinefx.statistics.mrmc.power import panel_power
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import ReaderStudy

SEED = 4
SEPARATION = 1.5
# Variance of readers, and of readers by modality; separation of the model; readers; malignant, benign; analysis.
# 0.0055 and 0.03 are Roe and Metz's low and high variance at this area.
PLAN = (
    (0.0055, 1.8, 5, 50, 50, "RRRC"),
    (0.0055, 1.8, 10, 50, 50, "RRRC"),
    (0.0055, 1.75, 8, 60, 120, "RRRC"),
    (0.0055, 1.75, 5, 100, 100, "RRRC"),
    (0.03, 1.8, 5, 100, 100, "RRRC"),
    (0.03, 2.0, 5, 50, 50, "RRRC"),
    (0.03, 2.0, 10, 50, 50, "RRRC"),
    (0.0, 1.8, 1, 100, 100, "FRRC"),
    (0.0055, 1.75, 5, 50, 50, "RRFC"),
    (0.03, 1.9, 5, 50, 50, "RRFC"),
)


def pilot_of(
    rng: np.random.Generator, population: RoeMetz, model: float, malignant: int, benign: int, studies: int
) -> PanelComponents:
    """Average the variances over studies of ten readers and the planned cases."""
    kept = []
    for _ in range(studies):
        study = population.draw_panel(rng, model=model, readers=10, malignant=malignant, benign=benign)
        found = ai_vs_readers(study, "model", covariance="unbiased").components
        kept.append((found.reader, found.error, found.cov2))
    return PanelComponents(*(float(value) for value in np.mean(kept, axis=0)), malignant + benign)


def random_cases(row: tuple, studies: int) -> tuple[float, float, float]:
    """Return true difference, predicted and simulated power of one plan; new cases, and for RRRC new readers."""
    variance, model, readers, malignant, benign, analysis = row
    rng, population = np.random.default_rng(SEED), RoeMetz((SEPARATION,), variance, variance)
    pilot = pilot_of(rng, population, model, malignant, benign, studies)
    true = population.areas[0] - RoeMetz((model,), 0.0, 0.0).areas[0]
    plan = {"readers": readers, "cases": malignant + benign, "analysis": analysis}
    predicted = panel_power(pilot, difference=true, **plan).power
    found = 0
    for _ in range(studies):
        study = population.draw_panel(rng, model=model, readers=readers, malignant=malignant, benign=benign)
        found += ai_vs_readers(study, "model", analysis=analysis).difference.p_value < 0.05
    return true, predicted, found / studies


def same_cases(row: tuple, studies: int) -> tuple[float, float, float]:
    """Return the same with one set of cases, read by new readers each time."""
    variance, model, readers, malignant, benign, analysis = row
    everybody = RoeMetz((SEPARATION,), variance, variance).draw_panel(
        np.random.default_rng(SEED), model=model, readers=readers * studies, malignant=malignant, benign=benign
    )
    scores, truth = everybody.scores[0], everybody.malignant
    higher = (scores[:, truth][:, :, None] > scores[:, ~truth][:, None, :]).mean(axis=(1, 2))
    apart = higher[1:] - higher[0]
    pilot = PanelComponents(float(apart.var(ddof=1)), 0.0, 0.0, malignant + benign)
    true = float(apart.mean())
    plan = {"readers": readers, "cases": malignant + benign, "analysis": analysis}
    predicted = panel_power(pilot, difference=true, **plan).power
    found = 0
    for start in range(1, readers * studies, readers):
        names = ("model", *everybody.readers[start : start + readers])
        own = scores[[0, *range(start, start + readers)]][None]
        study = ReaderStudy(own, truth, ("A",), names, everybody.cases)
        found += ai_vs_readers(study, "model", analysis=analysis).difference.p_value < 0.05
    return true, predicted, found / studies


def main(studies: int) -> None:
    """Predict, simulate, print and record the table."""
    began, rows = time.process_time(), []
    for row in PLAN:
        variance, _, readers, malignant, benign, analysis = row
        true, predicted, simulated = (same_cases if analysis == "RRFC" else random_cases)(row, studies)
        error = np.sqrt(predicted * (1 - predicted) / studies)
        apart = (simulated - predicted) / error
        shown = (f"{true:.3f}", f"{100 * predicted:.1f}%", f"{100 * simulated:.1f}%", f"{apart:+.1f}")
        rows.append((f"1T-{analysis}", f"{variance:g}", readers, f"{malignant} + {benign}", *shown))
        print(f"{time.process_time() - began:5.0f} s", *rows[-1], flush=True)
    record(
        "panel_power",
        f"Power of a model against a panel of readers: predicted, and simulated in {studies} studies",
        (
            "analysis",
            "readers' variance",
            "readers",
            "cases (malignant + benign)",
            "readers - model",
            "predicted",
            "simulated",
            "z",
        ),
        rows,
        "`z`: distance in standard errors of the simulation alone. Fixed cases: one set of cases, new readers in every "
        "study. The prediction takes areas to be normal with a variance of their own; areas near 1 are skewed, and "
        "their variance falls as they rise: that moves the rows of high variance and of large differences. "
        f"CPU time in all {(time.process_time() - began) / 60:.1f} min.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
