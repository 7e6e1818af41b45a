"""Patches equal direct sampling of the source, wherever box, motion and jitter put them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.patch import REACH, Jitter, PatchSettings, PatchStack, _sampled, patch_grid
from spinefx.errors import BoxError, InputError, PatchError
from spinefx.imaging.registration import Alignment
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Weighting

SAGITTAL = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # slice, row, column axes (R, I, P) as columns of LPS


def make_volume(shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int = 0) -> Volume:
    """A smooth random stack, oblique by some degrees, its centre near the patient's origin."""
    rng = np.random.default_rng(seed)
    array = ndimage.gaussian_filter(rng.normal(size=shape), (0.6, 2, 2)).astype(np.float32) * 500 + 100
    angle = np.deg2rad(7)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ SAGITTAL @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(array, affine)


def make_alignment(angle_deg: float = 0.0, shift_mm: tuple[float, float, float] = (0, 0, 0)) -> Alignment:
    angle = np.deg2rad(angle_deg)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift_mm
    return Alignment(
        matrix=matrix,
        method="rigid",
        similarity_before=0.1,
        similarity_after=0.2,
        largest_motion_mm=float(np.linalg.norm(shift_mm)),
        rotation_deg=abs(angle_deg),
        same_frame_of_reference=True,
        reason="known motion",
    )


def cut(lesion: Lesion, t1w: Volume, t2w: Volume, alignment: Alignment) -> PatchStack:
    series = (AlignedSeries(Weighting.T1W, t1w, alignment), AlignedSeries(Weighting.T2W, t2w))
    return cut_patches(lesion, series, case_id="c", participant_id="sub-001")


def z_scored(array: NDArray[np.float32]) -> NDArray[np.float64]:
    return (array - array.mean()) / array.std()


def expected_channel(
    volume: Volume, to_volume: NDArray[np.float64], t2w: Volume, lesion: Lesion, slice_index: int, jitter: Jitter
) -> NDArray[np.float64]:
    """The slow, plain way: every pixel's place in the patient, then one sample of the source."""
    grid = patch_grid(64)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    u, v, _ = np.einsum("ij,jrc->irc", jitter.matrix(), np.stack([u, v, np.ones_like(u)]))
    _, row, column = t2w.to_index(lesion.box.centre_mm)
    centre = t2w.to_mm((slice_index, row, column))
    side = lesion.box.side_mm
    place = centre + side * (u[..., None] * t2w.directions[:, 1] + v[..., None] * t2w.directions[:, 2])
    place = place @ to_volume[:3, :3].T + to_volume[:3, 3]
    return z_scored(volume.sample(place))


@pytest.mark.parametrize("jitter", [Jitter(), Jitter(0.1, -0.1, 1.1, 15.0), Jitter(-0.07, 0.1, 0.9, -11.0)])
def test_every_channel_is_sampled_once_from_the_source(jitter: Jitter) -> None:
    t2w = make_volume((11, 200, 190), (4.4, 0.59, 0.59), seed=1)
    t1w = make_volume((13, 150, 160), (4.0, 0.75, 0.7), seed=2)
    alignment = make_alignment(4.0, (1.5, -3.0, 5.0))
    lesion = Lesion(Box((1.0, 6.0, -9.0), 38.0), 4, 6, "L1")
    stack = cut(lesion, t1w, t2w, alignment)
    assert stack.slices == (4, 5, 6)
    assert stack.flags == ()
    for position, centre in enumerate(stack.slices):
        patch = stack.cut(position, jitter)
        assert patch.array.shape == (6, 64, 64)
        assert patch.array.dtype == np.float32
        for channel, offset in enumerate((-1, 0, 1)):
            wanted_t1w = expected_channel(t1w, alignment.matrix, t2w, lesion, centre + offset, jitter)
            wanted_t2w = expected_channel(t2w, np.eye(4), t2w, lesion, centre + offset, jitter)
            np.testing.assert_allclose(patch.array[channel], wanted_t1w, atol=2e-4)
            np.testing.assert_allclose(patch.array[3 + channel], wanted_t2w, atol=2e-4)


def test_channels_are_normalised_and_carry_their_scale() -> None:
    volume = make_volume((9, 128, 128), (4.4, 0.6, 0.6))
    lesion = Lesion(Box((0.0, 0.0, 0.0), 32.0), 3, 5)
    patch = cut(lesion, volume, volume, make_alignment()).cut(1)
    np.testing.assert_allclose(patch.array.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(patch.array.std(axis=(1, 2)), 1, atol=1e-5)
    assert patch.mm_per_pixel == 0.5
    # With one volume as both series and no motion, T1W and T2W channels are the same.
    np.testing.assert_allclose(patch.array[:3], patch.array[3:], atol=1e-5)
    assert PatchSettings().channels == ("T1W-1", "T1W0", "T1W+1", "T2W-1", "T2W0", "T2W+1")


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-300, 300)] * 3))
def test_moving_patient_and_box_together_changes_nothing(shift: tuple[float, float, float]) -> None:
    t2w, t1w = make_volume((9, 96, 96), (4.4, 0.8, 0.8), 1), make_volume((9, 96, 96), (4.4, 0.8, 0.8), 2)
    centre = np.array([0.0, 2.0, 3.0])
    here = cut(Lesion(Box((0.0, 2.0, 3.0), 30.0), 4, 4), t1w, t2w, make_alignment())
    moved = [Volume(volume.array, translation(shift) @ volume.affine) for volume in (t1w, t2w)]
    box = Box(tuple(centre + shift), 30.0)  # type: ignore[arg-type]
    there = cut(Lesion(box, 4, 4), moved[0], moved[1], make_alignment())
    np.testing.assert_allclose(here.cut(0).array, there.cut(0).array, atol=2e-3)


