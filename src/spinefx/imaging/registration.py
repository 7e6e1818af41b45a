"""Register a T1W series to its T2W series: DICOM geometry first, then mutual information, accepted only within limits.

Two series of one visit share a frame of reference, so their headers agree up to the patient's motion in between: the
search starts there, stays near, and falls back to it. Two series without a common frame may lie anywhere, and a spine
resembles itself one vertebra further on: there the search is wide, and an alignment is accepted only when no other
position fits nearly as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from spinefx.errors import RegistrationError
from spinefx.imaging.optimizer import maximise_similarity
from spinefx.imaging.similarity import Comparison, map_points
from spinefx.imaging.simpleitk import register_rigid
from spinefx.imaging.volume import Slices, Volume

__all__ = ["METHODS", "Alignment", "align"]

METHODS = ("geometry", "rigid", "affine", "simpleitk")

MOTION_LIMIT_MM = 10.0
ROTATION_LIMIT_DEG = 10.0
STRETCH_LIMIT = 0.1

REFINEMENT_WIDTH_MM = 160.0
# Pixel size, and the step between compared pixels. Coarse pixels bring the start near; fine ones settle and judge it,
# because large pixels mix fat with its neighbours. A share of the fine pixels suffices: size matters, not number.
REFINEMENT_LEVELS = ((5.0, 1), (1.2, 4))
SIMPLEITK_LEVELS = ((1.2, 1),)  # SimpleITK samples a share of the voxels itself
LEAST_COVERAGE = 0.25
# How far beyond a lesion's slices voxels are compared, at least one slice: what its patches show, and room to move.
# Farther slices moved differently: with all 13 to 15 the in-plane error was 0.17 mm, with these 0.13 mm (phantom).
NEIGHBOURHOOD_MM = 4.0

# The wide search: with the skin, the canal and a dozen vertebrae in view, no vertebra is mistaken for its neighbour.
SEARCH_WIDTH_MM = 220.0
SEARCH_PIXEL_MM = 5.0
SEARCH_LIMIT_MM = (20.0, 60.0, 30.0)  # along slices, rows and columns: a farther alignment is refused
SEARCH_REACH_MM = (16.0, 70.0, 40.0)  # in plane beyond the limits, so that a better position outside them is noticed
SEARCH_LEAST_COVERAGE = 0.5
SEARCH_STARTS = 4
DISTINCT_MM = 10.0  # optima farther apart than this are different answers: about half a segment of the upper spine
AMBIGUOUS_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class Alignment:
    """The map from positions in the T2W volume to positions in the T1W volume.

    Parameters
    ----------
    matrix : ndarray of float64, shape (4, 4)
        Maps T2W (left, posterior, superior, 1) to T1W, millimetres; invertible; made read-only.
    method : {'geometry', 'rigid', 'affine'}
        What was accepted, which may be less than what was requested.
    similarity_before, similarity_after : float
        Mutual information under DICOM geometry alone and under ``matrix``, nats, over the same voxels.
    largest_motion_mm : float
        Largest displacement of a corner of the box, millimetres.
    rotation_deg : float
        Rotation angle of the map, degrees.
    same_frame_of_reference : bool
        Whether both series state the same frame of reference.
    reason : str
        What was done and why, one line.

    Raises
    ------
    RegistrationError
        For a matrix that is not finite or cannot be inverted, or an unknown method.
    """

    matrix: NDArray[np.float64]
    method: str
    similarity_before: float
    similarity_after: float
    largest_motion_mm: float
    rotation_deg: float
    same_frame_of_reference: bool
    reason: str

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise RegistrationError("invalid alignment matrix", allowed="a finite 4 x 4 matrix with last row 0 0 0 1")
        if np.linalg.det(matrix[:3, :3]) <= 1e-6:
            raise RegistrationError(
                "the alignment matrix mirrors or flattens space", allowed="a matrix with a positive determinant"
            )
        _check_method(self.method)
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def apply(self, position_mm: ArrayLike) -> NDArray[np.float64]:
        """Map positions in the T2W volume to the T1W volume.

        Parameters
        ----------
        position_mm : array_like, shape (..., 3)
            LPS, millimetres.

        Returns
        -------
        ndarray of float64, shape (..., 3)
            LPS, millimetres.
        """
        return map_points(self.matrix, position_mm)


def align(
    fixed: Slices,
    moving: Slices,
    *,
    centre_mm: ArrayLike,
    side_mm: float,
    method: str = "rigid",
    lesion_slices: tuple[int, int] | None = None,
) -> Alignment:
    """Register the T1W volume to a box of the T2W volume.

    Parameters
    ----------
    fixed : Slices
        T2W.
    moving : Slices
        T1W. Its matrix, spacing, slice positions and number of slices may differ.
    centre_mm : array_like, shape (3,)
        Centre of the box in the T2W volume, LPS, millimetres.
    side_mm : float
        Side of the box, millimetres.
    method : {'rigid', 'affine', 'simpleitk', 'geometry'}
        The most flexible map to accept. ``affine`` falls back to ``rigid``, and ``rigid`` to ``geometry``. ``geometry``
        trusts the headers of series whose frame of reference is unknown, but never those of different frames.
        ``simpleitk`` is rigid, found by SimpleITK instead of our own search and accepted by the same rules; it needs a
        shared frame of reference.
    lesion_slices : tuple of int, optional
        First and last T2W slice of the lesion. Within a shared frame of reference only these, their neighbours and the
        T1W slices beside them are then read and compared. By default, in a wide search, and by SimpleITK, all are.

    Returns
    -------
    Alignment
        With a shared frame of reference: at most 10 mm (at the centre of the box) and 10 degrees from DICOM geometry
        and of higher similarity, or DICOM geometry itself. Without: within 20, 60 and 30 mm along slices, rows and
        columns.

    Raises
    ------
    FileError, GeometryError
        When slices that have not been read yet cannot be read.
    RegistrationError
        When the box or the two volumes do not overlap, when the series share no frame of reference and no unambiguous
        alignment is found, or when ``simpleitk`` is requested and SimpleITK is not installed.

    Notes
    -----
    The result is deterministic: nothing is sampled at random. It is less precise across slices than within them,
    because slices are about 4 mm thick.
    """
    _check_method(method)
    box = _Box.at(centre_mm, side_mm)
    if not fixed.contains(box.centre_mm):
        raise RegistrationError("the centre of the box lies outside the T2W volume")
    shared = bool(fixed.frame_of_reference) and fixed.frame_of_reference == moving.frame_of_reference
    differs = not shared and bool(fixed.frame_of_reference) and bool(moving.frame_of_reference)
    if method == "geometry" and differs:
        raise RegistrationError(f"{_UNSHARED}, so their headers cannot align them", remedy="Use method 'rigid'.")
    if method == "simpleitk" and not shared:
        raise RegistrationError(f"{_UNSHARED}, which SimpleITK needs as its start", remedy="Use method 'rigid'.")
    wanted = SIMPLEITK_LEVELS if method == "simpleitk" else REFINEMENT_LEVELS
    near = shared or method == "geometry"
    if near and lesion_slices is not None and method != "simpleitk":
        pair = _beside(fixed, moving, box, lesion_slices)
    else:
        pair = fixed.whole(), moving.whole()
    levels = tuple(_Scene.of(*pair, moving, box, REFINEMENT_WIDTH_MM, *level) for level in wanted)
    if near:
        return _align_near(levels, method, shared)
    wide = _Scene.of(*pair, moving, box, SEARCH_WIDTH_MM, SEARCH_PIXEL_MM)
    return _align_far(wide, levels, method, differs)


def _beside(fixed: Slices, moving: Slices, box: _Box, lesion_slices: tuple[int, int]) -> tuple[Volume, Volume]:
    """Return the slices that a lesion's patches show, and the moving volume's slices at the same header positions."""
    reach = max(1, round(NEIGHBOURHOOD_MM / fixed.spacing_mm[0]))
    first, last = max(0, lesion_slices[0] - reach), min(lesion_slices[1] + reach, fixed.shape[0] - 1)
    corners = fixed.to_index(_Box(box.centre_mm, REFINEMENT_WIDTH_MM).corners_mm(fixed))
    ends = np.concatenate([corners, corners])
    ends[:, 0] = np.repeat((first, last), len(corners))
    reached = moving.to_index(fixed.to_mm(ends))[:, 0]
    room = max(1.0, NEIGHBOURHOOD_MM / moving.spacing_mm[0])
    return fixed.slab(first, last), moving.slab(round(reached.min() - room), round(reached.max() + room))


_UNSHARED = "the two series do not share a frame of reference"


@dataclass(frozen=True, eq=False)
class _Box:
    """The square to align."""

    centre_mm: NDArray[np.float64]
    side_mm: float

    @classmethod
    def at(cls, centre_mm: ArrayLike, side_mm: float) -> _Box:
        centre = np.asarray(centre_mm, dtype=np.float64)
        if centre.shape != (3,) or not np.isfinite(centre).all():
            raise RegistrationError(
                f"the box centre has shape {centre.shape} or is not finite", allowed="three finite numbers, mm"
            )
        if not (np.isfinite(side_mm) and side_mm > 0):
            raise RegistrationError(f"the box side is {side_mm} mm", allowed="above 0")
        return cls(centre, float(side_mm))

    def corners_mm(self, volume: Slices) -> NDArray[np.float64]:
        """The four corners within the slice, shape (4, 3)."""
        signs = np.array(list(product((-0.5, 0.5), repeat=2)))
        corners: NDArray[np.float64] = self.centre_mm + self.side_mm * signs @ volume.directions[:, 1:].T
        return corners


@dataclass(frozen=True, eq=False)
class _Scene:
    """The box and the region around it, at one pixel size, on which alignments are found and judged."""

    box: _Box
    comparison: Comparison
    stack: Slices  # the moving volume, of which some slices are compared

    @classmethod
    def of(
        cls,
        fixed: Volume,
        moving: Volume,
        stack: Slices,
        box: _Box,
        width_mm: float,
        pixel_mm: float,
        every: int = 1,
    ) -> _Scene:
        comparison = Comparison.around(
            fixed, moving, centre_mm=box.centre_mm, width_mm=width_mm, pixel_mm=pixel_mm, every=every
        )
        return cls(box, comparison, stack)

    def refine(self, start: NDArray[np.float64], method: str) -> NDArray[np.float64]:
        """Return the local maximum of mutual information nearest to a map."""
        if method == "simpleitk":
            return register_rigid(self.comparison.fixed, self.comparison.moving, start, centre_mm=self.box.centre_mm)
        return maximise_similarity(self.comparison, start, centre_mm=self.box.centre_mm, method=method)

    def contains_centre(self, matrix: NDArray[np.float64]) -> bool:
        """Whether a map brings the centre of the box inside the moving volume."""
        return bool(self.stack.contains(map_points(matrix, self.box.centre_mm)))

    def motion(self, matrix: NDArray[np.float64], origin: NDArray[np.float64]) -> tuple[float, float]:
        """Largest displacement of a corner of the box relative to another map, mm, and relative rotation, degrees."""
        corners = self.box.corners_mm(self.comparison.fixed)
        displacement = map_points(matrix, corners) - map_points(origin, corners)
        left, _, right = np.linalg.svd(matrix[:3, :3] @ np.linalg.inv(origin[:3, :3]))
        cosine = (np.trace(left @ right) - 1) / 2  # of the nearest rotation, by polar decomposition
        return float(np.linalg.norm(displacement, axis=1).max()), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def compare(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
        """Similarity under two maps, over the voxels that both map into the moving volume."""
        within = self.comparison.covered(first) & self.comparison.covered(second)
        return self.comparison.similarity(first, within=within), self.comparison.similarity(second, within=within)

    def score(self, matrix: NDArray[np.float64]) -> float:
        """Similarity under one map, over the voxels that it covers; 0 where these are too few."""
        within = self.comparison.covered(matrix)
        return self.comparison.similarity(matrix, within=within) if within.mean() >= SEARCH_LEAST_COVERAGE else 0.0


def _align_near(levels: tuple[_Scene, ...], method: str, shared: bool) -> Alignment:
    """Start at DICOM geometry and stay near it."""
    scene, geometry = levels[-1], np.eye(4)
    coverage = float(scene.comparison.covered(geometry).mean())
    if coverage == 0:
        raise RegistrationError("the T1W volume does not overlap the T2W volume around the box")
    if not scene.contains_centre(geometry):
        raise RegistrationError("the centre of the box lies outside the T1W volume")
    if method == "geometry":
        trust = "" if shared else "; the frame of reference is unknown, and the headers were trusted as requested"
        return _report(scene, geometry, "geometry", shared, [f"DICOM geometry alone, as requested{trust}"])
    if coverage < LEAST_COVERAGE:
        note = f"DICOM geometry alone: the T1W volume covers {coverage:.0%} of the region around the box"
        return _report(scene, geometry, "geometry", shared, [note])
    if method == "simpleitk":
        matrix, reached, notes = _refine_stepwise(levels, geometry, geometry, "geometry", (method,))
        if reached == method:
            reached, notes = "rigid", ["found by SimpleITK"]
    else:
        steps = METHODS[1 : METHODS.index(method) + 1]
        matrix, reached, notes = _refine_stepwise(levels, geometry, geometry, "geometry", steps)
    return _report(scene, matrix, reached, shared, notes)


def _refine_stepwise(
    levels: tuple[_Scene, ...],
    origin: NDArray[np.float64],
    start: NDArray[np.float64],
    reached: str,
    steps: tuple[str, ...],
) -> tuple[NDArray[np.float64], str, list[str]]:
    """Refine a map step by step as far as the results are acceptable; the limits count from ``origin``."""
    matrix = start
    for step in steps:
        found = _refine_over_levels(levels, matrix, step)
        objection = _objection(levels[-1], origin, matrix, found)
        if objection:
            kept = "DICOM geometry alone" if reached == "geometry" else f"{reached} kept"
            return matrix, reached, [f"{kept}: the {step} refinement {objection}"]
        matrix, reached = found, step
    return matrix, reached, []


def _refine_over_levels(levels: tuple[_Scene, ...], start: NDArray[np.float64], step: str) -> NDArray[np.float64]:
    matrix = start
    for level in levels:
        matrix = level.refine(matrix, step)
    return matrix


def _objection(
    scene: _Scene, origin: NDArray[np.float64], start: NDArray[np.float64], found: NDArray[np.float64]
) -> str:
    """Return why a refined map must not replace its start; empty where it may."""
    _, rotation_deg = scene.motion(found, origin)
    centre_mm = scene.box.centre_mm  # corners also move by rotation, which has its own limit
    shift_mm = float(np.linalg.norm(map_points(found, centre_mm) - map_points(origin, centre_mm)))
    if shift_mm > MOTION_LIMIT_MM:
        return f"moved the box by {shift_mm:.1f} mm, allowed {MOTION_LIMIT_MM:.0f}"
    if rotation_deg > ROTATION_LIMIT_DEG:
        return f"rotated the box by {rotation_deg:.1f} degrees, allowed {ROTATION_LIMIT_DEG:.0f}"
    stretch = float(np.abs(np.linalg.svd(found[:3, :3], compute_uv=False) - 1).max())
    if stretch > STRETCH_LIMIT:
        return f"stretched the box by {stretch:.0%}, allowed {STRETCH_LIMIT:.0%}"
    if not scene.contains_centre(found):
        return "moved the centre of the box outside the T1W volume"
    before, after = scene.compare(start, found)
    if after <= before:
        return f"did not raise mutual information ({before:.3f} to {after:.3f} nats)"
    return ""


def _align_far(wide: _Scene, levels: tuple[_Scene, ...], method: str, differs: bool) -> Alignment:
    """Search widely, without trust in the headers, and accept only a position that is clearly the best."""
    unshared = _UNSHARED if differs else f"{_UNSHARED} as far as their headers state"
    optima = _optima(wide)
    if not optima:
        raise _refusal(unshared, "they overlap and resemble each other nowhere within the search range")
    best, centre_mm = optima[0], wide.box.centre_mm
    share, distance_mm = _strongest_rival(optima, centre_mm)
    if share > AMBIGUOUS_SHARE:
        raise _refusal(unshared, f"a position {distance_mm:.0f} mm from the best one fits {share:.0%} as well")
    scene = levels[-1]
    found = scene.refine(best.matrix, "rigid")
    shift_mm = map_points(found, centre_mm) - centre_mm
    along_mm = np.abs(shift_mm @ wide.comparison.fixed.directions)
    if (along_mm > SEARCH_LIMIT_MM).any():
        lies, allowed = (" x ".join(f"{step:.0f}" for step in steps) for steps in (along_mm, SEARCH_LIMIT_MM))
        raise _refusal(unshared, f"the best position lies {lies} mm away, allowed {allowed}")
    # The shift was checked above; the remaining motion must be as small as between series of one frame.
    shifted = np.eye(4)
    shifted[:3, 3] = shift_mm
    objection = _objection(scene, shifted, best.start, found)
    if objection:
        raise _refusal(unshared, f"the rigid refinement of the best position {objection}")
    steps = ("affine",) if method == "affine" else ()
    matrix, reached, notes = _refine_stepwise(levels, shifted, found, "rigid", steps)
    rival = f"the next position fits {share:.0%} as well" if share else "no other position comes near"
    return _report(scene, matrix, reached, False, [f"{unshared}: found by a wide search, {rival}", *notes])


def _refusal(unshared: str, why: str) -> RegistrationError:
    return RegistrationError(
        f"{unshared} and no unambiguous alignment was found: {why}", remedy="Choose two series of one visit."
    )


@dataclass(frozen=True, eq=False)
class _Optimum:
    """A position of the wide search where the volumes resemble each other."""

    start: NDArray[np.float64]  # the translation that the search tried
    matrix: NDArray[np.float64]  # its refinement
    score: float


def _optima(wide: _Scene) -> list[_Optimum]:
    """Return the positions of high similarity, refined, best first."""
    scores, shifts_mm = wide.comparison.translation_scores(SEARCH_REACH_MM, least_coverage=SEARCH_LEAST_COVERAGE)
    # Positions a few slices apart count as one: peaks are separated in plane.
    flat = scores.max(axis=0)
    peaks = np.argwhere((flat == ndimage.maximum_filter(flat, size=3, mode="nearest")) & (flat > flat.max() / 2))
    optima = []
    for row, column in sorted(peaks.tolist(), key=lambda peak: -flat[tuple(peak)])[:SEARCH_STARTS]:
        start = np.eye(4)
        start[:3, 3] = shifts_mm[scores[:, row, column].argmax(), row, column]
        matrix = wide.refine(start, "rigid")
        optima.append(_Optimum(start, matrix, max(float(flat[row, column]), wide.score(matrix))))
    return sorted(optima, key=lambda optimum: -optimum.score)


def _strongest_rival(optima: list[_Optimum], centre_mm: NDArray[np.float64]) -> tuple[float, float]:
    """Score of the best other position as a share of the best, and its distance, mm; zeros without one."""
    place_mm = map_points(optima[0].matrix, centre_mm)
    for rival in optima[1:]:
        distance_mm = float(np.linalg.norm(map_points(rival.matrix, centre_mm) - place_mm))
        if distance_mm > DISTINCT_MM:
            return rival.score / optima[0].score, distance_mm
    return 0.0, 0.0


def _report(scene: _Scene, matrix: NDArray[np.float64], reached: str, shared: bool, notes: list[str]) -> Alignment:
    geometry = np.eye(4)
    before, after = scene.compare(geometry, matrix)
    motion_mm, rotation_deg = scene.motion(matrix, geometry)
    if reached != "geometry":
        done = (
            f"{reached} refinement by mutual information, {before:.3f} to {after:.3f} nats; "
            f"the box moved by {motion_mm:.1f} mm and {rotation_deg:.1f} degrees"
        )
        notes = [done, *notes]
    return Alignment(matrix, reached, before, after, motion_mm, rotation_deg, shared, "; ".join(notes))


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise RegistrationError(f"unknown registration method {method!r}", allowed=", ".join(METHODS))
