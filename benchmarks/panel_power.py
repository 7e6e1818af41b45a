"""Whether the predicted power of a model against a panel is the power: predicted from variances, and simulated.

Run as ``python benchmarks/panel_power.py [studies]``. Readers vary and the model does not; true variances and the true
difference come from large studies of the same population, the power from studies of the planned size.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from record import record
from spinefx.evidence.mrmc_panel import PanelComponents, ai_vs_readers
from spinefx.evidence.mrmc_power import panel_power
from spinefx.evidence.reader_study import ReaderStudy
from spinefx.evidence.roe_metz import RoeMetz

SEED = 4
POPULATION = RoeMetz((1.5,), reader=0.03, modality_reader=0.03)
# Separation of the model, readers, malignant and benign cases, analysis.
PLAN = (
    (2.0, 5, 50, 50, "RRRC"),
    (2.2, 5, 50, 50, "RRRC"),
    (2.0, 10, 50, 50, "RRRC"),
    (2.0, 5, 100, 100, "RRRC"),
    (2.0, 8, 40, 120, "RRRC"),
    (1.9, 10, 100, 100, "RRRC"),
    (1.8, 12, 200, 200, "RRRC"),
    (2.0, 1, 100, 100, "FRRC"),
    (1.9, 5, 50, 50, "RRFC"),
    (1.8, 10, 50, 50, "RRFC"),
)


def pilot_of(
    rng: np.random.Generator, population: RoeMetz, model: float, malignant: int, benign: int, studies: int
) -> PanelComponents:
    """Variances averaged over studies of ten readers and the planned cases."""
    kept = []
    for _ in range(studies):
        study = population.draw_panel(rng, model=model, readers=10, malignant=malignant, benign=benign)
        found = ai_vs_readers(study, "model", covariance="unbiased").components
        kept.append((found.reader, found.error, found.cov2))
    return PanelComponents(*(float(value) for value in np.mean(kept, axis=0)), malignant + benign)


def random_cases(row: tuple, studies: int) -> tuple[float, float, float]:
    """True difference, predicted and simulated power of one plan, cases (and for RRRC readers) drawn anew."""
    model, readers, malignant, benign, analysis = row
    rng = np.random.default_rng(SEED)
    # One reader, the same in every study, has no variance of readers.
    population = RoeMetz(POPULATION.separations, 0.0, 0.0) if analysis == "FRRC" else POPULATION
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
    """The same with one set of cases, read by new readers each time."""
    model, readers, malignant, benign, analysis = row
    everybody = POPULATION.draw_panel(
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
        _, readers, malignant, benign, analysis = row
        true, predicted, simulated = (same_cases if analysis == "RRFC" else random_cases)(row, studies)
        error = np.sqrt(predicted * (1 - predicted) / studies)
        apart = (simulated - predicted) / error
        shown = (f"{true:.3f}", f"{100 * predicted:.1f}%", f"{100 * simulated:.1f}%", f"{apart:+.1f}")
        rows.append((f"1T-{analysis}", readers, f"{malignant} + {benign}", *shown))
        print(f"{time.process_time() - began:5.0f} s", *rows[-1], flush=True)
    record(
        "panel_power",
        f"Power of a model against a panel of readers: predicted, and simulated in {studies} studies",
        ("analysis", "readers", "cases (malignant + benign)", "readers - model", "predicted", "simulated", "z"),
        rows,
        "`z`: distance in standard errors of the simulation alone. Fixed cases: one set of cases, new readers in every "
        f"study. CPU time in all {(time.process_time() - began) / 60:.1f} min.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