def translation(shift: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.9, 1.1), st.floats(-15, 15))
def test_no_jitter_of_the_protocol_leaves_the_kept_source(row: float, column: float, scale: float, turn: float) -> None:
    jitter = Jitter(row, column, scale, turn)
    corners = np.array([[u, v, 1.0] for u in (-0.5, 0.5) for v in (-0.5, 0.5)])
    touched = np.abs(corners @ jitter.matrix().T)[:, :2].max()
    assert touched <= jitter.reach + 1e-12
    assert jitter.reach <= REACH
    assert Jitter().is_identity


def test_a_missing_neighbour_repeats_the_edge_and_is_flagged() -> None:
    volume = make_volume((5, 96, 96), (4.4, 0.8, 0.8))
    lesion = Lesion(Box(tuple(volume.to_mm((0, 48, 48))), 30.0), 0, 0)  # type: ignore[arg-type]
    stack = cut(lesion, volume, volume, make_alignment())
    patch = stack.cut(0)
    np.testing.assert_array_equal(patch.array[3], patch.array[4])
    assert np.abs(patch.array[5] - patch.array[4]).max() > 0.1
    assert any("edge slice" in flag for flag in stack.flags)


def test_a_box_over_the_edge_is_shifted_inside_and_flagged() -> None:
    volume = make_volume((5, 100, 100), (4.4, 1.0, 1.0))
    at_edge = Lesion(Box(tuple(volume.to_mm((2, 5, 50))), 30.0), 2, 2)  # type: ignore[arg-type]
    inside = Lesion(Box(tuple(volume.to_mm((2, 14.5, 50))), 30.0), 2, 2)  # type: ignore[arg-type]
    shifted, wanted = (cut(lesion, volume, volume, make_alignment()) for lesion in (at_edge, inside))
    assert "shifted 9.5 mm" in shifted.flags[0]
    assert wanted.flags == ()
    np.testing.assert_allclose(shifted.cut(0).array, wanted.cut(0).array, atol=1e-4)


def test_boxes_that_do_not_fit_are_refused_by_name() -> None:
    volume = make_volume((5, 100, 100), (4.4, 1.0, 1.0))
    cases = {
        "off the T2W image": Lesion(Box(tuple(volume.to_mm((2, 150, 50))), 30.0), 2, 2),  # type: ignore[arg-type]
        "outside the T2W stack": Lesion(Box(tuple(volume.to_mm((2, 50, 50))), 30.0), 4, 7),  # type: ignore[arg-type]
        "away from the lesion's slices": Lesion(Box(tuple(volume.to_mm((0, 50, 50))), 30.0), 3, 4),  # type: ignore[arg-type]
    }
    for message, lesion in cases.items():
        with pytest.raises(BoxError, match=message):
            cut(lesion, volume, volume, make_alignment())
    good = Lesion(Box((0.0, 0.0, 0.0), 30.0), 2, 2)
    with pytest.raises(PatchError, match="outside the T1W series"):
        cut(good, volume, volume, make_alignment(0, (0, 0, 300)))
    for side in (2.0, 500.0, float("nan")):
        with pytest.raises(BoxError):
            Box((0.0, 0.0, 0.0), side)
    with pytest.raises(BoxError, match="level"):
        Lesion(Box((0.0, 0.0, 0.0), 30.0), 2, 2, "X9")


def test_a_flat_channel_is_refused() -> None:
    volume = make_volume((5, 100, 100), (4.4, 1.0, 1.0))
    flat = Volume(np.full((5, 100, 100), 7, np.float32), volume.affine)
    lesion = Lesion(Box((0.0, 0.0, 0.0), 30.0), 2, 2)
    stack = cut(lesion, flat, volume, make_alignment())
    with pytest.raises(PatchError, match="T1W-1 of slice 2 holds one grey level"):
        stack.cut(0)


