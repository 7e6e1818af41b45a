"""Compressed pixels: decoded apart, equal to what GDCM gives in this process, and refused by name where they lie."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from spinefx.errors import FileError, SpinefxError
from spinefx.imaging import dicom_decoding
from spinefx.imaging.dicom_codestream import read_codestream
from spinefx.imaging.dicom_decoding import close_decoder, decode_frame
from spinefx.imaging.study import scan

Write = Callable[..., Path]
Encode = Callable[[Path, str], None]
CODINGS = {
    "JPEG": "JPEGLosslessProcess14_1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
}
COD, SOF3, SOF55, SOS = b"\xff\x52", b"\xff\xc3", b"\xff\xf7", b"\xff\xda"


@pytest.fixture
def image(write_study: Write, make_volume: Callable[..., object]) -> Path:
    """One slice of 48 x 40 pixels."""
    return write_study({"t1": {"volume": make_volume(1, 48, 40)}}) / "t1" / "IM0001.dcm"


def load(path: Path) -> np.ndarray:
    (study,) = scan(path).studies
    return study.series[0].load().array


def codestream(path: Path) -> bytes:
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def replace_pixels(path: Path, frames: list[bytes], **changes: object) -> None:
    """Put other codestreams into a file."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    for name, value in changes.items():
        setattr(dataset.file_meta if name == "TransferSyntaxUID" else dataset, name, value)
    dataset.save_as(path)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(("bits", "stored", "signed"), [(8, 8, False), (16, 12, True), (16, 12, False), (16, 16, True)])
def test_decoded_apart_equals_what_pydicom_makes_of_it(
    image: Path, encode: Encode, coding: str, bits: int, stored: int, signed: bool
) -> None:
    rng = np.random.default_rng(7)
    low = -(2 ** (stored - 1)) if signed else 0
    values = rng.integers(low, low + 2**stored, (48, 40)).astype(f"{'i' if signed else 'u'}{bits // 8}")
    dataset = pydicom.dcmread(image)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, stored, stored - 1
    dataset.PixelRepresentation, dataset.PixelData = int(signed), values.tobytes()
    dataset.save_as(image)
    encode(image, CODINGS[coding])
    assert read_codestream(codestream(image)).coding == coding
    np.testing.assert_array_equal(load(image)[0], values)
    np.testing.assert_array_equal(pydicom.dcmread(image).pixel_array, values)


def altered(data: bytes, marker: bytes, place: int, value: int) -> bytes:
    changed = bytearray(data)
    changed[data.index(marker) + place] = value
    return bytes(changed)


@pytest.mark.parametrize(
    ("coding", "marker", "place", "value"),
    [
        ("JPEG 2000", COD, 13, 0),  # the irreversible 9/7 wavelet
        ("JPEG-LS", SOS, 7, 2),  # a tolerance of 2
        ("JPEG", SOS, 9, 1),  # the lowest bit dropped before coding
    ],
)
def test_a_codestream_with_loss_is_refused_whatever_its_transfer_syntax_says(
    image: Path, encode: Encode, coding: str, marker: bytes, place: int, value: int
) -> None:
    encode(image, CODINGS[coding])
    replace_pixels(image, [altered(codestream(image), marker, place, value)])
    with pytest.raises(FileError, match=rf"compressed with loss \({coding}\)"):
        load(image)


def test_reversible_jpeg_2000_is_read_under_the_syntax_that_allows_loss(image: Path, encode: Encode) -> None:
    before = load(image)
    encode(image, CODINGS["JPEG 2000"])
    replace_pixels(image, [codestream(image)], TransferSyntaxUID="1.2.840.10008.1.2.4.91", LossyImageCompression="00")
    np.testing.assert_array_equal(load(image), before)


@pytest.mark.parametrize("syntax", ["", *CODINGS.values()])
def test_loss_at_any_time_before_is_believed_from_the_header(image: Path, encode: Encode, syntax: str) -> None:
    dataset = pydicom.dcmread(image)
    dataset.LossyImageCompression = "01"
    dataset.save_as(image)
    if syntax:
        encode(image, syntax)
    with pytest.raises(SpinefxError, match="compressed with loss"):
        load(image)


