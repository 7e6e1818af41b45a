"""NIfTI: the same value at the same place, whatever the storage order."""

from __future__ import annotations

import contextlib
import json
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinefx.errors import FileError, SpinefxError
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.study import Series, open_study, scan
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Plane, Weighting

from .conftest import sagittal_volume

CODES = ["".join(code) for order in permutations(("LR", "PA", "IS")) for code in product(*order)]


def only_series(path: Path) -> Series:
    (study,) = scan(path).studies
    (series,) = study.series
    return series


def reason_for(path: Path) -> str:
    found = scan(path)
    assert not found.studies
    return found.refused[0].reason


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 6) for _ in range(3))),
    spacing=st.tuples(*(st.floats(0.3, 9) for _ in range(3))),
    tilt=st.floats(-40, 40),
    origin=st.tuples(*(st.floats(-120, 120) for _ in range(3))),
    scale=st.sampled_from([1.0, 3000.0, 0.37]),
)
def test_writing_and_reading_gives_the_volume_back(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    tilt: float,
    origin: tuple[float, float, float],
    scale: float,
) -> None:
    base = sagittal_volume(*shape, tilt_deg=tilt)
    affine = base.affine.copy()
    affine[:3, :3] = base.directions * spacing
    affine[:3, 3] = origin
    volume = Volume(base.array * scale, affine, "0123456789abcdef", weighting=Weighting.T2W)
    path = tmp_path_factory.mktemp("nifti") / "sub-1_T2w.nii.gz"
    write_nifti(path, volume, {"RepetitionTime": 3.2, "EchoTime": 0.09})
    back = read_nifti(path)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)
    assert (back.frame_of_reference, back.weighting) == ("0123456789abcdef", Weighting.T2W)
    index = np.array(shape) / 3
    np.testing.assert_allclose(back.to_index(back.to_mm(index)), index, atol=1e-9)


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_code_gives_the_same_values_at_the_same_mm(tmp_path: Path, code: str) -> None:
    volume = sagittal_volume()
    write_nifti(tmp_path / "t1.nii", volume, {})
    image = nibabel.load(tmp_path / "t1.nii")
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(tuple(code))
        )
    )
    nibabel.save(turned, tmp_path / f"{code}_t1.nii.gz")
    back = read_nifti(tmp_path / f"{code}_t1.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)
    series = only_series_named(tmp_path, code)
    np.testing.assert_array_equal(series.load().array, volume.array)
    for index, instance in enumerate(series.instances):
        np.testing.assert_allclose((instance.affine @ [0, 3, 5, 1])[:3], volume.to_mm((index, 3, 5)), atol=1e-4)


def only_series_named(folder: Path, code: str) -> Series:
    return only_series(folder / f"{code}_t1.nii.gz")


def save(path: Path, array: np.ndarray, *, scaling: tuple[float, float] | None = None, **sidecar: Any) -> Path:
    """Write with nibabel alone: columns back, rows down, slices right."""
    ras = np.array([[0, 0, 4.0, -8], [-0.6, 0, 0, 70], [0, -0.9, 0, 33], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(array, ras)
    if scaling:
        image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    if sidecar:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2"])
def test_stored_types_are_read(tmp_path: Path, kind: Any) -> None:
    stored = np.arange(10 * 12 * 2).reshape(10, 12, 2).astype(kind)
    back = read_nifti(save(tmp_path / "a_T2w.nii.gz", stored))
    np.testing.assert_array_equal(back.array, np.transpose(stored, (2, 1, 0)).astype(np.float32))
    assert back.plane is Plane.SAGITTAL


def test_scaling_is_applied(tmp_path: Path) -> None:
    stored = np.arange(240, dtype=np.int16).reshape(10, 12, 2)
    path = save(tmp_path / "a_T2w.nii", stored)
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.25, -3], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(data)
    np.testing.assert_allclose(read_nifti(path).array, np.transpose(stored, (2, 1, 0)) * 0.25 - 3)


def test_a_sidecar_tells_the_physics_in_seconds(tmp_path: Path) -> None:
    array = np.ones((10, 12, 4), np.int16)
    # The name says T1w, the timing says STIR: timing wins.
    save(tmp_path / "x_T1w.nii.gz", array, RepetitionTime=3.2, EchoTime=0.09, InversionTime=0.16, FlipAngle=150)
    series = only_series(tmp_path)
    assert (series.repetition_time_ms, series.echo_time_ms, series.inversion_time_ms) == (3200, 90, 160)
    assert (series.weighting, series.weighting_is_named, series.fat_suppressed) == (Weighting.STIR, False, True)
    assert series.flip_angle_deg == 150
    assert series.label == "series 1 (sagittal, TR 3200 ms, TE 90 ms, TI 160 ms, 4 slices)"


@pytest.mark.parametrize(
    ("name", "weighting", "modality"),
    [
        ("sub-1_acq-sag_T1w", Weighting.T1W, "MR"),
        ("sub-1_acq-T1ref_T2w", Weighting.T2W, "MR"),
        ("t2_lumbar", Weighting.T2W, "MR"),
        ("t1_t1w_seg-manual", Weighting.T1W, "SEG"),
        ("t2_labels", Weighting.T2W, "SEG"),
        ("sub-mri_label-6_T2w", Weighting.T2W, "MR"),
        ("sub-mri_seg-vert_label-6_msk", Weighting.UNKNOWN, "SEG"),
        ("image", Weighting.UNKNOWN, "MR"),
        ("x_T2star", Weighting.UNKNOWN, "MR"),
        ("x_T1map", Weighting.UNKNOWN, "MR"),
    ],
)
def test_names_tell_what_no_sidecar_tells(tmp_path: Path, name: str, weighting: Weighting, modality: str) -> None:
    save(tmp_path / f"{name}.nii.gz", np.ones((10, 12, 4), np.int16))
    series = only_series(tmp_path)
    assert (series.weighting, series.modality) == (weighting, modality)


def test_bids_subjects_are_studies(tmp_path: Path) -> None:
    for subject, suffix in (("sub-1", "T1w"), ("sub-1", "T2w"), ("sub-2", "T2w")):
        (tmp_path / subject / "anat").mkdir(parents=True, exist_ok=True)
        save(tmp_path / subject / "anat" / f"{subject}_{suffix}.nii.gz", np.ones((10, 12, 4), np.int16), EchoTime=0.1)
    found = scan(tmp_path)
    assert sorted(len(study.series) for study in found.studies) == [1, 2]
    assert found.refused == ()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_broken_files_are_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.arange(480, dtype=np.int16).reshape(10, 12, 4))
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(SpinefxError):
            read_nifti(path)
        with pytest.raises(SpinefxError):
            open_study(path).series[0].load()
    path.write_bytes(b"no image at all" * 100)
    assert reason_for(path) == "is no NIfTI file"


def test_flipped_header_bits_never_escape(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = save(tmp_path / "a.nii", np.arange(480, dtype=np.int16).reshape(10, 12, 4))
    whole = path.read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        data[int(rng.integers(352))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        for study in scan(path).studies:
            for series in study.series:
                with contextlib.suppress(SpinefxError):
                    series.load()


def test_four_dimensions_only_where_the_last_is_one(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", np.ones((10, 12, 4, 1), np.int16))
    assert read_nifti(tmp_path / "a.nii.gz").shape == (4, 12, 10)
    save(tmp_path / "a.nii.gz", np.ones((10, 12, 4, 2), np.int16))
    assert "4 axes" in reason_for(tmp_path / "a.nii.gz")


def test_unplaced_huge_and_skewed_volumes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.ones((10, 12, 4), np.int16))
    whole = path.read_bytes()
    unplaced = bytearray(whole)
    unplaced[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(unplaced)
    assert "does not say where" in reason_for(path)
    huge = bytearray(whole)
    huge[42:48] = np.array([4000, 4000, 4000], "<i2").tobytes()
    path.write_bytes(huge)
    assert "size limit" in reason_for(path)
    nibabel.save(
        nibabel.Nifti1Image(np.ones((3, 3, 3)), np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
        path,
    )
    assert "right angles" in reason_for(path)


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 5000, '{"RepetitionTime": "fast"}'])
def test_odd_sidecars_are_named_or_ignored(tmp_path: Path, content: str) -> None:
    path = save(tmp_path / "a_T2w.nii.gz", np.ones((10, 12, 4), np.int16))
    (tmp_path / "a_T2w.json").write_text(content)
    if content.endswith("}"):
        assert only_series(tmp_path).weighting_is_named
    else:
        assert "sidecar" in reason_for(tmp_path)
        with pytest.raises(FileError, match="sidecar"):
            read_nifti(path)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / name / "x_T1w.nii.gz", sagittal_volume(), {"EchoTime": 0.015})
    for name in ("x_T1w.nii.gz", "x_T1w.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(FileError, match="not named as a NIfTI file"):
        write_nifti(tmp_path / "x.img", sagittal_volume(), {})


def test_real_volumes_agree_with_nibabel_at_the_same_mm(shared_data: Path) -> None:
    for name in (
        "cervical_sct_t1_t2_pair/t1_t1w",
        "cervical_sct_t1_t2_pair/t2_t2",
        "vertebra_crop_tptbox_t2/sub-mri_label-6_T2w",
    ):
        path = shared_data / f"{name}.nii.gz"
        volume, image = read_nifti(path), nibabel.load(path)
        assert volume.plane is Plane.SAGITTAL
        stored = np.array([[3, 7, 11], [20, 30, 40], [0, 0, 0]])
        ras = stored @ image.affine[:3, :3].T + image.affine[:3, 3]
        values = np.asarray(image.dataobj)[tuple(stored.T)]
        np.testing.assert_allclose(volume.sample(ras * [-1, -1, 1]), values, rtol=1e-4, atol=1e-2)
