"""Other appearances of the same anatomy: what scanners, coils, sequences and patients change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["MEDIUM", "MILD", "STRONG", "Appearance", "change_appearance"]


@dataclass(frozen=True)
class Appearance:
    """How widely the appearance of training samples is drawn.

    Parameters
    ----------
    name : str
    curve : float
        Largest power of a grey-level curve and its reciprocal, as a logarithm.
    bent : float
        Share of series whose grey levels are bent along a random rising curve, which destroys relative grey.
    bias : float
        Standard deviation of a smooth bias field's logarithm.
    noise : float
        Largest standard deviation of added noise, in those of the view.
    coarse : float
        Share of series that are shown at a lower resolution, up to 2.2 times.
    lost : float
        Share of series that lose a neighbouring slice to motion: the lesion slice stands for it.
    """

    name: str
    curve: float
    bent: float
    bias: float
    noise: float
    coarse: float
    lost: float


MILD = Appearance("mild", curve=0.15, bent=0.0, bias=0.1, noise=0.15, coarse=0.25, lost=0.05)
MEDIUM = Appearance("medium", curve=0.35, bent=0.2, bias=0.2, noise=0.25, coarse=0.3, lost=0.1)
STRONG = Appearance("strong", curve=0.6, bent=0.5, bias=0.35, noise=0.4, coarse=0.4, lost=0.1)


def change_appearance(patches: Tensor, dials: Appearance, rng: Generator, series: int = 2) -> Tensor:
    """Change each series of each sample in its own way, every slice of it alike.

    Parameters
    ----------
    patches : Tensor, shape (sample, slice, channel, size, size)
        Standard deviation 1 over the sample's series.
    dials : Appearance
    rng : torch.Generator
    series : int
        Number of series that share the channels equally.

    Returns
    -------
    Tensor, shape (sample, slice, channel, size, size)
    """
    count, slices, channels, size, _ = patches.shape
    # One row for each series of each sample: (sample x series, slices x neighbours, size, size).
    rows = patches.reshape(count, slices, series, channels // series, size, size).transpose(1, 2)
    rows = rows.reshape(count * series, -1, size, size)
    rows = _bent(rows, dials, rng)
    rows = rows * torch.exp(dials.bias * _smooth(len(rows), size, rng))
    rows = _coarser(rows, dials, rng)
    spread = dials.noise * _uniform(len(rows), rng)[:, None, None, None]
    rows = rows + spread * torch.randn(rows.shape, generator=rng)
    changed = rows.reshape(count, series, slices, channels // series, size, size)
    if channels // series == 3:
        changed = _lost(changed, dials, rng)
    return changed.transpose(1, 2).reshape(patches.shape)


def _uniform(count: int, rng: Generator) -> Tensor:
    return torch.rand(count, generator=rng)


def _smooth(count: int, size: int, rng: Generator) -> Tensor:
    few = torch.randn((count, 1, 3, 3), generator=rng)
    return functional.interpolate(few, size=(size, size), mode="bicubic", align_corners=True)


def _bent(rows: Tensor, dials: Appearance, rng: Generator) -> Tensor:
    """Bend grey levels along a power, or along a random curve that rises."""
    low, high = rows.amin((1, 2, 3), keepdim=True), rows.amax((1, 2, 3), keepdim=True)
    levels = (rows - low) / (high - low).clamp(min=1e-6)
    power = torch.exp(dials.curve * (2 * _uniform(len(rows), rng) - 1))[:, None, None, None]
    levels = levels**power
    if dials.bent > 0:
        knots = 8
        steps = torch.rand((len(rows), knots), generator=rng) ** 2 + 0.08
        heights = functional.pad(steps.cumsum(1) / steps.sum(1, keepdim=True), (1, 0))
        place = (levels * knots).clamp(0, knots - 1e-4)
        first = place.long()
        flat = first.flatten(1)
        below, above = heights.gather(1, flat), heights.gather(1, flat + 1)
        curved = below.reshape(first.shape) + (above - below).reshape(first.shape) * (place - first)
        chosen = (_uniform(len(rows), rng) < dials.bent)[:, None, None, None]
        levels = torch.where(chosen, curved, levels)
    return levels / levels.std((1, 2, 3), keepdim=True).clamp(min=1e-6)


def _coarser(rows: Tensor, dials: Appearance, rng: Generator) -> Tensor:
    """Show some series at a lower resolution; one factor for a whole batch keeps this fast."""
    factor = 1 + 1.2 * float(_uniform(1, rng))
    size = rows.shape[-1]
    small = functional.interpolate(rows, scale_factor=1 / factor, mode="bilinear", antialias=True)
    coarse = functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    chosen = (_uniform(len(rows), rng) < dials.coarse)[:, None, None, None]
    return torch.where(chosen, coarse, rows)


def _lost(changed: Tensor, dials: Appearance, rng: Generator) -> Tensor:
    """Let the lesion slice stand for a neighbour, and turn left and right round in half of the samples."""
    count = len(changed)
    kept = (_uniform(count * changed.shape[1], rng) >= dials.lost).reshape(*changed.shape[:2], 1, 1, 1)
    before, middle, after = changed.unbind(3)
    before = torch.where(kept, before, middle)
    turned = (_uniform(count, rng) < 0.5)[:, None, None, None, None]
    first, last = torch.where(turned, after, before), torch.where(turned, before, after)
    return torch.stack([first, middle, last], 3)
