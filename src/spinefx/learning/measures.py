"""What is measured of an input to compare it with the training cases: voxels, times, and the content of the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import PatchStack
from spinefx.vocabulary import MARKED, Weighting

if TYPE_CHECKING:
    from spinefx.imaging.selection import SeriesSet
    from spinefx.imaging.volume import Slices

__all__ = ["LENGTHS", "PIXEL", "TIMES", "image_measures", "patch_measures", "voxel_measures"]

# How the names of lengths and times end, and that of pixels.
LENGTHS, TIMES, PIXEL = ", mm", ", ms", "pixel, mm"


def voxel_measures(series: Mapping[Weighting, Slices]) -> dict[str, float]:
    """Return the voxel sizes of the series that are read.

    Parameters
    ----------
    series : mapping of Weighting to Slices

    Returns
    -------
    dict of str to float
    """
    measures: dict[str, float] = {}
    for weighting, slices in series.items():
        measures |= _sizes(weighting, slices.spacing_mm)
    return measures


def image_measures(found: SeriesSet) -> dict[str, float]:
    """Return measures in which scanners and protocols differ, from headers alone.

    Parameters
    ----------
    found : SeriesSet

    Returns
    -------
    dict of str to float
        By a readable name with the unit, without measures that the headers do not state.
    """
    measures: dict[str, float | None] = {}
    for weighting, series in found.chosen.items():
        measures |= _sizes(weighting, series.spacing_mm)
        measures |= {
            f"{weighting.label} repetition time{TIMES}": series.repetition_time_ms,
            f"{weighting.label} echo time{TIMES}": series.echo_time_ms,
        }
    return {name: float(value) for name, value in measures.items() if value is not None}


def patch_measures(stack: PatchStack, patch: NDArray[np.float32]) -> dict[str, float]:
    """Return measures in which the content of a box may be unusual.

    Parameters
    ----------
    stack : PatchStack
    patch : ndarray of float32, shape (channel, size, size)
        Of the middle lesion slice.

    Returns
    -------
    dict of str to float
        Side of the box; contrast round it (standard deviation over mean of the signal) in each series; and how the
        other series agree with T2W within it, which shows swapped or wrong series.
    """
    centres = {one: patch[stack.settings.centre_of(one)].astype(np.float64) for one in stack.settings.sequences}
    contrasts = {
        f"{source.weighting.label} contrast round the box": float(
            source.voxels.std() / max(abs(float(source.voxels.mean())), 1e-9)
        )
        for source in stack.sources
    }
    agreement = {
        f"{one.label} to {MARKED.label} correlation": float(np.mean(centre * centres[MARKED]))
        for one, centre in centres.items()
        if one is not MARKED
    }
    return {f"side of the box{LENGTHS}": stack.side_mm} | contrasts | agreement


def _sizes(weighting: Weighting, spacing_mm: Sequence[float]) -> dict[str, float]:
    pixel_mm = float(max(spacing_mm[1:]))
    return {f"{weighting.label} {PIXEL}": pixel_mm, f"{weighting.label} slice step{LENGTHS}": spacing_mm[0]}
