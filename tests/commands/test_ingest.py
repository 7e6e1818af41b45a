"""A group's own door: what goes in comes out where it was, under other names, and nothing else comes in."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spinefx.commands.check import check
from spinefx.commands.ingest import IngestReport, ingest
from spinefx.errors import InputError, SpinefxError, TableError, WorkspaceError
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.study import pseudonym, scan
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_lesions, read_participants, read_readings, read_signs

Rows = list[dict[str, str]]


def read_rows(path: Path) -> Rows:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def few(export: Path, tmp_path: Path) -> Path:
    """Three patients of the export, with their table, to be spoilt."""
    folder = tmp_path / "export"
    rows = read_rows(export / "cases.csv")[:3]
    for row in rows:
        shutil.copytree(export / row["patient"], folder / row["patient"])
    write_rows(folder / "cases.csv", rows)
    return folder


def change(export: Path, edit: Callable[[Rows], object]) -> Path:
    rows = read_rows(export / "cases.csv")
    edit(rows)
    return write_rows(export / "cases.csv", rows)


def sidecar_of(image: Path) -> Path:
    return image.with_name(image.name.replace(".nii.gz", ".json"))


def test_the_truth_arrives_under_pseudonyms(ingested: tuple[Path, IngestReport, Path], export: Path) -> None:
    study, report, key = ingested
    truth = {row["patient"]: row for row in read_rows(export / "cases.csv")}
    names = {row["participant_id"]: row["patient"] for row in read_rows(key)}
    workspace = Workspace.open(study)
    assert report.participants == report.lesions == len(truth) == len(names)
    assert check(study) == ()
    for person in read_participants(workspace):
        row = truth[names[person.participant_id]]
        assert person.diagnosis == row["diagnosis"]
        assert person.truth_source == TruthSource.PHANTOM
        assert person.age == float(row["age"])
        assert person.sex == row["sex"]
    assert read_cohort(workspace).count(Diagnosis.MALIGNANT) == 3


def test_boxes_and_slices_lie_where_the_phantom_put_them(
    ingested: tuple[Path, IngestReport, Path], export: Path
) -> None:
    study, _, key = ingested
    names = {row["participant_id"]: row["patient"] for row in read_rows(key)}
    truth = {
        case["truth"]["patient_id"]: case["truth"] for case in json.loads((export / "truth.json").read_text())["cases"]
    }
    for record in read_lesions(Workspace.open(study)):
        case = truth[names[record.participant_id]]
        assert np.linalg.norm(np.subtract(record.lesion.box.centre_mm, case["box_centre_mm"])) < 0.6
        assert record.lesion.box.side_mm == pytest.approx(case["box_side_mm"], abs=0.6)
        assert record.lesion.level == case["level"]
        assert len(record.lesion.slices) == len(case["lesion_slices"])
        t2w = read_nifti(Workspace(study).image(record.participant_id, "T2w"))
        place = t2w.to_index(record.lesion.box.centre_mm)
        assert record.lesion.first_slice - 0.6 <= place[0] <= record.lesion.last_slice + 0.6


def test_readings_and_signs_follow_their_patients(ingested: tuple[Path, IngestReport, Path], export: Path) -> None:
    study, _, key = ingested
    names = {row["participant_id"]: row["patient"] for row in read_rows(key)}
    answers = {(row["patient"], row["reader_id"]): row for row in read_rows(export / "readings.csv")}
    readings = read_readings(Workspace(study))
    assert len(readings) == len(answers)
    for reading in readings:
        row = answers[names[reading.case_id], reading.reader_id]
        assert (reading.diagnosis, reading.arm) == (row["diagnosis"], row["arm"])
    signs = {(row["patient"], row["reader_id"]): row for row in read_rows(export / "signs.csv")}
    found = read_signs(Workspace(study))
    assert len(found) == len(signs) == 4 * len(names), "the truth and three readers"
    words = {"1": Score.YES, "0": Score.NO} | {score.value: score for score in Score}
    for scores in found:
        row = signs[names[scores.case_id], scores.reader_id]
        assert scores.scores == {name: words[row[name]] for name in SIGN_IDENTIFIERS}


def test_nothing_of_the_hospital_stays_in_the_study_folder(
    ingested: tuple[Path, IngestReport, Path], export: Path
) -> None:
    study, report, key = ingested
    secrets = {row["patient"] for row in read_rows(key)} | {"PHANTOM^"}
    for row in read_rows(export / "cases.csv"):
        secrets |= {row["box_sop_uid"], *row["lesion_sop_uids"].split()}
    for path in study.rglob("*"):
        assert not any(secret in path.name for secret in secrets)
        if path.is_file() and path.suffix != ".gz":
            text = path.read_text()
            assert not any(secret in text for secret in secrets), path.name
    assert not any(secret in note for note in report.notes for secret in secrets)
    numbers = [int(row["row"]) for row in read_rows(key)]
    assert numbers != sorted(numbers), "participants must not be numbered in the table's order"


def test_a_zip_and_folder_names_give_the_same_study(few: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(sorted(path for path in few.iterdir() if path.is_dir())):
        folder.rename(few / f"Case {number}")
    change(few, lambda rows: [row.update(patient=f"Case {number}") for number, row in enumerate(rows)])
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(few.rglob("*.dcm")):
            file.write(path, path.relative_to(few))
    report = ingest(tmp_path / "study", archive, table=few / "cases.csv")
    assert report.participants == 3
    assert check(tmp_path / "study") == ()


def test_unmatched_rows_and_studies_are_listed_both_ways(few: Path, tmp_path: Path) -> None:
    change(few, lambda rows: rows[1].update(patient="NOBODY", extra="x") or [r.setdefault("extra", "") for r in rows])
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    notes = "\n".join(report.notes)
    assert report.participants == 2
    assert "cases.csv, row 3: no images of this patient" in notes
    assert "its patient is not in cases.csv" in notes
    assert "columns left out: extra" in notes
    assert "NOBODY" not in notes


def test_a_box_in_millimetres_and_default_slices(few: Path, tmp_path: Path) -> None:
    def to_mm(rows: Rows) -> None:
        for row in rows:
            for name in ("box_left", "box_top", "box_right", "box_bottom", "lesion_sop_uids"):
                row[name] = ""
            row |= {"box_l_mm": "0", "box_p_mm": "0", "box_s_mm": "0", "box_side_mm": "40"}

    change(few, to_mm)
    ingest(tmp_path / "study", few, table=few / "cases.csv")
    for record in read_lesions(Workspace(tmp_path / "study")):
        assert record.lesion.box.centre_mm == (0, 0, 0)
        assert len(record.lesion.slices) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.append(dict(rows[0])), "the same patient as row 2"),
        (
            lambda rows: rows[0].update(diagnosis="unclear"),
            "row 2: diagnosis is 'unclear'. Expected: benign, malignant",
        ),
        (lambda rows: rows[0].update(truth_source="gut feeling"), "row 2: truth_source"),
        (lambda rows: rows[0].update(level="L9"), "row 2: level is 'L9'"),
        (lambda rows: rows[0].update(box_left="900"), "row 2: a box without width"),
        (lambda rows: rows[0].update(box_left=""), "row 2: part of a box"),
        (lambda rows: rows[0].update(box_sop_uid=""), "row 2: a box in pixels without box_sop_uid"),
        (lambda rows: rows[0].update(lesion_sop_uids="../../etc"), "row 2: an image reference"),
        (lambda rows: rows[0].update(age="-4"), "row 2: age is '-4'"),
    ],
)
def test_a_wrong_table_stops_everything_before_anything_is_written(
    few: Path, tmp_path: Path, edit: Callable[[Rows], object], message: str
) -> None:
    change(few, edit)
    with pytest.raises(TableError, match=message):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows[0].update(box_sop_uid="1.2.3", lesion_sop_uids=""), "the image of the box is not among"),
        (lambda rows: rows[0].update(lesion_sop_uids="1.2.3"), "an image that is not in the T2W series"),
        (
            lambda rows: rows[0].update(box_left="5000", box_right="5050"),
            "the box's centre lies off the T2W image",
        ),
    ],
)
def test_one_wrong_patient_is_listed_and_the_rest_go_on(
    few: Path, tmp_path: Path, edit: Callable[[Rows], object], message: str
) -> None:
    change(few, edit)
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert report.participants == 2
    assert sum(message in note and "row 2 of cases.csv" in note for note in report.notes) == 1
    assert check(tmp_path / "study") == ()


def test_malformed_files_give_one_line_each_and_stop_nothing(few: Path, tmp_path: Path) -> None:
    series = sorted(few.rglob("*STIR*"))[0]
    first = sorted(series.glob("*.dcm"))[0]
    first.write_bytes(first.read_bytes()[:900])
    (few / "notes.txt").write_text("Doe, John")
    (few / "empty.dcm").write_bytes(b"")
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert report.participants == 3
    files = [note for note in report.notes if note.startswith("file ")]
    assert len(files) == 3
    assert not any("Doe" in note or "notes" in note for note in report.notes)
    shown = ingest(tmp_path / "other", few, table=few / "cases.csv", show_paths=True)
    assert sum("notes.txt" in note for note in shown.notes) == 1


def test_places_that_are_taken_and_keys_inside_are_refused(few: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="key file would lie inside"):
        ingest(tmp_path / "study", few, table=few / "cases.csv", key=tmp_path / "study" / "key.csv")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.doc").touch()
    with pytest.raises(WorkspaceError, match="taken"):
        ingest(tmp_path / "taken", few, table=few / "cases.csv")
    ingest(tmp_path / "study", few, table=few / "cases.csv")
    with pytest.raises(WorkspaceError, match="holds participants already"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")


def test_an_empty_folder_and_strangers_only(few: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for export in (tmp_path / "empty", few / "cases.csv"):
        with pytest.raises(SpinefxError):
            ingest(tmp_path / "study", export, table=few / "cases.csv")
        assert not (tmp_path / "study").exists()
    change(few, lambda rows: [row.update(patient=f"X{number}") for number, row in enumerate(rows)])
    with pytest.raises(InputError, match="no patient of the table was found"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert not (tmp_path / "study").exists()


def test_the_series_of_the_users_choice_is_taken(few: Path, tmp_path: Path) -> None:
    stir = {
        study.patient_key: series.uid
        for study in scan(few).studies
        for series in study.series
        if series.inversion_time_ms
    }
    assert len(stir) == 3

    def choose(rows: Rows) -> None:
        for row in rows:
            for name in ("box_sop_uid", "box_left", "box_top", "box_right", "box_bottom", "lesion_sop_uids"):
                row[name] = ""
            row["t2w_series_uid"] = stir[pseudonym(row["patient"])]

    change(few, choose)
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert report.participants == 3
    assert report.lesions == 0
    assert "fat-suppressed (STIR)" not in report.refused_series
    images = [Workspace(tmp_path / "study").image(name, "T2w") for name in ("sub-001", "sub-002", "sub-003")]
    echo_times = [json.loads(sidecar_of(image).read_text())["EchoTime"] for image in images]
    assert max(echo_times) < 0.06
