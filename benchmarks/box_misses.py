"""Which misplaced boxes the second opinion refuses because their content is like no case of the cohort.

Run as ``python benchmarks/box_misses.py [patients]``. Phantom patients, each held against all others; no network.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record import record
from spinefx.cases.cohort import Case
from spinefx.cases.lesion import Box
from spinefx.cases.patch import cut_patches
from spinefx.errors import SpinefxError
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.registration import align
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.verbs.ingest import ingest
from spinefx.verbs.local_evidence import likeness
from spinefx.verbs.second_opinion import LEAST_LIKENESS
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

# Millimetres to the back, to the head; then the spread of place and of the side's logarithm.
BOXES = {
    "as marked": ((0, 0), 0.0, 0.0),
    "moved by 2 mm, side by 5% (standard deviations)": ((0, 0), 2.0, 0.05),
    "moved by 3 mm, side by 10% (standard deviations)": ((0, 0), 3.0, 0.1),
    "half a vertebra up (15 mm)": ((0, 15), 0.0, 0.0),
    "15 mm too far forward": ((-15, 0), 0.0, 0.0),
    "30 mm too far forward": ((-30, 0), 0.0, 0.0),
    "30 mm too far back": ((30, 0), 0.0, 0.0),
}


def patch_at(workspace: Workspace, case: Case, box: Box) -> NDArray[np.float32] | None:
    """The middle patch under a box; None where it is refused already."""
    t1w, t2w = (read_nifti(workspace.image(case.participant_id, weighting)) for weighting in ("T1w", "T2w"))
    try:
        alignment = align(t2w, t1w, centre_mm=box.centre_mm, side_mm=box.side_mm)
        lesion = replace(case.lesion, box=box)
        stack = cut_patches(lesion, t1w, t2w, alignment, case_id="case", participant_id="case")
        return stack.cut(len(stack.slices) // 2).array
    except SpinefxError:
        return None


def moved(box: Box, how: tuple[tuple[float, float], float, float], rng: np.random.Generator) -> Box:
    (back, up), place_mm, side = how
    left, posterior, superior = box.centre_mm
    shift = rng.normal(0, place_mm, 2) if place_mm else np.zeros(2)
    grown = float(np.exp(rng.normal(0, side))) if side else 1.0
    return Box((left, posterior + back + float(shift[0]), superior + up + float(shift[1])), box.side_mm * grown)


def main(patients: int) -> None:
    rng, rows = np.random.default_rng(1), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = PhantomSettings(patients=patients, seed=7, malignant=0.5, matrix=192)
        write_cohort(folder / "export", settings, readers=False)
        ingest(folder / "study", folder / "export", table=folder / "export" / "cases.csv")
        workspace = Workspace.open(folder / "study")
        cases = list(read_cohort(workspace))
        marked = [patch_at(workspace, case, case.lesion.box) for case in cases]

        def nearest(number: int, patch: NDArray[np.float32]) -> float:
            return max(likeness(other, patch) for at, other in enumerate(marked) if other is not None and at != number)

        least = min(nearest(number, patch) for number, patch in enumerate(marked) if patch is not None)
        for name, how in BOXES.items():
            found = [patch_at(workspace, case, moved(case.lesion.box, how, rng)) for case in cases]
            alike = [nearest(number, patch) for number, patch in enumerate(found) if patch is not None]
            unlike = sum(value < LEAST_LIKENESS * least for value in alike)
            rows.append((name, len(cases) - len(alike), unlike, f"{np.median(alike):.2f}"))
    record(
        "box_misses",
        "Misplaced boxes that the second opinion refuses",
        ("box", "refused before", "refused as like no case", "median likeness"),
        rows,
        f"Of {len(cases)} phantom patients. Refused before: off the image, or not to be registered. The limit is "
        f"{LEAST_LIKENESS:g} of the least likeness within the cohort, here {LEAST_LIKENESS * least:.2f}.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
