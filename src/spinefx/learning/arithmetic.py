"""The arithmetic of a training step on a CPU: the same sums as torch's own modules, in an order that costs less.

Nothing here adds parameters or state: networks, checkpoints and optimisers are the same with and without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Adam", "Convolution", "convolve_as_product"]

# Widest map that comes out of a convolution which is quicker as a matrix product in bfloat16, by the kernel's side.
# Measured at batch 32 on widths of ResNet50: the library's kernels win in float32 throughout, and on wider maps.
WIDEST_AS_PRODUCT = {1: 4, 3: 2}


class Convolution(nn.Conv2d):
    """A two-dimensional convolution that becomes a matrix product on small maps, in bfloat16 on a CPU alone.

    Arguments, parameters and results are those of :class:`torch.nn.Conv2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve.

        Parameters
        ----------
        input : Tensor, shape (n, channel, row, column)

        Returns
        -------
        Tensor, shape (n, output, row, column)
        """
        widest = WIDEST_AS_PRODUCT.get(self.kernel_size[0], 0)
        if input.shape[-1] <= widest * self.stride[0] and self.bias is None and _is_short(input):
            return convolve_as_product(input, self.weight, self.stride[0])
        return super().forward(input)


def convolve_as_product(features: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve with a square kernel of odd side, padded so that stride 1 keeps the map's size.

    Parameters
    ----------
    features : Tensor, shape (n, channel, row, column)
        Fastest where channels are last in memory: then a 1x1 kernel at stride 1 moves nothing.
    weight : Tensor, shape (output, channel, side, side)
    stride : int

    Returns
    -------
    Tensor, shape (n, output, row, column)
        Channels last in memory.
    """
    side = weight.shape[-1]
    margin = side // 2
    pixels = features.permute(0, 2, 3, 1)
    rows, columns = (1 + (extent - 1) // stride for extent in pixels.shape[1:3])
    if margin:
        pixels = functional.pad(pixels, (0, 0, margin, margin, margin, margin))
    taps = [
        pixels[:, row : row + stride * rows : stride, column : column + stride * columns : stride][:, :rows, :columns]
        for row in range(side)
        for column in range(side)
    ]
    # Slices that are put together have a cheap gradient; that of unfolded windows costs more than the product.
    gathered = taps[0] if side == 1 else torch.cat(taps, dim=-1)
    return functional.linear(gathered, weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)


class Adam(torch.optim.Adam):
    """Adam in one fused pass, without the copy that torch makes of each gradient whose channels are last.

    Arguments, state and results, bit for bit, are those of :class:`torch.optim.Adam`.
    """

    def _init_group(self, group: dict[str, Any], *collected: list[Tensor]) -> Any:
        """Collect a group's tensors as torch does, and view four-dimensional ones in the order of their memory."""
        found = super()._init_group(group, *collected)  # type: ignore[no-untyped-call]
        for tensors in collected:
            tensors[:] = [tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor for tensor in tensors]
        return found


def _is_short(features: Tensor) -> bool:
    """Return whether autocast computes in bfloat16 on the CPU now."""
    return (
        features.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
