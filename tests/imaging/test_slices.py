"""Slices on demand are the same bits as the whole series, and nothing else is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import FileError, SeriesError
from spinefx.imaging import series as series_module
from spinefx.imaging.registration import align
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import SagittalTurn, Volume
from spinefx.phantom.case import PhantomCase, render_case
from spinefx.phantom.random_streams import PhantomSettings, draw_case
from spinefx.vocabulary import Weighting

from .conftest import sagittal_volume

Write = Callable[..., Path]


@pytest.fixture
def read_slices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the files whose pixels are read from now on."""
    read: list[str] = []
    original = series_module.read_frames

    def spy(reader, member, pixels, numbers):
        read.extend([member.label] * len(numbers))
        return original(reader, member, pixels, numbers)

    monkeypatch.setattr(series_module, "read_frames", spy)
    return read


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return render_case(draw_case(PhantomSettings(patients=20, seed=4, motion=2.0, matrix=192), 2))


def lesion_of(case: PhantomCase) -> Lesion:
    truth = case.truth
    middle = round(float(case.t2w.to_index(truth.box_centre_mm)[0]))
    left, posterior, superior = (float(value) for value in truth.box_centre_mm)
    return Lesion(Box((left, posterior, superior), truth.box_side_mm), middle - 1, middle + 1)


def test_a_slab_holds_the_same_voxels_at_the_same_places() -> None:
    volume = sagittal_volume(slices=6, tilt_deg=10)
    slab = volume.slab(2, 4)
    np.testing.assert_array_equal(slab.array, volume.array[2:5])
    np.testing.assert_allclose(slab.to_mm((1, 3, 4)), volume.to_mm((3, 3, 4)), atol=1e-9)
    np.testing.assert_array_equal(volume.whole().affine, volume.affine)
    for asked, given in (((-3, 1), (0, 1)), ((4, 9), (4, 5)), ((8, 9), (5, 5)), ((-4, -2), (0, 0))):
        np.testing.assert_array_equal(volume.slab(*asked).array, volume.array[given[0] : given[1] + 1])


@pytest.mark.parametrize("stored", ["sagittal", "rows upwards", "axial"])
def test_slices_of_a_series_are_those_of_the_whole(write_study: Write, read_slices: list[str], stored: str) -> None:
    volume = sagittal_volume(tilt_deg=12)
    if stored != "sagittal":
        # Axes that are stored another way: rows run up and columns to the front, or slices lie across the patient.
        turned = np.eye(4)
        turned[:3, :3] = np.diag([1, -1, -1]) if stored == "rows upwards" else np.roll(np.eye(3), 1, axis=1)
        volume = Volume(volume.array, volume.affine @ turned)
    series = open_study(write_study({"t1": {"volume": volume}}, order={"t1": [4, 2, 0, 1, 3]})).series[0]
    whole = series.load()
    assert np.array_equal(whole.array, volume.array) == (stored != "rows upwards")
    read_slices.clear()
    slices = series.slices()
    assert slices.shape == whole.shape
    np.testing.assert_array_equal(slices.affine, whole.affine)
    assert not read_slices
    for first, last in ((1, 2), (2, 3)):
        slab = slices.slab(first, last)
        np.testing.assert_array_equal(slab.array, whole.array[first : last + 1])
        np.testing.assert_array_equal(slab.affine, whole.slab(first, last).affine)
    assert len(read_slices) == len(set(read_slices)) == 3  # slice 2 was at hand


def test_a_turn_that_moves_the_slice_axis_keeps_no_slices() -> None:
    volume = sagittal_volume()
    kept = SagittalTurn.of(volume.affine, volume.shape)
    assert kept.keeps_slices
    moved = SagittalTurn.of(volume.affine[:, [1, 0, 2, 3]], (12, 5, 10))
    assert not moved.keeps_slices
    assert not SagittalTurn.of(volume.affine @ np.diag([-1.0, 1, 1, 1]), volume.shape).keeps_slices


def test_broken_pixels_are_refused_only_when_they_are_read(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    study = open_study(folder)
    path = folder / "t1" / "IM0004.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    slices = study.series[0].slices()
    assert slices.slab(0, 2).shape == (3, 12, 10)
    with pytest.raises(FileError, match=r"^series 1 \(sagittal.*file "):
        slices.slab(2, 3)
    # Cut off before it is scanned, an uncompressed file is refused by its length, whichever slices are asked for.
    with pytest.raises(SeriesError, match="missing between"):
        open_study(folder).series[0].slices()


def test_alignment_and_patches_are_the_same_bits_from_slices_and_from_whole_volumes(
    write_study: Write, read_slices: list[str], phantom: PhantomCase
) -> None:
    study = open_study(write_study({"t1": {"volume": phantom.t1w}, "t2": {"volume": phantom.t2w}}))
    t1, t2 = study.series
    lesion = lesion_of(phantom)

    def run(t1w, t2w):
        alignment = align(
            t2w,
            t1w,
            centre_mm=lesion.box.centre_mm,
            side_mm=lesion.box.side_mm,
            lesion_slices=(lesion.first_slice, lesion.last_slice),
        )
        series = (AlignedSeries(Weighting.T1W, t1w, alignment), AlignedSeries(Weighting.T2W, t2w))
        return alignment, cut_patches(lesion, series, case_id="c", participant_id="p")

    whole, stack = run(t1.load(), t2.load())
    read_slices.clear()
    lean, lean_stack = run(t1.slices(), t2.slices())
    assert 5 + 5 <= len(read_slices) == len(set(read_slices)) <= 14 < t1.number_of_slices + t2.number_of_slices
    assert whole.method == "rigid"
    assert whole.largest_motion_mm > 1
    np.testing.assert_array_equal(lean.matrix, whole.matrix)
    assert (lean.similarity_before, lean.similarity_after) == (whole.similarity_before, whole.similarity_after)
    for ours, theirs in zip(lean_stack.sources, stack.sources, strict=True):
        np.testing.assert_array_equal(ours.voxels, theirs.voxels)
    np.testing.assert_array_equal(lean_stack.matrices, stack.matrices)
