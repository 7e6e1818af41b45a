"""DICOM headers: what one file says about its images, classic and Enhanced multi-frame alike."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import pydicom.config
from numpy.typing import NDArray
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from spinefx.errors import FileError
from spinefx.imaging.archive import Member
from spinefx.imaging.dicom_contrast import CONTRAST_TAGS, SequenceWords, read_sequence_words, read_timing
from spinefx.imaging.dicom_elements import Outline, outline
from spinefx.imaging.dicom_layout import PixelLayout, StoredPixels, lost_in_compression, read_layout
from spinefx.imaging.dicom_values import (
    code_word,
    first_item,
    read_in_other_character_sets,
    read_number,
    read_numbers,
    read_text,
    read_texts,
    read_whole,
    tag_numbered,
    written_step,
)

__all__ = ["Frame", "Header", "lenient_reading", "read_directory", "read_header"]

OLDEST_SHOWN_YEARS = 89.0
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"

TAGS = CONTRAST_TAGS | frozenset(
    {0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080060, 0x0008103E}
    | {0x00100020, 0x00100030, 0x00100040, 0x00101010}
    | {0x00180015, 0x00180050, 0x00181314}
    | {0x0020000D, 0x0020000E, 0x00200011, 0x00200012, 0x00200032, 0x00200037, 0x00200052, 0x00200100}
    | {0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030}
    | {0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281052, 0x00281053, 0x00282110, 0x00282114}
    | {0x52009229, 0x52009230}
)
NO_IMAGES = {
    "RTPLAN": "an RT plan",
    "RTSTRUCT": "an RT structure set",
    "RTDOSE": "an RT dose",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a key object selection",
    "DOC": "a document",
    "SEG": "a segmentation",
    "REG": "a registration",
}


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One image of a file.

    Parameters
    ----------
    number : int
        Position in the file, from 0.
    affine : ndarray of float64, shape (4, 4)
        Maps (0, row, column, 1) to LPS millimetres; the slice axis is the unit normal.
    slope, intercept : float
        Stored value to real value.
    repetition_time_ms, echo_time_ms, inversion_time_ms, flip_angle_deg : float or None
    image_type : tuple of str
    acquisition, temporal_position : int or None
    written_step_mm : float
        Unit of the last decimal place in which the position is written.
    echo_number : int or None
    """

    number: int
    affine: NDArray[np.float64]
    slope: float
    intercept: float
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    image_type: tuple[str, ...]
    acquisition: int | None
    temporal_position: int | None
    written_step_mm: float = 0.0
    echo_number: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Header:
    """What one DICOM image file says. It still holds identifiers: it lives only until a Study is made of it.

    Parameters
    ----------
    sop_uid, series_uid, study_uid, frame_of_reference_uid : str
    patient_id, sex, modality, body_part : str
        As written; empty where absent.
    patient_aliases : tuple of str
        What the patient ID reads in other character sets, where it has letters beyond ASCII and the file declares no
        character set that knows them.
    age_years : float or None
        Whole years; above 89 it is 90.
    series_number : int or None
    words : SequenceWords
        What speaks of contrast.
    lossy : bool
        Whether the header says that the image was once compressed with loss.
    slice_thickness_mm : float or None
    pixels : StoredPixels
    frames : tuple of Frame
    """

    sop_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    patient_id: str = field(repr=False)
    sex: str
    modality: str
    body_part: str
    age_years: float | None
    series_number: int | None
    words: SequenceWords
    lossy: bool
    slice_thickness_mm: float | None
    pixels: StoredPixels
    frames: tuple[Frame, ...]
    patient_aliases: tuple[str, ...] = field(default=(), repr=False)


