"""Maps drawn from known spines are read back as these spines: places, names, and what must stay without a name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinefx.imaging.volume import Volume
from spinefx.localisation.decoding import Maps, find_candidates, join, name_chain
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.locating import read_maps
from spinefx.localisation.spine import Anomaly, Convention
from spinefx.localisation.working_grid import PIXEL_MM, WorkingGrid

SLICES, SLICE_MM = 12, 4.0
Points = NDArray[np.float64]


def curved(count: int, *, step: float = 34.0, seed: int = 0, top: float = 20.0) -> Points:
    """Centres of a spine with lordosis, one below the other: slice, row and column in millimetres."""
    rng = np.random.default_rng(seed)
    rows = top + step * np.arange(count) + rng.uniform(-2, 2, count)
    columns = 120 + 14 * np.sin(np.linspace(0, 2.4, count)) + rng.uniform(-1.5, 1.5, count)
    return np.column_stack([np.full(count, SLICE_MM * (SLICES - 1) / 2), rows, columns])


def drawn(
    points_mm: Points,
    *,
    s1: int | None = None,
    c2: int | None = None,
    sizes: Sequence[float] = (),
    shape: tuple[int, int] = (256, 160),
    sureness: float = 0.9,
) -> Maps:
    """What a network that errs nowhere would compute for bodies at these places."""
    probabilities = np.zeros((len(TissueClass), SLICES, *shape), np.float32)
    probabilities[TissueClass.BACKGROUND] = 1
    offsets = np.zeros((3, SLICES, *shape), np.float32)
    index = np.indices((SLICES, *shape)).astype(float)
    places = index * np.array([SLICE_MM, PIXEL_MM, PIXEL_MM])[:, None, None, None]
    for number, point in enumerate(points_mm):
        away = point[:, None, None, None] - places
        half = (sizes[number] if sizes else 12.0) * np.array([1.5, 0.9, 1.2])
        inside = (np.abs(away) < half[:, None, None, None]).all(axis=0)
        kind = {s1: TissueClass.S1, c2: TissueClass.C2}.get(number, TissueClass.BODY)
        probabilities[:, inside] = 0
        probabilities[kind, inside] = sureness
        probabilities[TissueClass.BODY if kind is not TissueClass.BODY else TissueClass.DISC, inside] += 1 - sureness
        offsets[0][inside], offsets[1][inside], offsets[2][inside] = away[1][inside], away[2][inside], away[0][inside]
    return Maps(probabilities, offsets, SLICE_MM)


def grid_of(maps: Maps) -> tuple[WorkingGrid, Volume]:
    """The stack on which such maps were computed: sagittal, rows running down."""
    affine = np.array([[SLICE_MM, 0, 0, 0], [0, 0, PIXEL_MM, 0], [0, -PIXEL_MM, 0, 300], [0, 0, 0, 1]])
    images = np.zeros(maps.probabilities.shape[1:], np.float32)
    return WorkingGrid(images, affine), Volume(images, affine)


def found(maps: Maps) -> Points:
    chain = join(find_candidates(maps))
    return np.array([[one.place * SLICE_MM, one.row * PIXEL_MM, one.column * PIXEL_MM] for one in chain]).reshape(-1, 3)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), count=st.integers(3, 9), step=st.floats(24, 40))
def test_centres_are_found_where_they_are(seed: int, count: int, step: float) -> None:
    points = curved(count, step=step, seed=seed)
    np.testing.assert_allclose(found(drawn(points, sizes=[0.36 * step] * count)), points, atol=1.0)


def test_names_are_counted_from_the_sacrum() -> None:
    maps = drawn(curved(8), s1=7)
    spine = read_maps(maps, *grid_of(maps))
    assert spine.levels == ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1")
    assert spine.convention is Convention.SACRUM
    assert all(one.confidence > 0.8 for one in spine.vertebrae)


def test_names_are_counted_from_c2() -> None:
    maps = drawn(curved(7, step=19), c2=0, sizes=[7.0] * 7)
    spine = read_maps(maps, *grid_of(maps))
    assert spine.levels == ("C2", "C3", "C4", "C5", "C6", "C7", "T1")
    assert spine.convention is Convention.C2
    assert any("cannot be excluded" in note for note in spine.notes)


def test_without_an_anchor_there_are_no_names() -> None:
    maps = drawn(curved(6))
    spine = read_maps(maps, *grid_of(maps))
    assert len(spine.vertebrae) == 6
    assert spine.levels == ()
    assert spine.convention is Convention.UNNAMED
    assert all(one.confidence > 0.8 for one in spine.vertebrae)  # that there is a vertebra, not that of a name


def test_votes_that_all_fall_outside_are_nothing() -> None:
    maps = drawn(curved(3))
    assert find_candidates(Maps(maps.probabilities, maps.offsets_mm + np.float32(5000), SLICE_MM)) == ()


@pytest.mark.parametrize(("between", "anomaly"), [(24, Anomaly.SIX_LUMBAR), (22, Anomaly.FOUR_LUMBAR), (23, None)])
def test_a_count_between_both_anchors_that_is_unusual_is_flagged(between: int, anomaly: Anomaly | None) -> None:
    points = curved(between + 1, step=16, top=10)
    maps = drawn(points, c2=0, s1=between, sizes=[5.5] * (between + 1), shape=(320, 160))
    spine = read_maps(maps, *grid_of(maps))
    assert spine.levels[0] == "C2"
    assert spine.levels[-1] == "S1"
    assert spine.anomalies == ((anomaly,) if anomaly else ())


def test_a_missing_vertebra_lowers_the_confidence_of_what_lies_beyond_it() -> None:
    points = np.delete(curved(9, step=27), 4, axis=0)
    naming = name_chain(join(find_candidates(drawn(points, s1=7, sizes=[9.5] * 8))))
    assert naming.s1 == 7
    assert min(naming.confidences[4:]) > 0.8
    assert max(naming.confidences[:4]) < 0.2


def test_a_slip_with_a_level_sacrum_stays_one_chain() -> None:
    points = curved(7)
    points[-1] = points[-2] + [0, 9, 30]
    np.testing.assert_allclose(found(drawn(points, s1=6, sizes=[11.0] * 7)), points, atol=1.5)


def test_things_beside_the_spine_are_left_out() -> None:
    points = curved(7)
    beside = np.array([[22, 110, 40], [22, 180, 210], [22, 60, 200]], float)
    maps = drawn(np.vstack([points, beside]), s1=6, sizes=[11.0] * 7 + [5.0] * 3)
    np.testing.assert_allclose(found(maps), points, atol=1.0)


def test_less_than_a_spine_is_nothing() -> None:
    maps = drawn(curved(2))
    spine = read_maps(maps, *grid_of(maps))
    assert spine.vertebrae == ()
    assert spine.notes


def test_a_scoliosis_has_its_centres_in_several_slices() -> None:
    points = curved(7)
    points[:, 0] += np.linspace(-12, 12, 7)
    np.testing.assert_allclose(found(drawn(points, sizes=[10.0] * 7)), points, atol=2.1)
