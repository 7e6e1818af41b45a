"""The weights of a model as NumPy arrays, once they match its card; safetensors itself is needed for training only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.documents import parse_json
from spinefx.errors import ModelError
from spinefx.learning.card import WEIGHTS_FILE

__all__ = ["read_weights"]

COPY_AGAIN = "Copy the whole model folder from its source again."
# ResNet50 takes 94 MB with a header of 40 kB.
MOST_BYTES, MOST_HEADER_BYTES = 2**29, 2**20


def read_weights(folder: Path, digest: str) -> Mapping[str, NDArray[np.float32]]:
    """Map the weights of a model into memory, and check them against its card's digest.

    Parameters
    ----------
    folder : Path
        With ``weights.safetensors``.
    digest : str
        SHA-256 of the file, as the card records it.

    Returns
    -------
    mapping of str to ndarray of float32
        Read only. Counters of other types are left out.

    Raises
    ------
    ModelError
        When the file is missing, is not in the safetensors format, or does not match the card.

    Notes
    -----
    The format is the length of a header (eight bytes, little-endian), the header (JSON: type, shape and place of each
    tensor), and the tensors.
    """
    path = folder / WEIGHTS_FILE
    try:
        if not 8 < path.stat().st_size <= MOST_BYTES:
            raise _not_weights()
        content = np.asarray(np.memmap(path, np.uint8, "r"))
    except OSError as error:
        raise ModelError(f"no readable {WEIGHTS_FILE}", where="model folder", remedy=COPY_AGAIN) from error
    if f"sha256:{hashlib.sha256(content.data).hexdigest()}" != digest:
        raise ModelError(
            "the weights do not match the model card (SHA-256 differs)", where=WEIGHTS_FILE, remedy=COPY_AGAIN
        )
    length = int.from_bytes(content[:8].tobytes(), "little")
    if length > min(MOST_HEADER_BYTES, len(content) - 8):
        raise _not_weights()
    try:
        header = parse_json(content[8 : 8 + length].tobytes().decode(), ModelError, where=WEIGHTS_FILE)
        described = {name: one for name, one in header.items() if name != "__metadata__" and one["dtype"] == "F32"}
        return {name: _tensor(content[8 + length :], one) for name, one in described.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_weights() from error


def _tensor(data: NDArray[np.uint8], described: Mapping[str, Any]) -> NDArray[np.float32]:
    (first, last), shape = described["data_offsets"], described["shape"]
    if not 0 <= first <= last <= len(data) or last - first != 4 * math.prod(shape):
        raise ValueError("a tensor that lies outside its file")
    return data[first:last].view(np.float32).reshape(shape)


def _not_weights() -> ModelError:
    return ModelError("a file that is not in the safetensors format", where=WEIGHTS_FILE, remedy=COPY_AGAIN)
