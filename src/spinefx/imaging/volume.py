"""A stack of slices and where it lies in the patient.

One frame inside spinefx: DICOM patient coordinates (L+, P+, S+), millimetres; axis order slice, row, column; an index
that is an integer is a voxel's centre.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from spinefx.errors import GeometryError
from spinefx.vocabulary import Plane, Weighting

__all__ = ["SagittalTurn", "Slices", "Volume", "plane_of_normal"]

ORTHOGONALITY_TOLERANCE = 1e-3


class Slices(ABC):
    """Slices and where they lie in the patient; their voxels may still lie in files.

    A subclass has these attributes, and ``_read`` gives its voxels.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
        Maps (slice, row, column, 1) to (left, posterior, superior, 1) in millimetres.
    frame_of_reference : str
    weighting : Weighting
        The last two as in :class:`Volume`.
    """

    affine: NDArray[np.float64]
    frame_of_reference: str
    weighting: Weighting

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along slice, row and column axes, millimetres."""
        slice_mm, row_mm, column_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(slice_mm), float(row_mm), float(column_mm)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors of the slice, row and column axes as columns, shape (3, 3), LPS."""
        directions: NDArray[np.float64] = self.affine[:3, :3] / np.array(self.spacing_mm)
        return directions

    @property
    def plane(self) -> Plane:
        """Anatomical plane nearest to the slices."""
        return plane_of_normal(self.directions[:, 0])

    @cached_property
    def slice_positions_mm(self) -> NDArray[np.float64]:
        """Position of each slice along the slice axis, millimetres, shape (slice,); increasing."""
        origin = float(self.affine[:3, 3] @ self.directions[:, 0])
        return origin + self.spacing_mm[0] * np.arange(self.shape[0], dtype=np.float64)

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Map voxel indices to patient coordinates.

        Parameters
        ----------
        index : array_like, shape (..., 3)
            Slice, row and column; fractions allowed.

        Returns
        -------
        ndarray of float64, shape (..., 3)
            LPS, millimetres.
        """
        result: NDArray[np.float64] = np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return result

    def to_index(self, position_mm: ArrayLike) -> NDArray[np.float64]:
        """Map patient coordinates to voxel indices; the inverse of :meth:`to_mm`.

        Parameters
        ----------
        position_mm : array_like, shape (..., 3)
            LPS, millimetres.

        Returns
        -------
        ndarray of float64, shape (..., 3)
            Slice, row and column; may lie outside the volume.
        """
        inverse = np.linalg.inv(self.affine)
        result: NDArray[np.float64] = np.asarray(position_mm, float) @ inverse[:3, :3].T + inverse[:3, 3]
        return result

    def contains(self, position_mm: ArrayLike) -> NDArray[np.bool_]:
        """Tell which positions lie inside the imaged slab, half a voxel beyond the outermost centres counted in.

        Parameters
        ----------
        position_mm : array_like, shape (..., 3)
            LPS, millimetres.

        Returns
        -------
        ndarray of bool, shape (...)
        """
        index = self.to_index(position_mm)
        inside = (index >= -0.5) & (index <= np.asarray(self.shape) - 0.5)
        return np.asarray(inside.all(axis=-1))

    def slab(self, first: int, last: int) -> Volume:
        """Take some consecutive slices, as many as there are; only these need be read.

        Parameters
        ----------
        first, last : int
            Slices from 0, both counted in; beyond the stack its end is taken, so that there is always one.

        Returns
        -------
        Volume
            The same voxels at the same places.

        Raises
        ------
        FileError
            When a file has truncated or broken pixels, or changed since it was scanned.
        GeometryError
            When the voxels are not finite.
        """
        first = min(max(first, 0), self.shape[0] - 1)
        last = min(max(last, first), self.shape[0] - 1)
        shift = np.eye(4)
        shift[0, 3] = first
        return Volume(self._read(first, last), self.affine @ shift, self.frame_of_reference, self.weighting)

    def whole(self) -> Volume:
        """Take all slices.

        Returns
        -------
        Volume

        Raises
        ------
        FileError, GeometryError
            As :meth:`slab`.
        """
        return self.slab(0, self.shape[0] - 1)

    @abstractmethod
    def _read(self, first: int, last: int) -> NDArray[np.float32]:
        """Voxels of slices first to last, both included."""


