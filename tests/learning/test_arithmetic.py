"""The cheaper order of the same sums: equal to torch's own convolutions and Adam, and used only where it may be."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from spinefx.learning import arithmetic
from spinefx.learning.arithmetic import Adam, Convolution, convolve_as_product
from spinefx.learning.network import FractureNetwork, build_network
from spinefx.learning.recipe import Recipe


@pytest.mark.parametrize("extent", [(2, 2), (4, 4), (5, 3), (1, 1)])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 3)])
def test_product_is_the_convolution(extent: tuple[int, int], side: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(side + stride)
    features = torch.randn(3, 4, *extent, dtype=torch.float64, generator=generator)
    weight = torch.randn(5, 4, side, side, dtype=torch.float64, generator=generator)
    found = []
    for convolve in (convolve_as_product, lambda x, w, s: functional.conv2d(x, w, None, s, side // 2)):
        x, w = (part.clone().requires_grad_() for part in (features, weight))
        result = convolve(x, w, stride)
        result.sin().sum().backward()
        found.append((result, x.grad, w.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["honest", "quick"])
def test_whole_network_is_the_same_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build_network(Recipe.preset(name).changed(dropout=0.0), fold=1).double()
    other = copy.deepcopy(plain)
    patches = torch.randn(4, 6, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    outputs = [plain(patches)]
    calls = _count_products(monkeypatch)
    monkeypatch.setattr(arithmetic, "_is_short", lambda features: True)
    outputs.append(other(patches))
    assert len(calls) == {"honest": 22, "quick": 1}[name]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-10)
    for logits in outputs:
        logits.square().sum().backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-10)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-10, atol=1e-10)


def test_only_bfloat16_uses_products(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _count_products(monkeypatch)
    convolution = Convolution(4, 4, 1, bias=False)
    features = torch.randn(1, 4, 2, 2)
    convolution(features)
    assert not calls
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert convolution(features).dtype == torch.bfloat16
        assert len(calls) == 1
        convolution(torch.randn(1, 4, 8, 8))  # too wide
    assert len(calls) == 1


def test_tensors_have_the_names_of_plain_convolutions() -> None:
    recipe = Recipe.preset("honest")
    assert all(
        key.endswith(("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))
        for key in FractureNetwork(recipe).state_dict()
    )
    assert set(Convolution(2, 3, 3).state_dict()) == set(torch.nn.Conv2d(2, 3, 3).state_dict())


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_adam_is_torchs_to_the_bit(order: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(4)
    start = [torch.randn(7, 5, 3, 3, generator=generator), torch.randn(9, 5, generator=generator)]
    gradients = [[torch.randn(part.shape, generator=generator) for part in start] for _ in range(3)]

    def ordered(part: torch.Tensor) -> torch.Tensor:
        return part.clone().contiguous(memory_format=order) if part.ndim == 4 else part.clone()

    found = []
    for kind in (Adam, torch.optim.Adam):
        parameters = [ordered(part).requires_grad_() for part in start]
        optimiser = kind(parameters, lr=0.1, betas=(0.5, 0.999), weight_decay=1e-4, fused=True)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = ordered(gradient)
            optimiser.step()
        found.append([*parameters, *(optimiser.state[one]["exp_avg_sq"] for one in parameters)])
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
        assert not torch.equal(ours, torch.zeros_like(ours))


def _count_products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def counted(features: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        calls.append(1)
        return convolve_as_product(features, weight, stride)

    monkeypatch.setattr(arithmetic, "convolve_as_product", counted)
    return calls
