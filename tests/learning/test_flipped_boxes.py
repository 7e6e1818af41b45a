"""Boxes in RAS millimetres: the place with left and posterior negated is named where it fits as well or better."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinefx.cases.lesion import FLIPPED, Box, Lesion
from spinefx.cases.patch import PatchSettings
from spinefx.commands.ingest import ingest
from spinefx.errors import BoxError
from spinefx.imaging.volume import Volume
from spinefx.learning.flipped_boxes import BoxPlaces, doubtful_boxes, fits_flipped
from spinefx.learning.guards import Guards
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.settings import PhantomSettings

MM = tuple[float, float, float]


def volume_of(places_mm: list[MM], seed: int = 0) -> Volume:
    """A stack of noise with a bright block, the same pattern at each place."""
    rng = np.random.default_rng(seed)
    array = rng.normal(100, 10, (15, 100, 100)).astype(np.float32)
    affine = np.array([[-4.0, 0, 0, 28], [0, 0, 1, -50], [0, -1, 0, 50], [0, 0, 0, 1]])
    found = Volume(array, affine, frame_of_reference="a", weighting="T2w")
    pattern = np.kron(np.random.default_rng(99).normal(300, 120, (6, 6)), np.ones((5, 5)))
    for place in places_mm:
        slice_, row, column = np.rint(found.to_index(place)).astype(int)
        array[max(0, slice_ - 2) : slice_ + 3, row - 15 : row + 15, column - 15 : column + 15] += pattern
    return replace(found, array=array)


def lesion_at(volume: Volume, centre: MM) -> Lesion:
    middle = round(float(volume.to_index(centre)[0]))
    return Lesion(Box(centre, 30), middle - 1, middle + 1)


def negated(centre: MM) -> MM:
    return (-centre[0], -centre[1], centre[2])


PLACES: list[MM] = [(8, 20, 3), (-8, 25, -10), (4, -22, 8), (12, 18, 0), (-4, -26, 5)]


def places(flipped: set[int]) -> list[BoxPlaces]:
    found = []
    for number, place in enumerate(PLACES):
        volume = volume_of([place], number)
        lesion = lesion_at(volume, negated(place) if number in flipped else place)
        one = BoxPlaces.of(lesion, lesion.flipped(volume, slices_follow=True), volume)
        assert one is not None
        found.append(one)
    return found


@pytest.mark.parametrize("flipped", [set(), {2}, {0, 4}, {0, 1, 2, 3, 4}])
def test_the_boxes_of_a_table_tell_which_are_flipped(flipped: set[int]) -> None:
    assert doubtful_boxes(places(flipped)) == [number in flipped for number in range(len(PLACES))]


def test_too_few_boxes_to_compare_are_all_named() -> None:
    assert doubtful_boxes(places(set())[:2]) == [True, True]


def test_a_box_near_the_axis_or_whose_slices_were_given_has_no_other_place() -> None:
    volume = volume_of([])
    assert lesion_at(volume, (0.5, 3, 7)).flipped(volume) is None
    assert lesion_at(volume, (20, 20, 0)).flipped(volume) is None  # the slices lie at +20 mm
    other = lesion_at(volume, (20, 20, 0)).flipped(volume, slices_follow=True)
    assert other is not None
    assert other.box.centre_mm == (-20, -20, 0)
    other.check_inside(volume)


def test_without_a_typical_case_a_box_off_the_image_fits_better_flipped() -> None:
    volume = volume_of([])
    off = Lesion(Box((20, 20, 0), 30), *lesion_at(volume, (-20, -20, 0)).slices[::2])
    with pytest.raises(BoxError):
        off.check_inside(volume)
    assert fits_flipped(off, volume, PatchSettings(), Guards())
    assert not fits_flipped(lesion_at(volume, (2, 30, 0)), volume, PatchSettings(), Guards())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flipped") / "export"
    write_cohort(folder, PhantomSettings(patients=4, seed=11, malignant=2, matrix=128), readers=False)
    return folder


def table_of(exported: Path, folder: Path, sign: int) -> Path:
    truths = {
        one["truth"]["patient_id"]: one["truth"] for one in json.loads((exported / "truth.json").read_text())["cases"]
    }
    rows = []
    for row in csv.DictReader((exported / "cases.csv").read_text().splitlines()):
        truth = truths[row["patient"]]
        left, posterior, superior = truth["box_centre_mm"]
        kept = {name: row[name] for name in ("patient", "diagnosis", "truth_source")}
        place = (sign * left, sign * posterior, superior, truth["box_side_mm"])
        rows.append(kept | dict(zip(("box_l_mm", "box_p_mm", "box_s_mm", "box_side_mm"), place, strict=True)))
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "cases.csv"


@pytest.mark.parametrize("sign", [1, -1])
def test_ingest_names_boxes_in_ras_and_draws_every_box(exported: Path, tmp_path: Path, sign: int) -> None:
    table = table_of(exported, tmp_path, sign)
    report = ingest(tmp_path / "study", exported, table=table, sheet=tmp_path / "sheets")
    named = [name for note in report.notes if FLIPPED in note for name in note.partition(":")[0].split(", ")]
    # A box beside the midline may fit as well on the other side; that every box does is the sign of RAS.
    assert len(named) == 4 if sign < 0 else len(named) <= 2
    assert report.lesions == 4
    pictures = sorted((tmp_path / "sheets").glob("*.png"))
    assert [one.stem for one in pictures] == [f"sub-{number:03d}" for number in range(1, 5)]
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in pictures)
