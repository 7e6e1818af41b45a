"""Climb mutual information from one map of a volume onto another to the nearest summit.

Fisher scoring: ten or twenty steps, each of which raises the similarity or is not taken. A gradient method with a step
of its own (SimpleITK's regular-step descent was measured) does not look back, and on a spine it walked off by tens of
millimetres from starts where this one arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from spinefx.imaging.similarity import BINS, Comparison, map_points

__all__ = ["climb"]

MOST_STEPS = 30
LONGEST_STEP_MM = 4.0
SHORTEST_STEP_MM = 0.02
ARM_MM = 50.0  # turns and stretches are counted in millimetres at this distance from the centre
LEAST_RISE_NATS = 1e-5  # less is rounding: without it a flat image would be climbed
DAMPING = 1e-3
LEAST_COVERAGE = 0.25
HISTOGRAM_BLUR_BINS = 1.0
EMPTY_BIN_WEIGHT = 1e-9


def climb(
    comparison: Comparison, start: NDArray[np.float64], *, centre_mm: NDArray[np.float64], method: str
) -> NDArray[np.float64]:
    """Refine a map by mutual information.

    Parameters
    ----------
    comparison : Comparison
        The region and the moving volume.
    start : ndarray of float64, shape (4, 4)
        Maps the region's millimetres to the moving volume's.
    centre_mm : ndarray of float64, shape (3,)
        What turns and stretches keep in place, in the region's frame.
    method : {'rigid', 'affine'}
        What may change: six numbers, or twelve.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        A map at least as similar as ``start``; ``start`` itself where nothing can be gained or too little is covered.

    Notes
    -----
    With p the smoothed joint histogram of fixed brightness f and moving brightness m, each voxel pulls by
    psi = d/dm log p(f, m) / p(m) along the moving gradient; J is what a parameter does to m at each voxel. The step
    solves (sum psi^2 J J') d = sum psi J, Levenberg damped, and is halved until similarity rises. Deterministic.
    """
    slope = _Slope.of(comparison, centre_mm)
    here = slope.stand(start)
    if here is None:
        return start
    for _ in range(MOST_STEPS):
        step = slope.step(here, method)
        length_mm = float(np.abs(step).max())
        if length_mm > LONGEST_STEP_MM:
            step, length_mm = step * (LONGEST_STEP_MM / length_mm), LONGEST_STEP_MM
        reached = None
        while length_mm >= SHORTEST_STEP_MM:
            tried = slope.stand(slope.moved(here.matrix, step, method))
            if tried is not None and tried.value > here.value + LEAST_RISE_NATS:
                reached = tried
                break
            step, length_mm = step / 2, length_mm / 2
        if reached is None:
            break
        here = reached
    return here.matrix


@dataclass(frozen=True, eq=False)
class _Stand:
    """A map, how similar it makes the volumes, and what was sampled to tell."""

    matrix: NDArray[np.float64]
    value: float
    covered: NDArray[np.bool_]
    index: NDArray[np.float64]  # (3, n) in the moving volume
    moved: NDArray[np.float64]  # (n,) moving brightness in bins
    joint: NDArray[np.float64]  # (fixed bin, moving bin), sums to 1


@dataclass(frozen=True, eq=False)
class _Slope:
    """What stays the same during a climb."""

    comparison: Comparison
    centre_mm: NDArray[np.float64]
    fixed_bins: NDArray[np.intp]
    moving_bins: NDArray[np.float32]
    gradients: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, comparison: Comparison, centre_mm: NDArray[np.float64]) -> _Slope:
        fixed = np.rint(comparison.fixed.array.reshape(-1) * (BINS - 1)).astype(np.intp)
        moving = comparison.moving.array * np.float32(BINS - 1)
        gradients = tuple(
            np.gradient(moving, axis=axis) if moving.shape[axis] > 1 else np.zeros_like(moving) for axis in range(3)
        )
        return cls(comparison, centre_mm, fixed, moving, gradients)

    def stand(self, matrix: NDArray[np.float64]) -> _Stand | None:
        """Look around under a map; None where too little of the region is covered."""
        moving = self.comparison.moving
        index = np.ascontiguousarray(moving.to_index(map_points(matrix, self.comparison.points_mm)).T)
        edge = np.array(moving.shape)[:, None] - 0.5
        covered = np.all((index >= -0.5) & (index <= edge), axis=0)
        if covered.mean() < LEAST_COVERAGE:
            return None
        index = index[:, covered]
        moved = ndimage.map_coordinates(self.moving_bins, index, order=1, mode="nearest", output=np.float64)
        joint = _smooth_histogram(self.fixed_bins[covered], moved)
        apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        return _Stand(matrix, float(np.sum(joint * np.log(joint / apart))), covered, index, moved, joint)

    def step(self, here: _Stand, method: str) -> NDArray[np.float64]:
        """The change that promises most: turns or stretches, then shifts, millimetres."""
        log_rate = np.gradient(np.log(here.joint / here.joint.sum(axis=0)), axis=1)
        low, share = _split(here.moved)
        fixed = self.fixed_bins[here.covered]
        pull = log_rate[fixed, low] * (1 - share) + log_rate[fixed, low + 1] * share
        along = [ndimage.map_coordinates(axis, here.index, order=1, mode="nearest") for axis in self.gradients]
        to_index = np.linalg.inv(self.comparison.moving.affine)[:3, :3]
        force = (np.stack(along, axis=1) @ to_index) * pull[:, None]
        points_mm = map_points(here.matrix, self.comparison.points_mm[here.covered])
        arm = (points_mm - map_points(here.matrix, self.centre_mm)) / ARM_MM
        turns, stretches = np.cross(arm, force), force[:, :, None] * arm[:, None, :]
        lever = turns if method == "rigid" else stretches.reshape(-1, 9)
        effect = np.concatenate([lever, force], axis=1)
        information = np.einsum("ni,nj->ij", effect, effect)  # summed in one order, on however many cores
        information += DAMPING * np.diag(np.diag(information))
        step: NDArray[np.float64] = np.linalg.lstsq(information, effect.sum(axis=0), rcond=None)[0]
        return step

    def moved(self, matrix: NDArray[np.float64], step: NDArray[np.float64], method: str) -> NDArray[np.float64]:
        """A map changed by a step about where it puts the centre."""
        if method == "rigid":
            linear = Rotation.from_rotvec(step[:3] / ARM_MM).as_matrix()
        else:
            linear = np.eye(3) + step[:9].reshape(3, 3) / ARM_MM
        centre = map_points(matrix, self.centre_mm)
        change = np.eye(4)
        change[:3, :3] = linear
        change[:3, 3] = centre - linear @ centre + step[-3:]
        changed: NDArray[np.float64] = change @ matrix
        return changed


def _split(moved: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The bin below each brightness, and the share of it that belongs to the next bin."""
    low = np.minimum(moved.astype(np.intp), BINS - 2)
    return low, moved - low


def _smooth_histogram(fixed: NDArray[np.intp], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    low, share = _split(moved)
    place, size = fixed * BINS + low, BINS * BINS
    counts = np.bincount(place, 1 - share, size) + np.bincount(place + 1, share, size)
    blurred = ndimage.gaussian_filter(counts.reshape(BINS, BINS), HISTOGRAM_BLUR_BINS, mode="constant")
    joint: NDArray[np.float64] = blurred / blurred.sum() + EMPTY_BIN_WEIGHT
    joint /= joint.sum()
    return joint
