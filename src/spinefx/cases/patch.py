"""The patches that a network sees, and the source voxels that they are sampled from.

Every patch is cut in one interpolation straight from source voxels: box, registration, neighbouring slices and
augmentation are composed into one matrix before anything is sampled (protocol rows 5, 7 to 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import PatchError
from spinefx.files import canonical_json, digest_of
from spinefx.vocabulary import Weighting, sequences_of

__all__ = [
    "MOST_NEIGHBOURS",
    "PROTOCOL_SEQUENCES",
    "REACH",
    "Jitter",
    "Patch",
    "PatchSettings",
    "PatchSource",
    "PatchStack",
    "jitter_matrices",
    "patch_grid",
]

# What Yeh 2022 reads; everything that names no sequences means these.
PROTOCOL_SEQUENCES = (Weighting.T1W, Weighting.T2W)
MOST_NEIGHBOURS = 3
MOST_REACH = 8
# Source voxels are kept this far from the box's centre, in sides of the box: room for every jitter a recipe may draw.
REACH = 0.8


@dataclass(frozen=True)
class PatchSettings:
    """What decides how patches are cut; patches of other settings never mix.

    Parameters
    ----------
    registration : {'rigid', 'affine', 'geometry', 'simpleitk'}
        How the other series are brought to T2W; ``geometry`` trusts the headers alone, ``simpleitk`` is rigid by that
        package.
    margin_percent : float
        Added to the box's side.
    size : int
        Pixels along each side of the patch.
    sequences : tuple of Weighting
        The series that patches are cut from, in the order of their channels; T2W among them.
    neighbours : int
        Slices on either side of the lesion slice that are channels too.
    reach : int
        Slices beyond the lesion's first and last that are centres of patches too, as far as the stack goes.

    Raises
    ------
    InputError
        For sequences that :func:`spinefx.vocabulary.sequences_of` refuses.
    PatchError
        For a number of neighbours or a reach out of range.
    """

    registration: str = "rigid"
    margin_percent: float = 0.0
    size: int = 64
    sequences: tuple[Weighting, ...] = PROTOCOL_SEQUENCES
    neighbours: int = 1
    reach: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", sequences_of(self.sequences))
        if not 0 <= self.neighbours <= MOST_NEIGHBOURS:
            raise PatchError(f"{self.neighbours} neighbouring slices", allowed=f"0 to {MOST_NEIGHBOURS}")
        if not 0 <= self.reach <= MOST_REACH:
            raise PatchError(f"a reach of {self.reach} slices", allowed=f"0 to {MOST_REACH}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
            Without sequences, neighbours and reach where they are the protocol's, so that patches and models that were
            written before these could be chosen keep their digests.
        """
        values = {"registration": self.registration, "margin_percent": self.margin_percent, "size": self.size}
        if self.sequences != PROTOCOL_SEQUENCES:
            values["sequences"] = [str(sequence) for sequence in self.sequences]
        values |= {} if self.neighbours == 1 else {"neighbours": self.neighbours}
        return values if self.reach == 0 else values | {"reach": self.reach}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PatchSettings:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        PatchSettings
        """
        return cls(**values)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings."""
        return digest_of(canonical_json(self.to_json()))

    @property
    def name(self) -> str:
        """Short name for a folder: empty for the protocol's own settings."""
        parts = [] if self.registration == "rigid" else [self.registration]
        parts += [] if self.margin_percent == 0 else [f"margin{self.margin_percent:g}"]
        parts += [] if self.size == 64 else [f"size{self.size}"]
        parts += [] if self.sequences == PROTOCOL_SEQUENCES else [sequence.key for sequence in self.sequences]
        parts += [] if self.neighbours == 1 else [f"neighbours{self.neighbours}"]
        parts += [] if self.reach == 0 else [f"reach{self.reach}"]
        return "-".join(parts)

    @property
    def slices_each(self) -> int:
        """Channels of each series: the lesion slice and its neighbours on both sides."""
        return 2 * self.neighbours + 1

    @property
    def offsets(self) -> tuple[int, ...]:
        """Places of a series' channels relative to the lesion slice: -1, 0 and 1 for one neighbour."""
        return tuple(range(-self.neighbours, self.neighbours + 1))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in their order: ``T1W-1``, ``T1W0``, ``T1W+1``, ``T2W-1`` and so on."""
        names = [f"{offset:+d}" if offset else "0" for offset in self.offsets]
        return tuple(f"{sequence.label}{name}" for sequence in self.sequences for name in names)

    def centre_of(self, weighting: Weighting) -> int:
        """Return the channel that holds the lesion slice itself in one series.

        Parameters
        ----------
        weighting : Weighting
            One of ``sequences``.

        Returns
        -------
        int
        """
        return self.sequences.index(weighting) * self.slices_each + self.neighbours


@dataclass(frozen=True)
class Jitter:
    """A random change of view, applied alike to all channels (protocol row 5).

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
        """Whether the jitter changes nothing."""
        return (self.shift_row, self.shift_column, self.scale, self.rotation_deg) == (0.0, 0.0, 1.0, 0.0)

    @property
    def reach(self) -> float:
        """Farthest coordinate touched from the box's centre, in sides of the box."""
        angle = np.deg2rad(self.rotation_deg)
        corner = 0.5 * self.scale * (abs(np.cos(angle)) + abs(np.sin(angle)))
        return float(corner + max(abs(self.shift_row), abs(self.shift_column)))

    def matrix(self) -> NDArray[np.float64]:
        """Return the map from patch-plane coordinates to where they are sampled.

        Returns
        -------
        ndarray of float64, shape (3, 3)
            Acts on (u, v, 1): u increases with the row and v with the column, -0.5 to 0.5 over the box.
        """
        matrix: NDArray[np.float64] = jitter_matrices([self])[0]
        return matrix


