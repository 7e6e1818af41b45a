"""DICOM files, whole, odd, cut off and hostile: equal pixels, or one sentence."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from spinefx.errors import SpinefxError
from spinefx.imaging.study import Series, scan
from spinefx.vocabulary import Weighting

Write = Callable[..., Path]


@pytest.fixture
def one_file(write_study: Write, make_volume: Callable[..., object]) -> Path:
    """The only slice of a written series."""
    return write_study({"t1": {"volume": make_volume(1)}}) / "t1" / "IM0001.dcm"


def only_series(path: Path) -> Series:
    (study,) = scan(path).studies
    (series,) = study.series
    return series


def reason_for(path: Path) -> str:
    found = scan(path)
    assert not found.studies
    (refused,) = found.refused
    return refused.reason


def rewrite(path: Path, syntax: str, *, edit: Callable[[Dataset], None] | None = None) -> None:
    """Write a file again in another transfer syntax."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(">u2").tobytes()
    if edit:
        edit(dataset)
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, pixels)
    clean = Dataset()
    clean.file_meta = dataset.file_meta
    clean.update({element.tag: element for element in dataset})
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    known = syntax in {ExplicitVRBigEndian, ImplicitVRLittleEndian, ExplicitVRLittleEndian}
    kept = {"implicit_vr": implicit, "little_endian": little} if known else {}
    pydicom.dcmwrite(path, clean, **kept)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    ids=lambda uid: uid.name,
)
def test_every_syntax_gives_the_same_pixels(one_file: Path, syntax: str) -> None:
    before = only_series(one_file).load()
    rewrite(one_file, syntax)
    after = only_series(one_file).load()
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_array_equal(after.affine, before.affine)


def test_eight_bit_big_endian_words_are_unswapped(one_file: Path) -> None:
    pixels = (np.arange(120) % 251).astype(np.uint8).reshape(12, 10)

    def edit(dataset: Dataset) -> None:
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset["PixelData"].VR = "OW"
        dataset.PixelData = pixels.reshape(-1, 2)[:, ::-1].tobytes()

    rewrite(one_file, ExplicitVRBigEndian, edit=edit)
    np.testing.assert_array_equal(only_series(one_file).load().array[0], pixels)


def test_signed_pixels_and_foreign_high_bits(one_file: Path) -> None:
    values = np.arange(-60, 60, dtype=np.int16).reshape(12, 10)

    def edit(dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 12, 11
        # An old overlay in the upper four bits must not reach the values.
        dataset.PixelData = ((values & 0x0FFF) | 0x5000).astype("<u2").tobytes()

    rewrite(one_file, ExplicitVRLittleEndian, edit=edit)
    np.testing.assert_array_equal(only_series(one_file).load().array[0], values)


def test_no_preamble_and_no_transfer_syntax_are_read(one_file: Path) -> None:
    before = only_series(one_file).load()
    whole = one_file.read_bytes()
    one_file.write_bytes(whole[132:])
    np.testing.assert_array_equal(only_series(one_file).load().array, before.array)
    start = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
    one_file.write_bytes(whole[start:])
    np.testing.assert_array_equal(only_series(one_file).load().array, before.array)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Rows": 60000}, "Rows 60000"),
        ({"Columns": 0}, "Columns 0"),
        ({"Rows": 4000, "Columns": 4000}, "truncated pixels: 240 of 32000000 bytes"),
        ({"NumberOfFrames": "2147483647"}, "NumberOfFrames 2147483647"),
        ({"NumberOfFrames": "1A"}, "NumberOfFrames unknown"),
        ({"BitsStored": 17}, "do not fit together"),
        ({"BitsAllocated": 12}, "do not fit together"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel 3"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"PixelSpacing": ["0", "0"]}, "impossible PixelSpacing"),
        ({"PixelSpacing": ["-1", "1"]}, "impossible PixelSpacing"),
        ({"ImagePositionPatient": ["1e300", "0", "0"]}, "impossible ImagePositionPatient"),
        ({"ImagePositionPatient": ["NaN", "0", "0"]}, "impossible ImagePositionPatient"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "perpendicular unit vectors"),
        ({"RescaleSlope": "0"}, "RescaleSlope of 0"),
        ({"SOPInstanceUID": ""}, "has no SOPInstanceUID"),
        ({"Modality": "RTPLAN"}, "an RT plan, not an image"),
    ],
)
def test_impossible_headers_are_refused(one_file: Path, values: dict[str, object], reason: str) -> None:
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(one_file)
        for keyword, value in values.items():
            dataset.add_new(keyword, "LO" if keyword == "NumberOfFrames" else dictionary_VR(keyword), value)
        dataset.save_as(one_file)
    told = reason_for(one_file)
    assert reason in told
    assert "\n" not in told


def test_a_deflate_bomb_is_refused_quickly(one_file: Path) -> None:
    whole = one_file.read_bytes()
    start = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    head = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta, enforce_standard=True)
    press = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = press.compress(whole[start:]) + b"".join(press.compress(bytes(2**20)) for _ in range(100)) + press.flush()
    one_file.write_bytes(bytes(128) + b"DICM" + head.getvalue() + body)
    assert reason_for(one_file).startswith("inflates to more than")


def nested(depth: int, *, defined: bool) -> bytes:
    """Sequences in sequences, explicit little endian."""
    data = b""
    for _ in range(depth):
        if defined:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data
            data = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(item)) + item
        else:
            data = (
                b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
                + data
                + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
            )
    return data