def test_a_coding_other_than_the_declared_one_is_refused(image: Path, encode: Encode) -> None:
    encode(image, CODINGS["JPEG-LS"])
    replace_pixels(image, [codestream(image)], TransferSyntaxUID="1.2.840.10008.1.2.4.90")
    with pytest.raises(FileError, match="says that its pixels are JPEG 2000, but they are JPEG-LS"):
        load(image)
    replace_pixels(image, [b"BM" + bytes(100)])
    with pytest.raises(FileError, match="neither JPEG"):
        load(image)
    replace_pixels(image, [codestream(image)], TransferSyntaxUID="1.2.840.10008.1.2.4.100")
    with pytest.raises(FileError, match="in a way that is not read"):
        load(image)


@pytest.mark.skipif(find_spec("openjpeg") is not None, reason="the decoder of High-Throughput JPEG 2000 is installed")
def test_high_throughput_jpeg_2000_names_the_extra_that_reads_it(image: Path, encode: Encode) -> None:
    encode(image, CODINGS["JPEG 2000"])
    whole = altered(codestream(image), b"\xff\x51", 4, 0x40)  # its capabilities name Part 15
    replace_pixels(image, [whole], TransferSyntaxUID="1.2.840.10008.1.2.4.201")
    with pytest.raises(FileError, match=r"pip install 'spinefx\[htj2k\]'"):
        load(image)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_codestream_that_is_cut_off_inside_a_whole_file_is_refused(image: Path, encode: Encode, coding: str) -> None:
    encode(image, CODINGS[coding])
    whole, before = codestream(image).rstrip(b"\0"), load(image)
    for length in np.linspace(2, len(whole) - 1, 40).astype(int):
        replace_pixels(image, [whole[:length]])
        with pytest.raises(FileError):
            load(image)
    replace_pixels(image, [whole])
    np.testing.assert_array_equal(load(image), before)


@pytest.mark.parametrize("coding", CODINGS)
def test_any_change_of_a_codestream_is_decoded_or_refused_by_name(image: Path, encode: Encode, coding: str) -> None:
    encode(image, CODINGS[coding])
    whole, rng = codestream(image), np.random.default_rng(20250314)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 200), 2):
            data[place] = int(rng.integers(256))
        replace_pixels(image, [bytes(data)])
        with contextlib.suppress(SpinefxError):
            assert load(image).shape == (1, 48, 40)


def test_bytes_that_end_the_decoder_are_one_files_refusal(image: Path, encode: Encode) -> None:
    before = load(image)
    encode(image, CODINGS["JPEG"])
    whole = codestream(image)
    # Twenty bits of depth: what is known to end GDCM. Here it is asked past the check of the codestream.
    broken = altered(whole, SOF3, 4, 20)
    options = {"rows": 48, "columns": 40, "bits_allocated": 16, "bits_stored": 16, "signed": False}
    with pytest.raises(FileError, match=r"end the decoder|cannot be decoded"):
        decode_frame(broken, "1.2.840.10008.1.2.4.57", **options)
    pixels = np.frombuffer(decode_frame(whole, "1.2.840.10008.1.2.4.57", **options), np.uint16)
    np.testing.assert_array_equal(pixels.reshape(48, 40), before[0])
    replace_pixels(image, [broken])
    with pytest.raises(FileError, match="20 bits"):
        load(image)


