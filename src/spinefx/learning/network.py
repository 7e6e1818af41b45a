"""The networks: ResNet50 behind a 1x1 layer that mixes the six channels, and a small one for demonstrations.

Names and shapes of the ResNet50's tensors are torchvision's, so that a published file of weights fits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from spinefx.cases.patch import CHANNELS
from spinefx.learning.arithmetic import Convolution
from spinefx.learning.random_streams import Purpose, stream
from spinefx.learning.recipe import Recipe

__all__ = ["FractureNetwork", "ResNet50", "SmallResNet", "build_network", "in_channel_order", "seeded"]

# Kernel size and stride of the first convolution, by the recipe's word (protocol row 12).
STEMS = {"3x3_stride_2": (3, 2), "7x7_stride_2": (7, 2), "3x3_stride_1": (3, 1)}


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; the stride is in the 3x3, as in torchvision's ResNet50."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = Convolution(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Convolution(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = Convolution(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = torch.relu_(self.bn1(self.conv1(features)))
        features = torch.relu_(self.bn2(self.conv2(features)))
        return torch.relu_(self.bn3(self.conv3(features)).add_(shortcut))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = Convolution(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = torch.relu_(self.bn1(self.conv1(features)))
        return torch.relu_(self.bn2(self.conv2(features)).add_(shortcut))


class ResNet50(nn.Module):
    """ResNet50 with torchvision's names: 25,557,032 parameters for 1000 outputs and the 7x7 stem.

    Parameters
    ----------
    stem : str
        ``7x7_stride_2`` (ImageNet's), ``3x3_stride_2`` (Yeh 2022) or ``3x3_stride_1``; max pooling follows each.
    outputs : int
        Of the last layer.
    dropout : float
        Share of the 2048 features dropped before it, in training.
    inputs : int
        Channels of an image.

    Notes
    -----
    Yeh 2022, Deep learning architecture: one 3x3 convolution, one max pooling, 16 residual blocks, one fully connected
    layer. Maps of a 64 x 64 patch behind a stride-2 stem: 16, 8, 4 and 2 pixels wide.
    """

    def __init__(self, stem: str = "7x7_stride_2", outputs: int = 1000, dropout: float = 0.0, inputs: int = 3) -> None:
        super().__init__()
        kernel, stride = STEMS[stem]
        self.conv1 = nn.Conv2d(inputs, 64, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        self.layer4 = _stage(1024, 512, 3, 2)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, outputs)
        _initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Score images.

        Parameters
        ----------
        images : Tensor, shape (n, inputs, row, column)

        Returns
        -------
        Tensor, shape (n, outputs)
        """
        features = self.maxpool(torch.relu_(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: Tensor = self.fc(self.dropout(features.mean(dim=(2, 3))))
        return logits


class SmallResNet(nn.Module):
    """A residual network of three basic blocks, for demonstrations on a CPU; it is not the paper's.

    Parameters
    ----------
    stem : str
        As for :class:`ResNet50`; max pooling follows it.
    outputs : int
    dropout : float
        Share of the last features dropped, in training.
    inputs : int
        Channels of an image.
    """

    WIDTHS = (16, 32, 64, 96)

    def __init__(self, stem: str = "3x3_stride_2", outputs: int = 1, dropout: float = 0.0, inputs: int = 3) -> None:
        super().__init__()
        kernel, stride = STEMS[stem]
        first, second, third, last = self.WIDTHS
        self.conv1 = nn.Conv2d(inputs, first, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _BasicBlock(first, second, 1)
        self.layer2 = _BasicBlock(second, third, 2)
        self.layer3 = _BasicBlock(third, last, 2)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, outputs)
        _initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Score images.

        Parameters
        ----------
        images : Tensor, shape (n, inputs, row, column)

        Returns
        -------
        Tensor, shape (n, outputs)
        """
        features = self.maxpool(torch.relu_(self.bn1(self.conv1(images))))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.fc(self.dropout(features.mean(dim=(2, 3))))
        return logits


class FractureNetwork(nn.Module):
    """The whole model: a linear 1x1 layer from six channels to the recipe's three, then a network with one output.

    Parameters
    ----------
    recipe : Recipe

    Notes
    -----
    Yeh 2022, Deep learning architecture: "a convolutional layer with 1 x 1 filter was added to extract inter-channel
    features and transform from six channels to three channels". Protocol rows 11 to 14.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.mix = nn.Conv2d(len(CHANNELS), recipe.mixing_channels, 1, bias=recipe.mixing_bias)
        kind = {"resnet50": ResNet50, "small_resnet": SmallResNet}[recipe.network]
        self.body = kind(recipe.stem, outputs=1, dropout=recipe.dropout, inputs=recipe.mixing_channels)

    def forward(self, patches: Tensor) -> Tensor:
        """Score patches.

        Parameters
        ----------
        patches : Tensor, shape (n, 6, row, column)

        Returns
        -------
        Tensor, shape (n,)
            Log-odds of malignancy, as trained.
        """
        logits: Tensor = self.body(self.mix(patches))
        return logits[:, 0]


def build_network(recipe: Recipe, *, fold: int) -> FractureNetwork:
    """Make a network with seeded random weights.

    Parameters
    ----------
    recipe : Recipe
    fold : int
        Each fold starts from its own weights.

    Returns
    -------
    FractureNetwork
        In the memory order in which convolutions run fastest on a CPU.
    """
    with seeded(stream(recipe.seed, Purpose.INITIAL_WEIGHTS, fold=fold)):
        network = FractureNetwork(recipe)
    return in_channel_order(network)


def in_channel_order(network: FractureNetwork) -> FractureNetwork:
    """Lay weights out in memory as convolutions run fastest on a CPU: channels last.

    Parameters
    ----------
    network : FractureNetwork

    Returns
    -------
    FractureNetwork
        The same one.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@contextlib.contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let torch draw from a stream of our own, and leave torch's generator afterwards as it was found.

    Parameters
    ----------
    rng : numpy.random.Generator

    Yields
    ------
    None
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    later = [_Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(_Bottleneck(inputs, width, stride), *later)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(Convolution(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _initialise_convolutions(network: nn.Module) -> None:
    """He initialisation, as torchvision's ResNet does it; batch normalisation starts at 1 and 0 by itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
