"""The outline of a DICOM file: where each element lies, found without trusting any declared length.

pydicom recurses into sequences, inflates whole files and trusts declared sizes: 7 kB of nested sequences raise a
RecursionError, and 1 MB of deflated data inflates to 2 GB. This walk is iterative and bounded, and pydicom then parses
only the few elements that are wanted.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from spinefx.errors import FileError

__all__ = ["UNDEFINED", "NoDicomError", "Outline", "check_rest", "outline", "read_outlined"]

MAX_DEPTH = 64
# An enhanced multi-frame file of 200 frames holds about 60,000 elements.
MAX_ELEMENTS = 200_000
# Of a sequence that pydicom reads: it makes a dataset of each, which takes it 0.1 ms.
MAX_ITEMS = 1000
MAX_HEADER_BYTES = 48 * 2**20
# Of one element that is read as a value.
MAX_VALUE_BYTES = 2**16
MAX_INFLATED_BYTES = 96 * 2**20
STEP_BYTES = 2**17
MAX_RATIO = 200
FREE_BYTES = 2**20
MAX_REST_BYTES = 16 * 2**20
FIRST_READ_BYTES = 16 * 2**10  # a classic header takes 2 to 10 kB
UNDEFINED = 0xFFFFFFFF

PIXEL_DATA = 0x7FE00010
DIRECTORY_RECORDS, PER_FRAME_GROUPS, CHARACTER_SET = 0x00041220, 0x52009230, 0x00080005
LONG_SEQUENCES = frozenset({DIRECTORY_RECORDS, PER_FRAME_GROUPS})
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


# Group, element, value representation and length of an element, and a long length.
LITTLE, BIG = (struct.Struct(f"{order}HH2sH").unpack_from for order in "<>")
LITTLE_LENGTH, BIG_LENGTH = (struct.Struct(f"{order}I").unpack_from for order in "<>")


@dataclass(frozen=True, slots=True)
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
    plain : mapping of int to (bytes, bytes)
        Value representation and value of the wanted top-level elements, by tag, but of sequences.
    sequences : bytes
        The wanted sequences, one after another, and in front of them the character set that they are written in.
    pixel_vr : str
        Value representation of the pixels; empty in implicit encoding.
    pixel_offset, pixel_length : int
        Start and declared length of the value of Pixel Data (7FE0,0010), bytes; -1 without pixels. The length of
        encapsulated pixels is ``0xFFFFFFFF``.
    size : int
        Size of the file after inflating, bytes.
    frames : int
        Items of the Per-Frame Functional Groups Sequence; 0 where there is none.
    inflated : bytes
        The whole data set of a deflated file, in which the offsets count; else empty.
    header_digest : bytes
        SHA-256 of everything before the pixels; empty without pixels.
    """

    transfer_syntax: str
    sop_class: str
    implicit: bool
    little_endian: bool
    plain: Mapping[int, tuple[bytes, bytes]]
    sequences: bytes
    pixel_vr: str
    pixel_offset: int
    pixel_length: int
    size: int
    frames: int
    inflated: bytes = b""
    header_digest: bytes = b""

    def without_values(self) -> Outline:
        """Return the outline without header values, which may identify a person.

        Returns
        -------
        Outline
        """
        return replace(self, plain={}, sequences=b"", inflated=b"")


class NoDicomError(FileError):
    """A file that does not start as DICOM; it may be something else."""


class _ShortError(Exception):
    """The bytes read so far end inside an element; reading more may help."""


@dataclass(frozen=True)
class _Meta:
    """Content of the file meta information, and the start of the data set."""

    transfer_syntax: str
    sop_class: str
    start: int


@dataclass(slots=True)
class _Level:
    """A sequence or an item that is open while a header is walked.

    It ends at ``end``, or where a delimiter closes it (-1), and holds items, fragments or elements.
    """

    end: int
    holds: str
    implicit: bool
    items: int = 0


@dataclass
class _Walked:
    """The wanted elements by their tags, and where the pixels are."""

    plain: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    sequences: dict[int, bytes] = field(default_factory=dict)
    pixel_vr: str = ""
    pixel_offset: int = -1
    pixel_length: int = -1
    frames: int = 0


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
    data = outline(stream, size, frozenset()).inflated if deflated else stream.read(size + 1)
    if len(data) != found.size or _digest(data, found.pixel_offset) != found.header_digest:
        raise FileError("changed since it was scanned")
    return data


