"""The shipped localiser on phantoms and real stacks it has not seen: found, named, and silent where it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Volume
from spinefx.localisation.labels import VERTEBRAL, TissueClass
from spinefx.localisation.locating import locate
from spinefx.localisation.spine import Convention, LocatedSpine
from spinefx.phantom.case import RenderedCase, render_case
from spinefx.phantom.labels import render_labels
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings, Range

Stack = tuple[Volume, dict[str, NDArray[np.float64]]]
PngStack = Callable[[str], Stack]
REAL = ("t2_AKs5", "t1_AKs8", "tirm_AKs7", "t1_AKa3", "t2_S01")


def phantom(seed: int, *, field: float) -> tuple[CaseDraw, RenderedCase]:
    settings = PhantomSettings(
        patients=1,
        seed=seed,
        matrix=256,
        field_centre="lumbar",
        field_of_view_mm=Range(field, field),
        sacral_slope_deg=Range(30.0, 45.0),
    )
    draw = draw_case(settings, 1)
    return draw, render_case(draw)


@pytest.fixture(scope="module", params=[(91, 320.0), (92, 380.0)], ids=["320 mm", "380 mm"])
def seen(request: pytest.FixtureRequest) -> tuple[CaseDraw, RenderedCase]:
    seed, field = request.param
    return phantom(seed, field=field)


def errors_mm(spine: LocatedSpine, volume: Volume, centres: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """Distance in plane from every located vertebra to the true centre of that name."""
    plane = volume.directions[:, 1:]
    return {
        one.level: float(np.linalg.norm((np.array(one.centre_mm) - centres[one.level]) @ plane))
        for one in spine.vertebrae
        if one.level in centres
    }


@pytest.mark.parametrize("series", ["t2w", "stir"])
def test_unseen_phantoms_are_found_and_named(seen: tuple[CaseDraw, RenderedCase], series: str) -> None:
    _, case = seen
    volume: Volume = getattr(case, series)
    spine, _ = locate(volume)
    assert spine.convention is Convention.SACRUM
    assert {"L1", "L2", "L3", "L4", "L5", "S1"} <= set(spine.levels)
    assert max(errors_mm(spine, volume, case.truth.vertebrae_mm).values()) < 6


def test_masks_lie_on_the_bodies(seen: tuple[CaseDraw, RenderedCase]) -> None:
    draw, case = seen
    _, classes = locate(case.t2w)
    codes = render_labels(draw).array // 100
    level = render_labels(draw).array % 100
    true = np.isin(codes, (1, 6)) & (level <= 25)  # bodies and lesions down to S1
    found = np.isin(classes, VERTEBRAL)
    assert 2 * (true & found).sum() / (true.sum() + found.sum()) > 0.82
    assert {TissueClass.DISC, TissueClass.CANAL, TissueClass.POSTERIOR, TissueClass.SACRUM} <= set(np.unique(classes))


def test_slices_in_the_other_order_give_the_mirrored_spine(seen: tuple[CaseDraw, RenderedCase]) -> None:
    volume = seen[1].t2w
    spine, _ = locate(volume)
    other, _ = locate(replace(volume, array=volume.array[::-1].copy()))
    assert other.levels == spine.levels
    for one, same in zip(spine.vertebrae, other.vertebrae, strict=True):
        index, mirrored = volume.to_index(one.centre_mm), volume.to_index(same.centre_mm)
        assert np.linalg.norm((index - mirrored)[1:] * volume.spacing_mm[1:]) < 4


@pytest.mark.parametrize("scale", [-1.0, 0.01, 300.0])
def test_the_scale_of_grey_does_not_matter(seen: tuple[CaseDraw, RenderedCase], scale: float) -> None:
    volume = seen[1].t2w
    spine, _ = locate(volume)
    other, _ = locate(replace(volume, array=volume.array * np.float32(scale) + np.float32(abs(scale))))
    assert other.levels == spine.levels


def test_s1_is_not_claimed_where_the_sacrum_is_cut_away(seen: tuple[CaseDraw, RenderedCase]) -> None:
    _, case = seen
    middle = (case.truth.vertebrae_mm["L4"] + case.truth.vertebrae_mm["L5"]) / 2
    last = int(case.t2w.to_index(middle)[1])
    spine, _ = locate(replace(case.t2w, array=case.t2w.array[:, :last].copy()))
    assert "S1" not in spine.levels
    assert len(spine.vertebrae) >= 3
    if not spine.levels:
        assert all(not one.named for one in spine.vertebrae)


def test_noise_and_other_planes_hold_no_vertebra() -> None:
    affine = np.array([[4.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    noise = np.random.default_rng(0).normal(size=(8, 200, 200)).astype(np.float32)
    assert locate(Volume(noise, affine))[0].vertebrae == ()
    axial = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    spine, classes = locate(Volume(noise, axial))
    assert spine.vertebrae == ()
    assert "axial" in spine.notes[0]
    assert not classes.any()


@pytest.mark.parametrize("name", REAL)
def test_real_stacks_are_found_and_named(png_stack: PngStack, name: str) -> None:
    volume, centres = png_stack(name)
    spine, _ = locate(volume)
    errors = errors_mm(spine, volume, centres)
    assert set(errors) == set(centres)
    # Clicked centres are uncertain by 2 mm.
    assert np.median(list(errors.values())) < 2.8
    assert max(errors.values()) < 8


@pytest.mark.parametrize("name", ["head", "abdomen", "another plane"])
def test_real_images_of_other_parts_hold_no_vertebra(shared_data: Path, name: str) -> None:
    if name == "abdomen":
        path = sorted((shared_data / "abdomen_mr_totalsegmentator").glob("*.nii.gz"))[0]
        volume = read_nifti(path)
    else:
        folder = {"head": "dicom_head_sagittal_t1", "another plane": "dicom_enhanced_t1w_tse_phantom"}[name]
        volume = open_study(shared_data / folder).series[0].load()
    assert locate(volume)[0].vertebrae == ()
