"""Which weights an ONNX graph keeps in its other file, read from the graph's own encoding.

The package `onnx` would tell, but where models are used it is not installed. Protocol Buffers' encoding is a list of
numbered fields, each a number or some bytes (https://protobuf.dev/programming-guides/encoding/), and few of the fields
of ONNX's schema are needed here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

__all__ = ["StoredFilters", "stored_filters"]

# Fields of onnx.proto: ModelProto, GraphProto, TensorProto, StringStringEntryProto.
GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, EXTERNAL = 1, 2, 8, 13
KEY, VALUE = 1, 2
FLOAT, FLOAT_BYTES = 1, 4
# How a field is written.
NUMBER, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class StoredFilters:
    """The filters of one layer: a tensor of two or more axes, the first over filters.

    Parameters
    ----------
    name : str
    shape : tuple of int
    offset : int
        Of its float32 numbers in the weights' file, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        """Length in the weights' file."""
        return FLOAT_BYTES * math.prod(self.shape)


def stored_filters(graph: bytes) -> tuple[StoredFilters, ...]:
    """List the filters that a graph keeps in its weights' file.

    Parameters
    ----------
    graph : bytes
        An ONNX model.

    Returns
    -------
    tuple of StoredFilters
        In the order of layers; biases and all else of one axis are left out.

    Raises
    ------
    ValueError
        For what is no ONNX model with such filters.
    """
    found = []
    for part in _fields(graph)[GRAPH]:
        for tensor in _fields(_bytes(part))[INITIALIZER]:
            fields = _fields(_bytes(tensor))
            shape = tuple(_number(one) for one in fields[DIMS])
            entries = [_fields(_bytes(one)) for one in fields[EXTERNAL]]
            places = {_bytes(one[KEY][0]): _bytes(one[VALUE][0]) for one in entries if one[KEY] and one[VALUE]}
            if fields[DATA_TYPE] == [FLOAT] and len(shape) > 1 and b"offset" in places and fields[NAME]:
                found.append(StoredFilters(_bytes(fields[NAME][0]).decode(), shape, int(places[b"offset"])))
    if not found:
        raise ValueError("no filters in the weights' file")
    return tuple(found)


def _fields(message: bytes) -> defaultdict[int, list[int | bytes]]:
    """Values of a message by field number, in their order."""
    found: defaultdict[int, list[int | bytes]] = defaultdict(list)
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == NUMBER:
            value, place = _varint(message, place)
            found[tag >> 3].append(value)
            continue
        if kind == COUNTED:
            length, place = _varint(message, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if place + length > len(message):
            raise ValueError("a field that is cut off")
        found[tag >> 3].append(message[place : place + length])
        place += length
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("a number that is cut off")
        value |= (message[place] & 0x7F) << shift
        place += 1
        if message[place - 1] < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are wanted")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number is wanted")
    return value
