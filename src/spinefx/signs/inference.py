"""The networks of a signs model, computed by ONNX Runtime: graphs of this package, weights of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from spinefx.cases.patch import PatchStack
from spinefx.errors import ModelError
from spinefx.signs.views import SignViews
from spinefx.vocabulary import SIGN_IDENTIFIERS

__all__ = [
    "COUNTERS",
    "ENCODERS",
    "GRAPHS",
    "MAPS",
    "PATCHES",
    "SEEN_SIGNS",
    "SKIP",
    "STATES",
    "SignNetworks",
    "SignReading",
    "patches_of",
]

SKIP = "skip_lesions"
# Read from the marked vertebra and its surroundings; skip lesions lie in other vertebrae.
SEEN_SIGNS = tuple(sign for sign in SIGN_IDENTIFIERS if sign != SKIP)
STATES = ("normal", "benign", "suspicious")
"""What a vertebra that nobody marked may be."""

GRAPHS = Path(str(resources.files("spinefx.signs") / "graphs"))
ENCODERS = {"signs": len(SEEN_SIGNS), "states": len(STATES)}
PATCHES, MAPS = "patches", "maps"
COUNTERS = "num_batches_tracked"


@dataclass(frozen=True, eq=False)
class SignReading:
    """What the networks see in one marked vertebra.

    Parameters
    ----------
    logits : ndarray of float64, shape (14,)
        Of :data:`SEEN_SIGNS`, not calibrated; the mean of the members.
    body, surroundings : ndarray of float64, shape (slice, sign, row, column)
        Evidence at each position of each view, as a share of the pooled log-odds.
    """

    logits: NDArray[np.float64]
    body: NDArray[np.float64]
    surroundings: NDArray[np.float64]


class SignNetworks:
    """All networks of one model.

    Parameters
    ----------
    weights : mapping of str to ndarray of float32
        ``mild.body.0.weight`` and so on: member, part, tensor.

    Raises
    ------
    ModelError
        When a tensor is missing, unknown, of another shape, or not finite.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.members = tuple(dict.fromkeys(name.split(".")[0] for name in weights if not name.startswith("vertebra.")))
        self._weights = {name: np.array(value) for name, value in weights.items() if not name.endswith(COUNTERS)}
        if not self.members or not all(np.isfinite(value).all() for value in self._weights.values()):
            raise ModelError("weights that are missing or not finite", where="signs model")
        for member in self.members:  # refuse them now rather than at the first case
            _ = [self._session("signs", f"{member}.{part}") for part in ("body", "surroundings")]
            self._sharpness(member, (2, len(SEEN_SIGNS)))

    @cached_property
    def _sessions(self) -> dict[str, onnxruntime.InferenceSession]:
        return {}

    @property
    def reads_other_vertebrae(self) -> bool:
        """Whether the model has a network for the vertebrae that nobody marked."""
        return "vertebra.sharpness" in self._weights

    def read(self, views: SignViews) -> SignReading:
        """Read the signs of one marked vertebra.

        Parameters
        ----------
        views : SignViews

        Returns
        -------
        SignReading

        Raises
        ------
        PatchError
            When a channel holds one grey level only.
        """
        logits: list[NDArray[np.float64]] = []
        maps: dict[str, list[NDArray[np.float64]]] = {"body": [], "surroundings": []}
        patches = {"body": patches_of(views.body), "surroundings": patches_of(views.surroundings)}
        for member in self.members:
            sharpness = self._sharpness(member, (2, len(SEEN_SIGNS)))
            total = np.zeros(len(SEEN_SIGNS))
            for row, part in enumerate(("body", "surroundings")):
                votes = self._run("signs", f"{member}.{part}", patches[part])
                pooled, shares = _pooled(votes, sharpness[row])
                total += pooled
                maps[part].append(shares)
            logits.append(total)
        return SignReading(
            np.mean(logits, axis=0), np.mean(maps["body"], axis=0), np.mean(maps["surroundings"], axis=0)
        )

    def states_of(self, patches: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the state of vertebrae that nobody marked.

        Parameters
        ----------
        patches : ndarray of float32, shape (vertebra, slice, channel, size, size)
            As :func:`spinefx.signs.views.cut_other_vertebrae` cuts them.

        Returns
        -------
        ndarray of float64, shape (vertebra, 3)
            Probabilities of :data:`STATES`.
        """
        sharpness = self._sharpness("vertebra", (1, len(STATES)))[0]
        logits = [_pooled(self._run("states", "vertebra.body", one), sharpness)[0] for one in patches]
        if not logits:
            return np.zeros((0, len(STATES)))
        found = np.array(logits)
        shares = np.exp(found - found.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def _sharpness(self, member: str, shape: tuple[int, int]) -> NDArray[np.float64]:
        found = self._weights.get(f"{member}.sharpness")
        if found is None or found.shape != shape:
            raise ModelError("weights of another network", where="signs model")
        return np.maximum(np.logaddexp(0, found.astype(np.float64)), 1e-3)

    def _run(self, encoder: str, part: str, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        maps: NDArray[np.float32] = self._session(encoder, part).run([MAPS], {PATCHES: patches})[0]
        return maps

    def _session(self, encoder: str, part: str) -> onnxruntime.InferenceSession:
        if part not in self._sessions:
            own = {
                name.removeprefix(f"{part}."): value
                for name, value in self._weights.items()
                if name.startswith(f"{part}.")
            }
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 4
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(one)) for one in own.values()]
            options.add_external_initializers(list(own), values)
            try:
                graph = (GRAPHS / f"{encoder}.onnx").read_bytes()
                session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # ONNX Runtime has many kinds of error for tensors that do not fit
                raise ModelError("weights of another network", where="signs model") from error
            self._sessions[part] = session
        return self._sessions[part]


def patches_of(stack: PatchStack) -> NDArray[np.float32]:
    """Cut every patch of a stack.

    Parameters
    ----------
    stack : PatchStack

    Returns
    -------
    ndarray of float32, shape (slice, channel, size, size)

    Raises
    ------
    PatchError
        When a channel holds one grey level only.
    """
    return np.stack([stack.cut(position).array for position in range(len(stack.slices))])


def _pooled(
    maps: NDArray[np.float32], sharpness: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pool the votes of all slices and positions, and return each vote's part in the result as well."""
    votes = maps.astype(np.float64) * sharpness[:, None, None]
    top = votes.max(axis=(0, 2, 3), keepdims=True)
    weights = np.exp(votes - top)
    total = weights.sum(axis=(0, 2, 3), keepdims=True)
    count = maps.shape[0] * maps.shape[2] * maps.shape[3]
    pooled = (np.log(total / count) + top).ravel() / sharpness
    return pooled, weights / total * maps
