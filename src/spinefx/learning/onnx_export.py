"""A trained network as a standard ONNX graph, kept only if it predicts as torch does.

:mod:`torch.fx` lists what a network does, layer by layer, and :mod:`spinefx.learning.onnx_layers` writes each step,
with batch normalisation folded into the convolutions. That takes milliseconds, needs no exporter, serves every network
that is made of the layers listed there, and is compared with torch each time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from spinefx import __version__
from spinefx.errors import ModelError
from spinefx.files import digest_of, write_bytes, write_text
from spinefx.learning.classifier import Classifier, software_versions
from spinefx.learning.graph_plan import ANY_LENGTH, INPUT, OUTPUT, GraphStep, Tensors, WeightSource
from spinefx.learning.network import FractureNetwork
from spinefx.learning.networks import Network
from spinefx.learning.onnx_layers import layers_of
from spinefx.learning.onnx_model import GRAPH_CARD_FILE, GraphCard, Scorer
from spinefx.learning.onnx_reading import DATA_FILE, FORMAT, GRAPH_FILE, OPSET

__all__ = ["TOLERANCE", "export_graph", "graph_of", "node_of", "stored_weights"]

# Files that are mapped into memory want their tensors on such bounds.
ALIGNMENT = 64
TOLERANCE = 1e-4
CHECKED_INPUTS, CHECK_SEED = 16, 20220124


def export_graph(folder: Path, network: Network | None = None) -> GraphCard:
    """Write a model's graph beside its weights, and verify that it predicts as torch does.

    Parameters
    ----------
    folder : Path
        Of a model; receives ``model.onnx``, ``model.onnx.data`` and, last, ``graph.json``.
    network : Network, optional
        The network that the model's recipe names, where it is not one of this package.

    Returns
    -------
    GraphCard

    Raises
    ------
    ModelError
        When the model was altered, when a layer of its network cannot be written, or when the graph and torch differ
        by more than ``TOLERANCE`` on seeded inputs; no graph is left then.
    InterruptedWrite
    """
    classifier = Classifier.load(folder, network)
    channels, size = len(classifier.card.settings.channels), classifier.card.settings.size
    graph, data, filters = graph_of(classifier.network, size)
    (folder / GRAPH_CARD_FILE).unlink(missing_ok=True)
    write_bytes(folder / DATA_FILE, data)
    write_bytes(folder / GRAPH_FILE, graph)
    patches = _seeded_patches(channels, size)
    scorer = Scorer.open(folder, classifier.card, filters)
    ours, torchs = scorer.log_odds(patches), classifier.log_odds(patches)
    probability_error = float(np.abs(scorer.probabilities(patches) - classifier.probabilities(patches)).max())
    log_odds_error = float((np.abs(ours - torchs) / np.maximum(1.0, np.abs(torchs))).max())
    # Written so that NaN is refused as well.
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

    Raises
    ------
    ModelError
        For a network with a layer that cannot be written, naming the layer.
    """
    layers = layers_of(network)
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    weights, data, filters = stored_weights(layers.sources, state)
    channels = network.mix.in_channels
    graph = helper.make_graph(
        [node_of(step) for step in layers.steps],
        "spinefx",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", channels, size, size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        [*weights, helper.make_tensor(ANY_LENGTH, TensorProto.INT64, [1], [-1])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=FORMAT,
        producer_name="spinefx",
        producer_version=__version__,
    )
    return model.SerializeToString(deterministic=True), data, filters


def node_of(step: GraphStep) -> onnx.NodeProto:
    """Write a step as a node.

    Parameters
    ----------
    step : GraphStep

    Returns
    -------
    onnx.NodeProto
    """
    attributes: dict[str, Any] = dict(step.attributes)
    return helper.make_node(step.operator, step.inputs, [step.output], **attributes)


def stored_weights(
    sources: Sequence[WeightSource], tensors: Tensors
) -> tuple[list[TensorProto], bytes, dict[str, list[int]]]:
    """Write the tensors of a graph for the file beside it.

    Parameters
    ----------
    sources : sequence of WeightSource
    tensors : mapping of str to ndarray
        The weights of the network by name.

    Returns
    -------
    tensors : list of onnx.TensorProto
    data : bytes
    filters : dict of str to list of int
        As :class:`GraphCard` has them.
    """
    stored, data, filters = [], bytearray(), {}
    for place, source in enumerate(sources):
        data += bytes(-len(data) % ALIGNMENT)
        offset, shape = len(data), source.shape(tensors)
        for block in source.blocks(tensors):
            data += block.tobytes()
        tensor = TensorProto(name=f"weights_{place}", data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", DATA_FILE), ("offset", offset), ("length", len(data) - offset)):
            tensor.external_data.add(key=key, value=str(value))
        if len(shape) > 1:
            filters[tensor.name] = [offset, *shape]
        stored.append(tensor)
    return stored, bytes(data), filters


def _seeded_patches(channels: int, size: int) -> NDArray[np.float32]:
    """Make normalised landscapes with edges; on plain noise a network always predicts the same."""
    noise = np.random.default_rng(CHECK_SEED).standard_normal((CHECKED_INPUTS, channels, size, size))
    patches = noise + 0.1 * noise.cumsum(axis=2).cumsum(axis=3)
    patches -= patches.mean(axis=(2, 3), keepdims=True)
    patches /= patches.std(axis=(2, 3), keepdims=True)
    return patches.astype(np.float32)
