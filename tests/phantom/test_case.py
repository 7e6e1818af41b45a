"""Images agree with the recorded truth, in content and position."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from spinefx.phantom.case import RenderedCase, render_case, truth_of
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.vocabulary import Plane

SETTINGS = PhantomSettings(patients=12, seed=2, matrix=192, noise=0.5)


def mapped(draw: CaseDraw, position_mm: np.ndarray) -> np.ndarray:
    return position_mm @ draw.t2w_to_t1w[:3, :3].T + draw.t2w_to_t1w[:3, 3]


def only(draw: CaseDraw, series: str) -> CaseDraw:
    """The same patient, with little more to render than the middle of one series."""
    few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("t1w", "t2w", "stir", "localizer")}
    return replace(draw, **{**few, series: replace(getattr(draw, series), slices=5)})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cases() -> list[tuple[CaseDraw, RenderedCase]]:
    draws = [draw_case(SETTINGS, number) for number in range(1, 13)]
    # Without skip lesions, so that most levels near the lesion are normal.
    return [(draw, render_case(draw)) for draw in draws if draw.lesion.skips == 0][:2]


def spared_levels(draw: CaseDraw) -> list[str]:
    """Levels near the lesion without a metastasis of their own."""
    centre = truth_of(draw).vertebrae_mm
    touched = {draw.level, *(spot.level for spot in draw.spots if spot.kind in {"metastasis", "replacement"})}
    near = [name for name in centre if abs(centre[name][2] - centre[draw.level][2]) < 90]
    return [name for name in near if name[0] in "TL" and name not in touched]


def test_shapes_and_planes_are_those_of_a_spine_study(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    for draw, case in cases:
        assert case.t1w.shape == (draw.t1w.slices, draw.t1w.matrix, draw.t1w.matrix)
        assert case.t2w.shape == (draw.t2w.slices, 192, 192)
        assert case.t1w.plane is case.t2w.plane is case.stir.plane is Plane.SAGITTAL
        assert case.t2w.spacing_mm == pytest.approx((draw.t2w.spacing_mm, 300 / 192, 300 / 192))
        assert [part.plane for part in case.localizer] == [Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL]
        for volume in (case.t1w, case.t2w, case.stir, *case.localizer):
            assert volume.array.min() >= 0
            assert 300 < volume.array.max() <= 65535


def test_fluid_is_dark_on_t1w_and_bright_on_t2w(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    for draw, case in cases:
        levels = [name for name in spared_levels(draw) if name.startswith("L")] or spared_levels(draw)
        marrow = np.array([case.truth.vertebrae_mm[name] for name in levels])
        # The anterior half of the sac holds fluid at every level; cord and roots lie further posteriorly.
        canal = np.array([case.truth.canals_mm[name] for name in levels])
        fluid = canal + 0.15 * (marrow - canal)
        assert np.median(case.t2w.sample(fluid)) > 1.3 * np.median(case.t2w.sample(marrow))
        assert np.median(case.t1w.sample(mapped(draw, fluid))) < np.median(case.t1w.sample(mapped(draw, marrow)))


def test_marrow_is_brighter_than_disc_on_t1w(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    for draw, case in cases:
        centre = case.truth.vertebrae_mm
        spared = set(spared_levels(draw))
        pairs = [(a, b) for a, b in pairwise(centre) if {a, b} <= spared]
        assert pairs
        marrow = np.array([centre[a] + 0.15 * (centre[b] - centre[a]) for a, b in pairs])
        disc = np.array([(centre[a] + centre[b]) / 2 for a, b in pairs])
        assert np.median(case.t1w.sample(mapped(draw, marrow))) > 1.2 * np.median(case.t1w.sample(mapped(draw, disc)))


def test_the_recorded_motion_is_the_motion_in_the_image() -> None:
    draw = replace(only(draw_case(SETTINGS, 4), "t1w"), motion_mm=(0.8, -4.0, 5.0), motion_deg=(4.0, 0.5, -0.5))
    moved, still = render_case(draw), render_case(replace(draw, motion_mm=(0, 0, 0), motion_deg=(0, 0, 0)))
    step = np.linspace(-20, 20, 41)
    around = np.stack(np.meshgrid([0.0], step, step, indexing="ij"), -1) + np.array(draw.table_mm)
    reference = still.t1w.sample(around).ravel()
    found = moved.t1w.sample(mapped(draw, around)).ravel()
    unmoved = moved.t1w.sample(around).ravel()
    agreement = np.corrcoef(reference, found)[0, 1]
    assert agreement > 0.93
    assert np.corrcoef(reference, unmoved)[0, 1] < agreement - 0.1


def test_fat_is_shifted_by_the_recorded_vector() -> None:
    draw = only(draw_case(SETTINGS, 5), "t1w")
    shifted = replace(draw, t1w=replace(draw.t1w, bandwidth_hz=60.0, frequency_axis="SI", polarity=1, noise=0.0))
    plain = replace(draw, t1w=replace(shifted.t1w, bandwidth_hz=1e6))
    vector = truth_of(shifted).fat_shift_mm["t1w"]
    assert vector[2] == pytest.approx(-220 / 60 * 300 / shifted.t1w.samples[0], rel=0.02)  # rows run down
    assert np.abs(truth_of(plain).fat_shift_mm["t1w"]).max() < 0.01
    # Subcutaneous fat follows the vector: compare a block where all signal is fat.
    before, after = render_case(plain).t1w, render_case(shifted).t1w
    change = np.abs(after.array - before.array).mean() / before.array.mean()
    assert change > 0.01
    back = np.array(draw.table_mm) + np.array([0, 55, 0])
    line = back + np.linspace(-60, 60, 121)[:, None] * np.array([0, 0, 1.0])
    moved = [np.corrcoef(before.sample(line), after.sample(line + share * vector))[0, 1] for share in (0.0, 1.0, -1.0)]
    assert moved[1] >= max(moved[0], moved[2]) - 0.02


def test_the_box_encloses_the_body_and_lies_on_its_slice(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    for draw, case in cases:
        truth = case.truth
        left, top, right, bottom = truth.box_pixels
        pixel = draw.t2w.fov_mm / draw.t2w.matrix
        index = case.t2w.to_index(np.array(draw.table_mm))
        assert abs(index[0] - truth.box_slice) <= 0.5
        assert top < index[1] < bottom
        assert left < index[2] < right
        assert truth.box_side_mm == pytest.approx(max(right - left, bottom - top) * pixel)
        assert 20 < truth.box_side_mm < 50
        assert case.t2w.to_index(truth.box_centre_mm) == pytest.approx(
            [truth.box_slice, (top + bottom) / 2, (left + right) / 2], abs=1e-6
        )
        assert truth.box_slice in truth.lesion_slices
        assert len(truth.t2w_sop_uids) == case.t2w.shape[0]


def test_compression_lowers_the_box(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    found = 0
    for number in range(1, 13):
        draw = draw_case(SETTINGS, number)
        heights = truth_of(draw).box_pixels
        if draw.lesion.shape == "entire":
            sound = replace(
                draw, lesion=replace(draw.lesion, deformity=replace(draw.lesion.deformity, anterior=0.0, posterior=0.0))
            )
            whole = truth_of(sound).box_pixels
            assert heights[3] - heights[1] < 0.9 * (whole[3] - whole[1])
            found += 1
    assert found


def test_noise_is_rician_and_dialled() -> None:
    draw = only(draw_case(SETTINGS, 6), "t2w")
    # Intensity correction would make the noise uneven, and ghosts would lie in the air.
    draw = replace(draw, coil=replace(draw.coil, correction=0.0), t2w=replace(draw.t2w, ghost=0.0))
    clean = render_case(replace(draw, t2w=replace(draw.t2w, noise=0.0))).t2w.array
    noisy = render_case(draw).t2w.array
    background = ndimage.uniform_filter(clean, (1, 9, 9)) < 0.02 * clean.mean()
    corner = noisy[background]
    assert corner.size > 1000
    # Rayleigh in air: mean over standard deviation is sqrt(pi / (4 - pi)) = 1.913.
    assert corner.mean() / corner.std() == pytest.approx(1.913, abs=0.35)


def test_vertebrae_of_one_spine_differ(cases: list[tuple[CaseDraw, RenderedCase]]) -> None:
    for _, case in cases:
        centres = np.array([place for name, place in case.truth.vertebrae_mm.items() if name[0] in "TL"])
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert np.diff(steps).std() > 0.5
