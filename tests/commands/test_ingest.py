"""Ingest: images, boxes and tables arrive intact and under pseudonyms; nothing else of the hospital does."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spinefx.commands.check import check
from spinefx.commands.ingest import IngestReport, ingest
from spinefx.errors import InputError, SpinefxError, TableError, WorkspaceError
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.study import pseudonym, scan
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis, Score, TruthSource
from spinefx.workspace.enrolment import read_enrolment, read_hospital_readings, read_hospital_signs
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
    """Three patients of the export with their table, for a test to alter."""
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


def test_boxes_and_slices_lie_where_the_phantom_has_them(
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


def test_the_workspace_holds_nothing_of_the_hospital(ingested: tuple[Path, IngestReport, Path], export: Path) -> None:
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


def test_a_zip_and_folder_names_are_ingested(few: Path, tmp_path: Path) -> None:
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


def test_unmatched_rows_and_studies_are_both_listed(few: Path, tmp_path: Path) -> None:
    change(few, lambda rows: rows[1].update(patient="NOBODY", extra="x") or [r.setdefault("extra", "") for r in rows])
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    notes = "\n".join(report.notes)
    assert report.participants == 2
    assert "cases.csv, row 3: no images of this patient" in notes
    assert "its patient is not in cases.csv" in notes
    assert "columns not used: extra" in notes
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
        (lambda rows: rows.append(dict(rows[0])), "patient as in row 2"),
        (
            lambda rows: rows[0].update(diagnosis="unclear"),
            "row 2: diagnosis is not one of the allowed words. Expected: benign, malignant",
        ),
        (lambda rows: rows[0].update(truth_source="gut feeling"), "row 2: truth_source"),
        (lambda rows: rows[0].update(level="L9"), "row 2: level is not a vertebral level"),
        (lambda rows: rows[0].update(box_left="900"), "row 2: the box has no width"),
        (lambda rows: rows[0].update(box_left=""), "row 2: the box is incomplete"),
        (lambda rows: rows[0].update(box_sop_uid=""), "row 2: box_sop_uid is missing"),
        (lambda rows: rows[0].update(lesion_sop_uids="../../etc"), "row 2: an image reference"),
        (lambda rows: rows[0].update(age="-4"), "row 2: age is out of range"),
    ],
)
def test_a_wrong_table_is_refused_before_anything_is_written(
    few: Path, tmp_path: Path, edit: Callable[[Rows], object], message: str
) -> None:
    change(few, edit)
    with pytest.raises(TableError, match=message):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows[0].update(box_sop_uid="1.2.3", lesion_sop_uids=""), "box_sop_uid names no image"),
        (lambda rows: rows[0].update(lesion_sop_uids="1.2.3"), "an image is not in the T2W series"),
        (
            lambda rows: rows[0].update(box_left="5000", box_right="5050"),
            "the box's centre lies off the T2W image",
        ),
    ],
)
def test_one_wrong_patient_is_listed_and_the_others_are_ingested(
    few: Path, tmp_path: Path, edit: Callable[[Rows], object], message: str
) -> None:
    change(few, edit)
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert report.participants == 2
    assert sum(message in note and "(cases.csv, row 2)" in note for note in report.notes) == 1
    assert check(tmp_path / "study") == ()


def test_malformed_files_are_listed_and_stop_nothing(few: Path, tmp_path: Path) -> None:
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


def test_folders_in_use_and_keys_inside_are_refused(few: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="key file would lie inside"):
        ingest(tmp_path / "study", few, table=few / "cases.csv", key=tmp_path / "study" / "key.csv")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.doc").touch()
    with pytest.raises(WorkspaceError, match="not empty"):
        ingest(tmp_path / "taken", few, table=few / "cases.csv")
    ingest(tmp_path / "study", few, table=few / "cases.csv")
    with pytest.raises(WorkspaceError, match="already has participants"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")


def test_an_empty_folder_and_an_export_of_others_are_refused(few: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for export in (tmp_path / "empty", few / "cases.csv"):
        with pytest.raises(SpinefxError):
            ingest(tmp_path / "study", export, table=few / "cases.csv")
        assert not (tmp_path / "study").exists()
    change(few, lambda rows: [row.update(patient=f"X{number}") for number, row in enumerate(rows)])
    with pytest.raises(InputError, match="no patient of the table was found"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("was_there", [False, True])
def test_an_ingest_that_keeps_nothing_leaves_nothing(few: Path, tmp_path: Path, was_there: bool) -> None:
    folders: dict[Path, list[Path]] = {}
    for path in sorted(few.rglob("*.dcm")):
        folders.setdefault(path.parent, []).append(path)
    for images in folders.values():
        for path in images[1:]:
            path.unlink()
    workspace = tmp_path / "study"
    if was_there:
        workspace.mkdir()
    with pytest.raises(InputError, match="no patient's images can be used"):
        ingest(workspace, few, table=few / "cases.csv")
    assert not workspace.exists()


def name_series(few: Path, chosen: dict[str, str], weighting: str) -> None:
    def choose(rows: Rows) -> None:
        for row in rows:
            for name in ("box_sop_uid", "box_left", "box_top", "box_right", "box_bottom", "lesion_sop_uids"):
                row[name] = ""
            row[f"{weighting}_series_uid"] = chosen[pseudonym(row["patient"])]

    change(few, choose)


def test_the_series_that_the_user_names_is_used(few: Path, tmp_path: Path) -> None:
    for path in few.rglob("*_SAG_T2"):
        shutil.copytree(path, path.with_name("named"))
    for path in few.rglob("named/*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID += ".9"
        dataset.SOPInstanceUID += ".9"
        dataset.SeriesNumber = 90
        dataset.EchoTime = "99"
        dataset.BodyPartExamined = "HEAD"
        dataset.save_as(path)
    studies = scan(few).studies
    name_series(few, {study.patient_key: study.series[-1].uid for study in studies}, "t2w")
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert report.participants == 3
    assert report.lesions == 0
    assert sum("because it was named, although: of the head" in note for note in report.notes) == 3
    images = [Workspace(tmp_path / "study").image(name, "T2w") for name in ("sub-001", "sub-002", "sub-003")]
    assert {json.loads(sidecar_of(image).read_text())["EchoTime"] for image in images} == {0.099}


def test_a_stir_that_the_table_names_as_t2w_is_refused(few: Path, tmp_path: Path) -> None:
    stir = {
        study.patient_key: series.uid
        for study in scan(few).studies
        for series in study.series
        if series.inversion_time_ms
    }
    assert len(stir) == 3
    name_series(few, stir, "t2w")
    with pytest.raises(InputError, match=r"the series named as T2w cannot be used: fat-suppressed \(STIR\)"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")


def test_the_key_comes_first_belongs_to_its_owner_and_is_never_overwritten(few: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.csv"
    key.write_text("participant_id,patient,row\nsub-001,another workspace,2\n")
    with pytest.raises(WorkspaceError, match="key file already exists"):
        ingest(tmp_path / "study", few, table=few / "cases.csv", key=key)
    key.unlink()
    change(few, lambda rows: rows.append(rows[0] | {"patient": "=cmd()"}))
    ingest(tmp_path / "other", few, table=few / "cases.csv", key=key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "'=cmd()" in key.read_text()


def test_two_ingests_at_once_never_mix(few: Path, tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "study")
    with workspace.writing(), pytest.raises(WorkspaceError, match="another command is writing"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    assert ingest(tmp_path / "study", few, table=few / "cases.csv").participants == 3


def test_images_of_another_ingest_are_found(few: Path, tmp_path: Path) -> None:
    ingest(tmp_path / "study", few, table=few / "cases.csv")
    one, other = (Workspace(tmp_path / "study").image(name, "T1w") for name in ("sub-001", "sub-002"))
    for path, source in ((one, other), (sidecar_of(one), sidecar_of(other))):
        shutil.copy(source, path)
    assert any("sub-001" in problem and "does not belong" in problem for problem in check(tmp_path / "study"))


class Killed(BaseException):
    """Stands for the end of the process."""


def test_an_ingest_that_is_killed_at_any_write_completes_when_repeated(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(few, lambda rows: rows.__delitem__(slice(1, None)))
    tables = {"table": few / "cases.csv"}
    ingest(tmp_path / "whole", few, **tables, key=tmp_path / "whole.csv")
    whole = contents(tmp_path / "whole")
    replace, count = os.replace, 0

    def die(source: str | Path, target: str | Path) -> None:
        nonlocal count
        count -= 1
        if count == 0:
            shutil.copy(source, f"{source}-left")  # what a killed process cannot remove
            raise Killed
        replace(source, target)

    writes = 0
    for number in range(1, 100):
        count, root = number, tmp_path / f"study{number}"
        monkeypatch.setattr(os, "replace", die)
        try:
            ingest(root, few, **tables, key=tmp_path / f"key{number}.csv")
        except Killed:
            monkeypatch.setattr(os, "replace", replace)
            writes = number
            if Workspace.is_at(root) and not (root / "participants.tsv").exists():
                assert check(root), "an unfinished ingest is reported"
            if not (root / "participants.tsv").exists():
                ingest(root, few, **tables, key=tmp_path / f"key{number}.csv")
        monkeypatch.setattr(os, "replace", replace)
        assert contents(root) == whole
        assert (tmp_path / f"key{number}.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        shutil.rmtree(root)
        if writes < number:
            break
    assert writes >= 15


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".spinefx.lock"
    }


def test_another_export_does_not_continue_an_interrupted_ingest(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("spinefx.commands.ingest._write_tables", die)
    with pytest.raises(Killed):
        ingest(tmp_path / "study", few, table=few / "cases.csv")
    monkeypatch.undo()
    change(few, lambda rows: rows.pop())
    with pytest.raises(WorkspaceError, match="part of another, interrupted ingest"):
        ingest(tmp_path / "study", few, table=few / "cases.csv")


@pytest.mark.parametrize(
    ("in_images", "in_table", "hint"),
    [
        ("0012345", "12345", "by leading zeros"),
        ("12345", "0012345", "by leading zeros"),
        ("12345", "12345.0", "by a decimal"),
        ("ab-17", "AB-17", "in upper and lower case"),
        ("A 17", "A-17", "in spaces, hyphens or underscores"),
        ("471100000012", "4.711E+11", "rounded"),
        ("471100000012", "4,711E+11", "rounded"),
    ],
)
def test_an_identifier_that_nearly_matches_is_hinted_at_and_not_printed(
    few: Path, tmp_path: Path, in_images: str, in_table: str, hint: str
) -> None:
    first = read_rows(few / "cases.csv")[0]["patient"]
    for path in (few / first).rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.PatientID = in_images
        header.save_as(path)
    (few / first).rename(few / "moved")
    change(few, lambda rows: rows[0].update(patient=in_table))
    report = ingest(tmp_path / "study", few, table=few / "cases.csv")
    notes = [note for note in report.notes if "cases.csv, row 2" in note or "its patient is not in" in note]
    assert report.participants == 2
    assert hint in notes[0]
    assert not any(text in note for note in report.notes for text in (in_images, in_table))


def as_spreadsheet(rows: Rows, path: Path, *, separator: str, comma: bool, encoding: str) -> Path:
    """Write rows as a spreadsheet of another country does."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(rows[0])
    for row in rows:
        numeric = re.compile(r"-?[0-9]+\.[0-9]+")
        writer.writerow(
            [cell.replace(".", ",") if comma and numeric.fullmatch(cell) else cell for cell in row.values()]
        )
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize(
    ("separator", "comma", "encoding"),
    [
        (";", True, "utf-8-sig"),
        (";", True, "cp1252"),
        ("\t", True, "utf-16"),
        (",", True, "utf-8"),
        (";", False, "utf-8"),
    ],
)
def test_a_table_is_the_same_however_a_spreadsheet_saves_it(
    few: Path, tmp_path: Path, separator: str, comma: bool, encoding: str
) -> None:
    plain = read_enrolment(few / "cases.csv")
    saved = as_spreadsheet(
        read_rows(few / "cases.csv"), tmp_path / "t.csv", separator=separator, comma=comma, encoding=encoding
    )
    assert read_enrolment(saved) == plain