def test_a_dead_decoder_is_replaced_for_the_next_frame(image: Path, encode: Encode) -> None:
    encode(image, CODINGS["JPEG-LS"])
    before = load(image)
    assert dicom_decoding._running.decoder is not None
    os.kill(dicom_decoding._running.decoder._child.pid, signal.SIGKILL)
    with pytest.raises(FileError, match="end the decoder"):
        load(image)
    np.testing.assert_array_equal(load(image), before)
    close_decoder()
    np.testing.assert_array_equal(load(image), before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_starts_a_decoder_of_its_own(image: Path, encode: Encode) -> None:
    encode(image, CODINGS["JPEG-LS"])
    code = (
        "import os, sys; from pathlib import Path; from spinefx.imaging.study import scan\n"
        "def load(): return scan(Path(sys.argv[1])).studies[0].series[0].load().voxel_digest\n"
        "before = load(); child = os.fork()\n"
        "same = all(load() == before for _ in range(20))\n"
        "if not child: os._exit(0 if same else 1)\n"
        "sys.exit(0 if same and os.waitpid(child, 0)[1] == 0 else 1)"
    )
    subprocess.run([sys.executable, "-c", code, str(image)], check=True, timeout=120)


def test_reading_uncompressed_images_starts_no_decoder(image: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from spinefx.imaging import dicom_decoding\n"
        "from spinefx.imaging.study import scan\n"
        "scan(Path(sys.argv[1])).studies[0].series[0].load()\n"
        "sys.exit(dicom_decoding._running.decoder is not None)"
    )
    subprocess.run([sys.executable, "-c", code, str(image)], check=True, timeout=120)


def frames_file(path: Path, frames: list[bytes], table: list[int] | None, **changes: object) -> None:
    """Write fragments behind a basic offset table of one's own."""
    items = b"".join(b"\xfe\xff\x00\xe0" + len(one).to_bytes(4, "little") + one for one in frames)
    offsets = b"".join(offset.to_bytes(4, "little") for offset in table or [])
    head = b"\xfe\xff\x00\xe0" + len(offsets).to_bytes(4, "little") + offsets
    dataset = pydicom.dcmread(path)
    dataset.PixelData = head + items
    dataset["PixelData"].is_undefined_length = True
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_frames_and_fragments_must_agree(image: Path, encode: Encode) -> None:
    before = load(image)
    encode(image, CODINGS["JPEG-LS"])
    one = codestream(image)
    one += b"\0" * (len(one) % 2)
    half = len(one) // 4 * 2
    frames_file(image, [one[:half], one[half:]], None)
    np.testing.assert_array_equal(load(image), before)
    for frames, table in (([one, one], None), ([one, one], [0, 8 + len(one)]), ([one[:half]], None)):
        frames_file(image, frames, table)
        with pytest.raises(FileError, match=r"declares 1 frames but holds 2|does not fit its 1 frames|cut off"):
            load(image)


def test_an_offset_table_that_swaps_frames_is_refused(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_enhanced_t1w_tse_phantom"
    path = tmp_path / "a.dcm"
    path.write_bytes(next(source.glob("*")).read_bytes())
    (study,) = scan(path).studies
    before = study.series[0].load().array
    dataset = pydicom.dcmread(path)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        dataset.save_as(path)
    encoded = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))
    starts = np.cumsum([0, *(8 + len(one) for one in encoded)])[:-1].tolist()
    frames_file(path, encoded, starts)
    np.testing.assert_array_equal(scan(path).studies[0].series[0].load().array, before)
    for wrong in (starts[::-1], starts[:-1], [0] * len(starts), [start + 2 for start in starts]):
        frames_file(path, encoded, wrong)
        with pytest.raises(FileError, match="offset table"):
            scan(path).studies[0].series[0].load()


def test_real_files_that_end_gdcm_are_refused_by_name(shared_data: Path) -> None:
    folder = shared_data / "dicom_hostile"
    if not folder.is_dir():
        pytest.skip("the files that end a decoder (../shared/data/dicom_hostile) are not here")
    for path in sorted(folder.glob("*.dcm")):
        code = (
            "import sys; from pathlib import Path; from spinefx.errors import SpinefxError\n"
            "from spinefx.imaging.study import scan\n"
            "try: scan(Path(sys.argv[1])).studies[0].series[0].load()\n"
            "except SpinefxError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, path.name
        assert re.search(r"file [0-9a-f]{8}: has compressed pixels", done.stdout)
