"""A cohort on disk: the same bytes for any number of workers, valid DICOM, and tables that agree with the truth."""

from __future__ import annotations

import csv
import gc
import json
import re
import shutil
import tracemalloc
from dataclasses import fields
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spinefx.commands.ingest import ingest
from spinefx.errors import RecipeError, WorkspaceError
from spinefx.phantom import cohort as cohort_module
from spinefx.phantom.case import truth_of
from spinefx.phantom.cohort import CaseDraw, PhantomSettings, draw_case, write_cohort
from spinefx.vocabulary import SIGN_IDENTIFIERS

# Pixels of 3.1 mm at most: ingest refuses coarser ones than 4 mm.
SETTINGS = PhantomSettings(patients=3, malignant=1, seed=4, matrix=128)


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
    reports: list[tuple[int, int]] = []
    write_cohort(tmp_path / "again", SETTINGS, workers=2, progress=lambda done, total: reports.append((done, total)))
    assert contents(tmp_path / "again") == contents(cohort)
    assert reports == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_interrupted_cohort_is_completed(cohort: Path, tmp_path: Path) -> None:
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


def test_single_cases_are_the_same_as_in_the_whole_cohort(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "two", SETTINGS, only=["phantom-003", "phantom-001"])
    few, all_of_them = contents(tmp_path / "two"), contents(cohort)
    images = {name: data for name, data in all_of_them.items() if name.startswith(("PHANTOM001/", "PHANTOM003/"))}
    assert {name: data for name, data in few.items() if name.startswith("PHANTOM")} == images
    for table in ("cases.csv", "signs.csv", "readings.csv"):
        kept = [line for line in all_of_them[table].splitlines() if not line.startswith(b"PHANTOM002")]
        assert few[table].splitlines() == kept
    named = [case["truth"]["name"] for case in json.loads(few["truth.json"])["cases"]]
    assert named == ["phantom-001", "phantom-003"]
    # The remaining case can follow later: the tables list what the folder holds.
    write_cohort(tmp_path / "two", SETTINGS, only=["phantom-002"])
    assert contents(tmp_path / "two") == all_of_them
    for wrong in (["phantom-004"], ["phantom-000"], ["PHANTOM001"]):
        with pytest.raises(RecipeError, match="phantom"):
            write_cohort(tmp_path / "none", SETTINGS, only=wrong)
    assert not (tmp_path / "none").exists()


def test_every_drawn_value_is_recorded(cohort: Path) -> None:
    text = (cohort / "truth.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["settings"]["seed"] == 4
    assert set(SETTINGS.to_mapping()) == set(record["settings"]) <= {field.name for field in fields(PhantomSettings)}
    lines = text.splitlines()[1:-1]
    assert [json.loads(line.rstrip(",")) for line in lines] == record["cases"]  # one case a line
    for number, case in enumerate(record["cases"], start=1):
        draw = draw_case(SETTINGS, number)
        later = {"variation", "field_centre", "sampling_weight"}  # recorded only where a dial asks for them
        assert {field.name for field in fields(CaseDraw)} - {"settings", *later} == set(case["drawn"])
        truth = truth_of(draw)
        assert {field.name for field in fields(truth)} == set(case["truth"])
        assert case["truth"]["signs"] == draw.lesion.signs
        assert case["drawn"]["t1w"]["samples"] == list(draw.t1w.samples)
        assert case["drawn"]["lesion"]["deformity"]["anterior"] == draw.lesion.deformity.anterior
        assert np.array(case["truth"]["t2w_to_t1w"]) == pytest.approx(draw.t2w_to_t1w)
        assert set(case["truth"]["vertebrae_mm"]) == set(truth.vertebrae_mm)


def test_memory_for_the_tables_does_not_grow_with_the_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(settings: PhantomSettings, number: int) -> CaseDraw:
        gc.collect()  # objects that await collection do not count
        return draw_case(settings, number)

    monkeypatch.setattr(cohort_module, "draw_case", drawn)
    gc.freeze()  # collect quickly: only objects made from here on

    def peak(patients: int) -> int:
        settings = PhantomSettings(patients=patients, matrix=64)
        folder = tmp_path / str(patients)
        cohort_module._claim_folder(folder, settings)
        for number in range(1, patients + 1):
            (folder / f"PHANTOM{number:03d}").mkdir()
        tracemalloc.start()
        write_cohort(folder, settings)  # all patients exist, so only the tables are written
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(json.loads((folder / "truth.json").read_text())["cases"]) == patients
        return highest

    peak(3)  # loads and caches what is needed once
    few, many = peak(6), peak(46)
    gc.unfreeze()
    assert many - few < 40 * 2000  # a patient's line in truth.json alone has 12 thousand characters


def test_other_folders_are_left_alone(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="other settings"):
        write_cohort(cohort, PhantomSettings(patients=3, malignant=1, seed=5, matrix=96))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="other files"):
        write_cohort(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RecipeError, match="workers"):
        write_cohort(tmp_path / "new", SETTINGS, workers=0)


def test_identifiers_are_unique_and_headers_are_consistent(cohort: Path) -> None:
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
        assert all(item.QualityControlSubject == "YES" for item in read)
        assert all(re.fullmatch(r"SPINEFX \(\w+-like\)", item.Manufacturer) for item in read)
        assert not any(element.tag.is_private for item in read for element in item)
        assert all(35 <= int(item.PatientAge[:3]) <= 92 for item in read)
        assert all(
            int(item.StudyDate[:4]) - int(item.PatientBirthDate[:4]) == int(item.PatientAge[:3]) for item in read
        )
        assert all("20120101" < item.StudyDate < "20180101" for item in read)
        assert all(item.pixel_array.max() > 0 for item in read)


def test_sequence_timing_distinguishes_the_series(cohort: Path) -> None:
    first = {path.name: pydicom.dcmread(path / "IM0001.dcm") for path in (cohort / "PHANTOM001").iterdir()}
    times = [int(first[name].SeriesTime) for name in sorted(first)]
    assert times == sorted(set(times))
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
        spacing = truth[row["patient"]]["drawn"]["t2w"]["spacing_mm"]
        assert row["box_sop_uid"] in lesion
        assert set(lesion) <= set(images)
        positions = sorted(images[uid].SliceLocation for uid in lesion)
        assert positions[-1] - positions[0] == pytest.approx(spacing * (len(lesion) - 1), abs=1e-3)
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


def test_labels_can_be_added_later_and_are_not_ingested(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort, tmp_path / "labelled")
    write_cohort(tmp_path / "labelled", SETTINGS, labels=True)
    new = set(contents(tmp_path / "labelled")) - set(contents(cohort))
    kinds = (".nii.gz", ".json", ".tsv")
    assert new == {f"labels/PHANTOM{n:03d}_T2w_dseg{kind}" for n in (1, 2, 3) for kind in kinds}
    report = ingest(tmp_path / "study", tmp_path / "labelled", table=tmp_path / "labelled" / "cases.csv")
    assert report.participants == report.lesions == 3
