"""The shipped network, computed by ONNX Runtime; torch is not needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spinefx.errors import ModelError
from spinefx.files import digest_of
from spinefx.localisation.decoding import Maps
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.working_grid import WorkingGrid, local_contrast, three_slices

__all__ = [
    "CARD_FILE",
    "GRAPH_FILE",
    "WEIGHTS_FILE",
    "LocaliserModel",
    "compute_maps",
    "load_localiser",
    "shipped_weights",
]

WEIGHTS_FILE, GRAPH_FILE, CARD_FILE = "localiser.safetensors", "localiser.onnx", "localiser.json"
SCHEMA = "spinefx localiser 1"
# The network is 3 MB; a much larger file was not written by this program.
LARGEST_BYTES = 2**23
STRIDE = 32
OFFSET_MM = 10.0
CLASSES = len(TissueClass)


@dataclass(frozen=True, eq=False)
class LocaliserModel:
    """A localiser that is ready to compute.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    card : dict
        The content of ``localiser.json``: what it was taught with, and the digests of its files.
    """

    session: onnxruntime.InferenceSession
    card: dict[str, object]


def shipped_weights() -> Path:
    """Return the folder of the localiser that comes with spinefx."""
    return Path(str(resources.files("spinefx.localisation") / "weights"))


@cache
def load_localiser(folder: Path | None = None) -> LocaliserModel:
    """Load a localiser, after its files have been checked.

    Parameters
    ----------
    folder : Path, optional
        With the three files; by default those that come with spinefx.

    Returns
    -------
    LocaliserModel

    Raises
    ------
    ModelError
        When a file is missing, too large, or not the one that the card names.
    """
    folder = folder or shipped_weights()
    card = json.loads(_read(folder / CARD_FILE).decode("utf-8", "replace"))
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise ModelError("a localiser's card of another kind", where=CARD_FILE, allowed=f"schema {SCHEMA!r}")
    for name in (WEIGHTS_FILE, GRAPH_FILE):
        if digest_of(_read(folder / name)) != card.get("digests", {}).get(name):
            raise ModelError("a localiser whose file is not the one that its card names", where=name, remedy=REINSTALL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(folder / GRAPH_FILE), options, providers=["CPUExecutionProvider"])
    return LocaliserModel(session, card)


REINSTALL = "Install spinefx again, or teach the localiser again."


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError("a localiser's file that is too large", where=path.name, allowed="at most 8 MB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError("a localiser without one of its files", where=path.name, remedy=REINSTALL) from error


def compute_maps(model: LocaliserModel, grid: WorkingGrid) -> Maps:
    """Compute the maps of a stack, slice by slice.

    Parameters
    ----------
    model : LocaliserModel
    grid : WorkingGrid

    Returns
    -------
    Maps
    """
    images = local_contrast(grid.images)
    count, rows, columns = images.shape
    padded = np.pad(images, ((0, 0), (0, -rows % STRIDE), (0, -columns % STRIDE)))
    slices = [_compute(model.session, three_slices(padded, index))[:, :rows, :columns] for index in range(count)]
    probabilities = np.stack([_softmax(one[:CLASSES]) for one in slices], axis=1)
    offsets = np.stack([one[CLASSES : CLASSES + 3] for one in slices], axis=1) * np.float32(OFFSET_MM)
    return Maps(probabilities, offsets, grid.slice_mm)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=0))
    return np.asarray(exponents / exponents.sum(axis=0), np.float32)


def _compute(session: onnxruntime.InferenceSession, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute one slice; the graph takes and gives blocks of 2 x 2 pixels as channels."""
    channels, rows, columns = images.shape
    blocks = images.reshape(channels, rows // 2, 2, columns // 2, 2).transpose(0, 2, 4, 1, 3)
    blocks = np.ascontiguousarray(blocks.reshape(1, 4 * channels, rows // 2, columns // 2))
    maps = session.run(None, {"blocks": blocks})[0][0]
    maps = maps.reshape(-1, 2, 2, rows // 2, columns // 2).transpose(0, 3, 1, 4, 2)
    joined: NDArray[np.float32] = maps.reshape(-1, rows, columns)
    return joined
