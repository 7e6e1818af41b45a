"""The localiser's network as an ONNX graph whose weights stay in the safetensors file beside it.

ONNX Runtime reads external weights at any offset of any file, so the weights exist once: what is trained on is what is
computed with. The graph works on blocks of 2 x 2 pixels; :mod:`spinefx.localisation.inference` cuts and joins them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from spinefx.localisation.network import LocaliserNetwork

__all__ = ["BLOCKS", "OUTPUT", "write_graph"]

BLOCKS, OUTPUT = "blocks", "maps"
OPSET = 13


def write_graph(network: LocaliserNetwork, weights: bytes, weights_name: str) -> bytes:
    """Describe a network as an ONNX graph.

    Parameters
    ----------
    network : LocaliserNetwork
        In evaluation mode.
    weights : bytes
        A safetensors file with the network's tensors; the graph refers to places in it.
    weights_name : str
        Name of that file, in the same folder as the graph.

    Returns
    -------
    bytes
        From :data:`BLOCKS`, shape (n, 12, row / 2, column / 2), to :data:`OUTPUT`, shape (n, 4 x channels, row / 2,
        column / 2).
    """
    writer = _Writer(weights, weights_name)
    maps, kept = BLOCKS, []
    for level, encoder in enumerate(network.encoders):
        if level:
            maps = writer.add("MaxPool", [maps], kernel_shape=[2, 2], strides=[2, 2])
        maps = writer.convolutions(maps, encoder, f"encoders.{level}")
        kept.append(maps)
    for level in reversed(range(len(network.decoders))):
        coarse = writer.add(
            "Resize", [maps, "", "doubled"], mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip
        joined = writer.add("Concat", [coarse, kept[level]], axis=1)
        maps = writer.convolutions(joined, network.decoders[level], f"decoders.{level}")
    writer.convolve(maps, network.head, "head", OUTPUT)
    doubled = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "doubled")
    shape: list[Any] = ["n", 4 * 3, "row", "column"]
    graph = helper.make_graph(
        writer.nodes,
        "spinefx localiser",
        [helper.make_tensor_value_info(BLOCKS, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", network.head.out_channels, "row", "column"])],
        [*writer.weights.values(), doubled],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return bytes(model.SerializeToString())


class _Writer:
    def __init__(self, weights: bytes, weights_name: str) -> None:
        size = int.from_bytes(weights[:8], "little")
        self.places = json.loads(weights[8 : 8 + size])
        self.start, self.file = 8 + size, weights_name
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, TensorProto] = {}

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"maps_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, name: str) -> str:
        place = self.places[name]
        first, last = place["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=place["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.file), ("offset", self.start + first), ("length", last - first)):
            tensor.external_data.add(key=key, value=str(value))
        self.weights[name] = tensor
        return name

    def convolutions(self, maps: str, layers: nn.Module, path: str) -> str:
        for index, layer in enumerate(layers.children()):
            if isinstance(layer, nn.Conv2d):
                maps = self.convolve(maps, layer, f"{path}.{index}")
            elif isinstance(layer, nn.BatchNorm2d):
                parts = ("weight", "bias", "running_mean", "running_var")
                stored = [self.weight(f"{path}.{index}.{part}") for part in parts]
                maps = self.add("BatchNormalization", [maps, *stored], epsilon=layer.eps)
            else:
                maps = self.add("Relu", [maps])
        return maps

    def convolve(self, maps: str, layer: nn.Conv2d, path: str, output: str = "") -> str:
        stored = [self.weight(f"{path}.weight"), *([self.weight(f"{path}.bias")] if layer.bias is not None else [])]
        pads = [int(one) for one in layer.padding] * 2
        return self.add("Conv", [maps, *stored], output, kernel_shape=list(layer.kernel_size), pads=pads)
