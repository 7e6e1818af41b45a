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

from spinefx.imaging.similarity import BINS, Comparison, View

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
    """A map, how similar it makes the volumes, and what was seen to tell."""

    matrix: NDArray[np.float64]
    value: float
    view: View
    place: NDArray[np.intp]  # of each voxel's lower bin in the flat histogram
    share: NDArray[np.float32]  # of its brightness that belongs to the next bin
    joint: NDArray[np.float64]  # (fixed bin, moving bin), sums to 1


@dataclass(frozen=True, eq=False)
class _Slope:
    """What stays the same during a climb."""

    comparison: Comparison
    centre_mm: NDArray[np.float64]
    fixed_rows: NDArray[np.intp]  # where the row of each voxel's fixed brightness starts in the flat histogram
    arms: tuple[NDArray[np.float32], ...]  # from the centre along slices, rows and columns, in units of ARM_MM

    @classmethod
    def of(cls, comparison: Comparison, centre_mm: NDArray[np.float64]) -> _Slope:
        fixed = comparison.fixed
        rows = np.rint(fixed.array * (BINS - 1)).astype(np.intp) * BINS
        lattice = np.ogrid[tuple(slice(extent) for extent in fixed.shape)]
        arms = tuple(
            ((index - centre) * spacing_mm / ARM_MM).astype(np.float32)
            for index, centre, spacing_mm in zip(lattice, fixed.to_index(centre_mm), fixed.spacing_mm, strict=True)
        )
        return cls(comparison, centre_mm, rows, arms)

    def stand(self, matrix: NDArray[np.float64]) -> _Stand | None:
        """Look around under a map; None where too little of the region is covered."""
        view = self.comparison.look(matrix)
        if view.covered.mean() < LEAST_COVERAGE:
            return None
        moved = view.brightness * np.float32(BINS - 1)
        low = np.minimum(moved.astype(np.intp), BINS - 2)
        place, share = self.fixed_rows + low, (moved - low).astype(np.float32)
        joint = _smooth_histogram(place[view.covered], share[view.covered])
        apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        return _Stand(matrix, float(np.sum(joint * np.log(joint / apart))), view, place, share, joint)

    def step(self, here: _Stand, method: str) -> NDArray[np.float64]:
        """The change that promises most: turns or stretches, then shifts, millimetres along slices, rows, columns."""
        log_rate = np.gradient(np.log(here.joint / here.joint.sum(axis=0)), axis=1).astype(np.float32).reshape(-1)
        lower = log_rate.take(here.place)
        pull = lower + here.share * (log_rate.take(here.place + 1) - lower)
        pull *= here.view.covered * np.float32(BINS - 1)
        # Turned into the region's axes, where the arms stay what they are from step to step.
        along = [slope * pull for slope in here.view.slopes]
        turn = self.comparison.to_index(here.matrix)[:3, :3] / self.comparison.fixed.spacing_mm
        force = [along[0] * by[0] + along[1] * by[1] + along[2] * by[2] for by in turn.T.astype(np.float32)]
        if method == "rigid":
            lever = [self.arms[i] * force[j] - self.arms[j] * force[i] for i, j in ((1, 2), (2, 0), (0, 1))]
        else:
            lever = [along * arm for along in force for arm in self.arms]
        effect = np.stack([*lever, *force]).reshape(len(lever) + 3, -1)
        # Not by a matrix product, which sums in an order that follows the number of cores.
        information = np.einsum("in,jn->ij", effect, effect).astype(np.float64)
        information += DAMPING * np.diag(np.diag(information))
        step: NDArray[np.float64] = np.linalg.lstsq(information, effect.sum(axis=1, dtype=np.float64), rcond=None)[0]
        return step

    def moved(self, matrix: NDArray[np.float64], step: NDArray[np.float64], method: str) -> NDArray[np.float64]:
        """A map that is preceded by a step about the centre."""
        axes = self.comparison.fixed.directions
        if method == "rigid":
            # Slices, rows and columns may be a left-handed set of axes: there a turn has the other sense.
            turn = np.linalg.det(axes) * axes @ step[:3]
            linear = Rotation.from_rotvec(turn / ARM_MM).as_matrix()
        else:
            linear = np.eye(3) + axes @ step[:9].reshape(3, 3) @ axes.T / ARM_MM
        change = np.eye(4)
        change[:3, :3] = linear
        change[:3, 3] = self.centre_mm - linear @ self.centre_mm + axes @ step[-3:]
        changed: NDArray[np.float64] = matrix @ change
        return changed


def _smooth_histogram(place: NDArray[np.intp], share: NDArray[np.float32]) -> NDArray[np.float64]:
    """Joint histogram from the flat place of each pair's lower bin and the share that belongs to the next."""
    size = BINS * BINS
    counts = np.bincount(place, 1 - share, size) + np.bincount(place + 1, share, size)
    blurred = ndimage.gaussian_filter(counts.reshape(BINS, BINS), HISTOGRAM_BLUR_BINS, mode="constant")
    joint: NDArray[np.float64] = blurred / blurred.sum() + EMPTY_BIN_WEIGHT
    joint /= joint.sum()
    return joint
