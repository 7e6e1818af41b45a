"""Which images are one series, which series one visit, and whose they are."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinefx.errors import InputError, SelectionError, SeriesError
from spinefx.imaging.file_names import VolumeName, people_of
from spinefx.imaging.selection import choose_series
from spinefx.imaging.stack import fault_of_stack, rounding_of
from spinefx.imaging.study import Study, open_study, pseudonym, scan
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane, Weighting

from .conftest import STUDY, sagittal_volume

Write = Callable[..., Path]


def change(folder: Path, edit: Callable[[pydicom.Dataset, int], object]) -> None:
    for index, path in enumerate(sorted(folder.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        edit(dataset, index)
        dataset.save_as(path)


def numbers(study: Study, **wanted: Any) -> list[int | None]:
    return [series.number for series in choose_series(study, **wanted).chosen.values()]


def moved(volume: Volume, **by: float) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += [by.get("left", 0), by.get("back", 0), by.get("up", 0)]
    return Volume(volume.array, affine)


@pytest.mark.parametrize("also_series", [False, True])
def test_copies_under_new_uids_are_dropped_and_reported(write_study: Write, also_series: bool) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    for path in sorted((folder / "t2").glob("*.dcm")):
        copy = pydicom.dcmread(path)
        copy.SOPInstanceUID += ".9"
        copy.SeriesInstanceUID += ".9" * also_series
        copy.save_as(folder / f"again_{path.name}")
    found = scan(folder)
    (study,) = found.studies
    assert [series.number_of_slices for series in study.series] == [5, 5]
    assert [item.reason.split(":")[0] for item in found.refused] == ["is an exact copy of another image"] * 5
    assert "5 images that are exact copies" in choose_series(study).notes[0]
    if not also_series:
        assert study.series[1].instance("1.2.826.0.1.2.3.9") is study.series[1].instances[2]


def test_a_repeat_with_other_pixels_is_no_copy(write_study: Write) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    shutil.copytree(folder / "t2", folder / "t2 again")

    def edit(dataset: pydicom.Dataset, index: int) -> None:
        dataset.SOPInstanceUID += ".9"
        dataset.PixelData = bytes(240) if index == 2 else dataset.PixelData

    change(folder / "t2 again", edit)
    (study,) = scan(folder).studies
    with pytest.raises(SelectionError, match="1 place is there more than once"):
        choose_series(study)


@pytest.mark.parametrize("by", ["orientation", "size", "acquisition", "echo number", "line"])
def test_two_stacks_of_one_series_are_divided_and_judged_each(write_study: Write, by: str) -> None:
    first, second = sagittal_volume(), sagittal_volume()
    if by == "orientation":
        axes = np.array([[0, 0, 0.9], [0, 0.9, 0], [4.0, 0, 0]])
        second = Volume(second.array, np.block([[axes, first.affine[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]]))
    elif by == "size":
        second = moved(sagittal_volume(5, 16, 14), left=100)
    elif by == "line":
        second = moved(second, up=60)
    folder = write_study({"t1": {}, "t2": {"volume": first}, "t2 more": {"volume": second}})

    def edit(dataset: pydicom.Dataset, index: int) -> None:
        dataset.SeriesInstanceUID = "1.2.826.0.1.2"
        if by == "acquisition":
            dataset.AcquisitionNumber = 2
        if by == "echo number":
            dataset.EchoNumbers = 2
        dataset.PixelData = bytes(reversed(dataset.PixelData))

    change(folder / "t2 more", edit)
    (study,) = scan(folder).studies
    assert [series.uid.partition("#")[2] for series in study.series] == ["", "1", "2"]
    assert [series.number_of_slices for series in study.series] == [5, 5, 5]
    assert not any(series.fault for series in study.series)
    assert choose_series(study).marked.number == 2


def test_a_missing_slice_is_never_hidden_by_a_division(write_study: Write) -> None:
    folder = write_study({"t1": {"volume": sagittal_volume(9)}})
    (folder / "t1" / "IM0005.dcm").unlink()
    change(folder / "t1", lambda dataset, index: setattr(dataset, "AcquisitionNumber", 1 + (index >= 4)))
    (series,) = open_study(folder).series
    with pytest.raises(SeriesError, match="slice 5 is missing"):
        series.load()


@pytest.mark.parametrize("numbered", ["same", "each its own", "none"])
def test_one_series_uid_for_each_image_is_joined(write_study: Write, numbered: str) -> None:
    folder = write_study({"t1": {}, "t2": {}})

    def edit(dataset: pydicom.Dataset, index: int) -> None:
        dataset.SeriesInstanceUID += f".{index + 1}"
        if numbered == "each its own":
            dataset.SeriesNumber = 10 * int(dataset.SeriesNumber) + index
        elif numbered == "none":
            dataset.SeriesNumber = None

    for name in ("t1", "t2"):
        change(folder / name, edit)
    study = open_study(folder)
    assert [series.number_of_slices for series in choose_series(study).chosen.values()] == [5, 5]
    assert "10 series of one image each were joined" in study.notes[0]


def test_a_gap_among_joined_images_is_named(write_study: Write) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    change(folder / "t2", lambda dataset, index: setattr(dataset, "SeriesInstanceUID", f"1.2.9.{index}"))
    (folder / "t2" / "IM0003.dcm").unlink()
    with pytest.raises(SelectionError, match="slice 3 is missing"):
        choose_series(open_study(folder))


def test_one_visit_in_two_studies_is_read_with_a_note(write_study: Write) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    change(folder / "t1", lambda dataset, _: setattr(dataset, "StudyInstanceUID", "1.2.9"))
    study = open_study(folder)
    assert numbers(study) == [1, 2]
    assert "2 studies of this patient share a frame of reference" in choose_series(study).notes[0]


@pytest.mark.parametrize("change_of", ["FrameOfReferenceUID", "PatientID", "PatientAge", "PatientSex"])
def test_two_studies_that_may_not_be_one_visit_are_named(write_study: Write, change_of: str) -> None:
    folder = write_study({"t1": {}, "t2": {}})
    other = {"FrameOfReferenceUID": "1.2.8", "PatientID": "other", "PatientAge": "031Y", "PatientSex": "M"}[change_of]

    def edit(dataset: pydicom.Dataset, _: int) -> None:
        dataset.StudyInstanceUID = "1.2.9"
        setattr(dataset, change_of, other)

    change(folder / "t1", edit)
    with pytest.raises(InputError, match=r"2 studies of . patient.*sagittal T.W.*sagittal T.W"):
        open_study(folder)


@pytest.mark.parametrize("station", [0, 1])
def test_the_station_that_shows_the_box_is_taken(write_study: Write, station: int) -> None:
    lower, upper = sagittal_volume(40, 60, 30), moved(sagittal_volume(42, 80, 30), up=100)
    lower, upper = Volume(lower.array[:5] % 3000, lower.affine), Volume(upper.array[:6] % 3000, upper.affine)
    folder = write_study(
        {"t1": {"volume": lower}, "t2": {"volume": lower}, "t1 up": {"volume": upper}, "t2 up": {"volume": upper}}
    )
    study = open_study(folder)
    place = (lower, upper)[station].to_mm((2, 6, 5))
    assert numbers(study, holding=tuple(place)) == [1 + 2 * station, 2 + 2 * station]
    assert numbers(study) == [3, 4]
    assert numbers(study, holding=(500.0, 0.0, 0.0)) == numbers(study)


@pytest.mark.parametrize(
    ("digits", "tilt"), [(0, 0), *((digits, tilt) for digits in (1, 2, 3) for tilt in (0, 7, -23))]
)
def test_rounded_positions_are_read(write_study: Write, digits: int, tilt: int) -> None:
    volume = sagittal_volume(9, tilt_deg=tilt)
    folder = write_study({"t1": {"volume": volume}})

    def edit(dataset: pydicom.Dataset, _: int) -> None:
        dataset.ImagePositionPatient = [f"{float(value):.{digits}f}" for value in dataset.ImagePositionPatient]

    change(folder, edit)
    (series,) = open_study(folder).series
    loaded = series.load()
    np.testing.assert_array_equal(loaded.array, volume.array)
    corners = np.array([[0, 0, 0, 1], [8, 11, 9, 1.0]])
    off = np.abs((loaded.affine - volume.affine) @ corners.T)[:3].max()
    assert off <= 2 * 10.0**-digits + 1e-3


@settings(max_examples=60, deadline=None)
@given(
    missing=st.integers(1, 11),
    step=st.floats(2.5, 8.0),
    digits=st.integers(0, 4),
    start=st.floats(-50, 50),
)
def test_no_missing_slice_hides_behind_rounding(missing: int, step: float, digits: int, start: float) -> None:
    class Placed:
        shape = (4, 4)

        def __init__(self, place: float) -> None:
            self.affine: NDArray[np.float64] = np.diag([1.0, 1.0, 1.0, 1.0])
            self.affine[:3, :3] = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
            self.affine[0, 3] = -round(place, digits)

    images = [Placed(start + index * step) for index in range(13) if index != missing]
    assert fault_of_stack(images, rounding_of([10.0**-digits]))


NAMES = {
    "suffix": ("{}_T1w", "{}_T2w"),
    "prefix": ("T1_{}", "T2_{}"),
    "words": ("{} T1 TSE SAG", "{} T2 TSE SAG"),
    "hyphens": ("{}-t1-sag", "{}-t2-sag"),
    "joined": ("{}T1w", "{}T2w"),
    "bids": ("sub-{}_acq-sag_T1w", "sub-{}_T2w"),
    "converter": ("{}_T1_TSE_SAG_20240102101500_3", "{}_T2_TSE_SAG_20240102101500_4"),
}


@pytest.mark.parametrize(
    "people", [("P1", "P2"), ("001", "002"), ("Müller", "Meier"), ("case12", "case13"), ("A", "B")]
)
@pytest.mark.parametrize("style", NAMES)
def test_people_of_one_folder_are_told_apart_by_file_names(style: str, people: tuple[str, str]) -> None:
    stems = [form.format(person) for person in people for form in NAMES[style]]
    first, second, third, fourth = people_of([VolumeName(stem, {}, False) for stem in stems])
    assert first == second != third == fourth
    crossed = people_of([VolumeName(stem, {}, False) for stem in (stems[0], stems[3])])
    assert crossed[0] != crossed[1]


@pytest.mark.parametrize(
    "stems",
    [
        ("T1w", "T2w"),
        ("t1_tse_sag", "t2_frfse_sag", "localizer"),
        ("SAG T1 LWS", "SAG T2 LWS", "STIR"),
        ("x_T1w", "x_T2w"),
        ("sub-1_T1w", "sub-1_acq-STIR_T2w"),
    ],
)
def test_files_of_one_person_stay_together(stems: tuple[str, ...]) -> None:
    assert len(set(people_of([VolumeName(stem, {}, False) for stem in stems]))) == 1


def test_identifiers_in_sidecars_outweigh_names() -> None:
    one = [VolumeName("scan_a", {"PatientID": "1"}, False), VolumeName("scan_b", {"PatientID": "1"}, False)]
    two = [VolumeName("x_T1w", {"PatientID": "1"}, False), VolumeName("x_T2w", {"PatientID": "2"}, False)]
    assert len(set(people_of(one))) == 1
    assert len(set(people_of(two))) == 2
    numbered = [
        VolumeName("scan_T1_3", {"SeriesNumber": 3}, False),
        VolumeName("scan_T2_4", {"SeriesNumber": 4}, False),
    ]
    assert len(set(people_of(numbered))) == 1


def save_nifti(path: Path) -> None:
    make_image: Any = nibabel.Nifti1Image
    affine = np.array([[0, 0, 4.4, 0], [0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 1.0]])
    image = make_image(np.arange(600, dtype=np.int16).reshape(10, 12, 5), affine)
    image.set_sform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def test_a_flat_folder_of_several_people_is_never_one_study(tmp_path: Path) -> None:
    for name in ("P1_T2w", "P2_T1w"):
        save_nifti(tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="2 studies of 2 patients"):
        open_study(tmp_path)
    save_nifti(tmp_path / "P1_T1w.nii.gz")
    keys = {study.folder_keys[0]: len(study.series) for study in scan(tmp_path).studies}
    assert keys == {pseudonym("P1"): 2, pseudonym("P2"): 1}


def test_every_folder_above_a_study_may_name_its_patient(write_study: Write, tmp_path: Path) -> None:
    write_study({"t1": {}, "t2": {}}, folder=tmp_path / "all" / "export" / "P1" / "2024")
    (study,) = scan(tmp_path / "all").studies
    assert study.folder_keys == tuple(map(pseudonym, ("2024", "P1", "export")))
    assert study.folder_key == pseudonym("export")


@given(st.text(max_size=40))
def test_the_form_of_unicode_does_not_matter(text: str) -> None:
    assert len({pseudonym(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}) == 1


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "shift_jis"])
def test_an_undeclared_character_set_is_hinted_at(write_study: Write, charset: str) -> None:
    name = "山田7" if charset == "shift_jis" else "Müller7"
    folder = write_study({"t1": {}}, study=replace(STUDY, patient_id="PLACEHOLDER8"))
    encoded = name.encode(charset)
    for path in folder.rglob("*.dcm"):
        data = path.read_bytes()
        data = data.replace(b"PLACEHOLDER8", encoded.ljust(12))
        data = data.replace(b"ISO_IR 192", b"          ")
        path.write_bytes(data)
    (study,) = scan(folder).studies
    assert pseudonym(name) in study.alias_keys


def test_a_declared_character_set_needs_no_hint(write_study: Write) -> None:
    (study,) = scan(write_study({"t1": {}}, study=replace(STUDY, patient_id="Müller7"))).studies
    assert study.patient_key == pseudonym("Müller7")
    assert study.alias_keys == ()


def test_planes_are_kept_apart_in_what_a_study_holds(write_study: Write) -> None:
    study = open_study(write_study({"t1": {}, "t2": {"scan_options": ("FS",)}}))
    assert study.kinds == ("sagittal T1W", "sagittal T2W, fat-suppressed")
    assert all(series.plane is Plane.SAGITTAL for series in study.series)
    assert {series.weighting for series in study.series} == {Weighting.T1W, Weighting.T2W}
