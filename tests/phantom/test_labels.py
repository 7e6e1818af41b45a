"""Label maps: what they name lies where the truth says, and where the picture shows it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.phantom.anatomy import LEVEL_NAMES
from spinefx.phantom.case import render_case, truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.labels import _LabelCanvas, render_labels, write_labels
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.structure import Kind, label_names, label_value

SETTINGS = PhantomSettings(patients=60, seed=2, matrix=224)


@pytest.fixture(scope="module")
def labelled() -> list[tuple[CaseDraw, Volume]]:
    draws = [draw_case(SETTINGS, number) for number in range(1, 61)]
    masses = [draw for draw in draws if draw.lesion.signs["epidural_paraspinal_mass"]]
    quiet = [draw for draw in draws if sum(draw.lesion.signs.values()) == 2 and draw.lesion.signs["homogeneous_marrow"]]
    return [(draw, render_labels(draw)) for draw in (masses[0], quiet[0])]


def in_view(draw: CaseDraw, labels: Volume) -> dict[str, np.ndarray]:
    """Index of every body that lies wholly in the picture; C2 has a dens, the sacrum no discs to speak of."""
    centres = truth_of(draw).vertebrae_mm
    index = {level: labels.to_index(place) for level, place in centres.items() if level != "C2" and level[0] != "S"}
    margin = 24 / labels.spacing_mm[1]
    last = labels.shape[1] - 1
    return {level: place for level, place in index.items() if margin < place[1] < last - margin}


def test_labels_have_one_value_and_name_each() -> None:
    values = [label_value(kind, level) for kind in Kind if kind for level in LEVEL_NAMES]
    assert len(set(values)) == len(values)
    assert set(label_names()) == {0, *values}
    assert label_value(Kind.BODY, "T1") == 108
    assert label_value(Kind.DISC, "L5") == 224
    assert label_value(Kind.NOTHING, "L5") == 0


def test_bodies_lie_at_the_centres_of_the_truth(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        checked = 0
        for level, index in in_view(draw, labels).items():
            image = labels.array[round(index[0])]
            named = (label_value(Kind.BODY, level), label_value(Kind.LESION, level))
            centre = ndimage.center_of_mass(np.isin(image, named))
            assert np.hypot(*(centre - index[1:])) * labels.spacing_mm[1] < 1, level
            checked += 1
        assert checked >= 6


def test_the_box_is_that_of_the_lesion_body(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        truth = truth_of(draw)
        named = (label_value(Kind.BODY, draw.level), label_value(Kind.LESION, draw.level))
        rows, columns = np.nonzero(np.isin(labels.array[truth.box_slice], named))
        found = (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
        # The mass has eaten the back wall's cortex where there is one.
        slack = 2.0 if draw.lesion.epidural[0] else 1.2
        assert np.abs(np.array(found) - truth.box_pixels).max() < slack


def test_discs_lie_between_bodies(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        truth = truth_of(draw)
        seen = in_view(draw, labels)
        for upper, lower in pairwise(seen):
            line = np.linspace(truth.vertebrae_mm[upper], truth.vertebrae_mm[lower], 61)
            values = labels.sample(line, order=0).astype(int)
            order = [value % 100 + 100 * (1 if value // 100 == Kind.LESION else value // 100) for value in values]
            order = [order[0], *(b for a, b in pairwise(order) if a != b)]
            expected = [label_value(Kind.BODY, upper), label_value(Kind.DISC, upper), label_value(Kind.BODY, lower)]
            assert [value for value in order if value] == expected


def test_the_cord_lies_inside_the_canal(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for _, labels in labelled:
        kind = labels.array // 100
        cord = kind == Kind.CORD
        assert cord.sum() > 500
        beside = ndimage.binary_dilation(cord, np.ones((1, 3, 3))) & ~cord
        assert not np.isin(kind[beside], [Kind.POSTERIOR, Kind.DISC]).any()
        # Row by row fluid lies behind the cord, save where a slice leaves the sac.
        behind = [image[row, run.max() + 1] for image in kind for row in range(image.shape[0])
                  if (run := np.flatnonzero(image[row] == Kind.CORD)).size]  # fmt: skip
        assert np.mean(np.array(behind) == Kind.CANAL) > 0.85


def test_changed_marrow_is_named_where_there_is_any(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    (changed, with_mass), (_, quiet) = labelled
    inside = {label_value(Kind.LESION, changed.level), label_value(Kind.MASS, changed.level)}
    kinds = with_mass.array[with_mass.array >= 100 * Kind.LESION]
    assert set(kinds.tolist()) == inside
    body = label_value(Kind.BODY, changed.level)
    lesion = np.count_nonzero(with_mass.array == label_value(Kind.LESION, changed.level))
    assert lesion > 0.6 * (lesion + np.count_nonzero(with_mass.array == body))
    assert not (quiet.array >= 100 * Kind.LESION).any()


def test_the_picture_shows_what_the_labels_name() -> None:
    draw = draw_case(SETTINGS, 3)
    few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("stir", "localizer")}
    still = replace(draw, **few, motion_mm=(0, 0, 0), motion_deg=(0, 0, 0))  # type: ignore[arg-type]
    case = render_case(replace(still, spots=(), healed={}))
    for volume, series in ((case.t2w, "t2w"), (case.t1w, "t1w")):
        labels = render_labels(replace(still, spots=(), healed={}), series)
        assert labels.shape == volume.shape
        assert np.array_equal(labels.affine, volume.affine)
        kinds = labels.array // 100
        median = {kind: float(np.median(volume.array[kinds == kind])) for kind in (Kind.BODY, Kind.DISC, Kind.CANAL)}
        if series == "t2w":
            assert median[Kind.CANAL] > 1.5 * median[Kind.BODY]
        else:
            assert median[Kind.CANAL] < median[Kind.DISC] < median[Kind.BODY]


def test_a_voxel_is_what_most_of_it_is() -> None:
    canvas = _LabelCanvas((5, 1, 3), np.eye(4), ("L1",))
    canvas.labels[:, 0, 0] = [0, 120, 120, 0, 120]
    canvas.labels[:, 0, 1] = [120, 0, 0, 0, 120]
    canvas.labels[:, 0, 2] = [120, 120, 220, 320, 520]
    assert canvas.majority().tolist() == [[[120, 0, 120]]]


def test_files_say_what_they_hold(labelled: list[tuple[CaseDraw, Volume]], tmp_path: Path) -> None:
    draw, labels = labelled[0]
    path = write_labels(tmp_path, draw)
    assert path == tmp_path / "labels" / f"{draw.patient_id}_T2w_dseg.nii.gz"
    read = read_nifti(path)
    assert np.array_equal(read.array, labels.array)
    assert read.affine == pytest.approx(labels.affine, abs=1e-4)
    with (tmp_path / "labels" / f"{draw.patient_id}_T2w_dseg.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert {int(row["index"]) for row in rows} == set(np.unique(labels.array).astype(int).tolist())
    assert {int(row["index"]): row["name"] for row in rows}.items() <= label_names().items()
    sidecar = json.loads((tmp_path / "labels" / f"{draw.patient_id}_T2w_dseg.json").read_text(encoding="utf-8"))
    assert sidecar["Kinds"]["1"] == "body"
    assert "no patient" in sidecar["Description"]


def test_a_cohort_has_labels_on_request(tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort", PhantomSettings(patients=1, seed=4, matrix=96), labels=True)
    names = {path.name for path in (tmp_path / "cohort" / "labels").iterdir()}
    assert names == {f"PHANTOM001_T2w_dseg.{ending}" for ending in ("nii.gz", "json", "tsv")}
