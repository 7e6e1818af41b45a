"""DICOM pixels: from stored bytes to real values, frame by frame, never larger than the header allows."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from spinefx.errors import FileError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.dicom_codestream import HIGH_THROUGHPUT, JPEG, JPEG_2000, JPEG_LS, Codestream, read_codestream
from spinefx.imaging.dicom_decoding import decode_frame
from spinefx.imaging.dicom_elements import UNDEFINED, Outline, read_outlined
from spinefx.imaging.dicom_fragments import find_fragments
from spinefx.imaging.dicom_layout import PixelLayout, StoredPixels

__all__ = ["frame_digests", "read_frames"]

NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
)
# What each compressed transfer syntax may hold. Whether a frame lost anything is read from its codestream: lossy slices
# are no ground for a diagnosis without its reader knowing, so they stay out.
CODINGS = {
    **{f"1.2.840.10008.1.2.4.{number}": JPEG for number in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{number}": JPEG_LS for number in (80, 81)},
    **{f"1.2.840.10008.1.2.4.{number}": JPEG_2000 for number in (90, 91)},
    **{f"1.2.840.10008.1.2.4.{number}": HIGH_THROUGHPUT for number in (201, 202, 203)},
}
# The syntax under which a lossless codestream is decoded, one for each coding, so that two machines read the same
# numbers.
DECODED_AS = {
    JPEG: JPEGLossless,
    JPEG_LS: JPEGLSLossless,
    JPEG_2000: JPEG2000Lossless,
    HIGH_THROUGHPUT: HTJ2KLossless,
}
MAX_RATIO = 1000
FREE_BYTES = 2**20
# Rows are scaled some at a time, so that only a small part of a frame is ever held in double precision.
SCALED_PIXELS = 2**16


def read_frames(
    reader: MemberReader,
    member: Member,
    pixels: StoredPixels,
    numbers: Sequence[int],
    into: Sequence[NDArray[np.float32]] | None = None,
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
    into : sequence of ndarray of float32, shape (row, column), optional
        Where to write each frame; new arrays where it is left out.

    Returns
    -------
    list of ndarray of float32, shape (row, column)
        Rescaled by slope and intercept; MONOCHROME1 is inverted first.

    Raises
    ------
    FileError
        When the file changed since it was scanned, or its pixels are cut off, lossy or cannot be decoded.
    """
    layout = pixels.layout
    if into is None:
        into = [np.empty((layout.rows, layout.columns), np.float32) for _ in numbers]
    with reader.open(member) as stream:
        try:
            data = read_outlined(stream, member.size, pixels.outline)
            frames = _Frames(data, layout, pixels.outline)
            for number, target in zip(numbers, into, strict=True):
                _scale(frames.stored(number), layout, *pixels.scaling[number], target)
        except FileError as error:
            raise FileError(
                error.found, where=error.where or member.label, allowed=error.allowed, remedy=error.remedy
            ) from None
    return list(into)


def frame_digests(reader: MemberReader, member: Member, pixels: StoredPixels) -> tuple[bytes, ...]:
    """Return a digest of the real values of each frame of a file, which is read once and held frame by frame.

    Parameters
    ----------
    reader : MemberReader
    member : Member
    pixels : StoredPixels

    Returns
    -------
    tuple of bytes

    Raises
    ------
    FileError
        As :func:`read_frames`.
    """
    layout = pixels.layout
    target = np.empty((layout.rows, layout.columns), np.float32)
    digests = []
    with reader.open(member) as stream:
        data = read_outlined(stream, member.size, pixels.outline)
    frames = _Frames(data, layout, pixels.outline)
    for number in range(layout.frames):
        _scale(frames.stored(number), layout, *pixels.scaling[number], target)
        digests.append(hashlib.sha256(target.tobytes()).digest())
    return tuple(digests)


class _Frames:
    """The frames of one file as stored numbers, each decoded when it is asked for."""

    def __init__(self, data: bytes, layout: PixelLayout, found: Outline) -> None:
        self._data, self._layout, self._found = data, layout, found
        self._syntax = str(found.transfer_syntax)
        self._places: list[list[tuple[int, int]]] = []
        if (found.pixel_length == UNDEFINED) != (self._syntax not in NATIVE):
            raise FileError("is compressed by its transfer syntax or by its pixels, but not by both")
        if self._syntax in NATIVE:
            return
        if self._syntax != RLELossless and self._syntax not in CODINGS:
            raise FileError(
                "is compressed in a way that is not read", allowed="RLE, JPEG, JPEG-LS or JPEG 2000, without loss"
            )
        fragments = find_fragments(io.BytesIO(data), found.pixel_offset, found.size)
        self._places = fragments.frames(data, layout.frames)

    def stored(self, number: int) -> NDArray[Any]:
        """Return one frame, shape (row, column)."""
        if not self._places:
            return self._native(number)
        encoded = b"".join(self._data[at : at + length] for at, length in self._places[number])
        expected = self._layout.rows * self._layout.columns * self._layout.bits_allocated // 8
        if expected > FREE_BYTES + MAX_RATIO * len(encoded):
            raise FileError("has pixels that inflate beyond measure")
        if self._syntax == RLELossless:
            return _decode_runs(encoded, self._layout)
        return _decode_codestream(encoded, self._layout, CODINGS[self._syntax])

    def _native(self, number: int) -> NDArray[Any]:
        layout, found = self._layout, self._found
        width, pixels = layout.bits_allocated // 8, layout.rows * layout.columns
        kind = np.dtype(f"{'<' if found.little_endian else '>'}{'i' if layout.signed else 'u'}{width}")
        start = found.pixel_offset + number * pixels * width
        if start + pixels * width > len(self._data):
            raise FileError("has truncated pixels")
        if width == 1 and not found.little_endian and found.pixel_vr == "OW":
            # Big endian writes 8-bit pixels in swapped 16-bit words (PS3.5 section 8.1.2).
            places = np.arange(number * pixels, (number + 1) * pixels) ^ 1
            words = np.frombuffer(self._data, kind, offset=found.pixel_offset)
            swapped: NDArray[Any] = words[np.minimum(places, len(words) - 1)].reshape(layout.rows, layout.columns)
            return swapped
        return np.frombuffer(self._data, kind, pixels, start).reshape(layout.rows, layout.columns)


