"""Read what a compressed frame says of itself: its coding, size, depth, and whether the coding lost anything.

The transfer syntax names a family of codings and says little about loss: JPEG 2000 under ``.91`` may be reversible, and
JPEG-LS under ``.80`` may have been written with a tolerance. The markers of the codestream decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinefx.errors import FileError

__all__ = ["HIGH_THROUGHPUT", "JPEG", "JPEG_2000", "JPEG_LS", "Codestream", "read_codestream"]

JPEG, JPEG_LS, JPEG_2000, HIGH_THROUGHPUT = "JPEG", "JPEG-LS", "JPEG 2000", "High-Throughput JPEG 2000"

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
LOSSLESS_HUFFMAN, JPEG_LS_FRAME = 0xC3, 0xF7
# SOF0 to SOF15 and SOF55; C4, C8 and CC are tables and an extension.
FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})

SOC, SIZ, COD, COC, SOT, SOD, EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
REVERSIBLE = 1
PART_15 = 0x4000
MAX_MARKERS = 10_000


@dataclass(frozen=True)
class Codestream:
    """The properties that one compressed frame declares.

    Parameters
    ----------
    coding : {'JPEG', 'JPEG-LS', 'JPEG 2000', 'High-Throughput JPEG 2000'}
    rows, columns, components : int
    precision : int
        Bits of a sample.
    lossless : bool
        Whether the coding itself loses nothing: lossless JPEG without point transform, JPEG-LS without tolerance,
        JPEG 2000 with the reversible 5/3 wavelet in every tile and component.
    """

    coding: str
    rows: int
    columns: int
    components: int
    precision: int
    lossless: bool


def read_codestream(data: bytes) -> Codestream:
    """Read the markers of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Parameters
    ----------
    data : bytes
        One frame, from its first marker to its last; a padding byte may follow.

    Returns
    -------
    Codestream

    Raises
    ------
    FileError
        When the bytes are no such codestream, declare a size in a way that is not allowed, or end before their last
        marker.

    Notes
    -----
    ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
    """
    try:
        if data[:4] == b"\xff\x4f\xff\x51":
            return _read_jpeg_2000(data)
        if data[:2] == b"\xff\xd8":
            return _read_jpeg(data)
    except IndexError:
        raise FileError("has compressed pixels that are cut off inside their header") from None
    raise FileError("has compressed pixels that are neither JPEG, JPEG-LS nor JPEG 2000")


def _read_jpeg(data: bytes) -> Codestream:
    if data.rstrip(b"\0")[-2:] != b"\xff\xd9":
        raise FileError("has compressed pixels that are cut off before their end marker")
    position, frame = 2, None
    for _ in range(MAX_MARKERS):
        if data[position] != 0xFF:
            raise FileError("has compressed pixels with bytes between their markers")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = _number(data, position + 2, 2)
        segment = data[position + 4 : position + 2 + length]
        if length < 2 or len(segment) != length - 2:
            raise FileError("has compressed pixels with a marker of a wrong length")
        if marker in FRAMES:
            if frame is not None:
                raise FileError("has compressed pixels that declare their size twice")
            frame = marker, segment[0], _number(segment, 1, 2), _number(segment, 3, 2), segment[5]
        elif marker == SOS:
            if frame is None:
                raise FileError("has compressed pixels that declare no size")
            break
        position += 2 + length
    else:
        raise FileError("has compressed pixels with markers without end")
    coding, precision, rows, columns, components = frame
    # Of a scan's last three bytes, JPEG writes the point transform into the last, JPEG-LS its tolerance into the first.
    tolerance, transform = segment[-3], segment[-1] & 0x0F
    if coding == JPEG_LS_FRAME:
        return Codestream(JPEG_LS, rows, columns, components, precision, tolerance == 0 and transform == 0)
    lossless = coding == LOSSLESS_HUFFMAN and transform == 0
    return Codestream(JPEG, rows, columns, components, precision, lossless)


def _read_jpeg_2000(data: bytes) -> Codestream:
    capabilities = _number(data, 6, 2)
    right, lower, left, upper = (_number(data, at, 4) for at in (8, 12, 16, 20))
    components, precision = _number(data, 40, 2), (data[42] & 0x7F) + 1
    if left >= right or upper >= lower:
        raise FileError("has compressed pixels that declare an impossible size")
    if components != 1:
        # The markers below number components in one byte or two; images of one component are all that is read.
        return Codestream(JPEG_2000, lower - upper, right - left, components, precision, lossless=False)
    wavelets = _wavelets(data)
    coding = HIGH_THROUGHPUT if capabilities & PART_15 else JPEG_2000
    lossless = bool(wavelets) and wavelets == {REVERSIBLE}
    return Codestream(coding, lower - upper, right - left, components, precision, lossless)


def _wavelets(data: bytes) -> set[int]:
    """Return every wavelet that the main header or a tile's header names, and check that the stream reaches its end."""
    found: set[int] = set()
    position, end_of_part = 2, -1
    for _ in range(MAX_MARKERS):
        marker = _number(data, position, 2)
        if marker == EOC:
            if data[position + 2 :].strip(b"\0"):
                raise FileError("has compressed pixels with bytes behind their end marker")
            return found
        if marker == SOD:
            position = end_of_part if end_of_part >= 0 else data.rindex(b"\xff\xd9")
            continue
        length = _number(data, position + 2, 2)
        if marker >> 8 != 0xFF or length < 2:
            raise FileError("has compressed pixels with bytes between their markers")
        if marker == COD:
            found.add(data[position + 13])
        elif marker == COC:
            found.add(data[position + 10])
        elif marker == SOT:
            part = _number(data, position + 6, 4)
            if 0 < part < 14:
                raise FileError("has compressed pixels with a tile of an impossible length")
            end_of_part = position + part if part else -1
        position += 2 + length
    raise FileError("has compressed pixels with markers without end")


def _number(data: bytes, position: int, size: int) -> int:
    found = data[position : position + size]
    if len(found) < size:
        raise IndexError(position)
    return int.from_bytes(found, "big")
