"""Cost of a second opinion and its saliency map, by network, on one thread.

Run as ``python benchmarks/second_opinion.py [rounds]``. One phantom patient of 512 x 512 pixels, ten models of random
weights, held against 190 made-up local cases.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from record import record
from scoring import cpu_ms, save_model
from spinefx.cases.alignment import AlignedSeries
from spinefx.commands.ingest import ingest
from spinefx.imaging.selection import choose_series
from spinefx.imaging.study import open_study
from spinefx.learning.measures import image_measures
from spinefx.learning.scoring import load_models, score
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.second_opinion.opinion import Panel, second_opinion
from spinefx.second_opinion.reference_cases import LocalEvidence, ProvenCase
from spinefx.second_opinion.saliency import saliency
from spinefx.vocabulary import Diagnosis, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

FOLDS, LOCAL = 10, 190


def made_up_evidence(rng: np.random.Generator) -> LocalEvidence:
    """Return cases of the cost of real ones."""
    cases = []
    for number in range(LOCAL):
        diagnosis = Diagnosis.MALIGNANT if number < 50 else Diagnosis.BENIGN
        probability = float(rng.beta(3, 2) if number < 50 else rng.beta(2, 3))
        patch = rng.standard_normal((6, 64, 64)).astype(np.float32)
        name = f"sub-{number:03d}"
        cases.append(ProvenCase(name, name, diagnosis, TruthSource.PHANTOM, probability, diagnosis, {}, patch))
    return LocalEvidence("made up", tuple(cases), {}, False)


def tasks_of(folder: Path, study: Workspace) -> dict[str, Callable[[], object]]:
    """Return the requests of the page, by their names in the table."""
    (case,) = read_cohort(study)
    found = choose_series(open_study(study.image(case.participant_id, "T2w").parent))
    volumes, measures = found.load(), image_measures(found)
    models = load_models(folder)
    panel = Panel(models, made_up_evidence(np.random.default_rng(1)), "", phantom=True)
    first = score(models, case.lesion, volumes)

    def answer(aligned: Sequence[AlignedSeries] | None = None) -> object:
        given = None if aligned is None else lambda: aligned
        scored = score(models, case.lesion, volumes, aligned=given, measures=measures)
        return second_opinion(panel, scored, said="", participant_id=None)

    return {
        f"load {FOLDS} models": lambda: load_models(folder),
        f"answer of {FOLDS} models, registration included": answer,
        f"answer of {FOLDS} models, registered while the box was drawn": lambda: answer(first.series),
        "first saliency of a server: weights shuffled, then as below": lambda: saliency(
            tuple(replace(one) for one in models), first.stack, 0
        ),
        "saliency of one slice with its checks": lambda: saliency(models, first.stack, 0),
    }


def main(rounds: int) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cohort(folder / "export", PhantomSettings(patients=1, seed=3, malignant=1.0), readers=False)
        ingest(folder / "study", folder / "export", table=folder / "export" / "cases.csv")
        for network, recipe in (("small_resnet", "quick"), ("resnet50", "honest")):
            for fold in range(1, FOLDS + 1):
                save_model(recipe, folder / recipe / f"fold-{fold:02d}")
            for task, run in tasks_of(folder / recipe, Workspace.open(folder / "study")).items():
                run()
                rows.append((network, task, f"{np.median([cpu_ms(run) for _ in range(rounds)]):.0f}"))
    record(
        "second_opinion",
        "A second opinion on one vertebra, one thread",
        ("network", "task", "CPU ms"),
        rows,
        f"One phantom patient of 512 x 512 pixels, random weights, {LOCAL} "
        f"made-up local cases; medians of {rounds} rounds.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