def jitter_matrices(jitters: Sequence[Jitter]) -> NDArray[np.float64]:
    """Return the matrices of many jitters at once.

    Parameters
    ----------
    jitters : sequence of Jitter, length n

    Returns
    -------
    ndarray of float64, shape (n, 3, 3)
        As :meth:`Jitter.matrix` returns them.
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
    array : ndarray of float32, shape (channel, row, column)
        Channels in the order of :attr:`PatchSettings.channels`; each of mean 0 and standard deviation 1.
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
class PatchSource:
    """The voxels of one series that a case's patches are sampled from.

    Parameters
    ----------
    weighting : Weighting
    voxels : ndarray of float32, shape (slice, row, column)
        Round the box, out to :data:`REACH`; beyond the image its edge is repeated.
    matrices : ndarray of float64, shape (lesion slice, channel of this series, 3, 3)
        Map (u, v, 1) of the patch plane to (slice, row, column) in ``voxels``.
    """

    weighting: Weighting
    voxels: NDArray[np.float32]
    matrices: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PatchStack:
    """What every patch of one case is cut from.

    Parameters
    ----------
    case_id, participant_id : str
    slices : tuple of int
        T2W slices that hold the lesion; each is the centre of one patch.
    sources : tuple of PatchSource
        One for each of the settings' sequences, in their order.
    side_mm : float
        Side of the box, margin included.
    flags : tuple of str
        What the user of a result should know: edges repeated, box shifted or padded.
    settings : PatchSettings

    Raises
    ------
    PatchError
        For sources that do not fit the settings, and for numbers that are not finite.
    """

    case_id: str
    participant_id: str
    slices: tuple[int, ...]
    sources: tuple[PatchSource, ...]
    side_mm: float
    flags: tuple[str, ...] = ()
    settings: PatchSettings = field(default_factory=PatchSettings)

    def __post_init__(self) -> None:
        found = tuple(source.weighting for source in self.sources)
        if found != self.settings.sequences:
            raise PatchError(
                f"source voxels of {', '.join(found) or 'no series'}",
                where=self.case_id,
                allowed=f"{', '.join(self.settings.sequences)}, as the settings say",
            )
        for source in self.sources:
            if source.matrices.shape != (len(self.slices), self.settings.slices_each, 3, 3):
                raise PatchError(
                    f"{source.matrices.shape} sampling matrices for {len(self.slices)} slices", where=self.case_id
                )
            if not (np.isfinite(source.voxels).all() and np.isfinite(source.matrices).all()):
                raise PatchError("source voxels or positions that are not finite", where=self.case_id)

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """The sampling matrices of all channels in their order, shape (lesion slice, channel, 3, 3)."""
        return np.concatenate([source.matrices for source in self.sources], axis=1)

    def source(self, weighting: Weighting) -> PatchSource:
        """Return the source voxels of one series.

        Parameters
        ----------
        weighting : Weighting
            One of the settings' sequences.

        Returns
        -------
        PatchSource
        """
        return self.sources[self.settings.sequences.index(weighting)]

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
        width = self.settings.slices_each
        array = np.concatenate(
            [
                _sampled(source.voxels, coordinates[place * width : (place + 1) * width])
                for place, source in enumerate(self.sources)
            ]
        )
        return Patch(
            self._normalised(array, position), self.case_id, self.slices[position], self.side_mm / size, jitter
        )

    def _normalised(self, array: NDArray[np.float32], position: int) -> NDArray[np.float32]:
        mean = array.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        deviation = array.std(axis=(1, 2), keepdims=True, dtype=np.float64)
        flat = np.flatnonzero(deviation.ravel() <= 1e-6 * (1 + np.abs(mean.ravel())))
        if flat.size:
            raise PatchError(
                f"channel {self.settings.channels[flat[0]]} of slice {self.slices[position]} holds one grey level only",
                where=self.case_id,
                remedy="Check that the box lies on tissue in every series.",
            )
        normalised: NDArray[np.float32] = ((array - mean) / deviation).astype(np.float32)
        return normalised


def _sampled(source: NDArray[np.float32], index: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample by trilinear interpolation, edges repeated; index of shape (channel, 3, row, column). SciPy's bits."""
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
    """Return the coordinates of patch pixels along one axis.

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
