"""Decode compressed frames in a process of its own; run as a script by :mod:`spinefx.imaging.dicom_decoding`.

The codecs are written in C and C++, and some broken bytes end the process that decodes them. So this script runs apart:
it imports GDCM and nothing of spinefx, reads requests from its standard input and writes decoded frames to its standard
output. It starts in about 50 ms of CPU time.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

__all__ = ["REPLY", "REQUEST", "serve"]

# Transfer syntax, rows, columns, bits allocated, bits stored, signed, bytes of the frame that follows.
REQUEST = struct.Struct("<64sIIHHHQ")
# Whether it was decoded, bytes of the pixels (or of the error's name) that follow.
REPLY = struct.Struct("<?Q")
HIGH_THROUGHPUT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")


def serve(requests: BinaryIO, replies: BinaryIO, memory_bytes: int, seconds: int) -> None:
    """Decode frame after frame until the other end closes.

    Parameters
    ----------
    requests, replies : binary file
        Unbuffered.
    memory_bytes : int
        Address space that this process may take, where the system can limit that.
    seconds : int
        CPU time that one frame may take; the system then ends this process.
    """
    _limit("RLIMIT_CORE", 0)  # a broken image is no reason to fill a disk
    _limit("RLIMIT_AS", memory_bytes)
    while head := _exactly(requests, REQUEST.size):
        syntax, rows, columns, allocated, stored, signed, length = REQUEST.unpack(head)
        _limit("RLIMIT_CPU", int(sum(os.times()[:2])) + seconds)
        options = {
            "rows": rows,
            "columns": columns,
            "bits_allocated": allocated,
            "bits_stored": stored,
            "pixel_representation": signed,
        }
        uid = syntax.rstrip(b"\0").decode("ascii")
        decode = _decode_by_pydicom if uid in HIGH_THROUGHPUT else _decode_by_gdcm
        try:
            pixels, fine = decode(uid, _exactly(requests, length), options), True
        except Exception as error:  # whatever a codec raises on broken bytes is the answer for this frame
            pixels, fine = type(error).__name__.encode("ascii", "replace")[:100], False
        replies.write(REPLY.pack(fine, len(pixels)) + pixels)


def _decode_by_gdcm(uid: str, encoded: bytes, options: dict[str, int]) -> bytes:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((options["columns"], options["rows"], 1))
    image.SetDataElement(element)
    greyscale = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(greyscale))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(uid)))
    stored = options["bits_stored"]
    image.SetPixelFormat(
        gdcm.PixelFormat(1, options["bits_allocated"], stored, stored - 1, options["pixel_representation"])
    )
    pixels: str = image.GetBuffer()  # SWIG takes C's char* for text
    return pixels.encode("utf-8", "surrogateescape")


def _decode_by_pydicom(uid: str, encoded: bytes, options: dict[str, int]) -> bytes:
    """Decode High-Throughput JPEG 2000 by the plugin of the extra ``htj2k``."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    named: dict[str, Any] = {
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
        "transfer_syntax_uid": UID(uid),
        **options,
    }
    pixels, _ = get_decoder(UID(uid)).as_buffer(encapsulate([encoded]), index=0, decoding_plugin="pylibjpeg", **named)
    return bytes(pixels)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes; none where the other end has closed."""
    data = bytearray()
    while len(data) < size:
        found = stream.read(size - len(data))
        if not found:
            return b""
        data += found
    return bytes(data)


def _limit(name: str, value: int) -> None:
    try:
        import resource
    except ImportError:  # not on every system
        return
    kind = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C reaches the whole group; the parent answers it
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # what the codecs print would mix with the pixels, or reach a terminal
        os.dup2(silence, descriptor)
    questions = os.fdopen(os.dup(0), "rb", buffering=0)
    sys.path[:] = json.loads(questions.read(int(sys.argv[1])))
    serve(questions, answers, int(sys.argv[2]), int(sys.argv[3]))
