"""The doors of the localiser, with one that knows the truth: what they write, refuse, and leave alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.conftest import MALIGNANT, PATIENTS
from tests.localisation.conftest import KnownSpine, label_spine

from spinefx.cli import main
from spinefx.commands.check import check
from spinefx.commands.ingest import IngestReport, ingest
from spinefx.commands.locate import locate
from spinefx.commands.predict import predict
from spinefx.commands.propose import LOCALISER, replace_boxes
from spinefx.errors import BoxError, InputError, LevelError, SelectionError
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Volume
from spinefx.localisation.formats import read_markups, read_spine
from spinefx.localisation.spine import Convention, LocatedSpine
from spinefx.phantom.case import truth_of
from spinefx.phantom.random_streams import draw_case
from spinefx.phantom.settings import PhantomSettings
from spinefx.workspace.layout import Workspace
from spinefx.workspace.located_boxes import read_located_boxes
from spinefx.workspace.records import read_cohort, read_lesions, read_proposals

DRAWS = [
    draw_case(PhantomSettings(patients=PATIENTS, seed=5, malignant=MALIGNANT, matrix=192), number + 1)
    for number in range(PATIENTS)
]


class TrueLocaliser:
    """Finds what the phantoms of the export hold, by the place of the T2W series; nothing in any other volume."""

    def __init__(self) -> None:
        self.known: dict[int, KnownSpine] = {}

    def __call__(self, volume: Volume) -> tuple[LocatedSpine, NDArray[np.integer]]:
        for number, draw in enumerate(DRAWS):
            if np.allclose(truth_of(draw).affines["t2w"], volume.affine, atol=0.01):
                if number not in self.known:
                    self.known[number] = label_spine(draw)
                return self.known[number].spine, self.known[number].classes
        return LocatedSpine((), Convention.UNNAMED, notes=("No vertebra was found.",)), np.zeros(volume.shape, np.int8)


FOUND = TrueLocaliser()


@pytest.fixture(autouse=True)
def true_localiser(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("locate", "predict", "propose"):
        monkeypatch.setattr(f"spinefx.commands.{command}.shipped_localiser", lambda: FOUND)


def unreachable(_: Volume) -> tuple[LocatedSpine, NDArray[np.integer]]:
    raise AssertionError("this series must not be searched")


@pytest.fixture
def patient(export: Path) -> Path:
    return export / DRAWS[0].patient_id


def shell(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0


def secrets_of(folder: Path) -> set[str]:
    study = open_study(folder)
    return {DRAWS[0].patient_id, study.uid, *(one.uid for one in study.series), folder.name, "PHANTOM^", "CASE"}


def test_dicom_is_located_and_nothing_of_the_patient_is_written(patient: Path, tmp_path: Path) -> None:
    out, picture, masks = tmp_path / "spine.json", tmp_path / "spine.png", tmp_path / "masks.nii.gz"
    found = locate(patient, out=out, picture=picture, masks=masks)
    truth = truth_of(DRAWS[0])
    assert found.series.startswith("series ")
    for vertebra in found.spine.vertebrae:
        assert np.allclose(vertebra.centre_mm, truth.vertebrae_mm[vertebra.level or ""])
    assert read_spine(out).levels == found.spine.levels
    written = json.loads(out.read_text())
    assert written == found.to_json()
    assert [one["rank"] for one in written["most_abnormal"]] == [1, 2, 3]
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert len(set(image.convert("RGB").get_flattened_data())) > 100
    codes = set(np.unique(read_nifti(masks).array).astype(int).tolist())
    assert {61, 41} < codes
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets_of(patient)), path.name


def test_the_shell_prints_json_or_a_sentence(patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell("locate", str(patient))
    printed = json.loads(capsys.readouterr().out)
    assert [one["level"] for one in printed["vertebrae"]] == list(FOUND.known[0].spine.levels)
    shell("locate", str(patient), "--out", str(tmp_path / "spine.mrk.json"))
    shown = capsys.readouterr().out
    assert f"{len(printed['vertebrae'])} vertebrae: {printed['vertebrae'][0]['level']}" in shown
    assert [label for label, _ in read_markups(tmp_path / "spine.mrk.json")] == list(FOUND.known[0].spine.levels)


def test_a_zip_and_nifti_are_located_alike(
    patient: Path, ingested: tuple[Path, IngestReport, Path], tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", patient)
    assert locate(Path(archive)).spine.levels == locate(patient).spine.levels
    names = {row["patient"]: row["participant_id"] for row in rows_of(ingested[2])}
    images = Workspace(ingested[0]).image(names[DRAWS[0].patient_id], "T2w").parent
    assert locate(images).spine.levels == locate(patient).spine.levels
    assert locate(next(images.glob("*T2w.nii.gz"))).spine.levels == locate(patient).spine.levels


def test_one_series_can_be_named_and_others_show_nothing(patient: Path) -> None:
    series = {str(one.weighting): one for one in open_study(patient).series if one.plane.value == "sagittal"}
    assert locate(patient, series=series["T2w"].uid).spine.vertebrae
    nothing = locate(patient, series=series["T1w"].uid)
    assert (nothing.spine.vertebrae, nothing.spine.notes) == ((), ("No vertebra was found.",))
    assert nothing.to_json()["names"] == "The series shows no vertebra."
    with pytest.raises(SelectionError, match="0 series"):
        locate(patient, series="1.2.3")
    localizer = next(one for one in open_study(patient).series if one.number_of_slices < 4)
    with pytest.raises(SelectionError, match="cannot be searched"):
        locate(patient, series=localizer.uid)


@pytest.mark.parametrize(
    ("out", "masks", "picture"),
    [("a.json", "a.nii.gz", None), ("a.tsv", "a.nii", None), ("a.json", None, "a.json"), (None, "a.png", None)],
)
def test_files_that_would_overwrite_each_other_are_refused_before_anything_is_read(
    out: str | None, masks: str | None, picture: str | None, tmp_path: Path
) -> None:
    paths = {name: tmp_path / text for name, text in (("out", out), ("masks", masks), ("picture", picture)) if text}
    with pytest.raises(InputError, match=r"same name|ending"):
        locate(tmp_path / "absent", **paths)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("abdomen_mr_totalsegmentator/example_mr_sm.nii.gz", "axial, not sagittal"),
        ("dicom_head_sagittal_t1", "of the head"),
        ("dicom_enhanced_t1w_tse_phantom", "axial, not sagittal"),
        ("dicom_enhanced_vs_classic_sagittal/classic", "of the head"),
    ],
)
def test_real_series_of_other_parts_and_planes_have_no_vertebra(shared_data: Path, name: str, reason: str) -> None:
    found = locate(shared_data / name, localiser=unreachable)
    assert not found.spine.vertebrae
    assert any(reason in note for note in found.spine.notes)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_a_level_is_scored_as_the_box_of_its_vertebra(trained: Path, patient: Path) -> None:
    model = trained / "experiments" / "quick"
    level = DRAWS[0].level
    named = predict(model, patient, level=level.lower())
    lesion = FOUND.known[0].spine.at_level(level).marked_on(FOUND.known[0].labels)
    box = ",".join(f"{value:.4f}" for value in (*lesion.box.centre_mm, lesion.box.side_mm))
    boxed = predict(model, patient, box=box, slices=f"{lesion.first_slice}-{lesion.last_slice}")
    assert named["patient"]["probability"] == pytest.approx(boxed["patient"]["probability"], abs=1e-4)
    assert named["located"]["level"] == level
    assert named["located"]["convention"] == "counted_from_sacrum"
    assert "located" not in boxed
    one = predict(model, patient, level=level, slices=str(lesion.first_slice))
    assert [each["slice"] for each in one["slices"]] == [lesion.first_slice]


def test_levels_that_cannot_be_scored_are_refused_with_the_reason(
    trained: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained / "experiments" / "quick"
    with pytest.raises(BoxError, match="exactly one"):
        predict(model, patient, level="L1", box="0,0,0,30")
    with pytest.raises(LevelError, match="unknown"):
        predict(model, patient, level="Q1")
    hidden = "C3" if DRAWS[0].level[0] != "C" else "S1"
    with pytest.raises(LevelError, match="outside the field"):
        predict(model, patient, level=hidden)
    with pytest.raises(SystemExit):
        main(["predict", str(model), str(patient), "--level", hidden])
    said = json.loads(capsys.readouterr().out)
    assert said["refused"] == "LevelError"
    assert said["words"].startswith("No vertebra of that name")


@pytest.fixture
def half_marked(export: Path, tmp_path: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    """The export with a table in which half of the patients have a level but no box, and one box has a wrong level."""
    rows = rows_of(export / "cases.csv")
    truth = {row["patient"]: dict(row) for row in rows}
    for row in rows[::2]:
        row |= {name: "" for name in row if name.startswith("box_") or name == "lesion_sop_uids"}
    other = rows[1]
    other["level"] = "L3" if other["level"] != "L3" else "L2"
    table = tmp_path / "cases.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table, truth


def test_ingest_proposes_boxes_and_doubts_levels(
    export: Path, half_marked: tuple[Path, dict[str, dict[str, str]]], tmp_path: Path
) -> None:
    table, truth = half_marked
    report = ingest(tmp_path / "w", export, table=table, key=tmp_path / "key.csv", locate=True)
    workspace = Workspace.open(tmp_path / "w")
    patients = {row["participant_id"]: row["patient"] for row in rows_of(tmp_path / "key.csv")}
    unmarked = [row["patient"] for row in rows_of(table) if not row["box_left"]]
    by_patient = {draw.patient_id: truth_of(draw) for draw in DRAWS}
    proposals = read_proposals(workspace)
    assert sorted(patients[one.participant_id] for one in proposals) == sorted(unmarked)
    for one in proposals:
        known = by_patient[patients[one.participant_id]]
        assert (one.annotator, one.lesion.level) == (LOCALISER, known.level)
        assert np.linalg.norm(np.array(one.lesion.box.centre_mm) - known.vertebrae_mm[known.level]) < 0.01
        assert set(one.lesion.slices) & set(known.lesion_slices)
    # No proposal is truth: neither a lesion nor a case of the cohort.
    assert report.lesions == len(truth) - len(unmarked) == len(read_lesions(workspace))
    assert len(read_cohort(workspace).cases) == report.lesions
    assert check(tmp_path / "w") == ()
    (doubt,) = [note for note in report.notes if "Check the level" in note]
    wrong = rows_of(table)[1]
    participant = next(name for name, patient in patients.items() if patient == wrong["patient"])
    assert doubt.startswith(f"{participant}: The level given is {wrong['level']}, but the box lies on ")
    assert truth[wrong["patient"]]["level"] in doubt
    assert any("are proposed in annotations/proposals.tsv" in note for note in report.notes)


def test_boxes_are_replaced_and_their_distances_recorded(
    ingested: tuple[Path, IngestReport, Path], tmp_path: Path
) -> None:
    shutil.copytree(ingested[0], tmp_path / "w")
    workspace = Workspace.open(tmp_path / "w")
    before = {one.case_id: one for one in read_lesions(workspace)}
    chosen = sorted(before)[::2]
    boxes = replace_boxes(workspace, chosen)
    assert [one.case_id for one in boxes] == chosen
    assert [one.case_id for one in read_located_boxes(workspace)] == chosen
    after = {one.case_id: one for one in read_lesions(workspace)}
    for case_id, old in before.items():
        new = after[case_id]
        if case_id not in chosen:
            assert new == old
            continue
        assert (new.annotator, new.lesion.level) == (LOCALISER, old.lesion.level)
        marked = read_nifti(workspace.image(old.participant_id, "T2w"))
        off = marked.directions[:, 1:].T @ np.subtract(new.lesion.box.centre_mm, old.lesion.box.centre_mm)
        (box,) = [one for one in read_located_boxes(workspace) if one.case_id == case_id]
        assert box.distance_mm == pytest.approx(float(np.linalg.norm(off)), abs=0.01)
        assert 0 < box.distance_mm < 12
        assert box.chosen_by == "name"
        assert box.shared_slices >= 1
    assert check(tmp_path / "w") == ()


def test_without_names_the_vertebra_below_the_box_is_taken(
    ingested: tuple[Path, IngestReport, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ingested[0], tmp_path / "w")
    workspace = Workspace.open(tmp_path / "w")
    by_name = {one.case_id: one.distance_mm for one in replace_boxes(workspace, ["sub-001"])}
    shutil.copy(ingested[0] / "annotations" / "lesions.tsv", workspace.lesions_table)

    def nameless(volume: Volume) -> tuple[LocatedSpine, NDArray[np.integer]]:
        spine, classes = FOUND(volume)
        unnamed = tuple(replace(one, level=None, named=False) for one in spine.vertebrae)
        return LocatedSpine(unnamed, Convention.UNNAMED), classes

    monkeypatch.setattr("spinefx.commands.propose.shipped_localiser", lambda: nameless)
    (box,) = replace_boxes(workspace, ["sub-001"])
    assert (box.chosen_by, box.distance_mm) == ("place", by_name["sub-001"])
    before = {one.case_id: one.lesion.level for one in read_lesions(Workspace.open(ingested[0]))}
    assert {one.case_id: one.lesion.level for one in read_lesions(workspace)} == before


def test_a_vertebra_that_is_not_found_keeps_its_box(
    ingested: tuple[Path, IngestReport, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = LocatedSpine((), Convention.UNNAMED)
    monkeypatch.setattr("spinefx.commands.propose.shipped_localiser", lambda: lambda volume: (nothing, None))
    shutil.copytree(ingested[0], tmp_path / "w")
    workspace = Workspace.open(tmp_path / "w")
    before = read_lesions(workspace)
    boxes = replace_boxes(workspace, [before[0].case_id])
    assert [one.distance_mm for one in boxes] == [None] == [one.distance_mm for one in read_located_boxes(workspace)]
    assert read_lesions(workspace) == before


def test_without_the_flag_nothing_is_located(
    export: Path, half_marked: tuple[Path, dict[str, dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinefx.commands.propose.shipped_localiser", lambda: unreachable)
    ingest(tmp_path / "w", export, table=half_marked[0])
    assert not Workspace.open(tmp_path / "w").proposals_table.exists()


def test_a_level_outside_the_field_is_reported_and_not_proposed(
    export: Path, half_marked: tuple[Path, dict[str, dict[str, str]]], tmp_path: Path
) -> None:
    table, _ = half_marked
    text = table.read_text().splitlines()
    column = text[0].split(",").index("level")
    cells = text[1].split(",")
    cells[column] = "C3"
    table.write_text("\n".join([text[0], ",".join(cells), *text[2:]]) + "\n")
    report = ingest(tmp_path / "w", export, table=table, locate=True)
    assert any("no box is proposed: C3 lies outside the field" in note for note in report.notes)


def test_the_shell_ingests_with_proposals(
    export: Path,
    half_marked: tuple[Path, dict[str, dict[str, str]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["ingest", str(tmp_path / "w"), str(export), "--table", str(half_marked[0]), "--locate", "--workers", "1"]
    shell(*words)
    assert "boxes are proposed" in capsys.readouterr().err
