"""A stored volume that changed is refused by every command that reads it, and by the page."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from spinefx.app.pairs import read_pair
from spinefx.cases.patch import PatchSettings
from spinefx.commands import check as check_command
from spinefx.commands.check import check
from spinefx.commands.patch import patch
from spinefx.commands.predict import predict
from spinefx.commands.train import train
from spinefx.errors import FileError, SpinefxError, WorkspaceError
from spinefx.files import digest_of
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import read_lesions, sidecar_path, write_lesions
from spinefx.workspace.stacks import load_stacks
from spinefx.workspace.volumes import file_digests, read_image

NAMED = "the voxels have changed since they were ingested"


def exchange_a_voxel(path: Path) -> None:
    """Change one bit of one voxel and write a whole gzip file around it, so that only the record can tell."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[len(data) // 2 & ~1] ^= 1
    path.write_bytes(gzip.compress(data, 1))


@pytest.mark.parametrize("weighting", ["T1w", "T2w"])
def test_every_command_refuses_a_volume_that_changed(study: Path, weighting: str) -> None:
    workspace = Workspace.open(study)
    path = workspace.image("sub-001", weighting)
    exchange_a_voxel(path)
    assert any(line.startswith(path.name) and NAMED in line for line in check(study))
    for read in (lambda: read_image(workspace, "sub-001", weighting), lambda: read_pair(workspace, "sub-001")):
        with pytest.raises(FileError, match=rf"^{path.name}: {NAMED}"):
            read()
    with pytest.raises(FileError, match=NAMED):
        load_stacks(workspace, PatchSettings())
    with pytest.raises(FileError, match=NAMED):
        train(study, Recipe.preset("quick"), device="cpu")
    shutil.rmtree(study / "derivatives")
    report = patch(study)
    assert [line for line in report.notes if line.startswith("sub-001") and NAMED in line] == list(report.notes)
    assert report.cut == 8


def test_a_study_of_changed_volumes_is_not_answered(trained: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(trained / "sub-001", study)
    workspace = Workspace.open(trained)
    lesion = next(one.lesion for one in read_lesions(workspace) if one.case_id == "sub-001")
    box = ",".join(f"{value:.3f}" for value in (*lesion.box.centre_mm, lesion.box.side_mm))
    arguments = {"box": box, "slices": f"{lesion.first_slice}-{lesion.last_slice}"}
    model = trained / "experiments" / "quick"
    assert 0 <= predict(model, study / "anat", **arguments)["patient"]["probability"] <= 1
    exchange_a_voxel(next((study / "anat").glob("*_T2w.nii.gz")))
    with pytest.raises(FileError, match=NAMED):
        predict(model, study / "anat", **arguments)


@pytest.mark.parametrize("place", [3, 8, 9, 200, 5_000, -7, -1])
def test_a_flipped_bit_anywhere_in_a_stored_file_is_refused_or_harmless(study: Path, place: int) -> None:
    workspace = Workspace.open(study)
    path = workspace.image("sub-002", "T2w")
    before, data = read_image(workspace, "sub-002", "T2w").voxel_digest, bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    try:
        after = read_image(workspace, "sub-002", "T2w").voxel_digest
    except SpinefxError:
        with pytest.raises(SpinefxError):
            load_stacks(workspace, PatchSettings())
    else:
        assert after == before
        load_stacks(workspace, PatchSettings())


def test_a_file_written_anew_with_the_same_voxels_needs_no_new_patches(study: Path) -> None:
    workspace = Workspace.open(study)
    path = workspace.image("sub-003", "T1w")
    before = file_digests(workspace, "sub-003")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9))
    assert file_digests(workspace, "sub-003") != before
    assert len(load_stacks(workspace, PatchSettings())[0]) == 9


def test_patches_of_an_earlier_version_name_no_files_and_are_still_read(study: Path) -> None:
    for described in (study / "derivatives" / "patches").glob("*/*_patch.json"):
        values = json.loads(described.read_text())
        assert values.pop("image_files") == file_digests(Workspace(study), values["participant_id"])
        described.write_text(json.dumps(values))
    assert len(load_stacks(Workspace.open(study), PatchSettings())[0]) == 9


@pytest.mark.parametrize("record", [None, 7, "absent"])
def test_a_stored_volume_without_a_record_is_refused(study: Path, record: object) -> None:
    workspace = Workspace.open(study)
    place = sidecar_path(workspace, "sub-001", "T2w")
    values = json.loads(place.read_text()) | {VOXEL_DIGEST: record}
    if record == "absent":
        del values[VOXEL_DIGEST]
    place.write_text(json.dumps(values))
    with pytest.raises(WorkspaceError, match="no digest of the voxels"):
        read_image(workspace, "sub-001", "T2w")
    assert any("no digest of the voxels" in line for line in check(study))


def test_a_missing_image_is_named(study: Path) -> None:
    workspace = Workspace.open(study)
    path = workspace.image("sub-001", "T2w")
    path.unlink()
    with pytest.raises(FileError, match=f"^{path.name}: missing"):
        read_image(workspace, "sub-001", "T2w")
    assert any(path.name in line for line in check(study))
    # Training goes by the patches, which carry digests of their own, so that they may travel without the images.
    assert load_stacks(workspace, PatchSettings())


def test_patches_that_unpack_beyond_measure_are_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spinefx.workspace.stacks.MAX_ARRAY_BYTES", 1000)
    with pytest.raises(WorkspaceError, match="the patches cannot be read"):
        load_stacks(Workspace.open(study), PatchSettings())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY" + bytes(60)])
def test_patches_that_are_no_arrays_are_refused_by_name(study: Path, content: bytes) -> None:
    base = study / "derivatives" / "patches" / "sub-001"
    (base / "sub-001_patch.npz").write_bytes(content)
    described = base / "sub-001_patch.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"arrays": digest_of(content)}))
    with pytest.raises(WorkspaceError, match="the patches cannot be read"):
        load_stacks(Workspace.open(study), PatchSettings())


def test_the_digest_of_a_volume_is_that_of_what_is_read_back(study: Path) -> None:
    path = Workspace.open(study).image("sub-001", "T1w")
    noted = json.loads(sidecar_path(Workspace.open(study), "sub-001", "T1w").read_text())[VOXEL_DIGEST]
    assert read_nifti(path).voxel_digest == noted


def test_check_holds_no_more_than_two_volumes_at_a_time(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took 1.3 GB for 80 cases while every T2W stayed in memory until the lesions were checked."""
    alive: WeakSet[Volume] = WeakSet()
    counts = []

    def counted(*wanted: Any) -> Volume:
        found = read_image(*wanted)
        alive.add(found)
        counts.append(len(alive))
        return found

    monkeypatch.setattr(check_command, "read_image", counted)
    problems = check(study)
    assert problems == ()
    assert len(counts) >= 4
    assert max(counts) <= 2


def test_check_still_names_a_lesion_outside_its_image(study: Path) -> None:
    workspace = Workspace.open(study)
    records = read_lesions(workspace)
    far = replace(records[0].lesion, last_slice=400)
    write_lesions(workspace, [replace(records[0], lesion=far), *records[1:]])
    (problem,) = check(study)
    assert problem.startswith(f"{records[0].case_id}: ")
    assert "slice 400" in problem
