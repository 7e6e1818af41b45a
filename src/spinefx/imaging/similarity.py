"""How alike two contrasts of one anatomy are: mutual information over a region of one volume.

A T1W and a T2W image agree in where tissues end, not in how bright they are. Mutual information asks only how well one
brightness predicts the other, so it serves both to find an alignment and to judge one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.imaging.volume import Volume

__all__ = ["BINS", "Comparison", "View", "crop_in_plane", "map_points", "mutual_information", "pool_in_plane", "window"]

BINS = 32
WINDOW_PERCENTILES = (0.5, 99.5)
WINDOW_SAMPLE = 2**15


@dataclass(frozen=True, eq=False)
class View:
    """What a map shows of the moving volume at every voxel of the region; all arrays of shape (slice, row, column).

    Parameters
    ----------
    brightness : ndarray of float32
        0..1, interpolated linearly; beyond the moving volume its edge is repeated.
    slopes : tuple of ndarray of float32
        Change of brightness a voxel along slices, rows and columns of the moving volume.
    covered : ndarray of bool
        Which voxels come to lie inside the moving volume.
    """

    brightness: NDArray[np.float32]
    slopes: tuple[NDArray[np.float32], ...]
    covered: NDArray[np.bool_]


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
        cls, fixed: Volume, moving: Volume, *, centre_mm: ArrayLike, width_mm: float, pixel_mm: float, every: int = 1
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
        every : int
            Compare every so many of the pooled pixels along rows and columns: 1 compares all.

        Returns
        -------
        Comparison
        """
        region = crop_in_plane(pool_in_plane(fixed, pixel_mm), centre_mm, width_mm)
        thinned = region.affine @ np.diag([1.0, every, every, 1.0])
        region = replace(region, array=region.array[:, ::every, ::every], affine=thinned)
        return cls(window(region), window(pool_in_plane(moving, pixel_mm)))

    def look(self, matrix: ArrayLike) -> View:
        """See the moving volume through a map, at every voxel of the region.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.

        Returns
        -------
        View
        """
        shares: list[NDArray[np.float32]] = []
        steps: list[int] = []
        place = np.zeros(self.fixed.shape, np.intp)
        index = self._index(matrix)
        stride = 1
        for axis in (2, 1, 0):
            extent = self.moving.shape[axis]
            within = np.clip(index[axis], 0, extent - 1)
            low = np.minimum(within.astype(np.intp), max(0, extent - 2))
            shares.insert(0, within - low)
            steps.insert(0, stride if extent > 1 else 0)
            place += low * stride
            stride *= extent
        # The eight corners of the cell that each voxel falls into give the brightness and its slopes in one look.
        voxels = self.moving.array.reshape(-1)
        corners = np.stack([voxels.take(place + np.dot(corner, steps)) for corner in np.ndindex(2, 2, 2)])
        along_columns = corners[1::2] - corners[::2]
        columns = corners[::2] + along_columns * shares[2]
        along_rows = columns[1::2] - columns[::2]
        rows = columns[::2] + along_rows * shares[1]
        slope_column = along_columns[::2] + (along_columns[1::2] - along_columns[::2]) * shares[1]
        along_slices = rows[1] - rows[0]
        slopes = (
            along_slices,
            along_rows[0] + (along_rows[1] - along_rows[0]) * shares[0],
            slope_column[0] + (slope_column[1] - slope_column[0]) * shares[0],
        )
        return View(rows[0] + along_slices * shares[0], slopes, self._inside(index))

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
        return self._inside(self._index(matrix))

    def _index(self, matrix: ArrayLike) -> list[NDArray[np.float32]]:
        """Slice, row and column of the moving volume at every voxel of the region."""
        slices, rows, columns = np.ogrid[tuple(slice(extent) for extent in self.fixed.shape)]
        return [
            (by_slice * slices + by_row * rows + start).astype(np.float32) + (by_column * columns).astype(np.float32)
            for by_slice, by_row, by_column, start in self.to_index(matrix)[:3]
        ]

    def _inside(self, index: list[NDArray[np.float32]]) -> NDArray[np.bool_]:
        inside = np.ones(self.fixed.shape, bool)
        for each, extent in zip(index, self.moving.shape, strict=True):
            inside &= (each >= -0.5) & (each <= extent - 0.5)
        return inside

    def to_index(self, matrix: ArrayLike) -> NDArray[np.float64]:
        """Turn a map of millimetres into one of indices.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.

        Returns
        -------
        ndarray of float64, shape (4, 4)
            Maps (slice, row, column, 1) of the region to that of the moving volume.
        """
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
        return mutual_information(self.fixed.array[within], self.look(matrix).brightness[within])

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
    # Of many pixels, a share tells the percentiles as well as all.
    every = max(1, math.isqrt(volume.array.size // WINDOW_SAMPLE))
    low, high = np.percentile(volume.array[:, ::every, ::every], WINDOW_PERCENTILES)
    if high <= low:
        return replace(volume, array=np.zeros_like(volume.array))
    return replace(volume, array=np.clip((volume.array - np.float32(low)) * np.float32(1 / (high - low)), 0, 1))


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
