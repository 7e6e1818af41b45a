"""Search a cohort for the same pixels under two identifiers.

A patient who was entered twice, or a copied series, puts test images into training. Patches of different participants
are compared at low resolution, including shifted, scaled and rotated copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from spinefx.cases.patch import Jitter, PatchStack
from spinefx.learning.augmentation import PatchBank

__all__ = ["TWIN_CORRELATION", "Twin", "find_twins"]

SIZE = 16
VOXELS_PER_SIDE = 24
# Low-resolution patches of two patients correlate less than this; copies of one image correlate more.
TWIN_CORRELATION = 0.995
# Pairs below this on the coarse grid of views are not refined.
CANDIDATE_CORRELATION = 0.8
CANDIDATES = 256
COARSE_VIEWS = tuple(
    Jitter(row, column, scale)
    for row, column, scale in product((-0.08, 0.0, 0.08), (-0.08, 0.0, 0.08), (0.92, 1.0, 1.09))
)


@dataclass(frozen=True)
class Twin:
    """Two slices of different participants that show the same pixels, or nearly.

    Parameters
    ----------
    first, second : str
        Case ids.
    first_participant, second_participant : str
    correlation : float
        Of the low-resolution patches, the second seen under ``jitter``.
    jitter : Jitter
    """

    first: str
    second: str
    first_participant: str
    second_participant: str
    correlation: float
    jitter: Jitter

    @property
    def is_copy(self) -> bool:
        """Whether the two are too similar to be two patients."""
        return self.correlation > TWIN_CORRELATION


def find_twins(stacks: Sequence[PatchStack]) -> tuple[Twin, ...]:
    """Find the most similar slices of different participants.

    Parameters
    ----------
    stacks : sequence of PatchStack

    Returns
    -------
    tuple of Twin
        Most similar first, at most 256; :attr:`Twin.is_copy` says which are copies.

    Notes
    -----
    Every slice is correlated with 27 views (shift, scale) of every other on a 16 x 16 blurred patch; the best pairs are
    then refined over shift, scale and rotation.
    """
    bank = PatchBank([_blurred(stack) for stack in stacks], SIZE)
    numbers = np.arange(len(bank.samples))
    plain = _rows(bank, numbers, [Jitter()] * len(numbers))
    participants = np.array([sample.participant_id for sample in bank.samples])
    best = np.full((len(numbers), len(numbers)), -1.0, np.float32)
    view = np.zeros(best.shape, np.int64)
    for index, jitter in enumerate(COARSE_VIEWS):
        correlation = plain @ _rows(bank, numbers, [jitter] * len(numbers)).T
        better = correlation > best
        best[better], view[better] = correlation[better], index
    best[participants[:, None] == participants] = -1.0
    order = np.argsort(-best, axis=None, kind="stable")[:CANDIDATES]
    pairs = [(int(one), int(two)) for one, two in zip(*np.unravel_index(order, best.shape), strict=True)]
    pairs = [(one, two) for one, two in pairs if best[one, two] >= CANDIDATE_CORRELATION]
    if not pairs:
        return ()
    start = [COARSE_VIEWS[view[one, two]] for one, two in pairs]
    return _by_case(bank, pairs, *_refine(bank, plain, pairs, start))


def _blurred(stack: PatchStack) -> PatchStack:
    """Blur away what 16 pixels cannot hold, so that copies look the same wherever pixels fall, and shrink."""
    sources = []
    for source in stack.sources:
        centre = source.matrices[0, stack.settings.neighbours]
        voxels_per_side = float(np.linalg.norm(centre[1:, :2], axis=0).mean())
        sigma = 0.5 * voxels_per_side / SIZE
        extent = np.array(source.voxels.shape[1:])
        wanted = np.maximum(2, np.round(extent * min(1.0, VOXELS_PER_SIDE / voxels_per_side))).astype(int)
        along_rows, along_columns = (_thinning(*counts, sigma) for counts in zip(extent, wanted, strict=True))
        voxels = (along_rows @ source.voxels @ along_columns.T).astype(np.float32)
        matrices = source.matrices.copy()
        matrices[..., 1:, :] *= ((wanted - 1) / (extent - 1))[:, None]
        sources.append(replace(source, voxels=voxels, matrices=matrices))
    return replace(stack, sources=tuple(sources))


def _thinning(count: int, wanted: int, sigma: float) -> NDArray[np.float64]:
    """Return the matrix that blurs a line of voxels, its ends repeated, and samples it at fewer, even places."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    blur = np.zeros((count, count))
    for offset, weight in zip(range(-reach, reach + 1), weights / weights.sum(), strict=True):
        np.add.at(blur, (np.arange(count), np.clip(np.arange(count) + offset, 0, count - 1)), weight)
    place = np.linspace(0, count - 1, wanted)[:, None]
    read = np.maximum(0, 1 - np.abs(place - np.arange(count)))
    matrix: NDArray[np.float64] = read @ blur
    return matrix


def _rows(bank: PatchBank, numbers: NDArray[np.int64], jitters: Sequence[Jitter]) -> NDArray[np.float32]:
    """Return patches as unit vectors, shape (n, pixels), whose products are correlations."""
    rows = torch.cat(
        [
            bank.sample(numbers[start : start + 256], jitters[start : start + 256]).flatten(start_dim=1)
            for start in range(0, len(numbers), 256)
        ]
    )
    unit: NDArray[np.float32] = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    return unit


def _refine(
    bank: PatchBank, plain: NDArray[np.float32], pairs: Sequence[tuple[int, int]], start: Sequence[Jitter]
) -> tuple[NDArray[np.float64], list[Jitter]]:
    """Search around each pair's best view in steps that halve, all pairs at once."""
    first = np.array([one for one, _ in pairs])
    second = np.array([two for _, two in pairs])
    views = np.array([[j.shift_row, j.shift_column, j.scale, j.rotation_deg] for j in start])
    best = np.full(len(pairs), -1.0)
    steps = np.array([0.04, 0.04, 0.05, 5.0])
    for _ in range(5):
        for move in (np.zeros(4), *(sign * np.eye(4)[axis] for axis in range(4) for sign in (1, -1))):
            tried = views + move * steps
            moved = _rows(bank, second, [Jitter(*map(float, row)) for row in tried])
            correlation = np.einsum("np,np->n", plain[first], moved, dtype=np.float64)
            better = correlation > best
            best[better], views[better] = correlation[better], tried[better]
        steps = steps / 2
    return best, [Jitter(*map(float, row)) for row in views]


def _by_case(
    bank: PatchBank, pairs: Sequence[tuple[int, int]], correlations: NDArray[np.float64], views: Sequence[Jitter]
) -> tuple[Twin, ...]:
    """Keep the most similar slices of each pair of cases."""
    twins: dict[tuple[str, str], Twin] = {}
    for (one, two), correlation, view in zip(pairs, correlations, views, strict=True):
        a, b = bank.samples[one], bank.samples[two]
        key = (min(a.case_id, b.case_id), max(a.case_id, b.case_id))
        if key not in twins or correlation > twins[key].correlation:
            twins[key] = Twin(a.case_id, b.case_id, a.participant_id, b.participant_id, float(correlation), view)
    return tuple(sorted(twins.values(), key=lambda twin: (-twin.correlation, twin.first, twin.second)))
