"""Teaching the localiser further: on the boxes or label maps of a phantom workspace, judged on who was held out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import spinefx
from spinefx.cli import main
from spinefx.commands.ingest import ingest
from spinefx.commands.train_localiser import train_localiser
from spinefx.errors import GeometryError, InputError, ModelError
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.localisation.inference import CARD_FILE, shipped_weights
from spinefx.localisation.network import CLASSES
from spinefx.localisation.searching import localiser_of
from spinefx.localisation.storage import read_network, write_localiser
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings
from spinefx.vocabulary import MARKED
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions
from spinefx.workspace.volumes import read_image

SHIFT_MM = 4.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantom patients with boxes. Read only."""
    folder = tmp_path_factory.mktemp("boxes")
    write_cohort(folder / "export", PhantomSettings(patients=3, seed=9, matrix=144, malignant=1), readers=False)
    ingest(folder / "study", folder / "export", table=folder / "export/cases.csv")
    return folder / "study"


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped localiser, but all its votes fall 4 mm too low."""
    folder = tmp_path_factory.mktemp("astray")
    network = read_network(shipped_weights())
    with torch.no_grad():
        network.head.bias[4 * CLASSES : 4 * (CLASSES + 1)] += SHIFT_MM / 10
    write_localiser(network, folder, {})
    return folder


def test_boxes_teach_a_localiser_that_locate_reads(
    workspace: Path, astray: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "taught"
    words = ["train-localiser", str(workspace), "--from", str(astray), "--folds", "2", "--steps", "25"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--out", str(out)])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "3 centres of 3 held-out participants" in printed
    with (out / "crossvalidation.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-001", "sub-002", "sub-003"]
    assert [row["fold"] for row in rows] == ["1", "2", "1"]
    assert all(row["before_mm"] in printed for row in rows)
    assert all(row["participant_id"] in printed for row in rows)
    # The distances before are those of the localiser that teaching started from.
    opened = Workspace.open(workspace)
    for row, record in zip(rows, read_lesions(opened), strict=True):
        volume = read_image(opened, record.participant_id, MARKED)
        spine, _ = localiser_of(astray)(volume)
        place = np.array(record.lesion.box.centre_mm)
        apart = [(np.array(one.centre_mm) - place) @ volume.directions[:, 1:] for one in spine.vertebrae]
        assert float(row["before_mm"]) == pytest.approx(np.linalg.norm(apart, axis=1).min(), abs=0.006)
        assert int(row["found_before"]) == len(spine.vertebrae)
    # Held-out participants are found better: the fault was learned away from the others' boxes.
    before, after = (np.median([float(row[name]) for row in rows]) for name in ("before_mm", "after_mm"))
    assert after < before - 0.5
    study = opened.image("sub-001", "T2w")
    own, shipped = spinefx.locate(study, weights=out), spinefx.locate(study)
    assert len(own.spine.vertebrae) >= 3
    assert own.spine != shipped.spine
    with pytest.raises(SystemExit):
        main(["locate", str(study), "--weights", str(out)])
    told = json.loads(capsys.readouterr().out)
    assert told["vertebrae"][0]["centre_mm"] == pytest.approx(own.spine.vertebrae[0].centre_mm, abs=0.1)
    card = json.loads((out / CARD_FILE).read_text())
    assert card["taught_with"]["images"] == "T2W series of 3 participants of a workspace"


def test_label_maps_teach_every_vertebra_that_they_hold(workspace: Path, tmp_path: Path) -> None:
    opened, labels = Workspace.open(workspace), tmp_path / "labels"
    labels.mkdir()
    found = spinefx.locate(opened.image("sub-001", "T2w"), masks=labels / "sub-001_dseg.nii.gz")
    taught = train_localiser(workspace, labels=labels, out=tmp_path / "out", folds=3, steps=1)
    assert [one.truth for one in taught.held_out] == ["labels", "box", "box"]
    known = len(taught.held_out[0].before_mm)
    assert len(found.spine.vertebrae) - 1 <= known <= len(found.spine.vertebrae)
    # The map came from the shipped localiser: it finds the same centres, as far as masks have centres of their own.
    assert np.median(taught.held_out[0].before_mm) < 3
    moved = read_nifti(labels / "sub-001_dseg.nii.gz")
    shifted = Volume(moved.array, moved.affine + np.array([[0, 0, 0, 5.0], *[[0] * 4] * 3]))
    write_nifti(labels / "sub-001_dseg.nii.gz", shifted, {})
    with pytest.raises(GeometryError, match="another grid"):
        train_localiser(workspace, labels=labels, out=tmp_path / "again", steps=1)


def test_what_cannot_teach_is_refused(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folds"):
        train_localiser(workspace, out=tmp_path / "a", folds=1)
    with pytest.raises(ModelError):
        train_localiser(workspace, start=tmp_path / "missing", out=tmp_path / "b", steps=1)
    with pytest.raises(ModelError):
        spinefx.locate(Workspace.open(workspace).image("sub-001", "T2w"), weights=tmp_path / "missing")
    held = Path(shutil.copytree(shipped_weights(), tmp_path / "held"))
    with pytest.raises(InputError, match="holds a localiser"):
        train_localiser(workspace, out=held)
    one = Path(shutil.copytree(workspace, tmp_path / "one"))
    table = one / "annotations" / "lesions.tsv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(InputError, match="1 participants with a known centre"):
        train_localiser(one, out=tmp_path / "c")
