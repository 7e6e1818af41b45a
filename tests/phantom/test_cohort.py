"""A cohort on disk: the same bytes whatever the workers, valid DICOM, tables that agree with the truth."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pydicom
import pytest

from spinefx.errors import RecipeError, WorkspaceError
from spinefx.phantom.cohort import PhantomSettings, draw_case, write_cohort
from spinefx.vocabulary import SIGN_IDENTIFIERS

SETTINGS = PhantomSettings(patients=3, malignant=1, seed=4, matrix=96)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(folder, SETTINGS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_workers_write_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_cohort(tmp_path / "again", SETTINGS, workers=2, progress=lambda done, total: told.append((done, total)))
    assert contents(tmp_path / "again") == contents(cohort)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_cohort_that_was_cut_off_goes_on(cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    for name, data in contents(cohort).items():
        if name == "phantom.json" or name.startswith("PHANTOM001/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    (folder / ".part-0000-PHANTOM002").mkdir()
    kept = (folder / "PHANTOM001" / "S002_SAG_T2" / "IM0001.dcm").stat().st_mtime_ns
    write_cohort(folder, SETTINGS)
    assert contents(folder) == contents(cohort)
    assert (folder / "PHANTOM001" / "S002_SAG_T2" / "IM0001.dcm").stat().st_mtime_ns == kept
    assert not list(folder.glob(".part-*"))


def test_other_folders_are_left_alone(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="other settings"):
        write_cohort(cohort, PhantomSettings(patients=3, malignant=1, seed=5, matrix=96))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="something else"):
        write_cohort(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RecipeError, match="workers"):
        write_cohort(tmp_path / "new", SETTINGS, workers=0)


def test_identifiers_are_unique_and_headers_hold_together(cohort: Path) -> None:
    seen: set[str] = set()
    for patient in sorted(cohort.glob("PHANTOM*")):
        read = [pydicom.dcmread(path) for path in sorted(patient.rglob("*.dcm"))]
        uids = [str(item.SOPInstanceUID) for item in read]
        assert len(set(uids)) == len(uids)
        assert not seen & set(uids)
        seen |= set(uids)
        assert len({item.StudyInstanceUID for item in read}) == 1
        assert len({item.FrameOfReferenceUID for item in read}) == 1
        assert len({item.SeriesInstanceUID for item in read}) == 4
        assert {str(item.PatientID) for item in read} == {patient.name}
        assert all(str(item.PatientName).startswith("PHANTOM^") for item in read)
        assert all("ynthetic" in item.ImageComments for item in read)
        assert all(item.pixel_array.max() > 0 for item in read)


def test_timing_tells_the_series_apart(cohort: Path) -> None:
    first = {path.name: pydicom.dcmread(path / "IM0001.dcm") for path in (cohort / "PHANTOM001").iterdir()}
    t1w, t2w, stir = (first[name] for name in ("S003_SAG_T1", "S002_SAG_T2", "S004_SAG_STIR"))
    assert t1w.RepetitionTime < 800
    assert t1w.EchoTime < 30
    assert t2w.RepetitionTime > 2000
    assert t2w.EchoTime > 60
    assert stir.InversionTime == 150
    assert "IR" in stir.ScanningSequence
    assert first["S001_LOC"].ScanningSequence == "GR"
    planes = {
        tuple(pydicom.dcmread(path).ImageOrientationPatient) for path in (cohort / "PHANTOM001" / "S001_LOC").iterdir()
    }
    assert len(planes) == 3


def test_tables_agree_with_images_and_truth(cohort: Path) -> None:
    truth = {item["truth"]["patient_id"]: item for item in json.loads((cohort / "truth.json").read_text())["cases"]}
    cases, signs, readings = (rows(cohort / f"{name}.csv") for name in ("cases", "signs", "readings"))
    assert [row["patient"] for row in cases] == ["PHANTOM001", "PHANTOM002", "PHANTOM003"]
    assert sum(row["diagnosis"] == "malignant" for row in cases) == 1
    for row, scored in zip(cases, signs[::4], strict=True):  # the truth, then three readers
        images = {
            str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): pydicom.dcmread(path)
            for path in (cohort / row["patient"] / "S002_SAG_T2").iterdir()
        }
        lesion = row["lesion_sop_uids"].split()
        assert row["box_sop_uid"] in lesion
        assert set(lesion) <= set(images)
        positions = sorted(images[uid].SliceLocation for uid in lesion)
        assert positions[-1] - positions[0] == pytest.approx(4.4 * (len(lesion) - 1), abs=1e-3)
        image = images[row["box_sop_uid"]]
        edges = [float(row[f"box_{edge}"]) for edge in ("left", "top", "right", "bottom")]
        assert 0 < edges[0] < edges[2] < image.Columns
        assert 0 < edges[1] < edges[3] < image.Rows
        along_row, down_column = (image.ImageOrientationPatient[part] for part in (slice(0, 3), slice(3, 6)))
        column, line = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
        for axis in range(3):
            place = image.ImagePositionPatient[axis] + along_row[axis] * image.PixelSpacing[1] * column
            place += down_column[axis] * image.PixelSpacing[0] * line
            assert place == pytest.approx(truth[row["patient"]]["truth"]["box_centre_mm"][axis], abs=0.05)
        drawn = draw_case(SETTINGS, int(row["patient"][-3:]))
        assert {sign: scored[sign] == "1" for sign in SIGN_IDENTIFIERS} == drawn.lesion.signs
        assert scored["reader_id"] == "phantom_truth"
    assert len(readings) == 9
    assert {row["arm"] for row in readings} == {"unaided"}
    assert all((row["diagnosis"] == "malignant") == (int(row["confidence"]) > 50) for row in readings)


def test_a_cohort_without_readers_holds_the_truth_alone(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort, tmp_path / "quiet")
    write_cohort(tmp_path / "quiet", SETTINGS, readers=False)
    quiet, full = contents(tmp_path / "quiet"), contents(cohort)
    assert {row["reader_id"] for row in rows(tmp_path / "quiet" / "signs.csv")} == {"phantom_truth"}
    assert "readings.csv" in full
    assert "readings.csv" not in quiet
    assert {name for name in full if quiet.get(name) != full[name]} == {"signs.csv", "readings.csv"}
    write_cohort(tmp_path / "quiet", SETTINGS)
    assert contents(tmp_path / "quiet") == full
