"""The outline of a DICOM file: where each element lies, found without trusting any declared length.

pydicom recurses into sequences, inflates whole files and trusts declared sizes: 7 kB of nested sequences raise a
RecursionError, and 1 MB of deflated data inflates to 2 GB. This walk is iterative and bounded, and pydicom then parses
only the few elements that are wanted.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import BinaryIO

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from spinefx.errors import FileError

__all__ = ["Outline", "outline", "read_outlined"]

MAX_DEPTH = 64
# An enhanced multi-frame file of 200 frames holds about 60,000 elements.
MAX_ELEMENTS = 200_000
MAX_HEADER_BYTES = 512 * 2**20
MAX_INFLATED_BYTES = 256 * 2**20
MAX_RATIO = 200
FREE_BYTES = 2**20
FIRST_READ_BYTES = 16 * 2**10  # a classic header takes 2 to 10 kB
UNDEFINED = 0xFFFFFFFF

PIXEL_DATA = 0x7FE00010
FLOAT_PIXELS = frozenset({0x7FE00008, 0x7FE00009})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_VRS = frozenset(
    {
        b"AE",
        b"AS",
        b"AT",
        b"CS",
        b"DA",
        b"DS",
        b"DT",
        b"FD",
        b"FL",
        b"IS",
        b"LO",
        b"LT",
        b"PN",
        b"SH",
        b"SL",
        b"SS",
        b"ST",
    }
    | {b"TM", b"UI", b"UL", b"US"}
)


@dataclass(frozen=True)
class Outline:
    """Where the wanted parts of a DICOM file lie.

    Parameters
    ----------
    transfer_syntax : str
        UID, inferred from the bytes where the file states none.
    sop_class : str
        Media Storage SOP Class UID (0002,0002); empty where the file states none.
    implicit, little_endian : bool
        Encoding of the elements.
    wanted : bytes
        The wanted top-level elements, one after another, in that encoding.
    pixel_vr : str
        Value representation of the pixels; empty in implicit encoding.
    pixel_offset, pixel_length : int
        Start and declared length of the value of Pixel Data (7FE0,0010), bytes; -1 without pixels. The length of
        encapsulated pixels is ``0xFFFFFFFF``.
    size : int
        Size of the file after inflating, bytes.
    inflated : bytes
        The whole data set of a deflated file, in which the offsets count; else empty.
    header_digest : bytes
        SHA-256 of everything before the pixels; empty without pixels.
    """

    transfer_syntax: str
    sop_class: str
    implicit: bool
    little_endian: bool
    wanted: bytes
    pixel_vr: str
    pixel_offset: int
    pixel_length: int
    size: int
    inflated: bytes = b""
    header_digest: bytes = b""

    def without_values(self) -> Outline:
        """Return the outline without header values, which may identify a person.

        Returns
        -------
        Outline
        """
        return replace(self, wanted=b"", inflated=b"")


class _ShortError(Exception):
    """The bytes read so far end inside an element; reading more may help."""


@dataclass(frozen=True)
class _Meta:
    """Content of the file meta information, and the start of the data set."""

    transfer_syntax: str
    sop_class: str
    start: int


def outline(stream: BinaryIO, size: int, wanted: AbstractSet[int]) -> Outline:
    """Find the wanted elements and the pixels of a DICOM file.

    Parameters
    ----------
    stream : binary file
        At its start; only as much as the header needs is read.
    size : int
        Size of the file, bytes.
    wanted : set of int
        Tags of top-level elements to keep.

    Returns
    -------
    Outline

    Raises
    ------
    FileError
        When the file is not DICOM, is truncated inside its header, nests sequences deeper than 64 levels, inflates
        beyond the limit, or has an unknown encoding.
    """
    data = stream.read(FIRST_READ_BYTES)
    while True:
        whole = len(data) >= size
        try:
            return _outline(data, size, wanted, stream)
        except _ShortError:
            if whole:
                raise FileError("is truncated inside its header") from None
        if len(data) >= MAX_HEADER_BYTES:
            raise FileError(f"has a header of more than {MAX_HEADER_BYTES // 2**20} MiB")
        more = stream.read(7 * len(data))
        if not more:
            raise FileError("is shorter than the file system states")
        data += more


def read_outlined(stream: BinaryIO, size: int, found: Outline) -> bytes:
    """Read the bytes of a file whose outline is known.

    Parameters
    ----------
    stream : binary file
        At its start.
    size : int
        Size of the file, bytes.
    found : Outline
        Outline of the same file, read earlier.

    Returns
    -------
    bytes
        The file, inflated where it is deflated; the outline's offsets count in it.

    Raises
    ------
    FileError
        When its size or anything before its pixels has changed.
    """
    deflated = found.transfer_syntax == DeflatedExplicitVRLittleEndian
    data = outline(stream, size, frozenset()).inflated if deflated else stream.read()
    if len(data) != found.size or _digest(data, found.pixel_offset) != found.header_digest:
        raise FileError("changed since it was scanned")
    return data


def _digest(data: bytes, end: int) -> bytes:
    return hashlib.sha256(memoryview(data)[:end]).digest() if end >= 0 else b""


def _outline(data: bytes, size: int, wanted: AbstractSet[int], stream: BinaryIO) -> Outline:
    meta = _read_meta(data)
    syntax, start, inflated = meta.transfer_syntax, meta.start, b""
    if syntax == DeflatedExplicitVRLittleEndian:
        data = inflated = _inflate(data[start:] + stream.read(), size)
        start, size = 0, len(inflated)
    implicit, little = _encoding(data, start, syntax)
    if not syntax:
        named = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = str(named)
    kept, vr, offset, length = _walk(data, start, implicit, little, wanted, whole=len(data) >= size)
    digest = _digest(data, offset)
    return Outline(syntax, meta.sop_class, implicit, little, kept, vr, offset, length, size, inflated, digest)


def _read_meta(data: bytes) -> _Meta:
    if not data:
        raise FileError("is empty")
    position = 132 if data[128:132] == b"DICM" else 0
    if position == 0 and data[:4] not in {b"\x02\0\0\0", b"\x02\0\1\0", b"\x02\0\2\0", b"\x02\0\x10\0"}:
        # Without preamble and meta header, a data set starts with group 8, little or big endian.
        if data[:2] in {b"\x08\0", b"\0\x08"} and len(data) >= 8:
            return _Meta("", "", 0)
        raise FileError("is neither DICOM nor NIfTI")
    texts = {0x00020010: "", 0x00020002: ""}
    while data[position : position + 2] == b"\x02\0":
        tag, vr, length, value = _element_at(data, position, implicit=False, little=True)
        if length == UNDEFINED or vr == b"SQ":
            raise FileError("has a malformed file meta header")
        position = value + length
        if position > len(data):
            raise _ShortError
        if tag in texts:
            texts[tag] = data[value:position].decode("ascii", "replace").strip("\0 ")
    return _Meta(texts[0x00020010], texts[0x00020002], position)


def _inflate(data: bytes, size: int) -> bytes:
    cap = min(MAX_INFLATED_BYTES, FREE_BYTES + MAX_RATIO * size)
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, cap + 1)
    except zlib.error:
        raise FileError("cannot be inflated") from None
    if len(inflated) > cap:
        raise FileError(f"inflates to more than {cap // 2**20} MiB")
    return inflated


def _encoding(data: bytes, start: int, syntax: str) -> tuple[bool, bool]:
    """Infer (implicit, little endian) from the transfer syntax, or from the first element where they disagree."""
    if len(data) < start + 8:
        raise _ShortError
    lettered = data[start + 4 : start + 6] in LONG_VRS | SHORT_VRS
    if not syntax:
        return not lettered, not (lettered and data[start] == 0)
    if syntax == ImplicitVRLittleEndian:
        return not lettered, True
    return not lettered, syntax != ExplicitVRBigEndian


def _element_at(data: bytes, position: int, *, implicit: bool, little: bool) -> tuple[int, bytes, int, int]:
    """Read the tag, VR, length and value offset of one element."""
    order = "<" if little else ">"
    try:
        group, element = struct.unpack_from(f"{order}HH", data, position)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            (length,) = struct.unpack_from(f"{order}I", data, position + 4)
            return tag, b"", length, position + 8
        vr = data[position + 4 : position + 6]
        if vr in SHORT_VRS:
            (length,) = struct.unpack_from(f"{order}H", data, position + 6)
            return tag, vr, length, position + 8
        if vr in LONG_VRS:
            (length,) = struct.unpack_from(f"{order}I", data, position + 8)
            return tag, vr, length, position + 12
    except struct.error:
        raise _ShortError from None
    if len(vr) < 2:
        raise _ShortError
    raise FileError("holds an element with an unknown value representation")


def _walk(
    data: bytes, start: int, implicit: bool, little: bool, wanted: AbstractSet[int], *, whole: bool
) -> tuple[bytes, str, int, int]:
    """Walk the elements up to the pixels; return the wanted elements, and VR, offset and length of the pixels."""
    kept: list[bytes] = []
    position, count = start, 0
    while position < len(data):
        tag, vr, length, value = _element_at(data, position, implicit=implicit, little=little)
        if tag == PIXEL_DATA:
            return b"".join(kept), vr.decode(), value, length
        if tag in FLOAT_PIXELS:
            raise FileError("holds floating-point pixels, which are not supported")
        if tag >> 16 == 0xFFFE:
            raise FileError("holds a sequence delimiter outside any sequence")
        end = value + length
        if length == UNDEFINED or vr == b"SQ" or (implicit and _is_sequence(tag)):
            end, count = _skip_sequence(data, value, length, implicit or vr == b"UN", little, _content(vr), count)
        elif end > len(data):
            raise _ShortError
        if tag in wanted:
            kept.append(data[position:end])
        count += 1
        if count > MAX_ELEMENTS:
            raise FileError(f"holds more than {MAX_ELEMENTS} elements")
        position = end
    if not whole:
        raise _ShortError
    return b"".join(kept), "", -1, -1


def _skip_sequence(
    data: bytes, position: int, length: int, implicit: bool, little: bool, holds: str, count: int
) -> tuple[int, int]:
    """Walk a sequence without recursion; return the offset behind it and the number of elements so far."""
    # One entry per level: its end, or -1 where a delimiter closes it; what it holds; whether it is implicit.
    stack = [(-1 if length == UNDEFINED else position + length, holds, implicit)]
    while stack:
        end, holds, implicit = stack[-1]
        if end >= 0 and position >= end:
            if position > end:
                raise FileError("holds a sequence whose items exceed its length")
            stack.pop()
            continue
        tag, vr, length, value = _element_at(data, position, implicit=implicit, little=little)
        count += 1
        if count > MAX_ELEMENTS:
            raise FileError(f"holds more than {MAX_ELEMENTS} elements")
        position = value
        if end < 0 and tag == (ITEM_END if holds == "elements" else SEQUENCE_END):
            stack.pop()
        elif holds != "elements" and tag != ITEM:
            raise FileError("holds a sequence with an element that is not an item")
        elif holds == "items":
            stack.append((-1 if length == UNDEFINED else value + length, "elements", implicit))
        elif holds == "fragments":
            position = value + length
        elif tag >> 16 == 0xFFFE:
            raise FileError("holds an item with a stray delimiter")
        elif length == UNDEFINED or vr == b"SQ" or (implicit and _is_sequence(tag)):
            stack.append((-1 if length == UNDEFINED else value + length, _content(vr), implicit or vr == b"UN"))
        else:
            position = value + length
        if position > len(data):
            raise _ShortError
        if len(stack) > 2 * MAX_DEPTH:
            raise FileError(f"nests sequences deeper than {MAX_DEPTH}")
    return position, count


def _content(vr: bytes) -> str:
    """Return what an element of undefined length holds: compressed icons hold fragments, other elements items."""
    return "fragments" if vr in {b"OB", b"OW"} else "items"


def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
