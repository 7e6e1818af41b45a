"""From a marked vertebra in two series to the 6 x 64 x 64 patches that the network sees.

Every patch is cut in one interpolation straight from source voxels: box, registration, neighbouring slices and
augmentation are composed into one matrix before anything is sampled (protocol rows 5, 7 to 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import PatchError
from spinefx.files import canonical_json, digest_of

if TYPE_CHECKING:  # they bring SciPy, without which patches once cut can still be sampled and trained on
    from spinefx.imaging.registration import Alignment
    from spinefx.imaging.volume import Slices

__all__ = [
    "CHANNELS",
    "REACH",
    "Jitter",
    "Patch",
    "PatchSettings",
    "PatchStack",
    "cut_patches",
    "jitter_matrices",
    "patch_grid",
]

CHANNELS = ("T1W-1", "T1W0", "T1W+1", "T2W-1", "T2W0", "T2W+1")
# Source voxels are kept this far from the box's centre, in sides of the box: room for every jitter a recipe may draw.
REACH = 0.8


@dataclass(frozen=True)
class PatchSettings:
    """What decides how patches are cut; patches of other settings never mix.

    Parameters
    ----------
    registration : {'rigid', 'affine', 'geometry', 'simpleitk'}
        How T1W is brought to T2W; ``geometry`` trusts the headers alone, ``simpleitk`` is rigid by that package.
    margin_percent : float
        Added to the box's side.
    size : int
        Pixels along each side of the patch.
    """

    registration: str = "rigid"
    margin_percent: float = 0.0
    size: int = 64

    @property
    def digest(self) -> str:
        """SHA-256 of the settings."""
        return digest_of(canonical_json(asdict(self)))

    @property
    def name(self) -> str:
        """Short name for a folder: empty for the protocol's own settings."""
        parts = [] if self.registration == "rigid" else [self.registration]
        parts += [] if self.margin_percent == 0 else [f"margin{self.margin_percent:g}"]
        parts += [] if self.size == 64 else [f"size{self.size}"]
        return "-".join(parts)


@dataclass(frozen=True)
class Jitter:
    """A random change of view, applied alike to all six channels (protocol row 5).

    Parameters
    ----------
    shift_row, shift_column : float
        In sides of the box.
    scale : float
        Above one shows more of the surroundings.
    rotation_deg : float
        From the row axis towards the column axis.
    """

    shift_row: float = 0.0
    shift_column: float = 0.0
    scale: float = 1.0
    rotation_deg: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether nothing is changed."""
        return (self.shift_row, self.shift_column, self.scale, self.rotation_deg) == (0.0, 0.0, 1.0, 0.0)

    @property
    def reach(self) -> float:
        """Farthest coordinate touched from the box's centre, in sides of the box."""
        angle = np.deg2rad(self.rotation_deg)
        corner = 0.5 * self.scale * (abs(np.cos(angle)) + abs(np.sin(angle)))
        return float(corner + max(abs(self.shift_row), abs(self.shift_column)))

    def matrix(self) -> NDArray[np.float64]:
        """Map patch-plane coordinates to where they are now looked up.

        Returns
        -------
        ndarray of float64, shape (3, 3)
            Acts on (u, v, 1); u down the rows and v along the columns, -0.5 to 0.5 over the box.
        """
        matrix: NDArray[np.float64] = jitter_matrices([self])[0]
        return matrix