def test_shrinking_is_smoothed_first_and_growing_is_not() -> None:
    rng = np.random.default_rng(3)
    stripes = np.tile((np.arange(400) % 2).astype(np.float32), (5, 400, 1)) + rng.normal(0, 0.01, (5, 400, 400))
    affine = np.eye(4)
    affine[:3, :3] = SAGITTAL @ np.diag((4.4, 0.25, 0.25))
    fine = Volume(stripes.astype(np.float32), affine)
    lesion = Lesion(Box(tuple(fine.to_mm((2, 200, 200))), 64.0), 2, 2)  # type: ignore[arg-type]
    stack = cut(lesion, fine, fine, make_alignment())
    # One-pixel stripes are four times finer than a patch pixel: left alone they would alias to full contrast.
    assert stack.source(Weighting.T2W).voxels.std() < 0.2 * stripes.std()
    small = Lesion(Box(tuple(fine.to_mm((2, 200, 200))), 15.0), 2, 2)  # type: ignore[arg-type]
    assert cut(small, fine, fine, make_alignment()).source(Weighting.T2W).voxels.std() == pytest.approx(
        stripes.std(), rel=0.02
    )


def test_trilinear_samples_are_scipys_edges_included() -> None:
    """Training runs without SciPy; what it samples must not differ from what was sampled with it."""
    rng = np.random.default_rng(4)
    source = rng.normal(100, 50, size=(5, 20, 24)).astype(np.float32)
    index = rng.uniform(-3, 27, size=(3, 3, 40, 40))
    index[0] = np.round(index[0])  # exactly on voxels
    expected = [ndimage.map_coordinates(source, one, order=1, mode="nearest", output=np.float32) for one in index]
    np.testing.assert_array_equal(_sampled(source, index), expected)


def test_settings_name_their_folder_and_digest() -> None:
    assert PatchSettings().name == ""
    assert PatchSettings("geometry", 25.0).name == "geometry-margin25"
    assert PatchSettings().digest != PatchSettings("geometry").digest


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_any_set_of_series_and_neighbours_makes_its_channels(neighbours: int) -> None:
    marked = make_volume((11, 120, 120), (4.4, 0.8, 0.8), 1)
    t1w, stir = make_volume((13, 110, 120), (4.0, 0.75, 0.7), 2), make_volume((9, 70, 70), (4.8, 1.3, 1.3), 3)
    moved = {Weighting.T1W: make_alignment(3.0, (1, -2, 3)), Weighting.STIR: make_alignment(-2.0, (0, 2, -1))}
    series = [
        AlignedSeries(Weighting.STIR, stir, moved[Weighting.STIR]),
        AlignedSeries(Weighting.T2W, marked),
        AlignedSeries(Weighting.T1W, t1w, moved[Weighting.T1W]),
    ]
    sequences = (Weighting.T2W, Weighting.T1W, Weighting.STIR)
    chosen = PatchSettings(sequences=sequences, neighbours=neighbours)
    lesion = Lesion(Box((1.0, 4.0, -3.0), 36.0), 4, 6)
    stack = cut_patches(lesion, series, case_id="c", participant_id="p", settings=chosen)
    patch = stack.cut(1, Jitter(0.05, -0.02, 1.05, 9.0)).array
    assert len(chosen.channels) == len(patch) == 3 * (2 * neighbours + 1)
    assert chosen.channels[chosen.centre_of(Weighting.STIR)] == "STIR0"
    for source in series:
        at = chosen.centre_of(source.weighting)
        wanted = expected_channel(
            source.voxels,
            source.matrix,
            marked,
            lesion,
            5,
            Jitter(0.05, -0.02, 1.05, 9.0),  # type: ignore[arg-type]
        )
        # STIR's pixels are larger than the patch's: sampled between them, not smoothed.
        np.testing.assert_allclose(patch[at], wanted, atol=2e-4)
    with pytest.raises(PatchError, match="no STIR series"):
        cut_patches(lesion, series[1:], case_id="c", participant_id="p", settings=chosen)


def test_settings_from_before_sequences_keep_their_digest_and_file() -> None:
    """Patches and models on users' disks identify their settings by it."""
    known = {
        PatchSettings(): "sha256:5caa4348ef3ec3c0d54129b620425f5c7ca987d12ad9999d2c3cd56bd36ef1a6",
        PatchSettings("affine", 10, 96): "sha256:9849041439b8d7062830ad0ef72e1f7e3c041411730745192dbeb42d89bf25ce",
    }
    assert {one: one.digest for one in known} == known
    assert PatchSettings().to_json() == {"registration": "rigid", "margin_percent": 0.0, "size": 64}
    for other in (PatchSettings(sequences=("T2w", "STIR")), PatchSettings(neighbours=2)):  # type: ignore[arg-type]
        assert PatchSettings.from_json(other.to_json()) == other
        assert other.digest not in known.values()
    assert PatchSettings(sequences=("T2w", "STIR"), neighbours=0).name == "t2w-stir-neighbours0"  # type: ignore[arg-type]


def test_settings_that_make_no_channels_are_refused() -> None:
    with pytest.raises(InputError, match="T2w always"):
        PatchSettings(sequences=(Weighting.T1W,))
    with pytest.raises(PatchError, match="0 to 3"):
        PatchSettings(neighbours=4)
