"""The grid on which the network looks at a stack: upright sagittal slices with square pixels, contrast made local."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from spinefx.errors import GeometryError
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane

__all__ = ["PIXEL_MM", "WorkingGrid", "check_plane", "local_contrast", "three_slices"]

PIXEL_MM = 1.5
"""Side of a pixel on the working grid."""

# Slices thinner than this are averaged in groups: the network was taught slices of 3 mm and more.
_THINNEST_MM = 2.2
_GROUP_MM = 3.6
_CONTRAST_MM = 54.0  # side of the window in which contrast is made local
_LARGEST_MM = 1200.0  # side of a stack beyond which the spacing cannot be right
_STRETCH = 1.5


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """A stack on the working grid, and the way back.

    Parameters
    ----------
    images : ndarray of float32, shape (slice, row, column)
        Sagittal, rows running down and columns to the back, :data:`PIXEL_MM` apart; intensities as in the source.
    affine : ndarray of float64, shape (4, 4)
        Maps (slice, row, column, 1) to LPS millimetres.
    grouped : int
        Number of slices of the source that were averaged into each slice.
    """

    images: NDArray[np.float32]
    affine: NDArray[np.float64]
    grouped: int = 1

    @classmethod
    def of(cls, volume: Volume, *, order: int = 1) -> WorkingGrid:
        """Resample a volume.

        Parameters
        ----------
        volume : Volume
            Sagittal slices, or voxels so nearly cubic that sagittal slices can be cut from them.
        order : int
            1 for images, which are smoothed before they are made coarser; 0 for label maps.

        Returns
        -------
        WorkingGrid

        Raises
        ------
        GeometryError
            For slices of another plane, or a stack larger than a patient.
        """
        check_plane(volume)
        upright = volume.to_sagittal()
        slice_mm, *pixel_mm = upright.spacing_mm
        grouped = max(1, round(_GROUP_MM / slice_mm)) if slice_mm < _THINNEST_MM else 1
        stack = _group(upright.array, grouped) if order else upright.array[grouped // 2 :: grouped]
        zoom = np.array(pixel_mm) / PIXEL_MM
        shape = np.maximum(1, np.floor((np.array(upright.shape[1:]) - 1) * zoom).astype(int) + 1)
        images = np.empty((len(stack), *shape), np.float32)
        for index, image in enumerate(stack):
            if order:
                image = ndimage.gaussian_filter(image, 0.42 * np.sqrt(np.maximum(0, zoom**-2 - 1)))
            images[index] = ndimage.affine_transform(
                image, 1 / zoom, output_shape=tuple(shape), order=order, mode="nearest"
            )
        change = np.diag([grouped, *(1 / zoom), 1.0])
        change[0, 3] = (grouped - 1) / 2 if order else grouped // 2
        return cls(images, upright.affine @ change, grouped)

    @property
    def slice_mm(self) -> float:
        """Return the distance between slice centres, millimetres."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Map slice, row and column, shape (..., 3), to LPS millimetres."""
        result: NDArray[np.float64] = np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return result

    def to_index(self, position_mm: ArrayLike) -> NDArray[np.float64]:
        """Map LPS millimetres, shape (..., 3), to slice, row and column; the inverse of :meth:`to_mm`."""
        inverse = np.linalg.inv(self.affine)
        result: NDArray[np.float64] = np.asarray(position_mm, float) @ inverse[:3, :3].T + inverse[:3, 3]
        return result

    def onto(self, volume: Volume, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put labels of this grid onto the grid of the volume that it was made from.

        Parameters
        ----------
        volume : Volume
        labels : ndarray of uint8, shape (slice, row, column)
            On this grid.

        Returns
        -------
        ndarray of uint8, shape (slice, row, column)
            The nearest label of every voxel of the volume.
        """
        step = np.linalg.inv(self.affine) @ volume.affine  # index of the volume -> index here
        values: NDArray[np.uint8] = ndimage.affine_transform(
            labels, step[:3, :3], offset=step[:3, 3], output_shape=volume.shape, order=0, mode="nearest"
        )
        return values


def check_plane(volume: Volume) -> None:
    """Refuse a stack that holds no sagittal slices.

    Parameters
    ----------
    volume : Volume

    Raises
    ------
    GeometryError
    """
    stretch = max(volume.spacing_mm) / min(volume.spacing_mm)
    thick = int(np.argmax(volume.spacing_mm))
    plane = volume.plane if stretch < _STRETCH else _plane_along(volume, thick)
    if plane is not Plane.SAGITTAL and stretch >= _STRETCH:
        raise GeometryError(f"{plane.value} slices", allowed="sagittal slices", remedy="Give a sagittal series.")
    if max(np.array(volume.spacing_mm) * volume.shape) > _LARGEST_MM:
        raise GeometryError("a stack larger than a patient", remedy="Check the pixel spacing.")


def _plane_along(volume: Volume, axis: int) -> Plane:
    nearest = int(np.argmax(np.abs(volume.directions[:, axis])))
    return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[nearest]


def _group(stack: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Average consecutive slices; what remains at the end is left out, unless nothing else is there."""
    whole = len(stack) // size
    if size == 1 or not whole:
        return stack if size == 1 else stack.mean(axis=0, keepdims=True)
    grouped: NDArray[np.float32] = stack[: whole * size].reshape(whole, size, *stack.shape[1:]).mean(axis=1)
    return grouped


def local_contrast(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the local mean and divide by the local spread, so that no coil, window or margin matters.

    Parameters
    ----------
    images : ndarray of float32, shape (slice, row, column)
        On the working grid.

    Returns
    -------
    ndarray of float32
        Mostly between -3 and 3, clipped to -4 and 4.
    """
    size = (1, *[round(_CONTRAST_MM / PIXEL_MM)] * 2)
    scale = float(images.std()) or 1.0
    scaled = (images - images.mean()) / np.float32(scale)
    mean = ndimage.uniform_filter(scaled, size, mode="nearest")
    power = ndimage.uniform_filter(scaled * scaled, size, mode="nearest")
    spread = np.sqrt(np.maximum(power - mean * mean, 0))
    spread = ndimage.uniform_filter(spread, size, mode="nearest")
    result: NDArray[np.float32] = np.clip((scaled - mean) / (spread + np.float32(0.06)), -4, 4).astype(np.float32)
    return result


def three_slices(images: NDArray[np.float32], index: int, step: int = 1) -> NDArray[np.float32]:
    """Return a slice between its neighbours; at the ends of the stack the outermost slice is repeated.

    Parameters
    ----------
    images : ndarray of float32, shape (slice, row, column)
    index : int
        The slice in the middle.
    step : int
        Distance to the neighbours in slices; negative for the other order.

    Returns
    -------
    ndarray of float32, shape (3, row, column)
    """
    last = len(images) - 1
    return images[[min(max(index + offset * step, 0), last) for offset in (-1, 0, 1)]]
