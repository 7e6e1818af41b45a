"""Hand compressed frames to a decoder that runs in a process of its own, so that its death is one file's refusal.

Each process that decodes keeps one decoder: it starts with the first frame, and again after a death. Frames and pixels
travel through pipes, 0.3 ms a slice of 512 x 512.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from io import FileIO
from typing import cast

from spinefx.errors import FileError
from spinefx.imaging import dicom_codec
from spinefx.imaging.dicom_codec import REPLY, REQUEST

__all__ = ["close_decoder", "decode_frame"]

MEMORY_BYTES = 2**30
SECONDS = 30
LONGEST_NAME = 100
# The codecs allocate and free several buffers as large as a slice for each: glibc would take them from the system and
# give them back every time, which is a fifth of the decoding.
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(2**24), "MALLOC_TRIM_THRESHOLD_": str(2**26)}


class _Decoder:
    """A running decoder process."""

    def __init__(self) -> None:
        path = json.dumps(sys.path).encode()
        # The parent's path instead of the site module: the decoder finds the same GDCM, and starts sooner.
        arguments = [dicom_codec.__file__, str(len(path)), str(MEMORY_BYTES), str(SECONDS)]
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=ALLOCATION | os.environ,
        )
        self._requests, self._replies = cast(FileIO, self._child.stdin), cast(FileIO, self._child.stdout)
        self._send(path)

    def ask(self, request: bytes, encoded: bytes, most: int) -> tuple[bool, bytearray]:
        """Send one frame; return whether it was decoded, and its pixels or the error's name."""
        self._send(request)
        self._send(encoded)
        fine, length = REPLY.unpack(self._receive(REPLY.size))
        if length > most:
            raise EOFError
        return fine, self._receive(length)

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        self._child.kill()
        self._child.wait()
        self._replies.close()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._requests.write(view) :]

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            received = self._replies.readinto(view)
            if not received:
                raise EOFError
            view = view[received:]
        return data


class _Running:
    """The decoder of this process, where one is running."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decoder: _Decoder | None = None
        self._of_parents: list[_Decoder] = []

    def close(self) -> None:
        if self.decoder is not None:
            with contextlib.suppress(OSError):
                self.decoder.close()
        self.decoder = None

    def leave_to_parent(self) -> None:
        """Forget the decoder in a fork: two that read from one pipe would take each other's pixels."""
        self.lock = threading.Lock()
        if self.decoder is not None:
            self._of_parents.append(self.decoder)  # kept, so that Popen does not complain of a living process
        self.decoder = None


_running = _Running()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.leave_to_parent)


def decode_frame(
    encoded: bytes, syntax: str, *, rows: int, columns: int, bits_allocated: int, bits_stored: int, signed: bool
) -> bytearray:
    """Decode one compressed frame of one component.

    Parameters
    ----------
    encoded : bytes
        The codestream.
    syntax : str
        Transfer syntax UID that fits the codestream.
    rows, columns : int
        Of the frame.
    bits_allocated : {8, 16, 32}
        Of a decoded pixel.
    bits_stored : int
        Bits of a sample in the codestream.
    signed : bool

    Returns
    -------
    bytearray
        Row by row, in this machine's byte order.

    Raises
    ------
    FileError
        When the frame cannot be decoded, ends the decoder, or takes it too long.
    """
    request = REQUEST.pack(syntax.encode("ascii"), rows, columns, bits_allocated, bits_stored, signed, len(encoded))
    expected = rows * columns * bits_allocated // 8
    with _running.lock:
        if _running.decoder is None:
            try:
                _running.decoder = _Decoder()
            except OSError as error:
                raise FileError(f"cannot be decoded: the decoder did not start ({error.strerror})") from None
        try:
            fine, answer = _running.decoder.ask(request, encoded, max(expected, LONGEST_NAME))
        except BaseException as error:
            _running.close()  # also when interrupted: its next answer would be that to an earlier frame
            if isinstance(error, EOFError | OSError):
                raise FileError("has broken pixels that end the decoder") from None
            raise
    if not fine:
        raise FileError(f"has pixels that cannot be decoded ({answer.decode('ascii', 'replace')})")
    if len(answer) != expected:
        raise FileError("has compressed pixels of another size than its header declares")
    return answer


@atexit.register
def close_decoder() -> None:
    """End the decoder of this process, where one is running; the next frame starts another."""
    with _running.lock:
        _running.close()
