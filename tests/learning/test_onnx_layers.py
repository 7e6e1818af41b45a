"""Every layer that a graph can hold computes what torch computes, and every other one is refused by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from spinefx.errors import ModelError
from spinefx.learning.efficientnet import TrailingPadConvolution
from spinefx.learning.onnx_export import node_of, stored_weights
from spinefx.learning.onnx_layers import GraphLayers, write_network


class Step(nn.Module):
    """One function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps)


def run(network: nn.Module, images: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    """What the written graph computes, its weights taken out of their file into the graph."""
    layers = GraphLayers()
    output = write_network(layers, network, "images")
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    stored, contents, _ = stored_weights(layers.sources, state)
    weights = []
    for tensor in stored:
        place = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
        data = contents[place["offset"] : place["offset"] + place["length"]]
        values = np.frombuffer(data, np.float32).reshape(tuple(tensor.dims))
        weights.append(numpy_helper.from_array(values, tensor.name))
    graph = helper.make_graph(
        [node_of(step) for step in layers.steps],
        "layers",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(images.shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run([output], {"images": images.numpy()})[0]  # type: ignore[type-arg]
    return answer


def lively(network: nn.Module) -> nn.Module:
    """A network in evaluation mode whose normalisations change something."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    return network.eval()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(4, 6, 3, 2, 1),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False),
    "dilated": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "rectangular": lambda: nn.Conv2d(4, 6, (3, 5), (1, 2), (1, 2)),
    "trailing padding": lambda: TrailingPadConvolution(4, 8, 3, groups=4),
    "more trailing padding": lambda: TrailingPadConvolution(4, 6, 5),
    "folded normalisation": lambda: nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)),
    "plain normalisation": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)),
    "normalisation first": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1)),
    "relu6": lambda: nn.Sequential(nn.ReLU6(), nn.Conv2d(4, 2, 1)),
    "functions": lambda: Step(lambda maps: functional.relu6(torch.relu(maps) + functional.relu(maps.relu()))),
    "residual": lambda: Step(lambda maps: maps.add(torch.add(maps, maps))),
    "pools": lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    "linear without bias": lambda: nn.Sequential(
        Step(lambda maps: torch.flatten(maps.mean((-2, -1), keepdim=True), 1)), nn.Linear(4, 2, bias=False)
    ),
    "mean": lambda: Step(lambda maps: torch.mean(maps, dim=(2, 3))),
    "nothing": lambda: nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.ReLU()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_torch_computes(name: str) -> None:
    torch.manual_seed(3)
    network = lively(nn.Sequential(LAYERS[name]()))
    images = 4 * torch.randn(5, 4, 16, 18)
    with torch.inference_mode():
        wanted = network(images).numpy()
    np.testing.assert_allclose(run(network, images), wanted, atol=1e-5)


def test_a_normalisation_is_not_folded_where_its_convolution_is_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, images: Tensor) -> Tensor:
            maps: Tensor = self.convolution(images)
            normalised: Tensor = self.norm(maps)
            return normalised + maps

    network, images = lively(Twice()), torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        np.testing.assert_allclose(run(network, images), network(images).numpy(), atol=1e-5)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "activation": (lambda: nn.Sequential(OrderedDict(act=nn.Hardswish())), "Hardswish"),
    "function": (lambda: Step(torch.sin), "sin"),
    "scaled addition": (lambda: Step(lambda maps: torch.add(maps, maps, alpha=2)), "scaled tensor"),
    "number": (lambda: Step(lambda maps: maps + 1), "add of a number"),
    "padding": (lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "reflect"),
    "rounding up": (lambda: nn.MaxPool2d(3, ceil_mode=True), "ceil_mode"),
    "half a pool": (lambda: nn.AdaptiveAvgPool2d(2), "more than one pixel"),
    "mean of channels": (lambda: Step(lambda maps: maps.mean(dim=1)), "other axes"),
    "flattened batch": (lambda: Step(lambda maps: torch.flatten(maps)), "first behind the batch"),
    "branch": (lambda: Step(lambda maps: maps if maps.sum() > 0 else -maps), "cannot follow"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_written_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        write_network(GraphLayers(), nn.Sequential(make()).eval(), "images")