def check_rest(stream: BinaryIO, position: int, found: Outline) -> None:
    """Check that whatever follows the pixels of a file is a run of DICOM elements in order.

    Parameters
    ----------
    stream : binary file
        The file, or the data set where it was deflated; seekable forwards.
    position : int
        Where the pixels end.
    found : Outline

    Raises
    ------
    FileError
        When it is not, so that the length of the pixels cannot be believed.
    """
    rest = found.size - position
    if rest <= 0:
        return
    if rest > MAX_REST_BYTES:
        raise FileError(f"has {rest} bytes behind its pixels", allowed=f"up to {MAX_REST_BYTES}")
    stream.seek(position)
    data = stream.read(rest)
    place, last, count, implicit, little = 0, PIXEL_DATA, 0, found.implicit, found.little_endian
    try:
        while place < len(data):
            tag, vr, length, value = _element_at(data, place, implicit=implicit, little=little)
            if tag <= last:
                raise FileError("has elements behind its pixels that are out of order")
            place, last, count = value + length, tag, count + 1
            if count > MAX_ELEMENTS:
                raise FileError(f"holds more than {MAX_ELEMENTS} elements")
            if length == UNDEFINED or vr == b"SQ" or (implicit and _is_sequence(tag)):
                place, count, _ = _skip_sequence(data, value, length, (implicit, little), vr, count, wanted=False)
            if place > len(data):
                raise _ShortError
    except _ShortError:
        raise FileError("is cut off behind its pixels, or holds bytes there that are no DICOM") from None


def _digest(data: bytes, end: int) -> bytes:
    return hashlib.sha256(memoryview(data)[:end]).digest() if end >= 0 else b""


def _outline(data: bytes, size: int, wanted: AbstractSet[int], stream: BinaryIO) -> Outline:
    meta = _read_meta(data)
    syntax, start, inflated = meta.transfer_syntax, meta.start, b""
    if syntax == DeflatedExplicitVRLittleEndian:
        data = inflated = _inflate(data[start:], stream, size)
        start, size = 0, len(inflated)
    implicit, little = _encoding(data, start, syntax)
    if not syntax:
        named = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = str(named)
    walked = _walk(data, start, implicit, little, wanted, whole=len(data) >= size)
    return Outline(
        transfer_syntax=syntax,
        sop_class=meta.sop_class,
        implicit=implicit,
        little_endian=little,
        plain=walked.plain,
        sequences=b"".join(walked.sequences.values()) if walked.sequences.keys() - {CHARACTER_SET} else b"",
        pixel_vr=walked.pixel_vr,
        pixel_offset=walked.pixel_offset,
        pixel_length=walked.pixel_length,
        size=size,
        frames=walked.frames,
        inflated=inflated,
        header_digest=_digest(data, walked.pixel_offset),
    )


def _read_meta(data: bytes) -> _Meta:
    if not data:
        raise FileError("is empty")
    position = 132 if data[128:132] == b"DICM" else 0
    if position == 0 and data[:4] not in {b"\x02\0\0\0", b"\x02\0\1\0", b"\x02\0\2\0", b"\x02\0\x10\0"}:
        # Without preamble and meta header, a data set starts with group 8, little or big endian.
        if data[:2] in {b"\x08\0", b"\0\x08"} and len(data) >= 8:
            return _Meta("", "", 0)
        raise NoDicomError("is neither DICOM nor NIfTI")
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


def _inflate(data: bytes, stream: BinaryIO, size: int) -> bytes:
    """Inflate a deflated data set (PS3.5 section A.5) step by step, to its end and no further."""
    cap = min(MAX_INFLATED_BYTES, FREE_BYTES + MAX_RATIO * size)
    inflater, parts, total = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    pending = data or stream.read(STEP_BYTES)
    while pending and not inflater.eof:
        try:
            parts.append(inflater.decompress(pending, cap + 1 - total))
        except zlib.error:
            raise FileError("cannot be inflated") from None
        total += len(parts[-1])
        if total > cap:
            raise FileError(f"inflates to more than {cap // 2**20} MiB")
        pending = inflater.unconsumed_tail or stream.read(STEP_BYTES)
    if not inflater.eof:
        raise FileError("is cut off inside its compression")
    # A data set has an even length, so that an odd number of bytes is padded by one.
    if inflater.unused_data + pending not in {b"", b"\0"}:
        raise FileError("is followed by bytes that do not belong to its compression")
    return b"".join(parts)


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
    # This runs for every element of every file: one call unpacks what most elements need.
    try:
        group, element, vr, length = (LITTLE if little else BIG)(data, position)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            (length,) = (LITTLE_LENGTH if little else BIG_LENGTH)(data, position + 4)
            return tag, b"", length, position + 8
        if vr in SHORT_VRS:
            return tag, vr, length, position + 8
        if vr in LONG_VRS:
            (length,) = (LITTLE_LENGTH if little else BIG_LENGTH)(data, position + 8)
            return tag, vr, length, position + 12
    except struct.error:
        raise _ShortError from None
    raise FileError("holds an element with an unknown value representation")


