"""One MR series: its images in order, what its headers say about them, and access to its voxels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError, GeometryError, SeriesError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.contrast import Contrast
from spinefx.imaging.contrast_words import Trait
from spinefx.imaging.dicom import StoredPixels, lenient_reading
from spinefx.imaging.dicom_pixels import read_frames
from spinefx.imaging.nifti import NiftiHeader, read_voxels
from spinefx.imaging.stack import stack_affine
from spinefx.imaging.volume import SagittalTurn, Slices, Volume
from spinefx.vocabulary import Plane, Weighting

__all__ = ["Instance", "Series", "StoredSlices"]

MAX_VOXELS = 2**26


@dataclass(frozen=True)
class Instance:
    """One image: a classic file, a frame of an Enhanced file, or a slice of a NIfTI file.

    Parameters
    ----------
    sop_uid : str
        SOP Instance UID, kept to match tables and never shown.
    frame : int
        Frame of the file, from 0.
    shape : tuple of int
        Rows and columns.
    affine : ndarray of float64, shape (4, 4)
        Maps (0, row, column, 1) to LPS millimetres as stored in the file; the slice axis is the unit normal.
    source : Member
        The file; neither shown nor compared.
    pixels : StoredPixels or None
        How a DICOM file's pixels are read; None for NIfTI.
    copies : tuple of str
        SOP Instance UIDs of exact copies that were left out; the image answers to them, too.
    """

    sop_uid: str = field(repr=False)
    frame: int
    shape: tuple[int, int]
    affine: NDArray[np.float64] = field(repr=False, compare=False)
    source: Member = field(repr=False, compare=False)
    pixels: StoredPixels | None = field(default=None, repr=False, compare=False)
    copies: tuple[str, ...] = field(default=(), repr=False)

    def is_called(self, sop_uid: str) -> bool:
        """Return whether a SOP Instance UID is that of this image, or of an exact copy of it.

        Parameters
        ----------
        sop_uid : str

        Returns
        -------
        bool
        """
        return sop_uid == self.sop_uid or sop_uid in self.copies


@dataclass(frozen=True)
class Series:
    """One series of a study; headers only until :meth:`load`.

    Parameters
    ----------
    uid, study_uid : str
        DICOM UIDs, kept to match tables and never shown. A series that holds several stacks (echoes, dynamics) is
        split into parts whose UIDs end in ``#1``, ``#2``.
    number : int or None
        Series Number, or a running number for NIfTI files.
    contrast : Contrast
        What the series shows, by timing and by everything else that speaks of it.
    plane : Plane
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        Milliseconds.
    flip_angle_deg : float or None
        Degrees.
    contrast_agent : bool
        Whether the header names a contrast agent.
    modality : str
        ``MR``, ``CT``...; ``SEG`` for a label map.
    body_part, description : str
        Upper case, and as written; used to refuse series and to break ties, never shown.
    image_type : tuple of str
        Values of Image Type (0008,0008), upper case.
    shape : tuple of int
        Rows and columns.
    spacing_mm : tuple of float
        Slice, row and column steps, millimetres; for a single slice its thickness.
    frame_of_reference : str
        Pseudonymous key; empty where the source names none.
    instances : tuple of Instance
        Ordered by position along the normal; for a sagittal series as in the loaded Volume.
    rounding_mm : float
        How far the written positions may lie from the true ones (:func:`spinefx.imaging.stack.rounding_of`).
    fault : str
        Why the images do not form a stack (gaps, repeated positions, mixed sizes); empty where they do.
    nifti : NiftiHeader or None
        Set for a NIfTI file.
    """

    uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    number: int | None
    contrast: Contrast
    plane: Plane
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    contrast_agent: bool
    modality: str
    body_part: str = field(repr=False)
    description: str = field(repr=False)
    image_type: tuple[str, ...] = field(repr=False)
    shape: tuple[int, int]
    spacing_mm: tuple[float, float, float]
    frame_of_reference: str
    instances: tuple[Instance, ...] = field(repr=False)
    rounding_mm: float = 0.0
    fault: str = ""
    nifti: NiftiHeader | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.instances:
            raise SeriesError("a series without images")

    @property
    def number_of_slices(self) -> int:
        """Number of images."""
        return len(self.instances)

    @property
    def weighting(self) -> Weighting:
        """By timing; by name where the timing is unknown."""
        return self.contrast.weighting

    @property
    def weighting_is_named(self) -> bool:
        """Whether the name, rather than the timing, determined the weighting."""
        return self.contrast.by_name

    @property
    def fat_suppressed(self) -> bool | None:
        """Whether fat is dark by intent; None where nothing says."""
        return self.contrast.fat_suppressed

    @property
    def gradient_echo(self) -> bool | None:
        """Whether this is a gradient echo or echo planar series; None where nothing says."""
        return self.contrast.gradient_echo

    @property
    def kind(self) -> str:
        """What the series shows, for a reader: ``T1W``, ``STIR``, ``T1W, fat-suppressed``, ``Dixon fat``, ``CT``."""
        if self.modality != "MR":
            return "label map" if self.modality == "SEG" else self.modality or "unknown modality"
        return Trait.LOCALIZER.value if "LOCALIZER" in self.image_type else self.contrast.kind

    @property
    def label(self) -> str:
        """Name of the series in messages: number, plane and timing; no identifier and no text from the header."""
        name = "series" if self.number is None else f"series {self.number}"
        parts = [] if self.modality == "MR" else [self.modality]
        parts.append(f"{self.plane}")
        if self.weighting_is_named:
            parts.append(f"{self.weighting} by name")
        for mark, value in (
            ("TR", self.repetition_time_ms),
            ("TE", self.echo_time_ms),
            ("TI", self.inversion_time_ms),
        ):
            parts += [] if value is None else [f"{mark} {value:.4g} ms"]
        parts.append("1 slice" if self.number_of_slices == 1 else f"{self.number_of_slices} slices")
        return f"{name} ({', '.join(parts)})"

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """Maps (slice, row, column, 1), in the order of the instances, to LPS millimetres; undefined with a fault."""
        return stack_affine(self.instances, self.rounding_mm)

    def instance(self, sop_uid: str) -> Instance:
        """Find an image by its SOP Instance UID.

        Parameters
        ----------
        sop_uid : str

        Returns
        -------
        Instance
            The first frame, where the UID is that of an Enhanced file.

        Raises
        ------
        SeriesError
            When the series holds no such image.
        """
        for instance in self.instances:
            if instance.is_called(sop_uid.strip()):
                return instance
        raise SeriesError("no image with the given SOP Instance UID", where=self.label)

    def load(self) -> Volume:
        """Read the voxels.

        Returns
        -------
        Volume
            Slice i is instance i. A sagittal series is oriented as
            :meth:`spinefx.imaging.volume.Volume.to_sagittal` returns it.

        Raises
        ------
        SeriesError
            When the images do not form a stack; the gaps or repeated positions are listed.
        FileError
            When the pixels of a file are truncated or broken, or the file changed since it was scanned.
        GeometryError
            When the voxels are not finite.
        """
        return self.slices().whole()

    def slices(self) -> Slices:
        """Return the slices of :meth:`load`; those of a DICOM series are read when they are first used.

        Returns
        -------
        Slices
            The same bits as :meth:`load`, whatever the encoding. All headers were checked. A slice that is never used
            is never decoded, so broken pixels in it go undetected.

        Raises
        ------
        SeriesError, FileError, GeometryError
            As :meth:`load`; for a DICOM series the last two only when slices are read.
        """
        if self.fault:
            raise SeriesError(self.fault, where=self.label, remedy="Export the complete series again.")
        if self.number_of_slices * self.shape[0] * self.shape[1] > MAX_VOXELS:
            raise SeriesError("too many voxels", where=self.label, allowed=f"up to {MAX_VOXELS}")
        if self.nifti is not None:
            with self.named_errors(), MemberReader() as reader:
                array = read_voxels(reader, self.instances[0].source, self.nifti)
                return self._upright(Volume(array, self.nifti.affine, self.frame_of_reference, self.weighting))
        stored = StoredSlices.of(self)
        if self.plane is not Plane.SAGITTAL:
            return stored
        turn = SagittalTurn.of(stored.affine, stored.shape)
        return StoredSlices.of(self, turn) if turn.keeps_slices else self._upright(stored.whole())

    def _upright(self, volume: Volume) -> Volume:
        return volume.to_sagittal() if self.plane is Plane.SAGITTAL else volume

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Name this series in errors that occur while its voxels are read."""
        try:
            yield
        except (FileError, GeometryError) as error:
            place = f"{self.label}, {error.where}" if error.where else self.label
            raise type(error)(error.found, where=place, allowed=error.allowed, remedy=error.remedy) from None


