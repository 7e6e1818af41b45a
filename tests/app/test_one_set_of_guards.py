"""One set of guards, four doors: what the page refuses, predict, its table and Python refuse with the same words."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from fastapi.testclient import TestClient

import spinefx
from spinefx.cases.lesion import Box
from spinefx.cli import main
from spinefx.commands.predict import predict
from spinefx.errors import MissedVertebraError, SpinefxError
from spinefx.imaging.volume import Slices
from spinefx.learning.card import ModelCard, read_card
from spinefx.learning.scoring import load_models
from spinefx.localisation.box_place import vertebra_at
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import Convention, LocatedSpine
from spinefx.second_opinion.intake import open_volumes
from spinefx.second_opinion.many_studies import predict_many
from spinefx.vocabulary import Weighting

ClientOf = Callable[..., TestClient]
Lesion = dict[str, Any]
NOTHING = LocatedSpine((), Convention.UNNAMED)


def moved(lesion: Lesion, left: float = 0, back: float = 0, up: float = 0, side: float = 1) -> Lesion:
    centre = [a + b for a, b in zip(lesion["box"]["centre_mm"], (left, back, up), strict=True)]
    return lesion | {"box": {"centre_mm": centre, "side_mm": lesion["box"]["side_mm"] * side}}


def coarser(factor: float) -> Callable[[pydicom.Dataset], None]:
    """Magnify the pixels of every image about the same centre."""

    def change(dataset: pydicom.Dataset) -> None:
        if "LOCALIZER" in dataset.ImageType:
            return
        spacing = np.array(dataset.PixelSpacing, float)
        turned = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        half = (np.array([dataset.Columns, dataset.Rows]) - 1) / 2 * spacing[::-1] * (factor - 1)
        corner = np.array(dataset.ImagePositionPatient, float) - half @ turned
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in corner]
        dataset.PixelSpacing = [f"{value:.6f}" for value in factor * spacing]

    return change


def slower(dataset: pydicom.Dataset) -> None:
    if dataset.EchoTime > 60:
        dataset.RepetitionTime = 3 * dataset.RepetitionTime


def noise(dataset: pydicom.Dataset) -> None:
    rng = np.random.default_rng(int(dataset.InstanceNumber))
    dataset.PixelData = rng.integers(0, 900, (dataset.Rows, dataset.Columns), dtype=np.uint16).tobytes()


@dataclass(frozen=True)
class Bad:
    """An input that no door may answer."""

    lesion: Callable[[Lesion], Lesion] = lambda lesion: lesion
    change: Callable[[pydicom.Dataset], None] = lambda dataset: None
    kinds: frozenset[str] = frozenset()


OFF_VERTEBRA = frozenset({"MissedVertebraError", "UnlikeTrainingError"})
BAD = {
    "in front of the spine": Bad(lambda one: moved(one, back=-30), kinds=OFF_VERTEBRA),
    "behind the spine": Bad(lambda one: moved(one, back=30), kinds=OFF_VERTEBRA),
    "off the image": Bad(lambda one: moved(one, back=900), kinds=frozenset({"BoxError"})),
    "a huge box": Bad(
        lambda one: moved(one, side=118 / one["box"]["side_mm"]), kinds=frozenset({"UnlikeTrainingError"})
    ),
    "a tiny box": Bad(
        lambda one: moved(one, side=8.5 / one["box"]["side_mm"]), kinds=frozenset({"UnlikeTrainingError"})
    ),
    "a repetition time far beyond those of training": Bad(change=slower, kinds=frozenset({"UnlikeTrainingError"})),
    "voxels of 8 mm": Bad(change=coarser(6), kinds=frozenset({"SelectionError"})),
    "noise": Bad(change=noise, kinds=frozenset({"UnlikeTrainingError", "MissedVertebraError", "RegistrationError"})),
}


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def at_the_page(client: TestClient, study: Path, lesion: Lesion) -> dict[str, Any]:
    opened = client.post("/api/decide/studies", files=[("files", ("study.zip", zipped(study)))]).json()
    return dict(client.post("/api/decide/opinion", json={"study": opened["study"], **lesion}).json())


def numbers_of(lesion: Lesion) -> list[str]:
    return [repr(float(value)) for value in (*lesion["box"]["centre_mm"], lesion["box"]["side_mm"])]


def in_the_table(model: Path, study: Path, lesion: Lesion, out: Path) -> dict[str, str]:
    columns = ("study", "case_id", "centre_l_mm", "centre_p_mm", "centre_s_mm", "side_mm", "first_slice", "last_slice")
    cells = (study.name, "case-1", *numbers_of(lesion), str(lesion["first_slice"]), str(lesion["last_slice"]))
    manifest = study.parent / "manifest.tsv"
    manifest.write_text("\t".join(columns) + "\n" + "\t".join(cells) + "\n")
    predict_many(model, manifest, out / "out", sheet=out / "sheets")
    with (out / "out" / "predictions.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return row


@pytest.mark.parametrize("name", BAD)
def test_every_door_refuses_with_the_same_words(
    client_of: ClientOf, trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    bad, study = BAD[name], Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "in" / "study"))
    for path in study.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        bad.change(dataset)
        dataset.save_as(path)
    model, lesion = trained.study / "experiments" / "quick", bad.lesion(trained.lesion)
    answer = at_the_page(client_of(trained.study), study, lesion)
    assert set(answer) == {"cannot_tell"}
    page = answer["cannot_tell"]
    assert page["kind"] in bad.kinds
    box, slices = ",".join(numbers_of(lesion)), f"{lesion['first_slice']}-{lesion['last_slice']}"
    with pytest.raises(SpinefxError) as refused:
        predict(model, study, box=box, slices=slices)
    assert type(refused.value).__name__ == page["kind"]
    assert refused.value.remedy
    row = in_the_table(model, study, lesion, tmp_path)
    assert (row["error"], row["probability"]) == (page["kind"], "n/a")
    assert row["remedy"] == refused.value.remedy
    with pytest.raises(SystemExit) as end:
        main(["predict", str(model), str(study), "--box", box, "--slices", slices])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert end.value.code == 1
    assert (told["refused"], told["words"], told["remedy"]) == (page["kind"], page["words"], refused.value.remedy)
    assert refused.value.remedy in err
    assert "probability" not in told
    if page["kind"] != "SelectionError":  # the page's own remedy there names its list of series
        assert page["remedy"] == refused.value.remedy


def test_every_door_answers_a_good_study_alike(client_of: ClientOf, trained: Any, tmp_path: Path) -> None:
    study = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "in" / "study"))
    model, lesion = trained.study / "experiments" / "quick", trained.lesion
    page = at_the_page(client_of(trained.study), study, lesion)
    box, slices = ",".join(numbers_of(lesion)), f"{lesion['first_slice']}-{lesion['last_slice']}"
    alone = predict(model, study, box=box, slices=slices)
    row = in_the_table(model, study, lesion, tmp_path)
    assert alone["patient"]["probability"] == pytest.approx(page["patient"]["probability"], abs=1e-5)
    assert float(row["probability"]) == pytest.approx(alone["patient"]["probability"], abs=1e-5)
    assert alone["flags"] == page["flags"]
    assert alone["not_checked"] == page["not_checked"] == []
    assert alone["training_case"] == page["training_case"] == row["training_case"] == "no"
    assert row["flags"] == ("; ".join(alone["flags"]) or "n/a")
    shown = {one["what"]: one for one in page["quality"] if one["what"] != "likeness to the nearest case"}
    assert {one["what"]: one["state"] for one in alone["quality"]} == {
        name: one["state"] for name, one in shown.items()
    }
    assert (tmp_path / "sheets" / "case-1.png").read_bytes().startswith(b"\x89PNG")


def test_every_door_refuses_a_box_on_a_disc(
    client_of: ClientOf, trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "in" / "study"))
    spine, t2w = found_in(study)
    number = next(
        place for place, one in enumerate(spine.vertebrae) if one == vertebra_at(spine, box_of(trained.lesion), t2w)
    )
    number = min(number, len(spine.vertebrae) - 2)
    above, below = (np.array(spine.vertebrae[place].centre_mm) for place in (number, number + 1))
    disc = {"centre_mm": ((above + below) / 2).tolist(), "side_mm": trained.lesion["box"]["side_mm"]}
    model, lesion = trained.study / "experiments" / "quick", trained.lesion | {"box": disc}
    page = at_the_page(client_of(trained.study), study, lesion)["cannot_tell"]
    assert page["kind"] == "MissedVertebraError"
    assert page["reason"].startswith("The box seems to lie between two vertebrae")
    box, slices = ",".join(numbers_of(lesion)), f"{lesion['first_slice']}-{lesion['last_slice']}"
    with pytest.raises(MissedVertebraError) as refused:
        predict(model, study, box=box, slices=slices)
    assert str(refused.value).startswith(page["reason"])
    with pytest.raises(SystemExit):
        main(["predict", str(model), str(study), "--box", box, "--slices", slices])
    assert json.loads(capsys.readouterr().out)["reason"].startswith(page["reason"])


def test_every_door_accepts_a_box_on_a_vertebra_that_the_learned_rule_would_refuse(
    client_of: ClientOf, trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "in" / "study"))
    model, lesion = with_strict_rule(trained.study, tmp_path / "fold"), trained.lesion
    box, slices = ",".join(numbers_of(lesion)), f"{lesion['first_slice']}-{lesion['last_slice']}"
    accepted = "The box was accepted because the localiser found a vertebra"
    answer = predict(model, study, box=box, slices=slices, engine="torch")
    assert any(accepted in flag for flag in answer["flags"])
    with pytest.raises(SystemExit) as end:
        main(["predict", str(model), str(study), "--box", box, "--slices", slices, "--engine", "torch"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["flags"] == answer["flags"]
    page = at_the_page(client_of(trained.study, model=model), study, lesion)
    assert any(accepted in flag for flag in page["flags"])
    # Where the localiser finds nothing, as in two slices, the learned rule decides as before.
    found = spinefx.choose_series(spinefx.open_study(study)).slices()
    extent = spinefx.Lesion(box_of(lesion), lesion["first_slice"], lesion["last_slice"])
    with pytest.raises(MissedVertebraError, match="placement of the box on the vertebra"):
        spinefx.score(load_models(model, engine="torch"), extent, found, find_spine=lambda: NOTHING)


def found_in(study: Path) -> tuple[LocatedSpine, Slices]:
    t2w = spinefx.choose_series(spinefx.open_study(study)).slices()[Weighting.T2W]
    return shipped_localiser()(t2w.whole())[0], t2w


def box_of(lesion: Lesion) -> Box:
    return Box(tuple(lesion["box"]["centre_mm"]), lesion["box"]["side_mm"])


def with_strict_rule(workspace: Path, folder: Path) -> Path:
    """Copy a model whose learned rule refuses every box."""
    fold = Path(shutil.copytree(workspace / "experiments" / "quick" / "models" / "fold-01", folder))
    card = read_card(fold)
    assert card.guards is not None
    assert card.guards.placement is not None
    strict = replace(card.guards, placement=replace(card.guards.placement, limit=9.0))
    (fold / "model.json").write_text(json.dumps(ModelCard(**(vars(card) | {"guards": strict})).to_json()))
    (fold / "graph.json").unlink()  # it belongs to the card as it was; torch reads the weights instead
    return fold


def test_scoring_slices_in_python_asks_the_same_guards(trained: Any) -> None:
    models = load_models(trained.study / "experiments" / "quick")
    found = spinefx.choose_series(spinefx.open_study(trained.export / trained.stranger))
    for bad in (BAD["in front of the spine"], BAD["a huge box"], BAD["off the image"]):
        extent = bad.lesion(trained.lesion)
        box = spinefx.Box(tuple(extent["box"]["centre_mm"]), extent["box"]["side_mm"])
        lesion = spinefx.Lesion(box, extent["first_slice"], extent["last_slice"])
        with pytest.raises(SpinefxError) as refused:
            spinefx.score(models, lesion, found.slices())
        assert type(refused.value).__name__ in bad.kinds
        assert refused.value.remedy


def test_a_model_that_was_trained_before_guards_were_recorded_says_what_is_not_checked(
    trained: Any, tmp_path: Path
) -> None:
    fold = Path(shutil.copytree(trained.study / "experiments" / "quick" / "models" / "fold-01", tmp_path / "fold"))
    card = json.loads((fold / "model.json").read_text())
    del card["guards"]
    fields = vars(read_card(fold)) | {"guards": None, "trained_on": None}
    old = ModelCard(**fields)
    (fold / "model.json").write_text(json.dumps(old.to_json()))
    assert "guards" not in old.to_json()
    with contextlib.suppress(FileNotFoundError):
        graph = json.loads((fold / "graph.json").read_text())
        (fold / "graph.json").write_text(json.dumps(graph | {"model": old.digest} if "model" in graph else graph))
    lesion = trained.lesion
    answer = predict(
        fold,
        trained.export / trained.stranger,
        box=",".join(numbers_of(lesion)),
        slices=f"{lesion['first_slice']}-{lesion['last_slice']}",
        engine="torch",
    )
    assert 0 <= answer["patient"]["probability"] <= 1
    assert "does not record what its training cases looked like" in answer["not_checked"][0]
    assert "Train it again" in answer["not_checked"][0]
    assert answer["training_case"] == "not known"
    assert "whether the model was trained on this case" in answer["not_checked"][-1]


def test_a_series_known_to_be_something_else_has_no_number_whoever_names_it(client_of: ClientOf, trained: Any) -> None:
    client, lesion = client_of(trained.study), trained.lesion
    data = zipped(trained.export / trained.stranger)
    opened = client.post("/api/decide/studies", files=[("files", ("study.zip", data))]).json()
    kinds = [one["kind"] for one in opened["series"]]
    assert opened["pair"]["t2w"]["kind"] == "T2W"
    assert opened["pair"]["t1w"]["kind"] == "T1W"
    places = {"t2w": kinds.index("STIR"), "t1w": kinds.index("T1W")}
    named = client.post(f"/api/decide/opened/{opened['study']}/series", json=places).json()
    assert (named["pair"], named["alone"]) == (None, None)
    assert "It shows: STIR" in named["trouble"]
    answer = client.post("/api/decide/opinion", json={"study": opened["study"], **lesion}).json()
    assert answer["cannot_tell"]["kind"] == "SelectionError"
    assert answer["cannot_tell"]["remedy"]
    found = spinefx.open_study(trained.export / trained.stranger)
    stir = next(series.uid for series in found.series if series.kind == "STIR")
    with pytest.raises(SpinefxError, match="It shows: STIR"):
        predict(
            trained.study / "experiments" / "quick",
            trained.export / trained.stranger,
            box=",".join(numbers_of(lesion)),
            slices="7",
            series={Weighting.T2W: stir},
        )


def test_t2w_alone_is_shown_with_what_is_missing(client_of: ClientOf, trained: Any, tmp_path: Path) -> None:
    study = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "study"))
    for path in study.rglob("*.dcm"):
        if pydicom.dcmread(path, stop_before_pixels=True).EchoTime < 30:
            path.unlink()
    client = client_of(trained.study)
    opened = client.post("/api/decide/studies", files=[("files", ("study.zip", zipped(study)))]).json()
    assert opened["pair"] is None
    assert opened["alone"]["kind"] == "T2W"
    assert "no T1w series" in opened["trouble"]
    assert not opened["phantom"]
    assert {one["use"] for one in opened["series"]} == {"T2W", ""}
    assert all(one["use"] or one["reason"] for one in opened["series"])
    picture = client.get(f"/api/images/{opened['alone']['handle']}/slices/0")
    assert picture.status_code == 200
    answer = client.post("/api/decide/opinion", json={"study": opened["study"], **trained.lesion}).json()
    assert answer["cannot_tell"]["kind"] == "SelectionError"


def test_stir_can_be_chosen_by_hand_where_the_model_reads_it(trained: Any, tmp_path: Path) -> None:
    folder, finer = Path(shutil.copytree(trained.export / trained.stranger, tmp_path / "study")), coarser(0.5)
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        finer(dataset)  # the phantom's STIR is coarser than a model can read
        dataset.save_as(path)
    protocol = (Weighting.T1W, Weighting.T2W, Weighting.STIR)
    plain = open_volumes((folder, protocol, {}))
    kinds = [one.kind for one in plain.series]
    chosen = {weighting: kinds.index(weighting.label) for weighting in protocol}
    found = open_volumes((folder, protocol, chosen))
    assert {weighting: found.kinds[weighting] for weighting in protocol} == {one: one.label for one in protocol}
    assert [one.use for one in found.series] == [one.use for one in plain.series]
    wrong = open_volumes((folder, protocol, chosen | {Weighting.STIR: chosen[Weighting.T1W]}))
    assert not wrong.volumes
    assert wrong.trouble
