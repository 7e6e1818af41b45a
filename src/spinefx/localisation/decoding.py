"""From the network's maps to vertebrae: votes are counted, joined into one chain, and named.

Every pixel of a body votes for the place of its vertebra's centre, and the votes of all slices are summed, because a
centre is one place in the patient. Dynamic programming joins the places into the chain that a spine can be. The names
follow from the most likely place of S1 or of C2; where neither is likely, there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from spinefx.localisation.labels import CLASS_WEIGHTS, VERTEBRAL, TissueClass
from spinefx.localisation.working_grid import PIXEL_MM

__all__ = ["Candidate", "Maps", "Naming", "find_candidates", "join", "name_chain"]

SURE_OF_BODY = 0.35
BLUR_MM = 2.6
REACH_MM = 8.0  # votes within this distance belong to a peak; half the least distance of two centres
LEAST_VOTES_MM3 = 700.0
# Distance of neighbouring centres in an adult, from the upper neck to a tall lumbar spine.
STEP_MM = (11.0, 58.0)
LARGEST_TURN_DEG = 80.0
# What a full body beyond an anchor costs, in log-likelihood.
BEYOND = 1.0
STEEPEST_DEG = 88.0  # of the first step against straight down


@dataclass(frozen=True, eq=False)
class Maps:
    """What the network computed for a stack on the working grid.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (class, slice, row, column)
        In the order of :class:`~spinefx.localisation.labels.TissueClass`.
    offsets_mm : ndarray of float32, shape (3, slice, row, column)
        Row, column and slice from a pixel to the centre of its vertebra.
    slice_mm : float
        Distance between slices.
    """

    probabilities: NDArray[np.float32]
    offsets_mm: NDArray[np.float32]
    slice_mm: float

    def classes(self) -> NDArray[np.uint8]:
        """Return the most likely class of every pixel, no class counting more than another."""
        weights = np.array(CLASS_WEIGHTS, np.float32)[:, None, None]
        slices = [(self.probabilities[:, one] / weights).argmax(axis=0) for one in range(self.probabilities.shape[1])]
        return np.asarray(slices, np.uint8)


@dataclass(frozen=True)
class Candidate:
    """A place that may be the centre of a vertebra.

    Parameters
    ----------
    row, column, place : float
        Pixels of the working grid, and slices.
    volume_mm3 : float
        How much of the stack voted for it.
    height_mm, depth_mm : float
        Extent of the voters in their middle slices along rows and columns.
    first_slice, last_slice : int
        Slices with many voters.
    is_s1, is_c2 : float
        Share of its voters' probability that is S1's, or C2's.
    sureness : float
        Mean probability of its voters that they belong to a body.
    """

    row: float
    column: float
    place: float
    volume_mm3: float
    height_mm: float
    depth_mm: float
    first_slice: int
    last_slice: int
    is_s1: float
    is_c2: float
    sureness: float

    @property
    def point_mm(self) -> NDArray[np.float64]:
        """Row and column in millimetres."""
        return np.array([self.row, self.column]) * PIXEL_MM


@dataclass(frozen=True)
class Naming:
    """Where the names of a chain are counted from.

    Parameters
    ----------
    s1, c2 : int or None
        Place of S1 and of C2 in the chain, where they are more likely than not.
    confidences : tuple of float
        Probability that the name of each vertebra is right.
    """

    s1: int | None
    c2: int | None
    confidences: tuple[float, ...]


def find_candidates(maps: Maps) -> tuple[Candidate, ...]:
    """Sum the votes of all slices, and return their peaks.

    Parameters
    ----------
    maps : Maps

    Returns
    -------
    tuple of Candidate
        From top to bottom; empty where nothing looks like a body.
    """
    vertebral = maps.probabilities[list(VERTEBRAL)].sum(axis=0)
    slices, rows, columns = np.nonzero(vertebral > SURE_OF_BODY)
    if not len(slices):
        return ()
    weights = vertebral[slices, rows, columns].astype(float)
    offsets = maps.offsets_mm[:, slices, rows, columns].astype(float)
    aimed = np.stack([rows + offsets[0] / PIXEL_MM, columns + offsets[1] / PIXEL_MM], axis=1)
    size = vertebral.shape[1:]
    inside = ((aimed >= -0.5) & (aimed < np.array(size) - 0.5)).all(axis=1)
    votes = np.zeros(size)
    np.add.at(votes, tuple(np.rint(aimed[inside]).astype(int).T), weights[inside])
    votes = ndimage.gaussian_filter(votes, BLUR_MM / PIXEL_MM, mode="constant")
    disc = np.hypot(*np.mgrid[-5:6, -5:6]) * PIXEL_MM <= REACH_MM
    peaks = np.argwhere((votes == ndimage.maximum_filter(votes, footprint=disc)) & (votes > 0))
    if not len(peaks):  # every vote falls outside the stack
        return ()
    voxel_mm3 = PIXEL_MM**2 * maps.slice_mm
    distances, nearest = cKDTree(peaks).query(aimed)
    near = distances * PIXEL_MM <= REACH_MM
    found = []
    for number in range(len(peaks)):
        voters = near & (nearest == number)
        if weights[voters].sum() * voxel_mm3 >= LEAST_VOTES_MM3:
            pixels = np.stack([slices, rows, columns], axis=1)[voters]
            found.append(_candidate(maps, pixels, aimed[voters], offsets[2, voters], weights[voters]))
    return tuple(sorted(found, key=lambda one: one.row))


def _candidate(
    maps: Maps,
    pixels: NDArray[np.int64],
    aimed: NDArray[np.float64],
    depth_mm: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Candidate:
    """Describe the vertebra that some pixels voted for; the median place withstands pixels of its neighbours."""
    row, column = (_median(aimed[:, axis], weights) for axis in (0, 1))
    place = _median(pixels[:, 0] + depth_mm / maps.slice_mm, weights)
    place = float(np.clip(place, 0, maps.probabilities.shape[1] - 1))
    areas = np.bincount(pixels[:, 0], weights, minlength=maps.probabilities.shape[1])
    shown = np.flatnonzero(areas > 0.4 * areas.max())
    middle = pixels[np.abs(pixels[:, 0] - place) <= max(1.0, 5.0 / maps.slice_mm)]
    middle = middle if len(middle) > 8 else pixels
    height, depth = (np.ptp(np.percentile(middle[:, axis], [3, 97])) * PIXEL_MM + PIXEL_MM for axis in (1, 2))
    sums = {one: float(maps.probabilities[one][tuple(pixels.T)].sum()) for one in VERTEBRAL}
    of = {one: share / sum(sums.values()) for one, share in sums.items()}
    volume = float(weights.sum() * PIXEL_MM**2 * maps.slice_mm)
    return Candidate(
        row, column, place, volume, float(height), float(depth), int(shown[0]), int(shown[-1]),
        of[TissueClass.S1], of[TissueClass.C2], float(weights.mean()),
    )  # fmt: skip


def _median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def join(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Join candidates into the one chain that is most like a spine.

    Parameters
    ----------
    candidates : tuple of Candidate

    Returns
    -------
    tuple of Candidate
        From the cranial to the caudal end. At S1 a spine may run nearly level, or even rise after a slip, so that only
        the turn from step to step is limited.

    Notes
    -----
    Second-order dynamic programming: the state is the last two members.
    """
    count = len(candidates)
    if count < 2:
        return candidates
    points = np.array([one.point_mm for one in candidates])
    typical = float(np.median(sorted((one.volume_mm3 for one in candidates), reverse=True)[: max(3, count // 2)]))
    worth = np.array([min(1.0, one.volume_mm3 / (0.35 * typical)) for one in candidates])
    steps = points[None] - points[:, None]  # from the first index to the second
    lengths = np.linalg.norm(steps, axis=2)
    allowed = (lengths >= STEP_MM[0]) & (lengths <= STEP_MM[1])
    downward = steps[..., 0] >= lengths * np.cos(np.deg2rad(STEEPEST_DEG))
    best: dict[tuple[int, int], tuple[float, tuple[int, int] | None]] = {}
    # A chain grows downwards but for its last steps, so that pairs in the order of their lower row come first.
    pairs = [(int(a), int(b)) for a, b in np.argwhere(allowed)]
    pairs.sort(key=lambda pair: max(points[pair[0], 0], points[pair[1], 0]) + 1e-3 * points[pair[1], 0])
    for _ in range(2):  # once more, for the few pairs that rise
        for pair in pairs:
            above, below = pair
            score = worth[above] + worth[below] - _long(lengths[pair]) if downward[pair] else -np.inf
            source: tuple[int, int] | None = None
            for before in range(count):
                longer = best.get((before, above))
                if longer is None or before == below or below in _members(best, (before, above)):
                    continue
                cost = _bend(steps[before, above], steps[pair])
                if longer[0] + worth[below] - cost > score:
                    score, source = longer[0] + worth[below] - cost, (before, above)
            if np.isfinite(score) and score > best.get(pair, (-np.inf, None))[0]:
                best[pair] = (score, source)
    if not best:
        return (max(candidates, key=lambda one: one.volume_mm3),)
    last = max(best, key=lambda pair: best[pair][0])
    return tuple(candidates[index] for index in _members(best, last))


def _members(best: dict[tuple[int, int], tuple[float, tuple[int, int] | None]], last: tuple[int, int]) -> list[int]:
    chain = [last[1], last[0]]
    at: tuple[int, int] | None = best[last][1]
    while at is not None and len(chain) < 60:
        chain.append(at[0])
        at = best[at][1]
    return chain[::-1]


def _long(length: float) -> float:
    return max(0.0, (length - 42.0) / 16.0)


def _bend(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the cost of two successive steps: of a turn, and of a change of length."""
    first, second = float(np.linalg.norm(before)), float(np.linalg.norm(after))
    turn = np.degrees(np.arccos(np.clip(before @ after / (first * second), -1, 1)))
    if turn > LARGEST_TURN_DEG:
        return np.inf
    ratio = abs(np.log(second / first))
    return float(0.25 * (turn / 45.0) ** 2 + max(0.0, ratio - 0.2) * 2.2 + _long(second))


def name_chain(chain: tuple[Candidate, ...]) -> Naming:
    """Find where names are counted from, and how likely each is right.

    Parameters
    ----------
    chain : tuple of Candidate
        From the cranial to the caudal end.

    Returns
    -------
    Naming
        Confidences of the names if both anchors are unlikely are those of the likelier one, below one half.
    """
    typical = float(np.median([one.volume_mm3 for one in chain])) if chain else 1.0
    excess = np.array([min(1.0, one.volume_mm3 / (0.35 * typical)) for one in chain])
    s1, sure_s1 = _anchor(np.array([one.is_s1 for one in chain]), excess)
    c2, sure_c2 = _anchor(np.array([one.is_c2 for one in chain[::-1]]), excess[::-1])
    c2 = None if c2 is None else len(chain) - 1 - c2
    anchor, sure = (s1, sure_s1) if sure_s1 >= sure_c2 else (c2, sure_c2)
    missed = [_missed(chain, number) for number in range(len(chain) - 1)]
    confidences = []
    for number in range(len(chain)):
        between = missed[min(number, anchor) : max(number, anchor)] if anchor is not None else []
        confidences.append(float(sure * np.prod([1 - one for one in between])))
    return Naming(s1 if sure_s1 > 0.5 else None, c2 if sure_c2 > 0.5 else None, tuple(confidences))


def _anchor(shares: NDArray[np.float64], excess: NDArray[np.float64]) -> tuple[int | None, float]:
    """Return the likeliest place of an anchor against "none", and its probability.

    The anchor is the first member that looks like it; S2 below S1 often does too. A full body beyond it speaks against
    the place, a speck does not.
    """
    if not len(shares):
        return None, 0.0
    sure = np.clip(shares, 0.02, 0.98)
    before = np.cumsum(np.log1p(-sure))
    beyond = excess.sum() - np.cumsum(excess)
    logs = np.append(np.log(sure) + before - np.log1p(-sure) - BEYOND * beyond, before[-1])
    weights = np.exp(logs - logs.max())
    best = int(logs[:-1].argmax())
    return best, float(weights[best] / weights.sum())


def _missed(chain: tuple[Candidate, ...], number: int) -> float:
    """Return how likely a vertebra is missing between one member and the next, from the length of the step."""
    lengths = [float(np.linalg.norm(below.point_mm - above.point_mm)) for above, below in pairwise(chain)]
    near = [lengths[other] for other in range(len(lengths)) if 0 < abs(other - number) <= 2]
    ratio = lengths[number] / float(np.median(near)) if near else 1.0
    return float(1 / (1 + np.exp(-(ratio - 1.55) / 0.08)))
