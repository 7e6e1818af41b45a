"""A third series and a network from outside the package, from DICOM to the report, through public functions alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spinefx.commands.check import check
from spinefx.commands.ingest import ingest
from spinefx.commands.patch import patch
from spinefx.commands.predict import predict
from spinefx.commands.report import write_report
from spinefx.commands.train import train
from spinefx.errors import ModelError, RecipeError, SelectionError, WorkspaceError
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.learning.classifier import Classifier
from spinefx.learning.networks import Network
from spinefx.learning.recipe import Recipe
from spinefx.learning.scoring import load_models
from spinefx.vocabulary import VOXEL_DIGEST, Weighting
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_cohort, read_lesions
from spinefx.workspace.stacks import load_stack, load_stacks

SERIES = ("T1w", "T2w", "STIR")


class Separable(nn.Module):
    """A depthwise and a pointwise convolution beside a shortcut, as in the networks made for phones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU6(inplace=True)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.norm2(self.pointwise(self.act(self.norm1(self.depthwise(maps)))))


class Pocket(nn.Module):
    """A network that fits into a pocket."""

    def __init__(self, inputs: int, dropout: float) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.Conv2d(inputs, 12, 3, 4, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6())
        self.blocks = nn.Sequential(Separable(12), Separable(12))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.top = nn.Sequential(nn.Dropout(dropout), nn.Linear(12, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.top(torch.flatten(self.pool(self.blocks(self.entry(images))), 1))
        return logits


def build_pocket(*, stem: str, inputs: int, dropout: float) -> nn.Module:
    return Pocket(inputs, dropout)


POCKET = Network("pocket", build_pocket, head="top.1", dropout="top.0", stem="entry.0")
RECIPE = Recipe.preset("quick").changed(
    name="third",
    sequences=list(SERIES),
    network="pocket",
    mixing_channels=9,
    dropout=0.2,
    folds=2,
    epochs=2,
    copies_benign=1,
    copies_malignant=2,
    batch_size=8,
)


@pytest.fixture(scope="module")
def study(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine phantoms with STIR, patched, trained and reported. Read only."""
    root = tmp_path_factory.mktemp("third") / "study"
    tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
    done = ingest(root, export, table=export / "cases.csv", sequences=SERIES, **tables)
    assert done.participants == 9
    assert not any("STIR" in reason for reason in done.refused_series)
    patch(root, RECIPE.patch_settings)
    outcome = train(root, RECIPE, network=POCKET, device="cpu")
    assert outcome.stamps == ("Recipe 'third' trains pocket, not the paper's ResNet50.",)
    write_report(root)
    return root


def folder_of(study: Path) -> Path:
    return study / "experiments" / "third"


def test_the_study_folder_keeps_the_third_series(study: Path) -> None:
    workspace = Workspace.open(study)
    assert workspace.sequences == (Weighting.T1W, Weighting.T2W, Weighting.STIR)
    stir = workspace.image("sub-001", "STIR")
    assert stir.name == "sub-001_acq-STIR_T2w.nii.gz"
    assert read_nifti(stir).weighting is Weighting.STIR
    assert check(study) == ()


def test_a_folder_without_the_key_keeps_the_protocols_series(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "study", ["t2w", "t1w"])
    assert "sequences" not in json.loads((workspace.root / "workspace.json").read_text())
    assert Workspace.open(workspace.root).sequences == (Weighting.T1W, Weighting.T2W)
    marker = json.loads((workspace.root / "workspace.json").read_text())
    (workspace.root / "workspace.json").write_text(json.dumps(marker | {"sequences": ["T1w", 3]}))
    with pytest.raises(WorkspaceError, match="unknown sequences"):
        _ = Workspace.open(workspace.root).sequences


def test_patches_hold_nine_channels_and_come_back_from_the_disk(study: Path) -> None:
    cases, stacks = load_stacks(Workspace.open(study), RECIPE.patch_settings)
    assert len(cases) == 9
    channels = RECIPE.patch_settings.channels
    assert channels[6:] == ("STIR-1", "STIR0", "STIR+1")
    patches = [stack.cut(0).array for stack in stacks]
    assert {array.shape for array in patches} == {(9, 64, 64)}
    # Fat is dark on STIR and bright on T1W: where the two were confused, they would agree.
    agreement = [float(np.mean(array[1] * array[channels.index("STIR0")])) for array in patches]
    assert np.median(agreement) < 0.3


def test_every_case_is_answered_and_reported(study: Path) -> None:
    with (folder_of(study) / "predictions.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["case_id"] for row in rows} == {case.case_id for case in read_cohort(Workspace.open(study))}
    page = (folder_of(study) / "report" / "report.html").read_text(encoding="utf-8")
    assert "trains pocket" in page
    assert "STIR" in page


def test_the_graph_answers_without_the_network_and_torch_answers_alike_with_it(study: Path) -> None:
    workspace = Workspace.open(study)
    case = next(iter(read_cohort(workspace)))
    stack = load_stack(workspace.patches_folder(RECIPE.patch_settings), case.participant_id, case.case_id)
    by_graph = load_models(folder_of(study))
    by_torch = load_models(folder_of(study), engine="torch", network=POCKET)
    for ours, theirs in zip(by_graph, by_torch, strict=True):
        assert (ours.engine["name"], theirs.engine["name"]) == ("onnxruntime", "torch")
        for one, other in zip(ours.predict(stack), theirs.predict(stack), strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
    with pytest.raises(RecipeError, match=r"network = 'pocket', which is not known.*pass the network"):
        Classifier.load(folder_of(study) / "models" / "fold-01")


def answer(study: Path, anat: Path) -> dict[str, object]:
    (lesion,) = [one.lesion for one in read_lesions(Workspace.open(study)) if one.case_id == "sub-001"]
    left, posterior, superior = lesion.box.centre_mm
    box = f"{left},{posterior},{superior},{lesion.box.side_mm}"
    return predict(folder_of(study), anat, box=box, slices=f"{lesion.first_slice}-{lesion.last_slice}")


def test_an_answer_reads_the_third_series_and_needs_it(study: Path, tmp_path: Path) -> None:
    anat = study / "sub-001" / "anat"
    plain = answer(study, anat)
    assert set(plain["series"]) == {"t1w", "t2w", "stir", "refused"}  # type: ignore[call-overload]
    registrations = plain["registrations"]
    assert isinstance(registrations, dict)
    assert set(registrations) == {"t1w", "stir"}
    assert "t2w_mm_to_stir_mm" in registrations["stir"]
    assert json.dumps(plain)
    name = Workspace(study).image("sub-001", "STIR").name
    for path in anat.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stir = read_nifti(tmp_path / name)
    sidecar = json.loads((tmp_path / name.replace(".nii.gz", ".json")).read_text())
    rng = np.random.default_rng(0)
    noise = rng.permuted(stir.array.ravel()).reshape(stir.array.shape)
    noisy = type(stir)(noise, stir.affine, stir.frame_of_reference, stir.weighting)
    write_nifti(tmp_path / name, noisy, sidecar | {VOXEL_DIGEST: noisy.voxel_digest})
    assert answer(study, tmp_path)["patient"] != plain["patient"]
    for path in tmp_path.glob("*STIR*"):
        path.unlink()
    with pytest.raises(SelectionError, match="no STIR series"):
        answer(study, tmp_path)


def test_a_participant_without_the_third_series_is_kept_and_named(study: Path, export: Path, tmp_path: Path) -> None:
    few = tmp_path / "export"
    few.mkdir()
    names = sorted(path.name for path in export.iterdir() if path.is_dir())[:2]
    for name in names:
        for part in (export / name).rglob("*"):
            if part.is_file() and not (name == names[0] and "STIR" in part.parent.name):
                target = few / part.relative_to(export)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(part.read_bytes())
    done = ingest(tmp_path / "study", few, table=export / "cases.csv", sequences=SERIES)
    assert done.participants == 2
    (note,) = [note for note in done.notes if "STIR" in note]
    assert note.endswith(": no usable STIR series")
    assert check(tmp_path / "study") == ()
    cut = patch(tmp_path / "study", RECIPE.patch_settings)
    assert cut.cut == 1
    assert "no STIR image" in cut.notes[0]


class Swish(nn.Module):
    """A network with a layer that no graph is written of."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(inputs, 4, 3, 4)
        self.drop, self.top = nn.Dropout(0.1), nn.Linear(4, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.top(self.drop(nn.functional.silu(self.entry(images)).mean(dim=(2, 3))))
        return logits


def build_swish(*, stem: str, inputs: int, dropout: float) -> nn.Module:
    return Swish(inputs)


@pytest.mark.parametrize(
    ("network", "name", "error", "message"),
    [
        (Network("swish", build_swish, "top", "drop", "entry"), "swish", ModelError, "with silu, which cannot"),
        (Network("lost", build_swish, "head", "drop", "entry"), "lost", RecipeError, "no Linear at 'head'"),
        (Network("resnet50", build_pocket, "top.1", "top.0", "entry.0"), "resnet50", RecipeError, "takes the name"),
        (POCKET, "other", RecipeError, "the network that was passed"),
        (None, "resnet5O", RecipeError, "did you mean 'resnet50'"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_before_training(
    study: Path, network: Network | None, name: str, error: type[Exception], message: str
) -> None:
    recipe = RECIPE.changed(network=name.lower(), name="refused")
    with pytest.raises(error, match=message):
        train(study, recipe, network=network, device="cpu")
    assert not (study / "experiments" / "refused").exists()
