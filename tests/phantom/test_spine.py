"""The chain of vertebrae: sizes, order, and the canal table that soft tissue follows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from spinefx.phantom.canal_coordinates import BEHIND_BODY, canal_profile, level_height, level_index
from spinefx.phantom.spine import LEVEL_NAMES, Spine, build_spine
from spinefx.phantom.vertebra import Deformity


def spine(deformities: dict[str, Deformity] | None = None, level: str = "L1") -> Spine:
    return build_spine(level, deformities or {}, 60, "F", np.random.default_rng(3))


def test_the_chain_runs_from_the_axis_to_the_coccyx() -> None:
    built = spine()
    assert tuple(item.level for item in built.vertebrae) == LEVEL_NAMES
    assert LEVEL_NAMES[0] == "C2"
    assert LEVEL_NAMES[-1] == "S5"
    heights = [item.centre_mm[2] for item in built.vertebrae]
    assert all(upper > lower for upper, lower in pairwise(heights))
    assert built.lesion_vertebra.centre_mm == pytest.approx(0)


def test_measured_heights_follow_the_collapse() -> None:
    change = Deformity(anterior=0.4, posterior=0.1, central=0.0)
    sound, broken = (spine(item).lesion_vertebra.extent() for item in ({}, {"L1": change}))
    whole = spine().lesion_vertebra.height_mm
    assert sound.front_mm - broken.front_mm == pytest.approx(0.4 * whole, abs=1e-3)
    assert sound.back_mm - broken.back_mm == pytest.approx(0.1 * whole, abs=1e-3)
    assert sound.middle_mm - broken.middle_mm == pytest.approx(0.25 * whole, abs=1e-3)
    # Panjabi 1992: L1 is 34 mm deep, 41 mm wide and 24 to 28 mm high.
    assert 28 < sound.depth_mm < 38
    assert 36 < sound.width_mm < 48
    assert 21 < sound.back_mm < 30


def test_collapse_of_the_upper_end_plate_lowers_the_centroid() -> None:
    sound, broken = (
        spine(item).lesion_vertebra.centroid() for item in ({}, {"L1": Deformity(0.4, 0.4, upper_share=1.0)})
    )
    height = spine().lesion_vertebra.height_mm
    assert sound[2] - broken[2] == pytest.approx(0.2 * height, abs=0.5)
    assert np.hypot(*sound[1:]) < 2


def test_the_canal_table_names_the_body_or_disc_in_front_of_it() -> None:
    built = spine()
    for index, item in enumerate(built.vertebrae[1:-6], start=1):
        back = item.world(np.array([0.0, item.depth_mm / 2, 0.0]))
        below = item.world(np.array([0.0, item.depth_mm / 2, -item.height_mm / 2 - 0.4 * item.disc_mm]))
        z = np.array([back[2], below[2]], np.float32)
        assert level_index(built, z).tolist() == [index, index], item.level
        (behind_body,) = canal_profile(built, z, BEHIND_BODY)
        assert behind_body[0] > 0.8
        assert behind_body[1] < 0.4
    assert level_height(built, "L1") == pytest.approx(0)
