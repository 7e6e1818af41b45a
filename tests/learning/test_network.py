"""ResNet50 has torchvision's names, shapes and outputs; ImageNet files load only where they fit."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch

from spinefx.errors import FileError
from spinefx.learning.network import FractureNetwork, build_network
from spinefx.learning.pretrained import initialise
from spinefx.learning.recipe import Recipe
from spinefx.learning.resnet import ResNet50


@pytest.fixture(scope="module")
def paper() -> Recipe:
    return Recipe.preset("paper")


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """Random weights with torchvision's names."""
    torch.manual_seed(0)
    return {key: torch.rand_like(value.float()).to(value.dtype) for key, value in ResNet50().state_dict().items()}


@pytest.mark.parametrize("stem", ["7x7_stride_2", "3x3_stride_1", "3x3_stride_2"])
def test_resnet50_is_torchvisions(stem: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, at import
        from monai.networks import nets
    kernel, stride = int(stem[0]), int(stem[-1])
    oracle = nets.resnet50(
        spatial_dims=2,
        n_input_channels=3,
        bias_downsample=False,
        num_classes=1000,
        conv1_t_size=kernel,
        conv1_t_stride=stride,
    )
    ours = ResNet50(stem)
    state = oracle.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert len(state) == 320
    if stem == "7x7_stride_2":
        assert sum(parameter.numel() for parameter in ours.parameters()) == 25_557_032
    ours.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(images), oracle.eval()(images))


def test_paper_network_has_six_channels_one_logit_and_a_2x2_map(paper: Recipe) -> None:
    network = build_network(paper, fold=1).eval()
    assert network.mix.weight.shape == (3, 6, 1, 1)
    assert network.mix.bias is not None
    assert network.body.fc.weight.shape == (1, 2048)
    assert network.body.dropout.p == 0.5
    shapes: list[torch.Size] = []
    network.body.layer4.register_forward_hook(lambda *hook: shapes.append(hook[2].shape))
    with torch.inference_mode():
        assert network(torch.randn(2, 6, 64, 64)).shape == (2,)
    assert shapes == [(2, 2048, 2, 2)]


def test_small_resnet_is_small_and_keeps_the_channels_apart() -> None:
    network = build_network(Recipe.preset("quick"), fold=1)
    assert network.mix.weight.shape == (6, 6, 1, 1)
    assert network.body.conv1.weight.shape[1] == 6
    assert 100_000 < sum(parameter.numel() for parameter in network.parameters()) < 300_000


def test_weights_follow_from_seed_and_fold_and_leave_torch_alone() -> None:
    quick = Recipe.preset("quick")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build_network(quick, fold=fold) for fold in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.mix.weight, again.mix.weight)
    assert not torch.equal(first.mix.weight, other.mix.weight)


@pytest.mark.parametrize("ending", ["safetensors", "pth", "legacy", "no_counters"])
def test_imagenet_file_goes_in(ending: str, paper: Recipe, imagenet: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"resnet50.{ending}"
    given = dict(imagenet)
    if ending == "no_counters":
        given = {key: value for key, value in given.items() if not key.endswith("num_batches_tracked")}
    if ending in ("pth", "legacy"):
        torch.save(given, path, _use_new_zipfile_serialization=ending == "pth")
    else:
        safetensors.torch.save_file(given, path)
    network = FractureNetwork(paper)
    fresh = network.body.conv1.weight.clone()
    done = initialise(network, paper, path)
    assert set(done.new) == {"mix.weight", "mix.bias", "body.conv1.weight", "body.fc.weight", "body.fc.bias"}
    assert "newly initialised: mix.weight" in done.said
    assert len(done.loaded) == (320 - 3 if ending != "no_counters" else 320 - 3 - 53)
    assert torch.equal(network.body.layer3[2].conv2.weight, imagenet["layer3.2.conv2.weight"])
    assert torch.equal(network.body.bn1.running_var, imagenet["bn1.running_var"])
    assert torch.equal(network.body.conv1.weight, fresh)


def test_imagenet_stem_is_used_where_it_fits(paper: Recipe, imagenet: dict[str, torch.Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(imagenet, tmp_path / "w")
    recipe = paper.changed(stem="7x7_stride_2")
    network = FractureNetwork(recipe)
    assert "body.conv1.weight" in initialise(network, recipe, tmp_path / "w").loaded
    assert torch.equal(network.body.conv1.weight, imagenet["conv1.weight"])


def test_a_missing_imagenet_file_is_reported(paper: Recipe) -> None:
    done = initialise(FractureNetwork(paper), paper, None)
    assert done.said == "random initialisation (no ImageNet file was given)"
    assert not done.loaded


class _Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1/0",)


@pytest.mark.parametrize("kind", ["text", "torn", "object", "nested", "missing", "shape", "extra", "nan", "absent"])
def test_other_files_are_refused_by_content(
    kind: str, paper: Recipe, imagenet: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "resnet50.safetensors"
    given = dict(imagenet)
    if kind == "text":
        path.write_text("not weights at all")
    elif kind == "torn":
        safetensors.torch.save_file(given, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "object":
        torch.save({"conv1.weight": _Hostile()}, path)
    elif kind == "nested":
        torch.save({"state_dict": given}, path)
    elif kind != "absent":
        if kind == "missing":
            del given["layer4.2.conv3.weight"]
        elif kind == "shape":
            given["layer1.0.conv1.weight"] = torch.zeros(64, 64, 3, 3)
        elif kind == "extra":
            given["module.fc.weight"] = torch.zeros(1)
        elif kind == "nan":
            given["bn1.bias"] = torch.full((64,), float("nan"))
        safetensors.torch.save_file(given, path)
    with pytest.raises(FileError):
        initialise(FractureNetwork(paper), paper, path)
