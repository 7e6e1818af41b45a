"""Time of the complete report of a large reader study: 10,000 cases, 20 readers, one model, every sign scored.

Run as ``python benchmarks/report_speed.py``, with ``OMP_NUM_THREADS=1`` to measure one core.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from record import record
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Prediction, Reading, SignScores, patient_readings
from spinefx.commands.report import write_report
from spinefx.learning.recipe import Recipe
from spinefx.report.content import ParticipantSummary, ReportContent
from spinefx.report.sections import build_sections
from spinefx.statistics.performance import ModelResult
from spinefx.vocabulary import LEVELS, SIGN_IDENTIFIERS, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.experiment import Experiment
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    sidecar_path,
    write_lesions,
    write_participants,
    write_readings,
    write_signs,
)

CASES, READERS, SLICES = 10_000, 20, 3


def simulated_study(rng: np.random.Generator) -> ReportContent:
    """Simulate a study: latent malignancy by case, observed with noise by readers, slices and signs.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    ReportContent
    """
    names = [f"sub-{number:05d}" for number in range(CASES)]
    malignant = rng.random(CASES) < 50 / 190
    truth = {name: Diagnosis.MALIGNANT if one else Diagnosis.BENIGN for name, one in zip(names, malignant, strict=True)}
    latent = np.where(malignant, 1.2, -1.2) + rng.normal(0, 0.6, CASES)
    slices = 1 / (1 + np.exp(-2 * (latent[:, None] + rng.normal(0, 1, (CASES, SLICES)))))
    predictions = tuple(
        Prediction(name, name, index, float(p), float(p / (2 - p)), place % 10 + 1, "sha256:0")
        for place, (name, row) in enumerate(zip(names, slices, strict=True))
        for index, p in enumerate(row)
    )
    readings = []
    for reader in range(READERS):
        seen = 1 / (1 + np.exp(-2 * (latent + rng.normal(0, rng.uniform(0.5, 2), CASES))))
        for name, p in zip(names, seen, strict=True):
            diagnosis = Diagnosis.MALIGNANT if p >= 0.5 else Diagnosis.BENIGN
            readings.append(Reading(name, f"reader {reader + 1:02d}", Arm.UNAIDED, diagnosis, float(100 * p)))
    weights = rng.normal(0, 1, len(SIGN_IDENTIFIERS))
    shown = rng.random((CASES, weights.size)) < 1 / (1 + np.exp(1 - latent[:, None] * weights))
    signs = [
        SignScores(
            name,
            "reader 01",
            {sign: Score.YES if yes else Score.NO for sign, yes in zip(SIGN_IDENTIFIERS, row, strict=True)},
        )
        for name, row in zip(names, shown, strict=True)
    ]
    ages, sexes = rng.integers(40, 90, CASES), rng.choice(["F", "M"], CASES)
    return ReportContent(
        title="spinefx: speed",
        truth=truth,
        models=[ModelResult("model", predictions, patient_readings(predictions, reader_id="model"))],
        readings=readings,
        participants=[
            ParticipantSummary(name, truth[name], "follow_up", float(age), str(sex))
            for name, age, sex in zip(names, ages, sexes, strict=True)
        ],
        levels={name: str(level) for name, level in zip(names, rng.choice(LEVELS[7:25], CASES), strict=True)},
        signs=signs,
    )


def write_study(root: Path, content: ReportContent) -> None:
    """Write the study as a workspace with a finished experiment; its images are named but absent.

    Parameters
    ----------
    root : Path
    content : ReportContent
    """
    workspace = Workspace.create(root)
    participants = [
        Participant(one.participant_id, one.diagnosis, TruthSource(one.truth_source), one.age, one.sex)
        for one in content.participants
    ]
    write_participants(workspace, participants)
    lesions = [
        LesionRecord(case, case, Lesion(Box((0.0, 0.0, 0.0), 30.0), 4, 6, level))
        for case, level in content.levels.items()
    ]
    write_lesions(workspace, lesions)
    write_readings(workspace, content.readings)
    write_signs(workspace, content.signs)
    for case in content.truth:
        for weighting in ("T1w", "T2w"):
            place = sidecar_path(workspace, case, weighting)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text('{"VoxelSha256": "simulated"}', encoding="utf-8")
    experiment = Experiment(workspace.experiment_folder("model"))
    experiment.start(Recipe.preset("honest").dump())
    experiment.finish(
        predictions=[(1, prediction) for prediction in content.main.predictions],
        readings=content.main.readings,
        folds=[],
        history=[],
        audit=[("simulated", "passed", CASES, "nothing")],
        environment={},
    )


def main() -> None:
    """Time every section and the whole, and record the table."""
    content = simulated_study(np.random.default_rng(0))
    rows = [(section, f"{seconds:.1f} s") for section, seconds in timed_sections(content)]
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder) / "study", content)
        began = time.process_time()
        page = write_report(Path(folder) / "study").page.read_bytes()
        rows.append(
            ("`spinefx report`: the whole, read from and written to files", f"{time.process_time() - began:.1f} s")
        )
    title = f"The report of {CASES:,} cases, {READERS} readers and one model (simulated)"
    note = f"On one core (`OMP_NUM_THREADS=1`). The page has {len(page) / 1e6:.1f} MB, without contact sheets."
    record("report_speed", title, ("part", "CPU time"), rows, note)


def timed_sections(content: ReportContent) -> list[tuple[str, float]]:
    """Build the sections in order.

    Parameters
    ----------
    content : ReportContent

    Returns
    -------
    list of (str, float)
        Title and CPU seconds.
    """
    times, began = [], time.process_time()
    for section in build_sections(content):
        now = time.process_time()
        times.append((section.title, now - began))
        began = now
    return times


if __name__ == "__main__":
    main()
