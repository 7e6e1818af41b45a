"""The voxel grid on which a spine is rendered, and random textures that belong to the patient.

Rendering follows the painter's algorithm: structures are painted from the farthest to the nearest, each covering a
share of the water and fat that the voxels hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.phantom.vertebra import Vertebra

__all__ = ["Canvas", "Region", "Texture", "coverage"]

Floats = NDArray[Any]  # of float32, which is precise enough and faster than float64
Stretch = tuple[float, float, float] | NDArray[np.float64]
_CORNERS = np.array([[corner >> axis & 1 for axis in range(3)] for corner in range(8)], bool)


class Texture:
    """Smooth random fields fixed to the spine frame, so that every series shows the same texture.

    Parameters
    ----------
    rng : numpy.random.Generator
    """

    _SIDE = 64

    def __init__(self, rng: np.random.Generator) -> None:
        fields = rng.standard_normal((2, self._SIDE, self._SIDE, self._SIDE)).astype(np.float32)
        self._fields = []
        for field in fields:
            smooth = ndimage.gaussian_filter(field, 1.1, mode="wrap")
            # The first plane of each axis is repeated after the last, so that every sample has an upper neighbour.
            self._fields.append(np.pad(smooth / smooth.std(), ((0, 1),) * 3, mode="wrap"))

    def sample(
        self, region: Region, scale_mm: float, channel: int = 0, stretch: Stretch = (1, 1, 1), *, thin: bool = True
    ) -> Floats:
        """Sample a field over a region: once per slice, on a grid that suits the scale, then interpolated.

        Parameters
        ----------
        region : Region
        scale_mm : float
            Correlation length of the texture.
        channel : int
            Which of the independent fields to sample; they are shifted copies of two lattices.
        stretch : tuple of float, length 3, or ndarray, shape (3, 3)
            Multiplies left, posterior and superior coordinates: below 1 the texture is elongated along that axis.
        thin : bool
            Whether to repeat the values of a slice for each of its thin slices.

        Returns
        -------
        ndarray of float32, shape of the region, or (slices, rows, columns) without thin slices
            Mean 0, standard deviation near 1; equal in all thin slices of one slice.
        """
        step, shift = scale_mm / 2.2, 17.37 * (channel // 2)
        # The lattice is rotated: the rows and columns of an unrotated one would be visible.
        pull = np.asarray(stretch, float)
        turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0.21], [-0.17, 0, 1.0]]) @ (
            np.diag(pull) if pull.ndim == 1 else pull
        )
        matrix = turn @ region.affine[:3] / step
        matrix[:, 3] += shift * np.array([1, 2, 3])
        finest = scale_mm / float(np.abs(pull).max())
        factor = max(1, round(finest / (2.4 * region.pixel_mm)))
        _, rows, columns = region.shape
        few = [-(-(size - 1) // factor) + 1 for size in (rows, columns)]
        _, top, left = region.block
        down, right = top.start + factor * np.arange(few[0]), left.start + factor * np.arange(few[1])
        place = [_affine_grid(row, (region.middles, down, right)) for row in matrix]
        field = _trilinear(self._fields[channel % 2], place)
        if factor > 1:
            field = _hat(rows, few[0], factor) @ field @ _hat(columns, few[1], factor).T
        return region.spread(field) if thin else field


@dataclass(frozen=True, eq=False)
class Region:
    """A rectangular block of a canvas's voxels.

    Parameters
    ----------
    block : tuple of slice, length 3
        Ranges of thin slices, rows and columns.
    affine : ndarray, shape (4, 4)
        Index -> spine frame, millimetres.
    thin : int
        Number of thin slices per slice.
    """

    block: tuple[slice, slice, slice]
    affine: NDArray[np.float64]
    thin: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the number of thin slices, rows and columns."""
        slices, rows, columns = (part.stop - part.start for part in self.block)
        return slices, rows, columns

    @property
    def pixel_mm(self) -> float:
        """Return the row spacing, millimetres."""
        return float(np.linalg.norm(self.affine[:3, 1]))

    @property
    def middles(self) -> NDArray[np.float64]:
        """Return the index of the middle of every slice that the block touches, counted in thin slices."""
        part = self.block[0]
        slices = np.arange(part.start // self.thin, -(-part.stop // self.thin))
        result: NDArray[np.float64] = slices * self.thin + (self.thin - 1) / 2
        return result

    def corners(self) -> NDArray[np.float64]:
        """Return the corners of the block, shape (8, 3), spine frame, millimetres."""
        ends = np.array([[part.start, part.stop - 1] for part in self.block], float)
        index = np.where(_CORNERS, ends[:, 1], ends[:, 0])
        result: NDArray[np.float64] = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return result

    def spread(self, values: Floats) -> Floats:
        """Repeat the values of each slice for its thin slices; the inverse of sampling at :attr:`middles`."""
        first = self.block[0].start % self.thin
        result: Floats = np.repeat(values, self.thin, axis=0)[first : first + self.shape[0]]
        return result

    def spine(self) -> tuple[Floats, Floats, Floats]:
        """Return the left, posterior and superior coordinate of every voxel, spine frame, millimetres."""
        axes = tuple(np.arange(part.start, part.stop) for part in self.block)
        x, y, z = (_affine_grid(row, axes) for row in self.affine[:3])
        return x, y, z

    def spine_of_slices(self) -> tuple[Floats, Floats, Floats]:
        """Return these coordinates in the middle of every slice, shape (slices, rows, columns)."""
        rows, columns = (np.arange(part.start, part.stop) for part in self.block[1:])
        x, y, z = (_affine_grid(row, (self.middles, rows, columns)) for row in self.affine[:3])
        return x, y, z

    def local(self, vertebra: Vertebra) -> tuple[Floats, Floats, Floats]:
        """Return the lateral, depth and height coordinate of every voxel in a vertebra's own frame, millimetres."""
        turn = np.eye(4)
        turn[:3, :3] = vertebra.axes
        turn[:3, 3] = -vertebra.axes @ vertebra.centre_mm
        axes = tuple(np.arange(part.start, part.stop) for part in self.block)
        side, depth, height = (_affine_grid(row, axes) for row in (turn @ self.affine)[:3])
        return side, depth, height


def _trilinear(field: Floats, place: list[Floats]) -> Floats:
    """Interpolate a periodic field whose first planes are repeated after the last.

    Equals ``scipy.ndimage.map_coordinates`` at order 1, in less than half the time.
    """
    side = field.shape[0]
    flat = field.ravel()
    base = np.zeros(place[0].shape, np.int32)
    parts = []
    for axis in place:
        whole = np.floor(axis)
        parts.append(axis - whole)
        base = base * side + (whole.astype(np.int32) & (side - 2))  # the period is a power of two

    def along(start: NDArray[np.int32], axis: int) -> Floats:
        if axis == 3:
            return flat.take(start)
        low = along(start, axis + 1)
        low += parts[axis] * (along(start + side ** (2 - axis), axis + 1) - low)
        return low

    return along(base, 0)


def _affine_grid(row: NDArray[np.float64], axes: tuple[NDArray[Any], ...]) -> Floats:
    """Evaluate one coordinate on a grid of indices: row[:3] . index + row[3]."""
    slices, rows, columns = (weight * axis for weight, axis in zip(row, axes, strict=False))
    plane = (rows[:, None] + columns[None, :]).astype(np.float32)
    result: Floats = (slices + row[3]).astype(np.float32)[:, None, None] + plane
    return result


class Canvas:
    """Water and fat signal of a stack of thin slices.

    Parameters
    ----------
    shape : tuple of int
        Number of thin slices, rows and columns.
    affine : ndarray, shape (4, 4)
        Index -> spine frame, millimetres.
    thin : int
        Number of thin slices per slice.
    """

    def __init__(self, shape: tuple[int, int, int], affine: NDArray[np.float64], thin: int = 1) -> None:
        self.thin = thin
        self.water = np.zeros(shape, np.float32)
        self.fat = np.zeros(shape, np.float32)
        self.affine = np.array(affine, float)
        self._inverse = np.linalg.inv(self.affine)

    @property
    def pixel_mm(self) -> float:
        """Return the row spacing, millimetres."""
        return float(np.linalg.norm(self.affine[:3, 1]))

    def coarse(self, pixel_mm: float) -> Canvas:
        """Return an empty canvas through the middle of this one's slices, with pixels of about ``pixel_mm``."""
        thin_slices, rows, columns = self.water.shape
        factor = max(1, round(pixel_mm / self.pixel_mm))
        change = np.diag([float(self.thin), factor, factor, 1.0])
        change[0, 3] = (self.thin - 1) / 2
        shape = (thin_slices // self.thin, -(-(rows - 1) // factor) + 1, -(-(columns - 1) // factor) + 1)
        return Canvas(shape, self.affine @ change)

    def upsample_from(self, coarse: Canvas) -> None:
        """Fill every thin slice from a canvas that :meth:`coarse` returned, by linear interpolation."""
        factor = coarse.pixel_mm / self.pixel_mm
        down, right = (
            _hat(size, few, factor) for size, few in zip(self.water.shape[1:], coarse.water.shape[1:], strict=True)
        )
        for index in range(coarse.water.shape[0]):
            block = slice(index * self.thin, (index + 1) * self.thin)
            self.water[block] = down @ coarse.water[index] @ right.T
            self.fat[block] = down @ coarse.fat[index] @ right.T

    def slices(self) -> tuple[Floats, Floats]:
        """Return the water and fat of every slice: the mean of its thin slices."""
        shape = (-1, self.thin, *self.water.shape[1:])
        return self.water.reshape(shape).mean(axis=1), self.fat.reshape(shape).mean(axis=1)

    def whole(self) -> Region:
        """Return the region that holds all voxels."""
        slices, rows, columns = self.water.shape
        return Region((slice(0, slices), slice(0, rows), slice(0, columns)), self.affine, self.thin)

    def region(self, corners_mm: NDArray[np.float64]) -> Region | None:
        """Return the block of voxels around some points, or None where it lies outside the canvas.

        Parameters
        ----------
        corners_mm : ndarray, shape (n, 3)
            Spine frame.

        Returns
        -------
        Region or None
        """
        index = corners_mm @ self._inverse[:3, :3].T + self._inverse[:3, 3]
        low = [max(int(np.floor(value)), 0) for value in index.min(axis=0)]
        high = [
            min(int(np.ceil(value)) + 1, size) for value, size in zip(index.max(axis=0), self.water.shape, strict=True)
        ]
        if any(start >= stop for start, stop in zip(low, high, strict=True)):
            return None
        return Region((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), self.affine, self.thin)

    def bands(self, points_mm: NDArray[np.float64], rows: int) -> list[Region]:
        """Return blocks of ``rows`` rows that together hold some points and do not overlap.

        Parameters
        ----------
        points_mm : ndarray, shape (n, 3)
            Spine frame.
        rows : int

        Returns
        -------
        list of Region
        """
        index = points_mm @ self._inverse[:3, :3].T + self._inverse[:3, 3]
        if index[:, 0].max() < 0 or index[:, 0].min() > self.water.shape[0] - 1:
            return []
        found = []
        for top in range(0, self.water.shape[1], rows):
            near = index[(index[:, 1] > top - 4) & (index[:, 1] < top + rows + 4)]
            if len(near):
                left = max(int(np.floor(near[:, 2].min())), 0)
                right = min(int(np.ceil(near[:, 2].max())) + 1, self.water.shape[2])
                if left < right:
                    bottom = min(top + rows, self.water.shape[1])
                    block = (slice(0, self.water.shape[0]), slice(top, bottom), slice(left, right))
                    found.append(Region(block, self.affine, self.thin))
        return found

    def box(self, vertebra: Vertebra, low_mm: tuple[float, ...], high_mm: tuple[float, ...]) -> Region | None:
        """Return the block of voxels around a box in a vertebra's own frame (lateral, depth, height)."""
        low, high = np.array(low_mm), np.array(high_mm)
        return self.region(vertebra.world(np.where(_CORNERS, high, low)))

    def blend(self, region: Region, alpha: Floats, water: Any, fat: Any) -> None:
        """Cover a share ``alpha`` of each voxel with other signal.

        Parameters
        ----------
        region : Region
        alpha : ndarray, shape of the region
            0 to 1.
        water, fat : float or ndarray
        """
        for plane, value in ((self.water, water), (self.fat, fat)):
            part = plane[region.block]
            part += alpha * (value - part)

    def blend_slices(self, region: Region, alpha: Floats, water: Any, fat: Any) -> None:
        """Cover all thin slices of each slice equally.

        Parameters
        ----------
        region : Region
            Over whole slices, as :meth:`bands` returns it.
        alpha : ndarray, shape (slices, rows, columns)
            0 to 1.
        water, fat : float or ndarray of the same shape
        """
        _, rows, columns = region.block
        for plane, value in ((self.water, water), (self.fat, fat)):
            part = plane.reshape(-1, self.thin, *plane.shape[1:])[:, :, rows, columns]
            each = np.broadcast_to(np.asarray(value, np.float32), alpha.shape)
            part += alpha[:, None] * (each[:, None] - part)

    def mark(self, region: Region, alpha: Floats, kind: int, owner: Any = 0) -> None:
        """Record which structure has just been painted. Images need no labels, so this class records nothing.

        Parameters
        ----------
        region : Region
        alpha : ndarray, shape of the region
            Share of each voxel that was covered.
        kind : int
            0 for what bears no label.
        owner : int or ndarray
            Index of the vertebra that the structure belongs to.
        """

    def mark_sign(self, region: Region, alpha: Floats, sign: str) -> None:
        """Record where one of the fifteen signs lies. Images need no such masks, so this class records nothing.

        Parameters
        ----------
        region : Region
        alpha : ndarray, shape of the region
            Share of each voxel that shows the sign.
        sign : str
        """

    def scale(self, region: Region, alpha: Floats, factor: float) -> None:
        """Multiply the signal by ``factor`` where ``alpha`` is 1, and by less where it is covered in part."""
        gain = 1 - alpha * np.float32(1 - factor)
        self.water[region.block] *= gain
        self.fat[region.block] *= gain


@cache
def _hat(size: int, few: int, factor: float) -> Floats:
    """Return the matrix of linear interpolation from ``few`` nodes, ``factor`` samples apart, to ``size`` samples."""
    place = np.arange(size)[:, None] / factor - np.arange(few)[None, :]
    hat: Floats = np.maximum(1 - np.abs(place), 0).astype(np.float32)
    return hat


def coverage(inside_mm: Floats, softness_mm: float) -> Floats:
    """Convert the signed distance to a surface into the share of a voxel that lies inside.

    Parameters
    ----------
    inside_mm : ndarray
        Distance to the surface, positive inside.
    softness_mm : float
        Width of the edge; a pixel for a sharp one.

    Returns
    -------
    ndarray
        0 to 1.
    """
    result: Floats = np.clip(inside_mm * np.float32(1 / softness_mm) + np.float32(0.5), 0, 1)
    return result
