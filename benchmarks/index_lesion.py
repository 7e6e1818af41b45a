"""How often the most abnormal vertebra is the index lesion, and how often a spine without a lesion seems to have one.

Run as ``python benchmarks/index_lesion.py [patients] [spines without a lesion]``. The masks are the phantoms' own label
maps, so that what is measured is the ranking alone. None of these phantoms took part in choosing its weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from record import record
from spinefx.localisation.index_lesion import LesionProposal, propose_lesions
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.vertebra import Deformity
from spinefx.vocabulary import Weighting

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.localisation.conftest import label_spine

LESIONS, CALM = 801, 802
SKIPS = ("metastasis", "replacement", "focus")


@dataclass(frozen=True)
class Ranked:
    """One phantom, with what was proposed."""

    draw: CaseDraw
    proposals: tuple[LesionProposal, ...]
    slices: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Rank of the index lesion; 0 where it could not be measured."""
        return next((one.rank for one in self.proposals if one.measures.level == self.draw.level), 0)

    @property
    def healed_in_view(self) -> bool:
        """Whether a healed fracture was measured."""
        return any(one.measures.level in self.draw.healed for one in self.proposals)

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


def ranked(seed: int, patients: int, *, lesions: bool, series: tuple[Weighting, ...]) -> Iterator[tuple[Ranked, ...]]:
    """Rank the vertebrae of every patient, with all series and with T2W alone."""
    settings = PhantomSettings(patients=patients, seed=seed, matrix=256)
    for number in range(1, patients + 1):
        draw = draw_case(settings, number)
        draw = draw if lesions else without_lesion(draw)
        known, case = label_spine(draw), render_case(draw)
        volumes = {Weighting.T1W: case.t1w, Weighting.T2W: case.t2w}
        yield tuple(
            Ranked(
                draw,
                propose_lesions(known.classes, known.labels, known.spine, {one: volumes[one] for one in kept}),
                known.truth.lesion_slices,
            )
            for kept in (series, (Weighting.T2W,))
        )


def main(patients: int, calm: int) -> None:
    """Rank both cohorts and record the shares."""
    both = (Weighting.T1W, Weighting.T2W)
    found = list(ranked(LESIONS, patients, lesions=True, series=both))
    quiet = list(ranked(CALM, calm, lesions=False, series=both))
    rows = []
    for place, name in enumerate(("T1W and T2W", "T2W alone")):
        with_lesion, free = [one[place] for one in found], [one[place] for one in quiet]
        intact = [one for one in free if not one.healed_in_view]
        first = [one for one in with_lesion if one.rank == 1]
        overlap = [one for one in first if set(one.slices) & set(one.proposals[0].lesion.slices)]
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
    for one, _ in found:
        if one.rank != 1:
            signs = ", ".join(sign for sign, present in one.draw.lesion.signs.items() if present)
            print(
                f"{one.draw.level} ({one.draw.diagnosis}; {signs}) has rank {one.rank}; healed: {list(one.draw.healed)}"
            )
    record(
        "index_lesion",
        title="The most abnormal vertebra of phantoms, by their own label maps",
        columns=("series", "what", "phantoms"),
        rows=rows,
        note="Phantom. Malignant phantoms have skip lesions that may look like the index lesion, and healed fractures "
        "may be deeper than it: rank 1 cannot be reached in all.",
    )


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [40, 24][len(given) :]))
