"""Second opinions: the numbers of `predict`, by a model that was not trained on the case, or a named refusal."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pydicom
import pytest
from fastapi.testclient import TestClient

from spinefx.app import deciding
from spinefx.app.access import add_user
from spinefx.app.guard import Limits
from spinefx.app.opened import OpenStudies
from spinefx.app.state import ServeSettings
from spinefx.app.study_folders import FOLDER, new_folder
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.commands.predict import predict
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.second_opinion.intake import Opened
from spinefx.second_opinion.opinion import Opinion
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import read_lesions, sidecar_path

ClientOf = Callable[..., TestClient]
PLANTED = "ZZPLANTED"


def zipped(folder: Path, *, only: Callable[[pydicom.Dataset], bool] = lambda _: True) -> bytes:
    """Return a patient's files as one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and only(pydicom.dcmread(path, stop_before_pixels=True, force=True)):
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def send(client: TestClient, data: bytes, name: str = "study.zip") -> dict[str, Any]:
    answer = client.post("/api/decide/studies", files=[("files", (name, data))])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def lesion_of(study: Path, case_id: str) -> dict[str, Any]:
    lesion = next(one.lesion for one in read_lesions(Workspace.open(study)) if one.case_id == case_id)
    box = {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm}
    return {"box": box, "first_slice": lesion.first_slice, "last_slice": lesion.last_slice}


