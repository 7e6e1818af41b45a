"""The simulated readers on 20 cohorts of 190 phantom patients, beside the readers of Yeh 2022. Nothing is rendered.

A few seconds.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from record import record
from spinefx.phantom.random_streams import PhantomSettings, draw_case
from spinefx.phantom.simulated_readers import READERS, readings_of
from spinefx.vocabulary import Diagnosis

SEEDS = range(1, 21)
# Table 2: correct answers in malignant and in benign cases.
TABLE_2 = {"msk_senior": (47, 139), "resident_r4": (47, 135), "resident_r1": (39, 86)}
# Error analysis of the first-year resident: counts in 54 false positives and in 86 true negatives.
ERROR_ANALYSIS = {
    "diffuse_signal_change": (20, 11),
    "band_pattern_oedema": (24, 20),
    "homogeneous_marrow": (6, 42),
}

Figures = dict[tuple[str, str], float]


def figures_of(seed: int) -> Figures:
    """Return every figure of one cohort, by reader and name."""
    settings = PhantomSettings(patients=190, seed=seed)
    draws = [draw_case(settings, number) for number in range(1, 191)]
    said = [readings_of(draw) for draw in draws]
    malignant = np.array([draw.diagnosis is Diagnosis.MALIGNANT for draw in draws])
    figures: Figures = {}
    called: dict[str, NDArray[np.bool_]] = {}
    for reader in READERS:
        name = reader.reader_id
        answers = np.array([of_case[name].diagnosis is Diagnosis.MALIGNANT for of_case in said])
        confidence = np.array([of_case[name].confidence for of_case in said], float)
        called[name] = answers
        figures[name, "sensitivity"] = float(answers[malignant].mean())
        figures[name, "specificity"] = float(1 - answers[~malignant].mean())
        figures[name, "accuracy"] = float((answers == malignant).mean())
        pairs = confidence[malignant][:, None] - confidence[~malignant]
        figures[name, "AUC of the confidence"] = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    for sign in ERROR_ANALYSIS:
        present = np.array([draw.lesion.signs[sign] for draw in draws])
        answers = called["resident_r1"]
        figures["resident_r1", f"{sign} in false positives"] = float(present[~malignant & answers].mean())
        figures["resident_r1", f"{sign} in true negatives"] = float(present[~malignant & ~answers].mean())
    for one, other in combinations(called, 2):
        a, b = called[one], called[other]
        chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        figures[f"{one}, {other}", "kappa"] = float(((a == b).mean() - chance) / (1 - chance))
    return figures


def published() -> dict[tuple[str, str], str]:
    """Return the figures that the paper reports."""
    known = {}
    for name, (of_50, of_140) in TABLE_2.items():
        counts = {"sensitivity": (of_50, 50), "specificity": (of_140, 140), "accuracy": (of_50 + of_140, 190)}
        known |= {(name, figure): counts_of for figure, counts_of in counts.items()}
    for sign, (of_54, of_86) in ERROR_ANALYSIS.items():
        known["resident_r1", f"{sign} in false positives"] = of_54, 54
        known["resident_r1", f"{sign} in true negatives"] = of_86, 86
    return {key: f"{100 * k / n:.1f}% ({k}/{n})" for key, (k, n) in known.items()}


def main() -> None:
    """Simulate the readings of twenty cohorts, and record means and spread."""
    cohorts = [figures_of(seed) for seed in SEEDS]
    paper = published()
    rows = []
    for key in cohorts[0]:
        values = np.array([figures[key] for figures in cohorts])
        mean, spread = values.mean(), values.std(ddof=1)
        percent = "kappa" not in key[1] and "AUC" not in key[1]
        shown = f"{100 * mean:.1f}% ({100 * spread:.1f})" if percent else f"{mean:.3f} ({spread:.3f})"
        rows.append([key[0], key[1].replace("_", " "), shown, paper.get(key, "not given")])
    record(
        "simulated_readers",
        f"Simulated readers on {len(cohorts)} cohorts of 190 phantom patients (phantom)",
        ("reader", "figure", "simulated, mean (SD over cohorts)", "Yeh 2022"),
        rows,
        "The readers' settings were chosen to land there: this shows that the software does what it was set to do, "
        "and nothing of people. Seeds 1 to 20.",
    )


if __name__ == "__main__":
    main()
