"""A box on a vertebra, between two, or beside the spine; a level that is another than the one found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.volume import Volume
from spinefx.localisation.box_place import box_caution, place_of_box, vertebra_at
from spinefx.localisation.spine import Convention, LocatedSpine, LocatedVertebra

GRID = Volume(
    np.zeros((9, 300, 200), np.float32), np.array([[-4.0, 0, 0, 16], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
)
STEP_MM = 32.0
LEVELS = ("T12", "L1", "L2", "L3")
SPINE = LocatedSpine(
    tuple(
        LocatedVertebra(level, True, 0.95, (0.0, 100.0, -50 - STEP_MM * number), 42.0, 2, 6)
        for number, level in enumerate(LEVELS)
    ),
    Convention.SACRUM,
)


def marked(down_mm: float, back_mm: float = 0.0, level: str = "") -> Lesion:
    return Lesion(Box((0.0, 100.0 + back_mm, -50 - down_mm), 40.0), 3, 5, level)


@given(st.integers(0, 3), st.floats(-0.3, 0.3), st.floats(-5, 5))
def test_a_box_near_a_centre_lies_on_that_vertebra(number: int, share: float, back_mm: float) -> None:
    lesion = marked((number + share) * STEP_MM, back_mm)
    found = vertebra_at(SPINE, lesion.box, GRID)
    assert found is not None
    assert found.level == LEVELS[number]
    assert box_caution(SPINE, replace(lesion, level=LEVELS[number]), GRID) == ""
    assert box_caution(SPINE, lesion, GRID) == ""


@given(st.integers(0, 2), st.floats(0.42, 0.58), st.floats(-6, 6))
def test_a_box_on_a_disc_lies_between_two_vertebrae(number: int, share: float, back_mm: float) -> None:
    lesion = marked((number + share) * STEP_MM, back_mm, LEVELS[number])
    assert vertebra_at(SPINE, lesion.box, GRID) is None
    assert f"between two vertebrae, {LEVELS[number]} and {LEVELS[number + 1]}" in box_caution(SPINE, lesion, GRID)


@pytest.mark.parametrize(("down_mm", "back_mm"), [(-40.0, 0.0), (140.0, 0.0), (32.0, 45.0), (16.0, 60.0)])
def test_a_box_beside_the_spine_lies_on_no_vertebra(down_mm: float, back_mm: float) -> None:
    caution = box_caution(SPINE, marked(down_mm, back_mm), GRID)
    assert "mm from the nearest vertebra" in caution
    assert "between" not in caution


def test_another_level_is_reported_with_what_names_rest_on() -> None:
    caution = box_caution(SPINE, marked(STEP_MM, level="L2"), GRID)
    assert caution.startswith(
        "The level given is L2, but the box lies on L1. Levels are counted upwards from the sacrum"
    )
    unsure = replace(SPINE, vertebrae=tuple(replace(one, confidence=0.6) for one in SPINE.vertebrae))
    assert "L1 (confidence 60%)" in box_caution(unsure, marked(STEP_MM, level="L2"), GRID)


def test_without_names_or_vertebrae_no_level_is_doubted() -> None:
    unnamed = LocatedSpine(tuple(replace(one, level=None, named=False) for one in SPINE.vertebrae), Convention.UNNAMED)
    assert box_caution(unnamed, marked(STEP_MM, level="L5"), GRID) == ""
    assert "vertebra 1 from the top and vertebra 2 from the top" in box_caution(unnamed, marked(STEP_MM / 2), GRID)
    assert box_caution(LocatedSpine((), Convention.UNNAMED), marked(0.0, level="L5"), GRID) == ""


@given(st.integers(0, 3), st.floats(-0.3, 0.3), st.floats(-5, 5))
def test_a_box_on_a_vertebra_is_accepted_by_name(number: int, share: float, back_mm: float) -> None:
    place = place_of_box(SPINE, marked((number + share) * STEP_MM, back_mm).box, GRID)
    assert place is not None
    assert place.on_vertebra
    assert f"a vertebra {LEVELS[number]} under" in place.sentence


@given(st.integers(0, 2), st.floats(0.42, 0.58), st.floats(-6, 6))
def test_a_box_on_a_disc_misses_unless_a_vertebra_may_hide_there(number: int, share: float, back_mm: float) -> None:
    box = marked((number + share) * STEP_MM, back_mm).box
    place = place_of_box(SPINE, box, GRID)
    assert place is not None
    assert not place.on_vertebra
    assert "between two vertebrae" in place.sentence
    # The same spine with twice the distance there: a vertebra that was not found may lie between.
    lower = tuple(
        replace(one, centre_mm=(0.0, 100.0, one.centre_mm[2] - STEP_MM * (other > number)), level=None, named=False)
        for other, one in enumerate(SPINE.vertebrae)
    )
    gap = LocatedSpine(lower, Convention.UNNAMED)
    assert place_of_box(gap, marked((number + 1) * STEP_MM, back_mm).box, GRID) is None


@given(st.floats(-60, -13))
def test_beyond_the_ends_of_what_was_found_nothing_is_said(beyond_mm: float) -> None:
    assert place_of_box(SPINE, marked(beyond_mm).box, GRID) is None
    assert place_of_box(SPINE, marked(3 * STEP_MM - beyond_mm).box, GRID) is None


@given(st.floats(0.1, 2.9), st.sampled_from([-1, 1]), st.floats(25, 70))
def test_a_box_beside_the_found_vertebrae_misses(share: float, way: int, aside_mm: float) -> None:
    place = place_of_box(SPINE, marked(share * STEP_MM, way * aside_mm).box, GRID)
    assert place is not None
    assert not place.on_vertebra


def test_without_vertebrae_nothing_is_said_of_a_box() -> None:
    assert place_of_box(LocatedSpine((), Convention.UNNAMED), marked(0.0).box, GRID) is None
