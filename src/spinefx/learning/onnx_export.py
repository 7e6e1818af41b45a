"""A trained network as a standard ONNX graph, written only when it answers as torch does.

The graph is written layer by layer, with batch normalisation folded into the convolutions, rather than traced: forty
lines that need no tracer, take milliseconds, and are compared with torch each time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from spinefx import __version__
from spinefx.cases.patch import CHANNELS
from spinefx.errors import ModelError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.learning.classifier import Classifier, software_versions
from spinefx.learning.network import FractureNetwork
from spinefx.learning.onnx_model import DATA_FILE, GRAPH_CARD_FILE, GRAPH_FILE, INPUT, OUTPUT, GraphCard, Scorer

__all__ = ["TOLERANCE", "export_graph", "graph_of"]

# The oldest that has every operator used here in its present form, so that older runtimes read it too.
OPSET, FORMAT = 13, 8
TOLERANCE = 1e-4
CHECKED_INPUTS, CHECK_SEED = 16, 20220124
# Files that are mapped into memory want their tensors on such bounds.
ALIGNMENT = 64


def export_graph(folder: Path) -> GraphCard:
    """Write a model's graph beside its weights, and prove that it answers as they do.

    Parameters
    ----------
    folder : Path
        Of a model; gets ``model.onnx``, ``model.onnx.data`` and, last, ``graph.json``.

    Returns
    -------
    GraphCard

    Raises
    ------
    ModelError
        When the model was altered, or when the graph and torch differ by more than ``TOLERANCE`` on seeded inputs; no
        graph is left then.
    InterruptedWrite
    """
    classifier = Classifier.load(folder)
    assert isinstance(classifier.network, FractureNetwork)
    size = classifier.card.settings.size
    graph, data, filters = graph_of(classifier.network, size)
    (folder / GRAPH_CARD_FILE).unlink(missing_ok=True)
    write_bytes(folder / DATA_FILE, data)
    write_bytes(folder / GRAPH_FILE, graph)
    patches = _seeded_patches(size)
    scorer = Scorer.open(folder, classifier.card, filters)
    ours, torchs = scorer.log_odds(patches), classifier.log_odds(patches)
    probability_error = float(np.abs(scorer.probabilities(patches) - classifier.probabilities(patches)).max())
    log_odds_error = float((np.abs(ours - torchs) / np.maximum(1.0, np.abs(torchs))).max())
    # Written so that what is no number is refused as well.
    if not (probability_error <= TOLERANCE and log_odds_error <= TOLERANCE):
        (folder / GRAPH_FILE).unlink()
        (folder / DATA_FILE).unlink()
        raise ModelError(
            f"the graph differs from torch by {probability_error:.2g} in probability and {log_odds_error:.2g} in "
            "log-odds",
            where=folder.name,
            allowed=f"up to {TOLERANCE:g}",
            remedy="Score with torch (`spinefx predict --engine torch`), and please report it.",
        )
    card = GraphCard(
        model_digest=classifier.digest,
        graph_digest=digest_of(graph),
        data_digest=digest_of(data),
        opset=OPSET,
        software=software_versions() | {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        filters=filters,
        inputs=CHECKED_INPUTS,
        probability_error=probability_error,
        log_odds_error=log_odds_error,
    )
    write_text(folder / GRAPH_CARD_FILE, json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n")
    return card


def graph_of(network: FractureNetwork, size: int) -> tuple[bytes, bytes, dict[str, list[int]]]:
    """Write a network as an ONNX graph.

    Parameters
    ----------
    network : FractureNetwork
    size : int
        Side of its patches in pixels; their number is left open.

    Returns
    -------
    graph : bytes
    data : bytes
        The weights that it names in ``model.onnx.data``.
    filters : dict of str to list of int
        As :class:`GraphCard` has them.
    """
    layers, body = _Layers(), cast(Any, network.body)
    maps = layers.convolution(INPUT, network.mix)
    maps = layers.convolution(maps, body.conv1, body.bn1, relu=True)
    maps = layers.add("MaxPool", [maps], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in (getattr(body, name) for name in ("layer1", "layer2", "layer3", "layer4") if hasattr(body, name)):
        for block in stage if isinstance(stage, nn.Sequential) else [stage]:
            maps = layers.residual(maps, block)
    features = layers.add("Flatten", [layers.add("GlobalAveragePool", [maps])])
    weight, bias = layers.store(_array(body.fc.weight)), layers.store(_array(body.fc.bias))
    column = layers.add("Gemm", [features, weight, bias], transB=1)
    layers.nodes.append(helper.make_node("Reshape", [column, "any_length"], [OUTPUT]))
    graph = helper.make_graph(
        layers.nodes,
        "spinefx",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", len(CHANNELS), size, size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        [*layers.weights, helper.make_tensor("any_length", TensorProto.INT64, [1], [-1])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=FORMAT,
        producer_name="spinefx",
        producer_version=__version__,
    )
    return model.SerializeToString(deterministic=True), bytes(layers.data), layers.filters


def _seeded_patches(size: int) -> NDArray[np.float32]:
    """Random landscapes with edges, normalised as patches are: plain noise makes a network answer always alike."""
    noise = np.random.default_rng(CHECK_SEED).standard_normal((CHECKED_INPUTS, len(CHANNELS), size, size))
    patches = noise + 0.1 * noise.cumsum(axis=2).cumsum(axis=3)
    patches -= patches.mean(axis=(2, 3), keepdims=True)
    patches /= patches.std(axis=(2, 3), keepdims=True)
    return patches.astype(np.float32)


class _Layers:
    """Nodes of a graph and the weights that they name, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.data = bytearray()
        self.filters: dict[str, list[int]] = {}

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node, and give the name of what it computes."""
        name = f"maps_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def store(self, values: NDArray[np.float64]) -> str:
        """Append a tensor to the weights' file, and give its name."""
        self.data += bytes(-len(self.data) % ALIGNMENT)
        content = np.ascontiguousarray(values, np.float32).tobytes()
        tensor = TensorProto(name=f"weights_{len(self.weights)}", data_type=TensorProto.FLOAT, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", DATA_FILE), ("offset", len(self.data)), ("length", len(content))):
            tensor.external_data.add(key=key, value=str(value))
        if values.ndim > 1:
            self.filters[tensor.name] = [len(self.data), *values.shape]
        self.data += content
        self.weights.append(tensor)
        return str(tensor.name)

    def convolution(
        self, maps: str, layer: nn.Conv2d, norm: nn.BatchNorm2d | None = None, *, relu: bool = False
    ) -> str:
        """Add a convolution, the normalisation behind it folded into its weights, in float64."""
        weight = _array(layer.weight)
        bias = np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
            weight = weight * scale[:, None, None, None]
            bias = (bias - _array(norm.running_mean)) * scale + _array(norm.bias)
        maps = self.add(
            "Conv",
            [maps, self.store(weight), self.store(bias)],
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            pads=[int(one) for one in layer.padding] * 2,
        )
        return self.add("Relu", [maps]) if relu else maps

    def residual(self, maps: str, block: Any) -> str:
        """Add a block of two or three convolutions and its shortcut."""
        shortcut = maps if block.downsample is None else self.convolution(maps, *block.downsample)
        pairs = [
            (getattr(block, f"conv{n}"), getattr(block, f"bn{n}")) for n in (1, 2, 3) if hasattr(block, f"conv{n}")
        ]
        for position, (layer, norm) in enumerate(pairs, 1):
            maps = self.convolution(maps, layer, norm, relu=position < len(pairs))
        return self.add("Relu", [self.add("Add", [maps, shortcut])])


def _array(tensor: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = tensor.detach().double().numpy()
    return values
