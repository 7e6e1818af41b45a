"""The starter weights of the signs model: teach them on phantoms, and measure them on phantoms they have not seen.

    python benchmarks/starter.py cohort FOLDER     draw the phantoms that teach and test it
    python benchmarks/starter.py train FOLDER      teach it, and write its weights into the package
    python benchmarks/starter.py score FOLDER      measure what docs/signs.md reports

Each goes on where it was stopped. Phantoms are rendered in memory and only their views are kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from spinefx.cases.alignment import align_series
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PatchSettings
from spinefx.errors import SpinefxError
from spinefx.files import write_text
from spinefx.learning.measures import voxel_measures
from spinefx.phantom.case import PhantomCase, render_pair
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings, Range
from spinefx.processes.pool import map_items
from spinefx.signs.views import BODY, cut_other_vertebrae, cut_views
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Weighting
from spinefx.workspace.stacks import save_stack

# Wider than the network's own view, so that training can crop it at random.
UNCROPPED = PatchSettings(margin_percent=100, size=80)
SUSPICIOUS_SPOTS = {"metastasis", "replacement", "focus"}


def write_cohort(folder: Path, settings: PhantomSettings, workers: int = 2) -> None:
    """Draw phantoms, and keep their views; those that are there already are kept."""
    jobs = [(folder, settings, number) for number in range(1, settings.patients + 1)]
    todo = [job for job in jobs if not _truth_path(*job[::2]).exists()]

    def progress(done: int, number: int) -> None:
        if done % 20 == 0:
            print(f"{folder.name}: {done} of {number}", flush=True)

    for outcome in map_items(_write_patient, todo, workers=workers, progress=progress):
        if isinstance(outcome, SpinefxError):
            print(f"{folder.name}: {outcome}", flush=True)


def _truth_path(folder: Path, number: int) -> Path:
    return folder / "truth" / f"{number:05d}.json"


def _write_patient(job: tuple[Path, PhantomSettings, int]) -> None:
    folder, settings, number = job
    draw = draw_case(settings, number)
    truth, t1w, t2w = render_pair(draw)
    series = {Weighting.T1W: t1w, Weighting.T2W: t2w}
    rng = np.random.default_rng([settings.seed, number, 16])
    lesion = _marked_again(truth, rng)
    placed = align_series(lesion, series, method=BODY.registration)
    views = cut_views(lesion, placed, case_id=draw.name, participant_id=draw.patient_id)
    levels = [level for level in truth.extents_mm if level not in ("C2",)]
    boxes = [Box(tuple(truth.vertebrae_mm[level]), _side(truth, level)) for level in levels]
    places, patches = cut_other_vertebrae(boxes, placed, UNCROPPED)
    measures = voxel_measures(series) | _times(draw)
    for kind, stack in (("body", views.body), ("surroundings", views.surroundings)):
        save_stack(folder / kind, stack, "phantom", {}, {}, measures)
    (folder / "vertebrae").mkdir(parents=True, exist_ok=True)
    np.save(folder / "vertebrae" / f"{number:05d}.npy", patches.astype(np.float16))
    described = {
        "case": draw.name,
        "participant": draw.patient_id,
        "malignant": truth.diagnosis is Diagnosis.MALIGNANT,
        "signs": [bool(truth.signs[sign]) for sign in SIGN_IDENTIFIERS],
        "levels": [levels[place] for place in places],
        "states": [_state(draw, truth, levels[place]) for place in places],
        "marked": [levels[place] == truth.level for place in places],
        "vendor": draw.vendor,
        "field_t": settings.field_t,
        "weight": float(getattr(draw, "sampling_weight", 1.0)),
    }
    path = _truth_path(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(described) + "\n")


def _marked_again(truth: PhantomCase, rng: np.random.Generator) -> Lesion:
    """Return the lesion as a second reader would mark it: 1.5 mm and 4% off."""
    centre = truth.box_centre_mm + np.array([0.0, *rng.normal(0, 1.5, 2)])
    side = truth.box_side_mm * float(np.exp(rng.normal(0, 0.04)))
    first, last = truth.lesion_slices[0], truth.lesion_slices[-1]
    return Lesion(Box((float(centre[0]), float(centre[1]), float(centre[2])), side), first, last, truth.level)


def _side(truth: PhantomCase, level: str) -> float:
    extent = truth.extents_mm[level]
    return 1.05 * max(extent.depth_mm, extent.front_mm, extent.back_mm)


def _times(draw: CaseDraw) -> dict[str, float]:
    times = {}
    for label, protocol in (("T1W", draw.t1w), ("T2W", draw.t2w)):
        times[f"{label} repetition time, ms"] = round(protocol.sequence.repetition_ms, 1)
        times[f"{label} echo time, ms"] = round(protocol.sequence.echo_ms, 2)
    return times


def _state(draw: CaseDraw, truth: PhantomCase, level: str) -> int:
    """Return 0 for a normal vertebra, 1 for a benign change, and 2 for one that is suspicious of malignancy."""
    if level == truth.level:
        return 2 if truth.diagnosis is Diagnosis.MALIGNANT else 1
    kinds = {spot.kind for spot in draw.spots if spot.level == level}
    if kinds & SUSPICIOUS_SPOTS:
        return 2
    return int(bool(kinds) or level in draw.healed)


COHORTS = {
    "plain": PhantomSettings(patients=200, seed=1601, matrix=384),
    "plain-3t": PhantomSettings(
        patients=120,
        seed=1602,
        matrix=384,
        field_t=3.0,
        difficulty=0.5,
        field_of_view_mm=Range(260.0, 400.0),
        slice_spacing_mm=Range(3.0, 5.5),
        scoliosis_mm=Range(0.0, 20.0),
        sacral_slope_deg=Range(20.0, 55.0),
    ),
}


if __name__ == "__main__":
    verb, folder = sys.argv[1], Path(sys.argv[2])
    for name, settings in COHORTS.items():
        write_cohort(folder / name, settings, workers=1)
