"""The network: three neighbouring slices in; classes, offsets to the centre of the vertebra, and a heat map out."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinefx.localisation.labels import TissueClass

__all__ = ["CHANNELS", "CLASSES", "STRIDE", "LocaliserNetwork"]

CLASSES = len(TissueClass)
CHANNELS = CLASSES + 4
"""Output channels: a logit for each class, three offsets (row, column, slice; units of 10 mm), the heat map's."""

STRIDE = 32
"""Rows and columns of the input must be multiples of this."""

_WIDTHS = (24, 40, 64, 96, 96)


class LocaliserNetwork(nn.Module):
    """A U-Net that works on blocks of 2 x 2 pixels, so that most of its arithmetic is done at 3 mm.

    Notes
    -----
    The heat map is taught beside the other outputs; decoding does not read it.

    0.7 million parameters. After Ronneberger 2015, with pixel shuffling at both ends (Shi 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (12, *_WIDTHS)
        self.encoders = nn.ModuleList(_convolutions(*pair, 2) for pair in zip(inputs, _WIDTHS, strict=False))
        self.decoders = nn.ModuleList(_convolutions(low + high, low, 1) for low, high in pairwise(_WIDTHS))
        self.head = nn.Conv2d(_WIDTHS[0], 4 * CHANNELS, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the output maps.

        Parameters
        ----------
        images : Tensor, shape (n, 3, row, column)
            After :func:`spinefx.localisation.working_grid.local_contrast`; rows and columns in multiples of
            :data:`STRIDE`.

        Returns
        -------
        Tensor, shape (n, CHANNELS, row, column)
        """
        features = functional.pixel_unshuffle(images, 2)
        kept = []
        for level, encoder in enumerate(self.encoders):
            features = encoder(functional.max_pool2d(features, 2) if level else features)
            kept.append(features)
        for level in reversed(range(len(self.decoders))):
            coarse = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.decoders[level](torch.cat([coarse, kept[level]], 1))
        maps: Tensor = functional.pixel_shuffle(self.head(features), 2)
        return maps


def _convolutions(inputs: int, outputs: int, number: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(number):
        layers += [
            nn.Conv2d(outputs if index else inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