@contextlib.contextmanager
def lenient_reading() -> Iterator[None]:
    """Keep pydicom's opinions on odd values to itself: what matters is checked here, and its words may hold a name."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_header(stream: BinaryIO, member: Member) -> Header | None:
    """Read one file's header; no pixel is touched. Call it inside :func:`lenient_reading`.

    Parameters
    ----------
    stream : binary file
        At its start.
    member : Member

    Returns
    -------
    Header or None
        None for a DICOMDIR, which is a list and no image.

    Raises
    ------
    FileError
        When the file is no DICOM image, is cut off, or says impossible things; the text is one sentence about the file.
    """
    found = outline(stream, member.size, TAGS)
    if found.sop_class == DIRECTORY_CLASS:
        return None
    try:
        dataset = _dataset(found)
        _check_kind(dataset, found)
        return _header(dataset, read_layout(dataset, found, stream), found)
    except FileError:
        raise
    except Exception as error:  # whatever pydicom raises on broken bytes: one bad file stays one bad file
        raise FileError(f"holds a value that cannot be read ({type(error).__name__})") from None


def read_directory(stream: BinaryIO, member: Member) -> tuple[tuple[str, ...], ...]:
    """Read the file names that a DICOMDIR lists, whatever its records' order, offsets or types.

    Parameters
    ----------
    stream : binary file
    member : Member

    Returns
    -------
    tuple of tuple of str
        The parts of each Referenced File ID (0004,1500).

    Raises
    ------
    FileError
        When it is no DICOMDIR.
    """
    found = outline(stream, member.size, {0x00041220})
    if found.sop_class != DIRECTORY_CLASS:
        raise FileError("is no DICOMDIR", where=member.label)
    try:
        records = _dataset(found).get("DirectoryRecordSequence") or []
        return tuple(read_texts(record, "ReferencedFileID") for record in records if "ReferencedFileID" in record)
    except Exception as error:  # whatever pydicom raises on broken bytes: one bad file stays one bad file
        raise FileError(f"is a DICOMDIR that cannot be read ({type(error).__name__})", where=member.label) from None


def _dataset(found: Outline) -> Dataset:
    """Make a dataset of the wanted elements; only sequences, and what they are written in, need pydicom's reader."""
    implicit, little = found.implicit, found.little_endian
    elements: dict[BaseTag, Any] = {}
    if found.sequences:
        nested = read_dataset(io.BytesIO(found.sequences), implicit, little)
        elements = {tag: nested.get_item(tag) for tag in nested.keys()}  # noqa: SIM118 - it is no dictionary
    for number, (vr, value) in found.plain.items():
        tag, kind = tag_numbered(number), vr.decode() or None
        content: Any = value or empty_value_for_VR(kind, raw=True)
        elements[tag] = RawDataElement(tag, kind, len(value), content, 0, implicit, little, True)
    dataset = Dataset(elements)
    dataset.set_original_encoding(implicit, little, _encodings(read_texts(dataset, "SpecificCharacterSet")))
    return dataset


@cache
def _encodings(character_sets: tuple[str, ...]) -> list[str]:
    return convert_encodings(list(character_sets) or None)


def _check_kind(dataset: Dataset, found: Outline) -> None:
    modality = read_text(dataset, "Modality")
    if modality in NO_IMAGES:
        raise FileError(f"is {NO_IMAGES[modality]}, not an image")
    if found.pixel_offset < 0:
        raise FileError("holds no pixels")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not read_text(dataset, keyword):
            raise FileError(f"has no {keyword}")
    if modality != "MR" and "ImagePositionPatient" not in dataset and "PerFrameFunctionalGroupsSequence" not in dataset:
        raise FileError(f"is no MR image (its modality is {code_word(modality)}) and has no position in the patient")


def _header(dataset: Dataset, layout: PixelLayout, found: Outline) -> Header:
    aliases = read_in_other_character_sets(dataset, "PatientID")  # before pydicom decodes it
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    enhanced = "PerFrameFunctionalGroupsSequence" in dataset
    first_frame = first_item(dataset, "PerFrameFunctionalGroupsSequence") if enhanced else None
    frames = _enhanced_frames(dataset, shared, layout) if enhanced else _classic_frames(dataset, layout)
    return Header(
        sop_uid=read_text(dataset, "SOPInstanceUID"),
        # Interned: the files of a series share these texts.
        series_uid=sys.intern(read_text(dataset, "SeriesInstanceUID")),
        study_uid=sys.intern(read_text(dataset, "StudyInstanceUID")),
        frame_of_reference_uid=sys.intern(read_text(dataset, "FrameOfReferenceUID")),
        patient_id=sys.intern(read_text(dataset, "PatientID")),
        sex=read_text(dataset, "PatientSex").upper(),
        modality=code_word(read_text(dataset, "Modality")),
        body_part=read_text(dataset, "BodyPartExamined").upper() or _anatomy(shared),
        age_years=_age_years(dataset),
        series_number=read_whole(dataset, "SeriesNumber"),
        words=read_sequence_words(dataset, shared, first_frame),
        lossy=lost_in_compression(dataset),
        slice_thickness_mm=read_number(dataset, "SliceThickness"),
        pixels=StoredPixels(layout, found.without_values(), tuple((frame.slope, frame.intercept) for frame in frames)),
        frames=frames,
        patient_aliases=aliases,
    )


