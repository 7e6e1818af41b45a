"""Registration of small synthetic pairs: known motion is found, limits hold, and every failure is named."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from spinefx.errors import RegistrationError
from spinefx.imaging.registration import Alignment, align
from spinefx.imaging.volume import Volume

CENTRE = np.array([2.0, 5.0, -20.0])
SIDE = 36.0
# Brightness of six tissues on T2W and T1W, in different orders.
T2W, T1W = np.array([0.0, 9, 4, 5, 2, 7]), np.array([0.0, 2, 6, 3, 5, 9])
TISSUE = np.digitize(
    ndimage.zoom(ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(20, 50, 50)), 1.3), 3, order=1),
    [-0.16, -0.06, 0.0, 0.08, 0.18],
)


def scan(brightness, affine, shape, motion=None, *, seed=0, frame="a", tissue=TISSUE):
    """Image the tissue, which fills 120 x 300 x 300 mm and repeats, after a motion of the patient."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    back = np.linalg.inv(np.eye(4) if motion is None else motion)
    places = places @ back[:3, :3].T + back[:3, 3]
    cells = np.moveaxis((places + np.array([60, 150, 150])) / 2, -1, 0)
    clean = ndimage.map_coordinates(brightness[tissue], cells, order=1, mode="grid-wrap")
    noise = np.random.default_rng(seed).normal(0, 0.2, shape)
    return Volume(clean + noise, affine, frame_of_reference=frame)


def sagittal(slices=13, size=96, pixel_mm=2.5, slice_mm=4.4, middle=(0.0, 0.0, 0.0)):
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = [-slice_mm, 0, 0], [0, 0, -pixel_mm], [0, pixel_mm, 0]
    affine[:3, 3] = middle - affine[:3, :3] @ [(slices - 1) / 2, (size - 1) / 2, (size - 1) / 2]
    return affine, (slices, size, size)


def motion(shift_mm, turn_deg=(0, 0, 0), about=CENTRE):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(turn_deg)).as_matrix()
    matrix[:3, 3] = about + shift_mm - matrix[:3, :3] @ about
    return matrix


def corners_mm():
    return CENTRE + SIDE / 2 * np.array([[0, y, z] for y in (-1, 1) for z in (-1, 1)])


def error_mm(alignment, truth):
    true = corners_mm() @ truth[:3, :3].T + truth[:3, 3]
    return np.linalg.norm(alignment.apply(corners_mm()) - true, axis=1).mean()


@pytest.fixture(scope="module")
def t2w():
    return scan(T2W, *sagittal(), seed=1)


MOTIONS = [
    motion([0, 0, 0]),
    motion([0, 3, -5], [3, 0, 0]),
    motion([2, -4, 5], [-2, 2, 4]),
    motion([-1, 5, 5], [5, -2, 1]),
    motion([0.5, -7.5, 0], [0, 0, 0]),
]


@pytest.mark.parametrize("truth", MOTIONS)
def test_rigid_finds_a_known_motion(t2w, truth):
    found = align(t2w, scan(T1W, *sagittal(), truth, seed=2), centre_mm=CENTRE, side_mm=SIDE)
    assert found.method == "rigid"
    assert found.same_frame_of_reference
    assert error_mm(found, truth) < 0.5
    assert found.similarity_after > found.similarity_before
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_series_may_differ_in_matrix_spacing_and_slices(t2w):
    truth = motion([1, 3, -4], [3, 1, -2])
    t1w = scan(T1W, *sagittal(10, 150, 1.7, 5.0, (3.0, -6.0, 9.0)), truth, seed=2)
    assert error_mm(align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE), truth) < 0.5


def test_oblique_slices_in_either_order(t2w):
    affine, shape = sagittal()
    tilted = motion([0, 0, 0], [4, -6, 8], about=np.zeros(3)) @ affine
    tilted[:3, 3] += tilted[:3, 0] * (shape[0] - 1)
    tilted[:3, 0] *= -1
    truth = motion([1, -3, 4], [2, 0, 1])
    t1w = scan(T1W, tilted, shape, truth, seed=2)
    assert error_mm(align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE), truth) < 0.6


def test_a_change_of_the_t1w_header_changes_the_map_equally(t2w):
    """The result follows the voxels, not the grid: 3 mm and 2 degrees added to the header appear in the map."""
    t1w = scan(T1W, *sagittal(), motion([0, 2, 2]), seed=2)
    change = motion([1.3, -2.1, 1.7], [2, 0, 0])
    one = align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE)
    other = align(t2w, replace(t1w, affine=change @ t1w.affine), centre_mm=CENTRE, side_mm=SIDE)
    assert error_mm(other, change @ one.matrix) < 0.15


def test_affine_finds_a_known_stretch(t2w):
    stretch = motion([0, 2, -3], [2, 0, 0])
    stretch[:3, :3] = stretch[:3, :3] @ np.diag([1.0, 1.05, 0.96])
    stretch[:3, 3] = CENTRE + np.array([0, 2, -3]) - stretch[:3, :3] @ CENTRE
    t1w = scan(T1W, *sagittal(), stretch, seed=2)
    found = align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE, method="affine")
    assert found.method == "affine"
    assert error_mm(found, stretch) < 0.4
    assert error_mm(found, stretch) < error_mm(align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE), stretch)


