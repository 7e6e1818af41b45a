"""NIfTI files that lie: each is read to its last byte, and is equal to what was written or refused by name."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinefx.errors import FileError, SpinefxError
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.study import open_study, scan
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import VOXEL_DIGEST

from .conftest import sagittal_volume

RAS = np.array([[0, 0, 4.0, -8], [-0.6, 0, 0, 70], [0, -0.9, 0, 33], [0, 0, 0, 1]])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A volume as a workspace keeps it."""
    path = tmp_path / "sub-001_acq-sag_T2w.nii.gz"
    volume = sagittal_volume()
    write_nifti(path, volume, {"EchoTime": 0.09, VOXEL_DIGEST: volume.voxel_digest})
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """An uncompressed volume of NIfTI-1, written by nibabel."""
    path = tmp_path / "plain_T2w.nii"
    nibabel.save(nibabel.Nifti1Image(np.arange(480, dtype=np.int16).reshape(10, 12, 4), RAS), path)
    return path


def same(first: Volume, second: Volume) -> bool:
    return np.array_equal(first.array, second.array) and np.array_equal(first.affine, second.affine)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Volume]:
    """A stored volume, the bytes of its file, and what is read from them."""
    path = tmp_path_factory.mktemp("kept") / "sub-001_acq-sag_T2w.nii.gz"
    volume = sagittal_volume()
    write_nifti(path, volume, {VOXEL_DIGEST: volume.voxel_digest})
    return path, path.read_bytes(), read_nifti(path)


