"""The layers of a network as nodes of an ONNX graph.

Networks are read with :mod:`torch.fx`, so their ``forward`` must not branch on the values of tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spinefx.errors import ModelError
from spinefx.learning.efficientnet import TrailingPadConvolution
from spinefx.learning.graph_plan import ANY_LENGTH, INPUT, OUTPUT, GraphPlan, GraphStep, WeightSource
from spinefx.learning.network import FractureNetwork

__all__ = ["GraphLayers", "Layer", "layers_of", "plan_of_network", "write_network"]


class GraphLayers:
    """Steps of a graph and what the tensors that they name are made of, in the order in which they are added.

    Attributes
    ----------
    steps : list of GraphStep
    sources : list of WeightSource
        Of ``weights_0``, ``weights_1`` and so on.
    """

    def __init__(self) -> None:
        self.steps: list[GraphStep] = []
        self.sources: list[WeightSource] = []

    def add(self, operator_name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a step, and return the name of its output.

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
        name = f"maps_{len(self.steps)}"
        self.steps.append(GraphStep(operator_name, tuple(inputs), name, attributes))
        return name

    def store(self, source: WeightSource) -> str:
        """Add a tensor, and return its name.

        Parameters
        ----------
        source : WeightSource

        Returns
        -------
        str
        """
        self.sources.append(source)
        return f"weights_{len(self.sources) - 1}"

    def convolution(self, maps: str, layer: Layer, norm: Layer | None = None) -> str:
        """Add a convolution, the normalisation behind it folded into its weights.

        Parameters
        ----------
        maps : str
            Name of its input.
        layer : Layer
            A convolution.
        norm : Layer, optional
            A batch normalisation.

        Returns
        -------
        str
        """
        conv: nn.Conv2d = layer.module
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise _cannot_write(f"Conv2d with padding {conv.padding!r}, {conv.padding_mode}")
        folded = ("", 0.0) if norm is None else (norm.path, norm.module.eps)
        stored = [self.store(WeightSource(part, layer.path, *folded)) for part in ("weight", "bias")]
        further: dict[str, Any] = {} if conv.groups == 1 else {"group": conv.groups}
        if set(conv.dilation) != {1}:
            further["dilations"] = tuple(conv.dilation)
        before = after = tuple(int(one) for one in conv.padding)
        if isinstance(conv, TrailingPadConvolution):
            before, after = ((margin,) * 2 for margin in conv.margins)
        return self.add(
            "Conv",
            [maps, *stored],
            kernel_shape=tuple(conv.kernel_size),
            strides=tuple(conv.stride),
            pads=(*before, *after),
            **further,
        )


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Parameters
    ----------
    path : str
        Within the whole network, as its weights are named.
    module : torch.nn.Module
    """

    path: str
    module: Any


def layers_of(network: FractureNetwork) -> GraphLayers:
    """List every step of a whole model, from patches to log-odds.

    Parameters
    ----------
    network : FractureNetwork

    Returns
    -------
    GraphLayers

    Raises
    ------
    ModelError
        For a step that cannot be written, naming it.
    """
    layers = GraphLayers()
    mixed = layers.convolution(INPUT, Layer("mix", network.mix))
    column = write_network(layers, network.body, mixed, "body.")
    layers.steps.append(GraphStep("Reshape", (column, ANY_LENGTH), OUTPUT))
    return layers


def plan_of_network(network: FractureNetwork) -> GraphPlan:
    """Return what the graph of a model must consist of.

    Parameters
    ----------
    network : FractureNetwork

    Returns
    -------
    GraphPlan

    Raises
    ------
    ModelError
        For a step that cannot be written, naming it.
    """
    layers = layers_of(network)
    return GraphPlan.of(layers.steps, layers.sources)


Writer = Callable[[GraphLayers, Layer | None, Sequence[Any], Mapping[str, Any]], str]


def write_network(layers: GraphLayers, network: nn.Module, maps: str, prefix: str = "") -> str:
    """Add every step of a network in evaluation mode.

    Parameters
    ----------
    layers : GraphLayers
    network : torch.nn.Module
        From images to log-odds, one tensor in and one out.
    maps : str
        Name of the images.
    prefix : str
        In front of the names of its weights, where it is part of another network.

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
            names |= _write_step(layers, network, node, names, prefix)
    raise _cannot_write("a network without an output")


class _Reader(fx.Tracer):
    """Lists steps down to the layers that can be written, and no deeper."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(MODULES)) or super().is_leaf_module(m, module_qualified_name)


