"""Which vertebra each voxel of the masks belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.errors import GeometryError
from spinefx.imaging.volume import Slices
from spinefx.localisation.labels import VERTEBRAL, TissueClass
from spinefx.localisation.spine import LocatedSpine

__all__ = ["divide_bodies", "divide_discs"]

# Specks smaller than this in one slice belong to no body.
SMALLEST_MM2 = 25.0


def divide_bodies(classes: NDArray[np.integer], grid: Slices, spine: LocatedSpine) -> NDArray[np.int16]:
    """Divide the voxels of the vertebral bodies among the vertebrae.

    Parameters
    ----------
    classes : ndarray of int, shape (slice, row, column)
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    grid : Slices
        Where they lie in the patient.
    spine : LocatedSpine

    Returns
    -------
    ndarray of int16, shape (slice, row, column)
        1 for the first vertebra of the spine, 2 for the next...; 0 outside the bodies.

    Raises
    ------
    GeometryError
        When the masks have another shape than the grid.

    Notes
    -----
    A connected region of a slice belongs to the vertebra whose centre is nearest to most of its pixels, seen within the
    slice. Only a region that holds several centres is divided pixel by pixel.
    """
    _check_shape(classes, grid)
    found = np.zeros(classes.shape, np.int16)
    centres = _pixels(grid, spine)
    if not len(centres):
        return found
    pixel_mm = np.array(grid.spacing_mm[1:])
    smallest = SMALLEST_MM2 / pixel_mm.prod()
    for number in range(len(classes)):
        regions, _ = ndimage.label(np.isin(classes[number], VERTEBRAL))
        for index, place in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[place] == index
            if inside.sum() < smallest:
                continue
            corner = [edge.start for edge in place]
            nearest = _nearest(np.argwhere(inside) + corner, centres, pixel_mm)
            held = _centres_inside(inside, corner, centres)
            found[number][place][inside] = nearest if held > 1 else np.bincount(nearest).argmax()
    return found


def divide_discs(classes: NDArray[np.integer], grid: Slices, spine: LocatedSpine) -> NDArray[np.int16]:
    """Divide the voxels of the discs among the vertebrae above them.

    Parameters
    ----------
    classes : ndarray of int, shape (slice, row, column)
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    grid : Slices
        Where they lie in the patient.
    spine : LocatedSpine

    Returns
    -------
    ndarray of int16, shape (slice, row, column)
        1 for the disc below the first vertebra of the spine, 2 for that below the next...; -1 for a disc above the
        first, 0 outside the discs.

    Raises
    ------
    GeometryError
        When the masks have another shape than the grid.
    """
    _check_shape(classes, grid)
    found = np.zeros(classes.shape, np.int16)
    centres = _pixels(grid, spine)
    if len(centres) < 2:
        return found
    pixel_mm = np.array(grid.spacing_mm[1:])
    ends = np.stack([2 * centres[0] - centres[1], *centres, 2 * centres[-1] - centres[-2]])
    middles = (ends[:-1] + ends[1:]) / 2  # of the disc above the first vertebra, then of the disc below each
    for number in range(len(classes)):
        regions, count = ndimage.label(classes[number] == TissueClass.DISC)
        if not count:
            continue
        places = np.array(ndimage.center_of_mass(regions > 0, regions, range(1, count + 1)))
        nearest = _nearest(places, middles, pixel_mm) - 1
        lookup = np.concatenate([[0], np.where(nearest > 0, nearest, -1)]).astype(np.int16)
        found[number] = lookup[regions]
    return found


def _check_shape(classes: NDArray[np.integer], grid: Slices) -> None:
    if classes.shape != grid.shape:
        raise GeometryError(f"masks of shape {classes.shape}", allowed=f"the shape of the series, {grid.shape}")


def _pixels(grid: Slices, spine: LocatedSpine) -> NDArray[np.float64]:
    """Return the centres as rows and columns, shape (vertebra, 2)."""
    centres = np.array([vertebra.centre_mm for vertebra in spine.vertebrae]).reshape(-1, 3)
    return grid.to_index(centres)[:, 1:]


def _nearest(
    places: NDArray[np.float64], centres: NDArray[np.float64], pixel_mm: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return which centre, counted from 1, is nearest to each place of a slice."""
    apart = np.linalg.norm((places[:, None] - centres) * pixel_mm, axis=2)
    return np.asarray(1 + apart.argmin(axis=1))


def _centres_inside(inside: NDArray[np.bool_], corner: list[int], centres: NDArray[np.float64]) -> int:
    cells = np.rint(centres - corner).astype(int)
    within = ((cells >= 0) & (cells < inside.shape)).all(axis=1)
    return int(inside[tuple(cells[within].T)].sum())
