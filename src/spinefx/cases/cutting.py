"""Prepare the patches of a case: copy the source voxels around the lesion, and compute where channels sample them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import REACH, PatchSettings, PatchSource, PatchStack
from spinefx.errors import PatchError
from spinefx.vocabulary import MARKED

if TYPE_CHECKING:
    from spinefx.cases.alignment import AlignedSeries
    from spinefx.imaging.volume import Slices

__all__ = ["cut_patches"]


@dataclass(frozen=True)
class _View:
    """A square that patches show: the box with its margin, which may be wider than any box."""

    centre_mm: tuple[float, float, float]
    side_mm: float


def cut_patches(
    lesion: Lesion,
    series: Sequence[AlignedSeries],
    *,
    case_id: str,
    participant_id: str,
    settings: PatchSettings | None = None,
) -> PatchStack:
    """Return the source voxels of one case's patches, and where each channel samples them.

    Parameters
    ----------
    lesion : Lesion
        Marked on the T2W series.
    series : sequence of AlignedSeries
        Of each of the settings' sequences, T2W among them. Only the slices that the patches touch are read.
    case_id, participant_id : str
    settings : PatchSettings, optional

    Returns
    -------
    PatchStack

    Raises
    ------
    BoxError
        When the lesion lies outside the T2W stack.
    PatchError
        When a series is missing, or the box lies outside one.
    FileError, GeometryError
        When slices that are not read yet cannot be read.
    """
    settings = settings or PatchSettings()
    ordered = _ordered(series, settings, case_id)
    marked = next(one.voxels for one in ordered if one.weighting is MARKED)
    lesion.check_inside(marked)
    side_mm = lesion.box.side_mm * (1 + settings.margin_percent / 100)
    box, flags = _fit_into(_View(lesion.box.centre_mm, side_mm), marked)
    offsets, last = settings.offsets, marked.shape[0] - 1
    centres = tuple(
        range(max(0, lesion.first_slice - settings.reach), min(last, lesion.last_slice + settings.reach) + 1)
    )
    planes = np.stack([[_plane(box, marked, centre + offset) for offset in offsets] for centre in centres])
    own = np.stack([[_plane(box, marked, min(max(c + o, 0), last)) for o in offsets] for c in centres])
    lesions_own = planes[[centre in lesion.slices for centre in centres]]  # beyond them, an edge may be repeated
    for one in ordered:
        flags += [] if one.weighting is MARKED else _check_coverage(lesions_own, one, case_id)
    if any(not 0 <= centre + offset <= last for centre in lesion.slices for offset in offsets):
        flags.append(_edge_flag(MARKED.label))
    pixel_mm = box.side_mm / settings.size
    sources = []
    for one in ordered:
        to_index = np.linalg.inv(one.voxels.affine)
        placed = to_index @ own if one.weighting is MARKED else (to_index @ one.matrix) @ planes
        crop, matrices = _crop(one.voxels, placed)
        sources.append(PatchSource(one.weighting, _smoothed_for_shrinking(crop, one.voxels, pixel_mm), matrices))
    return PatchStack(
        case_id=case_id,
        participant_id=participant_id,
        slices=centres,
        sources=tuple(sources),
        side_mm=box.side_mm,
        flags=tuple(flags),
        settings=settings,
    )


def _ordered(series: Sequence[AlignedSeries], settings: PatchSettings, case_id: str) -> list[AlignedSeries]:
    """Put the series into the order of the channels; those that the settings do not name are left out."""
    found = {one.weighting: one for one in series}
    missing = [sequence.label for sequence in settings.sequences if sequence not in found]
    if missing:
        raise PatchError(
            f"no {' and no '.join(missing)} series",
            where=case_id,
            allowed=f"{', '.join(settings.sequences)}, as the recipe asks",
            remedy="Give the missing series, or choose a recipe that does without it.",
        )
    return [found[sequence] for sequence in settings.sequences]


def _edge_flag(label: str) -> str:
    return f"the {label} stack ends at the lesion: its edge slice stands for the missing neighbour"


def _fit_into(box: _View, t2w: Slices) -> tuple[_View, list[str]]:
    """Shift a box into the image; where it is larger than the image, leave it to be padded (protocol row 8)."""
    index = np.asarray(t2w.to_index(box.centre_mm))
    flags = []
    for axis, name in ((1, "rows"), (2, "columns")):
        half = box.side_mm / t2w.spacing_mm[axis] / 2
        low, high = half - 0.5, t2w.shape[axis] - 0.5 - half
        if low > high:
            flags.append(f"the box is larger than the T2W image along its {name}: the edge is repeated")
        elif not low <= index[axis] <= high:
            moved = float(np.clip(index[axis], low, high)) - index[axis]
            flags.append(
                f"the box was shifted {abs(moved) * t2w.spacing_mm[axis]:.1f} mm into the image along its {name}"
            )
            index[axis] += moved
    left, posterior, superior = (float(value) for value in t2w.to_mm(index))
    return _View((left, posterior, superior), box.side_mm), flags


def _plane(box: _View, t2w: Slices, slice_index: int) -> NDArray[np.float64]:
    """Return the matrix (4, 3) from (u, v, 1) on a T2W slice, possibly beyond the stack, to LPS millimetres."""
    _, row, column = t2w.to_index(box.centre_mm)
    plane = np.zeros((4, 3))
    plane[:3, 0] = t2w.directions[:, 1] * box.side_mm
    plane[:3, 1] = t2w.directions[:, 2] * box.side_mm
    plane[:3, 2] = t2w.to_mm((slice_index, row, column))
    plane[3, 2] = 1
    return plane


def _check_coverage(planes: NDArray[np.float64], series: AlignedSeries, case_id: str) -> list[str]:
    """Refuse a box that a series does not show; note where its edge slice stands for what is missing."""
    centres = (series.matrix @ planes[..., 2:])[..., :3, 0]
    index = series.voxels.to_index(centres)
    rows, columns = index[..., 1], index[..., 2]
    depth, height, width = series.voxels.shape
    beyond = np.maximum(-index[..., 0], index[..., 0] - (depth - 1))
    off_image = (rows < -0.5) | (rows > height - 0.5) | (columns < -0.5) | (columns > width - 0.5)
    middle = planes.shape[1] // 2
    label = series.weighting.label
    if off_image.any() or (beyond[:, middle] > 1).any():
        raise PatchError(
            f"the box lies outside the {label} series",
            where=case_id,
            remedy=f"Choose a {label} series that covers the lesion.",
        )
    return [_edge_flag(label)] if (beyond > 0.5).any() else []


def _crop(stack: Slices, to_index: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Copy the voxels within reach of all planes, repeating edges, and move the matrices to the copy's indices."""
    corners = np.array([[u, v, 1.0] for u in (-REACH, REACH) for v in (-REACH, REACH)])
    touched = (to_index @ corners.T)[..., :3, :]
    touched = np.moveaxis(touched, -2, -1).reshape(-1, 3)
    first = np.floor(touched.min(axis=0)).astype(int)
    last = np.ceil(touched.max(axis=0)).astype(int)
    # Slices beyond the stack are not needed: sampling repeats the edge.
    first[0], last[0] = np.clip((first[0], last[0]), 0, stack.shape[0] - 1)
    slab = stack.slab(int(first[0]), int(last[0]))
    rows, columns = [
        np.clip(np.arange(low, high + 1), 0, extent - 1)
        for low, high, extent in zip(first[1:], last[1:], stack.shape[1:], strict=True)
    ]
    matrices = to_index[..., :3, :].copy()
    matrices[..., 2] -= first
    return np.ascontiguousarray(slab.array[:, rows[:, None], columns]), matrices


def _smoothed_for_shrinking(crop: NDArray[np.float32], source: Slices, pixel_mm: float) -> NDArray[np.float32]:
    """Blur in plane where patch pixels are larger than source pixels, so that shrinking does not alias (row 10)."""
    factors = [pixel_mm / spacing for spacing in source.spacing_mm[1:]]
    sigmas = [max(0.0, (factor - 1) / 2) for factor in factors]
    if not any(sigmas):
        return crop
    from scipy import ndimage

    smoothed: NDArray[np.float32] = ndimage.gaussian_filter(crop, (0.0, *sigmas), mode="nearest")
    return smoothed
