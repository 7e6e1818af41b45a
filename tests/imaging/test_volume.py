"""Voxels keep their place in the patient through every reordering."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spinefx.errors import GeometryError
from spinefx.imaging.volume import Volume, plane_of_normal
from spinefx.vocabulary import Plane

SHAPE = (4, 6, 5)


@st.composite
def affines(draw: st.DrawFn) -> NDArray[np.float64]:
    turn = Rotation.random(random_state=draw(st.integers(0, 10_000))).as_matrix()
    spacing = [draw(st.floats(0.2, 8)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


@given(affines(), st.tuples(*[st.floats(-10, 10)] * 3))
def test_index_to_mm_to_index(affine: NDArray[np.float64], index: tuple[float, float, float]) -> None:
    volume = Volume(np.zeros(SHAPE), affine)
    np.testing.assert_allclose(volume.to_index(volume.to_mm(index)), index, atol=1e-8)


@given(affines())
def test_reordering_to_sagittal_moves_no_voxel(affine: NDArray[np.float64]) -> None:
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    volume = Volume(array, affine)
    sagittal = volume.to_sagittal()
    everywhere = volume.to_mm(np.stack(np.indices(SHAPE), -1).reshape(-1, 3))
    np.testing.assert_allclose(sagittal.sample(everywhere, order=0), array.ravel())
    assert sorted(sagittal.shape) == sorted(SHAPE)
    # Once in order, always in order.
    np.testing.assert_array_equal(sagittal.to_sagittal().array, sagittal.array)
    np.testing.assert_allclose(sagittal.to_sagittal().affine, sagittal.affine)


def test_sagittal_axes_run_right_down_and_back() -> None:
    stored_upside_down = np.eye(4)
    stored_upside_down[:3, :3] = np.diag([2.0, -1.0, 1.0])  # slices left, rows front, columns up
    sagittal = Volume(np.zeros(SHAPE), stored_upside_down).to_sagittal()
    np.testing.assert_allclose(sagittal.directions, [[-1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-12)
    assert sagittal.spacing_mm == (2.0, 1.0, 1.0)
    assert sagittal.plane == Plane.SAGITTAL
    assert (np.diff(sagittal.slice_positions_mm) > 0).all()


def test_sampling_is_linear_and_repeats_the_edge() -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = 8
    volume = Volume(array, np.diag([2.0, 2, 2, 1]))
    np.testing.assert_allclose(volume.sample([[2, 2, 2], [3, 2, 2], [3, 3, 2], [3, 3, 3]]), [8, 4, 2, 1])
    ramp = Volume(np.broadcast_to(np.arange(3, dtype=np.float32)[:, None, None], (3, 3, 3)), np.eye(4))
    np.testing.assert_allclose(ramp.sample([[-5, 1, 1], [9, 1, 1]]), [0, 2])
    assert volume.contains([[-1, 0, 0], [5, 5, 5]]).all()
    assert not volume.contains([-1.1, 0, 0])


def test_a_volume_is_read_only_and_names_its_content() -> None:
    volume = Volume(np.zeros(SHAPE), np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    other = Volume(np.ones(SHAPE), np.eye(4))
    assert volume.voxel_digest == Volume(np.zeros(SHAPE), 2 * np.eye(4) - np.diag([0, 0, 0, 1])).voxel_digest
    assert volume.voxel_digest != other.voxel_digest
    assert "shape (4, 6, 5)" in repr(volume)


def test_impossible_states_are_refused() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.01
    for array, affine, message in (
        (np.zeros((3, 3)), np.eye(4), "shape"),
        (np.full(SHAPE, np.nan), np.eye(4), "finite"),
        (np.zeros(SHAPE), sheared, "right angles"),
        (np.zeros(SHAPE), np.diag([1.0, 0, 1, 1]), "spacing"),
        (np.zeros(SHAPE), np.full((4, 4), np.inf), "finite 4 x 4"),
    ):
        with pytest.raises(GeometryError, match=message):
            Volume(array, affine)


@pytest.mark.parametrize(
    ("normal", "plane"),
    [((-1, 0.2, 0.1), Plane.SAGITTAL), ((0, 1, 0), Plane.CORONAL), ((0.1, 0.3, -0.9), Plane.AXIAL)],
)
def test_planes_have_their_names(normal: tuple[float, float, float], plane: Plane) -> None:
    assert plane_of_normal(normal) == plane
