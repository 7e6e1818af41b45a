"""The phantom's DICOM under an independent validator: dciodvfy of David Clunie's dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest

from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.vendors import VENDORS

SERIES = ("S001_LOC", "S002_SAG_T2", "S003_SAG_T1", "S004_SAG_STIR")
SCANNERS = [("ge", 1.5), ("siemens", 1.5), ("philips", 3.0)]


@pytest.fixture(scope="module", params=SCANNERS, ids=lambda scanner: f"{scanner[0]} {scanner[1]} T")
def patient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    """One patient's folder, its vendor and field strength."""
    vendor, field_t = request.param
    folder = tmp_path_factory.mktemp("dicom") / "cohort"
    write_cohort(
        folder, PhantomSettings(patients=4, seed=2, matrix=64, vendor=vendor, field_t=field_t), only=["phantom-002"]
    )
    return folder / "PHANTOM002", vendor, field_t


@pytest.mark.parametrize("series", SERIES)
def test_an_independent_validator_finds_no_error(patient: tuple[Path, str, float], series: str) -> None:
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    for name in ("IM0001.dcm", "IM0003.dcm"):
        found = subprocess.run(
            [validator, str(patient[0] / series / name)], capture_output=True, text=True, check=False, timeout=60
        )
        lines = (found.stdout + found.stderr).splitlines()
        assert "MRImage" in lines  # it was read as MR Image Storage
        assert [line for line in lines if line.startswith(("Error", "Warning"))] == []


def test_headers_state_scanner_and_field_strength(patient: tuple[Path, str, float]) -> None:
    folder, vendor, field_t = patient
    for series in SERIES:
        read = pydicom.dcmread(folder / series / "IM0001.dcm")
        assert read.Manufacturer == VENDORS[vendor].manufacturer
        assert read.MagneticFieldStrength == field_t
        assert read.ImagingFrequency == pytest.approx(42.577 * field_t)
    t2w = pydicom.dcmread(folder / "S002_SAG_T2" / "IM0001.dcm")
    assert t2w.EchoTrainLength == VENDORS[vendor].train_length
    assert t2w.SpacingBetweenSlices == pytest.approx(VENDORS[vendor].spacing_mm)
