"""Small studies with a known truth, written to a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest

from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.volume import Volume

STUDY = StudyHeader(
    patient_id="HOSPITAL-4711",
    patient_name="MUSTERMANN^ERIKA",
    sex="F",
    age_years=66,
    birth_date="19581224",
    study_date="20250314",
    study_uid="1.2.826.0.1.77",
    frame_of_reference_uid="1.2.826.0.1.78",
)
T1W = SeriesHeader(series_number=3, description="T1 SAG", repetition_time_ms=400, echo_time_ms=15)
T2W = SeriesHeader(series_number=4, description="T2 SAG", repetition_time_ms=3200, echo_time_ms=90)


def sagittal_volume(slices: int = 5, rows: int = 12, columns: int = 10, *, tilt_deg: float = 0.0) -> Volume:
    """Whole numbers that are all different, 4.4 x 0.9 x 0.6 mm, slices to the right, turned about the S axis."""
    turn = np.deg2rad(tilt_deg)
    right, back = np.array([-np.cos(turn), -np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = 4.4 * right, [0, 0, -0.9], 0.6 * back
    affine[:3, 3] = [9.5, -71.25, 33.0]
    values = np.arange(slices * rows * columns, dtype=np.float32).reshape(slices, rows, columns)
    return Volume(values, affine)


@pytest.fixture
def make_volume() -> Callable[..., Volume]:
    return sagittal_volume


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Write a study: series by name, each with what differs from a plain T1W or T2W header."""

    def write(
        series: Mapping[str, Mapping[str, Any]],
        *,
        study: StudyHeader = STUDY,
        folder: Path = tmp_path / "study",
        order: Mapping[str, list[int]] | None = None,
    ) -> Path:
        for number, (name, changes) in enumerate(series.items(), start=1):
            given = dict(changes)
            volume = given.pop("volume", sagittal_volume())
            base = replace(T1W if name.startswith("t1") else T2W, series_number=number)
            write_series(
                folder / name,
                volume,
                study,
                replace(base, **given),
                series_uid=f"1.2.826.0.1.{number}",
                sop_uids=[f"1.2.826.0.1.{number}.{index + 1}" for index in range(volume.shape[0])],
                file_order=(order or {}).get(name),
            )
        return folder

    return write


@pytest.fixture(scope="session")
def encode() -> Callable[..., None]:
    """Write a DICOM file again in another transfer syntax, by GDCM."""

    def encode(path: Path, syntax: str) -> None:
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()

    return encode
