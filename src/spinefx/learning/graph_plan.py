"""What the graph of a model must consist of: its steps in order, and which weights each of its tensors is made of.

A plan binds ``model.onnx`` to ``weights.safetensors`` where neither torch nor onnx is installed. The plans of this
package's networks are in :mod:`spinefx.learning.networks`; the plan of any other network is in the model card, whose
digest covers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.files import canonical_json, digest_of

__all__ = ["ANY_LENGTH", "INPUT", "OUTPUT", "Attribute", "GraphPlan", "GraphStep", "Tensors", "WeightSource"]

# Names of the patches, of their log-odds, and of the shape that the latter get.
INPUT, OUTPUT, ANY_LENGTH = "patches", "log_odds", "any_length"

Attribute = int | float | tuple[int, ...]
Tensors = Mapping[str, NDArray[np.float32]]
# Weights are folded this many at a time, so that intermediate values stay in the processor's cache.
BLOCK = 2**15
# Where each part of a batch normalisation is stored, and its value without trained ones.
NORMALISATION = {"gain": ("weight", 1.0), "shift": ("bias", 0.0), "mean": ("running_mean", 0.0)}
NORMALISATION |= {"variance": ("running_var", 1.0)}


@dataclass(frozen=True)
class GraphStep:
    """One node of a graph.

    Parameters
    ----------
    operator : str
        As ONNX names it.
    inputs : tuple of str
    output : str
    attributes : mapping of str to int, float or tuple of int
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightSource:
    """What one tensor of a graph is made of.

    Parameters
    ----------
    part : {'weight', 'bias', 'gain', 'shift', 'mean', 'variance', 'constant'}
        The first two of a convolution or linear layer, the next four of a batch normalisation.
    layer : str
        Path of the layer, such as ``body.layer1.0.conv1``; empty for a constant.
    norm : str
        Path of the batch normalisation that is folded into a convolution; empty without one.
    epsilon : float
        Of that normalisation.
    value : float
        Of a constant.
    """

    part: str
    layer: str = ""
    norm: str = ""
    epsilon: float = 0.0
    value: float = 0.0

    def shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of the tensor.

        Parameters
        ----------
        tensors : mapping of str to ndarray
            The weights of the model by name.

        Returns
        -------
        tuple of int

        Raises
        ------
        KeyError
            For a layer that the model does not have.
        """
        if self.part == "constant":
            return ()
        if self.part in NORMALISATION:
            return tensors[f"{self.layer}.running_mean"].shape
        shape = tensors[f"{self.layer}.weight"].shape
        return shape if self.part == "weight" else shape[:1]

    def blocks(self, tensors: Tensors) -> Iterator[NDArray[np.float32]]:
        """Compute the values of the tensor in float64, round them to float32, and yield them piece by piece.

        Parameters
        ----------
        tensors : mapping of str to ndarray
            The weights of the model by name.

        Yields
        ------
        ndarray of float32, shape (any,)
            The tensor, flattened in C order, from its first piece to its last; the next piece may take the place of the
            one before. The same weights yield the same bits on every machine, because each operation is rounded as
            IEEE 754 demands.

        Raises
        ------
        KeyError
            For a layer that the model does not have.
        """
        if self.part == "constant":
            yield np.array([self.value], np.float32)
        elif self.part in NORMALISATION:
            yield _normalisation(tensors, self.layer, self.part).astype(np.float32)
        elif self.part == "bias":
            yield self._bias(tensors).astype(np.float32)
        else:
            weight = tensors[f"{self.layer}.weight"]
            rows, scale = weight.reshape(len(weight), -1), self._scale(tensors)
            if scale is None:
                yield np.ascontiguousarray(rows).ravel()
                return
            step = max(1, BLOCK // rows.shape[1])
            exact, rounded = (np.empty((step, rows.shape[1]), kind) for kind in (np.float64, np.float32))
            for first in range(0, len(rows), step):
                some = rows[first : first + step]
                np.multiply(some, scale[first : first + step, None], out=exact[: len(some)])
                rounded[: len(some)] = exact[: len(some)]
                yield rounded[: len(some)].ravel()

    def _bias(self, tensors: Tensors) -> NDArray[np.float64]:
        count = len(tensors[f"{self.layer}.weight"])
        bias = tensors.get(f"{self.layer}.bias", np.zeros(count, np.float32)).astype(np.float64)
        scale = self._scale(tensors)
        if scale is None:
            return bias
        folded: NDArray[np.float64] = (bias - _normalisation(tensors, self.norm, "mean")) * scale
        folded += _normalisation(tensors, self.norm, "shift")
        return folded

    def _scale(self, tensors: Tensors) -> NDArray[np.float64] | None:
        """Return what a normalisation multiplies each filter by; None without a normalisation."""
        if not self.norm:
            return None
        gain, variance = (_normalisation(tensors, self.norm, part) for part in ("gain", "variance"))
        scale: NDArray[np.float64] = gain / np.sqrt(variance + self.epsilon)
        return scale


def _normalisation(tensors: Tensors, norm: str, part: str) -> NDArray[np.float64]:
    name, default = NORMALISATION[part]
    mean = tensors[f"{norm}.running_mean"]
    values: NDArray[np.float64] = tensors.get(f"{norm}.{name}", np.full_like(mean, default)).astype(np.float64)
    return values


@dataclass(frozen=True)
class GraphPlan:
    """What the graph of a network must be.

    Parameters
    ----------
    steps_digest : str
        SHA-256 over every step, with all inputs, outputs and attributes.
    sources : tuple of WeightSource
        What its tensors are made of, in order.
    """

    steps_digest: str
    sources: tuple[WeightSource, ...]

    @classmethod
    def of(cls, steps: Sequence[GraphStep], sources: Sequence[WeightSource]) -> GraphPlan:
        """Make the plan of a graph.

        Parameters
        ----------
        steps : sequence of GraphStep
        sources : sequence of WeightSource

        Returns
        -------
        GraphPlan
        """
        return cls(digest_of(canonical_json([vars(step) for step in steps])), tuple(sources))

    def is_of(self, steps: Sequence[GraphStep]) -> bool:
        """Return whether steps are those of the plan.

        Parameters
        ----------
        steps : sequence of GraphStep

        Returns
        -------
        bool
        """
        return self.of(steps, ()).steps_digest == self.steps_digest

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a model card.

        Returns
        -------
        dict
        """
        return {"steps_digest": self.steps_digest, "sources": [asdict(one) for one in self.sources]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GraphPlan:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        GraphPlan
        """
        return cls(values["steps_digest"], tuple(WeightSource(**one) for one in values["sources"]))