def test_a_stretch_beyond_its_limit_falls_back_to_rigid(t2w):
    stretch = np.eye(4)
    stretch[:3, :3] = np.diag([1.0, 1.16, 1.0])
    stretch[:3, 3] = CENTRE - stretch[:3, :3] @ CENTRE
    t1w = scan(T1W, *sagittal(), stretch, seed=2)
    found = align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE, method="affine")
    assert found.method == "rigid"
    assert "rigid kept: the affine refinement stretched the box" in found.reason


def test_results_are_identical_bit_by_bit(t2w):
    t1w = scan(T1W, *sagittal(), MOTIONS[2], seed=2)
    for method, frame in (("affine", "a"), ("rigid", "")):
        one, two = (
            align(t2w, replace(t1w, frame_of_reference=frame), centre_mm=CENTRE, side_mm=SIDE, method=method)
            for _ in range(2)
        )
        assert one.matrix.tobytes() == two.matrix.tobytes()
        assert one.reason == two.reason


def test_geometry_alone_is_the_identity(t2w):
    found = align(t2w, scan(T1W, *sagittal(), MOTIONS[1]), centre_mm=CENTRE, side_mm=SIDE, method="geometry")
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert (found.method, found.largest_motion_mm, found.rotation_deg) == ("geometry", 0, 0)
    assert found.similarity_before == found.similarity_after > 0


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (motion([0, 0, 11.5]), "moved the box by 11"),
        (motion([0, 0, 0], [11.5, 0, 0]), "rotated the box by 11"),
    ],
)
def test_motion_beyond_the_limits_is_refused_not_clipped(t2w, truth, words):
    found = align(t2w, scan(T1W, *sagittal(), truth, seed=2), centre_mm=CENTRE, side_mm=SIDE)
    assert found.method == "geometry"
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert f"DICOM geometry alone: the rigid refinement {words}" in found.reason
    assert found.similarity_before == found.similarity_after


def test_motion_is_reported_at_the_corners(t2w):
    truth = motion([0, 0, 6], [3, 0, 0])
    found = align(t2w, scan(T1W, *sagittal(), truth, seed=2), centre_mm=CENTRE, side_mm=SIDE)
    true = np.linalg.norm(corners_mm() @ truth[:3, :3].T + truth[:3, 3] - corners_mm(), axis=1).max()
    assert found.largest_motion_mm == pytest.approx(true, abs=0.3)
    assert found.rotation_deg == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("flat", ["t1w", "t2w"])
def test_a_flat_series_keeps_geometry(t2w, flat):
    volumes = {"t2w": t2w, "t1w": scan(T1W, *sagittal(), seed=2)}
    volumes[flat] = replace(volumes[flat], array=np.full(volumes[flat].shape, 3.0))
    found = align(volumes["t2w"], volumes["t1w"], centre_mm=CENTRE, side_mm=SIDE)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert "did not raise mutual information (0.000 to 0.000 nats)" in found.reason


@pytest.mark.parametrize("shape", [(1, 96, 96), (13, 1, 1), (1, 1, 1), (2, 3, 3)])
@pytest.mark.parametrize("tiny", ["t1w", "t2w"])
def test_tiny_volumes_give_an_answer_or_a_named_error(shape, tiny):
    """Around the centre of the box, with and without a shared frame: no crash, and no motion beyond the limits."""
    small = scan(T1W, sagittal(shape[0], shape[1], 2.5, 4.4, CENTRE)[0], shape, seed=2)
    full = scan(T2W, *sagittal(), seed=1)
    fixed, moving = (small, full) if tiny == "t2w" else (full, small)
    near = align(fixed, moving, centre_mm=CENTRE, side_mm=SIDE)
    assert near.largest_motion_mm <= 10
    with suppress(RegistrationError):
        far = align(fixed, replace(moving, frame_of_reference=""), centre_mm=CENTRE, side_mm=SIDE)
        assert far.largest_motion_mm < 80


def test_thin_coverage_keeps_geometry(t2w):
    few = scan(T1W, *sagittal(2, middle=(2.0, 0, 0)), MOTIONS[1], seed=2)
    found = align(t2w, few, centre_mm=CENTRE, side_mm=SIDE)
    assert found.method == "geometry"
    assert "covers" in found.reason


# --- without a shared frame of reference


FRAMES = [("a", "b", False), ("", "", True), ("a", "", True), ("", "b", True)]


@pytest.mark.parametrize(("one", "other", "unknown"), FRAMES)
def test_a_wide_shift_is_found_without_a_shared_frame(t2w, one, other, unknown):
    truth = motion([4, -20, 33], [3, 1, -2])
    t1w = scan(T1W, *sagittal(15), truth, seed=2, frame=other)
    found = align(replace(t2w, frame_of_reference=one), t1w, centre_mm=CENTRE, side_mm=SIDE)
    assert error_mm(found, truth) < 0.6
    assert not found.same_frame_of_reference
    assert ("as far as their headers state" in found.reason) == unknown
    assert "the two series do not share a frame of reference" in found.reason


