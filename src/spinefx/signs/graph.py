"""The encoders as ONNX graphs without weights.

The graphs come with the package and never from a model folder: a model brings its weights alone, which
:mod:`spinefx.signs.inference` puts into these graphs. ``python -m spinefx.signs.graph`` writes them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import nn

from spinefx.files import write_bytes
from spinefx.signs.inference import ENCODERS, GRAPHS, MAPS, PATCHES
from spinefx.signs.network import Encoder
from spinefx.signs.views import BODY

__all__ = ["encoder_graph", "write_graphs"]

OPSET = 13


def encoder_graph(answers: int) -> bytes:
    """Describe an encoder as an ONNX graph whose weights are named but not held.

    Parameters
    ----------
    answers : int
        Maps that it computes.

    Returns
    -------
    bytes
        From :data:`spinefx.signs.inference.PATCHES` to :data:`spinefx.signs.inference.MAPS`.
    """
    encoder = Encoder(answers).eval()
    shapes = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    nodes: list[onnx.NodeProto] = []
    held: list[TensorProto] = []
    maps, channels = PATCHES, len(BODY.channels)
    more: dict[str, Any]
    layers = [(place, layer) for place, layer in enumerate(encoder) if not isinstance(layer, nn.Dropout2d)]
    for place, layer in layers:
        output = MAPS if place == layers[-1][0] else f"maps_{place}"
        names = [f"{place}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        own = [name for name in names if name in shapes]
        held += [_unheld(name, shapes[name]) for name in own]
        if isinstance(layer, nn.Conv2d):
            strides, pads = [int(one) for one in layer.stride], [int(one) for one in layer.padding] * 2
            kind, more = "Conv", {"strides": strides, "pads": pads, "kernel_shape": list(layer.kernel_size)}
        elif isinstance(layer, nn.BatchNorm2d):
            kind, more = "BatchNormalization", {"epsilon": layer.eps}
        else:
            kind, more = "Relu", {}
        nodes.append(helper.make_node(kind, [maps, *own], [output], **more))
        maps = output
    taken = helper.make_tensor_value_info(PATCHES, TensorProto.FLOAT, ["n", channels, "row", "column"])
    given = helper.make_tensor_value_info(MAPS, TensorProto.FLOAT, ["n", answers, "map_row", "map_column"])
    graph = helper.make_graph(nodes, "spinefx signs", [taken], [given], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return bytes(model.SerializeToString())


def _unheld(name: str, shape: tuple[int, ...]) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    # ONNX asks for a file; the weights are handed over in memory, and no file is ever opened.
    tensor.external_data.add(key="location", value="nothing")
    return tensor


def write_graphs(folder: Path = GRAPHS) -> None:
    """Write the graphs of all encoders.

    Parameters
    ----------
    folder : Path, optional
    """
    for name, answers in ENCODERS.items():
        write_bytes(folder / f"{name}.onnx", encoder_graph(answers))


if __name__ == "__main__":
    write_graphs()
