"""Similarity of two contrasts of one anatomy: mutual information over a region of one volume.

T1W and T2W images agree in the borders of tissues, not in their brightness. Mutual information measures how well one
brightness predicts the other, so it serves both to find an alignment and to judge one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinefx.imaging.volume import Volume

__all__ = [
    "BINS",
    "Comparison",
    "Resampled",
    "crop_in_plane",
    "map_points",
    "mutual_information",
    "pool_in_plane",
    "window",
]

BINS = 32
WINDOW_PERCENTILES = (0.5, 99.5)
WINDOW_SAMPLE = 2**15


@dataclass(frozen=True, eq=False)
class Resampled:
    """The moving volume, resampled through a map at every voxel of the region; arrays of shape (slice, row, column).

    Parameters
    ----------
    brightness : ndarray of float32
        0 to 1, interpolated linearly; beyond the moving volume its edge is repeated.
    slopes : tuple of ndarray of float32
        Change of brightness per voxel along slices, rows and columns of the moving volume.
    covered : ndarray of bool
        Which voxels map into the moving volume.
    """

    brightness: NDArray[np.float32]
    slopes: tuple[NDArray[np.float32], ...]
    covered: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A region of one volume, and the volume to compare with it.

    Parameters
    ----------
    fixed : Volume
        The region, every voxel of which is compared; windowed to 0 to 1.
    moving : Volume
        Windowed to 0 to 1; interpolated linearly.
    """

    fixed: Volume
    moving: Volume

    @classmethod
    def around(
        cls, fixed: Volume, moving: Volume, *, centre_mm: ArrayLike, width_mm: float, pixel_mm: float, every: int = 1
    ) -> Comparison:
        """Cut a square around a point from all slices, then pool and window both volumes.

        Parameters
        ----------
        fixed, moving : Volume
            As read from their files.
        centre_mm : array_like, shape (3,)
            Centre of the square, LPS, millimetres; inside ``fixed``.
        width_mm : float
            Width of the square along rows and columns, millimetres.
        pixel_mm : float
            Pixel size after pooling within slices, millimetres.
        every : int
            Step between compared pixels along rows and columns; 1 compares all.

        Returns
        -------
        Comparison
        """
        region = crop_in_plane(pool_in_plane(fixed, pixel_mm), centre_mm, width_mm)
        thinned = region.affine @ np.diag([1.0, every, every, 1.0])
        region = replace(region, array=region.array[:, ::every, ::every], affine=thinned)
        return cls(window(region), window(pool_in_plane(moving, pixel_mm)))

    def resample(self, matrix: ArrayLike) -> Resampled:
        """Resample the moving volume through a map, at every voxel of the region.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.

        Returns
        -------
        Resampled
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
        # The eight corners of each voxel's cell yield both the brightness and its slopes.
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
        return Resampled(rows[0] + along_slices * shares[0], slopes, self._inside(index))

    def covered(self, matrix: ArrayLike) -> NDArray[np.bool_]:
        """Return which voxels of the region a map brings inside the moving volume.

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
        """Convert a map between millimetres into a map between indices.

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
        """Return the mutual information of the two volumes under a map.

        Parameters
        ----------
        matrix : array_like, shape (4, 4)
            Maps the region's millimetres to the moving volume's.
        within : ndarray of bool, shape (slice, row, column)
            The voxels to compare. Compare two maps over the same voxels.

        Returns
        -------
        float
            Nats; 0 where no voxel is compared.
        """
        return mutual_information(self.fixed.array[within], self.resample(matrix).brightness[within])

    def translation_scores(
        self, reach_mm: tuple[float, float, float], *, least_coverage: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score every translation by whole voxels of the region within a range.

        Parameters
        ----------
        reach_mm : tuple of float
            Largest shift in either direction along slices, rows and columns, millimetres.
        least_coverage : float
            Share of the region, 0 to 1, that must map into the moving volume.

        Returns
        -------
        scores : ndarray of float64, shape (slice steps, row steps, column steps)
            Mutual information over the covered voxels, nats; 0 where too few are covered.
        shifts_mm : ndarray of float64, shape (slice steps, row steps, column steps, 3)
            The translations, LPS, millimetres.
        """
        # The moving volume is sampled once, on the region's lattice plus a margin; each translation is a view of it.
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
    """Map positions by a 4 x 4 matrix.

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
    """Return the mutual information of paired brightness values, from their joint histogram of 32 x 32 bins.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n,)
        Windowed to 0 to 1.

    Returns
    -------
    float
        Nats, 0 or more, and higher for more similar images; 0 for n = 0.

    Notes
    -----
    The plug-in estimate, biased upwards by about (bins - 1)^2 / (2 n): compare only values of similar n.
    """
    return _information(_bin(first), _bin(second))


def pool_in_plane(volume: Volume, pixel_mm: float) -> Volume:
    """Average blocks of pixels within each slice, never across slices, which are thick already.

    Parameters
    ----------
    volume : Volume
    pixel_mm : float
        Desired pixel size, millimetres; along each axis the nearest whole number of source pixels is averaged.

    Returns
    -------
    Volume
        The same slices at the same position; rows and columns that fill no whole block are dropped at the far edge.
    """
    slices, rows, columns = volume.shape
    _, row_mm, column_mm = volume.spacing_mm
    down = min(max(1, round(pixel_mm / row_mm)), rows)
    across = min(max(1, round(pixel_mm / column_mm)), columns)
    tall, wide = rows // down, columns // across
    # Rows are summed first, whole lines at a time: a mean over both axes at once takes ten times as long.
    lines = volume.array[:, : tall * down, : wide * across].reshape(slices, tall, down, wide * across).sum(axis=2)
    blocks = sum((lines[..., offset::across] for offset in range(1, across)), lines[..., ::across])
    coarse_to_fine = np.diag([1.0, down, across, 1.0])
    coarse_to_fine[1:3, 3] = (down - 1) / 2, (across - 1) / 2
    return replace(volume, array=blocks / np.float32(down * across), affine=volume.affine @ coarse_to_fine)


def crop_in_plane(volume: Volume, centre_mm: ArrayLike, width_mm: float) -> Volume:
    """Crop a square around a point from every slice, as far as the volume extends.

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
        The same slices at the same position.
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
    """Scale brightness from the 0.5th to the 99.5th percentile to 0 to 1, and clip the rest.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    Volume
        All 0 where the brightness does not vary.
    """
    # A share of many pixels estimates the percentiles as well as all of them.
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
