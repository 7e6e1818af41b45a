"""One MR series: its images in order, what its headers say of them, and the way to its voxels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError, GeometryError, SeriesError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.dicom import lenient_reading
from spinefx.imaging.dicom_layout import MAX_VOXELS, StoredPixels
from spinefx.imaging.dicom_pixels import read_frames
from spinefx.imaging.nifti import NiftiHeader, read_volume
from spinefx.imaging.stack import stack_affine
from spinefx.imaging.volume import SagittalTurn, Slices, Volume
from spinefx.vocabulary import Plane, Weighting

__all__ = ["Instance", "Series", "StoredSlices"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One image: a classic file, a frame of an Enhanced file, or a slice of a NIfTI file.

    Parameters
    ----------
    sop_uid : str
        SOP Instance UID, kept to match tables, never shown.
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
    """

    sop_uid: str = field(repr=False)
    frame: int
    shape: tuple[int, int]
    affine: NDArray[np.float64] = field(repr=False, compare=False)
    source: Member = field(repr=False, compare=False)
    pixels: StoredPixels | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Series:
    """One series of a study; headers only until :meth:`load`.

    Parameters
    ----------
    uid, study_uid : str
        DICOM UIDs, kept to match tables, never shown. A series that held several stacks (echoes, dynamics) is split;
        its parts end in ``#1``, ``#2``.
    number : int or None
        Series Number, or a running number for NIfTI files.
    weighting : Weighting
        By timing; by name where no timing is known.
    weighting_is_named : bool
        Whether the name, not the timing, told the weighting.
    plane : Plane
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        Milliseconds.
    flip_angle_deg : float or None
        Degrees.
    fat_suppressed, gradient_echo : bool or None
        None where the headers do not tell.
    contrast_agent : bool
    modality : str
        ``MR``, ``CT``...; ``SEG`` for a label map.
    body_part, description : str
        Upper case, and as written; used to refuse and to break ties, never shown.
    image_type : tuple of str
        Values of Image Type (0008,0008), upper case.
    shape : tuple of int
        Rows and columns.
    spacing_mm : tuple of float
        Slice, row and column steps, millimetres; of a single slice its thickness.
    frame_of_reference : str
        Pseudonymous key; empty where the source names none.
    instances : tuple of Instance
        Ordered by position along the normal; for a sagittal series as in the loaded Volume.
    fault : str
        Why the images make no stack (gaps, doubled places, mixed sizes); empty where they do.
    nifti : NiftiHeader or None
        Set for a NIfTI file.
    """

    uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    number: int | None
    weighting: Weighting
    weighting_is_named: bool
    plane: Plane
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    fat_suppressed: bool | None
    gradient_echo: bool | None
    contrast_agent: bool
    modality: str
    body_part: str = field(repr=False)
    description: str = field(repr=False)
    image_type: tuple[str, ...] = field(repr=False)
    shape: tuple[int, int]
    spacing_mm: tuple[float, float, float]
    frame_of_reference: str
    instances: tuple[Instance, ...] = field(repr=False)
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
    def label(self) -> str:
        """What messages call the series: its number, plane and timing; no identifier, no text from the header."""
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
        """Maps (slice, row, column, 1), in the order of the instances, to LPS millimetres; only without fault."""
        return stack_affine(self.instances)

    def instance(self, sop_uid: str) -> Instance:
        """Find an image by its SOP Instance UID.

        Parameters
        ----------
        sop_uid : str

        Returns
        -------
        Instance
            The first frame, where the UID names an Enhanced file.

        Raises
        ------
        SeriesError
            When the series holds no such image.
        """
        for instance in self.instances:
            if instance.sop_uid == sop_uid.strip():
                return instance
        raise SeriesError("no image of the SOP Instance UID that was asked for", where=self.label)

    def load(self) -> Volume:
        """Read the voxels.

        Returns
        -------
        Volume
            Slice i is instance i. A sagittal series comes as
            :meth:`spinefx.imaging.volume.Volume.to_sagittal` gives it.

        Raises
        ------
        SeriesError
            When the images make no stack: the gaps or doubled places are listed.
        FileError
            When a file has truncated or broken pixels, or changed since it was scanned.
        GeometryError
            When the voxels are not finite.
        """
        return self.slices().whole()

    def slices(self) -> Slices:
        """Give the slices of :meth:`load`, each of a DICOM series to be read when it is first asked for.

        Returns
        -------
        Slices
            Of the same bits as :meth:`load`, however they are encoded. The headers of all were checked; what is never
            read is never decoded, and broken pixels there go unseen.

        Raises
        ------
        SeriesError, FileError, GeometryError
            As :meth:`load`; the last two for a DICOM series only when slices are read.
        """
        if self.fault:
            raise SeriesError(self.fault, where=self.label, remedy="Export the original series again, whole.")
        if self.number_of_slices * self.shape[0] * self.shape[1] > MAX_VOXELS:
            raise SeriesError("too many voxels", where=self.label, allowed=f"up to {MAX_VOXELS}")
        if self.nifti is not None:
            with self.named_errors(), MemberReader() as reader:
                return read_volume(reader, self.instances[0].source, self.nifti)
        stored = StoredSlices.of(self)
        if self.plane is not Plane.SAGITTAL:
            return stored
        turn = SagittalTurn.of(stored.affine, stored.shape)
        return StoredSlices.of(self, turn) if turn.keeps_slices else self._upright(stored.whole())

    def _upright(self, volume: Volume) -> Volume:
        return volume.to_sagittal() if self.plane is Plane.SAGITTAL else volume

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Say in what goes wrong while voxels are read that it is this series."""
        try:
            yield
        except (FileError, GeometryError) as error:
            place = f"{self.label}, {error.where}" if error.where else self.label
            raise type(error)(error.found, where=place, allowed=error.allowed, remedy=error.remedy) from None


@dataclass(frozen=True, eq=False)
class StoredSlices(Slices):
    """The slices of a DICOM series, each read once, when it is first asked for.

    Parameters
    ----------
    series : Series
        Without fault.
    affine : ndarray of float64, shape (4, 4)
        Of the stack, turned where it is.
    frame_of_reference : str
    weighting : Weighting
    turn : SagittalTurn or None
        What is done to each slice; None leaves it as it is stored.
    """

    series: Series
    affine: NDArray[np.float64]
    frame_of_reference: str
    weighting: Weighting
    turn: SagittalTurn | None
    _at_hand: dict[int, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, series: Series, turn: SagittalTurn | None = None) -> StoredSlices:
        """Place the slices of a series.

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
        array = np.empty((len(wanted), *self.series.shape), np.float32)
        for index in wanted:
            if index in self._at_hand:
                array[index - first] = self._at_hand[index]
        with MemberReader() as reader, lenient_reading():
            for (source, pixels), indices in files.items():
                frames = [self.series.instances[index].frame for index in indices]
                read_frames(reader, source, pixels, frames, into=[array[index - first] for index in indices])
                self._at_hand.update((index, array[index - first]) for index in indices)
        return array if self.turn is None else np.ascontiguousarray(self.turn.apply(array))
