"""The layers of a network as nodes of an ONNX graph.

Networks are read with :mod:`torch.fx`, so their ``forward`` must not branch on the values of tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, fx, nn
from torch.nn import functional

from spinefx.errors import ModelError
from spinefx.learning.efficientnet import TrailingPadConvolution
from spinefx.learning.onnx_model import DATA_FILE

__all__ = ["GraphLayers", "write_network"]

# Files that are mapped into memory want their tensors on such bounds.
ALIGNMENT = 64


class GraphLayers:
    """Nodes of a graph and the weights that they name, in the order in which they are added.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    weights : list of onnx.TensorProto
    data : bytearray
        The content of the weights' file.
    filters : dict of str to list of int
        Where the weights of each layer lie in it, as :class:`spinefx.learning.onnx_model.GraphCard` has them.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.data = bytearray()
        self.filters: dict[str, list[int]] = {}

    def add(self, operator_name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node, and return the name of its output.

        Parameters
        ----------
        operator_name : str
        inputs : sequence of str
            Names of what it works on.
        **attributes
            As the operator takes them.

        Returns
        -------
        str
        """
        name = f"maps_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator_name, inputs, [name], **attributes))
        return name

    def store(self, values: NDArray[np.float64]) -> str:
        """Append a tensor to the weights' file, and return its name.

        Parameters
        ----------
        values : ndarray of float64

        Returns
        -------
        str
        """
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

    def convolution(self, maps: str, layer: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> str:
        """Add a convolution, the normalisation behind it folded into its weights, in float64.

        Parameters
        ----------
        maps : str
            Name of its input.
        layer : torch.nn.Conv2d
        norm : torch.nn.BatchNorm2d, optional

        Returns
        -------
        str
        """
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise _cannot_write(f"Conv2d with padding {layer.padding!r}, {layer.padding_mode}")
        weight = _array(layer.weight)
        bias = np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)
        if norm is not None:
            gain, shift, mean, variance = _normalisation(norm)
            scale = gain / np.sqrt(variance + norm.eps)
            weight, bias = weight * scale[:, None, None, None], (bias - mean) * scale + shift
        further: dict[str, Any] = {} if layer.groups == 1 else {"group": layer.groups}
        if set(layer.dilation) != {1}:
            further["dilations"] = layer.dilation
        if isinstance(layer, TrailingPadConvolution):
            further["auto_pad"] = "SAME_UPPER"
        else:
            further["pads"] = [int(one) for one in layer.padding] * 2
        return self.add(
            "Conv",
            [maps, self.store(weight), self.store(bias)],
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            **further,
        )


Writer = Callable[[GraphLayers, Any, Sequence[Any], Mapping[str, Any]], str]


def write_network(layers: GraphLayers, network: nn.Module, maps: str) -> str:
    """Add every step of a network in evaluation mode.

    Parameters
    ----------
    layers : GraphLayers
    network : torch.nn.Module
        From images to log-odds, one tensor in and one out.
    maps : str
        Name of the images.

    Returns
    -------
    str
        Name of the log-odds, shape (n, 1).

    Raises
    ------
    ModelError
        For a step that cannot be written, naming it.
    """
    try:
        graph = _Reader().trace(network)
    except (fx.proxy.TraceError, TypeError) as error:
        raise _cannot_write(f"a forward function that torch.fx cannot follow ({type(error).__name__})") from error
    names: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = maps
        elif node.op == "output":
            return names[node.args[0]]
        elif node not in names:
            names |= _write_step(layers, network, node, names)
    raise _cannot_write("a network without an output")


class _Reader(fx.Tracer):
    """Lists steps down to the layers that can be written, and no deeper."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(MODULES)) or super().is_leaf_module(m, module_qualified_name)


def _write_step(
    layers: GraphLayers, network: nn.Module, node: fx.Node, names: Mapping[fx.Node, str]
) -> dict[fx.Node, str]:
    """Add one step, and with a convolution the normalisation behind it; return the names of what they compute."""
    args: Any = fx.node.map_arg(node.args, lambda one: names[one])
    if node.op != "call_module":
        writer = FUNCTIONS.get(node.target)
        if writer is None:
            raise _cannot_write(getattr(node.target, "__name__", str(node.target)))
        return {node: writer(layers, None, args, node.kwargs)}
    module = network.get_submodule(str(node.target))
    if isinstance(module, nn.Conv2d):
        users = list(node.users)
        behind = network.get_submodule(str(users[0].target)) if _is_lone_module(users) else None
        if isinstance(behind, nn.BatchNorm2d):
            return dict.fromkeys((node, users[0]), layers.convolution(args[0], module, behind))
        return {node: layers.convolution(args[0], module)}
    written = next((write for kind, write in MODULES.items() if isinstance(module, kind)), None)
    if written is None:
        raise _cannot_write(type(module).__name__)
    return {node: written(layers, module, args, node.kwargs)}


def _is_lone_module(users: Sequence[fx.Node]) -> bool:
    return len(users) == 1 and users[0].op == "call_module"


def _pass_on(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return str(args[0])


def _relu(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return layers.add("Relu", [args[0]])


def _relu6(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return layers.add("Clip", [args[0], layers.store(np.array(0.0)), layers.store(np.array(6.0))])


def _add(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    if given or not all(isinstance(one, str) for one in args):
        raise _cannot_write("add of a number, or of a scaled tensor")
    return layers.add("Add", list(args))


def _normalise(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    stored = [layers.store(values) for values in _normalisation(module)]
    return layers.add("BatchNormalization", [args[0], *stored], epsilon=module.eps)


def _linear(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    bias = np.zeros(module.out_features) if module.bias is None else _array(module.bias)
    return layers.add("Gemm", [args[0], layers.store(_array(module.weight)), layers.store(bias)], transB=1)


def _max_pool(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    kernel, stride, padding, dilation = (
        [one, one] if isinstance(one, int) else list(one)
        for one in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    if dilation != [1, 1] or module.ceil_mode or module.return_indices:
        raise _cannot_write("MaxPool2d with dilation, ceil_mode or return_indices")
    return layers.add("MaxPool", [args[0]], kernel_shape=kernel, strides=stride, pads=padding * 2)


def _pool_everything(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    if module.output_size not in (1, (1, 1)):
        raise _cannot_write("AdaptiveAvgPool2d to more than one pixel")
    return layers.add("GlobalAveragePool", [args[0]])


def _mean(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    over = given.get("dim", args[1] if len(args) > 1 else None)
    keeps = given.get("keepdim", args[2] if len(args) > 2 else False)
    if over is None or isinstance(over, int) or sorted(one % 4 for one in over) != [2, 3]:
        raise _cannot_write("mean over other axes than rows and columns")
    pooled = layers.add("GlobalAveragePool", [args[0]])
    return pooled if keeps else layers.add("Flatten", [pooled])


def _flatten(layers: GraphLayers, module: Any, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    start = module.start_dim if module is not None else given.get("start_dim", args[1] if len(args) > 1 else 0)
    if start != 1:
        raise _cannot_write("flatten from another axis than the first behind the batch")
    return layers.add("Flatten", [args[0]])


# What can be written. A subclass of a module counts as the module.
MODULES: dict[type[nn.Module], Writer] = {
    nn.Conv2d: _pass_on,  # written with the normalisation behind it, by _write_step
    nn.BatchNorm2d: _normalise,
    nn.Linear: _linear,
    nn.ReLU6: _relu6,
    nn.ReLU: _relu,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _pool_everything,
    nn.Flatten: _flatten,
    nn.Dropout: _pass_on,
    nn.Identity: _pass_on,
}
FUNCTIONS: dict[Any, Writer] = {
    torch.relu: _relu,
    torch.relu_: _relu,
    functional.relu: _relu,
    functional.relu6: _relu6,
    "relu": _relu,
    "relu_": _relu,
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    "add": _add,
    "add_": _add,
    torch.mean: _mean,
    "mean": _mean,
    torch.flatten: _flatten,
    "flatten": _flatten,
}


def _normalisation(norm: nn.BatchNorm2d) -> tuple[NDArray[np.float64], ...]:
    """Return gain, shift, mean and variance of each channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = _array(norm.running_mean), _array(norm.running_var)
    gain = _array(norm.weight) if norm.affine else np.ones(len(mean))
    shift = _array(norm.bias) if norm.affine else np.zeros(len(mean))
    return gain, shift, mean, variance


def _cannot_write(what: str) -> ModelError:
    allowed = sorted({kind.__name__ for kind in MODULES} | {"relu", "relu6", "add", "mean", "flatten"})
    return ModelError(
        f"a network with {what}, which cannot be written as an ONNX graph",
        allowed=", ".join(allowed),
        remedy="Build the network from these layers.",
    )


def _array(tensor: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = tensor.detach().double().numpy()
    return values
