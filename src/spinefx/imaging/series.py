"""One MR series: its images in order, what its headers say of them, and the way to its voxels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError, GeometryError, SeriesError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.dicom import StoredPixels, lenient_reading
from spinefx.imaging.dicom_pixels import read_frames
from spinefx.imaging.nifti import NiftiHeader, read_voxels
from spinefx.imaging.stack import stack_affine
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane, Weighting

__all__ = ["Instance", "Series"]

MAX_VOXELS = 2**26


@dataclass(frozen=True)
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
        if self.fault:
            raise SeriesError(self.fault, where=self.label, remedy="Export the series again, whole.")
        if self.number_of_slices * self.shape[0] * self.shape[1] > MAX_VOXELS:
            raise SeriesError("too many voxels", where=self.label, allowed=f"up to {MAX_VOXELS}")
        try:
            with MemberReader() as reader, lenient_reading():
                array = self._voxels(reader)
            affine = self.affine if self.nifti is None else self.nifti.affine
            volume = Volume(array, affine, self.frame_of_reference, weighting=self.weighting)
        except (FileError, GeometryError) as error:
            place = f"{self.label}, {error.where}" if error.where else self.label
            raise type(error)(error.found, where=place, allowed=error.allowed, remedy=error.remedy) from None
        return volume.to_sagittal() if self.plane is Plane.SAGITTAL else volume

    def _voxels(self, reader: MemberReader) -> NDArray[np.float32]:
        if self.nifti is not None:
            return read_voxels(reader, self.instances[0].source, self.nifti)
        array = np.empty((self.number_of_slices, *self.shape), np.float32)
        slices: dict[tuple[Member, StoredPixels], list[int]] = {}
        for index, instance in enumerate(self.instances):
            if instance.pixels is not None:
                slices.setdefault((instance.source, instance.pixels), []).append(index)
        for (source, pixels), indices in slices.items():
            frames = read_frames(reader, source, pixels, [self.instances[index].frame for index in indices])
            for index, frame in zip(indices, frames, strict=True):
                array[index] = frame
        return array
