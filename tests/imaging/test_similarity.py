"""Mutual information against known values, and preprocessing that preserves positions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spinefx.imaging.similarity import Comparison, crop_in_plane, map_points, mutual_information, pool_in_plane, window
from spinefx.imaging.volume import Volume


def ramp(shape=(3, 20, 30), spacing=(4.0, 0.7, 0.9)):
    """A volume whose brightness encodes its position, so that any displacement shows."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [5, -7, 11]
    index = np.indices(shape, dtype=float)
    return Volume(index[1] * spacing[1] + 100 * index[2] * spacing[2] + 10 * index[0], affine)


@pytest.mark.parametrize("levels", [2, 4, 32])
def test_information_of_a_one_to_one_map_is_the_entropy(levels):
    values = np.tile(np.linspace(0, 1, levels), 50).astype(np.float32)
    assert mutual_information(values, 1 - values) == pytest.approx(np.log(levels))


def test_information_of_independent_brightness_is_zero():
    first, second = (
        axis.ravel().astype(np.float32) for axis in np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 8))
    )
    assert mutual_information(first, second) == pytest.approx(0, abs=1e-12)


def test_information_of_a_binary_channel():
    """A bit flipped with probability 1/4: log 2 - H(1/4)."""
    sent = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    received = np.array([0, 0, 0, 1, 1, 1, 1, 0], np.float32)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert mutual_information(sent, received) == pytest.approx(np.log(2) - entropy)


def test_information_of_no_voxels_is_zero():
    assert mutual_information(np.empty(0, np.float32), np.empty(0, np.float32)) == 0


def test_pooling_preserves_positions_and_slices():
    volume = ramp()
    pooled = pool_in_plane(volume, 2.5)
    assert pooled.shape == (3, 5, 10)
    assert pooled.spacing_mm == pytest.approx((4.0, 2.8, 2.7))
    centres = pooled.to_mm(np.indices(pooled.shape).reshape(3, -1).T)
    np.testing.assert_allclose(pooled.array.ravel(), volume.sample(centres), rtol=1e-5)


def test_pooling_does_not_change_pixels_that_are_large_enough():
    volume = ramp(spacing=(4.0, 3.0, 3.0))
    np.testing.assert_array_equal(pool_in_plane(volume, 2.5).array, volume.array)


def test_cropping_preserves_positions():
    volume = ramp()
    cropped = crop_in_plane(volume, volume.to_mm([1, 10, 4]), 5.6)
    assert cropped.shape == (3, 9, 7)
    centres = cropped.to_mm(np.indices(cropped.shape).reshape(3, -1).T)
    np.testing.assert_allclose(cropped.array.ravel(), volume.sample(centres), rtol=1e-5)
    offset = np.abs(centres - volume.to_mm([1, 10, 4]))[:, 1:]
    assert offset.max() <= 2.8 + 1e-9


def test_window_of_a_flat_volume_is_zero():
    assert not window(Volume(np.full((2, 4, 4), 7.0), np.eye(4))).array.any()


def test_window_lies_within_zero_and_one():
    array = window(ramp()).array
    assert (array.min(), array.max()) == (0, 1)


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -3, 2), (-1, 4, -2)])
def test_translation_scores_peak_at_the_true_shift(shift):
    rng = np.random.default_rng(3)
    texture = ndimage.gaussian_filter(rng.normal(size=(9, 40, 40)), (0.6, 1.5, 1.5))
    affine = np.array([[0, 0, -1.0, 9], [4.0, 0, 0, -3], [0, 2.0, 0, 8], [0, 0, 0, 1]])
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ shift
    pair = Comparison(window(Volume(texture, affine)), window(Volume(-texture, moved)))
    scores, shifts_mm = pair.translation_scores((8.0, 12.0, 4.0), least_coverage=0.2)
    assert scores.shape == (5, 13, 9)
    best = np.unravel_index(scores.argmax(), scores.shape)
    np.testing.assert_allclose(shifts_mm[best], affine[:3, :3] @ shift)


def test_translation_scores_refuse_thin_coverage():
    volume = window(ramp())
    away = volume.affine.copy()
    away[:3, 3] += [0, 1000, 0]
    scores, _ = Comparison(volume, Volume(volume.array, away)).translation_scores((4, 4, 4), least_coverage=0.5)
    assert not scores.any()


def turned(angle_deg=5.0, shift_mm=(1.3, -2.2, 0.7)):
    angle = np.deg2rad(angle_deg)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift_mm
    return matrix


@pytest.mark.parametrize("slices", [1, 3])
def test_resampling_agrees_with_sampling_the_volume(slices):
    rng = np.random.default_rng(2)
    fixed, moving = ramp((slices, 20, 30)), Volume(rng.random((slices, 24, 26)), ramp().affine)
    view = Comparison(fixed, moving).resample(turned())
    points_mm = map_points(turned(), fixed.to_mm(np.moveaxis(np.indices(fixed.shape), 0, -1)))
    np.testing.assert_allclose(view.brightness, moving.sample(points_mm), atol=1e-4)
    np.testing.assert_array_equal(view.covered, moving.contains(points_mm))
    assert 0 < view.covered.mean() < 1


def test_slopes_of_a_ramp_equal_its_gradient():
    volume = ramp()
    view = Comparison(volume, volume).resample(turned(2.0, (0.5, 0.3, -0.2)))
    inner = (slice(None, -1), slice(3, -3), slice(3, -3))  # elsewhere the edge may be repeated
    for slope, step in zip(view.slopes, (10, 0.7, 100 * 0.9), strict=True):
        np.testing.assert_allclose(slope[inner], step, rtol=1e-3)


def test_comparing_every_third_pixel_preserves_positions():
    volume = ramp((3, 40, 40), (4.0, 1.0, 1.0))
    whole, thin = (
        Comparison.around(volume, volume, centre_mm=volume.to_mm([1, 20, 20]), width_mm=30, pixel_mm=1.0, every=every)
        for every in (1, 3)
    )
    np.testing.assert_allclose(thin.fixed.to_mm([1, 2, 3]), whole.fixed.to_mm([1, 6, 9]))
    assert thin.fixed.shape == (3, 11, 11)
    assert thin.similarity(np.eye(4), within=thin.covered(np.eye(4))) > 1
