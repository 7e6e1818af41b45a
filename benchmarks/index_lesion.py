"""How often the most abnormal vertebra is the index lesion, and how often a spine without a lesion seems to have one.

Run as ``python benchmarks/index_lesion.py [patients] [spines without a lesion]``. With the phantoms' own label maps as
masks, what is measured is the ranking alone; with the localiser's, all of it. None of these phantoms took part in
choosing the weights of the ranking.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from record import record
from spinefx.localisation.index_lesion import LesionProposal, propose_lesions
from spinefx.localisation.searching import shipped_localiser
from spinefx.phantom.case import PhantomCase, render_case
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.vertebra import Deformity
from spinefx.vocabulary import Weighting

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.localisation.conftest import label_spine

LESIONS, CALM = 801, 802
SKIPS = ("metastasis", "replacement", "focus")


NEAR_MM = 10.0
BOTH, T2W = (Weighting.T1W, Weighting.T2W), (Weighting.T2W,)
WAYS = {
    "true masks, T1W and T2W": (False, BOTH),
    "true masks, T2W alone": (False, T2W),
    "the localiser's masks, T1W and T2W": (True, BOTH),
}


@dataclass(frozen=True)
class Ranked:
    """One phantom, with what was proposed."""

    draw: CaseDraw
    truth: PhantomCase
    proposals: tuple[LesionProposal, ...]

    def rank_of(self, level: str) -> int:
        """Rank of the vertebra at the place of a level, whatever name it was given; 0 where none was measured there."""
        place = self.truth.vertebrae_mm[level]
        return next(
            (one.rank for one in self.proposals if np.linalg.norm(place - one.lesion.box.centre_mm) < NEAR_MM), 0
        )

    @property
    def rank(self) -> int:
        """Rank of the index lesion."""
        return self.rank_of(self.draw.level)

    @property
    def healed_in_view(self) -> bool:
        """Whether a healed fracture was measured."""
        return any(self.rank_of(level) for level in self.draw.healed)

    @property
    def alarms(self) -> bool:
        """Whether any vertebra seems abnormal."""
        return any(one.abnormal for one in self.proposals)


def without_lesion(draw: CaseDraw) -> CaseDraw:
    """Return the patient without index and skip lesions; haemangiomas, Modic changes and healed fractures stay."""
    signs = dict.fromkeys(draw.lesion.signs, False)
    still = {"epidural": (0.0, 0.0, 0.0), "paraspinal_mm": 0.0, "pedicle": (0.0, 0.0, 0.0), "skips": 0, "nodules": ()}
    calm = replace(
        draw.lesion, signs=signs, shape="none", marrow="homogeneous", deformity=Deformity(), cement=False, **still
    )
    return replace(draw, lesion=calm, spots=tuple(spot for spot in draw.spots if spot.kind not in SKIPS))


def ranked(seed: int, patients: int, *, lesions: bool) -> Iterator[dict[str, Ranked]]:
    """Rank the vertebrae of every patient in every way."""
    settings = PhantomSettings(patients=patients, seed=seed, matrix=256)
    localiser = shipped_localiser()
    for number in range(1, patients + 1):
        draw = draw_case(settings, number)
        draw = draw if lesions else without_lesion(draw)
        known, case = label_spine(draw), render_case(draw)
        volumes = {Weighting.T1W: case.t1w, Weighting.T2W: case.t2w}
        spine, classes = localiser(case.t2w)
        found = {}
        for name, (located, kept) in WAYS.items():
            masks = (classes, case.t2w, spine) if located else (known.classes, known.labels, known.spine)
            proposals = propose_lesions(*masks, {one: volumes[one] for one in kept})
            found[name] = Ranked(draw, known.truth, proposals)
        yield found


def main(patients: int, calm: int) -> None:
    """Rank both cohorts and record the shares."""
    found = list(ranked(LESIONS, patients, lesions=True))
    quiet = list(ranked(CALM, calm, lesions=False))
    rows = []
    for name in WAYS:
        with_lesion, free = [one[name] for one in found], [one[name] for one in quiet]
        intact = [one for one in free if not one.healed_in_view]
        first = [one for one in with_lesion if one.rank == 1]
        overlap = [one for one in first if set(one.truth.lesion_slices) & set(one.proposals[0].lesion.slices)]
        alone = [one for one in with_lesion if not one.healed_in_view]
        near = sum(0 < one.rank <= 2 for one in with_lesion)
        seen, false = sum(one.alarms for one in with_lesion), sum(one.alarms for one in intact)
        rows += [
            (name, "index lesion is rank 1", f"{len(first)} of {patients}"),
            (name, "index lesion is rank 1 or 2", f"{near} of {patients}"),
            (name, "no healed fracture in view: rank 1", f"{sum(one.rank == 1 for one in alone)} of {len(alone)}"),
            (name, "proposed slices of those at rank 1 meet the lesion's", f"{len(overlap)} of {len(first)}"),
            (name, "spine with a lesion: some vertebra is abnormal", f"{seen} of {patients}"),
            (name, "no lesion, no healed fracture in view: false alarm", f"{false} of {len(intact)}"),
            (name, "no lesion, healed fractures or not: alarm", f"{sum(one.alarms for one in free)} of {calm}"),
        ]
        for one in with_lesion:
            if one.rank != 1:
                signs = ", ".join(sign for sign, present in one.draw.lesion.signs.items() if present)
                print(f"{name}: {one.draw.level} ({one.draw.diagnosis}; {signs}) has rank {one.rank}", *one.draw.healed)
    record(
        "index_lesion",
        title="The most abnormal vertebra of phantoms",
        columns=("masks and series", "what", "phantoms"),
        rows=rows,
        note="Phantom. Malignant phantoms have skip lesions that may look like the index lesion, and healed fractures "
        "may be deeper than it: rank 1 cannot be reached in all.",
    )


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [40, 24][len(given) :]))