SIGN_WORDS = {
    "digits": ("1", "0"),
    "floats": ("1.0", "0.0"),
    "commas": ("1,0", "0,0"),
    "booleans": ("TRUE", "FALSE"),
    "German booleans": ("WAHR", "FALSCH"),
    "words": ("yes", "No"),
    "letters": ("Y", "n"),
}


@pytest.mark.parametrize("words", SIGN_WORDS)
def test_signs_are_the_same_whatever_words_a_spreadsheet_uses(tmp_path: Path, words: str) -> None:
    yes, no = SIGN_WORDS[words]
    cells = [yes if number % 2 else no for number in range(12)] + ["", "n/a", "-"]
    row = {"patient": "A", "reader_id": "r"} | dict(zip(SIGN_IDENTIFIERS, cells, strict=True))
    scores, _, notes = read_hospital_signs(write_rows(tmp_path / "s.csv", [row]), {pseudonym("A"): "sub-001"})
    wanted = [Score.YES if number % 2 else Score.NO for number in range(12)] + [Score.NOT_ASSESSABLE] * 3
    assert list(scores[0].scores.values()) == wanted
    assert notes == ["s.csv: 3 empty cells are taken as not assessable"]


def test_a_row_without_any_sign_and_an_unknown_word_are_refused(tmp_path: Path) -> None:
    for cell, message in (("", "row 2: no sign is scored"), ("perhaps", "row 2: absence_of_collapse is not one of")):
        row = {"patient": "A", "reader_id": "r"} | dict.fromkeys(SIGN_IDENTIFIERS, cell)
        with pytest.raises(TableError, match=message):
            read_hospital_signs(write_rows(tmp_path / "s.csv", [row]), {pseudonym("A"): "sub-001"})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["0.93", "0.1"], "row 2: confidence is below 1 percent"),
        (["80", "0.93"], "row 3: confidence is below 1 percent"),
        (["1", "0"], "row 2: no confidence of this reader is above 1"),
        (["1.0", "", "0"], "row 2: no confidence of this reader is above 1"),
        (["101", "3"], "row 2: confidence is out of range"),
    ],
)
def test_confidences_given_as_fractions_are_refused(tmp_path: Path, cells: list[str], message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_confidences(tmp_path, cells)


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["93", "1"], [93, 1]),
        (["1"], [1]),
        (["1", ""], [1, None]),
        (["93%", "0,5%"], [93, 0.5]),
        (["0", "0"], [0, 0]),
        (["", "-"], [None, None]),
    ],
)
def test_confidences_are_percentages(tmp_path: Path, cells: list[str], wanted: list[float | None]) -> None:
    assert read_confidences(tmp_path, cells) == wanted


def read_confidences(folder: Path, cells: list[str]) -> list[float | None]:
    rows = [
        {"patient": f"P{n}", "reader_id": "r", "arm": "unaided", "diagnosis": "benign", "confidence": cell}
        for n, cell in enumerate(cells)
    ]
    known = {pseudonym(row["patient"]): row["patient"] for row in rows}
    return [one.confidence for one in read_hospital_readings(write_rows(folder / "r.csv", rows), known)[0]]