def _walk(data: bytes, start: int, implicit: bool, little: bool, wanted: AbstractSet[int], *, whole: bool) -> _Walked:
    """Walk the elements up to the pixels."""
    found = _Walked()
    position, count = start, 0
    while position < len(data):
        tag, vr, length, value = _element_at(data, position, implicit=implicit, little=little)
        if tag == PIXEL_DATA:
            found.pixel_vr, found.pixel_offset, found.pixel_length = vr.decode(), value, length
            return found
        if tag in FLOAT_PIXELS:
            raise FileError("holds floating-point pixels, which are not supported")
        if tag >> 16 == 0xFFFE:
            raise FileError("holds a sequence delimiter outside any sequence")
        end, keep = value + length, tag in wanted
        if keep and (tag in found.plain or tag in found.sequences):
            raise FileError("holds an element twice in its header")
        if length == UNDEFINED or vr == b"SQ" or (implicit and _is_sequence(tag)):
            end, count, items = _skip_sequence(data, value, length, (implicit, little), vr, count, wanted=keep)
            if keep:
                found.sequences[tag] = data[position:end]
            if keep and items > MAX_ITEMS and tag not in LONG_SEQUENCES:
                raise FileError(f"holds a sequence of more than {MAX_ITEMS} items")
            found.frames = items if tag == PER_FRAME_GROUPS else found.frames
        elif end > len(data):
            raise _ShortError
        elif keep and length > MAX_VALUE_BYTES:
            raise FileError(f"holds a value of {length} bytes in its header", allowed=f"up to {MAX_VALUE_BYTES}")
        elif keep:
            found.plain[tag] = vr, data[value:end]
            if tag == CHARACTER_SET:
                found.sequences[tag] = data[position:end]
        count += 1
        if count > MAX_ELEMENTS:
            raise FileError(f"holds more than {MAX_ELEMENTS} elements")
        position = end
    if not whole:
        raise _ShortError
    return found


def _skip_sequence(
    data: bytes, start: int, length: int, encoding: tuple[bool, bool], vr: bytes, count: int, *, wanted: bool
) -> tuple[int, int, int]:
    """Walk a sequence without recursion; return the offset behind it, the elements so far, and its own items."""
    implicit, little = encoding
    whole = _Level(_end(start, length), _content(vr), implicit or vr == b"UN")
    stack, position = [whole], start
    while stack:
        level = stack[-1]
        end, holds, implicit = level.end, level.holds, level.implicit
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
            level.items += 1
            if wanted and level.items > MAX_ITEMS and level is not whole:
                raise FileError(f"holds a sequence of more than {MAX_ITEMS} items")
            stack.append(_Level(_end(value, length), "elements", implicit))
        elif holds == "fragments":
            position = value + length
        elif tag >> 16 == 0xFFFE:
            raise FileError("holds an item with a stray delimiter")
        elif length == UNDEFINED or vr == b"SQ" or (implicit and _is_sequence(tag)):
            stack.append(_Level(_end(value, length), _content(vr), implicit or vr == b"UN"))
        else:
            position = value + length
        if position > len(data):
            raise _ShortError
        if len(stack) > 2 * MAX_DEPTH:
            raise FileError(f"nests sequences deeper than {MAX_DEPTH}")
    return position, count, whole.items


def _end(start: int, length: int) -> int:
    return -1 if length == UNDEFINED else start + length


def _content(vr: bytes) -> str:
    """Return what an element of undefined length holds: compressed icons hold fragments, other elements items."""
    return "fragments" if vr in {b"OB", b"OW"} else "items"


def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
