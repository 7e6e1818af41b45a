"""How alike two contrasts of one anatomy are: mutual information over a region of one volume.

A T1W and a T2W image agree in where tissues end, not in how bright they are. Mutual information asks only how well one
brightness predicts the other, so it serves both to find an alignment and to judge one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from spinefx.imaging.volume import Volume

__all__ = ["BINS", "Comparison", "crop_in_plane", "map_points", "mutual_information", "pool_in_plane", "window"]

BINS = 32
WINDOW_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A region of one volume, and another volume that is to fit it.

    Parameters
    ----------
    fixed : Volume
        The region: every voxel is compared. Windowed to 0..1.
    moving : Volume
        Windowed to 0..1; sampled linearly.
    """

    fixed: Volume
    moving: Volume

    @classmethod
    def around(
        cls, fixed: Volume, moving: Volume, *, centre_mm: ArrayLike, width_mm: float, pixel_mm: float
    ) -> Comparison:
        """Take all slices of a square round a point, and pool, window and pair them.

        Parameters
        ----------
        fixed, moving : Volume
            As they were read.
        centre_mm : array_like, shape (3,)
            Centre of the square, LPS, millimetres; inside ``fixed``.
        width_mm : float
            Width of the square along rows and columns, millimetres.
        pixel_mm : float
            Pixel to pool to within slices, millimetres.

        Returns
        -------
        Comparison
        """
        region = crop_in_plane(pool_in_plane(fixed, pixel_mm), centre_mm, width_mm)
        return cls(window(region), window(pool_in_plane(moving, pixel_mm)))

    def look(self, matrix: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See the moving volume through a map, at every voxel of the region.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.

        Returns
        -------
        brightness : ndarray of float32, shape (slice, row, column)
            0..1; beyond the moving volume its edge is repeated.
        covered : ndarray of bool, shape (slice, row, column)
            Which voxels come to lie inside the moving volume.
        """
        to_index = self._to_index(matrix)
        brightness: NDArray[np.float32] = ndimage.affine_transform(
            self.moving.array,
            to_index[:3, :3],
            to_index[:3, 3],
            self.fixed.shape,
            output=np.float32,
            order=1,
            mode="nearest",
        )
        return brightness, self.covered(matrix)

    def covered(self, matrix: ArrayLike) -> NDArray[np.bool_]:
        """Tell which of the region's voxels a map brings inside the moving volume.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.

        Returns
        -------
        ndarray of bool, shape (slice, row, column)
        """
        inside = np.ones(self.fixed.shape, bool)
        slices, rows, columns = np.ogrid[tuple(slice(extent) for extent in self.fixed.shape)]
        for (by_slice, by_row, by_column, start), extent in zip(
            self._to_index(matrix)[:3], self.moving.shape, strict=True
        ):
            index = (by_slice * slices + by_row * rows + start) + by_column * columns
            inside &= (index >= -0.5) & (index <= extent - 0.5)
        return inside

    def _to_index(self, matrix: ArrayLike) -> NDArray[np.float64]:
        """Indices of the region to indices of the moving volume, under a map."""
        to_place = np.asarray(matrix, float) @ self.fixed.affine
        to_index: NDArray[np.float64] = np.linalg.inv(self.moving.affine) @ to_place
        return to_index

    def similarity(self, matrix: ArrayLike, *, within: NDArray[np.bool_]) -> float:
        """Measure how well the moving volume fits under a map.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.
        within : ndarray of bool, shape (slice, row, column)
            The voxels to compare. Two maps are compared fairly over the same voxels only.

        Returns
        -------
        float
            Mutual information, nats; 0 where nothing is compared.
        """
        moved, _ = self.look(matrix)
        return mutual_information(self.fixed.array[within], moved[within])

    def translation_scores(
        self, reach_mm: tuple[float, float, float], *, least_coverage: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Try every translation by whole voxels of the region within reach.

        Parameters
        ----------
        reach_mm : tuple of float
            How far to go either way along slices, rows and columns, millimetres.
        least_coverage : float
            Share of the region, 0..1, that must come to lie inside the moving volume.

        Returns
        -------
        scores : ndarray of float64, shape (slice steps, row steps, column steps)
            Mutual information over the covered voxels, nats; 0 where too few are covered.
        shifts_mm : ndarray of float64, shape (slice steps, row steps, column steps, 3)
            The translations, LPS, millimetres.
        """
        # The moving volume is sampled once, on the region's own lattice and a margin; each translation is a view of it.
        margin = np.array([round(reach / step) for reach, step in zip(reach_mm, self.fixed.spacing_mm, strict=True)])
        steps = 2 * margin + 1
        lattice = np.moveaxis(np.indices(tuple(np.asarray(self.fixed.shape) + 2 * margin)), 0, -1) - margin
        points_mm = self.fixed.to_mm(lattice)
        inside = self.moving.contains(points_mm)
        bins = _bin(self.moving.sample(points_mm))
        fixed_bins = _bin(self.fixed.array)
        scores = np.zeros(tuple(steps))
        for start in np.ndindex(scores.shape):
            view = tuple(slice(low, low + size) for low, size in zip(start, self.fixed.shape, strict=True))
            within = inside[view]
            if within.mean() >= least_coverage:
                scores[start] = _information(fixed_bins[within], bins[view][within])
        shifts = np.moveaxis(np.indices(scores.shape), 0, -1) - margin
        return scores, shifts @ self.fixed.affine[:3, :3].T


def map_points(matrix: ArrayLike, points_mm: ArrayLike) -> NDArray[np.float64]:
    """Apply a 4 x 4 map to positions.

    Parameters
    ----------
    matrix : array_like, shape (4, 4)
    points_mm : array_like, shape (..., 3)

    Returns
    -------
    ndarray of float64, shape (..., 3)
    """
    affine = np.asarray(matrix, float)
    mapped: NDArray[np.float64] = np.asarray(points_mm, float) @ affine[:3, :3].T + affine[:3, 3]
    return mapped


def mutual_information(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mutual information of paired brightnesses from their joint histogram of 32 x 32 bins.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n,)
        Windowed to 0..1.

    Returns
    -------
    float
        Nats, 0 or more; higher is more alike; 0 for n = 0.

    Notes
    -----
    The plug-in estimate, biased upwards by about (bins - 1)^2 / (2 n): compare values of like n only.
    """
    return _information(_bin(first), _bin(second))


def pool_in_plane(volume: Volume, pixel_mm: float) -> Volume:
    """Average blocks of pixels within each slice, never across slices: these are thick enough.

    Parameters
    ----------
    volume : Volume
    pixel_mm : float
        Wanted pixel, millimetres; the nearest whole number of source pixels is taken, along each axis for itself.

    Returns
    -------
    Volume
        Same place, same slices; rows and columns that fill no whole block are left out at the far edge.
    """
    slices, rows, columns = volume.shape
    _, row_mm, column_mm = volume.spacing_mm
    down = min(max(1, round(pixel_mm / row_mm)), rows)
    across = min(max(1, round(pixel_mm / column_mm)), columns)
    tall, wide = rows // down, columns // across
    # Rows first, whole lines at a time: a mean over both axes of blocks at once took ten times as long.
    lines = volume.array[:, : tall * down, : wide * across].reshape(slices, tall, down, wide * across).sum(axis=2)
    blocks = sum((lines[..., offset::across] for offset in range(1, across)), lines[..., ::across])
    coarse_to_fine = np.diag([1.0, down, across, 1.0])
    coarse_to_fine[1:3, 3] = (down - 1) / 2, (across - 1) / 2
    return replace(volume, array=blocks / np.float32(down * across), affine=volume.affine @ coarse_to_fine)


def crop_in_plane(volume: Volume, centre_mm: ArrayLike, width_mm: float) -> Volume:
    """Cut a square round a point from every slice, as much of it as the volume holds.

    Parameters
    ----------
    volume : Volume
    centre_mm : array_like, shape (3,)
        LPS, millimetres; inside the volume.
    width_mm : float
        Width of the square, millimetres.

    Returns
    -------
    Volume
        Same place, same slices.
    """
    centre, half = volume.to_index(centre_mm)[1:], width_mm / 2 / np.asarray(volume.spacing_mm[1:])
    extent = np.asarray(volume.shape[1:])
    top, left = np.clip(np.ceil(centre - half), 0, extent - 1).astype(int)
    bottom, right = np.clip(np.floor(centre + half), 0, extent - 1).astype(int)
    shift = np.eye(4)
    shift[1:3, 3] = top, left
    array = volume.array[:, top : max(top, bottom) + 1, left : max(left, right) + 1]
    return replace(volume, array=array, affine=volume.affine @ shift)


def window(volume: Volume) -> Volume:
    """Scale brightness to 0..1 between the 0.5th and the 99.5th percentile, and cut off the rest.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    Volume
        All 0 where brightness does not vary.
    """
    low, high = np.percentile(volume.array, WINDOW_PERCENTILES)
    if high <= low:
        return replace(volume, array=np.zeros_like(volume.array))
    return replace(volume, array=np.clip((volume.array - low) / (high - low), 0, 1))


def _bin(values: NDArray[np.float32]) -> NDArray[np.intp]:
    bins: NDArray[np.intp] = np.rint(values * np.float32(BINS - 1)).astype(np.intp)
    return bins


def _information(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    if first.size == 0:
        return 0.0
    joint = np.bincount(first * BINS + second, minlength=BINS * BINS).reshape(BINS, BINS) / first.size
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = joint > 0
    return max(0.0, float(np.sum(joint[seen] * np.log(joint[seen] / apart[seen]))))
