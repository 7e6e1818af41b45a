"""Residual networks: ResNet50 with torchvision's names, and a small one for demonstrations.

Names and shapes of the ResNet50's tensors are torchvision's, so that a published file of weights fits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinefx.learning.arithmetic import Convolution

__all__ = ["ResNet50", "SmallResNet"]

# Kernel size and stride of the first convolution, by its name in a recipe (protocol row 12).
STEMS = {"3x3_stride_2": (3, 2), "7x7_stride_2": (7, 2), "3x3_stride_1": (3, 1)}


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; the stride is in the 3x3, as in torchvision's ResNet50."""

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
    """Two 3x3 convolutions with a shortcut."""

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
    """A residual network of three basic blocks for demonstrations on a CPU, not the paper's network.

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


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    later = [_Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(_Bottleneck(inputs, width, stride), *later)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(Convolution(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _initialise_convolutions(network: nn.Module) -> None:
    """Initialise convolutions as torchvision's ResNet does (He); batch normalisation starts at 1 and 0 by default."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