def jitter_matrices(jitters: Sequence[Jitter]) -> NDArray[np.float64]:
    """Give the matrices of many jitters at once.

    Parameters
    ----------
    jitters : sequence of Jitter, length n

    Returns
    -------
    ndarray of float64, shape (n, 3, 3)
        As :meth:`Jitter.matrix` gives them.
    """
    dials = [(one.shift_row, one.shift_column, one.scale, one.rotation_deg) for one in jitters]
    row, column, scale, degrees = np.array(dials).reshape(-1, 4).T
    angle = np.deg2rad(degrees)
    matrices = np.zeros((len(dials), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale * np.cos(angle)
    matrices[:, 1, 0] = scale * np.sin(angle)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, 0, 2], matrices[:, 1, 2], matrices[:, 2, 2] = row, column, 1
    return matrices


@dataclass(frozen=True, eq=False)
class Patch:
    """One input of the network.

    Parameters
    ----------
    array : ndarray of float32, shape (6, row, column)
        Channels in the order of :data:`CHANNELS`; each of mean 0 and standard deviation 1.
    case_id : str
    slice_index : int
        The T2W slice at its centre.
    mm_per_pixel : float
    jitter : Jitter
    """

    array: NDArray[np.float32]
    case_id: str
    slice_index: int
    mm_per_pixel: float
    jitter: Jitter = field(default_factory=Jitter)


@dataclass(frozen=True, eq=False)
class PatchStack:
    """What every patch of one case is cut from.

    Parameters
    ----------
    case_id, participant_id : str
    slices : tuple of int
        T2W slices that hold the lesion; each is the centre of one patch.
    t1w, t2w : ndarray of float32, shape (slice, row, column)
        Source voxels round the box, out to :data:`REACH`; beyond the image its edge is repeated.
    matrices : ndarray of float64, shape (len(slices), 6, 3, 3)
        Map (u, v, 1) of the patch plane to (slice, row, column) in ``t1w`` (channels 0 to 2) or ``t2w`` (3 to 5).
    side_mm : float
        Side of the box, margin included.
    flags : tuple of str
        What a reader of the result should know: edges repeated, box shifted or padded.
    settings : PatchSettings
    """

    case_id: str
    participant_id: str
    slices: tuple[int, ...]
    t1w: NDArray[np.float32]
    t2w: NDArray[np.float32]
    matrices: NDArray[np.float64]
    side_mm: float
    flags: tuple[str, ...] = ()
    settings: PatchSettings = field(default_factory=PatchSettings)

    def __post_init__(self) -> None:
        if self.matrices.shape != (len(self.slices), 6, 3, 3):
            raise PatchError(
                f"{self.matrices.shape} sampling matrices for {len(self.slices)} slices", where=self.case_id
            )
        if not (np.isfinite(self.t1w).all() and np.isfinite(self.t2w).all() and np.isfinite(self.matrices).all()):
            raise PatchError("source voxels or positions that are not finite", where=self.case_id)

    @property
    def settings_digest(self) -> str:
        """Digest of the settings that the patches were cut with."""
        return self.settings.digest

    def cut(self, position: int, jitter: Jitter | None = None, size: int | None = None) -> Patch:
        """Sample one patch.

        Parameters
        ----------
        position : int
            Which of :attr:`slices` is the centre, from 0.
        jitter : Jitter, optional
            None changes nothing.
        size : int, optional
            Pixels along each side; the settings' own by default.

        Returns
        -------
        Patch

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        jitter = jitter or Jitter()
        size = size or self.settings.size
        plane = np.stack([*np.meshgrid(patch_grid(size), patch_grid(size), indexing="ij"), np.ones((size, size))])
        coordinates = np.tensordot(self.matrices[position] @ jitter.matrix(), plane, axes=1)
        array = np.concatenate([_sampled(self.t1w, coordinates[:3]), _sampled(self.t2w, coordinates[3:])])
        return Patch(
            self._normalised(array, position), self.case_id, self.slices[position], self.side_mm / size, jitter
        )

    def _normalised(self, array: NDArray[np.float32], position: int) -> NDArray[np.float32]:
        mean = array.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        deviation = array.std(axis=(1, 2), keepdims=True, dtype=np.float64)
        flat = np.flatnonzero(deviation.ravel() <= 1e-6 * (1 + np.abs(mean.ravel())))
        if flat.size:
            raise PatchError(
                f"channel {CHANNELS[flat[0]]} of slice {self.slices[position]} holds one grey level only",
                where=self.case_id,
                remedy="Check that the box lies on tissue in both series.",
            )
        normalised: NDArray[np.float32] = ((array - mean) / deviation).astype(np.float32)
        return normalised


def _sampled(source: NDArray[np.float32], index: NDArray[np.float64]) -> NDArray[np.float32]:
    """Trilinear samples, edges repeated; index of shape (channel, 3, row, column). The same bits as SciPy's."""
    corners = []
    for axis, extent in enumerate(source.shape):
        place = np.clip(index[:, axis], 0, extent - 1)
        first = place.astype(np.int64)
        below = 1 - (place - first)
        corners.append(((first, below), (np.minimum(first + 1, extent - 1), 1 - below)))
    total = np.zeros(index[:, 0].shape)
    for (slices, by_slice), (rows, by_row), (columns, by_column) in product(*corners):
        total += source[slices, rows, columns] * by_slice * by_row * by_column
    return total.astype(np.float32)


def patch_grid(size: int) -> NDArray[np.float64]:
    """Coordinates of patch pixels along one axis.

    Parameters
    ----------
    size : int
        Number of pixels.

    Returns
    -------
    ndarray of float64, shape (size,)
        Pixel centres in sides of the box, -0.5 to 0.5 at the box's edges.
    """
    grid: NDArray[np.float64] = (np.arange(size) + 0.5) / size - 0.5
    return grid


def cut_patches(
    lesion: Lesion,
    t1w: Slices,
    t2w: Slices,
    alignment: Alignment,
    *,
    case_id: str,
    participant_id: str,
    settings: PatchSettings | None = None,
) -> PatchStack:
    """Gather what the patches of one case are cut from.

    Parameters
    ----------
    lesion : Lesion
        Marked on ``t2w``.
    t1w, t2w : Slices
        Only the slices that the patches touch are read.
    alignment : Alignment
        T2W millimetres to T1W millimetres.
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
        When the mapped box lies outside the T1W stack.
    FileError, GeometryError
        When slices that are not read yet cannot be.
    """
    settings = settings or PatchSettings()
    lesion.check_inside(t2w)
    box, flags = _fit_into(lesion.box.grown(settings.margin_percent), t2w)
    planes = np.stack([[_plane(box, t2w, centre + offset) for offset in (-1, 0, 1)] for centre in lesion.slices])
    flags += _check_t1w_covers(planes, t1w, alignment, case_id)
    to_t1w = np.linalg.inv(t1w.affine) @ alignment.matrix
    last = t2w.shape[0] - 1
    if any(centre in (0, last) for centre in lesion.slices):
        flags.append("the T2W stack ends at the lesion: its edge slice stands for the missing neighbour")
    clamped = np.stack([[_plane(box, t2w, min(max(c + o, 0), last)) for o in (-1, 0, 1)] for c in lesion.slices])
    t1w_crop, t1w_matrices = _crop(t1w, to_t1w @ planes)
    t2w_crop, t2w_matrices = _crop(t2w, np.linalg.inv(t2w.affine) @ clamped)
    pixel_mm = box.side_mm / settings.size
    return PatchStack(
        case_id=case_id,
        participant_id=participant_id,
        slices=lesion.slices,
        t1w=_smoothed_for_shrinking(t1w_crop, t1w, pixel_mm),
        t2w=_smoothed_for_shrinking(t2w_crop, t2w, pixel_mm),
        matrices=np.concatenate([t1w_matrices, t2w_matrices], axis=1),
        side_mm=box.side_mm,
        flags=tuple(flags),
        settings=settings,
    )


def _fit_into(box: Box, t2w: Slices) -> tuple[Box, list[str]]:
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
    return Box((left, posterior, superior), box.side_mm), flags


def _plane(box: Box, t2w: Slices, slice_index: int) -> NDArray[np.float64]:
    """Matrix (4, 3) from (u, v, 1) on a T2W slice, which may lie beyond the stack, to LPS millimetres."""
    _, row, column = t2w.to_index(box.centre_mm)
    plane = np.zeros((4, 3))
    plane[:3, 0] = t2w.directions[:, 1] * box.side_mm
    plane[:3, 1] = t2w.directions[:, 2] * box.side_mm
    plane[:3, 2] = t2w.to_mm((slice_index, row, column))
    plane[3, 2] = 1
    return plane


def _check_t1w_covers(planes: NDArray[np.float64], t1w: Slices, alignment: Alignment, case_id: str) -> list[str]:
    """Refuse a box that T1W does not show; note where its edge slice stands for what is missing."""
    centres = (alignment.matrix @ planes[..., 2:])[..., :3, 0]
    index = t1w.to_index(centres)
    rows, columns = index[..., 1], index[..., 2]
    beyond = np.maximum(-index[..., 0], index[..., 0] - (t1w.shape[0] - 1))
    off_image = (rows < -0.5) | (rows > t1w.shape[1] - 0.5) | (columns < -0.5) | (columns > t1w.shape[2] - 0.5)
    if off_image.any() or (beyond[:, 1] > 1).any():
        raise PatchError(
            "the box lies outside the T1W series", where=case_id, remedy="Choose a T1W series that covers the lesion."
        )
    return ["the T1W stack ends at the lesion: its edge slice stands for the missing neighbour"] * bool(
        (beyond > 0.5).any()
    )


def _crop(stack: Slices, to_index: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Copy the voxels within reach of all planes, repeating edges, and move the matrices to the copy's indices."""
    corners = np.array([[u, v, 1.0] for u in (-REACH, REACH) for v in (-REACH, REACH)])
    touched = (to_index @ corners.T)[..., :3, :]
    touched = np.moveaxis(touched, -2, -1).reshape(-1, 3)
    first = np.floor(touched.min(axis=0)).astype(int)
    last = np.ceil(touched.max(axis=0)).astype(int)
    # Slices beyond the stack add nothing to sampling, which repeats the edge by itself.
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