@dataclass(frozen=True, eq=False)
class Volume(Slices):
    """Voxels with their place in the patient.

    Parameters
    ----------
    array : ndarray of float32, shape (slice, row, column)
        Finite; made read-only.
    affine : ndarray of float64, shape (4, 4)
        Maps (slice, row, column, 1) to (left, posterior, superior, 1) in millimetres. Axes orthogonal within 1e-3,
        spacing above zero.
    frame_of_reference : str
        Pseudonymous key of the frame of reference; empty where the source names none.
    weighting : Weighting
        Contrast, as far as it is known.

    Raises
    ------
    GeometryError
        For any state above that does not hold.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]
    frame_of_reference: str = ""
    weighting: Weighting = field(default=Weighting.UNKNOWN)

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32)
        affine = np.array(self.affine, dtype=np.float64)
        if array.ndim != 3 or 0 in array.shape:
            raise GeometryError(f"an array of shape {array.shape}", allowed="(slice, row, column), none empty")
        if not np.isfinite(array).all():
            raise GeometryError("voxels that are not finite numbers")
        _check_affine(affine)
        array = array.view()
        array.setflags(write=False)
        affine.setflags(write=False)
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{step:.3g}" for step in self.spacing_mm)
        return f"Volume({self.weighting}, {self.plane}, shape {self.shape}, spacing {spacing} mm)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        slices, rows, columns = self.array.shape
        return slices, rows, columns

    @cached_property
    def voxel_digest(self) -> str:
        """SHA-256 of the voxels: shape, then little-endian float32 in axis order."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for image in self.array:
            digest.update(image.astype("<f4", copy=False).tobytes())
        return f"sha256:{digest.hexdigest()}"

    def sample(self, position_mm: ArrayLike, *, order: int = 1) -> NDArray[np.float32]:
        """Interpolate at patient coordinates; outside the volume the nearest edge voxel is repeated.

        Parameters
        ----------
        position_mm : array_like, shape (..., 3)
            LPS, millimetres.
        order : int
            Spline order: 0 nearest, 1 linear.

        Returns
        -------
        ndarray of float32, shape (...)
        """
        index = self.to_index(position_mm)
        coordinates = np.moveaxis(index, -1, 0)
        values: NDArray[np.float32] = ndimage.map_coordinates(
            self.array, coordinates, order=order, mode="nearest", output=np.float32
        )
        return values

    def to_sagittal(self) -> Volume:
        """Reorder axes to the way a sagittal image is read: rows run down, columns run to the back.

        Slices then increase along the cross product of column and row axes (towards the patient's right), whatever the
        source's storage order. No voxel is interpolated.

        Returns
        -------
        Volume
            The same voxels at the same places; slice, row and column axes nearest to R, I and P.
        """
        turn = SagittalTurn.of(self.affine, self.shape)
        if turn.order == (0, 1, 2) and not turn.flipped:
            return self
        return replace(self, array=np.ascontiguousarray(turn.apply(self.array)), affine=turn.affine)

    def _read(self, first: int, last: int) -> NDArray[np.float32]:
        return self.array[first : last + 1]


@dataclass(frozen=True, eq=False)
class SagittalTurn:
    """How the axes of a stack are reordered so that it is read as a sagittal image.

    Parameters
    ----------
    order : tuple of int
        Which stored axis becomes the slice, row and column axis.
    flipped : tuple of int
        Which of the new axes then run the other way.
    affine : ndarray of float64, shape (4, 4)
        That of the turned stack.
    """

    order: tuple[int, int, int]
    flipped: tuple[int, ...]
    affine: NDArray[np.float64]

    @classmethod
    def of(cls, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> SagittalTurn:
        """Choose the axes nearest to R, I and P.

        Parameters
        ----------
        affine : ndarray of float64, shape (4, 4)
            Of the stack as it is stored.
        shape : tuple of int
            Of the stack as it is stored.

        Returns
        -------
        SagittalTurn
        """
        wanted = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]).T  # columns: R, I, P in LPS
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        closeness = wanted.T @ directions  # wanted axis x present axis
        order = _assign_axes(np.abs(closeness))
        flipped = tuple(axis for axis, source in enumerate(order) if closeness[axis, source] < 0)
        turned = np.eye(4)
        turned[:3, 3] = affine[:3, 3]
        for axis, source in enumerate(order):
            step = affine[:3, source]
            turned[:3, axis] = -step if axis in flipped else step
            if axis in flipped:
                turned[:3, 3] += step * (shape[source] - 1)
        return cls(order, flipped, turned)

    @property
    def keeps_slices(self) -> bool:
        """Whether slices stay slices in their order, so that each can be turned for itself."""
        return self.order[0] == 0 and 0 not in self.flipped

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn voxels.

        Parameters
        ----------
        array : ndarray of float32, shape (slice, row, column)
            The stored stack, or some of its slices where :attr:`keeps_slices`.

        Returns
        -------
        ndarray of float32, shape (slice, row, column)
            A view.
        """
        return np.flip(np.transpose(array, self.order), self.flipped)


def plane_of_normal(normal: ArrayLike) -> Plane:
    """Name the anatomical plane whose normal is nearest to a direction.

    Parameters
    ----------
    normal : array_like, shape (3,)
        LPS; any length above zero.

    Returns
    -------
    Plane
    """
    nearest = int(np.argmax(np.abs(np.asarray(normal, float))))
    return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[nearest]


def _assign_axes(closeness: NDArray[np.float64]) -> tuple[int, int, int]:
    """Give each wanted axis (row) the present axis (column) that maximises the summed closeness."""
    best = max(permutations(range(3)), key=lambda order: sum(closeness[axis, order[axis]] for axis in range(3)))
    return best[0], best[1], best[2]


def _check_affine(affine: NDArray[np.float64]) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], [0, 0, 0, 1]):
        raise GeometryError("an affine that is no finite 4 x 4 matrix with last row 0 0 0 1")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing <= 0).any():
        raise GeometryError(f"a voxel spacing of {spacing.tolist()} mm", allowed="above 0 along every axis")
    cosines = (affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing) - np.eye(3)
    worst = float(np.abs(cosines).max())
    if worst > ORTHOGONALITY_TOLERANCE:
        raise GeometryError(
            f"image axes that are not at right angles (cosine {worst:.4f})", allowed=f"up to {ORTHOGONALITY_TOLERANCE}"
        )
