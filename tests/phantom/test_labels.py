"""Label maps agree with the recorded truth and with the images."""

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
from spinefx.phantom.case import render_case, truth_of
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.label_codes import Structure, label_names, label_value
from spinefx.phantom.labels import _LabelCanvas, render_labels, write_labels
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.spine import LEVEL_NAMES

SETTINGS = PhantomSettings(patients=60, seed=2, matrix=224)


@pytest.fixture(scope="module")
def labelled() -> list[tuple[CaseDraw, Volume]]:
    draws = [draw_case(SETTINGS, number) for number in range(1, 61)]
    masses = [draw for draw in draws if draw.lesion.signs["epidural_paraspinal_mass"]]
    quiet = [draw for draw in draws if sum(draw.lesion.signs.values()) == 2 and draw.lesion.signs["homogeneous_marrow"]]
    return [(draw, render_labels(draw)) for draw in (masses[0], quiet[0])]


def in_view(draw: CaseDraw, labels: Volume) -> dict[str, np.ndarray]:
    """Index of every body that lies wholly in the image, without C2, which has a dens, and without the sacrum."""
    centres = truth_of(draw).vertebrae_mm
    index = {level: labels.to_index(place) for level, place in centres.items() if level != "C2" and level[0] != "S"}
    margin = 24 / labels.spacing_mm[1]
    last = labels.shape[1] - 1
    return {level: place for level, place in index.items() if margin < place[1] < last - margin}


def test_every_label_has_its_own_value_and_name() -> None:
    levels = (*LEVEL_NAMES, "T13", "L6")
    values = [label_value(kind, level) for kind in Structure if kind for level in levels]
    assert len(set(values)) == len(values)
    assert set(label_names()) == {0, *values}
    assert label_value(Structure.BODY, "T1") == 108
    assert label_value(Structure.DISC, "L5") == 224
    assert label_value(Structure.NOTHING, "L5") == 0


def test_bodies_lie_at_the_centres_of_the_truth(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        checked = 0
        for level, index in in_view(draw, labels).items():
            image = labels.array[round(index[0])]
            named = (label_value(Structure.BODY, level), label_value(Structure.LESION, level))
            centre = ndimage.center_of_mass(np.isin(image, named))
            assert np.hypot(*(centre - index[1:])) * labels.spacing_mm[1] < 1, level
            checked += 1
        assert checked >= 6


def test_the_box_is_that_of_the_lesion_body(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        truth = truth_of(draw)
        named = (label_value(Structure.BODY, draw.level), label_value(Structure.LESION, draw.level))
        rows, columns = np.nonzero(np.isin(labels.array[truth.box_slice], named))
        found = (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
        # A mass erodes the cortex of the posterior wall.
        slack = 2.0 if draw.lesion.epidural[0] else 1.2
        assert np.abs(np.array(found) - truth.box_pixels).max() < slack


def test_discs_lie_between_bodies(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for draw, labels in labelled:
        truth = truth_of(draw)
        seen = in_view(draw, labels)
        for upper, lower in pairwise(seen):
            line = np.linspace(truth.vertebrae_mm[upper], truth.vertebrae_mm[lower], 61)
            values = labels.sample(line, order=0).astype(int)
            order = [value % 100 + 100 * (1 if value // 100 == Structure.LESION else value // 100) for value in values]
            order = [order[0], *(b for a, b in pairwise(order) if a != b)]
            expected = [
                label_value(Structure.BODY, upper),
                label_value(Structure.DISC, upper),
                label_value(Structure.BODY, lower),
            ]
            assert [value for value in order if value] == expected


def test_the_cord_lies_inside_the_canal(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    for _, labels in labelled:
        kind = labels.array // 100
        cord = kind == Structure.CORD
        assert cord.sum() > 500
        beside = ndimage.binary_dilation(cord, np.ones((1, 3, 3))) & ~cord
        assert not np.isin(kind[beside], [Structure.POSTERIOR, Structure.DISC]).any()
        # In each row fluid lies behind the cord, except where a slice leaves the sac.
        behind = [image[row, run.max() + 1] for image in kind for row in range(image.shape[0])
                  if (run := np.flatnonzero(image[row] == Structure.CORD)).size]  # fmt: skip
        assert np.mean(np.array(behind) == Structure.CANAL) > 0.85


def test_changed_marrow_is_labelled_only_where_there_is_any(labelled: list[tuple[CaseDraw, Volume]]) -> None:
    (changed, with_mass), (_, quiet) = labelled
    inside = {label_value(Structure.LESION, changed.level), label_value(Structure.MASS, changed.level)}
    kinds = with_mass.array[with_mass.array >= 100 * Structure.LESION]
    assert set(kinds.tolist()) == inside
    body = label_value(Structure.BODY, changed.level)
    lesion = np.count_nonzero(with_mass.array == label_value(Structure.LESION, changed.level))
    assert lesion > 0.6 * (lesion + np.count_nonzero(with_mass.array == body))
    assert not (quiet.array >= 100 * Structure.LESION).any()


def test_the_image_shows_the_signal_of_the_labelled_tissue() -> None:
    draw = draw_case(SETTINGS, 3)
    few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("stir", "localizer")}
    still = replace(draw, **few, motion_mm=(0, 0, 0), motion_deg=(0, 0, 0))  # type: ignore[arg-type]
    case = render_case(replace(still, spots=(), healed={}))
    for volume, series in ((case.t2w, "t2w"), (case.t1w, "t1w")):
        labels = render_labels(replace(still, spots=(), healed={}), series)
        assert labels.shape == volume.shape
        assert np.array_equal(labels.affine, volume.affine)
        kinds = labels.array // 100
        median = {
            kind: float(np.median(volume.array[kinds == kind]))
            for kind in (Structure.BODY, Structure.DISC, Structure.CANAL)
        }
        if series == "t2w":
            assert median[Structure.CANAL] > 1.5 * median[Structure.BODY]
        else:
            assert median[Structure.CANAL] < median[Structure.DISC] < median[Structure.BODY]


def test_a_voxel_gets_the_label_of_most_of_its_thin_slices() -> None:
    canvas = _LabelCanvas((5, 1, 3), np.eye(4), ("L1",))
    canvas.labels[:, 0, 0] = [0, 120, 120, 0, 120]
    canvas.labels[:, 0, 1] = [120, 0, 0, 0, 120]
    canvas.labels[:, 0, 2] = [120, 120, 220, 320, 520]
    assert canvas.majority().tolist() == [[[120, 0, 120]]]


def test_label_files_describe_their_content(labelled: list[tuple[CaseDraw, Volume]], tmp_path: Path) -> None:
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
