"""Check every number of a DICOM header that reading its pixels would trust."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset

from spinefx.errors import FileError
from spinefx.imaging.dicom_elements import UNDEFINED, Outline, check_rest
from spinefx.imaging.dicom_fragments import find_fragments
from spinefx.imaging.dicom_values import read_text, read_texts, read_whole

__all__ = ["MAX_VOXELS", "PixelLayout", "StoredPixels", "lost_in_compression", "read_layout"]

MAX_ROWS = 4096
MAX_FRAMES = 10_000
# Of one series, and so of one file: 512 x 512 x 128. Both series of a pair then fit in 256 MiB as float32.
MAX_VOXELS = 2**25


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the stored pixels of one file are to be read.

    Parameters
    ----------
    rows, columns, frames : int
    bits_allocated, bits_stored, high_bit : int
    signed, inverted : bool
        Inverted: MONOCHROME1, where the lowest value is white.
    """

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    inverted: bool

    @property
    def bytes_uncompressed(self) -> int:
        """Length of all frames, bytes."""
        return self.rows * self.columns * self.frames * self.bits_allocated // 8


@dataclass(frozen=True, eq=False, slots=True)
class StoredPixels:
    """Where the pixels of one file lie and how to scale them; no other part of its header.

    Parameters
    ----------
    layout : PixelLayout
    outline : Outline
        Without values.
    scaling : tuple of (float, float)
        Slope and intercept of each frame.
    """

    layout: PixelLayout
    outline: Outline
    scaling: tuple[tuple[float, float], ...]


def read_layout(dataset: Dataset, found: Outline, stream: BinaryIO) -> PixelLayout:
    """Read how the pixels are stored, and check that the file holds exactly those and nothing unreadable after them.

    Parameters
    ----------
    dataset : pydicom Dataset
    found : Outline
        Of the same file, with pixels.
    stream : binary file
        The file, seekable forwards; no pixel is read.

    Returns
    -------
    PixelLayout

    Raises
    ------
    FileError
        When a number is out of range, numbers contradict one another, or the pixels are longer or shorter than
        declared.
    """
    layout = _numbers(dataset)
    if found.frames and found.frames != layout.frames:  # before pydicom makes a dataset of each
        raise FileError(f"describes {found.frames} frames but declares {layout.frames}")
    if found.inflated:
        stream = io.BytesIO(found.inflated)
    _check_length(layout, found, stream)
    return layout


def lost_in_compression(dataset: Dataset) -> bool:
    """Return whether the header says that the image was compressed with loss at any time before.

    Parameters
    ----------
    dataset : pydicom Dataset

    Returns
    -------
    bool

    Notes
    -----
    DICOM PS3.3 C.7.6.1.1.5: Lossy Image Compression (0028,2110) stays ``01`` when the pixels are later stored without
    loss.
    """
    said = read_text(dataset, "LossyImageCompression")
    return said == "01" or (said != "00" and bool(read_text(dataset, "LossyImageCompressionMethod")))


def _numbers(dataset: Dataset) -> PixelLayout:
    values = {}
    for keyword, least, most in (
        ("Rows", 1, MAX_ROWS),
        ("Columns", 1, MAX_ROWS),
        ("NumberOfFrames", 1, MAX_FRAMES),
        ("BitsAllocated", 8, 32),
        ("BitsStored", 1, 32),
        ("HighBit", 0, 31),
        ("PixelRepresentation", 0, 1),
        ("SamplesPerPixel", 1, 1),
    ):
        value = read_whole(dataset, keyword)
        if not read_texts(dataset, keyword) and keyword in {"NumberOfFrames", "SamplesPerPixel"}:
            value = 1
        if value is None or not least <= value <= most:
            raise FileError(f"has {keyword} {'unknown' if value is None else value}, allowed {least} to {most}")
        values[keyword] = value
    allocated, stored, high = values["BitsAllocated"], values["BitsStored"], values["HighBit"]
    if allocated not in {8, 16, 32} or not stored - 1 <= high < allocated:
        raise FileError(
            f"has BitsAllocated {allocated}, BitsStored {stored} and HighBit {high}, which do not fit together"
        )
    photometric = read_text(dataset, "PhotometricInterpretation")
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise FileError("is a colour image, not greyscale")
    if values["Rows"] * values["Columns"] * values["NumberOfFrames"] > MAX_VOXELS:
        raise FileError(f"declares more than {MAX_VOXELS} pixels")
    return PixelLayout(
        values["Rows"],
        values["Columns"],
        values["NumberOfFrames"],
        allocated,
        stored,
        high,
        values["PixelRepresentation"] == 1,
        photometric == "MONOCHROME1",
    )


def _check_length(layout: PixelLayout, found: Outline, stream: BinaryIO) -> None:
    expected, present = layout.bytes_uncompressed, found.size - found.pixel_offset
    if found.pixel_length == UNDEFINED:
        if found.implicit or not found.little_endian:
            raise FileError("has pixels of undefined length in an encoding that knows none")
        end = find_fragments(stream, found.pixel_offset, found.size).end
    else:
        if min(present, found.pixel_length) < expected:
            raise FileError(f"has truncated pixels: {max(0, min(present, found.pixel_length))} of {expected} bytes")
        # An element has an even length, so that an odd number of bytes is padded by one.
        if found.pixel_length > expected + expected % 2:
            raise FileError(f"has {found.pixel_length} bytes of pixels where its size and depth make {expected}")
        if found.pixel_length > present:
            raise FileError("is cut off inside its pixels")
        end = found.pixel_offset + found.pixel_length
    check_rest(stream, end, found)
