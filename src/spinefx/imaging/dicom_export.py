"""Write volumes as classic MR Image Storage, one file per slice, for phantoms and tests."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from spinefx import files
from spinefx.errors import InputError, SeriesError
from spinefx.imaging.volume import Volume

__all__ = ["SeriesHeader", "StudyHeader", "write_series"]

_DATE = re.compile(r"^\d{8}$")
_UID = re.compile(r"^[0-9]+(\.[0-9]+)*$")
# A fixed implementation identity, so that a volume gives the same bytes under every version of pydicom.
_IMPLEMENTATION_UID = "2.25.170141183460469231731687303715884105727"
_IMPLEMENTATION_NAME = "SPINEFX"


@dataclass(frozen=True)
class StudyHeader:
    """What all images of one study state about patient, study and scanner.

    Parameters
    ----------
    patient_id, patient_name : str
        In DICOM's form; a name is ``FAMILY^GIVEN``.
    sex : str
        ``M``, ``F``, ``O`` or empty.
    age_years : int
        0 to 999.
    birth_date, study_date : str
        ``YYYYMMDD``; ``birth_date`` may be empty.
    study_uid, frame_of_reference_uid : str
        DICOM unique identifiers.
    study_time : str
        ``HHMMSS``.
    study_id, accession_number, study_description, institution, manufacturer, model, station, software : str
        Free text.
    field_strength_t : float
        Tesla.
    is_phantom : bool
        Whether the subject is a phantom, as the header then states (Quality Control Subject).
    comment : str
        Image Comments of every file; those of synthetic images state that they are synthetic.

    Raises
    ------
    InputError
        For a malformed date or unique identifier, or for an unknown sex or an age out of range.
    """

    patient_id: str
    patient_name: str
    sex: str
    age_years: int
    birth_date: str
    study_date: str
    study_uid: str
    frame_of_reference_uid: str
    study_time: str = "090000"
    study_id: str = "1"
    accession_number: str = ""
    study_description: str = "SPINE MR"
    institution: str = ""
    manufacturer: str = ""
    model: str = ""
    station: str = ""
    software: str = ""
    field_strength_t: float = 1.5
    is_phantom: bool = False
    comment: str = ""

    def __post_init__(self) -> None:
        if not _DATE.match(self.study_date) or not (self.birth_date == "" or _DATE.match(self.birth_date)):
            raise InputError("malformed date", where="study header", allowed="YYYYMMDD")
        if self.sex not in {"M", "F", "O", ""}:
            raise InputError("unknown sex", where="study header", allowed="M, F, O or empty")
        if not 0 <= self.age_years <= 999:
            raise InputError(f"age of {self.age_years} years", where="study header", allowed="0 to 999")
        _check_uids((self.study_uid, self.frame_of_reference_uid), "study header")


@dataclass(frozen=True)
class SeriesHeader:
    """What all images of one series state about their acquisition.

    Parameters
    ----------
    series_number : int
    description, protocol_name : str
        Free text.
    repetition_time_ms, echo_time_ms : float
    flip_angle_deg : float
    slice_thickness_mm : float
        May differ from the distance between slices.
    inversion_time_ms : float or None
        Of inversion recovery sequences only.
    scanning_sequence, sequence_variant, scan_options, image_type : tuple of str
        DICOM PS3.3 C.8.3.1; ``scan_options`` may be empty.
    acquisition_type : str
        ``2D`` or ``3D``.
    echo_train_length : int
    phase_encoding : str
        ``ROW`` or ``COL``: the image axis of phase encoding.
    pixel_bandwidth_hz : float
        Hertz per pixel.
    acquisition_matrix : tuple of int, length 2
        Samples along frequency and phase.
    contrast_agent : str
        Empty without contrast agent.
    body_part : str
    series_time : str
        ``HHMMSS``; the study's time where empty.

    Raises
    ------
    InputError
        For an unknown phase encoding or sequence name, or a time or thickness out of range.
    """

    series_number: int
    description: str
    repetition_time_ms: float
    echo_time_ms: float
    flip_angle_deg: float = 90.0
    slice_thickness_mm: float = 4.0
    inversion_time_ms: float | None = None
    scanning_sequence: tuple[str, ...] = ("SE",)
    sequence_variant: tuple[str, ...] = ("NONE",)
    scan_options: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "OTHER")
    acquisition_type: str = "2D"
    echo_train_length: int = 1
    phase_encoding: str = "ROW"
    pixel_bandwidth_hz: float = 122.0
    acquisition_matrix: tuple[int, int] = (320, 192)
    contrast_agent: str = ""
    body_part: str = "SPINE"
    protocol_name: str = "SPINE"
    series_time: str = ""

    def __post_init__(self) -> None:
        if self.phase_encoding not in {"ROW", "COL"}:
            raise InputError(
                f"unknown phase encoding {self.phase_encoding!r}", where="series header", allowed="ROW or COL"
            )
        if not set(self.scanning_sequence) <= {"SE", "IR", "GR", "EP", "RM"} or not self.scanning_sequence:
            raise InputError("unknown scanning sequence", where="series header", allowed="SE, IR, GR, EP, RM")
        if self.repetition_time_ms < 0 or self.echo_time_ms < 0 or self.slice_thickness_mm <= 0:
            raise InputError(
                "repetition time, echo time or slice thickness out of range",
                where="series header",
                allowed="times of 0 or more, a thickness above 0",
            )


def write_series(
    folder: Path,
    volume: Volume,
    study: StudyHeader,
    series: SeriesHeader,
    *,
    series_uid: str,
    sop_uids: Sequence[str],
    file_order: Sequence[int] | None = None,
    first_instance: int = 1,
) -> tuple[Path, ...]:
    """Write a volume as classic MR Image Storage, one file per slice: ``IM0001.dcm`` and on.

    Parameters
    ----------
    folder : Path
        Created where missing.
    volume : Volume
        Values 0 to 65535, rounded to whole numbers; the affine sets position and orientation.
    study : StudyHeader
    series : SeriesHeader
    series_uid : str
        SeriesInstanceUID.
    sop_uids : sequence of str
        SOPInstanceUID of each slice of the volume, in the volume's order.
    file_order : sequence of int, optional
        Index of the slice that each file holds, which sets the order of instance numbers; the volume's order by
        default.
    first_instance : int
        Instance number of the first file, so that several volumes can share one series (a three-plane localizer).

    Returns
    -------
    tuple of Path
        The files, in the order of their instance numbers.

    Raises
    ------
    SeriesError
        For values out of range, a wrong number of identifiers, or an order that is not a permutation.
    InputError
        For a malformed unique identifier.
    InterruptedWrite
        When a file cannot be written.

    Notes
    -----
    DICOM PS3.3 C.7.6.2 (image plane), C.8.3.1 (MR image).
    """
    order = list(range(volume.shape[0])) if file_order is None else [int(index) for index in file_order]
    if sorted(order) != list(range(volume.shape[0])):
        raise SeriesError("the file order is not a permutation of the slices", allowed="each slice once")
    if len(sop_uids) != volume.shape[0] or len(set(sop_uids)) != len(sop_uids):
        raise SeriesError(
            f"{len(set(sop_uids))} different instance UIDs for {volume.shape[0]} slices", allowed="one for each slice"
        )
    _check_uids((series_uid, *sop_uids), "series")
    pixels = _unsigned(volume.array)
    base = _study_dataset(study)
    _add_series(base, series, series_uid)
    _add_plane(base, volume)
    low, high = np.percentile(pixels[:, ::4, ::4], [1, 99.5])
    base.WindowCenter, base.WindowWidth = _decimal((low + high) / 2), _decimal(max(high - low, 1.0))
    paths = []
    for offset, index in enumerate(order):
        base.InstanceNumber = first_instance + offset
        base.AcquisitionNumber = 1
        base.SOPInstanceUID = sop_uids[index]
        base.ImagePositionPatient = [_decimal(value) for value in volume.to_mm((index, 0, 0))]
        base.SliceLocation = _decimal(float(volume.slice_positions_mm[index]))
        base.PixelData = pixels[index].tobytes()
        path = folder / f"IM{first_instance + offset:04d}.dcm"
        files.write_bytes(path, _encode(base))
        paths.append(path)
    return tuple(paths)


def _check_uids(uids: Sequence[str], where: str) -> None:
    for uid in uids:
        if len(uid) > 64 or not _UID.match(uid):
            raise InputError("malformed unique identifier", where=where, allowed="digits and dots, up to 64 characters")


def _unsigned(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    rounded = np.rint(array)
    low, high = float(rounded.min()), float(rounded.max())
    if low < 0 or high > 65535:
        raise SeriesError(f"voxel values range from {low:g} to {high:g}", allowed="0 to 65535")
    return rounded.astype("<u2")


def _decimal(value: float) -> str:
    """Format a decimal string of at most 16 characters, as DICOM requires (PS3.5 6.2, DS)."""
    return f"{round(float(value), 10) + 0.0:.10g}"


def _study_dataset(study: StudyHeader) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = MRImageStorage
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = study.study_date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = study.study_time
    dataset.AccessionNumber = study.accession_number
    dataset.Modality = "MR"
    dataset.Manufacturer = study.manufacturer
    dataset.InstitutionName = study.institution
    dataset.ReferringPhysicianName = ""
    dataset.StationName = study.station
    dataset.StudyDescription = study.study_description
    dataset.ManufacturerModelName = study.model
    dataset.PatientName = study.patient_name
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = study.birth_date
    dataset.PatientSex = study.sex
    dataset.PatientAge = f"{study.age_years:03d}Y"
    if study.is_phantom:
        dataset.QualityControlSubject = "YES"
    dataset.MagneticFieldStrength = _decimal(study.field_strength_t)
    dataset.SoftwareVersions = study.software
    dataset.StudyInstanceUID = study.study_uid
    dataset.StudyID = study.study_id
    dataset.FrameOfReferenceUID = study.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    if study.comment:
        dataset.ImageComments = study.comment
    return dataset


def _add_series(dataset: Dataset, series: SeriesHeader, series_uid: str) -> None:
    dataset.ImageType = list(series.image_type)
    dataset.SeriesInstanceUID = series_uid
    if series.series_time:
        dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = series.series_time
    dataset.SeriesNumber = series.series_number
    dataset.SeriesDescription = series.description
    dataset.ProtocolName = series.protocol_name
    dataset.BodyPartExamined = series.body_part
    dataset.PatientPosition = "HFS"
    dataset.ScanningSequence = list(series.scanning_sequence)
    dataset.SequenceVariant = list(series.sequence_variant)
    dataset.ScanOptions = list(series.scan_options) or ""
    dataset.MRAcquisitionType = series.acquisition_type
    dataset.RepetitionTime = _decimal(series.repetition_time_ms)
    dataset.EchoTime = _decimal(series.echo_time_ms)
    dataset.EchoTrainLength = series.echo_train_length
    if series.inversion_time_ms is not None:
        dataset.InversionTime = _decimal(series.inversion_time_ms)
    dataset.FlipAngle = _decimal(series.flip_angle_deg)
    dataset.NumberOfAverages = "1"
    dataset.ImagingFrequency = _decimal(42.577 * float(dataset.MagneticFieldStrength))
    dataset.ImagedNucleus = "1H"
    dataset.PixelBandwidth = _decimal(series.pixel_bandwidth_hz)
    frequency, phase = series.acquisition_matrix
    # Frequency rows, frequency columns, phase rows, phase columns (PS3.3 C.8.3.1); the unused pair is zero.
    along_rows = [0, frequency, phase, 0] if series.phase_encoding == "COL" else [frequency, 0, 0, phase]
    dataset.AcquisitionMatrix = along_rows
    dataset.InPlanePhaseEncodingDirection = series.phase_encoding
    dataset.SliceThickness = _decimal(series.slice_thickness_mm)
    if series.contrast_agent:
        dataset.ContrastBolusAgent = series.contrast_agent


def _add_plane(dataset: Dataset, volume: Volume) -> None:
    spacing, row_mm, column_mm = volume.spacing_mm
    # The first triple points along a row, with increasing column index; the second down a column (PS3.3 C.7.6.2).
    orientation = np.concatenate([volume.directions[:, 2], volume.directions[:, 1]])
    dataset.ImageOrientationPatient = [_decimal(value) for value in orientation]
    dataset.PixelSpacing = [_decimal(row_mm), _decimal(column_mm)]
    dataset.SpacingBetweenSlices = _decimal(spacing)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = volume.shape[1], volume.shape[2]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"


def _encode(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_UID)
    meta.ImplementationVersionName = _IMPLEMENTATION_NAME
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