@settings(max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_stored_volume_changes_nothing_or_is_refused(
    kept: tuple[Path, bytes, Volume], place: float, bit: int
) -> None:
    path, whole, before = kept
    data = bytearray(whole)
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with contextlib.suppress(FileError):
        assert same(read_nifti(path), before)


def test_voxels_other_than_the_recorded_ones_are_refused_whoever_reads_them(stored: Path) -> None:
    inside = bytearray(gzip.decompress(stored.read_bytes()))
    inside[-100] ^= 4
    stored.write_bytes(gzip.compress(inside))  # a whole file with a checksum of its own
    with pytest.raises(FileError, match="voxels have changed since they were ingested"):
        read_nifti(stored)
    with pytest.raises(FileError, match=r"^series 1 .*voxels have changed since they were ingested"):
        open_study(stored.parent).series[0].load()
    with pytest.raises(FileError, match="voxels have changed since they were ingested"):
        open_study(stored.parent).series[0].slices()


@pytest.mark.parametrize("digest", ["0", "", 7, None, ["sha256:1"]])
def test_a_record_that_is_no_digest_is_refused(stored: Path, digest: object) -> None:
    sidecar = stored.with_name(stored.name.replace(".nii.gz", ".json"))
    sidecar.write_text(json.dumps({VOXEL_DIGEST: digest}))
    with pytest.raises(FileError, match="voxels have changed since they were ingested"):
        read_nifti(stored)


@pytest.mark.parametrize("extra", [b"\0", b"more", bytes(64 * 2**20)], ids=["a zero", "four bytes", "a bomb"])
def test_bytes_beyond_the_declared_size_are_refused(stored: Path, plain: Path, extra: bytes) -> None:
    inside = gzip.decompress(stored.read_bytes())
    stored.write_bytes(gzip.compress(inside + extra))
    with pytest.raises(FileError, match="more bytes than its header declares"):
        read_nifti(stored)
    plain.write_bytes(plain.read_bytes() + extra)
    with pytest.raises(FileError, match="more bytes than its header declares"):
        read_nifti(plain)


def test_bytes_behind_the_compression_are_refused_but_for_zeros(stored: Path) -> None:
    before, whole = read_nifti(stored), stored.read_bytes()
    for tail, refused in ((bytes(512), False), (b"tail", True), (bytes(8) + b"t", True), (whole[:9], True)):
        stored.write_bytes(whole + tail)
        if refused:
            with pytest.raises(FileError, match="compression"):
                read_nifti(stored)
        else:
            assert same(read_nifti(stored), before)
    stored.write_bytes(whole + whole)
    with pytest.raises(FileError, match="more bytes than its header declares"):
        read_nifti(stored)


def test_one_volume_in_many_gzip_members_is_one_volume(stored: Path) -> None:
    before, inside = read_nifti(stored), gzip.decompress(stored.read_bytes())
    stored.write_bytes(b"".join(gzip.compress(inside[at : at + 200]) for at in range(0, len(inside), 200)))
    assert same(read_nifti(stored), before)
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(FileError, match="cut off inside its compression"):
        read_nifti(stored)


def test_compression_is_told_by_content_not_by_name(stored: Path, tmp_path: Path) -> None:
    before, data = read_nifti(stored), stored.read_bytes()
    (tmp_path / "other").mkdir()
    for name in ("a_T2w.nii", "b_T2w.gz", "c_T2w", "d_T2w.img.gz", "e_T2w.dcm"):
        (tmp_path / "other" / name).write_bytes(data)
    (tmp_path / "other" / "f_T2w.nii.gz").write_bytes(gzip.decompress(data))
    found = scan(tmp_path / "other")
    assert not found.refused
    series = [one for study in found.studies for one in study.series]
    assert len(series) == 6
    assert all(same(one.load(), before) for one in series)


def test_what_is_compressed_twice_or_is_something_else_has_a_name(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    for name, content, reason in (
        ("a.nii.gz", gzip.compress(stored.read_bytes()), "compressed twice"),
        ("b.gz", gzip.compress(bytes(128) + b"DICM" + bytes(400)), "a DICOM file compressed by gzip"),
        ("c.tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(300)), "a tar archive"),
        ("d.nrrd", b"NRRD0004\n" + bytes(100), "NRRD or MetaImage"),
        ("e.xlsx", b"PK\x03\x04" + bytes(100), "ZIP archive or an Office document"),
        ("f.png", b"\x89PNG" + bytes(100), "a PNG picture"),
        ("g.txt", b"some words", "neither DICOM nor NIfTI"),
    ):
        path = tmp_path / "odd" / name
        path.write_bytes(content)
        (refused,) = scan(path.parent).refused
        assert reason in refused.reason
        path.unlink()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_file_that_is_cut_off_anywhere_is_refused_by_name(tmp_path: Path, kind: type, compressed: bool) -> None:
    path = tmp_path / "a_T2w.nii"
    nibabel.save(kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), RAS), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(gzip.compress(whole[:length], 1) if compressed else whole[:length])
        with pytest.raises(FileError) as caught:
            read_nifti(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert read_nifti(path).shape == (4, 3, 2)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_every_flipped_header_bit_is_read_or_refused_by_name(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "a_T2w.nii"
    nibabel.save(kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), RAS), path)
    whole = path.read_bytes()
    for place in range(0, 8 * (len(whole) - 48), 13):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        found = scan(path)
        assert len(found.studies) + len(found.refused) == 1
        for study in found.studies:
            with contextlib.suppress(SpinefxError):
                study.series[0].load()


def changed(path: Path, **fields: object) -> None:
    """Set fields of a NIfTI-1 header, whatever nibabel thinks of them."""
    data = path.read_bytes()
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + data[348:])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dim": [3, -10, 12, 4, 1, 1, 1, 1]}, "cannot be read|voxels"),
        ({"dim": [3, 0, 12, 4, 1, 1, 1, 1]}, "axes of"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "axes of"),
        ({"dim": [3, 4000, 4000, 4000, 1, 1, 1, 1]}, "size limit"),
        ({"dim": [7, 10, 12, 4, 2, 2, 2, 2]}, "7 axes"),
        ({"vox_offset": np.nan}, "cannot be read"),
        ({"vox_offset": np.inf}, "cannot be read"),
        ({"vox_offset": 0}, "cannot be read"),
        ({"vox_offset": 352.5}, "cannot be read"),
        ({"vox_offset": 1e30}, "size limit"),
        ({"vox_offset": 368}, "truncated"),
        ({"srow_x": [np.nan, 0, 4, -8]}, "impossible affine"),
        ({"srow_x": [0, 0, np.inf, -8]}, "impossible affine"),
        ({"srow_x": [0, 0, 1e38, -8]}, "impossible affine"),
        ({"srow_x": [0, 0, 4, 3e38]}, "impossible affine"),
        ({"srow_x": [0, 0, 1e-20, -8]}, "impossible voxel size"),
        ({"srow_x": [0, 0, 400, -8]}, "impossible voxel size"),
        ({"scl_slope": np.inf}, "infinite"),
        ({"scl_slope": 2, "scl_inter": np.nan}, "cannot be read|infinite"),
        ({"scl_slope": 3e38, "scl_inter": 3e38}, "not finite numbers"),
        ({"magic": b"ni1"}, "another file"),
        ({"magic": b"bad"}, "Analyze"),
        ({"datatype": 128, "bitpix": 24}, "no real numbers"),
        ({"datatype": 32, "bitpix": 64}, "no real numbers"),
        ({"datatype": 9999}, "cannot be read"),
        ({"xyzt_units": 1}, "metres"),
        ({"qform_code": 1, "quatern_b": 9}, "cannot be read"),
        ({"qform_code": 1, "quatern_b": np.nan}, "cannot be read|impossible affine"),
    ],
)
def test_absurd_headers_are_refused_by_name(plain: Path, fields: dict[str, object], reason: str) -> None:
    changed(plain, qform_code=0, **({} if "qform_code" in fields else {"sform_code": 1}))
    changed(plain, **fields)
    with pytest.raises(FileError, match=reason):
        read_nifti(plain)
    (refused,) = scan(plain).refused or [None]
    if refused is None:
        with pytest.raises(FileError, match=reason):
            open_study(plain).series[0].load()


