"""One study, one answer: the same as in cross-validation, or a refusal by name and no probability."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spinefx.cli import main
from spinefx.commands.ingest import IngestReport
from spinefx.commands.predict import predict
from spinefx.errors import BoxError, ModelError, SelectionError, SpinefxError
from spinefx.imaging.nifti import write_nifti
from spinefx.imaging.volume import Volume
from spinefx.learning.scoring import load_models
from spinefx.vocabulary import Weighting
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions

PngStack = Callable[[str], tuple[Volume, dict[str, NDArray[np.float64]]]]


def model_of(trained: Path) -> Path:
    return trained / "experiments" / "quick"


def arguments_for(study: Path, case_id: str) -> dict[str, str]:
    lesion = {record.case_id: record.lesion for record in read_lesions(Workspace(study))}[case_id]
    box = ",".join(f"{value:.3f}" for value in (*lesion.box.centre_mm, lesion.box.side_mm))
    return {"box": box, "slices": f"{lesion.first_slice}-{lesion.last_slice}"}


def test_a_fold_answers_as_it_did_in_cross_validation(trained: Path) -> None:
    with (model_of(trained) / "predictions.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["case_id"] == "sub-003"]
    fold = model_of(trained) / "models" / f"fold-{int(rows[0]['fold']):02d}"
    answer = predict(fold, trained / "sub-003" / "anat", **arguments_for(trained, "sub-003"))
    assert [one["slice"] for one in answer["slices"]] == [int(row["slice"]) for row in rows]
    for one, row in zip(answer["slices"], rows, strict=True):
        assert one["probability"] == pytest.approx(float(row["probability"]), abs=1e-5)
        assert one["corrected_probability"] == pytest.approx(float(row["corrected_probability"]), abs=1e-5)
        assert one["corrected_probability"] < one["probability"]
    assert answer["patient"]["probability"] == max(one["probability"] for one in answer["slices"])
    assert answer["model"]["digests"] == [rows[0]["model_digest"]]


def test_files_of_a_study_that_are_not_read_are_counted_with_the_reason(trained: Path, tmp_path: Path) -> None:
    fold, study = model_of(trained) / "models" / "fold-01", tmp_path / "DOE^JANE"
    shutil.copytree(trained / "sub-003" / "anat", study)
    clean = predict(fold, study, **arguments_for(trained, "sub-003"))
    assert not any("not read" in note for note in clean["series"].get("notes", []))
    for name in ("DOE one.dat", "DOE two.dat"):
        (study / name).write_bytes(b"no image")
    (study / "DOE.pdf").write_bytes(b"%PDF-1.4 report")
    answer = predict(fold, study, **arguments_for(trained, "sub-003"))
    (note,) = (note for note in answer["series"]["notes"] if "not read" in note)
    assert "2 files: " in note
    assert "is a PDF document" in note
    assert "DOE" not in note
    assert answer["patient"] == clean["patient"]


def test_dicom_gets_the_answer_of_the_workspace(
    trained: Path, export: Path, ingested: tuple[Path, IngestReport, Path], tmp_path: Path
) -> None:
    with ingested[2].open() as file:
        names = {row["participant_id"]: row["patient"] for row in csv.DictReader(file)}
    arguments = arguments_for(trained, "sub-002")
    dicom = predict(model_of(trained), export / names["sub-002"], sheet=tmp_path / "sheet.png", **arguments)
    nifti = predict(model_of(trained), trained / "sub-002" / "anat", **arguments)
    assert dicom["patient"]["probability"] == pytest.approx(nifti["patient"]["probability"], abs=1e-4)
    for answer in (dicom, nifti):
        assert answer["training_case"] == "yes"
        assert answer["flags"][0].startswith("1 of 2 models were trained on this case")
    reasons = {one["reason"] for one in dicom["series"]["refused"]}
    assert any("localizer" in reason for reason in reasons)
    assert any("STIR" in reason for reason in reasons)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.format == "PNG"


def encode(source: Path, target: Path, syntax: str) -> None:
    """Write an export again in another transfer syntax."""
    for path in source.rglob("*.dcm"):
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(target / path.relative_to(source)))
        assert writer.Write()


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_a_compressed_study_gets_the_same_answer_bit_for_bit(
    trained: Path, export: Path, ingested: tuple[Path, IngestReport, Path], tmp_path: Path, syntax: str
) -> None:
    with ingested[2].open() as file:
        names = {row["participant_id"]: row["patient"] for row in csv.DictReader(file)}
    arguments = arguments_for(trained, "sub-002")
    encode(export / names["sub-002"], tmp_path / "encoded", syntax)
    sizes = [sum(path.stat().st_size for path in one.rglob("*.dcm")) for one in (export / names["sub-002"], tmp_path)]
    assert sizes[1] < 0.8 * sizes[0]
    fold = model_of(trained) / "models" / "fold-01"
    assert predict(fold, tmp_path / "encoded", **arguments) == predict(fold, export / names["sub-002"], **arguments)


def test_an_experiment_answers_with_the_mean_of_its_folds(trained: Path) -> None:
    arguments = arguments_for(trained, "sub-001")
    together = predict(model_of(trained), trained / "sub-001" / "anat", **arguments)
    singles = [
        predict(model_of(trained) / "models" / fold, trained / "sub-001" / "anat", **arguments)["patient"][
            "probability"
        ]
        for fold in ("fold-01", "fold-02")
    ]
    assert together["patient"]["probability"] == pytest.approx(np.mean(singles), abs=1e-9)
    assert "not a medical device" in together["note"]


def test_the_answer_holds_nothing_of_the_patient(trained: Path, export: Path) -> None:
    with (export / "cases.csv").open() as file:
        first = next(iter(csv.DictReader(file)))
    answer = json.dumps(_any_answer(trained, export / first["patient"]))
    assert first["patient"] not in answer
    assert "PHANTOM^" not in answer
    assert not any(uid in answer for uid in (first["box_sop_uid"], *first["lesion_sop_uids"].split()))


def _any_answer(trained: Path, study: Path) -> dict[str, Any]:
    return predict(model_of(trained), study, box_pixels="80,80,110,110", slices="7")


REFUSALS: dict[str, tuple[dict[str, Any], type[SpinefxError], str]] = {
    "off the image": ({"box": "0,900,0,30", "slices": "6-8"}, BoxError, "off the T2W image"),
    "outside the stack": ({"box": "0,0,0,30", "slices": "60-61"}, BoxError, "outside the T2W stack"),
    "no box": ({"slices": "6"}, BoxError, "Give exactly one of"),
    "two boxes": (
        {"box": "0,0,0,30", "box_pixels": "1,1,9,9", "slices": "6"},
        BoxError,
        "Give exactly one of",
    ),
    "words": ({"box": "a,b,c,d", "slices": "6"}, BoxError, "four numbers"),
    "no range": ({"box": "0,0,0,30", "slices": "8-"}, BoxError, "6-8"),
    "backwards": ({"box": "0,0,0,30", "slices": "8-6"}, BoxError, "first_slice <= last_slice"),
    "huge": ({"box": "0,0,0,3000", "slices": "6"}, BoxError, "a side of 8 to 120 mm"),
    "unknown series": (
        {"box": "0,0,0,30", "slices": "6", "series": {Weighting.T1W: "1.2"}},
        SelectionError,
        "no series named",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_inputs_that_cannot_be_answered_are_refused_by_name(trained: Path, name: str) -> None:
    arguments, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        predict(model_of(trained), trained / "sub-001" / "anat", **arguments)


def test_a_missing_series_is_refused(trained: Path, tmp_path: Path) -> None:
    anat = tmp_path / "anat"
    shutil.copytree(trained / "sub-001" / "anat", anat)
    for path in anat.glob("*T1w*"):
        path.unlink()
    with pytest.raises(SelectionError, match="no T1w series"):
        predict(model_of(trained), anat, **arguments_for(trained, "sub-001"))


def test_an_altered_model_is_refused(trained: Path, tmp_path: Path) -> None:
    fold = tmp_path / "fold"
    shutil.copytree(model_of(trained) / "models" / "fold-01", fold)
    card = json.loads((fold / "model.json").read_text())
    card["prior_inflation"] = 1.0
    (fold / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after training"):
        load_models(fold)
    shutil.copytree(model_of(trained) / "models" / "fold-01", fold, dirs_exist_ok=True)
    for name, engine in (("model.onnx.data", None), ("weights.safetensors", "torch")):
        weights = fold / name
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        with pytest.raises(ModelError, match=r"SHA-256 differs"):
            load_models(fold, engine=engine)
    with pytest.raises(ModelError, match="no model"):
        load_models(tmp_path)


def test_the_shell_prints_one_json_or_a_refusal(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = str(trained / "sub-001" / "anat")
    lesion = arguments_for(trained, "sub-001")
    with pytest.raises(SystemExit) as end:
        main(["predict", str(model_of(trained)), study, "--box", lesion["box"], "--slices", lesion["slices"]])
    assert end.value.code in (0, None)
    assert 0 <= json.loads(capsys.readouterr().out)["patient"]["probability"] <= 1
    with pytest.raises(SystemExit) as end:
        main(["predict", str(model_of(trained)), study, "--box", "0,900,0,30", "--slices", "6"])
    out, err = capsys.readouterr()
    assert end.value.code == 1
    assert json.loads(out)["refused"] == "BoxError"
    assert "probability" not in json.loads(out)
    assert len(err.strip().splitlines()) == 1


def test_a_real_patient_is_answered(trained: Path, png_stack: PngStack, tmp_path: Path) -> None:
    """Patient AK, converted to NIfTI: registered, cut and answered; and the pair that must not be answered wrongly."""
    t2w, centres = png_stack("t2_AKs5")
    t1w, _ = png_stack("t1_AKs8")
    for name, volume in (("T2w", t2w), ("T1w", t1w)):
        known = replace(volume, frame_of_reference="0123456789abcdef", weighting=Weighting(name))
        write_nifti(tmp_path / "sub-ak" / f"sub-ak_{name}.nii.gz", known, {})
    box = ",".join(f"{value:.2f}" for value in (*centres["L3"], 42.0))
    middle = round(float(t2w.to_index(centres["L3"])[0]))
    sheet = tmp_path / "sheet.png"
    answer = predict(model_of(trained), tmp_path / "sub-ak", box=box, slices=f"{middle - 1}-{middle + 1}", sheet=sheet)
    assert len(answer["slices"]) == 3
    assert answer["registration"]["method"] == "rigid"
    assert answer["registration"]["same_frame_of_reference"]
    assert answer["registration"]["largest_motion_mm"] < 8
    assert 0 <= answer["patient"]["corrected_probability"] <= answer["patient"]["probability"] <= 1
    picture = np.asarray(Image.open(io.BytesIO(sheet.read_bytes())).convert("L"), float)
    assert picture[-120:-40].std() > 20
