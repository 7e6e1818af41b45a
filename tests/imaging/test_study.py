"""Scanning finds what a folder holds, whatever its order, encoding or container."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spinefx.errors import FileError, InputError, SeriesError, SpinefxError
from spinefx.imaging.study import Series, open_study, pseudonym, scan
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane, Weighting

from .conftest import STUDY, sagittal_volume

Write = Callable[..., Path]


def only_series(path: Path) -> Series:
    (study,) = scan(path).studies
    (series,) = study.series
    return series


def test_a_written_series_comes_back_voxel_for_voxel(write_study: Write) -> None:
    volume = sagittal_volume(tilt_deg=12)
    series = only_series(write_study({"t1": {"volume": volume}}))
    loaded = series.load()
    np.testing.assert_array_equal(loaded.array, volume.array)
    np.testing.assert_allclose(loaded.affine, volume.affine, atol=1e-5)
    assert (series.weighting, series.plane, series.number) == (Weighting.T1W, Plane.SAGITTAL, 1)
    assert (series.repetition_time_ms, series.echo_time_ms) == (400, 15)
    assert series.spacing_mm == pytest.approx((4.4, 0.9, 0.6))
    assert series.label == "series 1 (sagittal, TR 400 ms, TE 15 ms, 5 slices)"


def test_instances_follow_the_loaded_slices(write_study: Write) -> None:
    volume = sagittal_volume()
    series = only_series(write_study({"t1": {"volume": volume}}, order={"t1": [4, 2, 0, 1, 3]}))
    loaded = series.load()
    for index, instance in enumerate(series.instances):
        np.testing.assert_allclose(instance.affine @ [0, 3, 5, 1], [*loaded.to_mm((index, 3, 5)), 1], atol=1e-5)
        assert instance.sop_uid == f"1.2.826.0.1.1.{index + 1}"
    assert series.instance("1.2.826.0.1.1.3") is series.instances[2]
    with pytest.raises(SeriesError, match="no image"):
        series.instance("1.2.3")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(5)), flip=st.booleans(), tilt=st.integers(-30, 30))
def test_shuffled_files_form_the_same_volume(
    write_study: Write, tmp_path_factory: pytest.TempPathFactory, order: list[int], flip: bool, tilt: int
) -> None:
    volume = sagittal_volume(tilt_deg=tilt)
    stored = volume
    if flip:  # the same voxels, stored with slices to the left
        affine = volume.affine.copy()
        affine[:3, 3] += 4 * affine[:3, 0]
        affine[:3, 0] *= -1
        stored = Volume(volume.array[::-1], affine)
    folder = write_study({"t1": {"volume": stored}}, folder=tmp_path_factory.mktemp("shuffled"), order={"t1": order})
    loaded = only_series(folder).load()
    np.testing.assert_array_equal(loaded.array, volume.array)
    np.testing.assert_allclose(loaded.affine, volume.affine, atol=1e-5)


def test_flipped_rows_and_columns_stay_in_place(write_study: Write) -> None:
    volume = sagittal_volume()
    affine = volume.affine.copy()
    affine[:3, 3] += 11 * affine[:3, 1] + 9 * affine[:3, 2]
    affine[:3, 1] *= -1
    affine[:3, 2] *= -1
    stored = Volume(volume.array[:, ::-1, ::-1], affine)
    loaded = only_series(write_study({"t1": {"volume": stored}})).load()
    np.testing.assert_array_equal(loaded.array, volume.array)
    np.testing.assert_allclose(loaded.affine, volume.affine, atol=1e-5)


def test_a_missing_slice_is_named(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    (folder / "t1" / "IM0003.dcm").unlink()
    series = only_series(folder)
    assert series.number_of_slices == 4
    with pytest.raises(SeriesError, match=r"slice 3 is missing between .* mm"):
        series.load()


def test_uneven_gaps_are_listed(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    move(folder / "t1" / "IM0002.dcm", 0.3)
    with pytest.raises(SeriesError, match=r"4\.70 mm between"):
        only_series(folder).load()


def test_slices_shifted_in_plane_are_refused(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    for number in range(1, 6):
        move(folder / "t1" / f"IM000{number}.dcm", 0.5 * number, axis=1)
    with pytest.raises(SeriesError, match="shifted against one another"):
        only_series(folder).load()


def move(path: Path, distance_mm: float, axis: int = 0) -> None:
    dataset = pydicom.dcmread(path)
    position = [float(value) for value in dataset.ImagePositionPatient]
    position[axis] -= distance_mm
    dataset.ImagePositionPatient = position
    dataset.save_as(path)


def edit(path: Path, **values: object) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_copies_are_dropped(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    shutil.copy(folder / "t1" / "IM0001.dcm", folder / "t1" / "again.dcm")
    assert only_series(folder).number_of_slices == 5


def test_same_place_with_other_pixels_is_refused_by_name(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    shutil.copy(folder / "t1" / "IM0002.dcm", folder / "t1" / "again.dcm")
    edit(folder / "t1" / "again.dcm", PixelData=bytes(240))
    with pytest.raises(SeriesError, match="1 place is there more than once with different content"):
        only_series(folder).load()


def test_two_echoes_of_one_series_become_two(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    for number in range(1, 6):
        copy = folder / "t1" / f"echo2-{number}.dcm"
        shutil.copy(folder / "t1" / f"IM000{number}.dcm", copy)
        edit(copy, EchoTime="95", SOPInstanceUID=f"1.9.{number}", RepetitionTime="3000")
    (study,) = scan(folder).studies
    assert [series.echo_time_ms for series in study.series] == [15, 95]
    assert [series.uid for series in study.series] == ["1.2.826.0.1.1#1", "1.2.826.0.1.1#2"]
    assert all(series.load().shape == (5, 12, 10) for series in study.series)


def test_an_image_of_another_plane_is_a_series_of_its_own(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    edit(folder / "t1" / "IM0002.dcm", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    (study,) = scan(folder).studies
    assert sorted((series.plane, series.number_of_slices) for series in study.series) == [
        (Plane.AXIAL, 1),
        (Plane.SAGITTAL, 4),
    ]
    sagittal = next(series for series in study.series if series.plane is Plane.SAGITTAL)
    with pytest.raises(SeriesError, match="slice 2 is missing"):
        sagittal.load()


def test_a_localizer_of_three_planes_stays_one_series(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    edit(folder / "t1" / "IM0002.dcm", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    edit(folder / "t1" / "IM0003.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    series = only_series(folder)
    assert series.plane is Plane.MIXED
    with pytest.raises(SeriesError, match="orientations"):
        series.load()


def test_rescale_and_inverted_greys(write_study: Write) -> None:
    volume = sagittal_volume()
    folder = write_study({"t1": {"volume": volume}})
    for number in range(1, 6):
        edit(
            folder / "t1" / f"IM000{number}.dcm",
            RescaleSlope="0.5",
            RescaleIntercept="-10",
            PhotometricInterpretation="MONOCHROME1",
        )
    np.testing.assert_allclose(only_series(folder).load().array, (65535 - volume.array) * 0.5 - 10)


def test_studies_and_patients_in_one_folder_stay_apart(write_study: Write, tmp_path: Path) -> None:
    write_study({"t1": {}, "t2": {}}, folder=tmp_path / "all" / "first")
    other = replace(STUDY, patient_id="4712", sex="M", age_years=93, birth_date="")
    write_study({"t1": {}}, study=other, folder=tmp_path / "all" / "second")
    found = {study.patient_key: study for study in scan(tmp_path / "all").studies}
    assert set(found) == {pseudonym("HOSPITAL-4711"), pseudonym("4712")}
    first, second = found[pseudonym("HOSPITAL-4711")], found[pseudonym("4712")]
    assert (len(first.series), len(second.series)) == (2, 1)
    assert (first.sex, first.age_years, first.folder_key) == ("F", 66.0, pseudonym("first"))
    assert (second.sex, second.age_years, second.folder_key) == ("M", 90.0, pseudonym("second"))
    with pytest.raises(InputError, match="2 studies of 2 patients"):
        open_study(tmp_path / "all")


def test_age_comes_from_dates_where_it_is_not_written(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    for path in (folder / "t1").iterdir():
        edit(path, PatientAge="")
    assert open_study(folder).age_years == 66.0


def test_a_zip_reads_like_its_folder(write_study: Write, tmp_path: Path) -> None:
    folder = write_study({"t1": {}, "t2": {}}, folder=tmp_path / "export" / "case")
    archive = Path(shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "export"))
    inside, outside = open_study(archive), open_study(tmp_path / "export")
    assert inside == outside
    for zipped, plain in zip(inside.series, outside.series, strict=True):
        np.testing.assert_array_equal(zipped.load().array, plain.load().array)
    assert open_study(folder).folder_key == pseudonym("t1")


def test_a_zip_inside_a_folder_is_looked_into(write_study: Write, tmp_path: Path) -> None:
    folder = write_study({"t1": {}}, folder=tmp_path / "in")
    (tmp_path / "out").mkdir()
    shutil.make_archive(str(tmp_path / "out" / "patient7"), "zip", folder)
    study = open_study(tmp_path / "out")
    assert study.folder_key == pseudonym("patient7")
    assert study.series[0].load().shape == (5, 12, 10)


def test_unusable_files_are_refused_one_by_one(write_study: Write) -> None:
    folder = write_study({"t1": {}})
    (folder / "letter.txt").write_text("Dear colleague")
    (folder / "empty.dcm").write_bytes(b"")
    whole = (folder / "t1" / "IM0001.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:-20])
    found = scan(folder)
    assert len(found.studies[0].series[0].instances) == 5
    reasons = sorted(item.reason for item in found.refused)
    assert reasons == [
        "has truncated pixels: 220 of 240 bytes",
        "is empty",
        "is neither DICOM nor NIfTI",
    ]
    assert all(item.label.startswith("file ") and len(item.label) == 13 for item in found.refused)


def test_progress_is_reported(write_study: Write) -> None:
    steps: list[tuple[int, int]] = []
    scan(write_study({"t1": {}}), progress=lambda done, total: steps.append((done, total)))
    assert steps[0] == (0, 5)
    assert steps[-1] == (5, 5)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nothing there"):
        scan(tmp_path / "none")
    with pytest.raises(FileError, match="no study"):
        open_study(tmp_path)


def test_no_identifier_is_ever_shown(write_study: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "MUSTERMANN_19581224"
    folder = write_study({"t1": {"description": secret}}, folder=tmp_path / secret)
    (folder / f"{secret}.txt").write_text(secret)
    (folder / "t1" / "IM0003.dcm").unlink()
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(f"../{secret}", secret)
    found, zipped = scan(folder), scan(tmp_path / "bad.zip")
    study = found.studies[0]
    texts = [repr(found), repr(zipped), study.series[0].label, repr(study.series[0].instances), caplog.text]
    for action in (study.series[0].load, lambda: scan(folder / "none"), lambda: study.series[0].instance(secret)):
        with pytest.raises(SpinefxError) as caught:
            action()
        texts.append(str(caught.value))
    for text in texts:
        for planted in ("MUSTERMANN", "ERIKA", "19581224", "20250314", "4711", "1.2.826", str(tmp_path)):
            assert planted not in text


def test_a_shared_study_uid_does_not_mix_patients(write_study: Write, tmp_path: Path) -> None:
    write_study({"t1": {}}, folder=tmp_path / "all" / "a")
    write_study({"t1": {}}, study=replace(STUDY, patient_id="other"), folder=tmp_path / "all" / "b")
    assert len(scan(tmp_path / "all").studies) == 2


def test_pseudonym() -> None:
    # printf 4711 | sha256sum | cut -c1-16
    assert pseudonym(" 4711 ") == pseudonym("4711") == "de650d61f5bd166a"
    assert pseudonym("") == ""


@pytest.mark.parametrize("change", ["another header", "another length", "deflated"])
def test_a_file_that_changed_since_it_was_scanned_is_refused(write_study: Write, change: str) -> None:
    folder = write_study({"t1": {}})
    path = min(folder.rglob("*.dcm"))
    if change == "deflated":
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path, enforce_file_format=True)
    (series,) = open_study(folder).series
    series.load()
    data = path.read_bytes()
    if change == "another length":
        path.write_bytes(data + b"\0\0")
    else:
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope = 2
        dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(FileError, match="changed since it was scanned"):
        series.load()
