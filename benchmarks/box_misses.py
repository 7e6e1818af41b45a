"""Which misplaced boxes the second opinion refuses, given the boxes of a cohort.

Run as ``python benchmarks/box_misses.py [patients] [lumbar_AK_t1_t2_tirm]``. The limits are set on phantom patients and
held against others, on which nothing was chosen; no network. With the folder of a real pair, which needs the extra
``simpleitk``, its vertebrae are each held against the other ones, and against the phantoms' limits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from record import record
from spinefx.cases.alignment import align_series
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import PatchStack
from spinefx.commands.ingest import ingest
from spinefx.errors import SpinefxError
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.learning.box_check import FALSE_REFUSALS, BoxViews, Placement, box_view
from spinefx.learning.guards import LEAST_LIKENESS, view_likeness
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.vocabulary import Weighting
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort

WAYS = {"forward": (-1, 0), "back": (1, 0), "up": (0, 1), "down": (0, -1)}
REAL_LEVELS, REAL_SIDE_MM = ("T11", "T12", "L1", "L2", "L3", "L4", "L5"), 40.0


@dataclass(frozen=True)
class Move:
    """Offsets posterior and superior, mm; then the spread of the position and of the logarithm of the side."""

    back_mm: float = 0.0
    up_mm: float = 0.0
    place_mm: float = 0.0
    side: float = 0.0

    def of(self, box: Box, rng: np.random.Generator) -> Box:
        left, posterior, superior = box.centre_mm
        back, up = np.array([self.back_mm, self.up_mm]) + rng.normal(0, self.place_mm, 2)
        grown = float(np.exp(rng.normal(0, self.side)))
        return Box((left, posterior + float(back), superior + float(up)), box.side_mm * grown)


MOVES = {
    "as marked": Move(),
    "moved by 2 mm, side by 5% (standard deviations)": Move(place_mm=2.0, side=0.05),
    "moved by 3 mm, side by 10% (standard deviations)": Move(place_mm=3.0, side=0.1),
} | {f"{mm} mm too far {way}": Move(mm * back, mm * up) for mm in (10, 20, 30, 40) for way, (back, up) in WAYS.items()}


@dataclass(frozen=True)
class Marked:
    """A lesion on its pair of volumes."""

    name: str
    lesion: Lesion
    t1w: Volume
    t2w: Volume

    def stack(self, move: Move, rng: np.random.Generator) -> PatchStack | None:
        """Return what is scored for a displaced box; None where it is refused before its content is inspected."""
        lesion = replace(self.lesion, box=move.of(self.lesion.box, rng))
        try:
            lesion.check_inside(self.t2w)
            volumes = {Weighting.T1W: self.t1w, Weighting.T2W: self.t2w}
            series = align_series(lesion, volumes, method="rigid")
            return cut_patches(lesion, series, case_id=self.name, participant_id=self.name)
        except SpinefxError:
            return None


class Limits:
    """The limits that follow from the boxes of a cohort."""

    def __init__(self, stacks: Sequence[PatchStack], fewest: int) -> None:
        placement = Placement.of([views for one in stacks if (views := BoxViews.of(one)) is not None], fewest)
        assert placement is not None
        self.placement = placement
        self.views = {one.participant_id: box_view(one) for one in stacks}
        self.least = min(self.likeness(one) for one in stacks)

    def likeness(self, stack: PatchStack) -> float:
        others = [view for name, view in self.views.items() if name != stack.participant_id]
        return view_likeness(box_view(stack), np.mean(others, axis=0))

    def misses(self, stack: PatchStack) -> bool:
        return self.placement.score(stack, stack.participant_id) < self.placement.limit

    def unlike(self, stack: PatchStack) -> bool:
        return self.likeness(stack) < LEAST_LIKENESS * self.least


def phantoms(folder: Path, seed: int, patients: int) -> list[Marked]:
    """Read phantom patients from a workspace."""
    settings = PhantomSettings(patients=patients, seed=seed, malignant=0.5, matrix=192)
    write_cohort(folder / "export", settings, readers=False)
    ingest(folder / "study", folder / "export", table=folder / "export" / "cases.csv")
    workspace = Workspace.open(folder / "study")
    return [
        Marked(
            f"{seed} {case.case_id}",
            case.lesion,
            *(read_nifti(workspace.image(case.participant_id, weighting)) for weighting in ("T1w", "T2w")),
        )
        for case in read_cohort(workspace)
    ]


def real(folder: Path) -> list[Marked]:
    """Intact vertebrae of one patient: a box around each clicked centre, on three slices."""
    from registration_peers import read_pngs  # deferred: it needs SimpleITK

    t2w, centres = read_pngs(folder / "t2_AKs5", centres=True)
    t1w, found = read_pngs(folder / "t1_AKs8"), []
    for level in REAL_LEVELS:
        left, posterior, superior = (float(mm) for mm in centres[level])
        middle = round(float(t2w.to_index(centres[level])[0]))
        lesion = Lesion(Box((left, posterior, superior), REAL_SIDE_MM), middle - 1, middle + 1)
        found.append(Marked(level, lesion, t1w, t2w))
    return found


def count(marked: Sequence[Marked], move: Move, judges: Mapping[str, Limits], seed: int) -> list[str]:
    """Count the boxes refused before their content is inspected, as missed, as unlike training data, and in all."""
    rng, counts = np.random.default_rng(seed), []
    stacks = [one.stack(move, rng) for one in marked]
    for limits in judges.values():
        misses = [one is not None and limits.misses(one) for one in stacks]
        unlike = [one is not None and limits.unlike(one) for one in stacks]
        before = [one is None for one in stacks]
        refused = sum(any(one) for one in zip(before, misses, unlike, strict=True))
        counts += [f"{sum(misses)}", f"{sum(unlike)}", f"{refused} of {len(marked)}"]
    return counts


def main(patients: int, real_pair: Path | None) -> None:
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        cohort, strangers = (phantoms(Path(place) / name, seed, patients) for name, seed in (("a", 7), ("b", 211)))
        stacks = [stack for one in cohort if (stack := one.stack(Move(), rng)) is not None]
        by_phantoms = Limits(stacks, fewest=len(stacks))
        rows = [
            ["phantom", name, *count(strangers, move, {"phantoms": by_phantoms}, number)]
            for number, (name, move) in enumerate(MOVES.items())
        ]
    if real_pair is not None:
        vertebrae = real(real_pair)
        own = [stack for one in vertebrae if (stack := one.stack(Move(), rng)) is not None]
        judges = {"the other vertebrae": Limits(own, fewest=len(own)), "phantoms": by_phantoms}
        for number, (name, move) in enumerate(MOVES.items()):
            counts = count(vertebrae, move, judges, number)
            rows.append(["real, by its other vertebrae", name, *counts[:3]])
            rows.append(["real, by phantoms", name, *counts[3:]])
        rows[len(MOVES) :] = sorted(rows[len(MOVES) :], key=lambda row: row[0])
    record(
        "box_misses",
        "Misplaced boxes that the second opinion refuses",
        ("images", "box", "as missing", "as unlike training", "in all"),
        rows,
        f"Limits set on {len(stacks)} phantom patients, held against {len(strangers)} others. As missing: a score "
        f"below {by_phantoms.placement.limit:.2f}, set so that {100 * FALSE_REFUSALS:.0f}% of boxes drawn "
        "again (2 mm, 5%) on held-out patients of the cohort are refused. As unlike training: likeness to the mean "
        f"view below {LEAST_LIKENESS * by_phantoms.least:.2f}, {LEAST_LIKENESS:g} of the least within the "
        "cohort. A box 30 to 40 mm up or down may lie on the next vertebra, which no check of its content can object "
        "to. Real: seven sound vertebrae (T11 to L5) of one patient, each judged by the six others, and by the "
        "phantoms' limits.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
