"""Find the frames inside encapsulated pixels, without trusting a length or an offset table (DICOM PS3.5 A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from spinefx.errors import FileError

__all__ = ["Fragments", "find_fragments"]

ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
MAX_FRAGMENTS = 100_000
# JPEG's EOI and JPEG 2000's EOC alike; padding may follow.
END_MARKER, END_BYTES = b"\xff\xd9", 10


@dataclass(frozen=True)
class Fragments:
    """Where the fragments of encapsulated pixels lie.

    Parameters
    ----------
    table : tuple of int
        Basic Offset Table: where each frame starts, counted from the first fragment's item; empty where none is given.
    places : tuple of (int, int)
        Offset in the file and length of each fragment, bytes.
    end : int
        Offset behind the sequence delimiter.
    """

    table: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    end: int

    def frames(self, data: bytes, count: int) -> list[list[tuple[int, int]]]:
        """Group the fragments into frames.

        Parameters
        ----------
        data : bytes
            The file.
        count : int
            Frames that the header declares.

        Returns
        -------
        list of list of (int, int)
            Offset and length of each frame's fragments.

        Raises
        ------
        FileError
            When the fragments make another number of frames, or the offset table contradicts them.
        """
        starts = {offset - 8: number for number, (offset, _) in enumerate(self.places)}
        if len(self.table) > 1 or (self.table and count > 1):
            first = self.places[0][0] - 8
            firsts = [starts.get(first + offset, -1) for offset in self.table]
            if len(firsts) != count or firsts[0] != 0 or any(np.diff(firsts) <= 0):
                raise FileError(f"has an offset table that does not fit its {count} frames")
        elif len(self.places) == count:
            firsts = list(range(count))
        else:
            ends = [END_MARKER in data[max(at, at + length - END_BYTES) : at + length] for at, length in self.places]
            if sum(ends) != count or not ends[-1]:
                raise FileError(f"declares {count} frames but holds {len(self.places)} fragments of compressed pixels")
            firsts = [0, *(number + 1 for number, last in enumerate(ends[:-1]) if last)]
        lasts = [*firsts[1:], len(self.places)]
        return [list(self.places[first:last]) for first, last in zip(firsts, lasts, strict=True)]


def find_fragments(stream: BinaryIO, start: int, size: int) -> Fragments:
    """Go through the items of encapsulated pixels.

    Parameters
    ----------
    stream : binary file
        Seekable forwards; only the heads of the items are read.
    start : int
        Where the value of Pixel Data begins.
    size : int
        Bytes of the file.

    Returns
    -------
    Fragments

    Raises
    ------
    FileError
        When the items are cut off, or something else lies between them.
    """
    stream.seek(start)
    table: tuple[int, ...] | None = None
    places: list[tuple[int, int]] = []
    position = start
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise FileError("has truncated pixels: their last item is missing")
        position += 8
        length = int.from_bytes(head[4:], "little")
        if head[:4] == SEQUENCE_END and length == 0 and places:
            return Fragments(table or (), tuple(places), position)
        if head[:4] != ITEM:
            raise FileError("has compressed pixels with something that is no item")
        if position + length > size:
            raise FileError(f"has truncated pixels: {size - position} of {length} bytes of an item")
        if table is None:
            if length % 4 or length > 4 * MAX_FRAGMENTS:
                raise FileError("has an offset table of an impossible length")
            found = stream.read(length)
            table = tuple(int.from_bytes(found[at : at + 4], "little") for at in range(0, length, 4))
        else:
            if len(places) == MAX_FRAGMENTS:
                raise FileError(f"has more than {MAX_FRAGMENTS} fragments of compressed pixels")
            places.append((position, length))
            stream.seek(position + length)
        position += length