def test_two_placings_that_disagree_are_named(plain: Path) -> None:
    before = read_nifti(plain)
    data = nibabel.load(plain)
    for shift, refused in ((0.2, False), (0.4, True), (12.0, True)):
        moved = RAS.copy()
        moved[0, 3] += shift
        image = nibabel.Nifti1Image(np.asarray(data.dataobj), RAS)
        image.set_sform(RAS, 1)
        image.set_qform(moved, 1)
        path = plain.with_name("moved_T2w.nii")
        nibabel.save(image, path)
        if refused:
            with pytest.raises(FileError, match=rf"qform and an sform .* {shift:.1f} mm apart.*`fslorient"):
                read_nifti(path)
        else:
            assert same(read_nifti(path), before)
        image.set_qform(moved, 0)
        nibabel.save(image, path)
        assert same(read_nifti(path), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_voxels_that_are_no_numbers_are_counted_and_a_remedy_is_given(tmp_path: Path, value: float, kind: type) -> None:
    array = np.ones((10, 12, 4), kind)
    array[:2, :3] = value
    nibabel.save(nibabel.Nifti1Image(array, RAS), tmp_path / "a_T2w.nii.gz")
    with pytest.raises(FileError, match=r"holds 24 voxels of 480 that are not finite .*fslmaths"):
        read_nifti(tmp_path / "a_T2w.nii.gz")
    with pytest.raises(FileError, match=r"^series 1 .*24 voxels of 480"):
        open_study(tmp_path).series[0].load()


def test_a_header_extension_is_passed_over(plain: Path) -> None:
    image = nibabel.load(plain)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"some words " * 30))
    nibabel.save(image, plain.with_name("extended_T2w.nii"))
    assert same(read_nifti(plain.with_name("extended_T2w.nii")), read_nifti(plain))


@pytest.mark.parametrize("kind", [np.int16, ">i2", np.float64, np.uint8])
@pytest.mark.parametrize("shape", [(10, 12, 4), (700, 900, 3), (4096, 3, 2), (2, 3, 700)])
def test_reading_in_steps_equals_nibabel_reading_at_once(tmp_path: Path, shape: tuple[int, ...], kind: object) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(0, 200, shape).astype(kind)
    image = nibabel.Nifti1Image(array, RAS)
    path = tmp_path / "a_T2w.nii.gz"
    nibabel.save(image, path)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[112:120] = np.array([0.37, -3], image.header.endianness + "f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(gzip.compress(data, 1))
    wanted = nibabel.load(path)
    volume = read_nifti(path)
    index = np.stack([rng.integers(0, side, 200) for side in shape])
    places = np.linalg.inv(volume.affine) @ np.diag([-1, -1, 1, 1]) @ wanted.affine
    found = np.rint(places[:3, :3] @ index + places[:3, 3:]).astype(int)
    np.testing.assert_array_equal(volume.array[tuple(found)], wanted.get_fdata()[tuple(index)].astype(np.float32))


def test_a_stream_that_never_ends_its_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    press = zlib.compressobj(1, wbits=31)
    empty = press.compress(b"") + press.flush()
    path.write_bytes(empty * 100_001)
    with pytest.raises(FileError, match="do not belong to its compression"):
        read_nifti(path)