@pytest.mark.parametrize("shift", [[0, 0, 67], [0, -36, 0], [0, 0, 100], [26, 0, 0]])
def test_a_shift_beyond_the_search_is_refused_by_name(t2w, shift):
    t1w = scan(T1W, *sagittal(13, 80, 3.0), motion(shift), seed=2, frame="b")
    with pytest.raises(RegistrationError, match="do not share a frame of reference and no unambiguous alignment"):
        align(t2w, t1w, centre_mm=CENTRE, side_mm=SIDE)


def test_a_spine_that_repeats_itself_is_ambiguous():
    """With nothing but equal vertebrae, 32 mm apart, no position is better than the next."""
    period = np.tile(TISSUE[:, :, :16], (1, 1, 10))[:, :, :160]
    pair = [
        scan(brightness, *sagittal(), seed=seed, frame=frame, tissue=period)
        for brightness, seed, frame in ((T2W, 1, "a"), (T1W, 2, "b"))
    ]
    with pytest.raises(RegistrationError, match=r"a position \d+ mm from the best one fits \d+% as well"):
        align(*pair, centre_mm=CENTRE, side_mm=SIDE)
    # With a shared frame the same pair is not ambiguous: DICOM geometry selects the vertebra.
    near = align(pair[0], replace(pair[1], frame_of_reference="a"), centre_mm=CENTRE, side_mm=SIDE)
    assert error_mm(near, np.eye(4)) < 0.5


def test_another_patient_is_refused(t2w):
    other = scan(T1W, *sagittal(), seed=2, frame="b", tissue=TISSUE[::-1, ::-1].copy())
    with pytest.raises(RegistrationError, match="no unambiguous alignment"):
        align(t2w, other, centre_mm=CENTRE, side_mm=SIDE)


def test_geometry_of_different_frames_is_never_trusted(t2w):
    with pytest.raises(RegistrationError, match="so their headers cannot align them"):
        align(t2w, replace(t2w, frame_of_reference="b"), centre_mm=CENTRE, side_mm=SIDE, method="geometry")


def test_geometry_of_an_unknown_frame_is_trusted_only_on_request(t2w):
    found = align(t2w, replace(t2w, frame_of_reference=""), centre_mm=CENTRE, side_mm=SIDE, method="geometry")
    assert not found.same_frame_of_reference
    assert "unknown" in found.reason


# --- faults


@pytest.mark.parametrize("frame", ["a", "b"])
def test_volumes_that_do_not_overlap_are_refused(t2w, frame):
    away = scan(T1W, *sagittal(middle=(0, 900.0, 0)), frame=frame)
    with pytest.raises(RegistrationError, match="overlap"):
        align(t2w, away, centre_mm=CENTRE, side_mm=SIDE)


def test_a_box_outside_either_volume_is_refused(t2w):
    with pytest.raises(RegistrationError, match="outside the T2W volume"):
        align(t2w, t2w, centre_mm=[0, 400, 0], side_mm=SIDE)
    above = scan(T1W, *sagittal(middle=(0, 0, 140.0)))
    with pytest.raises(RegistrationError, match="outside the T1W volume"):
        align(t2w, above, centre_mm=CENTRE, side_mm=SIDE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "elastic"}, "geometry, rigid, affine"),
        ({"side_mm": 0}, "side is 0"),
        ({"side_mm": np.nan}, "side is nan"),
        ({"centre_mm": [0, 0]}, "three finite numbers"),
        ({"centre_mm": [0, 0, np.inf]}, "three finite numbers"),
    ],
)
def test_bad_arguments_are_named(t2w, changes, words):
    with pytest.raises(RegistrationError, match=words):
        align(t2w, t2w, **{"centre_mm": CENTRE, "side_mm": SIDE, **changes})


# --- the value


def plain(matrix, method="rigid"):
    return Alignment(matrix, method, 0.1, 0.2, 1.0, 1.0, True, "for a test")


def test_apply_maps_points_of_any_shape():
    truth = motion([1, 2, 3], [10, 20, 30])
    points = np.random.default_rng(1).normal(size=(2, 5, 3))
    mapped = plain(truth).apply(points)
    assert mapped.shape == (2, 5, 3)
    np.testing.assert_allclose(plain(np.linalg.inv(truth)).apply(mapped), points, atol=1e-12)


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 4)), np.eye(3), np.diag([1.0, 1, 0, 1]), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan)],
)
def test_a_map_that_cannot_be_inverted_is_refused(matrix):
    with pytest.raises(RegistrationError):
        plain(matrix)


def test_an_alignment_cannot_be_changed():
    alignment = plain(np.eye(4))
    with pytest.raises(FrozenInstanceError):
        alignment.method = "affine"
    with pytest.raises(ValueError, match="read-only"):
        alignment.matrix[0, 0] = 2
    with pytest.raises(RegistrationError, match="method"):
        plain(np.eye(4), "elastic")