def ask(client: TestClient, opened: dict[str, Any], lesion: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/decide/opinion", json={"study": opened["study"], **lesion})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def out_of_fold(study: Path, case_id: str) -> list[dict[str, str]]:
    with (study / "experiments" / "quick" / "predictions.tsv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["case_id"] == case_id]


def test_an_uploaded_study_gets_the_numbers_of_predict(client_of: ClientOf, trained: Any) -> None:
    client, archive = client_of(trained.study), zipped(trained.export / trained.stranger)
    opened = send(client, archive)
    assert [one["use"] for one in opened["series"]].count("") == len(opened["series"]) - 2
    assert all(one["use"] or one["reason"] for one in opened["series"])
    answer = ask(client, opened, trained.lesion)
    lesion = answer["lesion"]
    expected = predict(
        trained.study / "experiments" / "quick",
        trained.export / trained.stranger,
        box=",".join(f"{number:.9f}" for number in (*lesion["centre_mm"], lesion["side_mm"])),
        slices=f"{lesion['first_slice']}-{lesion['last_slice']}",
    )
    for name in ("probability", "corrected_probability"):
        assert answer["patient"][name] == pytest.approx(expected["patient"][name], abs=1e-5)
        given = [one[name] for one in answer["slices"]]
        assert given == pytest.approx([one[name] for one in expected["slices"]], abs=1e-5)
    assert answer["model"] == expected["model"]
    assert answer["answered_by"] == "Answered by the mean of 2 models."
    assert answer["spread"]["low"] <= answer["patient"]["corrected_probability"] <= answer["spread"]["high"]
    told = answer["probability"]
    assert 0 <= told["low"] < told["value"] < told["high"] <= 1
    assert told["text"] == f"{100 * told['value']:.0f}% [{100 * told['low']:.0f}, {100 * told['high']:.0f}]"


def test_the_opinion_is_compared_with_the_local_cases(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    opened = send(client, zipped(trained.export / trained.stranger))
    answer = ask(client, opened, trained.lesion)
    place, truth = answer["patient"]["corrected_probability"], {}
    with (trained.study / "participants.tsv").open(encoding="utf-8") as file:
        truth = {row["participant_id"]: row["diagnosis"] for row in csv.DictReader(file, delimiter="\t")}
    scores = {
        case: max(float(row["corrected_probability"]) for row in out_of_fold(trained.study, case)) for case in truth
    }
    for diagnosis in ("benign", "malignant"):
        own = [scores[case] for case in truth if truth[case] == diagnosis]
        found = answer["histogram"][diagnosis]
        assert found["cases"] == len(own) == sum(found["counts"]) == 6
        assert found["below"] == sum(one < place for one in own)
        near = [one for one in answer["nearest"] if one["diagnosis"] == diagnosis]
        assert [truth[one["case"]] for one in near] == [diagnosis] * 3
        assert [one["likeness"] for one in near] == sorted((one["likeness"] for one in near), reverse=True)
        assert [one["probability"] for one in near] == pytest.approx([scores[one["case"]] for one in near])
    called = {case: "malignant" if scores[case] >= 0.5 else "benign" for case in truth}
    right = sum(called[case] == "malignant" for case in truth if truth[case] == "malignant")
    assert f"({right}/6)" in answer["threshold"]["sensitivity"]
    for name in (answer["nearest"][0]["picture"], answer["nearest"][0]["sheet"]):
        picture = client.get(f"/api/decide/pictures/{name}")
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["content-type"] == "image/png"


@pytest.mark.parametrize("way", ["participant", "dicom"])
def test_a_case_of_the_cohort_is_predicted_by_the_fold_that_was_not_trained_on_it(
    client_of: ClientOf, trained: Any, way: str
) -> None:
    client, case = client_of(trained.study), "sub-003"
    if way == "participant":
        opened = client.post(f"/api/decide/participants/{case}").json()
    else:
        opened = send(client, zipped(trained.export / trained.patients[case]))
        assert case not in json.dumps(opened)
    answer = ask(client, opened, lesion_of(trained.study, case))
    rows = out_of_fold(trained.study, case)
    assert [one["probability"] for one in answer["slices"]] == pytest.approx(
        [float(row["probability"]) for row in rows], abs=1e-4 if way == "dicom" else 1e-5
    )
    assert answer["model"]["digests"] == [rows[0]["model_digest"]]
    assert f"the fold-{rows[0]['fold']} model" in answer["answered_by"]
    assert answer["histogram"]["benign"]["cases"] + answer["histogram"]["malignant"]["cases"] == 11
    assert case not in {one["case"] for one in answer["nearest"]}
    assert answer["spread"] is None


def test_an_opinion_of_a_model_that_reads_a_third_series_names_each_registration(
    client_of: ClientOf, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = deciding.second_opinion

    def with_stir(*given: Any, **more: Any) -> Opinion:
        opinion = plain(*given, **more)
        record = opinion.content["registration"]
        matrix = record["t2w_mm_to_t1w_mm"]
        stir = {name: value for name, value in record.items() if name != "t2w_mm_to_t1w_mm"}
        registrations = {"t1w": record, "stir": stir | {"t2w_mm_to_stir_mm": matrix}}
        return Opinion(opinion.scored, opinion.content | {"registrations": registrations}, opinion.nearest)

    monkeypatch.setattr(deciding, "second_opinion", with_stir)
    client = client_of(trained.study)
    opened = client.post("/api/decide/participants/sub-002").json()
    answer = ask(client, opened, lesion_of(trained.study, "sub-002"))
    assert list(answer["registrations"]) == ["t1w", "stir"]
    assert {np.shape(one["matrix"]) for one in answer["registrations"].values()} == {(4, 4)}
    report = client.get(f"/api/decide/opinions/{answer['opinion']}/report").text
    assert "STIR, " in report


def test_a_model_that_may_have_been_trained_on_the_case_gives_no_opinion(client_of: ClientOf, trained: Any) -> None:
    fold = trained.study / "experiments" / "quick" / "models" / "fold-01"
    client = client_of(trained.study, model=fold)
    opened = client.post("/api/decide/participants/sub-003").json()
    answer = ask(client, opened, lesion_of(trained.study, "sub-003"))
    assert answer["cannot_tell"]["kind"] == "LeakError"
    stranger = send(client, zipped(trained.export / trained.stranger))
    told = ask(client, stranger, trained.lesion)
    assert told["probability"] is None
    assert told["histogram"] is None
    assert "nothing is calibrated" in told["cautions"][0]
    # Nothing of the workspace is compared, but the model's card records what its training cases looked like.
    states = {line["what"]: line["state"] for line in told["quality"]}
    assert "likeness to the nearest case" not in states
    assert set(states.values()) <= {"in range", "outside"}
    assert {"T2W pixel, mm", "placement of the box on the vertebra"} <= set(states)
    assert told["not_checked"] == []


def test_an_experiment_of_another_workspace_is_not_compared_with_this_one(
    client_of: ClientOf, trained: Any, study: Path
) -> None:
    client = client_of(study, model=trained.study / "experiments" / "quick")
    opened = client.post("/api/decide/participants/sub-001").json()
    answer = ask(client, opened, lesion_of(study, "sub-001"))
    assert "which may include this patient" in answer["answered_by"]
    assert len(answer["model"]["digests"]) == 2
    assert (answer["probability"], answer["histogram"], answer["nearest"]) == (None, None, [])


def refused(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    """Check that a refusal comes without any number."""
    assert set(answer) == {"cannot_tell"}
    assert answer["cannot_tell"]["kind"] == kind
    assert answer["cannot_tell"]["words"] != "The input cannot be scored."
    return dict(answer["cannot_tell"])


def test_cannot_tell_without_a_pair_or_with_the_wrong_one(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    alone = send(client, zipped(trained.export / trained.stranger, only=lambda one: one.EchoTime > 60))
    assert alone["pair"] is None
    assert "no T1w" in alone["trouble"]
    lesion = {"box": {"centre_mm": [0, 0, 0], "side_mm": 30}, "first_slice": 5, "last_slice": 6}
    refused(ask(client, alone, lesion), "SelectionError")
    opened = send(client, zipped(trained.export / trained.stranger))
    uses = {one["use"]: index for index, one in enumerate(opened["series"])}
    swapped = client.post(
        f"/api/decide/opened/{opened['study']}/series", json={"t1w": uses["T2W"], "t2w": uses["T1W"]}
    ).json()
    assert swapped["pair"] is None
    refused(ask(client, swapped, trained.lesion), "SelectionError")
    back = client.post(
        f"/api/decide/opened/{opened['study']}/series", json={"t1w": uses["T1W"], "t2w": uses["T2W"]}
    ).json()
    assert "patient" in ask(client, back, trained.lesion)


def test_found_vertebrae_are_offered_to_the_user_who_opened_the_study(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    opened = client.post("/api/decide/participants/sub-001").json()
    found = client.get(f"/api/decide/opened/{opened['study']}/vertebrae").json()
    places = np.array([row["lesion"]["box"]["centre_mm"] for row in found["rows"]])
    assert len(places) >= 3
    assert (np.diff(places[:, 2]) < 0).all()
    true = np.array(lesion_of(trained.study, "sub-001")["box"]["centre_mm"])
    nearest = int(np.linalg.norm(places - true, axis=1).argmin())
    assert np.linalg.norm((places[nearest] - true)[1:]) < 5
    offered = {name: value for name, value in found["rows"][nearest]["lesion"].items() if name != "level"}
    assert "patient" in ask(client, opened, offered)
    assert client.get("/api/decide/opened/of-nobody/vertebrae").status_code == 403


def test_cannot_tell_where_the_box_misses_or_differs_from_all_others(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    opened = client.post("/api/decide/participants/sub-001").json()
    lesion = lesion_of(trained.study, "sub-001")
    off = lesion | {"box": {"centre_mm": [0, 900, 0], "side_mm": 30}}
    refused(ask(client, opened, off), "BoxError")
    refused(ask(client, opened, lesion | {"last_slice": 900}), "BoxError")
    wide = lesion | {"box": lesion["box"] | {"side_mm": 118}}
    assert "Side of the box" in refused(ask(client, opened, wide), "UnlikeTrainingError")["reason"]
    left, posterior, superior = lesion["box"]["centre_mm"]
    for back_mm in (30, -30):
        missed = lesion | {"box": lesion["box"] | {"centre_mm": [left, posterior + back_mm, superior]}}
        told = refused(ask(client, opened, missed), "MissedVertebraError")
        assert told["words"].endswith("does not seem to hold a vertebra in its middle.")
        assert "Centre the box" in told["remedy"]
        assert told["reason"].startswith(("Placement of the box on the vertebra: ", "The box's centre lies"))


@pytest.mark.parametrize(("spoilt", "kind"), [("flat", "PatchError"), ("elsewhere", "RegistrationError")])
def test_cannot_tell_where_t1w_shows_nothing_or_another_place(
    client_of: ClientOf, trained: Any, tmp_path: Path, spoilt: str, kind: str
) -> None:
    study = Path(shutil.copytree(trained.study, tmp_path / "study"))
    path = Workspace.open(study).image("sub-001", "T1w")
    volume, sidecar = read_nifti(path), read_json(sidecar_path(Workspace.open(study), "sub-001", "T1w"))
    if spoilt == "flat":
        volume = replace(volume, array=np.full_like(volume.array, 7.0))
    else:
        noise = np.random.default_rng(1).integers(0, 900, volume.array.shape)
        volume = replace(volume, array=noise.astype(np.float32), frame_of_reference="another")
        sidecar |= {"FrameOfReference": "another"}
    write_nifti(path, volume, sidecar | {VOXEL_DIGEST: volume.voxel_digest})
    client = client_of(study)
    opened = client.post("/api/decide/participants/sub-001").json()
    refused(ask(client, opened, lesion_of(study, "sub-001")), kind)


def test_cannot_tell_without_a_model_or_with_an_altered_one(
    client_of: ClientOf, trained: Any, study: Path, tmp_path: Path
) -> None:
    client = client_of(study)
    assert client.get("/api/decide").json()["model"] is None
    opened = client.post("/api/decide/participants/sub-001").json()
    refused(ask(client, opened, lesion_of(study, "sub-001")), "WorkspaceError")
    altered = Path(shutil.copytree(trained.study / "experiments" / "quick", tmp_path / "altered"))
    weights = altered / "models" / "fold-01" / "model.onnx.data"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    client = client_of(study, model=altered)
    assert "digest" in client.get("/api/decide").json()["trouble"] or "SHA-256" in client.get("/api/decide").text
    opened = client.post("/api/decide/participants/sub-001").json()
    refused(ask(client, opened, lesion_of(study, "sub-001")), "ModelError")


def planted(folder: Path, into: Path) -> Path:
    """Copy a study, with a patient's data and scripts in every text field, file name and folder name."""
    marker = f"{PLANTED}<script>alert(1)</script>"
    for number, path in enumerate(sorted(one for one in folder.rglob("*") if one.is_file())):
        dataset = pydicom.dcmread(path)
        for element in dataset.iterall():
            if element.VR in {"LO", "SH", "PN", "ST", "LT", "UT"}:
                element.value = marker[:60] if element.VR == "PN" else marker[:16] if element.VR == "SH" else marker
        dataset.PatientName, dataset.PatientID = f"{PLANTED}^<script>alert(1)</script>", PLANTED
        dataset.PatientBirthDate, dataset.InstitutionName = "19311231", marker
        dataset.SeriesDescription = dataset.StudyDescription = dataset.ReferringPhysicianName = marker
        target = into / f"{PLANTED}<b>" / f"{PLANTED} {number}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target)
    return into


def test_no_response_identifies_the_patient(client_of: ClientOf, trained: Any, tmp_path: Path) -> None:
    client = client_of(trained.study)
    source = planted(trained.export / trained.stranger, tmp_path / "planted")
    files = [("files", (str(one.relative_to(source)), one.read_bytes())) for one in source.rglob("*") if one.is_file()]
    answers = [client.post("/api/decide/studies", files=[*files, ("files", (f"{PLANTED}.txt", b"no image"))])]
    opened = answers[0].json()
    assert opened["pair"] is not None, opened["trouble"]
    assert opened["refused_files"]
    names = [one.name for folder in client.app.state.desk.studies.folders() for one in folder.rglob("*")]  # type: ignore[attr-defined]
    assert names
    assert all(re.fullmatch(r"[0-9]{6}", name) for name in names)
    answers.append(client.post("/api/decide/opinion", json={"study": opened["study"], **trained.lesion}))
    name = answers[-1].json()["opinion"]
    answers.append(client.post("/api/decide/saliency", json={"opinion": name, "position": 0}))
    answers.append(client.get(f"/api/decide/opinions/{name}/report"))
    answers.append(client.get(f"/api/decide/opened/{opened['study']}"))
    series = {"t1w": 0, "t2w": 0}
    answers.append(client.post(f"/api/decide/opened/{opened['study']}/series", json=series))
    assert {one.status_code for one in answers} == {200}
    everything = "".join(one.text + str(one.headers) for one in answers)
    everything += str([entry.to_json() for entry in client.app.state.server.log.entries()])  # type: ignore[attr-defined]
    for secret in (PLANTED, "<script", "alert(1)", "19311231", "2.25."):
        assert secret not in everything, f"{secret} came back"


def test_the_report_shows_the_numbers_of_the_opinion_in_html_and_pdf(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    opened = client.post("/api/decide/participants/sub-002").json()
    answer = ask(client, opened, lesion_of(trained.study, "sub-002"))
    saliency = client.post("/api/decide/saliency", json={"opinion": answer["opinion"], "position": 0}).json()
    page = client.get(f"/api/decide/opinions/{answer['opinion']}/report")
    assert "script" not in page.text
    assert "style=" not in page.text  # the content policy forbids styles in markup
    assert client.get("/api/decide/report.css").headers["content-type"].startswith("text/css")
    told = [answer["probability"]["text"], answer["threshold"]["sensitivity"], "Research use only", "Phantom study"]
    told += [f"{100 * one['corrected_probability']:.0f}%" for one in answer["slices"]]
    told += [one["case"] for one in answer["nearest"]] + [saliency["verdict"]]
    told += [one["said"] for one in saliency["checks"]]
    assert len(saliency["checks"]) == 2
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())
    assert [one for one in told if one not in words] == []
    if not client.get("/api/decide").json()["can_print"]:
        missing = client.get(f"/api/decide/opinions/{answer['opinion']}/report.pdf")
        assert missing.json()["error"] == "MissingPackage"
        pytest.skip("WeasyPrint is not installed: the PDF was not checked")
    printed = client.get(f"/api/decide/opinions/{answer['opinion']}/report.pdf")
    assert printed.content.startswith(b"%PDF-")
    reader = shutil.which("pdftotext") or pytest.skip("pdftotext is not here: the PDF's text was not checked")
    text = subprocess.run([reader, "-", "-"], input=printed.content, capture_output=True, check=True).stdout.decode()
    flat = " ".join(text.split())
    assert [one for one in told if one not in flat] == []


def test_uploads_are_limited_and_leave_nothing_behind(
    client_of: ClientOf, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tempfile, "tempdir", str(tmp_path)
    )  # the default folder holds the studies of other tests' servers
    client = client_of(trained.study, limits=Limits(upload_bytes=20_000))
    big = client.post("/api/decide/studies", files=[("files", ("x.dcm", b"\0" * 30_000))])
    assert big.status_code == 413
    plain = client.post("/api/decide/studies", json={"files": []})
    assert (plain.status_code, plain.json()["error"]) == (422, "FileError")
    kind = {"content-type": "multipart/form-data; boundary=abc"}
    part = b'--abc\r\nContent-Disposition: form-data; name="files"; filename="../../x"\r\n\r\n'
    for body in (
        b"nonsense",
        part + b"cut off",
        b"",
        b'--abc\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--abc--',
    ):
        answer = client.post("/api/decide/studies", content=body, headers=kind)
        assert (answer.status_code, answer.json()["error"]) == (422, "FileError"), body
    traversal = client.post("/api/decide/studies", content=part + b"no image\r\n--abc--\r\n", headers=kind)
    assert (traversal.status_code, traversal.json()["error"]) == (422, "FileError")
    assert list(tmp_path.iterdir()) == []


def test_a_study_belongs_to_its_owner_and_is_deleted_when_closed(client_of: ClientOf, trained: Any) -> None:
    client = client_of(Path(trained.study))
    archive = zipped(trained.export / trained.stranger)
    opened = send(client, archive)
    answer = ask(client, opened, trained.lesion)
    studies = client.app.state.desk.studies  # type: ignore[attr-defined]
    (folder,) = studies.folders()
    assert folder.stat().st_mode & 0o077 == 0
    for name, owner in ((opened["study"], "other"), ("nothing", "local")):
        with pytest.raises(Exception, match="not open"):
            studies.find(name, owner)
    picture = answer["nearest"][0]["picture"]
    with pytest.raises(Exception, match="Not found"):
        studies.picture(picture, "other")
    image = f"/api/images/{opened['pair']['t2w']['handle']}/slices/0"
    assert client.get(image).status_code == 200
    assert client.request("DELETE", f"/api/decide/opened/{opened['study']}").status_code == 200
    assert not folder.exists()
    for path in (image, f"/api/decide/pictures/{picture}", f"/api/decide/opinions/{answer['opinion']}/report"):
        assert client.get(path).status_code == 403


def test_a_server_that_shuts_down_deletes_the_uploaded_files(trained: Any, running: Any) -> None:
    with running(ServeSettings(trained.study)) as served:
        client = httpx2.Client(base_url=served.address, headers={"origin": served.address}, timeout=60)
        with client:
            archive = zipped(trained.export / trained.stranger)
            assert client.post("/api/decide/studies", files={"files": ("a.zip", archive)}).status_code == 200
        (folder,) = served.app.state.desk.studies.folders()
        assert list(folder.iterdir())
    assert not folder.exists()


def test_files_of_a_killed_server_are_deleted_and_those_of_a_running_one_are_not() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    temporary = Path(tempfile.gettempdir())
    left, alive = (temporary / f"{FOLDER}{number}-test" for number in (dead.pid, os.getppid()))
    for folder in (left, alive):
        (folder / "000001").mkdir(parents=True)
    try:
        with new_folder() as own:
            assert Path(own).name.startswith(f"{FOLDER}{os.getpid()}-")
        assert not left.exists()
        assert alive.exists()
    finally:
        shutil.rmtree(alive)


def test_an_idle_study_is_closed() -> None:
    studies = OpenStudies(None, idle_s=0.2)  # type: ignore[arg-type]
    studies._imagery = type("Nothing", (), {"forget": staticmethod(lambda names: None)})  # type: ignore[assignment]
    folder = tempfile.TemporaryDirectory(prefix="spinefx-")
    studies.add("A1", "brought", Opened(()), folder=folder)
    for _ in range(100):
        if not Path(folder.name).exists():
            break
        time.sleep(0.05)
    assert studies.folders() == []
    assert not Path(folder.name).exists()


@pytest.fixture
def shared_study(trained: Any, tmp_path: Path) -> Path:
    """A copy, because adding users changes its log."""
    return Path(shutil.copytree(trained.study, tmp_path / "study"))


def test_a_reader_sees_neither_truth_nor_predictions_of_the_workspace_here(
    client_of: ClientOf, trained: Any, shared_study: Path
) -> None:
    client, token = client_of(shared_study), new_token()
    add_user(client.app.state.server.log, User("R1", frozenset({Role.READER})), token_digest(token), by="test")  # type: ignore[attr-defined]
    reader = TestClient(client.app, base_url="http://127.0.0.1:8765", headers=dict(client.headers))
    reader.post("/api/enter", json={"token": token})
    assert reader.get("/api/decide").json()["participants"] == []
    assert reader.post("/api/decide/participants/sub-001").status_code == 403
    opened = send(reader, zipped(trained.export / trained.stranger))
    answer = ask(reader, opened, trained.lesion)
    assert answer["nearest"] == []
    assert "sub-0" not in json.dumps(answer)
    page = reader.get(f"/api/decide/opinions/{answer['opinion']}/report").text
    assert "sub-0" not in page
    entries = reader.app.state.server.log.entries(kind="decide.asked")  # type: ignore[attr-defined]
    assert (entries[-1].content, entries[-1].subject) == ({"models": answer["model"]["digests"]}, "")