@dataclass(frozen=True, eq=False)
class StoredSlices(Slices):
    """The slices of a DICOM series, each read once, when it is first used.

    Parameters
    ----------
    series : Series
        Without fault.
    affine : ndarray of float64, shape (4, 4)
        Of the stack, after the turn.
    frame_of_reference : str
    weighting : Weighting
    turn : SagittalTurn or None
        How each slice is turned; None leaves it as stored.
    """

    series: Series
    affine: NDArray[np.float64]
    frame_of_reference: str
    weighting: Weighting
    turn: SagittalTurn | None
    _at_hand: dict[int, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, series: Series, turn: SagittalTurn | None = None) -> StoredSlices:
        """Return the slices of a series.

        Parameters
        ----------
        series : Series
            Without fault.
        turn : SagittalTurn, optional
            As above.

        Returns
        -------
        StoredSlices
        """
        affine = series.affine if turn is None else turn.affine
        return cls(series, affine, series.frame_of_reference, series.weighting, turn)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        stored = (self.series.number_of_slices, *self.series.shape)
        slices, rows, columns = (0, 1, 2) if self.turn is None else self.turn.order
        return stored[slices], stored[rows], stored[columns]

    def slab(self, first: int, last: int) -> Volume:
        with self.series.named_errors():
            return super().slab(first, last)

    def _read(self, first: int, last: int) -> NDArray[np.float32]:
        wanted = range(first, last + 1)
        files: dict[tuple[Member, StoredPixels], list[int]] = {}
        for index in wanted:
            instance = self.series.instances[index]
            if instance.pixels is not None and index not in self._at_hand:
                files.setdefault((instance.source, instance.pixels), []).append(index)
        with MemberReader() as reader, lenient_reading():
            for (source, pixels), indices in files.items():
                frames = read_frames(reader, source, pixels, [self.series.instances[index].frame for index in indices])
                self._at_hand.update(zip(indices, frames, strict=True))
        array = np.stack([self._at_hand[index] for index in wanted])
        return array if self.turn is None else np.ascontiguousarray(self.turn.apply(array))
