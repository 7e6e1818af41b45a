"""What is written is read back: JSON, markups in either coordinate system, tables, and label maps by other programs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.localisation.conftest import KnownSpine, spine_in

from spinefx.errors import FileError, InputError, LevelError
from spinefx.imaging.nifti import read_nifti
from spinefx.localisation.formats import (
    read_markups,
    read_spine,
    spine_from_json,
    spine_to_json,
    write_label_map,
    write_markups,
    write_spine,
)
from spinefx.localisation.instances import divide_bodies
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.spine import Convention, LocatedSpine

SERIES = "series 2 (sagittal, TR 3200 ms, TE 90 ms, 15 slices)"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"))


def test_json_is_read_back(lumbar: KnownSpine, tmp_path: Path) -> None:
    spine = replace(lumbar.spine, notes=("A note.",))
    write_spine(tmp_path / "spine.json", spine, SERIES)
    value = json.loads((tmp_path / "spine.json").read_text())
    assert list(value)[:3] == ["series", "vertebrae", "convention"]
    assert (value["series"], value["convention"]) == (SERIES, "counted_from_sacrum")
    assert "LPS" in value["coordinates"]
    again = read_spine(tmp_path / "spine.json")
    assert (again.levels, again.convention, again.notes) == (spine.levels, spine.convention, spine.notes)
    for one, other in zip(again.vertebrae, spine.vertebrae, strict=True):
        assert np.allclose(one.centre_mm, other.centre_mm, atol=5e-4)
        assert (one.first_slice, one.last_slice) == (other.first_slice, other.last_slice)
        # The centre in millimetres is the centre in pixels of the mask itself.
        body = np.argwhere(lumbar.mask(one.level or ""))
        assert np.linalg.norm(lumbar.labels.to_mm(body.mean(axis=0)) - one.centre_mm) < 6, one.level


@pytest.mark.parametrize(
    "change",
    [
        {"vertebrae": None},
        {"vertebrae": [{"level": "L1"}]},
        {"vertebrae": [7]},
        {"convention": "by guess"},
        {"anomalies": ["two heads"]},
        {"patient": "x"},
    ],
)
def test_other_json_is_refused(lumbar: KnownSpine, change: dict[str, object]) -> None:
    with pytest.raises(FileError):
        spine_from_json(spine_to_json(lumbar.spine, SERIES) | change, where="spine.json")


@pytest.mark.parametrize("change", [{"first_slice": 1.5}, {"named": "yes"}, {"centre_mm": [1, 2]}, {"confidence": "x"}])
def test_ill_typed_vertebrae_are_refused(lumbar: KnownSpine, change: dict[str, object]) -> None:
    value = spine_to_json(lumbar.spine, SERIES)
    value["vertebrae"][0] |= change
    with pytest.raises(FileError):
        spine_from_json(value, where="spine.json")


def test_impossible_spines_are_refused_when_read(lumbar: KnownSpine) -> None:
    value = spine_to_json(lumbar.spine, SERIES)
    value["vertebrae"].reverse()
    with pytest.raises(LevelError):
        spine_from_json(value, where="spine.json")


def test_markups_declare_their_system_and_are_read_in_either(lumbar: KnownSpine, tmp_path: Path) -> None:
    path = tmp_path / "spine.mrk.json"
    write_spine(path, lumbar.spine, SERIES)
    written = json.loads(path.read_text())
    assert written["markups"][0]["coordinateSystem"] == "LPS"
    points = read_markups(path)
    assert [label for label, _ in points] == list(lumbar.spine.levels)
    assert np.allclose([place for _, place in points], [one.centre_mm for one in lumbar.spine.vertebrae])
    # The same points as a program that counts in RAS would save them.
    written["markups"][0]["coordinateSystem"] = "RAS"
    for point in written["markups"][0]["controlPoints"]:
        left, posterior, superior = point["position"]
        point["position"] = [-left, -posterior, superior]
    path.write_text(json.dumps(written))
    assert np.allclose([place for _, place in read_markups(path)], [place for _, place in points])
    written["markups"][0]["controlPoints"][0]["positionStatus"] = "undefined"
    path.write_text(json.dumps(written))
    assert len(read_markups(path)) == len(points) - 1
    for broken in ({"coordinateSystem": "0"}, {"coordinateUnits": "cm"}, {"controlPoints": 3}):
        path.write_text(json.dumps({"markups": [written["markups"][0] | broken]}))
        with pytest.raises(FileError):
            read_markups(path)


def test_a_table_has_a_row_for_each_vertebra_and_describes_its_columns(lumbar: KnownSpine, tmp_path: Path) -> None:
    write_spine(tmp_path / "spine.tsv", lumbar.spine, SERIES)
    rows = rows_of(tmp_path / "spine.tsv")
    assert [row["level"] for row in rows] == list(lumbar.spine.levels)
    assert np.allclose(
        [float(row["posterior_mm"]) for row in rows], [v.centre_mm[1] for v in lumbar.spine.vertebrae], atol=1e-3
    )
    sidecar = json.loads((tmp_path / "spine.json").read_text())
    assert set(rows[0]) <= set(sidecar)
    assert sidecar["SpineFx"]["convention"] == "counted_from_sacrum"
    unnamed = spine_in(lumbar.labels, lumbar.truth, named=False)
    write_spine(tmp_path / "unnamed.tsv", unnamed, SERIES)
    assert {row["level"] for row in rows_of(tmp_path / "unnamed.tsv")} == {"n/a"}


def test_other_endings_are_refused(lumbar: KnownSpine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ending"):
        write_spine(tmp_path / "spine.xml", lumbar.spine, SERIES)
    with pytest.raises(FileError):
        write_label_map(tmp_path / "masks.png", lumbar.classes, lumbar.labels, lumbar.spine)


def test_label_maps_lie_where_the_bodies_lie_for_a_program_that_counts_in_ras(
    lumbar: KnownSpine, tmp_path: Path
) -> None:
    path = tmp_path / "masks_dseg.nii.gz"
    write_label_map(path, lumbar.classes, lumbar.labels, lumbar.spine)
    names = {row["index"]: row["name"] for row in rows_of(tmp_path / "masks_dseg.tsv")}
    assert (names["24"], names["124"], names["26"]) == ("vertebral body L5", "disc below L5", "vertebral body S1")
    image = nibabel.load(path)  # type: ignore[attr-defined]
    data = image.get_fdata().astype(int)
    image.uncache()
    assert set(map(str, np.unique(data))) == set(names)
    for vertebra, code in ((lumbar.spine.at_level("L3"), 22), (lumbar.spine.at_level("L5"), 24)):
        ras = nibabel.affines.apply_affine(image.affine, np.argwhere(data == code).mean(axis=0))
        assert np.linalg.norm(ras * [-1, -1, 1] - vertebra.centre_mm) < 6
    again = read_nifti(path)
    assert np.allclose(again.affine, lumbar.labels.affine, atol=1e-4)
    bodies = divide_bodies(lumbar.classes, lumbar.labels, lumbar.spine)
    assert np.array_equal(again.array == 22, bodies == 1 + lumbar.spine.levels.index("L3"))


def test_vertebrae_without_names_get_codes_that_claim_none(lumbar: KnownSpine, tmp_path: Path) -> None:
    spine = spine_in(lumbar.labels, lumbar.truth, named=False)
    write_label_map(tmp_path / "m.nii.gz", lumbar.classes, lumbar.labels, spine)
    codes = set(np.unique(read_nifti(tmp_path / "m.nii.gz").array).astype(int).tolist())
    assert codes <= {0, 29, 41, 61, 100, *range(301, 301 + len(spine.vertebrae))}
    assert 301 in codes
    write_markups(tmp_path / "m.mrk.json", spine)
    assert read_markups(tmp_path / "m.mrk.json")[0][0] == "vertebra 1"


def test_a_series_without_vertebrae_is_written_as_such(lumbar: KnownSpine, tmp_path: Path) -> None:
    nothing = LocatedSpine((), Convention.UNNAMED, notes=("No sagittal spine was found.",))
    write_spine(tmp_path / "a.json", nothing, SERIES)
    assert read_spine(tmp_path / "a.json") == nothing
    write_label_map(tmp_path / "a.nii.gz", np.zeros_like(lumbar.classes), lumbar.labels, nothing)
    assert not read_nifti(tmp_path / "a.nii.gz").array.any()
    write_label_map(tmp_path / "b.nii.gz", lumbar.classes, lumbar.labels, nothing)
    found = read_nifti(tmp_path / "b.nii.gz").array
    assert np.array_equal(found == 61, lumbar.classes == TissueClass.CANAL)
