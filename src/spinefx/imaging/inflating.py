"""Read a file from front to back, inflated where gzip compressed it, and never further than asked."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from spinefx.errors import FileError
from spinefx.imaging.archive import Member

__all__ = ["GZIP_FORMAT", "GZIP_MAGIC", "Content"]

GZIP_MAGIC = b"\x1f\x8b"
GZIP_FORMAT = 31
STEP_BYTES = 2**17
# bgzip writes a gzip member for each 64 KiB.
MAX_GZIP_MEMBERS = 100_000


class Content:
    """The bytes of a file, whatever its name says of their compression.

    Parameters
    ----------
    stream : binary file
        At its start; seekable.
    member : Member
        Names the file in errors.
    """

    def __init__(self, stream: BinaryIO, member: Member) -> None:
        self._stream, self._member = stream, member
        self.is_compressed = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        self._inflater = zlib.decompressobj(GZIP_FORMAT)
        self._pending, self._members = b"", 1

    def read(self, size: int) -> bytes:
        """Read bytes; a gzip bomb is never inflated further than that.

        Parameters
        ----------
        size : int

        Returns
        -------
        bytes
            Fewer only where the content ends.

        Raises
        ------
        FileError
            When the compression is broken, cut off, or does not fit its checksum.
        """
        if not self.is_compressed:
            return self._stream.read(size)
        parts, missing = [], size
        while missing > 0 and not self._at_end():
            pending = self._pending or self._inflater.unconsumed_tail or self._stream.read(STEP_BYTES)
            self._pending = b""
            if not pending:
                raise FileError("is cut off inside its compression", where=self._member.label)
            try:
                parts.append(self._inflater.decompress(pending, missing))
            except zlib.error:  # also where the checksum or the length at a member's end does not fit
                raise FileError("is broken inside its compression", where=self._member.label) from None
            missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """Check that nothing follows what was read, and that the checksum of all of it fits.

        Raises
        ------
        FileError
        """
        if self.read(1):
            raise FileError("holds more bytes than its header declares", where=self._member.label)

    def _at_end(self) -> bool:
        """Return whether the last gzip member ended; go on to the next one where there is one."""
        if not self._inflater.eof:
            return False
        rest = self._inflater.unused_data
        while not rest.strip(b"\0"):  # zeros behind the end are padding
            rest = self._stream.read(STEP_BYTES)
            if not rest:
                return True
        rest = rest.lstrip(b"\0")
        rest += self._stream.read(2) if len(rest) < 2 else b""
        self._members += 1
        if rest[:2] != GZIP_MAGIC or self._members > MAX_GZIP_MEMBERS:
            raise FileError("is followed by bytes that do not belong to its compression", where=self._member.label)
        self._inflater, self._pending = zlib.decompressobj(GZIP_FORMAT), rest
        return False