def _classic_frames(dataset: Dataset, layout: PixelLayout) -> tuple[Frame, ...]:
    if layout.frames != 1:
        raise FileError(f"holds {layout.frames} frames without saying where each one lies")
    spacing = read_numbers(dataset, "PixelSpacing", 2)
    timing = read_timing(dataset, dataset)
    frame = Frame(
        0,
        _affine(
            read_numbers(dataset, "ImagePositionPatient", 3),
            read_numbers(dataset, "ImageOrientationPatient", 6),
            spacing,
        ),
        *_rescale(dataset),
        timing.repetition_time_ms,
        timing.echo_time_ms,
        timing.inversion_time_ms,
        read_number(dataset, "FlipAngle"),
        read_texts(dataset, "ImageType"),
        read_whole(dataset, "AcquisitionNumber"),
        read_whole(dataset, "TemporalPositionIdentifier"),
        written_step(dataset, "ImagePositionPatient"),
        read_whole(dataset, "EchoNumbers"),
    )
    return (frame,)


def _enhanced_frames(dataset: Dataset, shared: Dataset, layout: PixelLayout) -> tuple[Frame, ...]:
    """Read every frame's functional groups: its own where it has them, else the shared ones (PS3.3 C.7.6.16)."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != layout.frames:
        raise FileError(f"describes {len(groups)} frames but declares {layout.frames}")

    def group(frame: Dataset, keyword: str) -> Dataset:
        return first_item(frame, keyword) if keyword in frame else first_item(shared, keyword)

    frames = []
    for number, own in enumerate(groups):
        timing = read_timing(dataset, shared, own)
        position, content = group(own, "PlanePositionSequence"), group(own, "FrameContentSequence")
        frames.append(
            Frame(
                number,
                _affine(
                    read_numbers(position, "ImagePositionPatient", 3),
                    read_numbers(group(own, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
                    read_numbers(group(own, "PixelMeasuresSequence"), "PixelSpacing", 2),
                ),
                *_rescale(group(own, "PixelValueTransformationSequence")),
                timing.repetition_time_ms,
                timing.echo_time_ms,
                timing.inversion_time_ms,
                read_number(group(own, "MRTimingAndRelatedParametersSequence"), "FlipAngle"),
                read_texts(group(own, "MRImageFrameTypeSequence"), "FrameType") or read_texts(dataset, "ImageType"),
                read_whole(content, "FrameAcquisitionNumber"),
                read_whole(content, "TemporalPositionIndex"),
                written_step(position, "ImagePositionPatient"),
            )
        )
    return tuple(frames)


def _affine(
    position: Sequence[float] | None, orientation: Sequence[float] | None, spacing: Sequence[float] | None
) -> NDArray[np.float64]:
    """Build the map of PS3.3 C.7.6.2.1.1 from (row, column) to millimetres, the normal as slice axis."""
    if position is None or orientation is None or spacing is None:
        raise FileError(
            "has no position in the patient (ImagePositionPatient, ImageOrientationPatient or PixelSpacing)"
        )
    across, down = orientation[:3], orientation[3:]
    lengths = math.hypot(*across), math.hypot(*down)
    # Writers round direction cosines, to three digits at worst; the unit vectors are restored.
    skew = sum(first * second for first, second in zip(across, down, strict=True))
    if not all(abs(length - 1) < 0.01 for length in lengths) or abs(skew) > 0.001:
        raise FileError("has an ImageOrientationPatient that is no pair of perpendicular unit vectors")
    if not all(0 < step < 100 for step in spacing):
        raise FileError("has an impossible PixelSpacing")
    x, y, z = (value / lengths[0] for value in across)
    u, v, w = (value / lengths[1] for value in down)
    normal = np.array([y * w - z * v, z * u - x * w, x * v - y * u])
    affine = np.eye(4)
    affine[:3, 0] = normal / math.hypot(*normal)
    affine[:3, 1] = u * spacing[0], v * spacing[0], w * spacing[0]
    affine[:3, 2] = x * spacing[1], y * spacing[1], z * spacing[1]
    affine[:3, 3] = position
    return affine


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = read_number(dataset, "RescaleSlope"), read_number(dataset, "RescaleIntercept")
    if slope == 0:
        raise FileError("has a RescaleSlope of 0")
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _age_years(dataset: Dataset) -> float | None:
    age = read_text(dataset, "PatientAge")
    years: float | None = None
    if len(age) == 4 and age[:3].isdigit() and age[3] in "DWMY":
        years = float(math.floor(int(age[:3]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[age[3]]))
    else:
        born, seen = _date(read_text(dataset, "PatientBirthDate")), _date(read_text(dataset, "StudyDate"))
        if born and seen and born <= seen:
            years = float(seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)))
    # Ages above 89 identify a person (45 CFR 164.514): they are told as one group.
    return 90.0 if years is not None and years > OLDEST_SHOWN_YEARS else years


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


def _anatomy(shared: Dataset) -> str:
    region = first_item(first_item(shared, "FrameAnatomySequence"), "AnatomicRegionSequence")
    return read_text(region, "CodeMeaning").upper()
