"""Heights, signals and the proposed index lesion, against phantoms whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.localisation.conftest import KnownSpine, label_spine

from spinefx.imaging.volume import Volume
from spinefx.localisation.index_lesion import ABNORMAL_SCORE, LesionProposal, evidence, propose_lesions
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.measures import genant_grade, measure_bodies
from spinefx.localisation.spine import Convention, LocatedSpine, LocatedVertebra
from spinefx.phantom.case import render_case
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import ByClass, PhantomSettings, Range
from spinefx.vocabulary import Weighting

BODIES, HEIGHT_MM, DEPTH_MM, STEP_MM = 6, 24.0, 32.0, 34.0


@dataclass(frozen=True, eq=False)
class Blocks:
    """A spine of upright blocks, 1 mm pixels and 4 mm slices: what is measured is known exactly."""

    classes: NDArray[np.int8]
    t1w: Volume
    t2w: Volume
    spine: LocatedSpine

    def measures(self) -> list[dict[str, float]]:
        return list(evidence(measure_bodies(self.classes, self.t2w, self.spine, self.volumes)))

    @property
    def volumes(self) -> dict[Weighting, Volume]:
        return {Weighting.T1W: self.t1w, Weighting.T2W: self.t2w}


def blocks(lost: dict[int, tuple[float, float]] | None = None, t1w: dict[int, float] | None = None) -> Blocks:
    """Return six blocks, some of which lost a share of their anterior and posterior height, or of their T1W signal."""
    affine = np.array([[-4.0, 0, 0, 20], [0, 0, 1, -60], [0, -1, 0, 110], [0, 0, 0, 1]])
    classes = np.zeros((9, 220, 120), np.int8)
    grey = np.full(classes.shape, 50.0, np.float32)
    vertebrae = []
    columns = np.arange(44, 44 + int(DEPTH_MM))
    for number in range(BODIES):
        middle = 20 + int(number * STEP_MM)
        front, back = (lost or {}).get(number, (0.0, 0.0))
        for column in columns:
            share = (column - columns[0]) / (len(columns) - 1)
            height = HEIGHT_MM * (1 - front * (1 - share) - back * share)
            rows = slice(round(middle - height / 2), round(middle + height / 2))
            classes[2:7, rows, column] = TissueClass.BODY
            grey[2:7, rows, column] = 100 * (t1w or {}).get(number, 1.0)
        if number < BODIES - 1:
            classes[2:7, middle + 13 : middle + 21, 44:76] = TissueClass.DISC
        centre = affine @ [4, middle - 0.5, columns.mean(), 1]
        place = (float(centre[0]), float(centre[1]), float(centre[2]))
        vertebrae.append(LocatedVertebra(f"T{7 + number}", True, 0.9, place, 40.0, 2, 6))
    classes[3:6, :, 80:92] = TissueClass.CANAL
    plain = np.where(np.isin(classes, [TissueClass.BODY, TissueClass.DISC]), 100.0, 50.0).astype(np.float32)
    volumes = [Volume(array, affine, "frame", kind) for array, kind in ((grey, Weighting.T1W), (plain, Weighting.T2W))]
    return Blocks(classes, volumes[0], volumes[1], LocatedSpine(tuple(vertebrae), Convention.C2))


def test_blocks_are_measured_to_the_millimetre() -> None:
    made = blocks()
    measured = measure_bodies(made.classes, made.t2w, made.spine, made.volumes)
    assert [one.level for one in measured] == list(made.spine.levels)
    for one in measured:
        shape = one.shape
        assert shape.depth_mm == pytest.approx(DEPTH_MM, abs=1.5)
        for height in (shape.anterior_mm, shape.middle_mm, shape.posterior_mm):
            assert height == pytest.approx(HEIGHT_MM, rel=0.06)
        assert (shape.height_loss, shape.genant) == (pytest.approx(0, abs=0.03), 0)
        assert shape.canal_loss == (None if one.level == "T12" else pytest.approx(0, abs=0.01))
        assert abs(one.signals[Weighting.T1W].over_bodies) < 0.01
        assert one.signals[Weighting.T2W].over_canal == pytest.approx(2.0, rel=0.02)
        assert one.signals[Weighting.T2W].over_discs == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_wedge_loses_its_anterior_height_and_a_crush_all_of_it(number: int) -> None:
    wedge = blocks({number: (0.5, 0.0)})
    shape = measure_bodies(wedge.classes, wedge.t2w, wedge.spine, wedge.volumes)[number].shape
    # The anterior part runs from 5 to 30% of the depth: the mean loss there is 0.5 x (1 - 0.175).
    assert shape.anterior_loss == pytest.approx(0.41, abs=0.05)
    assert shape.middle_loss == pytest.approx(0.25, abs=0.05)
    assert shape.posterior_loss == pytest.approx(0.09, abs=0.05)
    assert shape.genant == genant_grade(shape.anterior_loss)
    crush = blocks({number: (0.3, 0.3)})
    shape = measure_bodies(crush.classes, crush.t2w, crush.spine, crush.volumes)[number].shape
    assert [shape.anterior_loss, shape.middle_loss, shape.posterior_loss] == pytest.approx([0.3] * 3, abs=0.05)


def test_one_broken_body_leaves_its_neighbours_whole() -> None:
    made = blocks({2: (0.6, 0.5)})
    for number, one in enumerate(measure_bodies(made.classes, made.t2w, made.spine, made.volumes)):
        assert one.shape.genant == (3 if number == 2 else 0)


def test_darkness_on_t1w_alone_is_told_from_shading_of_both() -> None:
    dark = blocks(t1w={3: 0.6}).measures()
    assert dark[3]["t1w_darker"] == pytest.approx(-np.log(0.6), abs=0.02)
    assert dark[3]["t1w_darker_than_t2w"] == pytest.approx(-np.log(0.6), abs=0.02)
    assert max(one["t1w_darker"] for number, one in enumerate(dark) if number != 3) < 0.02
    made = blocks(t1w={3: 0.6})
    shaded = replace(made, t2w=replace(made.t1w, weighting=Weighting.T2W)).measures()
    assert shaded[3]["t1w_darker_than_t2w"] == pytest.approx(0.0, abs=0.03)


def test_a_canal_that_is_filled_is_lost() -> None:
    made = blocks()
    made.classes[3:6, 20 + 3 * 34 - 12 : 20 + 3 * 34 + 12, 80:86] = TissueClass.BACKGROUND
    losses = [one["canal_loss"] for one in made.measures()]
    assert losses[3] == pytest.approx(0.5, abs=0.08)
    assert max(loss for number, loss in enumerate(losses) if number != 3) < 0.1


def test_a_body_that_the_field_cuts_is_left_out() -> None:
    made = blocks()
    cut = Blocks(
        made.classes[:, 12:],
        *(
            Volume(one.array[:, 12:], one.affine @ _rows_down(12), "frame", one.weighting)
            for one in (made.t1w, made.t2w)
        ),
        made.spine,
    )
    measured = measure_bodies(cut.classes, cut.t2w, cut.spine, cut.volumes)
    assert [one.level for one in measured] == ["T8", "T9", "T10", "T11", "T12"]


def _rows_down(rows: int) -> NDArray[np.float64]:
    shift = np.eye(4)
    shift[1, 3] = rows
    return shift


def test_two_bodies_cannot_be_compared() -> None:
    made = blocks()
    few = replace(made.spine, vertebrae=made.spine.vertebrae[:2])
    assert measure_bodies(made.classes, made.t2w, few, made.volumes) == ()
    assert propose_lesions(made.classes, made.t2w, few, made.volumes) == ()
    assert propose_lesions(made.classes, made.t2w, made.spine, {})[0].measures.signals == {}


def test_grades_are_those_of_genant() -> None:
    assert [genant_grade(loss) for loss in (0.0, 0.199, 0.2, 0.249, 0.25, 0.399, 0.4, 0.9)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_ranking_names_the_broken_body_its_slices_and_its_reasons() -> None:
    made = blocks({4: (0.5, 0.3)}, t1w={4: 0.6, 1: 0.9})
    proposals = propose_lesions(made.classes, made.t2w, made.spine, made.volumes)
    assert [one.rank for one in proposals] == [1, 2, 3, 4, 5, 6]
    first = proposals[0]
    assert (first.lesion.level, first.lesion.slices) == ("T11", (3, 4, 5))
    assert first.abnormal
    assert not any(one.abnormal for one in proposals[1:])
    assert first.reasons[0].startswith("height lost: anterior")
    assert "darker than its neighbours on T1W (-40%)" in first.reasons
    assert proposals[-1].reasons == ()


@pytest.fixture(scope="module")
def broken() -> tuple[KnownSpine, tuple[LesionProposal, ...]]:
    """A phantom with a fracture and no other finding, rendered and ranked by its own label map."""
    settings = PhantomSettings(
        patients=2,
        seed=21,
        matrix=192,
        malignant=0,
        healed=ByClass(0.0, 0.0),
        force=("entire_body_compression", "diffuse_signal_change"),
        field_of_view_mm=Range(300.0, 300.0),
    )
    known = label_spine(draw_case(settings, 1))
    case = render_case(known.draw)
    volumes = {Weighting.T1W: case.t1w, Weighting.T2W: case.t2w}
    return known, propose_lesions(known.classes, known.labels, known.spine, volumes)


def test_heights_of_a_phantom_are_those_that_were_drawn(broken: tuple[KnownSpine, tuple[LesionProposal, ...]]) -> None:
    known, proposals = broken
    for one in proposals:
        true = known.truth.extents_mm[one.measures.level or ""]
        found = one.measures.shape
        # Parts of the depth against points in the midline: rounded corners and concave end plates differ by as much.
        assert found.anterior_mm == pytest.approx(true.front_mm, abs=4)
        assert found.middle_mm == pytest.approx(true.middle_mm, abs=3)
        assert found.posterior_mm == pytest.approx(true.back_mm, abs=4)
        assert found.depth_mm == pytest.approx(true.depth_mm, abs=4)


def test_the_lesion_of_a_phantom_is_proposed_first(broken: tuple[KnownSpine, tuple[LesionProposal, ...]]) -> None:
    known, proposals = broken
    first = proposals[0]
    assert first.lesion.level == known.truth.level
    assert first.score >= ABNORMAL_SCORE
    assert set(first.lesion.slices) & set(known.truth.lesion_slices)
    assert np.linalg.norm(np.array(first.lesion.box.centre_mm) - known.truth.box_centre_mm) < 12
