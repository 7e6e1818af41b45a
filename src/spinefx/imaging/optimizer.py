"""Maximise mutual information over rigid or affine maps, from a start to the nearest local maximum.

Fisher scoring takes ten or twenty steps, each of which raises the similarity or is rejected. A gradient method with a
fixed step schedule (SimpleITK's regular-step descent was measured) never rejects a step, and on spines it diverged by
tens of millimetres from starts where this method converges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from spinefx.imaging.similarity import BINS, Comparison, Resampled

__all__ = ["maximise_similarity"]

MOST_STEPS = 30
LONGEST_STEP_MM = 4.0
SHORTEST_STEP_MM = 0.02
ARM_MM = 50.0  # rotations and stretches are expressed in millimetres at this distance from the centre
LEAST_RISE_NATS = 1e-5  # less is rounding error, which a flat image would otherwise accumulate
DAMPING = 1e-3
LEAST_COVERAGE = 0.25
HISTOGRAM_BLUR_BINS = 1.0
EMPTY_BIN_WEIGHT = 1e-9


def maximise_similarity(
    comparison: Comparison, start: NDArray[np.float64], *, centre_mm: NDArray[np.float64], method: str
) -> NDArray[np.float64]:
    """Refine a map to the nearest local maximum of mutual information.

    Parameters
    ----------
    comparison : Comparison
        The region and the moving volume.
    start : ndarray of float64, shape (4, 4)
        Maps the region's millimetres to the moving volume's.
    centre_mm : ndarray of float64, shape (3,)
        Fixed point of rotations and stretches, in the region's frame.
    method : {'rigid', 'affine'}
        Six or twelve degrees of freedom.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        A map of at least the similarity of ``start``; ``start`` itself where no step helps or too little is covered.

    Notes
    -----
    With p the smoothed joint histogram of fixed brightness f and moving brightness m, each voxel contributes
    psi = d/dm log p(f, m) / p(m) along the moving gradient; J is the derivative of m by a parameter at each voxel. The
    step d solves (sum psi^2 J J') d = sum psi J with Levenberg damping, and is halved until the similarity rises. The
    result is deterministic.
    """
    problem = _Problem.of(comparison, centre_mm)
    here = problem.evaluate(start)
    if here is None:
        return start
    for _ in range(MOST_STEPS):
        step = problem.step(here, method)
        length_mm = float(np.abs(step).max())
        if length_mm > LONGEST_STEP_MM:
            step, length_mm = step * (LONGEST_STEP_MM / length_mm), LONGEST_STEP_MM
        reached = None
        while length_mm >= SHORTEST_STEP_MM:
            tried = problem.evaluate(problem.moved(here.matrix, step, method))
            if tried is not None and tried.value > here.value + LEAST_RISE_NATS:
                reached = tried
                break
            step, length_mm = step / 2, length_mm / 2
        if reached is None:
            break
        here = reached
    return here.matrix


@dataclass(frozen=True, eq=False)
class _State:
    """A map, its similarity, and the quantities from which the next step follows."""

    matrix: NDArray[np.float64]
    value: float
    resampled: Resampled
    place: NDArray[np.intp]  # index of each voxel's lower bin in the flat histogram
    share: NDArray[np.float32]  # share of the voxel that belongs to the next bin
    joint: NDArray[np.float64]  # (fixed bin, moving bin), sums to 1


@dataclass(frozen=True, eq=False)
class _Problem:
    """The quantities that stay the same during the optimisation."""

    comparison: Comparison
    centre_mm: NDArray[np.float64]
    fixed_rows: NDArray[np.intp]  # start of each voxel's row, by its fixed brightness, in the flat histogram
    arms: tuple[NDArray[np.float32], ...]  # distance from the centre along slices, rows and columns, units of ARM_MM

    @classmethod
    def of(cls, comparison: Comparison, centre_mm: NDArray[np.float64]) -> _Problem:
        fixed = comparison.fixed
        rows = np.rint(fixed.array * (BINS - 1)).astype(np.intp) * BINS
        lattice = np.ogrid[tuple(slice(extent) for extent in fixed.shape)]
        arms = tuple(
            ((index - centre) * spacing_mm / ARM_MM).astype(np.float32)
            for index, centre, spacing_mm in zip(lattice, fixed.to_index(centre_mm), fixed.spacing_mm, strict=True)
        )
        return cls(comparison, centre_mm, rows, arms)

    def evaluate(self, matrix: NDArray[np.float64]) -> _State | None:
        """Evaluate a map; None where too little of the region is covered."""
        resampled = self.comparison.resample(matrix)
        if resampled.covered.mean() < LEAST_COVERAGE:
            return None
        moved = resampled.brightness * np.float32(BINS - 1)
        low = np.minimum(moved.astype(np.intp), BINS - 2)
        place, share = self.fixed_rows + low, (moved - low).astype(np.float32)
        joint = _smooth_histogram(place[resampled.covered], share[resampled.covered])
        apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        value = float(np.sum(joint * np.log(joint / apart)))
        return _State(matrix, value, resampled, place, share, joint)

    def step(self, here: _State, method: str) -> NDArray[np.float64]:
        """The scoring step: rotations or stretches, then shifts, millimetres along slices, rows and columns."""
        log_rate = np.gradient(np.log(here.joint / here.joint.sum(axis=0)), axis=1).astype(np.float32).reshape(-1)
        lower = log_rate.take(here.place)
        pull = lower + here.share * (log_rate.take(here.place + 1) - lower)
        pull *= here.resampled.covered * np.float32(BINS - 1)
        # Expressed along the region's axes, in which the arms are constant.
        along = [slope * pull for slope in here.resampled.slopes]
        turn = self.comparison.to_index(here.matrix)[:3, :3] / self.comparison.fixed.spacing_mm
        force = [along[0] * by[0] + along[1] * by[1] + along[2] * by[2] for by in turn.T.astype(np.float32)]
        if method == "rigid":
            lever = [self.arms[i] * force[j] - self.arms[j] * force[i] for i, j in ((1, 2), (2, 0), (0, 1))]
        else:
            lever = [along * arm for along in force for arm in self.arms]
        effect = np.stack([*lever, *force]).reshape(len(lever) + 3, -1)
        # Not a matrix product, whose summation order depends on the number of cores.
        information = np.einsum("in,jn->ij", effect, effect).astype(np.float64)
        information += DAMPING * np.diag(np.diag(information))
        step: NDArray[np.float64] = np.linalg.lstsq(information, effect.sum(axis=1, dtype=np.float64), rcond=None)[0]
        return step

    def moved(self, matrix: NDArray[np.float64], step: NDArray[np.float64], method: str) -> NDArray[np.float64]:
        """Return a map preceded by a step about the centre."""
        axes = self.comparison.fixed.directions
        if method == "rigid":
            # Slices, rows and columns may be left-handed axes, in which a rotation has the opposite sense.
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
    """Smooth joint histogram from the flat index of each pair's lower bin and the share of the next bin."""
    size = BINS * BINS
    counts = np.bincount(place, 1 - share, size) + np.bincount(place + 1, share, size)
    blurred = ndimage.gaussian_filter(counts.reshape(BINS, BINS), HISTOGRAM_BLUR_BINS, mode="constant")
    joint: NDArray[np.float64] = blurred / blurred.sum() + EMPTY_BIN_WEIGHT
    joint /= joint.sum()
    return joint