def _write_step(
    layers: GraphLayers, network: nn.Module, node: fx.Node, names: Mapping[fx.Node, str], prefix: str
) -> dict[fx.Node, str]:
    """Add one step, and with a convolution the normalisation behind it; return the names of what they compute."""
    args: Any = fx.node.map_arg(node.args, lambda one: names[one])
    if node.op != "call_module":
        writer = FUNCTIONS.get(node.target)
        if writer is None:
            raise _cannot_write(getattr(node.target, "__name__", str(node.target)))
        return {node: writer(layers, None, args, node.kwargs)}
    layer = _layer(network, node, prefix)
    if isinstance(layer.module, nn.Conv2d):
        users = list(node.users)
        behind = _layer(network, users[0], prefix) if _is_lone_module(users) else None
        if behind is not None and isinstance(behind.module, nn.BatchNorm2d):
            return dict.fromkeys((node, users[0]), layers.convolution(args[0], layer, behind))
        return {node: layers.convolution(args[0], layer)}
    written = next((write for kind, write in MODULES.items() if isinstance(layer.module, kind)), None)
    if written is None:
        raise _cannot_write(type(layer.module).__name__)
    return {node: written(layers, layer, args, node.kwargs)}


def _layer(network: nn.Module, node: fx.Node, prefix: str) -> Layer:
    path = str(node.target)
    return Layer(prefix + path, network.get_submodule(path))


def _is_lone_module(users: Sequence[fx.Node]) -> bool:
    return len(users) == 1 and users[0].op == "call_module"


def _pass_on(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return str(args[0])


def _relu(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return layers.add("Relu", [args[0]])


def _relu6(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    return layers.add("Clip", [args[0], *(layers.store(WeightSource("constant", value=value)) for value in (0.0, 6.0))])


def _add(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    if given or not all(isinstance(one, str) for one in args):
        raise _cannot_write("add of a number, or of a scaled tensor")
    return layers.add("Add", list(args))


def _normalise(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    assert layer is not None
    stored = [layers.store(WeightSource(part, layer.path)) for part in ("gain", "shift", "mean", "variance")]
    return layers.add("BatchNormalization", [args[0], *stored], epsilon=_single(layer.module.eps))


def _linear(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    assert layer is not None
    stored = [layers.store(WeightSource(part, layer.path)) for part in ("weight", "bias")]
    return layers.add("Gemm", [args[0], *stored], transB=1)


def _max_pool(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    assert layer is not None
    module = layer.module
    kernel, stride, padding, dilation = (
        (one, one) if isinstance(one, int) else tuple(one)
        for one in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    if dilation != (1, 1) or module.ceil_mode or module.return_indices:
        raise _cannot_write("MaxPool2d with dilation, ceil_mode or return_indices")
    return layers.add("MaxPool", [args[0]], kernel_shape=kernel, strides=stride, pads=padding * 2)


def _pool_everything(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    assert layer is not None
    if layer.module.output_size not in (1, (1, 1)):
        raise _cannot_write("AdaptiveAvgPool2d to more than one pixel")
    return layers.add("GlobalAveragePool", [args[0]])


def _mean(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    over = given.get("dim", args[1] if len(args) > 1 else None)
    keeps = given.get("keepdim", args[2] if len(args) > 2 else False)
    if over is None or isinstance(over, int) or sorted(one % 4 for one in over) != [2, 3]:
        raise _cannot_write("mean over other axes than rows and columns")
    pooled = layers.add("GlobalAveragePool", [args[0]])
    return pooled if keeps else layers.add("Flatten", [pooled])


def _flatten(layers: GraphLayers, layer: Layer | None, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    start = layer.module.start_dim if layer is not None else given.get("start_dim", args[1] if len(args) > 1 else 0)
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


def _cannot_write(what: str) -> ModelError:
    allowed = sorted({kind.__name__ for kind in MODULES} | {"relu", "relu6", "add", "mean", "flatten"})
    return ModelError(
        f"a network with {what}, which cannot be written as an ONNX graph",
        allowed=", ".join(allowed),
        remedy="Build the network from these layers.",
    )


def _single(value: float) -> float:
    """Round to single precision, as a graph stores its attributes."""
    return float(torch.tensor(value, dtype=torch.float32))