@pytest.mark.parametrize("defined", [True, False])
def test_sequences_nest_to_sixty_four_and_no_deeper(one_file: Path, defined: bool) -> None:
    whole = one_file.read_bytes()
    place = whole.index(b"\x08\x00\x90\x10LO")  # before ManufacturerModelName
    one_file.write_bytes(whole[:place] + nested(64, defined=defined) + whole[place:])
    assert only_series(one_file).load().shape == (1, 12, 10)
    for depth in (65, 5000):
        one_file.write_bytes(whole[:place] + nested(depth, defined=defined) + whole[place:])
        assert reason_for(one_file) == "nests sequences deeper than 64"


def test_endless_elements_are_refused(one_file: Path) -> None:
    whole = one_file.read_bytes()
    place = whole.index(b"\x08\x00\x90\x10LO")
    one_file.write_bytes(whole[:place] + b"\x09\x00\x10\x10UN\0\0\0\0\0\0" * 250_000 + whole[place:])
    assert "more than 200000 elements" in reason_for(one_file)


def test_a_compressed_icon_does_not_stop_the_walk(one_file: Path) -> None:
    whole = one_file.read_bytes()
    place = whole.rindex(b"\xe0\x7f\x10\x00")
    fragments = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\x01\x02\x03\x04\xfe\xff\xdd\xe0\0\0\0\0"
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + fragments
    icon = b"\x88\x00\x00\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0" + struct.pack("<I", len(pixels)) + pixels
    one_file.write_bytes(whole[:place] + icon + b"\xfe\xff\xdd\xe0\0\0\0\0" + whole[place:])
    assert only_series(one_file).load().shape == (1, 12, 10)


def test_compressed_pixels_of_another_size_are_refused(shared_data: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_RLE")):
        dataset = pydicom.dcmread(shared_data / "dicom_malformed_small" / f"{name}.dcm")
        dataset.Rows = dataset.Columns = 4000
        path = tmp_path / f"{number}.dcm"
        dataset.save_as(path)
        with pytest.raises(SpinefxError, match=r"another size|beyond measure|cannot be decoded"):
            only_series(path).load()


def test_lossy_pixels_are_refused_by_name(one_file: Path) -> None:
    dataset = pydicom.dcmread(one_file)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(30)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(one_file)
    with pytest.raises(SpinefxError, match="lossy or unknown"):
        only_series(one_file).load()


def survive(path: Path) -> None:
    """Scan and load; only spinefx errors may come out."""
    for study in scan(path).studies:
        for series in study.series:
            with contextlib.suppress(SpinefxError):
                series.load()


def small_files(one_file: Path) -> list[bytes]:
    whole = one_file.read_bytes()
    rewrite(one_file, RLELossless)
    return [whole, one_file.read_bytes()]


def test_truncation_anywhere_never_escapes(one_file: Path, shared_data: Path) -> None:
    real = (shared_data / "dicom_malformed_small" / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    for whole in [*small_files(one_file), real]:
        for offset in np.linspace(0, len(whole) - 1, 60).astype(int):
            one_file.write_bytes(whole[:offset])
            survive(one_file)


def test_flipped_bits_never_escape(one_file: Path, shared_data: Path) -> None:
    rng = np.random.default_rng(20250314)
    folder = shared_data / "dicom_malformed_small"
    real = [(folder / name).read_bytes() for name in ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm")]
    for whole in [*small_files(one_file), *real]:
        for _ in range(200):
            data = bytearray(whole)
            for place in rng.integers(128, len(data), 3):
                data[place] ^= 1 << int(rng.integers(8))
            one_file.write_bytes(data)
            survive(one_file)


def test_real_encodings_decode_to_equal_pixels(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom_transfer_syntaxes").glob("*.dcm"))
    first, *others = [only_series(path).load() for path in files]
    assert len(others) == 8
    assert first.array.max() > 0
    for other in others:
        np.testing.assert_array_equal(other.array, first.array)
        np.testing.assert_allclose(other.affine, first.affine)


def test_real_enhanced_equals_classic(shared_data: Path) -> None:
    folder = shared_data / "dicom_enhanced_vs_classic_sagittal"
    classic, enhanced = only_series(folder / "classic"), only_series(folder / "enhanced")
    np.testing.assert_array_equal(classic.load().array, enhanced.load().array)
    np.testing.assert_allclose(classic.load().affine, enhanced.load().affine, atol=1e-4)
    for each in (classic, enhanced):
        assert (each.repetition_time_ms, each.echo_time_ms, each.number_of_slices) == (1500, 30, 63)
        assert each.gradient_echo
        assert each.fat_suppressed


def test_real_timing_inside_functional_groups_is_found(shared_data: Path) -> None:
    series = only_series(shared_data / "dicom_enhanced_t1w_tse_phantom")
    assert series.repetition_time_ms == pytest.approx(519.5, abs=0.1)
    assert series.echo_time_ms == pytest.approx(23.06, abs=0.01)
    assert series.weighting is Weighting.T1W
    assert series.load().spacing_mm == pytest.approx((5, 1, 1), abs=1e-4)


def test_real_malformed_files_are_read_or_refused(shared_data: Path) -> None:
    found = scan(shared_data / "dicom_malformed_small")
    # Seven encodings of one slice are one image.
    assert [series.number_of_slices for study in found.studies for series in study.series] == [1]
    assert sorted(item.reason for item in found.refused) == [
        "has no SOPInstanceUID",
        "has truncated pixels: 8130 of 8192 bytes",
        "holds no pixels",
        "is a structured report, not an image",
        "is an RT dose, not an image",
        "is neither DICOM nor NIfTI",
        "is truncated inside its header",
    ]