def _decode_codestream(encoded: bytes, layout: PixelLayout, coding: str) -> NDArray[Any]:
    found = read_codestream(encoded)
    _check_codestream(found, layout, coding)
    if coding == HIGH_THROUGHPUT and find_spec("openjpeg") is None:
        raise FileError(f"is {coding}", remedy="Install its decoder: pip install 'spinefx[htj2k]'.")
    # GDCM's samples are as wide as JPEG-LS and JPEG 2000 declare, and as the header does for JPEG.
    bits = (
        layout.bits_allocated if coding == JPEG else 8 if found.precision <= 8 else 16 if found.precision <= 16 else 32
    )
    pixels = decode_frame(
        encoded,
        str(DECODED_AS[coding]),
        rows=layout.rows,
        columns=layout.columns,
        bits_allocated=bits,
        bits_stored=layout.bits_stored if coding == JPEG else found.precision,
        signed=layout.signed,
    )
    kind = np.dtype(f"{'i' if layout.signed else 'u'}{bits // 8}")
    array: NDArray[Any] = np.frombuffer(pixels, kind).reshape(layout.rows, layout.columns)
    if layout.signed and coding != JPEG and found.precision < bits:
        # A codestream of unsigned samples may hold signed ones: the sign is the highest bit of its own depth.
        array = (array << (bits - found.precision)) >> (bits - found.precision)
    return array.astype(np.dtype(f"{kind.kind}{layout.bits_allocated // 8}"), copy=False)


def _check_codestream(found: Codestream, layout: PixelLayout, coding: str) -> None:
    if found.coding != coding:
        raise FileError(f"says that its pixels are {coding}, but they are {found.coding}")
    # The codecs allocate what the stream declares, whatever the header says.
    if (found.rows, found.columns) != (layout.rows, layout.columns):
        raise FileError("has compressed pixels of another size than its header declares")
    if found.components != 1 or not 2 <= found.precision <= layout.bits_allocated:
        raise FileError(
            f"has compressed pixels of {found.components} components and {found.precision} bits where its header "
            f"declares 1 and {layout.bits_allocated}"
        )
    if not found.lossless:
        raise FileError(
            f"was compressed with loss ({found.coding})",
            allowed="uncompressed or losslessly compressed pixels",
            remedy="Export the original images without lossy compression.",
        )


def _decode_runs(encoded: bytes, layout: PixelLayout) -> NDArray[Any]:
    """Decode RLE by pydicom, which does it in Python."""
    # Imported here: only RLE needs it.
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
        "transfer_syntax_uid": RLELossless,
    }
    try:
        array: NDArray[Any] = get_decoder(RLELossless).as_array(
            encapsulate([encoded]), index=0, raw=True, decoding_plugin="pydicom", **options
        )[0]
    except Exception as error:  # whatever it raises on broken bytes, they are broken
        raise FileError(f"has pixels that cannot be decoded ({type(error).__name__})") from None
    if array.shape != (layout.rows, layout.columns):
        raise FileError("has compressed pixels of another size than its header declares")
    return array


def _scale(
    stored: NDArray[Any], layout: PixelLayout, slope: float, intercept: float, target: NDArray[np.float32]
) -> None:
    """Write stored numbers as real values, some rows at a time."""
    step = max(1, SCALED_PIXELS // layout.columns)
    bits = stored.dtype.itemsize * 8
    for first in range(0, layout.rows, step):
        values = stored[first : first + step].astype(stored.dtype.newbyteorder("="))
        # Bits beside the stored ones may hold an old overlay (PS3.5 section 8.1.1): shifted out, the sign kept.
        if layout.bits_stored < bits:
            values <<= bits - 1 - layout.high_bit
            values >>= bits - layout.bits_stored
        if layout.inverted or (slope, intercept) != (1, 0):
            real = values.astype(np.float64)
            if layout.inverted:
                real = (-1 if layout.signed else 2**layout.bits_stored - 1) - real
            values = real * slope + intercept
        with np.errstate(over="ignore"):  # beyond single precision is infinite, which Volume refuses
            target[first : first + step] = values
