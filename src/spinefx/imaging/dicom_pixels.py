"""DICOM pixels: from stored bytes to real values, frame by frame, never larger than the header allows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from spinefx.errors import FileError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.dicom import PARSE_ERRORS, PixelLayout, StoredPixels
from spinefx.imaging.dicom_elements import UNDEFINED, Outline, read_outlined

__all__ = ["read_frames"]

NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
)
# One decoder for each syntax, so that two machines read the same numbers. Lossy syntaxes stay out: a lossy slice is
# no ground for a diagnosis without its reader knowing.
DECODERS = {
    RLELossless: "pydicom",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "gdcm",
    JPEG2000Lossless: "gdcm",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
}
MAX_RATIO = 1000
FREE_BYTES = 2**20


def read_frames(
    reader: MemberReader, member: Member, pixels: StoredPixels, numbers: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Read frames of one file as real values. Call it inside :func:`spinefx.imaging.dicom.lenient_reading`.

    Parameters
    ----------
    reader : MemberReader
    member : Member
        A DICOM image file.
    pixels : StoredPixels
        What its header said of them; the header is not parsed again, only compared.
    numbers : sequence of int
        Frames, from 0.

    Returns
    -------
    list of ndarray of float32, shape (row, column)
        Rescaled by slope and intercept; MONOCHROME1 is inverted first.

    Raises
    ------
    FileError
        When the file changed since it was scanned, or its pixels are cut off or cannot be decoded.
    """
    with reader.open(member) as stream:
        try:
            data = read_outlined(stream, member.size, pixels.outline)
            stored = _stored(data, numbers, pixels.layout, pixels.outline)
            return [
                _real_values(values, pixels.layout, *pixels.scaling[number])
                for values, number in zip(stored, numbers, strict=True)
            ]
        except FileError as error:
            raise FileError(error.found, where=error.where or member.label, allowed=error.allowed) from None


def _stored(data: bytes, numbers: Sequence[int], layout: PixelLayout, found: Outline) -> list[NDArray[Any]]:
    """Read frames as stored numbers, shape (row, column) each."""
    if found.transfer_syntax in NATIVE and found.pixel_length != UNDEFINED:
        return [_native(data, number, layout, found) for number in numbers]
    if found.transfer_syntax not in DECODERS:
        raise FileError(
            "is compressed in a lossy or unknown way", allowed="uncompressed or losslessly compressed pixels"
        )
    stream = io.BytesIO(data)
    stream.seek(found.pixel_offset)
    try:
        # One pass over the fragments: asking for each frame by number would walk them again and again.
        frames = generate_frames(stream, number_of_frames=layout.frames)
        encoded = {number: frame for number, frame in enumerate(frames) if number in numbers}
    except PARSE_ERRORS as error:
        raise FileError(f"has truncated pixels ({type(error).__name__})") from None
    if missing := sorted(set(numbers) - set(encoded)):
        raise FileError(f"has truncated pixels: frame {missing[0] + 1} is missing")
    return [_decoded(encoded[number], layout, found.transfer_syntax) for number in numbers]


def _native(data: bytes, number: int, layout: PixelLayout, found: Outline) -> NDArray[Any]:
    width, pixels = layout.bits_allocated // 8, layout.rows * layout.columns
    kind = np.dtype(f"{'<' if found.little_endian else '>'}{'i' if layout.signed else 'u'}{width}")
    start = found.pixel_offset + number * pixels * width
    if start + pixels * width > len(data):
        raise FileError("has truncated pixels")
    if width == 1 and not found.little_endian and found.pixel_vr == "OW":
        # Big endian writes 8-bit pixels in swapped 16-bit words (PS3.5 section 8.1.2).
        places = np.arange(number * pixels, (number + 1) * pixels) ^ 1
        words = np.frombuffer(data, kind, offset=found.pixel_offset)
        swapped: NDArray[Any] = words[np.minimum(places, len(words) - 1)].reshape(layout.rows, layout.columns)
        return swapped
    return np.frombuffer(data, kind, pixels, start).reshape(layout.rows, layout.columns)


def _decoded(encoded: bytes, layout: PixelLayout, syntax: str) -> NDArray[Any]:
    expected = layout.rows * layout.columns * layout.bits_allocated // 8
    if expected > FREE_BYTES + MAX_RATIO * len(encoded):
        raise FileError("has pixels that inflate beyond measure")
    if syntax != RLELossless and _codestream_shape(encoded) != (layout.rows, layout.columns):
        # The codecs allocate what the stream declares, whatever the header says.
        raise FileError("has compressed pixels of another size than its header declares")
    options: dict[str, Any] = {
        "transfer_syntax_uid": UID(syntax),
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }
    try:
        plugin = DECODERS[UID(syntax)]
        decoder = get_decoder(UID(syntax))
        array: NDArray[Any] = decoder.as_array(
            _encapsulated(encoded), index=0, raw=True, decoding_plugin=plugin, **options
        )[0]
    except PARSE_ERRORS as error:
        raise FileError(f"has pixels that cannot be decoded ({type(error).__name__})") from None
    if array.shape != (layout.rows, layout.columns):
        raise FileError("has compressed pixels of another size than its header declares")
    return array


def _encapsulated(encoded: bytes) -> bytes:
    """Wrap one frame as a basic offset table without entries and one fragment."""
    padded = encoded + b"\0" * (len(encoded) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + len(padded).to_bytes(4, "little") + padded


def _codestream_shape(encoded: bytes) -> tuple[int, int]:
    """Read (rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream declares; (0, 0) where it declares none."""
    if encoded[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC, SIZ with the image's extent and its offset
        width, height, left, top = (int.from_bytes(encoded[at : at + 4], "big") for at in (8, 12, 16, 20))
        return height - top, width - left
    position = 2
    while encoded[:2] == b"\xff\xd8" and position + 9 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}:  # SOF of JPEG, of JPEG-LS
            rows = int.from_bytes(encoded[position + 5 : position + 7], "big")
            return rows, int.from_bytes(encoded[position + 7 : position + 9], "big")
        else:
            position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return 0, 0


def _real_values(stored: NDArray[Any], layout: PixelLayout, slope: float, intercept: float) -> NDArray[np.float32]:
    values = stored.astype(stored.dtype.newbyteorder("="))
    bits = values.dtype.itemsize * 8
    # Bits beside the stored ones may hold an old overlay (PS3.5 section 8.1.1): shifted out, the sign kept.
    values <<= max(0, bits - 1 - layout.high_bit)
    values >>= max(0, bits - layout.bits_stored)
    if not layout.inverted and (slope, intercept) == (1, 0):
        return values.astype(np.float32)
    real = values.astype(np.float64)
    if layout.inverted:
        real = (-1 if layout.signed else 2**layout.bits_stored - 1) - real
    return np.asarray(real * slope + intercept, dtype=np.float32)
