"""Written DICOM is valid and complete, and reads back as the same volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spinefx.errors import InputError, SeriesError
from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.volume import Volume

STUDY = StudyHeader("P1", "PHANTOM^ONE", "F", 66, "19500101", "20160101", "2.25.11", "2.25.12")
SERIES = SeriesHeader(3, "SAG T1", 400.0, 15.0, phase_encoding="ROW", slice_thickness_mm=4.0)
UIDS = [f"2.25.20{index}" for index in range(5)]


def volume(seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if np.linalg.det(np.column_stack([turn[:, 0], turn[:, 1], turn[:, 2]])) < 0:
        turn[:, 0] *= -1
    affine = np.eye(4)
    # Slices follow the cross product of the column and row axes, so that their positions increase.
    affine[:3, :3] = np.column_stack([np.cross(turn[:, 2], turn[:, 1]), turn[:, 1], turn[:, 2]]) * [4.4, 0.6, 0.5]
    affine[:3, 3] = rng.normal(0, 50, 3)
    return Volume(rng.integers(0, 4000, (5, 12, 9)).astype(np.float32), affine)


def write(folder: Path, given: Volume, **changes: object) -> tuple[Path, ...]:
    options = {"series_uid": "2.25.13", "sop_uids": UIDS, **changes}
    return write_series(folder, given, STUDY, SERIES, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_positions_read_back(tmp_path: Path, seed: int) -> None:
    given = volume(seed)
    for index, path in enumerate(write(tmp_path, given)):
        read = pydicom.dcmread(path)
        assert np.array_equal(read.pixel_array, given.array[index])
        along_row, down_column = np.array(read.ImageOrientationPatient, float).reshape(2, 3)
        row_mm, column_mm = (float(value) for value in read.PixelSpacing)
        for row, column in ((0, 0), (11, 0), (0, 8), (7, 3)):
            # PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
            place = np.array(read.ImagePositionPatient, float)
            place += along_row * column_mm * column + down_column * row_mm * row
            assert place == pytest.approx(given.to_mm((index, row, column)), abs=1e-6)


def test_required_attributes_are_present(tmp_path: Path) -> None:
    read = pydicom.dcmread(write(tmp_path, volume())[0])
    never_empty = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality
        ImageType ScanningSequence SequenceVariant ImagePositionPatient ImageOrientationPatient PixelSpacing Rows
        Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel PhotometricInterpretation PixelData
        InstanceNumber SliceThickness RepetitionTime EchoTime PatientPosition SpecificCharacterSet"""
    may_be_empty = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber
        ReferringPhysicianName SeriesNumber Manufacturer PositionReferenceIndicator ScanOptions MRAcquisitionType
        EchoTrainLength"""
    for keyword in never_empty.split():
        assert read[keyword].value not in ("", None), keyword
    for keyword in may_be_empty.split():
        assert keyword in read, keyword
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    assert read.file_meta.FileMetaInformationGroupLength > 0
    assert "InversionTime" not in read
    assert list(read.AcquisitionMatrix) == [320, 0, 0, 192]
    assert len(str(read.PatientAge)) == 4
    for element in read:
        if element.VR == "DS":
            values = element.value if element.VM > 1 else [element.value]
            assert all(len(str(value)) <= 16 for value in values), element.keyword


def test_phase_encoding_along_columns_is_stated(tmp_path: Path) -> None:
    header = replace(SERIES, phase_encoding="COL", inversion_time_ms=150.0, scanning_sequence=("SE", "IR"))
    read = pydicom.dcmread(write_series(tmp_path, volume(), STUDY, header, series_uid="2.25.1", sop_uids=UIDS)[0])
    assert list(read.AcquisitionMatrix) == [0, 320, 192, 0]
    assert read.InversionTime == 150
    assert list(read.ScanningSequence) == ["SE", "IR"]


def test_files_follow_the_requested_order(tmp_path: Path) -> None:
    paths = write(tmp_path, volume(), file_order=[4, 2, 0, 1, 3], first_instance=7)
    assert [path.name for path in paths] == [f"IM{number:04d}.dcm" for number in range(7, 12)]
    assert [str(pydicom.dcmread(path).SOPInstanceUID) for path in paths] == [UIDS[index] for index in (4, 2, 0, 1, 3)]
    assert [pydicom.dcmread(path).InstanceNumber for path in paths] == list(range(7, 12))


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", volume()), write(tmp_path / "b", volume())
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    "changes",
    [{"sop_uids": UIDS[:4]}, {"sop_uids": [UIDS[0]] * 5}, {"file_order": [0, 1, 2, 3, 3]}, {"file_order": [0, 1]}],
)
def test_identifiers_and_orders_that_do_not_match_the_slices_are_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(SeriesError):
        write(tmp_path, volume(), **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [-2.0, 70000.0])
def test_values_beyond_sixteen_bits_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(SeriesError, match="0 to 65535"):
        write(tmp_path, Volume(np.full((5, 4, 4), value, np.float32), np.diag([4.0, 1, 1, 1])))


def test_malformed_headers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="YYYYMMDD"):
        replace(STUDY, study_date="2016-01-01")
    with pytest.raises(InputError, match="sex"):
        replace(STUDY, sex="female")
    with pytest.raises(InputError, match="age"):
        replace(STUDY, age_years=1000)
    with pytest.raises(InputError, match="unique identifier"):
        replace(STUDY, study_uid="not.a.uid")
    with pytest.raises(InputError, match="unique identifier"):
        write(tmp_path, volume(), series_uid="2.25." + "1" * 70)
    with pytest.raises(InputError, match="phase"):
        replace(SERIES, phase_encoding="UP")
    with pytest.raises(InputError, match="sequence"):
        replace(SERIES, scanning_sequence=("TSE",))
